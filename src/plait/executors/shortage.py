"""The system has no process, descriptor or memory left for one more: what to do until it has (F28, F29)."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Where nothing of ours could end and make room, so many pauses are made before a task fails for it."""


def is_short(error: BaseException) -> bool:
    """Does that pass once something else is over?"""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)


class Shortage:
    """Pauses between tries to start something, for one executor."""

    def __init__(self, loop: asyncio.AbstractEventLoop, again: Callable[[], None]) -> None:
        self._loop = loop
        self._call = again
        self._made = 0
        self._timer: asyncio.TimerHandle | None = None

    def pause(self, others: bool) -> bool:
        """Has it tried again after a while; false once that was done often enough since something could be started.

        While `others` run, of whose end this executor is not told, it never is.
        """
        if self._timer is None:
            if self._made == len(PAUSES_S) and not others:
                return False
            self._timer = self._loop.call_later(PAUSES_S[min(self._made, len(PAUSES_S) - 1)], self._again)
            self._made = min(self._made + 1, len(PAUSES_S))
        return True

    def over(self) -> None:
        """Something could be started."""
        self._made = 0

    def close(self) -> None:
        """Nothing is tried again."""
        if self._timer is not None:
            self._timer.cancel()

    def _again(self) -> None:
        self._timer = None
        self._call()
