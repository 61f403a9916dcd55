"""What leaves its group and its parent behind comes to us, and ends with the task that started it (F07, W9): a subreaper on Linux.

A child of ours counts as adopted when it carries the marks of an attempt, which only what that attempt started can have. Any other
child is the program's own and is let be: nobody here waits for whatever comes.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Mapping

from plait.logs import log

PATIENCE_S = 1.0
"""So long a killed process is waited for; longer only the kernel holds one."""

MOST_LOOKS = 100
"""What starts others faster than they are killed is left after so many looks, and named."""

_SET, _GET = 36, 37  # PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER of linux/prctl.h


class Adopter:
    """Ends what attempts left behind. This process is a subreaper from its making to its close."""

    def __init__(self) -> None:
        self.works = _begin()
        self.known: set[int] = set()
        """Children that an executor started itself, and has not reaped."""
        self._seen: dict[int, set[bytes]] = {}
        """Marks of living children: of one that died meanwhile the kernel tells nothing any more."""
        self._sessions: dict[int, set[bytes]] = {}
        """And of sessions that are not ours: nor of one that has not begun what it is to execute."""

    def adopted(self, marks: Mapping[str, str], group: int = 0) -> list[int]:
        """Living processes that came to us and carry all these marks, or belong to that group; the dead among them are reaped."""
        if not self.works:
            return []
        wanted = {os.fsencode(f"{name}={value}") for name, value in marks.items()}
        found, seen, sessions = [], {}, {}
        own = os.getsid(0)
        for pid in _children():
            if pid in self.known:
                continue
            session = _session(pid)
            carried = _marks(pid) or self._seen.get(pid) or self._sessions.get(session)
            if group and _group(pid) == group:
                carried = wanted
            if not carried:
                continue
            seen[pid] = carried
            if session not in (own, 0):
                sessions[session] = carried
            if wanted <= carried:
                if _reaped(pid):
                    del seen[pid]
                else:
                    found.append(pid)
        self._seen, self._sessions = seen, sessions
        return found

    def end(self, marks: Mapping[str, str], group: int = 0) -> None:
        """KILL for all of them and all that they started, until there are no more; waits for their death.

        The leader of `group` is known, and not reaped yet: the number is nobody else's.
        """
        for _ in range(MOST_LOOKS):
            found = self.adopted(marks, group)
            if not found:
                return
            below = [each for pid in found for each in _below(pid)]
            for pid in (*found, *below):
                _kill(pid)
            _wait(found)
            _wait(below)
            for pid in below:  # they came to us as they died; the list of children may leave one out while others die
                _reaped(pid)
        log.warning("processes that a task left behind live on: %s", found)

    def close(self) -> None:
        """This process is no subreaper any more, if no other run wants it to be one."""
        if self.works:
            _end()
        self.works = False


def is_subreaper() -> bool:
    """Has a run made this process one?"""
    return _wanted > 0


def environments() -> dict[int, set[bytes]]:
    """What every process carries that we may look into; empty where there is no /proc."""
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return {}
    return {pid: carried for pid in pids if (carried := _marks(pid)) is not None and pid != os.getpid()}


def end_marked(marks: Mapping[str, str], carried: Mapping[int, set[bytes]]) -> None:
    """KILL for those of these processes that carry all these marks, and all that they started; waits for their death.

    For stopped attempts of a process that is no subreaper: what left both its group and its parent is found by nothing else.
    """
    wanted = {os.fsencode(f"{name}={value}") for name, value in marks.items()}
    found = [pid for pid, each in carried.items() if wanted <= each]
    every = [*found, *(each for pid in found for each in _below(pid))]
    for pid in every:
        _kill(pid)
    _wait(every)


_lock = threading.Lock()
_wanted = 0
_before = False


def _begin() -> bool:
    global _wanted, _before
    with _lock:
        if not _wanted:
            try:
                import ctypes

                prctl = ctypes.CDLL(None, use_errno=True).prctl
                was = ctypes.c_int()
                works = prctl(_GET, ctypes.byref(was), 0, 0, 0) == 0 and prctl(_SET, 1, 0, 0, 0) == 0
            except (ImportError, OSError, AttributeError):
                works = False
            if not works or not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
                log.warning(
                    "what leaves its process group escapes: this system has no subreaper, or does not list children"
                )
                return False
            _before = bool(was.value)
        _wanted += 1
    return True


def _end() -> None:
    global _wanted
    with _lock:
        _wanted -= 1
        if not _wanted and not _before:
            import ctypes

            ctypes.CDLL(None).prctl(_SET, 0, 0, 0, 0)


def _children(pid: int | None = None) -> list[int]:
    """The children of a process (None: ours), whichever thread has them."""
    found: list[int] = []
    place = f"/proc/{pid or 'self'}/task"
    try:
        for thread in os.listdir(place):
            with open(f"{place}/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    except OSError:
        pass  # it just ended
    return found


def _below(pid: int) -> list[int]:
    """All that a process started, and what that started."""
    found, looked = [pid], 0
    while looked < len(found):
        found += _children(found[looked])
        looked += 1
    return found[1:]


def _marks(pid: int) -> set[bytes] | None:
    """Environment of a process; None if it is dead, or nobody's business."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return set(file.read().split(b"\0")) or None
    except OSError:
        return None


def _group(pid: int) -> int:
    """The group of a process, dead ones included; 0 if it is gone."""
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


def _session(pid: int) -> int:
    """The session of a process, dead ones included; 0 if it is gone."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _reaped(pid: int) -> bool:
    """Was it dead? Then it is reaped."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True  # somebody else was faster


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass  # it just ended


def _wait(pids: list[int]) -> None:
    """Until all of these are dead; `PATIENCE_S` at most."""
    until = time.monotonic() + PATIENCE_S
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll(max(0.0, until - time.monotonic()) * 1000)
        finally:
            os.close(fd)
