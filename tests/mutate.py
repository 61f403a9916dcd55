"""Breaks the code, row by row, and sees the row's test fail: `python tests/mutate.py` writes `docs/mutations.md`.

Each mutation is one change to one file, in a copy of the sources. A test that still passes proves nothing, and is named.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Mutation(NamedTuple):
    """A row, what is broken, where, and the test that must fail."""

    row: str
    what: str
    file: str
    old: str
    new: str
    test: str


S, D, C, K, Q = "_core/scheduler.py", "_engine/driver.py", "concurrency.py", "_engine/keeping.py", "stores/sqlite.py"
FLAT, CORE, RUN, TASKS, SIM, SHELL, DUR, FAULT, ONE = (
    "test_concurrency.py::TestRunWithConcurrency::", "_core/test_scheduler.py::", "test_runner.py::", "test_tasks.py::", "_core/test_simulation.py::", "executors/test_shell.py::", "test_durable.py::",
    "stores/test_sqlite_faults.py::", "stores/test_sqlite.py::",
)  # fmt: skip

PROC, STEAL, ADOPT = "executors/test_processes.py::", "executors/test_stealing.py::", "executors/test_adopting.py::"
SLICES, REDUCERS, CAUSES = "executors/test_slices.py::", "patterns/test_reducers.py::", "_core/test_causes.py::"
LIMITS, WHY = "_core/test_limits.py::", "_core/test_why.py::"
ORPHANS, OWNERS, BREAKS = "test_owners.py::TestOrphans::", "test_owners.py::TestOwners::", "test_owners.py::TestInterruptions::"  # fmt: skip

MUTATIONS = [
    Mutation("A1", "results leave out the last value", C, "if each.status is Status.SUCCEEDED or isinstance(each.error, JudgedFailed)\n        ]", "if each.status is Status.SUCCEEDED or isinstance(each.error, JudgedFailed)\n        ][:-1]", FLAT + "test_five_tasks_under_two_slots_peak_at_exactly_two"),
    Mutation("A2", "outcomes in reverse", C, "_outcomes(result.table, range(len(bodies)), result.unix)", "_outcomes(result.table, range(len(bodies))[::-1], result.unix)", FLAT + "test_results_are_in_input_order_whatever_ends_first_and_a_legal_none_stays"),
    Mutation("A3", "one slot too many", S, "if self.used >= self.room:", "if self.used > self.room:", FLAT + "test_five_tasks_under_two_slots_peak_at_exactly_two"),
    Mutation("A4", "nothing is pulled when a body that suspended ends", "executors/async_.py", "        executor.sink.more()\n", "        pass\n", FLAT + "test_the_next_task_starts_the_moment_any_slot_frees"),
    Mutation("A5", "the child signal does not fire", "executors/base.py", "            self.stopped_at = now\n", "            self.stopped_at = now\n            return\n", FLAT + "test_the_first_failure_fires_the_child_signals_cancels_starts_nothing_and_leaves_the_callers_signal_alone"),
    Mutation("A6", "an abort is not told apart", C, "bool(aborted)", "False", FLAT + "test_the_callers_abort_reaches_the_children_and_only_then_is_aborted_true"),
    Mutation("A6", "already aborted starts all the same", C, "if signal is not None and not signal.listen(fired):", "if signal is not None and not signal.listen(fired) and False:", FLAT + "test_already_aborted_returns_at_once_and_calls_nothing"),
    Mutation("A7", "a judged value is not kept", S, "value if state in (SUCCEEDED, FAILED) else None", "value if state == SUCCEEDED else None", FLAT + "test_a_value_judged_failed_fails_like_one_that_raised_and_is_kept"),
    Mutation("A7", "a raising is_failed lets the value pass", D, "                except BaseException as raised:\n                    error = raised\n", "                except BaseException:\n                    pass\n", FLAT + "test_a_raising_is_failed_is_a_failure_too"),
    Mutation("A8", "no tasks never end", D, "if not scheduler.unfinished and not self.done.done():", "if not scheduler.unfinished and self.table.size and not self.done.done():", FLAT + "test_no_tasks_one_task_one_slot_and_more_slots_than_tasks"),
    Mutation("A9", "victims that raise count as failed", S, "        if why == Stop.CANCEL and (stopped or error is not None):\n            state", "        if False:\n            state", FLAT + "test_of_several_failures_the_lowest_index_and_the_first_in_time_are_reported"),
    Mutation("A10", "the default limit is four", C, "max_concurrency: int | None = 3,", "max_concurrency: int | None = 4,", FLAT + "test_the_default_limit_is_three"),
    Mutation("A11", "an abandoned attempt is said to have ended", S, "        table.unenforced.add(task)\n", "", FLAT + "test_a_task_that_ignores_the_signal_delays_the_return_by_grace_and_is_reported"),
    Mutation("A11", "grace is ten times as long", S, "self._stops.add(task, why, now + grace)", "self._stops.add(task, why, now + 10 * grace)", FLAT + "test_a_task_that_ignores_the_signal_delays_the_return_by_grace_and_is_reported"),
    Mutation("B1", "a thread for every call", "executors/threads.py", "if self._in_flight > self._threads:", "if True:", TASKS + "test_plain_functions_run_in_threads_and_the_pool_is_shared"),
    Mutation("B2", "levels upside down", S, "level = second - AGE * table.policies[user].priority", "level = second + AGE * table.policies[user].priority", LIMITS + "TestAgeing::test_what_gets_ready_by_the_same_end_goes_by_priority"),
    Mutation("B2", "levels upside down where all begins", S, "return int(self.table.ready_at[task]) - AGE", "return int(self.table.ready_at[task]) + AGE", TASKS + "TestOrder::test_priorities_then_first_come_first_served"),
    Mutation("B2", "last come, first served", S, "task = queue.first.popleft() if", "task = queue.first.pop() if", TASKS + "TestOrder::test_priorities_then_first_come_first_served"),
    Mutation("B3", "needs are forgotten", "_core/table.py", "        self.left.extend(map(len, needs))\n", "        self.left.extend([0] * batch.size)\n", TASKS + "TestGraph::test_needs_may_be_keys_of_tasks_added_later_and_args_hold_nodes"),
    Mutation("B2", "priorities do not age", S, "            second = int(now)\n", "            second = 0\n", LIMITS + "TestAgeing::test_a_low_task_among_endless_high_ones_starts_within_two_minutes"),
    Mutation("B8", "a window half as long", "_core/limits.py", "until = now + self.interval\n", "until = now + self.interval / 2\n", LIMITS + "TestRates::test_never_more_than_the_capacity_in_any_window"),
    Mutation("B8", "units count from the slot", S, "        self._enter_all(task)\n        return True", "        self._enter_all(task)\n        if task in self._unseen:\n            self._count_units(task, now)\n        return True", LIMITS + "TestRates::test_units_count_from_when_the_code_was_seen_to_begin"),
    Mutation("B8", "a light call overtakes a heavy one", S, "return first is not None and first.place < place", "return False", LIMITS + "TestRates::test_a_heavy_call_is_not_starved_by_light_ones"),
    Mutation("B8", "an answer is another call", S, "if rates and task not in self._answered:", "if rates:", LIMITS + "TestRates::test_who_goes_on_after_an_answer_is_no_new_call"),
    Mutation("B8", "functions of one name share a rate", "tasks.py", "made = owned(policy(definition.policy, **options), _owner(definition))", "made = owned(policy(definition.policy, **options), definition.name)", "test_admission.py::TestDoors::test_a_text_belongs_to_its_function_and_not_to_its_node"),
    Mutation("B8", "a stream's rate is not checked", "streams.py", "        check_uses((self._policy,), {})\n", "", "test_admission.py::TestDoors::test_impossible_wishes_are_refused_before_anything_runs"),
    Mutation("B8", "the code of a stored call is never seen to begin", "executors/async_.py", "                    if attempt.rated:\n                        sink.seen(attempt)\n", "", "test_admission.py::TestDoors::test_a_flat_map_and_a_stream_have_a_rate"),
    Mutation("B8", "time stands still while nobody drives the run", S, "            if away > 0:\n                rate.went_on(away)\n", "            pass\n", LIMITS + "TestRates::test_time_goes_on_while_nobody_drives_the_run"),
    Mutation("B8", "a resume forgets the rate", "_engine/records.py", "        if value != getattr(PLAIN, name):", "        if value != getattr(PLAIN, name) and name != 'rate_limit':", "test_admission.py::TestStoredRuns::test_a_rate_is_kept_over_a_resume"),
    Mutation("F77", "what never began was used", S, "self._release(task, now, stopped != NOT_BEGUN)\n        why", "self._release(task, now)\n        why", LIMITS + "TestRates::test_an_attempt_that_never_began_has_used_nothing"),
    Mutation("X4", "a weight counts as one", S, "            limit.used += weight\n        if rates", "            limit.used += 1\n        if rates", LIMITS + "TestPools::test_weights_are_never_more_than_the_capacity"),
    Mutation("X4", "who goes away wakes nobody", S, "        if waiter is not None:\n            self._wake(waiter.limit, now)", "", LIMITS + "TestPools::test_those_behind_a_heavy_task_that_goes_away_find_its_room"),
    Mutation("X4", "nothing is kept for who had its turn", S, "            woken.limit.claim(task, place, woken.weight)\n", "", LIMITS + "TestPools::test_who_had_its_turn_at_one_pool_keeps_it_while_it_waits_at_another"),
    Mutation("X4", "what is kept is kept for ever", S, "self.timers.arm(Due.CLAIM, task, now + (now - woken.since))", "pass", LIMITS + "TestPools::test_what_is_kept_is_free_again_after_as_long_as_it_was_waited_for"),
    Mutation("X4", "a key is no limit", "_core/limits.py", '            limit = self.keys.setdefault(key, Limit("key", key, most))\n            limit.tasks += 1  # for good', '            limit = Limit("key", key, 99)\n            limit.tasks += 1  # for good', LIMITS + "TestKeys::test_one_or_n_at_once_for_each_key"),
    Mutation("X4", "an abandoned attempt gives its pool back", S, "                limit.abandoned += weight\n", "                limit.used -= weight\n", LIMITS + "TestPools::test_an_abandoned_attempt_keeps_its_weight_and_a_run_that_waits_for_it_ends"),
    Mutation("X4", "all who wait are looked at", S, "        waiter = self._first_waiter(limit)\n        if waiter is None:\n            return\n        if now >= limit.due:", "        waiter = self._first_waiter(limit)\n        list(map(id, limit.everybody()))\n        if waiter is None:\n            return\n        if now >= limit.due:", LIMITS + "TestWhatItCosts::test_who_is_blocked_on_a_full_pool_adds_nothing_to_an_event"),
    Mutation("X4", "what grows is not checked", D, "                        check_batch(found.batch, self.scheduler.pools)\n", "", "test_admission.py::TestDoors::test_what_grows_with_an_impossible_wish_fails_with_it"),
    Mutation("X4", "a file's pools are not its run's", "flow/reader.py", 'for name in ("max_concurrency", "on_failure", "deadline", "pools"):', 'for name in ("max_concurrency", "on_failure", "deadline"):', "test_admission.py::TestTheSameInPythonAndInAFile::test_pools_with_weights"),
    Mutation("X4", "a key that was worked out is no limit", "_core/limits.py", '            limit = self.keys.setdefault(key, Limit("key", key, most))\n            limit.tasks += 1\n', '            limit = Limit("key", key, 99)\n            limit.tasks += 1\n', "test_admission.py::TestWorkedOut::test_flat_lists_and_streams_have_keys_too"),
    Mutation("X4", "keys are kept for ever", "_core/limits.py", "                    self.keys.pop(limit.name, None)\n", "                    pass\n", "test_admission.py::TestWorkedOut::test_a_key_that_nobody_has_any_more_is_forgotten"),
    Mutation("X4", "a row that is used again keeps its old key", S, "        held, used = self._book.asks(table.policies[task])\n        around", "        held, used = column[task]\n        around", "test_admission.py::TestWorkedOut::test_flat_lists_and_streams_have_keys_too"),
    Mutation("X4", "a file's keys are not worked out", "flow/compile.py", "            conditional=range(size) if self._task.wants is not None else (),\n", "", "test_admission.py::TestWorkedOut::test_keys_and_costs_are_worked_out_of_what_a_task_is_given"),
    Mutation("X4", "what was worked out is not on record", "_engine/replaying.py", "tuple(own[0]) if own and own[0] is not None else None", "None", "test_admission.py::TestWorkedOut::test_a_stored_run_remembers_what_was_worked_out"),
    Mutation("X7", "who holds what it waits for is not said", "_core/why.py", "        held = f\": {_listed(named, len(holders))} held\"\n", "        held = \"\"\n", WHY + "TestWaiting::test_for_a_pool_with_who_holds_it_and_who_is_before"),
    Mutation("X7", "the last cause is said and not the first", "_core/why.py", "                return chain[::-1]\n", "                return chain\n", WHY + "TestEnds::test_the_first_cause_stands_before_its_victims"),
    Mutation("X7", "what is kept is not named", "_core/why.py", "kept = [table.key(task) for task in limit.claims if task != self.task]", "kept = [str(task) for task in () if task]", WHY + "TestWaiting::test_for_what_is_kept_for_another"),
    Mutation("X7", "a rate never says when", "_core/why.py", "until = limit.opens(waiter.weight, waiter.place) if not before else None", "until = None", WHY + "TestWaiting::test_for_a_rate_and_until_when"),
    Mutation("X7", "a need that is over is waited for", "_core/why.py", "open_needs = [need for need in self.needs() if table.status[need] < FINAL]", "open_needs = self.needs()", WHY + "TestWaiting::test_for_needs"),
    Mutation("X7", "a group's end is the run's", "_core/why.py", "if family is not None and scheduler.halt_reason is None:", "if False:", WHY + "TestEnds::test_what_a_group_that_ended_left_behind"),
    Mutation("X7", "a condition and a join are one", "_core/why.py", "        return place not in batch.conditional\n", "        return False\n", WHY + "TestEnds::test_skipped_by_a_condition_by_a_need_and_by_a_join"),
    Mutation("X7", "nobody says that a run stands still", D, "                    self._say_stalled()\n", "                    pass\n", "test_admission.py::TestWhy::test_a_run_that_stands_still_says_for_what"),
    Mutation("X7", "a stored run is read at its start", "history.py", "    replay.catch_up()\n    return replay\n", "    return replay\n", "test_admission.py::TestWhy::test_a_stored_run_is_asked_by_another_process"),
    Mutation("X12", "enough is not enough", S, "            family.enough = True\n            if family.left:\n                self._halt_family(family, OnFailure.FAIL_FAST, now)", "            family.enough = True", LIMITS + "TestGroupsThatCount::test_enough_successes_cancel_the_rest_and_the_group_goes_on"),
    Mutation("X12", "a share is rounded down", S, "quota_of(policy.min_success, batch.size, up=True)", "quota_of(policy.min_success, batch.size, up=False)", LIMITS + "TestGroupsThatCount::test_enough_successes_cancel_the_rest_and_the_group_goes_on"),
    Mutation("X12", "what cannot succeed goes on", S, "        elif need is not None and family.good + family.left < need and not", "        elif need is not None and not family.left and family.good < need and not", LIMITS + "TestGroupsThatCount::test_what_cannot_succeed_any_more_ends_at_once"),
    Mutation("X12", "the first cause is not the child's", S, "            self.first_cause = family.failed\n        if family.left:", "            pass\n        if family.left:", LIMITS + "TestGroupsThatCount::test_what_cannot_succeed_any_more_ends_at_once"),
    Mutation("B16", "one failure more is passed over", S, "if most is not None and family.bad > most:", "if most is not None and family.bad > most + 1:", LIMITS + "TestGroupsThatCount::test_more_failures_than_allowed_end_the_group"),
    Mutation("B16", "a failure that is counted ends the run", S, "        if family is not None and family.counts and not policy.critical:", "        if False:", LIMITS + "TestGroupsThatCount::test_a_failure_that_is_counted_ends_nothing_else"),
    Mutation("B16", "an item that is a group ends the others", S, "or policy.allow_failure or counted", "or policy.allow_failure", LIMITS + "TestGroupsThatCount::test_an_item_that_is_a_group_fails_as_one"),
    Mutation("E4", "who grows too late keeps its slot", S, "        if parent in self._abandoned:\n", "        if False:\n", LIMITS + "TestGroupsThatCount::test_an_abandoned_attempt_that_grows_in_the_end_frees_its_slot"),
    Mutation("B14", "a file may want more than there is", "flow/reader.py", "            if size is not None:\n                check_quota(policy, size)", "            pass", "test_groups.py::TestQuotas::test_more_than_there_are_is_refused_with_the_place"),
    Mutation("B14", "a list may be shorter than what is wanted of it", D, "                    check_quota(table.policies[task], growth.batch.size)\n", "                    pass\n", "test_groups.py::TestQuotas::test_more_than_there_are_is_refused_with_the_place"),
    Mutation("X5", "nobody is slowed down", S, "            rate.shut(now + seconds)\n", "", LIMITS + "TestBeingCalledLater::test_the_whole_bucket_slows_down_and_no_attempt_is_counted"),
    Mutation("X5", "to be called later is a try", S, "            self._interruptions[task] = self._interruptions.get(task, 0) + 1\n            self.timers.arm(Due.RETRY", "            self.timers.arm(Due.RETRY", LIMITS + "TestBeingCalledLater::test_its_tries_are_left_for_real_failures"),
    Mutation("B13", "a map's values in reverse", "programs.py", "return Growth(batch, lambda table, rows: table.values[rows.start : rows.stop])", "return Growth(batch, lambda table, rows: table.values[rows.start : rows.stop][::-1])", TASKS + "TestGrowth::test_a_map_over_a_list_known_at_run_time_keeps_order"),
    Mutation("B15", "the pause does not grow", "_core/policy.py", "self.delay * self.backoff ** min(attempt - 1, 60)", "self.delay", CORE + "TestAttempts::test_retries_wait_for_their_pause_without_a_slot_and_count"),
    Mutation("B15", "one try too many", "_core/policy.py", "return attempt < self.attempts and", "return attempt <= self.attempts and", CORE + "TestAttempts::test_the_last_failure_never_waits"),
    Mutation("B15", "what cannot succeed is tried again", "_core/policy.py", "(bool(meant) and (not isinstance(error, PlaitError) or error.retryable))", "bool(meant)", CORE + "TestAttempts::test_what_cannot_succeed_is_not_tried_again"),
    Mutation("B15", "a retry that waits is not cancelled", S, "for state in (RETRYING, WAITING):", "for state in (WAITING,):", CORE + "TestAttempts::test_a_retry_that_waits_is_cancelled_with_its_run"),
    Mutation("C1", "three at once", "runner.py", "concurrency: int | None = 4,", "concurrency: int | None = 3,", RUN + "TestRunPhase::test_defaults_are_four_at_once_and_three_hundred_seconds"),
    Mutation("C1", "no timeout by default", "runner.py", "timeout: float | str | None = 300,", "timeout: float | str | None = None,", RUN + "TestRunPhase::test_defaults_are_four_at_once_and_three_hundred_seconds"),
    Mutation("C2", "nothing gives an error", "runner.py", "        given = listed(\"tasks\", tasks)\n        sequential", "        given = listed(\"tasks\", tasks)\n        given[0]\n        sequential", RUN + "TestRunPhase::test_nothing_gives_nothing"),
    Mutation("C3", "a timeout is called failed", "runner.py", "\"timeout\" if outcome.status is Status.TIMED_OUT else \"failed\"", "\"failed\"", RUN + "TestRunPhase::test_defaults_are_four_at_once_and_three_hundred_seconds"),
    Mutation("C3", "the error has no text", "runner.py", "describe(outcome.error), outcome)", "None, outcome)", RUN + "TestRunPhase::test_statuses_ids_and_the_errors_text"),
    Mutation("C4", "only Exceptions are caught on the loop", "executors/async_.py", "                    sink.returned(ticket, end.value)\n                except BaseException as error:", "                    sink.returned(ticket, end.value)\n                except Exception as error:", "test_concurrency.py::TestBodies::test_whatever_a_body_raises_is_its_own_outcome"),
    Mutation("C4", "only Exceptions are caught in threads", "executors/threads.py", "except BaseException as error:", "except Exception as error:", RUN + "TestRunPhase::test_it_never_raises_whatever_a_task_does"),
    Mutation("C5", "results in reverse", "runner.py", "map(result.row, range(len(tasks)))", "map(result.row, range(len(tasks))[::-1])", RUN + "TestRunPhase::test_statuses_ids_and_the_errors_text"),
    Mutation("C6", "the sequential path has no timeout", "runner.py", "if any(needs) else None, policy=self._policy)", "if any(needs) else None, policy=self._policy if slots != 1 else PLAIN)", RUN + "TestRunPhase::test_the_sequential_path_gives_the_same_results_timeout_included"),
    Mutation("C7", "dependents run beside", "runner.py", "1 if sequential else self._concurrency", "self._concurrency", RUN + "TestRunPhase::test_one_independent_task_or_fewer_run_one_after_the_other"),
    Mutation("C8", "needs outside the set are never met", "runner.py", "need in finished or (need not in ids and done is None)", "need in finished", RUN + "TestIndependent"),
    Mutation("C9", "a timeout stops nothing", D, "        executor = self._executors.get(attempt.call[0])\n        if executor is not None:\n", "        executor = self._executors.get(attempt.call[0])\n        if False:\n", "test_concurrency.py::TestBodies::test_retries_and_timeouts_on_virtual_time"),
    Mutation("C9", "all that is stopped waits for the first grace", "_core/stops.py", "        if group is None or group.why != why or group.force_at != force_at:\n", "        if group is None:\n", "_core/test_stops.py::test_another_reason_or_another_moment_is_another_group"),
    Mutation("C9", "force signals the leader only", "executors/shell.py", "            signal_group(attempt.handle.pid, signal.SIGKILL)\n            self._end_adopted", "            os.kill(attempt.handle.pid, signal.SIGKILL)\n            self._end_adopted", SHELL + "test_a_timeout_ends_the_whole_tree_of_a_command_that_ignores_term"),
    Mutation("C9 W10", "an abandoned attempt frees its slot", S, "        self._abandoned.add(task)\n", "        self._abandoned.add(task)\n        self._release(task)\n", CORE + "TestAttempts::test_what_does_not_end_within_grace_is_forced_then_abandoned_and_keeps_its_slot"),
    Mutation("C10", "rows are not used again", "streams.py", "        driver.scheduler.forgot(task)\n", "", "test_concurrency.py::TestAsCompleted::test_an_endless_source_is_read_no_further_than_the_window_and_memory_stays_bounded"),
    Mutation("C10", "the window does not count what was not taken", "streams.py", "self._in_flight + len(self._ready) >= self._window", "self._in_flight >= self._window", "test_concurrency.py::TestAsCompleted::test_an_endless_source_is_read_no_further_than_the_window_and_memory_stays_bounded"),
    Mutation("E1", "a join of one waits for all", S, "met, none = state == SUCCEEDED, met and not seen & _GOOD", "met, none = met and bool(seen & _GOOD), met and not seen & _GOOD", CORE + "TestNeeds::test_one_success_starts_at_the_first_success_while_other_needs_run"),
    Mutation("E2", "dependents are not looked at", S, "                if number or status[user] != PENDING:\n", "                if True:\n", CORE + "TestNeeds::test_ready_tasks_start_in_parallel_and_each_dependent_as_soon_as_its_own_needs_are_done"),
    Mutation("E3", "a move is not told", "_core/table.py", "            self.started_at[task] = now\n        if self.moves is not None:\n", "            self.started_at[task] = now\n        if self.moves is not None and new != 3:\n", "observe/test_stream.py::test_a_line_for_each_move_with_slots_times_and_reasons"),
    Mutation("E3", "a second attempt is told as the first", S, "            table.numbers[task] += 1\n            self._ran.pop(task, None)\n        table.move(task, RUNNING, now)\n", "            table.move(task, RUNNING, now)\n            table.numbers[task] += 1\n            self._ran.pop(task, None)\n            return\n        table.move(task, RUNNING, now)\n", "observe/test_stream.py::test_a_line_for_each_move_with_slots_times_and_reasons"),
    Mutation("E4", "a failed attempt keeps its slot", S, "        if not odd & CONTROL:\n            self._release(task, now, stopped != NOT_BEGUN)\n        why = ", "        if not odd & CONTROL and error is None:\n            self._release(task, now, stopped != NOT_BEGUN)\n        why = ", CORE + "TestLimitsAndOrder::test_never_more_than_the_limit_and_a_freed_slot_is_filled_at_once"),
    Mutation("E5", "critical is not looked at", S, "        if policy.critical:\n            self._halt_run(OnFailure.FAIL_FAST", "        if False:\n            self._halt_run(OnFailure.FAIL_FAST", TASKS + "TestGraph::test_a_critical_failure_stops_all_running_tasks_and_others_go_on"),
    Mutation("E6", "a failed need counts as done", S, "bad = failed and not allowed", "bad = False", CORE + "TestNeeds::test_a_failed_need_makes_its_dependents_upstream_failed_and_never_counts_as_done"),
    Mutation("E6", "a waiting task is done", S, "        table.move(task, WAITING, now)\n        if", "        table.move(task, WAITING, now)\n        self.unfinished -= 1\n        if", CORE + "TestAttempts::test_a_waiting_task_frees_its_slot_and_its_timeout_stands_still"),
    Mutation("E11", "nobody is woken for a limit's room", S, "            limit.used -= weight\n            if limit.crowd:\n                self._wake(limit, now)", "            limit.used -= weight", SIM + "test_ten_thousand_seeds_with_faults_keep_every_promise"),
    Mutation("E12", "cycles are let through", "_core/graph.py", "    if seen == len(needs):\n        return []\n", "    return []\n", TASKS + "TestGraph::test_what_cannot_run_is_refused_before_anything_starts"),
    Mutation("X10", "a virtual clock waits in real time", "testing/clock.py", "        self._clock.now += seconds\n        return True", "        return False", "test_concurrency.py::TestBodies::test_retries_and_timeouts_on_virtual_time"),
    Mutation("X10", "chance is not seeded", "testing/simulate.py", "self.dice = random.Random(seed)", "self.dice = random.Random()", SIM + "test_equal_seeds_give_equal_runs_bit_for_bit"),
    Mutation("W12", "a skip is decided before a failure can come", S, "verdict = UPSTREAM_FAILED if bad else PENDING", "verdict = UPSTREAM_FAILED if bad else SKIPPED if state == SKIPPED and join is Join.ALL_SUCCESS else PENDING", CORE + "TestNeeds::test_joins_decide_alike_in_whatever_order_needs_end"),
    Mutation("F40", "the next body sees what one set without suspending", "executors/async_.py", "(len(after) > 1 and _differ(before, after))", "False", "executors/test_async.py::test_what_a_body_sets_without_suspending_is_not_seen_by_the_next"),
    Mutation("F40", "a pool task that is cancelled before it began says nothing", "executors/async_.py", "            if attempt is not None:  # cancelled before it began", "            if False:  # cancelled before it began", "executors/test_async.py::test_a_pool_task_that_somebody_cancels_before_it_began_fails_its_own_task_only"),
    Mutation("F40", "what is stopped in its first step suspends all the same", "executors/async_.py", "                        task.cancel()  # it was told to stop during its first step\n", "                        pass\n", "executors/test_async.py::test_a_body_that_stops_its_own_run_in_its_first_step_is_cancelled_where_it_suspends"),
    Mutation("F43", "a completion in the tick of a cancel is lost", S, "if why == Stop.CANCEL and (stopped or error is not None):", "if why == Stop.CANCEL:", CORE + "TestFailure::test_a_completion_before_the_stop_reached_it_is_kept"),
    Mutation("F47", "the loop never gets a turn", "executors/async_.py", "            if sink.now > until:", "            if sink.now > until + 1e9:", "test_concurrency.py::TestBodies::test_a_long_run_without_suspension_lets_the_loop_breathe"),
    Mutation("F53", "the result waits for whoever holds the output", "executors/outputs.py", "        os.set_blocking(self.fd, False)", "        os.set_blocking(self.fd, True)", SHELL + "test_a_grandchild_that_holds_the_output_does_not_hold_the_result"),
    Mutation("F73", "a parent keeps its slot", S, "        if not table.odd[parent] & CONTROL:\n            self._release(parent, now)\n            table.odd", "        if not table.odd[parent] & CONTROL:\n            table.odd", CORE + "TestLimitsAndOrder::test_a_parent_holds_no_slot_while_its_children_run"),
    Mutation("S14", "values are not quoted", "flow/templates.py", "texts.append(f'\"${name}\"')", "texts.append(values[name])", "flow/test_yaml.py::TestShellSafety::test_a_value_is_one_word_whatever_it_holds"),
    Mutation("S14", "double quotes are not followed", "flow/templates.py", "        elif each == '\"':\n            self._stack.append('\"')\n", "", "flow/test_yaml.py::TestShellSafety::test_a_value_where_quoting_does_not_protect_is_refused"),
    Mutation("S10", "the last of two equal keys wins", "flow/tree.py", "        if name in found.items:\n", "        if False:\n", "flow/test_yaml.py::TestBadFiles::test_what_is_no_workflow_file_gets_one_clear_line"),
    Mutation("S09", "depth is not measured", "flow/tree.py", "                if depth > DEEPEST:\n", "                if False:\n", "flow/test_yaml.py::TestBadFiles::test_what_is_no_workflow_file_gets_one_clear_line"),
    Mutation("F53", "whoever writes on is read without end", "executors/outputs.py", "        for _ in range(_LAST_READS):", "        while True:", SHELL + "test_the_last_content_of_a_pipe_has_an_end"),
    Mutation("F54", "a pipe is not read before its command is over", "executors/shell.py", "                self._watch.add(stream.fd, partial(self._readable, stream))", "                pass", SHELL + "test_a_command_whose_pipes_are_full_goes_on_when_they_are_read"),
    Mutation("F55", "all output is kept", "executors/outputs.py", "        if self.size < self._most:\n            self.data += data[: self._most - self.size]", "        if True:\n            self.data += data", SHELL + "test_much_output_is_kept_to_its_cap_and_the_rest_counted"),
    Mutation("F57", "output that is no text fails", "calls/shell.py", '            text = data.decode(errors="replace")\n            if left', '            text = data.decode()\n            if left', SHELL + "test_bytes_that_are_no_text_are_shown_with_replacement"),
    Mutation("F59", "E2BIG has no cause", "executors/shell.py", "    if error.errno == errno.E2BIG:", "    if False:", SHELL + "test_an_argument_too_long_names_its_cause"),
    Mutation("F60", "a signal has no name", "executors/shell.py", "        name = signal_name(-code)\n", "        name = str(code)\n", SHELL + "test_each_way_to_fail_has_its_reason"),
    Mutation("F61", "a stopped command sleeps through TERM", "executors/shell.py", "(signal.SIGTERM, signal.SIGCONT):  # a stopped", "(signal.SIGTERM,):  # a stopped", SHELL + "test_a_stopped_command_hears_term"),
    Mutation('S43', 'a URL that is data may lead anywhere', 'calls/http.py', 'guarded = private is False or (', 'guarded = False and (', 'test_http.py::TestPrivateNetworks::test_a_url_that_is_data_is_refused'),
    Mutation('S43', 'redirects of a written URL may lead anywhere', 'calls/http.py', '(private is None and _server(sent.url) != _server(first))', 'False', 'test_http.py::TestRedirects::test_what_was_written_down_does_not_lead_to_another_private_server'),
    Mutation('S43', 'another address is asked than was looked at', 'calls/http.py', 'url.copy_with(host=address), extensions', 'url, extensions', 'test_http.py::TestPrivateNetworks::test_the_address_that_was_looked_at_is_the_one_that_is_asked'),
    Mutation('S43', 'an address in disguise is public', 'calls/http.py', '        if inner is not None and not is_public(str(inner)):\n            return False\n', '', 'test_http.py::TestPrivateNetworks::test_which_addresses_are_public'),
    Mutation('S44', 'a body has any size', 'calls/http.py', '            if len(body) > most:', '            if False:', 'test_http.py::TestLimits::test_a_body_that_is_too_large'),
    Mutation('S44', 'a body grows without measure', 'calls/http.py', 'if packed and len(body) > RATIO_FROM_BYTES', 'if False and len(body) > RATIO_FROM_BYTES', 'test_http.py::TestLimits::test_a_body_that_grows_without_measure'),
    Mutation('S45', 'credentials follow a redirect', 'calls/http.py', '                    del following.headers[name]', '                    pass', 'test_http.py::TestRedirects::test_credentials_stay_with_their_server'),
    Mutation("B15", "a server's Retry-After is not waited for", "_core/scheduler.py", "now + max(retry.pause(tries, chance), after)", "now + retry.pause(tries, chance)", "test_http.py::TestErrors::test_a_retry_waits_for_what_the_server_asked"),
    Mutation("W9 F06", "commands outlive their engine", "executors/shell.py", "        self._watchdog.add(pid)\n", "", "executors/test_watchdog.py::test_commands_end_when_their_engine_is_killed"),
    Mutation("W9", "a number that is another's by now is killed", "executors/watchdog.py", "            self._write(place, 0)\n", "", "executors/test_watchdog.py::test_a_group_that_ended_is_left_alone"),
    Mutation("W9", "the watchdog outlives the run", "executors/shell.py", "        self._watchdog.close()\n", "", "executors/test_watchdog.py::test_nothing_of_it_is_left_after_a_run"),
    Mutation("E8", "what is lent waits behind a long call while a slot is free", "_core/scheduler.py", "                if self.lent and not self._asked_back:", "                if False:", "executors/test_thread_lending.py::test_nothing_waits_behind_a_long_call_while_a_slot_is_free"),
    Mutation("C9", "a thread goes on beside the awaitable of its last call", "executors/threads.py", "            free = not hasattr(type(value), \"__await__\")  # that", "            free = True  # that", "executors/test_thread_lending.py::test_other_work_has_its_slots"),
    Mutation("E8", "a thread begins what was given back", "executors/threads.py", "            if self._lent.pop(attempt, False):\n                return attempt", "            self._lent.pop(attempt, False)\n            return attempt", "executors/test_thread_lending.py::test_a_run_that_is_paused_has_them_back"),
    Mutation("W9", "leftovers of a group live on", "executors/shell.py", "        del self._running[attempt]\n        signal_group(process.pid, signal.SIGKILL)\n", "        del self._running[attempt]\n", SHELL + "test_what_a_command_leaves_in_its_group_ends_with_it"),
    Mutation("F09", "a second signal waits like the first", "cli/session.py", "            self._driver.kill()\n            os._exit(128 + self._signal)\n", "            pass\n", "cli/test_cli.py::TestSignals::test_a_second_signal_kills_at_once"),
    Mutation("X1 W1", "tasks that a run has from the start are not stored", "stores/sqlite.py", "self._insert_generation(db, number, 1, new.wall, new.definition, new.structure, new.tasks)", "self._insert_generation(db, number, 1, new.wall, new.definition, {}, new.tasks)", DUR + "TestPromises::test_when_start_returns_the_run_and_all_its_tasks_are_stored"),
    Mutation("X1 W2 W6", "an attempt starts before it is on record", K, "                if task in ahead:\n", "                if True:\n", DUR + "TestPromises::test_an_attempt_is_on_record_before_its_code_starts_and_its_needs_ends_before_that"),
    Mutation("X1 W4", "a value is not on record", K, "            returned(task, attempt, value, now, stopped)\n\n        def raising(", "            returned(task, attempt, value, now, stopped)\n            self._lines.pop()\n\n        def raising(", DUR + "TestResume::test_a_run_that_is_over_is_not_touched"),
    Mutation("X1 W5", "what must not start twice does", S, "elif policy.on_interrupt is OnInterrupt.FAIL and begun:", "elif False:", DUR + "TestResume::test_a_task_whose_code_must_not_start_twice_fails"),
    Mutation("X1 W7 F13", "a living owner is disturbed", "stores/sqlite.py", "        holder = self._locks.take(run.number)\n", "        holder = self._locks.take(run.number) and None\n", DUR + "TestResume::test_a_living_owner_is_not_disturbed"),
    Mutation("X1 F16", "an owner that was taken over writes on", "stores/sqlite.py", "if found is None or found[0] != claim.epoch:", "if found is None:", DUR + "TestPromises::test_losing_the_run_ends_the_process_that_slept"),
    Mutation("X1 F82", "a task may kill every resume", S, "if times > self.rules.crash_budget:", "if False:", DUR + "TestPromises::test_a_new_attempt_of_a_task_that_was_running_ten_times_at_a_crash_is_not_made"),
    Mutation("X1 F84", "a run of another format is guessed at", "_engine/replaying.py", "if run.format != FORMAT:", "if False:", "cli/test_stored.py::TestRefused::test_a_run_of_another_format_is_refused_and_others_are_read"),
    Mutation("X1 F71", "leaving forgets what still runs", S, "return self.used <= len(self._abandoned)", "return True", DUR + "TestResume::test_a_run_that_was_left_goes_on_where_it_was_and_runs_nothing_again"),
    Mutation("X9", "the shortest path first", "_core/ready.py", "heappush(self._heap, (level, -self._rank_of(task), self._count, task))", "heappush(self._heap, (level, self._rank_of(task), self._count, task))", "test_prediction.py::test_the_longest_path_first_is_shorter_where_first_come_first_served_is_not"),
    Mutation("X9", "what needs a task does not lengthen its path", "durations.py", "paths[at] = seconds[at] + behind[at]", "paths[at] = seconds[at]", "test_prediction.py::test_the_longest_path_of_every_task_is_that_of_an_exhaustive_walk"),
    Mutation("X9", "nothing is learned", K, "None if final is None else self._learned(),", "None,", "test_prediction.py::test_a_prediction_is_what_the_next_run_takes"),
    Mutation("X11", "an edit is not seen", "edits.py", "elif known.content != task.content:", "elif False:", DUR + "TestEdits::test_an_edit_is_refused_with_what_changed_or_runs_again_only_what_it_touches"),
    Mutation("X11", "what needs an edited task stays", "carrying.py", "    if batch.needs is None:\n        return places\n", "    if True:\n        return places\n", DUR + "TestFork::test_a_fork_runs_one_task_again_and_what_needs_it"),
    Mutation("X11 W14", "children that succeeded run again", "carrying.py", "        source = self._sources.get(parent)\n        if source is None:\n", "        source = None\n        if source is None:\n", DUR + "TestRetry::test_children_that_succeeded_are_kept"),
    Mutation("F05", "each statement of a migration is a transaction", Q, "                db.execute(statement)\n", "                db.execute(statement)\n                db.execute('COMMIT')\n                db.execute('BEGIN IMMEDIATE')\n", FAULT + "test_a_kill_in_a_migration_leaves_the_old_schema_or_the_new_one"),
    Mutation("F05", "the version is raised after the step", Q, "            db.execute(f\"PRAGMA user_version={version + 1}\")\n        points.reach(\"in commit\")\n        db.execute(\"COMMIT\")\n", "        points.reach(\"in commit\")\n        db.execute(\"COMMIT\")\n        db.execute(f\"PRAGMA user_version={version + 1}\")\n", FAULT + "test_a_kill_in_a_migration_leaves_the_old_schema_or_the_new_one"),
    Mutation("F05 F32", "a migration in the log is overlooked", Q, "        refuse_newer(self._path, version)\n", "        pass\n", FAULT + "test_a_kill_in_a_migration_leaves_the_old_schema_or_the_new_one"),
    Mutation("F01 F24", "a file that is shorter than its head says is refused, whatever is in the log", "stores/files.py", "    if not logged and number(24)", "    if number(24)", FAULT + "test_a_kill_at_any_write_or_sync_loses_nothing_that_was_told"),
    Mutation("W3 F02 F03", "a batch is told before it is committed", Q, "            points.reach(\"before commit\")\n", "            points.reach(\"before commit\")\n            for each in batches:\n                tell(each, None)\n", FAULT + "test_a_kill_at_any_write_or_sync_loses_nothing_that_was_told"),
    Mutation("W8 F27", "nothing is synced", Q, "PRAGMA synchronous={'FULL' if self.durability == 'full' else 'NORMAL'}", "PRAGMA synchronous=OFF", FAULT + "test_a_sync_that_fails_is_never_taken_for_a_commit"),
    Mutation("F27", "a failed commit is forgotten", Q, "                self._failure = error  # what is in doubt is never taken for done", "                pass", ONE + "test_a_commit_that_fails_is_told_and_nothing_follows_it"),
    Mutation("F17", "a number is enough to be alive", "stores/locks.py", "return owner.boot == _boot() and started_ticks(owner.pid) == owner.started", "return owner.boot == _boot() and started_ticks(owner.pid) is not None", FAULT + "test_a_pid_that_is_somebody_elses_by_now_owns_nothing_and_is_not_signalled"),
    Mutation("F18", "only the lock is looked at", Q, "        if now.owner is not None and now.owner != this_process() and alive(now.owner):", "        if False:", FAULT + "test_a_run_is_refused_to_others_while_its_owner_lives_even_without_the_file_of_the_locks"),
    Mutation("F19", "transactions are deferred", Q, "db.execute(\"BEGIN IMMEDIATE\")\n            return", "db.execute(\"BEGIN\")\n            return", FAULT + "test_every_transaction_that_writes_takes_the_lock_at_its_begin"),
    Mutation("F20", "a foreign lock is an error", Q, "            if not error.sqlite_errorname.startswith(\"SQLITE_BUSY\"):\n                raise\n", "            raise\n", FAULT + "test_a_run_waits_for_a_foreign_writer_says_so_and_goes_on"),
    Mutation("F20", "nobody says that there is a wait", Q, "            log.warning(\"the store %s has been locked", "            log.debug(\"the store %s has been locked", FAULT + "test_a_run_waits_for_a_foreign_writer_says_so_and_goes_on"),
    Mutation("F21", "the log grows and nobody says so", Q, "            if busy and size > self._warned_bytes:", "            if False:", FAULT + "test_a_reader_that_holds_a_snapshot_blocks_nobody_and_the_growth_of_the_log_is_told"),
    Mutation("F21", "the log is never copied back", Q, "            if not self._commits % 64:", "            if False:", FAULT + "test_a_reader_that_holds_a_snapshot_blocks_nobody_and_the_growth_of_the_log_is_told"),
    Mutation("F22", "a forked child uses its parent's object", Q, "        if os.getpid() != self._pid:\n            raise", "        if False:\n            raise", FAULT + "test_a_forked_child_never_uses_its_parents_store"),
    Mutation("F22", "a forked child opens what its parent has open", Q, "            _refuse_what_a_parent_has_open(real, file)\n", "", FAULT + "test_a_forked_child_never_uses_its_parents_store"),
    Mutation("F23", "network file systems are taken", Q, "        if remote in REMOTE:", "        if False:", FAULT + "test_a_store_on_a_network_file_system_is_refused_before_anything_is_made"),
    Mutation("F23", "odd characters in mount points", "stores/files.py", "chr(int(found[1], 8))", "' '", FAULT + "test_a_store_on_a_network_file_system_is_refused_before_anything_is_made"),
    Mutation("F23", "the first mount on a place counts", "stores/files.py", "len(point) >= len(best)", "len(point) > len(best)", FAULT + "test_a_store_on_a_network_file_system_is_refused_before_anything_is_made"),
    Mutation("F24", "a full disk has no name", Q, "return StoreError(f\"the disk of the store {path} is full: make room, then resume\")", "return StoreError(f\"the store {path}: {error}\")", FAULT + "test_a_full_disk_ends_the_run_with_its_name_and_the_run_goes_on_when_there_is_room"),
    Mutation("F24", "the half of a value stays", "stores/files.py", "                os.unlink(temporary)  # on a full disk its room is needed\n", "                pass\n", FAULT + "test_a_full_disk_ends_the_run_with_its_name_and_the_run_goes_on_when_there_is_room"),
    Mutation("F24", "the half of a store stays", Q, "                    os.unlink(temporary + suffix)\n", "                    pass\n", FAULT + "test_too_little_room_for_a_new_store_is_told_and_leaves_no_half_of_one"),
    Mutation("F25", "what cannot be written is told as it comes", Q, "    if name.startswith(\"SQLITE_IOERR\"):\n", "    if False:\n", FAULT + "test_a_limit_on_the_size_of_files_ends_the_run_and_it_goes_on_without"),
    Mutation("F26", "rights are told as they come", Q, "        except OSError as error:\n            raise StoreError(f\"the store {self._path} cannot be opened: {error.strerror}\") from None\n", "        except ZeroDivisionError:\n            pass\n", FAULT + "test_a_folder_that_may_not_be_written_is_told_before_anything_starts"),
    Mutation("F31", "batches are not checked", Q, "or crc32(data) != crc", "", FAULT + "test_a_damaged_store_is_refused_or_reads_as_it_was_and_is_not_touched"),
    Mutation("F31", "generations are not checked", Q, "            if crc == checksum(definition, structure):", "            if True:", FAULT + "test_hostile_values_spoil_their_own_run_alone"),
    Mutation("F31", "files are not checked", Q, "found = db.execute(\"PRAGMA quick_check(1)\").fetchone()[0] if small else \"ok\"", "found = \"ok\"", FAULT + "test_a_damaged_store_is_refused_or_reads_as_it_was_and_is_not_touched"),
    Mutation("F31", "SQLite's words are not understood", Q, "    except UnicodeDecodeError as error:", "    except ZeroDivisionError as error:", FAULT + "test_what_is_no_store_is_refused_as_what_it_is"),
    Mutation("F31", "other SQLite files are taken", "stores/files.py", "    if number(68) != schema.APPLICATION or not number(60):", "    if False:", FAULT + "test_what_is_no_store_is_refused_as_what_it_is"),
    Mutation("F31", "triggers are let run", Q, "        if foreign is not None:", "        if False:", FAULT + "test_what_is_no_store_is_refused_as_what_it_is"),
    Mutation("F32", "newer schemas are taken", "stores/files.py", "    if version > len(schema.MIGRATIONS):", "    if False:", FAULT + "test_what_a_newer_plait_wrote_is_refused_with_both_versions_and_not_touched"),
    Mutation("F33", "a bad row ends the list of runs", "stores/rows.py", "    except (TypeError, ValueError, OverflowError, RecursionError):", "    except (TypeError,):", FAULT + "test_hostile_values_spoil_their_own_run_alone"),
    Mutation("F33", "a deep row ends the list of runs", "stores/rows.py", "    except (TypeError, ValueError, OverflowError, RecursionError):", "    except (TypeError, ValueError, OverflowError):", FAULT + "test_hostile_values_spoil_their_own_run_alone"),
    Mutation("F33", "numbers without end", "stores/rows.py", "not least <= value < 1 << 40", "value < least", FAULT + "test_hostile_values_spoil_their_own_run_alone"),
    Mutation("F33", "times without end", "stores/rows.py", "not 0 <= value < 250_000_000_000", "False", FAULT + "test_hostile_values_spoil_their_own_run_alone"),
    Mutation("F33", "ids are paths", "stores/rows.py", "or not _names_a_folder(run_id)", "", FAULT + "test_hostile_values_spoil_their_own_run_alone"),
    Mutation("F33", "text that is none", Q, "    db.text_factory = lambda data: data.decode(errors=\"replace\")\n", "", FAULT + "test_hostile_values_spoil_their_own_run_alone"),
    Mutation("F33", "what is learned is taken as it is", "stores/rows.py", "if row is None or not all(", "if row is None or False and not all(", FAULT + "test_hostile_values_spoil_their_own_run_alone"),
    Mutation("F34", "a store without a name is written to", Q, "        self._refuse_a_deleted_file()\n        _begin", "        _begin", FAULT + "test_a_store_that_is_deleted_while_it_is_in_use_ends_the_run_with_the_cause"),
    Mutation("F36", "a resumed run's clock is the wall's", "_engine/driver.py", "_going_on_from(self.clock, clock_at)", "_going_on_from(time.time, clock_at)", FAULT + "test_a_step_of_the_clock_moves_neither_timeouts_nor_pauses"),
    Mutation("S24", "a store's files are for everybody", Q, "os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600", "os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644", FAULT + "test_what_a_store_holds_is_for_its_owner_alone_whatever_the_umask"),
    Mutation("S24", "a store's folders are for everybody", "stores/files.py", "os.mkdir(path, 0o700)", "os.mkdir(path)", FAULT + "test_what_a_store_holds_is_for_its_owner_alone_whatever_the_umask"),
    Mutation("F01", "what is left of a new store stays", "stores/files.py", "            if pid.isdigit() and started_ticks(int(pid)) is None:", "            if False:", FAULT + "test_what_a_process_that_died_left_of_a_new_store_is_removed"),
    Mutation("F01", "what a living process makes is removed", "stores/files.py", "            if pid.isdigit() and started_ticks(int(pid)) is None:", "            if True:", FAULT + "test_what_a_process_that_died_left_of_a_new_store_is_removed"),
    Mutation("F33", "a generation carries on from any other", "carrying.py", "        if (run.number, generation.number) >= later:", "        if False:", FAULT + "test_hostile_values_spoil_their_own_run_alone"),
    Mutation("W3", "a bug while a batch is made leaves the run waiting", K, "        except Exception as error:  # a bug of ours: a run that waits for nothing would be worse\n            self._fail(error)", "        except Exception:\n            pass", DUR + "TestOddThings::test_a_bug_of_ours_ends_a_run_that_would_wait_for_nothing"),
    Mutation("W3", "data that is shared without end is walked without end", "stores/values.py", "        if parts > MOST_PARTS:", "        if False:", "stores/test_values.py::test_what_would_not_come_back_is_refused_with_its_type_and_place"),
    Mutation("S21", "links are followed", "stores/files.py", "        if os.path.islink(folder):", "        if False:", FAULT + "test_what_is_swept_is_in_the_store_wherever_links_lead"),
    Mutation("W8", "what is there is taken for the value", "stores/files.py", "if self._read(path) != data:", "if self._read(path) is None:", FAULT + "test_a_value_that_power_was_lost_over_is_written_again"),
    Mutation("W7", "locks are those of whoever took them", "stores/locks.py", "            if number in file.held:\n                return os.getpid()\n", "", ONE + "test_what_one_part_of_a_process_locks_is_refused_to_every_other"),
    Mutation("W8", "the weaker durability holds", Q, "        elif durability == \"full\":\n            store.durability = durability\n", "", ONE + "test_of_all_that_is_asked_for_the_stronger_durability_holds"),
    Mutation("F28", "a lock that cannot be had ends the writer", Q, "        except (sqlite3.Error, StoreError):\n            pass  # the next", "        except sqlite3.Error:\n            pass  # the next", ONE + "test_without_a_lock_for_it_a_checkpoint_is_left_to_the_next"),
    Mutation("W1", "a lock is kept for no run", Q, "            for number in taken:  # it will be another run's\n                self._locks.free(number)\n", "", ONE + "test_a_run_that_could_not_be_stored_keeps_no_lock"),
    Mutation("F06", "what a dead owner had at work lives on", "resuming.py", "        end_orphans(store, run.id, replay.processes)\n        driver", "        driver", ORPHANS + "test_the_commands_of_a_killed_owner_are_dead_before_their_task_runs_again"),
    Mutation("F06", "what orphans start on their way out lives on", "_engine/orphans.py", "        left = _living(found, run)\n", "        left = [each for each in found.values() if started_ticks(each.pid) is not None]\n", ORPHANS + "test_what_orphans_start_on_their_way_out_is_ended_too"),
    Mutation("F06 F52", "nobody looks who writes the logs", "_engine/orphans.py", "                    return True\n    except (OSError, StopIteration):", "                    return False\n    except (OSError, StopIteration):", ORPHANS + "test_a_command_that_was_forked_and_not_executed_yet_is_ended_too"),
    Mutation("F17", "who reads a log is ended", "_engine/orphans.py", "if int(flags, 8) & os.O_ACCMODE != os.O_RDONLY:", "if True:", ORPHANS + "test_a_reader_of_the_logs_is_left_alone"),
    Mutation("F07", "nobody looks into environments", "_engine/orphans.py", "return marked <= set(file.read().split(b\"\\0\"))", "return False", ORPHANS + "test_a_daemon_that_left_its_group_is_found"),
    Mutation("F07", "a deaf orphan is told once more, and left alone", "_engine/orphans.py", "        _signal(left, signal.SIGKILL)\n", "        _signal(left, signal.SIGTERM)\n", ORPHANS + "test_a_daemon_that_left_its_group_is_found"),
    Mutation("F15", "a takeover waits for the reaping of the dead", "_engine/orphans.py", "                fd = os.pidfd_open(process.pid)\n", "                raise OSError\n", ORPHANS + "test_nobody_waits_for_the_reaping_of_the_dead"),
    Mutation("W7", "a run of that id in another store loses its commands", "_engine/orphans.py", "return {\"PLAIT_RUN\": run_id, \"PLAIT_KEPT_IN\": where}", "return {\"PLAIT_RUN\": run_id}", ORPHANS + "test_commands_of_a_run_of_that_id_in_another_store_are_left_alone"),
    Mutation("X11", "a fork ends what the other run has at work", "resuming.py", "    if claim is None:  # what that run", "    end_orphans(store, run.id, carry.old.processes)\n    if claim is None:  # what that run", ORPHANS + "test_a_fork_of_a_run_that_goes_on_leaves_its_commands_alone"),
    Mutation("X1", "the file of the locks stays open", "stores/locks.py", "    if not _files[key].held:\n", "    if False:\n", OWNERS + "test_runs_leave_no_descriptor_behind"),
    Mutation("F13", "who reads a run that is over takes it over", "resuming.py", "    if run.status != \"running\" and not accept_changes:\n        return _over(store, run, target, load)\n    claim", "    claim", OWNERS + "test_a_run_that_is_over_is_read_while_others_read_it"),
    Mutation("F82", "one crash too few", S, "if times > self.rules.crash_budget:", "if times >= self.rules.crash_budget:", BREAKS + "test_a_task_that_kills_its_process_every_time_fails_when_its_budget_is_spent"),
    Mutation("W5", "what must not start twice does after a kill", S, "elif policy.on_interrupt is OnInterrupt.FAIL and begun:", "elif False:", BREAKS + "test_code_that_must_not_start_twice_fails_where_its_process_died"),
    Mutation("F08 F10", "only Ctrl-C is heard", "cli/session.py", "[signal.SIGINT, signal.SIGTERM, signal.SIGHUP]", "[signal.SIGINT]", "cli/test_cli.py::TestSignals::test_a_signal_stops_the_run_in_order"),
    Mutation("F14", "nobody waits for a lock", Q, "        timeout=BUSY_S,\n", "        timeout=0.0,\n", FAULT + "test_processes_that_write_to_one_store_at_once_all_succeed"),
    Mutation("F35", "an edited flow is gone on with as it is", "resuming.py", "        if changes and not accept_changes:\n            raise changed(run, changes)\n        if changes:", "        if changes:", "cli/test_stored.py::TestGoingOn::test_an_edited_file_is_refused_and_accepted"),
    Mutation("F35", "an edited flow is read as it was", "resuming.py", "    if changes:\n        raise changed(run, changes)\n    replay", "    replay", DUR + "TestEdits::test_an_edit_is_refused_with_what_changed_or_runs_again_only_what_it_touches"),
    Mutation("F37", "ages are counted in local time", "history.py", "    before = time.time() -", "    before = time.mktime(time.gmtime()) -", "cli/test_stored.py::TestLooking::test_old_runs_are_let_go_and_what_others_need_stays"),
    Mutation("W13", "a run that nothing can move waits for ever", S, "        if not self.room or not self._abandoned:\n            return False\n", "        return False\n", CORE + "TestAttempts::test_when_abandoned_attempts_hold_every_slot_for_grace_the_run_ends_and_says_so"),
    Mutation("F04", "a takeover is not recorded", K, "            note((lines.RECOVERED, now, self.unix(now), away))\n", "", "test_replay.py::test_killed_after_any_commit_a_run_comes_to_the_same_end_and_runs_nothing_again"),
    Mutation("F11", "who takes over asks for no owner", Q, "        self._lock(run)\n        me = this_process().row()\n\n        def take(db: sqlite3.Connection) -> Claim:\n            now = self._unowned(db, run)\n", "        me = this_process().row()\n\n        def take(db: sqlite3.Connection) -> Claim:\n            now = run_of(db, run.number)\n", OWNERS + "test_who_stopped_still_owns_and_goes_on"),
    Mutation("F12", "a hole in the journal is read over", Q, "                if sequence != expected or not isinstance(data, bytes)", "                if not isinstance(data, bytes)", FAULT + "test_hostile_values_spoil_their_own_run_alone"),
    Mutation("F48", "a worker that dies fails its task", "executors/processes.py", "                self._sink.report(ran, Interrupted(at, how(code)))", "                self._sink.report(ran, Ended(at, error=OSError()))", PROC + "TestStops::test_a_worker_that_dies_interrupts_its_own_task_alone"),
    Mutation("F82", "crashes of workers have no budget", "_core/scheduler.py", "                self._interrupt(task, now, crash=True, why=f\": {why}\")", "                self._interrupt(task, now, crash=False, why=f\": {why}\")", PROC + "TestStops::test_a_task_that_kills_each_of_its_workers_is_given_up"),
    Mutation("X2 C9", "a timeout ends no process", "executors/processes.py", "            held.worker.kill()\n        return True", "        return True", PROC + "TestStops::test_a_timeout_kills_what_spins_and_the_others_go_on"),
    Mutation("X2", "there is no TERM before KILL", "executors/workers.py", "            os.kill(self.pid, signal.SIGTERM)", "            os.kill(self.pid, signal.SIGKILL)", PROC + "TestStops::test_term_lets_the_code_tidy_up"),
    Mutation("W9", "what left the group of a worker lives on", "executors/processes.py", "            worker.stopping = True\n            worker.see_kin()", "            worker.stopping = True", PROC + "TestStops::test_children_of_the_task_end_with_it_also_those_in_a_session_of_their_own"),
    Mutation("W9 F06", "workers outlive their engine", "executors/worker.py", "                        os.killpg(0, _signal.SIGKILL)", "                        return", PROC + "TestStops::test_when_the_engine_is_killed_so_are_its_workers"),
    Mutation("E9", "a worker for each task", "executors/processes.py", "        self._most = _cpus()", "        self._most = 1000", PROC + "TestOdd::test_workers_that_are_to_be_replaced_have_their_place"),
    Mutation("E8", "an idle worker gets nothing of another", "executors/processes.py", "            if idle:\n                self._steal()", "            if False:\n                self._steal()", STEAL + "TestHolding::test_an_idle_worker_gets_what_another_has_not_begun"),
    Mutation("E8", "what was given back is run all the same", "executors/worker.py", "        return any(first <= number <= last for first, last in self._revoked)", "        return False", STEAL + "TestHolding::test_an_idle_worker_gets_what_another_has_not_begun"),
    Mutation("E8", "a worker holds one call", "executors/pace.py", "self.ahead, self.together = 1 + behind, together", "self.ahead, self.together = 1, together", STEAL + "TestHolding::test_short_tasks_wait_at_their_workers_and_each_runs_once"),
    Mutation("E8", "one worker holds all that is left", "executors/pace.py", "unfinished // (2 * max(workers, 1))", "MOST_AHEAD", STEAL + "TestHolding::test_towards_the_end_each_has_its_share"),
    Mutation("E8", "a failure waits for other results", "executors/worker.py", "                self._said_at = 0.0  # whatever", "                pass  # whatever", STEAL + "TestStops::test_a_failure_is_told_at_once"),
    Mutation("E8", "a result that somebody looks at waits for others", "_engine/driver.py", "self.table.moves is not None or self._on_settled", "self._on_settled", STEAL + "TestStops::test_results_wait_for_others_only_where_nobody_looks"),
    Mutation("E8", "a task's result that another one needs waits for others", "_core/scheduler.py", "or table.left[task] <= under_way:", "or False:", STEAL + "TestStops::test_results_wait_for_others_only_where_nobody_looks"),
    Mutation("E9", "a worker takes modules from the folder it starts in", "executors/worker.py", "[sys.argv[4], *filter(None, sys.path)]", "[*sys.path, sys.argv[4]]", PROC + "TestBadCalls::test_however_the_program_was_started"),
    Mutation("E8", "what has begun is given back", "executors/worker.py", "first = max(first, self._number + 1)", "first = max(first, 0)", STEAL + "TestStops::test_what_the_engine_says_of_a_call_is_not_for_another"),
    Mutation("X2", "a timeout counts from when the call was given", "executors/processes.py", "            self._sink.began(attempt, began + behind)\n        if out", "            pass\n        if out", STEAL + "TestStops::test_a_timeout_counts_from_the_start_of_the_code_behind_others"),
    Mutation("X2", "nobody looks which call began", "executors/processes.py", "                if held.attempt.timed and held.number <= number:", "                if False:", STEAL + "TestStops::test_a_timeout_counts_from_the_start_of_the_code_behind_others"),
    Mutation("X2", "a TERM is for whatever runs", "executors/worker.py", "        if self._board.stop and self._board.stop < self._number:", "        if False:", STEAL + "TestStops::test_what_the_engine_says_of_a_call_is_not_for_another"),
    Mutation("X2", "the call in front is killed for the one behind it", "executors/processes.py", "            if held.number != next(iter(held.worker.held)):\n                return False", "            if False:\n                return False", STEAL + "TestStops::test_a_worker_that_cannot_answer_is_not_waited_for"),
    Mutation("E8", "a full board is written over", "executors/worker.py", "        if len(data) > len(ring) - (put - self._words[self._TAKEN]):", "        if len(data) > len(ring):", "executors/test_stealing.py::test_the_board_gives_what_was_put_there_in_order"),
    Mutation("E8 W10", "a lent task runs without a slot", S, "        self.table.move(task, RUNNING, now)\n        self.used += 1\n", "        self.table.move(task, RUNNING, now)\n", CORE + "TestLending::test_the_slot_is_passed_on_and_never_two_are_held"),
    Mutation("E8", "what is lent is swept with the rest", S, "self.table.sweep(now, spared=self.lent)", "self.table.sweep(now)", CORE + "TestLending::test_when_the_run_ends_it_is_asked_back_and_its_end_waits_for_that"),
    Mutation("E8", "a pause lets go on what is lent", S, "        self._paused = True\n        self.room = 0\n        self._recall()\n", "        self._paused = True\n        self.room = 0\n", CORE + "TestLending::test_a_pause_asks_for_it_too"),
    Mutation("E8", "workers hold no more than there are slots", "executors/processes.py", "        if not self._waiting or not all(worker.ready for worker in self._workers):\n            self._borrow()", "        if False:\n            self._borrow()", STEAL + "TestHolding::test_workers_hold_more_than_there_are_slots_and_no_more_run"),
    Mutation("F07", "a daemon outlives its command", "executors/shell.py", "            self._end_adopted(attempt, process)\n        elif", "            pass\n        elif", ADOPT + "test_a_daemon_ends_with_its_command"),
    Mutation("F07", "whatever came to us ends with any command", "executors/adopting.py", "            if wanted <= carried:", "            if carried:", ADOPT + "test_the_daemon_of_a_command_that_goes_on_is_let_be"),
    Mutation("F07", "a daemon has no grace", "executors/shell.py", "        for pid in (*self._members(process.pid), *self._adopted(attempt)):", "        for pid in self._members(process.pid):", ADOPT + "test_a_daemon_of_a_stopped_command_has_its_grace"),
    Mutation("F07", "what a daemon started lives on", "executors/adopting.py", "            for pid in (*found, *below):", "            for pid in found:", ADOPT + "test_what_a_daemon_starts_ends_too"),
    Mutation("F07 W9", "what a worker left lives on", "executors/processes.py", "        if adopts or ran is not None:", "        if False:", ADOPT + "test_what_a_python_task_leaves_ends_with_its_worker"),
    Mutation("F07", "zombies that came to us stay", "executors/adopting.py", "            if _reaped(pid):", "            if False:", ADOPT + "test_one_that_dies_by_itself_is_reaped"),
    Mutation("F07", "the command line does not adopt", "cli/session.py", "        driver.reap = True", "        driver.reap = False", ADOPT + "test_the_command_line_adopts"),
    Mutation("F54", "over the cap nobody sees what is new", "executors/outputs.py", "        return self._recent or super().latest()", "        return super().latest()", SHELL + "test_what_a_command_writes_is_seen_while_it_runs"),
    Mutation("F06", "a takeover looks for as long as anybody starts processes", "_engine/orphans.py", "while without < ENOUGH_LOOKS and (new", "while (new", "test_owners.py::TestOrphans::test_a_machine_on_which_somebody_always_comes_is_looked_at_all_the_same"),
    Mutation("F41", "what ignores being stopped is waited for", "executors/async_.py", "            self.deaf.add(attempt.handle)\n        return False", "            self.deaf.add(attempt.handle)\n        return True", "test_concurrency.py::TestRunWithConcurrency::test_a_task_that_ignores_the_signal_delays_the_return_by_grace_and_is_reported"),
    Mutation("F42", "a second cancel cuts into the cleanup", S, "        if table.status[task] != RUNNING or task in self._stops.of:\n            return\n        odd = table.odd", "        if table.status[task] != RUNNING:\n            return\n        odd = table.odd", "test_concurrency.py::TestRunWithConcurrency::test_a_cleanup_is_told_once_and_has_its_grace"),
    Mutation("F44", "SystemExit of a body ends the loop", "executors/async_.py", "                except BaseException as error:\n                    sink.report(sink.attempt(ticket)", "                except Exception as error:\n                    sink.report(sink.attempt(ticket)", "test_concurrency.py::TestBodies::test_whatever_a_body_raises_is_its_own_outcome"),
    Mutation("F45", "the others run on after a failure", S, "                elif mode is OnFailure.FAIL_FAST and not table.policies[task].uninterruptible:\n                    self._stop", "                elif False:\n                    self._stop", "test_concurrency.py::TestRunWithConcurrency::test_of_several_failures_the_lowest_index_and_the_first_in_time_are_reported"),
    Mutation("F46", "the end of the program waits for its threads", "executors/threads.py", 'name=f"plait-thread-{self._threads}", daemon=True', 'name=f"plait-thread-{self._threads}", daemon=False', "test_runs.py::TestInterrupts::test_a_thread_that_cannot_be_stopped_delays_nobody_beyond_grace"),
    Mutation("F47", "nobody says what blocks the loop", "executors/blocking.py", "now - self._asked_at >= LATE_S", "False", "executors/test_blocking.py::test_a_coroutine_that_blocks_its_loop_is_named"),
    Mutation("F47", "a waiting loop is woken", "executors/blocking.py", 'if frame is None or frame.f_globals.get("__name__") == "selectors":', "if frame is None:", "executors/test_blocking.py::test_a_loop_that_waits_is_not_woken"),
    Mutation("F51", "workers are forked with our threads' locks", "executors/workers.py", "                process_group=0,", "                preexec_fn=os.setpgrp,", "test_structure.py::test_no_process_is_forked_with_python_in_it"),
    Mutation("F56", "output is read line by line", "executors/outputs.py", "            self.data += data[: self._most - self.size]", '            self.data += data[: self._most - self.size].rpartition(b"\\n")[0]', SHELL + "test_bytes_that_are_no_text_are_shown_with_replacement"),
    Mutation("F58", "a reader that left is a traceback", "cli/session.py", "            if isinstance(self._gone, (OutputGone, BrokenPipeError)):\n                return 141", "            if isinstance(self._gone, (OutputGone, BrokenPipeError)):\n                raise RuntimeError", "cli/test_cli.py::TestOutput::test_a_reader_that_left_is_exit_141"),
    Mutation("F07", "a run beside one that adopts leaves zombies", "_engine/driver.py", "if self.reap or is_subreaper():", "if self.reap:", ADOPT + "test_a_run_beside_one_that_adopts_adopts_too"),
    Mutation("F07", "zombies of its group come to us and stay", "executors/adopting.py", "            if group and _group(pid) == group:", "            if False:", ADOPT + "test_what_died_in_its_group_is_reaped"),
    Mutation("F07 X2", "what a stopped command left lives on", "executors/shell.py", "            self._end_escaped(attempt)", "            pass", ADOPT + "test_nothing_of_a_stopped_attempt_lives_on"),
    Mutation("F07 X2", "what a stopped call left lives on", "executors/processes.py", "        if leaves and attempt.stopped_at is not None:", "        if False:", ADOPT + "test_nothing_of_a_stopped_attempt_lives_on"),
    Mutation("C9 X2", "a stop that comes before its call begins is lost", "executors/worker.py", "self._board.stop < self._number:", "self._board.stop != self._number:", PROC + "TestOdd::test_a_stop_that_comes_before_the_call_begins_is_for_that_call"),
    Mutation("E9", "workers that are to be replaced have no place", "executors/processes.py", "            if worker.held:\n                staying += 1", "            if worker.held:\n                staying += not worker.retiring", PROC + "TestOdd::test_workers_that_are_to_be_replaced_have_their_place"),
    Mutation("F07", "a run that began before one that adopts leaves zombies", "executors/shell.py", "        if self._adopter is None and is_subreaper():", "        if False:", ADOPT + "test_a_run_that_began_before_one_that_adopts_adopts_too"),
    Mutation("F28", "a pipe is lost where there is room for one only", "executors/shell.py", "                for _ in range(2):\n                    self._spare.append(Pipe())", "                self._spare += (Pipe(), Pipe())", "executors/test_shell.py::test_a_pipe_is_not_lost_where_there_is_room_for_one_only"),
    Mutation("X2", "commands inherit the short slice of the thread that starts them", "executors/slices.py", "flags=found.flags | _RESET_ON_FORK", "flags=found.flags", SLICES + "TestARun::test_has_it_while_many_commands_run_and_they_have_the_usual_one"),
    Mutation("X2", "a filter of system calls kills the program", "executors/slices.py", "            raise OSError(\"there may be a filter of system calls\")", "            pass", SLICES + "TestARun::test_under_a_filter_of_system_calls_asks_for_nothing"),
    Mutation("X2", "a command is lost to what should make it quicker", "executors/spawning.py", "        except Exception as error:  # it is for speed alone", "        except ZeroDivisionError as error:  # it is for speed alone", SLICES + "TestARun::test_loses_no_command_to_it"),
    Mutation("X2", "a program's name is to be text", "executors/slices.py", "\"/proc/thread-self/status\", \"rb\"", "\"/proc/thread-self/status\", encoding=\"utf-8\"", SLICES + "TestARun::test_reads_what_the_system_says_under_any_name"),
    Mutation("X2", "Ctrl-C leaves a short slice for good", "executors/slices.py", "            _usual.attributes = found  # before it is so: Ctrl-C may come between the two\n            self._write(found._replace(slice=SHORT_NS, flags=found.flags | _RESET_ON_FORK))", "            self._write(found._replace(slice=SHORT_NS, flags=found.flags | _RESET_ON_FORK))\n            _usual.attributes = found", SLICES + "TestAsksFor::test_ctrl_c_in_the_middle_leaves_what_the_next_one_gives_back"),
    Mutation("X2", "a slice of somebody's choice is lost to commands", "executors/slices.py", "not SHORT_NS < found.slice <= USUAL_MOST_NS", "not SHORT_NS < found.slice", SLICES + "TestAsksFor::test_nothing_where_it_is_not_ours_to_choose"),
    Mutation("X2", "the short slice stays when the run is over", "executors/spawning.py", "                self._slice.restore()", "                pass", SLICES + "TestARun::test_has_it_while_many_commands_run_and_they_have_the_usual_one"),
    Mutation("X2", "a slice where the flag may not go stays", "executors/slices.py", "                self._write(changed)", "                pass", SLICES + "TestAsksFor::test_a_flag_that_may_not_go_stays_and_the_slice_goes"),
    Mutation("X2", "who has a better priority loses it for its commands", "executors/slices.py", "        if found.nice >= 0:", "        if True:", SLICES + "TestAsksFor::test_nothing_where_it_is_not_ours_to_choose"),
    Mutation("B15", "what is not to be tried again is", "_core/policy.py", "        if any(is_meant(cause, error) for cause in self.not_on):\n            return False\n", "", CAUSES + "test_b15_what_is_not_wanted_wins"),
    Mutation("B15", "a code is no better than a class", "_core/policy.py", "any(map(is_code, meant)) or ", "", CAUSES + "test_b15_a_code_is_tried_again_even_where_the_error_says_it_cannot_end_differently"),
    Mutation("B15", "a signal below a shell is an exit code only", "_core/causes.py", "(error.signal == first or error.exit_code == 128 + Signals[first])", "error.signal == first", CAUSES + "test_b15_a_cause_means_these_errors"),
    Mutation("B15", "an empty list turns retries off", "_core/causes.py", "    if value == [] or", "    if value == 0 or False and", CAUSES + "test_an_empty_list_that_would_mean_nothing_is_refused"),
    Mutation("B15", "a range ends before its last", "_core/causes.py", "int(first) <= number <= int(last)", "int(first) <= number < int(last)", CAUSES + "test_b15_a_cause_means_these_errors"),
    Mutation("B15", "a text comes back from the store as a class", "_engine/records.py", "data[1:] if data.startswith(\"=\") else _exception(data)", "_exception(data)", CAUSES + "test_causes_come_back_from_a_store_as_they_were"),
    Mutation("B11", "a result counts twice", "patterns/reducers.py", "            if same in mine:\n                continue  # each result counts once", "            if False:\n                continue", REDUCERS + "TestMerging::test_b11_the_threshold_is_0_4_and_reached_by_two_of_five"),
    Mutation("B11", "more than the threshold is wanted", "patterns/reducers.py", "len(share.sources) >= share_wanted * counted", "len(share.sources) > share_wanted * counted", REDUCERS + "TestMerging::test_b11_the_threshold_is_0_4_and_reached_by_two_of_five"),
    Mutation("B11", "a threshold is the binary fraction next to it", "patterns/reducers.py", "else Fraction(repr(float(given)))", "else Fraction(float(given))", REDUCERS + "TestMerging::test_b11_the_threshold_is_0_4_and_reached_by_two_of_five"),
    Mutation("B12", "what all but one have is common", "patterns/reducers.py", "lambda share, counted: len(share.sources) == counted", "lambda share, counted: len(share.sources) >= counted - 1", REDUCERS + "TestMerging::test_b12_intersection_has_what_all_have"),
    Mutation("B12", "a failed task contributes", "patterns/reducers.py", "        if ended is not None and not ended.ok:\n            missing.append(name)\n            continue", "        if ended is not None and not ended.ok:\n            missing.append(name)", REDUCERS + "TestMerging::test_a_task_that_did_not_succeed_contributes_nothing_and_is_named"),
    Mutation("B12", "a boolean is a number", "patterns/reducers.py", "return isinstance(value, bool), value", "return value", REDUCERS + "TestMerging::test_items_are_the_same_by_what_they_hold_and_a_boolean_is_no_number"),
    Mutation("B12", "a tie goes to the first whatever its rule", "patterns/reducers.py", 'len(winners) == 1 or ties == \"first\"', "winners", REDUCERS + "TestVotes::test_b12_majority_is_what_most_gave_and_a_tie_goes_by_its_rule"),
    Mutation("B12", "a quorum is won by who has it last", "patterns/reducers.py", "            if voted[same] >= wanted:\n                winner = same\n                break", "            if voted[same] >= wanted:\n                winner = same", REDUCERS + "TestVotes::test_a_quorum_is_won_by_who_had_it_first_in_time_not_by_most"),
    Mutation("B14", "a share is rounded down", "patterns/reducers.py", "math.ceil(_share(name, given) * contributors)", "math.floor(_share(name, given) * contributors)", REDUCERS + "TestPartial::test_b14_enough_is_a_count_or_a_share_rounded_up"),
    Mutation("B14", "who failed is not said", "patterns/reducers.py", "{required} required{_but(which)}", "{required} required", REDUCERS + "TestPartial::test_b14_too_few_say_how_many_of_how_many_and_which_failed"),
    Mutation("F28", "a descriptor above the limit fails every command", "executors/spawning.py", "                if error.errno != errno.EBADF:", "                if True:", "executors/test_shell.py::test_a_descriptor_above_todays_limit_stands_in_nobodys_way"),
    Mutation("F24", "output that cannot be kept costs the result", "executors/processes.py", "            except OSError as error:\n                log.warning", "            except KeyError as error:\n                log.warning", PROC + "TestOdd::test_output_that_cannot_be_kept_costs_no_result"),
    Mutation("F28 X2", "a stop without descriptors raises", "executors/workers.py", "        except Exception:\n            pass  # it is dead, or", "        except KeyError:\n            pass  # it is dead, or", PROC + "TestOdd::test_a_stop_without_descriptors_stops"),
    Mutation("F29", "a refused fork fails its task", "executors/shell.py", "(self._running or self._shortage.pause(self._others))", "self._running", "executors/test_shell.py::test_a_fork_that_is_refused_is_tried_again"),
    Mutation("F29", "a refused fork is tried for ever", "executors/shortage.py", "            if self._made == len(PAUSES_S) and not others:", "            if False:", "executors/test_shell.py::test_a_fork_that_is_always_refused_fails_its_task"),
    Mutation("F29", "a worker that cannot be forked fails its task", "executors/processes.py", "(is_short(error) and self._shortage.pause(self._others))", "False", PROC + "TestLimits::test_a_worker_whose_start_is_refused_is_tried_again"),
    Mutation("F30", "a call may take all memory", "executors/worker.py", "    resource.setrlimit(resource.RLIMIT_AS, (most, hard))\n    try", "    try", PROC + "TestLimits::test_a_call_has_no_more_memory_than_its_limit"),
    Mutation("F30", "the limit of a call stays for the next", "executors/worker.py", "    finally:\n        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))", "    finally:\n        pass", PROC + "TestLimits::test_a_call_has_no_more_memory_than_its_limit"),
    Mutation("F30", "a command may take all memory", "executors/shell.py", "        if memory is not None:", "        if False:", "executors/test_shell.py::test_a_command_has_no_more_memory_than_its_limit"),
    Mutation("E9", "a worker makes any number of calls", "executors/processes.py", "        if worker.given == self._each:", "        if False:", PROC + "TestLimits::test_a_worker_makes_so_many_calls_and_no_more"),
    Mutation("F28", "a command that finds no descriptors fails", "executors/shell.py", "            if is_short(error) and (self._running or self._shortage.pause(self._others)):", "            if False:", "executors/test_shell.py::test_commands_wait_for_descriptors_that_others_hold"),
    Mutation("F08 F10", "a program dies at once of TERM", "_engine/doors.py", "        if number is not None and signal.getsignal(number) is signal.SIG_DFL:", "        if False:", "test_stops.py::test_a_program_dies_of_its_signal_after_its_run_and_at_once_of_a_second"),
    Mutation("F49", "exceptions are not read before they are sent", "executors/worker.py", "        loads(data)  # many", "        pass  # many", PROC + "TestBadCalls::test_it_fails_by_name_and_the_others_go_on"),
    Mutation("F50", "a result that cannot be sent ends its worker", "executors/worker.py", "            except BaseException as error:\n                kind = UNSENDABLE", "            except OSError as error:\n                kind = UNSENDABLE", PROC + "TestBadCalls::test_it_fails_by_name_and_the_others_go_on"),
]  # fmt: skip


def survives(mutation: Mutation) -> str | None:
    """None if the test fails as it must; else what happened."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "src", Path(folder) / "src", ignore=shutil.ignore_patterns("__pycache__"))
        path = Path(folder) / "src" / "plait" / mutation.file
        text = path.read_text()
        if text.count(mutation.old) != 1:
            return f"the text to change occurs {text.count(mutation.old)} times"
        path.write_text(text.replace(mutation.old, mutation.new))
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "--timeout",
            "25",
            str(ROOT / "tests" / mutation.test),
        ]
        env = {**os.environ, "PYTHONPATH": str(Path(folder) / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
        except subprocess.TimeoutExpired:
            return None
        # 1 is pytest's word for a failed test; a file that does not even import is no proof.
        return None if done.returncode == 1 else f"the test did not fail (exit {done.returncode})"


def main() -> None:
    """Tries every mutation (or those of the rows given) and writes the page."""
    rows = sys.argv[1:]
    lines = ["# Mutations", "", "What was broken in the code, and the test that failed for it. `python tests/mutate.py` tries them all again and", "writes this page. The bugs planted into the scheduler for the simulation are in `tests/planted.py`.", "", "| row | change | file | test that failed |", "| --- | --- | --- | --- |"]  # fmt: skip
    survivors = 0
    for mutation in MUTATIONS:
        if rows and not set(rows) & set(mutation.row.split()):
            continue
        wrong = survives(mutation)
        print(f"{mutation.row:5} {mutation.what}: {wrong or 'failed, as it must'}", flush=True)
        survivors += wrong is not None
        lines.append(f"| {mutation.row} | {mutation.what} | `{mutation.file}` | `{mutation.test}` |")
    if not rows and not survivors:
        (ROOT / "docs" / "mutations.md").write_text("\n".join(lines) + "\n")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
