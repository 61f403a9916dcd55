"""FlowScript files: a foreach with a leaf node in it beside the same graph built in Python, and how long a large file is read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from common import LIMIT, Job

import plait
from plait.flow import load

FOREACH = """---
name: each
version: 1.0
config: {n: {type: number, default: 10}}
---
<workflow>
  <foreach id="each" collection="range(0, $config.n)" concurrency="%d">
    <transform id="one" type="map"><expression>item * 2 + index</expression></transform>
  </foreach>
</workflow>
"""


def script_row(size: int) -> Job:
    """So many items with a `map` in each."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "each.flow.md")
        path.write_text(FOREACH % LIMIT)
        flow = load(path).configured({"n": size})
    wanted = [at * 3 for at in range(size)]
    return Job(lambda: plait.run(flow)["each"].value, lambda found: found == wanted)


@plait.task
async def one(item: int) -> int:
    """What the map works out."""
    return item * 2 + item


@plait.task
async def item(item: int) -> object:
    """An item that grows one task, as each of a foreach does."""
    return one.bind(item).named("one")


def python_row(size: int) -> Job:
    """The same graph, built in Python."""
    graph = plait.Graph("each")
    graph.add("each", item.map(list(range(size)), max_concurrency=LIMIT))
    wanted = [at * 3 for at in range(size)]
    return Job(lambda: plait.run(graph)["each"].value, lambda found: found == wanted)


NODES = """  <transform id="a{at}" type="map"{input}><expression>{{n: {at}, rows: length(input ?? []), of: $config.n}}</expression></transform>
  <transform id="b{at}" type="template"><template>Row {{{{a{at}.n}}}} of {{{{$config.n}}}}</template></transform>
  <if id="i{at}" condition="a{at}.n > {at}">
    <then><sink id="s{at}" type="file" input="b{at}"><path>out/{{{{a{at}.n}}}}.txt</path></sink></then>
  </if>
"""


def validate_row(size: int) -> Job:
    """A file of so many nodes, four kinds of them, read and checked."""
    folder = Path(tempfile.mkdtemp())
    path = folder / "large.flow.md"
    fours = [NODES.format(at=at, input=f' input="b{at - 1}"' if at else "") for at in range(max(1, size // 4))]
    head = "---\nname: large\nversion: 1.0\nconfig: {n: {type: number, default: 10}}\n---\n"
    path.write_text(f"{head}<workflow>\n{''.join(fours)}</workflow>\n")
    return Job(lambda: len(load(path).tasks), lambda found: found == 3 * len(fours))


ROWS: dict[str, Callable[[int], Job]] = {"foreach": script_row, "python": python_row, "validate": validate_row}
