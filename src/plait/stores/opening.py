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


def to_resume(run_id: str, store: Any) -> str:
    """The command that goes on with a run of `store`."""
    usual = os.environ.get("PLAIT_STORE") or DEFAULT_STORE
    if not isinstance(store, (str, os.PathLike)) or _as_file(os.fspath(store)) == _as_file(usual):
        return f"plait resume {run_id}"
    import shlex

    return f"plait resume {run_id} --store {shlex.quote(os.fspath(store))}"


def _as_file(path: str) -> str:
    return os.path.abspath(path if path.endswith(".db") else os.path.join(path, "plait.db"))


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
        given = given.removeprefix("sqlite://").removeprefix("sqlite:") or given
    path = file_path("store", given)
    if "://" in path:
        raise UsageError(f"store {path!r} is of a kind that plait does not know: give a path")
    if not os.path.isfile(path) and not path.endswith((".db", ".sqlite", ".sqlite3")):
        path = os.path.join(path, "plait.db")
    from plait.stores.sqlite import open_sqlite

    return open_sqlite(path, durability, create=create)  # type: ignore[arg-type]
