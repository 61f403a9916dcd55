"""From nodes and graphs to batches that can enter a run: walked, numbered, checked; maps and returned nodes grow more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from plait._core.graph import Batch, Numbered, cycle_text, refuse_cycles
from plait._core.paths import Foreseen
from plait._core.policy import PLAIN, nearest
from plait._core.result import RunResult
from plait._core.table import Table, Try
from plait._engine.work import Call, Growth, Join, RawFiles, Regrowth, Wanted, Work
from plait.errors import GraphError, UsageError
from plait.tasks import CONTAINERS, NOTHING_BESIDE, Definition, Graph, Node, OnError, holds_node, nodes_in, replaced

if TYPE_CHECKING:
    from plait.redaction import Secrets

__all__ = ["Program", "compile_graph", "compile_nodes"]


class _Nodes(Work):
    """The calls of a batch of nodes."""

    suspects = frozenset((Node, *CONTAINERS))

    def __init__(self, nodes: Sequence[Node[Any]], needs: Sequence[Sequence[int]], filed: Sequence[int] = ()) -> None:
        self._nodes = nodes
        self._needs = needs
        self.filed = filed
        self._value: Any = None  # what a task returned that grew these
        self._targets: list[int] = []

    @property
    def nodes(self) -> Sequence[Node[Any]]:
        """The nodes, by place."""
        return self._nodes

    def call(self, place: int, table: Table, first: int) -> Call:
        node = self._nodes[place]
        definition = node._definition
        if node._refs and not first:  # every argument is a node, and places are rows
            args = tuple(map(table.values.__getitem__, self._needs[place]))
            if len(args) != len(node._args):
                args = args[: len(node._args)]  # behind them stand those that are needed beside
            return definition.executor, definition.body, args, None
        filled, kwargs = self._filled(node, place, table, first)
        return definition.executor, definition.body, filled, kwargs

    def _filled(
        self, node: Node[Any], place: int, table: Table, first: int
    ) -> tuple[Sequence[Any], Mapping[str, Any] | None]:
        """The arguments, each node in them replaced by its value."""
        if node._refs is None:
            return node._args, node._beside.kwargs
        values = table.values
        if node._refs:
            return [values[first + need] for need in self._needs[place][: len(node._args)]], None
        found = (values[first + need] for need in self._needs[place])
        args = replaced(node._args, found)
        kwargs = node._beside.kwargs
        return args, (replaced(kwargs, found) if kwargs else None)

    def check(self, place: int, value: Any, table: Table, first: int) -> Growth | None:
        if type(value) is Node or (type(value) in CONTAINERS and holds_node(value)):
            return _grown(value)
        return None

    def decide(self, place: int, table: Table, first: int) -> bool:
        when = self._nodes[place]._definition.when
        if type(when) is Node:
            return bool(table.values[first + self._needs[place][-1]])
        return bool(when() if callable(when) else when is None or when)

    def files(self, place: int) -> RawFiles | None:
        node = self._nodes[place]
        wants = node._definition.wants
        if wants is None or node._refs is not None:
            return None  # values of needs are among the arguments
        return wants.files(node._args, node._beside.kwargs)

    def shape(self, place: int) -> Foreseen | None:
        node = self._nodes[place]
        definition: Definition = node._definition.body
        if not _names_files(definition):
            return None
        lists = node._args
        if node._refs is None and all(isinstance(each, (list, tuple)) for each in lists):
            return Foreseen(_items(definition, [list(each) for each in lists]), many=False)
        return Foreseen(_batch_of_items(definition, [], ("[...]",)), many=True)

    def shape_of_repair(self, place: int) -> Foreseen | None:
        return _shape_of_repair(self._nodes[place]._definition)

    def wants(self, place: int, table: Table, first: int) -> Wanted | None:
        node = self._nodes[place]
        wants = node._definition.wants
        return None if wants is None else wants.of(*self._filled(node, place, table, first))

    def children(self, place: int, table: Table, first: int) -> Growth:
        node = self._nodes[place]
        lists, _ = self._filled(node, place, table, first)
        columns = [list(column) for column in lists]
        if len({len(column) for column in columns}) > 1:
            sizes = ", ".join(str(len(column)) for column in columns)
            raise UsageError(f"{node._definition.name}.map was given lists of different lengths: {sizes}")
        batch = _items(node._definition.body, columns)
        return Growth(batch, _join_items)

    def repair(self, place: int, failure: Try, table: Table, first: int) -> Growth:
        return _repair_of(self._nodes[place]._definition, failure)

    def snapshot(self) -> Any:
        from plait.snapshots import of_nodes, tagged

        data = of_nodes(self._nodes, strict=True)
        return {**data, "value": tagged(self._value, self._nodes), "targets": self._targets}

    def regrow(self, place: int, table: Table, first: int, regrowth: Regrowth) -> Growth:
        return regrown(regrowth) if regrowth.snapshot is not None else self.children(place, table, first)

    def declared(self, place: int) -> Any:
        from plait.snapshots import declared_of

        return declared_of(self._nodes[place]._definition)

    def inside(self, place: int, snapshot: Any = None) -> tuple[Work, Join] | None:
        definition = self._nodes[place]._definition
        return (_Items(definition.body, []), _join_items) if definition.each else None

    def called(self) -> Sequence[str] | str:
        called = getattr(self._nodes, "called", None)
        if called is not None:
            return called()  # type: ignore[no-any-return]
        names = [node._definition.name for node in self._nodes]
        return names[0] if len(set(names)) == 1 else names

    def identities(self) -> Sequence[str] | str:
        names = getattr(self._nodes, "names", None)
        if names is not None:
            return names()  # type: ignore[no-any-return]  # nodes of a snapshot are not made for their names
        first = self._nodes[0]._definition if self._nodes else None
        if all([node._definition is first and node._beside is NOTHING_BESIDE for node in self._nodes]):
            return "" if first is None else first.name
        return [node._name for node in self._nodes]


def _join_items(table: Table, rows: range) -> list[Any]:
    values: list[Any] = table.values[rows.start : rows.stop]
    return values


def _items(definition: Definition, columns: list[list[Any]]) -> Batch:
    """The tasks of a map over these lists."""
    return _batch_of_items(definition, columns, Numbered("", min(map(len, columns))))


def _batch_of_items(definition: Definition, columns: list[list[Any]], keys: Sequence[str]) -> Batch:
    size = len(keys)
    return Batch(
        size,
        calls=_Items(definition, columns),  # type: ignore[arg-type]
        keys=keys,
        policy=definition.policy,
        conditional=range(size) if definition.wants is not None and definition.wants.decides else (),
        repairs=range(size) if definition.on_error is not None else (),
    )


class _Items(Work):
    """The calls of a map: one function, an item of each list."""

    suspects = _Nodes.suspects

    def __init__(self, definition: Definition, columns: list[list[Any]]) -> None:
        self._definition = definition
        self._columns = columns
        self.policy = definition.policy
        wants = definition.wants
        self.filed = range(len(columns[0])) if columns and wants is not None and wants.names_files else ()

    def call(self, place: int, table: Table, first: int) -> Call:
        definition = self._definition
        return definition.executor, definition.body, [column[place] for column in self._columns], None

    def decide(self, place: int, table: Table, first: int) -> bool:
        return True

    def files(self, place: int) -> RawFiles | None:
        wants = self._definition.wants
        return None if wants is None else wants.files([column[place] for column in self._columns], None)

    def wants(self, place: int, table: Table, first: int) -> Wanted | None:
        wants = self._definition.wants
        return None if wants is None else wants.of([column[place] for column in self._columns], None)

    check = _Nodes.check

    def shape_of_repair(self, place: int) -> Foreseen | None:
        return _shape_of_repair(self._definition)

    def repair(self, place: int, failure: Try, table: Table, first: int) -> Growth:
        return _repair_of(self._definition, failure)

    def regrow(self, place: int, table: Table, first: int, regrowth: Regrowth) -> Growth:
        return regrown(regrowth)

    def declared(self, place: int) -> Any:
        from plait.snapshots import declared_of

        return declared_of(self._definition)

    def identities(self) -> str:
        return f"{self._definition.name}[]"


class _Repair(_Nodes):
    """The `on_error` of a task."""

    def __init__(self, of: str, on_error: OnError, failure: Try | None, filed: Sequence[int]) -> None:
        super().__init__([on_error.node], [()], filed)
        self._of = of
        self._takes_error = on_error.takes_error
        self._failure = failure  # None while that is still to come

    def _filled(
        self, node: Node[Any], place: int, table: Table, first: int
    ) -> tuple[Sequence[Any], Mapping[str, Any] | None]:
        if not self._takes_error:
            return super()._filled(node, place, table, first)
        assert self._failure is not None, "an on_error runs when its task has failed"
        return (self._failure.error,), None

    def files(self, place: int) -> RawFiles | None:
        wants = self._nodes[place]._definition.wants
        if wants is None or not self._takes_error:
            return super().files(place)
        return None if self._failure is None else wants.files((self._failure.error,), None)

    def snapshot(self) -> Any:
        return None  # made again of its task

    def identities(self) -> Sequence[str]:
        return [f"{self._of}/{self._nodes[0]._name}"]


def _repair_of(definition: Definition, failure: Try) -> Growth:
    """The `on_error` of a task, as its child."""
    return Growth(_batch_of_repair(definition, failure), lambda table, rows: table.values[rows.start])


def _batch_of_repair(definition: Definition, failure: Try | None) -> Batch:
    on_error = definition.on_error
    assert on_error is not None
    batch = compile_nodes([on_error.node]).batch
    nodes: _Nodes = batch.calls  # type: ignore[assignment]
    batch.calls = _Repair(definition.name, on_error, failure, nodes.filed)  # type: ignore[assignment]
    batch.is_repair = True
    return batch


def _shape_of_repair(definition: Definition) -> Foreseen | None:
    """The `on_error` of a task that has not failed yet."""
    on_error = definition.on_error
    if on_error is None or not _names_files(on_error.node._definition):
        return None
    return Foreseen(_batch_of_repair(definition, None), many=False)


def _names_files(definition: Definition) -> bool:
    """Does a task say, or what it grows for certain or its `on_error`, what it reads or writes?"""
    wants, on_error = definition.wants, definition.on_error
    return (
        bool(definition.policy.reads or definition.policy.writes)
        or (wants is not None and wants.names_files)
        or (definition.each and _names_files(definition.body))
        or (on_error is not None and _names_files(on_error.node._definition))
    )


def _grown(value: Any) -> Growth:
    """The nodes in what a task returned, as its children; their values take their place."""
    program = compile_nodes(list(nodes_in(value)))
    work: _Nodes = program.batch.calls  # type: ignore[assignment]
    work._value, work._targets = value, program.targets
    return _growth_of(program.batch, program.targets, value)


def regrown(regrowth: Regrowth) -> Growth:
    """What a task grew by returning nodes, from its snapshot."""
    from plait.snapshots import nodes_of, untagged

    data = regrowth.snapshot
    order = nodes_of(data, regrowth.read)
    work = _Nodes(order, regrowth.needs if regrowth.needs is not None else [()] * len(order))
    work._value, work._targets = untagged(data["value"], regrowth.read), list(data["targets"])
    batch = regrowth.batch(work)
    return _growth_of(batch, work._targets, work._value)


def again(
    data: Mapping[str, Any],
    needs: Sequence[Sequence[int]] | None,
    batch: Callable[[Work], Batch],
    read: Callable[[int, Any], Any],
) -> Program:
    """The program of nodes that are stored, with the needs that are; `batch` puts calls to the tasks that are.

    Raises:
        UsageError: for a function that is not there any more.
    """
    from plait.snapshots import nodes_of

    order = nodes_of(data, read)
    work = _Nodes(order, needs if needs is not None else [()] * len(order))
    targets: list[int] = list(data["targets"])
    single, keyed = data["kind"] == "node", data["kind"] == "graph"

    def value(result: RunResult) -> Any:
        table = result.table
        found = [table.values[at] for at in targets]
        return found[0] if single else {table.key(at): each for at, each in zip(targets, found)} if keyed else found

    return Program(batch(work), targets, data["name"], value)


def _growth_of(batch: Batch, places: list[int], value: Any) -> Growth:
    def join(table: Table, rows: range) -> Any:
        return replaced(value, iter([table.values[rows.start + place] for place in places]))

    return Growth(batch, join)


class Program:
    """A graph ready to enter a run: the batch, and the places of the targets in it. Never changed."""

    __slots__ = ("batch", "name", "secrets", "targets", "value")

    def __init__(
        self,
        batch: Batch,
        targets: list[int],
        name: str,
        value: Callable[[RunResult], Any],
        secrets: Secrets | None = None,
    ) -> None:
        self.batch = batch
        self.targets = targets
        self.name = name
        self.value = value
        self.secrets = secrets
        """To be opened before the first task starts; None where there are none."""

    def but(self, **changes: Any) -> Program:
        """The same with these things changed."""
        return Program(**{**{name: getattr(self, name) for name in self.__slots__}, **changes})


def compile_nodes(targets: Sequence[Node[Any]]) -> Program:
    """The batch of `targets` and all that they need: a depth-first walk, needs before users, without recursion.

    Raises:
        GraphError: for two nodes of one key, or a cycle.
    """
    place: dict[Node[Any], int] = {}  # in the order of the walk; nodes are told apart by identity
    place_of = place.__getitem__
    needs: list[tuple[int, ...]] = []
    for target in targets:
        if target not in place:
            try:
                row = tuple(map(place_of, target._needed()))
            except KeyError:  # some need has no place yet
                _walk(target, place, needs)
            else:
                place[target] = len(needs)
                needs.append(row)
    return _program(list(place), needs, list(map(place_of, targets)))


def _walk(target: Node[Any], place: dict[Node[Any], int], needs: list[tuple[int, ...]]) -> None:
    """Places a node behind all that it needs."""
    stack = [target]
    entered: set[Node[Any]] = set()  # of the stack: those whose needs stand above them
    while stack:
        node = stack[-1]
        if node in place:
            stack.pop()
            continue
        needed = node._needed()
        missing = [need for need in needed if need not in place]
        if missing:
            entered.add(node)
            for need in missing:
                if need in entered:
                    raise GraphError(_cycle_text([each for each in stack if each in entered], need))
            stack.extend(reversed(missing))
        else:
            place[node] = len(needs)
            needs.append(tuple([place[need] for need in needed]))
            stack.pop()


def _cycle_text(path: list[Node[Any]], again: Node[Any]) -> str:
    """Lists in arguments may be changed after `bind`: only so can nodes come to need each other."""
    names = [node._name for node in path[path.index(again) :]]
    return cycle_text(names[::-1])


def _program(order: list[Node[Any]], needs: list[tuple[int, ...]], targets: list[int], name: str = "") -> Program:
    """The program of nodes whose order and needs are known."""
    definitions = list(map(attrgetter("_definition"), order))
    kinds = set(definitions)  # few, however many nodes
    policies = {id(each.policy): each.policy for each in kinds}
    cleanups = _places(definitions, kinds, lambda each: each.finally_)
    if cleanups:
        _refuse_too_late(order, needs, frozenset(cleanups))
    filed = _places(definitions, kinds, lambda each: each.wants is not None and each.wants.names_files)
    decided = _places(definitions, kinds, lambda each: each.when is not None or _decides(each))
    unknown = [at for at in filed if order[at]._refs is not None]  # their paths are made of what they need
    batch = Batch(
        len(order),
        calls=_Nodes(order, needs, filed),  # type: ignore[arg-type]
        keys=_Keys(order),
        needs=needs if any(needs) else None,
        policy=next(iter(policies.values())) if len(policies) == 1 else PLAIN,
        policies=[each.policy for each in definitions] if len(policies) > 1 else None,
        controls=_places(definitions, kinds, lambda each: each.each),
        conditional=sorted({*decided, *unknown}) if unknown else decided,
        cleanups=cleanups,
        repairs=_places(definitions, kinds, lambda each: each.on_error is not None),
    )

    def value(result: RunResult) -> Any:
        return list(map(result.table.values.__getitem__, targets))

    return Program(batch, targets, name or (order[targets[-1]]._name if targets else "empty"), value)


def _decides(definition: Definition) -> bool:
    return definition.wants is not None and definition.wants.decides


def _refuse_too_late(order: list[Node[Any]], needs: list[tuple[int, ...]], last: frozenset[int]) -> None:
    """Nothing, unless a task needs one that begins when everything else is over."""
    for at, row in enumerate(needs):
        late = [] if at in last else [need for need in row if need in last]
        if late:
            raise GraphError(
                f"task {order[at]._name!r} needs {order[late[0]]._name!r}, which is a finally_ task: that runs when everything "
                "else is over. Drop this need, or the finally_"
            )


def _places(
    definitions: list[Definition], kinds: set[Definition], wanted: Callable[[Definition], bool]
) -> Sequence[int]:
    """The places whose definition is wanted."""
    chosen = set(filter(wanted, kinds))
    return [at for at, each in enumerate(definitions) if each in chosen] if chosen else ()


class _Keys(Sequence[str]):
    """The keys of nodes: the one given, else the function's name, numbered from its second occurrence (`parse#2`).

    Made when one is read: most runs never do.

    Raises:
        GraphError: at once, for one key given to two different nodes.
    """

    __slots__ = ("_given", "_keys", "_order")

    def __init__(self, order: list[Node[Any]]) -> None:
        self._order = order
        self._keys: list[str] | None = None
        self._given: dict[str, Node[Any]] = {}
        for node in [node for node in order if node._beside is not NOTHING_BESIDE]:
            key = node._beside.key
            if key is not None and self._given.setdefault(key, node) is not node:
                raise GraphError(f"key {key!r} names two different tasks")
        if any(name.endswith("]") for name in self._given):
            mapped = {node._name for node in order if node._definition.each}
            for name in self._given:
                if name.endswith("]") and name.partition("[")[0] in mapped:
                    raise GraphError(f"key {name!r} is that of a task which the map {name.partition('[')[0]!r} grows")

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, at: Any) -> Any:
        if self._keys is None:
            self._keys = list(self._made())
        return self._keys[at]

    def _made(self) -> Iterator[str]:
        seen: dict[str, int] = {}
        for node in self._order:
            key = node._beside.key
            if key is None:
                name = node._definition.name
                while key is None or key in self._given:
                    number = seen[name] = seen.get(name, 0) + 1
                    key = name if number == 1 else f"{name}#{number}"
            yield key


def compile_graph(graph: Graph) -> Program:
    """The batch of a whole graph, in the order in which its tasks were added.

    Raises:
        GraphError: for cycles (printed as a path), self-needs, unknown keys and nodes of other graphs' keys.
    """
    order = list(graph._nodes.values())
    place = {id(node): at for at, node in enumerate(order)}
    by_key = {key: at for at, key in enumerate(graph._nodes)}
    needs: list[list[int]] = []
    at = 0
    while at < len(order):  # nodes bound into arguments without `add` come along behind
        node = order[at]
        row = []
        for need in node._needed():
            found = place.get(id(need))
            if found is None and id(need) in graph._added:
                found = by_key[graph._added[id(need)][1]]
            key = need._beside.key
            if found is None and key is not None and key in by_key:
                found = by_key[key]
                if order[found]._definition.body is not need._definition.body:
                    raise GraphError(f"key {key!r} names two different tasks")
            if found is None:
                found = place[id(need)] = len(order)
                order.append(need)
            row.append(found)
        needs.append(row)
        at += 1
    keys = _Keys(order)
    for position, (key, names) in enumerate(graph._needs.items()):
        # Behind the arguments' nodes and before the one of `when`, which stands last.
        row = needs[position]
        last = [row.pop()] if type(order[position]._definition.when) is Node else []
        for name in names:
            if name not in by_key:
                raise GraphError(f"task {key!r} needs {name!r}, which is not in the graph{nearest(name, by_key)}")
            row.append(by_key[name])
        row.extend(last)
    rows = [tuple(row) for row in needs]
    refuse_cycles(keys, rows)
    program = _program(order, rows, [], graph.name)
    cleanups = frozenset(program.batch.cleanups)
    needed = {need for at, row in enumerate(rows) if at not in cleanups for need in row}
    sinks = [at for at in range(len(order)) if at not in needed and at not in cleanups]

    def value(result: RunResult) -> Any:
        return {keys[at]: result.table.values[at] for at in sinks}

    return program.but(targets=sinks, value=value)
