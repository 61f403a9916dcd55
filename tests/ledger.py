"""What code did, whoever was killed when: a file outside of any store, to which every attempt adds whole lines.

One file, opened for appending and written a line at a time, is in the order in which things happened, over all processes. An
attempt holds the lock of its task while it runs, and so does all that it starts: who gets it not has found an overlap. Run as a
program this is the code of a command (it imports little, to start fast); `faults` reads a ledger and says what is wrong.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import time
import zlib
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

PROGRAM = os.path.abspath(__file__)
LARGE = 66_000
"""Characters: more than 64 KiB, and less than what Linux takes as one argument of a command."""


# -- writing


def say(*words: object) -> None:
    """Adds a line, whole, in one write. The last word is the moment, in seconds of the one clock of the machine."""
    say_all([words])


def say_all(rows: Iterable[Iterable[object]]) -> None:
    """Adds lines, with nothing of others between them."""
    moment = f" {time.monotonic():.6f}\n"
    text = "".join(" ".join(map(str, words)) + moment for words in rows)
    fd = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


@contextlib.contextmanager
def attempt(task: str, number: int, *, own_process: bool = False) -> Iterator[None]:
    """The code of one attempt: START, then END, or FAILED where it raises; nothing more where its process is killed."""
    folder = os.environ["LEDGER"] + ".locks"
    os.makedirs(folder, exist_ok=True)
    lock = os.open(os.path.join(folder, f"{zlib.crc32(task.encode()):08x}"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        if own_process:
            os.set_inheritable(lock, True)  # what this starts is a part of it
        token = f"{os.getpid()}.{time.monotonic_ns():x}"
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("OVERLAP", task, number, token, os.getpid(), os.environ["OWNER"])
        say("START", task, number, token, os.getpid(), os.environ["OWNER"])
        try:
            yield
        except BaseException:
            say("FAILED", task, number, token)
            raise
        say("END", task, number, token)
    finally:
        os.close(lock)


def failed_before(task: str) -> int:
    """How many attempts of a task came to their end, and failed."""
    return sum(line.what == "FAILED" and line.words[0] == task for line in read(os.environ["LEDGER"]))


class Broken(Exception):
    """What the code of a task raises here."""


def fail_first(task: str, times: int) -> None:
    """Raises until `times` attempts have failed; always for -1."""
    if times < 0 or failed_before(task) < times:
        raise Broken(f"{task} is to fail")


def made_of(task: str, size: int, values: Iterable[Any]) -> str:
    """The value of a task: text that all it was given goes into, of `size` characters."""
    text = f"{zlib.crc32(json.dumps([task, *map(word, values)]).encode()):08x}"
    return (text * (size // 8 + 1))[: max(8, size)]


def word(value: Any) -> str:
    """A value as a command gets it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def main(milliseconds: str, size: str, fails: str, manner: str, *values: str) -> None:
    """The code of a command: it takes its time, may fail or be deaf to TERM, and prints its value."""
    task, number = os.environ["PLAIT_TASK"], int(os.environ["PLAIT_ATTEMPT"])
    if manner == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with attempt(task, number, own_process=True):
        if manner == "family" and not os.fork():
            time.sleep(60.0)  # ends with its group
            os._exit(0)
        time.sleep(30.0 if os.path.exists(os.environ["LEDGER"] + ".hold") else int(milliseconds) / 1000)
        if int(fails):
            fail_first(task, int(fails))
    print(made_of(task, int(size), values))


# -- reading


class Line(NamedTuple):
    """One thing that happened."""

    what: str
    words: tuple[str, ...]
    at: float


def read(path: str) -> list[Line]:
    """The lines of a ledger, in order; none if nothing happened yet."""
    try:
        with open(path) as file:
            rows = [line.split() for line in file if line.endswith("\n")]  # the last one may be under way
    except FileNotFoundError:
        return []
    return [Line(row[0], tuple(row[1:-1]), float(row[-1])) for row in rows]


def shown(lines: Iterable[Line], task: str | None = None) -> str:
    """The story of a ledger, or of what concerns one task in it, for people."""
    chosen = [each for each in lines if task is None or each.what in WHOLE or task in each.words]
    first = chosen[0].at if chosen else 0.0
    return "\n".join(f"{each.at - first:9.4f} {each.what} {' '.join(each.words)}" for each in chosen)


WHOLE = frozenset(("DRIVES", "OWNED", "OVER", "KILLED", "LEFT"))
"""Lines that concern every task: a process got the run, was refused it, found it over; it was killed, ended by itself."""


class Fault(NamedTuple):
    """A promise that was not kept, of which task."""

    kind: str
    task: str
    text: str


def faults(lines: Iterable[Line], silent: Collection[str] = ()) -> list[Fault]:
    """What a ledger says that must not be. `silent` are the tasks without code, which only others make final.

    TOLD is a completion that its process was told of, KEPT one that stood on record when that process was dead. Either is never
    run again (W3), is there at every later look, and if it is a success an END of its code stands before it (W2, W4). Attempts
    of a task never overlap (F06), and their numbers never go back (W4).
    """
    found: list[Fault] = []
    told: set[str] = set()
    kept: set[str] = set()
    ended: set[str] = set()
    dead: set[str] = set()
    numbers: dict[str, int] = {}
    open_attempts: dict[str, dict[str, str]] = {}  # by task: token and owner
    look: set[str] | None = None  # what is on record, while that is being listed

    def fault(kind: str, task: str, text: str) -> None:
        found.append(Fault(kind, task, text))

    for what, words, _ in lines:
        match what, words:
            case "START", (task, number, token, _, owner):
                if task in told or task in kept:
                    fault("run again", task, f"{task} was run again after its completion was {_known(task, told)}")
                for other in open_attempts.get(task, {}).values():
                    if other == owner:
                        fault("overlap", task, f"{task} was started twice by process {owner}")
                    else:
                        fault("overlap", task, f"{task} was started by process {owner} while {other} had it, alive")
                if int(number) < numbers.get(task, 0):
                    fault("number", task, f"attempt {number} of {task} came after attempt {numbers[task]}")
                numbers[task] = int(number)
                if owner not in dead:  # else an orphan's first breath: its lock says when it was its last
                    open_attempts.setdefault(task, {})[token] = owner
            case "OVERLAP", (task, *_):
                fault("overlap", task, f"{task} was started while something of an earlier attempt was alive")
            case "END", (task, _, token):
                open_attempts.get(task, {}).pop(token, None)
                ended.add(task)
            case "FAILED", (task, _, token):
                open_attempts.get(task, {}).pop(token, None)
            case "KILLED" | "LEFT", (owner, *_):
                # Code in that process is over; that a command of it is, too, is for its lock to say.
                dead.add(owner)
                for attempts in open_attempts.values():
                    for token in [token for token, other in attempts.items() if other == owner]:
                        del attempts[token]
            case "TOLD", (task, status):
                if task in told:
                    fault("twice", task, f"the completion of {task} was reported twice")
                if status == "succeeded" and task not in ended and task not in silent:
                    fault("no end", task, f"the success of {task} was reported, and its code did not end")
                told.add(task)
            case "LOOK", ():
                look = set()
            case "KEPT", (task, status):
                assert look is not None
                look.add(task)
                if status == "succeeded" and task not in ended and task not in silent:
                    fault("no end", task, f"the success of {task} is on record, and its code did not end")
            case "LOOKED", ():
                assert look is not None
                for task in sorted(kept - look):
                    fault("lost", task, f"the completion of {task} was on record, and is not any more")
                for task in sorted(told - look - kept):
                    fault("lost", task, f"the completion of {task} was reported, and is not on record")
                kept |= look
                look = None
            case "TWICE", (task,):
                fault("twice", task, f"the completion of {task} is on record twice")
            case _:
                pass
    return found


def _known(task: str, told: set[str]) -> str:
    return "reported" if task in told else "on record"


if __name__ == "__main__":
    main(*sys.argv[1:])
