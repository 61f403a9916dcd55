"""From a tree back to text that reads as the same tree."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from plait.expressions.parse import LEVELS, RESERVED
from plait.expressions.tree import (
    Arrow,
    Binary,
    Call,
    Conditional,
    Entries,
    Index,
    Listed,
    Literal,
    Member,
    Name,
    Node,
    Spread,
    Unary,
    unrolled,
)  # fmt: skip

_PLAIN = re.compile(r"\$?[^\W\d]\w*")
_UNARY, _POSTFIX, _LOOSE = 9, 10, 0


def to_text(tree: Node, names: Collection[str] = ()) -> str:
    """An expression as text. `names`: those with hyphens that are read as one name."""
    return _Printer(names).text(tree)


class _Printer:
    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def text(self, node: Node, level: int = _LOOSE) -> str:
        """With brackets around it where it binds more loosely than `level`."""
        made, binds = self._made(node)
        return f"({made})" if binds < level else made

    def _made(self, node: Node) -> tuple[str, int]:
        match node:
            case Literal(value):
                return self._literal(value), _POSTFIX if not isinstance(value, (int, float)) or isinstance(
                    value, bool
                ) else _UNARY
            case Name(name):
                return name, _POSTFIX
            case Member() | Index():
                return self._chain(node), _POSTFIX
            case Call(function, arguments):
                return f"{function}({', '.join(map(self.text, arguments))})", _POSTFIX
            case Unary(operator, operand):
                # A space, so that `- -x` stays two signs and `typeof x` two words.
                space = " " if operator == "typeof" or isinstance(operand, Unary) else ""
                return f"{operator}{space}{self.text(operand, _UNARY)}", _UNARY
            case Binary():
                return self._binary(node), LEVELS[node.operator]
            case Conditional(condition, then, otherwise):
                return f"{self.text(condition, 1)} ? {self.text(then)} : {self.text(otherwise)}", _LOOSE
            case Arrow(parameters, body):
                return f"({', '.join(parameters)}) => {self.text(body)}", _LOOSE
            case Spread(of):
                return f"...{self.text(of)}", _LOOSE
            case Listed(items):
                return f"[{', '.join(map(self.text, items))}]", _POSTFIX
            case Entries(entries):
                shown = (
                    self.text(each) if isinstance(each, Spread) else f"{self._key(each[0])}: {self.text(each[1])}"
                    for each in entries
                )
                return f"{{{', '.join(shown)}}}", _POSTFIX

    def _literal(self, value: str | int | float | bool | None) -> str:
        return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)

    def _key(self, key: str) -> str:
        return key if self._is_name(key) else json.dumps(key, ensure_ascii=False)

    def _is_name(self, name: str) -> bool:
        return (_PLAIN.fullmatch(name) is not None and name not in RESERVED) or ("-" in name and name in self._names)

    def _chain(self, node: Member | Index) -> str:
        base, steps = unrolled(node)
        shown = [self.text(base, _POSTFIX)]
        for step in steps:
            if isinstance(step, Index):
                shown.append(f"[{self.text(step.index)}]")
            else:
                shown.append(f".{step.name}")
        return "".join(shown)

    def _binary(self, node: Binary) -> str:
        chain = [node]
        level = LEVELS[node.operator]
        while isinstance(chain[-1].left, Binary) and LEVELS[chain[-1].left.operator] >= level:
            chain.append(chain[-1].left)
            level = LEVELS[chain[-1].operator]
        shown = [self.text(chain[-1].left, level)]
        shown += (f" {each.operator} {self.text(each.right, LEVELS[each.operator] + 1)}" for each in reversed(chain))
        return "".join(shown)
