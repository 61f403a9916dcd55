"""Nodes as plain data and back: what another process needs to make the same calls, and what tells an edit from none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from plait._engine.records import policy_data, policy_of, value_data
from plait.calls.shell import ShellCommand
from plait.errors import NotStorable, StoreDamaged
from plait.references import declared_type, fingerprint, named, reference, resolve
from plait.stores.values import PLAIN
from plait.tasks import Beside, Definition, Node, holds_node, make_node

ALL_NODES, VALUES, MIXED = 0, 1, 2
"""How the arguments of a node stand in a snapshot: not at all, for every one is a need; as they are; each with a tag."""


class Unknown:
    """Stands in a snapshot's nodes for what another process cannot make again: a call with it says so."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __repr__(self) -> str:
        return f"<{self.what}>"


def of_nodes(order: Sequence[Node[Any]], *, strict: bool) -> dict[str, Any]:
    """The nodes of a batch in its order. What cannot be made again stands there by its type, unless `strict`.

    Raises:
        NotStorable: with `strict`, for a function or an argument that another process could not make again.
    """
    place = {id(node): at for at, node in enumerate(order)}
    calls: list[dict[str, Any]] = []
    numbers: dict[int, int] = {}

    def number_of(definition: Definition) -> int:
        found = numbers.get(id(definition))
        if found is None:
            data = _definition_data(definition, number_of if definition.each else None, place, strict)
            found = numbers[id(definition)] = len(calls)
            calls.append(data)
        return found

    nodes: list[Any] = []
    for node in order:
        number = number_of(node._definition)
        beside = node._beside
        if node._refs and not beside.kwargs:
            entry: list[Any] = [number, ALL_NODES, len(node._args)]
        else:
            entry = _arguments(node, number, place, strict)
        if beside.key is not None:
            entry.append(beside.key)
        nodes.append(entry)
    return {"calls": calls, "nodes": nodes}


def _arguments(node: Node[Any], number: int, place: dict[int, int], strict: bool) -> list[Any]:
    args, kwargs = node._args, node._beside.kwargs
    if node._refs is None and not kwargs:
        try:
            form, data = value_data(list(args))
            if form == PLAIN:
                return [number, VALUES, data]
        except NotStorable:
            pass
    tagged = [_tagged(arg, place, strict, node) for arg in args]
    return [
        number,
        MIXED,
        [tagged, {name: _tagged(each, place, strict, node) for name, each in (kwargs or {}).items()}],
    ]


def _tagged(value: Any, place: dict[int, int], strict: bool, node: Node[Any]) -> list[Any]:
    """A value with a tag that says what it is: a node by its place, a container item by item, a value as it is."""
    if type(value) is Node:
        # A node that stands for another one of the batch (the same key) is found by the needs alone.
        return ["node", place.get(id(value), -1)]
    if type(value) is tuple:
        return ["tuple", [_tagged(each, place, strict, node) for each in value]]
    if type(value) in (list, dict) and holds_node(value):
        if isinstance(value, dict):
            if all(type(key) is str for key in value):
                return ["dict", [[key, _tagged(each, place, strict, node)] for key, each in value.items()]]
        else:
            return ["list", [_tagged(each, place, strict, node) for each in value]]
    try:
        form, data = value_data(value)
    except NotStorable as error:
        found = reference(value) if callable(value) else None
        if found is not None:
            return ["function", found]
        if strict:
            raise NotStorable(f"an argument of {node._name}: {error}") from None
        return ["unknown", f"{type(value).__module__}.{type(value).__qualname__}"]
    return ["value", form, data]


def tagged(value: Any, order: Sequence[Node[Any]]) -> Any:
    """A value that holds nodes of `order`, as data.

    Raises:
        NotStorable: for what else is in it and would not come back.
    """
    return _tagged(value, {id(node): at for at, node in enumerate(order)}, True, order[0] if order else _STAND_IN)


def untagged(data: Any, order: list[Node[Any]], read: Callable[[int, Any], Any]) -> Any:
    """The value again."""
    return _untagged(data, order, None, read)


def _definition_data(
    definition: Definition, number_of: Callable[[Definition], int] | None, place: dict[int, int], strict: bool
) -> dict[str, Any]:
    data: dict[str, Any] = {"name": definition.name, "executor": definition.executor}
    policy = policy_data(definition.policy)
    if policy:
        data["policy"] = policy
    body = definition.body
    if definition.each:
        assert number_of is not None
        data["each"] = number_of(body)
    elif isinstance(body, ShellCommand):
        command = {each.name: getattr(body, each.name) for each in fields(ShellCommand)}
        data["shell"] = command
    else:
        try:
            data["function"] = named(body, f"the function of {definition.name}")
        except NotStorable:
            if strict:
                raise
            data["unknown"] = f"the function of {definition.name}"
        data["code"] = fingerprint(body)
    when = definition.when
    if type(when) is Node:
        data["when"] = ["node"]
    elif isinstance(when, bool):
        data["when"] = ["value", when]
    elif when is not None:
        found = reference(when)
        if found is None and strict:
            raise NotStorable(f"the `when` of {definition.name} cannot be found again by another process")
        data["when"] = ["unknown", definition.name] if found is None else ["function", found]
        data["when_code"] = fingerprint(when)
    return data


def nodes_of(
    data: Mapping[str, Any], needs: Sequence[Sequence[int]] | None, read: Callable[[int, Any], Any]
) -> list[Node[Any]]:
    """The nodes again, in the batch's order; every function is imported here.

    Raises:
        UsageError: for a function that is not there any more.
        StoreDamaged: for data that is no snapshot.
    """
    definitions: list[Definition] = []
    for each in data["calls"]:
        definitions.append(_definition_of(each, definitions))
    order: list[Node[Any]] = []
    for at, (number, how, given, *key) in enumerate(data["nodes"]):
        definition = definitions[number]
        row = needs[at] if needs is not None else ()
        if how == ALL_NODES:
            args: tuple[Any, ...] = tuple(_needed(order, need) for need in row[:given])
            kwargs: dict[str, Any] | None = None
        elif how == VALUES:
            args, kwargs = tuple(given), None
        else:
            found = iter(row)
            args = tuple(_untagged(each, order, found, read) for each in given[0])
            kwargs = {name: _untagged(each, order, found, read) for name, each in given[1].items()} or None
        if definition.when is _WHEN_NODE:
            definition = _with_when(definition, _needed(order, row[-1]))
        order.append(make_node(definition, args, Beside(kwargs, key[0] if key else None)))
    return order


_WHEN_NODE = Unknown("the node of a `when`")


def _needed(order: list[Node[Any]], place: int) -> Node[Any]:
    """A need as an argument: only that it is a node matters, for its value is looked up by the needs."""
    return order[place] if place < len(order) else _STAND_IN


_STAND_IN: Node[Any] = make_node(Definition("need", None, "async", policy_of({})), ())


def _with_when(definition: Definition, node: Node[Any]) -> Definition:
    from dataclasses import replace

    return replace(definition, when=node)


def _untagged(tagged: Sequence[Any], order: list[Node[Any]], needs: Any, read: Callable[[int, Any], Any]) -> Any:
    kind, data, *rest = tagged
    match kind:
        case "node":
            return _needed(order, data if needs is None else next(needs))
        case "tuple":
            return tuple(_untagged(each, order, needs, read) for each in data)
        case "list":
            return [_untagged(each, order, needs, read) for each in data]
        case "dict":
            return {key: _untagged(each, order, needs, read) for key, each in data}
        case "value":
            return read(data, rest[0])
        case "function":
            return resolve(data)
        case "unknown":
            return Unknown(f"an argument of type {data}")
    raise StoreDamaged(f"{kind!r} in a snapshot of a graph")


def _definition_of(data: Mapping[str, Any], known: list[Definition]) -> Definition:
    body: Any
    if "each" in data:
        body = known[data["each"]]
    elif "shell" in data:
        command = dict(data["shell"])
        argv = command["argv"]
        body = ShellCommand(**{**command, "argv": argv if isinstance(argv, str) else tuple(argv)})
    elif "function" in data:
        body = resolve(data["function"])
    else:
        body = Unknown(str(data["unknown"]))
    when: Any = None
    if "when" in data:
        kind, *rest = data["when"]
        match kind:
            case "node":
                when = _WHEN_NODE
            case "value":
                when = rest[0]
            case "function":
                when = resolve(rest[0])
            case _:
                when = Unknown(f"the `when` of {rest[0]}")
    return Definition(data["name"], body, data["executor"], policy_of(data.get("policy", {})), when, "each" in data)


def unknowns(data: Mapping[str, Any]) -> list[str]:
    """What of a snapshot no other process can make: then the graph itself has to be given."""
    found = [str(each["unknown"]) for each in data["calls"] if "unknown" in each]
    found += [f"the `when` of {each['name']}" for each in data["calls"] if each.get("when", [""])[0] == "unknown"]
    for number, how, given, *_ in data["nodes"]:
        if how == MIXED:
            found += [f"an argument of {data['calls'][number]['name']}, of type {kind}" for kind in _unknown_in(given)]
    return found


def _unknown_in(given: Any) -> list[str]:
    stack = [*given[0], *given[1].values()]
    found = []
    while stack:
        kind, data, *_ = stack.pop()
        if kind == "unknown":
            found.append(str(data))
        elif kind in ("tuple", "list"):
            stack.extend(data)
        elif kind == "dict":
            stack.extend(each for _, each in data)
    return found


def declared_of(definition: Definition) -> Any:
    """The type that the function of a definition declares; None for commands and maps."""
    return None if definition.each or isinstance(definition.body, ShellCommand) else declared_type(definition.body)
