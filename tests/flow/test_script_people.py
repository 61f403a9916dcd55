"""Files as other people write them from the page of the language: what it allows works, what it forbids is told so that one can go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import plait
from answering_server import answer, data
from example_server import ExampleServer, echo
from plait.errors import FlowError
from plait.flow import load

FRONT = """---
name: people
version: 1.0
---
"""
ROWS = [{"id": 1, "n": "a", "tags": ["x"]}, {"id": 2, "n": "b", "tags": []}, {"id": 3, "n": None}]
READ = '<source id="rows" type="file" path="rows.json"/>'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("API_KEY", "key-0123456789")
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    return tmp_path


def written(body: str, front: str = FRONT) -> str:
    return f"{front}<workflow>\n{body}\n</workflow>\n"


def value(text: str | bytes) -> Any:
    """What a file gives."""
    Path("people.flow.md").write_bytes(text if isinstance(text, bytes) else text.encode())
    result = plait.run(load("people.flow.md"))
    return result.value


def said(body: str) -> list[tuple[str, str]]:
    """Code and hint of each problem of a file."""
    Path("people.flow.md").write_text(written(body))
    with pytest.raises(FlowError) as caught:
        load("people.flow.md")
    return [(each.code, f"{each.message} / {each.hint}") for each in caught.value.problems]


# -- how a file is written


FILES: dict[str, tuple[str | bytes, Any]] = {
    "BOM and CRLF": (("\ufeff" + written('<set var="m" value="x"/>')).replace("\n", "\r\n").encode(), "x"),
    "comments everywhere": (
        ("---\n# who\nname: x # a name\nversion: '1.0.0'\n---\n<!-- a -->\n\n<!-- b <x> & {{ -->\n<workflow>\n<!-- c -->"
        "<set var='m' value='x'><!-- in --></set><!-- e --></workflow>"),
        "x",
    ),
    "a trigger with a schedule": (
        written(
            '<set var="m" value="x"/>',
            "---\nname: x\nversion: 2.1\ntrigger:\n  manual: true\n  schedule:\n    cron: '0 9 * * *'\n---\n",
        ),
        "x",
    ),
    "a footer of several entries": (
        written('<set var="m" value="x"/>')
        + '\n## Execution Log\n\n### 2026-01-01T00:00:00Z\n- status: <ok> & {{ fine\n\n### 2026-01-02\n```json\n{"a": 1}\n```\n---\nmore\n',
        "x",
    ),
    "all kinds of config": (
        written(
            '<transform id="m" type="template"><template>{{$config.mode}}{{$config.n}}{{$config["debug"]}}</template></transform>',
            "---\nname: x\nversion: 1\nconfig:\n  mode: {type: 'enum[fast, slow]', default: fast}\n  n: 3\n  debug:\n"
            "    type: boolean\n    default: false\n    description: more words\nevolution: {}\noutput: {}\ninput: {}\n---\n",
        ),
        "fast3false",
    ),
    "schemas as text and as YAML": (
        written(
            '<set var="m" value="1"/>',
            "---\nname: x\nversion: 1.0.0\nschemas:\n  A: '{id: integer, tags: string[], k: enum[a, b], o?: {x: number}[] | null}'\n"
            "  B:\n    id: integer\n    tags?: string[]\n---\n",
        ),
        1,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), FILES.values(), ids=FILES)
def test_a_file_as_it_comes(text: str | bytes, wanted: Any) -> None:
    """D8 D10: section 1: what stands around the workflow."""
    assert value(text) == wanted


# -- how a node is written


BODIES: dict[str, tuple[str, Any]] = {
    "attributes": (READ + '<transform id="m" type="map" input="rows" expression="item.n"/>', ["a", "b", None]),
    "children": (
        ('<source id="rows" type="file"><path>rows.json</path><format>json</format></source>'
        '<transform id="m" type="map" input="rows.output"><expression>$item.id * 2</expression></transform>'),
        [2, 4, 6],
    ),
    "YAML": (
        '<source id="m" type="file"><config>\n  # which\n  path: "{{ "rows" }}.json"\n  format: json\n</config></source>',
        ROWS,
    ),
    "YAML in a line": (
        ('<source id="a" type="file"><config>path: rows.json</config></source>'
        '<source id="m" type="file" ><config>{path: rows.json, format: json}</config></source>'),
        ROWS,
    ),
    "braces around a condition": (
        READ + '<transform id="m" type="filter" input="rows"><condition>{{ item.id &lt; 2 }}</condition></transform>',
        ROWS[:1],
    ),
    "braces around names of a condition": (
        ('<set var="a" value="x"/><if id="m" condition="{{a}} == \'x\' && {{ a }} != \'y\'">'
        '<then><transform id="t" type="map"><expression>{"k": {{a}}, "s": "{{a}}"}</expression></transform></then></if>'),
        {"k": "x", "s": "{{a}}"},
    ),
    "an arrow function": (
        READ + '<transform id="m" type="map" input="rows"><expression>(row, i) => ({ id: row.id, i })</expression></transform>',
        [{"id": 1, "i": 0}, {"id": 2, "i": 1}, {"id": 3, "i": 2}],
    ),
    "arrows in arrows": (
        '<transform id="m" type="map"><expression>map([[1, 2], [3]], xs => sum(map(xs, x => x * x)))</expression></transform>',
        [5, 9],
    ),
    "an object with a spread": (
        READ
        + '<transform id="m" type="map" input="rows"><expression>\n { ...item, tags: item.tags?.[0] ?? "none", n: item?.n?.x, }\n</expression></transform>',
        [{"id": 1, "n": None, "tags": "x"}, {"id": 2, "n": None, "tags": "none"}, {"id": 3, "n": None, "tags": "none"}],
    ),
    "CDATA": (
        '<transform id="m" type="map"><expression><![CDATA[ filter([1,2,3], x => x<3 && x>1) ]]></expression></transform>',
        [2],
    ),
    "a comment in an expression": (
        '<transform id="m" type="map"><expression>1 + <!-- two --> 2</expression></transform>', 3,
    ),
    "bare < and &": (
        '<set var="a" value="5"/><if id="m" condition="a <= 5 && a < 9"><then><set var="r" value="b & c"/></then></if>',
        "b & c",
    ),
    "entities and quotes": (
        """<branch id="m"><case when="'x' == &quot;x&quot; &amp;&amp; 1 &lt; 2"><set var='r' value='say "hi" &#65;'/></case></branch>""",
        'say "hi" A',
    ),
    "words for signs": (
        '<set var="a" value="3"/><transform id="m" type="map"><expression>a > 1 AND NOT (a == 4) OR a IN [9]</expression></transform>',
        True,
    ),
    "what is in a list": (
        '<transform id="m" type="map"><expression>[includes([1, 2], 2), includes("abc", "b"), "b" IN ["a"]]</expression></transform>',
        [True, True, False],
    ),
    "several inputs": (
        '<set id="a" var="a" value="1"/><set id="b" var="b" value="2"/><transform id="m" type="map" input="a, b" expression="item + 1"/>',
        [2, 3],
    ),
    "an expression as input": (
        READ + '<transform id="m" type="map" input="{{ filter(rows, r => r.id > 1) }}" expression="item.id"/>', [2, 3],
    ),
    "hyphens": (
        ('<source id="my-rows" type="file" path="rows.json"/><transform id="row-ids" type="map" input="my-rows" expression="item.id"/>'
        '<set id="x" var="a-b" value="7"/><set var="a" value="9"/><set var="b" value="2"/>'
        '<transform id="m" type="map"><expression>[row-ids[0] + length(my-rows.output)-1, a-b, a - b]</expression></transform>'),
        [3, 7, 7],
    ),
    "a duration of ISO 8601": ('<delay duration="PT0.01S"/><set var="m" value="done"/>', "done"),
    "a JSON template with values in it": (
        '<set var="x" value="{{[1, 2]}}"/><transform id="m" type="template"><template>\n  {"a": {{x}}, "b": "{{x[0]}}",\n   "c": {{merge({d: 1}, {e: {f: 2}})}}}\n</template></transform>',
        {"a": [1, 2], "b": "1", "c": {"d": 1, "e": {"f": 2}}},
    ),
    "a variable that is called as its node, and read before it stands there": (
        ('<transform id="r" type="map"><expression>[total + 1]</expression></transform><set id="total" var="total" value="4"/>'
        '<transform id="m" type="map" input="r" expression="item"/>'),
        [5],
    ),
    "nodes called as what only a map with an input knows": (
        ('<transform id="m" type="map"><expression>[first[0], items.n, last]</expression></transform>'
        '<set id="first" var="f" value="{{[1]}}"/><set id="items" var="i" value="{{ {n: 2} }}"/><set id="last" var="l" value="3"/>'
        '<transform id="z" type="map"><expression>m</expression></transform>'),
        [1, 2, 3],
    ),
    "templates in attributes": (
        ('<set var="k" value="2"/><set var="all" value="concat"/>'
        '<parallel id="p" max="{{$run.workflow == \'people\' ? 3 : 1}}" wait="n({{1 + 1}})" merge="{{ \'con\' + \'cat\' }}">'
        '<branch><set var="a" value="{{[1]}}"/></branch><branch><set var="b" value="{{[2]}}"/></branch><branch><delay duration="1h"/></branch></parallel>'
        '<source id="gone" type="file" path="gone.json" required="{{ 1 > 2 }}"><on-error><retry max="{{0}}" jitter="{{false}}" backoff="{{ \'fixed\' }}"/></on-error></source>'
        '<checkpoint id="ok" prompt="{{length(p)}}?" default="{{ true ? \'approve\' : \'reject\' }}"/>'
        '<transform id="m" type="map"><expression>[p, ok.action, gone]</expression></transform>'),
        [[1, 2], "approve", None],
    ),
    "a block that is tried again as often as an expression says": (
        ('<if id="b" condition="true" required="false"><then><source id="gone" type="file" path="gone.json"/></then>'
        '<on-error><retry max="{{1 + 1}}" when="true" base="1ms"/></on-error></if><transform id="m" type="map" expression="b.attempts"/>'),
        3,
    ),
    "a phase called by its name": (
        f'<phase name="Read in">{READ}</phase><phase name="work"><transform id="m" type="map"><expression>length(Read-in.rows.output)</expression></transform></phase>',
        3,
    ),
    "loops in loops with bare names": (
        '<foreach id="m" collection="[1, 2]" item="outer"><foreach id="in" collection="{{ [10, 20] }}"><transform id="t" type="map"><expression>outer + item + $index</expression></transform></foreach></foreach>',
        [[11, 22], [12, 23]],
    ),
    "a failure that is looked at": (
        ('<source id="a" type="file" path="gone.json"><on-error><continue/></on-error></source><transform id="m" type="map">'
        '<expression>[a, a.status, a.error.name != null, a?.x ?? "d"]</expression></transform>'),
        [None, "failed", True, "d"],
    ),
    "JSON as in JavaScript": (
        '<transform id="m" type="map"><expression>JSON.parse(JSON.stringify({"a-b": [1]}))["a-b"].length</expression></transform>',
        1,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "wanted"), BODIES.values(), ids=BODIES)
def test_a_body_as_people_write_it(body: str, wanted: Any) -> None:
    """D8 D9: what the page allows gives what it says."""
    assert value(written(body)) == wanted


# -- requests


@pytest.fixture
def server() -> Iterator[ExampleServer]:
    made = ExampleServer()
    made.answers = {"/": echo(ok=True)}
    yield made
    made.close()


def asked(server: ExampleServer, body: str) -> Any:
    """What a file gives that asks a server."""
    return value(
        written(body, f"---\nname: people\nversion: 1.0.0\nsecrets: [API_KEY]\nconfig: {{base: '{server.url}', n: 2}}\n---\n")
    )  # fmt: skip


REQUESTS: dict[str, str] = {
    "nested YAML": """<source id="m" type="http">
      <request>
        method: POST
        url: {{$config.base}}/a
        headers:
          Authorization: Bearer {{$secrets.API_KEY}}
          X-List: "a, b"
        params:
          q: {{$config.n}}
        body:
          n: {{$config.n}}
          deep: ["{{$config.n}}", {k: {{$config.n}}}]
      </request>
    </source>""",
    "children": """<source id="m" type="http" method="POST"><url>{{$config.base}}/a</url>
      <headers>
        X-List: a, b
        Authorization: Bearer {{$secrets.API_KEY}}
      </headers>
      <params q="{{$config.n}}"/>
      <body>{"n": {{$config.n}}, "deep": ["{{$config.n}}", {"k": 2}]}</body></source>""",
    "elements in the section": """<source id="m" type="http"><request method="POST">
      <url>{{$config.base}}/a?q={{$config.n}}</url>
      <headers><X-List>a, b</X-List></headers>
      <auth type="bearer" token="{{$secrets.API_KEY}}"/>
      <body>{"n": {{$config.n}}, "deep": ["2", {"k": 2}]}</body></request></source>""",
    "attributes": """<transform id="b" type="map"><expression>{n: $config.n, deep: ["2", {k: 2}]}</expression></transform>
      <source id="m" type="http" method="post" url="{{$config.base}}/a" params='{"q": 2}' body="{{b}}"
        headers='{"X-List": "a, b"}' auth='{"type": "bearer", "token": "{{$secrets.API_KEY}}"}'/>""",
    "YAML in CDATA, with a block": """<source id="m" type="http"><request><![CDATA[
      method: POST   # <- here
      url: {{$config.base}}/a?q=2
      headers: {X-List: "a, b", Authorization: "Bearer {{$secrets.API_KEY}}"}
      body: |
        {"n": {{$config.n}}, "deep": ["2", {"k": 2}]}
    ]]></request></source>""",
}


@pytest.mark.parametrize("body", REQUESTS.values(), ids=REQUESTS)
def test_a_request_in_each_way_to_write_it(server: ExampleServer, body: str) -> None:
    """D8: attributes, children, YAML: the same request."""
    found = asked(server, body)
    assert found["ok"] is True
    assert len(server.asked) == 1
    [sent] = server.asked
    assert (sent.method, sent.path) == ("POST", "/a?q=2")
    assert sent.headers["authorization"] == "Bearer key-0123456789"
    assert sent.headers["x-list"] == "a, b"
    assert sent.headers["content-type"] == "application/json"
    sent_body = json.loads(sent.body)
    assert sent_body["n"] == 2
    assert [str(sent_body["deep"][0]), sent_body["deep"][1]] == ["2", {"k": 2}]


FAILURES: dict[str, tuple[str, Any]] = {
    "fallback": (
        (
            '<on-error><retry max="0"/><fallback node="fb" when="error.status == 404"/></on-error></source>'
            '<transform id="fb" type="map"><expression>[$primaryError.status, $primaryError.name]</expression></transform>'
        ),
        [404, "HttpError"],
    ),
    "continue": (
        '<on-error><continue/></on-error></source><transform id="z" type="map"><expression>[m, m.error.status, m.attempts]</expression></transform>',
        [None, 404, 1],
    ),
    "retry": ('<on-error><retry max="1" base="1ms" when="status == 404"/></on-error></source>', {"id": 7}),
}


@pytest.mark.parametrize(("rest", "wanted"), FAILURES.values(), ids=FAILURES)
def test_what_is_done_after_a_failure_of_http(server: ExampleServer, rest: str, wanted: Any) -> None:
    """D8: `on-error` in the ways that the page has."""
    server.answers = {"/a": [answer("no", "404 Not Found"), data({"id": 7})]}
    assert asked(server, '<source id="m" type="http"><request>url: {{$config.base}}/a</request>' + rest) == wanted


LED: dict[str, tuple[str, bool]] = {
    "a path from data": ('<transform id="p" type="map"><expression>{next: "/b?page=2"}</expression></transform>|{{$config.base}}{{p.next}}', True),
    "a server from a variable": ('<set var="api" value="{{$config.base}}"/>|{{api}}/b?page=2', True),
    "a server from the context": (
        '<context><set key="api" value="{{$config.base}}"/></context>|{{$context.api}}/b?page=2',
        True,
    ),
    "a server from a variable that is data": (
        '<transform id="p" type="map"><expression>$config.base</expression></transform><set var="api" value="{{p}}"/>|{{api}}/b?page=2',
        False,
    ),
    "a server from data": ('<transform id="p" type="map"><expression>$config.base</expression></transform>|{{p}}/b?page=2', False),
    "a server from data behind one from config": (
        '<transform id="p" type="map"><expression>"@127.0.0.1:9/b"</expression></transform>|{{$config.base}}{{p}}',
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "may"), LED.values(), ids=LED)
def test_data_says_the_path_and_not_the_server(server: ExampleServer, text: str, may: bool) -> None:
    """S43: what stands in the file or its config may lead into a private network, also through variables; data may not."""
    before, _, url = text.partition("|")
    body = f'{before}<source id="m" type="http"><url>{url}</url></source>'
    if may:
        assert asked(server, body) == {"ok": True}
        assert server.asked[0].path == "/b?page=2"
        return
    with pytest.raises(plait.RunFailed, match="private network"):
        asked(server, body)
    assert server.asked == []


# -- what the page forbids


FORBIDDEN: dict[str, tuple[str, str, str]] = {
    "a < b without blanks": ('<transform id="m" type="map"><expression>1<b</expression></transform>', "PARSE_XML_INVALID", "<b"),
    "tags in a template": (
        '<transform id="m" type="template"><template><b>{{1}}</b></template></transform>', "VALID_UNKNOWN_NODE_TYPE", "CDATA",
    ),
    "text beside tags": (
        '<sink id="m" type="http" url="http://x/"><body>Hello <b>you</b></body></sink>', "VALID_INVALID_FIELD_TYPE", "beside",
    ),
    "attributes of a field": (
        '<source id="m" type="file"><path kind="x">a</path></source>', "VALID_INVALID_FIELD_TYPE", "kind",
    ),
    "branches without branch": ('<parallel id="m"><set var="x" value="1"/></parallel>', "VALID_UNKNOWN_NODE_TYPE", "<branch>"),
    "an else in a branch": (
        '<branch id="m"><case when="false"><set var="r" value="1"/></case><else/></branch>', "VALID_UNKNOWN_NODE_TYPE", "<otherwise>",
    ),
    "an if without then": ('<if id="m" condition="true"><set var="r" value="1"/></if>', "VALID_MISSING_REQUIRED_FIELD", "<then>"),
    "methods": ('<set var="s" value="a"/><transform id="m" type="map" expression="s.toUpperCase()"/>', "EXPR_PARSE_ERROR", "toUpperCase"),
    "functions of others": ('<transform id="m" type="map" expression="uppercase(\'a\')"/>', "EXPR_UNDEFINED_FUNCTION", "'upper'"),
    "and": ('<if id="m" condition="true and false"><then/></if>', "EXPR_PARSE_ERROR", "AND"),
    "not": ('<if id="m" condition="true && not false"><then/></if>', "EXPR_PARSE_ERROR", "NOT"),
    "new": ('<transform id="m" type="map" expression="new Date()"/>', "EXPR_PARSE_ERROR", "now()"),
    "a comment": ('<transform id="m" type="map"><expression>1 // one</expression></transform>', "EXPR_PARSE_ERROR", "comments"),
    "a key with a hyphen": ('<transform id="m" type="map"><expression>{content-type: 1}</expression></transform>', "EXPR_PARSE_ERROR", "quoted"),
    "one =": ('<set var="a" value="1"/><if id="m" condition="a = 1"><then/></if>', "EXPR_PARSE_ERROR", "="),
    "backticks": ('<transform id="m" type="map"><expression>`a`</expression></transform>', "EXPR_PARSE_ERROR", "backticks"),
    "a secret that is not declared": ('<transform id="m" type="map" expression="$secrets.TOKEN"/>', "VALID_UNDEFINED_SECRET_REF", "secrets: [TOKEN]"),
    "a config that there is none of": ('<transform id="m" type="map" expression="$config.limit"/>', "EXPR_UNDEFINED_VARIABLE", "config"),
    "a name with a slip": (READ + '<transform id="m" type="map" expression="row.id"/>', "EXPR_UNDEFINED_VARIABLE", "'rows'"),
    "an input with a slip": (READ + '<transform id="m" type="map" input="row" expression="1"/>', "VALID_UNDEFINED_NODE_REF", "'rows'"),
    "a ring": (
        '<transform id="a" type="map" input="b" expression="1"/><transform id="b" type="map" input="a" expression="1"/>',
        "VALID_CIRCULAR_DEPENDENCY", "-> ",
    ),
    "an entity of HTML": ('<transform id="m" type="template"><template>a&nbsp;b</template></transform>', "PARSE_XML_INVALID", "&nbsp;"),
    "a value without quotes": ('<set var=m value="1"/>', "PARSE_XML_INVALID", "quoted"),
    "a node that there is none of": ('<step id="m"/>', "VALID_UNKNOWN_NODE_TYPE", "source, transform, sink"),
    "a field with a slip": ('<source id="m" type="file" pth="x"/>', "VALID_INVALID_FIELD_TYPE", "'path'"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "code", "told"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_what_the_page_forbids_is_told_with_what_to_do(body: str, code: str, told: str) -> None:
    """D10: the code of the page, and words that help."""
    found = said(body)
    assert [shown for each, shown in found if each == code and told in shown], found
