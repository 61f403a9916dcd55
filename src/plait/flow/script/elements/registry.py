"""Which reader an element has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from plait.flow.markup import Element
from plait.flow.script.syntax import Part

if TYPE_CHECKING:
    from plait.flow.script.elements.common import Reader

Read: TypeAlias = "Callable[[Reader, Element], Part | None]"
R = TypeVar("R", bound="Read")

READERS: dict[str, Read] = {}
"""By tag."""


def element(*tags: str) -> Callable[[R], R]:
    """Registers the reader of these tags."""

    def register(read: R) -> R:
        for tag in tags:
            assert tag not in READERS, tag
            READERS[tag] = read
        return read

    return register


def element_names() -> list[str]:
    """Every tag that stands for a node."""
    return list(READERS)
