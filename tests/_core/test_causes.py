"""Which failures another attempt follows, named by class, exit code, signal, status or name: row B15."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import plait
from plait._core.causes import causes, is_code, is_meant
from plait._core.policy import policy
from plait._engine.records import error_data, error_of, policy_data, policy_of
from plait.errors import CommandFailed, HttpError, LimitError, RecordedError, TaskTimedOut
from plait.testing import World, graph


class Odd(ConnectionError):
    pass


class Says(Exception):
    """Says of itself whether another attempt may help."""

    def __init__(self, retryable: object) -> None:
        self.retryable = retryable


class Raises(Exception):
    @property
    def retryable(self) -> bool:
        raise KeyError("retryable")


ERRORS: dict[str, BaseException] = {
    "exit 75": CommandFailed("x", exit_code=75),
    "exit 127": CommandFailed("x", exit_code=127, retryable=False),
    "killed": CommandFailed("x", signal="SIGKILL"),
    "killed below a shell": CommandFailed("x", exit_code=137),
    "503": HttpError("x", status=503),
    "404": HttpError("x", status=404, retryable=False),
    "no answer": HttpError("x"),
    "timed out": TaskTimedOut("x"),
    "odd": Odd("x"),
    "recorded": RecordedError("x", "some.where:Odd"),
    "value": ValueError("x"),
    "says yes": Says(True),
    "says no": Says(False),
    "says anything": Says("yes"),
    "cannot say": Raises(),
}


@pytest.mark.parametrize(
    ("cause", "meant"),
    [
        ("exit 75", {"exit 75"}),
        ("exit 64-78", {"exit 75"}),
        ("exit 76-136", {"exit 127"}),
        ("exit 1-255", {"exit 75", "exit 127", "killed below a shell"}),
        ("signal SIGKILL", {"killed", "killed below a shell"}),
        ("signal SIGTERM", set()),
        ("http 503", {"503"}),
        ("http 5xx", {"503"}),
        ("http 4xx", {"404"}),
        ("http 404-503", {"404", "503"}),
        ("timeout", {"timed out"}),
        ("retryable", {"exit 75", "killed", "killed below a shell", "503", "no answer", "timed out", "says yes"}),
        ("ConnectionError", {"odd"}),
        ("Odd", {"odd", "recorded"}),
        ("some.where:Odd", {"recorded"}),
        ("builtins:ValueError", {"value"}),
        ("CommandFailed", {"exit 75", "exit 127", "killed", "killed below a shell"}),
        (OSError, {"odd", "timed out"}),
    ],
)
def test_b15_a_cause_means_these_errors(cause: Any, meant: set[str]) -> None:
    assert {name for name, error in ERRORS.items() if is_meant(cause, error)} == meant


@pytest.mark.parametrize(
    "wrong",
    [
        "", "exit", "exit 0", "exit 256", "exit 9-3", "exit75", "exit -1", "http 200", "http 3xx", "http 99-404", "signal 9", "signal", "signal SIGFOO",
        "timeouts", "Retryable ", "not retryable", "value error", "ValueError\n", 75, None, True, int, ["exit 75", "nope"],
    ],
)  # fmt: skip
def test_what_is_no_cause_is_refused(wrong: Any) -> None:
    for option in ("on", "not_on"):
        with pytest.raises(LimitError, match=f"retry.{option} is an exception class or its name, 'exit 75'"):
            policy(retry={"attempts": 2, option: wrong})


@pytest.mark.parametrize("empty", [[], ()])
def test_an_empty_list_that_would_mean_nothing_is_refused(empty: Any) -> None:
    with pytest.raises(LimitError, match=r"retry\.on is empty"):
        policy(retry={"attempts": 2, "on": empty})


def test_b15_a_code_is_tried_again_even_where_the_error_says_it_cannot_end_differently() -> None:
    retry = policy(retry={"attempts": 3, "on": ["exit 127", "http 404", "CommandFailed"]}).retry
    assert {name for name, error in ERRORS.items() if retry.fits(error)} == {
        "exit 75",
        "exit 127",
        "killed",
        "killed below a shell",
        "404",
    }
    by_name = policy(retry={"attempts": 3, "on": "CommandFailed"}).retry
    assert not by_name.fits(ERRORS["exit 127"])


def test_b15_an_error_says_of_itself_whether_another_attempt_may_help() -> None:
    """It is no code: an error of plait's own that cannot end differently is left alone."""
    retry = policy(retry={"attempts": 3, "on": "retryable"}).retry
    assert retry.fits(ERRORS["says yes"])
    assert not retry.fits(ERRORS["value"])
    assert not retry.fits(ERRORS["exit 127"])
    wide = policy(retry={"attempts": 3, "on": Exception, "not_on": "retryable"}).retry
    assert wide.fits(ERRORS["value"])
    assert not wide.fits(ERRORS["says yes"])
    assert policy_of(policy_data(policy(retry={"attempts": 3, "on": "retryable"}))).retry == retry


def test_b15_retryable_is_no_code() -> None:
    """A code is tried again whatever the error says of itself; this is what the error says of itself."""
    assert [is_code(each) for each in ("exit 75", "timeout", "retryable", "Odd")] == [True, False, False, False]


def test_b15_after_a_crash_it_is_on_record_whether_another_attempt_follows() -> None:
    """W3: the error itself is gone by then, and says nothing any more."""
    world = World(graph({"a": {"retry": {"attempts": 2, "delay": 1, "on": "retryable"}}}, a=[]))
    world.scheduler.raised(0, 1, error_of(error_data(Says(True))), 0.0, 0.5, again=True)
    assert world.status("a") == "retrying"
    world.passes(1)
    world.fails("a", Says(True))
    assert world.status("a") == "failed"


def test_b15_what_is_not_wanted_wins() -> None:
    retry = policy(retry={"attempts": 3, "on": (Exception, "exit 1-255"), "not_on": ["exit 75", "Odd"]}).retry
    assert not retry.fits(ERRORS["exit 75"])
    assert not retry.fits(ERRORS["odd"])
    assert retry.fits(ERRORS["exit 127"])
    assert retry.fits(ERRORS["value"])


def test_causes_come_back_from_a_store_as_they_were() -> None:
    given = policy(retry={"attempts": 2, "on": [ValueError, "exit 75", "my.module:Odd"], "not_on": "http 4xx"})
    assert policy_of(policy_data(given)) == given
    assert causes("on", ["exit 75"]) == ("exit 75",)


@pytest.mark.realtime
def test_b15_the_same_in_a_file_and_in_python(tmp_path: Path) -> None:
    file = tmp_path / "again.yaml"
    file.write_text(
        "name: again\non_failure: continue\ntasks:\n"
        f"  wanted: {{run: echo x >> {tmp_path}/wanted; exit 75, retry: {{attempts: 3, delay: 0, on: [exit 64-78, timeout]}}}}\n"
        f"  other: {{run: echo x >> {tmp_path}/other; exit 1, retry: {{attempts: 3, delay: 0, on: exit 64-78}}}}\n"
        f"  not: {{run: echo x >> {tmp_path}/not; exit 75, retry: {{attempts: 3, delay: 0, not_on: exit 75}}}}\n"
    )
    graph = plait.Graph("again")
    for name, code, retry in (
        ("wanted", 75, {"on": ["exit 64-78", "timeout"]}),
        ("other", 1, {"on": "exit 64-78"}),
        ("not", 75, {"not_on": "exit 75"}),
    ):
        graph.add(
            name,
            plait.shell(f"echo x >> {tmp_path}/{name}; exit {code}"),
            retry={"attempts": 3, "delay": 0, **retry},
        )
    for what in (plait.load(file), graph):
        for name in ("wanted", "other", "not"):
            (tmp_path / name).unlink(missing_ok=True)
        result = plait.run(what, raise_on_failure=False)
        assert [result[name].attempts for name in ("wanted", "other", "not")] == [3, 1, 1]
        assert [len((tmp_path / name).read_text()) // 2 for name in ("wanted", "other", "not")] == [3, 1, 1]
        assert len(result["wanted"].history) == 3
