"""Whole FlowScript files that are after what is not theirs, run by the command line: S13 to S50, and files and data that are wrong."""

from __future__ import annotations

import gzip
import html
import json
import os
import sqlite3
import subprocess
import sys
import urllib.parse
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import plait
import plait.flow.work as compiling
from answering_server import Server, answer, data
from flow_files import write
from model_server import ModelServer, completion
from plait.flow import load

NAME = "flow.flow.md"
SECRET = "s3cr3t/v+lue'\"&<x-hunter2"
ENV = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}

pytestmark = pytest.mark.realtime


@pytest.fixture
def models() -> Iterator[ModelServer]:
    """A server that answers as a provider of models does."""
    found = ModelServer()
    yield found
    found.close()


def script(body: str, front: str = "") -> str:
    """A whole file, whose body begins in line 6 where nothing more stands in front."""
    return f"---\nname: evil\nversion: 1.0\n{front}---\n<workflow>\n{body}\n</workflow>\n"


def cli(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    """What a command says; none ends in a traceback."""
    command = [sys.executable, "-m", "plait", *words]
    done = subprocess.run(
        command, cwd=folder, env={**ENV, **env}, capture_output=True, timeout=60, stdin=subprocess.DEVNULL
    )
    assert b"Traceback" not in done.stderr + done.stdout, done.stderr.decode()
    return done


def ran(folder: Path, text: str, *words: str, code: int = 0, **env: str) -> dict[str, Any]:
    """What became of a file."""
    write(folder, text, NAME)
    done = cli(folder, "run", NAME, "--json", *words, **env)
    assert done.returncode == code, (done.returncode, done.stderr.decode()[-2000:], done.stdout.decode()[-2000:])
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def values(found: dict[str, Any]) -> dict[str, Any]:
    """What each node gave."""
    return {key: each.get("value") for key, each in found["tasks"].items()}


# -- S13


class TestFloods:
    def test_more_items_than_a_foreach_may_have_are_refused_and_eat_no_memory(self, tmp_path: Path) -> None:
        """S13: a million of a million."""
        text = script(
            '<set var="many" value="{{range(0, 90000)}}"/>'
            '<foreach id="f" collection="map([many, many, many], x =&gt; x)"><foreach id="g" collection="concat(many, many)">'
            '<set var="x" value="1"/></foreach></foreach>'
        )
        write(tmp_path, text, NAME)
        program = (
            "import resource, subprocess, sys\n"
            "done = subprocess.run([sys.executable, '-m', 'plait', 'run', 'flow.flow.md'], capture_output=True, text=True)\n"
            "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)\n"
            "print(done.stderr + done.stdout)"
        )
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=ENV, capture_output=True, text=True, timeout=60)  # fmt: skip
        code, megabytes = map(int, done.stdout.splitlines()[0].split())
        assert code == 1
        assert "was given 180,000 items; at most 100,000 are allowed" in done.stdout
        assert megabytes < 256

    def test_a_foreach_in_a_foreach_ends_at_a_number_of_tasks_of_the_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """S13: that number is for all of them together."""
        monkeypatch.setattr(compiling, "MOST_TASKS", 40)
        text = script('<foreach id="f" collection="range(0, 5)"><foreach id="g" collection="range(0, 5)"><set var="x" value="1"/></foreach></foreach>')  # fmt: skip
        result = plait.run(load(write(tmp_path, text, NAME)), raise_on_failure=False)
        assert len(result) <= 40
        assert "at most 40 are allowed" in str(result.first_cause)
        fewer = load(write(tmp_path, text.replace("0, 5", "0, 2"), NAME))
        assert plait.run(fewer).status == "succeeded"


# -- S14 S15 S27


VALUES = ["; touch CANARY", "$(touch CANARY)", "`touch CANARY`", "x\ntouch CANARY", "-rf", "| touch CANARY", "'; DROP TABLE t; --"]  # fmt: skip


def test_no_value_reaches_a_shell_or_a_statement(tmp_path: Path) -> None:
    """S14 S15: nothing here runs a command; values go as values, into files, statements, templates and paths."""
    with sqlite3.connect(tmp_path / "a.db") as base:
        base.execute("CREATE TABLE t (v TEXT)")
    found = ran(
        tmp_path,
        script(
            """
<foreach id="f" collection="$input.items">
  <source id="said" type="database"><connection>a.db</connection><query>SELECT ? AS v</query><params>["{{item}}"]</params></source>
  <transform id="text" type="template" format="text"><template>{{item}}</template></transform>
  <sink id="kept" type="file" input="item" format="json"><path>out/{{$index}}.json</path></sink>
  <transform id="rows" type="map"><expression>[{v: item}]</expression></transform>
  <sink id="written" type="database" input="rows"><connection>a.db</connection><table>t</table></sink>
  <transform id="both" type="map"><expression>[said[0].v, text.output]</expression></transform>
</foreach>""",
            "input: {items: 'string[]'}\n",
        ).replace('["{{item}}"]', "{{[item]}}"),
        "-i",
        f"items={json.dumps(VALUES)}",
    )
    assert values(found)["f"] == [[each, each] for each in VALUES]
    assert [json.loads((tmp_path / f"out/{at}.json").read_text()) for at in range(len(VALUES))] == VALUES
    with sqlite3.connect(tmp_path / "a.db") as base:
        assert sorted(row[0] for row in base.execute("SELECT v FROM t")) == sorted(VALUES)
    assert not list(tmp_path.rglob("CANARY"))


@pytest.mark.parametrize("name", ["t; DROP TABLE t", 't" (v) VALUES (1); --', "sqlite_master", "../t", ""])
def test_the_name_of_a_table_is_a_name(tmp_path: Path, name: str) -> None:
    """S14: whoever says it."""
    with sqlite3.connect(tmp_path / "a.db") as base:
        base.execute("CREATE TABLE t (v TEXT)")
    text = script(
        '<transform id="rows" type="map"><expression>[{v: 1}]</expression></transform>'
        '<sink id="s" type="database" input="rows"><connection>a.db</connection><table>{{JSON.parse($input.t)}}</table></sink>'
    )
    found = ran(tmp_path, text, "-i", f"t={json.dumps(name)}", code=1)
    assert found["tasks"]["s"]["status"] == "failed"
    with sqlite3.connect(tmp_path / "a.db") as base:
        assert base.execute("SELECT count(*) FROM t").fetchone() == (0,)


# -- S16 S17


PLACES = {
    "condition": '<if id="p" condition="EXPR"><then><set var="x" value="1"/></then></if>',
    "collection": '<foreach id="p" collection="EXPR"><set var="x" value="1"/></foreach>',
    "break": '<loop id="p" max="2" break="EXPR"><set var="x" value="1"/></loop>',
    "when": '<foreach id="p" collection="[1]"><break when="EXPR"/><set var="x" value="1"/></foreach>',
    "case": '<branch id="p"><case when="EXPR"><set var="x" value="1"/></case></branch>',
    "merge": '<parallel id="p" merge="EXPR"><branch><set var="x" value="1"/></branch></parallel>',
    "value": '<set id="p" var="x" value="{{EXPR}}"/>',
    "duration": '<delay id="p" duration="{{EXPR}}"/>',
    "limit": '<loop id="p" max="{{EXPR}}"><set var="x" value="1"/></loop>',
    "prompt": '<checkpoint id="p" prompt="{{EXPR}}" default="approve"/>',
    "expression": '<transform id="p" type="map"><expression>EXPR</expression></transform>',
    "filter": '<transform id="p" type="filter"><condition>EXPR</condition></transform>',
    "template": '<transform id="p" type="template"><template>a {{EXPR}} b</template></transform>',
    "YAML": '<source id="p" type="http"><request>\nurl: http://127.0.0.1:9/\nheaders:\n  A: "{{EXPR}}"\n</request></source>',
    "retry": '<source id="p" type="file" path="x"><on-error><retry when="EXPR"/></on-error></source>',
    "fallback": '<source id="p" type="file" path="x"><on-error><fallback node="q" when="EXPR"/></on-error></source><set id="q" var="x" value="1"/>',
    "argument": '<call id="p" workflow="inner.flow.md" words="{{EXPR}}"/>',
    "path": '<source id="p" type="file"><path>{{EXPR}}</path></source>',
}  # fmt: skip
"""Everywhere an expression may stand."""

INNER = script('<transform id="a" type="map"><expression>words</expression></transform>')


class TestExpressions:
    @pytest.mark.parametrize("place", PLACES)
    def test_nothing_but_data_and_listed_functions_is_within_reach(self, tmp_path: Path, place: str) -> None:
        """S16: at the place where it is written, with a code."""
        write(tmp_path, INNER, "inner.flow.md")
        for expression, code, at in (
            ("''.__class__.__mro__", "EXPR_BLOCKED_ACCESS", "__class__"),
            ("[].constructor", "EXPR_BLOCKED_ACCESS", "constructor"),
            ("__import__('os')", "EXPR_BLOCKED_ACCESS", "__import__"),
            ("eval('1')", "EXPR_UNDEFINED_FUNCTION", "eval"),
            ("[1].prototype", "EXPR_BLOCKED_ACCESS", "prototype"),
            ("[][['__class__'][0]] + open('x')", "EXPR_UNDEFINED_FUNCTION", "open"),
        ):
            text = script(PLACES[place].replace("EXPR", expression))
            done = cli(write(tmp_path, text, NAME).parent, "validate", NAME)
            assert done.returncode == 2, (expression, done.stdout)
            line = next(line for line in done.stderr.decode().splitlines() if f"error[{code}" in line)
            _, row, column, _ = line.split(":", 3)
            assert text.split("\n")[int(row) - 1][int(column) - 1 :].startswith(at), line

    @pytest.mark.parametrize("place", ["condition", "value", "expression", "template", "YAML", "merge", "path"])
    def test_what_costs_too_much_is_stopped(self, tmp_path: Path, place: str) -> None:
        """S17: by steps, by size, by depth; and with a reason."""
        for expression, says in (
            ("repeat('x', 10000000000)", "repeat"),
            (
                "reduce(range(0, 90000), (a, b) => reduce(range(0, 90000), (c, d) => c + d, 0), 0) > 0",
                "1,000,000 steps",
            ),
            ("split(repeat('x', 900000), '').x", ""),
            ("test(repeat('a', 60) + '!', '(a+)+$')", ""),
        ):
            text = script(PLACES[place].replace("EXPR", expression.replace("=>", "=&gt;")))
            write(tmp_path, text, NAME)
            done = cli(tmp_path, "run", NAME)
            assert done.returncode in (0, 1), done.stderr
            assert not says or says in (done.stdout + done.stderr).decode(), (done.stdout, done.stderr)
        for expression in ("(" * 400 + "1" + ")" * 400, " + ".join(["1"] * 9000)):
            write(tmp_path, script(PLACES[place].replace("EXPR", expression)), NAME)
            done = cli(tmp_path, "run", NAME)
            assert done.returncode == 2
            assert b"error[EXPR_PARSE_ERROR]" in done.stderr


# -- S18


class TestNothingIsImported:
    @pytest.fixture
    def installed(self, tmp_path: Path) -> Path:
        """A folder with an installed package that has a type of node, and sings where it is imported."""
        packages = tmp_path / "packages"
        (packages / "evil-1.0.dist-info").mkdir(parents=True)
        write(packages / "evil-1.0.dist-info", "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n", "METADATA")
        write(packages / "evil-1.0.dist-info", "[plait.nodes]\ntransform:evil = evil_of_plait:Evil\n", "entry_points.txt")  # fmt: skip
        write(
            packages,
            "import plait.nodes\nopen('IMPORTED', 'w')\nclass Evil(plait.nodes.Node):\n    async def run(self, given, at): return given\n",
            "evil_of_plait.py",
        )
        text = (
            '<transform id="t" type="evil" x="1"/><foreach id="f" collection="[1]"><transform:evil id="u"/></foreach>'
        )
        write(tmp_path, script(text), NAME)
        return packages

    @pytest.mark.parametrize(
        "words",
        [
            ("validate",), ("validate", "--json"), ("validate", "--strict"), ("graph",), ("graph", "--format", "mermaid"), ("graph", "--format", "dot"),
            ("graph", "--format", "json"), ("inspect",), ("inspect", "--json"), ("simulate",),
        ],
        ids=" ".join,
    )  # fmt: skip
    def test_to_look_at_a_file(self, tmp_path: Path, installed: Path, words: tuple[str, ...]) -> None:
        """S18: types of nodes are known by name."""
        done = cli(tmp_path, *words, NAME, PYTHONPATH=f"{ENV.get('PYTHONPATH', '')}{os.pathsep}{installed}")
        assert done.returncode == (1 if words == ("simulate",) else 0), done.stderr.decode()
        assert not (tmp_path / "IMPORTED").exists()

    def test_but_a_run_imports_them(self, tmp_path: Path, installed: Path) -> None:
        """S18: so the canary sings."""
        done = cli(tmp_path, "run", NAME, PYTHONPATH=f"{ENV.get('PYTHONPATH', '')}{os.pathsep}{installed}")
        assert done.returncode == 0, done.stderr.decode()
        assert (tmp_path / "IMPORTED").exists()

    @pytest.mark.parametrize("type", ["os:system", "os.system", "evil_of_plait:Evil", "../evil", "__import__", "plait.nodes.http:HttpSource"])  # fmt: skip
    def test_a_type_is_a_name_of_the_registry(self, tmp_path: Path, type: str) -> None:
        """S18: and no module."""
        write(tmp_path, script(f'<transform id="t" type="{type}"/>'), NAME)
        done = cli(tmp_path, "validate", NAME)
        assert done.returncode == 2
        assert b"error[VALID_UNKNOWN_NODE_TYPE]: there is no transform of type" in done.stderr + done.stdout


# -- S19 S20 S21


PATHS = ["../out.json", "/CANARY/out.json", "a/../../out.json", "%2e%2e/out.json", "..%2fout.json", "a\0b", "x" * 5000, "away/out.json", "link.json", "~/out.json/../../../out.json"]  # fmt: skip


class TestFiles:
    @pytest.fixture
    def work(self, tmp_path: Path) -> Path:
        """A working directory with planted links; what they lead to is beside it."""
        (tmp_path / "outside").mkdir()
        write(tmp_path / "outside", '"SECRET OF OTHERS"', "kept.json")
        with sqlite3.connect(tmp_path / "outside" / "kept.db") as base:
            base.execute("CREATE TABLE t (v TEXT)")
            base.execute("INSERT INTO t VALUES ('SECRET OF OTHERS')")
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "away").symlink_to(tmp_path / "outside")
        (tmp_path / "work" / "link.json").symlink_to(tmp_path / "outside" / "kept.json")
        (tmp_path / "work" / "link.db").symlink_to(tmp_path / "outside" / "kept.db")
        return tmp_path / "work"

    def all(self, folder: Path) -> dict[str, bytes]:
        """Every file outside of the working directory."""
        return {str(each): each.read_bytes() for each in sorted((folder.parent / "outside").rglob("*"))}

    @pytest.mark.parametrize("how", ["written", "data"])
    @pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
    def test_a_path_leads_nowhere_else_to_write(self, work: Path, path: str, how: str) -> None:
        """S19 S20 S21: whether the file says it or data; nothing outside is written, replaced or deleted, and nothing half-written is left."""
        said = path.replace("/CANARY", str(work.parent / "outside"))
        before = self.all(work)
        text = (
            '<sink id="s" type="file" format="json" input="v"><path>PATH</path></sink><set var="v" id="v" value="1"/>'
        )
        if how == "data" or "\0" in path:
            words = ("-i", f"p={json.dumps(said)}")
            found = cli(
                write(work, script(text.replace("PATH", "{{JSON.parse($input.p)}}")), NAME).parent, "run", NAME, *words
            )
        else:
            found = cli(write(work, script(text.replace("PATH", said)), NAME).parent, "run", NAME)
        assert self.all(work) == before
        assert not (work.parent / "out.json").exists()
        written = [each for each in work.rglob("*") if each.is_file() and not each.is_symlink() and ".plait" not in str(each) and each.name != NAME]  # fmt: skip
        assert found.returncode in (1, 2) or all(each.is_relative_to(work) for each in written), found.stderr
        if found.returncode:
            assert written == []
        assert found.returncode in (1, 2) or path.startswith(("%", "..%")), path

    @pytest.mark.parametrize("path", [*PATHS[:4], "away/kept.json", "link.json", "/CANARY/kept.json", "../outside/kept.json"])  # fmt: skip
    def test_nor_to_read(self, work: Path, path: str) -> None:
        """S19 S20: and what is there is shown nowhere."""
        said = path.replace("/CANARY", str(work.parent / "outside"))
        text = script('<source id="s" type="file" format="text"><path>{{JSON.parse($input.p)}}</path></source>')
        found = cli(write(work, text, NAME).parent, "run", NAME, "--json", "-i", f"p={json.dumps(said)}")
        assert found.returncode == 1
        assert b"SECRET OF OTHERS" not in found.stdout + found.stderr
        assert cli(work, "show", "last", "-v").stdout.find(b"SECRET OF OTHERS") < 0

    @pytest.mark.parametrize("path", ["../outside/kept.db", "link.db", "away/kept.db", "file:../outside/kept.db", "sqlite:///../outside/kept.db"])  # fmt: skip
    @pytest.mark.parametrize("kind", ["source", "sink"])
    def test_nor_does_a_connection(self, work: Path, path: str, kind: str) -> None:
        """S19 S20: a database is a file, too."""
        before = self.all(work)
        text = {
            "source": '<source id="s" type="database"><connection>{{JSON.parse($input.p)}}</connection><query>SELECT * FROM t</query></source>',
            "sink": '<transform id="r" type="map"><expression>[{v: 1}]</expression></transform><sink id="s" type="database" input="r"><connection>{{JSON.parse($input.p)}}</connection><table>t</table></sink>',
        }[kind]
        found = cli(write(work, script(text), NAME).parent, "run", NAME, "--json", "-i", f"p={json.dumps(path)}")
        assert found.returncode == 1
        assert b"SECRET OF OTHERS" not in found.stdout + found.stderr
        assert self.all(work) == before

    def test_but_where_the_operator_allows_it(self, work: Path) -> None:
        """S19: so the canary sings."""
        text = script('<source id="s" type="file" format="text" path="../outside/kept.json"/>')
        found = ran(work, text, "--allow-path", "../outside")
        assert found["outputs"] == '"SECRET OF OTHERS"' or "SECRET OF OTHERS" in json.dumps(found)

    @pytest.mark.parametrize("name", ["../x", "/x", "a\\b", "x" * 5000, "a b", "é"])
    def test_an_id_is_no_path(self, work: Path, name: str) -> None:
        """S19: of a node, a branch, a variable or an action."""
        for text in (
            f'<set id="{name}" var="a" value="1"/>',
            f'<parallel id="p"><branch id="{name}"><set var="a" value="1"/></branch></parallel>',
            f'<checkpoint id="c" prompt="x" default="a"><action id="a"/><action id="{name}"/></checkpoint>',
        ):
            done = cli(write(work, script(text), NAME).parent, "validate", NAME)
            assert done.returncode == 2
            assert b"error[VALID_" in done.stdout + done.stderr


# -- S30 S31


def forms(text: str) -> list[str]:
    """A secret as it may come back: eight encodings and more."""
    raw = text.encode()
    return [
        text, urllib.parse.quote(text, safe=""), urllib.parse.quote_plus(text), json.dumps(text), html.escape(text), repr(text), raw.hex(), raw.hex().upper(),
        *(b64encode(b"u:"[:at] + raw).decode() for at in range(3)), "".join(f"\\u{ord(each):04x}" for each in text),
    ]  # fmt: skip


def shown_in(told: bytes) -> list[str]:
    """In which forms the secret stands there."""
    raw = SECRET.encode()
    found = {
        **{f"form {at}": form.strip("'\"").encode() for at, form in enumerate(forms(SECRET)[:8])},
        **{f"base64 at {at}": b64encode(bytes(at) + raw)[4:-4] for at in range(3)},
        "\\u": forms(SECRET)[-1].encode(),
    }
    return [name for name, form in found.items() if form in told]


CANARIES = """
<source id="echo" type="http"><request>
url: {{$config.base}}/echo
headers: {X-Token: "{{$secrets.TOKEN}}"}
auth: {type: basic, username: me, password: "{{$secrets.TOKEN}}"}
</request></source>
<source id="refused" type="http" required="false"><request>
url: "{{$config.base}}/refuse?t={{url_encode($secrets.TOKEN)}}"
</request></source>
<source id="gone" type="file" required="false"><path>gone-{{hash($secrets.TOKEN)}}-{{$secrets.TOKEN}}.json</path></source>
<source id="base" type="database" required="false"><connection>a.db</connection><query>SELECT * FROM "{{$secrets.TOKEN}}"</query></source>
<transform id="told" type="map"><expression>{raw: $secrets.TOKEN, all: $secrets, base64: base64_encode($secrets.TOKEN), url: url_encode($secrets.TOKEN), json: json_encode($secrets.TOKEN), shifted: base64_encode("u" + $secrets.TOKEN), key: from_entries([[$secrets.TOKEN, 1]])}</expression></transform>
<transform id="failed" type="map" required="false"><expression>round($secrets.TOKEN, $secrets.TOKEN)</expression></transform>
<ai id="asked" model="m" provider="openrouter"><prompt>Say {{$secrets.TOKEN}}</prompt></ai>
<ai id="nonsense" model="m" provider="openrouter" max-retries="1" required="false"><prompt>{{$secrets.TOKEN}}</prompt><output-schema>{n: integer}</output-schema></ai>
<foreach id="each" collection="echo.list"><set var="one" value="{{item}}"/><transform id="again" type="template"><template>{{item}} {{one}}</template></transform></foreach>
<parallel id="both"><branch id="l"><set var="t" value="{{$secrets.TOKEN}}"/></branch><branch><transform id="r" type="template" format="text"><template>{"a": "{{base64_encode($secrets.TOKEN)}}"}</template></transform></branch></parallel>
<checkpoint id="ok" prompt="Is it {{$secrets.TOKEN}}, or {{echo.list[3]}}?" default="approve"/>
<call id="called" workflow="inner.flow.md" words="{{[$secrets.TOKEN, echo.list]}}"/>
<include id="shared" workflow="secret.flow.md"><bind key="held" value="{{$secrets.TOKEN}}"/></include>
<foreach id="items" collection="[$secrets.TOKEN, {a: [base64_encode($secrets.TOKEN)]}]"><call id="inside" workflow="inner.flow.md" words="{{item}}"/></foreach>
<transform id="last" type="map" input="echo"><expression>{item: $item, token: $secrets.TOKEN, error: refused.error, gone: gone.error, more: [both, told]}</expression></transform>
"""  # fmt: skip


class TestCanaries:
    @pytest.fixture
    def canaries(self, tmp_path: Path, server: Server, models: ModelServer) -> Path:
        """A folder with a flow of all the ways in; the servers say again what they are told, in every form."""
        server.answers["/echo"] = lambda asked: data(
            {"list": forms(SECRET), "keys": dict.fromkeys(forms(SECRET), 1), "asked": dict(asked.headers)}
        )(asked)
        server.answers["/refuse"] = lambda asked: answer(" ".join(["no", asked.path, *forms(SECRET)]), status="403 Forbidden")(asked)  # fmt: skip
        models.says(completion("\n".join(forms(SECRET))))
        write(tmp_path, INNER, "inner.flow.md")
        write(tmp_path, script('<transform id="s" type="map"><expression>[$secrets.TOKEN]</expression></transform>', "secrets: [TOKEN]\n"), "secret.flow.md")  # fmt: skip
        write(
            tmp_path,
            script(CANARIES, f"secrets: [TOKEN, OPENROUTER_API_KEY]\nconfig: {{base: '{server.url}'}}\n"),
            NAME,
        )
        return tmp_path

    def env(self, models: ModelServer) -> dict[str, str]:
        return {"TOKEN": SECRET, "OPENROUTER_API_KEY": "sk-of-openrouter-77", "OPENROUTER_BASE_URL": models.url}

    @pytest.mark.parametrize("display", [[], ["-v"], ["--json"], ["--jsonl"]], ids=["plain", "verbose", "json", "jsonl"])  # fmt: skip
    def test_no_secret_is_on_disk_or_told_by_anything(
        self, canaries: Path, server: Server, models: ModelServer, display: list[str]
    ) -> None:
        """S30: outputs, errors, events, the store, footers, prompts, what models said and were asked; in no encoding."""
        done = cli(canaries, "run", NAME, "--log", *display, **self.env(models))
        assert done.returncode == 0, done.stderr.decode()
        assert shown_in(done.stdout) == shown_in(done.stderr) == []
        assert b"[REDACTED]" in done.stdout + done.stderr
        assert "## Execution Log" in (canaries / NAME).read_text()
        for each in canaries.rglob("*"):
            assert not each.is_file() or shown_in(each.read_bytes()) == [], each
            assert shown_in(str(each).encode()) == []
        for words in (["show", "last", "-v"], ["show", "last", "--json"], ["ls"], ["logs", "last"], ["why", "last", "refused"], ["why", "last", "gone", "--json"], ["why", "last", "nonsense"], ["why", "last", "ok"]):  # fmt: skip
            told = cli(canaries, *words)  # who only looks has no secret
            assert told.returncode in (0, 1), (words, told.stderr.decode())
            assert shown_in(told.stdout + told.stderr) == [], words
        assert server.asked[0].headers["x-token"] == SECRET, "the canaries are in"
        assert SECRET in json.dumps(models.bodies[0])[1:] or json.dumps(SECRET)[1:-1] in json.dumps(models.bodies[0])

    def test_the_prompt_of_a_checkpoint_that_waits_has_none(self, tmp_path: Path) -> None:
        """S30: nor what is kept until somebody answers, nor what was answered."""
        text = script('<checkpoint id="ok" prompt="Is it {{$secrets.TOKEN}} or {{base64_encode($secrets.TOKEN)}}?" input-type="text"/><transform id="t" type="map"><expression>ok.input</expression></transform>', "secrets: [TOKEN]\n")  # fmt: skip
        write(tmp_path, text, NAME)
        waiting = cli(tmp_path, "run", NAME, "--run-id", "r", TOKEN=SECRET)
        assert waiting.returncode == 3, waiting.stderr
        told = [waiting.stdout + waiting.stderr]
        for words in (["show", "r", "-v"], ["why", "r", "ok"], ["show", "r", "--json"]):
            told.append(cli(tmp_path, *words).stdout)
        assert [shown_in(each) for each in told] == [[]] * 4
        assert b"[REDACTED]" in b"".join(told)
        for each in tmp_path.rglob("*"):
            assert not each.is_file() or shown_in(each.read_bytes()) == [], each

    @pytest.mark.parametrize(
        "front", ["", "input: {words: string, more: {type: number, default: 3}}\n"], ids=["any", "declared"]
    )
    def test_another_file_that_is_given_one_has_it_after_the_run_went_on_too(self, tmp_path: Path, front: str) -> None:
        """S30 D9: it is not on record, and worked out again; what it is given beside it is kept as it was."""
        inner = '<checkpoint id="ok" prompt="go on?"/><transform id="t" type="map"><expression>[length(words), now == now]</expression></transform>'  # fmt: skip
        write(tmp_path, script(inner.replace("now == now", "more ?? 0" if not front else "$input.more"), front), "inner.flow.md")  # fmt: skip
        write(tmp_path, script('<call id="c" workflow="middle.flow.md" words="{{$secrets.TOKEN}}"/>', "secrets: [TOKEN]\n"), NAME)  # fmt: skip
        write(tmp_path, script('<call id="d" workflow="inner.flow.md" words="{{words}}" more="{{3}}"/>'), "middle.flow.md")  # fmt: skip
        assert cli(tmp_path, "run", NAME, "--run-id", "r", TOKEN=SECRET).returncode == 3
        done = cli(tmp_path, "answer", "r", "c/d/ok", "approve")
        assert done.returncode == 0, done.stderr
        found = json.loads(cli(tmp_path, "resume", "r", "--json", TOKEN=SECRET).stdout)
        assert (found["status"], found["outputs"]) == ("succeeded", [len(SECRET), 3])
        for each in tmp_path.rglob("*"):
            assert not each.is_file() or shown_in(each.read_bytes()) == [], each


class TestEnvironment:
    def test_only_names_that_are_allowed_are_there(self, tmp_path: Path) -> None:
        """S31: and what a file declares as a secret is that, and nothing else."""
        text = script('<transform id="t" type="map"><expression>[$env, $env.SHOWN, $env.HIDDEN, $env.PATH, keys($env)]</expression></transform>')  # fmt: skip
        found = ran(tmp_path, text, SHOWN="yes", HIDDEN="CANARY-OF-ENV")
        assert values(found)["t"] == [{}, None, None, None, []]
        found = ran(tmp_path, text, "--allow-env", "SHOWN", SHOWN="yes", HIDDEN="CANARY-OF-ENV")
        assert values(found)["t"] == [{"SHOWN": "yes"}, "yes", None, None, ["SHOWN"]]
        for each in tmp_path.rglob("*"):
            assert not each.is_file() or b"CANARY-OF-ENV" not in each.read_bytes()

    def test_a_secret_that_is_not_declared_is_refused_before_the_run(self, tmp_path: Path) -> None:
        """S31: whatever the environment has."""
        write(tmp_path, script('<set var="x" value="{{$secrets.HIDDEN}}"/>'), NAME)
        done = cli(tmp_path, "run", NAME, HIDDEN="CANARY-OF-ENV")
        assert done.returncode == 2
        assert b"error[VALID_UNDEFINED_SECRET_REF]: the secret 'HIDDEN' is not declared" in done.stderr
        assert not (tmp_path / ".plait").exists()
        found = ran(tmp_path, script('<transform id="t" type="map"><expression>[$secrets, $context]</expression></transform>'), HIDDEN="CANARY-OF-ENV")  # fmt: skip
        assert values(found)["t"] == [{}, {}]


# -- S43 S44 S45


class TestRequests:
    def test_data_leads_into_no_private_network(self, tmp_path: Path, server: Server) -> None:
        """S43: what was written down does, and what the operator says; a whole URL, a host or a scheme that is data does not."""
        server.answers["/"] = answer("inside")
        port = server.port
        refused = {
            "whole": ("{{JSON.parse($input.u)}}", f"http://127.0.0.1:{port}/"),
            "host": (f"http://{{{{JSON.parse($input.u)}}}}:{port}/", "127.0.0.1"),
            "name": (f"http://{{{{JSON.parse($input.u)}}}}:{port}/", "localhost"),
            "decimal": (f"http://{{{{JSON.parse($input.u)}}}}:{port}/", "2130706433"),
            "six": (f"http://{{{{JSON.parse($input.u)}}}}:{port}/", "[::1]"),
            "mapped": (f"http://{{{{JSON.parse($input.u)}}}}:{port}/", "[::ffff:127.0.0.1]"),
            "metadata": ("{{JSON.parse($input.u)}}", "http://169.254.169.254/latest/meta-data"),
            "user": ("http://example.org{{JSON.parse($input.u)}}", f"@127.0.0.1:{port}/"),
            "file": ("{{JSON.parse($input.u)}}", "file:///etc/passwd"),
            "gopher": ("{{JSON.parse($input.u)}}", f"gopher://127.0.0.1:{port}/"),
        }
        for name, (url, said) in refused.items():
            text = script(f'<source id="s" type="http" url="{url}"><on-error><retry max="0"/></on-error></source>')
            found = ran(tmp_path, text, "-i", f"u={json.dumps(said)}", code=1)
            told = json.dumps(found)
            assert "private network" in told or "only http and https" in told or "no URL" in told, (name, found["reason"])  # fmt: skip
        for node in ("source", "sink"):  # what another node gave is data, too
            text = script(f'<transform id="u" type="map"><expression>"{server.url}/"</expression></transform><{node} id="s" type="http" url="{{{{u}}}}"/>')  # fmt: skip
            assert "private network" in ran(tmp_path, text, code=1)["reason"]
        assert server.connections == 0
        for url, front in (
            (f"{server.url}/x", ""),
            ("{{$config.base}}/{{$input.u}}", f"config: {{base: '{server.url}'}}\n"),
            (f"{server.url}/{{{{$input.u}}}}", ""),
        ):
            found = ran(tmp_path, script(f'<source id="s" type="http" url="{url}"/>', front), "-i", "u=7")
            assert values(found)["s"] == "inside"

    def test_a_redirect_leads_into_none(self, tmp_path: Path, server: Server) -> None:
        """S43: whatever the first server is."""
        for location in ("http://169.254.169.254/latest", "http://10.0.0.1/", "file:///etc/passwd"):
            server.answers["/"] = answer("", "302 Found", location=location)
            text = script(f'<source id="s" type="http" url="{server.url}/"><on-error><retry max="0"/></on-error></source>')  # fmt: skip
            found = ran(tmp_path, text, code=1)
            assert "private network" in found["reason"] or "only http and https" in found["reason"]

    def test_credentials_stay_with_their_server(self, tmp_path: Path, server: Server, other: Server) -> None:
        """S45: over a redirect to another one."""
        server.answers["/"] = answer("", "307 There", location=f"{other.url}/end")
        other.answers["/end"] = answer("end")
        text = script(
            f'<source id="s" type="http"><request>\nurl: {server.url}/\nauth: {{type: bearer, token: "{{{{$secrets.TOKEN}}}}"}}\nheaders: {{X-Api-Key: "{{{{$secrets.TOKEN}}}}"}}\n</request></source>',
            "secrets: [TOKEN]\n",
        )
        assert values(ran(tmp_path, text, TOKEN="hunter-of-two"))["s"] == "end"
        assert server.asked[0].headers["authorization"] == "Bearer hunter-of-two"
        assert "hunter-of-two" not in json.dumps(other.asked[0].headers)

    def test_a_body_that_grows_without_measure_is_not_read(self, tmp_path: Path, server: Server) -> None:
        """S44: a few kilobytes that would be half a gigabyte."""
        bomb = gzip.compress(bytes(100_000_000))
        server.answers["/"] = lambda asked: (
            f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(bomb)}\r\n\r\n".encode() + bomb
        )
        text = script(f'<source id="s" type="http" url="{server.url}/"><on-error><retry max="0"/></on-error></source>')
        found = ran(tmp_path, text, code=1)
        assert "s" in found["first_cause"]
        assert len(json.dumps(found)) < 100_000


# -- S50

SAID = "{{$secrets.TOKEN}} {{ 1 + 1 }} ${{ 1 }} \\{{x}} <workflow><set var='x' value='1'/></workflow>"


class TestWhatComesBack:
    def test_is_text_wherever_it_goes(self, tmp_path: Path, server: Server, models: ModelServer) -> None:
        """S50: what a model or a server says is never filled in or read as a part of the file."""
        server.answers["/"] = data({"said": SAID})
        models.says(completion(SAID))
        write(tmp_path, INNER, "inner.flow.md")
        text = script(
            f"""
<source id="web" type="http" url="{server.url}/"/>
<ai id="model" model="m"><prompt>x {{{{web.said}}}}</prompt></ai>
<set var="kept" value="{{{{model}}}}"/>
<transform id="again" type="template" format="text"><template>{{{{kept}}}}|{{{{web.said}}}}</template></transform>
<transform id="twice" type="template" format="text"><template>{{{{again}}}}</template></transform>
<foreach id="each" collection="[model, web.said]"><transform id="one" type="template" format="text"><template>{{{{item}}}}</template></transform></foreach>
<call id="called" workflow="inner.flow.md" words="{{{{[model, kept]}}}}"/>
<include id="shared" workflow="inner.flow.md"><bind key="words" value="{{{{web.said}}}}"/></include>
<sink id="file" type="file" format="text" input="twice" path="out.txt"/>
<sink id="sent" type="http" url="{server.url}/"><body>{{{{model}}}}</body></sink>
<checkpoint id="ok" prompt="{{{{model}}}}" default="approve"/>
""",
            "secrets: [TOKEN, OPENROUTER_API_KEY]\n",
        )
        found = values(ran(tmp_path, text, TOKEN="CANARY-TOKEN-1", OPENROUTER_API_KEY="sk-77-of-router", OPENROUTER_BASE_URL=models.url))  # fmt: skip
        assert found["model"] == found["kept"] == found["web"]["said"] == SAID
        assert found["again"] == found["twice"] == f"{SAID}|{SAID}"
        assert found["each"] == found["called"] == [SAID, SAID]
        assert found["shared"] == SAID
        assert (tmp_path / "out.txt").read_text() == f"{SAID}|{SAID}"
        assert [each.body.decode() for each in server.asked if each.method == "POST"] == [SAID]
        assert models.bodies[0]["messages"][-1]["content"] == f"x {SAID}"
        sent = json.dumps([each.body.decode() for each in (*server.asked, *models.asked)])
        assert "CANARY-TOKEN-1" not in sent

    def test_names_in_data_name_nothing(self, tmp_path: Path, server: Server) -> None:
        """S50 S16: members that are blocked are not there in data either."""
        server.answers["/"] = data(
            {"key": "__class__", "constructor": 1, "path": "a.__class__", "words": ["__proto__"]}
        )
        text = script(
            f'<source id="web" type="http" url="{server.url}/"/>'
            '<transform id="t" type="map" required="false"><expression>web[web.key]</expression></transform>'
            '<transform id="u" type="map" required="false"><expression>get(web, web.path)</expression></transform>'
        )
        found = ran(tmp_path, text)
        assert values(found)["t"] is None
        assert values(found)["u"] is None


# -- files and data that are wrong

GOOD = '<transform id="a" type="map"><expression>1</expression></transform>'
WRONG = {
    "duplicate id": (f"{GOOD}\n{GOOD}", 7, 16, "VALID_DUPLICATE_NODE_ID", "the id 'a' stands here again; it was given in line 6"),
    "cycle": (GOOD.replace("1<", "b<") + "\n" + GOOD.replace('"a"', '"b"').replace("1<", "a<"), 7, 1, "VALID_CIRCULAR_DEPENDENCY", "b -> a -> b"),
    "sibling branch": (f'<parallel id="p"><branch>{GOOD}</branch>\n<branch><set var="x" value="{{{{a}}}}"/></branch></parallel>', 7, 31, "VALID_CIRCULAR_DEPENDENCY", "'a' stands in a sibling branch"),
    "unknown function": ('<set var="x" value="{{uper(1)}}"/>', 6, 23, "EXPR_UNDEFINED_FUNCTION", "upper"),
    "unknown name": (GOOD + '<set var="x" value="{{aa}}"/>', 6, len(GOOD) + 23, "EXPR_UNDEFINED_VARIABLE", "Did you mean"),
    "unknown node": ('<set var="x" value="1"/>\n<sorce id="b"/>', 7, 1, "VALID_UNKNOWN_NODE_TYPE", "Did you mean"),
    "unknown id": (GOOD + '<transform id="b" type="map" input="aa"><expression>1</expression></transform>', 6, len(GOOD) + 37, "VALID_UNDEFINED_NODE_REF", "Did you mean"),
    "missing field": ('<source id="s" type="http"/>', 6, 1, "VALID_MISSING_REQUIRED_FIELD", "needs url"),
    "bad schema": ('<ai id="s" model="m" prompt="x"><output-schema>{a: nope}</output-schema></ai>', 6, 48, "VALID_INVALID_SCHEMA", "nope"),
    "bad XML": ("<set", 6, 1, "PARSE_XML_INVALID", "begins a tag that does not end"),
    "bad YAML": ('<source id="s" type="http"><request>a: b: c</request></source>', 6, 41, "PARSE_YAML_INVALID", ""),
    "bad expression": ('<set var="x" value="{{1 +}}"/>', 6, 0, "EXPR_PARSE_ERROR", ""),
    "no file": ('<call id="c" workflow="gone.flow.md"/>', 6, 24, "VALID_UNDEFINED_NODE_REF", "there is no file 'gone.flow.md' beside this one"),
}  # fmt: skip


class TestWrongFiles:
    @pytest.mark.parametrize("name", WRONG)
    def test_is_told_with_its_place_its_code_and_what_to_do_and_nothing_is_run(self, tmp_path: Path, name: str) -> None:
        """V4: exit 2, by `validate` and by `run`; no store, no file."""
        body, line, column, code, says = WRONG[name]
        write(tmp_path, script(body), NAME)
        for words in (("validate",), ("run",), ("inspect",), ("graph",), ("run", "-n")):
            done = cli(tmp_path, *words, NAME)
            assert done.returncode == 2, (words, done.stdout)
            told = (done.stderr + done.stdout).decode()
            at = f"{NAME}:{line}:{column}: " if column else f"{NAME}:{line}:"
            assert any(each.startswith(at) and f"error[{code}]" in each for each in told.splitlines()), told
            assert says in told
        assert [each.name for each in tmp_path.iterdir()] == [NAME]
        found = json.loads(cli(tmp_path, "validate", NAME, "--json").stdout)
        assert code in json.dumps(found)

    @pytest.mark.parametrize(
        ("front", "words", "says"),
        [
            ("config: {n: {type: number}}", ("--config", "n=abc"), "config 'n' must be number, not 'abc'"),
            ("config: {n: {type: number}}", ("--config", "m=1"), "has no config 'm'"),
            ("config: {n: {type: 'enum[a, b]'}}", ("--config", "n=c"), "config 'n' must be one of a, b"),
            ("config: {n: {type: number, required: true}}", (), "needs the config 'n' (number): give it as --config n=..."),
            ("secrets: [MISSING_ONE]", (), "needs the secret MISSING_ONE"),
            ("input: {n: integer}", ("-i", "n=x"), "input 'n' must be integer"),
            ("input: {n: integer}", (), "needs the input 'n' (integer)"),
        ],
        ids=["type", "name", "enum", "required", "secret", "input type", "input"],
    )  # fmt: skip
    def test_what_it_is_given_is_checked_before_the_first_node(
        self, tmp_path: Path, front: str, words: tuple[str, ...], says: str
    ) -> None:
        """V4 L1: exit 2, and nothing was begun; a dry run says the same."""
        text = script(
            '<set var="v" id="v" value="1"/><sink id="s" type="file" input="v" path="out.json"/>', f"{front}\n"
        )
        write(tmp_path, text, NAME)
        for more in ((), ("-n",)):
            done = cli(tmp_path, "run", NAME, *words, *more)
            if more and "secret" in says:
                continue  # who only looks needs no value
            assert done.returncode == 2, done.stderr
            assert says in done.stderr.decode()
            assert not (tmp_path / "out.json").exists()
            assert not list(tmp_path.glob(".plait/*.db"))

    def test_a_file_that_is_gone_ends_the_run_and_leaves_nothing_half_written(self, tmp_path: Path) -> None:
        """V4: exit 1, and which node it was."""
        text = script(
            '<source id="s" type="file" path="gone.json"/><sink id="w" type="file" input="s" path="out/x.json"/>'
        )
        found = ran(tmp_path, text, code=1)
        assert found["reason"] == "task 's' failed: there is no file 'gone.json'"
        assert found["tasks"]["w"]["status"] in ("upstream_failed", "skipped", "not_started")
        assert {each.name for each in tmp_path.iterdir()} == {NAME, ".plait"}

    def test_a_model_that_answers_nonsense_for_ever_is_asked_so_often_and_no_more(
        self, tmp_path: Path, models: ModelServer
    ) -> None:
        """V4 L1: then the node has failed, with the reasons of the last answer."""
        models.says(completion("no", ("output", {"n": "many"})))
        text = script(
            '<ai id="m" model="m" max-retries="2"><prompt>x</prompt><output-schema>{n: integer}</output-schema></ai><sink id="w" type="file" input="m" path="out.json"/>',
            "secrets: [OPENROUTER_API_KEY]\n",
        )
        found = ran(tmp_path, text, code=1, OPENROUTER_API_KEY="sk-77-of-router", OPENROUTER_BASE_URL=models.url)
        assert found["first_cause"] == "m"
        assert "integer" in found["reason"]
        assert len(models.asked) == 3
        assert not (tmp_path / "out.json").exists()
