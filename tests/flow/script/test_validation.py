"""Validation (section 10): every code with its line and column, all problems at once, with hints; nothing is run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plait.errors import FlowError, UsageError
from plait.flow import load
from script_flows import Stage, file_of, found, ran, text_of, told, wrong

STEP = '<transform id="a" type="step"/>'
HEAD = "---\nname: n\nversion: 1.0.0\n---\n"


def placed(text: str) -> list[tuple[str, int, int]]:
    """Code, line and column of each problem of a file."""
    return [(each.code, each.line, each.column) for each in found(text)]


class TestCodes:
    @pytest.mark.parametrize(
        ("text", "code", "line", "column"),
        [
            ("---\nname: n\nversion: [1.0\n---\n<workflow/>", "PARSE_YAML_INVALID", 4, 1),
            (
                "---\nname: n\nversion: 1.0\nname: m\n---\n<workflow><delay duration='1s'/></workflow>",
                "PARSE_YAML_INVALID",
                4,
                1,
            ),
            ("<workflow/>", "PARSE_MISSING_FRONTMATTER", 1, 1),
            ("---\nname: n\n---\n", "PARSE_MISSING_BODY", 4, 1),
            (f"{HEAD}<workflow><set></workflow>", "PARSE_XML_INVALID", 5, 16),
            (f"{HEAD}<workflow>&nbsp;</workflow>", "PARSE_XML_INVALID", 5, 11),
            (f"{HEAD}<workflow>\n  {STEP[:-2]} type='x'/>\n</workflow>", "PARSE_XML_INVALID", 6, 33),
            (f"{HEAD}<workflow>\n  <set/>\n</workflow>", "VALID_MISSING_REQUIRED_FIELD", 6, 3),
            (f"---\nversion: 1.0.0\n---\n<workflow>{STEP}</workflow>", "VALID_MISSING_REQUIRED_FIELD", 1, 1),
            (f"---\nname: n\nversion: one\n---\n<workflow>{STEP}</workflow>", "VALID_INVALID_FIELD_TYPE", 3, 10),
            (f'{HEAD}<workflow>\n<loop id="l" max="x">{STEP}</loop></workflow>', "VALID_INVALID_FIELD_TYPE", 6, 19),
            (f"{HEAD}<workflow>\n  <node/>\n</workflow>", "VALID_UNKNOWN_NODE_TYPE", 6, 3),
            (f'{HEAD}<workflow>\n  <source id="s" type="ftp"/></workflow>', "VALID_UNKNOWN_NODE_TYPE", 6, 24),
            (
                f'{HEAD}<workflow>\n  <transform id="a" type="step" input="zz"/></workflow>',
                "VALID_UNDEFINED_NODE_REF",
                6,
                40,
            ),
            (
                f'{HEAD}<workflow>\n  <set var="x" value="{{{{$secrets.KEY}}}}"/></workflow>',
                "VALID_UNDEFINED_SECRET_REF",
                6,
                25,
            ),
            (f"{HEAD}<workflow>\n{STEP}\n {STEP}</workflow>", "VALID_DUPLICATE_NODE_ID", 7, 17),
            (
                f'{HEAD}<workflow>\n <transform id="a" type="step" value="{{{{a}}}}"/></workflow>',
                "VALID_CIRCULAR_DEPENDENCY",
                6,
                41,
            ),
            (
                f"---\nname: n\nversion: 1.0.0\nschemas:\n  row: nonsense[\n---\n<workflow>{STEP}</workflow>",
                "VALID_INVALID_SCHEMA",
                5,
                8,
            ),
            (
                f"---\nname: n\nversion: 1.0.0\nconfig:\n  n: {{type: number, default: x}}\n---\n<workflow>{STEP}</workflow>",
                "VALID_TYPE_MISMATCH",
                5,
                30,
            ),
            (f'{HEAD}<workflow>\n<set var="x" value="a {{{{1 +}}}}"/></workflow>', "EXPR_PARSE_ERROR", 6, 28),
            (f'{HEAD}<workflow>\n<set var="x" value="a {{{{nope}}}}"/></workflow>', "EXPR_UNDEFINED_VARIABLE", 6, 25),
            (
                f'{HEAD}<workflow>\n<set var="x" value="a {{{{nope(1)}}}}"/></workflow>',
                "EXPR_UNDEFINED_FUNCTION",
                6,
                25,
            ),
            (
                f'{HEAD}<workflow>\n<set var="x" value="a {{{{$input.__proto__}}}}"/></workflow>',
                "EXPR_BLOCKED_ACCESS",
                6,
                32,
            ),
            (f'{HEAD}<workflow>\n<set var="x" value="a {{{{upper()}}}}"/></workflow>', "EXPR_TYPE_ERROR", 6, 25),
        ],
    )
    def test_each_has_its_line_and_column(self, text: str, code: str, line: int, column: int) -> None:
        """D10: from the top of the file."""
        assert placed(text) == [(code, line, column)]

    def test_an_error_of_an_expression_at_run_time_has_a_code(self) -> None:
        """D10 D9: EXPR_EVAL_ERROR, EXPR_TYPE_ERROR."""
        over = ran('<set var="x" value="{{upper([1])}}"/>')
        assert over.result["x"].error.code == "EXPR_TYPE_ERROR"  # type: ignore[union-attr]
        over = ran('<set var="x" value="{{repeat(\'ab\', 1000000000)}}"/>')
        assert over.result["x"].error.code in ("EXPR_EVAL_ERROR", "EXPR_TYPE_ERROR")  # type: ignore[union-attr]


WHOLE = """\
---
name: many
version: 1.0.0
secrets: [KEY, KEY]
config:
  n: {type: numbr}
surprise: 1
---
<workflow>
  <source id="get" type="http">
    <request>
      url: https://weather.example/{{cites}}
      headers:
        Authorization: Bearer {{$secrets.KEYS}}
    </request>
  </source>
  <phase id="p">
    <if id="deep" condition="
        length(rows) > 0">
      <then>
        <transform id="get" type="mapp"/>
        <loop id="l" max="0">
          <transform id="t" type="map"><expression>
            item +
          </expression></transform>
        </loop>
      </then>
    </if>
  </phase>
</workflow>
anything <may stand here
"""


class TestTogether:
    def test_all_problems_are_told_at_once_each_at_its_place(self) -> None:
        """D10: in front matter, attributes, text, YAML, nested elements; lines count from the top of the file."""
        assert placed(WHOLE) == [
            ("VALID_INVALID_FIELD_TYPE", 4, 16),
            ("VALID_INVALID_FIELD_TYPE", 6, 13),
            ("EXPR_UNDEFINED_VARIABLE", 12, 38),
            ("VALID_UNDEFINED_SECRET_REF", 14, 33),
            ("EXPR_UNDEFINED_VARIABLE", 19, 16),
            ("VALID_DUPLICATE_NODE_ID", 21, 24),
            ("VALID_UNKNOWN_NODE_TYPE", 21, 35),
            ("VALID_INVALID_FIELD_TYPE", 22, 27),
            ("EXPR_PARSE_ERROR", 24, 19),
        ]

    def test_with_windows_line_ends_the_places_are_the_same(self) -> None:
        """D10: and with a BOM."""
        text = "\ufeff" + WHOLE.replace("\n", "\r\n")
        Path("crlf.flow.md").write_bytes(text.encode())
        with pytest.raises(FlowError) as caught:
            load("crlf.flow.md")
        assert [(each.code, each.line, each.column) for each in caught.value.problems] == placed(WHOLE)

    def test_each_is_one_line_and_below_it_the_line_of_the_file_and_a_hint(self) -> None:
        """D10: FILE:LINE:COL: error[CODE]: message."""
        path = file_of('<transform id="cities" type="step"/>\n<set var="x" value="{{citys}}"/>')
        with pytest.raises(FlowError) as caught:
            load(path)
        assert caught.value.problems[0].lines() == [
            "test.flow.md:7:23: error[EXPR_UNDEFINED_VARIABLE]: 'citys' is not known here. Did you mean 'cities'?",
            '    7 | <set var="x" value="{{citys}}"/>',
            "      |                       ^",
            "      hint: text is quoted, as in 'citys'; workflow input is $input.citys, configuration $config.citys",
        ]

    def test_nothing_is_run_or_opened(self, stage: Stage) -> None:
        """D10."""
        load(file_of(STEP + '<source id="s" type="file"><path>nowhere.json</path></source>'))
        assert stage.began == []


class TestFrontMatter:
    def test_what_a_file_must_say(self) -> None:
        """D10: name and version."""
        assert [each[0] for each in placed(f"---\ndescription: x\n---\n<workflow>{STEP}</workflow>")] == [
            "VALID_MISSING_REQUIRED_FIELD"
        ] * 2

    @pytest.mark.parametrize("version", ["1.0", "1.0.0", 1.5, "10.20.30"])
    def test_versions(self, version: Any) -> None:
        """D10: X.Y[.Z], also as a number of YAML."""
        assert load(file_of(STEP, version=version)).file.front.version == str(version)

    def test_other_keys_are_warned_of_and_triggers_kept(self) -> None:
        """D10."""
        flow = load(file_of(STEP, trigger={"manual": True}, descripton="x", runtime={"retires": 3}))
        assert [each.code for each in flow.file.warnings] == ["unknown-key"] * 2
        assert "Did you mean 'description'?" in str(flow.file.warnings[0])

    @pytest.mark.parametrize(
        ("type", "default", "fits"),
        [
            ("string", "x", True), ("string", 5, False), ("number", 5.5, True), ("number", True, False),
            ("boolean", False, True), ("boolean", 0, False), ("object", {"a": 1}, True), ("object", [], False), ("array", [1], True),
            ("array", {}, False), ("enum[a, b]", "a", True), ("enum[a, b]", "c", False),
        ],
    )  # fmt: skip
    def test_defaults_are_of_their_type_and_so_are_overrides(self, type: str, default: Any, fits: bool) -> None:
        """D10: of the command line text is JSON where that fits."""
        config = {"n": {"type": type, "default": default}}
        body = '<set id="z" var="x" value="{{$config.n}}"/>'
        if fits:
            assert ran(body, config={}, declared=config)["z"] == default
            assert ran(body, config={"n": default}, declared={"n": {"type": type}})["z"] == default
            if not isinstance(default, str):
                assert ran(body, config={"n": json.dumps(default)}, declared={"n": {"type": type}})["z"] == default
            return
        assert told(body, config=config)[0][0] == "VALID_TYPE_MISMATCH"
        if isinstance(default, str) or type != "string":
            with pytest.raises(UsageError, match="config 'n' must be"):
                ran(body, config={"n": default}, declared={"n": {"type": type}})

    def test_a_bare_value_is_its_default(self) -> None:
        """D10."""
        assert ran('<set id="z" var="x" value="{{$config}}"/>', declared={"n": 5, "o": {"a": 1}, "s": None})["z"] == {
            "n": 5,
            "o": {"a": 1},
            "s": None,
        }

    def test_what_is_required_and_what_is_unknown(self, stage: Stage) -> None:
        """D10: before anything begins."""
        body = STEP
        with pytest.raises(UsageError, match=r"needs the config 'n' \(number\): give it as --config n="):
            ran(body, declared={"n": {"type": "number", "required": True}})
        with pytest.raises(UsageError, match=r"has no config 'limt'\. Did you mean 'limit'"):
            ran(body, config={"limt": 1}, declared={"limit": 5})
        assert stage.began == []

    def test_input_is_checked(self, stage: Stage) -> None:
        """D10: by its schema."""
        fields = {"rows": "number[]", "name": "string?", "n": {"type": "integer", "default": 3}}
        body = '<set id="z" var="x" value="{{[$input.rows, $input.name, $input.n]}}"/>'
        assert ran(body, input={"rows": [1]}, fields=fields)["z"] == [[1], None, 3]
        for given, message in (
            ({}, r"needs the input 'rows' \(number\[\]\): give it as -i rows="),
            ({"rows": ["x"]}, "input 'rows' must be number"),
            ({"rows": [], "nme": "x"}, "has no input 'nme'. Did you mean 'name'"),
        ):
            with pytest.raises(UsageError, match=message):
                ran(body, input=given, fields=fields)

    def test_secrets_without_a_value_stop_the_run_before_it_begins(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """D10 D11: all of them are named."""
        monkeypatch.delenv("KEY_ONE", raising=False)
        with pytest.raises(UsageError, match="needs the secrets KEY_ONE, KEY_TWO: set these variables"):
            ran(STEP, secrets=["KEY_ONE", "KEY_TWO"])
        assert stage.began == []

    @pytest.mark.parametrize(
        ("front", "at"),
        [
            ({"runtime": {"timeout": "soon"}}, '"soon"'),
            ({"runtime": {"concurrency": 0}}, "0"),
            ({"runtime": {"retry": -1}}, "-1"),
            ({"runtime": 5}, "5"),
            ({"secrets": [5]}, "5"),
            ({"secrets": ["not a name"]}, '"not'),
            ({"config": []}, "[]"),
            ({"config": {"n": {"type": "number", "defalt": 1}}}, '"defalt"'),
            ({"config": {"n": {"type": "number", "required": "yes"}}}, '"yes"'),
            ({"trigger": []}, "[]"),
            ({"name": 5}, "5"),
        ],
    )
    def test_what_cannot_be(self, front: dict[str, Any], at: str) -> None:
        """D10: each at its place."""
        code, where, _ = wrong(STEP, **front)
        assert (code, where[: len(at)]) == ("VALID_INVALID_FIELD_TYPE", at)


class TestElements:
    @pytest.mark.parametrize(
        ("body", "code", "at"),
        [
            ("<workflow><set/></workflow>", "PARSE_XML_INVALID", "<workflow>"),
            ("text", "VALID_INVALID_FIELD_TYPE", "text"),
            ("", "VALID_INVALID_FIELD_TYPE", "<workflow>"),
            ('<source id="s"/>', "VALID_MISSING_REQUIRED_FIELD", "<source"),
            ('<source id="s" type="file"/>', "VALID_MISSING_REQUIRED_FIELD", "<source"),
            ('<source id="s" type="file"><pth>x</pth><path>x</path></source>', "VALID_INVALID_FIELD_TYPE", "<pth>"),
            ('<source id="s" type="file" path="x"><path>y</path></source>', "VALID_INVALID_FIELD_TYPE", "<path>y"),
            ('<transform id="m" type="map">x</transform>', "VALID_INVALID_FIELD_TYPE", "x</tr"),
            ('<transform type="step"/>', "VALID_MISSING_REQUIRED_FIELD", "<transform"),
            ('<transform id="a b" type="step"/>', "VALID_INVALID_FIELD_TYPE", 'a b"'),
            ('<transform id="" type="step"/>', "VALID_MISSING_REQUIRED_FIELD", "id="),
            ('<transform:shout id="a"/>', "VALID_UNKNOWN_NODE_TYPE", "<transform:shout"),
            ("<then/>", "VALID_UNKNOWN_NODE_TYPE", "<then/>"),
            ("<on-error/>", "VALID_UNKNOWN_NODE_TYPE", "<on-error/>"),
            ('<loop id="l" max="1"><on-error/></loop>', "VALID_MISSING_REQUIRED_FIELD", "<loop"),
            ('<parallel id="p"><branch><on-error/></branch></parallel>', "VALID_UNKNOWN_NODE_TYPE", "<on-error/>"),
            ('<if id="i" condition="1"><then><on-error/></then></if>', "VALID_UNKNOWN_NODE_TYPE", "<on-error/>"),
            ('<while id="i" condition="1"><do><on-error/></do></while>', "VALID_UNKNOWN_NODE_TYPE", "<on-error/>"),
        ],
    )
    def test_what_they_hold(self, body: str, code: str, at: str) -> None:
        """D10: nothing is dropped."""
        problems = told(body)
        assert (code, at) in [(found, where[: len(at)]) for found, where, _ in problems], problems

    def test_unknown_tags_and_types_have_guesses(self) -> None:
        """D10: did you mean."""
        for body, guess in (
            ("<paralel/>", "parallel"),
            ("<transfrom/>", "transform"),
            ('<source id="a" type="fil" path="x"/>', "file"),
            ('<transform id="a" type="fliter" condition="true"/>', "filter"),
            ('<source id="s" type="file"><pth>x</pth><path>x</path></source>', "path"),
            ('<transform id="a" type="step" valu="1"/>', "value"),
            ('<set var="x" value="{{uper(1)}}"/>', "upper"),
        ):
            assert f"Did you mean {guess!r}?" in wrong(body)[2], body

    def test_a_file_with_very_many_problems_tells_a_thousand_and_counts_the_rest(self) -> None:
        """D10."""
        problems = told("<nothing/>\n" * 1500)
        assert len(problems) == 1001
        assert "and 500 more problems" in problems[-1][2]

    def test_blocks_are_a_hundred_deep_at_most(self) -> None:
        """D7 D10."""

        def nested(depth: int) -> str:
            inner = '<set id="z" var="x" value="1"/>'
            for n in range(depth):
                inner = f'<if id="i{n}" condition="true"><then>{inner}</then></if>'
            return inner

        assert ran(nested(99))["i98"] == 1
        assert any("nested deeper than 100 levels" in message for _, _, message in told(nested(101)))


@pytest.mark.realtime
class TestCommandLine:
    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "plait", *arguments], capture_output=True, text=True, timeout=60, env=os.environ
        )

    def test_validate_tells_all_files_and_exits_with_an_error(self) -> None:
        """D10."""
        Path("good.flow.md").write_text(text_of('<set var="x" value="1"/>'))
        Path("bad.flow.md").write_text(WHOLE)
        done = self.run("validate", "good.flow.md")
        assert done.returncode == 0, done.stderr
        done = self.run("validate", "good.flow.md", "bad.flow.md")
        assert done.returncode != 0
        assert "bad.flow.md:12:38: error[EXPR_UNDEFINED_VARIABLE]" in done.stdout + done.stderr
        done = self.run("validate", "--json", "bad.flow.md")
        assert '"VALID_UNDEFINED_SECRET_REF"' in done.stdout

    def test_strict_takes_warnings_for_errors(self) -> None:
        """D10."""
        Path("warned.flow.md").write_text(text_of('<delay duration="5"/><set var="x" value="1"/>'))
        assert self.run("validate", "warned.flow.md").returncode == 0
        assert self.run("validate", "--strict", "warned.flow.md").returncode != 0


def test_a_variable_that_holds_a_secret_is_warned_of() -> None:
    """D10 D11: it would be [REDACTED] wherever it is read."""
    text = '---\nname: n\nversion: 1.0\nsecrets: [KEY]\n---\n<workflow>\n  <set var="auth" value="Bearer {{$secrets.KEY}}"/>\n</workflow>\n'
    path = Path("kept.flow.md")
    path.write_text(text)
    (warning,) = load(path).warnings
    assert str(warning).startswith("kept.flow.md:7:35: warning[secret-kept]: what 'auth' sets holds a secret")
