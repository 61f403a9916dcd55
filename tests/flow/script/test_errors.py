"""What is done about errors (section 5): fail-fast, `required`, retry, fallback, continue; of leaf nodes and of whole blocks."""

from __future__ import annotations

import pytest

from answering_server import Server, answer
from plait.errors import HttpError, RetryAfter
from plait.flow import load
from script_flows import Broken, Busy, Play, Stage, file_of, gives, ran, told, wrong


def step(inner: str = "", attributes: str = "", id: str = "a") -> str:
    return f'<transform id="{id}" type="step" {attributes}>{inner and f"<on-error>{inner}</on-error>"}</transform>'


class TestFailFast:
    def test_the_first_failure_ends_the_run(self, stage: Stage) -> None:
        """D6: nothing new starts, running work is cancelled, what depends on it is skipped."""
        body = """
        <transform id="a" type="work"/>
        <transform id="b" type="work"/>
        <transform id="c" type="work" value="{{a}}"/>
        <phase id="p"><transform id="d" type="work" value="{{b}}"/></phase>
        """
        with Play(body) as play:
            play.fail("a")
            over = play.over()
        assert (over.status, stage.cancelled) == ("failed", ["b"])
        assert stage.began == ["a", "b"]
        assert "task 'a' failed: Broken: a broke" in over.result.reason
        assert {over.state(key) for key in ("c", "p")} <= {"not_started", "upstream_failed"}

    def test_of_several_failures_every_one_is_told(self, stage: Stage) -> None:
        """D6."""
        body = '<parallel id="p" wait="n(2)"><branch>{}</branch><branch>{}</branch></parallel>'
        stage.script = {"a": [Broken("first")], "b": [Broken("second")]}
        errors = ran(body.format(step(attributes='after="1"'), step(attributes='after="2"', id="b"))).errors
        assert errors["p[0]/a"] == "first"

    def test_what_is_not_required_gives_null_to_those_that_name_it(self, stage: Stage) -> None:
        """D6: its failure is recorded, and they go on."""
        stage.script["a"] = [Broken("boom")]
        body = step(attributes='required="false"')
        names = "[a, a.output, a.status, a.error.name, a.error.message, a.attempts]"
        assert gives(names, body) == [None, None, "failed", "Broken", "boom", 1]
        assert ran(body).status == "succeeded"

    def test_a_block_that_is_not_required(self, stage: Stage) -> None:
        """D6: likewise; nothing of it is left behind."""
        for block in ('<phase id="p" {}>{}</phase>', '<foreach id="p" collection="[1]" {}>{}</foreach>',
                      '<loop id="p" max="1" {}>{}</loop>', '<parallel id="p" {}><branch>{}</branch></parallel>',
                      '<if id="p" condition="true" {}><then>{}</then></if>', '<timeout id="p" duration="1h" {}>{}</timeout>'):  # fmt: skip
            stage.script["a"] = [Broken("boom")]
            body = '<set var="x" value="1"/>' + block.format(
                'required="false"', '<set id="s" var="x" value="2"/>' + step()
            )
            assert gives("[p, p.status, p.error.message, x]", body) == [None, "failed", "boom", 1], block

    def test_continue_is_the_same(self, stage: Stage) -> None:
        """D8."""
        stage.script["a"] = [Broken("boom")]
        assert gives("[a, a.status]", step("<continue/>")) == [None, "failed"]

    def test_required_is_true_or_false(self) -> None:
        """D10."""
        assert wrong(step(attributes='required="maybe"'))[1].startswith("maybe")


class TestRecords:
    def test_what_is_known_of_a_node_that_did_its_work(self, stage: Stage) -> None:
        """D8: the duration in milliseconds."""
        body = step(attributes='after="2.5" value="{{ {status: 9, x: [7]} }}"')
        names = "[a.output.x, a.status, a.error, a.duration, a.attempts, a.x[0], a['x'], a.output.status]"
        assert gives(names, body) == [[7], "success", None, pytest.approx(2500, abs=2), 1, 7, [7], 9]

    def test_attempts_are_counted(self, stage: Stage) -> None:
        """D8."""
        stage.script["a"] = [Busy("1"), Busy("2")]
        assert gives("[a.attempts, a.status]", step('<retry max="3"/>')) == [3, "success"]

    def test_attempts_of_a_block_that_is_tried_again_are_counted(self, stage: Stage) -> None:
        """D8."""
        stage.script["a"] = [Busy("1"), Busy("2")]
        body = f'<phase id="p">{step()}<on-error><retry max="3"/></on-error></phase>'
        assert gives("[p.attempts, p.status]", body) == [3, "success"]

    def test_what_is_known_of_one_that_waits_runs_or_was_skipped(self, stage: Stage) -> None:
        """D8: pending, running, skipped."""
        body = """
        <parallel id="p" required="false"><branch><transform id="gone" type="work"/></branch><branch><transform id="bad" type="work"/></branch></parallel>
        <if id="i" condition="p == null"><then><transform id="a" type="step" value="{{[gone.status, bad.status, i.status]}}"/></then></if>
        <if id="no" condition="false"><then><transform id="never" type="step"/></then></if>
        <transform id="b" type="step" value="{{[no.status, never.status]}}"/>
        """
        body = body.replace("i.status", "'-'")
        with Play(body) as play:
            play.fail("bad")
            over = play.over()
        assert stage.given["a"] == [["skipped", "failed", "-"]]
        assert stage.given["b"][0][0] == "success"
        assert over.status == "succeeded"


class TestRetry:
    def test_it_is_tried_again_so_many_times(self, stage: Stage) -> None:
        """D8: `max` are the tries after the first; three where it does not say."""
        stage.script["a"] = [Busy("1"), Busy("2")]
        assert ran(step('<retry max="2"/>'))["a"] is None
        stage.script["a"] = [Busy("1"), Busy("2"), Busy("3")]
        assert ran(step('<retry max="2"/>')).errors["a"] == "3"
        stage.script["a"] = [Busy(str(n)) for n in range(9)]
        assert ran(step("<retry/>")).errors["a"] == "3"
        stage.script["a"] = [Busy("only")]
        assert ran(step()).errors["a"] == "only"
        stage.script["a"] = [Busy("only")]
        assert ran(step('<retry max="0"/>')).errors["a"] == "only"

    def test_max_and_base_may_be_templates(self, stage: Stage) -> None:
        """D8."""
        inner = '<retry max="{{$config.n}}" base="{{$config.base}}" jitter="false"/>'
        stage.script["a"] = [Busy("1"), Busy("2"), Busy("3")]
        over = ran(step(inner), config={"n": 2, "base": "10s"})
        assert over.errors["a"] == "3"
        assert over.seconds == pytest.approx(30, abs=0.1)

    @pytest.mark.parametrize(
        ("how", "seconds"), [("exponential", 2 + 4 + 8), ("linear", 2 + 4 + 6), ("fixed", 2 + 2 + 2)]
    )
    def test_the_pauses(self, stage: Stage, how: str, seconds: float) -> None:
        """D8: exact without jitter."""
        stage.script["a"] = [Busy(str(n)) for n in range(3)]
        over = ran(step(f'<retry max="3" base="2s" backoff="{how}" jitter="false"/>'))
        assert over.seconds == pytest.approx(seconds, abs=0.1)
        assert over.status == "succeeded"

    def test_no_pause_is_longer_than_32_seconds(self, stage: Stage) -> None:
        """D8."""
        stage.script["a"] = [Busy(str(n)) for n in range(7)]
        assert ran(step('<retry max="7" jitter="false"/>')).seconds == pytest.approx(
            1 + 2 + 4 + 8 + 16 + 32 + 32, abs=0.1
        )

    def test_with_jitter_it_is_at_random_up_to_that(self, stage: Stage) -> None:
        """D8: the usual."""
        found = set()
        for _ in range(8):
            stage.script["a"] = [Busy("1")]
            found.add(round(ran(step('<retry max="1" base="20s"/>')).seconds, 3))
        assert len(found) > 4
        assert max(found) <= 20

    def test_what_a_server_asks_for_goes_before(self, stage: Stage) -> None:
        """D8: Retry-After."""
        stage.script["a"] = [RetryAfter(90), Busy("1")]
        over = ran(step('<retry max="2" base="1s" jitter="false"/>'))
        assert over.status == "succeeded"
        assert 90 < over.seconds < 93

    def test_only_what_may_go_better_is_tried_again(self, stage: Stage) -> None:
        """D8: 429, 408, 5xx, connection errors and timeouts."""
        for error, wanted in [
            (ConnectionError("x"), True), (TimeoutError("x"), True), (Broken("x"), False), (ValueError("x"), False),
            *((HttpError(f"{status}", status=status, retryable=status in (408, 429) or status >= 500), status in (408, 429, 500, 503)) for status in (400, 404, 408, 429, 500, 503)),
        ]:  # fmt: skip
            stage.script["a"] = [error]
            assert (ran(step('<retry max="1"/>')).status == "succeeded") is wanted, error

    def test_a_timeout_is_tried_again_too(self, stage: Stage) -> None:
        """D8: each try has its own."""
        over = ran(step('<retry max="2" base="1s" jitter="false"/>', 'after="100" timeout="10"'))
        assert over.state("a") == "timed_out"
        assert len(stage.began) == 3
        assert over.seconds == pytest.approx(33, abs=0.1)
        assert stage.cancelled == ["a"] * 3

    @pytest.mark.parametrize(
        ("when", "tries"),
        [
            ("error.name == 'Broken'", 3),
            ("error.name == 'Busy'", 1),
            ("error.message == 'boom 1'", 2),
            ("status == 503", 1),
            ("retryable", 1),
            ("!retryable", 3),
            ("true", 3),
            ("false", 1),
            ("contains(error.message, $config.word)", 3),
        ],
    )
    def test_when_says_for_which_errors(self, stage: Stage, when: str, tries: int) -> None:
        """D8: it sees `error`, `status` and `retryable`, and what there is beside."""
        stage.script["a"] = [Broken("boom 1"), Broken("boom 2"), Broken("boom 3")]
        ran(step(f'<retry max="2" when="{when}"/>'), config={"word": "boom"})
        assert len(stage.began) == tries

    def test_the_status_of_a_server(self, stage: Stage) -> None:
        """D8."""
        stage.script["a"] = [HttpError("teapot", status=418)]
        assert ran(step('<retry max="1" when="status == 418 &amp;&amp; error.status == 418"/>')).status == "succeeded"

    @pytest.mark.parametrize(
        ("when", "tries"),
        [("error.name == 'TaskTimedOut'", 3), ("retryable", 3), ("status == 503", 1), ("error.message == 'x'", 1)],
    )
    def test_when_is_asked_of_timeouts_too(self, stage: Stage, when: str, tries: int) -> None:
        """D8."""
        ran(step(f'<retry max="2" base="1ms" when="{when}"/>', 'after="100" timeout="10"'))
        assert len(stage.began) == tries

    def test_each_try_begins_from_a_clean_state(self, stage: Stage) -> None:
        """D8 D3: what is worked out is worked out anew."""
        stage.script["a"] = [Busy("1"), Busy("2")]
        ran(step('<retry max="2"/>', 'value="{{uuid()}}"'))
        assert len(set(stage.given["a"])) == 3

    def test_the_usual_tries_of_the_run(self, stage: Stage) -> None:
        """D8: `runtime.retry`, where a node says nothing itself."""
        stage.script = {"a": [Busy("1"), Busy("2")], "b": [Busy("1"), Busy("2")]}
        over = ran(
            step(attributes='required="false"') + step('<retry max="1"/>', 'required="false"', "b"),
            runtime={"retry": 2},
        )
        assert (over.state("a"), over.state("b")) == ("succeeded", "failed")

    @pytest.mark.parametrize(
        ("node", "tries"),
        [
            ('<source id="a" type="http" url="http://x"/>', 4),
            ('<source id="a" type="http" url="http://x" method="HEAD"/>', 4),
            ('<source id="a" type="http" url="http://x" method="POST"/>', 1),
            ('<sink id="a" type="http" url="http://x"/>', 1),
            ('<source id="a" type="file" path="x"/>', 1),
            ('<ai id="a" provider="openai" model="m" prompt="p"/>', 4),
        ],
    )
    def test_reading_and_models_are_tried_three_times_more_by_themselves(self, node: str, tries: int) -> None:
        """D8: everything else is tried once."""
        assert load(file_of(node)).tasks["a"].policy.retry.attempts == tries

    @pytest.mark.realtime
    @pytest.mark.parametrize(("status", "tries"), [("503 Busy", 3), ("429 Slower", 3), ("404 Not Found", 1)])
    def test_what_a_server_says_is_tried_again_or_not(self, server: Server, status: str, tries: int) -> None:
        """D8."""
        server.answers["/"] = answer("no", status)
        retry = '<on-error><retry max="2" base="1ms"/></on-error>'
        over = ran(f'<source id="a" type="http" url="{server.url}">{retry}</source>', real=True)
        assert (len(server.asked), over.status) == (tries, "failed")

    def test_its_misuse(self) -> None:
        """D10."""
        for inner, at in (
            ('<retry max="-1"/>', "-1"),
            ('<retry max="many"/>', "many"),
            ('<retry base="soon"/>', "soon"),
            ('<retry backoff="quadratic"/>', "quadratic"),
            ('<retry jitter="yes"/>', "yes"),
            ('<retry when="nowhere"/>', "nowhere"),
            ('<retry tries="1"/>', "tries="),
            ("<retri/>", "<retri/>"),
            ('<retry/><retry max="1"/>', '<retry max="1"/>'),
        ):
            assert wrong(step(inner))[1].startswith(at), inner
        body = '<transform id="a" type="step"><on-error when="true"><retry/></on-error></transform>'
        assert wrong(body)[1].startswith("when=")


class TestRetryOfBlocks:
    @pytest.mark.parametrize(
        "block",
        [
            '<phase id="p">{}</phase>',
            '<if id="p" condition="true"><then>{}</then>{}</if>',
            '<branch id="p"><case when="true">{}</case>{}</branch>',
            '<parallel id="p"><branch>{}</branch>{}</parallel>',
            '<loop id="p" max="1">{}{}</loop>',
            '<foreach id="p" collection="[1]">{}{}</foreach>',
            '<timeout id="p" duration="1h">{}{}</timeout>',
        ],
    )
    def test_a_block_is_tried_again_as_a_whole(self, stage: Stage, block: str) -> None:
        """D8: from the beginning, with nothing of the try before."""
        stage.script["b"] = [Busy("1"), Busy("2")]
        retry = '<on-error><retry max="3" base="10s" jitter="false" backoff="fixed"/></on-error>'
        inner = step() + step(id="b", attributes='value="done"')
        body = block.format(inner, retry) if block.count("{}") == 2 else block.format(inner + retry)
        over = ran(body)
        assert over.status == "succeeded"
        assert stage.began == ["a", "b"] * 3
        assert over.seconds == pytest.approx(20, abs=0.1)
        stage.script["b"] = [Broken("no")]
        assert ran(body).status == "failed"
        assert len(stage.began) == 8

    def test_what_a_failed_try_set_is_gone(self, stage: Stage) -> None:
        """D3 D8."""
        body = f"""
        <set var="n" value="1"/>
        <phase id="p">
          <set id="s" var="n" value="{{{{n + 1}}}}"/>
          <if id="i" condition="s > 0"><then>{step()}</then></if>
          <on-error><retry max="3"/></on-error>
        </phase>
        """
        stage.script["a"] = [Busy("1"), Busy("2")]
        assert gives("n", body) == 2

    def test_when_sees_the_error_of_the_node_that_failed(self, stage: Stage) -> None:
        """D8."""
        body = '<phase id="p">{}<on-error><retry max="5" when="{}"/></on-error></phase>'
        for when, tries in (
            ("error.name == 'Broken'", 6),
            ("error.message == 'x'", 6),
            ("retryable", 1),
            ("status == 1", 1),
        ):
            stage.began.clear()
            stage.script["a"] = [Broken("x") for _ in range(9)]
            assert ran(body.format(step(), when)).status == "failed"
            assert len(stage.began) == tries, when

    def test_the_tries_of_a_node_in_it_are_its_own(self, stage: Stage) -> None:
        """D8."""
        stage.script["a"] = [Busy("1"), Busy("2"), Busy("3")]
        ran(
            f'<phase id="p">{step("<retry max=" + chr(34) + "1" + chr(34) + "/>")}<on-error><retry max="1"/></on-error></phase>'
        )
        assert len(stage.began) == 4

    def test_a_timeout_of_each_try(self, stage: Stage) -> None:
        """D8: a `timeout` that is tried again has its whole time again."""
        body = f"""
        <timeout id="t" duration="10s">{step(attributes='after="60"')}
          <on-error><retry max="2" base="1s" backoff="fixed" jitter="false"/></on-error>
        </timeout>
        """
        over = ran(body)
        assert (len(stage.began), over.status) == (3, "failed")
        assert over.seconds == pytest.approx(32, abs=0.1)


class TestEveryNode:
    def test_variables_and_delays_have_it_too(self) -> None:
        """D8: on-error is for any node that can fail."""
        bad = "{{upper(5)}}"
        body = f"""
        <set id="a" var="x" value="{bad}"><on-error><fallback node="o"/></on-error></set>
        <context id="b"><set key="y" value="{bad}"/><on-error><continue/></on-error></context>
        <delay id="c" duration="{bad}"><on-error><continue/></on-error></delay>
        <set id="o" var="z" value="instead"/>
        """
        assert gives("[a, x, b, c.status]", body) == ["instead", "instead", None, "failed"]

    def test_what_cannot_fail_has_none(self) -> None:
        """D10."""
        on_error = "<on-error><continue/></on-error>"
        for body in (
            f'<checkpoint id="c" prompt="?">{on_error}</checkpoint>',
            f'<loop id="l" max="1"><break>{on_error}</break></loop>',
        ):
            code, at, message = wrong(body)
            assert (code, at[:9]) == ("VALID_UNKNOWN_NODE_TYPE", "<on-error"), message


FALLBACK = """
{}
<transform id="other" type="step" value="{{{{ {{name: $primaryError.name, message: $primaryError.message, input: $primaryInput}} }}}}"/>
"""


class TestFallback:
    def test_its_output_becomes_that_of_the_node(self, stage: Stage) -> None:
        """D8: it sees the error and the input, and runs for nothing else."""
        body = '<set id="s" var="x" value="{{[1]}}"/>' + FALLBACK.format(step('<fallback node="other"/>', 'input="s"'))
        stage.script["a"] = [Broken("boom")]
        wanted = {"name": "Broken", "message": "boom", "input": [1]}
        assert gives("[a, a.status]", body) == [wanted, "success"]
        stage.began.clear()
        assert gives("a", body) == [1]
        assert stage.began == ["a"]

    def test_it_serves_once_the_tries_are_used_up(self, stage: Stage) -> None:
        """D8."""
        stage.script["a"] = [Busy("1"), Busy("2")]
        assert ran(FALLBACK.format(step('<retry max="1"/><fallback node="other"/>')))["a"]["message"] == "2"
        assert stage.began == ["a", "a", "other"]

    def test_of_several_the_first_serves_whose_when_holds(self, stage: Stage) -> None:
        """D8."""
        inner = """<fallback node="f1" when="error.name == 'Busy'"/><fallback node="f2" when="status == 404"/><fallback node="f3"/>"""
        body = step(inner) + "".join(step(id=f"f{n}", attributes=f'value="{n}"') for n in (1, 2, 3))
        for error, wanted in ((Busy("x"), "1"), (HttpError("x", status=404), "2"), (Broken("x"), "3")):
            stage.script["a"] = [error]
            assert ran(body)["a"] == wanted
        body = step('<fallback node="f1" when="retryable"/>') + step(id="f1")
        stage.script["a"] = [Broken("boom")]
        over = ran(body)
        assert over.status == "failed"
        assert "no fallback of 'a' serves for this failure" in str(over.errors)

    def test_one_that_others_need_runs_in_any_case(self, stage: Stage) -> None:
        """D8: section 4."""
        body = FALLBACK.format(step('<fallback node="other"/>')) + '<set var="x" value="{{other}}"/>'
        ran(body)
        assert sorted(stage.began) == ["a", "other"]

    def test_of_a_node_in_a_foreach_outside_of_it(self, stage: Stage) -> None:
        """D8: for each item that fails."""
        body = FALLBACK.format(
            '<foreach id="f" collection="[1, 2, 3]">'
            + step('<fallback node="other"/>', 'value="{{item}}"')
            + "</foreach>"
        )
        stage.script["a"] = [1, Broken("boom"), 3]
        assert ran(body)["f"] == [1, {"name": "Broken", "message": "boom", "input": None}, 3]
        assert stage.began == ["a", "a", "other", "a"]

    def test_of_a_whole_block(self, stage: Stage) -> None:
        """D8."""
        for block in ('<phase id="p">{}{}</phase>', '<foreach id="p" collection="[1]">{}{}</foreach>',
                      '<parallel id="p"><branch>{}</branch>{}</parallel>', '<loop id="p" max="2">{}{}</loop>'):  # fmt: skip
            body = FALLBACK.format(
                block.format(step(), '<on-error><retry max="1"/><fallback node="other"/></on-error>')
            )
            stage.script["a"] = [Busy("1"), Busy("boom")]
            assert gives("p.message", body) == "boom", block

    def test_a_fallback_has_fallbacks_and_may_fail(self, stage: Stage) -> None:
        """D8 D6: then both errors are told."""
        body = (
            step('<fallback node="b"/>') + step('<fallback node="c"/>', id="b") + step(id="c", attributes='value="c"')
        )
        stage.script = {"a": [Broken("a")], "b": [Broken("b")]}
        assert ran(body)["a"] == "c"
        stage.script = {"a": [Broken("first")], "b": [Broken("second")], "c": [Broken("third")]}
        over = ran(body)
        assert over.status == "failed"
        assert "third" in str(over.errors)

    def test_a_block_may_serve(self, stage: Stage) -> None:
        """D8."""
        body = (
            step('<fallback node="p"/>')
            + '<phase id="p"><set var="x" value="1"/><set id="y" var="z" value="{{$primaryError.message}}"/></phase>'
        )
        stage.script["a"] = [Broken("boom")]
        assert ran(body)["a"] == "boom"

    def test_what_the_failed_block_set_is_gone(self, stage: Stage) -> None:
        """D3 D8: nothing of it is left behind."""
        body = f"""
        <set var="x" value="1"/>
        <phase id="p"><set id="s" var="x" value="2"/>{step(attributes='value="{{s}}"')}<on-error><fallback node="o"/></on-error></phase>
        <set id="o" var="z" value="instead"/>
        """
        stage.script["a"] = [Broken("boom")]
        assert gives("[p, x]", body) == ["instead", 1]

    def test_what_a_fallback_names_is_waited_for(self, stage: Stage) -> None:
        """D8: section 4."""
        body = (
            '<transform id="w" type="work"/>' + step('<fallback node="o"/>') + step(id="o", attributes='value="{{w}}"')
        )
        stage.script["a"] = [Broken("boom")]
        with Play(body) as play:
            play.end("w", 5)
            assert play.over()["a"] == 5

    def test_it_serves_for_what_may_fail_too(self, stage: Stage) -> None:
        """D8: and where it fails, the node may have failed."""
        stage.script = {"a": [Broken("boom")], "o": [Broken("as well")]}
        body = step('<fallback node="o"/><continue/>') + step(id="o")
        assert gives("[a, a.status]", body) == [None, "failed"]

    def test_its_misuse(self) -> None:
        """D10: unknown, out of reach, itself, in a ring."""
        code, at, message = wrong(step('<fallback node="othr"/>') + step(id="other"))
        assert (code, at[:5]) == ("VALID_UNDEFINED_NODE_REF", 'othr"')
        assert "Did you mean 'other'?" in message
        assert wrong(step("<fallback/>"))[0] == "VALID_MISSING_REQUIRED_FIELD"
        assert wrong(step('<fallback node="a"/>'))[0] == "VALID_CIRCULAR_DEPENDENCY"
        code, _, message = wrong(step('<fallback node="b"/>') + step('<fallback node="a"/>', id="b"))
        assert code == "VALID_CIRCULAR_DEPENDENCY"
        assert "a -> b -> a" in message
        body = step('<fallback node="b"/>') + f'<if id="i" condition="true"><then>{step(id="b")}</then></if>'
        assert "must stand beside 'a', or beside a block that holds it" in wrong(body)[2]
        body = f'<phase id="p">{step("<fallback node=" + chr(34) + "p" + chr(34) + "/>")}</phase>'
        assert wrong(body)[0] == "VALID_CIRCULAR_DEPENDENCY"
        assert told(step('<fallback node="b" when="nowhere"/>') + step(id="b"))[0][0] == "EXPR_UNDEFINED_VARIABLE"
