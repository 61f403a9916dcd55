"""Two encoders, one format: what either wrote reads as the same."""

import math
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.stores import encoding
from plait.stores.base import Blob
from plait.stores.encoding import SHORT, encode, reader

ATOMS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
DATA = st.recursive(ATOMS, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner))


@pytest.fixture
def without_msgspec(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not loaded it: an import finds it all the same."""
    loaded = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "msgspec"}

    class Modules(dict[str, Any]):
        def __contains__(self, name: object) -> bool:
            return name not in loaded and super().__contains__(name)

    class System:
        modules = Modules(sys.modules)

    monkeypatch.setattr(encoding, "sys", System)


@pytest.mark.usefixtures("without_msgspec")
class TestBeforeMsgspecIsLoaded:
    @staticmethod
    def short(data: Any) -> bytes:
        return encode(data)

    def test_what_the_plain_encoder_writes_reads_as_what_msgspec_writes(self) -> None:
        @given(DATA)
        def same(data: Any) -> None:
            plain, usual = self.short(data), msgspec.json.encode(data)
            assert repr(reader()(plain)) == repr(reader()(usual))
            assert plain == encoding._plain()(data).encode()

        same()

    def test_what_only_msgspec_can_write_is_left_to_it_and_nothing_is_kept_twice(self) -> None:
        kept: list[object] = []

        def keep(thing: object) -> str:
            kept.append(thing)
            return "a name"

        blob = Blob(b"many")
        for data in ([b"bytes"], [msgspec.Raw(b'{"a":1}')], {"a": [blob, 1]}, [{3: 4}], [math.nan]):
            assert encode(data, keep) == msgspec.json.encode(data, enc_hook=lambda thing: "a name")
        assert kept == [blob]

    def test_what_neither_can_write_is_refused_as_ever(self) -> None:
        circle: list[Any] = []
        circle.append(circle)
        for data in (["\ud800"], [object()], circle):
            with pytest.raises((TypeError, UnicodeEncodeError, RecursionError, NotImplementedError)):
                encode(data, self.refuse)

    @staticmethod
    def refuse(thing: object) -> None:
        raise NotImplementedError

    def test_many_lines_are_worth_the_faster_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(encoding, "_plain", lambda: pytest.fail("the slow one"))
        assert encode([1.0], size=SHORT + 1) == b"[1.0]"
