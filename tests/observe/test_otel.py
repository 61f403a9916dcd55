"""Traces and figures for OpenTelemetry, made of events: spans under each other, linked, with the errors and times of the run."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, set_span_in_context

import plait
from plait.testing import Scripted, ScriptedExecutor


class Collected:
    """An exporter whose spans and figures stay in memory."""

    def __init__(self, **options: Any) -> None:
        self._spans, self._figures = InMemorySpanExporter(), InMemoryMetricReader()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._spans))
        meters = MeterProvider(metric_readers=[self._figures])
        self.exporter = plait.OpenTelemetryExporter(self.provider, meters, **options)

    @property
    def spans(self) -> list[ReadableSpan]:
        """All that ended."""
        assert plait.flush_readers(timeout=30)
        return list(self._spans.get_finished_spans())

    def span(self, name: str, key: str | None = None, attempt: int | None = None) -> ReadableSpan:
        """The one span of that name, key and attempt."""
        (found,) = [
            span
            for span in self.spans
            if span.name == name
            and key in (None, dict(span.attributes or {}).get("plait.task.key"))
            and attempt in (None, dict(span.attributes or {}).get("plait.task.attempt"))
        ]
        return found

    def figures(self, name: str) -> dict[tuple[Any, ...], float]:
        """The values of one instrument by its attributes' values: sums, of histograms too."""
        assert plait.flush_readers(timeout=30)
        data = self._figures.get_metrics_data()
        assert data is not None
        return {
            tuple(value for _, value in sorted(point.attributes.items())): getattr(point, "sum", None)
            if hasattr(point, "sum")
            else point.value
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        }


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return round((span.end_time - span.start_time) / 1e9, 4)


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def fetch(item: Any = None) -> Any:
    return item


def parse(item: Any = None) -> Any:
    return item


def graph() -> plait.Graph:
    made = plait.Graph("g", pools={"db": 1})
    made.add("a", fetch, pool="db")
    made.add("b", fetch, pool="db")
    made.add("c", parse, needs=["a", "b"], retry={"attempts": 2, "delay": 10, "jitter": False})
    made.add("d", parse, needs=["c"])
    return made


SCRIPT = {
    "a": Scripted(3),
    "b": Scripted(5),
    "c": [Scripted(1, error=ValueError("x: 1")), Scripted(2, error=KeyError("y"))],
}


class TestSpans:
    def test_b18_spans_of_run_tasks_and_attempts(self) -> None:
        """B18: under each other, linked to what was needed, as long as they took, with status and error."""
        found = Collected()
        ScriptedExecutor(SCRIPT).play(graph(), readers=[found.exporter], max_concurrency=2)
        root, a, b, c = (
            found.span("run g"), found.span("task fetch", "a"), found.span("task fetch", "b"), found.span("task parse", "c"),
        )  # fmt: skip
        first, second = found.span("attempt parse", "c", 1), found.span("attempt parse", "c", 2)
        assert (root.parent, parent_of(a), parent_of(b), parent_of(c)) == (None, *[root.context.span_id] * 3)
        assert parent_of(first) == parent_of(second) == c.context.span_id
        assert {span.context.trace_id for span in found.spans} == {root.context.trace_id}
        assert [link.context.span_id for link in c.links] == [a.context.span_id, b.context.span_id]
        assert [seconds(span) for span in (root, a, b, c, first, second)] == [21, 3, 8, 13, 1, 2]  # b waited for 3 s
        assert c.start_time == b.end_time
        assert (a.status.status_code, c.status.status_code) == (StatusCode.UNSET, StatusCode.ERROR)
        assert (c.status.description, attributes(c)["error.type"]) == ("KeyError: 'y'", "KeyError")
        (event,) = first.events
        assert (event.name, dict(event.attributes or {})) == (
            "exception",
            {"exception.type": "ValueError", "exception.message": "x: 1"},
        )
        assert attributes(a) == {
            "plait.run.id": attributes(root)["plait.run.id"], "plait.task.key": "a", "plait.task.kind": "fetch",
            "plait.task.pool": ("db",), "plait.task.status": "succeeded",
        }  # fmt: skip
        assert attributes(found.span("task parse", "d"))["plait.task.status"] == "upstream_failed"
        assert (root.status.status_code, root.status.description) == (
            StatusCode.ERROR,
            "task 'c' failed: KeyError: 'y'",
        )
        said = attributes(root)
        assert (said["plait.run.status"], said["plait.run.tasks.failed"], said["plait.run.critical_path_s"]) == (
            "failed",
            1,
            7,
        )
        assert len(found.spans) == 1 + 4 + 4

    def test_items_lie_under_their_map_and_grown_tasks_under_who_grew_them(self) -> None:
        """B18."""
        found = Collected()
        inner = plait.task(fetch).bind(1)
        grow = plait.task(parse).bind().named("grow")
        script = {"grow": Scripted(4, value=inner), "grow/fetch": Scripted(3), "fetch[1]": Scripted(2)}
        ScriptedExecutor(script).play([grow, plait.task(fetch).map([1, 2])], readers=[found.exporter])
        assert parent_of(found.span("task fetch", "fetch[1]")) == found.span("task fetch", "fetch").context.span_id
        grown, attempt = found.span("task parse", "grow"), found.span("attempt parse", "grow")
        assert parent_of(found.span("task parse/fetch", "grow/fetch")) == grown.context.span_id
        assert (seconds(grown), seconds(attempt)) == (7, 4)  # the attempt had its slot until it grew

    def test_runs_stand_under_the_span_that_is_given(self) -> None:
        """B18."""
        mine = TracerProvider().get_tracer("mine").start_span("mine")
        under = Collected(context=set_span_in_context(mine))
        plait.run(plait.task(fetch).bind(), readers=[under.exporter])
        assert parent_of(under.span("run fetch")) == mine.get_span_context().span_id

    @pytest.mark.realtime
    def test_a_stored_run_is_exported_afterwards(self, tmp_path: Path) -> None:
        """B18: the same spans, to the nanosecond; also of a run that is not over."""
        live, stored = Collected(), Collected()
        chain = plait.task(parse).bind(plait.task(fetch).bind(1))
        plait.run(chain, store=tmp_path / "runs.db", readers=[live.exporter])
        plait.retell("last", tmp_path / "runs.db", [stored.exporter])

        def told(found: Collected) -> list[Any]:
            return [
                (span.name, span.start_time, span.end_time, attributes(span), len(span.links)) for span in found.spans
            ]

        assert told(stored) == told(live)
        assert len(told(live)) == 5
        assert stored.span("task parse").links[0].context.span_id == stored.span("task fetch").context.span_id

    def test_a_run_that_was_left_ends_its_spans_where_it_was(self) -> None:
        """B18."""
        found = Collected()
        for number, name in enumerate(("run_started", "task_ready", "task_started")):
            detail: dict[str, Any] = {"name": "n", "slots": 1, "pools": {}} if not number else {"queued_s": 1.0}
            task = "k" if number else None
            found.exporter(plait.RunEvent("r", number, 10.0 + number, name, task, 1, 1, detail, kind=task))
        found.exporter.leave("r")
        assert {span.name: seconds(span) for span in found.spans} == {"run n": 2, "task k": 1, "attempt k": 0}
        assert attributes(found.span("run n"))["plait.run.status"] == "interrupted"
        assert found.figures("plait.tasks.running") == {("k",): 0}

    def test_who_resumes_a_run_makes_spans_of_what_it_does(self) -> None:
        """B18: under a span that says so."""
        found = Collected()
        found.exporter.enter("r", "left", plait.Metrics())
        ended = {"run_s": 2.0}
        found.exporter(plait.RunEvent("r", 7, 10.0, "task_ready", "k", 1, 1, {"run_s": 3.0}, kind="k"))
        found.exporter(plait.RunEvent("r", 8, 11.0, "task_started", "k", 2, 1, {"queued_s": 1.0}, kind="k"))
        found.exporter(plait.RunEvent("r", 9, 13.0, "task_succeeded", "k", 2, 1, ended, kind="k"))
        found.exporter.leave("r")
        assert {span.name: seconds(span) for span in found.spans} == {"run left": 3, "task k": 3, "attempt k": 2}
        assert attributes(found.span("run left"))["plait.run.resumed"] is True
        assert found.figures("plait.tasks.running") == {("k",): 0}


class TestFigures:
    def test_b18_instruments_by_kind_pool_and_status(self) -> None:
        """B18."""
        found = Collected()
        ScriptedExecutor(SCRIPT).play(graph(), readers=[found.exporter], max_concurrency=2)
        assert found.figures("plait.tasks") == {
            ("fetch", "db", "succeeded"): 2, ("parse", "failed"): 1, ("parse", "upstream_failed"): 1,
        }  # fmt: skip
        assert found.figures("plait.task.attempts") == {("fetch", "db"): 2, ("parse",): 2}
        assert found.figures("plait.task.retries") == {("parse",): 1}
        assert found.figures("plait.task.run_time") == {("fetch", "db"): 8, ("parse",): 3}
        assert found.figures("plait.task.queue_time") == {("fetch", "db"): 3, ("parse",): 0}
        assert found.figures("plait.task.overhead_time") == {("parse",): 0}
        assert found.figures("plait.tasks.running") == {("fetch", "db"): 0, ("parse",): 0}
        assert found.figures("plait.runs") == {("g", "failed"): 1}
        assert found.figures("plait.run.duration") == {("g", "failed"): 21}

    @pytest.mark.realtime
    def test_an_exporter_that_blocks_or_raises_holds_up_no_run(self, caplog: pytest.LogCaptureFixture) -> None:
        """F79: spans are handed over in a thread of the reader's own."""
        found, go = Collected(), threading.Event()

        class Blocks(SimpleSpanProcessor):
            def on_start(self, span: Any, parent_context: Any = None) -> None:
                go.wait(30)
                raise ConnectionError("no collector")

        found.provider.add_span_processor(Blocks(InMemorySpanExporter()))
        assert plait.run([plait.task(abs).bind(-1)], readers=[found.exporter]) == [1]
        assert not plait.flush_readers(timeout=0.01)
        go.set()
        assert plait.flush_readers(timeout=30)
        assert "raised; the run goes on" in caplog.text


def test_without_the_package_the_error_is_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(plait.MissingExtra, match=r'pip install "plait\[otel\]"'):
        plait.OpenTelemetryExporter()
