"""Which of the tasks that read and write may run at once: found in what they declare, before anything runs.

Two tasks conflict where one writes a path and the other reads or writes the same, or one that encloses it or lies
in it. They may run at once unless it is certain that one of them is over before the other starts.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import NamedTuple

from plait._core.graph import Batch
from plait._core.paths import MOST_FORESEEN, NO_FILES, Files, Foreseen, Where, enclosing, foreseen, serialises
from plait._core.policy import STREAM, Join, OnConflict, Policy
from plait._core.table import NONE, Table
from plait.errors import ConflictError

MOST_TOLD = 10
"""So many conflicts are told, the others counted."""

LANES = 4096
"""So many tasks are followed through the graph at once: as the bits of a number."""

FEW = 8
"""Of so few tasks on one path each pair is looked at for a need of its own."""


# -- what is found


class Conflict(NamedTuple):
    """Two tasks that may run at once, what each does to which path, and where the second one says so."""

    first: str
    verb: str
    path: str
    second: str
    other_verb: str
    other_path: str
    where: Where

    def __str__(self) -> str:
        advice = "or give both `on_conflict: serialise`"
        if self.first == self.second:
            return (
                f"tasks of {self.first!r} may run at once, and each of them {self.verb} {self.path!r}: "
                f"give each a path of its own, {advice.replace('both ', '')}"
            )
        if self.path == self.other_path and self.verb == self.other_verb:
            what = f"tasks {self.first!r} and {self.second!r} may run at once, and both write {self.path!r}"
        else:
            what = (
                f"tasks {self.first!r} and {self.second!r} may run at once: the one {self.verb} {self.path!r}, "
                f"the other {self.other_verb} {self.other_path!r}"
            )
        return f"{what}: let one need the other, {advice}"


class Conflicts(NamedTuple):
    """Those that are told, and how many there are."""

    told: list[Conflict]
    number: int

    @property
    def more(self) -> str:
        """What is said of those that are not told; empty where all are."""
        left = self.number - len(self.told)
        return f"and {left:,} more {'conflict' if left == 1 else 'conflicts'}" if left else ""

    def error(self) -> ConflictError:
        """All of them, a line each."""
        lines = [f"{_place(each.where)}{each}" for each in self.told]
        return ConflictError("\n".join([*lines, self.more] if self.more else lines))


def _place(where: Where) -> str:
    return "" if where is None else f"{where[0]}:{where[1]}:{where[2]}: error[conflict]: "


def clash(one: Files, other: Files) -> tuple[str, str, str, str] | None:
    """What the one does to which path, and the other to which, so that they cannot go on at once; None where they can."""
    for verb, mine, other_verb, theirs in (
        ("writes", one[1], "writes", other[1]),
        ("writes", one[1], "reads", other[0]),
        ("reads", one[0], "writes", other[1]),
    ):
        if not (mine and theirs):
            continue
        around = {folder: path for path in mine for folder in (path, *enclosing(path))}
        for path in theirs:
            if path in around:  # the same, or it encloses one of mine
                return verb, around[path], other_verb, path
        own = set(mine)
        for path in theirs:
            for folder in enclosing(path):
                if folder in own:
                    return verb, folder, other_verb, path
    return None


# -- who is over before whom


def certain(
    needs: Sequence[Sequence[int]], joins: Sequence[Join | None] | None, grown: Container[int] = ()
) -> Sequence[Sequence[int]]:
    """For each task those that are over when it starts: its needs, as far as its join waits for all of them.

    Where some task has a join that does not want success, each has a second row, `len(needs)` behind the first: for what is over when it
    is final, however it came to that. A task that has no chance any more is final while others that it needs still run, so only one
    that waits for all, or has a single need, hands on what lies behind its needs. The first need of those in `grown` is the start of
    their group: none of them starts without it, but they are final, too, where it never came to that. A join of None is the end of a group: its first need is the group's start, the others
    are the tasks in it, which are over or will never be.
    """
    if joins is None or all(join in _WANTS_SUCCESS for join in joins):
        return needs
    size = len(needs)
    started: list[list[int]] = []
    ended: list[list[int]] = []
    for place, (row, join) in enumerate(zip(needs, joins, strict=True)):
        first = 1 if place in grown else 0
        around, own = list(row[:first]), list(row[first:])
        final = [size + need for need in own]
        single = len(set(own)) <= 1
        match join:
            case None:
                rows = [*own[:1], *final[1:]]
            case Join.ALL_SUCCESS | Join.NONE_FAILED:
                rows = own
            case Join.ALL_DONE:
                rows = final
            case Join.ONE_SUCCESS:
                rows = own if single else []
            case Join.ONE_FAILED:
                rows = final if single else []
        started.append([*around, *rows, size + place])
        ended.append(
            [*(size + start for start in around), *(final if single or join is None or join is Join.ALL_DONE else ())]
        )
    return started + ended


_WANTS_SUCCESS = frozenset((Join.ALL_SUCCESS, Join.NONE_FAILED, None))
_TAKES_ONE = frozenset((Join.ONE_SUCCESS, Join.ONE_FAILED))


def in_order(rows: Sequence[Sequence[int]]) -> list[int]:
    """The numbers of `rows`, each behind all that stand in its row."""
    if all(not row or max(row) < at for at, row in enumerate(rows)):
        return list(range(len(rows)))
    left = [len(row) for row in rows]
    users: list[list[int]] = [[] for _ in rows]
    for at, row in enumerate(rows):
        for need in row:
            users[need].append(at)
    found = [at for at, number in enumerate(left) if not number]
    for at in found:
        for user in users[at]:
            left[user] -= 1
            if not left[user]:
                found.append(user)
    return found


def _positions(order: Sequence[int]) -> list[int]:
    """Where each stands."""
    found = [0] * len(order)
    for at, node in enumerate(order):
        found[node] = at
    return found


class Order:
    """Says of two tasks of a batch whether one is certainly over before the other starts: mostly by a look, else by a search.

    A task whose chain of needs is no longer than that of another is not behind it; one that stands below the other in a tree made of one
    need of each is. Chains and trees need no more than that (after GRAIL, Yildirim et al., VLDB 2010).
    """

    __slots__ = ("_begin", "_end", "_final", "_level", "_rows")

    def __init__(self, batch: Batch) -> None:
        needs = batch.needs if batch.needs is not None else [()] * batch.size
        joins = None if batch.policies is None else [policy.join for policy in batch.policies]
        if joins is None and batch.policy.join is not Join.ALL_SUCCESS:
            joins = [batch.policy.join] * batch.size
        rows = self._rows = certain(needs, joins)
        self._final = len(rows) - batch.size
        level = self._level = [0] * len(rows)
        below: list[list[int]] = [[] for _ in rows]
        roots = []
        for at in in_order(rows):
            row = rows[at]
            if row:
                deepest = max(row, key=level.__getitem__)
                level[at] = level[deepest] + 1
                below[deepest].append(at)
            else:
                roots.append(at)
        self._begin, self._end = _numbered(roots, below)

    def before(self, one: int, other: int) -> bool:
        """Is `one` certainly over before `other` starts?"""
        goal, level, begin = self._final + one, self._level, self._begin
        if level[goal] >= level[other]:
            return False
        least, most = begin[goal], self._end[goal]
        stack, seen = [other], {other}
        while stack:
            at = stack.pop()
            if least <= begin[at] < most:
                return True
            for need in self._rows[at]:
                if need not in seen and (level[need] > level[goal] or need == goal):
                    seen.add(need)
                    stack.append(need)
        return False


def _numbered(roots: list[int], below: list[list[int]]) -> tuple[list[int], list[int]]:
    """Numbers by a walk through trees: those of what stands below one are from its own up to its end."""
    begin, end = [0] * len(below), [0] * len(below)
    number = 0
    stack = roots[::-1]
    while stack:
        at = stack.pop()
        if at < 0:
            end[~at] = number
            continue
        begin[at] = number
        number += 1
        stack.append(~at)
        stack.extend(below[at])
    return begin, end


# -- a batch, with all that is known of what its tasks will grow


class _Claim(NamedTuple):
    """What one task reads and writes."""

    node: int
    files: Files
    waits: bool  # does it wait for whom it conflicts with?
    many: bool
    around: str  # the task that grows it, by path; empty for one of the run's own
    batch: Batch
    place: int

    @property
    def key(self) -> str:
        return _path(self.around, self.batch.keys[self.place])


def _path(around: str, key: str) -> str:
    return key if not around else f"{around}{key}" if key.startswith("[") else f"{around}/{key}"


class Plan:
    """A batch and what is known of the tasks that it will grow, as one graph: a group has a start and an end."""

    def __init__(self, batch: Batch, known: Iterable[tuple[int, Foreseen]], otherwise: OnConflict, around: str) -> None:
        self._otherwise = otherwise
        self.needs: list[Sequence[int]] = []
        self.joins: list[Join | None] = []
        self.grown: set[int] = set()
        """Tasks whose first need is the start of their group."""
        self.claims: list[_Claim] = []
        stack = list(self._add(batch, known, around, False, NONE, NONE))[::-1]
        while stack:
            inner, key, many, start, end = stack.pop()
            known = foreseen(inner) if len(self.needs) < MOST_FORESEEN else ()
            stack.extend([*self._add(inner, known, key, many, start, end)][::-1])

    def _add(
        self, batch: Batch, known: Iterable[tuple[int, Foreseen]], around: str, many: bool, start: int, end: int
    ) -> Iterator[tuple[Batch, str, bool, int, int]]:
        """Adds the tasks of a batch that begins once `start` does and is over by `end`; what they grow is to be added next."""
        first = len(self.needs)
        needs = batch.needs if batch.needs is not None else repeat((), batch.size)
        behind = [] if start == NONE else [start]
        # Of tasks that come more than once, one of the second time does not wait for one of the first.
        self.needs.extend(behind if many else [*behind, *(first + need for need in row)] for row in needs)
        self.joins.extend(policy.join for policy in _policies(batch))
        if behind:
            self.grown.update(range(first, first + batch.size))
        if batch.cleanups and not many:
            self._put_last([first + place for place in batch.cleanups], range(first, first + batch.size), start)
        if end != NONE:
            self.needs[end] = [*self.needs[end], *range(first, first + batch.size)]
        for place, files in batch.files.items():
            waits = serialises(_policy(batch, place), self._otherwise)
            self.claims.append(_Claim(first + place, files, waits, many, around, batch, place))
        repaired: dict[int, int] = {}  # what an `on_error` comes behind, by the place of its task
        for place, inside in known:
            opened = self._opened(inside, repaired.get(place, first + place), _path(around, batch.keys[place]), many)
            if inside.batch.is_repair:
                repaired[place] = opened[3]
            yield opened

    def _put_last(self, cleanups: Sequence[int], rows: range, start: int) -> None:
        """Cleanups begin once all others of their batch are over: behind an end of these, as that of a group."""
        if start == NONE:
            start = len(self.needs)
            self.needs.append([])
            self.joins.append(Join.ALL_SUCCESS)
        last = set(cleanups)
        over = len(self.needs)
        self.needs.append([start, *(row for row in rows if row not in last)])
        self.joins.append(None)
        for row in cleanups:
            own = self.needs[row]
            self.needs[row] = [over, *(own[1:] if row in self.grown else own)]
        self.grown.update(cleanups)

    def _opened(self, inside: Foreseen, node: int, key: str, many: bool) -> tuple[Batch, str, bool, int, int]:
        """A task that grows becomes the end of its group, behind a start of its own.

        So does one with an `on_error`: its own work is the start, and may be a group again.
        """
        start = len(self.needs)
        self.needs.append(self.needs[node])
        self.joins.append(self.joins[node])
        self.needs[node], self.joins[node] = [start], None
        if node in self.grown:
            self.grown.discard(node)
            self.grown.add(start)
        return inside.batch, key, many or inside.many, start, node


def _policies(batch: Batch) -> Iterable[Policy]:
    return batch.policies if batch.policies is not None else repeat(batch.policy, batch.size)


def _policy(batch: Batch, place: int) -> Policy:
    return batch.policies[place] if batch.policies is not None else batch.policy


# -- the search


def find(
    batch: Batch, otherwise: OnConflict, around: str = "", known: Iterable[tuple[int, Foreseen]] | None = None
) -> Conflicts:
    """The conflicts among the tasks of a batch and those that they are known to grow, the first of them told.

    `around` is the path of the task that grows them; empty for the run's own. `known` is what is foreseen, where that was asked already.
    """
    return _Search(Plan(batch, foreseen(batch) if known is None else known, otherwise, around)).conflicts()


class _Spot:
    """The tasks that name one path, and those that name something in it; and which of these write."""

    __slots__ = ("inside", "on", "writers", "writers_inside")

    def __init__(self) -> None:
        self.on: list[int] = []
        self.writers: list[int] = []
        self.inside: list[int] = []
        self.writers_inside: list[int] = []

    @property
    def shared(self) -> bool:
        """May two tasks conflict here?"""
        on, inside = self.on, self.inside
        return (len(self.writers) > 0 and len(on) + len(inside) > 1) or (len(on) > 0 and len(self.writers_inside) > 0)


class _Search:
    """Only tasks that share a path are compared. Where few name one, a look at their own needs says it for most; the others are followed
    through the graph, thousands at once, as the bits of one number for each task.
    """

    def __init__(self, plan: Plan) -> None:
        self._claims = plan.claims
        self._plan = plan
        self._rows: Sequence[Sequence[int]] = ()
        self._told: list[Conflict] = []
        self._number = 0
        self._sets: dict[int, frozenset[int]] = {}

    def conflicts(self) -> Conflicts:
        claims = self._claims
        if all(claim.waits for claim in claims):
            return Conflicts([], 0)
        for number, claim in enumerate(claims):
            if claim.many and claim.files[1] and not claim.waits:
                self._tell(number, number)
        self._spots = self._find_spots()
        concerned = self._concerned()
        if concerned:
            # By needs alone: the rows of `certain` may stand in another order, in which who is waited for comes behind who waits.
            place = _positions(in_order(self._plan.needs))
            concerned.sort(key=lambda number: (place[claims[number].node], number))
            self._rows = certain(self._plan.needs, self._plan.joins, self._plan.grown)
            order = in_order(self._rows)
            position = _positions(order)
            for first in range(0, len(concerned), LANES):
                self._follow(concerned, first, order, position)
        return Conflicts(self._told, self._number)

    def _find_spots(self) -> dict[str, _Spot]:
        """The paths at which tasks may conflict."""
        spots: dict[str, _Spot] = {}
        for number, claim in enumerate(self._claims):
            for writes, paths in enumerate(claim.files):
                for path in paths:
                    spot = spots.get(path)
                    if spot is None:
                        spot = spots[path] = _Spot()
                    spot.on.append(number)
                    if writes:
                        spot.writers.append(number)
        for number, claim in enumerate(self._claims):
            for writes, paths in enumerate(claim.files):
                for path in paths:
                    for folder in enclosing(path):
                        spot = spots.get(folder)
                        if spot is not None:
                            spot.inside.append(number)
                            if writes:
                                spot.writers_inside.append(number)
        return {path: spot for path, spot in spots.items() if spot.shared}

    def _concerned(self) -> list[int]:
        """The tasks that share a path with one that they do not plainly need, nor it them."""
        found: set[int] = set()
        for spot in self._spots.values():
            if len(spot.on) > FEW:
                found.update(spot.on, spot.inside)
                continue
            writers = frozenset(spot.writers)
            for one in spot.on:
                for other in (
                    chain(spot.on, spot.inside) if one in writers else chain(spot.writers, spot.writers_inside)
                ):
                    if one != other and not self._apart(one, other):
                        found.add(one)
                        found.add(other)
        return list(found)

    def _apart(self, one: int, other: int) -> bool:
        """Does one of the two need the other by itself, or do both wait for each other anyway?"""
        first, second = self._claims[one], self._claims[other]
        return (
            (first.waits and second.waits)
            or self._needs(first.node, second.node)
            or self._needs(second.node, first.node)
        )

    def _needs(self, node: int, need: int) -> bool:
        row = self._plan.needs[node]
        if len(row) > FEW:
            if node not in self._sets:
                self._sets[node] = frozenset(row)
            row = self._sets[node]  # type: ignore[assignment]
        if need not in row:
            return False
        return self._plan.joins[node] not in _TAKES_ONE or len(row) - (node in self._plan.grown) == 1

    def _follow(self, concerned: list[int], first: int, order: list[int], position: list[int]) -> None:
        """Counts the conflicts between `LANES` of the concerned tasks and those that come behind each of them."""
        lanes = concerned[first : first + LANES]
        partners = self._partners(concerned, first, lanes)
        if not partners:
            return
        claims, rows = self._claims, self._rows
        final = len(rows) - len(self._plan.needs)
        bits: dict[int, int] = {}
        for lane, number in enumerate(lanes):
            bits[claims[number].node + final] = 1 << lane
        begin = min(map(position.__getitem__, bits))
        end = max(position[claims[number].node] for number in partners) + 1
        behind: dict[int, int] = {}
        for node in order[begin:end]:
            mask = 0
            for need in rows[node]:
                other = behind.get(need)
                if other is not None and other is not mask:
                    mask = mask | other if mask else other
            if node in bits:
                mask |= bits[node]
            if mask:
                behind[node] = mask
        for number, wrong in partners.items():
            wrong &= ~behind.get(claims[number].node, 0)
            if wrong:
                self._tell_all(number, wrong, lanes)

    def _partners(self, concerned: list[int], first: int, lanes: list[int]) -> dict[int, int]:
        """Which of the lanes each task conflicts with, if nothing orders them; where it is one of them itself, of those before it."""
        claims, spots = self._claims, self._spots
        masks: dict[str, list[int]] = {}  # on it, of these the writers; in it, of these the writers
        refusing = 0
        for lane, number in enumerate(lanes):
            bit = 1 << lane
            refusing |= 0 if claims[number].waits else bit
            for path, kind in _looks(claims[number].files, spots):
                found = masks.setdefault(path, [0, 0, 0, 0])
                found[kind & 2] |= bit
                found[kind] |= bit
        partners: dict[int, int] = {}
        for at in range(first, len(concerned)):
            number = concerned[at]
            mask = 0
            for path, kind in _looks(claims[number].files, masks):
                on, writers, inside, writers_inside = masks[path]
                match kind:
                    case _Kind.READS:
                        mask |= writers | writers_inside
                    case _Kind.WRITES:
                        mask |= on | inside
                    case _Kind.READS_WITHIN:
                        mask |= writers
                    case _Kind.WRITES_WITHIN:
                        mask |= on
            if at - first < len(lanes):
                mask &= (1 << (at - first)) - 1
            if claims[number].waits:
                mask &= refusing
            if mask:
                partners[number] = mask
        return partners

    def _tell_all(self, number: int, wrong: int, lanes: list[int]) -> None:
        while wrong and len(self._told) < MOST_TOLD:
            self._tell(*sorted((number, lanes[(wrong & -wrong).bit_length() - 1])))
            wrong &= wrong - 1
        self._number += wrong.bit_count()

    def _tell(self, first: int, second: int) -> None:
        """Counts the conflict of two tasks, in the order in which they are given."""
        self._number += 1
        if len(self._told) < MOST_TOLD:
            one, other = self._claims[first], self._claims[second]
            self._told.append(_told(one.key, one.files, other.key, other.files, other.batch, other.place))


class _Kind:
    """What a task does to a path: by itself, or to something within."""

    READS, WRITES, READS_WITHIN, WRITES_WITHIN = range(4)


def _looks(files: Files, known: Container[str]) -> Iterator[tuple[str, int]]:
    """The `known` paths that a task has to do with, and how."""
    for writes, paths in enumerate(files):
        for path in paths:
            if path in known:
                yield path, writes
            for folder in enclosing(path):
                if folder in known:
                    yield folder, writes + 2


def _told(one: str, files: Files, other: str, other_files: Files, batch: Batch, place: int) -> Conflict:
    """The conflict of two tasks that are known to have one; the other one stands in `batch`, at `place`."""
    found = clash(files, other_files)
    assert found is not None, f"{one} and {other} were said to share a path"
    verb, path, other_verb, other_path = found
    where = getattr(batch.calls, "where", None)
    return Conflict(one, verb, path, other, other_verb, other_path, None if where is None else where(place))


# -- while a run goes on


class Claimed:
    """What the tasks of a run read and write, by path: those that come later, or whose paths are known later, are compared with them.

    What counts is how they stand in the graph and not how far they are, so that no refusal depends on the time. Only a stream, which is
    endless, forgets those that are over.
    """

    def __init__(self, table: Table, otherwise: OnConflict) -> None:
        self._table = table
        self._otherwise = otherwise
        self._known: dict[int, Files] = {}
        self._rows: tuple[dict[str, set[int]], ...] = ({}, {}, {}, {})
        """By kind, then by path."""
        self._orders: dict[int, Order] = {}

    def grown(self, parent: int, batch: Batch) -> Conflicts:
        """Conflicts of the tasks that `parent` is about to grow, and that these are known to grow, with those that are there."""
        return self._compare(
            parent, NONE, Plan(batch, foreseen(batch), self._otherwise, self._table.key(parent)).claims
        )

    def decided(self, task: int, files: Files) -> Conflicts:
        """Conflicts of a task whose paths are known now, with those that are there."""
        table = self._table
        batch, place = table.batch_of(task)
        parent = table.parent(task)
        around = "" if parent == NONE else table.key(parent)
        waits = serialises(_policy(batch, place), self._otherwise)
        return self._compare(parent, task, (_Claim(task, files, waits, False, around, batch, place),))

    def _compare(self, parent: int, task: int, claims: Iterable[_Claim]) -> Conflicts:
        self._catch_up()
        table = self._table
        levels = self._levels(parent, task)
        apart: dict[int, bool] = {task: True}
        told: list[Conflict] = []
        count = 0
        for claim in claims:
            for row in self._sharing(claim.files):
                if table.files.get(row) is not self._known[row]:
                    continue  # it was forgotten
                if claim.waits and serialises(table.policies[row], self._otherwise):
                    continue
                if row not in apart:
                    apart[row] = self._is_apart(row, levels)
                if not apart[row]:
                    count += 1
                    if len(told) < MOST_TOLD:
                        told.append(
                            _told(table.key(row), self._known[row], claim.key, claim.files, claim.batch, claim.place)
                        )
        return Conflicts(told, count)

    @property
    def size(self) -> int:
        """How many paths are known, folders around them included."""
        return len({path for rows in self._rows for path in rows})

    def _catch_up(self) -> None:
        """Notes the paths that became known."""
        table = self._table
        while table.filed:
            row = table.filed.pop()
            for path, kind in _looks(self._known.pop(row, NO_FILES), _EVERYTHING):
                rows = self._rows[kind].get(path, set())
                rows.discard(row)
                if not rows:
                    self._rows[kind].pop(path, None)
            files = table.files.get(row)
            if files is not None:
                self._known[row] = files
                for path, kind in _looks(files, _EVERYTHING):
                    self._rows[kind].setdefault(path, set()).add(row)

    def _sharing(self, files: Files) -> list[int]:
        """The tasks that conflict with one that does this, if nothing orders them; in the order in which they came."""
        reads, writes, reads_within, writes_within = self._rows
        found: set[int] = set()
        for path in files[0]:
            for known in (writes, writes_within):
                found.update(known.get(path, ()))
            for folder in enclosing(path):
                found.update(writes.get(folder, ()))
        for path in files[1]:
            for known in (reads, writes, reads_within, writes_within):
                found.update(known.get(path, ()))
            for folder in enclosing(path):
                found.update(reads.get(folder, ()), writes.get(folder, ()))
        return sorted(found)

    def _levels(self, parent: int, task: int) -> dict[int, int]:
        """The task, and the tasks that it is in, each by what grew it."""
        levels = {parent: task}
        while parent != NONE:
            around = self._table.parent(parent)
            levels[around] = parent
            parent = around
        return levels

    def _is_apart(self, row: int, levels: Mapping[int, int]) -> bool:
        """Is one of the two certainly over before the other starts?"""
        table = self._table
        while (parent := table.parent(row)) not in levels:
            row = parent
        mine = levels[parent]
        if row == mine:
            return True  # the code of a task is over when what it grew begins
        if table.odd[row] & STREAM:
            return False  # nothing orders those that are in flight
        first = table.first_row(row)
        if mine == NONE or table.first_row(mine) != first:
            return True  # a task grows again only when all that it grew is over
        last = table.batch_of(row)[0].cleanups
        if last and (row - first in last) != (mine - first in last):
            return True  # cleanups begin when all others are over
        if first not in self._orders:
            self._orders[first] = Order(table.batch_of(row)[0])
        order = self._orders[first]
        return order.before(row - first, mine - first) or order.before(mine - first, row - first)


class _Everything:
    """Holds every path."""

    def __contains__(self, path: object) -> bool:
        return True


_EVERYTHING = _Everything()
