"""`<set>` and `<context>`: variables."""

from __future__ import annotations

import re
from typing import Any

from plait.flow.markup import Element
from plait.flow.model import Assign
from plait.flow.script.elements.common import Reader
from plait.flow.script.elements.registry import element
from plait.flow.script.syntax import Part
from plait.flow.script.texts import MISSING, TYPE, constant, scalar

NAME = re.compile(r"[A-Za-z_][\w-]*")


@element("set")
def read_set(reader: Reader, element: Element) -> Part | None:
    """Its result: the value."""
    entry = _entry(reader, element)
    part = reader.begin(element, attributes=("var", "key", "value"), default=entry[0] if entry else "set", repeats=True)
    if entry is None:
        return None
    reader.tried(element, part)
    name, value = entry
    part.sets = (name,)
    body = Assign({name: value}, True)
    part.body = lambda groups: body
    return part


@element("context")
def read_context(reader: Reader, element: Element) -> Part:
    """Its result: an object of the variables that it sets."""
    part = reader.begin(element, default="context")
    reader.tried(element, part)
    reader.no_text(element)
    values: dict[str, Any] = {}
    for child in reader.only(element, ("set",)):
        reader.known_attributes(child, ("var", "key", "value", "id"))
        entry = _entry(reader, child)
        if entry is not None:
            if entry[0] in values:
                reader.bad(child.at, TYPE, f"{entry[0]!r} is set twice in this <context>")
            values[entry[0]] = entry[1]
    if not values:
        reader.bad(element.at, MISSING, '<context> needs a <set key="..." value="..."/>')
    part.sets = tuple(values)
    body = Assign(values, False)
    part.body = lambda groups: body
    return part


def _entry(reader: Reader, element: Element) -> tuple[str, Any] | None:
    """A variable and its value. JSON scalars are typed: `5`, `true`, `null`."""
    span = reader.attribute(element, "var", "key")
    if span is None:
        reader.bad(element.at, MISSING, "<set> needs a var: the name of the variable")
        return None
    name = span.value.strip()
    if not NAME.fullmatch(name):
        reader.bad(span.place(0), TYPE, f"a variable is called by letters, digits, `_` and `-`, not {name!r:.60}")
        return None
    text = reader.attribute(element, "value")
    inner = reader.one(element, "value")
    reader.only(element, ("value",))
    text = text if text is not None else inner.text if inner is not None else element.text
    if text is None:
        reader.bad(element.at, MISSING, f'<set var="{name}"> needs a value')
        return None
    made = reader.template(text)
    if made is None:
        return None
    value = constant(made)
    return name, scalar(value) if isinstance(value, str) else value
