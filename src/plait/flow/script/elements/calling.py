"""`<include>` and `<call>`: the nodes of another file."""

from __future__ import annotations

from typing import Any

from plait.flow.markup import Element
from plait.flow.script.elements.common import COMMON, Reader
from plait.flow.script.elements.registry import element
from plait.flow.script.syntax import Part
from plait.flow.script.texts import MISSING, TYPE, constant, scalar

RESERVED = frozenset((*COMMON, "workflow"))


@element("include", "call")
def read_call(reader: Reader, element: Element) -> Part | None:
    """Its result: that of the last node of the file. `include` sees config and secrets; `call` what it is given and its own secrets."""
    attributes = tuple(element.attributes)
    part = reader.begin(element, attributes=attributes)
    reader.no_text(element)
    reader.tried(element, part)
    tag, names = ("bind", ("key", "name")) if element.tag == "include" else ("arg", ("name", "key"))
    given: dict[str, Any] = {}
    for name in attributes:
        if name not in RESERVED:
            found = reader.template(element.attributes[name].value)
            if found is not None:
                value = constant(found)
                given[name] = scalar(value) if isinstance(value, str) else value
    for child in reader.only(element, (tag,)):
        reader.known_attributes(child, ("key", "name", "value"))
        span = reader.attribute(child, *names)
        text = reader.attribute(child, "value") or child.text
        if span is None or text is None or not span.value.strip():
            reader.bad(child.at, MISSING, f"<{tag}> needs a {names[0]} and a value")
            continue
        if span.value.strip() in given:
            reader.bad(span.place(0), TYPE, f"{span.value.strip()!r} is given twice")
        found = reader.template(text)
        if found is not None:
            value = constant(found)
            given[span.value.strip()] = scalar(value) if isinstance(value, str) else value
    path = reader.attribute(element, "workflow")
    if path is None or not path.value.strip():
        reader.bad(element.at, MISSING, f"<{element.tag}> needs a workflow: the path of a file, from this one")
        return part
    body = reader.other(path, given, shares=element.tag == "include")
    if body is not None:
        part.body = lambda groups: body
    return part
