"""Health: where too many of the latest attempts failed nothing more is started for a while; then a probe says whether it is over.

A circuit breaker (Nygard, "Release It!", 2007), as one more limit of the one admission point: it is decided by what became of attempts and by
timers alone, so that a replay decides the same, and who waits for it is parked there. Each time that it shuts it counts anew: what began
before says nothing about what is the matter now, whenever it ends.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from plait._core.limits import Limit
from plait._core.policy import Policy, Value, count, nearest, seconds
from plait.errors import LimitError, UsageError

LEAST = 10
"""So many outcomes there are at least before anybody judges, where the window has room for them."""

PAUSE_S, LONGEST_PAUSE_S = 30.0, 600.0

ROUNDING = 1e-9
"""A share that is the limit itself is not above it, however both are rounded."""


class HealthReport(Value):
    """What a hook of a `HealthMonitor` is told: of which `pool` (None: of the run), and whether it is `healthy` now.

    `errors` of the latest `outcomes` failed when it was judged. `until` is when a probe may start, in Unix seconds; None once it is healthy.
    """

    __slots__ = ("pool", "healthy", "errors", "outcomes", "until")  # noqa: RUF023 - as they are given

    def __init__(self, pool: str | None, healthy: bool, errors: int, outcomes: int, until: float | None) -> None:
        self.pool = pool
        self.healthy = healthy
        self.errors = errors
        self.outcomes = outcomes
        self.until = until


def said(report: HealthReport, until: float | None, now: float) -> str:
    """The same in a line for people; `until` and `now` are on the run's clock."""
    what = "it" if report.pool is None else f"pool {report.pool!r}"
    if until is None:
        return f"{what} is healthy again"
    failed = f"{report.errors} of the latest {report.outcomes} attempts failed"
    return f"{what} is unhealthy, for {failed}: nothing of it starts for {round(until - now, 1):g} s"


Hook = Callable[[HealthReport], Any]


class HealthMonitor(Value):
    """Watches the attempts of a run or of a pool, and pauses starts while too many of them fail.

    Once there are `min_outcomes` (10, or the whole window), and more than `max_error_rate` (0.5, or `"50%"`) of the latest `window` failed,
    nothing of it starts for `pause` seconds; what runs goes on. Then one attempt starts as a probe, alone. If it succeeds (and as many
    more as `probes` says, one after the other) starts go on, and it is judged afresh; if it fails the pause is twice as long, up to `max_pause`.

    Attempts that failed or timed out are errors, each try of them; one that was cancelled or interrupted, asked to be called later (a
    `Retry-After`), or passed a deadline says nothing. `on_unhealthy` and `on_recovered` are called with a `HealthReport`, in a thread of
    their own: what they raise is logged, and nobody waits for them. A run that is resumed goes on without them.

    Raises:
        LimitError: for a rate that is none or is 1 and above, for counts and times that cannot be.
        UsageError: for a hook that cannot be called.
    """

    __slots__ = (  # noqa: RUF023 - as they are given
        "max_error_rate",
        "window",
        "min_outcomes",
        "pause",
        "max_pause",
        "probes",
        "on_unhealthy",
        "on_recovered",
    )

    def __init__(
        self,
        max_error_rate: float | str = 0.5,
        window: int = 50,
        *,
        min_outcomes: int | None = None,
        pause: float | str = PAUSE_S,
        max_pause: float | str | None = None,
        probes: int = 1,
        on_unhealthy: Hook | None = None,
        on_recovered: Hook | None = None,
    ) -> None:
        self.max_error_rate = _rate("max_error_rate", max_error_rate)
        self.window = count("window", window)
        self.min_outcomes = min(LEAST, self.window) if min_outcomes is None else count("min_outcomes", min_outcomes)
        if self.min_outcomes > self.window:
            raise LimitError(f"min_outcomes is {min_outcomes}, and the window holds {window} only")
        self.pause = seconds("pause", pause)
        self.max_pause = max(LONGEST_PAUSE_S, self.pause) if max_pause is None else seconds("max_pause", max_pause)
        if self.max_pause < self.pause:
            raise LimitError(f"max_pause is {self.max_pause:g} s, and the first pause {self.pause:g} s already")
        self.probes = count("probes", probes)
        self.on_unhealthy = _hook("on_unhealthy", on_unhealthy)
        self.on_recovered = _hook("on_recovered", on_recovered)

    def settings(self) -> dict[str, Any]:
        """It without its hooks, as plain data."""
        return {name: value for name, value in self.fields().items() if name not in HOOKS}


HOOKS = ("on_unhealthy", "on_recovered")


def _rate(name: str, value: object) -> float:
    """A share from 0 to below 1, given as such or as text such as `"50%"`."""
    share = value
    if isinstance(value, str) and value.isascii() and value.strip().endswith("%"):
        try:
            share = float(value.strip()[:-1]) / 100
        except ValueError:
            share = None
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share < 1:
        raise LimitError(f'{name} must be a share from 0 to below 1, such as 0.5 or "50%", not {value!r}')
    return float(share)


def _hook(name: str, value: Hook | None) -> Hook | None:
    if value is not None and not callable(value):
        raise UsageError(f"{name} must be a function of a HealthReport, not {value!r}")
    return value


def monitor_of(name: str, value: object) -> HealthMonitor:
    """A monitor, given as such or as a mapping of its options: what a file has.

    Raises:
        LimitError, UsageError: for what cannot be one.
    """
    if isinstance(value, HealthMonitor):
        return value
    if not isinstance(value, Mapping):
        raise LimitError(f'{name} must be a mapping such as {{"max_error_rate": 0.5, "window": 50}}, not {value!r}')
    known = [each for each in HealthMonitor.__slots__ if each not in HOOKS]
    for option in value:
        if option not in known:
            raise UsageError(f"unknown option {option!r} in {name}{nearest(str(option), known)}")
    return HealthMonitor(**value)


Monitors = tuple[tuple[str | None, HealthMonitor], ...]
"""By the pool that is watched; None: the run."""


def monitors_of(name: str, value: object) -> Monitors:
    """Those of a run: one for all of it, or a mapping from pools to theirs, with None for the run's own.

    Raises:
        LimitError, UsageError: for what cannot be.
    """
    if value is None or value == ():
        return ()
    if isinstance(value, Mapping) and value and all(isinstance(each, HealthMonitor) for each in value.values()):
        for pool in value:
            if pool is not None and not isinstance(pool, str):
                raise LimitError(f"{name} must map names of pools to monitors, and has {pool!r}")
        return tuple(value.items())
    return ((None, monitor_of(name, value)),)


def check_monitored(monitors: Monitors, pools: Iterable[str], policies: Iterable[Policy]) -> None:
    """Nothing, if each pool that is to be watched is declared, or named by a task.

    Raises:
        UsageError: otherwise.
    """
    known = {*pools, *(name for policy in policies for name, _, _ in policy.pool)}
    for pool, _ in monitors:
        if pool is not None and pool not in known:
            raise UsageError(f"health is to watch pool {pool!r}, which nobody has{nearest(pool, known)}")


OPEN, SHUT, PROBING = "open", "shut", "probing"


class Health(Limit):
    """A limit without a number while all is well; shut for a while once it is not; then of one, the probe, until that says which it is.

    While it is not open what began before it shut is counted above its capacity, so that it stands in nobody's way.
    """

    __slots__ = ("bad", "epoch", "epochs", "good_probes", "judged", "monitor", "number", "outcomes", "pause", "state")

    is_health = True

    def __init__(self, pool: str | None, monitor: HealthMonitor, number: int) -> None:
        super().__init__("health", pool or "", sys.maxsize)
        self.monitor = monitor
        self.number = number
        self.state = OPEN
        self.outcomes: deque[bool] = deque()
        """Of the latest attempts, the oldest first: did it fail?"""
        self.bad = 0
        self.judged = (0, 0)
        """Errors and outcomes when it was last found unhealthy."""
        self.epoch = 0
        self.epochs: dict[int, int] = {}
        """In which epoch a running attempt began: each time that this shuts another one begins."""
        self.pause = 0.0
        self.good_probes = 0

    @property
    def what(self) -> str:
        """What it watches, for people."""
        return f"pool {self.name!r}" if self.name else "the run"

    def enter(self, task: int) -> None:
        """An attempt starts."""
        self.epochs[task] = self.epoch

    def leave(self, task: int) -> None:
        """An attempt gives its unit back."""
        if self.state != OPEN and self.epochs.get(task) != self.epoch:
            self.capacity -= 1

    def judge(self, task: int, good: bool | None, held: bool) -> bool | None:
        """What an attempt came to; None says nothing. `held`: it keeps its unit, for it cannot be ended.

        True: that made all well again. False: it is shut from here on. None: as it was.
        """
        mine = self.epochs.pop(task, None) == self.epoch
        if self.state == PROBING and mine and held and good is not False:
            self.capacity += 1  # it is the probe no more, and stands in nobody's way
        if not mine or good is None or self.state == SHUT:
            return None
        if self.state == OPEN:
            return None if self._count(not good) else self._shut(len(self.outcomes))
        if not good:
            self.bad = 1
            return self._shut(1)
        self.good_probes += 1
        return self._open() if self.good_probes >= self.monitor.probes else None

    def probe(self) -> None:
        """The pause is over: one may start."""
        self.state = PROBING
        self.good_probes = 0
        self.capacity += 1

    def _count(self, failed: bool) -> bool:
        """Is all well, with this outcome?"""
        outcomes, monitor = self.outcomes, self.monitor
        outcomes.append(failed)
        self.bad += failed
        if len(outcomes) > monitor.window:
            self.bad -= outcomes.popleft()
        size = len(outcomes)
        return size < monitor.min_outcomes or self.bad <= monitor.max_error_rate * size + ROUNDING

    def _shut(self, size: int) -> bool:
        monitor = self.monitor
        self.judged = (self.bad, size)
        self.pause = min(2 * self.pause, monitor.max_pause) if self.pause else monitor.pause
        self.state = SHUT
        self.epoch += 1
        self.capacity = self.used
        self._forget()
        return False

    def _open(self) -> bool:
        self.state = OPEN
        self.capacity = sys.maxsize
        self.pause = 0.0
        self._forget()
        return True

    def _forget(self) -> None:
        self.outcomes.clear()
        self.bad = 0
