"""Turns candidates into readings and rejects: rules 1 and 2 of the data contract.

Every candidate becomes either one reading or one reject with a reason. `traffic` computes differences of readings.
"""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Final

import polars as pl

from mta_pipeline.turnstile.clock import order_of_readings, with_utc_offset
from mta_pipeline.turnstile.contract import TURNSTILE_READINGS, TURNSTILE_REJECTS, RejectReason
from mta_pipeline.turnstile.header import COLUMNS, LOOKED_UP
from mta_pipeline.turnstile.parsing import (
    MAX_GROUPS,
    MAX_LINE_BYTES,
    MOMENT,
    REGISTER_DIGITS,
    Candidates,
    Layout,
    UnreadableFile,
    excerpt,
    moments,
    parse,
    truncated,
)
from mta_pipeline.weeks import ONE_WEEK, file_name, week_start

TURNSTILE: Final = ("control_area", "unit", "scp")
"""The columns that identify a turnstile."""

REGULAR: Final = "REGULAR"
"""DESC of a scheduled audit. It takes precedence over any other DESC (rule 2)."""

# A register that passes a power of ten has a digit less, but is nearer to its neighbour by this factor.
_BY_FAR: Final = 1000
_SCP: Final = r"^[0-9A-F]{2}-[0-9A-F]{2}-[0-9A-F]{2}$"
_INTEGRAL_FLOAT: Final = r"^(\d+)\.0+$"
_FILE_ORDER: Final = ("source_line", "text_line", "source_group")
_BOOTH: Final = ("control_area", "unit")
_ADVICE: Final[dict[str, str]] = {
    RejectReason.FIELD_COUNT: "Probably another program changed the columns or the separator. Replace the file at the "
    "feed by the published one.",
    RejectReason.BAD_TURNSTILE: "Probably a spreadsheet read SCPs as dates, or the columns are in another order. "
    "Replace the file at the feed by the published one.",
    RejectReason.BAD_TIMESTAMP: "Probably a spreadsheet or another program changed the form of dates or times. Replace "
    "the file at the feed by the published one.",
    RejectReason.BAD_REGISTER: "Probably another program changed the form of numbers, or the columns are in another "
    "order. Replace the file at the feed by the published one.",
    RejectReason.OUTSIDE_WINDOW: "Probably the file has the name of another week: the file of that line is {}. Correct "
    "the name of the file at the feed.",
    RejectReason.TOO_LONG: "Probably the file is damaged, or another program removed line ends. Replace the file at "
    "the feed by the published one.",
}
"""Why every line of a file may have this reason, and what to do."""


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


def stage(published: bytes, week: str, control_areas: pl.DataFrame, lines: pl.Series | None = None) -> StagedWeek:
    """Turn the published bytes of a week into readings and rejects (rules 1 and 2).

    Args:
        published: the published bytes, unpacked, in either layout.
        week: the key of the week: the Saturday on which it starts.
        control_areas: the table control_areas, which gives readings their station, lines and division where the file
            has no such column.
        lines: the number of each line in its source, if the text is a part of it. `source_line`, the order of
            duplicates and messages follow these numbers. By default, lines count from 1.

    Raises:
        UnreadableFile: the file holds no reading of this week. The message names the file and the reason.
    """
    name = file_name(week)
    candidates = parse(published, name, lines)
    judged = _judge(candidates, week_start(week))
    sound = with_utc_offset(judged.filter(pl.col("reason").is_null()), week, TURNSTILE)
    readings, twins = _one_per_moment(sound, order_of_readings(week))
    rejects = pl.concat([judged.filter(pl.col("reason").is_not_null()), twins], how="diagonal_relaxed")
    if readings.is_empty():
        why = _why_none(rejects, candidates, week_start(week))
        raise UnreadableFile(f"{name}: there is no reading of the week {week}. {why}")
    return StagedWeek(
        candidates.layout,
        _with_known_places(readings, control_areas).select(*TURNSTILE_READINGS.schema),
        _with_text(rejects, candidates).select(*TURNSTILE_REJECTS.schema),
    )


def is_cut_short(published: bytes, week: str) -> bool:
    """Whether the last register of a file without a final line end counts as cut off (rule 1)."""
    as_it_is, terminated = (_judge(parse(text, week), week_start(week)) for text in (published, published + b"\n"))
    return bool(as_it_is["reason"][-1] != terminated["reason"][-1])


def _with_known_places(readings: pl.DataFrame, control_areas: pl.DataFrame) -> pl.DataFrame:
    """Fill station, lines and division where the file has none. An empty audit becomes null."""
    readings = readings.with_columns(pl.col(*LOOKED_UP, "audit").replace("", None))
    unknown = [column for column in LOOKED_UP if readings[column].null_count()]
    if not unknown:
        return readings
    known = control_areas.select(*_BOOTH, *unknown)
    joined = readings.join(known, on=_BOOTH, how="left", maintain_order="left", suffix="_known")
    return joined.with_columns(pl.coalesce(column, f"{column}_known").alias(column) for column in unknown)


def _judge(candidates: Candidates, start: dt.date) -> pl.DataFrame:
    """Type each candidate and add `reason`: why it cannot be a reading, or null."""
    typed = candidates.frame.with_columns(
        read_at=moments(candidates.frame, candidates.layout),
        entries_register=pl.col("entries").cast(pl.Int64, strict=False),
        exits_register=pl.col("exits").cast(pl.Int64, strict=False),
    )
    typed = _with_integral_floats(typed)
    identified, well_formed = _identified(candidates.frame)
    registers = pl.all_horizontal(pl.col("entries_register", "exits_register").ge(0).fill_null(value=False))
    in_window = pl.col("read_at").is_between(start, start + ONE_WEEK, closed="left")
    judged = typed.with_columns(
        reason=pl.when(~(pl.col("complete") & identified))
        .then(pl.lit(RejectReason.FIELD_COUNT))
        .when(~well_formed)
        .then(pl.lit(RejectReason.BAD_TURNSTILE))
        .when(pl.col("read_at").is_null())
        .then(pl.lit(RejectReason.BAD_TIMESTAMP))
        .when(~registers | (pl.lit(_cut_short(typed, candidates)) & (pl.int_range(pl.len()) == pl.len() - 1)))
        .then(pl.lit(RejectReason.BAD_REGISTER))
        .when(~in_window)
        .then(pl.lit(RejectReason.OUTSIDE_WINDOW))
    )
    first_good = judged.select(pl.col("text_line").filter(pl.col("reason").is_null()).first()).item() or 0
    on_top = ~pl.col("dated") & (pl.col("text_line") < first_good)
    return judged.with_columns(
        reason=pl.when("too_long")
        .then(pl.lit(RejectReason.TOO_LONG))
        .when(on_top | pl.col("header"))
        .then(pl.lit(RejectReason.JUNK_HEADER))
        .otherwise("reason")
    )


def _with_integral_floats(typed: pl.DataFrame) -> pl.DataFrame:
    """Read floats without a fraction, such as `5192500.0`, as registers. They are rare, so look for them first."""
    for text in ("entries", "exits"):
        number = f"{text}_register"
        if not typed[number].null_count():
            continue
        if typed[text].filter(typed[number].is_null()).str.contains(_INTEGRAL_FLOAT).any():
            whole = pl.col(text).str.replace(_INTEGRAL_FLOAT, "$1").cast(pl.Int64, strict=False)
            typed = typed.with_columns(whole.alias(number))
    return typed


def _identified(frame: pl.DataFrame) -> list[pl.Series]:
    """Whether each row names a turnstile, and whether its SCP is well-formed. Consecutive rows are checked once."""
    starts = frame.select(starts_turnstile()).to_series()
    heads = frame.filter(starts).select(
        pl.all_horizontal(pl.col(TURNSTILE).str.contains(r"^[!#-~]+$")).alias("identified"),
        pl.col("scp").str.contains(_SCP).alias("well_formed"),
    )
    return heads[starts.cum_sum() - 1].get_columns()


def _cut_short(typed: pl.DataFrame, candidates: Candidates) -> bool:
    """Whether the file was cut off within the last register of its last line. Its value is then too small.

    If registers are not padded, the value is compared with the turnstile's nearest other reading in time. Without one,
    nobody can tell, and the register counts as cut.
    """
    last, other = candidates.columns[-1], "exits" if candidates.columns[-1] == "entries" else "entries"
    if last not in ("entries", "exits") or not candidates.text[-1:].isdigit():
        return False
    row, digits = typed.row(-1, named=True), REGISTER_DIGITS[candidates.layout]
    value = row[f"{last}_register"]
    if value is None or row["read_at"] is None or "." in row[last] or len(row[last]) >= digits:
        return False
    same = (pl.col(column).eq_missing(row[column]) for column in TURNSTILE)
    distance = (pl.col("read_at") - row["read_at"]).abs()
    nearest = typed.head(-1).filter(*same, distance.is_not_null(), pl.col(f"{last}_register") >= 0).sort(distance)
    near = nearest.row(0, named=True) if len(nearest) else None
    # A register without zeros in front is padded if it has all digits and others are padded.
    full = len(row[other] or "") == digits
    if any(re.match(r"0\d", text or "") for text in (row[last], row[other], near[last] if near and full else "")):
        return True
    return near is None or _begins_a_nearer_number(value, near[f"{last}_register"], digits)


def _begins_a_nearer_number(value: int, near: int, digits: int) -> bool:
    """Whether a longer number that begins with `value` is nearer to `near`. A missing digit counts against `value`."""
    powers = [10**n for n in range(1, digits - len(str(value)) + 1)] if value else []
    longer = [max(value * power - near, near - (value + 1) * power + 1, 0) for power in powers]
    missing = len(str(value)) < len(str(near))
    return any(gap < abs(value - near) * (_BY_FAR if missing else 1) for gap in longer)


def _one_per_moment(sound: pl.DataFrame, moment: pl.Expr) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Keep one reading per turnstile and moment (rule 2): REGULAR before others, then the first in the file.

    Returns the readings, grouped by turnstile and in time order, and the others with their reason.
    """
    ordered = _in_order(sound, moment).with_row_index("row")
    repeats = ~starts_turnstile() & (moment == moment.shift())
    moments = ordered.with_columns(repeats=repeats.fill_null(value=False))
    if not moments["repeats"].any():
        return ordered, ordered.clear()
    regular = pl.col("audit").eq_missing(REGULAR)
    ranked = (
        moments.with_columns(moment=(~pl.col("repeats")).cum_sum(), regular=regular)
        .filter(pl.col("repeats") | pl.col("repeats").shift(-1))
        .sort("moment", ~pl.col("regular"), *_FILE_ORDER)
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
    # In the first row, a null would equal what `shift` puts before it.
    is_first = pl.int_range(pl.len()) == 0
    return pl.any_horizontal(is_first, *(pl.col(c).ne_missing(pl.col(c).shift()) for c in TURNSTILE))


def _in_order(sound: pl.DataFrame, moment: pl.Expr) -> pl.DataFrame:
    """Group by turnstile and sort by time. Almost all files are in this order already, so sort only if needed."""
    starts = starts_turnstile()
    flags = sound.select(starts=starts, backwards=~starts & (moment < moment.shift()))
    heads = sound.filter(flags["starts"]).select(TURNSTILE)
    if not flags["backwards"].any() and not heads.is_duplicated().any():
        return sound
    first_seen = heads.unique(maintain_order=True).with_row_index("turnstile")
    return (
        sound.join(first_seen, on=TURNSTILE, how="left", maintain_order="left")
        .sort("turnstile", moment, *_FILE_ORDER)
        .drop("turnstile")
    )


def _with_text(rejects: pl.DataFrame, candidates: Candidates) -> pl.DataFrame:
    """Add raw_text: the line as published, or for a legacy group the line's identity fields and the group."""
    line = candidates.lines(rejects["text_line"])
    whole = pl.when("too_long").then(truncated(pl.col("raw_text"))).otherwise("raw_text")
    group = pl.concat_str(*TURNSTILE, "date", "time", "audit", "entries", "exits", separator=",", ignore_nulls=True)
    return (
        rejects.with_columns(raw_text=line)
        .with_columns(raw_text=pl.when(pl.col("source_group").is_null()).then(whole).otherwise(group))
        .sort(*_FILE_ORDER)
    )


def _why_none(rejects: pl.DataFrame, candidates: Candidates, start: dt.date) -> str:
    """Explain a file without readings: the first line with the most frequent reason, the cause, and what to do."""
    counts = rejects.group_by("reason", maintain_order=True).len().sort("len", descending=True, maintain_order=True)
    reason = counts.filter(pl.col("reason") != RejectReason.JUNK_HEADER)["reason"][0]
    first = _with_text(rejects.filter(pl.col("reason") == reason).head(1), candidates).row(0, named=True)
    group = f", group {first['source_group']}" if first["source_group"] else ""
    expected, advice = _expected(reason, candidates, start), _ADVICE[reason]
    if reason == RejectReason.OUTSIDE_WINDOW:
        own_week = first["read_at"].date() - dt.timedelta((first["read_at"].isoweekday() + 1) % 7)
        advice = advice.format(file_name(own_week.isoformat()))
    return (
        f"Rejected: {', '.join(f'{n:,} {each}' for each, n in counts.rows())}. The first {reason} is in line "
        f"{first['source_line']}{group}: {excerpt(first['raw_text'])}. Expected: {expected}. {advice}"
    )


def _expected(reason: str, candidates: Candidates, start: dt.date) -> str:
    if reason == RejectReason.FIELD_COUNT:
        fields = "groups of 5 fields after the first 3" if candidates.layout == "legacy" else _named(candidates)
        return f"{fields}; C/A, UNIT and SCP not empty, without blanks and quotation marks"
    if reason == RejectReason.BAD_TURNSTILE:
        return "an SCP as in 02-00-00"
    if reason == RejectReason.BAD_TIMESTAMP:
        return f"date and time as in {dt.datetime.combine(start, dt.time(16)).strftime(MOMENT[candidates.layout])}"
    if reason == RejectReason.BAD_REGISTER:
        return "integers of at least 0 as ENTRIES and EXITS"
    if reason == RejectReason.TOO_LONG:
        return f"lines of at most {MAX_LINE_BYTES:,} bytes and, in the legacy layout, {MAX_GROUPS} groups"
    return f"a time from {start} 00:00 up to, but not including, {start + ONE_WEEK} 00:00"


def _named(candidates: Candidates) -> str:
    names = [COLUMNS[column] if column else "(ignored)" for column in candidates.columns]
    separators = "commas" if candidates.separator == "," else "tabs"
    return f"{len(names)} fields separated by {separators} ({', '.join(names)})"
