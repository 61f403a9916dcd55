"""Runs that are killed at every point where they could be in the middle of something: `crashes.py`, and that it sees what is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import crashes
from plait import points

PROGRAM = Path(__file__).with_name("crashes.py")
SOURCES = Path(points.__file__).parent


def crashing(folder: Path, *words: object) -> tuple[int, str]:
    """The exit status of `crashes.py`, and what it prints. It forks, so it is a process of its own."""
    command = [sys.executable, str(PROGRAM), "--folder", str(folder), *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280)
    return done.returncode, done.stdout


@pytest.mark.realtime
@pytest.mark.timeout(300)
def test_a_run_killed_at_any_point_ends_as_one_in_peace_does(tmp_path: Path) -> None:
    """F01 F02 F03 F04 F05, W1 to W6 at every commit, rename and spawn of twelve graphs; of the recoveries (F04) a sample.

    `python tests/crashes.py` kills at every point of three graphs' recoveries, too.
    """
    status, said = crashing(tmp_path, "held", *crashes.GRAPHS, "--deep", "chain", "--deep-every", 5)
    print(said)
    assert status == 0, said
    found = re.search(r"^13 graphs, (\d+) crashes and (\d+) in recoveries: 0 wrong; ", said, re.M)
    assert found is not None, said
    assert int(found[1]) > 200, "there were more points than these"
    assert int(found[2]) > 30, "there were more points than these"
    named = {name.replace(" ", "-") for name in POINTS - OF_FILES}
    assert named == set(re.findall(r"([a-z-]+) \d+(?:,|$)", said.splitlines()[-2])), said


@pytest.mark.realtime
@pytest.mark.timeout(300)
def test_a_run_killed_inside_every_kind_of_block_runs_what_had_not_finished_and_nothing_else(tmp_path: Path) -> None:
    """D7 W3 W4: groups, foreach, matrix, parallel, switch, loop, while, other files, on_error and finally, and blocks in blocks; the same cases,
    rounds and items, also where chance had chosen them. A sample: `python tests/crashes.py blocks --deep blocks` for every point, and every point of
    each recovery.
    """
    status, said = crashing(tmp_path, "blocks", "--every", 3, "--deep", "blocks", "--deep-every", 11)
    print(said)
    assert status == 0, said
    found = re.search(r"^1 graphs, (\d+) crashes and (\d+) in recoveries: 0 wrong; ", said, re.M)
    assert found is not None, said
    assert int(found[1]) > 12, "there were more points than these"
    assert int(found[2]) > 2, "there were more points than these"


@pytest.mark.realtime
@pytest.mark.timeout(300)
def test_a_script_killed_inside_every_kind_of_block_runs_what_had_not_finished_and_nothing_else(tmp_path: Path) -> None:
    """D7 D11 W1 to W6: phases, foreach with break, parallel, votes, if, branch, loop, while, delay, timeout, include, call, fallbacks, tries, checkpoints and
    blocks in blocks. A sample: `python tests/crashes.py script --deep script` for every point, and every point of each recovery.
    """
    status, said = crashing(tmp_path, "script", "--every", 9, "--deep", "script", "--deep-every", 13)
    print(said)
    assert status == 0, said
    found = re.search(r"^1 graphs, (\d+) crashes and (\d+) in recoveries: 0 wrong; ", said, re.M)
    assert found is not None, said
    assert int(found[1]) > 9, "there were more points than these"


@pytest.mark.realtime
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("graph", "every"), [("asking", 3), ("approving", 7), ("rejecting", 7)])
def test_a_run_that_asks_people_and_is_killed_at_any_point_ends_as_one_in_peace_does(
    graph: str, every: int, tmp_path: Path
) -> None:
    """X3 F75 A18: no answer is lost, nothing finished runs again, and `on_interrupt: ask` starts again only what a person wants started again.

    Three questions are open at once; they are answered while a process drives the run, and while none does, and the run is paused. Work is revised, approved
    and rejected. A sample: `python tests/crashes.py asking approving rejecting` for every point.
    """
    status, said = crashing(tmp_path, graph, "--every", every, "--deep")
    print(said)
    assert status == 0, said
    found = re.search(r"^1 graphs, (\d+) crashes and 0 in recoveries: 0 wrong; ", said, re.M)
    assert found is not None, said
    assert int(found[1]) > 5, "there were more points than these"


POINTS = {
    name for path in SOURCES.rglob("*.py") for name in re.findall(r'points\.reach\("([a-z ]+)"\)', path.read_text())
}
"""All that the sources name."""
OF_FILES = {"rename file", "commit rows"}
"""Those that nodes and commands pass which write files and databases of the user's."""


def test_every_commit_rename_and_spawn_passes_a_point() -> None:
    """Method 3 of the page on reliability: nothing of that kind stands in the sources without one near it."""
    assert {"before commit", "in commit", "after commit", "before spawn", "after spawn", "rename store"} <= POINTS
    for path in SOURCES.rglob("*.py"):
        lines = path.read_text().splitlines()
        for at, line in enumerate(lines):
            if re.search(r'"COMMIT"|os\.(replace|rename|link)\(|subprocess\.Popen\(|os\.posix_spawnp\(', line):
                near = "\n".join(lines[max(0, at - 6) : at + 14])
                assert "points.reach(" in near, f"{path.name}:{at + 1}: {line.strip()}"


@pytest.mark.realtime
def test_a_run_that_ends_otherwise_is_seen(tmp_path: Path) -> None:
    """A graph whose value depends on how often it was killed is not as it was in peace."""
    status, said = crashing(tmp_path, "odd", "--deep", "--processes", 1)
    assert status == 1, said
    assert re.search(r"^  value: end is .*, not ", said, re.M), said


def test_there_are_twelve_graphs() -> None:
    assert len(crashes.GRAPHS) == 12
