"""File sources and sinks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from node_runs import failure, run_node
from plait.calls.shell import strict_json
from plait.nodes import csvs, files, paths, yamls
from plait.nodes.csvs import read_csv, write_csv
from plait.nodes.files import FileSink, FileSource
from plait.nodes.yamls import read_yaml, write_yaml

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
YAML_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff\ufeff")
    | st.sampled_from("\n\t '\"#:-")
)


def look() -> None:
    pass


class TestReading:
    """D8."""

    @pytest.fixture
    def read(self, tmp_path: Path) -> Any:
        def read(name: str, data: bytes | str, **fields: Any) -> Any:
            (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
            return run_node(FileSource, {"path": name, **fields}, folder=tmp_path)

        return read

    @pytest.fixture
    def wrong(self, tmp_path: Path) -> Any:
        def wrong(name: str, data: bytes | str, **fields: Any) -> str:
            (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
            error = failure(FileSource, {"path": name, **fields}, folder=tmp_path)
            assert not error.retryable
            return str(error)

        return wrong

    def test_auto_goes_by_the_suffix(self, read: Any) -> None:
        assert read("a.json", '{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
        assert read("a.JSON", "[1]") == [1]
        assert read("a.csv", "a,b\n1,2\n") == [{"a": "1", "b": "2"}]
        assert read("a.yaml", "a: 1\nb: [yes, 12:30]\n") == {"a": 1, "b": ["yes", "12:30"]}
        assert read("a.yml", "- 1") == [1]
        for name in ("a.txt", "a.md", "a.jsonl", "a", "a.csv.bak"):
            assert read(name, "[1]\n") == "[1]\n"

    def test_or_as_it_is_told(self, read: Any) -> None:
        assert read("a.txt", "[1]", format="json") == [1]
        assert read("a.json", "[1]", format="text") == "[1]"
        assert read("a.txt", "a\r\nb\n\nc\n", format="lines") == ["a", "b", "", "c"]
        assert read("a.txt", "", format="lines") == []
        assert read("a.txt", "a", format="lines") == ["a"]

    def test_a_byte_order_mark_is_nobodys_text(self, read: Any) -> None:
        for name, value in {"a.json": [1], "a.csv": [], "a.txt": "[1]", "a.yaml": [1]}.items():
            assert read(name, b"\xef\xbb\xbf[1]") == value
        assert read("a.csv", b"\xef\xbb\xbfid\n1") == [{"id": "1"}]

    def test_a_template_in_a_file_is_text(self, read: Any) -> None:
        """S50: what is data is never worked out."""
        for name in ("a.txt", "a.yaml"):
            assert read(name, "'{{ 1 + 1 }} ${{ x }}'").strip("'") == "{{ 1 + 1 }} ${{ x }}"
        assert read("a.csv", "{{a}}\n{{ 1 }}") == [{"{{a}}": "{{ 1 }}"}]

    def test_what_is_not_what_it_is_read_as(self, wrong: Any) -> None:
        assert wrong("a.json", '{"a": }').startswith("'a.json' is not JSON: Expecting value: line 1 column 7")
        assert "NaN is not JSON" in wrong("a.json", "[NaN]")
        assert "is not JSON" in wrong("a.json", "[" * 100_000)
        assert "is not JSON" in wrong("a.json", "")
        assert "'a.txt' is not UTF-8 text (line 2, byte 3): save it as UTF-8" in wrong("a.txt", b"ok\n\xff")
        assert "is not UTF-8" in wrong("a.txt", "a".encode("utf-16"))
        assert "format: it is one of auto, json" in wrong("a.txt", "", format="xml")

    def test_a_file_that_is_too_large_is_not_read(self, wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """S44."""
        monkeypatch.setattr(files, "MOST_BYTES", 10)
        assert "'a.txt' has more than 10 bytes" in wrong("a.txt", "x" * 11)


class TestCsv:
    """D8: RFC 4180."""

    @pytest.mark.parametrize(
        ("text", "rows"),
        [
            ('a,b\r\n"x, y","say ""hi"""\r\n', [{"a": "x, y", "b": 'say "hi"'}]),
            ('a,b\n"two\nlines","two\r\nlines"', [{"a": "two\nlines", "b": "two\r\nlines"}]),
            ("a,b\n,\n\n1,2\n", [{"a": "", "b": ""}, {"a": "1", "b": "2"}]),
            ('a\n""\nx\n', [{"a": ""}, {"a": "x"}]),
            ("a;b\n1;2", [{"a;b": "1;2"}]),
            ('a,b\n5" disk, x ', [{"a": '5" disk', "b": " x "}]),
            ('"a","b c"\n007,true', [{"a": "007", "b c": "true"}]),
            ("a,b\r1,2\r", [{"a": "1", "b": "2"}]),
            ("a,b\n", []),
            ("", []),
        ],
    )
    def test_tables(self, text: str, rows: list[dict[str, str]]) -> None:
        assert read_csv(text, look) == rows

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("a,b\n1,2\n3\n", "line 3: it has 1 fields, and the header row has 2"),
            ('a,b\n"x\ny",2\n1,2,3\n', "line 4: it has 3 fields, and the header row has 2"),
            ("a,b,a\n1,2,3\n", "line 1: two columns are named 'a'"),
            ('a\n"x\n', "line 2: the quote that opens here is not closed"),
            ('a\n"x"y\n', "line 2: there is text behind the closing quote"),
        ],
    )
    def test_what_is_none(self, text: str, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            read_csv(text, look)

    def test_it_has_a_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """S44."""
        monkeypatch.setattr(csvs, "MOST_VALUES", 3)
        with pytest.raises(ValueError, match="line 3: there are more than 3 values"):
            read_csv("a,b\n1,2\n3,4\n", look)

    @examples(st.integers(1, 4).flatmap(
        lambda width: st.tuples(
            st.lists(TEXT, min_size=width, max_size=width, unique=True),
            st.lists(st.lists(TEXT, min_size=width, max_size=width), min_size=1, max_size=5),
        )
    ))  # fmt: skip
    def test_what_is_written_is_read_again(self, table: tuple[list[str], list[list[str]]]) -> None:
        names, values = table
        rows = [dict(zip(names, each, strict=True)) for each in values]
        assert read_csv(write_csv(rows, look), look) == rows


class TestYaml:
    """D8, D11."""

    def test_scalars_are_those_of_yaml_1_2(self) -> None:
        text = "[no, on, 0o17, 1e3, 12:30, ~, 2024-01-01, '1', 0x1F, .5, true, =]"
        assert read_yaml(text, look) == ["no", "on", 15, 1000.0, "12:30", None, "2024-01-01", "1", 31, 0.5, True, "="]
        assert read_yaml("", look) is None
        assert read_yaml("1: a\ntrue: b", look) == {"1": "a", "true": "b"}
        assert read_yaml("a: &x [1]\nb: *x", look) == {"a": [1], "b": [1]}
        assert read_yaml("k: |\n  a\n  b\n", look) == {"k": "a\nb\n"}

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("a: 1\nb: 2\na: 3", "line 3: the key 'a' stands here twice"),
            ("a: !!python/object:os.system x", "line 1: the tag .* is not allowed"),
            ("a: &x [*x]", "stands inside what it names"),
            ("a: *x", "line 1: "),
            ("<<: {a: 1}", "merge keys"),
            ("a: 1\n---\nb: 2", "line 2: this is a second document"),
            ("? [1]\n: 2", "a key must be text"),
            ("a: \x07", "U\\+0007"),
            ("a: [", "line "),
            ("[" * 300, "deeper than 200 levels"),
        ],
    )
    def test_what_is_refused(self, text: str, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            read_yaml(text, look)

    def test_aliases_count_with_what_they_stand_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """S44: a billion laughs, and deep ones."""
        laughs = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
        )
        with pytest.raises(ValueError, match="more than 500,000 values"):
            read_yaml(laughs, look)
        deep = "a0: &a0 [1]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}]\n" for n in range(300))
        with pytest.raises(ValueError, match="deeper than 200 levels"):
            read_yaml(deep, look)
        monkeypatch.setattr(yamls, "MOST_NODES", 5)
        assert read_yaml("[1, 2, 3, 4]", look) == [1, 2, 3, 4]
        with pytest.raises(ValueError, match="more than 5 values"):
            read_yaml("[1, 2, 3, 4, 5]", look)

    @examples(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False)
            | YAML_TEXT
            | st.from_regex(r"[-+.0-9eEoxinfayu:~_]{1,6}", fullmatch=True),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(YAML_TEXT, inner, max_size=4),
            max_leaves=10,
        )
    )
    def test_what_is_written_is_read_again(self, value: Any) -> None:
        found = read_yaml(write_yaml(value), look)
        assert found == value
        assert repr(found) == repr(value)


class TestWriting:
    """D8."""

    @pytest.fixture
    def write(self, tmp_path: Path) -> Any:
        def write(value: Any, **fields: Any) -> bytes:
            result = run_node(FileSink, {"path": "out/x/y.txt", **fields}, value, folder=tmp_path)
            data = (tmp_path / "out/x/y.txt").read_bytes()
            assert result == {"path": "out/x/y.txt", "bytes": len(data)}
            assert os.listdir(tmp_path / "out/x") == ["y.txt"]
            return data

        return write

    def test_objects_and_lists_are_json_and_all_else_text(self, write: Any) -> None:
        assert write({"b": [1, "ä"], "a": None}) == '{\n  "b": [\n    1,\n    "ä"\n  ],\n  "a": null\n}\n'.encode()
        assert write([]) == b"[]\n"
        assert write("a\n\nb") == b"a\n\nb"
        assert write('{"a":1}') == b'{"a":1}'
        assert write("{{ 1 + 1 }}") == b"{{ 1 + 1 }}", "S50"
        assert (write(None), write(True), write(2.0), write(2.5)) == (b"", b"true", b"2", b"2.5")

    def test_json_text_is_never_encoded_twice(self, write: Any) -> None:
        assert write('{"a": [1]}', format="json") == b'{\n  "a": [\n    1\n  ]\n}\n'
        assert write("[]", format="json") == b"[]\n"
        assert write("5", format="json") == b"5\n"
        assert write('"x"', format="json") == b'"x"\n'
        assert write("plain", format="json") == b'"plain"\n'
        assert write("NaN", format="json") == b'"NaN"\n'
        assert write({"inner": '{"a": 1}'}, format="json") == b'{\n  "inner": "{\\"a\\": 1}"\n}\n'

    def test_csv_has_a_column_for_each_key(self, write: Any) -> None:
        rows = [{"a": 1, "b": 'x,"y"'}, {"a": None, "c": [1, {"k": True}]}, {"b": "l1\nl2", "a": 2.0}]
        assert write(rows, format="csv") == (b'a,b,c\r\n1,"x,""y""",\r\n,,"[1,{""k"":true}]"\r\n2,"l1\nl2",\r\n')
        assert write({"a": 1}, format="csv") == b"a\r\n1\r\n"
        assert write('[{"a": ""}]', format="csv") == b'a\r\n""\r\n'
        assert write("a,b\n", format="csv") == b"a,b\n"
        assert write([], format="csv") == b""

    def test_lines_and_yaml_and_text(self, write: Any, tmp_path: Path) -> None:
        assert write(["a", 1, {"b": None}], format="lines") == b'a\n1\n{"b":null}\n'
        assert write(["on", "1e3", "a: b", "1 x"], format="yaml") == b"- 'on'\n- '1e3'\n- 'a: b'\n- 1 x\n"
        assert write('{"a": 1}', format="yaml") == b"a: 1\n"
        assert write({"a": 1}, format="text") == b'{"a":1}'
        (tmp_path / "out/x/y.txt").unlink()
        for value, fields, said in (
            (["a\nb"], {"format": "lines"}, "item 1 holds a line break"),
            ([{"a": 1}, 2], {"format": "csv"}, "row 2 is no object"),
            ("\ud800", {}, "half a character"),
            ({"a": object()}, {}, "no plain data"),
            ([], {"format": "xml"}, "format: it is one of"),
        ):
            assert said in str(failure(FileSink, {"path": "out/x/y.txt", **fields}, value, folder=tmp_path))
        assert "has no `input`" in str(failure(FileSink, {"path": "y"}, folder=tmp_path))
        assert list((tmp_path / "out/x").iterdir()) == []

    def test_a_file_is_there_whole_or_as_it_was(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "x").write_text("before")
        (tmp_path / "x").chmod(0o640)

        def full(handle: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as broken:
            broken.setattr(paths.os, "fsync", full)
            error = failure(FileSink, {"path": "x"}, "after", folder=tmp_path)
        assert "'x' cannot be written: No space left" in str(error)
        assert (tmp_path / "x").read_text() == "before"
        assert os.listdir(tmp_path) == ["x"]
        run_node(FileSink, {"path": "x"}, "after", folder=tmp_path)
        assert (tmp_path / "x").read_text() == "after"
        assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640

    def test_too_much_is_not_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files, "MOST_BYTES", 10)
        assert "more than 10 bytes" in str(failure(FileSink, {"path": "x"}, "x" * 11, folder=tmp_path))
        assert os.listdir(tmp_path) == []

    @examples(JSON)
    def test_json_that_is_written_is_read_again(self, value: Any) -> None:
        text = files._text(value, "json", look)
        # Text that is JSON is what it says.
        try:
            value = strict_json(value) if isinstance(value, str) else value
        except ValueError:
            pass
        assert json.loads(text) == value
        assert files._value(text, "json", look) == value
