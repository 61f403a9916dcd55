"""The inputs of a flow: their types, and the values that they are given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plait._core.policy import nearest
from plait.calls.shell import strict_json
from plait.errors import UsageError
from plait.flow.model import Input
from plait.flow.values import shown

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "object": (dict,),
}


def fits(value: Any, type_name: str) -> bool:
    """Is `value` of that type? true and false are no numbers."""
    if isinstance(value, bool):
        return type_name == "boolean"
    return isinstance(value, TYPES[type_name])


def values_of(
    path: Path, declared: Mapping[str, Input], given: Mapping[str, Any], how: str = "give it as -i {}=..."
) -> dict[str, Any]:
    """The values of all inputs of the file: the given ones, converted from text where needed, and the defaults.

    Raises:
        UsageError: for an unknown, missing or impossible input.
    """
    for name in given:
        if name not in declared:
            raise UsageError(f"{path} has no input {name!r}{nearest(name, declared)}")
    values: dict[str, Any] = {}
    for name, each in declared.items():
        if name in given:
            values[name] = _converted(name, each, given[name])
        elif each.required:
            raise UsageError(f"{path} needs the input {name!r} ({each.type}): {how.format(name)}")
        else:
            values[name] = each.default
    return values


def _converted(name: str, declared: Input, value: Any) -> Any:
    """A given input as its declared type; text from a command line is read as what is wanted.

    Raises:
        UsageError: where that cannot be.
    """
    if isinstance(value, str) and declared.type != "string":
        try:
            value = strict_json(value)
        except (ValueError, RecursionError):
            text = shown(value)
            raise UsageError(f"input {name!r} must be of type {declared.type}, not the text {text}") from None
    if not fits(value, declared.type):
        raise UsageError(f"input {name!r} must be of type {declared.type}, not {shown(value)}")
    return value
