"""Running graphs: `run`, `arun`, `start`, and `current` for the code inside."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from plait._core.policy import OnFailure, Rules, flag
from plait._core.result import RunResult
from plait._core.states import RunStatus
from plait._core.table import NONE
from plait._engine.doors import (
    DEFAULT,
    background_loop,
    blocking,
    finish,
    raise_for,
    refuse_inside,
    running_loop,
    slots,
)
from plait._engine.driver import Driver
from plait._engine.reading import hooks_of, readers_of, show, show_end
from plait._engine.spending import spend, tell
from plait.errors import LimitError, RunFailed, UsageError
from plait.executors.base import Attempt, CancelToken, Progress, beat_of_worker, current_attempt
from plait.programs import Program, compile_graph, compile_nodes
from plait.tasks import Graph, Node

if TYPE_CHECKING:
    from plait._engine.run import Run

R = TypeVar("R")

__all__ = ["Context", "arun", "current", "fork", "resume", "retry", "run", "start"]


def make_driver(
    target: Any,
    inputs: dict[str, Any] | None,
    max_concurrency: Any,
    options: dict[str, Any],
    *,
    store: Any = None,
    run_id: str | None = None,
    origin: dict[str, Any] | None = None,
    is_run: bool = True,
    **driving: Any,
) -> Driver:
    """A driver for whatever can be run; everything about it is checked here. `driving` goes to the driver.

    With `store` (a path, or a store) the run is kept there, under `run_id` where one is given; `origin` says where the
    command line found the target. Not `is_run`: it is never started, and needs no secrets.

    Raises:
        UsageError: for what cannot be run, or options that cannot be.
    """
    if isinstance(target, Graph):
        program = compile_graph(target)
    elif isinstance(target, Node):
        program = compile_nodes([target])
        (place,) = program.targets
        program = program.but(value=lambda result: result.table.values[place])
    elif isinstance(target, (list, tuple)) and all(isinstance(each, Node) for each in target):
        program = compile_nodes(target)
    elif hasattr(target, "program"):
        program = target.program(inputs or {})
    else:
        hint = ": bind it first" if callable(target) else ""
        raise UsageError(f"{target!r} cannot be run: give a node, a list of nodes, a Graph or a loaded file{hint}")
    given = {name: options.pop(name) for name in KEEPING if name in options}
    if "reap" in options:
        driving["reap"] = flag("reap", options.pop("reap"))
    readers = [*readers_of(options.pop("readers", ())), *hooks_of(options.pop("on_question", None))]
    store, run_id = given.get("store", store), given.get("run_id", run_id)
    if inputs and not hasattr(target, "program"):
        raise UsageError("inputs belong to workflow files: bind arguments instead")
    rules = rules_for(target, max_concurrency, options)
    if rules.health:
        from plait._core.health import check_monitored

        check_monitored(rules.health, dict(rules.pools), program.batch.kinds.values())
    if is_run and program.secrets is not None:
        driving.update(redactor=program.secrets.open(), hidden=program.secrets.names)
    if store is not None:
        driver: Driver = _kept(
            program, target, inputs or {}, rules, store, given.get("durability", "full"), run_id, origin, driving
        )
        show(driver, readers)
        return driver
    if run_id is not None or "durability" in given:
        raise UsageError("run_id and durability are for runs with a store: give store= too")
    driver = Driver(program.batch, rules, name=program.name, value=program.value, **driving)
    show(driver, readers)
    return driver


def rules_for(target: Any, max_concurrency: Any, options: dict[str, Any]) -> Rules:
    """The rules of a run: what the target says of them, and before that what is given here.

    Raises:
        UsageError: for options that are not known or cannot be.
    """
    defaults: dict[str, Any] = {}
    if isinstance(target, Graph):
        defaults = {"pools": target.pools, "on_conflict": target.on_conflict}
        if target.health:
            defaults["health"] = target.health
    elif hasattr(target, "rules"):
        defaults = target.rules()
    if max_concurrency is DEFAULT and "max_concurrency" in defaults:
        max_concurrency = defaults["max_concurrency"]
    unknown = set(options) - RULES
    if unknown:
        raise UsageError(
            f"unknown option {sorted(unknown)[0]!r} of a run; there are max_concurrency, {', '.join(sorted(RULES))}, reap, "
            "readers, on_question, store, run_id, durability"
        )
    chosen = {
        "on_failure": OnFailure.CONTINUE,
        **{name: value for name, value in defaults.items() if name != "max_concurrency"},
        **options,
    }
    if "health" in defaults and options.get("health") is not None:
        from plait._core.health import monitors_of  # few runs are watched

        chosen["health"] = {
            **dict(monitors_of("health", defaults["health"])),
            **dict(monitors_of("health", options["health"])),
        }
    rules = Rules.of(max_concurrency=slots(max_concurrency), **chosen)
    if isinstance(target, Graph) and target.shared_pools:
        rules = rules.but(sharing=target.shared_pools)
    return rules


RULES = frozenset(
    ("on_failure", "deadline", "grace", "crash_budget", "max_tasks_per_worker", "budget", "on_conflict", "health")
)
"""Options of runs beside their slots."""

KEEPING = ("store", "run_id", "durability")
"""Options of runs that a store keeps."""


def _kept(
    program: Program,
    target: Any,
    inputs: dict[str, Any],
    rules: Rules,
    store: Any,
    durability: str,
    run_id: str | None,
    origin: dict[str, Any] | None,
    driving: dict[str, Any],
) -> Driver:
    from plait.beginning import begin, definition_of
    from plait.stores.opening import open_store

    opened = open_store(store, durability)
    try:
        definition = definition_of(target, program, inputs, origin)
        return begin(opened, definition, rules, run_id=run_id, on_over=opened.close, **driving)
    except BaseException:
        opened.close()
        raise


@overload
async def arun(
    target: Node[R], *, max_concurrency: int | None = ..., raise_on_failure: bool = ..., **options: Any
) -> R: ...
@overload
async def arun(
    target: Graph, *, max_concurrency: int | None = ..., raise_on_failure: bool = ..., **options: Any
) -> RunResult: ...
@overload
async def arun(
    target: Any,
    *,
    inputs: dict[str, Any] | None = ...,
    max_concurrency: int | None = ...,
    raise_on_failure: bool = ...,
    **options: Any,
) -> Any: ...
async def arun(
    target: Any,
    *,
    inputs: dict[str, Any] | None = None,
    max_concurrency: int | None = DEFAULT,
    raise_on_failure: bool = True,
    **options: Any,
) -> Any:
    """Runs a node for its value (a list of nodes for a list), or a Graph or loaded file for its RunResult.

    `max_concurrency` slots (None: no limit), `on_failure` (`continue`, `finish`, `fail_fast`), `deadline` in seconds for
    the whole run. `health`, a `HealthMonitor` (or a mapping from pools to theirs), pauses starts while too many attempts fail.
    `max_tasks_per_worker`: so many calls run in a worker process, then another one takes its place. Cancelling the caller cancels the run.

    With `reap=True` (Linux) this process is a subreaper (prctl(2), PR_SET_CHILD_SUBREAPER) while the run goes on: what a command
    leaves behind in a session of its own ends with its task, too. Other children of this process are let be.

    Each of `readers` is called with every `RunEvent` from `run_started` on, and with None at the end, in a thread of its own and
    without holding up the run: up to 100,000 events wait for one that is slow, what comes then is dropped, and what a reader raises is
    logged. `plait.Metrics()` is one; see `flush_readers`. `on_question` is told in the same way when a question opens: a function is called with the
    `OpenQuestion`; a command (text for `/bin/sh -c`, or a list of words) gets it as a JSON line on its standard input.

    Raises:
        BaseException: for a node, the first cause's own exception, with notes.
        RunFailed: for a Graph or file, from that exception, unless `raise_on_failure=False`.
        UsageError, GraphError, LimitError: before anything starts.
    """
    driver = make_driver(target, inputs, max_concurrency, options)
    result = await finish(driver)
    whole = not isinstance(target, (Node, list, tuple))
    if not raise_on_failure:
        return result if whole else result.value
    if whole:
        _raise_for_run(result)
        return result
    raise_for(result)
    return result.value


def _raise_for_run(result: RunResult) -> None:
    if result.status is not RunStatus.SUCCEEDED:
        cause = result.first_cause
        message = f"run {result.run_id} {'was cancelled' if result.status is RunStatus.CANCELLED else 'failed'}"
        if result.status is RunStatus.FAILED:
            message += f": {result.reason}"
        raise RunFailed(message, result) from (cause.error if cause is not None else None)


@overload
def run(target: Node[R], *, max_concurrency: int | None = ..., raise_on_failure: bool = ..., **options: Any) -> R: ...
@overload
def run(
    target: Graph, *, max_concurrency: int | None = ..., raise_on_failure: bool = ..., **options: Any
) -> RunResult: ...
@overload
def run(
    target: Any,
    *,
    inputs: dict[str, Any] | None = ...,
    max_concurrency: int | None = ...,
    raise_on_failure: bool = ...,
    **options: Any,
) -> Any: ...
def run(
    target: Any,
    *,
    inputs: dict[str, Any] | None = None,
    max_concurrency: int | None = DEFAULT,
    raise_on_failure: bool = True,
    **options: Any,
) -> Any:
    """`arun`, blocking: from a script, a thread, or beside a running loop (Jupyter).

    Raises:
        UsageError: inside a coroutine that plait runs; and everything that `arun` raises.
        KeyboardInterrupt: after Ctrl-C, once running tasks were stopped (a second one raises at once).
    """
    refuse_inside("plait.run", "plait.arun(...)")
    return blocking(
        partial(
            arun, target, inputs=inputs, max_concurrency=max_concurrency, raise_on_failure=raise_on_failure, **options
        )
    )


def start(
    target: Any, *, inputs: dict[str, Any] | None = None, max_concurrency: int | None = DEFAULT, **options: Any
) -> Run:
    """Starts a run and gives the handle on it at once: on this loop if one runs here, else in plait's background thread.

    On a loop that ends before the run does, the run is cancelled.

    Raises:
        UsageError, GraphError, LimitError: before anything starts.
    """
    return _started(lambda: make_driver(target, inputs, max_concurrency, options))


def _started(make: Callable[[], Driver | RunResult]) -> Run:
    """The handle on what `make` gives: a driver that is started, on this loop or in the background, or a run that is over."""
    if running_loop() is not None:
        return _begin(make, kept=True)
    made: list[Run] = []
    failed: list[BaseException] = []
    ready = threading.Event()
    context = contextvars.copy_context()

    def begin() -> None:
        try:
            made.append(context.run(_begin, make, kept=False))
        except BaseException as error:
            failed.append(error)
        ready.set()

    background_loop().call_soon_threadsafe(begin)
    ready.wait()
    if failed:
        raise failed[0]
    return made[0]


_keepers: set[asyncio.Task[Any]] = set()


def _begin(make: Callable[[], Driver | RunResult], kept: bool) -> Run:
    from plait._engine.run import Run  # the handle, which `run` and `arun` do not give

    driver = make()
    if isinstance(driver, RunResult):
        return Run.over(driver)
    driver.keeper = None
    handle = Run(driver)
    driver.loop.call_soon(driver.start)  # so that events() can be read from the first one on
    if kept:
        keeper = driver.keeper = driver.loop.create_task(_keep(driver))
        _keepers.add(keeper)
        keeper.add_done_callback(_keepers.discard)
    return handle


def resume(
    run_id: str,
    target: Any = None,
    *,
    store: Any,
    accept_changes: bool = False,
    durability: str = "full",
    reap: bool = False,
    readers: Sequence[Callable[[Any], object]] = (),
    on_question: Callable[[Any], object] | str | Sequence[str] | None = None,
) -> Run:
    """Goes on with a stored run whose process died, left it or was paused; the handle on it, as `start` gives.

    `run_id` is an id, the beginning of one, or `last`. What was reported is never run again; what was running is, unless its
    `on_interrupt` says `fail`. A workflow file is read again from its path, a graph that was built in Python is made again of
    what is stored of it: where that cannot be (a lambda, an argument that is no plain data) give the graph as `target`. A run
    that is over is not touched: the handle has its result. `reap` as with `arun`, and so `readers`: they are shown what this
    process does of the run, `plait.Metrics` goes on from what the run had come to; of one that is over it has
    all the figures, and no events are shown, only None (see `retell`).

    Raises:
        RunOwned: while a living process drives the run.
        RunChanged: for a definition that was edited, unless `accept_changes`: then what the edit touches runs again, with
            all that needs it and all that had not succeeded.
        RunNotFound, StoreError, UsageError: where the run cannot go on. Nothing was changed then.
    """
    from plait.resuming import reopen

    return _started(
        on_store(
            store,
            durability,
            lambda opened, **driving: reopen(opened, run_id, target, accept_changes=accept_changes, **driving),
            reap,
            readers,
            on_question,
        )
    )


def retry(
    run_id: str,
    target: Any = None,
    *,
    store: Any,
    durability: str = "full",
    reap: bool = False,
    readers: Sequence[Callable[[Any], object]] = (),
    on_question: Callable[[Any], object] | str | Sequence[str] | None = None,
) -> Run:
    """Another generation of a stored run that is over: what did not succeed runs again, with all that needs it.

    The run keeps its id and its history. Everything else as with `resume`; `readers` see the new generation.

    Raises:
        UsageError: for a run that is not over, or that succeeded.
        RunOwned, RunNotFound, RunChanged, StoreError: where it cannot be.
    """
    from plait.resuming import retry as again

    return _started(
        on_store(
            store,
            durability,
            lambda opened, **driving: again(opened, run_id, target, **driving),
            reap,
            readers,
            on_question,
        )
    )


def fork(
    run: str,
    start: str,
    target: Any = None,
    *,
    store: Any,
    run_id: str | None = None,
    durability: str = "full",
    reap: bool = False,
    readers: Sequence[Callable[[Any], object]] = (),
    on_question: Callable[[Any], object] | str | Sequence[str] | None = None,
) -> Run:
    """A new run that takes over what `run` finished, but for the task `start`, what an edit touches, and all that needs those.

    `start` is a key, or the path of a task that another one grew (`compile[3]`). `run_id` is the new run's. The other run stays as it is, also while it
    goes on. `reap` and `readers` as with `arun`.

    Raises:
        UsageError: for a task that is not there.
        RunNotFound, StoreError: where it cannot be.
    """
    from plait.resuming import fork as forked

    return _started(
        on_store(
            store,
            durability,
            lambda opened, **driving: forked(opened, run, start, target, new_id=run_id, **driving),
            reap,
            readers,
            on_question,
        )
    )


def on_store(
    store: Any,
    durability: str,
    what: Callable[..., Any],
    reap: bool = False,
    readers: Sequence[Callable[[Any], object]] = (),
    on_question: Any = None,
) -> Callable[[], Driver | RunResult]:
    """What gives a driver, or the result of a run that is over, on an opened store."""
    shown = [*readers_of(readers), *hooks_of(on_question)]

    def make() -> Driver | RunResult:
        from plait.stores.opening import open_store

        opened = open_store(store, durability, create=False)
        try:
            reopened = what(opened, on_over=opened.close)
            if reopened.driver is not None:
                show(reopened.driver, shown)
            else:
                show_end(opened, reopened.run, shown)
        except BaseException:
            opened.close()
            raise
        if reopened.driver is None:
            opened.close()
            result: RunResult = reopened.result
            return result
        driver: Driver = reopened.driver
        driver.reap = reap
        return driver

    return make


async def _keep(driver: Driver) -> None:
    """Cancels the run when its loop is being shut down, and waits for its end. What ended it is the handle's to tell."""
    try:
        await asyncio.wait((driver.done,))
    except asyncio.CancelledError:
        driver.interrupt()
        await asyncio.wait((driver.done,))


MOST_SPENT = 1e15
"""In one go: sums of these stay exact, and can be shown."""


class Context:
    """What the code of a task may know of itself and tell of its progress: what `current()` gives."""

    __slots__ = ("_attempt",)

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._sink.id

    @property
    def key(self) -> str:
        """The path of this task."""
        return self._sink.table.key(self._attempt.task)

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._attempt.number

    @property
    def error(self) -> BaseException | None:
        """Inside an `on_error`: what its task failed of; None elsewhere. After a crash what was recorded of it."""
        table, task = self._sink.table, self._attempt.task
        while task != NONE:
            if table.batch_of(task)[0].is_repair:
                return table.failures[table.parent(task)].error
            task = table.parent(task)
        return None

    @property
    def signal(self) -> CancelToken:
        """Fires when this attempt is to stop."""
        return self._attempt.signal

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """The logger `plait.task`, with `run`, `task` and `attempt` on every record."""
        extra = {"run": self.run_id, "task": self.key, "attempt": self.attempt}
        return _Log(self.heartbeat, logging.getLogger("plait.task"), extra)

    def heartbeat(self) -> None:
        """Says that this task is alive: its `idle_timeout` begins anew. So does what it logs by `log`, its `progress` and its `spend`.

        From any thread, and in a worker process; it is a write into memory, and may be called a million times.
        """
        attempt = self._attempt
        attempt.heard = attempt.sink.clock()

    def progress(self, share: float) -> None:
        """Says how much of the work is done, from 0 to 1; shown by live displays.

        Raises:
            ValueError: outside that range.
        """
        if isinstance(share, bool) or not 0 <= share <= 1:
            raise ValueError(f"progress must be from 0 to 1, not {share!r}")
        self.heartbeat()
        tell(self._sink, partial(self._sink.report, self._attempt, Progress(float(share))))

    def spend(self, **units: float) -> None:
        """Says what this task has used up since it said so last, `spend(tokens=1200, usd=0.02)`: counted for every budget around it.

        Budgets are looked at before each start: what runs goes on, also above one.

        Raises:
            ValueError: for what is no number from 0 to 1e15, and for `seconds`, which are counted without being told.
        """
        if "seconds" in units:
            raise LimitError(
                "seconds are counted by plait itself, those of the code of each attempt: spend other units"
            )
        for unit, number in units.items():
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number <= MOST_SPENT:
                raise ValueError(f"{unit} must be a number from 0 to {MOST_SPENT:g}, not {number!r:.80}")
        if not units:
            return
        spend(self._attempt, units)

    @property
    def _sink(self) -> Driver:
        sink = self._attempt.sink
        assert isinstance(sink, Driver)
        return sink

    def __repr__(self) -> str:
        return f"<Context of task {self.key!r}, attempt {self.attempt}, run {self.run_id}>"


class _Log(logging.LoggerAdapter[logging.Logger]):
    """What a task logs is a sign of life, whether anybody listens or not."""

    def __init__(self, heartbeat: Callable[[], None], logger: logging.Logger, extra: dict[str, Any]) -> None:
        super().__init__(logger, extra)
        self._heartbeat = heartbeat

    def isEnabledFor(self, level: int) -> bool:
        """Asked by every call, before anything else."""
        self._heartbeat()
        return super().isEnabledFor(level)


class _InWorker(Context):
    """What the code of a task may tell in a worker process."""

    __slots__ = ("_beat",)

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat

    def heartbeat(self) -> None:
        """Says that this task is alive."""
        self._beat()

    @property
    def _attempt(self) -> Attempt:  # type: ignore[override]
        raise UsageError(
            "in a worker process plait.current() has heartbeat() alone: the rest is known where the run is driven"
        )

    def __repr__(self) -> str:
        return "<Context of a task in a worker process>"


def current() -> Context:
    """The context of the task whose code calls this, on the loop or in a thread; in a worker process it has `heartbeat()` alone.

    Raises:
        UsageError: outside of any task.
    """
    attempt = current_attempt()
    if attempt is not None:
        return Context(attempt)
    beat = beat_of_worker()
    if beat is None:
        raise UsageError("plait.current() is for code inside a task, and none runs here")
    return _InWorker(beat)
