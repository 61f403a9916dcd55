"""Virtual time: an event loop that jumps to its next timer when nobody has anything to do."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from plait._engine import doors
from plait._engine.sharing import Common

T = TypeVar("T")


class VirtualClock:
    """Within `with VirtualClock() as clock:` every run of a blocking door, and `clock.run(...)`, lives on virtual time.

    `asyncio.sleep`, timeouts, deadlines and retry pauses pass at once, in order. Threads and commands take real time; the
    clock stands still while one runs. `clock.now` is in seconds and starts at 0; the runs share it.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._before: Any = None
        self._common: Common | None = None

    @property
    def common(self) -> Common:
        """Where the runs on this clock share limits."""
        if self._common is None:
            self._common = Common()
        return self._common

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """A loop on this clock, for runners that take a loop factory."""
        return _VirtualLoop(self)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The value of `coroutine`, run on a loop of this clock."""
        with asyncio.Runner(loop_factory=self.new_loop) as runner:
            return runner.run(coroutine)

    def __enter__(self) -> VirtualClock:
        self._before = doors.loop_factory
        doors.loop_factory = self.new_loop
        return self

    def __exit__(self, *error: object) -> None:
        doors.loop_factory = self._before


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._drivers: list[Any] = []
        super().__init__(_JumpingSelector(self))

    @property
    def _clock_resolution(self) -> float:
        """A timer is due when its time has come, to the last digit: whoever asks then whether it has is told yes."""
        return math.ulp(self._clock.now)

    @_clock_resolution.setter
    def _clock_resolution(
        self, seconds: float
    ) -> None: ...  # what `asyncio` sets is the resolution of a clock that runs

    def time(self) -> float:
        return self._clock.now

    plait_clock = time

    @property
    def plait_common(self) -> Common:
        """Where runs on this clock share limits with each other."""
        return self._clock.common

    def plait_register(self, driver: Any) -> None:
        """A run joins this loop: while it has work in threads or processes, time stands still."""
        self._drivers = [each for each in self._drivers if not each.done.done()]
        self._drivers.append(driver)

    @property
    def outside(self) -> bool:
        """Is somebody at work outside of the loop?"""
        return any(driver.outside for driver in self._drivers)

    def jump(self, seconds: float) -> None:
        """Moves time ahead."""
        self._clock.now += seconds


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits for time: real events come first, then the clock jumps."""

    def __init__(self, loop: _VirtualLoop) -> None:
        super().__init__()
        self._virtual = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found or timeout is None or timeout <= 0:
            return found or (super().select(None) if timeout is None else [])
        if self._virtual.outside:
            return super().select(0.01)
        found = super().select(0)  # who is at work no more may have said something in the last moment
        if not found:
            self._virtual.jump(timeout)
        return found
