"""FlowScript for tests: files that a test writes and runs, and nodes that do as the test says.

`ran(body)` runs a file, on virtual time. `Play(body)` runs one whose `work` nodes end when the test says so, and tells who is at
work. `told(body)` is what is wrong with a file. All files are written to the working directory.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from types import TracebackType
from typing import Any

import pytest

import plait
from plait.errors import FlowError
from plait.flow import load
from plait.flow.problems import Problem
from plait.flow.script.flows import ScriptFlow
from plait.nodes import At, Field, FieldKind, Node, node
from plait.testing import VirtualClock


class Busy(ConnectionError):
    """A failure after which another try may help."""


class Broken(Exception):
    """One after which none does."""


@dataclass
class Stage:
    """What the nodes of a test are to do, and what they did."""

    script: dict[str, list[Any]] = field(default_factory=dict)
    """Of each node what it gives, or raises, one after the other; then its `value`."""
    began: list[str] = field(default_factory=list)
    given: dict[str, list[Any]] = field(default_factory=dict)
    """Of each node the values that it had, one for each try."""
    cancelled: list[str] = field(default_factory=list)
    held: dict[str, asyncio.Future[Any]] = field(default_factory=dict)
    most: int = 0
    """The most that were at work at once."""

    def begin(self, name: str, value: Any) -> None:
        self.began.append(name)
        self.given.setdefault(name, []).append(value)

    def next(self, name: str, value: Any) -> Any:
        said = self.script.get(name)
        found = said.pop(0) if said else value
        if isinstance(found, BaseException):
            raise found
        return found


STAGE = Stage()
"""That of the test that runs: `tests/flow/script/conftest.py` makes a new one for each."""

FIELDS = {"value": Field(FieldKind.VALUE), "as": Field()}


def _named(given: Mapping[str, Any], at: At) -> tuple[str, Any]:
    name = f"{at.node}:{given['as']}" if given["as"] else at.node
    return name, at.input if given["value"] is None and at.has_input else given["value"]


@node("transform:step")
class Step(Node):
    """Ends at once, as the stage has it; with `after`, so many seconds later."""

    fields = {**FIELDS, "after": Field(FieldKind.JSON, default=0), "timeout": Field(read=float)}

    async def run(self, given: Mapping[str, Any], at: At) -> Any:
        name, value = _named(given, at)
        STAGE.begin(name, value)
        STAGE.held[name] = asyncio.get_running_loop().create_future()
        STAGE.most = max(STAGE.most, len(STAGE.held))
        try:
            if given["after"]:
                await asyncio.sleep(given["after"])
            return STAGE.next(name, value)
        except asyncio.CancelledError:
            STAGE.cancelled.append(name)
            raise
        finally:
            STAGE.held.pop(name, None)


@node("transform:work")
class Work(Node):
    """Is at work until the test says that it is over."""

    fields = FIELDS

    async def run(self, given: Mapping[str, Any], at: At) -> Any:
        name, value = _named(given, at)
        STAGE.begin(name, value)
        assert name not in STAGE.held, f"{name} is at work already: tell them apart with `as`"
        STAGE.held[name] = asyncio.get_running_loop().create_future()
        STAGE.most = max(STAGE.most, len(STAGE.held))
        try:
            found = await STAGE.held[name]
        except asyncio.CancelledError:
            STAGE.cancelled.append(name)
            raise
        finally:
            STAGE.held.pop(name, None)
        return value if found is None else found


# -- files


def text_of(body: str, **front: Any) -> str:
    """A file with that body: line 1 begins its front matter, of one line for each key."""
    said = {"name": "test", "version": "1.0.0", **{name: each for name, each in front.items() if each != {}}}
    lines = [f"{name}: {json.dumps(value)}" for name, value in said.items()]
    return "\n".join(["---", *lines, "---", "<workflow>", dedent(body).strip("\n"), "</workflow>", ""])


def file_of(body: str, name: str = "test.flow.md", **front: Any) -> Path:
    """It, written."""
    path = Path(name)
    path.write_text(text_of(body, **front))
    return path


# -- runs


@dataclass
class Ran:
    """How a run ended."""

    result: plait.RunResult
    seconds: float
    """Of virtual time."""

    @property
    def value(self) -> Any:
        """Of the workflow."""
        assert self.result.status == "succeeded", (self.result.status, self.errors)
        return self.result.value

    @property
    def status(self) -> str:
        return str(self.result.status)

    @property
    def errors(self) -> dict[str, str]:
        """What failed by itself, by the key of the node that did."""
        return {key: str(each.error) for key, each in self.result.items() if each.error is not None}

    def __getitem__(self, key: str) -> Any:
        """The output of a node, by its path."""
        return self.result[key].value

    def state(self, key: str) -> str:
        """Where a node ended, by its path."""
        return str(self.result[key].status)


def _flow(path: Path, config: Mapping[str, Any]) -> ScriptFlow:
    flow = load(path)
    assert isinstance(flow, ScriptFlow)
    return flow.configured(config)


def ran(
    body: str,
    *,
    config: Mapping[str, Any] = {},
    input: Mapping[str, Any] = {},
    name: str = "test.flow.md",
    real: bool = False,
    options: Mapping[str, Any] = {},
    declared: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] = {},
    **front: Any,
) -> Ran:
    """A file that is written and run with that configuration, which it declares as `declared` says, else by its values. `fields`: of
    its input. `real`: on the time of the clock, for those who talk to others.
    """
    config_of_it = config if declared is None else declared
    flow = _flow(file_of(body, name, config=config_of_it, input=dict(fields), **front), config)
    with nullcontext(None) if real else VirtualClock() as clock:
        result = plait.run(flow, inputs=dict(input), raise_on_failure=False, **{"store": ":memory:", **options})
    return Ran(result, 0.0 if clock is None else clock.now)


def gives(expression: str, body: str = "", **given: Any) -> Any:
    """What an expression comes to behind a body."""
    return ran(f'{body}<set id="it-gives" var="it_gives" value="{{{{{expression}}}}}"/>', **given)["it-gives"]


def left_and_resumed(body: str, choose: Callable[[str], str], **front: Any) -> Ran:
    """A file whose run is left whenever it waits for people alone; then what they say (`choose`, by the checkpoint) is stored, and the run
    gone on with, by what is on record of it.
    """
    flow, store = _flow(file_of(body, **front), {}), f"runs-{len(list(Path().glob('runs-*.db')))}.db"

    def once(begin: Callable[[], plait.Run]) -> plait.RunResult:
        async def all_of_it() -> plait.RunResult:
            run = begin()
            run._driver.leaves_when_waiting = True  # type: ignore[attr-defined]
            return await run

        with asyncio.Runner(loop_factory=clock.new_loop) as runner:
            return runner.run(all_of_it())

    clock = VirtualClock()
    result = once(lambda: plait.start(flow, store=store))
    run_id = result.run_id
    while result.status == "waiting":
        stored = plait.open_run(run_id, store)
        for each in stored.questions():
            stored.answer(each, choose(each.key))
        result = once(lambda: plait.resume(run_id, store=store))
    return Ran(result, clock.now)


class Play:
    """A run whose nodes of type `work` end when the test says so. What stands in no one's way has been done when a method returns."""

    def __init__(
        self,
        body: str,
        *,
        config: Mapping[str, Any] = {},
        input: Mapping[str, Any] = {},
        asks: bool = False,
        **front: Any,
    ) -> None:
        """`asks`: somebody is there who may answer, as on a terminal."""
        flow = _flow(file_of(body, config=config, **front), config)
        self.clock = VirtualClock()
        self._runner = asyncio.Runner(loop_factory=self.clock.new_loop)
        self._runner.get_loop()

        async def start() -> plait.Run:
            run = plait.start(flow, inputs=dict(input), store=":memory:")
            run._driver.asks_people = asks
            return run

        self.run = self._runner.run(start())
        self.wait()

    def __enter__(self) -> Play:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self.run.done:
            self.run.cancel()
            self.wait()
        self._runner.close()

    def wait(self, seconds: float = 0.001) -> None:
        """Virtual time passes only when nobody has anything to do."""
        self._runner.run(asyncio.sleep(seconds))

    @property
    def running(self) -> set[str]:
        """Who is at work."""
        return set(STAGE.held)

    def end(self, name: str, value: Any = None) -> None:
        """It is over, and gave this; null: its `value`."""
        STAGE.held[name].set_result(value)
        self.wait()

    def fail(self, *names: str, error: BaseException | None = None) -> None:
        """They fail, all at the same moment; of an error that says no more than who did."""
        for name in names:
            STAGE.held[name].set_exception(error or Broken(f"{name} broke"))
        self.wait()

    def answer(self, key: str, action: str, text: str = "") -> None:
        """A person has chosen."""

        async def say() -> None:
            self.run.answer(key, {"action": action, "input": text} if text else action)

        self._runner.run(say())
        self.wait()

    @property
    def asked(self) -> dict[str, str]:
        """What people are asked, by the checkpoint."""

        async def look() -> dict[str, str]:
            return {each.key: each.prompt for each in self.run.questions()}

        return self._runner.run(look())

    def over(self) -> Ran:
        """How it ended: it must have, but for threads, which take their own time."""

        async def end() -> None:
            await self.run

        if not self.run.done and not self.running and not self.asked:
            self._runner.run(end())
        assert self.run.done, f"still at work: {self.running}"
        return Ran(self.run.wait(), self.clock.now)


# -- problems


def found(text: str, name: str = "test.flow.md") -> list[Problem]:
    """The problems of a file with that text, which has some."""
    Path(name).write_text(text)
    with pytest.raises(FlowError) as caught:
        load(name)
    return list(caught.value.problems)


def told(body: str, **front: Any) -> list[tuple[str, str, str]]:
    """What is wrong with a file: of each problem its code, the rest of the line where it stands, and what is said, with the hint."""
    text = text_of(body, **front)
    lines = text.split("\n")
    return [
        (
            each.code,
            lines[each.line - 1][each.column - 1 :],
            f"{each.message} ({each.hint})" if each.hint else each.message,
        )
        for each in found(text)
    ]


def wrong(body: str, **front: Any) -> tuple[str, str, str]:
    """The same, of a file with one problem."""
    problems = told(body, **front)
    assert len(problems) == 1, problems
    return problems[0]
