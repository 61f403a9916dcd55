"""D12: the same flow in Python, YAML and FlowScript is the same graph, runs the same tasks, and gives the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import plait
from answering_server import Server, answer, data
from flow_files import write
from plait._core.graph import Batch
from plait.flow import load
from plait.flow.convert.shapes import shape
from plait.nodes import registry
from plait.nodes.base import At, Field, FieldKind, Node
from plait.programs import compile_graph
from plait.testing import VirtualClock, simulate

dice = random.Random()


class Slow(Node):
    """A value, after a while."""

    fields = {"value": Field(FieldKind.EXPRESSION, required=True)}

    async def run(self, given: Mapping[str, Any], at: At) -> Any:
        await asyncio.sleep(dice.random())
        return at.worked_out(given["value"])


@pytest.fixture(autouse=True)
def _slow_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._registered, "transform:slow", Slow)


async def slow(value: Any) -> Any:
    await asyncio.sleep(dice.random())
    return value


def node(function: Callable[..., Any], *args: Any, **options: Any) -> plait.Node[Any]:
    """A task that takes a while and gives what the function gives."""

    @plait.task
    async def worked_out(*values: Any) -> Any:
        return await slow(function(*values))

    return worked_out.options(**options).bind(*args) if options else worked_out.bind(*args)


@dataclass(frozen=True)
class Same:
    """One flow in three languages, of which `last` is the last task."""

    name: str
    python: Callable[[plait.Graph, str], None]
    yaml: str
    script: str
    value: Any
    last: str = "out"
    answers: Mapping[str, Any] = field(default_factory=dict)
    leaves: Mapping[str, int] = field(default_factory=dict)
    """So many leaves run below the tasks that grow."""


def chain(graph: plait.Graph, url: str) -> None:
    rows = graph.add("rows", node(lambda: [1, 2, 3]))
    twice = graph.add("twice", node(lambda rows: [2 * each for each in rows], rows))
    graph.add("aside", node(lambda: "aside"))
    graph.add("out", node(lambda twice: sum(twice), twice))


CHAIN = Same(
    "chain",
    chain,
    """
    tasks:
      rows: {node: transform:slow, with: {value: "[1, 2, 3]"}}
      twice: {node: transform:slow, with: {value: "map(tasks.rows.output, x => x * 2)"}}
      aside: {node: transform:slow, with: {value: "'aside'"}}
      out: {node: transform:slow, with: {value: sum(tasks.twice.output)}}
    """,
    """
    <transform id="rows" type="slow"><value>[1, 2, 3]</value></transform>
    <transform id="twice" type="slow"><value>map(rows, x => x * 2)</value></transform>
    <transform id="aside" type="slow"><value>'aside'</value></transform>
    <transform id="out" type="slow"><value>sum(twice)</value></transform>
    """,
    12,
)


def fan_out(graph: plait.Graph, url: str) -> None:
    rows = graph.add("rows", node(lambda: [3, 4]))

    @plait.task
    async def square(row: int) -> list[int]:
        return await slow([row, row * row])

    each = graph.add("each", square.map(rows))
    graph.add("out", node(lambda found: {"found": found, "of": len(found)}, each))


FAN_OUT = Same(
    "foreach",
    fan_out,
    """
    tasks:
      rows: {node: transform:slow, with: {value: "[3, 4]"}}
      each:
        foreach: "{{ tasks.rows.output }}"
        tasks:
          pair: {node: transform:slow, with: {value: "[item, item * item]"}}
        outputs: "{{ tasks.pair.output }}"
      out: {node: transform:slow, with: {value: "{found: tasks.each.output, of: length(tasks.each.output)}"}}
    """,
    """
    <transform id="rows" type="slow"><value>[3, 4]</value></transform>
    <foreach id="each" collection="rows" item="row" concurrency="100000">
      <transform id="pair" type="slow"><value>[row, row * row]</value></transform>
    </foreach>
    <transform id="out" type="slow"><value>{found: each, of: length(each)}</value></transform>
    """,
    {"found": [[3, 9], [4, 16]], "of": 2},
    leaves={"each": 2},
)


def parallel(graph: plait.Graph, url: str) -> None:
    rows = graph.add("rows", node(lambda: 5))

    @plait.task
    def both(rows: int) -> plait.Node[Any]:
        left, right = node(lambda: {"a": 1, "b": rows}), node(lambda: {"b": 2})
        return node(lambda *branches: {key: value for each in branches for key, value in each.items()}, left, right)

    merged = graph.add("both", both.bind(rows))
    graph.add("out", node(lambda merged: [merged], merged))


PARALLEL = Same(
    "parallel",
    parallel,
    """
    tasks:
      rows: {node: transform:slow, with: {value: "5"}}
      both:
        parallel:
          - tasks: {left: {node: transform:slow, with: {value: "{a: 1, b: tasks.rows.output}"}}}
            outputs: "{{ tasks.left.output }}"
          - tasks: {right: {node: transform:slow, with: {value: "{b: 2}"}}}
            outputs: "{{ tasks.right.output }}"
        merge: object
      out: {node: transform:slow, with: {value: "[tasks.both.output]"}}
    """,
    """
    <transform id="rows" type="slow"><value>5</value></transform>
    <parallel id="both" merge="object">
      <branch><transform id="left" type="slow"><value>{a: 1, b: rows}</value></transform></branch>
      <branch><transform id="right" type="slow"><value>{b: 2}</value></transform></branch>
    </parallel>
    <transform id="out" type="slow"><value>[both]</value></transform>
    """,
    [{"a": 1, "b": 2}],
)


def switch(graph: plait.Graph, url: str) -> None:
    rows = graph.add("rows", node(lambda: 7))

    @plait.task
    def pick(rows: int) -> plait.Node[Any]:
        return node(lambda: f"many: {rows}") if rows > 5 else node(lambda: "few")

    graph.add("out", node(lambda picked: picked + "!", graph.add("pick", pick.bind(rows))))


SWITCH = Same(
    "switch",
    switch,
    """
    tasks:
      rows: {node: transform:slow, with: {value: "7"}}
      pick:
        switch:
          - when: "{{ tasks.rows.output > 5 }}"
            tasks: {many: {node: transform:slow, with: {value: "'many: ' + tasks.rows.output"}}}
            outputs: "{{ tasks.many.output }}"
          - tasks: {few: {node: transform:slow, with: {value: "'few'"}}}
            outputs: "{{ tasks.few.output }}"
      out: {node: transform:slow, with: {value: "tasks.pick.output + '!'"}}
    """,
    """
    <transform id="rows" type="slow"><value>7</value></transform>
    <if id="pick" condition="rows > 5">
      <then><transform id="many" type="slow"><value>'many: ' + rows</value></transform></then>
      <else><transform id="few" type="slow"><value>'few'</value></transform></else>
    </if>
    <transform id="out" type="slow"><value>pick + '!'</value></transform>
    """,
    "many: 7!",
    leaves={"pick": 1},
)


def loop(graph: plait.Graph, url: str) -> None:
    start = graph.add("start", node(lambda: 10))

    @plait.task
    def climb(start: int, number: int = 0) -> plait.Node[Any]:
        @plait.task
        def again(reached: int) -> Any:
            return reached if reached >= 12 or number == 8 else climb.bind(start, number + 1)

        return again.bind(node(lambda: start + number))

    graph.add("out", node(lambda reached: [reached], graph.add("climb", climb.bind(start))))


LOOP = Same(
    "loop",
    loop,
    """
    tasks:
      start: {node: transform:slow, with: {value: "10"}}
      climb:
        loop: {max: 9, until: "{{ tasks.step.output >= 12 }}"}
        tasks: {step: {node: transform:slow, with: {value: tasks.start.output + index}}}
        outputs: "{{ tasks.step.output }}"
      out: {node: transform:slow, with: {value: "[tasks.climb.output]"}}
    """,
    """
    <transform id="start" type="slow"><value>10</value></transform>
    <loop id="climb" max="9" break="step >= 12">
      <transform id="step" type="slow"><value>start + $iteration</value></transform>
    </loop>
    <transform id="out" type="slow"><value>[climb]</value></transform>
    """,
    [12],
)


def on_error(graph: plait.Graph, url: str) -> None:
    def missing() -> Any:
        raise FileNotFoundError("missing.json")

    lost = graph.add("lost", missing, on_error=node(lambda: "instead"))
    optional = graph.add("optional", missing, allow_failure=True)
    graph.add("out", node(lambda *found: list(found), lost, optional))


ON_ERROR = Same(
    "on-error",
    on_error,
    """
    tasks:
      lost:
        node: source:file
        with: {path: missing.json}
        on_error: {tasks: {other: {node: transform:slow, with: {value: "'instead'"}}}, outputs: "{{ tasks.other.output }}"}
      optional: {node: source:file, with: {path: missing.json}, allow_failure: true}
      out: {node: transform:slow, with: {value: "[tasks.lost.output, tasks.optional.output]"}}
    """,
    """
    <source id="lost" type="file"><path>missing.json</path><on-error><fallback node="other"/></on-error></source>
    <source id="optional" type="file" required="false"><path>missing.json</path></source>
    <transform id="out" type="slow"><value>[lost, optional]</value></transform>
    <transform id="other" type="slow"><value>'instead'</value></transform>
    """,
    ["instead", None],
)


def request(graph: plait.Graph, url: str) -> None:
    retry = {"attempts": 3, "delay": "10ms", "max_delay": "32s", "on": "retryable"}
    asked = plait.http(f"{url}/flaky").options(retry=retry, timeout=30)
    graph.add("out", node(lambda found: found["n"], graph.add("asked", asked)))


HTTP = Same(
    "http",
    request,
    """
    tasks:
      asked:
        node: source:http
        with: {url: "URL/flaky"}
        retry: {attempts: 3, delay: 10ms, max_delay: 32s, on: retryable}
      out: {node: transform:slow, with: {value: tasks.asked.output.n}}
    """,
    """
    <source id="asked" type="http"><url>URL/flaky</url><on-error><retry max="2" base="10ms"/></on-error></source>
    <transform id="out" type="slow"><value>asked.n</value></transform>
    """,
    7,
    answers={"/flaky": [answer(status="503 Busy"), answer(status="503 Busy"), data({"n": 7})]},
)

FLOWS = [CHAIN, FAN_OUT, PARALLEL, SWITCH, LOOP, ON_ERROR, HTTP]
each_flow = pytest.mark.parametrize("same", FLOWS, ids=[same.name for same in FLOWS])

YAML_HEAD = "max_concurrency: 10\non_failure: fail_fast\n"
SCRIPT_HEAD = "---\nname: same\nversion: 1.0.0\n---\n<workflow>\n"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def files(same: Same, folder: Path, url: str = "http://127.0.0.1:9") -> tuple[Any, Any]:
    """The flow of the YAML file, and that of the FlowScript file."""
    end = f'outputs: "{{{{ tasks.{same.last}.output }}}}"\n'
    text = YAML_HEAD + dedent(same.yaml).strip() + "\n" + end
    script = SCRIPT_HEAD + dedent(same.script) + "</workflow>\n"
    of_yaml = load(write(folder, text.replace("URL", url), "same.yaml"))
    return of_yaml, load(write(folder, script.replace("URL", url), "same.flow.md"))


def graph_of(same: Same, url: str = "http://127.0.0.1:9") -> plait.Graph:
    graph = plait.Graph(same.name)
    same.python(graph, url)
    return graph


def told(batch: Batch) -> dict[str, Any]:
    """Keys, needs, and policies as far as all three languages have them."""
    found = {}
    for at, key in enumerate(batch.keys):
        policy = batch.policy if batch.policies is None else batch.policies[at]
        retry = policy.retry.row() if policy.retry.attempts > 1 else None
        needs = {batch.keys[need] for need in (batch.needs or [()] * batch.size)[at]}
        found[str(key)] = (needs, policy.allow_failure, retry, at in batch.repairs)
    return found


def ends(result: plait.RunResult) -> list[str]:
    """The paths of all that ran, and how that ended."""
    return sorted(f"{key}: {outcome.status}" for key, outcome in result.items())


def lowest(result: plait.RunResult, key: str) -> list[str]:
    """What ran below a task, and grew nothing itself."""
    below = [each for each in result if each.startswith((f"{key}/", f"{key}["))]
    return [each for each in below if not any(other.startswith((f"{each}/", f"{each}[")) for other in below)]


class TestTheSameFlow:
    @each_flow
    def test_it_is_the_same_graph_in_all_languages(self, same: Same, tmp_path: Path) -> None:
        """D12: keys, needs and policies; of files also kinds, limits and all that is in the blocks."""
        of_yaml, of_script = files(same, tmp_path)
        assert shape(of_yaml.tasks) == shape(of_script.tasks)
        assert told(of_yaml.shape()) == told(of_script.shape())
        found = told(compile_graph(graph_of(same)).batch)
        wanted = told(of_yaml.shape())
        assert list(found) == list(wanted)
        assert found == wanted

    @each_flow
    def test_it_runs_the_same_tasks_and_gives_the_same(self, same: Same, tmp_path: Path, server: Server) -> None:
        """D12: the results, and the paths of all tasks that ran, with how each ended."""
        ran = []
        for target in [*files(same, tmp_path, server.url), graph_of(same, server.url)]:
            server.answers = {path: list(each) for path, each in same.answers.items()}
            with nullcontext() if same.answers else VirtualClock():  # a server takes its own time
                result = plait.run(target, raise_on_failure=False)
            assert result.status in ("succeeded", "degraded"), result
            assert result[same.last].value == same.value
            ran.append(result)
        of_yaml, of_script, of_python = ran
        assert of_yaml.value == of_script.value == same.value
        assert ends(of_yaml) == ends(of_script)
        top = {key: (each.status, each.attempts) for key, each in of_yaml.items() if "/" not in key and "[" not in key}
        mine = {key: (of_python[key].status, of_python[key].attempts) for key in top}
        assert mine == top
        for key, number in same.leaves.items():
            for result in ran:
                assert len(lowest(result, key)) == number

    @each_flow
    def test_in_every_order_of_events(self, same: Same, tmp_path: Path) -> None:
        """D12: under 40 seeds, which decide how long each task takes and how many run at once."""
        if same.answers:
            pytest.skip("a server takes its own time")
        targets = [*files(same, tmp_path), graph_of(same)]
        for seed in range(40):
            for target in targets:
                dice.seed(seed)
                with VirtualClock():
                    result = plait.run(target, max_concurrency=random.Random(seed).choice([1, 2, 3, 16]))
                assert result[same.last].value == same.value, (seed, target)

    @each_flow
    def test_a_simulation_of_it_goes_the_same_way_in_both_languages(self, same: Same, tmp_path: Path) -> None:
        """D12: equal graphs and equal seeds give equal runs, move by move."""
        of_yaml, of_script = files(same, tmp_path)
        for seed in range(20):
            one, other = (simulate(flow.shape(), seed, on_failure="fail_fast") for flow in (of_yaml, of_script))
            assert one.statuses == other.statuses
            assert one.moves == other.moves


def test_what_differs_is_another_graph(tmp_path: Path) -> None:
    """D12: a shape tells graphs apart: by a need, a policy, a kind, and what is in a block."""
    base = "tasks:\n  a: {node: transform:map, with: {expression: '1'}}\n  b: BODY\n"
    bodies = [
        "{node: transform:map, with: {expression: '1'}}",
        "{node: transform:map, needs: [a], with: {expression: '1'}}",
        "{node: transform:map, timeout: 5s, with: {expression: '1'}}",
        "{node: transform:map, retries: 2, with: {expression: '1'}}",
        "{node: transform:map, allow_failure: true, with: {expression: '1'}}",
        "{node: transform:filter, with: {condition: '1'}}",
        "{tasks: {c: {node: transform:map, with: {expression: '1'}}}}",
        "{tasks: {d: {node: transform:map, with: {expression: '1'}}}}",
        "{foreach: [1], tasks: {d: {node: transform:map, with: {expression: '1'}}}}",
        "{foreach: [1], width: 1, tasks: {d: {node: transform:map, with: {expression: '1'}}}}",
    ]
    shapes = [shape(load(write(tmp_path, base.replace("BODY", body))).tasks) for body in bodies]
    assert all(one != other for at, one in enumerate(shapes) for other in shapes[:at])
