"""JSON as a store writes it.

Two encoders and one format: msgspec's, which is several times as fast, and the standard library's until msgspec is loaded, for
a short run is over before that import (a tenth of a bare interpreter's whole life) would have paid for itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

SHORT = 16
"""Lines or tasks: so many are written as fast by either."""


def encode(data: Any, kept: Callable[[Any], Any] | None = None, *, size: int = 0) -> bytes:
    """Plain data, Raw JSON and whatever `kept` gives plain data for; `size` is how many lines or tasks that is, about.

    Raises:
        Exception: for what JSON has no form for, and what `kept` raises.
    """
    if size <= SHORT and "msgspec" not in sys.modules:
        try:
            return _plain()(data).encode()
        except (TypeError, ValueError, RecursionError):
            pass  # more than plain data: msgspec knows it, or says what is wrong
    import msgspec

    return msgspec.json.encode(data, enc_hook=kept)


@cache
def _plain() -> Callable[[Any], str]:
    from json import JSONEncoder

    return JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@cache
def fast() -> Callable[[Any], bytes]:
    """msgspec's encoder, for values that a run has many of."""
    import msgspec

    return msgspec.json.Encoder().encode


@cache
def reader() -> Callable[[bytes | str], Any]:
    """What reads JSON as plain data."""
    import msgspec

    return msgspec.json.Decoder().decode
