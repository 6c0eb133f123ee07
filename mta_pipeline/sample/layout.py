"""Writes the lines of weekly files in the MTA's two layouts, from columns of text.

`audits` decides the contents of the columns, including the faults.
"""

from typing import Final, Literal

import numpy as np
import polars as pl

from mta_pipeline.sample.chance import Bools

Layout = Literal["modern", "legacy"]

FIRST_MODERN_WEEK: Final = "2014-10-11"
"""The week of the file 141018, the first in the modern layout."""

ROW_WIDTH: Final = 130
GROUPS_PER_LINE: Final = 8
HEADER: Final = "C/A,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS"
REGISTER_DIGITS: Final[dict[Layout, int]] = {"modern": 10, "legacy": 9}
MOMENT: Final[dict[Layout, str]] = {"modern": "%m/%d/%Y,%H:%M:%S", "legacy": "%m-%d-%y,%H:%M:%S"}

JUNK_ON_TOP: Final = (
    "NUMBER,OF,ENTRIES",
    "AND,OF,EXITS",
    "AS COUNTED",
    "BY TURNSTILE AND AUDIT",
    "--------",
    "NOTE,ALL,COUNTS,ARE,CUMULATIVE",
    "NOTE,SEE,FIELD,DESCRIPTION",
    "PAGE,1",
    "PREPARED,WEEKLY",
    "========",
)
JUNK_AT_END: Final = "USE"


def lines(rows: pl.DataFrame, identity: pl.Series, layout: Layout) -> pl.Series:
    """Return the lines of a file, without header and line ends.

    Args:
        rows: one row per reading with turnstile (a row number in `identity`), moment (date and time), desc, entries and
            exits as text, and in the legacy layout `line`. Fields that are null are left out.
        identity: the beginning of a turnstile's lines: `C/A,UNIT,SCP`, in the modern layout also station, lines and
            division.
        layout: the layout.
    """
    return _modern_lines(rows, identity) if layout == "modern" else _legacy_lines(rows, identity)


def _modern_lines(rows: pl.DataFrame, identity: pl.Series) -> pl.Series:
    """One padded line per reading."""
    line = pl.concat_str("identity", "moment", "desc", "entries", "exits", separator=",", ignore_nulls=True)
    return (
        rows.with_columns(identity=identity.gather(rows["turnstile"]))
        .select(line.str.pad_end(ROW_WIDTH).alias("line"))
        .to_series()
    )


def header() -> str:
    """Return the header of the modern layout, padded like all its lines."""
    return HEADER.ljust(ROW_WIDTH)


def _legacy_lines(rows: pl.DataFrame, identity: pl.Series) -> pl.Series:
    """One line per up to eight readings (groups) of one turnstile."""
    group = pl.concat_str("moment", "desc", "entries", "exits", separator=",", ignore_nulls=True)
    lines = rows.group_by("line", maintain_order=True).agg(
        pl.col("turnstile").first(), group.str.join(",").alias("groups")
    )
    return identity.gather(lines["turnstile"]) + "," + lines["groups"]


def line_numbers(turnstile: pl.Series, ends: Bools) -> pl.Series:
    """Return the legacy line number of each reading: up to eight readings of one turnstile per line.

    Args:
        turnstile: the turnstile of each reading, grouped.
        ends: whether a reading ends its line early. A group that lacks a field must be the last.
    """
    fresh = np.ones(turnstile.len(), dtype=np.bool_)
    fresh[1:] = ends[:-1] | (turnstile != turnstile.shift()).to_numpy()[1:]
    nth = np.arange(turnstile.len())
    in_run = nth - np.maximum.accumulate(np.where(fresh, nth, 0))
    return pl.Series("line", np.cumsum(in_run % GROUPS_PER_LINE == 0))


def split_words(desc: pl.Series, line: pl.Series) -> pl.Series:
    """Return DESC as in some legacy files: the words of a line in a row, one per group. Surplus words are lost."""
    if not desc.str.contains(" ", literal=True).any():
        return desc
    return (
        pl.DataFrame({"desc": desc, "line": line})
        .group_by("line", maintain_order=True)
        .agg(pl.col("desc").str.join(" ").str.split(" ").explode().head(pl.len()))
        .explode("desc")
        .get_column("desc")
    )
