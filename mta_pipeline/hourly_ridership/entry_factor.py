"""Computes how many entries registers count per published MetroCard rider, by complex and month (rule 12)."""

from collections.abc import Iterable
from typing import Final

import polars as pl

from mta_pipeline.hourly_ridership.contract import ENTRY_FACTOR, LEAST_COVERAGE
from mta_pipeline.hourly_ridership.omny import HIGH, LOW
from mta_pipeline.hourly_ridership.published import on_complete_days

_SUMS: Final = ("entries", "metrocard_ridership")


def entry_factor(
    daily: Iterable[pl.DataFrame], published: Iterable[pl.DataFrame], whole_days: pl.Series
) -> pl.DataFrame:
    """Return the table entry_factor. Reads each week once.

    Args:
        daily: weeks of complex_daily: those of `published` and the week after each.
        published: weeks of complex_hourly_published.
        whole_days: the dates whose intervals are all in `daily`.
    """
    riders = [on_complete_days(week) for week in published]
    if not riders:
        return pl.DataFrame(schema=dict(ENTRY_FACTOR.schema))
    registers = (
        pl.concat(daily)
        .filter(pl.col("complex_id").is_not_null(), pl.col("service_date").is_in(whole_days.implode()))
        .group_by("complex_id", date="service_date")
        .agg(pl.col("entries", "ok_seconds", "turnstile_seconds").sum())
        .filter(pl.col("ok_seconds") >= LEAST_COVERAGE * pl.col("turnstile_seconds"))
    )
    days = (
        registers.join(pl.concat(riders), on=("complex_id", "date"))
        .with_columns(
            month=pl.col("date").dt.truncate("1mo"),
            metrocard_ridership=pl.col("ridership") - pl.col("omny_ridership"),
        )
        .with_columns(factor=_factor())
    )
    complexes = (
        days.group_by("complex_id", "month")
        .agg(pl.len().alias("days"), pl.col(_SUMS).sum(), **_spread())
        .with_columns(factor=_factor())
    )
    subway = (
        complexes.group_by("month")
        .agg(pl.lit(None, pl.Int32).alias("complex_id"), pl.col(_SUMS).sum(), **_spread())
        .with_columns(factor=_factor())
        .join(days.group_by("month").agg(days=pl.col("date").n_unique()), on="month")
    )
    columns = [pl.col(name).cast(dtype) for name, dtype in ENTRY_FACTOR.schema.items()]
    return pl.concat([subway.select(columns), complexes.select(columns)]).sort("month", "complex_id")


def _factor() -> pl.Expr:
    metrocard = pl.col("metrocard_ridership")
    return pl.when(metrocard > 0).then(pl.col("entries") / metrocard)


def _spread() -> dict[str, pl.Expr]:
    """Quantiles without interpolation: they are values that occur."""
    return {
        "factor_low": pl.col("factor").quantile(LOW, "nearest"),
        "factor_high": pl.col("factor").quantile(HIGH, "nearest"),
    }
