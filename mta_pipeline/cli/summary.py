"""Summary of the lake for the terminal: weeks, rejects, ridership and the busiest complexes, and what failed.

All numbers come from the files in the lake, not from the metadata of runs. The summary of many weeks fits on a screen.
"""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from mta_pipeline.cli.places import project_home
from mta_pipeline.cli.progress import grouped, kind_of, ranges_of
from mta_pipeline.lake.parquet import scan
from mta_pipeline.lake.storage import part_path, report_path
from mta_pipeline.schema import Table
from mta_pipeline.settings import SAMPLE_TRUTH, Settings, project_folder
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

if TYPE_CHECKING:
    from mta_pipeline.cli.run import Outcome

REGISTERS = ("entries", "exits")
_SHOWN_STATUSES = tuple(status for status in Status if status != Status.OK)

_FEW = 4
"""Number of weeks up to which every table has them all."""
_SOME = 13
"""Number of weeks up to which riders are shown by week. With more weeks, they are shown by year."""


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


def show(console: Console, settings: Settings, weeks: Sequence[str], *, verbose: bool = False) -> None:
    """Print the figures of these weeks, with the true figures if the feed is a sample, and the paths of the files.

    With `verbose`, every table has every week.
    """
    summary = summarize(settings.lake_root, weeks)
    if summary.weeks.is_empty():
        console.print(
            f"None of these weeks is in the lake at {escape(settings.lake_root)}.", style="yellow", soft_wrap=True
        )
        return
    truth = known_truth(settings.feed)
    known = summary.weeks["week"]
    total = {week: f"{len(known)} weeks" for week in known} if len(known) > _FEW and not verbose else {}
    years = {week: week[:4] for week in known} if len(known) > _SOME and not verbose else {}
    console.print()
    for table in (
        _input(summary, total),
        _statuses(_summed(summary.weeks, total)),
        _busiest(summary.busiest),
        _riders(summary.weeks, truth, years),
    ):
        table.title = f"{table.title}{'' if truth is None else ' (sample)'}"
        console.print(table)
    if truth is not None:
        console.print(
            "The true numbers of riders are known for the sample. Riders that are not found are in intervals whose "
            "register was reset or jumped. The traffic of these intervals is null; the pipeline does not estimate it."
        )
    else:
        console.print("Entries leave out riders who tap OMNY. Exits include them.")
    if total:
        console.print("--verbose shows every week.", style="dim")
    if absent := sorted({*weeks} - {*known}):
        console.print(f"Not in the lake: {ranges_of(absent)}", style="yellow")
    _next_steps(console, settings, is_sample=truth is not None)


def show_problems(console: Console, outcome: "Outcome", feed: str, *, verbose: bool) -> None:
    """Print repeated warnings of a run and what failed in it, similar ones together, the most severe last."""

    def lines(colour: str, label: str, texts: Iterator[str]) -> None:
        for text in grouped(texts, verbose=verbose):
            console.print(f"[{colour}]{label}[/{colour}]{escape(text)}")

    kinds = Counter(map(kind_of, outcome.warnings))
    # The progress has shown the others, and all of them if it is verbose.
    repeated = (warning for warning in outcome.warnings if kinds[kind_of(warning)] > 1 and not verbose)
    lines("yellow", "", repeated)
    outdated = outcome.out_of_date.items()
    lines("yellow", "", (f"week {week} is outdated, {reason}: run --weeks {week}" for week, reason in outdated))
    lines("red", "", (f"week {week} failed: {reason}" for week, reason in outcome.failed_weeks.items()))
    lines("red", "check failed: ", iter(outcome.failed_checks))
    lines("red", "failed: ", iter(outcome.failures))
    if outcome.nothing_offered:
        console.print(f"[red]The feed offers none of these weeks:[/red] {escape(feed)}")
    elif outcome.not_offered:
        console.print(
            f"[red]The feed does not offer {len(outcome.not_offered):,} of these weeks:[/red] "
            f"{ranges_of(outcome.not_offered)} ({escape(feed)})"
        )


def _next_steps(console: Console, settings: Settings, *, is_sample: bool) -> None:
    report, ui = report_path(settings.lake_root), dev_command(settings)
    lines = [
        ("Files", f"{settings.lake_root}/<layer>/<table>/week=YYYY-MM-DD/part-0.parquet"),
        *([("Report", f"{report}    (open it in a browser)")] if report.exists() else []),
        *([("Dagster UI", f"{ui}    (with this data)")] if ui else []),
    ]
    if is_sample:
        lines.append(("Real data", "MTA_FEED=<URL or directory> LAKE_ROOT=<directory or URL> make run"))
    console.print()
    for what, line in lines:
        console.print(f"[bold]{what:<13}[/bold]{escape(line)}", soft_wrap=True, highlight=False)


def dev_command(settings: Settings) -> str | None:
    """The command that opens the UI on the same feed, lake and records. None without records or outside the project."""
    folder, default_home = project_folder(), project_home(settings)
    if folder is None or default_home is None or settings.dagster_home is None:
        return None
    places = {
        "MTA_FEED": None if settings.is_sample else settings.feed,
        "LAKE_ROOT": None if settings.lake_root == str(default_home.with_name("lake")) else settings.lake_root,
        "DAGSTER_HOME": None if settings.dagster_home == default_home else settings.dagster_home,
    }
    words = [f"{name}={shlex.quote(str(place))}" for name, place in places.items() if place]
    words += ["make", *([] if Path.cwd() == folder else ["-C", shlex.quote(str(folder))]), "dev"]
    return " ".join(words)


def known_truth(feed: str) -> pl.DataFrame | None:
    """The true figures per week of a sample feed, or None if the feed is not a sample."""
    path = Path(feed) / SAMPLE_TRUTH
    return pl.read_csv(path, glob=False) if path.is_file() else None


def _summed(weeks: pl.DataFrame, labels: Mapping[str, str]) -> pl.DataFrame:
    """The figures with one row per label of weeks, or unchanged without labels. Turnstiles are the most of any week."""
    if not labels:
        return weeks
    figures = pl.all().exclude("week", "turnstiles").sum()
    most = pl.col("^turnstiles$").max()
    return weeks.group_by(pl.col("week").replace(labels), maintain_order=True).agg(figures, most)


def _input(summary: LakeSummary, labels: Mapping[str, str]) -> Grid:
    by_reason = summary.rejects.pivot("reason", index="week", values="rejects") if summary.rejects.height else None
    reasons = [reason for reason in RejectReason if by_reason is not None and reason in by_reason.columns]
    turnstiles = "turnstiles, at most" if labels else "turnstiles"
    grid = _grid("Readings, turnstiles and rejected lines by reason", ("week", "readings", turnstiles, *reasons))
    table = summary.weeks if by_reason is None else summary.weeks.join(by_reason, on="week", how="left")
    for row in _summed(table, labels).to_dicts():
        grid.add_row(row["week"], *(f"{row[name] or 0:,}" for name in ("readings", "turnstiles", *reasons)))
    return grid


def _riders(weeks: pl.DataFrame, truth: pl.DataFrame | None, labels: Mapping[str, str]) -> Grid:
    """Entries and exits per label of weeks, with the true figures if the feed is a sample."""
    columns = ("week", *REGISTERS, *(() if truth is None else ("true entries", "true exits", "found")))
    grid = _grid("Riders through subway turnstiles", columns)
    known = None if truth is None else truth.select("week", *(f"true_{register}" for register in REGISTERS))
    table = weeks if known is None else weeks.join(known, on="week", how="left")
    for row in _summed(table, labels).to_dicts():
        cells = [row["week"], *(f"{row[register]:,}" for register in REGISTERS)]
        if row.get("true_entries"):
            found = sum(row[r] for r in REGISTERS) / sum(row[f"true_{r}"] for r in REGISTERS)
            cells += [*(f"{row[f'true_{r}']:,}" for r in REGISTERS), f"{found:.2%}"]
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
