"""Process groups: a signal reaches all of one, and what is left of one can be found."""

from __future__ import annotations

import os
import signal
from typing import IO


def living_groups() -> dict[int, list[int]]:
    """Every living process by its group; empty where there is no /proc."""
    found: dict[int, list[int]] = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return found
    for name in names:
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, _, group = file.read().rpartition(b")")[2].split()[:3]
            except (OSError, ValueError):
                continue  # it just ended
            if state not in (b"Z", b"X"):
                found.setdefault(int(group), []).append(int(name))
    return found


def signal_group(pid: int, number: int) -> None:
    """Sends a signal to a group, if anybody is left in it."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # nobody is left; on macOS a group of zombies answers EPERM


def signal_process(pid: int, number: int) -> None:
    """Sends a signal to a process, if it is still there and ours to signal."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; `signal 77` where there is no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def read_back(file: IO[bytes], first: int, most: int) -> bytes:
    """What was written into a file from `first` on, at most so many bytes; whoever writes is not disturbed."""
    found = bytearray()
    while len(found) < most:
        data = os.pread(file.fileno(), most - len(found), first + len(found))
        if not data:
            break
        found += data
    return bytes(found)
