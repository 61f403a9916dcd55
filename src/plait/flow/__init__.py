"""Workflow files: read with places, checked as a whole, compiled to the same graph as Python's."""

from plait.flow.compile import Flow, load, reload

__all__ = ["Flow", "load", "reload"]
