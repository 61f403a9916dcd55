"""Models behind the API of chat completions: those of OpenAI, of OpenRouter, and of many servers that speak like them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from plait.errors import HttpError, MissingExtra
from plait.models import reading
from plait.models.base import MAX_TOKENS, Message, Reply, Stop, Tool, ToolCall, Usage
from plait.models.clients import client, loaded
from plait.models.failures import check_account, failure, no_answer, refused
from plait.models.spending import record

OPENAI_URL = "https://api.openai.com/v1"

_STOPS = {
    "stop": Stop.END,
    "tool_calls": Stop.CALLS,
    "function_call": Stop.CALLS,
    "length": Stop.LENGTH,
    "content_filter": Stop.REFUSED,
}


@dataclass(frozen=True, slots=True)
class OpenAIModel:
    """A model that is asked for chat completions, by its name and the key of an account.

    `base_url` leads to another server that speaks the same; `provider` is what messages call it.

    Raises:
        UsageError: for a key or a base URL that cannot be.
    """

    name: str
    key: str = field(repr=False)
    base_url: str = OPENAI_URL
    provider: str = "OpenAI"

    def __post_init__(self) -> None:
        check_account(self.provider, self.base_url, self.key)

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
            MissingExtra: without the package openai.
        """
        body: dict[str, Any] = {"model": self.name, "messages": _messages(messages, system), self._limit: max_tokens}
        if temperature is not None:
            body["temperature"] = temperature
        if tools:
            body["tools"] = [_tool(tool) for tool in tools]
        if force is not None:
            body["tool_choice"] = {"type": "function", "function": {"name": force}}
        sdk = await loaded("openai.resources.chat", _sdk)

        def made(http: Any) -> Any:
            account = sdk.AsyncOpenAI(
                api_key=self.key, base_url=self.base_url, max_retries=0, timeout=None, http_client=http
            )
            if not self._official:  # what the environment says of an account at OpenAI is nobody else's business
                account.organization = account.project = None
            return account

        where = f"{self.provider}, model {self.name!r}, at {self.base_url}"
        async with client((OpenAIModel, self.base_url, self.key), made) as account:
            try:
                response = await account.chat.completions.with_raw_response.create(**body)
            except (sdk.OpenAIError, UnicodeError) as error:
                raise failure(error, sdk, where, self.key) from None
        reply = _reply(response.http_response.text, where, self.key)
        record(reply.usage)
        return reply

    @property
    def _official(self) -> bool:
        host = urlsplit(self.base_url).hostname or ""
        return host == "openai.com" or host.endswith(".openai.com")

    @property
    def _limit(self) -> str:
        """OpenAI's newer models know this limit by another name alone, other servers by the old one alone."""
        return "max_completion_tokens" if self._official else "max_tokens"


def _sdk() -> Any:
    try:
        import openai
        import openai.resources.chat
    except ImportError:
        raise MissingExtra(
            "models of OpenAI and OpenRouter need the package 'openai': pip install \"plait[ai]\""
        ) from None
    return openai


def _messages(messages: Sequence[Message], system: str | None) -> list[dict[str, Any]]:
    first = [{"role": "system", "content": system}] if system else []
    return [*first, *map(_message, messages)]


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.call_id, "content": message.text}
    if not message.calls:
        return {"role": message.role, "content": message.text}
    return {
        "role": "assistant",
        "content": message.text or None,
        "tool_calls": [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _arguments(call)}}
            for call in message.calls
        ],
    }


def _arguments(call: ToolCall) -> str:
    return call.written if call.arguments is None else json.dumps(call.arguments)


def _tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def _reply(body: str, where: str, key: str) -> Reply:
    """What an answer says.

    Raises:
        HttpError: where it holds none.
    """
    data = reading.object_of(body)
    choices = reading.objects(data, "choices")
    if data is None or not choices or not isinstance(choices[0].get("message"), dict):
        raise _failed(data, where, key) or no_answer(where, "what came is no chat completion", body, key)
    choice = choices[0]
    failed = _failed(choice, where, key)
    if failed is not None:
        raise failed
    message = choice["message"]
    calls = tuple(
        reading.call(reading.text(each, "id"), *_function(each.get("function")))
        for each in reading.objects(message, "tool_calls")
    )
    refusal = reading.text(message, "refusal")
    stop = _STOPS.get(reading.text(choice, "finish_reason"), Stop.OTHER)
    return Reply(
        reading.text(message, "content") or refusal,
        calls,
        Usage(
            reading.number(data, "usage", "prompt_tokens"),
            reading.number(data, "usage", "completion_tokens"),
            reading.number(data, "usage", "prompt_tokens_details", "cached_tokens"),
            float(reading.amount(data, "usage", "cost")),
        ),
        Stop.REFUSED if refusal else stop,
    )


def _function(found: Any) -> tuple[str, str]:
    return reading.text(found, "name"), reading.text(found, "arguments")


def _failed(data: Mapping[str, Any] | None, where: str, key: str) -> HttpError | None:
    """OpenRouter tells what went wrong behind it in an answer whose status is 200."""
    error = data.get("error") if data is not None else None
    if not isinstance(error, dict):
        return None
    status = reading.number(error, "code")
    return refused(where, status if 400 <= status < 600 else 502, "", {}, json.dumps({"error": error}), key)
