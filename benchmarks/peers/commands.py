"""make, ninja, xargs, GNU parallel, doit and snakemake: `size` times /bin/true, as whole processes; writing their file is not part of the work."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from functools import partial
from pathlib import Path

from common import Job, process, written


def make(slots: int, size: int) -> Job:
    names = [f"t{number}" for number in range(size)]
    rules = "".join(f"{name}:\n\t@/bin/true\n" for name in names)
    file = written(f"Makefile.{size}", f".PHONY: all {' '.join(names)}\nall: {' '.join(names)}\n{rules}")
    return process(["make", f"-j{slots}", "-Otarget", "-f", file])


def ninja(slots: int, size: int) -> Job:
    names = [f"t{number}" for number in range(size)]
    builds = "".join(f"build {name}: t\n" for name in names)
    text = f"builddir = ninja.{size}\nrule t\n  command = /bin/true\n{builds}build all: phony {' '.join(names)}\ndefault all\n"
    return process(["ninja", f"-j{slots}", "-f", written(f"build.{size}.ninja", text)])


def xargs(slots: int, size: int) -> Job:
    return process(["xargs", "-P", str(slots), "-n", "1", "/bin/true"], numbers(size))


def parallel(slots: int, size: int) -> Job:
    return process(["parallel", "--will-cite", "-j", str(slots), "/bin/true"], numbers(size))


def doit(slots: int, size: int) -> Job:
    """A database for each size: it is new when the work begins."""
    text = f'def task_t():\n    for number in range({size}):\n        yield {{"name": number, "actions": [["/bin/true"]]}}\n'
    file = written(f"dodo_{size}.py", text)
    return process([script("doit"), "-f", file, "--db-file", f"doit.{size}", "-n", str(slots)])


def snakemake(slots: int, size: int) -> Job:
    """A job has to have a file: snakemake itself touches it."""
    text = (
        f'rule all:\n    input: expand("done.{size}/{{n}}", n=range({size}))\n'
        f'rule t:\n    output: touch("done.{size}/{{n}}")\n    shell: "/bin/true"\n'
    )
    words = [script("snakemake"), "-s", written(f"Snakefile.{size}", text), "--cores", str(slots)]
    return process(words, XDG_CACHE_HOME=str(Path("cache").absolute()))


def script(name: str) -> str:
    """A program of this environment."""
    return str(Path(sysconfig.get_path("scripts"), name))


def numbers(size: int) -> str:
    return "".join(f"{number}\n" for number in range(size))


ROWS: dict[str, Callable[[int], Job]] = {
    f"{program.__name__} {slots}": partial(program, slots)
    for program in (make, ninja, xargs, parallel, doit, snakemake)
    for slots in (2, 8)
}
