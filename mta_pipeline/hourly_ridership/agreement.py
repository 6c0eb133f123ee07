"""How well estimates agree with what the MTA publishes: per week in the whole subway, and where they do least."""

from typing import Final

import polars as pl

RATIO: Final = (0.98, 1.02)
"""Between these the subway's estimate ÷ published lies in a week when all is well."""

CORRELATION: Final = 0.995
"""Over the complexes of a week, no less than this."""

LEAST_PUBLISHED: Final = 1_000
"""Riders a week that a complex needs to be among the worst: of few riders, a few are many per cent."""


def by_week(reconciliation: pl.DataFrame) -> pl.DataFrame:
    """Per week, in order: week, complexes, days (of the complex with most), ridership_estimate, published, ratio,
    correlation (over complexes; null of less than three).

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
    """The complexes whose estimates lie furthest from what is published, over all weeks: complex_id, name,
    ridership_estimate, published, ratio, coverage (of their worst week)."""
    return (
        reconciliation.group_by("complex_id", "name")
        .agg(pl.col("ridership_estimate", "published").sum(), pl.col("coverage").min(), weeks=pl.len())
        .filter(pl.col("published") >= LEAST_PUBLISHED * pl.col("weeks"))
        .with_columns(ratio=pl.col("ridership_estimate") / pl.col("published"))
        .sort((pl.col("ratio") - 1).abs(), "complex_id", descending=[True, False])
        .head(most)
        .select("complex_id", "name", "ridership_estimate", "published", "ratio", "coverage")
    )
