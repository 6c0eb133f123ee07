"""Validation of frames against the contract of their table: columns, types, nulls, values and key.

The IO manager refuses to write a table that violates its contract.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl

from mta_pipeline.schema import Column, Table

SAMPLES: Final = 5
"""Maximum number of rows that a violation shows."""

_TEXT_SHOWN: Final = 60


@dataclass(frozen=True)
class Violation:
    """One rule of a table's contract that a frame breaks."""

    table: str
    columns: tuple[str, ...]
    """The columns that the rule concerns; empty if it concerns the whole table."""
    wrong: str
    """The problem, as a predicate: the message starts with the columns."""
    rows: int
    """Number of rows that break the rule."""
    samples: tuple[Mapping[str, object], ...] = ()
    """The first of these rows, at most SAMPLES."""

    def __str__(self) -> str:
        subject = ", ".join((f"{self.table}.{self.columns[0]}", *self.columns[1:])) if self.columns else self.table
        rows = (
            "  " + " ".join(f"{name}={str(value)[:_TEXT_SHOWN]}" for name, value in sample.items())
            for sample in self.samples
        )
        return "\n".join((f"{subject} {self.wrong}: {self.rows:,} row{'' if self.rows == 1 else 's'}", *rows))


class _Rule(NamedTuple):
    column: Column
    wrong: str
    broken: pl.Expr
    """True for rows that break the rule. Null counts as false."""


def violations(frame: pl.DataFrame, table: Table) -> list[Violation]:
    """Return every rule of a table's contract that a frame breaks.

    Types are compared as they are written: categories as text, wall-clock times in microseconds. Values are checked
    only in columns with the right type.
    """
    found: list[Violation] = []
    if frame.columns != (names := list(table.schema)):
        found.append(
            Violation(table.name, (), f"has the columns {frame.columns}, the contract has {names}", len(frame))
        )
    valid = [column for column in table.columns if _written_as(frame.schema.get(column.name)) == column.dtype]
    for column in table.columns:
        if column.name in frame.columns and column not in valid:
            wrong = f"is of type {frame.schema[column.name]}, the contract has {column.dtype}"
            found.append(_violation(frame, table, (column.name,), wrong))
    rules = [rule for column in valid for rule in _rules(column)]
    counts = frame.select(rule.broken.sum().alias(str(n)) for n, rule in enumerate(rules))
    for rule, (count,) in zip(rules, counts.iter_columns(), strict=True):
        if count:
            found.append(_violation(frame.filter(rule.broken), table, (rule.column.name,), rule.wrong))
    if table.key and {*table.key} <= {column.name for column in valid} and not _is_ordered(frame, table.key):
        repeated = frame.filter(frame.select(table.key).is_duplicated())
        if len(repeated):
            sorted_rows = repeated.sort(table.key, maintain_order=True)
            found.append(_violation(sorted_rows, table, table.key, "must identify one row, but identifies several"))
    return found


def _violation(rows: pl.DataFrame, table: Table, columns: tuple[str, ...], wrong: str) -> Violation:
    return Violation(table.name, columns, wrong, len(rows), tuple(rows.head(SAMPLES).iter_rows(named=True)))


def _written_as(dtype: pl.DataType | None) -> pl.DataType | None:
    """Return the type with which `parquet.to_parquet` writes a column of this type."""
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        return pl.Datetime("us")
    return dtype


def _rules(column: Column) -> Iterator[_Rule]:
    value = pl.col(column.name)
    if not column.nullable:
        yield _Rule(column, "must not be null", value.is_null())
    if column.one_of:
        among = value.cast(pl.String).is_in(column.one_of)
        yield _Rule(column, f"must be one of {', '.join(column.one_of)}", ~among)
    # Polars sorts NaN above all numbers, so `at_most` needs no check of its own.
    if column.at_least is not None:
        too_small = value < column.at_least
        yield _Rule(
            column,
            f"must be at least {column.at_least:g}",
            too_small | value.is_nan() if column.dtype.is_float() else too_small,
        )
    if column.at_most is not None:
        yield _Rule(column, f"must be at most {column.at_most:g}", value > column.at_most)


def _is_ordered(frame: pl.DataFrame, key: Sequence[str]) -> bool:
    """Whether the order of the rows alone proves that the key is unique. This is much cheaper than comparing all rows.

    It does if rows that agree in all key columns except the last are contiguous, and the last one rises from row to row
    among them. Turnstile tables are like this: the rows of each turnstile are in order of time.
    """
    *group, last = key
    first = pl.any_horizontal(pl.int_range(pl.len()) == 0, *(pl.col(c).ne_missing(pl.col(c).shift()) for c in group))
    rises = pl.col(last) > pl.col(last).shift()
    flags = frame.select(first=first, rises=rises.fill_null(value=False))
    if not (flags["first"] | flags["rises"]).all():
        return False
    return not group or not frame.filter(flags["first"]).select(group).is_duplicated().any()
