"""`plait inspect`: what a file or a graph is, for people and for programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import plait
from plait.cli.inspecting import WIDTH, facts, text
from plait.flow import load

FLOW = """\
name: nightly
inputs:
  folder: {type: string, default: /srv, description: What is looked at.}
  days: {type: integer}
env: {LC_ALL: C}
pools: {disk: 2}
max_concurrency: 4
deadline: 1h
budget: {usd: 5}
defaults: {timeout: 2m, retry: {attempts: 2}}
tasks:
  list:
    run: |
      # all of them
      find {{ inputs.folder }} -type f
      echo done
    output: lines
    env: {DAYS: "{{ inputs.days }}"}
  each:
    foreach: "{{ tasks.list.output }}"
    key: "{{ index }}"
    max_concurrency: 3
    tasks:
      pack: {run: [gzip, -k, --, "{{ item }}"], pool: {disk: 1}, priority: normal}
      check: {call: "mod:check", with: {name: "{{ tasks.pack.output }}"}, timeout: 5s, on_error: {run: echo bad}}
    finally:
      sweep: {run: rm -f tmp}
  review:
    ask: Good?
    form: boolean
    when: "{{ tasks.each.output }}"
    allow_failure: true
finally:
  tell: {run: "echo {{ tasks.review.status }}"}
outputs:
  all: "{{ tasks.each.output }}"
"""


def write(folder: Path, data: str = FLOW) -> Path:
    path = folder / "flow.yaml"
    path.write_text(data)
    return path


def test_the_facts_are_all_that_the_file_says_and_what_follows_from_it(tmp_path: Path) -> None:
    found = facts(load(write(tmp_path)), "flow.yaml")
    assert {key: each for key, each in found.items() if key not in ("tasks", "finally")} == {
        "name": "nightly",
        "file": "flow.yaml",
        "inputs": {
            "folder": {"type": "string", "required": False, "default": "/srv", "description": "What is looked at."},
            "days": {"type": "integer", "required": True, "default": None, "description": ""},
        },
        "env": {"LC_ALL": "C"},
        "pools": {"disk": 2},
        "limits": {"max_concurrency": 4, "on_failure": "continue", "deadline": "1h", "budget": {"usd": 5}},
        "outputs": {"all": "{{ tasks.each.output }}"},
    }
    applied = {"timeout": "2m", "retry": {"attempts": 2}}
    listed, each, review = found["tasks"]
    assert listed == {
        "key": "list",
        "kind": "run",
        "does": "# all of them\nfind {{ inputs.folder }} -type f\necho done\n",
        "options": {"output": "lines", "env": {"DAYS": "{{ inputs.days }}"}, **applied},
    }
    assert each == {
        "key": "each",
        "kind": "group",
        "needs": ["list"],
        "foreach": "{{ tasks.list.output }}",
        "options": {"key": "{{ index }}", "max_concurrency": 3},
        "tasks": [
            {"key": "pack", "kind": "run", "does": ["gzip", "-k", "--", "{{ item }}"], "options": {"pool": {"disk": 1}, **applied}},
            {
                "key": "check",
                "kind": "call",
                "does": "mod:check",
                "needs": ["pack"],
                "options": {"with": {"name": "{{ tasks.pack.output }}"}, "timeout": "5s", "retry": {"attempts": 2}},
                "on_error": {"key": "on_error", "kind": "run", "does": "echo bad", "options": applied},
            },
        ],
        "finally": [{"key": "sweep", "kind": "run", "does": "rm -f tmp", "options": applied}],
    }  # fmt: skip
    assert review == {
        "key": "review",
        "kind": "ask",
        "does": "Good?",
        "needs": ["each"],
        "when": "{{ tasks.each.output }}",
        "options": {"form": "boolean", "allow_failure": True},
    }
    assert [task["key"] for task in found["finally"]] == ["tell"]


def test_the_text_is_a_few_lines_a_task_and_no_wider_than_a_terminal(tmp_path: Path) -> None:
    assert list(text(facts(load(write(tmp_path)), "flow.yaml"))) == [
        "nightly  (flow.yaml)",
        "inputs",
        "  folder  string   default /srv",
        "          What is looked at.",
        "  days    integer  required",
        "env",
        "  LC_ALL: C",
        "pools",
        "  disk: 2",
        "limits",
        "  max_concurrency: 4",
        "  on_failure: continue",
        "  deadline: 1h",
        '  budget: {"usd": 5}',
        "tasks",
        "  list: run find {{ inputs.folder }} -type f ...",
        '        output: lines, env: {"DAYS": "{{ inputs.days }}"}, timeout: 2m, retry: {"attempts": 2}',
        "  each: group of 2",
        "        foreach {{ tasks.list.output }}",
        "        needs list",
        "        key: {{ index }}, max_concurrency: 3",
        "      pack: run gzip -k -- {{ item }}",
        '            pool: {"disk": 1}, timeout: 2m, retry: {"attempts": 2}',
        "      check: call mod:check",
        "            needs pack",
        '            with: {"name": "{{ tasks.pack.output }}"}, timeout: 5s, retry: {"attempts": 2}',
        "          on_error: run echo bad",
        '                timeout: 2m, retry: {"attempts": 2}',
        "      finally",
        "      sweep: run rm -f tmp",
        '            timeout: 2m, retry: {"attempts": 2}',
        "  review: ask Good?",
        "        when {{ tasks.each.output }}",
        "        needs each",
        "        form: boolean, allow_failure: true",
        "finally",
        "  tell: run echo {{ tasks.review.status }}",
        "        needs review",
        '        timeout: 2m, retry: {"attempts": 2}',
        "outputs",
        "  all: {{ tasks.each.output }}",
    ]


def test_long_things_are_cut_and_many_are_counted(tmp_path: Path) -> None:
    many = "".join(f"  t{at}: {{run: echo}}\n" for at in range(300))
    needs = ", ".join(f"t{at}" for at in range(300))
    data = (
        f"tasks:\n{many}  last: {{needs: [{needs}], run: [echo, 'a b', '', {'x' * 5000}], env: {{A: {'y' * 5000}}}}}\n"
    )
    lines = list(text(facts(load(write(tmp_path, data)), "flow.yaml")))
    assert max(map(len, lines)) <= WIDTH
    assert lines[-7].startswith('  last: run echo "a b" "" xxx')
    assert lines[-6].startswith("        needs t0, t1, ")
    assert lines[-2].strip().startswith("... and 2")
    assert lines[-1].endswith("yyy...")


def test_a_python_graph_is_inspected_too(tmp_path: Path) -> None:
    (tmp_path / "inspected.py").write_text(
        "import plait\n"
        "def sink(x): ...\n"
        "@plait.task(retries=2, timeout=30)\n"
        "def fetch(u): ...\n"
        "g = plait.Graph('py', pools={'db': 2}, on_conflict='serialise')\n"
        "a = g.add('a', fetch, args=(1,), pool='db', rate_limit='5/1s')\n"
        "g.add('b', plait.shell(['tar', 'a b', a]), finally_=True, timeout=9)\n"
        "g.add('c', plait.shell('echo 1'), on_error=sink, when=False)\n"
        "g.add('d', plait.task(sink).map([1, 2]), needs=['c'])\n"
        "g.add('e', plait.ask_for('Yes?'))\n"
    )

    def shown(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "plait", "inspect", *words], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    found: dict[str, Any] = json.loads(shown("inspected:g", "--json"))
    assert (found["name"], found["file"], found["pools"]) == ("py", "inspected:g", {"db": 2})
    assert found["limits"]["on_conflict"] == "serialise"
    assert found["tasks"][0] == {
        "key": "a",
        "kind": "call",
        "does": "inspected:fetch",
        "options": {"retry": {"attempts": 3}, "timeout": 30, "pool": {"db": 1}, "rate_limit": ["5/1s"]},
    }
    lines = shown("inspected:g").splitlines()
    for line in (
        "  c: run echo 1",
        "        when false",
        "      on_error: call inspected:sink",
        "        foreach its lists",
        "  e: ask Yes?",
        '  b: run tar "a b" <a>',
        "        needs a",
    ):
        assert line in lines, lines
    assert lines.index("finally") < lines.index('  b: run tar "a b" <a>')


def test_a_node_is_a_graph_of_what_it_needs() -> None:
    def fetch() -> int:
        return 1

    def report(value: int) -> int:
        return value

    found = facts(plait.task(report).bind(plait.task(fetch).bind()), "m:node")
    assert [(task["key"], task.get("needs")) for task in found["tasks"]] == [("fetch", None), ("report", ["fetch"])]


def test_no_name_or_text_of_a_file_moves_the_cursor(tmp_path: Path) -> None:
    """S28 S29."""
    data = 'name: "a\\e[2J"\ninputs: {i: {description: "x\\n\\e]0;t\\a", default: "\\e[1m"}}\n'
    data += 'tasks: {"t\u0301": {run: "echo \\e[2J {{ inputs.i }}\\nx", cwd: "\\e[3m", needs: [u]}, u: {ask: "\\e[2J?"}}\noutputs: {o: "\\e[2J"}\n'
    found = facts(load(write(tmp_path, data)), "x\x1b[2J.yaml")
    assert all(line.isprintable() for line in text(found))
    assert json.loads(json.dumps(found)) == found
