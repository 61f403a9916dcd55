"""Values in commands, whatever they hold (S14): each reaches its command as one word, none is ever a part of a script."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import plait
from flow_files import problems, run, write
from plait.calls.shell import ShellCommand
from plait.flow import load

pytestmark = pytest.mark.realtime

WORDS = [
    "x; touch CANARY", "x && touch CANARY", "x || touch CANARY", "x | touch CANARY", "x & touch CANARY &", "x > CANARY", ">CANARY", "2>CANARY", "<>CANARY", ">|CANARY",
    "$(touch CANARY)", "`touch CANARY`", "$((`touch CANARY`))", "${x:-$(touch CANARY)}", "${IFS}touch${IFS}CANARY", "$PATH", "$PLAIT_VALUE_0", "${PLAIT_VALUE_0}", "$'\\n'touch CANARY", "$\"x\"",
    "'; touch CANARY; '", '"; touch CANARY; "', "'\"'\"'; touch CANARY #", "\\", "\\'; touch CANARY; \\'", "x\\", "\\\"; touch CANARY",
    "x\ntouch CANARY", "x\r\ntouch CANARY\r\n", "\n", "\n\ntouch CANARY\n\n", "x\n", "x\u2028touch CANARY", "x\u2029touch CANARY", "x\x85touch CANARY", "x\vtouch CANARY", "x\ftouch CANARY",
    "EOF\ntouch CANARY\n", "\nEOF\ntouch CANARY\ncat <<EOF\n", "<<EOF", "<(touch CANARY)", ">(touch CANARY)", "(touch CANARY)", "{ touch CANARY; }", "{touch,CANARY}", "x # touch CANARY", "# touch CANARY",
    "*", "?", "[a-z]*", "**/*", "~", "~root", "!", "!!", "!touch", "^x^touch CANARY", "=touch", "a=b", "IFS=x",
    "-rf", "--", "-", "-e", "--help", "-exec touch CANARY ;", "-c touch CANARY", "%s%s%n", "%d", "%(x)s", "{}", "{0.__class__}", "{{ 1 + 1 }}", "{{ raw('; touch CANARY') }}", "}}; touch CANARY {{", "\\{{ x",
    "\x1b[2J\x1b]0;title\x07", "\x01\x02\x08\x7f", "\t", " ", "  x  y  ", "", "\u00a0touch CANARY", "\u202etouch CANARY", "\ufeff", "\U0001f600 \u00e9 e\u0301 \ud55c",
    "if then fi; touch CANARY", "function touch { :; }; touch CANARY", "() { :; }; touch CANARY", "case x in *) touch CANARY;; esac", "trap 'touch CANARY' EXIT", "eval touch CANARY", "alias x='touch CANARY'", "exec touch CANARY",
    "null", "true", "0", "1e5", "0x10", "[1, 2]", '{"a": 1}', "y" * 60_000, "'" * 5_000, "$(" * 5_000, "a b" * 3_000,
]  # fmt: skip
"""Texts that mean something to a shell, to a program's options, to what formats text, to a terminal."""

SHELLS = [name for name in ("sh", "bash") if shutil.which(name)]

FLOW = """
inputs: {words: {type: list}, folder: {type: string}}
env: {FIRST: "{{ inputs.words[0] }}"}
tasks:
  printed: {foreach: "{{ inputs.words }}", run: [printf, "%s.", "{{ item }}"], cwd: "{{ inputs.folder }}"}
  item: {foreach: "{{ inputs.words }}", run: "printf '%s.' {{ item }}", cwd: "{{ inputs.folder }}"}
  input: {foreach: "{{ inputs.words }}", run: "printf '%s.' {{ inputs.words[index] }}; printf '%s.' {{ inputs.words[index] }}x", cwd: "{{ inputs.folder }}"}
  output: {foreach: "{{ tasks.printed.output }}", run: "printf '%s.' {{ tasks.printed.output[index] }}", cwd: "{{ inputs.folder }}"}
  matrix: {matrix: {word: "{{ inputs.words }}"}, run: "printf '%s.' {{ matrix.word }}", cwd: "{{ inputs.folder }}"}
  joined: {foreach: "{{ inputs.words }}", run: "printf '%s.' {{ item + '' }} {{ join([item, item], ' ') }}", cwd: "{{ inputs.folder }}"}
  chosen: {foreach: "{{ inputs.words }}", run: "printf '%s.' {{ index >= 0 ? {a: {b: item}}.a.b : '}}' }}", cwd: "{{ inputs.folder }}"}
  listed: {foreach: "{{ inputs.words }}", run: "printf '%s.' {{ [item, {k: item}] }}", cwd: "{{ inputs.folder }}"}
  assigned: {foreach: "{{ inputs.words }}", run: "x={{ item }}\\nprintf '%s.' \\"$x\\"", cwd: "{{ inputs.folder }}"}
  matched: {foreach: "{{ inputs.words }}", run: "case {{ item }} in {{ item }}) printf '%s.' same;; *) echo other;; esac", cwd: "{{ inputs.folder }}"}
  repeated: {foreach: "{{ inputs.words }}", run: "for x in {{ item }} {{ item }}; do printf '%s.' \\"$x\\"; done", cwd: "{{ inputs.folder }}"}
  variable: {foreach: "{{ inputs.words }}", run: "printf '%s.' \\"$WORD\\"", env: {WORD: "{{ item }}"}, cwd: "{{ inputs.folder }}"}
  inside: {foreach: "{{ inputs.words }}", run: [printf, "%s.", "<{{ item }}>{{ item }}", "{{ item + item }}"], cwd: "{{ inputs.folder }}"}
  program: {foreach: "{{ inputs.words }}", run: ["SHELL", "-c", 'printf "%s." "$@"', "x", "{{ item }}"], cwd: "{{ inputs.folder }}"}
"""


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Scripts are for this shell."""
    name: str = request.param
    plain = ShellCommand.full_argv.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(
        ShellCommand,
        "full_argv",
        property(lambda self: (f"/bin/{name}", "-c", self.argv) if isinstance(self.argv, str) else plain(self)),
    )
    return name


@pytest.mark.timeout(240)
def test_each_word_is_one_word_wherever_it_comes_from_and_wherever_it_stands(tmp_path: Path, shell: str) -> None:
    """S14: from inputs, item, matrix, a command's output and expressions; in scripts, lists and env; and no canary is there."""
    folder = tmp_path / "work"
    folder.mkdir()
    flow = load(write(tmp_path, FLOW.replace("SHELL", shell)))
    result = plait.run(flow, inputs={"words": WORDS, "folder": str(folder)}, raise_on_failure=False)
    assert result.status == "succeeded", result.first_cause
    want = {
        "printed": [f"{each}." for each in WORDS],
        "item": [f"{each}." for each in WORDS],
        "input": [f"{each}.{each}x." for each in WORDS],
        "output": [f"{each}.." for each in WORDS],
        "matrix": [f"{each}." for each in WORDS],
        "joined": [f"{each}.{each} {each}." for each in WORDS],
        "chosen": [f"{each}." for each in WORDS],
        "assigned": [f"{each}." for each in WORDS],
        "matched": ["same."] * len(WORDS),
        "repeated": [f"{each}.{each}." for each in WORDS],
        "variable": [f"{each}." for each in WORDS],
        "inside": [f"<{each}>{each}.{each}{each}." for each in WORDS],
        "program": [f"{each}." for each in WORDS],
    }
    for key, values in want.items():
        for word, found, expected in zip(WORDS, result[key].value, values, strict=True):
            assert found == expected, (key, word[:100])
    assert [json.loads(each[:-1]) for each in result["listed"].value] == [[each, {"k": each}] for each in WORDS]
    assert list(folder.iterdir()) == []
    assert not list(tmp_path.rglob("CANARY"))


def test_a_folder_is_named_by_its_text(tmp_path: Path) -> None:
    """S14: in `cwd` nothing is expanded either."""
    words = [each for each in WORDS if each.strip(".") and len(each.encode()) < 200]
    for at, word in enumerate(words):
        (tmp_path / "work" / str(at) / word.replace("/", "_")).mkdir(parents=True)
    flow = load(
        write(
            tmp_path,
            """
            inputs: {words: {type: list}, folder: {type: string}}
            tasks: {a: {foreach: "{{ inputs.words }}", run: "pwd -P; printf .", cwd: "{{ inputs.folder }}/{{ index }}/{{ item }}"}}
            """,
        )
    )
    given = [each.replace("/", "_") for each in words]
    result = plait.run(flow, inputs={"words": given, "folder": str(tmp_path / "work")}, raise_on_failure=False)
    assert result.status == "succeeded", result.first_cause
    for at, word in enumerate(given):
        assert result["a"].value[at] == f"{tmp_path / 'work' / str(at) / word}\n.", word
    assert not list(tmp_path.rglob("CANARY"))


@pytest.mark.parametrize(
    "word", ["a\0touch CANARY", "\ud800", "x" * 3_000_000], ids=["NUL", "half a character", "too long"]
)
@pytest.mark.parametrize(
    "task",
    [
        "run: \"printf '%s.' {{ item }}\"", "run: [printf, '%s.', '{{ item }}']", "run: [printf, x], env: {WORD: '{{ item }}'}", "run: [printf, x], cwd: '{{ item }}'",
    ],
    ids=["script", "list", "env", "cwd"],
)  # fmt: skip
def test_what_no_command_can_be_given_is_a_failure_in_one_line(tmp_path: Path, word: str, task: str) -> None:
    """S14: and all others run."""
    flow = load(
        write(tmp_path, "inputs: {words: {type: list}}\ntasks: {a: {foreach: '{{ inputs.words }}', " + task + "}}")
    )
    result = plait.run(flow, inputs={"words": [word, str(tmp_path)]}, raise_on_failure=False)
    assert [str(result[f"a[{at}]"].status) for at in range(2)] == ["failed", "succeeded"]
    said = str(result["a[0]"].error)
    assert len(said.splitlines()) == 1, said
    assert len(said) < 500, said[:1000]


def flow_of(script: str) -> str:
    """A file with that script."""
    lines = "".join(f"      {line}\n" for line in script.split("\n"))
    return f"inputs: {{x: {{type: string, default: y}}}}\ntasks:\n  a:\n    run: |\n{lines}"


def trusted(hole: str) -> str:
    """The same as code."""
    return f"{{{{ raw({hole.removeprefix('{{ ').removesuffix(' }}')}) }}}}"


def refused(folder: Path, script: str) -> list[str]:
    """The codes of what is said of a script."""
    return [each[2] for each in problems(write(folder, flow_of(script)))]


HOLES = [
    "{{ inputs.x }}", "{{ 'a' + inputs.x }}", '{{ "a\'b" }}', "{{ '\"' }}", "{{ '}}' }}", "{{ {a: '}}'}.a }}", "{{ ['#', '$(', '`'] }}", "{{ '\\'' + '\\\\' }}", "{{ inputs.x == '(' ? ')' : '<<EOF' }}",
]  # fmt: skip
"""Expressions that hold what means something to a shell."""

AROUND = [
    "echo 'HOLE'", 'echo "HOLE"', "echo `echo HOLE`", "echo $(echo HOLE)", "echo $( (echo HOLE) )", 'echo "$(echo "HOLE")"', "echo # HOLE", "echo x #HOLE", "#HOLE", "echo ${y:-HOLE}", 'echo "${y:-HOLE}"', "echo $((1 + HOLE))",
    "echo $HOLE", "cat <<EOF\nHOLE\nEOF", "cat <<'EOF'\nHOLE\nEOF", "cat <<-EOF\n\tHOLE\n\tEOF", "cat <<A <<B\nA\nHOLE\nB", "cat <<EOF; echo x\nx\nHOLE\nEOF", "cat <<HOLE\nx", "echo 'it''s HOLE'", "echo \"a'b\" 'c\"HOLE'",
    'echo "\\"HOLE"', "echo 'a\\' && echo 'HOLE'", "((HOLE))", "echo \"'\" \"HOLE\"", "echo '\"' 'HOLE'", "echo >#HOLE", "cat <<EOF\n'\nHOLE\nEOF", "echo 'x\n# HOLE'",
]  # fmt: skip
"""Where no value may stand."""

OPEN = [
    "echo HOLE", "echo HOLE # comment 'x", "echo 'x' HOLE \"y\"", "echo a\\'b HOLE", 'echo "a\'b" HOLE', "echo 'a\"b' HOLE", "echo x#y HOLE", "echo $x HOLE", "echo \"$\"HOLE", "cat <<EOF\nx\nEOF\necho HOLE", "cat <<EOF HOLE\nx '\nEOF", "(echo HOLE)",
    "{ echo HOLE; }", "# it's a comment\necho HOLE", "echo $(echo 'x)') HOLE", "echo `echo \\`x\\`` HOLE", "echo ${x:-a} HOLE", "echo $((1 + 2)) HOLE", "x=HOLE; echo HOLE", "echo HOLE>x<HOLE", "if test HOLE = HOLE; then echo HOLE; fi", "echo \\\\HOLE", "echo a\\\nHOLE", "cat <<'E O'\n$(\nE O\necho HOLE",
    "cat <<-EOF\n\tx\n\tEOF\necho HOLE", "echo x; # '\necho HOLE", "echo HOLE|cat&&echo HOLE",
]  # fmt: skip
"""Where one may."""


class TestValidation:
    @pytest.mark.parametrize("around", AROUND)
    def test_a_value_where_it_would_be_no_word_is_refused_whatever_its_expression_holds(
        self, tmp_path: Path, around: str
    ) -> None:
        """S14: what stands in an expression is none of the shell's, so it hides nothing and opens nothing."""
        for hole in HOLES:
            assert "shell-unsafe" in refused(tmp_path, around.replace("HOLE", hole)), hole
            # an earlier value, whose expression holds quotes, hides no later one
            plain = around.replace("HOLE", "{{ inputs.x }}")
            assert "shell-unsafe" in refused(tmp_path, f"echo {hole} x\n{plain}"), hole
            assert "shell-unsafe" in refused(tmp_path, f"echo {trusted(hole)} x\n{plain}"), hole

    @pytest.mark.parametrize("around", AROUND)
    def test_but_raw_is_let_through(self, tmp_path: Path, around: str) -> None:
        for hole in HOLES:
            load(write(tmp_path, flow_of(around.replace("HOLE", trusted(hole)))))

    @pytest.mark.parametrize("around", OPEN)
    def test_a_value_in_the_open_is_a_word(self, tmp_path: Path, around: str) -> None:
        for hole in HOLES:
            load(write(tmp_path, flow_of(around.replace("HOLE", hole))))

    @pytest.mark.parametrize(
        "hole",
        [
            "{{ raw('x') + 'y' }}", "{{ upper(raw('x')) }}", "{{ [raw('x')] }}", "{{ raw(raw('x')) }}", "{{ true ? raw('x') : 'y' }}", "{{ raw('x', 'y') }}", "{{ raw() }}", "{{ (raw) }}", "{{ {a: raw('x')}.a }}",
            "{{ map(['x'], x => raw(x)) }}", "{{ raw('x')[0] }}", "{{ raw('x').length }}", "{{ !raw('x') }}", "{{ raw(x => x) }}",
        ],
    )  # fmt: skip
    def test_raw_stands_around_a_whole_template_and_nowhere_else(self, tmp_path: Path, hole: str) -> None:
        found = refused(tmp_path, f"echo {hole}")
        assert found
        assert set(found) <= {"EXPR_PARSE_ERROR", "EXPR_TYPE_ERROR", "EXPR_UNDEFINED_VARIABLE"}

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("{{ '}}' }}", "}}"), ("{{ \"}}\" + '{{' }}", "}}{{"), ("{{ {a: {b: '}'}} }}", {"a": {"b": "}"}}), ("{{ {a: {b: 1}}.a.b }}", 1), ("{{ '\\'}}' }}", "'}}"), ("{{ '\\\\' }}", "\\"), ("{{ ['}}', \")\"][1] }}", ")"),
            ("a \\{{ x }} b {{ 1 }}", "a {{ x }} b 1"), ("{{ 1 }}}}", "1}}"), ("{{{a: 1}}}", {"a": 1}), ("{{ {a: 1}}}", {"a": 1}), ("{{1}}{{2}}", "12"), ("}}{{ 1 }}{", "}}1{"), ("{{ '# $(' }}", "# $("),
            ("{\"a\": {{ 1 }}}", '{"a": 1}'), ("{{\n  1 +\n  2\n}}", 3),
        ],
    )  # fmt: skip
    def test_a_template_ends_at_the_first_closing_braces_outside_texts_and_brackets(
        self, tmp_path: Path, text: str, value: object
    ) -> None:
        result = run(tmp_path, f"tasks: {{a: {{run: echo}}}}\noutputs:\n  it: {quoted(text)}\n")
        assert result.value["it"] == value

    @pytest.mark.parametrize("text", ["{{ 'x }}", "{{ (1 }}", "{{ [ }}", "{{ } }}", "{{ {a: 1} }", "{{", "{{ 1 }", "{{ \" }} {{ 1 }}", "{{ '\\' }}"])  # fmt: skip
    def test_one_that_does_not_end_is_refused_at_its_beginning(self, tmp_path: Path, text: str) -> None:
        ((line, column, code, _),) = problems(
            write(tmp_path, f"tasks: {{a: {{run: echo}}}}\noutputs:\n  it: {quoted('x ' + text)}\n")
        )
        assert (line, code) == (3, "template")
        assert column == 10


def quoted(text: str) -> str:
    """A text as YAML has it between double quotes."""
    return json.dumps(text)


def test_raw_makes_code_of_a_whole_expression(tmp_path: Path) -> None:
    """It is trusted, and said to be."""
    result = run(
        tmp_path,
        """
        inputs: {x: {type: string, default: a b}}
        tasks:
          a: {run: "printf '%s.' {{ raw(inputs.x + ' c; echo ' + '\\"}}\\"') }} {{ inputs.x }}"}
          b: {run: "echo \\"<{{ raw('$(echo ' + inputs.x + ')') }}>\\" '{{ raw(\\"}\\") }}'"}
          c: {run: [printf, "%s.", "{{ raw(inputs.x + ';') }}"]}
        """,
    )
    assert result["a"].value == "a.b.c.}} a b"
    assert result["b"].value == "<a b> }"
    assert result["c"].value == "a b;."


def test_there_are_more_than_forty_words() -> None:
    assert len(set(WORDS)) == len(WORDS) > 40
