"""Elements as the text of a FlowScript file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from plait.flow.convert.emitting import quoted, scalar


@dataclass(slots=True)
class Tag:
    """An element: its attributes, then text or children."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    text: str = ""
    children: list[Tag] = field(default_factory=list)

    def lines(self, indent: str = "") -> Iterator[str]:
        """As it stands in a file."""
        said = "".join(f' {name}="{escaped(value, attribute=True)}"' for name, value in self.attributes.items())
        head = f"{indent}<{self.name}{said}"
        if self.children:
            yield f"{head}>"
            for each in self.children:
                yield from each.lines(indent + "  ")
            yield f"{indent}</{self.name}>"
        elif not self.text:
            yield f"{head}/>"
        elif "\n" not in self.text:
            yield f"{head}>{escaped(self.text)}</{self.name}>"
        else:
            yield f"{head}>"
            yield from (indent + "  " + escaped(line) if line else "" for line in self.text.split("\n"))
            yield f"{indent}</{self.name}>"


def escaped(text: str, *, attribute: bool = False) -> str:
    """Text between tags, or in quotes."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("]]>", "]]&gt;")
    if attribute:
        text = text.replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;")
    return text


def stands_alone(text: str) -> bool:
    """Is a text between tags read as it is? Blanks around it and common indentation are not."""
    lines = text.split("\n")
    return (
        bool(text)
        and text == text.strip()
        and all(line == line.rstrip() for line in lines)
        and all(each == "\n" or (each.isprintable() and each not in "\u2028\u2029") for each in text)
    )


class Hollow(str):
    """A `{{ ... }}` as it is written: no YAML, whatever stands around it."""

    __slots__ = ()


class Words(tuple[str, ...]):
    """A text with `Hollow` parts in it."""

    __slots__ = ()


def section(fields: dict[str, Any]) -> str:
    """Fields as the YAML in an element: one in each line."""
    return "\n".join(f"{scalar(name)}: {_inline(value)}" for name, value in fields.items())


def _inline(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{scalar(name)}: {_inline(each)}" for name, each in value.items()) + "}"
        case Words():
            return '"' + "".join(each if isinstance(each, Hollow) else _quoted(each)[1:-1] for each in value) + '"'
        case list() | tuple():
            return "[" + ", ".join(map(_inline, value)) + "]"
        case str():
            return _quoted(value) if "{{" in value else scalar(value)
    return scalar(value)


def _quoted(text: str) -> str:
    made = quoted(text)
    return made.replace("{{", "\\{{")


def plain_text(value: Any) -> str:
    """Text, or such words, as it stands between tags."""
    parts = value if isinstance(value, Words) else (value,)
    return "".join(each if isinstance(each, Hollow) else each.replace("{{", "\\{{") for each in parts)
