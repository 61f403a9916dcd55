"""Leaf nodes in YAML, what groups give, how branches merge, and how many items are under way at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from answering_server import Server, answer, data
from flow_files import problems, run, write
from plait.flow import load
from plait.nodes import registry
from plait.nodes.base import At, Field, FieldKind, Node
from plait.testing import VirtualClock

HEAD = "on_failure: fail_fast\n"


class TestNodes:
    def test_names_in_its_fields_are_those_of_yaml(self, tmp_path: Path) -> None:
        """D12 D8: tasks, inputs, the item of the node itself, `input`, and what is around it."""
        result = run(
            tmp_path,
            """
            inputs: {by: {type: integer, default: 3}}
            tasks:
              rows: {node: transform:map, with: {expression: "[1, 2, 3]"}}
              times: {node: transform:map, input: "{{ tasks.rows.output }}", with: {expression: item * inputs.by + index}}
              odd: {node: transform:filter, input: "{{ tasks.times.output }}", with: {condition: "item % 2 == 1 || last"}}
              sum: {node: transform:reduce, input: "{{ tasks.odd.output }}", with: {initial: 100, expression: acc + item, finalize: "{total: acc}"}}
              text: {node: transform:template, input: ["{{ tasks.sum.output }}", "{{ 5 }}"], with: {template: "{{ input[0].total }} and {{ input[1] }}"}}
              each: {foreach: [7, 8], node: transform:map, with: {expression: "item + inputs.by"}}
            outputs: "{{ [tasks.text.output, tasks.each.output] }}"
            """,
        )
        assert result.value == ["121 and 5", [10, 11]]

    def test_it_waits_for_all_that_its_fields_name(self, tmp_path: Path) -> None:
        """D12: in expressions, templates, nested data and `input`."""
        path = write(
            tmp_path,
            """
            tasks:
              a: {run: echo 1}
              b: {run: echo 1}
              c: {run: echo 1}
              d: {run: echo 1}
              x: {node: transform:map, with: {expression: "tasks.a.output + item"}, input: "{{ tasks.b.output }}"}
              y: {node: sink:http, with: {url: "http://x.example/{{ tasks.c.output }}", body: {deep: ["{{ tasks.d.output }}"]}}}
            """,
        )
        tasks = load(path).tasks
        assert (set(tasks["x"].needs), set(tasks["y"].needs)) == ({"a", "b"}, {"c", "d"})

    def test_without_retries_there_is_one_attempt_and_retryable_is_what_may_help(self, tmp_path: Path) -> None:
        """D12: options are those of YAML; a source of FlowScript would have been tried again by itself."""
        server = Server()
        try:
            busy = [answer(status="503 Busy"), data({"n": 1})]
            server.answers = {"/once": list(busy), "/again": list(busy), "/bad": answer(status="404 No")}
            retry = "retry: {attempts: 3, delay: 1ms, on: retryable}"
            result = run(
                tmp_path,
                f"""
                tasks:
                  once: {{node: source:http, with: {{url: "{server.url}/once"}}}}
                  again: {{node: source:http, with: {{url: "{server.url}/again", extract: n}}, {retry}}}
                  bad: {{node: source:http, with: {{url: "{server.url}/bad"}}, {retry}}}
                """,
            )
        finally:
            server.close()
        assert [(result[key].status, result[key].attempts) for key in ("once", "again", "bad")] == [
            ("failed", 1), ("succeeded", 2), ("failed", 1),
        ]  # fmt: skip
        assert result["again"].value == 1
        tasks = load(tmp_path / "flow.yaml").tasks
        assert tasks["once"].policy.timeout == 30

    def test_a_server_that_an_input_names_may_not_be_in_a_private_network(self, tmp_path: Path) -> None:
        """D11 S: what is data does not decide where a request goes."""
        result = run(
            tmp_path,
            """
            inputs: {to: {default: "http://127.0.0.1:9"}}
            tasks: {a: {node: source:http, with: {url: "{{ inputs.to }}/x"}}}
            """,
        )
        assert "private" in str(result["a"].error)

    @pytest.mark.parametrize(
        ("task", "at", "code", "says"),
        [
            ("{node: transform:mop, with: {expression: '1'}}", (2, 13), "value", "Did you mean 'transform:map'?"),
            ("{node: 5}", (2, 13), "value", "node must be a type such as transform:map, not a number"),
            ("{node: transform:map}", (2, 7), "missing", "a node of type map needs expression"),
            ("{node: transform:map, with: {expression: '1', expresion: '1'}}", (2, 52), "value", "has no 'expresion'. Did you mean 'expression'?"),
            ("{node: transform:map, with: {expression: nobody}}", (2, 47), "EXPR_UNDEFINED_VARIABLE", "unknown name 'nobody'"),
            ("{node: transform:map, with: {expression: 1 +}}", (2, 50), "EXPR_PARSE_ERROR", "expression"),
            ("{node: transform:map, with: {expression: tasks.z.output}}", (2, 47), "unknown-task", "task 'z'"),
            ("{node: transform:map, with: {expression: input}}", (2, 47), "EXPR_UNDEFINED_VARIABLE", "unknown name 'input'"),
            ("{node: transform:template, with: {template: '{{ item }}'}}", (2, 54), "EXPR_UNDEFINED_VARIABLE", "inside a foreach only"),
            ("{node: source:http, with: {url: 'http://x.example', timeout: 5s}}", (2, 58), "misplaced", "write it beside `node`"),
            ("{node: transform:map, input: rows, with: {expression: '1'}}", (2, 35), "type", "input is one template alone"),
            ("{node: transform:map, width: 2, with: {expression: '1'}}", (2, 28), "misplaced", "width is of the items"),
            ("{foreach: [1], width: no, node: transform:map, with: {expression: '1'}}", (2, 28), "value", "width must be a whole number"),
            ("{parallel: [{tasks: {b: {run: echo}}}], merge: objct}", (2, 53), "value", "Did you mean 'object'?"),
            ("{parallel: [{tasks: {b: {run: echo}}}], merge: 'x{{ 1 }}'}", (2, 53), "value", "one template alone"),
            ("{tasks: {b: {run: echo}}, outputs: '{{ now() }}'}", (2, 41), "value", "asks for the time, or for chance"),
            ("{parallel: [{tasks: {b: {run: echo}}}], merge: '{{ random() }}'}", (2, 53), "value", "asks for the time"),
            ("{tasks: {b: {run: echo}}, outputs: b}", (2, 41), "type", "outputs are templates by name, or one template alone"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_told_with_its_place(
        self, task: str, at: tuple[int, int], code: str, says: str, tmp_path: Path
    ) -> None:
        """D10 D12: as of all other bodies."""
        found = problems(write(tmp_path, f"tasks:\n  a: {task}\n"))
        assert [(each[:2], each[2]) for each in found] == [(at, code)], found
        assert says in found[0][3]


class TestGroups:
    def test_outputs_say_what_a_group_gives(self, tmp_path: Path) -> None:
        """D12: of a group, a branch, a case, an item and a round; one template gives the value itself."""
        result = run(
            tmp_path,
            """
            tasks:
              group: {tasks: {a: {node: transform:map, with: {expression: "1"}}}, outputs: {x: "{{ tasks.a.output }}", y: "{{ 2 }}"}}
              sides:
                parallel:
                  - {tasks: {b: {node: transform:map, with: {expression: "2"}}}, outputs: "{{ tasks.b.output }}"}
                  - {tasks: {c: {node: transform:map, with: {expression: "3"}}}}
              route: {switch: [{tasks: {d: {node: transform:map, with: {expression: "4"}}}, outputs: "{{ tasks.d.output + tasks.group.output.x }}"}]}
              each: {foreach: [5, 6], tasks: {e: {node: transform:map, with: {expression: item}}}, outputs: "{{ tasks.e.output + index }}"}
              turn: {loop: 3, tasks: {f: {node: transform:map, with: {expression: "index"}}}, outputs: "{{ (previous ?? 10) + tasks.f.output }}"}
            outputs: "{{ [tasks.group.output, tasks.sides.output, tasks.route.output, tasks.each.output, tasks.turn.output] }}"
            """,
        )
        assert result.value == [{"x": 1, "y": 2}, [2, {"c": 3}], 5, [5, 7], 13]

    @pytest.mark.parametrize(
        ("merge", "value"),
        [("array", [{"n": 1}, [2, 3]]), ("concat", [{"n": 1}, 2, 3]), ("'{{ length(branches) }}'", 2)],
    )  # fmt: skip
    def test_merge_says_what_branches_come_to(self, merge: str, value: Any, tmp_path: Path) -> None:
        """D12 D3: as in FlowScript."""
        result = run(
            tmp_path,
            f"""
            tasks:
              both:
                parallel:
                  - {{tasks: {{a: {{node: transform:map, with: {{expression: "{{n: 1}}"}}}}}}, outputs: "{{{{ tasks.a.output }}}}"}}
                  - {{tasks: {{b: {{node: transform:map, with: {{expression: "[2, 3]"}}}}}}, outputs: "{{{{ tasks.b.output }}}}"}}
                merge: {merge}
            outputs: "{{{{ tasks.both.output }}}}"
            """,
        )
        assert result.value == value

    def test_width_counts_items_with_all_that_is_in_them(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """D4 D12: the next item begins once one is over, whatever the limit of tasks is."""
        under_way: set[int] = set()
        most = [0]

        class Step(Node):
            """Notes who is under way."""

            fields = {"item": Field(FieldKind.VALUE), "last": Field(FieldKind.VALUE)}

            async def run(self, given: Mapping[str, Any], at: At) -> Any:
                under_way.add(given["item"])
                most[0] = max(most[0], len(under_way))
                await asyncio.sleep(1)
                if given["last"]:
                    under_way.remove(given["item"])

        monkeypatch.setitem(registry._registered, "transform:step", Step)
        with VirtualClock():
            result = run(
                tmp_path,
                """
                tasks:
                  each:
                    foreach: [1, 2, 3, 4, 5]
                    width: 2
                    tasks:
                      a: {node: transform:step, with: {item: "{{ item }}", last: false}}
                      b: {node: transform:step, needs: [a], with: {item: "{{ item }}", last: true}}
                """,
            )
        assert result.status == "succeeded"
        assert most == [2]
