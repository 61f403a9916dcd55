"""What tasks read and write, found on this machine: paths that mean one thing each, and the conflicts between them."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from plait._core.graph import Batch
from plait._core.paths import HERE, Files, Where, foreseen
from plait._core.policy import OnConflict, Policy, paths_of
from plait.errors import LimitError, UsageError

if TYPE_CHECKING:
    from plait._core.conflicts import Conflicts


def declare(batch: Batch) -> None:
    """Notes in `batch` what its tasks read and write, as far as that is known before they are ready."""
    if batch.files:
        return  # as an earlier process found it
    work: Any = batch.calls
    named = {number for number, policy in batch.kinds.items() if policy.reads or policy.writes}
    worked_out = getattr(work, "filed", ())
    if not named and not worked_out:
        return
    folder = Folder()
    files: dict[int, Files] = {}
    if batch.policies is None:
        if named:
            files = dict.fromkeys(range(batch.size), folder.files(batch.policy))
    else:
        files = {place: folder.files(policy) for place, policy in enumerate(batch.policies) if id(policy) in named}
    for place in worked_out:
        try:
            found = work.files(place)
        except Exception as error:
            with suppress(Exception):  # a frozen class: the user's exception stays as it is
                error.add_note(f"reads or writes of task {batch.keys[place]!r}")
            raise
        files.pop(place, None)
        if found is not None:
            policy = batch.policy if batch.policies is None else batch.policies[place]
            try:
                files[place] = folder.files(policy, found)
            except LimitError as error:
                raise NoPath(f"task {batch.keys[place]!r}: {error}", work.where(place)) from None
    batch.files = {place: each for place, each in files.items() if each[0] or each[1]}


class NoPath(LimitError):
    """What was worked out for a task is no path; `where` it is said."""

    def __init__(self, text: str, where: Where) -> None:
        super().__init__(text if where is None else f"{where[0]}:{where[1]}:{where[2]}: error[value]: {text}")
        self.text = text
        self.where = where


def check_files(batch: Batch, otherwise: OnConflict, around: str = "") -> bool:
    """Does one of the tasks of `batch`, and of those that it is known to grow, read or write anything? That is noted there.

    Raises:
        ConflictError: where two of them conflict, with all that do.
    """
    found = conflicts(batch, otherwise, around)
    if found is not None and found.number:
        raise found.error()
    return found is not None


def conflicts(batch: Batch, otherwise: OnConflict, around: str = "") -> Conflicts | None:
    """What `check_files` refuses; None where nobody reads or writes anything."""
    declare(batch)
    known = foreseen(batch)
    if not batch.files and not known:
        return None
    from plait._core.conflicts import find  # few graphs name files

    return find(batch, otherwise, around, known)


class Folder:
    """The folder of the run: paths are relative to it, symbolic links are followed as far as they are there now."""

    def __init__(self) -> None:
        try:
            self._here = os.path.realpath(os.getcwd())
        except OSError as error:
            raise UsageError(
                f"reads and writes are relative to the working folder, which is gone: {error.strerror}"
            ) from None
        self._inside = self._here if self._here.endswith("/") else f"{self._here}/"
        self._folders: dict[str, str] = {}

    def files(self, policy: Policy, given: tuple[Any, Any] = (None, None)) -> Files:
        """What a task with this policy reads and writes; `given` is what was worked out for it alone."""
        reads = policy.reads if given[0] is None else paths_of("reads", given[0])
        writes = policy.writes if given[1] is None else paths_of("writes", given[1])
        return self._all(reads), self._all(writes)

    def _all(self, paths: tuple[str, ...]) -> tuple[str, ...]:
        found: list[str] = []
        for path in paths:
            real = self._real(path)
            if real == self._here:
                found.append(HERE)
            elif real.startswith(self._inside):
                found.append(real[len(self._inside) :])
            else:
                found.append(real)
                if self._inside.startswith(real if real.endswith("/") else f"{real}/"):
                    found.append(HERE)  # it encloses the folder of the run
        return tuple(dict.fromkeys(found))

    def _real(self, path: str) -> str:
        """Absolute, without `.`, `..` and symbolic links; a folder is looked up once for all that lies in it."""
        path = (path if path.startswith("/") else self._inside + path).rstrip("/")
        folder, _, name = path.rpartition("/")
        if name in ("", ".", ".."):
            return os.path.realpath(path or "/")
        known = self._folders.get(folder)
        if known is None:
            known = self._folders[folder] = os.path.realpath(folder or "/")
        path = f"{known}{name}" if known.endswith("/") else f"{known}/{name}"
        return os.path.realpath(path) if os.path.islink(path) else path
