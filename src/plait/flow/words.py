"""What each key of a workflow file means, in a line: editors show it, and the docs have it."""

from __future__ import annotations

from typing import Final

FILE: Final = "a file"
INPUT: Final = "an input"
TASK: Final = "a task"
BRANCH, CASE = "a branch of `parallel`", "a case of `switch`"
LOOP, WHILE, MATRIX = "`loop`", "`while`", "`matrix`"
HTTP, AUTH = "`http`", "`auth` of `http`"
RETRY, KEYED, POOL, HEALTH = "`retry`", "`concurrency_key`", "a pool", "`health`"

_GROUP = {
    "on_failure": "What the first failure does: fail_fast cancels the rest, finish starts nothing new, continue goes on with all that does not need it.",
    "max_concurrency": "At most so many of its tasks run at once.",
    "budget": "Nothing within starts any more once one of these is spent: {usd: 5, tokens: 100000, seconds: 10m}.",
    "on_conflict": "Of tasks that may run at once and write what the other reads or writes: refuse the file, or serialise them.",
}
_TASKS = {
    "tasks": "Tasks by their keys; those that do not need one another run at once.",
    "finally": "Tasks that run when everything else is over, however it ended.",
}
_PARTS = {
    **_TASKS,
    "outputs": "What it gives: one template, or templates by name; by default the outputs of its tasks by their keys.",
}

WORDS: dict[str, dict[str, str]] = {
    FILE: {
        "name": "What a run of the file is called; by default the file's name.",
        "inputs": "What a run is given by `-i KEY=VALUE`: {{ inputs.KEY }}.",
        "secrets": "Variables of plait's own environment whose values are kept from everybody: {{ secrets.NAME }}.",
        "env": "Variables of the environment of every command: {{ env.NAME }}.",
        "max_concurrency": "At most so many tasks run at once, like `-j`.",
        "on_failure": _GROUP["on_failure"],
        "deadline": "The run fails when it takes longer: seconds, 30s, 5m, 2h.",
        "pools": "Named limits that tasks share: {db: 2, gpu: 1}.",
        "budget": _GROUP["budget"],
        "on_conflict": _GROUP["on_conflict"],
        "health": "No more starts for a while when too many of the latest attempts failed.",
        "defaults": "Options of every task that runs something, where it says nothing else.",
        **_TASKS,
        "outputs": "What a run gives: templates by name, or one template.",
    },
    INPUT: {
        "type": "What it must be; by default a string.",
        "default": "Its value where none is given.",
        "required": "Must it be given? By default, if it has no default.",
        "description": "What it is for.",
    },
    TASK: {
        "run": "A script for /bin/sh, or a list of words that are run without a shell.",
        "call": "A Python function, module:name; the file's folder is searched first.",
        "http": "An HTTP request: its URL, or {url, method, headers, ...}.",
        "node": "A source, transform or sink of FlowScript by its type, such as transform:map; its fields stand under `with`.",
        "ask": "A question for a person, who answers it while the rest of the run goes on.",
        "tasks": "A group: tasks that are one task to the outside.",
        "parallel": "Branches that run beside one another and see nothing of one another; the output is a list.",
        "switch": "Cases; the first whose `when` holds is run.",
        "flow": "Another workflow file, from this one's folder, with its inputs under `with`.",
        "needs": "Tasks that must succeed first, beside those that templates refer to.",
        "foreach": "Runs the body once for each item of a list, {{ item }} at {{ index }}; the output is a list.",
        "matrix": "Runs the body once for each combination of values: {{ matrix.AXIS }}.",
        "key": "What each item of a foreach or matrix is called; by default its index or its values.",
        "when": "Skips the task where it does not hold: true, false or one template.",
        "on_error": "A task that runs when this one has failed for good; its value becomes this one's.",
        "output": "What standard output is: text, lines (a list) or json.",
        "env": "Variables of the environment of the command.",
        "cwd": "The folder that the command works in.",
        "input": "What `input` is in a node: a template, or a list of them.",
        "with": "Arguments of the function, fields of the node, or inputs of the other file.",
        "executor": "Where the function runs: a thread, a process of its own, or the loop (async).",
        "finally": _TASKS["finally"],
        "outputs": _PARTS["outputs"],
        "merge": "What the results of the branches come to: array, concat, object, or one template over {{ branches }}.",
        "loop": "Repeats the tasks: so many rounds, or {max, until}; {{ previous }} is what the round before gave.",
        "while": "Repeats the tasks while it holds before a round: one template, or {condition, max}.",
        "form": "What fits as an answer: a type, a list of choices, fields by name, or {schema: a JSON Schema}.",
        "default": "The answer where none comes in time; of an approval approve or reject.",
        "who": "Who may answer: a name or several; by default anybody.",
        "approve": "Asks whether the work of these tasks is good: approve, revise or reject.",
        "rounds": "So often the work may be asked for again; by default 3.",
        "on_failure": _GROUP["on_failure"],
        "max_concurrency": _GROUP["max_concurrency"],
        "width": "At most so many items or branches are under way at once, each with all that is in it.",
        "min_success": 'So many of its tasks must succeed, a count or a share such as "60%"; the rest is cancelled then.',
        "max_failures": "With more failures than that, a count or a share, it fails at once.",
        "reduce": "What the results come to, instead of their list: union, majority, {quorum: 2}, ...",
        "priority": "high, normal, low or a whole number: who goes first where there is room for one.",
        "retries": "So many more tries after the first.",
        "retry": "How often, how soon and after which failures it is tried again.",
        "timeout": "The longest that one attempt may take, or the time for an answer: seconds, 30s, 5m.",
        "idle_timeout": "The longest that one attempt may be without a sign of life.",
        "deadline": "The longest from when it is ready to the end of its last attempt, waiting included.",
        "grace": "Time between the signal to stop and force; 5s by default.",
        "join": "How its needs must have ended; all_success by default.",
        "uninterruptible": "Is it let finish where the rest of its run is cancelled?",
        "critical": "Does its failure stop the whole run, whatever `on_failure` says?",
        "allow_failure": "Does the run go on, and well, without it?",
        "on_interrupt": "What becomes of it when its process died while it ran: rerun, fail, or ask a person.",
        "memory_limit": "Memory of the command, or of the call with `executor: process`: bytes, 512MB, 2GiB.",
        "pool": "Pools that it takes a part of: a name, several, or weights by name.",
        "concurrency_key": "At most one task of that key runs at once; or {key, n} for n of them.",
        "rate_limit": "Never more starts than that: 100/1m, 5/s, or several of these.",
        "cost": "How much of its rates an attempt uses; 1 by default.",
        "budget": _GROUP["budget"],
        "lock": "Names of locks: no two tasks of any run on this machine have one of them at once.",
        "reads": "Paths that it reads.",
        "writes": "Paths that it writes.",
        "on_conflict": _GROUP["on_conflict"],
    },
    BRANCH: {"name": "What it is called; by default its number, from 0.", **_PARTS},
    CASE: {"when": "Is it this one? The last case may be without.", **_PARTS},
    LOOP: {"max": "At most so many rounds.", "until": "The round after which it holds is the last."},
    WHILE: {
        "condition": "Looked at before each round.",
        "max": "An error when it still holds after so many rounds; 1000 by default.",
    },
    MATRIX: {
        "include": "Values put into combinations that they change nothing of, or combinations of their own.",
        "exclude": "Combinations that are left out: all that have these values.",
    },
    HTTP: {
        "url": "What is asked.",
        "method": "GET by default.",
        "headers": "Headers by name.",
        "params": "What is put behind the URL's question mark.",
        "body": "What is sent: text, or data that is sent as JSON.",
        "auth": "{type: bearer, token} or {type: basic, username, password}; token_env and the like name variables.",
        "extract": "A JMESPath expression: which part of the JSON is the output.",
        "output": "What the response is taken for: by default JSON where it says so, else text.",
        "allow_private": "May it lead into a private network?",
        "max_bytes": "A larger body is an error.",
    },
    AUTH: {
        "type": "bearer or basic.",
        "token": "The token.",
        "token_env": "The variable that holds the token.",
        "username": "The name.",
        "username_env": "The variable that holds the name.",
        "password": "The password.",
        "password_env": "The variable that holds the password.",
    },
    RETRY: {
        "attempts": "So many tries, the first one included.",
        "delay": "Before the second try; 1s by default.",
        "backoff": "Each pause is so many times the one before; 2 by default.",
        "max_delay": "The longest pause; 60s by default.",
        "jitter": "Is each pause a random part of that? By default.",
        "on": "After which failures: exit 75, signal SIGKILL, http 5xx, timeout, retryable, an exception's name; several as a list.",
        "not_on": "After which failures not; it wins over `on`.",
    },
    KEYED: {"key": "The key.", "n": "So many tasks of the key run at once."},
    POOL: {"capacity": "So much of it is taken at once.", "health": "As of the file, for the tasks in this pool."},
    HEALTH: {
        "max_error_rate": 'Healthy up to this share of failures, 0.5 or "50%".',
        "window": "So many of the latest attempts are looked at; 50 by default.",
        "min_outcomes": "Nobody judges before there are so many; 10 by default.",
        "pause": "Nothing starts for so long; 30s by default. Twice as long each time that a probe fails.",
        "max_pause": "The longest pause; 10m by default.",
        "probes": "So many attempts, one after the other, must succeed then; 1 by default.",
    },
}  # fmt: skip
"""By where a key stands, in the order in which they are told."""
