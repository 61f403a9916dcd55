"""Replays recorded workflows through plait: `python tests/traces.py [FOLDER] [--slots 8] [--work 20] [--alone]`.

Every `*.json` file below FOLDER (else below `PLAIT_TRACES`) is a trace in WfFormat 1.5. Its runtimes are scaled to `--work` seconds in
all, every task sleeps its time, and what happened is checked: each task ran once and succeeded, none before its parents, never
more than the slots, all of them where a greedy schedule takes them all, and in no more than 1.10 times that schedule's time. The wall time
is everything from building the graph to the result in hand.

Exit status: 0, 1 if a check failed, 2 if a trace cannot be read. No trace is part of this repository.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import math
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple

import plait

SLOWEST = 1.10
"""How many times the greedy schedule a replay may take."""

ENOUGH_S = 0.01
"""How long a greedy schedule must hold every slot for a replay to be sure to do so at one moment, however its timers jitter."""


# -- traces


class TraceError(Exception):
    """A trace that cannot be replayed: one line that names the file and what is wrong with it."""


class Recorded(NamedTuple):
    """One task of a trace; `seconds` are scaled."""

    key: str
    seconds: float
    needs: tuple[str, ...]


class Trace(NamedTuple):
    """A workflow as it was recorded, tasks in the order of the file."""

    name: str
    tasks: Sequence[Recorded]

    @property
    def edges(self) -> int:
        """How many needs there are in all."""
        return sum(len(task.needs) for task in self.tasks)

    @property
    def work_s(self) -> float:
        """How long one slot would take."""
        return sum(task.seconds for task in self.tasks)

    def critical_path_s(self) -> float:
        """How long any number of slots would take."""
        seconds = {task.key: task.seconds for task in self.tasks}
        needs = {task.key: task.needs for task in self.tasks}
        ends: dict[str, float] = {}
        for key in TopologicalSorter(needs).static_order():
            ends[key] = seconds[key] + max((ends[need] for need in needs[key]), default=0.0)
        return max(ends.values())

    def bound_s(self, slots: int) -> float:
        """What no schedule on `slots` slots can beat."""
        return max(self.critical_path_s(), self.work_s / slots)


def read_folder(folder: Path, work_s: float = 20.0) -> list[Trace]:
    """Every trace below `folder`, by name.

    Raises:
        TraceError: for the first that cannot be replayed, or a folder without any.
    """
    paths = sorted(folder.rglob("*.json"))
    if not paths:
        raise TraceError(f"{folder}: no *.json file below it")
    return [read(path, work_s) for path in paths]


def read(path: Path, work_s: float = 20.0) -> Trace:
    """The trace in a WfFormat 1.5 file, its runtimes scaled so that they sum up to `work_s` seconds.

    Raises:
        TraceError: for a file that is not exactly that.
    """
    try:
        return _scaled(path.stem, _tasks(json.loads(path.read_bytes())), work_s)
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise TraceError(f"{path}: not readable as JSON: {type(error).__name__}: {error}") from None


def _scaled(name: str, tasks: list[Recorded], work_s: float) -> Trace:
    total = sum(task.seconds for task in tasks)
    if not 0 < total < math.inf:
        raise TraceError(f"the runtimes sum up to {total} s, which no factor makes {work_s:g} s")
    return Trace(name, [task._replace(seconds=task.seconds / total * work_s) for task in tasks])


def _tasks(document: Any) -> list[Recorded]:
    version = _at(document, "", "schemaVersion", str)
    if version != "1.5":
        raise TraceError(f"schemaVersion is {version!r}, not '1.5'")
    workflow = _at(document, "", "workflow", dict)
    specified = _by_id(workflow, "specification")
    executed = _by_id(workflow, "execution")
    if odd := specified.keys() ^ executed.keys():
        raise TraceError(f"task {min(odd)!r} is not in both workflow.specification.tasks and workflow.execution.tasks")
    needs = {key: _ids(task, "parents", specified) for key, task in specified.items()}
    users = {key: _ids(task, "children", specified) for key, task in specified.items()}
    downwards = {(need, key) for key, listed in needs.items() for need in listed}
    upwards = {(key, user) for key, listed in users.items() for user in listed}
    if odd_edges := downwards ^ upwards:
        parent, child = min(odd_edges)
        raise TraceError(f"parents and children do not agree on {parent!r} -> {child!r}")
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        raise TraceError(f"a cycle: {' -> '.join(map(repr, error.args[1]))}") from None
    return [Recorded(key, _seconds(executed[key]), needs[key]) for key in specified]


def _by_id(workflow: dict[str, Any], part: str) -> dict[str, Any]:
    """The tasks of a part of a workflow by id, in order."""
    found: dict[str, Any] = {}
    names = plait.Graph(part)
    for place, task in enumerate(_at(_at(workflow, "workflow", part, dict), f"workflow.{part}", "tasks", list)):
        key = _at(task, f"workflow.{part}.tasks[{place}]", "id", str)
        try:
            names.add(key, list)  # an id that plait takes for no key, or twice, cannot be replayed
        except plait.GraphError as error:
            raise TraceError(f"workflow.{part}.tasks[{place}]: {error}") from None
        found[key] = task
    return found


def _ids(task: dict[str, Any], name: str, known: Mapping[str, Any]) -> tuple[str, ...]:
    listed = _at(task, f"task {task['id']!r}", name, list)
    for each in listed:
        if not isinstance(each, str) or each not in known:
            raise TraceError(f"task {task['id']!r} has {_shown(each)} in {name}, and there is no such task")
        if listed.count(each) > 1:
            raise TraceError(f"task {task['id']!r} has {each!r} in {name} more than once")
    return tuple(listed)


def _seconds(task: dict[str, Any]) -> float:
    seconds: Any = task.get("runtimeInSeconds")
    # Python's reader takes NaN, Infinity and numbers too large for a float, and true is an int to it.
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not number or not 0 <= seconds <= sys.float_info.max:
        raise TraceError(f"task {task['id']!r} has the runtimeInSeconds {_shown(seconds)}, not a number of at least 0")
    return float(seconds)


def _at(thing: Any, where: str, name: str, kind: type[Any]) -> Any:
    """What stands under `name` in `thing`, which stands at `where`, if it is of the kind that it must be."""
    if not isinstance(thing, dict):
        raise TraceError(f"{where or 'the file'} holds {_shown(thing)}, not an object")
    if not isinstance(thing.get(name), kind):
        wanted = "text" if kind is str else "an object" if kind is dict else "a list"
        raise TraceError(f"{where}{where and '.'}{name} is {_shown(thing.get(name))}, not {wanted}")
    return thing[name]


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


# -- what a list scheduler would do


class Waiting:
    """What the tasks of a trace wait for: `ready` holds those that wait for a slot only, first ready first."""

    def __init__(self, trace: Trace) -> None:
        self._left = {task.key: len(task.needs) for task in trace.tasks}
        self._users: dict[str, list[str]] = {task.key: [] for task in trace.tasks}
        for task in trace.tasks:
            for need in task.needs:
                self._users[need].append(task.key)
        self.ready = deque(task.key for task in trace.tasks if not task.needs)

    def ended(self, key: str) -> None:
        """Those that waited for `key` alone get ready, in graph order."""
        for user in self._users[key]:
            self._left[user] -= 1
            if not self._left[user]:
                self.ready.append(user)


class Schedule(NamedTuple):
    """A greedy list schedule: nothing that is ready waits while a slot is free; first ready, first started."""

    makespan_s: float
    full_s: float  # the longest stretch with every slot taken


def greedy(trace: Trace, slots: int) -> Schedule:
    """The schedule that plait should follow, worked out event by event; tasks that get ready together go in graph order."""
    waiting = Waiting(trace)
    seconds = {task.key: task.seconds for task in trace.tasks}
    running: list[
        tuple[float, int, str]
    ] = []  # end, number of its start, task: of equal ends the first started is first
    starts = count()
    now = full_s = 0.0
    full_since: float | None = None
    while waiting.ready or running:
        while waiting.ready and len(running) < slots:
            key = waiting.ready.popleft()
            heapq.heappush(running, (now + seconds[key], next(starts), key))
        if len(running) < slots:
            full_since = None
        elif full_since is None:
            full_since = now
        now, _, ended = heapq.heappop(running)
        if full_since is not None:
            full_s = max(full_s, now - full_since)
        waiting.ended(ended)
    return Schedule(now, full_s)


# -- what plait does


class Moment(NamedTuple):
    """A line of the log that the bodies write. One loop runs them all, so the order of the lines is the order of things."""

    key: str
    what: Literal["start", "end"]
    at: float


class Replay(NamedTuple):
    """What happened: the log, the statuses by key, and the seconds from building the graph to the result in hand."""

    log: Sequence[Moment]
    statuses: Mapping[str, str]
    wall_s: float


async def replay(trace: Trace, slots: int) -> Replay:
    """Runs `trace` as a graph of plait whose bodies sleep, on this loop and by its clock."""
    clock = asyncio.get_running_loop().time
    log: list[Moment] = []

    async def body(key: str, seconds: float) -> None:
        log.append(Moment(key, "start", clock()))
        await asyncio.sleep(seconds)
        log.append(Moment(key, "end", clock()))

    began = clock()
    graph = plait.Graph(trace.name)
    for key, seconds, needs in trace.tasks:
        graph.add(key, body, args=(key, seconds), needs=needs)
    result = await plait.arun(graph, max_concurrency=slots, raise_on_failure=False)
    wall_s = clock() - began
    return Replay(log, {key: str(outcome.status) for key, outcome in result.items()}, wall_s)


async def bare(trace: Trace, slots: int) -> float:
    """Seconds that the least asyncio could do takes for the same: counts of open needs, and one Task per node."""
    clock = asyncio.get_running_loop().time
    began = clock()
    waiting = Waiting(trace)
    seconds = {task.key: task.seconds for task in trace.tasks}
    running: set[asyncio.Task[None]] = set()
    over = asyncio.Event()

    async def node(key: str) -> None:
        await asyncio.sleep(seconds[key])

    def start() -> None:
        while waiting.ready and len(running) < slots:
            key = waiting.ready.popleft()
            made = asyncio.create_task(node(key), name=key)
            running.add(made)
            made.add_done_callback(ended)
        if not running:
            over.set()

    def ended(made: asyncio.Task[None]) -> None:
        running.discard(made)
        waiting.ended(made.get_name())
        start()

    start()
    await over.wait()
    return clock() - began


def faults(trace: Trace, slots: int, log: Iterable[Moment], statuses: Mapping[str, str]) -> list[str]:
    """What is wrong with a replay, apart from its speed; nothing if all is well."""
    log = list(log)
    found = []
    needs = {task.key: task.needs for task in trace.tasks}
    counts = Counter((moment.key, moment.what) for moment in log)
    for key in needs:
        if (counts[key, "start"], counts[key, "end"]) != (1, 1):
            found.append(f"{key} started {counts[key, 'start']} times and ended {counts[key, 'end']} times")
        if statuses.get(key) != "succeeded":
            found.append(f"{key} is {statuses.get(key, 'without an outcome')}, not succeeded")
    strangers = {moment.key for moment in log} | statuses.keys()
    found += [f"{key} is no task of the trace" for key in sorted(strangers - needs.keys())]
    running = most = 0
    ended: set[str] = set()
    for key, what, _ in log:
        if what == "end":
            running -= 1
            ended.add(key)
        else:
            running += 1
            most = max(most, running)
            found += [f"{key} started before {need} ended" for need in needs.get(key, ()) if need not in ended]
    if most > slots:
        found.append(f"{most} at once in {slots} slots")
    if most < slots and greedy(trace, slots).full_s >= ENOUGH_S:
        found.append(f"at most {most} at once, where a greedy schedule takes all {slots} slots")
    return found or _queue_jumpers(trace, log)


def _queue_jumpers(trace: Trace, log: list[Moment]) -> list[str]:
    """Who started before one that was ready earlier. Tasks that end in one instant may do so in any order: the log tells it."""
    waiting = Waiting(trace)
    found = []
    for key, what, _ in log:
        if what == "end":
            waiting.ended(key)
        elif key != waiting.ready[0]:
            found.append(f"{key} started before {waiting.ready[0]}, which was ready earlier")
            waiting.ready.remove(key)
        else:
            waiting.ready.popleft()
    return found


def slowness(name: str, wall_s: float, reference_s: float) -> list[str]:
    """What is wrong with the speed of a replay beside `reference_s`."""
    ratio = wall_s / reference_s
    return [f"{name} took {ratio:.3f} times what it should, more than {SLOWEST:.2f}"] if ratio > SLOWEST else []


# -- the program


async def replay_all(traces: Sequence[Trace], slots: int, alone: bool) -> list[Replay]:
    """All replays: beside each other, each a run of its own (they only sleep), or one after another."""
    if alone:
        return [await replay(trace, slots) for trace in traces]
    return await asyncio.gather(*(replay(trace, slots) for trace in traces))


HEADER = ("trace", "tasks", "edges", "bound s", "simulated s", "wall s", "to simulated", "to bound")


def table(traces: Sequence[Trace], slots: int, replays: Sequence[Replay]) -> str:
    """One row per trace: what no schedule can beat, what a greedy one takes, what plait took, and plait's ratio to both."""
    rows = [HEADER]
    for trace, (_, _, wall_s) in zip(traces, replays):
        bound_s, simulated_s = trace.bound_s(slots), greedy(trace, slots).makespan_s
        figures = (f"{bound_s:.3f}", f"{simulated_s:.3f}", f"{wall_s:.3f}")
        ratios = (f"{wall_s / simulated_s:.4f}", f"{wall_s / bound_s:.4f}")
        rows.append((trace.name, str(len(trace.tasks)), str(trace.edges), *figures, *ratios))
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
        for row in rows
    )


def main(words: Sequence[str] | None = None, run: Callable[[Coroutine[Any, Any, Any]], Any] = asyncio.run) -> int:
    """Replays what the command line names, on the loop of `run`, and prints the table and every fault; the exit status."""
    parser = argparse.ArgumentParser(description="Replays recorded workflows (WfFormat 1.5) through plait.")
    parser.add_argument("folder", nargs="?", type=Path, help="where the traces are; else PLAIT_TRACES says it")
    parser.add_argument("--slots", type=int, default=8, help="how many tasks may run at once (%(default)s)")
    parser.add_argument(
        "--work", type=float, default=20.0, help="seconds that each trace's runtimes sum up to (%(default)g)"
    )
    parser.add_argument("--alone", action="store_true", help="one replay after another, not all beside each other")
    given = parser.parse_args(words)
    folder = given.folder or (Path(os.environ["PLAIT_TRACES"]) if os.environ.get("PLAIT_TRACES") else None)
    if folder is None:
        parser.error("give a FOLDER, or set PLAIT_TRACES")
    if given.slots < 1 or not 0 < given.work < math.inf:
        parser.error("--slots must be at least 1, and --work more than 0")
    try:
        traces = read_folder(folder, given.work)
    except TraceError as error:
        print(f"traces.py: {error}", file=sys.stderr)
        return 2
    began, cpu_began = time.perf_counter(), time.process_time()
    replays = run(replay_all(traces, given.slots, given.alone))
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    print(table(traces, given.slots, replays))
    tasks = sum(len(trace.tasks) for trace in traces)
    print(
        f"{len(traces)} replays of {tasks} tasks: {wall_s:.2f} s, {cpu_s:.3f} s of CPU ({cpu_s / wall_s:.2%} of a core)"
    )
    wrong = []
    for trace, done in zip(traces, replays):
        wrong += [f"{trace.name}: {each}" for each in faults(trace, given.slots, done.log, done.statuses)]
        wrong += slowness(trace.name, done.wall_s, greedy(trace, given.slots).makespan_s)
    print("\n".join(wrong) or "every check holds")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
