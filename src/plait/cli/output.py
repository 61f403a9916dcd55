"""Standard output and error as they may be: closed, full, or read by nobody any more."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from plait.observe.annotations import annotating, defused


class OutputGone(Exception):
    """Whoever read standard output is gone. Not an OSError: libraries swallow those."""


stream: TextIO | None = None
"""Where `out` writes instead of `sys.stdout`, while that is lent to the code of a run."""


def mend() -> None:
    """Standard streams that were closed are opened on nothing, so that no file of ours takes their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = open(os.devnull)
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def out(text: str) -> None:
    """Writes a line to standard output; none that a runner of workflows would obey.

    Raises:
        OutputGone: if nobody reads it any more.
        OSError: if it cannot be written (a full disk).
    """
    target = stream or sys.stdout
    try:
        target.write((defused(text) if annotating() else text) + "\n")
        target.flush()
    except BrokenPipeError:
        raise OutputGone from None


def say(text: str) -> None:
    """Writes a line to standard error, where that is possible: a message that nobody sees changes nothing."""
    command(defused(text) if annotating() else text)


def command(text: str) -> None:
    """`say`, for what a runner of workflows is to obey."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        pass


def leave() -> None:
    """Makes the interpreter's last flush of a stream that is gone harmless."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            except (OSError, ValueError):
                pass
