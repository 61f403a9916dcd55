"""A stored run in processes of its own: begun or gone on with in a child that may be killed, and looked at when it was.

The children write into the run's ledger (`ledger.py`) what they are told; the parent, which must never open a store, reads that.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ledger
import plait
from forks import Child
from ledger import Fault
from plait.errors import RunNotFound, RunOwned, UsageError
from plait.executors.watchdog import Watchdog

RUN = "the-run"
OWNED, OVER = 3, 4
"""Exit statuses of a child: another process drives the run; it was over before."""

Start = Callable[[], tuple[Any, Mapping[str, Any]]]
"""Makes what is to be run, and the options of the run."""


@dataclass(frozen=True)
class Place:
    """Where one run happens."""

    folder: Path

    @property
    def store(self) -> str:
        return str(self.folder / "store" / "plait.db")

    @property
    def ledger(self) -> str:
        return str(self.folder / "ledger")

    @property
    def output(self) -> Path:
        """What the processes print."""
        return self.folder / "output"

    @property
    def result(self) -> Path:
        return self.folder / "result.json"

    def enter(self) -> None:
        """This process, and what it starts, writes into the ledger there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        os.environ["LEDGER"] = self.ledger
        os.environ["OWNER"] = str(os.getpid())

    def child(self, what: Callable[..., int | None], *args: Any, **options: Any) -> Child:
        """A process that does `what(place, ...)` here."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return Child(partial(what, self, *args, **options), str(self.output))

    def ended(self, child: Child) -> None:
        """Says in the ledger that a process is no more."""
        os.environ["LEDGER"] = self.ledger
        ledger.say("KILLED" if child.status == -9 else "LEFT", child.pid, child.status)


# -- what children do


async def drive(place: Place, start: Start, has_it: Callable[[], object] = lambda: None) -> int:
    """Begins the run, or goes on with it, and says in the ledger whatever it is told.

    Raises:
        RunOwned: where another process has it.
    """
    Watchdog.enabled = False  # what is left of an owner is for the next one to find
    try:
        run = opened(place, start)
    except RunOwned as error:
        ledger.say("OWNED", os.getpid(), error.pid)
        raise
    if run.done:
        ledger.say("OVER", os.getpid())
        return OVER
    ledger.say("DRIVES", os.getpid())
    has_it()
    async for event in run.events():
        if event.event in ("task_succeeded", "task_failed"):
            ledger.say("TOLD", event.task, event.event.removeprefix("task_"))
    write(place, await run)
    return 0


def opened(place: Place, start: Start) -> plait.Run:
    """The run, resumed; begun where there is none yet."""
    while True:
        try:
            if os.path.exists(place.store):
                return plait.resume(RUN, store=place.store)
        except RunNotFound:
            pass
        graph, options = start()
        try:
            return plait.start(graph, store=place.store, run_id=RUN, **options)
        except UsageError as error:
            if "already" not in str(error):
                raise  # else another process was faster


def write(place: Place, result: plait.RunResult) -> None:
    """Puts a result where the parent reads it."""
    statuses = {key: str(each.status) for key, each in result.items()}
    temporary = place.result.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps({"status": str(result.status), "statuses": statuses, "value": result.value}))
    temporary.replace(place.result)


def look(place: Place, *, end: bool = False) -> int:
    """Says in the ledger what is on record; at the end, writes the result as the store has it, and checks the file."""
    import sqlite3
    from contextlib import closing

    from plait._core.states import FAILED, STATUSES, SUCCEEDED
    from plait._engine.records import RETURNED
    from plait._engine.replaying import Replay, read_json
    from plait.stores.opening import open_store

    place.enter()
    if not os.path.exists(place.store):
        return 0
    store = open_store(place.store, create=False)
    try:
        run = store.find(RUN)
    except RunNotFound:
        return 0
    generation = store.generation(run, run.generation)
    replay = Replay(store, run, generation)
    replay.catch_up()
    table = replay.table
    final = [row for row in range(table.size) if table.status[row] in (SUCCEEDED, FAILED)]
    returned = Counter(
        line[1] for _, data in store.journal(run, generation.number) for line in read_json(data) if line[0] == RETURNED
    )
    rows: list[tuple[object, ...]] = [("LOOK",)]
    rows += [("KEPT", table.key(row), STATUSES[table.status[row]]) for row in final]
    rows += [("TWICE", table.key(row)) for row, number in returned.items() if number > 1]
    ledger.say_all([*rows, ("LOOKED",)])
    if end:
        with closing(sqlite3.connect(place.store)) as db:
            found = db.execute("PRAGMA integrity_check").fetchone()[0]
        assert found == "ok", f"integrity_check: {found}"
        place.result.unlink(missing_ok=True)
        write(place, plait.resume(RUN, store=place.store).wait(0))
    return 0


# -- what the parent sees


def differences(got: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[Fault]:
    """How a result differs from the one that it has to be."""
    found: list[Fault] = []
    if got["status"] != wanted["status"]:
        found.append(Fault("status", "", f"the run is {got['status']}, not {wanted['status']}"))
    for kind, name in (("status", "statuses"), ("value", "value")):
        for key in sorted(got[name].keys() | wanted[name].keys()):
            now, then = got[name].get(key), wanted[name].get(key)
            if now != then:
                found.append(Fault(kind, key, f"{key} is {now!r:.200}, not {then!r:.200}"))
    return found


def ends(place: Place, wanted: Mapping[str, Any], silent: Sequence[str] | set[str] = ()) -> list[Fault]:
    """What is wrong at the end of a run that was looked at: its result, what it left behind, what its processes did and said."""
    found = differences(json.loads(place.result.read_text()), wanted)
    found += [Fault("left", "", f"process {pid} is left of the run") for pid in living(place.ledger)]
    said = place.output.read_text()
    if "locked" in said or "Traceback" in said:
        found.append(Fault("error", "", f"a process said:\n{said}"))
    return found + ledger.faults(ledger.read(place.ledger), silent)


def living(mark: str) -> list[int]:
    """The living processes that write into that ledger, but for this one."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                environment = Path(f"/proc/{name}/environ").read_bytes()  # of a zombie it is empty
            except OSError:
                continue
            if f"LEDGER={mark}".encode() in environment.split(b"\0"):
                found.append(int(name))
    return found


def warm(graphs: Iterable[plait.Graph]) -> None:
    """Imports what the children need, and reads the source of what such graphs call; nothing is started."""
    import base64
    import gc
    import sqlite3

    import msgspec
    import psutil

    from plait import beginning
    from plait._engine import replaying
    from plait.executors import async_, shell, threads
    from plait.programs import compile_graph
    from plait.stores import sqlite

    _ = base64, sqlite3, msgspec, psutil, replaying, async_, shell, threads, sqlite, plait.start, plait.resume
    for graph in graphs:
        beginning.definition_of(graph, compile_graph(graph), {}, None)
    gc.collect()
    gc.freeze()  # a child that walks what it shares with its parent copies it
