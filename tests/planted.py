"""Schedulers with one planted bug each: the source with one line changed, compiled beside the real one."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any, NamedTuple

from plait._core import admission, endings, groups, health, limits, policy, ready, scheduler, spending, table, timers

BUILT = [table, timers, limits, ready, groups, endings, spending, admission, scheduler]
"""Modules of the core, each before those that are built upon it."""


class Bug(NamedTuple):
    """One change to the source of one module of the core."""

    name: str
    module: types.ModuleType
    old: str
    new: str


BUGS = [
    Bug(
        "the run limit is off by one",
        scheduler,
        "if self.used >= self.room:",
        "if self.used > self.room:",
    ),
    Bug("a failed need counts as done", scheduler, "bad = failed and not allowed", "bad = False"),
    Bug(
        "a retry keeps its slot",
        scheduler,
        "        if not odd & CONTROL:\n            self._release(task, now, stopped != NOT_BEGUN)\n        why = ",
        "        if not odd & CONTROL and error is None:\n            self._release(task, now, stopped != NOT_BEGUN)\n        why = ",
    ),
    Bug("one attempt too many", policy, "return attempt < self.attempts and", "return attempt <= self.attempts and"),
    Bug(
        "levels upside down",
        scheduler,
        "return int(self.table.ready_at[task]) - self.table.policies[task].head_start",
        "return int(self.table.ready_at[task]) + self.table.policies[task].head_start",
    ),
    Bug(
        "last come, first served",
        scheduler,
        "task = queue.first.popleft() if",
        "task = queue.first.pop() if",
    ),
    Bug(
        "a report of an earlier attempt ends the latest",
        scheduler,
        "        if attempt != table.numbers.get(task, 1):\n            return  # of an earlier attempt\n",
        "",
    ),
    Bug(
        "what a task took of a limit is not given back",
        admission,
        "            limit.used -= weight\n            if limit.crowd or",
        "            if limit.crowd or",
    ),
    Bug(
        "nobody is woken for the room in a limit",
        admission,
        "            limit.used -= weight\n            if limit.crowd or limit.wanted:\n                self.wake(limit, now)",
        "            limit.used -= weight",
    ),
    Bug("what is returned is kept, too", admission, "            share.capacity -= idle\n", ""),
    Bug(
        "nobody asks for what is shared",
        admission,
        "            self._tell(Ask(share, units, units + max(0, behind, ahead)))\n",
        "            pass\n",
    ),
    Bug(
        "what others want is kept until they want no more",
        admission,
        "if share.wanted or units:",
        "if units:",
    ),
    Bug("a used unit is good for another start", limits, "        self.capacity -= weight\n", ""),
    Bug(
        "what is granted wakes nobody",
        admission,
        "        elif units:\n            share.asked, share.ahead = 0, False\n            sent = 0\n            while",
        "        elif units:\n            share.asked, share.ahead = 0, False\n            sent = 0\n            while share.asked and",
    ),
    Bug("priorities do not age", scheduler, "return int(self.table.ready_at[task]) -", "return -"),
    Bug(
        "a weight counts as one",
        admission,
        "            limit.used += weight\n        if rates",
        "            limit.used += 1\n        if rates",
    ),
    Bug(
        "a light task overtakes a heavy one",
        admission,
        "return first is not None and first.place < place",
        "return False",
    ),
    Bug(
        "who waits for nothing wakes nobody",
        admission,
        "        if waiter is not None:\n            self.wake(waiter.limit, now)",
        "",
    ),
    Bug(
        "only one is woken for the room of many",
        scheduler,
        "                if queue.came_from is not None:\n                    self.admission.wake_another(now)",
        "                queue.came_from = None",
    ),
    Bug("an answer costs another call", admission, "if rates and task not in self.answered:", "if rates:"),
    Bug("nobody is slowed down", admission, "            rate.shut(now + seconds)\n", ""),
    Bug(
        "what a spent budget ends is left undrawn",
        scheduler,
        'self._halt_run(OnFailure.FINISH, "budget", now)\n                self._drain(now)\n',
        'self._halt_run(OnFailure.FINISH, "budget", now)\n',
    ),
    Bug(
        "a spent budget ends nothing",
        scheduler,
        "        if self._broke:\n            self._end",
        "        if False:\n            self._end",
    ),
    Bug(
        "a vote that is decided is enough",
        scheduler,
        "            if family.need is None or family.good >= family.need:\n                self._win",
        "            if True:\n                self._win",
    ),
    Bug(
        "a wish to be called later is a try",
        scheduler,
        "            self._interruptions[task] = self._interruptions.get(task, 0) + 1\n            self.timers.arm(Due.RETRY, task, now + after)",
        "            self.timers.arm(Due.RETRY, task, now + after)",
    ),
    Bug("a window half as long", limits, "until = now + self.interval", "until = now + self.interval / 2"),
    Bug(
        "a window that counts from the slot",
        admission,
        "        self._enter_all(task)\n        return True",
        "        self._enter_all(task)\n        if task in self.unseen:\n            self.count_units(task, now)\n        return True",
    ),
    Bug(
        "nobody is woken when a rate opens",
        scheduler,
        "                    self.admission.opened(task, now)",
        "                    pass",
    ),
    Bug(
        "a key is no limit",
        limits,
        "            limit = self._key(key, most)\n            limit.tasks += 1  # for good",
        '            limit = Limit("key", key, 99)\n            limit.tasks += 1  # for good',
    ),
    Bug(
        "what grows in a run that was ended starts all the same",
        scheduler,
        "if self._mode is not None if parent == NONE else self._ends(parent):",
        "if parent != NONE and self._ends(parent) and not self._mode:",
    ),
    Bug(
        "an abandoned attempt frees its slot",
        scheduler,
        "        self._abandoned.add(task)\n",
        "        self._abandoned.add(task)\n        self._release(task, now)\n",
    ),
    Bug("a parent ends with its first child", scheduler, "if family.left or family.open or", "if family.open or"),
    Bug(
        "a timeout counts from ready",
        scheduler,
        "return self.table.started_at[task] + timeout - self.table.earlier",
        "return self.table.ready_at[task] + timeout - self.table.earlier",
    ),
    Bug(
        "a timeout runs on while its task waits for a person",
        scheduler,
        "        table.earlier[task] = began, ran\n        self._disarm",
        "        table.earlier[task] = began, 0.0\n        self._disarm",
    ),
    Bug(
        "what ends after its timeout counts as success",
        scheduler,
        "if policy.timeout is not None and (now > self._due(task) or",
        "if policy.timeout is not None and (",
    ),
    Bug(
        "what did not suspend and passed its timeout counts as success",
        scheduler,
        "mark & TIMED and now > table.started_at[task] + table.policies[task].most_s",
        "False",
    ),
    Bug("what is unhealthy never recovers", scheduler, "self.admission.probe(task, now)", "pass"),
    Bug("what is unhealthy is not shut", health, "self.capacity = self.used", "self.capacity = sys.maxsize"),
    Bug(
        "two probes at once",
        health,
        "        self.good_probes = 0\n        self.capacity += 1\n",
        "        self.good_probes = 0\n        self.capacity += 2\n",
    ),
    Bug(
        "a probe that fails makes all well",
        health,
        "            return self._shut(1)\n",
        "            return self._open()\n",
    ),
    Bug("one probe is enough", health, "if self.good_probes >= self.monitor.probes", "if self.good_probes >= 1"),
    Bug(
        "what began before speaks for now",
        health,
        "mine = self.epochs.pop(task, None) == self.epoch",
        "mine = self.epochs.pop(task, None) is not None",
    ),
    Bug(
        "what began before leaves room for a second probe",
        health,
        "            self.capacity -= 1\n",
        "            pass\n",
    ),
    Bug(
        "every pause is as long as the first",
        health,
        "min(2 * self.pause, monitor.max_pause)",
        "min(self.pause, monitor.max_pause)",
    ),
    Bug(
        "an old error counts for ever",
        health,
        "            self.bad -= outcomes.popleft()\n",
        "            outcomes.popleft()\n",
    ),
    Bug(
        "nobody hears of what ends well",
        scheduler,
        "                    self._judge(task, True, now)\n",
        "                    pass\n",
    ),
    Bug(
        "a wish to be called later is an error",
        scheduler,
        "if state == CANCELLED or late or (state == FAILED and error is not None and retry_after(error) > 0):",
        "if state == CANCELLED or late:",
    ),
    Bug("a deadline is an error", scheduler, "if state == CANCELLED or late or (", "if state == CANCELLED or ("),
    Bug("nobody asks about silence", scheduler, "self.turns.append((Turn.LISTEN, task))", "pass"),
    Bug("signs of life are not heard", scheduler, "if at + idle <= now:", "if table.started_at[task] + idle <= now:"),
    Bug(
        "what is silent goes on",
        scheduler,
        "            self._stop(task, Stop.IDLE, now)\n",
        "            self.timers.arm(Due.IDLE, task, now + idle)\n",
    ),
    Bug(
        "an answer about an earlier attempt ends the latest",
        scheduler,
        "            or attempt != table.attempts(task)\n            or task in",
        "            or task in",
    ),
    Bug(
        "what was ended as idle counts as success",
        scheduler,
        "        if why == Stop.IDLE and over:\n            return TIMED_OUT, False\n",
        "",
    ),
    Bug(
        "the end of a plain child is not counted",
        scheduler,
        "            family.left -= 1\n            if family.counts:",
        "            if family.counts:",
    ),
    Bug(
        "a second report of a plain end counts again",
        scheduler,
        "            return  # a duplicate\n        # Most",
        "            pass\n        # Most",
    ),
    Bug(
        "what ended in the queue starts",
        scheduler,
        "            if table.status[task] != READY:  # it ended while it stood in the queue",
        "            if table.status[task] == RUNNING:",
    ),
    Bug("a skipped need counts as success", scheduler, "            seen |= _SKIP\n", "            seen |= _GOOD\n"),
    Bug(
        "a pause starts nothing, except at once",
        scheduler,
        "        self._paused = True\n        self.room = 0\n",
        "        self._paused = True\n",
    ),
    Bug(
        "a waiting task keeps its slot",
        scheduler,
        "        self._release(task, now)\n        self._ask(task, question, now)",
        "        self._ask(task, question, now)",
    ),
    Bug(
        "a lent task runs without a slot",
        scheduler,
        "        self.table.move(task, RUNNING, now)\n        self.used += 1\n",
        "        self.table.move(task, RUNNING, now)\n",
    ),
    Bug(
        "a lent task that comes back is forgotten",
        scheduler,
        "            self._queue.put_back(task, self._level(task))\n\n    def _recall",
        "            pass\n\n    def _recall",
    ),
    Bug(
        "a lent task is swept",
        scheduler,
        "spared={*self.lent, *spared} if spared else self.lent)",
        "spared=spared)",
    ),
    Bug(
        "cleanups begin with everything else",
        scheduler,
        "if not left[task] and task not in last:",
        "if not left[task]:",
    ),
    Bug(
        "cleanups of a run wait for ever",
        scheduler,
        "self.unfinished == last.left(NONE) and self._begin",
        "self.unfinished < last.left(NONE) and self._begin",
    ),
    Bug(
        "cleanups begin while one more is at work",
        scheduler,
        "self.unfinished == last.left(NONE) and self._begin",
        "self.unfinished <= last.left(NONE) + 1 and self._begin",
    ),
    Bug(
        "a run that ends takes its cleanups along",
        scheduler,
        "mode, spared = self._mode, self.cleanups.spared()",
        "mode, spared = self._mode, set()",
    ),
    Bug(
        "a group that ends takes its cleanups along",
        scheduler,
        "        spared = self.cleanups.alive\n        self._close_restarts",
        "        spared = set()\n        self._close_restarts",
    ),
    Bug(
        "a run that ended has no slot for cleanups",
        scheduler,
        "may = (self._mode is None or self.cleanups.alive) and",
        "may = self._mode is None and",
    ),
    Bug(
        "what a cleanup grows is swept with the run",
        endings,
        "            for rows in self._table.grown(task):\n                stack.extend(rows)\n",
        "",
    ),
    Bug(
        "a failed task is not repaired",
        scheduler,
        "repaired = task in self._repairs and state in (FAILED, TIMED_OUT) and",
        "repaired = task in self._repairs and state == TIMED_OUT and",
    ),
    Bug(
        "what fails in an on_error is the first cause",
        scheduler,
        "if family is not None and table.repairs.get(family.parent) == task:",
        "if False:",
    ),
    Bug(
        "whatever became of its on_error, a task is repaired",
        scheduler,
        "return state == SUCCEEDED or (state in (FAILED, TIMED_OUT) and table.policies[repair].allow_failure)",
        "return state != NOT_STARTED",
    ),
    Bug(
        "an on_error runs in a run that ends",
        scheduler,
        "if table.started_at[task] == NEVER or self._ends_around(task):",
        "if table.started_at[task] == NEVER:",
    ),
    Bug(
        "a second report of a failed task is the end of its on_error",
        scheduler,
        "if table.status[task] != RUNNING or task in table.failures:\n            return  # a duplicate",
        "if table.status[task] != RUNNING:\n            return  # a duplicate",
    ),
    Bug(
        "a cleanup that failed fails nothing",
        scheduler,
        "        cleans = task in self.cleanups.alive\n",
        "        cleans = task in self.cleanups.alive\n        if cleans:\n            return\n",
    ),
    Bug(
        "one_success waits for all",
        scheduler,
        "met, none = state == SUCCEEDED, met and not seen & _GOOD",
        "met, none = met and bool(seen & _GOOD), met and not seen & _GOOD",
    ),
    Bug("a crash is a try", scheduler, "tries = attempt - self._interruptions.get(task, 0)", "tries = attempt"),
    Bug(
        "who was interrupted goes to the end of the line",
        scheduler,
        "                self._queue.put_first(task, level)\n",
        "                self._queue.push(task, self._level(task))\n",
    ),
    Bug(
        "what a cleanup does waits until all is well",
        admission,
        "            self.asks[task] = tuple(each for each in held if not each[0].is_health), used\n",
        "            pass\n",
    ),
    Bug(
        "a stale number answers the next question",
        scheduler,
        "return found if found is not None and number in (None, found.number) else None",
        "return found",
    ),
    Bug(
        "the timer of an answer is not disarmed",
        scheduler,
        "        self.questions.close(task, what, now, value, by)\n        self.timers.disarm(Due.ANSWER, task)\n",
        "        self.questions.close(task, what, now, value, by)\n",
    ),
    Bug("a default is ignored", scheduler, "        if question.default:\n", "        if False:\n"),
    Bug(
        "nobody is asked about code that waited when its process died",
        scheduler,
        "        if policy.on_interrupt is not OnInterrupt.RERUN:\n",
        "        if False:\n",
    ),
    Bug(
        "nobody is asked about code that ran when its process died",
        scheduler,
        "if policy.on_interrupt is OnInterrupt.ASK and begun and",
        "if False and",
    ),
    Bug(
        "nobody is asked about code that had its answer when its process died",
        scheduler,
        "                if task in self._lost:\n",
        "                if False:\n",
    ),
    Bug(
        "what a person lets fail is run again",
        scheduler,
        '        if wanted["action"] == RERUN:\n',
        '        if wanted["action"] != SUCCEED:\n',
    ),
    Bug(
        "who had its answer goes on after its process died",
        scheduler,
        "            self.admission.answered.discard(task)\n            self._lose_waiting(task, now)\n",
        "            self._lose_waiting(task, now)\n",
    ),
    Bug(
        "who waited goes on after its process died",
        scheduler,
        "                self.questions.gone.add(task)\n",
        "",
    ),
    Bug(
        "a cancelled task is retried",
        scheduler,
        "            or task in self._unwanted\n            or self.spending.over",
        "            or self.spending.over",
    ),
    Bug(
        "a group is one wider than it may be",
        groups,
        "if len(self.under_way) < self.most:",
        "if len(self.under_way) <= self.most:",
    ),
    Bug(
        "nobody follows a child that is final",
        groups,
        "        while line and len(self.under_way) < self.most:\n",
        "        while False:\n",
    ),
    Bug(
        "a child that grows leaves its place when it begins",
        groups,
        "            self.under_way.add(task)\n            return True\n",
        "            return True\n",
    ),
    Bug("the last in line is the first", groups, "task = line.popleft()", "task = line.pop()"),
    Bug(
        "those in the line of a group that ends stay there",
        groups,
        "        self._waiting.difference_update(self._line)\n",
        "",
    ),
    Bug("a rejected run goes on", scheduler, '        self._halt_run(mode, "rejected", now)\n', "        pass\n"),
    Bug(
        "what was rejected is repaired",
        scheduler,
        "state in (FAILED, TIMED_OUT) and not self._is_rejected(task)\n",
        "state in (FAILED, TIMED_OUT)\n",
    ),
    Bug(
        "who asks in a run that ends waits for ever",
        scheduler,
        "        self._ask(task, question, now)\n        if self._ends(task):\n            self._drop(task, CANCELLED, now)\n            self._drain(now)\n",
        "        self._ask(task, question, now)\n",
    ),
    Bug(
        "the question of a task that is over stays open",
        scheduler,
        "        if table.status[task] == WAITING:\n            self._close_question(task, now, what)\n        if not has_code",
        "        if not has_code",
    ),
    Bug(
        "a task that grew more is not asked for its value again",
        scheduler,
        "            family.joining = False  # it was asked for its value, and grew more\n",
        "            pass\n",
    ),
]


def plant(bug: Bug) -> Callable[..., Any]:
    """The Scheduler class of a core with that bug; for one in the policies, the Retry class."""
    source = inspect.getsource(bug.module)
    assert source.count(bug.old) == 1, f"{bug.name}: the line to change occurs {source.count(bug.old)} times"
    if bug.module is policy:
        return _run(policy, source.replace(bug.old, bug.new))["Retry"]  # type: ignore[no-any-return]
    if bug.module is health:
        return _monitored_by(_run(health, source.replace(bug.old, bug.new))["Health"])
    # Whatever is built upon the changed module is made again upon it.
    made: dict[str, Any] = {}
    for module in BUILT[BUILT.index(bug.module) :]:
        code = source.replace(bug.old, bug.new) if module is bug.module else inspect.getsource(module)
        found = _run(module, code)
        found.update({name: value for name, value in made.items() if name in found})
        made.update(
            {name: value for name, value in found.items() if getattr(value, "__module__", None) == module.__name__}
        )
    return made["Scheduler"]  # type: ignore[no-any-return]


def _monitored_by(made: Any) -> Callable[..., Any]:
    """The Scheduler, with another class in the place of `Health`, which few runs need and which is imported late."""

    def make(*args: Any, **options: Any) -> Any:
        real, health.Health = health.Health, made  # type: ignore[misc]
        try:
            return scheduler.Scheduler(*args, **options)
        finally:
            health.Health = real  # type: ignore[misc]

    return make


def _run(module: types.ModuleType, source: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": module.__name__, "__file__": module.__file__}
    exec(compile(source, module.__file__ or module.__name__, "exec"), namespace)
    return namespace


__all__ = ["BUGS", "Bug", "limits", "plant", "table", "timers"]
