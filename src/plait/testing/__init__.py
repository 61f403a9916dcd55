"""For the tests of users' own flows: hours of backoff in milliseconds, the same order for the same seed.

VirtualClock       an event loop whose time jumps ahead when everybody waits
FakeModel          a language model that answers as a script says
ScriptedExecutor   attempts that take as long, and end, as a script says
simulate           the scheduler alone, under a seeded order of events, with faults
World              the scheduler alone, told fact by fact
conformance        the checks that every executor passes (imported by its own name)
stores             the checks that every store passes (likewise)
"""

from __future__ import annotations

from plait.testing.books import SimulationError
from plait.testing.clock import VirtualClock
from plait.testing.models import FakeCall, FakeModel
from plait.testing.scripted import Scripted, ScriptedExecutor
from plait.testing.simulate import Faults, Likelihood, Simulation, simulate
from plait.testing.world import World, graph

__all__ = [
    "FakeCall",
    "FakeModel",
    "Faults",
    "Likelihood",
    "Scripted",
    "ScriptedExecutor",
    "Simulation",
    "SimulationError",
    "VirtualClock",
    "World",
    "graph",
    "simulate",
]
