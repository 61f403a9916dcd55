"""The reader of FlowScript files: text to tree, every character with its place, and one clear error for what is no such file."""

from __future__ import annotations

import random
import re
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import FlowError
from plait.flow.elements import Element
from plait.flow.markup import Source, read_markup, read_yaml
from plait.flow.problems import START, Place, Problems
from plait.flow.spans import Lines, Span
from plait.flow.tags import DEEPEST, MOST_ATTRIBUTES, MOST_ELEMENTS
from plait.flow.tree import Mapping, Scalar, Sequence, Tree, inside, plain

FRONT = "---\nname: x\n---\n"
SECONDS = 2.0


def source(text: str) -> Source:
    return read_markup(Path("x.flow.md"), Problems("x.flow.md"), text)


def body(text: str) -> Element:
    """The only child of the root; its line is line 5."""
    return source(f"{FRONT}<workflow>\n{text}\n</workflow>\n").root.children[0]


def text_of(text: str) -> Span:
    """The text of an element that begins in line 5."""
    span = body(f"<a>{text}</a>").text
    assert span is not None
    return span


def told(text: str | bytes, path: Path | None = None) -> tuple[str, int, int, str]:
    """Code, line, column and all that is said of the one thing that is wrong, soon."""
    began = time.process_time()
    problems = Problems("x.flow.md")
    with pytest.raises(FlowError) as caught:
        if path is None:
            assert isinstance(text, str)
            read_markup(Path("x.flow.md"), problems, text)
        else:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            read_markup(path, problems)
        raise problems.error()
    assert time.process_time() - began < SECONDS
    (problem,) = caught.value.problems
    lines = problem.lines()
    assert re.match(r"x\.flow\.md:\d+:\d+: error\[[A-Za-z_-]+\]: ", lines[0])
    assert all(line.isprintable() for line in lines)
    assert sum(map(len, lines)) < 5_000
    return problem.code, problem.line, problem.column, " ".join((problem.message, problem.hint))


def characters(text: str, span: Span) -> list[tuple[str, str]]:
    """Those of a text that are not what stands in the file at their place, with what does."""
    lines = text.splitlines()
    found = []
    for offset, each in enumerate(span.value):
        line, column = span.place(offset)
        stands = lines[line - 1][column - 1 : column] or each
        if stands != each:
            found.append((each, stands))
    return found


class TestFile:
    def test_a_file_is_front_matter_a_root_and_a_footer(self) -> None:
        text = "---\nname: x\nversion: 1.0\n---\n\n<!-- a --- b -->\n<workflow>\n  <a/>\n</workflow>\n## Execution Log\n</workflow> <workflow> & < <!DOCTYPE \x1b\x00"
        for end, mark in (("\n", ""), ("\r\n", ""), ("\r", ""), ("\n", "\ufeff"), ("\r\n", "\ufeff")):
            read = source(mark + text.replace("\n", end))
            assert plain(read.front) == {"name": "x", "version": 1.0}
            assert read.front.keys["version"] == Place(3, 1)
            assert (read.root.at, read.root.end) == (Place(7, 1), Place(9, 12))
            assert read.root.children[0].at == Place(8, 3)
            assert read.text[read.footer :].startswith(f"{end}## Execution Log{end}")
            assert read.text[: read.footer].endswith("</workflow>")

    def test_a_file_is_read_from_its_path(self, tmp_path: Path) -> None:
        path = tmp_path / "x.flow.md"
        path.write_bytes(b"\xef\xbb\xbf" + FRONT.replace("\n", "\r\n").encode() + "<workflow>é</workflow>\r\n".encode())
        read = read_markup(path, Problems(str(path)))
        assert read.root.text is not None
        assert (read.root.text.value, read.root.at) == ("é", Place(4, 1))

    @pytest.mark.parametrize("front", ["", "# nothing\n", "\n"])
    def test_front_matter_may_be_empty(self, front: str) -> None:
        assert plain(source(f"---\n{front}---\n<workflow/>").front) == {}

    @pytest.mark.parametrize(
        ("inner", "footer"),
        [
            ("<![CDATA[</workflow>]]>", ""),
            ("<!-- </workflow> -->", "</workflow>"),
            ('<a b="&lt;/workflow>"/>', "<!DOCTYPE x [<!ENTITY a 'b'>]>"),
            ("{{ '&lt;/workflow>' }}", "&x; <x"),
            ("<a><workflow/></a>", "<workflow>"),
        ],
    )
    def test_the_footer_begins_behind_the_end_of_the_root_and_nowhere_else(self, inner: str, footer: str) -> None:
        read = source(f"{FRONT}<workflow>{inner}</workflow>{footer}")
        assert read.text[read.footer :] == footer
        read = source(f"{FRONT}<workflow a='1'/>{footer}")
        assert read.text[read.footer :] == footer

    @pytest.mark.parametrize(
        ("text", "at", "code", "says"),
        [
            ("", (1, 1), "PARSE_MISSING_FRONTMATTER", "begin the file with `---`"),
            ("<workflow/>", (1, 1), "PARSE_MISSING_FRONTMATTER", "the first line must be `---`"),
            ("\n---\na: 1\n---\n<workflow/>", (1, 1), "PARSE_MISSING_FRONTMATTER", "blank lines before `---`"),
            ("---\nname: x\n<workflow/>\n", (1, 1), "PARSE_MISSING_FRONTMATTER", "does not end"),
            ("---", (1, 1), "PARSE_MISSING_FRONTMATTER", "does not end"),
            ("--- x\n---\n", (1, 1), "PARSE_MISSING_FRONTMATTER", "there is no front matter"),
            (FRONT, (4, 1), "PARSE_MISSING_BODY", "no `<workflow>` behind the front matter"),
            (FRONT.rstrip(), (3, 4), "PARSE_MISSING_BODY", "no `<workflow>`"),
            (f"{FRONT}\n# Steps\n", (5, 1), "PARSE_MISSING_BODY", "no `<workflow>`"),
            (f"{FRONT} <flow></flow>", (4, 2), "PARSE_MISSING_BODY", "`<flow>` is none"),
            (f"{FRONT}<!-- <workflow/> -->\n", (5, 1), "PARSE_MISSING_BODY", "no `<workflow>`"),
            (f"{FRONT}<workflows/>\n", (4, 1), "PARSE_MISSING_BODY", "`<workflows>` is none"),
            ("---\na: [\n---\n<workflow/>", (3, 1), "PARSE_YAML_INVALID", "not YAML"),
            ("---\na: 1\na: 2\n---\n<workflow/>", (3, 1), "PARSE_YAML_INVALID", "key 'a' stands here twice; first in line 2"),
            ("---\na: {{x}}\n---\n<workflow/>", (2, 4), "PARSE_YAML_INVALID", "quote"),
            ("---\n- a\n---\n<workflow/>", (2, 1), "PARSE_YAML_INVALID", "a list; it must be a mapping"),
            ("---\na: !!python/x 1\n---\n<workflow/>", (2, 4), "PARSE_YAML_INVALID", "python/x"),
            ("---\na: \x01\n---\n<workflow/>", (2, 4), "PARSE_YAML_INVALID", "U+0001"),
        ],
    )  # fmt: skip
    def test_what_is_missing_or_no_yaml_is_told(self, text: str, at: tuple[int, int], code: str, says: str) -> None:
        found = told(text)
        assert (found[0], found[1:3]) == (code, at), found
        assert says in found[3]


class TestText:
    @pytest.mark.parametrize(
        ("written", "value"),
        [
            ("x", "x"),
            ("  x  ", "x"),
            ("\n    a\n      b\n\n    c  \n  ", "a\n  b\n\nc"),
            ("\n    a\n  \t   \n    c", "a\n\nc"),
            ("\n\ta\n\t b", "a\n b"),
            ("\n \ta\n\t b", " \ta\n\t b"),
            ("a\n  b\n", "a\n  b"),
            ("\n  a  \n  b  ", "a  \nb"),
            ("&lt;&gt;&amp;&quot;&apos;&#65;&#x42;&#x1F600;", "<>&\"'AB😀"),
            ("<![CDATA[<b> & &amp; ]] ]]>", "<b> & &amp; ]]"),
            ("a<!-- c -- <b> & -->b", "ab"),
            ("score <= 5 && a < b & c<3 <", "score <= 5 && a < b & c<3 <"),
            ("x => a & b; y &c &; &#; &#x; &1;", "x => a & b; y &c &; &#; &#x; &1;"),
            ("a[b[0]]>3", "a[b[0]]>3"),
            ("日本 😀\u2028é", "日本 😀\u2028é"),
            ("a &lt;b&gt; < \n  &#160;c", "a <b> < \n  \xa0c"),
        ],
    )
    def test_a_text_is_as_it_counts_and_each_character_has_its_place(self, written: str, value: str) -> None:
        for end in ("\n", "\r\n"):
            text = f"{FRONT}<workflow>\n<a>{written}</a></workflow>".replace("\n", end)
            span = source(text).root.children[0].text
            assert span is not None
            assert span.value == value
            assert {stands for _, stands in characters(text, span)} <= {"&"}

    def test_the_end_of_a_text_has_a_place(self) -> None:
        for written, at in (
            ("ab  ", (5, 6)),
            ("a&amp;", (5, 10)),
            ("\n  a\n  &lt;\n ", (7, 7)),
            ("<![CDATA[ab]]>", (5, 15)),
        ):
            span = text_of(written)
            assert span.place(len(span.value)) == at

    def test_blanks_are_no_text_and_mixed_content_is_one_with_its_places(self) -> None:
        assert body("<a> \n\t </a>").text is None
        assert body("<a><![CDATA[ \n]]></a>").text is None
        mixed = body("<a> <b/> x\n <c>y</c>z</a>")
        assert mixed.text is not None
        assert mixed.text.value == " x\nz"
        assert (mixed.text.place(1), mixed.text.place(3)) == ((5, 10), (6, 10))
        assert [each.tag for each in mixed.children] == ["b", "c"]

    def test_attributes_are_as_xml_has_them_with_places(self) -> None:
        element = body("<source:http id='a'\n\t b = \"x < 1 &&\n\ty &lt;&#10;'\"  c-d=''/>")
        assert element.tag == "source:http"
        values = {name: each.value.value for name, each in element.attributes.items()}
        assert values == {"id": "a", "b": "x < 1 &&  y <\n'", "c-d": ""}
        assert [each.at for each in element.attributes.values()] == [(5, 14), (6, 3), (7, 17)]
        b = element.attributes["b"].value
        assert [b.place(b.value.index(each)) for each in "x<y\n'"] == [(6, 8), (6, 10), (7, 2), (7, 8), (7, 13)]
        assert b.place(len(b.value)) == (7, 14)
        assert element.attributes["c-d"].value.place(0) == (7, 22)
        assert (element.at, element.end) == ((5, 1), (7, 25))

    def test_places_in_a_long_file_are_those_of_a_short_one(self) -> None:
        rng = random.Random(1)
        text = "".join(rng.choice(("x" * 70_000, "é\n", "\n", "x\u2028", "\x85", "x" * 40)) for _ in range(300))
        for whole in (text, text + "\n", text + "\u2028", "", "\n", "x"):
            lines, offset = Lines(whole), 0
            for number, line in enumerate(whole.splitlines(keepends=True), 1):
                assert lines.place(offset) == (number, 1)
                assert lines.place(offset + len(line) - 1) == (number, len(line))
                offset += len(line)
            assert lines.place(offset) == Place(len(f"{whole}x".splitlines()), len(f"{whole}x".splitlines()[-1]))


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "at", "says"),
        [
            ("<a></b>", (5, 4), "`</b>` ends nothing; what is open is `<a>` of line 5, column 1"),
            ("<a>\n<b></a>", (6, 4), "`</a>` stands where `<b>` of line 6, column 1 is not closed"),
            ("<a>", (6, 1), "`</workflow>` stands where `<a>` of line 5, column 1 is not closed write `</a>`"),
            ("<a b='1' b='2'/>", (5, 10), "`<a>` has the attribute `b` twice; first in line 5, column 4"),
            ("<a b=1/>", (5, 6), 'the attribute `b` is not quoted write `b="..."`'),
            ("<a b/>", (5, 4), "the attribute `b` of `<a` has no value"),
            ("<a b='1'c='2'/>", (5, 9), "`c` follows a quote without a blank"),
            ("<a b='1>\n<c d='2'/>", (6, 1), "is the quote of line 5, column 6 never closed?"),
            ("<a b=\"1>", (5, 6), "the quote of the attribute `b` is never closed"),
            ("<a b='x <y'/>", (5, 9), "`<` in the value of `b` would begin a tag"),
            ("<a b='</workflow>'/>", (5, 7), "`<` in the value of `b` would begin a tag"),
            ("<a / >", (5, 4), "`/` does not belong in the tag `<a`"),
            ("<a ='x'/>", (5, 4), "`=` does not belong in the tag `<a`"),
            ("<a\n<b/>", (5, 1), "`<a` begins a tag that does not end write `>`"),
            ("<a>x <b</a>", (5, 6), "`<b` begins a tag that does not end where `<` means less-than, write `&lt;`"),
            ("<a>x <b && c> 3</a>", (5, 6), "`<b` begins a tag that does not end where `<` means less-than"),
            ("<a>x <b > 3</a>", (5, 12), "`</a>` stands where `<b>` of line 5, column 6 is not closed where `<` means less-than"),
            ("<a></ a>", (5, 4), "`</` begins an end tag, and this is none"),
            ("<!-- x", (5, 1), "this comment is never closed"),
            ("<a><![CDATA[ x", (5, 4), "this CDATA section is never closed"),
            ("<a><?php ?></a>", (5, 4), "processing instructions"),
            ("<!DOCTYPE x>", (5, 1), "document type"),
            ("<!doctype x>", (5, 1), "document type"),
            ("<!ELEMENT x>", (5, 1), "begins a comment or a CDATA section, and this is none"),
            ("<a>\t😀 &nbsp;</a>", (5, 7), "`&nbsp;` is an entity that is not known"),
            ("<a b='\n😀 &nbsp;'/>", (6, 3), "`&nbsp;` is an entity that is not known"),
            ("<a>< & &amp; &#0;</a>", (5, 14), "`&#0;` is no character"),
            ("<a b='&#xD800;'/>", (5, 7), "`&#xD800;` is no character"),
            (f"<a>&#{'9' * 100_000};</a>", (5, 4), "is no character"),
            ("<a>x\x01</a>", (5, 5), "U+0001"),
            ("<a>x\ud800</a>", (5, 5), "U+D800"),
            ("<a\x00b/>", (5, 3), "U+0000"),
            ("<workflow/>", (5, 1), "this is a second one in `<workflow>` of line 4, column 1"),
            ("<a²/>", (5, 3), "not XML"),
            ("<a>< &\r\n😀<a²/></a>", (6, 4), "not XML"),
        ],
    )  # fmt: skip
    def test_what_is_no_xml_is_told_once_where_it_is(self, text: str, at: tuple[int, int], says: str) -> None:
        code, line, column, said = told(f"{FRONT}<workflow>\n{text}\n</workflow>\n")
        assert (code, (line, column)) == ("PARSE_XML_INVALID", at), said
        assert says in said

    @pytest.mark.parametrize(
        ("text", "at", "says"),
        [
            ("x\n<workflow/>", (4, 1), "only blanks and comments may stand before `<workflow>`; this is neither"),
            ("\n<a/><workflow/>", (5, 1), "`<a>` is neither"),
            ("<![CDATA[x]]><workflow/>", (4, 1), "this is neither"),
            ("<?xml version='1.0'?>\n<workflow/>", (4, 1), "processing instructions"),
            ("<!-- x", (4, 1), "this comment is never closed"),
            ("</workflow>", (4, 1), "there is no `<workflow>`"),
            ("<workflow>\n<a></a>\n", (4, 1), "`<workflow>` is never closed"),
            ("<workflow>\n<a>\n", (5, 1), "`<a>` is never closed"),
            ("<workflow", (4, 1), "`<workflow` begins a tag that does not end"),
        ],
    )
    def test_what_stands_around_the_root_is_told(self, text: str, at: tuple[int, int], says: str) -> None:
        code, line, column, said = told(FRONT + text)
        assert code == ("PARSE_MISSING_BODY" if "there is no" in says else "PARSE_XML_INVALID")
        assert ((line, column), says in said) == (at, True), said

    def test_files_that_are_no_text_or_not_there(self, tmp_path: Path) -> None:
        path = tmp_path / "x.flow.md"
        assert told(f"{FRONT}<workflow>".encode() + b"\n\xff", path)[:3] == ("PARSE_XML_INVALID", 5, 1)
        with pytest.raises(FlowError, match="cannot be read"):
            read_markup(tmp_path / "no.flow.md", Problems("no.flow.md"))
        with pytest.raises(FlowError, match="this is a folder"):
            read_markup(tmp_path, Problems("."))


LOL = "<!DOCTYPE lolz [<!ENTITY lol0 'lol'>" + "".join(
    f"<!ENTITY lol{at} '{f'&lol{at - 1};' * 10}'>" for at in range(1, 10)
)


class TestEvil:
    @pytest.mark.parametrize(
        "text",
        [
            f"{LOL}]>\n<workflow>&lol9;</workflow>",
            f"<!DOCTYPE x [<!ENTITY a '{'a' * 5_000}'>]><workflow>{'&a;' * 5_000}</workflow>",
            "<!DOCTYPE x [<!ENTITY a SYSTEM 'file://CANARY'>]><workflow>&a;</workflow>",
            "<!DOCTYPE x [<!ENTITY % a SYSTEM 'file://CANARY'> %a;]><workflow/>",
            "<!DOCTYPE x SYSTEM 'http://localhost:1/x.dtd'><workflow/>",
            "<!DOCTYPE x PUBLIC '-//x' 'file://CANARY'><workflow/>",
            "<!-- a -->\n<!DocType x><workflow/>",
        ],
        ids=["lol", "quadratic", "system", "parameter", "net", "public", "case"],
    )
    def test_document_types_are_refused_before_any_entity_is_read(self, tmp_path: Path, text: str) -> None:
        """S01 S02 S03."""
        canary = tmp_path / "canary"
        canary.write_text("tweet-tweet")
        found = told(FRONT + text.replace("CANARY", str(canary)), tmp_path / "x.flow.md")
        assert found[0] == "PARSE_XML_INVALID"
        assert found[1:3] == ((5, 1) if text.startswith("<!--") else (4, 1))
        assert "document type" in found[3]
        assert "tweet" not in str(found)

    def test_entities_without_a_document_type_and_includes_show_nothing_either(self, tmp_path: Path) -> None:
        """S03: an XInclude is an element that nothing reads here."""
        canary = tmp_path / "canary"
        canary.write_text("tweet-tweet")
        path = tmp_path / "x.flow.md"
        found = told(f"{FRONT}<workflow>&lol9;</workflow>", path)
        assert found[:3] == ("PARSE_XML_INVALID", 4, 11)
        assert "`&lol9;` is an entity that is not known" in found[3]
        include = f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file://{canary}" parse="text"/>'
        read = body(include)
        assert (read.tag, read.text, read.children) == ("xi:include", None, [])

    def test_depth_has_a_limit_while_it_is_read(self) -> None:
        """S04."""
        for text in ("<a>" * 100_000, "<a>" * 100_000 + "</a>" * 100_000, "<a>" * DEEPEST + "</a>" * DEEPEST):
            found = told(f"{FRONT}<workflow>\n{text}</workflow>")
            assert found[:3] == ("PARSE_XML_INVALID", 5, 3 * (DEEPEST - 1) + 1)
            assert "nested deeper than 250 levels" in found[3]
        assert body("<a>" * (DEEPEST - 1) + "</a>" * (DEEPEST - 1)).tag == "a"

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("<a " + " ".join(f"a{at}=''" for at in range(100_000)) + "/>", "more than 100 attributes"),
            ("<a " + " ".join(f"xmlns:a{at}='x'" for at in range(100_000)) + "/>", "more than 100 attributes"),
            ("<a b='' c='' d=''/>" * 50_000, "more than 100,000 attributes"),
            ("<a/>" * 150_000, "more than 100,000 elements"),
            ("x" * 5_000_001, "more than 5,000,000 bytes"),
        ],
        ids=["attributes", "namespaces", "of all", "elements", "bytes"],
    )
    def test_floods_have_limits(self, tmp_path: Path, text: str, says: str) -> None:
        """S05 S13."""
        found = told(f"{FRONT}<workflow>\n{text}</workflow>", tmp_path / "x.flow.md")
        assert found[0] == "PARSE_XML_INVALID"
        assert says in found[3]

    def test_what_is_within_the_limits_is_read(self) -> None:
        """S13."""
        wide = "<a " + " ".join(f"a{at}=''" for at in range(MOST_ATTRIBUTES)) + "/>"
        read = source(f"{FRONT}<workflow>{wide}{'<b/>' * (MOST_ELEMENTS - 2)}</workflow>")
        assert len(read.root.children) == MOST_ELEMENTS - 1

    @pytest.mark.parametrize(
        "text",
        [
            "\n" * 4_900_000, "&" * 4_900_000, "< " * 2_400_000, "&a" * 2_400_000, "&lt;" * 1_200_000, " x\n" * 1_600_000, "<!---->" * 700_000,
            "<a b='" + "\n&lt;" * 900_000 + "'/>", "<a>x</a>" * 60_000, "&" + "a" * 4_900_000, "<![CDATA[" + "]]" * 2_400_000 + "]]>",
        ],
        ids=["lines", "ampersands", "less", "names", "references", "indented", "comments", "attribute", "elements", "name", "cdata"],
    )  # fmt: skip
    def test_large_files_are_read_soon(self, text: str) -> None:
        """S13."""
        text = f"{FRONT}<workflow>{text}</workflow>"
        began = time.process_time()
        read = source(text)
        if read.root.text is not None:
            for at in range(0, len(read.root.text.value), 500):
                read.root.text.place(at)
        assert time.process_time() - began < SECONDS

    @pytest.mark.parametrize(
        "text", ["<!--" * 1_000_000, "<!" * 2_000_000, "<a " * 1_000_000, "<a b='" * 700_000, "<a b= " * 700_000, "<a" + " " * 4_900_000, "</a " * 1_000_000, "&#" + "1" * 4_000_000 + ";"]
    )  # fmt: skip
    def test_what_is_never_closed_is_refused_soon(self, text: str) -> None:
        """S13."""
        assert told(f"{FRONT}<workflow>{text}")[0] == "PARSE_XML_INVALID"


# -- YAML in elements


def section(text: str) -> tuple[Tree, Problems]:
    whole = f"{FRONT}<workflow><request>{text}</request></workflow>"
    problems = Problems("x.flow.md")
    span = read_markup(Path("x.flow.md"), problems, whole).root.children[0].text
    assert span is not None
    return read_yaml(span, problems), problems


def scalars(tree: Tree) -> list[Scalar]:
    match tree:
        case Scalar():
            return [tree]
        case Sequence(items):
            return [each for item in items for each in scalars(item)]
        case Mapping(items):
            return [each for item in items.values() for each in scalars(item)]


class TestYaml:
    @pytest.mark.parametrize(
        ("text", "data"),
        [
            ("url: {{url}}", {"url": "{{url}}"}),
            ("\n  url: {{a}}\n  headers:\n    A: {{b}}\n    C: Bearer {{d}}\n", {"url": "{{a}}", "headers": {"A": "{{b}}", "C": "Bearer {{d}}"}}),
            ("url: https://x/{{a}}?b={{c}}&d={{e}}", {"url": "https://x/{{a}}?b={{c}}&d={{e}}"}),
            ("body: {a: {{x}}, b: \"{{y}} z\", 'c': [{{q}},{{r}}, 1]}", {"body": {"a": "{{x}}", "b": "{{y}} z", "c": ["{{q}}", "{{r}}", 1]}}),
            ('body: "{{ f("x: y", {a: {b: 1}}) }}"', {"body": '{{ f("x: y", {a: {b: 1}}) }}'}),
            ("a: {{ x # y }}", {"a": "{{ x # y }}"}),
            ("a: {{ '}}' }} # {{z}}", {"a": "{{ '}}' }}"}),
            ("a: |\n  x {{\n  y }} z\n  \\{{w}}\nb: >\n  {{c}}\n  {{d}}\n", {"a": "x {{\n  y }} z\n\\{{w}}\n", "b": "{{c}} {{d}}"}),
            ("a: \\{{x}}\nb: \"\\{{x}}\"\nc: \"\\\\{{x}}\"", {"a": "\\{{x}}", "b": "\\{{x}}", "c": "\\{{x}}"}),
            ("{{a}}: {{b}}", {"{{a}}": "{{b}}"}),
            ("a: &x {{b}}\nc: *x", {"a": "{{b}}", "c": "{{b}}"}),
            ("{{a}}", "{{a}}"),
            ("a: 1\nb: no\nc: 'x'\nd:\n  - e: {f: g}", {"a": 1, "b": "no", "c": "x", "d": [{"e": {"f": "g"}}]}),
            ("# nothing", None),
            ("a: <![CDATA[<b> & {{c < d}}]]> &lt;", {"a": "<b> & {{c < d}} <"}),
            ("a: \ue000 {{b}} \ue0000\ue000", {"a": "\ue000 {{b}} \ue0000\ue000"}),
            ("\n  a: {{b}}\n\n  c: 😀 {{d}} 😀\n", {"a": "{{b}}", "c": "😀 {{d}} 😀"}),
        ],
    )  # fmt: skip
    def test_templates_stand_wherever_a_text_may_each_with_its_place(self, text: str, data: Any) -> None:
        whole = f"{FRONT}<workflow><request>{text}</request></workflow>"
        lines = whole.splitlines()
        tree, problems = section(text)
        assert plain(tree) == data
        assert problems.found == []
        if "&" in text.replace("&d", ""):
            return
        for each in scalars(tree):
            if isinstance(each.value, str) and "\\" not in each.value:
                for offset, character in enumerate(each.value):
                    line, column = inside(each, offset, lines)
                    stands = lines[line - 1][column - 1 : column]
                    assert stands == character or character in "\n ", (each.value, offset, (line, column))

    def test_places_go_through_references_cdata_and_quotes(self) -> None:
        text = "\n  a: x &amp; {{ b }} &lt; {{c}}\n  d: \"e\\t{{f}} <![CDATA[{{ 'g' }}]]>\\n{{h}}\"\n"
        tree, _ = section(text)
        lines = f"{FRONT}<workflow><request>{text}".splitlines()
        for each in scalars(tree):
            assert isinstance(each.value, str)
            for name in set(each.value) & set("bcfghe"):
                line, column = inside(each, each.value.index(name), lines)
                assert lines[line - 1][column - 1] == name

    def test_the_end_of_a_text_that_ends_the_section_has_a_place(self) -> None:
        for text in (
            "\n  a: |\n    b {{c}}\n",
            "a: |+\n  b\n\n",
            "a: >\n  b\n",
            "a: b {{c}}",
            "a: 'b'",
            "a: |\n  b\n#",
            "a: |",
        ):
            (each,) = scalars(section(text)[0])
            place = inside(each, len(str(each.value)), [])
            assert START < place <= (4 + text.count("\n"), 40)

    @pytest.mark.parametrize(
        ("text", "at", "says"),
        [
            ("url: {{a", (4, 25), "`{{` is not closed"),
            ("\n  a: 1\n  b: [\n", (6, 7), "not YAML"),
            ("\n  a: {{x}}\n  b: {{y}}: z\n", (6, 11), "not YAML: mapping values are not allowed"),
            ("\n  a: {{x}}\n  a: 2\n", (6, 3), "key 'a' stands here twice; first in line 5"),
            ("\n  {{a}}: 1\n  {{a}}: 2\n", (6, 3), "key '{{a}}' stands here twice; first in line 5"),
            ("\n  a: &lt; &amp; !x\n  b: !!python/name:os.system 1\n", (6, 6), "os.system is not allowed"),
            ("\n  a: 1\n  1: 2\n", (6, 3), "a key must be text"),
            ("\n  a: 1\n  <![CDATA[<<]]>: {b: 1}\n", (6, 12), "merge keys"),
            ("\n  a: &#x7f;\n", (5, 6), "U+007F"),
            ("\n  a: &amp;b [*b]\n", (5, 6), "an alias stands inside what it names"),
            ("\n  x: " + "[" * 500, (5, 455), "nested deeper than 450 levels"),
            ("\n  a: 1\n  ---\n  b: 2\n", (6, 3), ""),
        ],
    )  # fmt: skip
    def test_what_is_no_yaml_is_told_where_it_stands_in_the_file(
        self, text: str, at: tuple[int, int], says: str
    ) -> None:
        """S06 S08 S09 S10."""
        with pytest.raises(FlowError) as caught:
            raise section(text)[1].error()
        problem = caught.value.problems[0]
        assert (problem.code, (problem.line, problem.column)) == ("PARSE_YAML_INVALID", at), str(problem)
        assert says in problem.message

    def test_many_templates_take_little_time(self) -> None:
        """S13."""
        for text in (
            "a: " + "{{b}} c " * 60_000,
            "a: '" + "{{b}}''" * 60_000 + "'",
            "- {{a}}\n" * 40_000,
            "a: |\n" + "  {{b}}\n" * 60_000,
        ):
            began = time.process_time()
            tree, _ = section(text)
            for each in scalars(tree)[:100]:
                assert isinstance(each.value, str)
                for at in range(0, len(each.value), max(len(each.value) // 100, 1)):
                    inside(each, at, [])
            assert time.process_time() - began < SECONDS
        with pytest.raises(FlowError, match="not closed"):
            section("{{ " * 1_000_000)
        with pytest.raises(FlowError, match="more than 100,000 templates"):
            section("{{}}" * 1_000_000)


# -- trees in all spellings

NAMES = st.sampled_from(["a", "b", "source:http", "c-d", "on-error", "_x", "é", "set", "workflow2"])
LETTERS = st.sampled_from("aab<&>  \n\n\t\"'{}]]é😀;#/!?-x0\x85\u2028\r=")
SPELLINGS = st.sampled_from(["itself"] * 6 + ["name", "decimal", "hexadecimal", "cdata"])
WRITTEN = st.lists(st.tuples(LETTERS, SPELLINGS), max_size=14)


def indented(lines: list[tuple[int, list[tuple[str, str]]]]) -> list[tuple[str, str]]:
    """Lines as people write them in an element: with white space in common."""
    return [each for more, line in lines for each in [("\n", "itself"), *[(" ", "itself")] * (2 + more), *line]]


INDENTED = st.lists(
    st.tuples(st.integers(0, 2), st.lists(st.tuples(LETTERS, SPELLINGS), max_size=4)), min_size=1, max_size=4
).map(indented)


class Tagged(NamedTuple):
    tag: str
    attributes: dict[str, list[tuple[str, str]]]
    content: list[Any]  # characters with their spellings, elements, None for a comment
    quote: str


def tagged(content: Any) -> Any:
    return st.builds(
        Tagged,
        NAMES,
        st.dictionaries(NAMES, WRITTEN, max_size=3),
        st.lists(st.one_of(WRITTEN, INDENTED, content, st.none()), max_size=4),
        st.sampled_from("\"'"),
    )


TREES = st.recursive(tagged(st.nothing()), tagged, max_leaves=6)
ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&quot;", "'": "&apos;"}
BAD_LESS = re.compile(r"[^\W\d]|[:/!?]")
BAD_AMPERSAND = re.compile(r"(#\d+|#x[0-9a-f]+|(?!\d)[\w:][\w:.-]*);")


class Printer:
    """A tree as text from the right to the left, so that what follows a character is known, and where each character went."""

    def __init__(self, end: str) -> None:
        self.end = end
        self.text = f"</workflow>{end}footer & < </a>"
        self.spots: list[tuple[list[list[Any]], int]] = []

    def put(self, text: str) -> int:
        """How far from the end of the file the text begins."""
        self.text = text + self.text
        return len(self.text)

    def letter(self, letter: str, spelling: str, quote: str) -> list[Any]:
        """Character, distance from the end, and whether it stands there as itself."""
        if letter == "\r":
            spelling = "decimal"
        if spelling == "itself":
            bad = (letter == "<" and BAD_LESS.match(self.text)) or (letter == "&" and BAD_AMPERSAND.match(self.text))
            if bad or letter == quote:
                spelling = "name"
        if spelling == "cdata" and quote:
            spelling = "hexadecimal"
        if spelling == "name" and letter not in ENTITIES:
            spelling = "decimal"
        if spelling == "itself":
            at = self.put(self.end if letter == "\n" else letter)
            return [" ", at, False] if quote and letter in "\n\t" else [letter, at, True]
        if spelling == "cdata":
            self.put("]]>")
            at = self.put(self.end if letter == "\n" else letter)
            self.put("<![CDATA[")
            return [letter, at, True]
        spelled = {
            "name": ENTITIES.get(letter, ""),
            "decimal": f"&#{ord(letter)};",
            "hexadecimal": f"&#x{ord(letter):x};",
        }
        return [letter, self.put(spelled[spelling]), False]

    def element(self, tree: Tagged) -> dict[str, Any]:
        texts: list[list[Any]] = []
        children = []
        if tree.content:
            self.put(f"</{tree.tag} >")
        for each in reversed(tree.content):
            if each is None:
                self.put("<!-- c -- & < <d> ]]> -->")
            elif isinstance(each, Tagged):
                children.append(self.element(each))
            else:
                texts.extend(self.letter(letter, spelling, "") for letter, spelling in reversed(each))
        self.put(">" if tree.content else "/>")
        attributes = {}
        for name, written in reversed(tree.attributes.items()):
            self.put(tree.quote)
            value = [self.letter(letter, spelling, tree.quote) for letter, spelling in reversed(written)][::-1]
            self.put(f" {self.end}{name} ={tree.quote}")
            attributes[name] = value
        at = self.put(f"<{tree.tag}")
        return {"tag": tree.tag, "attributes": attributes, "children": children[::-1], "text": texts[::-1], "at": at}


def dedented(letters: list[list[Any]]) -> list[list[Any]]:
    """As the language has it, letter by letter."""
    lines: list[list[list[Any]]] = [[]]
    for each in letters:
        lines[-1].append(each)
        if each[0] == "\n":
            lines.append([])
    written = ["".join(each[0] for each in line).rstrip("\n") for line in lines]
    indents = [line[: len(line) - len(line.lstrip(" \t"))] for line in written if line.strip(" \t")]
    margin = 0
    while indents and all(len(each) > margin and each[margin] == indents[0][margin] for each in indents):
        margin += 1
    kept = []
    for line, says in zip(lines, written):
        kept.extend(line[margin:] if says.strip(" \t") else line[len(says) :])
    while kept and kept[0][0] == "\n":
        del kept[0]
    while kept and kept[-1][0] in " \t\n":
        del kept[-1]
    return kept


@settings(max_examples=300, deadline=None)
@given(TREES, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_trees_in_all_spellings_are_read_as_they_are_with_the_place_of_every_character(
    tree: Tagged, end: str, marked: bool
) -> None:
    printer = Printer(end)
    model = printer.element(tree)
    printer.put(f"---{end}name: 😀{end}--- {end}<!-- -- -->{end} <workflow>")
    text = printer.text
    lines = text.splitlines()
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def at(distance: int) -> Place:
        offset = len(text) - distance
        line = max(number for number, start in enumerate(starts) if start <= offset)
        return Place(line + 1, offset - starts[line] + 1)

    def check_span(span: Span, letters: list[list[Any]]) -> None:
        assert span.value == "".join(each[0] for each in letters)
        for offset, (letter, distance, itself) in enumerate(letters):
            line, column = span.place(offset)
            assert (line, column) == at(distance)
            if itself and letter != "\n":
                assert (lines[line - 1] + "\u2028")[column - 1] in (letter, "\u2028")

    def check(element: Element, model: dict[str, Any]) -> None:
        assert (element.tag, element.at) == (model["tag"], at(model["at"]))
        assert set(element.attributes) == set(model["attributes"])
        for name, letters in model["attributes"].items():
            check_span(element.attributes[name].value, letters)
        letters = dedented(model["text"])
        assert (element.text is None) == (not letters)
        if element.text is not None:
            check_span(element.text, letters)
        assert len(element.children) == len(model["children"])
        for child, expected in zip(element.children, model["children"]):
            check(child, expected)

    read = source("\ufeff" * marked + text)
    check(read.root.children[0], model)
    assert text[read.footer :] == f"{end}footer & < </a>"
    # Where a parser of XML takes the text as it is, it reads the same.
    try:
        other = ET.fromstring(re.sub(r"<(/?)(\w+):", r"<\1\2.", text[text.index("<workflow>") : read.footer]))
    except ET.ParseError:
        return
    for mine, its in zip(elements(read.root), other.iter()):
        assert {name: each.value.value for name, each in mine.attributes.items()} == its.attrib


def elements(root: Element) -> list[Element]:
    return [root, *(each for child in root.children for each in elements(child))]


# -- mutated files

GOOD = """---
name: weather-digest
version: 1.0.0
secrets: [API_KEY]
config:
  limit: {type: number, default: 30}
---
<!-- what -- it does -->
<workflow>
  <source id="city-list" type="file"><path>./cities.csv</path></source>
  <foreach id='readings' collection="city-list" item="city" concurrency="4">
    <source:http id="now-at" when="a < b && c">
      <request>
        url: https://weather.example/v1/{{url_encode(city.name)}}
        headers: {A: {{x}}, B: "{{y}}"}
        text: |
          x {{ "}}" }} \\{{
      </request>
      <on-error><retry max="4"/><fallback node="unknown"/></on-error>
    </source:http>
  </foreach>
  <transform id="hot" type="filter"><condition>$item.temp >= 3 && a <= &#52; &lt; <![CDATA[<x> & </workflow>]]></condition></transform>
</workflow>
## Execution Log
"""
PIECES = ["<", ">", "&", "/", "!", "?", "'", '"', "=", "]]>", "<!--", "-->", "<![CDATA[", "{{", "}}", "---\n", "\n", "\r\n", "\t", "&lt;", "&#0;", "&x;", "<a>", "</a>", "<a b=", "\ue000", "😀", "\x00", "\ud800", "\u2028", "\ufeff", ": ", "- ", "*a ", "&a ", "!!x ", "[", "}", "|", "<<: ", "\\", "<!DOCTYPE x>", "<workflow>", "</workflow>"]  # fmt: skip


def mutated(rng: random.Random) -> str:
    text = GOOD
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at, length = rng.randrange(len(text) + 1), rng.choice((0, 0, 1, 2, 10, 100))
        match rng.randrange(3):
            case 0:
                text = text[:at] + rng.choice(PIECES) + text[at:]
            case 1:
                text = text[:at] + text[at + length :]
            case _:
                other = rng.randrange(len(text) + 1)
                text = text[:at] + text[other : other + length] + text[at:]
    return text.replace("\n", rng.choice(("\n", "\n", "\r\n")))


def test_of_mutated_files_each_is_read_or_refused_with_a_place() -> None:
    """S01 to S05, method 7: nothing but `FlowError` ever comes out."""
    rng = random.Random(20)
    accepted = refused = 0
    for _ in range(500):
        text = mutated(rng)
        problems = Problems("x.flow.md")
        began = time.process_time()
        try:
            read = read_markup(Path("x.flow.md"), problems, text)
            for element in elements(read.root):
                if element.tag == "request" and element.text is not None:
                    for each in scalars(read_yaml(element.text, problems)):
                        for offset in range(len(str(each.value)) + 1):
                            inside(each, offset, problems.lines)
                for span in (element.text, *(each.value for each in element.attributes.values())):
                    for offset in range(0 if span is None else len(span.value) + 1):
                        assert span is not None
                        line, column = span.place(offset)
                        assert 1 <= column <= len(problems.lines[line - 1]) + 1
            accepted += 1
        except FlowError as error:
            refused += 1
            lines = text.removeprefix("\ufeff").splitlines() or [""]
            for problem in error.problems:
                assert re.match(r"x\.flow\.md:\d+:\d+: error\[PARSE_[A-Z_]+\]: .", str(problem))
                assert problem.line <= len(lines) + 1
                assert problem.column <= len((*lines, "")[problem.line - 1]) + 1, (str(problem), text)
                assert all(line.isprintable() for line in problem.lines())
        assert time.process_time() - began < SECONDS
    assert min(accepted, refused) > 50, (accepted, refused)
