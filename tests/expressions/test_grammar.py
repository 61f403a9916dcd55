"""The grammar of expressions: what is read as what, where an error is, and back to text."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expression_rows import GIVES, SAYS
from plait.errors import ExpressionError
from plait.expressions import DEEPEST, FUNCTIONS, LONGEST, Node, check_calls, evaluate, parse, references, to_text
from plait.expressions.faults import blocked
from plait.expressions.parse import RESERVED
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
    Spread,
    Unary,
    parts,
    walk,
)  # fmt: skip
from scopes import Scope, error, value


def alike(left: Node, right: Node) -> bool:
    """Are two trees the same, in the types of literals, too? Trees that are deeper than Python recurses are compared as well."""
    pairs: list[tuple[Node, Node]] = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if type(one) is not type(other) or own(one) != own(other) or len(parts(one)) != len(parts(other)):
            return False
        pairs.extend(zip(parts(one), parts(other), strict=True))
    return True


def own(node: Node) -> tuple[Any, ...]:
    """What a node says itself."""
    match node:
        case Literal(said):
            return (type(said), said)
        case Name(name):
            return (name,)
        case Member(_, name):
            return (name,)
        case Call(function, _):
            return (function,)
        case Unary(operator, _):
            return (operator,)
        case Binary(operator, _, _):
            return (operator,)
        case Arrow(parameters, _):
            return (parameters,)
        case Entries(entries):
            return tuple(None if isinstance(each, Spread) else each[0] for each in entries)
        case _:
            return ()


# -- trees

HYPHENATED = ("city-list", "a-b", "a-b-c", "now-at")
words = st.text("abxyz_é", min_size=1, max_size=4).filter(lambda word: word not in RESERVED and not blocked(word))
names = words | st.sampled_from(("$item", "$config", "JSON", "input")) | st.sampled_from(HYPHENATED)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
keys = texts.filter(lambda text: not blocked(text))
numbers = st.integers(0, 10**30) | st.floats(0, allow_nan=False, allow_infinity=False).filter(
    lambda x: math.copysign(1, x) > 0
)
literals = st.builds(Literal, texts | numbers | st.booleans() | st.none())
leaves = literals | st.builds(Name, names)
BINARY = ("??", "||", "&&", "==", "!=", "===", "!==", "<", "<=", ">", ">=", "IN", "+", "-", "*", "/", "%")
CALLED = st.sampled_from([*(set(FUNCTIONS) - {"typeof"}), "unknown"])


def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    index = inner.filter(lambda node: not (isinstance(node, Literal) and blocked(node.value)))
    spread = st.builds(Spread, inner)
    parameters = st.lists(words, max_size=3, unique=True).map(tuple)
    return (
        st.builds(Member, inner, words | st.sampled_from(("a-b", "true", "IN", "typeof", "null", "length")))
        | st.builds(Index, inner, index)
        | st.builds(Call, CALLED, st.lists(inner | st.builds(Arrow, parameters, inner), max_size=3).map(tuple))
        | st.builds(Unary, st.sampled_from(("!", "-", "+", "typeof")), inner)
        | st.builds(Binary, st.sampled_from(BINARY), inner, inner)
        | st.builds(Conditional, inner, inner, inner)
        | st.builds(Listed, st.lists(inner | spread, max_size=3).map(tuple))
        | st.builds(Entries, st.lists(st.tuples(keys, inner) | spread, max_size=3).map(tuple))
    )


trees = st.recursive(leaves, larger, max_leaves=20)


class TestTrees:
    """D9: a tree is text, and the text is that tree."""

    @settings(max_examples=300, deadline=None)
    @given(trees)
    def test_a_tree_is_text_that_reads_as_the_same_tree(self, tree: Any) -> None:
        text = to_text(tree, HYPHENATED)
        assert alike(parse(text, HYPHENATED), tree), text

    @settings(max_examples=50, deadline=None)
    @given(st.builds(Arrow, st.lists(words, max_size=3, unique=True).map(tuple), trees))
    def test_so_is_an_arrow_where_one_may_stand(self, tree: Arrow) -> None:
        assert alike(parse(to_text(tree, HYPHENATED), HYPHENATED, arrow=True), tree)

    @settings(max_examples=200, deadline=None)
    @given(trees)
    def test_every_node_has_its_place(self, tree: Any) -> None:
        text = to_text(tree, HYPHENATED)
        for node, _ in walk(parse(text, HYPHENATED)):
            behind = text[node.at :]
            match node:
                case Name(name) | Member(_, name):
                    assert behind.startswith(name)
                case Call(function, _):
                    assert behind.startswith(function)
                case Unary(operator, _):
                    assert behind.startswith(operator)
                case Binary(operator, _, _):
                    assert behind.startswith(operator)
                case Index() | Listed():
                    assert behind.startswith("[")
                case Entries():
                    assert behind.startswith("{")
                case Spread():
                    assert behind.startswith("...")

    @pytest.mark.parametrize(
        "text",
        [
            "1",
            "1.0",
            "true",
            "'1'",
            "null",
            "0.1",
            "1e22",
            "5e-324",
            "1.7976931348623157e308",
            "'\"\\\\\\n\\u0000é😀\u2028'",
        ],
    )
    def test_literals_keep_their_type(self, text: str) -> None:
        tree = parse(text)
        assert isinstance(tree, Literal)
        assert alike(parse(to_text(tree)), tree)

    @pytest.mark.parametrize(
        "operators",
        [("+",), ("-",), ("&&",), ("+", "*"), ("??", "||", "&&", "==", "<", "-", "/", "*", "+", ">="), ("IN", "+")],
    )
    def test_chains_of_three_thousand_operators_are_read_written_and_worked_out(
        self, operators: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            sys.modules["plait.expressions.parse"], "LONGEST", 30_000
        )  # with its spaces it is longer than what people may write
        text = "".join(f"a {operators[at % len(operators)]} " for at in range(3_000)) + "a"
        tree = parse(text)
        assert sum(isinstance(node, Binary) for node, _ in walk(tree)) == 3_000
        assert alike(parse(to_text(tree)), tree)
        assert len(list(references(tree))) == 3_001
        assert list(check_calls(tree)) == []
        evaluate(tree, Scope({"a": 1}))

    def test_chains_of_members_are_as_long_as_text_is(self) -> None:
        text = "a" + ".b" * 2_000 + "[0]" * 1_500
        tree = parse(text)
        assert to_text(tree) == text
        assert value(text, a={}) is None
        assert [(each.root, len(each.steps)) for each in references(tree)] == [("a", 3_500)]

    @pytest.mark.parametrize(
        ("opened", "inner", "closed", "each"),
        [
            ("[", "a", "]", 1), ("(", "a", ")", 1), ("{k: ", "a", "}", 1), ("to_string(", "a", ")", 1), ("!", "a", "", 1), ("typeof ", "a", "", 1),
            ("n - (", "n", ")", 2), ("a ? a : ", "a", "", 1), ("a[", "0", "]", 1), ("map(a, x => ", "x", ")", 2), ("NOT ", "a", "", 1),
        ],
    )  # fmt: skip
    def test_deep_ones_are_read_and_worked_out_up_to_the_limit_and_refused_beyond(
        self, opened: str, inner: str, closed: str, each: int
    ) -> None:
        most = (DEEPEST - 1) // each
        text = opened * most + inner + closed * most
        tree = parse(text)
        assert alike(parse(to_text(tree)), tree)
        evaluate(tree, Scope({"a": [1], "n": 1}))
        assert "nested deeper than 100 levels" in str(
            error(opened * (DEEPEST + 1) + inner + closed * (DEEPEST + 1), a=[1])
        )

    def test_thousands_of_brackets_are_an_error_and_no_crash(self) -> None:
        """S17."""
        for text in (
            "(" * 9_999,
            "[" * 5_000 + "]" * 5_000,
            "!" * 9_999,
            "x => " * 2_000,
            "a ? " * 2_000,
            "-" * 9_999,
            "{a:" * 3_000,
            "f(" * 4_000,
        ):
            assert error(text).code == "EXPR_PARSE_ERROR"


# -- what is read as what


class TestReading:
    """D9: how tightly what binds."""

    @pytest.mark.parametrize(
        ("text", "same"),
        [
            ("a + b * c", "a + (b * c)"),
            ("a - b - c", "(a - b) - c"),
            ("a * b % c / d", "((a * b) % c) / d"),
            ("a + b < c - d", "(a + b) < (c - d)"),
            ("a < b == c > d", "(a < b) == (c > d)"),
            ("a == b && c != d || e", "((a == b) && (c != d)) || e"),
            ("a ?? b || c && d", "a ?? (b || (c && d))"),
            ("a || b ? c : d ? e : f", "(a || b) ? c : (d ? e : f)"),
            ("a ? b ? c : d : e", "a ? (b ? c : d) : e"),
            ("!a && -b + c", "(!a) && ((-b) + c)"),
            ("!a.b(c)", None),
            ("-a.b[c].d", "-(((a.b)[c]).d)"),
            ("typeof a == 'x'", "(typeof a) == 'x'"),
            ("a AND b OR c", "(a && b) || c"),
            ("NOT a == b", "!(a == b)"),
            ("NOT a AND b", "(!(a)) && b"),
            ("!a == b", "(!a) == b"),
            ("a NOT IN b", "!(a IN b)"),
            ("a IN b AND c", "(a IN b) && c"),
            ("a + b IN c", "(a + b) IN c"),
            ("a == NOT b", "a == (!b)"),
            ("map(a, x => x + 1)", "map(a, (x) => (x + 1))"),
            ("map(a, x => x ? 1 : 2)", "map(a, (x) => (x ? 1 : 2))"),
            ("map(a, x => {k: x})", "map(a, (x) => ({k: x}))"),
            ("a?.b?.[0]?.c", "a.b[0].c"),
            ("a?.5:1", "a ? 0.5 : 1"),
            ("{a, 'b': 1, ...c,}", "{a: a, b: 1, ...c}"),
            ("[1, ...a, ]", "[1, ...a]"),
            ("[]", "[ ]"),
            ("f()", "f( )"),
            ("undefined", "null"),
            ("'a\\'b'", '"a\'b"'),
            ("'\\u00e9\\ud83d\\ude00\\n'", '"é😀\\u000a"'),
            (".5 + 1. + 1e3 + 1E-2", "0.5 + 1.0 + 1000.0 + 0.01"),
            ("a\n+\tb", "a+b"),
            ("a.true.IN.typeof", "((a.true).IN).typeof"),
            ("{true: 1, IN: 2}", "{'true': 1, 'IN': 2}"),
        ],
    )
    def test_these_are_the_same(self, text: str, same: str | None) -> None:
        if same is None:
            assert "values have no methods" in str(error(text))
        else:
            assert alike(parse(text), parse(same))

    def test_hyphens_are_in_a_name_where_one_has_them_the_longest_first(self) -> None:
        assert parse("a-b") == Binary("-", Name("a"), Name("b"))
        assert parse("a-b", ["a-b"]) == Name("a-b")
        assert parse("a - b", ["a-b"]) == Binary("-", Name("a"), Name("b"))
        assert parse("a-b-c", ["a-b"]) == Binary("-", Name("a-b"), Name("c"))
        assert parse("a-b-c", ["a-b", "a-b-c"]) == Name("a-b-c")
        assert parse("a-b-cd", ["a-b-c"]) == Binary("-", Binary("-", Name("a"), Name("b")), Name("cd"))
        assert parse("x.first-name", ["first-name"]) == Member(Name("x"), "first-name")
        assert parse("a-1", ["a-1"]) == Name("a-1")
        assert parse("a-1") == Binary("-", Name("a"), Literal(1))

    def test_thousands_of_hyphens_are_soon_read(self) -> None:
        """S17: every name could begin a longer one."""
        began = time.process_time()
        parse("a-" * 4_999 + "a", ["b-b"])
        assert time.process_time() - began < 3

    def test_what_an_expression_reads(self) -> None:
        found = list(references(parse("a.b[0].c + map(rows, x => x.n + y[z].k) + $item['k'][-1]")))
        assert [(each.root, each.steps, each.goes_on) for each in found] == [
            ("a", ("b", 0, "c"), False), ("rows", (), False), ("y", (), True), ("z", (), False), ("$item", ("k", -1), False),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("text", "offset", "said"),
        [
            ("", 0, "there is no expression"),
            ("  ", 2, "there is no expression"),
            ("a +", 3, "ends too early"),
            ("(a", 0, "`(` is not closed: `)` is missing"),
            ("[a", 0, "`[` is not closed"),
            ("{a: 1", 0, "`{` is not closed"),
            ("f(a", 1, "`(` is not closed"),
            ("a b", 2, "'b' is not expected here"),
            ("a ** b", 3, "'*' is not expected here"),
            ("a = b", 2, "`=` assigns"),
            ("a & b", 2, "`&` is no operator"),
            ("a | upper", 2, "`|` is no operator"),
            ("'abc", 0, "the quote ' is not closed"),
            ("`a`", 0, "backticks do not quote text"),
            ("'a\\x41'", 2, "is no escape"),
            ("'\\ud800'", 0, "half of a character"),
            ("a.upper()", 2, "values have no methods: 'upper' cannot be called"),
            ("[a](b)", 3, "only functions can be called"),
            ("x => x", 2, "`=>` makes a function"),
            ("a.1", 1, "'.1' is not expected here"),
            ("1abc", 0, "is no number"),
            ("1" * 301, 0, "more than 300 digits"),
            ("1e999", 0, "larger than any number"),
            ("{1: 2}", 1, "a key must be a name or quoted text"),
            ("{'a'}", 4, "`:` is missing behind the key 'a'"),
            ("{true}", 5, "`:` is missing behind the key 'true'"),
            ("f(...a)", 2, "arguments cannot be spread"),
            ("map(a, (x, x) => 1)", 11, "'x' cannot name a parameter here"),
            ("map(a, true => 1)", 7, "'true' cannot name a parameter here"),
            ("a ? b", 2, "`?` is not closed: `:` is missing"),
            ("a.", 2, "a name is missing behind `.`"),
            ("#", 0, "cannot read '#' here"),
            ("\x00", 0, "cannot read U+0000 here"),
            ("IN", 0, "'IN' is not expected here"),
            ("a" * (LONGEST + 1), 0, "longer than 10,000 characters"),
            ("__class__", 0, "must not be looked up"),
            ("a.__class__", 2, "must not be looked up"),
            ("a?.constructor", 3, "must not be looked up"),
            ("a['prototype']", 2, "must not be looked up"),
            ("{__proto__: 1}", 1, "must not be looked up"),
            ("map(a, __x => 1)", 7, "must not be looked up"),
        ],
    )
    def test_an_error_is_at_its_place_and_says_what_is_wrong(self, text: str, offset: int, said: str) -> None:
        found = error(text)
        assert said in str(found)
        assert (found.offset, found.code) == (
            offset,
            "EXPR_BLOCKED_ACCESS" if "looked up" in said else "EXPR_PARSE_ERROR",
        )


# -- any text

TEXTS = [text for text, _ in (*GIVES, *SAYS)]
PLAIN = (type(None), bool, int, float, str, list, tuple, dict)
KNOWN = {
    "a": 1, "b": [1, [2], {"c": None}], "rows": [{"n": 2}, {"n": "x"}], "x": "text", "o": {"a": {"b": [5]}}, "nan": math.nan, "t": (1, 2),
    "infinite": math.inf, "three": 3.0, "half": "\ud800", "bad": "0000", "big": 10**400,
}  # fmt: skip
ALPHABET = [
    *"abcxyz019.,:;?!+-*/%<>=&|()[]{}'\"\\ \n$_é😀\x00", "=>", "...", "?.", "??", "null", "true", "NOT ", " IN ", "typeof ", "x => x", "1e999", "-1", "__class__", "nan",
    "rows", "big", "10000000000", "upper(", "map(rows, ", "\\ud800", "x.", "[0]",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """An expression that was right once."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(0, 4))):
        first = draw(st.integers(0, len(text)))
        last = min(len(text), first + draw(st.integers(0, 5)))
        match draw(st.integers(0, 3)):
            case 0:
                text = text[:first] + text[last:]
            case 1:
                text = text[:first] + draw(st.sampled_from(ALPHABET)) + text[last:]
            case 2:
                text = text[:first] + text[first:last] * 2 + text[last:]
            case _:
                other = draw(st.sampled_from(TEXTS))
                text = text[:first] + other[draw(st.integers(0, len(other))) :]
    return text


def plain(found: Any) -> bool:
    """Is it data, down to its last part?"""
    level = [found]
    while level:
        if not all(type(each) in PLAIN for each in level):
            return False
        level = [
            inner
            for each in level
            if isinstance(each, (list, tuple, dict))
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return True


class TestAnyText:
    """S16 S17 D9: there is no text that does anything else."""

    @settings(max_examples=500, deadline=None)
    @given(mutated() | st.text(max_size=30))
    def test_text_is_an_expression_or_an_error_at_a_place_and_an_expression_is_plain_data_or_an_error(
        self, text: str
    ) -> None:
        check(text)


def check(text: str) -> None:
    """Reads it, writes it, works it out."""
    try:
        tree = parse(text, HYPHENATED)
    except ExpressionError as wrong:
        assert wrong.offset is not None
        assert 0 <= wrong.offset <= len(text)
        return
    assert alike(parse(to_text(tree, HYPHENATED), HYPHENATED), tree)
    for problem in check_calls(tree):
        assert problem.offset is not None
        assert 0 <= problem.offset <= len(text)
    try:
        found = evaluate(tree, Scope(KNOWN))
    except ExpressionError as wrong:
        assert wrong.offset is not None
        assert 0 <= wrong.offset <= len(text)
        return
    assert plain(found), text
