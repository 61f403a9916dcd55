"""A cancel signal that any thread may fire and any thread or coroutine may watch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from plait.errors import TaskCancelled
from plait.logs import log

# One for all tokens: held for a few instructions, and a token stays small. A signal handler may fire a token while its
# thread holds the lock.
_lock = threading.RLock()


class CancelToken:
    """Fired once, by `cancel`, for good. Thread-safe.

    The caller's token given to a front door is only read; each task gets a child token of its own, which fires when
    that task is to stop.
    """

    __slots__ = ("_cancelled", "_listeners", "_reason")

    def __init__(self) -> None:
        self._cancelled = False
        self._reason: str | None = None
        self._listeners: list[Callable[[], None]] | None = None

    def cancel(self, reason: str | None = None) -> None:
        """Fires the token. The first call counts, with its reason; later ones change nothing."""
        with _lock:
            if self._cancelled:
                return
            self._reason = reason
            self._cancelled = True
            listeners, self._listeners = self._listeners, None
        for listener in listeners or ():
            try:
                listener()
            except Exception:
                log.exception("a listener of a cancel token raised; the others are told all the same")

    @property
    def cancelled(self) -> bool:
        """True once fired."""
        return self._cancelled

    @property
    def reason(self) -> str | None:
        """What `cancel` was given; None before it, or where it was given nothing."""
        return self._reason

    def raise_if_cancelled(self) -> None:
        """Does nothing until the token is fired.

        Raises:
            TaskCancelled: from then on, with the reason.
        """
        if self._cancelled:
            raise TaskCancelled(self._reason or "cancelled")

    async def wait(self) -> None:
        """Returns once the token is fired, at once if it is."""
        loop = asyncio.get_running_loop()
        fired = loop.create_future()

        def wake() -> None:
            if not fired.done():
                fired.set_result(None)

        def listener() -> None:
            try:
                loop.call_soon_threadsafe(wake)
            except RuntimeError:
                pass  # that loop is closed: nobody waits there any more

        if not self.listen(listener):
            return
        try:
            await fired
        finally:
            self.unlisten(listener)

    def listen(self, listener: Callable[[], None]) -> bool:
        """Has `listener` called once, in the firing thread. False, and no call, if the token was fired before."""
        with _lock:
            if self._cancelled:
                return False
            if self._listeners is None:
                self._listeners = []
            self._listeners.append(listener)
            return True

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Takes back one `listen`; nothing if it was called already."""
        with _lock:
            if self._listeners is not None and listener in self._listeners:
                self._listeners.remove(listener)

    def __repr__(self) -> str:
        return f"<CancelToken {'cancelled' if self._cancelled else 'not cancelled'}>"
