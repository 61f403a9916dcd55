"""Runs whose processes are killed at random moments: a sample of `kills.py`, and that it sees what is planted into them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kills
import ledger
import plait
import planted_stores
from ledger import Line

PROGRAM = Path(__file__).with_name("kills.py")


def killing(folder: Path, *words: object) -> tuple[int, str]:
    """The exit status of `kills.py`, and what it prints. It forks, so it is a process of its own."""
    command = [sys.executable, str(PROGRAM), "--folder", str(folder), *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=110)
    return done.returncode, done.stdout


@pytest.mark.realtime
def test_nothing_recorded_is_lost_or_run_again_and_nothing_overlaps_whoever_is_killed_when(tmp_path: Path) -> None:
    """F01 F02 F04 F06 F13, W1 W2 W3 W4 W6 W7: `python tests/kills.py --kills 1000` for more of the same."""
    status, said = killing(tmp_path, "--kills", 25, "--seed", 1, "--processes", 2)
    print(said)
    assert status == 0, said
    figures = r"^2\d kills over \d+ graphs of \d+ tasks: 0 lost, 0 run again, 0 overlap, 0 otherwise wrong; "
    assert re.search(figures, said, re.M), said


@pytest.mark.realtime
@pytest.mark.parametrize(
    ("bug", "seen"),
    [
        (
            "record before run",
            "no end|error",
        ),  # W2 W4; where a kill leaves a journal that no replay makes sense of it is an error
        ("late batch", "lost"),  # W3 W6
        ("no lock", "overlap|run again|error"),  # W7: its writes are still refused
        ("no epoch", "overlap"),  # W7
        ("orphans", "overlap"),  # F06
        ("forgotten", "lost|run again|error|value|status"),  # W3 W4
    ],
)
def test_a_planted_bug_is_seen(tmp_path: Path, bug: str, seen: str) -> None:
    """W2 W3 W4 W6 W7 F06: each with a build that breaks it."""
    plan = ("--kills", 150, "--seed", 1, "--rivals", 0.5, "--bug", bug)
    # What a bug does first depends on who was how fast: the graphs go on until it has done what it is known for.
    status, said = killing(tmp_path, *plan, "--until", *seen.split("|"))
    assert status == 1, said
    assert re.search(rf"^  ({seen}): ", said, re.M), said


def test_every_bug_is_tried() -> None:
    (marked,) = [mark for mark in test_a_planted_bug_is_seen.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    assert {bug for bug, _ in marked.args[1]} == set(planted_stores.BUGS)


def written(*lines: str) -> list[Line]:
    """A ledger by hand, a second from line to line."""
    return [Line(what, tuple(words), float(at)) for at, (what, *words) in enumerate(map(str.split, lines))]


def kinds(*lines: str, silent: tuple[str, ...] = ()) -> list[str]:
    return [fault.kind for fault in ledger.faults(written(*lines), silent)]


class TestLedger:
    """What a ledger must not say."""

    def test_a_run_with_an_attempt_cut_short_is_in_order(self) -> None:
        lines = (
            "START a 1 x 11 11", "END a 1 x", "TOLD a succeeded", "START b 1 y 11 11", "KILLED 11 -9",
            "LOOK", "KEPT a succeeded", "LOOKED", "START b 2 z 12 12", "END b 2 z", "TOLD b succeeded", "LEFT 12 0",
            "LOOK", "KEPT a succeeded", "KEPT b succeeded", "LOOKED",
        )  # fmt: skip
        assert kinds(*lines) == []

    def test_what_was_reported_or_recorded_is_not_run_again(self) -> None:
        once = ("START a 1 x 11 11", "END a 1 x")
        assert kinds(*once, "TOLD a succeeded", "START a 2 y 11 11") == ["run again"]
        assert kinds(*once, "KILLED 11 -9", "LOOK", "KEPT a succeeded", "LOOKED", "START a 2 y 12 12") == ["run again"]
        assert kinds(*once, "KILLED 11 -9", "LOOK", "LOOKED", "START a 2 y 12 12") == []  # nobody was told

    def test_what_was_reported_or_recorded_stays(self) -> None:
        once = ("START a 1 x 11 11", "END a 1 x")
        assert kinds(*once, "TOLD a succeeded", "KILLED 11 -9", "LOOK", "LOOKED") == ["lost"]
        assert kinds(*once, "LOOK", "KEPT a succeeded", "LOOKED", "LOOK", "LOOKED") == ["lost"]
        assert kinds(*once, "TOLD a succeeded", "TOLD a succeeded") == ["twice"]
        assert kinds("TWICE a") == ["twice"]

    def test_a_success_has_an_end_unless_its_task_has_no_code(self) -> None:
        assert kinds("START a 1 x 11 11", "TOLD a succeeded") == ["no end"]
        assert kinds("LOOK", "KEPT a succeeded", "LOOKED") == ["no end"]
        assert kinds("TOLD a succeeded", silent=("a",)) == []
        assert kinds("TOLD a failed") == []

    def test_attempts_do_not_overlap_and_their_numbers_do_not_go_back(self) -> None:
        assert kinds("START a 1 x 11 11", "START a 2 y 11 11") == ["overlap"]  # in one process
        assert kinds("START a 1 x 11 11", "START a 2 y 12 12") == ["overlap"]  # the other one lives
        assert kinds("START a 1 x 21 11", "KILLED 11 -9", "START a 2 y 22 12") == []  # a lock says whether 21 does
        assert kinds("KILLED 11 -9", "START a 1 x 21 11", "START a 2 y 22 12") == []
        assert kinds("OVERLAP a 2 y 22 12") == ["overlap"]
        assert kinds("START a 2 x 11 11", "FAILED a 2 x", "START a 1 y 11 11") == ["number"]


def test_a_seed_makes_one_graph_and_many_make_all_kinds() -> None:
    plans = [kills.planned(seed) for seed in range(60)]
    again = kills.planned(7)
    assert (again.statuses, again.value) == (plans[7].statuses, plans[7].value)
    assert {status for plan in plans for status in plan.statuses.values()} == {
        "succeeded",
        "failed",
        "skipped",
        "upstream_failed",
    }
    assert {plan.status for plan in plans} == {"succeeded", "failed"}
    sizes = [len(plan.graph) for plan in plans]
    assert 5 <= min(sizes) < 10
    assert 35 < max(sizes) <= 40
    paths = " ".join(key for plan in plans for key in plan.statuses)
    for kind in (r"t\d+\[\d\]", r"t\d+/c\d", r"t\d+/c\d/c\d", r"t\d+\[\d\]/c\d"):
        assert re.search(kind, paths), kind


def test_what_a_graph_is_expected_to_come_to_is_what_it_comes_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Undisturbed and without a store."""
    monkeypatch.setenv("OWNER", "0")
    for seed in (3, 4):
        monkeypatch.setenv("LEDGER", str(tmp_path / f"ledger{seed}"))
        plan = kills.planned(seed)
        result: Any = plait.run(plan.graph, raise_on_failure=False, max_concurrency=8)
        assert {key: str(outcome.status) for key, outcome in result.items()} == plan.statuses
        assert (str(result.status), result.value) == (plan.status, plan.value)


@plait.task
async def each(item: int) -> int:
    return item


@plait.task
async def nothing() -> list[int]:
    return []


@plait.task
def late(items: Any, flag: str) -> int:
    if not Path(flag).exists():
        Path(flag).touch()
        raise OSError("the first time")
    return len(items)


def test_found_a_map_over_nothing_stands_in_no_way(tmp_path: Path) -> None:
    """Seed 7: a run in which a map had nothing to go over could not be taken up again."""
    graph = plait.Graph("empty")
    empty = graph.add("empty", each.map(nothing.bind()))
    graph.add("bare", each.map([]))
    graph.add("full", each.map([1, 2]))
    graph.add("late", late, args=(empty, str(tmp_path / "flag")))
    store = tmp_path / "plait.db"
    result = plait.run(graph, store=store, run_id="r", raise_on_failure=False)
    assert str(result.status) == "failed"
    again = plait.retry("r", graph, store=store).wait(30)
    assert again.value == {"bare": [], "full": [1, 2], "late": 0}
    assert plait.resume("r", graph, store=store).wait(0).value == {"bare": [], "full": [1, 2], "late": 0}
