"""How long a run would take on so many slots, by what the store learned of its tasks: the real scheduler under virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from plait._core.graph import Batch, Numbered
from plait._core.policy import CONTROL, PLAIN, TAKES, Policy, Rules
from plait._core.result import RunResult
from plait._core.table import Table
from plait._engine.doors import finish
from plait._engine.driver import Driver
from plait._engine.work import Call, Growth, Work
from plait.durations import ranked
from plait.observe.stream import critical_path
from plait.stores.base import Learned
from plait.testing import Scripted, ScriptedExecutor, VirtualClock

if TYPE_CHECKING:
    from plait.stores.contract import Store


class Prediction(NamedTuple):
    """What a run on `slots` slots is expected to take, in seconds.

    `critical_path_s` is what any number of slots would take, `work_s` what one would. `efficiency` = work / (wall x slots).
    `unknown` counts tasks that no run has shown yet: each is taken for an average one.
    """

    wall_s: float
    critical_path_s: float
    work_s: float
    slots: int | None
    tasks: int
    unknown: int

    @property
    def efficiency(self) -> float | None:
        """The share of the slots' time that is used."""
        return None if self.slots is None or not self.wall_s else self.work_s / (self.wall_s * self.slots)


def predict(store: Store, batch: Batch, name: str, rules: Rules) -> Prediction | None:
    """The run of a batch, played without calling anything; None if the store knows none of its tasks."""
    known = store.learned_of(f"{name}/")
    seen = [each.seconds for each in known.values() if each.seconds > 0.0]
    if not known:
        return None
    work: Work = batch.calls  # type: ignore[assignment]
    shadow = _Shadow(work, _Known(name, known, sum(seen) / len(seen) if seen else 0.0))
    ranked(store, batch, name)
    played = shadow.batch(batch)
    executor = ScriptedExecutor(lambda key, attempt: Scripted())

    async def play() -> RunResult:
        executors: Any = dict.fromkeys(("async", "thread", "shell"), _Timed(executor, shadow.known))
        return await finish(Driver(played, rules.but(budget=(), deadline=None), name=name, executors=executors))

    result = VirtualClock().run(play())
    table = result.table
    leaves = [row for row in range(table.size) if not table.odd[row] & CONTROL]
    spent = sum(max(0.0, table.ended_at[row] - table.started_at[row]) for row in leaves)
    return Prediction(
        result.wall_s, critical_path(table), spent, rules.max_concurrency, len(leaves), shadow.known.unknown
    )


class _Known:
    """What is known of the tasks of one name."""

    def __init__(self, name: str, learned: Mapping[str, Learned], usual: float) -> None:
        self._name = name
        self._learned = learned
        self._usual = usual
        self.unknown = 0

    def seconds(self, identity: str) -> float:
        """How long one attempt takes."""
        found = self._learned.get(f"{self._name}/{identity}")
        if found is None:
            self.unknown += 1
            return self._usual
        return found.seconds

    def children(self, identity: str) -> int:
        """How many tasks it grows."""
        found = self._learned.get(f"{self._name}/{identity}")
        return 1 if found is None else max(0, round(found.children))


class _Timed:
    """Makes executors that play what is known of each task, which stands in its call."""

    def __init__(self, executor: ScriptedExecutor, known: _Known) -> None:
        self._executor = executor
        self._known = known

    def __call__(self, sink: Any) -> ScriptedExecutor:
        executor = ScriptedExecutor()
        executor(sink)
        plain = executor.start

        def start(attempt: Any) -> None:
            executor._script = lambda key, number: Scripted(attempt.call[1])
            plain(attempt)

        executor.start = start  # type: ignore[method-assign]
        return executor


class _Shadow(Work):
    """Calls that only take their time; conditions hold, lists are as long as they used to be."""

    def __init__(self, work: Work | None, known: _Known, identity: str = "") -> None:
        self._work = work
        self.known = known
        self._identity = identity

    def batch(self, batch: Batch) -> Batch:
        """The same tasks with these calls."""
        return Batch(
            batch.size,
            calls=self,  # type: ignore[arg-type]
            keys=batch.keys,
            needs=batch.needs,
            policy=_played(batch.policy),
            policies=None if batch.policies is None else list(map(_played, batch.policies)),
            controls=batch.controls,
            conditional=batch.conditional,
            ranks=batch.ranks,
            cleanups=batch.cleanups,
        )

    def _name(self, place: int) -> str:
        names = self._identity if self._work is None else self._work.identities()
        return names if isinstance(names, str) else names[place]

    def call(self, place: int, table: Table, first: int) -> Call:
        return "async", self.known.seconds(self._name(place)), (), None

    def decide(self, place: int, table: Table, first: int) -> bool:
        return True

    def _inside(self, place: int) -> Work | None:
        known = None if self._work is None else self._work.inside(place)
        return None if known is None else known[0]

    def children(self, place: int, table: Table, first: int) -> Growth:
        inside = self._inside(place)
        made = getattr(inside, "batch", None)
        if made is not None:
            return Growth(_Shadow(inside, self.known).batch(made()), lambda table, rows: None)
        size = self.known.children(self._name(place))
        group = inside is not None and inside.inside(0) is not None
        batch = Batch(
            size,
            calls=_Shadow(inside, self.known, f"{self._name(place)}[]"),  # type: ignore[arg-type]
            keys=Numbered("", size),
            policy=PLAIN if inside is None else _played(inside.policy),
            controls=range(size) if group else (),
        )
        return Growth(batch, lambda table, rows: None)


def _played(policy: Policy) -> Policy:
    """What of a policy says when a task may start: it needs one attempt here, nobody fails, and there are no results to vote with."""
    kept = ("priority", "join", "max_concurrency", *TAKES)
    return Policy(**{name: getattr(policy, name) for name in kept})


__all__ = ["Prediction", "predict"]
