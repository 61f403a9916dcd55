"""plait runs many tasks in parallel and never loses track of them. This module re-exports the public names.

concurrency   run_with_concurrency, amap, map_: a flat list of work
    streams       as_completed: outcomes as they end, of an endless source
runner        ParallelRunner, get_independent_tasks: a phase of tasks
tasks         task, Graph, Node, shell: graphs in Python
runs          run, arun, start, current: running them; resume, retry, fork: going on with stored ones
asking        ask, ask_for: people's answers, inside a task and as one;  approving  approve;  opened  open_run: answering from another process
history       list_runs, show_run, why, read_logs, retell, collect_garbage: looking at stored runs
flow          load: workflow files
patterns      union, majority, quorum, partial, ...: many results made one; Lock
models        language models, their providers, answers that fit a schema (imported by its own name)
errors        the exception tree
testing       a virtual clock, scripted executors, seeded simulation (imported by its own name)
_core         the pure scheduler;  _engine  the only event loop;  executors  where code runs
observe       readers of events: Metrics, exporters;   cli   the command line
"""

from __future__ import annotations

from plait._version import __version__ as __version__

TYPE_CHECKING = False  # that of `typing` costs milliseconds, and each worker process would wait for it
if TYPE_CHECKING:
    from typing import Any

    from plait._core.health import HealthMonitor as HealthMonitor
    from plait._core.health import HealthReport as HealthReport
    from plait._core.outcome import Outcome as Outcome
    from plait._core.policy import Pool as Pool
    from plait._core.policy import Rate as Rate
    from plait._core.policy import Retry as Retry
    from plait._core.result import RunResult as RunResult
    from plait._core.states import RunStatus as RunStatus
    from plait._core.states import Status as Status
    from plait._core.why import Why as Why
    from plait._engine.run import Run as Run
    from plait.approving import approve as approve
    from plait.asking import ask as ask
    from plait.asking import ask_for as ask_for
    from plait.concurrency import ConcurrencyResult as ConcurrencyResult
    from plait.concurrency import amap as amap
    from plait.concurrency import map_ as map_
    from plait.concurrency import run_with_concurrency as run_with_concurrency
    from plait.errors import ChildFailed as ChildFailed
    from plait.errors import CommandFailed as CommandFailed
    from plait.errors import ConflictError as ConflictError
    from plait.errors import FlowError as FlowError
    from plait.errors import GraphError as GraphError
    from plait.errors import HttpError as HttpError
    from plait.errors import InvariantError as InvariantError
    from plait.errors import JudgedFailed as JudgedFailed
    from plait.errors import LimitError as LimitError
    from plait.errors import LockTimeout as LockTimeout
    from plait.errors import MissingExtra as MissingExtra
    from plait.errors import NotDecided as NotDecided
    from plait.errors import NotPicklable as NotPicklable
    from plait.errors import NotRun as NotRun
    from plait.errors import NotStorable as NotStorable
    from plait.errors import OwnershipLost as OwnershipLost
    from plait.errors import PlaitError as PlaitError
    from plait.errors import RecordedError as RecordedError
    from plait.errors import Rejected as Rejected
    from plait.errors import RetryAfter as RetryAfter
    from plait.errors import RunCancelled as RunCancelled
    from plait.errors import RunChanged as RunChanged
    from plait.errors import RunFailed as RunFailed
    from plait.errors import RunInterrupted as RunInterrupted
    from plait.errors import RunNotFound as RunNotFound
    from plait.errors import RunOwned as RunOwned
    from plait.errors import StoreDamaged as StoreDamaged
    from plait.errors import StoreError as StoreError
    from plait.errors import StoreTooNew as StoreTooNew
    from plait.errors import TaskCancelled as TaskCancelled
    from plait.errors import TaskError as TaskError
    from plait.errors import TaskInterrupted as TaskInterrupted
    from plait.errors import TaskTimedOut as TaskTimedOut
    from plait.errors import UsageError as UsageError
    from plait.errors import WorkerFailed as WorkerFailed
    from plait.executors.tokens import CancelToken as CancelToken
    from plait.flow import load as load
    from plait.history import LogPart as LogPart
    from plait.history import StoredRun as StoredRun
    from plait.history import collect_garbage as collect_garbage
    from plait.history import list_runs as list_runs
    from plait.history import read_logs as read_logs
    from plait.history import retell as retell
    from plait.history import show_run as show_run
    from plait.history import why as why
    from plait.observe.metrics import Metrics as Metrics
    from plait.observe.otel import OpenTelemetryExporter as OpenTelemetryExporter
    from plait.observe.prometheus import PrometheusExporter as PrometheusExporter
    from plait.observe.questions import OpenQuestion as OpenQuestion
    from plait.observe.readers import flush_readers as flush_readers
    from plait.observe.stream import RunEvent as RunEvent
    from plait.opened import OpenRun as OpenRun
    from plait.opened import open_run as open_run
    from plait.patterns.locks import Lock as Lock
    from plait.patterns.reducers import Partial as Partial
    from plait.patterns.reducers import Reduced as Reduced
    from plait.patterns.reducers import first_success as first_success
    from plait.patterns.reducers import frequency as frequency
    from plait.patterns.reducers import intersection as intersection
    from plait.patterns.reducers import majority as majority
    from plait.patterns.reducers import partial as partial
    from plait.patterns.reducers import quorum as quorum
    from plait.patterns.reducers import union as union
    from plait.patterns.reducers import weighted as weighted
    from plait.runner import ParallelRunner as ParallelRunner
    from plait.runner import get_independent_tasks as get_independent_tasks
    from plait.runs import Context as Context
    from plait.runs import arun as arun
    from plait.runs import current as current
    from plait.runs import fork as fork
    from plait.runs import resume as resume
    from plait.runs import retry as retry
    from plait.runs import run as run
    from plait.runs import start as start
    from plait.streams import as_completed as as_completed
    from plait.tasks import Graph as Graph
    from plait.tasks import Node as Node
    from plait.tasks import TaskFunction as TaskFunction
    from plait.tasks import shell as shell
    from plait.tasks import task as task
    from plait.web import http as http

# Where each name lives: read by `__getattr__`, so that `import plait` costs next to nothing.
_HOMES = {
    "plait._core.health": ("HealthMonitor", "HealthReport"),
    "plait._core.outcome": ("Outcome",),
    "plait._core.result": ("RunResult",),
    "plait._core.policy": ("Pool", "Rate", "Retry"),
    "plait._core.states": ("RunStatus", "Status"),
    "plait._core.why": ("Why",),
    "plait._engine.run": ("Run",),
    "plait.approving": ("approve",),
    "plait.asking": ("ask", "ask_for"),
    "plait.concurrency": ("ConcurrencyResult", "amap", "map_", "run_with_concurrency"),
    "plait.errors": (
        "ChildFailed",
        "CommandFailed",
        "ConflictError",
        "FlowError",
        "GraphError",
        "HttpError",
        "InvariantError",
        "JudgedFailed",
        "LimitError",
        "LockTimeout",
        "MissingExtra",
        "NotDecided",
        "NotPicklable",
        "NotRun",
        "NotStorable",
        "OwnershipLost",
        "PlaitError",
        "RecordedError",
        "Rejected",
        "RetryAfter",
        "RunCancelled",
        "RunChanged",
        "RunFailed",
        "RunInterrupted",
        "RunNotFound",
        "RunOwned",
        "StoreDamaged",
        "StoreError",
        "StoreTooNew",
        "TaskCancelled",
        "TaskError",
        "TaskInterrupted",
        "TaskTimedOut",
        "UsageError",
        "WorkerFailed",
    ),
    "plait.executors.tokens": ("CancelToken",),
    "plait.flow": ("load",),
    "plait.history": ("LogPart", "StoredRun", "collect_garbage", "list_runs", "read_logs", "retell", "show_run", "why"),
    "plait.observe.metrics": ("Metrics",),
    "plait.observe.otel": ("OpenTelemetryExporter",),
    "plait.observe.prometheus": ("PrometheusExporter",),
    "plait.observe.questions": ("OpenQuestion",),
    "plait.observe.readers": ("flush_readers",),
    "plait.observe.stream": ("RunEvent",),
    "plait.opened": ("OpenRun", "open_run"),
    "plait.patterns.locks": ("Lock",),
    "plait.patterns.reducers": (
        "Partial",
        "Reduced",
        "first_success",
        "frequency",
        "intersection",
        "majority",
        "partial",
        "quorum",
        "union",
        "weighted",
    ),
    "plait.runner": ("ParallelRunner", "get_independent_tasks"),
    "plait.runs": ("Context", "arun", "current", "fork", "resume", "retry", "run", "start"),
    "plait.streams": ("as_completed",),
    "plait.tasks": ("Graph", "Node", "TaskFunction", "shell", "task"),
    "plait.web": ("http",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME_OF]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'plait' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
