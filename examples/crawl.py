"""A crawler under a rate limit: several hundred pages of a site that this program starts, which answers 429 where it is asked too fast.

pip install plait
python examples/crawl.py            # 300 pages, at most 8 connections, 190 requests a second
python examples/crawl.py --small    # 40 pages

The site allows 100 requests in half a second. Now and then it wants a pause all the same: `Retry-After` then slows all down, and costs no try.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections import deque

import plait

ALLOWED, WINDOW_S = 100, 0.5
"""What the site allows."""

MARGIN = 5
"""So many fewer are asked for: requests are counted where they arrive, some later than others."""


class Site:
    """Pages that link to others; 429 with `Retry-After` to whoever asks too fast, and at every 97th request."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.asked: deque[float] = deque()
        self.answered: dict[str, int] = {}
        self.refused = self.too_fast = self.requests = self.connections = self.most_connections = 0

    def links(self, page: int) -> list[int]:
        """A page links to up to three behind it and to one before: all can be reached from 0, and loops abound."""
        return [each for each in (2 * page + 1, 2 * page + 2, 3 * page + 1, page // 2) if each < self.pages]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request on one connection."""
        self.connections += 1
        self.most_connections = max(self.most_connections, self.connections)
        try:
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
            now = time.monotonic()
            while self.asked and self.asked[0] <= now - WINDOW_S:
                self.asked.popleft()
            self.asked.append(now)
            self.requests += 1
            too_fast = len(self.asked) > ALLOWED
            wants_a_pause = too_fast or self.requests % 97 == 0
            await asyncio.sleep(0.005)  # it takes its time
            if wants_a_pause:
                self.refused += 1
                self.too_fast += too_fast
                writer.write(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
            else:
                self.answered[path] = self.answered.get(path, 0) + 1
                body = "".join(f'<a href="/{each}">{each}</a>' for each in self.links(int(path[1:]))).encode()
                head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
            await writer.drain()
        finally:
            self.connections -= 1
            writer.close()


async def ask(port: int, path: str) -> str:
    """The body of a page.

    Raises:
        RetryAfter: where the site says so.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    finally:
        writer.close()
    if head.startswith("HTTP/1.1 429"):
        raise plait.RetryAfter(float(re.search(r"Retry-After: (\d+)", head)[1]))  # type: ignore[index]
    return body


async def main(pages: int) -> None:
    site = Site(pages)
    server = await asyncio.start_server(site.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    seen = {"/0"}

    @plait.task(rate_limit=f"{ALLOWED - MARGIN}/{WINDOW_S}s", pool="connections", retries=2)
    async def crawl(path: str):
        body = await ask(port, path)
        found = [each for each in re.findall(r'href="(/\d+)"', body) if each not in seen]
        seen.update(found)
        # What a page links to grows under it: the same limits hold, however deep.
        return [path, [crawl.bind(each).named(each[1:]) for each in dict.fromkeys(found)]]

    graph = plait.Graph("crawl", pools={"connections": 8})
    graph.add("crawl", crawl, args=("/0",))
    began = time.monotonic()
    result = await plait.arun(graph, max_concurrency=None)
    took = time.monotonic() - began
    pauses = sum(len(each.history) - 1 for each in result.values() if each.history)
    print(f"{len(site.answered)} of {pages} pages, each once: {max(site.answered.values()) == 1}")
    print(f"never faster than the site allows: {site.too_fast == 0}; at most {site.most_connections} connections")
    print(f"{site.refused} answers were 429, and {pauses} pages were asked again; {result.status}")
    print(f"{site.requests} requests in {took:.1f} s")
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="40 pages")
    asyncio.run(main(40 if parser.parse_args().small else 300))
