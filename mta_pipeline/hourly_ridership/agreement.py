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
    """Return one row per week, in order.

    Columns: week, complexes, days (the largest number of any complex), ridership_estimate, published, ratio (null if
    nothing is published), correlation (over complexes; null with fewer than three), calibrated_estimate and
    calibrated_ratio (null if that of any complex is unknown), and deviation and calibrated_deviation: the sum of the
    complexes' absolute differences from published ridership ÷ published.

    Args:
        reconciliation: the mart ridership_reconciliation.
    """
    pair = ("ridership_estimate", "published")
    estimates = {"": "ridership_estimate", "calibrated_": "calibrated_estimate"}
    return (
        reconciliation.sort("week", "complex_id")
        .group_by("week", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("complexes"),
            pl.col("days").max(),
            pl.col(pair).sum(),
            known_sum("calibrated_estimate"),
            *(
                known_sum((pl.col(column) - pl.col("published")).abs().alias(f"{of}deviation"))
                for of, column in estimates.items()
            ),
            correlation=pl.when(pl.len() >= 3).then(pl.corr(*pair)).fill_nan(None),
        )
        .with_columns(**{f"{of}ratio": pl.col(column) for of, column in estimates.items()})
        .with_columns(
            pl.when(pl.col("published") > 0).then(pl.col(f"{of}{figure}") / pl.col("published"))
            for of in estimates
            for figure in ("ratio", "deviation")
        )
    )


def worst(reconciliation: pl.DataFrame, most: int = 10) -> pl.DataFrame:
    """Return the `most` complexes whose ratio over all weeks is furthest from 1, the furthest first.

    Columns: complex_id, name, ridership_estimate, published, ratio, calibrated_ratio (null if that of any week is
    unknown), and coverage (the lowest of any week). Complexes with fewer than `LEAST_PUBLISHED` riders per week are
    left out.
    """
    return (
        reconciliation.group_by("complex_id", "name")
        .agg(
            pl.col("ridership_estimate", "published").sum(),
            known_sum("calibrated_estimate"),
            pl.col("coverage").min(),
            weeks=pl.len(),
        )
        .filter(pl.col("published") >= LEAST_PUBLISHED * pl.col("weeks"))
        .with_columns(
            ratio=pl.col("ridership_estimate") / pl.col("published"),
            calibrated_ratio=pl.col("calibrated_estimate") / pl.col("published"),
        )
        .sort((pl.col("ratio") - 1).abs(), "complex_id", descending=[True, False])
        .head(most)
        .select("complex_id", "name", "ridership_estimate", "published", "ratio", "calibrated_ratio", "coverage")
    )


def known_sum(values: str | pl.Expr) -> pl.Expr:
    """The sum, or null if any value is null: a sum would leave it out."""
    column = pl.col(values) if isinstance(values, str) else values
    return pl.when(column.is_not_null().all()).then(column.sum())
