"""Runs in this process's memory: the same promises as any store, until the process ends. For tests, and to look at a run."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plait._version import __version__
from plait.errors import RunNotFound, StoreDamaged, UsageError
from plait.stores import notes
from plait.stores.base import (
    FORMAT,
    READABLE,
    Append,
    Blob,
    Claim,
    Generation,
    Learned,
    NewRun,
    Note,
    RunInfo,
    folded,
    last_of,
    needed_by_forks,
    owned,
    taken_over,
    tell,
)
from plait.stores.encoding import encode, reader
from plait.stores.locks import this_process


@dataclass
class _Kept:
    info: RunInfo
    generations: dict[int, Generation] = field(default_factory=dict)
    journal: dict[int, list[bytes]] = field(default_factory=dict)
    blobs: set[str] = field(default_factory=set)


@dataclass
class _Left:
    run: int
    note: Note
    verdict: str | None = None


class MemoryStore:
    """A store without a file."""

    where = ":memory:"
    folder: str | None = None

    def __init__(self) -> None:
        self._runs: dict[int, _Kept] = {}
        self._blobs: dict[str, bytes] = {}
        self._learned: dict[str, Learned] = {}
        self._left: dict[int, _Left] = {}
        self._numbers = self._note_numbers = self._version = 0
        self._guard = threading.RLock()

    def create(self, new: NewRun) -> Claim:
        """Stores a run and all its tasks at once, owned by this process."""
        with self._guard:
            run_id = new.id or os.urandom(4).hex()
            if any(kept.info.id == run_id for kept in self._runs.values()):
                raise UsageError(f"there is a run {run_id} already: resume it, or choose another id")
            self._numbers += 1
            number = self._numbers
            info = RunInfo(
                number, run_id, new.name, "running", new.wall, None, 1, 1, this_process(), new.tasks, {}, new.forked_from, FORMAT,
                __version__,
            )  # fmt: skip
            kept = _Kept(info)
            kept.generations[1] = Generation(
                1,
                self._encoded(new.definition, kept, new.tasks),
                self._encoded(new.structure, kept, new.tasks),
                new.wall,
            )
            kept.journal[1] = []
            self._runs[number] = kept
            self._version += 1
            return Claim(number, run_id, 1, 1)

    def claim(self, run: RunInfo) -> Claim:
        """Takes over a run that nobody owns."""
        with self._guard:
            kept = self._of(run.number)
            if kept.info.owner is not None:
                raise owned(run, kept.info.owner.pid)
            kept.info = kept.info.but(owner=this_process(), epoch=kept.info.epoch + 1)
            if kept.info.format in READABLE:
                kept.info = kept.info.but(format=FORMAT, version=__version__)
            if kept.info.status == "running":
                kept.info = kept.info.but(summary={})
            self._version += 1
            generation = kept.info.generation
            return Claim(run.number, run.id, kept.info.epoch, generation, len(kept.journal[generation]))

    def begin_generation(self, claim: Claim, definition: Any, structure: Any, tasks: int, wall: float) -> None:
        """Begins another generation of a run that this process owns."""
        with self._guard:
            kept = self._runs.get(claim.number)
            if kept is None or kept.info.epoch != claim.epoch:
                raise taken_over(claim)
            number = claim.generation + 1
            kept.generations[number] = Generation(
                number, self._encoded(definition, kept, tasks), self._encoded(structure, kept, tasks), wall
            )
            kept.journal[number] = []
            kept.info = kept.info.but(generation=number, status="running", ended_at=None, summary={}, tasks=tasks)
            self._close_notes(claim.number, notes.closed_by_a_generation())
            self._version += 1
            claim.generation, claim.sequence = number, 0

    def append(self, batch: Append) -> None:
        """Takes a batch, and tells at once."""
        with self._guard:
            error = self._write(batch)
        tell(batch, error)

    def _write(self, batch: Append) -> BaseException | None:
        claim = batch.claim
        kept = self._runs.get(claim.number)
        if claim.failure is not None:
            return claim.failure
        if kept is None or kept.info.epoch != claim.epoch:
            claim.lost = True
            return taken_over(claim)
        try:
            data = self._encoded(batch.records, kept, len(batch.records)) if batch.records else b""
            verdicts = [(note, notes.verdict_text(verdict)) for note, verdict in batch.verdicts]
        except Exception as error:
            claim.failure = error
            return error
        self._version += 1
        if data:
            claim.sequence += 1
            kept.journal[claim.generation].append(data)
        for note, verdict in verdicts:
            left = self._left.get(note)
            if left is not None and left.run == claim.number and left.verdict in (None, notes.WITHDRAWN):
                left.verdict = verdict
        if batch.final is not None:
            kept.info = kept.info.but(**batch.final, owner=None)
            self._close_notes(claim.number, notes.closed_by_an_end(kept.info.status))
        for key, new in (batch.learned or {}).items():
            self._learned[key] = folded(self._learned.get(key), new)
        return None

    def _encoded(self, data: Any, kept: _Kept, size: int) -> bytes:
        return encode(data, lambda thing: self._kept(thing, kept), size=size)

    def _kept(self, thing: Any, kept: _Kept) -> str:
        if not isinstance(thing, Blob):
            raise NotImplementedError(f"{type(thing)} in a journal")
        name = hashlib.sha256(thing.data).hexdigest()
        self._blobs[name] = thing.data
        kept.blobs.add(name)
        return name

    def release(self, claim: Claim, standing: Mapping[str, Any] | None = None) -> None:
        """Gives the run up."""
        summary = None if standing is None else reader()(encode(standing))
        with self._guard:
            kept = self._runs.get(claim.number)
            if kept is not None and kept.info.epoch == claim.epoch:
                kept.info = kept.info.but(owner=None)
                if summary is not None and kept.info.status == "running":
                    kept.info = kept.info.but(summary=summary)
                self._version += 1

    # -- notes

    def leave_note(
        self,
        run: RunInfo,
        kind: str,
        key: str | None,
        data: Any,
        by: str | None,
        at: float,
        generation: int | None = None,
    ) -> Note:
        """Leaves a note for whoever drives the run."""
        text = notes.written(kind, key, data, by, at)
        with self._guard:
            kept = self._runs.get(run.number)
            if kept is None:
                raise notes.deleted(run)
            notes.refuse(kept.info, generation)
            for note in self.notes(run.number):
                if (note.kind, note.key) == (kind, key):
                    raise notes.there_already(kept.info, note)
            self._note_numbers += 1
            left = notes.read(self._note_numbers, kind, key, text, by, at)
            assert left is not None
            self._left[left.id] = _Left(run.number, left)
            self._version += 1
            return left

    def notes(self, run_number: int) -> list[Note]:
        """Notes for a run without a verdict, the oldest first."""
        with self._guard:
            return [left.note for left in self._left.values() if left.run == run_number and left.verdict is None]

    def verdict(self, note_id: int) -> Mapping[str, Any] | None:
        """What became of a note."""
        with self._guard:
            left = self._left.get(note_id)
        if left is None:
            raise RunNotFound("the run was deleted meanwhile, and what was left for it")
        return None if left.verdict is None else notes.verdict_read(left.verdict)

    def withdraw_note(self, note_id: int) -> bool:
        """Takes a note back that has no verdict."""
        with self._guard:
            left = self._left.get(note_id)
            if left is None or left.verdict is not None:
                return False
            left.verdict = notes.WITHDRAWN
            self._version += 1
            return True

    def data_version(self) -> int:
        """Another number after every change."""
        return self._version

    def _close_notes(self, run: int, verdict: str) -> None:
        for left in self._left.values():
            if left.run == run and left.verdict is None:
                left.verdict = verdict

    # -- reading

    def _of(self, number: int) -> _Kept:
        kept = self._runs.get(number)
        if kept is None:
            raise RunNotFound("the run was deleted meanwhile")
        return kept

    def runs(self) -> list[RunInfo]:
        """All runs, the oldest first."""
        with self._guard:
            return [kept.info for kept in self._runs.values()]

    def find(self, text: str) -> RunInfo:
        """The run with that id, the only one whose id begins so, or the `last`."""
        found = last_of(self.runs(), text) if text else []
        if not found:
            raise RunNotFound(f"there is no run {text!r} in {self.where}")
        if len(found) > 1:
            raise RunNotFound(f"{len(found)} runs begin with {text!r}: {', '.join(run.id for run in found[:5])}")
        return found[0]

    def generation(self, run: RunInfo, number: int) -> Generation:
        """One generation of a run."""
        with self._guard:
            found = self._of(run.number).generations.get(number)
        if found is None:
            raise StoreDamaged(f"generation {number} of run {run.id} is missing")
        return found

    def journal(self, run: RunInfo, generation: int, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """The batches behind number `after`, with their numbers."""
        with self._guard:
            batches = list(self._of(run.number).journal.get(generation, ()))
        yield from enumerate(batches[after:], after + 1)

    def blob(self, name: str) -> bytes:
        """What a journal's line refers to."""
        if name not in self._blobs:
            raise StoreDamaged(f"the value {name[:16]} is missing")
        return self._blobs[name]

    def learned_of(self, prefix: str) -> dict[str, Learned]:
        """What is known of the tasks whose keys begin with `prefix`."""
        return {key: each for key, each in self._learned.items() if key.startswith(prefix)}

    def delete(self, runs: Sequence[RunInfo]) -> None:
        """Forgets runs that nobody owns, all or none."""
        with self._guard:
            for run in runs:
                kept = self._runs.get(run.number)
                if kept is not None and kept.info.owner is not None:
                    raise owned(run, kept.info.owner.pid)
            needed = needed_by_forks(
                (kept.info.id, kept.info.status, kept.info.forked_from) for kept in self._runs.values()
            )
            for run in runs:
                if run.id not in needed:
                    self._runs.pop(run.number, None)
                    self._left = {number: left for number, left in self._left.items() if left.run != run.number}
            self._version += 1

    def sweep(self) -> tuple[int, int]:
        """Removes blobs that no run refers to."""
        with self._guard:
            named = set().union(*(kept.blobs for kept in self._runs.values())) if self._runs else set()
            gone = [name for name in self._blobs if name not in named]
            return len(gone), sum(len(self._blobs.pop(name)) for name in gone)

    def share(self) -> MemoryStore:
        """The same store."""
        return self

    def close(self) -> None:
        """Nothing to let go of."""
