"""What every store must do, as checks: a new store is one line in a list of ways to open one.

Each check is given a function that opens one store, as often as it likes: every time the same one, empty at first. A check closes
what it opened, needs no scheduler, and raises AssertionError.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from plait.errors import OwnershipLost, RunNotFound, RunOwned, StoreError, UsageError
from plait.stores.base import Append, Blob, Claim, Learned, NewRun, Note, RunInfo
from plait.stores.contract import Store
from plait.stores.locks import this_process

PATIENCE_S = 30.0
"""How long a check waits for anything that a store owes it."""

Open = Callable[[], Store]


@contextmanager
def opened(again: Open) -> Iterator[Store]:
    """The store; closed afterwards."""
    store = again()
    try:
        yield store
    finally:
        store.close()


def new_run(run_id: str | None = None, **differing: Any) -> NewRun:
    """A run that nobody looks at closely."""
    return NewRun(run_id, "flow", {"kind": "graph"}, {"batch": {"size": 1}}, 1, 1000.5).but(**differing)


class Told:
    """What a store said of the batches that it was given, in the order in which it said so."""

    def __init__(self) -> None:
        self.said: list[tuple[int, BaseException | None]] = []
        self._queue: SimpleQueue[tuple[int, BaseException | None]] = SimpleQueue()

    def of(self, number: int) -> Callable[[BaseException | None], None]:
        """What is to be called about batch `number`."""
        return lambda error: self._queue.put((number, error))

    def wait(self, number: int) -> list[tuple[int, BaseException | None]]:
        """What was said, once that is as much as `number`; or more, if more was said by then."""
        while len(self.said) < number or not self._queue.empty():
            self.said.append(self._queue.get(timeout=PATIENCE_S))
        return self.said


def put(store: Store, claim: Claim, *records: Any, **also: Any) -> BaseException | None:
    """Appends one batch and waits for what is said of it."""
    told = Told()
    store.append(Append(claim, list(records), told.of(0), **also))
    ((_, error),) = told.wait(1)
    return error


def ended(status: str = "succeeded", at: float = 1010.5, **summary: Any) -> dict[str, Any]:
    """What a store is told of a run's end."""
    return {"status": status, "ended_at": at, "summary": summary}


def batches(store: Store, run: RunInfo, generation: int = 1, after: int = 0) -> list[tuple[int, Any]]:
    """The journal, read."""
    return [(number, json.loads(data)) for number, data in store.journal(run, generation, after)]


def leave(store: Store, run: RunInfo, kind: str = "answer", key: str | None = "review", **also: Any) -> Note:
    """Leaves a note that nobody looks at closely."""
    given: dict[str, Any] = {"data": {"ok": True}, "by": "anna", "at": 1005.5, **also}
    return store.leave_note(run, kind, key, **given)


K = TypeVar("K", bound=BaseException)


def refusal(kind: type[K], what: Callable[..., Any], *args: Any) -> K:
    """The error with which `what` is refused."""
    try:
        what(*args)
    except kind as error:
        return error
    raise AssertionError(f"{what} was not refused")


# -- finding


def a_run_is_found_by_its_id_by_its_beginning_and_as_the_last(again: Open) -> None:
    with opened(again) as store:
        for run_id in ("alpha", "alphabet", "beta"):
            store.create(new_run(run_id))
        assert [run.id for run in store.runs()] == ["alpha", "alphabet", "beta"]
        assert store.find("alpha").id == "alpha"  # an id comes before the beginning of another
        assert store.find("alphab").id == "alphabet"
        assert store.find("b").id == "beta"
        assert store.find("last").id == "beta"


def what_no_run_or_more_than_one_is_called_is_refused(again: Open) -> None:
    with opened(again) as store:
        assert "last" in str(refusal(RunNotFound, store.find, "last"))
        for run_id in ("alpha1", "alpha2"):
            store.create(new_run(run_id))
        assert "'gamma'" in str(refusal(RunNotFound, store.find, "gamma"))
        several = str(refusal(RunNotFound, store.find, "alpha"))
        assert "alpha1" in several
        assert "alpha2" in several
        for odd in ("", "%", "_lpha1", "alpha1' OR '1'='1", "ALPHA1", "alpha1\0"):
            refusal(RunNotFound, store.find, odd)


def ids_are_given_where_none_is_wanted_and_taken_ones_are_refused(again: Open) -> None:
    with opened(again) as store:
        given = [store.create(new_run()).id for _ in range(20)]
        assert len(set(given)) == 20
        assert all(given)
        store.create(new_run("mine"))
        assert "mine" in str(refusal(UsageError, store.create, new_run("mine")))
        assert len(store.runs()) == 21


# -- what a run is made of


def a_run_is_stored_with_all_that_it_was_made_of(again: Open) -> None:
    """W1: what `create` returned is there for whoever opens the store next."""
    with opened(again) as store:
        first = store.create(new_run("first"))
        claim = store.create(
            new_run(
                "second", name="näme", definition={"a": [1, "ü"]}, structure={"b": None}, tasks=7, forked_from="first"
            )
        )
        assert (claim.id, claim.epoch, claim.generation, claim.sequence) == ("second", 1, 1, 0)
        assert claim.number > first.number
        with opened(again) as other:
            run = other.find("second")
            assert (run.number, run.name, run.status, run.tasks) == (claim.number, "näme", "running", 7)
            assert (run.created_at, run.ended_at, run.generation, run.epoch) == (1000.5, None, 1, 1)
            assert (run.owner, run.forked_from, dict(run.summary)) == (this_process(), "first", {})
            generation = other.generation(run, 1)
            assert (generation.number, generation.wall) == (1, 1000.5)
            assert json.loads(generation.definition) == {"a": [1, "ü"]}
            assert json.loads(generation.structure) == {"b": None}
            assert batches(other, run) == []


def a_run_that_cannot_be_stored_whole_is_not_stored_at_all(again: Open) -> None:
    with opened(again) as store:
        for part in ("definition", "structure"):
            try:
                store.create(new_run("half", **{part: {"odd": object()}}))
            except Exception:
                pass
            else:
                raise AssertionError(f"the {part} cannot have been stored")
        assert store.runs() == []
        assert store.create(new_run("half")).id == "half"


# -- appending


def batches_come_back_whole_in_order_and_after_a_number(again: Open) -> None:
    with opened(again) as store:
        claim = store.create(new_run("run"))
        for number in range(1, 6):
            assert put(store, claim, [number, "a"], [number, {"b": None}]) is None
        assert claim.sequence == 5
        run = store.find("run")
        expected = [(number, [[number, "a"], [number, {"b": None}]]) for number in range(1, 6)]
        assert batches(store, run) == expected
        assert batches(store, run, after=2) == expected[2:]
        assert batches(store, run, after=5) == []
        with opened(again) as other:
            assert batches(other, other.find("run")) == expected


def a_batch_without_records_takes_no_number(again: Open) -> None:
    with opened(again) as store:
        claim = store.create(new_run("run"))
        assert put(store, claim, "first") is None
        assert put(store, claim) is None
        assert put(store, claim, "second") is None
        assert batches(store, store.find("run")) == [(1, ["first"]), (2, ["second"])]


def every_batch_is_told_once_and_in_order(again: Open) -> None:
    with opened(again) as store:
        told = Told()
        claims = [store.create(new_run()), store.create(new_run())]
        for number in range(200):
            store.append(Append(claims[number % 2], [number], told.of(number)))
        assert told.wait(200) == [(number, None) for number in range(200)]
        assert put(store, claims[0], "after all") is None
        assert len(told.wait(200)) == 200
        for claim, first in zip(claims, (0, 1), strict=True):
            found = [data for _, data in batches(store, store.find(claim.id))]
            assert found[:100] == [[number] for number in range(first, 200, 2)]


def what_is_told_is_there_for_whoever_looks(again: Open) -> None:
    """W3: a report follows the commit, it never leads."""
    with opened(again) as store:
        claim = store.create(new_run("run"))
        run = store.find("run")
        seen: list[int] = []
        over = threading.Event()

        def told(error: BaseException | None) -> None:
            with opened(again) as other:
                seen.append(len(batches(other, run)))
            if len(seen) == 20:
                over.set()

        for number in range(20):
            store.append(Append(claim, [number], told))
        assert over.wait(PATIENCE_S)
        assert all(found >= number for number, found in enumerate(seen, 1)), seen


def runs_that_are_appended_to_from_many_threads_do_not_mix(again: Open) -> None:
    with opened(again) as store:
        claims = [store.create(new_run(f"run{number}")) for number in range(4)]
        told = Told()

        def write(claim: Claim) -> None:
            for number in range(50):
                store.append(Append(claim, [[claim.id, number]], told.of(number)))

        threads = [threading.Thread(target=write, args=(claim,)) for claim in claims]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert {error for _, error in told.wait(200)} == {None}
        for claim in claims:
            expected = [(number + 1, [[claim.id, number]]) for number in range(50)]
            assert batches(store, store.find(claim.id)) == expected


def what_cannot_be_written_is_told_to_its_own_run_alone(again: Open) -> None:
    with opened(again) as store:
        good, bad = store.create(new_run("good")), store.create(new_run("bad"))
        told = Told()
        for number in range(30):
            store.append(Append(good, [number], told.of(number)))
            if number % 10 == 5:
                store.append(Append(bad, [object()], told.of(-1)))
        said = told.wait(33)
        assert [each for each in said if each[0] >= 0] == [(number, None) for number in range(30)]
        assert sum(error is not None for number, error in said if number < 0) == 3
        assert batches(store, store.find("good")) == [(number + 1, [number]) for number in range(30)]
        assert batches(store, store.find("bad")) == []


def nothing_is_written_behind_a_batch_that_was_not(again: Open) -> None:
    with opened(again) as store:
        claim = store.create(new_run("run"))
        assert put(store, claim, "first") is None
        why = put(store, claim, object())
        assert why is not None
        assert put(store, claim, "third") is why
        assert put(store, claim, final=ended()) is why
        run = store.find("run")
        assert (run.status, batches(store, run)) == ("running", [(1, ["first"])])
        store.release(claim)
        claim = store.claim(store.find("run"))
        assert put(store, claim, "second") is None
        assert batches(store, run) == [(1, ["first"]), (2, ["second"])]


def whoever_raises_when_told_harms_nobody(again: Open) -> None:
    with opened(again) as store:
        claim = store.create(new_run("run"))

        def told(error: BaseException | None) -> None:
            raise ValueError("not the store's business")

        store.append(Append(claim, ["first"], told))
        assert put(store, claim, "second") is None
        assert batches(store, store.find("run")) == [(1, ["first"]), (2, ["second"])]


def closing_writes_what_was_queued(again: Open) -> None:
    told = Told()
    with opened(again) as store:
        claim = store.create(new_run("run"))
        for number in range(100):
            store.append(Append(claim, [number], told.of(number)))
    assert told.wait(0) == [(number, None) for number in range(100)]
    with opened(again) as store:
        assert len(batches(store, store.find("run"))) == 100


# -- large values


def large_values_come_back_wherever_they_stand(again: Open) -> None:
    data = [bytes(range(256)) * 400, b"", b"\xff" * 100_000]
    with opened(again) as store:
        claim = store.create(new_run("run", definition={"large": Blob(data[0])}, structure=[Blob(data[1])]))
        assert put(store, claim, [7, Blob(data[2]), Blob(data[0])]) is None
        run = store.find("run")
        generation = store.generation(run, 1)
        names = [
            json.loads(generation.definition)["large"],
            *json.loads(generation.structure),
            *batches(store, run)[0][1][0][1:],
        ]
        assert [store.blob(name) for name in names] == [data[0], data[1], data[2], data[0]]
        assert names[0] == names[3]
        with opened(again) as other:
            assert other.blob(names[2]) == data[2]


def what_is_not_there_is_a_store_error(again: Open) -> None:
    with opened(again) as store:
        store.create(new_run("run"))
        run = store.find("run")
        refusal(StoreError, store.generation, run, 2)
        for name in ("0" * 64, "", "../../../etc/passwd", "/dev/zero"):
            refusal(StoreError, store.blob, name)
        assert batches(store, run, generation=2) == []


# -- owning


def a_run_that_is_owned_is_claimed_by_nobody_else(again: Open) -> None:
    """W7."""
    with opened(again) as store:
        claim = store.create(new_run("run"))
        with opened(again) as other:
            run = other.find("run")
            for each in (store, other):
                refused = refusal(RunOwned, each.claim, run)
                assert refused.pid == this_process().pid
                assert str(refused.pid) in str(refused)
            assert other.find("run").epoch == 1
        assert put(store, claim, "goes on") is None
        assert not claim.lost


def a_run_that_was_released_goes_on_where_its_journal_ends(again: Open) -> None:
    with opened(again) as store:
        first = store.create(new_run("run"))
        told = Told()
        for number in range(3):
            store.append(Append(first, [number], told.of(number)))
        store.release(first)
        assert told.wait(0) == [(number, None) for number in range(3)]  # released after everything that was appended
        run = store.find("run")
        assert (run.owner, run.status) == (None, "running")
        second = store.claim(run)
        assert (second.id, second.epoch, second.generation, second.sequence) == ("run", 2, 1, 3)
        assert store.find("run").owner == this_process()
        assert put(store, second, "more") is None
        assert batches(store, store.find("run"))[3:] == [(4, ["more"])]


def of_many_that_claim_at_once_one_gets_the_run(again: Open) -> None:
    with opened(again) as store:
        store.release(store.create(new_run("run")))
        run = store.find("run")
        got: list[Claim] = []
        refused: list[BaseException] = []
        start = threading.Barrier(8)

        def claim() -> None:
            start.wait(PATIENCE_S)
            try:
                got.append(store.claim(run))
            except RunOwned as error:
                refused.append(error)

        threads = [threading.Thread(target=claim) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert (len(got), len(refused)) == (1, 7)
        assert store.find("run").epoch == got[0].epoch == 2


def an_older_claim_writes_nothing_and_is_told_that_it_lost_the_run(again: Open) -> None:
    """W7: the epoch is looked at in every write."""
    with opened(again) as store:
        stale = store.create(new_run("run"))
        assert put(store, stale, "mine") is None
        store.release(stale)
        now = store.claim(store.find("run"))
        before = store.find("run")
        for also in ({}, {"final": ended("failed")}, {"learned": {"key": Learned(1.0, 1)}}):
            error = put(store, stale, "too late", **also)
            assert isinstance(error, OwnershipLost), error
            assert stale.lost
        assert isinstance(put(store, stale, final=ended("failed")), OwnershipLost)
        refusal(OwnershipLost, store.begin_generation, stale, {}, {}, 1, 0.0)
        store.release(stale)
        assert store.find("run") == before
        assert store.learned_of("key") == {}
        assert put(store, now, "yours") is None
        assert batches(store, store.find("run")) == [(1, ["mine"]), (2, ["yours"])]
        refusal(RunOwned, store.claim, before)


def batches_of_others_are_written_beside_those_that_are_rejected(again: Open) -> None:
    with opened(again) as store:
        stale, other = store.create(new_run("run")), store.create(new_run("other"))
        store.release(stale)
        store.claim(store.find("run"))
        told = Told()
        for number in range(40):
            store.append(Append(other if number % 2 else stale, [number], told.of(number)))
        for number, error in told.wait(40):
            assert (error is None) is bool(number % 2)
        assert len(batches(store, store.find("other"))) == 20
        assert batches(store, store.find("run")) == []


# -- generations and ends


def another_generation_begins_empty_and_leaves_the_earlier_one(again: Open) -> None:
    """W14."""
    with opened(again) as store:
        claim = store.create(new_run("run"))
        assert put(store, claim, "old", final=ended("failed", reason="x")) is None
        claim = store.claim(store.find("run"))
        assert (claim.generation, claim.sequence) == (1, 1)
        store.begin_generation(claim, {"kind": "edited"}, {"batch": {"size": 2}}, 2, 2000.5)
        assert (claim.generation, claim.sequence) == (2, 0)
        assert put(store, claim, "new") is None
        run = store.find("run")
        assert (run.generation, run.status, run.ended_at, dict(run.summary), run.tasks) == (2, "running", None, {}, 2)
        assert run.created_at == 1000.5
        assert batches(store, run, 1) == [(1, ["old"])]
        assert batches(store, run, 2) == [(1, ["new"])]
        assert json.loads(store.generation(run, 1).definition) == {"kind": "graph"}
        later = store.generation(run, 2)
        assert (json.loads(later.definition), json.loads(later.structure), later.wall) == (
            {"kind": "edited"},
            {"batch": {"size": 2}},
            2000.5,
        )


def the_last_batch_ends_the_run_and_frees_it(again: Open) -> None:
    with opened(again) as store:
        claim = store.create(new_run("run"))
        assert put(store, claim, "a", final=ended("failed", 1010.5, counts={"failed": 1}, reason="ü")) is None
        with opened(again) as other:
            run = other.find("run")
            assert (run.status, run.ended_at, run.owner) == ("failed", 1010.5, None)
            assert dict(run.summary) == {"counts": {"failed": 1}, "reason": "ü"}
            assert batches(other, run) == [(1, ["a"])]
            claim = other.claim(run)
            other.release(claim)
            assert other.find("run").status == "failed"


# -- notes for whoever drives a run


def a_note_is_there_for_whoever_drives_the_run_now_or_later(again: Open) -> None:
    """F75: also while nobody drives it, and in the next process that does."""
    with opened(again) as store:
        claim = store.create(new_run("run"))
        other = store.create(new_run("other"))
        run = store.find("run")
        assert store.notes(run.number) == []
        with opened(again) as away:
            first = leave(away, run, data={"ok": [1, "ü", None]})
            assert (first.kind, first.key, first.by, first.at) == ("answer", "review", "anna", 1005.5)
            assert first.data == {"ok": [1, "ü", None]}
        store.release(claim)
        second = leave(store, store.find("run"), "pause", None, data=None, by=None)
        assert second.id > first.id
        assert (second.key, second.data, second.by) == (None, None, None)
        with opened(again) as away:
            assert away.notes(run.number) == [first, second]
            assert away.notes(other.number) == []
            assert away.verdict(first.id) is None
            claim = away.claim(away.find("run"))
            assert away.notes(run.number) == [first, second]
            assert put(away, claim, verdicts=[(first.id, {"taken": True})]) is None
            assert away.notes(run.number) == [second]
        assert store.verdict(first.id) == {"taken": True}
        assert store.verdict(second.id) is None


def of_two_notes_of_a_kind_the_second_is_refused_until_the_first_was_looked_at(again: Open) -> None:
    """F74: and is told who was first, and when."""
    with opened(again) as store:
        claim = store.create(new_run("run"))
        run = store.find("run")
        first = leave(store, run)
        said = str(refusal(UsageError, partial(leave, store, run, by="berta", data=7)))
        assert "question 'review' has an answer by anna already, {\"ok\": true}, left at 19" in said
        assert said.endswith("which was not looked at yet")
        assert leave(store, run, key="other").key == "other"
        for kind, asked in (("cancel", "to cancel"), ("pause", "to pause"), ("resume", "to go on")):
            leave(store, run, kind, None, by=None)
            said = str(refusal(UsageError, leave, store, run, kind, None))
            assert f"run run was asked {asked} already, at 19" in said
            leave(store, run, kind, "review")
        assert len(store.notes(run.number)) == 8
        assert put(store, claim, verdicts=[(first.id, {"refused": "no"})]) is None
        assert leave(store, run, by="berta").id > first.id  # what becomes of it is the owner's to say


def of_many_that_answer_at_once_one_does(again: Open) -> None:
    """F74."""
    with opened(again) as store:
        store.create(new_run("run"))
        run = store.find("run")
        left: list[Note] = []
        refused: list[BaseException] = []
        start = threading.Barrier(8)

        def answer(number: int) -> None:
            with opened(again) as mine:
                start.wait(PATIENCE_S)
                try:
                    left.append(leave(mine, run, data=number, by=f"number {number}"))
                except UsageError as error:
                    refused.append(error)

        threads = [threading.Thread(target=answer, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert (len(left), len(refused)) == (1, 7)
        assert store.notes(run.number) == left
        assert all(f"by number {left[0].data} already" in str(error) for error in refused)


def what_is_no_note_is_refused(again: Open) -> None:
    with opened(again) as store:
        store.create(new_run("run"))
        run = store.find("run")
        refused: list[dict[str, Any]] = [
            {"kind": "order"},
            {"kind": "answer", "key": None},
            {"data": object()},
            {"data": float("nan")},
            {"data": b"bytes"},
            {"data": "\ud800"},
            {"data": [[]] * 500_000},
            {"data": "ü" * 500_000},
            {"key": "k" * 1_000_001},
            {"key": "\ud800"},
            {"key": 7},
            {"by": "\ud800"},
            {"by": 7},
            {"at": -1.0},
            {"at": float("nan")},
        ]
        for also in refused:
            refusal(UsageError, partial(leave, store, run, **also))
        assert store.notes(run.number) == []
        deep: Any = []
        for _ in range(100_000):
            deep = [deep]
        refusal(UsageError, partial(leave, store, run, data=deep))
        assert leave(store, run, data="x" * 999_998).data == "x" * 999_998
        assert "a file" in str(refusal(UsageError, partial(leave, store, run, key="more", data="x" * 999_999)))


def a_note_that_comes_too_late_is_refused(again: Open) -> None:
    """F74: for a run that is over, that was deleted, or that began another generation."""
    with opened(again) as store:
        claim = store.create(new_run("run"))
        run = store.find("run")
        leave(store, run, key="early", generation=1)
        assert "generation" in str(refusal(UsageError, partial(leave, store, run, generation=2)))
        assert put(store, claim, "a", final=ended("cancelled")) is None
        assert "run run is over: cancelled" in str(refusal(UsageError, leave, store, run))  # `run` is as it was
        claim = store.claim(store.find("run"))
        store.begin_generation(claim, {}, {}, 1, 2000.0)
        assert "generation" in str(refusal(UsageError, partial(leave, store, run, generation=1)))
        note = leave(store, run, generation=2)
        assert put(store, claim, final=ended()) is None
        store.delete([store.find("run")])
        assert "run run was deleted" in str(refusal(UsageError, leave, store, run))
        assert store.notes(run.number) == []
        refusal(RunNotFound, store.verdict, note.id)
        assert not store.withdraw_note(note.id)


def what_nobody_looked_at_is_closed_with_its_generation_and_with_its_run(again: Open) -> None:
    with opened(again) as store:
        claim, other = store.create(new_run("run")), store.create(new_run("other"))
        run = store.find("run")
        seen, unseen, beside = leave(store, run, key="seen"), leave(store, run), leave(store, store.find("other"))
        assert put(store, claim, verdicts=[(seen.id, {"taken": True})]) is None
        store.begin_generation(claim, {}, {}, 1, 2000.0)
        assert store.verdict(seen.id) == {"taken": True}
        assert store.verdict(unseen.id) == {"refused": "the run began another generation"}
        assert store.notes(run.number) == []
        seen, unseen = leave(store, run, key="seen"), leave(store, run)
        said = put(store, claim, final=ended("failed"), verdicts=[(seen.id, {"taken": 2})])
        assert said is None
        assert store.verdict(seen.id) == {"taken": 2}
        assert store.verdict(unseen.id) == {"refused": "the run is over: failed"}
        assert store.notes(run.number) == []
        assert store.verdict(beside.id) is None
        assert [note.id for note in store.notes(other.number)] == [beside.id]


def a_fact_and_what_became_of_its_note_are_written_together_or_not_at_all(again: Open) -> None:
    with opened(again) as store:
        claim = store.create(new_run("run"))
        run = store.find("run")
        notes = [leave(store, run, key=f"q{number}") for number in range(4)]
        assert put(store, claim, "answered", verdicts=[(notes[0].id, {"taken": 1}), (notes[1].id, {})]) is None
        assert put(store, claim, verdicts=[(notes[2].id, {"taken": 2})]) is None  # and takes no number
        assert put(store, claim, "more") is None
        assert batches(store, run) == [(1, ["answered"]), (2, ["more"])]
        assert [store.verdict(note.id) for note in notes] == [{"taken": 1}, {}, {"taken": 2}, None]
        assert put(store, claim, verdicts=[(notes[0].id, {"refused": "the first one stands"})]) is None
        assert store.verdict(notes[0].id) == {"taken": 1}
        why = put(store, claim, "fact", verdicts=[(notes[3].id, {"odd": object()})])
        assert why is not None
        assert put(store, claim, verdicts=[(notes[3].id, {"taken": 3})]) is why  # nothing follows what was not written
        assert store.verdict(notes[3].id) is None
        assert len(batches(store, run)) == 2
        store.release(claim)
        claim = store.claim(store.find("run"))
        why = put(store, claim, object(), verdicts=[(notes[3].id, {"taken": 3})])
        assert why is not None
        assert store.notes(run.number) == [notes[3]]


def an_older_claim_says_nothing_of_notes_nor_does_that_of_another_run(again: Open) -> None:
    with opened(again) as store:
        stale, other = store.create(new_run("run")), store.create(new_run("other"))
        run = store.find("run")
        note = leave(store, run)
        assert put(store, other, verdicts=[(note.id, {"taken": True}), (10**9, {"taken": True})]) is None
        assert store.verdict(note.id) is None
        store.release(stale)
        now = store.claim(run)
        for also in ({}, {"final": ended("failed")}):
            error = put(store, stale, verdicts=[(note.id, {"taken": True})], **also)
            assert isinstance(error, OwnershipLost), error
        refusal(OwnershipLost, store.begin_generation, stale, {}, {}, 1, 0.0)
        assert store.notes(run.number) == [note]
        assert put(store, now, verdicts=[(note.id, {"taken": True})]) is None
        assert store.verdict(note.id) == {"taken": True}


def a_note_is_taken_back_until_something_was_said_of_it(again: Open) -> None:
    with opened(again) as store:
        claim = store.create(new_run("run"))
        run = store.find("run")
        note = leave(store, run)
        assert store.withdraw_note(note.id)
        assert not store.withdraw_note(note.id)
        assert store.verdict(note.id) == {"withdrawn": True}
        assert store.notes(run.number) == []
        second = leave(store, run, by="berta")  # its place is free
        assert put(store, claim, "a", verdicts=[(second.id, {"taken": True})]) is None
        assert not store.withdraw_note(second.id)
        assert store.verdict(second.id) == {"taken": True}
        # Whoever drives the run had read it by then: what it did is what holds.
        assert put(store, claim, "b", verdicts=[(note.id, {"taken": "meanwhile"})]) is None
        assert store.verdict(note.id) == {"taken": "meanwhile"}
        assert not store.withdraw_note(10**9)


def whoever_looks_at_the_version_sees_that_something_was_committed(again: Open) -> None:
    with opened(again) as store:
        seen: list[int] = [store.data_version()]

        def moved() -> bool:
            """Since it was asked last."""
            seen.append(store.data_version())
            return seen[-1] not in seen[:-1]

        assert not moved()
        claim = store.create(new_run("run"))
        assert moved()
        run = store.find("run")
        with opened(again) as other:
            note = leave(other, run)
            assert moved()
            assert store.notes(run.number) == [note]
            leave(other, run, "pause", None)
            assert len(store.notes(run.number)) == 2  # to look does not hide it
            assert moved()
            assert other.withdraw_note(note.id)
            assert moved()
        assert put(store, claim, "fact") is None
        assert moved()
        store.release(claim)
        assert moved()
        assert store.verdict(note.id) == {"withdrawn": True}
        assert not moved()


def what_a_run_stands_at_is_said_while_nobody_drives_it(again: Open) -> None:
    with opened(again) as store:
        claim = store.create(new_run("run"))
        store.release(claim, {"stands": "waiting", "questions": 2})
        run = store.find("run")
        assert (run.status, dict(run.summary), run.owner) == ("running", {"stands": "waiting", "questions": 2}, None)
        claim = store.claim(run)
        assert dict(store.find("run").summary) == {}
        store.release(claim, {"stands": "paused"})
        claim = store.claim(store.find("run"))
        store.release(claim)
        assert dict(store.find("run").summary) == {}
        stale, claim = claim, store.claim(store.find("run"))
        store.release(stale, {"stands": "too late"})
        assert dict(store.find("run").summary) == {}
        store.begin_generation(claim, {}, {}, 1, 2000.0)
        assert put(store, claim, final=ended("failed", reason="x")) is None
        claim = store.claim(store.find("run"))
        assert dict(store.find("run").summary) == {"reason": "x"}  # a claim alone changes nothing of what is over
        store.release(claim, {"stands": "waiting"})
        assert dict(store.find("run").summary) == {"reason": "x"}


# -- beside the runs


def what_was_learned_is_kept_and_moves_with_every_run(again: Open) -> None:
    with opened(again) as store:
        assert store.learned_of("") == {}
        claim = store.create(new_run("one"))
        first = {key: Learned(1.0, 2, 10.0) for key in ("flow/a", "flow/b", "flow%/a", "'; DROP TABLE runs; --", "ü/a")}
        assert put(store, claim, final=ended(), learned=first) is None
        assert store.learned_of("") == first
        assert set(store.learned_of("flow/")) == {"flow/a", "flow/b"}
        assert set(store.learned_of("flow%")) == {"flow%/a"}
        assert set(store.learned_of("ü")) == {"ü/a"}
        claim = store.create(new_run("two"))
        assert put(store, claim, final=ended(), learned={"flow/a": Learned(3.0, 5, 20.0)}) is None
        with opened(again) as other:
            found = other.learned_of("flow/")
            assert found["flow/b"] == first["flow/b"]
            assert 1.0 < found["flow/a"].seconds < 3.0
            assert 10.0 < found["flow/a"].children < 20.0
            assert found["flow/a"].number == 7


def what_only_a_deleted_run_referred_to_is_swept(again: Open) -> None:
    shared, own = b"s" * 50_000, b"o" * 60_000
    with opened(again) as store:
        for run_id, data in (("one", (shared, own)), ("two", (shared,))):
            claim = store.create(new_run(run_id))
            assert put(store, claim, *map(Blob, data), final=ended()) is None
        one, two = store.runs()
        names = [*batches(store, one)[0][1], *batches(store, two)[0][1]]
        assert store.sweep() == (0, 0)
        store.delete([one])
        assert [run.id for run in store.runs()] == ["two"]
        refusal(RunNotFound, store.find, "one")
        refusal(RunNotFound, store.claim, one)
        assert store.sweep() == (1, len(own))
        assert store.sweep() == (0, 0)
        refusal(StoreError, store.blob, names[1])
        assert store.blob(names[2]) == shared
        store.delete([two])
        assert store.sweep() == (1, len(shared))


def a_run_that_somebody_owns_is_not_deleted(again: Open) -> None:
    with opened(again) as store:
        done, claim = store.create(new_run("done")), store.create(new_run("run"))
        assert put(store, done, final=ended()) is None
        assert "run run " in str(refusal(RunOwned, store.delete, store.runs()))
        assert [run.id for run in store.runs()] == ["done", "run"]  # all or none
        assert put(store, claim, "goes on", final=ended()) is None
        store.delete(store.runs())
        assert store.runs() == []


def numbers_and_ids_of_deleted_runs_are_no_way_into_new_ones(again: Open) -> None:
    with opened(again) as store:
        old = store.create(new_run("run"))
        assert put(store, old, "old", final=ended()) is None
        store.delete(store.runs())
        new = store.create(new_run("run"))
        assert new.number > old.number
        assert isinstance(put(store, old, "late"), OwnershipLost)
        assert batches(store, store.find("run")) == []


CHECKS: Sequence[Callable[[Open], None]] = (
    a_run_is_found_by_its_id_by_its_beginning_and_as_the_last,
    what_no_run_or_more_than_one_is_called_is_refused,
    ids_are_given_where_none_is_wanted_and_taken_ones_are_refused,
    a_run_is_stored_with_all_that_it_was_made_of,
    a_run_that_cannot_be_stored_whole_is_not_stored_at_all,
    batches_come_back_whole_in_order_and_after_a_number,
    a_batch_without_records_takes_no_number,
    every_batch_is_told_once_and_in_order,
    what_is_told_is_there_for_whoever_looks,
    runs_that_are_appended_to_from_many_threads_do_not_mix,
    what_cannot_be_written_is_told_to_its_own_run_alone,
    nothing_is_written_behind_a_batch_that_was_not,
    whoever_raises_when_told_harms_nobody,
    closing_writes_what_was_queued,
    large_values_come_back_wherever_they_stand,
    what_is_not_there_is_a_store_error,
    a_run_that_is_owned_is_claimed_by_nobody_else,
    a_run_that_was_released_goes_on_where_its_journal_ends,
    of_many_that_claim_at_once_one_gets_the_run,
    an_older_claim_writes_nothing_and_is_told_that_it_lost_the_run,
    batches_of_others_are_written_beside_those_that_are_rejected,
    another_generation_begins_empty_and_leaves_the_earlier_one,
    the_last_batch_ends_the_run_and_frees_it,
    a_note_is_there_for_whoever_drives_the_run_now_or_later,
    of_two_notes_of_a_kind_the_second_is_refused_until_the_first_was_looked_at,
    of_many_that_answer_at_once_one_does,
    what_is_no_note_is_refused,
    a_note_that_comes_too_late_is_refused,
    what_nobody_looked_at_is_closed_with_its_generation_and_with_its_run,
    a_fact_and_what_became_of_its_note_are_written_together_or_not_at_all,
    an_older_claim_says_nothing_of_notes_nor_does_that_of_another_run,
    a_note_is_taken_back_until_something_was_said_of_it,
    whoever_looks_at_the_version_sees_that_something_was_committed,
    what_a_run_stands_at_is_said_while_nobody_drives_it,
    what_was_learned_is_kept_and_moves_with_every_run,
    what_only_a_deleted_run_referred_to_is_swept,
    a_run_that_somebody_owns_is_not_deleted,
    numbers_and_ids_of_deleted_runs_are_no_way_into_new_ones,
)
"""All of them; `check(again)` for each, on a store of its own."""
