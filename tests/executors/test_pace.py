"""E8: how much a worker gets at once, whatever calls took."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plait.executors.pace import (
    AHEAD,
    LEAST_AHEAD,
    MOST_AHEAD,
    MOST_AHEAD_BYTES,
    PATIENT,
    TOGETHER_S,
    Pace,
)

TIMES = st.lists(st.floats(0, 10, allow_nan=False), min_size=1, max_size=30)


@given(TIMES, st.integers(0, 1_000_000), st.integers(0, 64), st.booleans())
def test_what_waits_at_a_worker_is_soon_done_and_leaves_the_others_theirs(
    times: list[float], unfinished: int, workers: int, patient: bool
) -> None:
    pace = Pace()
    pace.plan(unfinished, workers, patient)
    assert pace.ahead == 1  # nobody knows yet what calls take
    for seconds in times:
        pace.took(seconds)
    pace.plan(unfinished, workers, patient)
    longest = TOGETHER_S * (PATIENT if patient else 1)
    behind = pace.ahead - 1
    assert 0 <= behind <= MOST_AHEAD
    assert behind <= max(LEAST_AHEAD, unfinished / (2 * max(workers, 1)))
    assert behind * min(times) <= AHEAD * longest * 1.001
    assert 0 <= pace.together <= longest
    # What waits to be told takes no longer than a third of what waits to run: there is work while the engine catches up.
    assert pace.together <= behind * max(max(times), 1e-9) / AHEAD * 1.001
    assert pace.look_s >= TOGETHER_S


@given(st.lists(st.integers(10, 10_000_000), min_size=40, max_size=60), st.integers(0, MOST_AHEAD_BYTES))
def test_no_more_is_borrowed_than_there_is_room_for(sizes: list[int], room: int) -> None:
    pace = Pace()
    for size in sizes:
        pace.sent(size)
    assert 1 <= pace.at_once(MOST_AHEAD, room) <= 1 + room / (min(sizes) * 0.99)


def test_after_a_call_that_could_not_travel_few_are_borrowed_for_a_while() -> None:
    pace = Pace()
    assert pace.at_once(700, MOST_AHEAD_BYTES) == 700
    pace.stumbled()
    assert [pace.at_once(700, MOST_AHEAD_BYTES) for _ in range(4)] == [1, 2, 4, 8]
