"""The command line: thin, each command is one public call. Errors are one line, exit codes are in the docs."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

__all__ = ["main"]


def main(argv: list[str] | None = None) -> NoReturn:
    """Runs the command line and exits: 0 succeeded, 1 failed, 2 wrong usage or file, 124 deadline, 130/143 interrupted."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments in (["--version"], ["-V"]):
        from plait._version import __version__

        print(f"plait {__version__}")
        sys.exit(0)
    import click

    from plait.cli.commands import cli
    from plait.errors import FlowError, PlaitError

    try:
        code = cli.main(args=arguments, prog_name="plait", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        code = end.exit_code
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        code = _say(f"plait: {' '.join(error.format_message().split())}")
    except FlowError as error:
        code = _say("\n".join(map(str, error.problems)))
    except PlaitError as error:
        code = _say(f"plait: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # Whoever read us is gone: nobody is left to be told, as with any command in a pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code if isinstance(code, int) else 0)


def _say(text: str) -> int:
    print(text, file=sys.stderr)
    return 2
