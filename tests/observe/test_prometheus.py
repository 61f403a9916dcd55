"""Figures for Prometheus: names, units, labels that are bounded, counted once; the library is asked only when it collects."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import plait
from plait.observe.metrics import OTHER
from plait.observe.prometheus import MOST_LABELS
from plait.testing import Scripted, ScriptedExecutor, VirtualClock


def exporter(**options: Any) -> tuple[plait.PrometheusExporter, CollectorRegistry]:
    registry = CollectorRegistry(auto_describe=True)
    return plait.PrometheusExporter(registry, **options), registry


def samples(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """The values of one series by its labels' values, as a server would read them."""
    text = generate_latest(registry).decode()
    return {
        tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def fetch(item: Any = None) -> Any:
    return item


class TestFigures:
    def test_b18_counters_histograms_and_gauges_by_kind_pool_and_status(self) -> None:
        """B18."""
        reader, registry = exporter(buckets=(1, 4, 60))
        graph = plait.Graph("g", pools={"db": 1, "cpu": 4})
        for number in range(3):
            graph.add(f"a{number}", fetch, pool={"db": 1, "cpu": 2})
        graph.add("b", print, retry={"attempts": 2, "delay": 10, "jitter": False}, allow_failure=True)
        script = {f"a{number}": Scripted(number + 2) for number in range(3)} | {"b": Scripted(7, error=ValueError("x"))}
        ScriptedExecutor(script).play(graph, readers=[reader], max_concurrency=8)
        assert samples(registry, "plait_tasks_total") == {
            ("fetch", "cpu+db", "succeeded"): 3, ("print", "", "failed"): 1,
        }  # fmt: skip
        assert samples(registry, "plait_task_attempts_total") == {("fetch", "cpu+db"): 3, ("print", ""): 2}
        assert samples(registry, "plait_task_retries_total") == {("print", ""): 1}
        assert samples(registry, "plait_task_queue_seconds_sum") == {("fetch", "cpu+db"): 2 + 5, ("print", ""): 0}
        assert samples(registry, "plait_task_run_seconds_sum") == {("fetch", "cpu+db"): 9, ("print", ""): 14}
        assert samples(registry, "plait_task_run_seconds_bucket") == {
            ("fetch", "1.0", "cpu+db"): 0, ("fetch", "4.0", "cpu+db"): 3, ("fetch", "60.0", "cpu+db"): 3, ("fetch", "+Inf", "cpu+db"): 3,
            ("print", "1.0", ""): 0, ("print", "4.0", ""): 0, ("print", "60.0", ""): 2, ("print", "+Inf", ""): 2,
        }  # fmt: skip
        assert samples(registry, "plait_task_overhead_seconds_count") == {("print", ""): 2}
        assert samples(registry, "plait_tasks_running") == {("fetch", "cpu+db"): 0, ("print", ""): 0}
        assert samples(registry, "plait_runs_total") == {("g", "succeeded"): 1}
        assert samples(registry, "plait_run_seconds_sum") == {("g",): 24}
        assert samples(registry, "plait_run_critical_path_seconds") == {("g",): 7}
        assert samples(registry, "plait_run_efficiency_ratio") == {("g",): round(23 / (24 * 8), 4)}

    def test_gauges_tell_what_is_ready_and_runs_now(self) -> None:
        """B18: and nothing is left of a run that ended."""
        reader, registry = exporter()

        async def main() -> None:
            sleep = plait.task(asyncio.sleep)
            graph = plait.Graph("g")
            for number in range(5):
                graph.add(str(number), sleep, args=(5,))
            run = plait.start(graph, max_concurrency=2, readers=[reader])
            await asyncio.sleep(1)
            assert samples(registry, "plait_tasks_ready") == {("sleep", ""): 3}
            assert samples(registry, "plait_tasks_running") == {("sleep", ""): 2}
            assert samples(registry, "plait_runs_active") == {("g",): 1}
            run.cancel()
            await run

        VirtualClock().run(main())
        for gauge in ("plait_tasks_ready", "plait_tasks_running", "plait_runs_active"):
            assert set(samples(registry, gauge).values()) == {0}, gauge
        assert samples(registry, "plait_tasks_total") == {
            ("sleep", "", "cancelled"): 2, ("sleep", "", "not_started"): 3,
        }  # fmt: skip
        assert samples(registry, "plait_runs_total") == {("g", "cancelled"): 1}

    def test_runs_add_up(self) -> None:
        """B18: one exporter for a program."""
        reader, registry = exporter()
        for _ in range(3):
            plait.map_(fetch, range(2), readers=[reader])
        assert samples(registry, "plait_tasks_total") == {("fetch", "", "succeeded"): 6}
        assert samples(registry, "plait_runs_total") == {("fetch", "succeeded"): 3}

    def test_labels_are_bounded_and_items_are_no_labels(self) -> None:
        """B18: a thousand keys of items are one kind, and a thousand kinds are two hundred and `other`."""
        reader, registry = exporter()
        plait.run(plait.task(fetch).map(list(range(1000))), readers=[reader])
        assert samples(registry, "plait_tasks_total") == {("fetch", "", "succeeded"): 1000}
        for number in range(MOST_LABELS + 50):
            reader(plait.RunEvent("r", number, 0.0, "task_skipped", "k", kind=f"kind {number}"))
        found = samples(registry, "plait_tasks_total")
        assert len(found) == MOST_LABELS + 1
        assert found[OTHER, "", "skipped"] == 51

    def test_who_resumes_a_run_counts_what_it_does_of_it(self) -> None:
        """B18: under the run's name; what another process had made ready or started is in no gauge, and never below zero."""
        reader, registry = exporter()
        reader.enter("r", "left", plait.Metrics())
        for number, (name, detail) in enumerate(
            (
                ("task_ready", {"run_s": 3.0}),
                ("task_started", {"queued_s": 1.0}),
                ("task_succeeded", {"run_s": 2.0}),
            )
        ):
            reader(plait.RunEvent("r", number, 0.0, name, "k", 2, 1, detail, kind="k"))
            assert all(value >= 0 for value in samples(registry, "plait_tasks_running").values())
        assert samples(registry, "plait_task_interruptions_total") == {("k", ""): 1}
        assert samples(registry, "plait_tasks_total") == {("k", "", "succeeded"): 1}
        assert samples(registry, "plait_runs_active") == {("left",): 1}

    @pytest.mark.realtime
    def test_a_stored_run_gives_the_same_afterwards(self, tmp_path: Path) -> None:
        """B18."""
        live, live_registry = exporter()
        stored, stored_registry = exporter()
        plait.run(plait.task(fetch).map([1, 2, 3]), store=tmp_path / "runs.db", readers=[live])
        plait.retell("last", tmp_path / "runs.db", [stored])
        assert generate_latest(stored_registry) == generate_latest(live_registry)

    def test_a_run_that_was_left_holds_no_gauge(self) -> None:
        reader, registry = exporter()
        reader(plait.RunEvent("r", 1, 0.0, "run_started", detail={"name": "n", "slots": 1, "pools": {}}))
        reader(plait.RunEvent("r", 2, 0.0, "task_ready", "k", kind="k"))
        assert samples(registry, "plait_tasks_ready") == {("k", ""): 1}
        reader.leave("r")
        assert samples(registry, "plait_tasks_ready") == {("k", ""): 0}
        assert samples(registry, "plait_runs_active") == {("n",): 0}


class TestMaking:
    def test_without_the_package_the_error_is_the_install_command(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "prometheus_client", None)
        with pytest.raises(plait.MissingExtra, match=r'pip install "plait\[prometheus\]"'):
            plait.PrometheusExporter()

    def test_one_registry_has_one_exporter(self) -> None:
        _, registry = exporter()
        with pytest.raises(plait.UsageError, match="one exporter serves all runs"):
            plait.PrometheusExporter(registry)

    @pytest.mark.parametrize("wrong", [(), (0,), (1, 1), (2, 1), (float("inf"),), (True,), ("1",)])
    def test_impossible_buckets_are_refused(self, wrong: Any) -> None:
        with pytest.raises(plait.UsageError, match="buckets"):
            exporter(buckets=wrong)
