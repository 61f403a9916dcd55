"""Builds a C library from its source distribution: a task for each file, one that joins them, one that tries the library.

    python examples/build_c.py              # Brotli: pip fetches it, gcc compiles 35 files, as many at once as there are CPUs
    python examples/build_c.py -j 4 --out /tmp/brotli
    python examples/build_c.py --compare    # the same commands by plait and by make in turn, 3 times each

It needs gcc, ar and pip, and make to compare. Everything goes into `brotli-build` in the folder `--out`. `--sdist FILE` takes a
source distribution that is there already.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

import plait

NAME, VERSION = "brotli", "1.2.1"
PARTS = ("common", "dec", "enc")  # the folders below `c/` that are the library
FLAGS = ("-O2",)
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")

TRIAL = r"""
#include <stdio.h>
#include <string.h>
#include <brotli/decode.h>
#include <brotli/encode.h>

int main(void) {
    static uint8_t text[100000], packed[200000], again[100000];
    size_t small = sizeof packed, size = sizeof again;
    for (size_t at = 0; at < sizeof text; at++) text[at] = "plait "[at % 6];
    if (!BrotliEncoderCompress(9, 22, BROTLI_MODE_TEXT, sizeof text, text, &small, packed)) return 1;
    if (BrotliDecoderDecompress(small, packed, &size, again) != BROTLI_DECODER_RESULT_SUCCESS) return 2;
    if (size != sizeof text || memcmp(text, again, size)) return 3;
    uint32_t version = BrotliDecoderVersion();
    printf("Brotli %u.%u.%u: %zu bytes, compressed to %zu, and back\n",
           version >> 24, (version >> 12) & 0xfff, version & 0xfff, size, small);
    return 0;
}
"""


class CannotBuild(Exception):
    """A tool or file that is missing; one line for whoever started this."""


class BuildFailed(Exception):
    """A command of the build failed; what it said."""


@dataclass
class Step:
    """A command, the file that it makes (none: it is run for what it prints) and the steps before it, by key."""

    key: str
    words: list[str]
    makes: str = ""
    needs: tuple[str, ...] = ()


def fetch(folder: Path) -> Path:
    """The source distribution, from pip, unless it is there already."""
    there = sorted(folder.glob(f"{NAME}-{VERSION}.tar.gz"))
    if not there:
        if importlib.util.find_spec("pip") is None:
            raise CannotBuild("pip is not installed: python -m ensurepip, or give --sdist FILE")
        download = [*PIP, "download", "-q", "--no-deps", "--no-binary", NAME, f"{NAME}=={VERSION}", "-d", str(folder)]
        try:
            plait.run(plait.shell(download, timeout="3m"))
        except plait.TaskError as error:
            raise CannotBuild(f"pip cannot download {NAME} {VERSION}: {last_line(error)}") from None
        there = sorted(folder.glob(f"{NAME}-{VERSION}.tar.gz"))
    if not there:
        raise CannotBuild(f"pip downloaded no {NAME}-{VERSION}.tar.gz into {folder}")
    return there[0]


def last_line(error: plait.TaskError) -> str:
    lines = [line for line in getattr(error, "tail", "").splitlines() if line.startswith("ERROR: ")]
    return lines[-1].removeprefix("ERROR: ") if lines else str(error)


def unpack(sdist: Path, folder: Path) -> Path:
    """The one folder that the archive holds."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise CannotBuild(f"{sdist} cannot be unpacked: {error}") from None
    found = list(folder.iterdir())
    if len(found) != 1:
        raise CannotBuild(f"{sdist} holds {len(found)} files or folders at its top, not one")
    return found[0]


def steps(source: Path, out: Path) -> list[Step]:
    """Every command of the build, the longest first: the largest files are begun before the small ones."""
    files = sorted(
        (file for part in PARTS for file in (source / "c" / part).glob("*.c")), key=lambda file: -file.stat().st_size
    )
    if not files:
        raise CannotBuild(f"{source} holds no c/{PARTS[0]}/*.c: it is not {NAME}")
    include = ["-I", str(source / "c" / "include")]
    trial = out / "trial.c"
    trial.write_text(TRIAL)
    compiled = []
    for file in files:
        name = f"{file.parent.name}_{file.stem}"  # two folders may hold files of one name
        made = str(out / f"{name}.o")
        compiled.append(Step(name, ["gcc", *FLAGS, *include, "-c", str(file), "-o", made], made))
    library, program = str(out / f"lib{NAME}.a"), str(out / "trial")
    return [
        *compiled,
        Step("library", ["ar", "rcs", library, *(step.makes for step in compiled)], library, tuple(step.key for step in compiled)),
        Step("trial", ["gcc", *FLAGS, *include, str(trial), library, "-lm", "-o", program], program, ("library",)),
        Step("run", [program], needs=("trial",)),
    ]  # fmt: skip


def by_plait(build: list[Step], jobs: int) -> str:
    """What gcc and ar write is kept with each task: nothing is mixed, and a failure shows its own lines."""
    graph = plait.Graph("build")
    for step in build:
        graph.add(step.key, plait.shell(step.words), needs=step.needs, timeout="5m")
    result = plait.run(graph, max_concurrency=jobs, raise_on_failure=False)
    if not result["run"].ok:
        failures = [f"{each.key}: {getattr(each.error, 'tail', '') or each.error}" for each in result.failures()]
        counts = ", ".join(f"{number} {status}" for status, number in result.counts.items())
        raise BuildFailed("\n".join([*failures, counts]))
    return str(result["run"].value)


def by_make(build: list[Step], jobs: int, out: Path) -> str:
    makes = {step.key: step.makes or step.key for step in build}
    rules = [f"all: {makes[build[-1].key]}\n.PHONY: all {build[-1].key}"]
    for step in build:
        rules.append(f"{makes[step.key]}: {' '.join(makes[need] for need in step.needs)}\n\t@{shlex.join(step.words)}")
    makefile = out / "Makefile"
    makefile.write_text("\n".join(rules) + "\n")
    done = subprocess.run(["make", "-f", str(makefile), "-j", str(jobs), "-Otarget"], capture_output=True, text=True)
    if done.returncode:
        raise BuildFailed(done.stderr.strip())
    return done.stdout.strip()


def compare(source: Path, folder: Path, jobs: int, rounds: int = 3) -> None:
    """plait and make in turn, each into an empty folder; the time is that of the whole build, the trial included."""
    walls: dict[str, list[float]] = {"plait": [], "make": []}
    for _ in range(rounds):
        for tool in walls:
            out = emptied(folder / tool)
            began = time.perf_counter()
            build = steps(source, out)
            printed = by_plait(build, jobs) if tool == "plait" else by_make(build, jobs, out)
            walls[tool].append(time.perf_counter() - began)
            print(f"{tool:5} {walls[tool][-1]:6.2f} s  {printed}", flush=True)
    for tool, took in walls.items():
        print(f"{tool}: median {statistics.median(took):.2f} s (n={len(took)}, -j {jobs})")


def emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def build_once(source: Path, out: Path, jobs: int) -> None:
    began = time.perf_counter()
    build = steps(source, emptied(out))
    print(by_plait(build, jobs))
    print(f"{out / f'lib{NAME}.a'}: {len(build) - 3} files in {time.perf_counter() - began:.1f} s, -j {jobs}")


def main() -> int:
    parser = argparse.ArgumentParser(description=f"Builds {NAME} {VERSION} from its source distribution.")
    parser.add_argument("-j", type=int, default=os.cpu_count() or 1, metavar="N", help="commands at once (the CPUs)")
    parser.add_argument("--compare", action="store_true", help="by plait and by make in turn, 3 times each")
    parser.add_argument("--sdist", type=Path, metavar="FILE", help="build from this .tar.gz, without pip")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="where everything goes")
    options = parser.parse_args()
    if options.j < 1:
        parser.error("-j must be 1 or more")
    folder = options.out.resolve() / f"{NAME}-build"  # a name of its own: what is below is emptied before each build
    try:
        for tool in ("gcc", "ar", *(["make"] if options.compare else [])):
            if shutil.which(tool) is None:
                raise CannotBuild(f"{tool} is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        source = unpack(options.sdist or fetch(folder), folder / "source")
        if options.compare:
            compare(source, folder, options.j)
        else:
            build_once(source, folder / "plait", options.j)
        return 0
    except BuildFailed as error:
        print(error, file=sys.stderr)
        return 1
    except CannotBuild as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
