"""Weeks: the partition keys of all weekly assets, and their conversion to and from file names.

The key of a week is the Saturday on which it starts (`2024-01-06`). The name of its file has the date of the next
Saturday (`turnstile_240113.txt`).
"""

import datetime as dt
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable


FIRST_WEEK: Final = "2010-05-01"
LAST_YEAR: Final = 2059
"""The date in a file name has two digits for the year. Later years are not of this calendar."""
ONE_WEEK: Final = dt.timedelta(days=7)
NEW_YORK: Final = "America/New_York"
_FILE_NAME = re.compile(r"turnstile_([0-9]{6})\.txt(?:\.gz|\.zip)?")


def week_start(week: str) -> dt.date:
    """Return the Saturday that a week key names."""
    return dt.date.fromisoformat(week)


def is_week(key: str) -> bool:
    """Whether a text is the key of a week."""
    try:
        return week_start(key).isoweekday() == 6 and week_start(key).isoformat() == key
    except ValueError:
        return False


def saturday(day: dt.date) -> str:
    """Return the key of the week of a day."""
    return (day - dt.timedelta((day.isoweekday() + 1) % 7)).isoformat()


def week_before(week: str) -> str:
    """Return the key of the week before. A week's traffic starts from its last readings (rule 3)."""
    return (week_start(week) - ONE_WEEK).isoformat()


def week_after(week: str) -> str:
    """Return the key of the week after."""
    return (week_start(week) + ONE_WEEK).isoformat()


def file_name(week: str) -> str:
    """Return the MTA's name of a week's file: `turnstile_YYMMDD.txt`, with the Saturday on which the week ends."""
    return f"turnstile_{week_start(week) + ONE_WEEK:%y%m%d}.txt"


def week_of_file(name: str) -> str | None:
    """Return the week of a file name (.txt, .txt.gz or .txt.zip), or None if it is no name of a regular weekly file."""
    end = _saturday_in(name)
    return None if end is None or is_outside_calendar(name) else (end - ONE_WEEK).isoformat()


def is_outside_calendar(name: str) -> bool:
    """Whether a file has the name of a weekly file, with a date before the first week or after `LAST_YEAR`."""
    end = _saturday_in(name)
    return end is not None and not week_start(FIRST_WEEK) + ONE_WEEK <= end <= dt.date(LAST_YEAR, 12, 31)


def _saturday_in(name: str) -> dt.date | None:
    match = _FILE_NAME.fullmatch(name)
    try:
        day = match and dt.date.fromisoformat(f"20{match[1]}")
    except ValueError:
        return None
    return day if day and day.isoweekday() == 6 else None


def weeks_between(first: str, last: str) -> list[str]:
    """Return the keys of all weeks from first to last, both included. Empty if last is before first."""
    days = (week_start(last) - week_start(first)).days
    return [(week_start(first) + n * ONE_WEEK).isoformat() for n in range(days // 7 + 1)]


def contiguous_ranges(weeks: "Iterable[str]", *, at_most: int | None = None) -> list[tuple[str, str]]:
    """Return the first and last week of each range of consecutive weeks, in order.

    `at_most` limits the number of weeks per range. Longer ranges are split.
    """
    ranges: list[list[str]] = []
    for week in sorted(weeks):
        if ranges and week_after(ranges[-1][-1]) == week and (at_most is None or len(ranges[-1]) < at_most):
            ranges[-1].append(week)
        else:
            ranges.append([week])
    return [(members[0], members[-1]) for members in ranges]
