"""`programs.py` and plait's command line: `size` times /bin/true, as whole processes; writing a file is not part of the work."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Callable
from functools import partial
from pathlib import Path

from common import Job, process, written


def plait_program() -> list[str]:
    """The `plait` command of this environment."""
    script = Path(sysconfig.get_path("scripts"), "plait")
    return [str(script)] if script.exists() else [sys.executable, "-m", "plait"]


def program(name: str, slots: int, size: int) -> Job:
    return process([sys.executable, str(Path(__file__).with_name("programs.py")), name, str(slots), str(size)])


def ended_well(job: Job, count: int) -> Job:
    """The job, right only if plait also says that `count` tasks succeeded."""

    def right(found: list[subprocess.CompletedProcess[str]]) -> bool:
        return job.right(found) and all(f": {count} succeeded" in each.stderr for each in found)

    return Job(job.work, right)


def plait_map(slots: int, size: int) -> Job:
    """Through the shell, as xargs is not; each item is a word behind the command."""
    words = [*plait_program(), "map", "-j", str(slots), "/bin/true"]
    return ended_well(process(words, "".join(f"{number}\n" for number in range(size))), size)


def plait_foreach(slots: int, size: int) -> Job:
    """One task for each item of a list."""
    text = f"name: commands\ntasks:\n  each:\n    foreach: {list(range(size))}\n    run: [/bin/true]\n"
    words = [*plait_program(), "run", written(f"foreach.{size}.yaml", text), "-j", str(slots)]
    return ended_well(process(words), size + 1)  # the whole is a task too


def plait_file(slots: int, size: int) -> Job:
    """A task written down for each command, as in a Makefile."""
    tasks = "".join(f"  t{number}: {{run: [/bin/true]}}\n" for number in range(size))
    text = f"name: commands\ntasks:\n{tasks}"
    return ended_well(process([*plait_program(), "run", written(f"tasks.{size}.yaml", text), "-j", str(slots)]), size)


ROWS: dict[str, Callable[[int], Job]] = {
    f"{name} {slots}": partial(work, slots)
    for slots in (2, 8)
    for name, work in {
        **{
            name: partial(program, name)
            for name in ("spawn", "captured", "captured sh", "asyncio", "plait", "plait sh")
        },
        "plait map": plait_map,
        "plait run foreach": plait_foreach,
        "plait run tasks": plait_file,
    }.items()
}
