"""Runs of files with blocks, gone on with after a kill, a failure, an edit: only what must runs again, and no choice is made anew."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import plait
from flow_files import write
from plait.flow import load

STEPS = """
import os
from pathlib import Path

import plait

HERE = Path(__file__).parent


def step(v=None, give=None):
    key = plait.current().key
    with open(HERE / "log", "a") as file:
        file.write(f"{key}={v}\\n")
    if key == os.environ.get("STOP_AT"):
        with open(HERE / "stopped", "w"):  # whoever reads it knows that this is under way
            pass
        os.read(os.open(HERE / "never", os.O_RDWR), 1)
    if (HERE / "fails").exists() and key in (HERE / "fails").read_text().split():
        raise ValueError(f"{key} is to fail")
    return v if give is None else give
"""

INNER = """
inputs: {x: {type: string}}
tasks:
  a: {call: "steps:step", with: {v: "{{ inputs.x }}"}}
  b: {call: "steps:step", with: {v: "{{ inputs.x }}", give: "{{ tasks.a.output }}"}}
outputs: {b: "{{ tasks.b.output }}"}
"""

FLOW = """
tasks:
  top: {call: "steps:step", with: {v: 1}}
  each: {foreach: "{{ map(range(0, 3), x => uuid()) }}", call: "steps:step", with: {v: "{{ item }}"}}
  grid: {matrix: {m: "{{ [uuid(), uuid()] }}"}, tasks: {x: {call: "steps:step", with: {v: "{{ matrix.m }}"}}}, key: "{{ index }}"}
  sides:
    parallel:
      - {tasks: {a: {call: "steps:step"}, b: {needs: [a], call: "steps:step"}}}
      - {name: right, tasks: {c: {call: "steps:step"}, d: {needs: [c], call: "steps:step"}}, finally: {e: {call: "steps:step"}}}
  route:
    switch:
      - {when: "{{ random() < 0.1 }}", tasks: {taken: {call: "steps:step", with: {v: 1}}, then: {needs: [taken], call: "steps:step"}}}
      - {when: "{{ random() < 0.5 }}", tasks: {taken: {call: "steps:step", with: {v: 2}}, then: {needs: [taken], call: "steps:step"}}}
      - {tasks: {taken: {call: "steps:step", with: {v: 3}}, then: {needs: [taken], call: "steps:step"}}}
  loop:
    loop: {max: 8, until: "{{ index >= 2 && random() < 0.4 }}"}
    tasks: {n: {call: "steps:step", with: {v: "{{ [index, previous.n] }}"}}, m: {needs: [n], call: "steps:step"}}
  while:
    while: {condition: "{{ index < 2 || (index < 8 && random() < 0.5) }}", max: 9}
    tasks: {w: {call: "steps:step", with: {v: "{{ index }}"}}}
  none: {while: "{{ random() > 2 }}", tasks: {x: {call: "steps:step"}}}
  sub: {flow: inner.yaml, with: {x: "{{ uuid() }}"}}
  after: {needs: [each, grid, sides, route, loop, while, none, sub], call: "steps:step"}
"""
"""Each block by chance: whoever chose anew would be seen."""


@pytest.fixture(autouse=True)
def _modules() -> Iterator[None]:
    """The functions of one test are imported by that test alone."""
    path = list(sys.path)
    yield
    sys.modules.pop("steps", None)
    sys.path[:] = path


class Place:
    """A folder with the files, and what ran there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = str(folder / "runs.db")
        write(folder, STEPS, "steps.py")
        write(folder, INNER, "inner.yaml")
        write(folder, FLOW)

    def log(self) -> list[str]:
        """What ran since it was asked before."""
        path = self.folder / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def keys(self) -> list[str]:
        """Only their keys, in the order of the alphabet."""
        return sorted(line.partition("=")[0] for line in self.log())

    def run(self, *fails: str) -> tuple[plait.RunResult, list[str]]:
        """The first run; these fail."""
        (self.folder / "fails").write_text(" ".join(fails))
        result = plait.run(load(self.folder / "flow.yaml"), store=self.store, raise_on_failure=False, run_id="r")
        (self.folder / "fails").write_text("")
        return result, self.log()

    def retry(self) -> plait.RunResult:
        return plait.retry("r", store=self.store).wait()

    def accept(self, old: str, new: str, name: str = "flow.yaml") -> plait.RunResult:
        """Goes on with an edit."""
        path = self.folder / name
        text = path.read_text()
        assert text.count(old) == 1, (old, text.count(old))
        path.write_text(text.replace(old, new))
        return plait.resume("r", store=self.store, accept_changes=True).wait()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def values(lines: list[str]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in lines)


KEYS = [
    "each[1]", "grid[1]/x", "sides[0]/b", "sides[right]/c", "sides[right]/e", "route/taken", "route/then", "loop[0]/n", "loop[1]/m", "loop[2]/n", "while[1]/w", "sub/a", "sub/b", "after",
]  # fmt: skip


class TestKills:
    @pytest.mark.realtime
    @pytest.mark.parametrize("key", KEYS)
    def test_a_run_killed_in_the_middle_of_a_block_goes_on_there(self, place: Place, key: str) -> None:
        """F01 W1 D7: by a real SIGKILL; nothing recorded runs again, and what was chosen by chance stays chosen."""
        os.mkfifo(place.folder / "stopped")
        os.mkfifo(place.folder / "never")
        command = [sys.executable, "-m", "plait", "run", "flow.yaml", "--store", place.store, "--run-id", "r"]
        child = subprocess.Popen(
            command, cwd=place.folder, env={**os.environ, "STOP_AT": key}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )  # fmt: skip
        try:
            with open(place.folder / "stopped"):  # until it is there
                child.send_signal(signal.SIGKILL)
        finally:
            child.kill()
            child.communicate(timeout=30)
        before = place.log()
        stood = plait.show_run("r", place.store)
        over = {each for each, outcome in stood.items() if outcome.status == "succeeded"}
        result = plait.resume("r", store=place.store).wait()
        assert result.status == "succeeded", result.first_cause
        again = place.log()
        assert over.isdisjoint(values(again))
        assert key in values(again)
        for each, value in values(before).items():
            assert values(again).get(each, value) == value, "another choice"
        counted = Counter(line.partition("=")[0] for line in (*before, *again))
        leaves = {each for each, outcome in result.items() if outcome.status == "succeeded"} & set(counted)
        assert leaves == set(counted), "something ran that is not in the run"
        assert len(list(result["loop"].value)) == 2

    @pytest.mark.realtime
    @pytest.mark.parametrize("key", ["each[1]", "sides[0]/b", "route/taken", "loop[1]/n", "while[0]/w", "sub/a"])
    @pytest.mark.parametrize("way", ["cancelled", "paused"])
    def test_one_that_is_stopped_there_goes_on_with_what_it_had_chosen(self, place: Place, key: str, way: str) -> None:
        """F71 W3 D7: cancelled and tried again; paused, and gone on with."""
        handle = plait.start(load(place.folder / "flow.yaml"), store=place.store, run_id="r")
        for event in handle.events():
            if event.event == "task_started" and event.task == key:
                if way == "cancelled":
                    handle.cancel()
                else:
                    handle.pause()
                    handle.resume()
        first = handle.wait()
        before = place.log()
        result = first if first.status == "succeeded" else place.retry()
        assert result.status == "succeeded"
        again = place.log()
        over = {each for each, outcome in first.items() if outcome.status == "succeeded"}
        assert over.isdisjoint(set(values(again)) - {"sides[right]/e"})
        for each, value in values(again).items():
            assert values(before).get(each, value) == value, f"{each} was chosen anew"


class TestRetries:
    @pytest.mark.parametrize(
        ("fails", "again"),
        [
            (["each[1]"], {"each[1]"}),
            (["grid[0]/x"], {"grid[0]/x"}),
            (["sides[0]/b"], {"sides[0]/b"}),
            (["sides[right]/c"], {"sides[right]/c", "sides[right]/d", "sides[right]/e"}),
            (["route/taken"], {"route/taken", "route/then"}),
            (["route/then"], {"route/then"}),
            (["sub/b"], {"sub/b"}),
            (["each[0]", "sub/a", "sides[0]/a"], {"each[0]", "sub/a", "sub/b", "sides[0]/a", "sides[0]/b"}),
        ],
        ids=lambda keys: " ".join(sorted(keys)),
    )
    def test_what_failed_runs_again_with_the_choices_that_were_made(
        self, place: Place, fails: list[str], again: set[str]
    ) -> None:
        """W3 D7: a foreach over what chance gave, a switch, a loop and a file's inputs are on record."""
        for _ in range(3):  # chance has its chances
            first, lines = place.run(*fails)
            assert first.status == "failed"
            result = place.retry()
            assert result.status == "succeeded", result.first_cause
            rerun = place.log()
            # what cleans up does so each time
            cleans = {"sides[right]/e"}
            assert set(values(rerun)) - cleans == (again - cleans) | {"after"}
            for key, value in values(rerun).items():
                assert values(lines).get(key, value) == value, f"{key} was chosen anew"
            for key in ("loop", "while"):
                rounds = [each for each in first if each.startswith(f"{key}[") and "/" not in each]
                assert [each for each in result if each.startswith(f"{key}[") and "/" not in each] == rounds
            for path in place.folder.glob("runs.db*"):
                path.unlink() if path.is_file() else None

    def test_a_failed_round_runs_again_and_the_rounds_behind_it_are_new(self, place: Place) -> None:
        """W3 D7: the rounds before it stay."""
        first, _lines = place.run("loop[1]/m")
        assert first.status == "failed"
        assert "loop[2]" not in first
        result = place.retry()
        assert result.status == "succeeded"
        keys = place.keys()
        assert {"loop[1]/m", "loop[2]/n", "loop[2]/m", "after"} <= set(keys)
        assert {"loop[0]/n", "loop[0]/m", "loop[1]/n"}.isdisjoint(keys)
        assert all(each.startswith("loop[") or each in ("after", "sides[right]/e") for each in keys)

    def test_a_retry_that_was_killed_keeps_the_choices_of_the_first_run(self, place: Place) -> None:
        """W3 F04: generation after generation."""
        first, lines = place.run("route/then", "each[1]", "sub/b")
        rounds = [each for each in first if each.startswith("loop[") and "/" not in each]
        for fails in (["route/then", "each[1]", "sub/b"], ["route/then", "sub/b"], ["route/then"], []):
            (place.folder / "fails").write_text(" ".join(fails))
            result = place.retry()
            for key, value in values(place.log()).items():
                assert values(lines).get(key, value) == value, f"{key} was chosen anew"
        assert result.status == "succeeded"
        assert [each for each in result if each.startswith("loop[") and "/" not in each] == rounds

    def test_a_block_that_was_skipped_is_skipped_again(self, place: Place) -> None:
        """W3 D7: also where what it needs is taken over: its condition is asked before it grows."""
        write(
            place.folder,
            """
            tasks:
              a: {call: "steps:step", with: {v: 1}}
              g: {needs: [a], when: "{{ tasks.a.output > 1 }}", tasks: {x: {call: "steps:step"}}}
              bad: {call: "steps:step"}
            """,
        )
        first, _ = place.run("bad")
        assert str(first["g"].status) == "skipped"
        result = place.retry()
        assert place.keys() == ["bad"]
        assert str(result["g"].status) == "skipped"

    def test_what_needs_a_group_runs_again_with_a_task_of_the_group_that_might_fail(self, place: Place) -> None:
        """W3: the group's value is another one then, also through branches, rounds and files."""
        write(
            place.folder,
            """
            tasks:
              g: {tasks: {x: {call: "steps:step", with: {v: 1}, allow_failure: true}, y: {call: "steps:step"}}}
              p: {parallel: [{tasks: {h: {tasks: {z: {call: "steps:step", with: {v: 1}, allow_failure: true}}}}}]}
              l: {loop: 3, tasks: {n: {call: "steps:step", with: {v: "{{ index }}"}, allow_failure: true}}}
              use: {call: "steps:step", with: {v: "{{ [tasks.g.output, tasks.p.output] }}"}}
              group: {needs: [use], tasks: {q: {call: "steps:step"}}}
              enough: {min_success: 1, foreach: [1, 2], call: "steps:step", allow_failure: true}
              other: {needs: [enough], call: "steps:step"}
              bad: {call: "steps:step"}
            """,
        )
        first, _ = place.run("g/x", "p[0]/h/z", "l[1]/n", "bad", "enough[0]")
        assert (str(first.status), str(first["use"].status)) == ("failed", "succeeded")
        result = place.retry()
        assert place.keys() == ["bad", "g/x", "group/q", "l[1]/n", "l[2]/n", "p[0]/h/z", "use"]
        assert result["use"].value == [{"x": 1, "y": None}, [{"h": {"z": 1}}]]


class TestForks:
    @pytest.mark.parametrize(
        ("start", "again"),
        [
            ("sides[0]/a", {"sides[0]/a", "sides[0]/b"}), ("sides[right]/d", {"sides[right]/d"}), ("sides[0]", {"sides[0]/a", "sides[0]/b"}),
            ("sides", {"sides[0]/a", "sides[0]/b", "sides[right]/c", "sides[right]/d"}), ("route/taken", {"route/taken", "route/then"}), ("route/then", {"route/then"}), ("sub/b", {"sub/b"}), ("each[1]", {"each[1]"}),
            ("grid[1]/x", {"grid[1]/x"}), ("grid[0]", {"grid[0]/x"}), ("after", set()),
        ],
        ids=lambda given: given if isinstance(given, str) else "",
    )  # fmt: skip
    def test_a_part_of_a_block_runs_again_and_what_needs_it(self, place: Place, start: str, again: set[str]) -> None:
        """W3 D7."""
        first, lines = place.run()
        assert first.status == "succeeded", first.first_cause
        result = plait.fork("r", start, store=place.store).wait()
        assert result.status == "succeeded"
        rerun = place.log()
        assert set(values(rerun)) - {"sides[right]/e"} == again | {"after"}
        for key, value in values(rerun).items():
            assert values(lines)[key] == value, f"{key} was chosen anew"
        assert list(result) != []
        assert set(first) == set(result)

    def test_from_a_round_on_all_later_rounds_are_new(self, place: Place) -> None:
        """D7: each sees the one before."""
        write(place.folder, FLOW.replace("index >= 2 && random() < 0.4", "index == 3"))
        place.run()
        plait.fork("r", "loop[1]/m", store=place.store).wait()
        assert place.keys() == [
            "after",
            "loop[1]/m",
            "loop[2]/m",
            "loop[2]/n",
            "loop[3]/m",
            "loop[3]/n",
            "sides[right]/e",
        ]
        plait.fork("r", "loop[3]/n", store=place.store).wait()
        assert place.keys() == ["after", "loop[3]/m", "loop[3]/n", "sides[right]/e"]

    def test_a_task_that_a_block_does_not_have_is_refused(self, place: Place) -> None:
        place.run()
        for start in ("sides[1]/c", "sides[0]/c", "route/wrong", "loop[99]/n", "loop/n", "sub/c"):
            with pytest.raises(plait.UsageError, match="has no task"):
                plait.fork("r", start, store=place.store)


class TestEdits:
    @pytest.mark.parametrize(
        ("old", "new", "again"),
        [
            ("b: {needs: [a], call: \"steps:step\"}", "b: {needs: [a], call: \"steps:step\", with: {v: 7}}", {"sides[0]/b", "after"}),
            ("c: {call: \"steps:step\"}", "c: {call: \"steps:step\", with: {v: 7}}", {"sides[right]/c", "sides[right]/d", "after"}),
            ("d: {needs: [c], call: \"steps:step\"}", "d: {needs: [c], call: \"steps:step\"}, f: {call: \"steps:step\"}", {"sides[right]/c", "sides[right]/d", "sides[right]/f", "after"}),
            ("d: {needs: [c],", "d: {needs: [c], timeout: 9s, priority: 3,", set()),
            ("e: {call: \"steps:step\"}", "e: {call: \"steps:step\", with: {v: 9}}", set()),
            ("name: right", "name: rechts", {"sides[0]/a", "sides[0]/b", "sides[rechts]/c", "sides[rechts]/d", "after"}),
            ("taken: {call: \"steps:step\", with: {v: 1}}", "taken: {call: \"steps:step\", with: {v: 9}}", {"route/taken", "route/then", "after"}),
            ("w: {call: \"steps:step\", with: {v: \"{{ index }}\"}}", "w: {call: \"steps:step\", with: {v: \"{{ index + 1 }}\"}}", {"while", "after"}),
            ("m: {needs: [n], call: \"steps:step\"}", "m: {needs: [n], call: \"steps:step\", with: {v: 5}}", {"loop", "after"}),
            ("v: \"{{ matrix.m }}\"", "v: \"{{ matrix.m + 1 }}\"", {"grid[0]/x", "grid[1]/x", "after"}),
            ("top: {call: \"steps:step\", with: {v: 1}}", "top: {call: \"steps:step\", with: {v: 2}}", {"top"}),
        ],
        ids=["branch", "named branch", "new in a branch", "options", "finally of a branch", "name of a branch", "case", "while", "loop", "matrix", "elsewhere"],
    )  # fmt: skip
    def test_what_an_edit_touches_runs_again_and_nothing_else(
        self, place: Place, old: str, new: str, again: set[str]
    ) -> None:
        """W4 D7: in a branch only what it touches; a case, a loop and a matrix as a whole."""
        first, _lines = place.run()
        assert first.status == "succeeded", first.first_cause
        with pytest.raises(plait.RunChanged):
            (place.folder / "edited.yaml").write_text(FLOW.replace(old, new))
            plait.resume("r", load(place.folder / "edited.yaml"), store=place.store)
        result = place.accept(old, new)
        assert result.status == "succeeded", result.first_cause
        rerun = place.log()
        found = {key.partition("[")[0] if key.startswith(("loop[", "while[")) else key for key in values(rerun)}
        assert found - {"sides[right]/e", "sides[rechts]/e"} == again

    @pytest.mark.parametrize(
        ("old", "new", "again"),
        [
            ("give: \"{{ tasks.a.output }}\"", "give: \"{{ tasks.a.output + 'x' }}\"", {"sub/b", "after"}),
            ("a: {call: \"steps:step\",", "a: {call: \"steps:step\", timeout: 5s,", set()),
            ("outputs: {b: \"{{ tasks.b.output }}\"}", "outputs: {b: \"{{ tasks.a.output }}\"}", {"sub/a", "sub/b", "after"}),
            ("tasks:\n", "max_concurrency: 1\ntasks:\n", set()),
            ("tasks:\n", "env: {A: b}\ntasks:\n", {"sub/a", "sub/b", "after"}),
        ],
        ids=["task", "options", "outputs", "rules", "env"],
    )  # fmt: skip
    def test_and_so_it_is_in_another_file(self, place: Place, old: str, new: str, again: set[str]) -> None:
        """W4 D8."""
        _first, lines = place.run()
        result = place.accept(old, new, "inner.yaml")
        assert result.status == "succeeded", result.first_cause
        rerun = place.log()
        assert set(values(rerun)) - {"sides[right]/e"} == again
        if again == {"sub/b", "after"}:
            assert values(rerun)["sub/b"] == values(lines)["sub/a"], "the input was chosen anew"

    def test_an_edit_of_what_had_not_run_yet_is_taken(self, place: Place) -> None:
        """W4: what failed is among what runs again."""
        place.run("sides[0]/b", "loop[0]/n")
        result = place.accept("b: {needs: [a], call: \"steps:step\"}", "b: {needs: [a], call: \"steps:step\", with: {v: 3}}")  # fmt: skip
        assert result.status == "succeeded"
        rerun = values(place.log())
        assert rerun["sides[0]/b"] == "3"
        assert "sides[0]/a" not in rerun
        assert {"sides[right]/c", "route/taken", "each[0]", "sub/a", "while[0]/w"}.isdisjoint(rerun)
