"""Kills a run at every point where it could be in the middle of something: `python tests/crashes.py --folder DIR`.

`plait.points` is passed at every commit, rename and spawn, and between the steps of a recovery. Twelve small graphs are run once in
peace; then, for n from 1 on until a run ends before its n-th point, a process that runs the graph kills itself there and another
one resumes the run, which has to end as the one in peace did. The `--deep` graphs are killed once more at every point of that
recovery, and so is one more graph (`held`), whose commands are still at work then. People are asked in three others
(`asking`, `approving`, `rejecting`): a process of its own answers, whether the run is driven just then or not. Exit status 1 where one does not end so: F01 to F04, W1 to W6.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import ledger
import plait
import script_nodes  # noqa: F401 - it registers the types of node of `script.flow.md`
from forks import Child
from kept_runs import OVER, RUN, Place, drive, ends, look, warm
from ledger import Fault
from plait import points
from plait.errors import RunNotFound, StoreError, UsageError

# -- twelve graphs


@plait.task
async def soon(*values: Any, size: int = 8) -> str:
    """A coroutine that gives the loop a turn."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        await asyncio.sleep(0)
    return ledger.made_of(me.key, size, values)


@plait.task
def apart(*values: Any, size: int = 8) -> str:
    """A function in a thread."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        return ledger.made_of(me.key, size, values)


@plait.task
async def broken(*values: Any, times: int = -1) -> str:
    """Fails so many times; -1: always."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        ledger.fail_first(me.key, times)
    return ledger.made_of(me.key, 8, values)


@plait.task
async def three() -> list[int]:
    """What a map goes over."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        return [1, 2, 3]


@plait.task
async def no() -> bool:
    """A condition that does not hold."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        return False


@plait.task
async def branches(*values: Any) -> list[Any]:
    """Grows three tasks, one of which grows two more."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        first = soon.bind(*values).named("first")
        return [first, apart.bind(first).named("second"), twigs.bind().named("third")]


@plait.task
def twigs() -> dict[str, Any]:
    """Grows two tasks, a command one of them."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        return {"left": soon.bind().named("left"), "right": command(5).named("right")}


@plait.task
async def sprouts() -> list[Any]:
    """Grows a task that fails, and two that go with it."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        bad = broken.bind().named("bad")
        return [soon.bind().named("good"), bad, soon.bind(bad).named("after")]


@plait.task
async def counting() -> int:
    """How much has happened."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        return len(ledger.read(os.environ["LEDGER"]))


def command(milliseconds: int, *values: Any, manner: str = "plain", **options: Any) -> Any:
    """A command that takes its time."""
    words = [sys.executable, "-I", "-S", ledger.PROGRAM, milliseconds, 8, 0, manner, *values]
    return plait.shell(words, **options)


def chain() -> plait.Graph:
    graph = plait.Graph("chain")
    a = graph.add("a", soon)
    b = graph.add("b", apart, args=(a,))
    c = graph.add("c", soon, args=(b,))
    graph.add("d", apart, args=(c,))
    return graph


def fan() -> plait.Graph:
    graph = plait.Graph("fan")
    root = graph.add("root", soon)
    middle = [graph.add(f"m{at}", apart if at % 2 else soon, args=(root,)) for at in range(4)]
    graph.add("join", soon, args=tuple(middle))
    return graph


def mapped() -> plait.Graph:
    graph = plait.Graph("mapped")
    items = graph.add("items", three)
    children = graph.add("children", soon.map(items))
    limited = graph.add("limited", apart.map(items, max_concurrency=1))
    nothing = graph.add("nothing", soon.map([]))
    graph.add("total", soon, args=(children, limited, nothing))
    return graph


def grown() -> plait.Graph:
    graph = plait.Graph("grown")
    a = graph.add("a", soon)
    tree = graph.add("tree", branches, args=(a,))
    graph.add("end", apart, args=(tree,))
    return graph


def commands() -> plait.Graph:
    graph = plait.Graph("commands")
    a = graph.add("a", command(10))
    b = graph.add("b", command(60, manner="family"))
    c = graph.add("c", command(10, a, manner="family"))
    graph.add("end", command(5, b, c))
    return graph


def retried() -> plait.Graph:
    graph = plait.Graph("retried")
    flaky = graph.add("flaky", broken, kwargs={"times": 2}, retry={"attempts": 4, "delay": 0.001})
    never = graph.add("never", broken, retry={"attempts": 2, "delay": 0}, allow_failure=True)
    graph.add("end", soon, args=(flaky, never))
    return graph


def conditional() -> plait.Graph:
    graph = plait.Graph("conditional")
    a = graph.add("a", soon)
    choice = graph.add("choice", no)
    left = graph.add("left", soon, args=(a,), when=choice)
    right = graph.add("right", apart, args=(a,), when=a)
    graph.add("after_left", soon, args=(left,))
    graph.add("end", soon, needs=[left, right], join="one_success")
    return graph


def group() -> plait.Graph:
    graph = plait.Graph("group")
    allowed = graph.add("allowed", sprouts, allow_failure=True)
    graph.add("goes_on", soon, args=(allowed,))
    bad = graph.add("bad", broken)
    graph.add("upstream", soon, args=(bad,))
    graph.add("beside", apart)
    return graph


def large() -> plait.Graph:
    graph = plait.Graph("large")
    a = graph.add("a", soon, kwargs={"size": 200_000})
    b = graph.add("b", apart, args=(a,), kwargs={"size": 100_000})
    graph.add("end", soon, args=(a, b))
    return graph


def once() -> plait.Graph:
    graph = plait.Graph("once")
    a = graph.add("a", soon)
    b = graph.add("b", soon, args=(a,), on_interrupt="fail")
    c = graph.add("c", command(10, a, on_interrupt="fail"))
    graph.add("d", apart, args=(b,))
    graph.add("e", apart, args=(c,), join="all_done")
    return graph


def ladder() -> plait.Graph:
    """Failures that are made good, one that is not, and what cleans up."""
    graph = plait.Graph("ladder")
    mended = graph.add("mended", broken, on_error=soon.bind())
    tree = graph.add("tree", sprouts, on_error=command(5))
    graph.add("lost", broken, on_error=broken.bind())
    graph.add("end", soon, args=(mended, tree))
    graph.add("clean", command(5), needs=["lost"], finally_=True)
    graph.add("tell", branches, needs=["clean"], finally_=True)
    return graph


def limited() -> plait.Graph:
    """Tasks that wait for what all runs of the store share."""
    graph = plait.Graph("limited", pools={"gpu": 2})
    a = graph.add("a", soon, pool="gpu")
    b = graph.add("b", apart, pool={"gpu": 2}, concurrency_key="one")
    c = graph.add("c", soon, concurrency_key="one", rate_limit=plait.Rate("api", "3/1s"))
    graph.add("end", soon, args=(a, b, c), pool="gpu", rate_limit=plait.Rate("api", "3/1s"))
    return graph


def held() -> plait.Graph:
    """Two commands that outlive their owner by far: what a recovery has to do with."""
    graph = plait.Graph("held")
    a = graph.add("a", command(5))
    b = graph.add("b", command(5, manner="family"))
    graph.add("end", soon, args=(a, b))
    return graph


@plait.task
async def consulted(*values: Any) -> list[Any]:
    """Asks between two pieces of work, and grows what the answer goes into: a question one of them."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        await asyncio.sleep(0)
        said = await plait.ask("How many?", key="how")
        await asyncio.sleep(0)
        return [soon.bind(said).named("first"), plait.ask_for("Is it good?").named("good")]


@plait.task
async def surveyed(item: int) -> Any:
    """A question of a map."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        return plait.ask_for("What of {}?", item)


@plait.task(on_interrupt="ask")
async def careful(*values: Any) -> str:
    """Never starts twice unless a person says so."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        said = await plait.ask("Really?")
        await asyncio.sleep(0)
    return ledger.made_of(me.key, 8, (*values, said))


def asking() -> plait.Graph:
    """Three questions at once, and more after them."""
    graph = plait.Graph("asking")
    a = graph.add("a", consulted)
    b = graph.add("b", surveyed.map([1, 2]))
    c = graph.add("c", careful)
    d = graph.add("d", apart, args=(c,), on_interrupt="ask")
    graph.add("end", soon, args=(a, b, d))
    return graph


@plait.task
async def drafted(*values: Any, feedback: str | None = None) -> str:
    """Work that somebody is to approve."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        await asyncio.sleep(0)
    return ledger.made_of(me.key, 8, (*values, feedback))


def approving() -> plait.Graph:
    """Two approvals and a question at once: the work of one is done again, twice, with what needs it; the other is good (A18)."""
    graph = plait.Graph("approving")
    facts = graph.add("facts", soon)
    page = soon.bind(drafted.bind(facts).named("draft")).named("page")
    again = graph.add("again", plait.approve(page, "Is {} good?"))
    good = graph.add("good", plait.approve(drafted.bind("south").named("other"), "And {}?"))
    graph.add("end", soon, args=(again, good, graph.add("asked", plait.ask_for("How many?"))))
    return graph


def rejecting() -> plait.Graph:
    """Work that is done again once, and rejected then: what needs it does not start (A18)."""
    graph = plait.Graph("rejecting")
    graph.add("end", soon, args=(graph.add("no", plait.approve(drafted.bind("x").named("draft"), "Is {} good?")),))
    return graph


def blocks() -> Any:
    """A workflow file with every kind of block, and blocks in blocks."""
    return plait.load(Path(__file__).with_name("flows") / "blocks.yaml")


def odd() -> plait.Graph:
    """No run of this one ends as another: for the test of the sweep itself."""
    graph = plait.Graph("odd")
    graph.add("end", counting)
    return graph


GRAPHS: dict[str, Callable[[], plait.Graph]] = {
    each.__name__: each
    for each in (chain, fan, mapped, grown, commands, retried, conditional, group, large, once, ladder, limited)
}


def script() -> Any:
    """A FlowScript file with every kind of block, and blocks in blocks."""
    return plait.load(Path(__file__).with_name("flows") / "script.flow.md")


MORE = {
    "held": held,
    "asking": asking,
    "approving": approving,
    "rejecting": rejecting,
    "odd": odd,
    "blocks": blocks,
    "script": script,
}
APPROVALS = ("again", "again/again", "again/again/again", "good", "no", "no/no")
SILENT = ("nothing", "never", "a/good", "b[0]/ask", "b[1]/ask", "asked", *APPROVALS)
"""Tasks of theirs whose code is not ours."""

ROUNDS = {"approving": {"again": 3, "good": 1, "asked": 1}, "rejecting": {"no": 2}}
"""So often people have to answer there, whoever dies: who has answered is not asked the same again."""

TENDED = ("asking", *ROUNDS)
"""Graphs that people are needed for: a process of its own answers what they ask, and pauses the run once."""
DEEP = ("chain", "commands", "mapped")
"""Graphs that are killed while they recover, too."""

AT_MOST_ONCE = {"once": ("b", "c")}
"""Tasks that say `on_interrupt: fail`."""


# -- children


def run_to(place: Place, name: str, die_at: int = 0) -> int:
    """Looks at what there is of the graph's run and goes on with it; at point number `die_at` the process kills itself."""
    look(place)
    numbers = itertools.count(1)
    passed: list[str] = []

    def reached(point: str) -> None:
        passed.append(point)
        if next(numbers) == die_at:
            ledger.say("DIES", os.getpid(), die_at, point.replace(" ", "-"))
            os.kill(os.getpid(), signal.SIGKILL)

    points.hook = reached
    status = asyncio.run(
        drive(place, lambda: ((GRAPHS | MORE)[name](), {"max_concurrency": 3, "durability": "normal"}))
    )
    points.hook = None
    (place.folder / "points.json").write_text(json.dumps(passed))
    return look(place, end=True) or status


OVER_AND_DONE = ("succeeded", "failed", "cancelled", "rejected")


def tend(place: Place, patient: bool) -> int:
    """Answers what is asked, and pauses the run once; until it is over, where that is not to be once only."""
    place.enter()
    given: set[tuple[str, float]] = set()
    while True:
        try:
            if os.path.exists(place.store):
                with plait.open_run(RUN, place.store) as run:
                    while run.look().status not in OVER_AND_DONE:
                        _tend(run, given)
                        if not patient:
                            return 0
                        time.sleep(0.002)
                    return 0
        except (RunNotFound, StoreError):
            pass  # it is not there yet
        if not patient:
            return 0
        time.sleep(0.002)


def _said(asked: plait.OpenQuestion) -> Any:
    """What people answer: the same in every run."""
    if asked.kind == "interrupt":
        return {"action": "rerun"}
    if asked.kind != "approval":
        return f"what was asked of {asked.key}"
    done_again = asked.task.count("/")  # each round is asked below the one before
    if done_again < {"again": 2, "no": 1}.get(asked.key, 0):
        return {"action": "revise", "feedback": f"number {done_again + 1}"}
    return {"action": "reject" if asked.key == "no" else "approve"}


def _tend(run: plait.OpenRun, given: set[tuple[str, float]]) -> None:
    """Answers each question that is open, and has a paused run go on."""
    for each in run.questions():
        by = f"{os.getpid()}-{len(given)}"
        value = _said(each)
        # An answer to this question: under its key the next round may be asked by now.
        if (each.key, each.asked_at) not in given and _says(
            "GAVE", each.key, by, partial(run.answer, each, value, by=by)
        ):
            given.add((each.key, each.asked_at))
            if all(line.what != "PAUSED" for line in ledger.read(os.environ["LEDGER"])):
                _says("PAUSED", "-", by, run.pause)
    if run.is_paused_there():
        _says("WENT", "-", "-", run.resume)


REFUSED = ("already", "closed", "over", "not paused", "nobody drives", "does not fit")
"""Words of what is said to those who come too late: the question of a task may be another one by then."""


def _says(what: str, key: str, by: str, act: Callable[[], bool | None]) -> bool:
    """Does something to a run, whoever drives it, and says so in the ledger. False if that cannot be any more."""
    try:
        became = "kept" if act() is False else "done"
    except UsageError as error:
        if not any(word in str(error) for word in REFUSED):
            raise
        ledger.say("REFUSED", what, key, by, str(error).replace(" ", "_"))
        return "already" in str(error)
    ledger.say(what, key, by, became)
    return True


def answered(place: Place) -> int:
    """Says in the ledger which answers are on record, and who gave them."""
    from plait.history import replayed
    from plait.stores.opening import open_store

    place.enter()
    store = open_store(place.store, create=False)
    questions = replayed(store, store.find(RUN)).scheduler.questions
    assert questions is not None
    rows = [each for inputs in questions.of.values() for each in inputs if each.what == "answered"]
    ledger.say_all([("ANSWERED", each.question.address, each.question.kind, each.by) for each in rows])
    return 0


# -- the parent


@dataclass
class Sweep:
    """What was tried with one graph, and what was wrong."""

    name: str
    points: int = 0
    """In a run in peace."""
    crashes: int = 0
    deep_crashes: int = 0
    took_s: float = 0.0
    names: Counter[str] = field(default_factory=Counter)
    """How often a process died at which point."""
    wrong: list[str] = field(default_factory=list)


SILENT_NODES = re.compile(r"(^|/)(count|n|inside|ok|end|pause|delay|break|continue)(\.\d+)?$|^each\[3\]$")
"""Of `script`: the nodes whose code is plait's own."""


def in_peace(place: Place, name: str) -> tuple[dict[str, Any], int]:
    """The result of a run that nobody disturbs, and how many points it passes."""
    with tended(place, name):
        status = place.child(run_to, name).end()
    assert not status, f"{name} in peace ended with {status}:\n{place.output.read_text()}"
    wanted: dict[str, Any] = json.loads(place.result.read_text())
    passed = json.loads((place.folder / "points.json").read_text())
    statuses = wanted["statuses"]
    silent = {
        key
        for key in statuses
        if any(each.startswith((f"{key}[", f"{key}/")) for each in statuses)
        or key in SILENT
        or (name == "script" and SILENT_NODES.search(key))
    }  # code of theirs has no end that is their success
    wrong = ledger.faults(ledger.read(place.ledger), silent)
    assert not wrong, wrong
    return {**wanted, "silent": silent}, len(passed)


def crash(place: Place, name: str, at: int, sweep: Sweep) -> int:
    """A process that dies at that point: its exit status."""
    with tended(place, name):
        child = place.child(run_to, name, at)
        status = child.end()
    place.ended(child)
    if name in TENDED and at % 2 and place.child(tend, False).end():
        sweep.wrong.append(f"{name}, {place.folder.name}: nobody could be told:\n{place.output.read_text()}")
    if status == -signal.SIGKILL:
        died = [line for line in ledger.read(place.ledger) if line.what == "DIES"]
        sweep.names[died[-1].words[2]] += 1
    if status not in (0, OVER, -signal.SIGKILL):
        sweep.wrong.append(f"{name}, {place.folder.name}: exit {status}:\n{place.output.read_text()}")
    return status


def finish(place: Place, name: str, wanted: Mapping[str, Any], sweep: Sweep) -> None:
    """Resumes the run to its end, which has to be the one in peace."""
    with tended(place, name):
        child = place.child(run_to, name)
        status = child.end()
    place.ended(child)
    found: list[Fault] = []
    if status not in (0, OVER):
        found.append(Fault("error", "", f"the last process ended with {status}:\n{place.output.read_text()}"))
    else:
        found += ends(place, wanted, wanted["silent"])
    if name in TENDED:
        found += wrongly_answered(place, ROUNDS.get(name))
    lines = ledger.read(place.ledger)
    if name in AT_MOST_ONCE:
        found = [each for each in found if each.kind not in ("status", "value")] + at_most_once(place, name, wanted)
    if found:
        story = "\n".join(f"  {each.kind}: {each.text}" for each in found)
        sweep.wrong.append(f"{name}, {place.folder.name}:\n{story}\n{ledger.shown(lines)}")
    else:
        shutil.rmtree(place.folder)


def at_most_once(place: Place, name: str, wanted: Mapping[str, Any]) -> list[Fault]:
    """W5: what says `on_interrupt: fail` starts at most once, whoever dies; where it was cut short it failed, and that is all that differs."""
    starts = Counter(line.words[0] for line in ledger.read(place.ledger) if line.what == "START")
    got = json.loads(place.result.read_text())
    found = []
    for task in AT_MOST_ONCE[name]:
        now = got["statuses"][task]
        if starts[task] > 1:
            found.append(Fault("run again", task, f"{task} started {starts[task]} times"))
        if now not in ("succeeded", "failed") or (now == "succeeded" and not starts[task]):
            found.append(Fault("status", task, f"{task} is {now} after {starts[task]} starts"))
    failed = {task for task in AT_MOST_ONCE[name] if got["statuses"][task] == "failed"}
    hoped = {
        **wanted["statuses"],
        **dict.fromkeys(failed, "failed"),
        **({"d": "upstream_failed"} if "b" in failed else {}),
    }
    if got["statuses"] != hoped:
        found.append(Fault("status", "", f"the statuses are {got['statuses']}, not {hoped}"))
    if got["status"] != ("failed" if failed else "succeeded"):
        found.append(Fault("status", "", f"the run is {got['status']}, and {failed or 'nothing'} failed"))
    return found


@contextlib.contextmanager
def tended(place: Place, name: str) -> Iterator[None]:
    """Somebody answers meanwhile, where anybody is asked."""
    with contextlib.ExitStack() as stack:
        if name in TENDED:
            stack.enter_context(place.child(tend, True))
        yield


def wrongly_answered(place: Place, rounds: Mapping[str, int] | None) -> list[Fault]:
    """An answer that was taken, or kept, counts; only people have started again what nobody else may; each round is answered once."""
    if place.child(answered).end():
        return [Fault("error", "", f"the answers cannot be read:\n{place.output.read_text()}")]
    lines = ledger.read(place.ledger)
    found = []
    recorded = Counter(line.words for line in lines if line.what == "ANSWERED")
    by = {words[2] for words in recorded}
    answers = Counter(line.words[0] for line in lines if line.what == "ANSWERED")
    if rounds is not None and answers != rounds:
        found.append(Fault("answers", "", f"people answered {dict(answers)}, and {rounds} was asked"))
    for line in lines:
        # `c` is not begun anew: an answer on its way when its process died goes with the code that asked.
        if line.what == "GAVE" and line.words[1] not in by and (line.words[0], line.words[2]) != ("c", "kept"):
            found.append(
                Fault("lost", line.words[0], f"the answer to {line.words[0]} was {line.words[2]}, and is lost")
            )
    for task in ("c", "d"):
        starts = sum(line.what == "START" and line.words[0] == task for line in lines)
        said = sum(number for (key, kind, _), number in recorded.items() if (key, kind) == (task, "interrupt"))
        if starts > 1 + said:
            found.append(Fault("run again", task, f"{task} started {starts} times, and people wanted {said} more"))
    return found


def sweep_through(folder: Path, name: str, every: int, deep_every: int) -> Sweep:
    """Kills at each point of the graph `name` (of `every` so many, at one), unless `deep_every` is 0 at each of its recoveries, too.

    Of `deep_every` so many crashes the recovery of one is killed, at one of `deep_every` so many points, others from time to time.
    """
    sweep = Sweep(name)
    began = time.monotonic()
    wanted, sweep.points = in_peace(Place(folder / f"{name}-in-peace"), name)
    for at in itertools.count(1, every):
        place = Place(folder / f"{name}-{at}")
        status = crash(place, name, at, sweep)
        finish(place, name, wanted, sweep)
        if status != -signal.SIGKILL:
            break
        sweep.crashes += 1
        rounds, left = divmod(sweep.crashes, deep_every) if deep_every else (0, 1)
        for again in itertools.count(1 + rounds % deep_every, deep_every) if not left else ():
            place = Place(folder / f"{name}-{at}-{again}")
            crash(place, name, at, sweep)
            status = crash(place, name, again, sweep)
            finish(place, name, wanted, sweep)
            if status != -signal.SIGKILL:
                break
            sweep.deep_crashes += 1
        if sweep.wrong:
            break
    sweep.took_s = time.monotonic() - began
    return sweep


def recover_through(folder: Path, every: int) -> Sweep:
    """Dies with commands at work, then at every point of the recovery, which has to end them first (F04, F06)."""
    sweep = Sweep("held")
    began = time.monotonic()
    place = Place(folder / "held-in-peace")
    wanted, sweep.points = in_peace(place, "held")
    spawned = json.loads((place.folder / "points.json").read_text()).index("after spawn") + 1
    for at in range(spawned + 4, spawned - 1, -every):
        for again in itertools.count(1):
            place = Place(folder / f"held-{at}-{again}")
            place.folder.mkdir()
            hold = Path(place.ledger + ".hold")
            hold.touch()
            crash(place, "held", at, sweep)
            hold.unlink()
            status = crash(place, "held", again, sweep)
            finish(place, "held", wanted, sweep)
            sweep.deep_crashes += status == -signal.SIGKILL
            if status != -signal.SIGKILL or sweep.wrong:
                break
        sweep.crashes += 1
    sweep.took_s = time.monotonic() - began
    return sweep


def lane(folder: Path, units: Sequence[tuple[str, int, int]]) -> int:
    """Sweep after sweep; what they found goes to a file."""
    done = []
    parent = os.getppid()
    for name, every, deep_every in units:
        if os.getppid() != parent:
            return 1  # nobody waits for this
        sweep = (
            recover_through(folder, deep_every) if name == "held" else sweep_through(folder, name, every, deep_every)
        )
        done.append(vars(sweep))
        if sweep.wrong:
            break
    (folder / "sweeps.json").write_text(json.dumps(done))
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = argparse.ArgumentParser(description="Kills runs at every commit, rename, spawn and step of a recovery.")
    parser.add_argument(
        "graphs", nargs="*", help=f"of held, blocks, {', '.join(TENDED)}, {', '.join(GRAPHS)}; all of them by default"
    )
    parser.add_argument(
        "--folder", type=Path, required=True, help="where everything happens; what failed is left there"
    )
    parser.add_argument("--every", type=int, default=1, help="only each so manieth point (%(default)s)")
    parser.add_argument(
        "--deep", nargs="*", default=DEEP, help="graphs to be killed in their recovery, too (%(default)s)"
    )
    parser.add_argument(
        "--deep-every", type=int, default=1, help="only each so manieth point of each so manieth recovery (%(default)s)"
    )
    parser.add_argument("--processes", type=int, default=2, help="graphs at once (%(default)s)")
    given = parser.parse_args(words)
    began = time.monotonic()
    units = [
        (name, given.every, given.deep_every if name in ("held", *given.deep) else 0)
        for name in given.graphs or ["held", "blocks", *TENDED, *GRAPHS]
    ]
    units.sort(key=lambda unit: -unit[2])
    lanes = []
    for number in range(given.processes):
        folder = given.folder.resolve() / f"lane{number}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        lanes.append((folder, Child(partial(lane, folder, units[number :: given.processes]), str(folder / "said"))))
    sweeps: list[Sweep] = []
    status = 0
    for folder, child in lanes:
        status |= child.end(86_400)
        print((folder / "said").read_text(), end="")
        if (folder / "sweeps.json").exists():
            sweeps += [Sweep(**each) for each in json.loads((folder / "sweeps.json").read_text())]
    for sweep in sweeps:
        print(
            f"{sweep.name}: {sweep.points} points in peace, {sweep.crashes} crashes, {sweep.deep_crashes} in a recovery, {sweep.took_s:.0f} s"
        )
        for text in sweep.wrong:
            print(text)
    names: Counter[str] = Counter()
    for sweep in sweeps:
        names.update(sweep.names)
    print(", ".join(f"{name} {number}" for name, number in sorted(names.items())))
    crashes, deep = sum(each.crashes for each in sweeps), sum(each.deep_crashes for each in sweeps)
    wrong = sum(len(each.wrong) for each in sweeps)
    print(
        f"{len(sweeps)} graphs, {crashes} crashes and {deep} in recoveries: {wrong} wrong; {time.monotonic() - began:.0f} s"
    )
    return 1 if wrong or status or len(sweeps) != len(units) else 0


if __name__ == "__main__":
    warm([make() for make in GRAPHS.values()])
    sys.exit(main())
