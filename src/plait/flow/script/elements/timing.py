"""`<delay>` and `<timeout>`."""

from __future__ import annotations

from plait.flow.markup import Element
from plait.flow.model import Delay
from plait.flow.script.elements.common import Reader
from plait.flow.script.elements.registry import element
from plait.flow.script.syntax import Fallback, Part
from plait.flow.script.texts import MISSING, TYPE
from plait.flow.templates import Template


@element("delay")
def read_delay(reader: Reader, element: Element) -> Part:
    """What stands behind it in its sequence waits for it; it has no slot meanwhile."""
    part = reader.begin(element, attributes=("duration",), default="delay")
    reader.tried(element, part)
    reader.no_text(element)
    reader.only(element, ())
    seconds = _duration(reader, element)
    body = Delay(0.0 if seconds is None else seconds)
    part.is_gate = part.passes_on = True
    part.body = lambda groups: body
    return part


@element("timeout")
def read_timeout(reader: Reader, element: Element) -> Part:
    """Its result: that of its last node, or of the node `on-timeout`. What runs inside is cancelled."""
    part = reader.begin(element, attributes=("duration", "on-timeout"))
    seconds = _duration(reader, element)
    if isinstance(seconds, Template):
        part.late["timeout"] = seconds
    elif seconds is not None:
        if seconds <= 0:
            reader.bad(element.attributes["duration"].at, TYPE, "duration of timeout must be longer than nothing")
        else:
            part.policy = part.policy.but(timeout=seconds)
    span = reader.attribute(element, "on-timeout")
    if span is not None:
        part.fallbacks.append(Fallback(span.value.strip(), span.place(0), late=True))
    reader.tried(element, part)
    reader.no_text(element)
    children = [each for each in element.children if each.tag != "on-error"]
    if not children:
        reader.bad(element.at, MISSING, "<timeout> has no nodes: what is not to take longer?")
    part.blocks = [reader.block(children, element.at)]
    part.body = lambda groups: groups[0]
    return part


def _duration(reader: Reader, element: Element) -> float | Template | None:
    span = reader.attribute(element, "duration")
    if span is None:
        reader.bad(element.at, MISSING, f'<{element.tag}> needs a duration, such as duration="5s"')
        return None
    return reader.duration(span, f"duration of {element.tag}")
