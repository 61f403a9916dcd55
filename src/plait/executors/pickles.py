"""Calls and what they come to, as they travel to worker processes and back."""

from __future__ import annotations

import pickle
from contextlib import suppress
from typing import Any

from plait.errors import MissingExtra, NotPicklable, RecordedError, WorkerFailed
from plait.executors.base import Attempt, Call, Ended
from plait.executors.worker import RETURNED, UNREADABLE, UNSENDABLE, Stopped
from plait.references import reference


class Encoder:
    """Calls as workers take them."""

    def __init__(self) -> None:
        self._last: Any = None
        self._name: str | None = None

    def encoded(self, call: Call, memory: int | None = None) -> bytes:
        """A call as a worker takes it: its function by name where it has one that finds it, and pickled arguments.

        `memory`: so many bytes may be added to what the worker has, while it runs.

        Raises:
            NotPicklable: for arguments that cannot travel, by their type.
            MissingExtra: for a function without a name, where the library that could send it is not there.
        """
        _, body, args, kwargs = call
        if (
            body is not self._last
        ):  # most runs call one function many times, and finding its name takes longer than the rest
            self._name = reference(body)
            self._last = body
        if memory is not None:
            return _encoded(self._name, body, (tuple(args), dict(kwargs or {}), memory))
        if self._name is not None:
            try:
                return pickle.dumps((self._name, args, kwargs), pickle.HIGHEST_PROTOCOL)
            except Exception:
                pass  # told below
        return _encoded(self._name, body, (tuple(args), dict(kwargs or {})))


def _encoded(named: str | None, body: Any, given: tuple[Any, ...]) -> bytes:
    try:
        if named is not None:
            return pickle.dumps((named, *given), pickle.HIGHEST_PROTOCOL)
        try:
            return pickle.dumps((body, *given), pickle.HIGHEST_PROTOCOL)
        except Exception:
            _check_arguments(given)
        return _of_a_closure((body, *given))
    except (NotPicklable, MissingExtra):
        raise
    except Exception as error:
        _check_arguments(given)
        raise NotPicklable(f"the call cannot be sent to a worker process: {error}") from None


def _check_arguments(given: tuple[Any, ...]) -> None:
    """Nothing, if each argument can travel; NotPicklable with the first that cannot."""
    args, kwargs, *_ = given
    for place, value in [*enumerate(args), *kwargs.items()]:
        try:
            pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            kind = type(value)
            which = f"argument {place + 1}" if isinstance(place, int) else f"argument {place!r}"
            raise NotPicklable(
                f"{which}, of type {kind.__module__}.{kind.__qualname__}, cannot be sent to a worker process: {error}"
            ) from None


def _of_a_closure(call: tuple[Any, ...]) -> bytes:
    try:
        import cloudpickle  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise MissingExtra(
            f"{call[0]!r} cannot be sent to a worker process by name: put it at the top of a module, or install plait[process], which "
            "sends closures and lambdas"
        ) from None
    data: bytes = cloudpickle.dumps(call)
    return data


def end_of(kind: int, data: bytes, at: float, attempt: Attempt) -> Ended:
    """What a worker's last word on a call comes to."""
    stopped = attempt.stopped_at is not None and attempt.stopped_at <= at
    try:
        found = pickle.loads(data)
    except BaseException as error:  # whatever its class does when it is read
        return Ended(
            at, error=NotPicklable(f"its result cannot be read: {type(error).__name__}: {error}"), stopped=stopped
        )
    if kind == RETURNED:
        return Ended(at, value=found, stopped=stopped)
    if kind == UNSENDABLE:
        return Ended(at, error=NotPicklable(f"its result cannot be sent back: {found}"), stopped=stopped)
    if kind == UNREADABLE:
        return Ended(at, error=WorkerFailed(f"the worker process cannot make the call: {found}"), stopped=stopped)
    raised, trace = found
    if isinstance(raised, Stopped):
        return Ended(at, stopped=True)
    if isinstance(raised, BaseException):
        with suppress(Exception):  # of a class that makes its own of that
            raised.__cause__ = RecordedError(f"in the worker process:\n{trace}", type(raised).__name__, trace)
        return Ended(at, error=raised, stopped=stopped)
    try:
        name, text, after = raised
        told = RecordedError(f"{name}: {text}", name, trace)
    except Exception:
        return Ended(
            at,
            error=NotPicklable(f"what it raised cannot be read, and comes as {type(raised).__name__}"),
            stopped=stopped,
        )
    told.retryable = True  # as the exception itself would be
    told.retry_after = after
    return Ended(at, error=told, stopped=stopped)
