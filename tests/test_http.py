"""HTTP requests as tasks: what comes of a response, where a request may lead, what it may cost."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

import plait
from answering_server import Server, answer, data
from plait.calls import http as calls
from plait.calls.http import LONGEST_RETRY_AFTER_S, is_public
from plait.errors import HttpError, UsageError
from plait.testing import VirtualClock

pytestmark = pytest.mark.realtime


def failure(node: plait.Node[Any], **options: Any) -> HttpError:
    graph = plait.Graph("one")
    graph.add("request", node)
    error = plait.run(graph, raise_on_failure=False, **options)["request"].error
    assert isinstance(error, HttpError), error
    return error


class TestValues:
    def test_a_body_is_what_its_content_type_says(self, server: Server) -> None:
        server.answers = {
            "/json": data({"a": [1, 2.5, None]}),
            "/problem": answer('{"b": 1}', content_type="application/problem+json; charset=utf-8"),
            "/text": answer("[1]", content_type="text/plain"),
            "/latin": answer("é".encode("latin-1"), content_type="text/plain; charset=latin-1"),
            "/odd": answer("é".encode(), content_type="text/plain; charset=no-such"),
            "/unknown": answer("[1]"),
            "/words": answer("no json"),
            "/empty": answer(b"", content_type="application/json"),
        }
        values = plait.run([plait.http(f"{server.url}{path}") for path in server.answers])
        assert values == [{"a": [1, 2.5, None]}, {"b": 1}, "[1]", "é", "é", [1], "no json", None]

    def test_or_what_it_is_asked_for(self, server: Server) -> None:
        server.answers = {"/": data({"a": 1}, X_Name="v"), "/bad": answer("{", content_type="application/json")}
        ask = plait.http
        assert plait.run([ask(server.url, output="text"), ask(server.url, output="bytes")]) == ['{"a": 1}', b'{"a": 1}']
        whole = plait.run(ask(server.url, output="response"))
        assert (whole["status"], whole["headers"]["x-name"], whole["body"]) == (200, "v", {"a": 1})
        assert "its body is not JSON" in str(failure(ask(f"{server.url}/bad")))

    def test_extract_picks_from_it(self, server: Server) -> None:
        server.answers = {"/": data({"items": [{"n": 1}, {"n": 2}]})}
        nodes = [plait.http(server.url, extract=each) for each in ("items[].n", "$.items[0]", "$", "nothing")]
        assert plait.run(nodes) == [[1, 2], {"n": 1}, {"items": [{"n": 1}, {"n": 2}]}, None]
        assert "extract 'abs(items)'" in str(failure(plait.http(server.url, extract="abs(items)")))

    def test_what_is_sent(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        server.answers = {"/": answer("ok")}

        @plait.task
        async def token() -> str:
            return "t1"

        monkeypatch.setenv("MY_PASSWORD", "p")
        basic = {"type": "basic", "username": "u", "password_env": "MY_PASSWORD"}
        plait.run(plait.http(f"{server.url}?a=1", params={"b": "x y"}, headers={"X-One": 1}, auth=basic))
        plait.run(
            plait.http(server.url, method="post", body={"k": [1]}, auth={"type": "bearer", "token": token.bind()})
        )
        plait.run(plait.http(server.url, method="PUT", body="text"))
        plait.run(plait.http(server.url, method="HEAD"))
        first, second, third, fourth = server.asked
        assert (first.method, first.path) == ("GET", "/?a=1&b=x+y")
        assert (first.headers["x-one"], first.headers["authorization"]) == ("1", "Basic dTpw")
        assert (second.method, json.loads(second.body), second.headers["content-type"]) == (
            "POST",
            {"k": [1]},
            "application/json",
        )
        assert second.headers["authorization"] == "Bearer t1"
        assert (third.method, third.body, fourth.method) == ("PUT", b"text", "HEAD")

    def test_what_is_packed_is_unpacked(self, server: Server) -> None:
        bare = zlib.compressobj(wbits=-15)
        text = b"some text " * 1000
        server.answers = {
            "/gzip": answer(gzip.compress(text), content_encoding="gzip"),
            "/deflate": answer(zlib.compress(text), content_encoding="deflate"),
            "/bare": answer(bare.compress(text) + bare.flush(), content_encoding="deflate"),
            "/odd": answer(text, content_encoding="br"),
            "/broken": answer(b"no gzip", content_encoding="gzip"),
        }
        for path in ("/gzip", "/deflate", "/bare"):
            assert plait.run(plait.http(f"{server.url}{path}", output="bytes")) == text
        assert "packed as 'br'" in str(failure(plait.http(f"{server.url}/odd")))
        assert "cannot be unpacked" in str(failure(plait.http(f"{server.url}/broken")))


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "again"), [(400, False), (404, False), (429, True), (500, True), (501, False), (503, True)]
    )
    def test_a_status_of_400_or_more_is_an_error(self, server: Server, status: int, again: bool) -> None:
        """And what may be tried again is."""
        server.answers = {"/x": answer('{"why": "so"}', f"{status} Oh", content_type="application/json")}
        error = failure(plait.http(f"{server.url}/x?key=secret", retry={"attempts": 2, "delay": 0}))
        assert str(error).startswith(f'{server.url}/x: {status} Oh: {{"why": "so"}}')
        assert (error.status, error.body, error.retryable) == (status, '{"why": "so"}', again)
        assert len(server.asked) == 1 + again

    def test_a_retry_waits_for_what_the_server_asked(self) -> None:
        times: list[float] = []
        began = 0.0

        @plait.task(retry={"attempts": 3, "delay": 1, "jitter": False})
        async def ask() -> str:
            times.append(asyncio.get_running_loop().time() - began)
            if len(times) < 3:
                raise HttpError("later", retry_after=50 if len(times) == 1 else 0)
            return "now"

        async def main() -> str:
            nonlocal began
            began = asyncio.get_running_loop().time()
            return await plait.arun(ask.bind())

        assert VirtualClock().run(main()) == "now"
        assert times == [0, 50, 52]

    def test_retry_after_is_a_number_or_a_date(self, server: Server) -> None:
        """RFC 9110, 10.2.3."""
        soon = datetime.now(UTC) + timedelta(seconds=100)
        server.answers = {
            "/number": answer(b"", "429 Slow", retry_after="7"),
            "/date": answer(b"", "503 Down", retry_after=format_datetime(soon, usegmt=True)),
            "/past": answer(b"", "503 Down", retry_after=format_datetime(soon - timedelta(days=1), usegmt=True)),
            "/nonsense": answer(b"", "503 Down", retry_after="soon"),
            "/never": answer(b"", "503 Down", retry_after="99999999999999999999"),
        }
        found = {path: failure(plait.http(f"{server.url}{path}")) for path in server.answers}
        assert [found[each].retry_after for each in ("/number", "/past", "/nonsense")] == [7, 0, 0]
        assert 90 < found["/date"].retry_after <= 100
        assert found["/never"].retry_after > LONGEST_RETRY_AFTER_S
        assert not found["/never"].retryable
        assert "wants to be asked again in" in str(found["/never"])

    def test_what_is_not_answered(self, server: Server) -> None:
        server.answers = {
            "/cut": lambda asked: b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
            "/noise": lambda asked: b"hm\r\n\r\n",
        }
        server.answers["/cut"] = lambda asked: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
        for path in ("/cut", "/noise"):
            error = failure(plait.http(f"{server.url}{path}", timeout=10))
            assert (error.status, error.retryable) == (None, True)
        with Closed() as url:
            assert failure(plait.http(url)).retryable

    def test_a_body_without_end_ends_with_its_timeout(self, server: Server) -> None:
        """S44."""
        server.answers = {"/": lambda asked: b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nabc"}
        graph = plait.Graph("slow")
        graph.add("request", plait.http(server.url, timeout=0.3))
        assert plait.run(graph, raise_on_failure=False)["request"].status == "timed_out"

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"url": 3}, "a URL is text or a node"),
            ({"method": "BREW"}, "method must be one of GET"),
            ({"output": "xml"}, "output must be one of auto"),
            ({"max_bytes": 0}, "max_bytes must be"),
            ({"headers": ["a"]}, "headers must be a mapping"),
            ({"extract": "a["}, "is no JMESPath expression"),
            ({"extract": " "}, "extract must be"),
            ({"auth": {"type": "magic"}}, "auth needs a type"),
            ({"auth": {"type": "basic", "username": "u"}}, "basic auth needs password and username"),
            ({"auth": {"type": "bearer", "token": "a", "token_env": "B"}}, "nothing else"),
            ({"timeout": -1}, "timeout"),
            ({"no_such": 1}, "no_such"),
        ],
    )
    def test_a_request_that_cannot_be(self, given: Any, said: str) -> None:
        with pytest.raises(UsageError, match=said):
            plait.http(**{"url": "http://127.0.0.1/", **given})

    @pytest.mark.parametrize(
        "url",
        [
            "file:///etc/passwd",
            "no url",
            "http://",
            "http://[",
            "ftp://127.0.0.1/",
            "",
            "http://127.0.0.1:99999/",
        ],
    )
    def test_a_url_that_cannot_be(self, url: str) -> None:
        """S43: http and https alone."""
        assert not failure(plait.http(url)).retryable

    def test_secrets_do_not_stand_in_errors_nor_in_a_store(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MY_TOKEN", "very-secret-token")
        server.answers = {"/": answer("ok"), "/gone": answer("", "404 Gone")}
        url = server.url.replace("http://", "http://user:very-secret@")
        assert "very-secret" not in str(failure(plait.http(f"{url}/gone?key=very-secret")))
        path = tmp_path / "runs.db"
        plait.run(plait.http(server.url, auth={"type": "bearer", "token_env": "MY_TOKEN"}), store=path)
        assert server.asked[-1].headers["authorization"] == "Bearer very-secret-token"
        for each in tmp_path.rglob("*"):
            assert each.is_dir() or b"very-secret" not in each.read_bytes()
        monkeypatch.delenv("MY_TOKEN")
        assert "MY_TOKEN" in str(failure(plait.http(server.url, auth={"type": "bearer", "token_env": "MY_TOKEN"})))


class Closed:
    """A URL at which nobody listens."""

    def __enter__(self) -> str:
        import socket

        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._socket.close()


class TestRedirects:
    def test_they_are_followed_ten_times(self, server: Server) -> None:
        server.answers = {
            "/a": answer("", "302 Found", location="/b"),
            "/b": answer("there"),
            "/x": answer("", "302 Found", location="/x"),
        }
        assert plait.run(plait.http(f"{server.url}/a")) == "there"
        assert "more than 10 redirects" in str(failure(plait.http(f"{server.url}/x")))
        assert len(server.asked) == 2 + 11

    def test_credentials_stay_with_their_server(self, server: Server, other: Server) -> None:
        """S45."""
        server.answers = {
            "/here": answer("", "302 Found", location="/end"), "/end": answer("x"),
            "/away": answer("", "307 Moved", location=f"{other.url}/end"),
        }  # fmt: skip
        other.answers = {"/end": answer("y")}
        sent: Any = {
            "headers": {"X-Api-Key": "secret", "Cookie": "a=secret", "Accept-Language": "de"},
            "auth": {"type": "bearer", "token": "secret"}, "allow_private": True,
        }  # fmt: skip
        assert plait.run([plait.http(f"{server.url}/here", **sent), plait.http(f"{server.url}/away", **sent)]) == [
            "x",
            "y",
        ]
        same = server.asked[[each.path for each in server.asked].index("/end")].headers
        assert same["authorization"] == "Bearer secret"
        assert same["x-api-key"] == "secret"
        (gone,) = other.asked
        assert "secret" not in str(gone.headers)
        assert gone.headers["accept-language"] == "de"
        assert gone.headers["host"] == f"127.0.0.1:{other.port}"

    def test_what_was_written_down_does_not_lead_to_another_private_server(self, server: Server, other: Server) -> None:
        """S43."""
        server.answers = {"/": answer("", "302 Found", location=f"{other.url}/end")}
        assert "leads into a private network (127.0.0.1)" in str(failure(plait.http(server.url)))
        assert other.asked == []

    def test_to_what_is_no_http(self, server: Server) -> None:
        server.answers = {"/": answer("", "302 Found", location="file:///etc/passwd")}
        assert "only http and https URLs are asked" in str(failure(plait.http(server.url)))


class TestPrivateNetworks:
    def test_a_url_that_is_data_is_refused(self, server: Server) -> None:
        """S43."""
        server.answers = {"/": answer("inside")}

        @plait.task
        async def found() -> str:
            return server.url

        assert "allow_private=True lets it" in str(failure(plait.http(found.bind())))
        assert server.connections == 0
        assert plait.run(plait.http(found.bind(), allow_private=True)) == "inside"
        assert plait.run(plait.http(server.url)) == "inside"

    @pytest.mark.parametrize(
        ("address", "public"),
        [
            ("8.8.8.8", True), ("2606:4700::1111", True), ("127.0.0.1", False), ("10.1.2.3", False), ("172.16.0.1", False),
            ("192.168.1.1", False), ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False),
            ("255.255.255.255", False), ("::1", False), ("::", False), ("fe80::1%eth0", False), ("fc00::1", False), ("ff02::1", False),
            ("::ffff:127.0.0.1", False), ("::ffff:8.8.8.8", True), ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False),
            ("64:ff9b::808:808", True),
        ],
    )  # fmt: skip
    def test_which_addresses_are_public(self, address: str, public: bool) -> None:
        assert is_public(address) is public

    def test_the_address_that_was_looked_at_is_the_one_that_is_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """S43: a name that leads elsewhere a moment later, and one that leads to both."""
        looked: list[str] = []
        connected: list[tuple[str, Any, str]] = []
        names = {"good.example": ["93.184.215.14"], "both.example": ["93.184.215.14", "10.0.0.1"]}

        async def getaddrinfo(loop: Any, host: str, *_: Any, **__: Any) -> Any:
            looked.append(host)
            return [(0, 0, 0, "", (address, 0)) for address in names[host]]

        async def connect(transport: Any, asked: httpx2.Request) -> httpx2.Response:
            connected.append((asked.url.host, asked.extensions["sni_hostname"], asked.headers["host"]))
            return httpx2.Response(200, stream=httpx2.ByteStream(b"ok"), request=asked)

        monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", connect)
        assert asyncio.run(calls.request("https://good.example/", private=False)) == "ok"
        with pytest.raises(HttpError, match=r"leads into a private network \(10.0.0.1\)"):
            asyncio.run(calls.request("https://both.example/", private=False))
        assert looked == ["good.example", "both.example"]
        assert connected == [("93.184.215.14", "good.example", "good.example")]


class TestLimits:
    def test_a_body_that_is_too_large(self, server: Server) -> None:
        """S44: an error, no part of it."""
        server.answers = {"/": answer(b"x" * 5000)}
        assert "more than 4,999 bytes (max_bytes)" in str(failure(plait.http(server.url, max_bytes=4999)))
        assert len(plait.run(plait.http(server.url, max_bytes=5000))) == 5000

    def test_a_body_that_grows_without_measure(self, server: Server) -> None:
        """S44: a megabyte that would be a gigabyte."""
        server.answers = {"/": answer(gzip.compress(bytes(50_000_000)), content_encoding="gzip")}
        assert "grows to more than 100 times its size" in str(failure(plait.http(server.url)))

    def test_a_body_that_comes_slowly_is_no_silence(self, server: Server) -> None:
        """N: a heartbeat that declares live work dead."""
        server.answers = {"/drip": answer(b"x" * 150, accept_ranges="none")}
        assert plait.run(plait.http(f"{server.url}/drip", output="bytes", idle_timeout=1.2)) == b"x" * 150
        with pytest.raises(plait.TaskTimedOut, match=r"was idle for 0.3 s"):
            plait.run(plait.http(f"{server.url}/drip", output="bytes", idle_timeout=0.3))

    def test_a_large_error_is_still_that_error(self, server: Server) -> None:
        server.answers = {"/": answer(b"x" * 1_000_000, "404 Gone")}
        error = failure(plait.http(server.url))
        assert error.status == 404
        assert len(error.body) == calls.MOST_ERROR_BYTES


def settled(descriptors: int) -> bool:
    """Are no more descriptors open than that, once the server's threads have closed their ends?"""
    until = time.monotonic() + 20
    while psutil.Process().num_fds() > descriptors and time.monotonic() < until:
        time.sleep(0.01)
    return psutil.Process().num_fds() <= descriptors


class TestConnections:
    def test_they_are_kept_while_others_ask_and_none_is_left(self, server: Server) -> None:
        server.answers = {"/": answer("x", Set_Cookie="a=1; Path=/")}
        plait.run(plait.http(server.url))
        before = psutil.Process().num_fds()
        server.connections = 0
        server.asked.clear()
        server.hold_until = 41
        nodes = [plait.http(f"{server.url}/hold"), *(plait.http(server.url) for _ in range(40))]
        plait.run(nodes, max_concurrency=4)
        assert server.connections <= 8
        assert settled(before)
        assert not any("cookie" in each.headers for each in server.asked)

    def test_a_stopped_request_leaves_none(self, server: Server) -> None:
        server.answers = {"/": lambda asked: b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nabc"}
        before = psutil.Process().num_fds()
        graph = plait.Graph("slow")
        for number in range(5):
            graph.add(f"n{number}", plait.http(server.url, timeout=0.2))
        plait.run(graph, raise_on_failure=False)
        assert settled(before)


def test_a_stored_request_is_asked_again_by_another_run_of_it(server: Server, tmp_path: Path) -> None:
    server.answers = {"/": [answer("", "404 Gone"), answer("there")]}
    graph = plait.Graph("g")
    graph.add("request", plait.http(server.url, headers={"X-One": "1"}))
    result = plait.run(graph, store=tmp_path / "s.db", raise_on_failure=False)
    assert isinstance(result["request"].error, HttpError)
    assert result["request"].error.status == 404
    again = plait.retry(result.run_id, store=tmp_path / "s.db").wait()
    assert again["request"].value == "there"
    assert [each.headers["x-one"] for each in server.asked] == ["1", "1"]
