"""D2: a registry of types of nodes, which users extend with classes of their own."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import plait
from plait.errors import FlowError, UsageError
from plait.nodes import At, Field, FieldKind, Node, node, node_names, node_type, registry

FILE = """---
name: shouting
version: 1.0
---
<workflow>
  <transform id="loud" type="{name}"><text>{{{{'hello'}}}}</text></transform>
</workflow>
"""


class Shout(Node):
    fields = {"text": Field(required=True), "times": Field(FieldKind.JSON, default=1)}

    async def run(self, given: Mapping[str, Any], at: At) -> str:
        return str(given["text"]).upper() * int(given["times"])


@pytest.fixture
def registered() -> Iterator[dict[str, type[Node]]]:
    before = dict(registry._registered)
    yield registry._registered
    registry._registered.clear()
    registry._registered.update(before)


def wrote(folder: Path, name: str) -> Path:
    path = folder / "shout.flow.md"
    path.write_text(FILE.format(name=name))
    return path


class TestRegistered:
    def test_a_class_of_the_program_runs_its_nodes(self, tmp_path: Path, registered: dict[str, type[Node]]) -> None:
        """D2."""
        node("transform:shout-it")(Shout)
        assert "transform:shout-it" in node_names()
        assert node_type("transform:shout-it") is Shout
        assert plait.run(plait.load(wrote(tmp_path, "shout-it"))).value == "HELLO"

    def test_its_fields_are_checked_before_anything_runs(
        self, tmp_path: Path, registered: dict[str, type[Node]]
    ) -> None:
        """D2 D10: an unknown field and a missing one."""
        node("transform:shout-it")(Shout)
        path = wrote(tmp_path, "shout-it")
        path.write_text(path.read_text().replace("<text>{{'hello'}}</text>", "<texts>x</texts>"))
        with pytest.raises(FlowError) as caught:
            plait.load(path)
        assert [each.code for each in caught.value.problems] == [
            "VALID_MISSING_REQUIRED_FIELD",
            "VALID_INVALID_FIELD_TYPE",
        ]  # type: ignore[attr-defined]
        assert "Did you mean 'text'?" in str(caught.value)

    @pytest.mark.parametrize("name", ["shout", "transform:", "verb:shout", "transform:a b", 3, "transform:map"])
    def test_names_that_are_none_and_names_of_plaits_own(self, name: Any, registered: dict[str, type[Node]]) -> None:
        """D2: `transform:map` is plait's."""
        with pytest.raises(UsageError):
            node(name)(Shout)

    def test_a_name_stands_for_one_class(self, registered: dict[str, type[Node]]) -> None:
        """D2: of two the one that was imported last would run."""
        node("transform:shout-it")(Shout)
        node("transform:shout-it")(Shout)  # the same module, executed again

        class Another(Shout):
            pass

        with pytest.raises(UsageError, match=r"is .*:Shout already"):
            node("transform:shout-it")(Another)

    def test_what_is_no_class_of_nodes(self, registered: dict[str, type[Node]]) -> None:
        """D2."""
        with pytest.raises(UsageError, match="must be a class derived from plait"):
            node("transform:shout-it")(dict)  # type: ignore[type-var]

    def test_every_type_of_plaits_own_is_there(self) -> None:
        """D2 D8: the types of the language."""
        for name in registry.OWN:
            found = node_type(name)
            assert found is not None, name
            assert issubclass(found, Node), name

    def test_an_unknown_type_has_its_place_and_a_guess(self, tmp_path: Path) -> None:
        """D2 D10."""
        with pytest.raises(
            FlowError, match=r"shout.flow.md:6:30: error\[VALID_UNKNOWN_NODE_TYPE\].*Did you mean 'map'"
        ):
            plait.load(wrote(tmp_path, "mapp"))


MODULE = """
from pathlib import Path
from plait.nodes import Node

Path(__file__).with_name("imported").touch()


class Shout(Node):
    def run(self, given, at):
        return given["text"].upper() + "!"


no_class = 3
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that is installed, with entry points of the group `plait.nodes`."""
    site = tmp_path / "site"
    info = site / "shouting-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.0\n")
    points = (
        "transform:shout = shouting:Shout",
        "transform:map = shouting:Shout",
        "sink:none = shouting:missing",
        "sink:three = shouting:no_class",
    )
    (info / "entry_points.txt").write_text("\n".join(["[plait.nodes]", *points]))
    (site / "shouting.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    registry._installed.cache_clear()
    yield site
    sys.modules.pop("shouting", None)
    registry._installed.cache_clear()


class TestInstalled:
    def test_a_package_brings_types_by_entry_points(self, tmp_path: Path, installed: Path) -> None:
        """D2: also a plain function, which runs in a thread; none of plait's own is replaced."""
        assert plait.run(plait.load(wrote(tmp_path, "shout"))).value == "HELLO!"
        assert node_type("transform:map") is importlib.import_module("plait.nodes.items").Map

    def test_nothing_of_it_is_imported_before_a_run(self, tmp_path: Path, installed: Path) -> None:
        """D2 S18: validate, inspect and graph import nothing of others."""
        path = wrote(tmp_path, "shout")
        for words in (["validate"], ["inspect"], ["graph"]):
            command = [sys.executable, "-m", "plait", *words, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={"PYTHONPATH": ":".join((str(installed), *filter(None, sys.path))), "PATH": "/usr/bin:/bin"}, cwd=tmp_path)  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert not (installed / "imported").exists(), words
        plait.run(plait.load(path))
        assert (installed / "imported").exists()

    @pytest.mark.parametrize(
        ("name", "says"), [("none", "cannot be imported: AttributeError"), ("three", "must be a class")]
    )
    def test_what_cannot_be_loaded_is_told_before_the_first_node(
        self, tmp_path: Path, installed: Path, name: str, says: str
    ) -> None:
        """D2."""
        path = wrote(tmp_path, "shout")
        text = path.read_text().replace("</workflow>", f'  <sink id="last" type="{name}" input="loud"/>\n</workflow>')
        path.write_text(text)
        with pytest.raises(UsageError, match=says):
            plait.run(plait.load(path))
