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
    one_of: tuple[str, ...] = ()
    """The only texts it may hold; any if empty."""
    at_least: float | None = None
    """The smallest number it may hold."""
    at_most: float | None = None
    """The largest number it may hold."""


@dataclass(frozen=True)
class Table:
    """One table of the lake."""

    layer: str
    name: str
    grain: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    """The columns that name a row, in which nulls count as equal. A table with weeks has a key in each week."""

    @cached_property
    def schema(self) -> Mapping[str, pl.DataType]:
        """Column names to Polars types, in order."""
        return {column.name: column.dtype for column in self.columns}

    @cached_property
    def required(self) -> tuple[str, ...]:
        """The columns that never hold null."""
        return tuple(column.name for column in self.columns if not column.nullable)
