"""Booths and station complexes: reads the reference data, and finds booths that it lacks.

tools/compile_reference.py compiles the reference data from the MTA's lists.
"""

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Final

import polars as pl

from mta_pipeline.turnstile import reference
from mta_pipeline.turnstile.contract import CONTROL_AREAS, STATION_COMPLEXES

_BOOTH = ("control_area", "unit")


def control_areas() -> pl.DataFrame:
    """Return all known booths: one row per (control_area, unit), sorted, with the columns of CONTROL_AREAS."""
    return _read("control_areas.csv", CONTROL_AREAS.schema)


def station_complexes() -> pl.DataFrame:
    """Return all station complexes: one row each, sorted, with the columns of STATION_COMPLEXES."""
    return _read("station_complexes.csv", STATION_COMPLEXES.schema)


REFERENCE_TABLES: Final = MappingProxyType({CONTROL_AREAS: control_areas, STATION_COMPLEXES: station_complexes})
"""The functions that return the tables without weeks, by table."""


def unknown_booths(readings: pl.DataFrame, control_areas: pl.DataFrame) -> pl.DataFrame:
    """Return the booths that occur in `readings` but not in `control_areas`, sorted.

    One row per (control_area, unit), with the first non-null station, line_name and division of its readings (null if
    there is none), and `readings`, the number of its readings. A known booth without a complex is not unknown.
    """
    return (
        readings.join(control_areas, on=_BOOTH, how="anti")
        .group_by(_BOOTH)
        .agg(pl.col("station", "line_name", "division").drop_nulls().first(), pl.len().cast(pl.Int64).alias("readings"))
        .sort(_BOOTH)
    )


def _read(name: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return pl.read_csv(files(reference).joinpath(name).read_bytes(), schema=schema)
