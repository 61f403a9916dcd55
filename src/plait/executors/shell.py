"""Commands, each in its own process group: TERM and KILL reach all of it, and nothing of it outlives its task.

Output goes straight to unlinked files, so no pipe can fill, block or be held open by a grandchild.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import tempfile
import threading
from typing import IO, TYPE_CHECKING

from plait import points
from plait._core.scheduler import NOT_BEGUN
from plait.calls.shell import ShellCommand, tail
from plait.errors import CommandFailed
from plait.executors.base import Attempt, Begun, Ended, Output
from plait.executors.groups import living_groups, signal_group, signal_name

if TYPE_CHECKING:
    from plait.executors.contract import Sink


_SHORT = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)
"""What passes once something else is over."""


class _Process:
    """A started command with its output files."""

    __slots__ = ("command", "err", "left", "out", "paths", "pidfd", "popen")

    def __init__(
        self,
        command: ShellCommand,
        popen: subprocess.Popen[bytes],
        out: IO[bytes],
        err: IO[bytes],
        paths: tuple[str, str] | None,
    ) -> None:
        self.paths = paths
        self.command = command
        self.popen = popen
        self.out = out
        self.err = err
        self.pidfd = -1
        self.left: list[int] = []  # pidfds of what is left of the group, while it has its grace


class ShellExecutor:
    """Runs `ShellCommand`s. `stop` sends TERM to the group, `force` KILL."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._running: dict[Attempt, _Process] = {}
        self._short: dict[Attempt, None] = {}
        """Those for which the system had no descriptors, processes or memory left: each end of another one lets them try again."""
        self._groups: dict[int, list[int]] | None = None  # living processes by group, for one turn of the loop

    def start(self, attempt: Attempt) -> None:
        if attempt.stopped_at is not None:
            self._sink.loop.call_soon(self._withdrawn, attempt)
        elif self._short or not self._begin(attempt):
            self._short[attempt] = None  # who came first goes first

    def _begin(self, attempt: Attempt) -> bool:
        """Starts the command of an attempt, or says why it cannot be; false if it is to wait for the end of another one."""
        command: ShellCommand
        _, command, args, kwargs = attempt.call
        try:
            command = command.filled(*args, **(kwargs or {}))
            process = self._spawn(attempt, command)
        except BaseException as error:
            if self._running and isinstance(error, OSError) and error.errno in _SHORT:
                return False
            self._sink.report(attempt, Ended(self._sink.clock(), error=_why_not_started(error, command)))
            return True
        self._running[attempt] = process
        attempt.handle = process
        self._sink.spawned(attempt, process.popen.pid)
        self._sink.report(attempt, Begun(self._sink.clock()))
        self._watch(attempt, process)
        return True

    def _withdrawn(self, attempt: Attempt) -> None:
        """An attempt was stopped before its command was started."""
        self._sink.report(attempt, Ended(self._sink.clock(), stopped=NOT_BEGUN))
        self._sink.more()

    def stop(self, attempt: Attempt) -> None:
        if attempt in self._short:
            del self._short[attempt]
            self._sink.loop.call_soon(self._withdrawn, attempt)  # whoever stops it is in the middle of something
        elif attempt in self._running:
            pid = attempt.handle.popen.pid
            signal_group(pid, signal.SIGTERM)
            signal_group(pid, signal.SIGCONT)  # a stopped process would sleep through TERM

    def force(self, attempt: Attempt) -> bool:
        if attempt in self._running:
            signal_group(attempt.handle.popen.pid, signal.SIGKILL)
        return True

    def close(self) -> None:
        self._short.clear()
        for attempt in list(self._running):
            process = self._running.pop(attempt)
            self._unwatch(process)
            signal_group(process.popen.pid, signal.SIGKILL)
            try:
                process.popen.wait(1.0)
            except subprocess.TimeoutExpired:
                pass  # the kernel holds it: it was reported abandoned
            process.out.close()
            process.err.close()

    def _spawn(self, attempt: Attempt, command: ShellCommand) -> _Process:
        argv = command.full_argv
        if not argv or not argv[0]:
            raise CommandFailed("the command is empty", retryable=False)
        environment = {**os.environ, **(command.env or {}), **self._sink.environment(attempt)}
        paths = self._sink.output_paths(attempt)
        out = _file(None if paths is None else paths[0])
        try:
            err = _file(None if paths is None else paths[1])
            try:
                points.reach("before spawn")
                popen = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=environment,
                    cwd=command.cwd,
                    process_group=0,
                )
                points.reach("after spawn")
            except BaseException:
                err.close()
                raise
        except BaseException:
            out.close()
            raise
        return _Process(command, popen, out, err, paths)

    def _watch(self, attempt: Attempt, process: _Process) -> None:
        """Has `_exited` called in the loop's thread once the leader of the group is dead, before it is reaped."""
        loop = self._sink.loop
        try:
            process.pidfd = os.pidfd_open(process.popen.pid)
            loop.add_reader(process.pidfd, self._exited, attempt, process)
        except (AttributeError, NotImplementedError, OSError):  # no pidfd here, or no more descriptors
            if process.pidfd >= 0:
                os.close(process.pidfd)
                process.pidfd = -1
            threading.Thread(target=self._wait, args=(attempt, process), daemon=True, name="plait-wait").start()

    def _wait(self, attempt: Attempt, process: _Process) -> None:
        os.waitid(os.P_PID, process.popen.pid, os.WEXITED | os.WNOWAIT)
        try:
            self._sink.loop.call_soon_threadsafe(self._exited, attempt, process)
        except RuntimeError:
            pass  # the loop is closed, and `close` has seen to this process

    def _exited(self, attempt: Attempt, process: _Process) -> None:
        if attempt not in self._running:
            return
        self._unwatch(process)
        # What the command left behind in its group ends with it. The leader is not reaped yet, so the group's number
        # cannot have passed to somebody else.
        if attempt.stopped_at is None or not self._watch_group(attempt, process):
            self._group_ended(attempt, process)

    def _watch_group(self, attempt: Attempt, process: _Process) -> bool:
        """A stopped command's children have their grace too: waits for each of them. False if there are none."""
        for pid in self._members(process.popen.pid):
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue  # it just ended
            except (OSError, AttributeError):
                break  # no way to wait for it: it ends now
            process.left.append(pidfd)
            self._sink.loop.add_reader(pidfd, self._member_ended, attempt, process, pidfd)
        return bool(process.left)

    def _members(self, group: int) -> list[int]:
        """The living processes of a group, but for its leader. Many commands that end together share one look."""
        if self._groups is None:
            self._groups = living_groups()
            self._sink.loop.call_soon(self._forget_groups)
        return [pid for pid in self._groups.get(group, ()) if pid != group]

    def _forget_groups(self) -> None:
        self._groups = None

    def _member_ended(self, attempt: Attempt, process: _Process, pidfd: int) -> None:
        self._sink.loop.remove_reader(pidfd)
        os.close(pidfd)
        process.left.remove(pidfd)
        # The last one may have started others meanwhile.
        if not process.left and not self._watch_group(attempt, process):
            self._group_ended(attempt, process)

    def _unwatch(self, process: _Process) -> None:
        for pidfd in (process.pidfd, *process.left):
            if pidfd >= 0:
                self._sink.loop.remove_reader(pidfd)
                os.close(pidfd)
        process.pidfd = -1
        process.left = []

    def _group_ended(self, attempt: Attempt, process: _Process) -> None:
        del self._running[attempt]
        signal_group(process.popen.pid, signal.SIGKILL)
        code = process.popen.wait()
        out, out_left = _read(process.out, process.command.kept_bytes)
        err, err_left = _read(process.err, process.command.kept_bytes)
        for path, data in zip(process.paths or (), (out, err), strict=False):
            if not data:
                _remove(path)
        self._report_end(attempt, process, code, out, out_left, err, err_left)
        while self._short:
            attempt = next(iter(self._short))
            del self._short[attempt]
            if not self._begin(attempt):
                self._short = {attempt: None, **self._short}
                break
        self._sink.more()

    def _report_end(
        self, attempt: Attempt, process: _Process, code: int, out: bytes, out_left: int, err: bytes, err_left: int
    ) -> None:
        for name, data, left in (("stdout", out, out_left), ("stderr", err, err_left)):
            if data:
                self._sink.report(attempt, Output(name, data, left))
        stopped = attempt.stopped_at is not None
        at = self._sink.clock()
        if code != 0:
            self._sink.report(attempt, Ended(at, error=_failure(code, out, err), stopped=stopped))
            return
        try:
            value = process.command.value(out, out_left)
        except Exception as error:
            self._sink.report(attempt, Ended(at, error=error, stopped=stopped))
        else:
            self._sink.report(attempt, Ended(at, value=value, stopped=stopped))


def _file(path: str | None) -> IO[bytes]:
    """Where a command writes: a file without a name, or one that is kept, for its owner alone."""
    if path is None:
        return tempfile.TemporaryFile()
    return open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600), "w+b")


def _remove(path: str) -> None:
    """An empty file says no more than none."""
    try:
        os.unlink(path)
    except OSError:
        pass


def _read(file: IO[bytes], most: int) -> tuple[bytes, int]:
    """The first `most` bytes of what was written, and how many more there are."""
    with file:
        size = os.fstat(file.fileno()).st_size
        file.seek(0)
        data = file.read(most)
    return data, max(0, size - len(data))


def _failure(code: int, out: bytes, err: bytes) -> CommandFailed:
    """The error for a command that ended with `code`, negative for a signal."""
    shown = tail(err) or tail(out)
    last = f": {shown.splitlines()[-1]}" if shown else ""
    if code < 0:
        name = signal_name(-code)
        return CommandFailed(f"killed by {name}{last}", signal=name, tail=shown)
    if code == 127:
        return CommandFailed(f"exit 127, command not found{last}", exit_code=127, tail=shown, retryable=False)
    if code == 126:
        return CommandFailed(f"exit 126, command cannot be executed{last}", exit_code=126, tail=shown, retryable=False)
    if code > 128 and (name := signal_name(code - 128)).startswith("SIG"):
        return CommandFailed(f"exit {code}, as after {name}{last}", exit_code=code, tail=shown)
    return CommandFailed(f"exit {code}{last}", exit_code=code, tail=shown)


def _why_not_started(error: BaseException, command: ShellCommand) -> BaseException:
    """A `CommandFailed` that names the cause, where the system refused to start the command."""
    program = command.full_argv[0] if command.full_argv else ""
    if isinstance(error, ValueError):
        return CommandFailed(f"the command cannot be started: {error}", retryable=False)
    if not isinstance(error, OSError):
        return error
    missing = error.filename is not None and os.fspath(error.filename) == command.cwd
    if missing:
        return CommandFailed(f"the folder {command.cwd!r} to run in: {error.strerror}", retryable=False)
    if error.errno == errno.ENOENT:
        return CommandFailed(f"exit 127, command not found: {program}", exit_code=127, retryable=False)
    if error.errno in (errno.EACCES, errno.ENOEXEC, errno.EISDIR):
        return CommandFailed(
            f"exit 126, command cannot be executed: {program}: {error.strerror}", exit_code=126, retryable=False
        )
    if error.errno == errno.E2BIG:
        return CommandFailed(
            "an argument or the environment is too long for the system (E2BIG): pass it in a file", retryable=False
        )
    hint = ": raise the limit of open files (ulimit -n)" if error.errno == errno.EMFILE else ""
    return CommandFailed(f"{program} cannot be started: {error.strerror or error}{hint}")


__all__ = ["ShellExecutor", "signal_name"]
