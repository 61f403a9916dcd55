"""Mutated workflow files, in YAML and in FlowScript (`fuzz_scripts.py`), each of them looked at in a process of its own: `python tests/fuzz_files.py --number 10000 --seed 1`.

Of every file it is said whether it is accepted or refused, and it is wrong where anything else happens: another exception than
`FlowError`, a line that is not `FILE:LINE:COL: error[CODE]: message` with a place inside the file, more than two seconds of
processor time, more than 256 MB. `--keep DIR` writes the files that went wrong there; exit status 1 where there are any.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import fuzz_scripts

if TYPE_CHECKING:
    from plait.flow.script.flows import ScriptFlow

ROOT = Path(__file__).parents[1]
SECONDS, MEGABYTES = 2.0, 256
"""What one file may cost: of processor time, and of memory at its peak."""
MOST_SECONDS, MOST_MEGABYTES = 20, 2048
"""Where a process is ended that costs far more."""


# -- what is mutated


def nest(depth: int, before: str, leaf: str, behind: str) -> str:
    """`leaf` with so many of these around it."""
    return before * depth + leaf + behind * depth


def _names(count: int, form: str) -> str:
    return ", ".join(form.format(at) for at in range(count))


LEAF = "{run: echo}"
EVIL: dict[str, str] = {
    "groups": "tasks: {t: " + nest(60, "{tasks: {x: ", LEAF, "}}") + "}",
    "too many groups": "tasks: {t: " + nest(120, "{tasks: {x: ", LEAF, "}}") + "}",
    "branches": "tasks: {t: " + nest(60, "{parallel: [{tasks: {x: ", LEAF, "}}]}") + "}",
    "cases": "tasks: {t: " + nest(60, "{switch: [{when: '{{ 1 > 2 }}', tasks: {y: {run: x}}}, {tasks: {x: ", LEAF, "}}]}") + "}",
    "loops": "tasks: {t: " + nest(60, "{loop: {max: 2, until: '{{ tasks.x.output }}'}, tasks: {x: ", LEAF, "}}") + "}",
    "whiles": "tasks: {t: " + nest(60, "{while: '{{ index < 3 }}', tasks: {x: ", LEAF, "}}") + "}",
    "foreaches": "tasks: {t: " + nest(60, "{foreach: [1, 2], tasks: {x: ", LEAF, "}}") + "}",
    "matrices": "tasks: {t: " + nest(60, "{matrix: {a: [1, 2]}, tasks: {x: ", LEAF, "}}") + "}",
    "repairs": "tasks: {t: " + nest(60, "{run: x, on_error: ", LEAF, "}") + "}",
    "cleanups": "tasks: {t: " + nest(60, "{tasks: {y: {run: y}}, finally: {x: ", LEAF, "}}") + "}",
    "foreaches that write": "tasks: {t: " + nest(12, "{foreach: [1, 2, 3], tasks: {x: ", "{run: x, writes: ['{{ item }}']}", "}}") + "}",
    "matrices that write": "tasks: {t: " + nest(8, "{matrix: {a: [1, 2], b: [3, 4]}, tasks: {x: ", "{run: x, writes: [a]}", "}}") + "}",
    "a wide matrix that writes": "tasks: {t: {matrix: {a: [" + _names(60, "{}") + "], b: [" + _names(60, "{}") + "]}, run: x, writes: '{{ matrix.a }}/{{ matrix.b }}'}}",
    "many items and keys": "tasks: {t: {foreach: [" + _names(3000, "{}") + "], key: '{{ item + 1 }}', run: echo, writes: 'o/{{ item }}'}}",
    "keys that cost": "tasks: {t: {foreach: [" + _names(900, "{}") + "], key: '{{ item }}-{{ reduce(range(0, 90000), (a, b) => a + b, 0) }}', run: echo, reduce: majority_vote}}",
    "costs that cost": "pools: {p: 9}\ntasks: {t: {foreach: [" + _names(900, "{}") + "], cost: '{{ reduce(range(0, 90000), (a, b) => a, 1) }}', rate_limit: 9/s, run: echo}}",
    "paths that cost": "tasks: {t: {foreach: [" + _names(900, "{}") + "], writes: '{{ reduce(range(0, 90000), (a, b) => a, 1) }}{{ item }}', run: echo}}",
    "exclusions": "tasks: {t: {matrix: {a: [" + _names(300, "{}") + "], b: [" + _names(300, "{}") + "], exclude: [" + _names(3000, "{{a: {0}, b: x}}") + "]}, run: x, writes: '{{ index }}'}}",
    "inclusions": "tasks: {t: {matrix: {a: [" + _names(300, "{}") + "], b: [" + _names(300, "{}") + "], include: [" + _names(3000, "{{c: {0}}}") + "]}, run: x, writes: '{{ index }}'}}",
    "an exploding matrix": "tasks: {t: {matrix: {" + _names(12, "a{}: [1, 2, 3, 4, 5, 6, 7, 8]") + "}, run: x}}",
    "a huge number": "max_concurrency: " + "9" * 290 + "\ntasks: {a: {run: x, timeout: " + "9" * 299 + ", retries: " + "9" * 280 + "}}",
    "huge numbers": "deadline: 1e308\ntasks:\n  a: {run: x, timeout: 1e400, priority: -1e308, cost: " + "9" * 200 + ", rate_limit: " + "9" * 200 + "/s}\n  b: {loop: 1e9, tasks: {x: {run: x}}}\n  c: {foreach: [1], min_success: " + "9" * 50 + ", run: x}\n  d: {run: x, memory_limit: " + "9" * 100 + "}\n  e: {run: x, deadline: .inf, grace: .nan}\n",
    "numbers in expressions": "tasks: {a: {run: [echo, '{{ " + "9" * 300 + " * " + "9" * 300 + " }}', '{{ 9**9 }}', '{{ 1e308 * 10 }}', '{{ pow(9, pow(9, 9)) }}', '{{ repeat(\"x\", 10000000000) }}', '{{ range(0, 1e15) }}']}}",
    "a long expression": "tasks: {a: {run: [echo, '{{ " + " + ".join(["1"] * 2400) + " }}']}}",
    "too long an expression": "tasks: {a: {run: [echo, '{{ " + " + ".join(["1"] * 9000) + " }}']}}",
    "a deep expression": "tasks: {a: {run: [echo, '{{ " + nest(98, "(", "1", ")") + " }}', '{{ " + nest(99, "[", "1", "]") + " }}', '{{ " + nest(90, "!", "1", "") + " }}', '{{ " + nest(49, "{a: ", "1", "}") + " }}']}}",
    "too deep an expression": "tasks: {a: {run: [echo, '{{ " + nest(150, "(", "1", ")") + " }}', '{{ " + nest(2000, "-", "1", "") + " }}', '{{ " + nest(500, "1 ? 1 : ", "1", "") + " }}', '{{ " + nest(300, "map([1], x => ", "1", ")") + " }}']}}",
    "long chains": "tasks: {b: {run: x}, a: {run: [echo, '{{ tasks.b.output" + ".x" * 3000 + " }}', '{{ tasks.b.output" + "[0]" * 3000 + " }}', '{{ tasks" + ".b" * 300 + " }}']}}",
    "many templates": "tasks: {a: {run: [echo, '" + "{{ 1 }}" * 3000 + "']}}",
    "many templates and escapes": "tasks: {a: {run: [echo, \"" + "{{ 1 }}\\t" * 3000 + "\"]}}",
    "many bad templates": "tasks: {a: {run: [" + _names(2000, "'{{{{ nope{0} + }}}}'") + "]}}",
    "many unknown names": "tasks: {a: {run: [" + _names(3000, "'{{{{ tasks.nope{0}.output }}}}'") + "]}}",
    "many unknown functions": "tasks: {a: {run: [" + _names(2000, "'{{{{ uper{0}(1) }}}}'") + "]}}",
    "hyphens": "inputs: {a-b: {}, a-b-c: {}}\ntasks: {a-b: {run: x}, t: {run: [echo, '{{ " + "-".join(["a"] * 2000) + " }}', '{{ tasks.a-b.output-1-inputs.a-b-c }}']}}",
    "regular expressions": "tasks: {w: {when: '{{ test(repeat(\"a\", 60) + \"!\", \"(a+)+$\") }}', run: x}, t: {foreach: [1, 2, 3, 4], key: '{{ replace(item + \"\", \"a\", \"b\") }}{{ match(repeat(\"a\", 60), \"(a|a)*b\") }}', run: x, writes: '{{ match(repeat(\"a\", 50), \"(.*)*x\") }}{{ index }}'}}",
    "unclosed": "tasks:\n  a: {run: 'echo {{ x'}\n  b: {run: 'echo {{ \"x }}'}\n  c: {run: 'echo {{ ( }}'}\n  d: {run: 'echo {{ } }}'}\n  e: {run: 'echo {{ {a: 1} }} }} {{'}\n  f: {run: 'echo \\{{ }} {{ ''}}'' }} {{}}'}\n",
    "many unclosed": "tasks: {a: {run: [" + "'{{ (', " * 1000 + "'{{{{{{{{']}}",
    "braces": "tasks: {a: {run: '" + "{" * 5000 + "}" * 5000 + "'}}",
    "escaped": "tasks: {a: {run: '" + "\\{{" * 3000 + " {{ 1 }}'}}",
    "scripts": "tasks:\n  a: {run: \"echo '{{ 1 }}' \\\"{{ 2 }}\\\" `{{ 3 }}` $({{ 4 }}) # {{ 5 }}\"}\n  b:\n    run: |\n      cat <<EOF\n      {{ 1 }}\n      EOF\n      cat <<-'E O' <<B\n      {{ raw(2) }}\n      E O\n      B\n      echo {{ raw(1 + 2) }} $((1 + {{ 3 }})) ${x:-{{ 4 }}} \\{{ 5 }} \\\\{{ 6 }}\n",
    "a long script": "tasks: {a: {run: '" + "echo $(( ( \" ${x} \" ) )) ; " * 3000 + "{{ 1 }}'}}",
    "unicode": "tasks:\n  \u00e9\u4e2d\U0001f600: {run: 'echo \u2028\u2029\u0085 {{ tasks.\u00e9 }} {{ \"\U0001f600\" + \u4e2d }}'}\n  \"\\u202e\\ud83d\": {run: x}\n  \ufeffa: {run: \"\\x00\\x1b\\udfff\"}\n",
    "aliases": "a: &a {run: x, env: &e {A: '{{ nope }}'}}\ntasks: {a: *a, b: *a, c: {tasks: {d: *a, e: {run: y, env: *e}}}}",
    "an alias loop": "tasks: &t {a: {tasks: *t}}",
    "an alias bomb": "a: &a [x, x, x]\n" + "\n".join(f"a{at}: &a{at} [*a{at - 1 if at else ''}, *a{at - 1 if at else ''}, *a{at - 1 if at else ''}]".replace("*a-1", "*a") for at in range(9)) + "\ntasks: {t: {foreach: *a8, run: x}}",
    "aliases of tasks": "x: &x {run: x, writes: ['{{ 1 + 1 }}', q]}\ntasks: {" + _names(300, "t{}: *x") + "}",
    "a long line": "tasks: {a: {run: '" + "x" * 300_000 + "'}}",
    "long keys": "tasks: {" + "k" * 900 + ": {run: x}, a: {run: x, " + "o" * 20_000 + ": 1}}",
    "many tasks": "tasks: {" + _names(4000, "t{}: {{run: x}}") + "}",
    "many needs": "tasks: {" + ", ".join(f"t{at}: {{run: x, needs: [{', '.join(f't{to}' for to in range(max(0, at - 20), at))}]}}" for at in range(400)) + "}",
    "a cycle": "tasks: {" + _names(600, "t{0}: {{run: x, needs: [t{0}0, t{0}]}}") + ", " + ", ".join(f"c{at}: {{run: x, needs: [c{(at + 1) % 300}]}}" for at in range(300)) + "}",
    "many writers": "tasks: {" + _names(1500, "t{}: {{run: x, writes: [out]}}") + "}",
    "many readers": "tasks: {" + _names(800, "t{0}: {{run: x, writes: [out/{0}], reads: [out]}}") + "}",
    "deep paths": "tasks: {a: {run: x, writes: [" + "a/" * 3000 + "], reads: ['../" + "../" * 3000 + "', '/proc/self/fd', '~', '']}}",
    "loops of strings": "tasks: {a: {loop: '3', tasks: {x: {run: x}}}, b: {while: 'true', tasks: {x: {run: x}}}, c: {loop: {max: true, until: 3}, tasks: {}}, d: {loop: [], while: {}, tasks: 3}}",
    "wrong everywhere": "name: [1]\ninputs: 3\nenv: [x]\ndefaults: {run: x}\npools: {p: -1}\noutputs: 1\nfinally: []\ntasks: {a: {parallel: {tasks: 1}}, b: {switch: [1, {when: 3}, {}]}, c: {flow: [], with: 1}, d: {http: {url: {}}}, e: {ask: x, form: {a: nope}, default: 1}, f: {call: 1, with: []}, g: {run: {}}, h: {matrix: {a: 1, include: 1, exclude: [1]}, foreach: 3, run: x}}",
    "another file": "inputs: {n: {type: integer, default: 1}}\ntasks:\n  a: {flow: inner.yaml, with: {words: [1, '{{ inputs.n }}']}}\n  b: {foreach: [1, 2], flow: ./inner.yaml, with: {words: '{{ tasks.a.output.words }}'}, on_error: {flow: inner.yaml, with: {words: []}}}\n  c: {flow: two.yaml}\noutputs: {x: '{{ tasks.a.each.output }}'}",
    "a chain of files": "tasks: {a: {flow: chain0.yaml}}",
    "too long a chain of files": "tasks: {a: {flow: link0.yaml}}",
    "files twice each": "tasks: {a: {flow: twice0.yaml}, b: {flow: twice0.yaml}}",
    "files that write, twice each": "tasks: {a: {flow: writes0.yaml}, b: {flow: writes0.yaml}}",
    "a cycle of files": "tasks: {a: {flow: circle.yaml}}",
    "a file that is wrong": "tasks: {a: {flow: wrong.yaml}, b: {flow: wrong.yaml, with: {x: 1}}, c: {flow: not.yaml}, d: {flow: ../x.yaml}, e: {flow: /dev/zero.yaml}, f: {flow: folder.yaml}}",
    "questions": "tasks:\n  a: {ask: 'x {{ 1 }}', form: {ok: bool, n: {type: int, min: 1, max: 3}, c: {choices: [a, b]}}, default: {ok: true, n: 2, c: a}, timeout: 1h, who: [me]}\n  d: {run: 'echo {{ feedback }}'}\n  b: {ask: y, approve: [d], rounds: 3, needs: [a]}\n",
    "all policies": "pools: {p: 2}\ndefaults: {timeout: 5s, retries: 2}\ntasks:\n  a: {run: x, retry: {attempts: 3, delay: 1s, backoff: 2}, pool: {p: 1}, concurrency_key: '{{ 1 }}', cost: '{{ 2 }}', rate_limit: 3/s, lock: l, reads: [a, '{{ run.id }}'], writes: ['{{ uuid() }}'], on_conflict: serialise, idle_timeout: 3s, grace: 1s, priority: 3, critical: true, allow_failure: true, budget: {attempts: 3}, env: {A: '{{ run.name }}'}, cwd: '{{ env.B }}'}\nenv: {B: x}\n",
}  # fmt: skip
"""Files that somebody wrote to do harm, or to find a limit; some are refused and some are not."""


def _companions() -> dict[str, str]:
    """Files that lie beside each of them, for `flow:`."""
    found = {
        "inner.yaml": (ROOT / "tests" / "flows" / "inner.yaml").read_text(),
        "two.yaml": "tasks: {x: {flow: inner.yaml, with: {words: [a]}}}\noutputs: {o: '{{ tasks.x.output.words }}'}\n",
        "circle.yaml": "tasks: {x: {flow: two.yaml}, y: {parallel: [{tasks: {z: {flow: circle.yaml}}}]}}\n",
        "wrong.yaml": 'tasks: {x: {rn: "echo", needs: [y]}, y: {run: "echo {{ 1 + }}"}}\n',
        "not.yaml": "tasks: [\n",
        "chain15.yaml": "tasks: {a: {run: x}}\n",
        "link40.yaml": "tasks: {a: {run: x}}\n",
        "twice14.yaml": "tasks: {a: {run: x}, b: {foreach: [1, 2], run: x}}\n",
        "writes14.yaml": "tasks: {a: {run: x, writes: [a]}}\n",
    }
    found |= {f"chain{at}.yaml": f"tasks: {{a: {{flow: chain{at + 1}.yaml}}}}\n" for at in range(15)}
    found |= {f"link{at}.yaml": f"tasks: {{a: {{flow: link{at + 1}.yaml}}}}\n" for at in range(40)}
    for name in ("twice", "writes"):
        found |= {
            f"{name}{at}.yaml": f"tasks: {{a: {{flow: {name}{at + 1}.yaml}}, b: {{flow: {name}{at + 1}.yaml}}}}\n"
            for at in range(14)
        }
    return found


def corpus() -> dict[str, str]:
    """Whole files by their names: those of this repository, those in its documents, and the evil ones."""
    found: dict[str, str] = {}
    for path in sorted([*(ROOT / "examples").rglob("*.yaml"), *(ROOT / "tests" / "flows").glob("*.yaml")]):
        found[path.name] = path.read_text()
    for path in sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")]):
        for at, block in enumerate(re.findall(r"^```ya?ml\n(.*?)^```", path.read_text(), re.M | re.S)):
            found[f"{path.name} {at}"] = block
    return found | EVIL | fuzz_scripts.corpus()


HARMFUL = EVIL.keys() | {f"script {name}" for name in fuzz_scripts.EVIL}


def is_script(name: str) -> bool:
    """Is a case one of FlowScript, by its name?"""
    return name.startswith("script ")


def called(name: str) -> str:
    """What the file of a case is called."""
    return "flow.flow.md" if is_script(name) else "flow.yaml"


# -- mutations

Change = Callable[[random.Random, str, list[str]], "str | bytes"]

BYTES = [b"\0", b"\xff", b"\xc3", b"\x80", b"\r", b"\t", b"\x1b", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\n", b" ", b":", b"'", b'"', b"{", b"}"]  # fmt: skip
YAML = ["{", "}", "[", "]", ":", ": ", "- ", ",", "&a ", "*a", "!!python/object:os.system ", "!x ", "|", ">", "|2-", "? ", "<<: ", "---\n", "...\n", "%YAML 1.1\n", "'", '"', "\n", "\n  ", "#", "~", "null", "true", "no", "0x1F", "1e999", ".nan", "-0", "12:30:45", "9" * 50, "\\", "@", "`", "\t"]  # fmt: skip
WORDS = ["{{", "}}", "{{ }}", "\\{{", "(", ")", "[", "]", "{", "}", "\"", "'", "?", ":", "?.", "??", "...", "=>", "==", "===", "!", "-", "+", "*", "**", "%", "&&", "||", "|", " IN ", " NOT ", " AND ", "typeof ", ".", "..", ",", "x => x", "(a, b) => a", "__class__", "constructor", "raw(", "raw(1)", "upper(", "map([1], x => ", "repeat('x', 1e9)", "range(0, 1e9)", "match('a', '(a+)+')", "now()", "uuid()", "random_int(0, 9)", "JSON.parse('{}')", "inputs", "inputs.x", "tasks", "tasks.a.output", "tasks['a'].status", "item", "index", "matrix.a", "previous", "env.A", "run.id", "error.message", "feedback", "null", "true", "1e308", "0.1", "'\\u0000'", "'\\ud800'", "\u00e9", "\U0001f600", "$x", "a-b", "9" * 301]  # fmt: skip
VALUES = ["null", "true", "0", "-1", "1e9", "'x'", "[]", "{}", "[1, 2]", "{a: 1}", "'{{ 1 }}'", "'{{ item }}'", "'{{ tasks.a.output }}'", "\"{{ inputs.x }}\"", "'{{'", "[[[]]]", "{tasks: {x: {run: x}}}", "[{tasks: {x: {run: x}}}]", "inner.yaml", "9999999999999999999999", "1s", "3/s", "fail_fast", "a", "[a, b]", "''", "'\u2028'"]  # fmt: skip
KEYS = ["run", "call", "http", "ask", "tasks", "parallel", "switch", "flow", "loop", "while", "foreach", "matrix", "key", "when", "needs", "with", "env", "cwd", "output", "on_error", "finally", "retries", "retry", "timeout", "pool", "cost", "reads", "writes", "reduce", "min_success", "max_failures", "max_concurrency", "on_failure", "join", "allow_failure", "inputs", "outputs", "defaults", "name", "deadline", "budget", "until", "max", "condition", "include", "exclude", "approve", "rounds", "form", "default", "who", "concurrency_key", "rate_limit", "lock", "health", "on_conflict", "secrets", "agent", "executor", "memory_limit", "critical", "idle_timeout"]  # fmt: skip

EXPRESSIONS = ["1", "1 + 1", "'a' + 'b'", "[1, 2]", "{a: 1, 'b-c': [2]}", "map([1, 2], x => x * 2)", "upper('a')", "run.id", "run.name + '}}'", "null ?? '\"'", "1 > 2 ? 'a' : 'b'", "length([]) == 0", "!true", "typeof 1", "join(['a', 'b'], ' ')", "now()", "uuid()", "random_int(1, 2)", "'$(' + '`'", "pow(9, 9)", "raw('x')", "raw(1 + 1)", "sort([3, 1], (a, b) => a - b)", "reduce([1], (a, b) => a + b, 0)", "match('ab', 'a(b)')", "JSON.parse('[1]')", "range(0, 5)", "repeat('x', 100000)", "get({a: {b: 1}}, 'a.b')", "set({}, 'a.b', 1)", "'é😀'", "(1)", "'' + 1e300", "format_date(now(), 'yyyy')"]  # fmt: skip
"""Any of which stands anywhere."""

_KEY = re.compile(r"(?<=[\s{,-])([A-Za-z_]\w*)(?=:[\s\"'\[{])")
_VALUE = re.compile(r"(?<=: )([^\s,{}\[\]#]+|'[^'\n]*'|\"[^\"\n]*\"|\[[^\[\]\n]*\]|\{[^{}\n]*\})")
_HOLE = re.compile(r"\{\{(.*?)\}\}", re.S)


def _span(dice: random.Random, text: str, longest: int) -> tuple[int, int]:
    start = dice.randrange(len(text) + 1)
    return start, min(len(text), start + dice.randrange(longest + 1))


def _somewhere(dice: random.Random, text: str, new: str) -> str:
    at = dice.randrange(len(text) + 1)
    return text[:at] + new + text[at:]


def of_bytes(dice: random.Random, text: str, others: list[str]) -> bytes:
    """A byte changed, left out, put in."""
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(dice.choice((1, 1, 2, 5, 20))):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(4):
            case 0:
                data[at:at] = dice.choice(BYTES)
            case 1:
                del data[at : at + dice.choice((1, 1, 3, 30))]
            case 2:
                data[at : at + 1] = bytes([dice.randrange(256)])
            case _:
                data[at : at + 1] = dice.choice(BYTES)
    return bytes(data)


def of_yaml(dice: random.Random, text: str, others: list[str]) -> str:
    """A token of YAML put in, or in the place of some characters."""
    for _ in range(dice.choice((1, 1, 2, 4))):
        start, end = _span(dice, text, dice.choice((0, 1, 5)))
        text = text[:start] + dice.choice(YAML) + text[end:]
    return text


def of_expressions(dice: random.Random, text: str, others: list[str]) -> str:
    """A word put into an expression, or in the place of a part of it, or of all."""
    for _ in range(dice.choice((1, 1, 2, 4))):
        holes = list(_HOLE.finditer(text))
        if not holes:
            return _somewhere(dice, text, "{{ " + dice.choice(WORDS) + " }}")
        hole = dice.choice(holes)
        inner = hole[1]
        start, end = _span(dice, inner, dice.choice((0, 3, len(inner))))
        inner = inner[:start] + " ".join(dice.choices(WORDS, k=dice.choice((1, 1, 2, 3)))) + inner[end:]
        text = text[: hole.start(1)] + inner + text[hole.end(1) :]
    return text


def of_good_expressions(dice: random.Random, text: str, others: list[str]) -> str:
    """Another expression in the place of one."""
    holes = list(_HOLE.finditer(text))
    if not holes:
        return of_values(dice, text, others)
    for hole in sorted(
        dice.sample(holes, k=min(len(holes), dice.choice((1, 1, 2, 5)))), key=lambda each: -each.start()
    ):
        text = f"{text[: hole.start(1)]} {dice.choice(EXPRESSIONS)} {text[hole.end(1) :]}"
    return text


def of_keys(dice: random.Random, text: str, others: list[str]) -> str:
    """A key in the place of another, or one with its value put in."""
    found = list(_KEY.finditer(text))
    if not found:
        return _somewhere(dice, text, f"{dice.choice(KEYS)}: {dice.choice(VALUES)}\n")
    key = dice.choice(found)
    if dice.randrange(2):
        return text[: key.start()] + dice.choice(KEYS) + text[key.end() :]
    put = f"{dice.choice(KEYS)}: {dice.choice(VALUES)}"
    line = text.rfind("\n", 0, key.start()) + 1
    before = text[line : key.start()]
    behind = f",{' '}" if before.strip(" -") else f"\n{' ' * len(before)}"
    return text[: key.start()] + put + behind + text[key.start() :]


def of_values(dice: random.Random, text: str, others: list[str]) -> str:
    """Other values, or those of two keys in each other's place."""
    found = list(_VALUE.finditer(text))
    if not found:
        return _somewhere(dice, text, dice.choice(VALUES))
    one = dice.choice(found)
    other = dice.choice(found)
    if dice.randrange(2) or one.start() == other.start():
        return text[: one.start()] + dice.choice(VALUES) + text[one.end() :]
    first, last = sorted((one, other), key=lambda match: match.start())
    if first.end() > last.start():
        return text[: one.start()] + other[0] + text[one.end() :]
    return text[: first.start()] + last[0] + text[first.end() : last.start()] + first[0] + text[last.end() :]


def splice(dice: random.Random, text: str, others: list[str]) -> str:
    """The beginning of one file, and a part of another, at the ends of lines or anywhere."""
    other = dice.choice(others)
    if dice.randrange(2):
        mine, theirs = text.split("\n"), other.split("\n")
        cut = dice.randrange(len(mine) + 1)
        start = dice.randrange(len(theirs))
        return "\n".join([*mine[:cut], *theirs[start : start + dice.randrange(1, 20)], *mine[cut:]])
    start, end = _span(dice, other, 400)
    return _somewhere(dice, text, other[start:end])


def again(dice: random.Random, text: str, others: list[str]) -> str:
    """A part of it several times."""
    if dice.randrange(2):
        lines = text.split("\n")
        at = dice.randrange(len(lines))
        part = lines[at : at + dice.choice((1, 1, 3, 10))]
        return "\n".join(lines[:at] + part * dice.choice((2, 2, 5, 50)) + lines[at:])
    start, end = _span(dice, text, 60)
    return text[:start] + text[start:end] * dice.choice((2, 3, 100)) + text[end:]


def indented(dice: random.Random, text: str, others: list[str]) -> str:
    """Lines further in, or further out."""
    lines = text.split("\n")
    at = dice.randrange(len(lines))
    by = dice.choice((-2, -1, 1, 2, 4))
    for number in range(at, min(len(lines), at + dice.choice((1, 2, 5)))):
        lines[number] = " " * by + lines[number] if by > 0 else lines[number][-by:]
    return "\n".join(lines)


SCRIPT_WORDS = [*WORDS, "$config.top", "$secrets.API_KEY", "$context", "$item", "$index", "$iteration", "$branch", "$acc", "$run.id", "$env.HOME", "$input.x", "$primaryError", "first", "first.output", "first.status", "first.error.message", "each", "city", "rows", "hot.output[0]"]  # fmt: skip
SCRIPT_CHANGES: list[Change] = [of_bytes, fuzz_scripts.of_tokens, of_expressions, of_good_expressions, fuzz_scripts.of_attributes, fuzz_scripts.of_attributes, fuzz_scripts.of_elements, fuzz_scripts.of_elements, *[fuzz_scripts.of_good_elements] * 4, *[fuzz_scripts.of_formulas(SCRIPT_WORDS, [*EXPRESSIONS, *EXPRESSIONS, *SCRIPT_WORDS[-20:]])] * 3, fuzz_scripts.of_sections(YAML), splice, again]  # fmt: skip

CHANGES: list[Change] = [of_bytes, of_yaml, of_expressions, of_good_expressions, of_good_expressions, of_good_expressions, of_keys, of_keys, of_values, of_values, splice, again, indented]  # fmt: skip


def mutated(seed: int, number: int, known: dict[str, str]) -> tuple[str, bytes]:
    """Case `number` of a seed: what was done to which file, and the file that came of it. Of each file the first case is itself."""
    dice = random.Random(f"{seed}/{number}")
    names, texts = list(known), list(known.values())
    if number < len(names):
        return names[number], texts[number].encode("utf-8", "surrogatepass")
    language = bool(dice.randrange(2))
    names = [each for each in names if is_script(each) is language]
    others = [known[each] for each in names]
    name = dice.choice(names if dice.randrange(2) else [each for each in names if each not in HARMFUL])
    made: str | bytes = known[name]
    done: list[str] = []
    for _ in range(dice.choice((1, 1, 1, 1, 2, 2, 3, 5))):
        change = dice.choice(SCRIPT_CHANGES if language else CHANGES)
        text = made if isinstance(made, str) else made.decode("utf-8", "replace")
        made = change(dice, text, others)[:400_000]
        done.append(change.__name__)
    return f"{name}: {', '.join(done)}", made if isinstance(made, bytes) else made.encode("utf-8", "surrogatepass")


# -- what must hold

_LINE = re.compile(
    r"(?P<file>.+?):(?P<line>[0-9]+):(?P<column>[0-9]+): (?:error|warning)\[[A-Za-z_-]+\]: .+", re.DOTALL
)


def look(path: Path) -> str:
    """All that is done with a file without running it: `accepted` or `refused`. Raises what is wrong."""
    from plait.cli import inspecting
    from plait.cli.pictures import FORMS
    from plait.errors import FlowError
    from plait.flow import load
    from plait.flow.script.flows import ScriptFlow

    try:
        flow = load(path)
    except FlowError as error:
        assert error.problems, "it was refused, and nothing was said"
        for each in (*error.problems, *error.warnings):
            check_line(each, path.parent)
        return "refused"
    for each in flow.warnings:
        check_line(each, path.parent)
    flow.shape()
    for form in FORMS.values():
        for line in form(flow):
            assert isinstance(line, str)
    said = inspecting.facts(flow, path.name)
    json.dumps(said, default=str)
    for line in inspecting.text(said):
        assert line.isprintable(), line
    if isinstance(flow, ScriptFlow):
        look_ahead(flow)
    return "accepted"


def look_ahead(flow: ScriptFlow) -> None:
    """What a store keeps of it, and what a run without anything given would do (`run -n`), where it could begin."""
    from plait.cli import planning
    from plait.cli.session import Settings
    from plait.errors import UsageError

    try:
        json.dumps(flow.snapshot({}), default=str)
        plan = planning.document(flow, {}, Settings())
    except UsageError:
        return  # something must be given
    json.dumps(plan)
    for line in planning.text(plan):
        assert line.isprintable(), line


def check_line(problem: object, folder: Path) -> None:
    """A finding is one printable line with a place that is in the file."""
    line = str(problem)
    found = _LINE.fullmatch(line)
    assert found is not None, f"no finding: {line[:300]!r}"
    assert all(each.isprintable() for each in problem.lines()), f"not to be printed: {line[:300]!r}"  # type: ignore[attr-defined]
    path = Path(found["file"])
    lines = path.read_bytes().decode("utf-8-sig", "replace").splitlines() if path.is_file() else [""]
    at, column = int(found["line"]), int(found["column"])
    assert path.parent == folder or not path.is_file(), f"not one of these files: {line[:300]}"
    assert 1 <= at <= max(1, len(lines)) + 1, f"no line of the file, which has {len(lines)}: {line[:300]}"
    length = len(lines[at - 1]) if at <= len(lines) else 0
    assert 1 <= column <= length + 1, f"behind the end of its line, which has {length} characters: {line[:300]}"


@dataclass
class Case:
    """What came of one file: `accepted`, `refused`, or what was wrong."""

    number: int
    name: str
    said: str
    seconds: float = 0.0
    megabytes: float = 0.0

    @property
    def wrong(self) -> str:
        """Empty where nothing is."""
        if self.said not in ("accepted", "refused"):
            return self.said
        if self.seconds > SECONDS:
            return f"took {self.seconds:.1f} s"
        return f"took {self.megabytes:.0f} MB" if self.megabytes > MEGABYTES else ""


def judged(number: int, name: str, path: Path) -> Case:
    """One file, looked at in a process of its own, whose time and memory are nobody else's."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        _in_child(path, write)
    os.close(write)
    data = b""
    ends = time.monotonic() + 2 * MOST_SECONDS
    while True:
        ready, _, _ = select.select([read], [], [], max(0.0, ends - time.monotonic()))
        more = os.read(read, 65536) if ready else b""
        if not more:
            break
        data += more
    os.close(read)
    if not data:
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            pass
    _, status, used = os.wait4(child, 0)
    said = data.decode("utf-8", "replace") or f"its process ended with status {status}"
    return Case(number, name, said, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def _in_child(path: Path, write: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEGABYTES << 20, MOST_MEGABYTES << 20))
    try:
        said = look(path)
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        at = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
        said = f"{type(error).__name__} at {at}: {error}"[:2000]
    os.write(write, said.encode("utf-8", "replace"))
    os._exit(0)


def folder_for(where: Path) -> Path:
    """A folder with the files that lie beside each case."""
    where.mkdir(parents=True, exist_ok=True)
    for name, text in (_companions() | fuzz_scripts.companions()).items():
        (where / name).write_text(text)
    for name in ("folder.yaml", "folder.flow.md"):
        (where / name).mkdir(exist_ok=True)
    return where


FIRST = {
    "flow.yaml": "tasks: {a: {run: x, writes: [y], when: '{{ 1 + 1 }}'}, b: {ask: x}, c: {http: 'http://x/'}}\n",
    "flow.flow.md": fuzz_scripts.EXAMPLES["of branches"],
}


def tried(seed: int, numbers: Iterator[int], where: Path, until: float) -> Iterator[Case]:
    """Case after case, until there are no more, or the time is over."""
    folder_for(where)
    os.chdir(where)
    for name, text in FIRST.items():  # what all of them import is imported before the first
        (where / name).write_text(text)
        look(where / name)
    known = corpus()
    for number in numbers:
        if time.monotonic() > until:
            return
        name, data = mutated(seed, number, known)
        path = where / called(name)
        path.write_bytes(data)
        yield judged(number, name, path)


def main() -> None:
    """Tries them, in several processes, and says what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="no case begins later than that")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="where to write the files that went wrong")
    given = parser.parse_args()
    until = time.monotonic() + given.seconds
    with tempfile.TemporaryDirectory() as folder:
        outs = []
        for at in range(given.processes):
            out = Path(folder) / f"{at}.jsonl"
            outs.append(out)
            if not os.fork():
                numbers = iter(range(given.first + at, given.first + given.number, given.processes))
                with out.open("w") as file:
                    for case in tried(given.seed, numbers, Path(folder) / str(at), until):
                        file.write(json.dumps(asdict(case)) + "\n")
                os._exit(0)
        for _ in outs:
            os.wait()
        cases = [Case(**json.loads(line)) for out in outs for line in out.read_text().splitlines()]
    sys.exit(told(cases, given.seed, given.keep))


def told(cases: list[Case], seed: int, keep: Path | None) -> int:
    """What came of them all; 1 where something is wrong."""
    counted = Counter(each.said if each.said in ("accepted", "refused") else "wrong" for each in cases)
    for each in sorted(cases, key=lambda case: case.number):
        if each.wrong:
            print(f"case {each.number} ({each.name}): {each.wrong}")
            if keep is not None:
                folder_for(keep)
                (keep / f"case-{seed}-{each.number}.{called(each.name).partition('.')[2]}").write_bytes(
                    mutated(seed, each.number, corpus())[1]
                )
    wrong = sum(bool(each.wrong) for each in cases)
    slowest = max(cases, key=lambda case: case.seconds)
    largest = max(cases, key=lambda case: case.megabytes)
    print(
        f"seed {seed}: {len(cases)} files, {counted['accepted']} accepted, {counted['refused']} refused, {wrong} wrong; slowest "
        f"{slowest.seconds:.2f} s (case {slowest.number}: {slowest.name}), largest {largest.megabytes:.0f} MB (case {largest.number}: {largest.name})"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    main()
