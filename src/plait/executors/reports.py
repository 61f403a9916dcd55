"""What an executor reports of an attempt: a closed union.

Plain classes: every program with plait waits for these definitions, and a NamedTuple costs twenty times as much.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias


class Begun:
    """The code of the attempt began at `at` on the run's clock: its timeout counts from there."""

    __slots__ = __match_args__ = ("at",)

    def __init__(self, at: float) -> None:
        self.at = at


class Output:
    """What the attempt wrote since the last such report; `left_out_bytes` more were not kept."""

    __slots__ = ("data", "left_out_bytes", "stream")

    def __init__(self, stream: str, data: bytes, left_out_bytes: int = 0) -> None:
        self.stream = stream
        self.data = data
        self.left_out_bytes = left_out_bytes


class Beat:
    """A sign of life."""

    __slots__ = ()


class Spent:
    """Units that the attempt used up, by name: `{"usd": 0.02}`."""

    __slots__ = __match_args__ = ("units",)

    def __init__(self, units: Mapping[str, float]) -> None:
        self.units = units


class Progress:
    """How much of the work is done, from 0 to 1."""

    __slots__ = ("share",)

    def __init__(self, share: float) -> None:
        self.share = share


class Asked:
    """The attempt waits for a person's answer to a `Question`."""

    __slots__ = __match_args__ = ("question",)

    def __init__(self, question: Any) -> None:
        self.question = question


class Ended:
    """The attempt is over and nothing of it runs any more, at `at` on the run's clock.

    Either `error` is None and `value` is what the code returned, or it is what the code raised. `stopped`: the stop
    signal had reached the code before it ended, or (NOT_BEGUN) it never began; a plain end by cancellation has no error.
    """

    __slots__ = ("at", "error", "stopped", "value")

    def __init__(self, at: float, value: Any = None, error: BaseException | None = None, stopped: int = False) -> None:
        self.at = at
        self.value = value
        self.error = error
        self.stopped = stopped


class Interrupted:
    """The process that ran the attempt died at `at`, and nobody had asked for that; `why` says how. No `Ended` follows."""

    __slots__ = __match_args__ = ("at", "why")

    def __init__(self, at: float, why: str) -> None:
        self.at = at
        self.why = why


Report: TypeAlias = Begun | Output | Beat | Spent | Progress | Asked | Ended | Interrupted
