"""A live picture of a run on a terminal: a bar, the running tasks, failures as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from plait.observe.stream import RunEvent
from plait.observe.text import clean, duration

SHOWN = 8
"""Running tasks that are listed; the others are counted."""
_FINAL = ("succeeded", "failed", "timed_out", "cancelled", "skipped", "upstream_failed", "not_started")


class LiveView:
    """Drawn by a thread of its own, ten times a second, so that a busy loop does not stop it."""

    def __init__(self, console: Console, name: str, total: Any) -> None:
        self._console = console
        self._name = name
        self._total = total
        self._began = time.monotonic()
        self._running: dict[str, float] = {}
        self._done: dict[str, int] = {}
        self._shares: dict[str, float] = {}
        self._said: dict[str, str] = {}
        self._asked = 0
        self.below: Callable[[], list[Text]] | None = None
        """Gives what stands below the display: it is drawn with it each time."""
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=10, transient=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def tell(self, text: str) -> None:
        """Lines above the display, which stay there."""
        self._console.print(Text(text), soft_wrap=True)

    def refresh(self) -> None:
        """Draws at once."""
        self._live.refresh()

    def __call__(self, event: RunEvent | None) -> None:
        if event is None or event.task is None:
            return
        state = event.event.removeprefix("task_")
        if state == "waiting":
            self._asked += event.detail.get("was") != "waiting"
        elif state == "answered" or event.detail.get("was") == "waiting":
            self._asked -= 1
        if state == "started" and event.slot is not None:
            self._running[event.task] = time.monotonic()
        else:
            self._running.pop(event.task, None)
            self._shares.pop(event.task, None)
        if state in _FINAL:
            self._done[state] = self._done.get(state, 0) + 1
        if state in ("failed", "timed_out"):
            self._console.print(
                Text(
                    f"{clean(event.task)}: {state.replace('_', ' ')}: {clean(str(event.detail.get('error', '')))}",
                    style="red",
                )
            )

    def done_before(self, counts: dict[str, int]) -> None:
        """What had ended when this process took the run over."""
        for state, number in counts.items():
            if state in _FINAL:
                self._done[state] = self._done.get(state, 0) + number

    def progress(self, key: str, share: float) -> None:
        """A task said how far it is."""
        self._shares[key] = share

    def said(self, latest: Mapping[str, bytes]) -> None:
        """What running tasks wrote so far ends like this: the last line of each is shown."""
        self._said = {key: line for key, data in latest.items() if (line := _last_line(data))}

    def _draw(self) -> Group:
        total, done = max(1, self._total()), sum(self._done.values())
        grid = Grid.grid(padding=(0, 1))
        head = Text(clean(self._name), style="bold")
        counted = {**self._done, **({"waiting": self._asked} if self._asked > 0 else {})}
        counts = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counted.items())
        grid.add_row(
            head,
            ProgressBar(total=total, completed=done, width=min(30, self._console.width // 4)),
            Text(f"{done}/{total}"),
            Text(duration(time.monotonic() - self._began)),
            Text(counts),
        )
        now = time.monotonic()
        running = list(self._running.items())
        lines = []
        below = [] if self.below is None else self.below()
        room = self._room(grid, below) if below else SHOWN
        for key, since in running[:room]:
            share = self._shares.get(key)
            line = Text(
                f"  {duration(now - since):>7}  {f'{share:.0%}  ' if share is not None else ''}{clean(key)}",
                style="cyan",
                no_wrap=True,
                overflow="ellipsis",
            )
            if key in self._said:
                line.append(f"  {self._said[key]}", style="dim")
            lines.append(line)
        if len(running) > room:
            lines.append(Text(f"  and {len(running) - room} more", style="dim"))
        return Group(grid, *lines, *below)

    def _room(self, grid: Grid, below: list[Text]) -> int:
        """So many running tasks can be listed where `below` is to be seen, too; of more than the terminal has room for its first line and its last ones stay."""
        console = self._console
        heights = [max(1, len(each.wrap(console, console.width))) for each in below]
        left = console.height - 1 - len(console.render_lines(grid)) - sum(heights)
        while left < 0 and len(below) > 2:
            del below[1]
            left += heights.pop(1)
        return max(0, min(SHOWN, left - 1))


def _last_line(data: bytes) -> str:
    """The last line with anything in it; what draws over its own line (`\\r`) has many."""
    lines = data.decode(errors="replace").replace("\r", "\n").split("\n")
    return next((clean(line.strip()) for line in reversed(lines) if line.strip()), "")
