"""Health: too many errors in a window pause starts, of a run or of a pool; a probe finds out whether it is over, and nothing shuts for ever."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

import plait
from plait import HealthMonitor, HealthReport
from plait._core.commands import Diagnosed
from plait._core.health import Health
from plait._core.why import asked
from plait.testing import VirtualClock
from plait.testing.world import World, graph
from timed_steps import CALLED, flaky

KEYS = [f"t{number}" for number in range(12)]


def watched(options: dict[str, dict[str, Any]] | None = None, *, slots: int | None = 1, **monitor: Any) -> World:
    """Twelve tasks that a monitor of the run watches: two errors of two shut it for 10 s."""
    settings = {"max_error_rate": 0.4, "window": 4, "min_outcomes": 2, "pause": 10, **monitor}
    return World(graph(options or {}, **{key: [] for key in KEYS}), slots=slots, health=HealthMonitor(**settings))


def shut(world: World) -> World:
    """It, with two errors."""
    world.fails("t0")
    world.fails("t1")
    return world


def state(world: World) -> str:
    (health,) = world.scheduler.admission.book.healths
    return health.state


class TestTheScheduler:
    """B17."""

    def test_too_many_errors_pause_starts_and_a_probe_that_succeeds_ends_that(self) -> None:
        """B17 N: an error monitor that never recovers."""
        world = shut(watched(slots=4))
        assert world.running == {"t2", "t3", "t4"}  # what ran goes on, and the slot of the second error stays free
        world.passes(9.9)
        assert world.running == {"t2", "t3", "t4"}
        world.passes(0.1)
        assert world.running == {"t2", "t3", "t4", "t5"}  # one, though there are slots for more
        world.returns("t2")
        assert len(world.running) == 3
        world.returns("t5")
        assert state(world) == "open"
        assert len(world.running) == 4

    def test_a_probe_that_fails_pauses_for_twice_as_long_up_to_the_longest(self) -> None:
        """B17."""
        world = shut(watched(max_pause=35))
        starts = []
        for _ in range(4):
            before = world.now
            while not world.running:
                world.passes(0.5)
            starts.append(world.now - before)
            world.fails(next(iter(world.running)))
        assert starts == [10, 20, 35, 35]
        world.passes(35)
        world.returns(next(iter(world.running)))
        for _ in range(2):  # it is judged afresh, and the pause is the first again
            world.fails(next(iter(world.running)))
        assert world.running == set()
        world.passes(10)
        assert len(world.running) == 1

    def test_probes_are_one_after_the_other_and_all_of_them_must_succeed(self) -> None:
        world = shut(watched(slots=3, probes=2))
        world.returns("t2")
        world.returns("t3")
        world.passes(10)
        assert world.running == {"t4"}
        world.returns("t4")
        assert (state(world), world.running) == ("probing", {"t5"})
        world.returns("t5")
        assert (state(world), len(world.running)) == ("open", 3)

    def test_nobody_judges_before_there_are_enough_outcomes(self) -> None:
        world = watched(min_outcomes=3, max_error_rate=0)
        world.fails("t0")
        world.returns("t1")
        assert state(world) == "open"
        world.returns("t2")
        assert state(world) == "shut"

    def test_a_rate_at_the_limit_is_not_above_it_and_old_outcomes_leave_the_window(self) -> None:
        world = watched(max_error_rate=0.5, window=4, min_outcomes=4)
        for number, good in enumerate([False, False, True, True, True, True, False, False]):
            (world.returns if good else world.fails)(f"t{number}")
            assert state(world) == "open"
        world.fails("t8")
        assert state(world) == "shut"

    @pytest.mark.parametrize(
        ("options", "end"),
        [
            ({"retries": 3}, lambda world, key: world.fails(key, plait.RetryAfter(100))),
            (
                {"deadline": 5, "allow_failure": True},
                lambda world, key: (world.passes(5), world.returns(key, stopped=True)),
            ),
            ({}, lambda world, key: world.dies(key)),
        ],
        ids=["asks to be called later", "passed a deadline", "was interrupted"],
    )
    def test_what_says_nothing_about_health_is_no_error(self, options: dict[str, Any], end: Any) -> None:
        world = watched(dict.fromkeys(KEYS, options), slots=1, min_outcomes=1, max_error_rate=0)
        end(world, "t0")
        assert state(world) == "open"

    @pytest.mark.parametrize("clock", ["timeout", "idle_timeout"])
    def test_a_timeout_is_an_error_also_where_it_cannot_be_enforced(self, clock: str) -> None:
        world = watched({key: {clock: 5, "grace": 1} for key in KEYS}, slots=1, min_outcomes=1, max_error_rate=0)
        world.begins("t0")
        world.passes(5)
        if clock == "idle_timeout":
            world.hears("t0", 0.0)
        world.passes(1)
        world.abandons("t0")
        assert state(world) == "shut"

    def test_each_try_counts(self) -> None:
        world = watched({"t0": {"retry": {"attempts": 2, "delay": 0}}}, slots=None)
        world.fails("t0")
        world.passes(0)
        world.fails("t0")
        assert state(world) == "shut"

    def test_a_cancelled_probe_and_one_whose_process_died_let_the_next_one_go(self) -> None:
        """N: an error monitor that never recovers."""
        world = shut(watched({"t2": {"deadline": 12, "grace": 1}}))
        world.passes(10)
        assert world.running == {"t2"}
        world.passes(2)  # its deadline passes
        world.returns("t2", stopped=True)
        assert world.running == {"t3"}
        world.dies("t3")
        assert world.running == {"t3"}  # again
        world.asks("t3")
        assert (state(world), world.running) == ("probing", {"t4"})
        world.returns("t4")
        assert state(world) == "open"

    def test_a_probe_that_was_given_up_stands_in_nobodys_way(self) -> None:
        """N: an error monitor that never recovers."""
        world = shut(watched({"t2": {"deadline": 12, "grace": 1}}, slots=2))
        world.returns("t2")  # it ran already
        world.passes(10)
        assert world.running == {"t3"}
        again = shut(watched({"t3": {"deadline": 12, "grace": 1}}, slots=2))
        again.returns("t2")
        again.passes(10)
        assert again.running == {"t3"}
        again.passes(3)
        again.abandons("t3")
        assert (state(again), again.running) == ("probing", {"t4"})
        again.returns("t3")  # in the end
        again.returns("t4")
        assert state(again) == "open"

    def test_a_probe_that_never_comes_is_not_waited_for(self) -> None:
        """N: an error monitor that never recovers."""
        world = World(
            graph(a=[], b=[], slow=[], late=["slow"]),
            health=HealthMonitor(0, 4, min_outcomes=2, pause=10),
        )
        world.fails("a")
        world.fails("b")
        world.passes(1000)  # nobody is ready
        assert world.scheduler.next_wake() is None
        world.returns("slow")  # it began before, and says nothing
        assert (state(world), world.running) == ("probing", {"late"})
        world.returns("late")
        assert str(world.scheduler.status()) == "failed"
        assert state(world) == "open"

    def test_what_began_before_says_nothing_about_now(self) -> None:
        world = shut(watched(slots=4))
        world.passes(10)
        assert world.running == {"t2", "t3", "t4", "t5"}
        world.returns("t2")
        world.fails("t3")
        assert state(world) == "probing"
        world.returns("t5")
        world.fails("t4")
        assert state(world) == "open"

    def test_a_pool_of_its_own_stops_nobody_else(self) -> None:
        """B17: per pool."""
        options = {key: {"pool": "api"} for key in KEYS[:6]}
        pools = {"api": {"capacity": 2, "health": {"max_error_rate": 0, "window": 4, "min_outcomes": 1, "pause": 5}}}
        world = World(graph(options, **{key: [] for key in KEYS}), slots=3, pools=pools)  # type: ignore[arg-type]
        assert world.running == {"t0", "t1", "t6"}
        world.fails("t0")
        assert world.running == {"t1", "t6", "t7"}
        world.returns("t1")
        assert world.running == {"t6", "t7", "t8"}
        world.passes(5)
        world.returns("t6")
        assert world.running == {"t2", "t7", "t8"}  # the probe goes before those that are behind it in the order

    def test_a_run_in_which_only_time_opens_is_not_stuck(self) -> None:
        world = shut(watched())
        assert world.running == set()
        assert world.scheduler.next_wake() == 10
        assert str(world.scheduler.status()) == "running"

    def test_what_grows_is_watched_as_well(self) -> None:
        world = watched(slots=3, min_outcomes=2, max_error_rate=0.7)
        world.grows("t0", graph(x=[], y=[]))
        world.fails("t1")
        world.fails("t2")
        assert state(world) == "open"  # two errors of three: what grew did well
        world.fails("t3")
        assert state(world) == "shut"
        for key in ("t4", "t5"):
            world.returns(key)
        assert (world.running, world.status("t0/x")) == (set(), "ready")
        world.passes(10)
        assert len(world.running) == 1

    def test_why_says_so_and_until_when(self) -> None:
        """B17 X7."""
        world = shut(watched())
        world.passes(4)

        def why(key: str) -> Any:
            return asked(world.scheduler, key, world.now, lambda at: 1000 + at, "r")

        found = why("t2")
        assert found.text == (
            "t2 waits until a probe may start, for the run is unhealthy (2 of the latest 2 attempts failed), for 4 s now; 6 s to go"
        )
        assert (found.reason, found.until) == ("health", 1010)
        assert found.detail == {"limit": None, "errors": 2, "outcomes": 2, "before": 0}
        world.passes(6)
        assert "waits for what comes of a probe" in why("t3").text

    def test_time_goes_on_while_nobody_drives_the_run(self) -> None:
        world = shut(watched())
        world.scheduler.leaving(world.now)
        world.scheduler.recovered(world.now, 7.0)
        world._settle()
        world.passes(2.9)
        assert world.running == set()
        world.passes(0.1)
        assert world.running == {"t2"}

    def test_what_is_found_is_told_once(self) -> None:
        world = shut(watched())
        world.passes(10)
        world.returns("t2")
        told = [
            (each.healthy, each.errors, each.outcomes, each.until)
            for each in world.commands
            if isinstance(each, Diagnosed)
        ]
        assert told == [(False, 2, 2, 10), (True, 2, 2, None)]

    def test_nothing_is_kept_of_attempts_that_are_over(self) -> None:
        world = shut(watched())
        world.passes(10)
        for key in KEYS[2:]:
            world.returns(key)
        (health,) = world.scheduler.admission.book.healths
        assert isinstance(health, Health)
        assert (health.epochs, health.used) == ({}, 0)

    def test_what_a_task_keeps_at_a_pool_is_free_when_it_is_final(self) -> None:
        options = {
            "a": {"pool": "one"},
            "b": {"pool": "two"},
            "c": {"pool": ["one", "two"], "deadline": 9},
            "d": {"pool": "one"},
            "x": {},
        }
        world = World(graph(options, **{key: [] for key in options}), slots=3, pools={"one": 1, "two": 1})
        world.passes(5)
        world.returns("a")  # c has its turn at `one`, which it keeps while it waits for `two`
        assert world.running == {"b", "x"}
        world.scheduler.paused(world.now)
        world.returns("b")
        world.passes(4)  # it is next, and its deadline passes
        assert world.status("c") == "timed_out"
        world.scheduler.unpaused(world.now)
        world._settle()
        assert world.running == {"x", "d"}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    CALLED.clear()


def run(target: Any, **options: Any) -> Any:
    with VirtualClock():
        return plait.run(target, raise_on_failure=False, **options)


def starts() -> list[float]:
    first = CALLED[0][1]
    return [round(at - first, 3) for _, at in CALLED]


MONITOR = {"max_error_rate": "50%", "window": 4, "min_outcomes": 2, "pause": 20, "max_pause": 60}

OF_A_RUN = """
max_concurrency: 1
health: {max_error_rate: 50%, window: 4, min_outcomes: 2, pause: 20s, max_pause: 60}
tasks:
  all: {foreach: [0, 1, 2, 3, 4, 5], call: "timed_steps:flaky", with: {name: "{{ item }}", until: 30}}
"""
OF_A_POOL = """
max_concurrency: 1
pools: {api: {capacity: 3, health: {max_error_rate: 50%, window: 4, min_outcomes: 2, pause: 20s, max_pause: 60}}}
tasks:
  all: {foreach: [0, 1, 2, 3, 4, 5], call: "timed_steps:flaky", with: {name: "{{ item }}", until: 30}, pool: api}
"""


class TestDoors:
    @pytest.mark.parametrize("door", ["file", "file pool", "graph", "graph pool", "mapping"])
    def test_the_same_in_python_and_in_a_file(self, tmp_path: Path, door: str) -> None:
        """B17: two fail at 0, the probe at 20 s, too, and the one at 60 s succeeds."""
        options: dict[str, Any] = {}
        if door.startswith("file"):
            (tmp_path / "flow.yaml").write_text(OF_A_POOL if door == "file pool" else OF_A_RUN)
            target = plait.load(tmp_path / "flow.yaml")
        else:
            monitor = HealthMonitor(**MONITOR)  # type: ignore[arg-type]
            pools = [plait.Pool("api", 3, health=monitor)] if door == "graph pool" else {"api": 3}
            target = plait.Graph("flow", pools=pools)
            task = plait.task(flaky) if door == "graph" else plait.task(pool="api")(flaky)
            target.add("all", task.map(list(range(6))))
            options = {"max_concurrency": 1}
            if door != "graph pool":
                options["health"] = monitor if door == "graph" else {"api": monitor}
        result = run(target, **options)
        assert starts() == [0, 0, 20, 60, 60, 60]
        assert [str(each.status) for each in result.children("all")] == ["failed"] * 3 + ["succeeded"] * 3

    def test_flat_lists_and_streams(self) -> None:
        """B17."""
        clock = VirtualClock()
        monitor = HealthMonitor(**MONITOR)  # type: ignore[arg-type]

        async def both() -> list[str]:
            with pytest.raises(ConnectionError):
                await plait.amap(flaky, range(6), max_concurrency=1, health=monitor, on_failure="continue")
            assert starts() == [0, 0, 20, 60, 60, 60]
            CALLED.clear()
            late = clock.now + 30
            found = plait.as_completed(
                lambda name: flaky(name, late),
                range(6),
                max_concurrency=1,
                pool=plait.Pool("api", 2),
                health={"api": monitor},
            )
            return [str(each.status) async for each in found]

        assert clock.run(both()) == ["failed"] * 3 + ["succeeded"] * 3
        assert starts() == [0, 0, 20, 60, 60, 60]

    def test_threads_workers_and_commands_are_watched(self, tmp_path: Path) -> None:
        made = plait.Graph("flow")
        for number in range(6):
            made.add(f"c{number}", plait.shell(f"echo {number} >> {tmp_path}/log; exit 1"))
        result = plait.run(
            made,
            max_concurrency=1,
            health=HealthMonitor(0, 2, min_outcomes=2, pause=0.2),
            deadline=0.5,
            raise_on_failure=False,
        )
        assert (tmp_path / "log").read_text().split() == ["0", "1", "2"]
        assert result.status == "failed"

    def test_hooks_are_told_and_what_they_do_changes_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        """B17."""
        told: list[HealthReport] = []
        both = threading.Event()

        def unhealthy(report: HealthReport) -> None:
            told.append(report)
            raise RuntimeError("a hook")

        def recovered(report: HealthReport) -> None:
            told.append(report)
            both.set()

        monitor = HealthMonitor(0.5, 2, pause=20, on_unhealthy=unhealthy, on_recovered=recovered)
        with caplog.at_level(logging.INFO, logger="plait"):
            result = run([plait.task(flaky).bind(n, 15.0) for n in range(4)], max_concurrency=1, health=monitor)
            assert both.wait(30)
        assert result == [None, None, "2", "3"]
        first, second = told
        assert (first.pool, first.healthy, first.errors, first.outcomes) == (None, False, 2, 2)
        assert first.until is not None
        assert (second.pool, second.healthy, second.until) == (None, True, None)
        said = [record.getMessage().partition(": ")[2] for record in caplog.records if record.name == "plait"]
        assert "it is unhealthy, for 2 of the latest 2 attempts failed: nothing of it starts for 20 s" in said
        assert "it is healthy again" in said
        assert any("hook of run" in record.getMessage() for record in caplog.records)

    def test_a_hook_that_blocks_holds_nobody_up(self) -> None:
        go_on = threading.Event()
        monitor = HealthMonitor(0.5, 2, pause=1, on_unhealthy=lambda report: go_on.wait(30))
        assert run([plait.task(flaky).bind(n, 1.0) for n in range(3)], max_concurrency=1, health=monitor)[2] == "2"
        go_on.set()

    def test_a_stored_run_goes_on_with_what_was_known(self, tmp_path: Path) -> None:
        """B17 E11."""
        path = tmp_path / "runs.db"
        made = plait.Graph("flow")
        made.add("all", plait.task(flaky).map([*range(6)], on_failure="continue"))
        monitor = HealthMonitor(**MONITOR, on_unhealthy=print)  # type: ignore[arg-type]

        async def left() -> None:
            handle = plait.start(made, store=path, max_concurrency=1, health=monitor)
            while len(CALLED) < 2:
                await asyncio.sleep(1)
            await asyncio.sleep(2)
            assert "is unhealthy (2 of the latest 2 attempts failed)" in handle.why("all[3]").text
            handle._driver.interrupt()
            await handle

        clock = VirtualClock()
        clock.run(left())
        assert "is unhealthy" in plait.why("last", "all[3]", path).text
        assert len(CALLED) == 2

        async def goes_on() -> Any:
            return await plait.resume("last", store=path)

        result = clock.run(goes_on())
        ends = [str(each.status) for each in result.children("all")]
        assert ends[:2] == ["failed", "failed"]
        assert len(CALLED) == 6
        assert starts()[2] > 10

    @pytest.mark.parametrize(
        "settings",
        [
            {"max_error_rate": 1}, {"max_error_rate": -0.1}, {"max_error_rate": "half"}, {"max_error_rate": True}, {"max_error_rate": "100%"},
            {"window": 0}, {"window": 2.5}, {"min_outcomes": 0}, {"min_outcomes": 51}, {"pause": 0}, {"pause": float("nan")},
            {"max_pause": 1}, {"probes": 0}, {"on_unhealthy": "print"},
        ],
        ids=str,
    )  # fmt: skip
    def test_bad_values_are_refused_when_given(self, settings: dict[str, Any]) -> None:
        (name,) = settings
        with pytest.raises(plait.UsageError, match=name):
            HealthMonitor(**settings)

    def test_what_cannot_be_watched_is_refused_before_anything_runs(self, tmp_path: Path) -> None:
        monitor = HealthMonitor()
        node = plait.task(pool=plait.Pool("api", 2))(flaky).bind(1)
        with pytest.raises(plait.UsageError, match=r"pool 'apu', which nobody has. Did you mean 'api'"):
            plait.run(node, health={"apu": monitor})
        with pytest.raises(plait.LimitError, match="health must be a mapping"):
            plait.run(node, health=3)
        with pytest.raises(plait.UsageError, match=r"unknown option 'windows' in health. Did you mean 'window'"):
            plait.run(node, health={"windows": 3})
        with pytest.raises(plait.UsageError, match=r"pool 'api' has a health monitor: declare it"):
            plait.task(pool=plait.Pool("api", 2, health=monitor))(flaky)
        (tmp_path / "flow.yaml").write_text(
            "health: {max_error_rate: 2, on_unhealthy: print}\n"
            "pools: {api: {capacity: 2, health: {window: 0}}, db: {size: 3}}\ntasks: {a: {run: 'true', pool: api}}\n"
        )
        with pytest.raises(plait.FlowError) as refused:
            plait.load(tmp_path / "flow.yaml")
        assert [line.partition("error[value]: ")[2] for line in str(refused.value).splitlines()] == [
            "unknown option 'on_unhealthy' in health",
            "window must be a whole number of at least 1, not 0",
        ]
        assert CALLED == []

    def test_a_run_that_nobody_watches_pays_nothing(self) -> None:
        with VirtualClock():
            handle = plait.start(plait.task(flaky).bind("a", 0))
            handle.wait()
        assert handle._driver.scheduler.admission.asks == []
        assert handle._driver.scheduler.admission.book.healths == []
