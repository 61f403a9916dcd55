"""Mutated files (`fuzz_files.py`), and those that once were accepted with a traceback, took minutes, or told of a place that is not there."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fuzz_files
import plait
from flow_files import problems, run, write
from plait.cli.pictures import FORMS
from plait.errors import ExpressionError, FlowError
from plait.flow import load

PROGRAM = Path(fuzz_files.__file__)


@pytest.mark.realtime
@pytest.mark.timeout(240)
def test_of_mutated_files_each_is_accepted_or_refused_with_places_in_little_time_and_memory(tmp_path: Path) -> None:
    """S05 to S13, S16, S17, method 7, of YAML and FlowScript alike: nothing but `FlowError` or success, at most 2 s and 256 MB each.

    As many as a minute has room for; `python tests/fuzz_files.py` tries ten thousand.
    """
    command = [sys.executable, str(PROGRAM), "--seed", "20", "--seconds", "50", "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=220)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"^seed 20: (\d+) files, (\d+) accepted, (\d+) refused, 0 wrong; ", done.stdout, re.M)
    assert found is not None, done.stdout
    assert int(found[1]) == int(found[2]) + int(found[3]) > 200
    assert min(int(found[2]), int(found[3])) > 30, "they are too much alike"


class TestTheFuzzer:
    def test_a_case_is_the_same_for_the_same_seed(self) -> None:
        known = fuzz_files.corpus()
        numbers = range(len(known), len(known) + 60)
        assert [fuzz_files.mutated(3, at, known) for at in numbers] == [
            fuzz_files.mutated(3, at, known) for at in numbers
        ]
        assert fuzz_files.mutated(3, len(known), known) != fuzz_files.mutated(4, len(known), known)

    @pytest.mark.realtime
    @pytest.mark.parametrize(
        ("program", "says"),
        [
            ("raise KeyError('x')", "KeyError at "),
            ("while True: pass", "its process ended with status"),
            ("kept = bytearray(400 << 20)", "took "),
            ("import os; os.kill(os.getpid(), 9)", "ended with status 9"),
            ("class P:\n  def __str__(self): return f'{path}:9:1: error[x]: y'\n  def lines(self): return []\ncheck_line(P(), path.parent)", "no line of the file"),
            ("class P:\n  def __str__(self): return f'{path}:1:99: error[x]: y'\n  def lines(self): return []\ncheck_line(P(), path.parent)", "behind the end of its line"),
        ],
        ids=["exception", "time", "memory", "death", "line", "column"],
    )  # fmt: skip
    def test_it_sees_what_is_wrong(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, says: str
    ) -> None:
        path = write(tmp_path, "tasks: {}\n")

        def look(path: Path) -> str:
            exec(program, {"path": path, "check_line": fuzz_files.check_line})
            return "accepted"

        monkeypatch.setattr(fuzz_files, "look", look)
        monkeypatch.setattr(fuzz_files, "MOST_SECONDS", 3)
        assert says in fuzz_files.judged(0, "x", path).wrong


# -- files that were found


def cost(path: Path) -> float:
    """Seconds of processor time that reading a file takes, and all pictures of one that is accepted."""
    began = time.process_time()
    try:
        flow = load(path)
    except FlowError:
        pass
    else:
        flow.shape()
        for form in FORMS.values():
            list(form(flow))
    return time.process_time() - began


@pytest.mark.parametrize(
    "name",
    [
        "keys that cost", "costs that cost", "paths that cost", "exclusions", "inclusions", "foreaches that write", "matrices that write", "many templates", "many templates and escapes", "files twice each", "files that write, twice each",
        "a wide matrix that writes", "regular expressions",
    ],
)  # fmt: skip
def test_what_took_minutes_takes_less_than_two_seconds(tmp_path: Path, name: str) -> None:
    """S13 S17: expressions of many items, entries of a matrix, tasks that are seen before they grow, files in files."""
    fuzz_files.folder_for(tmp_path)
    assert cost(write(tmp_path, fuzz_files.EVIL[name])) < fuzz_files.SECONDS


class TestBudgets:
    def test_the_keys_of_all_items_share_one_budget_and_large_lists_have_room(self, tmp_path: Path) -> None:
        """S17: what works them out is one turn of the event loop."""
        text = "inputs: {{n: {{type: integer}}}}\ntasks: {{a: {{foreach: '{{{{ range(0, inputs.n) }}}}', key: '{{{{ {} }}}}', call: 'builtins:int'}}}}"
        result = run(tmp_path, text.format("item + reduce(range(0, 90000), (a, b) => a, 0)"), n=50)
        assert "more than 1,000,000 steps" in str(result["a"].error)
        result = run(tmp_path, text.format('"k" + (item + 1) * 2 + "-" + item'), n=20_000)
        assert result.status == "succeeded", result.first_cause

    def test_all_expressions_of_a_task_share_one_and_the_next_task_has_its_own(self, tmp_path: Path) -> None:
        """S17: env, words, arguments, key, cost and paths of one task are worked out at once."""
        heavy = "{{ reduce(range(0, 150000), (a, b) => a, 1) }}"
        result = run(
            tmp_path,
            f"""
            tasks:
              few: {{foreach: [1, 2, 3, 4], run: [echo, "{heavy}"]}}
              words: {{run: [echo, "{heavy}", "{heavy}", "{heavy}", "{heavy}"]}}
              env: {{run: echo, env: {{A: "{heavy}", B: "{heavy}", C: "{heavy}", D: "{heavy}"}}}}
              given: {{call: "builtins:dict", with: {{a: ["{heavy}", "{heavy}", {{b: "{heavy}"}}], c: "{heavy}"}}}}
              cases: {{switch: [{{when: "{{{{ {heavy.strip("{} ")} < 0 }}}}", tasks: {{x: {{run: x}}}}}}, {{when: "{{{{ {heavy.strip("{} ")} < 1 }}}}", tasks: {{x: {{run: x}}}}}}, {{when: "{{{{ {heavy.strip("{} ")} < 0 }}}}", tasks: {{x: {{run: x}}}}}}, {{tasks: {{x: {{run: x}}}}}}]}}
            """,
        )
        assert result["few"].value == ["1"] * 4
        for key in ("words", "env", "given", "cases"):
            assert isinstance(result[key].error, ExpressionError), key
            assert "more than 1,000,000 steps" in str(result[key].error), key

    def test_what_is_written_into_one_command_is_bounded_with_what_was_written_before(self, tmp_path: Path) -> None:
        """S17: a value of a megabyte, many times."""
        words = ", ".join(["'x{{ tasks.a.output }}'"] * 30)
        result = run(
            tmp_path,
            f"tasks:\n  a: {{run: 'head -c 1000000 /dev/zero | tr \"\\\\0\" x'}}\n  b: {{call: 'builtins:dict', with: {{a: [{words}]}}}}",
        )
        assert len(result["a"].value) == 1_000_000
        assert "this makes more than 20,000,000 characters" in str(result["b"].error)

    def test_no_file_is_refused_for_what_its_tasks_may_each_cost(self, tmp_path: Path) -> None:
        """What the reader works out before anything runs it leaves where that costs much."""
        items = ", ".join(map(str, range(40)))
        heavy = "reduce(range(0, 150000), (a, b) => a, 1)"
        load(write(tmp_path, f"tasks: {{a: {{foreach: [{items}], cost: '{{{{ {heavy} }}}}', rate_limit: 9/s, run: echo}}}}"))  # fmt: skip
        ((line, _, code, says),) = problems(
            write(tmp_path, "tasks: {a: {foreach: [1, -1], cost: '{{ item }}', rate_limit: 9/s, run: echo}}")
        )
        assert (line, code) == (1, "value")
        assert "of this item" in says


HEAVY = {
    "steps": "reduce(range(0, 400000), (a, b) => a + b, 0)",
    "size": "length(map(range(0, 9000), x => repeat('abc', 90000)))",
    "regular expression": "match(repeat('a', 50) + 'b', '(?:a|aa)+$')",
    "times": "length(map(range(0, 150000), x => parse_date('2024-01-01', 'yyyy-MM-dd')))",
    "sorted": "length(sort(map(range(0, 200000), x => -x), (a, b) => a - b))",
    "depth": "reduce(range(0, 90000), (a, b) => [a], 0)",
    "numbers": "reduce(range(0, 300000), (a, b) => a * 1000003 + 1, 1)",
}
"""Expressions that would take long, and end soon."""


PLACES = {
    "when": "t: {when: '{{ X }}', run: x}",
    "foreach": "t: {foreach: '{{ [X] }}', run: x}",
    "key": "t: {foreach: '{{ [0] }}', key: '{{ X }}', run: x}",
    "matrix": "t: {matrix: {a: '{{ [X] }}'}, run: x}",
    "until": "t: {loop: {max: 3, until: '{{ X }}'}, tasks: {a: {run: 'true'}}}",
    "while": "t: {while: '{{ X }}', tasks: {a: {run: 'true'}}}",
    "switch": "t: {switch: [{when: '{{ X }}', tasks: {a: {run: x}}}]}",
    "env": "t: {run: 'true', env: {A: '{{ X }}'}}",
    "cwd": "t: {run: 'true', cwd: '{{ X }}'}",
    "run": "t: {run: 'echo {{ X }}'}",
    "with": "t: {call: 'builtins:dict', with: {a: ['{{ X }}']}}",
    "cost": "t: {run: 'true', cost: '{{ X }}', rate_limit: 9/s}",
    "writes": "l: {run: echo x}\n  t: {run: 'true', writes: ['{{ tasks.l.output }}{{ X }}']}",
    "concurrency_key": "t: {run: 'true', concurrency_key: '{{ X }}'}",
}
"""Tasks `t` with an expression X."""


class TestCosts:
    @pytest.mark.parametrize(
        ("place", "kind"),
        [*((place, "steps") for place in PLACES), *(("when", kind) for kind in HEAVY if kind != "steps")],
    )
    def test_what_costs_too_much_is_a_failure_of_its_task_in_one_line_and_in_two_seconds(
        self, tmp_path: Path, place: str, kind: str
    ) -> None:
        """S17: wherever it stands; the event loop turns again."""
        text = PLACES[place].replace("X", HEAVY[kind].replace("'", "''"))
        flow = load(write(tmp_path, f"tasks:\n  {text}\n  other: {{run: 'true'}}\non_failure: continue\n"))
        began = time.process_time()
        result = plait.run(flow, raise_on_failure=False)
        assert time.process_time() - began < 5  # a second of an idle machine
        assert result["other"].status == "succeeded"
        assert str(result["t"].status) == "failed", result["t"]
        said = str(result["t"].error)
        assert "flow.yaml:" in said
        assert len(said.splitlines()) == 1

    def test_so_it_is_in_the_outputs_and_the_variables_of_a_file(self, tmp_path: Path) -> None:
        heavy = HEAVY["steps"]
        flow = load(write(tmp_path, f"tasks: {{a: {{run: 'true'}}}}\noutputs: {{o: '{{{{ {heavy} }}}}'}}\n"))
        with pytest.raises(ExpressionError, match="more than 1,000,000 steps"):
            _ = plait.run(flow).value
        flow = load(write(tmp_path, f"env: {{A: '{{{{ {heavy} }}}}'}}\ntasks: {{a: {{run: 'true'}}}}\n"))
        with pytest.raises(ExpressionError, match="more than 1,000,000 steps"):
            plait.run(flow)


class TestMatrices:
    def test_so_many_entries_are_held_against_combinations_and_no_more(self, tmp_path: Path) -> None:
        """S13: each entry against each combination."""
        axis = ", ".join(map(str, range(300)))
        entries = ", ".join(f"{{a: {at}}}" for at in range(10))
        text = f"tasks: {{t: {{matrix: {{a: [{axis}], b: [{axis}], KIND: [{entries}]}}, run: x}}}}"
        for kind in ("include", "exclude"):
            ((_, _, code, says),) = problems(write(tmp_path, text.replace("KIND", kind)))
            assert (code, "at most 500,000 such pairs" in says) == ("too-large", True)
        load(write(tmp_path, text.replace("KIND: [" + entries + "]", "exclude: [{a: 1}]")))
        given = run(tmp_path, f"inputs: {{n: {{type: integer}}}}\ntasks: {{t: {{matrix: {{a: '{{{{ range(0, inputs.n) }}}}', exclude: [{entries}]}}, run: x}}}}", n=60_000)  # fmt: skip
        assert "at most 500,000 such pairs" in str(given["t"].error)

    @pytest.mark.parametrize("value", ["a\nb", "", "x" * 300, "\x1b[2J"], ids=["line", "empty", "long", "escape"])
    def test_combinations_that_cannot_be_names_are_numbered(self, tmp_path: Path, value: str) -> None:
        """Nobody asked for names."""
        result = plait.run(
            load(write(tmp_path, "inputs: {v: {type: list}}\ntasks: {t: {matrix: {a: '{{ inputs.v }}'}, run: [echo, x]}}")),
            inputs={"v": [value, "b"]},
        )  # fmt: skip
        assert [key for key in result if key != "t"] == ["t[0]", "t[1]"]


class TestLookingAhead:
    def test_conflicts_among_more_tasks_than_are_looked_at_before_are_found_when_they_grow(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """S13: nothing is missed, only later."""
        text = "tasks: {t: {foreach: [1, 2, 3, 4], tasks: {u: {foreach: [1, 2, 3, 4], tasks: {x: {run: 'true', writes: ['{{ item }}']}}}}}}"
        path = write(tmp_path, text)
        assert {each[2] for each in problems(path)} == {"conflict"}
        import plait._core.conflicts as conflicts
        import plait._core.paths as paths

        monkeypatch.setattr(paths, "MOST_FORESEEN", 3)
        monkeypatch.setattr(conflicts, "MOST_FORESEEN", 3)
        result = plait.run(load(path), raise_on_failure=False)
        assert result.status == "failed"
        assert "may run at once" in str(result.first_cause)

    @pytest.mark.parametrize(
        "task",
        ["run: x, writes: ['{{ upper([1]) }}']", "foreach: [a, 1], run: x, writes: ['{{ upper(item) }}']", "tasks: {y: {run: x, reads: ['{{ upper(5) }}']}}", "run: x, on_error: {run: x, writes: ['{{ upper(5) }}']}"],
        ids=["task", "item", "group", "repair"],
    )  # fmt: skip
    def test_a_path_that_cannot_be_worked_out_is_a_problem_with_its_place(self, tmp_path: Path, task: str) -> None:
        """S16: and no bare exception."""
        text = f"tasks:\n  t: {{{task}}}\n"
        ((line, column, code, says),) = problems(write(tmp_path, text))
        assert (line, column, code) == (2, text.split("\n")[1].index("upper"), "EXPR_TYPE_ERROR")
        assert says.startswith("{{ upper(")

    def test_what_is_wrong_with_paths_in_another_file_is_told_of_that_file(self, tmp_path: Path) -> None:
        """The place is in the file that it says."""
        inner = "\n\n\ntasks:\n  a: {run: x, writes: [out]}\n  b: {run: x, writes: [out]}\n  c: {run: x, writes: ['{{ upper(5) }}']}\n"
        path = write(tmp_path, "tasks: {s: {flow: inner.yaml}}")
        for text, line, code in (
            (inner.replace("upper(5)", "1"), 6, "conflict"),
            (inner, 7, "EXPR_TYPE_ERROR"),
            (inner.replace("upper(5)", 'repeat("x", 0)'), 7, "value"),
        ):
            write(tmp_path, text, "inner.yaml")
            with pytest.raises(FlowError) as caught:
                load(path)
            (problem,) = caught.value.problems
            assert str(problem).startswith(f"{tmp_path / 'inner.yaml'}:{line}:"), str(problem)
            assert f"error[{code}]" in str(problem)

    def test_a_path_with_the_name_of_the_run_is_known_once_it_has_one(self, tmp_path: Path) -> None:
        result = run(
            tmp_path,
            "tasks:\n  a: {run: 'true', writes: ['{{ run.id }}/x']}\n  b: {run: 'true', writes: ['/x']}\n  c: {run: 'true', writes: ['{{ run.name }}']}",
        )
        assert result.status == "succeeded", result.first_cause


class TestPlaces:
    def test_a_name_in_a_text_over_several_lines_is_told_of_within_the_file(self, tmp_path: Path) -> None:
        """A plain text that is folded, with no line of its own for what is wrong."""
        text = f"tasks:\n  a:\n    run: x\n    cwd: {'a' * 50}\n      b {{{{ ite\n      m }}}} c {{{{ 1 +\n\n      1 }}}}\n"
        with pytest.raises(FlowError) as caught:
            load(write(tmp_path, text))
        for each in caught.value.problems:
            fuzz_files.check_line(each, tmp_path)

    def test_places_behind_escapes_are_exact_however_many_there_are(self, tmp_path: Path) -> None:
        line = 'tasks: {a: {run: [echo, "' + "\\x41\\n\\u00e9\\\\" * 500 + ' {{ nope }}{{ 1 }}\\t{{ nada }}"]}}'
        found = problems(write(tmp_path, line))
        assert [each[1] for each in found] == [line.index("nope") + 1, line.index("nada") + 1]
        line = "tasks: {a: {run: [echo, '" + "''" * 500 + "{{ nope }}''{{ nada }}']}}"
        found = problems(write(tmp_path, line))
        assert [each[1] for each in found] == [line.index("nope") + 1, line.index("nada") + 1]


class TestFiles:
    def test_files_that_name_files_have_so_many_tasks_and_no_more(self, tmp_path: Path) -> None:
        """S13: two names of the next file in each, and the last has all tasks of a run."""
        for at in range(14):
            write(tmp_path, f"tasks: {{a: {{flow: f{at + 1}.yaml}}, b: {{flow: f{at + 1}.yaml}}}}", f"f{at}.yaml")
        write(tmp_path, "tasks: {x: {run: echo}}", "f14.yaml")
        found = problems(tmp_path / "f0.yaml")
        assert "too-large" in {each[2] for each in found}
        assert "more than 10,000 tasks" in str([each[3] for each in found])
        flow = load(tmp_path / "f3.yaml")
        assert flow.file.size == 3 * 2**11 - 2
        assert len(list(FORMS["text"](flow))) < 3 * 2**11, "so many are not drawn"
