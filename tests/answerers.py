"""People in processes of their own answer a run that another process drives: `python tests/answerers.py nested --folder DIR`.

What is played is named first, and at the end of a play its result and its ledger (`ledger.py`) say what must not be. Exit status 1 where
something was: E7 X3, F74 F75. `nested`: two hundred questions inside maps of maps (`--flow`: in a file, `foreach` inside `foreach`), open at
once, answered in random order by eight processes, each with another answer; with `--kill` the process that drives the run dies meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ledger
import plait
from forks import Child
from kept_runs import RUN, Place, drive, ends, look, warm
from ledger import Fault, Line
from plait.errors import RunNotFound

LONGEST_S = 60.0
ROWS, CELLS, PEOPLE, SLOTS = 10, 20, 8, 4

_at_work = 0


# -- two hundred questions


async def _work() -> None:
    """Something that needs a slot: never more at once than there are."""
    global _at_work
    _at_work += 1
    assert _at_work <= SLOTS, f"{_at_work} tasks have {SLOTS} slots"
    await asyncio.sleep(0)
    _at_work -= 1


@plait.task
async def cell(item: int) -> Any:
    """Work before a question, and after its answer."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        await _work()
        ledger.say("BEFORE", me.key)
        said = await plait.ask(f"What of {item}?")
        ledger.say("AFTER", me.key)
        await _work()
    return said


@plait.task
async def row(at: int) -> Any:
    """Grows a map of its own."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        return cell.map([at * CELLS + each for each in range(CELLS)]).named("cells")


def nested() -> plait.Graph:
    """A map of maps."""
    graph = plait.Graph("nested")
    graph.add("rows", row.map(list(range(ROWS))))
    return graph


async def worked(value: Any = None) -> Any:
    """A task of the file."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        await _work()
    return value


FLOW = f"""
name: nested
tasks:
  rows:
    foreach: {list(range(ROWS))}
    tasks:
      cells:
        foreach: {list(range(CELLS))}
        tasks:
          before: {{call: "answerers:worked", with: {{value: "{{{{ item }}}}"}}}}
          question: {{ask: "What of {{{{ tasks.before.output }}}}?"}}
          after: {{call: "answerers:worked", with: {{value: "{{{{ tasks.question.output }}}}"}}}}
outputs: {{rows: "{{{{ tasks.rows.output }}}}"}}
"""


def begun(place: Place, flow: bool) -> int:
    """Begins the run, or goes on with it."""
    place.enter()

    def start() -> tuple[Any, dict[str, Any]]:
        options = {"max_concurrency": SLOTS, "durability": "normal"}
        if not flow:
            return nested(), options
        path = place.folder / "nested.yaml"
        path.write_text(FLOW)
        return plait.load(path), options

    return asyncio.run(drive(place, start))


def all_open(place: Place, number: int) -> int:
    """Waits until so many questions are open, and writes down their keys."""
    until = time.monotonic() + LONGEST_S
    while time.monotonic() < until:
        if Path(place.store).exists():
            try:
                opened = plait.open_run(RUN, place.store)
            except RunNotFound:
                continue  # the store is there before the run
            with opened as run:
                found = [each.key for each in run.questions()]
                if len(found) == number:
                    (place.folder / "keys.json").write_text(json.dumps(found))
                    return 0
        time.sleep(0.02)
    print(f"only {len(found)} questions are open")
    return 1


def answering(place: Place, name: str, keys: Sequence[str]) -> int:
    """One person answers these, each with another value: GAVE says whether somebody drove the run, and how long it took."""
    place.enter()
    with plait.open_run(RUN, place.store) as run:
        for key in keys:
            began = time.monotonic()
            taken = run.answer(key, f"{name} says {key}", by=name)
            ledger.say("GAVE", key, name, "taken" if taken else "kept", f"{time.monotonic() - began:.6f}")
    return 0


def play_nested(place: Place, seed: int, flow: bool, kill: bool) -> list[Fault]:
    """Two hundred questions and eight people; what was wrong."""
    dice = random.Random(seed)
    owner = place.child(begun, flow)
    number = ROWS * CELLS
    assert not place.child(all_open, number).end(LONGEST_S + 10), place.output.read_text()
    keys = json.loads((place.folder / "keys.json").read_text())
    dice.shuffle(keys)
    names = [f"person{each}" for each in range(PEOPLE)]
    by = {key: names[at % PEOPLE] for at, key in enumerate(keys)}
    people = [place.child(answering, name, keys[at::PEOPLE]) for at, name in enumerate(names)]
    if kill:
        wait_for(place, people, "GAVE", dice.randint(20, 60))
        owner.kill()
        place.ended(owner)
        place.child(look).end()
        wait_for(place, people, "GAVE", dice.randint(100, 180))
        owner = place.child(begun, flow)
    statuses = [each.end(LONGEST_S) for each in people]
    status = owner.end(LONGEST_S)
    place.ended(owner)
    if any(statuses) or status:
        return [Fault("error", "", f"processes ended with {statuses}, {status}:\n{place.output.read_text()}")]
    if place.child(look, end=True).end():
        return [Fault("error", "", f"the end of the run cannot be read:\n{place.output.read_text()}")]
    return wrong_branches(place, by, flow, kill)


def wait_for(place: Place, people: Sequence[Child], what: str, number: int) -> None:
    """Until something is in the ledger so often, or all is said."""
    while sum(line.what == what for line in ledger.read(place.ledger)) < number:
        if all(each.wait(0.0) is not None for each in people):
            return
        time.sleep(0.002)


def wrong_branches(place: Place, by: dict[str, str], flow: bool, kill: bool) -> list[Fault]:
    """What is wrong with a run of the two hundred: values, and what was done how often."""
    lines = ledger.read(place.ledger)
    started = {line.words[0] for line in lines if line.what == "START"}
    silent = {line.words[0] for line in lines if line.what in ("TOLD", "KEPT")} - started
    got = json.loads(place.result.read_text())
    found = ends(place, {**got, "status": "succeeded"}, silent)
    values = got["value"]["rows"]
    if flow:
        values = [[each["after"] for each in part["cells"]] for part in values]
    for at in range(ROWS):
        for each in range(CELLS):
            key = f"rows[{at}]/cells[{each}]" + ("/question" if flow else "")
            wanted = f"{by[key]} says {key}"
            if values[at][each] != wanted:
                found.append(Fault("value", key, f"{key} is {values[at][each]!r}, not {wanted!r}"))
    gave = [line for line in lines if line.what == "GAVE"]
    if Counter(line.words[0] for line in gave) != Counter(list(by)):
        found.append(Fault("answers", "", "not every question was answered once"))
    kept = sum(line.words[2] == "kept" for line in gave)
    if (kept > 0) != kill:
        found.append(Fault("answers", "", f"{kept} answers were kept, for nobody drove the run"))
    return found + often(lines, flow, kill)


def often(lines: Sequence[Line], flow: bool, kill: bool) -> list[Fault]:
    """What ran more often than it may: all of it once, but what its process died in."""
    found: list[Fault] = []
    starts = Counter(line.words[0] for line in lines if line.what == "START")
    before = Counter(line.words[0] for line in lines if line.what == "BEFORE")
    after = Counter(line.words[0] for line in lines if line.what == "AFTER")
    most = 2 if kill else 1
    for key, times in (starts + before + after).items():
        exactly_once = not kill or key.endswith("/before") or (not flow and "cells" not in key)
        if (exactly_once and starts[key] != 1) or max(starts[key], before[key], after[key]) > most:
            found.append(Fault("run again", key, f"{key} ran {times} times"))
    cells = ROWS * CELLS
    if flow and len(starts) != 2 * cells:
        found.append(Fault("counts", "", f"{len(starts)} tasks started"))
    if not flow and (len(before), len(after)) != (cells, cells):
        found.append(Fault("counts", "", f"{len(before)} came to their question, {len(after)} beyond it"))
    return found


# -- the command


def shown_times(place: Place) -> str:
    """How long answers took that were taken."""
    times = sorted(float(line.words[3]) for line in ledger.read(place.ledger) if line.words[2:3] == ("taken",))
    if not times:
        return "none taken"
    return f"{len(times)} taken, {statistics.median(times) * 1000:.0f} ms (median), {times[int(len(times) * 0.95)] * 1000:.0f} ms (95 of 100)"


def main(words: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = argparse.ArgumentParser(description="Lets people answer a run from processes of their own.")
    parser.add_argument("play", choices=["nested"])
    parser.add_argument("--folder", type=Path, required=True, help="where everything happens; what failed is left")
    parser.add_argument("--seed", type=int, default=1, help="of the first round (%(default)s); the others follow")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--flow", action="store_true", help="a workflow file")
    parser.add_argument("--kill", action="store_true", help="the process that drives the run dies meanwhile")
    given = parser.parse_args(words)
    folder = given.folder.resolve()
    wrong = 0
    for number in range(given.rounds):
        place = Place(folder / f"round{number}")
        shutil.rmtree(place.folder, ignore_errors=True)
        found = play_nested(place, given.seed + number, given.flow, given.kill)
        print(f"seed {given.seed + number}: {len(found)} wrong; {shown_times(place)}")
        for fault in found[:10]:
            print(f"  {fault.kind}: {fault.text}")
        wrong += bool(found)
        if not found:
            shutil.rmtree(place.folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    warm([nested()])
    sys.exit(main())
