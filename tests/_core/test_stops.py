"""Attempts that were told to stop share their timers by the moment (F43, C9)."""

from __future__ import annotations

from plait._core.commands import Stop
from plait._core.stops import Stops
from plait._core.timers import RUN, Due, Timers


def stops() -> tuple[Stops, Timers]:
    timers = Timers()
    return Stops(timers), timers


def test_those_stopped_at_one_moment_share_one_timer() -> None:
    these, timers = stops()
    for task in range(1000):
        these.add(task, Stop.CANCEL, 5.0)
    assert len(timers) == 1
    kind, number = timers.pop_due(5.0) or (None, RUN)
    assert kind == Due.FORCE
    assert number < RUN  # no task, and not the run
    assert these.tasks(number) == list(range(1000))


def test_the_timer_goes_with_the_last_of_them_and_not_before() -> None:
    these, timers = stops()
    these.add(1, Stop.TIMEOUT, 5.0)
    these.add(2, Stop.TIMEOUT, 5.0)
    assert these.end(1) == Stop.TIMEOUT
    assert timers.next() == 5.0
    assert these.end(2) == Stop.TIMEOUT
    assert timers.next() is None
    assert these.end(2) is None  # it is not among them any more


def test_another_reason_or_another_moment_is_another_group() -> None:
    these, timers = stops()
    these.add(1, Stop.TIMEOUT, 5.0)
    these.add(2, Stop.CANCEL, 5.0)
    these.add(3, Stop.CANCEL, 6.0)
    found = []
    while (due := timers.pop_due(10.0)) is not None:
        found.append(these.tasks(due[1]))
    assert sorted(found) == [[1], [2], [3]]


def test_one_that_is_stopped_again_later_is_forced_by_its_new_group_only() -> None:
    these, timers = stops()
    these.add(1, Stop.TIMEOUT, 5.0)
    these.add(2, Stop.TIMEOUT, 5.0)
    these.end(1)
    these.add(1, Stop.TIMEOUT, 8.0)  # a later attempt
    _, first = timers.pop_due(5.0) or (None, RUN)
    assert these.tasks(first) == [2]
    assert 1 in these.of
