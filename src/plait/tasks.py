"""Graphs in Python: `@task` functions bound into nodes, explicit `Graph`s, commands as nodes, and what they become."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial, update_wrapper
from os import PathLike
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, overload

from plait._core.graph import REPAIR, safe_key
from plait._core.limits import owned
from plait._core.policy import OF_CODE, PLAIN, Policy, Pool, Rules, declared_pools, file_path, flag, of_cleanup, policy
from plait.errors import GraphError, UsageError
from plait.executors.base import Wanting, check_memory, executor_for, name_of, wanting

if TYPE_CHECKING:
    from plait.calls.shell import OutputKind

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

__all__ = ["Graph", "Node", "TaskFunction", "shell", "task"]


class Definition:
    """What a node calls, and how: shared by all nodes of one function with the same options. Never changed."""

    __slots__ = ("body", "each", "executor", "finally_", "name", "on_error", "policy", "wants", "when")

    def __init__(
        self,
        name: str,
        body: Any,
        executor: str,
        policy: Policy,
        when: Any = None,
        each: bool = False,
        wants: Wanting | None = None,
        on_error: OnError | None = None,
        finally_: bool = False,
    ) -> None:
        self.name = name
        self.body = body
        self.executor = executor
        self.policy = policy
        self.when = when
        """A Node, a bool or a function without arguments."""
        self.each = each
        """A map: the last positional argument is the list."""
        self.wants = wants
        """What is worked out for each task: its key, its cost."""
        self.on_error = on_error
        self.finally_ = finally_
        """Does it begin when everything else of its graph is over?"""

    def but(self, **changes: Any) -> Definition:
        """The same with these things changed."""
        return Definition(**{**{name: getattr(self, name) for name in self.__slots__}, **changes})


class OnError:
    """What runs when a task failed. Never changed."""

    __slots__ = ("node", "takes_error")

    def __init__(self, node: Node[Any], takes_error: bool) -> None:
        self.node = node
        self.takes_error = takes_error
        """Is its one argument the error?"""


class Again:
    """What is done again when a person wants that: steps of a node, where its arguments come from, and whether it takes the feedback.

    For each node in the arguments, in the order of `nodes_in`, `[1, n]` stands for step n, and `[0, n]` for value n of those given beside.
    Never changed.
    """

    __slots__ = ("steps",)

    def __init__(self, steps: Sequence[tuple[Node[Any], list[list[int]], bool]]) -> None:
        self.steps = steps


class Beside:
    """What few nodes have: keyword arguments, a key, nodes needed beside the arguments. Never changed."""

    __slots__ = ("extra", "key", "kwargs")

    def __init__(
        self, kwargs: Mapping[str, Any] | None = None, key: str | None = None, extra: tuple[Node[Any], ...] = ()
    ) -> None:
        self.kwargs = kwargs
        self.key = key
        self.extra = extra


NOTHING_BESIDE = Beside()


class Node(Generic[R_co]):
    """A call that a graph will make: what `.bind` gives. A task that is not yet in a run; it may be used in many."""

    # A graph has many of them: each word more is memory that the garbage collector walks.
    __slots__ = ("_args", "_beside", "_definition", "_refs")

    _definition: Definition
    _args: tuple[Any, ...]
    _beside: Beside
    _refs: bool | None
    """True where every argument is a node: the common case, filled without a walk. None: none of them holds one."""

    def named(self, key: str) -> Node[R_co]:
        """The same call under the key `key`.

        Raises:
            GraphError: for a key that cannot name a task.
        """
        return make_node(self._definition, self._args, Beside(self._beside.kwargs, safe_key(key), self._beside.extra))

    def options(self, **options: Any) -> Node[R_co]:
        """The same call with other task options.

        Raises:
            LimitError, UsageError: for options that cannot be; for a map, for those that belong to each item.
        """
        return make_node(_with_options(self._definition, options), self._args, self._beside)

    def after(self, *nodes: Node[Any]) -> Node[R_co]:
        """The same call, started after `nodes` too."""
        beside = self._beside
        return make_node(
            self._definition, self._args, Beside(beside.kwargs, beside.key, (*beside.extra, *_nodes("after", nodes)))
        )

    @property
    def _name(self) -> str:
        """The key, if it has one, else the function's name."""
        return self._beside.key or self._definition.name

    def _needed(self) -> Sequence[Node[Any]]:
        """The nodes in the arguments, in order and as often as they stand there; then those needed beside."""
        when = self._definition.when
        if self._refs and when is None and self._beside is NOTHING_BESIDE:
            return self._args
        beside = self._beside.extra
        if type(when) is Node:
            beside = (*beside, when)
        if self._refs is None:
            return beside
        if self._refs:
            return (*self._args, *beside) if beside else self._args
        return (*nodes_in(self._args), *nodes_in(self._beside.kwargs or {}), *beside)

    def __repr__(self) -> str:
        return f"<Node {self._name}>"

    def __format__(self, how: str) -> str:
        raise UsageError(
            f"{self!r} has no value yet, so it is no text: give plait.shell a list of words, or pass the node as an argument"
        )

    def __iter__(self) -> Iterator[Any]:
        raise UsageError(
            f"{self!r} has no value yet: pass it to another task, or use .map for a list known at run time"
        )

    def __bool__(self) -> bool:
        raise UsageError(f"{self!r} has no value yet: use `when=` for a condition known at run time")


def make_node(definition: Definition, args: tuple[Any, ...], beside: Beside = NOTHING_BESIDE) -> Node[Any]:
    """A node of these. Not the class's `__init__`, which would be a call more for each."""
    node: Node[Any] = Node()
    node._definition = definition
    node._args = args
    node._beside = beside
    node._refs = True if args else None
    if beside.kwargs:
        node._refs = _refs_in(definition.name, (*args, *beside.kwargs.values()))
    else:
        for arg in args:
            if type(arg) is not Node:
                node._refs = _refs_in(definition.name, args)
                break
    return node


def _refs_in(name: str, values: tuple[Any, ...]) -> bool | None:
    """False if some of `values` are or hold nodes, None if none does; refuses what was meant to be one."""
    kinds = _kinds(values)
    if kinds <= _PLAIN_DATA:
        return None
    if kinds <= _FLAT and all([type(each) not in _LISTS or _kinds(each) <= _PLAIN_DATA for each in values]):
        return None
    _refuse_unbound(name, values)
    return False if holds_node(values) else None


def _refuse_unbound(name: str, values: tuple[Any, ...]) -> None:
    """Nothing, unless an argument, or an item of a list given as one, is a task that nobody bound."""
    for value in values:
        for each in value if type(value) in (list, tuple) and len(value) <= 100 else (value,):
            if isinstance(each, TaskFunction):
                raise UsageError(f"an argument of {name} is {each!r} itself: write {each._definition.name}.bind(...)")


_PLAIN_DATA = frozenset((int, float, str, bytes, bool, type(None)))
"""Types that hold no node and are none."""

_LISTS = (list, tuple)
_FLAT = _PLAIN_DATA.union(_LISTS)

CONTAINERS = (list, tuple, dict)
DEEPEST = 100
"""How deep nodes may stand in lists, tuples and dicts."""


def _kinds(items: Iterable[Any]) -> set[type]:
    """The types of `items`, but for classes without a hash, which a metaclass may make: no node is of such a one."""
    try:
        return set(map(type, items))
    except TypeError:
        return {type(item) for item in items if type(type(item)).__hash__ is not None}


def holds_node(value: Any) -> bool:
    """Is there a node in `value`, directly or inside lists, tuples and dicts? One look at the types of a level."""
    stack = [value]
    seen: set[int] = set()  # data may hold itself
    while stack:
        value = stack.pop()
        items = value.values() if isinstance(value, dict) else value
        kinds = _kinds(items)
        if Node in kinds:
            return True
        if any(issubclass(kind, CONTAINERS) for kind in kinds):
            seen.add(id(value))
            stack.extend(item for item in items if isinstance(item, CONTAINERS) and id(item) not in seen)
    return False


def nodes_in(value: Any) -> Iterator[Node[Any]]:
    """Every node in `value`, in order, as often as it stands there."""
    stack = [iter((value,))]
    while stack:
        if len(stack) > DEEPEST:
            raise UsageError(f"nodes stand in data nested deeper than {DEEPEST}, or in data that holds itself")
        for item in stack[-1]:
            if type(item) is Node:
                yield item
            elif isinstance(item, dict):
                stack.append(iter(item.values()))
                break
            elif isinstance(item, (list, tuple)):
                stack.append(iter(item))
                break
        else:
            stack.pop()


def replaced(value: Any, values: Iterator[Any]) -> Any:
    """`value` with each node, in the order of `nodes_in`, replaced by the next of `values`."""
    if type(value) is Node:
        return next(values)
    if isinstance(value, dict):
        return {key: replaced(item, values) for key, item in value.items()}
    if isinstance(value, tuple):
        items = [replaced(item, values) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, list):
        return [replaced(item, values) for item in value]
    return value


def _nodes(option: str, nodes: Iterable[Any]) -> tuple[Node[Any], ...]:
    found = tuple(nodes)
    for node in found:
        if type(node) is not Node:
            raise UsageError(f"{option} must hold nodes, not {node!r}: bind the task first")
    return found


OF_ITEMS = (*OF_CODE, "executor", "on_error")
"""Options that a map as a whole refuses: its function has them, for each item."""


def _with_options(definition: Definition, options: dict[str, Any]) -> Definition:
    for name in OF_ITEMS if definition.each else ():
        if name in options:
            raise UsageError(f"{name} belongs to each item: {definition.name}.options({name}=...).map(...)")
    when = options.pop("when", definition.when)
    if not (when is None or isinstance(when, (bool, Node)) or callable(when)):
        raise UsageError(f"when must be a node, true, false or a function without arguments, not {when!r}")
    executor = options.pop("executor", definition.executor)
    if executor != definition.executor:
        if definition.executor == "shell":
            raise UsageError("a command runs on executor 'shell'")
        executor = executor_for(definition.body, executor)
    wants = wanting(options, definition.wants)
    on_error, finally_ = definition.on_error, definition.finally_
    if "on_error" in options:
        on_error = _on_error(definition.name, options.pop("on_error"))
    if "finally_" in options:
        finally_ = flag("finally_", options.pop("finally_"))
    joined = "join" in options
    if "reduce" in options and not definition.each:
        raise UsageError(
            f"reduce is for many results of one kind: {definition.name}.map(..., reduce={options['reduce']!r})"
        )
    made = owned(policy(definition.policy, **options), _owner(definition))
    check_memory(made, executor)
    if finally_ and not definition.finally_:
        made = of_cleanup(made, joined=joined or made.join is not PLAIN.join)
    return definition.but(policy=made, when=when, executor=executor, wants=wants, on_error=on_error, finally_=finally_)


def _on_error(name: str, given: Any) -> OnError | None:
    """A node, or a function that gets the error if it takes an argument."""
    if given is None:
        return None
    if type(given) is Node:
        node, takes_error = given, False
    elif callable(given):
        function = given if isinstance(given, TaskFunction) else _make_task({}, given)
        takes_error = function._takes_one()
        node = make_node(function._definition, ())
    else:
        raise UsageError(f"on_error of {name} must be a function or a node, not {given!r}")
    if node._needed():
        raise UsageError(
            f"on_error of {name} needs other tasks: it may use the error alone, by its argument or plait.current().error"
        )
    if node._definition.finally_:
        raise UsageError(f"on_error of {name} runs when that failed: finally_ is not for it")
    return OnError(node.named(REPAIR), takes_error)


def _owner(definition: Definition) -> str:
    """To whom a rate belongs that is given as text: the task function, wherever it is called; the program of a command."""
    body = definition.body.body if definition.each else definition.body
    name = getattr(body, "__qualname__", None)
    return f"{getattr(body, '__module__', '')}:{name}" if isinstance(name, str) else definition.name


class TaskFunction(Generic[P, R]):
    """A decorated function: called, it is the function; `.bind`, `.map` and `.options` make nodes of it."""

    def __init__(self, function: Callable[P, R], definition: Definition) -> None:
        update_wrapper(self, function, updated=())  # a callable object's own attributes stay its own
        self._function = function
        self._definition = definition
        self._fits: set[int] = set()  # numbers of positional arguments that were seen to fit
        try:
            self._signature: inspect.Signature | None = inspect.signature(function)
        except (TypeError, ValueError):
            self._signature = None  # some built-ins have none: their arity shows when they run

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)

    @overload
    def bind(self: TaskFunction[P, Awaitable[Any]], *args: Any, **kwargs: Any) -> Node[Any]: ...
    @overload
    def bind(self, *args: Any, **kwargs: Any) -> Node[R]: ...
    def bind(self, *args: Any, **kwargs: Any) -> Node[Any]:
        """A node: this call, once the nodes in its arguments (also inside list, tuple and dict) have values.

        Raises:
            UsageError: for arguments that the function does not take.
        """
        if kwargs or len(args) not in self._fits:
            self._check(args, kwargs)
        return make_node(self._definition, args, Beside(kwargs)) if kwargs else make_node(self._definition, args)

    def map(self, *lists: Any, **options: Any) -> Node[list[Any]]:
        """A node whose value is the list of `function(item)` for the items of a list, in order; one child task each.

        With several lists, of one length, the function gets an item of each. The lists may be nodes, known at run time.
        `options` (`max_concurrency`, `on_failure`, `key`, ...) belong to the whole; the function's own to each item.

        Raises:
            LimitError, UsageError: without a list, for options that cannot be, or that belong to each item.
        """
        if not lists:
            raise UsageError(f"{self._definition.name}.map needs at least one list")
        if len(lists) not in self._fits:
            self._check(lists, {}, "map")
        key = options.pop("key", None)
        if self._definition.finally_:
            options.setdefault("finally_", True)
        item = self._definition.but(when=None, finally_=False)
        whole = Definition(self._definition.name, item, "map", PLAIN, each=True)
        if self._definition.when is not None:
            options.setdefault("when", self._definition.when)
        node: Node[list[Any]] = make_node(_with_options(whole, options), lists)
        return node if key is None else node.named(key)

    def options(self, **options: Any) -> TaskFunction[P, R]:
        """The same function with other task options.

        Raises:
            LimitError, UsageError: for options that cannot be.
        """
        return TaskFunction(self._function, _with_options(self._definition, options))

    def _takes_one(self) -> bool:
        """Can it be called with one argument? Else with none.

        Raises:
            UsageError: for a function that takes more.
        """
        if self._signature is None:
            return True
        for arguments in ((None,), ()):
            try:
                self._signature.bind(*arguments)
            except TypeError:
                continue
            return bool(arguments)
        raise UsageError(f"on_error: {self._definition.name} must take the error, or nothing")

    def _check(self, args: tuple[Any, ...], kwargs: dict[str, Any], how: str = "bind") -> None:
        if self._signature is not None:
            try:
                self._signature.bind(*args, **kwargs)
            except TypeError as error:
                raise UsageError(f"{self._definition.name}.{how}: {error}") from None
        if not kwargs:
            self._fits.add(len(args))

    def __repr__(self) -> str:
        return f"<task {self._definition.name}>"

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        # On a method the decorated function is bound as any function is.
        if instance is None:
            return self
        bound = self._function.__get__(instance, owner)
        return TaskFunction(bound, self._definition.but(body=bound))


@overload
def task(function: Callable[P, R], /) -> TaskFunction[P, R]: ...
@overload
def task(**options: Any) -> Callable[[Callable[P, R]], TaskFunction[P, R]]: ...
def task(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Makes a function a task: `@task` or `@task(retries=2, timeout=30)`. It stays an ordinary function when called.

    Coroutine functions run on the loop, others in threads (`executor` says otherwise). A task may return nodes, also in
    lists, tuples and dicts: they run as its children, and their values stand in their place in its value.

    Raises:
        LimitError, UsageError: for options that cannot be, or something that is not callable.
    """
    if function is None:
        return partial(_make_task, options)
    return _make_task(options, function)


def _make_task(options: dict[str, Any], function: Any) -> TaskFunction[..., Any]:
    if isinstance(function, TaskFunction):
        return function.options(**options)
    definition = Definition(name_of(function), function, executor_for(function), PLAIN)
    return TaskFunction(function, _with_options(definition, dict(options)))


def shell(
    command: str | Sequence[Any],
    *,
    env: Mapping[str, Any] | None = None,
    cwd: str | PathLike[str] | None = None,
    output: OutputKind = "text",
    **options: Any,
) -> Node[Any]:
    """A node that runs a command: a list of words, without a shell, or a script for `/bin/sh -c`.

    Words and values of `env` may be nodes; numbers are printed, lists and dicts become JSON. Its value is standard
    output as `text`, `lines` or `json`; a status other than 0 is a `CommandFailed`. The command has a process group of
    its own, which is ended as a whole; what it leaves behind in that group is killed when it ends.

    Raises:
        LimitError, UsageError: for an empty or impossible command, or options that cannot be.
    """
    if not isinstance(command, (str, list, tuple)):
        raise UsageError(f"a command is text or a list of words, not {command!r}")
    if env is not None and not (isinstance(env, Mapping) and all(isinstance(name, str) for name in env)):
        raise UsageError(f"env must be a mapping from names to values, not {env!r}")
    folder = None if cwd is None else file_path("cwd", cwd)
    if isinstance(command, str):
        if not command.strip():
            raise UsageError("the command is empty")
        words: Any = command
        name = "shell"
    else:
        words = tuple(command)
        if not words or words[0] == "":
            raise UsageError("the command is empty")
        name = str(words[0]).rsplit("/", 1)[-1] if isinstance(words[0], str) else "shell"
    from plait.calls.shell import ShellCommand, check_output

    body = ShellCommand("" if isinstance(words, str) else (), cwd=folder, output=check_output(output))
    definition = Definition(name or "shell", body, "shell", PLAIN)
    if options:
        definition = _with_options(definition, dict(options))
    return make_node(definition, (words,), Beside({"env": dict(env)}) if env else NOTHING_BESIDE)


class Graph:
    """Tasks by explicit keys; a graph may be run many times.

    `add` gives the node of a task, which other tasks may take as an argument. `pools` are limits that tasks name in `pool`, with their
    capacities: `{"db": 2}`, or a list of `plait.Pool`, which may have a `health` monitor. `on_conflict` says what becomes of tasks that may
    run at once, of which one writes what the other reads or writes, where they do not say it themselves: `refuse` the graph when it is
    run, or `serialise` them.

    Raises:
        LimitError: for pools or an `on_conflict` that cannot be.
    """

    def __init__(
        self,
        name: str = "graph",
        *,
        pools: Mapping[str, int] | Sequence[Pool] = (),
        on_conflict: Literal["refuse", "serialise"] = "refuse",
    ) -> None:
        self.name = name
        self.on_conflict = Rules.of(on_conflict=on_conflict).on_conflict
        declared = declared_pools("pools", pools)
        self.pools = {each.name: each.capacity for each in declared}
        self.shared_pools = () if isinstance(pools, Mapping) else tuple(self.pools)
        self.health = {each.name: each.health for each in declared if each.health is not None}
        """The monitors of these pools."""
        self._nodes: dict[str, Node[Any]] = {}
        self._needs: dict[str, tuple[str, ...]] = {}
        self._added: dict[int, tuple[Node[Any], str]] = {}  # nodes that were added, by what they were before
        self._functions: dict[int, tuple[Any, TaskFunction[..., Any]]] = {}

    def add(
        self,
        key: str,
        call: Callable[..., Any] | Node[Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        needs: Iterable[str | Node[Any]] = (),
        **options: Any,
    ) -> Node[Any]:
        """Adds the call of a function (or a node, such as `plait.shell` gives) under `key`; its node.

        Nodes in `args` and `kwargs` are needs, and so are `needs`, by key (also of tasks added later) or node.
        `finally_=True`: it begins when every other task is over, however the run went, also after a cancel; what it needs may have
        failed (its value is None then). `on_error=` a node, or a function, which gets the error if it takes an argument: runs when the task failed
        for good, and its value becomes the task's.

        Raises:
            GraphError: for a key that is taken or cannot name a task.
            LimitError, UsageError: for options or a call that cannot be.
        """
        safe_key(key)
        if key in self._nodes:
            raise GraphError(f"key {key!r} is in the graph already")
        if isinstance(needs, (str, bytes)) or not isinstance(needs, Iterable):
            raise UsageError(f"task {key!r}: needs must be a list of keys, not {needs!r}")
        if not isinstance(args, (list, tuple)):
            raise UsageError(f"task {key!r}: args must be a list or tuple of arguments, not {args!r}")
        if not (kwargs is None or isinstance(kwargs, Mapping)):
            raise UsageError(f"task {key!r}: kwargs must be a mapping, not {kwargs!r}")
        listed = list(needs)
        if isinstance(call, Node):
            if args or kwargs:
                raise UsageError(f"task {key!r}: a node has its arguments already")
            node: Node[Any] = call.named(key)
            self._added.setdefault(id(call), (call, key))
            if options:
                node = node.options(**options)
        else:
            function = call if isinstance(call, TaskFunction) else self._task_of(call)
            if options:
                function = function.options(**options)
            node = function.bind(*args, **(kwargs or {})).named(key)
        for need in listed:
            if not isinstance(need, (str, Node)):
                raise UsageError(f"task {key!r}: needs must be keys or nodes, not {need!r}")
        extra = [need for need in listed if isinstance(need, Node)]
        if extra:
            node = node.after(*extra)
        self._nodes[key] = node
        self._needs[key] = tuple(need for need in listed if isinstance(need, str))
        return node

    def _task_of(self, function: Callable[..., Any]) -> TaskFunction[..., Any]:
        """The task of a plain function: looked into once, however often it is added."""
        known = self._functions.get(id(function))
        if known is None:
            known = self._functions[id(function)] = (function, _make_task({}, function))
        return known[1]

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, key: object) -> bool:
        return key in self._nodes

    def __repr__(self) -> str:
        return f"<Graph {self.name!r}: {len(self)} tasks>"
