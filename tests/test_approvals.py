"""Approvals: work that a person approves, has done again with feedback, or rejects; and whoever is told that a question is open."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

import plait
from plait.testing import VirtualClock

DONE: list[str] = []
"""What ran, in this process."""

PATIENCE_S = 20.0


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    DONE.clear()


@plait.task
async def facts(topic: str) -> str:
    DONE.append("facts")
    return f"facts about {topic}"


@plait.task
async def draft(text: str, feedback: str | None = None) -> str:
    DONE.append(f"draft {feedback}")
    return f"draft of {text} ({feedback})"


@plait.task
def polish(text: str, *, loud: bool = False) -> str:
    DONE.append("polish")
    return text.upper() if loud else text


@plait.task
async def publish(text: str) -> str:
    DONE.append("publish")
    return f"published {text}"


def graph(**options: Any) -> plait.Graph:
    made = plait.Graph("report")
    written = made.add("draft", draft, args=(made.add("facts", facts, args=("cats",)),))
    polished = made.add("polish", polish, args=(written,), kwargs={"loud": True})
    review = made.add("review", plait.approve(polished, "Publish {}?", **options))
    made.add("publish", publish, args=(review,))
    return made


class Asked:
    """Takes questions as they open, and waits for them."""

    def __init__(self) -> None:
        self._found: SimpleQueue[plait.OpenQuestion] = SimpleQueue()

    def __call__(self, question: plait.OpenQuestion) -> None:
        self._found.put(question)

    def next(self) -> plait.OpenQuestion:
        """The next question that opens."""
        return self._found.get(timeout=PATIENCE_S)


def answering(asked: Asked, run: Any, *answers: dict[str, Any]) -> list[plait.OpenQuestion]:
    """Gives each answer to the question that opens next."""
    found = []
    for answer in answers:
        found.append(asked.next())
        run.answer(found[-1].key, answer, by="anna")
    return found


APPROVE: dict[str, Any] = {"action": "approve"}


def revise(feedback: str) -> dict[str, Any]:
    return {"action": "revise", "feedback": feedback}


@pytest.mark.parametrize("kept", [False, True], ids=["in memory", "in a store"])
class TestApprove:
    def start(self, kept: bool, folder: Path, made: plait.Graph, asked: Asked) -> Any:
        return plait.start(made, on_question=asked, **({"store": folder} if kept else {}))

    def test_approved_work_goes_on(self, kept: bool, tmp_path: Path) -> None:
        """A18: its value is that of the work."""
        asked = Asked()
        run = self.start(kept, tmp_path, graph(), asked)
        (question,) = answering(asked, run, APPROVE)
        result = run.wait(PATIENCE_S)
        assert question.prompt == "Publish DRAFT OF FACTS ABOUT CATS (NONE)?"
        assert (question.key, question.kind) == ("review", "approval")
        assert result["publish"].value == "published DRAFT OF FACTS ABOUT CATS (NONE)"
        assert DONE == ["facts", "draft None", "polish", "publish"]

    def test_revised_work_is_done_again_with_the_feedback_by_all_that_takes_it_and_follows(
        self, kept: bool, tmp_path: Path
    ) -> None:
        """A18: what takes no feedback and comes before is not run again; each round has the key of the first."""
        asked = Asked()
        run = self.start(kept, tmp_path, graph(), asked)
        questions = answering(asked, run, revise("shorter"), revise("louder"), APPROVE)
        result = run.wait(PATIENCE_S)
        assert [each.key for each in questions] == ["review"] * 3
        assert [each.task for each in questions] == ["review", "review/review", "review/review/review"]
        assert DONE == ["facts", "draft None", "polish", "draft shorter", "polish", "draft louder", "polish", "publish"]
        assert result["publish"].value == "published DRAFT OF FACTS ABOUT CATS (LOUDER)"
        assert result["review"].status == "succeeded"

    def test_rounds_are_bounded(self, kept: bool, tmp_path: Path) -> None:
        """A18: once they are used up work can be approved or rejected."""
        asked = Asked()
        run = self.start(kept, tmp_path, graph(rounds=1), asked)
        answering(asked, run, revise("shorter"))
        last = asked.next()
        assert last.fits == "approve, or reject [REASON]"
        with pytest.raises(plait.UsageError, match="does not fit: action must be one of"):
            run.answer("review", revise("again"))
        run.answer("review", APPROVE)
        assert run.wait(PATIENCE_S).status == "succeeded"

    def test_rejected_work_ends_the_run(self, kept: bool, tmp_path: Path) -> None:
        """A18: its status is `rejected`, and the reason says who and why."""
        asked = Asked()
        run = self.start(kept, tmp_path, graph(), asked)
        answering(asked, run, {"action": "reject", "feedback": "not now"})
        result = run.wait(PATIENCE_S)
        assert (str(result.status), result.reason) == ("rejected", "review was rejected by anna: not now")
        assert isinstance(result["review"].error, plait.Rejected)
        assert str(result["publish"].status) == "not_started"
        assert "publish" not in DONE

    def test_it_is_rejected_in_a_later_round_too(self, kept: bool, tmp_path: Path) -> None:
        asked = Asked()
        run = self.start(kept, tmp_path, graph(), asked)
        answering(asked, run, revise("shorter"), {"action": "reject"})
        result = run.wait(PATIENCE_S)
        assert (str(result.status), result.reason) == ("rejected", "review was rejected by anna")

    def test_feedback_goes_with_a_revision_alone(self, kept: bool, tmp_path: Path) -> None:
        asked = Asked()
        run = self.start(kept, tmp_path, graph(), asked)
        asked.next()
        with pytest.raises(plait.UsageError, match="does not say of what: revise FEEDBACK"):
            run.answer("review", {"action": "revise", "feedback": " "})
        with pytest.raises(plait.UsageError, match="has feedback, which goes with revise"):
            run.answer("review", {"action": "approve", "feedback": "fine"})
        run.answer("review", APPROVE)
        assert run.wait(PATIENCE_S).status == "succeeded"


class TestWhatIsRevised:
    def test_work_that_takes_no_feedback_cannot_be(self) -> None:
        asked = Asked()
        run = plait.start(publish.bind(plait.approve(facts.bind("cats"))), on_question=asked)
        question = asked.next()
        assert question.fits == "approve, or reject [REASON]"
        assert question.prompt == "Is this good?\nfacts about cats"
        run.answer(question.key, APPROVE)
        assert run.wait(PATIENCE_S).value == "published facts about cats"

    def test_feedback_that_is_given_already_is_no_wish_for_it(self) -> None:
        asked = Asked()
        run = plait.start(plait.approve(draft.bind("x", feedback="mine")), on_question=asked)
        assert "revise" not in asked.next().fits
        run.cancel()
        run.wait(PATIENCE_S)

    def test_values_beside_come_from_the_first_round(self) -> None:
        """A18: what is needed and not done again is not done again, in maps and lists too."""

        @plait.task
        async def joined(texts: list[str], extra: dict[str, str], feedback: str = "-") -> str:
            DONE.append(f"joined {feedback}")
            return f"{'+'.join(texts)} {extra['why']} {feedback}"

        many = facts.map(["a", "b"])
        work = joined.bind(many, {"why": facts.bind("c")})
        asked = Asked()
        run = plait.start(plait.approve(work), on_question=asked)
        answering(asked, run, revise("more"), APPROVE)
        assert run.wait(PATIENCE_S).value == "facts about a+facts about b facts about c more"
        assert sorted(DONE) == ["facts", "facts", "facts", "joined -", "joined more"]

    def test_an_approval_of_an_approval_asks_both_again(self) -> None:
        first = plait.approve(draft.bind("x"), "first {}?")
        asked = Asked()
        made = plait.Graph("two")
        made.add("a", first)
        made.add("b", plait.approve(made.add("c", polish, args=(first,)), "second {}?"))
        run = plait.start(made, on_question=asked)
        keys = []
        for _ in range(8):
            if run.done:
                break
            question = asked.next()
            keys.append(question.key)
            again = "second" in question.prompt and "more" not in question.prompt
            run.answer(question.key, revise("more") if again else APPROVE)
            if "second" in question.prompt and not again:
                break
        result = run.wait(PATIENCE_S)
        assert result.status == "succeeded"
        assert result["b"].value == "draft of x (more)"

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"rounds": 0}, "rounds must be a whole number of at least 1"),
            ({"rounds": True}, "rounds must be a whole number"),
            ({"rounds": 51}, "rounds must be at most 50"),
            ({"default": "maybe"}, "the default of an approval is approve or reject"),
            ({"timeout": 0}, "timeout must be a positive finite number"),
            ({"who": 7}, "who must be a name"),
            ({"prompt": " "}, "the prompt of an approval must be text"),
            ({"retires": 3}, "unknown option 'retires'"),
        ],
    )
    def test_what_cannot_be_is_refused_before_anything_runs(self, options: dict[str, Any], says: str) -> None:
        with pytest.raises(plait.UsageError, match=says):
            plait.approve(draft.bind("x"), **options)

    def test_what_is_no_node_is_refused(self) -> None:
        with pytest.raises(plait.UsageError, match="give its node"):
            plait.approve("text")  # type: ignore[arg-type]

    def test_the_default_decides_after_its_time(self) -> None:
        with VirtualClock():
            approved = plait.run(plait.approve(draft.bind("x"), default="approve", timeout=60))
            rejected = plait.Graph("g")
            rejected.add("r", plait.approve(draft.bind("x"), default="reject", timeout="1h"))
            result = plait.run(rejected, raise_on_failure=False)
        assert approved == "draft of x (None)"
        assert (str(result.status), result.reason) == ("rejected", "r was rejected")


def left_with_a_question(folder: Path, asked: Asked) -> None:
    """A stored run whose process leaves it while its approval is open."""
    import asyncio

    async def main() -> None:
        task = asyncio.ensure_future(plait.arun(graph(), store=folder, run_id="run", on_question=asked))
        await asyncio.to_thread(asked.next)
        task.cancel()
        await asyncio.wait((task,))

    asyncio.run(main())


def test_rounds_go_on_in_other_processes(tmp_path: Path) -> None:
    """A18 F75: an answer is given while nobody drives the run, each round in a process of its own; what is done is not done again."""
    asked = Asked()
    left_with_a_question(tmp_path, asked)
    with plait.open_run("run", tmp_path) as outside:
        assert not outside.answer("review", revise("shorter"), by="anna")
    run = plait.resume("run", store=tmp_path, on_question=asked)
    assert asked.next().task == "review/review"
    assert DONE == ["facts", "draft None", "polish", "draft shorter", "polish"]
    with plait.open_run("run", tmp_path) as outside:
        assert outside.answer("review", APPROVE, by="bob")
    assert run.wait(PATIENCE_S).status == "succeeded"
    assert DONE[5:] == ["publish"]
    assert plait.show_run("run", tmp_path)["review"].status == "succeeded"


FILE = """
name: report
tasks:
  facts: {run: echo facts}
  draft: {run: "echo draft of {{ tasks.facts.output }}, {{ feedback }}"}
  figures: {run: echo figures}
  both: {run: "echo {{ tasks.draft.output }} and {{ tasks.figures.output }}"}
  review:
    ask: "Good? {{ tasks.both.output }}"
    approve: APPROVED
    rounds: 2
outputs: {end: "{{ tasks.review.output }}"}
"""


@pytest.mark.parametrize(("approved", "end"), [("both", None), ("[both, figures]", "figures")])
def test_in_a_file(approved: str, end: str | None, tmp_path: Path) -> None:
    """A18: `feedback` is what tasks look up that are to run again; a list of tasks gives their outputs by key."""
    path = tmp_path / "report.yaml"
    path.write_text(FILE.replace("APPROVED", approved))
    asked = Asked()
    run = plait.start(plait.load(path), on_question=asked)
    answering(asked, run, revise("shorter"), APPROVE)
    result = run.wait(PATIENCE_S)
    both = "draft of facts, shorter and figures"
    assert result.value == {"end": both if end is None else {"both": both, "figures": end}}
    assert [key for key in result if "/" in key] == ["review/draft", "review/both", "review/review"]


class TestHooks:
    """Whoever is told when a question opens."""

    def test_a_function_is_told_and_what_it_raises_changes_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        """E7: mail and chat must not stop a run."""
        told: list[plait.OpenQuestion] = []

        def hook(question: plait.OpenQuestion) -> None:
            told.append(question)
            raise RuntimeError("no mail today")

        run = plait.start(plait.ask_for("Well?", form=bool, default=True, timeout=0.05, who="anna"), on_question=hook)
        assert run.wait(PATIENCE_S).value is True
        assert plait.flush_readers()
        (question,) = told
        assert (question.run, question.key, question.prompt) == (run.id, "ask", "Well?")
        assert (question.fits, question.default, question.who) == ("true or false", True, ("anna",))
        assert question.until is not None
        assert question.until > question.asked_at
        assert "raised" in caplog.text

    def test_one_that_blocks_holds_nothing_up(self) -> None:
        """E7."""
        release = threading.Event()
        run = plait.start(
            plait.ask_for("Well?", form=bool, default=True, timeout=0.01),
            on_question=lambda _: release.wait(PATIENCE_S),
        )
        assert run.wait(PATIENCE_S).value is True
        assert not release.is_set()
        release.set()
        assert plait.flush_readers()

    @pytest.mark.parametrize("as_words", [False, True], ids=["script", "words"])
    def test_a_command_gets_each_question_as_a_line(self, as_words: bool, tmp_path: Path) -> None:
        """E7: on its standard input, with the run, the task and the key in its environment."""
        told = tmp_path / "told"
        script = f"cat >> {told}; echo $PLAIT_RUN $PLAIT_TASK $PLAIT_QUESTION >> {told}"
        command: Any = ["/bin/sh", "-c", script] if as_words else script
        run = plait.start(plait.ask_for("Well?", form=bool, default=True, timeout=0.05), on_question=command)
        assert run.wait(PATIENCE_S).value is True
        assert plait.flush_readers(PATIENCE_S)
        line, words = told.read_text().splitlines()
        assert words == f"{run.id} ask ask"
        found = json.loads(line)
        assert found["key"] == "ask"
        assert found["form"] == {"type": "boolean"}
        assert found["default"] is True

    @pytest.mark.parametrize("command", ["exit 3", ["/no/such/program"]])
    def test_a_command_that_fails_is_logged(self, command: Any, caplog: pytest.LogCaptureFixture) -> None:
        run = plait.start(plait.ask_for("Well?", form=bool, default=True, timeout=0.05), on_question=command)
        assert run.wait(PATIENCE_S).value is True
        assert plait.flush_readers(PATIENCE_S)
        assert "ask" in caplog.text
        assert "question" in caplog.text

    @pytest.mark.parametrize("hook", [7, "", [], [1], "async"])
    def test_what_cannot_be_told_is_refused(self, hook: Any) -> None:
        async def later(question: Any) -> None: ...

        given: Callable[[Any], Any] | Any = later if hook == "async" else hook
        with pytest.raises(plait.UsageError, match="on_question must be a plain function, or a command"):
            plait.start(plait.ask_for("Well?"), on_question=given)


def test_rounds_of_a_file_are_bounded(tmp_path: Path) -> None:
    """A18."""
    path = tmp_path / "report.yaml"
    path.write_text(FILE.replace("APPROVED", "both").replace("rounds: 2", "rounds: 1"))
    asked = Asked()
    run = plait.start(plait.load(path), on_question=asked)
    answering(asked, run, revise("shorter"))
    assert asked.next().fits == "approve, or reject [REASON]"
    run.answer("review", {"action": "reject"})
    assert str(run.wait(PATIENCE_S).status) == "rejected"


def test_work_that_is_skipped_in_a_later_round_is_not_approved(tmp_path: Path) -> None:
    """A18: nobody has seen it."""
    path = tmp_path / "report.yaml"
    text = FILE.replace("APPROVED", "both").replace(
        "  both: {",
        '  wanted: {run: "test -z {{ feedback }} && echo true || echo false", output: json}\n'
        '  both: {when: "{{ tasks.wanted.output }}", ',
    )
    path.write_text(text)
    asked = Asked()
    run = plait.start(plait.load(path), on_question=asked)
    answering(asked, run, revise("shorter"))
    result = run.wait(PATIENCE_S)
    assert str(result.status) == "failed"
    assert "nobody approved it" in result.reason
    assert result.value == {"end": None}
