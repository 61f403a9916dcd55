"""Readers of a run that its caller gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from plait.errors import UsageError

if TYPE_CHECKING:
    from plait._engine.driver import Driver
    from plait.observe.metrics import Metrics
    from plait.stores.base import RunInfo
    from plait.stores.contract import Store


def readers_of(given: Any) -> Sequence[Callable[[Any], object]]:
    """The `readers` of a run, checked.

    Raises:
        UsageError: for what is no list of callables, or cannot be called here.
    """
    if given is None or (isinstance(given, (list, tuple)) and not given):
        return ()
    if callable(given) or isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise UsageError(f"readers must be a list of callables, not {given!r:.80}: give readers=[...]")
    import inspect  # few runs have readers

    from plait.observe.metrics import Metrics

    readers = list(given)
    for each in readers:
        if isinstance(each, Metrics) and each.run is not None:
            raise UsageError(f"these figures are of run {each.run}: give each run a plait.Metrics() of its own")
        if not callable(each):
            raise UsageError(f"a reader is called with each event, and {each!r:.80} cannot be called")
        if inspect.iscoroutinefunction(each) or inspect.iscoroutinefunction(getattr(each, "__call__", None)):  # noqa: B004
            raise UsageError(
                f"reader {each!r:.80} is a coroutine function: use `async for event in run.events()`, or give a plain function"
            )
    return readers


def hooks_of(on_question: Any) -> Sequence[Callable[[Any], object]]:
    """The `on_question` of a run, as readers.

    Raises:
        UsageError: for what is neither a function nor a command.
    """
    if on_question is None:
        return ()
    from plait.observe.questions import hook_of  # few runs ask

    return hook_of(on_question)


def show(driver: Driver, readers: Sequence[Callable[[Any], object]]) -> None:
    """Has every event of a run that has not started shown to `readers`. Of one that is taken over, those from here on."""
    if not readers:
        return
    from plait.observe.metrics import Metrics
    from plait.observe.readers import Reader

    stream = driver.open_stream()
    measured = next((each for each in readers if type(each) is Metrics), None)
    if measured is not None:
        stream.measure(measured)  # it need not be told what the stream counts anyway
    for each in readers:
        if each is measured:
            continue
        shown = _apart(each, driver.id)
        if isinstance(each, Reader) and stream.told:
            _tell(shown, partial(each.enter, driver.id, driver.name, _copy(driver.id, driver.name, stream.metrics)))
        stream.subscribe(shown, needs=isinstance(each, Reader) and each.needs)
    if not stream.told:
        stream.begin()


def show_end(store: Store, run: RunInfo, readers: Sequence[Callable[[Any], object]]) -> None:
    """Shows `readers` of a stored run that was over before they came what they would know at its end, and that it is over."""
    if not readers:
        return
    from plait._engine.telling import Telling
    from plait.observe.readers import Reader

    telling = Telling(store, run, store.generation(run, run.generation))
    telling.tell()
    for each in readers:
        shown = _apart(each, telling.id)
        if isinstance(each, Reader):
            _tell(shown, partial(each.enter, telling.id, telling.name, telling.stream.metrics))
            _tell(shown, partial(each.leave, telling.id))
        shown(None)


def _copy(run: str, name: str, metrics: Metrics) -> Metrics:
    """Figures as they are now, for somebody who looks at them later."""
    from plait.observe.metrics import Metrics

    copy = Metrics()
    copy.enter(run, name, metrics)
    return copy


def _tell(shown: Callable[[Any], object], call: Callable[[], object]) -> None:
    """Calls a reader where it is shown events, too."""
    from plait.observe.readers import Apart

    if isinstance(shown, Apart):
        shown.do(call)
    else:
        call()


def _apart(reader: Callable[[Any], object], run: str) -> Callable[[Any], object]:
    """The reader, in a thread of its own unless it is prompt."""
    from plait.observe.readers import Apart

    return reader if vars(type(reader)).get("prompt", False) else Apart(reader, run)
