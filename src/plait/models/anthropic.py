"""Models behind the API of messages: those of Anthropic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from plait.errors import MissingExtra
from plait.models import reading
from plait.models.base import MAX_TOKENS, Message, Reply, Stop, Tool, ToolCall, Usage
from plait.models.clients import client, loaded
from plait.models.failures import check_account, failure, no_answer
from plait.models.spending import record

ANTHROPIC_URL = "https://api.anthropic.com"

_STOPS = {
    "end_turn": Stop.END,
    "stop_sequence": Stop.END,
    "tool_use": Stop.CALLS,
    "max_tokens": Stop.LENGTH,
    "model_context_window_exceeded": Stop.LENGTH,
    "refusal": Stop.REFUSED,
}


@dataclass(frozen=True, slots=True)
class AnthropicModel:
    """A model of Anthropic's, by its name and the key of an account; `base_url` leads to another server that speaks the same.

    Raises:
        UsageError: for a key or a base URL that cannot be.
    """

    name: str
    key: str = field(repr=False)
    base_url: str = ANTHROPIC_URL

    def __post_init__(self) -> None:
        check_account("Anthropic", self.base_url, self.key)

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
        """The answer, as `Model.ask` says.

        Raises:
            HttpError: for what the provider refuses, and for what keeps an answer from coming.
            MissingExtra: without the package anthropic.
        """
        body: dict[str, Any] = {"model": self.name, "messages": _messages(messages), "max_tokens": max_tokens}
        if system:
            body["system"] = system
        if temperature is not None:
            body["extra_body"] = {"temperature": temperature}  # the SDK has no word for it any more
        if tools:
            body["tools"] = [_tool(tool) for tool in tools]
        if force is not None:
            body["tool_choice"] = {"type": "tool", "name": force}
        sdk = await loaded("anthropic.resources.messages", _sdk)

        def made(http: Any) -> Any:
            return sdk.AsyncAnthropic(
                api_key=self.key, base_url=self.base_url, max_retries=0, timeout=None, http_client=http
            )

        where = f"Anthropic, model {self.name!r}, at {self.base_url}"
        async with client((AnthropicModel, self.base_url, self.key), made) as account:
            try:
                response = await account.messages.with_raw_response.create(**body)
            except (sdk.AnthropicError, UnicodeError) as error:
                raise failure(error, sdk, where, self.key) from None
        reply = _reply(response.http_response.text, where, self.key)
        record(reply.usage)
        return reply


def _sdk() -> Any:
    try:
        import anthropic
        import anthropic.resources.messages
    except ImportError:
        raise MissingExtra("models of Anthropic need the package 'anthropic': pip install \"plait[ai]\"") from None
    return anthropic


def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The turns: the answers to all calls of a turn, and what is said behind them, are one."""
    turns: list[tuple[str, list[dict[str, Any]]]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(_blocks(message))
        else:
            turns.append((role, _blocks(message)))
    return [{"role": role, "content": _content(blocks)} for role, blocks in turns]


def _content(blocks: list[dict[str, Any]]) -> Any:
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0]["type"] == "text" else blocks


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        answer = {"type": "tool_result", "tool_use_id": message.call_id, "content": message.text}
        return [{**answer, "is_error": True} if message.failed else answer]
    said = [{"type": "text", "text": message.text}] if message.text or not message.calls else []
    return [*said, *map(_call, message.calls)]


def _call(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(call.arguments or {})}


def _tool(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "input_schema": dict(tool.parameters)}


def _reply(body: str, where: str, key: str) -> Reply:
    """What an answer says.

    Raises:
        HttpError: where it holds none.
    """
    data = reading.object_of(body)
    if data is None or not isinstance(data.get("content"), list):
        raise no_answer(where, "what came is no message", body, key)
    blocks = reading.objects(data, "content")
    # What was read from a cache, and what was written to one, is counted apart by the provider.
    cached = reading.number(data, "usage", "cache_read_input_tokens")
    fresh = reading.number(data, "usage", "input_tokens")
    kept = reading.number(data, "usage", "cache_creation_input_tokens")
    return Reply(
        "".join(reading.text(block, "text") for block in blocks if block.get("type") == "text"),
        tuple(_called(block) for block in blocks if block.get("type") == "tool_use"),
        Usage(fresh + cached + kept, reading.number(data, "usage", "output_tokens"), cached),
        _STOPS.get(reading.text(data, "stop_reason"), Stop.OTHER),
    )


def _called(block: Any) -> ToolCall:
    found = block.get("input")
    arguments = found if isinstance(found, dict) else None
    written = "" if arguments is not None else str(found)
    return ToolCall(reading.text(block, "id"), reading.text(block, "name"), arguments, written)
