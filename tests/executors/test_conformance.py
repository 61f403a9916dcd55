"""Every executor passes every check of the conformance suite."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import bodies
from plait.calls.shell import ShellCommand
from plait.executors.async_ import AsyncExecutor
from plait.executors.base import current_attempt
from plait.executors.processes import ProcessExecutor, _cpus
from plait.executors.shell import ShellExecutor
from plait.executors.threads import ThreadExecutor
from plait.testing.conformance import CHECKS, Kind


async def give() -> str:
    return "value"


async def give_later() -> str:
    await asyncio.sleep(0)
    return "value"


async def throw(kind: type[BaseException]) -> None:
    raise kind("odd")


async def throw_later(kind: type[BaseException]) -> None:
    await asyncio.sleep(0)
    raise kind("odd")


async def sleep() -> None:
    await asyncio.sleep(3600)


async def deaf() -> None:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass


def raise_at_call() -> None:
    raise StopIteration


def throw_in_thread(kind: type[BaseException]) -> None:
    raise kind("odd")


def sleep_in_thread() -> None:
    attempt = current_attempt()
    assert attempt is not None
    signal = attempt.signal
    stop = threading.Event()
    if signal.listen(stop.set):
        stop.wait(3600)


def deaf_in_thread() -> None:
    threading.Event().wait(20)


ODD = (SystemExit, KeyboardInterrupt, GeneratorExit, BaseException, asyncio.CancelledError)

KINDS = [
    Kind(
        "async", AsyncExecutor, (give, ()), (throw, (ValueError,)), (sleep, ()), (deaf, ()),
        odd_ends=(*((throw, (kind,)) for kind in ODD), *((throw_later, (kind,)) for kind in ODD), (raise_at_call, ())),
    ),
    Kind("async that suspends", AsyncExecutor, (give_later, ()), (throw_later, (ValueError,)), (sleep, ()), (deaf, ())),
    Kind(
        "thread", ThreadExecutor, (str, ("value",)), (throw_in_thread, (ValueError,)), (sleep_in_thread, ()), (deaf_in_thread, ()),
        odd_ends=tuple((throw_in_thread, (kind,)) for kind in ODD),
    ),
    Kind(
        "shell", ShellExecutor, (ShellCommand(()), (("echo", "value"),)), (ShellCommand(()), (("false",),)), (ShellCommand(()), (("sleep", "3600"),)),
        (ShellCommand(""), ("trap '' TERM; while :; do sleep 1; done",)),
        odd_ends=((ShellCommand(()), (("/no/such/program",),)), (ShellCommand(()), (("nul\0",),)), (ShellCommand(""), ("kill -9 $$",)), (ShellCommand(()), (("/etc",),))),
        forces=True, dies=(ShellCommand(""), ("kill -9 $$",)), says=(ShellCommand(()), (("echo", "said"),)),
    ),
    Kind(
        "process", ProcessExecutor, (str, ("value",)), (bodies.throw, (ValueError,)), (bodies.sleep, ()), (bodies.spin, ()),
        odd_ends=(*((bodies.throw, (kind,)) for kind in ODD), (bodies.unsendable, ()), (bodies.liar, ()), (bodies.picky, ())),
        forces=True, at_once=_cpus(), dies=(bodies.die, ("kill",)), says=(bodies.say, ("said",)),
    ),
]  # fmt: skip


@pytest.mark.realtime
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_executor(kind: Kind, check: Callable[[Kind], Any]) -> None:
    from plait._engine.doors import blocking

    blocking(lambda: check(kind))
