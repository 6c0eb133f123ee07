"""Running the jobs from the terminal: the real assets, in this process, with progress to look at.

The same run can be had from the Dagster UI or `dg launch`. What the lake then holds is shown by `summary`.
"""

import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from sqlalchemy.exc import SQLAlchemyError
from upath import UPath

from mta_pipeline.build import build_defs
from mta_pipeline.lake.completeness import weeks_due, weeks_out_of_date
from mta_pipeline.lake.storage import folder_lock, location, remove_stale_temp_files, report_path
from mta_pipeline.orchestration.event_log import with_open_connections
from mta_pipeline.orchestration.keys import (
    COMPLETE_WEEKS,
    FAILED_WEEKS,
    MARTS_JOB,
    REDO,
    REFERENCE_JOB,
    RIDERSHIP_JOB,
    WEEKLY_KEYS,
)
from mta_pipeline.orchestration.run_records import range_tags
from mta_pipeline.run_launchers.local import fail_dead_runs
from mta_pipeline.settings import Settings
from mta_pipeline.sources.turnstile_files import Feed
from mta_pipeline.tables import RIDERSHIP
from mta_pipeline.telemetry.progress import read_progress
from mta_pipeline.telemetry.run_traces import LOG_SETTINGS
from mta_pipeline.turnstile.contract import TURNSTILE_REJECTS
from mta_pipeline.weeks import contiguous_ranges, week_after

# Dagster's own lines would drown the progress; they are in the run's log.
_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


_ANSWERS_COME_FROM: Final = (TURNSTILE_REJECTS, *RIDERSHIP)


@dataclass
class Outcome:
    """How a run went: the weeks whose file cannot be used, and other failures, each with its reason."""

    failed_weeks: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    out_of_date: list[str] = field(default_factory=list)
    """Weeks after those done that are in the lake and start from readings that are new now."""

    @property
    def success(self) -> bool:
        """Whether nothing failed."""
        return not (self.failed_weeks or self.failures)


class RecordsError(RuntimeError):
    """Dagster's records cannot be written; the message says where they are."""


def bring_up_to_date(settings: Settings, weeks: Sequence[str], feed: Feed, console: Console, *, again: bool) -> Outcome:
    """Materialize those of the weeks that are not complete in the lake, or all of them `again`; then the marts and
    the report, if they are older than what they are made from.

    Raises:
        FeedError: the feed does not say what it offers.
        RecordsError: Dagster's records cannot be written.
    """
    remove_stale_temp_files(settings.lake_root)
    due = list(weeks) if again else weeks_due(weeks, settings.lake_root, feed)
    if len(due) < len(weeks):
        console.print(f"{len(due)} to do, the others are complete in the lake (--again does all again)")
    try:
        with _records(settings) as instance:
            fail_dead_runs(instance)
            record_complete(instance, [week for week in weeks if week not in due])
            outcome = run_weeks(settings, due, instance, console)
            if not outcome.failures and (again or answers_are_due(settings.lake_root)):
                console.print("Making the marts and the report ...")
                make_answers(settings, instance, console, outcome)
    except SQLAlchemyError as error:
        records = f"Dagster's records in {settings.dagster_home} cannot be written: {error}"
        raise RecordsError(f"{records}\nWeeks that are complete stay; launch again when they can.") from error
    weeks_after = [after for week in due if (after := week_after(week)) not in weeks]
    outcome.out_of_date = weeks_out_of_date(weeks_after, settings.lake_root)
    return outcome


def _records(settings: Settings) -> dg.DagsterInstance:
    """Dagster's records; without a home for them, none that last."""
    if settings.dagster_home is None:
        return dg.DagsterInstance.ephemeral(settings=dict(LOG_SETTINGS))
    # Whoever opens a new home makes its tables; of two at once, one would fail.
    with folder_lock(UPath(settings.dagster_home)):
        return with_open_connections(dg.DagsterInstance.get())


def run_weeks(settings: Settings, weeks: Sequence[str], instance: dg.DagsterInstance, console: Console) -> Outcome:
    """Materialize the reference tables and then these weeks, raw to lake.

    A week whose file cannot be used is named in the outcome, and the others go on without it.
    """
    # Of a week that is skipped, Dagster warns that its checks had no result: that goes without saying.
    logging.getLogger("dagster._core.execution.plan.active").setLevel(logging.ERROR)
    defs = build_defs(settings)
    outcome = Outcome()
    with _shown(console) as show:
        run = _Runner(defs, instance, show, outcome)
        run(REFERENCE_JOB)
        pending = contiguous_ranges(weeks)
        while pending and not outcome.failures:
            stretch = pending.pop(0)
            failed = run(RIDERSHIP_JOB, stretch)
            if failed:
                outcome.failed_weeks |= failed
                left = [week for week in weeks if stretch[0] <= week <= stretch[1] and week not in failed]
                pending = contiguous_ranges(left) + pending
    return outcome


def make_answers(settings: Settings, instance: dg.DagsterInstance, console: Console, outcome: Outcome) -> None:
    """Materialize the warehouse, the marts and the report from all weeks in the lake."""
    with _shown(console) as show:
        _Runner(build_defs(settings), instance, show, outcome)(MARTS_JOB)


def answers_are_due(lake_root: str) -> bool:
    """Whether the report, which is made last, is not there or older than a week's tables; not if there are no weeks.

    Where the store does not say when a file was written, they are.
    """
    root, report = location(lake_root), report_path(lake_root)
    files = (root.fs.find((root / t.layer / t.name).path, detail=True) for t in _ANSWERS_COME_FROM)
    written = [info.get("mtime") for found in files for info in found.values()]
    if not written:
        return False
    made = report.fs.info(report.path).get("mtime") if report.exists() else None
    return made is None or any(at is None or at > made for at in written)


def record_complete(instance: dg.DagsterInstance, weeks: Sequence[str]) -> None:
    """Let Dagster's catalogue know of weeks that are complete in the lake.

    It learns of weeks when a step ends; those of a step that was killed, or of another home, are in the lake alone.
    """
    for key in WEEKLY_KEYS:
        known = instance.get_materialized_partitions(key)
        for week in weeks:
            if week not in known:
                found = {"outcome": "found complete in the lake"}
                instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=week, metadata=found))


@dataclass
class _Runner:
    defs: dg.Definitions
    instance: dg.DagsterInstance
    show: Callable[[dg.EventLogEntry], None]
    outcome: Outcome

    def __call__(self, job: str, stretch: tuple[str, str] | None = None) -> dict[str, str]:
        """Run a job over a stretch of weeks; returns the weeks whose file cannot be used, with their reasons."""
        run_id = str(uuid.uuid4())
        self.instance.add_event_listener(run_id, self.show)
        result = self.defs.resolve_job_def(job).execute_in_process(
            run_id=run_id,
            instance=self.instance,
            tags={**range_tags(stretch), COMPLETE_WEEKS: REDO} if stretch else {},
            run_config=_QUIET,
            raise_on_error=False,
        )
        failed: dict[str, str] = {}
        for event in result.filter_events(lambda event: event.is_step_failure):
            data = event.step_failure_data
            if data.user_failure_data and FAILED_WEEKS in data.user_failure_data.metadata:
                failed |= data.user_failure_data.metadata[FAILED_WEEKS].value  # type: ignore[arg-type]
            elif data.error:
                cause = data.error.cause or data.error
                self.outcome.failures.append(f"{event.step_key}: {cause.message.strip()}")
        return failed


@contextmanager
def _shown(console: Console) -> Iterator[Callable[[dg.EventLogEntry], None]]:
    """Progress by step and week: bars on a terminal, lines elsewhere."""
    if not console.is_terminal:
        yield lambda entry: _print_line(console, entry)
        return
    columns = (
        TextColumn("  {task.description:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("weeks"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[week]}", style="dim"),
    )
    with Progress(*columns, console=console) as bars:
        yield _Bars(bars).show


def _print_line(console: Console, entry: dg.EventLogEntry) -> None:
    if not entry.is_dagster_event and (read_progress(entry.user_message) or int(entry.level) == logging.WARNING):
        console.print(entry.user_message, highlight=False, markup=False, soft_wrap=True)


class _Bars:
    """One bar per step that goes through weeks."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[tuple[str, str], TaskID] = {}

    def show(self, entry: dg.EventLogEntry) -> None:
        if entry.is_dagster_event:
            return
        if done := read_progress(entry.user_message):
            key = (entry.run_id, done.table)
            if key not in self._tasks:
                self._tasks[key] = self._bars.add_task(done.table, total=done.total, week="")
            self._bars.update(self._tasks[key], completed=done.done, week=done.week)
        elif int(entry.level) == logging.WARNING:
            self._bars.console.print(
                f"  {entry.user_message}", highlight=False, markup=False, soft_wrap=True, style="yellow"
            )
