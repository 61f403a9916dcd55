"""Policies and graphs refuse what cannot be, by name, before anything runs."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait._core.graph import refuse_cycles, safe_key
from plait._core.health import HealthMonitor
from plait._core.policy import PLAIN, Retry, Rules, policy, seconds, size
from plait._core.states import LAW, MOVES, STATUSES, WIDTH, Status
from plait.errors import GraphError, LimitError, UsageError

NOT_LIMITS = [0, -1, 1.5, float("nan"), float("inf"), True, False, "3", [], -0.5]
NOT_TIMES = [0, -1, float("nan"), float("inf"), float("-inf"), True, "", "5 parsecs", "-3s", "0s", [], 10**400]


@pytest.mark.parametrize("value", NOT_LIMITS, ids=repr)
def test_limits_that_are_none_are_refused_by_name(value: object) -> None:
    """F64."""
    with pytest.raises(LimitError, match="max_concurrency must be"):
        policy(PLAIN, max_concurrency=value)
    with pytest.raises(ValueError, match="max_concurrency must be"):
        Rules.of(max_concurrency=value)


@pytest.mark.parametrize("name", ["timeout", "deadline", "grace"])
@pytest.mark.parametrize("value", NOT_TIMES, ids=lambda value: repr(value)[:20])
def test_times_that_are_none_are_refused_by_name(name: str, value: object) -> None:
    """F64."""
    with pytest.raises(LimitError, match=f"{name} must be"):
        policy(PLAIN, **{name: value})


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": "٣s"},
        {"memory_limit": "٣MB"},
        {"rate_limit": "٣/1s"},
        {"rate_limit": "3/١s"},
        {"min_success": "٣%"},
        {"reduce": {"partial": "٣٠%"}},
    ],
    ids=lambda options: next(iter(options)),
)
def test_digits_are_0_to_9(options: dict[str, object]) -> None:
    """F64: others are refused, for hardly anybody reads them."""
    with pytest.raises(LimitError):
        policy(PLAIN, **options)
    with pytest.raises(LimitError):
        HealthMonitor(max_error_rate="٣٠%")


@pytest.mark.parametrize(
    ("text", "value"), [("5m", 300), ("1.5h", 5400), ("250ms", 0.25), ("2d", 172800), ("30s", 30), (0.5, 0.5)]
)
def test_times_are_seconds_or_text(text: object, value: float) -> None:
    assert seconds("timeout", text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [(1, 1), ("2KB", 2000), ("2 kib", 2048), ("1.5MB", 1_500_000), ("3GiB", 3 * 1024**3), ("1TB", 10**12)],
)
def test_sizes_are_bytes_or_text(text: object, value: int) -> None:
    """F30."""
    assert size("memory_limit", text) == value


@pytest.mark.parametrize(
    "never", [0, -1, 1.5, True, "2", "GB", "-1GB", "0.0001KB", "1e3MB", "1" * 30 + "GB", float("nan"), None, [1]]
)
def test_what_is_no_size_is_refused_by_name(never: object) -> None:
    with pytest.raises(LimitError, match="memory_limit must be"):
        size("memory_limit", never)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retires": 3}, "unknown option 'retires'. Did you mean 'retries'?"),
        ({"retries": -1}, "retries must be a whole number of at least 0, not -1"),
        ({"retries": 1, "retry": {"attempts": 2}}, "retries and retry say the same"),
        ({"retry": {"delay": 1}}, "retry needs attempts"),
        ({"retry": {"attempts": 2, "dealy": 1}}, "unknown option 'dealy' in retry. Did you mean 'delay'?"),
        ({"retry": {"attempts": 2, "backoff": 0.5}}, "retry.backoff must be at least 1"),
        ({"retry": {"attempts": 2, "on": "an error"}}, "retry.on is an exception class or its name"),
        ({"priority": "urgent"}, "priority must be high, normal, low or a whole number"),
        ({"join": "most"}, "join must be one of all_success, all_done"),
        ({"critical": 1}, "critical must be true or false"),
    ],
)
def test_options_that_cannot_be_are_refused_with_the_nearest_name(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        policy(PLAIN, **options)


@given(
    st.integers(1, 10**6),
    st.floats(0, 1, exclude_max=True),
    st.floats(0.001, 100),
    st.floats(1, 10),
    st.floats(0.001, 1000),
)
def test_a_pause_is_never_longer_than_its_cap_and_never_overflows(
    attempt: int, chance: float, delay: float, backoff: float, most: float
) -> None:
    """B15: full jitter under an exponential cap."""
    retry = Retry(attempts=10**9, delay=delay, backoff=backoff, max_delay=most)
    assert 0 <= retry.pause(attempt, chance) <= most
    assert Retry(attempts=2, delay=delay, backoff=backoff, max_delay=most, jitter=False).pause(1, chance) == min(
        delay, most
    )


@pytest.mark.parametrize(
    "key", ["", "../x", "a/b", "a\\b", "nul\0", "tab\tkey", "x" * 201, " padded ", ".", "..", 7, None, "esc\x1b[2J"]
)
def test_keys_that_cannot_name_a_task_are_refused(key: object) -> None:
    """S19."""
    with pytest.raises(GraphError):
        safe_key(key)


@given(st.lists(st.lists(st.integers(0, 14), max_size=3), min_size=15, max_size=15))
def test_cycles_are_found_exactly_where_graphlib_finds_them_and_shown_as_a_path(needs: list[list[int]]) -> None:
    """E12 F63."""
    keys = [f"k{at}" for at in range(15)]
    try:
        list(TopologicalSorter(dict(enumerate(needs))).static_order())
    except CycleError:
        with pytest.raises(GraphError) as caught:
            refuse_cycles(keys, needs)
        text = str(caught.value)
        if text.startswith("cycle: "):
            path = [int(key[1:]) for key in text.removeprefix("cycle: ").split(". Drop")[0].split(" -> ")]
            assert path[0] == path[-1]
            assert all(before in needs[after] for before, after in pairwise(path))
        else:
            assert "needs itself" in text
    else:
        refuse_cycles(keys, needs)


def test_a_cycle_of_a_hundred_thousand_is_found_and_shown_short() -> None:
    """F62."""
    size = 100_000
    with pytest.raises(GraphError, match=r"cycle: .*\(\d+ more\).*") as caught:
        refuse_cycles([f"k{at}" for at in range(size)], [((at - 1) % size,) for at in range(size)])
    assert len(str(caught.value)) < 300


def test_final_states_are_never_left_and_every_state_can_be_reached() -> None:
    """W14."""
    for old, status in enumerate(STATUSES):
        moves = [STATUSES[new] for new in range(12) if LAW[old * WIDTH + new]]
        assert bool(moves) != status.final
    assert {STATUSES[new] for moves in MOVES.values() for new in moves} == set(Status) - {Status.PENDING}


def test_the_drawing_in_the_docs_is_the_law() -> None:
    """The table of `docs/states.md` and the one in the code are the same."""
    page = (Path(__file__).parents[2] / "docs" / "states.md").read_text()
    drawn = {
        (old, new)
        for old, news in re.findall(r"^\| `(\w+)` \| (.+?) \|", page, re.M)
        for new in re.findall(r"`(\w+)`", news)
    }
    law = {(str(STATUSES[old]), str(STATUSES[new])) for old, news in MOVES.items() for new in news}
    assert drawn == law
