"""Answers that fit a schema: what is bad is told, asked for again, and given up in the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import plait
from model_server import KEY, ModelServer, completion, message
from plait.errors import TaskError
from plait.models import AnthropicModel, Message, Model, OpenAIModel, Reply, Stop, ToolCall, Usage, structured
from plait.testing import FakeModel

POINT = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
HI = (Message("user", "hi"),)


def integer(value: Any) -> list[str]:
    return [] if isinstance(value.get("n"), int) else [f"$.n: an integer is wanted, not {value.get('n')!r}"]


def ask(model: Model, schema: Any = POINT, check: Any = integer, **options: Any) -> Any:
    return asyncio.run(structured(model, HI, schema, check, **options))


def call(name: str = "output", arguments: Any = None, written: str = "", id: str = "c1") -> ToolCall:
    return ToolCall(id, name, arguments, written)


def reply(*calls: ToolCall, text: str = "", stop: Stop = Stop.CALLS) -> Reply:
    return Reply(text, calls, Usage(10, 10), stop)


BAD = {
    "does not fit": (reply(call(arguments={"n": "x"})), "$.n: an integer is wanted, not 'x'"),
    "no call": (reply(text='{"n": 1}', stop=Stop.END), "the tool 'output' was not called"),
    "another tool": (reply(call("delete", {"n": 1})), "there is no tool 'delete': call 'output'"),
    "two calls": (reply(call(arguments={"n": 1}), call(arguments={"n": 2}, id="c2")), "2 calls were made"),
    "no JSON": (reply(call(written="{n: 1")), "the arguments of 'output' are not a JSON object"),
    "cut off": (reply(call(arguments={"n": 1}), stop=Stop.LENGTH), "cut off at its limit (4096 tokens)"),
    "refused": (reply(text="never", stop=Stop.REFUSED), "it was refused: never"),
}


class TestAskingAgain:
    def test_an_answer_that_fits_is_the_value(self) -> None:
        model = FakeModel({"n": 1})
        assert ask(model, system="be short", max_tokens=9, temperature=0.1) == {"n": 1}
        asked = model.calls[0]
        assert (asked.force, [tool.name for tool in asked.tools], asked.tools[0].parameters) == (
            "output",
            ["output"],
            POINT,
        )
        assert (asked.system, asked.max_tokens, asked.temperature, asked.messages) == ("be short", 9, 0.1, HI)

    @pytest.mark.parametrize("name", BAD)
    def test_a_bad_answer_is_asked_again_with_the_reasons(self, name: str) -> None:
        """S48: and no other tool is ever offered, whatever was called."""
        bad, reason = BAD[name]
        model = FakeModel([bad, {"n": 1}])
        assert ask(model) == {"n": 1}
        assert len(model.calls) == 2
        assert reason in model.calls[1].messages[-1].text
        assert model.calls[1].messages[0] == HI[0]
        assert {tool.name for each in model.calls for tool in each.tools} == {"output"}

    @pytest.mark.parametrize("name", BAD)
    def test_in_the_end_the_last_reasons_and_the_number_of_tries_are_told(self, name: str) -> None:
        """S49: it is not asked for ever, nor is the whole task tried again."""
        bad, reason = BAD[name]
        model = FakeModel(bad)
        with pytest.raises(TaskError) as caught:
            ask(model, max_retries=2)
        assert (len(model.calls), caught.value.retryable) == (3, False)
        assert str(caught.value).startswith("no answer that fits in 3 tries; the last one: ")
        assert reason in str(caught.value)

    def test_without_retries_it_is_asked_once(self) -> None:
        model = FakeModel({"n": "x"})
        with pytest.raises(TaskError, match="in 1 try; the last one"):
            ask(model, max_retries=0)
        assert len(model.calls) == 1

    def test_whole_calls_are_answered_one_by_one_and_others_go_back_as_text(self) -> None:
        """Providers refuse a conversation with a call that has no answer, or is not whole, and a turn without a word."""
        both = reply(call(arguments={"n": "x"}), call(arguments={"n": "y"}, id="c2"), text="well")
        broken = reply(call(arguments={"n": 1}), call(written="{n", id="c2"), text="well")
        silent = reply(stop=Stop.END)
        model = FakeModel([both, broken, silent, {"n": 1}])
        assert ask(model) == {"n": 1}
        said = model.calls[3].messages
        assert [(each.role, each.call_id, each.failed) for each in said] == [
            ("user", "", False), ("assistant", "", False), ("tool", "c1", True), ("tool", "c2", True),
            ("assistant", "", False), ("user", "", False), ("user", "", False),
        ]  # fmt: skip
        assert said[1] == Message("assistant", "well", both.calls)
        assert (said[4].text, said[4].calls) == ("well\n{n", ())

    def test_what_failed_tries_used_up_is_counted_too(self) -> None:
        """A19 S49."""

        @plait.task
        async def question() -> Any:
            return await structured(FakeModel([{"n": "x"}, {"n": 1}]), HI, POINT, integer)

        graph = plait.Graph("g")
        graph.add("question", question.bind())
        assert plait.run(graph, raise_on_failure=False).spent["tokens"] == 40

    def test_reasons_are_not_told_without_end(self) -> None:
        model = FakeModel({"n": 1})
        with pytest.raises(TaskError) as caught:
            ask(model, check=lambda value: ["x" * 10_000] * 10_000, max_retries=1)
        assert len(str(caught.value)) < 20 * 510
        assert len(model.calls[1].messages[-1].text) < 20 * 510

    @given(st.lists(st.sampled_from(sorted(BAD)), max_size=6), st.integers(0, 5))
    def test_it_is_asked_until_it_fits_and_at_most_so_often(self, bad: list[str], retries: int) -> None:
        model = FakeModel([*(BAD[name][0] for name in bad), {"n": 7}])
        if len(bad) <= retries:
            assert ask(model, max_retries=retries) == {"n": 7}
            assert len(model.calls) == len(bad) + 1
        else:
            with pytest.raises(TaskError):
                ask(model, max_retries=retries)
            assert len(model.calls) == retries + 1
        for each in model.calls:
            opened: set[str] = set()
            for said in each.messages:  # every call is answered before anything else is said
                assert not (opened and said.role != "tool")
                opened ^= {said.call_id} if said.role == "tool" else {call.id for call in said.calls}
                assert said.text or said.calls
            assert not opened


class TestRoots:
    @pytest.mark.parametrize(
        ("schema", "value"),
        [
            ({"type": "array", "items": {"type": "string"}}, ["a"]),
            ({"type": ["object", "null"]}, None),
            ({"anyOf": [{"type": "string"}, {"type": "object"}]}, {"value": 1}),
            ({}, 0),
        ],
    )
    def test_what_is_no_object_is_wrapped_for_the_tool(self, schema: Any, value: Any) -> None:
        seen: list[Any] = []

        def check(given: Any) -> Sequence[str]:
            seen.append(given)
            return []

        model = FakeModel({"value": value})
        assert ask(model, schema, check) == value
        assert seen == [value]
        assert model.calls[0].tools[0].parameters == {
            "type": "object", "properties": {"value": schema}, "required": ["value"], "additionalProperties": False,
        }  # fmt: skip

    def test_without_the_wrapping_it_is_asked_again(self) -> None:
        model = FakeModel([{"other": 1}, {"value": [1]}])
        assert ask(model, {"type": "array"}, lambda value: []) == [1]
        assert "the argument 'value' is missing" in model.calls[1].messages[-1].text

    def test_shared_definitions_stay_at_the_root(self) -> None:
        model = FakeModel({"value": [1]})
        ask(
            model,
            {"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "integer"}}},
            lambda value: [],
        )
        parameters = model.calls[0].tools[0].parameters
        assert parameters["$defs"] == {"n": {"type": "integer"}}
        assert parameters["properties"] == {"value": {"type": "array", "items": {"$ref": "#/$defs/n"}}}


@pytest.mark.realtime
class TestAtProviders:
    """The same through the real SDKs: the conversation is one that both take."""

    def test_chat_completions(self) -> None:
        server = ModelServer()
        try:
            server.says(
                completion(None, ("output", {"n": "x"})),
                completion(None, ("output", "{n")),
                completion(None, ("output", {"n": 1})),
            )
            assert ask(OpenAIModel("m", KEY, server.url)) == {"n": 1}
            bodies = server.bodies
        finally:
            server.close()
        assert [body["tool_choice"] for body in bodies] == [{"type": "function", "function": {"name": "output"}}] * 3
        assert [tool["function"]["parameters"] for tool in bodies[2]["tools"]] == [POINT]
        called, answered, broken, reasons = bodies[2]["messages"][1:]
        assert json.loads(called["tool_calls"][0]["function"]["arguments"]) == {"n": "x"}
        assert (answered["role"], answered["tool_call_id"]) == ("tool", called["tool_calls"][0]["id"])
        assert "an integer is wanted" in answered["content"]
        assert broken == {"role": "assistant", "content": "{n"}
        assert "not a JSON object" in reasons["content"]

    def test_messages(self) -> None:
        server = ModelServer()
        try:
            server.says(
                message("hm", ("output", {"n": "x"})), message("text alone"), message(None, ("output", {"n": 1}))
            )
            assert ask(AnthropicModel("m", KEY, server.url)) == {"n": 1}
            bodies = server.bodies
        finally:
            server.close()
        assert [body["tool_choice"] for body in bodies] == [{"type": "tool", "name": "output"}] * 3
        called, answered, words, reasons = bodies[2]["messages"][1:]
        assert [block["type"] for block in called["content"]] == ["text", "tool_use"]
        assert answered["content"][0]["tool_use_id"] == called["content"][1]["id"]
        assert answered["content"][0]["is_error"]
        assert (words["content"], "was not called" in reasons["content"]) == ("text alone", True)

    def test_nonsense_for_ever_ends(self) -> None:
        """S49."""
        server = ModelServer()
        try:
            server.says(completion("I would rather talk"))
            with pytest.raises(TaskError, match="in 4 tries"):
                ask(OpenAIModel("m", KEY, server.url))
            assert len(server.asked) == 4
        finally:
            server.close()
