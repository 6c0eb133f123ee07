"""Splits a published file into candidates: every data line (legacy layout: every group) as text fields.

The layout is detected from the contents. `readings` decides whether a candidate becomes a reading.
"""

from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

Layout = Literal["modern", "legacy"]

HEADER_START: Final = "C/A,UNIT,SCP,"
REGISTER_DIGITS: Final[dict[Layout, int]] = {"modern": 10, "legacy": 9}
_MODERN_FIELDS: Final = (
    "control_area", "unit", "scp", "station", "line_name", "division", "date", "time", "audit", "entries", "exits",
)  # fmt: skip
_IDENTITY: Final = ("control_area", "unit", "scp")
_GROUP_FIELDS: Final = ("date", "time", "audit", "entries", "exits")
# A legacy date looks like an SCP. The time after it tells the two apart.
_DATE: Final[dict[Layout, str]] = {"modern": r",\d\d/\d\d/\d{4},", "legacy": r",\d\d-\d\d-\d\d,[^,]*:"}
_DATED: Final = pl.col("date").str.contains(r"^\d\d/\d\d/\d{4}$").fill_null(value=False)
_HTML: Final = r"(?i)^\s*<(?:!doctype|html|head|\?xml)"


class UnreadableFile(ValueError):
    """A published file without any reading. The message names the file and the reason."""


@dataclass(frozen=True)
class Candidates:
    """The candidates of a file: `frame` has one row per data line or group, in file order, with all fields as text.

    Columns of `frame`: source_line, source_group (null in the modern layout and for whole lines), the eleven fields
    (null if absent), `complete` (the number of fields is right) and `dated` (the row has a date where data has one).
    """

    layout: Layout
    frame: pl.DataFrame
    text: bytes
    """The file in UTF-8."""

    def lines(self, numbers: pl.Series) -> pl.Series:
        """Return the text of the lines with these numbers, counted from 1, without trailing spaces."""
        lines = pl.read_lines(self.text, name="text")["text"]
        return lines.gather(numbers.cast(pl.UInt32) - 1).str.strip_chars_end()


def parse(published: bytes, name: str) -> Candidates:
    """Split a published file into candidates.

    Args:
        published: the published bytes, unpacked: UTF-8, or else Latin-1.
        name: the name of the file, for messages.

    Raises:
        UnreadableFile: nothing in the file looks like a turnstile reading.
    """
    text = _in_utf8(published)
    return _as_csv(text) or _line_by_line(text, name)


def _as_csv(text: bytes) -> Candidates | None:
    """Parse a regular modern file, with the header on top, as CSV (fast). Returns None if the file may be irregular.

    The result equals that of splitting the lines as long as every line has a last field: the CSV reader pads short
    lines with empty fields and refuses long ones.
    """
    if not text.startswith(HEADER_START.encode()):
        return None
    try:
        frame = pl.read_csv(
            text,
            has_header=False,
            skip_lines=1,
            schema=dict.fromkeys(_MODERN_FIELDS, pl.String()),
            quote_char=None,
            empty_string_is_null=False,
            row_index_name="source_line",
            row_index_offset=2,
        )
    except pl.exceptions.PolarsError:  # a line is too long, or there is nothing below the header
        return None
    frame = frame.select(
        pl.col("source_line").cast(pl.Int32),
        pl.lit(None, pl.Int32).alias("source_group"),
        *_MODERN_FIELDS[:-1],
        pl.col("exits").str.strip_chars_end(),
        complete=pl.lit(value=True),
        dated=_DATED,
    )
    sound = frame.select((pl.col("dated") & (pl.col("exits") != "")).all()).item()
    return Candidates("modern", frame, text) if sound and len(frame) else None


def _line_by_line(text: bytes, name: str) -> Candidates:
    lines = pl.Series("text", [text.decode()]).str.split("\n").explode().str.strip_chars_end()
    numbered = lines.to_frame().with_row_index("source_line", 1).cast({"source_line": pl.Int32})
    data = numbered.filter(pl.col("text") != "")
    if data.is_empty():
        raise UnreadableFile(f"{name}: the file is empty.")
    if data.select(pl.col("text").first().str.contains(_HTML)).item():
        raise UnreadableFile(
            f"{name}: this is a web page, not a turnstile file. It begins with {data['text'][0][:80]!r}."
        )
    header = pl.col("text").str.starts_with(HEADER_START)
    first_header = data.select(pl.col("source_line").filter(header).first()).item()
    if first_header is not None:
        data = data.filter(pl.col("source_line") != first_header)
    if data.is_empty():
        raise UnreadableFile(f"{name}: the file has a header but no readings.")
    layout = _layout_of(data["text"], name)
    frame = _modern(data) if layout == "modern" else _legacy(data)
    return Candidates(layout, frame, text)


def _in_utf8(published: bytes) -> bytes:
    """The text as UTF-8 without byte order mark. Bytes that are not valid UTF-8 are read as Latin-1."""
    if published.isascii():
        return published
    try:
        text = published.decode("utf-8")
    except UnicodeDecodeError:
        text = published.decode("latin-1")
    return text.removeprefix("\ufeff").encode()


def _layout_of(lines: pl.Series, name: str) -> Layout:
    for sample in (lines.head(1000), lines):
        modern, legacy = (sample.str.contains(_DATE[layout]).sum() for layout in ("modern", "legacy"))
        if modern or legacy:
            return "modern" if modern >= legacy else "legacy"
    raise UnreadableFile(
        f"{name}: no line looks like a turnstile reading. The first data line begins with {lines[0][:80]!r}."
    )


def _modern(data: pl.DataFrame) -> pl.DataFrame:
    fields = pl.col("text").str.split(",")
    return (
        data.with_columns(fields=fields)
        .select(
            "source_line",
            pl.lit(None, pl.Int32).alias("source_group"),
            *(pl.col("fields").list.get(n, null_on_oob=True).alias(name) for n, name in enumerate(_MODERN_FIELDS)),
            complete=pl.col("fields").list.len() == len(_MODERN_FIELDS),
        )
        .with_columns(dated=_DATED)
    )


def _legacy(data: pl.DataFrame) -> pl.DataFrame:
    width, start = len(_GROUP_FIELDS), len(_IDENTITY)
    split = data.select(
        "source_line", fields=pl.col("text").str.split(","), dated=pl.col("text").str.contains(_DATE["legacy"])
    )
    # A line without any date has no groups: it becomes one candidate, which will be a reject (rule 1).
    split = split.with_columns(
        groups=pl.when("dated").then(((pl.col("fields").list.len() - start) / width).ceil().cast(pl.Int32)).otherwise(1)
    )
    blank = pl.lit(None, pl.String)
    groups = [
        split.filter(pl.col("groups") > n).select(
            "source_line",
            pl.when("dated").then(pl.lit(n + 1, pl.Int32)).alias("source_group"),
            *(pl.col("fields").list.get(k, null_on_oob=True).alias(name) for k, name in enumerate(_IDENTITY)),
            *(blank.alias(name) for name in ("station", "line_name", "division")),
            *(
                pl.col("fields").list.get(start + n * width + k, null_on_oob=True).alias(name)
                for k, name in enumerate(_GROUP_FIELDS)
            ),
            complete=pl.col("dated") & (pl.col("fields").list.len() >= start + (n + 1) * width),
            dated=pl.col("dated"),
        )
        for n in range(split.select(pl.col("groups").max()).item())
    ]
    return pl.concat(groups).sort("source_line", "source_group")


def count_data_lines(published: bytes) -> int:
    """Return the number of data lines (legacy layout: groups) of a file, counted from the text alone (rule 1).

    It does not split lines into fields, so that a check can find what parsing lost. Blank lines and the first header
    do not count. A legacy line without a date counts as one.
    """
    lines = pl.read_lines(_in_utf8(published))["line"]
    lines = lines.filter(lines.str.contains(r"\S"))
    headers = lines.str.starts_with(HEADER_START)
    if headers.any():
        lines = lines.filter(pl.int_range(len(lines), eager=True) != headers.arg_max())
    if lines.is_empty() or _layout_of(lines, "the file") == "modern":
        return lines.len()
    groups = (lines.str.count_matches(",", literal=True).cast(pl.Int64) - len(_IDENTITY) + 1) / len(_GROUP_FIELDS)
    dated = lines.str.contains(_DATE["legacy"]).cast(pl.Int8)
    return int((groups.ceil().clip(lower_bound=1) * dated + (1 - dated)).sum())
