"""How many children of a group may be under way at once, each with all that it grows: told to the scheduler alone."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait._core.graph import REPAIR, Batch, Kept, Numbered
from plait._core.invariants import check
from plait._core.policy import PLAIN, OnFailure, Policy, Rules, option_names, policy
from plait._core.scheduler import Scheduler, Turn
from plait._core.states import RunStatus
from plait._core.why import Why, asked
from plait._engine.records import policy_data, policy_of
from plait.errors import UsageError
from plait.testing import World


def group(
    *keys: str,
    needs: Mapping[str, Sequence[str]] | None = None,
    controls: str = "",
    repaired: str = "",
    cleanups: str = "",
    kept: Mapping[int, Kept] | None = None,
    **policies: Policy,
) -> Batch:
    """Tasks with one letter each; `a=Policy(...)` is that of `a`."""
    keys = tuple("".join(keys))
    rows = [tuple(map(keys.index, (needs or {}).get(key, ()))) for key in keys]
    return Batch(
        len(keys),
        calls=keys,
        keys=keys,
        needs=rows,
        policies=[policies.get(key, PLAIN) for key in keys],
        controls=list(map(keys.index, controls)),
        repairs=list(map(keys.index, repaired)),
        cleanups=list(map(keys.index, cleanups)),
        kept=kept,
    )


def grown(
    width: int, batch: Batch, *, on_failure: str = "continue", slots: int | None = None, **of_group: Any
) -> World:
    """A run with a group `g` of that width, and a task `b` that needs it, where the group has grown."""
    world = World(
        group("gb", needs={"b": ["g"]}, controls="g", g=Policy(width=width, **of_group)),
        on_failure=on_failure,
        slots=slots,
    )
    world.grows("g", batch)
    return world


def under(world: World, *keys: str) -> list[str]:
    return [str(world.status(f"g/{key}")) for key in keys]


def why(world: World, key: str) -> Why:
    return asked(world.scheduler, key, world.now, lambda at: 1000 + at, "r1")


class TestChildren:
    def test_the_next_begins_the_moment_one_is_final_in_the_order_of_getting_ready(self) -> None:
        """A4 A3: no batches."""
        world = grown(2, group("abcde"))
        assert world.running == {"g/a", "g/b"}
        assert under(world, "c", "d", "e") == ["ready"] * 3
        world.returns("g/b")
        assert world.running == {"g/a", "g/c"}
        world.fails("g/a")
        world.returns("g/c")
        assert world.running == {"g/d", "g/e"}
        assert world.started == [f"g/{key}" for key in "abcde"]

    def test_who_got_ready_later_stands_behind(self) -> None:
        """A4: in the moment in which a child ends and another gets ready by that, who waited is first, whatever its priority."""
        world = grown(1, group("abcd", needs={"c": "a"}, c=Policy(priority=9)))
        world.returns("g/a")
        world.returns("g/b")
        world.returns("g/d")
        world.returns("g/c")
        assert world.started == ["g/a", "g/b", "g/d", "g/c"]

    def test_a_child_that_grows_counts_until_all_that_it_grew_is_over(self) -> None:
        """D4: not leaf work is counted, unlike `max_concurrency`."""
        world = grown(1, group("abc", controls="ab"))
        assert world.turns == [(Turn.GROW, "g"), (Turn.GROW, "g/a")]
        assert under(world, "a", "b", "c") == ["running", "ready", "ready"]
        world.grows("g/a", group("xyz"))
        assert world.running == {"g/a/x", "g/a/y", "g/a/z"}
        for key in "xyz":
            world.returns(f"g/a/{key}")
            assert under(world, "b") == ["ready"]
        assert world.turns[-1] == (Turn.JOIN, "g/a")
        world.returns("g/a")
        assert under(world, "a", "b", "c") == ["succeeded", "running", "ready"]
        assert world.turns[-1] == (Turn.GROW, "g/b")
        world.grows("g/b", group())
        world.returns("g/b")
        assert world.running == {"g/c"}

    def test_a_task_that_grew_by_itself_has_one_too(self) -> None:
        world = World(group("g", g=Policy(width=1)))
        world.grows("g", group("ab"))
        assert world.running == {"g/a"}

    def test_retries_and_questions_are_under_way(self) -> None:
        """A4: from ready or started until final."""
        world = grown(1, group("ab", a=Policy(retry=Policy().retry.but(attempts=2, jitter=False, delay=5.0))))
        world.fails("g/a")
        assert under(world, "a", "b") == ["retrying", "ready"]
        world.passes(5)
        world.asks("g/a")
        assert under(world, "a", "b") == ["waiting", "ready"]
        assert world.scheduler.status() is RunStatus.WAITING, "only the answer is missing"
        world.answers("g/a")
        assert world.scheduler.status() is RunStatus.RUNNING
        world.returns("g/a")
        assert world.running == {"g/b"}

    def test_its_on_error_is_part_of_it(self) -> None:
        """D8: a child that failed is under way while its `on_error` runs; that of the group is not counted."""
        world = World(group("g", controls="g", repaired="g", g=Policy(width=1)))
        world.grows("g", group("ab", repaired="a"))
        world.fails("g/a")
        repair = Batch(1, calls=[REPAIR], keys=[REPAIR], is_repair=True)
        world.grows("g/a", repair)
        assert under(world, "b") == ["ready"]
        world.fails("g/a/on_error")
        assert world.running == {"g/b"}
        world.returns("g/b")
        world.grows("g", repair)
        assert world.running == {"g/on_error"}

    def test_cleanups_are_not_counted(self) -> None:
        """D8."""
        world = grown(1, group("abyz", cleanups="yz"))
        world.returns("g/a")
        world.returns("g/b")
        assert world.running == {"g/y", "g/z"}

    def test_what_grows_again_shares_it(self) -> None:
        """D4: a loop grows round after round."""
        world = grown(1, group("ab"))
        world.returns("g/a")
        world.returns("g/b")
        world.grows("g", group("cd"))
        assert world.running == {"g/c"}
        world.returns("g/c")
        assert world.running == {"g/d"}

    def test_what_an_earlier_generation_did_takes_no_room(self) -> None:
        """W3: kept children are final, and those that needed them wait like all others."""
        kept = {at: Kept(at, 0.0, 0.0, 1) for at in (0, 2)}
        world = grown(1, group("abcde", needs={"e": "a"}, kept=kept))
        assert under(world, *"abcde").count("running") == 1
        for _ in range(3):
            (key,) = world.running
            world.returns(key)
        assert under(world, *"abcde") == ["succeeded"] * 5

    def test_nested_ones_end_whatever_their_widths(self) -> None:
        """D4: width 1 at each of five levels, with one slot."""
        world = World(group("g", controls="g", g=Policy(width=1)), slots=1)
        one = Policy(width=1)
        grew, path = 0, "g"
        while world.scheduler.unfinished:
            open_ = [key for key, status in world.statuses.items() if status == "running"]
            path = max(open_, key=len)
            if path in world.running or world.table.children(world.task(path)):
                world.returns(path)
            elif path.count("/") < 4:
                world.grows(path, group("ab", controls="ab", a=one, b=one))
            else:
                grew += 1
                world.grows(path, group("xy"))
        assert grew == 16
        assert world.scheduler.status() is RunStatus.SUCCEEDED

    def test_streams_have_none(self) -> None:
        scheduler = Scheduler(Rules(), 0.0)
        scheduler.added(group("g", controls="g", g=Policy(width=1)), 0.0)
        scheduler.grew(0, Batch(3, calls="xyz", keys="xyz"), 0.0, True)
        assert [scheduler.fed(0, 0.0) for _ in range(3)] == [1, 2, 3]
        assert [scheduler.take(0.0) for _ in range(4)] == [1, 2, 3, -1]


class TestEnds:
    def test_the_on_error_of_a_group_waits_for_nobody(self) -> None:
        """D8: not even where a child goes on that was given up last."""
        world = World(group("g", controls="g", repaired="g", g=Policy(width=1)))
        world.grows("g", group("a"))
        world.fails("g/a")
        world.grows("g", Batch(1, calls=[REPAIR], keys=[REPAIR], is_repair=True))
        assert world.running == {"g/on_error"}
        assert world.scheduler._families[0].width is not None
        assert world.scheduler._families[0].width.under_way == set()

    @pytest.mark.parametrize(
        ("on_failure", "ends"),
        [
            ("continue", ["failed", "running", "running", "ready"]),
            ("finish", ["failed", "running", "not_started", "not_started"]),
            ("fail_fast", ["failed", "running", "not_started", "not_started"]),
        ],
    )
    def test_a_failure_ends_those_that_wait_as_it_ends_all(self, on_failure: str, ends: list[str]) -> None:
        """A5: nobody takes the room of a child whose failure ends the group."""
        for own in (False, True):
            of_group = Policy(width=2, on_failure=OnFailure(on_failure) if own else None)
            world = World(group("g", controls="g", g=of_group), on_failure="continue" if own else on_failure)
            world.grows("g", group("abcd", controls="d"))
            world.fails("g/a")
            assert under(world, *"abcd") == ends
            assert world.stopped == (["g/b"] if on_failure == "fail_fast" else [])
            assert world.started == ["g/a", "g/b"] + ["g/c"] * (on_failure == "continue")

    @pytest.mark.parametrize("mode", ["fail_fast", "finish"])
    def test_a_run_that_is_cancelled_starts_none_of_them(self, mode: str) -> None:
        world = grown(1, group("abc", controls="b"))
        world.halts(mode)
        assert under(world, "b", "c") == ["not_started"] * 2
        world.returns("g/a", stopped=mode == "fail_fast")
        assert world.scheduler.status() is RunStatus.CANCELLED
        assert world.turns == [(Turn.GROW, "g")]

    def test_enough_successes_end_the_rest(self) -> None:
        """X12."""
        world = grown(2, group("abcd"), min_success=2)
        world.returns("g/a")
        world.returns("g/b")
        assert under(world, "c", "d") == ["running", "not_started"]
        assert world.stopped == ["g/c"]

    @pytest.mark.parametrize("ended", ["before", "meanwhile"])
    def test_a_cleanup_that_grows_keeps_its_width_in_a_run_that_ends(self, ended: str) -> None:
        """D8."""
        world = World(group("az", controls="z", cleanups="z", z=Policy(width=1)))
        if ended == "before":
            world.halts()
        world.returns("a", stopped=ended == "before")
        world.grows("z", group("xy"))
        assert world.running == {"z/x"}
        if ended == "meanwhile":
            world.halts()
        world.returns("z/x")
        assert world.running == {"z/y"}

    def test_who_ends_in_the_line_frees_nothing(self) -> None:
        """A4: by its deadline, or cancelled by a person; those behind it move up."""
        world = grown(1, group("abcd", b=Policy(deadline=3.0)))
        world.passes(3)
        world.cancels("g/c")
        assert under(world, *"abcd") == ["running", "timed_out", "not_started", "ready"]
        assert world.running == {"g/a"}
        world.returns("g/a")
        assert world.running == {"g/d"}

    def test_the_timeout_of_a_child_that_grows_begins_when_it_does(self) -> None:
        world = grown(1, group("ab", controls="b", b=Policy(timeout=5.0)))
        world.passes(60)
        world.returns("g/a")
        world.grows("g/b", group("x"))
        world.passes(4)
        assert world.stopped == []
        world.passes(1)
        assert world.stopped == ["g/b/x"]

    def test_an_attempt_that_was_given_up_is_under_way_no_more(self) -> None:
        """A11: its task is final, though its slot stays taken."""
        world = grown(1, group("ab", a=Policy(timeout=5.0, grace=1.0)))
        world.begins("g/a")
        world.passes(60)
        assert under(world, "a", "b") == ["timed_out", "running"]

    def test_a_paused_run_begins_what_needs_no_slot_only(self) -> None:
        world = grown(2, group("abcd", controls="d"))
        world.pauses()
        for key in "ab":
            world.returns(f"g/{key}")
        assert under(world, "c", "d") == ["ready", "running"]
        assert world.running == set()
        world.unpauses()
        assert world.running == {"g/c"}


class TestCrashes:
    def test_after_a_crash_the_same_children_are_under_way(self) -> None:
        """W3: they run again, before those that wait."""
        world = grown(2, group("abcd"))
        world.returns("g/a")
        world.recovers()
        assert world.running == {"g/b", "g/c"}
        assert under(world, "d") == ["ready"]
        world.leaves()
        for key in "bc":
            world.returns(f"g/{key}", stopped=True)
        world.recovers()
        assert world.running == {"g/b", "g/c"}

    def test_a_policy_is_recorded_and_an_older_record_has_none(self) -> None:
        """F33."""
        made = PLAIN.but(width=3, priority=3)
        assert policy_data(made) == {"width": 3, "priority": 3}
        assert policy_of(policy_data(made)) == made
        assert policy_of({"priority": 3}).width is None

    def test_it_is_no_option(self) -> None:
        """What a file's block says becomes one; nobody else says it."""
        assert "width" not in option_names()
        with pytest.raises(UsageError, match="unknown option 'width'"):
            policy(PLAIN, width=1)


class TestWhy:
    def test_it_names_who_is_under_way_and_who_is_before(self) -> None:
        """X7."""
        world = grown(2, group("abcd", controls="a"), slots=1)
        world.passes(7)
        found = why(world, "g/d")
        text = "g/d waits for one of the 2 that may be under way at once in 'g': g/a, g/b, behind 1 more, for 7 s now"
        assert (found.reason, found.text) == ("group", text)
        assert (found.causes, found.since) == (("g/a", "g/b"), 1000)
        assert found.detail == {"limit": "g", "capacity": 2, "used": 2, "before": 1, "held_by": ["g/a", "g/b"]}
        assert "'g': g/a, g/b, for 7 s now" in why(world, "g/c").text
        world.pauses()
        assert why(world, "g/d").reason == "paused"


class TestWhatItCosts:
    def test_what_is_under_way_from_before_is_counted(self) -> None:
        """D4: of a task that grows more before the first ones are over."""
        world = grown(1, group("a"))
        world.grows("g", group("b"))
        assert world.running == {"g/a"}
        world.returns("g/a")
        assert world.running == {"g/b"}

    @staticmethod
    def calls(width: int, size: int, dropped: int = 0) -> int:
        """Python and C calls of 20 ends and the starts that follow, among so many children of which so many were dropped."""
        scheduler = Scheduler(Rules(), 0.0)
        scheduler.added(group("g", controls="g", g=Policy(width=width)), 0.0)
        scheduler.turns.clear()
        keys = Numbered("t", size)
        scheduler.grew(0, Batch(size, calls=keys, keys=keys), 0.0)
        for task in range(2, 2 + dropped):
            scheduler.cancelled(task, None, 0.0)
        counted = 0

        def count(*_: Any) -> None:
            nonlocal counted
            counted += 1

        task = scheduler.take(0.0)
        sys.setprofile(count)
        for _ in range(20):
            scheduler.returned(task, 1, None, 1.0)
            task = scheduler.take(1.0)
        sys.setprofile(None)
        assert task >= 2 + dropped
        return counted

    def test_who_waits_adds_nothing_to_an_end(self) -> None:
        """A4: as many steps with 20,000 in line as with 200; those that ended there are passed over once."""
        assert self.calls(1, 200) == self.calls(1, 20_000)
        assert self.calls(1, 20_000, 10_000) < self.calls(1, 200) + 5 * 10_000


@given(st.lists(st.integers(0, 20), min_size=1, max_size=30), st.integers(1, 6))
@settings(max_examples=200, deadline=None)
def test_children_begin_when_a_simple_model_says_so(seconds: list[int], width: int) -> None:
    """A4: the model keeps the times at which so many places are free, and gives each child the first of them."""
    free, begins = [0.0] * width, []
    for length in seconds:
        at = heappop(free)
        begins.append(at)
        heappush(free, at + length)
    scheduler = Scheduler(Rules(), 0.0)
    scheduler.added(group("g", controls="g", g=Policy(width=width)), 0.0)
    keys = Numbered("t", len(seconds))
    scheduler.grew(0, Batch(len(seconds), calls=keys, keys=keys), 0.0)
    now, ends, found = 0.0, [], {}
    while len(found) < len(seconds) or ends:
        while (task := scheduler.take(now)) >= 0:
            found[task] = now
            heappush(ends, (now + seconds[task - 1], task))
        check(scheduler)
        now, task = heappop(ends)
        scheduler.returned(task, 1, None, now)
    assert [found[task] for task in sorted(found)] == begins
