"""What an edit touches: two definitions of a run compared, task by task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

OPTIONS = frozenset(
    ("priority", "retries", "retry", "timeout", "deadline", "grace", "uninterruptible", "critical", "allow_failure", "on_interrupt",
     "max_concurrency", "on_failure", "executor", "memory_limit", "pool", "concurrency_key", "rate_limit", "cost", "wants", "budget",
     "lock", "reads", "writes", "on_conflict", "idle_timeout", "on_error", "finally")
)  # fmt: skip
"""What says how a task runs and not what it makes: a task that succeeded stays as it is when one of these is edited."""

OF_RESULTS = ("min_success", "max_failures", "reduce")
"""Options of a group that say what its value is made of."""


class Changes(NamedTuple):
    """A line for each change, and the paths of the tasks that make something else now. False if there are none."""

    lines: Sequence[str] = ()
    touched: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.lines)


class _Task(NamedTuple):
    """What is compared of one task."""

    content: bytes
    options: bytes


def compare(
    old: Mapping[str, Any], old_tasks: Mapping[str, Any], new: Mapping[str, Any], new_tasks: Mapping[str, Any]
) -> Changes:
    """How the definition `new` differs from `old`; keys and needs of the tasks are in `old_tasks` and `new_tasks`."""
    old_keys, new_keys = _keys(old_tasks), _keys(new_tasks)
    if old == new and old_keys == new_keys and _needs(old_tasks) == _needs(new_tasks):
        return Changes()
    if (old["kind"] == "flow") != (new["kind"] == "flow"):
        return Changes(["it is another kind of graph altogether"], frozenset(new_keys))
    lines: list[str] = []
    touched: set[str] = set()
    if old["kind"] == "flow":
        before, after = dict(_of_flow(old)), dict(_of_flow(new))
        around_before, around_after = _around(old), _around(new)
        for name in sorted({*around_before, *around_after}):
            if around_before.get(name) != around_after.get(name):
                lines.append(f"`{name}` changed")
                if name == "env":  # what is left out of the file (`only`) changes nothing of what is in
                    touched.update(after)
    else:
        before, after = (
            dict(_of_nodes(old, old_keys, _needs(old_tasks))),
            dict(_of_nodes(new, new_keys, _needs(new_tasks))),
        )
    for path, task in after.items():
        known = before.get(path)
        if known is None:
            lines.append(f"task {path!r} is new")
            touched.add(path)
        elif known.content != task.content:
            lines.append(f"task {path!r} changed")
            touched.add(path)
        elif known.options != task.options:
            lines.append(f"options of task {path!r} changed")
    lines += [f"task {path!r} is gone" for path in before if path not in after]
    return Changes(lines, frozenset(touched))


# -- graphs of nodes


def _keys(tasks: Mapping[str, Any]) -> list[str]:
    keys = tasks["keys"]
    return [f"{keys['numbered']}[{at}]" for at in range(keys["size"])] if isinstance(keys, dict) else list(keys)


def _needs(tasks: Mapping[str, Any]) -> list[list[int]] | None:
    needs = tasks.get("needs")
    return None if needs is None else [list(row) for row in needs]


def _of_nodes(
    data: Mapping[str, Any], keys: Sequence[str], needs: Sequence[Sequence[int]] | None
) -> Iterator[tuple[str, _Task]]:
    calls = data["calls"]
    split = [_split(call, calls) for call in calls]
    for at, (which, how, given) in enumerate(zip(data["which"], data["how"], data["given"], strict=True)):
        content, options, _ = split[which]
        # A need that comes to its value in another way is another need, though what it grew need not run again for that.
        row = sorted({keys[need] + split[data["which"][need]][2] for need in needs[at]}) if needs is not None else []
        yield keys[at], _Task(_json([content, how, _named(given, keys), row]), options)


def _split(call: Mapping[str, Any], calls: Sequence[Mapping[str, Any]]) -> tuple[Any, bytes, str]:
    """What a call makes, how it is run, and what the value of all that it grows is made of."""
    content = {
        name: value for name, value in call.items() if name not in ("policy", "executor", "name", "wants", "on_error")
    }
    options = {name: call.get(name) for name in ("policy", "executor", "wants", "on_error")}
    made_of = {name: value for name, value in (call.get("policy") or {}).items() if name in OF_RESULTS}
    if "each" in call:
        content["each"], inner, _ = _split(calls[call["each"]], calls)
        options["each"] = inner.decode()
    return content, _json(options), _json(made_of).decode() if made_of else ""


def _named(given: Any, keys: Sequence[str]) -> Any:
    """Arguments with the places of nodes as their keys: a task that was put in before them moves them and changes nothing."""
    if isinstance(given, list):
        if len(given) == 2 and given[0] == "node" and isinstance(given[1], int):
            return ["node", keys[given[1]] if 0 <= given[1] < len(keys) else given[1]]
        return [_named(each, keys) for each in given]
    if isinstance(given, dict):
        return {name: _named(each, keys) for name, each in given.items()}
    return given


# -- workflow files


def _around(data: Mapping[str, Any]) -> dict[str, Any]:
    raw = data["raw"]
    around = {name: value for name, value in raw.items() if name not in ("tasks", "name", "inputs")}
    functions = sorted({name for name in _called(raw.get("finally", {})) if name in data.get("code", {})})
    return {**around, "only": data.get("only"), "code of finally": [data["code"][name] for name in functions]}


def _of_flow(data: Mapping[str, Any]) -> Iterator[tuple[str, _Task]]:
    yield from _of_tasks(data["raw"]["tasks"], "", data.get("code", {}))


def _of_tasks(tasks: Mapping[str, Any], path: str, code: Mapping[str, str]) -> Iterator[tuple[str, _Task]]:
    for key, raw in tasks.items():
        here = f"{path}{key}"
        options = {name: value for name, value in raw.items() if name in OPTIONS}
        content = {name: value for name, value in raw.items() if name not in OPTIONS}
        if not WHOLE & raw.keys():
            yield from _inside(here, raw, content, options, code)
        yield here, _Task(_with_code(content, code), _with_code(options, code))


WHOLE = frozenset(("foreach", "matrix", "loop", "while"))
"""What makes a task of many times the same: an edit touches all of them."""


def _inside(
    here: str, raw: Mapping[str, Any], content: dict[str, Any], options: dict[str, Any], code: Mapping[str, str]
) -> Iterator[tuple[str, _Task]]:
    """The tasks of a group, of branches, of another file. The whole is touched only where what is around them changed."""
    if "tasks" in raw:
        yield from _of_tasks(raw["tasks"], f"{here}/", code)
        content["tasks"] = sorted(raw["tasks"])
    elif "parallel" in raw:
        content["parallel"] = []
        for number, branch in enumerate(raw["parallel"]):
            name = branch.get("name", str(number))
            content["parallel"].append(name)
            yield from _of_tasks(branch["tasks"], f"{here}[{name}]/", code)
            last = {"finally": branch.get("finally")}
            yield f"{here}[{name}]", _Task(_with_code(sorted(branch["tasks"]), code), _with_code(last, code))
    elif isinstance(raw.get("flow"), dict):
        file = raw["flow"]["holds"]
        yield from _of_tasks(file["tasks"], f"{here}/", code)
        content["flow"] = {"tasks": sorted(file["tasks"])} | {name: file.get(name) for name in OF_FILES}
        others = {name: value for name, value in file.items() if name not in ("tasks", *OF_FILES)}
        options["flow"] = {"file": raw["flow"]["file"], **others}


OF_FILES = ("inputs", "env", "outputs")
"""What of another file says, beside its tasks, what its value is made of."""


def _with_code(data: Any, code: Mapping[str, str]) -> bytes:
    return _json([data, [code[name] for name in sorted({name for name in _called(data) if name in code})]])


def _called(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        if isinstance(data.get("call"), str):
            yield data["call"]
        for each in data.values():
            yield from _called(each)
    elif isinstance(data, list):
        for each in data:
            yield from _called(each)


def _json(data: Any) -> bytes:
    return msgspec.json.encode(data, order="sorted")
