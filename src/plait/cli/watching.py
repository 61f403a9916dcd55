"""`plait run --watch`: runs again whenever a file changes that the workflow depends on."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import linecache
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from plait._core.graph import Batch
from plait._core.paths import foreseen
from plait._engine.files import declare
from plait.cli.output import say
from plait.errors import FlowError, MissingExtra, UsageError
from plait.flow.model import FlowTask, PythonCall
from plait.observe.text import clean

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

    from plait.flow.compile import Flow

TOGETHER_MS, QUIET_MS = 1_600, 100
"""Changes that come together are one: until nothing was changed for so long, and no longer than that."""

READ_BYTES = 4 * 1024 * 1024
"""A larger file is told by its size and date, all others by what is in them."""

OURS = frozenset((".plait", ".git", "__pycache__"))
"""Folders in which something changes with each run."""

MOST_TOLD = 3
"""Changed files that are named."""


class Watched:
    """The files that a workflow depends on, and folders with all that is in them, but for what its own tasks write."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.folders: set[str] = set()
        self.written: tuple[str, ...] = ()

    def add(self, path: str) -> None:
        """A file, also one that is not there yet; of a link also what it leads to."""
        self.files |= {os.path.abspath(path), os.path.realpath(path)}

    def concerns(self, path: str) -> bool:
        """Does the workflow depend on that file?"""
        if path in self.files:
            return True
        if OURS.intersection(path.split(os.sep)) or any(_within(path, each) for each in self.written):
            return False
        return any(_within(path, each) for each in self.folders)

    def places(self) -> list[str]:
        """The folders in which changes are looked out for. An editor may put a new file in the place of the old one: the file itself
        would be watched in vain then."""
        found = {_existing(os.path.dirname(path)) for path in self.files}
        for folder in self.folders:
            found.add(_existing(folder))
            found.update(place for place, _, _ in self._walk(folder))
        return sorted(found)

    def signs(self) -> dict[str, str]:
        """Of each file what tells it from a changed one."""
        inside = (
            os.path.join(place, name) for each in self.folders for place, _, names in self._walk(each) for name in names
        )
        return {path: sign for path in {*self.files, *filter(self.concerns, inside)} if (sign := _sign(path))}

    def _walk(self, folder: str) -> Iterator[tuple[str, list[str], list[str]]]:
        for place, inner, names in os.walk(folder):
            inner[:] = [name for name in inner if name not in OURS]
            yield place, inner, names


def _of_store(store: str | None) -> tuple[str, ...]:
    """What a store writes, and what lies beside it."""
    if store is None:
        return ()
    path = os.path.abspath(store)
    beside = (os.path.join(os.path.dirname(path), name) for name in ("bells", "locks", "logs", "values"))
    return (path, f"{path}-wal", f"{path}-shm", f"{path}-journal", *beside)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))


def _existing(folder: str) -> str:
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def _sign(path: str) -> str:
    """Empty for what is no file."""
    try:
        found = os.stat(path)
        if found.st_size > READ_BYTES:
            return f"{found.st_size} {found.st_mtime_ns}"
        with open(path, "rb") as file:
            return hashlib.blake2b(file.read(), usedforsecurity=False).hexdigest()
    except OSError:
        return ""


# -- what a workflow depends on


def module(name: str) -> Watched:
    """The files of a graph in a module of the working folder.

    Raises:
        UsageError: where it is none of that folder.
    """
    watched = Watched()
    top = os.path.abspath(name.partition(".")[0])
    if not os.path.isdir(top) and not os.path.isfile(f"{top}.py"):
        raise UsageError(
            f"--watch is for workflow files and modules of the working folder, and {name} is none of these"
        )
    _add_modules(watched, os.getcwd(), [name])
    return watched


def depends_on(flow: Flow, inputs: Mapping[str, Any]) -> Watched:
    """The files of a loaded workflow: itself, the modules of its calls that lie beside it, and what its tasks say that they read."""
    watched = Watched()
    watched.add(str(flow.file.path))
    tasks = list(_all(flow.everything.values()))
    for task in tasks:
        if task.file:
            watched.add(task.file)
    folder = str(flow.file.path.resolve().parent)
    _add_modules(watched, folder, {task.body.module for task in tasks if isinstance(task.body, PythonCall)})
    reads, writes = _paths(flow, inputs)
    watched.written = tuple(writes)
    for path in reads:
        if os.path.isdir(path):
            watched.folders.add(path)
        else:
            watched.add(path)
    return watched


def _all(tasks: Iterable[FlowTask]) -> Iterator[FlowTask]:
    for task in tasks:
        yield task
        yield from _all(task.inner)


def _add_modules(watched: Watched, folder: str, named: Iterable[str]) -> None:
    """Modules beside a file, by their names."""
    for name in {each.partition(".")[0] for each in named}:
        if os.path.isdir(os.path.join(folder, name)):
            watched.folders.add(os.path.join(folder, name))
        else:
            watched.add(os.path.join(folder, f"{name}.py"))


def _loaded(folder: str) -> list[str]:
    """The names of the modules that lie in a folder, with all in them."""
    beside = set()
    for name, module in list(sys.modules.items()):
        places = (os.path.join(folder, f"{name}.py"), os.path.join(folder, name, "__init__.py"))
        if name not in ("plait", "__main__") and "." not in name and getattr(module, "__file__", None) in places:
            beside.add(name)
    return [name for name in list(sys.modules) if name.partition(".")[0] in beside]


def _files(folder: str) -> set[str]:
    """The files of these modules."""
    found = (getattr(sys.modules[name], "__file__", None) for name in _loaded(folder))
    return {os.path.abspath(file) for file in found if file is not None}


def _forget(folder: str) -> None:
    """Has the modules of a folder imported anew."""
    for name in _loaded(folder):
        del sys.modules[name]
    importlib.invalidate_caches()
    linecache.checkcache()


def _paths(flow: Flow, inputs: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """What tasks say that they read and write, as far as it is known before they run."""
    reads: set[str] = set()
    writes: set[str] = set()
    try:
        stack: list[Batch] = [flow.shape(inputs)]
        while stack:
            batch = stack.pop()
            declare(batch)
            for read, written in batch.files.values():
                reads.update(map(os.path.abspath, read))
                writes.update(map(os.path.abspath, written))
            stack.extend(each.batch for _, each in foreseen(batch))
    except UsageError:
        pass  # what cannot be is told when it runs
    return reads, writes


# -- the loop


def watch(
    once: Callable[[], int], look: Callable[[], Watched], file: str | None, *, tells: bool, store: str | None = None
) -> int:
    """Calls `once` again and again, each time after something changed that `look` names; gives the exit code of what ended that.

    A change while it runs is seen when it is over. A `file` that is broken at the moment is told, and waited for; None: the workflow is
    a module of the working folder. `tells`: what is waited for is said. The files of the `store` are none of the workflow's, wherever they lie.

    Raises:
        MissingExtra: without the package watchfiles.
        UsageError: for what is wrong from the start, and is not the file.
    """
    try:
        from watchfiles._rust_notify import (
            RustNotify,
        )  # documented, and unlike what is above it nothing is lost between two looks
    except ImportError:
        raise MissingExtra("--watch needs the package 'watchfiles': pip install \"plait[watch]\"") from None
    folder = os.getcwd() if file is None else os.path.dirname(os.path.realpath(file))
    sys.dont_write_bytecode = True  # what was written in the same second as an edit would hide it
    watched = Watched()
    if file is not None:
        watched.add(file)
    first, modules = True, set[str]()
    while True:
        with contextlib.suppress(FlowError):  # `once` says what is wrong; what it depended on before is waited for
            watched = look()
        watched.written += _of_store(store)
        watched.files |= modules
        before, known = watched.signs(), frozenset(watched.files)
        code = _run(once, first, file)
        if code is not None and code > 128:
            return code
        ended = time.time_ns()
        # Where an import failed, all that was imported before may be needed still.
        modules = _files(folder) | (modules if code is None else set())
        watched.files |= modules
        try:
            notify = RustNotify(watched.places(), False, False, 0, False, True)
        except OSError as error:
            raise UsageError(f"--watch cannot watch: {error.strerror or error}") from None
        with notify:
            now = watched.signs()
            new = watched.files - known
            changed = [path for path in {*before, *now} if before.get(path) != now.get(path) and path not in new]
            if not changed and tells:
                say(f"plait: waits for a change of {_named([*watched.files, *watched.folders], file)}; Ctrl-C ends")
            while not changed:
                changed = _changed(notify, watched, now, ended)
        if tells:
            say(f"plait: changed: {_named(changed, file)}")
        _forget(folder)
        first = False


def _run(once: Callable[[], int], first: bool, file: str | None) -> int | None:
    """The exit code; None where it could not run, and a change may make up for that."""
    try:
        return once()
    except FlowError as error:
        if first and file is not None and not os.path.exists(file):
            raise
        say("\n".join(map(str, error.problems)))
    except (UsageError, click.ClickException) as error:
        if first:
            raise
        say(f"plait: {clean(' '.join(str(error).split()))}")
    return None


def _changed(notify: RustNotify, watched: Watched, before: Mapping[str, str], ended: int) -> list[str]:
    """Waits for the next events, and gives the files that are not as they were; what the run itself wrote last is told late, and is no change."""
    found = notify.watch(TOGETHER_MS, QUIET_MS, 0, None)
    if isinstance(found, str):
        raise KeyboardInterrupt
    paths = {path for _, path in found if watched.concerns(path)}
    return [path for path in paths if before.get(path, "") != _sign(path) or _written(path) > ended]


def _written(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _named(paths: Iterable[str], file: str | None) -> str:
    """The first of these for people, the workflow's own file before all others."""
    own = "" if file is None else os.path.abspath(file)
    shown = sorted({os.path.relpath(path) for path in paths if path != os.path.realpath(own) or path == own})
    shown.sort(key=lambda each: os.path.abspath(each) != own)
    more = len(shown) - MOST_TOLD
    return f"{', '.join(map(clean, shown[:MOST_TOLD]))}{f' and {more} more' if more > 0 else ''}"
