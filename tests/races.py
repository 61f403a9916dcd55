"""Two things happen to a question at once, many times over: `python tests/races.py two-answers --rounds 300 --folder DIR`.

A process drives the runs; others act at the same moment, each through `plait.open_run`, and write into a ledger what they were told. At the end
that, and what became of the tasks, must be one story: F74, E8. Exit status 1 where it is not, or where something hangs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ledger
import plait
from forks import Child
from kept_runs import Place, warm
from plait.errors import UsageError
from plait.opened import OpenRun

LONGEST_S = 60.0
JITTER_S, LATER_S = 0.002, 0.015
"""Of whoever acts; and of what drives a run, for an answer takes some milliseconds to get there."""

APART_S = 0.03
"""From the end of one question's time to that of the next."""

Gate = Any
"""What lets two processes, or three, go on at once."""


class Said(NamedTuple):
    """What somebody was told who wanted something of a question."""

    run: str
    who: str
    what: str
    became: str
    """`done`, `kept` (for the next process to drive the run) or `refused`."""
    text: str


# -- one run with a question for each round, or a run for each round


def many(rounds: int, due_s: float | None = None, **options: Any) -> plait.Graph:
    """A question for each round; with `due_s` the time for an answer is over then, of one after the other."""
    graph = plait.Graph("many")
    for at in range(rounds):
        if due_s is not None:
            options["timeout"] = due_s + APART_S * at
        graph.add(f"q{at}", plait.ask_for("Who was first?", form=str, **options))
    graph.add("last", plait.ask_for("Was that all?", form=str))
    return graph


def one() -> plait.Graph:
    """A question, and what needs its answer."""
    graph = plait.Graph("one")
    graph.add("end", repeated, args=(graph.add("q", plait.ask_for("Who was first?", form=str)),))
    return graph


@plait.task
async def repeated(said: str) -> str:
    return said


async def _opened(run: plait.Run, number: int) -> None:
    while len(run.questions()) < number:
        await asyncio.sleep(0.005)


def ended(place: Place, run_id: str, result: plait.RunResult) -> None:
    """Writes down what became of a run, for the parent."""
    with open(place.folder / "results", "a") as file:
        outcomes = {key: [str(each.status), each.value] for key, each in result.items() if each.status == "succeeded"}
        outcomes |= {key: [str(each.status), None] for key, each in result.items() if each.status != "succeeded"}
        file.write(json.dumps([run_id, str(result.status), outcomes]) + "\n")


def drives_many(place: Place, rounds: int, options: dict[str, Any]) -> int:
    """One run, with a question for each round."""
    place.enter()

    async def main() -> None:
        run = plait.start(many(rounds, **options), store=place.store, run_id="many", durability="normal")
        await _opened(run, rounds + 1)
        (place.folder / "ready").touch()
        ended(place, "many", await asyncio.wait_for(_over(run), LONGEST_S))

    asyncio.run(main())
    return 0


async def _over(run: plait.Run) -> plait.RunResult:
    return await run


def drives_each(place: Place, rounds: int, gate: Gate = None, leave: bool = False) -> int:
    """A run for each round, all at once; with a gate each is left, where only the answer is missing, at the moment when somebody acts."""
    place.enter()
    dice = random.Random("leaves")

    async def main() -> None:
        runs = {
            f"r{at}": plait.start(one(), store=place.store, run_id=f"r{at}", durability="normal")
            for at in range(rounds)
        }
        for run in runs.values():
            await _opened(run, 1)
        (place.folder / "ready").touch()
        for run in runs.values() if gate is not None or leave else ():
            if gate is not None:
                await asyncio.to_thread(gate.wait, LONGEST_S)
                await asyncio.sleep(dice.random() * LATER_S)
            run._driver.leaves_when_waiting = True
            run._driver.follow()
        for name, run in runs.items():
            result = await asyncio.wait_for(_over(run), LONGEST_S)
            if not result.interrupted:
                ended(place, name, result)

    asyncio.run(main())
    return 0


def resumes_each(place: Place, rounds: int, gate: Gate = None) -> int:
    """Goes on with every run that is not over, when somebody acts; to its end."""
    place.enter()
    dice = random.Random("resumes")

    async def main() -> None:
        runs = {}
        for at in range(rounds):
            if gate is not None:
                await asyncio.to_thread(gate.wait, LONGEST_S)
                await asyncio.sleep(dice.random() * LATER_S)
            runs[f"r{at}"] = plait.resume(f"r{at}", store=place.store)
        for name, run in runs.items():
            ended(place, name, await asyncio.wait_for(_over(run), LONGEST_S))

    asyncio.run(main())
    return 0


# -- who acts

Act = Callable[[OpenRun, str, str], Any]


def answers(run: OpenRun, key: str, who: str) -> Any:
    return run.answer(key, f"{who} was", by=who)


def cancels_task(run: OpenRun, key: str, who: str) -> Any:
    return run.cancel(key, by=who)


def cancels_run(run: OpenRun, key: str, who: str) -> Any:
    return run.cancel(by=who)


def pauses(run: OpenRun, key: str, who: str) -> Any:
    return run.pause(by=who)


def acts(place: Place, gate: Gate, who: str, act: Act, targets: Sequence[tuple[str, str]], seed: int) -> int:
    """One of those who act, on target after target."""
    place.enter()
    dice = random.Random(f"{seed} {who}")
    opened: dict[str, OpenRun] = {}
    for run_id, key in targets:
        if run_id not in opened:
            for each in opened.values():
                each.close()
            opened = {run_id: plait.open_run(run_id, place.store)}
        run = opened[run_id]
        gate.wait(LONGEST_S)
        time.sleep(dice.random() * JITTER_S)
        try:
            became, text = ("done" if act(run, key, who) else "kept"), ""
        except UsageError as error:
            became, text = "refused", str(error)
        ledger.say("SAID", run_id, key, who, act.__name__, became, json.dumps(text).replace(" ", "_"))
    return 0


def answers_when_due(place: Place, seed: int) -> int:
    """Answers each question about when its time is over."""
    place.enter()
    dice = random.Random(seed)
    with plait.open_run("many", place.store) as run:
        asked = [(each.until, each) for each in run.questions() if each.until is not None]
        for until, each in sorted(asked, key=lambda pair: pair[0]):
            time.sleep(max(0.0, until + dice.uniform(-0.02, 0.004) - time.time()))
            try:
                became, text = ("done" if answers(run, each.key, "ann") else "kept"), ""
            except UsageError as error:
                became, text = "refused", str(error)
            ledger.say("SAID", "many", each.key, "ann", "answers", became, json.dumps(text).replace(" ", "_"))
    return 0


def says_that_is_all(place: Place) -> int:
    """Answers what kept the run from its end."""
    with plait.open_run("many", place.store) as run:
        run.answer("last", "yes", by="carl")
    return 0


def goes_on(place: Place, rounds: int) -> int:
    """What was paused goes on."""
    place.enter()
    for at in range(rounds):
        with plait.open_run(f"r{at}", place.store) as run:
            if run.is_paused_there():
                run.resume(by="carl")
                ledger.say("WENT", f"r{at}")
    return 0


# -- plays


def play(place: Place, name: str, rounds: int, seed: int) -> list[str]:
    """One play; what was wrong."""
    place.folder.mkdir(parents=True)
    each = [(f"r{at}", "q") for at in range(rounds)]
    together = [("many", f"q{at}") for at in range(rounds)]
    other = {"two-answers": answers, "cancel-key": cancels_task, "cancel-run": cancels_run, "pause": pauses}.get(name)
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(2)
    if name == "deadline":
        driver = place.child(drives_many, rounds, {"default": "nobody was", "due_s": 1.0 + rounds / 500})
        ready(place, driver)
        _end([place.child(answers_when_due, seed)])
        _end([place.child(says_that_is_all)])
    elif name in ("two-answers", "cancel-key"):
        driver = place.child(drives_many, rounds, {"allow_failure": True})
        ready(place, driver)
        _end(_pair(place, gate, other, together, seed))
        _end([place.child(says_that_is_all)])
    elif name in ("cancel-run", "pause"):
        driver = place.child(drives_each, rounds)
        ready(place, driver)
        _end(_pair(place, gate, other, each, seed))
        if name == "pause":
            _end([place.child(goes_on, rounds)])
    elif name == "leaving":
        driver = place.child(drives_each, rounds, gate)
        ready(place, driver)
        _end([place.child(acts, gate, "ann", answers, each, seed)])
        _end([driver])
        driver = place.child(resumes_each, rounds)
    else:
        driver = place.child(drives_each, rounds, None, True)
        _end([driver])
        driver = place.child(resumes_each, rounds, gate)
        _end([place.child(acts, gate, "ann", answers, each, seed)])
    _end([driver])
    found = wrong_story(place, name, rounds)
    output = place.output.read_text()
    return [*found, output] if output else found


def _pair(place: Place, gate: Gate, other: Act | None, targets: Sequence[tuple[str, str]], seed: int) -> list[Child]:
    assert other is not None
    return [
        place.child(acts, gate, "ann", answers, targets, seed),
        place.child(acts, gate, "bob", other, targets, seed),
    ]


def ready(place: Place, driver: Child) -> None:
    """Until all questions are open."""
    until = time.monotonic() + LONGEST_S
    while not (place.folder / "ready").exists():
        assert driver.wait(0.0) is None, place.output.read_text()
        assert time.monotonic() < until, "the questions are not open yet"
        time.sleep(0.005)


def _end(children: Sequence[Child]) -> None:
    for child in children:
        assert child.end(2 * LONGEST_S) == 0, "a process failed"


# -- what is wrong


def wrong_story(place: Place, name: str, rounds: int) -> list[str]:
    """What those who acted were told, and what became of the tasks, where these are not one story."""
    became: dict[str, tuple[str, Any]] = {}
    runs: dict[str, str] = {}
    for line in (place.folder / "results").read_text().splitlines():
        run, status, tasks = json.loads(line)
        if run in runs:  # gone on with when it was over: it is as it was
            assert runs[run] == status, f"{run} was {runs[run]}, and is {status}"
        runs[run] = status
        for key, (state, value) in tasks.items():
            became[f"{run} {key}"] = state, value
    said: dict[str, list[Said]] = {}
    for what, words, _ in ledger.read(place.ledger):
        if what == "SAID":
            run, key, who, act, told, text = words
            said.setdefault(f"{run} {key}", []).append(Said(run, who, act, told, text.replace("_", " ")))
    questions = [f"many q{at}" if "many" in runs else f"r{at} q" for at in range(rounds)]
    found = []
    tally: Counter[str] = Counter()
    for question in questions:
        told = sorted(said.get(question, []), key=lambda each: each.who)
        state, value = became.get(question, ("nothing", None))
        wrong = RULES[name](told, state, value, runs.get(told[0].run if told else "", "nothing"))
        tally[", ".join([*(f"{each.who} {each.became}" for each in told), state])] += 1
        if wrong:
            found.append(f"{question}: {wrong}: {told}, {state} {value!r}, {runs}"[:2000])
    print(f"{name}: {'; '.join(f'{story} {number}' for story, number in tally.most_common())}")
    return found


def two_answers(told: Sequence[Said], state: str, value: Any, run: str) -> str:
    """One is taken, and the other is told which."""
    won = [each for each in told if each.became == "done"]
    lost = [each for each in told if each.became == "refused"]
    if (len(won), len(lost)) != (1, 1):
        return "not one was taken, and one refused"
    if (state, value) != ("succeeded", f"{won[0].who} was"):
        return "the value is not that of the answer that was taken"
    if f"by {won[0].who}" not in lost[0].text or f"{won[0].who} was" not in lost[0].text:
        return "the other was not told which"
    return ""


def deadline(told: Sequence[Said], state: str, value: Any, run: str) -> str:
    """The answer, or the default; the one who answered is told."""
    if len(told) != 1 or state != "succeeded":
        return "there is not one outcome"
    if told[0].became == "done":
        return "" if value == "ann was" else "the answer was taken, and lost"
    if told[0].became != "refused" or value != "nobody was":
        return "the answer was refused, and counts"
    return "" if "nobody was" in told[0].text else "who came too late was not told what counts"


def cancel_key(told: Sequence[Said], state: str, value: Any, run: str) -> str:
    """A task that is cancelled is that, answered before or not, unless its end crossed the cancel; one that is over is not cancelled."""
    if len(told) != 2:
        return "not both were told"
    ann, bob = told
    if bob.became == "done":
        if state != "cancelled" and (ann.became, state, value) != ("done", "succeeded", "ann was"):
            return "it was cancelled, and is not"
        if ann.became == "refused" and "cancelled" not in ann.text:
            return "who came too late was not told why"
        return "" if ann.became in ("done", "refused") else "an answer was kept, and somebody drives the run"
    if bob.became == "kept":
        return "a cancel was kept, and somebody drives the run"
    if (ann.became, state, value) != ("done", "succeeded", "ann was"):
        return "it could not be cancelled, and the answer does not count"
    return "" if "succeeded" in bob.text else "who came too late was not told why"


def cancel_run(told: Sequence[Said], state: str, value: Any, run: str) -> str:
    """The same for the run."""
    if len(told) != 2:
        return "not both were told"
    ann, bob = told
    if bob.became == "done":
        # An answer may have been taken before, and its task be over by then.
        if run != "cancelled" or state not in ("cancelled", "succeeded"):
            return "the run was cancelled, and is not"
        if state == "succeeded" and ann.became != "done":
            return "an answer that was refused counts"
        return "" if ann.became in ("done", "refused") else "an answer was kept, and somebody drives the run"
    if (ann.became, state, value, run) != ("done", "succeeded", "ann was", "succeeded"):
        return "it could not be cancelled, and the answer does not count"
    return "" if "over" in bob.text else "who came too late was not told why"


def pause(told: Sequence[Said], state: str, value: Any, run: str) -> str:
    """The answer counts in any case."""
    if len(told) != 2:
        return "not both were told"
    ann, bob = told
    if (ann.became, state, value, run) != ("done", "succeeded", "ann was", "succeeded"):
        return "the answer does not count"
    return "" if bob.became == "done" or (bob.became == "refused" and "over" in bob.text) else "the pause was lost"


def kept(told: Sequence[Said], state: str, value: Any, run: str) -> str:
    """An answer is taken, or kept for the next process: it counts in any case."""
    if len(told) != 1 or told[0].became == "refused":
        return "the answer was refused"
    return "" if (state, value, run) == ("succeeded", "ann was", "succeeded") else "the answer does not count"


RULES: dict[str, Callable[[Sequence[Said], str, Any, str], str]] = {
    "two-answers": two_answers,
    "deadline": deadline,
    "cancel-key": cancel_key,
    "cancel-run": cancel_run,
    "pause": pause,
    "leaving": kept,
    "resume": kept,
}


def main(words: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = argparse.ArgumentParser(description="Lets two things happen to a question at once.")
    parser.add_argument("plays", nargs="+", choices=list(RULES))
    parser.add_argument("--folder", type=Path, required=True, help="where everything happens; what failed is left")
    parser.add_argument("--rounds", type=int, default=100, help="of each (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(words)
    wrong = 0
    for name in given.plays:
        place = Place(given.folder.resolve() / name)
        shutil.rmtree(place.folder, ignore_errors=True)
        began = time.monotonic()
        found = play(place, name, given.rounds, given.seed)
        print(f"{name}: {given.rounds} rounds, {len(found)} wrong; {time.monotonic() - began:.1f} s")
        for text in found[:5]:
            print(f"  {text}")
        wrong += bool(found)
        if not found:
            shutil.rmtree(place.folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    warm([many(1), one()])
    sys.exit(main())
