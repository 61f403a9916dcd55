"""LangGraph: a StateGraph, without a checkpointer or with SQLite's. Building and compiling it are part of the work."""

from __future__ import annotations

import operator
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Annotated, Any, TypedDict

from common import LIMIT, SHAPES, Job, flat, graph, new_file, total, value
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send


def config(size: int) -> dict[str, Any]:
    return {"recursion_limit": size + 10, "max_concurrency": LIMIT}


Invoke = Callable[[Any, Any, int], Any]


def invoke(made: Any, state: Any, size: int) -> Any:
    return made.compile().invoke(state, config(size))


def invoke_kept(made: Any, state: Any, size: int) -> Any:
    """With a checkpoint after every step, before the next one begins."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    with closing(sqlite3.connect(new_file(), check_same_thread=False)) as db:
        db.execute("PRAGMA synchronous=FULL")
        app = made.compile(checkpointer=SqliteSaver(db))
        found = app.invoke(state, {**config(size), "configurable": {"thread_id": "1"}}, durability="sync")
        assert db.execute("SELECT count(*) FROM checkpoints").fetchone()[0] > 1
    return found


class Listed(TypedDict):
    """Values in the order of their items."""

    values: Annotated[list[int], operator.add]


def noop_row(invoke: Invoke, size: int) -> Job:
    def work() -> list[int]:
        made: Any = StateGraph(Listed)
        made.add_node("one", lambda item: {"values": [item]})
        made.add_conditional_edges(START, lambda state: [Send("one", item) for item in range(size)], ["one"])
        made.add_edge("one", END)
        return invoke(made, {"values": []}, size)["values"]

    return flat(work, size)


def merged(old: dict[int, int], new: dict[int, int]) -> dict[int, int]:
    # In place: a new dictionary for every node would be our waste, not LangGraph's.
    old.update(new)
    return old


class ByNode(TypedDict):
    """Values by the number of their node."""

    values: Annotated[dict[int, int], merged]


def graph_row(invoke: Invoke, shape: str, size: int) -> Job:
    shaped = SHAPES[shape](size)

    def body(at: int, row: tuple[int, ...]) -> Callable[[ByNode], Any]:
        return lambda state: {"values": {at: value(*[state["values"][need] for need in row])}}

    def work() -> int:
        made: Any = StateGraph(ByNode)
        for at, row in enumerate(shaped.needs):
            made.add_node(f"t{at}", body(at, row))
        for at, row in enumerate(shaped.needs):
            made.add_edge([f"t{need}" for need in row] or START, f"t{at}")
        values = invoke(made, {"values": {}}, size)["values"]
        return total(shaped, values)

    return graph(work, shaped)


ROWS: dict[str, Callable[[int], Job]] = {
    "noop": partial(noop_row, invoke),
    "layered": partial(graph_row, invoke, "layered"),
    "chain": partial(graph_row, invoke, "chain"),
    "kept flat": partial(noop_row, invoke_kept),
    "kept layered": partial(graph_row, invoke_kept, "layered"),
    "kept chain": partial(graph_row, invoke_kept, "chain"),
}
