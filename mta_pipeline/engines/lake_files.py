"""The lake's files for engines: which tables and weeks exist, and the columns of their files."""

from collections.abc import Mapping
from types import MappingProxyType

import polars as pl

from mta_pipeline.lake.storage import part_path, weeks_there
from mta_pipeline.schema import Table
from mta_pipeline.tables import REFERENCE, RIDERSHIP, WEEKLY


class LakeIncompleteError(LookupError):
    """A required table is missing in the lake."""


class EngineMissingError(ImportError):
    """The requested engine, or something that it needs, is not installed."""


def schema(table: Table) -> Mapping[str, pl.DataType]:
    """Return a table's columns as engines see them: `week` first for a weekly table, then the columns of its files."""
    return MappingProxyType({"week": pl.Date(), **table.schema} if table in WEEKLY else dict(table.schema))


def is_there(lake_root: str, table: Table) -> bool:
    """Whether a table has any file.

    Raises:
        LakeIncompleteError: a reference table has no file.
    """
    if table in WEEKLY:
        return bool(weeks_there(lake_root, table.layer, table.name))
    path = part_path(lake_root, table.layer, table.name)
    there = path.exists()
    if table in REFERENCE and not there:
        raise LakeIncompleteError(
            f"{table.layer}/{table.name} is not in the lake: {path} does not exist. Materialize it first: "
            "run the job reference_tables, or make run."
        )
    return there


def weeks_in_lake(lake_root: str) -> set[str]:
    """Return the weeks of which traffic, complex_daily and complex_hourly are all in the lake."""
    return set.intersection(*(weeks_there(lake_root, table.layer, table.name) for table in RIDERSHIP))
