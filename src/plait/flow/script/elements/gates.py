"""`<checkpoint>`: a person says whether it goes on."""

from __future__ import annotations

from plait.flow.markup import Element
from plait.flow.model import Action, Gate
from plait.flow.script.elements.common import Reader
from plait.flow.script.elements.registry import element
from plait.flow.script.gates import APPROVE, REJECT
from plait.flow.script.syntax import Part
from plait.flow.script.texts import ID, MISSING, TYPE
from plait.flow.templates import Template

CHOICES = (Action(APPROVE), Action(REJECT))
"""Where the file names none."""


@element("checkpoint")
def read_checkpoint(reader: Reader, element: Element) -> Part:
    """Its result: {action, input, timedOut}. Every later sibling waits for it."""
    part = reader.begin(element, attributes=("prompt", "timeout", "default", "input-type"))
    reader.no_text(element)
    inner = reader.one(element, "prompt") or reader.one(element, "message")
    reader.only(element, ("prompt", "message", "condition", "action"), fails=False)
    span = reader.attribute(element, "prompt") or (None if inner is None else inner.text)
    if span is None or not span.value.strip():
        reader.bad(element.at, MISSING, "<checkpoint> needs a prompt: what is the person asked?")
    prompt = None if span is None else reader.template(span)
    condition = reader.one(element, "condition")
    if condition is not None and condition.text is not None:
        part.when = reader.expression(condition.text, "condition")
    timeout = _timeout(reader, element)
    actions = _actions(reader, element, part) or CHOICES
    default = reader.word(element, "default", tuple(each.id for each in actions))
    takes_text = reader.fixed(element, "input-type", ("text",)) == "text"
    part.is_gate = True
    body = Gate(prompt or Template(()), actions, default, timeout, takes_text)
    part.body = lambda groups: body
    return part


def _timeout(reader: Reader, element: Element) -> float | Template | None:
    span = reader.attribute(element, "timeout")
    found = None if span is None else reader.duration(span, "timeout of checkpoint")
    if isinstance(found, float) and found <= 0 and span is not None:
        reader.bad(span.place(0), TYPE, "timeout of checkpoint must be longer than nothing")
        return None
    return found


def _actions(reader: Reader, element: Element, part: Part) -> tuple[Action, ...]:
    found: dict[str, Action] = {}
    for child in element.children:
        if child.tag != "action":
            continue
        reader.known_attributes(child, ("id", "label", "goto"))
        span = reader.attribute(child, "id")
        if span is None or not ID.fullmatch(span.value.strip()):
            reader.bad(child.at, MISSING, "<action> needs an id of letters, digits, `_` and `-`")
            continue
        name = span.value.strip()
        if name in found:
            reader.bad(span.place(0), TYPE, f"the action {name!r} stands here twice")
        label = reader.attribute(child, "label") or child.text
        goto = reader.attribute(child, "goto")
        target = "" if goto is None else goto.value.strip()
        if goto is not None and target:
            part.gotos = (*part.gotos, (target, goto.place(0)))
        found[name] = Action(name, "" if label is None else label.value.strip(), target)
    return tuple(found.values())
