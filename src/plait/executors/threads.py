"""Plain functions, in threads of plait's own. Python cannot end a thread: stopping fires the signal, no more."""

from __future__ import annotations

import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING

from plait.executors.base import CURRENT, Attempt, Begun, Ended, Report

if TYPE_CHECKING:
    from plait.executors.contract import Sink


class ThreadExecutor:
    """Daemon threads, started when none is free and kept for the run. An exit of the program never waits for one."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._calls: SimpleQueue[Attempt | None] = SimpleQueue()
        self._threads = 0
        self._in_flight = 0
        self._reports: deque[tuple[Attempt, Report]] = deque()
        self._collecting = False

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

    def close(self) -> None:
        for _ in range(self._threads):
            self._calls.put(None)

    def _work(self) -> None:
        clock = self._sink.clock
        while (attempt := self._calls.get()) is not None:
            if attempt.stopped_at is not None:
                self._tell(attempt, Ended(clock(), stopped=True))
                continue
            began = clock()
            if attempt.timed:
                self._tell(attempt, Begun(began))
            context = self._sink.context.copy()
            context.run(CURRENT.set, attempt.ticket)
            try:
                _, body, args, kwargs = attempt.call
                value = context.run(body, *args, **(kwargs or {}))
            except BaseException as error:
                at = clock()
                ended = Ended(at, error=error, stopped=_reached(attempt, at))
            else:
                at = clock()
                ended = Ended(at, value=value, stopped=_reached(attempt, at))
                del value
            self._tell(attempt, ended)
            del attempt, ended, context, body, args, kwargs  # an idle thread keeps nothing alive

    def _tell(self, attempt: Attempt, report: Report) -> None:
        """Hands a report to the loop's thread: many reports, one wake-up."""
        self._reports.append((attempt, report))
        if not self._collecting:
            self._collecting = True
            try:
                self._sink.loop.call_soon_threadsafe(self._collect)
            except RuntimeError:
                pass  # the loop is closed: the run is over, and this attempt was abandoned

    def _collect(self) -> None:
        self._collecting = False  # before looking: what is appended from here on wakes again
        while self._reports:
            attempt, report = self._reports.popleft()
            if isinstance(report, Ended):
                self._in_flight -= 1
            self._sink.report(attempt, report)
        self._sink.more()


def _reached(attempt: Attempt, at: float) -> bool:
    """Had the attempt been told to stop before its code ended at `at`?"""
    return attempt.stopped_at is not None and attempt.stopped_at <= at
