"""Stops at random moments, and a look at what is left: `python tests/stops.py --trials 200`; a sample of it is in CI.

A trial is a run of commands and process tasks, some deaf to TERM, some with families. With `--how inside` it is cancelled, or a timeout
or the death of a worker comes, in this process, whose children, descriptors, threads and temporary files are counted at the end. With
`--how signals` a process of its own runs it, gets TERM or Ctrl-C (SIGINT), and has to be gone within its grace and a second, with all
that it started, which is known by a mark in the environment.
"""

from __future__ import annotations

import argparse
import asyncio
import operator
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

import bodies
import plait

GRACE_S = 0.3
MARK = "PLAIT_STOPS_MARK"

COMMANDS = (
    ["sleep", "60"],
    "trap '' TERM; sleep 60 & sleep 60 & wait; sleep 60",
    "sleep 60 & sleep 60",
    "exit 3",
    "head -c 100000 /dev/zero; sleep 0.05",
    ["/no/such/program"],
)


def random_graph(dice: random.Random, folder: str) -> plait.Graph:
    """Tasks of every kind, each with a timeout that may come first."""
    graph = plait.Graph("stops")
    for number in range(dice.randint(4, 12)):
        timeout = dice.choice((None, dice.uniform(0.05, 0.6)))
        options: dict[str, Any] = {"timeout": timeout, "grace": GRACE_S} if timeout else {"grace": GRACE_S}
        path = os.path.join(folder, str(number))
        kind = dice.randrange(3)
        if kind == 0:
            graph.add(f"t{number}", plait.shell(dice.choice(COMMANDS), **options))
            continue
        body, args = dice.choice(
            (
                (bodies.spin, ()),
                (bodies.sleep, (60.0,)),
                (bodies.sleep, (0.01,)),
                (bodies.tidy, (path,)),
                (bodies.family, (path, 60.0)),
                (bodies.die_once, (path, "kill")),
                (bodies.double, (4,)),
            )
        )
        graph.add(f"t{number}", plait.task(body).options(executor="process", **options), args=args)
    for number in range(dice.choice((0, 500))):  # short ones, which wait at their workers
        graph.add(f"short{number}", plait.task(bodies.double).options(executor="process"), args=(number,))
    return graph


def marked(mark: str) -> list[psutil.Process]:
    """Living processes that have the mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def left_behind() -> list[str]:
    """Children of this process, at any distance, zombies too."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            status = child.status()
            found.append(f"{child.pid} {status} {words(child)}")
        except psutil.NoSuchProcess:
            continue
    return found


def words(process: psutil.Process) -> str:
    """How it was called; "" of a zombie."""
    try:
        return " ".join(process.cmdline())[:80]
    except psutil.Error:
        return ""


async def stopped_inside(dice: random.Random, folder: str) -> None:
    """One run, and one way to end it."""
    run = plait.start(random_graph(dice, folder), max_concurrency=dice.choice((2, 8)), grace=GRACE_S)
    await asyncio.sleep(dice.uniform(0.0, 0.6))
    if dice.random() < 0.3:  # a worker dies, whatever it does
        workers = [child for child in psutil.Process().children() if "worker" in words(child)]
        if workers:
            dice.choice(workers).kill()
        await asyncio.sleep(dice.uniform(0.0, 0.2))
    run.cancel()
    await run


def inside(trials: int, seed: int) -> int:
    """How many things are wrong."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        # A temporary folder of our own, and of what is started here: in the machine's others come and go.
        os.environ["TMPDIR"] = tempfile.tempdir = os.path.join(folder, "tmp")
        os.mkdir(tempfile.tempdir)
        counts: tuple[int, ...] = ()
        for trial in range(trials + 1):
            dice = random.Random(seed + trial)
            asyncio.run(stopped_inside(dice, tempfile.mkdtemp(dir=folder)))
            left = left_behind()
            if left:
                wrong += 1
                print(f"trial {trial} (seed {seed + trial}): {left}")
            if not trial:  # what is made once for a process is there
                counts = everything()
        until(lambda: not any(map(operator.gt, everything(), counts)))
        if any(map(operator.gt, now := everything(), counts)):
            wrong += 1
            print(f"descriptors, threads and temporary files: {counts} before, {now} after")
    return wrong


def everything() -> tuple[int, ...]:
    """Descriptors, threads and temporary files, but for the folders of the trials."""
    return len(os.listdir("/proc/self/fd")), threading.active_count(), len(os.listdir(tempfile.gettempdir()))


def until(holds: Callable[[], bool]) -> None:
    """Waits for a fact, five seconds at most."""
    for _ in range(500):
        if holds():
            return
        time.sleep(0.01)


def signals(trials: int, seed: int) -> int:
    """How many things are wrong."""
    wrong, longest = 0, 0.0
    for trial in range(trials):
        dice = random.Random(seed + trial)
        mark = f"stops-{os.getpid()}-{trial}"
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--run", str(seed + trial), "--folder", folder]
            run = subprocess.Popen(
                command, env={**os.environ, MARK: mark}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            until(lambda: os.path.exists(os.path.join(folder, "up")))
            time.sleep(dice.uniform(0.0, 0.8))  # the moment of the stop is what is tried
            run.send_signal(dice.choice((signal.SIGTERM, signal.SIGINT)))
            began = time.monotonic()
            try:
                run.wait(30)
            except subprocess.TimeoutExpired:
                run.kill()
                run.wait()
            took = time.monotonic() - began
            longest = max(longest, took)
            left = marked(mark)
            if took > GRACE_S + 1 or left:
                wrong += 1
                print(f"trial {trial} (seed {seed + trial}): gone after {took:.2f} s, left: {left}")
            for process in left:
                process.kill()
    print(f"longest: {longest:.2f} s, of {GRACE_S + 1:.1f}")
    return wrong


def run_one(seed: int, folder: str) -> None:
    """What `signals` stops."""
    dice = random.Random(seed)
    graph = random_graph(dice, folder)
    graph.add("up", plait.shell(["touch", os.path.join(folder, "up")], priority="high"))
    plait.run(graph, max_concurrency=8, grace=GRACE_S, raise_on_failure=False)


def main() -> None:
    """Tries, prints, and exits with 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--how", choices=("inside", "signals", "both"), default="both")
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run is not None:
        run_one(given.run, given.folder)
        return
    wrong = 0
    for how, tried in (("inside", inside), ("signals", signals)):
        if given.how in (how, "both"):
            began = time.monotonic()
            found = tried(given.trials, given.seed)
            print(f"{how}: {given.trials} trials, {found} wrong, {time.monotonic() - began:.0f} s")
            wrong += found
    sys.exit(bool(wrong))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
