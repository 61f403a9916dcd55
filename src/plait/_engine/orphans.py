"""Processes of an owner that died: found by their recorded number and start, and by the run's mark in their environment; ended."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterable

from plait import points
from plait.stores.locks import started_ticks

log = logging.getLogger("plait")

PATIENCE_S = 1.0
"""Between TERM and KILL: nobody waits for what they do, only for their end."""


def end_orphans(run_id: str, processes: Iterable[tuple[int, int]]) -> int:
    """Ends every process that still lives of a run whose owner is dead, with all that they started; how many there were.

    A recorded number counts only with the recorded start: it may have passed to somebody else (F17).
    """
    import psutil

    points.reach("before orphans")
    mine = os.getuid() if hasattr(os, "getuid") else None
    here = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    recorded = {pid for pid, started in processes if started and started_ticks(pid) == started}
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if process.pid in here or (mine is not None and process.uids().real != mine):
                continue
            if process.pid in recorded or _is_marked(process, run_id) or _leads(process, recorded):
                found[process.pid] = process
        except (psutil.Error, OSError):
            continue  # it just ended, or is nobody's business
    for process in list(found.values()):
        try:
            for child in process.children(recursive=True):
                if child.pid not in here:
                    found.setdefault(child.pid, child)
        except psutil.Error:
            continue
    if not found:
        return 0
    log.warning("run %s: ending %d processes that its dead owner left behind", run_id, len(found))
    for number in (signal.SIGTERM, signal.SIGCONT):
        _signal(found.values(), number)
    points.reach("orphans told")
    _, left = psutil.wait_procs(list(found.values()), timeout=PATIENCE_S)
    _signal(left, signal.SIGKILL)
    psutil.wait_procs(left, timeout=PATIENCE_S)
    points.reach("orphans ended")
    return len(found)


def _is_marked(process: object, run_id: str) -> bool:
    # Straight from the kernel: a dictionary of every process's environment costs ten times as much.
    try:
        with open(f"/proc/{process.pid}/environ", "rb") as file:  # type: ignore[attr-defined]
            return b"PLAIT_RUN=" + run_id.encode() in file.read().split(b"\0")
    except OSError:
        return False


def _leads(process: object, recorded: set[int]) -> bool:
    """Is it of the process group that a recorded one leads?"""
    try:
        return os.getpgid(process.pid) in recorded  # type: ignore[attr-defined]
    except OSError:
        return False


def _signal(processes: Iterable[object], number: signal.Signals) -> None:
    import psutil

    for process in processes:
        try:
            process.send_signal(number)  # type: ignore[attr-defined]
        except psutil.Error:
            pass
