"""The thread that starts commands has a short time slice meanwhile, and nobody else has."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

import plait
from plait.executors import slices
from plait.executors.slices import SHORT_NS, USUAL_MOST_NS, Attributes, Slice
from plait.executors.spawning import FEW

USUAL = 2_800_000


@dataclass
class Kernel:
    """What Linux says of one thread, and does to it."""

    policy: int = 0
    flags: int = 0
    nice: int = 0
    slice: int = USUAL
    privileged: bool = True
    refuses: tuple[str, ...] = ()
    interrupted: str = ""
    """Ctrl-C comes right after this call."""
    asked: list[tuple[int, int]] = field(default_factory=list)
    """The slices and flags that it was asked for."""

    def __call__(self, number: int, attributes: bytearray, size: int) -> None:
        kind = "get" if number == slices._NUMBERS[os.uname().machine][0] else "set"
        if kind in self.refuses:
            raise OSError(errno.EPERM, kind)
        self._do(kind, attributes, size)
        if kind == self.interrupted:
            self.interrupted = ""
            raise KeyboardInterrupt

    def _do(self, kind: str, attributes: bytearray, size: int) -> None:
        if kind == "get":
            assert size == len(attributes)
            attributes[:] = slices._ATTRIBUTES.pack(size, self.policy, self.flags, self.nice, 0, self.slice, 0, 0)
            return
        length, policy, flags, nice, _, runtime, _, _ = slices._ATTRIBUTES.unpack(attributes)
        assert (length, policy, nice) == (len(attributes), self.policy, self.nice)
        self.asked.append((runtime, flags))
        if self.flags & ~flags and not self.privileged:
            raise OSError(errno.EPERM, "who may not may not take a flag back")
        self.flags, self.slice = flags, runtime


pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or sys.maxsize < 2**32 or os.uname().machine not in slices._NUMBERS,
    reason="slices are known on Linux alone, by the numbers of its system calls",
)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Each test has a kernel of its own."""
    yield
    slices._usual.attributes = None


class TestAsksFor:
    def test_a_short_one_that_nobody_inherits_and_gives_it_back(self) -> None:
        kernel = Kernel()
        slice_ = Slice(kernel)
        slice_.shorten()
        assert (kernel.slice, kernel.flags) == (SHORT_NS, 1)  # 1: reset on fork
        slice_.restore()
        assert (kernel.slice, kernel.flags) == (USUAL, 0)

    def test_a_flag_that_may_not_go_stays_and_the_slice_goes(self) -> None:
        kernel = Kernel(privileged=False)
        slice_ = Slice(kernel)
        slice_.shorten()
        slice_.restore()
        assert (kernel.slice, kernel.flags) == (USUAL, 1)
        slice_.shorten()
        assert (kernel.slice, kernel.flags) == (SHORT_NS, 1)

    @pytest.mark.parametrize(
        "kernel",
        [
            Kernel(policy=3),  # batch
            Kernel(policy=1),  # first in, first out
            Kernel(nice=-5),  # what it starts would lose that
            Kernel(slice=0),  # before Linux 6.12
            Kernel(slice=SHORT_NS // 2),  # somebody's choice
            Kernel(slice=USUAL_MOST_NS + 1),  # which what it starts would lose
            Kernel(slice=SHORT_NS),  # another run of the same thread
            Kernel(refuses=("get",)),
        ],
        ids=repr,
    )
    def test_nothing_where_it_is_not_ours_to_choose(self, kernel: Kernel) -> None:
        slice_ = Slice(kernel)
        slice_.shorten()
        slice_.restore()
        assert kernel.asked == []

    def test_nothing_more_where_it_is_refused(self) -> None:
        kernel = Kernel(refuses=("set",))
        slice_ = Slice(kernel)
        slice_.shorten()
        slice_.restore()
        assert (kernel.slice, kernel.flags) == (USUAL, 0)

    def test_a_choice_that_came_after_it_stands(self) -> None:
        kernel = Kernel()
        slice_ = Slice(kernel)
        slice_.shorten()
        kernel.slice = 5_000_000
        slice_.restore()
        assert kernel.slice == 5_000_000

    def test_the_next_run_gives_back_what_an_interrupted_one_left(self) -> None:
        kernel = Kernel()
        Slice(kernel).shorten()
        again = Slice(kernel)
        again.shorten()
        again.restore()
        assert (kernel.slice, kernel.flags) == (USUAL, 0)
        kernel.slice = SHORT_NS  # this time by somebody else
        again.restore()
        assert kernel.slice == SHORT_NS

    def test_ctrl_c_in_the_middle_leaves_what_the_next_one_gives_back(self) -> None:
        kernel = Kernel(interrupted="set")
        with pytest.raises(KeyboardInterrupt):
            Slice(kernel).shorten()
        assert kernel.slice == SHORT_NS
        kernel.interrupted = "get"
        with pytest.raises(KeyboardInterrupt):
            Slice(kernel).restore()
        Slice(kernel).restore()
        assert (kernel.slice, kernel.flags) == (USUAL, 0)

    def test_another_thread_gives_nothing_back(self) -> None:
        kernel = Kernel()
        slice_ = Slice(kernel)
        slice_.shorten()
        other = threading.Thread(target=slice_.restore)
        other.start()
        other.join()
        assert kernel.slice == SHORT_NS


FILTERED = """
import ctypes, os, struct
import plait
from plait.executors.slices import _NUMBERS
from plait.executors.spawning import FEW

def step(code, jump_true, jump_false, number):
    return struct.pack("HBBI", code, jump_true, jump_false, number)

LOAD, IF_EQUAL, RETURN, KILL, ALLOW = 0x20, 0x15, 0x06, 0x80000000, 0x7FFF0000
first, second = _NUMBERS[os.uname().machine]
steps = ctypes.create_string_buffer(b"".join([
    step(LOAD, 0, 0, 0), step(IF_EQUAL, 1, 0, first), step(IF_EQUAL, 0, 1, second),
    step(RETURN, 0, 0, KILL), step(RETURN, 0, 0, ALLOW),
]))
program = ctypes.create_string_buffer(struct.pack("HL", 5, ctypes.addressof(steps)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # no new privileges
assert libc.prctl(22, 2, program, 0, 0) == 0, os.strerror(ctypes.get_errno())
print(len(plait.run([plait.shell(["true"]) for _ in range(FEW + 1)])))
"""


def now() -> Attributes:
    return Slice().read() or Attributes(0, 0, 0, 0)


class TestARun:
    """On the system at hand: one that knows no slices says 0, and one thread that has a policy or a better priority keeps its slice."""

    def test_has_it_while_many_commands_run_and_they_have_the_usual_one(self) -> None:
        before = now()
        usual = before.slice
        ours = before.policy == 0 and before.nice >= 0 and SHORT_NS < usual <= USUAL_MOST_NS
        shown = plait.shell(
            [sys.executable, "-c", "from plait.executors.slices import Slice; print((Slice().read() or [0])[-1])"]
        )
        during: list[int] = []

        async def look() -> None:
            during.append(now().slice)

        async def main() -> plait.RunResult:
            graph = plait.Graph("many")
            many = [graph.add(f"c{number}", plait.shell(["true"])) for number in range(FEW)]
            last = graph.add("last", shown, needs=many)
            graph.add("look", look, needs=[last])
            return await plait.arun(graph)

        result = asyncio.run(main())
        assert int(result["last"].value) == usual
        assert during == [SHORT_NS if ours else usual]
        assert now().slice == usual

    def test_under_a_filter_of_system_calls_asks_for_nothing(self) -> None:
        # One that kills whoever makes these calls, as systemd's `SystemCallFilter=~@resources` does.
        done = subprocess.run([sys.executable, "-c", FILTERED], capture_output=True, text=True, timeout=50)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{FEW + 1}\n", "")

    @pytest.mark.parametrize(
        "wrong", [ImportError("no ctypes"), RuntimeError("an audit hook"), OSError(errno.EMFILE, "")]
    )
    def test_loses_no_command_to_it(self, wrong: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        def shorten(self: Slice) -> None:
            raise wrong

        monkeypatch.setattr(Slice, "shorten", shorten)
        monkeypatch.setattr(Slice, "restore", shorten)
        assert plait.run([plait.shell(["true"]) for _ in range(FEW + 1)]) == [""] * (FEW + 1)

    def test_reads_what_the_system_says_under_any_name(self) -> None:
        code = "from plait.executors.slices import Slice; print(Slice().read())"
        usual = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50).stdout
        name = f"open('/proc/self/comm', 'wb').write(b'plait-gr\\xc3'); {code}"
        assert subprocess.run([sys.executable, "-c", name], capture_output=True, text=True, timeout=50).stdout == usual

    def test_of_few_commands_asks_for_nothing(self) -> None:
        usual = now().slice
        during: list[int] = []

        async def look() -> None:
            during.append(now().slice)

        graph = plait.Graph("few")
        few = [graph.add(f"c{number}", plait.shell(["true"])) for number in range(FEW - 1)]
        graph.add("look", look, needs=few)
        plait.run(graph)
        assert during == [usual]
