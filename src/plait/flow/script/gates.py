"""Checkpoints: a person says whether what stands behind them is done."""

from __future__ import annotations

from typing import Any

from plait._core.questions import BY_DEFAULT, QUESTION
from plait.asking import NOTHING, Answer, driver_of, question_of
from plait.errors import Declined
from plait.executors.base import current_attempt

APPROVE, REJECT = "approve", "reject"


class SentBack:
    """What a checkpoint gives where a person chose to go back: the siblings from `goto` on run again, and it asks again."""

    __slots__ = ("goto",)

    def __init__(self, goto: str) -> None:
        self.goto = goto


async def decided(prompt: str, settings: dict[str, Any]) -> Any:
    """The body of a checkpoint: what was chosen, as {action, input, timedOut}.

    `settings`: `actions`, what may be chosen; `back`, with which sibling it goes on where that stands before; `gotos`, all of those;
    `default`, `timeout` in seconds; `text`, may words be added?; `pass`, how often it had been asked before. Where nobody is
    there to be asked, the default is chosen at once.

    Raises:
        Declined: where a person says no.
    """
    attempt = current_attempt()
    assert attempt is not None
    driver = driver_of(attempt)
    address = driver.key(attempt.task)
    for _ in range(settings["pass"]):
        address = address.rpartition("/")[0]  # people know it by the key of the first time
    default = settings["default"]
    if default and not driver.asks_people:
        return _chosen(default, settings, address, timed_out=False)
    actions: list[str] = settings["actions"]
    form: Any = {"action": actions, "input": "string"} if settings["text"] else actions
    usual: Any = NOTHING
    if default:
        usual = {"action": default, "input": ""} if settings["text"] else default
    said = await Answer(attempt, question_of(address, prompt, form, usual, settings["timeout"], None, (), QUESTION))
    asked = driver.scheduler.questions
    last = asked.of[attempt.task][-1] if asked is not None and asked.of.get(attempt.task) else None
    return _chosen(said, settings, address, timed_out=last is not None and last.what == BY_DEFAULT)


def _chosen(said: Any, settings: dict[str, Any], address: str, *, timed_out: bool) -> Any:
    action, words = (str(said["action"]), str(said["input"])) if isinstance(said, dict) else (str(said), "")
    if action == REJECT and not settings["gotos"].get(REJECT):
        why = "nobody answered in time" if timed_out else words
        raise Declined(f"{address} was rejected{f': {why}' if why else ''}")
    goto = settings["back"].get(action)
    if goto is not None:
        return SentBack(goto)
    return {"action": action, "input": words or None, "timedOut": timed_out}
