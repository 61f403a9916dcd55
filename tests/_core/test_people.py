"""Facts about people, told to the scheduler alone: questions, answers, tasks that are not wanted, and what is not to run twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from plait._core.commands import Cancel, Recall, Stop
from plait._core.graph import REPAIR, Batch, Kept
from plait._core.policy import PLAIN, OnFailure, Rules, policy
from plait._core.questions import INTERRUPT, OF_INTERRUPT, Question, Questions
from plait._core.scheduler import OF_REPAIR, Scheduler, Turn
from plait._core.states import STATUSES, RunStatus, Status
from plait._engine.records import error_data, error_of
from plait.errors import ChildFailed, Declined, Rejected, TaskCancelled, TaskInterrupted, TaskTimedOut
from plait.testing import World, graph

RERUN, FAIL = {"action": "rerun"}, {"action": "fail"}
SUCCEED = {"action": "succeed", "value": 7}


def made(
    policies: Mapping[str, Mapping[str, Any]] | None = None,
    /,
    *,
    cleanups: Sequence[str] = (),
    repaired: Sequence[str] = (),
    controls: Sequence[str] = (),
    conditional: Sequence[str] = (),
    needs: Mapping[str, Sequence[str]],
) -> Batch:
    """A batch by key, with what a plain `graph` does not have."""
    plain = graph(policies, **needs)
    keys = list(needs)
    rows: dict[str, Any] = {
        name: [keys.index(key) for key in given]
        for name, given in (
            ("cleanups", cleanups),
            ("repairs", repaired),
            ("controls", controls),
            ("conditional", conditional),
        )
    }
    return Batch(
        len(keys), calls=plain.calls, keys=keys, needs=plain.needs, policy=PLAIN, policies=plain.policies, **rows
    )


def repair(**options: Any) -> Batch:
    """What an `on_error` grows."""
    return Batch(1, calls=[REPAIR], keys=[REPAIR], policy=policy(PLAIN, **options), is_repair=True)


def children(*keys: str, **options: Any) -> Batch:
    """Tasks that do not need each other."""
    return Batch(len(keys), calls=list(keys), keys=list(keys), policy=policy(PLAIN, **options))


def became(world: World, key: str) -> list[str | None]:
    """What became of each question of a task."""
    return [each.what for each in world.inputs(key)]


class TestAsking:
    def test_who_waits_has_no_slot_and_gets_one_again_in_its_turn(self) -> None:
        """E7: everything else goes on meanwhile."""
        world = World(graph(a=[], b=[], c=[], d=["a"]), slots=1)
        world.asks("a")
        assert world.statuses == {"a": "waiting", "b": "running", "c": "ready", "d": "pending"}
        world.passes(1.5)
        world.answers("a", "yes")
        assert world.statuses == {"a": "ready", "b": "running", "c": "ready", "d": "pending"}
        world.returns("b")
        assert world.running == {"c"}, "who was ready before it comes before it"
        world.returns("c")
        assert world.running == {"a"}
        assert world.table.attempts(0) == 1
        world.returns("a")
        assert world.running == {"d"}

    def test_several_wait_at_once_and_are_answered_in_any_order(self) -> None:
        """E7 X3: the order of questions is that in which they were asked."""
        world = World(graph(a=[], b=[], c=[]), slots=1)
        for key in "abc":
            world.asks(key)
        assert world.scheduler.questions is not None
        assert [world.table.key(task) for task in world.scheduler.questions.open] == ["a", "b", "c"]
        world.answers("c", 3)
        assert world.running == {"c"}
        world.answers("a", 1)
        assert world.statuses == {"a": "ready", "b": "waiting", "c": "running"}
        world.returns("c")
        world.answers("b", 2)
        world.returns("a")
        assert world.running == {"b"}
        assert [[each.value for each in world.inputs(key)] for key in "abc"] == [[1], [2], [3]]

    def test_priorities_count_for_who_goes_on(self) -> None:
        world = World(graph({"c": {"priority": "high"}}, a=[], b=[], c=[]), slots=1)
        assert world.started == ["c"]
        world.asks("c")
        world.answers("c")
        assert world.statuses == {"a": "running", "b": "ready", "c": "ready"}
        world.returns("a")
        assert world.running == {"c"}

    def test_answers_to_a_stale_number_change_nothing(self) -> None:
        """F74: the second of two answers, a late one, one to a question that is not asked yet."""
        world = World(graph(a=[], b=["a"]))
        world.answers("a", "before anything was asked", number=0)
        assert world.running == {"a"}
        world.asks("a")
        world.answers("a", "not this one", number=1)
        assert world.status("a") is Status.WAITING
        world.answers("a", "first")
        world.answers("a", "second", number=0)
        assert [each.value for each in world.inputs("a")] == ["first"]
        world.asks("a")
        world.answers("a", "late", number=0)
        assert world.status("a") is Status.WAITING
        assert [(each.number, each.what, each.value) for each in world.inputs("a")] == [
            (0, "answered", "first"),
            (1, None, None),
        ]
        world.answers("a", "another", by="me")
        assert [(each.value, each.by) for each in world.inputs("a")] == [("first", None), ("another", "me")]
        world.returns("a")
        world.answers("a", "after the end", number=1)
        assert world.statuses == {"a": "succeeded", "b": "running"}
        assert world.inputs("a")[1].value == "another"

    def test_a_report_about_another_attempt_asks_nothing(self) -> None:
        world = World(graph({"a": {"retry": {"attempts": 2, "delay": 0}}}, a=[]))
        world.fails("a")
        world.passes(0)
        assert world.table.attempts(0) == 2
        question = Question("a", "what now?", {})
        world.scheduler.asked(0, 1, question, world.now)
        assert world.running == {"a"}
        assert world.scheduler.questions is None
        world.returns("a")
        world.scheduler.asked(0, 2, question, world.now)
        assert world.status("a") is Status.SUCCEEDED
        assert world.scheduler.open_question(0) is None

    def test_who_is_to_stop_and_who_grew_ask_nothing(self) -> None:
        world = World(graph(a=[], g=[]))
        world.grows("g", children("x"))
        world.asks("g")
        assert world.status("g") is Status.RUNNING
        world.cancels("a")
        world.asks("a")
        assert world.statuses == {"a": "running", "g": "running", "g/x": "running"}
        assert world.scheduler.questions is None
        world.returns("a", stopped=True)
        assert world.status("a") is Status.CANCELLED

    def test_who_asks_in_a_run_that_ends_is_cancelled_and_told_to_stop(self) -> None:
        """`finish` lets running tasks end, and nothing that would have to start again."""
        world = World(graph(a=[], b=[]), on_failure="finish")
        world.fails("b")
        assert world.running == {"a"}
        world.asks("a")
        assert world.status("a") is Status.CANCELLED
        assert world.stopped == ["a"]
        assert became(world, "a") == ["dropped"]
        assert world.scheduler.finished

    def test_who_goes_on_uses_no_rate_again(self) -> None:
        """B8: the call was one."""
        world = World(graph({"a": {"rate_limit": "1/1m"}}, a=[]))
        world.begins("a")
        world.asks("a")
        world.answers("a")
        assert world.running == {"a"}

    def test_who_goes_on_waits_for_its_pool(self) -> None:
        world = World(graph({key: {"pool": "one"} for key in "ab"}, a=[], b=[]), pools={"one": 1})
        world.asks("a")
        assert world.running == {"b"}
        world.answers("a")
        assert world.statuses == {"a": "ready", "b": "running"}
        world.returns("b")
        assert world.running == {"a"}


class TestTime:
    def test_the_timeout_stands_still_over_several_questions(self) -> None:
        """E7: what counts is the time of the code."""
        world = World(graph({"a": {"timeout": 5}}, a=[]))
        world.begins("a")
        for _ in range(2):
            world.passes(2)
            world.asks("a")
            world.passes(50)
            world.answers("a")
            world.passes(0)
        world.passes(0.9)
        assert world.stopped == []
        world.passes(0.2)
        assert world.stopped == ["a"]
        world.returns("a", stopped=True)
        assert world.status("a") is Status.TIMED_OUT

    def test_the_wait_for_a_slot_after_an_answer_is_no_time_of_the_code(self) -> None:
        world = World(graph({"a": {"timeout": 5}}, a=[], b=[]), slots=1)
        world.begins("a")
        world.passes(3)
        world.asks("a")
        world.answers("a")
        world.passes(100)
        world.returns("b")
        assert world.running == {"a"}
        world.passes(1.9)
        assert world.stopped == []
        world.passes(0.2)
        assert world.stopped == ["a"]

    def test_another_attempt_has_all_of_its_timeout(self) -> None:
        world = World(graph({"a": {"timeout": 5, "retry": {"attempts": 2, "delay": 0}}}, a=[]))
        world.begins("a")
        world.passes(4)
        world.asks("a")
        world.answers("a")
        world.fails("a")
        world.passes(0)
        assert world.table.attempts(0) == 2
        world.begins("a")
        world.passes(4.9)
        assert world.stopped == []
        world.passes(0.2)
        assert world.stopped == ["a"]

    def test_silence_while_a_person_is_asked_is_none(self) -> None:
        world = World(graph({"a": {"idle_timeout": 2}}, a=[]))
        world.begins("a")
        world.asks("a")
        world.passes(100)
        assert (Turn.LISTEN, "a") not in world.turns
        assert world.status("a") is Status.WAITING

    def test_the_default_counts_once_the_time_is_over(self) -> None:
        """E7."""
        world = World(graph(a=[]))
        world.asks("a", timeout=10, default="no")
        world.passes(9.9)
        assert world.status("a") is Status.WAITING
        world.passes(0.2)
        assert world.running == {"a"}
        (found,) = world.inputs("a")
        assert (found.what, found.value, found.by, found.is_answered, found.ended_at) == (
            "default",
            "no",
            None,
            True,
            10,
        )
        world.answers("a", "late", number=0)
        assert found.value == "no"

    def test_none_may_be_a_default(self) -> None:
        world = World(graph(a=[]))
        world.asks("a", timeout=1, default=None)
        world.passes(1)
        assert world.running == {"a"}
        assert became(world, "a") == ["default"]

    def test_without_a_default_the_task_is_timed_out_and_its_code_told_to_stop(self) -> None:
        """E7: and it is not tried again, for nobody would answer then either."""
        world = World(graph({"a": {"retries": 3}}, a=[], b=["a"]))
        world.asks("a", timeout=90)
        world.passes(90)
        assert world.statuses == {"a": "timed_out", "b": "upstream_failed"}
        assert became(world, "a") == ["timed_out"]
        assert world.stopped == ["a"]
        (told,) = (each for each in world.commands if isinstance(each, Cancel))
        assert told.why == Stop.DEADLINE
        assert isinstance(world.table.errors[0], TaskTimedOut)
        assert str(world.table.errors[0]) == "nobody answered 'a' within the 90 s that there were"
        assert world.scheduler.first_cause == 0

    def test_an_answer_disarms_its_time(self) -> None:
        world = World(graph(a=[]))
        world.asks("a", timeout=10)
        world.answers("a")
        assert world.scheduler.next_wake() is None
        world.asks("a", timeout=30)
        world.passes(20)
        assert world.status("a") is Status.WAITING, "the time of the first question ended nothing"

    def test_the_time_begins_when_the_question_is_asked(self) -> None:
        world = World(graph(a=[]))
        world.passes(100)
        world.asks("a", timeout=10)
        assert world.scheduler.next_wake() == 110

    def test_it_goes_on_while_nobody_drives_the_run(self) -> None:
        """E7: people's time stands still for nobody, and the run's does."""
        world = World(graph(a=[], b=[]))
        world.asks("a", timeout=100, default="no")
        world.asks("b", timeout=1000)
        world.passes(10)
        world.recovers(away=50)
        assert world.scheduler.next_wake() == 50
        world.recovers(away=30)
        assert world.scheduler.next_wake() == 20
        world.passes(10)
        assert world.statuses == {"a": "running", "b": "waiting"}
        assert world.inputs("a")[0].value == "no"

    def test_what_passed_while_nobody_was_there_counts_at_once(self) -> None:
        world = World(graph(a=[], b=[]))
        world.asks("a", timeout=100, default="no")
        world.asks("b", timeout=100)
        world.recovers(away=3600)
        world.passes(0)
        assert world.statuses == {"a": "running", "b": "timed_out"}

    def test_a_deadline_passes_while_a_task_waits(self) -> None:
        world = World(graph({"a": {"deadline": 20, "retries": 2}}, a=[], b=[]))
        world.asks("a")
        world.passes(20)
        assert world.status("a") is Status.TIMED_OUT
        assert str(world.table.errors[0]) == "task 'a' passed its deadline of 20 s"
        assert world.stopped == ["a"]
        assert became(world, "a") == ["dropped"]
        assert world.running == {"b"}

    def test_a_deadline_passes_while_a_task_waits_for_its_slot(self) -> None:
        world = World(graph({"a": {"deadline": 20}}, a=[], b=[]), slots=1)
        world.asks("a")
        world.answers("a")
        world.passes(20)
        assert world.status("a") is Status.TIMED_OUT
        assert world.stopped == ["a"], "its code is there, and waits"
        assert became(world, "a") == ["answered"]

    def test_a_deadline_of_the_run_ends_what_waits(self) -> None:
        world = World(graph(a=[], b=[]), deadline=20, slots=1)
        world.asks("a")
        world.asks("b", timeout=10, default=0)
        world.passes(10)
        assert world.statuses == {"a": "waiting", "b": "running"}
        world.passes(10)
        assert world.statuses == {"a": "cancelled", "b": "running"}
        assert world.stopped == ["a", "b"]
        world.returns("b", stopped=True)
        assert world.scheduler.status() is RunStatus.FAILED

    def test_who_must_answer_for_a_failure_has_no_question_open(self) -> None:
        """D8: an `on_error` runs where a question's time is over; the task's own question is closed."""
        world = World(made(repaired=["a"], needs={"a": [], "b": ["a"]}))
        world.asks("a", timeout=5)
        world.passes(5)
        assert world.turns == [(Turn.REPAIR, "a")]
        assert world.status("a") is Status.RUNNING
        assert world.scheduler.open_question(0) is None
        world.grows("a", repair())
        world.returns("a/on_error", "instead")
        world.returns("a", "instead", attempt=OF_REPAIR)
        assert world.statuses == {"a": "succeeded", "a/on_error": "succeeded", "b": "running"}

    def test_who_failed_and_had_its_answer_is_told_to_stop_before_it_is_repaired(self) -> None:
        world = World(made({"a": {"deadline": 5}}, repaired=["a"], needs={"a": [], "b": []}), slots=1)
        world.asks("a")
        world.answers("a")
        world.passes(5)
        assert world.stopped == ["a"]
        assert not world.scheduler.admission.answered
        assert (Turn.REPAIR, "a") in world.turns


class TestWithdrawn:
    def test_code_that_waits_no_more_goes_on_in_its_turn(self) -> None:
        world = World(graph(a=[], b=[]), slots=1)
        world.asks("a", timeout=5)
        world.withdraws("a")
        assert world.statuses == {"a": "ready", "b": "running"}
        assert became(world, "a") == ["withdrawn"]
        assert not world.inputs("a")[0].is_answered
        assert world.scheduler.next_wake() is None
        world.answers("a", "late", number=0)
        assert world.inputs("a")[0].value is None
        world.returns("b")
        assert world.running == {"a"}
        assert world.table.attempts(0) == 1

    def test_what_was_answered_is_withdrawn_no_more(self) -> None:
        world = World(graph(a=[]))
        world.asks("a")
        world.answers("a", 1)
        world.scheduler.withdrawn(0, 0, world.now)
        world.asks("a")
        world.scheduler.withdrawn(0, 0, world.now)
        assert became(world, "a") == ["answered", None]
        assert world.status("a") is Status.WAITING


class TestCancelledTasks:
    def test_one_that_waits_is_cancelled_at_once_and_its_code_told_to_stop(self) -> None:
        world = World(graph(a=[], b=["a"], c=[]))
        world.asks("a", timeout=50)
        world.cancels("a", by="me")
        assert world.statuses == {"a": "cancelled", "b": "upstream_failed", "c": "running"}
        assert world.stopped == ["a"]
        assert became(world, "a") == ["dropped"]
        assert world.scheduler.next_wake() is None
        assert isinstance(world.table.errors[0], TaskCancelled)
        assert str(world.table.errors[0]) == "task 'a' was cancelled by me"
        world.answers("a", "late", number=0)
        world.returns("c")
        assert world.scheduler.status() is RunStatus.FAILED
        assert world.scheduler.first_cause == 0

    def test_one_that_is_ready_with_its_answer_is_cancelled_and_its_code_told_to_stop(self) -> None:
        world = World(graph(a=[], b=[]), slots=1)
        world.asks("a")
        world.answers("a", "yes")
        world.cancels("a")
        assert world.statuses == {"a": "cancelled", "b": "running"}
        assert world.stopped == ["a"]
        assert became(world, "a") == ["answered"]
        world.returns("b")
        assert world.running == set()
        assert world.scheduler.finished

    @pytest.mark.parametrize("needs", [[], ["a"]], ids=["ready", "pending"])
    def test_one_that_has_not_started_never_does(self, needs: list[str]) -> None:
        world = World(graph(a=[], b=needs, c=["b"]), slots=1)
        world.cancels("b")
        assert world.statuses == {"a": "running", "b": "not_started", "c": "upstream_failed"}
        assert world.stopped == []
        assert str(world.table.errors[1]) == "task 'b' was cancelled"
        world.returns("a")
        assert world.started == ["a"]
        assert world.scheduler.status() is RunStatus.FAILED

    def test_one_that_is_to_be_decided_yet_never_starts(self) -> None:
        world = World(made(conditional=["a"], needs={"a": []}))
        world.cancels("a")
        assert world.status("a") is Status.NOT_STARTED
        world.decides("a", True)
        assert world.started == []

    def test_one_that_runs_is_stopped_and_tried_no_more(self) -> None:
        world = World(graph({"a": {"retries": 3}}, a=[], b=["a"]))
        world.cancels("a")
        world.cancels("a")
        assert world.stopped == ["a"]
        assert world.statuses == {"a": "running", "b": "pending"}
        world.fails("a")
        assert world.statuses == {"a": "cancelled", "b": "upstream_failed"}

    def test_one_whose_time_was_up_before_is_tried_no_more(self) -> None:
        world = World(graph({"a": {"timeout": 5, "retries": 3}}, a=[]))
        world.begins("a")
        world.passes(6)
        world.cancels("a")
        assert world.stopped == ["a"]
        world.returns("a", stopped=True)
        assert world.status("a") is Status.TIMED_OUT
        assert world.scheduler.finished

    def test_one_that_was_faster_keeps_what_it_came_to(self) -> None:
        world = World(graph(a=[], b=["a"]))
        world.cancels("a")
        world.returns("a", 5)
        assert world.statuses == {"a": "succeeded", "b": "running"}
        assert world.table.values[0] == 5
        world.returns("b")
        assert world.scheduler.status() is RunStatus.SUCCEEDED

    def test_one_whose_process_dies_runs_no_more(self) -> None:
        for policies in ({}, {"a": {"on_interrupt": "ask"}}):
            world = World(graph(policies, a=[]))
            world.cancels("a")
            world.dies("a")
            assert world.status("a") is Status.CANCELLED
            assert world.scheduler.questions is None

    def test_one_that_cannot_be_stopped_is_given_up(self) -> None:
        world = World(graph(a=[], b=["a"]))
        world.cancels("a")
        world.abandons("a")
        assert world.statuses == {"a": "cancelled", "b": "upstream_failed"}
        assert str(world.table.errors[0]) == "task 'a' was cancelled"

    def test_one_between_two_attempts_is_cancelled(self) -> None:
        world = World(graph({"a": {"retry": {"attempts": 2, "delay": 5}}}, a=[]))
        world.fails("a")
        assert world.status("a") is Status.RETRYING
        world.cancels("a")
        assert world.status("a") is Status.CANCELLED
        assert world.stopped == [], "no code of it is there"
        assert world.scheduler.next_wake() is None

    def test_one_that_waits_for_another_attempts_slot_is_cancelled(self) -> None:
        world = World(graph({"a": {"retry": {"attempts": 2, "delay": 5}}}, a=[], b=[]), slots=1)
        world.fails("a")
        world.passes(5)
        assert world.status("a") is Status.READY
        world.cancels("a")
        assert world.status("a") is Status.CANCELLED, "it had started"
        assert world.stopped == []

    def test_one_that_is_lent_comes_back_and_is_not_started(self) -> None:
        world = World(graph(a=[], b=[], c=["b"]), slots=1)
        assert world.lends() == "b"
        world.cancels("b")
        assert [each.tasks for each in world.commands if isinstance(each, Recall)] == [[1]]
        assert world.status("b") is Status.READY
        world.gives_back("b")
        assert world.statuses == {"a": "running", "b": "not_started", "c": "upstream_failed"}

    def test_one_that_is_lent_and_begins_all_the_same_is_stopped(self) -> None:
        world = World(graph(a=[], b=[]), slots=1)
        assert world.lends() == "b"
        world.cancels("b")
        world.scheduler.returned(0, 1, None, world.now)
        world.passes_on("b")
        assert world.stopped == ["b"]
        world.returns("b", stopped=True)
        assert world.status("b") is Status.CANCELLED

    def test_a_group_ends_with_all_that_is_in_it(self) -> None:
        world = World(made(controls=["g"], needs={"g": [], "b": ["g"], "c": []}), slots=3)
        world.grows("g", graph(x=[], y=[], z=["x"]))
        world.asks("g/y")
        world.cancels("g")
        assert world.stopped == ["g/y", "g/x"]
        assert world.statuses == {
            "g": "running", "b": "pending", "c": "running",
            "g/x": "running", "g/y": "cancelled", "g/z": "not_started",
        }  # fmt: skip
        world.returns("g/x", stopped=True)
        assert world.statuses["g"] == "cancelled"
        assert world.statuses["b"] == "upstream_failed"
        assert world.running == {"c"}

    def test_a_group_that_has_not_grown_never_does(self) -> None:
        world = World(made(controls=["g"], needs={"g": []}))
        world.cancels("g")
        assert world.status("g") is Status.CANCELLED
        world.grows("g", children("x"))
        assert world.statuses == {"g": "cancelled"}

    @pytest.mark.parametrize("state", ["running", "waiting", "ready"])
    def test_a_cleanup_can_be_cancelled_once_it_has_begun_and_not_before(self, state: str) -> None:
        """D8: it is to be there when its time comes."""
        world = World(made(cleanups=["z"], needs={"a": [], "z": []}), slots=1)
        world.cancels("z")
        assert world.statuses == {"a": "running", "z": "pending"}
        world.returns("a")
        assert world.running == {"z"}
        if state != "running":
            world.asks("z")
        if state == "ready":
            world.pauses()
            world.answers("z")
        assert world.status("z") == state
        world.cancels("z")
        if state == "running":
            world.returns("z", stopped=True)
        assert world.status("z") is Status.CANCELLED
        assert world.stopped == ["z"]
        assert world.scheduler.status() is (RunStatus.PAUSED if not world.scheduler.finished else RunStatus.SUCCEEDED)
        assert world.scheduler.degraded, "what a cleanup leaves undone fails nothing"

    def test_what_a_cleanup_grew_can_be_cancelled(self) -> None:
        world = World(made(cleanups=["z"], needs={"a": [], "z": []}))
        world.returns("a")
        world.grows("z", children("x", "y"))
        world.cancels("z/x")
        world.returns("z/x", stopped=True)
        world.returns("z/y")
        assert world.status("z") is Status.FAILED
        assert world.scheduler.status() is RunStatus.FAILED

    def test_one_that_is_uninterruptible_goes_on_while_it_runs(self) -> None:
        world = World(graph({"a": {"uninterruptible": True}}, a=[]))
        world.cancels("a")
        assert world.stopped == []
        world.asks("a")
        world.cancels("a")
        assert world.status("a") is Status.CANCELLED, "it holds nothing while it waits"
        assert world.stopped == ["a"]

    def test_an_uninterruptible_one_that_was_refused_may_be_tried_again(self) -> None:
        world = World(graph({"a": {"uninterruptible": True, "retry": {"attempts": 2, "delay": 0}}}, a=[]))
        world.cancels("a")
        world.fails("a")
        world.passes(0)
        assert world.table.attempts(0) == 2

    def test_what_is_over_is_not_cancelled(self) -> None:
        world = World(graph(a=[], b=[]))
        world.returns("a")
        world.cancels("a")
        assert world.status("a") is Status.SUCCEEDED
        assert 0 not in world.table.errors

    @pytest.mark.parametrize("on_failure", ["continue", "fail_fast", "finish"])
    def test_it_ends_nothing_else_of_its_run(self, on_failure: str) -> None:
        """It did not fail: nobody's rule about failures is asked."""
        world = World(graph({"a": {"critical": True}}, a=[], b=[], c=["a"], d=["b"]), on_failure=on_failure)
        world.asks("a")
        world.cancels("a")
        assert world.statuses == {"a": "cancelled", "b": "running", "c": "upstream_failed", "d": "pending"}
        world.returns("b")
        world.returns("d")
        assert world.scheduler.status() is RunStatus.FAILED
        assert world.scheduler.halt_reason is None
        assert world.scheduler.first_cause == 0

    def test_one_that_may_fail_may_be_cancelled_too(self) -> None:
        world = World(graph({"a": {"allow_failure": True}}, a=[], b=[]))
        world.asks("a")
        world.cancels("a")
        world.returns("b")
        assert world.scheduler.status() is RunStatus.SUCCEEDED
        assert world.scheduler.degraded

    @pytest.mark.parametrize(
        ("join", "status"),
        [
            ("all_success", "upstream_failed"),
            ("none_failed", "upstream_failed"),
            ("all_done", "running"),
            ("one_failed", "running"),
            ("one_success", "upstream_failed"),
        ],
    )
    def test_what_becomes_of_what_needs_it(self, join: str, status: str) -> None:
        world = World(graph({"b": {"join": join}}, a=[], b=["a"]))
        world.asks("a")
        world.cancels("a")
        assert world.status("b") == status

    def test_its_on_error_does_not_run(self) -> None:
        """D8: that is for failures."""
        world = World(made(repaired=["a"], needs={"a": []}))
        world.asks("a")
        world.cancels("a")
        assert world.status("a") is Status.CANCELLED
        assert world.turns == []

    def test_its_on_error_can_be_cancelled_with_it(self) -> None:
        world = World(made(repaired=["a"], needs={"a": [], "b": ["a"]}))
        world.fails("a", ValueError("own"))
        world.grows("a", repair())
        world.cancels("a")
        world.returns("a/on_error", stopped=True)
        assert world.statuses == {"a": "failed", "a/on_error": "cancelled", "b": "upstream_failed"}
        assert str(world.table.errors[0]) == "own"

    def test_a_group_fails_with_a_child_that_is_not_wanted(self) -> None:
        world = World(graph(g=[], b=["g"]))
        world.grows("g", children("x", "y"))
        world.asks("g/x")
        world.cancels("g/x", by="me")
        assert world.running == {"g/y"}, "its sister goes on"
        world.returns("g/y")
        assert world.statuses == {"g": "failed", "b": "upstream_failed", "g/x": "cancelled", "g/y": "succeeded"}
        error = world.table.errors[0]
        assert isinstance(error, ChildFailed)
        assert "task 'g/x' was cancelled by me" in str(error)

    def test_a_group_goes_on_without_a_child_that_may_fail(self) -> None:
        world = World(graph(g=[]))
        world.grows("g", children("x", "y", allow_failure=True))
        world.asks("g/x")
        world.cancels("g/x")
        world.returns("g/y")
        assert (Turn.JOIN, "g") in world.turns
        world.returns("g", "joined")
        assert world.scheduler.status() is RunStatus.SUCCEEDED
        assert world.scheduler.degraded

    def test_a_group_that_may_fail_fails_for_itself(self) -> None:
        world = World(graph({"g": {"allow_failure": True}}, g=[], b=["g"]))
        world.grows("g", children("x"))
        world.asks("g/x")
        world.cancels("g/x")
        assert world.statuses == {"g": "failed", "g/x": "cancelled", "b": "running"}
        world.returns("b")
        assert world.scheduler.status() is RunStatus.SUCCEEDED

    def test_in_a_group_that_counts_it_is_one_that_failed(self) -> None:
        """B14."""
        world = World(graph({"g": {"min_success": 2}}, g=[], b=["g"]))
        world.grows("g", children("x", "y", "z"))
        world.asks("g/x")
        world.cancels("g/x")
        assert world.running == {"g/y", "g/z"}
        world.returns("g/y")
        world.returns("g/z")
        world.returns("g", "enough")
        assert world.statuses["g"] == "succeeded"
        world = World(graph({"g": {"max_failures": 0}}, g=[]))
        world.grows("g", children("x", "y"))
        world.cancels("g/x")
        world.returns("g/x", stopped=True)
        assert world.stopped == ["g/x", "g/y"], "the group cannot come to what it needs"
        world.returns("g/y", stopped=True)
        assert world.status("g") is Status.FAILED

    def test_in_a_group_that_counts_one_that_may_fail_counts_neither_way(self) -> None:
        world = World(graph({"g": {"max_failures": 0}}, g=[]))
        world.grows("g", children("x", "y", allow_failure=True))
        world.asks("g/x")
        world.cancels("g/x")
        assert world.running == {"g/y"}
        world.returns("g/y")
        world.returns("g")
        assert world.status("g") is Status.SUCCEEDED

    def test_a_run_that_is_cancelled_afterwards_is_cancelled(self) -> None:
        world = World(graph(a=[], b=[]))
        world.cancels("a")
        world.halts()
        world.returns("a", stopped=True)
        world.returns("b", stopped=True)
        assert world.scheduler.status() is RunStatus.CANCELLED


class TestRejected:
    def test_nothing_starts_any_more_and_what_runs_may_end(self) -> None:
        """A18: reject ends the run."""
        world = World(graph(a=[], b=[], c=["a"], d=["b"], e=[]), slots=3)
        world.asks("e")
        world.fails("a", Rejected("a was rejected: no"))
        assert world.statuses == {
            "a": "failed", "b": "running", "c": "not_started", "d": "not_started", "e": "cancelled",
        }  # fmt: skip
        assert world.stopped == ["e"]
        world.returns("b")
        assert world.started == ["a", "b", "e"]
        assert world.scheduler.status() is RunStatus.REJECTED
        assert world.scheduler.first_cause == 0

    def test_where_failures_cancel_the_rest_so_does_a_no(self) -> None:
        world = World(graph(a=[], b=[], c=["b"]), on_failure="fail_fast")
        world.fails("a", Rejected("no"))
        assert world.stopped == ["b"]
        world.returns("b", stopped=True)
        assert world.scheduler.status() is RunStatus.REJECTED

    @pytest.mark.parametrize("options", [{"allow_failure": True}, {"critical": True}, {"retries": 3}])
    def test_whatever_is_said_of_its_failures(self, options: dict[str, Any]) -> None:
        world = World(graph({"a": options}, a=[], b=["a"], c=[]))
        world.fails("a", Rejected("no"))
        assert world.statuses == {"a": "failed", "b": "not_started", "c": "running"}
        world.returns("c")
        assert world.scheduler.status() is RunStatus.REJECTED

    def test_its_on_error_does_not_run(self) -> None:
        world = World(made(repaired=["a"], needs={"a": [], "b": ["a"]}))
        world.fails("a", Rejected("no"))
        assert world.turns == []
        assert world.statuses == {"a": "failed", "b": "not_started"}
        assert world.scheduler.status() is RunStatus.REJECTED

    def test_cleanups_run(self) -> None:
        """D8."""
        world = World(made(cleanups=["z"], needs={"a": [], "b": [], "z": []}))
        world.fails("a", Rejected("no"))
        world.returns("b")
        assert world.running == {"z"}
        world.returns("z")
        assert world.scheduler.status() is RunStatus.REJECTED

    @pytest.mark.parametrize("options", [{}, {"allow_failure": True}, {"min_success": 1}, {"max_failures": 5}])
    def test_in_a_group_it_ends_the_run_whatever_the_group_says(self, options: dict[str, Any]) -> None:
        world = World(graph({"g": options}, g=[], b=["g"], c=[]))
        world.grows("g", graph(x=[], y=[], z=["x"]))
        world.fails("g/x", Rejected("x was rejected"))
        assert world.running == {"c", "g/y"}
        world.returns("g/y")
        world.returns("c")
        assert world.statuses["g"] == "failed"
        assert world.statuses["b"] == "not_started"
        assert world.scheduler.status() is RunStatus.REJECTED
        assert world.table.key(world.scheduler.first_cause) == "g/x"

    def test_the_on_error_of_its_group_does_not_run(self) -> None:
        world = World(made(controls=["g"], repaired=["g"], needs={"g": [], "b": ["g"]}))
        world.grows("g", children("x", "y"))
        world.fails("g/x", Rejected("x was rejected"))
        world.returns("g/y")
        assert (Turn.REPAIR, "g") not in world.turns
        assert world.statuses["g"] == "failed"
        assert world.scheduler.status() is RunStatus.REJECTED

    def test_in_an_on_error_it_ends_the_run_and_what_failed_is_the_cause(self) -> None:
        world = World(made(repaired=["a"], needs={"a": [], "b": ["a"], "c": []}))
        world.fails("a", ValueError("own"))
        world.grows("a", repair())
        world.asks("a/on_error")
        world.answers("a/on_error", {"action": "reject"})
        world.fails("a/on_error", Rejected("no"))
        assert world.statuses == {"a": "failed", "a/on_error": "failed", "b": "not_started", "c": "running"}
        assert str(world.table.errors[0]) == "own"
        world.returns("c")
        assert world.scheduler.status() is RunStatus.REJECTED
        assert world.table.key(world.scheduler.first_cause) == "a"

    def test_in_a_run_that_failed_before_the_first_cause_stays(self) -> None:
        world = World(graph(a=[], b=[]))
        world.fails("b")
        world.fails("a", Rejected("no"))
        assert world.scheduler.status() is RunStatus.REJECTED
        assert world.scheduler.first_cause == 1

    def test_a_run_that_the_caller_cancelled_is_cancelled(self) -> None:
        world = World(graph(a=[], b=[]))
        world.halts("finish")
        world.fails("a", Rejected("no"))
        world.returns("b")
        assert world.scheduler.status() is RunStatus.CANCELLED


class TestKept:
    def test_a_when_is_worked_out_also_where_all_that_the_task_needs_is_kept(self) -> None:
        """W3: as a retry has it, in the run itself and in what grew."""
        batch = made(conditional=["b"], needs={"a": [], "b": ["a"]})
        batch.kept = {0: Kept(1, 0.0, 0.0, 1)}
        world = World(batch)
        assert world.turns == [(Turn.DECIDE, "b")]
        world.decides("b", False)
        assert world.statuses == {"a": "succeeded", "b": "skipped"}
        group = World(made(controls=["g"], needs={"g": []}))
        group.grows("g", batch)
        assert group.turns[-1] == (Turn.DECIDE, "g/b")
        group.decides("g/b", True)
        assert group.running == {"g/b"}


class TestDeclined:
    @pytest.mark.parametrize("on_failure", ["continue", "finish", "fail_fast"])
    def test_what_waits_for_the_gate_does_not_run_and_all_else_goes_on(self, on_failure: str) -> None:
        """A18: whatever failures do to the run."""
        world = World(graph(a=[], b=["a"], c=["b"], d=[], e=["d"]), on_failure=on_failure)
        world.asks("a")
        world.answers("a")
        world.fails("a", Declined("a was declined by cy"))
        assert world.statuses == {
            "a": "failed", "b": "upstream_failed", "c": "upstream_failed", "d": "running", "e": "pending",
        }  # fmt: skip
        assert world.stopped == []
        world.returns("d")
        world.returns("e")
        assert world.scheduler.status() is RunStatus.REJECTED
        assert world.scheduler.first_cause == 0
        assert world.scheduler.halt_reason is None

    def test_joins_see_it_as_a_failure(self) -> None:
        joins = {"b": {"join": "all_done"}, "c": {"join": "one_failed"}}
        world = World(graph(joins, a=[], b=["a"], c=["a"]))
        world.fails("a", Declined("no"))
        assert world.running == {"b", "c"}

    @pytest.mark.parametrize("options", [{"critical": True}, {"retries": 3}])
    def test_whatever_else_is_said_of_its_failures(self, options: dict[str, Any]) -> None:
        world = World(graph({"a": options}, a=[], b=["a"], c=[]))
        world.fails("a", Declined("no"))
        assert world.statuses == {"a": "failed", "b": "upstream_failed", "c": "running"}
        world.returns("c")
        assert world.scheduler.status() is RunStatus.REJECTED

    def test_one_that_may_fail_is_an_allowed_failure(self) -> None:
        world = World(graph({"a": {"allow_failure": True}}, a=[], b=["a"]))
        world.fails("a", Declined("no"))
        world.returns("b")
        assert world.scheduler.status() is RunStatus.SUCCEEDED
        assert world.scheduler.degraded

    def test_its_on_error_does_not_run(self) -> None:
        world = World(made(repaired=["a"], needs={"a": [], "b": ["a"]}))
        world.fails("a", Declined("no"))
        assert world.turns == []
        assert world.scheduler.status() is RunStatus.REJECTED

    @pytest.mark.parametrize("first", ["a", "b"])
    def test_where_something_else_fails_that_counts(self, first: str) -> None:
        """A18: before or after; its rules hold, and it is the first cause."""
        world = World(graph(a=[], b=[], c=[], d=["c"]), on_failure="finish")
        for key in (first, "b" if first == "a" else "a"):
            world.fails(key, Declined("no") if key == "a" else ValueError("boom"))
        assert world.statuses["d"] == "not_started"
        world.returns("c")
        assert world.scheduler.status() is RunStatus.FAILED
        assert world.table.key(world.scheduler.first_cause) == "b"

    @pytest.mark.parametrize("how", ["cancel", "deadline", "unwanted", "rejected"])
    def test_where_the_run_ends_otherwise_that_counts(self, how: str) -> None:
        world = World(graph(a=[], b=[], c=["b"]), deadline=9.0)
        world.fails("a", Declined("no"))
        ends = {"cancel": RunStatus.CANCELLED, "rejected": RunStatus.REJECTED}
        if how == "cancel":
            world.halts()
        elif how == "deadline":
            world.passes(9)
        elif how == "unwanted":
            world.cancels("b")
        else:
            world.fails("b", Rejected("no, and that is all"))
        if how != "rejected":
            world.returns("b", stopped=True)
        assert world.scheduler.status() is ends.get(how, RunStatus.FAILED)
        cause = {"cancel": 0, "deadline": 0}.get(how, 1)
        assert world.scheduler.first_cause == cause

    @pytest.mark.parametrize("mode", [None, "fail_fast", "finish", "continue"])
    def test_its_group_fails_with_it_and_gates_what_waits_for_that(self, mode: str | None) -> None:
        """A18: the siblings go on, and so does what is beside the groups around it."""
        options = {} if mode is None else {"on_failure": mode}
        world = World(graph({"g": options, "g/h": options}, g=[], b=["g"], c=[], d=["c"]), on_failure="fail_fast")
        world.grows("g", graph({"h": options}, h=[], i=["h"], j=[]))
        world.grows("g/h", graph(x=[], y=["x"], z=[]))
        world.fails("g/h/x", Declined("x was declined"))
        assert world.statuses["g/h/y"] == "upstream_failed"
        assert world.running == {"g/h/z", "g/j", "c"}
        world.returns("g/h/z")
        assert (world.statuses["g/h"], world.statuses["g/i"]) == ("failed", "upstream_failed")
        world.returns("g/j")
        assert (world.statuses["g"], world.statuses["b"]) == ("failed", "upstream_failed")
        world.returns("c")
        world.returns("d")
        assert world.stopped == []
        assert world.scheduler.status() is RunStatus.REJECTED
        assert world.table.key(world.scheduler.first_cause) == "g/h/x"
        error = world.table.errors[world.task("g")]
        assert isinstance(error, ChildFailed)
        assert isinstance(error.root, Declined)

    def test_a_group_in_which_something_fails_too_fails_with_that(self) -> None:
        world = World(graph(g=[], b=[]), on_failure="fail_fast")
        world.grows("g", graph(x=[], y=[]))
        world.fails("g/x", Declined("no"))
        world.fails("g/y")
        assert world.stopped == ["b"]
        world.returns("b", stopped=True)
        assert world.scheduler.status() is RunStatus.FAILED
        assert world.table.key(world.scheduler.first_cause) == "g/y"
        assert "g/y" in str(world.table.errors[world.task("g")])

    def test_a_group_that_may_fail_is_an_allowed_failure(self) -> None:
        world = World(graph({"g": {"allow_failure": True}}, g=[], b=["g"]))
        world.grows("g", graph(x=[]))
        world.fails("g/x", Declined("no"))
        world.returns("b")
        assert world.scheduler.status() is RunStatus.SUCCEEDED
        assert world.scheduler.degraded

    def test_the_on_error_of_its_group_does_not_run(self) -> None:
        """A18 D8: a no is nothing to make good; what fails beside it is."""
        world = World(made(controls=["g"], repaired=["g"], needs={"g": [], "b": ["g"]}))
        world.grows("g", children("x", "y"))
        world.fails("g/x", Declined("no"))
        world.returns("g/y")
        assert (Turn.REPAIR, "g") not in world.turns
        assert world.statuses == {"g": "failed", "b": "upstream_failed", "g/x": "failed", "g/y": "succeeded"}
        assert world.scheduler.status() is RunStatus.REJECTED
        assert world.table.key(world.scheduler.first_cause) == "g/x"

    def test_an_on_error_that_is_declined_leaves_the_failure(self) -> None:
        world = World(made(repaired=["a"], needs={"a": [], "b": []}))
        world.fails("a", ValueError("own"))
        world.grows("a", repair())
        world.fails("a/on_error", Declined("no"))
        world.returns("b")
        assert world.scheduler.status() is RunStatus.FAILED
        assert world.scheduler.first_cause == 0

    def test_a_group_that_counts_has_one_success_less(self) -> None:
        """X12: it may do without; where it cannot, a person said no to what was required."""
        for keys, status in (("xy", RunStatus.SUCCEEDED), ("x", RunStatus.REJECTED)):
            world = World(graph({"g": {"min_success": 1}}, g=[]))
            world.grows("g", children(*keys))
            world.fails("g/x", Declined("no"))
            if keys == "xy":
                world.returns("g/y")
                world.returns("g")
            assert world.scheduler.status() is status

    def test_a_budget_that_is_spent_is_a_failure(self) -> None:
        """X6."""
        world = World(graph({"g": {"budget": {"usd": 1}}}, g=[]), slots=1)
        world.grows("g", children("x", "y"))
        world.scheduler.spent(world.task("g/x"), {"usd": 2}, 0.0)
        world.fails("g/x", Declined("no"))
        assert world.statuses == {"g": "failed", "g/x": "failed", "g/y": "not_started"}
        assert world.scheduler.status() is RunStatus.FAILED

    def test_cleanups_run(self) -> None:
        """D8."""
        world = World(made(cleanups=["z"], needs={"a": [], "z": []}))
        world.fails("a", Declined("no"))
        assert world.running == {"z"}
        world.returns("z")
        assert world.scheduler.status() is RunStatus.REJECTED

    def test_a_row_of_a_stream_that_is_used_again_is_another_task(self) -> None:
        scheduler = Scheduler(Rules(on_failure=OnFailure.FAIL_FAST), 0.0)
        scheduler.added(made(controls=["g"], needs={"g": []}), 0.0)
        scheduler.grew(0, children("x"), 0.0, True)
        for error, halted in ((Declined("no"), None), (ValueError("boom"), "failure")):
            task = scheduler.fed(0, 0.0)
            assert scheduler.take(0.0) == task
            scheduler.raised(task, 1, error, 0.0)
            assert scheduler.halt_reason == halted
            scheduler.forgot(task)

    def test_it_is_itself_again_after_a_crash(self) -> None:
        """W3: from the store."""
        found = error_of(error_data(Declined("gate was declined by cy: not now")))
        assert type(found) is Declined
        assert str(found) == "gate was declined by cy: not now"


ASKED = {"a": {"on_interrupt": "ask"}}
FAILS = {"a": {"on_interrupt": "fail"}}


def interrupted(state: str, how: str, policies: Mapping[str, Any], **options: Any) -> World:
    """A task that was `running`, `waiting` or `ready` with its answer when its process was gone, one way or the other."""
    world = World(graph(policies, a=[], b=["a"], c=[]), slots=1, **options)
    if state != "running":
        world.asks("a")
        assert world.running == {"c"}
    if state == "ready":
        world.answers("a", "yes")
    if how == "dies":
        world.dies("a")
    elif how == "leaves":
        world.leaves()
        for key in sorted(world.running):
            world.returns(key, stopped=True)
        world.recovers()
    else:
        world.recovers()
    return world


CUT = [(state, how) for state in ("running", "waiting", "ready") for how in ("recovers", "leaves")] + [
    ("running", "dies")
]
"""Where a task stands when its process goes, and how that goes."""


class TestInterruptions:
    def test_the_form_of_the_answer(self) -> None:
        world = interrupted("running", "dies", ASKED)
        found = world.scheduler.open_question(0)
        assert found is not None
        assert (found.question.kind, found.question.form) == (INTERRUPT, OF_INTERRUPT)
        assert found.question.prompt.startswith(
            "task 'a' was cut short: its process died: killed by SIGKILL, and nobody knows"
        )

    @pytest.mark.parametrize(("state", "how"), CUT)
    def test_what_must_not_run_twice_unseen_waits_for_a_person(self, state: str, how: str) -> None:
        """W5."""
        world = interrupted(state, how, ASKED)
        if state == "ready":  # that is found out when it is its turn
            world.returns("c")
        assert world.status("a") is Status.WAITING
        assert world.scheduler.open_question(0) is not None
        assert world.started.count("a") == 1
        assert [STATUSES[each.state] for each in world.table.history[0]] == [Status.CANCELLED]
        world.answers("a", RERUN)
        world.returns("c")
        assert world.running == {"a"}
        assert world.table.attempts(0) == 2

    @pytest.mark.parametrize(("state", "how"), CUT)
    def test_it_is_taken_as_succeeded_with_the_value_that_a_person_gives(self, state: str, how: str) -> None:
        world = interrupted(state, how, ASKED)
        world.returns("c")
        world.answers("a", SUCCEED)
        assert world.statuses == {"a": "succeeded", "b": "running", "c": "succeeded"}
        assert world.table.values[0] == 7
        assert world.started.count("a") == 1

    @pytest.mark.parametrize(("state", "how"), CUT)
    def test_it_fails_where_a_person_says_so(self, state: str, how: str) -> None:
        world = interrupted(state, how, ASKED)
        world.returns("c")
        world.answers("a", FAIL, by="me")
        assert world.statuses == {"a": "failed", "b": "upstream_failed", "c": "succeeded"}
        assert isinstance(world.table.errors[0], TaskInterrupted)
        assert str(world.table.errors[0]) == "task 'a' was interrupted, and let fail by me"
        assert world.scheduler.status() is RunStatus.FAILED

    @pytest.mark.parametrize(("state", "how"), CUT)
    def test_with_fail_it_fails_and_nobody_is_asked(self, state: str, how: str) -> None:
        """W5: at most once."""
        world = interrupted(state, how, FAILS)
        world.returns("c")
        assert world.statuses == {"a": "failed", "b": "upstream_failed", "c": "succeeded"}
        assert world.started.count("a") == 1
        assert "is not run again (on_interrupt: fail)" in str(world.table.errors[0])
        assert world.scheduler.open_question(0) is None

    @pytest.mark.parametrize(("state", "how"), CUT)
    def test_all_others_run_again_or_ask_again(self, state: str, how: str) -> None:
        world = interrupted(state, how, {})
        world.returns("c")
        if state == "waiting":
            assert world.status("a") is Status.WAITING, "whoever answers is heard, with nobody's code there"
            world.answers("a", "yes")
        assert world.running == {"a"}
        assert world.table.attempts(0) == 2
        assert world.scheduler.admission.answered == set()

    def test_a_failure_that_a_person_decided_is_repaired(self) -> None:
        """D8."""
        world = World(made({"a": {"on_interrupt": "ask"}}, repaired=["a"], needs={"a": []}))
        world.dies("a")
        world.answers("a", FAIL)
        assert world.turns == [(Turn.REPAIR, "a")]
        world.grows("a", repair())
        world.returns("a/on_error", 1)
        world.returns("a", 1, attempt=OF_REPAIR)
        assert world.status("a") is Status.SUCCEEDED

    def test_a_failure_at_the_start_of_another_process_is_repaired(self) -> None:
        world = World(made({"a": {"on_interrupt": "fail"}}, repaired=["a"], needs={"a": []}))
        world.asks("a")
        world.recovers()
        assert (Turn.REPAIR, "a") in world.scheduler.turns or (Turn.REPAIR, "a") in world.turns
        assert world.status("a") is Status.RUNNING

    def test_who_waits_for_a_person_already_is_asked_about_once(self) -> None:
        world = interrupted("running", "dies", ASKED)
        for _ in range(3):
            world.recovers()
        assert became(world, "a") == [None]
        assert world.table.attempts(0) == 1
        world.answers("a", RERUN)
        world.returns("c")
        world.recovers()
        assert became(world, "a") == ["answered", None]

    def test_a_task_whose_code_is_gone_counts_one_interruption_however_often_processes_come_and_go(self) -> None:
        world = interrupted("waiting", "recovers", {})
        for _ in range(3):
            world.recovers()
        assert world.inputs("a")[0].what is None
        assert [STATUSES[each.state] for each in world.table.history[0]] == [Status.CANCELLED]
        world.returns("c")
        world.answers("a")
        assert world.table.attempts(0) == 2

    def test_the_question_that_it_asked_itself_is_dropped(self) -> None:
        world = interrupted("waiting", "recovers", ASKED)
        assert became(world, "a") == ["dropped", None]
        assert world.inputs("a")[1].question.kind == INTERRUPT
        world.answers("a", "an answer to what it asked itself", number=0)
        assert world.status("a") is Status.WAITING

    def test_the_time_for_its_own_question_is_no_time_for_this_one(self) -> None:
        world = World(graph(ASKED, a=[]))
        world.asks("a", timeout=10, default=1)
        world.recovers()
        assert world.scheduler.next_wake() is None
        world.passes(100)
        assert world.status("a") is Status.WAITING

    def test_what_was_withdrawn_and_waits_for_its_slot_is_asked_about_too(self) -> None:
        world = World(graph(ASKED, a=[], b=[]), slots=1)
        world.asks("a")
        world.withdraws("a")
        world.recovers()
        world.returns("b")
        assert world.scheduler.open_question(0) is not None
        assert became(world, "a") == ["withdrawn", None]

    def test_in_a_run_that_is_ending_nobody_is_asked(self) -> None:
        world = World(graph(ASKED, a=[], b=[]), on_failure="finish")
        world.fails("b")
        world.dies("a")
        assert world.status("a") is Status.CANCELLED
        assert world.stopped == []

    def test_a_cancelled_task_that_left_asks_nobody(self) -> None:
        world = World(graph(ASKED, a=[]))
        world.leaves()
        world.cancels("a")
        world.returns("a", stopped=True)
        assert world.status("a") is Status.CANCELLED
        assert world.scheduler.questions is None

    def test_one_that_is_asked_about_can_be_cancelled(self) -> None:
        world = interrupted("running", "dies", ASKED)
        world.cancels("a")
        assert world.statuses == {"a": "cancelled", "b": "upstream_failed", "c": "running"}
        assert became(world, "a") == ["dropped"]

    def test_one_that_had_its_answer_and_lost_its_code_can_be_cancelled(self) -> None:
        world = interrupted("ready", "recovers", ASKED)
        assert world.status("a") is Status.READY
        world.cancels("a")
        assert world.status("a") is Status.CANCELLED
        assert world.stopped == [], "no code of it is there"
        world.returns("c")
        assert world.scheduler.finished

    def test_its_deadline_passes_while_a_person_thinks(self) -> None:
        world = World(graph({"a": {"on_interrupt": "ask", "deadline": 30}}, a=[]))
        world.dies("a")
        world.passes(30)
        assert world.status("a") is Status.TIMED_OUT

    def test_code_that_had_not_begun_may_start_again(self) -> None:
        """W5 is for code that began."""
        for policies in (ASKED, FAILS):
            world = World(graph(policies, a=[]))
            world.leaves()
            world.scheduler.returned(0, 1, None, world.now, 2)
            world.recovers()
            assert world.running == {"a"}
            assert world.scheduler.questions is None

    def test_what_dies_again_and_again_is_given_up(self) -> None:
        """W4: the crash budget, also where a person would have it run again."""
        for policies in ({}, ASKED):
            world = World(graph(policies, a=[]))
            budget = world.scheduler.rules.crash_budget
            for _ in range(budget):
                world.dies("a")
                if policies:
                    world.answers("a", RERUN)
                assert world.running == {"a"}
            world.dies("a")
            assert world.status("a") is Status.FAILED
            assert f"was running {budget + 1} times when its process died" in str(world.table.errors[0])

    def test_who_only_waited_when_its_process_died_has_crashed_nothing(self) -> None:
        world = World(graph(a=[]))
        for _ in range(20):
            world.asks("a")
            world.recovers()
            world.answers("a")
            assert world.running == {"a"}
        world.returns("a")
        assert world.scheduler.status() is RunStatus.SUCCEEDED

    def test_interruptions_are_no_tries(self) -> None:
        """B15."""
        world = World(graph({"a": {"retry": {"attempts": 2, "delay": 0}}}, a=[]))
        world.asks("a")
        world.recovers()
        world.answers("a")
        world.fails("a")
        world.passes(0)
        assert world.running == {"a"}
        assert world.table.attempts(0) == 3
        world.fails("a")
        assert world.status("a") is Status.FAILED

    def test_a_rerun_stands_in_line(self) -> None:
        world = interrupted("running", "dies", ASKED)
        world.answers("a", RERUN)
        assert world.statuses == {"a": "ready", "b": "pending", "c": "running"}
        world.pauses()
        world.returns("c")
        assert world.running == set()
        world.unpauses()
        assert world.running == {"a"}


class TestPausedRuns:
    def test_running_tasks_end_answers_come_and_nothing_starts(self) -> None:
        """F71."""
        world = World(graph(a=[], b=[], c=["b"], d=[]), slots=3)
        world.asks("a")
        world.pauses()
        assert world.scheduler.status() is RunStatus.PAUSED
        assert world.running == {"b", "d"}
        assert world.stopped == []
        world.answers("a", "yes")
        world.returns("b", 1)
        assert world.statuses == {"a": "ready", "b": "succeeded", "c": "ready", "d": "running"}
        assert world.inputs("a")[0].value == "yes"
        world.asks("d", timeout=5, default=1)
        world.passes(5)
        assert world.status("d") is Status.READY
        assert world.scheduler.status() is RunStatus.PAUSED
        world.unpauses()
        assert world.running == {"a", "c", "d"}
        assert world.table.attempts(0) == 1

    def test_retries_wait_too(self) -> None:
        world = World(graph({"a": {"retry": {"attempts": 2, "delay": 1}}}, a=[]))
        world.pauses()
        world.fails("a")
        world.passes(1)
        assert world.status("a") is Status.READY
        world.unpauses()
        assert world.running == {"a"}

    def test_tasks_and_the_run_can_be_cancelled(self) -> None:
        world = World(graph(a=[], b=[]), slots=1)
        world.asks("a")
        world.pauses()
        world.cancels("a")
        assert world.status("a") is Status.CANCELLED
        world.halts()
        world.returns("b", stopped=True)
        assert world.scheduler.status() is RunStatus.CANCELLED

    def test_cleanups_start_once_it_goes_on(self) -> None:
        world = World(made(cleanups=["z"], needs={"a": [], "z": []}))
        world.pauses()
        world.returns("a")
        assert world.statuses == {"a": "succeeded", "z": "ready"}
        world.unpauses()
        assert world.running == {"z"}

    def test_another_process_goes_on_with_it(self) -> None:
        world = World(graph(a=[], b=[]), slots=1)
        world.asks("a")
        world.pauses()
        world.returns("b")
        world.leaves()
        world.answers("a")
        assert world.running == set()
        world.recovers()
        assert not world.scheduler.is_paused
        assert world.running == {"a"}

    def test_a_pause_says_nothing_of_waiting(self) -> None:
        world = World(graph(a=[]))
        world.asks("a")
        world.pauses()
        assert world.scheduler.status() is RunStatus.PAUSED
        world.unpauses()
        assert world.scheduler.status() is RunStatus.WAITING


class TestOnlyWaiting:
    def test_no_question_no_waiting(self) -> None:
        world = World(graph(a=[]))
        assert not world.scheduler.only_waits
        assert not world.scheduler.see_waiting()
        world.asks("a")
        world.answers("a")
        world.returns("a")
        assert not world.scheduler.only_waits

    def test_it_is_said_once_each_time(self) -> None:
        world = World(graph(a=[], b=["a"]))
        seen = [world.scheduler.see_waiting()]
        for key in "ab":
            world.asks(key)
            seen += [world.scheduler.see_waiting(), world.scheduler.see_waiting()]
            world.answers(key)
            seen.append(world.scheduler.see_waiting())
            world.returns(key)
        assert seen == [False, True, False, False, True, False, False]
        assert [move.at for move in world.table.moves or [] if move.task < 0] == [-1.0, -1.0]

    def test_two_in_a_row_without_a_look_between_are_one(self) -> None:
        """It is asked between any two facts."""
        world = World(graph(a=[]))
        world.asks("a")
        assert world.scheduler.see_waiting()
        world.answers("a")
        assert not world.scheduler.see_waiting()
        world.asks("a")
        assert world.scheduler.see_waiting()

    @pytest.mark.parametrize("other", ["running", "ready", "retrying"])
    def test_what_else_goes_on_by_itself(self, other: str) -> None:
        policies = {"b": {"retry": {"attempts": 2, "delay": 60}, "pool": "one"}, "c": {"pool": "one"}}
        world = World(graph(policies, a=[], b=[], c=[]), pools={"one": 1}, slots=3)
        world.asks("a")
        world.returns("c") if other == "retrying" else None
        if other == "retrying":
            world.fails("b")
        if other == "ready":
            world.pauses()
            world.fails("b")
            world.passes(60)
            world.returns("c") if "c" in world.running else None
            assert world.running == set()
        assert other in world.statuses.values()
        assert not world.scheduler.only_waits

    def test_what_waits_for_its_needs_does_not_go_on_by_itself(self) -> None:
        world = World(graph(a=[], b=["a"], c=[]))
        world.asks("a")
        world.returns("c")
        assert world.scheduler.status() is RunStatus.WAITING

    def test_who_was_answered_goes_on(self) -> None:
        world = World(graph(a=[], b=[]), slots=1)
        world.asks("a")
        world.asks("b")
        assert world.scheduler.only_waits
        world.answers("a")
        assert not world.scheduler.only_waits
        world.returns("a")
        assert world.scheduler.only_waits

    def test_a_group_that_waits_for_its_children_does_not_go_on_by_itself(self) -> None:
        world = World(made(controls=["g"], needs={"g": [], "h": ["g"]}))
        assert not world.scheduler.only_waits, "it has a turn to grow"
        world.grows("g", graph(x=[], y=["x"]))
        world.grows("g/x", children("deep"))
        world.asks("g/x/deep")
        assert world.scheduler.only_waits
        assert world.scheduler.status() is RunStatus.WAITING

    def test_a_turn_that_is_to_be_taken_goes_on_by_itself(self) -> None:
        world = World(made(controls=["g"], conditional=["w"], needs={"a": [], "g": [], "w": []}))
        world.asks("a")
        world.decides("w", False)
        assert not world.scheduler.only_waits, "g has not grown yet"
        world.grows("g", children("x"))
        world.returns("g/x")
        assert (Turn.JOIN, "g") in world.turns
        assert not world.scheduler.only_waits, "g has not joined yet"
        world.returns("g")
        assert world.scheduler.only_waits

    def test_a_when_that_is_to_be_worked_out_goes_on_by_itself(self) -> None:
        world = World(made(conditional=["w"], needs={"a": [], "w": []}))
        world.asks("a")
        assert not world.scheduler.only_waits
        world.decides("w", False)
        assert world.scheduler.only_waits

    def test_an_on_error_that_is_to_come_goes_on_by_itself(self) -> None:
        world = World(made(repaired=["b"], needs={"a": [], "b": []}))
        world.asks("a")
        world.fails("b")
        assert not world.scheduler.only_waits
        world.grows("b", repair())
        assert not world.scheduler.only_waits
        world.asks("b/on_error")
        assert world.scheduler.only_waits

    def test_what_was_given_up_is_nothing_that_goes_on(self) -> None:
        world = World(graph({"b": {"timeout": 5}}, a=[], b=[]))
        world.begins("b")
        world.asks("a")
        world.passes(7)
        assert not world.scheduler.only_waits
        world.abandons("b")
        assert world.scheduler.only_waits

    def test_what_waits_for_the_slot_of_one_that_was_given_up_is_ready(self) -> None:
        world = World(graph({"b": {"timeout": 5}}, a=[], b=[], c=["b"]), slots=2, on_failure="continue")
        world.begins("b")
        world.asks("a")
        world.passes(7)
        world.abandons("b")
        assert world.statuses == {"a": "waiting", "b": "timed_out", "c": "upstream_failed"}
        assert world.scheduler.status() is RunStatus.WAITING

    def test_what_was_interrupted_and_only_a_person_can_say(self) -> None:
        world = World(graph(ASKED, a=[], b=["a"]))
        world.dies("a")
        assert world.scheduler.status() is RunStatus.WAITING
        assert world.scheduler.see_waiting()


class TestQuestions:
    def test_people_know_a_question_by_its_address(self) -> None:
        questions = Questions()
        first = questions.ask(3, Question("a/more", "?", {}), 1.0)
        assert questions.at("a/more") is first
        assert questions.at("a") is None
        questions.close(3, "answered", 2.0, 5, "me")
        assert questions.at("a/more") is None
        second = questions.ask(3, Question("a/more", "again?", {}), 3.0)
        assert questions.latest("a/more") is second
        assert questions.latest("b") is None
        assert (first.number, second.number) == (0, 1)

    def test_an_address_that_another_task_took_is_its_own(self) -> None:
        questions = Questions()
        questions.ask(1, Question("same", "?", {}), 0.0)
        second = questions.ask(2, Question("same", "?", {}), 0.0)
        questions.close(1, "dropped", 1.0)
        assert questions.at("same") is second

    def test_an_answer_on_record_is_for_the_same_question_in_the_same_words(self) -> None:
        """X3: whatever code runs again is given it, each one once."""
        questions = Questions()
        asked = Question("a", "How many?", {"type": "integer"})
        for value in (1, 2):
            questions.ask(0, asked, 0.0)
            questions.close(0, "answered", 0.0, value)
        questions.ask(0, asked, 0.0)
        questions.close(0, "withdrawn", 0.0)
        questions.ask(0, asked, 0.0)
        questions.close(0, "default", 0.0, 4)
        used: set[int] = set()
        found = []
        while (each := questions.recorded(0, asked, used)) is not None:
            used.add(each.number)
            found.append(each.value)
        assert found == [1, 2, 4]
        for other in (
            Question("a/key", "How many?", {"type": "integer"}),
            Question("a", "How many then?", {"type": "integer"}),
            Question("a", "How many?", {"type": "number"}),
            Question("a", "How many?", {"type": "integer"}, kind=INTERRUPT),
        ):
            assert questions.recorded(0, other, set()) is None
        same = Question("a", "How many?", {"type": "integer"}, (7,), 5.0, ("me",))
        assert questions.recorded(0, same, set()) is not None, "its time and who may answer are no words of it"
        assert questions.recorded(1, asked, set()) is None
