"""Blocks in blocks of FlowScript: limits of blocks and of the run are never exceeded and always used, and nothing waits for itself."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import plait
from flow_files import problems, write
from plait.flow import load
from plait.nodes import At, Field, FieldKind, Node, node
from plait.testing import VirtualClock

dice = random.Random(0)
now: Counter[str] = Counter()
most: Counter[str] = Counter()
spans: dict[str, tuple[float, float]] = {}


@node("transform:busy")
class Busy(Node):
    """Works for `s` seconds, by chance where it is not said, and counts itself in each of its groups meanwhile."""

    fields = {"s": Field(FieldKind.JSON), "of": Field(FieldKind.JSON)}

    async def run(self, given: Mapping[str, Any], at: At) -> Any:
        """When it was at work, is in `spans`."""
        groups = ["all", *(given["of"] or ())]
        began = asyncio.get_running_loop().time()
        for each in groups:
            now[each] += 1
            most[each] = max(most[each], now[each])
        seconds = given["s"]
        await asyncio.sleep(dice.uniform(0.1, 3) if seconds is None else seconds)
        for each in groups:
            now[each] -= 1
        spans[plait.current().key] = (began, asyncio.get_running_loop().time())
        return seconds


def flow(folder: Path, body: str, concurrency: int | None = None) -> Any:
    """A loaded file with that body."""
    runtime = "" if concurrency is None else f"runtime: {{concurrency: {concurrency}}}\n"
    return load(write(folder, f"---\nname: f\nversion: 1.0\n{runtime}---\n<workflow>{body}</workflow>\n", "f.flow.md"))


def play(made: Any, seed: int = 0) -> plait.RunResult:
    """One run by these dice."""
    dice.seed(seed)
    for each in (now, most, spans):
        each.clear()
    with VirtualClock():
        return plait.run(made, raise_on_failure=False)


BLOCKS = {
    "parallel": '<parallel id="{id}"><branch>{inner}</branch><branch><transform id="{id}y" type="map"><expression>1</expression></transform></branch></parallel>',
    "wide": '<parallel id="{id}"><branch>{inner}</branch></parallel>',
    "foreach": '<foreach id="{id}" collection="[1, 2]" concurrency="2">{inner}</foreach>',
    "each": '<foreach id="{id}" collection="[1]">{inner}</foreach>',
    "loop": '<loop id="{id}" max="2">{inner}</loop>',
    "once": '<loop id="{id}" max="1">{inner}</loop>',
    "if": '<if id="{id}" condition="1 &lt; 2"><then>{inner}</then></if>',
    "branch": '<branch id="{id}"><case when="1 &gt; 2"><set var="{id}v" value="1"/></case><default>{inner}</default></branch>',
    "while": '<while id="{id}" condition="($iteration ?? 0) &lt; 1">{inner}</while>',
    "phase": '<phase id="{id}" name="{id}">{inner}</phase>',
    "timeout": '<timeout id="{id}" duration="9d">{inner}</timeout>',
    "tries": '<phase id="{id}" name="{id}">{inner}<on-error><retry max="2"/></on-error></phase>',
}


def nested(kinds: list[str], leaf: str) -> str:
    """Blocks in blocks, the first kind innermost."""
    for number, kind in enumerate(kinds):
        leaf = BLOCKS[kind].replace("{id}", f"b{number}").replace("{inner}", leaf)
    return leaf


LEAF = '<transform id="leaf" type="busy"><s>1</s></transform>'


class TestNesting:
    @pytest.mark.parametrize("inner", ["parallel", "foreach", "loop", "if", "while"])
    def test_five_deep_at_a_limit_of_one_nothing_waits_for_itself(self, tmp_path: Path, inner: str) -> None:
        """D4 D7 F73: every order of five kinds of blocks; a block holds no slot."""
        others = [each for each in ("parallel", "foreach", "loop", "if", "while") if each != inner]
        for order in itertools.permutations(others):
            result = play(flow(tmp_path, nested([inner, *order], LEAF), 1))
            assert result.status == "succeeded", (order, result.first_cause)
            assert (most["all"], len(spans)) == (1, 4), order

    @pytest.mark.parametrize(
        "kind", ["wide", "each", "once", "if", "branch", "while", "phase", "timeout", "tries", "mixed"]
    )
    def test_a_hundred_blocks_deep_runs_at_a_limit_of_one(self, tmp_path: Path, kind: str) -> None:
        """D7: the bound of depth is 100; what is deeper is refused."""
        kinds = [kind] if kind != "mixed" else ["wide", "each", "once", "if", "branch", "while", "phase", "timeout"]
        deep = list(itertools.islice(itertools.cycle(kinds), 99))
        result = play(flow(tmp_path, nested(deep, LEAF), 1))
        assert result.status == "succeeded", result.first_cause
        assert len(spans) == 1
        deeper = list(itertools.islice(itertools.cycle(kinds), 140))
        text = f"---\nname: f\nversion: 1.0\n---\n<workflow>{nested(deeper, LEAF)}</workflow>\n"
        assert problems(write(tmp_path, text, "f.flow.md"))


MANY = """
<parallel id="p" max="3">
  <branch><foreach id="f" collection="range(0, 6)" concurrency="2"><transform id="a" type="busy"><of>["f"]</of></transform><transform id="a2" type="busy"><of>["f"]</of></transform></foreach></branch>
  <branch><foreach id="g" collection="range(0, 6)" concurrency="{{1 + 2}}"><parallel id="h" max="2">
    <branch><transform id="b" type="busy"><of>{{["g", "h" + item]}}</of></transform></branch>
    <branch><transform id="c" type="busy"><of>{{["g", "h" + item]}}</of></transform></branch>
    <branch><transform id="d" type="busy"><of>{{["g", "h" + item]}}</of></transform></branch>
  </parallel></foreach></branch>
  <branch><loop id="l" max="3"><transform id="e" type="busy"><of>["l"]</of></transform></loop></branch>
  <branch><foreach id="i" collection="range(0, 9)"><transform id="j" type="busy"><of>["i"]</of></transform></foreach></branch>
  <branch><transform id="k" type="busy"/></branch>
</parallel>
<foreach id="beside" collection="range(0, 5)" concurrency="5"><transform id="m" type="busy"><of>["m"]</of></transform></foreach>
"""


class TestLimits:
    @pytest.mark.parametrize("concurrency", [1, 2, 4, 10])
    def test_no_limit_is_ever_exceeded_and_each_is_used(self, tmp_path: Path, concurrency: int) -> None:
        """D4: of blocks in blocks, and that of the run, over 50 seeded interleavings."""
        made = flow(tmp_path, MANY, concurrency)
        highest: Counter[str] = Counter()
        for seed in range(50):
            result = play(made, seed)
            assert result.status == "succeeded", result.first_cause
            assert most["all"] <= concurrency, seed
            limits = {"f": 2, "g": 6, "l": 1, "i": 1, "m": 5, **{f"h{at}": 2 for at in range(6)}}
            for name, limit in limits.items():
                assert most[name] <= limit, (seed, name)
            highest |= most
        assert highest["all"] == concurrency
        if concurrency == 10:
            assert {name: highest[name] for name in ("f", "g", "m", "h0")} == {"f": 2, "g": 6, "m": 5, "h0": 2}

    @pytest.mark.parametrize("block", ["foreach", "parallel", "late", "run"])
    def test_the_next_one_starts_the_moment_one_ends(self, tmp_path: Path, block: str) -> None:
        """A4 D4: no batches; two at once, whoever is done first makes room."""
        seconds = [5, 1, 2, 1, 4, 1]
        if block in ("foreach", "late"):
            width = "2" if block == "foreach" else "{{1 + 1}}"
            body = f'<foreach id="p" collection="{seconds}" concurrency="{width}"><transform id="n" type="busy"><s>{{{{item}}}}</s></transform></foreach>'
        else:
            nodes = [f'<transform id="n{at}" type="busy"><s>{each}</s></transform>' for at, each in enumerate(seconds)]
            body = f'<parallel id="p" max="2">{"".join(f"<branch>{each}</branch>" for each in nodes)}</parallel>'
            body = "".join(nodes) if block == "run" else body
        result = play(flow(tmp_path, body, 2 if block == "run" else None))
        assert result.status == "succeeded", result.first_cause
        order = sorted(spans, key=lambda key: int("".join(filter(str.isdigit, key)) or 0))
        start = min(began for began, _ in spans.values())
        assert [tuple(round(each - start, 6) for each in spans[key]) for key in order] == [
            (0, 5), (0, 1), (1, 3), (3, 4), (4, 8), (5, 6),
        ]  # fmt: skip
