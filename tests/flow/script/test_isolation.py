"""Branches and iterations of FlowScript see nothing of one another, whatever the timing and whatever nodes do with what they are given."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plait
from flow_files import write
from plait.flow import load
from plait.nodes import At, Field, FieldKind, Node, node
from plait.testing import VirtualClock

HEAD = "---\nname: f\nversion: 1.0\n---\n"

dice = random.Random(0)
seen: dict[str, Any] = {}


def spoil(value: Any, who: str) -> None:
    """Changes a value in place, and all that is in it."""
    if isinstance(value, list):
        for each in value:
            spoil(each, who)
        value.append(who)
    elif isinstance(value, dict):
        for each in value.values():
            spoil(each, who)
        value[who] = who


@node("transform:touch")
class Touch(Node):
    """Says what it was given, and changes it; gives its input with its name."""

    fields = {
        "of": Field(FieldKind.JSON),
        "formula": Field(FieldKind.EXPRESSION),
        "usual": Field(FieldKind.VALUE, default=[]),
    }

    async def run(self, given: Mapping[str, Any], at: At) -> Any:
        """In two pieces, with others between."""
        who = plait.current().key
        await asyncio.sleep(dice.uniform(0, 3))
        worked_out = at.worked_out(given["formula"]) if given["formula"] is not None else None
        parts = [at.input, given["of"], given["usual"], worked_out]
        seen[who] = copy.deepcopy(parts)
        for each in parts:
            spoil(each, who)
        await asyncio.sleep(dice.uniform(0, 3))
        spoil(at.input, f"{who}!")
        return at.input


FLOW = (
    HEAD
    + """<workflow>
  <transform id="start" type="map"><expression>[['x'], {k: ['y']}]</expression></transform>
  <set var="v" value="{{start}}"/>
  <transform id="aside" type="touch" input="start"><of>{{v}}</of><formula>[start, v]</formula></transform>
  <transform id="fixed" type="touch"><of>[["said", {"in": ["the file"]}]]</of></transform>
  <parallel id="sides" max="{{$config.most}}">
    <branch>
      <transform id="a1" type="touch" input="v"><of>{{start}}</of></transform>
      <set var="v" value="{{concat(v, ['a'])}}"/>
      <transform id="a2" type="touch" input="v"><of>{{[a1, v]}}</of><formula>a1</formula></transform>
      <transform id="a3" type="touch" input="v"><of>{{[a1, a2, v, $branch]}}</of></transform>
    </branch>
    <branch>
      <transform id="b1" type="touch" input="v"/>
      <parallel id="inner">
        <branch>
          <set var="v" value="{{concat(v, ['c'])}}"/>
          <transform id="c" type="touch" input="v"><of>{{[b1, v, $branch]}}</of></transform>
        </branch>
        <branch><transform id="d" type="touch" input="v"><of>{{[b1, v, $branch]}}</of></transform><set var="v" value="d"/></branch>
      </parallel>
      <transform id="b2" type="touch" input="v"><of>{{[b1, c, d]}}</of></transform>
    </branch>
  </parallel>
  <foreach id="each" collection="[start, start, start, [['z']]]" concurrency="3">
    <transform id="e1" type="touch" input="item"><of>{{[item, v]}}</of></transform>
    <set var="v" value="{{concat(v, [index])}}"/>
    <foreach id="below" collection="[v, v]" item="x" concurrency="2">
      <set var="v" value="{{concat(x, ['below', index])}}"/>
      <transform id="f" type="touch" input="x"><of>{{[v, e1]}}</of></transform>
    </foreach>
    <transform id="e2" type="touch" input="v"><of>{{[e1, item, below]}}</of></transform>
  </foreach>
  <loop id="rounds" max="3">
    <set var="own" value="{{concat(own ?? start, [$iteration])}}"/>
    <transform id="r" type="touch" input="own"><of>{{own}}</of></transform>
  </loop>
  <if id="side" condition="length(start) == 2"><then><set var="w" value="{{concat(v, ['if'])}}"/><transform id="i" type="touch" input="w"><of>{{start}}</of></transform></then></if>
  <transform id="end" type="map"><expression>{start, v, w, own, aside, sides, each, rounds, side, a3, b2, c, d}</expression></transform>
  <set var="v" value="later"/>
</workflow>
"""
).replace("version: 1.0\n", "version: 1.0\nconfig: {most: {type: number, default: 2}}\n")

START = [["x"], {"k": ["y"]}]


def play(flow: Any, seed: int, **options: Any) -> tuple[Any, dict[str, Any]]:
    """One run by these dice: its result, and what each node was given."""
    dice.seed(seed)
    seen.clear()
    with VirtualClock():
        result = plait.run(flow, **options)
    return result, dict(seen)


def spoilt(value: Any, who: str) -> Any:
    """What a node gives that was given this."""
    value = copy.deepcopy(value)
    spoil(value, who)
    spoil(value, f"{who}!")
    return value


class TestIsolation:
    def test_a_branch_or_item_never_sees_what_another_did_whatever_the_timing(self, tmp_path: Path) -> None:
        """D3 F72: 200 seeded interleavings of nodes that change all that they are given; each sees what there was at the entry of its block, what stands
        before it there, and of other nodes only what they gave."""
        flow = load(write(tmp_path, FLOW, "f.flow.md"))
        first, given = play(flow, 0)
        assert given["aside"] == [START, START, [], [START, START]]
        assert given["fixed"][1] == [["said", {"in": ["the file"]}]]
        assert given["sides[0]/a1"] == [START, START, [], None]
        a1 = spoilt(START, "sides[0]/a1")
        assert given["sides[0]/a2"] == [[*START, "a"], [a1, [*START, "a"]], [], a1]
        assert given["sides[1]/inner[0]/c"][0] == [*START, "c"]
        assert given["sides[1]/inner[1]/d"][0] == START
        assert given["sides[1]/b2"][0] == START
        for at in range(3):
            assert given[f"each[{at}]/e1"] == [START, [START, START], [], None]
            assert given[f"each[{at}]/e2"][0] == [*START, at]
            for below in range(2):
                assert given[f"each[{at}]/below[{below}]/f"][0] == [*START, at]
                assert given[f"each[{at}]/below[{below}]/f"][1][0] == [*START, at, "below", below]
        assert given["rounds[2]/r"][0] == [*START, 0, 1, 2]
        end = first["end"].value
        assert (end["start"], end["v"], end["w"]) == (START, START, [*START, "if"])
        assert end["own"] == [*START, 0, 1, 2]
        orders = set()
        for seed in range(1, 200):
            most = random.Random(seed).choice([1, 2, 3, 16])
            result, found = play(flow, seed, max_concurrency=most)
            assert found == given, seed
            assert result["end"].value == end, seed
            orders.add(tuple(found))
        assert len(orders) > 100, "the interleavings were too much alike"

    def test_what_a_node_changes_is_not_what_its_next_try_is_given(self, tmp_path: Path) -> None:
        """D3: each try starts from clean state."""

        tries = []

        @node("transform:tries")
        class Tries(Node):
            fields = {"of": Field(FieldKind.JSON)}

            async def run(self, given: Mapping[str, Any], at: At) -> Any:
                tries.append(copy.deepcopy([at.input, given["of"]]))
                spoil(at.input, "t")
                spoil(given["of"], "t")
                if len(tries) < 3:
                    raise ConnectionError("once more")
                return "done"

        text = """<workflow><transform id="a" type="map"><expression>[[1]]</expression></transform>
        <transform id="t" type="tries" input="a"><of>{"x": [1]}</of><on-error><retry max="3" base="1ms"/></on-error></transform></workflow>"""
        result = plait.run(load(write(tmp_path, HEAD + text, "f.flow.md")))
        assert result["t"].value == "done"
        assert tries == [[[[1]], {"x": [1]}]] * 3
        assert result["a"].value == [[1]]

    def test_a_failed_branch_leaves_nothing_behind(self, tmp_path: Path) -> None:
        """D3: nor does one that is tried again, nor an item."""
        text = """<workflow>
          <set var="v" value="before"/>
          <phase id="p" name="p">
            <set var="v" value="in"/>
            <foreach id="tried" collection="[1, 2]"><set var="v" value="{{item}}"/><on-error><retry max="2"/></on-error></foreach>
            <parallel id="sides"><branch><set var="v" value="side"/></branch><on-error><retry max="1"/></on-error></parallel>
          </phase>
          <transform id="a" type="map"><expression>v</expression></transform>
          <phase id="q" name="q"><set var="v" value="lost"/><transform id="bad" type="map"><expression>JSON.parse("{")</expression></transform><on-error><continue/></on-error></phase>
          <transform id="b" type="map"><expression>[v, q]</expression></transform>
        </workflow>"""
        result = plait.run(load(write(tmp_path, HEAD + text, "f.flow.md")), raise_on_failure=False)
        assert result["a"].value == "in"
        assert result["b"].value == ["in", None]
