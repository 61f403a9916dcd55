"""`<phase>`: nodes that are one node to the outside."""

from __future__ import annotations

import re

from plait.flow.markup import Element
from plait.flow.script.elements.common import ON_ERROR, Reader
from plait.flow.script.elements.registry import element
from plait.flow.script.syntax import Part
from plait.flow.script.texts import TWICE


@element("phase")
def read_phase(reader: Reader, element: Element) -> Part:
    """Its nodes run as soon as what they name is there."""
    part = reader.begin(element, default=_id(reader, element) or None, repeats=True)
    reader.tried(element, part)
    reader.no_text(element)
    children = [each for each in element.children if each.tag != ON_ERROR]
    part.blocks = [reader.block(children, element.at, in_order=False)]
    part.body = lambda groups: groups[0]
    return part


def id_of(name: str) -> str:
    """The id that a name stands for."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")


def _id(reader: Reader, element: Element) -> str:
    """The id of a phase without one, by its name."""
    if "id" in element.attributes or "name" not in element.attributes:
        return ""
    name = element.attributes["name"].value
    made = id_of(name.value)
    if made in reader.ids:
        line = reader.ids[made].line
        reader.bad(name.place(0), TWICE, f"the id {made!r}, which this name stands for, was given in line {line}")
    elif made:
        reader.ids[made] = name.place(0)
    return made
