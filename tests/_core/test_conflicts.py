"""Which tasks may run at once and write what others read or write: found before they run, or kept apart while they do."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Iterator
from itertools import combinations
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait._core import conflicts
from plait._core.conflicts import Order, clash, find
from plait._core.graph import Batch
from plait._core.limits import goes_with, taken
from plait._core.paths import Files, Foreseen, enclosing
from plait._core.policy import PLAIN, Join, OnConflict, Policy, policy
from plait._core.states import RUNNING
from plait._core.why import asked
from plait.errors import ConflictError, LimitError
from plait.testing import Likelihood, Simulation, simulate
from plait.testing.world import World, graph

PATHS = ["a", "a/b", "a/b/c", "a/d", "e", "e/f", ".", "/elsewhere/x", "/"]
REFUSE, SERIALISE = OnConflict.REFUSE, OnConflict.SERIALISE


def files_of(dice: random.Random) -> Files:
    """What a task reads and writes: mostly little, and often nothing."""
    reads = dice.sample(PATHS, dice.choice([0, 0, 1, 1, 2]))
    writes = dice.sample(PATHS, dice.choice([0, 0, 0, 1, 1, 2]))
    return tuple(reads), tuple(writes)


def within(one: str, other: str) -> bool:
    """Is the one the other, or in it? In the plainest words."""
    if other == "/":
        return one.startswith("/")
    if other == ".":
        return not one.startswith("/")
    return one == other or one.startswith(f"{other}/")


def at_odds(one: Files, other: Files) -> bool:
    """Does one of the two write what the other reads or writes?"""
    pairs = [(mine, theirs) for mine in one[1] for theirs in (*other[0], *other[1])]
    pairs += [(mine, theirs) for mine in one[0] for theirs in other[1]]
    return any(within(mine, theirs) or within(theirs, mine) for mine, theirs in pairs)


def batch_of(
    needs: list[tuple[int, ...]], files: dict[int, Files], policies: list[Policy] | None = None, calls: Any = None
) -> Batch:
    keys = [f"t{at}" for at in range(len(needs))]
    return Batch(
        len(needs), calls=keys if calls is None else calls, keys=keys, needs=needs, policies=policies, files=files
    )


def random_needs(dice: random.Random, size: int) -> list[tuple[int, ...]]:
    """Needs of tasks in an order of chance, not that of their numbers."""
    order = dice.sample(range(size), size)
    needs: list[tuple[int, ...]] = [()] * size
    for at, task in enumerate(order):
        needs[task] = tuple(dice.sample(order[:at], min(at, dice.choice([0, 1, 1, 2, 3]))))
    return needs


def behind(needs: list[tuple[int, ...]]) -> list[set[int]]:
    """All that each task needs, directly or through others."""

    def follow(task: int) -> Iterator[int]:
        for need in needs[task]:
            yield need
            yield from follow(need)

    return [set(follow(task)) for task in range(len(needs))]


class TestPaths:
    def test_folders_around_a_path(self) -> None:
        assert list(enclosing("a/b/c")) == ["a/b", "a", "."]
        assert list(enclosing("a")) == ["."]
        assert list(enclosing(".")) == []
        assert list(enclosing("/a/b")) == ["/a", "/"]
        assert list(enclosing("/")) == []

    def test_a_clash_is_told_with_both_paths(self) -> None:
        """B19."""
        assert clash(((), ("a",)), ((), ("a",))) == ("writes", "a", "writes", "a")
        assert clash((("a/b",), ()), ((), ("a",))) == ("reads", "a/b", "writes", "a")
        assert clash(((), ("a/b",)), (("a",), ())) == ("writes", "a/b", "reads", "a")
        assert clash((("a",), ()), (("a",), ())) is None
        assert clash(((), ("a/b",)), ((), ("a/bc",))) is None

    @given(st.integers())
    def test_a_clash_is_one_of_paths_that_hold_each_other(self, seed: int) -> None:
        """B19."""
        dice = random.Random(seed)
        one, other = files_of(dice), files_of(dice)
        assert (clash(one, other) is not None) == at_odds(one, other)

    @given(st.integers())
    def test_what_a_task_takes_keeps_out_those_that_it_is_at_odds_with_and_nobody_else(self, seed: int) -> None:
        """B19: whatever mixture of others has the paths."""
        dice = random.Random(seed)
        one = files_of(dice)
        others: list[Files] = []
        for _ in range(6):
            more = files_of(dice)
            if not any(at_odds(more, each) for each in others):
                others.append(more)
        used: dict[str, int] = {}
        for each in others:
            for path, weight in taken(each).items():
                used[path] = used.get(path, 0) + weight
        fits = all(goes_with(weight, used.get(path, 0)) for path, weight in taken(one).items())
        assert fits == (not any(at_odds(one, each) for each in others))


class TestFinding:
    @settings(max_examples=400)
    @given(st.integers())
    def test_exactly_the_pairs_that_a_search_of_all_pairs_finds(self, seed: int) -> None:
        """B19 F80: two that share a path, and neither needs the other, directly or through others."""
        dice = random.Random(seed)
        size = dice.choice([2, 5, 12, 25])
        needs, files = random_needs(dice, size), {at: files_of(dice) for at in range(size) if dice.random() < 0.7}
        policies = [dice.choice([PLAIN, PLAIN.but(on_conflict=SERIALISE)]) for _ in range(size)]
        before = behind(needs)
        wrong = {
            frozenset((f"t{one}", f"t{other}"))
            for one, other in combinations(files, 2)
            if one not in before[other] and other not in before[one] and at_odds(files[one], files[other])
            if policies[one].on_conflict is None or policies[other].on_conflict is None
        }
        with patch.multiple(conflicts, LANES=dice.choice([2, 3, 4096]), FEW=dice.choice([0, 8])):
            found = find(batch_of(needs, files, policies), REFUSE)
        assert found.number == len(wrong)
        told = [frozenset((each.first, each.second)) for each in found.told]
        assert len(told) == len(set(told)) == min(10, len(wrong))
        assert set(told) <= wrong

    @settings(max_examples=200)
    @given(st.integers())
    def test_the_order_of_two_tasks(self, seed: int) -> None:
        """B19: what is asked while a run goes on."""
        dice = random.Random(seed)
        needs = random_needs(dice, 15)
        order, before = Order(batch_of(needs, {})), behind(needs)
        for one in range(15):
            assert [order.before(other, one) for other in range(15)] == [other in before[one] for other in range(15)]

    @settings(max_examples=200)
    @given(st.integers())
    def test_both_ways_of_asking_for_an_order_agree(self, seed: int) -> None:
        """B19: before the run, and while it goes on, whatever the joins are."""
        dice = random.Random(seed)
        needs = random_needs(dice, 9)
        policies = [policy(PLAIN, join=dice.choice([*Join, "all_success"])) for _ in needs]
        order = Order(batch_of(needs, {}, policies))
        for one, other in combinations(range(9), 2):
            with patch.object(conflicts, "FEW", dice.choice([0, 8])):
                found = find(batch_of(needs, {one: ((), ("x",)), other: ((), ("x",))}, policies), REFUSE)
            assert found.number == (not order.before(one, other) and not order.before(other, one))

    @settings(max_examples=200)
    @given(st.integers())
    def test_groups_and_items_are_looked_into(self, seed: int) -> None:
        """B19: a group waits for what it needs and is waited for as a whole; of items each stands beside the others; an `on_error`
        comes behind its task, and before whoever needs that."""
        dice = random.Random(seed)
        tree = random_tree(dice, 3)
        wrong = any(
            at_odds(files, other_files) and not apart(path, other)
            for (path, files), (other, other_files) in combinations(list(leaves(tree)), 2)
        )
        assert bool(find(tree.batch(), REFUSE).number) == wrong

    @pytest.mark.parametrize("seed", range(150))
    def test_what_is_not_refused_never_runs_at_once_whatever_fails(self, seed: int) -> None:
        """B19: joins that want no success, failures and skips are no way around an order."""
        dice = random.Random(seed)
        size = 14
        needs = [tuple(dice.sample(range(at), min(at, dice.choice([0, 1, 2, 2])))) for at in range(size)]
        policies = [
            policy(PLAIN, join=dice.choice([*Join, "all_success", "all_done"]), allow_failure=dice.random() < 0.2)
            for _ in range(size)
        ]
        files = {at: files_of(dice) for at in range(size)}
        while found := find(batch_of(needs, files, policies), REFUSE).told:
            del files[int(found[0].second[1:])]
        batch = batch_of(needs, files, policies)
        batch.conditional = [at for at in range(size) if dice.random() < 0.2]
        for again in range(20):
            played = simulate(batch, again, max_concurrency=None, likelihood=Likelihood(fails=0.4, deaf=0))
            assert met(played, files) == []

    def test_joins_that_do_not_wait_for_all_order_nothing(self) -> None:
        """B19: `one_success` may start a task while another one of its needs still runs."""
        both: dict[int, Files] = {0: ((), ("x",)), 2: ((), ("x",))}
        for join, number in (("all_success", 0), ("all_done", 0), ("one_success", 1), ("one_failed", 1)):
            needs: list[tuple[int, ...]] = [(), (), (0, 1)]
            assert find(batch_of(needs, both, [PLAIN, PLAIN, policy(PLAIN, join=join)]), REFUSE).number == number, join
            assert find(batch_of([(), (), (0,)], both, [PLAIN, PLAIN, policy(PLAIN, join=join)]), REFUSE).number == 0

    def test_a_task_that_is_given_up_early_orders_nothing(self) -> None:
        """B19: with a failed need it is final while the other one runs, and whoever waits for its end may start."""
        both: dict[int, Files] = {0: ((), ("x",)), 3: ((), ("x",))}
        needs: list[tuple[int, ...]] = [(), (), (0, 1), (2,)]
        assert find(batch_of(needs, both, [PLAIN] * 4), REFUSE).number == 0
        assert find(batch_of(needs, both, [PLAIN] * 3 + [policy(PLAIN, join="all_done")]), REFUSE).number == 1

    def test_a_group_that_is_given_up_early_orders_nothing(self) -> None:
        """B19: it never starts while the other task that it needs still runs, and whoever waits for its end may."""
        for inner in ({}, {0: ((), ("y",))}):
            tree = Tree([(), (), (0, 1), (2,)], {}, {0: ((), ("x",)), 3: ((), ("x",))}, {})
            tree.inner[2] = Tree([()], {}, inner, {}), False
            batch = tree.batch()
            assert find(batch, REFUSE).number == 0
            batch.policies = [PLAIN] * 3 + [policy(PLAIN, join="all_done")]
            assert find(batch, REFUSE).number == 1

    def test_many_conflicts_are_counted_and_the_first_told(self) -> None:
        """F80: 10,000 tasks beside each other on one path."""
        files: dict[int, Files] = dict.fromkeys(range(10_000), ((), ("x",)))
        found = find(batch_of([()] * 10_000, files), REFUSE)
        assert found.number == 49_995_000
        assert len(found.told) == 10
        assert str(found.error()).endswith("\nand 49,994,990 more conflicts")

    def test_ten_thousand_tasks_in_a_chain_may_write_one_path(self) -> None:
        files: dict[int, Files] = dict.fromkeys(range(10_000), ((), ("x",)))
        needs = [(at - 1,) if at else () for at in range(10_000)]
        assert find(batch_of(needs, files), REFUSE).number == 0

    def test_the_work_grows_with_the_tasks_and_not_with_their_pairs(self) -> None:
        """B19: disjoint outputs, and pipelines of three over one file each; calls are counted, for a clock depends on who else is there."""

        def calls(size: int) -> int:
            disjoint = batch_of([()] * size, {at: ((), (f"out/{at // 100}/{at}",)) for at in range(size)})
            needs = [() if at % 3 == 0 else (at - 1,) for at in range(size)]
            piped: dict[int, Files] = {at: ((), (f"out/{at // 3}",)) for at in range(0, size, 3)}
            piped |= {at: ((f"out/{at // 3}",), ()) for at in range(2, size, 3)}
            count = itertools.count()
            sys.setprofile(lambda *_: next(count) and None)
            try:
                found = find(disjoint, REFUSE).number + find(batch_of(needs, piped), REFUSE).number
            finally:
                sys.setprofile(None)
            assert found == 0
            return next(count)

        assert calls(8_000) < 10 * calls(1_000)  # eight times as many; pairs would be 64 times


def met(played: Simulation, files: dict[int, Files]) -> list[tuple[int, int]]:
    """Pairs of tasks at odds that were at work at one time; those that grew others are not looked at, for nobody tells when their code ended."""
    table = played.scheduler.table
    work: set[int] = set()
    found = []
    for move in played.moves:
        task = move.task
        if task in files and not table.grown(task):
            if move.new == RUNNING:
                found += [(each, task) for each in work if at_odds(files[each], files[task])]
                work.add(task)
            else:
                work.discard(task)
    return found


class Tree:
    """Tasks of which some are groups, or items that come more than once, or have an `on_error`."""

    def __init__(
        self,
        needs: list[tuple[int, ...]],
        inner: dict[int, tuple[Tree, bool]],
        files: dict[int, Files],
        repairs: dict[int, Tree],
    ) -> None:
        self.needs = needs
        self.inner = inner
        self.files = files
        self.repairs = repairs

    def batch(self) -> Batch:
        batch = batch_of(self.needs, self.files, calls=self)
        batch.controls = tuple(self.inner)
        batch.repairs = tuple(self.repairs)
        return batch

    def foreseen_repair(self, place: int) -> Foreseen:
        batch = self.repairs[place].batch()
        batch.is_repair = True
        return Foreseen(batch, many=False)

    def foreseen(self, place: int) -> Foreseen:
        tree, many = self.inner[place]
        return Foreseen(tree.batch(), many)


def random_tree(dice: random.Random, depth: int, most: int = 4) -> Tree:
    size = dice.randint(1, most)
    inner = {
        at: (random_tree(dice, depth - 1), dice.random() < 0.3) for at in range(size) if depth and dice.random() < 0.4
    }
    files = {at: files_of(dice) for at in range(size) if at not in inner and dice.random() < 0.4}
    repairs = {at: random_tree(dice, depth - 1, 1) for at in range(size) if depth and dice.random() < 0.3}
    return Tree(random_needs(dice, size), inner, files, repairs)


Path = tuple[tuple[Tree, int, int], ...]
"""A task by the groups around it: which tree, its place there, and which time; of an `on_error` that is `LAST`."""

LAST = -1


def leaves(tree: Tree, around: Path = ()) -> Iterator[tuple[Path, Files]]:
    """Every task that runs something, those that come more than once twice."""
    for at, files in tree.files.items():
        yield (*around, (tree, at, 0)), files
    for at, (inner, many) in tree.inner.items():
        for time_ in range(1 + many):
            yield from leaves(inner, (*around, (tree, at, time_)))
    for at, repair in tree.repairs.items():
        yield from leaves(repair, (*around, (tree, at, LAST)))


def apart(one: Path, other: Path) -> bool:
    """Does one of the two wait for the other, there where their ways part?"""
    for (tree, at, first), (_, there, second) in zip(one, other, strict=False):
        if (at, first) != (there, second):
            if at == there and LAST in (first, second):
                return True
            before = behind(tree.needs)
            return at in before[there] or there in before[at]
    raise AssertionError("a task in another one")


def writes(*paths: str, **options: Any) -> dict[str, Any]:
    return {"writes": list(paths), "on_conflict": "serialise", **options}


def reads(*paths: str, **options: Any) -> dict[str, Any]:
    return {"reads": list(paths), "on_conflict": "serialise", **options}


def world(options: dict[str, dict[str, Any]], **given: Any) -> World:
    return World(graph(options, **{key: [] for key in options}), **given)


class TestSerialising:
    def test_who_writes_is_alone_and_readers_share(self) -> None:
        """B19: in the order in which they got ready."""
        made = world({"w1": writes("x"), "r1": reads("x"), "r2": reads("x"), "w2": writes("x"), "r3": reads("x")})
        assert made.running == {"w1"}
        made.returns("w1")
        assert made.running == {"r1", "r2"}
        made.returns("r1")
        assert made.running == {"r2"}
        made.returns("r2")
        assert made.running == {"w2"}
        made.returns("w2")
        assert made.running == {"r3"}

    def test_a_folder_stands_for_what_is_in_it(self) -> None:
        """B19: those that write different things in it go on beside each other; who reads it as a whole waits for them."""
        made = world(
            {
                "a": writes("out/a"),
                "b": writes("out/b"),
                "all": reads("out"),
                "c": writes("out/c"),
                "d": writes("other"),
            }
        )
        assert made.running == {"a", "b", "d"}
        made.returns("a")
        made.returns("b")
        assert made.running == {"all", "d"}
        made.returns("all")
        assert made.running == {"c", "d"}

    def test_a_task_that_reads_a_folder_and_writes_in_it_is_alone_there(self) -> None:
        """B19."""
        made = world(
            {"x": reads("out/x"), "a": {**reads("out"), "writes": "out/a"}, "b": writes("out/b"), "r": reads("out")}
        )
        assert made.running == {"x", "a"}
        made.returns("a")
        assert made.running == {"x", "b"}
        made.returns("b")
        assert made.running == {"x", "r"}

    def test_one_that_goes_away_lets_the_next_one_in(self) -> None:
        """B19."""
        made = world({"a": writes("x"), "b": writes("x", deadline=5), "c": writes("x")})
        made.passes(6)
        assert made.status("b") == "timed_out"
        made.returns("a")
        assert made.running == {"c"}

    def test_what_grows_waits_for_the_same_paths(self) -> None:
        """B19."""
        made = world({"g": {}, "w": writes("x")}, on_conflict="serialise")
        made.grows("g", graph({"a": writes("x"), "b": writes("y")}, a=[], b=[]))
        assert made.running == {"w", "g/b"}
        made.returns("w")
        assert made.running == {"g/a", "g/b"}

    def test_who_refuses_waits_for_nobody(self) -> None:
        """B19: nothing is taken where conflicts are refused, for there are none."""
        made = world({"a": {"writes": "a"}, "b": {"writes": "b"}})
        assert made.scheduler.admission.asks == []

    def test_why_a_task_waits(self) -> None:
        """B19: for which path, and who has it."""
        made = world(
            {"a": writes("out/a"), "all": reads("out"), "b": writes("out/b"), "w": writes("x"), "r": reads("x")}
        )

        def why(key: str) -> str:
            return asked(made.scheduler, key, made.now, float, "r1").text

        assert why("all") == "all waits to read 'out': a writes in it, for 0 s now"
        assert why("b") == "b waits to write in 'out', behind 1 more, for 0 s now"
        assert why("r") == "r waits to read 'x': w writes it, for 0 s now"
        assert asked(made.scheduler, "r", 0.0, float, "r1").reason == "path"

    @pytest.mark.parametrize("seed", range(300))
    def test_no_two_that_conflict_ever_run_at_once_and_everything_ends(self, seed: int) -> None:
        """B19: random graphs under virtual time, with failures, retries, stops, questions and pauses."""
        dice = random.Random(seed)
        size = 16
        policies = [
            policy(
                PLAIN,
                priority=dice.choice([1, 2, 3]),
                timeout=dice.choice([None, 4.0]),
                pool=dice.choice([None, {"p": 1}, {"p": 2}]),
                retries=dice.choice([0, 2]),
            )
            for _ in range(size)
        ]
        needs = [tuple(dice.sample(range(at), min(at, dice.choice([0, 0, 1])))) for at in range(size)]
        files = {at: files_of(dice) for at in range(size)}
        played = simulate(
            batch_of(needs, files, policies),
            seed,
            max_concurrency=dice.choice([2, 4, None]),
            pools={"p": 3},
            on_conflict="serialise",
            likelihood=Likelihood(
                fails=0.2,
                deaf=dice.choice([0, 0.2]),
                asks=dice.choice([0, 0.2]),
                pauses=0.2,
                grows=dice.choice([0, 0.1]),
            ),
        )
        assert met(played, files) == []


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"writes": ""}, "writes must be a path"),
            ({"reads": [3]}, "reads must be a path"),
            ({"writes": b"x"}, "writes must be a path"),
            ({"writes": "a\0b"}, "cannot be printed"),
            ({"writes": "a\ud800b"}, "cannot be printed"),
            ({"writes": "~/x"}, "is not expanded"),
            ({"reads": "~root/x"}, "or './~root/x' for what has that name"),
            ({"writes": "~"}, "is not expanded"),
            ({"reads": "out/*.txt"}, "patterns are not read"),
            ({"writes": ["a", "part-?.txt"]}, "patterns are not read"),
            ({"writes": "a\n"}, r"'a\\n' has the end of a line or something else in it that cannot be printed"),
            ({"writes": "a\x85b"}, "cannot be printed"),
            ({"on_conflict": "wait"}, "on_conflict must be one of refuse, serialise"),
        ],
    )
    def test_what_is_no_path_is_refused(self, options: dict[str, Any], message: str) -> None:
        """B19."""
        with pytest.raises(LimitError, match=message):
            policy(PLAIN, **options)

    def test_odd_names_are_paths_too(self) -> None:
        """B19: brackets, a ~ further on, letters of any script, spaces."""
        odd = ("[id].tsx", "./~x", "a~", "/home/~x", "übung", "a b", "{x}", "$x")
        assert policy(PLAIN, writes=odd).writes == odd

    def test_a_conflict_is_refused_before_anything_starts(self) -> None:
        """B19 F80."""
        with pytest.raises(ConflictError, match="tasks 'a' and 'b' may run at once, and both write 'x'"):
            world({"a": {"writes": "x"}, "b": {"writes": "./x/"}})
