"""The body of a FlowScript file: from its characters to elements, and to a text that a parser of XML may judge.

What people write in expressions and XML does not take, a bare `<` or `&`, is another character in that text, one for one; so
whatever the parser says of a place is true of the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from plait.flow.elements import Attribute, Element
from plait.flow.lexis import (
    ATTRIBUTE,
    BLANKS,
    CLOSES,
    ENDS,
    LESS,
    MARK,
    OPENS,
    STARTED,
    Misread,
    add_text,
    as_blanks,
    masked,
    not_xml,
    short,
)  # fmt: skip
from plait.flow.spans import Beside, Lines, Span, Spanning

DEEPEST = 250
MOST_ELEMENTS = 100_000
MOST_ATTRIBUTES = 100
"""Of an element."""
MOST_OF_ALL = 100_000
"""Attributes of all elements."""
ROOT = "workflow"
_ROOT = re.compile(rf"<{ROOT}(?![\w:.-])")


@dataclass(slots=True)
class _Open:
    """An element whose end is not there yet."""

    tag: str
    at: int
    text: Spanning
    attributes: dict[str, Attribute] = field(default_factory=dict)
    children: list[Element] = field(default_factory=list)
    in_text: bool = False
    """Does it stand behind text, as a less-than would?"""


class Body:
    """The body of a text, which begins at an offset; lines end in one character each."""

    def __init__(self, text: str, start: int, lines: Lines) -> None:
        self._text = text
        self._start = start
        self._lines = lines
        self._open: list[_Open] = []
        self._xml: list[str] = []
        self._elements = 0
        self._attributes = 0
        self.end = start
        """Behind the last character that has been read."""

    def xml(self) -> str:
        """What was read, as XML, of the same length."""
        return "".join(self._xml)

    def read(self) -> Element:
        """Its root.

        Raises:
            Misread: for what is no element or has no end, or for a character that XML may not hold before that.
        """
        try:
            root = self._root()
        except Misread as error:
            self._check_characters(error.offset + 1)
            raise
        self._check_characters(self.end)
        return root

    def _check_characters(self, end: int) -> None:
        at = not_xml(self._text, self._start, end)
        if at is not None:
            code = ord(self._text[at])
            raise Misread(at, f"the file holds the character U+{code:04X}, which XML does not allow", "drop it")

    def _root(self) -> Element:
        self._to_root()
        while True:
            mark = MARK.search(self._text, self.end)
            if mark is None:
                raise self._unclosed()
            at = mark.start()
            if at > self.end:
                add_text(self._open[-1].text, self._text, self.end, at)
                self._take(at)
            match self._text[at + 1]:
                case "!":
                    self._passed(at)
                case "?":
                    raise Misread(at, INSTRUCTION, "drop it")
                case "/":
                    element = self._closed(at)
                    if not self._open:
                        return element
                case _:
                    empty = self._opened(at)
                    if empty is not None and not self._open:
                        return empty

    def _take(self, end: int) -> None:
        """Everything up to an offset has been read."""
        self._xml.append(masked(self._text[self.end : end]))
        self.end = end

    # -- before the root

    def _to_root(self) -> None:
        text = self._text
        while True:
            blanks = BLANKS.match(text, self.end)
            assert blanks is not None
            at = blanks.end()
            self._take(at)
            tag = OPENS.match(text, at)
            if tag is not None and tag[1] == ROOT:
                return
            if text.startswith("<?", at):
                raise Misread(at, INSTRUCTION, "drop it")
            if not text.startswith("<!", at) or text.startswith(CDATA, at):
                raise self._no_root(at, "" if tag is None else tag[1])
            self._passed(at)

    def _no_root(self, at: int, tag: str) -> Misread:
        found = f"`<{short(tag)}>`" if tag else "this"
        if _ROOT.search(self._text, at) is None:
            said = f": {found} is none" if at < len(self._text) else " behind the front matter"
            return Misread(at, f"there is no `<{ROOT}>`{said}", WRITE_BODY, "PARSE_MISSING_BODY")
        return Misread(
            at,
            f"only blanks and comments may stand before `<{ROOT}>`; {found} is neither",
            f"move it into `<{ROOT}>`, behind `</{ROOT}>`, or into a comment `<!-- ... -->`",
        )

    # -- tags

    def _opened(self, at: int) -> Element | None:
        """Reads the start tag at an offset; its element, where that ends there, too."""
        text = self._text
        found = OPENS.match(text, at)
        assert found is not None
        opened = _Open(found[1], at, Spanning(self._lines))
        opened.in_text = bool(self._open) and self._open[-1].text.is_written
        self._count(opened)
        behind = found.end()
        while (each := ATTRIBUTE.match(text, behind)) is not None:
            self._attribute(opened, each)
            behind = each.end()
        end = ENDS.match(text, behind)
        if end is None:
            raise self._no_tag(opened, behind)
        self._xml.append(found[0])
        self.end = found.end()
        self._take(behind)
        self._xml.append(end[0])
        self.end = end.end()
        if end[1]:
            return self._element(opened)
        self._open.append(opened)
        return None

    def _count(self, opened: _Open) -> None:
        self._elements += 1
        if self._elements > MOST_ELEMENTS:
            raise Misread(opened.at, f"the file has more than {MOST_ELEMENTS:,} elements", SHORTER)
        if len(self._open) == DEEPEST:
            raise Misread(opened.at, f"elements are nested deeper than {DEEPEST} levels", SHORTER)
        if opened.tag == ROOT and len(self._open) == 1:
            raise Misread(
                opened.at,
                f"a file has one `<{ROOT}>`; this is a second one in {self._told(self._open[0])}",
                f"write `</{ROOT}>` before it if the first one ends there; `<include>` runs another file",
            )

    def _attribute(self, opened: _Open, found: re.Match[str]) -> None:
        name, at = found[1], found.start(1)
        if name in opened.attributes:
            first = opened.attributes[name].at
            raise Misread(
                at,
                f"`<{short(opened.tag)}>` has the attribute `{short(name)}` twice; first in line {first.line}, column {first.column}",
                "drop one of them",
            )
        if len(opened.attributes) == MOST_ATTRIBUTES:
            raise Misread(
                at, f"an element has more than {MOST_ATTRIBUTES} attributes", "use child elements, or drop some"
            )
        start, end = found.span(2 if found[2] is not None else 3)
        mark = MARK.search(self._text, start, end)
        if mark is not None:
            quote = self._lines.place(start - 1)
            raise Misread(
                mark.start(),
                f"`<` in the value of `{short(name)}` would begin a tag",
                f"{LESS}; or is the quote of line {quote.line}, column {quote.column} never closed?",
            )
        self._attributes += 1
        if self._attributes > MOST_OF_ALL:
            raise Misread(at, f"the file has more than {MOST_OF_ALL:,} attributes", SHORTER)
        opened.attributes[name] = Attribute(name, self._value(start, end), self._lines.place(at))

    def _value(self, start: int, end: int) -> Span:
        value = self._text[start:end]
        if "&" not in value:
            return Span(as_blanks(value), self._lines, Beside(start))
        made = Spanning(self._lines)
        add_text(made, self._text, start, end, in_attribute=True)
        return made.span()

    def _closed(self, at: int) -> Element:
        """The element that the end tag at an offset ends."""
        found = CLOSES.match(self._text, at)
        if found is None:
            raise Misread(
                at, "`</` begins an end tag, and this is none", "write `</NAME>`; for the characters `</` write `&lt;/`"
            )
        if found[1] != self._open[-1].tag:
            raise self._mismatch(found[1], at)
        self._xml.append(found[0])
        self.end = found.end()
        return self._element(self._open.pop())

    def _element(self, opened: _Open) -> Element:
        text: Span | None = None
        if opened.text.is_written:
            text = opened.text.span().dedented()
        at, end = self._lines.place(opened.at), self._lines.place(self.end)
        element = Element(opened.tag, opened.attributes, opened.children, text, at, end)
        if self._open:
            self._open[-1].children.append(element)
        return element

    # -- comments and CDATA

    def _passed(self, at: int) -> None:
        """Reads the comment or CDATA section at an offset."""
        text = self._text
        if text.startswith("<!--", at):
            end = text.find("-->", at + 4)
            if end < 0:
                raise Misread(at, "this comment is never closed", "write `-->` behind it")
            # XML has no `--` in a comment, and people draw lines with it.
            self._xml.append(f"<!--{'_' * (end - at - 4)}-->")
        elif text.startswith(CDATA, at):
            start = at + len(CDATA)
            end = text.find("]]>", start)
            if end < 0:
                raise Misread(at, "this CDATA section is never closed", "write `]]>` behind it")
            self._open[-1].text.add(text[start:end], start, end)
            self._xml.append(text[at : end + 3])
        elif text[at + 2 : at + 9].upper() == "DOCTYPE":
            raise Misread(
                at,
                "a document type (`<!DOCTYPE`) is not allowed in a workflow file",
                "drop it, and write out its entities",
            )
        else:
            raise Misread(
                at,
                "`<!` begins a comment or a CDATA section, and this is none",
                "write `<!-- ... -->`; for the characters `&lt;!`",
            )
        self.end = end + 3

    # -- what is wrong

    def _told(self, opened: _Open) -> str:
        place = self._lines.place(opened.at)
        return f"`<{short(opened.tag)}>` of line {place.line}, column {place.column}"

    def _unclosed(self) -> Misread:
        opened = self._open[-1]
        tag = short(opened.tag)
        hint = LESS if opened.in_text else f"write `</{tag}>` behind its content"
        return Misread(opened.at, f"`<{tag}>` is never closed", hint)

    def _mismatch(self, tag: str, at: int) -> Misread:
        opened = self._open[-1]
        if any(each.tag == tag for each in self._open):
            what = f"`</{short(tag)}>` stands where {self._told(opened)} is not closed"
            hint = f"write `</{short(opened.tag)}>` before it"
        else:
            what = f"`</{short(tag)}>` ends nothing; what is open is {self._told(opened)}"
            hint = f"write `</{short(opened.tag)}>`, or drop it"
        return Misread(at, what, LESS if opened.in_text else hint)

    def _no_tag(self, opened: _Open, behind: int) -> Misread:
        """What keeps a start tag, which could be read up to an offset, from being one."""
        text, shown = self._text, f"`<{short(opened.tag)}`"
        blanks = BLANKS.match(text, behind)
        assert blanks is not None
        at = blanks.end()
        started = STARTED.match(text, at)
        if at == len(text) or text[at] == "<" or (opened.in_text and (started is None or "=" not in started[0])):
            hint = LESS if opened.in_text else "write `>` behind its last attribute"
            return Misread(opened.at, f"{shown} begins a tag that does not end", hint)
        if started is None:
            return Misread(at, f"`{text[at]}` does not belong in the tag {shown}", 'write attributes as `NAME="VALUE"`')
        name, value = short(started[1]), started.end()
        if at == behind:
            hint = "write a blank; or is a quote closed too early, or not at all?"
            return Misread(at, f"`{name}` follows a quote without a blank", hint)
        if "=" not in started[0]:
            return Misread(at, f"the attribute `{name}` of {shown} has no value", f'write `{name}="true"`')
        if text.startswith(("'", '"'), value):
            return Misread(
                value, f"the quote of the attribute `{name}` is never closed", "write it behind the value, too"
            )
        return Misread(value, f"the value of the attribute `{name}` is not quoted", f'write `{name}="..."`')


CDATA = "<![CDATA["
INSTRUCTION = "processing instructions (`<?`) are not allowed in a workflow file"
WRITE_BODY = f"write `<{ROOT}>` ... `</{ROOT}>` below the second `---`"
SHORTER = "split the workflow: `<include>` runs another file"
