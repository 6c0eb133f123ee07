"""Detects failures in Dagster's records: runs that failed for good, failed checks, ticks that keep failing.

Each scan continues where the previous one stopped. Dagster's run failure sensors do not see failed checks and ticks.
"""

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field

from mta_pipeline.notifications.incidents import NO_WEEK, Incidents, Kind
from mta_pipeline.orchestration.dagster_internals import (
    AUTO_RETRY_RUN_ID_TAG,
    BACKFILL_ID_TAG,
    SCHEDULE_NAME_TAG,
    SENSOR_NAME_TAG,
    WILL_RETRY_TAG,
    AssetCheckExecutionRecordStatus,
    DagsterAssetCheckFailedError,
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    JobFailureData,
    PartitionKeyFilter,
    SerializableErrorInfo,
    TickStatus,
)
from mta_pipeline.orchestration.keys import FAILED_WEEKS
from mta_pipeline.orchestration.run_records import described, is_of_assets, start_of_description, weeks_of

TICKS_IN_A_ROW: Final = 3
"""Number of consecutive failed ticks that are an incident. A single failure may be transient."""

RUNS_PER_SCAN: Final = 500
"""Maximum number of ended runs per scan and status. The rest wait for the next scan."""

TIME_TO_RETRY: Final = dt.timedelta(minutes=10)
"""A failed run that should be retried counts as failed for good if no retry has started after this time."""

AssetsOfJob = Callable[[str], Collection[dg.AssetKey]]


class ScanState(BaseModel):
    """The position of the last scan in the records, and the known incidents.

    Aliases are the field names in stored cursors, which must not change.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    runs: int
    """The storage id of the last end of a run that was read."""
    checks: int
    """The storage id of the last check result that was read."""
    awaiting: dict[str, float] = {}
    """Failed runs that Dagster may retry, with the time of the failure."""
    incidents: Incidents = Field(default=Incidents(), alias="faults")


def initial_state(instance: dg.DagsterInstance) -> ScanState:
    """The state for a first scan. Failures before it are not reported."""
    newest = instance.event_log_storage.get_maximum_record_id() or 0
    return ScanState(runs=newest, checks=newest)


def scan_records(
    instance: dg.DagsterInstance,
    state: ScanState,
    *,
    checks: Collection[dg.AssetCheckKey],
    assets_of_job: AssetsOfJob,
    excluded_sensor: str,
    now: dt.datetime,
) -> None:
    """Scan the records from where the last scan stopped, and update `state`.

    Args:
        instance: the instance whose records are scanned.
        state: the state after the last scan.
        checks: the checks of the deployment.
        assets_of_job: returns the assets of a job, by name of the job.
        excluded_sensor: the sensor that scans; its own ticks are ignored.
        now: the current time, with time zone.
    """
    # The results of checks are read after the ends of runs, so that those of these runs are among them.
    ended, state.runs = _ended_since(instance, state.runs)
    _checks(instance, state, checks)
    _runs(instance, state, ended, assets_of_job, checks=checks, now=now)
    _ticks(instance, state, excluded_sensor)


# --- runs ---


def _runs(
    instance: dg.DagsterInstance,
    state: ScanState,
    ended: Sequence[dg.EventLogRecord],
    assets_of_job: AssetsOfJob,
    *,
    checks: Collection[dg.AssetCheckKey],
    now: dt.datetime,
) -> None:
    ids = list(state.awaiting) + [record.run_id for record in ended]
    runs = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=ids))} if ids else {}
    failures = {record.run_id: record for record in ended if _failed(record)}
    for run_id, since in list(state.awaiting.items()):
        run = runs.get(run_id)
        if run is None or AUTO_RETRY_RUN_ID_TAG in run.tags:
            del state.awaiting[run_id]
        elif not _may_be_retried(instance, run) or now.timestamp() - since > TIME_TO_RETRY.total_seconds():
            del state.awaiting[run_id]
            _note_run(instance, state, run, checks, assets_of_job)
    for record in ended:
        run = runs.get(record.run_id)
        if run is None:
            continue
        if record.run_id not in failures:
            parts = [part.to_user_string() for part in _parts_of_run(run, assets_of_job)]
            state.incidents.resolve(Kind.RUNS, parts, _weeks(run))
        elif AUTO_RETRY_RUN_ID_TAG in run.tags:
            continue
        elif _may_be_retried(instance, run):
            state.awaiting[run.run_id] = record.timestamp
        else:
            _note_run(instance, state, run, checks, assets_of_job)


def _ended_since(instance: dg.DagsterInstance, cursor: int) -> tuple[list[dg.EventLogRecord], int]:
    """The run ends after the cursor, in order, up to where both statuses were read; and the new cursor."""
    found: list[dg.EventLogRecord] = []
    horizon: int | None = None
    for outcome in (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS):
        wanted = dg.RunStatusChangeRecordsFilter(outcome, after_storage_id=cursor)
        records = instance.fetch_run_status_changes(wanted, limit=RUNS_PER_SCAN, ascending=True).records
        if len(records) == RUNS_PER_SCAN:
            horizon = min(horizon or records[-1].storage_id, records[-1].storage_id)
        found += records
    ended = sorted((r for r in found if horizon is None or r.storage_id <= horizon), key=lambda r: r.storage_id)
    return ended, ended[-1].storage_id if ended else cursor


def _failed(record: dg.EventLogRecord) -> bool:
    return record.event_log_entry.dagster_event_type == dg.DagsterEventType.RUN_FAILURE


def _may_be_retried(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether Dagster may retry the run. Dagster sets the tag for it shortly after the failure."""
    return run.tags.get(WILL_RETRY_TAG, str(instance.run_retries_enabled)).lower() == "true"


def _failure(instance: dg.DagsterInstance, run_id: str) -> dg.EventLogEntry:
    return instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)[-1]


def _note_run(
    instance: dg.DagsterInstance,
    state: ScanState,
    run: dg.DagsterRun,
    checks: Collection[dg.AssetCheckKey],
    assets_of_job: AssetsOfJob,
) -> None:
    """Record the first cause of a failed run that is not a failed blocking check, which is an incident of its own."""
    failure = _failure(instance, run.run_id)
    causes = (
        (cause, reasons.keys() - reported)
        for cause, reasons in _causes(instance, run, failure)
        for reported in [_reported_by_checks(state, checks, reasons)]
        if not reported or reasons.keys() - reported
    )
    found = next(causes, None)
    if found is None:
        return
    cause, weeks = found
    backfill = run.tags.get(BACKFILL_ID_TAG)
    state.incidents.note(
        Kind.RUNS,
        _subject_of_run(run),
        [part.to_user_string() for part in _parts_of_run(run, assets_of_job)] or [run.job_name],
        weeks or _weeks(run),
        at=dt.datetime.fromtimestamp(failure.timestamp, dt.UTC),
        cause=cause,
        link=f"/runs/b/{backfill}" if backfill else f"/runs/{run.run_id}",
    )


def _subject_of_run(run: dg.DagsterRun) -> str:
    """The subject of a run's incident. Failed runs with the same subject are one incident."""
    if BACKFILL_ID_TAG in run.tags:
        return f"backfill {run.tags[BACKFILL_ID_TAG]}"
    if not is_of_assets(run):
        return f"job {run.job_name}"
    requested_by = run.tags.get(SENSOR_NAME_TAG) or run.tags.get(SCHEDULE_NAME_TAG)
    # Stored in cursors. `messages` rewords it for people.
    return f"runs that {requested_by} asked for" if requested_by else "assets materialized by hand"


def _parts_of_run(run: dg.DagsterRun, assets_of_job: AssetsOfJob) -> list[dg.AssetKey | dg.AssetCheckKey]:
    """The assets of a run, or its checks if the run has checks only."""
    selected = run.asset_selection or run.asset_check_selection
    return sorted(selected or assets_of_job(run.job_name), key=lambda part: part.to_user_string())


def _weeks(run: dg.DagsterRun) -> list[str]:
    return weeks_of(run) or [NO_WEEK]


def _causes(
    instance: dg.DagsterInstance, run: dg.DagsterRun, failure: dg.EventLogEntry
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Why a run failed: each failed step, with the weeks that it names and their reasons."""
    event = failure.dagster_event
    data = event.event_specific_data if event else None
    if not isinstance(data, JobFailureData) or data.first_step_failure_event is None:
        error = data.error if isinstance(data, JobFailureData) else None
        yield (_innermost(error) if error else (event.message if event else None) or failure.user_message), {}
        return
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        step = entry.dagster_event
        assert step is not None
        details, user = step.step_failure_data, step.step_failure_data.user_failure_data
        failed = user.metadata.get(FAILED_WEEKS) if user else None
        reasons: Mapping[str, str] = failed.value if isinstance(failed, dg.JsonMetadataValue) else {}  # type: ignore[assignment]
        if details.error and details.error.cls_name == DagsterAssetCheckFailedError.__name__:
            reasons = {NO_WEEK: _blocking_without_week(instance, run)}
        reason = (user.description if user else None) or (_innermost(details.error) if details.error else step.message)
        yield f"step {step.step_key}: {reason}", reasons


def _blocking_without_week(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """The failed blocking check of a table without weeks. Dagster fails its step."""
    entries = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = (entry.dagster_event.asset_check_evaluation_data for entry in entries if entry.dagster_event)
    failed = (one for one in found if one.blocking and not one.passed and one.partition is None)
    return next(map(described, failed), "")


def _reported_by_checks(state: ScanState, checks: Collection[dg.AssetCheckKey], reasons: Mapping[str, str]) -> set[str]:
    """The weeks that failed because of a blocking check whose failure is an incident of its own."""
    return {
        week
        for week, reason in reasons.items()
        for check in checks
        if reason.startswith(start_of_description(check)) and state.incidents.is_open(Kind.CHECK, _subject(check), week)
    }


def _innermost(error: SerializableErrorInfo) -> str:
    while error.cause:
        error = error.cause
    return error.message.strip()


# --- checks ---


def _checks(instance: dg.DagsterInstance, state: ScanState, checks: Collection[dg.AssetCheckKey]) -> None:
    """Record results since the last scan by check and week: failures open incidents, successes resolve them."""
    since = state.checks
    failed: dict[dg.AssetCheckKey, list[str]] = {}
    for result in instance.event_log_storage.get_asset_check_partition_info(list(checks), after_storage_id=since):
        # The result also contains weeks that were materialized again without a new check.
        if result.latest_check_event_storage_id <= since:
            continue
        week, subject = result.partition_key or NO_WEEK, _subject(result.check_key)
        if result.latest_execution_status is AssetCheckExecutionRecordStatus.SUCCEEDED:
            state.incidents.resolve(Kind.CHECK, [subject], [week])
        elif result.latest_execution_status is AssetCheckExecutionRecordStatus.FAILED:
            failed.setdefault(result.check_key, []).append(week)
        state.checks = max(state.checks, result.latest_check_event_storage_id)
    for key, weeks in failed.items():
        _note_check(instance, state, key, weeks)


def _note_check(instance: dg.DagsterInstance, state: ScanState, key: dg.AssetCheckKey, weeks: list[str]) -> None:
    """Record the weeks with the description for the last one. Reading it for hundreds of weeks would be slow."""
    [record] = instance.event_log_storage.get_asset_check_execution_history(
        key,
        limit=1,
        status={AssetCheckExecutionRecordStatus.FAILED},
        partition_filter=PartitionKeyFilter(key=max(weeks) or None),
    )
    event = record.event.dagster_event if record.event else None
    evaluation = event.asset_check_evaluation_data if event else None
    state.incidents.note(
        Kind.CHECK,
        _subject(key),
        [_subject(key)],
        weeks,
        at=dt.datetime.fromtimestamp(record.event.timestamp if record.event else record.create_timestamp, dt.UTC),
        cause=(evaluation.description if evaluation else None) or "the check gives no description",
        link=f"/assets/{'/'.join(key.asset_key.path)}?view=checks&checkDetail={key.name}",
        lasting=evaluation is None or evaluation.severity is dg.AssetCheckSeverity.ERROR,
    )


def _subject(key: dg.AssetCheckKey) -> str:
    return f"{key.asset_key.to_user_string()}: {key.name}"


# --- ticks ---


def _ticks(instance: dg.DagsterInstance, state: ScanState, excluded_sensor: str) -> None:
    """Record enabled sensors and schedules whose last ticks all failed."""
    failing: set[str] = set()
    for instigator in _enabled(instance):
        if instigator.instigator_name == excluded_sensor:
            continue
        ticks = instance.get_ticks(
            instigator.instigator_origin_id,
            instigator.selector_id,
            limit=TICKS_IN_A_ROW,
            statuses=[TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE],
        )
        if len(ticks) < TICKS_IN_A_ROW or any(tick.status is not TickStatus.FAILURE for tick in ticks):
            continue
        kind = "sensor" if instigator.instigator_type is InstigatorType.SENSOR else "schedule"
        subject = f"{kind} {instigator.instigator_name}"
        failing.add(subject)
        error = _innermost(ticks[0].error) if ticks[0].error else "no error recorded"
        location = instigator.origin.repository_origin.code_location_origin.location_name
        state.incidents.note(
            Kind.TICKS,
            subject,
            [subject],
            [NO_WEEK],
            at=dt.datetime.fromtimestamp(ticks[-1].timestamp, dt.UTC),
            cause=f"{len(ticks)} failed ticks in a row: {error}",
            link=f"/locations/{location}/{kind}s/{instigator.instigator_name}",
        )
    for incident in state.incidents.known.values():
        if incident.kind is Kind.TICKS and incident.subject not in failing:
            incident.wrong = {}


def _enabled(instance: dg.DagsterInstance) -> Iterator[InstigatorState]:
    statuses = {InstigatorStatus.RUNNING, InstigatorStatus.DECLARED_IN_CODE}
    yield from instance.all_instigator_state(instigator_statuses=statuses)
