"""Room for code that goes as deep as what it reads, however deep its caller stands."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


def with_own_stack(work: Callable[[], R]) -> R:
    """What `work` gives, which runs in a thread of its own: the interpreter's limit of recursion counts from there.

    What it raises is raised here.
    """
    made: list[R] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            made.append(work())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="plait-reader", daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return made[0]
