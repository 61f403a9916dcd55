"""What tests of faults share: tasks that write down their calls, programs that are killed, disks that fail."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import plait
from plait import points
from plait.errors import StoreError

TESTS = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))}
"""Of programs that may import this module."""


@plait.task
async def give(value: Any) -> Any:
    """The value."""
    return value


@plait.task
async def noted(path: str, key: str, size: int = 0) -> str:
    """As much text as wanted; the call is written down where every process can read it."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(handle, f"{key}\n".encode())
    os.close(handle)
    return key + "x" * size


def chain(calls: str, length: int, size: int = 0) -> plait.Graph:
    """Tasks t0, t1, ... one after the other, each of which writes its call down and returns `size` characters."""
    graph = plait.Graph("chain")
    for at in range(length):
        graph.add(f"t{at}", noted, args=(calls, f"t{at}", size), needs=[f"t{at - 1}"] if at else [])
    return graph


def kill_at(name: str, number: int) -> None:
    """Has this process killed when it passes the point `name` for the `number`-th time."""
    left = number

    def passed(point: str) -> None:
        nonlocal left
        left -= point == name
        if not left and point == name:
            os.kill(os.getpid(), signal.SIGKILL)

    points.hook = passed


def say(**facts: Any) -> None:
    """Tells the test what a program saw."""
    print(json.dumps(facts), flush=True)


async def watched(run: plait.Run) -> tuple[list[str], str, str]:
    """Of a run on this loop: the keys that it reported as succeeded, its status, and the store's error that ended it."""
    keys = []
    async for event in run.events():
        if event.event == "task_succeeded" and event.task is not None:
            keys.append(event.task)
    try:
        return keys, str((await run).status), ""
    except StoreError as error:
        return keys, "", f"{type(error).__name__}: {error}"


def program(
    text: str, *args: Any, prefix: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a Python program that may import this module; what it says is its output."""
    return subprocess.run(
        [*prefix, sys.executable, "-c", text, *map(str, args)],
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )


def said(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """What a program said that ended well."""
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def in_child(what: Callable[[], object]) -> int:
    """How a forked child ends that does this: 0, 1 where it raises, or less for a signal. For programs without threads."""
    pid = os.fork()
    if not pid:
        try:
            what()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def unavailable(what: str) -> None:
    """Skips the test for want of `what`; where everything has to be there, that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing here")
    pytest.skip(f"needs {what}")


def own_mounts(folder: Path) -> tuple[str, ...]:
    """What a command begins with that may mount file systems which nobody else sees."""
    apart = ("unshare", "-m") if os.getuid() == 0 else ("unshare", "-rm")
    try:
        subprocess.run([*apart, "mount", "-t", "tmpfs", "tmpfs", str(folder)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        unavailable("a file system of one's own (unshare -m, mount)")
    return apart


FAILING_DISK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

/* Every fsync, fdatasync, write, pwrite, ftruncate, rename, link and unlink of the process is counted from `fault_arm` on; at
   the chosen one the call fails with `error`, or the process is killed where that is 0. A failure may go on for ever. */
static int left = -1, error, forever, kinds, seen;

int fault_arm(int at, int with, int on, int which) { left = at; error = with; forever = on; kinds = which; seen = 0; return 0; }
int fault_seen(void) { return seen; }

static int fails(int kind) {
    if (left < 0 || !(kinds & kind)) return 0;
    seen++;
    if (left > 1) { left--; return 0; }
    if (!error) kill(getpid(), SIGKILL);
    if (!forever) left = -1; else left = 1;
    errno = error;
    return 1;
}

#define NEXT(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
int fsync(int fd) { NEXT(fsync); return fails(1) ? -1 : real(fd); }
int fdatasync(int fd) { NEXT(fdatasync); return fails(1) ? -1 : real(fd); }
ssize_t write(int fd, const void *b, size_t n) { NEXT(write); return fd > 2 && fails(2) ? -1 : real(fd, b, n); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { NEXT(pwrite64); return fails(2) ? -1 : real(fd, b, n, o); }
int ftruncate64(int fd, off64_t n) { NEXT(ftruncate64); return fails(2) ? -1 : real(fd, n); }
int rename(const char *a, const char *b) { NEXT(rename); return fails(2) ? -1 : real(a, b); }
int link(const char *a, const char *b) { NEXT(link); return fails(2) ? -1 : real(a, b); }
int unlink(const char *a) { NEXT(unlink); return fails(2) ? -1 : real(a); }
"""

SYNC, WRITE = 1, 2


def failing_disk(folder: Path) -> dict[str, str]:
    """The environment of programs that may call `arm`; skips the test where there is no C compiler."""
    source, library = folder / "disk.c", folder / "disk.so"
    source.write_text(FAILING_DISK)
    try:
        done = subprocess.run(
            ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], capture_output=True, text=True
        )
    except FileNotFoundError:
        unavailable("gcc")
    assert done.returncode == 0, done.stderr
    return {"LD_PRELOAD": str(library)}


def arm(at: int, error: int, kinds: int = SYNC | WRITE, *, forever: bool = False) -> None:
    """Has the `at`-th call from now on of `kinds` fail with `error`, or the process killed there (0); all that follow, `forever`."""
    ctypes.CDLL(None).fault_arm(at, error, int(forever), kinds)


def seen() -> int:
    """How many such calls there were since `arm`."""
    return int(ctypes.CDLL(None).fault_seen())
