"""The lake as engines find it: which tables there are, which weeks of them, and the pattern their files match."""

from collections.abc import Mapping
from types import MappingProxyType

import polars as pl

from mta_pipeline.lake.storage import part_path, weeks_there
from mta_pipeline.schema import Table
from mta_pipeline.tables import REFERENCE, RIDERSHIP, WEEKLY


class LakeIncompleteError(LookupError):
    """A table that everything needs is not in the lake."""


class EngineMissingError(ImportError):
    """An engine that is asked for is not installed, or what it needs is not."""


def schema(table: Table) -> Mapping[str, pl.DataType]:
    """A table's columns as engines see them: those of its files, after the week of a weekly table."""
    return MappingProxyType({"week": pl.Date(), **table.schema} if table in WEEKLY else dict(table.schema))


def pattern(lake_root: str, table: Table) -> str:
    """The path of a table's file, or what those of its weeks match."""
    return str(part_path(lake_root, table.layer, table.name, "*" if table in WEEKLY else None))


def is_there(lake_root: str, table: Table) -> bool:
    """Whether a table has any file.

    Raises:
        LakeIncompleteError: it has none and should: it is a reference table.
    """
    if table in WEEKLY:
        return bool(weeks_there(lake_root, table.layer, table.name))
    path = part_path(lake_root, table.layer, table.name)
    there = path.exists()
    if table in REFERENCE and not there:
        raise LakeIncompleteError(
            f"{table.layer}/{table.name} is not in the lake: there is no {path}. Materialize it first: "
            "run the job reference_tables, or make run."
        )
    return there


def weeks_in_lake(lake_root: str) -> set[str]:
    """The weeks that are in the lake with traffic, days and hours."""
    return set.intersection(*(weeks_there(lake_root, table.layer, table.name) for table in RIDERSHIP))
