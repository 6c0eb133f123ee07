"""What is said of a data set before anything is asked of it: ids, time column, columns with types and limits.

From this follow the query, the typed tables and the checks. It is written in Python or in YAML; see `components`.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Final, Literal, Self, TypeAlias

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mta_pipeline.schema import WALL_CLOCK, Column, Table
from mta_pipeline.weeks import ONE_WEEK, week_start

ROW_ID: Final = ":id"
UPDATED_AT: Final = ":updated_at"
"""The portal's own columns: what names a row, and when it last changed."""

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
    Column("row_id", pl.String(), "The portal's id of the row; null where it was not asked for.", nullable=True),
    Column("updated_at", pl.String(), "When the portal says the row last changed, in UTC.", nullable=True),
)
_OWN_NAMES: Final = tuple(column.name for column in _OWN)


class RejectReason:
    """Why a row did not become one of the staged table."""

    MISSING: Final = "missing"
    BAD_NUMBER: Final = "bad_number"
    BAD_TIMESTAMP: Final = "bad_timestamp"
    NO_SUCH_HOUR: Final = "no_such_hour"
    BAD_BOOLEAN: Final = "bad_boolean"
    TOO_SMALL: Final = "too_small"
    UNKNOWN_VALUE: Final = "unknown_value"
    OUTSIDE_WINDOW: Final = "outside_window"
    SUPERSEDED: Final = "superseded"
    ALL: Final = (
        MISSING,
        BAD_NUMBER,
        BAD_TIMESTAMP,
        NO_SUCH_HOUR,
        BAD_BOOLEAN,
        TOO_SMALL,
        UNKNOWN_VALUE,
        OUTSIDE_WINDOW,
        SUPERSEDED,
    )


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))


class SodaColumn(_Declared):
    """One column to take."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """What it is called in our tables."""
    field: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] | None = None
    """What the portal calls it; the same, unless said otherwise."""
    type: TypeName
    description: Annotated[str, Field(min_length=1)]
    required: bool = False
    """Whether a row without it is rejected."""
    at_least: float | None = None
    """The smallest number it may hold."""
    one_of: tuple[str, ...] = ()
    """The only texts it may hold; any if empty."""

    @model_validator(mode="after")
    def _limits_fit_the_type(self) -> Self:
        if self.at_least is not None and self.type not in ("integer", "number"):
            raise ValueError(f"at_least is for an integer or number, and {self.name} is a {self.type}")
        if self.one_of and self.type != "text":
            raise ValueError(f"one_of is for a text, and {self.name} is a {self.type}")
        return self

    @property
    def source(self) -> str:
        """What the portal calls it."""
        return self.field or self.name

    @property
    def column(self) -> Column:
        """As the contract has it."""
        return Column(
            self.name,
            _DTYPES[self.type],
            self.description,
            nullable=not self.required,
            one_of=self.one_of,
            at_least=self.at_least,
        )


class SodaSource(_Declared):
    """A data set of the portal, and the days it may hold: some are continued in another."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]{4}-[a-z0-9]{4}$")]
    """Four characters, a hyphen, four characters: what stands at the end of the data set's address."""
    first: dt.date | None = None
    last: dt.date | None = None

    def overlaps(self, start: dt.date, end: dt.date) -> bool:
        """Whether it may hold anything from a day up to, not including, another."""
        return (self.first is None or self.first < end) and (self.last is None or self.last >= start)


class SodaChecks(_Declared):
    """What must hold of a table, beyond that every row is accounted for; each failure is a warning."""

    rows_at_least: Annotated[int, Field(ge=0)] | None = None
    """Rows that each week (or the whole table) has at least."""
    rejects_at_most: Annotated[int, Field(ge=0)] | None = None
    """Rows that may be rejected."""


class SodaDataSet(_Declared):
    """A data set that becomes tables: raw, staged (with rejects), lake."""

    table: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """The name of its tables."""
    description: Annotated[str, Field(min_length=1)]
    sources: Annotated[tuple[SodaSource, ...], Field(min_length=1)]
    time_column: str | None = None
    """The column that says which week a row belongs to. Without one, or for few rows, the data set is taken whole."""
    key: tuple[str, ...] = ()
    """The columns that name a row: of several rows with the same, the one changed last counts. Without a key, every
    row of the portal does."""
    columns: Annotated[tuple[SodaColumn, ...], Field(min_length=1)]
    checks: SodaChecks = SodaChecks()

    @model_validator(mode="after")
    def _names_fit_together(self) -> Self:
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            raise ValueError(f"two columns have the same name: {', '.join(names)}")
        if taken := {"week", *_OWN_NAMES} & {*names}:
            raise ValueError(f"these names are taken: {', '.join(sorted(taken))}; give the column another, and `field`")
        for name in (*self.key, *([self.time_column] if self.time_column else [])):
            if name not in names:
                raise ValueError(f"{name} is none of the columns: {', '.join(names)}")
        if self.time_column and self._named(self.time_column).type not in ("date", "timestamp"):
            raise ValueError(f"time_column: {self.time_column} must be a date or timestamp")
        loose = [name for name in (*self.key, self.time_column) if name and not self._named(name).required]
        if loose:
            raise ValueError(f"{', '.join(loose)}: columns of key and time_column must be required")
        return self

    @property
    def is_weekly(self) -> bool:
        """Whether it comes by weeks."""
        return self.time_column is not None

    @cached_property
    def staged(self) -> Table:
        """The staged table: the declared columns, and the portal's own two."""
        return Table(
            "staged",
            self.table,
            "row of the portal" + (f", one per {' × '.join(self.key)}" if self.key else ""),
            f"{self.description} Typed; with {self.table}_rejects it accounts for every row that came.",
            (*(column.column for column in self.columns), *_OWN),
            self.key,
        )

    @cached_property
    def rejects(self) -> Table:
        """The table of rows that did not become one of the staged table."""
        return Table(
            "staged",
            f"{self.table}_rejects",
            "rejected row",
            f"Every row of {self.table} that came from the portal and did not become one of the staged table, with "
            "the one reason why.",
            (
                Column("source_row", pl.Int32(), "Row of the week's pages, or of all, counted from 1.", at_least=1),
                Column("row_id", pl.String(), "The portal's id of the row.", nullable=True),
                Column("reason", pl.String(), f"One of {', '.join(RejectReason.ALL)}.", one_of=RejectReason.ALL),
                Column("about", pl.String(), "The column it is about; null for whole rows.", nullable=True),
                Column("raw_text", pl.String(), "The row as it came, as JSON."),
            ),
        )

    @cached_property
    def lake(self) -> Table:
        """The lake's table: what analysts take."""
        return Table(
            "lake",
            self.table,
            " × ".join(self.key) or "row of the portal",
            self.description,
            tuple(column.column for column in self.columns),
            self.key,
        )

    def sources_of(self, week: str | None) -> Sequence[SodaSource]:
        """The sources that may hold rows of a week; all of them without one."""
        if week is None:
            return self.sources
        start = week_start(week)
        return [source for source in self.sources if source.overlaps(start, start + ONE_WEEK)]

    def where(self, week: str | None) -> str | None:
        """The condition that a week's rows meet, in SoQL; None if the data set is taken whole."""
        if week is None or self.time_column is None:
            return None
        column, start = self._named(self.time_column).source, week_start(week)
        return f"{column} >= '{start}T00:00:00' and {column} < '{start + ONE_WEEK}T00:00:00'"

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns to ask for, as the portal calls them: its own first."""
        return (ROW_ID, UPDATED_AT, *dict.fromkeys(column.source for column in self.columns))

    def _named(self, name: str) -> SodaColumn:
        return next(column for column in self.columns if column.name == name)
