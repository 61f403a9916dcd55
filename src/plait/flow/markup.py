"""Reads a FlowScript file into a tree with places: its front matter, the elements of its body, and where its footer begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from plait.flow.elements import Attribute, Element
from plait.flow.frontmatter import read_front
from plait.flow.lexis import Misread
from plait.flow.problems import START, Problems
from plait.flow.sections import read_yaml
from plait.flow.spans import Lines, Span
from plait.flow.tags import SHORTER, Body
from plait.flow.tree import LARGEST_BYTES, Mapping, file_text

__all__ = ["Attribute", "Element", "Source", "Span", "read_markup", "read_yaml"]


@dataclass(frozen=True, slots=True)
class Source:
    """What a file says. `text` is all of it; behind its first `footer` characters nothing is read."""

    front: Mapping
    root: Element
    footer: int
    text: str


def read_markup(path: Path, problems: Problems, text: str | None = None) -> Source:
    """The parts of a FlowScript file, or of `text` in its place.

    Raises:
        FlowError: for a file that cannot be read, or whose front matter is no YAML or whose body no XML, with the place.
    """
    with problems.under("PARSE_XML_INVALID", but=("file",)):
        text = file_text(path, problems) if text is None else text.removeprefix("\ufeff")
    problems.text = text
    if len(text) > LARGEST_BYTES:
        raise problems.stop(START, "PARSE_XML_INVALID", f"the file has more than {LARGEST_BYTES:,} characters", SHORTER)
    # Lines that end in one character make offsets simple, and no place another one.
    whole = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = Lines(whole)
    front, start = read_front(whole, problems)
    body = Body(whole, start, lines)
    try:
        root = body.read()
        _judge(body.xml(), start)
    except Misread as error:
        raise problems.stop(lines.place(error.offset), error.code, str(error), error.hint) from None
    return Source(front, root, _footer(text, body.end), text)


def _judge(xml: str, start: int) -> None:
    """Refuses what the parser of the standard library does not take for XML; `start` is where in the file it begins."""
    parser = expat.ParserCreate("utf-8")
    data = xml.encode()
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        at = start + len(data[: max(parser.ErrorByteIndex, 0)].decode("utf-8", "ignore"))
        raise Misread(at, f"not XML: {expat.errors.messages[error.code]}", NAMES) from None


NAMES = "names of elements and attributes have letters, digits, `_`, `-`, `.` and `:`"


def _footer(text: str, end: int) -> int:
    """The offset in a text as it is in the file of what is at `end` where each line ends in one character."""
    at, before = end, -1
    while at != before:  # the further on, the more line ends of two characters are before it
        at, before = end + text.count("\r\n", 0, at), at
    return at
