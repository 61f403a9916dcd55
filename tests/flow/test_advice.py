"""Warnings: few, each worth a look, and none of what is ordinary."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from plait.errors import FlowError
from plait.flow import load
from plait.flow.problems import Problem

ROOT = Path(__file__).parents[2]


def warned(folder: Path, text: str) -> list[Problem]:
    path = folder / "flow.yaml"
    path.write_text(text)
    return list(load(path).warnings)


def places(folder: Path, text: str) -> list[tuple[int, int, str]]:
    return [(each.line, each.column, each.code) for each in warned(folder, text)]


class TestInputs:
    def test_one_that_is_never_used_is_told_with_what_to_do(self, tmp_path: Path) -> None:
        (found,) = warned(tmp_path, "inputs: {a: {default: x}}\ntasks: {t: {run: 'true'}}\n")
        assert str(found).endswith(":1:10: warning[unused-input]: input 'a' is declared and never used")
        assert found.hint == "look it up as {{ inputs.a }}, or drop it"

    @pytest.mark.parametrize(
        "use",
        [
            "tasks: {t: {run: 'echo {{ inputs.a-b }}'}}",
            "tasks: {t: {run: 'echo {{ inputs[\"a-b\"] }}'}}",
            "tasks: {t: {run: 'echo {{ raw(inputs.a-b.c[0]) }}'}}",
            "tasks: {t: {run: echo, env: {A: '{{ inputs.a-b }}'}}}",
            "tasks: {g: {tasks: {t: {foreach: ['{{ inputs.a-b }}'], run: echo}}}}",
            "tasks: {t: {call: 'm:f', with: {x: [{y: '{{ inputs.a-b }}'}]}}}",
            "env: {A: '{{ inputs.a-b }}'}\ntasks: {t: {run: echo}}",
            "tasks: {t: {run: echo}}\noutputs: {o: '{{ inputs.a-b }}'}",
            "tasks: {t: {run: echo}}\nfinally: {u: {run: 'echo {{ inputs.a-b }}'}}",
            "defaults: {concurrency_key: '{{ inputs.a-b }}'}\ntasks: {t: {run: echo}}",
        ],
    )
    def test_one_that_is_used_anywhere_is_not(self, tmp_path: Path, use: str) -> None:
        assert warned(tmp_path, f"inputs: {{a-b: {{default: x}}}}\n{use}\n") == []

    def test_a_bad_file_has_its_warnings_too(self, tmp_path: Path) -> None:
        with pytest.raises(FlowError) as caught:
            warned(
                tmp_path, "inputs: {a: {default: x}, b: {default: x}}\ntasks: {t: {run: 'x {{ inputs.b', nedes: []}}\n"
            )
        assert [each.code for each in caught.value.warnings] == ["unused-input"]

    def test_what_refers_to_itself_is_an_error_and_no_endless_look(self, tmp_path: Path) -> None:
        text = "env: {A: '{{ env.A }}'}\ntasks: {t: {foreach: ['{{ env.A }}', '{{ item }}'], run: [rm, '{{ env.A }}', '{{ item }}']}}"
        with pytest.raises(FlowError) as caught:
            warned(tmp_path, text)
        assert [each.code for each in caught.value.problems] == ["EXPR_UNDEFINED_VARIABLE", "EXPR_UNDEFINED_VARIABLE"]


class TestArguments:
    """S15: data that begins with `-`."""

    @pytest.mark.parametrize(
        ("words", "columns"),
        [
            ('[rm, "{{ item }}"]', [41]),
            ('[rm, "{{ item.path }}"]', [41]),
            ('[rm, "{{ item }}.o"]', [41]),
            ('[rm, -f, "{{ tasks.l.output[0] }}"]', [45]),
            ('[/bin/rm, --, x, "{{ item }}"]', []),
            ('[rm, x, --, "{{ item }}"]', []),
            ('[rm, "{{ item }}", --, x]', [41]),
            ('[rm, "./{{ item }}"]', []),
            ('[rm, "--name={{ item }}"]', []),
            ('[rm, "{{ index }}"]', []),
            ('[rm, "{{ raw(item) }}"]', []),
            ('[rm, "{{ tasks.l.status }}"]', []),
            ('[echo, "{{ item }}"]', []),
            ('[/usr/bin/printf, "%s", "{{ item }}"]', []),
            ('[test, "{{ item }}", =, x]', []),
            ('[sh, -c, "echo $1", x, "{{ item }}"]', []),
            ('[python3.11, -I, -c, code, "{{ item }}"]', []),
            ('["{{ raw(item) }}", -c, code, "{{ item }}"]', []),
            ('[sh, -c, "{{ item }}"]', [45]),
            ('[gcc, -c, a.c, "{{ item }}"]', [51]),
            ('[ls, "{{ inputs.text }}"]', [41]),
            ('[ls, "{{ inputs.plain }}"]', [41]),
            ('[ls, "{{ inputs.number }}", "{{ inputs.whole }}", "{{ inputs.yes }}", "{{ inputs.list }}"]', []),
            ('[ls, "{{ inputs.list[0] }}"]', [41]),
            ('[ls, "{{ env.FIXED }}", "{{ env.NUMBER }}"]', []),
            ('[ls, "{{ env.GIVEN }}"]', [41]),
        ],
    )  # fmt: skip
    def test_a_word_of_a_list_that_begins_with_data_is_told_unless_it_can_be_no_option(
        self, tmp_path: Path, words: str, columns: list[int]
    ) -> None:
        inputs = "{text: {type: string, default: x}, plain: {default: x}, number: {type: number, default: 1}, whole: {type: integer, default: 1}, yes: {type: boolean, default: true}, list: {type: list, default: []}}"
        used = (
            "{{ inputs.text }}{{ inputs.plain }}{{ inputs.number }}{{ inputs.whole }}{{ inputs.yes }}{{ inputs.list }}"
        )
        text = f"inputs: {inputs}\nenv: {{FIXED: -x, GIVEN: '{{{{ inputs.text }}}}', NUMBER: '{{{{ inputs.number }}}}'}}\ntasks:\n  l: {{run: ls, output: lines}}\n"
        text += f"  t: {{foreach: \"{{{{ tasks.l.output }}}}\", run: {words}}}\noutputs: {{o: '{used}'}}\n"
        column = text.splitlines()[4].index(words) + 1
        assert places(tmp_path, text) == [(5, column - 36 + each, "option-like") for each in columns]

    @pytest.mark.parametrize(
        ("script", "found"),
        [
            ("rm {{ item }}", ["rm"]),
            ("rm -rf {{ item }}/x", ["rm"]),
            ("set -e; cd x && X=1 rm {{ item }} | cat", ["rm"]),
            ("if rm {{ item }}; then mv a {{ item }}; fi", ["mv", "rm"]),
            ("for x in {{ item }}; do rm $x {{ item }}; done", ["rm"]),
            ("(rm {{ item }})", ["rm"]),
            ("sort \\\n  {{ item }}", ["sort"]),
            ("it='s' rm \"a b\" {{ item }}", ["rm"]),
            ("rm -- {{ item }}", []),
            ("rm ./{{ item }} --x={{ item }}", []),
            ("ls > {{ item }} 2>> {{ item }} < {{ item }}", []),
            ("echo {{ item }} && test {{ item }} = x || [ {{ item }} ]", []),
            ("x={{ item }}; printf '%s' {{ item }}", []),
            ("case {{ item }} in a) rm -- {{ item }};; esac", []),
            ("# it's\necho {{ item }}", []),
            ("rm '{{ raw(item) }}' {{ raw(item) }}", []),
            ("rm {{ index }}", []),
            ("find {{ inputs.folder }} -name x; rm {{ inputs.folder }}", []),
            ("bash -c 'x' a {{ item }}", []),
            ("find {{ item }} -type f", ["find"]),
        ],
    )
    def test_a_script_is_told_of_what_the_run_found_and_of_programs_that_take_options(
        self, tmp_path: Path, script: str, found: list[str]
    ) -> None:
        lines = "".join(f"      {line}\n" for line in script.split("\n"))
        text = f"inputs: {{folder: {{default: x}}}}\ntasks:\n  l: {{run: 'ls {{{{ inputs.folder }}}}', output: lines}}\n  t:\n    foreach: '{{{{ tasks.l.output }}}}'\n    run: |\n{lines}"
        warnings = warned(tmp_path, text)
        assert sorted(each.message.split("`")[1] for each in warnings) == found
        for each in warnings:
            assert text.splitlines()[each.line - 1][each.column - 1 :].startswith("{{ item }}")
            assert ("find takes no `--`" in each.hint) == (found == ["find"])

    def test_hints_say_how_to_write_it(self, tmp_path: Path) -> None:
        text = 'tasks: {t: {foreach: ["{{ tasks.u.output }}"], run: [git, "{{ item }}", -m, "{{ item }}", --author, "{{ item }}"]}, u: {run: x}}'
        assert [each.hint for each in warned(tmp_path, text)] == [
            "put `--` before it, or write it as --name={{ item }}",
            "put `--` before it; if it belongs to -m, write both as one word: -m{{ item }}",
            "write --author={{ item }} as one word, or put `--` before it",
        ]

    def test_a_list_that_stands_in_the_file_is_no_data(self, tmp_path: Path) -> None:
        text = "tasks: {{t: {{foreach: {0}, run: [rm, '{{{{ item{1} }}}}']}}, u: {{run: x}}}}"
        assert warned(tmp_path, text.format("[a, -b]", "")) == []
        assert warned(tmp_path, text.format("[{a: '{{ tasks.u.output }}', b: x}]", ".b")) == []
        assert len(warned(tmp_path, text.format("[{a: '{{ tasks.u.output }}', b: x}]", ".a"))) == 1
        assert len(warned(tmp_path, text.format("[a, '{{ tasks.u.output }}']", ""))) == 1

    def test_groups_cleanups_and_repairs_are_looked_at_too(self, tmp_path: Path) -> None:
        text = """\
tasks:
  l: {run: ls}
  g:
    foreach: "{{ tasks.l.output }}"
    tasks:
      a: {run: [rm, "{{ item }}"]}
      b: {run: x, on_error: {run: [rm, "{{ error.message }}", "{{ error.type }}"]}}
    finally:
      c: {run: [rm, "{{ item }}"]}
finally:
  d: {run: [rm, "{{ tasks.l.output }}"]}
"""
        assert [line for line, _, _ in places(tmp_path, text)] == [6, 7, 9, 11]

    def test_data_that_chooses_the_program_is_told(self, tmp_path: Path) -> None:
        text = """\
tasks:
  l: {run: ls, output: lines}
  a: {foreach: "{{ tasks.l.output }}", run: ["{{ item }}", x]}
  b: {foreach: "{{ tasks.l.output }}", run: "{{ item }} x"}
  c: {foreach: "{{ tasks.l.output }}", run: ["{{ raw(item) }}", x]}
  d: {foreach: [cc, clang], run: ["{{ item }}", x]}
"""
        first, second = warned(tmp_path, text)
        assert str(first).endswith(
            ":3:46: warning[chosen-program]: the value of {{ item }} chooses the program that runs"
        )
        assert "{{ raw(item) }}" in first.hint
        assert (second.line, second.column, "raw" in second.hint) == (4, 46, False)


def test_no_file_of_ours_is_warned_of(tmp_path: Path) -> None:
    texts = [path.read_text() for path in ROOT.glob("examples/**/*.yaml")]
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        texts += [
            text for text in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.M | re.S) if "\ntasks:" in text
        ]
    assert len(texts) > 6
    for text in texts:
        assert [str(each) for each in warned(tmp_path, text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "inputs: {a: {default: x}}\ntasks: {t: {run: " + "inputs " * 600_000 + "}}",
        "tasks: {t: {run: '" + "{{ item" * 500_000 + "'}}",
        "tasks: {t: {run: '" + '{{ "a" ' * 500_000 + "'}}",
        "tasks: {t: {run: '" + "${" * 500_000 + " {{ raw(index) }}'}}",
        "tasks: {t: {foreach: [" + "'{{ x }}'," * 40_000 + "], run: [" + "'{{ item }}'," * 40_000 + "]}}",
        "tasks: {t: {foreach: [" + "-x," * 40_000 + "], run: [" + "'{{ item }}'," * 40_000 + "]}}",
    ],
    ids=["uses", "open look-ups", "quotes", "braces", "items", "fixed items"],
)
def test_what_is_made_to_be_slow_is_not(tmp_path: Path, text: str) -> None:
    """S13."""
    from plait.flow.advice import advise
    from plait.flow.problems import Problems
    from plait.flow.tree import read

    problems = Problems("flow.yaml")
    tree, _ = read(Path("flow.yaml"), problems, text)
    began = time.process_time()
    advise(tree, problems)
    assert time.process_time() - began < 2
