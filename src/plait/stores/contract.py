"""What a store is. For type checkers and readers: programs do not wait for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from plait.stores.base import Append, Claim, Generation, Learned, NewRun, Note, RunInfo


class Store(Protocol):
    """Keeps runs. Calls may come from any thread; `append` never blocks its caller for long.

    Everything raises StoreError, or one of its kinds, where the store cannot do it.
    """

    @property
    def where(self) -> str:
        """How people name the store: a path, or ":memory:"."""
        ...

    @property
    def folder(self) -> str | None:
        """Where logs of tasks go; None if nowhere."""
        ...

    def create(self, new: NewRun) -> Claim:
        """Stores a run and all its tasks in one transaction, owned by this process."""
        ...

    def claim(self, run: RunInfo) -> Claim:
        """Takes over a run that no living process owns. It goes on in this plait's format; what it was left standing at is forgotten.

        Raises:
            RunOwned: while one does.
        """
        ...

    def begin_generation(self, claim: Claim, definition: Any, structure: Any, tasks: int, wall: float) -> None:
        """Begins another generation of a run that this process owns. Notes for the earlier one are closed."""
        ...

    def append(self, batch: Append) -> None:
        """Queues a batch. Batches of one run are committed in order; behind one that was not written none is.

        Of two verdicts on a note the first stands. The last batch of a run closes what nobody has looked at.
        """
        ...

    def release(self, claim: Claim, standing: Mapping[str, Any] | None = None) -> None:
        """Gives the run up, after everything that was appended; `standing` becomes its `summary`, unless it is over."""
        ...

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
        """Leaves a note for whoever drives the run, now or later: on record once this returns.

        Raises:
            UsageError: where the run is over or was deleted, where it is in another generation than `generation`, where such a
                note (kind and key) was left and nobody has looked at it yet, and for what is no note.
        """
        ...

    def notes(self, run_number: int) -> list[Note]:
        """Notes for a run of which nobody has said what became of them, the oldest first."""
        ...

    def verdict(self, note_id: int) -> Mapping[str, Any] | None:
        """What became of a note; None while nobody has said it.

        Raises:
            RunNotFound: if there is no such note: its run was deleted.
        """
        ...

    def withdraw_note(self, note_id: int) -> bool:
        """Takes a note back: its verdict is then `{"withdrawn": True}`. False where something was said of it before.

        Who drives the run may be acting upon it at that moment: then what it says of it replaces that.
        """
        ...

    def data_version(self) -> int:
        """Another number than before if something was committed meanwhile, by this process or another. Costs microseconds."""
        ...

    def runs(self) -> list[RunInfo]:
        """All runs, the oldest first."""
        ...

    def find(self, text: str) -> RunInfo:
        """The run with that id, the only one whose id begins so, or the `last`.

        Raises:
            RunNotFound: if there is none, or more than one.
        """
        ...

    def generation(self, run: RunInfo, number: int) -> Generation:
        """One generation of a run."""
        ...

    def journal(self, run: RunInfo, generation: int, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """The batches behind number `after`, with their numbers, as they stand now: only whole transactions."""
        ...

    def blob(self, name: str) -> bytes:
        """What a journal's line refers to."""
        ...

    def learned_of(self, prefix: str) -> dict[str, Learned]:
        """What is known of the tasks whose keys begin with `prefix`."""
        ...

    def delete(self, runs: Sequence[RunInfo]) -> None:
        """Forgets runs, all or none; `sweep` then lets go of what only they referred to.

        Raises:
            RunOwned: while a living process owns one of them.
        """
        ...

    def sweep(self) -> tuple[int, int]:
        """Removes blobs and logs that no run refers to: how many, and their bytes."""
        ...

    def share(self) -> Store:
        """The same store for one more user, who closes it too."""
        ...

    def close(self) -> None:
        """Lets go of the store once everything queued is committed; the last user's call counts."""
        ...
