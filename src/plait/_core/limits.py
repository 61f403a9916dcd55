"""Limits other than the run's own: objects that are asked, taken and given back, and that keep who waits for them."""

from heapq import heappop, heappush
from typing import TypeAlias

Parked: TypeAlias = tuple[int, int, int]
"""A ready task that met a full limit: its level and its stamp, which are its place in the order and stay what they were, and it."""


class Limit:
    """At most `capacity` tasks at once. Tasks that find it full are parked here and woken by its own release."""

    __slots__ = ("abandoned", "capacity", "name", "parked", "used")

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.capacity = capacity
        self.used = 0
        self.abandoned = 0  # of `used`: attempts given up that may still run
        self.parked: list[Parked] = []

    @property
    def full(self) -> bool:
        return self.used >= self.capacity

    def park(self, waiter: Parked) -> None:
        heappush(self.parked, waiter)

    def next_parked(self) -> Parked | None:
        """The first in order of those parked, taken out; None if nobody waits."""
        return heappop(self.parked) if self.parked else None
