"""Turns candidates into readings and rejects: rules 1 and 2 of the data contract.

Every candidate becomes either one reading or one reject with a reason. `traffic` computes differences of readings.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final

import polars as pl

from mta_pipeline.turnstile.contract import TURNSTILE_READINGS, TURNSTILE_REJECTS, RejectReason
from mta_pipeline.turnstile.parsing import HEADER_START, REGISTER_DIGITS, Candidates, Layout, UnreadableFile, parse
from mta_pipeline.weeks import ONE_WEEK, file_name, week_start

TURNSTILE: Final = ("control_area", "unit", "scp")
"""The columns that identify a turnstile."""

REGULAR: Final = "REGULAR"
"""DESC of a scheduled audit. It takes precedence over any other DESC (rule 2)."""

_TIMESTAMP: Final[dict[Layout, str]] = {"modern": "%m/%d/%Y %H:%M:%S", "legacy": "%m-%d-%y %H:%M:%S"}
_BOOTH: Final = ("control_area", "unit")


@dataclass(frozen=True)
class StagedWeek:
    """The readings and rejects of one week, with the contract's schemas.

    Readings are grouped by turnstile and in time order within each.
    """

    layout: Layout
    readings: pl.DataFrame
    rejects: pl.DataFrame

    @property
    def rejects_by_reason(self) -> dict[str, int]:
        """Number of rejects by reason. Reasons that do not occur are absent."""
        return dict(self.rejects["reason"].value_counts(sort=True).rows())


def stage(published: bytes, week: str, control_areas: pl.DataFrame) -> StagedWeek:
    """Turn the published bytes of a week into readings and rejects (rules 1 and 2).

    Args:
        published: the published bytes, unpacked, in either layout.
        week: the key of the week: the Saturday on which it starts.
        control_areas: the table control_areas, which gives legacy readings their station, lines and division.

    Raises:
        UnreadableFile: the file holds no reading of this week. The message names the file and the reason.
    """
    name = file_name(week)
    candidates = parse(published, name)
    judged = _judge(candidates, week_start(week))
    readings, twins = _one_per_moment(judged.filter(pl.col("reason").is_null()))
    rejects = pl.concat([judged.filter(pl.col("reason").is_not_null()), twins], how="diagonal_relaxed")
    if readings.is_empty():
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in rejects["reason"].value_counts(sort=True).rows())
        raise UnreadableFile(f"{name}: there is no reading of the week {week}. Rejected: {reasons}.")
    if candidates.layout == "legacy":
        known = control_areas.select(*_BOOTH, "station", "line_name", "division")
        readings = readings.drop("station", "line_name", "division").join(
            known, on=_BOOTH, how="left", maintain_order="left"
        )
    return StagedWeek(
        candidates.layout,
        readings.select(*TURNSTILE_READINGS.schema),
        _with_text(rejects, candidates).select(*TURNSTILE_REJECTS.schema),
    )


def _judge(candidates: Candidates, start: dt.date) -> pl.DataFrame:
    """Type each candidate and add `reason`: why it cannot be a reading, or null."""
    typed = candidates.frame.with_columns(
        read_at=(pl.col("date") + " " + pl.col("time")).str.to_datetime(
            _TIMESTAMP[candidates.layout], time_unit="us", strict=False
        ),
        entries_register=pl.col("entries").cast(pl.Int64, strict=False),
        exits_register=pl.col("exits").cast(pl.Int64, strict=False),
    )
    identified = _identified(candidates.frame)
    registers = pl.all_horizontal(pl.col("entries_register", "exits_register").ge(0).fill_null(value=False))
    in_window = pl.col("read_at").is_between(start, start + ONE_WEEK, closed="left")
    judged = typed.with_columns(
        reason=pl.when(~(pl.col("complete") & identified))
        .then(pl.lit(RejectReason.FIELD_COUNT))
        .when(pl.col("read_at").is_null())
        .then(pl.lit(RejectReason.BAD_TIMESTAMP))
        .when(~registers | _cut_short(candidates))
        .then(pl.lit(RejectReason.BAD_REGISTER))
        .when(~in_window)
        .then(pl.lit(RejectReason.OUTSIDE_WINDOW))
    )
    first_good = judged.select(pl.col("source_line").filter(pl.col("reason").is_null()).first()).item() or 0
    on_top = ~pl.col("dated") & (pl.col("source_line") < first_good)
    repeated_header = pl.col("control_area") == HEADER_START.split(",")[0]
    return judged.with_columns(
        reason=pl.when(on_top | repeated_header).then(pl.lit(RejectReason.JUNK_HEADER)).otherwise("reason")
    )


def _identified(frame: pl.DataFrame) -> pl.Series:
    """Whether each row has a valid turnstile. Consecutive rows of a turnstile are checked once."""
    starts = frame.select(starts_turnstile()).to_series()
    heads = frame.filter(starts).select(pl.all_horizontal(pl.col(TURNSTILE).str.contains(r"^[!-~]+$"))).to_series()
    return heads.gather(starts.cum_sum() - 1)


def _cut_short(candidates: Candidates) -> pl.Expr:
    """Whether the row is the file's last line, cut off within its last register. Its value is then too small."""
    if candidates.text.endswith(b"\n"):
        return pl.lit(value=False)
    full = pl.col("entries").str.len_chars() == REGISTER_DIGITS[candidates.layout]
    last = pl.int_range(pl.len()) == pl.len() - 1
    return last & full & (pl.col("exits").str.len_chars() < pl.col("entries").str.len_chars())


def _one_per_moment(sound: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Keep one reading per turnstile and moment (rule 2): REGULAR before others, then the first in the file.

    Returns the readings, grouped by turnstile and in time order, and the others with their reason.
    """
    ordered = _in_order(sound).with_row_index("row")
    repeats = ~starts_turnstile() & (pl.col("read_at") == pl.col("read_at").shift())
    moments = ordered.with_columns(repeats=repeats.fill_null(value=False))
    if not moments["repeats"].any():
        return ordered, ordered.clear()
    regular = pl.col("audit") == REGULAR
    ranked = (
        moments.with_columns(moment=(~pl.col("repeats")).cum_sum(), regular=regular)
        .filter(pl.col("repeats") | pl.col("repeats").shift(-1))
        .sort("moment", ~pl.col("regular"), "source_line", "source_group")
        .with_columns(first=pl.col("moment").is_first_distinct(), regular_kept=pl.col("regular").first().over("moment"))
    )
    others = ranked.filter(~pl.col("first")).with_columns(
        reason=pl.when(pl.col("regular_kept") & ~pl.col("regular"))
        .then(pl.lit(RejectReason.SUPERSEDED))
        .otherwise(pl.lit(RejectReason.DUPLICATE))
    )
    kept = ordered.select("row", *TURNSTILE_READINGS.schema)
    return kept.filter(~pl.col("row").is_in(others["row"].implode())), others


def starts_turnstile() -> pl.Expr:
    """Whether a row is the first of its turnstile. The frame must be grouped by turnstile."""
    return pl.any_horizontal(pl.col(c).ne_missing(pl.col(c).shift()) for c in TURNSTILE)


def _in_order(sound: pl.DataFrame) -> pl.DataFrame:
    """Group by turnstile and sort by time. Almost all files are in this order already, so sort only if needed."""
    starts = starts_turnstile()
    flags = sound.select(starts=starts, backwards=~starts & (pl.col("read_at") < pl.col("read_at").shift()))
    heads = sound.filter(flags["starts"]).select(TURNSTILE)
    if not flags["backwards"].any() and not heads.is_duplicated().any():
        return sound
    first_seen = heads.unique(maintain_order=True).with_row_index("turnstile")
    return (
        sound.join(first_seen, on=TURNSTILE, how="left", maintain_order="left")
        .sort("turnstile", "read_at", "source_line", "source_group")
        .drop("turnstile")
    )


def _with_text(rejects: pl.DataFrame, candidates: Candidates) -> pl.DataFrame:
    """Add raw_text: the line as published, or for a legacy group the line's identity fields and the group."""
    line = candidates.lines(rejects["source_line"])
    group = pl.concat_str(*TURNSTILE, "date", "time", "audit", "entries", "exits", separator=",", ignore_nulls=True)
    return (
        rejects.with_columns(raw_text=line)
        .with_columns(raw_text=pl.when(pl.col("source_group").is_null()).then("raw_text").otherwise(group))
        .sort("source_line", "source_group")
    )
