"""Signs of life: what the code of a task gives from wherever it runs, without knowing who listens."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

CURRENT: ContextVar[Any] = ContextVar("plait_attempt")
"""The ticket of the attempt whose code runs in this context."""


def heartbeat() -> None:
    """The attempt whose code runs here, if any does, is alive."""
    ticket = CURRENT.get(None)
    if ticket is not None:
        sink = ticket[0]
        sink.attempt(ticket).heard = sink.clock()
