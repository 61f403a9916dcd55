"""LangGraph: a StateGraph without a checkpointer. Building and compiling it are part of the work."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypedDict

from common import LIMIT, SHAPES, Job, flat, graph, total, value
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send


def config(size: int) -> dict[str, int]:
    return {"recursion_limit": size + 10, "max_concurrency": LIMIT}


class Listed(TypedDict):
    """Values in the order of their items."""

    values: Annotated[list[int], operator.add]


def noop_row(size: int) -> Job:
    def work() -> list[int]:
        made: Any = StateGraph(Listed)
        made.add_node("one", lambda item: {"values": [item]})
        made.add_conditional_edges(START, lambda state: [Send("one", item) for item in range(size)], ["one"])
        made.add_edge("one", END)
        return made.compile().invoke({"values": []}, config(size))["values"]

    return flat(work, size)


def merged(old: dict[int, int], new: dict[int, int]) -> dict[int, int]:
    # In place: a new dictionary for every node would be our waste, not LangGraph's.
    old.update(new)
    return old


class ByNode(TypedDict):
    """Values by the number of their node."""

    values: Annotated[dict[int, int], merged]


def graph_row(shape: str, size: int) -> Job:
    shaped = SHAPES[shape](size)

    def body(at: int, row: tuple[int, ...]) -> Callable[[ByNode], Any]:
        return lambda state: {"values": {at: value(*[state["values"][need] for need in row])}}

    def work() -> int:
        made: Any = StateGraph(ByNode)
        for at, row in enumerate(shaped.needs):
            made.add_node(f"t{at}", body(at, row))
        for at, row in enumerate(shaped.needs):
            made.add_edge([f"t{need}" for need in row] or START, f"t{at}")
        values = made.compile().invoke({"values": {}}, config(size))["values"]
        return total(shaped, values)

    return graph(work, shaped)


ROWS: dict[str, Callable[[int], Job]] = {
    "noop": noop_row,
    "layered": partial(graph_row, "layered"),
    "chain": partial(graph_row, "chain"),
}
