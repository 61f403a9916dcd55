"""Lets processes loose on one run, and on one store: `python tests/owners.py --rounds 200 --folder DIR`.

In each round two or eight processes begin, or resume, one run at once. One gets it; the others are refused by RunOwned, which has to
name the owner, and wait for its end. The owner is killed twice; the last one sees the run to its end. Beside them two or eight
other processes have runs of their own in the same store, and nobody may hear of a locked database. The exit status is 1 where it was
otherwise: F13 F14 F15, W7.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import select
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ledger
import plait
from crashes import apart, command, soon
from kept_runs import OVER, Place, drive, ends, look, warm
from ledger import Fault, Line
from plait.errors import RunOwned

LONGEST_S = 60.0
TAKEOVER_S = 2.0


def slow() -> plait.Graph:
    """Half a second of everything, or much more while `hold` is there: every owner dies with work at hand."""
    graph = plait.Graph("owned")
    a = graph.add("a", soon)
    b = graph.add("b", command(20))
    c = graph.add("c", command(20, manner="family"))
    graph.add("d", apart, args=(a, b, c))
    return graph


def own() -> plait.Graph:
    """A run of one's own."""
    graph = plait.Graph("own")
    items = graph.add("items", list, args=(range(5),))
    graph.add("total", _sum, args=(graph.add("texts", str_of.map(items)),))
    return graph


@plait.task
async def str_of(item: int) -> str:
    await asyncio.sleep(0)
    return str(item)


def _sum(texts: list[str]) -> int:
    return sum(map(int, texts))


# -- children


def contend(place: Place, gate: tuple[int, int], said: int) -> int:
    """Waits for the gate to open, then for the run: until this process has it, or it is over."""
    place.enter()
    os.close(gate[1])
    os.read(gate[0], 1)  # its other end is closed by everybody: the gate is open
    while True:
        holder = asyncio.run(_tried(place, said))
        if isinstance(holder, RunOwned):
            os.write(said, f"refused {os.getpid()} {holder.pid}\n".encode())
            try:
                pidfd = os.pidfd_open(holder.pid)
            except ProcessLookupError:
                continue
            select.select([pidfd], [], [], LONGEST_S)
            os.close(pidfd)
        else:
            return holder


async def _tried(place: Place, said: int) -> int | RunOwned:
    options: dict[str, Any] = {"max_concurrency": 4, "crash_budget": 100}
    try:
        return await drive(place, lambda: (slow(), options), lambda: os.write(said, f"drives {os.getpid()}\n".encode()))
    except RunOwned as error:
        return error


def beside(place: Place, gate: tuple[int, int]) -> int:
    """A run of its own in the same store (F14)."""
    os.close(gate[1])
    os.read(gate[0], 1)
    for _ in range(2):
        result = plait.run(own(), store=place.store)
        assert (str(result.status), result.value) == ("succeeded", {"total": 10}), result
    return 0


# -- the parent


class Crowd:
    """What the processes of a round say on one pipe."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self._rest = b""

    def next(self) -> list[str]:
        """The next thing said."""
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.read], [], [], LONGEST_S)
            if not ready:
                raise TimeoutError("nobody said anything")
            self._rest += os.read(self.read, 4096)
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode().split()

    def close(self) -> None:
        os.close(self.read)
        os.close(self.write)


def one_round(
    place: Place, crowd_size: int, others: int, kills: int, wanted: dict[str, Any]
) -> tuple[list[Fault], list[float]]:
    """One round; what was wrong, and the seconds of each takeover."""
    place.folder.mkdir(parents=True)
    hold = Path(place.ledger + ".hold")
    hold.touch()
    crowd, gate = Crowd(), os.pipe()
    children = {child.pid: child for child in (place.child(contend, gate, crowd.write) for _ in range(crowd_size))}
    aside = [place.child(beside, gate) for _ in range(others)]
    os.close(gate[0])
    os.close(gate[1])
    found: list[Fault] = []
    takeovers_s: list[float] = []
    died = 0.0
    for turn in range(kills + 1):
        # Everybody has tried, and is refused: only then is there somebody who waits.
        owner, waiting = 0, set()
        while not owner or len(waiting) < crowd_size - 1 - turn:
            what, pid, *holder = crowd.next()
            if what == "drives":
                if owner:
                    found.append(Fault("overlap", "", f"process {pid} drives the run, and so does {owner}"))
                owner = int(pid)
                if turn:
                    takeovers_s.append(_drives_at(place, owner) - died)
            else:
                waiting.add(int(pid))
                if holder == ["0"]:
                    found.append(
                        Fault("wrong owner", "", f"process {pid} was refused for a process that it cannot name")
                    )
        if turn == kills:
            break
        died = time.monotonic()
        children[owner].kill()
        place.ended(children[owner])
        if turn == kills - 1:
            hold.unlink()
    statuses = {pid: child.end(LONGEST_S) for pid, child in children.items()}
    for child in children.values():
        if child.status != -9:
            place.ended(child)
    ended = sorted(statuses.values())
    if ended != sorted([-9] * kills + [0] + [OVER] * (crowd_size - kills - 1)):
        found.append(Fault("error", "", f"processes ended with {statuses}"))
    if any(child.end(LONGEST_S) for child in aside):
        found.append(Fault("error", "", f"of those beside, some ended with {[child.status for child in aside]}"))
    crowd.close()
    if place.child(look, end=True).end():
        found.append(Fault("error", "", "the end of the run cannot be read"))
    else:
        found += ends(place, wanted)
    found += wrong_owners(ledger.read(place.ledger))
    found += [Fault("slow", "", f"a takeover took {each:.2f} s") for each in takeovers_s if each > TAKEOVER_S]
    if found:
        found.append(Fault("output", "", place.output.read_text()))
    return found, takeovers_s


def _drives_at(place: Place, pid: int) -> float:
    return next(line.at for line in ledger.read(place.ledger) if line.what == "DRIVES" and line.words == (str(pid),))


def wrong_owners(lines: Sequence[Line]) -> list[Fault]:
    """One drives at a time; who is refused is told of one that drives, or is about to say so, and has not died."""
    found: list[Fault] = []
    # One that only finds the run over holds it as long as it takes to see that.
    drivers = {line.words[0] for line in lines if line.what in ("DRIVES", "OVER")}
    dead: set[str] = set()
    owner = None
    for what, words, _ in lines:
        if what == "DRIVES":
            if owner is not None:
                found.append(Fault("overlap", "", f"process {words[0]} drives the run, and {owner} lives"))
            owner = words[0]
        elif what in ("KILLED", "LEFT"):
            dead.add(words[0])
            owner = None if owner == words[0] else owner
        elif what == "OWNED" and (words[1] not in drivers or words[1] in dead):
            found.append(
                Fault("wrong owner", "", f"process {words[0]} was refused for {words[1]}, which does not drive the run")
            )
    return found


def main(words: Sequence[str] | None = None) -> int:
    """The command; the exit status."""
    parser = argparse.ArgumentParser(description="Lets processes loose on one run, and on one store.")
    parser.add_argument("--rounds", type=int, default=10, help="how many (%(default)s)")
    parser.add_argument(
        "--folder", type=Path, required=True, help="where everything happens; what failed is left there"
    )
    parser.add_argument("--kills", type=int, default=2, help="how often the owner of a run dies (%(default)s)")
    given = parser.parse_args(words)
    began = time.monotonic()
    folder = given.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    quiet = Place(folder / "in-peace")
    assert not quiet.child(in_peace).end(), quiet.output.read_text()
    wanted = json.loads(quiet.result.read_text())
    takeovers_s: list[float] = []
    wrong = 0
    for number in range(given.rounds):
        place = Place(folder / f"round{number}")
        size = 8 if number % 2 else 2 + given.kills
        found, seconds = one_round(place, size, 2 if number % 2 else 8, min(given.kills, size - 1), wanted)
        takeovers_s += seconds
        wrong += bool(found)
        if found:
            print(f"round {number} ({place.folder}):")
            for fault in found:
                print(f"  {fault.kind}: {fault.text}")
            print(ledger.shown(ledger.read(place.ledger)))
        else:
            shutil.rmtree(place.folder)
    times = takeovers_s or [0.0]
    print(
        f"{given.rounds} rounds: {wrong} wrong; {len(takeovers_s)} takeovers, {statistics.median(times) * 1000:.0f} ms (median), "
        f"{max(times) * 1000:.0f} ms (longest); {time.monotonic() - began:.0f} s"
    )
    return 1 if wrong else 0


def in_peace(place: Place) -> int:
    """The run of a round, with nobody else there."""
    place.enter()
    return asyncio.run(drive(place, lambda: (slow(), {})))


if __name__ == "__main__":
    warm([slow(), own()])
    sys.exit(main())
