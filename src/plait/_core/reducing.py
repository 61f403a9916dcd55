"""What the option `reduce` may say, checked and kept as text: how it is worked out stands in `plait.patterns`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from plait.errors import LimitError, UsageError

OPTIONS: dict[str, tuple[str, ...]] = {
    "union": (),
    "intersection": (),
    "frequency": ("threshold",),
    "majority": ("ties",),
    "weighted": ("weights", "ties"),
    "quorum": ("least",),
    "first_success": (),
    "partial": ("min_required",),
}
"""The options of each reducer, the one first that may stand for all: `{quorum: 2}`."""

SHARE = r"([0-9]+\.?[0-9]*|\.[0-9]+)%"
"""A share as text."""

NEEDED = {"quorum": "least", "weighted": "weights", "partial": "min_required"}

EARLY = frozenset(("majority", "weighted", "quorum", "first_success"))
"""Those that may be decided before all have contributed."""


def reducing(name: str, value: object) -> str | None:
    """`reduce` as text: a reducer's name and options. None: the list of values, as without it.

    Raises:
        LimitError: for a reducer that does not exist, or options that cannot be.
    """
    if value is None or value == "list":
        return None
    which, options = _given(name, value)
    if which not in OPTIONS:
        from plait._core.policy import nearest  # it imports this

        raise LimitError(f"{name} must be one of {', '.join(OPTIONS)}, not {which!r}{nearest(which, OPTIONS)}")
    for option in options:
        if option not in OPTIONS[which]:
            raise LimitError(f"{name}: {which} takes {', '.join(OPTIONS[which]) or 'no options'}, not {option!r}")
    needed = NEEDED.get(which)
    if needed is not None and needed not in options:
        raise LimitError(f"{name}: {which} needs {needed}, as in {{{which}: ...}}")
    for option, each in options.items():
        _check(f"{name}.{which}.{option}", option, each)
    return json.dumps([which, options], sort_keys=True)


def _given(name: str, value: object) -> tuple[str, dict[str, Any]]:
    """A name, a mapping from one to its options, or one of plait's own functions, alone or in a `functools.partial`."""
    if isinstance(value, str):
        return value, {}
    if isinstance(value, Mapping) and len(value) == 1:
        ((which, options),) = value.items()
        if isinstance(options, Mapping) and not (which == "weighted" and "weights" not in options):
            return str(which), dict(options)
        first = OPTIONS.get(str(which), ())[:1]
        if not first and options is not None:
            raise LimitError(f"{name}: {which} takes no options, not {options!r}")
        return str(which), {} if options is None else {first[0]: options}
    if callable(value):
        return _of_function(name, value)
    raise LimitError(f"{name} must be a reducer's name or a mapping such as {{'quorum': 2}}, not {value!r}")


def _of_function(name: str, value: Callable[..., Any]) -> tuple[str, dict[str, Any]]:
    function, args, options = (
        (value.func, value.args, dict(value.keywords)) if isinstance(value, partial) else (value, (), {})
    )
    which = getattr(function, "__name__", "")
    if getattr(function, "__module__", "") != "plait.patterns.reducers" or args:
        raise UsageError(
            f"{name} takes plait's own reducers, their options by name; for one of yours add a task that gets the list: not {value!r}"
        )
    return which, options


def _check(what: str, option: str, value: object) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if option == "ties":
        good, wanted = value in ("error", "first", "none"), "error, first or none"
    elif option == "weights":
        weights = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else None
        good = weights is not None and all(
            isinstance(each, (int, float)) and not isinstance(each, bool) and 0 <= each < float("inf")
            for each in weights
        )
        wanted = "weights by task or in order, each a number from 0 on"
    elif option == "threshold":
        good, wanted = _is_share(value) or (number and 0 < value <= 1), 'a share such as 0.4 or "40%"'  # type: ignore[operator]
    else:
        good, wanted = (
            _is_share(value) or (isinstance(value, int) and number and value >= 1),
            'a count or a share such as "60%"',
        )
    if not good:
        raise LimitError(f"{what} must be {wanted}, not {value!r}")


def _is_share(value: object) -> bool:
    if not isinstance(value, str) or not re.fullmatch(SHARE, value):
        return False
    return 0 < float(value[:-1]) <= 100


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """The name and the options again."""
    name, options = json.loads(text)
    return name, options
