"""Questions for people: what is shown of them, and whoever is to be told when one opens."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plait._core.questions import APPROVAL, INTERRUPT, REVISE, Input
from plait._core.table import Table
from plait.errors import UsageError
from plait.forms import Form
from plait.logs import log
from plait.observe.readers import Reader

if TYPE_CHECKING:
    from plait.observe.stream import RunEvent

LONGEST_S = 60.0
"""What a command gets that is told of a question."""


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """A question that waits for its answer: `run.answer(question.key, value)`, or `plait answer RUN KEY VALUE`.

    `key` is what it is known by, `task` the path of the task that asked. `form` is a JSON Schema of the answer, `fits` the same in
    words; `default` is what counts at `until` (Unix seconds, None: there is no end) where `has_default`, else the task times out then.
    `asked_at` is in Unix seconds. `who` may answer: nobody named, anybody. `kind` is `question`, `approval` (of a task's
    work) or `interrupt` (what is to become of a task that was cut short and must not run twice: `on_interrupt: ask`). `number` counts the
    questions of its task from 0: an answer that is given with the question itself, in place of the key, counts for this one alone.
    """

    run: str
    key: str
    task: str
    prompt: str
    form: Mapping[str, Any]
    fits: str
    has_default: bool
    default: Any
    asked_at: float
    until: float | None
    who: tuple[str, ...]
    kind: str
    number: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The question as it stands in a JSON line."""
        found = {name: getattr(self, name) for name in ("key", "kind", "prompt", "form", "fits")}
        if self.has_default:
            found["default"] = self.default
        if self.until is not None:
            found["until"] = round(self.until, 6)
        if self.who:
            found["who"] = list(self.who)
        return found


def shown(run: str, table: Table, found: Input, unix: Callable[[float], float]) -> OpenQuestion:
    """A question for people."""
    question = found.question
    return OpenQuestion(
        run=run,
        key=question.address,
        task=table.key(found.task),
        prompt=question.prompt,
        form=question.form,
        fits=fits(question.kind, question.form),
        has_default=bool(question.default),
        default=question.default[0] if question.default else None,
        asked_at=unix(found.asked_at),
        until=None if found.due is None else unix(found.due),
        who=question.who,
        kind=question.kind,
        number=found.number,
    )


def fits(kind: str, form: Mapping[str, Any]) -> str:
    """What an answer may be, in words."""
    if kind == INTERRUPT:
        return "rerun, succeed [VALUE], or fail"
    if kind == APPROVAL:
        revise = REVISE in form["properties"]["action"]["enum"]
        return f"approve, {'revise FEEDBACK, ' if revise else ''}or reject [REASON]"
    return Form.from_schema(form).shown


def of_event(event: RunEvent) -> OpenQuestion:
    """The question that opened with a `task_waiting`."""
    detail = dict(event.detail["question"])
    form = json.loads(json.dumps(detail["form"]))  # the event's own is frozen
    return OpenQuestion(
        run=event.run,
        key=detail["key"],
        task=event.task or "",
        prompt=detail["prompt"],
        form=form,
        fits=fits(detail["kind"], form),
        has_default="default" in detail,
        default=json.loads(json.dumps(detail.get("default"))),
        asked_at=event.at,
        until=detail.get("until"),
        who=tuple(detail.get("who", ())),
        kind=detail["kind"],
        number=detail.get("number", 0),
    )


class QuestionHook(Reader):
    """Calls a function with every question that opens, an `OpenQuestion`; or runs a command, which gets it as a JSON line.

    In a thread of its own, as any reader: the run never waits for it, and what it raises is logged.
    """

    ignores = frozenset((
        "run_started", "task_ready", "task_started", "task_retrying", "task_answered", "task_succeeded", "task_failed", "task_timed_out",
        "task_cancelled", "task_skipped", "task_upstream_failed", "task_not_started", "run_waiting", "run_finished",
    ))  # fmt: skip

    def __init__(self, hook: Callable[[OpenQuestion], object] | str | Sequence[str]) -> None:
        self._call = hook if callable(hook) else Told(hook)

    def __call__(self, event: RunEvent | None) -> None:
        if event is not None and "question" in event.detail:
            self._call(of_event(event))


class Told:
    """A command that is told of questions: each as a JSON line on its standard input, with PLAIT_RUN, PLAIT_TASK and PLAIT_QUESTION.

    It gets 60 s. Text is a script for `/bin/sh -c`.
    """

    def __init__(self, command: str | Sequence[str]) -> None:
        self._words = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)

    def __call__(self, question: OpenQuestion) -> None:
        import subprocess  # for those who are told so

        line = json.dumps({"run": question.run, "task": question.task, **question.as_dict()}) + "\n"
        environment = {
            **os.environ,
            "PLAIT_RUN": question.run,
            "PLAIT_TASK": question.task,
            "PLAIT_QUESTION": question.key,
        }
        try:
            done = subprocess.run(
                self._words,
                input=line.encode(),
                env=environment,
                stdout=subprocess.DEVNULL,
                timeout=LONGEST_S,
                check=False,
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            log.warning("nobody was told of question %r of run %s: %s", question.key, question.run, error)
            return
        if done.returncode:
            log.warning(
                "the command that is told of questions ended with status %d for %r of run %s",
                done.returncode,
                question.key,
                question.run,
            )


def hook_of(given: Any) -> list[QuestionHook]:
    """The `on_question` of a run, as readers.

    Raises:
        UsageError: for what is neither a function nor a command.
    """
    if given is None:
        return []
    import inspect  # few runs have one

    words = isinstance(given, (list, tuple)) and bool(given) and all(isinstance(each, str) for each in given)
    script = isinstance(given, str) and bool(given.strip())
    if not words and not script and (not callable(given) or inspect.iscoroutinefunction(given)):
        raise UsageError(
            f"on_question must be a plain function, or a command as text or a list of words, not {given!r:.80}"
        )
    return [QuestionHook(given)]


__all__ = ["OpenQuestion", "QuestionHook", "Told", "fits", "hook_of", "of_event", "shown"]
