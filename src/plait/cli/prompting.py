"""Questions on the terminal: one after the other, below the display of the run, which goes on."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.text import Text

from plait._core.questions import QUESTION, Question
from plait._engine.driver import Driver
from plait.cli.asked import prompt_lines, said, short, when
from plait.errors import UsageError
from plait.forms import Form
from plait.observe.live import LiveView
from plait.observe.questions import OpenQuestion
from plait.observe.text import clean, duration
from plait.opened import read_answer

ENTER, ERASE, CLEAR, NEXT, END = ("\r", "\n"), ("\x7f", "\b"), "\x15", "\t", "\x04"

CONTROLS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|O.?|.)?", re.S)
"""Arrows, function keys and the like, as a terminal sends them."""


A_DAY_S = 86_400.0


class Prompter:
    """Asks what a run wants to know, in the order in which it was asked. What is answered elsewhere meanwhile goes away here.

    With a `view` the question is a part of the live display, and what is typed is edited here; without one the terminal does it,
    line by line, and `say` writes.
    """

    def __init__(self, driver: Driver, view: LiveView | None, say: Callable[[str], None], by: str | None) -> None:
        self._driver = driver
        self._view = view
        self._say = say
        self._by = by
        self._fd = sys.stdin.fileno()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._before: list[Any] | None = None
        self._open: list[OpenQuestion] = []
        self._skipped: list[str] = []  # keys of those that were put off, in that order
        self._current: OpenQuestion | None = None
        self._fields: dict[str, Any] = {}  # of an answer that has several, those that are there
        self._typed = ""
        self._wrong = ""
        self._changes = 0  # of the questions, when they were looked at
        self._dead = False  # is nobody at the terminal any more?
        self.on_end: Callable[[], None] = lambda: None
        """Called when nobody is there any more to answer."""

    def __enter__(self) -> Prompter:
        loop = self._driver.loop
        if self._view is not None:
            self._take_keys()
            self._view.below = self._lines
            loop.add_signal_handler(signal.SIGCONT, self._take_keys)
        loop.add_reader(self._fd, self._read)
        return self

    def __exit__(self, *error: object) -> None:
        loop = self._driver.loop
        loop.remove_reader(self._fd)
        if self._view is not None:
            self._view.below = None
            loop.remove_signal_handler(signal.SIGCONT)
        self.restore()

    def _take_keys(self) -> None:
        """What is typed comes key by key, and is not shown by the terminal; Ctrl-C and Ctrl-Z stay what they are."""
        mode = termios.tcgetattr(self._fd)
        if self._before is None:
            self._before = mode
        mode = list(mode)
        mode[3] &= ~(termios.ICANON | termios.ECHO)
        mode[6] = list(mode[6])
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._fd, termios.TCSADRAIN, mode)

    def restore(self) -> None:
        """The terminal as it was."""
        if self._before is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    # -- what is asked

    def look(self) -> None:
        """Something may have been asked, or answered elsewhere."""
        asked = self._driver.scheduler.questions
        changes = 0 if asked is None else asked.changes
        if changes == self._changes:
            return
        self._changes = changes
        self._turn()

    def _turn(self) -> None:
        """Asks what is open now."""
        self._open = [] if self._dead else self._driver.desk.questions()
        known = [each.key for each in self._open]
        self._skipped = [key for key in self._skipped if key in known]
        if self._current is not None and self._same(self._current) is None:
            self._tell(f"{clean(self._current.key)}: answered elsewhere, or not wanted any more")
            self._current = None
        if self._current is None and self._open:
            first = [each for each in self._open if each.key not in self._skipped]
            self._turn_to(first[0] if first else self._next_skipped())
        self._refresh()

    def _same(self, question: OpenQuestion) -> OpenQuestion | None:
        return next(
            (each for each in self._open if (each.key, each.asked_at) == (question.key, question.asked_at)), None
        )

    def _next_skipped(self) -> OpenQuestion:
        key = self._skipped.pop(0)
        return next(each for each in self._open if each.key == key)

    def _turn_to(self, question: OpenQuestion) -> None:
        self._current, self._fields, self._typed, self._wrong = question, {}, "", ""
        if self._view is None:
            for line in self._plain(question):
                self._say(line)
            self._ask_plainly()

    def _ask_plainly(self) -> None:
        sys.stderr.write(f"{self._field_prompt()}> ")
        sys.stderr.flush()

    def _plain(self, question: OpenQuestion) -> Iterator[str]:
        yield f"? {clean(question.key)}{self._place()}"
        yield from (f"  {line}" for line in prompt_lines(question))
        yield f"  {_what_fits(question)}"

    def _place(self) -> str:
        return "" if len(self._open) < 2 else f" ({len(self._open)} questions are open)"

    def _field(self) -> tuple[str, Form] | None:
        """The field that is asked for, of a form that has several."""
        if self._current is None or self._current.kind != QUESTION:
            return None
        fields = Form.from_schema(self._current.form).fields
        return next((each for each in fields if each[0] not in self._fields), None) if len(fields) > 1 else None

    def _field_prompt(self) -> str:
        field = self._field()
        return "" if field is None else f"{clean(field[0])} ({field[1].shown}) "

    def _lines(self) -> list[Text]:
        """The question as a part of the display."""
        question = self._current
        if question is None:
            return []
        head = Text("? ", style="bold yellow")
        head.append(clean(question.key), style="bold")
        head.append(self._place(), style="dim")
        lines = [head, *(Text(f"  {line}") for line in prompt_lines(question))]
        hint = _what_fits(question) + ("; Tab: the next question" if len(self._open) > 1 else "")
        lines.append(Text(f"  {hint}", style="dim"))
        if self._wrong:
            lines.append(Text(f"  {self._wrong}", style="red"))
        entry = Text(f"  {self._field_prompt()}> ", style="yellow")
        entry.append(self._typed, style="default")
        entry.append("▏", style="bold")
        lines.append(entry)
        return lines

    # -- what is typed

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._nobody()
            return
        text = self._decoder.decode(data)
        if self._view is None:
            for line in text.splitlines():
                self._entered(line)
            return
        for key in CONTROLS.sub("", text):
            self._key(key)
        self._refresh()

    def _key(self, key: str) -> None:
        if self._current is None:
            return
        if key in ENTER:
            self._entered(self._typed)
        elif key in ERASE:
            self._typed = self._typed[:-1]
        elif key == CLEAR:
            self._typed = ""
        elif key == NEXT:
            self._skip()
        elif key == END and not self._typed:
            self._nobody()
        elif key.isprintable():
            self._typed += key

    def _skip(self) -> None:
        if self._current is not None and len(self._open) > 1:
            self._skipped.append(self._current.key)
            self._current = None
            self._turn()

    def _nobody(self) -> None:
        """The terminal is gone, or whoever sits there answers no more."""
        self._dead, self._current = True, None
        self._driver.loop.remove_reader(self._fd)
        self._tell("no more answers come from this terminal: plait answer gives them from another one")
        self._refresh()
        self.on_end()

    def _entered(self, text: str) -> None:
        question = self._current
        if question is None:
            return
        try:
            field = self._field()
            if not text.strip() and question.has_default and not self._fields:
                value = question.default
            elif field is not None and not text.lstrip().startswith("{"):
                self._fields[field[0]] = field[1].read(text)
                if self._field() is not None:
                    self._typed = self._wrong = ""
                    if self._view is None:
                        self._ask_plainly()
                    return
                value = dict(self._fields)
            else:
                value = read_answer(_as_question(question), text)
            self._driver.desk.answer(question.key, value, self._by, (question.task, question.number))
        except UsageError as error:
            self._wrong = clean(str(error))
            if self._view is None:
                self._say(f"  {self._wrong}")
                self._ask_plainly()
            self._fields = {} if self._field() is None else self._fields
            self._typed = ""
            return
        self._tell(f"{clean(question.key)}: answered {clean(said(question, value))}")
        self._current = None
        self._turn()

    def _tell(self, text: str) -> None:
        if self._view is None:
            self._say(text)
        else:
            self._view.tell(text)

    def _refresh(self) -> None:
        if self._view is not None:
            self._view.refresh()


def _as_question(question: OpenQuestion) -> Question:
    return Question(question.key, question.prompt, question.form, kind=question.kind)


def _what_fits(question: OpenQuestion) -> str:
    fits = question.fits
    if question.has_default:
        fits += f"; Enter: {clean(short(question.default))}"
    if question.until is not None:
        left = max(0.0, question.until - time.time())
        says = "that counts" if question.has_default else "its task times out"
        at = f"in {duration(left)}" if left < A_DAY_S else f"at {when(question.until)}"
        fits += f"; {at} {says}"
    if question.who:
        fits += f"; for {clean(', '.join(question.who))}"
    return fits


__all__ = ["Prompter"]
