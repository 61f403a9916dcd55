"""`<if>` and `<branch>`: one of several blocks."""

from __future__ import annotations

from plait.flow.markup import Element
from plait.flow.model import Case, Group, Switch
from plait.flow.script.elements.common import Reader
from plait.flow.script.elements.registry import element
from plait.flow.script.syntax import Part
from plait.flow.script.texts import MISSING, TYPE
from plait.flow.templates import Template


@element("if")
def read_if(reader: Reader, element: Element) -> Part:
    """Its result: that of the side that was chosen, null where there is none."""
    part = reader.begin(element, attributes=("condition",))
    reader.tried(element, part)
    reader.no_text(element)
    condition = _condition(reader, element, "condition")
    sides = reader.only(element, ("then", "else"))
    then, otherwise = reader.one(element, "then"), reader.one(element, "else")
    if then is None and otherwise is None and not sides:
        reader.bad(element.at, MISSING, "<if> needs a <then>", "put the nodes into <then>...</then>")
    whens: list[Template | bool | None] = []
    for side, when in ((then, condition), (otherwise, None)):
        if side is not None:
            reader.known_attributes(side, ())
            reader.no_text(side)
            part.blocks.append(reader.block(side.children, side.at))
            whens.append(when)
        elif when is not None:
            part.blocks.append(reader.block((), element.at))  # nothing is done where it holds
            whens.append(when)
    part.body = lambda groups: Switch(_cases(whens, groups))
    return part


@element("branch")
def read_branch(reader: Reader, element: Element) -> Part:
    """Its result: that of the first case that holds, null where none does."""
    part = reader.begin(element)
    reader.tried(element, part)
    reader.no_text(element)
    cases = reader.only(element, ("case", "default", "otherwise"))
    if not cases:
        reader.bad(
            element.at, MISSING, '<branch> needs a <case when="...">', "branches that run at once stand in <parallel>"
        )
    whens: list[Template | bool | None] = []
    for number, case in enumerate(cases):
        is_default = case.tag != "case"
        reader.known_attributes(case, () if is_default else ("when", "condition"))
        reader.no_text(case)
        if is_default and number + 1 < len(cases):
            reader.bad(case.at, TYPE, f"<{case.tag}> stands last: behind it no case is looked at")
        name = "when" if "when" in case.attributes or "condition" not in case.attributes else "condition"
        whens.append(None if is_default else _condition(reader, case, name))
        part.blocks.append(reader.block(case.children, case.at))
    part.body = lambda groups: Switch(_cases(whens, groups))
    return part


def _cases(whens: list[Template | bool | None], groups: list[Group]) -> tuple[Case, ...]:
    return tuple(Case(when, group) for when, group in zip(whens, groups, strict=True))


def _condition(reader: Reader, element: Element, name: str) -> Template | bool:
    """A condition; one that cannot be read is told, and stands for false."""
    span = reader.attribute(element, name)
    if span is None:
        reader.bad(element.at, MISSING, f'<{element.tag}> needs a {name}, such as {name}="length(rows) > 0"')
        return False
    found = reader.expression(span, name)
    return False if found is None else found
