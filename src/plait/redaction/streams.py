"""Secret values in what comes in pieces: nothing is let through that may be the beginning of one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from plait.redaction.forms import Form, is_begun

_MARK = b"[REDACTED]"


TOLD = 8
"""Bytes of the beginning of a secret value that give nothing away: a longer one is hidden where the stream breaks off."""


class Looked:
    """What is looked for in bytes: the pattern, the forms by their first characters, and how long one may be."""

    def __init__(self, pattern: re.Pattern[bytes], begun: Mapping[int, Sequence[Form]], longest: int) -> None:
        self.pattern = pattern
        self.begun = begun
        self.longest = longest


class Filter:
    """Takes bytes in pieces and gives them back without secret values, also those that two pieces share."""

    def __init__(self, looked: Looked, words: Words | None) -> None:
        self._looked = looked
        self._words = words
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What can be told once this piece came too."""
        return self._passed(self._held + data, last=False) if data else b""

    def flush(self) -> bytes:
        """What is left: nothing comes any more."""
        return self._passed(self._held, last=True)

    def _passed(self, data: bytes, *, last: bool) -> bytes:
        parts: list[bytes] = []
        at, pattern = 0, self._looked.pattern
        while True:
            held = self._first_begun(data, at)
            if last and len(data) - held < TOLD:
                held = len(data)
            for found in pattern.finditer(data, at):
                if found.start() >= held:
                    break
                parts += [data[at : found.start()], _MARK]
                at = found.end()
                if at > held:  # what was held there is a part of this one
                    break
            if at <= held:
                break
        parts.append(data[at:held])
        self._held = b"" if last else data[held:]
        if last and held < len(data):
            parts.append(_MARK)  # it broke off in the middle of one
        clean = b"".join(parts)
        return clean if self._words is None else self._words.passed(clean, last=last)

    def _first_begun(self, data: bytes, start: int) -> int:
        """Where that begins at the end of the data which may become a secret value; its end, where nothing does."""
        looked = self._looked
        first = max(start, len(data) - looked.longest + 1)
        tail = data[first:].decode("latin-1")
        for at, byte in enumerate(data[first:]):
            for form in looked.begun.get(byte, ()):
                if is_begun(form, tail, at):
                    return first + at
        return len(data)


class Words:
    """Takes the values out that count as whole words alone; the beginning of one, or one that may go on, is held."""

    def __init__(self, pattern: re.Pattern[bytes], values: Sequence[bytes]) -> None:
        self._pattern = pattern
        self._values = values
        self._longest = max(map(len, values))
        self._held = b""
        self._before = b""
        """The byte before what is held."""

    def passed(self, data: bytes, *, last: bool) -> bytes:
        """What can be told of the data so far."""
        whole = self._before + self._held + data
        at = len(self._before)
        end = len(whole) if last else self._first_begun(whole, at)
        parts = []
        for found in self._pattern.finditer(whole, at):
            if found.start() >= end:
                break
            parts += [whole[at : found.start()], _MARK]
            at = found.end()
            if at > end:
                end = self._first_begun(whole, at)
        parts.append(whole[at:end])
        self._before, self._held = whole[:end][-1:], whole[end:]
        return b"".join(parts)

    def _first_begun(self, whole: bytes, start: int) -> int:
        for at in range(max(start, len(whole) - self._longest), len(whole)):
            if any(value.startswith(whole[at:]) for value in self._values):
                return at
        return len(whole)
