"""OAuth 2.0 client credentials (RFC 6749, 4.4): one token for all who ask with the same credentials, until it ends."""

from __future__ import annotations

import asyncio
import re
import time
from asyncio import AbstractEventLoop
from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import quote_plus, urlencode
from weakref import WeakKeyDictionary

from plait.calls.http import request, shown
from plait.calls.shell import strict_json
from plait.errors import HttpError

USUAL_S, MARGIN_S = 3600.0, 30.0
"""So long a token lasts of which nothing is said; so much sooner it is renewed, or a tenth of its life, if that is less."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks for a token, where, and for what. Its secret shows in no text."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""
    private: bool | None = None
    """May `token_url` lead into a private network? As `request` has it."""


class _Token(NamedTuple):
    text: str
    until: float


class _Asking:
    """A request for a token, and how many wait for it."""

    __slots__ = ("task", "waiting")

    def __init__(self, task: asyncio.Task[str]) -> None:
        self.task = task
        self.waiting = 0


_KEPT: dict[str, _Token] = {}
"""The tokens of this process, by what they were given for."""

_ASKED: WeakKeyDictionary[AbstractEventLoop, dict[str, _Asking]] = WeakKeyDictionary()
"""What each loop is waiting for."""

_clock = time.monotonic


async def token(client: Client, worn: str | None = None, advice: str = "") -> str:
    """A token: the one that is kept, unless it has ended or is `worn`. Whoever else asks meanwhile waits for the same one.

    Raises:
        HttpError: where none is given; it holds neither token nor secret.
    """
    key = _key(client)
    kept = _KEPT.get(key)
    if kept is not None and kept.text != worn and _clock() < kept.until:
        return kept.text
    asked = _ASKED.setdefault(asyncio.get_running_loop(), {})
    asking = asked.get(key)
    if asking is None:
        asking = asked[key] = _Asking(asyncio.create_task(_fetched(client, key, advice)))
    asking.waiting += 1
    try:
        return await asyncio.shield(asking.task)
    finally:
        asking.waiting -= 1
        if asked.get(key) is asking and (asking.task.done() or not asking.waiting):
            del asked[key]
        if not asking.waiting and not asking.task.done():  # the last one that waited was cancelled
            asking.task.cancel()
            await asyncio.wait((asking.task,))


def _key(client: Client) -> str:
    parts = (client.token_url, client.client_id, client.client_secret, client.scope, str(client.private))
    return sha256("\0".join(parts).encode()).hexdigest()


async def _fetched(client: Client, key: str, advice: str) -> str:
    began = _clock()
    answer = await _answer(client, advice)
    found = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(found, str) or not re.fullmatch(r"[\x21-\x7e]+", found):
        raise HttpError(f"auth: {shown(client.token_url)} answered without an access_token", retryable=False)
    life = answer.get("expires_in")
    if isinstance(life, str) and re.fullmatch(r"[0-9]{1,12}", life):
        life = int(life)
    seconds = min(life, 1e9) if isinstance(life, (int, float)) and not isinstance(life, bool) else USUAL_S
    _KEPT[key] = _Token(found, began + seconds - min(MARGIN_S, seconds / 10))
    return found


async def _answer(client: Client, advice: str) -> Any:
    """What the server of tokens says. Who it refuses that way gives the secret as `basic` (RFC 6749, 2.3.1)."""
    form = {"grant_type": "client_credentials", **({"scope": client.scope} if client.scope else {})}
    try:
        return await _posted(
            client, {**form, "client_id": client.client_id, "client_secret": client.client_secret}, {}, advice
        )
    except HttpError as error:
        if error.status != 401:
            raise _told(client, error) from None
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    try:
        return await _posted(client, form, {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}, advice)
    except HttpError as error:
        raise _told(client, error) from None


async def _posted(client: Client, form: dict[str, str], headers: dict[str, str], advice: str) -> Any:
    return await request(
        client.token_url,
        "POST",
        headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", **headers},
        body=urlencode(form),
        output="json",
        max_bytes=1 << 20,
        private=client.private,
        advice=advice,
        local=True,
    )


def _told(client: Client, error: HttpError) -> HttpError:
    """The same, without the body: who refuses a secret may repeat it."""
    why = str(error)
    if error.status is not None:
        try:
            code = strict_json(error.body).get("error")
        except (ValueError, AttributeError, RecursionError):
            code = None
        is_code = isinstance(code, str) and re.fullmatch(r"[a-z_]{1,60}", code) and code != client.client_secret
        why = f"{shown(client.token_url)} answered {error.status}{f' ({code})' if is_code else ''}"
    return HttpError(
        f"auth: no token: {why}",
        status=error.status,
        retry_after=error.retry_after,
        retryable=error.retryable,
    )
