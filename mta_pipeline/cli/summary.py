"""Summary of the lake for the terminal: weeks, rejects, ridership and the busiest complexes.

All numbers come from the files in the lake, not from the metadata of runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from mta_pipeline.lake.parquet import scan
from mta_pipeline.lake.storage import part_path, report_path
from mta_pipeline.schema import Table
from mta_pipeline.settings import SAMPLE_TRUTH, Settings
from mta_pipeline.turnstile.contract import (
    COMPLEX_DAILY,
    STATION_COMPLEXES,
    TURNSTILE_READINGS,
    TURNSTILE_REJECTS,
    TURNSTILE_TRAFFIC,
    RejectReason,
    Status,
)
from mta_pipeline.turnstile.readings import TURNSTILE
from mta_pipeline.turnstile.ridership import is_subway

REGISTERS = ("entries", "exits")
_SHOWN_STATUSES = tuple(status for status in Status if status != Status.OK)


@dataclass(frozen=True)
class LakeSummary:
    """Figures of the requested weeks that are in the lake.

    `weeks` has a row per week: week, readings, turnstiles, entries, exits (subway, statuses ok and long_gap),
    entries_ok, exits_ok and, over all divisions, {entries,exits}_{first,reset,implausible,long_gap}.
    `rejects` has week, reason, rejects. `busiest` has name, borough, entries, exits of the busiest complexes.
    """

    weeks: pl.DataFrame
    rejects: pl.DataFrame
    busiest: pl.DataFrame


def summarize(lake_root: str, weeks: Sequence[str], *, top: int = 5) -> LakeSummary:
    """Read the figures of these weeks from the lake. Missing weeks are left out."""

    def read(table: Table, week: str | None = None) -> pl.LazyFrame:
        return scan(part_path(lake_root, table.layer, table.name, week), in_place=True)

    rows, rejects, daily = [], [], []
    for week in weeks:
        try:
            readings, traffic = read(TURNSTILE_READINGS, week), read(TURNSTILE_TRAFFIC, week)
            rejects.append(
                read(TURNSTILE_REJECTS, week).group_by("reason").agg(pl.lit(week).alias("week"), rejects=pl.len())
            )
            daily.append(read(COMPLEX_DAILY, week))
        except FileNotFoundError:
            continue
        turnstiles = pl.struct(TURNSTILE).n_unique()
        count = readings.select(pl.lit(week).alias("week"), readings=pl.len(), turnstiles=turnstiles)
        rows.append(pl.concat([count.collect(), traffic.select(_figures()).collect()], how="horizontal"))
    if not rows:
        return LakeSummary(pl.DataFrame(), pl.DataFrame(), pl.DataFrame())
    busiest = (
        pl.concat(daily)
        .group_by("complex_id")
        .agg(pl.col(REGISTERS).sum())
        .join(read(STATION_COMPLEXES), on="complex_id")
        .sort(pl.sum_horizontal(REGISTERS), descending=True)
        .select("name", "borough", *REGISTERS)
        .head(top)
    )
    return LakeSummary(
        pl.concat(rows),
        pl.concat(rejects).sort("week", pl.col("rejects"), descending=[False, True]).collect(),
        busiest.collect(),
    )


def _figures() -> list[pl.Expr]:
    figures = [pl.col(register).filter(is_subway()).sum() for register in REGISTERS]
    figures += [
        pl.col(register).filter(is_subway() & (pl.col(f"{register}_status") == Status.OK)).sum().alias(f"{register}_ok")
        for register in REGISTERS
    ]
    figures += [
        (pl.col(f"{register}_status") == status).sum().alias(f"{register}_{status}")
        for register in REGISTERS
        for status in _SHOWN_STATUSES
    ]
    return figures


def show(console: Console, settings: Settings, weeks: Sequence[str]) -> None:
    """Print the figures of these weeks, with the true figures if the feed is a sample, and the paths of the files."""
    summary = summarize(settings.lake_root, weeks)
    if summary.weeks.is_empty():
        console.print(
            f"None of these weeks is in the lake at {escape(settings.lake_root)}.", style="yellow", soft_wrap=True
        )
        return
    truth = known_truth(settings.feed)
    for table in (
        _input(summary),
        _statuses(summary.weeks),
        _busiest(summary.busiest),
        _riders(summary.weeks, truth),
    ):
        table.title = f"{table.title}{'' if truth is None else ' (sample)'}"
        console.print()
        console.print(table)
    if truth is not None:
        console.print(
            "The true numbers of riders are known for the sample. Riders that are not found are in intervals whose "
            "register was reset or jumped. The traffic of these intervals is null; the pipeline does not estimate it."
        )
    else:
        console.print("Entries leave out riders who tap OMNY. Exits include them.")
    if absent := [week for week in weeks if week not in summary.weeks["week"].to_list()]:
        console.print(f"Not in the lake: {', '.join(absent)}", style="yellow")
    _next_steps(console, settings, is_sample=truth is not None)


def _next_steps(console: Console, settings: Settings, *, is_sample: bool) -> None:
    report = report_path(settings.lake_root)
    lines = [
        ("Files", f"{settings.lake_root}/<layer>/<table>/week=YYYY-MM-DD/part-0.parquet"),
        *([("Report", f"{report}    (open it in a browser)")] if report.exists() else []),
        ("Dagster UI", "make dev    (with this data)"),
    ]
    if is_sample:
        lines.append(("Real data", "MTA_FEED=<URL or directory> LAKE_ROOT=<directory or URL> make run"))
    console.print()
    for what, line in lines:
        console.print(f"[bold]{what:<13}[/bold]{escape(line)}", soft_wrap=True, highlight=False)


def known_truth(feed: str) -> pl.DataFrame | None:
    """The true figures per week of a sample feed, or None if the feed is not a sample."""
    path = Path(feed) / SAMPLE_TRUTH
    return pl.read_csv(path, glob=False) if path.is_file() else None


def _input(summary: LakeSummary) -> Grid:
    by_reason = summary.rejects.pivot("reason", index="week", values="rejects") if summary.rejects.height else None
    reasons = [reason for reason in RejectReason if by_reason is not None and reason in by_reason.columns]
    grid = _grid("Readings, turnstiles and rejected lines by reason", ("week", "readings", "turnstiles", *reasons))
    table = summary.weeks if by_reason is None else summary.weeks.join(by_reason, on="week", how="left")
    for row in table.to_dicts():
        grid.add_row(row["week"], *(f"{row[name] or 0:,}" for name in ("readings", "turnstiles", *reasons)))
    return grid


def _riders(weeks: pl.DataFrame, truth: pl.DataFrame | None) -> Grid:
    """Entries and exits per week, with the true figures if the feed is a sample."""
    columns = ("week", *REGISTERS, *(() if truth is None else ("true entries", "true exits", "found")))
    grid = _grid("Riders through subway turnstiles", columns)
    known = {} if truth is None else {row["week"]: row for row in truth.to_dicts()}
    for row in weeks.to_dicts():
        cells = [row["week"], *(f"{row[register]:,}" for register in REGISTERS)]
        if true := known.get(row["week"]):
            found = sum(row[r] for r in REGISTERS) / sum(true[f"true_{r}"] for r in REGISTERS)
            cells += [*(f"{true[f'true_{r}']:,}" for r in REGISTERS), f"{found:.2%}"]
        grid.add_row(*cells)
    grid.add_section()
    grid.add_row("all", *(f"{weeks[register].sum():,}" for register in REGISTERS))
    return grid


def _statuses(weeks: pl.DataFrame) -> Grid:
    columns = ("week", "register", *_SHOWN_STATUSES, "riders, ok")
    grid = _grid("Intervals that are not ok, by register and status, and riders in ok intervals", columns)
    for row in weeks.to_dicts():
        for register in REGISTERS:
            counts = (f"{row[f'{register}_{status}']:,}" for status in _SHOWN_STATUSES)
            week = row["week"] if register == REGISTERS[0] else ""
            grid.add_row(week, register, *counts, f"{row[f'{register}_ok']:,}")
    return grid


def _busiest(busiest: pl.DataFrame) -> Grid:
    grid = _grid("Busiest station complexes", ("complex", "borough", *REGISTERS))
    for row in busiest.to_dicts():
        grid.add_row(row["name"], row["borough"], *(f"{row[r]:,}" for r in REGISTERS))
    return grid


def _grid(title: str, columns: Sequence[str] = ()) -> Grid:
    grid = Grid(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        grid.add_column(name, justify="left" if name in {"week", "register", "complex", "borough"} else "right")
    return grid
