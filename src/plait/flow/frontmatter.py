"""The front matter of a FlowScript file: YAML between two lines `---`, the first of which is the first of the file."""

from __future__ import annotations

import re
from dataclasses import replace

from plait.flow.problems import START, Place, Problems
from plait.flow.stacks import with_own_stack
from plait.flow.tree import Mapping, Scalar, Sequence, Tree, check_characters, kind, parse

_FENCE = re.compile(r"^---[ \t]*$", re.M)
BEGIN = "begin the file with `---`, `name: ...`, `version: ...`, and `---` again, each in a line of its own"


def read_front(text: str, problems: Problems) -> tuple[Mapping, int]:
    """The front matter of a text, and the offset of the line behind it.

    Raises:
        FlowError: where there is none, or it is no mapping in YAML, with the place.
    """
    first = _FENCE.match(text)
    if first is None:
        raise problems.stop(START, "PARSE_MISSING_FRONTMATTER", _missing(text), BEGIN)
    last = _FENCE.search(text, first.end() + 1)
    if last is None:
        raise problems.stop(
            START,
            "PARSE_MISSING_FRONTMATTER",
            "the front matter that begins here does not end",
            "write a line `---` between it and `<workflow>`",
        )
    with problems.under("PARSE_YAML_INVALID"):
        # With its first line, which begins a YAML document, everything stands in the lines of the file.
        head = text[: last.start()]
        check_characters(head, problems)
        veiled, number = _TYPES.subn(_veiled, head)
        tree = parse(veiled, problems)
        tree = with_own_stack(lambda read=tree: _as_written(read)) if number else tree  # type: ignore[misc]
        match tree:
            case Mapping():
                front = tree
            case None | Scalar(None):
                front = Mapping({}, {}, Place(2, 1))
            case _:
                raise problems.stop(
                    tree.at, "type", f"the front matter is {kind(tree)}; it must be a mapping", "write `name: ...`"
                )
    return front, min(last.end() + 1, len(text))


_TYPES = re.compile(r"\benum\s?\[[^\[\]{}\n#:]*\]\??|\b[A-Za-z_]+\??(?:\[\]\??)+")
"""Types as people write them in `{...}`, where YAML takes brackets and commas for its own: `enum[a, b]`, `string[]`."""
_VEILS = str.maketrans("[],?", "\ue0f0\ue0f1\ue0f2\ue0f3")
_UNVEILED = {new: old for old, new in _VEILS.items()}


def _veiled(found: re.Match[str]) -> str:
    """A type with nothing in it that YAML would look at; each character stays in its place."""
    return found[0].translate(_VEILS)


def _as_written(tree: Tree | None) -> Tree | None:
    """The tree, with types as they were written."""
    match tree:
        case Scalar(str() as value):
            return replace(tree, value=value.translate(_UNVEILED))
        case Sequence(items):
            return replace(tree, items=[_told(each) for each in items])
        case Mapping(items, keys):
            return replace(
                tree,
                items={name.translate(_UNVEILED): _told(each) for name, each in items.items()},
                keys={name.translate(_UNVEILED): place for name, place in keys.items()},
            )
    return tree


def _told(tree: Tree) -> Tree:
    made = _as_written(tree)
    assert made is not None
    return made


def _missing(text: str) -> str:
    found = _FENCE.search(text)
    before = text if found is None else text[: found.start()]
    if not before.strip() and found is not None:
        return "the front matter must begin in the first line: there are blank lines before `---`"
    return "there is no front matter: the first line must be `---`"
