"""What tasks say that they read and write: paths that mean one thing each.

A path is relative to the folder of the run (`.`) where it lies in it, else absolute; a folder stands for all that is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from plait._core.graph import Batch
from plait._core.policy import OnConflict, Policy

Files: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
"""What a task reads, and what it writes."""

NO_FILES: Files = ((), ())

Where: TypeAlias = "tuple[str, int, int] | None"
"""File, line and column where a task says what it reads and writes; None for one that is written in Python."""

MOST_FORESEEN = 10_000
"""So many tasks that others will grow are looked at before anything runs; what is in more of them is looked at when they grow."""

HERE = "."
"""The folder of the run: it encloses every relative path."""


class Foreseen:
    """The tasks that a task will grow, as far as they are known before; `many`: each may come more than once."""

    __slots__ = ("batch", "many")

    def __init__(self, batch: Batch, many: bool) -> None:
        self.batch = batch
        self.many = many


def foreseen(batch: Batch) -> list[tuple[int, Foreseen]]:
    """What is known of the tasks that those of `batch` will grow, with their places, where they read or write something.

    Where a task has an `on_error`, that comes before what the task grows otherwise.
    """
    found: list[tuple[int, Foreseen]] = []
    number = 0
    for places, name in ((batch.repairs, "foreseen_repair"), (batch.controls, "foreseen")):
        foresee: Callable[[int], Foreseen | None] | None = getattr(batch.calls, name, None)
        if foresee is not None:
            for place in places:
                each = foresee(place) if number < MOST_FORESEEN else None
                if each is not None:
                    found.append((place, each))
                    number += each.batch.size
    return found


def enclosing(path: str) -> Iterator[str]:
    """The folders around a path, the nearest first."""
    at = path.rfind("/")
    while at > 0:
        path = path[:at]
        yield path
        at = path.rfind("/")
    if path[0] != "/":
        if path != HERE:
            yield HERE
    elif path != "/":
        yield "/"


def serialises(policy: Policy, otherwise: OnConflict) -> bool:
    """Does a task with this policy wait for those that it conflicts with? `otherwise`: what the run says."""
    return (policy.on_conflict or otherwise) is OnConflict.SERIALISE
