"""Health for people: problems with what to do, and key figures, in the terminal or as a page.

`problems` defines what counts as a problem for both. Notifications have their own rules, see `notifications`.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import dagster as dg

from mta_pipeline.lake.completeness import due_because
from mta_pipeline.monitoring.health import EndedRun, Health

if TYPE_CHECKING:
    from rich.console import RenderableType

_LONG_IN_QUEUE: Final = dt.timedelta(hours=1)
_WEEKS_NAMED: Final = 5


class Problem(NamedTuple):
    """A problem that needs attention, and what to do about it."""

    what: str
    do: str


def problems(health: Health) -> Iterator[Problem]:
    """The current problems, the most fundamental first."""
    is_queued = any(run.status is dg.DagsterRunStatus.QUEUED for run in health.in_progress)
    needs_daemon = is_queued or any(ticks.is_running for ticks in health.ticks)
    dead = [daemon for daemon in health.daemons if not daemon.is_healthy]
    if dead and needs_daemon:
        seen = [daemon.heartbeat for daemon in dead if daemon.heartbeat]
        since = f"last seen {_ago(max(seen), health)}" if seen else "never seen"
        parts = "" if len(dead) == len(health.daemons) else f" ({', '.join(daemon.name for daemon in dead)})"
        yield Problem(
            f"Dagster's daemon{parts} is not running, {since}: sensors, schedules and queued runs do not start",
            "start dagster-daemon, or run make dev",
        )
    for run in health.in_progress:
        if run.status is dg.DagsterRunStatus.QUEUED and health.at - run.since > _LONG_IN_QUEUE:
            yield Problem(
                f"Run {run.run_id[:8]} of {run.job} is still in the queue, created {_ago(run.since, health)}",
                "find the run in progress that blocks the queue; terminate it if it hangs",
            )
    for ticks in health.ticks:
        if ticks.is_running and ticks.failures_in_a_row:
            times = "once" if ticks.failures_in_a_row == 1 else f"{ticks.failures_in_a_row} times in a row"
            what = f"The {ticks.kind} {ticks.name} has failed {times}: {_line(ticks.error)}"
            yield Problem(what, "open its ticks in the UI")
        elif not ticks.is_running:
            yield Problem(f"The {ticks.kind} {ticks.name} is turned off", "enable it if it should run")
    if unfinished := health.weeks.unfinished:
        yield Problem(f"{_count(unfinished)} landed, but incomplete", "launch weekly_ridership for these weeks")
    if outdated := health.weeks.outdated:
        span = "...".join(sorted({min(outdated), max(outdated)}))
        yield Problem(
            due_because(outdated), f"launch weekly_ridership for these weeks, or mta-pipeline run --weeks {span}"
        )
    if missing := health.weeks.missing:
        yield Problem(f"{_count(missing)} available, but not in the lake", "launch weekly_ridership for these weeks")
    for failed in health.failed_checks:
        of = f" of {failed.week}" if failed.week else ""
        yield Problem(
            f"{failed.check.asset_key.to_user_string()}{of}, {failed.check.name} "
            f"({failed.severity.lower()}): {_line(failed.description)}",
            "open the check in the UI",
        )


def figures(health: Health) -> dict[str, str]:
    """The key figures, each as text."""
    runs = {status: [run for run in health.ended if run.status is status] for status in dg.DagsterRunStatus}
    newest = health.weeks.complete[-1] if health.weeks.complete else None
    numbers = {name: f"{value:,.0f}" for name, value in health.newest.items()}
    available = health.weeks.available
    return {
        "Newest week": newest or "none yet",
        "Newest available week": available[-1] if available else "unknown",
        "Complete weeks": f"{len(health.weeks.complete):,}",
        "Exits in the newest week": numbers.get("exits", "unknown"),
        "Entries, without OMNY taps": numbers.get("entries", "unknown"),
        "Readings": numbers.get("readings", "unknown"),
        "Turnstiles": numbers.get("turnstiles", "unknown"),
        "Rejected lines": f"{sum(health.newest_rejects.values()):,}" if newest else "unknown",
        "Runs in progress": str(len(health.in_progress)),
        "Successful runs": f"{len(runs[dg.DagsterRunStatus.SUCCESS]):,}",
        "Failed runs": f"{len(runs[dg.DagsterRunStatus.FAILURE]):,}",
        "Seconds of runs per week": _seconds_per_week(runs[dg.DagsterRunStatus.SUCCESS]),
    }


def terminal(health: Health) -> "Iterator[RenderableType]":
    """Key figures and problems for the terminal."""
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
    table = Table("Problem", "What to do", box=SIMPLE_HEAD)
    for problem in found:
        table.add_row(escape(problem.what), escape(problem.do))
    yield table


def page(health: Health) -> str:
    """The same as an HTML page. It reloads every minute and loads no other resources."""
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415  # slow to import

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["ago"] = lambda at: _ago(at, health)
    template: Any = environment.from_string(files("mta_pipeline.monitoring").joinpath("status.html").read_text("utf-8"))
    return str(template.render(health=health, figures=figures(health), problems=list(problems(health))))


def _seconds_per_week(runs: Sequence[EndedRun]) -> str:
    of_weeks = [(run.seconds, run.weeks) for run in runs if run.weeks and run.seconds is not None]
    weeks = sum(covered for _, covered in of_weeks)
    return f"{sum(seconds for seconds, _ in of_weeks) / weeks:.1f}" if weeks else "unknown"


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
