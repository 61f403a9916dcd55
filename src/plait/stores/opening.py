"""From what a caller gives as `store=` to a store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from plait._core.policy import file_path
from plait.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from plait.stores.contract import Store


DEFAULT_STORE = os.path.join(".plait", "plait.db")
"""Where the command line keeps runs."""


usual: str | None = None
"""Where the command line keeps runs if nothing else is said, once it has looked; None: it did not."""


def command(words: str, store: Any) -> str:
    """`plait` with these words, for somebody to type; with the store that it is about, where that is not the usual one."""
    here = usual or os.environ.get("PLAIT_STORE") or DEFAULT_STORE
    if not isinstance(store, (str, os.PathLike)) or os.path.abspath(_file(os.fspath(store))) == os.path.abspath(
        _file(here)
    ):
        return f"plait {words}"
    import shlex

    return f"plait {words} --store {shlex.quote(os.fspath(store))}"


def _file(path: str) -> str:
    """The file that a path names: one with an end that is usual or that is there, else the one in that folder."""
    if os.path.isfile(path) or path.endswith((".db", ".sqlite", ".sqlite3")):
        return path
    return os.path.join(path, "plait.db")


def _plain(url: str) -> str:
    """The path in a `sqlite:` URL."""
    return url.removeprefix("sqlite://").removeprefix("sqlite:") or url


def is_there(path: str) -> bool:
    """Is there a file where a path names a store?"""
    return os.path.exists(_file(_plain(path)))


def open_store(given: Any, durability: str | None = "full", *, create: bool = True) -> Store:
    """The store that `given` names: a path (of a file that ends in `.db`, or of a folder that holds `plait.db`), a `sqlite:` URL,
    or a Store itself.

    Whoever asks is to close it: a store that was given stays open for whoever gave it.

    Raises:
        StoreError: where it cannot be opened.
        UsageError: for what names no store.
    """
    if hasattr(given, "append") and hasattr(given, "journal"):
        store: Store = given
        return store.share()
    if isinstance(given, str) and given.startswith(("postgres:", "postgresql:")):
        raise MissingExtra("this version of plait keeps runs in SQLite files only: give a path")
    if isinstance(given, str) and given.startswith("sqlite:"):
        given = _plain(given)
    path = file_path("store", given)
    if "://" in path:
        raise UsageError(f"store {path!r} is of a kind that plait does not know: give a path")
    from plait.stores.sqlite import open_sqlite

    return open_sqlite(_file(path), durability, create=create)  # type: ignore[arg-type]
