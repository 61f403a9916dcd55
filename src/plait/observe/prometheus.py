"""Figures of runs for Prometheus: counted from events, and collected when it asks."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from plait._core.states import RunStatus
from plait.errors import MissingExtra, UsageError
from plait.observe.metrics import OTHER, Names
from plait.observe.readers import Reader

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import CollectorRegistry

    from plait.observe.metrics import Metrics
    from plait.observe.stream import RunEvent

BUCKETS_S = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
"""Upper bounds of the histograms, in seconds: from a call of a function to a long build."""

MOST_LABELS = 200
"""Kinds (with the pools that they name) and names of runs that have series of their own; the others share the label `other`."""

_OVER = (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.REJECTED, RunStatus.CANCELLED)


class PrometheusExporter(Reader):
    """A reader that gives the figures of every run it is shown to Prometheus: `readers=[exporter]`, one exporter for a program.

    It registers with `registry` (None: that of `prometheus_client`), which your program shows as it does its other figures
    (`prometheus_client.start_http_server(8000)`). Labels are `kind` (the function's or command's name, or the key in a workflow
    file, never that of an item), `pool` (those that a task names, joined by `+`; empty for none), `status`, and the `name` of a run; at most
    200 kinds and names. `buckets` are the upper bounds of the histograms in seconds.

    Counters: `plait_tasks_total{kind,pool,status}`, `plait_task_attempts_total`, `plait_task_retries_total`,
    `plait_task_interruptions_total` `{kind,pool}`, `plait_runs_total{name,status}`. Histograms: `plait_task_queue_seconds`,
    `plait_task_run_seconds`, `plait_task_overhead_seconds` `{kind,pool}`, `plait_run_seconds{name}`. Gauges:
    `plait_tasks_ready`, `plait_tasks_running` `{kind,pool}`, `plait_runs_active{name}`, and of the latest run that ended
    `plait_run_efficiency_ratio{name}`, `plait_run_critical_path_seconds{name}`.

    Raises:
        MissingExtra: without the package prometheus-client.
        UsageError: for buckets that are not ascending seconds, or a registry that has an exporter already.
    """

    prompt = True

    def __init__(self, registry: CollectorRegistry | None = None, buckets: Sequence[float] = BUCKETS_S) -> None:
        try:
            import prometheus_client
            from prometheus_client import metrics_core
        except ImportError:
            raise MissingExtra(
                "figures for Prometheus need the package 'prometheus-client': pip install \"plait[prometheus]\""
            ) from None
        self._core = metrics_core
        self._bounds = _checked(buckets)
        self._lock = threading.Lock()  # runs of several loops count, and a server's thread collects
        self._tasks, self._names = Names(MOST_LABELS), Names(MOST_LABELS)
        self._counters: dict[str, dict[tuple[str, ...], int]] = {name: {} for name in _COUNTERS}
        self._gauges: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in _GAUGES}
        self._histograms: dict[str, dict[tuple[str, ...], _Histogram]] = {name: {} for name in _HISTOGRAMS}
        self._runs: dict[str, _Live] = {}
        try:
            (prometheus_client.REGISTRY if registry is None else registry).register(self)
        except ValueError as error:
            raise UsageError(f"one exporter serves all runs of a program, and this registry has one: {error}") from None

    def __call__(self, event: RunEvent | None) -> None:
        """Counts one event."""
        if event is None or "group" in event.detail:
            return
        with self._lock:
            live = self._runs.get(event.run)
            if live is None:
                live = self._live(event.run, str(event.detail.get("name", "")))
            if event.kind is not None:
                self._of_task(event, event.kind, live)
            elif event.event == "run_finished":
                self._of_run(event.run, live, event.detail)

    def enter(self, run: str, name: str, so_far: Metrics) -> None:
        """Counts what this process does of the run; what others did was theirs to count."""
        with self._lock:
            if run not in self._runs:
                self._live(run, name)

    def leave(self, run: str) -> None:
        """Nothing of `run` is ready or running here any more."""
        with self._lock:
            live = self._runs.get(run)
            if live is not None:
                self._forget(run, live)

    def _live(self, run: str, name: str) -> _Live:
        live = self._runs[run] = _Live(self._names[name])
        self._move("plait_runs_active", (live.name,), 1)
        return live

    def _of_task(self, event: RunEvent, kind: str, live: _Live) -> None:
        name, detail = event.event, event.detail
        labels = self._labels(kind, event.pool)
        if name in ("task_ready", "task_answered"):
            self._hold("plait_tasks_ready", labels, 1, live)
        if name == "task_started":
            self._hold("plait_tasks_ready", labels, -1, live)
            self._hold("plait_tasks_running", labels, 1, live)
            self._observe("plait_task_queue_seconds", labels, detail["queued_s"])
            if "overhead_s" in detail:
                self._observe("plait_task_overhead_seconds", labels, detail["overhead_s"])
            if "goes_on" not in detail:
                self._count("plait_task_attempts", labels)
            return
        if "run_s" in detail:
            self._hold("plait_tasks_running", labels, -1, live)
            self._observe("plait_task_run_seconds", labels, detail.get("slot_s", detail["run_s"]))
            if name == "task_ready":
                self._count("plait_task_interruptions", labels)
        if name == "task_retrying":
            self._count("plait_task_retries", labels)
        elif name not in _ON_THE_WAY:
            if detail.get("was") == "ready":
                self._hold("plait_tasks_ready", labels, -1, live)
            if "kept" not in detail:  # an earlier generation counted it
                self._count("plait_tasks", (*labels, name.removeprefix("task_")))

    def _labels(self, kind: str, pool: Mapping[str, int]) -> tuple[str, str]:
        pools = "+".join(sorted(pool)) if pool else ""
        return (kind, pools) if self._tasks[f"{kind}\0{pools}"] != OTHER else (OTHER, "")

    def _of_run(self, run: str, live: _Live, detail: Mapping[str, Any]) -> None:
        status = detail["status"] if detail["status"] in _OVER else "interrupted"
        self._count("plait_runs", (live.name, status))
        self._observe("plait_run_seconds", (live.name,), detail["wall_s"])
        if detail["efficiency"] is not None:
            self._gauges["plait_run_efficiency_ratio"][live.name,] = detail["efficiency"]
        self._gauges["plait_run_critical_path_seconds"][live.name,] = detail["critical_path_s"]
        self._forget(run, live)

    def _forget(self, run: str, live: _Live) -> None:
        for (gauge, labels), number in live.held.items():
            self._move(gauge, labels, -number)
        self._move("plait_runs_active", (live.name,), -1)
        del self._runs[run]

    def _hold(self, gauge: str, labels: tuple[str, ...], step: int, live: _Live) -> None:
        held = live.held.get((gauge, labels), 0) + step
        if held >= 0:  # else it got there in another process
            live.held[gauge, labels] = held
            self._move(gauge, labels, step)

    def _move(self, gauge: str, labels: tuple[str, ...], step: int) -> None:
        series = self._gauges[gauge]
        series[labels] = series.get(labels, 0) + step

    def _count(self, counter: str, labels: tuple[str, ...]) -> None:
        series = self._counters[counter]
        series[labels] = series.get(labels, 0) + 1

    def _observe(self, histogram: str, labels: tuple[str, ...], seconds: float) -> None:
        series = self._histograms[histogram]
        found = series.get(labels)
        if found is None:
            found = series[labels] = _Histogram(len(self._bounds))
        found.numbers[bisect_left(self._bounds, seconds)] += 1
        found.total += seconds

    def collect(self) -> Iterator[Metric]:
        """The figures, as a registry of `prometheus_client` asks for them."""
        with self._lock:  # a run may wait for it: no longer than a copy takes
            counters = {name: dict(series) for name, series in self._counters.items()}
            gauges = {name: dict(series) for name, series in self._gauges.items()}
            histograms = {
                name: {labels: each.copy() for labels, each in series.items()}
                for name, series in self._histograms.items()
            }
        for name, (text, labels) in _COUNTERS.items():
            counter = self._core.CounterMetricFamily(name, text, labels=labels)
            for values, number in counters[name].items():
                counter.add_metric(values, number)
            yield counter
        for name, (text, labels) in _HISTOGRAMS.items():
            histogram = self._core.HistogramMetricFamily(name, text, labels=labels)
            for values, each in histograms[name].items():
                histogram.add_metric(values, each.buckets(self._bounds), each.total)
            yield histogram
        for name, (text, labels) in _GAUGES.items():
            gauge = self._core.GaugeMetricFamily(name, text, labels=labels)
            for values, share in gauges[name].items():
                gauge.add_metric(values, share)
            yield gauge


class _Live:
    """What gauges hold of a run that is not over."""

    __slots__ = ("held", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.held: dict[tuple[str, tuple[str, ...]], int] = {}


class _Histogram:
    __slots__ = ("numbers", "total")

    def __init__(self, size: int) -> None:
        self.numbers = [0] * size
        self.total = 0.0

    def copy(self) -> _Histogram:
        """The same, as it is now."""
        made = _Histogram(0)
        made.numbers, made.total = self.numbers.copy(), self.total
        return made

    def buckets(self, bounds: Sequence[float]) -> list[tuple[str, float]]:
        """How many were at most as long as each bound."""
        seen, found = 0, []
        for bound, number in zip(bounds, self.numbers, strict=True):
            seen += number
            found.append(("+Inf" if bound == inf else repr(bound), float(seen)))
        return found


def _checked(buckets: Sequence[float]) -> tuple[float, ...]:
    bounds = tuple(buckets)
    for each in bounds:
        if isinstance(each, bool) or not isinstance(each, (int, float)) or not (each > 0 and isfinite(each)):
            raise UsageError(f"buckets are seconds above 0, not {each!r}")
    if not bounds or any(after <= before for before, after in pairwise(bounds)):
        raise UsageError(f"buckets must ascend, and {list(bounds)!r} do not")
    return (*map(float, bounds), inf)


_ON_THE_WAY = ("task_ready", "task_answered", "task_waiting", "task_retrying")
_TASK, _RUN = ("kind", "pool"), ("name",)
_COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "plait_tasks": ("Tasks that are final.", (*_TASK, "status")),
    "plait_task_attempts": ("Attempts that started.", _TASK),
    "plait_task_retries": ("Attempts that failed and were to be followed by another one.", _TASK),
    "plait_task_interruptions": ("Attempts whose process died, or left its run.", _TASK),
    "plait_runs": ("Runs that ended here.", (*_RUN, "status")),
}
_HISTOGRAMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "plait_task_queue_seconds": ("From ready to the start of an attempt.", _TASK),
    "plait_task_run_seconds": ("From the start of an attempt to its end.", _TASK),
    "plait_task_overhead_seconds": ("For which the slot of an attempt stood free, and its task was ready.", _TASK),
    "plait_run_seconds": ("From the start of a run to its end.", _RUN),
}
_GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "plait_tasks_ready": ("Tasks that wait for a slot or a limit.", _TASK),
    "plait_tasks_running": ("Tasks that run.", _TASK),
    "plait_runs_active": ("Runs that are not over.", _RUN),
    "plait_run_efficiency_ratio": ("Busy slot time / (wall x slots) of the latest run.", _RUN),
    "plait_run_critical_path_seconds": ("The longest chain of needs of the latest run.", _RUN),
}

__all__ = ["PrometheusExporter"]
