"""The public events of a stored run, from its first one on: the moves that its journal's facts cause, with the same numbers each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from plait._core.result import RunResult
from plait._core.scheduler import Scheduler
from plait._core.table import Move, Table
from plait._engine.desk import open_questions
from plait._engine.replaying import Replay
from plait.observe.questions import OpenQuestion
from plait.observe.stream import RunEvent, Stream
from plait.stores.base import Generation, RunInfo

if TYPE_CHECKING:
    from plait.stores.contract import Store


class Telling:
    """Events of one generation of a run as far as it is on record; more with each `more`."""

    def __init__(self, store: Store, run: RunInfo, generation: Generation) -> None:
        self._replay = Replay(store, run, generation, moves=True)
        self._readers: list[Callable[[Any, Move | None], None]] = []
        self._begun = False
        self.over = False
        self.stream = Stream(self)

    def tell(self) -> None:
        """Shows whoever has subscribed to the stream what was committed by now and not shown yet."""
        if self.over:
            return
        if not self._begun:
            self._begun = True
            self.stream.begin()
            self._see()
        self._replay.catch_up(self._see)
        if self._replay.scheduler.finished:
            self.over = True
            for reader in self._readers:
                reader(self, None)

    def questions(self) -> list[OpenQuestion]:
        """What waits for a person's answer, as far as it was told."""
        return open_questions(self.id, self._replay.scheduler, self._replay.wall)

    def more(self) -> list[RunEvent]:
        """The events since the last call, committed by now."""
        told: list[RunEvent] = []

        def keep(event: RunEvent | None) -> None:
            if event is not None:
                told.append(event)

        self.stream.subscribe(keep)
        self.tell()
        self.stream.unsubscribe(keep)
        return told

    def _see(self) -> None:
        moves, self.table.moves = self.table.moves or [], []
        for move in moves:
            for reader in self._readers:
                reader(self, move)

    # -- what the stream reads

    @property
    def id(self) -> str:
        """The run's id."""
        return self._replay.run.id

    @property
    def name(self) -> str:
        """The run's name."""
        return self._replay.run.name

    @property
    def now(self) -> float:
        """The run's clock at the last fact."""
        return self._replay.now

    @property
    def started_at(self) -> float:
        """The run's clock at its start."""
        return 0.0

    @property
    def opened_at(self) -> float:
        """When starts went on after a pause."""
        return self._replay.opened_at

    @property
    def unix(self) -> Callable[[float], float]:
        """Unix seconds of a moment on the run's clock."""
        return self._replay.wall

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler that was told the facts."""
        return self._replay.scheduler

    @property
    def table(self) -> Table:
        """Its table."""
        return self._replay.table

    def read(self, reader: Callable[[Any, Move | None], None]) -> None:
        """Has every move shown to `reader`."""
        self._readers.append(reader)

    def result(self) -> RunResult:
        """The outcomes as they stand."""
        return self._replay.result()
