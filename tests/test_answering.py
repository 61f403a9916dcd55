"""People answer from processes of their own, many at once, whoever dies meanwhile, or at the same moment as something else: `answerers.py`, `races.py`."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import plait
from plait import opened
from plait.errors import UsageError

PROGRAM = Path(__file__).with_name("answerers.py")
RACES = Path(__file__).with_name("races.py")

pytestmark = pytest.mark.realtime


def played(folder: Path, *words: object, program: Path = PROGRAM) -> str:
    """What a program prints. It forks, so it is a process of its own."""
    command = [sys.executable, str(program), *map(str, words), "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=110)
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.timeout(120)
@pytest.mark.parametrize("flow", [(), ("--flow",)], ids=["a map of maps", "foreach in foreach"])
class TestTwoHundredQuestionsOpenAtOnce:
    """E7 X3."""

    def test_eight_processes_answer_in_random_order_and_each_branch_gets_its_own(
        self, tmp_path: Path, flow: tuple[str, ...]
    ) -> None:
        """None fires again, and nothing that ran runs again."""
        assert ": 0 wrong; 200 taken" in played(tmp_path, "nested", *flow)

    def test_the_same_where_the_process_that_drives_the_run_is_killed_meanwhile(
        self, tmp_path: Path, flow: tuple[str, ...]
    ) -> None:
        """F01 F75: answers go on while nobody drives the run, and no finished task runs again."""
        assert ": 0 wrong; " in played(tmp_path, "nested", "--kill", *flow)


@pytest.mark.timeout(120)
class TestTwoThingsAtOnce:
    """F74, E8: exactly one outcome, never lost, never two, and whoever acted is told; `python tests/races.py` for more of the same."""

    @pytest.mark.parametrize(
        ("play", "rounds"),
        [
            ("two-answers", 300),  # one is taken, the other told which
            ("deadline", 100),  # the answer, or the default
            ("cancel-key", 200),
            ("cancel-run", 100),
            ("pause", 100),
            ("leaving", 100),  # the process leaves the run, for only the answer is missing
            ("resume", 100),  # another one takes it up
        ],
    )
    def test_an_answer_and_something_else(self, tmp_path: Path, play: str, rounds: int) -> None:
        said = played(tmp_path, play, "--rounds", rounds, program=RACES)
        assert f"{play}: {rounds} rounds, 0 wrong; " in said


OWNER = """
import os, plait, signal, sys, time

@plait.task(OPTIONS)
async def review():
    said = await plait.ask("Good?", form={"ok": bool})
    return [os.getpid(), said]

def main():
    run = plait.start(review.bind(), store=sys.argv[1], run_id="r")
    with plait.open_run("r", sys.argv[1]) as seen:
        while not seen.questions():  # on record
            time.sleep(0.005)
    child = CHILD
    print("asks", child, flush=True)
    print(run.wait(60).value, flush=True)
    os._exit(0)

if __name__ == "__main__":
    main()
"""


DYING = """
import os, plait, signal, sys
from plait import points
from plait.stores.bells import Ring
from plait.stores.sqlite import SqliteStore

passed = 0

def reached(name):
    global passed
    passed += 1
    if passed == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

def then(what, name):
    def did(*args):
        found = what(*args)
        reached(name)
        return found
    return did

with plait.open_run("r", sys.argv[1]) as run:
    points.hook = reached
    SqliteStore.leave_note = then(SqliteStore.leave_note, "left")
    Ring.ring = then(Ring.ring, "rung")
    run.answer("review", {"ok": True}, by="ann")
"""
"""Answers, and dies at a point of that, if there are so many."""


class Owner:
    """A process that drives a run with an open question, `review`."""

    def __init__(self, folder: Path, child: str = "0", options: str = "") -> None:
        self.store = folder / "store" / "plait.db"
        self.program = folder / "owner.py"
        self.program.write_text(OWNER.replace("CHILD", child).replace("OPTIONS", options))
        self.process = subprocess.Popen(
            [sys.executable, str(self.program), str(self.store)], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        asks, self.child = self.says().split()
        assert asks == "asks"

    def says(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], 50)[0], "the owner says nothing"
        return self.process.stdout.readline().strip()

    def send(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def plait(self, *words: str, patience: float | None = None) -> subprocess.CompletedProcess[str]:
        """A command, about its run; with `patience` it waits for the owner no longer than that."""
        program = ["-m", "plait"]
        if patience is not None:
            program = ["-c", f"from plait import cli, opened\nopened.PATIENCE_S = {patience}\ncli.main()"]
        command = [sys.executable, *program, *words, "--store", str(self.store)]
        return subprocess.run(command, capture_output=True, text=True, timeout=50)

    @property
    def bell(self) -> Path:
        return self.store.parent / "bells" / "1.sock"


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    found = Owner(tmp_path)
    yield found
    found.process.kill()
    found.process.communicate()


class TestAnOwnerThatIsNotAsItShouldBe:
    def test_one_that_is_stopped_keeps_its_run_and_takes_the_answer_once_it_goes_on(
        self, owner: Owner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """F11 F13: whoever answered is told that it says nothing, which is no refusal; nobody else gets the run."""
        owner.send(signal.SIGSTOP)
        monkeypatch.setattr(opened, "PATIENCE_S", 0.3)
        with plait.open_run("r", owner.store) as run:
            assert run.answer("review", {"ok": True}, by="ann") is False
            with pytest.raises(
                UsageError, match=r'an answer by ann already, \{"ok": true\}, left at .* not looked at yet'
            ):
                run.answer("review", {"ok": False}, by="bob")
            assert [each.key for each in run.questions()] == ["review"]
        refused = owner.plait("resume", "r")
        assert refused.returncode == 4, refused
        assert str(owner.process.pid) in refused.stderr
        owner.send(signal.SIGCONT)
        assert owner.says() == f"[{owner.process.pid}, {{'ok': True}}]"

    def test_the_command_names_the_process_that_says_nothing(self, owner: Owner) -> None:
        """F11: after some seconds."""
        owner.send(signal.SIGSTOP)
        said = owner.plait("answer", "r", "review", "yes", "--as", "ann", patience=0.3)
        assert said.returncode == 0, said
        assert (
            f"the answer to review is kept, for process {owner.process.pid}, which drives the run and has not looked at it yet"
            in said.stderr
        )
        owner.send(signal.SIGCONT)
        assert owner.says() == f"[{owner.process.pid}, {{'ok': True}}]"

    def test_one_whose_bell_somebody_removed_looks_by_itself(self, owner: Owner) -> None:
        until_there(owner.bell)
        owner.bell.unlink()
        with plait.open_run("r", owner.store) as run:
            assert run.answer("review", {"ok": True}) is True
        assert owner.says() == f"[{owner.process.pid}, {{'ok': True}}]"

    def test_one_finds_a_note_whose_writer_died_before_it_rang(
        self, owner: Owner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """F01: what is in the store counts, rung for or not."""
        until_there(owner.bell)
        monkeypatch.setattr(opened.OpenRun, "_delivered", lambda run, note: None)
        with plait.open_run("r", owner.store) as run:
            assert run.answer("review", {"ok": True}) is False
        assert owner.says() == f"[{owner.process.pid}, {{'ok': True}}]"

    def test_a_forked_child_of_it_takes_no_part(self, tmp_path: Path) -> None:
        """F22: the answer is the owner's; and when that is dead the run is free, though the child lives."""
        owner = Owner(tmp_path, "os.fork() or signal.pause()")
        try:
            until_there(owner.bell)
            owner.process.kill()
            owner.process.wait()
            with plait.open_run("r", owner.store) as run:
                assert run.look().owner_pid is None
                assert run.answer("review", {"ok": True}) is False
            resumed = owner.plait("resume", "r")
            assert resumed.returncode == 0, resumed
            assert Path(f"/proc/{owner.child}").exists()
        finally:
            os.kill(int(owner.child), signal.SIGKILL)
            owner.process.communicate()


def test_no_answer_is_kept_for_code_that_is_not_begun_anew(tmp_path: Path) -> None:
    """F75: it would be lost, for the run asks something else when it goes on: what is to become of the task."""
    owner = Owner(tmp_path, options='on_interrupt="ask"')
    owner.process.kill()
    owner.process.communicate()
    with plait.open_run("r", owner.store) as run:
        with pytest.raises(
            UsageError, match=r"'review' of run .* is closed: the code that asked it died .*plait resume"
        ):
            run.answer("review", {"ok": True})
        resumed = owner.plait("resume", "r")
        assert resumed.returncode == 3, resumed
        assert [each.kind for each in run.questions()] == ["interrupt"]
        assert run.answer("review", {"action": "succeed", "value": 7}) is False
        assert owner.plait("resume", "r").returncode == 0
        with pytest.raises(UsageError, match="is over"):
            run.answer("review", {"action": "rerun"})


@pytest.mark.parametrize("lives", [True, False], ids=["driven", "by nobody"])
def test_a_process_that_dies_while_it_answers_leaves_a_whole_answer_or_none(tmp_path: Path, lives: bool) -> None:
    """F01 F74: at each of its points; another one can answer where there is none, else is told of it."""
    counted: set[bool] = set()
    for at in range(1, 20):
        (tmp_path / str(at)).mkdir()
        owner = Owner(tmp_path / str(at))
        try:
            if not lives:
                owner.process.kill()
                owner.process.wait()
            died = subprocess.run([sys.executable, "-c", DYING, str(owner.store), str(at)], timeout=50)
            with plait.open_run("r", owner.store) as run:
                try:
                    assert run.answer("review", {"ok": False}, by="bob") is lives
                    first = False
                except UsageError as error:
                    assert "by ann" in str(error) or "is over" in str(error), error
                    first = True
            if lives:
                assert owner.says() == f"[{owner.process.pid}, {{'ok': {first}}}]"
            else:
                resumed = owner.plait("resume", "r", "--json")
                assert resumed.returncode == 0, resumed
                assert f'"ok": {str(first).lower()}' in resumed.stdout, resumed
        finally:
            owner.process.kill()
            owner.process.communicate()
        counted.add(first)
        if died.returncode == 0:
            break
        assert died.returncode == -signal.SIGKILL, died
    assert at > 3, "there were more points than these"
    assert counted == {True, False}


def until_there(path: Path) -> None:
    """Waits for a file."""
    while not path.exists():
        select.select([], [], [], 0.005)
