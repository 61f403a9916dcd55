"""The expression language of workflow files: plain data in, plain data out, nothing else within reach.

`parse` makes a tree with places, `references` and `check_calls` say what is to be said before anything runs, `evaluate` works
it out within a budget, `to_text` writes it down again.
"""

from plait.expressions.checks import check_calls, usage
from plait.expressions.evaluate import LARGEST, MOST_STEPS, Budget, Closure, Names, evaluate
from plait.expressions.functions import FUNCTIONS
from plait.expressions.parse import DEEPEST, LONGEST, parse
from plait.expressions.printing import to_text
from plait.expressions.tree import Node, Reference, references
from plait.expressions.values import text, truth

__all__ = [
    "DEEPEST",
    "FUNCTIONS",
    "LARGEST",
    "LONGEST",
    "MOST_STEPS",
    "Budget",
    "Closure",
    "Names",
    "Node",
    "Reference",
    "check_calls",
    "evaluate",
    "parse",
    "references",
    "text",
    "to_text",
    "truth",
    "usage",
]
