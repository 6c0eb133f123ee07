"""Time in New York: UTC offsets of readings, elapsed time, and clock hours (rule 10 of the data contract).

A wall-clock time and its UTC offset in hours (-5 is standard time, -4 is daylight saving time) name one moment.
"""

import datetime as dt
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from mta_pipeline.weeks import NEW_YORK, ONE_WEEK, week_start

_ZONE: Final = ZoneInfo(NEW_YORK)
_HOUR: Final = dt.timedelta(hours=1)
_STANDARD: Final = -5
_REGISTERS: Final = ("entries_register", "exits_register")


class ClockChange(NamedTuple):
    """A change of the clocks. The hour before `until` does not exist in spring, and occurs twice in autumn."""

    before: int
    after: int
    """The UTC offsets before and after the change, in hours."""
    until: dt.datetime
    """The wall-clock time from which on only `after` applies."""

    @property
    def repeats(self) -> bool:
        """Whether an hour is repeated (autumn)."""
        return self.after < self.before

    def in_hour(self) -> pl.Expr:
        """Whether a reading lies in the hour that is skipped or repeated."""
        return pl.col("read_at").is_between(self.until - _HOUR, self.until, closed="left")


@lru_cache(maxsize=64)
def clock_change(week: str) -> ClockChange | None:
    """Return the change of the clocks in a week, or None. Two weeks a year have one."""
    before, after = (utc_offset(day) for day in (week_start(week), week_start(week) + ONE_WEEK))
    if before == after:
        return None
    until = dt.datetime.combine(week_start(week), dt.time())
    while utc_offset(until) == before:
        until += _HOUR
    return ClockChange(before, after, until)


def with_utc_offset(readings: pl.DataFrame, week: str, turnstile: Sequence[str]) -> pl.DataFrame:
    """Add `utc_offset` to the readings of a week.

    In autumn, two readings of the repeated hour with the same wall-clock time get different offsets if they were made
    an hour apart. A reading in the hour that is skipped in spring comes from a clock that was not yet set: it gets the
    offset of standard time.

    Args:
        readings: readings in the order of the file, with `turnstile`, read_at, audit and the registers.
        week: the key of the week.
        turnstile: the columns that identify a turnstile.
    """
    change = clock_change(week)
    if change is None:
        return readings.with_columns(utc_offset=pl.lit(utc_offset(week_start(week)), pl.Int32))
    is_after = pl.col("read_at") >= change.until
    if change.repeats:
        is_after |= pl.lit(_is_second_time(readings, change, turnstile))
    offset = pl.when(is_after).then(change.after).otherwise(change.before)
    return readings.with_columns(utc_offset=offset.cast(pl.Int32))


def order_of_readings(week: str) -> pl.Expr:
    """Return what the readings of a turnstile are sorted by, which is different for each of them.

    In autumn this is the moment. In spring it is the wall-clock time, because no clock goes back, even if it is set
    late.
    """
    change = clock_change(week)
    return instant("read_at", "utc_offset") if change and change.repeats else pl.col("read_at")


def instant(wall_clock: str, utc_offset: str) -> pl.Expr:
    """Return the moment, in UTC without zone, that two columns name."""
    return pl.col(wall_clock) - pl.duration(hours=pl.col(utc_offset))


def elapsed_seconds() -> pl.Expr:
    """Return the length of an interval of turnstile_traffic in seconds; null if it has no start.

    It is 0 if the clock of the turnstile was set so late in spring that the later reading would be the earlier one.
    """
    elapsed = instant("ended_at", "ended_utc_offset") - instant("started_at", "started_utc_offset")
    return elapsed.dt.total_seconds().clip(lower_bound=0)


def wall_clock(moment: pl.Expr) -> pl.Expr:
    """Convert moments in UTC without zone to New York wall-clock time."""
    return moment.dt.replace_time_zone("UTC").dt.convert_time_zone(NEW_YORK).dt.replace_time_zone(None)


def constant_offset(moments: pl.Series) -> dt.timedelta | None:
    """Return the UTC offset of a week's moments in UTC without zone, or None if it changes or there are none."""
    ends = [at for at in (moments.min(), moments.max()) if isinstance(at, dt.datetime)]
    offsets = {at.replace(tzinfo=dt.UTC).astimezone(_ZONE).utcoffset() for at in ends}
    return offsets.pop() if len(offsets) == 1 else None


def offset_of(wall_clock: str) -> pl.Expr:
    """Return the UTC offset that the wall clock alone suggests: the first time of the repeated hour."""
    zoned = pl.col(wall_clock).dt.replace_time_zone(NEW_YORK, ambiguous="earliest", non_existent="null")
    hours = (zoned.dt.base_utc_offset() + zoned.dt.dst_offset()).dt.total_hours().fill_null(_STANDARD)
    return pl.when(pl.col(wall_clock).is_not_null()).then(hours).cast(pl.Int32)


def utc_offset(wall_clock: dt.date) -> int:
    """Return the UTC offset in hours of a wall-clock time (for a date: of midnight)."""
    offset = _as_datetime(wall_clock).replace(tzinfo=_ZONE).utcoffset()
    return round((offset or dt.timedelta()) / _HOUR)


def utc(wall_clock: dt.date) -> dt.datetime:
    """Return the moment, in UTC without zone, of a wall-clock time (for a date: of midnight)."""
    return _as_datetime(wall_clock) - utc_offset(wall_clock) * _HOUR


def _as_datetime(day: dt.date) -> dt.datetime:
    return day if isinstance(day, dt.datetime) else dt.datetime.combine(day, dt.time())


def _is_second_time(readings: pl.DataFrame, change: ClockChange, turnstile: Sequence[str]) -> pl.Series:
    """Whether each reading was made when the repeated hour came the second time.

    The order of the file tells if the lines of the turnstile are in time order, apart from one step back within the
    hour. Otherwise the registers tell. If neither finds a second time, the hour was read once: see `_is_lone_second`.
    """
    in_hour = change.in_hour()
    rows = (
        readings.select(*turnstile, "read_at", *_REGISTERS, regular=pl.col("audit").eq_missing("REGULAR"))
        .with_row_index("row")
        .join(readings.filter(in_hour).select(turnstile).unique(), on=turnstile, how="semi")
        .with_columns(turnstile=pl.struct(turnstile).rank("dense"), in_hour=in_hour)
        .sort("turnstile", "read_at", "row")
        .with_columns(progress=_progress(), is_lone_second=_is_lone_second(change))
    )
    second = (
        _by_registers(_by_file(rows).filter("in_hour"))
        .with_columns(by_file=pl.col("in_order") & pl.col("by_file"), once=pl.col("in_order") & ~pl.col("has_pairs"))
        .with_columns(
            second=pl.when(pl.col("by_file").any().over("turnstile") | pl.col("once"))
            .then("by_file")
            .otherwise("by_registers")
        )
        .filter(pl.col("second") | (pl.col("is_lone_second") & ~pl.col("second").any().over("turnstile")))
    )
    return readings.select(pl.int_range(pl.len(), dtype=pl.UInt32).is_in(second["row"].implode())).to_series()


def _by_file(rows: pl.DataFrame) -> pl.DataFrame:
    """Add `in_order` and `by_file`: whether the order of the file can be trusted, and says that it is the second time.

    A step back in time is the start of the second time only if no register goes back with it.
    """
    here, back = pl.col("in_hour"), pl.col("back")
    is_start = back & here & here.shift().over("turnstile") & (pl.col("progress").diff().over("turnstile") >= 0)
    return (
        rows.sort("turnstile", "row")
        .with_columns(back=(pl.col("read_at").diff().over("turnstile") < dt.timedelta()).fill_null(value=False))
        .with_columns(is_start=is_start)
        .with_columns(
            in_order=((back.sum() <= 1) & (back == pl.col("is_start")).all()).over("turnstile"),
            by_file=(pl.col("is_start").cum_sum() > 0).over("turnstile"),
        )
    )


def _by_registers(rows: pl.DataFrame) -> pl.DataFrame:
    """Add `by_registers`, whether the registers say that it is the second time, and `has_pairs`.

    Riders move a register in one direction only. So in the order of the registers, the second time starts where the
    wall clock goes back, or where it stays and there is another audit of the same kind. Such a pair was read an hour
    apart. `has_pairs` says whether the turnstile has one.
    """
    step, people = (pl.col(column).diff().over("turnstile") for column in ("read_at", "progress"))
    same_kind = (pl.col("regular") == pl.col("regular").shift()).over("turnstile")
    is_pair = (step == dt.timedelta()) & same_kind & (people > 0)
    return (
        rows.sort("turnstile", "progress", "read_at", "row")
        .with_columns(again=((step < dt.timedelta()) | is_pair).fill_null(value=False))
        .with_columns(by_registers=(pl.col("again").cum_sum() > 0).over("turnstile"))
        .with_columns(readings_of_kind=pl.col("progress").n_unique().over("turnstile", "read_at", "regular"))
        .with_columns(has_pairs=(pl.col("readings_of_kind") > 1).any().over("turnstile"))
    )


def _progress() -> pl.Expr:
    """The sum of the registers, each in the direction in which it counts (rule 4): it never falls between resets."""
    registers = [pl.col(register) for register in _REGISTERS]
    down = [r.diff().sign().sum().over("turnstile") < 0 for r in registers]
    return pl.sum_horizontal(pl.when(d).then(-r).otherwise(r) for d, r in zip(down, registers, strict=True))


def _is_lone_second(change: ClockChange) -> pl.Expr:
    """Whether readings of the repeated hour, if made once, were made the second time, for each turnstile.

    This is so if it makes the intervals before and after them more alike. Else it is the first time.
    """
    at, in_hour = pl.col("read_at"), change.in_hour()
    gap_before = at.filter(in_hour).min() - at.filter(at < change.until - _HOUR).max()
    gap_after = at.filter(at >= change.until).min() - at.filter(in_hour).max()
    return (gap_before < gap_after).fill_null(value=False).over("turnstile")
