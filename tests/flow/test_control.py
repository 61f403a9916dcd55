"""Control flow in YAML: what each block does, what is said of its misuse, isolation, depth, and that one engine runs it all."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import plait
from answering_server import Server, data
from flow_files import problems, run, write
from plait.errors import ExpressionError, UsageError
from plait.flow import load
from plait.flow.matrices import combinations
from plait.testing import VirtualClock


@pytest.fixture(autouse=True)
def _modules() -> Iterator[None]:
    """Functions that a test writes are imported by that test alone."""
    before, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - before:
        if name == "steps":
            del sys.modules[name]
    sys.path[:] = path


class TestForeachAndWhen:
    def test_items_may_be_worked_out_and_a_condition_decides_of_the_whole(self, tmp_path: Path) -> None:
        """D7 D9: an expression gives the items; `when` is an expression, too."""
        result = run(
            tmp_path,
            """
            inputs: {n: {type: integer, default: 3}}
            tasks:
              some: {foreach: "{{ map(range(0, inputs.n), x => x * x) }}", run: ["echo", "{{ item + index }}"]}
              none: {when: "{{ inputs.n > 3 && length(tasks.some.output) }}", foreach: [1], run: echo}
            outputs: {some: "{{ join(tasks.some.output, '+') }}", none: "{{ tasks.none.status }}"}
            """,
        )
        assert result.value == {"some": "0+2+6", "none": "skipped"}

    def test_items_by_chance_are_the_same_for_all_that_look_at_them(self, tmp_path: Path) -> None:
        """D7: what a foreach goes over is worked out once."""
        result = run(
            tmp_path,
            """
            tasks:
              ids: {foreach: "{{ map(range(0, 4), x => uuid()) }}", key: "{{ item }}", run: ["echo", "{{ item }}"]}
            """,
        )
        assert [f"ids[{each}]" for each in result["ids"].value] == [key for key in result if key.startswith("ids[")]


class TestMatrix:
    def test_every_combination_but_those_left_out_and_those_put_in(self, tmp_path: Path) -> None:
        """D7."""
        result = run(
            tmp_path,
            """
            tasks:
              axes: {run: "echo '[1, 2]'", output: json}
              grid:
                matrix:
                  os: [linux, mac]
                  n: "{{ tasks.axes.output }}"
                  exclude: [{os: mac, n: 1}]
                  include: [{os: linux, fast: true}, {os: bsd, n: 9}]
                run: ["echo", "{{ matrix.os }} {{ matrix.n }} {{ matrix.fast ?? '-' }} {{ index }}"]
            """,
        )
        assert result["grid"].value == ["linux 1 true 0", "linux 2 true 1", "mac 2 - 2", "bsd 9 - 3"]
        assert [key for key in result if key.startswith("grid[")] == [
            "grid[linux,1,true]", "grid[linux,2,true]", "grid[mac,2]", "grid[bsd,9]",
        ]  # fmt: skip

    def test_true_is_not_1_and_equal_names_are_numbered(self) -> None:
        left = combinations({"a": [1, True, "1"]}, [], [{"a": 1}], 10)
        assert left == [{"a": True}, {"a": "1"}]

    def test_the_number_of_combinations_is_bounded_before_there_are_any(self, tmp_path: Path) -> None:
        """S13."""
        with pytest.raises(UsageError, match="1,000,000,000 combinations; at most 100,000"):
            combinations({name: range(1000) for name in "abc"}, [], [], 100_000)
        axes = ", ".join(f"{name}: [{', '.join(map(str, range(50)))}]" for name in "abc")
        (found,) = problems(write(tmp_path, f"tasks: {{t: {{matrix: {{{axes}}}, run: x}}}}"))
        assert found[2] == "too-large"
        path = write(
            tmp_path,
            "inputs: {n: {type: integer}}\ntasks: {t: {matrix: {a: '{{ range(0, inputs.n) }}', b: [1, 2]}, run: x}}",
        )
        result = plait.run(load(path), inputs={"n": 60_000}, raise_on_failure=False)
        assert "120,000 combinations" in str(result["t"].error)


class TestSwitch:
    @pytest.mark.parametrize(("n", "taken"), [(1, "small"), (5, "middle"), (50, "large")])
    def test_the_first_case_that_holds_is_taken_and_its_tasks_are_seen_from_outside(
        self, tmp_path: Path, n: int, taken: str
    ) -> None:
        """D7."""
        result = run(
            tmp_path,
            """
            inputs: {n: {type: integer}}
            tasks:
              route:
                switch:
                  - {when: "{{ inputs.n < 2 }}", tasks: {it: {run: echo small}}}
                  - {when: "{{ inputs.n < 10 }}", tasks: {first: {run: echo x}, it: {needs: [first], run: echo middle}}}
                  - {tasks: {it: {run: echo large}}}
            outputs: {it: "{{ tasks.route.it.output }}", first: "{{ tasks.route.first.status }}", all: "{{ tasks.route.output }}"}
            """,
            n=n,
        )
        assert result.value["it"] == taken
        assert result.value["first"] == ("succeeded" if taken == "middle" else None)
        assert len(result) == (3 if taken == "middle" else 2)

    def test_no_case_is_null_and_a_success(self, tmp_path: Path) -> None:
        """D7."""
        result = run(
            tmp_path,
            "tasks: {r: {switch: [{when: '{{ 1 > 2 }}', tasks: {a: {run: x}}}]}, s: {needs: [r], run: echo on}}",
        )
        assert result.status == "succeeded"
        assert result["r"].value is None
        assert result["s"].value == "on"

    def test_a_case_that_cannot_be_decided_fails_with_its_place(self, tmp_path: Path) -> None:
        result = run(tmp_path, "tasks:\n  r: {switch: [{when: '{{ upper([1]) }}', tasks: {a: {run: x}}}]}")
        assert isinstance(result["r"].error, ExpressionError)
        assert "flow.yaml:2:26: {{ upper([1]) }}: upper: s must be text, not a list" in str(result["r"].error)


class TestLoops:
    def test_rounds_go_on_until_a_condition_holds_and_each_sees_the_one_before(self, tmp_path: Path) -> None:
        """D7: the last round is the value, and is what is seen from outside."""
        result = run(
            tmp_path,
            """
            tasks:
              polish:
                loop: {max: 9, until: "{{ length(tasks.draft.output) >= 4 }}"}
                tasks:
                  draft: {run: ["echo", "{{ previous.draft }}{{ index }}"]}
                  after: {run: ["echo", "{{ upper(tasks.draft.output) }}!"]}
            outputs: {last: "{{ tasks.polish.after.output }}", all: "{{ tasks.polish.output }}"}
            """,
        )
        assert result.value == {"last": "0123!", "all": {"draft": "0123", "after": "0123!"}}
        assert [key for key in result if key.endswith("/draft")] == [f"polish[{n}]/draft" for n in range(4)]

    def test_a_loop_ends_at_its_last_round_and_a_while_that_reaches_it_fails(self, tmp_path: Path) -> None:
        """D7: a condition that still holds after `max` rounds is an error."""
        result = run(
            tmp_path,
            """
            tasks:
              three: {loop: 3, tasks: {n: {run: ["echo", "{{ index }}"]}}}
              never: {while: "{{ tasks.n.output != null }}", tasks: {n: {run: echo}}}
              twice: {while: {condition: "{{ index < 2 }}", max: 2}, tasks: {n: {run: echo}}}
              ever: {while: {condition: "{{ true }}", max: 2}, tasks: {n: {run: echo}}}
            """,
        )
        assert result["three"].value == {"n": "2"}
        assert (result["never"].status, result["never"].value) == ("succeeded", None)
        assert result["twice"].status == "succeeded"
        assert result["ever"].status == "failed"
        assert "still holds after 2 rounds" in str(result["ever"].error)

    def test_a_failed_round_is_the_last_and_the_policies_of_a_group_are_those_of_each_round(
        self, tmp_path: Path
    ) -> None:
        """D7 E5: three of four must succeed, in each round."""
        result = run(
            tmp_path,
            """
            tasks:
              fails: {loop: 5, tasks: {n: {run: "test {{ index }} -lt 2"}}}
              may:
                loop: 3
                min_success: 2
                max_concurrency: 1
                tasks: {a: {run: echo}, b: {run: "false"}, c: {run: echo}}
            """,
        )
        assert result["fails"].status == "failed"
        assert result["fails[2]/n"].status == "failed"
        assert "fails[3]" not in result
        assert result["may"].status == "succeeded", result["may"].error
        assert [str(result[f"may[{n}]"].status) for n in range(3)] == ["succeeded"] * 3

    def test_a_timeout_of_a_loop_is_for_all_its_rounds(self, tmp_path: Path) -> None:
        """A timeout ends the round that runs, and no other begins."""
        write(tmp_path, "import asyncio\nasync def nap():\n    await asyncio.sleep(2)\n", "steps.py")
        with VirtualClock():
            result = run(tmp_path, "tasks: {l: {loop: 9, timeout: 5s, tasks: {n: {call: 'steps:nap'}}}}")
        assert result["l"].status == "timed_out"
        assert [key for key in result if key.endswith("/n")] == ["l[0]/n", "l[1]/n", "l[2]/n"]

    def test_conditions_see_the_tasks_of_the_round_and_those_around(self, tmp_path: Path) -> None:
        result = run(
            tmp_path,
            """
            tasks:
              most: {run: echo 2}
              l:
                loop: {max: 9, until: "{{ tasks.g.n.output == tasks.most.output }}"}
                tasks: {g: {tasks: {n: {run: ["echo", "{{ index }}"]}}}}
            """,
        )
        assert result["l"].value == {"g": {"n": "2"}}
        assert len([key for key in result if key.endswith("/g/n")]) == 3


class TestParallel:
    def test_branches_are_a_list_in_their_order_and_are_published_at_the_join(self, tmp_path: Path) -> None:
        """D1 D3 D5: whoever is faster."""
        write(
            tmp_path,
            "import asyncio\nasync def nap(s, v=None):\n    await asyncio.sleep(s)\n    return v\n",
            "steps.py",
        )
        with VirtualClock() as clock:
            result = run(
                tmp_path,
                """
                tasks:
                  sides:
                    parallel:
                      - {tasks: {a: {call: "steps:nap", with: {s: 9, v: slow}}, a2: {call: "steps:nap", with: {s: 0, v: "{{ tasks.a.output }}er"}}}}
                      - {name: fast, tasks: {b: {call: "steps:nap", with: {s: 1, v: fast}}}}
                  after: {call: "steps:nap", with: {s: 0, v: "{{ tasks.sides.a2.output }} {{ tasks.sides.b.output }}"}}
                """,
            )
            assert clock.now == 9
        assert result["sides"].value == [{"a": "slow", "a2": "slower"}, {"b": "fast"}]
        assert result["after"].value == "slower fast"
        assert {"sides[0]/a", "sides[fast]/b"} <= set(result)

    def test_a_limit_of_branches_and_so_many_of_them_that_must_succeed(self, tmp_path: Path) -> None:
        """D4 D6: the rest is cancelled once enough have succeeded."""
        write(
            tmp_path,
            "import asyncio\nnow = most = 0\nasync def nap(s):\n    global now, most\n    now += 1\n    most = max(most, now)\n"
            "    try:\n        await asyncio.sleep(s)\n    finally:\n        now -= 1\n    return s\n",
            "steps.py",
        )
        branches = ", ".join(f"{{tasks: {{n{n}: {{call: 'steps:nap', with: {{s: {n}}}}}}}}}" for n in range(1, 6))
        with VirtualClock():
            result = run(tmp_path, f"tasks: {{p: {{max_concurrency: 2, parallel: [{branches}]}}}}")
            assert sys.modules["steps"].most == 2
            assert [len(each) for each in result["p"].value] == [1] * 5
            result = run(tmp_path, f"tasks: {{p: {{min_success: 2, parallel: [{branches}]}}}}")
        assert result["p"].value == [{"n1": 1}, {"n2": 2}, None, None, None]
        assert str(result["p[2]"].status) == "cancelled"

    def test_a_failed_branch_cancels_its_siblings_where_failures_do_and_leaves_nothing(self, tmp_path: Path) -> None:
        """D3 D6: the branch and its task are named."""
        write(tmp_path, "import asyncio\nasync def nap(s):\n    await asyncio.sleep(s)\n    return s\n", "steps.py")
        with VirtualClock():
            result = run(
                tmp_path,
                """
                tasks:
                  p:
                    on_failure: fail_fast
                    allow_failure: true
                    parallel:
                      - {tasks: {a: {call: "steps:nap", with: {s: 1}}, bad: {needs: [a], run: "false"}}}
                      - {tasks: {b: {call: "steps:nap", with: {s: 99}}}}
                  after: {needs: [p], run: ["echo", "{{ tasks.p.output ?? 'nothing' }}"]}
                """,
            )
        assert str(result["p[1]/b"].status) == "cancelled"
        assert "p[0]/bad" in str(result["p"].error)
        assert result["after"].value == "nothing"

    def test_what_two_branches_publish_under_one_name_is_refused(self, tmp_path: Path) -> None:
        """D3: conflict = error, before anything runs."""
        path = write(
            tmp_path, "tasks:\n  p:\n    parallel:\n      - {tasks: {a: {run: x}}}\n      - {tasks: {a: {run: y}}}\n"
        )
        ((line, column, code, message),) = problems(path)
        assert (line, column, code) == (5, 18, "branch-conflict")
        assert "two branches have a task 'a', the first in line 4" in message


ISOLATED = """
import asyncio, copy, random

dice = random.Random(0)
seen = []

async def touch(values, who, of=None):
    await asyncio.sleep(dice.uniform(0, 3))
    seen.append((who, copy.deepcopy([values, of or []])))
    values.append(who)
    values[0].append(who)
    await asyncio.sleep(dice.uniform(0, 3))
    values.append(who + "!")
    return values
"""

SHARED = """
tasks:
  start: {call: "steps:start"}
  aside: {call: "steps:touch", with: {values: "{{ tasks.start.output }}", who: aside}}
  sides:
    parallel:
      - tasks:
          a1: {call: "steps:touch", with: {values: "{{ tasks.start.output }}", who: a1}}
          a2: {call: "steps:touch", with: {values: "{{ tasks.start.output }}", who: a2, of: "{{ tasks.a1.output }}"}}
      - tasks:
          b1: {call: "steps:touch", with: {values: "{{ tasks.start.output }}", who: b1}}
          inner:
            parallel:
              - {tasks: {c: {call: "steps:touch", with: {values: "{{ tasks.start.output }}", who: c, of: "{{ tasks.b1.output }}"}}}}
              - {tasks: {d: {call: "steps:touch", with: {values: "{{ tasks.start.output }}", who: d}}}}
  each: {foreach: [e0, e1, e2], call: "steps:touch", with: {values: "{{ tasks.start.output }}", who: "{{ item }}"}}
outputs: {start: "{{ tasks.start.output }}", all: "{{ tasks.sides.output }}"}
"""


class TestIsolation:
    def test_a_branch_never_sees_what_a_sibling_did_whatever_the_timing(self, tmp_path: Path) -> None:
        """D3 F72: 200 seeded interleavings of tasks that change all that they are given: each sees what there was at the block's entry, and
        of others only what they returned."""
        write(tmp_path, ISOLATED + "\nasync def start():\n    return [['x'], 'y']\n", "steps.py")
        flow = load(write(tmp_path, SHARED))
        orders = set()
        for seed in range(200):
            with VirtualClock():
                steps = sys.modules.get("steps")
                if steps is not None:
                    steps.dice.seed(seed)
                    steps.seen.clear()
                result = plait.run(flow, max_concurrency=random.Random(seed).choice([1, 2, 3, 16]))
            seen = dict(sys.modules["steps"].seen)
            assert set(seen) == {"aside", "a1", "a2", "b1", "c", "d", "e0", "e1", "e2"}
            for who, (values, of) in seen.items():
                assert values == [["x"], "y"], (seed, who)
                first = {"a2": "a1", "c": "b1"}.get(who)
                assert of == ([["x", first], "y", first, f"{first}!"] if first else []), (seed, who)
            assert result.value["start"] == [["x"], "y"]
            assert result.value["all"][0]["a1"] == [["x", "a1"], "y", "a1", "a1!"]
            orders.add(tuple(seen))
        assert len(orders) > 100, "the interleavings were too much alike"

    @pytest.mark.parametrize("name", ["tasks.b.output", 'tasks["b"].output', "tasks.p.b.output"])
    def test_a_name_of_a_sibling_is_refused_before_anything_runs(self, tmp_path: Path, name: str) -> None:
        """D3 F72: nor can a branch wait for the block that it is in."""
        path = write(
            tmp_path,
            f'tasks:\n  p:\n    parallel:\n      - {{tasks: {{a: {{run: "echo {{{{ {name.replace(chr(34), chr(39))} }}}}"}}}}}}\n      - {{tasks: {{b: {{run: y}}}}}}\n',
        )
        ((line, _, code, _),) = problems(path)
        assert (line, code) in ((4, "unknown-task"), (2, "cycle"))

    def test_needs_reach_no_sibling_either(self, tmp_path: Path) -> None:
        path = write(tmp_path, "tasks: {p: {parallel: [{tasks: {a: {run: x, needs: [b]}}}, {tasks: {b: {run: y}}}]}}")
        assert [each[2] for each in problems(path)] == ["unknown-task"]


def nested(depth: int, kinds: list[str], leaf: str) -> str:
    """A task with blocks in blocks; the innermost is `leaf`."""
    for kind in itertools.islice(itertools.cycle(kinds), depth):
        tasks = f"tasks: {{x: {leaf}}}"
        leaf = {
            "group": f"{{{tasks}}}",
            "parallel": f"{{parallel: [{{{tasks}}}, {{tasks: {{y: {{run: echo}}}}}}]}}",
            "wide": f"{{parallel: [{{{tasks}}}]}}",
            "switch": f"{{switch: [{{when: '{{{{ 1 > 2 }}}}', tasks: {{z: {{run: echo}}}}}}, {{{tasks}}}]}}",
            "loop": f"{{loop: 2, {tasks}}}",
            "once": f"{{loop: 1, {tasks}}}",
            "while": f"{{while: '{{{{ index < 1 }}}}', {tasks}}}",
            "foreach": f"{{foreach: [1, 2], {tasks}}}",
            "each": f"{{foreach: [1], {tasks}}}",
            "matrix": f"{{matrix: {{a: [1]}}, {tasks}}}",
        }[kind]
    return leaf


class TestNesting:
    @pytest.mark.parametrize(
        "order", list(itertools.permutations(["parallel", "foreach", "loop", "switch", "while"], 5))[::17]
    )
    def test_five_deep_at_a_limit_of_one_nothing_waits_for_itself(self, tmp_path: Path, order: tuple[str, ...]) -> None:
        """D4 D7 F73: nested blocks at limit 1, each kind in each place; what a block holds is no slot."""
        write(
            tmp_path,
            "import asyncio\nnow = most = runs = 0\nasync def leaf():\n    global now, most, runs\n    now += 1\n    runs += 1\n    most = max(most, now)\n"
            "    await asyncio.sleep(1)\n    now -= 1\n",
            "steps.py",
        )
        text = f"max_concurrency: 1\ntasks: {{t: {nested(5, list(order), '{call: steps:leaf}'.replace('steps:leaf', chr(39) + 'steps:leaf' + chr(39)))}}}"
        with VirtualClock():
            result = run(tmp_path, text)
        assert result.status == "succeeded", result.first_cause
        assert (sys.modules["steps"].most, sys.modules["steps"].runs) == (1, 4)

    @pytest.mark.parametrize("kind", ["group", "wide", "switch", "once", "while", "each", "matrix", "mixed"])
    def test_a_hundred_blocks_deep_runs_at_a_limit_of_one(self, tmp_path: Path, kind: str) -> None:
        """D7: the bound of depth is 100, and what is deeper is refused."""
        kinds = ["group", "wide", "switch", "once", "while", "each", "matrix"] if kind == "mixed" else [kind]
        result = run(tmp_path, f"max_concurrency: 1\ntasks: {{t: {nested(99, kinds, '{run: echo deep}')}}}")
        assert result.status == "succeeded", result.first_cause
        found = problems(write(tmp_path, f"tasks: {{t: {nested(100, kinds, '{run: echo}')}}}"))
        assert {each[2] for each in found} == {"too-deep"}


BLOCKS_OF_NAPS = {
    "group": "tasks: {a: NAP1, b: NAP9}",
    "foreach": "foreach: [1, 9], call: 'steps:nap', with: {s: '{{ item }}'}",
    "matrix": "matrix: {s: [1, 9]}, call: 'steps:nap', with: {s: '{{ matrix.s }}'}",
    "parallel": "parallel: [{tasks: {a: NAP1}}, {tasks: {b: NAP9}}]",
    "switch": "switch: [{tasks: {a: NAP1, b: NAP9}}]",
    "loop": "loop: 2, tasks: {a: NAP1, b: NAP9}",
    "while": "while: '{{ index < 2 }}', tasks: {a: NAP1, b: NAP9}",
    "flow": "flow: inner.yaml",
}
"""Each of them runs a nap of a second and one of nine beside it."""


class TestPolicies:
    """Every block takes the policies of a group, and they hold for what is in it."""

    def block(self, folder: Path, kind: str, options: str) -> plait.RunResult:
        """The run of a flow with that block, under virtual time, with a task that needs it and one beside it. `fails`: so does the short nap."""
        write(
            folder,
            """
            import asyncio, os
            now = most = 0

            async def nap(s):
                global now, most
                now += 1
                most = max(now, most)
                try:
                    await asyncio.sleep(s)
                finally:
                    now -= 1
                if s == 1 and os.path.exists(os.path.join(os.path.dirname(__file__), "fails")):
                    raise ValueError("no")
                return s
            """,
            "steps.py",
        )
        (folder / "fails").unlink(missing_ok=True)
        if "fails" in options:
            (folder / "fails").touch()
        nap = "{call: 'steps:nap', with: {s: %s}}"
        naps = BLOCKS_OF_NAPS[kind].replace("NAP1", nap % 1).replace("NAP9", nap % 9)
        write(folder, f"tasks: {{a: {nap % 1}, b: {nap % 9}}}", "inner.yaml")
        block = f"{{{naps}, {options.removeprefix('fails, ')}}}"
        with VirtualClock():
            return run(folder, f"tasks: {{t: {block}, after: {{needs: [t], run: 'true'}}, beside: {nap % 30}}}")

    @pytest.mark.parametrize("kind", BLOCKS_OF_NAPS)
    def test_a_limit_a_timeout_and_failures(self, tmp_path: Path, kind: str) -> None:
        """D4 D6 D7 E5."""
        result = self.block(tmp_path, kind, "max_concurrency: 1")
        assert result.status == "succeeded", result.first_cause
        assert sys.modules["steps"].most == 2, "the one in the block, and the one beside it"
        if kind not in ("foreach", "matrix"):  # there the time is each item's
            result = self.block(tmp_path, kind, "timeout: 5s")
            assert str(result["t"].status) == "timed_out"
            assert str(result["after"].status) == "upstream_failed"
        result = self.block(tmp_path, kind, "fails, on_failure: fail_fast, allow_failure: true")
        assert result.status == "succeeded"
        assert result.degraded
        cut = [each for key, each in result.items() if key.startswith("t") and str(each.status) == "cancelled"]
        assert cut or kind in ("foreach", "matrix"), "the nap of nine seconds; there each item may fail"
        assert all(each.run_s == 1 for each in cut), "it was cancelled when the other had failed"
        assert (str(result["beside"].status), str(result["after"].status)) == ("succeeded", "succeeded")

    @pytest.mark.parametrize("kind", BLOCKS_OF_NAPS)
    def test_enough_successes_and_what_is_done_about_failure(self, tmp_path: Path, kind: str) -> None:
        """B14 D7 D8 X12."""
        result = self.block(tmp_path, kind, "min_success: 1")
        assert str(result["t"].status) == "succeeded"
        assert sum(str(each.status) == "cancelled" for each in result.values()) == (
            2 if kind in ("loop", "while") else 2 if kind == "parallel" else 1
        )
        result = self.block(tmp_path, kind, "fails, max_failures: 0, on_error: {run: 'echo instead'}")
        mended = result["t"].value
        assert (
            "instead" in (mended if isinstance(mended, list) else [mended])
            if kind in ("foreach", "matrix")
            else mended == "instead"
        )
        result = self.block(tmp_path, kind, "fails, critical: true")
        assert result.status == "failed"
        assert str(result["beside"].status) == "cancelled"
        result = self.block(tmp_path, kind, "when: '{{ false }}'")
        assert str(result["t"].status) == "skipped"
        assert set(result) == {"t", "after", "beside"}


class TestFlows:
    INNER = """
    inputs: {n: {type: integer}, who: {type: string, default: you}}
    env: {WHO: "{{ inputs.who }}"}
    pools: {db: 1}
    max_concurrency: 1
    tasks:
      a: {run: 'echo $WHO', pool: db}
      b: {run: ["echo", "{{ tasks.a.output }} {{ inputs.n + 1 }}"]}
    outputs: {said: "{{ tasks.b.output }}"}
    """

    def test_another_file_runs_with_its_own_inputs_and_gives_its_outputs(self, tmp_path: Path) -> None:
        """D8."""
        write(tmp_path, self.INNER, "inner.yaml")
        write(tmp_path, "tasks: {x: {run: echo plain}}", "bare.yaml")
        result = run(
            tmp_path,
            """
            env: {WHO: outside}
            tasks:
              n: {run: echo 4}
              sub: {flow: inner.yaml, with: {n: "{{ tasks.n.output }}"}}
              all: {foreach: [1, 2], flow: ./inner.yaml, with: {n: "{{ item }}", who: "{{ 'w' + index }}"}}
              bare: {flow: bare.yaml}
            """,
        )
        assert result["sub"].value == {"said": "you 5"}
        assert result["all"].value == [{"said": "w0 2"}, {"said": "w1 3"}]
        assert result["bare"].value == {"x": "plain"}
        assert {"sub/a", "all[1]/b", "bare/x"} <= set(result)

    @pytest.mark.parametrize(
        ("inner", "outer", "place", "code", "says"),
        [
            ("tasks: {x: {run: echo}}", "flow: inner.yaml, with: {m: 1}", (2, 32), "unknown-input", "inner.yaml has no input 'm'"),
            ("inputs: {m: {type: string}}\ntasks: {x: {run: echo}}", "flow: inner.yaml", (2, 13), "missing", "needs the input 'm' (string): give it under `with:`"),
            ("tasks: {x: {flow: flow.yaml}}", "flow: inner.yaml", None, "cycle", "flow.yaml -> inner.yaml -> flow.yaml"),
            ("tasks: {x: {flow: inner.yaml}}", "flow: inner.yaml", None, "cycle", "inner.yaml -> inner.yaml"),
            ("tasks: {x: {rn: echo}}", "flow: inner.yaml", None, "body", "task 'x' has no body"),
            ("", "flow: nowhere.yaml", None, "file", "cannot be read"),
            ("", "flow: '{{ inputs.x }}'", (2, 13), "type", "not a template"),
            ("", "flow: inner.md", (2, 13), "value", "must end in .yaml or .yml"),
            ("", "flow: [a]", (2, 13), "type", "not a list"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_a_part_of_a_file_is_told_with_the_file_and_place(
        self, tmp_path: Path, inner: str, outer: str, place: tuple[int, int] | None, code: str, says: str
    ) -> None:
        """D10 E12: no cycles of files, printed as a path."""
        write(tmp_path, inner, "inner.yaml")
        path = write(tmp_path, f"tasks:\n  s: {{{outer}}}\n")
        found = [each for each in problems(path) if each[2] == code]
        assert found, problems(path)
        assert says in found[0][3]
        if place:
            assert found[0][:2] == place

    def test_a_file_that_is_named_again_and_again_is_read_once_and_its_problems_are_told_once(
        self, tmp_path: Path
    ) -> None:
        """S13: files that name the next one twice each are no flood."""
        for n in range(15):
            write(tmp_path, f"tasks: {{a: {{flow: f{n + 1}.yaml}}, b: {{flow: f{n + 1}.yaml}}}}", f"f{n}.yaml")
        write(tmp_path, "tasks: {x: {rn: echo}}", "f15.yaml")
        found = problems(tmp_path / "f0.yaml")
        assert sum(each[2] == "unknown-key" for each in found) == 1


class TestHttp:
    def test_a_request_takes_templates_and_its_value_goes_on(self, tmp_path: Path, server: Server) -> None:
        """D8: a literal server may be in a private network; one that is data may not, unless it is said."""
        server.answers["/items"] = lambda asked: data(list(range(int(asked.path[-1]))))(asked)
        server.answers["/echo"] = lambda asked: data(
            {"body": json.loads(asked.body), "count": asked.headers["x-count"]}
        )(asked)
        result = run(
            tmp_path,
            f"""
            inputs: {{base: {{type: string, default: "{server.url}"}}}}
            tasks:
              get: {{http: "{server.url}/items?n={{{{ 1 + 1 }}}}"}}
              post:
                http:
                  url: {server.url}/echo
                  method: post
                  headers: {{X-Count: "{{{{ length(tasks.get.output) }}}}"}}
                  body: {{items: "{{{{ tasks.get.output }}}}", first: "{{{{ tasks.get.output[0] }}}}"}}
                  extract: '[body.first, count]'
              data: {{http: {{url: "{{{{ inputs.base }}}}/items?n=1"}}, allow_failure: true}}
              said: {{http: {{url: "{{{{ inputs.base }}}}/items?n=1", allow_private: true}}}}
            """,
        )
        assert result["get"].value == [0, 1]
        assert result["post"].value == [0, "2"]
        assert "private" in str(result["data"].error)
        assert result["said"].value == [0]

    @pytest.mark.parametrize(
        ("http", "column", "code"),
        [
            ("{}", 13, "missing"), ("{url: ''}", 19, "empty"), ("{url: x, methd: GET}", 22, "unknown-key"), ("{url: x, method: FETCH}", 30, "value"),
            ("{url: x, headers: [a]}", 31, "type"), ("{url: x, output: bytes}", 30, "value"), ("{url: x, extract: '[['}", 31, "value"),
            ("{url: x, max_bytes: 0}", 33, "value"), ("{url: x, allow_private: 1}", 37, "type"), ("{url: x, auth: {type: magic}}", 28, "value"),
            ("[x]", 13, "type"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_asked_of_a_server_is_told_with_its_place(
        self, tmp_path: Path, http: str, column: int, code: str
    ) -> None:
        ((line, at, found, _), *_) = problems(write(tmp_path, f"tasks:\n  a: {{http: {http}}}"))
        assert (line, at, found) == (2, column, code)


class TestNames:
    def test_hyphens_are_names_where_a_task_has_them_and_subtract_elsewhere(self, tmp_path: Path) -> None:
        """D9."""
        result = run(
            tmp_path,
            """
            inputs: {a: {type: integer, default: 7}, a-b: {type: integer, default: 1}, b: {type: integer, default: 2}}
            tasks:
              list-it: {run: echo 5}
              n: {run: ["echo", "{{ inputs.a-b }} {{ inputs.a - inputs.b }} {{ inputs.a-inputs.b }} {{ tasks.list-it.output-1 }}"]}
            """,
        )
        assert result["n"].value == "1 5 5 4"

    @pytest.mark.parametrize(
        ("text", "code", "says"),
        [
            ("{{ tasks.fetch-doc.output }}", "unknown-task", "'fetch'"),
            ("{{ item.file-name }}", "EXPR_UNDEFINED_VARIABLE", '["file-name"]'),
            ("{{ tasks[inputs.a].output }}", "unknown-task", "must stand in the text"),
            ("{{ tasks }}", "unknown-task", "must stand in the text"),
            ("{{ inputs.aa }}", "unknown-input", "Did you mean 'a'?"),
            ("{{ uper(inputs.a) }}", "EXPR_UNDEFINED_FUNCTION", "Did you mean 'upper'?"),
            ("{{ upper(inputs.a, 2) }}", "EXPR_TYPE_ERROR", "upper takes 1 argument, and is given 2"),
            ("{{ inputs.__class__ }}", "EXPR_BLOCKED_ACCESS", "must not be looked up"),
            ("{{ taks.fetch-docs.output }}", "EXPR_UNDEFINED_VARIABLE", "Did you mean 'tasks'?"),
            ("{{ 1 + }}", "EXPR_PARSE_ERROR", "ends too early"),
            ("{{ matrix.a }}", "EXPR_UNDEFINED_VARIABLE", "known inside a matrix only"),
            ("{{ previous.a }}", "EXPR_UNDEFINED_VARIABLE", "known inside a loop or while only"),
            ("{{ run.idd }}", "unknown-name", "of `run` there are id, name"),
            ("{{ upper(raw(inputs.a)) }}", "EXPR_PARSE_ERROR", "around a whole template"),
        ],
    )  # fmt: skip
    def test_what_no_expression_can_mean_is_told_before_anything_runs(
        self, tmp_path: Path, text: str, code: str, says: str
    ) -> None:
        """D10 S16."""
        path = write(
            tmp_path,
            f"inputs: {{a: {{type: string, default: x}}}}\ntasks:\n  fetch-docs: {{run: echo}}\n  t: {{foreach: [1], run: [echo, '{text}']}}\n",
        )
        found = problems(path)
        assert code in [each[2] for each in found], found
        assert any(says in each[3] for each in found), found

    def test_a_run_knows_what_it_is_called(self, tmp_path: Path) -> None:
        result = run(tmp_path, "name: the name\ntasks: {a: {run: ['echo', '{{ run.name }} {{ length(run.id) > 3 }}']}}")
        assert result["a"].value == "the name true"


class TestMisuse:
    @pytest.mark.parametrize(
        ("task", "column", "code", "says"),
        [
            ("{parallel: {}}", 17, "type", "parallel needs a list of branches"),
            ("{parallel: []}", 17, "type", "an empty list"),
            ("{parallel: [{run: x}]}", 18, "missing", "a branch has no `tasks:`"),
            ("{parallel: [{tasks: {x: {run: x}}, nme: y}]}", 41, "unknown-key", "Did you mean 'name'?"),
            ("{parallel: [{tasks: {x: {run: x}}, name: 'a[0]'}]}", 47, "key", "cannot name a branch"),
            ("{parallel: [{tasks: {x: {run: x}}}], retries: 2}", 43, "misplaced", "belongs to what runs, not to a group"),
            ("{parallel: [{tasks: {x: {run: x}}}], min_success: 2}", 56, "value", "min_success"),
            ("{switch: [{tasks: {x: {run: x}}}, {tasks: {y: {run: x}}}]}", 16, "value", "only the last one may be without"),
            ("{switch: [{when: yes, tasks: {x: {run: x}}}]}", 23, "type", "when needs true, false, or one template alone"),
            ("{loop: 0, tasks: {x: {run: x}}}", 13, "value", "max must be a whole number of 1 to 100,000 rounds, not 0"),
            ("{loop: {}, tasks: {x: {run: x}}}", 13, "missing", "loop needs `max`, `until` or both"),
            ("{loop: {max: 2, untl: x}, tasks: {x: {run: x}}}", 22, "unknown-key", "Did you mean 'until'?"),
            ("{loop: {until: done}, tasks: {x: {run: x}}}", 21, "type", "until needs true, false, or one template alone"),
            ("{while: {max: 2}, tasks: {x: {run: x}}}", 14, "missing", "while needs a condition"),
            ("{while: '{{ true }}', loop: 2, tasks: {x: {run: x}}}", 7, "value", "loop and while exclude each other"),
            ("{loop: 2, run: x}", 7, "misplaced", "`loop` does not belong in task 't'"),
            ("{matrix: [1], run: x}", 15, "type", "matrix must be a mapping"),
            ("{matrix: {}, run: x}", 15, "empty", "the matrix has no axis"),
            ("{matrix: {a: 1}, run: x}", 19, "type", "axis 'a' needs a list or a template"),
            ("{matrix: {a: []}, run: x}", 19, "empty", "axis 'a' has no values"),
            ("{matrix: {a: [1], exclude: [{b: 1}]}, run: x}", 15, "unknown-name", "exclude names 'b'"),
            ("{matrix: {a: [1], include: 3}, run: x}", 33, "type", "include needs a list of mappings"),
            ("{matrix: {a: [1]}, foreach: [1], run: x}", 7, "value", "matrix and foreach exclude each other"),
        ],
    )  # fmt: skip
    def test_a_block_that_cannot_be_is_told_with_its_place_and_what_to_do(
        self, tmp_path: Path, task: str, column: int, code: str, says: str
    ) -> None:
        """D10 N: nothing is guessed, nothing is ignored."""
        found = problems(write(tmp_path, f"tasks:\n  t: {task}\n"))
        assert (2, column, code) in [each[:3] for each in found], found
        assert any(says in each[3] for each in found), found


def test_the_same_flow_in_yaml_and_python_gives_the_same_results(tmp_path: Path) -> None:
    """D12: nested blocks in a file, and the graph that grows the same by hand."""
    result = run(
        tmp_path,
        """
        tasks:
          squares: {foreach: [1, 2, 3], run: ["echo", "{{ item * item }}"]}
          total: {run: ["echo", "{{ sum(map(tasks.squares.output, x => to_number(x))) }}"]}
        """,
    )

    @plait.task
    async def square(n: int) -> str:
        await asyncio.sleep(0)
        return str(n * n)

    @plait.task
    def total(values: list[str]) -> str:
        return str(sum(map(int, values)))

    assert plait.run(total.bind(square.map([1, 2, 3]))) == result["total"].value == "14"
