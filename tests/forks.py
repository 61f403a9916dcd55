"""Processes that are forked from a warm one, which has imported everything and started nothing: no thread, no loop, no store."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import TracebackType

CRASHED = 70
"""The exit status of a child whose code raised."""


class Child:
    """A forked process that calls `what`, and exits with the number that it gives, else with 0."""

    def __init__(self, what: Callable[[], int | None], output: str) -> None:
        assert threading.active_count() == 1, "a process with threads is not forked"
        sys.stdout.flush()
        sys.stderr.flush()
        self.status: int | None = None
        """Once it has ended: its exit status, or minus the number of the signal that ended it."""
        self.pid = os.fork()
        if not self.pid:
            _be(what, output)
        self._pidfd = os.pidfd_open(self.pid)

    def wait(self, seconds: float) -> int | None:
        """Its status, if it ends within so many seconds."""
        if self.status is None:
            ready, _, _ = select.select([self._pidfd], [], [], max(0.0, seconds))
            if ready:
                self._reap()
        return self.status

    def end(self, seconds: float = 60.0) -> int:
        """Its status; a child that does not end in time is killed, and that is an error."""
        status = self.wait(seconds)
        if status is None:
            self.kill()
            raise TimeoutError(f"process {self.pid} did not end in {seconds:g} s")
        return status

    def kill(self) -> bool:
        """Ends it by SIGKILL, and nothing but it; False if it had ended by itself."""
        if self.wait(0.0) is not None:
            return False
        os.kill(self.pid, signal.SIGKILL)
        self._reap()
        return self.status == -signal.SIGKILL

    def _reap(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        os.close(self._pidfd)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def _be(what: Callable[[], int | None], output: str) -> None:
    """The life of a child: it never returns into its parent's code."""
    status = CRASHED
    try:
        fd = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.close(fd)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        status = what() or 0
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
