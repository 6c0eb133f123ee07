"""Compares the estimates with the ridership that the MTA publishes: per week for the whole subway, and per complex."""

from typing import Final

import polars as pl

RATIO: Final = (0.98, 1.02)
"""Normal range of a week's estimate ÷ published, for the whole subway."""

CORRELATION: Final = 0.995
"""Minimum correlation over the complexes of a week."""

LEAST_PUBLISHED: Final = 1_000
"""Minimum published riders per week for a complex in `worst`. With few riders, a small difference is a large ratio."""


def by_week(reconciliation: pl.DataFrame) -> pl.DataFrame:
    """Return one row per week, in order: week, complexes, days, ridership_estimate, published, ratio, correlation.

    `days` is the largest number of days of any complex. `ratio` is null if nothing is published, and `correlation`
    (over complexes) is null with fewer than three complexes.

    Args:
        reconciliation: the mart ridership_reconciliation.
    """
    pair = ("ridership_estimate", "published")
    return (
        reconciliation.sort("week", "complex_id")
        .group_by("week", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("complexes"),
            pl.col("days").max(),
            pl.col(pair).sum(),
            ratio=pl.col("ridership_estimate").sum() / pl.col("published").sum(),
            correlation=pl.when(pl.len() >= 3).then(pl.corr(*pair)).fill_nan(None),
        )
        .with_columns(pl.col("ratio").replace([float("inf")], [None]).fill_nan(None))
    )


def worst(reconciliation: pl.DataFrame, most: int = 10) -> pl.DataFrame:
    """Return the `most` complexes whose ratio over all weeks is furthest from 1, the furthest first.

    Columns: complex_id, name, ridership_estimate, published, ratio, and coverage (the lowest of any week). Complexes
    with fewer than `LEAST_PUBLISHED` riders per week are left out.
    """
    return (
        reconciliation.group_by("complex_id", "name")
        .agg(pl.col("ridership_estimate", "published").sum(), pl.col("coverage").min(), weeks=pl.len())
        .filter(pl.col("published") >= LEAST_PUBLISHED * pl.col("weeks"))
        .with_columns(ratio=pl.col("ridership_estimate") / pl.col("published"))
        .sort((pl.col("ratio") - 1).abs(), "complex_id", descending=[True, False])
        .head(most)
        .select("complex_id", "name", "ridership_estimate", "published", "ratio", "coverage")
    )
