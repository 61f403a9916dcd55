"""Nodes as plain data and back: what another process needs to make the same calls, and what tells an edit from none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plait._engine.records import policy_data, policy_of, value_data
from plait.errors import NotStorable, StoreDamaged
from plait.executors.base import Wanting
from plait.fingerprints import declared_type, fingerprint
from plait.references import named, reference, resolve
from plait.stores.values import PLAIN, SMALL
from plait.tasks import NOTHING_BESIDE, Again, Beside, Definition, Node, OnError, holds_node, make_node

ALL_NODES, VALUES, MIXED = 0, 1, 2
"""How the arguments of a node stand in a snapshot: not at all, for every one is a need; as they are; each with a tag."""


WORKED_OUT = ("concurrency_key", "cost", "reads", "writes")
"""What functions of a task's arguments may work out; older snapshots end with the cost."""


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

    # Columns, and whole numbers in them where that says it all: a resume reads a list for each node else.
    which, how, given, named_ = [0] * len(order), [ALL_NODES] * len(order), [None] * len(order), {}
    for at, node in enumerate(order):
        which[at] = number_of(node._definition)
        beside = node._beside
        if node._refs and not beside.kwargs:
            given[at] = len(node._args)  # type: ignore[call-overload]
        else:
            how[at], given[at] = _arguments(node, place, strict)
        if beside.key is not None:
            named_[str(at)] = beside.key
    return {"calls": calls, "which": which, "how": how, "given": given, "named": named_}


def _arguments(node: Node[Any], place: dict[int, int], strict: bool) -> tuple[int, Any]:
    args, kwargs = node._args, node._beside.kwargs
    if node._refs is None and not kwargs:
        if all(
            [
                (type(arg) is int and -SMALL < arg < SMALL) or (type(arg) is str and arg.isascii() and len(arg) < 1000)
                for arg in args
            ]
        ):
            return VALUES, args
        try:
            form, data = value_data(list(args))
            if form == PLAIN:
                return VALUES, data
        except NotStorable:
            pass
    tagged = [_tagged(arg, place, strict, node) for arg in args]
    return (
        MIXED,
        [tagged, {name: _tagged(each, place, strict, node) for name, each in (kwargs or {}).items()}],
    )


def _tagged(value: Any, place: dict[int, int], strict: bool, node: Node[Any]) -> list[Any]:
    """A value with a tag that says what it is: a node by its place, a container item by item, a value as it is."""
    if type(value) is Node:
        # A node that stands for another one of the batch (the same key) is found by the needs alone.
        return ["node", place.get(id(value), -1)]
    if type(value) is Again:
        nodes, refs, takes = zip(*value.steps, strict=True) if value.steps else ((), (), ())
        return ["again", of_nodes(nodes, strict=strict), list(refs), list(takes)]
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
    return _tagged(value, {id(node): at for at, node in enumerate(order)}, True, order[0] if order else STAND_IN)


def untagged(data: Any, read: Callable[[int, Any], Any]) -> Any:
    """The value again, each node in it replaced by STAND_IN."""
    return _untagged(data, read)


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
    elif definition.executor == "shell":
        command = {name: getattr(body, name) for name in body.__slots__}
        data["shell"] = command
    else:
        try:
            data["function"] = named(body, f"the function of {definition.name}")
        except NotStorable:
            if strict:
                raise
            data["unknown"] = f"the function of {definition.name}"
        data["code"] = fingerprint(body)
    if definition.wants is not None:
        data["wants"] = _wanting_data(definition, strict)
    if definition.finally_:
        data["finally"] = True
    if definition.on_error is not None:
        data["on_error"] = [definition.on_error.takes_error, of_nodes([definition.on_error.node], strict=strict)]
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


def _wanting_data(definition: Definition, strict: bool) -> list[Any]:
    """The functions that work out a key, a cost or paths, by name; what none finds again stands there by what it is."""
    wants = definition.wants
    assert wants is not None
    found: list[Any] = [wants.n]
    for what, function in zip(WORKED_OUT, (wants.key, wants.cost, wants.reads, wants.writes), strict=True):
        name = None if function is None else reference(function)
        if function is not None and name is None and strict:
            raise NotStorable(f"the {what} of {definition.name} cannot be found again by another process")
        found.append(None if function is None else [name or "", fingerprint(function)])
    return found


def _wanting_of(data: Sequence[Any]) -> Wanting:
    n, *functions = data
    key, *others = (None if each is None else resolve(each[0]) for each in functions)
    return Wanting(key, n, *others)


def nodes_of(data: Mapping[str, Any], read: Callable[[int, Any], Any]) -> Sequence[Node[Any]]:
    """The nodes again, in the batch's order. Every function is imported here; a node is made when it is first asked for.

    Raises:
        UsageError: for a function that is not there any more.
    """
    definitions: list[Definition] = []
    for each in data["calls"]:
        definitions.append(_definition_of(each, definitions, read))
    return _Nodes(definitions, data, read)


class _Nodes(Sequence[Node[Any]]):
    """Nodes of a snapshot: of a run that is resumed most are over, and never made."""

    def __init__(self, definitions: list[Definition], data: Mapping[str, Any], read: Callable[[int, Any], Any]) -> None:
        self._definitions = definitions
        self._which, self._how, self._given, self._named = data["which"], data["how"], data["given"], data["named"]
        self._read = read
        self._made: dict[int, Node[Any]] = {}

    def __len__(self) -> int:
        return len(self._which)

    def names(self) -> Sequence[str] | str:
        """What each is called: its key, or its function's name; one name where all are called so. None is made for that."""
        if len(self._definitions) == 1 and not self._named:
            return self._definitions[0].name
        calls = [each.name for each in self._definitions]
        found = [calls[number] for number in self._which]
        for at, key in self._named.items():
            found[int(at)] = key
        return found

    def called(self) -> Sequence[str] | str:
        """The name of the function, or command, of each; one name where all have it."""
        names = {each.name for each in self._definitions}
        if len(names) == 1:
            return names.pop()
        return [self._definitions[number].name for number in self._which]

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        node = self._made.get(at)
        if node is None:
            node = self._made[at] = self._make(at)
        return node

    def _make(self, at: int) -> Node[Any]:
        how, given, key = self._how[at], self._given[at], self._named.get(str(at))
        definition = self._definitions[self._which[at]]
        kwargs: dict[str, Any] | None = None
        if how == ALL_NODES:
            args: tuple[Any, ...] = (STAND_IN,) * given
        elif how == VALUES:
            args = tuple(given)
        else:
            args = tuple(_untagged(each, self._read) for each in given[0])
            kwargs = {name: _untagged(each, self._read) for name, each in given[1].items()} or None
        if definition.when is _WHEN_NODE:
            definition = definition.but(when=STAND_IN)
        return make_node(definition, args, Beside(kwargs, key) if kwargs or key else NOTHING_BESIDE)


_WHEN_NODE = Unknown("the node of a `when`")


STAND_IN: Node[Any] = make_node(Definition("need", None, "async", policy_of({})), ())
"""A node in the place of one that is needed: the value is looked up by the places of the needs."""


def _untagged(tagged: Sequence[Any], read: Callable[[int, Any], Any]) -> Any:
    kind, data, *rest = tagged
    match kind:
        case "node":
            return STAND_IN
        case "again":
            return Again(list(zip(nodes_of(data, read), *rest, strict=True)))
        case "tuple":
            return tuple(_untagged(each, read) for each in data)
        case "list":
            return [_untagged(each, read) for each in data]
        case "dict":
            return {key: _untagged(each, read) for key, each in data}
        case "value":
            return read(data, rest[0])
        case "function":
            return resolve(data)
        case "unknown":
            return Unknown(f"an argument of type {data}")
    raise StoreDamaged(f"{kind!r} in a snapshot of a graph")


def _definition_of(data: Mapping[str, Any], known: list[Definition], read: Callable[[int, Any], Any]) -> Definition:
    body: Any
    if "each" in data:
        body = known[data["each"]]
    elif "shell" in data:
        from plait.calls.shell import ShellCommand  # for its own users alone: it costs milliseconds

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
    wants = _wanting_of(data["wants"]) if "wants" in data else None
    on_error: OnError | None = None
    if "on_error" in data:
        takes_error, nodes = data["on_error"]
        on_error = OnError(nodes_of(nodes, read)[0], bool(takes_error))
    return Definition(
        data["name"],
        body,
        data["executor"],
        policy_of(data.get("policy", {})),
        when,
        "each" in data,
        wants,
        on_error,
        bool(data.get("finally", False)),
    )


def unknowns(data: Mapping[str, Any]) -> list[str]:
    """What of a snapshot no other process can make: then the graph itself has to be given."""
    found = [str(each["unknown"]) for each in data["calls"] if "unknown" in each]
    found += [f"the `when` of {each['name']}" for each in data["calls"] if each.get("when", [""])[0] == "unknown"]
    for each in data["calls"]:
        for what, function in zip(WORKED_OUT, each.get("wants", ())[1:], strict=False):
            if function is not None and not function[0]:
                found.append(f"the {what} of {each['name']}")
    for at, how in enumerate(data["how"]):
        if how == MIXED:
            name = data["calls"][data["which"][at]]["name"]
            found += [f"an argument of {name}, of type {kind}" for kind in _unknown_in(data["given"][at])]
    for each in data["calls"]:
        if "on_error" in each:
            found += [f"{what} (on_error of {each['name']})" for what in unknowns(each["on_error"][1])]
    return found


def _unknown_in(given: Any) -> list[str]:
    stack = [*given[0], *given[1].values()]
    found = []
    while stack:
        kind, data, *_ = stack.pop()
        if kind == "unknown":
            found.append(str(data))
        elif kind == "again":
            found += unknowns(data)
        elif kind in ("tuple", "list"):
            stack.extend(data)
        elif kind == "dict":
            stack.extend(each for _, each in data)
    return found


def declared_of(definition: Definition) -> Any:
    """The type that the function of a definition declares; None for commands and maps."""
    return None if definition.each or definition.executor == "shell" else declared_type(definition.body)
