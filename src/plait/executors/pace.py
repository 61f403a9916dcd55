"""How much a worker process gets at once, and how long what it ended waits to be told: by what calls took so far."""

from __future__ import annotations

TOGETHER_S = 0.005
"""A worker that has more to do tells of results after so many seconds at the latest: waking the engine costs more than all the rest."""

PATIENT = 10
"""So many times as long where nobody looks at the results of what is under way."""

AHEAD, MOST_AHEAD, MOST_AHEAD_BYTES = 3, 1024, 64 * 1024
"""Behind the call that runs a worker is given calls for so many times that, by what calls took so far; never more of them than that, nor
of their bytes."""

LEAST_AHEAD = 4
"""Towards the end so many, for the hand-over takes its time, too."""

LOOK = 2
"""After so many times that, or after `TOGETHER_S`, it is looked for results of which a worker that is at work did not tell."""

RECENT = 0.2
"""The weight of the latest call in what calls take."""


class Pace:
    """That of one run."""

    __slots__ = ("_bold", "_usual_bytes", "_usual_s", "ahead", "look_s", "together")

    def __init__(self) -> None:
        self.ahead = 1
        """So many calls may be with a worker, the one that runs included."""
        self.together = self.look_s = TOGETHER_S
        self._usual_s: float | None = None  # what a call takes; None until one was over
        self._usual_bytes = 0.0  # of a call on its way there
        self._bold = MOST_AHEAD

    def took(self, seconds: float) -> None:
        """A call was over."""
        usual = self._usual_s
        self._usual_s = seconds if usual is None else usual + RECENT * (seconds - usual)

    def sent(self, size: int) -> None:
        """A call of so many bytes went to a worker."""
        self._usual_bytes += RECENT * (size - self._usual_bytes)

    def plan(self, unfinished: int, workers: int, patient: bool) -> None:
        """Sets `ahead`, `together` and `look_s` for a run of which so many tasks are left.

        Of what is left a worker gets a half of its share at most: all of them are to be at work until the end, without much to steal
        (guided self-scheduling; Polychronopoulos and Kuck, IEEE Transactions on Computers C-36(12), 1987).
        """
        together = TOGETHER_S * PATIENT if patient else TOGETHER_S
        behind = 0
        if self._usual_s is not None:
            most = min(MOST_AHEAD, max(LEAST_AHEAD, unfinished // (2 * max(workers, 1))))
            usual = max(self._usual_s, 1e-9)
            behind = min(most, int(AHEAD * together / usual))
            together = min(together, usual * behind / AHEAD)  # once it tells, it still has calls for some time
        self.ahead, self.together = 1 + behind, together
        self.look_s = max(TOGETHER_S, LOOK * together)

    def at_once(self, wanted: int, room: int) -> int:
        """How many of the calls that are wanted to borrow, where there is room for so many bytes."""
        if self._usual_bytes > 1:
            wanted = min(wanted, 1 + int(room / self._usual_bytes))
        wanted = min(wanted, self._bold)
        self._bold = min(MOST_AHEAD, 2 * self._bold)
        return wanted

    def stumbled(self) -> None:
        """A borrowed call could not travel: few are borrowed at once for a while, or all behind it would go to and fro."""
        self._bold = 1
