"""Notes for whoever drives a run: what may be left, and what is said of it. The same for every store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from json import dumps
from typing import Any

from plait.errors import UsageError
from plait.stores.base import Note, RunInfo, moment
from plait.stores.encoding import encode, reader

ASKED = {"cancel": "to cancel", "pause": "to pause", "resume": "to go on"}
"""What a run is asked for by notes other than answers."""

KINDS = frozenset(("answer", *ASKED))

MOST_BYTES = 1_000_000
"""Of the JSON of a note's data, and of its key: who drives a run reads them between two tasks."""

WITHDRAWN = '{"withdrawn":true}'
"""The verdict on a note that was taken back, by whoever had left it."""


def written(kind: str, key: str | None, data: Any, by: str | None, at: float) -> str:
    """The data of a note as JSON.

    Raises:
        UsageError: for what is no note.
    """
    if kind not in KINDS:
        raise UsageError(f"a note is one of {', '.join(sorted(KINDS))}, not {kind!r:.80}")
    if kind == "answer" and key is None:
        raise UsageError("an answer names its question")
    try:
        moment(at)
    except ValueError:
        raise UsageError(f"a note is left at Unix seconds, not at {at!r:.80}") from None
    text = _json(kind, data)
    for what, part in (("key", key), ("name", by)):
        if part is not None and not isinstance(part, str):
            raise UsageError(f"the {what} of a note is text, not {part!r:.80}")
        _refuse_what_is_no_text(what, part or "")
    return text


def _json(kind: str, data: Any) -> str:
    # The standard library's encoder alone: the faster one writes null for what is no number.
    try:
        text = dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
        if size <= MOST_BYTES:
            reader()(text)  # as whoever drives the run will read it
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"the data of a note ({kind}) is no plain JSON data: {error}") from None
    if size > MOST_BYTES:
        raise UsageError(
            f"the data of a note ({kind}) has {size:,} bytes, and {MOST_BYTES:,} at most are read: leave the path of a file"
        )
    return text


def _refuse_what_is_no_text(what: str, part: str) -> None:
    try:
        size = len(part.encode())
    except UnicodeEncodeError:
        raise UsageError(f"the {what} of a note is no text: {part!r:.80}") from None
    if size > MOST_BYTES:
        raise UsageError(f"the {what} of a note has {size:,} bytes, and {MOST_BYTES:,} at most are read")


def read(number: Any, kind: Any, key: Any, data: Any, by: Any, at: Any) -> Note | None:
    """The note of a row; None where somebody else wrote it there, and it is none."""
    texts = (key is None or isinstance(key, str)) and (by is None or isinstance(by, str))
    if not texts or not isinstance(data, str) or kind not in KINDS or (kind == "answer" and key is None):
        return None
    try:
        return Note(number, kind, key, reader()(data), by, moment(at))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None


def refuse(run: RunInfo, generation: int | None) -> None:
    """Nothing, if a note may be left for this run, which is as it stands in the store."""
    if run.status != "running":
        raise UsageError(over(run.id, run.status))
    if generation is not None and run.generation != generation:
        raise UsageError(f"run {run.id} began another generation meanwhile: look at it again")


def over(run_id: str, status: str) -> str:
    return f"run {run_id} is over: {status}"


def deleted(run: RunInfo) -> UsageError:
    return UsageError(f"run {run.id} was deleted meanwhile")


def there_already(run: RunInfo, note: Note) -> UsageError:
    """What is said where such a note was left, and nobody has looked at it yet."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(note.at))
    by = "" if note.by is None else f" by {_shown(note.by)}"
    if note.kind == "answer":
        what = f"question {note.key!r:.200} has an answer{by} already, {_short(answer_in(note.data))}, left at {when}"
    else:
        about = "" if note.key is None else f" {note.key!r:.200}"
        what = f"run {run.id} was asked {ASKED[note.kind]}{about}{by} already, at {when}"
    return UsageError(f"{what}, which was not looked at yet")


def answer_in(data: Any) -> Any:
    """What was answered; beside it stands which question is meant."""
    return data["value"] if isinstance(data, dict) and data.keys() == {"value", "task", "number"} else data


def _short(data: Any) -> str:
    text = dumps(data, ensure_ascii=False)
    return text if len(text) <= 120 and text.isprintable() else f"{dumps(data)[:117]}..."


def _shown(name: str) -> str:
    return name[:80] if name.isprintable() else f"{name!r:.80}"


def closed_by_a_generation() -> str:
    """The verdict on what was left open for the generation before."""
    return verdict_text({"refused": "the run began another generation"})


def closed_by_an_end(status: str) -> str:
    """The verdict on what was left open when the run ended."""
    return verdict_text({"refused": f"the run is over: {status}"})


def verdict_text(verdict: Mapping[str, Any]) -> str:
    """A verdict as JSON.

    Raises:
        Exception: for what JSON has no form for.
    """
    return encode(dict(verdict)).decode()


def verdict_read(text: Any) -> dict[str, Any] | None:
    """A verdict; None where somebody else wrote it, and it is none."""
    try:
        found = reader()(text)
    except (TypeError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
