"""Says which coroutine keeps its loop from turning (F47): a thread looks at the loops of running runs now and then.

A loop that waits is left alone. One that is at work is asked for a turn; where that does not come, whatever it is at is named.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING

from plait.logs import log

if TYPE_CHECKING:
    from plait.executors.base import Ticket

LOOK_S = 0.5
"""Between two looks at a loop."""

LATE_S = 1.0
"""A loop that does not come to its next turn within so many seconds is blocked."""


class Watched:
    """One loop, by the thread that was in it when it was made."""

    def __init__(self, run: str, loop: asyncio.AbstractEventLoop) -> None:
        self._run = run
        self._loop = loop
        self._thread = threading.get_ident()
        self._asked_at: float | None = None
        self._told = False

    def look(self, now: float) -> None:
        """Asks for a turn, or tells that none came."""
        if self._loop.is_closed():
            unwatch(self)  # before the run was over
        elif not self._loop.is_running():
            self._asked_at = None
        elif self._asked_at is None:
            frame = sys._current_frames().get(self._thread)
            if frame is None or frame.f_globals.get("__name__") == "selectors":
                return  # it waits, or is not run
            self._asked_at = now
            try:
                self._loop.call_soon_threadsafe(self._turned)
            except RuntimeError:
                pass  # it is closed
        elif now - self._asked_at >= LATE_S and not self._told:
            self._told = True
            frame = sys._current_frames().get(self._thread)
            if frame is not None:
                ticket = _ticket(frame)
                who = "something" if ticket is None else f"task {ticket[0].key(ticket[1])!r}"
                log.warning(
                    "%s has kept the loop of run %s for %.1f s (%s): nothing else goes on meanwhile, no timeout and no cancel "
                    "either; a plain function in a thread or a process would let it",
                    who,
                    self._run,
                    now - self._asked_at,
                    _place(frame),
                )

    def _turned(self) -> None:
        self._asked_at = None
        self._told = False


_lock = threading.Lock()
_watched: dict[Watched, None] = {}
_looking = 0  # the process in which a thread looks


def watch(run: str, loop: asyncio.AbstractEventLoop) -> Watched:
    """Has this loop, in which we are, looked at until `unwatch`."""
    global _looking
    watched = Watched(run, loop)
    with _lock:
        _watched[watched] = None
        if _looking != os.getpid():  # a fork has no thread of its parent's
            try:
                threading.Thread(target=_look, name="plait-watch", daemon=True).start()
            except RuntimeError:
                return watched  # the system has no more threads: tasks are more important
            _looking = os.getpid()
    return watched


def unwatch(watched: Watched) -> None:
    """The run is over. The thread ends soon after the last one: to start one takes longer than a short run."""
    with _lock:
        _watched.pop(watched, None)


def _look() -> None:
    global _looking
    pause = threading.Event()
    while True:
        pause.wait(LOOK_S)
        with _lock:
            if not _watched:
                _looking = 0
                return
            watched = list(_watched)
        now = time.monotonic()
        for each in watched:
            each.look(now)


def _ticket(frame: FrameType | None) -> Ticket | None:
    """The attempt whose code runs in this stack."""
    while frame is not None:
        name, home = frame.f_code.co_name, frame.f_globals.get("__name__")
        if home == "plait.executors.async_" and name in ("send", "throw", "_first_steps"):
            seen = frame.f_locals
            found: Ticket | None = seen.get("ticket") or getattr(
                getattr(seen.get("self"), "attempt", None), "ticket", None
            )
            if found is not None:
                return found
        frame = frame.f_back
    return None


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
