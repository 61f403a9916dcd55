"""What a store is. For type checkers and readers: programs do not wait for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from plait.stores.base import Append, Claim, Generation, Learned, NewRun, RunInfo


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
        """Takes over a run that no living process owns.

        Raises:
            RunOwned: while one does.
        """
        ...

    def begin_generation(self, claim: Claim, definition: Any, structure: Any, tasks: int, wall: float) -> None:
        """Begins another generation of a run that this process owns."""
        ...

    def append(self, batch: Append) -> None:
        """Queues a batch. Batches of one run are committed in order; behind one that was not written none is."""
        ...

    def release(self, claim: Claim) -> None:
        """Gives the run up, after everything that was appended."""
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
