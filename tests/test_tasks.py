"""Graphs in Python: `@task`, nodes, maps, growth, explicit graphs; rows B3, E1, E5, E12."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import plait
from plait._engine.doors import blocking
from plait.testing import Scripted, ScriptedExecutor, VirtualClock


@plait.task
async def double(value: int) -> int:
    await asyncio.sleep(0)
    return 2 * value


@plait.task
async def add(*values: int) -> int:
    return sum(values)


@plait.task
async def listing(size: int) -> list[int]:
    return list(range(size))


class TestNodes:
    def test_a_decorated_function_stays_an_ordinary_function(self) -> None:
        @plait.task(retries=2)
        def plain(value: int, *, more: int = 0) -> int:
            """Documented."""
            return value + more

        assert plain(1, more=2) == 3
        assert plain.__name__ == "plain"
        assert plain.__doc__ == "Documented."

    def test_nodes_in_arguments_are_needs_also_inside_lists_tuples_and_dicts(self) -> None:
        @plait.task
        async def shape(*args: Any, **kwargs: Any) -> Any:
            return args, kwargs

        one, two = double.bind(1), double.bind(2)
        value = plait.run(shape.bind([one, (two, 5)], {"k": [one]}, key={"x": two}))
        assert value == (([2, (4, 5)], {"k": [2]}), {"key": {"x": 4}})

    def test_a_node_used_twice_runs_once(self) -> None:
        """N: each task once."""
        calls: list[int] = []

        @plait.task
        async def once() -> int:
            calls.append(1)
            return 7

        node = once.bind()
        assert plait.run(add.bind(node, node, double.bind(node))) == 28
        assert calls == [1]

    def test_arity_is_checked_when_the_graph_is_built(self) -> None:
        with pytest.raises(plait.UsageError, match=r"double\.bind: too many positional arguments"):
            double.bind(1, 2)
        with pytest.raises(plait.UsageError, match=r"double\.bind: missing a required argument: 'value'"):
            double.bind()

    def test_a_list_of_nodes_gives_a_list_of_whatever_length(self) -> None:
        assert plait.run([double.bind(1)]) == [2]
        assert plait.run([double.bind(1), double.bind(2)]) == [2, 4]
        assert plait.run([]) == []
        assert plait.run(double.bind(1)) == 2

    def test_options_and_keys_of_a_node(self) -> None:
        executor = ScriptedExecutor({"slow": [Scripted(error=ValueError("x")), Scripted(value=3)]})
        graph = plait.Graph("g")
        graph.add("slow", double.options(retries=1).bind(1))
        result = executor.play(graph)
        assert result["slow"].value == 3
        assert result["slow"].attempts == 2
        assert [str(each.status) for each in result["slow"].history] == ["failed", "succeeded"]

    def test_keys_are_given_or_the_functions_name_by_place_in_a_depth_first_walk(self) -> None:
        run = blocking(lambda: keys_of(add.bind(double.bind(1), double.bind(2).named("second"), double.bind(3))))
        assert run == ["double", "second", "double#2", "add"]

    def test_a_node_is_neither_iterable_nor_true(self) -> None:
        with pytest.raises(plait.UsageError, match="has no value yet"):
            list(double.bind(1))
        with pytest.raises(plait.UsageError, match="has no value yet"):
            bool(double.bind(1))

    def test_two_tasks_of_one_key_are_refused(self) -> None:
        """E12."""
        with pytest.raises(plait.GraphError, match="key 'x' names two different tasks"):
            plait.run(add.bind(double.bind(1).named("x"), double.bind(2).named("x")))

    def test_a_condition_may_be_a_node(self) -> None:
        @plait.task
        async def no() -> bool:
            return False

        graph = plait.Graph("g")
        condition = graph.add("no", no)
        graph.add("a", double, args=(1,), when=condition)
        graph.add("b", double, args=(1,), needs=["a"])
        result = plait.run(graph)
        assert (result["a"].status, result["b"].status) == ("skipped", "skipped")
        assert result.status == "succeeded"


async def keys_of(node: plait.Node[Any]) -> list[str]:
    run = plait.start(node)
    return list(await run)


class TestGrowth:
    def test_a_map_over_a_list_known_at_run_time_keeps_order(self) -> None:
        """B13."""
        assert plait.run(double.map(listing.bind(5)), max_concurrency=2) == [0, 2, 4, 6, 8]
        assert plait.run(double.map(listing.bind(0))) == []
        assert plait.run(add.map([1, 2], listing.bind(2))) == [1, 3]

    def test_lists_of_different_lengths_are_a_failure_of_the_map(self) -> None:
        with pytest.raises(plait.UsageError, match="lists of different lengths: 3, 2"):
            plait.run(add.map(listing.bind(3), listing.bind(2)))

    def test_children_have_paths_and_a_map_may_have_a_limit_of_its_own(self) -> None:
        executor = ScriptedExecutor(lambda key, attempt: Scripted(1.0, value=[1, 2, 3, 4] if key == "list" else key))
        graph = plait.Graph("g")
        items = graph.add("list", listing, args=(4,))
        graph.add("pages", double.map(items, max_concurrency=2))
        result = executor.play(graph, max_concurrency=10)
        assert result["pages"].value == ["pages[0]", "pages[1]", "pages[2]", "pages[3]"]
        assert executor.peak == 2
        assert [each.key for each in result.children("pages")] == ["pages[0]", "pages[1]", "pages[2]", "pages[3]"]

    def test_a_task_may_return_nodes_in_any_shape_and_to_any_depth(self) -> None:
        @plait.task
        async def grow(depth: int) -> Any:
            return [double.bind(depth), {"deeper": grow.bind(depth - 1)}] if depth else "end"

        assert plait.run(grow.bind(2)) == [4, {"deeper": [2, {"deeper": "end"}]}]

    def test_nested_growth_neither_multiplies_a_limit_nor_deadlocks(self) -> None:
        """F73 N: a semaphore per block, or one shared by parents and children."""
        running = most = 0

        @plait.task
        async def leaf() -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(1)
            running -= 1
            return 1

        @plait.task
        async def level(depth: int) -> Any:
            if depth == 0:
                return [leaf.bind(), leaf.bind()]
            return [level.options(max_concurrency=2).bind(depth - 1) for _ in range(2)]

        def total(value: Any) -> int:
            return sum(map(total, value)) if isinstance(value, list) else value

        for limit in (1, 3):
            most = 0
            with VirtualClock():
                assert total(plait.run(level.bind(4), max_concurrency=limit)) == 32
            assert most == min(limit, 2 if limit == 1 else 3)

    def test_a_failed_child_names_itself_as_the_first_cause(self) -> None:
        @plait.task
        async def check(value: int) -> int:
            if value == 3:
                raise LookupError("three")
            return value

        graph = plait.Graph("g")
        graph.add("checks", check.map(listing.bind(5)))
        with pytest.raises(plait.RunFailed, match=r"task 'checks\[3\]' failed: LookupError: three") as caught:
            plait.run(graph)
        assert isinstance(caught.value.__cause__, LookupError)
        assert caught.value.result.first_cause.key == "checks[3]"

    def test_a_hundred_thousand_children(self) -> None:
        assert sum(plait.run(double.map(range(20_000)), max_concurrency=100)) == 2 * sum(range(20_000))


class TestGraph:
    def test_needs_may_be_keys_of_tasks_added_later_and_args_hold_nodes(self) -> None:
        """B3 E1."""
        order: list[str] = []

        def note(name: str, *args: Any) -> str:
            order.append(name)
            return name

        graph = plait.Graph("g")
        graph.add("load", note, args=("load",), needs=["fetch"])
        fetched = graph.add("fetch", note, args=("fetch",))
        graph.add("both", note, args=("both", fetched), needs=["load"])
        result = plait.run(graph)
        assert order == ["fetch", "load", "both"]
        assert result.value == {"both": "both"}
        assert list(result) == ["load", "fetch", "both"]

    @pytest.mark.parametrize(
        ("build", "message"),
        [
            (lambda graph: graph.add("a", dict), "key 'a' is in the graph already"),
            (lambda graph: graph.add("../x", dict), "looks like a path"),
            (
                lambda graph: (graph.add("b", dict, needs=["c"]), plait.run(graph)),
                "task 'b' needs 'c', which is not in the graph",
            ),
            (lambda graph: (graph.add("b", dict, needs=["aa"]), plait.run(graph)), "Did you mean 'a'?"),
            (lambda graph: (graph.add("b", dict, needs=["b"]), plait.run(graph)), "task 'b' needs itself"),
            (
                lambda graph: (graph.add("b", dict, needs=["c"]), graph.add("c", dict, needs=["b"]), plait.run(graph)),
                "cycle: c -> b -> c",
            ),
        ],
    )
    def test_what_cannot_run_is_refused_before_anything_starts(
        self, build: Callable[[plait.Graph], Any], message: str
    ) -> None:
        """E12 F63 N: a cycle or missing need that ends as success or spins."""
        started: list[int] = []
        graph = plait.Graph("g")
        graph.add("a", lambda: started.append(1))
        with pytest.raises(plait.GraphError) as caught:
            build(graph)
        assert message in str(caught.value)
        assert started == []

    def test_an_empty_graph_succeeds(self) -> None:
        """F65."""
        result = plait.run(plait.Graph("empty"))
        assert (result.status, dict(result), result.value) == ("succeeded", {}, {})

    def test_a_critical_failure_stops_all_running_tasks_and_others_go_on(self) -> None:
        """E5."""
        script = {
            "critical": Scripted(2, error=ValueError("x")),
            "long": Scripted(100),
            "plain": Scripted(1, error=ValueError("y")),
        }
        graph = plait.Graph("g")
        graph.add("critical", len, args=("",), critical=True)
        graph.add("long", len, args=("",))
        graph.add("plain", len, args=("",))
        graph.add("after", len, args=("",), needs=["plain"])
        graph.add("end", len, args=("",), needs=["long"])
        result = ScriptedExecutor(script).play(graph)
        assert {key: str(each.status) for key, each in result.items()} == {
            "critical": "failed",
            "long": "cancelled",
            "plain": "failed",
            "after": "upstream_failed",
            "end": "not_started",
        }
        assert result.wall_s == 2
        assert result.first_cause is not None
        assert result.first_cause.key == "plain"

    def test_every_outcome_tells_times_and_tries(self) -> None:
        executor = ScriptedExecutor(
            {"a": Scripted(3, value=1), "b": [Scripted(2, error=ValueError("x")), Scripted(1, value=5)]}
        )
        graph = plait.Graph("g")
        graph.add("a", len, args=("",))
        graph.add("b", len, args=("",), retry={"attempts": 2, "delay": 10, "jitter": False})
        result = executor.play(graph, max_concurrency=1)
        b = result["b"]
        assert (b.queued_s, b.run_s, b.attempts, b.value) == (0, 1, 2, 5)
        assert [(each.number, str(each.status), each.ended_at - each.started_at) for each in b.history] == [
            (1, "failed", pytest.approx(2)),
            (2, "succeeded", pytest.approx(1)),
        ]
        assert result["a"].queued_s == 0
        assert b.unwrap() == 5


class TestOrder:
    def test_priorities_then_first_come_first_served(self) -> None:
        """B2."""
        executor = ScriptedExecutor(lambda key, attempt: Scripted(1))
        graph = plait.Graph("g")
        for key, priority in (("l1", "low"), ("n1", "normal"), ("h1", "high"), ("n2", 2), ("h2", 3), ("l2", 1)):
            graph.add(key, len, args=("",), priority=priority)
        executor.play(graph, max_concurrency=1)
        assert [key for key, _, _ in executor.started] == ["h1", "h2", "n1", "n2", "l1", "l2"]


@pytest.mark.realtime
def test_plain_functions_run_in_threads_and_the_pool_is_shared(  # B1
) -> None:
    """B1: a pool of threads, as many as there are slots."""
    threads: set[int] = set()
    barrier = threading.Barrier(3, timeout=20)

    @plait.task
    def work(number: int) -> int:
        threads.add(threading.get_ident())
        if number < 3:
            barrier.wait()
        return number

    assert plait.run([work.bind(number) for number in range(50)], max_concurrency=3) == list(range(50))
    assert len(threads) == 3


def test_partials_lambdas_callables_and_classes_are_tasks() -> None:
    class Callable_:
        async def __call__(self) -> int:
            return 1

    assert plait.run([plait.task(each).bind() for each in (partial(int, "7"), lambda: 8, Callable_(), dict)]) == [
        7,
        8,
        1,
        {},
    ]


def test_current_knows_the_task() -> None:
    seen: list[tuple[str, int, bool]] = []
    shares: list[float] = []

    @plait.task(retry={"attempts": 2, "delay": 0})
    async def who() -> str:
        context = plait.current()
        seen.append((context.key, context.attempt, context.signal.cancelled))
        context.progress(0.5)
        with pytest.raises(ValueError, match="from 0 to 1"):
            context.progress(2)
        if context.attempt == 1:
            raise ValueError("again")
        return context.run_id

    run_id = plait.run(who.bind())
    assert seen == [("who", 1, False), ("who", 2, False)]
    assert len(run_id) == 8
    assert shares == []
    with pytest.raises(plait.UsageError, match="inside a task"):
        plait.current()


@pytest.mark.parametrize(
    "value",
    [
        ValueError("not raised"),
        {"status": "failed", "error": "x"},
        {"type": "cancel"},
        NotImplemented,
        plait.Retry(),
        ...,
        plait.CancelToken,
        [None, 0, ""],
        asyncio.CancelledError(),
    ],
    ids=repr,
)
def test_a_value_is_a_value_whatever_it_looks_like(value: Any) -> None:
    """N: user data mistaken for control results by its shape."""
    assert plait.map_(lambda item: value, [1]) == [value]
    assert plait.run(plait.task(lambda: value).bind()) == value


def test_the_same_keys_in_two_branches_are_two_tasks() -> None:
    """N: results keyed by a bare id shared between branches."""

    @plait.task
    async def branch(number: int) -> Any:
        return double.bind(number).named("inner")

    graph = plait.Graph("g")
    graph.add("left", branch, args=(1,))
    graph.add("right", branch, args=(2,))
    result = plait.run(graph)
    assert {key: outcome.value for key, outcome in result.items()} == {
        "left": 2,
        "right": 4,
        "left/inner": 2,
        "right/inner": 4,
    }


class TestScale:
    """F62: nothing recurses, nothing is worse than linear."""

    def test_a_chain_of_a_hundred_thousand(self) -> None:
        node: plait.Node[int] = add.bind(0)
        for _ in range(100_000):
            node = add.bind(node, 1)
        assert plait.run(node) == 100_000

    def test_a_star_of_a_hundred_thousand(self) -> None:
        @plait.task
        async def total(values: list[int]) -> int:
            return sum(values)

        first = add.bind(1)
        assert plait.run(total.bind([add.bind(first, 1) for _ in range(100_000)]), max_concurrency=50) == 200_000

    def test_a_chain_that_fails_is_upstream_failed_to_its_end(self) -> None:
        graph = plait.Graph("chain")
        graph.add("0", double, args=("no number",), retries=0)
        graph.add("boom", lambda: 1 / 0, needs=["0"])
        for number in range(1, 20_000):
            graph.add(str(number), add, needs=["boom" if number == 1 else str(number - 1)])
        result = plait.run(graph, raise_on_failure=False)
        assert result.counts == {"succeeded": 1, "failed": 1, "upstream_failed": 19_999}


def test_a_body_that_blocks_the_loop_delays_others_and_loses_nothing() -> None:
    """F47."""
    loop_time: list[float] = []

    @plait.task
    async def blocks() -> str:
        end = asyncio.get_running_loop().time() + 0.2
        while asyncio.get_running_loop().time() < end:
            pass
        return "blocked"

    @plait.task
    async def ticks(number: int) -> int:
        await asyncio.sleep(0.01)
        loop_time.append(asyncio.get_running_loop().time())
        return number

    @plait.task
    async def join(*values: Any) -> list[Any]:
        return list(values)

    assert plait.run(
        join.bind(*[ticks.bind(n) for n in range(5)], blocks.bind(), *[ticks.bind(n) for n in range(5)])
    ) == [0, 1, 2, 3, 4, "blocked", 0, 1, 2, 3, 4]
