"""A command as a value: what to start, where, with which environment, and what its output is to be taken for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from plait._core.policy import Value
from plait.errors import CommandFailed, UsageError

OutputKind: TypeAlias = Literal["text", "lines", "json"]
OUTPUTS: tuple[OutputKind, ...] = ("text", "lines", "json")

KEPT_BYTES = 8 * 1024 * 1024
"""Of each stream, at most this much is read back into memory; the rest is counted."""


class ShellCommand(Value):
    """An argv, run without a shell, or a script for `/bin/sh -c`, without pipefail. Standard input is empty.

    Its value is standard output: `text` (trailing newlines removed, as `$(...)` does; undecodable bytes as U+FFFD),
    `lines` (a list, without line ends) or `json`.
    """

    __slots__ = ("argv", "env", "cwd", "output", "kept_bytes")  # noqa: RUF023 - as they are given

    def __init__(
        self,
        argv: tuple[str, ...] | str,
        env: Mapping[str, str] | None = None,  # added to plait's own
        cwd: str | None = None,
        output: OutputKind = "text",
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self.argv = argv
        self.env = env
        self.cwd = cwd
        self.output = output
        self.kept_bytes = kept_bytes

    @property
    def full_argv(self) -> tuple[str, ...]:
        """What is executed."""
        return ("/bin/sh", "-c", self.argv) if isinstance(self.argv, str) else self.argv

    def filled(self, argv: Sequence[Any] | str, env: Mapping[str, Any] | None = None) -> ShellCommand:
        """The same command with these words and variables, as text."""
        words = argv if isinstance(argv, str) else tuple(map(word, argv))
        variables = None if env is None else {name: word(value) for name, value in env.items()}
        return ShellCommand(words, variables, self.cwd, self.output, self.kept_bytes)  # `replace` takes longer

    def value(self, data: bytes, left_out_bytes: int) -> Any:
        """What standard output is taken for.

        Raises:
            CommandFailed: for lines or JSON of which a part was left out, and for JSON that is none.
        """
        if self.output == "text":
            text = data.decode(errors="replace")
            if left_out_bytes:
                return f"{text}\n[... {left_out_bytes} more bytes were left out ...]"
            return text.rstrip("\n")
        if left_out_bytes:
            size = len(data) + left_out_bytes
            raise CommandFailed(
                f"its output has {size} bytes, and {self.output} of more than {self.kept_bytes} are not kept: "
                "write them to a file and print its name",
                exit_code=0,
                retryable=False,
            )
        if self.output == "lines":
            lines = data.decode(errors="replace").split("\n")
            if lines[-1] == "":
                lines.pop()
            return lines
        try:
            return strict_json(data)
        except (ValueError, RecursionError) as error:
            raise CommandFailed(f"its output is not JSON: {error}", exit_code=0, tail=tail(data)) from None


def strict_json(data: str | bytes) -> Any:
    """What JSON text stands for. Unlike `json.loads` it takes no NaN and no infinity, which are no JSON.

    Raises:
        ValueError, RecursionError: for what is no JSON, or nested too deep.
    """
    import json  # few commands need it

    return json.loads(data, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def word(value: Any) -> str:
    """`value` as one word of a command: text as it is, numbers and paths printed, null empty, lists and objects as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return str(int(value))
    if isinstance(value, (dict, list, tuple)):
        import json

        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(value)


def tail(data: bytes, lines: int = 10, longest: int = 2000) -> str:
    """The last lines of some output, short enough for a message."""
    text = data[-longest:].decode(errors="replace").replace("\r", "\n").rstrip()
    return "\n".join(text.splitlines()[-lines:])


def check_output(kind: object) -> OutputKind:
    """`kind`, if it is one of text, lines and json.

    Raises:
        UsageError: otherwise.
    """
    for known in OUTPUTS:
        if kind == known:
            return known
    raise UsageError(f"output must be one of {', '.join(OUTPUTS)}, not {kind!r}")
