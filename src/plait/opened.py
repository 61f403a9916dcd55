"""A stored run from outside: asked, answered, cancelled, paused, resumed, whichever process drives it, and if none does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from plait._core.policy import OnInterrupt, nearest
from plait._core.questions import FAIL, INTERRUPT, QUESTION, RERUN, SUCCEED, Question
from plait._core.states import FINAL, STATUSES
from plait._core.why import Why
from plait._engine.desk import check_answer, open_questions, wanted
from plait._engine.doors import running_loop
from plait._engine.driver import LIVE
from plait._engine.keeping import KeptDriver
from plait._engine.replaying import Replay, read_json
from plait.errors import UsageError
from plait.forms import Form
from plait.history import StoredRun, at_a_glance, replayed
from plait.history import why as asked_why
from plait.observe.questions import OpenQuestion, fits
from plait.stores.bells import Ring
from plait.stores.locks import alive
from plait.stores.opening import command, open_store

if TYPE_CHECKING:
    from plait.stores.base import Note, RunInfo
    from plait.stores.contract import Store

__all__ = ["OpenRun", "open_run"]

PATIENCE_S = 5.0
"""So long a process that drives a run may take to say what became of a note."""

AGAIN_S = 0.05
"""So often somebody looks at the store who cannot be answered: where the other process has no bell."""


class OpenRun:
    """A run of a store, seen from any process. Close it, or use it in a `with`.

    What it is told takes effect at once where a living process drives the run, and is on record when the call returns; else it is kept for
    the next one, which `plait.resume` or `plait resume` makes.
    """

    def __init__(self, run_id: str, store: Any) -> None:
        self._store: Store = open_store(store, None, create=False)
        self._named = store
        try:
            self._run = self._store.find(run_id)
        except BaseException:
            self._store.close()
            raise

    def __enter__(self) -> OpenRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the store."""
        self._store.close()

    @property
    def id(self) -> str:
        """The run's id."""
        return self._run.id

    def look(self) -> StoredRun:
        """The run at a glance: its status, who drives it."""
        return at_a_glance(self._found())

    def questions(self) -> list[OpenQuestion]:
        """What waits for a person's answer, in the order in which it was asked."""
        replay = replayed(self._store, self._found())
        return open_questions(self.id, replay.scheduler, replay.wall)

    def why(self, key: str) -> Why:
        """Why a task stands where it stands: see `plait.why`.

        Raises:
            UsageError: for a key that is not in the run.
        """
        return asked_why(self.id, key, self._named)

    def answer(self, key: str | OpenQuestion, value: Any, *, by: str | None = None) -> bool:
        """Answers the open question `key`, or the very question that is given. True: its task goes on; False: it is kept for whoever drives the
        run: nobody does, or has not looked at it within some seconds (stopped, perhaps).

        Exactly one answer counts, also of several that come at once: every other caller is told which.

        Raises:
            UsageError: for a question that is not open, a value that does not fit, or a `by` that was not asked; nothing has changed then.
        """
        return self._give(key, by, lambda question: value)

    def answer_text(self, key: str, *words: str, by: str | None = None) -> bool:
        """The same for what a person typed: read as the question's form wants it. Words of a shell are one text, or fields of the form.

        Raises:
            UsageError: as `answer` does.
        """
        return self._give(key, by, lambda found: read_words(found, words))

    def _give(self, key: str | OpenQuestion, by: str | None, read: Callable[[Question], Any]) -> bool:
        run, replay = self._replayed("takes no answers")
        if not isinstance(key, OpenQuestion):
            found = wanted(replay.scheduler, key, self.id)
        else:
            found = wanted(replay.scheduler, key.key, self.id, (key.task, key.number))
            key = key.key
        value = read(found.question)
        check_answer(found, value, by)
        lives = is_driven(run)
        if not lives and found.due is not None and replay.wall(found.due) <= time.time():
            says = "its default counts" if found.question.default else "its task is timed out"
            raise UsageError(
                f"question {key!r} of run {self.id} is closed: its time for an answer is over, and {says} once the run goes on"
            )
        policy = replay.table.policies[found.task].on_interrupt
        if not lives and found.question.kind != INTERRUPT and policy is not OnInterrupt.RERUN:
            raise UsageError(
                f"question {key!r} of run {self.id} is closed: the code that asked it died with its process, and is not begun anew "
                f"(on_interrupt: {policy}); go on with: {command(f'resume {run.id}', self._named)}"
            )
        # It is meant for this question, and not for one that is asked under its key by the time when it is looked at.
        data = {"value": value, "task": replay.table.key(found.task), "number": found.number}
        return self._leave("answer", found.question.address, data, by, run)

    def cancel(self, key: str | None = None, *, by: str | None = None) -> bool:
        """Ends the run, or the task `key` alone. True: a process does it; False: nobody drives the run, and the next to do so finds it.

        Raises:
            UsageError: for a run or task that is over, or is not there.
        """
        run, replay = self._replayed("cannot be cancelled")
        if key is not None and not isinstance(key, str):
            raise UsageError(f"a task is known by its key, as text, not by {key!r:.80}")
        if key is not None:
            row = replay.table.find(key)
            if row < 0:
                raise UsageError(f"run {self.id} has no task {key!r}{nearest(key, replay.batch.keys)}")
            if replay.table.status[row] >= FINAL:
                raise UsageError(f"task {key!r} of run {self.id} is over: it is {STATUSES[replay.table.status[row]]}")
        return self._leave("cancel", key, None, by, run)

    def pause(self, *, by: str | None = None) -> bool:
        """Nothing new starts until `resume`; running tasks end. True: a process does it; False: the next to drive the run finds it.

        Raises:
            UsageError: for a run that is paused already, or over.
        """
        run, replay = self._replayed("cannot be paused")
        if replay.scheduler.is_paused:
            raise UsageError(f"run {self.id} is paused already")
        return self._leave("pause", None, None, by, run)

    def resume(self, *, by: str | None = None) -> None:
        """A paused run that a living process drives goes on there. (Of one that nobody drives see `plait.resume`.)

        Raises:
            UsageError: for a run that is not paused, that nobody drives, or that is over.
        """
        run, replay = self._replayed("cannot go on")
        if not is_driven(run):
            raise UsageError(
                f"nobody drives run {self.id}: {command(f'resume {self.id}', self._named)} goes on with it"
            )
        if not replay.scheduler.is_paused:
            raise UsageError(f"run {self.id} is not paused: process {run.owner.pid if run.owner else 0} drives it")
        self._leave("resume", None, None, by, run)

    def is_paused_there(self) -> bool:
        """Is the run paused, and in the hands of a living process?"""
        run = self._found()
        return is_driven(run) and replayed(self._store, run).scheduler.is_paused

    # -- how it gets there

    def _found(self) -> RunInfo:
        return self._store.find(self._run.id)

    def _replayed(self, cannot: str) -> tuple[RunInfo, Replay]:
        run = self._found()
        if run.status != "running":
            raise UsageError(f"run {run.id} is over ({run.status}): it {cannot}")
        return run, replayed(self._store, run)

    def _leave(self, kind: str, key: str | None, data: Any, by: str | None, run: RunInfo) -> bool:
        """Leaves a note, and waits for what becomes of it where somebody drives the run."""
        names = read_json(self._store.generation(run, run.generation).definition).get("secrets")
        if names:
            from plait.redaction import Secrets  # few runs have some

            data = Secrets(names).hidden(data)  # as far as this process has their values
        note = self._store.leave_note(run, kind, key, data, by, time.time(), run.generation)
        said = self._delivered(note)
        if said is None:
            return False
        if "refused" in said:
            raise UsageError(str(said["refused"]))
        return True

    def _delivered(self, note: Note) -> Mapping[str, Any] | None:
        """What the process that drives the run says; None where there is none."""
        here = self._driver_here()
        if here is not None and running_loop() is here.loop:
            here.inbox.look()
            return here.inbox.verdict(note.id) or self._store.verdict(note.id)
        if here is not None:
            here.loop.call_soon_threadsafe(here.inbox.look)
        until = time.monotonic() + PATIENCE_S
        ring = None if self._store.folder is None else Ring(self._store.folder, self._run.number)
        try:
            heard = ring is not None and ring.ring()
            while (said := self._store.verdict(note.id)) is None:
                left = until - time.monotonic()
                if left <= 0 or not is_driven(self._found()):
                    return self._store.verdict(note.id)
                if ring is None or not heard:
                    _wait(min(left, AGAIN_S))
                    heard = ring is not None and ring.ring()  # it may have a bell by now
                else:
                    ring.wait(min(left, 0.5))
            return said
        finally:
            if ring is not None:
                ring.close()

    def _driver_here(self) -> KeptDriver | None:
        """Who drives the run, in this very process."""
        for driver in list(LIVE):
            if isinstance(driver, KeptDriver) and driver.id == self.id and driver.store.where == self._store.where:
                return driver
        return None


def _wait(seconds: float) -> None:
    from threading import Event

    Event().wait(seconds)


def is_driven(run: RunInfo) -> bool:
    """Does a living process drive the run?"""
    return run.status == "running" and run.owner is not None and alive(run.owner)


def read_words(question: Question, words: Sequence[str]) -> Any:
    """What a person typed in a shell, which has taken the quotes off its words. An action may have its input behind it.

    Raises:
        UsageError: where it does not fit.
    """
    text = " ".join(words)
    fields = question.form.get("properties", {})
    if list(fields) == ["action", "input"] and words and words[0] in fields["action"].get("enum", ()):
        return {"action": words[0], "input": " ".join(words[1:])}
    if question.kind == QUESTION and not text.startswith("{") and len(Form.from_schema(question.form).fields) > 1:
        from shlex import join

        text = join(words)
    return read_answer(question, text)


def read_answer(question: Question, text: str) -> Any:
    """What a person typed, as the answer to a question.

    Raises:
        UsageError: where it does not fit.
    """
    if question.kind == INTERRUPT:
        action, _, value = text.strip().partition(" ")
        if action in (RERUN, FAIL) and not value:
            return {"action": action}
        if action == SUCCEED:
            return {"action": action, "value": Form.of({"schema": {}}).read(value) if value else None}
    if question.kind != QUESTION and not text.lstrip().startswith("{"):
        action, _, feedback = text.strip().partition(" ")
        if question.kind == INTERRUPT or action not in question.form["properties"]["action"]["enum"]:
            raise UsageError(
                f"{text.strip()!r:.80} is no answer to {question.address!r}: it takes {fits(question.kind, question.form)}"
            )
        return {"action": action, **({"feedback": feedback.strip()} if feedback.strip() else {})}
    return Form.from_schema(question.form).read(text)


def open_run(run_id: str, store: Any) -> OpenRun:
    """A stored run from outside, to look at and to tell: `plait.open_run("last", ".plait/plait.db").answer("review", {"ok": True})`.

    `run_id` is an id, the beginning of one, or `last`; `store` a path, or a store. It may be used from any process and thread.

    Raises:
        RunNotFound, StoreError: where there is none.
    """
    return OpenRun(run_id, store)
