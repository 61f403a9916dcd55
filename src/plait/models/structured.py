"""Answers that fit a schema: the model is made to call one tool, and asked again with the reasons where it does not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plait.errors import TaskError
from plait.models.base import MAX_TOKENS, Message, Model, Reply, Stop, Tool

OUTPUT = "output"
"""The tool that is forced, and the only one that is offered."""

WRAPPED = "value"
"""The parameter that holds an answer that is no object: parameters are always one."""

MOST_REASONS, LONGEST_REASON = 20, 500
"""Of what is wrong with one answer, so much is told."""


async def structured(
    model: Model,
    messages: Sequence[Message],
    schema: Mapping[str, Any],
    check: Callable[[Any], Sequence[str]],
    *,
    system: str | None = None,
    max_tokens: int = MAX_TOKENS,
    temperature: float | None = None,
    max_retries: int = 3,
) -> Any:
    """The value that a model answers with, which fits `schema` (a JSON Schema): `check` gives the reasons why one does not.

    It is asked once, and after a bad answer again in the same conversation, with the reasons, up to `max_retries` times. Bad is
    also what is no call of the tool, two calls, no JSON, refused, or cut off.

    Raises:
        TaskError: for a last answer that is bad, with its reasons; not to be tried again.
        HttpError: what `model.ask` raises.
    """
    tool = Tool(OUTPUT, "Gives the answer. Call it exactly once, with the whole answer.", _parameters(schema))
    wrapped = not _is_object(schema)
    conversation = list(messages)
    reasons: list[str] = []
    for _ in range(max_retries + 1):
        reply = await model.ask(
            conversation, tools=(tool,), force=OUTPUT, system=system, max_tokens=max_tokens, temperature=temperature
        )
        value, reasons = _judged(reply, check, wrapped, max_tokens)
        if not reasons:
            return value
        conversation += _asking_again(reply, reasons)
    tries = "1 try" if not max_retries else f"{max_retries + 1} tries"
    error = TaskError(f"no answer that fits in {tries}; the last one: {'; '.join(reasons)}")
    error.retryable = False
    raise error


def _parameters(schema: Mapping[str, Any]) -> dict[str, Any]:
    if _is_object(schema):
        return dict(schema)
    inner = dict(schema)
    names = [name for name in ("$defs", "definitions") if name in inner]  # what `#/$defs/...` leads to stays there
    shared: dict[str, Any] = {name: inner.pop(name) for name in names}
    return {
        "type": "object",
        "properties": {WRAPPED: inner},
        "required": [WRAPPED],
        "additionalProperties": False,
        **shared,
    }


def _is_object(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object"


def _judged(
    reply: Reply, check: Callable[[Any], Sequence[str]], wrapped: bool, max_tokens: int
) -> tuple[Any, list[str]]:
    """The value, and what is wrong with it."""
    if reply.stop == Stop.LENGTH:
        return None, [f"the answer was cut off at its limit ({max_tokens} tokens): give a shorter one"]
    if reply.stop == Stop.REFUSED:
        return None, [f"it was refused: {reply.text[:LONGEST_REASON]}".rstrip(": ")]
    if not reply.calls:
        return None, [f"the tool {OUTPUT!r} was not called: text outside of it does not count"]
    if len(reply.calls) > 1:
        return None, [f"{len(reply.calls)} calls were made: make exactly one, of {OUTPUT!r}"]
    call = reply.calls[0]
    if call.name != OUTPUT:
        return None, [f"there is no tool {call.name[:60]!r}: call {OUTPUT!r}"]
    if call.arguments is None:
        return None, [f"the arguments of {OUTPUT!r} are not a JSON object"]
    if wrapped and WRAPPED not in call.arguments:
        return None, [f"the argument {WRAPPED!r} is missing, which holds the answer"]
    value = call.arguments[WRAPPED] if wrapped else dict(call.arguments)
    return value, [reason[:LONGEST_REASON] for reason in list(check(value))[:MOST_REASONS]]


def _asking_again(reply: Reply, reasons: Sequence[str]) -> list[Message]:
    """What is said next: the answer as it was, and why it will not do."""
    why = "\n".join(("This answer cannot be used:", *(f"- {reason}" for reason in reasons), "Answer again."))
    usable = reply.stop not in (Stop.LENGTH, Stop.REFUSED) and all(
        call.arguments is not None and call.id and call.name for call in reply.calls
    )
    if reply.calls and usable:
        answers = [Message("tool", why, call_id=call.id, failed=True) for call in reply.calls]
        return [Message("assistant", reply.text, reply.calls), *answers]
    # Providers refuse a conversation with a call that is not whole, and a turn in which nothing is said.
    said = "\n".join(filter(None, (reply.text, *(call.written for call in reply.calls))))
    return [*([Message("assistant", said)] if said.strip() else []), Message("user", why)]
