"""Asking people, from the code of a task (`ask`) or as a task of its own (`ask_for`)."""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Mapping, Sequence
from typing import Any

from plait._core.policy import PLAIN, seconds
from plait._core.questions import QUESTION, Question
from plait._engine.desk import waited, waited_in_thread
from plait._engine.doors import running_loop
from plait._engine.driver import Driver
from plait.errors import UsageError
from plait.executors.base import Attempt, current_attempt
from plait.forms import Form
from plait.tasks import Definition, Node, TaskFunction

__all__ = ["NOTHING", "Answer", "ask", "ask_for"]

NOTHING: Any = type("NOTHING", (), {"__repr__": lambda self: "nothing"})()
"""Stands for a default that was not given, for None may be one."""

LONGEST_PROMPT = 20_000


class Answer(Awaitable[Any]):
    """The answer to come: `await` it in a coroutine, or `wait()` for it in a task that runs in a thread. Nothing is asked before that."""

    def __init__(self, attempt: Attempt, question: Question) -> None:
        self._attempt = attempt
        self._question = question

    def __await__(self) -> Generator[Any, None, Any]:
        driver = driver_of(self._attempt)
        if running_loop() is not driver.loop:
            raise UsageError("await plait.ask(...) on the loop of the run; in a thread: plait.ask(...).wait()")
        return waited(driver, self._attempt, self._question).__await__()

    def wait(self) -> Any:
        """The answer, in a task that runs in a thread: that stands still meanwhile, its slot is free.

        Raises:
            UsageError: on the loop, which would stand still.
            TaskCancelled: where the task is to stop.
        """
        driver = driver_of(self._attempt)
        if running_loop() is driver.loop:
            raise UsageError("plait.ask(...).wait() would block the loop of the run: await it there")
        return waited_in_thread(driver, self._attempt, self._question)


def driver_of(attempt: Attempt) -> Driver:
    """Who drives the run of an attempt."""
    sink = attempt.sink
    assert isinstance(sink, Driver)
    return sink


def ask(
    prompt: str,
    form: Any = None,
    *,
    default: Any = NOTHING,
    timeout: float | str | None = None,
    key: str | None = None,
    who: str | Sequence[str] = (),
) -> Answer:
    """A person's answer, inside a task: `ok = await plait.ask("Publish?", form={"ok": bool})`.

    The task has no slot while it waits, its own `timeout` stands still, and everything else goes on. `form` says what fits: a type (`str`,
    `int`, `float`, `bool`, or its name), a list of choices, a mapping from fields to these, or `{"schema": {...}}` with a JSON
    Schema; None: text. `timeout` is the time for an answer, from when it is asked, and it goes on while no process drives the run: then `default`
    is the answer; without one the task is `timed_out`. `who` may answer: nobody named, anybody.

    People know the question by the path of its task (with `key` by that, `/` and the key): `run.answer(...)`, `plait answer`, a terminal.
    Exactly one answer counts. Where the code runs again (another attempt, another process after a restart) an answer
    that is on record is given at once for a question in the same words; what stands before it in the code runs again then.

    Raises:
        UsageError: outside of any task, in a worker process, for a form or default that cannot be.
        TaskCancelled: where the task is to stop.
    """
    attempt = current_attempt()
    if attempt is None:
        raise UsageError(
            "plait.ask(...) is for code inside a task, on the loop or in a thread (a worker process has no way to ask)"
        )
    address = driver_of(attempt).key(attempt.task)
    return Answer(attempt, question_of(address, prompt, form, default, timeout, key, who))


def question_of(
    address: str,
    prompt: Any,
    form: Any,
    default: Any,
    timeout: Any,
    key: Any,
    who: Any,
    kind: str = QUESTION,
) -> Question:
    """A question, checked.

    Raises:
        UsageError, LimitError: for what cannot be one.
    """
    if not isinstance(prompt, str) or not prompt.strip() or len(prompt) > LONGEST_PROMPT:
        raise UsageError(f"a question must be text, of at most {LONGEST_PROMPT:,} characters, not {prompt!r:.60}")
    if key is not None:
        if not isinstance(key, str) or not key.strip() or not key.isprintable() or len(key) > 200:
            raise UsageError(f"the key of a question must be printable text, not {key!r:.60}")
        address = f"{address}/{key}"
    made = Form.of(form)
    if default is not NOTHING:
        made.check(default, f"the default of {address!r}")
    names = names_of(who)
    time = None if timeout is None else seconds("timeout", timeout)
    return Question(address, prompt, made.schema, () if default is NOTHING else (default,), time, names, kind)


def names_of(who: Any) -> tuple[str, ...]:
    """Who may answer."""
    names = (who,) if isinstance(who, str) else who
    if not isinstance(names, (list, tuple)) or not all(isinstance(each, str) and each.strip() for each in names):
        raise UsageError(f"who must be a name, or a list of names, not {who!r:.60}")
    return tuple(names)


def ask_for(
    prompt: str,
    *values: Any,
    form: Any = None,
    default: Any = NOTHING,
    timeout: float | str | None = None,
    who: str | Sequence[str] = (),
    **options: Any,
) -> Node[Any]:
    """A task that asks: its value is the answer. With `values` (nodes are needs) `prompt` is a template of `str.format`: `"Publish {} pages?"`.

    Everything else as with `ask`; `options` are those of every task. It holds a slot for a moment, before and after.

    Raises:
        UsageError, LimitError: for a form, a default or options that cannot be.
    """
    question = question_of("question", prompt, form, default, timeout, None, who)
    refuse_options_of_code("plait.ask_for", options)
    if values:
        try:
            prompt.format(*[_Anything()] * len(values))
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise UsageError(f"the prompt {prompt!r:.60} does not fit {len(values)} values: {error!r}") from None
    settings = settings_of({"schema": dict(question.form)}, question.default, question.timeout, question.who)
    return _ASK.options(**options).bind(prompt, settings, *values)


class _Anything:
    """Stands for a value that is not known yet, whatever a prompt shows of it."""

    def __format__(self, how: str) -> str:
        return ""

    def __getattr__(self, name: str) -> _Anything:
        return self

    def __getitem__(self, name: object) -> _Anything:
        return self


OF_NO_QUESTION = ("retries", "retry", "idle_timeout", "on_interrupt", "memory_limit", "executor")
"""Options of code that runs: a question has none."""


def refuse_options_of_code(door: str, options: Mapping[str, Any]) -> None:
    """Nothing, unless a question is given an option of code that runs.

    Raises:
        UsageError: then.
    """
    for name in OF_NO_QUESTION:
        if name in options:
            raise UsageError(f"{door}: {name} is for code that runs, and a question has none")


def settings_of(form: Any, default: Sequence[Any], timeout: float | None, who: Sequence[str]) -> dict[str, Any]:
    """What a task that asks is given beside its prompt: plain data, which a store keeps."""
    return {"form": form, "default": list(default), "timeout": timeout, "who": list(who)}


async def asked(prompt: str, settings: dict[str, Any], *values: Any) -> Any:
    """The body of a task that asks."""
    default = settings["default"]
    return await ask(
        prompt.format(*values) if values else prompt,
        settings["form"],
        default=default[0] if default else NOTHING,
        timeout=settings["timeout"],
        who=settings["who"],
    )


_ASK = TaskFunction(asked, Definition("ask", asked, "async", PLAIN))
