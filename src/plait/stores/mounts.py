"""On what kind of file system a path lies."""

from __future__ import annotations

import os
import re

MOUNTS = "/proc/self/mountinfo"


def filesystem_of(path: str, mounts: str = MOUNTS) -> str:
    """The type of the file system that holds `path`, as the kernel names it (`ext4`, `nfs4`); "" where nobody can say."""
    real = os.path.realpath(path)
    best, kind = "", ""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                before, _, after = line.partition(" - ")
                fields = before.split()
                if len(fields) < 5 or not after:
                    continue
                point = fields[4]
                if "\\" in point:
                    point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point)
                inside = real == point or real.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, after.split()[0]
    except OSError:
        return ""
    return kind
