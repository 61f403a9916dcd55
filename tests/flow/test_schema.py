"""The JSON Schema of workflow files: it takes all that the reader takes, and refuses what is wrong in its structure."""

from __future__ import annotations

import ast
import json
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from flow_files import write
from plait._core.policy import PLAIN, option_names, policy
from plait.errors import FlowError, UsageError
from plait.flow import keys as reader
from plait.flow import schema as made
from plait.flow import words
from plait.flow.problems import Problems
from plait.flow.reader import read_flow
from plait.flow.tree import plain, read
from plait.flow.words import WORDS

ROOT = Path(__file__).parents[2]
SCHEMA = made.schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def data_of(path: Path) -> Any:
    """What a file holds, as the reader and an editor see it."""
    return plain(read(path, Problems(str(path)))[0])


def refusals(data: Any) -> list[str]:
    """What the schema says of it."""
    return [f"{error.json_path}: {error.message:.200}" for error in VALIDATOR.iter_errors(data)]


def is_read(path: Path) -> bool:
    """Does the reader take the file?"""
    try:
        read_flow(path)
    except FlowError:
        return False
    return True


class TestTheSchemaItself:
    def test_it_is_a_schema_of_draft_2020_12_and_says_the_same_in_draft_7(self) -> None:
        Draft202012Validator.check_schema(SCHEMA)
        Draft7Validator.check_schema(SCHEMA)
        assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert json.loads(json.dumps(SCHEMA)) == SCHEMA
        newer = {
            "prefixItems",
            "dependentRequired",
            "dependentSchemas",
            "unevaluatedProperties",
            "minContains",
            "$dynamicRef",
        }
        assert not newer & {key for each in schemas(SCHEMA) for key in each}  # fmt: skip

    def test_every_reference_leads_somewhere_and_nothing_is_there_for_nobody(self) -> None:
        wanted = {each["$ref"] for each in schemas(SCHEMA) if "$ref" in each}
        assert wanted == {f"#/$defs/{name}" for name in SCHEMA["$defs"]}
        assert all(re.fullmatch(r"#/\$defs/[a-z-]+", each) for each in wanted)

    def test_every_mapping_with_keys_of_its_own_refuses_others(self) -> None:
        """D10 N: unknown keys are errors, in an editor, too."""
        for each in schemas(SCHEMA):
            if "properties" in each and each.get("type") == "object":
                assert "additionalProperties" in each, each

    def test_every_key_of_the_reader_has_a_place_and_a_line_that_says_what_it_means(self) -> None:
        tables = {
            words.FILE: reader.TOP,
            words.INPUT: reader.INPUT_KEYS,
            words.TASK: (*reader.BODIES, *reader.COMMON, *(key for keys in reader.BODY_KEYS.values() for key in keys)),
            words.BRANCH: (*reader.BRANCH_KEYS, *reader.PART_KEYS),
            words.CASE: (*reader.CASE_KEYS, *reader.PART_KEYS),
            words.LOOP: reader.LOOP_KEYS,
            words.WHILE: reader.WHILE_KEYS,
            words.MATRIX: reader.MATRIX_KEYS,
            words.HTTP: reader.HTTP_KEYS,
        }
        assert {where: set(WORDS[where]) for where in tables} == {where: set(keys) for where, keys in tables.items()}
        assert set(SCHEMA["properties"]) == set(reader.TOP)
        assert set(SCHEMA["$defs"]["task"]["properties"]) == set(tables[words.TASK])
        told = {
            key: each["description"]
            for one in schemas(SCHEMA)
            if one.get("type") == "object" and one.get("additionalProperties") is False
            for key, each in one.get("properties", {}).items()
            if each is not False and "description" in each
        }
        assert set(told) == {key for keys in WORDS.values() for key in keys}
        for keys in WORDS.values():
            for line in keys.values():
                assert "\n" not in line
                assert len(line) <= 160
                assert line[-1] in ".?!", line

    @pytest.mark.parametrize("table", ["TOP", "HTTP_KEYS", "LOOP_KEYS", "BRANCH_KEYS", "COMMON"])
    def test_a_new_key_without_a_place_fails(self, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (reader, made):
            if hasattr(module, table):
                monkeypatch.setattr(module, table, (*getattr(reader, table), "brand_new"))
        with pytest.raises(KeyError, match="brand_new"):
            made.schema()

    def test_a_new_option_of_tasks_without_a_place_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(made, "POLICIES", (*reader.POLICIES, "brand_new"))
        with pytest.raises(KeyError, match="brand_new"):
            made.schema()

    def test_the_page_of_files_has_every_key_in_the_same_words(self) -> None:
        page = (ROOT / "docs" / "reference" / "files.md").read_text()
        assert page.endswith(tables_of_keys())

    def test_the_command_prints_it_and_no_other_command_loads_it(self) -> None:
        done = subprocess.run([sys.executable, "-m", "plait", "schema"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == SCHEMA
        program = "import sys\nfrom plait.cli.commands import cli\nprint([each for each in sys.modules if each.startswith(('plait.flow', 'jsonschema', 'httpx2'))])"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert done.stdout == "[]\n"


def schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema within a schema."""
    if isinstance(schema, list):
        for each in schema:
            yield from schemas(each)
    elif isinstance(schema, dict):
        yield schema
        for key, each in schema.items():
            named = key in ("properties", "patternProperties", "$defs")
            for inner in each.values() if named else [each]:
                yield from schemas(inner)


def tables_of_keys() -> str:
    """The last part of the page about files."""
    lines = ["## Every key", "", "What editors show, by where a key stands: `plait schema` has the same."]
    for where, keys in WORDS.items():
        lines += ["", f"In {where}:", "", "| key | meaning |", "| --- | --- |"]
        lines += [f"| `{key}` | {line.replace('|', '&#124;')} |" for key, line in keys.items()]
    return "\n".join(lines) + "\n"


# -- files


def yaml_of_docs() -> Iterator[str]:
    for path in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        for block in re.findall(r"^```yaml\n(.*?)^```$", path.read_text(), re.M | re.S):
            if re.search(r"^tasks:", block, re.M):
                yield block


def yaml_of_tests() -> Iterator[str]:
    """Every text in a test that may be a workflow file."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "tasks:" in node.value:
                yield dedent(node.value) if node.value[:1] == "\n" else node.value


class TestFiles:
    @pytest.mark.parametrize(
        "path",
        [*sorted((ROOT / "examples").rglob("*.yaml")), *sorted((ROOT / "tests" / "flows").glob("*.yaml"))],
        ids=lambda path: path.name,
    )
    def test_the_examples_and_flows_are_accepted(self, path: Path) -> None:
        assert is_read(path)
        assert refusals(data_of(path)) == []

    def test_the_files_in_the_docs_are_accepted(self, tmp_path: Path) -> None:
        blocks = list(yaml_of_docs())
        assert len(blocks) >= 5
        for block in blocks:
            assert refusals(data_of(write(tmp_path, block))) == [], block

    def test_every_file_of_the_tests_that_the_reader_takes_is_accepted(self, tmp_path: Path) -> None:
        write(tmp_path, "tasks: {a: {run: x}}", "inner.yaml")
        taken = 0
        for text in yaml_of_tests():
            path = write(tmp_path, text.encode("utf-8", "surrogatepass"))
            if len(text) < 100_000 and is_read(path):
                taken += 1
                assert refusals(data_of(path)) == [], text
        assert taken > 100

    def test_everything_at_once_is_accepted(self, tmp_path: Path) -> None:
        """Each key at least once, in a file that the reader takes."""
        write(tmp_path, "inputs: {n: {type: integer}}\ntasks: {a: {run: 'echo {{ inputs.n }}'}}", "inner.yaml")
        path = write(tmp_path, EVERYTHING)
        read_flow(path)
        assert refusals(data_of(path)) == []
        used = {key for each in mappings(data_of(path)) for key in each}
        assert {key for keys in WORDS.values() for key in keys} - used == set()


def mappings(data: Any) -> Iterator[dict[str, Any]]:
    if isinstance(data, dict):
        yield data
    for each in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from mappings(each)


EVERYTHING = """\
name: everything
inputs:
  n: {type: integer, default: 3, description: How many.}
  given: {required: true}
secrets: [TOKEN]
env: {LEVEL: "{{ inputs.n }}"}
max_concurrency: 4
on_failure: fail_fast
deadline: 1.5h
pools: {db: 2, api: {capacity: 3, health: {max_error_rate: 50%, window: 9, min_outcomes: 3, pause: 1s, max_pause: 1m, probes: 2}}}
budget: {usd: 5, seconds: 10m}
on_conflict: serialise
health: {}
defaults: {timeout: 5m, cost: "{{ 1 + 1 }}", rate_limit: 5/s}
tasks:
  command:
    run: [echo, "{{ inputs.given }}", 1, true]
    output: lines
    env: {A: 1}
    cwd: sub
    memory_limit: 512 MB
    retry: {attempts: 3, delay: 0, backoff: 2, max_delay: 5m, jitter: false, on: [exit 64-78, http 5xx, "my.errors:Eté"], not_on: timeout}
    idle_timeout: 30
    grace: 1
    priority: high
    join: all_done
    uninterruptible: true
    critical: false
    allow_failure: true
    on_interrupt: ask
    pool: {db: 1, api: 2}
    concurrency_key: {key: "user-{{ inputs.n }}", n: 2}
    lock: [one, two]
    reads: a.txt
    writes: ["out-{{ inputs.n }}.txt", b.txt]
    deadline: null
  function:
    call: module.sub:função
    with: {a: [1, "{{ tasks.command.output }}"]}
    executor: process
    memory_limit: null
    retries: 2
    on_error: {run: echo "$E", env: {E: "{{ error.message }}"}}
  get: {http: "http://localhost/{{ inputs.n }}"}
  post:
    http:
      url: http://localhost
      method: post
      headers: {A: b}
      params: {q: "{{ inputs.n }}"}
      body: {a: 1}
      auth: {type: basic, username_env: USER_NAME, password: "{{ inputs.given }}"}
      extract: a.b
      output: json
      allow_private: true
      max_bytes: 1000
  bearer: {http: {url: http://localhost, auth: {type: bearer, token: "{{ inputs.given }}"}}}
  basic: {http: {url: http://localhost, auth: {type: basic, username: a, password_env: B}}}
  hidden: {http: {url: http://localhost, auth: {type: bearer, token_env: TOKEN}}}
  question: {ask: Good?, form: {ok: bool, why: {type: string, minLength: 3}}, default: {ok: true, why: because}, timeout: 1d, who: [me, you]}
  draft: {run: ["echo", "{{ feedback }}"]}
  check: {ask: Good?, approve: draft, rounds: 2, default: approve}
  group:
    tasks: {a: {run: echo}, b: {run: echo}}
    finally: {last: {run: echo}}
    max_concurrency: 1
    min_success: 50%
    max_failures: 0
    budget: {tokens: 9}
    on_conflict: null
  each: {foreach: "{{ range(0, inputs.n) }}", key: "k{{ item }}", run: echo, reduce: {majority: {ties: first}}}
  grid:
    matrix: {os: [a, b], v-1: "{{ range(0, 2) }}", include: [{os: c}], exclude: [{os: a}]}
    run: [echo, "{{ matrix.os }}"]
  sides: {parallel: [{name: left, tasks: {l: {run: echo}}}, {tasks: {r: {run: echo}}, finally: {f: {run: echo}}}], reduce: union}
  route: {when: true, switch: [{when: "{{ inputs.n > 1 }}", tasks: {x: {run: echo}}}, {tasks: {y: {run: echo}}}]}
  polish: {loop: {max: 3, until: "{{ tasks.d.output == 'x' }}"}, tasks: {d: {run: echo}}}
  thrice: {loop: 3, tasks: {d: {run: echo}}}
  wait: {while: {condition: "{{ tasks.d.output != 'x' }}", max: 3}, tasks: {d: {run: echo}}}
  other: {flow: inner.yaml, with: {n: "{{ inputs.n }}"}, needs: command}
  rows: {node: transform:map, input: "{{ tasks.each.output }}", with: {expression: item.size * 2}}
  both: {node: "sink:file", input: ["{{ tasks.rows.output }}", "{{ tasks.each.output }}"], with: {path: out.json}}
  slowly: {foreach: [1, 2], width: 1, tasks: {r: {run: echo}}, outputs: "{{ tasks.r.output }}"}
  merged:
    width: 1
    merge: "{{ branches[0] }}"
    parallel: [{tasks: {ml: {run: echo}}, outputs: {of: "{{ tasks.ml.output }}"}}, {tasks: {mr: {run: echo}}}]
finally:
  tell: {run: echo}
outputs: {all: "{{ tasks.each.output }}", number: 5}
""".replace("    on_conflict: null\n", "")


# -- what is wrong

WRONG = [
    "tasks: [a]",
    "[1]",
    "name: x",
    "tasks: {}",
    "taks: {a: {run: x}}\ntasks: {a: {run: x}}",
    "name: ''\ntasks: {a: {run: x}}",
    "name: 5\ntasks: {a: {run: x}}",
    "max_concurrency: 0\ntasks: {a: {run: x}}",
    "max_concurrency: many\ntasks: {a: {run: x}}",
    "on_failure: stop\ntasks: {a: {run: x}}",
    "deadline: soon\ntasks: {a: {run: x}}",
    "deadline: 0\ntasks: {a: {run: x}}",
    "pools: [db]\ntasks: {a: {run: x}}",
    "pools: []\ntasks: {a: {run: x}}",
    "pools: {db: 0}\ntasks: {a: {run: x}}",
    "pools: {db: {health: {}}}\ntasks: {a: {run: x}}",
    "budget: {usd: -1}\ntasks: {a: {run: x}}",
    "budget: {}\ntasks: {a: {run: x}}",
    "health: {windw: 5}\ntasks: {a: {run: x}}",
    "health: {max_error_rate: 1}\ntasks: {a: {run: x}}",
    "defaults: {tasks: {a: {run: x}}}\ntasks: {a: {run: x}}",
    "defaults: {retries: 1, retry: {attempts: 2}}\ntasks: {a: {run: x}}",
    "inputs: [a]\ntasks: {a: {run: x}}",
    "tasks: {a: {node: [x]}}",
    "tasks: {a: {node: run}}",
    "tasks: {a: {node: transform:map, input: [[x]], with: {expression: '1'}}}",
    "tasks: {a: {node: transform:map, input: x, with: {expression: '1'}}}",
    "tasks: {a: {run: x, input: '{{ 1 }}'}}",
    "tasks: {a: {run: x, width: 2}}",
    "tasks: {a: {foreach: [1], run: x, width: 0}}",
    "tasks: {a: {parallel: [{tasks: {b: {run: x}}}], merge: list}}",
    "tasks: {a: {tasks: {b: {run: x}}, merge: array}}",
    "tasks: {a: {tasks: {b: {run: x}}, outputs: b}}",
    "tasks: {a: {run: x, outputs: '{{ 1 }}'}}",
    "outputs: a\ntasks: {a: {run: x}}",
    "inputs: {a: string}\ntasks: {a: {run: 'x {{ inputs.a }}'}}",
    "inputs: {a: {type: text}}\ntasks: {a: {run: 'x {{ inputs.a }}'}}",
    "inputs: {a: {type: integer, default: x}}\ntasks: {a: {run: 'x {{ inputs.a }}'}}",
    "inputs: {a: {default: 5}}\ntasks: {a: {run: 'x {{ inputs.a }}'}}",
    "inputs: {a: {required: true, default: x}}\ntasks: {a: {run: 'x {{ inputs.a }}'}}",
    "inputs: {a: {required: maybe}}\ntasks: {a: {run: 'x {{ inputs.a }}'}}",
    "inputs: {a: {description: [x]}}\ntasks: {a: {run: 'x {{ inputs.a }}'}}",
    "inputs: {a/b: {}}\ntasks: {a: {run: x}}",
    "env: {1A: x}\ntasks: {a: {run: x}}",
    "env: {A: [x]}\ntasks: {a: {run: x}}",
    "outputs: {a: true}\ntasks: {a: {run: x}}",
    "outputs: {' a': x}\ntasks: {a: {run: x}}",
    "finally: {}\ntasks: {a: {run: x}}",
    "tasks: {a: echo}",
    "tasks: {a: {}}",
    "tasks: {a: {needs: []}}",
    "tasks: {a/b: {run: x}}",
    "tasks: {'a[0]': {run: x}}",
    "tasks: {'..': {run: x}}",
    "tasks: {'a ': {run: x}}",
    "tasks: {a: {run: x, cal: y}}",
    "tasks: {a: {run: x, call: 'y:z'}}",
    "tasks: {a: {agent: x}}",
    "tasks: {a: {run: ''}}",
    "tasks: {a: {run: []}}",
    "tasks: {a: {run: [x, [y]]}}",
    "tasks: {a: {run: x, output: yaml}}",
    "tasks: {a: {run: x, with: {a: 1}}}",
    "tasks: {a: {run: x, executor: process}}",
    "tasks: {a: {run: x, cwd: 5}}",
    "tasks: {a: {run: x, needs: 5}}",
    "tasks: {a: {run: x, needs: [[b]]}}",
    "tasks: {a: {run: x, when: maybe}}",
    "tasks: {a: {run: x, when: 'x {{ true }}'}}",
    "tasks: {a: {run: x, timeout: -5}}",
    "tasks: {a: {run: x, timeout: 5 minutes}}",
    "tasks: {a: {run: x, timeout: '{{ 5 }}'}}",
    "tasks: {a: {run: x, retries: -1}}",
    "tasks: {a: {run: x, retries: 1.5}}",
    "tasks: {a: {run: x, retries: 1, retry: {attempts: 2}}}",
    "tasks: {a: {run: x, retry: {delay: 2}}}",
    "tasks: {a: {run: x, retry: {attempts: 2, on: sometimes}}}",
    "tasks: {a: {run: x, retry: {attempts: 2, on: []}}}",
    "tasks: {a: {run: x, grace: null}}",
    "tasks: {a: {run: x, priority: urgent}}",
    "tasks: {a: {run: x, join: some}}",
    "tasks: {a: {run: x, critical: 'yes'}}",
    "tasks: {a: {run: x, memory_limit: 5 apples}}",
    "tasks: {a: {call: 'x:y', memory_limit: 5GB}}",
    "tasks: {a: {run: x, pool: '{{ 1 }}'}}",
    "tasks: {a: {run: x, rate_limit: 5 a day}}",
    "tasks: {a: {run: x, cost: 0}}",
    "tasks: {a: {run: x, concurrency_key: {n: 2}}}",
    "tasks: {a: {run: x, lock: 5}}",
    "tasks: {a: {run: x, writes: '*.txt'}}",
    "tasks: {a: {run: x, writes: ~/x}}",
    "tasks: {a: {run: x, key: b}}",
    "tasks: {a: {run: x, min_success: 2}}",
    "tasks: {a: {run: x, loop: 2}}",
    "tasks: {a: {run: x, finally: {b: {run: x}}}}",
    "tasks: {a: {run: x, form: bool}}",
    "tasks: {a: {run: x, on_error: {run: x, needs: []}}}",
    "tasks: {a: {run: x, on_error: echo}}",
    "tasks: {a: {call: x}}",
    "tasks: {a: {call: 'x:y', with: [1]}}",
    "tasks: {a: {call: 'x:y', executor: dask}}",
    "tasks: {a: {http: 5}}",
    "tasks: {a: {http: {method: GET}}}",
    "tasks: {a: {http: {url: 'http://x', method: FETCH}}}",
    "tasks: {a: {http: {url: 'http://x', output: bytes}}}",
    "tasks: {a: {http: {url: 'http://x', auth: 5}}}",
    "tasks: {a: {http: {url: 'http://x', auth: {type: magic}}}}",
    "tasks: {a: {http: {url: 'http://x', auth: {type: basic, username: x}}}}",
    "tasks: {a: {http: {url: 'http://x', auth: {type: bearer, token: x, token_env: y}}}}",
    "tasks: {a: {http: {url: 'http://x', headers: [x]}}}",
    "tasks: {a: {http: {url: 'http://x', max_bytes: 0}}}",
    "tasks: {a: {http: {url: 'http://x', timeout: 5}}}",
    "tasks: {a: {ask: ''}}",
    "tasks: {a: {ask: x, form: nothing}}",
    "tasks: {a: {ask: x, form: []}}",
    "tasks: {a: {ask: x, who: [1]}}",
    "tasks: {a: {ask: x, rounds: 2}}",
    "tasks: {a: {ask: x, retries: 2}}",
    "tasks: {b: {run: x}, a: {ask: x, approve: b, form: bool}}",
    "tasks: {b: {run: x}, a: {ask: x, approve: b, matrix: {x: [1]}}}",
    "tasks: {b: {run: x}, a: {ask: x, approve: b, default: maybe}}",
    "tasks: {b: {run: x}, a: {ask: x, approve: []}}",
    "tasks: {a: {tasks: {b: {run: x}}, retries: 2}}",
    "tasks: {a: {tasks: {b: {run: x}}, pool: db}}",
    "tasks: {a: {tasks: {b: {run: x}}, min_success: 101%}}",
    "tasks: {a: {tasks: {b: {run: x}}, reduce: mean}}",
    "tasks: {a: {tasks: {b: {run: x}}, reduce: quorum}}",
    "tasks: {a: {tasks: {b: {run: x}}, reduce: {majority: {tie: first}}}}",
    "tasks: {a: {tasks: {b: {run: x}}, loop: 0}}",
    "tasks: {a: {tasks: {b: {run: x}}, loop: {}}}",
    "tasks: {a: {tasks: {b: {run: x}}, loop: {max: 2, untl: true}}}",
    "tasks: {a: {tasks: {b: {run: x}}, while: {max: 2}}}",
    "tasks: {a: {tasks: {b: {run: x}}, while: true, loop: 2}}",
    "tasks: {a: {parallel: {}}}",
    "tasks: {a: {parallel: []}}",
    "tasks: {a: {parallel: [{run: x}]}}",
    "tasks: {a: {parallel: [{tasks: {b: {run: x}}, nme: y}]}}",
    "tasks: {a: {parallel: [{tasks: {b: {run: x}}, name: '7'}]}}",
    "tasks: {a: {parallel: [{tasks: {b: {run: x}}, name: 'a]'}]}}",
    "tasks: {a: {switch: [{when: yes, tasks: {b: {run: x}}}]}}",
    "tasks: {a: {switch: {tasks: {b: {run: x}}}}}",
    "tasks: {a: {flow: inner.txt}}",
    "tasks: {a: {flow: '{{ 1 }}.yaml'}}",
    "tasks: {a: {foreach: 5, run: x}}",
    "tasks: {a: {foreach: 'a b', run: x}}",
    "tasks: {a: {foreach: [1], matrix: {a: [1]}, run: x}}",
    "tasks: {a: {matrix: [1], run: x}}",
    "tasks: {a: {matrix: {}, run: x}}",
    "tasks: {a: {matrix: {exclude: []}, run: x}}",
    "tasks: {a: {matrix: {a: []}, run: x}}",
    "tasks: {a: {matrix: {'a b': [1]}, run: x}}",
    "tasks: {a: {matrix: {a: [1], include: [2]}, run: x}}",
]

UNSEEN = {
    "a cycle": "tasks: {a: {run: x, needs: b}, b: {run: x, needs: a}}",
    "a task that is not there": "tasks: {a: {run: x, needs: b}}",
    "an expression that is none": "tasks: {a: {run: 'x {{ 1 + }}'}}",
    "a name that is not known": "tasks: {a: {run: 'x {{ inputs.a }}'}}",
    "a value within quotes of a script": "inputs: {a: {}}\ntasks: {a: {run: 'x \"{{ inputs.a }}\"'}}",
    "another file that is not there": "tasks: {a: {flow: nothing.yaml}}",
    "keys that two branches share": "tasks: {a: {parallel: [{tasks: {b: {run: x}}}, {tasks: {b: {run: x}}}]}}",
    "a case without `when` before others": "tasks: {a: {switch: [{tasks: {b: {run: x}}}, {tasks: {c: {run: x}}}]}}",
    "more successes than tasks": "tasks: {a: {tasks: {b: {run: x}}, min_success: 2}}",
    "a default that does not fit its form": "tasks: {a: {ask: x, form: bool, default: 5}}",
    "rounds that nothing needs": "tasks: {b: {run: x}, a: {ask: x, approve: b, rounds: 2}}",
    "exclude of what is no axis": "tasks: {a: {matrix: {a: [1], exclude: [{b: 1}]}, run: x}}",
    "a pool that is not declared": "pools: {db: 1}\ntasks: {a: {run: x, pool: {db: 2}}}",
    "files that conflict": "tasks: {a: {run: x, writes: f}, b: {run: x, writes: f}}",
}


class TestWhatIsWrong:
    @pytest.mark.parametrize("text", WRONG)
    def test_what_the_reader_refuses_for_its_structure_the_schema_refuses(self, tmp_path: Path, text: str) -> None:
        """D10."""
        path = write(tmp_path, text)
        assert not is_read(path)
        assert refusals(data_of(path)) != []

    @pytest.mark.parametrize("what", UNSEEN)
    def test_what_only_the_reader_can_see(self, tmp_path: Path, what: str) -> None:
        """The page says so: these are found by `plait validate` alone."""
        from plait.flow import load

        path = write(tmp_path, UNSEEN[what])
        with pytest.raises(FlowError):
            load(path)
        assert refusals(data_of(path)) == []

    @pytest.mark.parametrize(
        "task",
        [
            "{foreach: [1], tasks: {on_error: {run: x}}, on_error: {run: x}}",
            "{switch: [{tasks: {on_error: {run: x}}}], on_error: {run: x}}",
            "{tasks: {a: {run: x}}, finally: {on_error: {run: x}}, on_error: {run: x}}",
            "{flow: inner.yaml, on_error: {run: x}}",
        ],
    )
    def test_no_task_has_the_key_of_what_runs_when_it_fails(self, tmp_path: Path, task: str) -> None:
        """D10 D8: in a store both would be one."""
        write(tmp_path, "tasks: {on_error: {run: x}}", "inner.yaml")
        assert not is_read(write(tmp_path, f"tasks: {{t: {task}}}"))

    def test_a_wrong_key_is_told_where_it_stands(self) -> None:
        """What an editor underlines."""
        (error,) = VALIDATOR.iter_errors({"tasks": {"a": {"run": "x", "timeot": 5}}})
        assert error.json_path == "$.tasks.a"
        assert "timeot" in error.message
        (error,) = VALIDATOR.iter_errors({"tasks": {"a": {"tasks": {"b": {"call": "x"}}}}})
        assert error.json_path == "$.tasks.a.tasks.b.call"


# -- the two agree

VALUES: list[Any] = [
    None, True, False, 0, 1, 2, 7, -1, 1.5, 2.0, 1e12, 1e13, "", " ", "x", "db", "high", "list", "5", "5s", " 5 m ", "0s", "1.5h", "5 weeks", "5S",
    "50%", "0%", "100 %", "101%", "5/s", "100/1m", "0/s", "5MB", "2 gib", "5XB", "fail_fast", "finish", "rerun", "refuse", "serialise",
    "all_done", "union", "quorum", "{{ 1 }}", "a {{ 1 }}", "a.txt", "*.txt", "~/a", "a\nb", "a" * 201, [], [1], ["x"], ["x", "x"], ["5/s", "9/1m"],
    ["a.txt", "{{ 1 }}"], {}, {"x": 1}, {"x": 0}, {"x": "y"}, {"usd": 5}, {"seconds": "5m"}, {"seconds": "soon"}, {"usd": 5.5, "seconds": 3},
    {"attempts": 2}, {"attempts": 0}, {"attempts": 2, "delay": 0, "on": "exit 75"}, {"attempts": 2, "on": ["ValueError", "signal SIGKILL"]},
    {"attempts": 2, "backoff": 0.5}, {"attempts": 2, "max_delay": "1m", "jitter": False, "not_on": "http 5xx"}, {"attempts": 2, "when": 1},
    {"key": "k"}, {"key": "k", "n": 2}, {"key": "k", "n": 0}, {"key": "{{ 1 }}"}, {"n": 2}, {"quorum": 2}, {"quorum": {"least": "50%"}}, {"quorum": None},
    {"majority": None}, {"majority": "first"}, {"majority": {"ties": "none"}}, {"weighted": {"a": 1, "b": 0.5}}, {"weighted": {"weights": [1, 2], "ties": "first"}},
    {"weighted": [1, -1]}, {"frequency": 0.4}, {"frequency": "40%"}, {"frequency": 2}, {"partial": "60%"}, {"union": None}, {"union": {}}, {"union": 1},
    {"first_success": {}}, {"intersection": {"x": 1}},
]  # fmt: skip


class TestTheTwoAgree:
    @pytest.mark.parametrize("name", sorted(option_names()))
    def test_on_each_option(self, name: str) -> None:
        shape = {**SCHEMA["$defs"]["task"]["properties"][name], "$defs": SCHEMA["$defs"]}
        validator = Draft202012Validator(shape)
        good = 0
        for value in VALUES:
            try:
                policy(PLAIN, **{name: value})
                taken = not re.search(r"\{\{", json.dumps(value))
            except UsageError:
                taken = False
            good += taken
            accepted = validator.is_valid(value)
            if "{{" in json.dumps(value) and name in ("concurrency_key", "cost", "reads", "writes"):
                continue  # templates, of which the reader knows
            if isinstance(value, float) and value.is_integer():
                assert accepted or not taken  # for JSON 2.0 is a whole number
            else:
                assert accepted == taken, value
        assert good

    def test_on_files_made_at_random_of_the_keys_of_the_schema(self, tmp_path: Path) -> None:
        """What the schema refuses the reader refuses; what the reader takes the schema accepts."""
        write(tmp_path, "tasks: {a: {run: x}}", "inner.yaml")
        seen: Counter[tuple[bool, bool]] = Counter()
        for seed in range(400):
            data = _Random(seed).file()
            path = write(tmp_path, json.dumps(data))
            if data_of(path) != data:
                continue  # a number that YAML writes in another way
            taken, accepted = is_read(path), VALIDATOR.is_valid(data)
            assert accepted or not taken, f"seed {seed}: {refusals(data)}\n{json.dumps(data, indent=1)}"
            seen[taken, accepted] += 1
        assert seen[True, True] > 40, seen
        assert seen[False, False] > 100, seen


TEXTS = [
    "x", "t1", "t2", "a b", "{{ 1 }}", "{{ inputs.a }}", "y {{ 1 }}", "5s", "1m", "50%", "5/s", "8MB", "exit 7", "json:dumps", "inner.yaml", "db", "GET",
    "http://localhost/", "a.txt", "path", "first", "", "~", "../x", "A[0]", "7", "true", "\u00e9", "*", "get", "ValueError", "text", "[1",
]  # fmt: skip


class _Random:
    """Data that is made by a schema, and now and then not by it."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._wild = self._random.choice([0, 0, 0.02, 0.1])

    def file(self) -> Any:
        return self.of(SCHEMA, 0)

    def of(self, schema: Any, depth: int) -> Any:
        chance = self._random
        if chance.random() < self._wild:
            return chance.choice([*VALUES, *TEXTS])
        if schema in (True, {}) or schema is False:
            return chance.choice(TEXTS)
        if "$ref" in schema:
            return self.of(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], depth)
        if "const" in schema or "enum" in schema:
            return chance.choice(schema.get("enum", [schema.get("const")]))
        if schema.get("type") == "object" and "properties" in schema:
            return self._object(schema, depth)
        for key in ("anyOf", "allOf"):
            if key in schema:
                return self.of(schema[key][0] if key == "allOf" else chance.choice(schema[key]), depth)
        kind = schema.get("type")
        match chance.choice(kind) if isinstance(kind, list) else kind:
            case "null":
                return None
            case "boolean":
                return chance.random() < 0.5
            case "integer":
                return schema.get("minimum", 0) + chance.randrange(3)
            case "number":
                return chance.choice([0.5, 1, 2.5])
            case "array":
                return [self.of(schema.get("items", {}), depth + 1) for _ in range(chance.choice([1, 1, 2]))]
            case "object":
                return self._object(schema, depth)
            case _:
                fitting = [each for each in TEXTS if re.search(schema.get("pattern", ""), each)]
                return chance.choice(fitting or TEXTS)

    def _object(self, schema: Any, depth: int) -> dict[str, Any]:
        chance = self._random
        known = schema.get("properties", {})
        wanted = [*schema.get("required", ())]
        if "oneOf" in schema:
            bodies = ["run", "run", "call", "ask"] if depth > 6 else [each["required"][0] for each in schema["oneOf"]]
            wanted.append(chance.choice(bodies))
        others = [key for key in known if key not in wanted and key not in reader.BODIES]
        wanted += chance.sample(others, min(len(others), chance.choice([0, 0, 0, 1, 1, 2, 3])))
        if depth > 6:
            wanted = [each for each in wanted if each not in ("on_error", "finally")]
        found = {key: self.of(known[key], depth + 1) for key in wanted if key in known}
        for pattern, each in schema.get("patternProperties", {}).items():
            names = [text for text in TEXTS if re.search(pattern, text)]
            for name in chance.sample(names, min(len(names), chance.choice([1, 1, 2]))):
                found[name] = self.of(each, depth + 1)
        if isinstance(schema.get("additionalProperties"), dict):
            found[chance.choice(TEXTS)] = self.of(schema["additionalProperties"], depth + 1)
        if chance.random() < self._wild:
            found[chance.choice([*reader.TOP, *reader.COMMON, "wrong"])] = chance.choice(TEXTS)
        return found
