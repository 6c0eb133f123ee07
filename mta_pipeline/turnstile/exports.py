"""Splits yearly exports into weeks, and joins the parts of a week that several exports hold.

An export is the CSV or TSV file of a year's data set: a header and the readings of the year, in any order. The lines of
a week are sorted by their text, so that the same rows give the same text, in whatever order they were published.
"""

import datetime as dt
import hashlib
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from mta_pipeline.turnstile.header import (
    COLUMNS,
    BadHeader,
    Columns,
    Separator,
    columns_of,
    separator_of,
    split_fields,
)
from mta_pipeline.turnstile.parsing import (
    MAX_LINE_BYTES,
    UnreadableFile,
    as_utf8,
    excerpt,
    in_pieces,
    moments,
    newline_of,
    with_newlines,
)
from mta_pipeline.turnstile.readings import is_cut_short
from mta_pipeline.weeks import FIRST_WEEK, ONE_WEEK, week_start

PIECE_BYTES: Final = 8 * 2**20
"""An export is read in pieces of about this size, so that memory use does not depend on its size."""

MAX_WEEK_BYTES: Final = 128 * 2**20
"""Maximum size of one week, which is held in memory, with `BYTES_PER_ROW`. Real weeks have 49 MB."""

BYTES_PER_ROW: Final = 64
"""A row takes about so much memory besides its text."""

END_OF_WEEKS: Final = "2100-01-01"
"""A date from here on, or before the first week, is in no possible week."""

_SATURDAY: Final = 6
_UNDATED: Final = "undated"
_TEXT, _LINES = ".txt", ".lines"
_LINE_TYPE: Final = np.dtype("<i4")


@dataclass(frozen=True)
class WeekOfExport:
    """The lines of an export whose date is in one week, below the header of the export.

    If the last line of the export has no line end and counts as cut off, it stays the last of its week and has none
    here either.
    """

    week: str | None
    """None: the lines without a date that is readable and in a possible week."""
    text: bytes
    lines: pl.Series
    """Int32: the number of each line of `text` in the export, from 1."""
    days: tuple[dt.date, ...]
    """The dates that occur, in order."""

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal digest of the text."""
        return hashlib.sha256(self.text).hexdigest()

    @property
    def rows(self) -> int:
        """Number of lines below the header."""
        return len(self.lines) - 1


class _Header(NamedTuple):
    text: str
    number: int
    columns: Columns
    separator: Separator


def split_export(chunks: Iterable[bytes], name: str, folder: Path) -> Iterator[WeekOfExport]:
    """Split an export into its weeks, in order. The lines without a readable date come last, if there are any.

    Args:
        chunks: the bytes of the export, unpacked: UTF-8, or else Latin-1.
        name: its name, for messages.
        folder: an empty folder for temporary files. They have about the size of the export.

    Raises:
        UnreadableFile: the export is empty, its first line is not the header of an export, or a week is too large.
    """
    header: _Header | None = None
    days: dict[str, set[dt.date]] = {}
    size: Counter[str] = Counter()
    number, unterminated = 0, False
    for piece in _pieces(chunks):
        lines = pl.read_lines(_decoded(piece if number else piece.removeprefix(BOM_UTF8)))["line"]
        # A tab at the end of a line can separate two fields.
        rows = lines.str.strip_chars_end(" \r").alias("text").to_frame().with_row_index("line", number + 1)
        # A line that is too long needs to keep only enough of its text to be rejected as such (rule 11).
        rows = rows.filter(pl.col("text").str.strip_chars() != "").with_columns(
            pl.col("text").str.head(MAX_LINE_BYTES + 1)
        )
        number, unterminated = number + len(lines), not piece.endswith(b"\n")
        if header is None and len(rows):
            header, rows = _header(rows["text"][0], rows["line"][0], name), rows.slice(1)
        if header is not None and len(rows):
            for week, of_week, bytes_of_week in _append(rows, header, folder):
                days.setdefault(week, set()).update(of_week)
                size[week] += bytes_of_week
                if size[week] > MAX_WEEK_BYTES:
                    which = "without a readable date" if week == _UNDATED else f"of week {week}"
                    raise UnreadableFile(f"{name}: the rows {which} are too many for one week. Check the column DATE.")
    if header is None:
        raise UnreadableFile(f"{name}: the file is empty.")
    for week in sorted(days):
        yield _read(folder / week, header, number if unterminated else None, sorted(days[week]))


def week_of_rows(week: str, rows: pl.DataFrame, name: str) -> WeekOfExport:
    """Return the rows of a week as the text of an export: text columns with the names of a header.

    Raises:
        UnreadableFile: the columns are not those of an export.
    """
    header = _header(",".join(rows.columns), 1, name)
    # A line end within a field would end the row.
    whole = rows.with_columns(pl.all().fill_null("").str.replace_all(r"[\r\n]+", " ").str.strip_chars_end())
    text = pl.read_lines(whole.write_csv(include_header=False).encode())["line"]
    frame = pl.DataFrame({"line": pl.int_range(2, len(text) + 2, eager=True), "text": text})
    days = _dates(rows[rows.columns[header.columns.index("date")]])["day"].drop_nulls().unique().sort()
    return _week(week, header.text, 1, frame.sort("text", maintain_order=True), days)


def join_weeks(parts: Sequence[WeekOfExport]) -> WeekOfExport:
    """Join the parts of one week from several exports. A line that several of them hold counts once.

    If the exports have different columns, the joined text has the columns of all of them, as CSV with the published
    names. The fields that an export lacks are empty.
    """
    if len(parts) == 1:
        return parts[0]
    split = [_split(part) for part in parts]
    headers = [header for header, _ in split]
    text = headers[0].text
    if len({(header.columns, header.separator) for header in headers}) > 1:
        columns = [column for column in COLUMNS if any(column in header.columns for header in headers)]
        text = ",".join(COLUMNS[column] for column in columns)
        split = [(header, _rewritten(rows, header, columns)) for header, rows in split]
    # A line that may be cut off comes last, so that the whole line takes precedence over it.
    joined, *others = sorted((rows for _, rows in split), key=lambda rows: rows["cut"].any())
    for rows in others:
        joined = pl.concat([joined, rows.join(joined, on="text", how="anti", maintain_order="left")])
    days = sorted({day for part in parts for day in part.days})
    joined = joined.sort("cut", "text", maintain_order=True)
    week = _week(parts[0].week, text, headers[0].number, joined, days)
    return replace(week, text=week.text[:-1]) if joined["cut"].any() else week


def days_missing(week: str, days: Iterable[dt.date]) -> list[dt.date]:
    """Return the dates of a week that are not among `days`, in order."""
    start = week_start(week)
    return sorted({start + dt.timedelta(n) for n in range(ONE_WEEK.days)} - set(days))


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Join chunks to pieces that end with a whole line. Carriage returns that end lines become newlines."""
    rest, newline = bytearray(), b""
    for chunk in chunks:
        rest += chunk
        if len(rest) < PIECE_BYTES:
            continue
        newline = newline or newline_of(rest)
        # The last byte may be the first half of a line end.
        end = rest.rfind(newline, 0, -1) + 1 if newline else 0
        end += rest[end : end + 1] == b"\n" and newline == b"\r"
        if end:
            yield with_newlines(bytes(rest[:end]), newline)
            del rest[:end]
        else:  # The last byte may be needed, too.
            del rest[MAX_LINE_BYTES + 1 : -1]
    if rest:
        yield with_newlines(bytes(rest), newline or newline_of(rest) or b"\n")


def _decoded(piece: bytes) -> bytes:
    """The lines in UTF-8, each decoded by itself, so that a line is the same in any piece."""
    try:
        piece.decode()
    except UnicodeDecodeError:
        return b"\n".join(map(as_utf8, piece.split(b"\n")))
    return piece


def _header(text: str, number: int, name: str) -> _Header:
    try:
        columns = columns_of(text)
    except BadHeader as error:
        raise UnreadableFile(f"{name}: line {number} is a header with wrong columns: {error}.") from None
    if columns is None:
        raise UnreadableFile(
            f"{name}: line {number} is not the header of an export of turnstile data: {excerpt(text)}. Expected: "
            f"{', '.join(COLUMNS.values())} in any order."
        )
    return _Header(text, number, columns, separator_of(text))


def _append(rows: pl.DataFrame, header: _Header, folder: Path) -> Iterator[tuple[str, Sequence[dt.date], int]]:
    """Append rows to the files of their weeks. Yields each week with its dates, and the memory that its rows take."""
    written = _field(rows["text"], header.columns.index("date"), header.separator)
    known = _dates(written)
    back = (pl.col("day").dt.weekday() - _SATURDAY) % 7
    week = (pl.col("day") - pl.duration(days=back)).dt.to_string("%Y-%m-%d")
    is_possible = pl.col("day").is_between(week_start(FIRST_WEEK), week_start(END_OF_WEEKS), closed="left")
    known = known.with_columns(pl.when(is_possible).then("day")).with_columns(week=week)
    rows = rows.with_columns(written).join(known, on="written", how="left", maintain_order="left")
    rows = rows.with_columns(pl.col("week").fill_null(_UNDATED))
    for (name,), of_week in rows.group_by("week", maintain_order=True):
        with (folder / f"{name}{_TEXT}").open("ab") as text, (folder / f"{name}{_LINES}").open("ab") as lines:
            size = text.write(_joined(of_week["text"])) + BYTES_PER_ROW * len(of_week)
            lines.write(of_week["line"].to_numpy().astype(_LINE_TYPE).tobytes())
        yield str(name), of_week["day"].drop_nulls().unique().to_list(), size


def _dates(written: pl.Series) -> pl.DataFrame:
    """Each text once (`written`), with the date that it names (`day`) or null."""
    midnights = pl.DataFrame({"date": written.unique(), "time": "00:00:00"})
    return pl.DataFrame({"written": midnights["date"], "day": moments(midnights, "modern").dt.date()})


def _field(texts: pl.Series, position: int, separator: Separator) -> pl.Series:
    """One field of each line."""
    if texts.str.contains('"', literal=True).any():
        pieces = [piece.to_series() for piece in in_pieces(texts.to_frame("text"))]
        return pl.concat(split_fields(piece, separator).list.get(position, null_on_oob=True) for piece in pieces).alias(
            "written"
        )
    parts = pl.col("text").str.splitn(separator, position + 2)
    return texts.to_frame("text").select(written=parts.struct.field(f"field_{position}")).to_series()


def _read(stem: Path, header: _Header, unterminated: int | None, days: Sequence[dt.date]) -> WeekOfExport:
    texts = pl.read_lines(stem.with_name(stem.name + _TEXT), glob=False)["line"]
    lines = np.fromfile(stem.with_name(stem.name + _LINES), _LINE_TYPE)
    rows = pl.DataFrame({"line": lines, "text": texts}).sort("text", maintain_order=True)
    key = None if stem.name == _UNDATED else stem.name
    week = _week(key, header.text, header.number, rows, days)
    if key is None or unterminated not in lines:
        return week
    rows = rows.sort(pl.col("line") == unterminated, maintain_order=True)
    cut = _week(key, header.text, header.number, rows, days)
    cut = replace(cut, text=cut.text[:-1])
    return cut if is_cut_short(cut.text, key) else week


def _split(part: WeekOfExport) -> tuple[_Header, pl.DataFrame]:
    """The header of a week's text, and its other lines with their numbers. `cut` is the line without a line end."""
    text, _, rest = part.text.partition(b"\n")
    frame = pl.DataFrame({"line": part.lines[1:], "text": pl.read_lines(rest)["line"]})
    is_last = pl.int_range(1, pl.len() + 1) == pl.len()
    frame = frame.with_columns(cut=is_last & pl.lit(not rest.endswith(b"\n")))
    return _header(text.decode(), int(part.lines[0]), str(part.week)), frame


def _rewritten(rows: pl.DataFrame, header: _Header, columns: Sequence[str]) -> pl.DataFrame:
    """The rows as CSV with these columns. A row with too many or too few fields stays as it is and will be rejected."""
    fields = pl.col("fields")
    values = [
        fields.list.get(header.columns.index(column), null_on_oob=True) if column in header.columns else pl.lit("")
        for column in columns
    ]
    quoted = [
        pl.when(value.str.contains('[",]'))
        .then(pl.concat_str(pl.lit('"'), value.str.replace_all('"', '""', literal=True), pl.lit('"')))
        .otherwise(value)
        for value in values
    ]
    whole = fields.list.len() == len(header.columns)
    return (
        rows.with_columns(fields=split_fields(rows["text"], header.separator))
        .select("line", "cut", text=pl.when(whole).then(pl.concat_str(quoted, separator=",")).otherwise("text"))
        .select("line", "text", "cut")
    )


def _week(week: str | None, header: str, number: int, rows: pl.DataFrame, days: Iterable[dt.date]) -> WeekOfExport:
    lines = pl.concat([pl.Series("line", [number], pl.Int32), rows["line"].cast(pl.Int32)])
    return WeekOfExport(week, header.encode() + b"\n" + _joined(rows["text"]), lines, tuple(days))


def _joined(lines: pl.Series) -> bytes:
    return f"{lines.str.join(chr(10)).item()}\n".encode()
