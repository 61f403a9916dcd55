"""Every store passes every check of the conformance suite."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from plait.stores.memory import MemoryStore
from plait.stores.sqlite import open_sqlite
from plait.testing.stores import CHECKS, Open


def in_memory(folder: Path) -> Open:
    store = MemoryStore()
    return lambda: store


STORES: list[tuple[str, Callable[[Path], Open]]] = [
    ("memory", in_memory),
    ("sqlite", lambda folder: partial(open_sqlite, folder / "store" / "plait.db")),
    ("sqlite, normal", lambda folder: partial(open_sqlite, folder / "store" / "plait.db", "normal")),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("make", [make for _, make in STORES], ids=[name for name, _ in STORES])
def test_store(make: Callable[[Path], Open], check: Callable[[Open], None], tmp_path: Path) -> None:
    check(make(tmp_path))
