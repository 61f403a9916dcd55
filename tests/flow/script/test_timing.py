"""`delay` and `timeout`, durations in all their forms, and the limits of a whole run; on virtual time."""

from __future__ import annotations

import pytest

from plait.flow import load
from script_flows import Play, Stage, file_of, gives, ran, wrong


def warnings(body: str) -> list[str]:
    return [str(each) for each in load(file_of(body)).file.warnings]


class TestDelay:
    @pytest.mark.parametrize(
        ("said", "seconds"),
        [
            ("500ms", 0.5),
            ("5s", 5),
            ("1m", 60),
            ("2h", 7200),
            ("1d", 86400),
            ("1h30m", 5400),
            ("PT5S", 5),
            ("P1DT2H", 93600),
            ("1500", 1.5),
            ("{{$config.pause}}", 90),
            ("{{$config.n}}", 0.25),
            ("{{$config.n * 4}}ms", 1),
            ("0s", 0),
        ],
    )
    def test_it_takes_so_long(self, said: str, seconds: float) -> None:
        """D8: a bare number is milliseconds; a template may give either."""
        body = f'<delay duration="{said}"/>'
        assert ran(body, config={"pause": "1m30s", "n": 250}).seconds == pytest.approx(seconds, abs=0.01)

    def test_a_bare_number_is_warned_of(self) -> None:
        """D10: with what to write instead."""
        found = warnings(
            '<delay duration="1500"/><delay duration="5s"/><timeout id="t" duration="7"><set var="x" value="1"/></timeout>'
        )
        assert len(found) == 2
        assert "test.flow.md:6:18: warning[unit]: duration of delay is 1500 milliseconds" in found[0]

    def test_later_siblings_wait_for_it_and_other_work_goes_on(self) -> None:
        """D8: it stands in nobody's slot."""
        body = """
        <phase id="p"><delay duration="1h"/><transform id="b" type="work"/></phase>
        <transform id="a" type="work"/>
        """
        with Play(body, runtime={"concurrency": 1}) as play:
            assert play.running == {"a"}
            play.end("a")
            play.wait(3590)
            assert play.running == set()
            play.wait(20)
            assert play.running == {"b"}

    def test_in_a_sequence_it_counts_as_executed_for_nothing(self) -> None:
        """D8: its sequence has the output of the node before."""
        body = '<phase id="p"><set var="x" value="5"/><delay duration="1s"/></phase>'
        assert gives("p", body) == 5

    @pytest.mark.parametrize("said", ["soon", "-5s", "5 parsecs", "", "1e5s"])
    def test_what_is_no_duration(self, said: str) -> None:
        """D10."""
        code, at, message = wrong(f'<delay duration="{said}"/>')
        assert (code, at) == ("VALID_INVALID_FIELD_TYPE", f'{said}"/>')
        assert "a duration is such as 500ms, 5s, 1m" in message

    def test_a_template_that_gives_none_fails_the_node(self) -> None:
        """D8 D6."""
        over = ran('<delay id="d" duration="{{$config.pause}}"/>', config={"pause": "soon"})
        assert "duration: a duration is such as" in over.errors["d"]

    def test_its_misuse(self) -> None:
        """D10."""
        assert "needs a duration" in wrong("<delay/>")[2]
        assert wrong('<delay seconds="5" duration="1s"/>')[1].startswith("seconds=")


class TestTimeout:
    def test_in_time_it_has_the_result_of_its_last_node(self) -> None:
        """D8: which run in order."""
        body = '<timeout id="t" duration="1m"><transform id="a" type="step" after="10" value="1"/><set var="x" value="{{a}}"/></timeout>'
        assert gives("t", body) == "1"

    def test_too_late_it_fails_and_what_runs_inside_is_cancelled(self, stage: Stage) -> None:
        """D8: for real."""
        over = ran(
            '<timeout id="t" duration="2h"><transform id="a" type="step" after="36000"/><set var="x" value="1"/></timeout>'
        )
        assert (over.status, over.state("t"), over.state("t/x")) == ("failed", "timed_out", "not_started")
        assert (stage.cancelled, over.seconds) == (["a"], pytest.approx(7200, abs=1))

    def test_on_timeout_another_node_serves(self, stage: Stage) -> None:
        """D8: which sees what it serves for, and runs for nothing else."""
        body = """
        <timeout id="t" duration="{}" on-timeout="slow"><transform id="a" type="step" after="60" value="in time"/></timeout>
        <transform id="slow" type="step" value="{{{{$primaryError.name}}}}"/>
        <transform id="z" type="step" value="{{{{t}}}}"/>
        """
        over = ran(body.format("5s"))
        assert (over["t"], over["z"], over.status) == ("TaskTimedOut", "TaskTimedOut", "succeeded")
        assert stage.began == ["a", "slow", "z"]
        assert stage.cancelled == ["a"]
        assert ran(body.format("2m"))["z"] == "in time"
        assert stage.began[3:] == ["a", "z"]

    def test_on_timeout_is_not_for_failures(self, stage: Stage) -> None:
        """D8 D6."""
        body = """
        <timeout id="t" duration="5s" on-timeout="slow"><transform id="a" type="step"/></timeout>
        <transform id="slow" type="step"/>
        """
        stage.script["a"] = [ValueError("boom")]
        over = ran(body)
        assert over.status == "failed"
        assert stage.began == ["a"]

    def test_its_duration_may_be_a_template(self, stage: Stage) -> None:
        """D8."""
        body = '<timeout id="t" duration="{{$config.most}}"><transform id="a" type="step" after="3600"/></timeout>'
        assert ran(body, config={"most": "5m"}).seconds == pytest.approx(300, abs=1)

    def test_a_template_may_name_a_node(self, stage: Stage) -> None:
        """D8: which it waits for."""
        body = """
        <timeout id="t" duration="{{most}}"><transform id="a" type="step" after="3600"/></timeout>
        <transform id="most" type="step" value="5m" after="1"/>
        """
        assert ran(body).seconds == pytest.approx(301, abs=1)
        body = '<set var="n" value="2"/><foreach id="f" collection="range(0, 4)" concurrency="{{n}}"><transform id="s" type="step" after="1"/></foreach>'
        assert ran(body).seconds == pytest.approx(2, abs=0.1)

    def test_one_in_another_ends_what_is_its_own(self, stage: Stage) -> None:
        """D7 D8."""
        body = """
        <timeout id="outer" duration="1h">
          <timeout id="inner" duration="1m" on-timeout="other"><transform id="a" type="step" after="600"/></timeout>
          <set var="x" value="{{inner}}"/>
        </timeout>
        <transform id="other" type="step" value="instead"/>
        """
        assert gives("outer", body) == "instead"

    def test_its_misuse(self) -> None:
        """D10."""
        inner = '<set var="x" value="1"/>'
        assert "needs a duration" in wrong(f'<timeout id="t">{inner}</timeout>')[2]
        assert "must be longer than nothing" in wrong(f'<timeout id="t" duration="0s">{inner}</timeout>')[2]
        assert wrong('<timeout id="t" duration="5s"/>')[0] == "VALID_MISSING_REQUIRED_FIELD"
        code, at, message = wrong(
            f'<timeout id="t" duration="5s" on-timeout="sloww">{inner}</timeout><set id="slow" var="y" value="1"/>'
        )
        assert (code, at[:6]) == ("VALID_UNDEFINED_NODE_REF", 'sloww"')
        assert "Did you mean 'slow'?" in message


class TestTheWholeRun:
    def test_its_timeout_ends_everything(self, stage: Stage) -> None:
        """D8: `runtime.timeout`."""
        over = ran('<transform id="a" type="step" after="7200"/>', runtime={"timeout": "1h"})
        assert (over.status, over.seconds) == ("failed", pytest.approx(3600, abs=1))
        assert stage.cancelled == ["a"]
