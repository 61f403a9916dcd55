"""Looks up what the nodes of a file name: what each of them has to wait for, and what is nowhere or out of reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from plait._core.graph import cycle_text, find_cycle
from plait.errors import FlowError
from plait.flow.problems import Place
from plait.flow.script.front import Front
from plait.flow.script.limits import MOST_CYCLES, MOST_NODES, MOST_WAITS
from plait.flow.script.scope import NULL_ELSEWHERE, OF_FAILURE, SPECIAL
from plait.flow.script.syntax import Block, Part, Use
from plait.flow.script.texts import CYCLE, NO_NAME, NO_NODE, NO_SECRET, Texts

ALWAYS = frozenset(("input", *NULL_ELSEWHERE, *OF_FAILURE))
MANY_FALLBACKS = f"with fallbacks, as often as they are named, the file has more than {MOST_NODES:,} nodes"
OF_RUN = ("id", "workflow", "startedAt")


@dataclass(frozen=True, slots=True)
class Step:
    """One part on the way from the file to a node: the part's block, and its place there."""

    block: Block
    place: int

    @property
    def part(self) -> Part:
        """The part itself."""
        return self.block.parts[self.place]


Way = tuple[Step, ...]


class Lookup:
    """Looks up the names of a whole file."""

    def __init__(self, texts: Texts, root: Block, front: Front, bound: Iterable[str] = ()) -> None:
        self._texts = texts
        self._root = root
        self._front = front
        self._bound = frozenset(bound)
        self._ways: dict[str, Way] = {}
        self._branches: dict[str, Way] = {}
        self._sets: dict[int, dict[str, list[int]]] = {}
        """Of each block: the parts that set a variable in its scope."""
        self._referred: set[int] = set()
        """Parts that something depends on."""
        self._fallbacks: dict[int, list[Part]] = {}
        self._known: list[str] = []
        self._keys: dict[int, dict[str, None]] = {}
        """Of blocks in which something is gone to: what is there."""
        self._set: dict[str, None] | None = None
        self._waits = 0
        self._served = 0
        """Nodes that would run as fallbacks."""

    def all(self) -> None:
        """Finds what every part needs, and tells of every name that leads nowhere."""
        self._collect(self._root, ())
        self._block(self._root, ())
        self._take_out_fallbacks()
        self._order(self._root)
        self._cycles(self._root)

    # -- what is there

    def _collect(self, block: Block, way: Way) -> dict[str, list[int]]:
        """Where each node stands, and what is set in each block."""
        sets: dict[str, list[int]] = {}
        for place, part in enumerate(block.parts):
            here = (*way, Step(block, place))
            if part.named:
                self._ways[part.key] = here
            inner: dict[str, None] = dict.fromkeys(part.sets)
            for each in part.blocks:
                if each.id:
                    self._branches[each.id] = here
                found = self._collect(each, here)
                if not part.isolates:
                    inner.update(dict.fromkeys(found))
            for name in inner:
                sets.setdefault(name, []).append(place)
        self._sets[id(block)] = sets
        return sets

    def too_large(self, at: Place, message: str) -> FlowError:
        """The error to raise where there is more than a file may hold."""
        return self._texts.problems.stop(at, "too-large", message)

    def variables(self, block: Block) -> Mapping[str, list[int]]:
        """Of each variable that is set in the scope of a block: by which of its parts."""
        return self._sets[id(block)]

    @property
    def ways(self) -> Mapping[str, Way]:
        """How each node is reached that others may name; branches by their ids lead to their `parallel`."""
        return self._ways

    @property
    def known(self) -> list[str]:
        """Every name that there is."""
        if not self._known:
            self._known = sorted({*self._ways, *self._branches, *self._variables(), *self._bound})
        return self._known

    def _variables(self) -> dict[str, None]:
        """Every variable that is set somewhere."""
        if self._set is None:
            self._set = {name: None for each in self._sets.values() for name in each}
        return self._set

    # -- what is named

    def _block(self, block: Block, way: Way) -> None:
        for place, part in enumerate(block.parts):
            here = (*way, Step(block, place))
            for use in part.uses:
                self._use(use, here, here)
            for fallback in tuple(part.fallbacks):
                self._fallback(part, fallback.target, Use(fallback.target, (), fallback.at, is_id=True), here)
            self._gotos(block, place, part)
            for each in part.blocks:
                end = (*here, Step(each, len(each.parts)))
                for use in each.ends:
                    self._use(use, end, here, ends=True)
                self._block(each, here)

    def _use(self, use: Use, way: Way, waits: Way, *, ends: bool = False) -> None:
        """One name. `way` is where it is read, `waits` who waits for it; `ends`: in the condition of a loop."""
        name = use.name
        if any(name in step.block.names for step in way):
            return
        if name.startswith("$") or name in ALWAYS:
            self._special(use, way, waits)
            return
        if not use.is_id and self._variable(name, way, waits):
            return
        target = self._ways.get(name) or self._branches.get(name)
        if target is None:
            if name in self._bound or ends:
                return  # given by the file that holds this one; or a field of the last round, as the loop rule has it
            self._unknown(use)
            return
        self._node(use, target, way, waits, ends=ends)

    def _unknown(self, use: Use) -> None:
        guess = self._texts.problems.nearest(use.name, self.known)
        if use.is_id:
            self._texts.bad(use.at, NO_NODE, f"there is no node {use.name!r}{guess}")
            return
        self._texts.bad(
            use.at,
            NO_NAME,
            f"{use.name!r} is not known here{guess}",
            f"text is quoted, as in '{use.name}'; workflow input is $input.{use.name}, configuration $config.{use.name}",
        )

    def _special(self, use: Use, way: Way, waits: Way) -> None:
        name, steps, bad = use.name, use.steps, self._texts.bad
        step = str(steps[0]) if steps else ""
        nearest = self._texts.problems.nearest
        match name:
            case "$secrets":
                if steps and step not in self._front.secrets:
                    bad(
                        use.at,
                        NO_SECRET,
                        f"the secret {step!r} is not declared{nearest(step, self._front.secrets)}",
                        f"add it to the front matter: `secrets: [{step}]`",
                    )
            case "$config":
                if steps and step not in self._front.config:
                    bad(
                        use.at,
                        NO_NAME,
                        f"$config has no {step!r}{nearest(step, list(self._front.config))}",
                        f"add it to the front matter: `config: {{{step}: {{type: string}}}}`",
                    )
            case "$input":
                if steps and self._front.input and step not in self._front.input:
                    guess = nearest(step, list(self._front.input))
                    bad(use.at, NO_NAME, f"$input has no {step!r}{guess}", "add it to `input:` of the front matter")
            case "$run":
                if steps and step not in OF_RUN:
                    bad(use.at, NO_NAME, f"$run has {', '.join(OF_RUN)}, and no {step!r}")
            case "$context":
                if steps:
                    if not self._variable(step, way, waits) and step not in self._bound:
                        bad(use.at, NO_NAME, f"no variable {step!r} is set{nearest(step, self.known)}")
                else:
                    for each in self._variables():
                        self._variable(each, way, waits)
            case _:
                if name not in (*ALWAYS, *SPECIAL):
                    plain = name.removeprefix("$")
                    bad(
                        use.at,
                        NO_NAME,
                        f"there is no {name!r}{nearest(name, [*ALWAYS, *SPECIAL])}",
                        f"names of nodes and variables have no $: {plain}",
                    )

    def _variable(self, name: str, way: Way, waits: Way) -> bool:
        """Has a reader wait for what sets a variable before it. False: nothing sets it where it could be seen from here.

        Where nothing does so before, but something behind it that it stands beside, it waits for the first of these: as for any node.
        What sets it itself does not: `count + 1` is null at first.
        """
        found = before = False
        behind: list[tuple[int, int]] = []
        for depth, step in enumerate(way):
            places = self._sets[id(step.block)].get(name, ())
            found = found or bool(places)
            for place in places:
                if place < step.place and depth < len(waits):
                    before = True
                    self._wait(waits[depth].part, place)
                    self._referred.add(id(step.block.parts[place]))
            later = [place for place in places if place > step.place]
            if later and depth < len(waits) and not step.block.in_order and step.place not in places:
                behind.append((depth, later[0]))
        for depth, place in [] if before else behind[-1:]:
            self._wait(waits[depth].part, place)
            self._referred.add(id(way[depth].block.parts[place]))
        return found

    def _node(self, use: Use, target: Way, way: Way, waits: Way, *, ends: bool) -> None:
        """Has a reader wait for a node, or for the outermost block around it that does not hold the reader."""
        bad = self._texts.bad
        for depth, (step, other) in enumerate(zip(way, target, strict=False)):
            if step.block is not other.block:
                if other.block is not None and way[depth - 1].part.tag == "parallel":
                    bad(
                        use.at,
                        CYCLE,
                        f"{use.name!r} stands in a sibling branch, and branches see nothing of one another",
                        "use it behind the <parallel>, or put both into one branch",
                    )
                return  # another side of an if, or another case: it is never chosen together with this one
            if step.place == other.place:
                continue
            self._waits_for(use, target, depth, way, waits, ends=ends)
            return
        if len(target) > len(way) and (use.after or any(step.block.rounds for step in way)):
            return  # what reads is around what it names, and reads it later; or what it gave in the round before
        self._own(use, target, way)

    def _own(self, use: Use, target: Way, way: Way) -> None:
        """A node that names itself, or one that it stands in."""
        if len(target) == len(way) and way[-1].block.rounds:
            self._referred.add(id(way[-1].part))
            return  # what it gave in the round before
        key = way[-1].part.key if way[-1].place < len(way[-1].block.parts) else use.name
        chain = (
            [key, use.name, key]
            if len(target) > len(way)
            else [use.name, key, use.name]
            if key != use.name
            else [use.name, use.name]
        )
        self._texts.bad(use.at, CYCLE, f"cycle: {' -> '.join(chain)}: it would have to wait for itself")

    def _waits_for(self, use: Use, target: Way, depth: int, way: Way, waits: Way, *, ends: bool) -> None:
        inner = [step.part for step in target[depth:-1]]
        isolated = next((part for part in inner if part.foreach is not None), None)
        step, other = way[depth], target[depth]
        if isolated is not None:
            self._texts.bad(
                use.at,
                NO_NODE,
                f"{use.name!r} runs once for each item of {isolated.key!r}, and outside of that there is only the list of all",
                f"name {isolated.key!r}: {isolated.key}[0] is what the first item gave",
            )
            return
        self._referred.add(id(other.part))
        self._referred.add(id(target[-1].part))
        if other.place > step.place and step.block.in_order:
            if step.block.rounds:
                return  # what it gave in the round before
            reader = step.part.key
            self._texts.bad(
                use.at,
                CYCLE,
                f"cycle: {reader} -> {other.part.key} -> {reader}: the nodes here run in order, and {other.part.key!r} comes later",
                f"move {other.part.key!r} before {reader!r}",
            )
            return
        if depth < len(waits) and step.place < len(step.block.parts):
            self._wait(waits[depth].part, other.place)

    def _wait(self, part: Part, place: int) -> None:
        """Has a node wait for one beside it."""
        self._waits += 1
        if self._waits > MOST_WAITS:
            message = f"the nodes of this file wait for one another more than {MOST_WAITS:,} times"
            raise self.too_large(part.at, message)
        part.needs.add(place)

    def _gotos(self, block: Block, place: int, part: Part) -> None:
        if not part.gotos:
            return
        if id(block) not in self._keys:
            self._keys[id(block)] = {each.key: None for each in block.parts if each.named}
        keys = self._keys[id(block)]
        for goto, at in part.gotos:
            if goto not in keys or goto == part.key:
                guess = self._texts.problems.nearest(goto, keys)
                self._texts.bad(
                    at, NO_NODE, f"goto of {part.key!r} names a node beside it, and there is no {goto!r}{guess}"
                )

    # -- fallbacks

    def _fallback(self, part: Part, target: str, use: Use, way: Way) -> None:
        found = self._ways.get(target)
        if found is None:
            self._unknown(use)
            return
        last = found[-1]
        depth = len(found) - 1
        if last.part is part:
            self._texts.bad(use.at, CYCLE, f"cycle: {target} -> {target}: a node cannot serve for itself")
            part.fallbacks = [each for each in part.fallbacks if each.target != target]
            return
        if depth >= len(way) or way[depth].block is not last.block:
            self._texts.bad(
                use.at,
                NO_NODE,
                f"the fallback {target!r} must stand beside {part.key!r}, or beside a block that holds it",
            )
            return
        if way[depth].place == last.place:
            self._texts.bad(
                use.at, CYCLE, f"cycle: {part.key} -> {target} -> {part.key}: it stands in its own fallback"
            )
            return
        self._fallbacks.setdefault(id(last.part), []).append(part)
        self._serves(last.part, use)
        part_around = way[depth].part
        for each in self._needed(last.part, last.block, part_around):
            self._wait(part_around, each)

    def _serves(self, target: Part, use: Use) -> None:
        """Counts the nodes of a fallback, which each node that names it has for itself."""
        self._served += sum(1 for _ in target.within())
        if self._served > MOST_NODES:
            raise self.too_large(use.at, MANY_FALLBACKS)

    def _needed(self, target: Part, block: Block, but: Part) -> Iterable[int]:
        """What a fallback needs beside it. What it says of the node that it serves for is in `$primaryError`."""
        for use in (use for part in target.within() for use in part.uses):
            way = self._ways.get(use.name)
            for step in way or ():
                if step.block is block and step.part is not but and step.part is not target:
                    yield step.place

    def _take_out_fallbacks(self) -> None:
        """What is only a fallback runs only as one."""
        for way in self._ways.values():
            part = way[-1].part
            if id(part) in self._fallbacks and id(part) not in self._referred:
                part.dropped = True
        seen: dict[int, int] = {}
        for way in self._ways.values():
            self._refuse_ring(way[-1].part, seen)

    def _refuse_ring(self, part: Part, seen: dict[int, int]) -> None:
        chain: list[Part] = []
        each: Part | None = part
        while each is not None and id(each) not in seen:
            seen[id(each)] = id(part)
            chain.append(each)
            ways = [self._ways.get(fallback.target) for fallback in each.fallbacks]
            each = next((way[-1].part for way in ways if way is not None), None)
        if each is not None and seen[id(each)] == id(part) and each in chain:
            ring = [found.key for found in chain[chain.index(each) :]]
            self._texts.bad(each.fallbacks[0].at, CYCLE, cycle_text(ring) + " (each is the fallback of the one before)")
            each.fallbacks = []

    # -- order

    def _order(self, block: Block) -> None:
        """What waits for what stands before it: in a sequence each for the last one, elsewhere for the last checkpoint or delay."""
        before: int | None = None
        for place, part in enumerate(block.parts):
            if part.dropped:
                continue
            if before is not None:
                part.needs.add(before)
            if block.in_order or part.is_gate:
                before = place
            for each in part.blocks:
                self._order(each)

    def _cycles(self, block: Block) -> None:
        left = [place for place, part in enumerate(block.parts) if not part.dropped]
        for _ in range(MOST_CYCLES):
            at = {place: number for number, place in enumerate(left)}
            needs = [[at[need] for need in sorted(block.parts[place].needs) if need in at] for place in left]
            path = find_cycle(needs)
            if not path:
                break
            keys = [block.parts[left[number]].key for number in path]
            first = block.parts[left[path[0]]]
            self._texts.bad(first.at, CYCLE, cycle_text(keys))
            gone = {left[number] for number in path}
            left = [place for place in left if place not in gone]
        for part in block.parts:
            for each in part.blocks:
                self._cycles(each)


__all__ = ["Lookup", "Step", "Way"]
