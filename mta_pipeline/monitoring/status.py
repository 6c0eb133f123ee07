"""Health for people: what is wrong and what to do about it, and the key figures, on a terminal or as a page.

What counts as wrong is said here once, for both. When somebody is told without asking is not decided here.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import dagster as dg

from mta_pipeline.monitoring.health import EndedRun, Health

if TYPE_CHECKING:
    from rich.console import RenderableType

_LONG_IN_QUEUE: Final = dt.timedelta(hours=1)
_WEEKS_NAMED: Final = 5


class Problem(NamedTuple):
    """Something that somebody should look at."""

    what: str
    do: str


def problems(health: Health) -> Iterator[Problem]:
    """What is wrong, the most fundamental first."""
    if dead := [daemon for daemon in health.daemons if not daemon.is_healthy]:
        seen = [daemon.heartbeat for daemon in dead if daemon.heartbeat]
        since = f"seen last {_ago(max(seen), health)}" if seen else "never seen"
        parts = "" if len(dead) == len(health.daemons) else f" ({', '.join(daemon.name for daemon in dead)})"
        yield Problem(
            f"Dagster's daemon{parts} is not running, {since}: sensors and schedules do not run",
            "start dagster-daemon, or make dev",
        )
    for run in health.in_progress:
        if run.status is dg.DagsterRunStatus.QUEUED and health.at - run.since > _LONG_IN_QUEUE:
            yield Problem(
                f"Run {run.run_id[:8]} of {run.job} waits, asked for {_ago(run.since, health)}",
                "see what runs, and whether it hangs",
            )
    for ticks in health.ticks:
        if ticks.is_running and ticks.failures_in_a_row:
            times = "once" if ticks.failures_in_a_row == 1 else f"{ticks.failures_in_a_row} times in a row"
            yield Problem(f"The {ticks.kind} {ticks.name} has failed {times}: {_line(ticks.error)}", "see its ticks")
        elif not ticks.is_running:
            yield Problem(f"The {ticks.kind} {ticks.name} is turned off", "enable it if it should run")
    if unfinished := health.weeks.unfinished:
        yield Problem(f"{_count(unfinished)} landed, but incomplete", "launch weekly_ridership over them")
    if missing := health.weeks.missing:
        yield Problem(f"{_count(missing)} on offer, and not in the lake", "launch weekly_ridership over them")
    for failed in health.failed_checks:
        of = f" of {failed.week}" if failed.week else ""
        yield Problem(
            f"{failed.check.asset_key.to_user_string()}{of}, {failed.check.name} "
            f"({failed.severity.lower()}): {_line(failed.description)}",
            "see the check",
        )


def figures(health: Health) -> dict[str, str]:
    """The key figures, each as text."""
    runs = {status: [run for run in health.ended if run.status is status] for status in dg.DagsterRunStatus}
    newest = health.weeks.complete[-1] if health.weeks.complete else None
    numbers = {name: f"{value:,.0f}" for name, value in health.newest.items()}
    offered = health.weeks.available
    return {
        "Newest week": newest or "none yet",
        "Newest week on offer": offered[-1] if offered else "not known",
        "Weeks complete": f"{len(health.weeks.complete):,}",
        "Exits in that week": numbers.get("exits", "not known"),
        "Entries, without OMNY taps": numbers.get("entries", "not known"),
        "Readings": numbers.get("readings", "not known"),
        "Turnstiles": numbers.get("turnstiles", "not known"),
        "Rejected lines": f"{sum(health.newest_rejects.values()):,}" if newest else "not known",
        "Runs under way": str(len(health.in_progress)),
        "Runs that succeeded": f"{len(runs[dg.DagsterRunStatus.SUCCESS]):,}",
        "Runs that failed": f"{len(runs[dg.DagsterRunStatus.FAILURE]):,}",
        "Seconds a week, by all runs": _seconds_a_week(runs[dg.DagsterRunStatus.SUCCESS]),
    }


def terminal(health: Health) -> "Iterator[RenderableType]":
    """The same for a terminal."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415  # slow to import
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    grid = Table(box=None, show_header=False)
    for name, text in figures(health).items():
        grid.add_row(name, f"[bold]{escape(text)}[/bold]")
    yield grid
    found = list(problems(health))
    if not found:
        yield "[green]Nothing is wrong.[/green]"
        return
    table = Table("What is wrong", "What to do", box=SIMPLE_HEAD)
    for problem in found:
        table.add_row(escape(problem.what), escape(problem.do))
    yield table


def page(health: Health) -> str:
    """The same as a page, which asks for itself anew every minute and for nothing else."""
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415  # slow to import

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["ago"] = lambda at: _ago(at, health)
    made: Any = environment.from_string(files("mta_pipeline.monitoring").joinpath("status.html").read_text("utf-8"))
    return str(made.render(health=health, figures=figures(health), problems=list(problems(health))))


def _seconds_a_week(runs: Sequence[EndedRun]) -> str:
    of_weeks = [(run.seconds, run.weeks) for run in runs if run.weeks and run.seconds is not None]
    weeks = sum(covered for _, covered in of_weeks)
    return f"{sum(seconds for seconds, _ in of_weeks) / weeks:.1f}" if weeks else "not known"


def _ago(at: dt.datetime, health: Health) -> str:
    minutes = (health.at - at) / dt.timedelta(minutes=1)
    if minutes < 2:
        return "just now"
    if minutes < 120:
        return f"{minutes:.0f} min ago"
    return f"{minutes / 60:.0f} h ago" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days ago"


def _count(weeks: Sequence[str]) -> str:
    named = ", ".join(weeks[:_WEEKS_NAMED]) + (", …" if len(weeks) > _WEEKS_NAMED else "")
    return f"{len(weeks)} week{'' if len(weeks) == 1 else 's'} ({named})"


def _line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason given"
