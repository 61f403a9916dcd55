"""HTTP sources and sinks, against a server on this machine."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import socket
from typing import Any
from urllib.parse import parse_qs

import pytest

from answering_server import Answer, Asked, Server, answer, data
from node_runs import arun_node, failure, run_node
from plait.calls.http import MOST_BYTES
from plait.errors import HttpError
from plait.nodes import given, oauth
from plait.nodes.http import HttpSink, HttpSource
from plait.nodes.oauth import Client
from plait.nodes.schemas import parse

pytestmark = pytest.mark.realtime


def get(url: str, where: Any = None, **fields: Any) -> Any:
    return run_node(HttpSource, {"url": url, **fields}, **(where or {}))


def refused(url: str, where: Any = None, **fields: Any) -> Any:
    return failure(HttpSource, {"url": url, **fields}, **(where or {}))


class TestSource:
    """D8."""

    def test_what_comes_is_what_its_content_type_says(self, server: Server) -> None:
        server.answers = {
            "/json": data({"a": [1, None]}),
            "/text": answer("[1]", content_type="text/plain"),
            "/unknown": answer('{"a": 1}'),
            "/words": answer("no json"),
            "/odd": answer("[1]", content_type="application/octet-stream"),
            "/empty": answer("", content_type="application/json"),
        }
        found = [get(f"{server.url}{path}") for path in server.answers]
        assert found == [{"a": [1, None]}, "[1]", {"a": 1}, "no json", [1], None]

    def test_a_template_in_an_answer_is_text(self, server: Server) -> None:
        """S50."""
        server.answers = {"/": data({"{{a}}": "{{ 1 + 1 }}"})}
        assert get(server.url) == {"{{a}}": "{{ 1 + 1 }}"}
        run_node(HttpSink, {"url": server.url}, "${{ x }}")
        assert server.asked[-1].body == b"${{ x }}"

    def test_a_body_that_is_too_large_or_grows_without_measure(self, server: Server) -> None:
        """S44."""
        server.answers = {
            "/packed": answer(gzip.compress(b"0" * 20_000_000), content_encoding="gzip"),
            "/large": answer(b"0" * (MOST_BYTES + 1)),
        }
        assert "grows to more than 100 times its size" in str(refused(f"{server.url}/packed"))
        assert "its body has more than 67,108,864 bytes" in str(refused(f"{server.url}/large"))

    def test_what_is_sent(self, server: Server) -> None:
        server.answers = {"/": answer("ok")}
        get(
            f" {server.url}/a b?x=1 ",
            method="post",
            params={"q": "ä &", "n": 2.0, "tags": ["a", True, None], "left": None, "o": {"k": [1]}},
            headers={"X-Number": 3, "X-None": None, "X-Yes": True},
            body={"a": [1.0, None, "ä"]},
        )
        asked = server.asked[0]
        assert asked.method == "POST"
        path, _, query = asked.path.partition("?")
        assert path == "/a%20b"
        assert parse_qs(query) == {"x": ["1"], "q": ["ä &"], "n": ["2"], "tags": ["a", "true"], "o": ['{"k":[1]}']}
        assert (asked.headers["x-number"], asked.headers["x-yes"]) == ("3", "true")
        assert "x-none" not in asked.headers
        assert asked.headers["content-type"] == "application/json"
        assert asked.body == '{"a":[1,null,"ä"]}'.encode()

    @pytest.mark.parametrize(
        ("body", "kind", "sent"),
        [
            ("a=1", "text/plain; charset=utf-8", b"a=1"),
            (' {"a": 1}', "application/json", b' {"a": 1}'),
            ("{oops", "text/plain; charset=utf-8", b"{oops"),
            ([], "application/json", b"[]"),
            (False, "application/json", b"false"),
            (0, "application/json", b"0"),
        ],
    )
    def test_a_body_is_json_unless_it_is_text(self, server: Server, body: Any, kind: str, sent: bytes) -> None:
        get(server.url, method="PUT", body=body)
        get(server.url, method="PUT", body=body, headers={"content-type": "a/b"})
        assert [each.body for each in server.asked] == [sent, sent]
        assert [each.headers["content-type"] for each in server.asked] == [kind, "a/b"]

    def test_head_has_no_body(self, server: Server) -> None:
        server.answers = {"/": data({"a": 1})}
        assert get(server.url, method="HEAD") is None
        assert server.asked[0].method == "HEAD"

    def test_extract_and_then_validate(self, server: Server) -> None:
        server.answers = {"/": data({"items": [{"id": 1}, {"id": "x"}]})}
        assert get(server.url, extract="$.items[0].id") == 1
        assert get(server.url, extract="items[].id", validate="(integer | string)[]") == [1, "x"]
        where = {"schemas": {"Item": {"id": "integer"}, "Any": "any", "Made": parse("{id: integer}[]")}}
        assert get(server.url, where, extract="items[0]", validate="Item") == {"id": 1}
        error = refused(server.url, where, extract="items", validate="Made")
        assert str(error) == (
            f'{server.url}: the answer is not what `validate` says: $[1].id: must be an integer, not "x"'
        )
        assert not error.retryable
        assert "$.items: must be a string" in str(refused(server.url, validate={"items": "string"}))
        assert "validate: 'Itm' is no schema: there is no type 'Itm'" in str(refused(server.url, where, validate="Itm"))
        assert "schemas of the file: Item, Any, Made" in str(refused(server.url, where, validate="Itm"))
        assert "is no JMESPath expression" in str(refused(server.url, extract="a["))

    def test_tries(self) -> None:
        """Three more where it only reads, and the file says so."""
        for said, names, tries in (
            ({}, (), 3),
            ({"method": "GET"}, ("method",), 3),
            ({"method": "HEAD"}, ("method",), 3),
            ({"method": "POST"}, ("method",), 0),
            ({}, ("method",), 0),
        ):
            assert HttpSource.tries_after(said, frozenset(names)) == tries
        assert HttpSink.tries_after({}) == 0

    def test_fields_and_their_defaults(self) -> None:
        found = given(HttpSource, {"url": "u", "timeout": "5s"})
        assert (found["method"], found["timeout"], found["body"]) == ("GET", 5.0, None)
        assert given(HttpSink, {"url": "u"})["timeout"] == 30.0
        assert given(HttpSink, {"url": "u"})["method"] == "POST"
        assert {name: each.section for name, each in HttpSource.fields.items()} == {
            **dict.fromkeys(("method", "url", "headers", "params", "body", "auth", "timeout"), "request"),
            **dict.fromkeys(("extract", "validate"), "response"),
        }

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"method": "BREW"}, "n: method: it is one of GET"),
            ({"headers": ["a"]}, "n: headers: it is a mapping"),
            ({"headers": {"X-A": "very-secret\r\nX-B: 1"}}, "n: headers: the value of X-A has a line break"),
            ({"headers": {"X-A": "very-secret\n"}}, ""),
            ({"headers": {"X-A\r\nX-B": "1"}}, "is no name of a header"),
            ({"headers": {"X-A": "\0very-secret"}}, "the value of X-A"),
            ({"params": 3}, "n: params: it is a mapping"),
            ({"auth": {"type": "magic", "token": "very-secret"}}, "n: auth: it needs a type: bearer, basic, oauth2"),
            ({"auth": "very-secret"}, "n: auth: it is a mapping"),
            ({"auth": {"type": "basic", "username": "very-secret"}}, "basic needs password, username and nothing else"),
            ({"auth": {"type": "bearer", "token": "very-secret\r\nX: 1"}}, "n: auth: token is empty, or has"),
            ({"auth": {"type": "bearer", "token": None}}, "bearer needs token"),
            (
                {"auth": {"type": "oauth2", "token_url": "u"}},
                "oauth2 needs client_id, client_secret, token_url, may have scope,",
            ),
            ({"timeout": "soon"}, "n: timeout: a duration is such as"),
            ({"url": "http://127.0.0.1/\r\nX: 1"}, "url: it is empty, or has line breaks"),
            ({"url": "file:///etc/passwd"}, "only http and https URLs"),
            ({"url": ""}, "url: it is empty"),
            ({"body": "\ud800"}, "body: it holds half a character"),
            ({"auth": {"type": "basic", "username": "\ud800", "password": "very-secret"}}, "half a character"),
            ({"params": {"a": "\ud800"}}, "is no URL that can be asked"),
        ],
    )
    def test_a_request_that_cannot_be(self, server: Server, fields: dict[str, Any], said: str) -> None:
        """S43: no secret is repeated."""
        if not said:  # blanks around a value are none of it
            get(server.url, **fields)
            assert server.asked[0].headers["x-a"] == "very-secret"
            return
        error = refused(**{"url": server.url, **fields})
        assert said in str(error)
        assert "very-secret" not in str(error)
        assert not error.retryable
        assert server.asked == []


class TestErrors:
    """D8."""

    @pytest.mark.parametrize(
        ("status", "again"),
        [(400, False), (401, False), (404, False), (408, True), (425, False), (429, True), (500, True), (501, True), (599, True)],
    )  # fmt: skip
    def test_which_statuses_may_do_better(self, server: Server, status: int, again: bool) -> None:
        server.answers = {"/": answer("why", f"{status} Oh")}
        error = refused(server.url)
        assert isinstance(error, HttpError)
        assert (error.status, error.retryable, error.body) == (status, again, "why")

    def test_when_to_come_again_is_said(self, server: Server) -> None:
        server.answers = {"/": [answer("", "429 Slow", retry_after=7), answer("", "503 Later", retry_after=99999)]}
        first, second = refused(server.url), refused(server.url)
        assert (first.retry_after, first.retryable) == (7, True)
        assert not second.retryable

    def test_no_answer_at_all_may_do_better(self, server: Server) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            error = refused(f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert (error.status, error.retryable) == (None, True)
        server.answers = {"/": lambda asked: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"}
        assert refused(server.url).retryable
        server.answers = {"/": answer("{", content_type="application/json")}
        assert not refused(server.url).retryable


class TestSink:
    """D8."""

    def test_the_input_is_sent(self, server: Server) -> None:
        server.answers = {
            "/": data({"id": 7}, X_Name="v"),
            "/text": answer("ok", "201 Created", content_type="text/plain"),
        }
        found = run_node(HttpSink, {"url": server.url}, [{"a": 1}])
        assert (found["status"], found["headers"]["x-name"], found["body"]) == (200, "v", {"id": 7})
        assert set(found) == {"status", "headers", "body"}
        assert run_node(HttpSink, {"url": f"{server.url}/text", "method": "PATCH"}, "text")["status"] == 201
        run_node(HttpSink, {"url": server.url, "body": {"own": True}}, "text")
        run_node(HttpSink, {"url": server.url})
        run_node(HttpSink, {"url": server.url, "method": "HEAD"}, "text")
        assert [each.method for each in server.asked] == ["POST", "PATCH", "POST", "POST", "HEAD"]
        assert [each.body for each in server.asked] == [b'[{"a":1}]', b"text", b'{"own":true}', b"", b""]

    def test_extract_and_validate_are_of_the_body(self, server: Server) -> None:
        server.answers = {"/": data({"id": 7})}
        assert run_node(HttpSink, {"url": server.url, "extract": "id", "validate": "integer"}, 1)["body"] == 7
        assert "$: must be a string" in str(failure(HttpSink, {"url": server.url, "validate": "string"}, 1))
        server.answers = {"/": answer("", "500 Oh")}
        assert failure(HttpSink, {"url": server.url}, 1).status == 500


class TestPrivateNetworks:
    """S43."""

    def test_data_does_not_lead_into_them(self, server: Server) -> None:
        error = refused(server.url, {"from_data": frozenset(("url",))})
        assert "leads into a private network (127.0.0.1), and comes from data or a redirect" in str(error)
        assert "write its server into the file" in str(error)
        assert not error.retryable
        assert "private network" in str(failure(HttpSink, {"url": server.url}, 1, from_data=frozenset(("url",))))
        assert server.connections == 0
        get(server.url, where={"from_data": frozenset(("body", "params"))})
        assert server.connections == 1

    def test_nor_does_the_url_of_tokens(self, server: Server) -> None:
        auth = {"type": "oauth2", "token_url": f"{server.url}/token", "client_id": "i", "client_secret": "s"}
        for names in ("auth", "auth.token_url"):
            error = refused(server.url, {"from_data": frozenset((names,))}, auth=auth)
            assert "private network" in str(error)
            assert not error.retryable
        assert server.connections == 0

    def test_what_was_written_down_leads_to_its_own_machine_alone(self, server: Server, other: Server) -> None:
        server.answers = {
            "/metadata": answer("", "302 Found", location="http://169.254.169.254/latest"),
            "/inside": answer("", "302 Found", location="http://10.0.0.1/"),
            "/file": answer("", "302 Found", location="file:///etc/passwd"),
            "/here": answer("", "302 Found", location=f"{other.url}/end"),
        }
        other.answers = {"/end": answer("end")}
        for path in ("/metadata", "/inside"):
            assert "leads into a private network" in str(refused(f"{server.url}{path}"))
        assert "only http and https" in str(refused(f"{server.url}/file"))
        assert get(f"{server.url}/here") == "end"

    def test_credentials_stay_with_their_server(self, server: Server, other: Server) -> None:
        """S45."""
        server.answers = {"/": answer("", "307 There", location=f"{other.url}/end")}
        other.answers = {"/end": answer("end")}
        get(server.url, auth={"type": "bearer", "token": "t"}, headers={"X-Key": "k"})
        assert server.asked[0].headers["authorization"] == "Bearer t"
        assert not {"authorization", "x-key"} & set(other.asked[0].headers)


class Tokens:
    """A server of tokens, and one that wants them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.given: list[str] = []
        self.good: set[str] = set()
        self.expires: Any = 3600
        self.wants_basic = False
        server.answers = {"/token": self.token, "/api": self.api, "/echo": self.echo}

    def token(self, asked: Asked) -> bytes:
        if self.wants_basic and "authorization" not in asked.headers:
            return answer('{"error": "invalid_client"}', "401 No")(asked)
        self.given.append(f"tok-{len(self.given)}-secret")
        self.good.add(self.given[-1])
        life = {} if self.expires is None else {"expires_in": self.expires}
        return data({"access_token": self.given[-1], "token_type": "Bearer", **life})(asked)

    def api(self, asked: Asked) -> bytes:
        held = asked.headers.get("authorization", "").removeprefix("Bearer ")
        return self.echoed(asked, "200 OK") if held in self.good else self.echoed(asked, "401 No")

    def echo(self, asked: Asked) -> bytes:
        return self.echoed(asked, "418 Teapot")

    def echoed(self, asked: Asked, status: str) -> bytes:
        said: Answer = answer(json.dumps(dict(asked.headers)), status, content_type="application/json")
        return said(asked)

    def auth(self, **more: Any) -> dict[str, Any]:
        return {
            "type": "oauth2", "token_url": f"{self.server.url}/token", "client_id": "me", "client_secret": "s:e&c", **more,
        }  # fmt: skip

    def get(self, path: str = "/api", **more: Any) -> Any:
        return get(f"{self.server.url}{path}", auth=self.auth(**more))

    @property
    def asked(self) -> list[Asked]:
        return [each for each in self.server.asked if each.path == "/token"]


@pytest.fixture
def tokens(server: Server, monkeypatch: pytest.MonkeyPatch) -> Tokens:
    monkeypatch.setattr(oauth, "_KEPT", {})
    return Tokens(server)


class TestAuth:
    """D8."""

    def test_bearer_and_basic(self, server: Server) -> None:
        get(server.url, auth={"type": "bearer", "token": " t "})
        get(server.url, auth='{"type": "basic", "username": "ü", "password": "p:q"}')
        get(server.url, auth={"type": "basic", "username": 1, "password": 2}, headers={"authorization": "Own"})
        sent = [each.headers["authorization"] for each in server.asked]
        assert sent == ["Bearer t", f"Basic {base64.b64encode('ü:p:q'.encode()).decode()}", "Own"]

    def test_a_token_is_fetched_once(self, tokens: Tokens) -> None:
        for _ in range(3):
            tokens.get(scope="read write")
        (asked,) = tokens.asked
        assert asked.method == "POST"
        assert parse_qs(asked.body.decode()) == {
            "grant_type": ["client_credentials"], "client_id": ["me"], "client_secret": ["s:e&c"], "scope": ["read write"],
        }  # fmt: skip
        assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
        assert tokens.server.asked[-1].headers["authorization"] == "Bearer tok-0-secret"
        tokens.get(scope="other")
        tokens.get(client_id="you", scope="other")
        tokens.get(client_secret="other", scope="other")
        tokens.get()
        assert len(tokens.asked) == 5

    @pytest.mark.parametrize(
        ("expires", "until"), [(3600, 3570), (100, 90), ("100", 90), (None, 3570), (0, 0), (10**400, 1e9 - 30)]
    )
    def test_until_it_ends(self, tokens: Tokens, monkeypatch: pytest.MonkeyPatch, expires: Any, until: float) -> None:
        now = [1000.0]
        monkeypatch.setattr(oauth, "_clock", lambda: now[0])
        tokens.expires = expires
        tokens.get()
        if until:
            now[0] = 1000 + until - 1
            tokens.get()
            assert len(tokens.asked) == 1
        now[0] = 1000 + until
        tokens.get()
        assert len(tokens.asked) == 2

    def test_who_asks_at_once_waits_for_the_same(self, tokens: Tokens) -> None:
        async def main() -> None:
            fields = {"url": f"{tokens.server.url}/api", "auth": tokens.auth()}
            await asyncio.gather(*(arun_node(HttpSource, fields) for _ in range(10)))

        asyncio.run(main())
        assert len(tokens.asked) == 1

    def test_a_token_that_is_refused_is_renewed_once(self, tokens: Tokens) -> None:
        tokens.get()
        tokens.good.clear()
        tokens.get()
        assert len(tokens.asked) == 2
        assert tokens.server.asked[-1].headers["authorization"] == "Bearer tok-1-secret"

        def never(asked: Asked) -> bytes:
            return tokens.echoed(asked, "401 No")

        tokens.server.answers["/api"] = never
        error = refused(f"{tokens.server.url}/api", auth=tokens.auth())
        assert (error.status, error.retryable) == (401, False)
        assert len(tokens.asked) == 3

    def test_many_whose_token_is_refused_renew_it_once(self, tokens: Tokens) -> None:
        tokens.get()
        tokens.good.clear()

        async def main() -> None:
            fields = {"url": f"{tokens.server.url}/api", "auth": tokens.auth()}
            await asyncio.gather(*(arun_node(HttpSource, fields) for _ in range(5)))

        asyncio.run(main())
        assert len(tokens.asked) == 2

    def test_who_is_cancelled_takes_nobody_along(self, tokens: Tokens) -> None:
        server = tokens.server
        server.hold_until = 2
        server.answers["/hold"] = tokens.token

        async def main() -> None:
            fields = {"url": f"{server.url}/api", "auth": tokens.auth(token_url=f"{server.url}/hold")}
            one, two, three = (asyncio.create_task(arun_node(HttpSource, fields)) for _ in range(3))
            while not server.asked:
                await asyncio.sleep(0)
            one.cancel()
            await asyncio.wait((one,))
            assert not two.done()
            await arun_node(HttpSource, {"url": f"{server.url}/other"})  # which opens the door
            await asyncio.gather(two, three)

        asyncio.run(main())
        assert len(tokens.given) == 1

    def test_when_nobody_waits_any_more_it_is_not_fetched(self, tokens: Tokens) -> None:
        server = tokens.server

        async def main() -> None:
            fields = {"url": f"{server.url}/api", "auth": tokens.auth(token_url=f"{server.url}/hold")}
            one = asyncio.create_task(arun_node(HttpSource, fields))
            while not server.asked:
                await asyncio.sleep(0)
            one.cancel()
            await asyncio.wait((one,))
            assert one.cancelled()
            assert asyncio.all_tasks() == {asyncio.current_task()}

        asyncio.run(main())

    def test_a_server_may_want_the_secret_as_basic(self, tokens: Tokens) -> None:
        tokens.wants_basic = True
        tokens.get()
        first, second = tokens.asked
        assert "authorization" not in first.headers
        pair = base64.b64decode(second.headers["authorization"].removeprefix("Basic ")).decode()
        assert pair == "me:s%3Ae%26c"
        assert "client_secret" not in second.body.decode()

    def test_no_token_shows_anywhere(self, tokens: Tokens) -> None:
        """D11, S43."""
        found = tokens.get()
        assert found["authorization"] == "Bearer [REDACTED]"
        error = refused(f"{tokens.server.url}/echo", auth=tokens.auth())
        assert error.status == 418
        assert "[REDACTED]" in error.body
        assert "tok-0-secret" not in f"{error!r}{error}{error.body}{error.__cause__}"
        client = Client("http://x", "me", "very-secret")
        assert "very-secret" not in repr(client)

    @pytest.mark.parametrize(
        ("said", "why", "again"),
        [
            (answer('{"error": "invalid_scope", "echo": "s:e&c"}', "400 Bad"), "answered 400 (invalid_scope)", False),
            (answer("s:e&c", "503 Down"), "answered 503", True),
            (answer("no json"), "its body is not JSON", False),
            (data([]), "answered without an access_token", False),
            (data({"access_token": ""}), "answered without an access_token", False),
            (data({"access_token": "a\r\nX: 1"}), "answered without an access_token", False),
        ],
    )
    def test_where_no_token_is_given(self, tokens: Tokens, said: Answer, why: str, again: bool) -> None:
        tokens.server.answers["/token"] = said
        error = refused(f"{tokens.server.url}/api", auth=tokens.auth())
        assert isinstance(error, HttpError)
        assert why in str(error)
        assert "auth: " in str(error)
        assert error.retryable is again
        assert "s:e&c" not in f"{error!r}{error.body}"
        assert [each.path for each in tokens.server.asked if each.path == "/api"] == []
