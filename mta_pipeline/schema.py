"""What a table is: its layer, name, grain and columns. The tables themselves are declared in the contract modules."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import polars as pl

WALL_CLOCK: Final = pl.Datetime("us")
"""New York wall-clock time, without zone."""


@dataclass(frozen=True)
class Column:
    """One column: its name, Polars type and meaning, units included."""

    name: str
    dtype: pl.DataType
    description: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """One table of the lake."""

    layer: str
    name: str
    grain: str
    description: str
    columns: tuple[Column, ...]

    @cached_property
    def schema(self) -> Mapping[str, pl.DataType]:
        """Column names to Polars types, in order."""
        return {column.name: column.dtype for column in self.columns}

    @cached_property
    def required(self) -> tuple[str, ...]:
        """The columns that never hold null."""
        return tuple(column.name for column in self.columns if not column.nullable)
