"""`plait convert`: a workflow file in the other language, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import click

from plait.cli.output import out, say
from plait.cli.whole import write
from plait.observe.text import clean


def converted(file: str, target: str, to: str, force: bool) -> int:
    """Writes the file, or prints it where `target` is `-`; tells what of the other one is not in it."""
    from plait.flow.convert.converting import SCRIPT, YAML, convert

    path = Path(target)
    if target != "-":
        suffix = YAML if path.suffix in (".yaml", ".yml") else SCRIPT if path.name.endswith(f".{SCRIPT}") else ""
        if not suffix:
            raise click.UsageError(f"the name of {target} says no language: let it end in .flow.md, .yaml or .yml")
        if to and to != suffix:
            raise click.UsageError(f"{target} is no {to} file by its name: drop --to, or give it another name")
        to = suffix
        if path.is_dir():
            raise click.UsageError(f"{target} is a folder")
        if path.exists() and not force:
            raise click.UsageError(f"{target} is there already: give another name, or --force to replace it")
    made = convert(Path(file), to)
    for note in made.notes:
        say(f"plait: {clean(file)}: {clean(note)}")
    if target == "-":
        out(made.text.removesuffix("\n"))
    else:
        try:
            write(path, made.text, replaces=force)
        except FileExistsError:
            raise click.UsageError(f"{target} is there already: give another name, or --force to replace it") from None
        except OSError as error:
            raise click.UsageError(f"{target} cannot be written: {error.strerror or error}") from None
    return 0
