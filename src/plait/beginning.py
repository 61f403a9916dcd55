"""Runs with a store, from their first line: what is kept of a definition, and the driver of a new run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from plait._core.limits import ALL, check_batch
from plait._core.policy import Rules, Value
from plait._engine.files import check_files
from plait._engine.keeping import KeptDriver
from plait._engine.records import batch_of, structure_data
from plait._engine.wall import Wall
from plait.errors import UsageError
from plait.programs import Program
from plait.snapshots import of_nodes
from plait.stores.base import NewRun
from plait.tasks import Graph, Node

if TYPE_CHECKING:
    from plait.stores.contract import Store


__all__ = ["Definition", "begin", "check_id", "definition_of"]


class Definition(Value):
    """How a run's calls are made: as data for a store, and the program itself.

    `structure` is as it was read from the store, where it was.
    """

    __slots__ = ("data", "program", "target", "structure")  # noqa: RUF023 - as they are given

    def __init__(self, data: dict[str, Any], program: Program, target: Any = None, structure: Any = None) -> None:
        self.data = data
        self.program = program
        self.target = target
        self.structure = structure

    @property
    def whole(self) -> Definition:
        """The same, with its batch: of stored nodes that is put off, for most resumes have it of the replay."""
        program = self.program
        if self.structure is None or self.target is not None or program.batch.size == self.structure["batch"]["size"]:
            return self
        batch = batch_of(self.structure["batch"], program.batch.calls, _no_value)
        batch.kept, batch.ranks = {}, None
        return self.but(program=program.but(batch=batch))


def definition_of(
    target: Any, program: Program, inputs: Mapping[str, Any], origin: Mapping[str, Any] | None
) -> Definition:
    """What a store keeps of a target, so that another process can go on with its run."""
    if hasattr(target, "snapshot"):
        data: dict[str, Any] = target.snapshot(inputs)
    else:
        kind = "graph" if isinstance(target, Graph) else "node" if isinstance(target, Node) else "nodes"
        work: Any = program.batch.calls
        data = {"kind": kind, "name": program.name, "targets": program.targets, **of_nodes(work.nodes, strict=False)}
    if origin:
        data["origin"] = dict(origin)
    if program.secrets is not None:
        # The file itself may hold a value. Whoever leaves a note for the run has to know the names.
        data = {**program.secrets.hidden(data), "secrets": program.secrets.names}
    return Definition(data, program, target)


def _no_value(form: int, data: Any, place: int) -> None:
    """Values that were kept are the journal's to give."""


def begin(
    store: Store,
    definition: Definition,
    rules: Rules,
    *,
    run_id: str | None = None,
    **driving: Any,
) -> KeptDriver:
    """A driver for a new run. Once this returns, the run and all its tasks are stored (W1)."""
    if run_id is not None:
        check_id(run_id)
    program = definition.program
    check_batch(program.batch, dict(rules.pools))
    check_files(program.batch, rules.on_conflict)
    if program.batch.size > 1:
        from plait.durations import ranked  # a single task has no order

        ranked(store, program.batch, program.name)
    wall = time.time()
    rules = shared_with_all(rules)
    structure = structure_data(program.batch, rules)
    claim = store.create(NewRun(run_id, program.name, definition.data, structure, program.batch.size, wall))
    return KeptDriver(
        program.batch,
        rules,
        store=store,
        claim=claim,
        wall=Wall(0.0, wall),
        name=program.name,
        value=program.value,
        **driving,
    )


def shared_with_all(rules: Rules) -> Rules:
    """The rules of a run whose limits hold for all runs, of whatever process, that its store keeps."""
    return rules.but(sharing=(ALL,))


def check_id(run_id: object) -> None:
    """Nothing, for text that can be a run's id.

    Raises:
        UsageError: otherwise.
    """
    if not isinstance(run_id, str) or not run_id or len(run_id) > 64 or not run_id.isascii():
        raise UsageError(f"a run's id must be 1 to 64 plain characters, not {run_id!r}")
    if run_id == "last" or not all(each.isalnum() or each in "-_." for each in run_id) or run_id[0] in ".-":
        raise UsageError(
            f"a run's id has letters, digits, '-', '_' and '.', begins with none of the last three, and is not `last`: not {run_id!r}"
        )
