"""What commands write, shown while it comes: lines as they are, lines behind the task's key, or a task's output as one block."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from enum import StrEnum
from io import IncrementalNewlineDecoder
from typing import IO

from plait._core.states import RUNNING, WAITING
from plait._core.table import Move, Table
from plait.observe.text import clean

LONGEST_LINE = 8192
"""Characters that are waited for a line's end; what is longer comes in parts."""

HELD_BYTES = 64 * 1024
"""So much of a block is held in memory, and all else in a file that nobody else sees."""

AT_ONCE = 64 * 1024
"""Characters of a block that are written in one go."""


class How(StrEnum):
    """How the output of commands is shown."""

    INTERLEAVED = "interleaved"
    """Lines as they come."""

    GROUP = "group"
    """A task's output as one block with its key above it, when the attempt is over."""

    PREFIXED = "prefixed"
    """Lines as they come, each behind the key of its task."""


class _Lines:
    """Bytes of one stream as printable lines."""

    def __init__(self) -> None:
        self._decoder = IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
        self._held = ""

    def fed(self, data: bytes, final: bool = False) -> Iterator[str]:
        """The lines that `data` makes whole; with `final` what is left, too."""
        *lines, self._held = (self._held + self._decoder.decode(data, final=final)).split("\n")
        yield from map(clean, lines)
        while len(self._held) > LONGEST_LINE:
            part, self._held = self._held[:LONGEST_LINE], self._held[LONGEST_LINE:]
            yield clean(part)
        if final and self._held:
            yield clean(self._held)
            self._held = ""


class _Attempt:
    """What one attempt wrote, as far as it is not shown yet."""

    def __init__(self) -> None:
        self.streams: dict[str, _Lines] = {}
        self.block: IO[bytes] | None = None
        self.left_out = 0

    def fed(self, stream: str, data: bytes) -> Iterator[str]:
        return self.streams.setdefault(stream, _Lines()).fed(data)

    def rest(self) -> Iterator[str]:
        for lines in self.streams.values():
            yield from lines.fed(b"", final=True)
        if self.left_out:
            yield f"[... {self.left_out:,} more bytes were left out ...]"


class OutputView:
    """Writes what tasks print, `how` that is wanted. `write` gets whole lines, none of which can move a cursor; `label` makes a
    task's name of its key; `begin` (with that name) and `end` write what is around a block."""

    def __init__(
        self,
        how: How,
        write: Callable[[list[str]], None],
        label: Callable[[str], str] = str,
        begin: Callable[[str], None] | None = None,
        end: Callable[[], None] | None = None,
    ) -> None:
        self._how = how
        self._write = write
        self._label = label
        self._begin = begin
        self._end = end
        self._open: dict[int, dict[int, _Attempt]] = {}  # by task, by number

    def output(self, table: Table, task: int, stream: str, data: bytes, left_out: int = 0) -> None:
        """A running task wrote `data`; so many bytes more were not kept."""
        number = table.attempts(task)
        attempt = self._open.setdefault(task, {}).setdefault(number, _Attempt())
        attempt.left_out += left_out
        lines = list(attempt.fed(stream, data))
        if lines:
            self._take(table, task, attempt, lines)

    def moved(self, table: Table, move: Move) -> None:
        """A task went from one state to another: the output of an attempt that is over is whole."""
        if move.old == RUNNING and move.new != WAITING and move.task in self._open:
            for number in sorted(self._open[move.task]):
                if number <= move.attempt:
                    self._close(table, move.task, number)

    def close(self, table: Table) -> None:
        """Nothing more comes: shows what is left."""
        for task, attempts in list(self._open.items()):
            for number in sorted(attempts):
                self._close(table, task, number)

    def _close(self, table: Table, task: int, number: int) -> None:
        attempt = self._open[task].pop(number)
        if not self._open[task]:
            del self._open[task]
        rest = list(attempt.rest())
        if rest:
            self._take(table, task, attempt, rest)
        if attempt.block is not None:
            with attempt.block as block:
                name = self._name(table, task) + (f", attempt {number}" if number > 1 else "")
                if self._begin is None:
                    self._write([f"--- {name} ---"])
                else:
                    self._begin(name)
                block.seek(0)
                while some := block.readlines(AT_ONCE):
                    self._write([line.decode().rstrip("\n") for line in some])
            if self._end is not None:
                self._end()

    def _take(self, table: Table, task: int, attempt: _Attempt, lines: list[str]) -> None:
        if self._how is How.INTERLEAVED:
            self._write(lines)
        elif self._how is How.PREFIXED:
            name = self._name(table, task)
            self._write([f"{name} | {line}" for line in lines])
        else:
            if attempt.block is None:
                from tempfile import SpooledTemporaryFile  # few runs show blocks

                attempt.block = SpooledTemporaryFile(HELD_BYTES)
            attempt.block.write("".join(f"{line}\n" for line in lines).encode())

    def _name(self, table: Table, task: int) -> str:
        return clean(self._label(table.key(task)))
