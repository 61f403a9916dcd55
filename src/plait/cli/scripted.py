"""What a FlowScript file is, as data, in the shape in which YAML files are told; and the entry that a run appends to its footer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from plait._core.graph import REPAIR
from plait._core.policy import PLAIN
from plait._core.result import RunResult
from plait._core.scheduler import describe
from plait.cli.whole import write
from plait.flow.model import FlowTask, Group, Loop, NodeCall, Parallel, Subflow, Switch, groups
from plait.flow.outlines import DEEPEST_DRAWN, MOST_DRAWN, does, kind, rounds, written
from plait.flow.script.definitions import said
from plait.flow.stacks import with_own_stack

OPTIONS = {"timeout": "timeout", "allow_failure": "allow_failure", "width": "at once", "min_success": "min_success"}


def facts(flow: Any, name: str) -> dict[str, Any]:
    """What a file is, for programs. Of secrets only the names."""
    front = flow.file.front
    return {
        "name": flow.name,
        "version": front.version,
        "file": name,
        "trigger": front.trigger,
        "config": {
            key: {
                "type": each.called,
                "required": each.required,
                "default": each.default,
                "description": each.description,
            }
            for key, each in front.config.items()
        },
        "inputs": {
            key: {"type": each.said, "required": each.required, "default": each.default, "description": ""}
            for key, each in front.input.items()
        },
        "secrets": list(front.secrets),
        "schemas": {key: str(each) for key, each in front.schemas.items()},
        "env": {},
        "pools": {},
        "limits": {"max_concurrency": None, "on_failure": "continue", "deadline": None, "budget": None}
        | flow.file.rules,
        "tasks": with_own_stack(lambda: _Telling().group(flow.file.root)),
        "finally": [],
        "outputs": front.output if isinstance(front.output, dict) else {},
    }


class _Telling:
    """Nodes as data, as many as are told."""

    def __init__(self) -> None:
        self._left = MOST_DRAWN
        self._depth = 0

    def group(self, group: Group) -> list[dict[str, Any]]:
        """The nodes of a block."""
        self._left -= len(group.tasks)
        if self._left < 0 or self._depth >= DEEPEST_DRAWN:
            return []
        self._depth += 1
        found = [self._task(task) for task in group.tasks.values()]
        self._depth -= 1
        return found

    def _task(self, task: FlowTask) -> dict[str, Any]:
        body = task.body
        shown: dict[str, Any] = {"key": task.key, "kind": kind(task)}
        if not isinstance(body, (Group, Parallel, Switch, Loop)):
            shown["does"] = does(body)
        if isinstance(body, NodeCall):
            shown["does"] = does(body).partition(" ")[2]
            shown["request"] = {
                key: each for key, each in said({**body.fixed, **body.filled}).items() if each is not None
            }
        if task.needs:
            shown["needs"] = list(task.needs)
        if task.takes is not None:
            shown["input"] = said(task.takes)
        if task.foreach is not None:
            shown["foreach"] = f"{said(task.foreach)} as {task.item_names[0]}"
        if isinstance(body, Loop):
            shown["while" if body.condition is not None else "loop"] = rounds(body)
        if task.when is not None:
            shown["when"] = written(task.when)
        options = self._options(task)
        if options:
            shown["options"] = options
        self._inside(shown, task)
        if task.on_error is not None:
            shown[REPAIR] = self._task(task.on_error)
        return shown

    @staticmethod
    def _options(task: FlowTask) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for policy in (task.whole, task.policy):
            if policy is None:
                continue
            for name, shown in OPTIONS.items():
                if getattr(policy, name) != getattr(PLAIN, name):
                    found[shown] = getattr(policy, name)
            if policy.retry.attempts > 1:
                found["retries"] = policy.retry.attempts - 1
        return found | {OPTIONS.get(name, name): said(each) for name, each in task.late.items()}

    def _inside(self, shown: dict[str, Any], task: FlowTask) -> None:
        body = task.body
        match body:
            case Parallel(branches):
                shown["branches"] = [{"name": name, "tasks": self.group(each)} for name, each in branches.items()]
            case Switch(cases):
                shown["cases"] = [
                    {**({} if case.when is None else {"when": written(case.when)}), "tasks": self.group(case.group)}
                    for case in cases
                ]
            case Subflow(flow):
                shown["tasks"] = self.group(flow.group)
            case _ if groups(body):
                shown["tasks"] = [each for group in groups(body) for each in self.group(group)]


# -- the footer

HEADING = "## Execution Log"
MOST_ERRORS = 20


def logging_to(path: Path) -> Callable[[RunResult], None]:
    """What appends the entry of a run that begins now."""
    started_at = time.time()
    return lambda result: append_entry(path, result, started_at)


def append_entry(path: Path, result: RunResult, started_at: float) -> None:
    """Appends what became of a run to its file; what stands there stays, and the file is whole at every moment.

    Raises:
        OSError: where it cannot be written.
    """
    text = path.read_bytes().decode("utf-8")
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = [] if HEADING in text else ["", HEADING]
    if text and not text.endswith("\n"):
        lines.insert(0, "")
    lines += ["", *_entry(result, started_at), ""]
    write(path.resolve(), text + newline.join(lines), replaces=True)


def _entry(result: RunResult, started_at: float) -> list[str]:
    began = datetime.fromtimestamp(started_at).astimezone().isoformat(timespec="seconds")
    counts: Mapping[str, int] = result.table.counts()
    told = ", ".join(f"{number} {name}" for name, number in counts.items())
    lines = [f"### {began} run {result.run_id}: {result.status}", "", f"- nodes: {told}"]
    failed = [(key, each) for key, each in result.items() if str(each.status) in ("failed", "timed_out")]
    for key, each in failed[:MOST_ERRORS]:
        lines.append(f"- {_plain(key)}: {each.status} after {each.attempts} attempts: {_plain(describe(each.error))}")
    if len(failed) > MOST_ERRORS:
        lines.append(f"- and {len(failed) - MOST_ERRORS} more")
    return lines


def _plain(text: str) -> str:
    """One line of text, in which nothing can be taken for something else."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())[:500]
