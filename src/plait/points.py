"""The places where a process may die in the middle of something: every commit, rename, spawn and step of a recovery passes one.

Tests put a function into `hook` and kill there. Otherwise passing one costs a comparison.
"""

from __future__ import annotations

from collections.abc import Callable

hook: Callable[[str], None] | None = None
"""Called with the name of each point that is passed."""


def reach(name: str) -> None:
    """The process is at the point `name`."""
    if hook is not None:
        hook(name)
