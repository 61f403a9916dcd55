"""The functions of the expression language by name, each with what its arguments may be."""

from __future__ import annotations

# Each of these puts its functions into FUNCTIONS.
from plait.expressions.functions import lists, numbers, objects, others, strings, times, types  # noqa: F401
from plait.expressions.functions.signature import FUNCTIONS, Function, function

__all__ = ["FUNCTIONS", "Function", "function"]
