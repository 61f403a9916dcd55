"""`<foreach>`: the same nodes for each item of a list, so many items at once as `concurrency` says."""

from __future__ import annotations

import re

from plait.expressions import parse
from plait.expressions.formula import Formula
from plait.flow.markup import Element
from plait.flow.script.elements.common import POLICY, Enclosing, Reader
from plait.flow.script.elements.registry import element
from plait.flow.script.syntax import Part, Use
from plait.flow.script.texts import MISSING, TYPE
from plait.flow.templates import Hole, Template

NAME = re.compile(r"[A-Za-z_][\w-]*")
AT_ONCE = 1


@element("foreach")
def read_foreach(reader: Reader, element: Element) -> Part:
    """Its result: what each item gave, in the order of the items."""
    part = reader.begin(element, attributes=("collection", "item", "index", "concurrency"))
    reader.tried(element, part)
    reader.no_text(element)
    span = reader.attribute(element, "collection")
    if span is not None:
        part.foreach = reader.expression(span, "collection")
    else:
        reader.note(Use("input", (), element.at))
    if part.foreach is None:
        part.foreach = Template((Hole(Formula(parse("input"), "input"), 0),))
    part.item_names = (_name(reader, element, "item"), _name(reader, element, "index"))
    at_once = reader.attribute(element, "concurrency")
    width = reader.count(at_once, "concurrency of foreach") if at_once is not None else AT_ONCE
    part.whole = part.policy
    if isinstance(width, int):
        part.whole = part.whole.but(width=width)
    elif width is not None:
        part.late["width"] = width
    part.policy = POLICY
    children = [each for each in element.children if each.tag != "on-error"]
    if not children:
        reader.bad(element.at, MISSING, "<foreach> has no nodes: what is to be done with each item?")
    reader.loops.append(Enclosing(part.key, "foreach"))
    part.blocks = [reader.block(children, element.at, names=(*part.item_names, "$item", "$index"))]
    reader.loops.pop()
    part.body = lambda groups: groups[0]
    return part


def _name(reader: Reader, element: Element, attribute: str) -> str:
    """What the item, or its number, is called."""
    span = reader.attribute(element, attribute)
    if span is None:
        return attribute
    said = span.value.strip().removeprefix("$")
    if not NAME.fullmatch(said):
        reader.bad(span.place(0), TYPE, f'{attribute} must be a name, such as {attribute}="city", not {said!r:.60}')
        return attribute
    return said
