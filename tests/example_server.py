"""A server for workflows: REST endpoints and models by path, answers that wait for one another, slow ones, and what was asked."""

from __future__ import annotations

import asyncio
import json
from threading import Event
from typing import Any

from answering_server import Answer, Asked, Server, data


class ExampleServer(Server):
    """Answers by path. Where `together` has a number for the beginning of a path, its answers wait until so many are asked for at once."""

    def __init__(self) -> None:
        self.together: dict[str, int] = {}
        self.most: dict[str, int] = {}
        """Of each beginning in `together`, the most that were under way at once."""
        self.asking = Event()
        """Somebody waits for an answer that does not come."""
        self.left = Event()
        """Who waited for it has closed the connection."""
        self._under_way: dict[str, int] = {}
        self._enough: dict[str, asyncio.Event] = {}
        super().__init__()

    async def before(self, asked: Asked) -> None:
        for start, number in self.together.items():
            if asked.path.startswith(start):
                now = self._under_way[start] = self._under_way.get(start, 0) + 1
                self.most[start] = max(now, self.most.get(start, 0))
                enough = self._enough.setdefault(start, asyncio.Event())
                if now >= number:
                    enough.set()
                await enough.wait()

    def after(self, asked: Asked) -> None:
        for start in self.together:
            if asked.path.startswith(start):
                self._under_way[start] -= 1

    async def unanswered(self, asked: Asked, reader: asyncio.StreamReader) -> None:
        self.asking.set()
        if not await reader.read(1):
            self.left.set()

    # -- what was asked

    def to(self, start: str) -> list[Asked]:
        """The requests whose path begins so, in the order in which they came."""
        return [asked for asked in self.asked if asked.path.startswith(start)]

    def bodies(self, start: str) -> list[Any]:
        """What they said, as data."""
        return [json.loads(asked.body) for asked in self.to(start)]


def echo(**more: Any) -> Answer:
    """Answers with what was sent, and `more`."""

    def said(asked: Asked) -> bytes:
        return data({**(json.loads(asked.body) if asked.body else {}), **more})(asked)

    return said


def by_model(answers: dict[str, Answer]) -> Answer:
    """Of an endpoint of models: what the one gives that is asked."""
    return lambda asked: answers[json.loads(asked.body)["model"]](asked)
