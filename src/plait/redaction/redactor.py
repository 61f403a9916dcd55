"""Secret values, found in text, bytes, data and exceptions, and replaced by `[REDACTED]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from plait.redaction.forms import (
    LONG,
    MARK,
    SHORTEST,
    Form,
    as_data,
    as_text,
    forms_of,
    longest,
    parts_of,
    pattern_of,
)
from plait.redaction.streams import Filter, Looked, Words

_MARK = MARK.encode()


class Redactor:
    """Replaces the values of these secrets, in whatever form they stand; empty ones are none.

    A value of fewer than `SHORTEST` characters is replaced where it stands as a word of its own, as it is: in other forms, and inside of
    words, there would be no telling it from what stands there by chance.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        parts = {part for value in values.values() if value.strip() for part in parts_of(value)}
        # Longer ones first, for one may be the beginning of another.
        self._values = sorted((each for each in parts if len(each) >= SHORTEST), key=lambda each: (-len(each), each))
        self._short = sorted(each for each in parts if len(each) < SHORTEST)
        self._numbers = {each for each in parts if _is_number(each)}
        whole = [value for value in values.values() if len(value) > LONG]
        self._lines = {part for value in whole for part in parts_of(value) if part != value}
        """Of long values: they are looked for in escapes alone."""
        self._spares_mark = any(each in MARK for each in parts)

    def __bool__(self) -> bool:
        """Is there anything to look for?"""
        return bool(self._values or self._short)

    # -- text and bytes

    def text(self, text: str) -> str:
        """The text without secret values; the same object where there are none."""
        data = text.encode("utf-8", "surrogatepass")
        clean = self.data(data)
        return text if clean is data else clean.decode("utf-8", "surrogatepass")

    def data(self, data: bytes) -> bytes:
        """The same for bytes."""
        for pattern in self._patterns:
            if pattern.search(data) is not None:
                clean = pattern.sub(_MARK, data)
                data = data if clean == data else clean
        return data

    def filter(self) -> Filter:
        """The same for bytes that come in pieces."""
        return Filter(self._looked, Words(self._patterns[1], list(map(as_data, self._short))) if self._short else None)

    def whole(self, data: bytes) -> bytes:
        """The same for all that came: also of a secret in whose middle it breaks off nothing is told."""
        cleaner = self.filter()
        return cleaner.feed(data) + cleaner.flush()

    def number(self, number: float) -> Any:
        """A number, unless it is a secret value as it is written."""
        return MARK if self._numbers and repr(number) in self._numbers else number

    @cached_property
    def _looked(self) -> Looked:
        begun: dict[int, dict[Form, None]] = {}
        for form in self._forms:
            for sign in {sign for way in form[0] for sign in way[0]}:
                begun.setdefault(ord(sign), {})[form] = None
        most = max(map(longest, self._forms), default=1)
        return Looked(self._patterns[0], {byte: tuple(forms) for byte, forms in begun.items()}, most)

    @cached_property
    def _forms(self) -> list[Form]:
        found = [form for value in self._values for form in forms_of(value, thorough=value not in self._lines)]
        odd = [value for value in self._values if any("\ud800" <= each <= "\udfff" for each in value)]
        return [*found, *(form for value in odd for form in forms_of(value, as_text, thorough=False))]

    @cached_property
    def _patterns(self) -> list[re.Pattern[bytes]]:
        """What is looked for: the values, and behind that the short ones, if there are some."""
        # What stands for a value is not looked at again, also where the value is a part of that.
        spared = re.escape(MARK) + "|" if self._spares_mark else ""
        found = [spared + pattern_of(self._forms) if self._values else r"(?!)"]
        if self._short:
            words = "|".join(re.escape(as_data(value).decode("latin-1")) for value in self._short)
            found.append(rf"{spared}(?<![\w\x80-\xff])(?:{words})(?![\w\x80-\xff])")
        return [re.compile(each.encode("latin-1")) for each in found]

    # -- everything else

    def redact(self, value: Any) -> Any:
        """The value without secret values, whatever it is made of; the same object where there are none."""
        kind = type(value)
        if kind is str:
            return self.text(value)
        if value is None or kind is bool:
            return value
        from plait.redaction.data import redacted  # which needs more than most texts do

        return redacted(self, value)

    def finds(self, value: Any) -> bool:
        """Is there a secret value in it?"""
        return self.redact(value) is not value


def _is_number(text: str) -> bool:
    try:
        return len(text) >= SHORTEST and repr(float(text) if set(text) & set(".e") else int(text)) == text
    except ValueError:
        return False
