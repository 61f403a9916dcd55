"""One HTTP request: what is sent, where it may lead, what comes back and how much of it."""

from __future__ import annotations

import codecs
import os
import re
import socket
import time
import zlib
from asyncio import AbstractEventLoop, get_running_loop
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

import httpx2
import jmespath

from plait.calls.shell import strict_json, tail
from plait.errors import HttpError, UsageError
from plait.signs import heartbeat

HttpOutput: TypeAlias = Literal["auto", "json", "text", "bytes", "response"]
OUTPUTS: tuple[HttpOutput, ...] = ("auto", "json", "text", "bytes", "response")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

MOST_BYTES = 64 * 1024 * 1024
"""Of a body, unpacked; more is an error, not a part of it."""

MOST_ERROR_BYTES = 64 * 1024
"""Of the body of an error, of which the beginning is shown."""

MOST_REDIRECTS = 10

RATIO, RATIO_FROM_BYTES = 100, 1024 * 1024
"""A packed body that grows to more than so many times its size is refused, once it is larger than that."""

LONGEST_RETRY_AFTER_S = 3600.0
"""A server that wants to be asked again later than that is not asked again."""

_RETRYABLE = frozenset((408, 425, 429, 500, 502, 503, 504))

_HARMLESS = frozenset(
    ("accept", "accept-encoding", "accept-language", "content-length", "content-type", "host", "user-agent")
)
"""Headers that may go along to another server; any other one may be a credential."""


async def request(
    url: str,
    method: str = "GET",
    headers: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    body: Any = None,
    auth: Mapping[str, Any] | None = None,
    extract: str | None = None,
    output: HttpOutput = "auto",
    max_bytes: int = MOST_BYTES,
    private: bool | None = None,
    advice: str = "allow_private=True lets it",
    local: bool = False,
) -> Any:
    """The value of one request, as `plait.http` says.

    `private` says whether it may lead into a private network: None where `url` was written down, and may, while redirects to other
    servers may not. `advice` is what an error says to do where it may not. With `local` a server of this
    machine that was written down may lead to another one of it.

    Raises:
        HttpError: for a status of 400 or more, and for what keeps a response from coming.
    """
    at = shown(url)
    try:
        sent = _made(url, method, headers, params, body, auth)
        first = sent.url
        for _ in range(MOST_REDIRECTS + 1):
            at = shown(sent.url)
            if sent.url.scheme not in ("http", "https"):
                raise HttpError(f"{at}: only http and https URLs are asked", retryable=False)
            if not re.fullmatch(r"[\w.:-]+", sent.url.host) or not 0 < (sent.url.port or 80) < 1 << 16:
                raise HttpError(f"{at} names no server that can be", retryable=False)
            guarded = private is False or (private is None and _server(sent.url) != _server(first))
            inside = local and private is None and _is_here(first.host)
            async with _client(guarded, advice, inside) as client:
                response = await client.send(sent, stream=True)
                try:
                    following = response.next_request
                    if following is None:
                        return _value(response, await _read(response, max_bytes), extract, output)
                finally:
                    await response.aclose()
            if _server(following.url) != _server(sent.url):
                for name in [each for each in following.headers if each.lower() not in _HARMLESS]:
                    del following.headers[name]
            sent = following
        raise HttpError(f"{at}: more than {MOST_REDIRECTS} redirects", retryable=False)
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, UnicodeError) as error:
        raise HttpError(f"{at} is no URL that can be asked: {_why(error)}", retryable=False) from None
    except httpx2.HTTPError as error:
        raise HttpError(f"{at}: {_why(error)}") from None


# -- what is sent


def _made(
    url: str,
    method: str,
    headers: Mapping[str, Any] | None,
    params: Mapping[str, Any] | None,
    body: Any,
    auth: Mapping[str, Any] | None,
) -> httpx2.Request:
    if not isinstance(url, str):
        raise HttpError(f"a URL is text, not {url!r}", retryable=False)
    target = httpx2.URL(url)
    if params:
        target = target.copy_merge_params(dict(params))
    sent = {"Accept": "*/*", "User-Agent": "plait", "Accept-Encoding": "gzip, deflate", **_authorized(auth)}
    sent.update((str(name).title(), str(value)) for name, value in (headers or {}).items())
    if isinstance(body, (str, bytes)):
        return httpx2.Request(method, target, headers=sent, content=body)
    return (
        httpx2.Request(method, target, headers=sent, json=body)
        if body is not None
        else httpx2.Request(method, target, headers=sent)
    )


AUTH = {"bearer": {"token"}, "basic": {"username", "password"}}


def check_auth(auth: Mapping[str, Any]) -> None:
    """Nothing, for an `auth` that can be.

    Raises:
        UsageError: otherwise.
    """
    kind = auth.get("type")
    wanted = AUTH.get(kind) if isinstance(kind, str) else None
    if wanted is None:
        raise UsageError(f"auth needs a type, {' or '.join(AUTH)}, not {kind!r}")
    found = {str(name).removesuffix("_env") for name in auth} - {"type"}
    if found != wanted or len(auth) != len(wanted) + 1:
        raise UsageError(f"{kind} auth needs {' and '.join(sorted(wanted))} (or ..._env), and nothing else")


def _authorized(auth: Mapping[str, Any] | None) -> dict[str, str]:
    """The header that says who asks."""
    if auth is None:
        return {}
    found: dict[str, str] = {}
    for name, value in auth.items():
        if name.endswith("_env"):
            if value not in os.environ:
                raise HttpError(f"the variable {value} of the environment, for auth, is not set", retryable=False)
            found[name.removesuffix("_env")] = os.environ[value]
        else:
            found[name] = str(value)
    if found["type"] == "bearer":
        return {"Authorization": f"Bearer {found['token']}"}
    pair = f"{found['username']}:{found['password']}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _server(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def shown(url: httpx2.URL | str) -> str:
    """A URL without what may be secret in it."""
    text = str(url).split("?", 1)[0].split("#", 1)[0]
    scheme, separator, rest = text.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}" if separator else text[:200]


def _why(error: Exception) -> str:
    return f"{error}" or type(error).__name__


# -- connections

_CLIENTS: WeakKeyDictionary[AbstractEventLoop, list[Any]] = WeakKeyDictionary()
"""The client of each loop, and how many requests use it: connections are kept while there is one, and none is left behind."""


@asynccontextmanager
async def _client(guarded: bool, advice: str, inside: bool) -> AsyncIterator[httpx2.AsyncClient]:
    if guarded:
        async with new_client(transport=_PublicOnly(advice, inside)) as client:
            yield client
        return
    shared = _CLIENTS.setdefault(get_running_loop(), [None, 0])
    if shared[0] is None:
        shared[0] = new_client(limits=httpx2.Limits(max_connections=None))
    client = shared[0]
    shared[1] += 1
    try:
        yield client
    finally:
        shared[1] -= 1
        if not shared[1]:
            shared[0] = None
            await client.aclose()


def new_client(**options: Any) -> httpx2.AsyncClient:
    """A client that waits for as long as it takes, follows no redirects and keeps no cookies."""
    nothing_kept = CookieJar(
        DefaultCookiePolicy(allowed_domains=[])
    )  # between requests that know nothing of each other
    return httpx2.AsyncClient(timeout=None, verify=_tls(), cookies=nothing_kept, **options)


@cache
def _tls() -> Any:
    """What certificates are checked with: reading them takes longer than most requests."""
    return httpx2.create_ssl_context()


class _PublicOnly(httpx2.AsyncBaseTransport):
    """Connects to addresses of the public internet alone, `inside` also to this machine; for one request, for it keeps no names apart.

    The address that was looked at is the one that is connected to: a name may lead elsewhere a moment later.
    """

    def __init__(self, advice: str, inside: bool) -> None:
        self._advice, self._inside = advice, inside
        self._inner = httpx2.AsyncHTTPTransport(verify=_tls())

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        name, url = request.url.host, request.url
        extensions = {**request.extensions, "sni_hostname": name}
        failed: Exception | None = None
        for address in await _public_addresses(name, url, self._advice, self._inside):
            request.url, request.extensions = url.copy_with(host=address), extensions
            try:
                return await self._inner.handle_async_request(request)
            except httpx2.ConnectError as error:
                failed = error
            finally:
                request.url = url
        raise failed or httpx2.ConnectError(f"{name} has no address")

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _public_addresses(name: str, url: httpx2.URL, advice: str, inside: bool) -> list[str]:
    """The addresses of a server.

    Raises:
        HttpError: if one of them is not public, or there are none.
    """
    try:
        found = await get_running_loop().getaddrinfo(name, url.port or 0, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpx2.ConnectError(f"{name}: {error.strerror or error}") from None
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    for each in addresses:
        if not is_public(each) and not (inside and _is_here(each)):
            raise HttpError(
                f"{shown(url)} leads into a private network ({each}), and comes from data or a redirect: {advice}",
                retryable=False,
            )
    return addresses


def _is_here(host: str) -> bool:
    """Does a name or address, as it is written, stand for this machine?"""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_public(address: str) -> bool:
    """Is it an address that everybody can reach, and no other one in disguise?"""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if inner is None and found in _NAT64:
            inner = IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None and not is_public(str(inner)):
            return False
        if found.ipv4_mapped is not None:
            return True
    return found.is_global and not found.is_multicast


_NAT64 = ip_network("64:ff9b::/96")


# -- what comes


async def _read(response: httpx2.Response, most: int) -> bytes:
    """The body, unpacked.

    Raises:
        HttpError: for one that is too large, or grows too much, or is packed in a way that we do not know.
    """
    at = shown(response.url)
    failed = response.status_code >= 400
    if failed:
        most = min(most, MOST_ERROR_BYTES)
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if packing not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise HttpError(f"{at}: its body is packed as {packing!r}, which was not asked for", retryable=False)
    packed = packing not in ("", "identity")
    unpacker = None
    body = bytearray()
    came = 0
    async for data in response.aiter_raw():
        came += len(data)
        heartbeat()
        while data:
            if not packed:
                body += data
                data = b""
            else:
                if unpacker is None:
                    unpacker = _unpacker(packing, data)
                try:
                    body += unpacker.decompress(data, 256 * 1024)
                except zlib.error as error:
                    raise HttpError(f"{at}: its body cannot be unpacked: {error}") from None
                data = unpacker.unconsumed_tail
            if len(body) > most:
                if failed:
                    return bytes(body[:most])
                raise HttpError(f"{at}: its body has more than {most:,} bytes (max_bytes)", retryable=False)
            if packed and len(body) > RATIO_FROM_BYTES and len(body) > RATIO * came:
                raise HttpError(f"{at}: its body grows to more than {RATIO} times its size", retryable=False)
    if unpacker is not None:
        body += unpacker.flush()
    return bytes(body)


def _unpacker(packing: str, start: bytes) -> Any:
    """What unpacks gzip, or deflate as the standard has it or as some servers send it."""
    if packing != "deflate":
        return zlib.decompressobj(zlib.MAX_WBITS | 16)
    bare = start[0] & 0x0F != zlib.DEFLATED or (len(start) > 1 and int.from_bytes(start[:2]) % 31)
    return zlib.decompressobj(-zlib.MAX_WBITS if bare else zlib.MAX_WBITS)


def _value(response: httpx2.Response, data: bytes, extract: str | None, output: HttpOutput) -> Any:
    """What a whole response is taken for.

    Raises:
        HttpError: for a status of 400 or more, and a body that is not what it is to be.
    """
    if response.status_code >= 400:
        raise _refused(response, data)
    try:
        value = _body(response, data, output)
    except (ValueError, RecursionError) as error:
        raise HttpError(f"{shown(response.url)}: its body is not JSON: {error}", retryable=False) from None
    if extract is not None:
        try:
            value = path(extract).search(value)
        except jmespath.exceptions.JMESPathError as error:
            raise HttpError(f"{shown(response.url)}: extract {extract!r}: {error}", retryable=False) from None
    if output == "response":
        return {"status": response.status_code, "headers": dict(response.headers), "body": value}
    return value


def _body(response: httpx2.Response, data: bytes, output: HttpOutput) -> Any:
    if output == "bytes":
        return data
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or kind.endswith("+json")
    if output == "json" or (is_json and output != "text"):
        return strict_json(data) if data or output == "json" else None
    text = (
        data.decode(response.charset_encoding or "utf-8", errors="replace")
        if _known(response)
        else data.decode(errors="replace")
    )
    if output == "text" or kind.startswith("text/"):
        return text
    try:
        return strict_json(data)
    except (ValueError, RecursionError):
        return text


def _known(response: httpx2.Response) -> bool:
    """Does Python know the encoding that the response says it has?"""
    try:
        codecs.lookup(response.charset_encoding or "utf-8")
    except LookupError:
        return False
    return True


def _refused(response: httpx2.Response, data: bytes) -> HttpError:
    """The error for a status of 400 or more."""
    status = response.status_code
    after = seconds_asked(response.headers.get("retry-after"))
    said = tail(data[:2000], lines=3)
    text = f"{shown(response.url)}: {status} {response.reason_phrase}".rstrip()
    if after > LONGEST_RETRY_AFTER_S:
        text = f"{text}, and wants to be asked again in {after:,.0f} s"
    return HttpError(
        f"{text}: {said}" if said else text,
        status=status,
        body=data.decode(errors="replace"),
        retry_after=after,
        retryable=status in _RETRYABLE and after <= LONGEST_RETRY_AFTER_S,
    )


def seconds_asked(value: str | None) -> float:
    """Seconds from now, as a header `Retry-After` says: RFC 9110, 10.2.3, a number of seconds or a date. 0 for what is neither."""
    if not value:
        return 0.0
    if value.strip().isascii() and value.strip().isdecimal():
        return float(value.strip()[:12])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


@cache
def path(extract: str) -> Any:
    """A JMESPath expression, made ready; a leading `$` is the root.

    Raises:
        UsageError: for what is none.
    """
    if not isinstance(extract, str) or not extract.strip():
        raise UsageError(f"extract must be a JMESPath expression, not {extract!r}")
    text = extract.strip()
    if text.startswith("$"):
        text = text[1:].removeprefix(".") or "@"
    try:
        return jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        raise UsageError(f"extract {extract!r} is no JMESPath expression: {error}") from None
