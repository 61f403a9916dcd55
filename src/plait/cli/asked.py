"""What is asked, as lines for people, and how it is answered from a shell."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from shlex import quote
from typing import Any

from plait._core.questions import QUESTION
from plait.cli.session import person
from plait.forms import Form
from plait.observe.questions import OpenQuestion
from plait.observe.text import as_json, clean, clean_lines
from plait.stores.opening import command

MOST_LINES = 12
"""Lines of a question that are shown; of more, the first."""


def question_lines(question: OpenQuestion) -> Iterator[str]:
    """A question with all that whoever answers has to know; a long one has several lines."""
    first, *more = prompt_lines(question)
    known = f"({'; '.join(_known(question))})"
    if not more:
        yield f"? {clean(question.key)}: {first} {known}"
        return
    yield f"? {clean(question.key)}: {first}"
    yield from (f"    {line}" for line in more)
    yield f"    {known}"


def _known(question: OpenQuestion) -> Iterator[str]:
    yield clean(question.fits)
    if question.has_default:
        yield f"default: {clean(short(question.default))}"
    if question.until is not None:
        yield f"until {when(question.until)}"
    if question.who:
        yield f"for {clean(', '.join(question.who))}"


def how_to_answer(question: OpenQuestion, store: str | None) -> str:
    """The command that answers, but for the answer."""
    value = "VALUE"
    fields = [name for name, _ in Form.from_schema(question.form).fields] if question.kind == QUESTION else []
    if len(fields) > 1 and all(name.isidentifier() for name in fields):
        value = " ".join(f"{name}=VALUE" for name in fields)
    name = " --as NAME" if question.who and person() not in question.who else ""
    return command(f"answer {question.run} {quote(clean(question.key))} {value}{name}", store)


def prompt_lines(question: OpenQuestion) -> list[str]:
    """What is asked, line by line."""
    lines = clean_lines(question.prompt.strip())
    return lines if len(lines) <= MOST_LINES else [*lines[:MOST_LINES], f"... and {len(lines) - MOST_LINES} more lines"]


def short(value: Any) -> str:
    """An answer in a few words."""
    text = value if isinstance(value, str) else as_json(value)
    return text if len(text) <= 60 else text[:57] + "..."


def said(question: OpenQuestion, answer: Any) -> str:
    """An answer in a few words, as it may be typed where that is shorter."""
    if question.kind != QUESTION and isinstance(answer, dict):
        rest = answer.get("feedback") if "feedback" in answer else answer.get("value")
        return short(answer["action"] if rest is None else f"{answer['action']} {short(rest)}")
    return short(answer)


def when(at: float) -> str:
    """A moment, as the clock on the wall says it."""
    try:
        return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return "?"
