"""Kills processes that drive runs, at random moments, again and again: `python tests/kills.py --kills 1000 --seed 1 --folder DIR`.

Random graphs (their seed makes one again) run in a child process, in a store. The child is killed by SIGKILL, it alone, so that
its commands live on; another one resumes the run, and so on to its end. Every attempt and every reported completion adds a line
to a ledger outside of the store (`ledger.py`), which then says what must not have happened; after each kill what is on record is
looked at, too. At times two processes are let loose on one run. The exit status is 1 where a promise was not kept: W1 to W4, W6, W7;
F01 to F04, F06, F13, F15.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import ledger
import plait
from forks import Child
from kept_runs import OVER, OWNED, Place, drive, ends, look, warm
from ledger import Fault, Line
from plait.errors import RunOwned

LONGEST_S = 60.0
"""A run that is left alone is over by then."""


# -- what the tasks do


@plait.task
async def slow(how: dict[str, Any], values: Sequence[Any] = ()) -> Any:
    """A coroutine."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        if how["ms"]:
            await asyncio.sleep(how["ms"] / 1000)
        if how["fails"]:
            ledger.fail_first(me.key, how["fails"])
    return _value(me.key, how, values)


@plait.task
def busy(how: dict[str, Any], values: Sequence[Any] = ()) -> Any:
    """A function in a thread."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        time.sleep(how["ms"] / 1000)
        if how["fails"]:
            ledger.fail_first(me.key, how["fails"])
    return _value(me.key, how, values)


def _value(task: str, how: dict[str, Any], values: Sequence[Any]) -> Any:
    """Text, or the nodes that the task grows, or the list that a map is to go over."""
    if how.get("grows"):
        nodes: list[Any] = []
        for at, child in enumerate(how["grows"]):
            nodes.append(node_of(child, [nodes[need] for need in child["needs"]]).named(f"c{at}"))
        return nodes
    return how["lists"] if "lists" in how else ledger.made_of(task, how["size"], values)


def node_of(how: dict[str, Any], values: list[Any]) -> Any:
    """The call that `how` describes, given `values`."""
    if how["kind"] == "shell":
        words = [
            sys.executable,
            "-I",
            "-S",
            ledger.PROGRAM,
            how["ms"],
            how["size"],
            how["fails"],
            how["manner"],
            *values,
        ]
        return plait.shell(words, **how["options"])
    return (slow if how["kind"] == "async" else busy).options(**how["options"]).bind(how, values)


# -- random graphs, and what is to become of them


@dataclass
class Plan:
    """A graph, and how it has to end whoever is killed: the status of every task, grown ones included, and values of the last."""

    graph: plait.Graph
    statuses: dict[str, str] = field(default_factory=dict)
    value: dict[str, Any] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    """Tasks without code."""
    slots: int = 4
    durability: str = "full"

    @property
    def status(self) -> str:
        """Of the whole run."""
        bad = (key for key, status in self.statuses.items() if status == "failed" and key not in self.allowed)
        return "failed" if any(bad) else "succeeded"

    allowed: set[str] = field(default_factory=set)
    """Tasks that may fail."""

    def made(self, path: str, how: dict[str, Any], values: Sequence[Any]) -> Any:
        """The value of a task that succeeds; what it grows is entered, too."""
        self.statuses[path] = "succeeded"
        if how.get("grows"):
            made: list[Any] = []
            for at, child in enumerate(how["grows"]):
                made.append(self.made(f"{path}/c{at}", child, [made[need] for need in child["needs"]]))
            return made
        return how["lists"] if "lists" in how else ledger.made_of(path, how["size"], values)


def planned(seed: int) -> Plan:
    """The graph of a seed: 5 to 40 tasks of every kind."""
    dice = random.Random(seed)
    plan = Plan(plait.Graph(f"graph{seed}"), slots=dice.randint(1, 8), durability=dice.choice(["full", "normal"]))
    nodes: dict[str, Any] = {}
    lists: list[str] = []
    users: set[str] = set()
    values: dict[str, Any] = {}
    for at in range(dice.randint(5, 40)):
        key = f"t{at}"
        needs = dice.sample(list(nodes), min(len(nodes), dice.choice([0, 0, 1, 1, 2, 3])))
        how = _how(dice)
        if lists and dice.random() < 0.2:
            needs = [dice.choice(lists)]
            node = _map(dice, nodes[needs[0]])
            how = {"kind": "map"}
        else:
            if dice.random() < 0.15:
                how = {
                    **_how(dice, kinds=("async", "thread"), fails=False),
                    "lists": [_item(dice) for _ in range(dice.choice([0, 1, 3, 8]))],
                }
            elif dice.random() < 0.12:
                how = {**_how(dice, kinds=("async", "thread"), fails=False), "grows": _grows(dice)}
            node = node_of(how, [nodes[need] for need in needs])
        if dice.random() < 0.04:
            node = node.options(when=False)
            how["skipped"] = True
        users.update(needs)
        nodes[key] = plan.graph.add(key, node)
        _enter(plan, key, how, needs, values)
        if "lists" in how and plan.statuses[key] == "succeeded":
            lists.append(key)
    plan.value = {key: values.get(key) for key in nodes if key not in users}
    return plan


def _how(
    dice: random.Random, kinds: Sequence[str] = ("async", "async", "thread", "shell", "shell"), fails: bool = True
) -> dict[str, Any]:
    """How one task does what it does, and its options."""
    kind = dice.choice(kinds)
    options: dict[str, Any] = {}
    how: dict[str, Any] = {
        "kind": kind,
        "ms": dice.choice([5, 20, 60, 250] if kind == "shell" else [0, 0, 1, 5, 20, 60, 250]),
        "size": ledger.LARGE if fails and dice.random() < 0.1 else 8,
        "fails": 0,
        "manner": dice.choice(["plain"] * 17 + ["family", "family", "deaf"]),
        "needs": [],
        "options": options,
    }
    if fails and dice.random() < 0.12:
        how["fails"] = dice.randint(1, 2)
        options["retry"] = {"attempts": how["fails"] + dice.randint(1, 2), "delay": dice.choice([0, 0.01, 0.05])}
    elif fails and dice.random() < 0.06:
        how["fails"] = -1
        options["retries"] = dice.choice([0, 0, 1])
        if options["retries"]:
            options["retry"] = {"attempts": 1 + options.pop("retries"), "delay": 0.01}
        options["allow_failure"] = dice.random() < 0.7
    if how["fails"]:
        how["manner"] = "plain"
    if dice.random() < 0.1:
        options["timeout"] = 30
    if dice.random() < 0.1:
        options["priority"] = dice.choice(["high", "low"])
    return how


def _item(dice: random.Random) -> dict[str, Any]:
    how = _how(dice, kinds=("async",), fails=False)
    if dice.random() < 0.1:
        how["fails"] = 1
    elif dice.random() < 0.1:
        how["grows"] = _grows(dice, depth=2)
    return how


def _map(dice: random.Random, over: Any) -> Any:
    options = {"max_concurrency": dice.choice([1, 2])} if dice.random() < 0.3 else {}
    body = dice.choice([slow, busy]).options(retry={"attempts": 3, "delay": 0.01})
    return body.map(over, **options)


def _grows(dice: random.Random, depth: int = 1) -> list[dict[str, Any]]:
    children = [_how(dice, fails=False) for _ in range(dice.randint(1, 5))]
    for at, child in enumerate(children):
        child["needs"] = dice.sample(range(at), min(at, dice.choice([0, 0, 1])))
        if child["kind"] != "shell" and depth < 3 and dice.random() < 0.2:
            child["grows"] = _grows(dice, depth + 1)
    return children


def _enter(plan: Plan, key: str, how: dict[str, Any], needs: Sequence[str], values: dict[str, Any]) -> None:
    """What is to become of one more task."""
    before = {plan.statuses[need] for need in needs if need not in plan.allowed}
    if how["kind"] == "map":
        plan.silent.add(key)
    if before & {"failed", "upstream_failed"}:
        plan.statuses[key] = "upstream_failed"
    elif "skipped" in {plan.statuses[need] for need in needs} or how.get("skipped"):
        plan.statuses[key] = "skipped"
    elif how["kind"] == "map":
        plan.statuses[key] = "succeeded"
        values[key] = [plan.made(f"{key}[{at}]", item, ()) for at, item in enumerate(values[needs[0]])]
    elif how["fails"] < 0:
        plan.statuses[key] = "failed"
        if how["options"]["allow_failure"]:
            plan.allowed.add(key)
    else:
        values[key] = plan.made(key, how, [values.get(need) for need in needs])


# -- a child


def take_part(place: Place, seed: int, bug: str | None = None, *, fresh: bool = False) -> int:
    """The life of a child: it begins the run of the graph of `seed`, or goes on with it; a `fresh` one imports everything anew."""
    if fresh:
        words = [sys.executable, os.path.abspath(__file__), "--drive", str(place.folder), "--seed", str(seed)]
        os.execv(sys.executable, words + (["--bug", bug] if bug else []))
    place.enter()
    if bug:
        from planted_stores import BUGS

        BUGS[bug]()

    def start() -> tuple[Any, dict[str, Any]]:
        plan = planned(seed)
        return plan.graph, {"crash_budget": 1000, "durability": plan.durability, "max_concurrency": plan.slots}

    try:
        return asyncio.run(drive(place, start))
    except RunOwned:
        return OWNED


# -- the parent


@dataclass
class Tally:
    """Figures over many runs."""

    kills: int = 0
    graphs: int = 0
    tasks: int = 0
    attempts: int = 0
    cut_short: int = 0
    reported: int = 0
    refused: int = 0
    takeovers_s: list[float] = field(default_factory=list)
    """From the death of an owner to the run in the hands of the next."""
    wrong: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        for name in ("kills", "graphs", "tasks", "attempts", "cut_short", "reported", "refused"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.takeovers_s += other.takeovers_s
        self.wrong.update(other.wrong)

    def count(self, lines: Sequence[Line]) -> None:
        """Takes what a ledger says into the figures."""
        whats = Counter(line.what for line in lines)
        self.attempts += whats["START"]
        self.cut_short += whats["START"] - whats["END"] - whats["FAILED"]
        self.reported += whats["TOLD"]
        self.refused += whats["OWNED"]
        died: float | None = None
        for line in lines:
            if line.what == "KILLED":
                died = line.at
            elif line.what == "DRIVES" and died is not None:
                self.takeovers_s.append(line.at - died)
                died = None

    def __str__(self) -> str:
        times = sorted(self.takeovers_s) or [0.0]
        wrong = ", ".join(f"{self.wrong[kind]} {kind}" for kind in ("lost", "run again", "overlap"))
        other = sum(self.wrong.values()) - sum(self.wrong[kind] for kind in ("lost", "run again", "overlap"))
        return (
            f"{self.kills} kills over {self.graphs} graphs of {self.tasks} tasks: {wrong}, {other} otherwise wrong; {self.attempts} attempts, "
            f"{self.cut_short} of them cut short, {self.reported} completions reported, {self.refused} processes refused, "
            f"takeover {statistics.median(times) * 1000:.0f} ms (median), {times[-1] * 1000:.0f} ms (longest)"
        )


def play(
    place: Place, seed: int, most_kills: int, *, bug: str | None = None, rivals: float = 0.15, fresh: float = 0.05
) -> tuple[Tally, list[Fault]]:
    """One graph, killed up to so many times, to its end; what was wrong."""
    dice = random.Random(f"kills of {seed}")
    plan = planned(seed)
    tally = Tally(graphs=1, tasks=len(plan.statuses))
    most_kills = min(most_kills, dice.choice([2, 5, 10, 20]))
    found: list[Fault] = []
    statuses: list[int | None] = []
    while not found and not {0, OVER} & set(statuses):
        number = 2 if dice.random() < rivals else 1
        children = [place.child(take_part, seed, bug, fresh=dice.random() < fresh) for _ in range(number)]
        wait_s = dice.choice([0.02, 0.2, 0.2, 0.8]) * dice.random() if tally.kills < most_kills else LONGEST_S
        until = time.monotonic() + wait_s
        for child in children:
            child.wait(until - time.monotonic())
        for child in children:
            tally.kills += child.kill()
            place.ended(child)
        statuses = [child.status for child in children]
        look_status = place.child(look).end()
        found = ledger.faults(ledger.read(place.ledger), plan.silent)
        if wait_s == LONGEST_S and -9 in statuses:
            found.append(Fault("stuck", "", f"the run was not over after {LONGEST_S:g} s"))
        if look_status or not set(statuses) <= {0, OWNED, OVER, -9} or set(statuses) == {OWNED}:
            said = place.output.read_text()
            found.append(Fault("error", "", f"processes ended with {statuses}, who looked with {look_status}:\n{said}"))
    if not found and place.child(look, end=True).end():
        found.append(Fault("error", "", f"the end of the run cannot be read:\n{place.output.read_text()}"))
    found = found or ends(place, vars(plan) | {"status": plan.status}, plan.silent)
    tally.count(ledger.read(place.ledger))
    tally.wrong.update(each.kind for each in found)
    return tally, found


def lane(folder: Path, kills: int, seeds: Sequence[int], bug: str | None, rivals: float, until: Sequence[str]) -> int:
    """Graph after graph until so many kills were made, or something is wrong (of the kinds `until`); the figures go to a file."""
    total = Tally()
    status = 0
    parent = os.getppid()
    for seed in seeds:
        seen = not total.wrong.keys().isdisjoint(until) if until else bool(status)
        if total.kills >= kills or seen or os.getppid() != parent:
            break
        place = Place(folder / f"graph{seed}")
        tally, found = play(place, seed, kills - total.kills, bug=bug, rivals=rivals)
        total.add(tally)
        if found:
            status = 1
            print(f"seed {seed} ({place.folder}):")
            first = {each.kind: each for each in reversed(found)}  # one of each kind, however many there are of another
            for fault in [*first.values(), *(each for each in found[:10] if each not in first.values())]:
                print(f"  {fault.kind}: {fault.text}")
            print(ledger.shown(ledger.read(place.ledger), found[0].task or None))
        else:
            shutil.rmtree(place.folder)
    (folder / "tally.json").write_text(json.dumps(vars(total)))
    return status


def main(words: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = argparse.ArgumentParser(description="Kills processes that drive runs, and checks what became of the runs.")
    parser.add_argument("--kills", type=int, default=100, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first graph (%(default)s); the others follow")
    parser.add_argument(
        "--folder", type=Path, required=True, help="where everything happens; what failed is left there"
    )
    parser.add_argument("--processes", type=int, default=1, help="graphs at once (%(default)s)")
    parser.add_argument(
        "--rivals", type=float, default=0.15, help="how often two processes begin at once (%(default)s)"
    )
    parser.add_argument(
        "--until", nargs="*", default=(), help="kinds of faults: it goes on, whatever else is wrong, until there is one"
    )
    parser.add_argument("--bug", help="one to plant into the children (planted_stores.py)")
    given = parser.parse_args(words)
    began = time.monotonic()
    lanes = []
    for number in range(given.processes):
        folder = given.folder.resolve() / f"lane{number}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        seeds = range(given.seed + number, 1 << 30, given.processes)
        share = given.kills // given.processes + (number < given.kills % given.processes)
        lanes.append(
            (
                folder,
                Child(partial(lane, folder, share, seeds, given.bug, given.rivals, given.until), str(folder / "said")),
            )
        )
    total, status = Tally(), 0
    for folder, child in lanes:
        status = max(status, child.end(86_400))
        print((folder / "said").read_text(), end="")
        if (folder / "tally.json").exists():
            data = json.loads((folder / "tally.json").read_text())
            total.add(Tally(**{**data, "wrong": Counter(data["wrong"])}))
    print(f"{total}; seed {given.seed}, {time.monotonic() - began:.0f} s")
    return status


if __name__ == "__main__":
    if "--drive" in sys.argv:
        only = argparse.ArgumentParser()
        only.add_argument("--drive", type=Path)
        only.add_argument("--seed", type=int)
        only.add_argument("--bug")
        words = only.parse_args()
        sys.exit(take_part(Place(words.drive), words.seed, words.bug))
    warm([planned(1).graph])
    sys.exit(main())
