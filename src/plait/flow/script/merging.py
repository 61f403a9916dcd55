"""What the results of branches come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from plait.errors import UsageError
from plait.flow.keys import MERGES
from plait.flow.scopes import Scope
from plait.flow.templates import Template

BRANCHES = ("$branches", "branches")
"""What the results are called in an expression."""


@dataclass(frozen=True, slots=True)
class Chosen(Template):
    """A template that says which of MERGES it is: `merge="{{$config.how}}"`."""


def merge(how: str | Template, results: list[Any], scope: Scope) -> Any:
    """The results as one list without the lists in it, as one object (of equal keys the later branch's), or as an expression over `$branches`.

    Raises:
        UsageError: for results that are no objects, where they are to be one.
    """
    if isinstance(how, Chosen):
        said = how.value(scope)
        if said not in MERGES:
            raise UsageError(f"merge is one of {', '.join(MERGES)}, or an expression over $branches, not {said!r:.60}")
        how = str(said)
    if isinstance(how, Template):
        return how.value(scope.knowing(dict.fromkeys(BRANCHES, results)))
    if how == "concat":
        found: list[Any] = []
        for each in results:
            found.extend(each if isinstance(each, list) else [] if each is None else [each])
        return found
    if how == "array":
        return results
    merged: dict[str, Any] = {}
    for number, each in enumerate(results):
        if each is not None and not isinstance(each, dict):
            raise UsageError(
                f'merge="object" needs an object of every branch, and branch {number} gave {type(each).__name__}: make it '
                "one in its last node, or merge as array"
            )
        merged.update(each or {})
    return merged
