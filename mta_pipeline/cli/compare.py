"""Shows the differences of two lakes in the terminal. `lake.comparison` finds them."""

from collections.abc import Collection, Mapping, Sequence

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table as Grid

from mta_pipeline.lake.comparison import Options, PartDifference, compare_parts
from mta_pipeline.lake.storage import Part
from mta_pipeline.marts.contract import MARTS
from mta_pipeline.tables import TABLES


def differences(
    console: Console, first: str, second: str, wanted: Mapping[Part, tuple[bool, bool]], options: Options
) -> list[PartDifference]:
    """Compare parts of two lakes, with a progress bar in a terminal, and return those that differ."""
    keys = {table.name: table.key for table in (*TABLES, *MARTS)}
    compared = compare_parts(first, second, wanted, keys, options)
    bar = track(compared, "Comparing", len(wanted), console=console, transient=True, disable=not console.is_terminal)
    return [part for part in bar if part]


def show(console: Console, found: Sequence[PartDifference], compared: Collection[Part]) -> None:
    """Print the parts that differ, with their samples, and a summary."""
    tables, weeks = len({part.table for part in compared}), len({part.week for part in compared if part.week})
    scope = f"{len(compared):,} files of {tables:,} tables and {weeks:,} weeks"
    if not found:
        console.print(f"[green]No differences in {scope}.[/green]")
        return
    grid = Grid(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("table", "week"):
        grid.add_column(name, no_wrap=True)
    for name in ("rows, first", "rows, second", "only first", "only second", "changed"):
        grid.add_column(name, justify="right")
    grid.add_column("columns", overflow="fold")
    for part in found:
        grid.add_row(*_row(part))
    console.print(grid)
    for part in found:
        for kind, rows in part.samples.items():
            _show_rows(console, part.part, kind, rows)
    missing = sum(None in (part.first_rows, part.second_rows) for part in found)
    console.print(
        f"[red]{len(found):,} of {scope} differ.[/red] In one lake only: {missing:,}. Rows in the others: "
        f"{sum(part.only_first for part in found):,} only in the first, "
        f"{sum(part.only_second for part in found):,} only in the second, "
        f"{sum(part.changed for part in found):,} changed."
    )


def _row(part: PartDifference) -> list[str]:
    layer, table, week = part.part
    counts = ("missing" if rows is None else f"{rows:,}" for rows in (part.first_rows, part.second_rows))
    kinds = (f"{rows:,}" if rows else "" for rows in (part.only_first, part.only_second, part.changed))
    return [f"{layer}/{table}", week or "", *counts, *kinds, escape(", ".join(part.columns))]


def _show_rows(console: Console, part: Part, kind: str, rows: pl.DataFrame) -> None:
    title = f"{part.layer}/{part.table}{f' of {part.week}' if part.week else ''}: {kind}"
    grid = Grid(*map(escape, rows.columns), title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for row in rows.rows():
        grid.add_row(*(escape(str(value)) for value in row))
    if len(rows):
        console.print(grid)
