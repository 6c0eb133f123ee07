"""Runs the jobs from the terminal: the same assets, in this process, with progress output.

The Dagster UI and `dg launch` can launch the same jobs. `summary` shows what the lake holds afterwards.
"""

import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import dagster as dg
import polars as pl
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError
from upath import UPath

from mta_pipeline.build import build_defs, last_week
from mta_pipeline.cli.exit_codes import ExitCode
from mta_pipeline.cli.places import make_home
from mta_pipeline.cli.progress import RunProgress, ranges_of
from mta_pipeline.cli.stopping import STOP
from mta_pipeline.engines.freshness import mart_problem, warehouse_problem
from mta_pipeline.lake.completeness import (
    NOT_OFFERED,
    due_because,
    weeks_complete,
    weeks_due,
    weeks_out_of_date,
    weeks_to_repair,
)
from mta_pipeline.lake.inputs import current_inputs
from mta_pipeline.lake.parquet import to_parquet
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.lake.storage import folder_lock, part_path, read_bytes, remove_stale_temp_files, report_path
from mta_pipeline.marts.contract import MARTS
from mta_pipeline.orchestration.assets.raw import Landing
from mta_pipeline.orchestration.dagster_internals import MAX_RETRIES_TAG, in_code_location
from mta_pipeline.orchestration.event_log import with_open_connections
from mta_pipeline.orchestration.io_managers.parquet import figures_of
from mta_pipeline.orchestration.keys import (
    CODE_LOCATION,
    COMPLETE_WEEKS,
    FAILED_WEEKS,
    MARTS_JOB,
    NO_VERSION_PENDING,
    PROCESS_ID,
    RAW_KEY,
    REDO,
    REFERENCE_JOB,
    RIDERSHIP_JOB,
    WEEKLY_KEYS,
    asset_key,
)
from mta_pipeline.orchestration.run_records import described, failed_checks, range_tags
from mta_pipeline.report.page import SOURCES
from mta_pipeline.report.page import problem as report_problem
from mta_pipeline.run_launchers.local import fail_dead_runs
from mta_pipeline.schema import Table
from mta_pipeline.settings import Settings
from mta_pipeline.sources.errors import FeedRefused, FeedSlow, FeedUnavailable
from mta_pipeline.sources.turnstile_files import Feed
from mta_pipeline.tables import TABLES
from mta_pipeline.telemetry.run_traces import LOG_SETTINGS
from mta_pipeline.turnstile.complexes import REFERENCE_TABLES
from mta_pipeline.weeks import contiguous_ranges, week_after, week_start

# Dagster's own log lines would hide the progress. They are in the run's log.
_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

_FEED_FAILURES: Final = {error.__name__ for error in (FeedUnavailable, FeedSlow, FeedRefused)}
_FULL: Final = 4 * 2**20
"""Free bytes below which a disk counts as full. SQLite frees up to about that much when it gives up a write."""


@dataclass
class Outcome:
    """The result of a run: failed weeks, failed checks and other failures, each with its reason."""

    failed_weeks: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    failed_checks: list[str] = field(default_factory=list)
    """Weeks that are in the lake although a check failed with an error, or another version of them is pending."""
    out_of_date: dict[str, str] = field(default_factory=dict)
    """Weeks after the processed ones whose tables are outdated now, each with the reason."""
    feed_failed: bool = False
    """Whether the feed stopped answering during the run, so that the run is not finished."""
    warnings: list[str] = field(default_factory=list)
    not_offered: list[str] = field(default_factory=list)
    """Weeks that the feed does not offer and that the lake does not have."""
    nothing_offered: bool = False
    """Whether these are all of the weeks."""

    @property
    def exit_code(self) -> ExitCode:
        """What the command ends with."""
        if self.feed_failed:
            return ExitCode.UNREACHABLE
        if self.failed_weeks or self.failures or self.failed_checks:
            return ExitCode.PROBLEMS
        if self.nothing_offered:
            return ExitCode.NOTHING_OFFERED
        return ExitCode.PROBLEMS if self.not_offered else ExitCode.SUCCESS


class RecordsError(RuntimeError):
    """Dagster's records cannot be written. The message names their directory."""


def bring_up_to_date(
    settings: Settings, weeks: Sequence[str], feed: Feed, console: Console, *, again: bool, verbose: bool = False
) -> Outcome:
    """Materialize the weeks that are not complete in the lake, or all with `again`, then outdated marts and report.

    With `verbose`, the progress has a line for each week and table. Other weeks whose files are damaged and set aside
    are materialized, too.

    Raises:
        FeedError: the feed cannot be read.
        RecordsError: Dagster's records cannot be written.
    """
    remove_stale_temp_files(settings.lake_root)
    reasons = weeks_due(weeks, settings.lake_root, feed)
    not_offered = [week for week, reason in reasons.items() if reason == NOT_OFFERED]
    if len(not_offered) == len(weeks):
        return Outcome(not_offered=not_offered, nothing_offered=True)
    if damaged := sorted(weeks_to_repair(settings.lake_root) - {*weeks}):
        console.print(f"Weeks with damaged files are made again, too: {ranges_of(damaged)}", markup=False)
        weeks = sorted({*weeks, *damaged})
        reasons = weeks_due(weeks, settings.lake_root, feed)
    due = list(weeks) if again else list(reasons)
    if due and not again:
        console.print(due_because(reasons), markup=False)
    if len(due) < len(weeks):
        others = "The others" if due else "All of them"
        console.print(f"{others} are complete in the lake (--again rebuilds all)")
    try:
        with _records(settings) as instance:
            fail_dead_runs(instance)
            record_complete(instance, settings.lake_root, [week for week in weeks if week not in due])
            outcome = run_weeks(settings, due, instance, console, verbose=verbose)
            if not outcome.failures and (again or answers_are_due(settings.lake_root, settings.warehouse_file)):
                console.print("Materializing the marts and the report ...")
                make_answers(settings, instance, console, outcome, verbose=verbose)
            graph = build_defs(settings).resolve_asset_graph()
            checks = [key for key in graph.asset_check_keys if key.asset_key in WEEKLY_KEYS]
            outcome.failed_checks = [
                f"week {week}, {described(evaluation)}"
                for week, evaluation in sorted(failed_checks(instance, checks, weeks), key=lambda found: found[0])
                if week not in outcome.failed_weeks
            ]
    except (SQLAlchemyError, OSError) as error:
        # Dagster also writes the output of a run to the disk of the records.
        if isinstance(error, OSError) and not _is_full(settings.dagster_home):
            raise
        raise RecordsError(_records_problem(settings.dagster_home, error)) from error
    raw = RawFiles(settings.lake_root)
    outcome.failed_checks += [
        f"{RAW_KEY.to_user_string()}, check {NO_VERSION_PENDING}: {problem}"
        for week in weeks
        if (problem := raw.pending_problem(week))
    ]
    outcome.not_offered = not_offered
    weeks_after = [after for week in due if (after := week_after(week)) not in weeks]
    outcome.out_of_date = weeks_out_of_date(weeks_after, settings.lake_root)
    return outcome


def _is_full(home: Path | None) -> bool:
    return home is not None and shutil.disk_usage(home).free < _FULL


def _records_problem(home: Path | None, error: Exception) -> str:
    """Say why the records cannot be written, and what to do. SQLite names a full disk only in some cases."""
    is_full = _is_full(home)
    reason = "the disk is full" if is_full else str(error)
    advice = "Make room on that disk" if is_full else "Correct the cause"
    return (
        f"Dagster's records in {home} cannot be written: {reason}\nComplete weeks are kept. {advice}, and launch again."
    )


def how_to_continue(lake_root: str, weeks: Sequence[str], *, again: bool) -> str:
    """What is complete after a run over these weeks was stopped, and how to continue it."""
    done = len(weeks_complete(lake_root) & {*weeks})
    advice = "Without --again, the same command skips them" if again else "The same command continues with the others"
    return f"{done} of {len(weeks)} weeks are complete in the lake. {advice}."


def _records(settings: Settings) -> dg.DagsterInstance:
    """Dagster's instance. Without a directory of records, it is ephemeral."""
    if settings.dagster_home is None:
        return dg.DagsterInstance.ephemeral(settings=dict(LOG_SETTINGS))
    make_home(settings.dagster_home)
    # The first process creates the tables. Of two processes at once, one would fail.
    with folder_lock(UPath(settings.dagster_home)):
        return in_code_location(with_open_connections(open_records(settings.dagster_home)), CODE_LOCATION)


def open_records(home: Path) -> dg.DagsterInstance:
    """Dagster's instance with its records in a directory."""
    return dg.DagsterInstance.from_config(str(home))


def run_weeks(
    settings: Settings,
    weeks: Sequence[str],
    instance: dg.DagsterInstance,
    console: Console,
    *,
    verbose: bool = False,
) -> Outcome:
    """Materialize the reference tables if they have changed, then these weeks, from the raw layer to the lake.

    A week whose file cannot be used, or that fails a blocking check, is reported in the outcome. A run leaves out weeks
    that fail a check. A file that cannot be used ends it, and another run continues with the other weeks.
    """
    # Dagster warns that checks of skipped weeks have no result, which is expected.
    logging.getLogger("dagster._core.execution.plan.active").setLevel(logging.ERROR)
    defs = build_defs(settings_for(weeks, settings))
    outcome = Outcome()
    with _shown(console, outcome, verbose=verbose) as show:
        run = _Runner(defs, instance, show, outcome)
        if reference_tables_due(settings.lake_root):
            run(REFERENCE_JOB)
        pending = contiguous_ranges(weeks)
        while pending and not outcome.failures:
            first, last = pending.pop(0)
            if run(RIDERSHIP_JOB, (first, last)):
                left = [week for week in weeks if first <= week <= last and week not in outcome.failed_weeks]
                pending = contiguous_ranges(left) + pending
    return outcome


def settings_for(weeks: Sequence[str], settings: Settings) -> Settings:
    """Return settings whose calendar has these weeks, also if a directory does not have them, or not yet."""
    end = last_week(settings)
    if settings.last_week or end is None or not weeks:
        return settings
    return settings.model_copy(update={"last_week": max(end, week_start(weeks[-1]))})


def make_answers(
    settings: Settings, instance: dg.DagsterInstance, console: Console, outcome: Outcome, *, verbose: bool = False
) -> None:
    """Materialize the warehouse, the marts and the report from all weeks in the lake."""
    with _shown(console, outcome, verbose=verbose) as show:
        _Runner(build_defs(settings), instance, show, outcome)(MARTS_JOB)


def reference_tables_due(lake_root: str) -> bool:
    """Whether a reference table is missing, damaged, or not the one that comes with this version of the project.

    A table that is materialized without need would make automation request all weeks and marts.
    """

    def is_current(table: Table, rows: pl.DataFrame) -> bool:
        try:
            return read_bytes(part_path(lake_root, table.layer, table.name)) == to_parquet(rows)
        except FileNotFoundError:
            return False

    return not all(is_current(table, rows()) for table, rows in REFERENCE_TABLES.items())


def answers_are_due(lake_root: str, warehouse_file: Path | None = None) -> bool:
    """Whether a mart, the report or the warehouse file is missing, damaged, or made from files that have changed.

    False without any weeks.
    """
    current = current_inputs(lake_root, TABLES)
    if not any(part.week for part in current.versions):
        return False
    if any(mart_problem(lake_root, mart, current) for mart in MARTS):
        return True
    if warehouse_file and warehouse_problem(warehouse_file, current):
        return True
    try:
        contents = read_bytes(report_path(lake_root))
    except FileNotFoundError:
        return True
    return report_problem(contents, current_inputs(lake_root, SOURCES).fingerprint) is not None


def record_complete(instance: dg.DagsterInstance, lake_root: str, weeks: Sequence[str]) -> None:
    """Report reference tables and complete weeks in the lake to Dagster's catalogue, with the figures of their files.

    Dagster records weeks when a step ends. Weeks from a killed step or another DAGSTER_HOME are in the lake only.
    """
    raw, found = RawFiles(lake_root), {"outcome": "found complete in the lake"}

    def report(key: dg.AssetKey, week: str | None, figures: Mapping[str, Any]) -> None:
        event = dg.AssetMaterialization(key, partition=week, metadata={**figures, **found})
        instance.report_runless_asset_event(event)

    for key in map(asset_key, REFERENCE_TABLES):
        path = part_path(lake_root, key.path[0], key.path[1])
        if path.exists() and instance.get_latest_materialization_event(key) is None:
            report(key, None, figures_of(path, of_week=False))
    for key in WEEKLY_KEYS:
        for week in sorted({*weeks} - instance.get_materialized_partitions(key)):
            if key != RAW_KEY:
                report(key, week, figures_of(part_path(lake_root, key.path[0], key.path[1], week), of_week=True))
            elif raw.problem(week, contents=False) is None and (manifest := raw.manifest(week)):
                report(key, week, Landing(manifest, raw.path(week), is_new=False).facts)


@dataclass
class _Runner:
    defs: dg.Definitions
    instance: dg.DagsterInstance
    show: Callable[[dg.EventLogEntry], None]
    outcome: Outcome

    def __call__(self, job: str, weeks: tuple[str, str] | None = None) -> bool:
        """Run a job for a range of weeks. Returns whether weeks failed that no check has blocked, such as bad files.

        They end the run before its last steps.
        """
        run_id = str(uuid.uuid4())
        # Dagster retries runs of a code location whose process was killed. The same command continues this one.
        tags = {PROCESS_ID: f"{run_id}/{os.getpid()}", MAX_RETRIES_TAG: "0"}
        if weeks:
            tags |= {**range_tags(weeks), COMPLETE_WEEKS: REDO}
        self.instance.add_event_listener(run_id, self.show)
        with _output_restored():
            result = self.defs.resolve_job_def(job).execute_in_process(
                run_id=run_id,
                instance=self.instance,
                tags=tags,
                run_config=_QUIET,
                raise_on_error=False,
            )
        STOP.raise_if_requested()
        stopped = [e for e in result.get_asset_check_evaluations() if e.blocking and not e.passed]
        blocked = {evaluation.partition: described(evaluation) for evaluation in stopped if evaluation.partition}
        failed: dict[str, str] = {}
        for event in result.filter_events(lambda event: event.is_step_failure):
            data = event.step_failure_data
            if data.user_failure_data and FAILED_WEEKS in data.user_failure_data.metadata:
                failed |= data.user_failure_data.metadata[FAILED_WEEKS].value  # type: ignore[arg-type]
            elif data.error:
                cause = data.error.cause or data.error
                self.outcome.failures.append(f"{event.step_key}: {cause.message.strip()}")
                self.outcome.feed_failed |= cause.cls_name in _FEED_FAILURES
        self.outcome.failed_weeks |= failed | blocked
        return not failed.keys() <= blocked.keys()


@contextmanager
def _shown(console: Console, outcome: Outcome, *, verbose: bool) -> Iterator[RunProgress]:
    with RunProgress(console, verbose=verbose).shown() as progress:
        yield progress
    outcome.warnings += progress.warnings


@contextmanager
def _output_restored() -> Iterator[None]:
    """Restores the output of this process after the block.

    Dagster redirects it to a log of the run, and forgets to restore it if the disk of that log is full.
    """
    outputs = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    try:
        yield
    finally:
        for descriptor, copy in outputs.items():
            os.dup2(copy, descriptor)
            os.close(copy)
