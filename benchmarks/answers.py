"""How long an answer takes until the task that asked goes on, in another process: `python benchmarks/answers.py [--answers N]`.

The run has a store and a question for each answer, all of them open; they are answered one after another, by `plait.open_run(...).answer`, then by
`plait answer`, a process each. Beside them the least that does the same: a row in a WAL file, synced, a datagram to who waits on an asyncio
loop, a look at the row and a row with what became of it, a datagram back. Moments are those of the one clock of the machine. The goal is 200 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from typing import IO

Times = dict[str, tuple[float, float]]
"""By question: when the answer was given, and when whoever gave it was told."""


def now() -> float:
    """Seconds, the same in every process."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


# -- with plait


def ask(store: str, number: int) -> None:
    """Drives a run of so many questions; prints when it asks, and at the end when each task went on."""
    import plait

    went_on: dict[str, float] = {}

    @plait.task
    async def asks(at: int) -> None:
        await plait.ask("Well?", form=bool)
        went_on[f"ask[{at}]"] = now()

    async def main() -> None:
        graph = plait.Graph("answers")
        graph.add("ask", asks.map(list(range(number))))
        run = plait.start(graph, store=store, run_id="answers", max_concurrency=4)
        while len(run.questions()) < number:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)  # all of it is on record, and the bell there
        print("asks", flush=True)
        await run

    asyncio.run(main())
    print(json.dumps(went_on))


def answer_there(store: str, number: int) -> Times:
    """Each answer by a call."""
    import plait

    times: Times = {}
    with plait.open_run("answers", store) as run:
        for at in range(number):
            began = now()
            run.answer(f"ask[{at}]", True)
            times[f"ask[{at}]"] = began, now()
    return times


def answer_by_command(store: str, number: int) -> Times:
    """Each answer by a process."""
    times: Times = {}
    for at in range(number):
        began = now()
        words = [sys.executable, "-m", "plait", "answer", "answers", f"ask[{at}]", "yes", "--store", store]
        subprocess.run(words, check=True, capture_output=True)
        times[f"ask[{at}]"] = began, now()
    return times


# -- by hand


def _opened(store: str) -> sqlite3.Connection:
    db = sqlite3.connect(store, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, key TEXT, value TEXT, verdict TEXT)")
    return db


def wait_by_hand(store: str, number: int) -> None:
    """The least that hears of so many answers."""
    went_on: dict[str, float] = {}

    async def main() -> None:
        db = _opened(store)
        bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        bell.setblocking(False)
        bell.bind(store + ".sock")
        over = asyncio.get_running_loop().create_future()

        def rung() -> None:
            _, sender = bell.recvfrom(1)
            found = db.execute("SELECT id, key FROM notes WHERE verdict IS NULL").fetchall()
            db.execute("BEGIN IMMEDIATE")
            for note, key in found:
                db.execute("UPDATE notes SET verdict='done' WHERE id=?", (note,))
                went_on[key] = now()
            db.execute("COMMIT")
            bell.sendto(b".", sender)
            if len(went_on) == number:
                over.set_result(None)

        asyncio.get_running_loop().add_reader(bell, rung)
        print("asks", flush=True)
        await over

    asyncio.run(main())
    print(json.dumps(went_on))


def answer_by_hand(store: str, number: int) -> Times:
    """The least that answers."""
    times: Times = {}
    with closing(_opened(store)) as db, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ring:
        ring.bind("")
        for at in range(number):
            began = now()
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO notes (key, value) VALUES (?, 'true')", (f"ask[{at}]",))
            db.execute("COMMIT")
            ring.sendto(b".", store + ".sock")
            ring.recv(1)
            times[f"ask[{at}]"] = began, now()
    return times


# -- the table

ROWS: dict[str, tuple[str, Callable[[str, int], Times], int]] = {
    "a row and a datagram": ("by-hand", answer_by_hand, 1),
    "plait.open_run(...).answer": ("plait", answer_there, 1),
    "plait answer": ("plait", answer_by_command, 4),
}
"""Who waits, who answers, and of how many answers that takes one."""

WAITS: dict[str, Callable[[str, int], None]] = {"by-hand": wait_by_hand, "plait": ask}


def measure(name: str, number: int) -> tuple[list[float], list[float]]:
    """Seconds from each answer until its task went on, and until whoever gave it was told."""
    waits, answer, share = ROWS[name]
    number = max(2, number // share)
    with tempfile.TemporaryDirectory() as folder:
        store = os.path.join(folder, "runs.db")
        words = [sys.executable, __file__, "--waits", waits, "--store", store, "--answers", str(number)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            _expect(other.stdout)
            times = answer(store, number)
            went_on = json.loads(other.stdout.readline())
    return (
        [went_on[key] - began for key, (began, _) in times.items()],
        [told - began for began, told in times.values()],
    )


def _expect(output: IO[str]) -> None:
    said = output.readline()
    if said != "asks\n":
        raise RuntimeError(f"nobody asks: {said!r}")


def rows(found: dict[str, tuple[list[float], list[float]]]) -> list[str]:
    """The table, as Markdown."""
    lines = [
        "| | answers | until the task goes on, ms | 95 of 100 | until the one who answered is told, ms | 95 of 100 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, (on, told) in found.items():
        figures = [statistics.median(on), _most(on), statistics.median(told), _most(told)]
        lines.append(f"| {name} | {len(on)} | {' | '.join(f'{each * 1000:.1f}' for each in figures)} |")
    return lines


def _most(seconds: list[float]) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * 0.95))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=200, metavar="N", help="of each, but fewer commands")
    parser.add_argument("--waits", choices=list(WAITS), help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.waits:
        WAITS[given.waits](given.store, given.answers)
        return
    print("\n".join(rows({name: measure(name, given.answers) for name in ROWS})))


if __name__ == "__main__":
    main()
