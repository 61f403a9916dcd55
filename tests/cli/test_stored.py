"""The command line's stored runs: kept by default, gone on with, looked at, let go; what is refused, and how."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.realtime

PLAIT = [sys.executable, "-m", "plait"]
ENV = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "PLAIT_STORE")}

FLOW = """
name: steps
tasks:
  list: {run: "printf 'a\\nb\\nc\\n'", output: lines}
  each:
    foreach: "{{ tasks.list.output }}"
    key: "{{ item }}"
    max_concurrency: 1
    run: "echo {{ item }} >> started; if test {{ item }} = b; then cat gate || exit 1; fi; echo made {{ item }}"
  sum: {run: "echo {{ tasks.each.output }}"}
outputs: {sum: "{{ tasks.sum.output }}"}
"""
SUM = 'sum: ["made a","made b","made c"]\n'


def plait(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PLAIT, *words], capture_output=True, text=True, cwd=cwd, timeout=60, env={**ENV, **env})


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """A folder with a run whose process was killed in the middle of its second item; its first one is done."""
    (tmp_path / "flow.yaml").write_text(FLOW)
    os.mkfifo(tmp_path / "gate")
    child = subprocess.Popen(
        [*PLAIT, "run", "flow.yaml", "--run-id", "half"], cwd=tmp_path, env=ENV, stderr=subprocess.DEVNULL
    )
    # To open the gate for writing waits for whoever reads it: the second item.
    gate = os.open(tmp_path / "gate", os.O_WRONLY)
    child.send_signal(signal.SIGKILL)
    child.wait()
    os.close(gate)
    (tmp_path / "gate").unlink()
    (tmp_path / "gate").write_text("")
    return tmp_path


def test_why_says_that_nobody_drives_the_run(half: Path) -> None:
    """X7 W7: what to do about it, for people and for programs; of a task that is over it is of no account."""
    for key, status in (("sum", "pending"), ("each[b]", "running"), ("each[c]", "ready")):
        said = plait("why", "half", key, cwd=half).stdout
        assert said.endswith(" at the latest record; nobody drives the run now: `plait resume half` goes on with it\n")
        answer = json.loads(plait("why", "half", key, "--json", cwd=half).stdout)
        assert (answer["status"], answer["driven"], answer["next"]) == (status, False, "plait resume half")
        assert answer["text"] == said.rstrip("\n")
    assert "nobody" not in plait("why", "half", "each[a]", cwd=half).stdout
    (half / "other").mkdir()
    for name in os.listdir(half / ".plait"):
        os.rename(half / ".plait" / name, half / "other" / name)
    told = json.loads(plait("why", "half", "sum", "--json", "--store", "other/plait.db", cwd=half).stdout)["next"]
    assert told == "plait resume half --store other/plait.db"
    for name in os.listdir(half / "other"):
        os.rename(half / "other" / name, half / ".plait" / name)
    assert plait("resume", "half", cwd=half).returncode == 0
    assert "nobody" not in plait("why", "half", "sum", cwd=half).stdout


def started(folder: Path) -> list[str]:
    return (folder / "started").read_text().split()


class TestGoingOn:
    def test_killed_half_way_a_run_is_resumed_and_nothing_that_ended_runs_again(self, half: Path) -> None:
        """W3 F01 F06: as a new user would: `kill -9`, `plait resume last`, `plait show last`."""
        assert started(half) == ["a", "b"]
        shown = plait("show", "last", cwd=half).stdout
        assert "interrupted" in shown
        assert "go on with: plait resume half" in shown
        assert "1 of 3 of its tasks succeeded" in shown
        done = plait("resume", "last", cwd=half)
        assert (done.returncode, done.stdout) == (0, SUM)
        assert started(half) == ["a", "b", "b", "c"]
        shown = plait("show", "last", "-v", cwd=half).stdout
        assert "taken over once" in shown
        assert "each[b]" in shown
        assert "2 attempts" in shown
        again = plait("resume", "half", cwd=half)
        assert again.returncode == 0
        assert "is over: nothing is left to do" in again.stderr
        assert SUM in again.stdout

    def test_events_go_on_with_their_numbers(self, half: Path) -> None:
        lines = [json.loads(line) for line in plait("resume", "last", "--jsonl", cwd=half).stdout.splitlines()]
        numbers = [line["seq"] for line in lines]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert numbers[0] > 5
        assert lines[-1]["event"] == "run_finished"

    def test_the_figures_are_of_all_processes_that_drove_the_run(self, half: Path) -> None:
        """B18: one that was killed included; `show` tells the same, and so does a resume that has nothing to do."""
        document = json.loads(plait("resume", "last", "--json", cwd=half).stdout)
        figures = document["metrics"]["kinds"]["each"]
        assert (figures["counts"], figures["attempts"], figures["interrupted"]) == ({"succeeded": 3}, 4, 1)
        for words in (("show", "last"), ("resume", "last")):
            again = json.loads(plait(*words, "--json", cwd=half).stdout)
            assert again["metrics"] == document["metrics"]
            assert (again["wall_s"], again["efficiency"]) == (document["wall_s"], document["efficiency"])

    def test_an_edited_file_is_refused_and_accepted(self, half: Path) -> None:
        """X11 F35."""
        (half / "flow.yaml").write_text(FLOW.replace('"echo {{ tasks.each', '"echo sum {{ tasks.each'))
        refused = plait("resume", "last", cwd=half)
        assert refused.returncode == 2
        assert "task 'sum' changed" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        assert started(half) == ["a", "b"]
        done = plait("resume", "last", "--accept-changes", cwd=half)
        assert (done.returncode, done.stdout) == (0, SUM.replace("[", "sum ["))
        assert started(half) == ["a", "b", "b", "c"]

    def test_a_file_that_is_gone_is_taken_from_the_store(self, half: Path) -> None:
        (half / "flow.yaml").unlink()
        assert plait("resume", "last", cwd=half).stdout == SUM

    def test_retry_and_fork(self, tmp_path: Path) -> None:
        """W14 X11: a failed item again, the others kept; one item again in a new run."""
        (tmp_path / "flow.yaml").write_text(FLOW)  # there is no gate: the second item fails
        failed = plait("run", "flow.yaml", "-q", cwd=tmp_path)
        assert failed.returncode == 1
        assert "again: plait retry" in failed.stderr
        assert started(tmp_path) == ["a", "b", "c"]
        (tmp_path / "gate").write_text("")
        assert plait("retry", "last", cwd=tmp_path).stdout == SUM
        assert started(tmp_path) == ["a", "b", "c", "b"]
        forked = plait("fork", "last", "--from", "each[c]", "--run-id", "second", cwd=tmp_path)
        assert forked.stdout == SUM
        assert started(tmp_path) == ["a", "b", "c", "b", "c"]
        listed = plait("ls", cwd=tmp_path).stdout.splitlines()
        assert len(listed) == 3
        assert listed[2].startswith("second ")
        assert "forked from" in plait("show", "second", cwd=tmp_path).stdout
        nothing = plait("retry", "second", cwd=tmp_path)
        assert nothing.returncode == 2
        assert "there is nothing to retry" in nothing.stderr

    def test_a_living_owner_is_named(self, tmp_path: Path) -> None:
        """W7 F13: exit code 4."""
        (tmp_path / "flow.yaml").write_text(FLOW)
        os.mkfifo(tmp_path / "gate")
        child = subprocess.Popen([*PLAIT, "run", "flow.yaml", "-q"], cwd=tmp_path, env=ENV, stderr=subprocess.PIPE)
        gate = os.open(tmp_path / "gate", os.O_WRONLY)
        try:
            refused = plait("resume", "last", cwd=tmp_path)
            assert refused.returncode == 4
            assert f"is driven by process {child.pid}, which is alive" in refused.stderr
            assert f"running (process {child.pid})" in plait("ls", cwd=tmp_path).stdout
            assert "1 of 3 of its tasks succeeded" in plait("show", "last", cwd=tmp_path).stdout
        finally:
            os.close(gate)
        child.communicate(timeout=30)
        assert child.returncode == 0

    def test_a_module_and_a_graph_of_python(self, tmp_path: Path) -> None:
        (tmp_path / "flows.py").write_text(
            "import os, plait\n@plait.task\ndef one(): return 1\n@plait.task\ndef two(n):\n    open('ran', 'a').write('x')\n    if not os.path.exists('go'): os._exit(9)\n    return n + 1\n"
            "g = plait.Graph('g')\ng.add('two', two, args=(g.add('one', one),))\n"
        )
        assert plait("run", "flows:g", cwd=tmp_path).returncode == 9
        (tmp_path / "go").touch()
        other = tmp_path / "elsewhere"
        other.mkdir()
        shown = plait("resume", "last", "--store", str(tmp_path / ".plait"), "--json", cwd=other)
        assert shown.returncode == 0, shown.stderr
        assert json.loads(shown.stdout)["tasks"]["two"]["value"] == 2

    def test_a_function_that_is_gone_is_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "job.py").write_text(
            "import os, plait\n@plait.task\ndef dies(): os._exit(9)\nif __name__ == '__main__': plait.run(dies.bind(), store='.plait')\n"
        )
        subprocess.run([sys.executable, "job.py"], cwd=tmp_path, timeout=60, env=ENV)
        (tmp_path / "job.py").write_text("import plait\n")
        refused = plait("resume", "last", cwd=tmp_path)
        assert refused.returncode == 2
        assert "does not exist any more" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        assert "interrupted" in plait("ls", cwd=tmp_path).stdout


class TestLooking:
    def test_logs_of_all_and_of_one(self, half: Path) -> None:
        assert plait("logs", "last", "each[a]", cwd=half).stdout == "made a\n"
        assert "each[a] | made a\n" in plait("logs", "last", cwd=half).stdout
        unknown = plait("logs", "last", "each[z]", cwd=half)
        assert unknown.returncode == 2
        assert "has no task 'each[z]'" in unknown.stderr

    def test_logs_are_followed_until_the_run_is_over(self, tmp_path: Path) -> None:
        (tmp_path / "flow.yaml").write_text(FLOW)
        os.mkfifo(tmp_path / "gate")
        child = subprocess.Popen([*PLAIT, "run", "flow.yaml", "-q"], cwd=tmp_path, env=ENV, stdout=subprocess.DEVNULL)
        gate = os.open(tmp_path / "gate", os.O_WRONLY)
        follower = subprocess.Popen(
            [*PLAIT, "logs", "last", "-f"], cwd=tmp_path, env=ENV, stdout=subprocess.PIPE, text=True
        )
        assert follower.stdout is not None
        assert follower.stdout.readline() == "list | a\n"
        os.close(gate)
        rest = follower.communicate(timeout=30)[0]
        assert "each[c] | made c\n" in rest
        assert SUM.replace("sum:", "sum |") in rest
        assert follower.returncode == 0
        assert child.wait(30) == 0

    def test_json(self, half: Path) -> None:
        shown = json.loads(plait("show", "last", "--json", cwd=half).stdout)
        assert shown["status"] == "interrupted"
        assert shown["run"] == "half"
        assert shown["tasks"]["each[a]"]["value"] == "made a"
        (listed,) = json.loads(plait("ls", "--json", cwd=half).stdout)
        assert (listed["run"], listed["status"], listed["owner_pid"]) == ("half", "interrupted", None)

    def test_nothing_there_yet(self, tmp_path: Path) -> None:
        assert plait("ls", cwd=tmp_path).returncode == 0
        assert not (tmp_path / ".plait").exists()
        for verb in (("show", "last"), ("logs", "last"), ("resume", "last"), ("gc",)):
            done = plait(*verb, cwd=tmp_path)
            assert done.returncode == 1, verb
            assert "there is no store" in done.stderr
            assert len(done.stderr.splitlines()) == 1
        assert not (tmp_path / ".plait").exists()

    def test_old_runs_are_let_go_and_what_others_need_stays(self, half: Path) -> None:
        """F37: ages are counted in UTC seconds, whatever the zone says."""
        plait("resume", "last", cwd=half)
        plait("run", "flow.yaml", "--run-id", "young", cwd=half)
        database = half / ".plait" / "plait.db"
        with closing(sqlite3.connect(database)) as db, db:
            db.execute("UPDATE runs SET ended_at = ended_at - 3600 * (24 * 30 + 2) WHERE id = 'half'")
        assert "would forget run half" in plait("gc", "-n", cwd=half, TZ="Pacific/Kiritimati").stderr
        assert "1 runs forgotten" in plait("gc", cwd=half, TZ="Pacific/Midway").stdout
        assert [line.split()[0] for line in plait("ls", cwd=half).stdout.splitlines()] == ["RUN", "young"]
        assert os.listdir(half / ".plait" / "logs") == ["young"]
        assert plait("gc", "--older-than", "soon", cwd=half).returncode == 2


class TestRefused:
    @pytest.mark.parametrize("verb", [("show",), ("resume",), ("retry",), ("logs",), ("fork", "--from", "sum")])
    def test_ids_that_name_no_run_or_several(self, half: Path, verb: tuple[str, ...]) -> None:
        plait("run", "flow.yaml", "--run-id", "half2", cwd=half)
        for name, why in (
            ("zz", "there is no run 'zz'"),
            ("ha", "2 runs begin with 'ha': half, half2"),
            ("", "there is no run ''"),
            ("../x", "there is no run"),
        ):
            done = plait(verb[0], name, *verb[1:], cwd=half)
            assert done.returncode == 2, (verb, name, done.stderr)
            assert why in done.stderr
            assert len(done.stderr.splitlines()) == 1

    def test_a_run_id_that_cannot_be_one_or_is_taken(self, half: Path) -> None:
        for name, why in (("last", "a run's id"), ("a/b", "a run's id"), ("half", "there is a run half already")):
            done = plait("run", "flow.yaml", "--run-id", name, cwd=half)
            assert done.returncode == 2
            assert why in done.stderr
        assert plait("run", "flow.yaml", "--run-id", "x", "--store", "none", cwd=half).returncode == 2

    @pytest.mark.parametrize("damage", ["text", "zeroes", "empty", "short", "newer", "other"])
    def test_stores_that_are_none_or_too_new_are_not_touched(self, half: Path, damage: str) -> None:
        """F31 F32: exit code 1, one line, the same bytes."""
        path = half / ".plait" / "plait.db"
        for beside in ("-wal", "-shm"):
            path.with_name(path.name + beside).unlink(missing_ok=True)
        data = path.read_bytes()
        match damage:
            case "text":
                path.write_text("these are my notes\n" * 100)
            case "zeroes":
                path.write_bytes(bytes(len(data)))
            case "empty":
                path.write_bytes(b"")
            case "short":
                path.write_bytes(data[: len(data) // 2])
            case "newer":
                path.write_bytes(data[:60] + (99).to_bytes(4, "big") + data[64:])
            case "other":
                path.unlink()
                with closing(sqlite3.connect(path)) as db, db:
                    db.execute("CREATE TABLE mine (x)")
        before = path.read_bytes()
        for words in (("ls",), ("show", "last"), ("resume", "last"), ("run", "flow.yaml")):
            done = plait(*words, cwd=half)
            assert done.returncode == 1, (words, done.stderr)
            assert len(done.stderr.splitlines()) == 1, done.stderr
            assert str(path) in done.stderr
            assert "Traceback" not in done.stderr
        assert ("schema version 99" in done.stderr) == (damage == "newer")
        assert path.read_bytes() == before

    def test_a_run_of_another_format_is_refused_and_others_are_read(self, half: Path) -> None:
        """F84: never guessed at."""
        plait("run", "flow.yaml", "--run-id", "fine", cwd=half)
        with closing(sqlite3.connect(half / ".plait" / "plait.db")) as db, db:
            db.execute("UPDATE runs SET format = 7, version = '9.9' WHERE id = 'half'")
        refused = plait("resume", "half", cwd=half)
        assert refused.returncode == 1
        assert "recorded by plait 9.9 in format 7" in refused.stderr
        assert plait("show", "fine", cwd=half).returncode == 0

    def test_a_store_that_others_made_up(self, half: Path) -> None:
        for store in ("postgresql://x/y", "http://x/y"):
            done = plait("ls", "--store", store, cwd=half)
            assert (done.returncode, done.stdout) in ((2, ""), (0, ""))
            assert "Traceback" not in done.stderr


def test_power_that_goes_under_normal_durability_leaves_a_store_that_goes_on(half: Path) -> None:
    """F12 W8: the log's last pages may be missing; what is left is a whole prefix of the journal, and the rest runs again."""
    path = half / ".plait" / "plait.db"
    log = path.with_name("plait.db-wal")
    assert log.stat().st_size > 0
    whole = log.read_bytes()
    frame = 24 + int.from_bytes(whole[8:12], "big")
    frames = (len(whole) - 32) // frame
    seen: list[int] = []
    for kept in range(frames, 0, -2):
        log.write_bytes(whole[: 32 + kept * frame])
        path.with_name("plait.db-shm").unlink(missing_ok=True)
        shown = plait("show", "half", "--json", cwd=half)
        if shown.returncode:
            assert "there is no run" in shown.stderr  # as if it had never begun
            break
        seen.append(json.loads(shown.stdout)["counts"].get("succeeded", 0))
    assert seen == sorted(seen, reverse=True)
    log.write_bytes(whole[: 32 + frame * (frames - 3)])
    path.with_name("plait.db-shm").unlink(missing_ok=True)
    assert plait("resume", "half", cwd=half).stdout == SUM
