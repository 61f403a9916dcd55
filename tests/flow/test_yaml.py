"""Workflow files: what they mean, and one clear line for everything that is wrong with them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import plait
from flow_files import LINE, problems, run, write
from plait.errors import FlowError
from plait.flow import load
from plait.flow.reader import read_flow


class TestMeaning:
    def test_commands_lines_json_and_calls_flow_into_each_other_with_their_types(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            "def total(numbers, extra=0):\n    return {'sum': sum(numbers) + extra}\nasync def later(x):\n    return x\n",
            "steps.py",
        )
        result = run(
            tmp_path,
            """
            inputs:
              extra: {type: integer, default: 4}
            tasks:
              list: {run: "printf '1\\n2\\n'", output: lines}
              data: {run: "echo '[1, 2, 3]'", output: json}
              sum:
                call: steps:total
                with: {numbers: "{{ tasks.data.output }}", extra: "{{ inputs.extra }}"}
              later: {call: "steps:later", with: {x: {deep: ["{{ tasks.sum.output.sum }}", text]}}}
            outputs:
              sum: "{{ tasks.sum.output.sum }}"
              text: "got {{ tasks.sum.output.sum }} and {{ tasks.list.output }}"
              deep: "{{ tasks.later.output.deep[0] }}"
            """,
        )
        assert result.value == {"sum": 10, "text": 'got 10 and ["1","2"]', "deep": 10}

    def test_foreach_over_a_list_known_at_run_time_in_order_with_null_for_an_allowed_failure(
        self, tmp_path: Path
    ) -> None:
        result = run(
            tmp_path,
            """
            tasks:
              list: {run: "printf 'a\\nb\\nc\\n'", output: lines}
              each:
                foreach: "{{ tasks.list.output }}"
                key: "{{ item }}"
                run: test {{ item }} != b && echo {{ item }}-{{ index }}
                allow_failure: true
            outputs: {each: "{{ tasks.each.output }}"}
            """,
        )
        assert result.value == {"each": ["a-0", None, "c-2"]}
        assert result.degraded
        assert result["each[b]"].status == "failed"

    def test_foreach_over_nothing_and_over_what_is_no_list(self, tmp_path: Path) -> None:
        text = 'tasks:\n  l: {run: "echo \'LIST\'", output: json}\n  e: {foreach: "{{ tasks.l.output }}", run: echo}\n'
        assert run(tmp_path, text.replace("LIST", "[]"))["e"].value == []
        assert "needs a list, and was given 5" in str(run(tmp_path, text.replace("LIST", "5"))["e"].error)

    def test_groups_nest_see_outer_tasks_and_are_seen_from_outside(self, tmp_path: Path) -> None:
        result = run(
            tmp_path,
            """
            tasks:
              first: {run: echo 1}
              outer:
                tasks:
                  inner:
                    tasks:
                      leaf: {run: "echo leaf {{ tasks.first.output }}"}
                  user: {run: "echo {{ tasks.inner.leaf.output }} {{ tasks.inner.output }}"}
              each:
                foreach: [x, y]
                max_concurrency: 1
                tasks:
                  a: {run: "echo {{ item }}{{ tasks.first.output }}"}
                  b: {run: "echo b{{ tasks.a.output }}"}
            outputs:
              leaf: "{{ tasks.outer.inner.leaf.output }}"
              status: "{{ tasks.outer.inner.leaf.status }}"
              user: "{{ tasks.outer.user.output }}"
              each: "{{ tasks.each.output }}"
            """,
        )
        assert result.value == {
            "leaf": "leaf 1",
            "status": "succeeded",
            "user": 'leaf 1 {"leaf":"leaf 1"}',
            "each": [{"a": "x1", "b": "bx1"}, {"a": "y1", "b": "by1"}],
        }
        assert "each[1]/b" in result

    def test_policies_defaults_when_and_joins(self, tmp_path: Path) -> None:
        result = run(
            tmp_path,
            f"""
            on_failure: continue
            defaults: {{retry: {{attempts: 2, delay: 0}}}}
            tasks:
              flaky: {{run: "test -e {tmp_path}/x || {{ touch {tmp_path}/x; exit 1; }}"}}
              bad: {{run: "exit 7", retries: 0}}
              after: {{needs: [bad], run: echo never}}
              rescue: {{needs: [bad], join: one_failed, run: "echo rescued {{{{ tasks.bad.status }}}}"}}
              no: {{when: false, run: echo never}}
              skipped: {{needs: [no], run: echo never}}
              slow: {{run: sleep 60, timeout: 100ms, grace: 100ms, allow_failure: true}}
            """,
        )
        assert {key: (str(each.status), each.attempts) for key, each in result.items()} == {
            "flaky": ("succeeded", 2),
            "bad": ("failed", 1),
            "after": ("upstream_failed", 0),
            "rescue": ("succeeded", 1),
            "no": ("skipped", 0),
            "skipped": ("skipped", 0),
            "slow": ("timed_out", 2),
        }
        assert result["rescue"].value == "rescued failed"

    def test_environment_and_folder_of_a_command(self, tmp_path: Path) -> None:
        result = run(
            tmp_path,
            f"""
            inputs: {{who: {{type: string, default: "it's"}}}}
            env: {{A: "a {{{{ inputs.who }}}}", B: b}}
            tasks:
              t: {{run: 'echo "$A" "$B" "$PWD" "$PLAIT_TASK"', env: {{B: "2 {{{{ env.B }}}}"}}, cwd: "{tmp_path}"}}
            """,
        )
        assert result["t"].value == f"a it's 2 b {tmp_path} t"

    @pytest.mark.parametrize(
        ("kind", "given", "value"),
        [
            ("string", "12", "12"),
            ("integer", "12", 12),
            ("number", "1.5", 1.5),
            ("boolean", "true", True),
            ("list", "[1]", [1]),
            ("object", '{"a": 1}', {"a": 1}),
            ("list", [2], [2]),
        ],
    )
    def test_inputs_have_types(self, tmp_path: Path, kind: str, given: Any, value: Any) -> None:
        text = f"inputs: {{x: {{type: {kind}}}}}\ntasks: {{t: {{run: 'true'}}}}\noutputs: {{x: '{{{{ inputs.x }}}}'}}"
        assert run(tmp_path, text, x=given).value == {"x": value}

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({}, "needs the input 'x'"),
            ({"x": "a"}, "must be of type integer"),
            ({"x": True}, "must be of type integer"),
            ({"x": 1, "y": 2}, "has no input 'y'"),
        ],
    )
    def test_inputs_that_cannot_be_are_refused_before_anything_runs(
        self, tmp_path: Path, given: dict[str, Any], message: str
    ) -> None:
        path = write(tmp_path, f"inputs: {{x: {{type: integer}}}}\ntasks: {{t: {{run: touch {tmp_path}/ran}}}}")
        with pytest.raises(plait.UsageError, match=message):
            plait.run(load(path), inputs=given)
        assert not (tmp_path / "ran").exists()

    def test_a_call_that_cannot_be_imported_or_bound_is_refused_with_its_place_before_the_first_task(
        self, tmp_path: Path
    ) -> None:
        """S18."""
        write(tmp_path, "def f(a): pass\nx = 1\n", "mod_of_test.py")
        text = f"""
tasks:
  first: {{run: touch {tmp_path}/ran}}
  a: {{call: "no_such_module:f"}}
  b: {{call: "mod_of_test:g"}}
  c: {{call: "mod_of_test:f", with: {{b: 1}}}}
  d: {{call: "mod_of_test:x"}}
  e: {{tasks: {{f: {{call: "mod_of_test:f"}}}}}}
"""
        path = write(tmp_path, text)
        flow = load(path)  # loading imports nothing
        assert "mod_of_test" not in sys.modules
        with pytest.raises(FlowError) as caught:
            plait.run(flow)
        assert [problem.line for problem in caught.value.problems] == [4, 5, 6, 7, 8]
        assert not (tmp_path / "ran").exists()

    def test_only_takes_a_task_and_what_it_needs(self, tmp_path: Path) -> None:
        flow = load(
            write(tmp_path, "tasks: {a: {run: echo a}, b: {run: 'echo {{ tasks.a.output }}'}, c: {run: echo c}}")
        )
        assert list(plait.run(flow.only(["b"]))) == ["a", "b"]
        with pytest.raises(plait.UsageError, match="no task 'd'"):
            flow.only(["d"])

    def test_the_same_flow_in_yaml_and_python_gives_the_same_outcomes(self, tmp_path: Path) -> None:
        result = run(tmp_path, "tasks: {a: {run: echo 1}, b: {run: exit 1, needs: [a]}, c: {run: echo 3, needs: [b]}}")
        graph = plait.Graph("same")
        graph.add("a", plait.shell("echo 1"))
        graph.add("b", plait.shell("exit 1"), needs=["a"])
        graph.add("c", plait.shell("echo 3"), needs=["b"])
        other = plait.run(graph, raise_on_failure=False)
        assert {key: (each.status, each.value) for key, each in result.items()} == {
            key: (each.status, each.value) for key, each in other.items()
        }


HOSTILE = [
    "x; touch CANARY", "$(touch CANARY)", "`touch CANARY`", "x\ntouch CANARY\n", "x && touch CANARY", "x | touch CANARY", "'; touch CANARY; '",
    '"; touch CANARY; "', "\\'; touch CANARY #", "\\", "\\\\", "'", "''", '"', "x' 'y", "$HOME", "${HOME}", "*", "~", "-rf", "--", "!!", "#", "x #",
    "&", "x &", ">CANARY", "<(touch CANARY)", "{a,b}", "[a]", "a\tb", " lead", "trail ", "", "$'\\x27'", "'\"'\"'", "é\u2028ü", "\r", "a=b", "(touch CANARY)", "\x07",
]  # fmt: skip
"""Forty strings that a shell would like to take for something else."""


class TestShellSafety:
    """S14: really run in a shell."""

    @pytest.mark.realtime
    def test_a_value_is_one_word_whatever_it_holds(self, tmp_path: Path) -> None:
        assert len(HOSTILE) >= 40
        text = """
inputs: {v: {type: list}}
tasks:
  each:
    foreach: "{{ inputs.v }}"
    run: |
      printf '%s\\0' before {{ item }} "after" pre{{ item }}post; x={{ item }} # comment
      test "$x" = {{ item }} && printf '%s\\0' "$x" | cat
  plain:
    foreach: "{{ inputs.v }}"
    run: [printf, '%s\\0', "{{ item }}", "pre{{ item }}"]
"""
        flow = load(write(tmp_path, text))
        script = f"import json, plait, sys\nfrom plait.flow import load\nresult = plait.run(load({str(flow.file.path)!r}), inputs={{'v': json.load(sys.stdin)}})\n"
        script += "print(json.dumps([result['each'].value, result['plain'].value]))"
        child = subprocess.run(
            [sys.executable, "-c", script],
            input=json.dumps(HOSTILE),
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=60,
        )
        assert child.returncode == 0, child.stderr
        shells, plains = json.loads(child.stdout)
        for value, shell, plain in zip(HOSTILE, shells, plains, strict=True):
            assert shell.split("\0")[:-1] == ["before", value, "after", f"pre{value}post", value], repr(value)
            assert plain.split("\0")[:-1] == [value, f"pre{value}"], repr(value)
        assert not (tmp_path / "CANARY").exists()

    @pytest.mark.realtime
    @pytest.mark.parametrize(
        ("script", "value"),
        [
            ("echo ${#PATH} '\n} {{ item }} '", "x; touch CANARY;"), ("echo a \\\n# '\necho '{{ item }}'", "x; touch CANARY;"), ("echo \"${x:-'}\" b '}\" {{ item }} '", "x; touch CANARY;"),
            ("cat <<\\EOF\nOF\n{{ item }}\nEOF", "x\nEOF\ntouch CANARY\n"), ("cat <<' E'\n E\n{{ item }}", "; touch CANARY"), ("cat <<E\nc\\\nE\n{{ item }}\nE", "E\ntouch CANARY\n"),
            ("echo $(( (1 << 2) ))\necho '\n2\n{{ item }}'", "x; touch CANARY;"), ("echo `# ` '\n` {{ item }}'", "x; touch CANARY;"), ("echo \"$(case x in x) echo '\"' ;; esac)\" ' {{ item }} '", "x; touch CANARY;"),
            ("echo $\\\n{{ item }}", "\\'\" ; touch CANARY; #"), ("echo $[1<<2]\necho '\n2]\n{{ item }}'", "x; touch CANARY;"), ("\\\n#{{ item }}", "x; touch CANARY;\ntouch CANARY"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("shell", ["sh", "bash"])
    def test_no_value_is_ever_code_even_where_the_check_of_its_place_is_fooled(
        self, tmp_path: Path, script: str, value: str, shell: str
    ) -> None:
        """S14: scripts that once fooled the check; values are not part of the script's text, whatever it says."""
        from plait.flow.templates import parse_template

        class Scope:
            def look_up(self, name: str, steps: tuple[str | int, ...]) -> tuple[str, int]:
                return value, 0

        assert next(parse_template(script).holes).formula.text == "item"
        text, values = parse_template(script).script(Scope())
        subprocess.run(
            [shell, "-c", text],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", **values},
            capture_output=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
        )
        assert not (tmp_path / "CANARY").exists()

    @pytest.mark.realtime
    @pytest.mark.parametrize(
        ("script", "value", "shown"),
        [
            ("x=safe; echo $x{{ item }}", "_y", "safe_y"),
            ("echo {{ item }}>out; cat out", "2", "2"),
            ("echo ~{{ item }}", "root", "~root"),
            ("{{ item }} echo hi || echo no", "FOO=bar", "no"),
            ("echo {a,{{ item }}}", "b,c", "{a,b,c}"),
        ],
    )
    def test_a_value_changes_nothing_around_it(self, tmp_path: Path, script: str, value: str, shown: str) -> None:
        text = json.dumps(
            {
                "inputs": {"v": {"type": "string"}},
                "tasks": {"t": {"run": script.replace("item", "inputs.v"), "cwd": str(tmp_path)}},
            }
        )
        assert run(tmp_path, text, v=value)["t"].value == shown

    @pytest.mark.parametrize(
        "script",
        [
            'echo "{{ inputs.v }}"', "echo '{{ inputs.v }}'", "echo `echo {{ inputs.v }}`", "echo $(echo {{ inputs.v }})", 'echo "$(echo {{ inputs.v }})"',
            "echo ${x:-{{ inputs.v }}}", "echo $(({{ inputs.v }}))", "(( x = {{ inputs.v }} ))", "# {{ inputs.v }}", "echo x # {{ inputs.v }}",
            "cat <<EOF\n{{ inputs.v }}\nEOF", "cat <<'EOF'\n{{ inputs.v }}\nEOF", "cat <<-EOF\n\t{{ inputs.v }}\n\tEOF", "cat <<{{ inputs.v }}\nx\n", "echo $'{{ inputs.v }}'",
            "echo ${{ inputs.v }}", "echo \"a\" 'b {{ inputs.v }}'", "x=\"${y:-'{{ inputs.v }}'}\"", "echo \"`echo {{ inputs.v }}`\"",
        ],
    )  # fmt: skip
    def test_a_value_where_quoting_does_not_protect_is_refused(self, tmp_path: Path, script: str) -> None:
        path = write(tmp_path, "inputs: {v: {type: string}}\ntasks: {t: {run: " + json.dumps(script) + "}}")
        assert [code for _, _, code, _ in problems(path)] == ["shell-unsafe"]
        raw = write(
            tmp_path,
            "inputs: {v: {type: string}}\ntasks: {t: {run: "
            + json.dumps(script.replace("inputs.v", "raw(inputs.v)"))
            + "}}",
        )
        load(raw)

    @pytest.mark.parametrize(
        "script",
        [
            "echo {{ inputs.v }}", "echo 'a' {{ inputs.v }} \"b\"", "x={{ inputs.v }}", "cat <<EOF\nx\nEOF\necho {{ inputs.v }}", "echo $(date) {{ inputs.v }}",
            "echo \"$(echo 'a)b')\" {{ inputs.v }}", "echo a#b {{ inputs.v }}", "echo ${x#y} {{ inputs.v }}", "# it's\necho {{ inputs.v }}", "echo \\' {{ inputs.v }}",
            "if true; then echo {{ inputs.v }}; fi", "cat <<A <<B\na\nA\nb\nB\necho {{ inputs.v }}", "echo $((1 + (2))) {{ inputs.v }}", "(echo {{ inputs.v }})",
            "echo \"\\\"\" {{ inputs.v }} >out", "cat <<< x {{ inputs.v }}", "echo $# {{ inputs.v }}", "echo $'x' {{ inputs.v }}", "n=${#PATH}; echo {{ inputs.v }}", "cat <<\\EOF\nx\nEOF\necho {{ inputs.v }}", "echo $(( (1<<2) ))\necho {{ inputs.v }}",
            "echo \"${x:-it's}\"; echo {{ inputs.v }}", "echo a \\\n  {{ inputs.v }}",
        ],
    )  # fmt: skip
    def test_a_value_beside_quotes_comments_and_documents_is_fine(self, tmp_path: Path, script: str) -> None:
        load(write(tmp_path, "inputs: {v: {type: string}}\ntasks: {t: {run: " + json.dumps(script) + "}}"))


class TestBadFiles:
    def test_all_problems_of_a_file_at_once_each_with_its_place(self, tmp_path: Path) -> None:
        """D10."""
        path = write(
            tmp_path,
            """\
name: 7
retires: 3
max_concurrency: 0
tasks:
  a: {run: "echo {{ tasks.b.output }}", retires: 2}
  b: {run: echo, call: x:y}
  c: {needs: [d, c], run: echo}
  e: {run: "echo {{ inputs.x }} {{ item }} {{ nope.x }}"}
  f: {switch: []}
  g: {run: echo, timeout: 0}
  h: {run: echo, max_concurrency: 2}
  i: {run: "{{ unclosed"}
  j: {call: os.system}
  ../k: {run: echo}
  l: {run: echo, output: xml}
  m: {run: echo, needs: [n]}
  n: {run: echo, needs: [m]}
""",
        )
        found = problems(path)
        assert [(line, code) for line, _, code, _ in found] == [
            (1, "type"), (2, "unknown-key"), (3, "value"), (5, "unknown-key"), (6, "body"), (7, "unknown-task"), (7, "cycle"),
            (8, "unknown-input"), (8, "EXPR_UNDEFINED_VARIABLE"), (8, "EXPR_UNDEFINED_VARIABLE"), (9, "type"), (10, "value"), (11, "misplaced"),
            (12, "template"), (13, "value"), (14, "key"), (15, "value"), (17, "cycle"),
        ]  # fmt: skip
        texts = "\n".join(message for *_, message in found)
        assert "unknown key 'retires' in task 'a'. Did you mean 'retries'?" in texts
        assert "cycle: n -> m -> n" in texts

    @pytest.mark.parametrize(
        ("text", "place", "code"),
        [
            ("tasks:\n  a: {run: x}\n  a: {run: y}\n", (3, 3), "duplicate-key"),
            ("tasks: {a: {run: !!python/object/apply:os.system [ls]}}", (1, 18), "tag"),
            ("tasks: {a: {call: 'os:getpid', memory_limit: 1GB}}", (1, 32), "misplaced"),
            ("tasks: {a: {call: 'os:getpid', executor: process, memory_limit: 1}, b: {run: x, memory_limit: big}}", (1, 95), "value"),
            ("defaults: {memory_limit: 1GB}\ntasks: {a: {run: x}, b: {call: 'os:getpid'}}", (2, 25), "misplaced"),
            ("tasks: {a: {run: !x y}}", (1, 18), "tag"),
            ("tasks: {a: {run: x}}\n---\ntasks: {}\n", (2, 1), "second-document"),
            ("tasks: &t [*t]", (1, 8), "alias-loop"),
            ("tasks: {a: {run: x, <<: {when: false}}}", (1, 21), "merge"),
            ("tasks:\n  a: {foreach: {{ tasks.b.output }}, run: x}", (2, 16), "unquoted-template"),
            ("tasks:\n  a:\n    run: {{ x }} y", (3, 10), "unquoted-template"),
            ("tasks: {1.10: {run: x}}", (1, 9), "key"),
            ("tasks: {a: {run: x, when: 'false'}}", (1, 27), "type"),
            ("tasks: {a: {run: x}, b: {run: x, when: '{{ tasks.a.output }} == 1'}}", (1, 40), "type"),
            ("tasks:\n  a:\n    run: echo one: two", (3, 18), "yaml"),
            ("", (1, 1), "empty"),
            ("- a\n", (1, 1), "type"),
            ("tasks: [", (2, 1), "yaml"),
            ("tasks: {}\n", (1, 8), "empty"),
            (b"tasks: \xff\xfe", (1, 8), "not-text"),
            (b"tasks: {a: {run: x\x00y}}", (1, 19), "not-text"),
            (b"\x7fELF\x02\x01\x01" + bytes(100), (1, 1), "not-text"),
            ("x: " + "[" * 500, (1, 453), "too-deep"),
            ("x: " + "[" * 100_000, (1, 453), "too-deep"),
            ("x: " + "{a: " * 500, (1, 0), "too-deep"),
        ],
        ids=lambda value: repr(value)[:30],
    )  # fmt: skip
    def test_what_is_no_workflow_file_gets_one_clear_line(
        self, tmp_path: Path, text: str | bytes, place: tuple[int, int], code: str
    ) -> None:
        """S06 S08 S09 S10 S11 S12."""
        found = problems(write(tmp_path, text))
        assert found[0][2] == code
        if place[1]:
            assert found[0][:2] == place

    def test_an_alias_bomb_is_refused_quickly(self, tmp_path: Path) -> None:
        """S07."""
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [
            f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)
        ]
        began = time.process_time()
        assert problems(write(tmp_path, "\n".join(lines)))[0][2] == "too-large"
        assert time.process_time() - began < 2

    @pytest.mark.parametrize("line", ["- x\n", "x\n", "a: b\n", "{" * 10 + "\n", "\t"])
    def test_twenty_megabytes_are_refused_quickly(self, tmp_path: Path, line: str) -> None:
        """S13."""
        began = time.process_time()
        assert problems(write(tmp_path, line * (20_000_000 // len(line))))[0][2] == "too-large"
        assert time.process_time() - began < 2

    def test_as_many_nodes_as_fit_a_file_are_refused_quickly(self, tmp_path: Path) -> None:
        """S13."""
        began = time.process_time()
        assert problems(write(tmp_path, "tasks: [" + "," * 4_900_000 + "]"))[0][2] in ("too-large", "yaml")
        assert problems(write(tmp_path, "- a\n" * 1_200_000))[0][2] == "too-large"
        assert time.process_time() - began < 4

    def test_depth_counts_what_aliases_stand_for(self, tmp_path: Path) -> None:
        """S08 S09."""
        lines = [f"a{n}: &a{n} {'[' * 100}{f'*a{n - 1}' if n else 'x'}{']' * 100}" for n in range(5)]
        assert problems(write(tmp_path, "\n".join(lines)))[0][2] == "too-deep"
        text = "tasks: {a: {run: 'echo {{ " + "raw(" * 1500 + "x" + ")" * 1500 + " }}'}}"
        assert "nested deeper than 100 levels" in problems(write(tmp_path, text))[0][3]

    @pytest.mark.parametrize(
        "text",
        [
            "tasks:\n" + "".join(f"  t{n}: {{run: x, needs: [u{n}]}}\n" for n in range(1000)),
            "tasks:\n" + "".join(f"  {'k' * 180}{n}: {{run: x, needs: [{'k' * 180}x{n}]}}\n" for n in range(300)),
            "".join(f"k{n}: 1\n" for n in range(90_000)),
            "tasks: {a: {run: " + "x" * 4_900_000 + "}}",
            "tasks: {a: {run: 'echo " + "{{ inputs.a" + ".b" * 4000 + " }}'}}",
        ],
        ids=["unknown needs", "long unknown needs", "unknown keys", "a long script", "a long look-up"],
    )
    def test_many_problems_cost_little_and_are_counted(self, tmp_path: Path, text: str) -> None:
        """S13."""
        path = write(tmp_path, text)
        began = time.process_time()
        try:
            load(path)
        except FlowError as error:
            assert len(error.problems) <= 1001
        assert time.process_time() - began < 2

    def test_every_cycle_is_told_and_bad_names_and_defaults_too(self, tmp_path: Path) -> None:
        path = write(
            tmp_path,
            "inputs: {a: {type: integer, required: true, default: 4}}\nenv: {A=B: x, '': y}\ntasks:\n  a: {run: x, needs: [b]}\n  b: {run: x, needs: [a]}\n  c: {run: x, needs: [d]}\n  d: {run: x, needs: [c]}\n",
        )
        assert [code for _, _, code, _ in problems(path)] == ["value", "value", "value", "cycle", "cycle"]

    def test_what_is_wrong_with_a_default_is_told_once_and_where_it_stands(self, tmp_path: Path) -> None:
        """S10: also with more tasks than there are hints, and where several tasks are one alias; a task's own fault is its own."""
        tasks = "".join(f"  t{at}: {{run: x}}\n" for at in range(30)) + "  g: {tasks: {a: {run: x}}}\n"
        for defaults, place in (
            ("pool: nope", 18),
            ('concurrency_key: "{{ inputs.flder }}"', 33),
            ("concurrency_key: {key: '{{ env.X }}', n: 0}", 29),
            ("cost: 6, rate_limit: 5/1s", 18),
            ("writes: ['{{ item }}']", 25),
            ("reads: '{{'", 20),
            ("retries: 1, retry: {attempts: 2}", 24),
        ):
            text = f"defaults: {{{defaults}}}\ninputs: {{folder: {{type: string}}}}\nenv: {{X: x}}\ntasks:\n{tasks}"
            ((line, column, _, _),) = problems(write(tmp_path, text))
            assert (line, column) == (1, place), defaults
        path = write(
            tmp_path,
            "defaults: {rate_limit: 5/1s}\ntasks:\n  a: &a {run: x, pool: no, cost: 7}\n  b: *a\n  c: {call: 'm:f', cost: 2, needs: [d]}\n",
        )
        assert [found[:2] for found in problems(path)] == [(3, 24), (3, 34), (5, 37)]

    def test_what_no_command_can_be_given_is_refused(self, tmp_path: Path) -> None:
        """S10: in Python a folder, too."""
        path = write(
            tmp_path,
            r"""env: {V: "a\0"}
tasks:
  a: {run: "echo a\0b"}
  b: {run: [echo, "a\0b"]}
  c: {run: echo, env: {A: "a\0b"}, cwd: "a\0b"}
  d: {run: echo, cwd: ""}
  e: {run: echo, cwd: .nan}
  f: {call: "m:f", with: {data: "a\0b"}}
""",
        )
        found = [(line, column, code) for line, column, code, _ in problems(path)]
        assert found == [
            (1, 10, "value"),
            (3, 12, "value"),
            (4, 19, "value"),
            (5, 27, "value"),
            (5, 41, "value"),
            (6, 23, "type"),
            (7, 23, "type"),
        ]
        for folder in ("", "a\0b"):
            with pytest.raises(plait.LimitError, match="cwd must be the path of a file or folder"):
                plait.shell("true", cwd=folder)

    def test_a_bare_template_is_told_once(self, tmp_path: Path) -> None:
        """S10."""
        path = write(tmp_path, "tasks:\n  a: {run: x, cost: {{ x }}, timeout: {{ x }}}\n  b: {run: {{ x }}}\n")
        assert [code for _, _, code, _ in problems(path)] == ["unquoted-template"] * 3

    def test_places_of_templates_are_exact_in_plain_quoted_and_block_text(self, tmp_path: Path) -> None:
        path = write(
            tmp_path,
            "tasks:\n  a:\n    run: echo {{ zz }}\n  b:\n    run: 'echo {{ zz }}'\n  c:\n    run: |\n      echo\n      echo {{ zz }}\n",
        )
        assert [(line, column) for line, column, _, _ in problems(path)] == [(3, 18), (5, 19), (9, 15)]
        text = "tasks:\n  a:\n    run: \"echo '\\\\' \\t {{ zz }}\"\n  b:\n    run: >\n      echo\n      {{ zz }}\n  c:\n    run: |2-\n         echo {{ zz }}\n  d:\n    run: echo\n      a {{ zz }}\n"
        found = [(line, column) for line, column, _, _ in problems(write(tmp_path, text))]
        assert found == [(3, 27), (7, 10), (10, 18), (13, 12)]

    def test_a_missing_file_and_a_folder(self, tmp_path: Path) -> None:
        assert problems(tmp_path / "no.yaml")[0][3] == "the file cannot be read: No such file or directory"
        assert "folder" in problems(tmp_path)[0][3]

    def test_scalars_are_those_of_yaml_1_2(self, tmp_path: Path) -> None:
        """S12: `on`, `yes` and `12:30` are text."""
        from plait.flow.problems import Problems
        from plait.flow.tree import plain, read

        path = write(tmp_path, "[on, yes, no, 12:30:45, 1.10, 0o17, 0x1f, 010, ~, true, '1', 1e3, .inf, 1_000]")
        assert plain(read(path, Problems(str(path)))[0]) == [
            "on", "yes", "no", "12:30:45", 1.1, 15, 31, 10, None, True, "1", 1000.0, float("inf"), "1_000",
        ]  # fmt: skip

    def test_groups_nested_deeper_than_the_bound_are_refused(self, tmp_path: Path) -> None:
        text = "tasks: {a: {" * 102 + "run: x" + "}}" * 102
        assert problems(write(tmp_path, text))[0][2] == "too-deep"
        text = "tasks: {a: {" * 90 + "run: echo deep" + "}}" * 90
        assert run(tmp_path, text).status == "succeeded"

    def test_a_mutated_file_gives_problems_or_a_flow_never_another_exception(self, tmp_path: Path) -> None:
        import random

        source = (Path(__file__).parents[2] / "examples" / "stdlib_audit" / "audit.yaml").read_bytes()
        dice = random.Random(7)
        pieces = [
            b"{{",
            b"}}",
            b"'",
            b'"',
            b"[",
            b"]",
            b"{",
            b"}",
            b":",
            b"\n",
            b"  ",
            b"- ",
            b"&a",
            b"*a",
            b"!",
            b"#",
            b"|",
            b"tasks.",
            b"raw(",
            b"\xff",
            b"0",
            b"~",
        ]
        for number in range(1500):
            data = bytearray(source)
            for _ in range(dice.randint(1, 4)):
                at = dice.randrange(len(data))
                match dice.randrange(3):
                    case 0:
                        data[at:at] = dice.choice(pieces)
                    case 1:
                        del data[at : at + dice.randint(1, 12)]
                    case 2:
                        data[at:at] = data[at : at + dice.randint(1, 40)]
            path = write(tmp_path, bytes(data))
            try:
                read_flow(path)
            except FlowError as error:
                assert error.problems
                assert all(LINE.match(str(problem)) for problem in error.problems), number


class TestQuestions:
    """E7 A18: what may stand in `ask:` and `approve:`, and what is said where it may not."""

    @pytest.mark.parametrize(
        ("body", "at", "code", "says"),
        [
            ("{ask: [1]}", (2, 12), "type", "ask must be a question, as text, not a list"),
            ("{ask: ''}", (2, 12), "type", "not empty text"),
            ("{ask: }", (2, 12), "type", "ask must be a question, as text"),
            ("{ask: Yes?, form: 5}", (2, 24), "value", "a form cannot be of type int"),
            ("{ask: Yes?, form: []}", (2, 24), "value", "form"),
            ("{ask: Yes?, form: colour}", (2, 24), "value", "'colour'"),
            ("{ask: Yes?, form: {schema: {type: nonsense}}}", (2, 24), "value", "nonsense"),
            ("{ask: Yes?, form: boolean, default: perhaps}", (2, 42), "value", "the default does not fit"),
            ("{ask: Yes?, form: {a: integer}, default: {a: 1, b: 2}}", (2, 47), "value", "b"),
            ("{ask: Yes?, timeout: soon}", (2, 27), "value", "timeout"),
            ("{ask: Yes?, who: 5}", (2, 23), "value", "who must be a name, or a list of names"),
            ("{ask: Yes?, who: [ada, '']}", (2, 23), "value", "who must be a name, or a list of names"),
            ("{ask: Yes?, rounds: 2}", (2, 18), "misplaced", "rounds is for an approval"),
            ("{ask: Yes?, memory_limit: 1GB}", (2, 18), "misplaced", "memory_limit is for code that runs"),
            ("{ask: Yes?, idle_timeout: 1}", (2, 18), "misplaced", "idle_timeout is for code that runs"),
            ("{ask: Yes?, run: echo}", (2, 3), "body", "exactly one of run, call, http, node, ask, tasks, parallel, switch, flow"),
            ("{ask: Yes?, frm: int}", (2, 18), "unknown-key", "Did you mean 'form'?"),
            ("{ask: 'Yes {{ tasks.b.output }}?'}", (2, 20), "unknown-task", "'b'"),
            ("{ask: Yes?, approve: b}", (2, 27), "unknown-task", "an approval is of 'b', which is not beside it"),
            ("{ask: Yes?, approve: []}", (2, 27), "empty", "give at least one"),
            ("{ask: Yes?, approve: a}", (2, 3), "cycle", "task 'a' needs itself"),
            ("{ask: Yes?, approve: w, form: boolean}", (2, 30), "misplaced", "approve, revise or reject is the answer"),
            ("{ask: Yes?, approve: w, foreach: [1]}", (2, 30), "misplaced", "put both into the tasks of a foreach"),
            ("{ask: Yes?, approve: w, default: revise}", (2, 39), "value", "is approve or reject, not 'revise'"),
            ("{ask: Yes?, approve: w, default: [approve]}", (2, 39), "value", "is approve or reject"),
            ("{ask: Yes?, approve: f, rounds: 0}", (2, 38), "value", "a whole number of at least 1, not 0"),
            ("{ask: Yes?, approve: f, rounds: true}", (2, 38), "value", "a whole number of at least 1"),
            ("{ask: Yes?, approve: w, rounds: 2}", (2, 30), "value", "nothing that 'a' approves takes the feedback"),
            ("{run: 'echo {{ feedback }}'}", (2, 21), "unknown-name", "feedback"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_asked_is_told_with_its_place(
        self, tmp_path: Path, body: str, at: tuple[int, int], code: str, says: str
    ) -> None:
        feedback = "  f: {run: 'echo {{ feedback }}'}\n" if "approve: f" in body else ""
        path = write(tmp_path, f"tasks:\n  a: {body}\n  w: {{run: echo}}\n{feedback}")
        found = problems(path)
        assert [(each[0], each[1]) for each in found] == [at], found
        assert found[0][2] == code, found
        assert says in found[0][3], found

    def test_all_that_may_stand_there(self, tmp_path: Path) -> None:
        load(
            write(
                tmp_path,
                """
                tasks:
                  draft: {run: "echo {{ feedback }}"}
                  page: {run: "echo {{ tasks.draft.output }}"}
                  text: {ask: "{{ tasks.page.output }}?"}
                  word: {ask: Which?, form: [a, 1, true, null], default: a, timeout: 1h, who: ada}
                  form: {ask: All?, form: {a: text, b: {type: array}}, who: [ada, bob]}
                  each: {foreach: [1, 2], ask: "{{ item }}?", form: {schema: {type: integer}}, allow_failure: true}
                  good: {ask: Good?, approve: [page, text], rounds: 50, default: reject, timeout: 60}
                  also: {ask: Good?, approve: page, default: {action: approve}}
                """,
            )
        )


def test_weights_are_of_the_items_as_they_will_be_called(tmp_path: Path) -> None:
    """B12: `key:` names them; where that is known only later nobody is refused before."""
    text = "tasks:\n  k: {{foreach: [1, 2], key: {key}, run: echo, reduce: {{weighted: {{weights: {weights}}}}}}}\n"
    path = tmp_path / "flow.yaml"
    path.write_text(text.format(key="'n{{ item }}'", weights="{'k[n1]': 1, 'k[n2]': 3}"))
    load(path)
    path.write_text(
        "inputs: {x: {default: a}}\n"
        + text.format(key="'{{ inputs.x }}{{ item }}'", weights="{'k[a1]': 1, 'k[a2]': 3}")
    )
    load(path)
    path.write_text(text.format(key="'n{{ item }}'", weights="{'k[0]': 1, 'k[1]': 3}"))
    with pytest.raises(FlowError, match=r"2:\d+: error\[value\]: reduce: no weight for task 'k\[n1\]'"):
        load(path)
