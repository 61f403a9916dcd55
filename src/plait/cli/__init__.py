"""The command line: thin, each command is one public call. Errors are one line, exit codes are in the docs."""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]


def main(argv: list[str] | None = None) -> NoReturn:
    """Runs the command line and exits: 0 succeeded, 1 failed, 2 wrong usage or file, 4 owned by a living process, 124 deadline, 130/143 interrupted."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments in (["--version"], ["-V"]):
        from plait._version import __version__

        print(f"plait {__version__}")
        sys.exit(0)
    from plait.cli.output import OutputGone, leave, mend, say

    mend()
    import click

    from plait.cli.commands import cli
    from plait.errors import FlowError, PlaitError, RunOwned, StoreError
    from plait.observe.text import clean

    try:
        code = cli.main(args=arguments, prog_name="plait", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        code = end.exit_code
    except click.exceptions.Abort:
        code = 130
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message())
        code = 2
    except click.ClickException as error:
        say(f"plait: {clean(' '.join(error.format_message().split()))}")
        code = 2
    except FlowError as error:
        from plait.cli.findings import found, tell

        tell(found(error))
        code = 2
    except RunOwned as error:
        say(f"plait: {clean(' '.join(str(error).split()))}")
        code = 4
    except StoreError as error:
        say(f"plait: {clean(' '.join(str(error).split()))}")
        code = 1
    except PlaitError as error:
        say(f"plait: {clean(' '.join(str(error).split()))}")
        code = 2
    except KeyboardInterrupt:
        code = 130
    except OutputGone:
        code = 141  # as with any command in a pipe
    except OSError as error:
        say(f"plait: standard output cannot be written: {error.strerror}")
        code = 1
    leave()
    sys.exit(code if isinstance(code, int) else 0)
