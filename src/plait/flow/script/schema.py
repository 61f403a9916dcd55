"""The JSON Schema of the front matter of FlowScript files, for editors. It refuses nothing that the reader takes."""

from __future__ import annotations

from typing import Any, Final

from plait.flow.script.front import CONCURRENCY, CONFIG_KEYS, KEYS, MOST_TRIES, RUNTIME_KEYS, TYPES
from plait.flow.script.options import BACKOFFS, MOST
from plait.forms import DRAFT

WORDS: Final[dict[str, str]] = {
    "name": "What a run of the file is called.",
    "version": "X.Y or X.Y.Z.",
    "description": "What the workflow is for.",
    "trigger": "What starts it, for whoever does: a word such as manual, or a mapping. `plait run` does not look at it.",
    "config": "Values that who runs it may change: $config.NAME, --config NAME=VALUE.",
    "secrets": "Names of variables of the environment: $secrets.NAME. Their values are never shown or stored.",
    "input": "The fields of the workflow's input, and their types: $input.NAME, -i NAME=VALUE.",
    "output": "The fields of its result, and their types.",
    "schemas": "Schemas by name, for `validate` and `output-schema`.",
    "runtime": "Limits of the whole run.",
    "evolution": "Kept as it is.",
    "type": "What it must be.",
    "default": "Its value where none is given.",
    "required": "Must it be given? By default it need not.",
    "timeout": "The run fails when it takes longer: 30s, 5m, 2h.",
    "retry": "Tries after the first, of every source, transform and sink that says nothing else.",
    "concurrency": f"At most so many nodes run at once; {CONCURRENCY} by default.",
}

Schema = dict[str, Any]


def schema() -> Schema:
    """The schema: plain JSON data of its own."""
    made = {name: {"description": WORDS[name], **_of(name)} for name in KEYS}
    return {
        "$schema": DRAFT,
        "title": "plait FlowScript front matter",
        "description": "What stands between the two lines `---` of a .flow.md file.",
        "type": "object",
        "required": ["name", "version"],
        "properties": made,
    }


def _of(name: str) -> Schema:
    match name:
        case "name":
            return {"type": "string", "pattern": r"\S"}
        case "version":
            return {"anyOf": [{"type": "string", "pattern": r"^\d+\.\d+(\.\d+)?$"}, {"type": "number", "minimum": 0}]}
        case "trigger":
            return {"type": ["string", "object", "boolean", "null"]}
        case "config":
            return {"type": ["object", "null"], "additionalProperties": _option()}
        case "secrets":
            names = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}
            return {
                "anyOf": [names, {"type": "array", "items": names, "uniqueItems": True}, {"type": ["object", "null"]}]
            }
        case "input" | "schemas":
            return {"type": ["object", "null"], "additionalProperties": {"type": ["string", "object", "array", "null"]}}
        case "runtime":
            return _runtime()
    return {}


def _option() -> Schema:
    """An entry of `config`: a mapping that says its type, or its default alone."""
    types = {"anyOf": [{"enum": list(TYPES)}, {"type": "string", "pattern": r"^\s*enum\s*\[[\s\S]*\]\s*$"}]}
    said = {
        "type": "object",
        "properties": {
            "type": {"description": WORDS["type"], **types},
            "default": {"description": WORDS["default"]},
            "required": {"description": WORDS["required"], "type": "boolean"},
            "description": {"description": WORDS["description"]},
        },
        "anyOf": [{"required": [each]} for each in ("type", "default", "required")],
        "additionalProperties": False,
    }
    assert set(said["properties"]) == set(CONFIG_KEYS)  # type: ignore[call-overload]
    bare = {"type": "object", "properties": dict.fromkeys(("type", "default", "required"), False)}
    others = {"type": ["string", "number", "boolean", "array", "null"]}
    return {"anyOf": [said, bare, others]}


def _runtime() -> Schema:
    time = {"anyOf": [{"type": "string"}, {"type": "number", "exclusiveMinimum": 0}]}
    number = {"type": "integer", "minimum": 0, "maximum": MOST_TRIES}
    tries = {
        "type": "object",
        "properties": {"max": number, "attempts": number, "base": time, "backoff": {"enum": list(BACKOFFS)}},
    }
    made: Schema = {
        "timeout": {"description": WORDS["timeout"], **time},
        "retry": {"description": WORDS["retry"], "anyOf": [number, {**tries, "additionalProperties": False}]},
        "concurrency": {"description": WORDS["concurrency"], "type": "integer", "minimum": 1, "maximum": MOST},
    }
    assert set(made) == set(RUNTIME_KEYS)
    return {"type": ["object", "null"], "properties": made}
