"""The weekly partitions that all partitioned assets and checks share."""

import datetime as dt

import dagster as dg

from mta_pipeline import weeks


def calendar(last_week: dt.date | None = None) -> dg.WeeklyPartitionsDefinition:
    """The weeks that have ended, from the first on; up to `last_week` if there is one.

    Every partitioned asset of a deployment shares the one that is made here.
    """
    return dg.WeeklyPartitionsDefinition(
        start_date=weeks.FIRST_WEEK,
        end_date=None if last_week is None else (last_week + weeks.ONE_WEEK).isoformat(),
        timezone=weeks.NEW_YORK,
        day_offset=6,
    )
