"""Hostile workflow files: what the catalogue of attacks has of them, row by row. Nothing of a file is trusted before it is run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import plait
from plait.cli.findings import found
from plait.errors import FlowError
from plait.flow import load
from plait.flow import work as compiling
from plait.flow.problems import Problem

SECONDS, MOST_OUTPUT = 2.0, 1_000_000


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "flow.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def told(folder: Path, text: str | bytes) -> list[Problem]:
    """All that is found in a bad file: soon, and not without end."""
    path = write(folder, text)
    began = time.process_time()
    with pytest.raises(FlowError) as caught:
        load(path)
    problems = found(caught.value)
    lines = [line for each in problems for line in each.lines()]
    assert time.process_time() - began < SECONDS
    assert sum(map(len, lines)) < MOST_OUTPUT
    assert all(line.isprintable() for line in lines)
    return problems


def first(folder: Path, text: str | bytes) -> tuple[str, str]:
    problem = told(folder, text)[0]
    return problem.code, problem.message


class TestFloods:
    @pytest.mark.parametrize(
        "text",
        [
            "tasks: {a: {run: x, env: {" + ",".join(f"K{at}: v" for at in range(100_000)) + "}}}",
            "tasks: {a: {run: x, " + ",".join(f"k{at}: v" for at in range(100_000)) + "}}",
            "tasks:\n" + "".join(f"  t{at}: {{run: x}}\n" for at in range(100_000)),
            "inputs: {" + ",".join(f"i{at}: {{}}" for at in range(100_000)) + "}\ntasks: {a: {run: x}}",
            "tasks: {a: {run: [" + "x," * 100_000 + "]}}",
        ],
        ids=["variables", "keys", "tasks", "inputs", "words"],
    )
    def test_more_keys_than_any_file_has_are_refused_before_they_are_taken_apart(
        self, tmp_path: Path, text: str
    ) -> None:
        """S05: as attributes flood XML, keys flood YAML."""
        assert first(tmp_path, text) == ("too-large", "the file has more than 100,000 nodes")

    @pytest.mark.parametrize("size", [5_000_001, 20_000_000])
    def test_a_file_of_more_than_five_megabytes_is_not_read(self, tmp_path: Path, size: int) -> None:
        """S13."""
        assert first(tmp_path, b"#" * size) == ("too-large", "the file has more than 5,000,000 bytes")

    def test_a_foreach_in_a_foreach_ends_at_a_number_of_tasks_of_the_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """S13."""
        monkeypatch.setattr(compiling, "MOST_TASKS", 40)
        text = "on_failure: continue\ntasks:\n  a:\n    foreach: [1, 2, 3, 4, 5]\n    tasks: {b: {foreach: [1, 2, 3, 4, 5], tasks: {c: {call: 'builtins:int'}}}}\n"
        result = plait.run(load(write(tmp_path, text)), raise_on_failure=False)
        assert len(result) <= 40
        errors = {str(each.error) for each in result.values() if each.status == "failed" and each.error is not None}
        assert any("at most 40 are allowed" in error for error in errors)
        assert plait.run(load(write(tmp_path, text.replace("[1, 2, 3, 4, 5]", "[1, 2]")))).status == "succeeded"

    def test_items_of_one_foreach_have_a_bound(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """S13."""
        monkeypatch.setattr(compiling, "MOST_ITEMS", 3)
        flow = load(write(tmp_path, "tasks: {a: {foreach: [1, 2, 3, 4], call: 'builtins:int'}}"))
        assert "was given 4 items; at most 3 are allowed" in str(plait.run(flow, raise_on_failure=False)["a"].error)


class TestYaml:
    @pytest.mark.parametrize(
        "tag",
        [
            "!!python/object/apply:os.system",
            "!!python/name:os.system",
            "!!python/object/new:subprocess.Popen",
            "!!python/module:os",
            "!include",
            "!!binary",
            "!!set",
            "!!str",
            "!<tag:yaml.org,2002:python/object/apply:os.system>",
            "!" + "x" * 100_000,
        ],
    )
    def test_a_tag_is_refused_by_its_name(self, tmp_path: Path, tag: str) -> None:
        """S06."""
        for text in (f"{tag} [x]", f"tasks: {{a: {{run: {tag} [touch, CANARY]}}}}", f"{tag} k: v"):
            code, message = first(tmp_path, text)
            assert code == "tag"
            name = tag.strip("<>!").removeprefix("<").removeprefix("tag:yaml.org,2002:")
            assert name[:1000] in message

    @pytest.mark.parametrize(
        "text",
        [
            "\n".join(
                ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
                + [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 9)}]" for at in range(1, 10)]
            ),
            "a: &a {" + ", ".join(f"k{at}: v" for at in range(5_000)) + "}\nb: [" + "*a, " * 5_000 + "]",
        ],
        ids=["nine to the ninth", "wide"],
    )
    def test_aliases_count_with_what_they_stand_for(self, tmp_path: Path, text: str) -> None:
        """S07."""
        assert first(tmp_path, text) == ("too-large", "with its aliases the file has more than 100,000 nodes")

    def test_an_alias_in_itself_and_merge_keys_are_refused(self, tmp_path: Path) -> None:
        """S08."""
        for text in ("tasks: &t [*t]", "tasks: &t {a: *t}", "&t [[[*t]]]", "tasks: &t {a: {needs: [*t], run: x}}"):
            assert first(tmp_path, text)[0] == "alias-loop"
        merge = "b: &b {x: 1}\ntasks: {a: {run: x, <<: *b}, c: {<<: [*b, *b], run: x}}"
        assert [each.code for each in told(tmp_path, merge)] == ["unknown-key", "merge", "merge"]

    @pytest.mark.parametrize("opens", ["[", "{a: ", "- ", "? ", "{? ", "[&a "])
    def test_depth_has_a_limit_and_a_clean_message(self, tmp_path: Path, opens: str) -> None:
        """S09."""
        for number in (451, 900, 100_000):
            problem = told(tmp_path, opens * number)[0]
            assert problem.code in ("too-deep", "yaml")
            assert "Recursion" not in problem.message
        assert first(tmp_path, "[" * 451)[0] == "too-deep"

    def test_a_key_that_stands_twice_is_refused_wherever_it_is(self, tmp_path: Path) -> None:
        """S10."""
        text = "tasks:\n  a: {run: x, run: y}\n  a: {run: z}\n  b: {run: x, env: {A: 1, 'A': 2}}\ntasks: {}\n"
        assert [(each.code, each.line) for each in told(tmp_path, text)] == [
            ("duplicate-key", 2),
            ("duplicate-key", 3),
            ("duplicate-key", 4),
            ("duplicate-key", 5),
        ]

    def test_a_second_document_and_unknown_keys_are_refused(self, tmp_path: Path) -> None:
        """S11."""
        assert first(tmp_path, "tasks: {a: {run: x}}\n---\ntasks: {a: {run: y}}\n")[0] == "second-document"
        assert first(tmp_path, "tasks: {a: {run: x}}\n...\n---\n")[0] == "second-document"
        problems = told(
            tmp_path,
            "retires: 3\ntasks: {a: {run: x, retires: 3}}\ndefaults: {tmeout: 3}\ninputs: {i: {tpye: string}}\n",
        )
        errors = [
            (each.code, each.message.rpartition("Did you mean ")[2]) for each in problems if each.severity == "error"
        ]
        assert errors == [
            ("unknown-key", "unknown key 'retires' in a workflow file"),
            ("unknown-key", "'retries'?"),
            ("unknown-key", "'timeout'?"),
            ("unknown-key", "'type'?"),
        ]

    def test_what_yaml_reads_as_something_else_names_no_task(self, tmp_path: Path) -> None:
        """S12."""
        for key in ("1.10", "12", "true", "null", "~", "0x1F", "1e3", ".inf"):
            assert first(tmp_path, f"tasks: {{{key}: {{run: x}}}}") == ("key", f'a key must be text: quote it, "{key}"')
            assert first(tmp_path, f"tasks: {{a: {{run: x, needs: [{key}]}}}}")[0] == "type"
        flow = load(
            write(tmp_path, "tasks: {no: {run: x}, on: {run: x, needs: [no]}, 12:30:45: {run: x}, '1.10': {run: x}}")
        )
        assert list(flow.tasks) == ["no", "on", "12:30:45", "1.10"]


class TestNames:
    @pytest.mark.parametrize(
        "name", ["../x", "/etc/passwd", "a/b", "..\\\\x", "nul\\0", "..", "", " a", "x" * 1_000, "a\\nb", "\\e[2J"]
    )
    def test_what_could_be_a_path_or_move_a_cursor_names_nothing(self, tmp_path: Path, name: str) -> None:
        """S19."""
        text = f'inputs: {{"{name}": {{default: x}}}}\ntasks: {{"{name}": {{run: x}}, g: {{tasks: {{"{name}": {{run: x}}}}}}}}\noutputs: {{"{name}": y}}\n'
        problems = [each for each in told(tmp_path, text) if each.severity == "error"]
        assert [(each.line, each.code) for each in problems] == [(1, "key"), (2, "key"), (2, "key"), (3, "key")]

    def test_a_name_of_any_length_is_refused_in_a_few_words(self, tmp_path: Path) -> None:
        """S19."""
        code, message = first(tmp_path, f"tasks:\n  ? {'x' * 5_000}\n  : {{run: x}}\n")
        assert (code, len(message) < 200) == ("key", True)

    @pytest.mark.realtime
    def test_items_with_the_names_of_paths_write_no_file_outside_the_store(self, tmp_path: Path) -> None:
        """S19: what is kept of a task is named by its number."""
        folder = tmp_path / "deep" / "deeper"
        folder.mkdir(parents=True)
        names = ["../../ESCAPED", str(tmp_path / "ESCAPED"), "..", "ESCAPED\\x", "a/../../../ESCAPED"]
        items = ", ".join(f"'{each}'" for each in names)
        flow = load(write(tmp_path, f"tasks: {{a: {{foreach: [{items}], key: '{{{{ item }}}}', run: [echo, x]}}}}"))
        result = plait.run(flow, store=str(folder / "plait.db"))
        assert set(result) == {"a", *(f"a[{name}]" for name in names)}
        assert [path for path in tmp_path.rglob("*") if "ESCAPED" in path.name] == []
        assert {path for path in tmp_path.rglob("*") if folder not in (path, *path.parents)} == {
            tmp_path / "deep",
            tmp_path / "flow.yaml",
        }


class TestArguments:
    @pytest.mark.realtime
    def test_a_value_that_is_an_option_is_warned_of_and_the_hint_makes_it_none(self, tmp_path: Path) -> None:
        """S15."""
        (tmp_path / "kept").mkdir()
        text = "tasks:\n  l: {run: \"printf '%s\\\\n' -rf kept\", output: lines}\n  a: {run: [rm, WORD'{{ tasks.l.output[0] }}', kept], allow_failure: true, cwd: FOLDER}\n".replace(
            "FOLDER", str(tmp_path)
        )
        doubtful = load(write(tmp_path, text.replace("WORD", "")))
        (warning,) = doubtful.warnings
        assert (warning.code, warning.hint.startswith("put `--` before it")) == ("option-like", True)
        heeded = load(write(tmp_path, text.replace("WORD", "--, ")))
        assert heeded.warnings == ()
        assert plait.run(heeded)["a"].status == "failed"
        assert (tmp_path / "kept").exists()
        assert plait.run(doubtful)["a"].status == "succeeded"
        assert not (tmp_path / "kept").exists()


class TestNothingIsImported:
    CALLS = """\
tasks:
  a: {call: "canary_of_plait:f", executor: process, with: {x: 1}}
  g: {tasks: {b: {call: "canary_of_plait:f", on_error: {call: "canary_of_plait:f"}}}, finally: {c: {call: "canary_of_plait:f"}}}
  e: {foreach: [1, 2], call: "canary_of_plait:f"}
finally: {z: {call: "canary_of_plait:f"}}
"""

    @pytest.fixture
    def command(self, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
        (tmp_path / "canary_of_plait.py").write_text("open('IMPORTED', 'w')\ndef f(**given): pass\n")
        write(tmp_path, self.CALLS)

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "plait", *words], cwd=tmp_path, capture_output=True, text=True, timeout=60
            )

        return run

    @pytest.mark.realtime
    @pytest.mark.parametrize(
        "words",
        [
            ("validate",), ("validate", "--json"), ("validate", "--strict"), ("graph",), ("graph", "--format", "mermaid"),
            ("graph", "--format", "dot"), ("graph", "--format", "json"), ("inspect",), ("inspect", "--json"), ("simulate",),
        ],
        ids=" ".join,
    )  # fmt: skip
    def test_to_look_at_a_file(
        self, tmp_path: Path, words: tuple[str, ...], command: Callable[..., subprocess.CompletedProcess[str]]
    ) -> None:
        """S18."""
        done = command(*words, "flow.yaml")
        assert done.returncode == (1 if words == ("simulate",) else 0), done.stderr  # there is no run to predict from
        assert not (tmp_path / "IMPORTED").exists()

    @pytest.mark.realtime
    def test_but_a_run_imports_what_it_calls(
        self, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
    ) -> None:
        """S18: so the canary sings."""
        command("run", "flow.yaml", "-n")
        assert (tmp_path / "IMPORTED").exists()

    @pytest.mark.parametrize(
        "call", ["os.system", "os:system:x", "__import__('os')", "../x:f", "os:a.b", ":f", "os:", "é e:f"]
    )
    def test_what_is_called_is_named_as_a_module_and_a_name(self, tmp_path: Path, call: str) -> None:
        """S18."""
        assert first(tmp_path, f'tasks: {{a: {{call: "{call}"}}}}')[0] == "value"


class TestOutput:
    ESCAPES = "\\e[2J\\e]0;title\\a\\x9b31m\\r\\u202e\\u2066"

    def test_no_escape_of_a_file_is_printed(self, tmp_path: Path) -> None:
        """S28: `told` looks at every line."""
        text = f'name: "{self.ESCAPES}"\n"{self.ESCAPES}": 1\ntasks:\n  "a{self.ESCAPES}": {{run: x}}\n  b: {{run: "echo {{{{ {self.ESCAPES} }}}}", needs: ["{self.ESCAPES}"]}}\n  c: "{self.ESCAPES}"\n'
        assert len(told(tmp_path, text)) >= 5
        raw = text.replace("\\u202e", "\u202e").replace("\\u2066", "\u2066\u200b\u00ad")
        assert len(told(tmp_path, raw)) >= 5
        assert told(tmp_path, raw.encode() + b"\x1b[2J")[0].code == "not-text"
        assert "\x1b" in first(tmp_path, "tasks: {a: {run: !a%1B%5B2J x}}")[1]

    def test_one_record_is_one_line(self, tmp_path: Path) -> None:
        """S29: what looks like a finding within a file is not at the beginning of a line."""
        forged = "flow.yaml:1:1: error[forged]: x"
        text = f'tasks:\n  "a\\n{forged}": {{run: x}}\n  b: |-\n    x\n    {forged}\n  c: {{run: x, "\\n{forged}": 1}}\n  ? |-\n    {forged}\n  : 1\n'
        problems = told(tmp_path, text)
        lines = [line for each in problems for line in each.lines()]
        assert len(problems) == 4
        assert [line for line in lines if line.startswith("flow.yaml")] == []
        assert sum(not line.startswith(" ") for line in lines) == 4
        (tag,) = told(tmp_path, "tasks: {a: {run: !a%0Aflow.yaml:1:1:%20error%5Bforged%5D x}}")
        assert "\n" in tag.message
        assert [line.count("\n") for line in tag.lines()] == [0, 0, 0]


def test_bad_files_of_all_kinds_cost_little_memory(tmp_path: Path) -> None:
    """S05 S13: a process that reads one has at most 256 MB."""
    path = write(tmp_path, "tasks: {a: {run: x, " + ",".join(f"k{at}: v" for at in range(49_000)) + "}}")
    program = "import resource, sys\nresource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))\nfrom plait.cli import main\nmain(['validate', sys.argv[1]])"
    done = subprocess.run([sys.executable, "-c", program, os.fspath(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].endswith("error[more]: and 48000 more problems")
