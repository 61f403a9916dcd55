"""make, ninja, xargs and GNU parallel: `size` times /bin/true, as whole processes; writing their file is not part of the work."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

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


def numbers(size: int) -> str:
    return "".join(f"{number}\n" for number in range(size))


ROWS: dict[str, Callable[[int], Job]] = {
    f"{program.__name__} {slots}": partial(program, slots)
    for program in (make, ninja, xargs, parallel)
    for slots in (2, 8)
}
