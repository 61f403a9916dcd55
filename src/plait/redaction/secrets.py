"""The secrets of a run: names that its files declare, and values that the environment has. Nothing of the values is ever kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

from plait.errors import UsageError
from plait.redaction.forms import MARK
from plait.redaction.redactor import Redactor


class Secrets:
    """Secrets by their names, which are those of variables. Before `open` each of them is `[REDACTED]`: to look at, nothing needs a value.

    `inputs` are those of the run: they are kept with it, so none of them may hold a secret.
    """

    def __init__(self, names: Collection[str], inputs: Mapping[str, Any] | None = None) -> None:
        self.names = tuple(dict.fromkeys(names))
        self.redactor = Redactor({})
        """Of no values, until these are known."""
        self._inputs = inputs or {}
        self._values = dict.fromkeys(self.names, MARK)
        self._shown: list[tuple[dict[str, str], tuple[str, ...]]] = []
        self._is_open = False
        self._on_open: list[Callable[[], None]] = []

    def of(self, names: Collection[str]) -> dict[str, str]:
        """The values of those that one file declares; filled in once they are known."""
        values = {name: self._values[name] for name in names}
        if not self._is_open:
            self._shown.append((values, tuple(names)))
        return values

    def when_open(self, call: Callable[[], None]) -> None:
        """Has `call` made once the values become known, for what is made of them."""
        if not self._is_open:
            self._on_open.append(call)

    def open(self, run: str | None = None) -> Redactor:
        """Reads the values, and gives what hides them. `run` is the run that goes on, where one does.

        Raises:
            UsageError: for names without a value, all of them at once, and for inputs that hold one.
        """
        found = _environment(self.names)
        missing = [name for name in self.names if name not in found]
        if missing:
            what = ", ".join(missing)
            who = "this run needs" if run is None else f"run {run} needs"
            again = "" if run is None else " again: values are not stored"
            raise UsageError(
                f"{who} the {'secret' if len(missing) == 1 else 'secrets'} {what}: set {'this variable' if len(missing) == 1 else 'these variables'} of the environment{again}"
            )
        self.redactor = Redactor(found)
        for name, value in self._inputs.items():
            if self.redactor.finds(value):
                raise UsageError(
                    f"input {name!r} holds the value of a secret, and inputs are stored: look the secret up where it is needed, {{{{ secrets.NAME }}}}"
                )
        self._values, self._is_open = found, True
        for values, names in self._shown:
            values.update({name: found[name] for name in names})
        for call in self._on_open:
            call()
        return self.redactor

    def hidden(self, data: Any) -> Any:
        """Data without the values, as far as the environment has them now."""
        return Redactor(_environment(self.names)).redact(data)


def _environment(names: Collection[str]) -> dict[str, str]:
    found = {name: os.environ.get(name, "") for name in names}
    return {name: value for name, value in found.items() if value.strip()}
