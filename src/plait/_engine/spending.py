"""What the code of a task says that it has used up, on its way to the run that counts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from plait._engine.doors import running_loop
from plait._engine.driver import Driver
from plait.executors.base import Attempt, Spent


def spend(attempt: Attempt, units: Mapping[str, float]) -> None:
    """Counts units for an attempt, from any thread; its `idle_timeout` begins anew."""
    driver = attempt.sink
    assert isinstance(driver, Driver)
    attempt.heard = driver.clock()
    if running_loop() is driver.loop:
        driver.report(attempt, Spent(units))
    else:
        driver.spendings.append((attempt.task, units))
        tell(driver, driver.count_spendings)


def tell(driver: Driver, what: Callable[[], None]) -> None:
    """Calls `what` on the loop of the run: at once there, soon from any other thread."""
    if running_loop() is driver.loop:
        what()
    else:
        try:
            driver.loop.call_soon_threadsafe(what)
        except RuntimeError:
            pass  # the run is over
