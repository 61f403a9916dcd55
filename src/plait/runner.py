"""`ParallelRunner`: a phase of tasks through one executor function, one result per task, never an exception of a task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from plait._core.graph import Batch, refuse_cycles
from plait._core.outcome import Outcome
from plait._core.policy import PLAIN, OnFailure, Rules, count, policy
from plait._core.scheduler import describe
from plait._core.states import Status
from plait._core.table import Table
from plait._engine.doors import finish
from plait._engine.driver import Driver
from plait._engine.work import Call, Work
from plait.concurrency import listed
from plait.errors import UsageError
from plait.executors.base import executor_for, name_of

__all__ = ["ParallelRunner", "PhaseResult", "PhaseTask", "get_independent_tasks"]


class PhaseTask(Protocol):
    """What a task of a phase has; more is the executor function's business."""

    @property
    def id(self) -> Any: ...
    @property
    def dependencies(self) -> Collection[Any]: ...


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PhaseResult(Generic[T]):
    """What became of one task: `status` is `completed`, `failed` or `timeout`; `error` its text, None if completed."""

    task_id: Any
    status: str
    error: str | None
    outcome: Outcome

    @property
    def value(self) -> Any:
        """What the executor function returned; None unless completed."""
        return self.outcome.value


def get_independent_tasks(tasks: Iterable[T], done: Collection[Any] | None = None) -> list[T]:
    """Those of `tasks` that may run now, in order: a task that needs another of the set is dropped.

    Needs outside the set count as met, unless `done` (a collection of ids) is given: then one that is not in `done`
    drops its task, and needs in the set that are in `done` are met.
    """
    given = listed("tasks", tasks)
    ids = {_id(task) for task in given}
    finished = set() if done is None else set(done)
    return [
        task
        for task in given
        if all(need in finished or (need not in ids and done is None) for need in _dependencies(task))
    ]


def _id(task: Any) -> Any:
    try:
        name = task.id
        hash(name)
    except (AttributeError, TypeError):
        raise UsageError(f"a task of a phase has a hashable `id`: {task!r} has none") from None
    return name


def _dependencies(task: Any) -> Collection[Any]:
    found = getattr(task, "dependencies", None)
    if found is None:
        return ()
    if isinstance(found, (str, bytes)) or not isinstance(found, Collection):
        raise UsageError(f"dependencies of task {_id(task)!r} must be a collection of ids, not {found!r}")
    return found


class _Phase(Work):
    def __init__(self, tasks: Sequence[Any], executor: Callable[[Any], Any]) -> None:
        self._tasks = tasks
        self._body = executor
        self._executor = executor_for(executor)

    def call(self, place: int, table: Table, first: int) -> Call:
        return self._executor, self._body, (self._tasks[place],), None

    def called(self) -> str:
        return name_of(self._body)


class ParallelRunner:
    """Runs tasks through one function, at most `concurrency` at once, each with at most `timeout` seconds.

    The timeout counts from the start of a task's code, `idle_timeout` from its last sign of life (`plait.current().heartbeat()`). They end
    the work: a coroutine is cancelled; a thread cannot be,
    so its slot stays taken until it ends, and its outcome says `enforced=False`. None means no limit, no timeout.

    Raises:
        LimitError: for limits and timeouts that cannot be.
    """

    def __init__(
        self,
        concurrency: int | None = 4,
        timeout: float | str | None = 300,
        *,
        grace: float | str = 5.0,
        idle_timeout: float | str | None = None,
    ) -> None:
        if concurrency is not None:
            count("concurrency", concurrency)
        self._concurrency = concurrency
        self._policy = policy(PLAIN, timeout=timeout, grace=grace, idle_timeout=idle_timeout)

    async def run_phase(
        self, tasks: Iterable[Any], executor: Callable[[Any], Awaitable[Any] | Any]
    ) -> list[PhaseResult[Any]]:
        """One result per task, in input order. A failure stops nothing else.

        `executor(task)` returns a value or an awaitable. A task whose `dependencies` name others of the phase starts
        after they are completed, and fails without running if they are not. With one independent task or none, tasks
        run one after the other.

        Raises:
            UsageError: for an executor that cannot be called; GraphError for tasks that wait for each other.
        """
        given = listed("tasks", tasks)
        sequential = len(get_independent_tasks(given)) <= 1
        return await self._run(given, executor, 1 if sequential else self._concurrency)

    async def run_sequential(
        self, tasks: Iterable[Any], executor: Callable[[Any], Awaitable[Any] | Any]
    ) -> list[PhaseResult[Any]]:
        """The same, one after the other."""
        return await self._run(listed("tasks", tasks), executor, 1)

    async def _run(self, tasks: list[Any], executor: Callable[[Any], Any], slots: int | None) -> list[PhaseResult[Any]]:
        work = _Phase(tasks, executor)
        places: dict[Any, list[int]] = {}
        for place, task in enumerate(tasks):
            places.setdefault(_id(task), []).append(place)
        needs = [tuple(place for need in _dependencies(task) for place in places.get(need, ())) for task in tasks]
        keys = [str(_id(task)) for task in tasks]
        refuse_cycles(keys, needs)
        batch = Batch(len(tasks), calls=work, keys=keys, needs=needs if any(needs) else None, policy=self._policy)  # type: ignore[arg-type]
        rules = Rules(max_concurrency=slots, on_failure=OnFailure.CONTINUE, grace=self._policy.grace)
        result = await finish(Driver(batch, rules, name="phase"))
        return list(map(partial(_phase_result), tasks, map(result.row, range(len(tasks)))))


def _phase_result(task: Any, outcome: Outcome) -> PhaseResult[Any]:
    if outcome.status is Status.SUCCEEDED:
        return PhaseResult(_id(task), "completed", None, outcome)
    status = "timeout" if outcome.status is Status.TIMED_OUT else "failed"
    return PhaseResult(_id(task), status, describe(outcome.error), outcome)
