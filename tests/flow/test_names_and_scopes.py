"""What a name stands for at each place of a file: branches see nothing of one another, rounds their own, other files nothing at all."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import plait
from flow_files import problems, run, write
from plait.flow import load
from plait.flow.values import detached

STEPS = """
import collections

import plait

Pair = collections.namedtuple("Pair", "a b")


class Own(dict):
    pass


async def said(v=None):
    return v


async def fails(v=None):
    raise ValueError(f"{plait.current().key} fails")


async def kinds():
    return {
        "ordered": collections.OrderedDict(a=[1]), "default": collections.defaultdict(list, a=[1]), "counter": collections.Counter("a"), "own": Own(a=[1]),
        "tuple": ([1], {"k": [1]}), "named": Pair([1], 2), "set": {1}, "deque": collections.deque([[1]]), "bytes": bytearray(b"x"), "list": [[1]],
    }


async def touch(v, who):
    for name in ("ordered", "default", "own"):
        v[name]["a"].append(who)
        v[name]["new"] = who
    v["counter"][who] += 1
    v["tuple"][0].append(who)
    v["tuple"][1]["k"].append(who)
    v["named"].a.append(who)
    v["set"].add(who)
    v["deque"][0].append(who)
    v["deque"].append(who)
    v["bytes"].extend(b"y")
    v["list"][0].append(who)
    return [type(each).__name__ for each in v.values()]
"""


@pytest.fixture(autouse=True)
def _modules() -> Iterator[None]:
    """The functions of one test are imported by that test alone."""
    path = list(sys.path)
    yield
    sys.modules.pop("steps", None)
    sys.path[:] = path


def told(folder: Path, text: str, **inputs: Any) -> plait.RunResult:
    """The result of a flow whose tasks say things: `@v` stands for a call that gives `v`."""
    write(folder, STEPS, "steps.py")
    return run(folder, text, **inputs)


def say(value: str) -> str:
    return f'{{call: "steps:said", with: {{v: "{{{{ {value} }}}}"}}}}'


class TestIsolation:
    def test_what_one_branch_changes_no_other_sees_whatever_type_it_is_of(self, tmp_path: Path) -> None:
        """F72 D3: each is given a copy, of all that can be changed in it; of the same types."""
        result = told(
            tmp_path,
            """
            tasks:
              made: {call: "steps:kinds"}
              p:
                parallel:
                  - {tasks: {a: {call: "steps:touch", with: {v: "{{ tasks.made.output }}", who: 2}}}}
                  - {tasks: {b: {call: "steps:touch", with: {v: "{{ tasks.made.output }}", who: 3}}}}
              each: {foreach: [4, 5], call: "steps:touch", with: {v: "{{ tasks.made.output }}", who: "{{ item }}"}}
            """,
        )
        assert result.status == "succeeded", result.first_cause
        steps = sys.modules["steps"]
        value = result["made"].value
        assert value["ordered"] == value["default"] == value["own"] == {"a": [1]}
        assert value["counter"] == {"a": 1}
        assert value["tuple"] == ([1], {"k": [1]})
        assert value["named"] == steps.Pair([1], 2)
        assert (value["set"], list(value["deque"]), value["bytes"], value["list"]) == ({1}, [[1]], b"x", [[1]])
        names = ["OrderedDict", "defaultdict", "Counter", "Own", "tuple", "Pair", "set", "deque", "bytearray", "list"]
        assert result["p"].value == [{"a": names}, {"b": names}]

    def test_deep_and_large_data_is_copied_too(self) -> None:
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        copied = detached(deep)
        assert copied is not deep
        shared = object()
        assert detached({"a": (1, shared)})["a"][1] is shared
        pair = (1, "x")
        assert detached([pair])[0] is pair

    @pytest.mark.parametrize(
        ("task", "name"),
        [
            ("p: {parallel: [{tasks: {a: X}}, {tasks: {b: {run: y}}}]}", "tasks.b.output"),
            ("p: {parallel: [{tasks: {a: X}}, {tasks: {b: {run: y}}}]}", "tasks.p.b.output"),
            ("p: {parallel: [{tasks: {g: {loop: 2, tasks: {a: X}}}}, {tasks: {b: {run: y}}}]}", "tasks.b.status"),
            ("s: {switch: [{when: true, tasks: {a: X}}, {tasks: {b: {run: y}}}]}", "tasks.b.output"),
            ("p: {parallel: [{tasks: {a: {run: y}}}], on_error: X}", "tasks.a.output"),
            ("p: {parallel: [{tasks: {a: {run: y}}}]}\n  o: X", "tasks.a.output"),
            ("l: {loop: 2, tasks: {a: {run: y}}}\n  o: X", "previous.a"),
            ("l: {loop: 2, tasks: {a: {run: y}}}\n  o: X", "tasks.a.output"),
            ("e: {foreach: [1], tasks: {a: {run: y}}}\n  o: X", "tasks.e.a.output"),
            ("e: {foreach: [1], tasks: {a: {run: y}}}\n  o: X", "item"),
            ("m: {matrix: {a: [1]}, tasks: {b: {run: y}}}\n  o: X", "matrix.a"),
            ("e: {foreach: [1], tasks: {a: X}}", "matrix.a"),
            ("e: {foreach: [1], when: '{{ item }}', run: y}", "item"),
            ("f: {run: y, on_error: {run: y}}\n  o: X", "error.message"),
            ("g: {tasks: {a: {run: y}}, finally: {z: {run: y}}}\n  o: X", "tasks.z.output"),
            ("g: {tasks: {a: X}, finally: {z: {run: y}}}", "tasks.z.output"),
            ("p: {parallel: [{tasks: {a: X}, finally: {z: {run: y}}}]}", "tasks.z.output"),
        ],
    )  # fmt: skip
    def test_no_name_reaches_into_what_is_not_around_it(self, tmp_path: Path, task: str, name: str) -> None:
        """F72: before anything runs."""
        text = task.replace("X", "{run: 'echo {{ " + name + " }}'}")
        found = problems(write(tmp_path, f"tasks:\n  {text}\n"))
        assert {each[2] for each in found} <= {"unknown-task", "unknown-name", "EXPR_UNDEFINED_VARIABLE", "cycle", "finally"}  # fmt: skip

    @pytest.mark.parametrize("name", ["inputs.mine", "env.MINE", "tasks.mine.output", "item", "index", "matrix.a", "previous.x", "error.message"])  # fmt: skip
    def test_another_file_sees_nothing_of_who_names_it(self, tmp_path: Path, name: str) -> None:
        """D8: nor does it run with the caller's variables."""
        write(tmp_path, f"tasks: {{a: {{run: 'echo {{{{ {name} }}}}'}}}}", "inner.yaml")
        path = write(
            tmp_path,
            """
            inputs: {mine: {type: string, default: x}}
            env: {MINE: x}
            tasks:
              mine: {run: x}
              l: {loop: 2, tasks: {x: {matrix: {a: [1]}, flow: inner.yaml, on_error: {flow: inner.yaml}}}}
              e: {foreach: [1], flow: inner.yaml}
            """,
        )
        assert problems(path)
        write(tmp_path, "tasks: {a: {run: 'echo \"<$MINE$OTHER>\"'}}", "inner.yaml")
        result = run(tmp_path, "env: {MINE: x}\ntasks: {s: {flow: inner.yaml}, t: {run: 'echo \"<$MINE>\"'}}")
        assert (result["s"].value, result["t"].value) == ({"a": "<>"}, "<x>")


class TestShadowing:
    def test_a_name_is_that_of_the_nearest_task(self, tmp_path: Path) -> None:
        """Groups in groups, all with the same keys."""
        x = say("tasks.x.output + tasks.y.output")
        result = told(
            tmp_path,
            f"""
            tasks:
              x: {say("'0'")}
              y: {say("'o'")}
              g:
                tasks:
                  x: {say("'1'")}
                  z: {x}
                  h:
                    needs: [x]
                    tasks:
                      y: {say("'i'")}
                      z: {x}
                      p: {{parallel: [{{tasks: {{x: {say("'2'")}, z: {x}}}}}, {{tasks: {{y: {say("'b'")}, w: {x}}}}}]}}
              z: {x}
              all: {say("[tasks.g.x.output, tasks.g.h.y.output, tasks.g.h.p.x.output, tasks.g.h.p.w.output, tasks.x.output, tasks.g.h.p.z.output]")}
            """,
        )
        assert result.status == "succeeded", result.first_cause
        assert {key: outcome.value for key, outcome in result.items() if key.endswith(("z", "w"))} == {
            "z": "0o", "g/z": "1o", "g/h/z": "1i", "g/h/p[0]/z": "2i", "g/h/p[1]/w": "1b",
        }  # fmt: skip
        assert result["all"].value == ["1", "i", "2", "1b", "0", "2i"]

    def test_a_loop_in_a_foreach_in_a_branch_with_keys_of_those_around(self, tmp_path: Path) -> None:
        """`item`, `index` and `previous` are those of the nearest block that has them."""
        result = told(
            tmp_path,
            f"""
            tasks:
              n: {say("'top'")}
              p:
                parallel:
                  - tasks:
                      e:
                        foreach: [a, b]
                        tasks:
                          n: {say("item")}
                          l:
                            loop: 2
                            tasks:
                              n: {say("item + index + (previous.n ?? '-')")}
                              m: {say("tasks.n.output + '/' + item")}
                              k: {{loop: 2, tasks: {{n: {say("(previous.n ?? 'none') + index + item")}}}}}
                              f: {{foreach: [z], call: "steps:said", with: {{v: "{{{{ [item, index, previous.f, tasks.n.output] }}}}"}}}}
                  - {{tasks: {{q: {say("tasks.n.output")}}}}}
            """,
        )
        assert result["p[1]/q"].value == "top"
        assert result["p[0]/e[1]/l[1]/m"].value == "b1b0-/b"
        assert result["p[0]/e[0]/l[1]/k"].value == {"n": "none0a1a"}
        assert result["p[0]/e[0]/l[1]/f"].value == [["z", 0, [["z", 0, None, "a0-"]], "a1a0-"]]
        assert result["p[0]/e[0]"].value["l"]["n"] == "a1a0-"

    def test_keys_with_hyphens_dots_spaces_and_quotes_and_keys_that_are_words_of_the_language(
        self, tmp_path: Path
    ) -> None:
        """Each is written in brackets, and some without."""
        keys = ["a-b", "a.b", "a b", "it's", 'say "x"', "output", "status", "item", "tasks", "length", "0", "null", "true", "é", "a-1"]  # fmt: skip
        tasks = "\n".join(f"              {json_text(key)}: {say(str(at))}" for at, key in enumerate(keys))
        group = "\n".join(f"                  {json_text(key)}: {say(str(at))}" for at, key in enumerate(keys))
        names = {key: f"tasks[{json_text(key)}].output" for key in keys}
        inner = {key: f"tasks.g[{json_text(key)}].output" for key in keys if key not in ("output", "status")}
        outputs = "\n".join(
            f"              {json_text('o ' + key)}: {json_text('{{ ' + name + ' }}')}\n              {json_text('g ' + key)}: {json_text('{{ ' + inner.get(key, name) + ' }}')}"
            for key, name in names.items()
        )
        result = told(
            tmp_path,
            f"""
            tasks:
{tasks}
              g:
                tasks:
{group}
              plain: {say("[tasks.a-b.output, tasks.output.output, tasks.status.status, tasks.é.output, tasks.a-1.output, tasks.a-b.output-1]")}
            outputs:
{outputs}
            """,
        )
        assert result.status == "succeeded", result.first_cause
        for at, key in enumerate(keys):
            assert (result.value[f"o {key}"], result.value[f"g {key}"]) == (at, at), key
        assert result["plain"].value == [0, 5, "succeeded", 13, 14, -1]


def json_text(text: str) -> str:
    """As YAML and the expressions have it between double quotes."""
    return json.dumps(text, ensure_ascii=False)


class TestFromOutside:
    def test_paths_into_blocks_give_what_is_there_and_null_for_what_did_not_run(self, tmp_path: Path) -> None:
        """D5 D7: of a loop the last round, of a switch the case that was taken, of branches the one that has it."""
        result = told(
            tmp_path,
            f"""
            on_failure: continue
            tasks:
              p: {{parallel: [{{tasks: {{a: {say("1")}, g: {{tasks: {{deep: {say("2")}}}}}}}}}, {{tasks: {{b: {{call: "steps:fails", allow_failure: true}}}}}}]}}
              s: {{switch: [{{when: "{{{{ false }}}}", tasks: {{no: {say("1")}, both: {say("'n'")}}}}}, {{tasks: {{yes: {say("2")}, both: {say("'y'")}}}}}]}}
              l: {{loop: {{max: 9, until: "{{{{ tasks.i.output == 2 }}}}"}}, tasks: {{i: {say("index")}, s: {{switch: [{{when: "{{{{ index == 1 }}}}", tasks: {{odd: {say("index")}}}}}]}}}}, finally: {{z: {say("index * 10")}}}}}
              w: {{while: "{{{{ false }}}}", tasks: {{x: {say("1")}}}}}
              skip: {{when: false, parallel: [{{tasks: {{q: {say("1")}}}}}]}}
              late: {{needs: [p, s, l, w], join: all_done, call: "steps:said", with: {{v: "{{{{ [tasks.p.a.output, tasks.p.g.deep.output, tasks.p.b.output, tasks.p.b.status] }}}}"}}}}
            outputs:
              s: "{{{{ [tasks.s.no.output, tasks.s.no.status, tasks.s.yes.output, tasks.s.both.output] }}}}"
              l: "{{{{ [tasks.l.i.output, tasks.l.s.odd.output, tasks.l.s.status, tasks.l.z.output, tasks.l.output.i] }}}}"
              w: "{{{{ [tasks.w.x.output, tasks.w.x.status, tasks.w.output] }}}}"
              skip: "{{{{ [tasks.skip.q.output, tasks.skip.output, tasks.skip.status] }}}}"
            """,
        )
        assert result["late"].value == [1, 2, None, "failed"]
        assert result.value == {
            "s": [None, None, 2, "y"],
            "l": [2, None, "succeeded", 20, 2],
            "w": [None, None, None],
            "skip": [None, None, "skipped"],
        }

    def test_when_false_on_a_block_nothing_of_it_is_worked_out(self, tmp_path: Path) -> None:
        """No condition, no items, no inputs of a file: each of these would fail."""
        bad = "{{ upper([1]) }}"
        write(tmp_path, "inputs: {x: {type: integer}}\ntasks: {a: {run: x}}", "inner.yaml")
        result = told(
            tmp_path,
            f"""
            tasks:
              p: {{when: false, parallel: [{{tasks: {{a: {{run: "{bad}"}}}}}}]}}
              s: {{when: false, switch: [{{when: "{bad}", tasks: {{a: {{run: x}}}}}}]}}
              w: {{when: false, while: "{bad}", tasks: {{a: {{run: x}}}}}}
              l: {{when: false, loop: {{until: "{bad}"}}, tasks: {{a: {{run: x}}}}}}
              f: {{when: false, foreach: "{bad}", tasks: {{a: {{run: x}}}}}}
              m: {{when: false, matrix: {{a: "{bad}"}}, run: x}}
              i: {{when: false, flow: inner.yaml, with: {{x: "{bad}"}}}}
              k: {{when: false, foreach: [1], key: "{bad}", run: x}}
              c: {{when: false, run: x, concurrency_key: "{bad}", env: {{A: "{bad}"}}}}
            """,
        )
        assert {str(outcome.status) for outcome in result.values()} == {"skipped"}
        assert len(result) == 9


class TestFailures:
    def test_a_block_with_a_task_that_needs_what_failed_outside_does_not_run(self, tmp_path: Path) -> None:
        """What a task inside refers to the whole block needs; it may ask for less with `join`."""
        inside = f"{{x: {say('tasks.bad.status')}}}"
        result = told(
            tmp_path,
            f"""
            on_failure: continue
            tasks:
              bad: {{call: "steps:fails"}}
              no: {{when: false, call: "steps:said"}}
              p: {{parallel: [{{tasks: {inside}}}]}}
              s: {{switch: [{{tasks: {inside}}}]}}
              l: {{loop: 2, tasks: {inside}}}
              f: {{foreach: [1], tasks: {inside}}}
              all: {{join: all_done, parallel: [{{tasks: {inside}}}]}}
              skipped: {{parallel: [{{tasks: {{y: {say("tasks.no.output")}}}}}]}}
            """,
        )
        assert {key: str(result[key].status) for key in ("p", "s", "l", "f")} == dict.fromkeys(
            "pslf", "upstream_failed"
        )
        assert result["all"].value == [{"x": "failed"}]
        assert str(result["skipped"].status) == "skipped"
        assert "p[0]" not in result

    def test_what_makes_a_failure_good_knows_of_it_in_every_block_and_of_the_item_and_the_round(
        self, tmp_path: Path
    ) -> None:
        """E13: `error` inside branches, cases and rounds of an on_error, and of tasks in rounds and items."""
        result = told(
            tmp_path,
            f"""
            on_failure: continue
            tasks:
              a: {{run: "exit 3", on_error: {{parallel: [{{tasks: {{x: {say("error.exit_code")}}}}}, {{tasks: {{y: {say("error.type")}}}}}]}}}}
              b: {{run: "exit 3", on_error: {{loop: 2, tasks: {{x: {say("[error.exit_code, previous.x]")}}}}}}}
              c: {{run: "exit 3", on_error: {{switch: [{{when: "{{{{ error.exit_code == 3 }}}}", tasks: {{x: {say("error.status")}}}}}]}}}}
              d: {{foreach: [3, 0], run: "exit {{{{ item }}}}", on_error: {{tasks: {{x: {say("[item, index, error.exit_code]")}}}}}}}
              e: {{parallel: [{{tasks: {{z: {{run: "exit 4"}}}}}}], on_error: {say("error.message")}}}
              f: {{loop: 3, tasks: {{z: {{run: "exit {{{{ index }}}}"}}}}, on_error: {say("error.message")}}}
              h: {{loop: 3, tasks: {{z: {{run: "exit {{{{ index }}}}", on_error: {say("[index, error.exit_code, previous.z]")}}}}}}}
            """,
        )
        assert result.status == "succeeded", result.first_cause
        assert result["a"].value == [{"x": 3}, {"y": "CommandFailed"}]
        assert result["b"].value == {"x": [3, [3, None]]}
        assert result["c"].value == {"x": "failed"}
        assert result["d"].value == [{"x": [3, 0, 3]}, ""]
        assert "e[0]/z" in result["e"].value
        assert "f[1]/z" in result["f"].value
        assert result["h"].value == {"z": [2, 2, [1, 1, ""]]}

    def test_what_cleans_up_runs_in_branches_cases_rounds_and_files_and_when_cancelled(self, tmp_path: Path) -> None:
        """E14: each sees its own tasks and its round."""
        write(
            tmp_path,
            f"tasks: {{a: {{call: 'steps:fails'}}}}\nfinally: {{z: {say('tasks.a.status')}}}\n",
            "inner.yaml",
        )
        result = told(
            tmp_path,
            f"""
            on_failure: continue
            tasks:
              p: {{allow_failure: true, parallel: [{{tasks: {{a: {{call: "steps:fails"}}}}, finally: {{az: {say("tasks.a.status")}}}}}, {{tasks: {{b: {say("1")}}}, finally: {{bz: {say("tasks.b.output")}}}}}]}}
              s: {{allow_failure: true, switch: [{{when: "{{{{ false }}}}", tasks: {{n: {{run: x}}}}, finally: {{nz: {{run: x}}}}}}, {{tasks: {{a: {{call: "steps:fails"}}}}, finally: {{z: {say("tasks.a.status")}}}}}]}}
              l: {{loop: 2, tasks: {{i: {{call: "steps:fails", allow_failure: true}}}}, finally: {{z: {say("[index, tasks.i.status, previous.i]")}}}}}
              f: {{allow_failure: true, flow: inner.yaml}}
              c:
                allow_failure: true
                on_failure: fail_fast
                parallel:
                  - {{tasks: {{x: {{run: "sleep 30"}}}}, finally: {{xz: {say("tasks.x.status")}}}}}
                  - {{tasks: {{y: {{call: "steps:fails"}}}}}}
            """,
        )
        assert result["p[0]/az"].value == "failed"
        assert result["p[1]/bz"].value == 1
        assert result["s/z"].value == "failed"
        assert "s/nz" not in result
        assert [result[f"l[{at}]/z"].value for at in range(2)] == [[0, "failed", None], [1, "failed", None]]
        assert result["f/z"].value == "failed"
        assert result["c[0]/xz"].value == "cancelled"

    def test_a_critical_task_in_a_branch_ends_the_run_and_what_goes_round_in_it(self, tmp_path: Path) -> None:
        result = told(
            tmp_path,
            """
            on_failure: continue
            tasks:
              p: {parallel: [{tasks: {a: {run: "exit 4", critical: true}}}, {tasks: {b: {run: "sleep 30"}}}]}
              l: {while: "{{ true }}", tasks: {x: {call: "steps:said"}}}
            """,
        )
        assert str(result.status) == "failed"
        assert str(result["p[1]/b"].status) in ("cancelled", "not_started")
        assert str(result["l"].status) == "cancelled"

    def test_enough_of_a_blocks_parts_within_each_round(self, tmp_path: Path) -> None:
        """D6: `min_success` of branches, of items, in rounds."""
        result = told(
            tmp_path,
            f"""
            tasks:
              l:
                loop: 2
                tasks:
                  p: {{min_success: 1, parallel: [{{tasks: {{a: {{call: "steps:fails"}}}}}}, {{tasks: {{b: {say("index")}}}}}]}}
                  e: {{min_success: 1, foreach: [1, 2], call: "steps:{{}}", with: {{v: 1}}}}
            """.replace('call: "steps:{}", with: {v: 1}', 'tasks: {x: {run: "test {{ item }} -eq 2"}}'),
        )
        assert result.status == "succeeded", result.first_cause
        assert result["l"].value == {"p": [None, {"b": 1}], "e": [None, {"x": ""}]}


def test_a_name_of_a_file_that_no_system_takes_is_refused(tmp_path: Path) -> None:
    """S19: longer than a name can be, or a link in itself."""
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    for name in ("x" * 5_000 + ".yaml", "a/" * 3_000 + "x.yaml", "loop.yaml/../loop.yaml", "\\0.yaml"):
        ((line, column, code, _),) = problems(write(tmp_path, f'tasks:\n  a: {{flow: "{name}"}}\n'))
        assert (line, column, code) == (2, 13, "file"), name


def test_no_blocks_of_a_loaded_file_are_changed_by_a_run(tmp_path: Path) -> None:
    """One flow, run twice, gives the same."""
    write(tmp_path, STEPS, "steps.py")
    flow = load(
        write(tmp_path, f"tasks: {{e: {{foreach: [{{a: [1]}}], call: 'steps:said', with: {{v: '{{{{ item }}}}'}}}}, l: {{loop: 2, tasks: {{x: {say('[index, previous.x]')}}}}}}}")
    )  # fmt: skip
    first, second = plait.run(flow), plait.run(flow)
    assert {key: each.value for key, each in first.items()} == {key: each.value for key, each in second.items()}
