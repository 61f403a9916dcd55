"""What a runner of GitHub Actions takes for commands: failures as annotations, blocks, and text that is to be none.

The runner reads each line that is printed, and obeys those that begin with `::` (after white space) and those that hold `##[`:
https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

import os
from collections.abc import Mapping


def annotating() -> bool:
    """Does such a runner read what is printed here?"""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def escaped(text: str) -> str:
    """`text` as the message of a command: on one line, and read back as it is; what else could end a line for some reader becomes `?`."""
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return "".join(each if each.isprintable() else "?" for each in text)


def command(name: str, properties: Mapping[str, object], message: str) -> str:
    """`::name property=value,...::message`."""
    shown = ",".join(
        f"{key}={escaped(str(value)).replace(':', '%3A').replace(',', '%2C')}" for key, value in properties.items()
    )
    return f"::{name}{' ' if shown else ''}{shown}::{escaped(message)}"


def defused(text: str) -> str:
    """`text` without a line that the runner obeys: one that begins with `::` has `| ` before it, and of `##[` the first sign is
    written as in JSON, so that a document stays the same one."""
    if "::" not in text and "##[" not in text:
        return text
    lines = text.replace("##[", "\\u0023#[").split("\n")
    return "\n".join(f"| {line}" if line.lstrip().startswith("::") else line for line in lines)


def in_workspace(file: str) -> str:
    """A file as annotations name it: relative to the runner's workspace, where it lies in it."""
    root = os.environ.get("GITHUB_WORKSPACE")
    inside = root is not None and os.path.abspath(file).startswith(os.path.join(os.path.abspath(root), ""))
    return os.path.relpath(file, root) if inside else file
