"""What earlier runs showed of tasks: the order of starts, and a prediction of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from plait._core.graph import Batch
from plait._engine.work import Work
from plait.stores.base import Learned

if TYPE_CHECKING:
    from plait.stores.contract import Store


def ranked(store: Store, batch: Batch, name: str) -> None:
    """Gives `batch` the longest path behind each task, by what the store learned of them; nothing where it knows none.

    Of tasks of one priority that are ready the one with the longest path starts first (list scheduling by critical path:
    Hu, 1961; Graham, 1969).
    """
    seconds = expected(store, batch, name)
    if seconds is not None and (batch.needs is not None or len(set(seconds)) > 1):
        batch.ranks = longest_paths(batch.needs, seconds)


def expected(store: Store, batch: Batch, name: str) -> list[float] | None:
    """Seconds that each task is expected to take, those it will grow included; None if nothing is known.

    A task that nobody has seen is taken for an average one.
    """
    work: Work = batch.calls  # type: ignore[assignment]
    identities = work.identities()
    if not batch.size or (isinstance(identities, str) and batch.needs is None):
        return None  # all alike: the order says nothing
    if isinstance(identities, str):
        identities = [identities] * batch.size
    known = store.learned_of(f"{name}/")
    if not known:
        return None
    wanted = {f"{name}/{identity}" for identity in identities}
    times = {key: _whole(known, key) for key in wanted if key in known}
    usual = sum(times.values()) / len(times) if times else 0.0
    return [times.get(f"{name}/{identity}", usual) for identity in identities]


def _whole(known: Mapping[str, Learned], key: str) -> float:
    """Seconds of a task; for one that grows others, of all its children one after the other."""
    entry, each = known[key], known.get(f"{key}[]")
    return entry.seconds + (entry.children * each.seconds if each is not None else 0.0)


def longest_paths(needs: Sequence[Sequence[int]] | None, seconds: Sequence[float]) -> list[float]:
    """Seconds from the start of each task to the end of the longest chain that begins with it."""
    paths = list(seconds)
    if needs is None:
        return paths
    left = [0] * len(paths)  # users whose path is not known yet
    for row in needs:
        for need in row:
            left[need] += 1
    behind = [0.0] * len(paths)
    ready = [at for at, number in enumerate(left) if not number]
    while ready:
        at = ready.pop()
        paths[at] = seconds[at] + behind[at]
        for need in needs[at]:
            behind[need] = max(behind[need], paths[at])
            left[need] -= 1
            if not left[need]:
                ready.append(need)
    return paths
