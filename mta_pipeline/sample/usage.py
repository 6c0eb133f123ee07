"""The yearly data sets of a sample: the readings of its weekly files as the State's portal publishes them."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from mta_pipeline.sample.generator import SampleFeed
from mta_pipeline.sources.socrata.dataset import SodaSource
from mta_pipeline.turnstile.header import COLUMNS
from mta_pipeline.turnstile.parsing import parse
from mta_pipeline.weeks import ONE_WEEK, week_start

FIELDS: Final = (
    "c_a", "unit", "scp", "station", "line_name", "division", "date", "time", "description", "entries", "exits",
)  # fmt: skip
"""The portal's names of the published columns, in the same order."""

_ONE_DAY: Final = dt.timedelta(days=1)


def usage_rows(texts: Iterable[bytes]) -> pl.DataFrame:
    """Return the rows of modern weekly files in the form of the portal: FIELDS, registers without leading zeros.

    `date` is a timestamp at midnight, and all other columns are text.
    """
    names = dict(zip(COLUMNS, FIELDS, strict=True))
    frames = [parse(text, "sample").frame.select(*COLUMNS).rename(names) for text in texts]
    return pl.concat([pl.DataFrame(schema=dict.fromkeys(FIELDS, pl.String)), *frames]).with_columns(
        pl.col("date").str.to_datetime("%m/%d/%Y", time_unit="us"),
        pl.col("entries", "exits").cast(pl.Int64).cast(pl.String),
    )


def usage_data_sets(rows: pl.DataFrame, sources: Sequence[SodaSource]) -> Mapping[str, pl.DataFrame]:
    """Return the rows by the data set that can hold their date, for all data sets."""
    day = pl.col("date").dt.date()
    return {source.id: rows.filter(day.is_between(source.first or day, source.last or day)) for source in sources}


def sample_usage(
    feed: SampleFeed, weeks: Iterable[str], sources: Sequence[SodaSource]
) -> tuple[Mapping[str, pl.DataFrame], Sequence[str]]:
    """Return the data sets of a sample feed, and the weeks that they hold completely."""
    held = [week for week in weeks if _days_held(week, sources)]
    rows = usage_rows(made.text for made in replace(feed, layout="modern").stream(held))
    return usage_data_sets(rows, sources), [week for week in held if _days_held(week, sources) == ONE_WEEK.days]


def _days_held(week: str, sources: Sequence[SodaSource]) -> int:
    days = (week_start(week) + n * _ONE_DAY for n in range(ONE_WEEK.days))
    return sum(any(source.overlaps(day, day + _ONE_DAY) for source in sources) for day in days)
