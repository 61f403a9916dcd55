"""The scheduler told fact by fact: needs, order, limits, failure, time. No clock, no loop, no sleep."""

from __future__ import annotations

import pytest

from plait._core.commands import Cancel, Force, Recall, Stop
from plait._core.events import Taken, journalled
from plait._core.graph import Batch, Kept
from plait._core.invariants import check
from plait._core.policy import PLAIN, Policy, Rules, policy
from plait._core.scheduler import Scheduler, Turn
from plait._core.states import RunStatus, Status
from plait.errors import ChildFailed, InvariantError, TaskTimedOut
from plait.testing import World, graph


def flat(size: int, **options: object) -> Batch:
    keys = [f"t{at}" for at in range(size)]
    return Batch(size, calls=keys, keys=keys, policy=policy(PLAIN, **options))


class TestNeeds:
    def test_ready_tasks_start_in_parallel_and_each_dependent_as_soon_as_its_own_needs_are_done(self) -> None:
        """B3 E1 E2: no wave waits for its slowest member."""
        world = World(graph(a=[], b=[], c=["a"], d=["b"], e=["c", "d"]))
        assert world.running == {"a", "b"}
        world.returns("a")
        assert world.running == {"b", "c"}
        world.returns("c")
        assert world.running == {"b"}
        world.returns("b")
        world.returns("d")
        assert world.running == {"e"}
        world.returns("e")
        assert world.scheduler.status() is RunStatus.SUCCEEDED

    def test_a_failed_need_makes_its_dependents_upstream_failed_and_never_counts_as_done(self) -> None:
        """E6 N: a failed task never counts as succeeded."""
        world = World(graph(a=[], b=["a"], c=["b"], d=[]))
        world.fails("a")
        assert world.statuses == {"a": "failed", "b": "upstream_failed", "c": "upstream_failed", "d": "running"}
        world.returns("d")
        assert world.scheduler.status() is RunStatus.FAILED

    def test_a_failure_that_is_allowed_lets_dependents_go_on_and_degrades_the_run(self) -> None:
        world = World(graph({"a": {"allow_failure": True}}, a=[], b=["a"]))
        world.fails("a")
        assert world.running == {"b"}
        world.returns("b")
        assert world.scheduler.status() is RunStatus.SUCCEEDED
        assert world.scheduler.degraded

    @pytest.mark.parametrize(
        ("join", "ends", "status"),
        [
            ("all_success", "ss", "running"),
            ("all_success", "sf", "upstream_failed"),
            ("all_success", "sk", "skipped"),
            ("all_success", "kf", "upstream_failed"),
            ("all_done", "fk", "running"),
            ("one_success", "fs", "running"),
            ("one_success", "ff", "upstream_failed"),
            ("one_success", "kk", "skipped"),
            ("one_failed", "sf", "running"),
            ("one_failed", "ss", "skipped"),
            ("none_failed", "sk", "running"),
            ("none_failed", "fs", "upstream_failed"),
        ],
    )
    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_joins_decide_alike_in_whatever_order_needs_end(
        self, join: str, ends: str, status: str, order: tuple[int, int]
    ) -> None:
        """W12."""
        batch = graph({"c": {"join": join}}, a=[], b=[], c=["a", "b"])
        batch.conditional = [at for at, end in enumerate(ends) if end == "k"]
        world = World(batch)
        for at in order:
            match ends[at]:
                case "s":
                    world.returns("ab"[at])
                case "f":
                    world.fails("ab"[at])
                case "k":
                    world.decides("ab"[at], False)
        assert world.status("c") == status

    def test_one_success_starts_at_the_first_success_while_other_needs_run(self) -> None:
        world = World(graph({"c": {"join": "one_success"}}, a=[], b=[], c=["a", "b"]))
        world.returns("b")
        assert world.running == {"a", "c"}

    def test_a_condition_is_decided_once_when_needs_are_met_and_holds_no_slot(self) -> None:
        batch = graph(a=[], b=["a"], c=[])
        batch.conditional = [1]
        world = World(batch, slots=1)
        assert world.turns == []
        world.returns("a")
        assert world.turns == [(Turn.DECIDE, "b")]
        assert world.running == {"c"}
        world.decides("b", False)
        world.returns("c")
        assert world.status("b") is Status.SKIPPED

    def test_a_chain_of_a_hundred_thousand_fails_and_succeeds_without_recursion(self) -> None:
        """F62."""
        from plait._core.policy import Rules
        from plait._core.scheduler import Scheduler

        size = 100_000
        needs = [() if not at else (at - 1,) for at in range(size)]
        for fails in (False, True):
            scheduler = Scheduler(Rules(), 0.0)
            scheduler.added(Batch(size, calls=range(size), keys=[""] * size, needs=needs), 0.0)
            while (task := scheduler.take(0.0)) >= 0:
                if fails:
                    scheduler.raised(task, 1, ValueError(), 0.0)
                else:
                    scheduler.returned(task, 1, None, 0.0)
            assert scheduler.finished


class TestLimitsAndOrder:
    def test_never_more_than_the_limit_and_a_freed_slot_is_filled_at_once(self) -> None:
        """A3 A4 E4."""
        world = World(flat(5), slots=2)
        assert world.running == {"t0", "t1"}
        world.returns("t1")
        assert world.running == {"t0", "t2"}
        world.fails("t0")
        assert world.running == {"t2", "t3"}
        assert world.scheduler.idle == 0

    def test_levels_high_to_low_and_first_come_first_served_inside_one(self) -> None:
        """B2: 3, 2, 1 and FIFO inside a level (ageing is not built)."""
        options = {
            "a": {"priority": "low"},
            "b": {"priority": "normal"},
            "c": {"priority": "high"},
            "e": {"priority": 3},
        }
        world = World(graph(options, a=[], b=[], c=[], d=[], e=[]), slots=1)
        for key in ("c", "e", "b", "d", "a"):
            assert world.running == {key}
            world.returns(key)

    def test_a_parent_holds_no_slot_while_its_children_run(self) -> None:
        """F73: one slot serves any depth."""
        world = World(flat(1), slots=1)
        world.grows("t0", graph(a=[]))
        world.grows("t0/a", graph(b=[]))
        assert world.running == {"t0/a/b"}
        world.returns("t0/a/b")
        assert world.turns == [(Turn.JOIN, "t0/a")]

    def test_a_groups_limit_counts_leaf_work_at_any_depth_and_wakes_its_own_waiters(self) -> None:
        """N: no semaphore per block."""
        world = World(graph({"g": {"max_concurrency": 2}}, g=[], x=[]), slots=10)
        world.grows("g", graph(a=[], b=[], c=[]))
        assert world.running == {"x", "g/a", "g/b"}
        world.grows("g/a", graph(d=[], e=[]))
        assert len(world.running - {"x"}) == 2
        world.returns("g/b")
        assert len(world.running - {"x"}) == 2

    def test_a_task_parked_at_a_limit_keeps_its_place(self) -> None:
        world = World(graph({"g": {"max_concurrency": 1}}, g=[]), slots=5)
        world.grows("g", graph({"c": {"priority": 1}}, a=[], b=[], c=[], d=[]))
        for key in ("g/a", "g/b", "g/d", "g/c"):
            assert world.running == {key}
            world.returns(key)


class TestAttempts:
    def test_retries_wait_for_their_pause_without_a_slot_and_count(self) -> None:
        """B15."""
        batch = graph({"a": {"retry": {"attempts": 3, "delay": 10, "backoff": 2}}}, a=[], b=[])
        world = World(batch, slots=1)
        world.fails("a", chance=1.0)
        assert world.status("a") is Status.RETRYING
        assert world.running == {"b"}
        world.passes(9.9)
        assert world.status("a") is Status.RETRYING
        world.passes(0.2)
        world.returns("b")
        assert world.running == {"a"}
        world.fails("a", chance=1.0)
        assert world.scheduler.next_wake() == pytest.approx(world.now + 20)

    def test_the_last_failure_never_waits(self) -> None:
        """B15 N: no sleep after the last failure."""
        world = World(graph({"a": {"retry": {"attempts": 2, "delay": 0}}}, a=[]))
        world.fails("a")
        world.passes(0)
        world.fails("a", ValueError("last"))
        assert world.status("a") is Status.FAILED
        assert world.scheduler.next_wake() is None
        assert str(world.table.errors[0]) == "last"
        assert [str(each.error) for each in world.table.history[0]] == ["boom"]

    def test_what_cannot_succeed_is_not_tried_again(self) -> None:
        """B15."""
        from plait.errors import UsageError

        world = World(graph({"a": {"retries": 5}, "b": {"retries": 5}}, a=[], b=[]))
        world.fails("a", KeyboardInterrupt())
        world.fails("b", UsageError("wrong call"))
        assert world.statuses == {"a": "failed", "b": "failed"}

    def test_a_retry_that_waits_is_cancelled_with_its_run(self) -> None:
        """B15: cancellable."""
        world = World(graph({"a": {"retries": 1}}, a=[]))
        world.fails("a")
        world.halts()
        assert world.status("a") is Status.CANCELLED
        assert world.scheduler.next_wake() is None

    def test_reports_of_earlier_attempts_and_second_reports_change_nothing(self) -> None:
        """F69 F83."""
        world = World(graph({"a": {"retry": {"attempts": 2, "delay": 0}}}, a=[], b=[]))
        world.fails("a")
        world.passes(0)
        world.returns("a", attempt=1)
        assert world.status("a") is Status.RUNNING
        world.returns("a", "value")
        world.fails("a")
        world.returns("b")
        world.returns("b", "again")
        assert world.statuses == {"a": "succeeded", "b": "succeeded"}
        assert world.table.values == ["value", None]

    def test_a_timeout_counts_from_the_start_of_the_code_and_stops_the_attempt(self) -> None:
        world = World(graph({"a": {"timeout": 5, "grace": 2}}, a=[]))
        world.passes(3)
        world.begins("a")
        world.passes(4.9)
        assert world.commands == []
        world.passes(0.1)
        (cancel,) = world.commands
        assert isinstance(cancel, Cancel)
        assert (cancel.tasks, cancel.why, cancel.grace) == ([0], Stop.TIMEOUT, 2.0)
        world.returns("a", "too late", stopped=True)
        assert world.status("a") is Status.TIMED_OUT
        assert isinstance(world.table.errors[0], TaskTimedOut)

    def test_an_end_reported_after_the_deadline_of_the_attempt_is_a_timeout_whatever_it_returned(self) -> None:
        world = World(graph({"a": {"timeout": 5}}, a=[]))
        world.now = 5.5  # no timer was served: the code blocked the loop
        world.returns("a")
        assert world.status("a") is Status.TIMED_OUT

    def test_a_task_deadline_counts_waiting_and_all_attempts(self) -> None:
        world = World(
            graph(
                {"b": {"deadline": 5}, "c": {"deadline": 5, "retry": {"attempts": 9, "delay": 100}}}, a=[], b=[], c=[]
            ),
            slots=1,
        )
        world.passes(5)
        assert world.statuses == {"a": "running", "b": "timed_out", "c": "timed_out"}

    def test_a_timed_out_attempt_may_be_tried_again(self) -> None:
        world = World(graph({"a": {"timeout": 5, "retry": {"attempts": 2, "delay": 0}}}, a=[]))
        world.begins("a")
        world.passes(5)
        world.returns("a", stopped=True)
        assert world.status("a") is Status.RETRYING
        world.passes(0)
        assert world.running == {"a"}

    def test_what_does_not_end_within_grace_is_forced_then_abandoned_and_keeps_its_slot(self) -> None:
        """W10 A11."""
        world = World(graph({"a": {"timeout": 5, "grace": 2, "retries": 3}}, a=[], b=[]), slots=1)
        world.begins("a")
        world.passes(7)
        assert world.forced == ["a"]
        world.abandons("a")
        assert world.status("a") is Status.TIMED_OUT
        assert 0 in world.table.unenforced
        assert world.running == set()
        world.returns("a", stopped=True)
        assert world.running == {"b"}

    def test_when_abandoned_attempts_hold_every_slot_for_grace_the_run_ends_and_says_so(self) -> None:
        """W13."""
        world = World(graph({"a": {"timeout": 5, "grace": 2}}, a=[], b=[]), slots=1)
        world.begins("a")
        world.passes(7)
        world.abandons("a")
        world.passes(4.9)
        assert world.status("b") is Status.READY
        world.passes(0.1)
        assert world.status("b") is Status.NOT_STARTED
        assert world.scheduler.halt_reason == "stuck"
        assert world.scheduler.status() is RunStatus.FAILED

    def test_what_is_seen_by_asking_in_vain_is_in_the_journal(self) -> None:
        """E11: that only abandoned attempts hold the slots is seen when somebody asks for the next task, and a replay sees it, too."""
        scheduler = Scheduler(Rules.of(max_concurrency=1), 0.0)
        journal = journalled(scheduler)
        scheduler.added(graph({"a": {"grace": 1}}, a=[], b=[]), 0.0)
        scheduler.take(0.0)
        scheduler._stop(0, "cancel", 0.0)
        scheduler.ticked(1.0)
        scheduler.abandoned(0, 1, 1.0)
        assert scheduler.take(1.0) == -1
        assert isinstance(journal[-1], Taken)

    def test_an_attempt_whose_process_dies_runs_again_before_the_others_and_its_slot_is_free(self) -> None:
        """F48 F82: a budget of its own, not that of the retries."""
        world = World(graph({"a": {"timeout": 9}}, a=[], b=[]), slots=1)
        for number in range(10):
            assert world.started == ["a"] * (number + 1)
            world.dies("a")
        assert world.started == ["a"] * 11
        assert world.status("b") is Status.READY
        world.dies("a", "exit 3")
        assert world.status("a") is Status.FAILED
        assert "was running 11 times when its process died: exit 3: given up" in str(world.table.errors[0])
        assert world.running == {"b"}

    def test_an_attempt_that_was_being_stopped_when_its_process_died_was_stopped(self) -> None:
        world = World(graph({"a": {"timeout": 5}}, a=[], b=[]), slots=1)
        world.begins("a")
        world.passes(5)
        world.dies("a")
        assert world.status("a") is Status.TIMED_OUT
        world.dies("a")  # told twice
        assert world.running == {"b"}

    def test_a_death_that_is_told_after_the_attempt_was_given_up_frees_its_slot(self) -> None:
        world = World(graph({"a": {"timeout": 5, "grace": 2}}, a=[], b=[]), slots=1)
        world.begins("a")
        world.passes(7)
        world.abandons("a")
        assert world.running == set()
        world.dies("a")
        assert world.statuses == {"a": "timed_out", "b": "running"}

    def test_what_must_not_be_started_twice_fails_when_its_process_dies(self) -> None:
        """W5."""
        world = World(graph({"a": {"on_interrupt": "fail", "retries": 3}}, a=[]))
        world.dies("a")
        assert world.status("a") is Status.FAILED
        assert "is not run again (on_interrupt: fail): killed by SIGKILL" in str(world.table.errors[0])

    def test_a_waiting_task_frees_its_slot_and_its_timeout_stands_still(self) -> None:
        """E6 E7: a waiting task never counts as done."""
        world = World(graph({"a": {"timeout": 5}}, a=[], b=[]), slots=1)
        world.begins("a")
        world.passes(3)
        world.asks("a")
        assert world.running == {"b"}
        world.passes(100)
        assert world.status("a") is Status.WAITING
        world.returns("b")
        assert world.scheduler.status() is RunStatus.WAITING
        world.answers("a")
        assert world.running == {"a"}
        assert world.table.attempts(0) == 1
        world.passes(1.9)
        assert world.commands == []
        world.passes(0.2)
        assert world.stopped == ["a"]


class TestFailure:
    def test_fail_fast_stops_what_runs_and_starts_nothing_and_names_the_first_cause(self) -> None:
        """A5 A9 E5."""
        world = World(graph(a=[], b=[], c=[], d=["a"]), slots=2, on_failure="fail_fast")
        world.fails("b")
        assert world.stopped == ["a"]
        assert world.statuses == {"a": "running", "b": "failed", "c": "not_started", "d": "not_started"}
        world.fails("a", ValueError("because it was stopped"))
        assert world.status("a") is Status.CANCELLED
        assert world.scheduler.first_cause == 1
        assert world.scheduler.status() is RunStatus.FAILED

    def test_finish_starts_nothing_new_and_lets_running_work_end(self) -> None:
        world = World(graph({"a": {"retries": 3}}, a=[], b=[], c=[]), slots=2, on_failure="finish")
        world.fails("b")
        assert world.stopped == []
        assert world.status("c") is Status.NOT_STARTED
        world.fails("a")
        assert world.statuses == {"a": "failed", "b": "failed", "c": "not_started"}

    def test_a_critical_failure_stops_all_whatever_on_failure_says(self) -> None:
        """E5."""
        world = World(graph({"a": {"critical": True}}, a=[], b=[], c=["b"]), on_failure="continue")
        world.fails("a")
        assert world.stopped == ["b"]
        world.returns("b", stopped=True)
        assert world.statuses == {"a": "failed", "b": "cancelled", "c": "not_started"}

    def test_an_uninterruptible_task_ends_by_itself(self) -> None:
        world = World(graph({"a": {"uninterruptible": True}}, a=[], b=[]), on_failure="fail_fast")
        world.fails("b")
        assert world.stopped == []
        world.returns("a")
        assert world.statuses == {"a": "succeeded", "b": "failed"}

    def test_a_completion_before_the_stop_reached_it_is_kept(self) -> None:
        """F43."""
        world = World(graph(a=[], b=[]), on_failure="fail_fast")
        world.fails("b")
        world.returns("a", "kept", stopped=False)
        assert world.status("a") is Status.SUCCEEDED

    def test_victims_are_cancelled_never_failed(self) -> None:
        """A9."""
        world = World(graph(a=[], b=[], c=[]), on_failure="fail_fast")
        world.fails("b")
        world.fails("a")
        world.fails("c")
        assert world.statuses == {"a": "cancelled", "b": "failed", "c": "cancelled"}
        assert world.scheduler.first_cause == 1

    def test_a_halt_by_the_caller_cancels_what_had_started_and_the_rest_is_not_started(self) -> None:
        world = World(graph(a=[], b=["a"], c=[]), slots=1)
        world.halts()
        world.returns("a", stopped=True)
        assert world.statuses == {"a": "cancelled", "b": "not_started", "c": "not_started"}
        assert world.scheduler.status() is RunStatus.CANCELLED

    def test_the_runs_deadline_ends_it(self) -> None:
        world = World(graph(a=[], b=["a"]), deadline=10)
        world.passes(10)
        assert world.stopped == ["a"]
        world.returns("a", stopped=True)
        assert world.scheduler.halt_reason == "deadline"
        assert world.scheduler.status() is RunStatus.FAILED

    def test_a_pause_starts_nothing_and_lets_running_tasks_end(self) -> None:
        world = World(graph(a=[], b=[]), slots=1)
        world.scheduler.paused(0.0)
        world.returns("a")
        assert world.running == set()
        assert world.scheduler.status() is RunStatus.PAUSED
        world.scheduler.unpaused(0.0)
        world._settle()
        assert world.running == {"b"}


class TestGrowth:
    def test_a_parent_is_final_when_its_children_are(self) -> None:
        world = World(graph(a=[], b=["a"]))
        world.grows("a", graph(x=[], y=["x"]))
        world.returns("a/x")
        assert world.status("a") is Status.RUNNING
        world.returns("a/y")
        assert world.turns == [(Turn.JOIN, "a")]
        world.returns("a", "joined")
        assert world.running == {"b"}

    def test_a_failed_child_fails_its_parent_with_its_own_error_as_the_cause(self) -> None:
        world = World(graph(a=[], b=["a"]))
        world.grows("a", graph(x=[], y=[]))
        world.fails("a/x", ValueError("deep"))
        assert world.running == {"a/y"}
        world.returns("a/y")
        assert world.statuses == {"a": "failed", "b": "upstream_failed", "a/x": "failed", "a/y": "succeeded"}
        error = world.table.errors[0]
        assert isinstance(error, ChildFailed)
        assert str(error.__cause__) == "deep"
        assert world.scheduler.first_cause == world.task("a/x")

    def test_a_group_with_its_own_fail_fast_ends_alone(self) -> None:
        world = World(graph({"a": {"on_failure": "fail_fast", "allow_failure": True}}, a=[], b=["a"], c=[]))
        world.grows("a", graph(x=[], y=[], z=["y"]))
        world.fails("a/x")
        assert world.stopped == ["a/y"]
        world.returns("a/y", stopped=True)
        assert world.running == {"b", "c"}
        assert world.scheduler.first_cause == -1
        assert world.scheduler.degraded

    def test_a_group_that_grew_nothing_joins_at_once(self) -> None:
        world = World(graph(a=[]))
        world.grows("a", graph())
        assert world.turns == [(Turn.JOIN, "a")]

    def test_the_timeout_of_a_group_ends_its_children(self) -> None:
        world = World(graph({"a": {"timeout": 5}}, a=[]))
        world.begins("a")
        world.grows("a", graph(x=[], y=["x"]))
        world.passes(5)
        assert world.stopped == ["a/x"]
        world.returns("a/x", stopped=True)
        assert world.statuses == {"a": "timed_out", "a/x": "cancelled", "a/y": "not_started"}

    def test_what_grows_in_a_run_that_was_ended_never_starts(self) -> None:
        world = World(graph({"a": {"uninterruptible": True}}, a=[]))
        world.halts()
        world.grows("a", graph(x=[]))
        assert world.statuses == {"a": "cancelled", "a/x": "not_started"}

    def test_an_empty_batch_leaves_its_neighbours_limits_alone(self) -> None:
        """Found by the simulation: an empty batch shared its first row, and so its limits, with the next one."""
        world = World(graph({"a": {"max_concurrency": 1}}, a=[], b=[]))
        world.grows("a", graph())
        world.grows("b", graph(x=[]))
        world.grows("b/x", graph(p=[], q=[], r=[]))
        assert world.running == {"b/x/p", "b/x/q", "b/x/r"}


def test_what_a_kept_child_decides_at_once_is_counted() -> None:
    """W13 W14: a retry keeps one, by which another is skipped before it could start; the group ends all the same."""
    world = World(graph(g=[]))
    batch = graph({"alarm": {"join": "one_failed"}}, kept=[], alarm=["kept"], other=[])
    batch.kept = {0: Kept(1, 0.0, 0.0, 1)}
    world.grows("g", batch)
    assert world.statuses["g/alarm"] == "skipped"
    assert world.running == {"g/other"}
    world.returns("g/other")
    world.scheduler.returned(0, 1, {}, world.now)
    assert world.status("g") == "succeeded"


def test_who_was_interrupted_keeps_its_place_however_often() -> None:
    """W14 B2: it had its turn, and goes before those that waited, also behind the second crash."""
    world = World(graph(first=[], second=[]), slots=1)
    for crash in range(1, 4):
        world.passes(60)
        world.recovers()
        assert (world.running, world.started) == ({"first"}, ["first"] * (crash + 1))


def test_an_illegal_move_raises_with_the_tasks_story() -> None:
    world = World(graph(a=[]))
    world.returns("a")
    with pytest.raises(InvariantError, match=r"succeeded -> running is not allowed: task 'a' is succeeded, 1 attempts"):
        world.table.move(0, 2, 1.0)


def test_force_follows_grace_and_a_kernel_that_holds_a_process_is_waited_for_no_longer_than_its_patience() -> None:
    world = World(graph({"a": {"grace": 3}}, a=[]))
    world.halts()
    world.passes(3)
    last = world.commands[-1]
    assert isinstance(last, Force)
    assert (last.task, last.attempt) == (0, 1)
    world.passes(5)
    assert world.status("a") is Status.CANCELLED
    assert 0 in world.table.unenforced


def test_policies_are_shared_by_all_tasks_that_have_them() -> None:
    world = World(flat(3, timeout=9))
    assert isinstance(world.table.policies[0], Policy)
    assert world.table.policies[0] is world.table.policies[2]


class TestLending:
    """E8: tasks beyond the slots, for whoever is at work."""

    def test_only_where_all_slots_are_taken_and_only_what_needs_nothing_else(self) -> None:
        world = World(graph({"c": {"deadline": 9}}, a=[], b=[], c=[], d=[]), slots=1)
        scheduler = world.scheduler
        assert world.started == ["a"]
        assert scheduler.lend(0.0) == world.task("b")
        assert scheduler.lend(0.0) == -1  # `c` has a clock that runs
        world.returns("a")
        assert world.started == ["a", "c"]  # nobody passed the slot on
        scheduler.came_back(world.task("b"), 0.0)
        world.returns("c")
        assert world.started == ["a", "c", "b"]

    def test_the_slot_is_passed_on_and_never_two_are_held(self) -> None:
        world = World(graph(a=[], b=[], c=[]), slots=1)
        scheduler, task = world.scheduler, world.task("b")
        assert scheduler.lend(0.0) == task
        scheduler.returned(world.task("a"), 1, None, 1.0)
        scheduler.passed(task, 1.0)
        check(scheduler)
        assert (world.started, scheduler.used) == (["a"], 1)
        assert str(world.status("b")) == "running"

    @pytest.mark.parametrize("mode", ["fail_fast", "finish"])
    def test_when_the_run_ends_it_is_asked_back_and_its_end_waits_for_that(self, mode: str) -> None:
        world = World(graph(a=[], b=[], c=[], d=[]), slots=1, on_failure=mode)
        scheduler = world.scheduler
        b, c = scheduler.lend(0.0), scheduler.lend(0.0)
        world.fails("a")
        (recall,) = world.commands
        assert isinstance(recall, Recall)
        assert recall.tasks == [b, c]
        assert (str(world.status("b")), str(world.status("d"))) == ("ready", "not_started")
        scheduler.passed(b, 0.0)  # it had begun
        scheduler.came_back(c, 0.0)
        check(scheduler)
        assert (str(world.status("b")), str(world.status("c"))) == ("running", "not_started")
        assert [type(each) for each in scheduler.commands] == ([Cancel] if mode == "fail_fast" else [])
        world.returns("b", stopped=mode == "fail_fast")
        assert str(world.status("b")) == ("cancelled" if mode == "fail_fast" else "succeeded")
        assert scheduler.finished

    def test_a_pause_asks_for_it_too(self) -> None:
        world = World(graph(a=[], b=[]), slots=1)
        task = world.scheduler.lend(0.0)
        world.scheduler.paused(0.0)
        (recall,) = world.scheduler.commands
        assert isinstance(recall, Recall)
        assert recall.tasks == [task]

    def test_a_free_slot_asks_for_it_too_and_once(self) -> None:
        """What it stands behind may go on for long: nothing that is ready waits where a slot is free."""
        world = World(graph(a=[], b=[], c=[], d=[]), slots=2)
        scheduler = world.scheduler
        c, d = scheduler.lend(0.0), scheduler.lend(0.0)
        world.returns("b")
        (recall,) = world.commands
        assert isinstance(recall, Recall)
        assert recall.tasks == [c, d]
        assert scheduler.take(0.0) == -1
        assert len(world.commands) == 1
        scheduler.came_back(d, 0.0)
        scheduler.came_back(c, 0.0)
        check(scheduler)
        assert scheduler.take(0.0) == c
        assert scheduler.lend(0.0) == d
        scheduler.returned(c, 1, None, 1.0)
        assert scheduler.take(1.0) == -1
        assert len([each for each in (*world.commands, *scheduler.commands) if isinstance(each, Recall)]) == 2
