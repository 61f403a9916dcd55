"""A server that answers as those of model providers do: chat completions (OpenAI, OpenRouter) and messages (Anthropic)."""

from __future__ import annotations

import asyncio
import json
from threading import Event
from typing import Any

from answering_server import Answer, Asked, Server, answer, data

KEY = "sk-test-0123456789abcdefghij"


class ModelServer(Server):
    """Answers to `/chat/completions` and `/v1/messages`, in both of which a script is one answer, or a list with one for each request."""

    def __init__(self) -> None:
        super().__init__()
        self.asking = Event()
        """Somebody waits for an answer that will not come."""
        self.left = Event()
        """Who waited for it has closed the connection."""

    def says(self, *answers: Answer) -> None:
        """These answers, one by one; a single one for ever."""
        self.answers = {"/": answers[0] if len(answers) == 1 else list(answers)}

    async def unanswered(self, asked: Asked, reader: asyncio.StreamReader) -> None:
        if asked.path.endswith("/slow") or self.answers["/"] is slow:
            self.asking.set()
            if not await reader.read(1):
                self.left.set()

    @property
    def bodies(self) -> list[Any]:
        """What was asked, as data."""
        return [json.loads(asked.body) for asked in self.asked]


def slow(asked: Asked) -> bytes:
    """No answer, for as long as the other side waits."""
    return b""


def hang_up(asked: Asked) -> bytes:
    """The connection is closed instead of an answer."""
    return b""


def completion(
    text: str | None = None,
    *calls: tuple[str, Any],
    finish: str | None = None,
    usage: Any = None,
    **message: Any,
) -> Answer:
    """A chat completion; of a call the name and the arguments, as data or as they are written."""
    made = [
        {"id": f"call_{at}", "type": "function", "function": {"name": name, "arguments": _written(arguments)}}
        for at, (name, arguments) in enumerate(calls)
    ]
    whole = {"role": "assistant", "content": text, **({"tool_calls": made} if made else {}), **message}
    return data(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "some",
            "choices": [{"index": 0, "message": whole, "finish_reason": finish or ("tool_calls" if made else "stop")}],
            "usage": usage or {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        }
    )


def message(text: str | None = None, *calls: tuple[str, Any], stop: str | None = None, usage: Any = None) -> Answer:
    """A message of Anthropic's."""
    made = [
        {"type": "tool_use", "id": f"toolu_{at}", "name": name, "input": given}
        for at, (name, given) in enumerate(calls)
    ]
    return data(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "some",
            "content": [*([{"type": "text", "text": text}] if text is not None else []), *made],
            "stop_reason": stop or ("tool_use" if made else "end_turn"),
            "stop_sequence": None,
            "usage": usage or {"input_tokens": 7, "output_tokens": 3},
        }
    )


def refusal(status: str, said: Any = "no", **headers: object) -> Answer:
    """An error as providers tell them."""
    return answer(json.dumps({"error": {"message": said}}), status, content_type="application/json", **headers)


def _written(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)
