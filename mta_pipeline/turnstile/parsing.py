"""Splits a published file into candidates: every data line (legacy layout: every group) as text fields.

The layout is detected from the contents. In the modern layout the header says which field is which column.
`readings` decides whether a candidate becomes a reading.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Final, Literal

import polars as pl

from mta_pipeline.turnstile.header import (
    COLUMNS,
    LOOKED_UP,
    PUBLISHED,
    BadHeader,
    Columns,
    Separator,
    columns_of,
    find_headers,
    separator_of,
    split_fields,
)

Layout = Literal["modern", "legacy"]

MAX_LINE_BYTES: Final = 64 * 2**10
"""A longer line is a reject (rule 11). Real lines have at most 400 bytes."""

MAX_GROUPS: Final = 64
"""A legacy line with more groups is a reject (rule 11). Real lines have at most 8."""

MAX_TEXT_BYTES: Final = 48 * 2**20
"""Maximum size of a week in UTF-8, apart from lines that are too long. Real weeks have at most 40 MB."""

MAX_WEEK_LINES: Final = 600_000
"""Maximum number of lines, or legacy groups, of one week. Real weeks have 255,000."""

REGISTER_DIGITS: Final[dict[Layout, int]] = {"modern": 10, "legacy": 9}
_NUMBERS: Final = ("text_line", "source_line")
_IDENTITY: Final = ("control_area", "unit", "scp")
_GROUP_FIELDS: Final = ("date", "time", "audit", "entries", "exits")
_LEGACY: Final[Columns] = (*_IDENTITY, *_GROUP_FIELDS)
# A legacy date looks like an SCP. The time after it tells the two apart.
_DATE: Final[dict[Layout, str]] = {"modern": r'[,\t]"?\d\d/\d\d/\d{4}"?[,\t]', "legacy": r",\d\d-\d\d-\d\d,[^,]*:"}
MOMENT: Final[dict[Layout, str]] = {"modern": "%m/%d/%Y %H:%M:%S", "legacy": "%m-%d-%y %H:%M:%S"}
"""The published form of date and time."""

_EXCERPT_BYTES: Final = 1000
"""Of a line that is too long, only so much is kept."""
_MAX_TEXT: Final = f"{MAX_TEXT_BYTES // 2**20} MiB"
_PIECE_BYTES: Final = 2**20
"""Lines are split in pieces of this size, because a field takes far more memory than its separator."""

# Forms that spreadsheets and the portal write, in modern files. The month comes before the day.
_DATES: Final = {
    r"\d{1,2}/\d{1,2}/\d{4}": "%m/%d/%Y",
    r"\d{1,2}/\d{1,2}/\d\d": "%m/%d/%y",
    r"\d{4}-\d\d-\d\d": "%Y-%m-%d",
}
_TIMES: Final = {
    r"\d{1,2}:\d\d:\d\d": "%H:%M:%S",
    r"\d{1,2}:\d\d": "%H:%M",
    r"\d{1,2}:\d\d:\d\d ?[AaPp][Mm]": "%I:%M:%S %p",
    r"\d{1,2}:\d\d ?[AaPp][Mm]": "%I:%M %p",
}
_MIDNIGHT: Final = r"[T ](?:0?0:00(?::00(?:\.0+)?)?|12:00(?::00)? ?[Aa][Mm])$"
_ANY_DATE: Final = "|".join(_DATES)
_DATED: Final = pl.col("date").str.contains(f"^(?:{_ANY_DATE})(?:$|{_MIDNIGHT})").fill_null(value=False)
_HTML: Final = r"(?i)^\s*<(?:!doctype|html|head|\?xml)"


class UnreadableFile(ValueError):
    """A published file without any reading. The message names the file and the reason."""


@dataclass(frozen=True)
class Candidates:
    """The candidates of a file: `frame` has one row per data line or group, in file order, with all fields as text.

    Columns of `frame`: text_line (number of the line in `text`, from 1), source_line (its number in the source),
    source_group (null in the modern layout and for whole lines), the eleven fields (null if absent), `complete` (the
    number of fields is right), `dated` (the row has a date where data has one), `header` (the row is a repeated
    header) and `too_long` (rule 11).
    """

    layout: Layout
    columns: Columns
    """The column of each field of a line (legacy layout: of a line with one group)."""
    frame: pl.DataFrame
    separator: Separator
    text: bytes
    """The file in UTF-8, with newlines between lines. Of a line that is too long, it has the beginning."""

    def lines(self, numbers: pl.Series) -> pl.Series:
        """Return the text of the lines with these numbers (text_line), without trailing spaces."""
        lines = pl.read_lines(self.text, name="text")["text"]
        return lines.gather(numbers.cast(pl.UInt32) - 1).str.strip_chars_end()


def parse(published: bytes, name: str, lines: pl.Series | None = None) -> Candidates:
    """Split a published file into candidates.

    Args:
        published: the published bytes, unpacked: UTF-8, or else Latin-1.
        name: the name of the file, for messages.
        lines: the number of each line in its source, if the text is a part of it. By default, lines count from 1.

    Raises:
        UnreadableFile: nothing in the file looks like a turnstile reading, or the header is not that of a turnstile
            file, or the file is too large for one week.
    """
    text, too_long = _as_text(published, name)
    return (None if too_long else _as_csv(text, lines)) or _line_by_line(text, name, lines, too_long)


def moments(frame: pl.DataFrame, layout: Layout) -> pl.Series:
    """Return the moment that `date` and `time` of each row name, or null. Almost all rows have the published form."""
    published = frame.select(
        (pl.col("date") + " " + pl.col("time")).str.to_datetime(MOMENT[layout], time_unit="us", strict=False)
    ).to_series()
    # A year of two digits is read as one of the first century.
    other = (published.is_null() | (published.dt.year() < 100)).arg_true() if layout == "modern" else None
    if other is None or other.is_empty():
        return published
    date, time = pl.col("date").str.replace(_MIDNIGHT, ""), pl.col("time").str.replace(r"\.0+$", "")
    day = pl.coalesce(_if_like(date, like).str.to_date(form, strict=False) for like, form in _DATES.items())
    clock = pl.coalesce(_if_like(time, like).str.to_time(form, strict=False) for like, form in _TIMES.items())
    others = frame[other].select("date", "time")
    for column, value in (("date", day), ("time", clock)):  # the same texts occur many times
        parsed = others.select(column).unique().with_columns(value.alias(f"{column}_parsed"))
        others = others.join(parsed, on=column, how="left", maintain_order="left")
    moment = pl.col("date_parsed").dt.combine(pl.col("time_parsed"), "us")
    return published.scatter(other, others.select(moment).to_series())


def _if_like(text: pl.Expr, pattern: str) -> pl.Expr:
    return pl.when(text.str.contains(f"^(?:{pattern})$")).then(text)


def excerpt(line: str) -> str:
    """The beginning of a line, for messages."""
    return repr(line[:120])


def truncated(line: pl.Expr) -> pl.Expr:
    """The beginning of a line that is too long, marked as such."""
    return line.str.head(_EXCERPT_BYTES) + "… (truncated)"


def _source_lines(lines: pl.Series | None) -> pl.Expr:
    """The number in the source of each line of the text."""
    numbers = pl.col("text_line") if lines is None else pl.lit(lines).gather(pl.col("text_line") - 1)
    return numbers.cast(pl.Int32).alias("source_line")


def _as_csv(text: bytes, lines: pl.Series | None) -> Candidates | None:
    """Parse a regular modern file, with the header on top, as CSV (fast). Returns None if the file may be irregular.

    The result equals that of splitting the lines as long as every line has a last field: the CSV reader pads short
    lines with empty fields and refuses long ones.
    """
    header = _first_line(text).decode()
    columns, separator = _columns_or_none(header), separator_of(header)
    if columns is None:
        return None
    # An ignored field has a name of its own, which is no column.
    names = [column or str(n) for n, column in enumerate(columns)]
    try:
        frame = pl.read_csv(
            text,
            has_header=False,
            skip_lines=1,
            schema=dict.fromkeys(names, pl.String()),
            separator=separator,
            quote_char=None,
            empty_string_is_null=False,
            row_index_name="text_line",
            row_index_offset=2,
        )
    except pl.exceptions.PolarsError:  # a line is too long, or there is nothing below the header
        return None
    frame = frame.with_columns(pl.col(names[-1]).str.strip_chars_end())
    if b'"' in text:
        frame = frame.with_columns(_unquoted(name) for name in names)
        if frame.select(pl.any_horizontal(pl.col(names).str.contains('"', literal=True).any())).item():
            return None
    if frame.is_empty() or frame.select((pl.col(names[-1]).is_null() | (pl.col(names[-1]) == "")).any()).item():
        return None
    frame = frame.select(
        pl.col("text_line").cast(pl.Int32),
        _source_lines(lines),
        pl.lit(None, pl.Int32).alias("source_group"),
        *(pl.col(column) if column in names else pl.lit(None, pl.String).alias(column) for column in COLUMNS),
        complete=pl.lit(value=True),
        dated=_DATED,
        header=pl.lit(value=False),
        too_long=pl.lit(value=False),
    )
    return Candidates("modern", columns, frame, separator, text) if frame["dated"].all() else None


def _unquoted(column: str) -> pl.Expr:
    """The text between the quotation marks around a field. The line is read without quoting, so it has no separator."""
    text = pl.col(column)
    quoted = text.str.starts_with('"') & text.str.ends_with('"') & (text.str.len_bytes() > 1)
    inner = text.str.strip_prefix('"').str.strip_suffix('"').str.strip_chars_end()
    return pl.when(quoted).then(inner).otherwise(text)


def _columns_or_none(line: str) -> Columns | None:
    try:
        return columns_of(line)
    except BadHeader:
        return None


def _line_by_line(text: bytes, name: str, lines: pl.Series | None, too_long: list[int]) -> Candidates:
    data = _data_lines(text, too_long).with_columns(_source_lines(lines))
    if data.is_empty():
        raise UnreadableFile(f"{name}: the file is empty.")
    if data.select(pl.col("text").first().str.contains(_HTML)).item():
        raise UnreadableFile(
            f"{name}: this is a web page, not a turnstile file. It begins with {data['text'][0][:80]!r}."
        )
    first_line, data = data["text"][0], data.with_columns(_SPLITTABLE)
    headers = find_headers(data["text"])
    separator = separator_of(data["text"][headers[0]]) if headers else ","
    if separator == "\t":  # a tab at the end of a line separates two fields
        data = _data_lines(text, too_long, padding=" \r").with_columns(_SPLITTABLE, _source_lines(lines))
    if len(headers) == len(data):
        raise UnreadableFile(f"{name}: the file has a header but no readings.")
    layout = _layout_of(data["text"], headers)
    if layout is None and not headers:
        raise UnreadableFile(
            f"{name}: no line looks like a turnstile reading. The first data line is line {data['source_line'][0]}: "
            f"{excerpt(first_line)}. Expected: the fields {','.join(COLUMNS.values())}, separated by commas, or a "
            "header that names them. Replace the file at the feed."
        )
    columns = _LEGACY if layout == "legacy" else _columns(data, headers, name)
    data = data.with_columns(header=pl.int_range(pl.len()).is_in(headers))
    if headers:  # the first one is not a data line
        data = data.filter(pl.int_range(pl.len()) != headers[0])
    if layout == "legacy":
        data = data.with_columns(groups=_groups(pl.col("text")))
        fits = pl.col("groups") <= MAX_GROUPS
        data = data.with_columns(
            pl.when(fits).then("groups"), too_long=pl.col("too_long") | ~fits.fill_null(value=True)
        )
        if data["groups"].sum() > MAX_WEEK_LINES:
            raise _too_large(name, f"{MAX_WEEK_LINES:,} groups")
        return Candidates("legacy", columns, pl.concat(map(_legacy, in_pieces(data))), ",", text)
    frame = pl.concat(_modern(piece, columns, separator) for piece in in_pieces(data))
    return Candidates("modern", columns, frame, separator, text)


_SPLITTABLE: Final = pl.when("too_long").then(pl.lit("")).otherwise("text").alias("text")
"""The text of lines that are not too long. The others are neither headers nor split."""


def _data_lines(text: bytes, too_long: list[int], padding: str | None = None) -> pl.DataFrame:
    """Return text_line, text without padding, and too_long of all lines that are not blank or are too long."""
    lines = pl.read_lines(text, name="text").with_row_index("text_line", 1).cast({"text_line": pl.Int32})
    lines = lines.with_columns(too_long=pl.col("text_line").is_in(too_long))
    # Of a line that is too long, `text` has only the beginning, which can be blank.
    lines = lines.filter(pl.col("text").str.contains(r"\S") | pl.col("too_long"))
    return lines.with_columns(pl.col("text").str.strip_chars_end(padding))


def in_pieces(lines: pl.DataFrame) -> list[pl.DataFrame]:
    """Return the lines (column text) in pieces that can be split into fields in little memory."""
    piece = pl.col("text").str.len_bytes().cast(pl.Int64).cum_sum() // _PIECE_BYTES
    return lines.with_columns(piece=piece).partition_by("piece", maintain_order=True, include_key=False)


def _columns(data: pl.DataFrame, headers: list[int], name: str) -> Columns:
    """The columns of a modern file: those of its headers, which must agree. Without a header, the published ones."""
    columns = None if headers and not _has_date(data["text"].head(headers[0])) else PUBLISHED
    for number, header in data[headers].select("source_line", "text").rows():
        try:
            named = columns_of(header)
        except BadHeader as error:
            raise UnreadableFile(
                f"{name}: line {number} is a header with wrong columns: {error}. Expected: "
                f"{', '.join(COLUMNS.values())} in any order. STATION, LINENAME, DIVISION and DESC may be missing. "
                "Correct the header in the file at the feed."
            ) from None
        if columns not in (None, named):
            raise UnreadableFile(
                f"{name}: line {number} is a header with other columns, or another order of columns, than the lines "
                f"above it: {excerpt(header)}. Probably two different files were joined. Publish them with the same "
                "columns."
            )
        columns = named
    return columns or PUBLISHED


def _as_text(published: bytes, name: str) -> tuple[bytes, list[int]]:
    """The text as UTF-8, without byte order mark, with newlines between lines, and the numbers of lines too long.

    Bytes that are not valid UTF-8 are read as Latin-1. If the first line ends with a carriage return alone, each
    carriage return ends a line. Lines that are too long are cut first, so that the text is small.
    """
    newline = newline_of(published) or b"\n"
    spans = list(_too_long(published, newline))
    if len(published) - sum(end - start for start, end in spans) > MAX_TEXT_BYTES:
        raise _too_large(name, _MAX_TEXT)
    kept, numbers, at, lines = list[bytes](), list[int](), 0, 1
    for start, end in spans:
        before = with_newlines(published[at:start], newline)
        lines += before.count(b"\n")
        kept += before, _beginning(published[start : start + _EXCERPT_BYTES])
        numbers.append(lines)
        at = end
    rest = with_newlines(published[at:], newline)
    if lines + rest.count(b"\n") > MAX_WEEK_LINES:
        raise _too_large(name, f"{MAX_WEEK_LINES:,} lines")
    text = b"".join([*kept, rest])
    del kept, rest  # as large as the text
    text = as_utf8(text.removeprefix(codecs.BOM_UTF8))
    if len(text) > MAX_TEXT_BYTES:
        raise _too_large(name, _MAX_TEXT)
    return text, numbers


def _too_large(name: str, limit: str) -> UnreadableFile:
    return UnreadableFile(
        f"{name}: the file has more than {limit}, which is more than any week has. Probably it is not the file of one "
        "week. Replace it at the feed by the published one."
    )


def _too_long(text: bytes, newline: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and end of each line that is too long. Looks at one byte in many, because almost no line is."""
    ends, line_end = (b"\n", re.compile(rb"\n")) if newline == b"\n" else (b"\r\n", re.compile(rb"[\r\n]"))
    at = 0
    while len(text) - at > MAX_LINE_BYTES:
        last = max(text.rfind(ends[n : n + 1], at, at + MAX_LINE_BYTES + 1) for n in range(len(ends)))
        if last >= 0:
            at = last + 1
            continue
        found = line_end.search(text, at + MAX_LINE_BYTES)
        end = found.start() if found else len(text)
        yield at, end
        at = end


def _beginning(excerpt: bytes) -> bytes:
    """The excerpt without the first bytes of a character that was cut."""
    return re.sub(rb"[\xc0-\xff][\x80-\xbf]{0,2}\Z", b"", excerpt)


def newline_of(text: bytes | bytearray) -> bytes:
    """Return the byte that ends lines: a carriage return if the first line ends with one alone.

    Empty if no line ends yet, or if more text could change the answer.
    """
    first = re.search(rb"\n|\r+\n?", text)
    if first is None or (first.end() == len(text) and not first[0].endswith(b"\n")):
        return b""
    return b"\n" if first[0].endswith(b"\n") else b"\r"


def with_newlines(text: bytes, newline: bytes) -> bytes:
    """Return the text with newlines between lines."""
    return text if newline == b"\n" else text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def as_utf8(text: bytes) -> bytes:
    """Return the text in UTF-8. Bytes that are not valid UTF-8 are read as Latin-1."""
    if text.isascii():
        return text
    decoder, view = codecs.getincrementaldecoder("utf-8")(), memoryview(text)
    pieces = [view[at : at + _PIECE_BYTES] for at in range(0, len(text), _PIECE_BYTES)]
    try:
        for piece in pieces:
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        decoded = BytesIO()
        for piece in pieces:
            decoded.write(str(piece, "latin-1").encode())
        return decoded.getvalue()
    return text


def _first_line(text: bytes) -> bytes:
    return BytesIO(text).readline()  # without a copy of the rest


def _layout_of(lines: pl.Series, headers: list[int]) -> Layout | None:
    """The layout of the lines that are not blank. A header on top decides, then the dates. None if there is neither."""
    if headers and _columns_or_none(lines[headers[0]]) and not _has_date(lines.head(headers[0])):
        return "modern"
    for sample in (lines.head(1000), lines):
        modern, legacy = (sample.str.contains(_DATE[layout]).sum() for layout in ("modern", "legacy"))
        if modern or legacy:
            return "modern" if modern >= legacy else "legacy"
    return None


def _has_date(lines: pl.Series) -> bool:
    return any(lines.str.contains(date).any() for date in (rf'[,\t]"?(?:{_ANY_DATE})', _DATE["legacy"]))


def _modern(data: pl.DataFrame, columns: Columns, separator: Separator) -> pl.DataFrame:
    at = {column: n for n, column in enumerate(columns)}
    return (
        data.with_columns(split_fields(data["text"], separator).alias("fields"))
        .select(
            *_NUMBERS,
            pl.lit(None, pl.Int32).alias("source_group"),
            *(
                (
                    pl.col("fields").list.get(at[column], null_on_oob=True) if column in at else pl.lit(None, pl.String)
                ).alias(column)
                for column in COLUMNS
            ),
            "header",
            "too_long",
            complete=pl.col("fields").list.len() == len(columns),
        )
        .with_columns(dated=_DATED)
    )


def _legacy(data: pl.DataFrame) -> pl.DataFrame:
    width, start = len(_GROUP_FIELDS), len(_IDENTITY)
    # A line without groups, or with too many, becomes one candidate, which will be a reject (rule 1).
    split = data.select(
        *_NUMBERS,
        "header",
        "too_long",
        fields=pl.col("text").str.split(","),
        dated=pl.col("groups").is_not_null(),
        groups=pl.col("groups").fill_null(1),
    )
    blank = pl.lit(None, pl.String)
    groups = [
        split.filter(pl.col("groups") > n).select(
            *_NUMBERS,
            pl.when("dated").then(pl.lit(n + 1, pl.Int32)).alias("source_group"),
            *(pl.col("fields").list.get(k, null_on_oob=True).alias(name) for k, name in enumerate(_IDENTITY)),
            *(blank.alias(name) for name in LOOKED_UP),
            *(
                pl.col("fields").list.get(start + n * width + k, null_on_oob=True).alias(name)
                for k, name in enumerate(_GROUP_FIELDS)
            ),
            "header",
            "too_long",
            complete=pl.col("dated") & (pl.col("fields").list.len() >= start + (n + 1) * width),
            dated=pl.col("dated"),
        )
        for n in range(split.select(pl.col("groups").max()).item())
    ]
    return pl.concat(groups).sort("text_line", "source_group")


def _groups(text: pl.Expr) -> pl.Expr:
    """The number of groups in a legacy line. Null without a date, or without a field for it."""
    after_identity = text.str.count_matches(",", literal=True).cast(pl.Int64) + 1 - len(_IDENTITY)
    has_groups = text.str.contains(_DATE["legacy"]) & (after_identity > 0)
    return pl.when(has_groups).then((after_identity / len(_GROUP_FIELDS)).ceil().cast(pl.Int32))


def count_data_lines(published: bytes) -> int:
    """Return the number of data lines (legacy layout: groups) of a file, counted from the text alone (rule 1).

    It does not split data lines into fields, so that a check can find what parsing lost. Blank lines and the first
    header do not count. A legacy line without groups, or with too many, counts as one.
    """
    lines = _data_lines(*_as_text(published, "the file")).select(_SPLITTABLE)["text"]
    headers = find_headers(lines)
    legacy = _layout_of(lines, headers) == "legacy"
    if headers:
        lines = lines.filter(pl.int_range(len(lines), eager=True) != headers[0])
    if not legacy:
        return lines.len()
    groups = _groups(pl.col("text"))
    return int(lines.to_frame().select(pl.when(groups <= MAX_GROUPS).then(groups).otherwise(1).sum()).item())
