"""The weekly partitions of assets and checks."""

import datetime as dt
from collections.abc import Iterable, Sequence

import dagster as dg

from mta_pipeline import weeks


def calendar(last_week: dt.date | None = None) -> dg.WeeklyPartitionsDefinition:
    """Return the partitions for all weeks that have ended, from the first week on, up to `last_week` if it is given.

    A deployment with a portal has two: that of turnstile data, and that of the portal's other data sets. No asset reads
    both by week.
    """
    return dg.WeeklyPartitionsDefinition(
        start_date=weeks.FIRST_WEEK,
        end_date=None if last_week is None else (last_week + weeks.ONE_WEEK).isoformat(),
        timezone=weeks.NEW_YORK,
        day_offset=6,
    )


def notes_on_later_weeks(available: Iterable[str], calendar: Sequence[str]) -> list[str]:
    """Return a sentence if weeks are available that come after the last one of the calendar, or nothing."""
    later = sum(week > calendar[-1] for week in available) if calendar else 0
    return [
        f"{later:,} available weeks come after the calendar, which ends with {calendar[-1]}: "
        "reload the code location to add them, unless MTA_LAST_WEEK sets the end"
    ] * bool(later)
