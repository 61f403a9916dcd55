"""`plait convert`: there and back, what cannot be said, and how files are written."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import plait
from flow_files import write
from plait._core.policy import Join, Policy
from plait.cli.commands import cli
from plait.errors import FlowError
from plait.expressions.formula import Formula
from plait.expressions.printing import to_text
from plait.flow import load
from plait.flow.convert.converting import convert
from plait.flow.convert.emitting import yaml_text
from plait.flow.problems import Problems
from plait.flow.tree import plain, read

OTHER = '<transform id="b" type="map"><expression>2</expression></transform>'
HEAD = "---\nname: made\nversion: 1.0.0\n---\n"


def script(folder: Path, body: str, front: str = "", name: str = "made.flow.md") -> Path:
    """A FlowScript file."""
    return write(folder, f"---\nname: made\nversion: 1.0.0\n{front}---\n<workflow>\n{body}\n</workflow>\n", name)


def model(data: Any) -> Any:
    """Checked values as plain data, without the places where they stand."""
    match data:
        case Formula():
            return to_text(data.tree)
        case Policy():
            retry = data.retry if data.retry.attempts > 1 else None
            join = Join.ALL_SUCCESS if data.join is Join.NONE_FAILED else data.join  # nothing is skipped in these
            return repr(data.but(join=join, retry=Policy().retry if retry is None else retry))
        case Mapping():
            return {key: model(each) for key, each in data.items()}
        case list() | tuple():
            return [model(each) for each in data]
    if dataclasses.is_dataclass(data):
        left_out = {"at", "files_at", "file", "layout", "path", "text", "said", "offset", "warnings", "footer", "rules"}
        names = [each.name for each in dataclasses.fields(data) if each.name not in left_out]
        found = {name: model(getattr(data, name)) for name in names}
        return {**found, "needs": sorted(found["needs"])} if "needs" in found else found
    return data if isinstance(data, (str, int, float, bool, type(None))) else repr(data)


def tasks_of(path: Path) -> Any:
    """The checked tasks of a file, and what it gives; needs are those of tasks beside."""
    file = load(path).file
    return json.loads(json.dumps(model({"tasks": file.tasks, "outputs": file.outputs, "inputs": file.inputs})))


# -- flows of the common ground


class Making:
    """Makes a YAML flow: every output is a number, or a list of numbers."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.names = [f"t{at}{('', '-x', '_y')[at % 3]}" for at in range(1000)]

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def number(self, most: int = 4) -> int:
        return int(self.draw(st.integers(0, most)))

    def value(self, seen: list[tuple[str, str]], item: str = "") -> str:
        """An expression that is a number."""
        parts = [str(self.number(9))]
        for path, kind in seen[-3:] if seen and self.number(2) else []:
            parts.append(f"tasks.{path}.output" if kind == "number" else f"sum(tasks.{path}.output)")
        if item:
            parts.append(item)
        if self.number(3) == 0:
            parts.append("inputs.n")
        shown = self.pick(" + ", " - ").join(parts)
        return self.pick(
            shown, f"({shown}) * 2", f"max([{shown}, 1])", f"map([{shown}], x => x + 1)[0]", f"{{k: {shown}}}.k",
            f"({shown} > 3 ? 1 : {shown})", f'len("a\\"{{b}}é<&") + {shown}',
        )  # fmt: skip

    def leaf(self, seen: list[tuple[str, str]], item: str) -> tuple[dict[str, Any], str]:
        lists = [path for path, kind in seen if kind == "list"]
        kind = self.number(5)
        if kind == 0 and lists:
            shown = {"node": "transform:map", "input": f"{{{{ tasks.{lists[-1]}.output }}}}"}
            return {**shown, "with": {"expression": "item * 2 + index"}}, "list"
        if kind == 1 and lists:
            shown = {"node": "transform:reduce", "input": f"{{{{ tasks.{lists[-1]}.output }}}}"}
            return {**shown, "with": {"initial": self.number(), "expression": "acc + item"}}, "number"
        if kind == 2:
            text = f'{{"n": {{{{ {self.value(seen, item)} }}}}, "t": "\\{{{{ <&>"}}'
            return {"node": "transform:template", "with": {"template": text, "format": "text"}}, "text"
        if kind == 3:
            name = self.names.pop(0)
            instead = {"node": "transform:map", "with": {"expression": self.value([], item)}}
            return {
                "node": "source:file",
                "with": {"path": "no/such.json"},
                "on_error": {"tasks": {name: instead}, "outputs": f"{{{{ tasks.{name}.output }}}}"},
            }, "number"
        found: dict[str, Any] = {"node": "transform:map", "with": {"expression": self.value(seen, item)}}
        if self.number(4) == 0:
            found["allow_failure"] = True
        return found, "number"

    def task(self, seen: list[tuple[str, str]], item: str, depth: int) -> tuple[dict[str, Any], str]:
        kind = self.number(8) if depth else 9
        last = "number"
        match kind:
            case 0:
                inner = self.group(seen, "item", depth - 1, in_order=True)
                width = {"width": self.number() + 1} if self.number(1) else {}
                return {"foreach": f"{{{{ range(0, {self.number(3)}) }}}}", **width, **inner}, "list"
            case 1:
                merge = self.pick(
                    {}, {"merge": "array"}, {"merge": "concat"}, {"merge": "{{ map(branches, x => x + 1) }}"}
                )
                branches = [self.group(seen, item, depth - 1, in_order=True) for _ in range(self.number(2) + 1)]
                named = [{"name": self.names.pop(0), **each} if self.number(2) == 0 else each for each in branches]
                return {"parallel": named, **merge}, "list"
            case 2:
                cases = [
                    {
                        "when": f"{{{{ {self.value(seen, item)} > {self.number(9)} }}}}",
                        **self.group(seen, item, depth - 1, in_order=True),
                    }
                    for _ in range(self.number(2) + 1)
                ]
                cases.append(self.group(seen, item, depth - 1, in_order=True))
                return {"switch": cases}, last
            case 3:
                inner = self.group(seen, "index", depth - 1, in_order=True)
                key = list(inner["tasks"])[-1]
                return {"loop": {"max": self.number() + 1, "until": f"{{{{ tasks.{key}.output > 3 }}}}"}, **inner}, last
            case 4:
                inner = self.group(seen, "index", depth - 1, in_order=True)
                return {"while": {"condition": f"{{{{ {self.number(9)} < 0 }}}}", "max": 3}, **inner}, last
            case 5:
                return self.group(seen, item, depth - 1, in_order=False), last
        return self.leaf(seen, item)

    def group(self, seen: list[tuple[str, str]], item: str, depth: int, *, in_order: bool) -> dict[str, Any]:
        """Tasks, the last of which gives a number, and what they give."""
        here = list(seen)
        tasks: dict[str, Any] = {}
        for number in range(self.number(2) + 1):
            name = self.names.pop(0)
            made, kind = self.task(here, item, depth)
            if number and in_order:
                made = {"needs": [list(tasks)[-1]], **made}
            tasks[name] = made
            if kind != "text":
                here.append((name, kind))
        name = self.names.pop(0)
        needs = {"needs": [list(tasks)[-1]]} if in_order else {}
        tasks[name] = {**needs, "node": "transform:map", "with": {"expression": self.value(here, item)}}
        return {"tasks": tasks, "outputs": f"{{{{ tasks.{name}.output }}}}"}


@st.composite
def flows(draw: Any) -> dict[str, Any]:
    making = Making(draw)
    head = {
        "name": "made",
        "inputs": {"n": {"type": "integer", "default": 2}},
        "max_concurrency": 3,
        "on_failure": "fail_fast",
    }
    return {**head, **making.group([], "", 2, in_order=False)}


class TestThereAndBack:
    @settings(max_examples=40, deadline=None)
    @given(data=flows())
    def test_a_file_that_is_converted_there_and_back_is_the_same(
        self, data: dict[str, Any], tmp_path_factory: Any
    ) -> None:
        """D12: the checked values of a YAML file, of the one made of its FlowScript, and the FlowScript of that again."""
        folder = tmp_path_factory.mktemp("back")
        first = write(folder, yaml_text(data), "first.yaml")
        there = convert(first)
        second = write(folder, there.text, "second.flow.md")
        back = convert(second)
        third = write(folder, back.text, "third.yaml")
        assert tasks_of(first) == tasks_of(third)
        again = write(folder, convert(third).text, "fourth.flow.md")
        assert again.read_text() == second.read_text()
        results = [plait.run(load(path), raise_on_failure=False) for path in (first, second)]
        assert results[0].value == results[1].value
        ends = [sorted(f"{key} {outcome.status}" for key, outcome in result.items()) for result in results]
        assert ends[0] == ends[1]

    def test_a_merge_knows_its_branches(self, tmp_path: Path) -> None:
        """D12: by the name that the other language has for them."""
        path = script(tmp_path, f'<parallel id="p" merge="length($branches)"><branch>{MAP}</branch></parallel>')
        there = write(tmp_path, convert(path).text)
        assert 'merge: "{{ length(branches) }}"' in there.read_text()
        assert 'merge="length($branches)"' in convert(there).text

    def test_what_stands_in_order_stays_in_order(self, tmp_path: Path) -> None:
        """D12: a node of a sequence needs the one before it, whether it names it or not."""
        path = script(tmp_path, f'<foreach id="f" collection="[1]">{MAP}{OTHER}</foreach>')
        there = write(tmp_path, convert(path).text)
        assert load(there).file.tasks["f"].body.tasks["b"].needs == ("a",)  # type: ignore[union-attr]

    @settings(max_examples=150, deadline=None)
    @given(
        data=st.dictionaries(
            st.text(min_size=1),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers(-(10**9), 10**9)
                | st.floats(-1e9, 1e9, allow_nan=False)
                | st.text(),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
                max_leaves=8,
            ),
            min_size=1,
            max_size=4,
        )
    )
    def test_data_that_is_written_as_yaml_is_read_as_the_same(
        self, data: dict[str, Any], tmp_path_factory: Any
    ) -> None:
        """D12: whatever stands in it."""
        path = tmp_path_factory.getbasetemp() / "data.yaml"
        text = yaml_text(data)
        if any(0xD800 <= ord(each) < 0xE000 for each in json.dumps(data, ensure_ascii=False)):
            return
        assert plain(read(path, Problems(str(path)), text)[0]) == data


def losses(path: Path, to: str = "") -> list[tuple[int, int, str, str]]:
    """What cannot be said: line, column, what, and what to do."""
    with pytest.raises(FlowError) as caught:
        convert(path, to)
    found = []
    for each in caught.value.problems:
        assert each.code == "convert", each  # type: ignore[attr-defined]
        assert each.hint, each  # type: ignore[attr-defined]
        found.append((each.line, each.column, each.message.partition(": ")[2], each.hint))  # type: ignore[attr-defined]
    return found


MAP = '<transform id="a" type="map"><expression>1</expression></transform>'

OF_SCRIPT = [
    ('<set var="v" value="1"/>', (6, 1), "a variable"),
    ('<context id="c"><set key="v" value="1"/></context>', (6, 1), "a variable"),
    (MAP + '\n<checkpoint id="ok" prompt="Good?"><action id="again" goto="a"/></checkpoint>', (7, 1), "a checkpoint"),
    ('<delay duration="5s"/>' + MAP, (6, 1), "a delay"),
    ('<loop id="l">' + MAP + '\n  <break when="a"/></loop>', (7, 3), "<break> and <continue>"),
    ('<transform id="a" type="map"><expression>b.status</expression></transform>' + MAP.replace('"a"', '"b"'), (6, 42), "status of a node"),
    ('<foreach id="o" collection="[1]" item="x">\n<foreach id="i" collection="[2]" item="y">\n  <transform id="a" type="map"><expression>x + y</expression></transform></foreach></foreach>',
     (8, 44), "'x', the item of an outer <foreach>"),
    ('<foreach id="o" collection="[1]" item="x">\n  <transform id="a" type="map" input="$config"><expression>item + x</expression></transform></foreach>',
     (7, 60), "'x', where 'item' is what the node itself goes over"),
    ('<loop id="l" max="2">\n<transform id="a" type="map"><expression>b</expression></transform>\n<transform id="b" type="map"><expression>1</expression></transform></loop>',
     (7, 42), "'b' of the round before"),
    ('<parallel id="p" wait="any"><branch>' + MAP + "</branch></parallel>", (6, 1), "`wait` of a <parallel>"),
    ('<loop id="l" max="{{$input.n}}">' + MAP + "</loop>", (6, 21), "max of 'l' is worked out"),
    ('<source id="a" type="http" url="http://x.example/y"><on-error><retry when="status == 429"/></on-error></source>',
     (6, 76), "for which failures 'a' is tried again"),
    ('<source id="a" type="http" url="http://x.example/y"><on-error><retry backoff="linear"/></on-error></source>', (6, 1), 'backoff="linear"'),
    ('<phase name="p">' + MAP + '<on-error><retry max="2"/></on-error></phase>', (6, 1), "a block that is tried again as a whole"),
    ('<transform id="a" type="map"><expression>$run.startedAt</expression></transform>', (6, 42), "$run but for its id and workflow"),
    ('<transform id="a" type="map"><expression>$env.HOME</expression></transform>', (6, 42), "$env"),
    ('<transform id="a" type="map"><expression>$input.x</expression></transform>', (6, 42), "$input without a name that stands in `input:`"),
    ('<transform id="a" type="filter"><condition>true</condition></transform>', (6, 1), "'a' takes what is around it for its input"),
    ('<if id="i" condition="true"><else>' + MAP + "</else></if>", (6, 1), "a side without nodes"),
    ('<parallel id="p" merge="{at: now(), of: $branches}"><branch>' + MAP + "</branch></parallel>", (6, 1), "a merge that asks for the time, or for chance"),
    ('<foreach id="f" collection="[1]" required="false">' + MAP + "</foreach>", (6, 1), "'f' may fail as a whole"),
]  # fmt: skip

NODE = "{node: transform:map, with: {expression: '1'}}"
LAST = 'outputs: "{{ tasks.a.output }}"'

OF_YAML = [
    ("tasks:\n  a: {run: echo}", (4, 3), "`run:`"),
    ("tasks:\n  a: {run: [echo]}", (4, 3), "`run:`"),
    ("tasks:\n  a: {call: m:f}", (4, 3), "`call:`"),
    ("tasks:\n  a: {ask: Good?}", (4, 3), "`ask:`"),
    ("tasks:\n  a: {http: 'http://x.example'}", (4, 3), "`http:`, whose options are others"),
    (f"tasks:\n  b: {NODE}\n  a: {{node: transform:map, when: '{{{{ tasks.b.output }}}}', with: {{expression: '1'}}}}", (5, 3), "`when` of 'a'"),
    (f"tasks:\n  b: {NODE}\n  a: {{node: transform:map, needs: [b], with: {{expression: '1'}}}}", (5, 3), "'a' needs b, which it does not name"),
    (f"tasks:\n  a: {NODE}\nfinally:\n  z: {NODE}", (5, 1), "`finally:`"),
    (f"pools: {{p: 1}}\ntasks:\n  a: {NODE}", (3, 1), "`pools:`"),
    (f"env: {{A: b}}\ntasks:\n  a: {NODE}", (3, 1), "`env:`"),
    ("tasks:\n  a: {node: transform:map, priority: high, with: {expression: '1'}}", (4, 3), "priority of 'a'"),
    ("tasks:\n  a: {node: transform:map, timeout: 5s, with: {expression: '1'}}", (4, 3), "a timeout of 'a'"),
    ("tasks:\n  a: {node: transform:map, retries: 2, with: {expression: '1'}}", (4, 3), "the retry of 'a'"),
    ("tasks:\n  a:\n    loop: 2\n    tasks: {b: {node: transform:map, with: {expression: previous}}}\n    outputs: '{{ tasks.b.output }}'",
     (6, 57), "`previous`"),
    (f"tasks:\n  a: {{tasks: {{b: {NODE}, c: {NODE}}}}}", (4, 3), "a group that gives something else than its last task"),
    (f"tasks:\n  a:\n    switch:\n      - tasks: {{b: {NODE}, c: {NODE}}}\n        outputs: '{{{{ tasks.c.output }}}}'",
     (6, 68), "tasks of a branch, case, item or round that run at once: 'c'"),
    ("tasks:\n  a: {matrix: {x: [1]}, tasks: {b: " + NODE + "}, outputs: '{{ tasks.b.output }}'}", (4, 3), "`matrix` of 'a'"),
    ("tasks:\n  a: {foreach: '{{ [1] }}', node: transform:map, with: {expression: '1'}}", (4, 3), "a foreach of something else than a group: 'a'"),
    (f"tasks:\n  b: {{tasks: {{a: {NODE}}}, outputs: '{{{{ tasks.a.output }}}}'}}\n  a: {NODE}", (5, 3), "'a' twice in one file"),
    (f"tasks:\n  a: {{node: transform:map, with: {{expression: '1'}}, on_error: {NODE}}}", (4, 3), "the on_error of 'a', which is no group of one task"),
    (f"tasks:\n  a.b: {NODE}\n  a: {NODE}", (4, 3), "the key 'a.b'"),
    (f"tasks:\n  item: {NODE}\n  a: {NODE}", (4, 3), "a task that is called 'item'"),
    (f"tasks:\n  b: {NODE}\n  a: {{node: transform:map, with: {{expression: tasks.b.status}}}}", (5, 47), "status of 'b'"),
]  # fmt: skip


class TestWhatCannotBeSaid:
    @pytest.mark.parametrize(("body", "at", "what"), OF_SCRIPT, ids=[each[2] for each in OF_SCRIPT])
    def test_of_flowscript_is_told_with_its_place_and_what_to_do(
        self, body: str, at: tuple[int, int], what: str, tmp_path: Path
    ) -> None:
        """D12: nothing is lost in silence."""
        found = losses(script(tmp_path, body))
        assert (*at, what) in [each[:3] for each in found]

    @pytest.mark.parametrize(("body", "at", "what"), OF_YAML, ids=[each[2] for each in OF_YAML])
    def test_of_yaml_is_told_with_its_place_and_what_to_do(
        self, body: str, at: tuple[int, int], what: str, tmp_path: Path
    ) -> None:
        """D12: nothing is lost in silence."""
        path = write(tmp_path, f"max_concurrency: 10\non_failure: fail_fast\n{body}\n{LAST}\n")
        assert (*at, what) in [each[:3] for each in losses(path)]

    def test_all_places_are_told_at_once(self, tmp_path: Path) -> None:
        """D12: every such place of a file."""
        path = write(tmp_path, "tasks:\n  a: {run: echo}\n  b: {call: m:f, critical: true}\n")
        assert [each[:2] for each in losses(path)] == [(1, 1), (1, 1), (1, 1), (2, 3), (3, 3), (3, 3)]

    def test_a_file_that_is_wrong_is_told_first(self, tmp_path: Path) -> None:
        """D12 D10: with its own problems."""
        with pytest.raises(FlowError, match="EXPR_UNDEFINED_VARIABLE"):
            convert(script(tmp_path, '<transform id="a" type="map"><expression>nobody</expression></transform>'))

    def test_a_server_that_only_an_input_names_stays_untrusted(self, tmp_path: Path) -> None:
        """D12 D11: what the configuration says is trusted in FlowScript; an input of YAML is not."""
        body = '<source id="a" type="http" url="{{$config.base}}/x"/>'
        path = script(tmp_path, body, "config: {base: {type: string, default: 'http://x.example'}}\n")
        assert "url leads where the configuration says" in losses(path)[0][2]


def test_secrets_go_there_and_back_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D12 D11: they are declared in both; their values are in neither, and are redacted in both."""
    monkeypatch.setenv("API_KEY", "s3cr3t-value-of-it")
    body = '<transform id="a" type="map"><expression>len($secrets.API_KEY)</expression></transform>'
    path = script(
        tmp_path,
        body + '\n<transform id="b" type="template"><template>{{$secrets.API_KEY}} {{a}}</template></transform>',
        "secrets: [API_KEY]\n",
    )
    there = write(tmp_path, convert(path).text)
    back = write(tmp_path, convert(there).text, "back.flow.md")
    assert "secrets: [API_KEY]" in there.read_text()
    assert "s3cr3t" not in there.read_text() + back.read_text()
    assert model(load(path).file.root) != []
    assert [plait.run(load(each)).value for each in (path, there, back)] == ["[REDACTED] 18"] * 3


class TestUnits:
    def test_a_flowscript_file_gets_the_unit_of_every_duration_and_nothing_else_changes(self, tmp_path: Path) -> None:
        """D12: bare numbers are milliseconds; comments stay, so do templates, other units and line ends."""
        text = (
            "---\r\nname: u  # kept\nversion: 1.0.0\nruntime: {timeout: 30000}\n---\n<!-- kept -->\n<workflow>\n"
            '  <timeout id="t" duration=" 5000 "><source id="a" type="http"><request>\n     url: http://x.example/1000\n     timeout: 2500\n'
            '  </request><on-error><retry max="2" base="10"/></on-error></source></timeout>\n'
            '  <source id="b" type="http" timeout="5s"><url>http://x.example</url></source>\n'
            '  <delay duration="1.5"/><delay duration="{{$run.id}}"/><delay duration="PT5S"/>\n</workflow>\n\n## Execution Log\n'
        )
        path = write(tmp_path, text, "u.flow.md")
        changed = text.replace("{timeout: 30000}", "{timeout: 30000ms}").replace('" 5000 "', '" 5000ms "')
        changed = (
            changed.replace("timeout: 2500", "timeout: 2500ms")
            .replace('base="10"', 'base="10ms"')
            .replace('"1.5"', '"1.5ms"')
        )
        made = convert(path, "flow.md").text
        assert made == changed
        assert len(load(path).warnings) == 5
        again = write(tmp_path, made.encode(), "v.flow.md")
        assert load(again).warnings == ()
        assert model(load(again).file.root) == model(load(path).file.root)
        assert convert(again, "flow.md").text == made

    def test_a_yaml_file_gets_the_unit_of_every_duration_and_nothing_else_changes(self, tmp_path: Path) -> None:
        """D12: bare numbers are seconds."""
        text = (
            "deadline: 600\ndefaults: {timeout: 30, grace: 1.5}\ninputs: {timeout: {default: '5'}}\ntasks:\n"
            "  a: {run: sleep 5, timeout: 20, retry: {attempts: 2, delay: 3, max_delay: 1m}}  # 7\n"
            "  b:\n    parallel:\n      - tasks: {c: {call: m:f, with: {timeout: 5}, budget: {seconds: 9, usd: 4}}}\n"
            "  d: {run: echo, timeout: null, on_error: {run: echo, idle_timeout: 4}}\n"
        )
        changed = text
        for old in ("600", "timeout: 30", "1.5", "20", "delay: 3", "seconds: 9", "idle_timeout: 4"):
            changed = changed.replace(old, f"{old}s")
        path = write(tmp_path, text)
        made = convert(path, "yaml").text
        assert made == changed
        again = write(tmp_path, made, "again.yaml")
        assert model(load(again).file.tasks) == model(load(path).file.tasks)

    def test_durations_of_the_other_language_have_units(self, tmp_path: Path) -> None:
        """D12: there the same number would be another time."""
        path = script(tmp_path, f'<timeout id="t" duration="90000">{MAP}</timeout>', "runtime: {timeout: 1500}\n")
        made = convert(path).text
        assert "deadline: 1500ms" in made.replace('"', "")
        assert "timeout: 90s" in made.replace('"', "")


def command(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["convert", *arguments], standalone_mode=False)


class TestTheCommand:
    def test_a_file_is_written_whole_and_is_never_overwritten_unasked(self, tmp_path: Path) -> None:
        """D12: OUT that is there already is left alone without --force."""
        path = script(tmp_path, MAP)
        out = tmp_path / "made.yaml"
        assert command(str(path), "-o", str(out)).exception is None
        assert load(out).file.name == "made"
        out.write_text("mine")
        refused = command(str(path), "-o", str(out))
        assert "is there already" in str(refused.exception)
        assert out.read_text() == "mine"
        command(str(path), "-o", str(out), "--force")
        assert "transform:map" in out.read_text()
        assert sorted(each.name for each in tmp_path.iterdir()) == ["made.flow.md", "made.yaml"]

    def test_nothing_is_written_where_something_cannot_be_said(self, tmp_path: Path) -> None:
        """D12: neither OUT nor a part of it."""
        path = script(tmp_path, '<set var="v" value="1"/>')
        found = command(str(path), "-o", str(tmp_path / "made.yaml"))
        assert isinstance(found.exception, FlowError)
        assert [each.name for each in tmp_path.iterdir()] == ["made.flow.md"]

    def test_the_name_of_out_says_the_language(self, tmp_path: Path) -> None:
        """D12: and `-o -` prints in the other one, or in that of --to."""
        path = script(tmp_path, MAP)
        assert "says no language" in str(command(str(path), "-o", str(tmp_path / "x.txt")).exception)
        assert "is a folder" in str(command(str(path), "-o", str(_folder(tmp_path / "d.yaml"))).exception)
        assert command(str(path), "-o", "-").output.count("node: transform:map") == 1
        assert "<workflow>" in command(str(path), "-o", "-", "--to", "flow.md").output
        assert "drop --to" in str(command(str(path), "-o", str(tmp_path / "x.yaml"), "--to", "flow.md").exception)

    def test_what_no_run_looks_at_is_told_once(self, tmp_path: Path) -> None:
        """D12: comments, names and triggers; the description goes along."""
        path = script(
            tmp_path, "<!-- one -->" + MAP.replace("id=", 'label="L" id=') + "<!-- two -->",
            "description: What it is for\ntrigger: manual\nconfig: {n: {type: number, default: 1, description: how many}}\n",
        )  # fmt: skip
        made = convert(path)
        assert made.text.startswith("# made 1.0.0\n# What it is for\n")
        assert 'description: "how many"' in made.text
        assert [each.partition(" ")[0] for each in made.notes] == ["comments", "trigger", "config", "names,"]
        back = convert(write(tmp_path, made.text))
        assert back.notes == ("comments are left out",)
        assert 'description: "how many"' in back.text


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
