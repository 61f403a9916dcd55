"""`file`: values out of files, and into them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from plait.calls.shell import strict_json
from plait.errors import ExpressionError, NodeError
from plait.expressions import text as written
from plait.expressions.values import encoded
from plait.nodes.base import At, Field, Node, one_of
from plait.nodes.csvs import read_csv, write_csv
from plait.nodes.items import listed
from plait.nodes.paths import place, read_bytes, write_bytes
from plait.nodes.stopping import Stop, in_thread
from plait.nodes.yamls import read_yaml, write_yaml

MOST_BYTES = 64 * 1024 * 1024
"""Of a file that is read, or written."""

FORMATS = ("auto", "json", "text", "lines", "csv", "yaml")

BY_SUFFIX = {".json": "json", ".csv": "csv", ".yaml": "yaml", ".yml": "yaml"}
"""What `auto` reads a file as; any other one is text."""

PATH = Field(required=True, section="config")
FORMAT = Field(default="auto", read=one_of(*FORMATS), section="config")


class FileSource(Node):
    """What a file in the working directory says, read as `format` has it."""

    fields = {"path": PATH, "format": FORMAT}

    async def run(self, given: Mapping[str, Any], at: At) -> Any:
        """A value for json and yaml, text, a list of lines, or a list of objects for csv.

        Raises:
            NodeError: for a path that leads elsewhere, a file that cannot be read, and one that is not what it is read as.
        """
        where = place(given["path"], at.folder, at.allowed)
        form = given["format"]
        if form == "auto":
            form = BY_SUFFIX.get(PurePosixPath(given["path"]).suffix.lower(), "text")

        def work(stop: Stop) -> Any:
            text = _decoded(read_bytes(where, MOST_BYTES, stop.look), given["path"])
            try:
                return _value(text, form, stop.look)
            except (ValueError, RecursionError) as error:
                raise NodeError(f"{given['path']!r:.200} is not {form.upper()}: {error}") from None

        return await in_thread(work)


def _decoded(data: bytes, path: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NodeError(
            f"{path!r:.200} is not UTF-8 text (line {line}, byte {error.start}): save it as UTF-8"
        ) from None


def _value(text: str, form: str, look: Callable[[], None]) -> Any:
    match form:
        case "json":
            return strict_json(text)
        case "csv":
            return read_csv(text, look)
        case "yaml":
            return read_yaml(text, look)
        case "lines":
            lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
            return lines[:-1] if lines[-1] == "" else lines
        case _:
            return text


class FileSink(Node):
    """`input`, written to a file as `format` has it: whole or not at all. The folders that it lies in are made.

    `auto` writes objects and lists as JSON and everything else as text.
    """

    fields = {"path": PATH, "format": FORMAT}

    async def run(self, given: Mapping[str, Any], at: At) -> Any:
        """`{path, bytes}`: the path as it was given, and how much was written.

        Raises:
            NodeError: for a path that leads elsewhere, a file that cannot be written, and a value that `format` cannot say.
        """
        if not at.has_input:
            raise NodeError(f"{at.node!r} has no `input`, which is what it would write")
        where = place(given["path"], at.folder, at.allowed)

        def work(stop: Stop) -> int:
            try:
                data = _text(at.input, given["format"], stop.look).encode()
            except ExpressionError as error:
                raise NodeError(f"what {at.node!r} is to write: {error}") from None
            except UnicodeEncodeError:
                raise NodeError(
                    f"what {at.node!r} is to write holds half a character, which UTF-8 cannot say"
                ) from None
            if len(data) > MOST_BYTES:
                raise NodeError(f"what {at.node!r} is to write has more than {MOST_BYTES:,} bytes")
            write_bytes(where, data, stop.look)
            return len(data)

        return {"path": given["path"], "bytes": await in_thread(work)}


def _text(value: Any, form: str, look: Callable[[], None]) -> str:
    """What stands in the file."""
    if form == "auto":
        form = "json" if isinstance(value, (dict, list, tuple)) else "text"
    match form:
        case "json":
            return _json(value) + "\n"
        case "csv":
            rows = _said(value)
            return rows if isinstance(rows, str) else write_csv(listed(rows), look)
        case "yaml":
            return write_yaml(_said(value))
        case "lines":
            rows = _said(value)
            return rows if isinstance(rows, str) else _lines(listed(rows))
        case _:
            return written(value)


def _json(value: Any) -> str:
    """A value as JSON. Text that is JSON already is that, and no JSON text of it."""
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_constant=_no_constant)
        except json.JSONDecodeError:
            pass
        except (ValueError, RecursionError) as error:
            raise NodeError(f"the text to write begins as JSON, and cannot be read as that: {error}") from None
    return encoded(value, indent=2)


def _no_constant(name: str) -> Any:
    raise json.JSONDecodeError(f"{name} is not JSON", name, 0)


def _said(value: Any) -> Any:
    """The list or object that text is, if it is JSON of one; all else as it is."""
    if not isinstance(value, str) or value.strip()[:1] not in ("{", "["):
        return value
    try:
        return strict_json(value)
    except (ValueError, RecursionError):
        return value


def _lines(items: list[Any]) -> str:
    lines = [written(item) for item in items]
    for number, line in enumerate(lines, 1):
        if "\n" in line or "\r" in line:
            raise NodeError(f"item {number} holds a line break: lines cannot say that, json can")
    return "".join(f"{line}\n" for line in lines)
