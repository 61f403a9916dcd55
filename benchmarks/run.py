"""All benchmarks, with one command: plait beside plain asyncio, other libraries and other programs.

    python benchmarks/run.py                                  # everything; a table on the terminal
    python benchmarks/run.py --markdown docs/benchmarks.md    # and the page for the docs
    python benchmarks/run.py --only "layered graph 100k"      # groups or rows that contain a text
    python benchmarks/run.py --smoke                          # tiny sizes, results checked, no figures to trust

Rows of a group are measured in turns (A B C, A B C, ...), so that drift of the machine hits all alike; each in a process of its own, in
a process group that is killed when the row is over or out of time. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import table
from groups import GROUPS, Group, Row

HERE = Path(__file__).parent


def python_of(row: Row, peers: Path) -> str | None:
    """The Python that runs a row; None if its virtual environment is not there."""
    if not row.venv:
        return sys.executable
    python = peers / row.venv / "bin" / "python"
    return str(python) if python.exists() else None


def measure(row: Row, size: int, peers: Path) -> table.Measurement:
    """The figures of one go at a row, or why there are none."""
    python = python_of(row, peers)
    if python is None:
        return {"missing": f"no virtual environment {row.venv!r} (run.py --how)"}
    command = [python, str(HERE / "row.py"), row.module, row.work, str(size), row.peer]
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder,
        open(Path(folder, "stdout"), "w+") as stdout,
        open(Path(folder, "stderr"), "w+") as stderr,
    ):
        code = in_a_group(command, stdout, stderr, folder, row.timeout)
        return judged(code, row, stdout, stderr)


def in_a_group(command: Sequence[str], stdout: IO[str], stderr: IO[str], folder: str, timeout: float) -> int | None:
    """The exit code of a command, None if it ran out of time. Whatever it started and left behind is killed."""
    env = {**os.environ, "PYTHONHASHSEED": "0", "TMPDIR": folder}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # else every process would compile what it imports
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=folder, env=env, start_new_session=True
    )
    over = os.pidfd_open(process.pid)
    try:
        ended = bool(select.select([over], [], [], timeout)[0])
    finally:
        # Before the process is waited for: until then nobody else can have its group's number.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(over)
    return process.returncode if ended else None


def judged(code: int | None, row: Row, stdout: IO[str], stderr: IO[str]) -> table.Measurement:
    """What a row's process came to."""
    if code is None:
        return {"failed": f"not over after {row.timeout:g} s"}
    stdout.seek(0)
    stderr.seek(0)
    figures = [said for said in stdout.read().splitlines() if said.startswith("{")]
    if code or not figures:
        said = [each.strip() for each in stderr.read().splitlines() if each.strip()]
        # Without folders: they would tell of this machine, and say nothing elsewhere.
        reason = re.sub(r"(/[^/\s'\"]+)+/", "", said[-1])[:200] if said else "nothing said"
        return {"failed": f"{reason} (exit code {code})"}
    found: dict[str, Any] = json.loads(figures[-1])
    if "missing" in found and not row.peer:
        return {"failed": found["missing"]}
    return found


# -- which rows


def chosen(only: str, groups: Sequence[Group] = GROUPS) -> list[Group]:
    """The groups, with the rows that contain `only`, or whose group does, and the rows that these are compared with."""
    found = []
    for group in groups:
        wanted = {row.name for row in group.rows if only.lower() in f"{group.name}\n{row.name}".lower()}
        if wanted:
            wanted |= {group.base, group.second, *(other for one, other in group.pairs if one in wanted)}
            found.append(group._replace(rows=[row for row in group.rows if row.name in wanted]))
    return found


def smoke(groups: Sequence[Group]) -> list[Group]:
    """Rows without peers, tiny, and each work once."""
    seen: set[tuple[str, str, bool]] = set()
    found = []
    for group in groups:
        rows = []
        for row in group.rows:
            size = min(row.size if row.size is not None else group.size, group.smoke)
            work = (row.module, row.work.rstrip("0123456789"), bool(size))
            if not row.peer and work not in seen:
                seen.add(work)
                rows.append(row._replace(size=size))
        if rows:
            found.append(group._replace(rows=rows, size=group.smoke, family=""))
    return found


# -- running


def measured(groups: Sequence[Group], rounds: int, peers: Path) -> Iterator[table.Measurement]:
    """Measurements as they are made; prints each row once it is known. A row that failed is not tried again."""
    for group in groups:
        print(table.text_head(group), flush=True)
        found: list[table.Measurement] = []
        over: set[str] = set()
        for number in range(rounds):
            for row in group.rows:
                # A row of fewer rounds takes part in the last ones, beside the last ones of what it is compared with.
                if row.name in over or number < rounds - min(row.rounds or rounds, rounds):
                    continue
                size = group.size if row.size is None else row.size
                progress(f"{number + 1}/{rounds} {row.name}")
                found.append(
                    {"group": group.name, "row": row.name, "n": size, "round": number, **measure(row, size, peers)}
                )
                yield found[-1]
                if "wall" not in found[-1]:
                    over.add(row.name)
                if row.name in over or number == rounds - 1:
                    progress("")
                    known = table.lines(group, found)
                    line = next(each for each in known if each.name == row.name)
                    print(table.text_row(table.cells(group, line, known)), flush=True)


def progress(text: str) -> None:
    """What is being measured, in one line that the next one overwrites; only where a person looks on."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def machine() -> dict[str, str]:
    """What the figures depend on; nothing that names this machine."""
    cpu = platform.processor() or platform.machine()
    try:
        cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]  # type: ignore[index]
    except (OSError, TypeError):
        pass  # another system, or a CPU whose name the kernel does not tell
    try:
        command = ["stat", "--file-system", "--format=%T", tempfile.gettempdir()]
        disk = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        disk = "?"
    return {
        "CPU": cpu,
        "cores": str(os.cpu_count()),
        "temporary files": disk,
        "system": platform.system(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "date": time.strftime("%Y-%m-%d"),
    }


def how() -> str:
    """The commands that install the peers, from the README."""
    readme = (HERE / "README.md").read_text()
    return re.findall(r"```bash\n(.*?)```", readme[readme.index("## The peers") :], re.S)[0]


def listed(groups: Sequence[Group]) -> str:
    """All groups and rows, with what they need."""
    out = []
    for group in groups:
        out.append(group.name)
        for row in group.rows:
            size = group.size if row.size is None else row.size
            needs = f"  needs {row.peer}" + (f" in {row.venv!r}" if row.venv else "") if row.peer else ""
            out.append(f"  {row.name:<42} {size:>9,}{needs}")
    return "\n".join(out)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="All benchmarks of plait.")
    add = parser.add_argument
    add(
        "--smoke", action="store_true", help="one round of tiny sizes, plait and plain Python only; fails if a row does"
    )
    add("--only", default="", metavar="TEXT", help="groups or rows that contain it, and what they are compared with")
    add("--rounds", type=int, default=5, help="how often each row is measured (5; slow peers less often)")
    add("--peers", type=Path, default=Path(os.environ.get("PLAIT_PEERS", HERE / "venvs")), metavar="DIR", help="the peers' virtual environments (PLAIT_PEERS, or benchmarks/venvs)")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="every measurement, a line each, as they are made")
    add("--markdown", type=Path, metavar="FILE", help="the tables as a page for the docs")
    add("--read", type=Path, nargs="+", metavar="FILE", help="files of --json instead of measuring")
    add("--list", action="store_true", help="the groups and rows")
    add("--how", action="store_true", help="how to install the peers")
    return parser.parse_args()


def main() -> None:
    """Measures, prints, writes; exit code 1 if a row failed."""
    given = options()
    groups = chosen(given.only)
    if given.how or given.list:
        print(how() if given.how else listed(groups), end="" if given.how else "\n")
        return
    if not groups:
        sys.exit(f"no group or row contains {given.only!r}; --list shows them")
    if given.rounds < 1:
        sys.exit("--rounds must be at least 1")
    about, found = machine(), []
    if given.read:
        try:
            lines = [json.loads(each) for path in given.read for each in path.read_text().splitlines()]
        except (OSError, ValueError) as error:
            sys.exit(f"--read: {error}; give files that --json wrote")
        for said in lines:
            if "machine" in said:
                about = said["machine"]
            else:
                found.append(said)
    else:
        if given.smoke:
            groups, given.rounds = smoke(groups), 1
        if given.json:
            given.json.write_text(json.dumps({"machine": about}) + "\n")
        try:
            for each in measured(groups, given.rounds, given.peers.absolute()):
                found.append(each)
                if given.json:
                    with given.json.open("a") as lines:
                        lines.write(json.dumps(each) + "\n")
        except KeyboardInterrupt:
            print("\ninterrupted; so far:", file=sys.stderr)
    print("\n" + "=" * 80 + "\n" + table.text(groups, found))
    if given.markdown:
        given.markdown.write_text(table.markdown(groups, found, about))
    failed = sorted({f"{each['group']}: {each['row']}: {each['failed']}" for each in found if "failed" in each})
    if failed:
        sys.exit("\n" + "\n".join(f"failed: {each}" for each in failed))


if __name__ == "__main__":
    main()
