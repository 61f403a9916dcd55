"""One run of the command line: signals, display, exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from plait._core.outcome import Outcome
from plait._core.questions import APPROVAL, APPROVE, INTERRUPT
from plait._core.result import RunResult
from plait._core.scheduler import describe
from plait._core.states import WAITING, RunStatus
from plait._core.table import NONE, Table
from plait._engine.doors import DEFAULT, blocking
from plait._engine.driver import Driver
from plait._engine.keeping import KeptDriver
from plait._engine.reading import hooks_of, show
from plait.cli import output
from plait.cli.output import OutputGone, out, say
from plait.errors import StoreError, UsageError
from plait.executors.base import Output, Progress
from plait.logs import log
from plait.observe.annotations import annotating, in_workspace
from plait.observe.annotations import command as annotation
from plait.observe.lines import Lines
from plait.observe.printed import How, OutputView
from plait.observe.stream import RunEvent, Stream, summary
from plait.observe.text import as_json, clean, clean_lines, failure_lines, summary_line
from plait.runs import make_driver
from plait.stores.opening import command

if TYPE_CHECKING:
    from plait._engine.work import Work
    from plait.cli.prompting import Prompter
    from plait.observe.live import LiveView
    from plait.observe.questions import OpenQuestion

LOOK_S = 0.2
"""On a terminal the last line of what running tasks wrote is looked at so often."""

MOST_QUESTIONS = 20
"""Open questions that are told when a run is left; the others are counted."""

MOST_FAILURES = 20
"""Failures that the summary repeats; the others are counted."""


class Display(Enum):
    """For whom the run is shown."""

    PEOPLE = auto()
    JSON = auto()
    JSONL = auto()


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options say."""

    jobs: int | None = None
    on_failure: str | None = None
    display: Display = Display.PEOPLE
    level: int = 0
    store: str | None = None
    run_id: str | None = None
    on_question: str | None = None
    approved: tuple[str, ...] = ()
    output: How | None = None
    log: Callable[[RunResult], None] | None = None
    """Is told what became of the run once it is over."""


class Printed(Protocol):
    """Takes what commands print, instead of the display."""

    def output(self, driver: Driver, task: int, report: Output) -> None: ...
    def moved(self, driver: Driver, move: Any) -> None: ...
    def label(self, key: str) -> str: ...


def run_target(
    target: Any,
    inputs: dict[str, Any],
    settings: Settings,
    printed: Printed | None = None,
    origin: dict[str, Any] | None = None,
) -> int:
    """Runs a target, shows it, and gives the exit code."""
    options: dict[str, Any] = {"on_failure": settings.on_failure} if settings.on_failure else {}
    jobs = DEFAULT if settings.jobs is None else settings.jobs

    def make() -> Driver:
        return make_driver(target, inputs, jobs, options, store=settings.store, run_id=settings.run_id, origin=origin)

    return run_made(make, settings, printed, is_file=hasattr(target, "file"))


def run_made(
    make: Callable[[], Driver | RunResult], settings: Settings, printed: Printed | None = None, *, is_file: bool = True
) -> int:
    """Shows what `make` gives (a run to be started, or one that is over), and gives the exit code."""
    with _Warnings():
        return blocking(lambda: _Session(settings, printed, is_file).run(make))


class _Warnings(logging.Handler):
    """What the library warns of is said, a line each."""

    def __enter__(self) -> None:
        log.addHandler(self)

    def __exit__(self, *error: object) -> None:
        log.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            say(f"plait: {clean(record.getMessage())}")


def _every(loop: asyncio.AbstractEventLoop, seconds: float, call: Callable[[], None]) -> Callable[[], None]:
    """Calls `call` again and again; what ends that."""
    timer: list[asyncio.TimerHandle] = []

    def again() -> None:
        call()
        timer[:] = [loop.call_later(seconds, again)]

    timer.append(loop.call_later(seconds, again))
    return lambda: timer[0].cancel()


class _Session:
    def __init__(self, settings: Settings, printed: Printed | None, is_file: bool) -> None:
        self._settings = settings
        self._is_file = is_file
        self._printed = printed
        self._signal: int | None = None
        self._summary: Mapping[str, Any] = {}  # of `run_finished`
        self._gone: OSError | OutputGone | None = None  # why standard output takes no more
        self._prompts = settings.display is Display.PEOPLE and settings.level >= 0 and printed is None and can_prompt()
        self._prompter: Prompter | None = None
        self._view: LiveView | None = None
        label = str if printed is None else printed.label
        how = settings.output
        if how is None and settings.level > 0 and printed is None and settings.display is Display.PEOPLE:
            how = How.PREFIXED
        blocks = _blocks() if annotating() else ()
        self._shown = OutputView(how, self._say_lines, label, *blocks) if how is not None else None
        self._stayed_for: set[tuple[str, float]] = set()  # questions for which this process stays
        self._asks_in_vain = False  # is nobody there to be asked, and nothing kept?

    async def run(self, make: Callable[[], Driver | RunResult]) -> int:
        driver = make()
        if isinstance(driver, RunResult):
            say(f"run {driver.run_id} is over: nothing is left to do")
            self._show(driver)
            return self._code(driver)
        driver.reap = True  # this process does nothing else
        driver.asks_people = self._prompts
        self._driver = driver
        with ExitStack() as stack:
            if self._settings.display is not Display.PEOPLE:
                stack.enter_context(_own_output())
            if driver.redactor is not None:
                from plait.cli.hiding import hiding  # few runs have secrets

                stack.enter_context(hiding(driver.redactor))  # before a live view, which has its own place in front
            self._subscribe(driver, stack)
            self._see_to_waiting(driver)
            stack.enter_context(_Signals(driver.loop, self._on_signal))
            if self._prompts:
                self._prompter = stack.enter_context(self._prompting(driver))
            driver.start()
            if self._prompter is not None:
                self._prompter.look()
            try:
                result = await asyncio.shield(driver.done)
            except StoreError as error:
                say(f"plait: run {driver.id} ends here: {clean(' '.join(str(error).split()))}")
                say(
                    f"plait: what was reported is stored; go on with: {command(f'resume {driver.id}', self._settings.store)}"
                )
                return 128 + self._signal if self._signal is not None else 1
        self._show(result)
        if annotating():
            self._annotate(result)
        if self._settings.log is not None and result.status not in (RunStatus.WAITING, RunStatus.PAUSED):
            try:
                if not result.interrupted:
                    self._settings.log(result)
            except (OSError, UnicodeError) as error:
                say(f"plait: what became of the run could not be appended to its file: {error}")
        return self._code(result)

    def _show(self, result: RunResult) -> None:
        if self._settings.display is Display.JSON:
            facts = document(result, self._summary or self._told_of(result))
            if result.status in (RunStatus.WAITING, RunStatus.PAUSED):
                facts["open_questions"] = [each.as_dict() for each in self._driver.desk.questions()]
            self._write(as_json(facts, indent=2))
        elif self._settings.display is Display.PEOPLE:
            self._tell(result, self._is_file)
        if result.interrupted and result.status in (RunStatus.WAITING, RunStatus.PAUSED) and self._signal is None:
            self._tell_standing(result, self._driver)
        elif result.interrupted:
            say(
                f"run {result.run_id} is interrupted; go on with: {command(f'resume {result.run_id}', self._settings.store)}"
            )

    def _told_of(self, result: RunResult) -> Mapping[str, Any]:
        """What the store tells of a run that was over before."""
        if self._settings.store is None:
            return summary(result)
        from plait.history import told  # which few runs need
        from plait.stores.opening import open_store

        store = open_store(self._settings.store, None, create=False)
        try:
            telling = told(store, store.find(result.run_id))
            telling.tell()
            return telling.stream.summary()
        finally:
            store.close()

    def _subscribe(self, driver: Driver, stack: ExitStack) -> None:
        display, level = self._settings.display, self._settings.level
        if display is not Display.PEOPLE:
            stream = driver.open_stream()
            stream.subscribe(self._jsonl if display is Display.JSONL else self._sum_up)
            if not stream.told:
                stream.begin()
        if self._shown is not None:
            self._show_output(driver, self._shown, stack)
        if display is Display.JSONL:
            return
        if self._printed is not None:
            driver.read(self._on_moved)
            driver.listen(self._on_printed)
        if display is Display.JSON:
            return
        stream = Stream(driver)
        if _is_terminal() and level >= 0 and self._printed is None:
            from rich.console import Console

            from plait.observe.live import SHOWN, LiveView

            view = stack.enter_context(LiveView(Console(stderr=True), driver.name, lambda: driver.table.size))
            self._view = view
            if isinstance(driver, KeptDriver) and not driver.begins:
                view.done_before(driver.table.counts())
            driver.listen(
                lambda driver, task, report: (
                    view.progress(driver.table.key(task), report.share) if isinstance(report, Progress) else None
                )
            )
            stream.subscribe(view)
            stack.callback(_every(driver.loop, LOOK_S, lambda: view.said(driver.latest(SHOWN))))
        else:
            label = str if self._printed is None else self._printed.label
            stream.subscribe(Lines(say, level if self._printed is None else level - 1, label))

    # -- people

    def _see_to_waiting(self, driver: Driver) -> None:
        """Asks whoever is at the terminal; else leaves the run when only answers are missing. A paused one is left in any case."""
        if self._settings.on_question is not None:
            show(driver, hooks_of(self._settings.on_question))
        if self._settings.approved:
            driver.read(self._approve)
        driver.says_waiting = False
        if not isinstance(driver, KeptDriver):
            driver.read(self._on_waiting)
            return
        driver.leaves_when_paused = True
        driver.leaves_when_waiting = not self._prompts
        if self._prompts:
            driver.on_commit.append(lambda: self._prompter.look() if self._prompter is not None else None)
        driver.on_commit.append(lambda: self._tell_staying(driver))

    def _approve(self, driver: Driver, move: Any) -> None:
        """What `--approve` names is approved as soon as it is asked."""
        if move is None or move.new != WAITING or move.task == NONE:
            return

        def approve() -> None:
            for each in driver.desk.questions() if not driver.done.done() else ():
                last = each.key.rpartition("/")[2]  # a checkpoint in a block is known by its id, too
                names = {each.key, each.task, last}
                if names & set(self._settings.approved) and each.kind != INTERRUPT:
                    try:
                        driver.desk.answer(each.key, approving(each), person())
                    except UsageError as error:
                        say(f"plait: --approve {clean(each.key)}: {clean(str(error))}")

        driver.loop.call_soon(approve)

    def _prompting(self, driver: Driver) -> Prompter:
        from plait.cli.prompting import Prompter  # few runs ask

        prompter = Prompter(driver, self._view, say, person())

        def nobody() -> None:
            self._prompts = False
            if isinstance(driver, KeptDriver):
                driver.leaves_when_waiting = True
                driver.follow()
            elif driver.scheduler.only_waits:
                self._give_up()

        prompter.on_end = nobody
        return prompter

    def _on_waiting(self, driver: Driver, move: Any) -> None:
        """Of a run that nobody keeps."""
        if self._prompter is not None and move is not None and WAITING in (move.new, move.old):
            driver.loop.call_soon(self._prompter.look)
        if move is not None and move.task == NONE and not self._prompts:
            driver.loop.call_soon(self._give_up)

    def _give_up(self) -> None:
        """Nobody can answer, and nothing is kept: the run cannot go on."""
        if not self._driver.done.done() and self._driver.scheduler.only_waits:
            self._asks_in_vain = True
            from plait.cli.asked import question_lines

            for each in self._driver.desk.questions()[:MOST_QUESTIONS]:
                for line in question_lines(each):
                    say(line)
            say(
                "plait: only answers are missing, and nobody keeps the run (--store none): run it with a store, or on a terminal"
            )
            self._driver.cancel()

    def _tell_staying(self, driver: KeptDriver) -> None:
        """Only answers are missing, nobody is there to be asked, and this process cannot leave: says so once for each question."""
        if not driver.leaves_when_waiting or not driver.scheduler.only_waits or not driver.must_stay():
            return
        new = [each for each in driver.desk.questions() if (each.key, each.asked_at) not in self._stayed_for]
        if new:
            self._stayed_for.update((each.key, each.asked_at) for each in new)
            self._tell_questions(new)
            say(
                f"run {driver.id} waits for {_answers(len(new))}, and this process stays: what asks must not begin anew (on_interrupt)"
            )

    def _tell_questions(self, asked: list[OpenQuestion]) -> None:
        from plait.cli.asked import how_to_answer, question_lines

        for each in asked[:MOST_QUESTIONS]:
            for line in question_lines(each):
                say(line)
            say(f"    answer with: {how_to_answer(each, self._settings.store)}")
        if len(asked) > MOST_QUESTIONS:
            say(f"and {len(asked) - MOST_QUESTIONS} more: {command(f'show {self._driver.id}', self._settings.store)}")

    def _tell_standing(self, result: RunResult, driver: Driver) -> None:
        """The run is left where it stands: what is asked, and how it goes on."""
        store = self._settings.store
        asked = driver.desk.questions()
        self._tell_questions(asked)
        if result.status is RunStatus.PAUSED:
            say(f"run {result.run_id} is paused; go on with: {command(f'resume {result.run_id}', store)}")
        else:
            say(
                f"run {result.run_id} waits for {_answers(len(asked))}; then go on with: {command(f'resume {result.run_id}', store)}"
            )

    def _jsonl(self, event: RunEvent | None) -> None:
        if event is not None:
            self._write(as_json(event.as_dict()))

    def _sum_up(self, event: RunEvent | None) -> None:
        if event is not None and event.event == "run_finished":
            self._summary = event.detail

    def _on_printed(self, driver: Driver, task: int, report: Output | Progress) -> None:
        if isinstance(report, Output) and self._printed is not None:
            if report.stream == "stderr" and self._shown is not None:
                return  # it is shown as the option says
            try:
                self._printed.output(driver, task, report)
            except OSError as error:
                self._lost(error)

    def _on_moved(self, driver: Driver, move: Any) -> None:
        assert self._printed is not None
        try:
            self._printed.moved(driver, move)
        except OSError as error:
            self._lost(error)

    def _show_output(self, driver: Driver, shown: OutputView, stack: ExitStack) -> None:
        driver.shows_output = True

        def output(driver: Driver, task: int, report: Output | Progress) -> None:
            if isinstance(report, Output):
                shown.output(driver.table, task, report.stream, report.data, report.left_out_bytes)

        driver.listen(output)
        driver.read(lambda driver, move: shown.moved(driver.table, move) if move is not None else None)
        stack.callback(lambda: shown.close(driver.table))

    def _say_lines(self, lines: list[str]) -> None:
        """Lines on standard error; above the live display, where there is one."""
        if self._view is not None:
            self._view.tell("\n".join(lines))
        else:
            say("\n".join(lines))

    def _write(self, text: str) -> None:
        if self._gone is None:
            try:
                out(text)
            except (OSError, OutputGone) as error:
                self._lost(error)

    def _lost(self, why: OSError | OutputGone) -> None:
        """Standard output takes no more: the run ends, as that of any command in a pipe."""
        if self._gone is None:
            self._gone = why
            self._driver.loop.call_soon(self._driver.interrupt)

    def _on_signal(self, number: int) -> None:
        if self._signal is None:
            self._signal = number
            say(f"plait: {signal.Signals(number).name}: stopping; once more kills now")
            self._driver.interrupt()
        else:
            if self._prompter is not None:
                self._prompter.restore()
            self._driver.kill()
            os._exit(128 + self._signal)

    def _code(self, result: RunResult) -> int:
        if self._gone is not None:
            if isinstance(self._gone, (OutputGone, BrokenPipeError)):
                return 141
            say(f"plait: standard output cannot be written: {self._gone.strerror}")
            return 1
        if self._signal is not None:
            return 128 + self._signal
        if self._asks_in_vain or (result.interrupted and result.status in (RunStatus.WAITING, RunStatus.PAUSED)):
            return 3
        if result.halt_reason == "deadline":
            return 124
        return 0 if result.status is RunStatus.SUCCEEDED else 1

    def _tell(self, result: RunResult, is_file: bool) -> None:
        """The end, for people: failures, first cause first, then one line; the outputs of a file on standard output."""
        first = result.first_cause
        for told, failure in enumerate(result.failures()):
            if told == MOST_FAILURES:
                say("and more failures: --json lists them all")
                break
            is_first = first is not None and failure.key == first.key
            for line in failure_lines(
                failure,
                first=is_first,
                allowed=result.allowed(failure.key),
                key=failure.key if self._printed is None else self._printed.label(failure.key),
            ):
                say(line)
        if first is not None and self._settings.store is not None and self._printed is None:
            store = self._settings.store
            look = command(f"logs {result.run_id} {clean(first.key)}", store)
            say(f"    look closer: {look}; again: {command(f'retry {result.run_id}', store)}")
        stands = result.interrupted and result.status in (RunStatus.WAITING, RunStatus.PAUSED)
        if (self._settings.level >= 0 or result.status is not RunStatus.SUCCEEDED) and not stands:
            reason = f" - {result.reason}" if result.status is RunStatus.FAILED and first is None else ""
            say(summary_line(result) + reason)
        if is_file and isinstance(result.value, dict) and not result.interrupted:
            for name, value in result.value.items():
                shown = value if isinstance(value, str) else as_json(value)
                # A terminal obeys what it is told: there, nothing that came from a task may tell it anything.
                shown = "\n".join(clean_lines(shown)) if sys.stdout.isatty() else shown
                self._write(f"{name}: {shown}")

    def _annotate(self, result: RunResult) -> None:
        """Each failure as a runner of workflows wants to be told of it, at its task's place in the file."""
        for failure in islice(result.failures(), MOST_FAILURES):
            allowed = result.allowed(failure.key)
            key = failure.key if self._printed is None else self._printed.label(failure.key)
            properties: dict[str, object] = {}
            where = _place(result.table, result.table.find(failure.key))
            if where is not None:
                properties = {"file": in_workspace(where[0]), "line": where[1], "col": where[2]}
            properties["title"] = f"{clean(key)} {failure.status}"
            told = "\n".join(failure_lines(failure, first=False, allowed=allowed, key=key))
            output.command(annotation("warning" if allowed else "error", properties, told))


def _place(table: Table, row: int) -> tuple[str, int, int] | None:
    """Where a task stands in a file, or the nearest one that it came of."""
    while row >= 0:
        batch, place = table.batch_of(row)
        work: Work = batch.calls  # type: ignore[assignment]
        where = work.stands(place) if hasattr(work, "stands") else None
        if where is not None:
            return where
        row = table.parent(row)
    return None


def _blocks() -> tuple[Callable[[str], None], Callable[[], None]]:
    """What begins and ends a block that a runner of workflows folds."""
    return lambda name: output.command(annotation("group", {}, name)), lambda: output.command("::endgroup::")


@contextmanager
def _own_output() -> Iterator[None]:
    """Standard output is for our JSON alone: what functions of the run print goes to standard error."""
    sys.stdout.flush()
    ours = sys.stdout
    try:
        sys.stdout = os.fdopen(os.dup(1), "w", errors="backslashreplace")
        before = os.dup(1)
        os.dup2(2, 1)
    except OSError:
        sys.stdout = ours
        yield
        return
    output.stream, theirs = sys.stdout, sys.stdout
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)
        sys.stdout, output.stream = ours, None
        try:
            theirs.close()
        except OSError:
            pass  # what it still held has no reader


class _Signals:
    """SIGINT, SIGTERM and SIGHUP go to a function while this is entered."""

    def __init__(self, loop: asyncio.AbstractEventLoop, told: Any) -> None:
        self._loop = loop
        self._told = told
        self._numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

    def __enter__(self) -> None:
        for number in list(self._numbers):
            if signal.getsignal(number) is signal.SIG_IGN:
                self._numbers.remove(number)  # nohup: it stays ignored
            else:
                self._loop.add_signal_handler(number, self._told, number)

    def __exit__(self, *error: object) -> None:
        for number in self._numbers:
            self._loop.remove_signal_handler(number)


def approving(question: OpenQuestion) -> Any:
    """The answer that approves: of an approval, of a yes or no, or of a form with one field that is that.

    Raises:
        UsageError: for a question of another kind.
    """
    if question.kind == APPROVAL:
        return {"action": APPROVE}
    boolean, properties = {"type": "boolean"}, question.form.get("properties", {})
    if question.form == boolean:
        return True
    if APPROVE in question.form.get("enum", ()):
        return APPROVE
    if APPROVE in properties.get("action", {}).get("enum", ()):
        return {"action": APPROVE, **({"input": ""} if "input" in properties else {})}
    if len(properties) == 1 and list(properties.values()) == [boolean]:
        return dict.fromkeys(properties, True)
    raise UsageError(f"this is no yes or no ({question.fits}): answer it")


def _answers(number: int) -> str:
    return "an answer" if number == 1 else f"{number} answers"


def person() -> str | None:
    """The name of whoever is at work here, as far as the system knows."""
    from getpass import getuser

    try:
        return getuser()
    except (OSError, KeyError):
        return None


def can_prompt() -> bool:
    """Is a person at the terminal, who sees what is asked and can type?"""
    try:
        # In the background it would be stopped for reading.
        there = sys.stdin.isatty() and sys.stderr.isatty()
        return there and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False


def _is_terminal() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def document(result: RunResult, told: Mapping[str, Any]) -> dict[str, Any]:
    """The run as one JSON document; `told` is what `run_finished` says of it."""
    return {
        "run": result.run_id,
        "name": result.name,
        **told,
        "first_cause": None if result.first_cause is None else result.first_cause.key,
        "outputs": result.value,
        "tasks": {each.key: _task(each) for each in result.values()},
    }


def _task(outcome: Outcome) -> dict[str, Any]:
    shown: dict[str, Any] = {"status": str(outcome.status), "attempts": outcome.attempts}
    if outcome.started_at is not None:
        shown |= {"started_at": round(outcome.started_at, 6), "queued_s": round(outcome.queued_s or 0.0, 6)}
    if outcome.run_s is not None:
        shown["run_s"] = round(outcome.run_s, 6)
    if outcome.error is not None:
        shown["error"] = describe(outcome.error)
    if not outcome.enforced:
        shown["enforced"] = False
    shown["value"] = outcome.value
    return shown
