"""A type of node that says what it ran with; as a program, `plait` with that type: `python tests/logged_nodes.py run FILE`.

Everything happens in the folder that `STEPS` names: `log` says what ran, keys in `fails` fail, the node `STOP_AT` says `stopped` and never ends.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plait
from plait.nodes import At, Field, FieldKind, Node, node


@node("transform:logged")
class Step(Node):
    """Gives `give`; where there is none, `v`."""

    fields = {"v": Field(FieldKind.VALUE), "give": Field(FieldKind.VALUE)}

    def run(self, given: Mapping[str, Any], at: At) -> Any:
        """In a thread: it may stand still."""
        here = Path(os.environ["STEPS"])
        me = plait.current()
        with open(here / "log", "a") as file:
            file.write(f"{me.key}={json.dumps(given['v'])}\n")
        if me.key == os.environ.get("STOP_AT"):
            with open(here / "stopped", "w"):  # whoever reads it knows that this is under way
                pass
            os.read(os.open(here / "never", os.O_RDWR), 1)
        fails = here / "fails"
        if fails.exists() and me.key in fails.read_text().split():
            raise ConnectionError(f"{me.key} is to fail")
        return given["v"] if given["give"] is None else given["give"]


if __name__ == "__main__":
    from plait.cli import main

    sys.exit(main())
