"""Turns rows of text into typed rows and rejects. Every row becomes one or the other."""

import datetime as dt
from dataclasses import dataclass
from typing import Final

import polars as pl

from mta_pipeline.sources.socrata.dataset import ROW_ID, UPDATED_AT, RejectReason, SodaColumn, SodaDataSet
from mta_pipeline.weeks import NEW_YORK, ONE_WEEK, week_start

_INTEGER: Final = r"^-?[0-9]{1,18}(\.0*)?$"
_NUMBER: Final = r"^-?[0-9]+(\.[0-9]+)?$"
_MOMENT: Final = "%Y-%m-%dT%H:%M:%S%.f"


@dataclass(frozen=True)
class StagedRows:
    """The rows and rejects of a week or of the whole data set, in the portal's order.

    Their schemas are those of `data_set.staged` and `data_set.rejects`.
    """

    rows: pl.DataFrame
    rejects: pl.DataFrame

    @property
    def rejects_by_reason(self) -> dict[str, int]:
        """Number of rejected rows by reason. Reasons that do not occur are absent."""
        return dict(self.rejects["reason"].value_counts(sort=True).rows())


def stage(texts: pl.DataFrame, data_set: SodaDataSet, week: str | None) -> StagedRows:
    """Type all rows, and reject unusable ones with the first reason that applies.

    Args:
        texts: the columns `data_set.fields`, all text.
        data_set: the declaration of the data set.
        week: the week that was requested; None if the data set is requested as a whole.
    """
    typed = texts.with_row_index("source_row", 1).select(
        pl.col("source_row").cast(pl.Int32),
        *(_typed(column).alias(column.name) for column in data_set.columns),
        row_id=pl.col(ROW_ID),
        updated_at=pl.col(UPDATED_AT),
        fault=pl.coalesce(*(_fault(column) for column in data_set.columns)),
    )
    if week is not None and data_set.time_column is not None:
        start = week_start(week)
        inside = pl.col(data_set.time_column).cast(pl.Date).is_between(start, start + ONE_WEEK, closed="left")
        outside = pl.col("fault").is_null() & ~inside
        typed = typed.with_columns(
            fault=pl.when(outside).then(_reject(RejectReason.OUTSIDE_WINDOW, data_set.time_column)).otherwise("fault")
        )
    if data_set.key:
        # Of rows with the same key, keep the one changed last. On a tie, keep the first.
        sound = typed.filter(pl.col("fault").is_null())
        newest = sound.sort("updated_at", descending=True, nulls_last=True, maintain_order=True)
        stay = newest.unique(data_set.key, keep="first", maintain_order=True)["source_row"]
        superseded = pl.col("fault").is_null() & ~pl.col("source_row").is_in(stay.implode())
        typed = typed.with_columns(
            fault=pl.when(superseded).then(_reject(RejectReason.SUPERSEDED, None)).otherwise("fault")
        )

    rejects = typed.filter(pl.col("fault").is_not_null()).select("source_row", "row_id", "fault").unnest("fault")
    raw = texts[rejects["source_row"].cast(pl.UInt32) - 1].select(raw_text=pl.struct(pl.all()).struct.json_encode())
    return StagedRows(
        typed.filter(pl.col("fault").is_null()).select(*data_set.staged.schema),
        rejects.hstack(raw).select(*data_set.rejects.schema),
    )


def unknown_values(rejects: pl.DataFrame, data_set: SodaDataSet) -> pl.DataFrame:
    """Return the texts that `one_of` does not allow: column, value, rows. Sorted by rows, the most frequent first."""
    unknown = rejects.filter(pl.col("reason") == RejectReason.UNKNOWN_VALUE)
    values = [
        unknown.filter(pl.col("about") == column.name).select(
            column="about", value=pl.col("raw_text").str.json_path_match(f"$['{column.source}']")
        )
        for column in data_set.columns
        if column.one_of
    ]
    if not values:
        return pl.DataFrame(schema={"column": pl.String, "value": pl.String, "rows": pl.Int64})
    counted = pl.concat(values).group_by("column", "value").agg(rows=pl.len().cast(pl.Int64))
    return counted.sort("rows", "column", "value", descending=[True, False, False])


def in_lake(staged: pl.DataFrame, data_set: SodaDataSet) -> pl.DataFrame:
    """Return the lake's table: the declared columns, sorted by key, or by time without a key."""
    order = data_set.key or ((data_set.time_column,) if data_set.time_column else ())
    rows = staged.select(*data_set.lake.schema)
    return rows.sort(order, maintain_order=True) if order else rows


def hours_of(start: dt.date, days: int = 7) -> pl.Series:
    """Return the clock hours in New York of the `days` days from `start` on.

    The hour that is skipped in spring is left out. The hour that is repeated in autumn occurs once.
    """
    first = dt.datetime.combine(start, dt.time())
    hours = pl.datetime_range(first, first + dt.timedelta(days=days), "1h", closed="left", time_unit="us", eager=True)
    return hours.filter(_exists(hours)).alias("hour")


def _exists(moments: pl.Series) -> pl.Series:
    return moments.dt.replace_time_zone(NEW_YORK, non_existent="null", ambiguous="earliest").is_not_null()


def _typed(column: SodaColumn) -> pl.Expr:
    text = pl.col(column.source)
    match column.type:
        case "integer":
            return pl.when(text.str.contains(_INTEGER)).then(text.str.extract(r"^(-?[0-9]+)")).cast(pl.Int64)
        case "number":
            return pl.when(text.str.contains(_NUMBER)).then(text).cast(pl.Float64)
        case "date":
            return _moment(text).dt.date()
        case "timestamp":
            return _moment(text)
        case "boolean":
            return text.str.to_lowercase().replace_strict(
                {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
            )
        case "text":
            return text


def _moment(text: pl.Expr) -> pl.Expr:
    return text.str.to_datetime(_MOMENT, time_unit="us", strict=False)


def _fault(column: SodaColumn) -> pl.Expr:
    """The reason to reject a row because of this column, or null."""
    text, value = pl.col(column.source), _typed(column)
    untyped = text.is_not_null() & value.is_null()
    faults: list[tuple[pl.Expr, str]] = []
    if column.required:
        faults.append((text.is_null(), RejectReason.MISSING))
    match column.type:
        case "integer" | "number":
            faults.append((untyped, RejectReason.BAD_NUMBER))
        case "date" | "timestamp":
            exists = _moment(text).dt.replace_time_zone(NEW_YORK, non_existent="null", ambiguous="earliest")
            faults.append((untyped, RejectReason.BAD_TIMESTAMP))
            faults.append((value.is_not_null() & exists.is_null(), RejectReason.NO_SUCH_HOUR))
        case "boolean":
            faults.append((untyped, RejectReason.BAD_BOOLEAN))
    if column.at_least is not None:
        faults.append((value < column.at_least, RejectReason.TOO_SMALL))
    if column.one_of:
        faults.append((~text.is_in(list(column.one_of)), RejectReason.UNKNOWN_VALUE))
    nothing = pl.lit(None, pl.Struct({"reason": pl.String, "about": pl.String}))
    return pl.coalesce(*(pl.when(applies).then(_reject(reason, column.name)) for applies, reason in faults), nothing)


def _reject(reason: str, column: str | None) -> pl.Expr:
    return pl.struct(reason=pl.lit(reason), about=pl.lit(column, pl.String))
