"""Weeks: the one calendar that partitioned assets share, and the way between a week and its file's name.

A week is known by its key, the Saturday it starts on (`2024-01-06`); its file bears the day it ends
(`turnstile_240113.txt`), seven days later. Reading or judging a file does not belong here.
"""

import datetime as dt
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable


FIRST_WEEK: Final = "2010-05-01"
ONE_WEEK: Final = dt.timedelta(days=7)
NEW_YORK: Final = "America/New_York"
_FILE_NAME = re.compile(r"turnstile_([0-9]{6})\.txt(?:\.gz|\.zip)?")


def week_start(week: str) -> dt.date:
    """The Saturday a week key names."""
    return dt.date.fromisoformat(week)


def week_before(week: str) -> str:
    """The key of the week before, whose last readings a week's traffic starts from."""
    return (week_start(week) - ONE_WEEK).isoformat()


def week_after(week: str) -> str:
    """The key of the week after."""
    return (week_start(week) + ONE_WEEK).isoformat()


def file_name(week: str) -> str:
    """The name the MTA gives a week's file: `turnstile_YYMMDD.txt`, by the day the week ends."""
    return f"turnstile_{week_start(week) + ONE_WEEK:%y%m%d}.txt"


def week_of_file(name: str) -> str | None:
    """The week of a file name (plain, .gz or .zip), or None if the name is not that of a regular weekly file."""
    match = _FILE_NAME.fullmatch(name)
    if match is None:
        return None
    try:
        end = dt.datetime.strptime(match[1], "%y%m%d").date()  # noqa: DTZ007  # a day, not a moment
    except ValueError:
        return None
    start = end - ONE_WEEK
    return start.isoformat() if start.isoweekday() == 6 and start.isoformat() >= FIRST_WEEK else None


def weeks_between(first: str, last: str) -> list[str]:
    """The keys of all weeks from first to last, both included; empty if last comes before first."""
    days = (week_start(last) - week_start(first)).days
    return [(week_start(first) + n * ONE_WEEK).isoformat() for n in range(days // 7 + 1)]


def contiguous_ranges(weeks: "Iterable[str]", *, at_most: int | None = None) -> list[tuple[str, str]]:
    """The first and last week of each stretch of consecutive weeks, in order; of `at_most` weeks each if given."""
    found: list[list[str]] = []
    for week in sorted(weeks):
        if found and week_after(found[-1][-1]) == week and (at_most is None or len(found[-1]) < at_most):
            found[-1].append(week)
        else:
            found.append([week])
    return [(stretch[0], stretch[-1]) for stretch in found]
