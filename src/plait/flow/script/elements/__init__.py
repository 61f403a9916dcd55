"""The elements of FlowScript's body, each kind in a file of its own, behind a registry from tags to readers."""

from plait.flow.script.elements import (  # noqa: F401 - each registers what it reads
    assigning,
    branching,
    calling,
    gates,
    iterating,
    jumping,
    leaves,
    looping,
    parallels,
    phases,
    timing,
)
from plait.flow.script.elements.registry import READERS, element_names

__all__ = ["READERS", "element_names"]
