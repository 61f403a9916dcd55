"""Limits that several runs share: objects in one process, and everything through a store between processes (X4, X5, B8)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import plait
import sharers
from plait._core.ledger import Wish
from plait.stores import shares
from plait.testing import VirtualClock

HERE = Path(__file__).parent


class Entry(NamedTuple):
    """A line of a log of `sharers`."""

    kind: str
    what: str
    pid: int
    units: int
    at: float


def entries(log: Path) -> list[Entry]:
    found = []
    for line in log.read_text().splitlines():
        kind, what, pid, units, at = line.split()
        found.append(Entry(kind, what, int(pid), int(units), float(at)))
    return sorted(found, key=lambda each: each.at)


def peak(found: Iterable[Entry], what: str, killed: dict[int, float]) -> int:
    """The most units that were held at once; what a killed process held ended, at the latest, when it was killed."""
    changes: list[tuple[float, int]] = []
    open_units: dict[int, int] = {}
    for each in found:
        if each.what == what:
            units = each.units if each.kind == "+" else -each.units
            open_units[each.pid] = open_units.get(each.pid, 0) + units
            changes.append((each.at, units))
    for pid, at in killed.items():
        if open_units.get(pid):
            changes.append((at, -open_units[pid]))
    # What ends at a moment ends before what begins then.
    return max(itertools.accumulate(units for _, units in sorted(changes)), default=0)


def most_in_a_window(times: list[float], window: float) -> int:
    most = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - window:
            first += 1
        most = max(most, last - first + 1)
    return most


STRESS_S = float(os.environ.get("PLAIT_STRESS_S", "8"))
"""How long eight processes fight; 60 s where somebody wants to see more."""


@pytest.mark.timeout(240)
def test_eight_processes_share_a_pool_a_rate_and_a_lock_and_are_killed(tmp_path: Path) -> None:
    """X4 B8 B10 F76: never more than there is, at any moment; what a killed process had is free, and nothing stays taken."""
    store, log = tmp_path / "plait.db", tmp_path / "log"
    log.touch()
    plait.run(plait.Graph("first"), store=store)
    dice = random.Random(1)

    def begin() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, str(HERE / "sharers.py"), str(store), str(log), "600"])

    living = [begin() for _ in range(8)]
    killed: dict[int, float] = {}
    until = time.monotonic() + STRESS_S
    try:
        while (left := until - time.monotonic()) > 0:
            # Whoever ends by itself in this time has failed.
            with pytest.raises(subprocess.TimeoutExpired):
                living[0].wait(min(left, dice.uniform(0.05, 1.0)))
            victim = living.pop(dice.randrange(len(living)))
            killed[victim.pid] = time.monotonic()
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            living.append(begin())
    finally:
        for each in living:
            killed[each.pid] = time.monotonic()
            each.kill()
            each.wait()
    found = entries(log)
    assert peak(found, "pool", killed) <= sharers.POOL
    assert peak(found, "lock", killed) <= 1
    calls = [each.at for each in found if each.what == "rate"]
    assert most_in_a_window(calls, sharers.WINDOW_S) <= sharers.UNITS
    print(f"{len(killed)} killed; {len(calls)} calls, {len(found)} lines")
    assert {each.what for each in found} == {"pool", "rate", "lock"}
    assert len({each.pid for each in found}) > 3
    # Nothing stays taken: all of it is there for one who comes now.
    made = plait.Graph("last", pools={"gpu": sharers.POOL})
    made.add("all of it", plait.task(pool={"gpu": sharers.POOL}, deadline=10)(nothing))
    for number in range(sharers.UNITS):
        made.add(f"call {number}", plait.task(rate_limit=plait.Rate("api", sharers.RATE), deadline=10)(nothing))
    assert plait.run(made, store=store).status == "succeeded"
    with plait.Lock("index", timeout=10, folder=tmp_path / "named"):
        pass


async def nothing() -> None:
    pass


class Seen:
    """What was at work at once, and when calls came."""

    def __init__(self) -> None:
        self.now = self.peak = 0
        self.calls: list[float] = []

    async def work(self, seconds: float = 1.0, units: int = 1) -> None:
        self.now += units
        self.peak = max(self.peak, self.now)
        self.calls.append(asyncio.get_running_loop().time())
        await asyncio.sleep(seconds)
        self.now -= units


def graph(seen: Seen, number: int, *, seconds: float = 1.0, pools: Any = (), **options: Any) -> plait.Graph:
    made = plait.Graph("shared", pools=pools)
    work = plait.task(**options)(seen.work)
    for each in range(number):
        made.add(f"t{each}", work, args=(seconds,))
    return made


async def together(*targets: Any, **options: Any) -> list[Any]:
    return list(await asyncio.gather(*(plait.arun(each, raise_on_failure=False, **options) for each in targets)))


class TestObjects:
    def test_runs_of_one_process_share_a_pool_that_is_an_object(self) -> None:
        """X4."""
        seen, pool = Seen(), plait.Pool("db", 3)
        VirtualClock().run(together(*(graph(seen, 6, pool=pool) for _ in range(3)), max_concurrency=8))
        assert seen.peak == 3
        assert len(seen.calls) == 18

    def test_a_pool_may_be_an_object_of_the_graph(self) -> None:
        """X4."""
        seen, pool = Seen(), plait.Pool("db", 2)
        VirtualClock().run(together(*(graph(seen, 4, pools=[pool], pool="db") for _ in range(3))))
        assert seen.peak == 2

    def test_what_is_only_declared_belongs_to_its_run(self) -> None:
        seen = Seen()
        VirtualClock().run(together(*(graph(seen, 4, pools={"db": 2}, pool="db") for _ in range(3))))
        assert seen.peak == 6

    def test_runs_take_turns(self) -> None:
        """X4: whoever waits gets what is given back before the one who gave it back."""
        first, second, pool = Seen(), Seen(), plait.Pool("db", 1)
        VirtualClock().run(together(graph(first, 5, pool=pool), graph(second, 5, pool=pool)))
        assert max(first.calls) - max(second.calls) in (-1.0, 1.0)

    def test_what_lies_idle_goes_to_who_wants_it(self) -> None:
        """X4: a run keeps what it was granted only as long as nobody else asks for it."""
        first, second, pool = Seen(), Seen(), plait.Pool("db", 1)

        async def main() -> None:
            made = graph(first, 1, pool=pool)
            made.add("long", asyncio.sleep, args=(100,))
            going_on = plait.start(made)
            await asyncio.sleep(2)
            await plait.arun(graph(second, 1, pool=pool))
            await going_on

        VirtualClock().run(main())
        assert second.calls == [2]

    def test_runs_share_a_rate_that_is_an_object(self) -> None:
        """X4 B8: never more than the capacity in any window, of all of them."""
        seen, rate = Seen(), plait.Rate("api", "5/10s")
        VirtualClock().run(together(*(graph(seen, 7, rate_limit=rate, seconds=0.1) for _ in range(3))))
        assert sorted(seen.calls) == [0] * 5 + [10] * 5 + [20] * 5 + [30] * 5 + [40]

    def test_a_retry_after_slows_the_bucket_of_all_runs(self) -> None:
        """X5."""
        seen, rate = Seen(), plait.Rate("api", "1/1s")

        async def later() -> None:
            plait.current()
            seen.calls.append(asyncio.get_running_loop().time())
            if len(seen.calls) == 1:
                raise plait.RetryAfter(30)

        made = plait.Graph("asked")
        made.add("first", plait.task(rate_limit=rate)(later))
        results = VirtualClock().run(together(made, graph(seen, 2, rate_limit=rate, seconds=0)))
        assert seen.calls == pytest.approx([0, 30, 31, 32])
        assert results[0]["first"].attempts == 2

    def test_a_heavy_task_is_not_starved_by_the_light_ones_of_another_run(self) -> None:
        """X4 B8: first come, first served, whatever it weighs."""
        light, heavy, pool = Seen(), Seen(), plait.Pool("db", 3)

        async def main() -> None:
            many = asyncio.create_task(plait.arun(graph(light, 60, pool=pool), max_concurrency=8))
            await asyncio.sleep(2.5)
            await plait.arun(graph(heavy, 1, pool={pool: 3}))
            assert not many.done()
            await many

        VirtualClock().run(main())
        assert heavy.calls[0] <= 4

    def test_a_run_that_is_cancelled_while_it_waits_leaves_the_line(self) -> None:
        """F77."""
        seen, pool = Seen(), plait.Pool("db", 1)

        async def main() -> None:
            first = plait.start(graph(seen, 1, pool=pool, seconds=10))
            await asyncio.sleep(1)
            second = plait.start(graph(seen, 1, pool=pool))
            third = plait.start(graph(seen, 1, pool=pool))
            await asyncio.sleep(1)
            why = second.why("t0")
            assert why.reason == "pool"
            assert "shared with others" in why.text
            second.cancel()
            await asyncio.gather(first, second, third)

        VirtualClock().run(main())
        assert seen.calls == [0, 10]

    def test_why_names_the_slot_where_nobody_has_what_is_shared(self, tmp_path: Path) -> None:
        """X7: tasks that have to ask let others start, and those take all slots until they are over."""
        seen = Seen()

        async def main() -> None:
            made = plait.Graph("asks", pools={"p": 2})
            for name in ("first", "second", "third"):
                made.add(name, seen.work, args=(10,), pool="p")
            for name in ("a", "b"):
                made.add(name, seen.work, args=(10,))
            handle = plait.start(made, max_concurrency=2, store=tmp_path / "plait.db")
            await asyncio.sleep(5)
            for name in ("first", "second"):
                assert "waits for one of 2 slots: a, b held" in handle.why(name).text
            await asyncio.sleep(10)
            assert "waits for pool 'p' (2 of 2 taken: first, second held" in handle.why("third").text
            await handle

        VirtualClock().run(main())

    def test_runs_on_loops_of_their_own_threads_share_too(self) -> None:
        """X4."""
        pool, state, most = plait.Pool("threads", 2), [0], [0]
        guard = __import__("threading").Lock()

        def work() -> None:
            with guard:
                state[0] += 1
                most[0] = max(most[0], state[0])
            __import__("time").sleep(0.002)
            with guard:
                state[0] -= 1

        def one() -> Any:
            made = plait.Graph("threads")
            for number in range(20):
                made.add(f"t{number}", plait.task(pool=pool)(work))
            return plait.run(made, max_concurrency=4).status

        with __import__("concurrent.futures").futures.ThreadPoolExecutor(4) as threads:
            assert set(threads.map(lambda _: one(), range(4))) == {"succeeded"}
        assert most[0] <= 2

    def test_a_run_inside_of_a_task_shares_with_the_one_around_it(self) -> None:
        """X4: it is a run of its own, and shares pools that are objects."""
        seen, pool = Seen(), plait.Pool("db", 2)

        async def inner() -> None:
            await plait.arun(graph(seen, 4, pool=pool))

        made = graph(seen, 4, pool=pool)
        made.add("inner", inner)
        VirtualClock().run(together(made))
        assert seen.peak == 2

    def test_no_two_runs_wait_for_each_other_with_a_part_in_their_hands(self) -> None:
        """X4 E11: whatever was granted first, and however the clocks stand."""
        a, b = plait.Pool("a", 2), plait.Pool("b", 2)
        seen: list[str] = []

        async def body(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append(name)

        def made(name: str, tasks: list[Any]) -> plait.Graph:
            found = plait.Graph(name)
            for number, (weights, seconds) in enumerate(tasks):
                found.add(f"t{number}", plait.task(pool=weights)(body), args=(f"{name}{number}", seconds))
            return found

        async def later(seconds: float, target: plait.Graph) -> None:
            await asyncio.sleep(seconds)
            await plait.arun(target)

        async def main() -> float:
            one = [({a: 2}, 1), ({b: 2}, 0.5), ({a: 1, b: 1}, 0.5), ({b: 1}, 1), ({a: 2, b: 2}, 1.5)]
            two = [({b: 1}, 0.5), ({a: 1, b: 2}, 1.5)]
            await asyncio.gather(later(0.3, made("one", one)), later(0.1, made("two", two)))
            return asyncio.get_running_loop().time()

        assert VirtualClock().run(main()) < 15
        assert len(seen) == 7

    def test_tasks_ask_for_several_rates_in_one_order(self) -> None:
        """X4: as they were given, one run would wait for the other for ever."""
        one, two, seen = plait.Rate("one", "1/1s"), plait.Rate("two", "1/1s"), Seen()
        VirtualClock().run(
            together(graph(seen, 5, rate_limit=[one, two], seconds=0), graph(seen, 5, rate_limit=[two, one], seconds=0))
        )
        assert sorted(seen.calls) == pytest.approx(list(range(10)), abs=0.1)

    def test_a_run_that_ends_has_not_used_what_it_had_in_hand(self) -> None:
        """B8: 1% of a rate may be ahead of need; that is given back."""
        rate, seen = plait.Rate("api", "300/1h"), Seen()

        async def main() -> None:
            for _ in range(300):
                await plait.arun(graph(seen, 1, rate_limit=rate, seconds=0))

        VirtualClock().run(main())
        assert set(seen.calls) == {0}

    def test_what_others_have_in_hand_waits_too_when_a_rate_is_shut(self) -> None:
        """X5."""
        rate, seen = plait.Rate("api", "1000/1s"), Seen()

        async def fetch(first: bool) -> None:
            seen.calls.append(asyncio.get_running_loop().time())
            if first:
                raise plait.RetryAfter(60)

        async def main() -> None:
            other = plait.Graph("other")
            begin = other.add("begin", plait.task(rate_limit=rate)(fetch), args=(False,))
            pause = other.add("pause", asyncio.sleep, args=(5,), needs=["begin"])
            other.add("call", plait.task(rate_limit=rate)(fetch), args=(False,), needs=["pause"])
            assert begin is not pause
            going_on = plait.start(other)
            await asyncio.sleep(1)
            made = plait.Graph("asked")
            made.add("call", plait.task(rate_limit=rate)(fetch), args=(True,))
            await plait.arun(made, raise_on_failure=False, deadline=30)
            await going_on

        VirtualClock().run(main())
        assert seen.calls == pytest.approx([0, 1, 61])


async def by_option() -> None:
    await asyncio.sleep(1)


class TestLocks:
    def test_a_lock_of_a_run_whose_loop_was_closed_is_free(self, tmp_path: Path) -> None:
        """B10: nobody is there any more who could give it back."""
        lock, seen = plait.Lock("index", folder=tmp_path), Seen()
        loop = asyncio.new_event_loop()

        async def begin() -> None:
            handle = plait.start(graph(seen, 1, lock=lock, seconds=600))
            while not seen.calls:
                await asyncio.sleep(0.01)
            handle._driver.keeper = None

        loop.run_until_complete(begin())
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()
        asyncio.run(together(graph(seen, 1, lock=lock, seconds=0)))
        assert len(seen.calls) == 2

    def test_names_that_are_long_or_alike_are_told_apart(self, tmp_path: Path) -> None:
        """B10."""
        one, two = plait.Lock("\u0436" * 199 + "a", folder=tmp_path), plait.Lock("\u0436" * 199 + "b", folder=tmp_path)
        with one, two:
            assert len({os.path.basename(each) for each in (one.path, two.path)}) == 2
        with pytest.raises(plait.LimitError, match="names a lock twice"):
            plait.task(lock=["index", plait.Lock("index")])(nothing)

    def test_tasks_of_several_runs_and_blocks_of_code_take_turns_at_a_lock(self, tmp_path: Path) -> None:
        """B10: `lock:` is `plait.Lock`, whoever has it."""
        seen, lock = Seen(), plait.Lock("index", folder=tmp_path)

        async def block() -> None:
            async with lock:
                await seen.work()

        made = graph(seen, 2, lock=lock)
        made.add("block", block)
        VirtualClock().run(together(made, graph(seen, 3, lock=plait.Lock("index", folder=tmp_path)), max_concurrency=8))
        assert seen.peak == 1
        assert len(seen.calls) == 6

    def test_a_file_names_it_as_a_function_does(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """B10: the same in YAML."""
        monkeypatch.chdir(tmp_path)
        flow = tmp_path / "flow.yaml"
        one = "test -e there && exit 9; touch there; sleep 0.05; rm there"
        flow.write_text(
            f"name: locked\ntasks:\n  a: {{run: '{one}', lock: index}}\n  b: {{run: '{one}', lock: [index]}}\n"
        )
        assert plait.run(plait.load(flow)).status == "succeeded"
        store = ".plait"  # beside which the locks lie
        assert plait.run(plait.load(flow), store=store).status == "succeeded"
        with plait.Lock("index", timeout=5):
            handle = plait.start(plait.load(flow))
            while handle.why("a").reason != "lock":
                time.sleep(0.01)
            assert "waits for lock 'index'" in handle.why("a").text
        assert handle.wait().status == "succeeded"

    def test_a_task_that_enters_the_lock_that_it_has_by_its_option_is_told_so(self, tmp_path: Path) -> None:
        """B10: it would wait for itself in silence, on the loop and in a thread; another task's code waits as it should."""
        lock = plait.Lock("index", folder=tmp_path)
        held, asked = asyncio.Event(), asyncio.Event()

        async def holder() -> None:
            held.set()
            await asked.wait()

        async def again() -> None:
            async with plait.Lock("index", folder=tmp_path):
                raise AssertionError

        def blocking() -> None:
            with plait.Lock("index", folder=tmp_path):
                raise AssertionError

        async def other() -> str:
            await held.wait()
            asked.set()
            async with lock:
                return "in turn"

        made = plait.Graph("locked")
        for body in (holder, again, blocking):
            made.add(body.__name__, plait.task(lock=lock)(body))
        made.add("other", plait.task(other))
        (result,) = asyncio.run(together(made, max_concurrency=8))
        for name in ("again", "blocking"):
            assert isinstance(result[name].error, plait.UsageError)
            assert "it would wait for itself" in str(result[name].error)
        assert result["other"].value == "in turn"

    def test_a_virtual_clock_waits_for_the_kernel(self, tmp_path: Path) -> None:
        """B10 E11: a lock goes from one to the next by a thread, which no clock can hurry."""
        lock = plait.Lock("index", folder=tmp_path)

        async def second() -> None:
            async with lock:
                await asyncio.sleep(1)

        clock = VirtualClock()
        for options in ({"lock": lock, "deadline": 1000}, {}):
            made = plait.Graph("locked")
            for at in range(5):
                made.add(f"t{at}", plait.task(**options)(by_option if options else second))
            before = clock.now
            (result,) = clock.run(together(made, max_concurrency=8))
            assert result.status == "succeeded"
            assert clock.now - before == pytest.approx(5)

    def test_a_lock_that_another_process_has_is_free_when_it_is_killed(self, tmp_path: Path) -> None:
        """B10 F76."""
        code = (
            "import plait, time\n"
            f"with plait.Lock('index', folder={str(tmp_path)!r}):\n"
            "    print('held', flush=True)\n"
            "    time.sleep(600)\n"
        )
        holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            seen = Seen()

            async def main() -> None:
                handle = plait.start(graph(seen, 1, lock=plait.Lock("index", folder=tmp_path), seconds=0))
                await asyncio.sleep(0)
                while handle.why("t0").reason != "lock":
                    await asyncio.sleep(0.01)
                assert not seen.calls
                holder.kill()
                await handle

            asyncio.run(main())
            assert len(seen.calls) == 1
        finally:
            holder.kill()
            holder.communicate()

    def test_a_lock_that_cannot_be_made_ends_the_run_and_says_so(self, tmp_path: Path) -> None:
        """Nobody may run without the lock that was wanted."""
        (tmp_path / "file").write_text("no folder")
        seen = Seen()
        with pytest.raises(plait.StoreError, match=r"lock file .* cannot be opened"):
            plait.run(graph(seen, 2, lock=plait.Lock("index", folder=tmp_path / "file")))
        assert not seen.calls

    def test_what_cannot_be_a_lock_is_refused(self) -> None:
        """B10."""
        for wrong, says in (
            (7, "a lock's name must be printable text"),
            (Path("x"), "a lock's name must be printable text"),  # it has a `home`, too
            (["a", "a"], "names a lock twice"),
            (plait.Lock("a", timeout=1), "takes a lock without a timeout"),
        ):
            with pytest.raises(plait.LimitError, match=says):
                plait.task(lock=wrong)(nothing)


async def removed(folder: Path, store: Path, seen: Seen) -> None:
    """A run whose books somebody removes while it waits."""
    made = graph(seen, 2, pools={"db": 1}, pool="db", seconds=0.2)
    handle = plait.start(made, store=store)
    while len(seen.calls) < 3:
        await asyncio.sleep(0.01)
    shutil.rmtree(folder / "shares")
    await plait.arun(graph(seen, 1, pools={"x": 1}, pool="x", seconds=0), store=store)
    second = plait.start(graph(seen, 1, pools={"db": 1}, pool="db", seconds=0), store=store)
    await handle
    await second


class TestStores:
    def test_runs_of_one_store_share_every_pool_key_and_rate(self, tmp_path: Path) -> None:
        """X4: in one process as between several."""
        for options in ({"pools": {"db": 2}, "pool": "db"}, {"concurrency_key": {"key": "user 7", "n": 2}}):
            seen = Seen()
            VirtualClock().run(
                together(*(graph(seen, 4, **options) for _ in range(3)), store=tmp_path / "plait.db")  # type: ignore[arg-type]
            )
            assert seen.peak == 2

    def test_stores_in_memory_share_each_for_itself(self) -> None:
        """X4."""
        from plait.stores.memory import MemoryStore

        one, two, seen = MemoryStore(), MemoryStore(), Seen()

        async def main() -> None:
            made = [graph(seen, 3, pools={"db": 1}, pool="db") for _ in range(3)]
            await asyncio.gather(
                plait.arun(made[0], store=one), plait.arun(made[1], store=one), plait.arun(made[2], store=two)
            )

        VirtualClock().run(main())
        assert seen.peak == 2

    def test_what_a_killed_process_held_is_free_at_once(self, tmp_path: Path) -> None:
        """X4: seen by who waits, without a look at any clock."""
        store, log = tmp_path / "plait.db", tmp_path / "log"
        plait.run(plait.Graph("first"), store=store)
        code = (
            "import plait, sys, time\n"
            "def hold():\n"
            f"    open({str(log)!r}, 'w').close()\n"
            "    time.sleep(600)\n"
            "made = plait.Graph('holder', pools={'gpu': 2})\n"
            "made.add('hold', plait.task(pool={'gpu': 2}, concurrency_key='k')(hold))\n"
            f"plait.run(made, store={str(store)!r})\n"
        )
        holder = subprocess.Popen([sys.executable, "-c", code])
        try:

            async def main() -> float:
                while not log.exists():
                    await asyncio.sleep(0.01)
                seen = Seen()
                made = graph(seen, 1, pools={"gpu": 2}, pool="gpu", seconds=0)
                made.add("key", plait.task(concurrency_key="k")(nothing))
                handle = plait.start(made, store=store)
                await asyncio.sleep(0)
                while handle.why("t0").reason != "pool" or handle.why("key").reason != "key":
                    await asyncio.sleep(0.01)
                while handle._driver._sharing is None or handle._driver._sharing.under_way:
                    await asyncio.sleep(0.01)  # its wishes are entered, and the answer was that it has to wait
                assert not seen.calls
                holder.kill()
                killed = time.monotonic()
                await handle
                return time.monotonic() - killed

            took = asyncio.run(main())
        finally:
            holder.kill()
            holder.wait()
        print(f"free after {took:.3f} s")
        assert took < 30  # not the ten minutes of its sleep, nor a timeout: nobody has any

    def test_a_resumed_run_asks_anew_and_its_rates_count_on(self, tmp_path: Path) -> None:
        """X4 B8: what the process before it had is not its own."""
        seen = Seen()
        target = graph(seen, 4, pools={"db": 1}, pool="db", rate_limit="2/1h", seconds=1)
        store = tmp_path / "plait.db"

        async def leave() -> str:
            handle = plait.start(target, store=store)
            while len(seen.calls) < 2:
                await asyncio.sleep(0.25)
            handle._driver.interrupt()
            await handle
            return handle.id

        async def go_on(run_id: str) -> float:
            began = asyncio.get_running_loop().time()
            result = await plait.resume(run_id, target, store=store)
            assert result.status == "succeeded"
            return asyncio.get_running_loop().time() - began

        run_id = VirtualClock().run(leave())
        assert VirtualClock().run(go_on(run_id)) > 3500

    def test_a_forked_child_does_not_keep_a_turn_that_its_parent_died_in(self, tmp_path: Path) -> None:
        """X4 F05: as a daemon that a task has left might."""
        store = tmp_path / "plait.db"
        plait.run(plait.Graph("first"), store=store)
        code = (
            "import os, time, plait\n"
            "from plait import points\n"
            "def hold():\n"
            "    if os.fork() == 0:\n"
            "        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)\n"
            "        time.sleep(600)\n"
            "        os._exit(0)\n"
            "    points.hook = lambda name: os.kill(os.getpid(), 9) if name == 'before shares commit' else None\n"
            "made = plait.Graph('holder', pools={'gpu': 1})\n"
            "made.add('hold', plait.task(pool='gpu')(hold))\n"
            f"plait.run(made, store={str(store)!r})\n"
        )
        holder = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        try:
            assert holder.wait() == -signal.SIGKILL
            seen = Seen()
            asyncio.run(together(graph(seen, 1, pools={"gpu": 1}, pool="gpu", seconds=0), store=store))
            assert len(seen.calls) == 1
        finally:
            os.killpg(holder.pid, signal.SIGKILL)

    def test_who_cannot_write_its_end_has_nothing_all_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """X4: a disk that is full for a moment must not take a pool for good."""
        store, seen = tmp_path / "plait.db", Seen()
        leave = shares._Books._enter

        def full(self: Any, wishes: list[Any], *rest: Any) -> Any:
            if wishes and all(wish.kind == "forget" for wish in wishes):
                raise OSError(28, "No space left on device")
            return leave(self, wishes, *rest)

        monkeypatch.setattr(shares._Books, "_enter", full)
        asyncio.run(together(graph(seen, 1, pools={"db": 1}, pool="db", seconds=0), store=store))
        monkeypatch.undo()
        asyncio.run(together(graph(seen, 1, pools={"db": 1}, pool="db", seconds=0), store=store))
        assert len(seen.calls) == 2

    def test_books_that_are_damaged_are_begun_anew_and_removed_ones_are_missed(self, tmp_path: Path) -> None:
        """X4: what stands in them is worth little; two books at once would be worth nothing."""
        store, seen = tmp_path / "plait.db", Seen()
        asyncio.run(together(graph(seen, 1, pools={"db": 1}, pool="db", seconds=0), store=store))
        books = tmp_path / "shares" / "ledgers.db"
        for suffix in ("-wal", "-shm"):
            Path(f"{books}{suffix}").unlink(missing_ok=True)
        books.write_bytes(b"rubbish" * 1000)
        asyncio.run(together(graph(seen, 1, pools={"db": 1}, pool="db", seconds=0), store=store))
        assert len(seen.calls) == 2
        assert books.with_name("ledgers.db.damaged").exists()

        with pytest.raises(plait.StoreError, match="were removed while a run used them"):
            asyncio.run(removed(tmp_path, store, seen))

    def test_a_rate_opens_on_a_virtual_clock_whatever_its_digits_are(self, tmp_path: Path) -> None:
        """B8 E11: a timer that is due a hair before its time would ask again and again, and the clock would stand."""
        seen, clock = Seen(), VirtualClock()

        async def main() -> None:
            ticks = asyncio.create_task(ticking())
            await together(graph(seen, 12, rate_limit="1/2s", seconds=0.3), store=tmp_path / "p.db")
            ticks.cancel()

        async def ticking() -> None:
            while True:
                await asyncio.sleep(0.3)

        clock.run(main())
        assert clock.now == pytest.approx(22.3)

    def test_books_that_a_newer_plait_wrote_are_refused_and_not_touched(self, tmp_path: Path) -> None:
        """X4, F32: both versions are named, no task of it starts, and nothing in there has changed."""
        store, seen = tmp_path / "plait.db", Seen()
        asyncio.run(together(graph(seen, 1, pools={"db": 1}, pool="db", seconds=0), store=store))
        books = tmp_path / "shares" / "ledgers.db"
        with contextlib.closing(sqlite3.connect(books)) as db:
            db.executescript("PRAGMA journal_mode=DELETE; PRAGMA user_version=9; CREATE TABLE of_the_newer(one);")
        before = books.read_bytes()
        with pytest.raises(
            plait.StoreTooNew, match=r"ledgers\.db has schema version 9, .* reads up to 1: upgrade plait"
        ):
            asyncio.run(together(graph(seen, 1, pools={"db": 1}, pool="db", seconds=0), store=store))
        assert len(seen.calls) == 1
        assert books.read_bytes() == before

    def test_who_is_of_another_namespace_is_looked_at_and_the_last_descriptor_rings(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """X4: a process that cannot be watched, and one that has no file left to open."""
        monkeypatch.setattr(shares, "boot", lambda: "another namespace")
        one = shares._Books(str(tmp_path), time.monotonic, "clock")
        monkeypatch.undo()
        two = shares._Books(str(tmp_path), time.monotonic, "clock")
        assert one.trade([Wish("ask", "pool db", 1, 1, 0.0, 0)])[0].units == 1
        assert two.trade([Wish("ask", "pool db", 1, 1, 0.0, 0)])[0].units == 0
        assert two.blind

        calls = []
        opened = os.open

        def full(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            calls.append(str(path))
            if "bell" in str(path) and len([each for each in calls if "bell" in each]) == 1:
                raise OSError(24, "Too many open files")
            return opened(path, flags, *rest, **more)

        monkeypatch.setattr(os, "open", full)
        one.trade([Wish("return", "pool db", 1, 1, 0.0, 0)])
        monkeypatch.undo()
        assert os.read(two.bell, 10) == b"."
        assert two.trade([])[0].units == 1
        one.leave()
        two.leave()

    def test_books_that_cannot_be_kept_end_the_run_and_say_so(self, tmp_path: Path) -> None:
        """A run whose shared limits nobody counts must not go on."""
        store = tmp_path / "plait.db"
        plait.run(plait.Graph("first"), store=store)
        (tmp_path / "shares").write_text("somebody's own file")
        with pytest.raises(plait.StoreError, match=r"shared limits in .* cannot be kept"):
            plait.run(graph(Seen(), 2, pools={"db": 1}, pool="db"), store=store)
