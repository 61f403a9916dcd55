"""The JSON Schema of workflow files, for editors: made of the tables that the reader reads by.

It refuses nothing that the reader takes. What it cannot see is the reader's alone: names of tasks, cycles, expressions, whole files that are
named. What says the same in draft 7 and in 2020-12 is written so that it does, for many editors know the older one only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from plait._core import policy as options
from plait._core.causes import CODED, NAMED
from plait._core.graph import LONGEST_KEY, REPAIR
from plait._core.health import HOOKS, HealthMonitor
from plait._core.policy import OF_CODE, PRIORITIES, Join, OnConflict, OnFailure, OnInterrupt
from plait._core.reducing import NEEDED, SHARE
from plait._core.reducing import OPTIONS as REDUCERS
from plait.approving import MOST_ROUNDS as MOST_REVISIONS
from plait.calls.http import AUTH, METHODS
from plait.calls.http import OUTPUTS as HTTP_OUTPUTS
from plait.calls.shell import OUTPUTS
from plait.flow import keys, words
from plait.flow.inputs import TYPES
from plait.flow.keys import BODIES, BODY_KEYS, COMMON, GROUPS, MERGES, MOST_ITEMS, OF_CODE_ALONE, OF_GROUPS, POLICIES
from plait.flow.words import WORDS
from plait.forms import DRAFT
from plait.forms import NAMES as FORMS

Schema = dict[str, Any]


def schema() -> Schema:
    """The schema of a workflow file: plain JSON data of its own."""
    return {
        "$schema": DRAFT,
        "title": "plait workflow",
        "description": "A workflow file of plait: tasks that run in parallel.",
        **_object(words.FILE, keys.TOP, _of_file(), required=["tasks"]),
        "$defs": _definitions(),
    }


# -- small parts


def _to(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _one_of(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}


def _several(schema: Schema, **more: Any) -> Schema:
    """One, or a list of them."""
    return _one_of(schema, {"type": "array", "items": schema, **more})


def _choice(kind: Iterable[str]) -> Schema:
    return {"enum": [str(each) for each in kind]}


def _text(pattern: str) -> Schema:
    """Text of that form, with spaces around it or not."""
    return {"type": "string", "pattern": rf"^\s*(?:{pattern})\s*$"}


def _whole(least: int = 1, most: int | None = None) -> Schema:
    return {"type": "integer", "minimum": least, **({} if most is None else {"maximum": most})}


def _names(pattern: re.Pattern[str] | str) -> str:
    """A pattern of names, in which letters of all scripts are letters: `\\w` is those of ASCII in an editor."""
    text = pattern if isinstance(pattern, str) else pattern.pattern
    text = text.replace(r"[\w", r"[\w\u0080-\uffff")
    return "^(?:" + re.sub(r"(?<!\[)\\w", lambda _: r"[\w\u0080-\uffff]", text) + ")$"


def _object(
    where: str, keys: Iterable[str], shapes: Mapping[str, Schema], required: Iterable[str] = (), **more: Any
) -> Schema:
    """A mapping with these keys and no others; each has its shape, and what it means."""
    made: Schema = {
        "type": "object",
        "properties": {key: {"description": WORDS[where][key], **shapes[key]} for key in keys},
        "additionalProperties": False,
    }
    if required:
        made["required"] = list(required)
    return {**made, **more}


def _by_name(names: str, each: Schema, **more: Any) -> Schema:
    """A mapping from names of that pattern."""
    return {"type": "object", "patternProperties": {names: each}, "additionalProperties": False, **more}


def _when(condition: Schema, then: Schema) -> Schema:
    return {"if": condition, "then": then}


def _has(*keys: str) -> Schema:
    """A mapping with one of these keys."""
    return {"required": [keys[0]]} if len(keys) == 1 else {"anyOf": [{"required": [key]} for key in keys]}


def _never(keys: Iterable[str]) -> Schema:
    return {"properties": dict.fromkeys(keys, False)}


_CONTROL = r"\u0000-\u001f\u007f-\u009f"
_TEMPLATE = r"\{\{"
_PLAIN = rf"^(?![\s\S]*{_TEMPLATE})"
"""Behind it there is no template."""

SAFE = rf"^(?!\.\.?$)(?!\s)(?![\s\S]*\s$)[^/\\{_CONTROL}]{{1,{LONGEST_KEY}}}$"
KEY = SAFE.replace(r"[^/\\", r"[^/\\\[#")
"""Of an input or output, and of a task."""

ANYTHING: Schema = {}
TEXT: Schema = {"type": "string"}
MAPPING: Schema = {"type": "object"}
NOTHING: Schema = {"type": "null"}
FLAG: Schema = {"type": "boolean"}
FILLED_IN: Schema = {"type": ["string", "number"]}
"""Text with templates, or a number, which is text then."""


def _definitions() -> dict[str, Schema]:
    duration = rf"(?=[0-9.]*[1-9]){options.DURATION}"
    share = r"(?:100(?:\.0{1,6})?|0?[0-9]{1,2}(?:\.[0-9]{1,6})?)\s*%"
    reads = _PLAIN + rf"(?!~)[^*?{_CONTROL}]*[^\s*?{_CONTROL}][^*?{_CONTROL}]*$"
    number: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": options.LONGEST}
    return {
        "task": _task(),
        "tasks": _by_name(KEY, _to("task"), minProperties=1),
        "branch": _object(words.BRANCH, (*keys.BRANCH_KEYS, *keys.PART_KEYS), _of_part(), ["tasks"]),
        "case": _object(words.CASE, (*keys.CASE_KEYS, *keys.PART_KEYS), _of_part(), ["tasks"]),
        "loop": _one_of(
            _whole(1, keys.LARGEST_ROUNDS),
            _object(words.LOOP, keys.LOOP_KEYS, _of_rounds(), minProperties=1),
        ),
        "while": _one_of(_to("condition"), _object(words.WHILE, keys.WHILE_KEYS, _of_rounds(), required=["condition"])),
        "matrix": _matrix(),
        "http": _one_of(_to("filled"), _object(words.HTTP, keys.HTTP_KEYS, _of_http(), required=["url"])),
        "auth": {"anyOf": [_auth(kind, parts) for kind, parts in AUTH.items()]},
        "retry": _object(words.RETRY, options.RETRY_OPTIONS, _of_retry(), required=["attempts"]),
        "health": _object(words.HEALTH, [each for each in HealthMonitor.__slots__ if each not in HOOKS], _of_health()),
        "reduce": _reduce(),
        "form": _form(),
        "condition": _one_of(FLAG, _to("template")),
        "items": _one_of({"type": "array"}, _to("template")),
        "template": {"type": "string", "pattern": rf"^{_TEMPLATE}[\s\S]*\}}\}}$"},
        "with-templates": {"type": "string", "pattern": _TEMPLATE},
        "filled": {"type": "string", "minLength": 1},
        "outputs": _one_of(_to("template"), _by_name(SAFE, FILLED_IN)),
        "variables": _by_name(_names(keys.VARIABLE_NAME), FILLED_IN),
        "name": {
            "type": "string",
            "maxLength": 200,
            "pattern": rf"{_PLAIN}[^{_CONTROL}]*[^\s{_CONTROL}][^{_CONTROL}]*$",
        },
        "amount": number,
        "seconds": _one_of(number, _text(duration)),
        "seconds-or-none": _one_of(number, _text(duration), NOTHING),
        "pause": _one_of({"const": 0}, _to("seconds")),
        "bytes": _one_of(_whole(), _text(options.SIZE.replace("[kmgt]i?b", "[kKmMgGtT][iI]?[bB]"))),
        "rate": _text(rf"(?=0*[1-9]){options.RATE}"),
        "share": _text(share),
        "some-share": _text(rf"(?=[0-9.]*[1-9]){share}"),
        "budget": _one_of(
            NOTHING,
            {
                "type": "object",
                "properties": {"seconds": _to("seconds")},
                "additionalProperties": _to("amount"),
                "minProperties": 1,
            },
        ),
        "causes": _several({"type": "string", "pattern": rf"^(?:{CODED})$|{_names(NAMED)}"}, minItems=1),
        "paths": _one_of(
            NOTHING,
            _to("with-templates"),
            _several({"type": "string", "pattern": reads}),
            {"type": "array", "items": FILLED_IN, "contains": _to("with-templates")},
        ),
    }


# -- the file


def _of_file() -> dict[str, Schema]:
    shapes = _options()
    return {
        "name": {"type": "string", "pattern": r"\S"},
        "inputs": _by_name(SAFE, _input()),
        "secrets": {
            "type": "array",
            "items": {"type": "string", "pattern": _names(keys.VARIABLE_NAME)},
            "uniqueItems": True,
        },
        "env": _to("variables"),
        "pools": {"type": "object", "additionalProperties": _one_of(_whole(), _pool())},
        "health": _one_of(NOTHING, _to("health")),
        "defaults": {
            **_object(words.TASK, POLICIES, shapes),
            "allOf": [_when(_has("retries"), _never(["retry"]))],
        },
        **{each: _to("tasks") for each in ("tasks", "finally")},
        "outputs": _to("outputs"),
        **{name: shapes[name] for name in ("max_concurrency", "on_failure", "deadline", "budget", "on_conflict")},
    }


def _pool() -> Schema:
    shapes = {"capacity": _whole(), "health": _one_of(NOTHING, _to("health"))}
    return _object(words.POOL, WORDS[words.POOL], shapes, required=["capacity"])


_JSON: dict[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}


def _input() -> Schema:
    shapes = {"type": _choice(TYPES), "default": ANYTHING, "required": FLAG, "description": TEXT}
    made = _object(words.INPUT, keys.INPUT_KEYS, shapes)
    fitting = [
        _when(
            {"properties": {"type": {"const": name}}, **({} if name == "string" else _has("type"))},
            {"properties": {"default": {"type": [*(_JSON[each] for each in kinds), "null"]}}},
        )
        for name, kinds in TYPES.items()
    ]
    given = _when(
        {**_has("default"), "properties": {"default": ANYTHING}}, {"properties": {"required": {"const": False}}}
    )
    return {**made, "allOf": [*fitting, given]}


# -- tasks


def _task() -> Schema:
    """A task. What goes with which body is said apart, so that an editor knows all keys wherever it is."""
    keys = dict.fromkeys((*BODIES, *COMMON, *(each for own in BODY_KEYS.values() for each in own)))
    own = dict.fromkeys(each for names in BODY_KEYS.values() for each in names)
    shapes = {**_options(), **_bodies(), **_of_task()}
    rules = []
    for body in BODIES:
        code = OF_CODE if body in GROUPS else OF_CODE_ALONE if body == "ask" else ()
        rules.append(_when(_has(body), _never((*(each for each in own if each not in BODY_KEYS[body]), *code))))
    run_alone = {"properties": {"executor": {"const": "process"}}, "required": ["executor"]}
    some = {"required": ["memory_limit"], "properties": {"memory_limit": {"type": ["integer", "string"]}}}
    return {
        **_object(words.TASK, keys, shapes),
        "oneOf": [_has(body) for body in BODIES],
        "allOf": [
            *rules,
            _when({"not": _has("foreach", "matrix")}, _never(["key"])),
            _when({"not": _has("foreach", "matrix", *GROUPS)}, _never(OF_GROUPS)),
            _when({"not": _has("foreach", "matrix", "parallel")}, _never(["width"])),
            _when(_has("foreach"), _never(["matrix"])),
            _when(_has("loop"), _never(["while"])),
            _when(_has("retries"), _never(["retry"])),
            _when(some, {"anyOf": [_has("run"), run_alone]}),
            {
                **_when(_has("approve"), {"properties": {**dict.fromkeys(("form", "foreach", "matrix"), False), **_judged()}}),
                "else": _never(["rounds"]),
            },
        ],
    }  # fmt: skip


def _judged() -> dict[str, Schema]:
    """The default of an approval."""
    verdict: Schema = {"enum": ["approve", "reject"]}
    whole = {"type": "object", "properties": {"action": verdict}, "required": ["action"], "additionalProperties": False}
    return {"default": _one_of(verdict, whole)}


def _bodies() -> dict[str, Schema]:
    word: Schema = {"type": ["string", "number", "boolean"]}
    return {
        "run": _one_of({"type": "string", "pattern": r"\S"}, {"type": "array", "items": word, "minItems": 1}),
        "call": {"type": "string", "pattern": _names(keys.TARGET)},
        "http": _to("http"),
        "node": {"type": "string", "pattern": r"^\s*(?:source|transform|sink):\S+\s*$"},
        "ask": {"type": "string", "pattern": r"\S"},
        "tasks": _to("tasks"),
        "parallel": {"type": "array", "items": _to("branch"), "minItems": 1},
        "switch": {"type": "array", "items": _to("case"), "minItems": 1},
        "flow": {"type": "string", "pattern": _PLAIN + r"[\s\S]*\.ya?ml$"},
    }


def _of_task() -> dict[str, Schema]:
    """Of what is no body, and no option that Python has, too."""
    return {
        "needs": _several(TEXT),
        "foreach": _to("items"),
        "matrix": _to("matrix"),
        "key": FILLED_IN,
        "when": _to("condition"),
        REPAIR: {"allOf": [_to("task"), _never(("needs", "join"))]},
        "output": _choice(OUTPUTS),
        "env": _to("variables"),
        "cwd": _to("filled"),
        "input": _several(_to("template")),
        "with": MAPPING,
        "executor": _choice(keys.EXECUTORS),
        "finally": _to("tasks"),
        "outputs": _to("outputs"),
        "merge": _one_of(_choice(MERGES), _to("template")),
        "width": _whole(1, MOST_ITEMS),
        "loop": _to("loop"),
        "while": _to("while"),
        "form": _to("form"),
        "default": ANYTHING,
        "who": _several({"type": "string", "pattern": r"\S"}),
        "approve": _several(TEXT, minItems=1),
        "rounds": _whole(1, MOST_REVISIONS),
    }


def _of_part() -> dict[str, Schema]:
    name = {"type": "string", "pattern": KEY.replace(r"(?!\s)", r"(?!\s)(?![0-9]+$)", 1).replace(r"\[#", r"\[\]#")}
    tasks = dict.fromkeys(("tasks", "finally"), _to("tasks"))
    return {"name": name, "when": _to("condition"), **tasks, "outputs": _to("outputs")}


def _of_rounds() -> dict[str, Schema]:
    most = _whole(1, keys.LARGEST_ROUNDS)
    return {"max": most, "until": _to("condition"), "condition": _to("condition")}


def _matrix() -> Schema:
    several = {"type": "array", "items": MAPPING}
    axis = _one_of({"type": "array", "minItems": 1}, _to("template"))
    entries = dict.fromkeys(keys.MATRIX_KEYS, several)
    made = _object(words.MATRIX, keys.MATRIX_KEYS, entries, patternProperties={_axes(): axis})
    has_axis = {"not": {"propertyNames": {"enum": list(keys.MATRIX_KEYS)}}}
    return {**made, "anyOf": [has_axis, {"properties": {"include": {"minItems": 1}}, "required": ["include"]}]}


def _axes() -> str:
    """Names of axes: all but those of what is none."""
    return _names(keys.AXIS).replace("^", f"^(?!(?:{'|'.join(keys.MATRIX_KEYS)})$)", 1)


def _of_http() -> dict[str, Schema]:
    said = "|".join("".join(f"[{letter}{letter.lower()}]" for letter in method) for method in METHODS)
    return {
        "url": _to("filled"),
        "method": _one_of(_choice(METHODS), {"type": "string", "pattern": f"^(?:{said})$"}),
        "headers": MAPPING,
        "params": MAPPING,
        "body": ANYTHING,
        "auth": _to("auth"),
        "extract": {"type": "string", "pattern": r"\S"},
        "output": _choice(each for each in HTTP_OUTPUTS if each != "bytes"),
        "allow_private": FLAG,
        "max_bytes": _whole(),
    }


def _auth(kind: str, parts: Iterable[str]) -> Schema:
    names = sorted(parts)
    keys = ["type", *(each for name in names for each in (name, f"{name}_env"))]
    shapes: dict[str, Schema] = {**dict.fromkeys(keys, ANYTHING), "type": {"const": kind}}
    made = _object(words.AUTH, keys, shapes, required=["type"])
    return {**made, "allOf": [{"oneOf": [_has(name), _has(f"{name}_env")]} for name in names]}


def _form() -> Schema:
    choices = {"type": "array", "items": {"type": ["string", "number", "boolean", "null"]}, "minItems": 1}
    simple = _one_of(NOTHING, _choice(FORMS), choices)
    return _one_of(simple, {"type": "object", "additionalProperties": _one_of(simple, MAPPING), "minProperties": 1})


# -- options


def _options() -> dict[str, Schema]:
    """What each option of the common vocabulary may say."""
    named = _several(_to("name"), uniqueItems=True)
    kinds: dict[str, type[StrEnum]] = {
        "join": Join,
        "on_failure": OnFailure,
        "on_interrupt": OnInterrupt,
        "on_conflict": OnConflict,
    }
    keyed = _object(
        words.KEYED, WORDS[words.KEYED], {"key": _one_of(_to("name"), _to("with-templates")), "n": _whole()}
    )
    weights = {"type": "object", "additionalProperties": _whole()}
    return {
        **{name: _choice(kind) for name, kind in kinds.items()},
        **dict.fromkeys(("uninterruptible", "critical", "allow_failure"), FLAG),
        **dict.fromkeys(("timeout", "idle_timeout", "deadline"), _to("seconds-or-none")),
        **dict.fromkeys(("reads", "writes"), _to("paths")),
        "grace": _to("seconds"),
        "priority": _one_of(_choice(PRIORITIES), {"type": "integer"}),
        "retries": _whole(0),
        "retry": _to("retry"),
        "max_concurrency": _one_of(_whole(), NOTHING),
        "memory_limit": _one_of(_to("bytes"), NOTHING),
        "pool": _one_of(NOTHING, named, weights),
        "concurrency_key": _one_of(NOTHING, _to("name"), _to("with-templates"), {**keyed, "required": ["key"]}),
        "rate_limit": _one_of(NOTHING, _several(_to("rate"))),
        "cost": _one_of(_whole(), _to("with-templates")),
        "min_success": _one_of(NOTHING, _whole(), _to("some-share")),
        "max_failures": _one_of(NOTHING, _whole(0), _to("share")),
        "reduce": _to("reduce"),
        "budget": _to("budget"),
        "lock": _one_of(NOTHING, named),
    }


def _of_retry() -> dict[str, Schema]:
    return {
        "attempts": _whole(),
        **dict.fromkeys(("delay", "max_delay"), _to("pause")),
        "backoff": {"type": "number", "minimum": 1},
        "jitter": FLAG,
        **dict.fromkeys(("on", "not_on"), _to("causes")),
    }


def _of_health() -> dict[str, Schema]:
    rate = {"type": "number", "minimum": 0, "exclusiveMaximum": 1}
    return {
        "max_error_rate": _one_of(rate, _text(r"[0-9.eE_+-]+\s*%")),
        "window": _whole(),
        "min_outcomes": _one_of(_whole(), NOTHING),
        "pause": _to("seconds"),
        "max_pause": _to("seconds-or-none"),
        "probes": _whole(),
    }


def _reduce() -> Schema:
    share = {"type": "string", "pattern": rf"^(?:{SHARE})$"}
    weight = {"type": "number", "minimum": 0}
    by_name = {"type": "object", "additionalProperties": weight}
    weights = _one_of(by_name, {"type": "array", "items": weight})
    part = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
    shapes = {
        "threshold": _one_of(share, part),
        "ties": _choice(("error", "first", "none")),
        "weights": weights,
        **dict.fromkeys(("least", "min_required"), _one_of(_whole(), share)),
    }
    alone = [each for each in REDUCERS if each not in NEEDED]
    found = []
    for which, names in REDUCERS.items():
        needed = NEEDED.get(which)
        given: Schema = {
            "type": "object",
            "properties": {name: shapes[name] for name in names},
            "additionalProperties": False,
            **({} if needed is None else {"required": [needed]}),
        }
        short = ([] if needed is not None else [NOTHING]) + ([shapes[names[0]]] if names else [])
        found.append(
            {
                "type": "object",
                "properties": {which: _one_of(given, *short)},
                "required": [which],
                "additionalProperties": False,
            }
        )
    return _one_of(NOTHING, _choice(("list", *alone)), *found)
