"""The official SDKs against a server of our own: what is sent, what comes of the answers, what is told of failures."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import anthropic.resources.messages  # noqa: F401 - before any clock runs: it takes a second
import openai.resources.chat  # noqa: F401
import pytest
from hypothesis import given
from hypothesis import strategies as st

import plait
from answering_server import answer, data
from model_server import KEY, ModelServer, completion, hang_up, message, refusal, slow
from plait.errors import HttpError, MissingExtra, UsageError
from plait.models import AnthropicModel, Message, Model, OpenAIModel, Reply, Stop, Tool, ToolCall, Usage, clients
from plait.models import anthropic as anthropic_models
from plait.models import openai as openai_models
from plait.models.openai import OPENAI_URL

pytestmark = pytest.mark.realtime

LOOK = Tool("look", "Looks it up.", {"type": "object", "properties": {"at": {"type": "string"}}})
TALK = [
    Message("user", "where?"),
    Message("assistant", "let me see", (ToolCall("c1", "look", {"at": "x"}), ToolCall("c2", "look", {"at": "y"}))),
    Message("tool", "no such place", call_id="c1", failed=True),
    Message("tool", "there", call_id="c2"),
    Message("user", "and now?"),
]
KINDS = ("openai", "anthropic")


@pytest.fixture
def models() -> Iterator[ModelServer]:
    found = ModelServer()
    yield found
    found.close()
    gc.collect()  # what was left open is found here, and not by some later test


def model(kind: str, server: ModelServer) -> Model:
    if kind == "openai":
        return OpenAIModel("some-model", KEY, f"{server.url}/v1")
    return AnthropicModel("some-model", KEY, server.url)


def good(kind: str, *given: Any, **options: Any) -> Any:
    return completion(*given, **options) if kind == "openai" else message(*given, **options)


HI = (Message("user", "hi"),)


def ask(asked: Model, messages: Any = HI, **options: Any) -> Reply:
    return asyncio.run(asked.ask(messages, **options))


def failed(asked: Model) -> HttpError:
    with pytest.raises(HttpError) as caught:
        ask(asked)
    return caught.value


NAMES = (
    "choices", "message", "content", "tool_calls", "function", "arguments", "name", "id", "usage", "prompt_tokens", "input_tokens",
    "prompt_tokens_details", "cached_tokens", "cost", "error", "code", "type", "text", "input", "stop_reason", "finish_reason", "refusal",
)  # fmt: skip


class TestWhatIsSent:
    def test_chat_completions(self, models: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
        """S46 S48: tools are those that were given, and nothing else is offered."""
        monkeypatch.setenv("OPENAI_ORG_ID", "our-organisation")
        models.says(completion("yes"))
        ask(
            model("openai", models), TALK, tools=[LOOK], force="look", system="be short", max_tokens=99, temperature=0.5
        )
        asked = models.asked[0]
        assert (asked.method, asked.path, asked.headers["authorization"]) == (
            "POST",
            "/v1/chat/completions",
            f"Bearer {KEY}",
        )
        assert "openai-organization" not in asked.headers
        called = [
            {"id": name, "type": "function", "function": {"name": "look", "arguments": json.dumps({"at": at})}}
            for name, at in (("c1", "x"), ("c2", "y"))
        ]
        assert models.bodies == [
            {
                "model": "some-model",
                "messages": [
                    {"role": "system", "content": "be short"},
                    {"role": "user", "content": "where?"},
                    {"role": "assistant", "content": "let me see", "tool_calls": called},
                    {"role": "tool", "tool_call_id": "c1", "content": "no such place"},
                    {"role": "tool", "tool_call_id": "c2", "content": "there"},
                    {"role": "user", "content": "and now?"},
                ],
                "max_tokens": 99,
                "temperature": 0.5,
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "look",
                            "description": "Looks it up.",
                            "parameters": dict(LOOK.parameters),
                        },
                    }
                ],
                "tool_choice": {"type": "function", "function": {"name": "look"}},
            }
        ]

    def test_messages(self, models: ModelServer) -> None:
        """S46 S48: and the answers to all calls of a turn are one turn."""
        models.says(message("yes"))
        ask(
            model("anthropic", models),
            TALK,
            tools=[LOOK],
            force="look",
            system="be short",
            max_tokens=99,
            temperature=0.5,
        )
        asked = models.asked[0]
        assert (asked.method, asked.path) == ("POST", "/v1/messages")
        # By release of the SDK.
        assert KEY in (asked.headers.get("x-api-key"), asked.headers.get("authorization", "").removeprefix("Bearer "))
        assert asked.headers["anthropic-version"]
        assert models.bodies == [
            {
                "model": "some-model",
                "messages": [
                    {"role": "user", "content": "where?"},
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "text", "text": "let me see"},
                            {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "x"}},
                            {"type": "tool_use", "id": "c2", "name": "look", "input": {"at": "y"}},
                        ],
                    },
                    {
                        "role": "user",
                        "content": [
                            {"type": "tool_result", "tool_use_id": "c1", "content": "no such place", "is_error": True},
                            {"type": "tool_result", "tool_use_id": "c2", "content": "there"},
                            {"type": "text", "text": "and now?"},
                        ],
                    },
                ],
                "max_tokens": 99,
                "system": "be short",
                "temperature": 0.5,
                "tools": [{"name": "look", "description": "Looks it up.", "input_schema": dict(LOOK.parameters)}],
                "tool_choice": {"type": "tool", "name": "look"},
            }
        ]

    @pytest.mark.parametrize("kind", KINDS)
    def test_what_is_not_given_is_not_sent(self, models: ModelServer, kind: str) -> None:
        models.says(good(kind, "yes"))
        ask(model(kind, models))
        asked = {"model": "some-model", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4096}
        assert models.bodies == [asked]

    def test_openai_itself_knows_the_limit_by_its_newer_name(self) -> None:
        assert OpenAIModel("m", KEY)._limit == OpenAIModel("m", KEY, "https://eu.api.openai.com/v1")._limit
        assert OpenAIModel("m", KEY, OPENAI_URL)._limit == "max_completion_tokens"
        assert OpenAIModel("m", KEY, "https://notopenai.com/v1")._limit == "max_tokens"

    @pytest.mark.parametrize("kind", KINDS)
    def test_half_a_character_is_an_error_that_no_attempt_helps_against(self, models: ModelServer, kind: str) -> None:
        with pytest.raises(HttpError, match="half a character") as caught:
            ask(model(kind, models), [Message("user", "\ud800")])
        assert (caught.value.retryable, models.asked) == (False, [])


class TestWhatComes:
    def test_a_completion(self, models: ModelServer) -> None:
        usage = {
            "prompt_tokens": 90,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 40},
            "cost": 0.25,
        }
        models.says(
            completion("so", ("look", {"at": "x"}), ("look", "{broken"), ("look", "[1]"), usage=usage),
            completion("cut", finish="length"),
            completion(None, refusal="I will not"),
            completion("", finish="content_filter"),
            completion("hm", finish="whatever"),
        )
        found = [ask(model("openai", models)) for _ in range(5)]
        calls = (
            ToolCall("call_0", "look", {"at": "x"}, '{"at": "x"}'),
            ToolCall("call_1", "look", None, "{broken"),
            ToolCall("call_2", "look", None, "[1]"),
        )
        assert found[0] == Reply("so", calls, Usage(90, 5, 40, 0.25), Stop.CALLS)
        assert [(each.text, each.stop) for each in found[1:]] == [
            ("cut", Stop.LENGTH), ("I will not", Stop.REFUSED), ("", Stop.REFUSED), ("hm", Stop.OTHER),
        ]  # fmt: skip

    def test_a_message(self, models: ModelServer) -> None:
        usage = {
            "input_tokens": 50,
            "output_tokens": 5,
            "cache_read_input_tokens": 40,
            "cache_creation_input_tokens": 10,
        }
        models.says(
            message("so", ("look", {"at": "x"}), ("look", "text"), usage=usage),
            message("cut", stop="max_tokens"),
            message("no", stop="refusal"),
            message("hm", stop="pause_turn"),
        )
        found = [ask(model("anthropic", models)) for _ in range(4)]
        calls = (ToolCall("toolu_0", "look", {"at": "x"}), ToolCall("toolu_1", "look", None, "text"))
        assert found[0] == Reply("so", calls, Usage(100, 5, 40), Stop.CALLS)
        assert [(each.text, each.stop) for each in found[1:]] == [
            ("cut", Stop.LENGTH), ("no", Stop.REFUSED), ("hm", Stop.OTHER),
        ]  # fmt: skip

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(
        "odd",
        [
            answer("<html>hello</html>", content_type="text/html"),
            answer("{", content_type="application/json"),
            answer("", content_type="application/json"),
            answer("[" * 100_000, content_type="application/json"),
            answer(b"\xff\xfe", content_type="application/json"),
            data([1]),
            data({"choices": [], "content": 1}),
            data({"choices": [{"message": None}]}),
            data({"choices": [3]}),
        ],
    )
    def test_nonsense_is_an_error(self, models: ModelServer, kind: str, odd: Any) -> None:
        models.says(odd)
        error = failed(model(kind, models))
        assert "what came is no " in str(error)
        assert (error.status, error.retryable, len(models.asked)) == (200, False, 1)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=5)
                | st.fixed_dictionaries({"choices": st.lists(st.fixed_dictionaries({"message": inner}))})
                | st.fixed_dictionaries({"content": st.lists(inner)})
            ),
            max_leaves=20,
        )
    )
    def test_whatever_comes_is_an_answer_or_an_error(self, found: Any) -> None:
        for made in (openai_models._reply, anthropic_models._reply):
            try:
                reply = made(json.dumps(found), "somewhere", KEY)
            except HttpError as error:
                assert len(str(error)) < 1000
            else:
                assert isinstance(reply.text, str)
                assert (
                    min(reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.cached_tokens, reply.usage.usd)
                    >= 0
                )
                assert all(isinstance(call.id, str) and isinstance(call.name, str) for call in reply.calls)

    @pytest.mark.parametrize("kind", KINDS)
    def test_long_answers_may_take_their_time(self, models: ModelServer, kind: str) -> None:
        """The SDKs refuse what might take them ten minutes; ours have no clock."""
        models.says(good(kind, "yes"))
        assert ask(model(kind, models), max_tokens=10_000_000).text == "yes"

    @pytest.mark.parametrize("kind", KINDS)
    def test_odd_parts_of_an_answer_are_left_out(self, models: ModelServer, kind: str) -> None:
        parts = {
            "openai": {"choices": [{"message": {"content": 3, "tool_calls": [7, {"function": 3}]}, "finish_reason": []}], "usage": {"prompt_tokens": -4, "completion_tokens": True, "cost": "1"}},
            "anthropic": {"content": [7, {"type": "text", "text": 4}, {"type": "tool_use", "name": 3}], "stop_reason": 3, "usage": [5]},
        }  # fmt: skip
        models.says(data(parts[kind]))
        reply = ask(model(kind, models))
        assert (reply.text, reply.usage, reply.stop) == ("", Usage(), Stop.OTHER)
        assert [(call.id, call.name, call.arguments) for call in reply.calls] == [("", "", None)]


class TestFailures:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(
        ("status", "again"),
        [(400, False), (401, False), (403, False), (404, False), (422, False), (302, False), (408, True), (429, True), (500, True), (503, True), (529, True)],
    )  # fmt: skip
    def test_one_request_for_each_question_whatever_it_comes_to(
        self, models: ModelServer, kind: str, status: int, again: bool
    ) -> None:
        """B15: the SDKs try nothing again; what may go better is told, and everything else is not."""
        models.says(refusal(f"{status} Oh", "it was so", location=f"{models.url}/elsewhere"))
        error = failed(model(kind, models))
        assert (error.status, error.retryable, len(models.asked)) == (status, again, 1)
        assert str(error).endswith(f": {status} Oh: it was so")
        assert "some-model" in str(error)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(
        ("headers", "seconds", "again"),
        [
            ({"Retry_After": "7"}, 7, True),
            ({"Retry_After": "0.5"}, 0.5, True),
            ({"Retry_After_Ms": "250", "Retry_After": "7"}, 0.25, True),
            ({"Retry_After": "soon"}, 0, True),
            ({"Retry_After": "nan"}, 0, True),
            ({"Retry_After": "Mon, 01 Jan 2001 00:00:00 GMT"}, 0, True),
            ({"Retry_After": "7200"}, 7200, False),
        ],
    )
    def test_how_long_a_provider_wants_to_be_left_alone(
        self, models: ModelServer, kind: str, headers: Any, seconds: float, again: bool
    ) -> None:
        """X5."""
        models.says(refusal("429 Slow", **headers))
        error = failed(model(kind, models))
        assert (error.retry_after, error.retryable) == (seconds, again)

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_429_slows_the_bucket_and_counts_no_attempt(self, models: ModelServer, kind: str) -> None:
        """X5 B15."""
        models.says(
            refusal("429 Slow", retry_after_ms="20"), refusal("429 Slow", retry_after_ms="20"), good(kind, "ok")
        )

        @plait.task(rate_limit="100/s")
        async def question() -> str:
            return (await model(kind, models).ask(HI)).text

        graph = plait.Graph("g")
        graph.add("question", question.bind())
        result = plait.run(graph, raise_on_failure=False)
        assert (result["question"].value, len(models.asked)) == ("ok", 3)

    def test_no_money_is_not_waited_for(self, models: ModelServer) -> None:
        models.says(answer(json.dumps({"error": {"message": "pay", "code": "insufficient_quota"}}), "429 Slow"))
        assert not failed(model("openai", models)).retryable

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_broken_connection_may_go_better(self, models: ModelServer, kind: str) -> None:
        models.says(hang_up)
        error = failed(model(kind, models))
        assert (error.status, error.retryable, len(models.asked)) == (None, True, 1)
        nobody = (
            AnthropicModel("m", KEY, "http://127.0.0.1:9")
            if kind == "anthropic"
            else OpenAIModel("m", KEY, "http://127.0.0.1:9")
        )
        error = failed(nobody)
        assert error.retryable
        assert "127.0.0.1:9" in str(error)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(
        "said",
        [
            f"Incorrect API key provided: {KEY}",
            "Incorrect API key provided: sk-te**********ghij. Look at https://example.com",
            "the key sk-te...ghij is none",
            f"{KEY[:14]} what is this",
        ],
    )
    def test_no_message_shows_the_key(self, models: ModelServer, kind: str, said: str) -> None:
        """Nor a part of it, as providers like to show."""
        models.says(refusal("401 Who", said))
        error = failed(model(kind, models))
        for text in (str(error), error.body, repr(model(kind, models))):
            assert not any(KEY[at : at + 6] in text for at in range(len(KEY) - 5))
            assert "ghij" not in text
        assert "[REDACTED]" in str(error)

    @pytest.mark.parametrize("kind", KINDS)
    def test_what_a_provider_says_is_shortened(self, models: ModelServer, kind: str) -> None:
        models.says(refusal("400 Bad", "x y " * 10_000))
        assert len(str(failed(model(kind, models)))) < 700
        models.says(answer("plain words", "500 Oh"))
        assert str(failed(model(kind, models))).endswith(": 500 Oh: plain words")

    def test_what_went_wrong_behind_a_router_is_told_with_a_status_of_200(self, models: ModelServer) -> None:
        models.says(
            data({"error": {"message": "all busy", "code": 429}}),
            data({"error": {"message": "odd", "code": "x"}}),
            data({"choices": [{"message": {"content": ""}, "error": {"message": "too long", "code": 400}}]}),
        )
        found = [failed(model("openai", models)) for _ in range(3)]
        assert [(each.status, each.retryable) for each in found] == [(429, True), (502, True), (400, False)]
        assert "all busy" in str(found[0])

    @pytest.mark.parametrize(("kind", "package"), [("openai", "openai"), ("anthropic", "anthropic")])
    def test_without_the_package_the_error_says_what_to_install(
        self, models: ModelServer, monkeypatch: pytest.MonkeyPatch, kind: str, package: str
    ) -> None:
        """B18."""
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtra, match=rf"the package '{package}': pip install \"plait\[ai\]\""):
            ask(model(kind, models))

    @pytest.mark.parametrize("url", ["", "ftp://x", "http://me:secret@x", "https://x?key=1", "x/v1", "http://x y"])
    def test_an_address_that_cannot_be(self, url: str) -> None:
        with pytest.raises(UsageError, match="the base URL of OpenAI") as caught:
            OpenAIModel("m", KEY, url)
        assert "secret" not in str(caught.value)
        with pytest.raises(UsageError, match="the base URL of Anthropic"):
            AnthropicModel("m", KEY, url)

    @pytest.mark.parametrize("key", ["", "with blank", "line\n", "é"])
    def test_a_key_that_cannot_be(self, key: str) -> None:
        for kind in (OpenAIModel, AnthropicModel):
            with pytest.raises(UsageError, match="the key of") as caught:
                kind("m", key)
            assert not key.strip() or key.strip() not in str(caught.value)


class TestConnections:
    def test_a_package_is_imported_in_a_thread(self) -> None:
        """It takes a second, and the loop has others to serve."""

        async def main() -> None:
            assert await clients.loaded("no.such.module", threading.current_thread) is not threading.current_thread()
            assert await clients.loaded("sys", threading.current_thread) is threading.current_thread()

        asyncio.run(main())

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_question_that_is_cancelled_closes_its_connection(self, models: ModelServer, kind: str) -> None:
        models.says(slow)

        async def main() -> None:
            asking = asyncio.create_task(model(kind, models).ask(HI))
            await asyncio.to_thread(models.asking.wait, 20)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert await asyncio.to_thread(models.left.wait, 20)
            assert not clients._CLIENTS[asyncio.get_running_loop()]

        asyncio.run(main())
        assert len(models.asked) == 1

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_timeout_closes_its_connection(self, models: ModelServer, kind: str) -> None:
        models.says(slow)

        @plait.task(timeout=1)
        async def question() -> str:
            return (await model(kind, models).ask(HI)).text

        graph = plait.Graph("g")
        graph.add("question", question.bind())
        result = plait.run(graph, raise_on_failure=False)
        assert models.left.wait(20)
        assert str(result["question"].status) == "timed_out"
        assert len(models.asked) == 1

    @pytest.mark.parametrize("kind", KINDS)
    def test_questions_at_once_share_a_client_and_the_last_one_closes_it(self, models: ModelServer, kind: str) -> None:
        models.answers = {"/hold": good(kind, "yes"), "/": good(kind, "yes")}

        async def main() -> list[Reply]:
            asked = model(kind, models)
            first = await asked.ask(HI)
            held = asyncio.create_task(_both(asked))
            replies = await held
            assert not clients._CLIENTS[asyncio.get_running_loop()]
            return [first, *replies]

        async def _both(asked: Model) -> list[Reply]:
            both = asyncio.gather(*(asked.ask(HI) for _ in range(5)))
            await asyncio.sleep(0)
            open_now = clients._CLIENTS[asyncio.get_running_loop()]
            assert [users for _, users in open_now.values()] == [5]
            return list(await both)

        assert [each.text for each in asyncio.run(main())] == ["yes"] * 6


class TestSpending:
    """A19 S49: what every answer used up is counted for the task that asked."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_tokens_are_counted(self, models: ModelServer, kind: str) -> None:
        models.says(good(kind, "yes"))

        @plait.task
        async def question() -> str:
            asked = model(kind, models)
            await asked.ask(HI)
            return (await asked.ask(HI)).text

        graph = plait.Graph("g")
        graph.add("question", question.bind())
        result = plait.run(graph, raise_on_failure=False)
        assert result.spent == {"tokens": 20, "input_tokens": 14, "output_tokens": 6}

    def test_what_was_cached_and_what_it_cost_too(self, models: ModelServer) -> None:
        usage = {
            "prompt_tokens": 90,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 40},
            "cost": 0.25,
        }
        models.says(completion("yes", usage=usage))

        @plait.task
        def question() -> str:  # in a thread, on a loop of its own
            return ask(model("openai", models)).text

        graph = plait.Graph("g")
        graph.add("question", question.bind())
        result = plait.run(graph, raise_on_failure=False)
        assert result.spent == {
            "tokens": 95, "input_tokens": 90, "output_tokens": 5, "cached_tokens": 40, "usd": 0.25,
        }  # fmt: skip

    def test_a_budget_stops_what_has_not_started(self, models: ModelServer) -> None:
        models.says(completion("yes"))

        @plait.task
        async def question(_: int) -> str:
            return (await model("openai", models).ask(HI)).text

        graph = plait.Graph("g")
        for at in range(9):
            graph.add(f"q{at}", question.bind(at))
        result = plait.run(graph, raise_on_failure=False, max_concurrency=1, budget={"tokens": 30})
        assert (len(models.asked), result.spent["tokens"]) == (3, 30)
