"""Plain functions, in threads of plait's own. Python cannot end a thread: stopping fires the signal, no more.

Where calls are short a thread goes on with the next one by itself, in the slot of the one that just ended, and tells the loop later:
a change of threads for each call would take several times as long as the call.
"""

from __future__ import annotations

import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING

from plait.executors.base import CURRENT, Attempt, Begun, Ended, Report

if TYPE_CHECKING:
    from plait.executors.contract import Sink

AHEAD_S, MOST_AHEAD = 0.005, 64
"""Ready calls are at hand for so many seconds, for each thread that has one, by what calls took so far; never more of them than that."""

RECENT = 0.2
"""The weight of the latest call in what calls take."""


class ThreadExecutor:
    """Daemon threads, started when none is free and kept for the run. An exit of the program never waits for one."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._calls: SimpleQueue[Attempt | None] = SimpleQueue()
        self._ahead: deque[Attempt] = deque()
        """What is lent, in order: a thread whose call just ended takes the first. Of those that came back some may still stand there."""
        self._lent: dict[Attempt, bool] = {}
        """Of those, what nobody has begun. Whoever takes one out has it: a thread that begins it, the loop that gives it back."""
        self._coming_back: list[Attempt] = []
        self._usual_s = AHEAD_S  # what a call takes: none is borrowed before one was shorter
        self._threads = 0
        self._in_flight = 0
        self._reports: deque[tuple[Attempt, Report, Attempt | None, bool]] = deque()
        """What threads say: of which attempt; the one that goes on in its slot; and whether its slot is free, where none does."""
        self._collecting = False
        self._closed = False

    def start(self, attempt: Attempt) -> None:
        self._in_flight += 1
        self._calls.put(attempt)
        if self._in_flight > self._threads:
            thread = threading.Thread(target=self._work, name=f"plait-thread-{self._threads}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                if self._threads == 0:  # nobody would ever take it
                    self._calls.get()
                    self._in_flight -= 1
                    self._sink.report(attempt, Ended(self._sink.clock(), error=error))
                return  # else it waits for one of the threads that there are
            self._threads += 1

    def stop(self, attempt: Attempt) -> None:
        """Nothing but the signal, which is fired already."""

    def force(self, attempt: Attempt) -> bool:
        return False

    def recall(self, attempt: Attempt) -> None:
        if self._lent.pop(attempt, False):
            if not self._coming_back:
                self._sink.loop.call_soon(self._give_back)
            self._coming_back.append(attempt)

    def _give_back(self) -> None:
        while self._coming_back:
            self._sink.came_back(self._coming_back.pop())  # the last one first, as it is put in front
        self._sink.more()

    def close(self) -> None:
        self._closed = True
        self._lent.clear()
        self._ahead.clear()
        for _ in range(self._threads):
            self._calls.put(None)

    # -- in a thread

    def _work(self) -> None:
        while (attempt := self._calls.get()) is not None:
            following: Attempt | None = attempt
            del attempt  # an idle thread keeps nothing alive
            while following is not None:
                following = self._run(following)

    def _run(self, attempt: Attempt) -> Attempt | None:
        """Runs a call; the one that goes on in its slot."""
        clock = self._sink.clock
        if attempt.stopped_at is not None:
            self._tell(attempt, Ended(clock(), stopped=True), None, True)
            return None
        if attempt.timed:
            self._tell(attempt, Begun(clock()), None, False)
        context = self._sink.context.copy()
        context.run(CURRENT.set, attempt.ticket)
        began = clock()
        free = True
        try:
            _, body, args, kwargs = attempt.call
            value = context.run(body, *args, **(kwargs or {}))
        except BaseException as error:
            at = attempt.heard = clock()
            ended = Ended(at, error=error, stopped=_reached(attempt, at))
        else:
            at = attempt.heard = clock()
            ended = Ended(at, value=value, stopped=_reached(attempt, at))
            free = not hasattr(type(value), "__await__")  # that goes on, on the loop, and keeps its slot
        self._usual_s += RECENT * (at - began - self._usual_s)
        following = self._next() if free else None
        self._tell(attempt, ended, following, free)
        return following

    def _next(self) -> Attempt | None:
        """The next of what is lent, if somebody is to begin it now."""
        while True:
            try:
                attempt = self._ahead.popleft()
            except IndexError:
                return None
            if self._lent.pop(attempt, False):
                return attempt

    def _tell(self, attempt: Attempt, report: Report, following: Attempt | None, free: bool) -> None:
        """Hands a report to the loop's thread: many reports, one wake-up."""
        self._reports.append((attempt, report, following, free))
        if not self._collecting:
            self._collecting = True
            try:
                self._sink.loop.call_soon_threadsafe(self._collect)
            except RuntimeError:
                pass  # the loop is closed: the run is over, and this attempt was abandoned

    # -- in the loop

    def _collect(self) -> None:
        self._collecting = False  # before looking: what is appended from here on wakes again
        while self._reports:
            attempt, report, following, free = self._reports.popleft()
            if free:
                if following is None and (following := self._next()) is not None:
                    self._calls.put(following)  # it was lent when that thread had looked already
                if following is None:
                    self._in_flight -= 1
            elif isinstance(report, Ended):
                self._in_flight -= 1
            self._sink.report(attempt, report)
            if following is not None and isinstance(report, Ended) and not self._closed:
                self._sink.passed(following, report.at)
        self._sink.more()
        self._borrow()

    def _borrow(self) -> None:
        """Where calls are short, some for which there is no slot yet are at hand."""
        most = self._in_flight * min(MOST_AHEAD, int(AHEAD_S / max(self._usual_s, 1e-9)) - 1)
        if len(self._lent) < most and not self._closed:
            for attempt in self._sink.lend("thread", most - len(self._lent)):
                self._lent[attempt] = True
                self._ahead.append(attempt)


def _reached(attempt: Attempt, at: float) -> bool:
    """Had the attempt been told to stop before its code ended at `at`?"""
    return attempt.stopped_at is not None and attempt.stopped_at <= at
