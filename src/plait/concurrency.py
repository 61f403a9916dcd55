"""A flat list of work: `run_with_concurrency`, `amap`, `map_`. A graph without needs, each of them."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from plait._core.graph import Batch, Numbered
from plait._core.limits import owned
from plait._core.policy import PLAIN, OnFailure, Rules, policy
from plait._core.scheduler import describe
from plait._core.states import Status
from plait._core.table import NONE, Table
from plait._engine.doors import DEFAULT, blocking, finish, raise_for, refuse_inside, running_loop, slots
from plait._engine.driver import Driver
from plait._engine.reading import readers_of, show
from plait._engine.work import Call, Growth, RawFiles, Wanted, Work
from plait.errors import JudgedFailed, UsageError
from plait.executors.base import CancelToken, Wanting, check_memory, current_attempt, executor_for, name_of, wanting

if TYPE_CHECKING:
    from plait._core.outcome import Outcome

T = TypeVar("T")
R = TypeVar("R")

__all__ = ["ConcurrencyResult", "amap", "map_", "run_with_concurrency"]


class _Flat(Work):
    """The same call for every item."""

    def __init__(
        self, function: Callable[..., Any], items: Sequence[Any], executor: str, wants: Wanting | None
    ) -> None:
        self._function = function
        self._items = items
        self._executor = executor
        self._wants = wants
        self.filed = range(len(items)) if wants is not None and wants.names_files else ()

    def call(self, place: int, table: Table, first: int) -> Call:
        return self._executor, self._function, (self._items[place],), None

    def decide(self, place: int, table: Table, first: int) -> bool:
        return True

    def wants(self, place: int, table: Table, first: int) -> Wanted | None:
        return None if self._wants is None else self._wants.of((self._items[place],), None)

    def files(self, place: int) -> RawFiles | None:
        return None if self._wants is None else self._wants.files((self._items[place],), None)


class _EveryType:
    """Holds every type."""

    def __contains__(self, kind: object) -> bool:
        return True


_EVERY_TYPE = _EveryType()


class _Bodies(Work):
    """A different body for every place, each given the child signal of its attempt."""

    def __init__(self, bodies: Sequence[Callable[..., Any]], is_failed: Callable[[Any], object] | None) -> None:
        self._bodies = bodies
        self._executors = [executor_for(body) for body in bodies]
        self._is_failed = is_failed
        self.suspects = _EVERY_TYPE if is_failed is not None else ()

    def call(self, place: int, table: Table, first: int) -> Call:
        body = self._bodies[place]
        return self._executors[place], partial(_with_signal, body), (), None

    def check(self, place: int, value: Any, table: Table, first: int) -> Growth | None:
        assert self._is_failed is not None
        if self._is_failed(value):
            raise JudgedFailed(value)
        return None


def _with_signal(body: Callable[[CancelToken], Any]) -> Any:
    attempt = current_attempt()
    assert attempt is not None
    return body(attempt.signal)


class ConcurrencyResult(Generic[T]):
    """What `run_with_concurrency` came to: an outcome for every task, the values there are, and what failed first.

    `aborted` tells the caller's own signal from a failure: a run that a failure stopped is not aborted.
    """

    def __init__(self, outcomes: Sequence[Outcome], aborted: bool, trigger_index: int | None) -> None:
        self.outcomes = outcomes
        """One per task, in input order, also for tasks that never started."""
        self.aborted = aborted
        """True only when the caller's own signal fired before all tasks were final."""
        self.trigger_index = trigger_index
        """The task that failed first in time; None if none did."""

    @property
    def results(self) -> list[T]:
        """The values of bodies that returned, also of those judged failed, in input order; may be shorter than the input."""
        return [
            each.value
            for each in self.outcomes
            if each.status is Status.SUCCEEDED or isinstance(each.error, JudgedFailed)
        ]

    @property
    def first_failure_index(self) -> int | None:
        """The lowest index that failed by itself, victims apart; None if none did."""
        failed = (Status.FAILED, Status.TIMED_OUT)
        return next((at for at, each in enumerate(self.outcomes) if each.status in failed), None)

    def __repr__(self) -> str:
        statuses = [str(each.status) for each in self.outcomes]
        counted = ", ".join(f"{statuses.count(name)} {name}" for name in dict.fromkeys(statuses))
        first = self.trigger_index
        why = "" if first is None else f"; first failure: task {first}: {describe(self.outcomes[first].error)}"
        return f"<ConcurrencyResult: {counted or 'no tasks'}, aborted={self.aborted}{why}>"


async def run_with_concurrency(
    tasks: Iterable[Callable[[CancelToken], Awaitable[T] | T]],
    max_concurrency: int | None = 3,
    signal: CancelToken | None = None,
    is_failed: Callable[[T], object] | None = None,
    *,
    grace: float | str = 5.0,
) -> ConcurrencyResult[T]:
    """Runs each of `tasks`, at most `max_concurrency` at once (None: no limit), and stops at the first failure.

    Each body is called with a child signal. The first that raises, or whose value `is_failed` judges failed (or on which
    `is_failed` itself raises), has the signal fired in every other running body, coroutines cancelled, and nothing new
    started. `signal` is the caller's: when it fires, all are stopped; it is never fired here. A body that does not stop
    delays the return by `grace` seconds at most and is reported with `enforced=False`.

    Returns outcomes in input order; no task's exception escapes.

    Raises:
        LimitError: for a limit that is not a whole number of at least 1, also with no tasks.
        UsageError: for a task that cannot be called; nothing has run then.
    """
    rules = Rules.of(max_concurrency=max_concurrency, on_failure=OnFailure.FAIL_FAST, grace=grace)
    if is_failed is not None and (not callable(is_failed) or executor_for(is_failed) == "async"):
        raise UsageError(f"is_failed must be a plain function of a value, not {is_failed!r}")
    if signal is not None and not isinstance(signal, CancelToken):
        raise UsageError(f"signal must be a plait.CancelToken, not {signal!r}")
    bodies = listed("tasks", tasks)
    work = _Bodies(bodies, is_failed)
    batch = Batch(len(bodies), calls=work, keys=Numbered("task", len(bodies)), policy=policy(PLAIN, grace=grace))  # type: ignore[arg-type]
    driver = Driver(batch, rules, name="run_with_concurrency")
    aborted: list[bool] = []

    def abort() -> None:
        if not driver.done.done():
            aborted.append(True)
            driver.cancel()

    def fired() -> None:
        if running_loop() is driver.loop:
            abort()  # at once: a body on this very loop fired it
            return
        try:
            driver.loop.call_soon_threadsafe(abort)
        except RuntimeError:
            pass  # the loop is closed: the run is over

    if signal is not None and not signal.listen(fired):
        return ConcurrencyResult(_never_started(driver), True, None)
    try:
        result = await finish(driver)
    finally:
        if signal is not None:
            signal.unlisten(fired)
    first = driver.scheduler.first_cause
    outcomes = _outcomes(result.table, range(len(bodies)), result.unix)
    return ConcurrencyResult(outcomes, bool(aborted), None if first == NONE else first)


def _never_started(driver: Driver) -> Sequence[Outcome]:
    """The outcomes of a run that was over before it began."""
    table = Table()
    rows = table.add(driver._batch, NONE, 0, driver.now)
    table.sweep(driver.now)
    return _outcomes(table, rows, driver.unix)


def _outcomes(table: Table, rows: range, unix: Callable[[float], float]) -> Sequence[Outcome]:
    from plait._core.outcome import Outcomes  # only these callers see outcomes

    return Outcomes(table, rows, unix)


def listed(name: str, items: Any) -> list[Any]:
    """The items of an iterable.

    Raises:
        UsageError: for what is none, by name; what iterating it raises passes through.
    """
    if isinstance(items, AsyncIterable):
        raise UsageError(f"{name} are async: read them through plait.as_completed")
    if not isinstance(items, Iterable):
        raise UsageError(f"{name} must be iterable, not {items!r}")
    return list(items)


def refuse_of_groups(options: dict[str, Any]) -> None:
    """Nothing, unless there are options of groups: a flat list gives all that there is.

    Raises:
        UsageError: then, by name.
    """
    for name in ("reduce", "min_success", "max_failures"):
        if name in options:
            raise UsageError(f"{name} belongs to a group of a graph: plait.task(function).map(items, {name}=...)")


def _flat_driver(
    function: Callable[..., Any],
    items: Sequence[Any],
    executor: str | None,
    max_concurrency: Any,
    options: dict[str, Any],
) -> Driver:
    executor = executor_for(function, executor)
    refuse_of_groups(options)
    readers = readers_of(options.pop("readers", ()))
    wants = wanting(options)
    work = _Flat(function, items, executor, wants)
    deadline = options.pop("deadline", None)
    rules = Rules.of(
        max_concurrency=slots(max_concurrency),
        on_failure=options.pop("on_failure", OnFailure.FAIL_FAST),
        deadline=deadline,
        grace=options.get("grace", 5.0),
        max_tasks_per_worker=options.pop("max_tasks_per_worker", None),
        budget=options.pop("budget", None),
        health=options.pop("health", None),
    )
    name = name_of(function)
    made = owned(policy(PLAIN, **options), name)
    if rules.health:
        from plait._core.health import check_monitored  # few runs are watched

        check_monitored(rules.health, (), (made,))
    check_memory(made, executor)
    conditional = range(len(items)) if wants is not None and wants.decides else ()
    batch = Batch(len(items), calls=work, keys=Numbered(name, len(items)), policy=made, conditional=conditional)  # type: ignore[arg-type]
    driver = Driver(batch, rules, name=name)
    show(driver, readers)
    return driver


@overload
async def amap(
    function: Callable[[T], Awaitable[R]],
    items: Iterable[T],
    *,
    max_concurrency: int | None = ...,
    executor: str | None = ...,
    **options: Any,
) -> list[R]: ...
@overload
async def amap(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    max_concurrency: int | None = ...,
    executor: str | None = ...,
    **options: Any,
) -> list[R]: ...
async def amap(
    function: Callable[[T], Any],
    items: Iterable[T],
    *,
    max_concurrency: int | None = DEFAULT,
    executor: str | None = None,
    **options: Any,
) -> list[Any]:
    """The values of `function(item)` in the order of `items`, at most `max_concurrency` at once (None: no limit).

    Coroutine functions run on this loop, others in threads. `options` are those of a task (`retries=2`, `timeout=30`,
    `priority`, `grace`, ...); `deadline`, in seconds, is that of the whole call; with `executor="process"` a worker is replaced
    after `max_tasks_per_worker` calls. With `on_failure="continue"` or
    `"finish"` the others go on after a failure; it is raised in the end all the same. `readers` are shown its events, see `arun`.

    Raises:
        BaseException: the first failure in time, the function's own exception with notes; the rest was cancelled.
        RunFailed: where no task's exception is the cause (the deadline passed, abandoned attempts hold every slot).
        LimitError, UsageError: for options that cannot be, before anything runs.
    """
    driver = _flat_driver(function, listed("items", items), executor, max_concurrency, options)
    result = await finish(driver)
    raise_for(result)
    return values_of(result.table, range(len(result)))


def values_of(table: Table, rows: range) -> list[Any]:
    """The values of `rows`, in order; None for a failure that was allowed."""
    return table.values[rows.start : rows.stop]


@overload
def map_(
    function: Callable[[T], Awaitable[R]],
    items: Iterable[T],
    *,
    max_concurrency: int | None = ...,
    executor: str | None = ...,
    **options: Any,
) -> list[R]: ...
@overload
def map_(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    max_concurrency: int | None = ...,
    executor: str | None = ...,
    **options: Any,
) -> list[R]: ...
def map_(
    function: Callable[[T], Any],
    items: Iterable[T],
    *,
    max_concurrency: int | None = DEFAULT,
    executor: str | None = None,
    **options: Any,
) -> list[Any]:
    """`amap`, blocking: from a script, a thread, or beside a running loop (Jupyter).

    Raises:
        UsageError: inside a coroutine that plait runs; and everything that `amap` raises.
        KeyboardInterrupt: after Ctrl-C, once running tasks were stopped (a second one raises at once).
    """
    refuse_inside("plait.map_", "plait.amap(...)")
    return blocking(partial(amap, function, items, max_concurrency=max_concurrency, executor=executor, **options))
