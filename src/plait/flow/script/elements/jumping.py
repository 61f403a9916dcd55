"""`<break>` and `<continue>`."""

from __future__ import annotations

from plait.flow.markup import Element
from plait.flow.model import Jump
from plait.flow.script.elements.common import Reader
from plait.flow.script.elements.registry import element
from plait.flow.script.syntax import Part
from plait.flow.script.texts import NO_NODE, TYPE


@element("break", "continue")
def read_jump(reader: Reader, element: Element) -> Part | None:
    """Ends the loop, or its round: the nearest one, or that of the id `loop`."""
    part = reader.begin(element, attributes=("when", "loop"), default=element.tag)
    reader.no_text(element)
    reader.only(element, (), fails=False)
    span = reader.attribute(element, "loop")
    if not reader.loops:
        reader.bad(element.at, TYPE, f"<{element.tag}> stands in no loop: it belongs into <loop>, <while> or <foreach>")
        return None
    loop = reader.loops[-1].key
    if span is not None:
        loop = span.value.strip()
        known = [each.key for each in reader.loops]
        if loop not in known:
            hint = reader.problems.nearest(loop, known)
            reader.bad(span.place(0), NO_NODE, f"<{element.tag}> stands in no loop with the id {loop!r}{hint}")
            return None
    if "when" in element.attributes:
        part.when = reader.expression(element.attributes["when"].value, "when")
    part.leaves = loop
    part.passes_on = True
    body = Jump(element.tag == "break", loop)
    part.body = lambda groups: body
    return part
