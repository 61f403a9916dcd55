"""What came from a provider is looked at before it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait.calls.shell import strict_json
from plait.models.base import ToolCall


def object_of(text: str) -> dict[str, Any] | None:
    """The JSON object that text is; None where it is none."""
    try:
        found = strict_json(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def objects(data: Any, name: str) -> list[Mapping[str, Any]]:
    """The objects of a list; what is none is left out."""
    found = data.get(name) if isinstance(data, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def text(data: Any, name: str) -> str:
    """Text, or nothing."""
    found = data.get(name) if isinstance(data, dict) else None
    return found if isinstance(found, str) else ""


def number(data: Any, name: str, *inner: str) -> int:
    """A whole number of 0 or more, also deeper inside; 0 where there is none."""
    found = amount(data, name, *inner)
    return int(found)


def amount(data: Any, name: str, *inner: str) -> float:
    """A number from 0 to 1e15; 0 where there is none."""
    found = data.get(name) if isinstance(data, dict) else None
    if inner:
        return amount(found, *inner)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found <= 1e15:
        return 0.0
    return found


def call(id: str, name: str, written: str) -> ToolCall:
    """A call whose arguments were written as text."""
    return ToolCall(id, name, object_of(written), written)
