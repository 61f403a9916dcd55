"""A model that asks nobody: it answers as a test says, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from plait.errors import UsageError
from plait.executors.base import current_attempt
from plait.models import choosing
from plait.models.base import MAX_TOKENS, Message, Model, Reply, Stop, Tool, ToolCall, Usage
from plait.models.spending import record
from plait.runs import current


@dataclass(frozen=True, slots=True)
class FakeCall:
    """One question: its number from 1, the key of the task that asked (empty outside of any), and what `ask` was given.

    `model` is the name that was chosen, where plait chose (an `ai` node).
    """

    number: int
    task: str
    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    force: str | None
    system: str | None
    max_tokens: int
    temperature: float | None


TWENTY = Usage(10, 10)

Answer: TypeAlias = "str | Mapping[str, Any] | Reply"
Script: TypeAlias = "Answer | Sequence[Answer] | Callable[[FakeCall], Answer]"


class FakeModel:
    """A `plait.models.Model` that answers from a script: one answer, a list with one for each question, or a function of the question.

    Text is the answer; a mapping is a call of the tool that is forced, or else of the first, with these arguments; a `Reply` is given as it is.
    The last answer of a list is given again and again. Each answer takes `seconds` of the loop's time (none of the day's within a
    `VirtualClock`), and uses up `usage`, unless it is a Reply. `errors` says which questions fail, and of what: by their number from 1, or
    by the key of the task that asks.

    `calls` holds what was asked, in order, failed questions too; `current` are under way, `peak` were at most. Within
    `with FakeModel(...) as model:` it is asked by all that choose a model by name, `ai` nodes among them, and no key is needed.

    Raises:
        UsageError: for a list without an answer.
    """

    def __init__(
        self,
        script: Script = "ok",
        *,
        seconds: float = 0.0,
        errors: Mapping[int | str, BaseException] | None = None,
        usage: Usage = TWENTY,
    ) -> None:
        if not isinstance(script, (str, Mapping, Reply)) and not callable(script) and not script:
            raise UsageError("a FakeModel needs at least one answer")
        self._script = script
        self._seconds = seconds
        self._errors = dict(errors or {})
        self._usage = usage
        self._before: list[Any] = []
        self.calls: list[FakeCall] = []
        self.current = 0
        self.peak = 0

    async def ask(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        force: str | None = None,
        system: str | None = None,
        max_tokens: int = MAX_TOKENS,
        temperature: float | None = None,
    ) -> Reply:
        """The next answer of the script.

        Raises:
            BaseException: the one of `errors`.
        """
        return await self._asked("", tuple(messages), tuple(tools), force, system, max_tokens, temperature)

    def named(self, name: str) -> Model:
        """The same model under a name, which its calls have then."""
        return _Named(self, name)

    def __enter__(self) -> FakeModel:
        self._before.append(choosing.stand_in)
        choosing.stand_in = self.named
        return self

    def __exit__(self, *error: object) -> None:
        choosing.stand_in = self._before.pop()

    async def _asked(self, model: str, *asked: Any) -> Reply:
        task = "" if current_attempt() is None else current().key
        call = FakeCall(len(self.calls) + 1, task, model, *asked)
        self.calls.append(call)
        self.current += 1
        self.peak = max(self.peak, self.current)
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self.current -= 1
        failed = self._errors.get(call.number, self._errors.get(call.task) if call.task else None)
        if failed is not None:
            raise failed
        reply = self._reply(call)
        record(reply.usage)
        return reply

    def _reply(self, call: FakeCall) -> Reply:
        script: Any = self._script
        if callable(script):
            answer = script(call)
        elif isinstance(script, (str, Mapping, Reply)):
            answer = script
        else:
            answer = script[min(call.number, len(script)) - 1]
        if isinstance(answer, Reply):
            return answer
        if isinstance(answer, str):
            return Reply(answer, usage=self._usage)
        if call.force is None and not call.tools:
            raise UsageError(
                f"question {call.number} offers no tool: its answer is text or a Reply, not {answer!r:.60}"
            )
        name = call.force if call.force is not None else call.tools[0].name
        calls = (ToolCall(f"call_{call.number}", name, dict(answer)),)
        return Reply(calls=calls, usage=self._usage, stop=Stop.CALLS)


@dataclass(frozen=True, slots=True)
class _Named:
    of: FakeModel
    name: str

    async def ask(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        force: str | None = None,
        system: str | None = None,
        max_tokens: int = MAX_TOKENS,
        temperature: float | None = None,
    ) -> Reply:
        return await self.of._asked(self.name, tuple(messages), tuple(tools), force, system, max_tokens, temperature)
