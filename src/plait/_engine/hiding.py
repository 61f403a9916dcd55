"""The secrets of a run are taken out of every fact before the scheduler is told, so nothing that is kept or told of the run holds one."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plait._engine.driver import Driver
    from plait.redaction import Redactor


def hide(driver: Driver, redactor: Redactor) -> None:
    """From now on the driver's scheduler is told facts without secrets, and what is logged of runs and tasks has none."""
    scheduler, table, clean = driver.scheduler, driver.table, redactor.redact
    returned, raised, undecidable, interrupted, answered, cancelled, spent, decided = (
        scheduler.returned, scheduler.raised, scheduler.undecidable, scheduler.interrupted, scheduler.answered,
        scheduler.cancelled, scheduler.spent, scheduler.decided,
    )  # fmt: skip

    def returning(task: int, attempt: int, value: Any, now: float, stopped: int = False) -> None:
        returned(task, attempt, clean(value), now, stopped)

    def raising(
        task: int,
        attempt: int,
        error: BaseException,
        now: float,
        chance: float = 0.0,
        stopped: bool = False,
        value: Any = None,
        again: bool | None = None,
    ) -> None:
        told = clean(error)
        if told is not error and again is None:
            again = table.policies[task].retry.fits(error)  # its class says that, and may be gone
        raised(task, attempt, told, now, chance, stopped, clean(value), again)

    def undeciding(task: int, error: BaseException, now: float) -> None:
        undecidable(task, clean(error), now)

    def interrupting(task: int, attempt: int, why: str, now: float) -> None:
        interrupted(task, attempt, clean(why), now)

    def answering(task: int, number: int, value: Any, by: str | None, now: float) -> None:
        answered(task, number, clean(value), clean(by), now)

    def cancelling(task: int, by: str | None, now: float) -> None:
        cancelled(task, clean(by), now)

    def spending(task: int, units: Any, now: float) -> None:
        spent(task, {clean(name): number for name, number in units.items()}, now)

    def deciding(task: int, choice: bool, now: float, *wants: Any) -> None:
        decided(task, choice, now, *map(clean, wants))

    scheduler.returned = returning  # type: ignore[method-assign]
    scheduler.raised = raising  # type: ignore[method-assign]
    scheduler.undecidable = undeciding  # type: ignore[method-assign]
    scheduler.interrupted = interrupting  # type: ignore[method-assign]
    scheduler.answered = answering  # type: ignore[method-assign]
    scheduler.cancelled = cancelling  # type: ignore[method-assign]
    scheduler.spent = spending  # type: ignore[method-assign]
    scheduler.decided = deciding  # type: ignore[method-assign, assignment]
    _records.hidden.append(redactor)
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_records)  # once, however often it is said


def unhide(redactor: Redactor) -> None:
    """The run is over: what is logged from now on is of others."""
    if redactor in _records.hidden:
        _records.hidden.remove(redactor)
    if not _records.hidden:
        for name in LOGGERS:
            logging.getLogger(name).removeFilter(_records)


LOGGERS = ("plait", "plait.task")
"""Who logs here: the engine, and tasks by the log of their context."""


class _Records(logging.Filter):
    """Takes the secrets of the runs that go on out of what is logged, before any handler sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: list[Redactor] = []

    def filter(self, record: logging.LogRecord) -> bool:
        for redactor in self.hidden:
            self._clean(record, redactor)
        return True

    def _clean(self, record: logging.LogRecord, redactor: Redactor) -> None:
        try:
            said = record.getMessage()
        except Exception:
            said = repr((record.msg, record.args))  # what does not fit together is told by who handles it
        clean = redactor.text(said)
        if clean != said:
            record.msg, record.args = clean, ()
        if record.exc_info:
            trace = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            clean = redactor.text(trace)
            if clean != trace:
                record.exc_info, record.exc_text = None, clean
        for name in ("stack_info", "task", "key"):
            part = getattr(record, name, None)
            if isinstance(part, str):
                setattr(record, name, redactor.text(part))


_records = _Records()
