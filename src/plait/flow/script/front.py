"""The front matter of a FlowScript file, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plait._core.policy import Retry, nearest
from plait.calls.shell import strict_json
from plait.errors import UsageError
from plait.flow.problems import START, Place, Problems
from plait.flow.script.options import BACKOFFS, MOST
from plait.flow.script.texts import MISMATCH, MISSING, SCHEMA, TYPE, look_for_unit
from plait.flow.tree import Mapping as Map
from plait.flow.tree import Scalar, Sequence, Tree, kind, plain
from plait.flow.values import shown
from plait.nodes import duration
from plait.nodes.schemas import Schema, SchemaError, from_data, parse

KEYS = (
    "name", "version", "description", "trigger", "config", "secrets", "input", "output", "schemas", "runtime", "evolution",
)  # fmt: skip
CONFIG_KEYS = ("type", "default", "required", "description")
RUNTIME_KEYS = ("timeout", "retry", "concurrency")
TYPES = ("string", "number", "integer", "boolean", "object", "array")
CONCURRENCY = 10
MOST_TRIES = 100


@dataclass(frozen=True, slots=True)
class Option:
    """An entry of `config`: what it must be, and what it is where nobody says anything else."""

    type: str = ""
    """Empty: anything."""
    words: tuple[Any, ...] = ()
    """Of an enum."""
    default: Any = None
    required: bool = False
    description: str = ""

    def fits(self, value: Any) -> bool:
        """Is a value of that type?"""
        if self.words:
            return value in self.words
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        match self.type:
            case "string":
                return isinstance(value, str)
            case "number":
                return number
            case "integer":
                return number and float(value).is_integer()
            case "boolean":
                return isinstance(value, bool)
            case "object":
                return isinstance(value, dict)
            case "array":
                return isinstance(value, list)
        return True

    @property
    def called(self) -> str:
        """The type, for people."""
        return f"one of {', '.join(map(str, self.words))}" if self.words else self.type or "any"


@dataclass(frozen=True, slots=True)
class Given:
    """A field of `input`: its type, and what it is where nothing is given."""

    schema: Schema
    said: str
    required: bool = True
    default: Any = None


@dataclass(slots=True)
class Front:
    """What the front matter says."""

    name: str = ""
    version: str = ""
    trigger: Any = None
    config: dict[str, Option] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    input: dict[str, Given] = field(default_factory=dict)
    output: Any = None
    schemas: dict[str, Schema] = field(default_factory=dict)
    timeout: float | None = None
    retry: Retry | None = None
    concurrency: int = CONCURRENCY
    places: dict[str, Place] = field(default_factory=dict)
    """Where each secret, and each key, stands."""

    def configured(self, path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values of the configuration: the given ones (JSON, else text), and the defaults.

        Raises:
            UsageError: for an unknown name, a value of another type, a required one that is not given.
        """
        for name in given:
            if name not in self.config:
                raise UsageError(f"{path} has no config {name!r}{nearest(name, self.config)}")
        found: dict[str, Any] = {}
        for name, option in self.config.items():
            if name in given:
                found[name] = _converted(name, option, given[name])
            elif option.required and option.default is None:
                raise UsageError(f"{path} needs the config {name!r} ({option.called}): give it as --config {name}=...")
            else:
                found[name] = option.default
        return found

    def inputs(self, path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
        """The workflow input: the given fields, and the defaults of the others. Without `input:` anything may be given.

        Raises:
            UsageError: for what is not declared, is missing, or does not fit.
        """
        if not self.input:
            return dict(given)
        for name in given:
            if name not in self.input:
                raise UsageError(f"{path} has no input {name!r}{nearest(name, self.input)}")
        found: dict[str, Any] = {}
        for name, each in self.input.items():
            if name not in given:
                if each.required:
                    raise UsageError(f"{path} needs the input {name!r} ({each.said}): give it as -i {name}=...")
                found[name] = each.default
                continue
            value = given[name]
            if isinstance(value, str) and not each.schema.fits(value):
                value = _as_json(value)
            wrong = each.schema.check(value)
            if wrong:
                raise UsageError(f"input {name!r} must be {each.said}: {wrong[0]}")
            found[name] = value
        return found


def _as_json(text: str) -> Any:
    try:
        return strict_json(text)
    except (ValueError, RecursionError):
        return text


def _converted(name: str, option: Option, value: Any) -> Any:
    """A given value; text, as it comes from a command line, is JSON where that fits."""
    if isinstance(value, str) and not (option.type == "string" and not option.words):
        read = _as_json(value)
        value = read if option.fits(read) or not option.fits(value) else value
    if not option.fits(value):
        raise UsageError(f"config {name!r} must be {option.called}, not {shown(value)}")
    return value


def read_front(tree: Map, problems: Problems) -> Front:
    """What the front matter says; every problem of it is noted."""
    return _Reader(problems).read(tree)


class _Reader:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._front = Front()

    def _bad(self, at: Place, code: str, message: str, hint: str = "") -> None:
        self._problems.add(at, code, message, hint)

    def read(self, tree: Map) -> Front:
        front, items = self._front, tree.items
        for name, at in tree.keys.items():
            front.places[name] = at
            if name not in KEYS:
                guess = self._problems.nearest(name, KEYS)
                self._problems.warn(at, "unknown-key", f"front matter has no key {name!r}{guess}", "drop it")
        for name in ("name", "version"):
            if name not in items or plain(items[name]) in (None, ""):
                at = tree.keys.get(name, START)
                self._bad(at, MISSING, f"the front matter needs `{name}:`")
        if "name" in items:
            name = plain(items["name"])
            if isinstance(name, str) and name.strip():
                front.name = name.strip()
            elif name not in (None, ""):
                self._bad(items["name"].at, TYPE, f"name must be text, not {kind(items['name'])}")
        if "version" in items:
            self._version(items["version"])
        front.trigger, front.output = (plain(items[name]) if name in items else None for name in ("trigger", "output"))
        if isinstance(front.trigger, (list, int, float)) and not isinstance(front.trigger, bool):
            what = kind(items["trigger"])
            self._bad(items["trigger"].at, TYPE, f"trigger is a word such as manual, or a mapping, not {what}")
        for name, read in (
            ("schemas", self._schemas),
            ("config", self._config),
            ("secrets", self._secrets),
            ("input", self._input),
            ("runtime", self._runtime),
        ):
            if name in items and not (isinstance(items[name], Scalar) and plain(items[name]) is None):
                read(items[name])
        return front

    def _version(self, tree: Tree) -> None:
        value = plain(tree)
        said = str(value)
        if isinstance(value, bool) or not re.fullmatch(r"\d+\.\d+(\.\d+)?", said):
            if isinstance(value, int) and not isinstance(value, bool):
                said = f"{value}.0"
            elif value not in (None, ""):
                self._bad(tree.at, TYPE, f"version is such as 1.0 or 1.0.2, not {shown(value)}")
        self._front.version = said

    def _entries(self, tree: Tree, what: str) -> list[tuple[str, Tree, Place]]:
        if not isinstance(tree, Map):
            self._bad(tree.at, TYPE, f"{what} must be a mapping, not {kind(tree)}")
            return []
        return [(name, each, tree.keys[name]) for name, each in tree.items.items()]

    def _config(self, tree: Tree) -> None:
        for name, each, _ in self._entries(tree, "config"):
            if not isinstance(each, Map) or not (each.items.keys() & {"type", "default", "required"}):
                self._front.config[name] = Option(default=plain(each))
                continue
            for key in each.items:
                if key not in CONFIG_KEYS:
                    hint = self._problems.nearest(key, CONFIG_KEYS)
                    self._bad(each.keys[key], TYPE, f"config {name!r} has no key {key!r}{hint}")
            self._front.config[name] = self._option(name, each)

    def _option(self, name: str, tree: Map) -> Option:
        said = plain(tree.items["type"]) if "type" in tree.items else ""
        words: tuple[Any, ...] = ()
        if isinstance(said, str) and (found := re.fullmatch(r"enum\s*\[(.*)\]", said.strip(), re.DOTALL)):
            words = tuple(each.strip().strip("'\"") for each in found[1].split(",") if each.strip())
            if not words:
                self._bad(tree.items["type"].at, TYPE, f"the enum of config {name!r} has no words: enum[a, b]")
        elif said not in ("", *TYPES):
            hint = self._problems.nearest(str(said), TYPES)
            self._bad(
                tree.items["type"].at,
                TYPE,
                f"the type of config {name!r} is one of {', '.join(TYPES)} or enum[a, b], not {shown(said)}{hint}",
            )
            said = ""
        required = plain(tree.items["required"]) if "required" in tree.items else False
        if not isinstance(required, bool):
            self._bad(tree.items["required"].at, TYPE, "required must be true or false")
            required = False
        default = plain(tree.items["default"]) if "default" in tree.items else None
        about = plain(tree.items["description"]) if "description" in tree.items else ""
        option = Option("" if words else str(said), words, default, required, str(about or ""))
        if default is not None and not option.fits(default):
            self._bad(
                tree.items["default"].at,
                MISMATCH,
                f"the default of config {name!r} must be {option.called}, not {shown(default)}",
            )
        return option

    def _secrets(self, tree: Tree) -> None:
        if isinstance(tree, Scalar) and isinstance(tree.value, str):
            tree = Sequence([tree], tree.at)
        names: list[tuple[Any, Place]] = []
        if isinstance(tree, Sequence):
            names = [(plain(each), each.at) for each in tree.items]
        elif isinstance(tree, Map):
            names = [(name, tree.keys[name]) for name in tree.items]
        else:
            self._bad(tree.at, TYPE, f"secrets are a list of names, not {kind(tree)}")
        for name, at in names:
            if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                self._bad(at, TYPE, f"a secret is called as its variable of the environment, not {shown(name)}")
            elif name in self._front.secrets:
                self._bad(at, TYPE, f"the secret {name!r} stands here twice")
            else:
                self._front.secrets = (*self._front.secrets, name)
                self._front.places[f"secret {name}"] = at

    def _schema(self, tree: Tree, what: str) -> Schema | None:
        try:
            value = plain(tree)
            return parse(value) if isinstance(value, str) else from_data(value)
        except SchemaError as error:
            self._bad(tree.at, SCHEMA, f"{what}: {error}")
            return None

    def _schemas(self, tree: Tree) -> None:
        for name, each, _ in self._entries(tree, "schemas"):
            made = self._schema(each, f"schema {name!r}")
            if made is not None:
                self._front.schemas[name] = made

    def _input(self, tree: Tree) -> None:
        for name, each, _ in self._entries(tree, "input"):
            default, required, said = None, True, each
            if isinstance(each, Map) and "type" in each.items and not (each.items.keys() - set(CONFIG_KEYS)):
                said = each.items["type"]
                default = plain(each.items["default"]) if "default" in each.items else None
                asked = plain(each.items["required"]) if "required" in each.items else "default" not in each.items
                if not isinstance(asked, bool):
                    self._bad(each.items["required"].at, TYPE, "required must be true or false")
                required = bool(asked) and "default" not in each.items
            optional = name.endswith("?")
            made = self._schema(said, f"input {name!r}")
            if made is None:
                made = parse("any")  # declared, if badly
            if default is not None and made.check(default):
                self._bad(each.at, MISMATCH, f"the default of input {name!r}: {made.check(default)[0]}")
            text = plain(said)
            shown_type = text if isinstance(text, str) else "as declared"
            optional = optional or (isinstance(text, str) and text.strip().endswith("?"))
            self._front.input[name.removesuffix("?")] = Given(made, shown_type, required and not optional, default)

    def _runtime(self, tree: Tree) -> None:
        for name, each, at in self._entries(tree, "runtime"):
            value = plain(each)
            match name:
                case "timeout":
                    try:
                        look_for_unit(self._problems, each.at, "runtime.timeout", value)
                        seconds = duration(value)
                        if not seconds:
                            raise ValueError("timeout must be longer than nothing")
                        self._front.timeout = seconds
                    except ValueError as error:
                        self._bad(each.at, TYPE, f"runtime.timeout: {error}")
                case "concurrency":
                    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST:
                        self._bad(
                            each.at, TYPE, f"runtime.concurrency must be a whole number from 1, not {shown(value)}"
                        )
                    else:
                        self._front.concurrency = value
                case "retry":
                    self._retry(each, value)
                case _:
                    hint = self._problems.nearest(name, RUNTIME_KEYS)
                    self._problems.warn(at, "unknown-key", f"runtime has no key {name!r}{hint}", "drop it")

    def _retry(self, tree: Tree, value: Any) -> None:
        """`retry: 3`, or a mapping with `max` (or `attempts`), `base` and `backoff`."""
        most, base, backoff = value, 1.0, 2.0
        if isinstance(value, dict):
            most = value.get("max", value.get("attempts", 3))
            how = value.get("backoff", "exponential")
            backoff = BACKOFFS.get(how, -1.0) if isinstance(how, str) else -1.0
            try:
                base = duration(value.get("base", "1s"))
            except ValueError as error:
                self._bad(tree.at, TYPE, f"runtime.retry.base: {error}")
            unknown = value.keys() - {"max", "attempts", "base", "backoff"}
            if unknown or backoff < 0:
                self._bad(tree.at, TYPE, "runtime.retry has max, base and backoff (exponential, linear or fixed)")
                return
        if isinstance(most, bool) or not isinstance(most, int) or not 0 <= most <= MOST_TRIES:
            self._bad(tree.at, TYPE, f"runtime.retry is a number of tries from 0 to {MOST_TRIES}, not {shown(most)}")
            return
        self._front.retry = Retry(most + 1, base or 1.0, backoff, 32.0, True, ("retryable",))
