"""Reads Dagster's records about weeks: which are in progress, and how the last attempts ended.

The lake itself says which weeks it holds, see `lake.completeness`.
"""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from typing import Final

import dagster as dg

from mta_pipeline.lake.discovery import Attempt
from mta_pipeline.orchestration.dagster_internals import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
    AssetCheckExecutionRecordStatus,
    CheckedMaterialization,
    PartitionKeyFilter,
)
from mta_pipeline.orchestration.keys import FAILED_WEEKS
from mta_pipeline.weeks import is_week, week_start, weeks_between

_WEEK_TAGS: Final = (PARTITION_NAME_TAG, ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG)
_IN_PROGRESS: Final = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
)
_ENDED: Final = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_MAX_RUNS: Final = 200
_EPOCH: Final = dt.datetime.fromtimestamp(0, dt.UTC)


def range_tags(weeks: tuple[str, str]) -> dict[str, str]:
    """The tags that make a run cover the weeks from the first to the last, both included."""
    first, last = weeks
    if first == last:
        return {PARTITION_NAME_TAG: first}
    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}


def weeks_of(run: dg.DagsterRun) -> list[str]:
    """The weeks that a run covers, according to its tags. None if these do not name weeks, so that the run fails."""
    ends = [run.tags[tag] for tag in _WEEK_TAGS if tag in run.tags]
    return weeks_between(ends[0], ends[-1]) if ends and all(map(is_week, ends)) else []


def require_weeks(calendar: dg.PartitionsDefinition, run: dg.DagsterRun) -> None:
    """Fail the step if a tag of its run names no week of the calendar. Dagster would process another week.

    Raises:
        dg.Failure: there is no such week. The message names the nearest one.
    """
    for key in (run.tags[tag] for tag in _WEEK_TAGS if tag in run.tags):
        if calendar.has_partition_key(key):
            continue
        try:
            day = dt.date.fromisoformat(key)
        except ValueError:
            advice = "A week is named by the Saturday on which it starts, as in 2014-10-11"
        else:
            nearest = min(calendar.get_partition_keys(), key=lambda week: abs(week_start(week) - day))
            advice = f"The nearest week is {nearest}"
        raise dg.Failure(
            f"The partition {key} is not a week of the calendar, so nothing was processed. {advice}.",
            allow_retries=False,
        )


def is_of_assets(run: dg.DagsterRun) -> bool:
    """Whether a run was launched for assets, not for a job: in the catalogue, by a backfill or by automation."""
    return run.job_name.startswith("__")


def in_progress(instance: dg.DagsterInstance, key: dg.AssetKey, jobs: Collection[str]) -> set[str]:
    """The weeks of an asset that queued or started runs will materialize. `jobs` are the jobs with this asset."""
    runs = instance.get_runs(dg.RunsFilter(statuses=list(_IN_PROGRESS)))
    return {week for run in runs if _materializes(run, key, jobs) for week in weeks_of(run)}


def last_attempts(
    instance: dg.DagsterInstance, key: dg.AssetKey, jobs: Collection[str], weeks: Collection[str]
) -> dict[str, Attempt]:
    """The result of the last ended run for each of these weeks. Weeks without a recent run are left out."""
    records = instance.get_run_records(dg.RunsFilter(statuses=list(_ENDED)), limit=_MAX_RUNS)
    found: dict[str, Attempt] = {}
    for record in records:
        run = record.dagster_run
        ours = [week for week in weeks_of(run) if week in weeks and week not in found]
        if ours and _materializes(run, key, jobs):
            refused = _refused(instance, run)
            ended = _EPOCH if record.end_time is None else dt.datetime.fromtimestamp(record.end_time, dt.UTC)
            found |= {week: Attempt(ended, refused.get(week)) for week in ours}
    return found


def refusals(instance: dg.DagsterInstance, weeks: Collection[str]) -> dict[str, str]:
    """Why the file of each of these weeks could not be used, from the last failed run that gave a reason."""
    runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]), limit=_MAX_RUNS)
    found: dict[str, str] = {}
    for run in runs if weeks else ():
        if any(week in weeks for week in weeks_of(run)):
            found = {week: why for week, why in _refused(instance, run).items() if week in weeks} | found
    return found


def latest_materializations(
    instance: dg.DagsterInstance, key: dg.AssetKey, weeks: Collection[str]
) -> dict[str, CheckedMaterialization]:
    """The latest materialization by week, for check results. Dagster shows results without it as outdated."""
    storage = instance.event_log_storage
    ids = storage.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION, set(weeks))
    if not ids:
        return {}
    wanted = dg.AssetRecordsFilter(asset_key=key, storage_ids=list(ids.values()))
    return {
        record.partition_key: CheckedMaterialization(
            storage_id=record.storage_id, run_id=record.event_log_entry.run_id, timestamp=record.timestamp
        )
        for record in instance.fetch_materializations(wanted, limit=len(ids)).records
        if record.partition_key
    }


def latest_metadata(instance: dg.DagsterInstance, key: dg.AssetKey, week: str) -> Mapping[str, dg.MetadataValue]:
    """The metadata of the latest materialization of a week; empty if there is none."""
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[week])
    records = instance.fetch_materializations(wanted, limit=1).records
    event = records[0].asset_materialization if records else None
    return event.metadata if event else {}


def failed_checks(
    instance: dg.DagsterInstance,
    checks: Collection[dg.AssetCheckKey],
    weeks: Collection[str],
    *,
    current: bool = False,
) -> Iterator[tuple[str, dg.AssetCheckEvaluation]]:
    """The weeks whose latest result of a check is an error, with the result. Warnings are left out.

    With `current`, so are results about an earlier materialization of the week.
    """
    for result in instance.event_log_storage.get_asset_check_partition_info(list(checks)):
        week, status = result.partition_key, result.latest_execution_status
        if current and not result.is_current:
            continue
        if week and week in weeks and status is AssetCheckExecutionRecordStatus.FAILED:
            found = latest_evaluation(instance, result.check_key, week)
            if found is not None and found.severity is dg.AssetCheckSeverity.ERROR:
                yield week, found


def latest_evaluation(
    instance: dg.DagsterInstance, check: dg.AssetCheckKey, week: str | None
) -> dg.AssetCheckEvaluation | None:
    """The latest result of a check for a week, or for no week. None if it has not ended."""
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [check], partition_filter=PartitionKeyFilter(key=week)
    ).get(check)
    event = latest.event.dagster_event if latest and latest.event else None
    return event.asset_check_evaluation_data if event else None


def described(evaluation: dg.AssetCheckEvaluation) -> str:
    """A failed check in a line: table, name and description."""
    return f"{start_of_description(evaluation.asset_check_key)}{evaluation.description}"


def start_of_description(check: dg.AssetCheckKey) -> str:
    """What `described` returns for any result of a check, up to its description."""
    return f"{check.asset_key.to_user_string()}, check {check.name}: "


def _materializes(run: dg.DagsterRun, key: dg.AssetKey, jobs: Collection[str]) -> bool:
    return key in run.asset_selection if run.asset_selection else run.job_name in jobs


def _refused(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Mapping[str, str]:
    """The weeks whose file a run could not use, with reasons."""
    reasons: dict[str, str] = {}
    if run.status == dg.DagsterRunStatus.FAILURE:
        for metadata in _failures(instance, run.run_id):
            if isinstance(of_weeks := metadata.get(FAILED_WEEKS), dg.JsonMetadataValue):
                reasons |= of_weeks.value  # type: ignore[arg-type]
    return reasons


def _failures(instance: dg.DagsterInstance, run_id: str) -> Iterator[Mapping[str, dg.MetadataValue]]:
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        data = entry.dagster_event.step_failure_data if entry.dagster_event else None
        if data is not None and data.user_failure_data is not None:
            yield data.user_failure_data.metadata
