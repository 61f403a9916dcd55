"""What a run, a group or a task may spend, and has spent: units that tasks report, and seconds of their code."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction


class Budget:
    """Limits by unit. What is spent is summed exactly in the decimals that were reported: ten times 0.1 is 1."""

    __slots__ = ("limits", "spent")

    def __init__(self, limits: tuple[tuple[str, float], ...]) -> None:
        self.limits = {unit: exact(limit) for unit, limit in limits}
        self.spent: dict[str, Fraction] = {}

    def add(self, units: Mapping[str, float]) -> None:
        for unit, number in units.items():
            self.spent[unit] = self.spent.get(unit, Fraction(0)) + exact(number)

    def over(self) -> str | None:
        """What is used up, for people; None while there is something of each."""
        for unit, limit in self.limits.items():
            used = self.spent.get(unit, Fraction(0))
            if used >= limit:
                return f"its budget of {float(limit):g} {unit} is spent ({float(used):g})"
        return None


def exact(number: float) -> Fraction:
    """The number that was written, and not the binary fraction next to it."""
    return Fraction(number) if isinstance(number, int) else Fraction(repr(float(number)))
