"""`plait run -n`: what would run, and why; what it says is what a run then does."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import plait
from flow_files import write
from plait.cli.planning import document, text
from plait.cli.session import Settings
from plait.errors import ExpressionError
from plait.flow import load, planning

BLOCKS = Path(__file__).parents[1] / "flows" / "blocks.yaml"


def plan(folder: Path, flow: str, settings: Settings | None = None, **inputs: Any) -> dict[str, Any]:
    """The plan of a file, its tasks by their keys, at any depth: `group/inner`."""
    return by_key(document(load(write(folder, flow)), inputs, settings or Settings())["tasks"])


def by_key(tasks: list[dict[str, Any]], path: str = "") -> dict[str, Any]:
    found = {}
    for task in tasks:
        found[path + task["key"]] = task
        found |= by_key(task.get("tasks", []), f"{path}{task['key']}/")
    return found


def lines(folder: Path, flow: str, **inputs: Any) -> list[str]:
    return list(text(document(load(write(folder, flow)), inputs, Settings())))


def fate(found: dict[str, Any], *keys: str) -> list[str]:
    return [found[key]["would"] for key in keys]


class TestConditions:
    FLOW = """
        inputs: {n: {type: integer, default: 3}}
        env: {LEVEL: "{{ inputs.n }}", CHANCE: "{{ uuid() }}"}
        tasks:
          first: {run: echo}
          big: {when: "{{ inputs.n > 5 }}", run: echo}
          level: {when: "{{ env.LEVEL == '3' }}", run: echo}
          off: {when: false, run: echo}
          result: {when: "{{ tasks.first.output }}", run: echo}
          chance: {when: "{{ env.CHANCE == 'x' }}", run: echo}
          name: {when: "{{ run.id == 'x' }}", run: echo}
          mixed: {when: "{{ inputs.n > 5 && tasks.first.output }}", run: echo}
        """

    def test_what_inputs_alone_decide_is_decided_and_all_else_is_known_at_run_time(self, tmp_path: Path) -> None:
        found = plan(tmp_path, self.FLOW)
        assert fate(found, "first", "big", "level", "off") == ["run", "skipped", "run", "skipped"]
        assert fate(found, "result", "chance", "name", "mixed") == ["maybe"] * 4
        assert found["big"]["because"] == ["when {{ inputs.n > 5 }} does not hold"]
        assert found["result"]["because"] == ["only if {{ tasks.first.output }}, known at run time"]
        assert fate(plan(tmp_path, self.FLOW, n=6), "big", "level") == ["run", "skipped"]

    def test_joins_decide_as_the_scheduler_does(self, tmp_path: Path) -> None:
        found = plan(
            tmp_path,
            """
            tasks:
              yes: {run: echo}
              no: {when: false, run: echo}
              bad: {run: [echo, "{{ upper(1) }}"]}
              may: {when: "{{ tasks.yes.output }}", run: echo}
              both: {needs: [yes, no], run: echo}
              done: {needs: [no, bad], join: all_done, run: echo}
              one: {needs: [no, yes], join: one_success, run: echo}
              none: {needs: [no], join: one_success, run: echo}
              fine: {needs: [no, yes], join: none_failed, run: echo}
              broken: {needs: [no, bad], run: echo}
              alarm: {needs: [bad, yes], join: one_failed, run: echo}
              quiet: {needs: [no], join: one_failed, run: echo}
              perhaps: {needs: [yes], join: one_failed, run: echo}
              follows: {needs: [may], run: echo}
              either: {needs: [may, no], join: one_success, run: echo}
            finally:
              tidy: {needs: [bad], run: echo}
            """,
        )
        assert {key: task["would"] for key, task in found.items()} == {
            "yes": "run", "no": "skipped", "bad": "failed", "may": "maybe", "both": "skipped", "done": "run", "one": "run", "none": "skipped",
            "fine": "run", "broken": "upstream_failed", "alarm": "run", "quiet": "skipped", "perhaps": "maybe", "follows": "maybe",
            "either": "maybe", "tidy": "run",
        }  # fmt: skip
        assert found["follows"]["because"] == ["depends on how may ends"]
        assert found["broken"]["because"] == ["bad would not succeed"]

    def test_the_first_case_that_holds_is_chosen_as_far_as_inputs_decide(self, tmp_path: Path) -> None:
        flow = """
            inputs: {n: {type: integer}}
            tasks:
              a: {run: echo}
              r:
                switch:
                  - {when: "{{ inputs.n == 1 }}", tasks: {one: {run: echo}}}
                  - {when: "{{ inputs.n == 2 && tasks.a.output }}", tasks: {two: {run: echo}}}
                  - {when: "{{ inputs.n == 3 }}", tasks: {three: {run: echo}}}
                  - {tasks: {else: {run: echo}}}
            """
        cases = [f"r/case {number}" for number in (1, 2, 3, 4)]
        assert fate(plan(tmp_path, flow, n=1), *cases) == ["run", "not_chosen", "not_chosen", "not_chosen"]
        found = plan(tmp_path, flow, n=2)
        assert fate(found, *cases) == ["not_chosen", "maybe", "not_chosen", "maybe"]
        assert found["r/case 4"]["because"] == ["only if no earlier one is"]
        assert fate(plan(tmp_path, flow, n=3), *cases) == ["not_chosen", "maybe", "maybe", "not_chosen"]
        assert "r/case 4/else" in found
        assert "r/case 3/three" not in found


class TestItems:
    def test_items_that_inputs_decide_are_counted_and_named_up_to_twenty(self, tmp_path: Path) -> None:
        flow = """
            inputs: {n: {type: integer, default: 50}, names: {type: list, default: [x, y]}}
            tasks:
              a: {run: echo}
              many: {foreach: "{{ range(0, inputs.n) }}", key: "n{{ item }}", run: echo}
              grid: {matrix: {os: "{{ inputs.names }}", v: [1, 2], exclude: [{os: x, v: 1}]}, run: echo}
              later: {foreach: "{{ tasks.a.output }}", run: echo}
              half: {matrix: {os: "{{ inputs.names }}", v: "{{ tasks.a.output }}"}, run: echo}
              keys: {foreach: [1, 2], key: "{{ tasks.a.output }}{{ item }}", run: echo}
              none: {foreach: "{{ range(0, 0) }}", run: echo}
              each: {foreach: [1, 2], tasks: {i: {when: "{{ item > 1 }}", run: echo}}}
            """
        found = plan(tmp_path, flow)
        assert found["many"]["items"]["count"] == 50
        assert found["many"]["items"]["keys"] == [f"n{at}" for at in range(20)]
        assert found["grid"]["items"]["keys"] == ["x,2", "y,1", "y,2"]
        assert [found[key]["items"]["count"] for key in ("later", "half", "keys", "none")] == [None, None, 2, 0]
        assert "keys" not in found["keys"]["items"]
        assert found["each/i"]["because"] == ["only if {{ item > 1 }}, known for each item"]
        told = lines(tmp_path, flow)
        assert "        for each of 3 items: [x,2] [y,1] [y,2]" in told
        assert any(line.endswith("[n19] and 30 more") for line in told)
        assert "        for each item of {{ tasks.a.output }}, known at run time" in told
        assert "        no items" in told
        assert plan(tmp_path, flow, n=2)["many"]["items"]["keys"] == ["n0", "n1"]

    def test_items_that_cannot_be_are_said_to_fail(self, tmp_path: Path) -> None:
        flow = "inputs: {n: {type: integer}}\ntasks: {a: {foreach: '{{ inputs.n }}', run: x}, b: {foreach: [1, 1], key: '{{ item }}', run: x}}"
        found = plan(tmp_path, flow, n=5)
        assert fate(found, "a", "b") == ["failed", "failed"]
        assert "needs a list, and was given 5" in found["a"]["because"][0]
        assert "gives the key '1' twice" in found["b"]["because"][0]


class TestLoopsAndFiles:
    def test_rounds_are_bounded_and_known_where_the_first_decides(self, tmp_path: Path) -> None:
        found = plan(
            tmp_path,
            """
            inputs: {n: {type: integer, default: 0}}
            tasks:
              thrice: {loop: 3, tasks: {d: {run: echo}}}
              until: {loop: {max: 5, until: "{{ tasks.d.output == 'x' }}"}, tasks: {d: {run: ["echo", "{{ previous.d }}{{ index }}"]}}}
              once: {loop: {max: 5, until: "{{ inputs.n == 0 }}"}, tasks: {d: {run: echo}}}
              never: {while: "{{ inputs.n > 0 }}", tasks: {d: {run: echo}}}
              null: {while: "{{ tasks.d.output != null }}", tasks: {d: {run: echo}}}
              begins: {while: {condition: "{{ index < 3 }}", max: 7}, tasks: {d: {run: echo}}}
              out: {while: "{{ tasks.thrice.output == null }}", tasks: {d: {run: echo}}}
            """.replace("null: {while", "nothing: {while"),
        )
        assert [found[key]["does"] for key in ("thrice", "until", "begins")] == [
            "3 rounds", "at most 5 rounds, until {{ tasks.d.output == 'x' }}", "while {{ index < 3 }}, at most 7 rounds",
        ]  # fmt: skip
        assert found["once"]["because"] == ["one round: its `until` holds after the first"]
        for key in ("never", "nothing"):
            assert found[key]["because"] == ["no round: its condition does not hold before the first"]
            assert f"{key}/d" not in found
        assert {"thrice/d", "until/d", "begins/d", "out/d"} <= set(found)

    def test_another_file_is_drawn_inside_with_what_is_known_of_its_inputs(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            """
            inputs: {n: {type: integer}, w: {type: list}}
            env: {N: "{{ inputs.n }}", W: "{{ inputs.w }}"}
            tasks:
              a: {when: "{{ inputs.n > 5 }}", run: echo}
              b: {when: "{{ env.N == '3' }}", run: echo}
              c: {foreach: "{{ inputs.w }}", run: echo}
              d: {when: "{{ env.W == '' }}", run: echo}
              e: {when: "{{ length(inputs) == 2 }}", run: echo}
            """,
            "inner.yaml",
        )
        found = plan(
            tmp_path,
            """
            tasks:
              a: {run: echo}
              known: {flow: inner.yaml, with: {n: 3, w: [x]}}
              half: {flow: inner.yaml, with: {n: "{{ 1 + 2 }}", w: "{{ tasks.a.output }}"}}
              wrong: {flow: inner.yaml, with: {n: "{{ [] }}", w: []}}
            """,
        )
        assert fate(found, *(f"known/{key}" for key in "abcde")) == ["skipped", "run", "run", "skipped", "run"]
        assert found["known/c"]["items"]["count"] == 1
        assert fate(found, *(f"half/{key}" for key in "abcde")) == ["skipped", "run", "run", "maybe", "maybe"]
        assert found["half/c"]["items"]["count"] is None
        assert fate(found, "wrong") == ["failed"]
        assert "input 'n' must be of type integer" in found["wrong"]["because"][0]

    def test_a_file_that_is_named_again_and_again_is_not_drawn_for_ever(self, tmp_path: Path) -> None:
        """S13: eight files, each of which names the next one three times."""
        write(tmp_path, "tasks: {a: {run: echo}}", "f7.yaml")
        for at in range(7):
            each = ", ".join(f"t{number}: {{flow: f{at + 1}.yaml}}" for number in range(3))
            write(tmp_path, f"tasks: {{{each}}}", f"f{at}.yaml")
        found = document(load(tmp_path / "f0.yaml"), {}, Settings())
        listed = list(text(found))
        assert len(listed) < 4 * planning.MOST_DRAWN
        assert any(line.strip() == "..." for line in listed)


class TestFailures:
    def test_an_error_that_is_known_is_said_where_it_stands_and_others_go_on_as_they_would(
        self, tmp_path: Path
    ) -> None:
        """With the place; no exit code 2, for the run would begin."""
        flow = """
            inputs: {n: {type: integer, default: 3}}
            tasks:
              bad: {run: ["echo", "{{ upper(inputs.n) }}"]}
              worse: {needs: bad, run: echo}
              when: {when: "{{ upper(inputs.n) }}", run: echo, on_error: {run: echo}}
              mended: {call: "os:getpid", with: {a: "{{ upper(inputs.n) }}"}, on_error: {run: echo}}
              well: {needs: mended, run: echo}
              forgiven: {run: echo, env: {A: "{{ upper(inputs.n) }}"}, allow_failure: true}
              fine: {needs: forgiven, run: echo}
              group: {tasks: {bad: {http: "http://localhost/{{ upper(inputs.n) }}"}}}
              quota: {min_success: 1, tasks: {bad: {ask: "{{ upper(inputs.n) }}"}, b: {run: echo}}}
              each: {foreach: [1], run: ["echo", "{{ upper(inputs.n) }}"]}
              all: {foreach: [1], allow_failure: true, run: ["echo", "{{ upper(inputs.n) }}"]}
              perhaps: {when: "{{ tasks.fine.output }}", run: ["echo", "{{ upper(inputs.n) }}"]}
              case: {switch: [{when: "{{ upper(inputs.n) }}", tasks: {x: {run: echo}}}, {tasks: {y: {run: echo}}}]}
              loop: {loop: 2, tasks: {bad: {run: ["echo", "{{ upper(inputs.n) }}"]}}}
              sides: {parallel: [{tasks: {bad: {run: ["echo", "{{ upper(inputs.n) }}"]}}}]}
            """
        found = plan(tmp_path, flow)
        assert {key: task["would"] for key, task in found.items() if "/" not in key} == {
            "bad": "failed", "worse": "upstream_failed", "when": "failed", "mended": "run", "well": "run", "forgiven": "failed", "fine": "run",
            "group": "failed", "quota": "run", "each": "failed", "all": "run", "perhaps": "maybe", "case": "failed", "loop": "failed", "sides": "failed",
        }  # fmt: skip
        assert "flow.yaml:4:26: {{ upper(inputs.n) }}: upper: s must be text" in found["bad"]["because"][0]
        assert found["mended"]["because"][1] == "its on_error would run then"
        assert found["group"]["because"] == ["would fail with bad"]
        assert fate(found, "case/case 2") == ["not_chosen"]
        first = lines(tmp_path, flow)[0]
        assert first == "would run 13 of 15 tasks (1 known at run time, 8 would fail, 1 not begun):"

    def test_what_keeps_a_run_from_beginning_is_an_error(self, tmp_path: Path) -> None:
        flow = "inputs: {n: {type: integer, default: 3}}\nenv: {A: '{{ upper(inputs.n) }}'}\ntasks: {a: {run: echo}}"
        with pytest.raises(ExpressionError):
            plan(tmp_path, flow)


class TestLimits:
    def test_slots_pools_and_what_each_task_takes_are_told(self, tmp_path: Path) -> None:
        flow = """
            max_concurrency: 3
            deadline: 1h
            on_failure: fail_fast
            pools: {db: 2, idle: 9, api: {capacity: 4, health: {}}}
            inputs: {n: {type: integer, default: 3}}
            tasks:
              a: {run: echo, pool: {db: 2}, rate_limit: [5/1s, 100/1m], cost: 2, lock: disk, concurrency_key: "k{{ inputs.n }}"}
              b: {tasks: {c: {run: echo, pool: api}}, max_concurrency: 1}
              d: {foreach: [1], max_concurrency: 2, run: echo, concurrency_key: {key: k, n: 2}}
              e: {loop: 2, max_concurrency: 4, tasks: {x: {run: echo}}}
            """
        found = document(load(write(tmp_path, flow)), {}, Settings())
        assert (found["max_concurrency"], found["pools"]) == (3, {"db": 2, "api": {"capacity": 4, "health": {}}})
        assert (found["on_failure"], found["deadline"]) == ("fail_fast", "1h")
        told = list(text(found))
        assert told[:2] == [
            "would run 4 tasks:",
            "  (at most 3 at once, pool db: 2, pool api: 4, on failure fail_fast, deadline 1h)",
        ]
        assert "        pool db (2), rate 5/1s 100/60s, cost 2, lock disk, key k{{ inputs.n }}" in told
        assert [line.strip() for line in told if "at most" in line][1:] == [
            "at most 1 at once",
            "key k (at most 2), at most 2 at once",
            "at most 4 at once",
        ]
        chosen = document(load(tmp_path / "flow.yaml"), {}, Settings(jobs=9, on_failure="continue"))
        assert (chosen["max_concurrency"], chosen["on_failure"]) == (9, "continue")


class TestTheCommand:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write(tmp_path, "open('IMPORTED', 'w').close()\ndef f(): open('CALLED', 'w').close()\n", "steps.py")
        write(
            tmp_path,
            """
            inputs: {n: {type: integer}}
            tasks:
              a: {call: "steps:f"}
              b: {run: touch CALLED, when: "{{ inputs.n > 1 }}"}
            """,
        )
        return tmp_path

    def run(self, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "plait", "run", "-n", *words], cwd=folder, capture_output=True, text=True, timeout=60
        )

    def test_nothing_runs_no_store_is_made_and_functions_are_imported(self, folder: Path) -> None:
        done = self.run(folder, "flow.yaml", "-i", "n=1")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[0] == "would run 1 of 2 tasks (1 skipped):"
        assert done.stdout.splitlines()[2:] == [
            "  a: call steps:f",
            "  b: skipped",
            "        when {{ inputs.n > 1 }} does not hold",
        ]
        assert (folder / "IMPORTED").exists()
        assert not (folder / "CALLED").exists()
        assert not (folder / ".plait").exists()

    def test_json_is_the_same_as_one_document(self, folder: Path) -> None:
        done = self.run(folder, "flow.yaml", "-i", "n=2", "--json", "-j", "3", "--only", "b")
        found = json.loads(done.stdout)
        assert (found["name"], found["inputs"], found["max_concurrency"]) == ("flow", {"n": 2}, 3)
        assert found["tasks"] == [{"key": "b", "kind": "run", "would": "run", "does": "touch CALLED", "needs": []}]

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("flow.yaml",), "needs the input 'n'"),
            (("flow.yaml", "-i", "n=x"), "must be of type integer"),
            (("flow.yaml", "-i", "n=1", "-i", "m=1"), "has no input 'm'"),
            (("flow.yaml", "-i", "n=1", "-j", "0"), "whole number of at least 1"),
            (("flow.yaml", "-i", "n=1", "--only", "x"), "there is no task 'x'"),
            (("broken.yaml",), "error[call]"),
            (("writes.yaml", "-i", "f=a"), "a"),
        ],
    )
    def test_all_that_a_run_would_refuse_is_refused(self, folder: Path, words: tuple[str, ...], says: str) -> None:
        """D10: exit code 2, a line each; also conflicts that only the inputs show."""
        write(folder, "tasks: {a: {call: 'steps:nothing'}}", "broken.yaml")
        write(
            folder,
            "inputs: {f: {}}\ntasks: {a: {run: x, writes: '{{ inputs.f }}'}, b: {run: x, writes: a}}",
            "writes.yaml",
        )
        done = self.run(folder, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert says in done.stderr.splitlines()[0]
        assert "Traceback" not in done.stderr

    def test_names_and_texts_of_a_file_move_no_cursor(self, tmp_path: Path) -> None:
        """S28."""
        flow = 'inputs: {i: {default: "\\e[1m"}}\ntasks: {"t\u0301": {run: "echo \\e[2J", needs: [u]}, u: {ask: "\\e[2J?", when: "{{ inputs.i == \'\\e[3m\' }}"}}'
        assert all(line.isprintable() for line in lines(tmp_path, flow))

    def test_a_graph_of_python_is_told_too(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            "import plait\ndef f(*a): raise SystemExit('called')\ng = plait.Graph('py', pools={'db': 2})\n"
            "a = g.add('a', f, pool='db')\ng.add('b', f, when=False)\ng.add('c', f, needs=['b'])\ng.add('d', f, when=a)\n"
            "g.add('e', plait.task(f).map([1, 2]))\ng.add('h', plait.task(f).map(a), needs=['a'])\ng.add('i', plait.shell('echo'), when=f, on_error=f)\n"
            "g.add('z', f, needs=['b'], finally_=True)\n",
            "mine.py",
        )
        done = self.run(tmp_path, "mine:g", "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        tasks = by_key(found["tasks"])
        assert {key: task["would"] for key, task in tasks.items()} == {
            "a": "run", "b": "skipped", "e": "run", "i": "maybe", "c": "skipped", "d": "maybe", "h": "run", "z": "run",
        }  # fmt: skip
        assert (tasks["e"]["items"]["count"], tasks["h"]["items"]["count"]) == (2, None)
        assert (tasks["a"]["limits"], found["pools"]) == ({"pool": {"db": 1}}, {"db": 2})
        assert tasks["i"]["on_error"]["does"] == "mine:f"
        assert "  z after b, in the end: call mine:f" in self.run(tmp_path, "mine:g").stdout.splitlines()

    def test_every_block_is_drawn(self) -> None:
        """`tests/flows/blocks.yaml` as people see it."""
        told = list(text(document(load(BLOCKS), {}, Settings(jobs=4))))
        for line in (
            "would run 12 tasks:",
            "        for each item of {{ map(range(0, 2), x => x + random_int(5, 5)) }}, known at run time",
            "        for each of 2 items: [1,a] [3]",
            "      tidy, in the end: call block_steps:made",
            "      [right]",
            "  route after sides, first: one of 3 cases",
            "      case 2: when {{ random_int(1, 1) == inputs.top - 1 }}",
            "            only if no earlier one is",
            "  loop: at most 5 rounds, until {{ tasks.n.output >= inputs.top }}",
            "  while: while {{ (tasks.n.output ?? 0) < inputs.top }}, at most 1000 rounds",
            "        no round: its condition does not hold before the first",
            "  inner after loop: flow inner.yaml",
            "            for each item of {{ inputs.words }}, known at run time",
            "      on_error: one of 1 case",
        ):
            assert line in told, "\n".join(told)


# -- what is planned is what happens

STEPS = "async def ok(v=None):\n    return v\n"


@pytest.fixture(autouse=True)
def _modules() -> Iterator[None]:
    before, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - before:
        if name == "steps":
            del sys.modules[name]
    sys.path[:] = path


def test_who_did_not_begin_is_not_forgiven(tmp_path: Path) -> None:
    """`allow_failure` is for what fails itself."""
    flow = """
        tasks:
          bad: {call: "steps:ok", with: {v: "{{ upper(1) }}"}}
          not: {needs: bad, call: "steps:ok", allow_failure: true}
          after: {needs: not, call: "steps:ok"}
        """
    write(tmp_path, STEPS, "steps.py")
    assert fate(plan(tmp_path, flow), "bad", "not", "after") == ["failed", "upstream_failed", "upstream_failed"]
    result = plait.run(load(tmp_path / "flow.yaml"), raise_on_failure=False)
    assert [str(result[key].status) for key in ("not", "after")] == ["upstream_failed"] * 2


HAPPENS = {
    "run": {"succeeded"},
    "maybe": {"succeeded", "skipped", "upstream_failed", "failed"},
    "skipped": {"skipped"},
    "failed": {"failed"},
    "upstream_failed": {"upstream_failed"},
}


def made_at_random(seed: int) -> dict[str, Any]:
    """A file whose tasks have conditions, joins, groups, items, and failures, that are known before or not."""
    chance = random.Random(seed)

    def tasks(depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for at in range(chance.randrange(2, 6)):
            task: dict[str, Any] = {}
            before = list(found)
            needs = chance.sample(before, min(len(before), chance.choice([0, 1, 2])))
            if needs:
                task["needs"] = needs
                task["join"] = chance.choice(
                    ["all_success", "all_success", "all_done", "one_success", "one_failed", "none_failed"]
                )
            if chance.random() < 0.3:
                task["when"] = chance.choice(
                    ["{{ inputs.n > 5 }}", "{{ inputs.n < 5 }}", "{{ upper(inputs.n) }}", "{{ random_int(1, 1) == 1 }}"]
                )
            if chance.random() < 0.15:
                task["allow_failure"] = True
            if chance.random() < 0.2:
                task["foreach"] = chance.choice([[1, 2], "{{ range(0, inputs.n) }}", "{{ inputs.n }}", "{{ [] }}"])
            body = chance.choice(
                ["call", "call", "call", "tasks", "switch", "loop", "parallel"] if depth < 2 else ["call"]
            )
            if body == "call":
                task |= {
                    "call": "steps:ok",
                    "with": {"v": chance.choice(["{{ inputs.n }}", 1, "{{ upper(inputs.n) }}"])},
                }
            elif body == "switch":
                whens = chance.choices(["{{ inputs.n > 5 }}", "{{ inputs.n < 5 }}", "{{ random_int(1, 1) == 1 }}"], k=2)
                task["switch"] = [
                    *({"when": when, "tasks": tasks(depth + 1)} for when in whens),
                    {"tasks": tasks(depth + 1)},
                ]
            elif body == "parallel":
                task["parallel"] = [
                    {"tasks": {f"{key}{number}": each for key, each in {"x": {"call": "steps:ok"}}.items()}}
                    for number in range(2)
                ]
            else:
                task["tasks"] = tasks(depth + 1)
                if body == "loop":
                    task |= chance.choice([{"loop": 2}, {"while": "{{ index < 1 }}"}, {"while": "{{ inputs.n > 5 }}"}])
            if chance.random() < 0.15:
                task["on_error"] = {"call": "steps:ok"}
            found[f"t{at}"] = task
        return found

    return {"inputs": {"n": {"type": "integer", "default": 3}}, "tasks": tasks(0)}  # fmt: skip


def test_files_made_at_random_have_tasks_of_every_fate(tmp_path: Path) -> None:
    fates = [
        task["would"]
        for seed in range(60)
        for task in document(load(write(tmp_path, json.dumps(made_at_random(seed)))), {}, Settings())["tasks"]
    ]
    assert {each: fates.count(each) >= 5 for each in HAPPENS} == dict.fromkeys(HAPPENS, True)


@pytest.mark.parametrize("seed", range(60))
def test_what_is_planned_is_what_happens(tmp_path: Path, seed: int) -> None:
    """Every task that is not left to run time ends as it was said, and so do those in groups."""
    write(tmp_path, STEPS, "steps.py")
    flow = load(write(tmp_path, json.dumps(made_at_random(seed))))
    told = document(flow, {}, Settings())["tasks"]
    result = plait.run(flow, raise_on_failure=False)
    for task in told:
        status = str(result[task["key"]].status)
        doubtful = {"failed"} if any("fail" in each for each in task.get("because", ())) else set()
        assert status in HAPPENS[task["would"]] | doubtful, (task, status, result[task["key"]].error)
        if task["kind"] == "group" and "items" not in task and status == "succeeded":
            for each in task.get("tasks", []):
                assert str(result[f"{task['key']}/{each['key']}"].status) in HAPPENS[each["would"]] | {"failed"}, each
        count = task.get("items", {}).get("count")
        if count is not None and status == "succeeded":
            assert (
                len(
                    [
                        key
                        for key in result
                        if key.startswith(f"{task['key']}[") and "/" not in key and key.count("[") == 1
                    ]
                )
                == count
            )
