"""The weekly partitions that all partitioned assets and checks share."""

import datetime as dt

import dagster as dg

from mta_pipeline import weeks


def calendar(last_week: dt.date | None = None) -> dg.WeeklyPartitionsDefinition:
    """Return the partitions for all weeks that have ended, from the first week on, up to `last_week` if it is given.

    All partitioned assets of a deployment share one such definition.
    """
    return dg.WeeklyPartitionsDefinition(
        start_date=weeks.FIRST_WEEK,
        end_date=None if last_week is None else (last_week + weeks.ONE_WEEK).isoformat(),
        timezone=weeks.NEW_YORK,
        day_offset=6,
    )
