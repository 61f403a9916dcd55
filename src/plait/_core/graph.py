"""What a run is made of: a batch of tasks in columns, checked once, before anything starts.

A plain list is a batch without needs. A task is known by its place in the batch; inside a run by its row, a small
integer. Keys are text for people and files; no decision is ever taken from one.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from plait._core.policy import PLAIN, Policy
from plait.errors import GraphError

LONGEST_KEY = 200

REPAIR = "on_error"
"""The key, below that of the task which failed, of what is to make its failure good."""


class Kept:
    """What an earlier generation of the run made of a task: its value, times on the run's clock, how many attempts.

    One that was skipped has no value, and never started.
    """

    __slots__ = ("attempts", "ended_at", "skipped", "started_at", "value")

    def __init__(self, value: Any, started_at: float, ended_at: float, attempts: int, skipped: bool = False) -> None:
        self.value = value
        self.started_at = started_at
        self.ended_at = ended_at
        self.attempts = attempts
        self.skipped = skipped


class Batch:
    """Tasks that enter a run together, in columns of one length.

    `needs[i]` are places in the batch (the same place may stand there twice). `policy` serves all tasks unless
    `policies` has one for each. `controls` hold no slot: they grow others and join them. `conditional` tasks have a
    `when` to be decided once their needs are met. `kept` are tasks, by place, that enter the run final, for an earlier
    generation of it finished them. `ranks` are the seconds that are expected from the start of each task to the end of the
    longest chain behind it: of ready tasks of one priority the highest starts first. `files` are what tasks read and write, by place,
    in paths that mean one thing each (see `conflicts`). `cleanups` begin once everything else of their run or group is over, however it
    ended; `repairs` have an `on_error`. `is_repair`: the batch is such an `on_error`, a single task. `calls` and `keys` are opaque
    here: the engine and the reports use them. `called` is what each is called in figures, where that is on record (see `Work.called`).
    """

    __slots__ = (
        "_kinds", "called", "calls", "cleanups", "conditional", "controls", "files", "is_repair", "kept", "keys", "needs", "policies",
        "policy", "ranks", "repairs", "size",
    )  # fmt: skip

    def __init__(
        self,
        size: int,
        *,
        calls: Sequence[Any],
        keys: Sequence[str],
        needs: Sequence[Sequence[int]] | None = None,
        policy: Policy = PLAIN,
        policies: Sequence[Policy] | None = None,
        controls: Collection[int] = (),
        conditional: Collection[int] = (),
        kept: Mapping[int, Kept] | None = None,
        ranks: Sequence[float] | None = None,
        called: Sequence[str] | str | None = None,
        files: Mapping[int, tuple[tuple[str, ...], tuple[str, ...]]] | None = None,
        cleanups: Collection[int] = (),
        repairs: Collection[int] = (),
        is_repair: bool = False,
    ) -> None:
        self.size = size
        self.called = called
        self.calls = calls
        self.keys = keys
        self.needs = needs
        self.policy = policy
        self.policies = policies
        self.controls = controls
        self.conditional = conditional
        self.kept = kept or {}
        self.ranks = ranks
        self.files = files or {}
        self.cleanups = cleanups
        self.repairs = repairs
        self.is_repair = is_repair
        self._kinds: dict[int, Policy] | None = None

    @property
    def kinds(self) -> dict[int, Policy]:
        """The policies that are there, few however many tasks, by identity: a hash would be that of all their fields."""
        if self._kinds is None:
            policies = self.policies if self.policies is not None else (self.policy,)
            self._kinds = {id(each): each for each in policies}
        return self._kinds


class Numbered(Sequence[str]):
    """The keys of a flat list, `name[0]`, `name[1]`, ..., made when read."""

    __slots__ = ("_name", "_size")

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [f"{self._name}[{i}]" for i in range(*at.indices(self._size))]
        if at < 0:
            at += self._size
        if not 0 <= at < self._size:
            raise IndexError(at)
        return f"{self._name}[{at}]"


def safe_key(key: object) -> str:
    """`key`, if it can name a task: 1 to 200 printable characters, no path in it, no space at its ends.

    Raises:
        GraphError: otherwise, saying what is wrong with it.
    """
    if not isinstance(key, str):
        raise GraphError(f"a task's key must be text, not {key!r}")
    wrong = _unsafe(key)
    if wrong:
        shown = key if len(key) <= 60 else key[:57] + "..."
        raise GraphError(f"key {shown!r} {wrong}")
    return key


def _has_controls(key: str) -> bool:
    import unicodedata  # few keys need it: what is printable holds none

    return any(unicodedata.category(each)[0] == "C" for each in key)


def _unsafe(key: str) -> str:
    if not key:
        return "is empty"
    if len(key) > LONGEST_KEY:
        return f"has {len(key)} characters; at most {LONGEST_KEY} are allowed"
    if not key.isprintable() and _has_controls(key):
        return "holds a control character"
    if "/" in key or "\\" in key or key in (".", ".."):
        return "looks like a path; `/` and `\\` are kept for the tasks that a task grows"
    return "starts or ends with a space" if key != key.strip() else ""


def refuse_cycles(keys: Sequence[str], needs: Sequence[Sequence[int]]) -> None:
    """Nothing, if tasks can be put in an order.

    Raises:
        GraphError: for a task that needs itself, or a cycle, printed as a path in the direction of work.
    """
    path = find_cycle(needs)
    if path:
        raise GraphError(cycle_text([keys[at] for at in path]))


def cycle_text(path: Sequence[str]) -> str:
    """What is said of a cycle: its keys, each the need of the next."""
    if len(path) == 1:
        return f"task {path[0]!r} needs itself. Drop that need."
    shown = [*path, path[0]]
    if len(shown) > 12:
        shown = [*shown[:6], f"({len(shown) - 11} more)", *shown[-5:]]
    return f"cycle: {' -> '.join(shown)}. Drop one of these needs."


def find_cycle(needs: Sequence[Sequence[int]]) -> list[int]:
    """A cycle, each place the need of the next; empty if there is none. Linear in tasks and needs, without recursion."""
    if all(not row or max(row) < at for at, row in enumerate(needs)):
        return []  # already in an order: what building a graph from its nodes gives
    left = [len(row) for row in needs]
    users: list[list[int]] = [[] for _ in needs]
    for at, row in enumerate(needs):
        for need in row:
            users[need].append(at)
    ready = [at for at, number in enumerate(left) if not number]
    seen = 0
    while ready:
        seen += 1
        for user in users[ready.pop()]:
            left[user] -= 1
            if not left[user]:
                ready.append(user)
    if seen == len(needs):
        return []
    # Every task that is left has a need that is left: walking back along them must come round.
    at = next(i for i, number in enumerate(left) if number)
    place: dict[int, int] = {}
    path: list[int] = []
    while at not in place:
        place[at] = len(path)
        path.append(at)
        at = next(need for need in needs[at] if left[need])
    return path[place[at] :][::-1]
