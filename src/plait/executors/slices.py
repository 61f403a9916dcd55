"""The time slice of the thread that starts commands: with a short one it goes on as soon as a command has loaded its program.

Whoever starts a process waits until that has loaded its program (vfork). From then on both want a CPU, and with usual slices Linux
(EEVDF) often lets the new one run to its end first, while another CPU idles: a fifth of the time of many short commands. A thread with
a short slice gets no more of a CPU than others, only sooner (`sched_setattr(2)`; https://docs.kernel.org/scheduler/sched-eevdf.html).
"""

from __future__ import annotations

import os
import struct
import sys
import threading
from collections.abc import Callable
from typing import NamedTuple

SHORT_NS = 300_000
"""0.1 to 0.5 ms, the shortest that there is, are as good as each other; 0.7 is as none."""

USUAL_MOST_NS = 4_000_000
"""Linux gives 0.7 to 3 ms, by the number of CPUs: a longer one is somebody's choice."""

_NUMBERS = {"x86_64": (315, 314), "aarch64": (275, 274), "riscv64": (275, 274)}
"""Of `sched_getattr` and `sched_setattr`: few C libraries have them by name."""

_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""`struct sched_attr`: size, policy, flags, nice, priority, runtime (the slice), deadline, period."""

_OTHER, _RESET_ON_FORK = 0, 0x01

System = Callable[[int, bytearray, int], None]
"""A system call for the calling thread: its number, attributes, and one number more. It raises `OSError` for what is refused."""


class Attributes(NamedTuple):
    """How a thread is scheduled."""

    policy: int
    flags: int
    nice: int
    slice: int
    """In ns; 0 where the system knows none."""


class _Usual(threading.local):
    """What a thread had before its slice was short by us: a run that was interrupted may have left it so."""

    attributes: Attributes | None = None


_usual = _Usual()


class Slice:
    """That of the thread which calls this."""

    def __init__(self, system: System | None = None) -> None:
        self._given = self._system = system

    def shorten(self) -> None:
        """Asks for a short one. What the thread starts has the usual one.

        A thread for which somebody chose a policy, a better priority or a slice keeps what it has, and so does one whose system calls
        somebody filters (seccomp), and one of a system that knows no such slices: anything but Linux from 6.12 on.
        """
        found = self.read()
        if found is None or found.policy != _OTHER or not SHORT_NS < found.slice <= USUAL_MOST_NS:
            return  # a slice of 0: this Linux knows none
        # To start others with the usual slice is to start them with no better priority than the usual one, too.
        if found.nice >= 0:
            _usual.attributes = found  # before it is so: Ctrl-C may come between the two
            self._write(found._replace(slice=SHORT_NS, flags=found.flags | _RESET_ON_FORK))

    def restore(self) -> None:
        """The thread has the slice that it had, unless somebody chose another one meanwhile."""
        usual = _usual.attributes
        if usual is None:
            return
        found = self.read()
        if found is not None and found.slice == SHORT_NS:
            changed = found._replace(slice=usual.slice)
            if not self._write(changed._replace(flags=usual.flags)):
                self._write(changed)  # who has no privileges may not take the flag back
        _usual.attributes = None

    def read(self) -> Attributes | None:
        """What the thread has; None where the system does not tell."""
        if sys.platform != "linux" or sys.maxsize < 2**32 or os.uname().machine not in _NUMBERS:
            return None
        buffer = bytearray(_ATTRIBUTES.size)
        try:
            self._system = self._given or _system()
            self._system(_NUMBERS[os.uname().machine][0], buffer, _ATTRIBUTES.size)
        except (ImportError, AttributeError, OSError):
            return None
        _, policy, flags, nice, _, runtime, _, _ = _ATTRIBUTES.unpack(buffer)
        return Attributes(policy, flags, nice, runtime)

    def _write(self, wanted: Attributes) -> bool:
        """False where the system refuses that."""
        assert self._system is not None
        policy, flags, nice, runtime = wanted
        buffer = bytearray(_ATTRIBUTES.pack(_ATTRIBUTES.size, policy, flags, nice, 0, runtime, 0, 0))
        try:
            self._system(_NUMBERS[os.uname().machine][1], buffer, 0)
        except OSError:
            return False
        return True


def _system() -> System:
    """The way to the system.

    Raises:
        OSError: it is filtered. A filter may kill who makes a call that it does not expect, and tells nobody before.
    """
    with open("/proc/thread-self/status", "rb") as file:  # a program's name may be anything
        if not any(line.split() == [b"Seccomp:", b"0"] for line in file):
            raise OSError("there may be a filter of system calls")
    import ctypes

    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_long, ctypes.c_long)

    def call(number: int, attributes: bytearray, size: int) -> None:
        buffer = (ctypes.c_char * len(attributes)).from_buffer(attributes)
        # Behind the attributes `sched_getattr` has their size and flags, `sched_setattr` flags alone.
        if syscall(number, 0, buffer, size, 0):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    return call
