"""What an executor reports of an attempt: a closed union.

Every program with plait waits for these definitions: those that are made seldom are plain classes, which cost a twentieth of a
NamedTuple, and annotations are evaluated, for as text each field of one costs 25 us.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias


class Begun(NamedTuple):
    """The code of the attempt began at `at` on the run's clock: its timeout counts from there."""

    at: float


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

    __slots__ = ("units",)

    def __init__(self, units: Mapping[str, float]) -> None:
        self.units = units


class Progress:
    """How much of the work is done, from 0 to 1."""

    __slots__ = ("share",)

    def __init__(self, share: float) -> None:
        self.share = share


class Asked:
    """The attempt waits for a person's input."""

    __slots__ = ("question",)

    def __init__(self, question: Any) -> None:
        self.question = question


class Ended(NamedTuple):
    """The attempt is over and nothing of it runs any more, at `at` on the run's clock.

    Either `error` is None and `value` is what the code returned, or it is what the code raised. `stopped`: the stop
    signal had reached the code before it ended, or (NOT_BEGUN) it never began; a plain end by cancellation has no error.
    """

    at: float
    value: Any = None
    error: BaseException | None = None
    stopped: int = False


class Interrupted(NamedTuple):
    """The process that ran the attempt died at `at`, and nobody had asked for that; `why` says how. No `Ended` follows."""

    at: float
    why: str


Report: TypeAlias = Begun | Output | Beat | Spent | Progress | Asked | Ended | Interrupted
