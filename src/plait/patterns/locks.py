"""A named lock around a block of code, in this process and between processes: the kernel's, so that nobody has to clean up.

Each name is a file in `folder`, locked by `flock`. Within a process who waits is served in the order of asking; one thread waits in the
kernel for all of them, and the lock is given up between two of them, so that other processes get their turn. A process that dies,
however it does, has nothing locked any more. The files stay: to delete one would let two hold the lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType

from plait._core.policy import Lockable, file_path, named, seconds
from plait.errors import LockTimeout, StoreError, UsageError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["Lock"]

FOLDER = os.path.join(".plait", "named")
"""Of the working directory: where locks are whose `folder` is not given; `locks` there is the store's own file."""


LONGEST = 240
"""Characters of a file's name; a lock's own may take more, as a file system knows them."""


class _Waiter:
    """Somebody who asked; `grant` tells them that the lock is theirs, and is False where nobody is there any more."""

    __slots__ = ("error", "gone", "grant")

    blocks = False
    """Does its thread do nothing else while it waits?"""

    def __init__(self, grant: Callable[[], bool], gone: Callable[[], bool] = bool) -> None:
        self.grant = grant
        self.gone = gone  # is nobody there any more who could give it back?
        self.error: OSError | None = None

    def stops(self, other: _Waiter) -> bool:
        """Would `other` wait for itself, while this one has the lock or stands before it?"""
        return False


class _Code(_Waiter):
    """A block of code: of a coroutine, or one that blocks its thread while it waits."""

    __slots__ = ("for_ever", "task", "thread")

    def __init__(
        self, grant: Callable[[], bool], timeout: float | None, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        super().__init__(grant, bool if loop is None else loop.is_closed)
        self.for_ever = timeout is None
        self.thread = threading.get_ident()
        self.task = _task()

    def stops(self, other: _Waiter) -> bool:
        if not isinstance(other, _Code) or self.thread != other.thread:
            return False
        # Who blocks the thread keeps every coroutine on it from going on; and who got it outside of them waits until the loop ends.
        return other.blocks or self.task is other.task or (self.task is None and other.for_ever)


class _Blocking(_Code):
    __slots__ = ()
    blocks = True


class _OfTask(_Waiter):
    """A task that has it by its option."""

    __slots__ = ("_is_here",)

    def __init__(self, grant: Callable[[], bool], gone: Callable[[], bool], is_here: Callable[[], bool]) -> None:
        super().__init__(grant, gone)
        self._is_here = is_here  # is the code that runs now what it was got for?

    def stops(self, other: _Waiter) -> bool:
        return isinstance(other, _Code) and self._is_here()


def _task() -> asyncio.Task[object] | None:
    """The task of a loop that runs in this thread now, if any does."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


class _Name:
    """One lock file, and who of this process wants it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.waiting: deque[_Waiter] = deque()
        self.holder: _Waiter | None = None
        self.handle = -1  # of the open file, while it is locked
        self.asks_kernel = False  # is a thread under way that waits there?

    @property
    def called(self) -> str:
        """Its name, for people."""
        return repr(os.path.basename(self.path))

    def ask(self, waiter: _Waiter) -> bool:
        """True if the lock is the waiter's now; else it stands in line. Under the guard."""
        if self.holder is not None and self.holder.gone():
            self.release(self.holder)
        if self.holder is not None and self.holder.stops(waiter):
            raise UsageError(f"lock {self.called} is held already by who asks for it: it would wait for itself")
        if waiter.blocks and any(other.stops(waiter) and not other.gone() for other in self.waiting):
            raise UsageError(
                f"lock {self.called} is waited for by a coroutine of this thread, which cannot go on while it is blocked: use `async with`"
            )
        if self.holder is None and not self.waiting and not self.asks_kernel:
            handle = _opened(self.path)
            if _locked(handle, wait=False):
                self.holder, self.handle = waiter, handle
                return True
            _closed(handle)
        self.waiting.append(waiter)
        self.ask_kernel()
        return False

    def ask_kernel(self) -> None:
        """Has a thread wait in the kernel, if somebody waits here and none does. Under the guard."""
        if self.waiting and self.holder is None and not self.asks_kernel:
            self.asks_kernel = True
            handle = _opened(self.path)
            threading.Thread(target=self._wait, args=(handle,), name="plait-lock", daemon=True).start()

    def _wait(self, handle: int) -> None:
        try:
            _locked(handle, wait=True)
        except OSError as error:  # no locks on that file system, or none left: whoever waits is told
            with _guard():
                self.asks_kernel = False
                _closed(handle)
                while self.waiting:
                    waiter = self.waiting.popleft()
                    waiter.error = error
                    waiter.grant()
            return
        with _guard():
            self.asks_kernel = False
            while self.waiting:
                self.holder, self.handle = self.waiting.popleft(), handle
                if self.holder.grant():
                    return
            self.holder, self.handle = None, -1
            _closed(handle)  # whoever wanted it has left

    def leave(self, waiter: _Waiter) -> bool:
        """False if the waiter has the lock already; else it stands in line no more. Under the guard."""
        if self.holder is waiter:
            return False
        if waiter in self.waiting:
            self.waiting.remove(waiter)
        return True

    def give_up(self, waiter: _Waiter) -> None:
        """The waiter wants it no more, whether it has it or not."""
        with _guard():
            if not self.leave(waiter):
                self.release(waiter)

    def release(self, waiter: _Waiter) -> None:
        """Gives the lock back. Under the guard."""
        if self.holder is waiter:
            self.holder = None
            _closed(self.handle)
            self.handle = -1
            self.ask_kernel()


class _State:
    """What this process knows of locks; a forked child begins anew."""

    def __init__(self) -> None:
        self.guard = threading.RLock()  # a signal's code may fork in the midst of it
        self.names: dict[str, _Name] = {}
        self.handles: set[int] = set()


_state = _State()


def _guard() -> threading.RLock:
    return _state.guard


def is_asked() -> bool:
    """Does the kernel have to say who is next at a lock that somebody in this process wants? What it has said was told by then."""
    with _guard():
        return any(name.asks_kernel for name in _state.names.values())


def _before_fork() -> None:
    """Which files are open is known at a fork, also of those that other threads are about to open or close."""
    _state.guard.acquire()


def _in_parent() -> None:
    _state.guard.release()


def _in_child() -> None:
    """A forked child holds no lock of its parent's: its copies of the open files would keep them locked when the parent dies."""
    global _state
    handles, _state = _state.handles, _State()
    for handle in handles:
        try:
            os.close(handle)
        except OSError:
            pass  # the parent was about to


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)


def _opened(path: str) -> int:
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"lock file {path} cannot be opened: {error.strerror}") from None
    _state.handles.add(handle)
    return handle


def _closed(handle: int) -> None:
    if handle in _state.handles:  # else a forked child gives back what its parent has: that was closed at the fork
        _state.handles.discard(handle)
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)  # some program that is being started may have a copy for a moment
        os.close(handle)


def _locked(handle: int, *, wait: bool) -> bool:
    """Locks an open file; False where that would have to wait."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Queued:
    """A lock that is wanted without a thread or a coroutine that waits for it: `granted` is called, in any thread, once it is there.
    `gone` says whether nobody is there any more who could give it back, `is_here` whether the code that asks for it once more is what
    it was got for.

    `granted` is False where nobody wants it any more: then the next one has it.

    Raises:
        StoreError: where its file cannot be made.
        UsageError: on a system without kernel locks.
    """

    def __init__(
        self,
        name: str,
        folder: str,
        granted: Callable[[], bool],
        gone: Callable[[], bool],
        is_here: Callable[[], bool],
    ) -> None:
        _check_system()
        self._waiter = _OfTask(granted, gone, is_here)
        path = Lock(name, folder=folder or None).path
        with _guard():
            self._name = _state.names.setdefault(path, _Name(path))
            there = self._name.ask(self._waiter)
        if there:
            granted()

    @property
    def error(self) -> OSError | None:
        """Why it was granted to nobody: the kernel has no locks there."""
        return self._waiter.error

    def give_up(self) -> None:
        """It is wanted no more, whether it is held or waited for."""
        self._name.give_up(self._waiter)


class Lock(Lockable):
    """`with plait.Lock("index"):` or `async with plait.Lock("index"):` - one at a time, in all threads, loops and processes.

    `timeout`: seconds to wait at most, or text such as `"30s"`; None: for ever. `folder`: where the lock's file is; processes that give
    the same one share the lock (`.plait/named` of the working directory by default). The clock starts when the block is entered. It may be
    used again, also by several at once, and is not reentrant.

    Raises:
        LimitError: for a name, a timeout or a folder that cannot be.
        LockTimeout: on entering, where it was not free in time.
        UsageError: on entering, for who holds it already, also by `lock:` of the task whose code enters it; on a system without kernel locks.
        StoreError: on entering, where its file cannot be made.
    """

    def __init__(
        self, name: str, timeout: float | str | None = None, *, folder: str | os.PathLike[str] | None = None
    ) -> None:
        self.name = named("a lock's name", name)
        self.timeout = None if timeout is None else seconds("timeout", timeout)
        self.folder = os.path.realpath(FOLDER if folder is None else file_path("the folder of a lock", folder))
        self._held: _Code | None = None

    @property
    def home(self) -> str:
        """Its folder, where that is not the usual one."""
        return "" if self.folder == os.path.realpath(FOLDER) else self.folder

    @property
    def path(self) -> str:
        """Its file."""
        from urllib.parse import quote

        name = quote(self.name, safe=" ").replace(".", "%2E")
        if len(name) > LONGEST:
            from hashlib import sha256

            name = f"{name[: LONGEST - 33]}-{sha256(name.encode()).hexdigest()[:32]}"
        return os.path.join(self.folder, name)

    def _of_process(self) -> _Name:
        """What this process knows of it. Under the guard."""
        path = self.path
        return _state.names.setdefault(path, _Name(path))

    def __enter__(self) -> Lock:
        _check_system()
        free = threading.Event()

        def grant() -> bool:
            free.set()
            return True

        waiter = _Blocking(grant, self.timeout)
        with _guard():
            name = self._of_process()
            there = name.ask(waiter)
        try:
            if not there and not free.wait(self.timeout):
                self._gave_up(name, waiter)
            self._check(waiter)
            self._held = waiter
        except BaseException:
            name.give_up(waiter)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    async def __aenter__(self) -> Lock:
        _check_system()
        loop = asyncio.get_running_loop()
        free: asyncio.Future[None] = loop.create_future()

        def arrived() -> None:
            if not free.done():
                free.set_result(None)

        def grant() -> bool:
            try:
                loop.call_soon_threadsafe(arrived)
            except RuntimeError:
                return False  # that loop was closed under its task
            return True

        waiter = _Code(grant, self.timeout, loop)
        with _guard():
            name = self._of_process()
            there = name.ask(waiter)
        try:
            if not there:
                try:
                    async with asyncio.timeout(self.timeout):
                        await free
                except TimeoutError:
                    self._gave_up(name, waiter)
            self._check(waiter)
            self._held = waiter
        except BaseException:
            name.give_up(waiter)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _check(self, waiter: _Waiter) -> None:
        if waiter.error is not None:
            raise StoreError(f"lock file {self.path} cannot be locked: {waiter.error.strerror}")

    def _gave_up(self, name: _Name, waiter: _Waiter) -> None:
        """Nothing, where the lock came in the last moment."""
        with _guard():
            if name.leave(waiter):
                raise LockTimeout(f"lock {self.name!r} was not free within {self.timeout:g} s")

    def _release(self) -> None:
        """Whoever leaves: what a generator holds that nobody ends is given back by another task than had entered."""
        waiter, self._held = self._held, None  # there is one at a time
        with _guard():
            name = _state.names.get(self.path)
            if name is not None and waiter is not None:  # else a forked child leaves a block that its parent entered
                name.release(waiter)

    def __repr__(self) -> str:
        return f"<Lock {self.name!r}>"


def _check_system() -> None:
    if fcntl is None:
        raise UsageError(f"plait.Lock needs kernel locks that {sys.platform} does not have")
