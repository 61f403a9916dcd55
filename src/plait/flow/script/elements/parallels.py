"""`<parallel>`: branches that run beside one another, and see nothing of one another."""

from __future__ import annotations

from plait.flow.keys import MERGES
from plait.flow.markup import Element, Span
from plait.flow.model import Parallel
from plait.flow.script.elements.common import Reader
from plait.flow.script.elements.registry import element
from plait.flow.script.merging import BRANCHES, Chosen
from plait.flow.script.options import wanted_of
from plait.flow.script.syntax import Part
from plait.flow.script.texts import MISSING, TYPE
from plait.flow.templates import Template

BRANCH = ("id", "name", "label", "description")


@element("parallel")
def read_parallel(reader: Reader, element: Element) -> Part:
    """Its result: what the branches gave, in their order, as `merge` has it."""
    part = reader.begin(element, attributes=("max", "maxConcurrency", "wait", "merge"))
    reader.tried(element, part)
    reader.no_text(element)
    branches = reader.only(element, ("branch",))
    if not branches:
        reader.bad(element.at, MISSING, "<parallel> needs a <branch>")
    _width(reader, element, part)
    wanted = _wanted(reader, element, len(branches))
    if isinstance(wanted, Template):
        part.late["wait"] = wanted
    elif wanted is not None:
        part.policy = part.policy.but(min_success=wanted)
    merge = _merge(reader, element)
    part.merges_apart = isinstance(merge, Template) and not merge.is_pure
    names: list[str] = []
    for number, branch in enumerate(branches):
        reader.known_attributes(branch, BRANCH)
        reader.no_text(branch)
        key, named = reader.key(branch, f"{part.key}.branch", False)
        block = reader.block(branch.children, branch.at, names=("$branch",))
        block.id = key if named else ""
        part.blocks.append(block)
        names.append(key if named else str(number))
    part.body = lambda groups: Parallel(dict(zip(names, groups, strict=True)), merge, wanted is not None)
    return part


def _width(reader: Reader, element: Element, part: Part) -> None:
    span = reader.attribute(element, "max", "maxConcurrency")
    most = reader.count(span, "max of parallel") if span is not None else None
    if isinstance(most, int):
        part.policy = part.policy.but(width=most)
    elif most is not None:
        part.late["width"] = most


def _wanted(reader: Reader, element: Element, branches: int) -> int | Template | None:
    """So many branches must succeed; None: all."""
    span = reader.attribute(element, "wait")
    if span is not None and "{{" in span.value:
        return reader.template(span)
    said = "all" if span is None else span.value.strip()
    if said == "all" or span is None:
        return None
    wanted = wanted_of(said) or 0
    if not 1 <= wanted <= max(branches, 1):
        limit = f"; there are {branches} branches" if wanted else ""
        reader.bad(span.place(0), TYPE, f"wait is all, any or n(K), not {said!r:.60}{limit}")
        return None
    return wanted


def _merge(reader: Reader, element: Element) -> str | Template:
    span: Span | None = reader.attribute(element, "merge")
    if span is None or span.value.strip() in MERGES:
        return "array" if span is None else span.value.strip()
    with reader.knowing("branches"), reader.afterwards():
        made = reader.expression(span, "merge")
    if made is not None and "{{" in span.value and not any(name.root in BRANCHES for name in made.references):
        return Chosen(made.parts)
    return "array" if made is None else made
