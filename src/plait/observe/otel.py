"""Runs as traces and figures for OpenTelemetry: spans of the run, its tasks and their attempts, made of events alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from plait._core.states import RunStatus
from plait._version import __version__
from plait.errors import MissingExtra
from plait.observe.metrics import Names
from plait.observe.readers import Reader

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Link, Span, SpanContext, TracerProvider

    from plait.observe.metrics import Metrics
    from plait.observe.stream import RunEvent

MOST_KINDS = 200
"""Kinds that figures tell apart; the others are `other`. Spans have them all."""

MOST_LINKED = 100_000
"""Tasks that are over, and whose spans can still be linked to; of more, the latest."""

_BAD = ("failed", "timed_out")


class OpenTelemetryExporter(Reader):
    """A reader that makes spans and figures of every run it is shown: `readers=[exporter]`, or `plait.retell` for a stored one.

    They go to `tracer_provider` and `meter_provider` (None: those that your program has set). `context` (None: none) holds the
    span that runs are to stand under. The span of a task lies under that of its run or of the group that grew it, lasts from when it was ready
    to its end, links to the spans of the tasks that it needed, and holds one span for each attempt. A task that failed or timed out
    has the status ERROR, and its error as an event `exception`. Attributes: `plait.run.id`, `plait.run.name`, `plait.run.status`,
    `plait.task.key`, `plait.task.kind`, `plait.task.pool`, `plait.task.status`, `plait.task.attempt`, `plait.slot`,
    `error.type`.

    Figures: `plait.tasks`, `plait.task.attempts`, `plait.task.retries`, `plait.tasks.running`, and in seconds
    `plait.task.queue_time`, `plait.task.run_time`, `plait.task.overhead_time`, by `plait.task.kind` and `plait.task.pool`;
    `plait.runs`, `plait.run.duration`. Where exporting blocks, the run does not: see `readers` of `plait.arun`. Of a run that is resumed the spans are those
    of what this process does.

    Raises:
        MissingExtra: without the package opentelemetry-api.
    """

    needs = True
    ignores = frozenset(("task_answered", "run_waiting"))

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        context: Context | None = None,
    ) -> None:
        try:
            from opentelemetry import context as contexts
            from opentelemetry import metrics, trace
        except ImportError:
            raise MissingExtra(
                "traces for OpenTelemetry need the package 'opentelemetry-api': pip install \"plait[otel]\""
            ) from None
        self._trace = trace
        self._tracer = trace.get_tracer("plait", __version__, tracer_provider)
        self._context = contexts.Context() if context is None else context
        self._runs: dict[str, _Traced] = {}
        self._entered: dict[str, str] = {}  # names of runs that another process began
        self._kinds, self._pools = Names(MOST_KINDS), Names(MOST_KINDS)
        meter = metrics.get_meter("plait", __version__, meter_provider)
        self._tasks = meter.create_counter("plait.tasks", "{task}", "Tasks that are final.")
        self._attempts = meter.create_counter("plait.task.attempts", "{attempt}", "Attempts that started.")
        self._retries = meter.create_counter("plait.task.retries", "{attempt}", "Attempts to be followed by another.")
        self._running = meter.create_up_down_counter("plait.tasks.running", "{task}", "Tasks that run.")
        self._queue = meter.create_histogram("plait.task.queue_time", "s", "From ready to a start.")
        self._run = meter.create_histogram("plait.task.run_time", "s", "From the start of an attempt to its end.")
        self._overhead = meter.create_histogram(
            "plait.task.overhead_time", "s", "For which the slot of an attempt stood free, and its task was ready."
        )
        self._over = meter.create_counter("plait.runs", "{run}", "Runs that ended here.")
        self._lasted = meter.create_histogram("plait.run.duration", "s", "From the start of a run to its end.")

    def __call__(self, event: RunEvent | None) -> None:
        """Makes what follows from one event."""
        if event is None:
            return
        traced = self._runs.get(event.run)
        if traced is None:
            traced = self._runs[event.run] = self._begin(event)
        if event.kind is not None:
            self._of_task(event, event.kind, traced)
        elif event.event == "run_finished":
            self._finish(event, traced)

    def enter(self, run: str, name: str, so_far: Metrics) -> None:
        """Makes spans of what this process does of the run."""
        self._entered[run] = name

    def leave(self, run: str) -> None:
        """Ends the spans of a run that goes on elsewhere, or is not over in its store, at its latest event."""
        self._entered.pop(run, None)
        traced = self._runs.pop(run, None)
        if traced is not None:
            self._end_open(traced, traced.latest)
            traced.root.set_attribute("plait.run.status", "interrupted")
            traced.root.end(traced.latest)

    # -- the run

    def _begin(self, event: RunEvent) -> _Traced:
        name = self._entered.pop(event.run, "") if event.event != "run_started" else str(event.detail["name"])
        attributes: dict[str, Any] = {"plait.run.id": event.run, "plait.run.name": name}
        if event.event != "run_started":
            attributes["plait.run.resumed"] = True
        root = self._tracer.start_span(
            f"run {name}".strip(), self._context, attributes=attributes, start_time=_ns(event.at)
        )
        return _Traced(root, name, _ns(event.at))

    def _finish(self, event: RunEvent, traced: _Traced) -> None:
        detail, at = event.detail, _ns(event.at)
        del self._runs[event.run]  # whatever a processor of spans raises
        self._end_open(traced, at)
        status = detail["status"] if detail["status"] in _OVER else "interrupted"
        root = traced.root
        root.set_attribute("plait.run.status", status)
        root.set_attribute("plait.run.critical_path_s", detail["critical_path_s"])
        if detail["efficiency"] is not None:
            root.set_attribute("plait.run.efficiency", detail["efficiency"])
        for name, number in detail["counts"].items():
            root.set_attribute(f"plait.run.tasks.{name}", number)
        if status in ("failed", "rejected"):
            root.set_status(self._trace.StatusCode.ERROR, detail.get("reason"))
        root.end(at)
        self._over.add(1, {"plait.run.name": traced.name, "plait.run.status": status})
        self._lasted.record(detail["wall_s"], {"plait.run.name": traced.name, "plait.run.status": status})

    def _end_open(self, traced: _Traced, at: int) -> None:
        for attempt in traced.attempts.values():
            attempt.span.end(at)
            self._running.add(-1, attempt.labels)
        for span in reversed(traced.tasks.values()):
            span.end(at)

    # -- its tasks

    def _of_task(self, event: RunEvent, kind: str, traced: _Traced) -> None:
        name, detail = event.event, event.detail
        traced.latest = max(traced.latest, _ns(event.at))
        labels: dict[str, Any] = {"plait.task.kind": self._kinds[kind]}
        if event.pool:
            labels["plait.task.pool"] = self._pools["+".join(sorted(event.pool))]
        group = "group" in detail
        if name == "task_started":
            self._start(event, kind, traced, labels, group)
            return
        if "run_s" in detail and not group:
            self._end_attempt(event, traced, labels)
        if name == "task_retrying" and not group:
            self._retries.add(1, labels)
        elif name not in ("task_ready", "task_retrying", "task_waiting"):
            self._end_task(event, kind, traced, labels, group)

    def _start(self, event: RunEvent, kind: str, traced: _Traced, labels: Mapping[str, Any], group: bool) -> None:
        detail, at = event.detail, _ns(event.at)
        assert event.task is not None
        task = traced.tasks.get(event.task)
        if task is None:
            task = self._task_span(event, kind, traced, _ns(event.at - detail["queued_s"]))
        if group:
            return
        attributes: dict[str, Any] = {"plait.task.key": event.task, "plait.task.attempt": event.attempt or 1}
        if event.slot is not None:
            attributes["plait.slot"] = event.slot
        span = self._tracer.start_span(f"attempt {kind}", self._under(task), attributes=attributes, start_time=at)
        traced.attempts[event.task] = _Attempt(span, at, labels)
        if "goes_on" not in detail:
            self._attempts.add(1, labels)
        self._running.add(1, labels)
        self._queue.record(detail["queued_s"], labels)
        if "overhead_s" in detail:
            self._overhead.record(detail["overhead_s"], labels)

    def _task_span(self, event: RunEvent, kind: str, traced: _Traced, start: int) -> Span:
        assert event.task is not None
        attributes: dict[str, Any] = {
            "plait.run.id": event.run, "plait.task.key": event.task, "plait.task.kind": kind,
        }  # fmt: skip
        if event.pool:
            attributes["plait.task.pool"] = sorted(event.pool)
        found = (traced.contexts.get(key) for key in event.detail.get("needs", ()))
        links: list[Link] = [self._trace.Link(each) for each in found if each is not None]
        above = self._under(traced.around(event.task))
        span = self._tracer.start_span(f"task {kind}", above, attributes=attributes, links=links, start_time=start)
        traced.tasks[event.task] = span
        return span

    def _end_attempt(self, event: RunEvent, traced: _Traced, labels: Mapping[str, Any]) -> None:
        assert event.task is not None
        detail = event.detail
        self._run.record(detail.get("slot_s", detail["run_s"]), labels)
        attempt = traced.attempts.pop(event.task, None)
        if attempt is None:
            return  # it had started before anybody read
        self._running.add(-1, labels)
        at = _ns(event.at) if "slot_s" not in detail else attempt.start + int(detail["slot_s"] * 1e9)
        if event.event == "task_ready":
            attempt.span.set_attribute("plait.task.status", "interrupted")
        elif "slot_s" not in detail and (event.event == "task_retrying" or event.event.removeprefix("task_") in _BAD):
            self._blame(attempt.span, detail, at)
        attempt.span.end(at)

    def _end_task(self, event: RunEvent, kind: str, traced: _Traced, labels: Mapping[str, Any], group: bool) -> None:
        if "kept" in event.detail:
            return  # an earlier generation of the run did it
        assert event.task is not None
        status, at = event.event.removeprefix("task_"), _ns(event.at)
        span = traced.tasks.get(event.task) or self._task_span(event, kind, traced, at)
        span.set_attribute("plait.task.status", status)
        if status in _BAD:
            self._blame(span, event.detail, at)
        span.end(at)
        del traced.tasks[event.task]
        traced.remember(event.task, span.get_span_context())
        if not group:
            self._tasks.add(1, {**labels, "plait.task.status": status})

    def _blame(self, span: Span, detail: Mapping[str, Any], at: int) -> None:
        """The error of a span, as the conventions for exceptions have it."""
        text = str(detail.get("error", ""))
        kind, _, message = text.partition(": ")
        span.set_attribute("error.type", kind)
        span.add_event("exception", {"exception.type": kind, "exception.message": message}, at)
        span.set_status(self._trace.StatusCode.ERROR, text)

    def _under(self, span: Span) -> Context:
        return self._trace.set_span_in_context(span, self._context)


_OVER = (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.REJECTED, RunStatus.CANCELLED)


class _Attempt:
    __slots__ = ("labels", "span", "start")

    def __init__(self, span: Span, start: int, labels: Mapping[str, Any]) -> None:
        self.span = span
        self.start = start
        self.labels = labels


class _Traced:
    """The spans of a run that are open, and what can be linked to."""

    def __init__(self, root: Span, name: str, at: int) -> None:
        self.root = root
        self.name = name
        self.latest = at
        self.tasks: dict[str, Span] = {}
        self.attempts: dict[str, _Attempt] = {}
        self.contexts: OrderedDict[str, SpanContext] = OrderedDict()

    def around(self, key: str) -> Span:
        """The span of what grew the task `key`, which goes on as long as it does; else that of the run."""
        while key:
            key = key[: max(key.rfind("/"), key.rfind("["), 0)]
            if key in self.tasks:
                return self.tasks[key]
        return self.root

    def remember(self, key: str, context: SpanContext) -> None:
        """A task is over: those that need it can be linked to it."""
        self.contexts[key] = context
        if len(self.contexts) > MOST_LINKED:
            self.contexts.popitem(last=False)


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


__all__ = ["OpenTelemetryExporter"]
