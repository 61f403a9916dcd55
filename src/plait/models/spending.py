"""What models use up, counted for the task that asks them."""

from __future__ import annotations

from plait._engine.spending import spend
from plait.executors.base import current_attempt
from plait.models.base import Usage


def record(usage: Usage) -> None:
    """Counts what an answer used up, for every budget around the task whose code calls this; outside of a task for nobody.

    The units are `tokens` (those that were read and those that were written), `input_tokens`, `output_tokens`, and where there are
    some `cached_tokens` and `usd`. plait's own models call it; a Model of your own calls it once for each answer that it pays for.
    """
    attempt = current_attempt()
    if attempt is None:
        return
    units: dict[str, float] = {
        "tokens": usage.input_tokens + usage.output_tokens,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "usd": usage.usd,
    }
    spend(attempt, {unit: number for unit, number in units.items() if number or unit not in ("cached_tokens", "usd")})
