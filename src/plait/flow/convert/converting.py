"""Conversion of whole files: read, said in the other language, read again and compared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from plait.errors import FlowError
from plait.flow.compile import load
from plait.flow.convert.emitting import yaml_text
from plait.flow.convert.losses import CODE, Losses
from plait.flow.convert.shapes import shape
from plait.flow.convert.to_script import ToScript
from plait.flow.convert.to_yaml import ToYaml
from plait.flow.convert.units import in_script, in_yaml, with_units
from plait.flow.markup import Element, read_markup
from plait.flow.model import FlowFile
from plait.flow.problems import START, Problems
from plait.flow.reader import read_flow
from plait.flow.script.reader import ScriptFile, is_script, read_script
from plait.flow.stacks import with_own_stack
from plait.flow.tree import Loader, plain, read

YAML, SCRIPT = "yaml", "flow.md"
CALLED = {YAML: "YAML", SCRIPT: "FlowScript"}
UNSAID = ("trigger", "output", "evolution")
"""Of the front matter: what no run looks at."""


@dataclass(frozen=True, slots=True)
class Converted:
    """The text of a converted file, and what of the other one is not in it: no run looks at that."""

    text: str
    notes: tuple[str, ...] = ()


def convert(path: Path, to: str = "") -> Converted:
    """A workflow file in YAML (`to="yaml"`) or FlowScript (`to="flow.md"`), by default in the language that it is not written in. In its own
    it is the same file, with the unit behind every duration.

    Raises:
        FlowError: with every problem of the file; with every place of it that the other language cannot say, and what to do there.
    """
    flow = load(path)
    file = flow.file
    own = SCRIPT if is_script(path) else YAML
    to = to or (YAML if own == SCRIPT else SCRIPT)
    if to == own:
        return _normalised(file)
    return with_own_stack(lambda: _to_yaml(file) if isinstance(file, ScriptFile) else _to_script(file))


def _normalised(file: FlowFile) -> Converted:
    if isinstance(file, ScriptFile):
        return Converted(with_units(file.text, in_script(file.warnings)))
    tree, text = read(file.path, Problems(str(file.path)), file.text)
    return Converted(with_units(text, in_yaml(tree)))


def _problems(file: FlowFile) -> Problems:
    return Problems(str(file.path), file.text)


def _to_yaml(file: ScriptFile) -> Converted:
    problems = _problems(file)
    data = ToYaml(file, Losses(problems, CALLED[YAML])).data()
    if problems.found:
        raise problems.error()
    source = read_markup(file.path, Problems(str(file.path)), file.text)
    front: dict[str, Any] = {name: plain(each) for name, each in source.front.items.items()}
    about = [f"{file.name} {file.front.version}", *str(front.get("description") or "").splitlines()]
    head = "".join(f"# {line}".rstrip() + "\n" for line in about if line.isprintable())
    text = head + yaml_text(data)
    made = _read_again(problems, lambda: read_flow(file.path.with_name("converted.yaml"), text))
    if plain(read(file.path, Problems(""), text)[0]) != data or shape(made.tasks) != shape(file.tasks):
        raise _ours(problems)
    return Converted(text, tuple(_script_notes(file, source.root, front)))


def _to_script(file: FlowFile) -> Converted:
    problems = _problems(file)
    tree, whole = read(file.path, Problems(str(file.path)), file.text)
    text = ToScript(file, tree, Losses(problems, CALLED[SCRIPT])).text()
    if problems.found:
        raise problems.error()
    made = _read_again(problems, lambda: read_script(file.path.with_name("converted.flow.md"), text))
    if shape(made.tasks) != shape(file.tasks):
        raise _ours(problems)
    return Converted(text, tuple(_yaml_notes(whole)))


def _read_again(problems: Problems, reading: Any) -> FlowFile:
    try:
        return reading()  # type: ignore[no-any-return]
    except FlowError as error:
        first = str(error.problems[0]) if error.problems else str(error)
        raise problems.stop(
            START, CODE, f"what it would be converted to is no valid file: {first}", "write that part in another way"
        ) from None


def _ours(problems: Problems) -> FlowError:
    return problems.stop(
        START,
        CODE,
        "what it would be converted to is another flow, which is a defect of plait; nothing was written",
        "please report this with the file",
    )


# -- what is not in the other file, and no run looks at


def _script_notes(file: ScriptFile, root: Element, front: dict[str, Any]) -> Iterator[str]:
    body = file.text[: file.footer]
    head = body.partition("<workflow")[0]
    if "<!--" in body or re.search(r"^\s*#|\s#", head, re.M):
        yield "comments are left out"
    if file.text[file.footer :].strip():
        yield "what stands behind </workflow> is left out"
    unsaid = [name for name in UNSAID if front.get(name) is not None]
    if unsaid:
        yield f"{', '.join(unsaid)} of the front matter: YAML has no place for that"
    if file.front.config:
        yield "config is given as inputs: -i KEY=VALUE instead of --config KEY=VALUE"
    if any(_described(root)):
        yield "names, labels and descriptions of nodes are left out"


def _described(root: Element) -> Iterator[bool]:
    stack = list(root.children)
    while stack:
        element = stack.pop()
        stack.extend(element.children)
        names = {"label", "description"} if element.tag == "phase" else {"label", "description", "name"}
        yield "id" in element.attributes and bool(names & element.attributes.keys())


def _yaml_notes(text: str) -> Iterator[str]:
    if _has_comments(text):
        yield "comments are left out"


def _has_comments(text: str) -> bool:
    """Is there a `#` outside of all that YAML reads?"""
    at = 0
    for token in yaml.scan(text, Loader):
        if isinstance(token, yaml.ScalarToken):
            if "#" in text[at : token.start_mark.index]:
                return True
            at = token.end_mark.index
    return "#" in text[at:]


__all__ = ["SCRIPT", "YAML", "Converted", "convert"]
