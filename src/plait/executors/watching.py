"""Many descriptors for one loop: a reader of asyncio's for each would cost more than all else that plait does for a short command."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

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
        """Watches `fd` no more."""
        if self._epoll is None:
            self._loop.remove_reader(fd)
        else:
            del self._callbacks[fd]
            self._epoll.unregister(fd)

    def close(self) -> None:
        """Watches nothing any more."""
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _ready(self) -> None:
        assert self._epoll is not None
        found = [(fd, self._callbacks[fd]) for fd, _ in self._epoll.poll(0)]
        for fd, callback in found:
            # One that ran before may have closed this descriptor, and its number may be another's by now.
            if self._callbacks.get(fd) is callback:
                callback()
