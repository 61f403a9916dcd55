"""What every row shares: the work that is measured, what it must give, and the clock.

A row is a function from a size to a `Job`. It builds its input when called; `measure.py` then measures `Job.work` alone and asks
`Job.right` about the result. No row imports plait but those of `with_plait.py`, so that each runs in its peer's own environment.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

MOD = 1_000_000_007
LIMIT = 100  # tasks at once, wherever the group does not say otherwise
HOUR = 3600  # what a sleeper sleeps that is to be cancelled


class Job(NamedTuple):
    """Work on an input that exists already, and whether a result of it is right."""

    work: Callable[[], Any]
    right: Callable[[Any], bool]


class Span(NamedTuple):
    """What work gives that measures a part of itself: seconds of wall and CPU time, and its result."""

    wall: float
    cpu: float
    result: Any


class Shape(NamedTuple):
    """A graph: the needs of each node, in an order in which they can run, and the nodes whose values are wanted."""

    needs: list[tuple[int, ...]]
    targets: Sequence[int]


def clock() -> tuple[float, float]:
    """Seconds of wall and CPU time; CPU of all threads and of the children that were waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter(), time.process_time() + children.ru_utime + children.ru_stime


def since(start: tuple[float, float], result: Any = None) -> Span:
    """The span from `start`, a reading of `clock`, until now."""
    wall, cpu = clock()
    return Span(wall - start[0], cpu - start[1], result)


# -- flat work


async def noop(item: int) -> int:
    """Never suspends: what is measured is everything else."""
    return item


async def pause(item: int) -> int:
    """Suspends once, for one turn of the loop."""
    await asyncio.sleep(0)
    return item


def flat(work: Callable[[], Any], size: int) -> Job:
    """A job whose result is the items, in order."""
    return Job(work, lambda found: list(found) == list(range(size)))


# -- graphs


def layered(size: int, width: int = 100, fan: int = 3) -> Shape:
    """Layers of `width`; each node needs `fan` random nodes of the layer before; all values are wanted."""
    dice = random.Random(0)
    needs: list[tuple[int, ...]] = [()] * min(size, width)
    for at in range(width, size):
        first = (at // width - 1) * width
        needs.append(tuple(first + each for each in dice.sample(range(width), fan)))
    return Shape(needs, range(size))


def chain(size: int) -> Shape:
    """Each node needs the one before; all values are wanted."""
    return Shape([(at - 1,) if at else () for at in range(size)], range(size))


def star(size: int) -> Shape:
    """`size` nodes need one root; the values of these users are wanted."""
    return Shape([(), *[(0,)] * size], range(1, size + 1))


def fan_in(size: int) -> Shape:
    """One node needs `size` roots; its value is wanted."""
    return Shape([*[()] * size, tuple(range(size))], [size])


SHAPES: dict[str, Callable[[int], Shape]] = {"layered": layered, "chain": chain, "star": star, "fan-in": fan_in}


def value(*needs: int) -> int:
    """The value of a node: one more than what it needs."""
    return (sum(needs) + 1) % MOD


async def node(*needs: int) -> int:
    """`value` as a coroutine."""
    return (sum(needs) + 1) % MOD


def total(shape: Shape, values: Sequence[int]) -> int:
    """The result of a graph, from the values of all its nodes."""
    return sum([values[at] for at in shape.targets]) % MOD


def graph(work: Callable[[], int], shape: Shape) -> Job:
    """A job whose result is the `total` of `shape`.

    The right one is worked out after the work: memory that this frees before would hide the growth that is measured.
    """

    def right(found: int) -> bool:
        values: list[int] = []
        for row in shape.needs:
            values.append(value(*[values[need] for need in row]))
        return found == total(shape, values)

    return Job(work, right)


# -- whole processes


def process(words: Sequence[str], text: str | None = None, runs: int = 1, **env: str) -> Job:
    """A job that runs a program `runs` times, `text` on its standard input, and is right if each says that it did well."""
    given = {**os.environ, **env}

    def work() -> list[subprocess.CompletedProcess[str]]:
        return [subprocess.run(words, input=text or "", capture_output=True, text=True, env=given) for _ in range(runs)]

    def right(found: list[subprocess.CompletedProcess[str]]) -> bool:
        for each in found:
            if each.returncode:
                raise RuntimeError(f"{words[0]}: exit code {each.returncode}: {each.stderr.strip()[-300:]}")
        return True

    return Job(work, right)


def written(name: str, text: str) -> str:
    """The name of a file in the working folder, which is new for each row, with this text."""
    Path(name).write_text(text)
    return name


def new_file() -> str:
    """Where a database may be made: in a new folder in the working folder."""
    return str(Path(tempfile.mkdtemp(dir=".")).absolute() / "runs.db")
