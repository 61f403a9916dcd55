"""What code returns that is no plain data, looked at by a file (S16): nothing of it is reached, and none of its methods runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import plait
from flow_files import write
from plait.flow import load

STEPS = """
import decimal, os, pathlib

LOG = []


def log(name, plainly):
    def method(self, *given, **named):
        LOG.append(name)
        return plainly(self, *given, **named)
    return method


class Thing:
    secret = "SECRET"

    def __init__(self):
        self.a = "SECRET"

    def __getattr__(self, name):
        LOG.append(name)
        raise AttributeError(name)


for name in "str repr len bool iter getitem contains call add radd lt gt int float index format fspath neg".split():
    setattr(Thing, f"__{name}__", log(name, lambda self, *given: "SECRET"))
setattr(Thing, "__eq__", log("eq", lambda self, other: True))


def derived(base, names):
    made = {name: log(f"{base.__name__}.{name}", getattr(base, name)) for name in names.split() if hasattr(base, name)}
    return type("Own" + base.__name__.title(), (base,), made)


NAMES = (
    "get keys values items copy index lower upper strip split lstrip encode startswith isprintable isdigit isascii replace join find bit_length is_integer "
    "__getitem__ __contains__ __iter__ __len__ __eq__ __repr__ __str__ __add__ __radd__ __lt__ __gt__ __le__ __bool__ __int__ __float__ __index__ __hash__ "
    "__neg__ __abs__ __mul__ __sub__ __mod__ __format__ __ne__"
)
Dict, List, Tuple, Str, Int, Float = (derived(base, NAMES) for base in (dict, list, tuple, str, int, float))


def generator():
    LOG.append("generator")
    yield "SECRET"


def loop():
    made = [1]
    made.append(made)
    return made


def deep():
    made = []
    for _ in range(100_000):
        made = [made]
    return made


VALUES = {
    "object": Thing, "class": lambda: Thing, "module": lambda: os, "generator": generator, "function": lambda: loop, "bytes": lambda: b"SECRET",
    "set": lambda: {"SECRET"}, "in a list": lambda: [Thing()], "in an object": lambda: {"a": Thing(), "b": {"c": Thing()}}, "dict": lambda: Dict(a=1, b=Dict(c=2)),
    "list": lambda: List([1, List([2])]), "tuple": lambda: Tuple((1, 2)), "str": lambda: Str("abc"), "int": lambda: Int(3), "float": lambda: Float(2.5),
    "nested": lambda: [Dict(a=Str("x")), List([Int(1)]), Tuple((Float(1.0),))],
    "odd keys": lambda: {float("nan"): 1, None: 2, (1, 2): 3, 5: 4, b"x": 5, Thing(): 6, "a": float("nan")}, "loop": loop, "deep": deep,
}


async def value(what):
    made = VALUES[what]()
    LOG.clear()
    return made


async def taken(text):
    return text


async def path():
    return [pathlib.Path("a b"), decimal.Decimal("1.50")]
"""

EXPRESSIONS = [
    "V", "V.a", "V.secret", "V['a']", "V[0]", "V.b.c", "V.length", "V + ''", "'' + V", "V + 1", "1 - V", "V * 2", "V == 1", "V == V", "V === V", "V != 'a'", "V < 1", "V < 'b'", "!V", "-V", "typeof V", "V ? 1 : 2", "V && 1",
    "V ?? 1", "[V]", "{a: V}", "[...(V)]", "{...(V)}", "length(V)", "first(V)", "keys(V)", "values(V)", "entries(V)", "get(V, 'a')", "has(V, 'a')", "to_string(V)", "json_encode(V)", "pretty(V)", "sort([V, V])", "unique([V, V])",
    "join([V], ',')", "map([1], x => V)", "map(V, x => x)", "filter([V], x => x)", "includes([V], 1)", "1 IN V", "V IN [1]", "V IN 'abc'", "is_empty(V)", "coalesce(V, 1)", "equals(V, V)", "clone(V)", "group_by([V], 'a')", "merge(V, {})",
    "to_number(V)", "upper(V)", "sum([V])", "max([V])", "round(V)", "index_of([V], V)", "switch(V, {a: 1})", "default(V, 1)", "size(V)", "hash(V)", "range(0, V)", "repeat('x', V)", "is_truthy(V)", "concat(V, V)", "flatten([V])",
    "reverse(V)", "slice(V, 0, 1)", "set({}, 'a', V)", "pick(V, 'a')", "omit(V, 'a')", "from_entries([['a', V]])", "[1, 2][V]", "{a: 1}[V]", "format_date(V, 'yyyy')", "get({a: 1}, V)", "V.b + ''", "replace('a', V, V)",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _modules() -> Iterator[None]:
    """The functions of one test are imported by that test alone."""
    path = list(sys.path)
    yield
    sys.modules.pop("steps", None)
    sys.path[:] = path


@pytest.mark.parametrize("what", ["object", "class", "module", "generator", "function", "bytes", "set", "in a list", "in an object", "dict", "list", "tuple", "str", "int", "float", "nested", "odd keys", "loop", "deep"])  # fmt: skip
def test_no_expression_runs_or_reaches_anything_of_a_value(tmp_path: Path, what: str) -> None:
    """S16: each expression gives plain data or a failure in one line with its place; no method of the value is called by any."""
    write(tmp_path, STEPS, "steps.py")
    tasks = "".join(
        f'  e{at}: {{call: "steps:taken", with: {{text: "<{{{{ {each.replace("V", "tasks.v.output")} }}}}>"}}}}\n'
        f'  w{at}: {{when: "{{{{ {each.replace("V", "tasks.v.output")} }}}}", call: "steps:taken", with: {{text: x}}}}\n'
        for at, each in enumerate(EXPRESSIONS)
    )
    flow = load(write(tmp_path, f'tasks:\n  v: {{call: "steps:value", with: {{what: {what}}}}}\n{tasks}'))
    result = plait.run(flow, raise_on_failure=False)
    called = sys.modules["steps"].LOG
    assert sorted(set(called)) == []
    assert result["v"].status == "succeeded"
    for at, each in enumerate(EXPRESSIONS):
        for key in (f"e{at}", f"w{at}"):
            error = result[key].error
            if error is not None:
                assert type(error).__name__ == "ExpressionError", (each, error)
                assert str(error).startswith(f"{tmp_path / 'flow.yaml'}:"), (each, error)
                assert len(str(error).splitlines()) == 1, (each, error)
        assert "SECRET" not in str(result[f"e{at}"].value), each


def test_paths_and_numbers_of_python_are_written_down(tmp_path: Path) -> None:
    """They come of code that a file calls, and go into commands."""
    write(tmp_path, STEPS, "steps.py")
    flow = load(
        write(
            tmp_path,
            'tasks:\n  p: {call: "steps:path"}\n  t: {call: "steps:taken", with: {text: "<{{ tasks.p.output[0] }} {{ tasks.p.output[1] }}>"}}\n',
        )
    )
    assert plait.run(flow)["t"].value == "<a b 1.50>"


def test_numbers_are_written_in_a_template_as_in_an_expression(tmp_path: Path) -> None:
    write(tmp_path, STEPS, "steps.py")
    flow = load(
        write(
            tmp_path,
            "tasks: {t: {call: \"steps:taken\", with: {text: \"{{ [1.0, {a: 2.50}] }} {{ 0 / 1.5 }} {{ -('x') }} {{ [1.0] + '' }}\"}}}",
        )
    )
    assert plait.run(flow)["t"].value == '[1,{"a":2.5}] 0 NaN [1]'
