"""What a task returns comes back from a store as it is, or the task fails and says why; nothing in between."""

from __future__ import annotations

import enum
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import plait
from plait._engine.records import value_data, value_of
from plait.errors import NotStorable
from plait.stores.base import Blob
from plait.stores.contract import Store
from plait.stores.memory import MemoryStore
from plait.stores.sqlite import open_sqlite
from plait.stores.values import BLOB_BYTES, DEEPEST, MOST_PARTS, encoded


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Name(str):
    pass


class Table(dict[str, Any]):
    pass


@dataclass
class Point:
    x: int
    y: float
    tags: tuple[str, ...] = ()
    note: str = field(default="", compare=False)


class Page(msgspec.Struct):
    url: str
    level: Level
    points: list[Point] = []


def there_and_back(value: Any, declared: Any = None) -> Any:
    """`value`, through a line of a journal."""
    blobs: dict[str, bytes] = {}

    def keep(thing: Any) -> str:
        assert isinstance(thing, Blob)
        return blobs.setdefault(str(len(blobs)), thing.data) and str(len(blobs) - 1)

    line = msgspec.json.encode(value_data(value, lambda: declared), enc_hook=keep)
    return value_of(*msgspec.json.decode(line), blobs.__getitem__, lambda: declared)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types all through."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


def deep(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def twice_over(levels: int) -> Any:
    """Lists that each hold the next one twice: few in memory, too many to write."""
    value: list[Any] = [{"a": 1}]
    for _ in range(levels):
        value = [value, value]
    return value


def in_itself() -> Any:
    value: list[Any] = [1]
    value.append({"again": value})
    return value


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ATOMS = (
    st.none() | st.booleans() | st.integers() | st.integers(-(1 << 4096) + 1, (1 << 4096) - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)  # fmt: skip
JSON = st.recursive(ATOMS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=40)


@given(JSON)
def test_plain_data_comes_back_as_it_is(value: Any) -> None:
    assert same(there_and_back(value), value)


@given(st.binary(max_size=100))
def test_bytes_come_back_as_they_are(value: bytes) -> None:
    assert same(there_and_back(value), value)


@given(st.integers(BLOB_BYTES - 3, BLOB_BYTES + 3), st.sampled_from(["a", "ü", "𝄞", "\x00", '"']))
def test_what_is_large_is_kept_in_a_file_of_its_own_whatever_it_is_made_of(size: int, character: str) -> None:
    for value in (character * size, character * (size // 6), [character * size], {"k": character * size}, b"x" * size):
        _, data = encoded(value)
        written = value if isinstance(value, bytes) else msgspec.json.encode(value)
        assert isinstance(data, Blob) == (len(written) > BLOB_BYTES)
        assert same(there_and_back(value), value)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ((1, 2), "a value of type tuple"),
        ({"pages": [1, (2,)]}, "a value of type tuple at ['pages'][1]"),
        ({1, 2}, "a value of type set"),
        ([{"a": frozenset()}], "a value of type frozenset at [0]['a']"),
        (math.nan, "the number nan"),
        ([0.5, {"x": [math.nan]}], "the number nan at [1]['x'][0]"),
        ([0.5, math.inf], "the number inf at [1]"),
        ({"a": -math.inf}, "the number -inf at ['a']"),
        ({1: "a"}, "a dict with a key of type int"),
        ([{"a": {None: 1}}], "a dict with a key of type NoneType at [0]['a']"),
        ({Name("a"): 1}, "a dict with a key of type Name"),
        (Table(a=1), "a value of type Table"),
        ([OrderedDict(a=1)], "a value of type OrderedDict at [0]"),
        (Name("a"), "a value of type Name"),
        (["a", Name("a")], "a value of type Name at [1]"),
        (Level.LOW, "a value of type Level"),
        ([1, 2, Level.LOW], "a value of type Level at [2]"),
        ("\ud800", "text with a lone surrogate"),
        (["a", "b\udfff"], "text with a lone surrogate at [1]"),
        ({"a": {"\ud800": 1}}, "a dict with a key of text with a lone surrogate at ['a']"),
        (1 << 4096, "a whole number of 4097 bits"),
        ([1, -(1 << 5000)], "a whole number of 5001 bits at [1]"),
        (deep(DEEPEST + 2), "data nested deeper than 200 levels, or in itself"),
        (deep(200_000), "data nested deeper than 200 levels, or in itself"),
        (in_itself(), "data nested deeper than 200 levels, or in itself"),
        (twice_over(60), f"data of more than {MOST_PARTS:,} lists and dicts, each counted as often as it occurs"),
        ([b"bytes"], "a value of type bytes at [0]"),
        (bytearray(b"bytes"), "a value of type bytearray"),
        (object(), "a value of type object"),
        ([len], "a value of type builtin_function_or_method at [0]"),
        (Point(1, 2.0), "a value of type Point"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_would_not_come_back_is_refused_with_its_type_and_place(value: Any, what: str) -> None:
    with pytest.raises(NotStorable) as refused:
        encoded(value)
    assert str(refused.value).split(": ")[0] == what


@pytest.mark.parametrize(
    "value", [deep(1000), deep(100_000), in_itself(), twice_over(60)], ids=["deep", "deeper", "in itself", "twice over"]
)
def test_what_an_encoder_would_follow_without_end_is_refused_whatever_is_declared(value: Any) -> None:
    with pytest.raises(NotStorable, match="keep it in a file"):
        encoded(value, lambda: list)


def test_a_class_that_cannot_be_looked_up_in_a_set_is_refused_like_any() -> None:
    class Odd(type):
        __hash__ = None  # type: ignore[assignment]

    class Thing(metaclass=Odd):
        pass

    with pytest.raises(NotStorable, match=r"a value of type .*Thing at \[1\]"):
        encoded([1, Thing()])
    with pytest.raises(NotStorable, match=r"a value of type .*Thing"):
        encoded(Thing())


@pytest.mark.parametrize(
    "value", [deep(DEEPEST), [1 << 63, -(1 << 64), 0.1, -0.0, "\x00\ufffe\u2028", "\U0010ffff"], [[], {}], ""]
)
def test_what_just_fits_comes_back(value: Any) -> None:
    assert same(there_and_back(value), value)


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (Point(1, 2.5, ("a", "b")), Point),
        ([Point(1, 2.5), Point(0, -1.0)], list[Point]),
        ({"a": Point(1, 2.5)}, dict[str, Point]),
        ((1, 2, 3), tuple[int, ...]),
        ((1, "a", (2.5,)), tuple[int, str, tuple[float]]),
        (Page("u", Level.LOW, [Point(3, 0.5)]), Page),
        (Colour.RED, Colour),
        ([Colour.RED, Level.LOW], list[Colour | Level]),
        ({1, 2}, set[int]),
        (frozenset((Colour.RED,)), frozenset[Colour]),
        ({1: "a", -2: "b"}, dict[int, str]),
        ([b"\xff"], list[bytes]),
        (Page("u" * 100_000, Level.LOW), Page),
        (None, Point | None),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_declared_comes_back_equal_and_of_its_type(value: Any, declared: Any) -> None:
    again = there_and_back(value, declared)
    assert again == value
    assert type(again) is type(value)
    assert repr(again) == repr(value)


def test_a_whole_number_where_a_float_is_declared_comes_back_as_that_float() -> None:
    assert repr(there_and_back(Point(1, 2), Point)) == "Point(x=1, y=2.0, tags=(), note='')"


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (Level.LOW, int),
        ([1, Level.LOW], list[int]),
        ({Level.LOW}, set[int]),
        ({"a": (Level.LOW,)}, dict[str, tuple[int, ...]]),
        ({Level.LOW: 1}, dict[int, int]),
        (OrderedDict(a=(1,)), dict[str, tuple[int, ...]]),
        ([OrderedDict(a=1)], list[dict[str, int]]),
        ([Name("a")], list[str]),
        ((1, (2,)), tuple),
        ((True,), tuple[int, ...]),
        (Point(1, math.nan), Point),
        (Point(Level.LOW, 2.0), Point),
        (Page("u", Level.LOW, [Point(1, 2.0, note="\ud800")]), Page),
        (Point(1, 2.0), Page),
        ((1, 2), list[int]),
    ],
    ids=lambda each: "" if isinstance(each, (list, dict)) else repr(each),
)  # fmt: skip
def test_what_its_declared_type_does_not_give_back_is_refused(value: Any, declared: Any) -> None:
    with pytest.raises(NotStorable, match="declared"):
        encoded(value, lambda: declared)


def test_a_value_whose_type_is_not_declared_any_more_is_not_guessed_at() -> None:
    form, data = encoded((1, 2), lambda: tuple[int, ...])
    with pytest.raises(NotStorable, match="does not declare any more"):
        value_of(form, msgspec.json.decode(data), bytes)
    with pytest.raises(msgspec.ValidationError):
        value_of(form, msgspec.json.decode(data), bytes, lambda: tuple[str, ...])


# -- in runs


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else open_sqlite(tmp_path / "store" / "plait.db")
    yield opened
    opened.close()


REFUSED: dict[str, Callable[[], Any]] = {
    "tuple": lambda: (1, 2),
    "set": lambda: {"tags": {1}},
    "nan": lambda: [math.nan],
    "keys": lambda: {1: 2},
    "subclass": lambda: Level.LOW,
    "surrogate": lambda: "\ud800",
    "cycle": in_itself,
    "huge": lambda: 1 << 5000,
    "object": object,
}


def test_a_task_whose_value_cannot_be_stored_fails_by_name_and_is_not_tried_again(store: Store) -> None:
    calls: list[str] = []

    @plait.task(retries=3)
    async def give(name: str) -> Any:
        calls.append(name)
        return REFUSED[name]()

    @plait.task
    async def after(value: Any) -> str:
        return "went on"

    graph = plait.Graph("refused")
    for name in REFUSED:
        graph.add(f"after_{name}", after, args=(graph.add(name, give, args=(name,)),))
    graph.add("fine", after, args=(1,))
    result = plait.run(graph, store=store, run_id="refused", raise_on_failure=False)
    assert sorted(calls) == sorted(REFUSED)
    for name in REFUSED:
        error = result[name].error
        assert isinstance(error, NotStorable)
        assert str(error).startswith(f"task {name!r}: its value cannot be stored: ")
        assert (result[name].status, result[name].attempts, result[name].value) == ("failed", 1, None)
        assert result[f"after_{name}"].status == "upstream_failed"
    assert result["fine"].value == "went on"
    assert store.find("refused").status == "failed"


def test_a_task_gets_declared_values_from_the_store_as_it_got_them_from_the_task(store: Store) -> None:
    seen: list[Any] = []

    @plait.task
    async def point() -> Point:
        return Point(1, 2.5, ("a",), "kept though it is not compared")

    @plait.task
    async def numbers() -> tuple[int, ...]:
        return (1, 2)

    @plait.task
    async def page() -> Page:
        return Page("u" * 50_000, Level.LOW, [Point(1, 0.5)])

    @plait.task
    async def colours() -> set[Colour]:
        return {Colour.RED}

    @plait.task
    async def data() -> bytes:
        return b"\xff" * 50_000

    @plait.task
    async def look(*values: Any) -> int:
        seen.append(values)
        return len(values)

    graph = plait.Graph("declared")
    sources = [graph.add(each.__name__, each) for each in (point, numbers, page, colours, data)]
    graph.add("look", look, args=tuple(sources))
    plait.run(graph, store=store, run_id="first")
    assert plait.fork("first", "look", graph, store=store).wait(30)["look"].value == 5
    assert repr(seen[1]) == repr(seen[0])
    assert [type(each) for each in seen[1]] == [Point, tuple, Page, set, bytes]
    assert type(seen[1][2].level) is Level
