"""The header of a modern file: how its columns may be spelled, and which field of a line holds which column."""

import re
from typing import Final, Literal

import polars as pl

COLUMNS: Final = {
    "control_area": "C/A",
    "unit": "UNIT",
    "scp": "SCP",
    "station": "STATION",
    "line_name": "LINENAME",
    "division": "DIVISION",
    "date": "DATE",
    "time": "TIME",
    "audit": "DESC",
    "entries": "ENTRIES",
    "exits": "EXITS",
}
"""The columns of a modern file in published order, and their published names."""

LOOKED_UP: Final = ("station", "line_name", "division")
"""Columns that a file may lack, because they can be looked up by booth."""

OPTIONAL: Final = (*LOOKED_UP, "audit")
"""All columns that a file may lack."""

Columns = tuple[str | None, ...]
"""The column of each field of a line. None is a field that is ignored."""

Separator = Literal[",", "\t"]
"""The character between two fields."""

PUBLISHED: Final[Columns] = tuple(COLUMNS)

# Case, blanks, underscores and slashes play no part: see `_column`.
_SPELLINGS: Final = {
    "CA": "control_area",
    "UNIT": "unit",
    "SCP": "scp",
    "STATION": "station",
    "LINENAME": "line_name",
    "DIVISION": "division",
    "DATE": "date",
    "TIME": "time",
    "DESC": "audit",
    "DESCRIPTION": "audit",
    "ENTRIES": "entries",
    "EXITS": "exits",
}
# The index that pandas writes, also after it has read it again, and the portal's own columns such as `:id`.
_IGNORED: Final = re.compile(r"(?:Unnamed: ?\d+)?|:.*")
_ENOUGH: Final = 3
"""A line that names this many columns is a header."""
_MAX_HEADER_BYTES: Final = 4096


class BadHeader(ValueError):
    """A header that does not name the columns of a turnstile file. The message names the columns."""


def separator_of(header: str) -> Separator:
    """Return the character between the fields of a file with this header."""
    return "\t" if header.count("\t") > header.count(",") else ","


def split_fields(lines: pl.Series, separator: Separator) -> pl.Series:
    """Split lines into fields, with CSV quoting. A quotation mark that is not closed in its line is text."""
    if not lines.str.contains('"', literal=True).any():
        return lines.str.split(separator)
    # Each field is matched with the separator that ends it, so that no match is empty.
    field = pl.element().str.strip_suffix(separator)
    quoted = field.str.extract(r'^"((?:[^"]|"")*)" *$').str.replace_all('""', '"', literal=True).str.strip_chars_end()
    pattern = rf'"(?:[^"]|"")*" *{separator}|[^{separator}]*{separator}'
    return (lines + separator).str.extract_all(pattern).list.eval(pl.coalesce(quoted, field))


def find_headers(lines: pl.Series) -> list[int]:
    """Return the positions of all lines that are headers, whatever their order. Wrong columns do not matter."""
    is_likely = lines.str.contains("(?i)scp|unit|entries|exits") & (lines.str.len_bytes() <= _MAX_HEADER_BYTES)
    likely = is_likely.arg_true()  # fast, because lines are many
    return [at for at, line in zip(likely, lines.gather(likely), strict=True) if _is_header(_names(line))]


def columns_of(header: str) -> Columns | None:
    """Return the columns that a header names, or None if the line is not a header.

    Raises:
        BadHeader: columns are missing, unknown or named twice.
    """
    names = _names(header)
    if not _is_header(names):
        return None
    columns = tuple(_column(name) for name in names)
    known = [column for column in columns if column]
    unknown = [name for name, column in zip(names, columns, strict=True) if not column and not _IGNORED.fullmatch(name)]
    problems = [
        *(f"{COLUMNS[column]} is missing" for column in COLUMNS if column not in (*known, *OPTIONAL)),
        *(f"{COLUMNS[column]} occurs twice" for column in COLUMNS if known.count(column) > 1),
        *(f"{name[:40]!r} is not a known column" for name in unknown),
    ]
    if problems:
        raise BadHeader("; ".join(problems[:9]) + ("; and more" if problems[9:] else ""))
    return columns


def _names(header: str) -> list[str]:
    return [name.strip(' "\t\r\n') for name in header.split(separator_of(header))]


def _is_header(names: list[str]) -> bool:
    return len({_column(name) for name in names} - {None}) >= _ENOUGH


def _column(name: str) -> str | None:
    return _SPELLINGS.get(re.sub(r"[\s_/]", "", name).upper())
