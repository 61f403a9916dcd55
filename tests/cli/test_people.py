"""People on the command line, without a terminal: questions, answers, approvals, pauses and cancels, and what is refused."""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import plait as library
from plait.cli.stored import show

pytestmark = pytest.mark.realtime

PLAIT = [sys.executable, "-m", "plait"]
ENV = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "PLAIT_STORE")} | {
    "LOGNAME": "cy"
}

FLOW = """
name: letters
tasks:
  work: {run: echo worked}
  audience:
    ask: "Who reads it?"
    form: {team: [sales, support], copies: integer, urgent: boolean}
  ok:
    ask: "Fine?\\nReally?"
    form: boolean
    default: true
    timeout: 1h
    who: [ada, bob]
  pages:
    foreach: [north, south]
    ask: "Pages of {{ item }}?"
    form: integer
  send:
    run: echo {{ tasks.audience.output.copies }} {{ tasks.ok.output }} {{ tasks.pages.output }}
outputs: {sent: "{{ tasks.send.output }}"}
"""

REVIEW = """
name: review
tasks:
  report: {run: "echo report $F", env: {F: "{{ feedback }}"}}
  layout: {run: "echo {{ tasks.report.output }} in colour"}
  apart: {run: echo once >> apart}
  review: {ask: "Good? {{ tasks.layout.output }}", approve: layout, needs: [apart], rounds: 2}
  publish: {run: "echo {{ tasks.review.output }} >> published"}
outputs: {review: "{{ tasks.review.output }}"}
"""


def plait(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PLAIT, *words], capture_output=True, text=True, cwd=cwd, timeout=60, env=ENV, stdin=subprocess.DEVNULL
    )


def start(*words: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PLAIT, *words],
        cwd=cwd, env=ENV, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def document(cwd: Path, run: str = "r") -> dict[str, Any]:
    """What `plait show --json` says, which is asked for so often that no process is started for it."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert show(str(cwd / ".plait" / "plait.db"), run, True, False) == 0
    shown: dict[str, Any] = json.loads(said.getvalue())
    return shown


def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        select.select([], [], [], 0.05)


def refused(cwd: Path, *words: str, why: str, run: str = "r") -> None:
    """One line, exit code 2, and nothing has changed."""
    before = document(cwd, run)
    done = plait(*words, cwd=cwd)
    assert (done.returncode, done.stdout) == (2, ""), (words, done.stderr)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert why in done.stderr
    assert document(cwd, run) == before


def told(cwd: Path, *words: str) -> str:
    done = plait(*words, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """A folder with a run `r` that has ended, for only answers were missing."""
    (tmp_path / "flow.yaml").write_text(FLOW)
    assert plait("run", "flow.yaml", "--run-id", "r", cwd=tmp_path).returncode == 3
    return tmp_path


@pytest.fixture
def reviewed(tmp_path: Path) -> Path:
    """The same of a run with an approval."""
    (tmp_path / "flow.yaml").write_text(REVIEW)
    assert plait("run", "flow.yaml", "--run-id", "r", cwd=tmp_path).returncode == 3
    return tmp_path


class TestRunsThatWait:
    def test_what_is_asked_is_said_with_what_fits_and_the_command_that_answers(self, tmp_path: Path) -> None:
        """E7: exit code 3; the rest was done before."""
        (tmp_path / "flow.yaml").write_text(FLOW)
        done = plait("run", "flow.yaml", "--run-id", "r", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (3, "")
        assert "work: ok in" in done.stderr
        assert "ok: waits for an answer\n" in done.stderr
        said = done.stderr[done.stderr.index("? ") :]
        asked = (
            (
                "? audience: Who reads it? (team: one of (sales, support), copies: a whole number, urgent: true or false)\n"
                "    answer with: plait answer r audience team=VALUE copies=VALUE urgent=VALUE\n"
            ),
            "? ok: Fine?\n    Really?\n    (true or false; default: true; until ",
            "; for ada, bob)\n    answer with: plait answer r ok VALUE --as NAME\n",
            "? pages[0]: Pages of north? (a whole number)\n    answer with: plait answer r 'pages[0]' VALUE\n",
            "run r waits for 4 answers; then go on with: plait resume r\n",
        )
        for each in asked:
            assert each in said
        shown = plait("show", "r", cwd=tmp_path).stdout.replace("\n  ", "\n")
        for each in asked[:-1]:
            assert each in shown
        assert "r    letters  waiting (4 questions)" in plait("ls", cwd=tmp_path).stdout
        assert "waits for an answer" in plait("why", "r", "ok", cwd=tmp_path).stdout
        assert "send waits for audience (waiting)" in plait("why", "r", "send", cwd=tmp_path).stdout

    def test_with_jsonl_there_is_nothing_else_on_standard_output(self, tmp_path: Path) -> None:
        (tmp_path / "flow.yaml").write_text(FLOW)
        done = plait("run", "flow.yaml", "--run-id", "r", "--jsonl", cwd=tmp_path)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.returncode == 3
        assert [each["question"]["key"] for each in events if each["event"] == "task_waiting"] == [
            "audience", "ok", "pages[0]", "pages[1]",
        ]  # fmt: skip
        assert (events[-2]["event"], events[-2]["questions"]) == ("run_waiting", 4)
        assert (events[-1]["event"], events[-1]["status"]) == ("run_finished", "waiting")

    def test_the_document_has_the_open_questions(self, tmp_path: Path) -> None:
        (tmp_path / "flow.yaml").write_text(FLOW)
        done = plait("run", "flow.yaml", "--run-id", "r", "--json", cwd=tmp_path)
        found = json.loads(done.stdout)
        assert (done.returncode, found["status"]) == (3, "waiting")
        asked = {each["key"]: each for each in found["open_questions"]}
        assert list(asked) == ["audience", "ok", "pages[0]", "pages[1]"]
        assert (asked["ok"]["default"], asked["ok"]["who"], asked["ok"]["form"]) == (
            True, ["ada", "bob"], {"type": "boolean"},
        )  # fmt: skip
        assert document(tmp_path)["open_questions"] == found["open_questions"]

    def test_a_run_that_nobody_keeps_says_so_and_is_cancelled(self, tmp_path: Path) -> None:
        (tmp_path / "flow.yaml").write_text(FLOW)
        done = plait("run", "flow.yaml", "--store", "none", cwd=tmp_path)
        assert done.returncode == 3
        assert "? pages[1]: Pages of south? (a whole number)\n" in done.stderr
        assert "only answers are missing, and nobody keeps the run (--store none)" in done.stderr
        assert "waits for answers alone" not in done.stderr
        assert not (tmp_path / ".plait").exists()

    def test_a_default_counts_when_the_time_is_over_although_no_process_lived(self, tmp_path: Path) -> None:
        """E7: and one without a default is timed out."""
        (tmp_path / "flow.yaml").write_text(
            "tasks:\n  a: {ask: Yes?, form: boolean, default: true, timeout: 0.5}\n  b: {ask: No?, timeout: 0.5}\n  c: {ask: Stay?}\n"
        )
        done = plait("run", "flow.yaml", "--run-id", "r", cwd=tmp_path)
        assert done.returncode == 3
        open_now = document(tmp_path)["open_questions"]
        until(lambda: time.time() > max(each.get("until", 0) for each in open_now))
        if any(each["key"] == "b" for each in open_now):
            refused(tmp_path, "answer", "r", "b", "late", why="its time for an answer is over")
        assert plait("resume", "r", cwd=tmp_path).returncode == 3
        tasks = document(tmp_path)["tasks"]
        assert (tasks["a"]["status"], tasks["a"]["value"], tasks["b"]["status"]) == ("succeeded", True, "timed_out")
        refused(tmp_path, "answer", "r", "a", "no", why="nobody answered in time, and its default counts: true")


class TestAnswers:
    def test_answers_are_kept_until_the_run_goes_on(self, waiting: Path) -> None:
        """E7: words, fields, JSON; some are missing: exit code 3 again; then it goes on to its end."""
        for words in (
            ("pages[0]", "3"),
            ("audience", "team=sales", "copies=40", "urgent=no"),
        ):
            assert "is kept, for no process drives the run; go on with: plait resume r" in told(
                waiting, "answer", "r", *words
            )
        shown = plait("show", "r", cwd=waiting).stdout
        assert 'answered {"team": "sales", "copies": 40, "urgent": false} by cy, ' in shown
        assert "; it counts once the run goes on" in shown
        again = plait("resume", "r", cwd=waiting)
        assert again.returncode == 3
        assert "run r waits for 2 answers" in again.stderr
        assert [each["key"] for each in document(waiting)["open_questions"]] == ["ok", "pages[1]"]
        told(waiting, "answer", "last", "ok", "n", "--as", "bob")
        told(waiting, "answer", "last", "pages[1]", " 4 ")
        done = plait("resume", "last", cwd=waiting)
        assert (done.returncode, done.stdout) == (0, "sent: 40 false [3,4]\n")
        refused(
            waiting, "answer", "r", "ok", "yes", "--as", "ada", why="run r is over (succeeded): it takes no answers"
        )

    @pytest.mark.parametrize(
        ("words", "why"),
        [
            (("pages[0]", "many"), "must be a whole number, not 'many'"),
            (("pages[0]", ""), "must be a whole number"),
            (("pages[0]", "1.5"), "must be a whole number"),
            (("audience", "team=mars", "copies=1", "urgent=no"), "team must be one of (sales, support), not 'mars'"),
            (("audience", "team=sales", "copies=1"), "urgent is missing"),
            (("audience", '{"team": "sales"}'), "copies is missing"),
            (("audience", '{"team": '), "it begins with { and is no JSON"),
            (("audience", "sales"), "'sales' is not of the form name=value"),
            (("ok", "yes"), "question 'ok' is for ada, bob, not for cy"),
            (("ok", "yes", "--as", "eve"), "question 'ok' is for ada, bob, not for eve"),
            (("ok", "yes", "--as", " "), "a name is needed"),
            (("ok", "perhaps", "--as", "ada"), "must be true or false, not 'perhaps'"),
            (("work", "yes"), "task 'work' of run r asks nothing: it is succeeded"),
            (("send", "yes"), "task 'send' of run r asks nothing: it is pending"),
            (("audence", "yes"), "has no question 'audence'. Did you mean 'audience'?"),
            (("\x1b]0;x\x07", "yes"), "has no question"),
            (("audience",), "Missing argument 'VALUE...'"),
            ((), "Missing argument 'KEY'"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_an_answer_is_one_line_and_changes_nothing(
        self, waiting: Path, words: tuple[str, ...], why: str
    ) -> None:
        refused(waiting, "answer", "r", *words, why=why)

    def test_an_answer_may_begin_with_a_dash(self, waiting: Path) -> None:
        """A number below zero is no option; any other word comes after `--`."""
        told(waiting, "answer", "r", "pages[0]", "-5", "--as", "ada")
        told(waiting, "answer", "r", "audience", "team=sales", "copies=-1", "urgent=no")
        assert next(note["data"] for note in document(waiting)["notes"]) == -5
        refused(waiting, "answer", "r", "pages[1]", "-x", why="No such option")
        refused(waiting, "answer", "r", "pages[1]", "--", "-x", why="must be a whole number, not '-x'")

    def test_the_second_answer_is_told_of_the_first(self, waiting: Path) -> None:
        """E7: exactly one counts."""
        told(waiting, "answer", "r", "pages[0]", "3", "--as", "ada")
        refused(waiting, "answer", "r", "pages[0]", "4", why="has an answer by ada already")
        plait("resume", "r", cwd=waiting)
        refused(waiting, "answer", "r", "pages[0]", "4", why="is closed: it was answered by ada, with 3")

    def test_a_run_of_another_store(self, waiting: Path) -> None:
        (waiting / "other").mkdir()
        (waiting / "other" / "flow.yaml").write_text("tasks: {a: {ask: Yes?}}")
        plait("run", "flow.yaml", "--run-id", "elsewhere", cwd=waiting / "other")
        refused(waiting, "answer", "elsewhere", "a", "yes", why="there is no run 'elsewhere'")
        refused(waiting, "answer", "r", "ok", "yes", "--store", "other/.plait/plait.db", why="there is no run 'r'")
        refused(waiting, "answer", "r", "ok", "yes", "--store", "none", why="--store none has no runs")
        assert "go on with: plait resume elsewhere --store other/.plait/plait.db" in told(
            waiting, "answer", "elsewhere", "a", "yes", "--store", "other/.plait/plait.db"
        )

    def test_a_run_that_still_works_goes_on_at_once(self, tmp_path: Path) -> None:
        """X3 E7: its process was never told to stop; the slot was free meanwhile."""
        os.mkfifo(tmp_path / "gate")
        (tmp_path / "flow.yaml").write_text(
            "max_concurrency: 1\ntasks:\n  ask: {ask: Which?, form: [a, b]}\n  slow: {run: cat gate, priority: low}\n"
            "  then: {run: 'echo {{ tasks.ask.output }} > chosen', priority: low}\n"
            "outputs: {ask: '{{ tasks.ask.output }}'}\n"
        )
        child = start("run", "flow.yaml", "--run-id", "r", "-v", cwd=tmp_path)
        gate = os.open(tmp_path / "gate", os.O_WRONLY)  # waits for whoever reads it
        until(lambda: document(tmp_path)["open_questions"])
        refused_now = plait("answer", "r", "ask", "c", cwd=tmp_path)
        assert (refused_now.returncode, len(refused_now.stderr.splitlines())) == (2, 1)
        assert told(tmp_path, "answer", "r", "ask", "a") == "run r: ask is answered\n"
        late = plait("answer", "r", "ask", "b", cwd=tmp_path)
        assert late.returncode == 2
        assert 'is closed: it was answered by cy, with "a"' in late.stderr
        os.close(gate)
        out, err = child.communicate(timeout=30)
        assert (child.returncode, out) == (0, "ask: a\n"), err
        assert (tmp_path / "chosen").read_text() == "a\n"

    def test_a_run_of_a_program_goes_on_at_once_with_the_line_after_its_question(self, tmp_path: Path) -> None:
        """E7: the code before it is not run again while its process lives."""
        (tmp_path / "job.py").write_text(
            "import plait\n@plait.task\nasync def job():\n    print('before', flush=True)\n"
            "    name = await plait.ask('Who?', key='name')\n    print('for', name, flush=True)\n"
            "    return await plait.ask('How often?', int, key='number')\n"
            "if __name__ == '__main__':\n    print(plait.run(job.bind(), store='state', run_id='r'))\n"
        )
        child = subprocess.Popen(
            [sys.executable, "job.py"], cwd=tmp_path, env=ENV, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        store = ("--store", "state")
        until((tmp_path / "state").exists)

        def asked() -> list[str]:
            done = plait("show", "r", "--json", *store, cwd=tmp_path)
            return [each["key"] for each in json.loads(done.stdout)["open_questions"]] if done.stdout else []

        until(lambda: asked() == ["job/name"])
        assert told(tmp_path, "answer", "r", "job/name", "Ada", "Lovelace", *store) == "run r: job/name is answered\n"
        until(lambda: asked() == ["job/number"])
        assert plait("resume", "r", *store, cwd=tmp_path).returncode == 4
        told(tmp_path, "answer", "r", "job", "2", *store)  # the path of the task will do
        out, err = child.communicate(timeout=30)
        assert out == "before\nfor Ada Lovelace\n2\n", err

    def test_after_a_restart_the_code_begins_anew_and_is_given_what_was_answered(self, tmp_path: Path) -> None:
        """E7: once more what stands before the question, but the person is not asked again."""
        (tmp_path / "steps.py").write_text(
            "import plait\nasync def job():\n    open('ran', 'a').write('x')\n"
            "    first = await plait.ask('First?', key='first')\n    second = await plait.ask('Second?', key='second')\n"
            "    return [first, second]\n"
        )
        (tmp_path / "flow.yaml").write_text(
            "tasks: {job: {call: 'steps:job'}}\noutputs: {job: '{{ tasks.job.output }}'}"
        )
        assert plait("run", "flow.yaml", "--run-id", "r", cwd=tmp_path).returncode == 3
        told(tmp_path, "answer", "r", "job/first", "1")
        assert plait("resume", "r", cwd=tmp_path).returncode == 3
        told(tmp_path, "answer", "r", "job/second", "2")
        done = plait("resume", "r", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, 'job: ["1", "2"]\n')
        assert (tmp_path / "ran").read_text() == "xxx"

    def test_a_process_stays_where_what_asks_must_not_begin_anew_and_says_so(self, tmp_path: Path) -> None:
        """W5 E7: to leave would lose its code; the answer from elsewhere is heard at once."""
        (tmp_path / "steps.py").write_text("import plait\nasync def job(): return await plait.ask('Which?')\n")
        (tmp_path / "flow.yaml").write_text(
            "tasks: {job: {call: 'steps:job', on_interrupt: ask}}\noutputs: {job: '{{ tasks.job.output }}'}"
        )
        child = start("run", "flow.yaml", "--run-id", "r", cwd=tmp_path)
        assert child.stderr is not None
        said = [child.stderr.readline() for _ in range(4)]
        assert said[1:] == [
            "? job: Which? (text)\n",
            "    answer with: plait answer r job VALUE\n",
            "run r waits for an answer, and this process stays: what asks must not begin anew (on_interrupt)\n",
        ]
        assert told(tmp_path, "answer", "r", "job", "this", "one") == "run r: job is answered\n"
        assert (child.communicate(timeout=30)[0], child.returncode) == ("job: this one\n", 0)


class TestApprovals:
    def test_work_is_done_again_with_feedback_and_approved(self, reviewed: Path) -> None:
        """A18: what takes the feedback and all between; nothing else runs again; in the end there are no rounds left."""
        told(reviewed, "answer", "r", "review", "revise", "shorter,", "please")
        assert "answered revise shorter, please by cy" in plait("show", "r", cwd=reviewed).stdout
        again = plait("resume", "r", cwd=reviewed)
        assert again.returncode == 3
        assert (
            "? review: Good? report shorter, please in colour (approve, revise FEEDBACK, or reject [REASON])"
            in again.stderr
        )
        told(reviewed, "answer", "r", "review", '{"action": "revise", "feedback": "longer"}')
        again = plait("resume", "r", cwd=reviewed)
        assert "? review: Good? report longer in colour (approve, or reject [REASON])" in again.stderr
        refused(reviewed, "answer", "r", "review", "revise", "more", why="it takes approve, or reject [REASON]")
        told(reviewed, "answer", "r", "review", "approve")
        done = plait("resume", "r", cwd=reviewed)
        assert (done.returncode, done.stdout) == (0, "review: report longer in colour\n")
        assert (reviewed / "apart").read_text() == "once\n"
        assert (reviewed / "published").read_text() == "report longer in colour\n"

    def test_a_run_with_a_gate_that_was_declined_is_rejected_too(self, tmp_path: Path) -> None:
        """A18: exit code 1, though nothing was stopped."""
        (tmp_path / "gates.py").write_text(
            "from plait.errors import Declined\n\ndef gate():\n    raise Declined('gate was declined by cy')\n\ndef work():\n    return 'done'\n"
        )
        tasks = "  a: {call: 'gates:gate'}\n  b: {call: 'gates:work', needs: [a]}\n  c: {call: 'gates:work'}\n"
        (tmp_path / "flow.yaml").write_text(f"name: gates\non_failure: fail_fast\ntasks:\n{tasks}")
        done = plait("run", "flow.yaml", "--run-id", "r", cwd=tmp_path)
        assert done.returncode == 1, done.stderr
        assert "gate was declined by cy" in done.stderr
        assert "run r rejected in " in done.stderr
        assert "c" in plait("show", "r", cwd=tmp_path).stdout

    def test_a_rejected_run_says_so_and_may_be_tried_again(self, reviewed: Path) -> None:
        """A18: exit code 1; nothing was published."""
        told(reviewed, "answer", "r", "review", "reject", "not", "this", "week")
        done = plait("resume", "r", cwd=reviewed)
        assert done.returncode == 1
        assert "review was rejected by cy: not this week\n" in done.stderr
        assert "run r rejected in " in done.stderr
        assert "r    review  rejected" in plait("ls", cwd=reviewed).stdout
        assert not (reviewed / "published").exists()
        refused(reviewed, "answer", "r", "review", "approve", why="run r is over (rejected)")
        assert plait("resume", "r", cwd=reviewed).returncode == 1
        assert plait("retry", "r", cwd=reviewed).returncode == 3
        told(reviewed, "answer", "r", "review", "approve")
        assert plait("resume", "r", cwd=reviewed).returncode == 0

    @pytest.mark.parametrize(
        ("words", "why"),
        [
            (("maybe",), "'maybe' is no answer to 'review': it takes approve, revise FEEDBACK, or reject [REASON]"),
            (("",), "'' is no answer to 'review'"),
            (("revise",), "asks for a revision, and does not say of what: revise FEEDBACK"),
            (("approve", "well", "done"), "has feedback, which goes with revise"),
            (("yes",), "it takes approve"),
            (('{"action": "yes"}',), "action must be one of"),
            (('{"action": "revise"}',), "does not say of what"),
        ],
    )
    def test_what_is_no_decision_is_refused(self, reviewed: Path, words: tuple[str, ...], why: str) -> None:
        refused(reviewed, "answer", "r", "review", *words, why=why)


class TestPausingAndCancelling:
    def gated(self, folder: Path) -> tuple[subprocess.Popen[str], int]:
        """A run that works behind a gate, and the gate."""
        os.mkfifo(folder / "gate")
        (folder / "flow.yaml").write_text(
            "tasks:\n  slow: {run: cat gate}\n  next: {needs: [slow], run: touch next}\n  ask: {ask: Yes?, form: boolean}\n"
        )
        child = start("run", "flow.yaml", "--run-id", "r", cwd=folder)
        gate = os.open(folder / "gate", os.O_WRONLY)
        until(lambda: document(folder)["open_questions"])
        return child, gate

    def test_a_paused_run_starts_nothing_and_leaves_and_goes_on_in_another_process(self, tmp_path: Path) -> None:
        """E7: what runs may end; exit code 3; an answer is taken meanwhile."""
        child, gate = self.gated(tmp_path)
        assert told(tmp_path, "pause", "r") == "run r is paused: nothing starts; go on with: plait resume r\n"
        refused(tmp_path, "pause", "r", why="run r is paused already")
        told(tmp_path, "answer", "r", "ask", "yes")
        os.close(gate)
        err = child.communicate(timeout=30)[1]
        assert child.returncode == 3
        assert "run r is paused; go on with: plait resume r\n" in err
        assert not (tmp_path / "next").exists()
        shown = plait("show", "r", cwd=tmp_path).stdout
        assert "run r flow: paused" in shown
        assert "go on with: plait resume r" in shown
        assert "paused" in plait("why", "r", "next", cwd=tmp_path).stdout
        assert " paused " in plait("ls", cwd=tmp_path).stdout
        refused(tmp_path, "pause", "r", why="paused already")
        assert plait("resume", "r", cwd=tmp_path).returncode == 0
        assert (tmp_path / "next").exists()

    def test_a_paused_run_goes_on_where_it_is_driven(self, tmp_path: Path) -> None:
        child, gate = self.gated(tmp_path)
        told(tmp_path, "pause", "r")
        assert told(tmp_path, "resume", "r") == f"run r goes on in process {child.pid}\n"
        assert plait("resume", "r", cwd=tmp_path).returncode == 4  # it is driven, and not paused
        told(tmp_path, "answer", "r", "ask", "no")
        os.close(gate)
        child.communicate(timeout=30)
        assert child.returncode == 0
        assert (tmp_path / "next").exists()

    def test_a_run_and_one_task_of_it_are_cancelled_where_they_are_driven(self, tmp_path: Path) -> None:
        child, gate = self.gated(tmp_path)
        refused(tmp_path, "cancel", "r", "nothing", why="run r has no task 'nothing'")
        assert told(tmp_path, "cancel", "r", "ask") == "task ask of run r is being cancelled\n"
        until(lambda: document(tmp_path)["tasks"]["ask"]["status"] == "cancelled")
        refused(tmp_path, "cancel", "r", "ask", why="task 'ask' of run r is over: it is cancelled")
        refused(tmp_path, "answer", "r", "ask", "yes", why="is closed: its task is cancelled")
        assert told(tmp_path, "cancel", "r") == "run r is being cancelled\n"
        err = child.communicate(timeout=30)[1]
        os.close(gate)
        assert child.returncode == 1
        assert "run r cancelled in " in err
        refused(tmp_path, "cancel", "r", why="run r is over (cancelled)")
        refused(tmp_path, "pause", "r", why="run r is over (cancelled)")

    def test_what_nobody_is_there_to_do_is_kept_and_shown(self, waiting: Path) -> None:
        """E7: cancel of a task, then of the run; each once."""
        assert "for no process drives the run; go on with: plait resume r" in told(
            waiting, "cancel", "r", "ok", "--as", "ada"
        )
        assert "asked for by ada, " in plait("show", "r", cwd=waiting).stdout
        refused(waiting, "cancel", "r", "ok", why="was asked to cancel 'ok' by ada already")
        refused(waiting, "cancel", "r", "work", why="task 'work' of run r is over: it is succeeded")
        assert plait("resume", "r", cwd=waiting).returncode == 3
        assert document(waiting)["tasks"]["ok"]["status"] == "cancelled"
        told(waiting, "cancel", "r")
        assert document(waiting)["notes"] != []
        refused(waiting, "cancel", "r", why="was asked to cancel by cy already")
        assert plait("resume", "r", cwd=waiting).returncode == 1
        assert (document(waiting)["status"], document(waiting)["notes"]) == ("cancelled", [])

    def test_a_pause_is_kept_too(self, waiting: Path) -> None:
        assert "the wish to pause is kept, for no process drives the run" in told(waiting, "pause", "r")
        refused(waiting, "pause", "r", why="was asked to pause by cy already")
        paused = plait("resume", "r", cwd=waiting)
        assert (paused.returncode, document(waiting)["status"]) == (3, "paused")
        assert "run r is paused; go on with: plait resume r\n" in paused.stderr
        assert plait("resume", "r", cwd=waiting).returncode == 3
        assert document(waiting)["status"] == "waiting"

    @pytest.mark.parametrize("verb", ["answer", "cancel", "pause"])
    def test_runs_that_are_not_there(self, waiting: Path, verb: str) -> None:
        rest = ("ok", "yes") if verb == "answer" else ()
        refused(waiting, verb, "zz", *rest, why="there is no run 'zz'")
        refused(waiting, verb, why="Missing argument 'RUN'")


class TestInterrupted:
    @pytest.fixture
    def killed(self, tmp_path: Path) -> Path:
        """A run whose process was killed while a task ran that must not run twice unseen."""
        os.mkfifo(tmp_path / "gate")
        (tmp_path / "flow.yaml").write_text(
            "tasks:\n  transfer: {run: 'echo x >> ran; cat gate; echo 7', output: json, on_interrupt: ask}\n"
            "  after: {run: 'echo {{ tasks.transfer.output }}'}\noutputs: {after: '{{ tasks.after.output }}'}\n"
        )
        child = start("run", "flow.yaml", "--run-id", "r", cwd=tmp_path)
        gate = os.open(tmp_path / "gate", os.O_WRONLY)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        os.close(gate)
        (tmp_path / "gate").unlink()
        (tmp_path / "gate").write_text("")
        done = plait("resume", "r", cwd=tmp_path)
        assert done.returncode == 3
        assert "(rerun, succeed [VALUE], or fail)" in done.stderr
        assert (tmp_path / "ran").read_text() == "x\n"
        return tmp_path

    @pytest.mark.parametrize(
        ("words", "code", "shown", "ran"),
        [
            (("rerun",), 0, "after: 7\n", "x\nx\n"),
            (("succeed", "5"), 0, "after: 5\n", "x\n"),
            (("succeed", '"five"'), 0, "after: five\n", "x\n"),
            (("succeed",), 0, "after: \n", "x\n"),
            (("fail",), 1, "after: null\n", "x\n"),
        ],
    )
    def test_a_person_says_what_becomes_of_a_task_that_was_cut_short(
        self, killed: Path, words: tuple[str, ...], code: int, shown: str, ran: str
    ) -> None:
        """W5."""
        told(killed, "answer", "r", "transfer", *words)
        done = plait("resume", "r", cwd=killed)
        assert (done.returncode, done.stdout) == (code, shown), done.stderr
        assert (killed / "ran").read_text() == ran

    def test_anything_else_is_refused(self, killed: Path) -> None:
        for words in (("again",), ("rerun", "now"), ("fail", "it"), ("",), ('{"action": "rerun", "value": 1}',)):
            refused(killed, "answer", "r", "transfer", *words, why="'transfer'")


def test_what_is_kept_is_seen_from_python_and_the_other_way_round(waiting: Path) -> None:
    store = waiting / ".plait" / "plait.db"
    with library.open_run("r", store) as run:
        assert [each.key for each in run.questions()] == ["audience", "ok", "pages[0]", "pages[1]"]
        assert run.answer("pages[0]", 7, by="ada") is False
        with pytest.raises(library.UsageError, match="does not fit"):
            run.answer_text("pages[1]", "many")
        with pytest.raises(library.UsageError, match="does not fit"):
            run.answer_text("audience")
    assert "answered 7 by ada" in plait("show", "r", cwd=waiting).stdout
