"""The JSON Schema of the front matter: it takes what the reader takes, and knows every key."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator

from plait.flow.frontmatter import read_front as read_head
from plait.flow.problems import Problems
from plait.flow.script import front, schema
from plait.flow.tree import Mapping, parse, plain

SCHEMA = schema.schema()
VALID = Draft202012Validator(SCHEMA)


def read(data: dict[str, Any]) -> list[str]:
    """What the reader says of a front matter."""
    text = yaml.safe_dump(data, allow_unicode=True)
    problems = Problems("x.flow.md", text)
    tree = parse(text, problems)
    assert isinstance(tree, Mapping)
    front.read_front(tree, problems)
    return [each.code for each in problems.found]


GOOD: dict[str, Any] = {
    "name": "n",
    "version": 1.0,
    "description": "d",
    "trigger": {"manual": True},
    "config": {
        "a": 1,
        "b": {"type": "enum[x, y]", "default": "x"},
        "c": {"type": "number", "required": True},
        "d": {"k": 1},
    },
    "secrets": ["KEY"],
    "input": {"rows": "string[]", "n": {"type": "number", "default": 2}, "o": {"a": "string"}},
    "output": {"total": "number"},
    "schemas": {"Row": {"id": "integer", "name": "string?"}},
    "runtime": {"timeout": "5m", "retry": {"max": 2, "base": "1s", "backoff": "linear"}, "concurrency": 3},
    "evolution": [1],
}


def test_it_is_a_schema_that_knows_every_key() -> None:
    """D10: an editor schema for the front matter."""
    Draft202012Validator.check_schema(SCHEMA)
    Draft7Validator.check_schema(SCHEMA)
    assert set(SCHEMA["properties"]) == set(front.KEYS)
    assert all(each["description"] for each in SCHEMA["properties"].values())
    assert not read(GOOD)
    VALID.validate(GOOD)


@pytest.mark.parametrize(
    "change",
    [
        {"name": 3},
        {"version": "one"},
        {"trigger": [1]},
        {"config": {"a": {"type": "text"}}},
        {"config": {"a": {"type": "number", "requird": True}}},
        {"secrets": [3]},
        {"secrets": ["A B"]},
        {"input": {"a": 3}},
        {"schemas": [1]},
        {"runtime": {"concurrency": 0}},
        {"runtime": {"retry": -1}},
        {"runtime": {"retry": {"max": 2, "backof": "fixed"}}},
        {"runtime": [1]},
    ],
)
def test_what_it_refuses_the_reader_refuses_too(change: dict[str, Any]) -> None:
    """D10."""
    assert not VALID.is_valid(GOOD | change)
    assert read(GOOD | change)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 200) | st.floats(-1, 5) | st.sampled_from(["", "a", "1.0", "5m", "string", "enum[a]", "linear"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "default", "required", "max", "base", "retry", "timeout", "concurrency", "backoff", "k"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(front.KEYS), ANY))
def test_what_the_reader_takes_it_takes(data: dict[str, Any]) -> None:
    """D10: no editor marks what is right."""
    made = {"name": "n", "version": "1.0"} | data
    if not read(made):
        assert VALID.is_valid(made), list(VALID.iter_errors(made))


def test_the_command_prints_it(tmp_path: Path) -> None:
    """D10."""
    command = [sys.executable, "-m", "plait", "schema", "--front-matter"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert json.loads(done.stdout) == SCHEMA


@pytest.mark.parametrize(
    ("said", "data"),
    [
        ("config: {mode: {type: enum[a, b], default: a}, n: 1}", {"config": {"mode": {"type": "enum[a, b]", "default": "a"}, "n": 1}}),
        ("input: {rows: string[], more: {type: number[]?, required: false}}", {"input": {"rows": "string[]", "more": {"type": "number[]?", "required": False}}}),
        ("config:\n  mode:\n    type: enum[a, b]\n    default: b", {"config": {"mode": {"type": "enum[a, b]", "default": "b"}}}),
        ("description: 'a[] enum[x, y]'\nschemas: {Row: {tags: string[][]}}", {"description": "a[] enum[x, y]", "schemas": {"Row": {"tags": "string[][]"}}}),
        ("secrets: [A, B]\nevolution: [[], [1, 2]]", {"secrets": ["A", "B"], "evolution": [[], [1, 2]]}),
    ],
)  # fmt: skip
def test_types_stand_unquoted_in_braces(said: str, data: dict[str, Any]) -> None:
    """D10: `{type: enum[a, b]}` is no YAML, and everybody writes it."""
    text = f"---\nname: n\nversion: 1.0\n{said}\n---\n<workflow/>"
    problems = Problems("x.flow.md", text)
    tree, _ = read_head(text, problems)
    assert {name: plain(tree.items[name]) for name in data} == data
    front.read_front(tree, problems)
    assert not problems.found
