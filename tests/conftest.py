"""Every run with a store that a test makes in this process is replayed when the test is over: the same states after each fact."""

from __future__ import annotations

import compileall
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from answering_server import Server

# What the command line takes from its surroundings is that of a test, and not of whoever runs it.
for name in ("GITHUB_ACTIONS", "PLAIT_JOBS", "PLAIT_ON_FAILURE", "PLAIT_OUTPUT", "PLAIT_STORE"):
    os.environ.pop(name, None)
os.environ["XDG_CONFIG_HOME"] = os.devnull


def pytest_configure(config: pytest.Config) -> None:
    """Where nobody may write bytecode, every process that a test starts would compile all sources anew: half of its time."""
    if sys.dont_write_bytecode and not hasattr(config, "workerinput"):
        compileall.compile_dir(Path(__file__).parents[1] / "src", quiet=2)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for a folder of tests, the whole of them above all; a file that somebody names is done before they are up."""
    return 2 if any((config.invocation_params.dir / name).is_dir() for name in config.args) else 0


@pytest.fixture(autouse=True)
def every_stored_run_is_replayed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """E11: what decides is in the journal. A test that damages its store on purpose is marked `damages`."""
    try:
        from plait._engine import keeping, records
        from plait._engine.replaying import Replay, read_json
    except ImportError:  # a test of the house without its furniture
        yield
        return
    seen: list[tuple[Any, int, list[tuple[int, int]]]] = []
    plain_init, plain_note = keeping.KeptDriver.__init__, keeping.KeptDriver._note
    trails: dict[int, list[tuple[int, int]]] = {}

    def init(driver: Any, *args: Any, **kwargs: Any) -> None:
        trail: list[tuple[int, int]] = []
        trails[id(driver)] = trail
        plain_init(driver, *args, **kwargs)
        seen.append((driver, kwargs["claim"].sequence, trail))

    def note(driver: Any, line: Any) -> None:
        # A task is taken before that is written down; everything else is written down before it is told.
        if not driver.done.done():  # who left the run may be told more, and nobody else ever hears of it
            trails[id(driver)].append((line[0], crc32(driver.table.status)))
        plain_note(driver, line)

    monkeypatch.setattr(keeping.KeptDriver, "__init__", init)
    monkeypatch.setattr(keeping.KeptDriver, "_note", note)
    yield
    monkeypatch.undo()
    if request.node.get_closest_marker("damages"):
        return
    for driver, first, trail in seen:
        if driver.store.where != ":memory:":
            continue  # its store may be gone; those of files are replayed where they are resumed
        run = driver.store.find(driver.id)
        generation = driver.store.generation(run, driver._claim.generation)
        replay = Replay(driver.store, run, generation)
        told = iter(trail)
        for sequence, data in driver.store.journal(run, generation.number):
            for line in read_json(data):
                before = crc32(replay.table.status)
                replay._apply(line if line[0] != records.RETURNED or len(line) == 7 else [*line, None])
                replay.scheduler.commands.clear()
                if sequence <= first or line[0] == records.AHEAD:
                    continue  # an earlier driver's, or no fact
                kind, state = next(told, (None, 0))
                if kind is None:
                    return  # a later driver's
                assert kind == line[0], f"a fact of kind {line[0]} is in the journal, one of kind {kind} was told"
                after = crc32(replay.table.status) if kind == records.TAKEN else before
                assert state == after, f"the states differ at {line}"


@pytest.fixture
def server() -> Iterator[Server]:
    """An HTTP server that answers as the test says."""
    found = Server()
    yield found
    found.close()


@pytest.fixture
def other() -> Iterator[Server]:
    """A second one."""
    found = Server()
    yield found
    found.close()
