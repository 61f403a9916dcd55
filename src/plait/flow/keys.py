"""The words of workflow files, and what belongs where."""

from __future__ import annotations

import re

from plait._core.policy import option_names

MOST_ROUNDS, LARGEST_ROUNDS = 1000, 100_000
"""Rounds of a loop that says nothing else, and of any loop."""

HTTP_KEYS = ("url", "method", "headers", "params", "body", "auth", "extract", "output", "allow_private", "max_bytes")

OF_CODE_ALONE = ("retries", "retry", "idle_timeout", "on_interrupt", "memory_limit")
"""What a question, which runs no code, is refused."""

TOP = (
    "name",
    "inputs",
    "secrets",
    "env",
    "max_concurrency",
    "on_failure",
    "deadline",
    "pools",
    "budget",
    "on_conflict",
    "health",
    "defaults",
    "tasks",
    "finally",
    "outputs",
)

BODIES = ("run", "call", "http", "node", "ask", "tasks", "parallel", "switch", "flow")

GROUPS = ("tasks", "parallel", "switch", "flow")
"""Bodies that run nothing themselves."""

OF_GROUPS = ("on_failure", "max_concurrency", "min_success", "max_failures", "reduce")

POLICIES = tuple(sorted(option_names() - set(OF_GROUPS)))

WHOLE = ("join", "budget", *OF_GROUPS)

COMMON = ("needs", "foreach", "matrix", "key", "when", "on_error", "width", *POLICIES, *OF_GROUPS)

BODY_KEYS = {
    "run": ("output", "env", "cwd"),
    "call": ("with", "executor"),
    "http": (),
    "node": ("input", "with"),
    "tasks": ("finally", "outputs", "loop", "while"),
    "parallel": ("merge",),
    "switch": (),
    "flow": ("with",),
    "ask": ("form", "default", "who", "approve", "rounds"),
}

INPUT_KEYS = ("type", "default", "required", "description")

PART_KEYS, BRANCH_KEYS, CASE_KEYS = ("tasks", "finally", "outputs"), ("name",), ("when",)
"""Of a branch or a case; and of each of them alone."""

LOOP_KEYS, WHILE_KEYS = ("max", "until"), ("max", "condition")

MERGES = ("array", "concat", "object")
"""What the results of branches come to, where no expression says it."""

MOST_ITEMS = 100_000
"""Items of one foreach, combinations of one matrix."""

MATRIX_KEYS = ("include", "exclude")
"""What is no axis."""

EXECUTORS = ("thread", "process", "async")

LATER = {"agent", "cache", "workspace"}
"""Words of the language that this version does not run: refused, never ignored."""

OF_FLOW = ("on_failure", "max_concurrency", "deadline", "budget")
"""What a file says of its run that holds for its tasks where it is a part of another one."""

AXIS = re.compile(r"[A-Za-z_][\w-]*")

VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
