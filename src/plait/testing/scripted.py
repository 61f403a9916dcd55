"""An executor that runs nothing: attempts take as long, and end, as a script says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from plait._core.result import RunResult
from plait._engine.doors import DEFAULT, finish
from plait._engine.driver import Driver
from plait.executors.base import Attempt, Begun, Ended
from plait.runs import make_driver
from plait.testing.clock import VirtualClock


@dataclass(frozen=True, slots=True)
class Scripted:
    """One attempt: it takes `seconds`, then returns `value` or raises `error`. With `deaf` it ignores being stopped."""

    seconds: float = 0.0
    value: Any = None
    error: BaseException | None = None
    deaf: bool = False


Script: TypeAlias = Mapping[str, "Scripted | list[Scripted]"] | Callable[[str, int], Scripted]


class ScriptedExecutor:
    """Plays a script instead of calling anything: by key, one `Scripted` for every attempt or a list with one for each.

    `play` runs a graph under virtual time with it. `started` holds (key, attempt, time) in the order of starts, `peak` the
    most attempts that ran at once.
    """

    def __init__(self, script: Script | None = None) -> None:
        self._script = script or {}
        self.started: list[tuple[str, int, float]] = []
        self.running: set[str] = set()
        self.peak = 0
        self._endings: dict[Attempt, asyncio.TimerHandle] = {}
        self._sink: Any = None

    def __call__(self, sink: Any) -> ScriptedExecutor:
        self._sink = sink
        return self

    def play(
        self, target: Any, *, clock: VirtualClock | None = None, max_concurrency: int | None = DEFAULT, **options: Any
    ) -> RunResult:
        """Runs a node, Graph or loaded file with this script; its RunResult, whatever the outcome."""

        async def scripted() -> RunResult:
            driver = make_driver(
                target, None, max_concurrency, options, executors=dict.fromkeys(("async", "thread", "shell"), self)
            )
            return await finish(driver)

        return (clock or VirtualClock()).run(scripted())

    def scripted(self, key: str, attempt: int) -> Scripted:
        """What the script says of one attempt; a task that it does not name returns None at once."""
        if callable(self._script):
            return self._script(key, attempt)
        found = self._script.get(key, Scripted())
        if isinstance(found, list):
            found = found[min(attempt, len(found)) - 1]
        return found

    def start(self, attempt: Attempt) -> None:
        driver: Driver = self._sink
        key = driver.table.key(attempt.task)
        self.started.append((key, attempt.number, driver.clock()))
        self.running.add(key)
        self.peak = max(self.peak, len(self.running))
        scripted = attempt.handle = self.scripted(key, attempt.number)
        driver.report(attempt, Begun(driver.clock()))
        self._endings[attempt] = driver.loop.call_later(scripted.seconds, self._end, attempt, scripted, False)
        driver.loop.call_soon(driver.more)  # whoever stands in for `async` asks for the next one itself

    def stop(self, attempt: Attempt) -> None:
        ending = self._endings.get(attempt)
        if ending is not None and not attempt.handle.deaf:
            ending.cancel()
            self._sink.loop.call_soon(self._end, attempt, Scripted(), True)

    def force(self, attempt: Attempt) -> bool:
        return False

    def close(self) -> None:
        for ending in self._endings.values():
            ending.cancel()

    def _end(self, attempt: Attempt, scripted: Scripted, stopped: bool) -> None:
        if self._endings.pop(attempt, None) is None:
            return
        driver: Driver = self._sink
        self.running.discard(driver.table.key(attempt.task))
        stopped = stopped or attempt.stopped_at is not None
        driver.report(attempt, Ended(driver.clock(), scripted.value, scripted.error, stopped))
        driver.more()
