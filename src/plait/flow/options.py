"""The options of tasks: policies, what they take, and what is worked out for each."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from plait._core.limits import check_uses, check_wants, owned
from plait._core.policy import OF_CODE, PLAIN, Policy, Rules, check_quota, of_cleanup, policy
from plait._engine.work import check_votes
from plait.errors import LimitError, UsageError
from plait.expressions import Budget
from plait.flow.keys import GROUPS, MOST_ITEMS, OF_CODE_ALONE, OF_FLOW, OF_GROUPS, POLICIES, WHOLE
from plait.flow.model import (
    Body,
    Group,
    NodeCall,
    Parallel,
    Subflow,
    Wants,
)  # fmt: skip
from plait.flow.templates import Template, holds_template
from plait.flow.texts import Sight, Texts, is_template, scalars
from plait.flow.tree import Mapping as Map
from plait.flow.tree import Sequence, Tree, plain


class _OfItem:
    """The scope of an item of a foreach, before anything runs."""

    def __init__(self, item: Any, index: int, budget: Budget) -> None:
        self._known = {"item": item, "index": index}
        self.budget = budget

    def look_up(self, name: str, steps: tuple[str | int, ...]) -> tuple[Any, int]:
        return self._known[name], 0


def _is_of_items(template: Template) -> bool:
    """Do items alone decide it?"""
    return template.is_pure and {each.root for each in template.references} <= {"item", "index"}


def _keys_of(items: object, item_key: Template | None) -> list[str] | None:
    """What the items of a foreach will be called; None where that is not known before they are there."""
    if not isinstance(items, list):
        return None
    if item_key is None:
        return [f"[{at}]" for at in range(len(items))]
    if holds_template(items) or not _is_of_items(item_key):
        return None
    try:
        budget = Budget()
        return [f"[{item_key.text(_OfItem(item, at, budget))}]" for at, item in enumerate(items)]
    except UsageError:
        return None  # that is told when they grow


def usual_timeout(name: str) -> dict[str, Any]:
    """How long a node of that type may take where the file says nothing of it."""
    from plait.nodes import node_type  # few files have nodes

    found = node_type(name, load=False)
    field = None if found is None else found.fields.get("timeout")
    return {} if field is None else {"timeout": field.default}


def is_worked_out(name: str, tree: Tree) -> bool:
    """Is it an option whose value is worked out for each task?"""
    if name == "cost":
        return is_template(tree)
    if name in ("reads", "writes"):
        return any(map(is_template, tree.items if isinstance(tree, Sequence) else (tree,)))
    inner = tree.items.get("key") if isinstance(tree, Map) else tree
    return name == "concurrency_key" and is_template(inner)


class Options(Texts):
    """Reads options."""

    def rules(self, tree: Map) -> dict[str, Any]:
        rules: dict[str, Any] = {}
        for name in ("max_concurrency", "on_failure", "deadline", "pools", "budget", "on_conflict", "health"):
            if name in tree.items:
                given = plain(tree.items[name])
                if name == "pools" and isinstance(given, list):
                    self.bad(tree.items[name].at, "type", "pools must be a mapping such as {db: 2}, not a list")
                    continue
                try:
                    checked = Rules.of(**{name: given})
                except (LimitError, UsageError) as error:
                    self.bad(tree.items[name].at, "value", str(error))
                    if name == "pools" and isinstance(given, dict):
                        self._pools = dict.fromkeys(
                            given, sys.maxsize
                        )  # declared, if badly: who uses them is not wrong
                else:
                    rules[name] = given
                    self._pools = self._pools or dict(checked.pools)
        return rules

    def defaults(self, tree: Tree) -> None:
        for name, each in self.entries(tree, "defaults"):
            if name not in POLICIES:
                self.refuse_key(name, self.key_place(tree, name), POLICIES, "defaults")
            elif {"retries", "retry"} <= {name, *self._defaults}:
                self.bad(self.key_place(tree, name), "value", "retries and retry say the same: give one of them")
            elif is_worked_out(name, each) or self.option(name, each) is not None:
                self._defaults[name] = each

    def cleaning(self, tree: Map, own: Policy, whole: Policy | None) -> tuple[Policy, Policy | None]:
        """The policies of a task that cleans up. One with its own times for each item needs no other limit for all of them."""
        joined = "join" in tree.items
        if whole is None:
            return of_cleanup(own, joined=joined), None
        bounded = own.timeout is not None or own.deadline is not None
        made = of_cleanup(whole, joined=joined)
        return own, made.but(deadline=whole.deadline) if bounded else made

    def counted(self, tree: Map, policy: Policy, what: object, key: str, item_key: Template | None) -> None:
        """What a group wants of its tasks must be possible, where their number stands in the file."""
        named = (
            {**what.tasks}
            if isinstance(what, Group)
            else {f"[{name}]": each for name, each in what.branches.items()}
            if isinstance(what, Parallel)
            else None
        )
        size = len(named) if named is not None else len(what) if isinstance(what, list) else None
        try:
            if size is not None:
                check_quota(policy, size)
        except UsageError as error:
            self.bad(tree.items["min_success"].at, "value", str(error))
        try:
            keys = list(named) if named is not None else _keys_of(what, item_key)
            if keys is not None:
                check_votes(policy, key, keys)
        except UsageError as error:
            self.bad(tree.items["reduce"].at, "value", str(error))

    def costed(self, tree: Map, own: Policy, wants: Wants | None, foreach: object) -> None:
        """What each item costs must be possible, where the items stand in the file and nothing else decides it."""
        if wants is None or wants.cost is None or not isinstance(foreach, list) or holds_template(foreach):
            return
        if not _is_of_items(wants.cost):
            return
        listed = tree.items["foreach"]
        assert isinstance(listed, Sequence)
        budget = Budget()
        for index, (item, each) in enumerate(zip(foreach, listed.items, strict=True)):
            try:
                check_wants(own, None, 1, wants.units(_OfItem(item, index, budget)))
            except UsageError as error:
                if budget.is_over:
                    return  # each has one of its own when it runs
                self.bad(each.at, "value", f"of this item: {error}")

    def wants(self, items: Mapping[str, Tree], around: Sight, needs: list[str]) -> Wants | None:
        """The templates of a key, a cost and paths, which are worked out for each task."""
        n = 1
        given = items.get("concurrency_key")
        if isinstance(given, Map) and is_template(given.items.get("key")):
            try:
                n = policy(PLAIN, concurrency_key={**plain(given), "key": "k"}).concurrency_key[1]  # type: ignore[index]
            except UsageError as error:
                self.bad(given.at, "value", str(error))
            given = given.items["key"]
        key = self.template(given, around, needs) if given is not None and is_template(given) else None
        cost = items.get("cost")
        units = self.template(cost, around, needs) if cost is not None and is_template(cost) else None
        reads, writes = (self.paths(name, items.get(name), around, needs) for name in ("reads", "writes"))
        nothing = key is None and units is None and reads is None and writes is None
        return None if nothing else Wants(key, n, units, reads, writes)

    def paths(self, name: str, given: Tree | None, around: Sight, needs: list[str]) -> tuple[Template, ...] | None:
        """The templates of paths; None where there are none to be filled in."""
        if given is None or not is_worked_out(name, given):
            return None
        found = [
            self.template(each, around, needs) for each in (given.items if isinstance(given, Sequence) else [given])
        ]
        return tuple(each for each in found if each is not None)

    def policies(self, tree: Map, body: str, looped: bool, found: Body | None) -> tuple[Policy, Policy | None]:
        """The policy of each item (or of the task), and of the whole where there are items."""
        own: dict[str, Any] = {"timeout": 30} if body == "http" else {}
        if isinstance(found, NodeCall):
            own |= usual_timeout(found.type)
        whole: dict[str, Any] = {}
        if isinstance(found, Subflow):
            own |= {name: value for name, value in found.flow.rules.items() if name in OF_FLOW}
        if body not in (*GROUPS, "ask"):
            for name, each in self._defaults.items():
                same = {name, "retry" if name == "retries" else "retries"}
                if not same & tree.items.keys() and not is_worked_out(name, each):
                    own[name] = plain(each)
        for name in (*POLICIES, *OF_GROUPS):
            if name not in tree.items or (body == "ask" and name in ("timeout", *OF_CODE_ALONE)):
                continue
            if name in OF_CODE and body in GROUPS:
                instead = "give it to the tasks in it" + (", or `max_concurrency`" if name == "pool" else "")
                self.bad(tree.keys[name], "misplaced", f"{name} belongs to what runs, not to a group: {instead}")
                continue
            if is_worked_out(name, tree.items[name]):
                continue
            if name in OF_GROUPS and not looped and body not in GROUPS:
                self.bad(
                    tree.keys[name], "misplaced", f"{name} belongs to a run, a group or a foreach, not to a single task"
                )
                continue
            if self.option(name, tree.items[name]) is not None:
                (whole if looped and name in WHOLE else own)[name] = plain(tree.items[name])
        if own.get("memory_limit") is not None and not self.can_be_limited(tree, body):
            says = "memory_limit is for commands and for calls with `executor: process`"
            if "memory_limit" in tree.items:
                self.bad(tree.keys["memory_limit"], "misplaced", says)
            else:
                self.bad(
                    tree.at, "misplaced", f"{says}: against that of `defaults` give this task `memory_limit: null`"
                )
        width = self.width(tree, body, looped)
        try:
            made = policy(PLAIN, **own)
            if not looped:
                return (made if width is None else made.but(width=width)), None
            return made, policy(PLAIN, **whole).but(width=width)
        except UsageError as error:
            self.bad(tree.at, "value", str(error))
            return PLAIN, None

    def width(self, tree: Map, body: str, looped: bool) -> int | None:
        """At most so many items or branches at once."""
        if "width" not in tree.items:
            return None
        given = plain(tree.items["width"])
        if not looped and body != "parallel":
            self.bad(tree.keys["width"], "misplaced", "width is of the items of a foreach or a matrix, or of branches")
        elif isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= MOST_ITEMS:
            self.bad(
                tree.items["width"].at,
                "value",
                f"width must be a whole number of 1 to {MOST_ITEMS:,}, not {given!r:.60}",
            )
        else:
            return given
        return None

    def limited(self, own: Policy, tree: Map, key: str) -> Policy:
        """The policy with its rates the task's own, where nothing is wrong with what it takes beside its slot."""
        own = owned(own, f"task {key!r} of {self._path.name}")
        for names, part in ((("pool",), PLAIN.but(pool=own.pool)), (("cost", "rate_limit"), own.but(pool=()))):
            try:
                check_uses((part,), self._pools)
            except UsageError as error:
                given = [where[name] for where in (tree.items, self._defaults) for name in names if name in where]
                self.bad(given[0].at, "value", str(error))
        return own

    def can_be_limited(self, tree: Map, body: str) -> bool:
        """Has the task a process of its own?"""
        return body == "run" or ("executor" in tree.items and plain(tree.items["executor"]) == "process")

    def option(self, name: str, tree: Tree) -> Policy | None:
        """The policy with this one option; None, and a problem, where it cannot be."""
        try:
            made = policy(PLAIN, **{name: plain(tree)})
        except UsageError as error:
            self.bad(tree.at, "value", str(error))
            return None
        filled_in = [each for each in scalars(tree) if is_template(each)]
        for each in filled_in:
            self.bad(
                each.at,
                "value",
                f"{name} is taken as it stands, without a template: concurrency_key, cost, reads and writes are worked out for each task",
            )
        return None if filled_in else made
