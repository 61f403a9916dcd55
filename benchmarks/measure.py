"""The figures of one row, measured in this process.

The line holds `wall` and `cpu` in seconds, `bytes` by which the peak of memory grew, `versions`; or `missing`, with the reason,
where PEER is not installed here. A wrong result is an error. Neither imports nor building the input count.
"""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import subprocess
from importlib import import_module, metadata
from typing import Any

from common import Span, clock, since

WARM = 4
"""The size of the first go, which is not measured: what is imported at first use is not part of the work."""


def peak() -> int:
    """The peak of this process's resident memory, in bytes."""
    # Not ru_maxrss: that begins with the size of the process that started this one.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def forget_peak() -> int:
    """The bytes from which growth counts: what is resident now, or the peak so far where the kernel keeps that."""
    try:
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")
    except OSError:
        pass  # growth is then told too low if building the input took more than the work
    return peak()


def version(peer: str) -> str:
    """The version of a package or program.

    Raises:
        ModuleNotFoundError: if it is neither.
    """
    try:
        return metadata.version(peer)
    except metadata.PackageNotFoundError:
        if shutil.which(peer) is None:
            raise ModuleNotFoundError(f"no package or program {peer!r} here") from None
    said = subprocess.run([peer, "--version"], capture_output=True, text=True).stdout
    number = re.search(r"\d[\d.]*", said)
    return number[0] if number else "?"


def measure(module: str, work: str, size: int, peer: str) -> dict[str, Any]:
    """The figures of one row.

    Raises:
        SystemExit: if its result is wrong.
    """
    try:
        versions = {peer: version(peer)} if peer else {}
    except ModuleNotFoundError as error:
        return {"missing": str(error)}
    row = import_module(module).ROWS[work]
    warm = row(min(WARM, size))
    warm.work()
    job = row(size)
    del warm
    gc.collect()
    before = forget_peak()
    start = clock()
    result = job.work()
    span = result if isinstance(result, Span) else since(start, result)
    grown = peak() - before
    if not job.right(span.result):
        raise SystemExit("wrong result")
    return {"wall": span.wall, "cpu": span.cpu, "bytes": grown, "versions": versions}


def main(module: str, work: str, size: str, peer: str = "") -> None:
    """Prints the line, and ends this process."""
    print(json.dumps(measure(module, work, int(size), peer)), flush=True)
    # How long a library takes to shut down, or a million objects to be freed, is nobody's figure.
    os._exit(0)
