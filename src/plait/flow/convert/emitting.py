"""Data as the text of a YAML file, in the way people write it: mappings in lines of their own, short lists in one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*(?::[A-Za-z0-9_./-]+)*")
_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "inf", "nan"))
_ODD = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")
WIDEST = 100
"""Characters of a mapping or a list that stands in one line."""


def yaml_text(data: dict[str, Any]) -> str:
    """A mapping as a YAML file. Read again it is the same."""
    return "\n".join(_mapping(data, "")) + "\n"


def _mapping(data: dict[str, Any], indent: str) -> Iterator[str]:
    for name, value in data.items():
        yield from _entry(f"{indent}{scalar(name)}:", value, indent + "  ")


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    short = inline(value)
    if not isinstance(value, (dict, list)) or not value or (_is_flat(value) and len(head) + len(short) < WIDEST):
        yield f"{head} {short}"
        return
    yield head
    if isinstance(value, dict):
        yield from _mapping(value, indent)
        return
    for each in value:
        if isinstance(each, dict) and each:
            lines = list(_mapping(each, indent + "  "))
            yield f"{indent}- {lines[0].strip()}"
            yield from lines[1:]
        else:
            yield f"{indent}- {inline(each)}"


def _is_flat(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value
    return not any(isinstance(each, (dict, list)) and each for each in inner)


def inline(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(name)}: {inline(each)}" for name, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(inline, value)) + "]"
    return scalar(value)


def scalar(value: Any) -> str:
    """Text, quoted where it would be read as something else; a number, true, false, null."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def quoted(text: str) -> str:
    """Text in quotes."""
    # What JSON leaves as it is and YAML does not take, or takes for the end of a line, is escaped, too.
    return _ODD.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))
