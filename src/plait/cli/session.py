"""One run of the command line: signals, display, exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol

from plait._core.outcome import Outcome, RunResult
from plait._core.scheduler import describe
from plait._core.states import RunStatus
from plait._engine.doors import blocking
from plait._engine.driver import Driver
from plait.concurrency import DEFAULT
from plait.executors.base import Output, Progress
from plait.observe.lines import Lines
from plait.observe.stream import RunEvent, Stream, summary
from plait.observe.text import clean, failure_lines, summary_line
from plait.runs import make_driver

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


class Printed(Protocol):
    """Takes what commands print, instead of the display."""

    def output(self, driver: Driver, task: int, report: Output) -> None: ...
    def moved(self, driver: Driver, move: Any) -> None: ...


def run_target(target: Any, inputs: dict[str, Any], settings: Settings, printed: Printed | None = None) -> int:
    """Runs a target, shows it, and gives the exit code."""
    return blocking(lambda: _Session(settings, printed).run(target, inputs))


class _Session:
    def __init__(self, settings: Settings, printed: Printed | None) -> None:
        self._settings = settings
        self._printed = printed
        self._signal: int | None = None
        self._pipe_broken = False

    async def run(self, target: Any, inputs: dict[str, Any]) -> int:
        options: dict[str, Any] = {"on_failure": self._settings.on_failure} if self._settings.on_failure else {}
        jobs = DEFAULT if self._settings.jobs is None else self._settings.jobs
        driver = self._driver = make_driver(target, inputs, jobs, options)
        stream = Stream(driver)
        with ExitStack() as stack:
            self._subscribe(stream, driver, stack)
            stack.enter_context(_Signals(driver.loop, self._on_signal))
            driver.start()
            result = await asyncio.shield(driver.done)
        if self._settings.display is Display.JSON:
            self._write(json.dumps(document(result), indent=2, default=str))
        elif self._settings.display is Display.PEOPLE:
            self._tell(result, bool(hasattr(target, "file")))
        return self._code(result)

    def _subscribe(self, stream: Stream, driver: Driver, stack: ExitStack) -> None:
        display, level = self._settings.display, self._settings.level
        if display is Display.JSONL:
            stream.subscribe(self._jsonl, started=True)
            return
        if self._printed is not None:
            driver.read(self._printed.moved)
            driver.listen(self._on_printed)
        if display is Display.JSON:
            return
        if _is_terminal() and level >= 0 and self._printed is None:
            from rich.console import Console

            from plait.observe.live import LiveView

            view = stack.enter_context(LiveView(Console(stderr=True), driver.name, lambda: driver.table.size))
            driver.listen(
                lambda driver, task, report: (
                    view.progress(driver.table.key(task), report.share) if isinstance(report, Progress) else None
                )
            )
            stream.subscribe(view)
        else:
            stream.subscribe(Lines(self._say, level if self._printed is None else level - 1))
        if level > 0 and self._printed is None:
            driver.listen(self._verbose)

    def _jsonl(self, event: RunEvent | None) -> None:
        if event is not None:
            self._write(json.dumps(event.as_dict(), default=str))

    def _on_printed(self, driver: Driver, task: int, report: Output | Progress) -> None:
        if isinstance(report, Output) and self._printed is not None:
            try:
                self._printed.output(driver, task, report)
            except BrokenPipeError:
                self._broken()

    def _verbose(self, driver: Driver, task: int, report: Output | Progress) -> None:
        if isinstance(report, Output):
            key = clean(driver.table.key(task))
            for line in report.data.decode(errors="replace").rstrip("\n").split("\n"):
                self._say(f"{key} | {clean(line)}")

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            self._broken()

    def _say(self, text: str) -> None:
        try:
            print(text, file=sys.stderr)
        except BrokenPipeError:
            self._broken()

    def _broken(self) -> None:
        """Whoever read us is gone: the run ends, as that of any command in a pipe."""
        if not self._pipe_broken:
            self._pipe_broken = True
            self._driver.loop.call_soon(self._driver.cancel)

    def _on_signal(self, number: int) -> None:
        if self._signal is None:
            self._signal = number
            self._say(f"plait: {signal.Signals(number).name}: stopping; once more kills now")
            self._driver.cancel()
        else:
            self._driver.kill()
            os._exit(128 + self._signal)

    def _code(self, result: RunResult) -> int:
        if self._pipe_broken:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        if self._signal is not None:
            return 128 + self._signal
        if result.halt_reason == "deadline":
            return 124
        return 0 if result.status is RunStatus.SUCCEEDED else 1

    def _tell(self, result: RunResult, is_file: bool) -> None:
        """The end, for people: failures, first cause first, then one line; the outputs of a file on standard output."""
        first = result.first_cause
        for told, failure in enumerate(result.failures()):
            if told == MOST_FAILURES:
                self._say("and more failures: --json lists them all")
                break
            is_first = first is not None and failure.key == first.key
            for line in failure_lines(failure, first=is_first, allowed=result.allowed(failure.key)):
                self._say(line)
        if self._settings.level >= 0 or result.status is not RunStatus.SUCCEEDED:
            reason = f" - {result.reason}" if result.status is RunStatus.FAILED and first is None else ""
            self._say(summary_line(result) + reason)
        if is_file:
            for name, value in (result.value or {}).items():
                self._write(
                    f"{name}: {value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)}"
                )


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


def _is_terminal() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def document(result: RunResult) -> dict[str, Any]:
    """The run as one JSON document."""
    return {
        "run": result.run_id,
        "name": result.name,
        **summary(result, sum(each.run_s or 0 for each in result.values()), result.slots or 0),
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
