"""The declaration of a data set: ids, time column, and columns with types and limits.

The query, the typed tables and the checks follow from it. It is written in Python or in YAML (see `components`).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Final, Literal, Self, TypeAlias

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mta_pipeline.schema import WALL_CLOCK, Column, Table
from mta_pipeline.weeks import ONE_WEEK, week_start

ROW_ID: Final = ":id"
UPDATED_AT: Final = ":updated_at"
"""The portal's own columns: the id of a row, and the time of its last change."""

TypeName: TypeAlias = Literal["text", "integer", "number", "boolean", "date", "timestamp"]

_DTYPES: Final[Mapping[str, pl.DataType]] = MappingProxyType(
    {
        "text": pl.String(),
        "integer": pl.Int64(),
        "number": pl.Float64(),
        "boolean": pl.Boolean(),
        "date": pl.Date(),
        "timestamp": WALL_CLOCK,
    }
)
_OWN: Final = (
    Column("row_id", pl.String(), "The portal's ID of the row; null if it was not requested.", nullable=True),
    Column("updated_at", pl.String(), "Time of the row's last change according to the portal, UTC.", nullable=True),
)
_OWN_NAMES: Final = tuple(column.name for column in _OWN)


class RejectReason(StrEnum):
    """Reasons why a row is rejected."""

    MISSING = "missing"
    BAD_NUMBER = "bad_number"
    BAD_TIMESTAMP = "bad_timestamp"
    NO_SUCH_HOUR = "no_such_hour"
    BAD_BOOLEAN = "bad_boolean"
    TOO_SMALL = "too_small"
    UNKNOWN_VALUE = "unknown_value"
    OUTSIDE_WINDOW = "outside_window"
    SUPERSEDED = "superseded"


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))


class SodaColumn(_Declared):
    """One column of a data set."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """The name in the pipeline's tables."""
    field: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] | None = None
    """The name at the portal. The default is `name`."""
    type: TypeName
    description: Annotated[str, Field(min_length=1)]
    required: bool = False
    """Whether a row without a value is rejected."""
    at_least: float | None = None
    """The smallest allowed number."""
    one_of: tuple[str, ...] = ()
    """The allowed texts; empty means any text."""

    @model_validator(mode="after")
    def _limits_fit_the_type(self) -> Self:
        if self.at_least is not None and self.type not in ("integer", "number"):
            raise ValueError(f"at_least needs the type integer or number, but {self.name} has the type {self.type}")
        if self.one_of and self.type != "text":
            raise ValueError(f"one_of needs the type text, but {self.name} has the type {self.type}")
        return self

    @property
    def source(self) -> str:
        """The name of the column at the portal."""
        return self.field or self.name

    @property
    def column(self) -> Column:
        """The column of the contract."""
        return Column(
            self.name,
            _DTYPES[self.type],
            self.description,
            nullable=not self.required,
            one_of=self.one_of,
            at_least=self.at_least,
        )


class SodaSource(_Declared):
    """A data set of the portal, and the days that it can hold. Some data sets continue others."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]{4}-[a-z0-9]{4}$")]
    """Four characters, a hyphen, four characters: the end of the data set's address."""
    first: dt.date | None = None
    last: dt.date | None = None

    def overlaps(self, start: dt.date, end: dt.date) -> bool:
        """Whether the data set can hold rows from `start` up to, but not including, `end`."""
        return (self.first is None or self.first < end) and (self.last is None or self.last >= start)


class SodaChecks(_Declared):
    """Checks of a table, besides the one that accounts for every row."""

    reject_share_at_most: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Largest share of rejected rows. Above it, the check is an error and blocks the table in the lake. No published
    hour had a reject when this was chosen."""
    rows_at_least: Annotated[int, Field(ge=0)] | None = None
    """Minimum number of rows per week (or of the whole table). Fewer are a warning."""
    rejects_at_most: Annotated[int, Field(ge=0)] | None = None
    """Maximum number of rejected rows. More are a warning."""


class SodaDataSet(_Declared):
    """A data set that becomes tables: raw, staged (with rejects) and lake."""

    table: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """The name of its tables."""
    description: Annotated[str, Field(min_length=1)]
    sources: Annotated[tuple[SodaSource, ...], Field(min_length=1)]
    time_column: str | None = None
    """The column that decides the week of a row. Without it, the data set is requested whole, which suits few rows."""
    key: tuple[str, ...] = ()
    """The columns that identify a row. Of several rows with the same key, the one changed last counts. Without a key,
    every row of the portal counts."""
    columns: Annotated[tuple[SodaColumn, ...], Field(min_length=1)]
    checks: SodaChecks = SodaChecks()

    @model_validator(mode="after")
    def _names_fit_together(self) -> Self:
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            raise ValueError(f"two columns have the same name. The names are: {', '.join(names)}")
        if taken := {"week", *_OWN_NAMES} & {*names}:
            raise ValueError(
                f"these names are reserved: {', '.join(sorted(taken))}; choose another name, and set `field`"
            )
        for name in (*self.key, *([self.time_column] if self.time_column else [])):
            if name not in names:
                raise ValueError(f"{name} is not one of the columns: {', '.join(names)}")
        if self.time_column and self._named(self.time_column).type not in ("date", "timestamp"):
            raise ValueError(f"time_column: {self.time_column} must be a date or timestamp")
        loose = [name for name in (*self.key, self.time_column) if name and not self._named(name).required]
        if loose:
            raise ValueError(f"{', '.join(loose)}: columns of key and time_column must be required")
        return self

    @property
    def is_weekly(self) -> bool:
        """Whether the data set is requested by week."""
        return self.time_column is not None

    @cached_property
    def staged(self) -> Table:
        """The staged table: the declared columns, and the portal's own two."""
        return Table(
            "staged",
            self.table,
            "row of the portal" + (f", one per {' × '.join(self.key)}" if self.key else ""),
            f"{self.description} The rows have types. Every row of the portal is either here or in "
            f"{self.table}_rejects.",
            (*(column.column for column in self.columns), *_OWN),
            self.key,
        )

    @cached_property
    def rejects(self) -> Table:
        """The table of rows that are not in the staged table, with the reason."""
        return Table(
            "staged",
            f"{self.table}_rejects",
            "rejected row",
            f"Every row of {self.table} from the portal that is not in the staged table, with the reason.",
            (
                Column(
                    "source_row",
                    pl.Int32(),
                    "Row number in the pages of the week (or of the whole data set), from 1.",
                    at_least=1,
                ),
                Column("row_id", pl.String(), "The portal's ID of the row.", nullable=True),
                Column(
                    "reason",
                    pl.String(),
                    f"Reason for the rejection: one of {', '.join(RejectReason)}.",
                    one_of=tuple(RejectReason),
                ),
                Column(
                    "about",
                    pl.String(),
                    "The column that caused the rejection; null if the whole row is rejected.",
                    nullable=True,
                ),
                Column("raw_text", pl.String(), "The row as the portal sent it, as JSON."),
            ),
        )

    @cached_property
    def lake(self) -> Table:
        """The table in the lake, for analysts."""
        return Table(
            "lake",
            self.table,
            " × ".join(self.key) or "row of the portal",
            self.description,
            tuple(column.column for column in self.columns),
            self.key,
        )

    def sources_of(self, week: str | None) -> Sequence[SodaSource]:
        """Return the sources that can hold rows of a week. Without a week, return all."""
        if week is None:
            return self.sources
        start = week_start(week)
        return [source for source in self.sources if source.overlaps(start, start + ONE_WEEK)]

    def where(self, week: str | None) -> str | None:
        """Return the SoQL condition for the rows of a week; None if the data set is requested as a whole."""
        if week is None or self.time_column is None:
            return None
        column, start = self._named(self.time_column).source, week_start(week)
        return f"{column} >= '{start}T00:00:00' and {column} < '{start + ONE_WEEK}T00:00:00'"

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns to request, by their names at the portal: the portal's own first."""
        return (ROW_ID, UPDATED_AT, *dict.fromkeys(column.source for column in self.columns))

    def _named(self, name: str) -> SodaColumn:
        return next(column for column in self.columns if column.name == name)
