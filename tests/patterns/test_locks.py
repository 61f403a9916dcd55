"""A named lock: one at a time in threads, loops and processes, in the order of asking; free on every exit, and at once when its holder dies."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import plait

HOLD = """
import plait, sys
with plait.Lock("name", folder=sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock until it is told to go."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


class TestInAProcess:
    def test_one_at_a_time_and_in_the_order_of_asking(self, tmp_path: Path) -> None:
        """B10: threads and coroutines, mixed."""
        lock = plait.Lock("name", folder=tmp_path)
        order: list[Any] = []
        inside = 0

        def enter(number: Any) -> None:
            nonlocal inside
            inside += 1
            assert inside == 1
            order.append(number)
            inside -= 1

        def thread(number: int) -> None:
            with lock:
                enter(number)

        async def coroutine(number: int) -> None:
            async with plait.Lock("name", folder=tmp_path):
                await asyncio.sleep(0)
                enter(number)

        async def main() -> None:
            waiting = _waiting(lock)
            async with lock:
                tasks: list[Any] = []
                for number in range(10):
                    if number % 2:
                        tasks.append(asyncio.to_thread(thread, number))
                        tasks[-1] = asyncio.ensure_future(tasks[-1])
                    else:
                        tasks.append(asyncio.ensure_future(coroutine(number)))
                    while len(waiting()) <= number:
                        await asyncio.sleep(0)
            await asyncio.gather(*tasks)

        asyncio.run(main())
        assert order == list(range(10))

    def test_it_is_free_after_every_exit(self, tmp_path: Path) -> None:
        """B10: a return, an exception, a cancellation inside and while waiting."""
        lock = plait.Lock("name", folder=tmp_path)
        with pytest.raises(ValueError, match="boom"), lock:
            raise ValueError("boom")

        async def main() -> None:
            entered = asyncio.Event()

            async def hold() -> None:
                async with lock:
                    entered.set()
                    await asyncio.sleep(60)

            first = asyncio.ensure_future(hold())
            await entered.wait()
            second = asyncio.ensure_future(hold())
            while not _waiting(lock)():
                await asyncio.sleep(0)
            second.cancel()
            first.cancel()
            await asyncio.wait([first, second])
            async with asyncio.timeout(10), lock:
                pass

        asyncio.run(main())
        with plait.Lock("name", 10, folder=tmp_path):
            pass

    def test_a_timeout_names_the_lock_and_leaves_the_line(self, tmp_path: Path) -> None:
        """B10: in a thread and on a loop."""
        lock = plait.Lock("name", 0.05, folder=tmp_path)

        async def late() -> None:
            async with lock:
                raise AssertionError("two hold it")

        with plait.Lock("name", folder=tmp_path):
            with pytest.raises(plait.LockTimeout, match=r"lock 'name' was not free within 0\.05 s"):
                asyncio.run(late())
            found: list[BaseException] = []

            def other() -> None:
                try:
                    with lock:
                        pass
                except BaseException as error:
                    found.append(error)

            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
            assert isinstance(found[0], TimeoutError)
            assert not _waiting(lock)()
        with plait.Lock("name", 10, folder=tmp_path):
            pass

    def test_a_file_that_cannot_be_locked_is_an_error_and_no_hang(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """B10: such as on a network drive without locks."""
        from plait.patterns import locks

        with plait.Lock("name", folder=tmp_path):
            real = locks.fcntl.flock

            def fails(handle: int, how: int) -> None:
                raise OSError(37, "No locks available")

            monkeypatch.setattr(
                locks.fcntl, "flock", lambda handle, how: real(handle, how) if how & 4 else fails(handle, how)
            )
            found: list[BaseException] = []

            def other() -> None:
                try:
                    with plait.Lock("name", folder=tmp_path):
                        pass
                except BaseException as error:
                    found.append(error)

            thread = threading.Thread(target=other)
            thread.start()
            while not _waiting(plait.Lock("name", folder=tmp_path))():
                if found or not thread.is_alive():
                    break
        thread.join(10)
        (error,) = found
        assert isinstance(error, plait.StoreError)
        assert str(error).endswith("cannot be locked: No locks available")
        with pytest.raises(plait.StoreError, match="cannot be opened"), plait.Lock("x", folder="/proc/none"):
            pass

    def test_a_loop_that_was_closed_under_a_waiter_does_not_keep_it(self, tmp_path: Path) -> None:
        """B10: nobody is there to be given the lock, so the next in line is."""
        lock = plait.Lock("name", folder=tmp_path)
        loop = asyncio.new_event_loop()

        async def wait() -> None:
            async with plait.Lock("name", 600, folder=tmp_path):
                raise AssertionError("its loop is closed")

        with lock:
            task = loop.create_task(wait())
            loop.run_until_complete(asyncio.sleep(0))
            assert len(_waiting(lock)()) == 1
            next_one = threading.Thread(target=lambda: plait.Lock("name", 10, folder=tmp_path).__enter__())
            next_one.start()
            while len(_waiting(lock)()) < 2:
                threading.Event().wait(0.001)
            loop.close()
        next_one.join(20)
        assert not _waiting(lock)()
        task._log_destroy_pending = False  # type: ignore[attr-defined]

    def test_who_holds_it_is_told_so(self, tmp_path: Path) -> None:
        """B10: it would wait for itself."""
        lock = plait.Lock("name", folder=tmp_path)
        with (
            lock,
            pytest.raises(plait.UsageError, match="held already by who asks"),
            plait.Lock("name", folder=tmp_path),
        ):
            pass

    def test_who_would_wait_for_itself_is_told_so_however_it_asks(self, tmp_path: Path) -> None:
        """B10: coroutines, and code that blocks the loop that the holder runs on, or that somebody before it in the line does."""

        def made() -> plait.Lock:
            return plait.Lock("name", folder=tmp_path)

        def blocking() -> None:
            with made():
                raise AssertionError

        async def coroutine() -> None:
            async with made():
                raise AssertionError

        async def once_more() -> None:
            async with made():
                with pytest.raises(plait.UsageError, match="wait for itself"):
                    blocking()
                with pytest.raises(plait.UsageError, match="wait for itself"):
                    await coroutine()
                other = asyncio.create_task(coroutine())
                await asyncio.sleep(0)
                other.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await other
            with made(), pytest.raises(plait.UsageError, match="wait for itself"):
                await coroutine()

        async def behind_a_coroutine() -> None:
            waiting = asyncio.create_task(coroutine())
            await asyncio.sleep(0)
            with pytest.raises(plait.UsageError, match="use `async with`"):
                blocking()
            waiting.cancel()

        asyncio.run(once_more())
        with made(), pytest.raises(plait.UsageError, match="wait for itself"):
            asyncio.run(coroutine())
        child = holder(tmp_path)
        asyncio.run(behind_a_coroutine())
        child.kill()
        child.communicate()

    def test_whoever_leaves_gives_it_back(self, tmp_path: Path) -> None:
        """B10: what an abandoned generator holds is given back by another task, and an `ExitStack` may be closed in another thread."""

        async def values() -> AsyncIterator[int]:
            async with plait.Lock("name", folder=tmp_path):
                yield 1

        async def first() -> None:
            async for _ in values():
                break
            gc.collect()

        asyncio.run(first())
        stack = contextlib.ExitStack()
        stack.enter_context(plait.Lock("name", 10, folder=tmp_path))
        thread = threading.Thread(target=stack.close)
        thread.start()
        thread.join()
        with plait.Lock("name", 10, folder=tmp_path):
            pass

    def test_a_folder_is_the_same_under_two_names(self, tmp_path: Path) -> None:
        """B10."""
        (tmp_path / "link").symlink_to(tmp_path / "real")
        (tmp_path / "real").mkdir()
        one, two = (plait.Lock("name", folder=tmp_path / each) for each in ("real", "link"))
        assert one.path == two.path
        with pytest.raises(plait.LimitError, match="names a lock twice"):
            plait.task(lock=[one, two])(lambda: None)

    @pytest.mark.parametrize("name", ["a/b", "../x", "ü ß", ".", "x" * 200])
    def test_any_name_is_a_file_of_its_own_in_the_folder(self, tmp_path: Path, name: str) -> None:
        with plait.Lock(name, folder=tmp_path):
            (made,) = tmp_path.iterdir()
        assert made.is_file()

    @pytest.mark.parametrize(("name", "timeout"), [("", 1), ("a\n", 1), (3, 1), ("a", 0), ("a", -1), ("a", "soon")])
    def test_impossible_ones_are_refused(self, name: Any, timeout: Any) -> None:
        with pytest.raises(plait.LimitError):
            plait.Lock(name, timeout)

    @pytest.mark.parametrize("folder", ["", "a\0b", "\ud800", b"a", Path("a\0b"), 3])
    def test_a_folder_that_cannot_be_is_refused_where_it_is_given(self, folder: Any) -> None:
        """B10: and so is a store."""
        with pytest.raises(plait.LimitError, match="the folder of a lock must be the path of a file or folder, not"):
            plait.Lock("a", folder=folder)
        with pytest.raises(plait.UsageError, match="store must be the path of a file or folder, not"):
            plait.run(plait.task(abs).bind(1), store=folder)


@pytest.mark.realtime
class TestBetweenProcesses:
    def test_another_process_waits_and_goes_on_at_once(self, tmp_path: Path) -> None:
        """B10 X4."""
        child = holder(tmp_path)
        with pytest.raises(plait.LockTimeout), plait.Lock("name", 0.05, folder=tmp_path):
            pass
        entered = threading.Event()

        def wait() -> None:
            with plait.Lock("name", 30, folder=tmp_path):
                entered.set()

        thread = threading.Thread(target=wait)
        thread.start()
        assert not entered.is_set()
        child.communicate("go\n")
        assert entered.wait(10)
        thread.join()

    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
    def test_it_is_free_at_once_when_its_holder_is_killed_and_not_before(
        self, tmp_path: Path, how: signal.Signals
    ) -> None:
        """B10 F76: nothing is cleaned up, and nobody declares a holder dead that is only slow."""
        child = holder(tmp_path)
        os.kill(child.pid, how)
        lock = plait.Lock("name", 10 if how == signal.SIGKILL else 0.2, folder=tmp_path)
        if how == signal.SIGKILL:
            with lock:
                pass
        else:
            with pytest.raises(plait.LockTimeout), lock:
                pass
            child.kill()
        child.communicate()

    def test_a_forked_child_keeps_nothing_locked(self, tmp_path: Path) -> None:
        """B10 F76: it has copies of the open files, which would hold the lock when the parent is dead."""
        program = (
            "import os, plait, signal, sys, time\n"
            "with plait.Lock('name', folder=sys.argv[1]):\n"
            "    if os.fork() == 0:\n"
            "        print('held', flush=True)\n"
            "        sys.stdin.readline()\n"
            "        os._exit(0)\n"
            "    time.sleep(60)\n"
        )
        parent = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert parent.stdout is not None
        assert parent.stdout.readline() == "held\n"
        parent.kill()
        with plait.Lock("name", 10, folder=tmp_path):
            pass
        parent.communicate("go\n")

    @pytest.mark.parametrize("call", ["open", "close"])
    def test_a_fork_while_another_thread_opens_or_closes_a_lock_keeps_nothing(self, tmp_path: Path, call: str) -> None:
        """B10 F76: a fork waits until it is known which files are open; else the child would keep the lock for as long as it lives."""
        program = (
            "import os, plait, sys, threading\n"
            "from plait.patterns import locks\n"
            "folder, call = sys.argv[1:]\n"
            "there, forked = threading.Event(), threading.Event()\n"
            "do = getattr(os, call)\n"
            "class Slow:\n"
            "    def __getattr__(self, name):\n"
            "        return slowly if name == call else getattr(os, name)\n"
            "def slowly(*what):\n"
            "    if call == 'open':\n"
            "        handle = do(*what)\n"
            "    there.set()\n"
            "    forked.wait(0.2)\n"  # a fork that does not wait for the thread is over long before
            "    return handle if call == 'open' else do(*what)\n"
            "def enter():\n"
            "    with plait.Lock('name', folder=folder):\n"
            "        pass\n"
            "thread = threading.Thread(target=enter)\n"
            "locks.os = Slow()\n"
            "thread.start()\n"
            "there.wait()\n"
            "if os.fork() == 0:\n"
            "    held = [os.readlink(f'/proc/self/fd/{each}') for each in os.listdir('/proc/self/fd') if int(each) > 2\n"
            "            and os.path.exists(f'/proc/self/fd/{each}')]\n"
            "    print([each for each in held if folder in each], flush=True)\n"
            "    os._exit(0)\n"
            "forked.set()\n"
            "thread.join()\n"
            "os.wait()\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path), call], capture_output=True, text=True, timeout=30
        )
        assert (done.stdout, done.stderr, done.returncode) == ("[]\n", "", 0)

    def test_eight_processes_never_hold_it_together_whoever_is_killed(self, tmp_path: Path) -> None:
        """B10 F76: each writes that it is in and that it is out; some are killed in between."""
        program = (
            "import os, plait, sys\n"
            "log = os.open(sys.argv[1] + '/log', os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
            "for number in range(40):\n"
            "    with plait.Lock('name', folder=sys.argv[1] + '/locks'):\n"
            "        os.write(log, b'in %d\\n' % os.getpid())\n"
            "        if number == 20 and len(sys.argv) > 2:\n"
            "            os.kill(os.getpid(), 9)\n"
            "        os.write(log, b'out %d\\n' % os.getpid())\n"
        )
        children = [
            subprocess.Popen([sys.executable, "-c", program, str(tmp_path), *(["dies"] if at % 3 == 0 else [])])
            for at in range(8)
        ]
        codes = [child.wait(60) for child in children]
        assert sorted(codes) == [-9, -9, -9, 0, 0, 0, 0, 0]
        lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
        for (what, pid), (then, who) in pairwise(lines):
            killed = what == "in" and then == "in"  # the one before died inside
            assert killed or (what != then and (then == "in" or who == pid))
        assert sum(what == "out" for what, _ in lines) == 5 * 40 + 3 * 20


def _waiting(lock: plait.Lock) -> Any:
    """Who stands in line in this process."""
    from plait.patterns import locks

    return lambda: getattr(locks._state.names.get(lock.path), "waiting", ())
