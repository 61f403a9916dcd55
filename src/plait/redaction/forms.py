"""How a secret value may be written: in base64, in hex, and escaped as URLs, JSON, Python, HTML and shells do it.

A form is a row of units, one for each character or byte of the value; a unit is a choice of ways to write it, and a way says of each of
its places which characters may stand there. No way of a unit begins another one, so a text is read in one way only, in linear time.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import TypeAlias

MARK = "[REDACTED]"
"""What stands in the place of a secret value."""

Way: TypeAlias = tuple[str, ...]
Unit: TypeAlias = tuple[Way, ...]
Form: TypeAlias = tuple[Unit, ...]
Own: TypeAlias = Callable[[str], Way]

SHORTEST = 4
"""Characters of a value that is looked for everywhere; a shorter one is found as a whole word alone, as it is."""

SHORTEST_LINE = 8
"""Characters of a line that is a secret of its own, in a value of several lines."""

LONG = 128
"""Characters of a value in which letters and digits are looked for in every escape, too; in a longer one as they are."""

ANCHOR = 64
"""Digits of hex or base64 by which a longer row of them is known."""

LONGEST = 512
"""Bytes that are looked for in digits as a whole; a longer value is in parts of that length."""


def as_bytes(character: str) -> Way:
    """A character as it stands in bytes, which are read as Latin-1 here."""
    return tuple(as_data(character).decode("latin-1"))


def as_text(character: str) -> Way:
    """A character as it stands in text that was written with all that UTF-8 has no form for."""
    return tuple(character.encode("utf-8", "surrogatepass").decode("latin-1"))


def parts_of(value: str) -> Iterator[str]:
    """What of a value is looked for: the value, also without spaces around it, and its longer lines."""
    lines = value.splitlines()
    bare = value.strip()
    yield from dict.fromkeys((value, bare))
    for each in lines if len(lines) > 1 else ():
        if each != bare and len(each) >= SHORTEST_LINE:
            yield each


def forms_of(value: str, own: Own = as_bytes, *, thorough: bool = True) -> Iterator[Form]:
    """The forms of a value of at least `SHORTEST` characters. Not `thorough`: without those in digits, and with letters as they are."""
    if "%" in value:
        yield tuple((own(each),) for each in value)  # else the next one has it
    plain = len(value) > LONG or not thorough
    for escaped in (_percent, _backslash, _html):
        yield tuple(
            (own(each),) if plain and each.isascii() and each.isalnum() else escaped(each, own) for each in value
        )
    if "'" in value:
        yield tuple(_quoted(each, own) for each in value)
    if thorough:
        data = as_data(value)
        for start in range(0, len(data), LONGEST):
            part = data[start : start + LONGEST]
            if start == 0 or len(part) >= SHORTEST_LINE:
                yield from _in_digits(part)


def _in_digits(data: bytes) -> Iterator[Form]:
    """In hex and base64, also with line breaks in between."""
    first, *others = ((_hex(byte),) for byte in data)
    yield _cut((first, *(_apart(*each, " :") for each in others)), _ANY_HEX, 3)
    for offset in range(3):
        digits = _stable(data, offset)
        if len(digits) >= SHORTEST:
            first, *others = ((_digit(each),) for each in digits)
            yield _cut((first, *(_apart(*each) for each in others)), _ANY_DIGIT, 2)


_ANY_HEX: Unit = (("0123456789abcdefABCDEF :\r\n",),)
_ANY_DIGIT: Unit = (("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_\r\n",),)


def _cut(form: Form, rest: Unit, signs: int) -> Form:
    """A long form told by its beginning: what follows there are digits, whichever they are, of so many signs each at most."""
    return form if len(form) <= LONG else (*form[:ANCHOR], *[rest] * ((len(form) - ANCHOR) * signs))


def as_data(text: str) -> bytes:
    """Text as the environment has it, where it may be no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _case(digits: str) -> Way:
    """Hexadecimal digits, in either case."""
    return tuple(each + each.upper() if each.isalpha() else each for each in digits.lower())


def _hex(byte: int) -> Way:
    return _case(f"{byte:02x}")


def _apart(way: Way, between: str = "") -> Unit:
    """A way, or the same behind the end of a line, or behind one of the characters `between`."""
    return (way, (f"{between}\n", *way), ("\r", "\n", *way))


def _digit(digit: str) -> Way:
    """A digit of base64, in either alphabet."""
    return ({"+": "+-", "/": "/_"}.get(digit, digit),)


def _stable(data: bytes, offset: int) -> str:
    """The digits of base64 that are the same whatever stands around, behind a number of bytes that leaves `offset` by three."""
    written = b64encode(bytes(offset) + data).decode().rstrip("=")
    return written[(0, 2, 3)[offset] : len(written) - (1 if (offset + len(data)) % 3 else 0)]


def _percent(each: str, own: Own) -> Unit:
    """As URLs and forms have it, however much of it is encoded."""
    ways = [tuple(sign for byte in as_data(each) for sign in ("%", *_hex(byte)))]
    if each == " ":
        ways.append(("+",))
    if each != "%":
        ways.append(own(each))
    return tuple(ways)


_NAMED = {"\n": "n", "\t": "t", "\r": "r", "\b": "b", "\f": "f", "\v": "v", "\a": "a", "\0": "0", "\x1b": "e"}


def _backslash(each: str, own: Own) -> Unit:
    """As JSON, `repr` and shells have it."""
    number = ord(each)
    units = each.encode("utf-16-be", "surrogatepass").hex()
    ways: list[Way] = [
        tuple(sign for at in range(0, len(units), 4) for sign in ("\\", "u", *_case(units[at : at + 4]))),
        ("\\", "U", *_case(f"{number:08x}")),
    ]
    if number < 256:
        ways.append(("\\", "x", *_hex(number)))
    if number > 126 or number < 32:
        data = as_data(each)
        ways.append(tuple(sign for byte in data for sign in ("\\", "x", *_hex(byte))))
        ways.append(tuple(sign for byte in data for sign in ("\\", *f"{byte:03o}")))
    if each in _NAMED:
        ways.append(("\\", _NAMED[each]))
    elif number < 128 and not each.isalnum():
        ways.append(("\\", each))
    if each != "\\":
        ways.append(own(each))
    return tuple(dict.fromkeys(ways))


_ENTITIES = {"&": ("amp", "AMP"), "<": ("lt", "LT"), ">": ("gt", "GT"), '"': ("quot", "QUOT"), "'": ("apos",)}


def _html(each: str, own: Own) -> Unit:
    """As HTML and XML have it."""
    number = ord(each)
    ways: list[Way] = [
        ("&", "#", *str(number), ";"),
        ("&", "#", "0", *str(number), ";"),
        ("&", "#", "xX", *_case(f"{number:x}"), ";"),
    ]
    if number < 16:
        ways.append(("&", "#", "xX", "0", *_case(f"{number:x}"), ";"))
    ways += [("&", *name, ";") for name in _ENTITIES.get(each, ())]
    if each != "&":
        ways.append(own(each))
    return tuple(ways)


def _quoted(each: str, own: Own) -> Unit:
    """As shells have it between single quotes."""
    return (tuple("'\"'\"'"), tuple("'\\''")) if each == "'" else (own(each),)


# -- looked for


def pattern_of(forms: Iterable[Form]) -> str:
    """A regular expression for any of these forms; where several fit, the first of them."""
    begun: dict[str, list[str]] = {}
    for first, *others in forms:
        rest = "".join(_row_pattern(unit, len(list(row))) for unit, row in groupby(others))
        for way in first:
            for sign in way[0]:  # by first characters: what does not begin so is passed over at the speed of C
                begun.setdefault(sign, []).append("".join(map(_class, way[1:])) + rest)
    return "|".join(f"{_class(sign)}(?:{'|'.join(dict.fromkeys(rests))})" for sign, rests in begun.items())


def _row_pattern(unit: Unit, number: int) -> str:
    """Equal units in a row; of digits that may be any of them as many as there are."""
    if unit in (_ANY_HEX, _ANY_DIGIT):
        return _class(unit[0][0]) + f"{{0,{number}}}"
    return _unit_pattern(unit) * number


def _unit_pattern(unit: Unit) -> str:
    if len(unit) == 1:
        return "".join(map(_class, unit[0]))
    if len(unit) == 3 and unit[1][1:] == unit[0]:
        return _class(f"\r{unit[1][0]}") + "{0,2}" + "".join(map(_class, unit[0]))
    return f"(?:{'|'.join(''.join(map(_class, way)) for way in unit)})"


def _class(signs: str) -> str:
    return re.escape(signs) if len(signs) == 1 else f"[{re.escape(signs)}]"


def longest(form: Form) -> int:
    """The most characters that a form may take."""
    return sum(max(map(len, unit)) for unit in form)


def is_begun(form: Form, text: str, start: int) -> bool:
    """Is all of `text` from `start` on the beginning of that form, and not the whole of it?"""
    places = {(0, start)}
    while places:
        unit, at = places.pop()
        for way in form[unit]:
            left = len(text) - at
            if all(sign in signs for sign, signs in zip(text[at : at + len(way)], way)):
                if left < len(way):
                    return True
                if unit + 1 < len(form):
                    if left == len(way):
                        return True
                    places.add((unit + 1, at + len(way)))
    return False
