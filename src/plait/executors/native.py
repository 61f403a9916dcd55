"""`posix_spawnp` of the C library: Python's own holds its lock until the new process has loaded its program."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence

from plait.executors.spawning import CODING, DEFAULTS, Start

ROOM_BYTES = 1024
"""For a structure of the C library's: none takes more than a third of that in glibc and musl."""

_SETPGROUP, _SETSIGDEF = 0x02, 0x04
"""Of `<spawn.h>`, the same in glibc and musl."""


class Native:
    """What `os.posix_spawnp` does for a command, while other threads run."""

    def __init__(self, closing: Sequence[tuple[int, ...]]) -> None:
        # Calls through `ctypes.PyDLL` keep the lock: they take less time than passing it on.
        quick = ctypes.PyDLL(None)
        self._init = quick.posix_spawn_file_actions_init
        self._destroy = quick.posix_spawn_file_actions_destroy
        self._open = quick.posix_spawn_file_actions_addopen
        self._dup2 = quick.posix_spawn_file_actions_adddup2
        self._spawn = ctypes.CDLL(None).posix_spawnp
        closers = {os.POSIX_SPAWN_CLOSE: quick.posix_spawn_file_actions_addclose}
        if hasattr(os, "POSIX_SPAWN_CLOSEFROM"):
            closers[os.POSIX_SPAWN_CLOSEFROM] = quick.posix_spawn_file_actions_addclosefrom_np
        self._closing = [(closers[kind], fd) for kind, fd in closing]
        self._attributes = ctypes.create_string_buffer(ROOM_BYTES)
        signals = ctypes.create_string_buffer(ROOM_BYTES)
        quick.sigemptyset(signals)
        for number in DEFAULTS:
            quick.sigaddset(signals, int(number))
        quick.posix_spawnattr_init(self._attributes)
        quick.posix_spawnattr_setflags(self._attributes, ctypes.c_short(_SETPGROUP | _SETSIGDEF))
        quick.posix_spawnattr_setpgroup(self._attributes, 0)
        quick.posix_spawnattr_setsigdefault(self._attributes, signals)

    def __call__(self, start: Start) -> int:
        """The number of a new process in a group of its own.

        Raises:
            OSError, ValueError: it cannot be started.
        """
        words = [each.encode(*CODING) for each in start.argv]
        variables = [name + b"=" + value for name, value in start.environment.items()]
        if b"\0" in b"".join(words) or b"\0" in b"".join(variables):
            raise ValueError("embedded null byte")
        sys.audit("os.posix_spawn", start.argv[0], start.argv, start.environment)
        pid = ctypes.c_int()
        actions = ctypes.create_string_buffer(ROOM_BYTES)
        number = self._init(actions)
        if number:
            raise OSError(number, os.strerror(number))
        try:
            number = (
                self._open(actions, 0, b"/dev/null", os.O_RDONLY, 0)
                or self._dup2(actions, start.out, 1)
                or self._dup2(actions, start.err, 2)
                or next(filter(None, (close(actions, fd) for close, fd in self._closing)), 0)
                or self._spawn(
                    ctypes.byref(pid),
                    words[0],
                    actions,
                    self._attributes,
                    (ctypes.c_char_p * (len(words) + 1))(*words),
                    (ctypes.c_char_p * (len(variables) + 1))(*variables),
                )
            )
        finally:
            self._destroy(actions)
        if number:
            raise OSError(number, os.strerror(number), start.argv[0])
        return pid.value


def native(closing: Sequence[tuple[int, ...]]) -> Native | None:
    """It, where the C library is one that is known. `closing`: the file actions that close what a command is not to have."""
    if sys.platform != "linux":
        return None
    try:
        return Native(closing)
    except (AttributeError, OSError):
        return None
