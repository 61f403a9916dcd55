"""`plait graph` and `plait inspect` with every block: what is drawn, that Mermaid and Graphviz can read it, and that it ends."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import plait
from flow_files import write
from plait.cli import pictures
from plait.cli.inspecting import facts
from plait.cli.inspecting import text as facts_text
from plait.flow import load, outlines

BLOCKS = load(Path(__file__).parents[1] / "flows" / "blocks.yaml")

HOSTILE = [
    "end", "graph", "subgraph", "cluster", 'a"b', '"', "<b>x<b>", "&lt;", "&amp;quot;", "{x}", "(x)", "a|b", "a;b", "a --> b", "style x:y;\"",
    "classDef a:b%", "%%{init: {'theme': 'dark'}}%%", "`md`", "$$x$$", "日本語 ✓", "e\u0301\u00e9", "a'b", "a, b", "a=b", "...", "{{ x }}", "~~~", "@{ shape: x }",
    "a:::b", "click t0 b", "---",
]  # fmt: skip


def hostile(folder: Path) -> Any:
    """A flow of tasks with such names, each needed by the next, in the file, in a group, in cases and branches, and in conditions."""
    said = """{{ "a'b" == '"#quot;<x>[1] \\\\ `${1} %%{init: {}}%%' }}"""

    def chain() -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name in HOSTILE:
            made[name] = {"run": "echo", "needs": list(made)[-1:], "when": said}
        return made

    data = {
        "tasks": {
            **chain(),
            "group": {"tasks": chain()},
            "route": {"switch": [{"when": said, "tasks": chain()}, {"tasks": {"x": {"run": "x"}}}], "needs": ["group"]},
            "sides": {
                "parallel": [{"name": name, "tasks": {f"{at}": {"run": "x"}}} for at, name in enumerate(HOSTILE)]
            },
        }
    }
    return load(write(folder, json.dumps(data, ensure_ascii=False)))


# -- small grammars of what we write

_MERMAID_LABEL = r'"(?P<label>(?:[^"<>&%$`\\#]|#(?:quot|lt|gt|[0-9]+);)*)"'
_MERMAID = re.compile(
    rf"(?P<indent>(?:    )+)(?:(?P<end>end)|subgraph (?P<group>t[0-9]+)\[{_MERMAID_LABEL}\]"
    rf"|(?P<node>t[0-9]+)\[{_MERMAID_LABEL.replace('label', 'text')}\]|(?P<from>t[0-9]+) --> (?P<to>t[0-9]+))"
)
_DOT_TEXT = r'"(?:[^"\\]|\\.)*"'
_DOT = re.compile(
    rf"\s+(?:(?P<end>\}})|subgraph (?P<group>{_DOT_TEXT}) \{{|label=(?P<label>{_DOT_TEXT});"
    rf"|(?P<node>{_DOT_TEXT}) \[label=(?P<text>{_DOT_TEXT})\];"
    rf"|(?P<from>{_DOT_TEXT}) -> (?P<to>{_DOT_TEXT})(?: \[(?:ltail=(?P<tail>{_DOT_TEXT}))?(?:, )?(?:lhead=(?P<head>{_DOT_TEXT}))?\])?;)"
)


def parsed(lines: Iterator[str], grammar: re.Pattern[str]) -> dict[str, Any]:
    """Nodes and groups with their labels and the group around them, and edges; an assertion where a line is none of these."""
    found: dict[str, Any] = {"nodes": {}, "groups": {}, "edges": []}
    around: list[str] = []
    for line in lines:
        match = grammar.fullmatch(line)
        assert match is not None, line
        each = match.groupdict()
        if each["end"]:
            around.pop()
        elif each["group"]:
            assert each["group"] not in found["groups"], line
            found["groups"][each["group"]] = (each["label"], tuple(around))
            around.append(each["group"])
        elif each["label"]:
            found["groups"][around[-1]] = (each["label"], found["groups"][around[-1]][1])
        elif each["node"]:
            assert each["node"] not in found["nodes"], line
            found["nodes"][each["node"]] = (each["text"], tuple(around))
        elif each["from"]:
            found["edges"].append((each["from"], each["to"], each.get("tail"), each.get("head"), tuple(around)))
    assert around == []
    for start, end, tail, head, _ in found["edges"]:
        assert {start, end} <= found["nodes"].keys() | found["groups"].keys()
        assert {each for each in (tail, head) if each} <= found["groups"].keys()
    return found


def of_mermaid(target: Any) -> dict[str, Any]:
    lines = pictures.mermaid(target)
    assert next(lines) == "flowchart LR"
    return parsed(lines, _MERMAID)


def of_dot(target: Any) -> dict[str, Any]:
    first, second, *lines, last = pictures.dot(target)
    assert (first, second, last) == ("digraph plait {", "    rankdir=LR; compound=true; node [shape=box];", "}")
    return parsed(iter(lines), _DOT)


def plain(label: str) -> str:
    """A label of Mermaid as it is shown."""
    return re.sub(
        r"#(\w+);",
        lambda found: {"quot": '"', "lt": "<", "gt": ">"}.get(found[1]) or chr(int(found[1])),
        label,
    )


class TestText:
    def test_every_block_is_drawn_with_what_decides_it(self) -> None:
        assert list(pictures.text(BLOCKS)) == [
            "first (call)",
            "group (group)  <- first",
            "    a (call)",
            "    b (call)  <- a",
            "    tidy (finally call)",
            "each (foreach group, over {{ map(range(0, 2), x => x + random_int(5, 5)) }})",
            "    one (call)",
            "    two (call)  <- one",
            'grid (matrix call, over {"x": [1, 2], "y": ["a"], "include": [{"x": 3}], "ex...)',
            "sides (parallel)  <- first",
            "    [0] (branch)",
            "        left (call)",
            "    [right] (branch)",
            "        right (call)",
            "        more (call)  <- right",
            "route (switch)  <- sides, first",
            "    case 1 (when {{ tasks.first.output == '' }})",
            "        wrong (call)",
            "    case 2 (when {{ random_int(1, 1) == inputs.top - 1 }})",
            "        taken (call)",
            "        after (call)  <- taken",
            "    case 3 (otherwise)",
            "        other (call)",
            "loop (loop, at most 5 rounds, until {{ tasks.n.output >= inputs.top }})",
            "    n (call)",
            "    m (call)  <- n",
            "while (while {{ (tasks.n.output ?? 0) < inputs.top }}, at most 1...)",
            "    n (call)",
            "never (while {{ false }}, at most 1000 rounds)",
            "    n (call)",
            "inner (flow inner.yaml)  <- loop",
            "    each (foreach call, over {{ inputs.words }})",
            "    last (call)  <- each",
            "mended (group)",
            "    bad (call)",
            "    on_error (switch)",
            "        case 1 (otherwise)",
            "            good (call)",
            "nest (switch)",
            "    case 1 (otherwise)",
            "        turn (loop, 2 rounds)",
            "            each (foreach parallel, over [1, 2])",
            "                [0] (branch)",
            "                    l (call)",
            "                [1] (branch)",
            "                    r (call)",
        ]

    def test_requests_and_conditions_are_told(self, tmp_path: Path) -> None:
        flow = load(
            write(
                tmp_path,
                "tasks:\n  a: {http: {url: 'http://localhost/{{ 1 }}', method: post}}\n  b: {run: x, when: '{{ tasks.a.output }}'}\n"
                "  c: {matrix: {os: [x]}, when: false, http: 'http://localhost'}\n",
            )
        )
        assert list(pictures.text(flow)) == [
            "a (http POST http://localhost/{{ 1 }})",
            "b (run, when {{ tasks.a.output }})  <- a",
            'c (matrix http GET http://localhost, over {"os": ["x"]}, when false)',
        ]


class TestMermaid:
    def test_tasks_within_tasks_are_joined_where_they_stand_and_named_once(self) -> None:
        found = of_mermaid(BLOCKS)
        labels = {name: label for name, (label, _) in {**found["nodes"], **found["groups"]}.items()}
        edges = {(labels[start].partition(":")[0], labels[end].partition(":")[0]) for start, end, *_ in found["edges"]}
        assert edges == {
            ("a", "b"), ("one", "two"), ("right", "more"), ("taken", "after"), ("n", "m"), ("each", "last"),
            ("first", "group"), ("first", "sides"), ("sides", "route"), ("first", "route"), ("loop", "inner"),
        }  # fmt: skip
        for start, end, _, _, around in found["edges"]:
            places = {**found["nodes"], **found["groups"]}
            assert places[start][1] == places[end][1] == around
        assert Counter(label for label, _ in found["nodes"].values())["n"] == 3
        assert "loop: loop, at most 5 rounds, until {{ tasks.n.output #gt;= inputs.top }}" in labels.values()
        assert "case 1: when {{ tasks.first.output == '' }}" in labels.values()

    def test_no_name_and_no_text_ends_a_label_or_is_more_than_text(self, tmp_path: Path) -> None:
        """S28: quotes, markup, entities, formulas, and directives, which Mermaid looks for anywhere."""
        flow = hostile(tmp_path)
        found = of_mermaid(flow)
        shown = [plain(label) for label, _ in found["nodes"].values()]
        for name in HOSTILE:
            assert len([each for each in shown if each.startswith(f"{name}: run, when {{{{ ")]) == 3, name
        case = next(plain(label) for label, _ in found["groups"].values() if "case 1" in label)
        assert case.endswith("""'"#quot;<x>[1] \\\\ `${1} %%{init: {}}%%' }}""")
        for label in [*found["nodes"].values(), *found["groups"].values()]:
            assert not re.search(r"style.*:\S*#.*;", label[0])
            assert "%%" not in label[0]


class TestDot:
    def test_tasks_with_others_in_them_are_clusters_and_arrows_end_at_their_edges(self) -> None:
        found = of_dot(BLOCKS)
        assert ('"first"', '"group/a"', None, '"cluster/group"', ()) in found["edges"]
        assert ('"sides/[right]/more"', '"route/case 1/wrong"', '"cluster/sides"', '"cluster/route"', ()) in found[
            "edges"
        ]
        assert ('"loop/m"', '"inner/each"', '"cluster/loop"', '"cluster/inner"', ()) in found["edges"]
        assert '"nest/case 1/turn/each/[1]/r"' in found["nodes"]
        assert len(found["nodes"]) == 24
        assert len(found["edges"]) == 11

    def test_no_name_and_no_text_ends_a_text_or_is_an_escape(self, tmp_path: Path) -> None:
        """S28."""
        flow = hostile(tmp_path)
        found = of_dot(flow)
        assert len(found["nodes"]) == 4 * len(HOSTILE) + 1
        assert '"a\\"b"' in found["nodes"]
        for label in [*found["nodes"].values(), *found["groups"].values()]:
            assert not re.search(r"&(?!amp;)", label[0])
            assert not re.search(r"(?<!\\)(?:\\\\)*\\[^\\\"]", label[0])


class TestJson:
    def test_programs_get_what_decides_each_block(self) -> None:
        found = {each["key"]: each for each in json.loads("\n".join(pictures.as_json(BLOCKS)))}
        assert found["first"] == {"key": "first", "kind": "call", "needs": [], "does": "block_steps:made"}
        assert found["group"]["tasks"][2]["finally"] is True
        assert found["grid"]["matrix"]["include"] == [{"x": 3}]
        assert found["each"]["foreach"] == "{{ map(range(0, 2), x => x + random_int(5, 5)) }}"
        assert [(each["kind"], each.get("when")) for each in found["route"]["tasks"]] == [
            ("case", "{{ tasks.first.output == '' }}"),
            ("case", "{{ random_int(1, 1) == inputs.top - 1 }}"),
            ("case", None),
        ]
        assert (found["loop"]["max"], found["loop"]["until"]) == (5, "{{ tasks.n.output >= inputs.top }}")
        assert (found["while"]["kind"], found["while"]["while"]) == (
            "while",
            "{{ (tasks.n.output ?? 0) < inputs.top }}",
        )
        assert (found["inner"]["kind"], found["inner"]["does"]) == ("flow", "inner.yaml")
        assert [each["key"] for each in found["inner"]["tasks"]] == ["each", "last"]
        assert found["mended"]["tasks"][1]["key"] == "on_error"


class TestInspect:
    def test_the_facts_have_branches_cases_rounds_and_the_tasks_of_other_files(self) -> None:
        found = {each["key"]: each for each in facts(BLOCKS, "blocks.yaml")["tasks"]}
        assert [(each["name"], [task["key"] for task in each["tasks"]]) for each in found["sides"]["branches"]] == [
            ("0", ["left"]),
            ("right", ["right", "more"]),
        ]
        assert [each.get("when") for each in found["route"]["cases"]][2] is None
        assert found["route"]["cases"][1]["tasks"][1]["needs"] == ["taken"]
        assert found["loop"]["loop"] == {"max": 5, "until": "{{ tasks.n.output >= inputs.top }}"}
        assert [found[key]["kind"] for key in ("loop", "while", "inner", "grid")] == ["loop", "while", "flow", "call"]
        assert found["grid"]["matrix"]["y"] == ["a"]
        assert found["inner"]["does"] == "inner.yaml"
        assert found["inner"]["tasks"][0]["foreach"] == "{{ inputs.words }}"
        assert found["mended"]["on_error"]["cases"][0]["tasks"][0]["key"] == "good"
        assert found["group"]["finally"][0]["key"] == "tidy"

    def test_the_text_has_them_too(self, tmp_path: Path) -> None:
        write(tmp_path, "defaults: {timeout: 9s}\ntasks: {i: {run: echo}}", "inner.yaml")
        flow = load(
            write(
                tmp_path,
                """
                defaults: {timeout: 5s}
                tasks:
                  post: {http: {url: http://localhost, method: post, body: {a: 1}}}
                  grid: {matrix: {os: [a, b]}, run: echo}
                  sides: {parallel: [{tasks: {l: {run: echo}}, finally: {f: {run: echo}}}, {name: right, tasks: {r: {run: echo}}}], min_success: 1}
                  route: {switch: [{when: "{{ true }}", tasks: {x: {run: echo}}}, {tasks: {y: {run: echo}}}]}
                  turn: {loop: {max: 2, until: "{{ true }}"}, tasks: {n: {run: echo}}}
                  wait: {while: "{{ false }}", tasks: {n: {run: echo}}}
                  other: {flow: inner.yaml}
                """,
            )
        )
        told = list(facts_text(facts(flow, "flow.yaml")))
        assert told[told.index("tasks") :] == [
            "tasks",
            "  post: http POST http://localhost",
            '        body: {"a": 1}',
            "        timeout: 5s",
            "  grid: run echo",
            '        matrix os: ["a", "b"]',
            "        timeout: 5s",
            "  sides: parallel of 2",
            "        min_success: 1",
            "      [0]",
            "        l: run echo",
            "              timeout: 5s",
            "        finally",
            "        f: run echo",
            "              timeout: 5s",
            "      [right]",
            "        r: run echo",
            "              timeout: 5s",
            "  route: switch of 2",
            "      case 1: when {{ true }}",
            "        x: run echo",
            "              timeout: 5s",
            "      case 2: otherwise",
            "        y: run echo",
            "              timeout: 5s",
            "  turn: loop of 1",
            "        loop max: 2, until: {{ true }}",
            "      n: run echo",
            "            timeout: 5s",
            "  wait: while of 1",
            "        while {{ false }}",
            "      n: run echo",
            "            timeout: 5s",
            "  other: flow inner.yaml",
            "      i: run echo",
            "            timeout: 9s",
        ]


class TestBounds:
    @pytest.fixture
    def many(self, tmp_path: Path) -> Any:
        """Twenty files, each of which names the next one three times."""
        write(tmp_path, "tasks: {a: {run: echo}}", "f7.yaml")
        for at in range(7):
            each = ", ".join(f"t{number}: {{flow: f{at + 1}.yaml}}" for number in range(3))
            write(tmp_path, f"tasks: {{{each}}}", f"f{at}.yaml")
        return load(tmp_path / "f0.yaml")

    def test_a_file_that_is_named_again_and_again_is_not_drawn_for_ever(self, many: Any) -> None:
        """S13."""
        for form in pictures.FORMS.values():
            assert sum(len(line.splitlines()) for line in form(many)) < 20 * outlines.MOST_DRAWN
        assert of_dot(many)["nodes"]
        assert of_mermaid(many)["nodes"]
        told = list(facts_text(facts(many, "f0.yaml")))
        assert len(told) < 4 * outlines.MOST_DRAWN
        assert any(line.strip() == "..." for line in told)

    def test_a_hundred_groups_in_one_another_are_drawn(self, tmp_path: Path) -> None:
        """S13."""
        text = "tasks: " + "{g: {tasks: " * 98 + "{a: {run: echo}}" + "}}" * 98
        flow = load(write(tmp_path, text))
        assert len(list(pictures.text(flow))) == 99
        assert len(of_dot(flow)["groups"]) == 98
        assert len(of_mermaid(flow)["groups"]) == 98
        assert facts(flow, "x")["tasks"][0]["kind"] == "group"


def test_a_graph_of_python_is_drawn(tmp_path: Path) -> None:
    graph = plait.Graph("g")
    a = graph.add("end", abs, args=(1,))
    graph.add('b"', abs, args=(a,), on_error=abs)
    graph.add("last", abs, args=(1,), finally_=True)
    assert list(pictures.text(graph)) == ["end", 'b"  <- end', "    on_error", "last (finally task)"]
    assert len(of_mermaid(graph)["edges"]) == len(of_dot(graph)["edges"]) == 1
