"""A20: a model for tests: scripted, slow without sleeping, failing where it is told to, counting who asks at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import plait
from plait.errors import HttpError, UsageError
from plait.models import Message, Reply, Stop, Tool, ToolCall, Usage, choose
from plait.testing import FakeCall, FakeModel, VirtualClock

HI = (Message("user", "hi"),)
TOOL = Tool("look", "Looks.", {"type": "object"})


def ask(model: Any, **options: Any) -> Reply:
    return asyncio.run(model.ask(HI, **options))


class TestScripts:
    def test_one_answer_or_a_list_or_a_function(self) -> None:
        assert ask(FakeModel()).text == "ok"
        model = FakeModel(["a", "b"])
        assert [ask(model).text for _ in range(3)] == ["a", "b", "b"]
        assert ask(FakeModel(lambda call: f"{call.number}: {call.messages[0].text}")).text == "1: hi"
        with pytest.raises(UsageError, match="at least one answer"):
            FakeModel([])

    def test_a_mapping_is_a_call_of_the_tool(self) -> None:
        model = FakeModel({"at": 1})
        wanted = Reply("", (ToolCall("call_1", "look", {"at": 1}),), Usage(10, 10), Stop.CALLS)
        assert ask(model, tools=[TOOL]) == wanted
        assert ask(model, tools=[TOOL], force="other").calls[0].name == "other"
        with pytest.raises(UsageError, match="question 3 offers no tool"):
            ask(model)

    def test_a_reply_is_given_as_it_is(self) -> None:
        reply = Reply("x", usage=Usage(1, 2, 3, 4.0), stop=Stop.LENGTH)
        assert ask(FakeModel(reply)) is reply


class TestTime:
    def test_answers_take_the_time_of_the_clock(self) -> None:
        """A20: an hour each, and no time at all."""
        model = FakeModel(seconds=3600)

        @plait.task
        async def question(at: int) -> str:
            return (await model.ask(HI)).text

        with VirtualClock() as clock:
            assert plait.run([question.bind(at) for at in range(9)], max_concurrency=3) == ["ok"] * 9
            assert clock.now == 3 * 3600
            assert (model.peak, model.current, len(model.calls)) == (3, 0, 9)
            plait.run(question.bind(0))
        assert (model.peak, model.current, len(model.calls)) == (3, 0, 10)

    def test_who_is_cancelled_asks_no_more(self) -> None:
        model = FakeModel(seconds=10)

        async def main() -> None:
            asking = asyncio.create_task(model.ask(HI))
            await asyncio.sleep(1)
            assert (model.current, model.peak) == (1, 1)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            assert (model.current, model.peak) == (0, 1)

        VirtualClock().run(main())


class TestFailures:
    def test_by_number(self) -> None:
        model = FakeModel(errors={2: HttpError("busy", status=503)})
        assert ask(model).text == "ok"
        with pytest.raises(HttpError, match="busy"):
            ask(model)
        assert (ask(model).text, len(model.calls), model.current) == ("ok", 3, 0)

    def test_by_the_name_of_the_task(self) -> None:
        """A20."""
        model = FakeModel(errors={"b": ValueError("bad")})

        @plait.task
        async def question() -> str:
            return (await model.ask(HI)).text

        graph = plait.Graph("g")
        for name in "abc":
            graph.add(name, question.bind())
        result = plait.run(graph, raise_on_failure=False, on_failure="continue")
        assert {name: str(result[name].status) for name in "abc"} == {"a": "succeeded", "b": "failed", "c": "succeeded"}
        assert sorted(call.task for call in model.calls) == ["a", "b", "c"]
        assert result.spent["tokens"] == 40

    def test_retries_ask_again(self) -> None:
        """B15."""
        model = FakeModel(errors={1: HttpError("busy", status=429, retry_after=5), 2: HttpError("busy", status=500)})

        @plait.task(retry={"attempts": 3, "delay": 1, "jitter": False})
        async def question() -> str:
            return (await model.ask(HI)).text

        with VirtualClock() as clock:
            assert plait.run(question.bind()) == "ok"
            assert clock.now == 7


class TestStandingIn:
    def test_within_it_whoever_chooses_a_model_gets_it(self) -> None:
        with FakeModel("outer") as outer:
            with FakeModel("inner") as inner:
                assert ask(choose("some-model", {})).text == "inner"
            assert ask(choose("other-model", {}, "openai"), max_tokens=5).text == "outer"
        assert [call.model for call in inner.calls] == ["some-model"]
        assert outer.calls == [FakeCall(1, "", "other-model", HI, (), None, None, 5, None)]
        with pytest.raises(UsageError, match="needs the key"):
            choose("some-model", {})
