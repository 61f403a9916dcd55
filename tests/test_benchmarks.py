"""The benchmarks: their tables say what the measurements say, and each row of ours runs and is checked."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(autouse=True)
def _modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def call(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "run.py"), *words], capture_output=True, text=True, timeout=110
    )


def canned() -> tuple[Any, list[dict[str, Any]]]:
    """A group, and measurements of it: medians 2 and 1 s for base and plait, one peer missing, one failed at its second go."""
    groups = import_module("groups")
    rows = [groups.Row(name, "limits", "none") for name in ("base", "plait", "second", "absent", "broken")]
    group = groups.Group(
        "work 1k", 1000, rows, "base", "second", (("plait", "second"), ("absent", "base")), goal="fast", family="work"
    )
    walls = {"base": (2.0, 1.0, 9.0), "plait": (1.0, 1.0, 1.5), "second": (4.0,)}
    found = [
        {"group": "work 1k", "row": name, "n": 1000, "round": at, "wall": wall, "cpu": wall / 2, "bytes": 7000}
        for name, measured in walls.items()
        for at, wall in enumerate(measured)
    ]
    found.append({"group": "work 1k", "row": "absent", "n": 1000, "round": 0, "missing": "no package 'absent'"})
    found.append({"group": "work 1k", "row": "broken", "n": 10, "round": 0, "wall": 1.0, "cpu": 1.0, "bytes": 0})
    found.append({"group": "work 1k", "row": "broken", "n": 10, "round": 1, "failed": "a | b"})
    return group, [json.loads(json.dumps(each)) for each in found]


def test_rates_are_measured_by_what_the_bodies_see() -> None:
    """B8: the most starts in any half-open window; and ours, in real time."""
    rates = import_module("rates")
    assert rates.worst_window([0.0, 0.5, 0.9, 1.0, 1.5], 1.0) == 3
    seen = rates.begun(rates.with_plait, [(at, 2 if at == 4 else 1) for at in range(9)], 3, 0.2)
    assert [number for _, number in seen] == list(range(9))
    light = [at for at, number in seen if number != 4]
    assert rates.worst_window(light, 0.2) <= 3
    found = {
        "plait": {"worst": 3, "took": 1.0, "out_of_order": 0, "overtaken": 0, "cost_us": 5.0},
        "x": {"missing": "no"},
    }
    assert rates.rows(found)[2:] == ["| plait | 3 | 1.0 | 0 | 0 | 5.0 |", "| x | no | | | | |"]


@pytest.mark.realtime
def test_answers_are_measured_by_when_the_task_goes_on() -> None:
    """X3: by a call, by a command, and by hand; an order of figures is for the real sizes."""
    answers = import_module("answers")
    found = {name: answers.measure(name, 8) for name in answers.ROWS}
    for on, told in found.values():
        assert len(on) == len(told) >= 2
        assert all(0 < each < 60 for each in [*on, *told])
    assert answers.rows({"x": ([0.001] * 19 + [0.5], [0.002] * 20)})[2:] == ["| x | 20 | 1.0 | 500.0 | 2.0 | 2.0 |"]


def test_figures_are_medians_per_task_and_ratios_are_to_both_named_rows() -> None:
    table = import_module("table")
    group, found = canned()
    lines = table.lines(group, found)
    assert [line.name for line in lines] == ["base", "plait", "second", "absent", "broken"]
    assert lines[0][2:6] == (3, 0.002, 0.001, 7)
    shown = [table.cells(group, line, lines) for line in lines]
    assert shown[1] == ["plait", "1,000", "1,000", "500.0", "0.50", "0.50", "0.25", "0.25", "7", "3"]
    assert len(table.header(group)) == len(shown[1])
    assert table.pairs(group, lines) == ["'plait' to 'second': wall 0.25 (-3000.00 µs), CPU 0.25"]


def test_a_peer_that_is_missing_and_a_row_that_failed_say_why_and_are_nobodys_base() -> None:
    table = import_module("table")
    group, found = canned()
    lines = table.lines(group, found)
    assert table.cells(group, lines[3], lines) == ["absent", "1,000", "not installed: no package 'absent'"]
    assert table.cells(group, lines[4], lines) == ["broken", "10", "failed: a | b"]
    group = group._replace(base="absent", second="")
    assert table.cells(group, lines[1], lines)[4:6] == ["–", "–"]


def test_the_whole_of_a_row_is_shown_in_milliseconds_with_what_is_above_the_base() -> None:
    table = import_module("table")
    group, found = canned()
    group = group._replace(unit="ms", per="", second="", memory=False)
    lines = table.lines(group, found)
    assert table.cells(group, lines[1], lines) == ["plait", "1,000", "1,000", "500.0", "0.50", "0.50", "-1,000.00", "3"]
    assert len(table.header(group)) == 8


def test_a_wait_has_no_cpu_time() -> None:
    table = import_module("table")
    group, found = canned()
    lines = table.lines(group, [{**each, "cpu": 0.0} for each in found if "wall" in each])
    assert table.cells(group, lines[1], lines)[2:6] == ["1,000", "–", "–", "–"]


def test_the_page_has_a_table_of_full_rows_for_each_group_and_the_terminal_the_same_figures() -> None:
    table = import_module("table")
    group, found = canned()
    page = table.markdown([group], found, {"CPU": "one", "Python": "3"})
    rows = [line for line in page.splitlines() if line.startswith("|") and "\\|" not in line]
    assert "## Work 1k" in page
    assert "Goal: fast." in page
    assert {line.count("|") for line in rows[rows.index("| Python | 3 |") + 1 :]} == {11}
    assert "| broken | 10 | failed: a \\| b |" in page
    assert "| plait | 1,000 | 1,000 | 500.0 | 0.50 | 0.50 | 0.25 | 0.25 | 7 | 3 |" in page
    assert "not installed: no package 'absent'" in table.text([group], found)


def test_rows_of_several_sizes_are_compared_across_them() -> None:
    table = import_module("table")
    group, found = canned()
    sizes = [group._replace(name=f"work {n}", size=n) for n in (1000, 10_000, 20_000)]
    measured = [
        {**each, "group": size.name, "n": size.size, "wall": 1.0, "cpu": 1.0}
        for size in sizes
        for each in found
        if each["row"] == "plait"
    ]
    assert table.by_size(sizes, measured) == [
        ["work", "plait", "10,000: 100.0 µs · 20,000: 50.00 µs", "0.50", "0.50"],
    ]


def test_the_list_names_every_group_and_every_row_exists() -> None:
    groups = import_module("groups").GROUPS
    done = call("--list")
    assert done.returncode == 0, done.stderr
    listed = done.stdout.splitlines()
    for group in groups:
        assert group.name in listed
        names = [row.name for row in group.rows]
        assert len(names) == len(set(names))
        assert {group.base, *filter(None, [group.second])} <= set(names)
        assert {name for pair in group.pairs for name in pair} <= set(names)
        for row in group.rows:
            if not row.venv:
                assert row.work in import_module(row.module).ROWS
    assert len({group.name for group in groups}) == len(groups)


def test_only_keeps_what_is_compared_with_what_was_chosen() -> None:
    run = import_module("run")
    kept = {group.name: [row.name for row in group.rows] for group in run.chosen("trio")}
    assert kept["flat no-op 10k"] == ["one Task per item", "gather + Semaphore", "trio"]
    assert list(run.chosen("chain graph 10k")) == [group for group in run.GROUPS if group.name == "chain graph 10k"]
    assert run.chosen("nothing like it") == []
    assert call("--only", "nothing like it").stderr.startswith("no group or row contains")


def test_the_readme_has_the_goals_and_how_to_install_the_peers() -> None:
    readme = (BENCHMARKS / "README.md").read_text()
    for group in import_module("groups").GROUPS:
        assert f"| {group.goal} |" in readme
        for row in group.rows:
            assert not row.venv or f"venvs/{row.venv}/bin/pip install" in call_how(readme)


def call_how(readme: str) -> str:
    how = import_module("run").how()
    assert how in readme
    return str(how)


@pytest.mark.realtime
@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("limits", "task_per_item noop", ""), ""),
        (("limits", "no such work", ""), "failed: KeyError: 'no such work' (exit code 1)"),
        (("limits", "task_per_item noop", "no-such-package"), "missing: no package or program 'no-such-package' here"),
    ],
)
def test_a_row_gives_figures_or_a_reason(row: tuple[str, str, str], said: str, tmp_path: Path) -> None:
    run, groups = import_module("run"), import_module("groups")
    module, work, peer = row
    found = run.measure(groups.Row("row", module, work, peer=peer), 10, tmp_path)
    assert found.keys() >= {"wall", "cpu", "bytes"} or " ".join(f"{why}: {text}" for why, text in found.items()) == said


@pytest.mark.realtime
def test_a_row_that_is_not_over_in_time_and_one_without_environment_say_so(tmp_path: Path) -> None:
    run, groups = import_module("run"), import_module("groups")
    slow = groups.Row("row", "limits", "task_per_item noop", timeout=0.001)
    assert run.measure(slow, 10, tmp_path) == {"failed": "not over after 0.001 s"}
    assert "missing" in run.measure(slow._replace(venv="light"), 10, tmp_path)


@pytest.mark.realtime
def test_a_wrong_result_fails_its_row(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(
        "from common import Job\nROWS = {'w': lambda size: Job(lambda: 1, lambda found: found == 2)}\n"
    )
    words = [sys.executable, "-c", f"import sys; sys.path += [{str(BENCHMARKS)!r}, {str(tmp_path)!r}]; import measure; measure.measure('wrong', 'w', 1, '')"]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.strip()) == (1, "wrong result")


def test_smoke_runs_every_work_of_ours_and_is_what_ci_calls() -> None:
    run = import_module("run")
    small = run.smoke(run.GROUPS)
    ran = {(row.module, row.work) for group in small for row in group.rows}
    left_out = {
        (row.module, row.work)
        for group in run.GROUPS
        for row in group.rows
        if not row.peer and (row.module, row.work) not in ran
    }
    # The same commands at another number of slots.
    assert all(work.endswith(" 8") and (module, work[:-1] + "2") in ran for module, work in left_out)
    assert all(row.size <= 150 for group in small for row in group.rows)
    assert "\npython benchmarks/run.py --smoke\n" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.realtime
def test_measurements_are_written_and_can_be_read_again(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    done = call("--smoke", "--only", "stop a graph", "--json", str(kept))
    assert done.returncode == 0, done.stdout + done.stderr
    page = tmp_path / "page.md"
    again = call("--read", str(kept), "--markdown", str(page))
    assert again.returncode == 0, again.stderr
    assert "plait.arun, n wait" in again.stdout
    assert "## Stop a graph" in page.read_text()
