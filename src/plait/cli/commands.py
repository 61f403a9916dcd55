"""The commands and their options."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from plait._core.result import RunResult
from plait._version import __version__
from plait.calls.shell import strict_json
from plait.cli.findings import tell
from plait.cli.output import out
from plait.cli.session import Display, Settings, run_target
from plait.errors import UsageError
from plait.observe.printed import How
from plait.observe.text import clean

if TYPE_CHECKING:
    from plait.parts import Part

SUFFIXES = (".yaml", ".yml", ".flow.md")
"""Of workflow files."""

F = TypeVar("F", bound=Callable[..., Any])


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, "-V", "--version", message="plait %(version)s")
def cli() -> None:
    """Run many tasks in parallel and never lose track of them."""


def _slots(context: click.Context, option: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    if value == "auto":
        return os.cpu_count() or 1
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is not a whole number of at least 1, or auto")
    return int(value)


def run_options(command: F) -> F:
    """What `run` and `map` share."""
    options = [
        click.option("-j", "--jobs", callback=_slots, metavar="N|auto", help="At most N tasks at once."),
        click.option(
            "-k",
            "--keep-going",
            "on_failure",
            flag_value="continue",
            help="After a failure go on with all that does not need it.",
        ),
        click.option("--fail-fast", "on_failure", flag_value="fail_fast", help="After a failure cancel the rest."),
        click.option(
            "--finish",
            "on_failure",
            flag_value="finish",
            help="After a failure start nothing new, let running tasks end.",
        ),
        click.option("-C", "folder", metavar="DIR", help="Work in DIR."),
        click.option("--json", "as_json", is_flag=True, help="One JSON document at the end."),
        click.option(
            "--jsonl", "as_jsonl", is_flag=True, help="One JSON event per line, and nothing else on standard output."
        ),
        click.option(
            "--on-question",
            metavar="COMMAND",
            help="Run COMMAND when a question opens; it gets the question as a JSON line on standard input.",
        ),
        click.option(
            "--output",
            type=click.Choice(["interleaved", "group", "prefixed"]),
            help="Show what commands print while they run: lines as they come, a block for each task, or each line behind its task.",
        ),
        click.option("-q", "--quiet", count=True, help="Say failures only."),
        click.option(
            "-v", "--verbose", count=True, help="Say starts, and show what commands print (as --output prefixed does)."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def display_options(command: F) -> F:
    """How a run is shown: what `run_options` has of that, for runs whose other options are stored."""
    shown = ("as_json", "as_jsonl", "on_question", "output", "quiet", "verbose")
    run_options(command)
    kept = [each for each in command.__click_params__ if each.name in shown]  # type: ignore[attr-defined]
    others = [each for each in command.__click_params__ if each.name not in _RUN_OPTIONS]  # type: ignore[attr-defined]
    command.__click_params__ = others + kept  # type: ignore[attr-defined]
    return command


_RUN_OPTIONS = frozenset(
    ("jobs", "on_failure", "folder", "as_json", "as_jsonl", "on_question", "output", "quiet", "verbose")
)


def store_option(command: F) -> F:
    """Where runs are kept."""
    return click.option(
        "--store",
        metavar="PATH|none",
        help="The file that keeps runs; default PLAIT_STORE, what plait.toml says, else .plait/plait.db.",
    )(command)


def _settings(
    *,
    as_json: bool,
    as_jsonl: bool,
    quiet: int,
    verbose: int,
    jobs: int | None = None,
    on_failure: str | None = None,
    store: str | None = None,
    run_id: str | None = None,
    on_question: str | None = None,
    output: str | None = None,
    approved: tuple[str, ...] = (),
) -> Settings:
    if as_json and as_jsonl:
        raise click.UsageError("--json and --jsonl exclude each other")
    display = Display.JSON if as_json else Display.JSONL if as_jsonl else Display.PEOPLE
    if on_question is not None and not on_question.strip():
        raise click.UsageError("--on-question needs a command")
    shown = How(output) if output is not None else None
    return Settings(jobs, on_failure, display, verbose - quiet, store, run_id, on_question, approved, shown)


def _enter(folder: str | None) -> None:
    if folder is not None:
        try:
            os.chdir(folder)
        except OSError as error:
            raise click.UsageError(f"cannot work in {folder!r}: {error.strerror}") from None


def _inputs(given: tuple[str, ...]) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    for each in given:
        if each.lstrip().startswith("{"):
            try:
                values = strict_json(each)
            except (ValueError, RecursionError) as error:
                raise click.UsageError(f"-i {each[:40]!r} is not JSON: {error}") from None
            inputs.update(values)
            continue
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise click.UsageError(f"-i takes key=value or a JSON object, not {each[:60]!r}")
        inputs[name] = value
    return inputs


@cli.command()
@click.argument("file")
@click.option("-i", "--input", "inputs", multiple=True, metavar="KEY=VALUE|JSON", help="An input of the file.")
@click.option("--only", multiple=True, metavar="KEY", help="This task and what it needs, nothing else.")
@click.option(
    "--from",
    "start",
    multiple=True,
    metavar="KEY",
    help="This task and what depends on it; what these need is taken over from the newest earlier run that has it.",
)
@click.option("--until", multiple=True, metavar="KEY", help="This task, and all that does not depend on it.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would run; run nothing.")
@click.option("-w", "--watch", "watches", is_flag=True, help="Run again whenever a file changes that FILE depends on.")
@click.option("--run-id", metavar="ID", help="The run's id, instead of one that is made up.")
@click.option(
    "--approve",
    "approved",
    multiple=True,
    metavar="KEY",
    help="Approve the question KEY as soon as it is asked, without a person; the end of its path will do.",
)
@click.option("--config", "config", multiple=True, metavar="KEY=VALUE", help="A value of a FlowScript file's config.")
@click.option(
    "--allow-env", multiple=True, metavar="NAME", help="A variable that a FlowScript file may read: $env.NAME."
)
@click.option(
    "--allow-path",
    multiple=True,
    metavar="DIR",
    help="A folder beside the working directory in which nodes of a FlowScript file may read and write.",
)
@click.option("--log", "logs", is_flag=True, help="Append what became of the run to the FlowScript file.")
@store_option
@run_options
def run(
    file: str,
    inputs: tuple[str, ...],
    only: tuple[str, ...],
    start: tuple[str, ...],
    until: tuple[str, ...],
    dry_run: bool,
    watches: bool,
    folder: str | None,
    store: str | None,
    run_id: str | None,
    approved: tuple[str, ...],
    config: tuple[str, ...],
    allow_env: tuple[str, ...],
    allow_path: tuple[str, ...],
    logs: bool,
    **shared: Any,
) -> int:
    """Run FILE: a YAML or FlowScript workflow, or module:graph. The run is kept in .plait/ and survives whatever kills it."""
    from plait.cli.configured import filled, store_path

    _enter(folder)
    settings = _settings(**shared, store=store_path(store), run_id=run_id, approved=approved)
    if run_id is not None and settings.store is None:
        raise click.UsageError("--run-id is for runs that a store keeps, and --store is none")
    given = _inputs(inputs)

    def once() -> int:
        target = _configured(_target(file), config, allow_env, allow_path, logs)
        if settings.level >= 0 and hasattr(target, "warnings"):
            tell(target.warnings)
        chosen = filled(settings, target.rules() if hasattr(target, "rules") else {})
        if logs and not dry_run:
            from plait.cli.scripted import logging_to

            chosen = replace(chosen, log=logging_to(target.file.path))
        return _run(target, file, given, _part(target, only, start, until), chosen, dry_run=dry_run)

    if not watches:
        return once()
    for name, refused in (
        ("--json", settings.display is Display.JSON),
        ("--run-id", run_id is not None),
        ("-n", dry_run),
        ("--log", logs),
    ):
        if refused:
            raise click.UsageError(f"--watch runs many times, and {name} is for one run")
    return _watch(file, given, once, settings)


def _watch(file: str, given: dict[str, Any], once: Callable[[], int], settings: Settings) -> int:
    from plait.cli.watching import depends_on, module, watch  # few runs watch

    is_module = _is_module(file)

    def look() -> Any:
        return module(file.partition(":")[0]) if is_module else depends_on(_target(file), given)

    return watch(once, look, None if is_module else file, tells=settings.level >= 0, store=settings.store)


def _run(target: Any, file: str, given: dict[str, Any], part: Part | None, settings: Settings, *, dry_run: bool) -> int:
    if part is not None and part.taken:
        from plait.cli.partly import run_part  # few runs take something over

        return run_part(part, given, settings, dry_run=dry_run)
    if part is not None:
        target = part.flow
    if dry_run:
        from plait.cli.pictures import left_out
        from plait.cli.planning import dry_run as planned

        planned(target, given, settings)
        if part is not None and settings.display is Display.PEOPLE:
            for line in left_out(part.left):
                out(line)
        return 0
    origin = {"folder": os.getcwd()} if hasattr(target, "file") else {"folder": os.getcwd(), "target": file}
    return run_target(target, given, settings, origin=origin)


def _configured(target: Any, config: tuple[str, ...], env: tuple[str, ...], paths: tuple[str, ...], logs: bool) -> Any:
    """A FlowScript file with what the options say of it."""
    given = _pairs(config)
    for name, said in (("--config", config), ("--allow-env", env), ("--allow-path", paths), ("--log", logs)):
        if said and not hasattr(target, "configured"):
            raise click.UsageError(f"{name} is for FlowScript files (.flow.md)")
    if not hasattr(target, "configured"):
        return target
    for each in paths:
        if not os.path.isdir(each):
            raise click.UsageError(f"--allow-path {each}: there is no such folder")
    return target.configured(given, env=env, allowed=tuple(Path(each).resolve() for each in paths), logs=logs)


def _pairs(given: tuple[str, ...]) -> dict[str, Any]:
    """`key=value`, each; the last one counts."""
    found: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--config takes key=value, not {each[:60]!r}")
        found[name] = value
    return found


def _part(target: Any, only: tuple[str, ...], start: tuple[str, ...], until: tuple[str, ...]) -> Part | None:
    """What these options leave of a file; None where they are not given."""
    for name, keys in (("--only", only), ("--from", start), ("--until", until)):
        if keys and not hasattr(target, "file"):
            raise click.UsageError(f"{name} is for workflow files")
    if not (only or start or until):
        return None
    from plait.parts import part_of

    return part_of(target, only, start, until)


def _is_module(file: str) -> bool:
    """Does FILE name a graph of Python?"""
    return ":" in file and not file.endswith(SUFFIXES) and not os.path.exists(file)


def _target(file: str) -> Any:
    """What FILE names."""
    from plait.flow import load

    if not _is_module(file):
        if not file.endswith(SUFFIXES) and os.path.isfile(file):
            raise click.UsageError(f"{file} is no workflow file: its name must end in {', '.join(SUFFIXES)}")
        return load(file)
    from importlib import import_module

    module_name, _, name = file.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    from plait.tasks import Graph, Node

    try:
        target = getattr(import_module(module_name), name)
        if callable(target) and not isinstance(target, (Graph, Node)):
            target = target()
    except Exception as error:
        raise click.UsageError(f"{file} cannot be imported: {type(error).__name__}: {error}") from None
    if not isinstance(target, (Graph, Node)):
        raise click.UsageError(
            f"{file} is {type(target).__name__}: a Graph, a node, or a function that gives one is needed"
        )
    return target


@cli.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--strict", is_flag=True, help="Exit code 2 for warnings, too.")
@click.option("--json", "as_json", is_flag=True, help="All that was found as one JSON document.")
def validate(files: tuple[str, ...], strict: bool, as_json: bool) -> int:
    """Check workflow files; nothing is imported or run."""
    from plait.cli.findings import validated

    return validated(files, strict, as_json)


@cli.command()
@click.argument("file")
@click.option("-o", "target", required=True, metavar="OUT", help="The file to write; - prints it.")
@click.option(
    "--to",
    type=click.Choice(["yaml", "flow.md"]),
    default=None,
    help="With -o -: the language; by default the other one.",
)
@click.option("-f", "--force", is_flag=True, help="Replace OUT where it is there already.")
def convert(file: str, target: str, to: str | None, force: bool) -> int:
    """Write FILE in the other language: YAML as FlowScript, FlowScript as YAML; in its own it gets the unit of every duration."""
    from plait.cli.converting import converted

    return converted(file, target, to or "", force)


@cli.command()
@click.argument("file")
@click.option("--format", "form", type=click.Choice(["text", "mermaid", "dot", "json"]), default="text")
def graph(file: str, form: str) -> int:
    """Show the graph of FILE; nothing of a workflow file is imported or run."""
    from plait.cli.pictures import FORMS

    for line in FORMS[form](_target(file)):
        out(line)
    return 0


@cli.command()
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def inspect(file: str, as_json: bool) -> int:
    """Say what FILE is: inputs, limits, tasks, outputs; nothing of a workflow file is imported or run."""
    from plait.cli.inspecting import facts, text
    from plait.observe.text import as_json as json_text

    found = facts(_target(file), file)
    for line in [json_text(found, indent=2)] if as_json else text(found):
        out(line)
    return 0


@cli.command()
@click.argument("file")
@click.option("-j", "--jobs", callback=_slots, metavar="N|auto", help="On N slots.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@store_option
def simulate(file: str, jobs: int | None, as_json: bool, store: str | None) -> int:
    """Predict how long FILE would take, by what its earlier runs showed; nothing of it is run."""
    from plait.cli.stored import simulated

    return simulated(store, _target(file), jobs, as_json)


@cli.command("map")
@click.argument("command")
@click.argument("items", nargs=-1)
@click.option("--timeout", metavar="TIME", help="For each item: seconds, or 30s, 5m.")
@click.option("--idle-timeout", metavar="TIME", help="For an item that prints nothing: seconds, or 30s, 5m.")
@click.option("--retries", type=int, help="More tries for an item that fails.")
@store_option
@run_options
def map_command(
    command: str,
    items: tuple[str, ...],
    timeout: str | None,
    idle_timeout: str | None,
    retries: int | None,
    folder: str | None,
    store: str | None,
    **shared: Any,
) -> int:
    """Run COMMAND once for each ITEM (of standard input, a line each, if there are none), `{}` standing for it.

    What commands print comes in the order of the items. An item is put in as one quoted word.
    """
    from plait.cli.configured import filled, store_path
    from plait.cli.mapping import Mapped, map_graph

    _enter(folder)
    settings = _settings(**shared, store=store_path(store))
    settings = replace(filled(settings, {}), output=settings.output)  # it prints what commands write in any case
    listed = list(items) if items else [line.rstrip("\n") for line in sys.stdin if line.strip()]
    options: dict[str, Any] = {}
    for name, time in (("timeout", timeout), ("idle_timeout", idle_timeout)):
        if time is not None:
            options[name] = float(time) if time.isascii() and time.replace(".", "", 1).isdigit() else time
    if retries is not None:
        options["retries"] = retries
    graph = map_graph(command, listed, options)
    shown = Mapped(listed) if settings.display is Display.PEOPLE else None
    return run_target(graph, {}, settings, printed=shown, origin={"folder": os.getcwd()})


def _load(stored: dict[str, Any], known: list[dict[str, Any]]) -> Any:
    """The target of a stored run, as it is now; None where only the store knows it. What is stored of it is put into `known`."""
    known.append(stored)
    origin = stored.get("origin")
    if not isinstance(origin, dict):
        return None
    folder = str(origin["folder"])
    try:
        os.chdir(folder)  # what the run's commands and functions name is named from there
    except OSError as error:
        raise UsageError(f"the run's folder {folder} cannot be worked in any more: {error.strerror}") from None
    return _target(str(origin["target"])) if "target" in origin else None


def _go_on(store: str | None, settings: Settings, how: Callable[..., Any]) -> int:
    """Drives a stored run on, and shows it."""
    from plait.cli.configured import shown, store_path
    from plait.cli.session import run_made
    from plait.cli.stored import existing
    from plait.runs import on_store

    existing(store).close()  # one line, before anything else, where there is none
    settings = replace(shown(settings), store=store_path(store))  # all else is as it is stored
    known: list[dict[str, Any]] = []

    def log(result: RunResult) -> None:
        if known and known[-1].get("logs"):
            from plait.cli.scripted import append_entry

            append_entry(Path(known[-1]["path"]), result, float(known[-1]["started_at"]))

    settings = replace(settings, log=log)
    return run_made(on_store(settings.store, "full", partial(how, load=partial(_load, known=known))), settings)


@cli.command()
@click.argument("run")
@click.option("--accept-changes", is_flag=True, help="Take an edited definition: run again what the edit touches.")
@store_option
@display_options
def resume(run: str, accept_changes: bool, store: str | None, **shown: Any) -> int:
    """Go on with RUN (an id, the beginning of one, or `last`) where it was interrupted. What was reported is not run again."""
    from plait.cli.stored import go_on_there
    from plait.resuming import reopen

    if go_on_there(store, run):
        return 0

    def how(opened: Any, **driving: Any) -> Any:
        return reopen(opened, run, accept_changes=accept_changes, **driving)

    return _go_on(store, _settings(**shown), how)


@cli.command()
@click.argument("run")
@store_option
@display_options
def retry(run: str, store: str | None, **shown: Any) -> int:
    """Run again what did not succeed in RUN, which is over, and all that needs it. Its history is kept."""
    from plait.resuming import retry as again

    return _go_on(store, _settings(**shown), lambda opened, **driving: again(opened, run, **driving))


@cli.command()
@click.argument("run")
@click.option(
    "--from", "start", required=True, metavar="KEY", help="The task that is to run again, with all that needs it."
)
@click.option("--run-id", metavar="ID", help="The new run's id.")
@store_option
@display_options
def fork(run: str, start: str, run_id: str | None, store: str | None, **shown: Any) -> int:
    """A new run that takes over what RUN finished, but for KEY and all that needs it."""
    from plait.resuming import fork as forked

    def how(opened: Any, **driving: Any) -> Any:
        return forked(opened, run, start, new_id=run_id, **driving)

    return _go_on(store, _settings(**shown), how)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@store_option
def ls(as_json: bool, store: str | None) -> int:
    """List the runs, the newest last."""
    from plait.cli.stored import ls as listed

    return listed(store, as_json)


@cli.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("-v", "--verbose", is_flag=True, help="Every task, those that others grew included.")
@store_option
def show(run: str, as_json: bool, verbose: bool, store: str | None) -> int:
    """Show RUN (an id, the beginning of one, or `last`), also while it runs."""
    from plait.cli.stored import show as shown

    return shown(store, run, as_json, verbose)


@cli.command(short_help="Say why a task waits, or how it came to its end.")
@click.argument("run")
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@store_option
def why(run: str, key: str, as_json: bool, store: str | None) -> int:
    """Say why the task KEY of a run waits and since when, or how it came to its end, the first cause first.

    RUN is an id, the beginning of one, or `last`.
    """
    from plait.cli.stored import why as answer

    return answer(store, run, key, as_json)


def _name(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise click.BadParameter("a name is needed")
    return value


def _as_option(command: F) -> F:
    return click.option(
        "--as", "name", metavar="NAME", callback=_name, help="Who does it; by default the user who is logged in."
    )(command)


class _Answer(click.Command):
    """An answer may be a number below zero, which is no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.ignore_unknown_options = any(re.match(r"-\.?\d", each) for each in args)
        return super().parse_args(ctx, args)


@cli.command(cls=_Answer, short_help="Answer a question that a run has asked.")
@click.argument("run")
@click.argument("key")
@click.argument("value", nargs=-1, required=True)
@_as_option
@store_option
def answer(run: str, key: str, value: tuple[str, ...], name: str | None, store: str | None) -> int:
    """Answer the question KEY of RUN (an id, the beginning of one, or `last`); `plait show RUN` lists what is asked.

    VALUE is read as the question wants it: yes, 3, a choice, text, ok=yes reason='looks fine', or JSON; of an approval approve, revise FEEDBACK, or reject [REASON]. A living process goes on at once; else the answer is kept, and `plait resume RUN` goes on.
    """
    from plait.cli.stored import answer as given

    return given(store, run, key, value, name)


@cli.command(short_help="Cancel a run, or one task of it.")
@click.argument("run")
@click.argument("key", required=False)
@_as_option
@store_option
def cancel(run: str, key: str | None, name: str | None, store: str | None) -> int:
    """Cancel RUN (an id, the beginning of one, or `last`): what runs is stopped, the rest never starts. With KEY only that task."""
    from plait.cli.stored import cancel as cancelled

    return cancelled(store, run, key, name)


@cli.command(short_help="Pause a run: nothing starts, what runs may end.")
@click.argument("run")
@_as_option
@store_option
def pause(run: str, name: str | None, store: str | None) -> int:
    """Pause RUN (an id, the beginning of one, or `last`): nothing new starts, what runs may end. `plait resume RUN` goes on."""
    from plait.cli.stored import pause as paused

    return paused(store, run, name)


@cli.command()
@click.argument("run")
@click.argument("key", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run is over.")
@store_option
def logs(run: str, key: str | None, follow: bool, store: str | None) -> int:
    """Print what the commands of RUN wrote (or of its task KEY), and the errors of what failed."""
    from plait.cli.stored import logs as printed

    return printed(store, run, key, follow)


@cli.command()
@click.option(
    "--older-than", default="30d", metavar="TIME", show_default=True, help="Forget runs that ended this long ago."
)
@click.option("-n", "--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@store_option
def gc(older_than: str, dry_run: bool, store: str | None) -> int:
    """Forget old runs, and remove values and logs that no run refers to."""
    from plait.cli.stored import collect

    return collect(store, older_than, dry_run)


@cli.command()
@click.option("--front-matter", is_flag=True, help="That of the front matter of FlowScript files instead.")
def schema(front_matter: bool) -> int:
    """Print the JSON Schema of workflow files, for editors."""
    import json

    if front_matter:
        from plait.flow.script.schema import schema as made
    else:
        from plait.flow.schema import schema as made

    out(json.dumps(made(), indent=2))
    return 0


@cli.command()
def doctor() -> int:
    """Say what plait finds on this machine, and which settings hold here."""
    from plait.cli.health import findings

    for name, value in findings():
        out(f"{name:<22} {value}")
    from plait.cli.configured import described

    for name, value in described():
        out(f"{name:<22} {clean(value)}")
    return 0
