"""Which class runs a type of node: plait's own, those that a program registers, and those of installed packages."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from plait.errors import UsageError
from plait.nodes.base import Node

N = TypeVar("N", bound=type[Node])

GROUP = "plait.nodes"
"""The entry points of installed packages: `"transform:shout" = "package.module:Shout"`."""

KINDS = ("source", "transform", "sink")

OWN = {
    "source:http": "plait.nodes.http:HttpSource",
    "source:file": "plait.nodes.files:FileSource",
    "source:database": "plait.nodes.databases:DatabaseSource",
    "transform:map": "plait.nodes.items:Map",
    "transform:filter": "plait.nodes.items:Filter",
    "transform:reduce": "plait.nodes.items:Reduce",
    "transform:template": "plait.nodes.texts:TemplateText",
    "transform:ai": "plait.nodes.ai:Ai",
    "sink:file": "plait.nodes.files:FileSink",
    "sink:http": "plait.nodes.http:HttpSink",
    "sink:database": "plait.nodes.databases:DatabaseSink",
}
"""plait's own, by type; imported when a file has one."""

_registered: dict[str, type[Node]] = {}


def node(name: str) -> Callable[[N], N]:
    """Registers a class as a type of node: `@plait.nodes.node("transform:shout")` makes `<transform type="shout">` and `<transform:shout>`.

    Raises:
        UsageError: for a name that is none, one of plait's own, or that of another class; or a class that is no Node.
    """
    if not isinstance(name, str) or not re.fullmatch(rf"({'|'.join(KINDS)}):[A-Za-z][\w-]*", name):
        raise UsageError(f"a type of node is such as 'transform:shout' ({', '.join(KINDS)}), not {name!r:.60}")
    if name in OWN:
        raise UsageError(f"{name!r} is one of plait's own types of node: give yours another name")

    def register(made: N) -> N:
        before = _registered.get(name)
        if before is not None and (before.__module__, before.__qualname__) != (made.__module__, made.__qualname__):
            raise UsageError(
                f"{name!r} is {before.__module__}:{before.__qualname__} already: give {made.__qualname__} another name"
            )
        _registered[name] = checked(name, made)
        return made

    return register


def checked(name: str, made: object) -> type[Node]:
    """A class that can run nodes.

    Raises:
        UsageError: otherwise.
    """
    if not isinstance(made, type) or not issubclass(made, Node):
        raise UsageError(f"the node type {name!r} must be a class derived from plait.nodes.Node, not {made!r:.60}")
    return made


def node_names() -> frozenset[str]:
    """Every known type, as `kind:type`. Nothing is imported."""
    return frozenset((*OWN, *_registered, *_installed()))


def node_type(name: str, *, load: bool = True) -> type[Node] | None:
    """The class of a type; None where there is none. Without `load`: None, too, for those of other packages, which importing would run.

    Raises:
        UsageError: for an installed one that cannot be imported, or is no Node.
    """
    if name in OWN:
        module, _, attribute = OWN[name].partition(":")
        return checked(name, getattr(import_module(module), attribute))
    if name in _registered:
        return _registered[name]
    point = _installed().get(name) if load else None
    return None if point is None else _loaded(point)


@cache
def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in OWN}


def _loaded(point: EntryPoint) -> type[Node]:
    try:
        made = point.load()
    except Exception as error:
        raise UsageError(
            f"the node type {point.name!r} ({point.value}) cannot be imported: {type(error).__name__}: {error}"
        ) from error
    return checked(point.name, made)
