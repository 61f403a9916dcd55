"""E7: what a form may be given as, what fits it, what a person may type, and what nobody can do to it."""

from __future__ import annotations

import json
import math
import re
import shlex
import socket
import subprocess
import sys
import urllib.request
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plait import forms
from plait.errors import UsageError
from plait.forms import Form

REVIEW = {"ok": bool, "reason": str, "level": ["low", "high"]}
TREE = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}, "additionalProperties": False}


def fits(form: Form, value: Any) -> bool:
    try:
        form.check(value)
    except UsageError:
        return False
    return True


def refused(function: Callable[..., Any], *arguments: Any) -> str:
    """The one line that something is refused with."""
    with pytest.raises(UsageError) as caught:
        function(*arguments)
    assert type(caught.value) is UsageError
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 2000
    return text


def by_the_library(form: Form, value: Any) -> bool:
    return not forms._no_json(value, forms.DEEPEST, forms.MOST_PARTS) and not form._wrong_by_schema(value)


atoms = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, 1.0, 2.5, "", "yes", "1", "a", "b"])
    | st.text(max_size=5)
)
data = st.recursive(
    atoms, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
names = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=5)


def _by_value(choice: Any) -> Any:
    return isinstance(choice, bool), choice


plain_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
choices = st.lists(
    atoms.filter(lambda each: not isinstance(each, str)) | plain_text, min_size=1, max_size=5, unique_by=_by_value
)
simple = st.sampled_from([None, str, int, float, bool, "string", "integer", "number", "boolean"]) | choices
flat = st.dictionaries(names, simple, min_size=1, max_size=4)


words = st.sampled_from(["yes", "off", "1", "-2", "1.5", "1e400", "NaN", "null", '"a"', "a=1 b=2", "{", "[", "'", ""])
SCHEMAS: list[Any] = [
    {"schema": each} for each in ({}, TREE, {"type": ["string", "array"]}, {"type": "string", "maxLength": 2})
]


class TestWhatAFormIsGivenAs:
    """E7: the ways to write a form, in Python and YAML."""

    @pytest.mark.parametrize(
        ("given", "kind"),
        [
            (None, "string"),
            *[(each, "string") for each in (str, "string", "text", "str")],
            *[(each, "integer") for each in (int, "integer", "int")],
            *[(each, "number") for each in (float, "number", "float")],
            *[(each, "boolean") for each in (bool, "boolean", "bool")],
        ],
    )
    def test_a_type_or_its_name(self, given: Any, kind: str) -> None:
        assert Form.of(given).schema == {"type": kind}

    def test_choices_and_fields_become_one_json_schema(self) -> None:
        assert Form.of(("low", 2, None)).schema == {"enum": ["low", 2, None]}
        assert Form.of(REVIEW).schema == {
            "type": "object",
            "properties": {"ok": {"type": "boolean"}, "reason": {"type": "string"}, "level": {"enum": ["low", "high"]}},
            "required": ["ok", "reason", "level"],
            "additionalProperties": False,
        }

    def test_a_json_schema_is_for_the_whole_answer_or_for_a_field(self) -> None:
        assert Form.of({"schema": {"type": "array", "maxItems": 2}}).schema == {"type": "array", "maxItems": 2}
        assert Form.of({"tags": {"type": "array"}, "ok": bool}).schema["properties"]["tags"] == {"type": "array"}
        assert Form.of({"schema": str}).schema["properties"] == {"schema": {"type": "string"}}
        assert Form.of({"schema": {}}).schema == {}
        assert [name for name, _ in Form.of({"schema": {"type": "integer"}, "ok": bool}).fields] == ["schema", "ok"]
        assert Form.of(Form.of(int)).schema == {"type": "integer"}

    def test_the_schema_is_plain_data_of_its_own(self) -> None:
        class Text(str):
            def __str__(self) -> str:
                return "something else"

        given = OrderedDict(schema=OrderedDict(enum=(Text("a"), 1)))
        form = Form.of(given)
        given["schema"]["enum"] = ()
        assert form.schema == {"enum": ["a", 1]}
        assert [type(each) for each in (form.schema, *form.schema["enum"])] == [dict, str, int]
        assert json.loads(json.dumps(form.schema)) == form.schema

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (dict, "the type dict"),
            (5, "type int"),
            ({1}, "type set"),
            ("strng", "'strng'.*Did you mean 'string'"),
            ([], "at least one"),
            ({}, "at least one"),
            ([1, 1.0], "the choice 1.0 twice"),
            (["a", "a"], "the choice 'a' twice"),
            ([[]], "a choice of type list"),
            ([math.nan], "nan"),
            ([10**2000], "bits"),
            (["\ud800"], "half a character"),
            ({"": str}, "field's name is printable text, not ''"),
            ({" ": str}, "field's name"),
            ({"a\nb": str}, "field's name"),
            ({1: str}, "field's name is printable text, not 1"),
            ({"a": dict}, "field 'a' cannot be the type dict"),
            ({"a": []}, "field 'a'"),
            ({"a": {"b": "string"}}, "field 'a' is a mapping.*'b' is no keyword"),
            ({"a": {"tpye": "string"}}, "Did you mean 'type'"),
            ({"schema": {"type": "bool"}}, "type must be one of .*'boolean'.* not 'bool'"),
            ({"schema": {"type": "object", "required": "a"}}, "required must be a list"),
            ({"schema": {"properties": {"a": {"minLength": -1}}}}, "properties.a.minLength must be at least 0, not -1"),
            ({"a": {"type": 5}}, r"properties.a.type must be one of \(.*, not 5"),
            ({"schema": {"pattern": "("}}, "pattern must be a regex"),
            ({"schema": {"pattern": "a{99999999999999999999}"}}, "repetition"),
            ({"schema": {"$id": "http://[", "items": {"$id": "x"}}}, "Invalid IPv6 URL"),
            ({"schema": {"pattern": "(" * 5000}}, "cannot be one"),
            ({"schema": {"enum": [{1}]}}, r"enum\[0\] is of type set"),
            ({"schema": {"x": {1: 2}}}, "x has the key 1"),
            ({"schema": {"$schema": "http://json-schema.org/draft-04/schema#"}}, "draft 2020-12"),
            ({"schema": {"items": {"$schema": "http://json-schema.org/draft-04/schema#"}}}, "draft 2020-12"),
        ],
    )
    def test_what_cannot_be_a_form_is_refused_in_a_line(self, given: Any, said: str) -> None:
        assert re.search(said, refused(Form.of, given))

    def test_a_refusal_says_what_a_form_can_be(self) -> None:
        for each in (5, "strng", [], {}, {"schema": {"type": 5}}):
            assert "a list of choices, a mapping from fields" in refused(Form.of, each)

    @given(simple | flat)
    def test_what_was_stored_is_the_same_form(self, given: Any) -> None:
        form = Form.of(given)
        again = Form.from_schema(json.loads(json.dumps(form.schema)))
        assert (again.schema, again.shown) == (form.schema, form.shown)
        assert [name for name, _ in again.fields] == [name for name, _ in form.fields]

    def test_the_order_of_fields_outlives_a_store_that_sorts(self) -> None:
        schema = json.loads(json.dumps(Form.of({"z": str, "a": int}).schema, sort_keys=True))
        assert [name for name, _ in Form.from_schema(schema).fields] == ["z", "a"]


class TestWhatFits:
    """E7: an answer is checked, and what is wrong is said in a line."""

    @pytest.mark.parametrize(
        ("given", "good", "bad"),
        [
            (None, ["", "x", "yes"], [None, 1, True, [], {}]),
            (int, [0, -5, 2**80], [True, False, 1.0, "1", None]),
            (float, [0, 1.5, -2], [True, "1", math.nan, math.inf, -math.inf]),
            (bool, [True, False], [0, 1, "true", None]),
            (["low", 1, None], ["low", 1, 1.0, None], ["Low", True, False, "1", "null", ["low"]]),
            ([True, 0], [True, 0], [1, False]),
            ({"ok": bool}, [{"ok": True}], [{}, {"ok": 1}, {"ok": True, "x": 1}, True, [], None]),
            ({"n": {"type": "integer"}}, [{"n": 1}], [{"n": 1.0}, {"n": True}, {}, {"n": 1, "m": 1}]),
            ({"schema": {"type": "array", "items": {"type": "integer"}}}, [[], [1, 2]], [[1.0], [True], (1,), {}]),
            ({"schema": {"type": "number", "multipleOf": 0.5}}, [1, 1.5], [0.3, True, 10**400, math.inf]),
            ({"schema": {"enum": [1, 2], "type": "integer"}}, [1, 2], [1.0, 3, True]),
            (
                {"schema": {"$schema": forms.DRAFT, "items": {"$ref": "#"}, "type": ["array", "integer"]}},
                [[1, [2]], 1],
                [[1.0], 1.0],
            ),
        ],
    )
    def test_each_kind(self, given: Any, good: list[Any], bad: list[Any]) -> None:
        form = Form.of(given)
        assert [each for each in good if not fits(form, each)] == []
        assert [each for each in bad if fits(form, each)] == []

    def test_it_says_what_where_and_what_would_fit(self) -> None:
        form = Form.of({"ok": bool, "reason": str})
        assert (
            refused(form.check, {"ok": "maybe", "reason": ""})
            == "the answer does not fit: ok must be true or false, not 'maybe' (it takes ok: true or false, reason: text)"
        )
        assert "my default does not fit: reason is missing (it takes" in refused(form.check, {"ok": True}, "my default")
        assert "there is no field 'okay'. Did you mean 'ok'?" in refused(form.check, {"okay": True, "reason": ""})
        assert "it must be an object, not a list of 1 value" in refused(form.check, [1])
        mixed = Form.of({"ok": bool, "why": {"type": "object", "properties": {"x": {"maxLength": 2, "pattern": "."}}}})
        assert "field 'whyy'. Did you mean 'why'?" in refused(mixed.check, {"ok": True, "whyy": ""})
        assert "why is missing" in refused(mixed.check, {"ok": True})
        assert "why.x must have at most 2 characters, not 3" in refused(mixed.check, {"ok": True, "why": {"x": "abc"}})
        assert "why has text of more than 10,000" in refused(mixed.check, {"ok": True, "why": {"x": "a" * 10_001}})
        assert refused(Form.of(["a", "b"]).check, "c") == "the answer does not fit: it must be one of (a, b), not 'c'"

    @pytest.mark.parametrize(
        ("schema", "value", "said"),
        [
            ({"minimum": 1}, 0, "it must be at least 1, not 0"),
            ({"exclusiveMaximum": 1}, 1, "it must be less than 1, not 1"),
            ({"multipleOf": 3}, 4, "it must be a multiple of 3, not 4"),
            ({"items": {"minLength": 2}}, ["ab", "c"], r"\[1\] must have at least 2 characters, not 1"),
            ({"maxItems": 1}, [1, 2], "it must hold at most 1 value, not 2"),
            ({"uniqueItems": True}, [{"a": 1}, 1, {"a": 1.0}], "it must not hold the same value twice"),
            ({"properties": {"a": {"required": ["b"]}}}, {"a": {}}, "a lacks b"),
            ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "it has a, and lacks b, which belongs to it"),
            ({"properties": {"a": {"additionalProperties": False}}}, {"a": {"x": 1}}, "there is no field 'x' in a"),
            ({"patternProperties": {"^x": {}}, "additionalProperties": False}, {"xy": 1, "y": 1}, "no field 'y'"),
            ({"propertyNames": {"maxLength": 2}}, {"abc": 1}, "the name 'abc' must have at most 2 characters"),
            ({"pattern": "^a"}, "b", r"it must match the pattern '\^a', not 'b'"),
            ({"const": {"a": 1}}, 1, "it must be an object with a, not 1"),
            ({"type": ["string", "null"]}, 1, "it must be text or null, not 1"),
            ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, None, "it must be text or a whole number, not null"),
            ({"anyOf": [{"type": "string", "minLength": 3}, {"type": "integer"}]}, "a", "at least 3 characters"),
            ({"oneOf": [{"minimum": 1}, {"maximum": 5}]}, 3, "must fit one, and only one, of the 2 kinds"),
            ({"not": {"type": "null"}}, None, "must not be what it is, null"),
            ({"properties": {"a": False}}, {"a": 1}, "answer does not fit: 1 must not be there$"),
            ({"prefixItems": [{}], "items": False}, [1, 2], "holds too many values"),
            ({"contains": {"type": "null"}}, [1], "does not hold what it must"),
            ({"unevaluatedProperties": False}, {"a": 1}, "fields that it may not have"),
            ({"if": {"type": "string"}, "then": {"minLength": 1}}, "", "it must have at least 1 character, not 0"),
            ({"properties": {"a b\n": {"type": "null"}}}, {"a b\n": 1}, r"'a b\\n' must be null"),
        ],
    )
    def test_findings_of_a_json_schema_are_in_our_words(self, schema: Any, value: Any, said: str) -> None:
        assert re.search(said, refused(Form.of({"schema": schema}).check, value))

    def test_every_rule_of_the_library_has_words(self) -> None:
        from jsonschema import Draft202012Validator

        passed_on = {"$ref", "$dynamicRef", "allOf", "if", "properties", "patternProperties", "propertyNames", "prefixItems", "dependentSchemas"}  # fmt: skip
        rules = set(Draft202012Validator.VALIDATORS) - {"additionalItems"}  # of an earlier draft, in early releases
        assert rules - passed_on - {"additionalProperties"} <= set(forms._RULES)
        assert rules <= forms._KEYWORDS

    @pytest.mark.parametrize("given", [None, {"schema": {}}, {"a": {}}, {"a": str}])
    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ({1}, "type set, which is no JSON data"),
            ((1,), "type tuple"),
            (b"x", "type bytes"),
            (object(), "type object"),
            (math.nan, "nan, which is no number of JSON"),
            (-math.inf, "-inf"),
            ({1: 2}, "has the key 1, and keys are text"),
            ({None: 2}, "has the key null"),
            ({"\ud800": 1}, "a key that is text with half a character"),
            ({"a": "\udfff"}, "a is text with half a character"),
            ({"a": [1, {"b": {1}}]}, r"a\[1\].b is of type set"),
            (10**2000, "a whole number of more than 4,096 bits"),
        ],
    )
    def test_what_is_no_json_data_is_refused(self, given: Any, value: Any, said: str) -> None:
        assert re.search(said, refused(Form.of(given).check, value))

    def test_long_values_are_shortened(self) -> None:
        long = "line\n" * 100_000
        assert len(refused(Form.of(bool).check, long)) < 200
        assert len(refused(Form.of({"schema": {"minimum": 5, "type": ["number", "null"]}}).check, long)) < 200
        assert len(refused(Form.of(list(range(5000))).check, long)) < 300
        assert len(refused(Form.of({f"field{n}": str for n in range(500)}).check, {long: 1})) < 1000
        assert len(refused(Form.of({"schema": {"additionalProperties": {"type": "null"}}}).check, {long: 1})) < 300

    @given(simple | flat, data | st.sampled_from([True, False, 0, 1, 1.0, "1", "a"]), st.data())
    def test_our_own_check_and_the_librarys_agree(self, given: Any, value: Any, more: st.DataObject) -> None:
        form = Form.of(given)
        if form.fields and more.draw(st.booleans()):
            value = {
                name: more.draw(atoms | st.sampled_from(field._choices or [True, "", 1])) for name, field in form.fields
            }
        assert fits(form, value) == by_the_library(form, value)

    def test_simple_forms_do_without_the_library(self) -> None:
        program = (
            "import sys, plait.forms\n"
            "before = {'plait._core.policy', 'json', 'shlex', 'asyncio'} & set(sys.modules)\n"
            "form = plait.forms.Form.of({'ok': bool, 'level': ['low', 'high'], 'n': int})\n"
            "form = plait.forms.Form.from_schema(form.schema)\n"
            "form.check(form.read('ok=yes level=low n=3'))\n"
            "print(before, 'jsonschema' in sys.modules, 'referencing' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert done.stdout == "set() False False\n", done.stderr


class TestWhatAPersonTypes:
    """E7: text of a command line or a terminal becomes a value that fits."""

    @pytest.mark.parametrize(
        ("given", "text", "value"),
        [
            (None, "  as it is\n", "  as it is\n"),
            (str, "", ""),
            *[(bool, text, True) for text in ("yes", "Y", "true", "ON", " yes \n")],
            *[(bool, text, False) for text in ("no", "n", "False", "off")],
            (int, " -12 ", -12),
            (int, "+007", 7),
            (float, "1.5", 1.5),
            (float, "2", 2),
            (float, ".5e-1", 0.05),
            (["low", "high"], "high", "high"),
            (["low", "high"], " 2 ", "high"),
            ([10, 20], "20", 20),
            (["1", 1], "1", 1),
            (["1", 1], '"1"', "1"),
            (["null", None, True], "null", None),
            (["null", None, True], '"null"', "null"),
            (["null", None, True], "yes", True),
            (["yes", True], "yes", "yes"),
            (["", " x"], "", ""),
            (["", " x"], " x", " x"),
            (["", " x"], '" x"', " x"),
            (REVIEW, '{"ok": true, "reason": "x", "level": "low"}', {"ok": True, "reason": "x", "level": "low"}),
            (REVIEW, "ok=y reason='so it is' level=2", {"ok": True, "reason": "so it is", "level": "high"}),
            (REVIEW, 'level=low\nok=no\nreason=""', {"ok": False, "reason": "", "level": "low"}),
            ({"ok": bool}, "yes", {"ok": True}),
            ({"ok": bool}, " ok=no", {"ok": False}),
            ({"ok": bool}, ' {"ok": true}', {"ok": True}),
            ({"why": str}, " because it's so ", {"why": " because it's so "}),
            ({"n": {"type": "array"}, "b": bool}, "n='[1, 2]' b=n", {"n": [1, 2], "b": False}),
            ({"a": str, "a=b": str}, '{"a": "", "a=b": "x"}', {"a": "", "a=b": "x"}),
            ({"schema": {"type": "array"}}, " [1, null]", [1, None]),
            ({"schema": {"type": ["string", "integer"]}}, "5", 5),
            ({"schema": {"type": ["string", "integer"]}}, "hello", "hello"),
            ({"schema": {"type": ["string", "integer"]}}, "[1]", "[1]"),
            ({"schema": {"type": "string", "minLength": 3}}, '"1"', '"1"'),
            ({"schema": {}}, '"x"', "x"),
            ({"schema": {}}, "x", "x"),
            ({"schema": {"enum": ["a", "b"], "type": "string"}}, "2", "b"),
        ],
    )
    def test_it_is_read(self, given: Any, text: str, value: Any) -> None:
        found = Form.of(given).read(text)
        assert (found, type(found)) == (value, type(value))

    @pytest.mark.parametrize(
        ("given", "text", "said"),
        [
            (bool, "maybe", "it must be true or false, not 'maybe'"),
            (int, "1.0", "a whole number, not '1.0'"),
            (int, "1_000", "a whole number, not '1_000'"),
            (int, "１", "a whole number"),
            (int, "9" * 5000, "a whole number"),
            (float, "nan", "a number, not 'nan'"),
            (float, "inf", "a number, not 'inf'"),
            (float, "1e999", "inf, which is no number"),
            (float, "1_0.5", "a number"),
            (str, "\ud800", "half a character"),
            (["low", "high"], "3", r"one of \(low, high\), not '3'"),
            (["low", "high"], "0", "one of"),
            (["low", "high"], "", "one of"),
            ([10, 20, 30], "2", r"one of \(10, 20, 30\), not '2'"),
            (["5", "6"], "1", "one of"),
            (REVIEW, "ok=yes", "reason is missing"),
            (REVIEW, "yes", "'yes' is not of the form name=value"),
            (REVIEW, "ok=yes ok=no", "it has ok twice"),
            (REVIEW, "okk=yes", "no field 'okk'. Did you mean 'ok'"),
            (REVIEW, "ok=perhaps", r"ok must be true or false, not 'perhaps' \(it takes ok"),
            (REVIEW, "reason=don't", "a quote that does not end"),
            (REVIEW, '{"ok": tru', "is no JSON"),
            (REVIEW, '{"ok": true, "ok": false}', "the name 'ok' occurs twice"),
            (REVIEW, '{"ok": NaN}', "NaN is not JSON"),
            (REVIEW, '{"a":' * 100_000, "is no JSON"),
            ({"ok": bool}, "perhaps", r"ok must be true or false, not 'perhaps' \(it takes ok"),
            (
                {"a": {"type": "object", "properties": {"b": {"type": "null"}}, "required": ["b"]}},
                "1",
                r"not '?1'? \(it takes a: \(b: [^()]*\)\)$",
            ),
            ({"a": str, "a=b": str}, "a=b=c", "may be for a or a=b"),
            ({"schema": {"type": "array"}}, "hello", "'hello' is no JSON"),
            ({"schema": {"type": "array"}}, "[" * 100_000, "is no JSON"),
            ({"schema": {"type": "array"}}, "[NaN]", "NaN is not JSON"),
            ({"schema": {"type": "array"}}, '[{"a": 1, "a": 1}]', "the name 'a' occurs twice"),
            ({"schema": {"type": "array"}}, "5", "it must be a list, not 5"),
            ({"schema": {"type": "string", "minLength": 3}}, "a", "at least 3 characters"),
        ],
    )
    def test_what_stands_for_nothing_that_fits_is_refused(self, given: Any, text: str, said: str) -> None:
        assert re.search(said, refused(Form.of(given).read, text))

    def test_only_text_is_read(self) -> None:
        assert "type bytes" in refused(Form.of(None).read, b"x")

    @given(simple | flat | st.sampled_from(SCHEMAS), st.text() | words | data.map(json.dumps))
    def test_whatever_is_read_fits(self, given: Any, text: str) -> None:
        form = Form.of(given)
        try:
            value = form.read(text)
        except UsageError as error:
            assert "\n" not in str(error)
            return
        form.check(value)

    @given(choices)
    def test_each_choice_is_read_as_it_is_shown(self, given: list[Any]) -> None:
        form = Form.of(given)
        spelled = forms._spelled(given)
        assert len(set(spelled)) == len(given)
        assert [form.read(each) for each in spelled] == given
        assert [type(form.read(each)) for each in spelled] == [type(each) for each in given]

    @given(flat, st.data())
    def test_an_answer_is_read_from_its_json_and_from_pairs(self, given: Any, more: st.DataObject) -> None:
        form = Form.of(given)
        answer, words = {}, []
        for name, field in form.fields:
            kind = field.schema.get("type")
            value = more.draw(
                {
                    "string": plain_text,
                    "integer": st.integers(),
                    "number": st.floats(allow_nan=False, allow_infinity=False),
                    "boolean": st.booleans(),
                }.get(str(kind), st.sampled_from(field._choices or [None]))
            )
            answer[name] = value
            typed = (
                forms._spelled(field._choices)[[id(e) for e in field._choices].index(id(value))]
                if kind is None
                else value
            )
            words.append(shlex.quote(f"{name}={typed if isinstance(typed, str) else json.dumps(typed)}"))
        form.check(answer)
        assert form.read(json.dumps(answer)) == answer
        assume(len(words) > 1 and not words[0].startswith(("{", "'{")))
        assume(not any(a != b and a.startswith(f"{b}=") for a in answer for b in answer))
        assert form.read(" ".join(words)) == answer


class TestWhatIsShown:
    """E7: people see what an answer may be, and a terminal may ask for one field after the other."""

    def test_in_a_few_words(self) -> None:
        assert [
            Form.of(each).shown for each in (None, bool, int, float, ["low", "high"], {"ok": bool, "reason": str})
        ] == [
            "text",
            "true or false",
            "a whole number",
            "a number",
            "one of: low, high",
            "ok: true or false, reason: text",
        ]
        assert Form.of({"schema": {"type": "array"}}).shown == "JSON that fits its schema"
        assert Form.of({"schema": {"type": "string", "minLength": 1}}).shown == "text that fits its schema"
        assert Form.of({"schema": {"type": "boolean", "title": "Sure?"}}).shown == "true or false"
        assert Form.of({"level": ["low", "high"], "why": str}).shown == "level: one of (low, high), why: text"
        assert Form.of(["1", 1, "a\nb"]).shown == 'one of: "1", 1, "a\\nb"'
        assert Form.of(list(range(50))).shown.endswith("9, 10 and 39 more")
        assert repr(Form.of(bool)) == "Form(true or false)"

    def test_fields_are_there_where_each_can_be_asked_for_alone(self) -> None:
        assert [(name, form.shown) for name, form in Form.of(REVIEW).fields] == [
            ("ok", "true or false"),
            ("reason", "text"),
            ("level", "one of: low, high"),
        ]
        of_schema = {
            "type": "object",
            "title": "T",
            "properties": {"b": {"type": "integer"}, "a": {}},
            "required": ["b", "a"],
        }
        assert [name for name, _ in Form.of({"schema": of_schema}).fields] == ["b", "a"]
        for other in (
            {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]},
            {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "required": ["a"], "$defs": {"x": {}}},
            {"type": "object", "properties": {"a": {"items": {"$ref": "#"}}}, "required": ["a"]},
            {"type": "object", "properties": {"a": True}, "required": ["a"]},
            {"type": "object", "properties": {"a": {}}, "required": ["a"], "maxProperties": 1},
            {"type": ["object", "null"], "properties": {"a": {}}, "required": ["a"]},
        ):
            assert Form.of({"schema": other}).fields == [], other
        for each in (None, ["a"], bool):
            assert Form.of(each).fields == []

    def test_answers_of_the_fields_make_an_answer(self) -> None:
        form = Form.of({**REVIEW, "tags": {"type": "array", "items": {"type": "string"}}})
        typed = {"ok": "y", "reason": "fine", "level": "1", "tags": '["a"]'}
        form.check({name: field.read(typed[name]) for name, field in form.fields})


class TestWhatIsHostile:
    """E7: no schema fetches, hangs or breaks; no answer does."""

    @pytest.fixture
    def closed(self, monkeypatch: pytest.MonkeyPatch) -> list[object]:
        """What was opened, although nothing may be."""
        tried: list[object] = []

        def attempt(*given: object, **more: object) -> Any:
            tried.append(given)
            raise OSError("closed")

        monkeypatch.setattr(urllib.request, "urlopen", attempt)
        monkeypatch.setattr(socket, "create_connection", attempt)
        monkeypatch.setattr(socket.socket, "connect", attempt)
        return tried

    @pytest.mark.parametrize(
        "schema",
        [
            {"$ref": "http://127.0.0.1:9/x"},
            {"$ref": "file:///etc/passwd"},
            {"$ref": "other.json"},
            {"$dynamicRef": "http://127.0.0.1:9/x"},
            {"$id": "http://127.0.0.1:9/", "items": {"$ref": "x"}},
            {"properties": {"a": {"anyOf": [{"not": {"$ref": "http://127.0.0.1:9/x"}}]}}},
            {"$ref": "#/hidden", "hidden": {"$ref": "http://127.0.0.1:9/x"}},
            {"$ref": "#/hidden", "hidden": {"items": {"$ref": "#/deeper"}}, "deeper": {"$ref": "http://127.0.0.1:9/x"}},
            {"$ref": "https://json-schema.org/draft/2020-12/schema"},
            {"$ref": "#/nowhere"},
            {"$ref": "#nowhere"},
            {"$ref": "#/type/x", "type": "string"},
            {"$ref": "#/n/x", "n": 5},
            {"$ref": "http://["},
            {"$id": "http://127.0.0.1:9/a", "items": {"$ref": "http://["}},
        ],
    )
    def test_a_reference_leads_nowhere_else(self, schema: Any, closed: list[object]) -> None:
        assert "leads to nothing in it, and nothing is fetched" in refused(Form.of, {"schema": schema})
        form = Form.from_schema(schema)  # as if it had been stored all the same
        for value in (1, {"a": 1}, [[1]], "x"):
            fits(form, value)
        assert closed == []

    def test_a_reference_within_a_field_is_from_the_top(self) -> None:
        field = {"$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}}}
        assert "put what is meant under $defs of {'schema': ...}" in refused(Form.of, {"a": field})

    @pytest.mark.parametrize(
        "schema",
        [
            {"$ref": "#"},
            {"allOf": [{"$ref": "#"}]},
            {"not": {"$ref": "#"}},
            {
                "$ref": "#/$defs/a",
                "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"if": {"$ref": "#/$defs/a"}}},
            },
            {"dependentSchemas": {"a": {"$ref": "#"}}},
            {"items": {"$dynamicAnchor": "x", "$dynamicRef": "#x"}},
        ],
    )
    def test_a_reference_round_in_a_circle_is_refused(self, schema: Any) -> None:
        assert "leads back to itself" in refused(Form.of, {"schema": schema})

    def test_a_reference_to_what_is_no_schema_is_refused(self) -> None:
        assert "must be an object or true or false" in refused(Form.of, {"schema": {"$ref": "#/n", "n": 5}})
        assert "type must be one of" in refused(Form.of, {"schema": {"$ref": "#/n", "n": {"type": 5}}})

    def test_references_within_are_followed(self) -> None:
        tree = Form.of({"schema": TREE})
        tree.check({"left": {"right": {}}})
        assert "there is no field 'up' in left" in refused(tree.check, {"left": {"up": 1}})
        named = Form.of(
            {"schema": {"$id": "http://127.0.0.1:9/a", "$defs": {"x": {"$id": "b", "type": "null"}}, "$ref": "b"}}
        )
        assert (fits(named, None), fits(named, 1)) == (True, False)
        assert fits(Form.of({"schema": {"$ref": "#/$defs/x", "$defs": {"x": True}}}), 5)

    def test_schemas_that_branch_for_ever_are_refused(self) -> None:
        twice = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)} | {"d30": {}}
        assert "10,000 in all" in refused(Form.of, {"schema": {"$ref": "#/$defs/d0", "$defs": twice}})
        row = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(3000)} | {"d3000": {}}
        assert "40 schemas in a row" in refused(Form.of, {"schema": {"$ref": "#/$defs/d0", "$defs": row}})

    def test_many_references_to_much_are_looked_at_once(self) -> None:
        much = {f"p{n}": {"type": "string"} for n in range(2000)}
        to_it = [{"$ref": "#/much"} for _ in range(900)]
        form = Form.of({"schema": {"prefixItems": to_it, "much": {"properties": much}}})
        assert "[1].p7 must be text" in refused(form.check, [{}, {"p7": 1}])

    def test_many_choices_of_many_values_come_to_an_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(forms, "MOST_STEPS", 100_000)
        form = Form.of({"schema": {"items": {"enum": [[n] for n in range(3000)]}}})
        assert "it takes more than 100,000 steps" in refused(form.check, [[2999]] * 10_000)
        form.check([[2999]] * 100)

    def test_many_findings_come_to_an_end(self) -> None:
        form = Form.of({"schema": {"anyOf": [{"items": {"$ref": "#"}, "type": "array"}, {"type": "null"}]}})
        assert "it takes more than 500,000 steps to hold against its schema" in refused(
            form.check, [["abc"] * 9900 for _ in range(10)]
        )
        assert "[1] must be a list or null, not 'abc'" in refused(form.check, [None, "abc"])

    def test_many_threads_may_be_the_first(self) -> None:
        program = (
            "import sys, threading\n"
            "from plait.forms import Form\n"
            "form = Form.from_schema({'items': {'type': 'integer'}})\n"
            "gate, found = threading.Barrier(8), []\n"
            "def check():\n"
            "    gate.wait()\n"
            "    try: found.append(form.check([1, 2]))\n"
            "    except Exception as error: found.append(error)\n"
            "sys.setswitchinterval(1e-6)\n"
            "threads = [threading.Thread(target=check) for _ in range(8)]\n"
            "[each.start() for each in threads]; [each.join() for each in threads]\n"
            "print(found == [None] * 8, found)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert done.stdout.startswith("True"), done.stdout + done.stderr

    def test_schemas_that_branch_with_the_answer_come_to_an_end(self) -> None:
        form = Form.of({"schema": {"items": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}})
        value: Any = []
        for _ in range(20):
            value = [value]
        assert "it takes more than 500,000 steps to hold against its schema" in refused(form.check, value)
        form.check([[[]]])

    def test_deep_huge_and_endless_schemas_are_refused(self) -> None:
        deep: dict[str, Any] = {}
        for _ in range(5000):
            deep = {"items": deep}
        endless: dict[str, Any] = {}
        endless["items"] = endless
        many: Any = {}
        for _ in range(40):
            many = {"anyOf": [many, many]}
        for schema in (deep, endless, many, {"enum": list(range(20_000))}):
            assert "more than 10,000 parts or 60 levels" in refused(Form.of, {"schema": schema})
        assert "10,000 choices" in refused(Form.of, list(range(20_000)))

    def test_a_schema_as_deep_as_may_be_is_checked(self) -> None:
        deep: dict[str, Any] = {"type": "integer"}
        for _ in range(forms.DEEPEST_SCHEMA - 1):
            deep = {"items": deep}
        value: Any = 1
        for _ in range(forms.DEEPEST_SCHEMA - 1):
            value = [value]
        form = Form.of({"schema": deep})
        form.check(value)
        assert not fits(form, json.loads(json.dumps(value).replace("1", "1.5")))

    def test_deep_huge_and_endless_answers_are_refused(self) -> None:
        deep: Any = []
        for _ in range(100_000):
            deep = [deep]
        endless: list[Any] = []
        endless.append(endless)
        many: Any = 1
        for _ in range(60):
            many = [many, many]
        for form in (Form.of(None), Form.of({"schema": {}}), Form.of({"schema": TREE}), Form.of(["a"])):
            assert "nested more than 100 levels" in refused(form.check, deep)
            assert "nested more than 100 levels" in refused(form.check, endless)
            assert "more than 100 levels deep" in refused(form.check, many) or "100,000 parts" in refused(
                form.check, many
            )
            assert "100,000 parts" in refused(form.check, [0] * 200_000)

    def test_what_occurs_often_counts_as_often(self) -> None:
        many: Any = 1
        for _ in range(30):
            many = [many] * 4
        assert "100,000 parts" in refused(Form.of({"schema": {}}).check, many)

    def test_a_recursive_schema_meets_an_answer_as_deep_as_may_be(self) -> None:
        value: Any = {}
        for _ in range(forms.DEEPEST - 1):
            value = {"left": value}
        Form.of({"schema": TREE}).check(value)

    def test_an_answer_too_deep_for_its_schema_is_refused(self) -> None:
        chain: dict[str, Any] = {"items": {"$ref": "#"}}
        for _ in range(18):
            chain = {"allOf": [chain]}
        value: Any = []
        for _ in range(90):
            value = [value]
        assert "nested too deep for its schema" in refused(Form.of({"schema": chain}).check, value)

    def test_text_is_held_against_a_pattern_up_to_a_length(self) -> None:
        form = Form.of({"schema": {"type": "string", "pattern": r"\s+$"}})
        form.check("x" * 9999 + " ")
        assert "more than 10,000 characters, too many for a pattern" in refused(form.check, " " * 10_001 + "x")
        for named in (
            {"patternProperties": {r"\s+$": {}}},
            {"additionalProperties": False, "patternProperties": {r"\s+$": {}}},
        ):
            said = refused(Form.of({"schema": named}).check, {"a": {" " * 200_000 + "x": 1}})
            assert "a has a key of more than 10,000 characters" in said

    def test_many_odd_values_are_told_apart_at_once(self) -> None:
        form = Form.of({"schema": {"uniqueItems": True}})
        values = [{"n": n} if n % 2 else [n] for n in range(40_000)]
        form.check(values)
        assert "twice" in refused(form.check, [*values, {"n": 1.0}])
        form.check([1, True, 0, False, "1", None, [1], [True]])
        assert "twice" in refused(form.check, [[1], [1.0]])

    @given(data, data)
    def test_whatever_a_schema_holds_it_is_a_form_or_refused(self, one: Any, other: Any) -> None:
        for key in ("type", "enum", "properties", "items", "required", "$ref", "allOf", "pattern", "$schema", "$id"):
            try:
                form = Form.of({"schema": {key: one, "$defs": {"x": other} if isinstance(other, dict) else {}}})
            except UsageError as error:
                assert "\n" not in str(error)
            else:
                fits(form, other)
                assert form.shown
                assert Form.from_schema(form.schema).shown == form.shown
