"""`plait run --from`: what an earlier run has is taken over, the rest runs."""

from __future__ import annotations

import os
from typing import Any

from plait._engine.doors import DEFAULT
from plait.cli.output import out, say
from plait.cli.pictures import left_out
from plait.cli.planning import document, text
from plait.cli.session import Settings, run_made
from plait.errors import UsageError
from plait.observe.text import clean
from plait.parts import Part, Source, find_source
from plait.resuming import Anew, fork
from plait.runs import on_store, rules_for
from plait.stores.opening import is_there, open_store


def run_part(part: Part, inputs: dict[str, Any], settings: Settings, *, dry_run: bool) -> int:
    """Runs a part of a file that takes something over, or says what it would do; gives the exit code."""
    if settings.store is None:
        raise UsageError("--from takes over what a store keeps, and --store is none")
    if not is_there(settings.store):
        find_source(part, None, inputs)
    if dry_run:
        return _plan(part, inputs, settings, settings.store)
    options: dict[str, Any] = {"on_failure": settings.on_failure} if settings.on_failure else {}
    rules = rules_for(part.flow, DEFAULT if settings.jobs is None else settings.jobs, options)

    def how(opened: Any, **driving: Any) -> Any:
        source = find_source(part, opened, inputs)
        if settings.level >= 0:
            say(f"plait: {_names(part)} taken over from run {source.run.id}")
        anew = Anew(source.inputs, rules, {"folder": os.getcwd()})
        return fork(opened, source.run.id, part.starts, part.flow, new_id=settings.run_id, anew=anew, **driving)

    return run_made(on_store(settings.store, "full", how), settings)


def _names(part: Part) -> str:
    shown = ", ".join(map(clean, part.taken[:5]))
    more = len(part.taken) - 5
    return f"{shown}{f' and {more} more' if more > 0 else ''} {'are' if len(part.taken) > 1 else 'is'}"


def _plan(part: Part, inputs: dict[str, Any], settings: Settings, path: str) -> int:
    store = open_store(path, None, create=False)
    try:
        source = find_source(part, store, inputs)
    finally:
        store.close()
    found = document(part.flow, source.inputs, settings, part.runs)
    for line in (*text(found), *_taken(part, source), *left_out(part.left)):
        out(line)
    return 0


def _taken(part: Part, source: Source) -> list[str]:
    head = f"would take over {len(part.taken)} from run {source.run.id}:"
    return [head, *(f"  {clean(key)}: {clean(source.told[key])}" for key in part.taken)]
