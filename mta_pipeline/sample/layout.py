"""The two layouts in which the MTA published weekly files, written from columns of text.

What stands in the columns, faults included, is decided in `generator`.
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
    """The lines of a file, without header and line ends.

    Args:
        rows: per reading turnstile (a row of `identity`), moment (date and time), desc, entries, exits as text, in the
            legacy layout also its `line`; a field that is null is left out.
        identity: what lines of a turnstile begin with: `C/A,UNIT,SCP`, in the modern layout with station, lines and
            division.
        layout: which of the two.
    """
    return _modern_lines(rows, identity) if layout == "modern" else _legacy_lines(rows, identity)


def _modern_lines(rows: pl.DataFrame, identity: pl.Series) -> pl.Series:
    """A padded line per reading."""
    line = pl.concat_str("identity", "moment", "desc", "entries", "exits", separator=",", ignore_nulls=True)
    return (
        rows.with_columns(identity=identity.gather(rows["turnstile"]))
        .select(line.str.pad_end(ROW_WIDTH).alias("line"))
        .to_series()
    )


def header() -> str:
    """The modern layout's first line, padded as all its lines are."""
    return HEADER.ljust(ROW_WIDTH)


def _legacy_lines(rows: pl.DataFrame, identity: pl.Series) -> pl.Series:
    """A line per up to eight readings (groups) of one turnstile."""
    group = pl.concat_str("moment", "desc", "entries", "exits", separator=",", ignore_nulls=True)
    lines = rows.group_by("line", maintain_order=True).agg(
        pl.col("turnstile").first(), group.str.join(",").alias("groups")
    )
    return identity.gather(lines["turnstile"]) + "," + lines["groups"]


def line_numbers(turnstile: pl.Series, ends: Bools) -> pl.Series:
    """The number of the legacy line each reading stands on: eight to a line, of one turnstile.

    Args:
        turnstile: per reading, each one's readings together.
        ends: whether the line ends with a reading, though it has room; a group that lacks a field must be the last.
    """
    fresh = np.ones(turnstile.len(), dtype=np.bool_)
    fresh[1:] = ends[:-1] | (turnstile != turnstile.shift()).to_numpy()[1:]
    nth = np.arange(turnstile.len())
    in_run = nth - np.maximum.accumulate(np.where(fresh, nth, 0))
    return pl.Series("line", np.cumsum(in_run % GROUPS_PER_LINE == 0))


def split_words(desc: pl.Series, line: pl.Series) -> pl.Series:
    """DESC as some legacy files have it: a line's words in a row, one per group, whatever does not fit lost."""
    if not desc.str.contains(" ", literal=True).any():
        return desc
    return (
        pl.DataFrame({"desc": desc, "line": line})
        .group_by("line", maintain_order=True)
        .agg(pl.col("desc").str.join(" ").str.split(" ").explode().head(pl.len()))
        .explode("desc")
        .get_column("desc")
    )
