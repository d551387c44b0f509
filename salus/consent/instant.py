"""FHIR dateTime and RFC 3339 as Unix milliseconds, without the library that also reads clocks."""

import re
from typing import NamedTuple

from salus.errors import BadMessage

_FORM = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d))?)?)?",
    re.ASCII,
)
_DAY_MS = 86_400_000
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Span(NamedTuple):
    """All moments that a text may mean: «2019» is a year. Negative before 1970."""

    first_ms: int
    end_ms: int  # the first millisecond after


def parse_instant(text: str) -> int:
    """RFC 3339 with seconds and zone → its first millisecond; raises `BadMessage`."""
    span = parse_span(text)
    if "T" not in text:
        raise _bad()
    return span.first_ms


def parse_span(text: str) -> Span:
    """FHIR dateTime, also partial; what has no zone is UTC. Raises `BadMessage` (BAD_ARGUMENT)."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise _bad()
    year, month, day = (int(part or 0) for part in found.group(1, 2, 3))
    if not year or (found[2] is not None and not 1 <= month <= 12):
        raise _bad()
    if found[2] is None:
        return Span(_day(year, 1, 1) * _DAY_MS, _day(year + 1, 1, 1) * _DAY_MS)
    if found[3] is None:
        after = (year + month // 12, month % 12 + 1)
        return Span(_day(year, month, 1) * _DAY_MS, _day(*after, 1) * _DAY_MS)
    if not 1 <= day <= _DAYS[month - 1] + (month == 2 and _leap(year)):
        raise _bad()
    start = _day(year, month, day) * _DAY_MS
    if found[4] is None:
        return Span(start, start + _DAY_MS)
    hour, minute, second = (int(part) for part in found.group(4, 5, 6))
    if hour > 23 or minute > 59 or second > 60:  # 60: a leap second counts as the next one
        raise _bad()
    start += ((hour * 60 + minute) * 60 + second) * 1000 - _offset_ms(found[8])
    if found[7] is None:
        return Span(start, start + 1000)
    start += int(found[7][1:4].ljust(3, "0"))
    return Span(start, start + 1)


def _offset_ms(zone: str) -> int:
    if zone == "Z":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 14 or minutes > 59:
        raise _bad()
    return (hours * 60 + minutes) * 60_000 * (-1 if zone[0] == "-" else 1)


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _day(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 (H. Hinnant's rule, the inverse of salus/report.py's)."""
    year -= month <= 2
    days = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return year // 400 * 146_097 + (
        year % 400 * 365 + year % 400 // 4 - year % 400 // 100 + days - 719_468
    )


def _bad() -> BadMessage:
    return BadMessage("expected a date and time like 2026-01-31T12:00:00Z", code="BAD_ARGUMENT")
