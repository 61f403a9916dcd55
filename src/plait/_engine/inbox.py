"""What other processes want of a run: their notes in its store are carried out one by one, and each gets its verdict with the facts it led to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from plait.errors import PlaitError, UsageError
from plait.logs import log

if TYPE_CHECKING:
    from plait._engine.keeping import KeptDriver
    from plait.stores.base import Claim, Note
    from plait.stores.bells import Bell, Sender
    from plait.stores.contract import Store

SOON_S = 0.1
"""A run has a bell from so long after its start on: most are over by then, and were never asked for anything."""

LOOK_S = 1.0
"""So often somebody looks whether there is something new: there may be no bell, and whoever left a note may have died before ringing it."""


class Inbox:
    """The notes of one run. Used in its loop's thread only, from `open` to `close`."""

    def __init__(self, driver: KeptDriver, store: Store, claim: Claim) -> None:
        self._driver = driver
        self._store = store
        self._claim = claim
        self._bell: Bell | None = None
        self._senders: list[Sender] = []
        self._timer: Any = None
        self._version: int | None = None
        self._said: dict[int, Mapping[str, Any]] = {}  # and not committed yet, or a moment ago
        self._closed = False

    def open(self) -> None:
        """Looks what is there, and hears of what comes: soon, where the run is new."""
        if not self._driver.begins:
            self.look(late=True)
        self._timer = self._driver.loop.call_later(SOON_S, self._listen)

    def open_again(self) -> None:
        """The run goes on here after all."""
        self._closed = False
        self._timer = self._driver.loop.call_later(0, self._listen)

    def _listen(self) -> None:
        if self._closed:
            return
        folder, loop = self._store.folder, self._driver.loop
        if folder is not None and not hasattr(loop, "plait_clock"):
            from plait.stores.bells import Bell  # most runs are over before

            try:
                self._bell = Bell(folder, self._claim.number)
                loop.add_reader(self._bell.fileno(), self._rung)
            except (OSError, NotImplementedError):
                if self._bell is not None:
                    self._bell.close()
                    self._bell = None
            self._timer = loop.call_later(LOOK_S, self._look_again)
        self.look()

    def _look_again(self) -> None:
        """Looks at the store from time to time, for not everybody rings."""
        if self._closed:
            return
        try:
            version = self._store.data_version()
            if version != self._version:
                self._version = version
                self.look()
        except PlaitError as error:
            log.warning("the notes for run %s cannot be looked at: %s", self._driver.id, error)
        self._timer = self._driver.loop.call_later(LOOK_S, self._look_again)

    def _rung(self) -> None:
        if self._bell is not None:
            self._senders += self._bell.drain()
            self.look()
            if not self._said:
                self.committed()  # nothing was left: whoever rang need not wait

    def look(self, *, late: bool = False) -> bool:
        """Carries out what was left, and says what came of it; was there something? `late`: whoever left it does not wait any more."""
        driver = self._driver
        if driver.done.done():
            return False
        try:
            notes = [note for note in self._store.notes(self._claim.number) if note.id not in self._said]
        except PlaitError as error:
            log.warning("the notes for run %s cannot be looked at: %s", driver.id, error)
            return False
        for note in notes:
            try:
                self._carry_out(note)
                verdict: dict[str, Any] = {"done": note.kind}
            except UsageError as error:
                verdict = {"refused": str(error)}
                if late:
                    log.warning(
                        "what %s left for run %s (%s) is refused: %s",
                        note.by or "somebody",
                        driver.id,
                        note.kind,
                        error,
                    )
            self._said[note.id] = verdict
            driver.judge(note.id, verdict)
        return bool(notes)

    def _carry_out(self, note: Note) -> None:
        """Does what a note wants.

        Raises:
            UsageError: where that cannot be.
        """
        driver = self._driver
        match note.kind:
            case "answer":
                value, which = _meant(note.data)
                driver.desk.answer(str(note.key), value, note.by, which)
            case "cancel" if note.key is None:
                if driver.scheduler.finished:  # its end is on its way to the record
                    raise UsageError(f"run {driver.id} is over ({driver.scheduler.status}): it cannot be cancelled")
                driver.cancel()
            case "cancel":
                driver.cancel_task(str(note.key), note.by)
            case "pause":
                if driver.scheduler.is_paused:
                    raise UsageError(f"run {driver.id} is paused already")
                driver.pause()
            case "resume":
                if not driver.scheduler.is_paused:
                    raise UsageError(f"run {driver.id} is not paused: it goes on")
                driver.resume()
            case _:
                raise UsageError(f"a note of kind {note.kind!r}: plait {driver.id} does not know it")

    def verdict(self, note_id: int) -> Mapping[str, Any] | None:
        """What was said of a note, for somebody in this thread who cannot wait until it is on record."""
        return self._said.get(note_id)

    def committed(self) -> None:
        """What was said is on record: whoever rang may look."""
        if self._said and not self._driver.has_verdicts:
            self._said.clear()
        if self._bell is not None and self._senders and not self._said:
            senders, self._senders = self._senders, []
            self._bell.answer(senders)

    def close(self) -> None:
        """Nobody is heard any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._bell is not None:
            self._driver.loop.remove_reader(self._bell.fileno())
            self._bell.answer(self._senders)
            self._bell.close()
            self._bell = None


def _meant(data: Any) -> tuple[Any, tuple[str, int]]:
    """An answer, and the question that it is meant for: by task, and by number among those of that.

    Raises:
        UsageError: for what is none.
    """
    try:
        return data["value"], (str(data["task"]), max(0, int(data["number"])))
    except (TypeError, KeyError, ValueError):
        raise UsageError("what was left is no answer") from None


__all__ = ["Inbox"]
