"""Python functions as a graph: fetches run at once, each is parsed as soon as it is there, one joins them all."""

import asyncio

import plait


@plait.task(retries=2, timeout=5)
async def fetch(number: int) -> str:
    await asyncio.sleep(0.01)  # stands for a call over the network
    return f"page {number}: " + "word " * number


@plait.task
def parse(page: str) -> int:
    return page.count("word")


@plait.task
def report(counts: list[int]) -> str:
    return f"{sum(counts)} words on {len(counts)} pages"


counts = [parse.bind(fetch.bind(number)) for number in range(5)]
print(plait.run(report.bind(counts), max_concurrency=3))
print(plait.map_(lambda number: number * number, range(5)))
