"""The yearly data sets of a sample: the readings of its weekly files as the State's portal publishes them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import polars as pl

from mta_pipeline.sources.socrata.dataset import SodaSource
from mta_pipeline.turnstile.header import COLUMNS
from mta_pipeline.turnstile.parsing import parse

FIELDS: Final = (
    "c_a", "unit", "scp", "station", "line_name", "division", "date", "time", "description", "entries", "exits",
)  # fmt: skip
"""The portal's names of the published columns, in the same order."""


def usage_rows(texts: Iterable[bytes]) -> pl.DataFrame:
    """Return the rows of modern weekly files in the form of the portal: FIELDS, registers without leading zeros.

    `date` is a timestamp at midnight, and all other columns are text.
    """
    names = dict(zip(COLUMNS, FIELDS, strict=True))
    frames = [parse(text, "sample").frame.select(*COLUMNS).rename(names) for text in texts]
    return pl.concat(frames).with_columns(
        pl.col("date").str.to_datetime("%m/%d/%Y", time_unit="us"),
        pl.col("entries", "exits").cast(pl.Int64).cast(pl.String),
    )


def usage_data_sets(rows: pl.DataFrame, sources: Sequence[SodaSource]) -> Mapping[str, pl.DataFrame]:
    """Return the rows by the data set that can hold their date. A data set without rows is left out."""
    day = pl.col("date").dt.date()
    found = {source.id: rows.filter(day.is_between(source.first or day, source.last or day)) for source in sources}
    return {name: of_source for name, of_source in found.items() if len(of_source)}
