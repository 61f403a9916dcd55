"""What is not said by a flag: `PLAIT_*`, the project's `plait.toml`, the user's, and where each of these was found."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from plait._core.policy import OnFailure, nearest
from plait.cli.session import Settings
from plait.errors import FlowError, UsageError
from plait.flow.problems import Place, Problems
from plait.observe.printed import How
from plait.stores import opening

NAMES = ("jobs", "on_failure", "output", "store")
"""What can be set for good: each is an option of `run`, too."""

PROJECT, TABLE = "plait.toml", ("tool", "plait")
"""The file of a project, and the table that stands for it in `pyproject.toml`."""


class _Wrong(Exception):
    """What is wrong with a value."""


class Found(NamedTuple):
    """A value, and where it stands: in a variable (`file` is None), or behind `path` in a file."""

    value: Any
    name: str
    file: Path | None = None
    path: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Where it stands, for people."""
        return self.name if self.file is None else f"{self.file}:{_place(_text(self.file), self.path).line}"


@dataclass(frozen=True, slots=True)
class Configuration:
    """What holds here, by name; and the files that were read."""

    variables: Mapping[str, Found]
    files: tuple[Path, ...]
    settings: Mapping[str, Found]

    def get(self, name: str) -> Found | None:
        """Variables go before files."""
        return self.variables.get(name) or self.settings.get(name)


def configuration() -> Configuration:
    """What holds in the working folder.

    Raises:
        FlowError: with everything that is wrong with the files, as `FILE:LINE:COL: error[CODE]: message`.
        UsageError: for a variable that cannot be.
    """
    return _configuration(os.getcwd())


@cache
def _configuration(folder: str) -> Configuration:
    files: list[Path] = []
    settings: dict[str, Found] = {}
    problems: list[object] = []
    for path, table in (_user_file(), _project_file(Path(folder))):
        if path is not None:
            files.append(path)
            told = Problems(str(path))
            settings |= _read(path, table, told)
            problems += told.error().problems if told.found else []
    if problems:
        raise FlowError(problems)
    return Configuration(dict(_variables()), tuple(files), settings)


def store_path(given: str | None) -> str | None:
    """What `--store`, `PLAIT_STORE`, a file or the default name; None for `none`."""
    found = configuration().get("store")
    opening.usual = found.value if found is not None else opening.DEFAULT_STORE
    chosen = given or opening.usual
    return None if chosen == "none" else chosen


def filled(settings: Settings, rules: Mapping[str, Any]) -> Settings:
    """The settings of a new run with what no flag says; what the workflow says itself (`rules`) goes before the files, for these would
    change what it does elsewhere."""
    here = configuration()
    jobs, on_failure = (
        here.variables.get(name) or (None if said in rules else here.settings.get(name))
        for name, said in (("jobs", "max_concurrency"), ("on_failure", "on_failure"))
    )
    if settings.jobs is None and jobs is not None:
        settings = replace(settings, jobs=jobs.value)
    if settings.on_failure is None and on_failure is not None:
        settings = replace(settings, on_failure=on_failure.value)
    return shown(settings)


def shown(settings: Settings) -> Settings:
    """The settings of a run with the way its output is shown, where no flag says it."""
    found = configuration().get("output")
    if settings.output is None and settings.level >= 0 and found is not None:
        return replace(settings, output=found.value)
    return settings


def described() -> Iterator[tuple[str, str]]:
    """Each setting with its value and where it stands, for people.

    Raises:
        FlowError, UsageError: as `configuration`.
    """
    here = configuration()
    defaults = {
        "jobs": "as the workflow says, else the default slots",
        "on_failure": "as the workflow says, else continue",
        "output": "not shown",
        "store": opening.DEFAULT_STORE,
    }
    yield "configuration", ", ".join(map(str, reversed(here.files))) or "no file"
    for name in NAMES:
        found = here.get(name)
        yield name, f"{defaults[name]} (default)" if found is None else f"{found.value} ({found.origin})"


# -- where


def _user_file() -> tuple[Path | None, tuple[str, ...]]:
    home = os.environ.get("XDG_CONFIG_HOME", "")
    path = Path(home if os.path.isabs(home) else os.path.expanduser("~/.config"), "plait", PROJECT)
    return (path if os.path.isfile(path) else None), ()


def _project_file(folder: Path) -> tuple[Path | None, tuple[str, ...]]:
    """That of the first folder from here upward that has one."""
    for each in (folder, *folder.parents):
        if os.path.isfile(each / PROJECT):
            return each / PROJECT, ()
        beside = each / "pyproject.toml"
        # What does not name it has no table for it, and whatever else is wrong with it is no concern of ours.
        if os.path.isfile(beside) and "plait" in (text := _text(beside)) and _has_table(beside, text):
            return beside, TABLE
    return None, ()


def _has_table(path: Path, text: str) -> bool:
    data = _parsed(text, problems := Problems(str(path)))
    if problems.found:
        raise problems.error()
    tool = data.get(TABLE[0])
    return isinstance(tool, dict) and TABLE[1] in tool


# -- what


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{path} cannot be read: {why}") from None


def _parsed(text: str, problems: Problems) -> dict[str, Any]:
    import re
    import tomllib  # few folders have such a file

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at line (\d+), column (\d+)\)$", str(error))
        at = Place(*map(int, found.groups())) if found else Place(text.count("\n") + 1, 1)
        problems.add(at, "syntax", str(error)[: found.start()] if found else str(error))
        return {}


def _read(path: Path, table: tuple[str, ...], problems: Problems) -> dict[str, Found]:
    text = _text(path)
    data: Any = _parsed(text, problems)
    for name in table:
        data = data[name]
    if not isinstance(data, dict):
        problems.add(_place(text, table), "type", f"{'.'.join(table)} must be a table of settings, not {data!r}")
        return {}
    found: dict[str, Found] = {}
    for name, value in data.items():
        if name not in NAMES:
            hint = problems.nearest(name, NAMES) or f"; there are {', '.join(NAMES)}"
            problems.add(_place(text, (*table, name)), "unknown-key", f"unknown setting {name!r}{hint}")
            continue
        try:
            found[name] = Found(_READ[name](value, path.parent), name, path, (*table, name))
        except _Wrong as wrong:
            problems.add(_place(text, (*table, name)), "value", str(wrong))
    return found


def _place(text: str, path: tuple[str, ...]) -> Place:
    """Where the statement begins that gives a key its value: behind the longest beginning of the file that does not have it."""
    import tomllib

    lines = text.split("\n")
    before = 0
    for number in range(1, len(lines) + 1):
        try:
            data: Any = tomllib.loads("\n".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue  # in the middle of a statement
        for name in path:
            data = data.get(name) if isinstance(data, dict) else None
        if data is not None:
            break
        before = number
    line = lines[min(before, len(lines) - 1)]
    return Place(before + 1, max(0, line.find(path[-1])) + 1)


def _variables() -> Iterator[tuple[str, Found]]:
    for name in NAMES:
        variable = f"PLAIT_{name.upper()}"
        text = os.environ.get(variable)
        if text:
            number = int(text) if name == "jobs" and text.isascii() and text.isdigit() else text
            try:
                yield name, Found(_READ[name](number, None), variable)
            except _Wrong as wrong:
                raise UsageError(f"{variable}: {wrong}") from None


def _jobs(value: Any, folder: Path | None) -> int:
    if value == "auto":
        return os.cpu_count() or 1
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _Wrong(f'jobs must be a whole number of at least 1, or "auto", not {value!r}')
    return value


def _one_of(name: str, known: tuple[str, ...]) -> Callable[[Any, Path | None], Any]:
    def read(value: Any, folder: Path | None) -> Any:
        if not isinstance(value, str) or value not in known:
            hint = nearest(value, known) if isinstance(value, str) else ""
            raise _Wrong(f"{name} must be one of {', '.join(known)}, not {value!r}{hint}")
        return How(value) if name == "output" else value

    return read


def _store(value: Any, folder: Path | None) -> str:
    """A path in a file is relative to its folder."""
    if not isinstance(value, str) or not value.strip():
        raise _Wrong(f'store must be a path, or "none", not {value!r}')
    if folder is None or value == "none" or ":" in value.split("/")[0]:
        return value
    return os.path.join(folder, os.path.expanduser(value))


_READ: dict[str, Callable[[Any, Path | None], Any]] = {
    "jobs": _jobs,
    "on_failure": _one_of("on_failure", tuple(map(str, OnFailure))),
    "output": _one_of("output", tuple(map(str, How))),
    "store": _store,
}

__all__ = ["Configuration", "Found", "configuration", "described", "filled", "shown", "store_path"]
