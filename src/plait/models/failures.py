"""What keeps a model from answering, as one kind of error that says whether another attempt may go better."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from plait.calls.http import LONGEST_RETRY_AFTER_S, seconds_asked
from plait.calls.shell import strict_json
from plait.errors import HttpError, UsageError

LONGEST = 500
"""Characters of what a provider says that a message shows."""


def check_account(provider: str, base_url: str, key: str) -> None:
    """Nothing, for an address and a key that requests can be made with.

    Raises:
        UsageError: otherwise; of the key it says nothing.
    """
    if not re.fullmatch(r"https?://[\w.:\[\]-]+(/[^\s?#@]*)?", base_url):
        raise UsageError(
            f"the base URL of {provider} is such as https://host/v1, without name, password and query: set it anew"
        )
    if not re.fullmatch(r"[!-~]+", key):
        raise UsageError(f"the key of {provider} is empty, or has blanks or other characters that no key has")


def failure(error: Exception, sdk: Any, where: str, key: str) -> Exception:
    """What an exception of a provider's SDK is told as. `where` begins the message; nothing of `key` is in it."""
    if isinstance(error, sdk.APIStatusError):
        response = error.response
        return refused(where, error.status_code, response.reason_phrase, response.headers, response.text, key)
    if isinstance(error, sdk.APIError):
        cause = error.__cause__
        why = f"{error}" if cause is None else f"{error} {type(cause).__name__}: {cause}"
        return HttpError(f"{where}: {without(key, why)[:LONGEST]}".rstrip(": "))
    if isinstance(error, UnicodeError):
        return HttpError(f"{where}: text with half a character in it cannot be sent", retryable=False)
    return error


def refused(where: str, status: int, phrase: str, headers: Mapping[str, str], body: str, key: str) -> HttpError:
    """The error for an answer that is none, by its status: only 408, 425, 429 and 5xx may go better another time."""
    after = _asked(headers)
    said, code = _said(body)
    text = f"{where}: {status} {phrase}".rstrip()
    if after > LONGEST_RETRY_AFTER_S:
        text = f"{text}, and wants to be asked again in {after:,.0f} s"
    shown = without(key, said)[:LONGEST]
    return HttpError(
        f"{text}: {shown}" if shown else text,
        status=status,
        body=without(key, body)[:2000],
        retry_after=after,
        retryable=(status in (408, 425, 429) or status >= 500)
        and after <= LONGEST_RETRY_AFTER_S
        and code != "insufficient_quota",  # a 429 that no waiting helps against
    )


def no_answer(where: str, what: str, body: str, key: str) -> HttpError:
    """The error for an answer that does not hold what it is to hold."""
    shown = without(key, " ".join(body[:LONGEST].split()))[:200]
    return HttpError(f"{where}: {what}: {shown}", status=200, body=without(key, body)[:2000], retryable=False)


def without(key: str, text: str) -> str:
    """Text without the key, and without words that show a part of it, as `sk-ab****wxyz`."""
    text = text.replace(key, "[REDACTED]")
    return re.sub(r"[\w*.+/=-]+", lambda word: "[REDACTED]" if _shows(key, word[0]) else word[0], text)


def _shows(key: str, word: str) -> bool:
    if "**" in word or "..." in word.strip("."):
        return True
    return len(word) >= 8 and any(word[at : at + 8] in key for at in range(len(word) - 7))


def _asked(headers: Mapping[str, str]) -> float:
    """Seconds that the provider asks to be left alone: `retry-after-ms`, else `Retry-After`."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,15}(\.\d{0,9})?", value):
            return float(value) / unit
    return seconds_asked(headers.get("retry-after"))


def _said(body: str) -> tuple[str, str]:
    """What a provider says in the body of an error, and its own code for it."""
    try:
        found = strict_json(body)
    except (ValueError, RecursionError):
        return " ".join(body[: 4 * LONGEST].split()), ""
    error = found.get("error", found) if isinstance(found, dict) else found
    if not isinstance(error, dict):
        return (error if isinstance(error, str) else " ".join(body[: 4 * LONGEST].split())), ""
    said = error.get("message")
    return said if isinstance(said, str) else json.dumps(error)[: 4 * LONGEST], str(error.get("code") or "")
