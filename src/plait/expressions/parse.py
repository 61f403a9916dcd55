"""From text to a tree, with the place of everything: the grammar of the workflow language's expressions, and its limits."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from plait.expressions.faults import PARSE, check_name, fault
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
    Tree,
    Unary,
)  # fmt: skip

LONGEST = 10_000
"""Characters of one expression."""
DEEPEST = 100
"""Levels of one expression: brackets, and operands of operators that bind more loosely."""

LEVELS = {
    "??": 1, "||": 2, "&&": 3,
    "==": 5, "!=": 5, "===": 5, "!==": 5,
    "<": 6, "<=": 6, ">": 6, ">=": 6, "IN": 6,
    "+": 7, "-": 7, "*": 8, "/": 8, "%": 8,
}  # fmt: skip
"""How tightly an operator binds its operands; of one level the left one is first."""
NEGATED = 4
"""`NOT` takes what binds more tightly than `&&`, as in SQL and Python; `!` is tighter than all operators of two operands."""
WORDS = {"AND": "&&", "OR": "||", "IN": "IN"}
CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "undefined": None}
OTHERS = {
    "and": "write `&&` or AND",
    "or": "write `||` or OR",
    "not": "write `!` or NOT",
    "in": "write IN, or includes(list, x)",
}
"""Words of other languages, and what is written in their place."""
RESERVED = frozenset((*CONSTANTS, *WORDS, "NOT", "typeof"))

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<name>\$?[^\W\d]\w*)
      | (?P<sign>===|!==|=>|\?\?|\?\.(?![0-9])|\.\.\.|==|!=|<=|>=|&&|\|\||[-+*/%<>!?:.,()\[\]{}])""",
    re.VERBOSE | re.DOTALL,
)
_HYPHENS = re.compile(r"(?:-\w+)+")
_HYPHEN = re.compile("-")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'"}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))|\\", re.DOTALL)
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


class Token(NamedTuple):
    """A word of the text; `kind` is number, text, name, sign or end."""

    kind: str
    text: str
    at: int


def parse(text: str, names: Collection[str] = (), *, arrow: bool = False) -> Node:
    """The tree of an expression.

    `names` are those with hyphens that are one name where they stand without spaces, the longest first; elsewhere a hyphen
    subtracts. `arrow`: may the whole be `x => ...`?

    Raises:
        ExpressionError: with the code and the offset of what cannot be read.
    """
    if len(text) > LONGEST:
        raise fault(PARSE, 0, f"the expression is longer than {LONGEST:,} characters")
    parser = _Parser(_tokens(text, names), arrow)
    try:
        return parser.whole()
    except RecursionError:
        raise fault(PARSE, parser.token.at, "the expression is nested too deep for the place where it stands") from None


def _tokens(text: str, names: Collection[str]) -> list[Token]:
    found: list[Token] = []
    known = _known(frozenset(names)) if names else None
    cuts: list[int] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise fault(PARSE, at, *_unreadable(text, at))
        kind = match.lastgroup or ""
        end = match.end()
        if kind == "name" and known is not None:
            if not cuts or cuts[-1] < end:
                cuts = _cuts(text, end)
            if cuts:
                end = known.end(text, at, end, cuts)
        elif kind == "number" and text[end : end + 1].isidentifier():
            raise fault(PARSE, at, f"{text[at : end + 1]!r} is no number, and a name cannot begin with a digit")
        if kind != "space":
            found.append(Token(kind, text[at:end], at))
        at = end
    found.append(Token("end", "", len(text)))
    return found


class _Names:
    """The names with hyphens that an expression may hold.

    Of each beginning of one, up to a hyphen or its end, it is known how long the longest name is that is there so far; so of the
    parts of a text with hyphens only few are looked at, however many there are.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._longest: dict[str, int] = {}
        known = {name for name in names if "-" in name}
        for name in sorted(known):
            longest = 0
            for cut in (*(each.start() for each in _HYPHEN.finditer(name)), len(name)):
                longest = cut if name[:cut] in known else longest
                self._longest[name[:cut]] = longest

    def end(self, text: str, at: int, end: int, cuts: Sequence[int]) -> int:
        """Where the name at an offset ends, whose first part ends at `end`; `cuts` are where its parts end."""
        first = bisect_left(cuts, end)
        low, high = first, len(cuts)
        while low < high:  # what is no beginning does not become one further on
            middle = (low + high) // 2
            if text[at : cuts[middle]] in self._longest:
                low = middle + 1
            else:
                high = middle
        longest = 0 if low == first else self._longest[text[at : cuts[low - 1]]]
        return max(end, at + longest)


@lru_cache(maxsize=4)
def _known(names: frozenset[str]) -> _Names:
    return _Names(names)


def _cuts(text: str, end: int) -> list[int]:
    """Where the parts end of what has hyphens, and whose first part ends at an offset."""
    behind = _HYPHENS.match(text, end)
    if behind is None:
        return []
    return [each.start() for each in _HYPHEN.finditer(text, end, behind.end())] + [behind.end()]


def _unreadable(text: str, at: int) -> tuple[str, str]:
    each = text[at]
    match each:
        case '"' | "'":
            return f"the quote {each} is not closed", ""
        case "=":
            return "`=` assigns, and nothing is assigned here", "write `==` to compare"
        case "&":
            return "`&` is no operator", "write `&&` or AND"
        case "|":
            return "`|` is no operator", "write `||` or OR; a function is called as upper(name)"
        case "`":
            return "backticks do not quote text", "write '...' or \"...\", and join with `+`"
    shown = repr(each) if each.isprintable() else f"U+{ord(each):04X}"
    return f"cannot read {shown} here", ""


def text_of(token: Token) -> str:
    """What a quoted text says: the escapes of JSON, and `\\'`."""
    inner = token.text[1:-1]
    if "\\" not in inner:
        return inner

    def read(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        if match[2] not in _ESCAPES:
            shown = f"\\{match[2] or ''}"
            raise fault(
                PARSE, token.at + 1 + match.start(), f"{shown!r} is no escape", "write `\\\\` for the character itself"
            )
        return _ESCAPES[match[2]]

    made = _ESCAPE.sub(read, inner)
    # Two halves of one character, as JSON writes those beyond U+FFFF. A half alone is no text that could be written anywhere.
    made = _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), made)
    if any("\ud800" <= each <= "\udfff" for each in made):
        raise fault(PARSE, token.at, "this text has half of a character (\\uD800 to \\uDFFF alone)")
    return made


class _Parser:
    def __init__(self, tokens: list[Token], arrow: bool) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0
        self._arrow = arrow

    @property
    def token(self) -> Token:
        return self._tokens[self._place]

    def whole(self) -> Node:
        if self.token.kind == "end":
            raise fault(PARSE, self.token.at, "there is no expression")
        tree = self._argument() if self._arrow else self._expression()
        if self.token.kind != "end":
            raise self._unexpected()
        return tree

    # -- words

    def _is(self, *signs: str) -> bool:
        token = self.token
        return token.kind in ("sign", "name") and token.text in signs

    def _took(self, sign: str) -> bool:
        if self._is(sign):
            self._place += 1
            return True
        return False

    def _take(self, sign: str, after: Token) -> None:
        if not self._took(sign):
            if self.token.kind == "end":
                raise fault(PARSE, after.at, f"`{after.text}` is not closed: `{sign}` is missing")
            raise self._unexpected(f": `{sign}` or an operator is missing")

    def _next(self) -> Token:
        token = self.token
        self._place += 1
        return token

    def _unexpected(self, more: str = "") -> Exception:
        token = self.token
        if token.kind == "end":
            return fault(PARSE, token.at, f"the expression ends too early{more}")
        hint = ""
        before = self._tokens[self._place - 1] if self._place else None
        if token.text == "=>":
            return fault(
                PARSE,
                token.at,
                "`=>` makes a function, and those stand only as arguments",
                "as in map(list, x => x + 1)",
            )
        if token.text in ("+", "*") and before is not None and before.text == token.text:
            hint = "there is `pow(x, y)`" if token.text == "*" else ""
        elif token.text in OTHERS and token.kind == "name":
            hint = OTHERS[token.text]
        elif before is not None and before.text == "new":
            hint = "nothing is made by `new`: see now() and parse_date(text) for times"
        elif before is not None and before.text == "not":
            hint = OTHERS["not"]
        elif before is not None and before.text == "/" and token.text in ("/", "*"):
            hint = "an expression holds no comments"
        elif token.text == "-" and more.startswith(": `}`") and before is not None and before.kind == "name":
            hint = "a key with a hyphen is quoted, as in {'content-type': 1}"
        return fault(PARSE, token.at, f"{token.text[:40]!r} is not expected here{more}", hint)

    # -- levels

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise fault(PARSE, self.token.at, f"the expression is nested deeper than {DEEPEST} levels")

    def _argument(self) -> Node:
        parameters = self._parameters()
        if parameters is None:
            return self._expression()
        at = self.token.at
        self._place = parameters[1]
        self._deeper()
        body = self._expression()
        self._depth -= 1
        return Arrow(parameters[0], body, at)

    def _parameters(self) -> tuple[tuple[str, ...], int] | None:
        """The parameters of an arrow that begins here, and the place behind its `=>`."""
        tokens, at = self._tokens, self._place
        if tokens[at].kind == "name" and tokens[at + 1].text == "=>" and tokens[at + 1].kind == "sign":
            return self._checked([tokens[at]]), at + 2
        if not self._is("("):
            return None
        named: list[Token] = []
        at += 1
        while tokens[at].kind == "name" and tokens[at].text not in RESERVED:
            named.append(tokens[at])
            at += 1
            if tokens[at].text != ",":
                break
            at += 1
        if tokens[at].text == ")" and tokens[at + 1].text == "=>":
            return self._checked(named), at + 2
        return None

    def _checked(self, named: list[Token]) -> tuple[str, ...]:
        seen: set[str] = set()
        for token in named:
            check_name(token.text, token.at)
            if token.text in RESERVED or token.text in seen or "-" in token.text:
                raise fault(PARSE, token.at, f"{token.text!r} cannot name a parameter here")
            seen.add(token.text)
        return tuple(token.text for token in named)

    def _expression(self) -> Tree:
        self._deeper()
        condition = self._binary(1)
        if self._is("?"):
            mark = self._next()
            then = self._expression()
            self._take(":", mark)
            condition = Conditional(condition, then, self._expression(), condition.at)
        self._depth -= 1
        return condition

    def _binary(self, level: int) -> Tree:
        if level <= NEGATED and self._is("NOT"):
            token = self._next()
            self._deeper()
            left: Tree = Unary("!", self._binary(NEGATED), token.at)
            self._depth -= 1
        else:
            left = self._unary()
        while True:
            operator, width = self._operator()
            binds = LEVELS.get(operator.removeprefix("NOT "), 0)
            if binds < level or not binds:
                return left
            token = self.token
            self._place += width
            self._deeper()
            right = self._binary(binds + 1)
            self._depth -= 1
            made = Binary(operator.removeprefix("NOT "), left, right, token.at)
            left = Unary("!", made, token.at) if operator.startswith("NOT ") else made

    def _operator(self) -> tuple[str, int]:
        """The operator that stands here, and how many words it has."""
        token = self.token
        if token.kind == "name":
            if token.text == "NOT" and self._tokens[self._place + 1].text == "IN":
                return "NOT IN", 2
            return WORDS.get(token.text, ""), 1
        return (token.text, 1) if token.kind == "sign" else ("", 1)

    def _unary(self) -> Tree:
        if self._is("!", "-", "+", "typeof", "NOT"):
            token = self._next()
            self._deeper()
            operand = self._unary()
            self._depth -= 1
            return Unary("!" if token.text == "NOT" else token.text, operand, token.at)
        return self._postfix(self._primary())

    def _postfix(self, tree: Tree) -> Tree:
        while True:
            token = self.token
            if self._took(".") or self._took("?."):
                if token.text == "?." and self._is("["):
                    continue
                name = self._next()
                if name.kind != "name":
                    self._place -= 1
                    raise self._unexpected(f": a name is missing behind `{token.text}`")
                check_name(name.text, name.at)
                tree = Member(tree, name.text, name.at)
            elif self._took("["):
                index = self._expression()
                self._take("]", token)
                if isinstance(index, Literal):
                    check_name(index.value, index.at)
                tree = Index(tree, index, token.at)
            elif self._is("("):
                tree = self._call(tree)
            else:
                return tree

    def _call(self, of: Tree) -> Tree:
        if isinstance(of, Name):
            function = of.name
        elif isinstance(of, Member) and of.of == Name("JSON") and of.name in ("parse", "stringify"):
            function = f"JSON.{of.name}"
        elif isinstance(of, Member):
            raise fault(
                PARSE, of.at, f"values have no methods: {of.name!r} cannot be called", f"write {of.name}(value, ...)"
            )
        else:
            raise fault(PARSE, self.token.at, "only functions can be called, by their names")
        bracket = self._next()
        arguments: list[Node] = []
        while not self._is(")"):
            if self._is("..."):
                raise self._unexpected(": arguments cannot be spread")
            arguments.append(self._argument())
            if not self._took(","):
                break
        self._take(")", bracket)
        at = of.of.at if isinstance(of, Member) else of.at
        return Call(function, tuple(arguments), at)  # type: ignore[arg-type]

    def _primary(self) -> Tree:
        token = self.token
        if token.kind == "number":
            return Literal(_number(self._next()), token.at)
        if token.kind == "text":
            return Literal(text_of(self._next()), token.at)
        if token.kind == "name" and token.text not in WORDS:
            self._place += 1
            if token.text in CONSTANTS:
                return Literal(CONSTANTS[token.text], token.at)
            check_name(token.text, token.at)
            return Name(token.text, token.at)
        if self._took("("):
            inner = self._expression()
            self._take(")", token)
            return inner
        if self._took("["):
            return self._list(token)
        if self._took("{"):
            return self._object(token)
        raise self._unexpected()

    def _list(self, bracket: Token) -> Tree:
        items: list[Tree | Spread] = []
        while not self._is("]"):
            items.append(self._spread() or self._expression())
            if not self._took(","):
                break
        self._take("]", bracket)
        return Listed(tuple(items), bracket.at)

    def _spread(self) -> Spread | None:
        token = self.token
        return Spread(self._expression(), token.at) if self._took("...") else None

    def _object(self, bracket: Token) -> Tree:
        entries: list[tuple[str, Tree] | Spread] = []
        while not self._is("}"):
            entries.append(self._spread() or self._entry())
            if not self._took(","):
                break
        self._take("}", bracket)
        return Entries(tuple(entries), bracket.at)

    def _entry(self) -> tuple[str, Tree]:
        token = self._next()
        if token.kind == "name":
            key = token.text
        elif token.kind == "text":
            key = text_of(token)
        else:
            self._place -= 1
            raise self._unexpected(": a key must be a name or quoted text")
        check_name(key, token.at)
        if self._took(":"):
            return key, self._expression()
        if token.kind == "name" and token.text not in RESERVED:
            return key, Name(key, token.at)
        raise self._unexpected(f": `:` is missing behind the key {key[:40]!r}")


def _number(token: Token) -> int | float:
    text = token.text
    if text.isdigit():
        if len(text) > 300:
            raise fault(PARSE, token.at, "the number has more than 300 digits")
        return int(text)
    value = float(text)
    if value in (float("inf"),):
        raise fault(PARSE, token.at, f"{text[:40]} is larger than any number here")
    return value
