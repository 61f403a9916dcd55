"""Policies: frozen values that say how a task is to be run, and the checks that refuse impossible ones.

One vocabulary serves Python, YAML and FlowScript. A policy is made once per decorator, file entry or call and shared
by every task that has it.

Every program with plait waits for these definitions, and one NamedTuple costs it as much as the rest of the page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from plait._core.causes import Cause, causes, is_code, is_meant
from plait.errors import LimitError, PlaitError, UsageError

if TYPE_CHECKING:
    from plait._core.health import HealthMonitor, Monitors

# What makes a task other than plain.
LIMITED = 1  # takes more than a slot: a limit of a group around it, a pool, a key, a rate
TIMED = 2  # has a timeout or an idle_timeout: when its code began matters
CHILD = 4  # was grown by another task
CONTROL = 8  # holds no slot: it decides, grows or joins
HELD = 16  # a cancel or an earlier attempt is on record
WATCHED = 32  # not only the number of its needs decides (a join, a `when`, a need that did not succeed), or a deadline
ARMED = 64  # a timer for its timeout, or for its idle_timeout, was set
STREAM = 128  # its outcome is delivered and its row used again

ASKING = LIMITED | HELD
"""What a task has none of that starts as soon as it is its turn."""

UNUSUAL = CONTROL | HELD | WATCHED | STREAM
"""What a task has none of whose end is only counted: the rest is compared there and then."""


class Join(StrEnum):
    """When a task may start, seen from the final statuses of its needs."""

    ALL_SUCCESS = "all_success"
    ALL_DONE = "all_done"
    ONE_SUCCESS = "one_success"
    ONE_FAILED = "one_failed"
    NONE_FAILED = "none_failed"


class OnFailure(StrEnum):
    """What the first failure that counts does to the rest of its run or group."""

    FAIL_FAST = "fail_fast"  # cancels the rest
    FINISH = "finish"  # starts nothing new, lets running work end
    CONTINUE = "continue"  # only dependents become upstream_failed


class OnInterrupt(StrEnum):
    """What becomes of a task whose process died while it ran."""

    RERUN = "rerun"  # runs again
    FAIL = "fail"  # failed: its code is never started twice by a crash
    ASK = "ask"  # a person says: run again, taken as succeeded, or failed


class OnConflict(StrEnum):
    """What becomes of two tasks that may run at once, of which one writes what the other reads or writes."""

    REFUSE = "refuse"  # the graph is refused
    SERIALISE = "serialise"  # one waits for the other


CRASH_BUDGET = 10
"""This often a task may be running when its process dies; the next time it failed. Else one task could kill every resume."""

PRIORITIES: dict[str, int] = {"high": 3, "normal": 2, "low": 1}

Exceptions: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]


def seconds(name: str, value: object) -> float:
    """`value` as positive finite seconds: a number, or text such as `"30s"`, `"5m"`, `"1.5h"`, `"2d"`, `"250ms"`.

    Raises:
        LimitError: for anything else, zero included, naming `name`.
    """
    if isinstance(value, str):
        found = re.fullmatch(DURATION, value.strip())
        if found is None:
            raise LimitError(f'{name} must be seconds or text such as "30s" or "5m", not {value!r}')
        value = float(found[1]) * _UNITS[found[2]]
    return positive(name, value)


def size(name: str, value: object) -> int:
    """`value` as a whole number of bytes, at least 1: a number, or text such as `"512MB"`, `"2GB"`, `"64MiB"`.

    Raises:
        LimitError: for anything else, zero included, naming `name`.
    """
    if isinstance(value, str):
        found = re.fullmatch(SIZE, value.strip(), re.IGNORECASE)
        if found is None:
            raise LimitError(f'{name} must be bytes or text such as "512MB" or "2GiB", not {value!r}')
        value = int(float(found[1]) * _SIZES[found[2].lower()])
    return count(name, value)


SIZE = r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([kmgt]i?b)"
_SIZES = {
    f"{letter}{middle}b": base ** (power + 1)
    for power, letter in enumerate("kmgt")
    for middle, base in (("", 1000), ("i", 1024))
}

DURATION = r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def positive(name: str, value: object) -> float:
    """`value` as a positive finite number; refuses booleans, text, NaN and infinity by name."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LONGEST:
        raise LimitError(f"{name} must be a positive finite number, not {value!r}")
    return float(value)


LONGEST = 1e12
"""Seconds, some 30,000 years: with more, adding a small pause to a clock is lost in a float's rounding."""


def count(name: str, value: object, *, least: int = 1) -> int:
    """`value` as a whole number of at least `least`; refuses booleans, fractions, text, NaN and infinity by name."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise LimitError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value


def limit(name: str, value: object) -> int | None:
    """A limit: a whole number of at least 1, or None for none."""
    return None if value is None else count(name, value)


V = TypeVar("V", bound="Value")


class Value:
    """Equal to another by what is in it, by the names of `__slots__` in their order. Not to be changed once it is made."""

    __slots__: tuple[str, ...] = ()

    def fields(self) -> dict[str, Any]:
        """What is in it, by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    def row(self) -> tuple[Any, ...]:
        """What is in it, in order."""
        return tuple(getattr(self, name) for name in self.__slots__)

    def but(self: V, **changes: Any) -> V:
        """The same with these things changed."""
        return type(self)(**{**self.fields(), **changes})

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.row() == self.row()

    def __hash__(self) -> int:
        return hash(self.row())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.fields().items())})"


class Retry(Value):
    """How often, how soon and for which errors another attempt follows a failed one.

    `attempts` counts the first try. `delay`, `max_delay` are seconds. `on` and `not_on` are exception classes, or texts: `exit 75`,
    `exit 64-78`, `signal SIGKILL`, `http 503`, `http 5xx`, `timeout`, `retryable`, an exception's name. By default any `Exception` is tried again,
    never `SystemExit`, `KeyboardInterrupt` or errors that cannot end differently, unless `on` has their very code.
    """

    __slots__ = ("attempts", "delay", "backoff", "max_delay", "jitter", "on", "not_on")  # noqa: RUF023 - as they are given

    def __init__(
        self,
        attempts: int = 1,
        delay: float = 1.0,
        backoff: float = 2.0,
        max_delay: float = 60.0,
        jitter: bool = True,
        on: tuple[Cause, ...] = (Exception,),
        not_on: tuple[Cause, ...] = (),
    ) -> None:
        self.attempts = attempts
        self.delay = delay
        self.backoff = backoff
        self.max_delay = max_delay
        self.jitter = jitter
        self.on = on
        self.not_on = not_on

    def wanted(self, attempt: int, error: BaseException) -> bool:
        """Does another attempt follow attempt number `attempt` (1-based), which ended with `error`?"""
        return attempt < self.attempts and self.fits(error)

    def fits(self, error: BaseException) -> bool:
        """Is `error` one after which another attempt may follow?"""
        if any(is_meant(cause, error) for cause in self.not_on):
            return False
        meant = [cause for cause in self.on if is_meant(cause, error)]
        return any(map(is_code, meant)) or (bool(meant) and (not isinstance(error, PlaitError) or error.retryable))

    def pause(self, attempt: int, chance: float) -> float:
        """Seconds to wait after failed attempt number `attempt` (1-based), for `chance` in [0, 1): full jitter.

        `chance * min(max_delay, delay * backoff ** (attempt - 1))`, after Brooker, "Exponential Backoff And Jitter"
        (AWS Architecture Blog, 2015); without jitter the cap itself. With a `backoff` of 0 (FlowScript's `linear`) each is longer than the one
        before by `delay`. Asked only when another attempt will follow.
        """
        # 60 doublings pass any cap; without the bound a float overflows near attempt 1,100.
        times = self.backoff ** min(attempt - 1, 60) if self.backoff else attempt
        cap = min(self.max_delay, self.delay * times)
        return chance * cap if self.jitter else cap


def retry_after(error: BaseException) -> float:
    """Seconds that `error` itself asks to wait before another attempt, in its `retry_after`: what a server said. 0: nothing."""
    try:
        after = getattr(error, "retry_after", 0.0)
    except Exception:  # a property of a user's class
        return 0.0
    plain = isinstance(after, (int, float)) and not isinstance(after, bool)
    return float(after) if plain and 0 < after <= LONGEST else 0.0


NO_RETRY = Retry()


AGE = 60
"""A level of priority is worth so many seconds of waiting: a task of low priority goes before all of high priority that get ready
120 s after it, however many there are."""


class _Known(Value):
    """What a policy knows beside its fields, for every task that gets ready, starts or ends asks for it."""

    __slots__ = ("head_start", "look_s", "most_s")


class Policy(_Known):
    """How one task is to be run. Times are seconds. Every field has its entry in the docs' table."""

    __slots__ = (  # noqa: RUF023 - as they are given
        "priority",
        "retry",
        "timeout",
        "deadline",
        "grace",
        "join",
        "uninterruptible",
        "critical",
        "allow_failure",
        "on_failure",
        "max_concurrency",
        "on_interrupt",
        "memory_limit",
        "pool",
        "concurrency_key",
        "rate_limit",
        "cost",
        "min_success",
        "max_failures",
        "reduce",
        "budget",
        "lock",
        "reads",
        "writes",
        "on_conflict",
        "idle_timeout",
        "width",
    )

    def __init__(
        self,
        priority: int = 2,
        retry: Retry = NO_RETRY,
        timeout: float | None = None,  # one attempt, from the start of its code
        deadline: float | None = None,  # from ready to the end of the last attempt
        grace: float = 5.0,  # between the stop signal and force, or giving it up
        join: Join = Join.ALL_SUCCESS,
        uninterruptible: bool = False,
        critical: bool = False,
        allow_failure: bool = False,
        on_failure: OnFailure | None = None,  # of the tasks that this one grows; None: the enclosing scope's
        max_concurrency: int | None = None,  # of the tasks that this one grows, at any depth
        on_interrupt: OnInterrupt = OnInterrupt.RERUN,
        memory_limit: int | None = None,  # bytes of address space: see `check_memory`
        pool: tuple[tuple[str, int, int | None], ...] = (),  # name, weight, capacity where it is not declared elsewhere
        concurrency_key: tuple[str, int] | None = None,  # and how many may run at once
        rate_limit: tuple[tuple[str, int, float], ...] = (),  # name, units, interval
        cost: int = 1,  # units under each rate, for each attempt
        min_success: int | str | None = None,  # of the tasks that this one grows: a count, or a share such as "50%"
        max_failures: int | str | None = None,
        reduce: str | None = None,  # what their results come to: see `reducing`
        budget: tuple[tuple[str, float], ...] = (),  # unit and limit; of a task with all that it grows
        lock: tuple[tuple[str, str], ...] = (),  # name, and the folder where it is not the usual one
        reads: tuple[str, ...] = (),  # paths, as they were given
        writes: tuple[str, ...] = (),
        on_conflict: OnConflict | None = None,  # None: what the run says
        idle_timeout: float | None = None,  # one attempt, from its last sign of life
        width: int | None = None,  # of the tasks that this one grows itself, each of them with all that it grows
    ) -> None:
        self.priority = priority
        self.head_start = AGE * priority  # seconds
        self.retry = retry
        self.timeout = timeout
        self.idle_timeout = idle_timeout
        self.most_s = math.inf if timeout is None else timeout  # code that ends later than that came too late
        self.look_s = min(
            self.most_s, math.inf if idle_timeout is None else idle_timeout
        )  # its clocks are silent before
        self.deadline = deadline
        self.grace = grace
        self.join = join
        self.uninterruptible = uninterruptible
        self.critical = critical
        self.allow_failure = allow_failure
        self.on_failure = on_failure
        self.max_concurrency = max_concurrency
        self.on_interrupt = on_interrupt
        self.memory_limit = memory_limit
        self.pool = pool
        self.concurrency_key = concurrency_key
        self.rate_limit = rate_limit
        self.cost = cost
        self.min_success = min_success
        self.max_failures = max_failures
        self.reduce = reduce
        self.budget = budget
        self.lock = lock
        self.reads = reads
        self.writes = writes
        self.on_conflict = on_conflict
        self.width = width


class Pool(Value):
    """A named limit: tasks that name it in `pool` take at most `capacity` units of it at once, by weight.

    With `health`, a `HealthMonitor`, starts are paused while too many attempts in it fail: for a pool that is declared (`Graph(pools=[...])`).
    """

    __slots__ = ("name", "capacity", "health")  # noqa: RUF023 - as they are given

    def __init__(self, name: str, capacity: int, health: HealthMonitor | None = None) -> None:
        self.name = named("a pool's name", name)
        self.capacity = count(f"the capacity of pool {name!r}", capacity)
        self.health = None if health is None else _monitor(f"the health of pool {name!r}", health)


class Rate(Value):
    """A named rate, `"100/1m"`: tasks that name it in `rate_limit` use at most so many units in any such interval, by `cost`."""

    __slots__ = ("name", "rate")

    def __init__(self, name: str, rate: str) -> None:
        self.name = named("a rate's name", name)
        self.rate = rate
        rate_of(f"rate {name!r}", rate)


def named(what: str, name: object) -> str:
    """`name`, if people can read it: 1 to 200 printable characters."""
    if not isinstance(name, str) or not name.strip() or len(name) > 200 or not name.isprintable():
        raise LimitError(f"{what} must be printable text of 1 to 200 characters, not {name!r}")
    return name


def file_path(what: str, value: object) -> str:
    """`value`, text or an `os.PathLike` of it, if a file can have that path."""
    as_path = getattr(type(value), "__fspath__", None)
    path = value if as_path is None else as_path(value)
    try:
        if isinstance(path, str) and path and "\0" not in path and path.encode(errors="surrogateescape"):
            return path
    except UnicodeEncodeError:
        pass  # half a character
    raise LimitError(f"{what} must be the path of a file or folder, not {value!r}")


def rate_of(name: str, value: object) -> tuple[int, float]:
    """Units and interval, in seconds, of text such as `"100/1m"`, `"5/s"`."""
    found = re.fullmatch(RATE, value.strip()) if isinstance(value, str) else None
    if found is None:
        raise LimitError(f'{name} must be text such as "100/1m" or "5/s", not {value!r}')
    return count(f"the units of {name}", int(found[1])), positive(
        f"the interval of {name}", float(found[2] or 1) * _UNITS[found[3]]
    )


RATE = r"([0-9]{1,15})\s*/\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)?\s*(ms|s|m|h|d)"


def _pools(name: str, value: object) -> tuple[tuple[str, int, int | None], ...]:
    """`"db"`, a Pool, a list of these, or a mapping from them to weights."""
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        value = [(each, 1) for each in (value if isinstance(value, (list, tuple)) else (value,))]
    found: dict[str, tuple[str, int, int | None]] = {}
    for each, weight in value.items() if isinstance(value, Mapping) else value:
        if not isinstance(each, (str, Pool)):
            raise LimitError(f"{name} must be a name, a plait.Pool or a mapping from these to weights, not {each!r}")
        key = each.name if isinstance(each, Pool) else named("a pool's name", each)
        if key in found:
            raise LimitError(f"{name} names {key!r} twice")
        if isinstance(each, Pool) and each.health is not None:
            raise UsageError(
                f"pool {key!r} has a health monitor: declare it where tasks only name it, as in Graph(pools=[...]), or watch it with "
                f"run(..., health={{{key!r}: plait.HealthMonitor(...)}})"
            )
        found[key] = (
            key,
            count(f"the weight in pool {key!r}", weight),
            each.capacity if isinstance(each, Pool) else None,
        )
    return tuple(found[key] for key in sorted(found))


def pools_of(name: str, value: object) -> tuple[tuple[str, int], ...]:
    """Declared pools: a mapping from names to capacities, or a list of Pools."""
    return tuple((each.name, each.capacity) for each in declared_pools(name, value))


def declared_pools(name: str, value: object) -> list[Pool]:
    """The same with their health: a file declares it as `{capacity: 4, health: {...}}`."""
    if isinstance(value, Mapping):
        made = [_declared(key, given) for key, given in value.items()]
    elif isinstance(value, (list, tuple)) and all(isinstance(each, Pool) for each in value):
        made = list(value)
    else:
        raise LimitError(f'{name} must be a mapping such as {{"db": 2}}, not {value!r}')
    if len({each.name for each in made}) < len(made):
        raise LimitError(f"{name} declare one name twice")
    return made


def _declared(key: str, given: object) -> Pool:
    if not isinstance(given, Mapping):
        return Pool(key, given)  # type: ignore[arg-type]  # it is checked there
    unknown = [each for each in given if each not in ("capacity", "health")]
    if unknown or "capacity" not in given:
        raise LimitError(f'pool {key!r} must be a capacity or a mapping such as {{"capacity": 4, "health": {{...}}}}')
    return Pool(key, given["capacity"], given.get("health"))


def _monitor(name: str, value: object) -> HealthMonitor:
    from plait._core.health import monitor_of  # few pools are watched

    return monitor_of(name, value)


def _key(name: str, value: object) -> tuple[str, int] | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        unknown = [each for each in value if each not in ("key", "n")]
        if unknown or "key" not in value:
            raise LimitError(f'{name} must be text or a mapping such as {{"key": "user-7", "n": 2}}, not {value!r}')
        return named(f"{name}.key", value["key"]), count(f"{name}.n", value.get("n", 1))
    return named(name, value), 1


def _rates(name: str, value: object) -> tuple[tuple[str, int, float], ...]:
    if value is None:
        return ()
    several = value if isinstance(value, (list, tuple)) else (value,)
    found = [
        (each.name, *rate_of(name, each.rate)) if isinstance(each, Rate) else ("", *rate_of(name, each))
        for each in several
    ]
    if len({(key, interval) for key, _, interval in found}) < len(found):
        raise LimitError(f"{name} has two rates for one interval: {value!r}")
    return tuple(sorted(found, key=in_turn))


def in_turn(rate: tuple[str, int, float]) -> tuple[str, float]:
    """By name, then by interval: all tasks ask in one order, so that no two wait for each other."""
    return rate[0], rate[2]


class Lockable:
    """What `lock` takes beside a name: a `plait.Lock`, whose module is not asked for here."""

    name: str
    timeout: float | None

    @property
    def home(self) -> str:
        """Its folder, where that is not the usual one."""
        raise NotImplementedError


def _locks(name: str, value: object) -> tuple[tuple[str, str], ...]:
    """The name of a lock, a `plait.Lock`, or a list of these."""
    if value is None:
        return ()
    found = []
    for each in value if isinstance(value, (list, tuple)) else (value,):
        if not isinstance(each, Lockable):
            found.append((named("a lock's name", each), ""))
        elif each.timeout is not None:
            raise LimitError(f"{name} takes a lock without a timeout: a task has a deadline for that")
        else:
            found.append((each.name, each.home))
    if len(set(found)) < len(found):
        raise LimitError(f"{name} names a lock twice: it would wait for itself")
    return tuple(sorted(found))


def paths_of(name: str, value: object) -> tuple[str, ...]:
    """A path or a list of paths, text or `os.PathLike`, each once."""
    if value is None:
        return ()
    several = value if isinstance(value, (list, tuple, set, frozenset)) else (value,)
    return tuple(dict.fromkeys(_path(name, each) for each in several))


_NO_TEXT = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters and halves of characters: a line's end that came along with a name, above all."""

_PATTERN = re.compile("[*?]")
"""Files are often named `[id].tsx`, and never so."""


def _path(name: str, value: object) -> str:
    as_path = getattr(type(value), "__fspath__", None)
    path = value if as_path is None else as_path(value)
    if not isinstance(path, str) or not path.strip():
        raise LimitError(f"{name} must be a path or a list of paths, not {value!r}")
    if _NO_TEXT.search(path):
        raise LimitError(
            f"{name}: {path!r} has the end of a line or something else in it that cannot be printed: leave that out"
        )
    if path.startswith("~"):
        raise LimitError(
            f"{name}: {path!r} is not expanded: give the path of the folder itself, or {f'./{path}'!r} for what has that name"
        )
    if _PATTERN.search(path):
        raise LimitError(
            f"{name}: {path!r} is no path, and patterns are not read: name the files, or the folder that they are in"
        )
    return path


CLEANUP_S = 300.0
"""A cleanup without a `timeout` or `deadline` of its own has this deadline: it goes on where its run has been told to end."""


def of_cleanup(made: Policy, *, joined: bool) -> Policy:
    """The policy of a cleanup: it runs however its needs ended, unless a `join` was given (`joined`), and never without a limit of time."""
    bounded = made.timeout is not None or made.deadline is not None
    return made.but(join=made.join if joined else Join.ALL_DONE, deadline=made.deadline if bounded else CLEANUP_S)


def odd_of(policy: Policy) -> int:
    """What makes a task with this policy other than plain."""
    odd = TIMED if policy.timeout is not None or policy.idle_timeout is not None else 0
    if policy.join is not Join.ALL_SUCCESS or policy.deadline is not None:
        odd |= WATCHED
    if policy.pool or policy.rate_limit or policy.concurrency_key is not None or policy.lock:
        odd |= LIMITED
    return odd


PLAIN = Policy()

TAKES = ("pool", "concurrency_key", "rate_limit", "cost", "lock", "reads", "writes", "on_conflict")
"""Options that say what a task takes beside its slot, where it waits for others."""

OF_CODE = (
    "priority", "retries", "retry", "idle_timeout", "grace", "uninterruptible", "on_interrupt", "memory_limit", *TAKES,
)  # fmt: skip
"""Options of what runs something: a group and a map, which run nothing and hold nothing themselves, refuse them."""


def policy(base: Policy = PLAIN, /, **options: Any) -> Policy:
    """`base` with `options` in the public vocabulary (`retries=2`, `timeout="5m"`, `priority="high"`, ...) applied.

    Raises:
        LimitError: for a value that cannot be one, by option name.
        UsageError: for an option that does not exist, with the nearest name.
    """
    if "retries" in options and "retry" in options:
        raise UsageError("retries and retry say the same: give one of them")
    changes: dict[str, Any] = {}
    for name, value in options.items():
        check = _OPTIONS.get(name)
        if check is None:
            raise UsageError(f"unknown option {name!r}{nearest(name, _OPTIONS)}")
        changes["retry" if name == "retries" else name] = check(name, value)
    return base.but(**changes) if changes else base


def option_names() -> frozenset[str]:
    """The names that `policy` takes."""
    return frozenset(_OPTIONS)


LONGEST_GUESS, MOST_GUESSES = 60, 300
"""Characters and names up to which `nearest` looks for a name that is alike."""


def nearest(name: str, known: object, *, quoted: bool = True) -> str:
    """`'. Did you mean 'x'?'` where some of `known` is like `name`, else nothing."""
    names = [str(each) for each in known if len(str(each)) <= LONGEST_GUESS]  # type: ignore[attr-defined]
    if len(name) > LONGEST_GUESS or len(names) > MOST_GUESSES:
        return ""  # looking costs more than the hint is worth
    from difflib import get_close_matches  # only on the way to an error

    found = get_close_matches(name, names, n=1)
    return f". Did you mean {found[0]!r}?" if found else ""


def flag(name: str, value: object) -> bool:
    """`value`, true or false; refuses anything else by name."""
    if not isinstance(value, bool):
        raise LimitError(f"{name} must be true or false, not {value!r}")
    return value


def _priority(name: str, value: object) -> int:
    if isinstance(value, str) and value in PRIORITIES:
        return PRIORITIES[value]
    if isinstance(value, bool) or not isinstance(value, int):
        raise LimitError(f"{name} must be high, normal, low or a whole number, not {value!r}")
    return value


def _choice(
    kind: type[Join] | type[OnFailure] | type[OnInterrupt] | type[OnConflict],
) -> Callable[[str, object], StrEnum]:
    def check(name: str, value: object) -> StrEnum:
        try:
            return kind(value)  # type: ignore[arg-type]
        except ValueError:
            raise LimitError(f"{name} must be one of {', '.join(kind)}, not {value!r}") from None

    return check


def _maybe_seconds(name: str, value: object) -> float | None:
    return None if value is None else seconds(name, value)


def _quota(name: str, value: object) -> int | str | None:
    """A count, or a share of all as text; at least one success is wanted, and no failure may be allowed."""
    if value is None:
        return None
    if not isinstance(value, str):
        return count(name, value, least=1 if name == "min_success" else 0)
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%", value.strip())
    share = float(found[1]) if found is not None else -1.0
    if not 0 <= share <= 100 or (name == "min_success" and not share):
        raise LimitError(f'{name} must be a count or a share such as "50%", not {value!r}')
    return value.strip()


def _reducing(name: str, value: object) -> str | None:
    from plait._core.reducing import reducing  # few groups reduce

    return reducing(name, value)


def budget_of(name: str, value: object) -> tuple[tuple[str, float], ...]:
    """Limits by unit: `{"usd": 5, "tokens": 100_000, "seconds": "10m"}`."""
    if value is None or value == ():
        return ()
    if not isinstance(value, Mapping) or not value:
        raise LimitError(f'{name} must be a mapping such as {{"usd": 5, "seconds": "10m"}}, not {value!r}')
    found = {}
    for unit, limit in value.items():
        named(f"a unit of {name}", unit)
        found[unit] = (seconds if unit == "seconds" else positive)(f"{name}.{unit}", limit)
    return tuple(sorted(found.items()))


def quota_of(value: int | str, total: int, *, up: bool) -> int:
    """A count, or a share of `total`, rounded `up` or down: exact in the decimals that were written."""
    if isinstance(value, int):
        return value
    from fractions import Fraction  # few groups have a share

    exact = Fraction(value.rstrip("%").strip()) * total / 100
    return -(-exact.numerator // exact.denominator) if up else exact.numerator // exact.denominator


def check_quota(policy: Policy, total: int) -> None:
    """Nothing, if so many tasks can come to what a group wants of them.

    Raises:
        LimitError: for a `min_success` above their number.
    """
    if isinstance(policy.min_success, int) and policy.min_success > total:
        tasks = "is 1 task" if total == 1 else f"are {total} tasks"
        raise LimitError(f"min_success is {policy.min_success}, and there {tasks} only")


def _maybe_size(name: str, value: object) -> int | None:
    return None if value is None else size(name, value)


def _retries(name: str, value: object) -> Retry:
    return Retry(attempts=1 + count(name, value, least=0))


def _pause(name: str, value: object) -> float:
    # Zero is a wish here (try again at once), unlike everywhere else.
    return 0.0 if value == 0 and not isinstance(value, (bool, str)) else seconds(name, value)


def _factor(name: str, value: object) -> float:
    factor = positive(name, value)
    if factor < 1:
        raise LimitError(f"{name} must be at least 1, not {value!r}")
    return factor


RETRY_OPTIONS: dict[str, Callable[[str, object], Any]] = {
    "attempts": count,
    "delay": _pause,
    "backoff": _factor,
    "max_delay": _pause,
    "jitter": flag,
    "on": causes,
    "not_on": causes,
}


def _retry(name: str, value: object) -> Retry:
    if isinstance(value, Retry):
        value = value.fields()
    if not isinstance(value, Mapping):
        raise LimitError(f"{name} must be a mapping such as {{'attempts': 3, 'delay': 1}}, not {value!r}")
    settings: dict[str, Any] = {}
    for key, setting in value.items():
        check = RETRY_OPTIONS.get(key)
        if check is None:
            raise UsageError(f"unknown option {key!r} in {name}{nearest(str(key), RETRY_OPTIONS)}")
        settings[key] = check(f"{name}.{key}", setting)
    if "attempts" not in settings:
        raise UsageError(f"{name} needs attempts: the number of tries, the first one included")
    return Retry(**settings)


_OPTIONS: dict[str, Callable[[str, object], Any]] = {
    "priority": _priority,
    "retries": _retries,
    "retry": _retry,
    "timeout": _maybe_seconds,
    "idle_timeout": _maybe_seconds,
    "deadline": _maybe_seconds,
    "grace": seconds,
    "join": _choice(Join),
    "uninterruptible": flag,
    "critical": flag,
    "allow_failure": flag,
    "on_failure": _choice(OnFailure),
    "on_interrupt": _choice(OnInterrupt),
    "max_concurrency": limit,
    "memory_limit": _maybe_size,
    "pool": _pools,
    "concurrency_key": _key,
    "rate_limit": _rates,
    "cost": count,
    "min_success": _quota,
    "max_failures": _quota,
    "reduce": _reducing,
    "budget": budget_of,
    "lock": _locks,
    "reads": paths_of,
    "writes": paths_of,
    "on_conflict": _choice(OnConflict),
}

OF_BLOCKS = ("width",)
"""Fields of a policy that no option sets: a block of a file sets them for what it grows."""

assert set(_OPTIONS) - {"retries"} == set(Policy.__slots__) - set(OF_BLOCKS)


class Rules(Value):
    """What holds for a whole run: slots (None: no limit), what a failure does, the deadline in seconds from its start."""

    __slots__ = (  # noqa: RUF023 - as they are given
        "max_concurrency",
        "on_failure",
        "deadline",
        "grace",
        "crash_budget",
        "max_tasks_per_worker",
        "pools",
        "budget",
        "sharing",
        "on_conflict",
        "health",
    )

    def __init__(
        self,
        max_concurrency: int | None = None,
        on_failure: OnFailure = OnFailure.CONTINUE,
        deadline: float | None = None,
        grace: float = 5.0,
        crash_budget: int = CRASH_BUDGET,
        max_tasks_per_worker: int | None = None,
        pools: tuple[tuple[str, int], ...] = (),  # name and capacity
        budget: tuple[tuple[str, float], ...] = (),  # unit and limit
        sharing: tuple[str, ...]
        | None = None,  # with other runs: Pools and Rates, and pools of these names; `*`: all. None: nothing
        on_conflict: OnConflict = OnConflict.REFUSE,
        health: Monitors = (),  # by pool; None: the run
    ) -> None:
        self.max_concurrency = max_concurrency
        self.on_failure = on_failure
        self.deadline = deadline
        self.grace = grace
        self.crash_budget = crash_budget
        self.max_tasks_per_worker = max_tasks_per_worker
        self.pools = pools
        self.budget = budget
        self.sharing = sharing
        self.on_conflict = on_conflict
        self.health = health

    @classmethod
    def of(
        cls,
        *,
        max_concurrency: object = None,
        on_failure: object = OnFailure.CONTINUE,
        deadline: object = None,
        grace: object = 5.0,
        crash_budget: object = CRASH_BUDGET,
        max_tasks_per_worker: object = None,
        pools: object = (),
        budget: object = None,
        on_conflict: object = OnConflict.REFUSE,
        health: object = None,
    ) -> Rules:
        """Rules from a caller's options, checked.

        Raises:
            LimitError: for a value that cannot be one, by option name.
        """
        declared = declared_pools("pools", pools)
        watched: Monitors = tuple((each.name, each.health) for each in declared if each.health is not None)
        if health is not None:
            from plait._core.health import monitors_of  # few runs are watched

            watched = tuple({**dict(watched), **dict(monitors_of("health", health))}.items())
        return cls(
            max_concurrency=limit("max_concurrency", max_concurrency),
            on_failure=_choice(OnFailure)("on_failure", on_failure),  # type: ignore[arg-type]
            deadline=_maybe_seconds("deadline", deadline),
            grace=seconds("grace", grace),
            crash_budget=count("crash_budget", crash_budget, least=0),
            max_tasks_per_worker=limit("max_tasks_per_worker", max_tasks_per_worker),
            pools=tuple((each.name, each.capacity) for each in declared),
            budget=budget_of("budget", budget),
            on_conflict=_choice(OnConflict)("on_conflict", on_conflict),  # type: ignore[arg-type]
            health=watched,
        )
