"""Files that are there whole, or as they were."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from plait import points


def write(path: Path, text: str, *, replaces: bool) -> None:
    """All of it or nothing: it is written beside its place and then moved there. It keeps the mode of what it replaces.

    Raises:
        FileExistsError: where there is something, and it `replaces` nothing.
        OSError: where it cannot be written.
    """
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~mask)
        points.reach("rename file")
        if replaces:
            os.replace(name, path)
        else:
            os.link(name, path)  # unlike a move it never replaces what came in between
    finally:
        if os.path.exists(name):
            os.unlink(name)
