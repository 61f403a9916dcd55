"""Asking people from the code of tasks, and answering, in one process: with and without a store."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import plait
from plait._engine import records
from plait._engine.replaying import read_json
from plait.errors import Rejected, TaskCancelled, TaskInterrupted, TaskTimedOut, UsageError
from plait.stores.memory import MemoryStore
from plait.testing import VirtualClock

CALLS: list[Any] = []
ANSWERS: list[Any] = []
GATE = threading.Event()


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    CALLS.clear()
    GATE.clear()
    yield
    GATE.set()


@pytest.fixture(params=["none", "memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """No store, one in memory, one on a disk."""
    return {"none": None, "memory": MemoryStore(), "sqlite": str(tmp_path / "plait.db")}[request.param]


@pytest.fixture(params=["memory", "sqlite"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A store."""
    return MemoryStore() if request.param == "memory" else str(tmp_path / "plait.db")


async def until(holds: Callable[[], Any], *, passing: float = 0) -> None:
    """Lets the loop have its turns until that holds; `passing`: so many seconds of virtual time each."""
    while not holds():
        await asyncio.sleep(passing)


async def asked(run: plait.Run, *keys: str, passing: float = 0) -> list[plait.OpenQuestion]:
    """The open questions, once these keys are among them."""
    await until(lambda: {each.key for each in run.questions()} >= set(keys) or run.done, passing=passing)
    assert not run.done, [(each.key, each.error) for each in run._driver.result().values()]
    return run.questions()


def on_virtual_clock(main: Callable[[], Awaitable[Any]]) -> Any:
    """What `main` gives; time passes only where nothing else is to be done."""

    async def within() -> Any:
        return await main()

    return VirtualClock().run(within())


def driven(target: Any, *answers: tuple[str, Any], **options: Any) -> plait.RunResult:
    """The result of a run whose questions are answered, one after the other."""

    async def main() -> plait.RunResult:
        run = plait.start(target, **options)
        for key, value in answers:
            await asked(run, key, passing=1)
            run.answer(key, value)
        return await run

    result = on_virtual_clock(main)
    assert isinstance(result, plait.RunResult)
    return result


def left(target: Any, store: Any, *keys: str, **options: Any) -> str:
    """Starts a run and leaves it, as a signal does, once these questions are open; its id."""

    async def main() -> str:
        run = plait.start(target, store=store, **options)
        await asked(run, *keys)
        run._driver.interrupt()
        assert (await run).interrupted
        return run.id

    return str(on_virtual_clock(main))


def resumed(store: Any, *answers: tuple[str, Any], target: Any = None) -> plait.RunResult:
    """The result of the run in "another process"."""

    async def main() -> plait.RunResult:
        run = plait.resume("last", target, store=store)
        for key, value in answers:
            await asked(run, key)
            run.answer(key, value)
        return await run

    result = on_virtual_clock(main)
    assert isinstance(result, plait.RunResult)
    return result


def open_questions(store: Any) -> list[plait.OpenQuestion]:
    """What waits for an answer, as the store tells it."""
    with plait.open_run("last", store) as opened:
        return opened.questions()


def until_told(told: list[Any]) -> None:
    """Waits until something was to be told."""
    while not told:
        GATE.wait(0.001)


@plait.task
async def asks(prompt: str = "How many?", form: Any = int, **options: Any) -> Any:
    CALLS.append("before")
    value = await plait.ask(prompt, form, **options)
    CALLS.append(("after", value))
    return value


@plait.task
def asks_in_thread(prompt: str = "How many?") -> Any:
    CALLS.append("before")
    value = plait.ask(prompt, int).wait()
    CALLS.append(("after", value))
    return value


@plait.task
def asks_by_returning(prompt: str = "How many?") -> Any:
    CALLS.append("before")
    return plait.ask(prompt, int)


@plait.task
async def asks_twice() -> list[Any]:
    CALLS.append("before")
    first = await plait.ask("First?", int)
    CALLS.append(first)
    return [first, await plait.ask("Second?", int)]


@plait.task
async def plain(value: Any = None) -> Any:
    CALLS.append(("plain", value))
    return value


@plait.task
def grows(*keys: str) -> list[Any]:
    return [asks.bind(f"Of {key}?").named(key) for key in keys]


@plait.task
async def rejects() -> None:
    raise Rejected("no")


BODIES = [asks, asks_in_thread, asks_by_returning]


class TestOneQuestion:
    @pytest.mark.parametrize("body", BODIES, ids=["coroutine", "thread", "returned"])
    def test_the_answer_comes_to_the_code_that_waits_and_what_stood_before_is_not_run_again(
        self, body: Any, store: Any
    ) -> None:
        """E7 X3."""
        graph = plait.Graph()
        graph.add("a", body)
        graph.add("b", plain, args=(graph.add("c", plain, args=(2,)),))

        result = driven(graph, ("a", 5), store=store, max_concurrency=1)
        assert result["a"].value == 5
        assert result["a"].attempts == 1
        assert CALLS.count("before") == 1
        assert result.status == "succeeded"

    @pytest.mark.parametrize("body", BODIES, ids=["coroutine", "thread", "returned"])
    def test_everything_else_goes_on_meanwhile_with_its_slot(self, body: Any, store: Any) -> None:
        """E7."""

        async def main() -> None:
            graph = plait.Graph()
            graph.add("a", body, priority="high")
            graph.add("b", plain, args=("b",))
            graph.add("c", plain, args=("c",), needs=["b"])
            run = plait.start(graph, store=store, max_concurrency=1)
            await asked(run, "a")
            await until(lambda: ("plain", "c") in CALLS)
            await until(lambda: run.status == "waiting")
            run.answer("a", 1)
            assert (await run).status == "succeeded"

        on_virtual_clock(main)

    def test_what_people_see_of_it(self, store: Any) -> None:
        async def main() -> None:
            clock = asyncio.get_running_loop().time
            graph = plait.Graph()
            graph.add(
                "a",
                asks,
                args=("Publish?", {"ok": bool}),
                kwargs={"default": {"ok": False}, "timeout": "1d", "who": "me"},
            )
            run = plait.start(graph, store=store)
            (found,) = await asked(run, "a")
            assert (found.run, found.key, found.task, found.kind) == (run.id, "a", "a", "question")
            assert (found.prompt, found.default, found.has_default, found.who) == (
                "Publish?",
                {"ok": False},
                True,
                ("me",),
            )
            assert found.until == pytest.approx(found.asked_at + 86400)
            assert found.fits == "ok: true or false"
            assert clock() < 1
            assert found.as_dict()["default"] == {"ok": False}
            with pytest.raises(UsageError, match=r"is for me$"):
                run.answer("a", {"ok": True})
            with pytest.raises(UsageError, match="is for me, not for you"):
                run.answer("a", {"ok": True}, by="you")
            run.answer("a", {"ok": True}, by="me")
            assert run.questions() == []
            assert (await run)["a"].value == {"ok": True}

        on_virtual_clock(main)

    def test_a_value_that_does_not_fit_changes_nothing_and_the_error_says_what_does(self, store: Any) -> None:
        async def main() -> None:
            run = plait.start(asks.bind("Which?", ["red", "blue"]), store=store)
            await asked(run, "asks")
            for wrong in ("green", 1, None, ["red"]):
                with pytest.raises(UsageError, match=r"red.*blue"):
                    run.answer("asks", wrong)
            assert len(run.questions()) == 1
            run.answer("asks", "blue")
            assert (await run).value == "blue"

        on_virtual_clock(main)

    @pytest.mark.parametrize(
        ("form", "value"),
        [(None, "text"), (str, "text"), (int, 3), (float, 2.5), (bool, False), (["x", "y"], "y"), ({"n": int}, {"n": 1}),
         ({"schema": {"type": "array", "items": {"type": "integer"}}}, [1, 2]), ({"schema": {}}, None)],
    )  # fmt: skip
    def test_every_form_has_its_answers(self, form: Any, value: Any, store: Any) -> None:
        assert driven(asks.bind("?", form), ("asks", value), store=store).value == value

    def test_exactly_one_answer_counts_and_whoever_comes_later_is_told_which(self, store: Any) -> None:
        """F74."""

        async def main() -> None:
            graph = plait.Graph()
            graph.add("a", asks)
            graph.add("other", asks)
            run = plait.start(graph, store=store)
            await asked(run, "a", "other")
            run.answer("a", 1, by="me")
            for _ in range(2):
                with pytest.raises(
                    UsageError, match=r"question 'a' of run \w+ is closed: it was answered by me, with 1"
                ):
                    run.answer("a", 2)
            with pytest.raises(UsageError, match=r"has no question 'oter'.*other"):
                run.answer("oter", 2)
            run.answer("other", 3)
            result = await run
            assert [each.value for each in result.values()] == [1, 3]
            with pytest.raises(UsageError, match="is over: it takes no answers"):
                run.answer("a", 2)
            assert run.questions() == []

        on_virtual_clock(main)

    def test_of_many_threads_that_answer_at_once_one_does(self, store: Any) -> None:
        """F74."""
        run = plait.start(asks.bind(), store=store)
        while not run.questions():
            assert not run.done
        begin, said = threading.Barrier(8), []

        def answer(value: int) -> None:
            begin.wait()
            try:
                run.answer("asks", value)
            except UsageError as error:
                said.append(str(error))
            else:
                said.append(value)

        threads = [threading.Thread(target=answer, args=(number,)) for number in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        (counts,) = (each for each in said if isinstance(each, int))
        assert run.wait(20).value == counts
        assert all("with " + str(counts) in each or "is over" in each for each in said if isinstance(each, str))

    def test_whoever_asks_as_the_run_ends_is_answered_once(self) -> None:
        """E7: by the run's loop, or where that is over by itself; never by both."""
        run = plait.start(asks.bind())
        while not run.questions():
            assert not run.done
        told: list[Callable[[], None]] = []
        run._tell = told.append  # type: ignore[method-assign]
        driver = run._driver
        ends = threading.Thread(target=lambda: (until_told(told), driver.loop.call_soon_threadsafe(driver.cancel)))
        ends.start()
        assert run.questions() == []
        ends.join()
        told[0]()

    def test_a_task_without_a_question_says_where_it_stands(self, store: Any) -> None:
        async def main() -> None:
            graph = plait.Graph()
            graph.add("a", asks)
            graph.add("b", plain, needs=["a"])
            run = plait.start(graph, store=store)
            await asked(run, "a")
            with pytest.raises(UsageError, match=r"task 'b' .* asks nothing: it is pending; open: a"):
                run.answer("b", 1)
            run.answer("a", 1)
            await run

        on_virtual_clock(main)

    def test_its_key_stands_behind_the_path_of_its_task_and_both_find_it(self, store: Any) -> None:
        graph = plait.Graph()
        graph.add("a", asks, kwargs={"key": "more"})
        assert driven(graph, ("a/more", 1), store=store)["a"].value == 1

        async def main() -> None:
            run = plait.start(graph, store=store)
            (found,) = await asked(run, "a/more")
            assert found.task == "a"
            run.answer("a", 2)
            assert (await run)["a"].value == 2

        on_virtual_clock(main)

    def test_a_coroutine_task_may_wait_in_a_task_of_asyncio(self, store: Any) -> None:
        @plait.task
        async def both() -> Any:
            return await asyncio.gather(plait.ask("?", int), asyncio.sleep(5, "slept"))

        assert driven(both.bind(), ("both", 1), store=store).value == [1, "slept"]


class TestSeveral:
    def test_tasks_of_a_run_ask_at_once_and_are_answered_in_any_order(self, store: Any) -> None:
        """E7 X3: with one slot for all of them."""

        async def main() -> None:
            graph = plait.Graph()
            for key in "abc":
                graph.add(key, asks)
            run = plait.start(graph, store=store, max_concurrency=1)
            assert [each.key for each in await asked(run, "a", "b", "c")] == ["a", "b", "c"]
            for key, value in (("c", 3), ("a", 1), ("b", 2)):
                run.answer(key, value)
            result = await run
            assert [result[key].value for key in "abc"] == [1, 2, 3]
            assert CALLS.count("before") == 3

        on_virtual_clock(main)

    def test_items_of_a_map_ask(self, store: Any) -> None:
        """X3."""

        async def main() -> None:
            run = plait.start(asks.map(["x?", "y?", "z?"]), store=store, max_concurrency=1)
            found = await asked(run, "asks[0]", "asks[1]", "asks[2]")
            assert [(each.key, each.prompt) for each in found] == [
                ("asks[0]", "x?"),
                ("asks[1]", "y?"),
                ("asks[2]", "z?"),
            ]
            for each in reversed(found):
                run.answer(each.key, len(each.key))
            assert (await run).value == [7, 7, 7]
            assert CALLS.count("before") == 3

        on_virtual_clock(main)

    def test_what_a_task_grew_asks_also_below(self, store: Any) -> None:
        """X3: parallel branches, nested."""

        @plait.task
        def outer() -> list[Any]:
            CALLS.append("outer")
            return [grows.bind("x", "y").named("left"), grows.bind("x").named("right"), plain.bind(3)]

        async def main() -> None:
            run = plait.start(outer.bind(), store=store, max_concurrency=2)
            keys = ["outer/left/x", "outer/left/y", "outer/right/x"]
            await asked(run, *keys)
            await until(lambda: run.status == "waiting")
            for number, key in enumerate(keys):
                run.answer(key, number)
            assert (await run).value == [[0, 1], [2], 3]
            assert CALLS.count("outer") == 1

        on_virtual_clock(main)

    def test_a_task_asks_one_question_after_the_other(self, store: Any) -> None:
        result = driven(asks_twice.bind(), ("asks_twice", 1), ("asks_twice", 2), store=store)
        assert result.value == [1, 2]
        assert CALLS == ["before", 1]

    def test_a_second_one_at_once_is_refused(self, store: Any) -> None:
        async def both() -> Any:
            return await asyncio.gather(plait.ask("A?", key="a"), plait.ask("B?", key="b"), return_exceptions=True)

        @plait.task
        async def told() -> list[str]:
            return list(map(str, await both()))

        first, second = driven(told.bind(), ("told/a", "x"), store=store).value
        assert first == "x"
        assert "has a question open: ask for all of it in one form" in second


class TestTime:
    def test_the_default_counts_once_the_time_is_over(self, store: Any) -> None:
        """E7."""
        clock = VirtualClock()

        async def main() -> plait.RunResult:
            return await plait.start(asks.bind(default=7, timeout="2h"), store=store)

        result = clock.run(main())
        assert result.value == 7
        assert clock.now == pytest.approx(7200, abs=1)
        assert CALLS == ["before", ("after", 7)]

    def test_without_a_default_the_task_is_timed_out_and_its_code_ended(self, store: Any) -> None:
        @plait.task
        async def careful() -> None:
            try:
                await plait.ask("?", timeout=60)
            finally:
                CALLS.append("ended")

        graph = plait.Graph()
        graph.add("a", careful, retries=2)
        graph.add("b", plain, needs=["a"])
        result = driven(graph, store=store)
        assert (str(result["a"].status), str(result["b"].status)) == ("timed_out", "upstream_failed")
        assert isinstance(result["a"].error, TaskTimedOut)
        assert "nobody answered 'a' within the 60 s" in str(result["a"].error)
        assert CALLS == ["ended"]

    def test_a_thread_is_ended_too(self, store: Any) -> None:
        @plait.task
        def careful() -> None:
            try:
                plait.ask("?", timeout=60).wait()
            except TaskCancelled:
                CALLS.append("told")
                GATE.set()
                raise

        @plait.task
        def looks() -> bool:
            return GATE.wait(20)  # told while the run goes on, not at its end

        graph = plait.Graph()
        graph.add("a", careful)
        graph.add("b", looks, needs=["a"], join="all_done")
        result = driven(graph, store=store)
        assert str(result["a"].status) == "timed_out"
        assert result["b"].value is True
        assert CALLS == ["told"]

    def test_the_tasks_own_timeout_stands_still(self, store: Any) -> None:
        """E7."""

        @plait.task(timeout=10)
        async def works() -> Any:
            await asyncio.sleep(6)
            value = await plait.ask("?", int, default=1, timeout=1000)
            await asyncio.sleep(value)
            return value

        assert str(driven(works.bind(), store=store)["works"].status) == "succeeded"
        late = driven(works.bind(), ("works", 5), store=store)["works"]
        assert str(late.status) == "timed_out"

    def test_who_waits_no_longer_than_it_likes_goes_on_with_a_slot(self, store: Any) -> None:
        """X3: `asyncio.timeout` around a question; the question is closed, the slot is had again before the code goes on."""

        @plait.task
        async def patient() -> str:
            try:
                async with asyncio.timeout(5):
                    return str(await plait.ask("?"))
            except TimeoutError:
                CALLS.append("went on")
                await asyncio.sleep(1)
                return "nobody"

        @plait.task
        async def works() -> None:
            await asyncio.sleep(20)
            CALLS.append("worked")

        async def main() -> None:
            graph = plait.Graph()
            graph.add("a", patient, priority="high")
            graph.add("b", works)
            run = plait.start(graph, store=store, max_concurrency=1)
            await asked(run, "a")
            await until(lambda: not run.questions(), passing=1)
            with pytest.raises(UsageError, match="is closed: its task went on without an answer"):
                run.answer("a", "late")
            result = await run
            assert result["a"].value == "nobody"
            assert result["a"].attempts == 1

        on_virtual_clock(main)
        assert CALLS == ["worked", "went on"], "with the one slot taken it stood in line"

    def test_who_is_cancelled_twice_while_it_stands_in_line_has_its_slot_all_the_same(self, store: Any) -> None:
        @plait.task
        async def patient() -> str:
            try:
                async with asyncio.timeout(10):
                    async with asyncio.timeout(5):
                        return str(await plait.ask("?"))
            except TimeoutError:
                CALLS.append("went on")
                return "nobody"

        @plait.task
        async def works() -> None:
            await asyncio.sleep(20)
            CALLS.append("worked")

        async def main() -> None:
            graph = plait.Graph()
            graph.add("a", patient, priority="high")
            graph.add("b", works)
            run = plait.start(graph, store=store, max_concurrency=1)
            assert (await run)["a"].value == "nobody"

        on_virtual_clock(main)
        assert CALLS == ["worked", "went on"]

    def test_code_that_ends_without_its_answer_has_ended_once_it_has_a_slot(self, store: Any) -> None:
        @plait.task
        async def forgets() -> str:
            async def ask() -> Any:
                return await plait.ask("?")

            ANSWERS.append(asyncio.ensure_future(ask()))
            await asyncio.sleep(1)
            return "without"

        async def main() -> None:
            run = plait.start(forgets.bind(), store=store)
            await asked(run, "forgets")
            result = await run
            assert result.value == "without"
            assert next(iter(result.values())).attempts == 1
            ANSWERS.pop().cancel()

        on_virtual_clock(main)

    def test_an_answer_that_is_never_awaited_asks_nothing(self, store: Any) -> None:
        @plait.task
        async def forgets() -> str:
            plait.ask("?")
            return "done"

        result = driven(forgets.bind(), store=store)
        assert result.value == "done"


class TestWhatCannotBe:
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"prompt": ""}, "a question must be text"),
            ({"prompt": "  "}, "a question must be text"),
            ({"prompt": 5}, "a question must be text"),
            ({"prompt": "x" * 20_001}, "of at most 20,000 characters"),
            ({"form": object()}, "a form is"),
            ({"form": 5}, "a form is"),
            ({"form": []}, "choice"),
            ({"form": int, "default": "three"}, "the default of 'careless'"),
            ({"timeout": -1}, "timeout"),
            ({"timeout": "soon"}, "timeout"),
            ({"key": ""}, "the key of a question must be printable text"),
            ({"key": "a\nb"}, "the key of a question must be printable text"),
            ({"key": "x" * 201}, "the key of a question must be printable text"),
            ({"who": 5}, "who must be a name"),
            ({"who": [""]}, "who must be a name"),
            ({"who": {"me": 1}}, "who must be a name"),
        ],
    )
    def test_a_question_is_refused_where_it_is_made(self, options: dict[str, Any], says: str) -> None:
        @plait.task
        async def careless() -> None:
            await plait.ask(**{"prompt": "?", **options})

        result = driven(careless.bind())
        assert isinstance(next(iter(result.values())).error, plait.PlaitError)
        assert says in str(next(iter(result.values())).error)
        if "key" not in options:
            name = {"prompt": options["prompt"]} if "prompt" in options else {"prompt": "?"}
            with pytest.raises(plait.PlaitError):
                plait.ask_for(**{**name, **options})

    def test_outside_of_any_task(self) -> None:
        with pytest.raises(UsageError, match="is for code inside a task"):
            plait.ask("?")

    def test_in_the_wrong_way(self) -> None:
        @plait.task
        async def blocks() -> None:
            plait.ask("?").wait()

        @plait.task
        def awaits() -> Any:
            async def inner() -> Any:
                return await plait.ask("?")

            return asyncio.run(inner())

        for target, says in ((blocks, "would block the loop"), (awaits, r"in a thread: plait.ask\(...\).wait\(\)")):
            with pytest.raises(UsageError, match=says):
                plait.run(target.bind())

    def test_after_its_task_is_over(self) -> None:
        @plait.task
        async def passes_on() -> None:
            ANSWERS.append(plait.ask("?"))

        async def main() -> None:
            graph = plait.Graph()
            graph.add("a", passes_on)
            graph.add("b", asks)
            run = plait.start(graph)
            await asked(run, "b")
            with pytest.raises(UsageError, match="task 'a' is over, and can ask nothing"):
                await ANSWERS.pop()
            run.answer("b", 1)
            await run

        on_virtual_clock(main)


class TestTasksThatAsk:
    def test_the_answer_is_the_value_and_needs_are_in_the_prompt(self, store: Any) -> None:
        """E7."""

        async def main() -> None:
            graph = plait.Graph()
            pages = graph.add("pages", plain, args=(3,))
            ok = graph.add("ok", plait.ask_for("Publish {} pages?", pages, form=bool))
            graph.add("then", plain, args=(ok,))
            run = plait.start(graph, store=store, max_concurrency=1)
            found = await asked(run, "ok")
            assert [each.prompt for each in found] == ["Publish 3 pages?"]
            run.answer("ok", True)
            assert (await run)["then"].value is True

        on_virtual_clock(main)

    def test_default_timeout_and_who(self, store: Any) -> None:
        async def main() -> None:
            ask = plait.ask_for("Which?", form=["a", "b"], default="a", timeout=30, who=["me", "you"]).named("which")
            run = plait.start(ask, store=store)
            (found,) = await asked(run, "which")
            assert (found.who, found.default, found.fits) == (("me", "you"), "a", "one of: a, b")
            assert (await run).value == "a"

        on_virtual_clock(main)

    def test_braces_without_values_are_as_they_are(self, store: Any) -> None:
        async def main() -> None:
            run = plait.start(plait.ask_for("Is {this} fine?"), store=store)
            (found,) = await asked(run, "ask")
            assert found.prompt == "Is {this} fine?"
            run.answer("ask", "yes")
            assert (await run).value == "yes"

        on_virtual_clock(main)

    def test_without_an_answer_in_time_it_is_timed_out(self, store: Any) -> None:
        result = driven(plait.ask_for("?", timeout=5, allow_failure=True), store=store)
        assert str(next(iter(result.values())).status) == "timed_out"
        assert result.status == "succeeded"


class TestRunsAgain:
    def test_another_attempt_is_given_the_answer_on_record(self, store: Any) -> None:
        """X3: nobody is asked the same twice."""

        @plait.task(retry={"attempts": 3, "delay": 0})
        async def unsteady() -> Any:
            CALLS.append(plait.current().attempt)
            value = await plait.ask("?", int)
            if len(CALLS) < 3:
                raise ValueError("unsteady")
            return value

        result = driven(unsteady.bind(), ("unsteady", 4), store=store)
        assert result.value == 4
        assert CALLS == [1, 2, 3]

    def test_each_answer_is_given_once_and_a_question_in_other_words_is_asked(self, store: Any) -> None:
        @plait.task(retry={"attempts": 2, "delay": 0})
        async def unsteady() -> Any:
            first = [await plait.ask("Same?", int), await plait.ask("Same?", int)]
            CALLS.append(first)
            if len(CALLS) == 1:
                raise ValueError("unsteady")
            return [*first, await plait.ask("Other?", int), await plait.ask("Same?", int)]

        answers = [("unsteady", number) for number in range(4)]
        assert driven(unsteady.bind(), *answers, store=store).value == [0, 1, 2, 3]
        assert CALLS == [[0, 1], [0, 1]]

    def test_one_who_gave_up_asks_again(self, store: Any) -> None:
        @plait.task(retry={"attempts": 2, "delay": 0})
        async def impatient() -> Any:
            async with asyncio.timeout(5 if plait.current().attempt == 1 else 500):
                return await plait.ask("?", int)

        async def main() -> None:
            run = plait.start(impatient.bind(), store=store)
            await asked(run, "impatient")
            await until(lambda: not run.questions(), passing=1)
            await asked(run, "impatient")
            run.answer("impatient", 9)
            result = await run
            assert (result.value, next(iter(result.values())).attempts) == (9, 2)

        on_virtual_clock(main)

    @pytest.mark.parametrize("body", BODIES, ids=["coroutine", "thread", "returned"])
    def test_another_process_begins_anew_and_the_same_question_is_still_open(self, body: Any, kept: Any) -> None:
        """E7: with its answer."""
        graph = plait.Graph()
        graph.add("first", plain, args=(1,))
        graph.add("a", body, needs=["first"])
        left(graph, kept, "a")
        assert CALLS == [("plain", 1), "before"]
        result = resumed(kept, ("a", 5))
        assert result["a"].value == 5
        assert CALLS.count("before") == 2
        assert CALLS.count(("plain", 1)) == 1, "what was finished is not run again"
        assert result["a"].attempts == 2

    @pytest.mark.parametrize("body", ["coroutine", "thread"])
    def test_code_that_waits_is_ended_where_its_process_leaves_the_run_and_lives_on(self, body: str, kept: Any) -> None:
        """W14: no thread stands still for ever, no coroutine is left on a loop that goes on."""

        @plait.task
        async def coroutine() -> None:
            try:
                await plait.ask("?")
            finally:
                CALLS.append("ended")
                GATE.set()

        @plait.task
        def thread() -> None:
            try:
                plait.ask("?").wait()
            finally:
                CALLS.append("ended")
                GATE.set()

        run = plait.start({"coroutine": coroutine, "thread": thread}[body].bind(), store=kept)
        while not run.questions():
            assert not run.done
        run._tell(run._driver.interrupt)
        assert run.wait(20).interrupted
        assert GATE.wait(20)
        assert CALLS == ["ended"]
        assert [each.key for each in open_questions(kept)] == [body]

    def test_code_starts_in_the_other_process_only_once_there_is_an_answer(self, kept: Any) -> None:
        left(asks.bind(), kept, "asks")
        CALLS.clear()

        async def main() -> None:
            run = plait.resume("last", store=kept)
            await asked(run, "asks")
            assert CALLS == []
            assert run.status == "waiting"
            run.answer("asks", 3)
            assert (await run).value == 3
            assert CALLS == ["before", ("after", 3)]

        on_virtual_clock(main)

    def test_of_several_questions_those_with_an_answer_are_not_asked_again(self, kept: Any) -> None:
        async def main() -> None:
            run = plait.start(asks_twice.bind(), store=kept)
            await asked(run, "asks_twice")
            run.answer("asks_twice", 1)
            await until(lambda: [each.prompt for each in run.questions()] == ["Second?"])
            run._driver.interrupt()
            assert (await run).interrupted

        on_virtual_clock(main)
        assert resumed(kept, ("asks_twice", 2)).value == [1, 2]
        assert CALLS == ["before", 1, "before", 1]

    def test_an_answer_that_came_as_the_process_left_counts_in_the_next(self, kept: Any) -> None:
        async def main() -> None:
            graph = plait.Graph()
            graph.add("a", asks, priority="high")
            graph.add("b", waits_for_gate)
            run = plait.start(graph, store=kept, max_concurrency=1)
            await asked(run, "a")
            await until(lambda: "at the gate" in CALLS)
            run.answer("a", 8)
            run._driver.interrupt()
            GATE.set()
            assert (await run).interrupted

        on_virtual_clock(main)
        result = resumed(kept)
        assert result["a"].value == 8

    @pytest.mark.parametrize(
        ("answer", "status", "value"),
        [
            ({"action": "rerun"}, "succeeded", 6),
            ({"action": "succeed", "value": 7}, "succeeded", 7),
            ({"action": "fail"}, "failed", None),
        ],
    )
    def test_what_must_not_run_twice_waits_for_a_person(self, answer: Any, status: str, value: Any, kept: Any) -> None:
        """W5."""
        graph = plait.Graph()
        graph.add("a", asks, on_interrupt="ask")
        left(graph, kept, "a")
        CALLS.clear()

        async def main() -> plait.RunResult:
            run = plait.resume("last", store=kept)
            await until(lambda: [each.kind for each in run.questions()] == ["interrupt"])
            (found,) = run.questions()
            assert (found.kind, found.fits) == ("interrupt", "rerun, succeed [VALUE], or fail")
            for wrong in ({"action": "rerun", "value": 1}, {"action": "else"}, "rerun", {"action": "fail", "value": 0}):
                with pytest.raises(UsageError):
                    run.answer("a", wrong)
            run.answer("a", answer, by="me")
            if answer["action"] == "rerun":
                await until(lambda: any(each.kind == "question" for each in run.questions()))
                run.answer("a", 6)
            return await run

        result = on_virtual_clock(main)
        assert (str(result["a"].status), result["a"].value) == (status, value)
        assert CALLS.count("before") == (answer["action"] == "rerun")

    def test_with_fail_nobody_is_asked(self, kept: Any) -> None:
        """W5."""
        graph = plait.Graph()
        graph.add("a", asks, on_interrupt="fail")
        left(graph, kept, "a")
        CALLS.clear()
        result = resumed(kept)
        assert str(result["a"].status) == "failed"
        assert isinstance(result["a"].error, TaskInterrupted)
        assert CALLS == []


@plait.task
def waits_for_gate() -> None:
    CALLS.append("at the gate")
    assert GATE.wait(30)


class TestCancelled:
    @pytest.mark.parametrize("body", BODIES, ids=["coroutine", "thread", "returned"])
    def test_one_that_waits(self, body: Any, store: Any) -> None:
        async def main() -> None:
            graph = plait.Graph()
            graph.add("a", body)
            graph.add("b", plain, needs=["a"])
            graph.add("c", plain, args=("c",))
            run = plait.start(graph, store=store)
            await asked(run, "a")
            run.cancel("a", by="me")
            with pytest.raises(UsageError, match=r"is closed: its task is (being )?cancelled|is over"):
                run.answer("a", 1)
            result = await run
            assert {key: str(each.status) for key, each in result.items()} == {
                "a": "cancelled", "b": "upstream_failed", "c": "succeeded",
            }  # fmt: skip
            assert str(result["a"].error) == "task 'a' was cancelled by me"
            assert result.status == "failed"
            assert not [each for each in CALLS if isinstance(each, tuple) and each[0] == "after"]

        on_virtual_clock(main)

    def test_one_that_has_its_answer_and_no_slot(self, store: Any) -> None:
        async def main() -> None:
            graph = plait.Graph()
            graph.add("a", asks, priority="high")
            graph.add("b", waits_for_gate)
            run = plait.start(graph, store=store, max_concurrency=1)
            await asked(run, "a")
            await until(lambda: "at the gate" in CALLS)
            run.answer("a", 1)
            run.cancel("a")
            GATE.set()
            result = await run
            assert str(result["a"].status) == "cancelled"
            assert ("after", 1) not in CALLS

        on_virtual_clock(main)

    def test_what_cannot_be_cancelled(self, store: Any) -> None:
        @plait.task(uninterruptible=True)
        async def firm() -> Any:
            CALLS.append("firm")
            await asyncio.sleep(5)
            return await plait.ask("?", int)

        async def main() -> None:
            graph = plait.Graph()
            graph.add("done", plain)
            graph.add("firm", firm, needs=["done"])
            run = plait.start(graph, store=store)
            await until(lambda: "firm" in CALLS)
            for key, says in (
                ("nobody", "has no task 'nobody'"),
                ("done", "task 'done' .* is over: it is succeeded"),
                ("firm", "is uninterruptible: it is let finish"),
            ):
                with pytest.raises(UsageError, match=says):
                    run.cancel(key)
            await asked(run, "firm", passing=1)
            run.cancel("firm")
            assert str((await run)["firm"].status) == "cancelled"

        on_virtual_clock(main)

    def test_the_whole_run(self, store: Any) -> None:
        async def main() -> None:
            graph = plait.Graph()
            graph.add("a", asks)
            graph.add("b", asks_in_thread)
            run = plait.start(graph, store=store)
            await asked(run, "a", "b")
            run.cancel()
            result = await run
            assert {str(each.status) for each in result.values()} == {"cancelled"}
            assert result.status == "cancelled"

        on_virtual_clock(main)

    def test_whoever_waits_for_the_run_is_cancelled(self) -> None:
        """X2: no code of it is left that waits."""

        @plait.task
        async def careful() -> None:
            try:
                await plait.ask("?")
            finally:
                CALLS.append("ended")

        async def main() -> None:
            waits = asyncio.ensure_future(plait.arun(careful.bind()))
            await asyncio.sleep(1)
            waits.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waits

        on_virtual_clock(main)
        assert CALLS == ["ended"]

    def test_a_rejected_run_ends_what_waits(self, store: Any) -> None:
        """A18."""

        async def main() -> None:
            graph = plait.Graph()
            graph.add("a", asks)
            graph.add("gate", plait.ask_for("Go on?", form=bool))
            graph.add("no", rejects, needs=["gate"])
            graph.add("never", plain, needs=["no"])
            run = plait.start(graph, store=store)
            await asked(run, "a", "gate")
            run.answer("gate", False)
            result = await run
            assert result.status == "rejected"
            assert {key: str(each.status) for key, each in result.items()} == {
                "a": "cancelled", "gate": "succeeded", "no": "failed", "never": "not_started",
            }  # fmt: skip

        on_virtual_clock(main)


class TestPaused:
    def test_running_tasks_end_answers_come_and_nothing_starts(self, store: Any) -> None:
        """F71."""

        async def main() -> None:
            graph = plait.Graph()
            graph.add("a", asks)
            graph.add("b", waits_for_gate)
            graph.add("c", plain, args=("c",), needs=["b"])
            run = plait.start(graph, store=store)
            await asked(run, "a")
            await until(lambda: "at the gate" in CALLS)
            run.pause()
            run.answer("a", 1)
            GATE.set()
            table = run._driver.table
            await until(lambda: run._driver.scheduler.quiet)
            assert run.status == "paused"
            assert ("after", 1) not in CALLS
            assert ("plain", "c") not in CALLS
            assert table.attempts(table.find("a")) == 1
            run.resume()
            result = await run
            assert result.status == "succeeded"
            assert CALLS.count("before") == 1

        on_virtual_clock(main)


class TestTold:
    def test_the_same_events_with_the_same_numbers_live_and_from_the_store(self, kept: Any) -> None:
        """F74: and every answer once."""
        live: list[Any] = []

        async def main() -> None:
            graph = plait.Graph()
            graph.add("a", asks, kwargs={"default": 3, "timeout": 50, "who": ["me"]})
            graph.add("b", asks, kwargs={"key": "k"}, needs=["a"])
            graph.add("c", asks, needs=["b"], kwargs={"default": 5, "timeout": 60})
            run = plait.start(graph, store=kept, max_concurrency=1)
            events = run.events(after=0)
            for key, by in (("a", "me"), ("b/k", None)):
                await asked(run, key)
                run.answer(key, 1, by=by)
            await run
            live.extend([event async for event in events])

        on_virtual_clock(main)
        again: list[Any] = []
        plait.retell("last", kept, [again.append])
        assert again.pop() is None
        told = [(each.seq, each.event, each.task, each.attempt, dict(each.detail)) for each in live]
        assert told == [(each.seq, each.event, each.task, each.attempt, dict(each.detail)) for each in again]
        assert [each[0] for each in told] == list(range(1, len(told) + 1))
        names = [
            (event, key) for _, event, key, *_ in told if event in ("task_waiting", "task_answered", "run_waiting")
        ]
        assert names == [
            ("task_waiting", "a"), ("run_waiting", None), ("task_answered", "a"),
            ("task_waiting", "b"), ("run_waiting", None), ("task_answered", "b"),
            ("task_waiting", "c"), ("run_waiting", None), ("task_answered", "c"),
        ]  # fmt: skip
        questions = [dict(detail["question"]) for _, event, *_, detail in told if event == "task_waiting"]
        assert [each["key"] for each in questions] == ["a", "b/k", "c"]
        assert questions[0]["form"] == {"type": "integer"}
        first = questions[0]
        assert (first["default"], first["who"], first["kind"]) == (3, ("me",), "question")
        answers = [detail for _, event, *_, detail in told if event == "task_answered"]
        assert [(each["key"], each["answer"], each.get("by")) for each in answers] == [
            ("a", "answered", "me"), ("b/k", "answered", None), ("c", "default", None),
        ]  # fmt: skip
        assert [detail["questions"] for _, event, *_, detail in told if event == "run_waiting"] == [1, 1, 1]

    def test_without_a_store_readers_are_told_the_same(self) -> None:
        async def main() -> list[Any]:
            run = plait.start(asks.bind())
            events = run.events()
            await asked(run, "asks")
            run.answer("asks", 1)
            await run
            return [event.event async for event in events if event.event != "run_started"]

        assert on_virtual_clock(main) == [
            "task_ready", "task_started", "task_waiting", "run_waiting", "task_answered", "task_started",
            "task_succeeded", "run_finished",
        ]  # fmt: skip

    def test_figures_count_one_attempt_and_no_time_of_waiting(self, store: Any) -> None:
        metrics = plait.Metrics()

        @plait.task
        async def works() -> Any:
            await asyncio.sleep(2)
            value = await plait.ask("?", int, default=1, timeout=1000)
            await asyncio.sleep(3)
            return value

        driven(works.bind(), store=store, readers=[metrics])
        total = metrics.total
        assert (total.attempts, total.interrupted, total.ready, total.running) == (1, 0, 0, 0)
        assert total.run_s.total == pytest.approx(5)
        assert total.counts == {"succeeded": 1}
        assert metrics.peak == 1

    def test_figures_of_what_was_interrupted_and_decided_by_a_person(self, kept: Any) -> None:
        graph = plait.Graph()
        graph.add("a", asks, on_interrupt="ask")
        graph.add("b", asks)
        left(graph, kept, "a", "b")

        async def main() -> None:
            run = plait.resume("last", store=kept)
            await until(
                lambda: {each.key: each.kind for each in run.questions()} == {"a": "interrupt", "b": "question"}
            )
            run.answer("a", {"action": "succeed", "value": 1})
            run.answer("b", 2)
            assert (await run).status == "succeeded"

        on_virtual_clock(main)
        metrics = plait.Metrics()
        plait.retell("last", kept, [metrics])
        total = metrics.total
        assert (total.ready, total.running, total.counts) == (0, 0, {"succeeded": 2})
        assert total.attempts == 3, "a, b, and b in the second process"

    def test_it_is_logged_once_when_only_answers_are_missing(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING, "plait")

        async def main() -> None:
            run = plait.start(asks.map([f"{number}?" for number in range(7)]))
            await asked(run, *(f"asks[{number}]" for number in range(7)))
            await until(lambda: run.status == "waiting")
            for number in range(7):
                run.answer(f"asks[{number}]", number)
            await run

        on_virtual_clock(main)
        (line,) = (each.getMessage() for each in caplog.records if "waits for answers" in each.getMessage())
        assert line.endswith("waits for answers alone: asks[0], asks[1], asks[2], asks[3], asks[4] and 2 more")

    def test_why_says_that_a_person_is_asked(self, store: Any) -> None:
        """X7."""

        async def main() -> None:
            run = plait.start(asks.bind("Which?"), store=store)
            await asked(run, "asks")
            assert "answer" in str(run.why("asks"))
            run.answer("asks", 1)
            await run

        on_virtual_clock(main)


def test_a_question_that_is_open_is_one_line_of_the_journal() -> None:
    """E11: what decides is on record before it counts."""
    store = MemoryStore()
    driven(asks_twice.bind(), ("asks_twice", 1), ("asks_twice", 2), store=store)
    run = store.find("last")
    kinds = [line[0] for _, data in store.journal(run, run.generation) for line in read_json(data)]
    assert [kind for kind in kinds if kind in (records.ASKED, records.ANSWERED)] == [
        records.ASKED, records.ANSWERED, records.ASKED, records.ANSWERED,
    ]  # fmt: skip
