"""The schema language: what it says, what fits, and how it is written down."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import assume
from hypothesis import given as examples
from hypothesis import strategies as st

from plait.nodes.schemas import (
    Enum,
    Fields,
    ListOf,
    OneOf,
    Schema,
    SchemaError,
    Type,
    Word,
    _one_of,
    from_data,
    parse,
)

KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(
    ["id", "a-b", "$x", "enum", "with space", '"']
)
SCALARS: st.SearchStrategy[Any] = (
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
    | st.sampled_from(["in progress", "true", "1", "a,b", "]"])
    | st.integers(-5, 5)
    | st.booleans()
    | st.none()
)  # fmt: skip
TYPES: st.SearchStrategy[Type] = st.recursive(
    st.sampled_from(["string", "number", "integer", "boolean", "null", "any", "object", "array"]).map(Word)
    | st.lists(SCALARS, min_size=1, max_size=3, unique_by=repr).map(lambda each: Enum(tuple(each))),
    lambda inner: (
        inner.map(ListOf)
        | st.lists(inner, min_size=2, max_size=3).map(_one_of)
        | st.lists(st.tuples(KEYS, inner, st.booleans()), max_size=3, unique_by=lambda each: each[0]).map(
            lambda each: Fields(tuple(each))
        )
    ),
    max_leaves=8,
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)


def fitting(found: Type) -> st.SearchStrategy[Any]:
    """Values that a type takes."""
    match found:
        case Word("string"):
            return st.text(max_size=3)
        case Word("number"):
            return st.integers(-9, 9) | st.floats(-9, 9)
        case Word("integer"):
            return st.integers(-9, 9) | st.just(2.0)
        case Word("boolean"):
            return st.booleans()
        case Word("null"):
            return st.none()
        case Word("object"):
            return st.dictionaries(KEYS, VALUES, max_size=2)
        case Word("array"):
            return st.lists(VALUES, max_size=2)
        case Word():
            return VALUES
        case ListOf(item):
            return st.lists(fitting(item), max_size=3)
        case Fields(fields):
            return st.fixed_dictionaries(
                {name: fitting(each) for name, each, needed in fields if needed},
                optional={name: fitting(each) for name, each, needed in fields if not needed},
            )
        case OneOf(types):
            return st.one_of(map(fitting, types))
        case Enum(values):
            return st.sampled_from(values)


class TestReading:
    """D8."""

    @pytest.mark.parametrize(
        ("text", "printed"),
        [
            ("string", "string"),
            (" integer [ ] [] ", "integer[][]"),
            ("{id: integer, note?: string}", "{id: integer, note?: string}"),
            ("{\n  id: integer,\n  'a b': any,\n}", '{id: integer, "a b": any}'),
            ("string?", "string | null"),
            ("(string | number)[]?", "(string | number)[] | null"),
            ("string | number[]", "string | number[]"),
            ("| string\n| null", "string | null"),
            ("{a?: string?}", "{a?: string | null}"),
            ("enum[a, b]", "enum[a, b]"),
            ("enum [ 'x, y', in progress, 3, -1.5, true, \"3\", ]", 'enum["x, y", "in progress", 3, -1.5, true, "3"]'),
            ("((string))", "string"),
            ("{}", "{}"),
            ("{enum: enum[enum]}[]", "{enum: enum[enum]}[]"),
        ],
    )
    def test_what_is_said(self, text: str, printed: str) -> None:
        assert str(parse(text)) == printed
        assert parse(printed) == parse(text)

    @pytest.mark.parametrize(
        ("text", "offset", "said"),
        [
            ("", 0, "a type .* belongs here, not the end"),
            ("strng", 0, "there is no type 'strng': did you mean string"),
            ("{a: widget}", 4, "there is no type 'widget': there are string, number"),
            ("{a: }", 4, "belongs here, not '}'"),
            ("{a string}", 3, "`:` belongs here"),
            ("{a: string b: string}", 11, "`,` or `}` belongs here, not 'b'"),
            ("{a: string, a?: number}", 12, "the key 'a' stands here twice"),
            ("{a: string", 10, "`,` or `}`"),
            ("string[", 6, "does not belong here|belongs here"),
            ("string]", 6, "belongs here"),
            ("(string", 7, r"`\)` belongs here, not the end"),
            ("string | ", 9, "a type"),
            ("enum", 4, r"enum\[a, b\]"),
            ("enum[]", 5, "a word belongs here, not ']'"),
            ("enum[a b", 8, "`,` or `]` belongs here, not the end"),
            ("enum[a, a]", 7, "stands here twice"),
            ("string;", 6, "';' does not belong here"),
            ("string x", 7, "the end belongs here, not 'x'"),
            ("(" * 1000, 60, "at most 60 levels"),
            ("{a:" * 1000, None, "at most 60 levels"),
            ("string" + "[]" * 1000, None, "at most 60 levels"),
            ("string?" + "?" * 30_000, None, "at most 20,000 characters"),
        ],
    )
    def test_what_is_none(self, text: str, offset: int | None, said: str) -> None:
        with pytest.raises(SchemaError, match=said) as found:
            parse(text)
        assert offset is None or found.value.offset == offset

    def test_yaml_forms(self) -> None:
        data = {"id": "integer", "tags": ["string"], "note?": "string?", "who": {"name": "string"}, "none": None}
        assert str(from_data(data)) == (
            "{id: integer, tags: string[], note?: string | null, who: {name: string}, none: null}"
        )
        assert from_data(parse("any")) == parse("any")
        for wrong, said in (
            ({"a": {"b": "strng"}}, "a.b: there is no type 'strng'"),
            (["string", "number"], "a list of one"),
            ({"a": 3}, "a: a schema is text"),
            ({"a": "any", "a?": "any"}, "the key 'a' stands here twice"),
        ):
            with pytest.raises(SchemaError, match=said):
                from_data(wrong)
        deep: Any = "any"
        for _ in range(1000):
            deep = [deep]
        with pytest.raises(SchemaError, match="levels"):
            from_data(deep)

    @examples(TYPES)
    def test_what_is_printed_is_read_again(self, found: Type) -> None:
        again = parse(str(Schema(found)))
        assert repr(again) == repr(Schema(found))


class TestChecking:
    """D8."""

    def test_everything_that_is_wrong_is_said_with_its_place(self) -> None:
        schema = parse("{items: {name: string, n?: integer}[], state: enum[on, off], 'a b': any}")
        value = {"items": [{"name": "x"}, {"name": 3, "n": 1.5}, 7], "state": "idle"}
        assert schema.check(value) == [
            "$.items[1].name: must be a string, not 3",
            "$.items[1].n: must be an integer, not 1.5",
            "$.items[2]: must be an object, not 7",
            '$.state: must be one of on, off, not "idle"',
            '$["a b"]: is missing, and must be anything',
        ]
        assert not schema.fits(value)
        assert parse("string[]").check([1] * 1000) == [f"$[{n}]: must be a string, not 1" for n in range(20)]

    def test_of_a_union_the_one_that_was_meant_is_told(self) -> None:
        assert parse("{a: string}?").check({"a": 1}) == ["$.a: must be a string, not 1"]
        assert parse("string | number").check([]) == ["$: must be a string or a number, not a list"]

    @pytest.mark.parametrize(
        ("text", "fits", "fails"),
        [
            ("number", [1, 2.5, 1 << 200], [True, "1", None, float("nan"), float("inf")]),
            ("integer", [1, 2.0], [1.5, False, "1", float("inf")]),
            ("boolean", [True, False], [0, 1, "true", None]),
            ("null", [None], [0, "", False]),
            ("any", [None, [], {}, 1], []),
            ("string?", ["a", None], [1]),
            ("{}", [{}, {"a": 1}], [[], None]),
            ("{a?: string}", [{}, {"a": "x"}, {"b": 1}], [{"a": None}, {"a": 1}]),
            ("enum[1, true, a]", [1, 1.0, True, "a"], ["1", 0, False, None]),
            ("enum[1]", [1], [True]),
            ("string[]", [[], ["a"]], ["a", [1], None, {}]),
            ("object", [{}], [[], "a"]),
            ("array", [[], [1]], [{}, "a"]),
        ],
    )
    def test_what_fits(self, text: str, fits: list[Any], fails: list[Any]) -> None:
        schema = parse(text)
        assert [each for each in fits if not schema.fits(each)] == []
        assert [each for each in fails if schema.fits(each)] == []

    @examples(st.data())
    def test_generated_values_fit(self, data: st.DataObject) -> None:
        found = data.draw(TYPES)
        value = data.draw(fitting(found))
        assert Schema(found).check(value) == []
        jsonschema.Draft202012Validator(Schema(found).json_schema()).validate(value)

    @examples(TYPES, VALUES)
    def test_json_schema_says_the_same(self, found: Type, value: Any) -> None:
        """But for other keys than those that are named: there it wants none."""
        schema = Schema(found).json_schema()
        jsonschema.Draft202012Validator.check_schema(schema)
        json.dumps(schema)
        says = jsonschema.Draft202012Validator(schema).is_valid(value)
        if says:
            assert Schema(found).fits(value)
        assert Schema(found).fits(value) == (not Schema(found).check(value))
        assume(not isinstance(value, (dict, list)))
        assert Schema(found).fits(value) == says

    def test_as_json_schema(self) -> None:
        assert parse(
            "{id: integer, tags?: enum[a, b][], who: {n: any} | string, no: {}, x?: string?}"
        ).json_schema() == {
            "type": "object",
            "properties": {
                "id": {"type": "integer"},
                "tags": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
                "who": {
                    "anyOf": [
                        {"type": "object", "properties": {"n": {}}, "required": ["n"], "additionalProperties": False},
                        {"type": "string"},
                    ]
                },
                "no": {"type": "object"},
                "x": {"type": ["string", "null"]},
            },
            "required": ["id", "who", "no"],
            "additionalProperties": False,
        }
