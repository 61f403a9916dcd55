"""Where the paths of a workflow file may lead: into its working directory and the folders that were allowed, and nowhere else.

A path is refused by what it says (`..`, also in encoded forms, `~`), and by where it leads, links resolved. It is then opened folder by
folder from the root that it lies in, following no link: one that is planted in between leads to an error, and never out (S19, S20).
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from plait import points
from plait.errors import NodeError

LONGEST = 4096
"""Characters of a path."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads: the names from a root, which is opened as it is, and below which no link is followed."""

    given: str
    root: str
    names: tuple[str, ...]

    @property
    def path(self) -> str:
        """The whole path, without links."""
        return os.path.join(self.root, *self.names)


def place(given: str, folder: Path, allowed: Sequence[Path] = ()) -> Place:
    """Where a path leads that a file gives, from `folder`.

    Raises:
        NodeError: for one that leads, or in some reading would lead, out of the folder and of those that are allowed.
    """
    if not given.strip():
        raise NodeError("the path is empty")
    if "\0" in given or len(given) > LONGEST or not _is_encodable(given):
        raise NodeError(
            f"{_shown(given)} cannot be a path: it holds what no path can, or more than {LONGEST} characters"
        )
    if given.startswith("~"):
        raise NodeError(
            f"the path {_shown(given)} begins with ~, which is not expanded: write ./~ for a file of that name"
        )
    if given.endswith("/"):
        raise NodeError(f"the path {_shown(given)} names a folder, where a file is wanted")
    spelled = [os.path.abspath(folder), *(os.path.abspath(os.path.join(folder, each)) for each in allowed)]
    real = [os.path.realpath(each) for each in spelled]
    for each in _readings(given):
        if not any(_inside(os.path.normpath(os.path.join(spelled[0], each)), root) for root in (*spelled, *real)):
            raise _out(given)
    target = os.path.realpath(os.path.join(spelled[0], given))
    for root in real:
        if _inside(target, root):
            inner = os.path.relpath(target, root)
            return Place(given, root, () if inner == "." else tuple(inner.split(os.sep)))
    raise _out(given)


def _is_encodable(given: str) -> bool:
    try:
        return bool(os.fsencode(given))
    except UnicodeEncodeError:
        return False


def _readings(given: str) -> Iterator[str]:
    """The path as it is, and as something that decodes it, or takes `\\` for `/`, would have it."""
    for _ in range(len(given)):
        yield given
        yield given.replace("\\", "/")
        plainer = unquote(given)
        if plainer == given:
            return
        given = plainer


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def _shown(given: str) -> str:
    return f"{given!r:.200}"


def _out(given: str) -> NodeError:
    return NodeError(
        f"the path {_shown(given)} leads out of the working directory: --allow-path DIR allows another folder"
    )


@contextmanager
def _telling(where: Place, what: str) -> Iterator[None]:
    """Faults of the system, as errors that name the path as it was given."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and _is_link_now(where):
            raise _out(where.given) from None
        if error.errno == errno.ENOENT and what == "read":
            raise NodeError(f"there is no file {_shown(where.given)}") from None
        raise NodeError(f"{_shown(where.given)} cannot be {what}: {error.strerror or error}") from None


def _is_link_now(where: Place) -> bool:
    return any(os.path.islink(os.path.join(where.root, *where.names[: count + 1])) for count in range(len(where.names)))


@contextmanager
def _folder(where: Place, *, make: bool) -> Iterator[int]:
    """The folder that the last name stands in, opened; with `make` it is there then."""
    handle = os.open(where.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in where.names[:-1]:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=handle)
            inner = os.open(name, _FOLDER, dir_fd=handle)
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


def open_file(where: Place) -> int:
    """A handle for reading a file.

    Raises:
        NodeError: where it is not there, is no file, or cannot be read.
    """
    with _telling(where, "read"):
        if not where.names:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with _folder(where, make=False) as folder:
            # Without O_NONBLOCK a named pipe would wait for somebody who writes.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            handle = os.open(where.names[-1], flags, dir_fd=folder)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise NodeError(f"{_shown(where.given)} is no file")


def read_bytes(where: Place, most: int, look: Callable[[], None]) -> bytes:
    """What is in a file; `look` is called between the parts of a large one.

    Raises:
        NodeError: where it cannot be read, or has more than `most` bytes.
    """
    parts: list[bytes] = []
    size = 0
    with open(open_file(where), "rb", buffering=0) as file, _telling(where, "read"):
        while part := file.read(1 << 20):
            size += len(part)
            if size > most:
                raise NodeError(f"{_shown(where.given)} has more than {most:,} bytes")
            parts.append(part)
            look()
    return b"".join(parts)


def write_bytes(where: Place, data: bytes, look: Callable[[], None]) -> None:
    """Has `data` in the file, whole or not at all, and on the disk; makes the folders that it lies in.

    What was there keeps its mode. `look` is called between the parts of a large one.

    Raises:
        NodeError: where that cannot be.
    """
    with _telling(where, "written"):
        if not where.names:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with _folder(where, make=True) as folder:
            _replace(folder, where.names[-1], data, look)


def _replace(folder: int, name: str, data: bytes, look: Callable[[], None]) -> None:
    before = _mode(folder, name)
    temporary = (
        f".plait-{os.getpid()}-{next(_numbers)}.new"  # not made of the name, which may be as long as a name can be
    )
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(temporary, flags, 0o666, dir_fd=folder)
    try:
        with open(handle, "wb", buffering=0) as file:
            if before is not None:
                os.fchmod(file.fileno(), before)
            rest = memoryview(data)
            while rest:
                look()
                rest = rest[file.write(rest[: 1 << 20]) :]
            os.fsync(file.fileno())
        look()
        points.reach("rename file")
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def _mode(folder: int, name: str) -> int | None:
    """The permissions of a file that is there."""
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(there.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(there.st_mode):
        raise FileExistsError(errno.EEXIST, "it is there, and is no file")
    return stat.S_IMODE(there.st_mode)
