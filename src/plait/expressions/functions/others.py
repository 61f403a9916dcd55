"""JSON, codes for the way, checksums, names that are nobody else's."""

from __future__ import annotations

import base64 as codes
import binascii
import hashlib
import json
import math
import re
import uuid as ids
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from plait.expressions.faults import EVALUATION, fault
from plait.expressions.functions.signature import Anything, Text, Whole, function, wrong
from plait.expressions.values import DEEPEST_DATA, bounded, weigh

if TYPE_CHECKING:
    from plait.expressions.evaluate import Work

ALGORITHMS = ("sha256", "sha512", "sha1", "md5")
_SPACE = re.compile(r"[ \t\r\n]+")


@function("json_encode", charged=True)
def json_encode(work: Work, v: Anything) -> str:
    """JSON, without spaces; NaN and Infinity are null there."""
    return work.text(v, encode=True)


@function("pretty", charged=True)
def pretty(work: Work, v: Anything) -> str:
    """JSON on several lines, two spaces for each level."""
    return work.text(v, 2, encode=True)


@function("JSON.stringify", charged=True)
def stringify(work: Work, v: Anything, keys: Anything = None, indent: Whole = 0) -> str:
    """JSON; with `indent` on several lines, so many spaces (up to 10) for each level. `keys` must be null."""
    if keys is not None:
        raise wrong("JSON.stringify", "keys", "must be null", "pick(...) takes some keys of an object")
    return work.text(v, min(max(indent, 0), 10) or None, encode=True)


@function("json_decode", charged=True)
def json_decode(work: Work, s: Text) -> Any:
    """What JSON text stands for; null for what is no JSON."""
    try:
        return _decoded(work, s)
    except ValueError:
        return None


@function("JSON.parse", charged=True)
def parse(work: Work, s: Text) -> Any:
    """What JSON text stands for; an error for what is no JSON. `json_decode` gives null there."""
    try:
        return _decoded(work, s)
    except ValueError as error:
        raise wrong("JSON.parse", "s", f"is not JSON: {error}") from None


def _decoded(work: Work, s: str) -> Any:
    # Each value but the first stands behind one of these.
    work.step(len(s) // 64)
    found = s.count(",") + s.count(":") + s.count("[") + s.count("{")
    work.step(found)
    work.makes(len(s), items=found)
    try:
        value = json.loads(s, parse_int=_whole, parse_constant=_refuse)
    except RecursionError:
        raise fault(EVALUATION, None, f"this is nested deeper than {DEEPEST_DATA} levels") from None
    weigh(value)  # for its levels
    return value


def _whole(said: str) -> float | int:
    return bounded(int(said)) if len(said) < 400 else math.copysign(math.inf, -1 if said[0] == "-" else 1)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _bytes(s: str) -> bytes:
    """UTF-8. Half a character (JSON can name one) is U+FFFD."""
    try:
        return s.encode()
    except UnicodeEncodeError:
        return s.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


@function("base64_encode", charged=True)
def base64_encode(work: Work, s: Text) -> str:
    """Base64 of the text in UTF-8."""
    data = _bytes(s)
    work.makes(len(data) * 4 // 3 + 4)
    return codes.b64encode(data).decode()


@function("base64_decode")
def base64_decode(work: Work, s: Text) -> str | None:
    """The text of Base64; null for what is none, or no text in UTF-8. White space counts for nothing, `=` at the end may be missing."""
    said = _SPACE.sub("", s).rstrip("=")
    try:
        return codes.b64decode(said + "=" * (-len(said) % 4), validate=True).decode()
    except (ValueError, binascii.Error):
        return None


@function("url_encode", charged=True)
def url_encode(work: Work, s: Text) -> str:
    """For a part of an address: all but letters, digits and -_.!~*'() as %XX, as encodeURIComponent of JavaScript does."""
    data = _bytes(s)
    work.makes(3 * len(data))
    work.step(len(data) // 8)
    return quote(data, safe="!~*'()")


@function("url_decode")
def url_decode(work: Work, s: Text) -> str:
    """With characters for all %XX; `+` stays. What is no UTF-8 is U+FFFD."""
    work.step(s.count("%"))
    return unquote(s)


@function("hash", steps=2)
def hash_(work: Work, s: Text, algorithm: Text = "sha256") -> str:
    """The checksum of the text in UTF-8, in hexadecimal digits: sha256, sha512, sha1 or md5."""
    if algorithm not in ALGORITHMS:
        raise wrong("hash", "algorithm", f"must be one of {', '.join(ALGORITHMS)}, not {algorithm[:40]!r}")
    return hashlib.new(algorithm, _bytes(s), usedforsecurity=False).hexdigest()


@function("uuid", pure=False, steps=5)
def uuid(work: Work) -> str:
    """A random UUID (version 4)."""
    return str(ids.uuid4())
