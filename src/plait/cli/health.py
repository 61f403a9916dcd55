"""What plait finds on this machine."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from plait._engine.doors import default_slots
from plait._version import __version__


def findings() -> Iterator[tuple[str, str]]:
    """Names and values, in order."""
    yield "plait", __version__
    yield "python", f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}"
    yield "platform", platform.platform()
    yield "cpus", str(os.cpu_count() or "unknown")
    yield "default slots", f"{default_slots()} = min(32, cpus + 4)"
    yield "sqlite", sqlite3.sqlite_version
    yield "commands are waited by", "pidfd" if _has_pidfd() else "a thread for each"
    yield (
        "terminal",
        f"stderr {'is one' if sys.stderr.isatty() else 'is none'}; NO_COLOR {'set' if os.environ.get('NO_COLOR') else 'not set'}",
    )
    for package in ("click", "rich", "PyYAML", "uvloop"):
        yield package, _version(package)


def _has_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
