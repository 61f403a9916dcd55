"""Why a task stands where it stands: every reason to wait and every way to end, said by what decides."""

from __future__ import annotations

from typing import Any

import pytest

from plait._core.why import Why, asked
from plait.errors import RetryAfter, UsageError
from plait.testing.world import World, graph


def why(world: World, key: str) -> Why:
    return asked(world.scheduler, key, world.now, lambda at: 1000 + at, "r1")


def said(world: World, key: str) -> tuple[str, str]:
    found = why(world, key)
    return found.reason, found.text


def world(options: dict[str, dict[str, Any]], slots: int | None = None, **given: Any) -> World:
    return World(graph(options, **{key: [] for key in options}), slots=slots, **given)


class TestWaiting:
    def test_for_needs(self) -> None:
        """X7."""
        made = World(graph(a=[], b=[], c=["a", "b"]), slots=1)
        made.passes(3)
        found = why(made, "c")
        assert found.text == "c waits for a (running), b (ready), for 3 s now"
        assert (found.reason, found.causes, found.since, found.until) == ("need", ("a", "b"), 1000, None)
        made.returns("a")
        assert why(made, "c").causes == ("b",)

    def test_for_a_slot_that_others_hold(self) -> None:
        """X7 E4."""
        made = world({key: {} for key in "abc"}, slots=2)
        made.passes(7)
        assert said(made, "c") == ("slot", "c waits for one of 2 slots: a, b held, for 7 s now")
        assert why(made, "c").detail == {"held_by": ["a", "b"], "slots": 2}

    def test_for_a_pool_with_who_holds_it_and_who_is_before(self) -> None:
        """X7 X4."""
        made = world({key: {"pool": {"db": 2}} for key in "abcd"}, pools={"db": 3})
        made.passes(65)
        assert said(made, "b") == (
            "pool",
            "b waits for 2 units of pool 'db' (2 of 3 taken: a held), for 1 min 5 s now",
        )
        assert said(made, "d")[1].endswith("(2 of 3 taken: a held), behind 2 more, for 1 min 5 s now")
        assert why(made, "d").detail["before"] == 2

    def test_for_a_key_and_a_group(self) -> None:
        """X7."""
        made = world({"a": {"concurrency_key": "k"}, "b": {"concurrency_key": "k"}, "g": {"max_concurrency": 1}})
        assert said(made, "b") == ("key", "b waits for key 'k' (1 of 1 taken: a held), for 0 s now")
        made.grows("g", graph(x=[], y=[]))
        assert said(made, "g/y") == ("group", "g/y waits for group 'g' (1 of 1 taken: g/x held), for 0 s now")
        assert said(made, "g") == ("children", "g waits for its children: g/x (running), g/y (ready), for 0 s now")

    def test_for_a_rate_and_until_when(self) -> None:
        """X7 B8."""
        made = world({key: {"rate_limit": "1/90s"} for key in "abc"})
        made.begins("a")
        made.passes(20)
        found = why(made, "b")
        assert found.text == "b waits for its rate (1 in 90 s), for 20 s now; 1 min 10 s to go"
        assert (found.since, found.until) == (1000, 1090)
        assert why(made, "c").until is None
        assert "behind 1 more" in why(made, "c").text

    def test_for_a_server_that_asked_for_a_pause(self) -> None:
        """X7 X5."""
        made = world({key: {"rate_limit": "9/1s"} for key in "ab"}, slots=1)
        made.begins("a")
        made.fails("a", RetryAfter(30))
        assert said(made, "a") == (
            "retry",
            "a waits for its next attempt after to be tried again in 30 s, for 0 s now; 30 s to go",
        )
        assert said(made, "b")[1].startswith("b waits for its rate (9 in 1 s), whose server asked for a pause")
        assert why(made, "b").until == 1030

    def test_for_what_is_kept_for_another(self) -> None:
        """X7 X4."""
        both = {"pool": {"left": 1, "right": 1}}
        options: dict[str, Any] = {"a": {"pool": "left"}, "b": both, "r": {"pool": "right"}, "l": {"pool": "left"}}
        made = world(options, pools={"left": 1, "right": 1})
        made.passes(10)
        made.returns("a")
        assert "(0 of 1 taken: kept for b)" in why(made, "l").text

    def test_for_a_person_a_pause_and_a_stop(self) -> None:
        """X7."""
        made = world({"a": {}, "b": {}, "c": {"grace": 9}}, slots=1)
        made.asks("a")
        assert said(made, "a") == ("input", "a waits for an answer to 'a': what now?, for 0 s now")
        assert said(made, "b") == ("running", "b runs, for 0 s now")
        made.scheduler.paused(made.now)
        assert said(made, "c") == ("paused", "c waits, for the run is paused, for 0 s now")


class TestEnds:
    def test_the_first_cause_stands_before_its_victims(self) -> None:
        """X7: through needs and through groups, to the task that failed by itself."""
        made = World(graph(g=[], after=["g"], last=["after"]))
        made.grows("g", graph(x=[], y=["x"]))
        made.fails("g/x", ValueError("boom"))
        assert said(made, "g/x") == ("failed", "g/x failed: ValueError: boom")
        assert said(made, "g/y") == ("upstream", "g/y did not run, for g/x failed: ValueError: boom")
        assert said(made, "g") == ("failed", "g failed, for g/x did: ValueError: boom")
        found = why(made, "last")
        assert found.text == "last did not run, for g/x failed: ValueError: boom (by way of g, after)"
        assert found.causes == ("g/x", "g", "after")

    def test_attempts_are_counted_and_a_timeout_says_its_length(self) -> None:
        """X7 B15."""
        made = world({"a": {"retry": {"attempts": 2, "delay": 1, "jitter": False}}, "b": {"timeout": 2, "grace": 1}})
        made.fails("a")
        made.passes(1)
        made.fails("a", ValueError("again"))
        assert said(made, "a") == ("failed", "a failed: ValueError: again, after 2 attempts")
        made.begins("b")
        made.passes(2)
        assert said(made, "b")[0] == "running"
        assert "was told to stop (timeout) and has not ended yet" in said(made, "b")[1]
        made.returns("b", stopped=True)
        assert said(made, "b") == ("timed_out", "b timed out: task 'b' passed its timeout of 2 s")

    def test_what_a_run_that_ended_left_behind(self) -> None:
        """X7 E5: a critical failure, a cancel, a deadline."""
        made = world({"a": {"critical": True}, "b": {}, "c": {}}, slots=2)
        made.fails("a")
        made.returns("b", stopped=True)
        assert said(made, "b") == ("stopped", "b was cancelled: the run ended, for a failed: ValueError: boom")
        assert said(made, "c") == ("stopped", "c was not started: the run ended, for a failed: ValueError: boom")
        made = world({"a": {}, "b": {}}, slots=1)
        made.halts()
        assert said(made, "b") == ("stopped", "b was not started: the run was cancelled")
        made = world({"a": {}, "b": {}}, slots=1, deadline=5)
        made.passes(5)
        assert said(made, "b") == ("stopped", "b was not started: the run passed its deadline of 5 s")

    def test_what_a_group_that_ended_left_behind(self) -> None:
        """X7."""
        made = World(graph({"g": {"on_failure": "fail_fast"}, "other": {}}, g=[], other=[]), slots=3)
        made.grows("g", graph(x=[], y=[], z=["y"]))
        made.fails("g/x")
        made.returns("g/y", stopped=True)
        assert said(made, "g/y") == (
            "stopped",
            "g/y was cancelled: its group g ended, for g/x failed: ValueError: boom",
        )
        assert said(made, "g/z")[1].startswith("g/z was not started: its group g ended, for g/x failed")

    def test_skipped_by_a_condition_by_a_need_and_by_a_join(self) -> None:
        """X7."""
        batch = graph({"j": {"join": "one_failed"}}, w=[], n=["w"], m=["n"], ok=[], j=["ok"])
        batch.conditional = [0]
        made = World(batch)
        assert said(made, "w") == ("condition", "w waits until its `when` is worked out")
        made.decides("w", False)
        assert said(made, "w") == ("skipped", "w was skipped: its `when` is false")
        assert said(made, "m") == ("skipped", "m was skipped, for w was")
        made.returns("ok")
        assert said(made, "j") == ("skipped", "j was skipped: its `join` cannot be met any more")

    def test_succeeded(self) -> None:
        made = world({"a": {"retries": 1}, "b": {}})
        made.returns("b")
        assert said(made, "b") == ("succeeded", "b succeeded")
        made.fails("a")
        made.passes(60)
        made.returns("a")
        found = why(made, "a")
        assert found.text == "a succeeded with attempt 2"
        assert found.as_dict() == {
            "task": "a", "status": "succeeded", "reason": "succeeded", "text": "a succeeded with attempt 2",
            "since": 1060, "until": None, "causes": [],
        }  # fmt: skip

    def test_a_key_that_is_not_there_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(UsageError, match=r"run r1 has no task 'fetchh'\. Did you mean 'fetch'"):
            asked(world({"fetch": {}}).scheduler, "fetchh", 0, float, "r1")
