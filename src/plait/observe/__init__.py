"""Readers of events: what people and programs see of a run. None of them can change it."""
