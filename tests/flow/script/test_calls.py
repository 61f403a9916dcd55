"""`include` and `call`: the nodes of another file; what they see, what they give."""

from __future__ import annotations

import pytest

from plait.errors import UsageError
from script_flows import Broken, Play, Stage, file_of, gives, ran, told, wrong


class TestInclude:
    def test_it_sees_config_and_what_is_bound(self) -> None:
        """D8: its result is that of its last node; its own configuration has its defaults."""
        file_of(
            '<set id="z" var="y" value="{{[$config.limit, $config.own, rows, n]}}"/>',
            "inner.flow.md",
            config={"limit": 1, "own": "mine"},
        )
        body = """
        <transform id="a" type="step" value="{{[1, 2]}}"/>
        <include id="i" workflow="inner.flow.md" n="{{$config.limit}}"><bind key="rows" value="{{a}}"/></include>
        """
        assert gives("i", body, config={"limit": 30}) == [30, "mine", [1, 2], 30]

    def test_bound_scalars_are_typed(self) -> None:
        """D8: as those of set; text and lists too."""
        file_of('<set id="z" var="y" value="{{[a, b, c]}}"/>', "inner.flow.md")
        body = '<include id="i" workflow="inner.flow.md" a="5" b="true"><bind key="c">text</bind></include>'
        assert gives("i", body) == [5, True, "text"]

    def test_it_sees_the_secrets_of_this_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """D8 D11: without declaring them."""
        monkeypatch.setenv("API_KEY", "abcdefgh")
        file_of('<transform id="t" type="step" value="{{len($secrets.API_KEY)}}"/>', "inner.flow.md")
        body = '<include id="i" workflow="inner.flow.md"/>'
        assert ran(body, secrets=["API_KEY"])["i"] == 8

    def test_its_nodes_wait_for_what_it_is_given_and_run_beside_others(self) -> None:
        """D8."""
        file_of('<transform id="x" type="work" value="{{n}}"/><transform id="y" type="work"/>', "inner.flow.md")
        body = '<transform id="a" type="work"/><transform id="b" type="work"/><include id="i" workflow="inner.flow.md" n="{{a}}"/>'
        with Play(body) as play:
            assert play.running == {"a", "b"}
            play.end("a", 5)
            assert play.running == {"b", "x", "y"}
            play.end("y", "last")
            play.end("x", "first")
            play.end("b")
            assert play.over()["i"] == "last"

    def test_nothing_that_it_sets_is_seen_outside(self) -> None:
        """D3 D8: its variables and nodes are its own."""
        file_of('<set var="x" value="inside"/>', "inner.flow.md")
        body = '<set var="x" value="1"/><include id="i" workflow="inner.flow.md"/>'
        assert gives("[x, i]", body) == [1, "inside"]
        body = '<if id="f" condition="true"><then><set var="x" value="1"/><include id="i" workflow="inner.flow.md"/></then></if>'
        assert gives("[x, i]", body) == [1, "inside"]

    def test_once_for_each_item(self, stage: Stage) -> None:
        """D8 D7."""
        file_of('<transform id="t" type="step" value="{{n * 10}}"/>', "inner.flow.md")
        body = '<foreach id="f" collection="[1, 2]"><include id="i" workflow="inner.flow.md" n="{{item}}"/></foreach>'
        assert ran(body)["f"] == [10, 20]

    def test_a_path_is_from_the_file_that_names_it(self, tmp_path) -> None:  # type: ignore[no-untyped-def]
        """D8."""
        (tmp_path / "sub").mkdir()
        file_of('<include id="i" workflow="deep.flow.md"/>', "sub/inner.flow.md")
        file_of('<set id="s" var="x" value="deep"/>', "sub/deep.flow.md")
        assert gives("i", '<include id="i" workflow="./sub/inner.flow.md"/>') == "deep"


class TestCall:
    def test_it_sees_its_arguments_and_nothing_else(self) -> None:
        """D8: as its input; its configuration has its defaults."""
        file_of('<set id="z" var="y" value="{{[$input, $config]}}"/>', "inner.flow.md", config={"own": "mine"})
        body = '<set var="hidden" value="1"/><call id="c" workflow="inner.flow.md" n="5"><arg name="rows" value="{{[1]}}"/></call>'
        assert gives("c", body, config={"limit": 1}) == [{"n": 5, "rows": [1]}, {"own": "mine"}]

    def test_arguments_are_checked(self) -> None:
        """D8 D10: what is missing before anything runs, what does not fit when it is called."""
        file_of('<set id="z" var="y" value="{{$input.n}}"/>', "inner.flow.md", input={"n": "number", "m": "string?"})
        assert gives("c", '<call id="c" workflow="inner.flow.md" n="5"/>') == 5
        code, at, message = wrong('<call id="c" workflow="inner.flow.md"/>')
        assert (code, at[:5]) == ("VALID_MISSING_REQUIRED_FIELD", "inner")
        assert "needs the argument 'n'" in message
        over = ran('<call id="c" workflow="inner.flow.md" n="{{[1]}}"/>')
        assert "input 'n' must be number" in over.errors["c"]

    def test_it_sees_the_secrets_that_it_declares(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """D8 D11: and none of this file."""
        monkeypatch.setenv("API_KEY", "abcdefgh")
        monkeypatch.setenv("OTHER", "abcdefghijkl")
        file_of(
            '<set id="t" var="y" value="{{[len($secrets.OTHER), size($secrets)]}}"/>',
            "inner.flow.md",
            secrets=["OTHER"],
        )
        assert ran('<call id="c" workflow="inner.flow.md"/>', secrets=["API_KEY"])["c"] == [12, 1]

    def test_a_secret_of_it_without_value_stops_the_run_before_it_begins(self, stage: Stage) -> None:
        """D8 D11: section 1."""
        file_of('<set id="t" var="y" value="1"/>', "inner.flow.md", secrets=["NOWHERE_TO_BE_FOUND"])
        body = '<transform id="a" type="step"/><delay duration="1s"/><call id="c" workflow="inner.flow.md"/>'
        with pytest.raises(UsageError, match="NOWHERE_TO_BE_FOUND"):
            ran(body)
        assert stage.began == []

    def test_its_failure_is_that_of_the_node(self, stage: Stage) -> None:
        """D6 D8: which may be tried again, or have a fallback."""
        file_of('<transform id="t" type="step"/>', "inner.flow.md")
        stage.script["t"] = [Broken("boom")]
        over = ran('<call id="c" workflow="inner.flow.md"/>')
        assert over.errors["c/t"] == "boom"
        stage.script["t"] = [ConnectionError("once"), 5]
        assert ran('<call id="c" workflow="inner.flow.md"><on-error><retry max="1"/></on-error></call>')["c"] == 5
        stage.script["t"] = [Broken("boom")]
        body = '<call id="c" workflow="inner.flow.md"><on-error><fallback node="o"/></on-error></call><transform id="o" type="step" value="instead"/>'
        assert ran(body)["c"] == "instead"

    def test_a_required_config_of_it_has_nowhere_to_come_from(self) -> None:
        """D8: it is said which."""
        file_of('<set id="t" var="y" value="1"/>', "inner.flow.md", config={"n": {"type": "number", "required": True}})
        assert "'n'" in str(told_or_run('<call id="c" workflow="inner.flow.md"/>'))


def told_or_run(body: str) -> object:
    try:
        return ran(body).errors
    except UsageError as error:
        return error


class TestMisuse:
    def test_files_that_are_not_there_or_are_no_workflows(self) -> None:
        """D10."""
        for tag in ("include", "call"):
            code, at, message = wrong(f'<{tag} id="i" workflow="nowhere.flow.md"/>')
            assert (code, at[:7]) == ("VALID_UNDEFINED_NODE_REF", "nowhere")
            assert "there is no file 'nowhere.flow.md'" in message
            assert wrong(f'<{tag} id="i"/>')[0] == "VALID_MISSING_REQUIRED_FIELD"
            assert "no template" in wrong(f'<{tag} id="i" workflow="{{{{$config.x}}}}.flow.md"/>', config={"x": "1"})[2]
        with open("flow.yaml", "w") as file:
            file.write("tasks: {}")
        assert "is no FlowScript file" in wrong('<call id="i" workflow="flow.yaml"/>')[2]

    def test_cycles_are_printed_as_a_path(self) -> None:
        """D10: of files."""
        file_of('<call id="c" workflow="test.flow.md"/>', "inner.flow.md")
        problems = told('<call id="c" workflow="inner.flow.md"/>')
        assert len(problems) == 1
        assert problems[0][0] == "VALID_CIRCULAR_DEPENDENCY"
        assert "cycle: test.flow.md -> inner.flow.md -> test.flow.md" in problems[0][2]
        assert "test.flow.md -> test.flow.md" in wrong('<include id="i" workflow="test.flow.md"/>')[2]

    def test_problems_of_the_other_file_are_told_with_its_name(self) -> None:
        """D10: and with those of this one."""
        file_of("<nothing/>", "inner.flow.md")
        with pytest.raises(Exception) as caught:
            ran('<call id="c" workflow="inner.flow.md"/><set var="x" value="{{nowhere}}"/>')
        text = str(caught.value)
        assert "inner.flow.md:6:1: error[VALID_UNKNOWN_NODE_TYPE]" in text
        assert "test.flow.md:6:62: error[EXPR_UNDEFINED_VARIABLE]" in text

    def test_what_it_holds(self) -> None:
        """D10."""
        file_of('<set var="x" value="1"/>', "inner.flow.md")
        assert wrong('<include id="i" workflow="inner.flow.md"><arg name="a" value="1"/></include>')[1].startswith(
            "<arg"
        )
        assert wrong('<include id="i" workflow="inner.flow.md"><bind key="a"/></include>')[1].startswith("<bind")
        assert (
            "given twice"
            in wrong('<include id="i" workflow="inner.flow.md" a="1"><bind key="a" value="1"/></include>')[2]
        )
        assert wrong('<include id="i" workflow="inner.flow.md" a="{{nowhere}}"/>')[0] == "EXPR_UNDEFINED_VARIABLE"
