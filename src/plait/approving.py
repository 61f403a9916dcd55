"""Approvals: a person says whether work is good, wants it done again, or ends the run."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from plait._core.policy import PLAIN, count
from plait._core.questions import APPROVAL, APPROVE, REJECT, REVISE, of_approval
from plait.asking import (
    LONGEST_PROMPT,
    NOTHING,
    Answer,
    driver_of,
    names_of,
    question_of,
    refuse_options_of_code,
    settings_of,
)
from plait.errors import Rejected, UsageError
from plait.executors.base import current_attempt
from plait.tasks import Again, Beside, Definition, Node, TaskFunction, make_node, nodes_in, replaced

R = TypeVar("R")

__all__ = ["Revised", "approval_default", "approve", "reviewed"]

ROUNDS, MOST_ROUNDS = 3, 50
"""So often work may be asked for again where nothing is said, and at most."""

FEEDBACK = "feedback"
"""The parameter of a function that takes it."""


class Revised:
    """What a task of a file gives that asks whether work is good: it is to be done again, with this feedback."""

    __slots__ = ("feedback",)

    def __init__(self, feedback: str) -> None:
        self.feedback = feedback


async def _judged(prompt: str, settings: dict[str, Any]) -> str | None:
    """None where a person approves; the feedback with which the work is to be done again.

    Raises:
        Rejected: where a person says no.
    """
    attempt = current_attempt()
    assert attempt is not None
    address = driver_of(attempt).key(attempt.task)
    for _ in range(settings["round"]):
        address = address.rpartition("/")[0]  # people know it by the key of the first round
    form = {"schema": of_approval(revisable=settings["rounds"] > 0)}
    default = settings["default"][0] if settings["default"] else NOTHING
    question = question_of(address, prompt, form, default, settings["timeout"], None, settings["who"], APPROVAL)
    said = await Answer(attempt, question)
    if said["action"] == APPROVE:
        return None
    feedback = str(said.get("feedback", "")).strip()
    if said["action"] == REVISE:
        return feedback
    asked = driver_of(attempt).scheduler.questions
    inputs = [] if asked is None else asked.of.get(attempt.task, [])
    by = next((each.by for each in reversed(inputs) if each.is_answered and each.value == said), None)
    raise Rejected(f"{address} was rejected{'' if by is None else f' by {by}'}{f': {feedback}' if feedback else ''}")


async def reviewed(prompt: str, settings: dict[str, Any], work: Any) -> Any:
    """The body of an approval in a file: `work`, if it is good; `Revised`, if it is to be done again.

    Raises:
        Rejected: if a person says no.
    """
    feedback = await _judged(prompt, settings)
    return work if feedback is None else Revised(feedback)


def approval_default(given: Any) -> tuple[Any, ...]:
    """The default of an approval: `approve` or `reject`, or the whole answer.

    Raises:
        UsageError: for anything else.
    """
    if given is NOTHING:
        return ()
    answer = {"action": given} if isinstance(given, str) else given
    if answer not in ({"action": APPROVE}, {"action": REJECT}):
        raise UsageError(f"the default of an approval is approve or reject, not {given!r:.60}")
    return (answer,)


def rounds_of(given: Any) -> int:
    """How often work may be asked for again.

    Raises:
        LimitError: for what is no such number.
    """
    rounds = count("rounds", given)
    if rounds > MOST_ROUNDS:
        raise UsageError(f"rounds must be at most {MOST_ROUNDS}, not {rounds}")
    return rounds


def approve(
    work: Node[R],
    prompt: str = "Is this good?\n{}",
    *,
    rounds: int = ROUNDS,
    default: Any = NOTHING,
    timeout: float | str | None = None,
    who: str | Sequence[str] = (),
    **options: Any,
) -> Node[R]:
    """A task that asks a person whether `work` is good; its value is that of `work`, as it was approved.

    The answer is `approve`; `reject`, which ends the run as `rejected`; or `revise` with feedback: then those tasks run again that take it, by a
    parameter `feedback`, with all tasks between them and `work`, under this one, and it is asked again, `rounds` times at most. In the first
    round `feedback` is what its function has as the default. Where no task takes it nothing can be revised.

    `{}` in `prompt` stands for the value of `work`. `default` is `approve` or `reject`, after `timeout`; `who` may answer; `options` are those of
    every task. People know the question by the key of this task in every round.

    Raises:
        UsageError, LimitError: for what cannot be.
    """
    if type(work) is not Node:
        raise UsageError(f"plait.approve asks about the work of a task: give its node, not {work!r:.60}")
    if not isinstance(prompt, str) or not prompt.strip():
        raise UsageError(f"the prompt of an approval must be text, not {prompt!r:.60}")
    refuse_options_of_code("plait.approve", options)
    checked = question_of("question", prompt, None, NOTHING, timeout, None, who)
    settings = settings_of(None, approval_default(default), checked.timeout, names_of(who))
    again, values = _again(work)
    settings |= {"rounds": rounds_of(rounds) if again.steps else 0, "round": 0}
    return _APPROVE.options(**options).bind(prompt, settings, again, work, *values)


def _again(work: Node[Any]) -> tuple[Again, list[Node[Any]]]:
    """What is done again for feedback, as steps, and the nodes whose values those need beside each other."""
    order = list(_in_order(work))
    again: set[int] = set()
    for node in order:  # needs come first
        if takes_feedback(node) or any(id(need) in again for need in node._needed()):
            again.add(id(node))
    place: dict[int, int] = {}
    values: list[Node[Any]] = []
    known: dict[int, int] = {}
    steps: list[tuple[Node[Any], list[list[int]], bool]] = []
    for node in order:
        if id(node) not in again:
            continue
        refs = []
        for need in _refs(node):
            if id(need) in place:
                refs.append([1, place[id(need)]])
            else:
                if id(need) not in known:
                    known[id(need)] = len(values)
                    values.append(need)
                refs.append([0, known[id(need)]])
        place[id(node)] = len(steps)
        steps.append((_bare(node), refs, takes_feedback(node)))
    return Again(steps), values


def _refs(node: Node[Any]) -> list[Node[Any]]:
    """The nodes in its arguments, in order."""
    return [*nodes_in(node._args), *nodes_in(node._beside.kwargs or {})]


def _bare(node: Node[Any]) -> Node[Any]:
    """The call alone: what it came after, and on which condition, has been seen to when it ran first."""
    definition = node._definition.but(when=None) if type(node._definition.when) is Node else node._definition
    return make_node(definition, node._args, Beside(node._beside.kwargs, node._beside.key))


def _in_order(work: Node[Any]) -> Iterator[Node[Any]]:
    """`work` and all that it needs, needs before users, without recursion."""
    seen: set[int] = set()
    stack: list[tuple[Node[Any], bool]] = [(work, False)]
    while stack:
        node, done = stack.pop()
        if done:
            yield node
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((need, False) for need in node._needed())


def takes_feedback(node: Node[Any]) -> bool:
    """Has its function a parameter for the feedback that nobody has filled?"""
    definition = node._definition
    if definition.each or definition.executor == "shell" or FEEDBACK in (node._beside.kwargs or {}):
        return False
    try:
        signature = inspect.signature(definition.body)
        found = signature.parameters.get(FEEDBACK)
        if found is None or found.kind in (found.VAR_POSITIONAL, found.VAR_KEYWORD, found.POSITIONAL_ONLY):
            return False
        return FEEDBACK not in signature.bind_partial(*node._args).arguments
    except (TypeError, ValueError):
        return False  # nobody can say what it takes


async def approved(prompt: str, settings: dict[str, Any], again: Again, work: Any, *values: Any) -> Any:
    """The body of `approve`: `work`, if it is good; else the nodes that do it again, with their own approval.

    Raises:
        Rejected: if a person says no.
    """
    feedback = await _judged(prompt.replace("{}", _shown(work)), settings)
    if feedback is None:
        return work
    attempt = current_attempt()
    assert attempt is not None
    made: list[Node[Any]] = []
    for node, refs, takes in again.steps:
        filled = iter([made[at] if inner else values[at] for inner, at in refs])
        args = replaced(node._args, filled)
        kwargs = replaced(dict(node._beside.kwargs or {}), filled)
        if takes:
            kwargs[FEEDBACK] = feedback
        made.append(make_node(node._definition, args, Beside(kwargs or None, node._beside.key)))
    settings = {**settings, "rounds": settings["rounds"] - 1, "round": settings["round"] + 1}
    key = driver_of(attempt).key(attempt.task).rpartition("/")[2]
    policy = driver_of(attempt).table.policies[attempt.task]
    definition = _APPROVE._definition.but(policy=policy)
    return make_node(definition, (prompt, settings, again, made[-1], *values)).named(key)


def _shown(work: Any) -> str:
    from plait.calls.shell import word

    text = word(work)
    return text if len(text) <= LONGEST_PROMPT // 2 else text[: LONGEST_PROMPT // 2] + " ..."


_APPROVE: TaskFunction[..., Any] = TaskFunction(approved, Definition("approve", approved, "async", PLAIN))
