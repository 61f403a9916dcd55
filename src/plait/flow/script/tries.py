"""A block that is tried again: the pause before the next try, and for which failures there is one."""

from __future__ import annotations

import random

from plait._core.policy import PLAIN, Retry, retry_after
from plait._core.states import FAILED
from plait._core.table import Try
from plait.errors import ChildFailed, HttpError, PlaitError
from plait.flow.model import Attempts, Delay, FlowTask, Group
from plait.flow.problems import START
from plait.flow.scopes import Scope
from plait.flow.values import holds


def pause(retry: Retry, number: int, error: BaseException | None) -> Group:
    """What stands before try `number` (from 1): full jitter, and what a server asked for. The due time is on record once it began."""
    after = 0.0 if error is None else retry_after(cause_of(error))
    seconds = max(retry.pause(number, random.random()), after)
    return Group({"pause": FlowTask("pause", START, Delay(seconds), (), PLAIN)})


def cause_of(error: BaseException) -> BaseException:
    """What a block failed of at the very bottom."""
    return error.root or error if isinstance(error, ChildFailed) else error


def is_wanted(body: Attempts, tries: int, error: BaseException, scope: Scope) -> bool:
    """Does another try follow the one with that number (from 1), which failed so?"""
    if tries >= body.retry.attempts:
        return False
    if body.when is None:
        return may_help(cause_of(error))
    return holds(body.when, scope.at_error(Try(tries, FAILED, error, 0.0, 0.0)))


def may_help(error: BaseException) -> bool:
    """May another try go better? After 429, 408, 5xx, connection errors and timeouts; and where the error of a node says so."""
    if isinstance(error, PlaitError) and not isinstance(error, (HttpError, TimeoutError)):
        return False
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    try:
        return getattr(error, "retryable", False) is True
    except Exception:  # a property of a user's class
        return False
