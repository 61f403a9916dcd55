"""From measurements to tables: medians, ratios, text and Markdown. Knows nothing of how they were made.

A measurement is a dictionary with `group`, `row`, `n`, and either `wall`, `cpu` (seconds) and `bytes`, or the reason under `missing` or
`failed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, NamedTuple

from groups import Group

Measurement = dict[str, Any]


class Line(NamedTuple):
    """One row of a table: medians over its rounds, or why there are none."""

    name: str
    n: int
    rounds: int = 0
    wall: float = 0.0
    """Seconds of one task, or of the whole row where the group says so."""
    cpu: float = 0.0
    bytes: float = 0.0
    note: str = ""


def line(group: Group, name: str, found: Sequence[Measurement]) -> Line:
    """The line of one row, from its measurements; one that failed counts more than those that did not."""
    n = found[0]["n"]
    for each in found:
        for why, words in (("failed", "failed"), ("missing", "not installed")):
            if why in each:
                return Line(name, n, note=f"{words}: {each[why]}")
    count = max(n, 1) if group.per else 1
    middle = [median(each[figure] for each in found) / count for figure in ("wall", "cpu", "bytes")]
    return Line(name, n, len(found), *middle)


def lines(group: Group, measurements: Iterable[Measurement]) -> list[Line]:
    """The lines of a group, in its order; rows that were not measured are left out."""
    found: dict[str, list[Measurement]] = {}
    for each in measurements:
        if each["group"] == group.name:
            found.setdefault(each["row"], []).append(each)
    return [line(group, row.name, found[row.name]) for row in group.rows if row.name in found]


def ratios(of: Line, to: Line | None) -> tuple[float, float] | None:
    """Wall and CPU of one line in units of another; None where either has no figures."""
    if to is None or of.note or to.note or not to.wall or not to.cpu:
        return None
    return of.wall / to.wall, of.cpu / to.cpu


def scale(group: Group) -> float:
    """How many of the group's units a second has."""
    return {"µs": 1e6, "ms": 1e3}[group.unit]


def header(group: Group) -> list[str]:
    """The names of the columns; their number fits `cells`."""
    names = ["row", "n", f"wall {group.unit}", f"CPU {group.unit}", "ratio wall", "ratio CPU"]
    if group.second:
        names += ["2nd wall", "2nd CPU"]
    if group.unit == "ms":
        names.append("above, ms")
    if group.memory:
        names.append(f"bytes/{group.per}")
    return [*names, "rounds"]


def cells(group: Group, of: Line, all_lines: Sequence[Line]) -> list[str]:
    """The texts of one line; a line without figures has its reason in the third column and nothing behind."""
    if of.note:
        return [of.name, f"{of.n:,}", of.note]
    by_name = {each.name: each for each in all_lines}
    bases = [by_name.get(group.base), by_name.get(group.second)] if group.second else [by_name.get(group.base)]
    cpu = figure(of.cpu * scale(group)) if of.cpu else "–"  # where a row times a part that isn't one thread's work
    shown = [of.name, f"{of.n:,}", figure(of.wall * scale(group)), cpu]
    for base in bases:
        found = ratios(of, base)
        shown += [figure(found[0]), figure(found[1])] if found else ["–", "–"]
    if group.unit == "ms":
        last = bases[-1]
        shown.append(f"{(of.wall - last.wall) * 1e3:+,.2f}" if last and not last.note else "–")
    if group.memory:
        shown.append(f"{of.bytes:,.0f}")
    return [*shown, str(of.rounds)]


def figure(number: float) -> str:
    """A figure with about three digits that count."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.1f}" if number >= 100 else f"{number:.2f}"


def explained(group: Group, mark: str = "'") -> str:
    """What the figures of a group are, in one sentence; names of rows stand between two `mark`s."""
    what = f"{group.unit} per {group.per}" if group.per else f"{group.unit} in all"
    second = f", the second pair to {mark}{group.second}{mark}" if group.second else ""
    above = f", milliseconds above {mark}{group.second or group.base}{mark}" if group.unit == "ms" else ""
    return f"{what}; ratios are to {mark}{group.base}{mark}{second}{above}"


def pairs(group: Group, all_lines: Sequence[Line], mark: str = "'") -> list[str]:
    """The group's other comparisons, one sentence each; names of rows stand between two `mark`s."""
    by_name = {each.name: each for each in all_lines}
    said = []
    for one, other in group.pairs:
        if one in by_name and (found := ratios(by_name[one], by_name.get(other))):
            more = (by_name[one].wall - by_name[other].wall) * scale(group)
            names = f"{mark}{one}{mark} to {mark}{other}{mark}"
            said.append(f"{names}: wall {found[0]:.2f} ({more:+.2f} {group.unit}), CPU {found[1]:.2f}")
    return said


def by_size(groups: Sequence[Group], measurements: Sequence[Measurement]) -> list[list[str]]:
    """For each row that was measured at several sizes: family, row, each `n: figure`, and largest to smallest from 10k on."""
    found: dict[tuple[str, str], list[tuple[Group, Line]]] = {}
    for group in groups:
        if group.family:
            for each in lines(group, measurements):
                if not each.note and each.n == group.size:
                    found.setdefault((group.family, each.name), []).append((group, each))
    table = []
    for (family, name), sizes in found.items():
        large = [(group, each) for group, each in sizes if each.n >= 10_000 and group.per]
        if len(large) > 1:
            said = [f"{each.n:,}: {figure(each.wall * scale(group))} {group.unit}" for group, each in large]
            first, last = large[0][1], large[-1][1]
            table.append(
                [family, name, " · ".join(said), f"{last.wall / first.wall:.2f}", f"{last.cpu / first.cpu:.2f}"]
            )
    return table


def text_row(shown: Sequence[str]) -> str:
    """One line for a terminal; the reason of a line without figures stands as it is."""
    name, n, *rest = shown
    figures = f"  {rest[0]}" if len(rest) == 1 else "".join(f" {cell:>10}" for cell in rest)
    return f"  {name:<40} {n:>9}{figures}"


def text_head(group: Group) -> str:
    """What stands above a group on a terminal."""
    goal = f"\n  goal: {group.goal}" if group.goal else ""
    return f"\n{group.name} ({explained(group)}){goal}\n{text_row(header(group))}"


def text(groups: Sequence[Group], measurements: Sequence[Measurement]) -> str:
    """All tables, for a terminal."""
    out = []
    for group in groups:
        all_lines = lines(group, measurements)
        if all_lines:
            out += [text_head(group), *(text_row(cells(group, each, all_lines)) for each in all_lines)]
            out += [f"  {said}" for said in pairs(group, all_lines)]
    sizes = by_size(groups, measurements)
    if sizes:
        out.append("\nby size, per task (largest to smallest: wall, CPU)")
        out += [f"  {family:<18} {name:<40} {said}  {wall} {cpu}" for family, name, said, wall, cpu in sizes]
    return "\n".join(out)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int) -> list[str]:
    """A table whose first `texts` columns are text; short rows are filled up."""
    marks = ["---"] * texts + ["---:"] * (len(head) - texts)
    body = [[*(cell.replace("|", "\\|") for cell in row), *[""] * (len(head) - len(row))] for row in rows]
    return ["| " + " | ".join(each) + " |" for each in (list(head), marks, *body)]


def markdown(groups: Sequence[Group], measurements: Sequence[Measurement], machine: dict[str, str]) -> str:
    """The page for the docs."""
    out = [
        "# Benchmarks",
        "",
        "Written by `benchmarks/run.py`: medians, the rows of a group measured in turns, each in a process of its own. Only ratios",
        "inside one group mean anything on another machine.",
        "",
        *markdown_table(("machine", ""), machine.items(), 2),
    ]
    versions: dict[str, str] = {}
    for each in measurements:
        versions.update(each.get("versions", {}))
    if versions:
        out += ["", *markdown_table(("peer", "version"), sorted(versions.items(), key=lambda each: each[0].lower()), 2)]
    for group in groups:
        all_lines = lines(group, measurements)
        if not all_lines:
            continue
        out += ["", f"## {group.name[0].upper()}{group.name[1:]}", "", f"Figures are {explained(group, '*')}."]
        if group.per and len({each.n for each in all_lines}) > 1:
            out.append(f"Where `n` differs, the figure per {group.per} is what is compared.")
        if group.goal:
            out.append(f"Goal: {group.goal}.")
        out += ["", *markdown_table(header(group), (cells(group, each, all_lines) for each in all_lines), 1)]
        said = pairs(group, all_lines, "*")
        out += ["", *(f"- {each}" for each in said)] if said else []
    sizes = by_size(groups, measurements)
    if sizes:
        head = ("work", "row", "wall per task", "largest to smallest, wall", "CPU")
        out += ["", "## By size", "", *markdown_table(head, sizes, 3)]
    out += ["", "## Again", "", "```bash", "python benchmarks/run.py --markdown docs/benchmarks.md", "```", ""]
    out += [
        "[benchmarks/README.md](../benchmarks/README.md) says how to install the peers and how to read the tables.",
        "",
    ]
    return "\n".join(out)
