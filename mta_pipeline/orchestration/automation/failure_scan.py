"""What Dagster's records say is wrong: runs that failed for good, checks that failed, ticks that keep failing.

Each is read from where the last look stopped. Failed checks and ticks never reach Dagster's own run-failure sensors.
"""

import datetime as dt
from collections.abc import Callable, Collection, Iterator
from typing import Final

import dagster as dg
from pydantic import BaseModel

from mta_pipeline.notifications.incidents import NO_WEEK, Incidents, Kind
from mta_pipeline.orchestration.dagster_internals import (
    AUTO_RETRY_RUN_ID_TAG,
    BACKFILL_ID_TAG,
    SCHEDULE_NAME_TAG,
    SENSOR_NAME_TAG,
    WILL_RETRY_TAG,
    AssetCheckExecutionRecordStatus,
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    JobFailureData,
    PartitionKeyFilter,
    SerializableErrorInfo,
    TickStatus,
)
from mta_pipeline.orchestration.keys import FAILED_WEEKS
from mta_pipeline.orchestration.run_records import weeks_of

TICKS_IN_A_ROW: Final = 3
"""So many failed ticks in a row are a fault: one alone may be a moment's."""

RUNS_PER_LOOK: Final = 500
"""Ended runs that a look reads, of each outcome; the rest wait for the next one."""

TIME_TO_RETRY: Final = dt.timedelta(minutes=10)
"""A failed run that is to be tried again, and has not been after so long, counts as failed for good."""

AssetsOfJob = Callable[[str], Collection[dg.AssetKey]]


class ScanState(BaseModel):
    """How far the records have been read, and what was found."""

    runs: int
    """The storage id of the last run's end that was read."""
    checks: int
    """The storage id of the last check's result that was read."""
    awaiting: dict[str, float] = {}
    """Failed runs that may be tried again by themselves, with the time they failed."""
    faults: Incidents = Incidents()


def initial_state(instance: dg.DagsterInstance) -> ScanState:
    """From now on: what was wrong before concerns whoever was told then."""
    newest = instance.event_log_storage.get_maximum_record_id() or 0
    return ScanState(runs=newest, checks=newest)


def scan_records(
    instance: dg.DagsterInstance,
    look: ScanState,
    *,
    checks: Collection[dg.AssetCheckKey],
    assets_of_job: AssetsOfJob,
    besides: str,
    now: dt.datetime,
) -> None:
    """Read on from where the last look stopped, into `look`.

    Args:
        instance: whose records.
        look: what the last look left.
        checks: the checks of the deployment.
        assets_of_job: the assets a job makes, by its name.
        besides: a sensor whose ticks do not count: the one that looks.
        now: the time, with a zone.
    """
    _runs(instance, look, assets_of_job, now)
    _checks(instance, look, checks)
    _ticks(instance, look, besides)


# --- runs ---


def _runs(instance: dg.DagsterInstance, look: ScanState, assets_of_job: AssetsOfJob, now: dt.datetime) -> None:
    ended, look.runs = _ended_since(instance, look.runs)
    ids = list(look.awaiting) + [record.run_id for record in ended]
    runs = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=ids))} if ids else {}
    failures = {record.run_id: record for record in ended if _failed(record)}
    for run_id, since in list(look.awaiting.items()):
        run = runs.get(run_id)
        if run is None or AUTO_RETRY_RUN_ID_TAG in run.tags:
            del look.awaiting[run_id]
        elif not _may_be_tried_again(instance, run) or now.timestamp() - since > TIME_TO_RETRY.total_seconds():
            del look.awaiting[run_id]
            _note_run(look, run, _failure(instance, run_id), assets_of_job)
    for record in ended:
        run = runs.get(record.run_id)
        if run is None:
            continue
        if record.run_id not in failures:
            parts = [part.to_user_string() for part in _made_by(run, assets_of_job)]
            look.faults.resolve(Kind.RUNS, parts, _weeks(run))
        elif AUTO_RETRY_RUN_ID_TAG in run.tags:
            continue
        elif _may_be_tried_again(instance, run):
            look.awaiting[run.run_id] = record.timestamp
        else:
            _note_run(look, run, record.event_log_entry, assets_of_job)


def _ended_since(instance: dg.DagsterInstance, cursor: int) -> tuple[list[dg.EventLogRecord], int]:
    """The ends of runs after the cursor in their order, as far as both outcomes were read; and the new cursor."""
    found: list[dg.EventLogRecord] = []
    horizon: int | None = None
    for outcome in (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS):
        wanted = dg.RunStatusChangeRecordsFilter(outcome, after_storage_id=cursor)
        records = instance.fetch_run_status_changes(wanted, limit=RUNS_PER_LOOK, ascending=True).records
        if len(records) == RUNS_PER_LOOK:
            horizon = min(horizon or records[-1].storage_id, records[-1].storage_id)
        found += records
    ended = sorted((r for r in found if horizon is None or r.storage_id <= horizon), key=lambda r: r.storage_id)
    return ended, ended[-1].storage_id if ended else cursor


def _failed(record: dg.EventLogRecord) -> bool:
    return record.event_log_entry.dagster_event_type == dg.DagsterEventType.RUN_FAILURE


def _may_be_tried_again(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether Dagster tries the run again; it says so a moment after the failure."""
    return run.tags.get(WILL_RETRY_TAG, str(instance.run_retries_enabled)).lower() == "true"


def _failure(instance: dg.DagsterInstance, run_id: str) -> dg.EventLogEntry:
    return instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)[-1]


def _note_run(
    look: ScanState,
    run: dg.DagsterRun,
    failure: dg.EventLogEntry,
    assets_of_job: AssetsOfJob,
) -> None:
    cause, weeks = _cause(failure)
    backfill = run.tags.get(BACKFILL_ID_TAG)
    look.faults.note(
        Kind.RUNS,
        _whose(run),
        [part.to_user_string() for part in _made_by(run, assets_of_job)] or [run.job_name],
        weeks or _weeks(run),
        at=dt.datetime.fromtimestamp(failure.timestamp, dt.UTC),
        cause=cause,
        link=f"/runs/b/{backfill}" if backfill else f"/runs/{run.run_id}",
    )


def _whose(run: dg.DagsterRun) -> str:
    """What a run belongs to: all that fails in it is one fault."""
    if BACKFILL_ID_TAG in run.tags:
        return f"backfill {run.tags[BACKFILL_ID_TAG]}"
    if not run.job_name.startswith("__"):
        return f"job {run.job_name}"
    asked = run.tags.get(SENSOR_NAME_TAG) or run.tags.get(SCHEDULE_NAME_TAG)
    return f"runs that {asked} asked for" if asked else "assets materialized by hand"


def _made_by(run: dg.DagsterRun, assets_of_job: AssetsOfJob) -> list[dg.AssetKey | dg.AssetCheckKey]:
    """The assets and, in a run of checks alone, the checks that a run is over."""
    selected = run.asset_selection or run.asset_check_selection
    return sorted(selected or assets_of_job(run.job_name), key=lambda part: part.to_user_string())


def _weeks(run: dg.DagsterRun) -> list[str]:
    return weeks_of(run) or [NO_WEEK]


def _cause(failure: dg.EventLogEntry) -> tuple[str, list[str]]:
    """Why a run failed, and the weeks that did, if the failed step named them."""
    event = failure.dagster_event
    data = event.event_specific_data if event else None
    step = data.first_step_failure_event if isinstance(data, JobFailureData) else None
    if step is None:
        error = data.error if isinstance(data, JobFailureData) else None
        said = (event.message if event else None) or failure.user_message
        return (_innermost(error) if error else said), []
    details, user = step.step_failure_data, step.step_failure_data.user_failure_data
    failed = user.metadata.get(FAILED_WEEKS) if user else None
    weeks = list(failed.value) if isinstance(failed, dg.JsonMetadataValue) else []  # type: ignore[arg-type]
    why = (user.description if user else None) or (_innermost(details.error) if details.error else step.message)
    return f"step {step.step_key}: {why}", weeks


def _innermost(error: SerializableErrorInfo) -> str:
    while error.cause:
        error = error.cause
    return error.message.strip()


# --- checks ---


def _checks(instance: dg.DagsterInstance, look: ScanState, checks: Collection[dg.AssetCheckKey]) -> None:
    """Failed results since the last look, of each check and week; passed ones heal."""
    since = look.checks
    failed: dict[dg.AssetCheckKey, list[str]] = {}
    for result in instance.event_log_storage.get_asset_check_partition_info(list(checks), after_storage_id=since):
        # A week that was made anew is in the answer as well, though nothing was checked.
        if result.latest_check_event_storage_id <= since:
            continue
        week, subject = result.partition_key or NO_WEEK, _subject(result.check_key)
        if result.latest_execution_status is AssetCheckExecutionRecordStatus.SUCCEEDED:
            look.faults.resolve(Kind.CHECK, [subject], [week])
        elif result.latest_execution_status is AssetCheckExecutionRecordStatus.FAILED:
            failed.setdefault(result.check_key, []).append(week)
        look.checks = max(look.checks, result.latest_check_event_storage_id)
    for key, weeks in failed.items():
        _note_check(instance, look, key, weeks)


def _note_check(instance: dg.DagsterInstance, look: ScanState, key: dg.AssetCheckKey, weeks: list[str]) -> None:
    """Note the weeks, with what the check says of the last of them: of hundreds, one at a time would take too long."""
    [record] = instance.event_log_storage.get_asset_check_execution_history(
        key,
        limit=1,
        status={AssetCheckExecutionRecordStatus.FAILED},
        partition_filter=PartitionKeyFilter(key=max(weeks) or None),
    )
    event = record.event.dagster_event if record.event else None
    evaluation = event.asset_check_evaluation_data if event else None
    look.faults.note(
        Kind.CHECK,
        _subject(key),
        [_subject(key)],
        weeks,
        at=dt.datetime.fromtimestamp(record.event.timestamp if record.event else record.create_timestamp, dt.UTC),
        cause=(evaluation.description if evaluation else None) or "the check says no more",
        link=f"/assets/{'/'.join(key.asset_key.path)}?view=checks&checkDetail={key.name}",
        lasting=evaluation is None or evaluation.severity is dg.AssetCheckSeverity.ERROR,
    )


def _subject(key: dg.AssetCheckKey) -> str:
    return f"{key.asset_key.to_user_string()}: {key.name}"


# --- ticks ---


def _ticks(instance: dg.DagsterInstance, look: ScanState, besides: str) -> None:
    """Sensors and schedules that are on and whose last ticks all failed."""
    failing: set[str] = set()
    for state in _that_are_on(instance):
        if state.instigator_name == besides:
            continue
        ticks = instance.get_ticks(
            state.instigator_origin_id,
            state.selector_id,
            limit=TICKS_IN_A_ROW,
            statuses=[TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE],
        )
        if len(ticks) < TICKS_IN_A_ROW or any(tick.status is not TickStatus.FAILURE for tick in ticks):
            continue
        kind = "sensor" if state.instigator_type is InstigatorType.SENSOR else "schedule"
        subject = f"{kind} {state.instigator_name}"
        failing.add(subject)
        location = state.origin.repository_origin.code_location_origin.location_name
        look.faults.note(
            Kind.TICKS,
            subject,
            [subject],
            [NO_WEEK],
            at=dt.datetime.fromtimestamp(ticks[-1].timestamp, dt.UTC),
            cause=f"{len(ticks)} ticks in a row: {_innermost(ticks[0].error) if ticks[0].error else 'no word why'}",
            link=f"/locations/{location}/{kind}s/{state.instigator_name}",
        )
    for fault in look.faults.known.values():
        if fault.kind is Kind.TICKS and fault.subject not in failing:
            fault.wrong = {}


def _that_are_on(instance: dg.DagsterInstance) -> Iterator[InstigatorState]:
    on = {InstigatorStatus.RUNNING, InstigatorStatus.DECLARED_IN_CODE}
    yield from instance.all_instigator_state(instigator_statuses=on)
