"""One place decides what may run: pools, weights, keys, rates with costs, groups; who is first, and who is woken."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from plait._core.commands import Ask, Return
from plait._core.limits import check_batch
from plait._core.policy import AGE, PLAIN, policy
from plait._core.scheduler import NOT_BEGUN
from plait.errors import HttpError, LimitError, RetryAfter, UsageError
from plait.testing.world import World, graph


def world(options: dict[str, dict[str, Any]], slots: int | None = None, **given: Any) -> World:
    """Tasks without needs, by key, each with its options."""
    return World(graph(options, **{key: [] for key in options}), slots=slots, **given)


class TestPools:
    def test_weights_are_never_more_than_the_capacity(self) -> None:
        """X4 E4."""
        made = world({"a": {"pool": {"gpu": 2}}, "b": {"pool": {"gpu": 2}}, "c": {"pool": "gpu"}}, pools={"gpu": 3})
        assert made.running == {"a"}  # b does not fit, and c is not to overtake it
        made.returns("a")
        assert made.running == {"b", "c"}

    def test_a_task_takes_all_its_pools_or_none(self) -> None:
        """X4: what it waits for keeps nobody else from what it does not have."""
        both = {"pool": {"db": 1, "gpu": 1}}
        made = world({"a": {"pool": "gpu"}, "b": both, "c": {"pool": "db"}}, pools={"db": 1, "gpu": 1})
        assert made.running == {"a", "c"}
        made.returns("a")
        assert made.running == {"c"}
        made.returns("c")
        assert made.running == {"b"}

    def test_those_behind_a_heavy_task_that_goes_away_find_its_room(self) -> None:
        """X4: what a cancelled waiter stood before is given on at once."""
        heavy = {"pool": {"gpu": 3}, "deadline": 5}
        made = world({"a": {"pool": "gpu"}, "b": heavy, "c": {"pool": "gpu"}, "d": {"pool": "gpu"}}, pools={"gpu": 3})
        assert made.running == {"a"}
        made.passes(6)
        assert made.status("b") == "timed_out"
        assert made.running == {"a", "c", "d"}

    def test_a_waiting_task_gives_its_pool_back_and_asks_again(self) -> None:
        """X4 E4: who waits for a person holds nothing."""
        made = world({"a": {"pool": "db"}, "b": {"pool": "db"}}, pools={"db": 1})
        made.asks("a")
        assert made.running == {"b"}
        made.answers("a")
        assert made.running == {"b"}
        made.returns("b")
        assert made.running == {"a"}

    def test_an_abandoned_attempt_keeps_its_weight_and_a_run_that_waits_for_it_ends(self) -> None:
        """E4: a thread that cannot be stopped still uses the database."""
        held = {"pool": {"db": 2}, "timeout": 1, "grace": 1}
        made = world({"a": held, "b": {"pool": "db"}}, pools={"db": 2})
        made.begins("a")
        made.passes(2.5)
        made.abandons("a")
        assert made.status("a") == "timed_out"
        assert made.running == set()
        made.passes(10)
        assert made.status("b") == "not_started"
        assert made.scheduler.halt_reason == "stuck"

    def test_who_had_its_turn_at_one_pool_keeps_it_while_it_waits_at_another(self) -> None:
        """X4: two busy pools starve nobody who needs both. What it keeps it keeps for as long as it had waited."""
        both = {"pool": {"left": 1, "right": 1}}
        options: dict[str, Any] = {"a": {"pool": "left"}, "b": both, "r1": {"pool": "right"}}
        options |= {f"l{at}": {"pool": "left"} for at in range(3)}
        made = world(options, pools={"left": 1, "right": 1})
        assert made.running == {"a", "r1"}  # b waits for left
        made.passes(10)
        made.returns("a")
        assert made.running == {"r1"}  # left is b's, which waits for right
        made.passes(9)
        made.returns("r1")
        assert made.running == {"b"}

    def test_what_is_kept_is_free_again_after_as_long_as_it_was_waited_for(self) -> None:
        """X4: a pool does not idle for hours for a task that waited a minute for it."""
        both = {"pool": {"left": 1, "right": 1}}
        options = {"a": {"pool": "left"}, "b": both, "r": {"pool": "right"}, "l": {"pool": "left"}}
        made = world(options, pools={"left": 1, "right": 1})
        made.passes(10)
        made.returns("a")
        made.passes(9.9)
        assert made.running == {"r"}
        made.passes(0.2)
        assert made.running == {"r", "l"}
        made.returns("l")
        made.returns("r")
        assert made.running == {"b"}

    def test_a_group_in_a_pool_and_a_limit_of_the_group_hold_together(self) -> None:
        """X4: nested limits are one count each, and nothing is taken twice."""
        made = World(
            graph({"g": {"max_concurrency": 2}, "x": {"pool": {"db": 2}}}, x=[], g=[]), pools={"db": 3}, slots=10
        )
        made.grows("g", graph({each: {"pool": "db"} for each in "abcd"}, a=[], b=[], c=[], d=[]))
        assert made.running == {"x", "g/a"}
        made.returns("x")
        assert made.running == {"g/a", "g/b"}


class TestKeys:
    def test_one_or_n_at_once_for_each_key(self) -> None:
        """X4."""
        options = {f"a{at}": {"concurrency_key": "user-1"} for at in range(3)}
        options |= {f"b{at}": {"concurrency_key": {"key": "user-2", "n": 2}} for at in range(3)}  # type: ignore[dict-item]
        made = world(options)
        assert made.running == {"a0", "b0", "b1"}
        made.returns("a0")
        made.returns("b1")
        assert made.running == {"a1", "b0", "b2"}


class TestRates:
    def test_never_more_than_the_capacity_in_any_window(self) -> None:
        """B8 F77: a log that slides, not a bucket that allows twice as much around its refill."""
        made = world({f"t{at}": {"rate_limit": "3/10s"} for at in range(8)})
        starts = []
        for at in range(2):
            made.begins(f"t{at}")
            made.returns(f"t{at}")
        made.passes(9)
        made.begins("t2")
        made.returns("t2")
        for _ in range(60):
            for key in sorted(made.running):
                starts.append(made.now)
                made.begins(key)
                made.returns(key)
            made.passes(0.5)
        assert starts == [10.0, 10.0, 19.0, 20.0, 20.0]

    def test_units_count_from_when_the_code_was_seen_to_begin(self) -> None:
        """B8: what lies between a slot and the first line of the code does not let one more call into the window."""
        made = world({f"t{at}": {"rate_limit": "1/10s"} for at in range(2)})
        made.passes(4)
        made.begins("t0")
        made.passes(9.5)
        assert made.running == {"t0"}
        made.passes(0.5)
        assert made.running == {"t0", "t1"}

    def test_an_attempt_that_never_began_has_used_nothing(self) -> None:
        """F77: cancelled before its code began, its units are free."""
        made = world({"a": {"rate_limit": "1/1h", "timeout": 5, "concurrency_key": "k"}, "b": {"rate_limit": "1/1h"}})
        made.scheduler.table.started_at[0] = 0.0
        assert made.running == {"a"}
        made.scheduler.timers.arm(2, 0, 1.0)
        made.passes(2)
        made.returns("a", stopped=NOT_BEGUN)  # type: ignore[arg-type]
        assert made.status("a") == "timed_out"
        assert made.running == {"b"}

    def test_a_heavy_call_is_not_starved_by_light_ones(self) -> None:
        """B8: first come, first served; what comes later does not take the units that a heavy call waits for."""
        options = {"a": {"rate_limit": "4/10s"}, "heavy": {"rate_limit": "4/10s", "cost": 4}}
        options |= {f"t{at}": {"rate_limit": "4/10s"} for at in range(3)}
        made = world(options)
        made.begins("a")
        assert made.running == {"a"}
        made.passes(10)
        assert made.running == {"a", "heavy"}
        made.begins("heavy")
        made.passes(10)
        assert made.running == {"a", "heavy", "t0", "t1", "t2"}

    def test_two_rates_hold_both(self) -> None:
        """B8: 2 a second, and 3 a minute."""
        made = world({f"t{at}": {"rate_limit": ["2/1s", "3/1m"]} for at in range(4)})
        for key in ("t0", "t1"):
            made.begins(key)
        made.passes(1)
        assert made.running == {"t0", "t1", "t2"}
        made.begins("t2")
        made.passes(58)
        assert "t3" not in made.running
        made.passes(1)
        assert "t3" in made.running

    def test_every_try_is_a_call(self) -> None:
        """B8 B15: a retry waits for its own unit."""
        made = world({"a": {"rate_limit": "1/10s", "retry": {"attempts": 2, "delay": 1, "jitter": False}}})
        made.begins("a")
        made.fails("a")
        made.passes(9)
        assert made.running == set()
        made.passes(1)
        assert made.running == {"a"}

    def test_who_goes_on_after_an_answer_is_no_new_call(self) -> None:
        """B8."""
        made = world({"a": {"rate_limit": "2/1h"}, "b": {"rate_limit": "2/1h"}}, slots=1)
        made.begins("a")
        made.asks("a")
        made.begins("b")
        made.returns("b")
        made.answers("a")
        assert made.running == {"a"}
        assert made.scheduler.admission.book.numbered[0].used == 2

    def test_time_goes_on_while_nobody_drives_the_run(self) -> None:
        """B8 X4: a run that is resumed after an hour does not wait for what was used before."""
        for away, starts in ((0.0, 100.0), (70.0, 30.0), (1000.0, 0.0)):
            made = world({key: {"rate_limit": "1/100s"} for key in "ab"}, slots=1)
            made.begins("a")
            made.returns("a")
            made.scheduler.recovered(made.now, away)
            made._settle()
            made.passes(starts - 0.5 if starts else 0)
            assert made.running == (set() if starts else {"b"})
            made.passes(0.5)
            assert made.running == {"b"}

    @pytest.mark.parametrize(("rate", "cost"), [("1/10s", 1), ("2/10s", 1), ("2/10s", 2)])
    def test_what_a_killed_process_had_in_hand_is_counted_once(self, rate: str, cost: int) -> None:
        """B8 X4 F76: it died before anybody knew that its call had begun; who goes on with the run has nothing, and owes nothing."""
        made = world({key: {"rate_limit": rate, "cost": cost} for key in "ab"}, slots=1, sharing=True)
        (share,) = made.scheduler.admission.book.shares.values()
        made.grants(share.path, cost)
        assert made.running == {"a"}
        made.commands.clear()
        made.recovers()
        assert (made.running, share.capacity, share.used, share.gone) == (set(), 0, 0, 0)
        assert [type(each) for each in made.commands] == [Ask]
        for key in "ab":
            made.grants(share.path, cost)
            assert made.running == {key}
            made.begins(key)
            made.returns(key)

    def test_a_clock_that_jumps_lets_nobody_in_twice(self) -> None:
        """F77: a laptop was closed: the window is over, and holds again what it may."""
        made = world({f"t{at}": {"rate_limit": "2/10s"} for at in range(7)})
        for key in ("t0", "t1"):
            made.begins(key)
        made.now += 3600
        made.scheduler.ticked(made.now)
        made._settle()
        assert made.running == {"t0", "t1", "t2", "t3"}


class TestBeingCalledLater:
    @pytest.mark.parametrize(
        "error", [RetryAfter(30), HttpError("429 Too Many Requests", status=429, retry_after=30)], ids=["own", "http"]
    )
    def test_the_whole_bucket_slows_down_and_no_attempt_is_counted(self, error: Exception) -> None:
        """X5."""
        made = world({f"t{at}": {"rate_limit": "2/1s"} for at in range(4)})
        made.begins("t0")
        made.fails("t0", error)
        assert made.status("t0") == "retrying"  # though it has no retries
        made.begins("t1")
        made.passes(29)
        assert made.running == {"t1"}
        made.passes(1.01)
        assert made.running == {"t1", "t2", "t3"}
        made.begins("t2")
        made.begins("t3")
        made.passes(1)
        assert made.running == {"t0", "t1", "t2", "t3"}
        made.fails("t0")
        assert made.status("t0") == "failed"

    @pytest.mark.parametrize("heard", [True, False])
    def test_what_was_granted_before_it_was_said_goes_back(self, heard: bool) -> None:
        """X5 X4: the unit for the next call was on its way when the first one was told to come later."""
        made = world({key: {"rate_limit": "5/1s"} for key in ("limited", "other")}, slots=1, sharing=True)
        (share,) = made.scheduler.admission.book.shares.values()
        made.grants(share.path, 1)
        assert made.running == {"limited"}
        made.begins("limited")
        made.fails("limited", RetryAfter(10))
        made.grants(share.path, 1)
        assert made.running == set()
        assert [each.units for each in made.commands if isinstance(each, Return)] == [1]
        if heard:
            made.grants(share.path, 0, shut=True)
        else:
            made.passes(10)
        made.grants(share.path, 1)
        assert made.running == {"other"}

    def test_an_exception_of_ones_own_with_retry_after_does_the_same(self) -> None:
        """X5."""

        class Busy(Exception):
            retry_after = 12

        made = world({f"t{at}": {"rate_limit": "1/1s"} for at in range(2)})
        made.begins("t0")
        made.fails("t0", Busy())
        made.passes(11.9)
        assert made.running == set()
        made.passes(0.2)
        assert made.running == {"t1"}

    def test_its_tries_are_left_for_real_failures(self) -> None:
        """X5 B15."""
        made = world({"a": {"rate_limit": "9/1s", "retry": {"attempts": 2, "delay": 1, "jitter": False}}})
        for _ in range(5):
            made.begins("a")
            made.fails("a", RetryAfter(3))
            made.passes(4)
        made.fails("a")
        assert made.status("a") == "retrying"
        made.passes(1)
        made.fails("a")
        assert made.status("a") == "failed"

    def test_without_a_rate_a_task_says_it_itself_and_a_server_costs_a_try(self) -> None:
        """X5: nothing is there to be slowed down by a header; a task that raises RetryAfter means it."""
        made = world({"a": {}, "b": {}})
        made.fails("a", RetryAfter(5))
        made.fails("b", HttpError("503", status=503, retry_after=5))
        assert made.statuses == {"a": "retrying", "b": "failed"}
        made.passes(5)
        assert made.running == {"a"}

    @pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "5", None])
    def test_impossible_pauses_are_refused(self, seconds: Any) -> None:
        """X5."""
        with pytest.raises(LimitError, match="RetryAfter needs seconds"):
            RetryAfter(seconds)


class TestAgeing:
    def test_a_low_task_among_endless_high_ones_starts_within_two_minutes(self) -> None:
        """B2: a level is worth 60 s of waiting."""
        high = [f"h{number}" for number in range(200)]
        needs = {key: high[max(0, number - 2) : max(0, number - 1)] for number, key in enumerate(high)}
        options = {key: {"priority": "high"} for key in high} | {"low": {"priority": "low"}}
        made = World(graph(options, low=["h0"], **needs), slots=1)
        # Two chains of them: whenever one ends another one is ready.
        while made.running != {"low"}:
            made.passes(1)
            made.returns(*made.running)
        assert made.now == 1 + 2 * AGE + 1

    def test_what_gets_ready_by_the_same_end_goes_by_priority(self) -> None:
        """B2."""
        options = {"low": {"priority": "low"}, "high": {"priority": "high"}}
        made = World(graph(options, a=[], low=["a"], mid=["a"], high=["a"]), slots=1)
        for key in ("a", "high", "mid"):
            made.returns(key)
        assert made.started == ["a", "high", "mid", "low"]

    def test_inside_a_level_who_is_ready_first_goes_first(self) -> None:
        """B2."""
        made = world({key: {"priority": level} for key, level in (("a", 1), ("b", 3), ("c", 2), ("d", 3))}, slots=1)
        for key in ("b", "d", "c"):
            made.returns(key)
        assert made.started == ["b", "d", "c", "a"]


class TestWhatItCosts:
    @staticmethod
    def calls(blocked: int) -> int:
        """Python and C calls of one end of a task, and the start that follows, among so many that wait for its pool."""
        limited = policy(PLAIN, pool="db")
        from plait._core.graph import Batch, Numbered

        keys = Numbered("t", blocked)
        made = World(Batch(blocked, calls=keys, keys=keys, policy=limited), pools={"db": 2})
        scheduler = made.scheduler
        assert len(scheduler.admission.parked) == blocked - 2
        counted = 0

        def count(*_: Any) -> None:
            nonlocal counted
            counted += 1

        sys.setprofile(count)
        for task in range(20):
            scheduler.returned(task, 1, None, 1.0)
            scheduler.take(1.0)
            scheduler.take(1.0)
        sys.setprofile(None)
        assert scheduler.admission.parked.keys() == set(range(22, blocked))
        return counted

    def test_who_is_blocked_on_a_full_pool_adds_nothing_to_an_event(self) -> None:
        """X4: as many steps with 20,000 parked as with 200."""
        assert self.calls(200) == self.calls(20_000)


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"pool": "dbs"}, "task 'a': pool 'dbs' is not declared. Did you mean 'db'"),
            ({"pool": {"db": 3}}, "task 'a': a weight of 3 in pool 'db', which has 2: it would wait for ever"),
            ({"rate_limit": "5/1s", "cost": 6}, "task 'a': a cost of 6 under a rate of 5/1s"),
        ],
    )
    def test_what_can_never_be_admitted_is_refused_before_anything_starts(
        self, options: dict[str, Any], says: str
    ) -> None:
        """X4 B8."""
        with pytest.raises(UsageError) as error:
            check_batch(graph({"a": options}, a=[]), {"db": 2})
        assert says in str(error.value)

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"pool": {"db": 0}}, "the weight in pool 'db' must be a whole number of at least 1, not 0"),
            ({"pool": {"db": -1}}, "not -1"),
            ({"pool": {"db": 1.5}}, "not 1.5"),
            ({"pool": ["db", "db"]}, "pool names 'db' twice"),
            ({"pool": 3}, "pool must be a name"),
            ({"pool": ""}, "a pool's name must be printable text"),
            ({"rate_limit": "0/1s"}, "the units of rate_limit must be a whole number of at least 1, not 0"),
            ({"rate_limit": "ten/min"}, 'rate_limit must be text such as "100/1m" or "5/s", not \'ten/min\''),
            ({"rate_limit": "5/0s"}, "the interval of rate_limit must be a positive"),
            ({"rate_limit": "-5/1s"}, "rate_limit must be text"),
            ({"rate_limit": 5}, "rate_limit must be text"),
            ({"rate_limit": ["5/1s", "6/1s"]}, "two rates for one interval"),
            ({"cost": 0}, "cost must be a whole number of at least 1, not 0"),
            ({"cost": True}, "cost must be a whole number"),
            ({"concurrency_key": ""}, "concurrency_key must be printable text"),
            ({"concurrency_key": {"key": "a", "n": 0}}, "concurrency_key.n must be a whole number"),
            ({"concurrency_key": {"n": 2}}, "concurrency_key must be text or a mapping"),
        ],
    )
    def test_options_that_cannot_be_are_refused_by_name(self, options: dict[str, Any], says: str) -> None:
        """X4 B8."""
        with pytest.raises(UsageError) as error:
            policy(PLAIN, **options)
        assert says in str(error.value)


class TestGroupsThatCount:
    """`min_success` and `max_failures`: decided as soon as nothing can change it, one way or the other."""

    @staticmethod
    def grown(options: dict[str, Any], size: int = 5, run: str = "continue", **each: Any) -> World:
        made = World(graph({"g": options}, g=[], after=["g"]), slots=3, on_failure=run)
        keys = [f"t{at}" for at in range(size)]
        made.grows("g", graph({key: each for key in keys if each}, **{key: [] for key in keys}))
        return made

    @pytest.mark.parametrize("share", [2, "40%", "21%"])
    def test_enough_successes_cancel_the_rest_and_the_group_goes_on(self, share: int | str) -> None:
        """X12 B14: two of five are enough."""
        made = self.grown({"min_success": share})
        made.fails("g/t0")
        made.returns("g/t1")
        assert made.stopped == []
        made.returns("g/t2")
        assert made.stopped == ["g/t3", "g/t4"]
        made.returns("g/t3", stopped=True)
        made.returns("g/t4", stopped=True)
        assert made.turns[-1][1] == "g"
        made.returns("g", ["joined"])
        assert made.statuses == {
            "g": "succeeded", "after": "running", "g/t0": "failed", "g/t1": "succeeded", "g/t2": "succeeded",
            "g/t3": "cancelled", "g/t4": "cancelled",
        }  # fmt: skip
        assert made.scheduler.degraded

    def test_what_cannot_succeed_any_more_ends_at_once(self) -> None:
        """X12: 4 of 5 are wanted, and two have failed."""
        made = self.grown({"min_success": 4})
        made.fails("g/t0")
        assert made.stopped == []
        made.fails("g/t1", ValueError("two"))
        assert made.stopped == ["g/t2", "g/t3"]
        made.returns("g/t2", stopped=True)
        made.returns("g/t3", stopped=True)
        assert made.status("g") == "failed"
        assert str(made.table.errors[0]) == (
            "0 of 5 tasks succeeded, and 3 are left: 4 are required; task 'g/t0' failed: ValueError: boom"
        )
        assert made.status("g/t4") == "not_started"
        assert made.status("after") == "upstream_failed"
        assert made.table.key(made.scheduler.first_cause) == "g/t0"

    @pytest.mark.parametrize(("most", "fails"), [(0, 1), (1, 2), ("39%", 2), ("40%", 3)])
    def test_more_failures_than_allowed_end_the_group(self, most: int | str, fails: int) -> None:
        """B16: up to so many are passed over, and the run is degraded."""
        made = self.grown({"max_failures": most})
        for at in range(fails):
            assert made.stopped == []
            made.fails(f"g/t{at}")
        assert made.stopped
        made = self.grown({"max_failures": most})
        for at in range(5):
            (made.fails if at < fails - 1 else made.returns)(f"g/t{at}")
        made.returns("g")
        assert made.status("after") == "running"

    def test_a_failure_that_is_counted_ends_nothing_else(self) -> None:
        """B16 E5: not the run that fails fast, and not the groups beside it; a critical one ends all."""
        made = self.grown({"max_failures": 2}, run="fail_fast")
        made.fails("g/t0")
        assert made.scheduler.halt_reason is None
        made = self.grown({"max_failures": 2}, critical=True)
        made.fails("g/t0")
        assert made.scheduler.halt_reason == "failure"

    def test_an_item_that_is_a_group_fails_as_one(self) -> None:
        """B16: what fails in it ends it, and is counted once."""
        made = World(graph({"g": {"max_failures": 1}}, g=[]), on_failure="fail_fast", slots=9)
        made.grows("g", graph(a=[], b=[]))
        made.grows("g/a", graph(x=[], y=[]))
        made.fails("g/a/x")
        assert made.stopped == ["g/a/y"]
        made.returns("g/a/y", stopped=True)
        assert (made.status("g/a"), made.status("g/b")) == ("failed", "running")

    def test_why_says_what_was_enough(self) -> None:
        """X7 X12."""
        from plait._core.why import asked

        made = self.grown({"min_success": 1})
        made.returns("g/t0")
        made.returns("g/t1", stopped=True)
        made.returns("g/t2", stopped=True)
        found = asked(made.scheduler, "g/t1", made.now, float, "r")
        assert found.text == "g/t1 was cancelled: its group g had the 1 success that it needs"

    @pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "0%", "101%", "half", "50"])
    def test_what_cannot_be_a_quota_is_refused(self, wrong: Any) -> None:
        with pytest.raises(LimitError, match="min_success must be a"):
            policy(PLAIN, min_success=wrong)

    def test_an_abandoned_attempt_that_grows_in_the_end_frees_its_slot(self) -> None:
        """E4: it came too late to grow."""
        made = world({"a": {"timeout": 1, "grace": 1}, "b": {}}, slots=1)
        made.begins("a")
        made.passes(2)
        made.abandons("a")
        assert made.running == set()
        made.grows("a", graph(x=[]))
        assert made.running == {"b"}
