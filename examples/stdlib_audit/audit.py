"""The Python steps of audit.yaml: plain functions, which know nothing of plait."""

from __future__ import annotations

import ast
import json
import sys
import sysconfig
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

LARGEST = 20


def list_modules(folder: str) -> dict[str, Any]:
    """Every `.py` file below `folder` (empty: the standard library) with its module name, sorted; no site-packages."""
    root = Path(folder or sysconfig.get_path("stdlib")).resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder")
    modules = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[0] in ("site-packages", "dist-packages"):
            continue
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        modules.append({"name": name, "path": str(path)})
    names = Counter(module["name"] for module in modules)
    for module in modules:  # a package and a module of one name: told apart by their files
        if names[module["name"]] > 1:
            module["name"] += f" ({Path(module['path']).name})"
    return {"python": sys.executable, "root": str(root), "modules": modules}


def count(name: str, path: str) -> dict[str, Any]:
    """Lines, functions, classes and imports of one module. A file that does not parse raises SyntaxError."""
    data = Path(path).read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(data, path)
    functions = classes = 0
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            functions += 1
        elif isinstance(node, ast.ClassDef):
            classes += 1
        elif isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imports.update(_imported(name, path, node))
    return {
        "name": name,
        "lines": data.count(b"\n"),
        "functions": functions,
        "classes": classes,
        "imports": sorted(imports),
    }


def _imported(name: str, path: str, node: ast.ImportFrom) -> list[str]:
    """What `from x import a, b` may import: the module, and each name as a module below it."""
    base = node.module or ""
    if node.level:
        package = name.split(".") if path.endswith("__init__.py") else name.split(".")[:-1]
        base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
    return [base, *(f"{base}.{alias.name}" for alias in node.names)] if base else [alias.name for alias in node.names]


def write_report(listing: dict[str, Any], compiled: list[Any], counted: list[Any], out: str) -> dict[str, Any]:
    """Joins everything into `audit.json` and a Markdown table of the largest modules, `audit.md`."""
    modules = listing["modules"]
    names = {module["name"] for module in modules}
    rows = []
    for module, compiles, counts in zip(modules, compiled, counted, strict=True):
        row = {
            "name": module["name"],
            "path": module["path"],
            "compiles": compiles is not None,
            "parses": counts is not None,
        }
        if counts is not None:
            row |= {key: counts[key] for key in ("lines", "functions", "classes")}
            row["imports"] = [each for each in counts["imports"] if each in names and each != module["name"]]
        rows.append(row)
    parsed = [row for row in rows if row["parses"]]
    total = {
        "modules": len(rows),
        "lines": sum(row["lines"] for row in parsed),
        "functions": sum(row["functions"] for row in parsed),
        "classes": sum(row["classes"] for row in parsed),
        "imports": sum(len(row["imports"]) for row in parsed),
        "do_not_compile": [row["name"] for row in rows if not row["compiles"]],
        "do_not_parse": [row["name"] for row in rows if not row["parses"]],
    }
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "audit.json"
    data.write_text(json.dumps({"root": listing["root"], "total": total, "modules": rows}, indent=1))
    table = folder / "audit.md"
    table.write_text(_table(listing["root"], total, parsed, Counter(each for row in parsed for each in row["imports"])))
    broken = len(total["do_not_compile"])
    summary = f"{total['modules']} modules, {total['lines']} lines, {total['imports']} imports between them, {broken} do not compile"
    return {"json": str(data), "table": str(table), "summary": summary}


def _table(root: str, total: dict[str, Any], parsed: list[dict[str, Any]], imported: Counter[str]) -> str:
    lines = [
        f"# The {LARGEST} largest modules of {root}",
        "",
        f"{total['modules']} modules, {total['lines']} lines, {total['functions']} functions, {total['classes']} classes.",
        "",
        "| module | lines | functions | classes | imports | imported by |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in sorted(parsed, key=lambda row: (-row["lines"], row["name"]))[:LARGEST]:
        cells = (
            row["name"],
            row["lines"],
            row["functions"],
            row["classes"],
            len(row["imports"]),
            imported[row["name"]],
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += ["", f"Do not compile: {', '.join(total['do_not_compile']) or 'none'}.", ""]
    return "\n".join(lines)
