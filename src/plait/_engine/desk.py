"""Where the tasks of a run put their questions, and where people's answers come in: each question gets exactly one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Callable, Mapping
from json import dumps
from typing import TYPE_CHECKING, Any

from plait._core.policy import CONTROL, nearest
from plait._core.questions import (
    ANSWERED,
    APPROVAL,
    APPROVE,
    BY_DEFAULT,
    INTERRUPT,
    REVISE,
    TIMED_OUT,
    WITHDRAWN,
    Input,
    Question,
)
from plait._core.scheduler import Scheduler
from plait._core.states import FINAL, RUNNING, STATUSES, WAITING
from plait._core.table import Table
from plait.errors import NotStorable, TaskCancelled, UsageError
from plait.executors.base import Asked, Attempt, Ended
from plait.forms import Form
from plait.observe.questions import OpenQuestion, shown

if TYPE_CHECKING:
    from plait._engine.driver import Driver


def open_questions(run: str, scheduler: Scheduler, unix: Callable[[float], float]) -> list[OpenQuestion]:
    """What waits for an answer, in the order in which it was asked."""
    if scheduler.questions is None:
        return []
    return [shown(run, scheduler.table, each, unix) for each in scheduler.questions.open.values()]


def wanted(scheduler: Scheduler, address: str, run: str, which: tuple[str, int] | None = None) -> Input:
    """The open question of that address, or of the task of that path; with `which` only question number so much of the task of that path.

    Raises:
        UsageError: where there is none, saying what became of it, or what is asked.
    """
    if not isinstance(address, str):
        raise UsageError(f"a question is known by its key, as text, not by {address!r:.80}")
    questions, table = scheduler.questions, scheduler.table
    if which is not None and questions is not None:
        asked = questions.of.get(table.find(which[0]), [])
        if which[1] < len(asked):
            if asked[which[1]].what is None:
                return asked[which[1]]
            raise UsageError(f"question {address!r} of run {run} is closed: {ended(asked[which[1]], table)}")
    found = None if questions is None else questions.at(address)
    if found is not None:
        return found
    task = table.find(address)
    if questions is not None and task in questions.open:
        return questions.open[task]
    latest = None if questions is None else questions.latest(address)
    if latest is None and questions is not None and task in questions.of:
        latest = questions.of[task][-1]
    if latest is not None:
        raise UsageError(f"question {address!r} of run {run} is closed: {ended(latest, table)}")
    known = [] if questions is None else [each.question.address for each in questions.open.values()]
    if task >= 0:
        raise UsageError(
            f"task {address!r} of run {run} asks nothing: it is {STATUSES[table.status[task]]}{_others(known)}"
        )
    raise UsageError(f"run {run} has no question {address!r}{nearest(address, known) or _others(known)}")


def _others(known: list[str]) -> str:
    if not known:
        return ", and no question is open"
    more = f" and {len(known) - 5} more" if len(known) > 5 else ""
    return f"; open: {', '.join(known[:5])}{more}"


def ended(found: Input, table: Table) -> str:
    """What became of a question, in words."""
    value = _short(found.value)
    if found.what == ANSWERED:
        return f"it was answered{'' if found.by is None else f' by {found.by}'}, with {value}"
    if found.what == BY_DEFAULT:
        return f"nobody answered in time, and its default counts: {value}"
    if found.what == TIMED_OUT:
        return "its time for an answer is over, and its task timed out"
    if found.what == WITHDRAWN:
        return "its task went on without an answer"
    state = table.status[found.task]
    return "its task is being cancelled" if state == WAITING else f"its task is {STATUSES[state]}"


def _short(value: Any) -> str:
    text = dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."


def check_answer(found: Input, value: Any, by: str | None) -> None:
    """Nothing, if that may be the answer.

    Raises:
        UsageError: for what does not fit, or somebody who was not asked.
    """
    question = found.question
    if question.who and by not in question.who:
        asked = ", ".join(question.who)
        raise UsageError(f"question {question.address!r} is for {asked}{'' if by is None else f', not for {by}'}")
    Form.from_schema(question.form).check(value, f"the answer to {question.address!r}")
    if question.kind == APPROVAL:
        _check_approval(question, value)
    if question.kind == INTERRUPT and "value" in value and value["action"] != "succeed":
        raise UsageError(f"the answer to {question.address!r} has a value, which goes with the action succeed alone")


def _check_approval(question: Question, value: Mapping[str, Any]) -> None:
    has_feedback = bool(str(value.get("feedback", "")).strip())
    if value["action"] == REVISE and not has_feedback:
        raise UsageError(
            f"the answer to {question.address!r} asks for a revision, and does not say of what: revise FEEDBACK"
        )
    if value["action"] == APPROVE and has_feedback:
        raise UsageError(
            f"the answer to {question.address!r} has feedback, which goes with revise, or with reject as its reason"
        )


class _Waiter:
    """Code that waits for an answer, and then for a slot."""

    __slots__ = ("attempt", "ended", "future", "number")

    def __init__(self, attempt: Attempt, number: int, future: Any) -> None:
        self.attempt = attempt
        self.number = number
        self.future = future  # asyncio's or that of a thread
        self.ended: Ended | None = None
        """How its code ended, where that did not wait."""

    def let_go(self) -> None:
        """No answer comes: whatever still waits for it ends."""
        if self.future.done():
            return
        if isinstance(self.future, asyncio.Future):
            self.future.cancel()
        else:
            self.future.set_exception(TaskCancelled("nobody waits for the answer any more"))


class Desk:
    """Questions and answers of one run. Used in the loop's thread only."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.waiting: dict[int, _Waiter] = {}
        """The code that waits, by task: until it has a slot again, or ended."""
        self.closed = False
        """Is the run left, so that nothing counts any more?"""
        self._used: dict[
            int, tuple[Attempt | None, set[int]]
        ] = {}  # attempt, and the answers on record that it was given

    # -- tasks ask

    def recorded(self, attempt: Attempt, question: Question) -> Input | None:
        """An answer that is on record: an earlier attempt, or an earlier process, asked the same."""
        questions = self._driver.scheduler.questions
        if questions is None:
            return None
        used = self._used_by(attempt)
        found = questions.recorded(attempt.task, question, used)
        if found is not None:
            used.add(found.number)
        return found

    def _used_by(self, attempt: Attempt) -> set[int]:
        known, used = self._used.get(attempt.task, (None, set()))
        if known is not attempt:
            used = set()
            self._used[attempt.task] = attempt, used
        return used

    def put(self, attempt: Attempt, question: Question, future: Any) -> _Waiter:
        """The question is open: its task has no slot any more. `future` gets the `Input` once that is answered and there is one again.

        Raises:
            UsageError: where its task has another question open, or is over.
            TaskCancelled: where it is to stop.
        """
        driver, task = self._driver, attempt.task
        scheduler, table = driver.scheduler, driver.table
        if task in self.waiting:
            raise UsageError(
                f"task {table.key(task)!r} has a question open: ask for all of it in one form, or ask in tasks of their own"
            )
        if table.status[task] != RUNNING or table.odd[task] & CONTROL or attempt.number != table.attempts(task):
            raise UsageError(f"task {table.key(task)!r} is over, and can ask nothing")
        other = None if scheduler.questions is None else scheduler.questions.at(question.address)
        if other is not None:
            raise UsageError(f"a question {question.address!r} is open already: give this one another key")
        if attempt.stopped_at is None:
            attempt.timed = 0  # its code has begun
            driver.report(attempt, Asked(question))
        found = scheduler.open_question(task)
        if found is None:
            raise TaskCancelled(f"task {table.key(task)!r} was to stop when it asked")
        waiter = self.waiting[task] = _Waiter(attempt, found.number, future)
        driver.more()
        return waiter

    def goes_on(self, task: int) -> bool:
        """A task was taken: True if its code was there, and goes on."""
        waiter = self.waiting.pop(task, None)
        if waiter is None:
            return False
        driver = self._driver
        waiter.attempt.heard = driver.now
        if waiter.ended is not None:
            waiter.let_go()
            driver.loop.call_soon(self._tell_end, waiter)
        elif not waiter.future.done():
            assert driver.scheduler.questions is not None
            found = driver.scheduler.questions.of[task][waiter.number]
            self._used_by(waiter.attempt).add(found.number)
            waiter.future.set_result(found)
        return True

    def ends_without_slot(self, task: int) -> None:
        """A task was told to stop when it had its slot again: where its code had ended before, that is told now."""
        waiter = self.waiting.get(task)
        if waiter is not None and waiter.ended is not None:
            del self.waiting[task]
            waiter.let_go()
            self._driver.loop.call_soon(self._tell_end, waiter)

    def _tell_end(self, waiter: _Waiter) -> None:
        assert waiter.ended is not None
        if not self._driver.done.done():
            waiter.ended.at = self._driver.look()
            self._driver.report(waiter.attempt, waiter.ended)
            self._driver.more()

    def holds_back(self, attempt: Attempt, ended: Ended) -> bool:
        """Did code end without its answer? Then that is told once its task has a slot again, as the end of an attempt has to be."""
        if self.closed:
            return True
        waiter = self.waiting.get(attempt.task)
        if waiter is None or waiter.attempt is not attempt:
            return False
        if self._driver.table.status[attempt.task] >= FINAL:
            del self.waiting[attempt.task]
            waiter.let_go()
            return False
        waiter.ended = ended
        self.withdraw(waiter)
        return True

    def give_back(self, waiter: _Waiter) -> None:
        """Code was cancelled that had its answer, and did not take it: whoever asks the same again gets it."""
        self._used_by(waiter.attempt).discard(waiter.number)

    def withdraw(self, waiter: _Waiter) -> None:
        """Nobody waits for the answer any more: the code goes on once it has a slot."""
        driver = self._driver
        driver.scheduler.withdrawn(waiter.attempt.task, waiter.number, driver.look())
        driver.follow()

    def forget(self, waiter: _Waiter) -> None:
        """Its code is told to stop, and waits no more."""
        if self.waiting.get(waiter.attempt.task) is waiter:
            del self.waiting[waiter.attempt.task]

    def is_stopping(self, waiter: _Waiter) -> bool:
        """Is the code ended from outside, so that it needs no slot to end in?"""
        driver = self._driver
        task = waiter.attempt.task
        if driver.done.done() or driver.table.status[task] >= FINAL or waiter.attempt.stopped_at is not None:
            return True
        return driver.cancelled_outside() and not driver.scheduler.cleanups.spares(task)

    def close(self) -> None:
        """This process drives the run no more: whatever waits is told to stop, and nothing that it says counts."""
        self.closed = True
        driver = self._driver
        for waiter in list(self.waiting.values()):
            waiter.attempt.signal_stop(driver.now)
            driver.stop_code(waiter.attempt)
            waiter.let_go()

    # -- people answer

    def questions(self) -> list[OpenQuestion]:
        """What waits for an answer."""
        driver = self._driver
        return open_questions(driver.id, driver.scheduler, driver.unix)

    def answer(self, address: str, value: Any, by: str | None = None, which: tuple[str, int] | None = None) -> str:
        """Takes the answer to an open question; its key. `which` says by task and number that it is meant for that one alone.

        Raises:
            UsageError: for a question that is not open, a value that does not fit, or somebody who was not asked. Nothing has changed then.
        """
        driver = self._driver
        if driver.done.done() or not driver.scheduler.unfinished:
            raise UsageError(f"run {driver.id} is over: it takes no answers")
        found = wanted(driver.scheduler, address, driver.id, which)
        check_answer(found, value, by)
        try:
            driver.scheduler.answered(found.task, found.number, value, by, driver.look())
        except NotStorable as error:
            raise UsageError(f"the answer to {address!r} does not fit: {error}") from None
        driver.follow()
        return found.question.address


def _hidden(driver: Driver, question: Question) -> Question:
    """A question without the secrets of the run."""
    return question if driver.redactor is None else Question(*driver.redactor.redact(question.row()))


async def waited(driver: Driver, attempt: Attempt, question: Question) -> Any:
    """The answer to a question, on the run's loop."""
    question = _hidden(driver, question)
    desk = driver.desk
    found = desk.recorded(attempt, question)
    if found is not None:
        return found.value
    waiter = desk.put(attempt, question, driver.loop.create_future())
    try:
        return (await asyncio.shield(waiter.future)).value
    except asyncio.CancelledError:
        if not desk.is_stopping(waiter):
            desk.withdraw(waiter)
        # What runs needs a slot, also on its way out, and however often it is cancelled.
        while not waiter.future.done() and not desk.is_stopping(waiter):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(waiter.future)
        desk.give_back(waiter)
        raise
    finally:
        if desk.is_stopping(waiter):
            desk.forget(waiter)


def waited_in_thread(driver: Driver, attempt: Attempt, question: Question) -> Any:
    """The same, for a thread, which stands still meanwhile."""
    answer: concurrent.futures.Future[Input] = concurrent.futures.Future()
    question = _hidden(driver, question)

    def stopped() -> None:
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # it was let go
            answer.set_exception(TaskCancelled("the task was to stop while it waited for an answer"))

    def begin() -> None:
        try:
            found = driver.desk.recorded(attempt, question)
            if found is not None:
                answer.set_result(found)
                return
            waiter = driver.desk.put(attempt, question, answer)
        except BaseException as error:
            answer.set_exception(error)
            return

        def told() -> None:
            driver.desk.forget(waiter)
            stopped()

        if not attempt.signal.listen(told):
            told()

    try:
        driver.loop.call_soon_threadsafe(begin)
    except RuntimeError:
        raise TaskCancelled("the run is over") from None
    return answer.result().value


__all__ = [
    "Desk",
    "check_answer",
    "ended",
    "open_questions",
    "waited",
    "waited_in_thread",
    "wanted",
]
