"""A run as its journal tells it: the same scheduler, told the same facts, in this process or for somebody who only looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from plait._core.graph import Batch
from plait._core.policy import OnFailure, Rules
from plait._core.result import RunResult
from plait._core.scheduler import Scheduler
from plait._core.states import READY
from plait._core.table import NEVER, Table, Try
from plait._engine import records as lines
from plait._engine.records import as_wanted, batch_of, error_of, keys_data, question_of, rules_of, value_of, wants_of
from plait._engine.wall import Wall
from plait._engine.work import Ending, Growth, Regrowth, Work, joining
from plait.errors import NotStorable, PlaitError, RunChanged, StoreDamaged, StoreTooNew
from plait.stores.base import READABLE, Generation, RunInfo
from plait.stores.values import JOINED, PLAIN

if TYPE_CHECKING:
    from plait.stores.contract import Store


_read_json = msgspec.json.Decoder().decode


class _Batch(msgspec.Struct):
    """The tasks of a structure: needs are read as tuples, which the garbage collector need not look into."""

    size: int
    keys: Any
    needs: list[tuple[int, ...]] | None = None
    policies: list[Any] | None = None
    policy: list[int] | None = None
    controls: list[int] | None = None
    conditional: list[int] | None = None
    ranks: list[float] | None = None
    called: Any = None
    cleanups: list[int] | None = None
    repairs: list[int] | None = None
    kept: list[Any] | None = None
    files: list[Any] | None = None


class _Structure(msgspec.Struct):
    """What `structure_data` wrote."""

    batch: _Batch
    rules: dict[str, Any]
    carried: dict[str, Any] | None = None


_read_structure = msgspec.json.Decoder(_Structure).decode


def read_structure(data: bytes) -> dict[str, Any]:
    """A structure as plain data."""
    found = _read_structure(data)
    batch = {name: value for name in found.batch.__struct_fields__ if (value := getattr(found.batch, name)) is not None}
    return {"batch": batch, "rules": found.rules, "carried": found.carried}


class _Line(msgspec.Struct, array_like=True, gc=False):
    """A line as it is read: what its kind does not have is None. The garbage collector is not told of them: there are many."""

    kind: int
    a: Any = None
    b: Any = None
    c: Any = None
    d: Any = None
    e: Any = None
    f: Any = None
    g: Any = None
    h: Any = None
    i: Any = None

    def row(self) -> tuple[Any, ...]:
        """The line as a row, as long as its kind is."""
        whole = (self.kind, self.a, self.b, self.c, self.d, self.e, self.f, self.g, self.h, self.i)
        return whole[: lines.WIDTHS[self.kind]]


_read_lines = msgspec.json.Decoder(list[_Line]).decode


class NotRead:
    """Stands for a value that nobody asked to read."""

    def __repr__(self) -> str:
        return "<a stored value>"


NOT_READ = NotRead()


class Known(Work):
    """The calls of a run that is only looked at."""


class Regrown(Work):
    """The calls of what a task grew in an earlier process: made again when one of them is first needed."""

    def __init__(self, table: Table, parent: int, regrowth: Regrowth, data: Mapping[str, Any]) -> None:
        self._table = table
        self._parent = parent
        self._regrowth = regrowth
        self._data = data
        self._growth: Growth | None = None

    @property
    def suspects(self) -> Any:  # type: ignore[override]
        return self.work.suspects

    @property
    def growth(self) -> Growth:
        """What the parent grew.

        Raises:
            RunChanged: where it would grow something else now.
        """
        if self._growth is None:
            batch, place = self._table.batch_of(self._parent)
            work: Work = batch.calls  # type: ignore[assignment]
            first = self._parent - place
            repairs = self._data.get("is_repair")
            growth = (
                work.repair(place, self._table.failures[self._parent], self._table, first)
                if repairs
                else work.regrow(place, self._table, first, self._regrowth)
            )
            if growth.batch.size != self._data["size"] or keys_data(growth.batch.keys) != self._data["keys"]:
                key = self._table.key(self._parent)
                raise RunChanged(
                    f"task {key!r} would grow other tasks now than those that are recorded",
                    [f"task {key!r} grows other tasks"],
                )
            self._growth = growth
        return self._growth

    @property
    def work(self) -> Work:
        """The calls themselves."""
        return self.growth.batch.calls  # type: ignore[return-value]

    def call(self, place: int, table: Table, first: int) -> Any:
        return self.work.call(place, table, first)

    def check(self, place: int, value: Any, table: Table, first: int) -> Growth | None:
        return self.work.check(place, value, table, first)

    def decide(self, place: int, table: Table, first: int) -> bool:
        return self.work.decide(place, table, first)

    def children(self, place: int, table: Table, first: int) -> Growth:
        return self.work.children(place, table, first)

    def snapshot(self) -> Any:
        return self._regrowth.snapshot

    def regrow(self, place: int, table: Table, first: int, regrowth: Regrowth) -> Growth:
        return self.work.regrow(place, table, first, regrowth)

    def repair(self, place: int, failure: Try, table: Table, first: int) -> Growth:
        return self.work.repair(place, failure, table, first)

    def declared(self, place: int) -> Any:
        return self.work.declared(place)

    def inside(self, place: int, snapshot: Any = None) -> Any:
        return self.work.inside(place, snapshot)

    def identities(self) -> Any:
        return self.work.identities()

    def join(self, table: Table, rows: range) -> Any:
        """The value of the parent."""
        return self.growth.join(table, rows)

    def again(self, table: Table, rows: range) -> Growth | None:
        """What the parent grows next, where these were the last."""
        again = self.growth.again
        return None if again is None else again(table, rows)


class Replay:
    """A generation of a run, replayed as far as its journal was given to it.

    With `work` (the calls of the run's own tasks) values are read and the run can go on from here; without, it is only looked at.
    """

    def __init__(
        self,
        store: Store,
        run: RunInfo,
        generation: Generation,
        work: Work | None = None,
        *,
        moves: bool = False,
        structure: Any = None,
    ) -> None:
        if run.format not in READABLE:
            if run.format < 0:
                raise StoreDamaged(
                    f"run {run.id} is damaged in {store.where}: its line in the list of runs cannot be read"
                )
            raise StoreTooNew(
                f"run {run.id} was recorded by plait {run.version} in format {run.format}, and this plait reads formats {' and '.join(map(str, READABLE))}"
            )
        self.run = run
        self.store = store
        self.generation = generation
        self.going_on = work is not None
        self.sequence = 0
        self.now = 0.0
        self.opened_at = NEVER
        self.wall = Wall(0.0, generation.wall)
        self.ahead: set[int] = set()
        self.processes: list[tuple[int, int]] = []
        self.endings: dict[int, Ending] = {}
        self.took_over = 0
        with self._guarded():
            data = read_structure(generation.structure) if structure is None else structure
            self.rules: Rules = rules_of(data["rules"])
            self.carried: Mapping[str, Any] | None = data.get("carried")
            self.batch = self._batch(data["batch"], work or Known())
            self.scheduler = Scheduler(self.rules, 0.0, record_moves=moves)
            self.table = self.scheduler.table
            self.scheduler.added(self.batch, 0.0)

    def catch_up(self, told: Callable[[], None] | None = None) -> None:
        """Replays what the journal holds and was not replayed yet; `told` is called after each fact."""
        for sequence, data in self.store.journal(self.run, self.generation.number, self.sequence):
            with self._guarded():
                if told is None:
                    self._apply_all(_read_lines(data))
                else:
                    for line in _read_lines(data):
                        self._apply(line.row())
                        if self.scheduler.questions is not None:
                            self.scheduler.see_waiting()
                        told()
            self.sequence = sequence
        self.scheduler.commands.clear()

    def _guarded(self) -> _Guard:
        return _Guard(self)

    @property
    def strict(self) -> list[int]:
        """Tasks that may have started without being taken on record: they are not started ahead of it again."""
        return [task for task in self.ahead if self.table.status[task] == READY]

    def result(self, value: Callable[[RunResult], Any] | None = None) -> RunResult:
        """The outcomes as the journal tells them."""
        scheduler = self.scheduler
        return RunResult(
            self.table,
            status=scheduler.status(),
            run_id=self.run.id,
            name=self.run.name,
            unix=self.wall,
            first_cause=scheduler.first_cause,
            degraded=scheduler.degraded,
            halt_reason=scheduler.halt_reason,
            wall_s=self.now,
            slots=self.rules.max_concurrency,
            value=value,
            interrupted=bool(scheduler.unfinished),
            spent=scheduler.totals,
        )

    def _value(self, form: int, data: Any, declared: Callable[[], Any] = lambda: None) -> Any:
        if not self.going_on:
            # Strange classes may be declared, and large values lie in files: who only looks reads neither.
            return data if form == PLAIN else NOT_READ
        try:
            return value_of(form, data, self.store.blob, declared)
        except NotStorable as error:
            raise RunChanged(
                f"a value of run {self.run.id} cannot be read again: {error}", ["a declared type changed"]
            ) from None

    def _answer(self, task: int, number: int, form: int, data: Any) -> Any:
        """What a person said."""
        found = self.scheduler.open_question(task, number)
        value = value_of(form, data, self.store.blob)
        if found is None or not self.going_on:
            return value
        try:
            return as_wanted(found.question, value, lambda: self._declared(task))
        except NotStorable as error:
            raise RunChanged(
                f"an answer in run {self.run.id} cannot be read again: {error}", ["a declared type changed"]
            ) from None

    def _declared(self, task: int) -> Any:
        batch, place = self.table.batch_of(task)
        work: Work = batch.calls  # type: ignore[assignment]
        return work.declared(place)

    def _batch(self, data: Mapping[str, Any], work: Work) -> Batch:
        return batch_of(data, work, lambda form, value, place: self._value(form, value, lambda: work.declared(place)))

    def _joined(self, task: int) -> Any:
        """The value of a task that joined its children: made again of theirs; of one that was repaired: that of its `on_error`."""
        repair = self.table.repairs.get(task) if task in self.table.failures else None
        if repair is not None:
            return self.table.values[repair]
        return self.endings[task].join(self.table, self.table.children(task)) if self.going_on else NOT_READ

    def _apply_all(self, batch: list[_Line]) -> None:
        """`_apply` for each line, the two that most lines are written out."""
        scheduler, ahead, now = self.scheduler, self.ahead, self.now
        returned, take = scheduler.returned, scheduler.take
        for line in batch:
            if scheduler.questions is not None:
                scheduler.see_waiting()
            kind = line.kind
            if kind == lines.RETURNED and line.d == PLAIN and not line.f:
                now = line.c
                returned(line.a, line.b, line.e, now)
            elif kind == lines.TAKEN:
                now = line.b
                if take(now) != line.a:
                    raise StoreDamaged(f"the journal of run {self.run.id} took task {line.a}, a replay another")
                ahead.discard(line.a)
            else:
                self._apply(line.row())
                now = self.now
            if now > self.now:
                self.now = now
        if scheduler.questions is not None:
            scheduler.see_waiting()

    def _apply(self, line: Any) -> None:
        scheduler = self.scheduler
        kind = line[0]
        if kind == lines.RETURNED:
            _, task, attempt, now, form, data, stopped = line
            if form == JOINED:
                value = self._joined(task)
            else:
                value = data if form == PLAIN else self._value(form, data, lambda: self._declared(task))
            scheduler.returned(task, attempt, value, now, int(stopped or 0))
        elif kind == lines.TAKEN:
            _, task, now = line
            taken = scheduler.take(now)
            if taken != task:
                raise StoreDamaged(f"the journal of run {self.run.id} took task {task} where a replay takes {taken}")
            self.ahead.discard(task)
        else:
            now = self._apply_other(kind, line)
        if now is not None:
            self.now = max(self.now, now)

    def _apply_other(self, kind: int, line: Any) -> float | None:
        scheduler = self.scheduler
        now: float
        match kind:
            case lines.BEGAN:
                _, task, attempt, now = line
                scheduler.began(task, attempt, now)
            case lines.RAISED:
                _, task, attempt, now, error, chance, stopped, again, form, data = line
                scheduler.raised(task, attempt, error_of(error), now, chance, stopped, self._value(form, data), again)
            case lines.DECIDED:
                _, task, choice, now, *own = line
                scheduler.decided(task, choice, now, wants_of(own[0]) if own else None)
            case lines.UNDECIDABLE:
                _, task, error, now = line
                scheduler.undecidable(task, error_of(error), now)
            case lines.GREW:
                _, parent, now, data, snapshot = line
                self._grew(parent, now, data, snapshot)
            case lines.SPENT:
                _, task, units, now = line
                scheduler.spent(task, units, now)
            case lines.SETTLED:
                _, task, won, now = line
                scheduler.settled(task, won, now)
            case lines.LISTENED:
                _, task, attempt, at, now = line
                scheduler.listened(task, attempt, at, now)
            case lines.SEEN:
                _, task, attempt, now = line
                scheduler.seen(task, attempt, now)
            case lines.ASKED:
                _, task, attempt, question, now = line
                scheduler.asked(task, attempt, question_of(question), now)
            case lines.ANSWERED:
                _, task, number, form, data, by, now = line
                scheduler.answered(task, number, self._answer(task, number, form, data), by, now)
            case lines.WITHDRAWN:
                _, task, number, now = line
                scheduler.withdrawn(task, number, now)
            case lines.CANCELLED:
                _, task, by, now = line
                scheduler.cancelled(task, by, now)
            case lines.LEASED:
                _, number, units, wanted, now, opens_at, shut = line
                scheduler.leased(number, units, wanted, now, opens_at, bool(shut))
            case lines.ABANDONED:
                _, task, attempt, now = line
                scheduler.abandoned(task, attempt, now)
            case lines.INTERRUPTED:
                _, task, attempt, why, now = line
                scheduler.interrupted(task, attempt, str(why), now)
            case lines.HALTED:
                _, mode, now = line
                scheduler.halted(OnFailure(mode), now)
            case lines.UNPAUSED:
                _, now = line
                self.opened_at = now
                scheduler.unpaused(now)
            case lines.PAUSED | lines.TICKED | lines.LEAVING:
                _, now = line
                {
                    lines.PAUSED: scheduler.paused,
                    lines.TICKED: scheduler.ticked,
                    lines.LEAVING: scheduler.leaving,
                }[kind](now)
            case lines.RECOVERED:
                _, now, wall, *gap = line
                self.took_over += 1
                self.wall.went_on(now, wall)
                self.processes.clear()
                scheduler.recovered(now, gap[0] or 0.0 if gap else 0.0)
            case lines.AHEAD:
                for first, last in line[1]:
                    self.ahead.update(range(max(0, first), min(last + 1, self.table.size)))
                return None
            case lines.SPAWNED:
                _, _, _, pid, started = line
                self.processes.append((int(pid), int(started)))
                return None
            case _:
                raise StoreDamaged(f"line of kind {kind!r} in the journal of run {self.run.id}")
        return now

    def _grew(self, parent: int, now: float, data: Mapping[str, Any], snapshot: Any) -> None:
        work: Work = Known()
        if self.going_on:
            regrown = Regrown(
                self.table, parent, Regrowth(snapshot, partial(self._batch, data), self._value, data.get("needs")), data
            )
            if not data.get("is_repair"):
                self.endings[parent] = Ending(joining(self.table.policies[parent], regrown.join), regrown.again)
            work = regrown
        self.scheduler.grew(parent, self._batch(data, work), now)


class _Guard:
    """Whatever a replay stumbles over that is not ours: what is recorded is not what plait wrote (F33)."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if (
            error is not None
            and isinstance(error, Exception)
            and (not isinstance(error, PlaitError) or error.code == "INVARIANT")
        ):
            replay = self._replay
            raise StoreDamaged(
                f"run {replay.run.id} in {replay.store.where} cannot be read: {type(error).__name__}: {error}"
            ) from error


def read_json(data: bytes) -> Any:
    """JSON as the store keeps it."""
    return _read_json(data)


__all__ = ["NOT_READ", "Known", "Regrown", "Replay", "read_json", "read_structure"]
