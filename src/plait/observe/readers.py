"""Readers that somebody gives: shown each event in a thread of their own, so that one that raises or blocks changes nothing in the run."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from plait.logs import log

if TYPE_CHECKING:
    from plait.observe.metrics import Metrics
    from plait.observe.stream import RunEvent

MOST_WAITING = 100_000
"""Events that wait for a reader; what comes while there are so many is dropped, but for the run's end. A tenth of a gigabyte at most."""

EXIT_S = 5.0
"""What readers of runs that are over get, all together, to see the rest before the program ends."""


class Reader:
    """What plait's own readers say of themselves; any other callable is taken for one that may block and wants everything."""

    prompt = False
    """It calls no code but its own and is done at once: it is shown events in the run's own thread, and none is ever dropped.

    Each class says so for itself: one that is made of it has code of its own.
    """

    needs = False
    """It wants to know what each task needed."""

    ignores: frozenset[str] = frozenset()
    """Events that need not wait for it."""

    def __call__(self, event: RunEvent | None) -> None:
        """Sees one event; None, after the last one of a run."""

    def enter(self, run: str, name: str, so_far: Metrics) -> None:
        """Events of `run` will come that go on from where another process left it, at these figures."""

    def leave(self, run: str) -> None:
        """No more events of `run` will come, though it is not over, or was before the first of them."""


class Apart:
    """Shows events to one reader in a thread that ends with the run. Never waits for it."""

    def __init__(self, reader: Callable[[Any], object], run: str, most: int = MOST_WAITING) -> None:
        self.lost = 0
        """Events that were dropped, for too many waited."""
        self.done = threading.Event()
        self.over = False
        self._reader = reader
        self._run = run
        self._most = most
        self._raised = 0
        self._ignored = reader.ignores if isinstance(reader, Reader) else frozenset()
        self._queue: SimpleQueue[RunEvent | Callable[[], object] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Events that the reader has not seen."""
        return self._queue.qsize()

    def __call__(self, event: RunEvent | None) -> None:
        if event is None:
            self._end()
        elif event.event in self._ignored:
            return
        elif self._queue.qsize() >= self._most and event.event != "run_finished":
            self._lose()
            return
        self._put(event)

    def do(self, call: Callable[[], object]) -> None:
        """Has something called between what is shown before and after it."""
        self._put(call)

    def _put(self, what: RunEvent | Callable[[], object] | None) -> None:
        self._queue.put(what)
        if self._thread is None:
            _remember(self)
            self._thread = threading.Thread(target=self._work, name=f"plait reader of {self._run}", daemon=True)
            self._thread.start()

    def _lose(self) -> None:
        self.lost += 1
        if self.lost == 1:
            log.warning(
                "a reader of run %s, %r, is too slow: %d events wait for it, and what comes now is dropped until it has caught up; "
                "the run goes on",
                self._run,
                self._reader,
                self._most,
            )

    def _end(self) -> None:
        self.over = True
        if self.lost:
            log.info("a reader of run %s, %r, was not shown %d events", self._run, self._reader, self.lost)

    def _work(self) -> None:
        while True:
            event = self._queue.get()
            try:
                if callable(event):
                    event()
                else:
                    self._reader(event)
            except BaseException:
                self._raised += 1
                if self._raised == 1:
                    log.exception("a reader of run %s raised; the run goes on, and it is shown more", self._run)
            if event is None:
                break
        if self._raised > 1:
            log.warning("a reader of run %s, %r, raised %d times", self._run, self._reader, self._raised)
        _APART.discard(self)
        self.done.set()


_APART: set[Apart] = set()
"""Those whose reader has more to see, or will have."""

_registered = False


def _remember(apart: Apart) -> None:
    global _registered
    _APART.add(apart)
    if not _registered:
        _registered = True
        atexit.register(_at_exit)


def flush_readers(timeout: float | None = 5.0) -> bool:
    """Waits until the readers of runs that are over have seen the last event; False if that takes longer than `timeout` seconds.

    A run never waits for its readers. Before a program ends they get 5 seconds by themselves. This blocks: in a coroutine call it by
    `asyncio.to_thread`.
    """
    ends = None if timeout is None else time.monotonic() + timeout
    for each in list(_APART):
        if each.over and not each.done.wait(None if ends is None else max(0.0, ends - time.monotonic())):
            return False
    return True


def _at_exit() -> None:
    if not flush_readers(EXIT_S):
        for each in list(_APART):
            if each.over:
                log.warning(
                    "a reader of run %s, %r, has not seen %d events: the program ends", each._run, each._reader, each.waiting
                )  # fmt: skip


__all__ = ["Apart", "Reader", "flush_readers"]
