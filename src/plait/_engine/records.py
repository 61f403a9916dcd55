"""A journal's lines: facts and batches as plain data that JSON keeps as it is, and back."""

from __future__ import annotations

import builtins
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from plait import errors
from plait._core.causes import Cause
from plait._core.graph import Batch, Kept, Numbered
from plait._core.limits import Wants
from plait._core.policy import (
    NO_RETRY,
    PLAIN,
    Join,
    OnConflict,
    OnFailure,
    OnInterrupt,
    Policy,
    Retry,
    Rules,
    retry_after,
)
from plait._core.questions import APPROVAL, INTERRUPT, QUESTION, Question
from plait._core.scheduler import describe
from plait.errors import CommandFailed, HttpError, NotStorable, PlaitError, RecordedError, RetryAfter
from plait.stores import values
from plait.stores.base import Blob as Blob

(
    TAKEN,  # task (-1: none, but some were parked), now
    BEGAN,  # task, attempt, now
    RETURNED,  # task, attempt, now, form, value[, stopped]
    RAISED,  # task, attempt, now, error, chance, stopped, again, form, value
    DECIDED,  # task, choice, now[, its own key, n and cost]
    UNDECIDABLE,  # task, error, now
    GREW,  # parent, now, structure, snapshot
    ASKED,  # task, attempt, question, now
    ANSWERED,  # task, number of the question, form, value, by whom, now
    ABANDONED,  # task, attempt, now
    HALTED,  # mode, now
    PAUSED,  # now
    UNPAUSED,  # now
    TICKED,  # now
    LEAVING,  # now
    RECOVERED,  # now, wall, seconds away
    AHEAD,  # ranges of tasks that may have started
    SPAWNED,  # task, attempt, pid, start in clock ticks
    INTERRUPTED,  # task, attempt, why, now
    SEEN,  # task, attempt, now
    SETTLED,  # parent, won, now
    SPENT,  # task, units, now
    LEASED,  # number of a shared limit, units, wanted, now, when it opens, is it shut
    LISTENED,  # task, attempt, when its last sign of life was, now
    WITHDRAWN,  # task, number of the question, now
    CANCELLED,  # task, by whom, now
) = range(26)

WIDTHS = (3, 4, 7, 10, 5, 4, 5, 5, 7, 4, 3, 2, 2, 2, 2, 4, 2, 5, 5, 4, 4, 4, 7, 5, 4, 4)
"""How long a line of each kind is, its kind included; `stopped` of RETURNED may be left out."""

BLOB = 8
"""Added to a value's form where its bytes are in a file of their own."""

# -- errors

LONGEST_TRACE = 4000


def error_data(error: BaseException) -> dict[str, Any]:
    """What is kept of an exception, whatever a user's class makes of its own parts."""
    kind = type(error)
    data: dict[str, Any] = {"kind": utf8(str(kind.__name__)), "text": utf8(describe(error))}
    if kind.__module__ not in ("builtins", "plait.errors"):
        data["module"] = utf8(str(kind.__module__))
    for name, part in (("args", _args), ("notes", _notes), ("trace", _trace), ("command", _command), ("http", _http)):
        try:
            found = part(error)
        except Exception:
            continue  # an odd class: what can be said of it is in the text
        if found:
            data[name] = found
    after = retry_after(error)
    if after:
        data["after"] = after
    return data


def _args(error: BaseException) -> list[Any] | None:
    plain = all(type(each) in (str, int, float, bool, type(None)) for each in error.args)
    if not plain or any(map(values.wrong_atom, error.args)):
        return None
    return list(error.args)


def _notes(error: BaseException) -> list[str]:
    return [utf8(str(note)) for note in getattr(error, "__notes__", ())]


def _trace(error: BaseException) -> str:
    return utf8("".join(traceback.format_tb(error.__traceback__, -20)))[-LONGEST_TRACE:]


def _command(error: BaseException) -> list[Any] | None:
    if not isinstance(error, CommandFailed):
        return None
    code = None if error.exit_code is None else int(error.exit_code)
    return [
        code,
        None if error.signal is None else utf8(str(error.signal)),
        utf8(str(error.tail)),
        bool(error.retryable),
    ]


def _http(error: BaseException) -> list[Any] | None:
    if not isinstance(error, HttpError):
        return None
    status = None if error.status is None else int(error.status)
    return [status, utf8(str(error.body))[:LONGEST_TRACE], float(error.retry_after), bool(error.retryable)]


def utf8(text: str) -> str:
    """`text` as it can be written: lone surrogates become `?`."""
    return text.encode(errors="replace").decode()


def error_of(data: Mapping[str, Any]) -> BaseException:
    """The exception again where it is one of Python's or plait's own, else a RecordedError that says the same."""
    kind, text = str(data["kind"]), str(data["text"])
    made: BaseException | None = None
    if "command" in data:
        code, signal, tail, retryable = data["command"]
        made = CommandFailed(text, exit_code=code, signal=signal, tail=str(tail), retryable=bool(retryable))
    elif "http" in data:
        status, body, after, retryable = data["http"]
        made = HttpError(text, status=status, body=str(body), retry_after=float(after), retryable=bool(retryable))
    elif "module" not in data:
        own = getattr(errors, kind, None) if kind in errors.__all__ else getattr(builtins, kind, None)
        if isinstance(own, type) and issubclass(own, Exception):
            try:
                made = own(text) if issubclass(own, PlaitError) else own(*data.get("args", (text,)))
            except Exception:
                made = None
            if made is not None and describe(made) != text:
                made = None
    after = float(data.get("after", 0.0))
    if kind == "RetryAfter" and "module" not in data:
        made = RetryAfter(after, text)
    if made is None:
        made = RecordedError(text, kind, str(data.get("trace", "")))
    if after and not isinstance(made, (HttpError, RetryAfter)):
        made.retry_after = after  # type: ignore[attr-defined]
    for note in data.get("notes", ()):
        made.add_note(str(note))
    return made


# -- questions


def question_of(data: Sequence[Any]) -> Question:
    """A question again, from its row."""
    address, prompt, form, default, timeout, who, kind = data
    from plait.observe.questions import fits

    if not isinstance(form, dict) or not isinstance(timeout, (int, float, type(None))) or not fits(kind, form):
        raise ValueError("a question that nobody asked")
    if kind not in (QUESTION, APPROVAL, INTERRUPT) or not all(
        isinstance(each, str) for each in (address, prompt, *who)
    ):
        raise ValueError("a question of no kind that there is")
    return Question(str(address), str(prompt), form, tuple(default), timeout, tuple(who), str(kind))


def as_wanted(question: Question, value: Any, declared: Callable[[], Any]) -> Any:
    """An answer as it counts: what a person says that a task came to is of the type that the task declares, if it does.

    Raises:
        NotStorable: where that does not read it.
    """
    if question.kind != INTERRUPT or "value" not in value or (wanted := declared()) is None:
        return value
    try:
        return {**value, "value": values.read_declared(value["value"], wanted)}
    except Exception as error:
        raise NotStorable(f"the value is not of the declared {wanted}: {describe(error)}") from None


# -- policies and rules


def policy_data(policy: Policy) -> dict[str, Any]:
    """What differs from a plain policy."""
    data: dict[str, Any] = {}
    for name, value in policy.fields().items():
        if value != getattr(PLAIN, name):
            data[name] = _retry_data(value) if isinstance(value, Retry) else value
    return data


def _retry_data(retry: Retry) -> dict[str, Any]:
    data = retry.fields()
    data["on"] = list(map(_cause_data, retry.on))
    data["not_on"] = list(map(_cause_data, retry.not_on))
    return data


def _cause_data(cause: Cause) -> str:
    return f"={cause}" if isinstance(cause, str) else f"{cause.__module__}:{cause.__qualname__}"


def policy_of(data: Mapping[str, Any]) -> Policy:
    """The policy again."""
    kinds: dict[str, Callable[[Any], Any]] = {
        "join": Join, "on_failure": OnFailure, "on_interrupt": OnInterrupt, "retry": _retry_of,
        "pool": _rows, "budget": _rows, "rate_limit": _rows, "concurrency_key": tuple, "lock": _rows,
        "reads": tuple, "writes": tuple, "on_conflict": OnConflict,
    }  # fmt: skip
    return Policy(**{name: kinds[name](value) if name in kinds else value for name, value in data.items()})


def _rows(rows: Sequence[Sequence[Any]]) -> tuple[tuple[Any, ...], ...]:
    """JSON has lists where there were tuples."""
    return tuple(map(tuple, rows))


def _retry_of(data: Mapping[str, Any]) -> Retry:
    if not data:
        return NO_RETRY
    return Retry(**{**data, "on": tuple(map(_cause, data["on"])), "not_on": tuple(map(_cause, data["not_on"]))})


def _cause(data: str) -> Cause:
    return data[1:] if data.startswith("=") else _exception(data)


def _exception(name: str) -> type[BaseException]:
    """An exception class by name; one of the user's is stood for by a class of its own, for nothing is imported here.

    In a replay classes are asked about plait's own errors only (an attempt's timeout); what a task raised carries its answer.
    """
    module, _, kind = name.partition(":")
    home = {"builtins": builtins, "plait.errors": errors}.get(module)
    found = getattr(home, kind, None)
    if isinstance(found, type) and issubclass(found, BaseException):
        return found
    return type(kind, (Exception,), {})


def rules_data(rules: Rules) -> dict[str, Any]:
    """The rules of a run as data."""
    return {**rules.fields(), "health": [[pool, monitor.settings()] for pool, monitor in rules.health]}


def rules_of(data: Mapping[str, Any]) -> Rules:
    """The rules again."""
    watched = data.get("health") or ()
    if watched:
        from plait._core.health import HealthMonitor  # few runs are watched

        watched = tuple((pool, HealthMonitor(**settings)) for pool, settings in watched)
    return Rules(
        **{
            **data,
            "health": watched,
            "on_failure": OnFailure(data["on_failure"]),
            "on_conflict": OnConflict(data.get("on_conflict", OnConflict.REFUSE)),
            **{name: _rows(data.get(name, ())) for name in ("pools", "budget")},
            "sharing": None if data.get("sharing") is None else tuple(data["sharing"]),
        }
    )


# -- batches


def structure(batch: Batch) -> dict[str, Any]:
    """Everything about a batch that decides, and its keys; nothing of its calls."""
    data: dict[str, Any] = {"size": batch.size, "keys": keys_data(batch.keys)}
    if batch.needs is not None:
        data["needs"] = batch.needs
    if batch.policies is not None:
        numbers: dict[int, int] = {}
        policies: list[dict[str, Any]] = []
        for each in batch.policies:
            if id(each) not in numbers:
                numbers[id(each)] = len(policies)
                policies.append(policy_data(each))
        data["policies"], data["policy"] = policies, [numbers[id(each)] for each in batch.policies]
    elif batch.policy is not PLAIN:
        data["policies"] = [policy_data(batch.policy)]
    if batch.controls:
        data["controls"] = list(batch.controls)
    if batch.conditional:
        data["conditional"] = list(batch.conditional)
    if batch.ranks is not None:
        data["ranks"] = list(batch.ranks)
    called = batch.called if batch.called is not None else batch.calls.called()  # type: ignore[attr-defined]
    if called is not None:
        data["called"] = _called_data(called)
    if batch.files:
        data["files"] = [[place, *each] for place, each in batch.files.items()]
    if batch.cleanups:
        data["cleanups"] = list(batch.cleanups)
    if batch.repairs:
        data["repairs"] = list(batch.repairs)
    if batch.is_repair:
        data["is_repair"] = True
    if batch.kept:
        declared: Callable[[int], Any] = batch.calls.declared  # type: ignore[attr-defined]
        data["kept"] = [
            [
                place,
                *value_data(each.value, partial(declared, place)),
                each.started_at,
                each.ended_at,
                each.attempts,
                each.skipped,
            ]
            for place, each in batch.kept.items()
        ]
    return data


def structure_data(batch: Batch, rules: Rules, carried: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a store keeps of a run's tasks, and of the generation that it carries on from."""
    data: dict[str, Any] = {"batch": structure(batch), "rules": rules_data(rules)}
    return {**data, "carried": carried} if carried else data


def keys_data(keys: Sequence[str]) -> Any:
    """Keys as data."""
    if isinstance(keys, Numbered):
        return {"numbered": keys[0][: keys[0].rindex("[")] if len(keys) else "", "size": len(keys)}
    return list(keys)


def _called_data(called: Sequence[str] | str) -> Any:
    """What tasks are called, as data: few names, however many tasks."""
    if isinstance(called, str):
        return utf8(called)
    numbers = {name: at for at, name in enumerate(dict.fromkeys(called))}
    return [list(map(utf8, numbers)), list(map(numbers.__getitem__, called))]


def _called_of(data: Any) -> Sequence[str] | str | None:
    if data is None or isinstance(data, str):
        return data
    names, which = data
    return [str(names[number]) for number in which]


def batch_of(data: Mapping[str, Any], calls: Any, read: Callable[[int, Any, int], Any]) -> Batch:
    """The batch again, with `calls`; `read` gives a kept value, by form, data and place."""
    keys: Any = data["keys"]
    if isinstance(keys, dict):
        keys = Numbered(keys["numbered"], keys["size"])
    policies = [policy_of(each) for each in data.get("policies", ())]
    size = int(data["size"])
    needs = data.get("needs")
    batch = Batch(
        size,
        calls=calls,
        keys=keys,
        needs=needs,
        policy=policies[0] if policies and "policy" not in data else PLAIN,
        policies=[policies[number] for number in data["policy"]] if "policy" in data else None,
        controls=data.get("controls", ()),
        conditional=data.get("conditional", ()),
        ranks=data.get("ranks"),
        called=_called_of(data.get("called")),
        cleanups=data.get("cleanups", ()),
        repairs=data.get("repairs", ()),
        is_repair=bool(data.get("is_repair", False)),
        kept={
            place: Kept(read(form, value, place), started, ended, attempts, skipped)
            for place, form, value, started, ended, attempts, skipped in data.get("kept", ())
        },
        files={place: (tuple(reads), tuple(writes)) for place, reads, writes in data.get("files", ())},
    )
    columns = [keys, *(each for each in (needs, batch.policies, batch.ranks) if each is not None)]
    if isinstance(batch.called, list):
        columns.append(batch.called)
    places = [*batch.controls, *batch.conditional, *batch.kept, *batch.files]
    places = [*batch.controls, *batch.conditional, *batch.kept, *batch.cleanups, *batch.repairs]
    if any(len(column) != size for column in columns) or any(not 0 <= place < size for place in places):
        raise ValueError("columns of a batch differ in length")
    if needs is not None and any(not 0 <= need < size for row in needs for need in row):
        raise ValueError("a need that is not there")
    return batch


def wants_of(data: Sequence[Any] | None) -> Wants | None:
    """What was worked out for one task, from a line; an older journal knows no files."""
    if data is None:
        return None
    key, most, cost, *rest = data
    if not rest or rest[0] is None:
        return key, most, cost, None
    reads, writes = rest[0]
    return key, most, cost, (tuple(reads), tuple(writes))


# -- values


def value_data(value: Any, declared: Callable[[], Any] = lambda: None) -> tuple[int, Any]:
    """Form and content of a value in a line.

    Raises:
        NotStorable: for one that would not come back as it is.
    """
    form, data = values.encoded(value, declared)
    return (form | BLOB, data) if type(data) is Blob else (form, data)


def value_of(form: int, data: Any, blob: Callable[[str], bytes], declared: Callable[[], Any] = lambda: None) -> Any:
    """The value of a line again."""
    if form & BLOB:
        inline = data["inline"] if isinstance(data, dict) else None
        data = _bytes(inline) if inline is not None else blob(data)
        form &= ~BLOB
    elif form == values.BYTES:
        data = _bytes(data)
    return values.decoded(form, data, declared)


def _bytes(text: str) -> bytes:
    from base64 import b64decode  # as msgspec writes bytes in JSON

    return b64decode(text, validate=True)
