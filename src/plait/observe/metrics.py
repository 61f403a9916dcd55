"""What a run costs and where its time goes, from its events alone: counts and times by kind of task and by pool.

A reader keeps a few numbers for each kind, however many tasks there are. Exact are counts, sums, means, the least and the most; a
median and a 95th percentile come from buckets whose bounds grow by 2 % (Masson, Rim and Lee: DDSketch, 2019), and are at most 1 %
away from a time that was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from math import ceil, log
from typing import TYPE_CHECKING, Any

from plait._core.questions import INTERRUPT
from plait._core.states import STATUSES
from plait.observe.readers import Reader

if TYPE_CHECKING:
    from plait.observe.stream import RunEvent

ACCURACY = 0.01
"""How far a percentile may be from a time that was measured, as a share of it."""

_GROWTH = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GROWTH = log(_GROWTH)
_LEAST_S = 1e-9
"""Times below are taken for none: a nanosecond is less than any clock here can tell."""

MOST_KINDS = 1_000
"""Kinds that are told apart; what comes later is counted as OTHER, so that keys that somebody makes up cost no memory."""

OTHER = "other"


class Names:
    """The first `most` names as they are; those that come later are OTHER."""

    __slots__ = ("_known", "_most")

    def __init__(self, most: int) -> None:
        self._known: set[str] = set()
        self._most = most

    def __getitem__(self, name: str) -> str:
        if name in self._known:
            return name
        if len(self._known) >= self._most:
            return OTHER
        self._known.add(name)
        return name


class Spread:
    """Times in seconds, none of them kept: `count`, `total`, `least`, `most`, and where most of them lie."""

    __slots__ = ("_buckets", "count", "least", "most", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.least = 0.0
        self.most = 0.0
        self._buckets: dict[int | None, int] = {}  # by the exponent of their upper bound; None: no time at all

    def add(self, seconds: float) -> None:
        """One more."""
        if not self.count or seconds < self.least:
            self.least = seconds
        if seconds > self.most:
            self.most = seconds
        self.count += 1
        self.total += seconds
        bucket = ceil(log(seconds) / _LOG_GROWTH) if seconds > _LEAST_S else None
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def merge(self, other: Spread) -> None:
        """All of another one."""
        if not other.count:
            return
        self.least = min(self.least, other.least) if self.count else other.least
        self.most = max(self.most, other.most)
        self.count += other.count
        self.total += other.total
        for bucket, number in list(other._buckets.items()):
            self._buckets[bucket] = self._buckets.get(bucket, 0) + number

    @property
    def mean(self) -> float | None:
        """The mean; None without any."""
        return self.total / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        """The time that `share` (0 to 1) of all do not exceed, by nearest rank, to 1 %; None without any."""
        if not self.count:
            return None
        rank, seen = max(1, ceil(share * self.count)), 0
        for bucket, number in sorted(self._buckets.items(), key=lambda each: (each[0] is not None, each[0] or 0)):
            seen += number
            if seen >= rank:
                middle = 0.0 if bucket is None else 2 * _GROWTH**bucket / (_GROWTH + 1)
                return min(max(middle, self.least), self.most)
        return self.most

    def as_dict(self) -> dict[str, Any]:
        """`count`, `total`, `mean`, `p50`, `p95`, `max`, as JSON has them; None where there are none."""
        found = {
            "total": self.total,
            "mean": self.mean,
            "p50": self.quantile(0.5),
            "p95": self.quantile(0.95),
            "max": self.most if self.count else None,
        }
        return {"count": self.count, **{name: None if each is None else round(each, 6) for name, each in found.items()}}


class Figures:
    """What is known of the tasks of one kind, of one pool, or of all.

    `counts` by final status, `kept` of them from an earlier generation of the run; `ready` and `running` now. `attempts` that have
    started, `retries` that were wanted after a failure, `interrupted` attempts whose process died or left. `queue_s` from ready
    to each start, `run_s` from there to the attempt's end, `overhead_s` the part of `queue_s` that nothing but plait itself can
    explain; a pause between two attempts is in none of them. `held_s` is `run_s` times the weight in a pool, summed up.
    """

    __slots__ = ("attempts", "counts", "held_s", "interrupted", "kept", "overhead_s", "queue_s", "ready", "retries", "run_s", "running")  # fmt: skip

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.kept = 0
        self.attempts = 0
        self.retries = 0
        self.interrupted = 0
        self.ready = 0
        self.running = 0
        self.held_s = 0.0
        self.queue_s = Spread()
        self.run_s = Spread()
        self.overhead_s = Spread()

    def merge(self, other: Figures) -> None:
        """All of another one."""
        for status, number in list(other.counts.items()):
            self.counts[status] = self.counts.get(status, 0) + number
        for name in ("kept", "attempts", "retries", "interrupted", "ready", "running", "held_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _TIMES:
            getattr(self, name).merge(getattr(other, name))

    def see(self, name: str, detail: Mapping[str, Any], weight: int) -> None:
        """One event of one of the tasks."""
        step = _STEPS.get(name)
        if step is not None:
            step(self, detail)
        elif name.startswith("task_"):
            self._final(name[5:], detail)
        ran = detail.get("slot_s", detail.get("run_s"))
        if ran is not None:
            self.running -= 1
            self.run_s.add(ran)
            self.held_s += ran * weight

    def _on_ready(self, detail: Mapping[str, Any]) -> None:
        self.ready += 1
        self.interrupted += "run_s" in detail

    def _on_started(self, detail: Mapping[str, Any]) -> None:
        self.ready -= 1
        self.running += 1
        self.attempts += "goes_on" not in detail
        self.queue_s.add(detail["queued_s"])
        overhead = detail.get("overhead_s")
        if overhead is not None:
            self.overhead_s.add(overhead)

    def _on_retrying(self, detail: Mapping[str, Any]) -> None:
        self.retries += 1

    def _on_waiting(self, detail: Mapping[str, Any]) -> None:
        """It waits for a person, without a slot; one that was cut short had an attempt that came to nothing."""
        self.ready -= detail.get("was") == "ready"
        self.interrupted += "run_s" in detail and detail.get("question", {}).get("kind") == INTERRUPT

    def _on_answered(self, detail: Mapping[str, Any]) -> None:
        self.ready += 1

    def _final(self, status: str, detail: Mapping[str, Any]) -> None:
        self.counts[status] = self.counts.get(status, 0) + 1
        self.kept += "kept" in detail
        self.ready -= detail.get("was") == "ready"

    def as_dict(self) -> dict[str, Any]:
        """As JSON has them; the counts in the order of statuses."""
        counts = dict(self.counts)
        return {
            "counts": {str(status): counts[status] for status in STATUSES if status in counts},
            **{
                name: getattr(self, name) for name in ("kept", "attempts", "retries", "interrupted", "ready", "running")
            },
            **{name: getattr(self, name).as_dict() for name in _TIMES},
        }


_TIMES = ("queue_s", "run_s", "overhead_s")
_STEPS = {
    "task_ready": Figures._on_ready,
    "task_started": Figures._on_started,
    "task_retrying": Figures._on_retrying,
    "task_waiting": Figures._on_waiting,
    "task_answered": Figures._on_answered,
}


class Metrics(Reader):
    """A reader of one run's events: how many tasks of each kind ended how, and where the time went.

    Given as `readers=[metrics]` to whatever runs, it may be looked at from any thread, at any moment and after the end. A kind is
    the name of the function or command, or the key in a workflow file, without an item's number. Groups and maps hold no
    slot: their children are counted, they are not.

    `total`, and by name `kinds` and `pools`, are figures: `counts` by status, `attempts`, `retries`, and times in seconds:
    `queue_s` from ready to each start, `run_s` from the start of an attempt to its end, `overhead_s`. The last is the part of `queue_s` for which the
    slot that it got stood free: `start - max(ready, slot free since, run resumed)`, of attempts that waited for nothing but a slot. So
    wall x slots = busy + overhead + what nobody had use for. Each
    has `count`, `total`, `mean`, `least`, `most`, which are exact, and `quantile(0.95)`, exact to 1 %.

    `slots` (None: no limit), `peak` of slots taken, `busy_s` for which they were, `wall_s` and, once the run is over,
    `critical_path_s` and `efficiency` = busy slot time / (wall x slots).

    Raises:
        ValueError: when it is shown the events of another run; each run has its own.
    """

    prompt = True

    def __init__(self) -> None:
        self.run: str | None = None
        """The run's id, once it began."""
        self.whole = False
        """Has it seen the run from its first event on?"""
        self.slots: int | None = None
        self.peak = 0
        self.critical_path_s: float | None = None
        self._began = 0.0
        self._latest = 0.0
        self._wall_s: float | None = None
        self._capacities: dict[str, int] = {}
        self._names = Names(MOST_KINDS)
        self._kinds: dict[str, Figures] = {}
        self._pools: dict[str, Figures] = {}

    def __call__(self, event: RunEvent | None) -> None:
        """Counts one event; None, the end, changes nothing."""
        if event is None:
            return
        if event.run != self.run:
            self._begin(event)
        self._latest = event.at
        detail = event.detail
        if event.kind is None:
            self._of_run(event.event, event.at, detail)
            return
        if "group" in detail:
            return
        name = event.event
        if event.slot is not None and event.slot > self.peak:  # the lowest free one is taken
            self.peak = event.slot
        kind = self._names[event.kind]
        figures = self._kinds.get(kind)
        if figures is None:
            figures = self._kinds[kind] = Figures()
        figures.see(name, detail, 1)
        for pool, weight in event.pool.items():
            figures = self._pools.get(pool)
            if figures is None:
                figures = self._pools[pool] = Figures()
            figures.see(name, detail, weight)

    def enter(self, run: str, name: str, so_far: Metrics) -> None:
        """Goes on from the figures that the run had when this process took it over, if it did."""
        self.__dict__.update(deepcopy(so_far.__dict__))
        self.run = run

    def _begin(self, event: RunEvent) -> None:
        if self.run is not None:
            raise ValueError(f"these figures are of run {self.run}; give run {event.run} a plait.Metrics() of its own")
        self.run = event.run
        self._began = event.at

    def _of_run(self, name: str, at: float, detail: Mapping[str, Any]) -> None:
        if name == "run_started":
            self.whole, self._began = True, at
            self.slots = detail["slots"]
            self._capacities.update(detail["pools"])
        elif name == "run_finished":
            self.know(detail["wall_s"], detail["critical_path_s"], detail.get("pools", {}))

    def know(self, wall_s: float, critical_path_s: float, pools: Mapping[str, int]) -> None:
        """What no event of a task tells: seconds of the run up to now, those of its critical path, capacities of its pools."""
        self._wall_s = wall_s
        self.critical_path_s = critical_path_s
        self._capacities.update(pools)

    @property
    def kinds(self) -> Mapping[str, Figures]:
        """The figures of each kind, in the order in which they came."""
        return dict(self._kinds)

    @property
    def pools(self) -> Mapping[str, Figures]:
        """The figures of the tasks that name a pool, by its name."""
        return dict(self._pools)

    @property
    def total(self) -> Figures:
        """The figures of all tasks, as they are now."""
        return _sum(list(self._kinds.values()))

    @property
    def wall_s(self) -> float:
        """Seconds of the run; of one that is not over, up to its latest event."""
        return self._latest - self._began if self._wall_s is None else self._wall_s

    @property
    def busy_s(self) -> float:
        """Seconds for which slots were taken, all together, by attempts that have ended."""
        return sum([each.run_s.total for each in list(self._kinds.values())])

    @property
    def efficiency(self) -> float | None:
        """Busy slot time / (wall x slots); without a limit, those taken at the peak are the slots. None for a run of no time."""
        return _share(self.busy_s, self.wall_s, self.slots or self.peak)

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON has it: `slots`, `peak`, `busy_s`, and figures: `total`, `kinds`, `pools` with `capacity` and `efficiency`."""
        return {
            "slots": self.slots,
            "peak": self.peak,
            "busy_s": round(self.busy_s, 6),
            "total": self.total.as_dict(),
            "kinds": {name: each.as_dict() for name, each in self.kinds.items()},
            "pools": {name: self._of_pool(name, each) for name, each in self.pools.items()},
        }

    def _of_pool(self, name: str, figures: Figures) -> dict[str, Any]:
        capacity = self._capacities.get(name)
        share = None if capacity is None else _share(figures.held_s, self.wall_s, capacity)
        return {"capacity": capacity, "efficiency": None if share is None else round(share, 4), **figures.as_dict()}


def _share(busy_s: float, wall_s: float, slots: int) -> float | None:
    return busy_s / (wall_s * slots) if wall_s > 0 and slots else None


def _sum(parts: Iterable[Figures]) -> Figures:
    whole = Figures()
    for each in parts:
        whole.merge(each)
    return whole


__all__ = ["Figures", "Metrics", "Names", "Spread"]
