"""The house keeps its shape: arrows point one way, the core is pure, public names are whole, the repository is clean."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mutate
import plait

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "plait"

# What each room may import, besides itself and `errors`. Everything else is an arrow that points up.
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "points": set(),
    "signs": set(),
    "logs": set(),
    "_version": set(),
    "_core": set(),
    "calls": {"_core", "signs"},
    "expressions": {"_core"},
    "nodes": {"calls", "expressions", "models", "points", "scalars", "signs"},
    "scalars": set(),
    "redaction": set(),
    "stores": {"_core", "_version", "logs", "points"},
    "executors": {"_core", "calls", "logs", "points", "redaction", "references", "signs"},
    "_engine": {"_core", "executors", "forms", "logs", "observe", "patterns", "points", "redaction", "stores"},
    "observe": {"_core", "_version", "forms", "logs"},
    "patterns": {"_core"},
    "concurrency": {"_core", "_engine", "executors"},
    "runner": {"_core", "_engine", "concurrency", "executors"},
    "streams": {"_core", "_engine", "concurrency", "executors"},
    "tasks": {"_core", "calls", "executors"},
    "web": {"_core", "calls", "tasks"},
    "asking": {"_core", "_engine", "executors", "forms", "tasks"},
    "approving": {"_core", "asking", "calls", "executors", "tasks"},
    "opened": {"_core", "_engine", "forms", "history", "observe", "redaction", "stores"},
    "fingerprints": {"references"},
    "forms": {"_core"},
    "models": {"_engine", "calls", "executors"},
    "references": set(),
    "snapshots": {"_engine", "calls", "executors", "fingerprints", "references", "stores", "tasks"},
    "programs": {"_core", "_engine", "redaction", "snapshots", "tasks"},
    "durations": {"_core", "_engine", "stores"},
    "history": {"_core", "_engine", "observe", "stores"},
    "prediction": {"_core", "_engine", "durations", "observe", "stores", "testing"},
    "edits": set(),
    "beginning": {"_core", "_engine", "durations", "programs", "snapshots", "stores", "tasks"},
    "carrying": {"_core", "_engine", "beginning", "stores"},
    "resuming": {
        "_core",
        "_engine",
        "beginning",
        "carrying",
        "concurrency",
        "durations",
        "edits",
        "flow",
        "points",
        "programs",
        "snapshots",
        "stores",
        "tasks",
    },
    "parts": {"_core", "_engine", "flow", "history", "resuming", "stores"},
    "runs": {
        "_core",
        "_engine",
        "executors",
        "concurrency",
        "programs",
        "beginning",
        "resuming",
        "stores",
        "tasks",
    },
    "flow": {
        "_core",
        "_engine",
        "expressions",
        "approving",
        "asking",
        "calls",
        "executors",
        "fingerprints",
        "forms",
        "nodes",
        "programs",
        "scalars",
        "redaction",
    },
    "testing": {"_core", "_engine", "executors", "concurrency", "models", "programs", "runs", "stores", "tasks"},
    "cli": {
        "_core",
        "_engine",
        "_version",
        "calls",
        "concurrency",
        "executors",
        "forms",
        "logs",
        "opened",
        "expressions",
        "flow",
        "history",
        "observe",
        "points",
        "parts",
        "prediction",
        "programs",
        "resuming",
        "redaction",
        "runs",
        "stores",
        "tasks",
    },
    "__main__": {"cli"},
    "__init__": {
        "_version",
        "_core",
        "_engine",
        "approving",
        "asking",
        "concurrency",
        "opened",
        "runner",
        "streams",
        "tasks",
        "runs",
        "flow",
        "executors",
        "history",
        "observe",
        "patterns",
        "web",
    },
}

# Executors are chosen by name and imported late: the engine knows their base only, and each of them only the base.
ONLY = {
    "_engine": {
        "executors": {"adopting", "base", "contract", "tokens"},
        "observe": {"metrics", "questions", "readers", "stream"},
        "stores": {"base", "bells", "contract", "locks", "values"},
    },
    "snapshots": {"stores": {"values"}},
    "durations": {"stores": {"base", "contract"}},
    "prediction": {"stores": {"base", "contract"}, "observe": {"stream"}},
    "beginning": {"stores": {"base", "contract"}},
    "carrying": {"stores": {"base", "contract", "values"}},
    "resuming": {"stores": {"base", "contract"}},
    "parts": {"flow": {"compile", "model"}, "stores": {"base", "contract"}},
    "executors": {
        "executors": {
            "adopting",
            "base",
            "blocking",
            "contract",
            "groups",
            "outputs",
            "pickles",
            "reports",
            "pace",
            "shortage",
            "slices",
            "spawning",
            "tokens",
            "watchdog",
            "watching",
            "worker",
            "workers",
        }
    },
    "concurrency": {"executors": {"base", "tokens"}},
    "history": {"observe": {"readers"}},
    "models": {"executors": {"base"}, "_engine": {"spending"}},
    "forms": {"_core": {"policy"}},
    "runs": {"executors": {"base", "tokens"}, "stores": {"opening"}},
}

IMPURE = {
    "asyncio",
    "threading",
    "time",
    "datetime",
    "random",
    "secrets",
    "os",
    "io",
    "pathlib",
    "socket",
    "subprocess",
    "concurrent",
    "queue",
    "selectors",
    "sqlite3",
    "logging",
    "sys.stdout",
}


def room_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def arrows_up(source: Path = SRC) -> list[str]:
    """Every import that points up, as `file:line: room -> room`."""
    found = []
    for path in sorted(source.rglob("*.py")):
        room = path.relative_to(source).parts[0].removesuffix(".py")
        for line, name in imports_of(path):
            parts = name.split(".")
            if parts[0] != "plait" or len(parts) < 2:
                continue
            target = parts[1]
            allowed = {room, "errors"} | ROOMS.get(room, set())
            module = parts[2] if len(parts) > 2 else ""
            only = ONLY.get(room, {}).get(target)
            if target not in allowed or (only is not None and module not in only):
                found.append(f"{path.relative_to(source)}:{line}: {room} -> {target}.{module}")
    return found


def test_imports_point_one_way() -> None:
    assert arrows_up() == []
    assert {room_of(path) for path in SRC.rglob("*.py")} == set(ROOMS)


def test_an_arrow_that_points_up_is_named(tmp_path: Path) -> None:
    (tmp_path / "_core").mkdir()
    (tmp_path / "_core" / "bad.py").write_text("from plait._engine.driver import Driver\n")
    (tmp_path / "executors").mkdir()
    (tmp_path / "executors" / "bad.py").write_text("import plait.executors.shell\n")
    assert arrows_up(tmp_path) == [
        "_core/bad.py:1: _core -> _engine.driver",
        "executors/bad.py:1: executors -> executors.shell",
    ]


def impure_imports(folder: Path) -> list[str]:
    return [
        f"{path.name}:{line}: {name}"
        for path in sorted(folder.glob("*.py"))
        for line, name in imports_of(path)
        if name.split(".")[0] in IMPURE
    ]


def test_the_core_imports_no_clock_no_io_no_asyncio_no_threads_no_chance(tmp_path: Path) -> None:
    assert impure_imports(SRC / "_core") == []
    (tmp_path / "bad.py").write_text("import time\nfrom random import Random\n")
    assert impure_imports(tmp_path) == ["bad.py:1: time", "bad.py:2: random.Random"]


def test_the_core_and_the_flat_door_need_the_standard_library_only() -> None:
    program = "import sys, plait\nplait.map_(abs, [1]); plait.run(plait.task(abs).bind(1))\nprint([m for m in sys.modules if m.split('.')[0] in ('click', 'yaml', 'rich', 'msgspec', 'psutil', 'sqlite3', 'prometheus_client', 'opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_a_short_durable_run_is_over_before_msgspec_is_loaded(tmp_path: Path) -> None:
    program = "import sys, plait\nprint(plait.run(plait.task(abs).bind(-1), store='runs.db'), 'msgspec' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "1 False\n", done.stderr


def test_every_public_name_is_exported_once_typed_and_documented() -> None:
    homes = [name for names in plait._HOMES.values() for name in names]
    assert len(homes) == len(set(homes))
    assert set(plait.__all__) == {*homes, "__version__"}
    assert set(plait.__all__) <= set(dir(plait))
    tree = ast.parse((SRC / "__init__.py").read_text())
    typed = [
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    ]
    assert sorted(typed) == sorted(plait.__all__)
    for name in homes:
        thing = getattr(plait, name)
        assert inspect.getdoc(thing), f"{name} has no docstring"
        if inspect.isfunction(thing):
            assert "Any" in str(thing.__annotations__) or thing.__annotations__, f"{name} is not typed"
        if inspect.isclass(thing) and thing.__module__.startswith("plait"):
            for member, value in vars(thing).items():
                if not member.startswith("_") and inspect.isfunction(value):
                    assert inspect.getdoc(value), f"{name}.{member} has no docstring"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = plait.nothing  # type: ignore[attr-defined]


def test_an_extra_is_imported_in_exactly_one_file() -> None:
    """B18: what may be missing is asked for in one place, which says how to install it."""
    homes = {
        "openai": "models/openai.py",
        "anthropic": "models/anthropic.py",
        "prometheus_client": "observe/prometheus.py",
        "opentelemetry": "observe/otel.py",
        "watchfiles": "cli/watching.py",
    }
    found = {
        (name.split(".")[0], path.relative_to(SRC).as_posix())
        for path in SRC.rglob("*.py")
        for _, name in imports_of(path)
        if name.split(".")[0] in homes
    }
    assert found == set(homes.items())


def test_no_process_is_forked_with_python_in_it() -> None:
    """F51: a fork takes along locks that no thread of the child will ever open; what is started begins afresh."""
    never = re.compile(
        r"\bos\.fork(pty)?\(|preexec_fn|get_context\(|set_start_method\(|\bProcess\(target|\bfork_exec\("
    )
    assert [
        f"{path.name}: {found[0]}"
        for path in sorted(Path(plait.__file__).parent.rglob("*.py"))
        for found in never.finditer(path.read_text())
    ] == []


def test_modules_have_docstrings_and_no_wait_for() -> None:
    """F40: `asyncio.wait_for` swallows a cancel on 3.11. N: no sleeping polls."""
    for path in SRC.rglob("*.py"):
        text = path.read_text()
        assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
        assert "wait_for(" not in text, path
        assert "time.sleep(" not in text, path


def test_there_is_one_scheduling_loop_and_one_semaphore_nowhere() -> None:
    """N: one engine."""
    for path in SRC.rglob("*.py"):
        assert "Semaphore(" not in path.read_text(), path
    makers = [
        path.name
        for path in SRC.rglob("*.py")
        if re.search(r"\bScheduler\(", path.read_text()) and "class Scheduler" not in path.read_text()
    ]
    assert sorted(makers) == ["driver.py", "keeping.py", "replaying.py", "world.py"]


def tracked() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split("\n")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()] or [
        path for path in ROOT.rglob("*") if path.is_file() and ".git" not in path.parts
    ]


def test_no_file_holds_an_address_of_a_package_registry() -> None:
    addresses = re.compile(
        r"files\.python"
        r"hosted|py"
        r"pi\.org|registry\."
        r"npmjs|index-"
        r"url|extra-"
        r"index|find-"
        r"links"
    )
    for path in tracked():
        if path.suffix not in (".png", ".ico"):
            found = addresses.search(path.read_text(errors="replace"))
            assert found is None, f"{path}: {found}"


def test_the_map_of_rows_names_tests_that_exist() -> None:
    """`docs/requirements.md` lists every row; a row that is done names tests whose docstring or comment quotes it."""
    page = (ROOT / "docs" / "requirements.md").read_text()
    rows = dict(re.findall(r"^\| ([A-EX]\d+) \| .*? \| (.*?) \|$", page, re.M))
    expected = {
        f"{letter}{number}"
        for letter, last in (("A", 20), ("B", 20), ("C", 11), ("D", 12), ("E", 12), ("X", 14))
        for number in range(1, last + 1)
    }
    assert set(rows) == expected
    sources = {
        path.relative_to(ROOT / "tests").as_posix(): path.read_text() for path in (ROOT / "tests").rglob("test_*.py")
    }
    for row, tests in rows.items():
        if tests == "later":
            continue
        for name in tests.split(", "):
            source = sources[name.strip("`")]
            assert re.search(rf"\b{row}\b", source), f"{name} does not quote {row}"


def test_every_mutation_still_breaks_the_code_that_there_is() -> None:
    for mutation in mutate.MUTATIONS:
        text = (SRC / mutation.file).read_text()
        assert text.count(mutation.old) == 1, mutation
        compile(text.replace(mutation.old, mutation.new), mutation.file, "exec")


def test_the_page_of_promises_names_tests_that_exist() -> None:
    """`docs/promises.md`: every promise and fault of stored runs, and attacks by files, each with tests that quote it."""
    page = (ROOT / "docs" / "promises.md").read_text()
    rows = dict(re.findall(r"^\| ([WFS]\d+) \| .*? \| (`.*?) \|$", page, re.M))
    faults = [*range(1, 7), *range(8, 28), *range(31, 38), 71, 72, 73, 74, 75, 82, 84]
    attacks = [*range(1, 22), *range(28, 33), *range(43, 46), 50]
    assert set(rows) == {
        *(f"W{each}" for each in range(1, 15) if each != 11),
        *(f"F{each:02}" for each in faults),
        *(f"S{each:02}" for each in attacks),
    }
    for row, tests in rows.items():
        for name in tests.split(", "):
            source = (ROOT / "tests" / name.strip("`")).read_text()
            assert re.search(rf"\b{row}\b", source), f"{name} does not quote {row}"


def test_the_table_of_options_in_the_docs_is_the_vocabulary() -> None:
    from plait._core.policy import option_names

    page = (ROOT / "docs" / "reference" / "options.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.M)) == set(option_names())


def codes_in(source: str) -> set[str]:
    """The codes of problems that a module of `flow` tells."""
    found: set[str] = set()
    at = {"bad": 1, "add": 1, "stop": 1, "add_unread": 1, "warn": 1, "TemplateError": 2, "under": 0, "Misread": 3}
    for node in ast.walk(ast.parse(source)):
        given: list[ast.expr] = []
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = node.args[at[name] : at[name] + 1] if name in at else []
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(node.value.elts) == 2:
            given = node.value.elts[:1]
        elif isinstance(node, ast.arguments):
            names = [each.arg for each in node.args][-len(node.defaults) :] if node.defaults else []
            given = [default for name, default in zip(names, node.defaults) if name == "code"]
        found |= {each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    return found


def test_the_page_of_problems_has_every_code_of_the_source() -> None:
    page = (ROOT / "docs" / "reference" / "problems.md").read_text()
    listed = re.findall(r"^\| `([A-Za-z_-]+)` \|", page, re.M)
    told = set().union(*(codes_in(path.read_text()) for path in (SRC / "flow").glob("*.py")))
    for path in (SRC / "flow").rglob("*.py"):  # most of FlowScript's are constants
        told |= set(re.findall(r'"((?:VALID|PARSE)_[A-Z_]+)"', path.read_text()))
        told |= set(re.findall(r'problems\.(?:warn|stop)\(\s*[^,]+,\s*"([a-z-]+)"', path.read_text()))
    assert len(listed) == len(set(listed))
    assert set(listed) == told | {"more"}
    assert codes_in(
        'x.bad(at, "a", "m"); raise TemplateError(0, "m", "b")\ndef f(x, code="c"): return "d", "m"'
    ) == set("abcd")
