"""What all elements have: an id, an input, whether they may fail, and what is done about errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plait._core.policy import Join, Policy, Retry
from plait.expressions import Budget, Reference
from plait.flow.markup import Element, Span
from plait.flow.model import Body, Subflow
from plait.flow.problems import Place
from plait.flow.script.elements.registry import READERS
from plait.flow.script.limits import DEEPEST, MOST_NODES
from plait.flow.script.options import BACKOFFS
from plait.flow.script.syntax import Block, Fallback, Part, Use
from plait.flow.script.texts import ID, MISSING, TWICE, TYPE, UNKNOWN, Texts, pieces
from plait.flow.templates import Template
from plait.nodes import node_names

COMMON = ("id", "input", "required", "name", "label", "description")
"""Attributes of every node; the last three are for people."""

POLICY = Policy(join=Join.NONE_FAILED)
"""Of every node: what was left out on purpose keeps nobody waiting."""

ON_ERROR = "on-error"
MAX_DELAY_S = 32.0
TRIES = 3
"""After the first, where `<retry>` says nothing else."""


@dataclass(frozen=True, slots=True)
class Enclosing:
    """A loop that is being read."""

    key: str
    tag: str


class Reader(Texts):
    """Reads the elements of one file, with what is known of it."""

    def __init__(self, *given: object, defaults: Retry | None = None) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.defaults = defaults
        """How often a leaf node is tried where neither it nor its type says it (`runtime.retry`)."""
        self.loops: list[Enclosing] = []
        self.ids: dict[str, Place] = {}
        self.keys: set[str] = set()
        self.written: frozenset[str] = frozenset()
        """The ids that the file gives, anywhere."""
        self.depth = 0
        self.size = 0
        self.budget = Budget()
        """Of what is worked out while the file is read."""
        self._numbers: dict[str, int] = {}

    def other(self, path: Span, given: Mapping[str, Any], *, shares: bool) -> Subflow | None:
        """What `include` (which shares config and secrets) and `call` run: another file, with what it is given."""
        raise NotImplementedError

    def is_given(self, name: Reference) -> bool:
        """Is it an argument of this file whose value the files that name it say, and no data?"""
        return False

    # -- nodes

    def part(self, element: Element) -> Part | None:
        """The node that an element is."""
        read = READERS.get(element.tag)
        if read is None and ":" in element.tag:
            read = READERS.get(element.tag.partition(":")[0])
        if read is None:
            known = [*READERS, *(each for each in node_names())]
            self.bad(
                element.at,
                UNKNOWN,
                f"<{element.tag}> is no node{self.problems.nearest(element.tag, known)}",
                "nodes are source, transform, sink, and the control elements of the language",
            )
            return None
        self.size += 1
        if self.size > MOST_NODES:
            raise self.problems.stop(element.at, "too-large", f"the file has more than {MOST_NODES:,} nodes")
        with self.collecting() as uses:
            part = read(self, element)
        if part is not None:
            part.uses = uses
            self._warn_of_secrets(part)
        return part

    def _warn_of_secrets(self, part: Part) -> None:
        """Says where the value of a secret would be lost: variables are outputs, and these are kept without it."""
        for use in part.uses if part.sets else ():
            if use.name == "$secrets":
                self.problems.warn(
                    use.at,
                    "secret-kept",
                    f"what {part.key!r} sets holds a secret, and whoever reads it gets [REDACTED]: outputs are kept without secrets",
                    "look up $secrets where the value is needed",
                )

    def block(
        self, elements: Iterable[Element], at: Place, *, in_order: bool = True, names: Sequence[str] = ()
    ) -> Block:
        """The nodes that stand beside one another."""
        made = Block(in_order=in_order, names=frozenset(names), at=at)
        self.depth += 1
        if self.depth > DEEPEST:
            self.bad(at, "VALID_INVALID_FIELD_TYPE", f"blocks are nested deeper than {DEEPEST} levels")
        else:
            for each in elements:
                if each.tag == ON_ERROR:
                    self.bad(
                        each.at, UNKNOWN, "<on-error> stands here for no node", "put it into the node that it is for"
                    )
                    continue
                part = self.part(each)
                if part is not None:
                    made.parts.append(part)
        self.depth -= 1
        return made

    def begin(
        self,
        element: Element,
        body: Body | None = None,
        *,
        attributes: Sequence[str] = (),
        default: str | None = None,
        repeats: bool = False,
    ) -> Part:
        """A node with what every node has. Without an id it has the key `default`; None: it needs one."""
        self.known_attributes(element, (*COMMON, *attributes))
        key, named = self.key(element, default, repeats)
        part = Part(key, element.tag, element.at, lambda groups: body, policy=POLICY, named=named)  # type: ignore[arg-type, return-value]
        if "input" in element.attributes:
            part.takes = self.input(element.attributes["input"].value)
        required = self.switch(element, "required", True)
        if isinstance(required, Template):
            part.late["required"] = required
        elif not required:
            part.policy = part.policy.but(allow_failure=True)
        return part

    def known_attributes(self, element: Element, names: Sequence[str]) -> None:
        """Tells of attributes that mean nothing here."""
        for name, attribute in element.attributes.items():
            if name not in names:
                hint = self.problems.nearest(name, list(names))
                self.bad(attribute.at, TYPE, f"<{element.tag}> has no attribute {name!r}{hint}")

    def key(self, element: Element, default: str | None, repeats: bool) -> tuple[str, bool]:
        """What a node is called, and whether others may name it by that."""
        attribute = element.attributes.get("id")
        if attribute is None or not attribute.value.value.strip():
            if default is None:
                at = element.at if attribute is None else attribute.at
                self.bad(at, MISSING, f"<{element.tag}> needs an id", f'give it one: <{element.tag} id="...">')
            repeats = repeats and bool(default) and default not in self.written
            return self.fresh(default or element.tag, repeats=repeats), repeats
        said = attribute.value.value.strip()
        if not ID.fullmatch(said):
            self.bad(
                attribute.value.place(0),
                TYPE,
                f"the id {said[:60]!r} must be of letters, digits, `_` and `-`, at most 200 of them",
            )
            return self.fresh(element.tag), False
        if said in self.ids:
            first = self.ids[said]
            self.bad(
                attribute.value.place(0), TWICE, f"the id {said!r} stands here again; it was given in line {first.line}"
            )
            return self.fresh(said), False
        self.ids[said] = attribute.value.place(0)
        self.keys.add(said)
        return said, True

    def fresh(self, name: str, repeats: bool = False) -> str:
        """A key that no other node has; what stands behind the dot cannot be in an id."""
        if repeats and name not in self.keys:
            self.keys.add(name)
            return name
        number = self._numbers.get(name, 0) + 1
        while (key := f"{name}.{number}") in self.keys:
            number += 1
        self._numbers[name] = number
        self.keys.add(key)
        return key

    def input(self, span: Span) -> Template | list[Template] | None:
        """`input="a"`, `input="a.output.rows, b"`: the outputs that it binds."""
        found: list[Template] = []
        start = 0
        for piece in pieces(span.value):
            if not re.fullmatch(r"\s*(\{\{.*\}\}|[\w$-]+(\s*(\.[\w$-]+|\[[^\]]*\]))*)\s*", piece, re.DOTALL):
                self.bad(
                    span.place(start),
                    TYPE,
                    f"input names nodes, such as `rows`, `rows.output.items` or `a, b`, not {piece.strip()!r:.60}",
                )
                return None
            with self.collecting() as uses:
                made = self.expression(span.part(start, start + len(piece)), "input")
            names_nodes = not piece.lstrip().startswith("{{")
            for use in uses:
                self.note(Use(use.name, use.steps, use.at, is_id=names_nodes and not use.name.startswith("$")))
            if made is None:
                return None
            found.append(made)
            start += len(piece) + 1
        return found[0] if len(found) == 1 else found

    # -- children

    def no_text(self, element: Element, of: str = "") -> None:
        """Tells of text where only elements belong."""
        if element.text is not None:
            self.bad(
                element.text.place(0),
                TYPE,
                f"text does not belong into <{element.tag}>{of}: {element.text.value.strip()[:40]!r}",
                "write it as an attribute, or as a child element",
            )

    def only(self, element: Element, tags: Sequence[str], *, fails: bool = True) -> list[Element]:
        """The children, all of which must have one of these tags, but for what is done about its failure, if it `fails` at all."""
        found = []
        for child in element.children:
            if child.tag in tags:
                found.append(child)
            elif child.tag != ON_ERROR or not fails:
                shown = ", ".join(f"<{tag}>" for tag in tags) or "nothing"
                self.bad(
                    child.at,
                    UNKNOWN,
                    f"<{child.tag}> does not belong into <{element.tag}>{self.problems.nearest(child.tag, list(tags))}",
                    f"<{element.tag}> holds {shown}",
                )
        return found

    def one(self, element: Element, tag: str) -> Element | None:
        """The child with that tag; there may be one."""
        found = [child for child in element.children if child.tag == tag]
        for extra in found[1:]:
            self.bad(extra.at, TYPE, f"<{tag}> stands in <{element.tag}> already, in line {found[0].at.line}")
        return found[0] if found else None

    # -- errors

    def on_error(self, element: Element, part: Part, *, leaf: bool = False) -> tuple[Retry | None, Template | None]:
        """What is done about the failure of a node: its fallbacks and whether the run goes on are noted; its retry is the result."""
        found = self.one(element, ON_ERROR)
        if found is None:
            return None, None
        self.known_attributes(found, ())
        self.no_text(found)
        retry: Retry | None = None
        when: Template | None = None
        for tag in ("retry", "continue"):
            self.one(found, tag)
        for child in self.only(found, ("retry", "fallback", "continue")):
            self.no_text(child)
            match child.tag:
                case "retry":
                    retry, when = self.retry(child, part)
                case "fallback":
                    self.fallback(child, part)
                case "continue":
                    self.known_attributes(child, ())
                    part.policy = part.policy.but(allow_failure=True)
        return retry, when

    def retry(self, element: Element, part: Part) -> tuple[Retry, Template | None]:
        """`<retry max when backoff base jitter/>`."""
        self.known_attributes(element, ("max", "when", "backoff", "base", "jitter"))
        most, base = self.attribute(element, "max"), self.attribute(element, "base")
        tries = self.count(most, "max of retry", least=0) if most is not None else TRIES
        delay = self.duration(base, "base of retry") if base is not None else 1.0
        if isinstance(tries, Template):
            part.late["attempts"] = tries
        if isinstance(delay, Template):
            part.late["delay"] = delay
        how = self.word(element, "backoff", tuple(BACKOFFS)) or "exponential"
        jitter = self.switch(element, "jitter", True)
        for name, option in (("backoff", how), ("jitter", jitter)):
            if isinstance(option, Template):
                part.late[name] = option
        span = self.attribute(element, "when")
        when = None
        if span is not None:
            with self.knowing("error", "status", "retryable"), self.afterwards():
                when = self.expression(span, "when of retry")
        made = Retry(
            attempts=(tries if isinstance(tries, int) else TRIES) + 1,
            delay=delay if isinstance(delay, float) and delay > 0 else 1.0,
            backoff=BACKOFFS[how] if isinstance(how, str) else BACKOFFS["exponential"],
            max_delay=MAX_DELAY_S,
            jitter=jitter is not False,
            on=("retryable",),
        )
        return made, when

    def fallback(self, element: Element, part: Part) -> None:
        """`<fallback node when/>`."""
        self.known_attributes(element, ("node", "when"))
        span = self.attribute(element, "node")
        if span is None or not span.value.strip():
            self.bad(element.at, MISSING, "<fallback> needs a node: the id of the one that serves instead")
            return
        when = None
        if "when" in element.attributes:
            with self.knowing("error", "status", "retryable"), self.afterwards():
                when = self.expression(element.attributes["when"].value, "when of fallback")
        part.fallbacks.append(Fallback(span.value.strip(), span.place(0), when))

    def tried(self, element: Element, part: Part) -> None:
        """What is done about errors of a block: it is tried again as a whole."""
        part.tries, part.tries_when = self.on_error(element, part)
