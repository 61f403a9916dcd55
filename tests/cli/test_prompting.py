"""Questions on a terminal, a real one: what is shown, what keys do, and how the terminal is left."""

from __future__ import annotations

import json
import os
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]

PLAIT = f"{shlex.quote(sys.executable)} -m plait"
ENV = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "PLAIT_STORE", "TMUX")}

FLOW = """
name: letters
tasks:
  work: {run: "cat gate; echo more"}
  channel:
    ask: "Where to?"
    form: [web, mail]
    default: web
  reader:
    ask: "Who reads it?"
    form: {team: [sales, support], copies: integer, urgent: boolean}
outputs: {channel: "{{ tasks.channel.output }}", reader: "{{ tasks.reader.output }}"}
"""


def until(holds: Callable[[], Any], says: Callable[[], Any] = lambda: "") -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, says()
        select.select([], [], [], 0.05)


class Terminal:
    """A shell in a terminal of tmux."""

    def __init__(self, folder: Path, columns: int, lines: int) -> None:
        self.folder = folder
        self._server = f"plait-{os.getpid()}-{folder.name}"[:60]
        shell = ["env", "PS1=$ ", "ENV=", "bash", "--norc", "--noprofile"]
        self._tmux(
            "-f", "/dev/null", "new-session", "-d", "-s", "t", "-x", str(columns), "-y", str(lines),
            "-c", str(folder), *shell,
        )  # fmt: skip
        self.shows("$")

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-L", self._server, *words], capture_output=True, text=True, check=True, timeout=20, env=ENV
        )
        return done.stdout

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p", "-t", "t")

    def everything(self) -> str:
        """With what has left the screen at its top, lines that were broken together again."""
        return self._tmux("capture-pane", "-p", "-J", "-S", "-2000", "-t", "t")

    def keys(self, *names: str) -> None:
        self._tmux("send-keys", "-t", "t", *names)

    def types(self, text: str, enter: bool = True) -> None:
        self._tmux("send-keys", "-l", "-t", "t", text)
        if enter:
            self.keys("Enter")

    def shows(self, *texts: str) -> None:
        until(lambda: all(text in self.screen() for text in texts), lambda: (texts, self.screen()))

    def hides(self, *texts: str) -> None:
        until(lambda: not any(text in self.screen() for text in texts), lambda: (texts, self.screen()))

    def run(self, words: str, before: str = "", after: str = "") -> None:
        self.types(f"clear; {before} {PLAIT} {words}; echo exit-code=$? {after}")

    def close(self) -> None:
        self._tmux("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    (tmp_path / "flow.yaml").write_text(FLOW)
    os.mkfifo(tmp_path / "gate")
    made = Terminal(tmp_path, 80, 24)
    yield made
    made.close()


def open_gate(folder: Path) -> None:
    """Lets the work behind the gate end."""
    os.close(os.open(folder / "gate", os.O_WRONLY))


def plait(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "plait", *words],
        capture_output=True, text=True, cwd=cwd, timeout=60, env=ENV, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_two_questions_are_asked_while_a_task_works(terminal: Terminal) -> None:
    """E7: the display goes on; Tab changes the question; what does not fit is told; fields come one after the other; Enter takes the default."""
    terminal.run("run flow.yaml --run-id r")
    terminal.shows("? channel (2 questions are open)", "one of: web, mail; Enter: web; Tab: the next question", "work")
    clock = terminal.screen()
    until(lambda: terminal.screen() != clock)  # times go on
    terminal.types("fax")
    terminal.shows("the answer does not fit: it must be one of (web, mail), not 'fax'")
    terminal.keys("Tab")
    terminal.shows("? reader (2 questions are open)", "team (one of: sales, support) >")
    terminal.hides("does not fit")
    terminal.types("mars")
    terminal.shows("not 'mars'", "team (one of: sales, support) >")
    terminal.types("1")  # the first of the choices
    terminal.shows("copies (a whole number) >")
    terminal.types("many")
    terminal.shows("not 'many'", "copies (a whole number) >")
    terminal.types("40")
    terminal.shows("urgent (true or false) >")
    terminal.types("no")
    terminal.shows('reader: answered {"team": "sales", "copies": 40, "urgent": false}', "? channel", "Enter: web")
    terminal.hides("questions are open")
    terminal.keys("Enter")
    terminal.shows("channel: answered web")
    terminal.hides("? channel")
    open_gate(terminal.folder)
    terminal.shows("channel: web", 'reader: {"team": "sales", "copies": 40, "urgent": false}', "exit-code=0")


def test_what_is_typed_can_be_edited(terminal: Terminal) -> None:
    """E7: backspace, Ctrl-U, arrows, wide characters."""
    (terminal.folder / "flow.yaml").write_text("tasks: {a: {ask: Name?}}\noutputs: {a: '{{ tasks.a.output }}'}")
    terminal.run("run flow.yaml")
    terminal.shows("? a")
    terminal.types("nothing", enter=False)
    terminal.shows("> nothing")
    terminal.keys("C-u")
    terminal.hides("> nothing")
    terminal.types("漢字éüx", enter=False)
    terminal.keys("Left", "Up", "F5", "BSpace", "BSpace")
    terminal.types("!", enter=False)
    terminal.shows("> 漢字é!")
    terminal.keys("Enter")
    terminal.shows("a: answered 漢字é!", "a: 漢字é!", "exit-code=0")


def test_ctrl_c_leaves_the_run_and_the_terminal_as_it_was(terminal: Terminal) -> None:
    """E7 F06: exit code 130, and `stty -g` says the same as before."""
    terminal.types(f"clear; stty -g > before; ({PLAIT} run flow.yaml --run-id r; echo exit-code=$?; stty -g > after)")
    terminal.shows("? channel")
    terminal.types("we", enter=False)
    terminal.shows("> we")
    terminal.keys("C-c")
    terminal.shows("run r is interrupted; go on with: plait resume r")
    until((terminal.folder / "before").exists)
    terminal.types("stty -g > after; echo do'ne'")
    terminal.shows("done")
    assert (terminal.folder / "before").read_text() == (terminal.folder / "after").read_text()
    done = plait("show", "r", "--json", cwd=terminal.folder)
    assert [each["key"] for each in json.loads(done.stdout)["open_questions"]] == ["channel", "reader"]


def test_ctrl_d_answers_no_more_from_here(terminal: Terminal) -> None:
    """E7: the work goes on; then the run ends with exit code 3, and can be answered from elsewhere."""
    terminal.run("run flow.yaml --run-id r", after="; stty -a | grep -o '.icanon'")
    terminal.shows("? channel")
    terminal.keys("C-d")
    terminal.shows("no more answers come from this terminal")
    terminal.hides("? channel")
    open_gate(terminal.folder)
    terminal.shows("run r waits for 2 answers; then go on with: plait resume r", "exit-code=3")
    assert "-icanon" not in terminal.screen()


def test_stopped_and_in_the_foreground_again_it_goes_on(terminal: Terminal) -> None:
    """E7: Ctrl-Z and fg."""
    terminal.types(f"clear; {PLAIT} run flow.yaml --run-id r")
    terminal.shows("? channel")
    terminal.types("ma", enter=False)
    terminal.shows("> ma")
    terminal.keys("C-z")
    terminal.shows("Stopped")
    terminal.types("clear; fg")
    terminal.shows("? channel", "> ma")
    terminal.types("il")
    terminal.shows("channel: answered mail", "? reader")
    terminal.keys("C-c")
    terminal.shows("is interrupted")


def test_in_the_background_nothing_is_read(terminal: Terminal) -> None:
    """E7: it would be stopped for reading: it ends as without a terminal."""
    terminal.types(f"clear; {PLAIT} run flow.yaml --run-id r & wait $!; echo exit-code=$?")
    open_gate(terminal.folder)
    terminal.shows("run r waits for 2 answers", "exit-code=3")
    assert "Stopped" not in terminal.screen()


@pytest.mark.parametrize("closed", ["< /dev/null", "<&-"])
def test_without_standard_input_nothing_is_asked(terminal: Terminal, closed: str) -> None:
    terminal.run(f"run flow.yaml --run-id r {closed}")
    open_gate(terminal.folder)
    terminal.shows("answer with: plait answer r channel VALUE", "exit-code=3")


@pytest.mark.parametrize("plain", ["NO_COLOR=1", "TERM=dumb"])
def test_line_by_line_where_the_terminal_is_to_stay_plain(terminal: Terminal, plain: str) -> None:
    terminal.run("run flow.yaml --run-id r", before=plain)
    terminal.shows("? channel", "  Where to?", "  one of: web, mail; Enter: web", ">")
    terminal.types("fax")
    terminal.shows("not 'fax'")
    terminal.keys("Enter")
    terminal.shows("channel: answered web", "? reader", "team (one of: sales, support) >")
    terminal.types("support")
    terminal.shows("copies (a whole number) >")
    terminal.types("copies")
    terminal.shows("not 'copies'")
    terminal.types("2")
    terminal.shows("urgent (true or false) >")
    terminal.types("yes")
    terminal.shows("reader: answered")
    open_gate(terminal.folder)
    terminal.shows("exit-code=0")
    assert "\x1b" not in terminal._tmux("capture-pane", "-p", "-e", "-t", "t")


def test_what_is_answered_elsewhere_goes_away(terminal: Terminal) -> None:
    """E7: exactly one answer counts."""
    terminal.run("run flow.yaml --run-id r")
    terminal.shows("? channel (2 questions are open)")
    terminal.types("we", enter=False)
    terminal.shows("> we")
    assert plait("answer", "r", "channel", "mail", cwd=terminal.folder).returncode == 0
    terminal.shows("channel: answered elsewhere", "? reader", "team (one of: sales, support) >")
    terminal.hides("> we")
    assert plait("answer", "r", "reader", "team=sales", "copies=1", "urgent=y", cwd=terminal.folder).returncode == 0
    terminal.hides("? reader")
    open_gate(terminal.folder)
    terminal.shows("channel: mail", "exit-code=0")


def test_the_window_is_closed_and_another_terminal_answers(terminal: Terminal) -> None:
    """E7 A18: SIGHUP: the run is left in order; answers are kept; `resume` goes on."""
    (terminal.folder / "flow.yaml").write_text(
        "name: publish\ntasks:\n  report: {run: echo report}\n  review: {ask: 'Good? {{ tasks.report.output }}', approve: report}\n"
        "  publish: {run: 'echo {{ tasks.review.output }} > published'}\n"
    )
    terminal.run("run flow.yaml --run-id r")
    terminal.shows("? review", "approve, or reject [REASON]")
    terminal._tmux("new-session", "-d", "-s", "other", "sleep 600")
    terminal._tmux("kill-session", "-t", "t")
    until(lambda: "interrupted" in plait("ls", cwd=terminal.folder).stdout)
    assert plait("answer", "r", "review", "approve", cwd=terminal.folder).returncode == 0
    assert plait("resume", "r", cwd=terminal.folder).returncode == 0
    assert (terminal.folder / "published").read_text() == "report\n"


def test_no_escapes_of_a_question_reach_the_terminal(terminal: Terminal) -> None:
    """S28: prompts, choices and defaults are data."""
    (terminal.folder / "flow.yaml").write_text(
        'tasks:\n  a:\n    ask: "\\e]0;owned\\a\\e[2Jgone\\r\\nnext\\u202e"\n    form: ["\\e[31mred", b]\n    default: "\\e[31mred"\n'
        '    who: ["\\e[5mx"]\n'
    )
    for plain in ("", "NO_COLOR=1"):
        terminal.run("run flow.yaml", before=plain)
        terminal.shows("? a", "?]0;owned??[2Jgone", "next?", "?[31mred")
        terminal.shows("for ?[5mx")
        terminal.types("b")
        terminal.shows("is for ?[5mx")
        terminal.keys("C-c")
        terminal.shows("is interrupted")
        shown = terminal._tmux("capture-pane", "-p", "-e", "-t", "t")
        assert "\x1b[5m" not in shown
        assert "\x1b[31mred" not in shown
        assert "owned" not in terminal._tmux("display-message", "-p", "-t", "t", "#{pane_title}")


def test_fifty_questions_on_a_small_terminal(tmp_path: Path) -> None:
    """E7: what is asked, and where to type, is to be seen whatever else there is to show."""
    os.mkfifo(tmp_path / "gate")
    (tmp_path / "flow.yaml").write_text(
        "name: many\nmax_concurrency: 60\ntasks:\n  work: {foreach: [1, 2, 3, 4, 5, 6, 7, 8, 9], run: cat gate}\n"
        f"  ask:\n    foreach: {list(range(50))}\n    form: integer\n"
        f'    ask: "Question {{{{ item }}}}?\\n{"A long line of words. " * 4}\\n{"x" * 300}"\n'
    )
    terminal = Terminal(tmp_path, 40, 10)
    try:
        terminal.run("run flow.yaml --run-id r")
        terminal.shows("? ask[0] (50 questions are open)", "> ")
        terminal.types("no")
        terminal.shows("? ask[0]", "not 'no'")
        terminal.keys("Tab")
        terminal.shows("? ask[1] (50 questions are open)")
        for number in range(50):
            terminal.types(str(number))
        terminal.hides("? ask[")

        def shown() -> Any:
            return json.loads(plait("show", "r", "--json", cwd=tmp_path).stdout)

        def answered() -> bool:
            tasks = shown()["tasks"]
            return all(tasks[f"ask[{number}]"]["status"] == "succeeded" for number in range(50))

        until(answered, shown)  # nobody is asked any more a moment before that
        terminal.keys("C-c")
        terminal.shows("is interrupted")
        found = shown()
        assert found["open_questions"] == []
        # The one that was put off came last.
        assert [found["tasks"][f"ask[{number}]"]["value"] for number in range(50)] == [49, *range(49)]
    finally:
        terminal.close()
