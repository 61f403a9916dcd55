"""Functions of time. A moment is ISO 8601 text (or milliseconds since 1970); what they give is in the zone of this machine, with its offset.

Text without an offset is in that zone, too. What is no moment gives null. Days, weeks, months and years keep the time of the
clock when that is put forward or back; hours, minutes and seconds are as long as they always are.
"""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from plait.expressions.functions.signature import MISSING, Anything, Text, Time, function, wrong

if TYPE_CHECKING:
    from plait.expressions.evaluate import Work

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
UNITS = ("millisecond", "second", "minute", "hour", "day", "week", "month", "year")
_SHORT = {
    "ms": "millisecond", "s": "second", "sec": "second", "m": "minute", "min": "minute", "h": "hour", "d": "day", "w": "week",
    "mo": "month", "y": "year",
}  # fmt: skip
_MS = {"millisecond": 1, "second": 1000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000, "week": 604_800_000}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BAD = (ValueError, OverflowError, OSError)
"""What the calendar and the zones of a machine say to a moment that they do not know."""

_TOKEN = re.compile(
    r"(?P<quoted>'(?:[^']|'')*')|(?P<token>yyyy|YYYY|yy|MMMM|MMM|MM|M|dd|DD|d|HH|H|hh|h|mm|ss|SSS|a|EEEE|EEE|ZZ)|(?P<other>.)",
    re.DOTALL,
)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-z]+)\s*")
_ISO_DURATION = re.compile(
    r"P(?:([\d.]+)Y)?(?:([\d.]+)M)?(?:([\d.]+)W)?(?:([\d.]+)D)?(?:T(?:([\d.]+)H)?(?:([\d.]+)M)?(?:([\d.]+)S)?)?",
    re.ASCII,
)
_OFFSET = re.compile(r"Z|([+-])([0-9]{2}):?([0-9]{2})?")


# -- moments


SLOW = 16
"""What is done with a moment takes as long as so many steps."""


def moment(work: Work) -> datetime:
    """Now. For one evaluation it is one moment."""
    if work.clock is None:
        work.clock = datetime.now().astimezone()
    found: datetime = work.clock
    return found


def read(value: str | int | float | None) -> datetime | None:
    """A moment in the zone of this machine; None for what is none."""
    if value is None:
        return None
    try:
        if not isinstance(value, str):
            return (_EPOCH + timedelta(milliseconds=value)).astimezone()
        said = value.strip()
        if len(said) > 40 or not said.isascii():
            return None
        return local(datetime.fromisoformat(said))
    except _BAD:
        return None


def local(at: datetime) -> datetime:
    """A moment, or what the clock here shows, in the zone of this machine. What the clock leaves out is as much later."""
    if at.tzinfo is None:
        # `astimezone` takes the offset of what it finds for what the clock leaves out, and is an hour early.
        seconds = at.replace(microsecond=0).timestamp()  # which is a float, and has no room for more
        at = _EPOCH + timedelta(seconds=seconds, microseconds=at.microsecond)
    return at.astimezone()


def written(at: datetime | None) -> str | None:
    """A moment as text."""
    return None if at is None else at.isoformat(timespec="milliseconds")


def _unit(name: str, said: str, argument: str = "unit") -> str:
    found = _SHORT.get(said, said.lower().removesuffix("s"))
    if found not in UNITS:
        raise wrong(name, argument, f"must be one of {', '.join(UNITS)}, not {said[:40]!r}")
    return found


@function("now", pure=False, steps=3)
def now(work: Work) -> str | None:
    """This moment, such as 2026-11-23T09:30:00.123+01:00. In one expression all are the same."""
    return written(moment(work))


@function("date", pure=False, steps=6)
def date(work: Work, fmt: Text = "yyyy-MM-dd") -> str:
    """Today's date, such as 2026-11-23."""
    return formatted(work, moment(work), fmt)


@function("time", pure=False, steps=6)
def time(work: Work, fmt: Text = "HH:mm:ss") -> str:
    """The time of day, such as 09:30:00."""
    return formatted(work, moment(work), fmt)


@function("timestamp", pure=False, steps=6)
def timestamp(work: Work, t: Time | None = MISSING) -> int | None:
    """Milliseconds since 1970: of a moment, or of this one where none is given."""
    at = moment(work) if t is MISSING else read(t)
    return None if at is None else (at - _EPOCH) // timedelta(milliseconds=1)


@function("from_timestamp", steps=8)
def from_timestamp(work: Work, ms: Time) -> str | None:
    """The moment that is so many milliseconds behind the beginning of 1970."""
    return written(read(ms))


# -- text


@function("format_date", steps=12)
def format_date(work: Work, t: Time, fmt: Text = "yyyy-MM-dd") -> str | None:
    """A moment in other words: yyyy yy MMMM MMM MM M dd d EEEE EEE HH H hh h mm ss SSS a ZZ, and text in '...'.

    YYYY and DD are yyyy and dd. `''` is one quote; all other characters are as they are.
    """
    work.step(SLOW)
    at = read(t)
    return None if at is None else formatted(work, at, fmt)


def formatted(work: Work, at: datetime, fmt: str) -> str:
    """A moment in the words of `fmt`."""
    work.step(len(fmt) // 4)
    return "".join(_said(at, found) for found in _TOKEN.finditer(fmt))


def _said(at: datetime, found: re.Match[str]) -> str:
    if found["quoted"]:
        return found["quoted"][1:-1].replace("''", "'") or "'"
    return _WORDS[found["token"]](at) if found["token"] else found["other"]


def _zone(at: datetime) -> str:
    return at.isoformat()[-6:] if at.utcoffset() is not None else ""


_WORDS: dict[str, Callable[[datetime], str]] = {
    "yyyy": lambda at: f"{at.year:04}",
    "YYYY": lambda at: f"{at.year:04}",
    "yy": lambda at: f"{at.year % 100:02}",
    "MMMM": lambda at: MONTHS[at.month - 1],
    "MMM": lambda at: MONTHS[at.month - 1][:3],
    "MM": lambda at: f"{at.month:02}",
    "M": lambda at: str(at.month),
    "dd": lambda at: f"{at.day:02}",
    "DD": lambda at: f"{at.day:02}",
    "d": lambda at: str(at.day),
    "HH": lambda at: f"{at.hour:02}",
    "H": lambda at: str(at.hour),
    "hh": lambda at: f"{(at.hour - 1) % 12 + 1:02}",
    "h": lambda at: str((at.hour - 1) % 12 + 1),
    "mm": lambda at: f"{at.minute:02}",
    "ss": lambda at: f"{at.second:02}",
    "SSS": lambda at: f"{at.microsecond // 1000:03}",
    "a": lambda at: "AM" if at.hour < 12 else "PM",
    "EEEE": lambda at: DAYS[at.weekday()],
    "EEE": lambda at: DAYS[at.weekday()][:3],
    "ZZ": lambda at: _zone(at),
}


@function("parse_date", pure=False, steps=25)
def parse_date(work: Work, s: Time, fmt: Text | None = None) -> str | None:
    """The moment that text says in the words of `fmt`, or in ISO 8601; null where it does not.

    What is not said is the first of its kind, but the year, which is this one, and the date, if nothing of it is said: today.
    """
    work.step(2 * SLOW)
    if fmt is None:
        return written(read(s))
    try:
        return written(_Reader(s).read(fmt, moment(work))) if isinstance(s, str) else None
    except _BAD:
        return None


class _Reader:
    """Reads text by tokens, from left to right: each takes what it can."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[str, int] = {}

    def read(self, fmt: str, today: datetime) -> datetime:
        for each in _TOKEN.finditer(fmt):
            if each["token"]:
                self._token(each["token"])
            else:
                self._literal(_said(today, each))
        if self.at != len(self.text):
            raise ValueError("there is more")
        return self._made(today)

    def _literal(self, said: str) -> None:
        if not self.text.startswith(said, self.at):
            raise ValueError(f"{said} is missing")
        self.at += len(said)

    def _token(self, token: str) -> None:
        match token:
            case "MMMM" | "MMM" | "EEEE" | "EEE":
                names = MONTHS if token[0] == "M" else DAYS
                words = [name.lower() if len(token) == 4 else name[:3].lower() for name in names]
                said = self.text[self.at : self.at + 9].lower()
                place = next(place for place, word in enumerate([*words, ""]) if said.startswith(word))
                if place == len(words):
                    raise ValueError("no such name")
                self.at += len(words[place])
                if token[0] == "M":
                    self.found["M"] = place + 1
            case "a":
                said = self.text[self.at : self.at + 2].lower()
                if said not in ("am", "pm"):
                    raise ValueError("neither AM nor PM")
                self.at += 2
                self.found["a"] = said == "pm"
            case "ZZ":
                zone = _OFFSET.match(self.text, self.at)
                if zone is None:
                    raise ValueError("no offset")
                self.at = zone.end()
                minutes = int(zone[2] or 0) * 60 + int(zone[3] or 0)
                self.found["Z"] = -minutes if zone[1] == "-" else minutes
            case _:
                self.found[token] = self._digits(token)

    def _digits(self, token: str) -> int:
        most = 4 if token in ("yyyy", "YYYY") else 3 if token == "SSS" else 2
        least = 1 if len(token) == 1 else most
        end = self.at
        while end < len(self.text) and end - self.at < most and self.text[end] in "0123456789":
            end += 1
        if end - self.at < least:
            raise ValueError("digits are missing")
        said, self.at = self.text[self.at : end], end
        return int(said)

    def _made(self, today: datetime) -> datetime:
        month, day, year = (self._first(*names) for names in (("M", "MM"), ("d", "dd", "DD"), ("yyyy", "YYYY")))
        if "yy" in self.found and year is None:
            # As in the C library: 69 to 99 are of the last century.
            year = self.found["yy"] + (2000 if self.found["yy"] < 69 else 1900)
        if year is None:
            if month is None and day is None:
                month, day = today.month, today.day
            year = today.year
        hour = self._first("HH", "H")
        if hour is None:
            hour = self._first("hh", "h") or 0
            if "a" in self.found:
                if not 1 <= hour <= 12:
                    raise ValueError("no such hour")
                hour = hour % 12 + 12 * self.found["a"]
        minute, second, ms = (self._first(name) or 0 for name in ("mm", "ss", "SSS"))
        made = datetime(year, 1 if month is None else month, 1 if day is None else day, hour, minute, second, 1000 * ms)
        if "Z" in self.found:
            made = made.replace(tzinfo=timezone(timedelta(minutes=self.found["Z"])))
        return local(made)

    def _first(self, *names: str) -> int | None:
        return next((self.found[name] for name in names if name in self.found), None)


# -- durations


def _parts(said: Any) -> dict[str, float] | None:
    """How much of each unit a duration has; None for what is none. A number is milliseconds."""
    if said is None or isinstance(said, bool):
        return None
    if isinstance(said, (int, float)):
        return {"millisecond": said} if math.isfinite(said) else None
    text = said.strip()
    sign = -1.0 if text.startswith("-") else 1.0
    text = text.lstrip("+-") if text[:1] in "+-" else text
    if len(text) > 100 or not text.isascii():
        return None
    try:
        found = _iso(text) if text.startswith("P") else _short(text)
    except ValueError:
        return None
    return {unit: sign * value for unit, value in found.items()}


def _iso(text: str) -> dict[str, float]:
    match = _ISO_DURATION.fullmatch(text)
    if match is None or not any(match.groups()) or text.endswith("T"):
        raise ValueError("no duration")
    units = ("year", "month", "week", "day", "hour", "minute", "second")
    return {unit: float(said) for unit, said in zip(units, match.groups(), strict=True) if said}


def _short(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    at = 0
    if text.replace(".", "", 1).isdigit():
        return {"millisecond": float(text)}
    while at < len(text):
        match = _DURATION.match(text, at)
        if match is None:
            raise ValueError("no duration")
        unit = _SHORT.get(match[2], match[2].removesuffix("s"))
        if unit not in UNITS:
            raise ValueError("no such unit")
        found[unit] = found.get(unit, 0) + float(match[1])
        at = match.end()
    if not found:
        raise ValueError("no duration")
    return found


@function("duration", charged=True, steps=6)
def duration(work: Work, s: Time) -> float | int | None:
    """Milliseconds of a duration: 500ms 5s 1m 2h 1d 1w, several such as 1h30m, or ISO 8601 such as PT5S; a number is milliseconds.

    Null for what is none, and for months and years, which are not all as long.
    """
    parts = _parts(s)
    if parts is None or "month" in parts or "year" in parts:
        return None
    total = sum(_MS[unit] * value for unit, value in parts.items())
    return round(total) if abs(total) < 2**53 else None


@function("add_time", steps=25)
def add_time(work: Work, t: Time, duration: Anything) -> str | None:
    """The moment behind another one by a duration: "90m", "1d12h", "2w", "1mo", "1y", "-1d", or milliseconds.

    Days, weeks, months and years keep the time of the clock (a day that the clock is put forward has 23 hours), and a day that a
    month does not have is its last one. Hours, minutes and seconds are as long as they always are.
    """
    work.step(SLOW)
    return _moved("add_time", t, duration, 1)


@function("subtract_time", steps=25)
def subtract_time(work: Work, t: Time, duration: Anything) -> str | None:
    """The moment before another one by a duration; see add_time."""
    work.step(SLOW)
    return _moved("subtract_time", t, duration, -1)


def _moved(name: str, t: Any, said: Any, sign: int) -> str | None:
    if not isinstance(said, (str, int, float, type(None))) or isinstance(said, bool):
        raise wrong(name, "duration", "must be a duration such as 1h30m, or milliseconds")
    at, parts = read(t), _parts(said)
    if at is None or parts is None:
        return None
    months = sign * (12 * parts.get("year", 0) + parts.get("month", 0))
    days = sign * (7 * parts.get("week", 0) + parts.get("day", 0))
    rest = sign * sum(
        _MS[unit] * value for unit, value in parts.items() if unit in ("hour", "minute", "second", "millisecond")
    )
    whole = math.trunc(days)
    rest += (days - whole) * _MS["day"]  # half a day is twelve hours
    try:
        if months != int(months):
            return None
        if months or whole:
            at = local(_months_later(at.replace(tzinfo=None), int(months)) + timedelta(days=whole))
        return written((at.astimezone(UTC) + timedelta(milliseconds=rest)).astimezone())
    except _BAD:
        return None


def _months_later(at: datetime, months: int) -> datetime:
    year, month = divmod(12 * at.year + at.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise ValueError("no such year")
    return at.replace(year=year, month=month + 1, day=min(at.day, calendar.monthrange(year, month + 1)[1]))


@function("diff", steps=15)
def diff(work: Work, a: Time | None, b: Time | None, unit: Text = "days") -> int | None:
    """How much later `a` is than `b`: `diff(now(), start, "hours")` is how long ago the start was. Whole units, cut off towards 0.

    Days, weeks, months and years are counted by the clock: from noon to noon is a day, also where the clock is put forward.
    """
    work.step(SLOW)
    name = _unit("diff", unit)
    one, other = read(a), read(b)
    if one is None or other is None:
        return None
    if name in ("month", "year"):
        months = _months_between(one.replace(tzinfo=None), other.replace(tzinfo=None))
        return months if name == "month" else int(months / 12)
    if name in ("day", "week"):
        one, other = one.replace(tzinfo=None), other.replace(tzinfo=None)
    between, size = one - other, timedelta(milliseconds=_MS[name])
    return between // size if between >= timedelta() else -(-between // size)


def _months_between(a: datetime, b: datetime) -> int:
    if a < b:
        return -_months_between(b, a)
    months = 12 * (a.year - b.year) + a.month - b.month
    try:
        return months - (_months_later(b, months) > a)
    except ValueError:  # beyond the last year
        return months


# -- parts


@function("start_of", steps=15)
def start_of(work: Work, t: Time, unit: Text) -> str | None:
    """The first moment of its second, minute, hour, day, week (which begins on Monday), month or year."""
    work.step(SLOW)
    at = read(t)
    name = _unit("start_of", unit)
    try:
        return None if at is None else written(_start(at, name))
    except _BAD:
        return None


@function("end_of", steps=20)
def end_of(work: Work, t: Time, unit: Text) -> str | None:
    """The last millisecond of its second, minute, hour, day, week (which ends on Sunday), month or year."""
    work.step(SLOW)
    at = read(t)
    name = _unit("end_of", unit)
    if at is None:
        return None
    try:
        start = _start(at, name)
        if name in ("second", "minute", "hour", "millisecond"):
            return written(start + timedelta(milliseconds=_MS[name] - 1))
        plain = start.replace(tzinfo=None)
        if name in ("day", "week"):
            plain += timedelta(days=7 if name == "week" else 1)
        else:
            plain = _months_later(plain, 12 if name == "year" else 1)
        return written((local(plain) - timedelta(milliseconds=1)).astimezone())
    except _BAD:
        return None


def _start(at: datetime, name: str) -> datetime:
    place = UNITS.index(name)
    at = at.replace(microsecond=at.microsecond // 1000 * 1000 if place == 0 else 0)
    if place < 4:  # the offset stays, also in an hour that the clock shows twice
        return at.replace(minute=0 if place > 2 else at.minute, second=0 if place > 1 else at.second)
    at = at.replace(hour=0, minute=0, second=0, tzinfo=None)
    if name == "week":
        at -= timedelta(days=at.weekday())
    elif name != "day":
        at = at.replace(month=1 if name == "year" else at.month, day=1)
    return local(at)


_PARTS: dict[str, Callable[[datetime], int]] = {
    "year": lambda at: at.year,
    "month": lambda at: at.month,
    "day": lambda at: at.day,
    "hour": lambda at: at.hour,
    "minute": lambda at: at.minute,
    "second": lambda at: at.second,
    "millisecond": lambda at: at.microsecond // 1000,
    "weekday": lambda at: at.isoweekday(),
    "week": lambda at: at.isocalendar().week,
    "quarter": lambda at: (at.month + 2) // 3,
    "yearday": lambda at: at.timetuple().tm_yday,
}


@function("get_part", steps=6)
def get_part(work: Work, t: Time, part: Text) -> int | None:
    """A part as a number: year, month (1 to 12), day, hour, minute, second, millisecond, weekday (Monday is 1), week (of ISO 8601), quarter, yearday."""
    said = part.lower()
    found = _PARTS.get(said) or _PARTS.get(said.removesuffix("s"))
    if found is None:
        raise wrong("get_part", "part", f"must be one of {', '.join(_PARTS)}, not {part[:40]!r}")
    at = read(t)
    return None if at is None else found(at)


@function("is_before", steps=8)
def is_before(work: Work, a: Time | None, b: Time | None) -> bool | None:
    """Is `a` an earlier moment than `b`? Null where one is none."""
    one, other = read(a), read(b)
    return None if one is None or other is None else one < other


@function("is_after", steps=8)
def is_after(work: Work, a: Time | None, b: Time | None) -> bool | None:
    """Is `a` a later moment than `b`? Null where one is none."""
    one, other = read(a), read(b)
    return None if one is None or other is None else one > other


@function("relative", pure=False, steps=8)
def relative(work: Work, t: Time) -> str | None:
    """How far from now: "3 hours ago", "in 2 days", "now". A month has 30 days there, and a year 365."""
    at = read(t)
    if at is None:
        return None
    seconds = (at - moment(work)).total_seconds()
    for name, size in (
        ("year", 31_536_000),
        ("month", 2_592_000),
        ("day", 86_400),
        ("hour", 3_600),
        ("minute", 60),
        ("second", 1),
    ):
        number = int(abs(seconds) / size)
        if number:
            words = f"{number} {name}{'s' if number > 1 else ''}"
            return f"in {words}" if seconds > 0 else f"{words} ago"
    return "now"
