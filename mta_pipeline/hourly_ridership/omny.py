"""Computes the share of riders who tap OMNY, by complex and month, and its variation (rule 8)."""

from collections.abc import Iterable
from typing import Final

import polars as pl

from mta_pipeline.hourly_ridership.contract import OMNY_SHARE
from mta_pipeline.hourly_ridership.published import share

LOW, HIGH = 0.05, 0.95
"""Quantiles of share_low and share_high: one day, or complex, in twenty lies beyond each."""

_SUMS: Final = ("ridership", "omny_ridership")


def omny_share(weeks: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return the table omny_share, from weeks of complex_hourly_published. Reads each week once.

    Riders without a numeric complex_id count in the rows of the whole subway only.
    """
    daily = [week.group_by("complex_id", date=pl.col("hour").dt.date()).agg(pl.col(_SUMS).sum()) for week in weeks]
    if not daily:
        return pl.DataFrame(schema=dict(OMNY_SHARE.schema))
    days = pl.concat(daily).with_columns(month=pl.col("date").dt.truncate("1mo"))
    subway_days = days.group_by("month").agg(days=pl.col("date").n_unique())
    complexes = (
        days.filter(pl.col("complex_id").is_not_null())
        .with_columns(omny_share=share())
        .group_by("complex_id", "month")
        .agg(pl.len().alias("days"), pl.col(_SUMS).sum(), **_spread())
        .with_columns(omny_share=share())
    )
    subway = (
        days.group_by("month")
        .agg(pl.col(_SUMS).sum())
        .with_columns(pl.lit(None, pl.Int32).alias("complex_id"), omny_share=share())
        .join(subway_days, on="month")
        .join(complexes.group_by("month").agg(**_spread()), on="month", how="left")
    )
    columns = [pl.col(name).cast(dtype) for name, dtype in OMNY_SHARE.schema.items()]
    return pl.concat([subway.select(columns), complexes.select(columns)]).sort("month", "complex_id")


def _spread() -> dict[str, pl.Expr]:
    """Quantiles without interpolation: they are values that occur."""
    return {
        "share_low": pl.col("omny_share").quantile(LOW, "nearest"),
        "share_high": pl.col("omny_share").quantile(HIGH, "nearest"),
    }
