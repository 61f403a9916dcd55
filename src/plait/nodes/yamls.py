"""YAML as data, strictly: YAML 1.2 scalars, no tags, no duplicate keys, bounded size and depth, aliases counted with what they stand for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml

from plait.expressions.values import encoded, exact, weigh
from plait.scalars import FLOAT, INT, NOT_YAML, scalar

MOST_NODES = 500_000
"""Values and keys of a text, each alias counted with all that it stands for."""

DEEPEST = 200
"""Levels, an alias counted with what it stands for."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(text: str, look: Callable[[], None]) -> Any:
    """What the text says; null for an empty one. `look` is called now and then.

    Raises:
        ValueError: for what is no YAML, or more of it than may be, with the line.
    """
    strange = NOT_YAML.search(text)
    if strange is not None:
        line = text.count("\n", 0, strange.start()) + 1
        raise ValueError(f"line {line}: it holds the character U+{ord(strange[0]):04X}, which YAML does not allow")
    try:
        return _Reading(look).value(yaml.parse(text, _Loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        what = getattr(error, "problem", None) or str(error)
        raise ValueError(f"line {mark.line + 1}: {what}" if mark is not None else what) from None


class _Open:
    """A list or mapping whose end has not come yet."""

    __slots__ = ("anchor", "deepest", "key", "line", "nodes", "value")

    def __init__(self, value: Any, anchor: str | None, nodes: int, line: int) -> None:
        self.value = value
        self.anchor = anchor
        self.nodes = nodes  # that there were before it
        self.deepest = 1  # levels of what is in it, and its own
        self.key: str | None = None
        self.line = line


class _Reading:
    """Makes values of events, without a frame of the stack for each level."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int, int]] = {}  # with how many nodes, and levels
        self._nodes = 0
        self._root: Any = None
        self._documents = 0

    def value(self, events: Any) -> Any:
        for event in events:
            self._line = event.start_mark.line + 1
            if isinstance(event, yaml.NodeEvent):
                self._node(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close()
            elif isinstance(event, yaml.DocumentStartEvent):
                self._documents += 1
                if self._documents > 1:
                    raise self._wrong("this is a second document: one is read")
        return self._root

    def _wrong(self, what: str) -> ValueError:
        return ValueError(f"line {self._line}: {what}")

    def _node(self, event: Any) -> None:
        if self._nodes % 4096 == 0:
            self._look()
        if isinstance(event, yaml.AliasEvent):
            if any(each.anchor == event.anchor for each in self._open):
                raise self._wrong(f"the alias *{event.anchor} stands inside what it names")
            if event.anchor not in self._anchors:
                raise self._wrong(f"nothing is named &{event.anchor}")
            value, nodes, levels = self._anchors[event.anchor]
            self._add(value, nodes, levels, event)
            return
        tag = event.tag
        if tag is not None and not (tag == "!" and isinstance(event, yaml.ScalarEvent)):
            raise self._wrong(f"the tag {tag} is not allowed: data is plain")
        if isinstance(event, yaml.ScalarEvent):
            value = scalar(event.value, plain=not (event.style or tag == "!"))
            if event.anchor is not None:
                self._anchors[event.anchor] = (value, 1, 0)
            self._add(value, 1, 0, event)
            return
        made: Any = [] if isinstance(event, yaml.SequenceStartEvent) else {}
        nodes = self._nodes
        self._add(made, 1, 1, event)
        self._open.append(_Open(made, event.anchor, nodes, self._line))

    def _add(self, value: Any, nodes: int, levels: int, event: Any) -> None:
        self._nodes += nodes
        if self._nodes > MOST_NODES:
            raise self._wrong(f"there are more than {MOST_NODES:,} values, aliases counted with what they stand for")
        if len(self._open) + levels > DEEPEST:
            raise self._wrong(f"nested deeper than {DEEPEST} levels")
        if not self._open:
            self._root = value
            return
        inner = self._open[-1]
        inner.deepest = max(inner.deepest, levels + 1)
        if isinstance(inner.value, list):
            inner.value.append(value)
        elif inner.key is None:
            inner.key = self._key(inner.value, value, event)
        else:
            inner.value[inner.key] = value
            inner.key = None

    def _key(self, mapping: dict[str, Any], key: Any, event: Any) -> str:
        if getattr(event, "value", None) == "<<" and not event.style:
            raise self._wrong("merge keys (`<<`) are not supported: write the entries out")
        if isinstance(key, (list, dict)):
            raise self._wrong("a key must be text")
        name = key if isinstance(key, str) else str(getattr(event, "value", key))
        if name in mapping:
            raise self._wrong(f"the key {name!r:.80} stands here twice")
        return name

    def _close(self) -> None:
        done = self._open.pop()
        if done.anchor is not None:
            self._anchors[done.anchor] = (done.value, self._nodes - done.nodes, done.deepest)
        if self._open:
            self._open[-1].deepest = max(self._open[-1].deepest, done.deepest + 1)


_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Writing(_Dumper):  # type: ignore[misc]
    """Quotes what YAML 1.1 or 1.2 would take for something else than text."""

    def ignore_aliases(self, data: Any) -> bool:
        """Values are written out wherever they stand."""
        return True


for _tag, _found in (("int", INT), ("float", FLOAT)):
    _whole = re.compile(rf"(?:{_found.pattern})\Z")  # it is asked for a match at the beginning
    _Writing.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _whole, list("-+.0123456789"))


def write_yaml(value: Any) -> str:
    """A value as YAML, in the order that its objects have.

    Raises:
        ExpressionError: for what is no plain data, or more of it than may be.
    """
    weigh(value)
    return str(yaml.dump(_plain(value), None, _Writing, allow_unicode=True, sort_keys=False, width=1 << 20))


def _plain(value: Any) -> Any:
    value = exact(value)
    if isinstance(value, dict):
        return {key if isinstance(key, str) else encoded(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
