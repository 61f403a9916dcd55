"""Many descriptors for one loop: a reader of asyncio's for each would cost more than all else that plait does for a short command."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable

SLICE_S = 0.002
"""What gets ready while a callback runs is seen to without a turn of the loop, for so long."""

_HAS_EPOLL = hasattr(select, "epoll")


class Watch:
    """Has a callback called in the loop's thread whenever its descriptor can be read.

    Where the system has epoll all of them stand behind one descriptor that the loop knows. What is removed is never called again,
    and it is to be removed before it is closed: a child that is just being started may still hold it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._epoll: select.epoll | None = None

    def add(self, fd: int, callback: Callable[[], None]) -> None:
        """Watches `fd`.

        Raises:
            OSError: where the system has no room for that.
        """
        if not _HAS_EPOLL:
            self._loop.add_reader(fd, callback)
            return
        if self._epoll is None:
            self._epoll = select.epoll()
            self._loop.add_reader(self._epoll.fileno(), self._ready)
        self._epoll.register(fd, select.EPOLLIN)
        self._callbacks[fd] = callback

    def remove(self, fd: int) -> None:
        """Watches `fd` no more, if it was watched."""
        if not _HAS_EPOLL:
            self._loop.remove_reader(fd)
        elif self._callbacks.pop(fd, None) is not None and self._epoll is not None:
            self._epoll.unregister(fd)

    def close(self) -> None:
        """Watches nothing any more."""
        self._callbacks.clear()
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _ready(self) -> None:
        until = 0.0
        while self._epoll is not None and (ready := self._epoll.poll(0)):
            found = [(fd, self._callbacks[fd]) for fd, _ in ready]
            for fd, callback in found:
                # One that ran before may have closed this descriptor, and its number may be another's by now.
                if self._callbacks.get(fd) is callback:
                    callback()
            now = time.monotonic()
            until = until or now + SLICE_S
            if now > until:
                return
