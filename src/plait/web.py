"""`plait.http(...)`: an HTTP request as a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait._core.policy import PLAIN
from plait.calls.http import METHODS, MOST_BYTES, OUTPUTS, HttpOutput, check_auth, path, request
from plait.errors import UsageError
from plait.tasks import Definition, Node, TaskFunction

__all__ = ["http"]


def http(
    url: str | Node[Any],
    *,
    method: str = "GET",
    headers: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    body: Any = None,
    auth: Mapping[str, Any] | None = None,
    extract: str | None = None,
    output: HttpOutput = "auto",
    allow_private: bool = False,
    max_bytes: int = MOST_BYTES,
    timeout: float | str | None = 30,
    **options: Any,
) -> Node[Any]:
    """A node that sends an HTTP request; `url`, `body` and the values of `headers`, `params` and `auth` may be or hold nodes.

    `body` is sent as JSON, unless it is text or bytes. `auth` is `{"type": "bearer", "token": ...}` or `{"type": "basic",
    "username": ..., "password": ...}`; `token_env` and `password_env` name a variable of the environment instead, and that name
    is all that a stored run keeps. `timeout` (seconds, or text such as `"2m"`) is for an attempt as a whole, from its
    connection to its last byte.

    Its value is the body: by its content type JSON data or text, with an unknown type JSON if it is that (`output="auto"`);
    `json`, `text` and `bytes` take it for that, and `response` gives `{"status", "headers", "body"}`, the names of headers in
    lower case. `extract` is a JMESPath expression that picks from JSON data; a leading `$` is the root.

    A status of 400 or more is an `HttpError`. After 408, 425, 429, 500, 502, 503, 504 and broken connections another attempt may
    follow (`retries=`), not before what `Retry-After` says (an hour at most). Up to ten redirects are followed; what may be a
    credential does not go along to another server. A URL that comes from a node, and a redirect to another server, must not lead
    into a private network, unless `allow_private`: all addresses of a name are looked at, and those are what is connected to.
    More than `max_bytes` of a body are an error.

    Raises:
        LimitError, UsageError: for a request or options that cannot be.
    """
    if not isinstance(url, (str, Node)):
        raise UsageError(f"a URL is text or a node, not {url!r}")
    if not isinstance(method, str) or method.upper() not in METHODS:
        raise UsageError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    if output not in OUTPUTS:
        raise UsageError(f"output must be one of {', '.join(OUTPUTS)}, not {output!r}")
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 1:
        raise UsageError(f"max_bytes must be a whole number of at least 1, not {max_bytes!r}")
    for name, value in (("headers", headers), ("params", params), ("auth", auth)):
        if value is not None and not isinstance(value, Mapping):
            raise UsageError(f"{name} must be a mapping, not {value!r}")
    if auth is not None:
        check_auth(auth)
    if extract is not None:
        path(extract)
    private = True if allow_private else False if isinstance(url, Node) else None
    given: dict[str, tuple[Any, Any]] = {
        "method": (method.upper(), "GET"),
        "headers": (headers and dict(headers), None),
        "params": (params and dict(params), None),
        "body": (body, None),
        "auth": (auth and dict(auth), None),
        "extract": (extract, None),
        "output": (output, "auto"),
        "max_bytes": (max_bytes, MOST_BYTES),
        "private": (private, None),
    }
    kwargs = {name: value for name, (value, usual) in given.items() if value is not usual}
    return _REQUEST.options(timeout=timeout, **options).bind(url, **kwargs)


_REQUEST = TaskFunction(request, Definition("http", request, "async", PLAIN))
