"""`node:` in YAML: a leaf node of FlowScript, with its fields under `with:`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from plait.errors import ExpressionError
from plait.expressions import Reference, check_calls, parse
from plait.expressions.faults import PARSE
from plait.expressions.formula import Formula
from plait.flow.model import NodeCall
from plait.flow.options import Options
from plait.flow.problems import Place, Problems
from plait.flow.scopes import ROOTS
from plait.flow.spans import Span
from plait.flow.templates import Template, closing
from plait.flow.texts import Sight, hyphen_hint, is_template
from plait.flow.tree import Mapping as Map
from plait.flow.tree import Scalar, Sequence, Tree, kind

if TYPE_CHECKING:
    from plait.flow.fields import Said

TRUSTED = ("env", "secrets", "run")
"""What who runs a file says, and its author; all else is data."""


class Leaves(Options):
    """Reads nodes."""

    def node(self, tree: Map, around: Sight, needs: list[str]) -> NodeCall | None:
        """A source, transform or sink, with each of its fields read as far as it can be."""
        from plait.flow.fields import Fields, Said, of_data, server_of  # few files have nodes
        from plait.nodes import node_names, node_type

        each = tree.items["node"]
        name = each.value.strip() if isinstance(each, Scalar) and isinstance(each.value, str) else ""
        known = node_names()
        if name not in known:
            what = kind(each) if not name else f"{name!r:.60}{self._problems.nearest(name, known)}"
            self.bad(
                each.at,
                "value",
                f"node must be a type such as transform:map, not {what}",
                f"there are {', '.join(known)}",
            )
            return None
        inside = around.within("input") if "input" in tree.items else around
        given: dict[str, Said] = {}
        listed = tree.items.get("with")
        for field, value in self.entries(listed, "with") if listed is not None else ():
            if field == "timeout":
                at = self.key_place(tree.items["with"], field)
                self.bad(at, "misplaced", "timeout is an option of every task: write it beside `node`")
                continue
            given[field] = Said(value, self.key_place(tree.items["with"], field))
        found = node_type(name, load=False)
        fields = {} if found is None else {key: each for key, each in found.fields.items() if key != "timeout"}
        fixed: dict[str, Any] = {}
        filled: dict[str, Any] = {}
        reading = Fields(_Texts(self, inside, needs), tree.keys["node"], "a node", name, fields, open=found is None)
        reading.all(given, fixed, filled)
        if found is not None:
            reading.check(found, fixed, given)

        def is_trusted(each: Reference) -> bool:
            return each.root in TRUSTED

        data, server = frozenset(of_data(filled, is_trusted)), server_of(filled.get("url"), is_trusted)
        return NodeCall(name, fixed, filled, data, None, server, reading.said)

    def taken(self, tree: Tree, around: Sight, needs: list[str]) -> Any:
        """What `input` stands for in a node: a template, or a list of them."""
        listed = tree.items if isinstance(tree, Sequence) else [tree]
        found: list[Template] = []
        for each in listed:
            made = self.template(each, around, needs) if is_template(each) else None
            if made is not None and made.alone is not None:
                found.append(made)
            elif made is not None or not is_template(each):
                self.bad(each.at, "type", 'input is one template alone, or a list of them: "{{ tasks.rows.output }}"')
        return found if isinstance(tree, Sequence) else found[0] if found else None

    def expression(self, tree: Scalar, what: str, around: Sight, needs: list[str], *, arrow: bool) -> Formula | None:
        """An expression, with `{{ }}` around it or without."""
        said = str(tree.value)
        start = len(said) - len(said.lstrip())
        body = said.strip()
        if body.startswith("{{") and closing(body, 2) == len(body) - 2:
            start, body = start + 2, body[2:-2]
        if not body.strip():
            self.bad(tree.at, PARSE, f"{what} is empty: an expression belongs there, such as `item.price * 2`")
            return None
        try:
            made = parse(body, self._hyphens, arrow=arrow)
        except ExpressionError as error:
            self.bad(self.within(tree, start + (error.offset or 0)), error.code, f"{what}: {error}", error.hint)
            return None
        for fault in check_calls(made, self._problems.nearest):
            self.bad(self.within(tree, start + (fault.offset or 0)), fault.code, str(fault), fault.hint)
        formula = Formula(made, body.strip(), self.where(tree, start))
        for each in formula.references:
            problem = self.look(each, around, needs, ROOTS)
            if problem:
                self.bad(self.within(tree, start + each.at), *problem, hyphen_hint(said, start + each.at))
        return formula


class _Texts:
    """Reads the texts of one node."""

    def __init__(self, reader: Leaves, around: Sight, needs: list[str]) -> None:
        self.problems: Problems = reader._problems
        self._reader = reader
        self._around = around
        self._needs = needs

    def bad(self, at: Place, code: str, message: str, hint: str = "") -> None:
        self._reader.bad(at, CODES.get(code, "value"), message, hint)

    @contextmanager
    def knowing(self, *names: str) -> Iterator[None]:
        before, self._around = self._around, self._around.within(*names)
        try:
            yield
        finally:
            before.lifted += [each for each in self._around.lifted if each not in before.lifted]
            self._around = before

    def formula(self, text: Span | Scalar, what: str, *, arrow: bool = False) -> Formula | None:
        assert isinstance(text, Scalar)
        return self._reader.expression(text, what, self._around, self._needs, arrow=arrow)

    def template(self, text: Span | Scalar) -> Template | None:
        assert isinstance(text, Scalar)
        return self._reader.template(text, self._around, self._needs)

    def data(self, tree: Tree) -> Any:
        return self._reader.data(tree, self._around, self._needs)


CODES = {"VALID_MISSING_REQUIRED_FIELD": "missing", "VALID_INVALID_FIELD_TYPE": "value"}
"""What the findings of fields are called in YAML."""
