"""What characters mean in the body of a FlowScript file: tags, names, references, and a `<` or `&` that is only itself."""

from __future__ import annotations

import re

from plait.flow.spans import Spanning

_FIRST = r"(?!\d)[\w:]"
_NAME = rf"{_FIRST}[\w:.-]*+"
_BLANK = "[ \t\n]"
_REFERRED = rf"#[0-9]++;|#x[0-9a-fA-F]++;|{_NAME};"

MARK = re.compile(rf"<(?={_FIRST}|[/!?])")
"""A `<` that is none of the text."""
OPENS = re.compile(rf"<({_NAME})")
CLOSES = re.compile(rf"</({_NAME}){_BLANK}*+>")
ATTRIBUTE = re.compile(rf"{_BLANK}++({_NAME}){_BLANK}*+={_BLANK}*+(?:\"([^\"]*+)\"|'([^']*+)')")
ENDS = re.compile(rf"{_BLANK}*+(/?)>")
BLANKS = re.compile(rf"{_BLANK}*+")
STARTED = re.compile(rf"({_NAME}){_BLANK}*+(?:={_BLANK}*+)?+")
"""What may be the start of an attribute."""

_BARE = re.compile(rf"<(?!{_FIRST}|[/!?])|&(?!{_REFERRED})|(?<=]])>")
_REFERENCES = re.compile(rf"&(?={_REFERRED})")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MOST_DIGITS = 7
"""Of a number of a character, without the zeros before it."""

LESS = "where `<` means less-than, write `&lt;`, or put a blank behind it"


class Misread(ValueError):
    """What cannot be read, and the offset where it is."""

    def __init__(self, offset: int, message: str, hint: str, code: str = "PARSE_XML_INVALID") -> None:
        super().__init__(message)
        self.offset = offset
        self.hint = hint
        self.code = code


def masked(text: str) -> str:
    """The same number of characters, of which XML takes none for a mark: what people write in expressions it does not allow."""
    return _BARE.sub("_", text)


def add_text(made: Spanning, text: str, start: int, end: int, in_attribute: bool = False) -> None:
    """Adds what stands between two offsets, references as what they stand for.

    Raises:
        Misread: for an entity that is not one of XML's five, or a number that is no character.
    """
    for mark in _REFERENCES.finditer(text, start, end):
        _add(made, text, start, mark.start(), in_attribute)
        start = text.index(";", mark.end()) + 1
        made.add(_referred(text[mark.start() : start], mark.start()), mark.start(), start)
    _add(made, text, start, end, in_attribute)


def _add(made: Spanning, text: str, start: int, end: int, in_attribute: bool) -> None:
    piece = text[start:end]
    made.add(as_blanks(piece) if in_attribute else piece, start, end)


def as_blanks(text: str) -> str:
    """A text of an attribute, where XML takes line ends and tabs for blanks."""
    return text.replace("\n", " ").replace("\t", " ")


def _referred(reference: str, at: int) -> str:
    if reference in _KNOWN:
        return _KNOWN[reference]
    name = reference[1:-1]
    if not name.startswith("#"):
        raise Misread(
            at,
            f"`{short(reference)}` is an entity that is not known",
            "there are `&lt;` `&gt;` `&amp;` `&quot;` `&apos;` and numbers such as `&#233;`; for the character & write `&amp;`",
        )
    digits = name.lstrip("#x").lstrip("0")
    if len(digits) <= _MOST_DIGITS:
        number = int(digits or "0", 16 if name.startswith("#x") else 10)
        if number <= 0x10FFFF and not_xml(chr(number), 0, 1) is None:
            return chr(number)
    raise Misread(at, f"`{short(reference)}` is no character that XML may hold", "drop it")


_KNOWN = {"&lt;": "<", "&gt;": ">", "&amp;": "&", "&apos;": "'", "&quot;": '"'}


def not_xml(text: str, start: int, end: int) -> int | None:
    """The offset of the first character that XML may not hold; None where there is none."""
    found = _NOT_XML.search(text, start, end)
    return None if found is None else found.start()


def short(name: str) -> str:
    """A name, as a message shows it."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 3]}..."


_LONGEST = 60
