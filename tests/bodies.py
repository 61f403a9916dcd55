"""What worker processes run in tests: functions that another process finds by name."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import plait


def double(number: int) -> int:
    return 2 * number


def pid(_: object = None) -> int:
    return os.getpid()


def throw(kind: type[BaseException], *args: object) -> None:
    raise kind(*args)


def sleep(seconds: float = 3600.0) -> None:
    time.sleep(seconds)


def spin(path: str | None = None) -> None:
    """As fast as it can, deaf to everything but KILL; `path` is there once it spins."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if path is not None:
        Path(path).write_text(str(os.getpid()))
    while True:
        pass


def tidy(path: str) -> None:
    """Says in a file that it began, and that it could end in order."""
    try:
        Path(path).write_text("began")
        time.sleep(3600)
    finally:
        Path(path).write_text("tidy")


def family(path: str, seconds: float = 3600.0) -> None:
    """Starts a child, and one in a session of its own that carries nothing of its run, whose numbers are in a file; and sleeps."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=apart, env={} if apart else None
        )
        for apart in (False, True)
    ]
    Path(path).write_text(" ".join(str(child.pid) for child in children))
    time.sleep(seconds)


def die(how: str) -> None:
    match how:
        case "exit":
            os._exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)


def die_once(path: str, how: str) -> str:
    """Dies the first time."""
    if not os.path.exists(path):
        Path(path).write_text(str(os.getpid()))
        die(how)
    return "alive"


def write(text: str, error: str = "") -> int:
    """Prints by Python, and by what does not know Python's buffers."""
    print(text)
    os.write(1, b"raw\n")
    print(error, file=sys.stderr)
    return len(text)


class Unsendable:
    def __reduce__(self) -> Any:
        raise TypeError("it does not travel")


def unsendable(_: object = None) -> Any:
    return {"a": [Unsendable()]}


class Liar:
    """Its pickle is fine until it is read."""

    def __reduce__(self) -> Any:
        return (_explode, ())


def _explode() -> None:
    raise SystemExit("what a result does when it is read")


def liar() -> Any:
    return Liar()


class Picky(Exception):
    """It can be pickled, and not be read again."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def picky() -> None:
    raise Picky("odd", "thing")


class Number(Exception):
    """One that says that it is none."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (3,)


class Row(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (("a",),)


class Turncoat(Exception):
    """Read in its worker it is an exception, and elsewhere it is not."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _turned, (os.getpid(),)


def _turned(pid: int) -> Any:
    return Turncoat() if os.getpid() == pid else ("a",)


class Coded(Exception):
    def __init__(self, *, code: int) -> None:
        self.code = code
        self.args = (f"code {code}",)


class Device(OSError):
    def __init__(self, device: str) -> None:
        super().__init__(5, f"{device} is gone")
        self.lock = threading.Lock()


def coded() -> None:
    raise Coded(code=3)


class Slotted(plait.PlaitError):
    __slots__ = ("place",)


class Stateful(plait.PlaitError):
    place = 0

    def __getstate__(self) -> int:  # type: ignore[override]
        return self.place

    def __setstate__(self, state: int) -> None:  # type: ignore[override]
        self.place = state


class Busy(Exception):
    """As those of many clients: it has the answer at hand, which does not travel."""

    def __init__(self, answer: object, wait: float) -> None:
        super().__init__(answer, "busy")
        self.answer = answer
        self.retry_after = wait
        self.status = 429


def touchy() -> None:
    """Raises what no module has, and what cannot be asked."""

    class Touchy(Exception):
        @property
        def retry_after(self) -> float:
            raise RuntimeError("do not ask")

    raise Touchy("odd thing")


def nameless() -> None:
    """Raises what no module has."""

    class Nameless(Exception):
        retry_after = 0.02

    raise Nameless("odd thing")


def at_last(path: str, kind: str) -> str:
    """Fails twice."""
    with open(path, "a") as file:
        file.write("x")
    if len(open(path).read()) < 3:
        match kind:
            case "busy":
                raise Busy(lambda: 1, 0.02)
            case "picky":
                picky()
            case "nameless":
                nameless()
            case _:
                raise plait.RetryAfter(0.02)
    return "done"


@plait.task(executor="process")
def tripled(number: int) -> int:
    return 3 * number


def size(data: bytes) -> int:
    return len(data)


def mark(number: int, folder: str) -> int:
    """Leaves a file for each time that it ran."""
    handle, _ = tempfile.mkstemp(prefix=f"{number}-", dir=folder)
    os.close(handle)
    return number


def mark_or(number: int, folder: str, special: int, what: str) -> int:
    """As `mark`; but the call with the number `special` does something else first."""
    if number == special:
        match what:
            case "wait for all others":
                while len(os.listdir(folder)) < special_others(folder):
                    time.sleep(0.002)
            case "die once":
                if not os.path.exists(f"{folder}.died"):
                    Path(f"{folder}.died").touch()
                    die("kill")
            case "fail":
                raise ValueError("as it was told")
    return mark(number, folder)


def special_others(folder: str) -> int:
    """How many others there are, as the test wrote it down."""
    return int(Path(f"{folder}.others").read_text())


def wait_for(path: str) -> None:
    while not os.path.exists(path):
        time.sleep(0.002)


def hog(seconds: int) -> None:
    """No other thread of the process gets a turn meanwhile."""
    ctypes.PyDLL(None).sleep(seconds)


def take(size: int) -> int:
    """Takes so many bytes for a moment."""
    return len(bytearray(size))


def say(text: str) -> int:
    """Prints it, and tells who did."""
    print(text)
    return os.getpid()


def say_and_wait(text: str, path: str) -> None:
    """Prints it, and waits for the file."""
    print(text, flush=True)
    wait_for(path)


LOCK = threading.Lock()


def take_lock(seconds: float) -> bool:
    """Is it open?"""
    return LOCK.acquire(timeout=seconds)


def close_output(number: int) -> int:
    """Closes both of its outputs."""
    os.close(1)
    os.close(2)
    return number


def say_and_die(text: str) -> None:
    """Prints it, and ends its process."""
    print(text, flush=True)
    os._exit(3)


def beats(seconds: float, every: float, silent: float = 0.0) -> str:
    """Alive for so long, with a sign of it every now and then; then silent."""
    ctx = plait.current()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ctx.heartbeat()
        time.sleep(every)
    time.sleep(silent)
    return "alive"


def prints(seconds: float, every: float) -> str:
    """Alive for so long, and prints a short line every now and then."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        print("alive")
        time.sleep(every)
    return "alive"


def what_a_worker_knows() -> str:
    ctx = plait.current()
    for _ in range(100_000):
        ctx.heartbeat()
    try:
        return ctx.key
    except plait.UsageError as error:
        return str(error)
