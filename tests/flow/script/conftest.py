"""Each test has its own folder to work in, and its own stage."""

from __future__ import annotations

from pathlib import Path

import pytest

import script_flows
from script_flows import Stage


@pytest.fixture(autouse=True)
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """What the nodes `step` and `work` of this test are to do, and did."""
    made = Stage()
    monkeypatch.setattr(script_flows, "STAGE", made)
    monkeypatch.chdir(tmp_path)
    return made
