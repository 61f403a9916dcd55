"""What operators, names and values of expressions mean; and that nothing but plain data is within their reach."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from plait.errors import ExpressionError
from plait.expressions import Closure, check_calls, evaluate, parse, text, truth
from scopes import Scope, error, value

NAN, INFINITE = math.nan, math.inf
KNOWN: dict[str, Any] = {
    "nan": NAN,
    "infinite": INFINITE,
    "three": 3.0,
    "rows": [1, 2, 3],
    "o": {"a": {"b": [5, 6]}, "n": None, "1": "one"},
    "huge": 2**1023,
}

MEANS: list[tuple[str, Any]] = [
    # what is true
    ("[!null, !false, !0, !nan, !'', !undefined]", [True] * 6),
    ("[!!true, !!1, !!'a', !!'0', !!'false', !![], !!{}, !!(-1), !!infinite]", [True] * 9),
    # && || ?? give an operand, and look at the second one only where it is needed
    ("[1 && 2, 0 && 2, '' && 2, null && 2]", [2, 0, "", None]),
    ("[1 || 2, 0 || 2, '' || 'a', null || 0]", [1, 2, "a", 0]),
    ("[1 ?? 2, 0 ?? 2, '' ?? 2, false ?? 2, null ?? 2, undefined ?? null]", [1, 0, "", False, 2, None]),
    ("[true || unknown, false && unknown, 1 ?? unknown, true ? 1 : unknown, false ? unknown : 2]", [True, False, 1, 1, 2]),
    ("1 AND 0 OR 3", 3),
    ("[NOT 0, NOT 1 == 2, NOT true AND false]", [True, True, False]),
    ("1 && 2 && 3 || 4 && 5", 3),
    # == and ===
    ("[1 == '1', '1.0' == 1, 1 == 1.0, three == '3', ' 2 ' == 2]", [True] * 5),
    ("[1 == 'a', 0 == '', 0 == null, '' == null, false == null, '1' == '1.0', nan == nan, 0 == [], 'null' == null]", [False] * 9),
    ("[true == 1, false == 0, true == '1', null == undefined, null == null]", [True] * 5),
    ("[true == 2, true == 'true', true == 'a']", [False] * 3),
    ("[1 === 1.0, 'a' === 'a', null === undefined, [1, {a: 2}] === [1.0, {a: 2}], true === true]", [True] * 5),
    ("[1 === '1', true === 1, null === 0, null === false, [1] === ['1'], {a: 1} === {a: 1, b: 2}, {a: null} === {b: null}, nan === nan]", [False] * 8),
    ("[{a: 1, b: [2]} == {b: [2], a: 1}, [] == [], [1] == ['1'], [[]] == [{}]]", [True, True, False, False]),
    ("[1 != '1', 1 !== '1', 'a' != 'b', [1] !== [1]]", [False, True, True, False]),
    # < > <= >=
    ("[1 < 2, 2 <= 2, 3 > 2, 2 >= 2, 1.5 < 2, -1 < 0]", [True] * 6),
    ("['a' < 'b', 'B' < 'a', '10' < '9', 'a' < 'aa', 'é' > 'z', '' < 'a']", [True] * 6),
    ("['10' > 9, 9 < '10', true < 2, '5' >= 5]", [True] * 4),
    ("[null < 1, null > -1, 1 > null, null <= null, null >= null, null <= 0, undefined < 1]", [False] * 7),
    ("['a' < 1, 'a' > 1, 'a' <= 1, nan < 1, nan >= nan, [1] < [2], {} < 1]", [False] * 7),
    # + - * / %
    ("[1 + 2, 1.5 + 1.5, '1' + 2, 1 + '2', 'a' + null, null + 'a', 'a' + true]", [3, 3, "12", "12", "a", "a", "atrue"]),
    ("['a' + 1.0, 'a' + three, 'a' + [1, {b: null}], '' + {a: 'x'}, '' + nan]", ["a1", "a3", 'a[1,{"b":null}]', '{"a":"x"}', "NaN"]),
    ("[null + 1, true + 1, null + null, 5 - null]", [1, 2, 0, 5]),
    ("[5 - 2, '5' - 2, '5' * '2', 2 * 2.5, '6' / '2']", [3, 3, 10, 5, 3]),
    ("[6 / 2, 7 / 2, 1 / 3 * 3, three / 1, 0 / 5, -6 / 3]", [3, 3.5, 1, 3, 0, -2]),
    ("[1 / 0, 0 / 0, 1 / 0.0, 5 % 0, 1 / null, 1 / false]", [None] * 6),
    ("[7 % 3, -7 % 3, 7 % -3, 5.5 % 2, -5.5 % 2, '7' % 4]", [1, -1, 1, 1.5, -1.5, 3]),
    ("[is_nan('a' - 1), is_nan('a' * 2), is_nan(-'a'), is_nan(infinite % 2), is_nan(infinite - infinite)]", [True] * 5),
    ("[-'5', +'5', +'', -null, +true, - -3, -0]", [-5, 5, NAN, 0, 1, 3, 0]),
    ("[0.1 + 0.2 == 0.3, 9007199254740993 + 0, 2.0 * 3]", [False, 9007199254740993, 6]),
    ("[huge * huge, -huge * huge, huge * 2 == infinite, huge + 0.5 > 1]", [INFINITE, -INFINITE, True, True]),
    ("huge / 3 > 1", True),
    ("[9007199254740993 * 3 / 3, 6 / 4]", [9007199254740993, 1.5]),
    ("1e308 * 10", INFINITE),
    # IN
    ("[2 IN rows, '2' IN rows, 9 IN rows, 2 NOT IN rows, 9 NOT IN rows]", [True, True, False, False, True]),
    ("['b' IN 'abc', 5 IN '15', null IN 'abc', 'a' IN o, 'b' IN o, 1 IN o]", [True, True, False, True, False, True]),
    ("[1 IN null, 1 IN 1, [1] IN [[1]], null IN [null], null IN []]", [False, False, True, True, False]),
    # typeof
    ("[typeof 1, typeof 'a', typeof null, typeof undefined, typeof [], typeof {}, typeof true, typeof nan]",
     ["number", "string", "null", "null", "array", "object", "boolean", "number"]),
    ("typeof typeof 1", "string"),
    # members
    ("[o.a.b[0], o['a'].b[-1], o.a.b.1 ?? null]", None),
    ("[o.a.b[0], o['a'].b[-1], o?.a?.['b']?.[1]]", [5, 6, 6]),
    ("[o.x, o.x.y.z, o.n.y, null.x, null?.x, null[0], undefined.y, o.a.b[9], o.a.b[-9], o.a.b.x, (1).x, true.x]", [None] * 12),
    ("[rows.length, 'abc'.length, o.length, rows['length'], rows[0.0 + 1], rows[three - 1], rows['1'], rows['x'], 'abc'[1], 'abc'[-1], 'abc'[3]]",
     [3, 3, None, 3, 2, 3, 2, None, "b", "c", None]),
    ("[o[1], o['1'], o[1.0], o[null], o[[1]], rows[true], rows[nan], rows[[0]]]", ["one", "one", "one", None, None, None, None, None]),
    # literals
    ("[[1, 'a', [null]], {a: 1, 'b c': [2]}, []]", [[1, "a", [None]], {"a": 1, "b c": [2]}, []]),
    ("{...o.a, b: 1, ...{c: 2}, ...null}", {"b": 1, "c": 2}),
    ("{b: 1, ...o.a}", {"b": [5, 6]}),
    ("[0, ...rows, ...null, ...[]]", [0, 1, 2, 3]),
    ("{rows}", {"rows": [1, 2, 3]}),
    ("'\\u0041\\n\\\\\\/'", "A\n\\/"),
    # arrows
    ("map(rows, x => map(rows, y => x * y))", [[1, 2, 3], [2, 4, 6], [3, 6, 9]]),
    ("map(rows, rows => rows + 1)", [2, 3, 4]),
    ("map(rows, x => (x > 1 ? 'b' : 'a') + x)", ["a1", "b2", "b3"]),
    ("reduce(rows, (sum, x, at) => sum + x * at, 0)", 8),
    ("map([{a: 1}], ({a}) => a)", None),
    ("rows.length > 2 ? 'many' : rows.length == 0 ? 'none' : 'few'", "many"),
]  # fmt: skip
REFUSED = ("o.a.b.1", "({a})")  # these are rows that do not parse


def same(left: Any, right: Any) -> bool:
    return json.dumps(left) == json.dumps(right)


@pytest.mark.parametrize(("expression", "wanted"), MEANS, ids=[each[:70] for each, _ in MEANS])
def test_operators_mean_this(expression: str, wanted: Any) -> None:
    """D9."""
    if any(each in expression for each in REFUSED):
        error(expression, **KNOWN)
        return
    found = value(expression, **KNOWN)
    assert same(found, wanted), found


@pytest.mark.parametrize(
    ("expression", "offset", "said", "hint"),
    [
        ("1 + [1]", 2, "`+` needs numbers or text, not a list", "concat(a, b) joins lists"),
        ("{} + {}", 3, "`+` needs numbers or text, not an object", "merge(a, b) joins objects"),
        ("1 - [1]", 2, "`-` needs numbers or text, not a list", ""),
        ("-[1]", 0, "`-` needs numbers or text, not a list", ""),
        ("+{}", 0, "`+` needs numbers or text, not an object", "merge(a, b) joins objects"),
        ("[...1]", 1, "only a list can be spread in a list, not a number", ""),
        ("{...[1]}", 1, "only an object can be spread in an object, not a list", ""),
        ("1 + unknown.x", 4, "unknown name 'unknown'", ""),
        ("[1, 2 * [3]]", 6, "`*` needs numbers or text, not a list", ""),
        ("map(rows, x => x + [x])", 17, "`+` needs numbers or text, not a list", "concat(a, b) joins lists"),
    ],
)
def test_an_operator_says_where_it_stands_and_what_it_cannot_take(
    expression: str, offset: int, said: str, hint: str
) -> None:
    found = error(expression, **KNOWN)
    assert (found.offset, str(found)) == (offset, said)
    assert hint in found.hint if hint else True


def test_names_are_looked_up_with_the_steps_that_stand_behind_them() -> None:
    asked = []

    class Names:
        def look_up(self, name: str, steps: tuple[str | int, ...]) -> tuple[Any, int]:
            asked.append((name, steps))
            return {"z": [7, 8]}, min(1, len(steps))

    assert evaluate(parse("first.output.z[-1]"), Names()) == 8
    assert evaluate(parse("first[x]"), Names()) is None
    assert asked == [("first", ("output", "z", -1)), ("first", ()), ("x", ())]


def test_an_arrow_as_a_whole_is_a_function_of_python() -> None:
    made = evaluate(parse("(x, i) => x * factor + i", arrow=True), Scope({"factor": 10}))
    assert isinstance(made, Closure)
    assert (made(2, 1), made(3, 0, "more"), made.width) == (21, 30, 2)
    assert evaluate(parse("x => y", arrow=True), Scope({}), {"y": 5})(1) == 5
    with pytest.raises(ExpressionError) as raised:
        evaluate(parse("x => -x", arrow=True), Scope({}))([1])
    assert raised.value.offset == 5


def test_names_that_are_known_hide_others() -> None:
    assert evaluate(parse("a + b"), Scope({"a": 1, "b": 2}), {"a": 10}) == 12
    assert evaluate(parse("map([1], b => a + b)"), Scope({"a": 1, "b": 2}), {"a": 10}) == [11]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, ""), (True, "true"), (False, "false"), (0, "0"), (3.0, "3"), (-0.0, "0"), (1.5, "1.5"), (1e21, "1e+21"), (1e20, "100000000000000000000"),
        (1e-7, "1e-7"), (NAN, "NaN"), (-INFINITE, "-Infinity"), ("a", "a"), ([], "[]"), ({}, "{}"), ((1, 2), "[1,2]"), ([1.0, "é\n"], '[1,"é\\n"]'), ([NAN], "[null]"), ([-INFINITE, 0.5], "[null,0.5]"),
        ({"a": {"b": 2.0}}, '{"a":{"b":2}}'), (2**70, str(2**70)), ({1: True}, '{"1":true}'),
    ],
)  # fmt: skip
def test_values_in_text(found: Any, said: str) -> None:
    assert text(found) == said


def test_what_is_true_is_the_same_everywhere() -> None:
    for each in (None, False, 0, 0.0, NAN, ""):
        assert not truth(each)
        assert value("[x ? 1 : 2, !x, x && 1, is_falsy(x)]", x=each)[:2] == [2, True]
    for each in (True, 1, -1.5, "0", "false", [], {}, INFINITE):
        assert truth(each)
        assert value("[x ? 1 : 2, !x, is_truthy(x)]", x=each) == [1, False, True]


# -- S16: nothing of the host is within reach


@dataclass
class Holder:
    """Something with attributes."""

    secret: str = "s3cr3t"

    def method(self) -> str:
        return self.secret

    def __str__(self) -> str:
        return self.secret

    def __eq__(self, other: object) -> bool:
        raise AssertionError("was compared")

    def __bool__(self) -> bool:
        raise AssertionError("was asked whether it is true")


HOST: dict[str, Any] = {
    "holder": Holder(), "cls": Holder, "module": os, "function": os.system, "lambda_": lambda *values: "called", "path": Path("/etc"), "builtin": print,
    "bytes_": b"abc", "set_": {1, 2}, "error_": ValueError("s3cr3t"), "generator": iter([1]),
}  # fmt: skip
REACHING = [
    "@", "@.secret", "@.method", "@['secret']", "@[0]", "@ + ''", "'' + @", "@ == @", "@ === 1", "1 == @", "@ ? 1 : 2", "!@", "typeof @",
    "[@]", "{a: @}", "[...@]", "{...@}", "len(@)", "keys(@)", "get(@, 'secret')", "json_encode(@)", "to_string(@)", "coalesce(@)",
    "map(@, x => x)", "map([1], x => @)", "@ IN [1]", "1 IN @", "@ && 1", "@ ?? 1", "-@", "@ < 1", "is_object(@)", "default(@, 1)", "switch(1, @)",
    "upper(@)", "clone(@)", "unique([@])", "sort([1], @)", "concat(@)", "if_else(true, @)", "set({}, 'a', @)", "merge(@)", "equals(@, @)", "hash(@)",
]  # fmt: skip


class TestEscapes:
    """S16: the grammar is closed, values are data, and only listed functions are called."""

    @pytest.mark.parametrize("name", list(HOST))
    @pytest.mark.parametrize("reach", REACHING)
    def test_an_object_of_the_host_is_nothing_that_can_be_read(self, name: str, reach: str) -> None:
        expression = reach.replace("@", name)
        found = error(expression, **HOST)
        assert "is no plain data" in str(found)
        assert "s3cr3t" not in f"{found} {found.hint}"

    @pytest.mark.parametrize("name", list(HOST))
    def test_neither_is_one_inside_a_list_or_an_object(self, name: str) -> None:
        data = {"list": [HOST[name]], "inner": {"it": HOST[name]}}
        for expression in (
            "list[0]", "inner.it", "first(list)", "get(inner, 'it')", "inner.it.secret", "map(list, x => x)", "map(list, x => x.secret)", "'' + list", "json_encode(inner)",
            "map([1], first(list))", "sort(list, x => x)", "sort(list)", "sort([1], first(list))", "unique(list)", "list == [1]", "list === list", "join(list)", "find(list, x => true)",
            "reduce(list, (a, x) => a, null) ?? reduce(list, (a, x) => x, 1)", "values(inner)[0]", "entries(inner)[0][1]", "last(list)", "at(list, 0)", "clone(inner)",
            "flatten([list])[0]", "pick(inner, 'it').it", "min(list)", "sum(list)", "group_by(list, x => 1)[1][0]", "group_by(list, null)", "to_number(inner.it)", "switch('it', inner)",
            "coalesce(inner.it)", "includes(list, 1) ? list[0] : list[0]", "count(list, x => x)", "pretty(list)", "concat(list, '')[0]", "concat('', list)",
        ):  # fmt: skip
            found = error(expression, **data)
            assert "s3cr3t" not in f"{found} {found.hint}", expression
            assert "called" not in str(found)

    @pytest.mark.parametrize(
        "expression",
        [
            "().__class__", "(1).__class__", "''.__class__.__mro__", "[].__class__.__base__.__subclasses__()", "''.constructor", "''['constructor']", "''['__class__']",
            "''['__cl' + 'ass__']", "o[k]", "get(o, k)", "get(o, [k])", "o['a'][k]", "{}[k]", "map(rows, x => x[k])", "{[k]: 1}", "{__proto__: {}}", "{'constructor': 1}",
            "f'{o}'", "f\"{o.__class__}\"", "'%s' % o", "'{0.__class__}'.format(o)", "`${o}`", "__import__('os')", "import('os')", "eval('1')", "exec('1')",
            "globals()", "getattr(o, 'x')", "lambda: 1", "(x => x)(1)", "map(rows, print)", "o.a()", "JSON.parse.constructor('x')", "JSON.constructor", "JSON['parse']('1')",
            "this.constructor", "constructor", "prototype", "__builtins__", "x = 1", "o.a = 1", "a; b", "new Object()", "function() {}", "/a/.source", "o?.__class__", "o?.['__class__']",
            "[x for x in rows]", "rows[0:1]", "1 if 2 else 3", "a and b", "not a", "upper.__globals__", "upper", "map", "JSON",
            "has(o, k)", "set(o, k, 1)", "delete(o, k)", "pick(o, k)", "omit(o, k)", "from_entries([[k, 1]])", "group_by(rows, x => k)", "sort([o], k)", "sort([o], 'a.' + k)",
            "set(o, ['a', k], 1)", "delete(o, 'a.' + k)", "has(o, ['a', k])", "pick(o, [k])", "omit(o, [k])",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("k", ["__class__", "__proto__", "constructor", "prototype", "__"])
    def test_there_is_no_way_out(self, expression: str, k: str) -> None:
        found = error(expression, o={"a": {}}, rows=[1], k=k)
        assert found.code.startswith("EXPR_")

    def test_percent_and_braces_are_text(self) -> None:
        assert value("'{0.__class__} %s {x}' + 1") == "{0.__class__} %s {x}1"
        assert math.isnan(value("'%s' % 5"))

    def test_a_key_of_data_that_is_closed_is_data_and_nothing_more(self) -> None:
        data = {"__class__": 1, "constructor": {"x": 2}}
        assert value("len(o)", o=data) == 2
        assert value("json_encode(o)", o=data) == json.dumps(data, separators=(",", ":"))
        assert error("o.constructor", o=data).code == "EXPR_BLOCKED_ACCESS"

    def test_nothing_but_data_comes_out(self) -> None:
        for expression in ("coalesce(x => x)", "[x => x]", "{a: x => x}", "true ? (x => x) : 1", "if_else(true, x => x, 1)", "default(null, x => x)", "reduce([1], (a, x) => a, y => y)",
                           "to_array(x => x)", "concat([1], x => x)", "get({}, 'a', x => x)", "set({}, 'a', x => x)", "x => x", "(x => x)", "map([1], x => y => x)", "clone(x => x)"):  # fmt: skip
            error(expression)
            try:
                problems = list(check_calls(parse(expression)))
            except ExpressionError:
                continue  # it cannot even be read
            assert problems, expression

    def test_subclasses_of_plain_types_are_plain(self) -> None:
        class Word(str):
            secret = 1

        assert value("[w, w.secret, w.length]", w=Word("ab")) == ["ab", None, 2]
        assert value("o.a", o=OrderedDict(a=1)) == 1

    def test_nothing_is_started_and_nothing_is_written(self, tmp_path: Path) -> None:
        program = (
            "import sys\nfrom plait.expressions import evaluate, parse\nimport plait.expressions.functions.times\n"
            "def hook(event, arguments):\n    if event.split('.')[0] in ('open', 'os', 'subprocess', 'socket', 'import', 'exec', 'compile'): seen.append(event)\n"
            "class N:\n    def look_up(self, name, steps): return 1, 0\n"
            'tree = parse(\'upper("a") + json_encode([1]) + date() + hash("a") + url_encode("ä") + map([1], x => x + y)\')\nevaluate(tree, N())\n'
            'seen = []\nsys.addaudithook(hook)\nevaluate(parse(\'upper("a") + json_encode([1]) + hash("a") + map([1], x => x + y)\'), N())\nprint(seen)'
        )
        done = subprocess.run(["python", "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert done.stdout == "[]\n", done.stderr
