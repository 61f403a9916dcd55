"""What the code of a run prints is told without the secrets of the run, whether it prints here, in a worker process or from a library in C."""

from __future__ import annotations

import io
import os
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from plait.cli import output
from plait.redaction import Redactor

_PIECE_BYTES = 64 * 1024

PATIENCE_S = 5.0
"""So long the end of a run waits for the last of what was printed to be told."""


class _Hiding(io.TextIOBase):
    """A stream in front of another one; what may be the beginning of a secret waits for what comes behind it."""

    def __init__(self, stream: Any, redactor: Redactor) -> None:
        self._stream = stream
        self._filter = redactor.filter()
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        with self._lock:
            self._tell(self._filter.feed(text.encode("utf-8", "surrogatepass")))
        return len(text)

    def _tell(self, data: bytes) -> None:
        if data:
            self._stream.write(data.decode("utf-8", "surrogatepass"))

    def end(self) -> None:
        """Nothing comes any more."""
        with self._lock:
            self._tell(self._filter.flush())
            self._stream.flush()

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return bool(self._stream.isatty())

    def fileno(self) -> int:
        return int(self._stream.fileno())

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return str(self._stream.encoding)


@contextmanager
def hiding(redactor: Redactor) -> Iterator[None]:
    """While this goes on no secret goes to standard output or error, nor to where `output.out` writes."""
    before = sys.stdout, sys.stderr, output.stream
    with ExitStack() as stack:
        real = {fd: stack.enter_context(_behind_a_pipe(fd, redactor)) for fd in (1, 2)}
        made = [_Hiding(_same(each, real, stack), redactor) for each in before if each is not None]
        sys.stdout, sys.stderr = made[0], made[1]
        if output.stream is not None:
            output.stream = made[2]  # type: ignore[assignment]
        try:
            yield
        finally:
            sys.stdout, sys.stderr, output.stream = before
            for each in (*made, *before[:2]):
                with suppress(OSError, ValueError):  # nobody reads it any more
                    each.end() if isinstance(each, _Hiding) else each.flush()


def _same(stream: Any, real: dict[int, int], stack: ExitStack) -> Any:
    """The stream, to where it went before its descriptor was put behind a pipe: to a terminal, if that is one."""
    try:
        fd = real[stream.fileno()]
    except (KeyError, OSError, ValueError):
        return stream  # it goes elsewhere
    stream.flush()
    made = open(fd, "w", encoding=stream.encoding, errors="backslashreplace", closefd=False, buffering=1)
    stack.callback(_closed, made)
    return made


def _closed(stream: Any) -> None:
    with suppress(OSError, ValueError):
        stream.close()


@contextmanager
def _behind_a_pipe(fd: int, redactor: Redactor) -> Iterator[int]:
    """What is written to a descriptor, by whichever process that has it, goes through a filter; gives where it went before."""
    before = os.dup(fd)
    source, end = os.pipe()
    stopped, stop = os.pipe()
    thread = threading.Thread(target=_pump, args=(source, stopped, before, redactor), daemon=True, name="plait-hiding")
    os.dup2(end, fd)
    os.close(end)
    thread.start()
    try:
        yield before
    finally:
        os.dup2(before, fd)
        os.close(stop)
        thread.join(PATIENCE_S)
        if not thread.is_alive():  # else it waits for somebody who does not read
            for each in (source, stopped, before):
                os.close(each)


def _pump(source: int, stopped: int, target: int, redactor: Redactor) -> None:
    """Takes what comes and tells it, until it is stopped and nothing more is there: others may hold the pipe for longer."""
    cleaner = redactor.filter()
    os.set_blocking(source, False)
    while True:
        over = stopped in select.select([source, stopped], [], [])[0]
        try:
            data = os.read(source, _PIECE_BYTES)
        except BlockingIOError:
            data = b""
        _tell(target, cleaner.feed(data))
        if over and not data:
            _tell(target, cleaner.flush())
            return


def _tell(target: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(target, data) :]
    except OSError:
        pass  # nobody reads it any more: whoever prints is not to wait for that


__all__ = ["hiding"]
