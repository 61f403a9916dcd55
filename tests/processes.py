"""Looking for processes: which of those that hold a marker in their words are alive."""

from __future__ import annotations

import contextlib

import psutil


def living(marker: str) -> list[psutil.Process]:
    """The processes, zombies left out, whose command line holds `marker`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and marker in " ".join(process.cmdline()):
                found.append(process)
    return found
