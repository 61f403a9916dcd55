"""Reads a FlowScript file: front matter, body, names, and the tasks that they make; every problem of the file in one reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plait.errors import FlowError
from plait.expressions import Reference
from plait.flow.fields import TRUSTED
from plait.flow.markup import Element, Source, Span, read_markup
from plait.flow.model import FlowFile, Group, Subflow
from plait.flow.problems import Problems
from plait.flow.script import elements
from plait.flow.script.build import Builder
from plait.flow.script.elements.common import Reader
from plait.flow.script.elements.phases import id_of
from plait.flow.script.front import Front, read_front
from plait.flow.script.limits import DEEPEST_FILES, MOST_FILES, MOST_NODES
from plait.flow.script.names import Lookup
from plait.flow.script.texts import CYCLE, NO_NODE, TYPE
from plait.flow.stacks import with_own_stack
from plait.flow.templates import Template, TemplateError, parse_template, templates_of
from plait.flow.texts import Files

ROOT_ATTRIBUTES = ("id", "name", "version", "label", "description", "xmlns")
SUFFIX = ".flow.md"


@dataclass(frozen=True, slots=True)
class ScriptFile(FlowFile):
    """A checked FlowScript file."""

    front: Front = field(default_factory=Front)
    root: Group = field(default_factory=lambda: Group({}))
    levels: int = 0
    """Blocks in blocks at most, with those of other files and of fallbacks."""
    footer: int = 0
    """Behind so many characters of the text nothing is read."""

    @property
    def group(self) -> Group:
        return self.root


def is_script(path: Path) -> bool:
    """Is it a FlowScript file, by its name?"""
    return path.name.endswith(SUFFIX)


def read_script(path: Path, text: str | None = None, texts: Mapping[str, str] = {}) -> ScriptFile:
    """The checked contents of a FlowScript file, or of `text` in its place. Nothing is run, and nothing of other packages imported.

    `texts` are those of other files, by their paths, for those that are gone.

    Raises:
        FlowError: with every problem of the file, each with its place.
    """
    return _read(path, text, Files(texts, (path.resolve(),)), None)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What a file is told of the one that holds it."""

    bound: frozenset[str]
    front: Front | None
    """Of an `include`: whose config and secrets it sees."""
    said: frozenset[str]
    """Of what it was given that which files, config and secrets say, and no data."""

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two readings of a file the same."""
        front = (None, None) if self.front is None else (frozenset(self.front.config), frozenset(self.front.secrets))
        return self.bound, self.said, *front


def _read(path: Path, text: str | None, files: Files, shared: _Shared | None) -> ScriptFile:
    problems = Problems(str(path))
    source = read_markup(path, problems, text)
    front = read_front(source.front, problems)
    seen = front
    if shared is not None and shared.front is not None:
        seen = replace(front, config={**shared.front.config, **front.config})
        seen.secrets = tuple(dict.fromkeys((*shared.front.secrets, *front.secrets)))
    made: ScriptFile | None = None

    def read() -> None:
        nonlocal made
        made = _Body(path, problems, files, seen, shared).file(source)

    with_own_stack(read)
    if problems.found or problems.others or made is None:
        raise problems.error()
    return replace(made, warnings=tuple(problems.warnings()), front=front)


class _Body(Reader):
    """Reads the body of a file."""

    def __init__(self, path: Path, problems: Problems, files: Files, front: Front, shared: _Shared | None) -> None:
        super().__init__(path, problems, frozenset(), defaults=front.retry)
        self._files = files
        self._front = front
        self._shared = shared

    def file(self, source: Source) -> ScriptFile:
        """The whole file."""
        front = self._front
        bound = frozenset() if self._shared is None else self._shared.bound
        declared = (*front.config, *front.input, *bound)
        self._declared = frozenset(_names_written(source.root))
        self.hyphens = frozenset(each for each in (*self._declared, *declared) if "-" in each)
        root = source.root
        self.written = frozenset(_ids(root))
        self._settled = frozenset(self._said_variables(root))
        self.known_attributes(root, ROOT_ATTRIBUTES)
        self.no_text(root)
        block = self.block(root.children, root.at, in_order=False)
        if not root.children:
            self.bad(root.at, TYPE, "the workflow has no nodes", "begin with a <source>, or with a <transform>")
        lookup = Lookup(self, block, front, bound)
        lookup.all()
        group = Group({})
        builder = Builder(str(self.path), lookup)
        if not self.problems.found and not self.problems.others:
            group = builder.group(block)
        rules: dict[str, Any] = {"max_concurrency": front.concurrency, "on_failure": "fail_fast"}
        if front.timeout is not None:
            rules["deadline"] = front.timeout
        return ScriptFile(
            self.path,
            front.name or self.path.name.removesuffix(SUFFIX),
            {},
            {},
            group.tasks,
            {},
            rules=rules,
            text=source.text,
            size=builder.made,
            levels=builder.deepest,
            secrets=front.secrets,
            front=front,
            root=group,
            footer=source.footer,
        )

    def _said_variables(self, root: Element) -> Iterator[str]:
        """The variables that the file itself says, or config and secrets: whatever sets them. Nothing else has their name."""
        values: dict[str, list[Span]] = {}
        others: set[str] = set()
        for element in _elements(root):
            name = self.attribute(element, "var", "key") if element.tag == "set" else None
            for each in ("id", "item", "index", "var", "key") if name is None else ():
                others.update(each.value for each in [self.attribute(element, each)] if each is not None)
            if name is not None:
                inner = next((each.text for each in element.children if each.tag == "value"), element.text)
                said = self.attribute(element, "value") or inner
                values.setdefault(name.value.strip(), []).extend([said] if said is not None else [])
        for found, texts in values.items():
            if found not in others and all(map(self._is_trusted_text, texts)):
                yield found

    def _is_trusted_text(self, text: Span) -> bool:
        try:
            return all(each.root in TRUSTED for each in parse_template(text.value, self.hyphens).references)
        except TemplateError:
            return False

    def is_given(self, name: Reference) -> bool:
        step = name.steps[0] if name.root == "$context" and name.steps else name.root
        if step in self._settled:
            return True
        if self._shared is None:
            return False
        if name.root == "$input":
            return self._shared.front is None and bool(name.steps) and name.steps[0] in self._shared.said
        return name.root in self._shared.said and name.root not in self._declared

    def _is_said(self, template: Template) -> bool:
        return all(each.root in TRUSTED or self.is_given(each) for each in template.references)

    def other(self, path: Span, given: Mapping[str, Any], *, shares: bool) -> Subflow | None:
        said = path.value.strip()
        if "{{" in said:
            self.bad(
                path.place(0),
                TYPE,
                "workflow is the path of a file, and no template: files are read before anything runs",
            )
            return None
        try:
            whole = (self.path.parent / said).resolve()
            is_there = whole.is_file()
        except (OSError, ValueError, RuntimeError) as error:  # too long for the system, or a link in itself
            says = getattr(error, "strerror", None) or str(error)
            self.bad(path.place(0), NO_NODE, f"{said!r:.60} cannot be read: {says}")
            return None
        if whole in self._files.chain:
            names = [each.name for each in (*self._files.chain[self._files.chain.index(whole) :], whole)]
            self.bad(path.place(0), CYCLE, f"cycle: {' -> '.join(names)}: a file cannot run itself")
            return None
        if len(self._files.chain) >= DEEPEST_FILES:
            self.bad(path.place(0), TYPE, f"files name one another more than {DEEPEST_FILES} deep")
            return None
        text = None if is_there else self._files.texts.get(str(whole))
        if text is None and not is_there:
            self.bad(path.place(0), NO_NODE, f"there is no file {said!r:.60} beside this one")
            return None
        if not is_script(Path(said)):
            self.bad(path.place(0), TYPE, f"{said!r:.60} is no FlowScript file: its name must end in {SUFFIX}")
            return None
        written = frozenset(name for name, value in given.items() if all(map(self._is_said, templates_of(value))))
        shared = _Shared(frozenset(given), self._front if shares else None, written)
        made = self._read_once(path, text, whole, shared)
        if made is None:
            return None
        self.size += made.size
        if self.size > MOST_NODES:
            self.bad(path.place(0), TYPE, f"with the files that it names, the file has more than {MOST_NODES:,} nodes")
            return None
        if not shares and made.front.input:
            missing = [name for name, each in made.front.input.items() if each.required and name not in given]
            if missing:
                self.bad(path.place(0), "VALID_MISSING_REQUIRED_FIELD", f"{said} needs the argument {missing[0]!r}")
        return Subflow(made, dict(given), said, shares)

    def _read_once(self, named: Span, text: str | None, whole: Path, shared: _Shared) -> ScriptFile | None:
        """Another file, which is read once for each that tells it something else."""
        known = self._files.known
        key = (whole, *shared.key)
        if key not in known:
            known[key] = None
            if len(known) > MOST_FILES:
                raise self.problems.stop(named.place(0), "too-large", f"files name more than {MOST_FILES:,} files")
            try:
                known[key] = _read(self.path.parent / named.value.strip(), text, self._files.within(whole), shared)
            except FlowError as error:
                self.problems.others.extend(error.problems)  # type: ignore[arg-type]
        elif known[key] is None:
            self.bad(named.place(0), NO_NODE, f"{named.value.strip()!r:.60} has problems of its own")
        found = known[key]
        assert found is None or isinstance(found, ScriptFile)
        return found


def _elements(root: Element) -> Iterator[Element]:
    stack = [root]
    while stack:
        element = stack.pop()
        yield element
        stack.extend(element.children)


def _ids(root: Element) -> Iterator[str]:
    """The ids that are written in a file."""
    for element in _elements(root):
        if "id" in element.attributes:
            yield element.attributes["id"].value.value.strip()


def _names_written(root: Element) -> Iterator[str]:
    """The ids and variables in a file."""
    for element in _elements(root):
        for name in ("id", "var", "key", "item", "index", "name"):
            attribute = element.attributes.get(name)
            if attribute is not None:
                said = attribute.value.value.strip()
                yield id_of(said) if element.tag == "phase" and name == "name" else said


assert elements.READERS
