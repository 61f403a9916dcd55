"""The public stream: one event for each move, in order, and what `run_finished` sums up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import plait
from plait._core.states import STATUSES, Status
from plait.observe.text import clean, clean_lines, duration
from plait.testing import Scripted, ScriptedExecutor, VirtualClock


def events_of(graph: Any, script: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    """What a reader sees of a scripted run on virtual time."""
    from plait._engine.doors import finish
    from plait.observe.stream import Stream
    from plait.runs import make_driver

    async def main() -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = []
        executor = ScriptedExecutor(script)
        driver = make_driver(
            graph,
            None,
            options.pop("max_concurrency", 4),
            options,
            executors=dict.fromkeys(("async", "thread", "shell"), executor),
        )
        Stream(driver).subscribe(lambda event: seen.append(event.as_dict()) if event else None, started=True)
        await finish(driver)
        return seen

    return VirtualClock().run(main())


def test_a_line_for_each_move_with_slots_times_and_reasons() -> None:
    """E3: statuses, and an event for every move."""
    graph = plait.Graph("g")
    graph.add("a", dict, retry={"attempts": 2, "delay": 10, "jitter": False})
    graph.add("b", dict, needs=["a"])
    graph.add("c", dict)
    script = {"a": [Scripted(1, error=ValueError("x")), Scripted(2, error=ValueError("y"))], "c": Scripted(5)}
    seen = events_of(graph, script)
    assert [(event["event"], event.get("task"), event.get("attempt"), event.get("slot")) for event in seen] == [
        ("run_started", None, None, None),
        ("task_ready", "a", None, None),
        ("task_ready", "c", None, None),
        ("task_started", "a", 1, 1),
        ("task_started", "c", 1, 2),
        ("task_retrying", "a", 1, 1),
        ("task_succeeded", "c", 1, 2),
        ("task_ready", "a", 1, None),
        ("task_started", "a", 2, 1),
        ("task_failed", "a", 2, 1),
        ("task_upstream_failed", "b", None, None),
        ("run_finished", None, None, None),
    ]
    assert [event["seq"] for event in seen] == list(range(1, 13))
    assert seen[5]["error"] == "ValueError: x"
    assert seen[9]["run_s"] == 2
    last = seen[-1]
    assert (last["status"], last["wall_s"], last["counts"]) == (
        "failed",
        13,
        {"succeeded": 1, "failed": 1, "upstream_failed": 1},
    )
    assert last["critical_path_s"] == 5
    assert last["efficiency"] == pytest.approx(8 / (13 * 4), abs=1e-4)
    assert last["reason"] == "task 'a' failed: ValueError: y"


def test_a_log_line_for_each_move_where_somebody_wants_it(caplog: pytest.LogCaptureFixture) -> None:
    """E3."""
    with caplog.at_level("DEBUG", logger="plait"):
        plait.run(plait.task(abs).bind(-1))
    moves = [record.getMessage().split(": ", 1)[1] for record in caplog.records if "->" in record.getMessage()]
    assert moves == [
        "task 'abs': pending -> ready (attempt 0)",
        "task 'abs': ready -> running (attempt 1)",
        "task 'abs': running -> succeeded (attempt 1)",
    ]
    caplog.clear()
    plait.run(plait.task(abs).bind(-1))
    assert caplog.records == []


def test_every_status_has_its_event() -> None:
    assert {f"task_{status}" for status in Status} >= {f"task_{STATUSES[state]}" for state in range(5, 12)}


def test_each_task_of_the_critical_path_counts_with_its_last_attempt() -> None:
    """B18: also where that is the only item of a map, or ended long before its task did."""
    retry = {"attempts": 3, "delay": 10, "jitter": False}
    graph = plait.Graph("g")
    graph.add("map", plait.task(abs, retry=retry).map([1]))
    graph.add("last", dict, needs=["map"])
    tried = [Scripted(3, error=ValueError()), Scripted(2, error=ValueError()), Scripted(1)]
    last = events_of(graph, {"map[0]": tried, "last": Scripted(4)})[-1]
    assert (last["critical_path_s"], last["wall_s"]) == (5, 40)
    graph = plait.Graph("g")
    graph.add("a", list, retry=retry, deadline=8)
    last = events_of(graph, {"a": tried})[-1]
    assert (last["critical_path_s"], last["wall_s"]) == (3, 8)
    graph = plait.Graph("g")
    graph.add("a", list, retry=retry, deadline=8, on_error=plait.task(list).bind())
    last = events_of(graph, {"a": tried, "a/on_error": Scripted(4)})[-1]
    assert (last["critical_path_s"], last["wall_s"]) == (7, 12)


def test_the_critical_path_goes_through_what_comes_after_a_group(tmp_path: Path) -> None:
    """B18 D8: its tasks, its `on_error`, its cleanups, one after the other."""
    path = tmp_path / "flow.yaml"
    path.write_text(
        """
tasks:
  g:
    tasks: {a: {run: 'true'}, b: {run: 'true'}}
    finally: {z: {run: 'true'}}
    on_error: {run: 'true'}
"""
    )
    script = {
        "g/a": Scripted(5, error=ValueError()),
        "g/b": Scripted(3),
        "g/on_error": Scripted(4),
        "g/z": Scripted(2),
    }
    last = events_of(plait.load(path), script)[-1]
    assert (last["critical_path_s"], last["wall_s"]) == (11, 11)


def test_the_critical_path_follows_needs_and_children() -> None:
    graph = plait.Graph("g")
    first = graph.add("first", list)
    graph.add("map", plait.task(abs).map(first))
    graph.add("last", dict, needs=["map"])
    graph.add("beside", dict)
    script = {
        "first": Scripted(2, value=[1, 2]),
        "map[0]": Scripted(3),
        "map[1]": Scripted(7),
        "last": Scripted(1),
        "beside": Scripted(9),
    }
    assert events_of(graph, script)[-1]["critical_path_s"] == 10
    assert events_of(graph, script, max_concurrency=1)[-1]["wall_s"] == 22


def test_nothing_of_a_task_moves_the_cursor_or_starts_a_line() -> None:
    """S28 S29."""
    assert clean("a\x1b[2Jb\nc\x00\u202e") == "a?[2Jb c??"
    assert clean_lines("a\r\nb\rc\x07") == ["a", "b", "c?"]
    assert [duration(seconds) for seconds in (None, 0.123, 12.3, 185, 7380)] == [
        "-",
        "0.12 s",
        "12 s",
        "3m 05s",
        "2h 03m",
    ]


def test_reading_begins_at_any_moment() -> None:
    async def main() -> list[str]:
        run = plait.start(plait.task(asyncio.sleep).map([0, 0, 0], max_concurrency=1))
        await asyncio.sleep(0)
        return [event.event async for event in run.events()]

    seen = asyncio.run(main())
    assert seen[-1] == "run_finished"
