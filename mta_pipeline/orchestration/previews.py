"""Previews of a table as metadata of its materializations: sample rows and a small chart, both as Markdown."""

import base64
from typing import Final

import dagster as dg
import polars as pl

_ROWS: Final = 5
_WIDTH, _HEIGHT, _MARGIN = 320, 100, 8
_COLOURS: Final = {"entries": "#e69f00", "exits": "#0072b2"}
"""Those of the report. They suit colour-blind people."""


def sample_rows(table: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Return the first rows of a table as a Markdown table. Null is an empty cell."""
    rows = table.head(_ROWS).cast(pl.String, strict=False).rows()
    cells = [table.columns, ["---"] * table.width, *rows]
    lines = ("| " + " | ".join((value or "").replace("|", "\\|") for value in row) + " |" for row in cells)
    return dg.MarkdownMetadataValue("\n".join(lines))


def riders_chart(table: pl.DataFrame, time: str) -> dg.MarkdownMetadataValue:
    """Return a chart of the entries and exits of a table, summed over rows with the same value of the column `time`."""
    sums = table.group_by(time).agg(pl.col(*_COLOURS).sum()).sort(time)
    top = float(sums.select(pl.max_horizontal(pl.col(*_COLOURS).max())).item() or 1)
    step = (_WIDTH - 2 * _MARGIN) / max(1, sums.height - 1)

    def line(register: str) -> str:
        heights = [_HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * float(value) / top for value in sums[register]]
        points = " ".join(f"{_MARGIN + n * step:.0f},{height:.0f}" for n, height in enumerate(heights))
        return f'<polyline points="{points}" fill="none" stroke="{_COLOURS[register]}" stroke-width="2"/>'

    drawn = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(map(line, _COLOURS))}</svg>'
    )
    span = f"{sums[time][0]} to {sums[time][-1]}" if sums.height else "no rows"
    caption = f"Entries (orange) and exits (blue) by {time}, {span}, at most {top:,.0f}"
    data = base64.b64encode(drawn.encode()).decode()
    return dg.MarkdownMetadataValue(f"{caption}\n\n![{caption}](data:image/svg+xml;base64,{data})")
