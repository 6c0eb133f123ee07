"""Describes tables: layer, name, grain and columns. The contract modules declare the tables themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import polars as pl

WALL_CLOCK: Final = pl.Datetime("us")
"""New York wall-clock time without zone, in microseconds."""


_TYPE_NAMES: Final = {
    pl.Int32(): "int32",
    pl.Int64(): "int64",
    pl.Float64(): "float64",
    pl.String(): "string",
    pl.Boolean(): "boolean",
    pl.Date(): "date",
    WALL_CLOCK: "timestamp",
}


@dataclass(frozen=True)
class Column:
    """One column: its name, Polars type, and meaning including the unit."""

    name: str
    dtype: pl.DataType
    description: str
    nullable: bool = False
    one_of: tuple[str, ...] = ()
    """The allowed texts; empty means any text."""
    at_least: float | None = None
    """The smallest allowed number."""
    at_most: float | None = None
    """The largest allowed number."""
    if_absent: pl.Expr | None = field(default=None, compare=False)
    """The values in files that were written before the table had this column; None if every file has it."""

    @property
    def type_name(self) -> str:
        """The type as people read it, such as `int64` or `timestamp`."""
        return _TYPE_NAMES[self.dtype]


@dataclass(frozen=True)
class Table:
    """One table of the lake."""

    layer: str
    name: str
    grain: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    """The columns that identify a row. Nulls count as equal. In a weekly table the key is unique within each week."""
    rules: int = 1
    """The version of the rules that compute the rows. Raise it by one with every change of the code after which the
    same input can give other rows. The weeks made with older rules are then due, with all tables computed from them."""

    @cached_property
    def schema(self) -> Mapping[str, pl.DataType]:
        """Column names to Polars types, in order."""
        return {column.name: column.dtype for column in self.columns}

    @cached_property
    def required(self) -> tuple[str, ...]:
        """The names of the columns that never hold null."""
        return tuple(column.name for column in self.columns if not column.nullable)
