"""Settings that no flag says: variables, the project's file, the user's; where they stand, and what is wrong with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.realtime

PLAIT = [sys.executable, "-m", "plait"]
ENV = {key: value for key, value in os.environ.items() if not key.startswith(("PLAIT_", "NO_COLOR", "FORCE_COLOR"))}
FLOW = "tasks: {a: {run: 'echo hello; exit 3'}, b: {run: 'echo b', needs: [c]}, c: {run: 'echo c'}}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a flow, two folders below the one that may have settings."""
    folder = tmp_path / "project" / "sub" / "deep"
    folder.mkdir(parents=True)
    (folder / "flow.yaml").write_text(FLOW)
    (tmp_path / "home" / "plait").mkdir(parents=True)
    return folder


def top(project: Path) -> Path:
    return project.parents[1]


def user(project: Path) -> Path:
    return project.parents[2] / "home" / "plait" / "plait.toml"


def cli(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    home = next(each / "home" for each in cwd.parents if (each / "home" / "plait").is_dir())
    env = {**ENV, "XDG_CONFIG_HOME": str(home), **env}
    return subprocess.run([*PLAIT, *words], capture_output=True, text=True, cwd=cwd, timeout=60, env=env)


def slots(folder: Path, *words: str, file: str = "flow.yaml", **env: str) -> int:
    done = cli("run", file, "--jsonl", "--store", "none", *words, cwd=folder, **env)
    return int(json.loads(done.stdout.splitlines()[0])["slots"])


def doctor(folder: Path, **env: str) -> dict[str, str]:
    lines = cli("doctor", cwd=folder, **env).stdout.splitlines()
    return {line[:22].rstrip(): line[23:] for line in lines}


class TestWhichOneCounts:
    def test_flags_before_variables_before_the_workflow_before_the_project_before_the_user(self, project: Path) -> None:
        (project / "own.yaml").write_text("max_concurrency: 9\n" + FLOW)
        assert slots(project) > 0
        user(project).write_text("jobs = 2\n")
        assert slots(project) == 2
        (top(project) / "plait.toml").write_text("jobs = 3\n")
        assert slots(project) == 3
        assert slots(project, file="own.yaml") == 9
        assert slots(project, file="own.yaml", PLAIT_JOBS="4") == 4
        assert slots(project, "-j", "5", PLAIT_JOBS="4") == 5
        assert slots(project, PLAIT_JOBS="") == 3

    def test_each_setting_by_itself(self, project: Path) -> None:
        user(project).write_text("jobs = 2\noutput = 'prefixed'\n")
        (top(project) / "plait.toml").write_text("on_failure = 'fail_fast'\nstore = 'kept/runs.db'\n")
        found = doctor(project, PLAIT_ON_FAILURE="finish")
        assert found["jobs"] == f"2 ({user(project)}:1)"
        assert found["output"] == f"prefixed ({user(project)}:2)"
        assert found["on_failure"] == "finish (PLAIT_ON_FAILURE)"
        assert found["store"] == f"{top(project)}/kept/runs.db ({top(project)}/plait.toml:2)"
        assert found["configuration"] == f"{top(project)}/plait.toml, {user(project)}"
        user(project).unlink()
        (top(project) / "plait.toml").unlink()
        found = doctor(project)
        assert found["store"] == ".plait/plait.db (default)"
        assert found["configuration"] == "no file"

    def test_the_first_folder_upward_that_has_one_counts_and_no_other(self, project: Path) -> None:
        (top(project) / "plait.toml").write_text("jobs = 3\non_failure = 'finish'\n")
        (project.parent / "pyproject.toml").write_text("[project]\nname = 'plait-user'\n")
        assert slots(project) == 3
        (project.parent / "pyproject.toml").write_text("[project]\nname = 'x'\n\n[tool.plait]\njobs = 7\n")
        assert slots(project) == 7
        assert doctor(project)["jobs"] == f"7 ({project.parent}/pyproject.toml:5)"
        assert doctor(project)["on_failure"].endswith("(default)")
        (project.parent / "plait.toml").write_text("jobs = 8\n")
        assert slots(project) == 8

    def test_what_is_looked_for_is_looked_for_where_the_run_works(self, project: Path) -> None:
        (project / "plait.toml").write_text("jobs = 3\n")
        assert slots(top(project), "-C", str(project)) == 3

    def test_a_store_in_a_file_is_in_its_folder_and_every_command_finds_it(self, project: Path) -> None:
        (top(project) / "plait.toml").write_text("store = 'kept/runs.db'\n")
        done = cli("run", "flow.yaml", "--run-id", "one", "-q", cwd=project)
        assert (top(project) / "kept" / "runs.db").exists()
        assert not (project / ".plait").exists()
        assert "again: plait retry one\n" in done.stderr  # nothing need be said of the store
        assert cli("ls", cwd=project.parent).stdout.splitlines()[1].startswith("one ")
        assert "there are no runs" in cli("ls", "--store", "other.db", cwd=project).stderr
        assert "there are no runs" in cli("ls", cwd=project, PLAIT_STORE="other.db").stderr
        (top(project) / "plait.toml").write_text("store = 'none'\n")
        cli("run", "flow.yaml", cwd=project)
        assert not (project / ".plait").exists()

    def test_output_and_what_a_map_takes_of_all_this(self, project: Path) -> None:
        (top(project) / "plait.toml").write_text(
            "output = 'prefixed'\nstore = 'none'\non_failure = 'fail_fast'\njobs = 1\n"
        )
        assert "a | hello\n" in cli("run", "flow.yaml", cwd=project).stderr
        assert "a | hello\n" not in cli("run", "flow.yaml", "-q", cwd=project).stderr
        assert "--- a ---\n" in cli("run", "flow.yaml", "--output", "group", cwd=project).stderr
        mapped = cli("map", "echo {}; exit {}", "3", "0", cwd=project)
        assert (mapped.stdout, "[0] 3 | 3" in mapped.stderr) == ("3\n", False)
        assert "1 failed, 1 not_started" in mapped.stderr

    def test_on_failure(self, project: Path) -> None:
        def ends(file: str, *words: str, **env: str) -> str:
            return cli("run", file, "-j", "1", "--store", "none", *words, cwd=project, **env).stderr.splitlines()[-1]

        (top(project) / "plait.toml").write_text("on_failure = 'fail_fast'\n")
        (project / "own.yaml").write_text("on_failure: continue\n" + FLOW)
        assert ends("flow.yaml").endswith("1 failed, 2 not_started")
        assert ends("own.yaml").endswith("2 succeeded, 1 failed")
        assert ends("own.yaml", PLAIT_ON_FAILURE="finish").endswith("1 failed, 2 not_started")
        assert ends("flow.yaml", "-k").endswith("2 succeeded, 1 failed")

    def test_a_stored_run_goes_on_as_it_is_stored(self, project: Path) -> None:
        """Whatever is set where it goes on: `resume`, `retry` and `fork` take its own rules."""
        cli("run", "flow.yaml", "--run-id", "one", "-j", "2", "-k", cwd=project)
        (project / "plait.toml").write_text("on_failure = 'fail_fast'\njobs = 5\n")
        for words in (("retry", "one"), ("fork", "one", "--from", "a")):
            told = cli(*words, "--jsonl", cwd=project, PLAIT_JOBS="7", PLAIT_ON_FAILURE="fail_fast").stdout.splitlines()
            assert json.loads(told[0])["slots"] == 2
            assert json.loads(told[-1])["counts"] == {"succeeded": 2, "failed": 1}

    def test_a_prediction_is_of_what_would_run(self, project: Path) -> None:
        (project / "flow.yaml").write_text("tasks: {a: {run: echo a}}")
        cli("run", "flow.yaml", cwd=project)
        (project / "plait.toml").write_text("jobs = 5\n")
        assert json.loads(cli("simulate", "flow.yaml", "--json", cwd=project).stdout)["slots"] == 5


class TestWhatIsWrong:
    def refused(self, project: Path, text: str, name: str = "plait.toml") -> list[str]:
        path = top(project) / name
        path.write_text(text)
        done = cli("run", "flow.yaml", cwd=project)
        assert (done.returncode, done.stdout) == (2, "")
        assert not (project / ".plait").exists()
        assert "Traceback" not in done.stderr
        return [line.removeprefix(f"{path}:") for line in done.stderr.splitlines()]

    def test_every_problem_has_its_place_and_the_nearest_name(self, project: Path) -> None:
        text = (
            '# x\njobs = 0\n\n  job = [\n  1,\n]\non_failure = "fail-fast"\noutput = 3\nstore = ""\n[run]\njobs = 3\n'
        )
        assert self.refused(project, text) == [
            '2:1: error[value]: jobs must be a whole number of at least 1, or "auto", not 0',
            "4:3: error[unknown-key]: unknown setting 'job'. Did you mean 'jobs'?",
            "7:1: error[value]: on_failure must be one of fail_fast, finish, continue, not 'fail-fast'. Did you mean 'fail_fast'?",
            "8:1: error[value]: output must be one of interleaved, group, prefixed, not 3",
            "9:1: error[value]: store must be a path, or \"none\", not ''",
            "10:2: error[unknown-key]: unknown setting 'run'; there are jobs, on_failure, output, store",
        ]

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("jobs = \n", "1:8: error[syntax]: Invalid value"),
            ('jobs = "two"\n', "1:1: error[value]: jobs must be"),
            ("jobs = true\n", "1:1: error[value]: jobs must be"),
            ("jobs = 2.5\n", "1:1: error[value]: jobs must be"),
            ('x = """\njobs = 1\n"""\njobs = -1\n', "4:1: error[value]"),
            ("'\x1b[2J' = 1\n", "1:"),
        ],
    )
    def test_one_line_each(self, project: Path, text: str, told: str) -> None:
        lines = self.refused(project, text)
        assert lines[-1].startswith(told)
        assert "\x1b" not in "".join(lines)

    def test_in_a_pyproject_its_own_lines_count(self, project: Path) -> None:
        text = "[project]\nname = 'x'\n[tool.other]\njob = 3\n[tool.plait]\nstore = 'x'\njob = 3\n"
        assert self.refused(project, text, "pyproject.toml") == [
            "7:1: error[unknown-key]: unknown setting 'job'. Did you mean 'jobs'?"
        ]
        assert self.refused(project, "[tool]\nplait = 3\n", "pyproject.toml") == [
            "2:1: error[type]: tool.plait must be a table of settings, not 3"
        ]
        (top(project) / "pyproject.toml").write_text("this is = = no concern of ours\n")
        assert cli("ls", cwd=project).returncode == 0

    def test_files_that_cannot_be_read_and_variables_that_cannot_be(self, project: Path) -> None:
        (top(project) / "plait.toml").write_bytes(b"\xff\xfe")
        refused = cli("run", "flow.yaml", cwd=project)
        assert (refused.returncode, refused.stderr) == (
            2, f"plait: {top(project)}/plait.toml cannot be read: it is not UTF-8\n",
        )  # fmt: skip
        (top(project) / "plait.toml").unlink()
        for name, value in (("JOBS", "0"), ("JOBS", "two"), ("ON_FAILURE", "explode"), ("OUTPUT", "groups")):
            refused = cli("run", "flow.yaml", cwd=project, **{f"PLAIT_{name}": value})
            assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
            assert f"plait: PLAIT_{name}: {name.lower()} must be" in refused.stderr

    def test_only_commands_that_use_it_mind(self, project: Path) -> None:
        (top(project) / "plait.toml").write_text("job = 3\n")
        for words in (("validate", "flow.yaml"), ("graph", "flow.yaml"), ("--version",)):
            assert cli(*words, cwd=project).returncode == 0
        for words in (("ls",), ("map", "true", "x"), ("resume", "last"), ("run", "flow.yaml", "-n")):
            assert cli(*words, cwd=project).returncode == 2
        done = cli("doctor", cwd=project)
        assert (done.returncode, "default slots" in done.stdout, "unknown setting 'job'" in done.stderr) == (
            2,
            True,
            True,
        )
