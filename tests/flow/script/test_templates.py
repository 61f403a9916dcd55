"""`{{ }}` in texts and attributes (section 6)."""

from __future__ import annotations

import pytest

from script_flows import Stage, gives, ran, wrong

DATA = """
<transform id="a" type="step" value="{{ {n: 1.0, f: 1.5, t: true, z: null, s: 'text', l: [1, {k: 'v'}], big: 12345678901234567890} }}"/>
"""


def text(template: str, **given: object) -> object:
    """What a template comes to in a file."""
    body = f'{DATA}<transform id="z" type="step"><value>{template}</value></transform>'
    return ran(body, **given)["z"]  # type: ignore[arg-type]


class TestValues:
    @pytest.mark.parametrize(
        ("template", "value"),
        [
            ("{{a.n}}", 1.0),
            ("{{ a.t }}", True),
            ("{{a.z}}", None),
            ("{{a.l}}", [1, {"k": "v"}]),
            ("x{{a.n}}", "x1"),
            ("{{a.f}}x", "1.5x"),
            ("{{a.t}}, {{!a.t}}", "true, false"),
            ("[{{a.z}}]", "[]"),
            ("l={{a.l}}", 'l=[1,{"k":"v"}]'),
            ("{{a.s}}{{a.s}}", "texttext"),
            ("{{10 / 2}} {{2.50}}", "5 2.5"),
            ('{"a": {{a.n}}, "b": {{a.l}}}', '{"a": 1, "b": [1,{"k":"v"}]}'),
            ("{{merge({a: 1}, {b: {c: 1}})}}", {"a": 1, "b": {"c": 1}}),
            ("{{ {k: {k: 1}} }}", {"k": {"k": 1}}),
            ("{{'}}'}}", "}}"),
            ('{{"}}" + "{{"}}', "}}{{"),
            ("{{[[1], [2]][1][0]}}", 2),
            ("\\{{a}}", "{{a}}"),
            ("\\{{a}} {{a.n}}", "{{a}} 1"),
            ("}} {", "}} {"),
            ("{ {a.n} }", "{ {a.n} }"),
            ("{{a.n}}\n{{a.s}}", "1\ntext"),
            ("{{\n  a.n +\n  1\n}}", 2),
            ("plain", "plain"),
            ("{{a.n &lt; 2}}", True),
            ("{{a.n < 2 && a.f <= 2}}", True),
            ("<![CDATA[{{a.n < 2}} <b>]]>", "true <b>"),
        ],
    )
    def test_what_it_comes_to(self, template: str, value: object) -> None:
        """D9: one expression alone keeps the type of its value."""
        found = text(template)
        assert found == value
        assert type(found) is type(value)

    def test_text_is_dedented(self) -> None:
        """D9: without blank lines around, and blanks at its ends."""
        body = """
        <transform id="z" type="step">
          <value>

            first {{1}}
              second

          </value>
        </transform>
        """
        assert ran(body)["z"] == "first 1\n  second"


class TestAttributes:
    def test_every_one_but_the_id_may_be_a_template(self, stage: Stage) -> None:
        """D9: section 6."""
        config = {"rounds": 2, "n": "2", "pause": "1s", "most": "1h", "tries": 1, "text": "words"}
        body = """
        <loop id="l" max="{{$config.rounds}}"><set var="i" value="{{$iteration}}"/></loop>
        <while id="w" condition="{{$iteration < $config.rounds}}" max="{{$config.rounds + 1}}"><set var="j" value="{{$iteration}}"/></while>
        <foreach id="f" collection="{{range(0, 4)}}" concurrency="{{$config.n}}"><set var="k" value="{{item}}"/></foreach>
        <parallel id="p" max="{{$config.rounds}}" merge="{{$branches[0]}}"><branch><set id="m" var="m" value="{{$config.text}}"/></branch></parallel>
        <phase id="d"><delay duration="{{$config.pause}}"/><set id="e" var="e" value="1"/></phase>
        <timeout id="t" duration="{{$config.most}}"><set id="o" var="o" value="1"/></timeout>
        <transform id="r" type="step" value="x{{$config.n}}"><on-error><retry max="{{$config.tries}}" base="{{$config.pause}}"/></on-error></transform>
        <if id="i2" condition="{{$config.n == 2}}"><then><set id="y" var="y" value="yes"/></then></if>
        """
        assert gives("[l, w, f, p, d, t, r, i2]", body, config=config) == [
            1,
            1,
            [0, 1, 2, 3],
            "words",
            1,
            1,
            "x2",
            "yes",
        ]

    def test_the_id_may_not(self) -> None:
        """D10."""
        code, at, _ = wrong('<transform id="{{$config.x}}" type="step"/>', config={"x": "y"})
        assert (code, at[:6]) == ("VALID_INVALID_FIELD_TYPE", "{{$con")


class TestWrong:
    @pytest.mark.parametrize(
        ("template", "code", "at"),
        [
            ("text {{a", "EXPR_PARSE_ERROR", "{{a"),
            ("{{a}} {{ (1 }}", "EXPR_PARSE_ERROR", "{{ (1"),
            ("{{}}", "EXPR_PARSE_ERROR", "}}"),
            ("{{1 +}}", "EXPR_PARSE_ERROR", "}}"),
            ("{{a b}}", "EXPR_PARSE_ERROR", "b}}"),
            ("{{nothing(a)}}", "EXPR_UNDEFINED_FUNCTION", "nothing(a)"),
            ("{{uper(a)}}", "EXPR_UNDEFINED_FUNCTION", "uper(a)"),
            ("{{a.__class__}}", "EXPR_BLOCKED_ACCESS", "__class__"),
            ("{{a.constructor}}", "EXPR_BLOCKED_ACCESS", "constructor"),
            ("one {{a}}\n two {{nowhere}}", "EXPR_UNDEFINED_VARIABLE", "nowhere"),
        ],
    )
    def test_it_is_told_with_its_place(self, template: str, code: str, at: str) -> None:
        """D10 D9."""
        found, where, _ = wrong(f'{DATA}<transform id="z" type="step"><value>{template}</value></transform>')
        assert (found, where[: len(at)]) == (code, at)

    def test_an_error_while_it_runs_has_its_place_too(self) -> None:
        """D9 D10: file, line and column."""
        over = ran(f'{DATA}<transform id="z" type="step" value="x {{{{upper(a.l)}}}}"/>')
        assert "test.flow.md:7:42" in over.errors["z"]
        assert "upper" in over.errors["z"]
