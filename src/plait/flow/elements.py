"""The tree of the body of a FlowScript file."""

from __future__ import annotations

from dataclasses import dataclass

from plait.flow.problems import Place
from plait.flow.spans import Span


@dataclass(frozen=True, slots=True)
class Attribute:
    """`name="value"`; line ends and tabs of the value are blanks, as XML has it."""

    name: str
    value: Span
    at: Place


@dataclass(frozen=True, slots=True)
class Element:
    """`<tag ...> ... </tag>`, from `at` to `end`.

    `text` is its own text, also that between its children: dedented, and None where there are blanks only.
    """

    tag: str
    attributes: dict[str, Attribute]
    children: list[Element]
    text: Span | None
    at: Place
    end: Place
