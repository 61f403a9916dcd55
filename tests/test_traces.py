"""Recorded workflows, replayed: the schedule is the greedy one, exactly by a virtual clock and nearly in real time.

The traces are in the folder that `PLAIT_TRACES` names and not in this repository; without it, the tests that need them are skipped.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import traces
from plait.testing import VirtualClock
from traces import Moment, Recorded, Trace, TraceError


def recorded() -> list[Trace]:
    """The traces that this machine has. Where a folder of them is named and holds none, that is an error."""
    named = os.environ.get("PLAIT_TRACES")
    if not named:
        pytest.skip("PLAIT_TRACES is not set: it names a folder of traces in WfFormat 1.5")
    if not Path(named).is_dir():
        pytest.skip(f"PLAIT_TRACES is {named!r}, which is not a folder")
    return _read(Path(named))


_read = functools.cache(traces.read_folder)


def test_traces_are_left_out_only_where_none_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLAIT_TRACES", raising=False)
    with pytest.raises(pytest.skip.Exception, match="PLAIT_TRACES is not set"):
        recorded()
    monkeypatch.setenv("PLAIT_TRACES", str(tmp_path / "none"))
    with pytest.raises(pytest.skip.Exception, match="which is not a folder"):
        recorded()
    monkeypatch.setenv("PLAIT_TRACES", str(tmp_path))
    # Told apart here, for a skip that comes through would skip this test, and nobody would know.
    with pytest.raises((TraceError, pytest.skip.Exception), match=r"no \*\.json file below it") as caught:
        recorded()
    assert caught.type is TraceError


@pytest.mark.parametrize("slots", [1, 2, 3, 8])
def test_by_a_virtual_clock_every_trace_takes_exactly_as_long_as_a_greedy_schedule(slots: int) -> None:
    """A4 B3: each task once, after its parents, as soon as a slot is free, first come first served."""
    for trace in recorded():
        done = VirtualClock().run(traces.replay(trace, slots))
        assert traces.faults(trace, slots, done.log, done.statuses) == []
        assert done.wall_s == pytest.approx(traces.greedy(trace, slots).makespan_s, rel=1e-6), trace.name
        assert VirtualClock().run(traces.bare(trace, slots)) == pytest.approx(done.wall_s, rel=1e-6), trace.name


@pytest.mark.realtime
def test_in_real_time_every_trace_takes_hardly_longer_than_a_greedy_schedule_or_bare_asyncio() -> None:
    """A4 B3: all of them beside each other, each twice, so that what disturbs the one disturbs the other."""
    found = recorded()

    async def bares() -> list[float]:
        return await asyncio.gather(*(traces.bare(trace, 8) for trace in found))

    async def both() -> tuple[list[traces.Replay], list[float]]:
        # The yardstick has a loop of its own: on plait's, whatever plait holds up would hold it up too, and show nothing.
        beside = asyncio.to_thread(asyncio.run, bares())
        return await asyncio.gather(traces.replay_all(found, 8, alone=False), beside)

    replays, bare_walls_s = asyncio.run(both())
    for trace, done, bare_s in zip(found, replays, bare_walls_s):
        assert traces.faults(trace, 8, done.log, done.statuses) == []
        reference_s = max(traces.greedy(trace, 8).makespan_s, bare_s)
        assert traces.slowness(trace.name, done.wall_s, reference_s) == []


# -- the tool itself


def wf(**tasks: tuple[float, str]) -> dict[str, Any]:
    """A document in WfFormat 1.5: for each task its runtime and its parents, one letter each."""
    specified = [
        {"id": key, "name": key, "parents": [*parents], "children": [each for each in tasks if key in tasks[each][1]]}
        for key, (_, parents) in tasks.items()
    ]
    executed = [{"id": key, "runtimeInSeconds": seconds} for key, (seconds, _) in tasks.items()]
    return {
        "name": "tiny",
        "schemaVersion": "1.5",
        "workflow": {"specification": {"tasks": specified, "files": []}, "execution": {"tasks": executed}},
    }


TINY = wf(d=(1, "bc"), a=(2, ""), b=(3, "a"), c=(0, "a"), e=(4, ""))
"""A diamond a -> b, c -> d, whose end stands first in the file, and e beside it."""


def written(folder: Path, document: Any, name: str = "tiny.json") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_a_trace_is_read_in_file_order_and_its_runtimes_are_scaled(tmp_path: Path) -> None:
    trace = traces.read(written(tmp_path, TINY), work_s=20)
    assert trace == Trace(
        "tiny",
        [
            Recorded("d", 2.0, ("b", "c")),
            Recorded("a", 4.0, ()),
            Recorded("b", 6.0, ("a",)),
            Recorded("c", 0.0, ("a",)),
            Recorded("e", 8.0, ()),
        ],
    )
    assert (trace.edges, trace.work_s, trace.critical_path_s()) == (4, 20, 12)
    assert [trace.bound_s(slots) for slots in (1, 2)] == [20, 12]


def test_the_greedy_schedule_starts_what_was_ready_first() -> None:
    short_first = Trace("short first", [Recorded("a", 1, ()), Recorded("b", 1, ()), Recorded("c", 2, ())])
    assert traces.greedy(short_first, 2) == traces.Schedule(makespan_s=3, full_s=1)
    assert traces.greedy(short_first, 3) == traces.Schedule(makespan_s=2, full_s=1)
    assert short_first.bound_s(2) == 2
    # d is ready before b, which stands before it: were b first, 4 s would do.
    tasks = [Recorded("a", 1, ()), Recorded("b", 3, ("a",)), Recorded("c", 2, ()), Recorded("d", 2, ())]
    assert traces.greedy(Trace("in turn", tasks), 2).makespan_s == 5


def test_the_program_prints_a_row_per_trace_with_its_ratios(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, TINY, "sub/tiny.json")
    written(tmp_path, wf(x=(1, ""), y=(1, ""), z=(2, "")), "odd.json")
    assert traces.main([str(tmp_path), "--slots", "2"], VirtualClock().run) == 0
    table, last = capsys.readouterr().out.split("2 replays of 8 tasks: ")
    assert table.splitlines() == [
        "trace  tasks  edges  bound s  simulated s  wall s  to simulated  to bound",
        "odd        3      0   10.000       15.000  15.000        1.0000    1.5000",
        "tiny       5      4   12.000       12.000  12.000        1.0000    1.0000",
    ]
    assert last.splitlines()[1:] == ["every check holds"]

    # The same by the environment, one after another and slower than allowed.
    monkeypatch.setenv("PLAIT_TRACES", str(tmp_path))
    monkeypatch.setattr(traces, "SLOWEST", 0.95)
    assert traces.main(["--slots", "2", "--alone", "--work", "1"], VirtualClock().run) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "odd took 1.000 times what it should, more than 0.95",
        "tiny took 1.000 times what it should, more than 0.95",
    ]


def changed(change: Callable[[Any], object]) -> dict[str, Any]:
    """The tiny document after `change` of its workflow."""
    document = json.loads(json.dumps(TINY))
    change(document["workflow"])
    return dict(document)


BROKEN = {
    "no JSON": ("{", "not readable as JSON: JSONDecodeError: Expecting property name"),
    "nested": ("[" * 100_000, "not readable as JSON: RecursionError"),
    "a list": ("[]", "the file holds [], not an object"),
    "version": ({**TINY, "schemaVersion": "1.4"}, "schemaVersion is '1.4', not '1.5'"),
    "no workflow": ({"schemaVersion": "1.5"}, "workflow is null, not an object"),
    "no tasks": (changed(lambda w: w["execution"].clear()), "workflow.execution.tasks is null, not a list"),
    "empty": (wf(), "the runtimes sum up to 0 s"),
    "no time": (wf(a=(0, "")), "the runtimes sum up to 0.0 s"),
    "a text": (changed(lambda w: w["execution"]["tasks"].append("x")), 'workflow.execution.tasks[5] holds "x"'),
    "no id": (
        changed(lambda w: w["execution"]["tasks"][0].pop("id")),
        "workflow.execution.tasks[0].id is null, not text",
    ),
    "a path": (wf(**{"a/b": (1, "")}), "workflow.specification.tasks[0]: key 'a/b' looks like a path"),
    "twice": (
        changed(lambda w: w["specification"]["tasks"].append(w["specification"]["tasks"][0])),
        "workflow.specification.tasks[5]: key 'd' is in the graph already",
    ),
    "not run": (changed(lambda w: w["execution"]["tasks"].pop()), "task 'e' is not in both"),
    "stranger": (
        changed(lambda w: w["specification"]["tasks"][4]["parents"].append("x")),
        "task 'e' has \"x\" in parents, and there is no such task",
    ),
    "parent twice": (
        changed(lambda w: w["specification"]["tasks"][2]["parents"].append("a")),
        "task 'b' has 'a' in parents more than once",
    ),
    "one-sided": (
        changed(lambda w: w["specification"]["tasks"][4]["parents"].append("a")),
        "parents and children do not agree on 'a' -> 'e'",
    ),
    "cycle": (wf(a=(1, "b"), b=(1, "a")), "a cycle: 'a' -> 'b' -> 'a'"),
    "negative": (wf(a=(-1, "")), "task 'a' has the runtimeInSeconds -1, not a number"),
    "no number": (wf(a=(math.nan, "")), "task 'a' has the runtimeInSeconds NaN, not a number"),
    "true": (wf(a=(True, "")), "task 'a' has the runtimeInSeconds true, not a number"),
    "huge": (wf(a=(10**400, "")), "task 'a' has the runtimeInSeconds 1000000000"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_gets_one_line_that_names_it(tmp_path: Path, case: str) -> None:
    document, message = BROKEN[case]
    path = written(tmp_path, document)
    with pytest.raises(TraceError) as caught:
        traces.read(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.realtime
def test_the_program_ends_with_2_and_one_line_for_what_it_cannot_read(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    words = [sys.executable, traces.__file__, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"traces.py: {path}: not readable as JSON: JSONDecodeError: Expecting value: line 1 column 1 (char 0)"
    ]


def moments(text: str) -> list[Moment]:
    """A log: `+a` is the start of a, `-a` its end."""
    return [Moment(each[1:], "start" if each[0] == "+" else "end", at) for at, each in enumerate(text.split())]


FINE = "+a +e -a +b -e +c -c -b +d -d"
LOGS = {
    FINE: [],
    "+a +e -a +b -e +c -c -b +d -d +d -d": ["d started 2 times and ended 2 times"],
    "+a +e -a +b -e +c -c -b +d": ["d started 1 times and ended 0 times"],
    "+a +e -a +b -e -b +d -d": ["d started before c ended", "c started 0 times and ended 0 times"],
    "+a +e -a +b -e +c -c +d -b -d": ["d started before b ended"],
    "+a +e -a +b +c -e -c -b +d -d": ["3 at once in 2 slots"],
    "+a -a +b -b +c -c +e -e +d -d": ["at most 1 at once, where a greedy schedule takes all 2 slots"],
    "+a +e -a +c -c +b -e -b +d -d": ["c started before b, which was ready earlier"],
    FINE + " +x -x": ["x is no task of the trace"],
}


@pytest.mark.parametrize("log", LOGS)
def test_the_checks_find_what_is_wrong_with_a_log(tmp_path: Path, log: str) -> None:
    trace = traces.read(written(tmp_path, TINY))
    found = traces.faults(trace, 2, moments(log), dict.fromkeys("abcde", "succeeded"))
    assert sorted(found) == sorted(LOGS[log])


@pytest.mark.parametrize(
    ("statuses", "found"),
    [
        ({"e": "failed"}, ["e is failed, not succeeded"]),
        ({"e": None}, ["e is without an outcome, not succeeded"]),
        ({"x": "succeeded"}, ["x is no task of the trace"]),
    ],
)
def test_the_checks_find_what_is_wrong_with_the_outcomes(
    tmp_path: Path, statuses: Mapping[str, str | None], found: list[str]
) -> None:
    trace = traces.read(written(tmp_path, TINY))
    every = {**dict.fromkeys("abcde", "succeeded"), **statuses}
    told = {key: status for key, status in every.items() if status is not None}
    assert traces.faults(trace, 2, moments(FINE), told) == found


def test_more_than_a_tenth_above_the_reference_is_too_slow() -> None:
    assert traces.slowness("x", 1.1, 1.0) == []
    assert traces.slowness("x", 1.11, 1.0) == ["x took 1.110 times what it should, more than 1.10"]
