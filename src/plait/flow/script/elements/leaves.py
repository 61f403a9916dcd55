"""`<source>`, `<transform>`, `<sink>`: leaf nodes, whose types stand in the registry of `plait.nodes`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plait._core.policy import Retry
from plait.errors import ExpressionError
from plait.expressions import Budget, Reference
from plait.flow.fields import TRUSTED, Fields, Said, of_data, server_of
from plait.flow.markup import Element
from plait.flow.model import NodeCall
from plait.flow.problems import Place
from plait.flow.script.elements.common import COMMON, MAX_DELAY_S, ON_ERROR, Reader
from plait.flow.script.elements.registry import element
from plait.flow.script.syntax import Part
from plait.flow.script.texts import MISSING, TYPE, UNKNOWN
from plait.flow.templates import Template
from plait.flow.tree import Mapping as Map
from plait.flow.tree import Scalar, Tree
from plait.nodes import Node, node_names, node_type
from plait.nodes.registry import KINDS

SECTIONS = ("request", "response", "config", "message")
"""Elements that hold YAML."""

MAPPINGS = ("headers", "params", "auth")
"""Fields of names and values, which may be attributes of the element, elements in it, or YAML."""


@element(*KINDS, "ai")
def read_leaf(reader: Reader, element: Element) -> Part | None:
    """The node, with each of its fields read as far as it can be."""
    kind, _, of = element.tag.partition(":")
    if kind == "ai":
        kind, of = "transform", "ai"
    span = reader.attribute(element, "type")
    name = f"{kind}:{of or ('' if span is None else span.value.strip())}"
    given = dict(_said(reader, element))
    known = node_names()
    if name not in known:
        types = sorted(each.partition(":")[2] for each in known if each.startswith(f"{kind}:"))
        at = element.at if span is None else span.place(0)
        if not of and span is None:
            reader.bad(at, MISSING, f"<{kind}> needs a type: {', '.join(types)}")
        else:
            said = name.partition(":")[2]
            hint = reader.problems.nearest(said, types)
            reader.bad(at, UNKNOWN, f"there is no {kind} of type {said!r:.60}{hint}", f"there are {', '.join(types)}")
        return reader.begin(element, attributes=tuple(element.attributes))  # others may name it
    part = reader.begin(element, attributes=tuple(element.attributes))
    found = node_type(name, load=False)
    fields = {} if found is None else dict(found.fields)
    fixed: dict[str, Any] = {}
    filled: dict[str, Any] = {}
    iterates = name != "transform:map" or "input" in element.attributes
    read = Fields(reader, element.at, f"<{element.tag}>", name, fields, open=found is None, iterates=iterates)
    read.all(given, fixed, filled)
    if found is not None:
        read.check(found, fixed, given)
    retry, when = reader.on_error(element, part)
    timeout = fixed.pop("timeout", None)
    if timeout is None and "timeout" in filled:
        part.late["timeout"] = filled.pop("timeout")
    elif timeout is None and "timeout" in fields:
        timeout = fields["timeout"].default
    policy = part.policy
    if retry is None:
        retry = reader.defaults if reader.defaults is not None else _usual(found, fixed, frozenset(filled))
    if retry is not None:
        policy = policy.but(retry=retry)
    if timeout is not None:
        policy = policy.but(timeout=float(timeout))
    if when is not None and policy.timeout is not None and not _takes_timeouts(when, reader.budget):
        policy = policy.but(retry=policy.retry.but(not_on=("timeout",)))
    part.policy = policy

    def is_trusted(each: Reference) -> bool:
        return each.root in TRUSTED or reader.is_given(each)

    data, server = frozenset(of_data(filled, is_trusted)), server_of(filled.get("url"), is_trusted)
    body = NodeCall(name, fixed, filled, data, when, server, read.said)
    part.body = lambda groups: body
    return part


def _usual(found: type[Node] | None, fixed: Mapping[str, Any], filled: frozenset[str]) -> Retry | None:
    """How often such a node is tried where nothing is said."""
    tries = 0 if found is None else found.tries_after(fixed, frozenset((*fixed, *filled)))
    return Retry(tries + 1, 1.0, 2.0, MAX_DELAY_S, True, ("retryable",)) if tries else None


def _takes_timeouts(when: Template, budget: Budget) -> bool:
    """Does a condition of a retry hold for a timeout? One that looks at more than the error, or cannot be worked out here, is taken to."""
    if any(each.root not in ("error", "status", "retryable") for each in when.references):
        return True
    try:
        return bool(when.value(_TimedOut(budget)))
    except ExpressionError:
        return True


class _TimedOut:
    """What the names in `when` stand for after a timeout."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget

    def look_up(self, name: str, steps: tuple[str | int, ...]) -> tuple[Any, int]:
        """The error of a timeout."""
        error = {"name": "TaskTimedOut", "message": "it took too long", "status": None, "retryable": True}
        return {"error": error, "retryable": True}.get(name), 0


def _said(reader: Reader, element: Element) -> Iterator[tuple[str, Said]]:
    """What is said of each field: in attributes, in children, in the YAML of sections. Each once."""
    seen: dict[str, Place] = {}

    def new(name: str, at: Place) -> bool:
        if name in seen:
            reader.bad(at, TYPE, f"{name!r} is given twice in <{element.tag}>; first in line {seen[name].line}")
            return False
        seen[name] = at
        return True

    for name, attribute in element.attributes.items():
        if name not in (*COMMON, "type") and new(name, attribute.at):
            yield name, Said(attribute.value, attribute.at)
    for child in element.children:
        if child.tag == ON_ERROR:
            continue
        if child.tag in SECTIONS:
            tree = None if child.text is None else reader.yaml(child.text)
            if tree is not None and not isinstance(tree, Map):
                reader.bad(tree.at, TYPE, f"<{child.tag}> holds YAML such as `url: https://...`, one key a line")
                continue
            for name, attribute in child.attributes.items():
                if new(name, attribute.at):
                    yield name, Said(attribute.value, attribute.at)
            for nested in child.children:
                if new(nested.tag, nested.at):
                    yield nested.tag, _child(reader, nested)
            for name, each in tree.items.items() if isinstance(tree, Map) else ():
                assert isinstance(tree, Map)
                if new(name, tree.keys[name]):
                    yield name, Said(each, tree.keys[name])
        elif new(child.tag, child.at):
            yield child.tag, _child(reader, child)
    if element.text is not None:
        yield "", Said(element.text, element.text.place(0))


def _child(reader: Reader, element: Element) -> Said:
    """What an element says of the field that it is called by."""
    if element.tag not in MAPPINGS:
        reader.known_attributes(element, ())
    elif element.attributes:
        return Said(_nested(reader, element), element.at, nested=True)
    if element.children:
        return Said(_nested(reader, element), element.at, nested=True)
    if element.text is None:
        return Said(Scalar("", element.at, '"'), element.at)
    if element.tag in MAPPINGS and not element.text.value.lstrip().startswith("{"):
        tree = reader.yaml(element.text)
        if isinstance(tree, Map):
            return Said(tree, element.at)
    return Said(element.text, element.at)


def _nested(reader: Reader, element: Element) -> Tree:
    """Elements and attributes in a field, as a mapping: `<headers><Accept>text/csv</Accept></headers>`, `<auth type="bearer" token="..."/>`."""
    reader.no_text(element, " beside elements and attributes")
    items: dict[str, Tree] = {}
    keys: dict[str, Place] = {}
    for name, attribute in element.attributes.items():
        keys[name] = attribute.at
        items[name] = Scalar(attribute.value.value, attribute.value.place(0), '"', origin=attribute.value)
    for child in element.children:
        if child.tag in items:
            reader.bad(child.at, TYPE, f"<{child.tag}> stands in <{element.tag}> twice")
        keys[child.tag] = child.at
        at = child.at if child.text is None else child.text.place(0)
        text = "" if child.text is None else child.text.value
        items[child.tag] = _nested(reader, child) if child.children else Scalar(text, at, '"', origin=child.text)
    return Map(items, keys, element.at)
