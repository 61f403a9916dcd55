"""Pools, keys and rates through every front door: the same flow in Python and in a file, and what a stored run remembers of them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import plait
from plait.testing import VirtualClock
from timed_steps import LATER, SEEN, busy, step


@pytest.fixture(autouse=True)
def _fresh() -> None:
    SEEN.clear()


def peak(names: str = "") -> int:
    """How many of these were at work at once, at most."""
    chosen = [(began, ended) for name, began, ended in SEEN if name.startswith(names)]
    return max(sum(1 for began, ended in chosen if began <= at < ended) for at, _ in chosen)


def run(target: Any, **options: Any) -> plait.RunResult:
    with VirtualClock():
        return plait.run(target, raise_on_failure=False, **options)  # type: ignore[no-any-return]


def from_file(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "flow.yaml"
    path.write_text(text)
    return plait.load(path)


def in_python(pools: dict[str, int], tasks: dict[str, dict[str, Any]]) -> plait.Graph:
    made = plait.Graph("flow", pools=pools)
    for key, options in tasks.items():
        call = options.pop("call", step)
        made.add(key, call, kwargs={"name": key}, **options)
    return made


def starts() -> list[float]:
    first = min(began for _, began, _ in SEEN)
    return sorted(round(began - first, 3) for _, began, _ in SEEN)


class TestTheSameInPythonAndInAFile:
    POOLS = """
pools: {gpu: 3}
tasks:
  a: {call: timed_steps:step, with: {name: a}, pool: {gpu: 2}}
  b: {call: timed_steps:step, with: {name: b}, pool: {gpu: 2}}
  c: {call: timed_steps:step, with: {name: c}, pool: gpu}
  d: {call: timed_steps:step, with: {name: d}}
"""

    @pytest.mark.parametrize("door", ["file", "python"])
    def test_pools_with_weights(self, tmp_path: Path, door: str) -> None:
        """X4."""
        if door == "file":
            target = from_file(tmp_path, self.POOLS)
        else:
            target = in_python(
                {"gpu": 3}, {"a": {"pool": {"gpu": 2}}, "b": {"pool": {"gpu": 2}}, "c": {"pool": "gpu"}, "d": {}}
            )
        assert run(target).status == "succeeded"
        began = {name: round(at - min(at for _, at, _ in SEEN), 3) for name, at, _ in SEEN}
        assert began == {"a": 0, "b": 1, "c": 1, "d": 0}

    KEYS = """
tasks:
  one:
    foreach: [1, 2, 3]
    call: timed_steps:step
    with: {name: one}
    concurrency_key: user-1
  two:
    foreach: [1, 2, 3, 4]
    call: timed_steps:step
    with: {name: two}
    concurrency_key: {key: user-2, n: 2}
"""

    @pytest.mark.parametrize("door", ["file", "python"])
    def test_keys(self, tmp_path: Path, door: str) -> None:
        """X4."""
        if door == "file":
            target: Any = from_file(tmp_path, self.KEYS)
        else:
            one = plait.task(concurrency_key="user-1")(step)
            two = plait.task(concurrency_key={"key": "user-2", "n": 2})(step)
            target = [one.map(["one"] * 3), two.map(["two"] * 4)]
        run(target)
        assert (peak("one"), peak("two"), len(SEEN)) == (1, 2, 7)

    RATES = """
tasks:
  ask:
    foreach: [1, 2, 3, 4, 5]
    call: timed_steps:step
    rate_limit: 2/10s
  heavy:
    needs: [ask]
    foreach: [1, 2]
    call: timed_steps:step
    rate_limit: [4/10s, 100/1h]
    cost: 3
"""

    @pytest.mark.parametrize("door", ["file", "python"])
    def test_rates_and_costs(self, tmp_path: Path, door: str) -> None:
        """B8 X4."""
        if door == "file":
            target: Any = from_file(tmp_path, self.RATES)
        else:
            ask, heavy = plait.task(rate_limit="2/10s")(step), plait.task(rate_limit=["4/10s", "100/1h"], cost=3)(step)
            target = heavy.map(gathered.bind(ask.map([""] * 5)))
        run(target)
        assert starts() == [0, 0, 10, 10, 20, 21, 31]

    AGAIN = """
tasks:
  ask:
    foreach: [1, 2, 3]
    call: timed_steps:busy
    rate_limit: 9/1s
    max_concurrency: 1
"""

    @pytest.mark.parametrize("door", ["file", "python"])
    def test_who_is_to_be_called_later_slows_all_down(self, tmp_path: Path, door: str) -> None:
        """X5."""
        LATER.extend([30, 30])
        if door == "file":
            target: Any = from_file(tmp_path, self.AGAIN)
        else:
            target = plait.task(rate_limit="9/1s")(busy).map([""] * 3, max_concurrency=1)
        with VirtualClock() as clock:
            began = clock.now
            plait.run(target)
            assert round(clock.now - began, 3) == 63


def gathered(values: list[str]) -> list[str]:
    return ["", ""]


gathered = plait.task(gathered)  # type: ignore[assignment]


class TestWorkedOut:
    """A key and a cost that are each task's own."""

    FILE = """
tasks:
  fetch:
    foreach: [a, b, a, a, b]
    call: timed_steps:step
    with: {name: "{{ item }}"}
    concurrency_key: {key: "host-{{ item }}", n: 2}
  weigh:
    needs: [fetch]
    foreach: [1, 4, 4, 2]
    call: timed_steps:step
    with: {name: w, seconds: 0.5}
    rate_limit: 5/10s
    cost: "{{ item }}"
"""

    @staticmethod
    def host(name: str, *_: Any) -> str:
        return f"host-{name}"

    @pytest.mark.parametrize("door", ["file", "python"])
    def test_keys_and_costs_are_worked_out_of_what_a_task_is_given(self, tmp_path: Path, door: str) -> None:
        """X4 B8."""
        if door == "file":
            target: Any = from_file(tmp_path, self.FILE)
        else:
            fetch = plait.task(concurrency_key={"key": self.host, "n": 2})(step)
            weigh = plait.task(rate_limit="5/10s", cost=lambda name, seconds, units: units)(weighed)
            units = plait.task(lambda done: [1, 4, 4, 2])
            names = ["w"] * 4
            target = weigh.map(names, [0.5] * 4, units.bind(fetch.map(["a", "b", "a", "a", "b"])))
        run(target)
        assert [round(began, 3) for name, began, _ in sorted(SEEN, key=lambda each: each[1]) if name == "a"] == [
            0,
            0,
            1,
        ]
        assert peak("b") == 2
        first = min(began for name, began, _ in SEEN if name == "w")
        assert sorted(round(began - first, 3) for name, began, _ in SEEN if name == "w") == [0, 0, 10, 20]

    def test_flat_lists_and_streams_have_keys_too(self) -> None:
        """X4: rows of a stream are used again, and their keys with them."""
        with VirtualClock():
            plait.map_(step, list("aabab"), concurrency_key=self.host)
        assert (peak("a"), peak("b"), peak()) == (1, 1, 2)
        SEEN.clear()

        async def streamed() -> int:
            done = plait.as_completed(step, list("ab" * 10), max_concurrency=4, concurrency_key=self.host)
            return len([out async for out in done])

        assert VirtualClock().run(streamed()) == 20
        assert (peak("a"), peak("b"), len(SEEN)) == (1, 1, 20)
        assert round(max(ended for _, _, ended in SEEN) - min(began for _, began, _ in SEEN), 3) == 10

    def test_a_key_that_nobody_has_any_more_is_forgotten(self) -> None:
        """X4: a hundred thousand users are not kept."""

        async def over() -> plait.Run:
            handle = plait.start([plait.task(concurrency_key=self.host)(step).bind(str(at)) for at in range(50)])
            await handle
            return handle

        handle = VirtualClock().run(over())
        assert handle._driver.scheduler.admission.book.keys == {}

    def test_none_is_no_key(self) -> None:
        with VirtualClock():
            plait.map_(step, list("aaa"), concurrency_key=lambda name: None)
        assert peak() == 3

    def test_what_cannot_be_one_fails_its_task_alone(self, tmp_path: Path) -> None:
        """X4: and says what it was."""
        ask = plait.task(rate_limit="5/1s", cost=lambda name: {"a": 6, "b": 0, "c": 1}[name])(step)
        made = plait.Graph()
        for name in "abcd":
            made.add(name, ask, (name,))
        result = run(made)
        assert [str(each.status) for each in result.values()] == ["failed", "failed", "succeeded", "failed"]
        errors = [str(each.error) for each in result.values()]
        assert errors[0] == "a cost of 6 under a rate of 5/1s: it would wait for ever"
        assert errors[1] == "cost must be a whole number of at least 1, not 0"
        assert errors[3] == "'d'"
        target = from_file(
            tmp_path,
            "inputs: {all: {type: list, default: [2, x]}}\n"
            'tasks: {a: {foreach: "{{ inputs.all }}", call: "timed_steps:step", rate_limit: 5/1s, cost: "{{ item }}"}}',
        )
        assert "cost must be a whole number of at least 1, not 'x'" in str(run(target)["a[1]"].error)

    def test_only_plain_functions_work_them_out(self) -> None:
        with pytest.raises(plait.UsageError, match="cost must be a plain function"):
            plait.task(cost=step)(step)
        with pytest.raises(plait.LimitError, match=r"concurrency_key\.n must be a whole number"):
            plait.task(concurrency_key={"key": self.host, "n": 0})(step)

    def test_a_stored_run_remembers_what_was_worked_out(self, tmp_path: Path) -> None:
        """X4 B8 W12: resumed by another process, without asking again for what is on record."""
        fetch = plait.task(concurrency_key=keyed, rate_limit="9/1s", cost=costs)(step)
        targets = [fetch.bind(name) for name in "aab"]
        run_id = left(targets, tmp_path / "plait.db", 2)
        assert sorted(name for name, _, _ in SEEN) == ["a", "b"]

        async def go_on() -> Any:
            return await plait.resume(run_id, store=tmp_path / "plait.db")

        assert VirtualClock().run(go_on()).status == "succeeded"
        assert len(SEEN) == 3


async def weighed(name: str, seconds: float, units: int) -> str:
    return await step(name, seconds)


def keyed(name: str) -> str:
    return name


def costs(name: str) -> int:
    return 3


def left(target: Any, store: Path, seen: int) -> str:
    """Starts a run and leaves it once so many calls have ended; its id."""

    async def leave() -> str:
        handle = plait.start(target, store=store)
        while len(SEEN) < seen:
            await asyncio.sleep(0.25)
        handle._driver.interrupt()
        await handle
        return handle.id

    return VirtualClock().run(leave())


class TestDoors:
    def test_a_flat_map_and_a_stream_have_a_rate(self) -> None:
        """B8: `amap(fn, items, rate_limit=...)`."""
        with VirtualClock():
            plait.map_(step, ["x"] * 5, rate_limit="2/10s")
        assert starts() == [0, 0, 10, 10, 20]
        SEEN.clear()

        async def streamed() -> int:
            return len(
                [out async for out in plait.as_completed(step, ["x"] * 5, max_concurrency=4, rate_limit="2/10s")]
            )

        assert VirtualClock().run(streamed()) == 5
        assert starts() == [0, 0, 10, 10, 20]

    def test_objects_stand_for_what_they_name(self) -> None:
        """X4: a pool and a rate that two task functions share."""
        api, gpu = plait.Rate("api", "3/10s"), plait.Pool("gpu", 1)
        left, right = plait.task(rate_limit=api, pool=gpu)(step), plait.task(rate_limit=api, pool={gpu: 1})(busy)
        run([left.bind("a"), right.bind("b"), left.bind("c"), right.bind("d")])
        assert starts() == [0, 1, 2, 10]

    def test_a_text_belongs_to_its_function_and_not_to_its_node(self) -> None:
        """B8: a hundred nodes of one function have one rate."""
        ask = plait.task(rate_limit="1/10s")(step)

        def another() -> Any:
            async def step(name: str) -> str:
                return await busy(name)

            return step

        other = plait.task(rate_limit="1/10s")(another())
        run([ask.bind("a"), ask.options(retries=1).bind("b"), other.bind("c"), ask.bind("d")])
        assert starts() == [0, 0, 10, 20]

    def test_what_grows_is_limited_by_the_same_pools(self) -> None:
        """X4: a task that returns nodes, and a map known at run time."""
        inner = plait.task(pool="db")(step)

        @plait.task
        async def grow() -> Any:
            return [inner.bind("x") for _ in range(4)]

        made = plait.Graph(pools={"db": 2})
        made.add("a", grow)
        made.add("b", inner.map(["x"] * 4))
        assert run(made).status == "succeeded"
        assert (peak(), len(SEEN)) == (2, 8)

    def test_what_grows_with_an_impossible_wish_fails_with_it(self) -> None:
        """X4: refused where it comes in, and no run waits for ever."""
        inner = plait.task(pool={"db": 3})(step)

        @plait.task
        async def grow() -> Any:
            return inner.bind("x")

        made = plait.Graph(pools={"db": 2})
        made.add("a", grow)
        made.add("b", plait.task(pool="no")(step).map([1]))
        result = run(made)
        assert "task 'step': a weight of 3 in pool 'db', which has 2" in str(result["a"].error)
        assert "pool 'no' is not declared" in str(result["b"].error)

    def test_impossible_wishes_are_refused_before_anything_runs(self) -> None:
        """X4 B8."""
        made = plait.Graph(pools={"db": 2})
        made.add("a", step)
        made.add("b", step, pool="bd")
        for target, says in (
            (made, "task 'b': pool 'bd' is not declared"),
            (plait.task(pool={plait.Pool("x", 1): 2})(step).bind(), "a weight of 2 in pool 'x', which has 1"),
            ([plait.task(pool=plait.Pool("x", at))(step).bind() for at in (1, 2)], "pool 'x' is of 1 and of 2"),
            ([plait.task(rate_limit=plait.Rate("x", f"{at}/1s"))(step).bind() for at in (1, 2)], "rate 'x' is 1/1s and 2/1s"),
            (plait.task(rate_limit="2/1s", cost=3)(step).bind(), "a cost of 3 under a rate of 2/1s"),
        ):  # fmt: skip
            with pytest.raises(plait.UsageError) as error:
                run(target)
            assert says in str(error.value)
        with pytest.raises(plait.UsageError, match="a cost of 3"):
            plait.as_completed(step, ["x"], rate_limit="2/1s", cost=3)
        assert SEEN == []

    def test_a_map_gives_its_limits_to_its_items(self) -> None:
        """X4 B8: what the whole would leave undone is refused wherever it is said."""
        body = plait.task(step)
        for name, value in (
            ("pool", "db"),
            ("concurrency_key", "k"),
            ("rate_limit", "1/1s"),
            ("lock", "l"),
            ("retries", 1),
            ("retry", {"attempts": 2}),
            ("idle_timeout", 1),
            ("priority", "high"),
            ("grace", 1),
            ("uninterruptible", True),
            ("on_interrupt", "fail"),
            ("executor", "process"),
            ("on_error", step),
        ):
            says = rf"{name} belongs to each item: step\.options\({name}=\.\.\.\)\.map"
            with pytest.raises(plait.UsageError, match=says):
                body.map([1], **{name: value})
            with pytest.raises(plait.UsageError, match=says):
                body.map([1]).options(**{name: value})
            with pytest.raises(plait.UsageError, match=says):
                plait.Graph().add("m", body.map([1]), **{name: value})

    def test_a_group_of_a_file_refuses_what_it_would_leave_undone(self, tmp_path: Path) -> None:
        """X4 B2: also where it is an item of a foreach; what a group can do it takes."""
        misplaced = {
            "pool": "db",
            "concurrency_key": "'{{ inputs.nope }}'",
            "rate_limit": "1/1s",
            "lock": "l",
            "retries": "1",
            "retry": "{attempts: 2}",
            "idle_timeout": "1",
            "priority": "high",
            "grace": "1",
            "uninterruptible": "true",
            "on_interrupt": "fail",
            "memory_limit": "null",
        }
        for around in ("", "foreach: [1], "):
            with pytest.raises(plait.FlowError) as error:
                from_file(
                    tmp_path,
                    "tasks:\n"
                    + "".join(
                        f"  {name}: {{{around}{name}: {value}, tasks: {{x: {{run: echo}}}}}}\n"
                        for name, value in misplaced.items()
                    ),
                )
            lines = [line for line in str(error.value).splitlines() if "error[misplaced]" in line]
            assert len(lines) == len(misplaced) == str(error.value).count("error[")
            for number, (name, line) in enumerate(zip(misplaced, lines, strict=True), 2):
                assert f":{number}:{len(f'  {name}: {{{around}') + 1}: " in line
                assert f"{name} belongs to what runs, not to a group" in line
        from_file(
            tmp_path,
            "tasks: {g: {timeout: 1, deadline: 2, join: all_done, critical: true, allow_failure: true, on_failure: finish, max_concurrency: 1, "
            "min_success: 1, max_failures: 0, reduce: union, budget: {usd: 1}, on_error: {run: echo}, tasks: {x: {run: echo}}}}",
        )

    def test_a_cost_above_the_rate_is_refused_at_the_item_that_has_it(self, tmp_path: Path) -> None:
        """B8: where the items stand in the file, and nothing else decides it."""
        with pytest.raises(plait.FlowError) as error:
            from_file(
                tmp_path,
                """
inputs: {n: {type: integer, default: 9}}
defaults: {rate_limit: 5/1s}
tasks:
  a: {foreach: [5, 9], run: echo, cost: "{{ item }}"}
  b: {foreach: [{n: "7"}, {n: " 5"}, {}], run: echo, cost: "{{ item.n }}"}
  c: {tasks: {x: {foreach: [1, 2], run: echo, cost: "{{ index }}"}}}
  d: {foreach: [9, "{{ inputs.n }}"], run: echo, cost: "{{ item }}"}
  e: {foreach: [9], run: echo, cost: "{{ inputs.n }}"}
""",
            )
        lines = [line.split(":", 1)[1] for line in str(error.value).splitlines() if "error[" in line]
        assert lines == [
            "5:20: error[value]: of this item: a cost of 9 under a rate of 5/1s: it would wait for ever",
            "6:17: error[value]: of this item: a cost of 7 under a rate of 5/1s: it would wait for ever",
            "7:29: error[value]: of this item: cost must be a whole number of at least 1, not 0",
        ]

    def test_a_template_in_what_is_not_worked_out_is_refused(self, tmp_path: Path) -> None:
        """X4: a lock's name is plain text, wherever it stands."""
        with pytest.raises(plait.FlowError) as error:
            from_file(
                tmp_path,
                """
defaults: {lock: "{{"}
tasks:
  a: {foreach: [1], run: echo, lock: "db-{{ item }}"}
  b: {run: echo, lock: [db, "{{ inputs.nope }}"]}
  c: {foreach: [1], run: echo, concurrency_key: "db-{{ item }}"}
""",
            )
        lines = [line.split(":", 1)[1] for line in str(error.value).splitlines() if "error[" in line]
        assert [line.split(" ", 1)[0] for line in lines] == ["2:18:", "4:38:", "5:29:"]
        assert all("lock is taken as it stands" in line for line in lines)

    def test_a_file_names_every_wrong_limit_with_its_place(self, tmp_path: Path) -> None:
        """X4 B8."""
        with pytest.raises(plait.FlowError) as error:
            from_file(
                tmp_path,
                """
pools: {db: 2, no: 0}
tasks:
  a: {run: echo, pool: dbs}
  b: {run: echo, pool: {db: 3}}
  c: {run: echo, rate_limit: 0/1s}
  d: {run: echo, rate_limit: 5/1s, cost: 6}
  e: {tasks: {x: {run: echo}}, pool: db}
""",
            )
        lines = [line.split(":", 1)[1] for line in str(error.value).splitlines() if "error[" in line]
        assert [line.split(" ", 1)[0] for line in lines] == ["2:8:", "4:24:", "6:30:", "7:42:", "8:32:"]
        for says, line in zip(
            ("capacity of pool 'no'", "Did you mean 'db'", "the units of rate_limit", "a cost of 6", "not to a group"),
            lines,
        ):
            assert says in line


class TestStoredRuns:
    def test_a_rate_is_kept_over_a_resume(self, tmp_path: Path) -> None:
        """B8 X4: what was used before a process left counts in the next one, and the time in between does, too."""
        ask = plait.task(rate_limit="2/1h")(step)
        store = tmp_path / "plait.db"
        targets = [ask.bind(name) for name in "abc"]
        run_id = left(targets, store, 2)
        assert plait.show_run(run_id, store=store).counts.get("succeeded") == 2

        async def go_on() -> float:
            began = asyncio.get_running_loop().time()
            await plait.resume(run_id, targets, store=store)
            return asyncio.get_running_loop().time() - began

        took = VirtualClock().run(go_on())
        assert 3550 < took < 3605
        assert len(SEEN) == 3


class TestWhy:
    def test_a_run_answers_in_its_loop_from_other_threads_and_once_it_is_over(self) -> None:
        """X7."""
        limited = plait.task(pool=plait.Pool("db", 1))

        async def main() -> None:
            gate = asyncio.Event()
            made = plait.Graph()
            made.add("first", limited(gate.wait))
            made.add("second", limited(step))
            made.add("third", step, needs=["second"])
            handle = plait.start(made)
            await asyncio.sleep(0.01)
            here = handle.why("second")
            there = await asyncio.to_thread(handle.why, "second")
            assert here.reason == there.reason == "pool"
            assert here.detail["held_by"] == ["first"]
            assert handle.why("third").causes == ("second",)
            with pytest.raises(plait.UsageError, match="Did you mean 'second'"):
                handle.why("secnd")
            gate.set()
            await handle
            assert handle.why("third").text == "third succeeded"

        asyncio.run(main())

    def test_a_stored_run_is_asked_by_another_process(self, tmp_path: Path) -> None:
        """X7: `plait why RUN KEY`, also of a run that nobody drives."""
        ask = plait.task(rate_limit="2/1h")(step)
        run_id = left([ask.bind(name) for name in "abc"], tmp_path / "plait.db", 2)
        found = plait.why(run_id, "step#3", store=tmp_path / "plait.db")
        assert (found.reason, found.detail["capacity"]) == ("rate", 2)
        assert found.until is not None
        assert found.since is not None
        assert 3590 < found.until - found.since <= 3602
        words = [sys.executable, "-m", "plait", "why", "last", "step#3", "--store", str(tmp_path / "plait.db")]
        shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert shown.startswith("step#3 waits for its rate (2 in 3600 s, shared with other runs), for ")
        document = json.loads(subprocess.run([*words, "--json"], capture_output=True, text=True, check=True).stdout)
        assert (document["task"], document["status"], document["reason"]) == ("step#3", "ready", "rate")
        wrong = subprocess.run([*words[:5], "step#9", *words[6:]], capture_output=True, text=True)
        assert (wrong.returncode, wrong.stdout) == (2, "")
        assert "has no task 'step#9'. Did you mean 'step#" in wrong.stderr

    def test_a_run_that_stands_still_says_for_what(self, caplog: pytest.LogCaptureFixture) -> None:
        """X7."""
        with caplog.at_level("WARNING", "plait"), VirtualClock():
            plait.map_(step, ["x"] * 2, rate_limit="1/1m")
        (line,) = [record.message for record in caplog.records]
        assert line.endswith(" stands still: step[1] waits for its rate (1 in 60 s), for 1 s now; 59 s to go")
