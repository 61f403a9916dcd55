"""`<loop>` and `<while>`: rounds, one after the other, that share the scope around them."""

from __future__ import annotations

from plait.flow.markup import Element
from plait.flow.model import Group, Loop
from plait.flow.script.elements.common import POLICY, Enclosing, Reader
from plait.flow.script.elements.registry import element
from plait.flow.script.syntax import Block, Part
from plait.flow.script.texts import MISSING
from plait.flow.templates import Template

MOST_ROUNDS = 1000


@element("loop")
def read_loop(reader: Reader, element: Element) -> Part:
    """Its result: that of the last round. `break` is looked at after each round."""
    part, most = _begin(reader, element, "break")
    block = _rounds(reader, element, part)
    until = _end(reader, element, block, "break")
    part.body = lambda groups: _loop(groups, most, until, None)
    return part


@element("while")
def read_while(reader: Reader, element: Element) -> Part:
    """Its result: that of the last round, null where there was none. `condition` is looked at before each round."""
    part, most = _begin(reader, element, "condition")
    if "condition" not in element.attributes:
        reader.bad(element.at, MISSING, "<while> needs a condition")
    block = _rounds(reader, element, part)
    condition = _end(reader, element, block, "condition")
    part.body = lambda groups: _loop(groups, most, None, False if condition is None else condition)
    return part


def _begin(reader: Reader, element: Element, condition: str) -> tuple[Part, int | Template]:
    part = reader.begin(element, attributes=("max", condition))
    reader.tried(element, part)
    reader.no_text(element)
    span = reader.attribute(element, "max")
    most = reader.count(span, f"max of {element.tag}") if span is not None else MOST_ROUNDS
    return part, MOST_ROUNDS if most is None else most


def _rounds(reader: Reader, element: Element, part: Part) -> Block:
    children = [each for each in element.children if each.tag != "on-error"]
    if [each.tag for each in children] == ["do"]:
        inner = children[0]
        reader.known_attributes(inner, ())
        reader.no_text(inner)
        children = inner.children
    if not children:
        reader.bad(element.at, MISSING, f"<{element.tag}> has no nodes: what is to be done again and again?")
    reader.loops.append(Enclosing(part.key, element.tag))
    block = reader.block(children, element.at, names=("$iteration",))
    reader.loops.pop()
    block.rounds = True
    part.blocks = [block]
    return block


def _end(reader: Reader, element: Element, block: Block, name: str) -> Template | None:
    """The condition: the nodes of the body are in sight there."""
    span = reader.attribute(element, name)
    if span is None:
        return None
    with reader.collecting() as block.ends:
        return reader.expression(span, name)


def _loop(groups: list[Group], most: int | Template, until: Template | None, condition: Template | bool | None) -> Loop:
    return Loop(groups[0], most, until, condition, POLICY)
