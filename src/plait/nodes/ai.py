"""`ai`: what a model answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from plait.calls.shell import strict_json
from plait.errors import TaskError, UsageError
from plait.models.base import MAX_TOKENS, Message, Reply, Stop
from plait.models.choosing import PROVIDERS, choose
from plait.models.structured import structured
from plait.nodes.base import At, Field, FieldKind, Node, duration

MOST_TOKENS = 10_000_000
MOST_RETRIES = 100


def _said(value: Any) -> str:
    if not str(value).strip():
        raise ValueError("it names no model")
    return str(value).strip()


def _provider(value: Any) -> str:
    if value not in PROVIDERS:
        raise ValueError(f"it is one of {', '.join(PROVIDERS)}, not {value!r:.60}")
    return str(value)


def _whole(value: Any, least: int, most: int) -> int:
    number = _number(value, least, most)
    if number != int(number):
        raise ValueError(f"it is a whole number, not {value!r:.60}")
    return int(number)


def _number(value: Any, least: float, most: float) -> float:
    try:
        number = None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = None
    if number is None or not least <= number <= most:
        raise ValueError(f"it is a number from {least:,} to {most:,}, not {value!r:.60}")
    return number


def _schema_or_name(value: Any) -> Any:
    """A schema; one word stays as it is, for only the file knows what schemas it has.

    Raises:
        ValueError: for what is neither.
    """
    if isinstance(value, str) and re.fullmatch(r"\s*[\w-]+\s*", value):
        return value.strip()
    return _schemas().from_data(value)


def _schemas() -> Any:
    return import_module("plait.nodes.schemas")  # few nodes have one


class Ai(Node):
    """`<user>`, asked of `<model>`; with `<output-schema>` an answer that fits it.

    No tool is ever offered but the one that takes that answer, and what comes back is data.
    """

    fields = {
        "model": Field(required=True, read=_said),
        "system": Field(),
        "user": Field(required=True, aliases=("prompt",)),
        "output-schema": Field(FieldKind.VALUE, read=_schema_or_name),
        "max-tokens": Field(default=MAX_TOKENS, read=lambda value: _whole(value, 1, MOST_TOKENS)),
        "temperature": Field(read=lambda value: _number(value, 0, 2)),
        "max-retries": Field(default=3, read=lambda value: _whole(value, 0, MOST_RETRIES)),
        "timeout": Field(default=60.0, read=duration),
        "provider": Field(read=_provider),
    }
    retries = 3

    async def run(self, given: Mapping[str, Any], at: At) -> Any:
        """The answer: with a schema the value, else an object or a list where it is JSON, else text.

        Raises:
            HttpError: for what keeps an answer from coming.
            TaskError: for an answer that does not fit, is refused, or is cut off.
            UsageError: without the key of a provider among the declared secrets, for a schema that is none.
        """
        schema = None if given["output-schema"] is None else _schema(given["output-schema"], at)
        model = choose(given["model"], at.secrets, given["provider"])
        messages = [Message("user", given["user"])]
        options = {
            "system": given["system"],
            "max_tokens": given["max-tokens"],
            "temperature": given["temperature"],
        }
        if schema is None:
            return _value(await model.ask(messages, **options), given["max-tokens"])
        return await structured(
            model, messages, schema.json_schema(), schema.check, max_retries=given["max-retries"], **options
        )


def _value(reply: Reply, max_tokens: int) -> Any:
    """What an answer without a schema is taken for.

    Raises:
        TaskError: for one that is none.
    """
    wrong = ""
    if reply.stop == Stop.LENGTH:
        wrong = f"the answer was cut off at {max_tokens} tokens: raise max-tokens, or ask for less"
    elif reply.stop == Stop.REFUSED:
        wrong = f"the model refused to answer: {reply.text[:500]}".rstrip(": ")
    if wrong:
        error = TaskError(wrong)
        error.retryable = False
        raise error
    text = reply.text.strip()
    fenced = re.fullmatch(r"```(?:json)?[ \t]*\r?\n(.*?)\r?\n?[ \t]*```", text, re.DOTALL | re.IGNORECASE)
    inner = fenced[1].strip() if fenced is not None else text
    if inner[:1] not in ("{", "["):
        return reply.text
    try:
        return strict_json(inner)
    except (ValueError, RecursionError):
        return reply.text


def _schema(found: Any, at: At) -> Any:
    """The schema that a field says, or names.

    Raises:
        UsageError: where it is none.
    """
    try:
        return _schemas().from_data(at.schemas.get(found, found) if isinstance(found, str) else found)
    except ValueError as error:
        known = f" (schemas of the file: {', '.join(at.schemas)})" if at.schemas else ""
        raise UsageError(f"the output-schema of {at.node!r}: {error}{known}") from None
