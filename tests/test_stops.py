"""What is left behind by runs that end early: nothing (W9). More of the same: `python tests/stops.py`."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.realtime

DEAF = """
import asyncio, plait, subprocess, sys

async def deaf():
    child = subprocess.Popen(["sleep", "60"])
    print(child.pid, flush=True)
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            print("told", flush=True)

graph = plait.Graph("g")
graph.add("deaf", deaf)
graph.add("command", plait.shell("trap '' TERM; echo $$ > pid; sleep 60"))
plait.run(graph, grace=30)
"""


@pytest.mark.parametrize(("how", "trials"), [("inside", "12"), ("signals", "8")])
def test_a_sample_of_random_stops_leaves_nothing_behind(how: str, trials: str) -> None:
    """W9 X2 C9 F08: no process, zombie, descriptor, thread or temporary file; gone within the grace and a second."""
    command = [sys.executable, str(Path(__file__).with_name("stops.py")), "--how", how, "--trials", trials]
    done = subprocess.run([*command, "--seed", "700"], capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{how}: {trials} trials, 0 wrong" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_program_dies_of_its_signal_after_its_run_and_at_once_of_a_second(
    number: signal.Signals, tmp_path: Path
) -> None:
    """F08 F10: as the system would have it, so that whoever started the program can tell."""
    run = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert run.stdout is not None
    child = int(run.stdout.readline())
    try:
        run.send_signal(number)
        assert run.stdout.readline() == "told\n"
        assert run.poll() is None
        run.send_signal(number)
        assert run.wait(20) == -number
    finally:
        run.kill()
        run.wait()
        run.stdout.close()
        subprocess.run(["kill", str(child)], check=False, capture_output=True)
