"""Sums the portal's rows to subway ridership per station complex and hour."""

import polars as pl

from mta_pipeline.hourly_ridership.contract import COMPLEX_HOURLY_PUBLISHED, OMNY, SUBWAY
from mta_pipeline.sources.socrata.staging import hours_of
from mta_pipeline.weeks import week_start


def complex_hourly_published(staged: pl.DataFrame) -> pl.DataFrame:
    """Return the table complex_hourly_published: a week's staged rows summed per complex and hour, subway only."""
    riders = pl.col("ridership")
    return (
        staged.lazy()
        .filter(is_subway())
        .group_by(
            complex_id=pl.col("station_complex_id").cast(pl.Int32, strict=False),
            hour=pl.col("transit_timestamp").dt.truncate("1h"),
        )
        .agg(
            pl.col("ridership", "transfers").sum(),
            omny_ridership=riders.filter(pl.col("payment_method") == OMNY).sum(),
        )
        .with_columns(omny_share=share())
        .sort("complex_id", "hour")
        .select(*COMPLEX_HOURLY_PUBLISHED.schema)
        .collect()
    )


def on_complete_days(published: pl.DataFrame) -> pl.DataFrame:
    """Return riders by complex and date: complex_id, date, ridership, omny_ridership.

    Only dates of which every hour is published, and complexes with a number.

    Args:
        published: a week of complex_hourly_published.
    """
    dated = published.with_columns(date=pl.col("hour").dt.date())
    complete = [
        day for (day,), rows in dated.group_by("date") if rows["hour"].n_unique() == hours_of(day, days=1).len()
    ]
    return (
        dated.filter(pl.col("complex_id").is_not_null(), pl.col("date").is_in(complete))
        .group_by("complex_id", "date")
        .agg(pl.col("ridership", "omny_ridership").sum())
    )


def is_subway() -> pl.Expr:
    """Whether a staged row counts in subway figures."""
    return pl.col("transit_mode") == SUBWAY


def share() -> pl.Expr:
    """Share of riders who tapped OMNY, 0 to 1; null if there are no riders."""
    return (pl.col("omny_ridership") / pl.col("ridership")).fill_nan(None)


def hours_missing(published: pl.DataFrame, week: str) -> list[str]:
    """Return the hours of a week without any rider in the whole subway. The MTA has not published these hours yet."""
    absent = (
        hours_of(week_start(week))
        .to_frame()
        .join(published.filter(pl.col("ridership") > 0).select("hour"), on="hour", how="anti")
    )
    return absent["hour"].dt.to_string("%Y-%m-%d %H:%M").to_list()


def unknown_complexes(published: pl.DataFrame, station_complexes: pl.DataFrame) -> pl.DataFrame:
    """Return the complexes that station_complexes lacks, including null: complex_id and ridership, sorted."""
    return (
        published.join(station_complexes, on="complex_id", how="anti")
        .group_by("complex_id")
        .agg(pl.col("ridership").sum())
        .sort("complex_id")
    )
