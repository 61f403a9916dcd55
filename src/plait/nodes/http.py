"""`http`: what a server says, and telling it something."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from plait.calls.http import LONGEST_RETRY_AFTER_S, METHODS, path, request, shown
from plait.calls.shell import strict_json
from plait.errors import ExpressionError, HttpError, NodeError, UsageError
from plait.expressions import text as written
from plait.expressions.values import encoded
from plait.nodes.base import At, Field, FieldKind, Node, duration
from plait.nodes.oauth import Client, token
from plait.nodes.schemas import Schema, SchemaError, from_data

ADVICE = "write its server into the file"
"""What leads into a private network where data may not."""

AUTH = {
    "bearer": ({"token"}, set[str]()),
    "basic": ({"username", "password"}, set[str]()),
    "oauth2": ({"token_url", "client_id", "client_secret"}, {"scope"}),
}
"""Of each type what it needs, and what it may have."""

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")


def _method(value: Any) -> str:
    method = str(value).strip().upper()
    if method not in METHODS:
        raise ValueError(f"it is one of {', '.join(METHODS)}, not {value!r:.60}")
    return method


def _headers(value: Any) -> dict[str, str]:
    """Headers as text; those that are null are left out.

    Their values stand in no error: they may be secret.
    """
    found: dict[str, str] = {}
    for name, each in _mapping(value).items():
        if not _HEADER.fullmatch(name):
            raise ValueError(f"{name!r:.60} is no name of a header")
        if each is None:
            continue
        text = _written(each).strip()
        if not _HEADER_VALUE.fullmatch(text):
            raise ValueError(f"the value of {name} has a line break, or another character that no header can have")
        found[name] = text
    return found


def _params(value: Any) -> dict[str, Any]:
    """The query, as text; lists repeat their key, and what is null is left out."""
    found: dict[str, Any] = {}
    for name, each in _mapping(value).items():
        if isinstance(each, (list, tuple)):
            found[name] = [_written(item) for item in each if item is not None]
        elif each is not None:
            found[name] = _written(each)
    return found


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, str) and value.strip()[:1] == "{":
        value = strict_json(value)
    if not isinstance(value, Mapping):
        raise ValueError(f"it is a mapping, not {type(value).__name__}")
    return {str(name): each for name, each in value.items()}


def _written(value: Any) -> str:
    try:
        return written(value)
    except ExpressionError as error:
        raise ValueError(str(error)) from None


def _auth(value: Any) -> dict[str, str]:
    """Who asks; what is wrong with it is said without what is in it."""
    given = _mapping(value)
    kind = given.get("type")
    if not isinstance(kind, str) or kind not in AUTH:
        raise ValueError(f"it needs a type: {', '.join(AUTH)}")
    needed, optional = AUTH[kind]
    names = {name for name, each in given.items() if each is not None} - {"type"}
    if not needed <= names or not names <= needed | optional:
        also = f", may have {', '.join(sorted(optional))}," if optional else ""
        raise ValueError(f"{kind} needs {', '.join(sorted(needed))}{also} and nothing else")
    found = {"type": kind, **{name: _written(given[name]) for name in names}}
    if not all(map(_is_sendable, found.values())):
        raise ValueError("it holds half a character, which UTF-8 cannot say")
    for name in ("token", "token_url"):
        if name in found and not re.fullmatch(r"[\x20-\x7e]+", found[name].strip()):
            raise ValueError(f"{name} is empty, or has a line break or another character that cannot be sent")
    return found


def _is_sendable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _extract(value: Any) -> str:
    try:
        path(str(value))
    except UsageError as error:
        raise ValueError(str(error)) from None
    return str(value)


def _fields(method: str) -> dict[str, Field]:
    request, response = "request", "response"
    return {
        "method": Field(default=method, read=_method, section=request),
        "url": Field(required=True, section=request),
        "headers": Field(FieldKind.VALUE, default={}, read=_headers, section=request),
        "params": Field(FieldKind.VALUE, default={}, read=_params, section=request),
        "body": Field(FieldKind.VALUE, section=request),
        "auth": Field(FieldKind.VALUE, read=_auth, section=request),
        "timeout": Field(default=30.0, read=duration, section=request),
        "extract": Field(read=_extract, section=response),
        "validate": Field(FieldKind.VALUE, section=response),
    }


class HttpSource(Node):
    """What a server answers: JSON or text, as its content type says."""

    fields = _fields("GET")

    @classmethod
    def tries_after(cls, said: Mapping[str, Any], given: frozenset[str] = frozenset()) -> int:
        """Three, where the file says that it only reads."""
        method = said.get("method", None if "method" in given else "GET")
        return 3 if method in ("GET", "HEAD") else 0

    async def run(self, given: Mapping[str, Any], at: At) -> Any:
        """The body, or what `extract` finds in it.

        Raises:
            HttpError: for a status of 400 or more, and where no answer comes; `retryable` says whether another try may do better.
            NodeError: for a request that cannot be, and an answer that `validate` does not take.
        """
        return (await _answered(given, at, given["body"]))["body"]


class HttpSink(Node):
    """Sends `input`, or `body` where that is given, to a server."""

    fields = _fields("POST")

    async def run(self, given: Mapping[str, Any], at: At) -> dict[str, Any]:
        """`{status, headers, body}`.

        Raises:
            HttpError, NodeError: as for a source.
        """
        body = given["body"]
        if body is None and at.has_input and given["method"] not in ("GET", "HEAD"):
            body = at.input
        return await _answered(given, at, body)


@dataclass(frozen=True, slots=True)
class _Request:
    """One request, but for what says who asks."""

    url: str
    method: str
    headers: dict[str, str]
    params: dict[str, Any]
    body: bytes | None
    private: bool | None

    async def answer(self, who: str | None, extract: str | None) -> dict[str, Any]:
        """`{status, headers, body}`. A header that the file gives is sent in the place of `who`."""
        headers = dict(self.headers)
        if who is not None and not any(name.lower() == "authorization" for name in headers):
            headers["Authorization"] = who
        found: dict[str, Any] = await request(
            self.url,
            self.method,
            headers=headers,
            params=self.params,
            body=self.body,
            extract=extract,
            output="response",
            private=self.private,
            advice=ADVICE,
            local=True,
        )
        return found


async def _answered(given: Mapping[str, Any], at: At, body: Any) -> dict[str, Any]:
    """`{status, headers, body}` of an answer that is as it is to be."""
    schema = _schema(given["validate"], at)
    asked = _request(given, at, body)
    try:
        answer = await _authorized(asked, given["auth"], given["extract"], at)
    except HttpError as error:
        error.retryable = _may_do_better(error)
        raise
    wrong = schema.check(answer["body"]) if schema is not None else []
    if wrong:
        raise NodeError(f"{shown(asked.url)}: the answer is not what `validate` says: {'; '.join(wrong)}")
    return answer


def _may_do_better(error: HttpError) -> bool:
    """Would another try be of use? For 408, 429 and 5xx, and where no answer came."""
    if error.status is None:
        return error.retryable
    again = error.status in (408, 429) or 500 <= error.status < 600
    return again and error.retry_after <= LONGEST_RETRY_AFTER_S


def _schema(said: Any, at: At) -> Schema | None:
    """What `validate` means: a schema of the file, by its name, or one that is written there.

    Raises:
        NodeError: for what is neither.
    """
    if said is None or said == "":
        return None
    try:
        return from_data(at.schemas.get(said.strip(), said) if isinstance(said, str) else said)
    except SchemaError as error:
        known = f" (schemas of the file: {', '.join(at.schemas)})" if at.schemas else ""
        raise NodeError(f"validate: {said!r:.100} is no schema: {error}{known}") from None


def _request(given: Mapping[str, Any], at: At, body: Any) -> _Request:
    headers = dict(given["headers"])
    sent = None
    if body is not None:
        try:
            sent = (body if isinstance(body, str) else encoded(body)).encode()
        except ExpressionError as error:
            raise NodeError(f"body: {error}") from None
        except UnicodeEncodeError:
            raise NodeError("body: it holds half a character, which UTF-8 cannot say") from None
        if not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/json" if _is_json(body) else "text/plain; charset=utf-8"
    url = given["url"].strip()
    if not re.fullmatch(r"[^\x00-\x1f\x7f]+", url):
        raise NodeError("url: it is empty, or has line breaks in it")
    private = False if "url" in at.from_data else None
    return _Request(url, given["method"], headers, given["params"], sent, private)


def _is_json(body: Any) -> bool:
    """Is it an object or list, or text of one?"""
    if not isinstance(body, str):
        return True
    if body.strip()[:1] not in ("{", "["):
        return False
    try:
        strict_json(body)
    except (ValueError, RecursionError):
        return False
    return True


async def _authorized(asked: _Request, auth: Mapping[str, str] | None, extract: str | None, at: At) -> dict[str, Any]:
    """The answer to a request in the name of whom `auth` says. A token that is refused is renewed once."""
    if auth is None or auth["type"] != "oauth2":
        return await asked.answer(_who(auth), extract)
    private = False if at.from_data & {"auth", "auth.token_url"} else None
    client = Client(auth["token_url"].strip(), auth["client_id"], auth["client_secret"], auth.get("scope", ""), private)
    held = await token(client, advice=ADVICE)
    try:
        return await _without(held, asked, extract)
    except HttpError as error:
        if error.status != 401:
            raise
    return await _without(await token(client, worn=held, advice=ADVICE), asked, extract)


def _who(auth: Mapping[str, str] | None) -> str | None:
    if auth is None:
        return None
    if auth["type"] == "bearer":
        return f"Bearer {auth['token'].strip()}"
    pair = f"{auth['username']}:{auth['password']}"
    return f"Basic {b64encode(pair.encode()).decode()}"


async def _without(held: str, asked: _Request, extract: str | None) -> dict[str, Any]:
    """The answer to a request with a token, which no error and no answer repeats: no file declares it as a secret."""

    def hidden(text: str) -> str:
        return text.replace(held, "[REDACTED]")

    try:
        answer = await asked.answer(f"Bearer {held}", extract)
    except HttpError as error:
        raise HttpError(
            hidden(str(error)),
            status=error.status,
            body=hidden(error.body),
            retry_after=error.retry_after,
            retryable=error.retryable,
        ) from None
    return _changed(answer, hidden)


def _changed(value: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """The value with every text in it changed, in place: it may be deeper than Python's stack."""
    rest: list[Any] = [value]
    while rest:
        each = rest.pop()
        if isinstance(each, dict):
            items = [(change(name), inner) for name, inner in each.items()]
            each.clear()
            each.update((name, change(inner) if isinstance(inner, str) else inner) for name, inner in items)
            rest.extend(each.values())
        elif isinstance(each, list):
            each[:] = [change(inner) if isinstance(inner, str) else inner for inner in each]
            rest.extend(each)
    return value
