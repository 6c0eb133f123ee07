"""Booths and station complexes: the reference data we ship, and the booths that it lacks.

How the data is compiled from the MTA's lists does not belong here: see tools/compile_reference.py.
"""

from collections.abc import Mapping
from importlib.resources import files

import polars as pl

from mta_pipeline.turnstile import reference
from mta_pipeline.turnstile.contract import CONTROL_AREAS, STATION_COMPLEXES

_BOOTH = ("control_area", "unit")


def control_areas() -> pl.DataFrame:
    """Every known booth, one row per (control_area, unit), in the contract's schema and sorted."""
    return _read("control_areas.csv", CONTROL_AREAS.schema)


def station_complexes() -> pl.DataFrame:
    """Every station complex, one row each, in the contract's schema and sorted."""
    return _read("station_complexes.csv", STATION_COMPLEXES.schema)


def unknown_booths(readings: pl.DataFrame, control_areas: pl.DataFrame) -> pl.DataFrame:
    """The booths that occur in readings and not in control_areas, sorted.

    One row per (control_area, unit), with the first station, line_name and division that the readings give it (null
    where they give none) and their number in `readings`. A booth that is known to have no complex is not unknown.
    """
    return (
        readings.join(control_areas, on=_BOOTH, how="anti")
        .group_by(_BOOTH)
        .agg(pl.col("station", "line_name", "division").drop_nulls().first(), pl.len().cast(pl.Int64).alias("readings"))
        .sort(_BOOTH)
    )


def _read(name: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return pl.read_csv(files(reference).joinpath(name).read_bytes(), schema=schema)
