"""Processes of an owner that died, ended: found by their recorded number, the run's marks in their environment, the logs they write."""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from plait import points
from plait.logs import log
from plait.stores.locks import started_ticks

if TYPE_CHECKING:
    from plait.stores.contract import Store


PATIENCE_S = 1.0
"""Between TERM and KILL, and for KILL to end them: nobody waits for what they do, only for their end."""

ENOUGH_LOOKS = 4
"""So many looks at what has come since the last one, none of which was of the run: the others come from elsewhere."""

MOST_LOOKS = 10
"""What forks faster than it is found and killed this often, or what the kernel holds, is left, and named."""


def marks(store: Store, run_id: str) -> dict[str, str]:
    """What the commands of a run carry in their environment. A run of the same id may live in another store."""
    where = store.where if store.folder is not None else f"{store.where}{os.getpid()}"
    return {"PLAIT_RUN": run_id, "PLAIT_KEPT_IN": where}


def end_orphans(store: Store, run_id: str, processes: Iterable[tuple[int, int]]) -> int:
    """Ends every process that still lives of a run whose owner is dead, with all that they started; how many there were.

    A recorded number counts only with the recorded start: it may have passed to somebody else (F17).
    """
    points.reach("before orphans")
    recorded = {pid: started for pid, started in processes if started and started_ticks(pid) == started}
    run = _Run(
        {os.fsencode(f"{name}={value}") for name, value in marks(store, run_id).items()},
        None if store.folder is None else os.path.join(os.path.realpath(store.folder), "logs", run_id, ""),
        recorded,
    )
    found: dict[int, Any] = {}
    _living(found, run)
    if not found:
        return 0
    log.warning("run %s: ending %d processes that its dead owner left behind", run_id, len(found))
    for number in (signal.SIGTERM, signal.SIGCONT):
        _signal(found.values(), number)
    points.reach("orphans told")
    _wait(found.values(), PATIENCE_S)
    # What they start on their way out, or in spite of TERM, is looked for until there is nothing more.
    for _ in range(MOST_LOOKS):
        left = _living(found, run)
        if not left:
            break
        _signal(left, signal.SIGKILL)
        _wait(left, PATIENCE_S)
    else:
        log.warning("run %s: of its dead owner's processes %s live on", run_id, [process.pid for process in left])
    points.reach("orphans ended")
    return len(found)


class _Run(NamedTuple):
    """What tells a run's processes from others."""

    marked: set[bytes]
    logs: str | None
    """Where its commands write."""
    recorded: dict[int, int]
    """Processes that were alive, each the leader of a group, and when they started."""


def _living(found: dict[int, Any], run: _Run) -> list[Any]:
    """The living processes of the run, with all that they started. They join `found`, whose living ones are among them."""
    import psutil

    # While anybody of a group lives its number passes to nobody; then it may.
    groups = {pid for pid, started in run.recorded.items() if started_ticks(pid) in (started, None)}
    here = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    seen: set[int] = set()
    # Who ends while the others are looked at may have started one more: until nobody has come meanwhile, or nobody of the run's
    # has for some looks. On a busy machine somebody always comes.
    without = 0
    while without < ENOUGH_LOOKS and (new := set(psutil.pids()) - seen):
        seen |= new
        before = len(found)
        for pid in new - here:
            process = _of_the_run(pid, run, groups)
            if process is not None:
                found[pid] = process
        for process in list(found.values()):
            try:
                for child in process.children(recursive=True):
                    if child.pid not in here:
                        found.setdefault(child.pid, child)
            except psutil.Error:
                continue
        without = 0 if len(found) > before else without + 1
    # One that is dead and not reaped, for nobody waits for it, is as good as gone.
    return [process for process in found.values() if started_ticks(process.pid) is not None and process.is_running()]


def _of_the_run(pid: int, run: _Run, groups: set[int]) -> Any:
    """The process, if it is one of the run; None for any other."""
    import psutil

    try:
        # Made anew: `process_iter` keeps what it made, and a number may have passed to somebody else since.
        process = psutil.Process(pid)
        if hasattr(os, "getuid") and process.uids().real != os.getuid():
            return None
        if _is_marked(pid, run.marked) or _belongs(pid, groups) or (run.logs is not None and _writes(pid, run.logs)):
            return process
        return None
    except (psutil.Error, OSError):
        return None  # it just ended, or is nobody's business


def _is_marked(pid: int, marked: set[bytes]) -> bool:
    # Straight from the kernel: a dictionary of every process's environment costs ten times as much.
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return marked <= set(file.read().split(b"\0"))
    except OSError:
        return False


def _writes(pid: int, logs: str) -> bool:
    """Can it write into one of these logs? So can a command that was forked and has no environment of its own yet, or dropped it."""
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            if os.readlink(f"/proc/{pid}/fd/{name}").startswith(logs):
                with open(f"/proc/{pid}/fdinfo/{name}") as file:
                    flags = next(line.split()[1] for line in file if line.startswith("flags:"))
                if int(flags, 8) & os.O_ACCMODE != os.O_RDONLY:  # else somebody reads the log
                    return True
    except (OSError, StopIteration):
        pass  # it just ended
    return False


def _belongs(pid: int, groups: set[int]) -> bool:
    """Is it one of the recorded processes, each of which led a group of its own, or of their groups?"""
    try:
        return pid in groups or os.getpgid(pid) in groups
    except OSError:
        return False


def _signal(processes: Iterable[Any], number: signal.Signals) -> None:
    import psutil

    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:
            pass


def _wait(processes: Iterable[Any], seconds: float) -> None:
    """Until all of them are dead, whether or not somebody reaps them; `seconds` at most."""
    import psutil

    until = time.monotonic() + seconds
    poller, open_fds, others = select.poll(), set(), []
    try:
        for process in processes:
            try:
                fd = os.pidfd_open(process.pid)
            except ProcessLookupError:
                continue
            except (OSError, AttributeError):  # no pidfd here, or no more descriptors
                others.append(process)
                continue
            open_fds.add(fd)
            poller.register(fd, select.POLLIN)
        while open_fds and (left_s := until - time.monotonic()) > 0:
            for fd, _ in poller.poll(math.ceil(left_s * 1000)):
                poller.unregister(fd)
                os.close(fd)
                open_fds.discard(fd)
    finally:
        for fd in open_fds:
            os.close(fd)
    if others:
        psutil.wait_procs(others, timeout=max(0.0, until - time.monotonic()))
