"""A run's clock and everybody's: seconds since its start, of which none pass while nobody drives it, as Unix seconds."""

from __future__ import annotations

from bisect import bisect_right


class Wall:
    """Unix seconds of moments on a run's clock, which stands still while no process drives the run."""

    def __init__(self, at: float, wall: float) -> None:
        self._from = [at]
        self._offsets = [wall - at]
        self.away = 0.0
        """Seconds for which it stood still the last time."""

    def went_on(self, at: float, wall: float) -> None:
        """At `at` another process took the run over, at `wall` Unix seconds."""
        self.away = max(0.0, wall - self(at))
        self._from.append(at)
        self._offsets.append(wall - at)

    def __call__(self, at: float) -> float:
        piece = bisect_right(self._from, at) - 1
        return at + self._offsets[max(0, piece)]
