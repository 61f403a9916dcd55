"""Plain lines, one for each task that ended: for pipes, logs and continuous integration."""

from __future__ import annotations

from collections.abc import Callable

from plait.observe.stream import RunEvent
from plait.observe.text import clean, duration

MARKS = {
    "task_succeeded": "ok",
    "task_failed": "FAILED",
    "task_timed_out": "TIMED OUT",
    "task_cancelled": "cancelled",
    "task_retrying": "retrying",
    "task_waiting": "waits for an answer",
}
QUIET = ("task_failed", "task_timed_out")


class Lines:
    """Writes what happens; `level` -1 says failures only, 1 starts and skipped tasks too."""

    def __init__(self, write: Callable[[str], None], level: int = 0, label: Callable[[str], str] = str) -> None:
        self._write = write
        self._label = label
        self._level = level

    def __call__(self, event: RunEvent | None) -> None:
        if event is None or event.task is None:
            return
        mark = MARKS.get(event.event)
        if self._level < 0 and event.event not in QUIET:
            return
        if mark is None:
            if self._level < 1:
                return
            mark = event.event.removeprefix("task_").replace("_", " ")
        if event.detail.get("kept"):
            mark = "kept from before"
        ran = None if event.event == "task_waiting" else event.detail.get("run_s")
        error = event.detail.get("error")
        self._write(
            f"{clean(self._label(event.task))}: {mark}{f' in {duration(ran)}' if ran is not None else ''}{f': {clean(str(error))}' if error else ''}"
        )
