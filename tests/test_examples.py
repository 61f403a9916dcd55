"""Every example and every code block of the docs runs, and says what it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.realtime

ROOT = Path(__file__).parents[1]
PLAIT = [sys.executable, "-m", "plait"]


def output(*words: str, cwd: Path) -> str:
    done = subprocess.run(words, capture_output=True, text=True, cwd=cwd, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_audit_counts_compiles_and_joins_and_a_file_that_does_not_parse_stops_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "lib"
    (folder / "pack").mkdir(parents=True)
    (folder / "one.py").write_text(
        "import os\nimport pack.two\n\ndef f(): pass\nclass A:\n    async def g(self): pass\n"
    )
    (folder / "pack" / "__init__.py").write_text("from . import two\n")
    (folder / "pack" / "two.py").write_text("from one import f\n" * 3)
    (folder / "broken.py").write_text("print 'two'\n")
    shown = output(
        *PLAIT,
        "run",
        str(ROOT / "examples/stdlib_audit/audit.yaml"),
        "-i",
        f"folder={folder}",
        "-i",
        "out=report",
        cwd=tmp_path,
    )
    assert (
        shown
        == "report: report/audit.md\njson: report/audit.json\nsummary: 4 modules, 10 lines, 3 imports between them, 1 do not compile\n"
    )
    audit = json.loads((tmp_path / "report" / "audit.json").read_text())
    assert audit["total"] == {
        "modules": 4, "lines": 10, "functions": 2, "classes": 1, "imports": 3, "do_not_compile": ["broken"], "do_not_parse": ["broken"],
    }  # fmt: skip
    modules = {module["name"]: module for module in audit["modules"]}
    assert modules["one"]["imports"] == ["pack.two"]
    assert modules["pack"]["imports"] == ["pack.two"]
    assert modules["pack.two"]["imports"] == ["one"]
    assert "| one | 6 | 2 | 1 | 1 | 1 |" in (tmp_path / "report" / "audit.md").read_text()


def test_the_licences(tmp_path: Path) -> None:
    shown = output(*PLAIT, "run", str(ROOT / "examples/licences.yaml"), cwd=tmp_path)
    assert re.fullmatch(r"longest: \d+ [0-9a-f]{12} /usr/share/common-licenses/\S+\n", shown)


def test_the_first_graph(tmp_path: Path) -> None:
    assert (
        output(sys.executable, str(ROOT / "examples/first_graph.py"), cwd=tmp_path)
        == "10 words on 5 pages\n[0, 1, 4, 9, 16]\n"
    )


def blocks() -> list[tuple[str, str, str]]:
    """Python blocks of README and docs, each with the text block that follows as its output."""
    found = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = page.read_text()
        for number, match in enumerate(re.finditer(r"```python\n(.*?)```(?:\s*```text\n(.*?)```)?", text, re.S)):
            found.append((f"{page.relative_to(ROOT)}[{number}]", match[1], match[2] or ""))
    return found


@pytest.mark.parametrize(("name", "code", "shown"), blocks(), ids=[name for name, _, _ in blocks()])
def test_code_blocks_of_the_docs_run_and_print_what_they_say(tmp_path: Path, name: str, code: str, shown: str) -> None:
    assert output(sys.executable, "-W", "error", "-c", code, cwd=tmp_path) == shown


def yaml_blocks() -> list[tuple[str, str]]:
    pages = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    return [
        (f"{page.relative_to(ROOT)}[{number}]", match[1])
        for page in pages
        for number, match in enumerate(re.finditer(r"```yaml\n(.*?)```", page.read_text(), re.S))
    ]


@pytest.mark.parametrize(("name", "text"), yaml_blocks(), ids=[name for name, _ in yaml_blocks()])
def test_workflow_files_of_the_docs_run(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "flow.yaml").write_text(text)
    output(*PLAIT, "run", "flow.yaml", cwd=tmp_path)
