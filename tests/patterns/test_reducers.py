"""Many results made one, with who contributed what: rows B11, B12 and B14."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import plait
from plait import LimitError, NotDecided, Status, UsageError


def outcome(key: str, value: Any = None, *, status: Status = Status.SUCCEEDED, ended_at: float = 1.0) -> plait.Outcome:
    return plait.Outcome(key, status, value, None, 1, (), 0.0, ended_at, 0.0, ended_at)


LISTS = st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=7)
VOTES = st.lists(st.sampled_from("abc"), min_size=1, max_size=9)


class TestMerging:
    @given(LISTS)
    def test_b12_union_has_each_item_once_in_first_order_and_says_who_had_it(self, lists: list[list[int]]) -> None:
        found = plait.union(lists)
        assert found.value == list(dict.fromkeys(item for each in lists for item in each))
        assert list(found.sources) == [tuple(n for n, each in enumerate(lists) if item in each) for item in found.value]
        assert found.counted == len(lists)

    @given(LISTS)
    def test_b12_intersection_has_what_all_have(self, lists: list[list[int]]) -> None:
        everywhere = set.intersection(*map(set, lists)) if lists else set()
        assert plait.intersection(lists).value == [n for n in plait.union(lists).value if n in everywhere]

    @given(LISTS, st.integers(1, 100))
    def test_b11_frequency_keeps_what_a_share_of_the_lists_has_each_counted_once(
        self, lists: list[list[int]], percent: int
    ) -> None:
        times = Counter(item for each in lists for item in set(each))
        wanted = {item for item, count in times.items() if count * 100 >= percent * len(lists)}
        for threshold in (percent / 100, f"{percent}%"):
            found = plait.frequency(lists, threshold)
            assert set(found.value) == wanted
            assert [times[item] for item in found.value] == sorted((times[item] for item in wanted), reverse=True)
        assert {share.value for share in found.shares} == set(times)

    def test_b11_the_threshold_is_0_4_and_reached_by_two_of_five(self) -> None:
        lists = [["b", "b", "b"], ["a"], ["a", "c"], [], []]
        assert plait.frequency(lists).value == ["a"]
        # 3 of 30 are 0.1, though 0.1 * 30 is more than 3 in binary.
        assert plait.frequency([["x"]] * 3 + [[]] * 27, 0.1).value == ["x"]

    def test_a_task_that_did_not_succeed_contributes_nothing_and_is_named(self) -> None:
        failed = outcome("b", ["lost"], status=Status.FAILED)
        found = plait.intersection([outcome("a", [1, 2]), failed, outcome("c", [2])])
        assert (found.value, found.sources, found.counted, found.missing) == ([2], (("a", "c"),), 2, ("b",))

    def test_items_are_the_same_by_what_they_hold_and_a_boolean_is_no_number(self) -> None:
        issue = {"file": "a.py", "lines": [1, 2], "tags": {"x"}}
        assert plait.union([[issue], [{"tags": {"x"}, "lines": [1, 2], "file": "a.py"}]]).value == [issue]
        assert plait.union([[1, True, 1.0, [1], [True]]]).value == [1, True, [1], [True]]
        assert len(plait.union([[math.nan], [float("nan")]]).value) == 1
        assert plait.union([["A"], ["a"]], key=str.lower).value == ["A"]

    def test_a_set_comes_in_one_order_in_every_process(self) -> None:
        assert plait.union([{"b", "c", "a"}]).value == ["a", "b", "c"]

    @pytest.mark.parametrize("wrong", ["text", {"a": 1}, 3, None])
    def test_what_is_no_list_is_refused_by_name(self, wrong: Any) -> None:
        with pytest.raises(UsageError, match=r"the result of 'x' is of type .*, and not a list"):
            plait.union({"x": wrong})

    @pytest.mark.parametrize("wrong", ["text", b"bytes", 5, None, outcome("alone", [1])])
    def test_what_is_not_many_results_is_refused(self, wrong: Any) -> None:
        for reducer in (plait.union, plait.majority, plait.first_success, plait.partial):
            with pytest.raises(UsageError, match="results are outcomes or values in a list"):
                reducer(wrong)

    def test_what_cannot_be_compared_asks_for_a_key(self) -> None:
        class Odd:
            __hash__ = None  # type: ignore[assignment]

        with pytest.raises(UsageError, match="pass `key`"):
            plait.union([[Odd()]])

    @pytest.mark.parametrize("wrong", [0, -0.1, 1.5, True, math.nan, math.inf, "0%", "101%", "40", "ten%", "", None])
    def test_a_threshold_that_is_no_share_is_refused(self, wrong: Any) -> None:
        with pytest.raises(LimitError, match="threshold is a share"):
            plait.frequency([[1]], wrong)


class TestVotes:
    @given(VOTES)
    def test_b12_majority_is_what_most_gave_and_a_tie_goes_by_its_rule(self, votes: list[str]) -> None:
        times = Counter(votes)
        winners = [each for each in dict.fromkeys(votes) if times[each] == max(times.values())]
        if len(winners) == 1:
            for ties in ("error", "first", "none"):
                found = plait.majority(votes, ties=ties)  # type: ignore[arg-type]
                assert (found.value, len(found.sources)) == (winners[0], times[winners[0]])
            return
        with pytest.raises(NotDecided, match=f"a tie of {len(winners)}"):
            plait.majority(votes)
        assert plait.majority(votes, ties="first").value == winners[0]
        none = plait.majority(votes, ties="none")
        assert (none.value, none.sources) == (None, ())
        assert sum(share.weight for share in none.shares) == len(votes)

    def test_a_tie_names_who_voted_for_what(self) -> None:
        votes = [outcome("a", "yes"), outcome("b", "no"), outcome("c", status=Status.TIMED_OUT)]
        with pytest.raises(NotDecided, match=r"a tie of 2 with 1 each: 'yes' \(a\), 'no' \(b\); 1 did not succeed: c"):
            plait.majority(votes)

    def test_none_is_a_vote_and_nobody_is_none(self) -> None:
        assert plait.majority([None, None, 1]).sources == (0, 1)
        with pytest.raises(NotDecided, match="nobody voted"):
            plait.majority([])

    def test_weights_are_summed_as_they_are_written(self) -> None:
        votes = {"a": "x", "b": "x", "c": "y"}
        assert plait.weighted(votes, {"a": 1, "b": 1, "c": 3}).value == "y"
        with pytest.raises(NotDecided, match="a tie"):
            plait.weighted(votes, [0.1, 0.2, 0.3])
        assert plait.weighted(votes, [0.1, 0.2, 0.3], ties="first").shares[0].weight == Fraction(3, 10)

    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            ([1], "none for 'b'"),
            ([1, 1, 1], "2 is no contributor"),
            ({"a": 1, "b": 1, "z": 1}, "'z' is no contributor: a, b"),
            ([1, -1], "that of 'b' is a number from 0 on, not -1"),
            ([1, math.nan], "not nan"),
            ([True, 1], "not True"),
        ],
    )
    def test_weights_that_cannot_be_ones_are_refused(self, weights: Any, message: str) -> None:
        with pytest.raises(LimitError, match=message):
            plait.weighted({"a": 1, "b": 2}, weights)

    def test_weights_of_nothing_decide_nothing(self) -> None:
        with pytest.raises(NotDecided, match="nobody voted"):
            plait.weighted([1, 2], [0, 0])

    def test_an_unknown_tie_rule_is_refused(self) -> None:
        with pytest.raises(UsageError, match="'error', 'first' or 'none'"):
            plait.majority([1], ties="last")  # type: ignore[arg-type]

    def test_a_quorum_is_won_by_who_had_it_first_in_time_not_by_most(self) -> None:
        votes = [("a", "y", 5.0), ("b", "x", 2.0), ("c", "y", 6.0), ("d", "x", 3.0), ("e", "y", 4.0)]
        found = plait.quorum([outcome(key, value, ended_at=at) for key, value, at in votes], 2)
        assert (found.value, found.sources) == ("x", ("b", "d"))

    def test_a_quorum_counts_those_that_failed_among_all(self) -> None:
        votes = [outcome("a", 1), outcome("b", 1), outcome("c", 1, status=Status.FAILED), outcome("d", 2)]
        assert plait.quorum(votes, "50%").value == 1
        with pytest.raises(NotDecided, match="no result has 3 votes of 4: the best has 2; 1 did not succeed: c"):
            plait.quorum(votes, "51%")
        with pytest.raises(LimitError, match="least is 5, and there are 4 results only"):
            plait.quorum(votes, 5)

    def test_first_success_is_the_first_in_time(self) -> None:
        late, soon = outcome("late", 1, ended_at=9.0), outcome("soon", 2, ended_at=3.0)
        failed = outcome("failed", 0, status=Status.FAILED, ended_at=1.0)
        found = plait.first_success([late, failed, soon])
        assert (found.value, found.sources, found.missing) == (2, ("soon",), ("failed",))
        with pytest.raises(NotDecided, match="nothing of 1 succeeded; 1 did not succeed: failed"):
            plait.first_success([failed])


class TestPartial:
    @given(st.lists(st.booleans(), min_size=1, max_size=9), st.integers(1, 9), st.integers(1, 100))
    def test_b14_enough_is_a_count_or_a_share_rounded_up(self, well: list[bool], least: int, percent: int) -> None:
        every = [outcome(f"t{n}", n, status=Status.SUCCEEDED if ok else Status.FAILED) for n, ok in enumerate(well)]
        good = sum(well)
        found = plait.partial(every, f"{percent}%")
        assert found.ok == (good * 100 >= percent * len(well))
        assert found.values == [n for n, ok in enumerate(well) if ok]
        assert [each.key for each in found.failed] == [f"t{n}" for n, ok in enumerate(well) if not ok]
        if least > len(well):
            with pytest.raises(LimitError, match="results only"):
                plait.partial(every, least)
        else:
            assert plait.partial(every, least).ok == (good >= least)

    def test_b14_too_few_say_how_many_of_how_many_and_which_failed(self) -> None:
        every = [outcome("a", 1), *(outcome(f"f{n}", status=Status.FAILED) for n in range(7))]
        found = plait.partial(every, "50%")
        assert found.reason == "1/8 succeeded, 4 required; 7 did not succeed: f0, f1, f2, f3, f4 and 2 more"
        with pytest.raises(NotDecided, match="1/8 succeeded"):
            found.unwrap()
        assert plait.partial(every).unwrap() == [1]

    @pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "0%", "half", "50", None])
    def test_what_is_no_count_or_share_is_refused(self, wrong: Any) -> None:
        with pytest.raises(LimitError, match="min_required"):
            plait.partial([outcome("a")], wrong)

    def test_b14_of_a_run(self) -> None:
        def work(number: int) -> int:
            if number % 2:
                raise ValueError(number)
            return number

        graph = plait.Graph("partial")
        for number in range(4):
            graph.add(f"n{number}", work, args=(number,))
        found = plait.partial(plait.run(graph, raise_on_failure=False), "50%")
        assert (found.ok, found.values, found.sources) == (True, [0, 2], ("n0", "n2"))
        assert [type(each.error) for each in found.failed] == [ValueError, ValueError]


def test_an_outcome_is_named_by_the_mapping_that_holds_it() -> None:
    assert plait.union({"mine": replace(outcome("its"), value=[1])}).sources == (("mine",),)
