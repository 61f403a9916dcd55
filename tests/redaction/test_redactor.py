"""S30, D11: secret values are found in every form that they are written in, wherever they stand, and nothing else is touched."""

from __future__ import annotations

import html
import json
import os
import shlex
import time
import urllib.parse
from base64 import b64encode, encodebytes, urlsafe_b64encode
from collections import OrderedDict, UserDict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import CommandFailed, HttpError, RecordedError
from plait.redaction import MARK, Redactor, Secrets
from plait.redaction.forms import SHORTEST

SECRET = "s3cr3t/v+lue'\"&<%\\ x\u00e4"

WRITTEN: dict[str, Callable[[str], str]] = {
    "raw": str,
    "quote": urllib.parse.quote,
    "quote all": lambda text: urllib.parse.quote(text, safe=""),
    "quote_plus": urllib.parse.quote_plus,
    "quote, small digits": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "hex, apart": lambda text: text.encode().hex(" "),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON, as it is": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON, slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "\\uXXXX": lambda text: text.encode("utf-16-be").hex("/", 2).join(("/", "")).replace("/", "\\u"),
    "HTML": html.escape,
    "HTML by numbers": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "HTML by hex": lambda text: "".join(f"&#x{ord(each):X};" for each in text),
    "repr": lambda text: repr(text)[1:-1],
    "repr of bytes": lambda text: repr(text.encode())[2:-1],
    "shell": shlex.quote,
}  # fmt: skip

BASE64 = {
    f"{name} behind {offset}": lambda text, offset=offset, write=write: write(b"u:" * offset + text.encode()).decode()
    for name, write in {"base64": b64encode, "base64url": urlsafe_b64encode, "lines": encodebytes}.items()
    for offset in range(3)
}


def stable(secret: str, offset: int) -> str:
    """The digits that are the secret's alone."""
    return b64encode(bytes(offset) + secret.encode()).decode()[4:-4]


class TestForms:
    @pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
    def test_every_way_to_write_it_is_found_in_text_and_in_bytes(self, written: Callable[[str], str]) -> None:
        text = f"before <{written(SECRET)}> behind"
        told = Redactor({"A": SECRET}).text(text)
        assert told in (f"before <{MARK}> behind", f"before <'{MARK}'> behind")  # the quotes of a shell are not its own
        assert Redactor({"A": SECRET}).data(text.encode()) == told.encode()

    @pytest.mark.parametrize("written", BASE64.values(), ids=BASE64)
    def test_base64_is_found_at_each_alignment_and_over_the_ends_of_lines(self, written: Callable[[str], str]) -> None:
        secret = "a-secret-of-more-than-57-bytes, which base64 writes in two lines, or more"
        told = Redactor({"A": secret}).text(f"Authorization: Basic {written(secret)}\n")
        assert MARK in told
        assert len("".join(told.split())) < len("Authorization:Basic" + MARK) + 14

    def test_the_header_of_a_user_and_a_secret(self) -> None:
        header = "Basic " + b64encode(b"user:hunter2hunter2").decode()
        assert stable("hunter2hunter2", 2) in header
        assert stable("hunter2hunter2", 2) not in Redactor({"A": "hunter2hunter2"}).text(header)

    def test_a_long_value_is_found_whole_in_its_lines_and_in_base64_and_is_made_ready_in_no_time(self) -> None:
        lines = [b64encode(os.urandom(48)).decode() for _ in range(60)]
        key = "\n".join(("-----BEGIN KEY-----", *lines, "-----END KEY-----", ""))
        began = time.process_time()
        redactor = Redactor({"KEY": key})
        assert redactor.text(key) == MARK
        assert time.process_time() - began < 3
        assert redactor.text(f"> {lines[7]} <") == f"> {MARK} <"
        assert redactor.text(json.dumps(key)) == f'"{MARK}"'
        for offset in range(3):
            told = redactor.text(b64encode(bytes(offset) + key.encode()).decode())
            assert all(b64encode(each.encode()).decode()[4:-4] not in told for each in lines)
            assert len(told) < 40 * 20

    def test_lines_of_a_value_that_are_too_short_to_be_told_apart_are_let_be(self) -> None:
        redactor = Redactor({"A": "short\nlong enough to tell"})
        assert redactor.text("short") == "short"
        assert redactor.text("it is long enough to tell.") == f"it is {MARK}."
        assert redactor.text("short\nlong enough to tell") == MARK

    @pytest.mark.parametrize("value", ["hunter2\n", " hunter2", "pin1\n", "abc\n"])
    def test_spaces_around_a_value_need_not_be_there(self, value: str) -> None:
        assert Redactor({"A": value}).text(f"<{value.strip()}>") == f"<{MARK}>"

    @pytest.mark.parametrize("value", ["a", "ab", "abc"])
    def test_a_very_short_value_is_found_as_a_word_alone(self, value: str) -> None:
        redactor = Redactor({"A": value})
        assert len(value) < SHORTEST
        assert redactor.text(f"x{value} {value}, {value}x {value}") == f"x{value} {MARK}, {value}x {MARK}"
        assert redactor.text(value.encode().hex()) == value.encode().hex()

    def test_longer_ones_go_first_and_nothing_is_done_twice(self) -> None:
        redactor = Redactor({"A": "abcdef", "B": "abcdefghij", "C": "REDACTED", "D": ""})
        assert redactor.text("abcdefghij abcdef") == f"{MARK} {MARK}"
        assert redactor.text(MARK) == MARK
        assert redactor.text(redactor.text("REDACTED, REDACTED")) == f"{MARK}, {MARK}"

    def test_without_values_nothing_is_looked_for(self) -> None:
        assert not Redactor({"A": "", "B": " \n"})
        value = {"a": ["x"]}
        assert Redactor({}).redact(value) is value

    def test_the_time_is_linear_whatever_the_text_nearly_is(self) -> None:
        secret = "\\\\\\\\%%%%&&&&''''" * 3 + "x"
        redactor = Redactor({"A": secret, "B": "a" * 40 + "b"})
        redactor.text("")
        began = time.process_time()
        for near in ("\\", "\\\\", "%25", "&amp;", "'", "a", "%61", "\\u0061", "61"):
            text = near * (400_000 // len(near))
            assert redactor.text(text) == text
        assert time.process_time() - began < 5


SECRETS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=SHORTEST, max_size=30).filter(
    lambda text: text.strip() and text not in MARK
)
AROUND = st.text(st.characters(codec="utf-8"), max_size=12)


class TestAnySecret:
    @settings(deadline=None)
    @given(SECRETS, AROUND, AROUND, st.sampled_from(sorted(WRITTEN)))
    def test_is_never_visible_in_any_form_wherever_it_stands(
        self, secret: str, before: str, behind: str, way: str
    ) -> None:
        written = WRITTEN[way](secret)
        if secret in before + MARK + behind:
            return
        redactor = Redactor({"A": secret})
        told = redactor.text(before + written + behind)
        assert written not in told
        assert MARK in told
        assert redactor.text(told) == told
        assert redactor.data((before + written + behind).encode()) == told.encode()

    @settings(deadline=None)
    @given(SECRETS.filter(lambda text: len(text.encode()) > 9), st.binary(max_size=7), st.binary(max_size=7))
    def test_is_never_visible_in_base64_whatever_stands_around(self, secret: str, before: bytes, behind: bytes) -> None:
        for write in (b64encode, urlsafe_b64encode):
            told = Redactor({"A": secret}).text(write(before + secret.encode() + behind).decode())
            mine = write(bytes(len(before) % 3) + secret.encode()).decode()[4:-4]
            assert mine not in told

    @settings(deadline=None)
    @given(SECRETS, AROUND, AROUND, st.sampled_from(sorted(WRITTEN)), st.integers(1, 9))
    def test_comes_in_pieces_and_is_told_as_if_it_came_at_once(
        self, secret: str, before: str, behind: str, way: str, size: int
    ) -> None:
        redactor = Redactor({"A": secret, "B": "ab"})
        data = (before + WRITTEN[way](secret) + behind + " ab").encode()
        stream = redactor.filter()
        told = b"".join(stream.feed(data[at : at + size]) for at in range(0, len(data), size)) + stream.flush()
        assert WRITTEN[way](secret).encode() not in told
        whole = redactor.data(data)
        assert told == whole or whole.startswith(told.removesuffix(MARK.encode()))  # it may end like a secret begins

    @settings(deadline=None)
    @given(st.data(), st.integers(1, 6))
    def test_several_that_are_parts_of_one_another_come_in_pieces(self, data: st.DataObject, size: int) -> None:
        values = data.draw(st.lists(st.text("abc/%1\n", min_size=1, max_size=8), min_size=1, max_size=3))
        of_them = st.sampled_from(values).flatmap(
            lambda value: st.sampled_from([value, value[1:], value.encode().hex(), b64encode(value.encode()).decode()])
        )
        text = "".join(data.draw(st.lists(of_them | st.sampled_from([" ", "x", "%61"]), max_size=8))).encode()
        redactor = Redactor({str(at): value for at, value in enumerate(values)})
        stream = redactor.filter()
        told = b"".join(stream.feed(text[at : at + size]) for at in range(0, len(text), size)) + stream.flush()
        whole = redactor.data(text)
        assert told == whole or (told.endswith(b"]") and whole.startswith(told.removesuffix(MARK.encode())))

    @settings(deadline=None)
    @given(st.text(max_size=200))
    def test_other_text_is_the_same_object(self, text: str) -> None:
        redactor = Redactor({"A": "a secret that nobody would make up", "B": "\u2603\u2603\u2603\u2603"})
        if "\u2603" not in text:
            assert redactor.text(text) is text
            assert redactor.redact(text) is text


class TestPieces:
    def test_what_cannot_be_the_beginning_of_one_is_told_at_once(self) -> None:
        stream = Redactor({"A": "hunter2hunter2"}).filter()
        assert stream.feed(b"all of this, and hunt") == b"all of this, and "
        assert stream.feed(b"ing") == b"hunting"
        assert stream.feed(b"hunter2h") == b""
        assert stream.feed(b"unter2. ") == b"[REDACTED]. "
        assert stream.flush() == b""

    def test_a_stream_that_breaks_off_in_the_middle_of_one_tells_none_of_it(self) -> None:
        stream = Redactor({"A": "hunter2hunter2"}).filter()
        assert stream.feed(b"x hunter2hunte") + stream.flush() == b"x [REDACTED]"
        assert stream.feed(b"to hunt") + stream.flush() == b"to hunt"

    def test_short_ones_wait_for_the_end_of_their_word(self) -> None:
        stream = Redactor({"A": "ab"}).filter()
        told = [stream.feed(each) for each in (b"x a", b"b", b"c a", b"b", b" xa", b"b ab")]
        assert b"".join(told) + stream.flush() == b"x abc [REDACTED] xab [REDACTED]"


Pair = namedtuple("Pair", "one other")


@dataclass(frozen=True)
class Frozen:
    text: str
    inner: Any = None


class Struct(msgspec.Struct):
    text: str


class FrozenStruct(msgspec.Struct, frozen=True):
    text: str


class Model(pydantic.BaseModel):
    text: str


@attrs.frozen
class Attrs:
    text: str


class Shared(dict[str, str]):
    """One with more than its entries."""

    more = "x"


class TestData:
    def clean(self, value: Any) -> Any:
        return Redactor({"A": "hunter2hunter2", "PIN": "73194682"}).redact(value)

    def test_what_holds_none_is_the_same_object(self) -> None:
        for value in (
            None,
            1,
            1.5,
            True,
            "x",
            b"x",
            [1, ["x"]],
            {"a": {"b": ()}},
            (1,),
            {1},
            Frozen("x"),
            object(),
            len,
        ):
            assert self.clean(value) is value

    def test_keys_and_values_at_any_depth(self) -> None:
        s = "hunter2hunter2"
        shared = ["x"]
        value = {s: [s, (s, {s}), {"a": f"<{s}>"}], "b": shared}
        told = self.clean(value)
        assert told == {MARK: [MARK, (MARK, {MARK}), {"a": f"<{MARK}>"}], "b": ["x"]}
        assert told["b"] is shared
        assert value[s][0] == s  # type: ignore[index]  # what a task has in its hands stays as it is

    def test_things_of_other_types_keep_them(self) -> None:
        s = "hunter2hunter2"
        cases: list[tuple[Any, Any]] = [
            (Pair(s, 1), Pair(MARK, 1)),
            (Frozen("x", Frozen(s)), Frozen("x", Frozen(MARK))),
            (Struct(s), Struct(MARK)),
            (FrozenStruct(s), FrozenStruct(MARK)),
            (Model(text=s), Model(text=MARK)),
            (Attrs(s), Attrs(MARK)),
            (deque([s]), deque([MARK])),
            (OrderedDict(a=s), OrderedDict(a=MARK)),
            (frozenset((s,)), frozenset((MARK,))),
            (bytearray(s.encode()), bytearray(MARK.encode())),
            (Path("/tmp") / s, Path("/tmp") / MARK),
            ([73194682, 1, "73194682"], [MARK, 1, MARK]),
        ]
        for value, told in cases:
            clean = self.clean(value)
            assert clean == told
            assert type(clean) is type(value)

    def test_a_mapping_of_another_kind_is_told_as_a_dict_and_stays_as_it_is(self) -> None:
        for kind in (UserDict, MappingProxyType, Shared):
            value = kind({"a": "hunter2hunter2"})
            assert self.clean(value) == {"a": MARK}
            assert dict(value) == {"a": "hunter2hunter2"}

    def test_data_that_holds_itself_and_data_without_an_end(self) -> None:
        value: list[Any] = ["hunter2hunter2"]
        value.append(value)
        told = self.clean(value)
        assert told[0] == MARK
        assert told[1] is told
        deep: Any = "hunter2hunter2"
        for _ in range(100_000):
            deep = [deep]
        assert self.clean(deep) == MARK


class Odd(Exception):
    """One that makes its text of what nobody can change."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._texts = (lambda: text,)

    def __str__(self) -> str:
        return self._texts[0]()


class TestErrors:
    def clean(self, error: BaseException) -> BaseException:
        told = Redactor({"A": "hunter2hunter2"}).redact(error)
        assert isinstance(told, BaseException)
        return told

    def test_an_error_is_changed_in_place_with_all_that_it_says(self) -> None:
        s = "hunter2hunter2"
        errors: list[Exception] = [
            ValueError("bad", s, [s]),
            CommandFailed(f"exit 1: {s}", exit_code=1, tail=f"a\n{s}"),
            HttpError(f"500: {s}", status=500, body=s),
            FileNotFoundError(2, s, s),
            KeyError(s),
        ]
        for error in errors:
            error.add_note(f"note {s}")
            error.more = {"x": s}  # type: ignore[attr-defined]
            assert self.clean(error) is error
            assert s not in f"{error} {error!r} {vars(error)} {error.__notes__}"
            assert MARK in repr(error)

    def test_and_all_that_it_was_raised_from(self) -> None:
        s = "hunter2hunter2"
        try:
            try:
                raise KeyError(s)
            except KeyError:
                raise ValueError("bad") from OSError(s)
        except ValueError as error:
            told = self.clean(error)
        assert told.args == ("bad",)
        assert (str(told.__cause__), str(told.__context__)) == (MARK, f"'{MARK}'")

    def test_one_that_cannot_be_changed_is_replaced_by_what_it_says(self) -> None:
        s = "hunter2hunter2"
        told = self.clean(Odd(s))
        assert isinstance(told, RecordedError)
        assert (str(told), told.kind) == (f"Odd: {MARK}", "Odd")
        group = self.clean(ExceptionGroup(f"some {s}", [ValueError(s), Odd(s)]))
        assert s not in repr(group)

    def test_one_without_is_left_alone(self) -> None:
        error = ValueError("x", [1])
        args = error.args
        assert self.clean(error) is error
        assert error.args is args


class TestSecrets:
    def test_all_that_are_missing_are_told_at_once_and_empty_ones_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HERE", "hunter2hunter2")
        monkeypatch.setenv("EMPTY", " ")
        monkeypatch.delenv("GONE", raising=False)
        with pytest.raises(Exception, match="this run needs the secrets EMPTY, GONE: set these variables"):
            Secrets(["HERE", "EMPTY", "GONE"]).open()
        with pytest.raises(
            Exception, match="run ab12 needs the secret GONE: set this variable of the environment again"
        ):
            Secrets(["HERE", "GONE"]).open("ab12")

    def test_before_they_are_opened_they_are_hidden(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HERE", "hunter2hunter2")
        secrets = Secrets(["HERE"])
        values = secrets.of(["HERE"])
        assert values == {"HERE": MARK}
        assert secrets.open().text("hunter2hunter2") == MARK
        assert values == secrets.of(["HERE"]) == {"HERE": "hunter2hunter2"}
