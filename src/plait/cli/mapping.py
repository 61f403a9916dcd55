"""`plait map`: one command for each item, output in the order of the items."""

from __future__ import annotations

import sys
from typing import Any

from plait._core.states import FINAL
from plait._core.table import Move
from plait._engine.driver import Driver
from plait.calls.shell import KEPT_BYTES
from plait.errors import UsageError
from plait.executors.base import Output
from plait.expressions.formula import Formula
from plait.expressions.tree import Name
from plait.flow.scripts import check_script
from plait.flow.templates import Hole, Part, Template, TemplateError
from plait.tasks import Graph, shell


def map_graph(command: str, items: list[str], options: dict[str, Any]) -> Graph:
    """A graph with a command for each item, keys `[0]`, `[1]`, ...

    Raises:
        UsageError: where `{}` stands in quotes or elsewhere where quoting an item does not protect.
    """
    pieces = (command if "{}" in command else command + " {}").split("{}")
    parts: list[Part] = []
    for number, piece in enumerate(pieces):
        if number:
            parts.append(Hole(Formula(Name("item"), "item"), 0))
        if piece:
            parts.append(piece)
    try:
        check_script(Template(tuple(parts)))
    except TemplateError as error:
        where = str(error).removeprefix("a value inside ").split(" is not safe")[0]
        raise UsageError(f"`{{}}` stands inside {where}: take it out, an item is one word by itself") from None
    graph = Graph("map")
    script = '"$PLAIT_VALUE_0"'.join(pieces)
    for number, item in enumerate(items):
        graph.add(f"[{number}]", shell(script, env={"PLAIT_VALUE_0": item}, **options))
    return graph


class Mapped:
    """Writes what commands print, each whole, in the order of the items."""

    def __init__(self, items: list[str]) -> None:
        self._items = items
        self._held: dict[int, tuple[int, bytearray]] = {}
        self._over = bytearray(len(items))
        self._next = 0

    def label(self, key: str) -> str:
        """A task's key with its item."""
        item = self._items[int(key.strip("[]"))]
        return f"{key} {item if len(item) <= 60 else item[:57] + '...'}"

    def output(self, driver: Driver, task: int, report: Output) -> None:
        stream = sys.stdout if report.stream == "stdout" else sys.stderr
        if report.stream == "stdout":
            number = driver.table.attempts(task)
            if task not in self._held or self._held[task][0] != number:
                self._held[task] = number, bytearray()  # of the last attempt: that of a failed one is not a result
            held = self._held[task][1]
            held += report.data[: KEPT_BYTES - len(held)]
        else:
            stream.buffer.write(report.data)
            stream.flush()

    def moved(self, driver: Driver, move: Move | None) -> None:
        if move is None or move.new < FINAL:
            return
        self._over[move.task] = 1
        while self._next < len(self._over) and self._over[self._next]:
            sys.stdout.buffer.write(self._held.pop(self._next, (0, b""))[1])
            self._next += 1
        sys.stdout.flush()
