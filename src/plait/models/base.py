"""What a model is asked and what it answers: one small protocol, whoever the provider is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeAlias

Role: TypeAlias = Literal["user", "assistant", "tool"]

MAX_TOKENS = 4096


class Stop(StrEnum):
    """Why an answer ends where it ends."""

    END = "end"  # the model had said all
    CALLS = "calls"  # it wants tools called
    LENGTH = "length"  # it was cut off: `max_tokens`, or what the model can hold
    REFUSED = "refused"  # the model, or a filter of its provider, would not say it
    OTHER = "other"  # its provider has another word for it


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that a model may call; `parameters` is a JSON Schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What a model wants called. `arguments` is None where it wrote no JSON object; `written` is what it wrote then."""

    id: str
    name: str
    arguments: Mapping[str, Any] | None
    written: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    An `assistant` said `text` and made `calls`. A `tool` answers the call `call_id` with `text`; every call needs an answer before
    the next turn. `failed` says that the call came to nothing, and `text` says why.
    """

    role: Role
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """What one answer used up. All that was read is in `input_tokens`, what of it came from a cache also in `cached_tokens`.

    `usd` is what the provider says that it cost; 0 where it does not say.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(default_factory=Usage)
    stop: Stop = Stop.END


class Model(Protocol):
    """A model that can be asked. What an answer used up is counted for the task that asks (see `record`)."""

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
        """The answer to a conversation: exactly one request, never a second one after a failure.

        Only `tools` may be called, of those `force` must be, if it is given. Without `temperature` the provider's own holds.
        Cancelling it ends the request.

        Raises:
            HttpError: for what the provider refuses, and for what keeps an answer from coming.
        """
        ...
