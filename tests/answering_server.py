"""A small HTTP server for tests: it answers by path, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, NamedTuple


class Asked(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Asked], bytes]


def answer(body: bytes | str = b"", status: str = "200 OK", **headers: object) -> Answer:
    data = body.encode() if isinstance(body, str) else body
    lines = {"content-length": len(data), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return lambda asked: f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + (b"" if asked.method == "HEAD" else data)


def data(value: Any, **headers: object) -> Answer:
    return answer(json.dumps(value), content_type="application/json", **headers)


class Server:
    """Answers by path, and remembers what it was asked; a list of answers is given one by one."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | list[Answer]] = {}
        self.asked: list[Asked] = []
        self.connections = 0
        self.hold_until = 1 << 60
        """So many requests must have come before `/hold` is answered."""
        self._loop = asyncio.new_event_loop()
        ready: Future[int] = Future()
        self._thread = threading.Thread(target=self._serve, args=(ready,))
        self._thread.start()
        self.port = ready.result(10)
        self.url = f"http://127.0.0.1:{self.port}"

    def _serve(self, ready: Future[int]) -> None:
        async def main() -> None:
            self._over, self._held = asyncio.Event(), asyncio.Event()
            server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
            ready.set_result(server.sockets[0].getsockname()[1])
            await self._over.wait()
            server.close()

        self._loop.run_until_complete(main())
        for each in asyncio.all_tasks(self._loop):
            each.cancel()
            self._loop.run_until_complete(asyncio.gather(each, return_exceptions=True))
        self._loop.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                asked = Asked(method, path, headers, body)
                self.asked.append(asked)
                if len(self.asked) >= self.hold_until:
                    self._held.set()
                if path == "/hold":
                    await self._held.wait()
                await self.before(asked)
                try:
                    wanted = self.answers.get(path.partition("?")[0], self.answers.get("/", answer()))
                    found = (wanted.pop(0) if isinstance(wanted, list) else wanted)(asked)
                finally:
                    self.after(asked)
                if not found:
                    await self.unanswered(asked, reader)
                    return
                while path == "/drip" and found:
                    writer.write(found[:10])
                    found = found[10:]
                    await asyncio.sleep(0.1)
                writer.write(found)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()  # also where the server ends: a socket that is left open is found by some later test
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def before(self, asked: Asked) -> None:
        """What an answer waits for."""

    def after(self, asked: Asked) -> None:
        """The answer is there."""

    async def unanswered(self, asked: Asked, reader: asyncio.StreamReader) -> None:
        """What comes before the connection is closed on a request whose answer is no byte."""

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
