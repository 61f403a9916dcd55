"""Options of a node that are worked out when it begins: `max="{{$config.rounds}}"`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from plait._core.policy import LONGEST, Policy
from plait.errors import UsageError
from plait.nodes import duration

MOST = 100_000

BACKOFFS = {"exponential": 2.0, "linear": 0.0, "fixed": 1.0}
"""What a pause is multiplied with from try to try; 0: it grows by itself."""


def whole(value: Any, what: str, least: int = 1) -> int:
    """A whole number of at least `least`; text is read as one.

    Raises:
        UsageError: for anything else.
    """
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value.strip()) < 10:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
        raise UsageError(f"{what} must be a whole number from {least} to {MOST:,}, not {value!r:.60}")
    return value


def yes(value: Any, what: str) -> bool:
    """True or false; text is read as one of them.

    Raises:
        UsageError: for anything else.
    """
    found = {"true": True, "false": False}.get(value.strip()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise UsageError(f"{what} is true or false, not {value!r:.60}")
    return found


def wanted_of(said: str) -> int | None:
    """So many as `any` and `n(K)` want; None for what is neither."""
    found = re.fullmatch(r"n\(\s*(\d{1,6})\s*\)", said)
    return 1 if said == "any" else int(found[1]) if found else None


def _wait(value: Any, what: str) -> int | None:
    said = str(value).strip()
    wanted = wanted_of(said)
    if said != "all" and not wanted:
        raise UsageError(f"{what} is all, any or n(K), not {value!r:.60}")
    return wanted


def rounds(value: Any, key: str) -> int:
    """How many rounds a loop may have."""
    return whole(value, f"max of {key!r}")


def seconds(value: Any, what: str) -> float:
    """A duration that a limit can have, in seconds.

    Raises:
        UsageError: for anything else.
    """
    try:
        found = duration(value)
    except ValueError as error:
        raise UsageError(f"{what}: {error}") from None
    if not 0 < found <= LONGEST:
        raise UsageError(f"{what} must be longer than nothing")
    return found


NAMES = {
    "width": "the most at once",
    "timeout": "timeout",
    "wait": "wait",
    "required": "required",
    "jitter": "jitter of retry",
    "backoff": "backoff of retry",
    "attempts": "max of retry",
    "delay": "base of retry",
}
"""What the options are called where they are wrong."""
OF_RETRY = ("attempts", "delay", "jitter", "backoff")


def with_options(policy: Policy, values: Mapping[str, Any], key: str) -> Policy:
    """A policy with these options.

    Raises:
        UsageError: for what cannot be one.
    """
    retry = policy.retry
    changes: dict[str, Any] = {}
    for name, value in values.items():
        what = f"{NAMES[name]} of {key!r}"
        if name == "attempts":
            retry = retry.but(attempts=whole(value, what, least=0) + 1)
        elif name == "delay":
            retry = retry.but(delay=seconds(value, what))
        elif name == "timeout":
            changes[name] = seconds(value, what)
        elif name == "wait":
            changes["min_success"] = _wait(value, what)
        elif name == "required":
            changes["allow_failure"] = not yes(value, what)
        elif name == "jitter":
            retry = retry.but(jitter=yes(value, what))
        elif name == "backoff":
            if value not in BACKOFFS:
                raise UsageError(f"{what} is one of {', '.join(BACKOFFS)}, not {value!r:.60}")
            retry = retry.but(backoff=BACKOFFS[value])
        else:
            changes[name] = whole(value, what)
    return policy.but(retry=retry, **changes)
