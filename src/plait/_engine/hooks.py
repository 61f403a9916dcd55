"""Hooks: functions of the caller that are told of something, and change nothing in the run, whatever they do."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from plait.logs import log


class Hooks:
    """Calls hooks one after the other, in a thread of their own that is there while some are left. What they raise is logged."""

    __slots__ = ("_calls", "_lock", "_run", "_works")

    def __init__(self, run: str) -> None:
        self._run = run
        self._calls: deque[tuple[Callable[[Any], Any], Any]] = deque()
        self._lock = threading.Lock()
        self._works = False

    def call(self, hook: Callable[[Any], Any], report: Any) -> None:
        """Has `hook(report)` called soon; nobody waits for that, an exit of the program neither."""
        with self._lock:
            self._calls.append((hook, report))
            if self._works:
                return
            self._works = True
        try:
            threading.Thread(target=self._work, name="plait-hooks", daemon=True).start()
        except RuntimeError:  # no thread can be had: tasks are more important
            self._works = False
            log.exception("a hook of run %s is not called", self._run)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._calls:
                    self._works = False
                    return
                hook, report = self._calls.popleft()
            try:
                hook(report)
            except BaseException:
                log.exception("a hook of run %s raised; the run goes on", self._run)
