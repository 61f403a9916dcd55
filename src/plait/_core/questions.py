"""What tasks ask people: every question with what became of it, and which of them are open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plait._core.policy import Value

QUESTION, APPROVAL, INTERRUPT = "question", "approval", "interrupt"
"""What is asked: whatever a task wants to know; whether its work is good; what to do with a task whose process died."""

RERUN, SUCCEED, FAIL = "rerun", "succeed", "fail"
"""What a person may want of a task that was interrupted."""

OF_INTERRUPT: Mapping[str, Any] = {
    "type": "object",
    "properties": {"action": {"enum": [RERUN, SUCCEED, FAIL]}, "value": {}},
    "required": ["action"],
    "additionalProperties": False,
}
"""The form of that answer."""


APPROVE, REVISE, REJECT = "approve", "revise", "reject"
"""What a person may say of a task's work."""


def of_approval(*, revisable: bool) -> Mapping[str, Any]:
    """The form of that answer; `revisable`: may it be asked for again, with feedback?"""
    return {
        "type": "object",
        "properties": {
            "action": {"enum": [APPROVE, REVISE, REJECT] if revisable else [APPROVE, REJECT]},
            "feedback": {"type": "string"},
        },
        "required": ["action"],
        "additionalProperties": False,
    }


class Question(Value):
    """What a task asks. `form` is a JSON Schema, `default` empty or the one answer that counts where none comes within `timeout` seconds.

    `address` is what people know it by: the path of its task, and a name behind that where it has one. `who` may answer: nobody named,
    anybody. `kind` is QUESTION, APPROVAL or INTERRUPT.
    """

    __slots__ = ("address", "prompt", "form", "default", "timeout", "who", "kind")  # noqa: RUF023 - as they are given

    def __init__(
        self,
        address: str,
        prompt: str,
        form: Mapping[str, Any],
        default: tuple[Any, ...] = (),
        timeout: float | None = None,
        who: tuple[str, ...] = (),
        kind: str = QUESTION,
    ) -> None:
        self.address = address
        self.prompt = prompt
        self.form = form
        self.default = default
        self.timeout = timeout
        self.who = who
        self.kind = kind

    def is_the_same(self, other: Question) -> bool:
        """Would an answer to `other` be one to this, whoever asks it when? What is not asked in the same words is another question."""
        return (self.kind, self.address, self.prompt, self.form) == (
            other.kind,
            other.address,
            other.prompt,
            other.form,
        )


ANSWERED, BY_DEFAULT, WITHDRAWN, TIMED_OUT, DROPPED = "answered", "default", "withdrawn", "timed_out", "dropped"
"""What became of a question: a person answered it; its time was over, and its default counts; the code that asked goes on without;
its time was over; its task ended."""


class Input:
    """One question of one task, from when it was asked. `number` counts those of its task from 0; times are on the run's clock."""

    __slots__ = ("asked_at", "by", "due", "ended_at", "number", "question", "task", "value", "what")

    def __init__(self, task: int, number: int, question: Question, asked_at: float) -> None:
        self.task = task
        self.number = number
        self.question = question
        self.asked_at = asked_at
        self.due = None if question.timeout is None else asked_at + question.timeout
        self.what: str | None = None
        """What became of it; None while it is open."""
        self.value: Any = None
        self.by: str | None = None
        self.ended_at: float | None = None

    @property
    def is_answered(self) -> bool:
        """Is there an answer?"""
        return self.what in (ANSWERED, BY_DEFAULT)

    def end(self, what: str, now: float, value: Any = None, by: str | None = None) -> None:
        """Says what became of it. Only the first time counts."""
        if self.what is None:
            self.what, self.value, self.by, self.ended_at = what, value, by, now


class Questions:
    """Every question of a run, by task."""

    __slots__ = ("_by_address", "changes", "gone", "of", "open")

    def __init__(self) -> None:
        self.of: dict[int, list[Input]] = {}
        self.open: dict[int, Input] = {}
        """Of the tasks that wait; one each, in the order in which they were asked."""
        self.gone: set[int] = set()
        """Waiting tasks whose code ended with its process: it begins anew once they are answered."""
        self._by_address: dict[str, int] = {}
        self.changes = 0
        """How often something was asked, or is open no more."""

    def ask(self, task: int, question: Question, now: float) -> Input:
        """One more question, which is open."""
        asked = self.of.setdefault(task, [])
        made = Input(task, len(asked), question, now)
        asked.append(made)
        self.open[task] = made
        self.changes += 1
        self._by_address[question.address] = task
        return made

    def close(self, task: int, what: str, now: float, value: Any = None, by: str | None = None) -> Input | None:
        """What became of the open question of a task; None where it has none."""
        found = self.open.pop(task, None)
        if found is not None:
            self.changes += 1
            found.end(what, now, value, by)
            if self._by_address.get(found.question.address) == task:
                del self._by_address[found.question.address]
        return found

    def at(self, address: str) -> Input | None:
        """The open question that people know by `address`."""
        task = self._by_address.get(address)
        return None if task is None else self.open.get(task)

    def latest(self, address: str) -> Input | None:
        """The question asked last by that address, open or not."""
        found = (each for inputs in self.of.values() for each in inputs if each.question.address == address)
        return max(found, key=lambda each: (each.asked_at, each.number), default=None)

    def recorded(self, task: int, question: Question, used: set[int]) -> Input | None:
        """The first answer to that question of `task` that is not among those `used` already."""
        return next(
            (each for each in self._answers(task) if each.number not in used and each.question.is_the_same(question)),
            None,
        )

    def _answers(self, task: int) -> Iterator[Input]:
        return (each for each in self.of.get(task, ()) if each.is_answered)


def about_interruption(key: str, why: str) -> Question:
    """What is asked about a task that must not run twice unseen, and was cut short."""
    return Question(
        key,
        f"task {key!r} was cut short{why}, and nobody knows how far it came: run it again, take it as succeeded with a value, or let it fail?",
        OF_INTERRUPT,
        kind=INTERRUPT,
    )
