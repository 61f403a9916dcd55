"""Every function of the expression language: what it gives, and what it says to those who use it wrongly."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from expression_rows import GIVES, KNOWN, SAYS
from plait.errors import ExpressionError
from plait.expressions import DEEPEST, FUNCTIONS, LARGEST, LONGEST, MOST_STEPS, check_calls, parse, usage, values
from plait.expressions.evaluate import ENTRY, ITEM, MOST_GIVEN
from plait.expressions.functions import patterns, times
from plait.expressions.tree import Unary, calls, walk
from scopes import checked, error, value

SECTION_9 = [
    "upper", "lower", "trim", "replace", "split", "join", "truncate", "includes", "starts_with", "ends_with",
    "substring", "pad_start", "pad_end", "repeat", "char_at", "len", "match", "match_all", "test", "concat",
    "array_concat", "length", "first", "last", "slice", "flatten", "unique", "reverse", "contains", "index_of",
    "sort", "compact", "count", "at", "every", "some", "find", "filter", "map", "reduce", "take", "skip", "range",
    "group_by", "min", "max", "sum", "avg", "round", "floor", "ceil", "abs", "pow", "sqrt", "random", "random_int",
    "clamp", "mod", "sign", "trunc", "percent", "add", "subtract", "multiply", "divide", "typeof", "is_null",
    "is_array", "is_object", "is_string", "is_number", "is_boolean", "is_empty", "is_finite", "is_integer", "is_nan",
    "is_truthy", "is_falsy", "to_string", "to_number", "to_boolean", "to_array", "coalesce", "default", "if_else",
    "switch", "not", "keys", "values", "entries", "from_entries", "get", "has", "merge", "pick", "omit", "size",
    "set", "delete", "equals", "clone", "now", "date", "time", "parse_date", "format_date", "add_time",
    "subtract_time", "diff", "timestamp", "from_timestamp", "start_of", "end_of", "get_part", "is_before", "is_after",
    "relative", "duration", "json_encode", "json_decode", "pretty", "base64_encode", "base64_decode", "url_encode",
    "url_decode", "hash", "uuid", "JSON.parse", "JSON.stringify",
]  # fmt: skip


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It is 2026-11-23T09:30:00.123 there."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    at = datetime(2026, 11, 23, 8, 30, 0, 123456, UTC)
    monkeypatch.setattr(times, "moment", lambda work: at.astimezone())
    yield
    monkeypatch.undo()
    time.tzset()


def same_types(left: Any, right: Any) -> bool:
    """1, 1.0 and true are three things."""
    return json.dumps(left) == json.dumps(right)


class TestTables:
    """D9: what functions give, and what they refuse."""

    @pytest.mark.parametrize(("text", "wanted"), GIVES, ids=[text[:60] for text, _ in GIVES])
    def test_a_function_gives_this(self, text: str, wanted: Any) -> None:
        found = checked(text, **KNOWN)
        assert same_types(found, wanted), f"{text} is {found!r}"

    @pytest.mark.parametrize(("text", "said"), SAYS, ids=[text[:60] for text, _ in SAYS])
    def test_a_function_refuses_this_and_says_why(self, text: str, said: str) -> None:
        assert said in str(error(text, **KNOWN))

    def test_every_function_has_rows_in_both_tables(self) -> None:
        for rows in (GIVES, SAYS):
            called = set()
            for text, _ in rows:
                if text == "typeof()":  # no expression: the operator has no operand
                    called.add("typeof")
                    continue
                tree = parse(text)
                called |= {call.function for call in calls(tree)}
                called |= {node.operator for node, _ in walk(tree) if isinstance(node, Unary)} & {"typeof"}
            assert called >= set(FUNCTIONS)

    def test_a_row_of_the_second_table_calls_the_function_that_it_is_about(self) -> None:
        for text, said in SAYS:
            function = text.split("(")[0]
            assert function in FUNCTIONS
            assert said.startswith((f"{function}:", f"{function} takes", "'", "a key", "a step", "')'")), text


def test_the_functions_are_those_of_the_language_and_no_others() -> None:
    """D9."""
    assert len(SECTION_9) == len(set(SECTION_9))
    assert set(FUNCTIONS) == set(SECTION_9)


def test_every_function_says_what_it_gives() -> None:
    for name, function in FUNCTIONS.items():
        assert function.run.__doc__, name
        assert function.run.__doc__[0].isupper() or function.run.__doc__[0] in "`-", name


class TestNull:
    """Null is tolerated everywhere: data has holes."""

    @pytest.mark.parametrize("name", SECTION_9)
    def test_a_first_argument_that_is_null_is_no_error(self, name: str) -> None:
        function = FUNCTIONS[name]
        if name == "typeof" or (not function.parameters and function.rest is None):
            return
        least = max(1, function.least)
        words = [
            "x => x" if _kind(name, place) == "Arrow" else "null" if place == 0 else _some(name, place)
            for place in range(least)
        ]
        checked(f"{name}({', '.join(words)})")

    @pytest.mark.parametrize("name", SECTION_9)
    def test_neither_are_all_others(self, name: str) -> None:
        function = FUNCTIONS[name]
        if name in ("typeof", "set", "start_of", "end_of", "get_part", "random_int"):
            return  # a path or a unit has to be said, and nothing is between 1 and 0
        most = len(function.parameters) + (function.rest is not None)
        for place in range(1, most):
            if _kind(name, place) == "Arrow":
                continue
            words = [_some(name, each) if each != place else "null" for each in range(max(place + 1, function.least))]
            checked(f"{name}({', '.join(words)})")


def _kind(name: str, place: int) -> str:
    parameter = FUNCTIONS[name].parameter(place)
    assert parameter is not None
    return parameter.kind


def _some(name: str, place: int) -> str:
    """An argument that the function takes there."""
    by_kind = {
        "Text": "'a'", "Number": "2", "Whole": "1", "List": "[1]", "Object": "{a: 1}", "Items": "'abc'", "Sized": "[1]", "Held": "{a: 1}",
        "Path": "'a'", "Time": "'2026-11-23'", "Arrow": "x => x", "Key": "x => x", "Anything": "null",
    }  # fmt: skip
    by_name = {"unit": "'day'", "part": "'day'", "order": "'asc'", "algorithm": "'md5'"}
    parameter = FUNCTIONS[name].parameter(place)
    assert parameter is not None
    return by_name.get(parameter.name, by_kind[parameter.kind])


class TestTheirArguments:
    def test_they_are_never_changed(self) -> None:
        data = {"list": [3, 1, 2, {"a": [1]}, None], "object": {"a": {"b": [1, 2]}, "c": 1}}
        before = copy.deepcopy(data)
        for text in (
            "reverse(list)", "compact(list)", "set(object, 'a.b.0', 5)", "delete(object, 'a.b.0')", "merge(object, {c: 2})", "omit(object, 'c')",
            "flatten(list)", "unique(list)", "concat(list, [1])", "array_concat(list, list)", "set(object, 'a.d', 5)", "take(list, 2)",
            "sort(take(list, 3))", "delete(object, 'c')", "clone(object)", "[...list, 1]", "{...object, c: 5}", "set(list, 5, 1)",
        ):  # fmt: skip
            value(text, **data)
            assert data == before, text

    def test_what_is_changed_later_is_not_the_list_that_a_function_declares(self) -> None:
        value("split(null, ',')").append(1)
        assert value("split(null, ',')") == []

    def test_a_clone_shares_nothing(self) -> None:
        data = {"a": [{"b": 1}]}
        made = value("clone(data)", data=data)
        made["a"][0]["b"] = 2
        assert data == {"a": [{"b": 1}]}

    def test_parts_of_what_is_given_are_given_as_they_are(self) -> None:
        inner = [1] * 1000
        assert value("get(data, 'a')", data={"a": inner}) is inner
        # What is only taken out is nothing that was made: else a loop over large data would end early.
        assert value("length(map(range(0, 20000), i => length(get(data, 'a'))))", data={"a": inner}) == 20000


class TestTime:
    def test_one_expression_is_one_moment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        assert value("unique(map(range(0, 3000), i => now()))").__len__() == 1
        assert value("timestamp() == timestamp(now())") is True

    def test_it_is_now(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        before = datetime.now(UTC)
        found = datetime.fromisoformat(value("now()"))
        assert before.timestamp() - 0.001 <= found.timestamp() <= datetime.now(UTC).timestamp()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", value("now()"))

    @pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Pacific/Kiritimati", "UTC"])
    def test_all_of_it_is_in_the_zone_of_the_machine(self, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        at = datetime(2026, 7, 1, 3, 0, tzinfo=UTC).astimezone()
        assert (
            value("format_date('2026-07-01T03:00:00Z', 'yyyy-MM-dd HH:mm ZZ')")
            == at.strftime("%Y-%m-%d %H:%M ") + at.isoformat()[-6:]
        )
        assert value("start_of('2026-07-01T03:00:00Z', 'day')") == at.replace(hour=0, minute=0).isoformat(
            timespec="milliseconds"
        )

    @pytest.mark.parametrize(
        "bad",
        [
            "99999-01-01",
            "2026-13-01",
            "0000",
            "2026-02-30",
            "x" * 5000,
            "",
            "2026-11-23T25:00",
            "٢٠٢٦-١١-٢٣",
            "T",
            "-1",
        ],
    )
    def test_a_bad_date_is_null_everywhere(self, bad: str) -> None:
        for text in (
            "parse_date(bad)", "format_date(bad, 'd')", "add_time(bad, '1d')", "subtract_time(bad, '1d')", "diff(bad, now())", "diff(now(), bad)",
            "timestamp(bad)", "from_timestamp(bad)", "start_of(bad, 'day')", "end_of(bad, 'day')", "get_part(bad, 'day')", "is_before(bad, now())",
            "is_after(now(), bad)", "relative(bad)",
        ):  # fmt: skip
            assert value(text, bad=bad) is None, text

    @pytest.mark.parametrize(
        "at",
        ["0001-01-01", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59-12:00", "1800-01-01"],
    )
    def test_the_ends_of_the_calendar_are_no_accident(self, at: str) -> None:
        for unit in ("second", "day", "week", "month", "year"):
            for text in ("start_of(at, unit)", "end_of(at, unit)", "diff(at, now(), unit)", "diff(now(), at, unit)"):
                value(text, at=at, unit=unit)
        for text in (
            "add_time(at, '1y')",
            "subtract_time(at, '1d')",
            "relative(at)",
            "format_date(at, 'yyyy ZZ')",
            "timestamp(at)",
        ):
            value(text, at=at)


class TestChance:
    def test_those_that_ask_the_clock_or_chance_say_so(self) -> None:
        """Whoever replays a run must not ask again."""
        impure = {name for name, function in FUNCTIONS.items() if not function.pure}
        assert impure == {"now", "date", "time", "timestamp", "parse_date", "relative", "random", "random_int", "uuid"}


class TestRegularExpressions:
    """S17: they end in time, and take no memory without end."""

    def test_nobody_pays_for_them_who_does_not_use_them(self) -> None:
        program = "import sys, plait.expressions as e; e.evaluate(e.parse('upper(\"a\")'), None); print('regex' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert done.stdout == "False\n", done.stderr

    def test_one_that_tries_everything_ends_within_about_a_second_and_says_so(self) -> None:
        began = time.process_time()
        value("test(s, '(a+)+$')", s="a" * 50 + "b")
        found = error("test(s, '(?:a|aa)+$')", s="a" * 50 + "b")
        assert time.process_time() - began < 5
        assert (found.code, found.offset) == ("EXPR_EVAL_ERROR", 0)
        assert str(found).startswith("test: the regular expressions of one evaluation take more than a second")
        assert "(a+)+" in found.hint

    def test_a_second_is_for_all_of_one_evaluation(self) -> None:
        began = time.process_time()
        error("map(range(0, 1000), i => test(s + i, '(?:a|aa)+$'))", s="a" * 30 + "b")
        assert time.process_time() - began < 5

    @pytest.mark.parametrize(
        "pattern",
        [
            "(?:a{1000}){1000}", "(?:[a-z]{300}x){300}", "((a{100}){100}){100}", "(?x)#[\na{300000}#]", "(?#[)a{300000}[]]",
            "(?V1)[[a]b]{99999999}", "[[:alpha:])]a{99999999}", "[a[:alpha:])]a{99999999}", "a)b{99999999}", r"[\]]{99999999}", r"\[{99999999}",
            "[^]]{99999999}", "(?:a{9999}|(?:b{10}c){9999})", "a{999999999}",
        ],
    )  # fmt: skip
    def test_one_that_would_be_written_out_without_end_is_refused_before(self, pattern: str) -> None:
        began = time.process_time()
        found = error("test('aaa', re)", re=pattern)
        assert str(found).startswith(("test: re repeats more than", "test: re is no regular expression"))
        assert time.process_time() - began < 1

    @pytest.mark.parametrize(
        "pattern",
        [
            "[0-9]{4}-[0-9]{2}",
            "(?:[0-9]{1,3}[.]){3}",
            "(?i)x{2,}",
            r"\{99999999\}",
            "[{99999999}]",
            "a{,5}",
            "(?:(?:a{10}){10}){10}",
        ],
    )
    def test_common_ones_are_not(self, pattern: str) -> None:
        assert value("test('bbb', re)", re=pattern) is (pattern == "a{,5}")

    def test_long_text_is_for_few_groups(self) -> None:
        text = "a" * 900_000
        assert value("test(s, 'b$')", s=text) is False
        assert "is too long for a regular expression with 2 groups: 900,000 characters" in str(
            error("test(s, '(a)(a)')", s=text)
        )

    def test_nesting_ends_with_an_error(self) -> None:
        assert "nested too deep" in str(error("test('a', re)", re="(" * 480 + ")" * 480))


def test_an_error_says_where_the_call_stands_and_what_to_do() -> None:
    found = error("1 + len(  upper(5))")
    assert (found.offset, found.code, found.hint) == (10, "EXPR_TYPE_ERROR", "to_string(...) makes text of it")
    assert error("round('5')").hint == "to_number(...) reads a number from text"


def test_what_is_wrong_with_a_call_is_said_before_anything_runs() -> None:
    def said(text: str) -> list[tuple[str, int | None, str]]:
        return [(each.code, each.offset, str(each)) for each in check_calls(parse(text))]

    assert said("uper('a')") == [("EXPR_UNDEFINED_FUNCTION", 0, "there is no function 'uper'. Did you mean 'upper'?")]
    assert said("1 + replace('a', upper())") == [
        ("EXPR_TYPE_ERROR", 4, "replace takes 3 arguments, and is given 2"),
        ("EXPR_TYPE_ERROR", 17, "upper takes 1 argument, and is given 0"),
    ]
    assert said("map(rows, 'n')") == [("EXPR_TYPE_ERROR", 10, "map: p is a function such as x => x.name, not a value")]
    assert said("if_else(1, x => x)") == [("EXPR_TYPE_ERROR", 11, "if_else: then is a value, not a function")]
    assert said("map(rows, x => sort(x, y => nothing(y)))") == [
        ("EXPR_UNDEFINED_FUNCTION", 28, "there is no function 'nothing'. Did you mean 'not'?"),
    ]
    assert said("concat() + sort(rows, 'n')") == []


def test_what_was_not_said_before_is_said_when_it_is_worked_out() -> None:
    for text in ("uper('a')", "upper()", "upper('a', 'b')", "map([1], 'n')", "coalesce(x => x)", "raw(1)"):
        with pytest.raises(ExpressionError):
            value(text)


class TestReference:
    """D9: the page for users says what is there."""

    page = (Path(__file__).parents[2] / "docs" / "reference" / "expressions.md").read_text()
    rows = re.findall(r"^\| `([^`]+\))` \| (.+?) \|(?: `(.+)` is `(.+)`)? \|$", page.split("## Functions")[1], re.M)

    def test_its_table_has_every_function_once_as_it_is_called(self) -> None:
        assert sorted(row[0] for row in self.rows) == sorted(map(usage, FUNCTIONS.values()))

    @pytest.mark.parametrize(("example", "shown"), [(row[2].replace("\\|", "|"), row[3]) for row in rows if row[2]])
    def test_its_examples_give_what_it_says(self, example: str, shown: str) -> None:
        assert json.dumps(checked(example), ensure_ascii=False) == shown

    def test_every_function_that_is_not_plain_to_see_has_an_example(self) -> None:
        assert sum(bool(row[2]) for row in self.rows) >= len(FUNCTIONS) / 2

    def test_its_limits_are_those_of_the_code(self) -> None:
        for limit in (
            f"{LONGEST:,} characters, {DEEPEST} levels",
            f"{MOST_STEPS:,} steps",
            f"{LARGEST:,} characters in all; an item of a list counts as {ITEM}, an entry of an object as {ENTRY}",
            f"{values.DEEPEST_DATA} levels, {values.MOST_VALUES:,} values ({MOST_GIVEN:,} as a result)",
            f"{patterns.LONGEST:,} characters; {patterns.MOST_LOOKED_AT:,} characters of text",
            f"written out up to {patterns.MOST_REPEATED:,} characters",
        ):
            assert limit in self.page

    def test_it_names_those_that_ask_the_clock_or_chance(self) -> None:
        sentence = next(
            line for line in self.page.replace("\n", " ").split(". ") if "give something else each time" in line
        )
        assert set(re.findall(r"`(\w+)`", sentence.split("`regex`.")[-1])) == {
            name for name, each in FUNCTIONS.items() if not each.pure
        }
