"""Blocking work in a thread of its own, which a cancellation ends for real."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from typing import Any, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The work was told to stop, and did."""


class Stop:
    """What blocking work looks at between its steps."""

    def __init__(self) -> None:
        self._said = Event()
        self._also: Callable[[], None] | None = None

    @property
    def is_set(self) -> bool:
        """Was it told to stop?"""
        return self._said.is_set()

    def look(self) -> None:
        """Goes on, or raises.

        Raises:
            Stopped: where it was told to stop.
        """
        if self._said.is_set():
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Returns after so many seconds.

        Raises:
            Stopped: as soon as it is told to stop.
        """
        if self._said.wait(seconds):
            raise Stopped

    def also(self, call: Callable[[], None] | None) -> None:
        """What is called, from another thread, when it is told to stop: it must not raise, and may come at any time."""
        self._also = call

    def say(self) -> None:
        """Tells it to stop."""
        self._said.set()
        also = self._also  # which the thread may be taking back
        if also is not None:
            also()


async def in_thread(work: Callable[[Stop], T]) -> T:
    """What `work` returns, which runs in a thread of its own.

    A cancellation tells it to stop and waits until it has: when this ends, nothing goes on.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    stop = Stop()

    def run() -> None:
        tell: Callable[[Any], None]
        what: Any
        try:
            value = work(stop)
        except BaseException as error:
            tell, what = done.set_exception, _raisable(error)
        else:
            tell, what = done.set_result, value
        with suppress(RuntimeError):  # the loop is gone, and who waited with it
            loop.call_soon_threadsafe(tell, what)

    thread = Thread(target=run, name="plait-node", daemon=True)
    thread.start()
    cancelled: asyncio.CancelledError | None = None
    while not done.done():
        try:
            await asyncio.wait((done,))
        except asyncio.CancelledError as error:  # `done` goes on, and so do we until the thread has heard of it
            cancelled = error
            stop.say()
    thread.join()  # it has said its last word
    if cancelled is None:
        return done.result()
    done.exception()  # what it raised, as it was told to stop, is of no interest
    raise cancelled


def _raisable(error: BaseException) -> BaseException:
    """A future cannot hold a StopIteration."""
    return RuntimeError(f"the work raised {error!r}") if isinstance(error, StopIteration) else error
