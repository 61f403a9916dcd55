"""Programs by chance: plait gives what a small interpreter of ours gives, which runs one node after the other and copies states."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import script_flows
from script_flows import Stage, left_and_resumed, ran


class Stopped(Exception):
    """A `break` or `continue`, with what its sequence had given before."""

    def __init__(self, ends: bool, loop: str, last: Any) -> None:
        super().__init__(loop)
        self.ends = ends
        self.loop = loop
        self.last = last


class Failed(Exception):
    """A node failed."""


@dataclass
class Part:
    """A node: its tag, what is said of it, and the blocks in it."""

    tag: str
    id: str
    said: dict[str, Any] = field(default_factory=dict)
    blocks: list[list[Part]] = field(default_factory=list)


# -- what they look like

TERMS = ("x + 3", "y * 2 + 1", "x + y", "($iteration ?? 5) + x", "($item ?? 7) * 2 + y", "($branch ?? 4) + y")
CONDITIONS = ("x % 2 == 0", "y % 3 == 1", "x > y", "($iteration ?? 0) >= 1", "($item ?? 0) > 1")


def text(block: list[Part]) -> str:
    return "".join(map(written, block))


def written(part: Part) -> str:
    said, inner = part.said, [text(block) for block in part.blocks]
    match part.tag:
        case "set":
            return f'<set id="{part.id}" var="{said["var"]}" value="{{{{({said["term"]}) % 97}}}}"/>'
        case "if":
            return f'<if id="{part.id}" condition="{said["when"]}"><then>{inner[0]}</then><else>{inner[1]}</else></if>'
        case "branch":
            cases = f'<case when="{said["when"]}">{inner[0]}</case><case when="{said["other"]}">{inner[1]}</case>'
            return f'<branch id="{part.id}">{cases}</branch>'
        case "loop":
            return f'<loop id="{part.id}" max="{said["max"]}" break="{said["when"]}">{inner[0]}</loop>'
        case "while":
            return f'<while id="{part.id}" condition="$iteration &lt; {said["max"]} &amp;&amp; ({said["when"]})">{inner[0]}</while>'
        case "foreach":
            return f'<foreach id="{part.id}" collection="{said["items"]}" concurrency="{said["width"]}">{inner[0]}</foreach>'
        case "parallel":
            return f'<parallel id="{part.id}">{"".join(f"<branch>{each}</branch>" for each in inner)}</parallel>'
        case "break" | "continue":
            return f'<{part.tag} loop="{said["loop"]}" when="{said["when"]}"/>'
        case "ask":
            return f'<checkpoint id="{part.id}" prompt="?"/>'
        case "failing":
            return f'<if id="{part.id}" condition="{said["when"]}"><then><set var="bad" value="{{{{upper(5)}}}}"/></then></if>'
        case "guarded":
            return f'<timeout id="{part.id}" duration="1h" required="false">{inner[0]}</timeout>'
    return f'<{part.tag} id="{part.id}"{said.get("more", "")}>{inner[0]}{said.get("end", "")}</{part.tag}>'


# -- what they mean


class Interpreter:
    """Runs them one after the other."""

    def sequence(self, block: list[Part], state: dict[str, int], known: dict[str, int]) -> Any:
        last = None
        for part in block:
            if part.tag in ("break", "continue"):
                if holds(part.said["when"], state, known):
                    raise Stopped(part.tag == "break", part.said["loop"], last)
                continue
            last = self.part(part, state, known)
        return last

    def part(self, part: Part, state: dict[str, int], known: dict[str, int]) -> Any:
        said = part.said
        match part.tag:
            case "set":
                state[said["var"]] = worth(said["term"], state, known) % 97
                return state[said["var"]]
            case "if":
                return self.sequence(part.blocks[0 if holds(said["when"], state, known) else 1], state, known)
            case "branch":
                for name, block in zip(("when", "other"), part.blocks, strict=True):
                    if holds(said[name], state, known):
                        return self.sequence(block, state, known)
                return None
            case "loop" | "while":
                return self.rounds(part, state, known)
            case "foreach":
                return self.items(part, state, known)
            case "parallel":
                return self.branches(part, state, known)
            case "ask":
                return {"action": "approve", "input": None, "timedOut": False}
            case "failing":
                if holds(said["when"], state, known):
                    raise Failed
                return None
            case "guarded":
                return self.guarded(part, state, known)
        return self.sequence(part.blocks[0], state, known)

    def guarded(self, part: Part, state: dict[str, int], known: dict[str, int]) -> Any:
        before = dict(state)
        try:
            return self.sequence(part.blocks[0], state, known)
        except Failed:
            state.update(before)
            return None

    def rounds(self, part: Part, state: dict[str, int], known: dict[str, int]) -> Any:
        last = None
        for number in range(part.said["max"]):
            here = {**known, "$iteration": number}
            if part.tag == "while" and not holds(part.said["when"], state, here):
                return last
            try:
                last = self.sequence(part.blocks[0], state, here)
            except Stopped as stopped:
                last = stopped.last
                if stopped.loop != part.id:
                    raise Stopped(stopped.ends, stopped.loop, last) from None
                if stopped.ends:
                    return last
            if part.tag == "loop" and holds(part.said["when"], state, here):
                return last
        return last

    def items(self, part: Part, state: dict[str, int], known: dict[str, int]) -> Any:
        results: list[Any] = []
        for index, item in enumerate(part.said["items"]):
            own = deepcopy(state)
            try:
                results.append(self.sequence(part.blocks[0], own, {**known, "$item": item, "$index": index}))
            except Stopped as stopped:
                results.append(stopped.last)
                if stopped.loop != part.id:
                    raise Stopped(stopped.ends, stopped.loop, results) from None
                if stopped.ends:
                    return results
        return results

    def branches(self, part: Part, state: dict[str, int], known: dict[str, int]) -> Any:
        results: list[Any] = []
        jump: Stopped | None = None
        for index, block in enumerate(part.blocks):
            try:
                results.append(self.sequence(block, deepcopy(state), {**known, "$branch": index}))
            except Stopped as stopped:
                results.append(stopped.last)
                jump = jump or stopped
        if jump is not None:
            raise Stopped(jump.ends, jump.loop, results)
        return results


def worth(term: str, state: dict[str, int], known: dict[str, int]) -> int:
    x, y = state["x"], state["y"]
    rounds, item, branch = known.get("$iteration", 5), known.get("$item", 7), known.get("$branch", 4)
    return (x + 3, y * 2 + 1, x + y, rounds + x, item * 2 + y, branch + y)[TERMS.index(term)]


def holds(condition: str, state: dict[str, int], known: dict[str, int]) -> bool:
    x, y = state["x"], state["y"]
    found = (x % 2 == 0, y % 3 == 1, x > y, known.get("$iteration", 0) >= 1, known.get("$item", 0) > 1)
    return found[CONDITIONS.index(condition)]


# -- by chance


@st.composite
def programs(draw: st.DrawFn, *, asks: bool = False) -> list[Part]:
    """Some nodes, with others in them; with `asks` some of them wait for people."""
    return draw_block(draw, (f"n{number}" for number in count()), 3, (), asks)


def draw_block(draw: st.DrawFn, ids: Iterator[str], depth: int, loops: tuple[str, ...], asks: bool) -> list[Part]:
    return [draw_part(draw, ids, depth, loops, asks) for _ in range(draw(st.integers(1, 3)))]


def draw_part(draw: st.DrawFn, ids: Iterator[str], depth: int, loops: tuple[str, ...], asks: bool) -> Part:
    tags = ["set", "set", *(["ask"] if asks else [])]
    if loops:
        tags += ["break", "continue"]
    if depth:
        tags += [
            "if",
            "branch",
            "loop",
            "while",
            "foreach",
            "parallel",
            "phase",
            "timeout",
            "tried",
            "failing",
            "guarded",
        ]
    tag, when = draw(st.sampled_from(tags)), st.sampled_from(CONDITIONS)
    id = next(ids)
    within = lambda *more: draw_block(draw, ids, depth - 1, (*loops, *more), asks)  # noqa: E731 - short, and of this place
    match tag:
        case "set":
            return Part(tag, id, {"var": draw(st.sampled_from("xy")), "term": draw(st.sampled_from(TERMS))})
        case "break" | "continue":
            return Part(tag, id, {"loop": draw(st.sampled_from(loops)), "when": draw(when)})
        case "if":
            return Part(tag, id, {"when": draw(when)}, [within(), within()])
        case "branch":
            return Part(tag, id, {"when": draw(when), "other": draw(when)}, [within(), within()])
        case "loop" | "while":
            return Part(tag, id, {"max": draw(st.integers(1, 3)), "when": draw(when)}, [within(id)])
        case "foreach":
            items = draw(st.lists(st.integers(0, 3), max_size=3))
            return Part(tag, id, {"items": items, "width": draw(st.integers(1, 3))}, [within(id)])
        case "parallel":
            return Part(tag, id, {}, [within() for _ in range(draw(st.integers(1, 3)))])
        case "phase":
            # What runs where it is independent has no order in which it could be left.
            return Part(tag, id, {}, [draw_block(draw, ids, depth - 1, (), asks)])
        case "ask":
            return Part(tag, id)
        case "failing":
            return Part(tag, id, {"when": draw(when)})
        case "guarded":
            return Part(tag, id, {}, [within()])
        case "timeout":
            return Part(tag, id, {"more": ' duration="1h"'}, [within()])
    retry = '<on-error><retry max="2"/></on-error>'
    return Part("timeout", id, {"more": ' duration="1h"', "end": retry}, [within()])


def expected(program: list[Part]) -> tuple[str, Any]:
    """The body of a file that runs it, and what its last node gives."""
    state = {"x": 1, "y": 2}
    result = Interpreter().part(Part("guarded", "all", {}, [program]), state, {})
    body = f"""
    <set id="x0" var="x" value="1"/><set id="y0" var="y" value="2"/>
    <timeout id="all" duration="1h" required="false">{text(program)}</timeout>
    <set id="end" var="z" value="{{{{[all, {{x: x, y: y}}]}}}}"/>
    """
    return body, [result, state]


QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


@settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
@given(programs(), st.integers(1, 4))
def test_plait_gives_what_running_one_node_after_the_other_gives(program: list[Part], width: int) -> None:
    """D3 D4 D7 D8: blocks in blocks, state that stays inside or is shared, jumps out of them; whatever runs at once."""
    script_flows.STAGE = Stage()
    body, wanted = expected(program)
    assert ran(body, runtime={"concurrency": width})["end"] == wanted


@settings(max_examples=25, deadline=None, suppress_health_check=QUIET)
@given(programs(asks=True), st.integers(1, 4))
def test_so_it_does_where_it_is_left_and_gone_on_with_again_and_again(program: list[Part], width: int) -> None:
    """D7 D8 D11: in the middle of blocks in blocks, whenever a person is asked."""
    script_flows.STAGE = Stage()
    body, wanted = expected(program)
    assert left_and_resumed(body, lambda key: "approve", runtime={"concurrency": width})["end"] == wanted
