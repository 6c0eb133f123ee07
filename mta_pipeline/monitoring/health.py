"""Health of the pipeline at one moment: key figures from Dagster's records and the listing of the lake.

This module only reads. Any process can read the figures, so queued and killed runs are included. `metrics` shows them
to Prometheus, `status` to people.
"""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import dagster as dg

from mta_pipeline.lake.completeness import weeks_complete, weeks_with_older_rules
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.orchestration.dagster_internals import (
    AssetCheckExecutionRecordStatus,
    InstigatorState,
    InstigatorType,
    TickStatus,
)
from mta_pipeline.orchestration.keys import FEED_KEY, asset_key
from mta_pipeline.orchestration.run_records import latest_evaluation, weeks_of
from mta_pipeline.turnstile.contract import COMPLEX_DAILY, TURNSTILE_READINGS

ENDED: Final = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
IN_PROGRESS: Final = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)

_OVERLAP: Final = dt.timedelta(minutes=1)
"""Each read of ended runs overlaps the previous one by this time, because clocks of processes differ."""
_MAX_TICKS: Final = 50
_FAILURES_SHOWN: Final = 20


class EndedRun(NamedTuple):
    """A finished run."""

    job: str
    status: dg.DagsterRunStatus
    seconds: float | None
    """Duration in seconds from start to end; None if the run never started."""
    weeks: int
    """Number of weeks that the run was requested for."""


class RunInProgress(NamedTuple):
    """A run that is queued or in progress."""

    run_id: str
    job: str
    status: dg.DagsterRunStatus
    since: dt.datetime
    """Time at which the run was created."""


class Daemon(NamedTuple):
    """A Dagster daemon that the deployment requires."""

    name: str
    is_healthy: bool
    heartbeat: dt.datetime | None


class Ticks(NamedTuple):
    """A sensor or schedule, and the results of its last ticks."""

    kind: str
    name: str
    is_running: bool
    last: Mapping[str, dt.datetime]
    """Time of the last tick by status: success, skipped, failure."""
    failures_in_a_row: int
    error: str
    """Error of the last tick; empty if the tick did not fail."""


class FailedCheck(NamedTuple):
    """A check whose latest result is a failure, for one week or for none."""

    check: dg.AssetCheckKey
    week: str | None
    severity: str
    description: str


class CheckCounts(NamedTuple):
    """Number of weeks for which the latest result of a check passed or failed."""

    passed: int
    failed: int


class Weeks(NamedTuple):
    """The sorted weeks in each state."""

    available: Sequence[str]
    """Weeks that have landed or that the sensor has observed at the feed."""
    landed: Sequence[str]
    complete: Sequence[str]
    """Weeks that every weekly table has."""
    outdated: Mapping[str, str] = MappingProxyType({})
    """Complete weeks that older rules have made, each with these rules."""

    @property
    def unfinished(self) -> list[str]:
        """Weeks that have landed and that some weekly table lacks."""
        return sorted({*self.landed} - {*self.complete})

    @property
    def missing(self) -> list[str]:
        """Available weeks between the first and the last week in the lake that have not landed."""
        known = {*self.landed, *self.complete}
        span = (min(known), max(known)) if known else ("", "")
        return [week for week in self.available if span[0] <= week <= span[1] and week not in known]


@dataclass(frozen=True)
class Health:
    """The key figures at one moment."""

    at: dt.datetime
    jobs: Collection[str]
    """Names of all jobs, including those that have never run."""
    ended: Collection[EndedRun]
    in_progress: Sequence[RunInProgress]
    daemons: Sequence[Daemon]
    ticks: Sequence[Ticks]
    weeks: Weeks
    checks: Mapping[dg.AssetCheckKey, CheckCounts]
    failed_checks: Sequence[FailedCheck]
    """The newest failures, at most 20."""
    made_at: Mapping[str, dt.datetime]
    """Time of the last materialization by asset."""
    newest: Mapping[str, float]
    """Readings, turnstiles, entries and exits of the newest complete week."""
    newest_rejects: Mapping[str, int]
    """Rejects of the same week, by reason."""


@dataclass
class HealthReader:
    """Reads the figures of one deployment repeatedly. Each read fetches only newly ended runs.

    Errors of Dagster's storage or of the lake's file system are passed on to the caller.
    """

    instance: dg.DagsterInstance
    lake_root: str
    checks: Collection[dg.AssetCheckKey]
    tables: Collection[dg.AssetKey]
    jobs: Collection[str]
    _ended: dict[str, EndedRun] = field(default_factory=dict)
    _read_until: dt.datetime | None = None
    _current: set[str] = field(default_factory=set)
    """Weeks found to be made by current rules. Their files are not read again."""

    @classmethod
    def of(cls, instance: dg.DagsterInstance, lake_root: str, defs: dg.Definitions) -> "HealthReader":
        """A reader for the jobs, checks and assets of these definitions."""
        graph = defs.resolve_asset_graph()
        jobs = [job.name for job in defs.jobs or ()]
        return cls(instance, lake_root, sorted(graph.asset_check_keys), sorted(graph.materializable_asset_keys), jobs)

    def read(self) -> Health:
        """Read the current figures."""
        now = dt.datetime.now(dt.UTC)
        weeks = self._weeks()
        newest, rejects = self._figures(weeks.complete[-1]) if weeks.complete else ({}, {})
        counts, failed = self._checks()
        return Health(
            at=now,
            jobs=self.jobs,
            ended=self._ended_runs(now),
            in_progress=self._in_progress(),
            daemons=self._daemons(),
            ticks=[self._ticks(state) for state in self.instance.all_instigator_state()],
            weeks=weeks,
            checks=counts,
            failed_checks=failed,
            made_at=dict(self._made_at()),
            newest=newest,
            newest_rejects=rejects,
        )

    def _ended_runs(self, now: dt.datetime) -> Collection[EndedRun]:
        since = self._read_until and self._read_until - _OVERLAP
        for record in self.instance.get_run_records(dg.RunsFilter(statuses=list(ENDED), updated_after=since)):
            run = record.dagster_run
            started, ended = record.start_time, record.end_time
            seconds = None if started is None or ended is None else ended - started
            self._ended[run.run_id] = EndedRun(run.job_name, run.status, seconds, len(weeks_of(run)))
        self._read_until = now
        return self._ended.values()

    def _in_progress(self) -> list[RunInProgress]:
        records = self.instance.get_run_records(dg.RunsFilter(statuses=list(IN_PROGRESS)), ascending=True)
        return [
            RunInProgress(run.run_id, run.job_name, run.status, record.create_timestamp)
            for record in records
            for run in [record.dagster_run]
        ]

    def _daemons(self) -> list[Daemon]:
        return [
            Daemon(
                name.lower(),
                bool(status.healthy),
                _time(status.last_heartbeat.timestamp) if status.last_heartbeat else None,
            )
            for name, status in sorted(self.instance.get_daemon_statuses().items())
            if status.required
        ]

    def _ticks(self, state: InstigatorState) -> Ticks:
        ticks = self.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=_MAX_TICKS)
        ended = [tick for tick in ticks if tick.status is not TickStatus.STARTED]
        failures = next((n for n, tick in enumerate(ended) if tick.status is not TickStatus.FAILURE), len(ended))
        last: dict[str, dt.datetime] = {}
        for tick in ended:
            last.setdefault(tick.status.value.lower(), _time(tick.timestamp))
        error = ended[0].error if failures else None
        return Ticks(
            "schedule" if state.instigator_type is InstigatorType.SCHEDULE else "sensor",
            state.instigator_name,
            state.is_running,
            last,
            failures,
            error.message.strip() if error else "",
        )

    def _weeks(self) -> Weeks:
        seen = self.instance.event_log_storage.get_latest_storage_id_by_partition(
            FEED_KEY, dg.DagsterEventType.ASSET_OBSERVATION
        )
        landed, complete = RawFiles(self.lake_root).weeks(), weeks_complete(self.lake_root)
        outdated = weeks_with_older_rules(self.lake_root, sorted(complete - self._current))
        self._current = complete - outdated.keys()
        return Weeks(sorted({*seen, *landed}), sorted(landed), sorted(complete), outdated)

    def _checks(self) -> tuple[dict[dg.AssetCheckKey, CheckCounts], list[FailedCheck]]:
        storage = self.instance.event_log_storage
        counts: Counter[tuple[dg.AssetCheckKey, bool]] = Counter()
        failures: list[tuple[int, dg.AssetCheckKey, str | None]] = []
        for of_week in storage.get_asset_check_partition_info(list(self.checks)):
            is_failed = of_week.latest_execution_status is AssetCheckExecutionRecordStatus.FAILED
            if is_failed or of_week.latest_execution_status is AssetCheckExecutionRecordStatus.SUCCEEDED:
                counts[of_week.check_key, is_failed] += 1
            if is_failed:
                failures.append((of_week.latest_check_event_storage_id, of_week.check_key, of_week.partition_key))
        newest = sorted(failures, key=lambda found: found[0], reverse=True)[:_FAILURES_SHOWN]
        return (
            {key: CheckCounts(counts[key, False], counts[key, True]) for key in self.checks},
            [failed for _, key, week in newest if (failed := self._failed_check(key, week))],
        )

    def _failed_check(self, key: dg.AssetCheckKey, week: str | None) -> FailedCheck | None:
        found = latest_evaluation(self.instance, key, week)
        return None if found is None else FailedCheck(key, week, found.severity.value, found.description or "")

    def _made_at(self) -> Iterator[tuple[str, dt.datetime]]:
        for record in self.instance.get_asset_records(list(self.tables)):
            entry = record.asset_entry
            if entry.last_materialization_record is not None:
                yield entry.asset_key.to_user_string(), _time(entry.last_materialization_record.timestamp)

    def _figures(self, week: str) -> tuple[dict[str, float], dict[str, int]]:
        readings = self._metadata(asset_key(TURNSTILE_READINGS), week, "turnstiles")
        people = self._metadata(asset_key(COMPLEX_DAILY), week, "entries")
        found = {
            "readings": readings.get("dagster/partition_row_count"),
            "turnstiles": readings.get("turnstiles"),
            "entries": people.get("entries"),
            "exits": people.get("exits"),
        }
        rejects = readings.get("rejects")
        return (
            {name: float(value) for name, value in found.items() if value is not None},
            {str(reason): int(count) for reason, count in (rejects or {}).items()},
        )

    def _metadata(self, key: dg.AssetKey, week: str, name: str) -> Mapping[str, Any]:
        """The metadata of the latest materialization of a week that has an entry of this name."""
        wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[week])
        for record in self.instance.fetch_materializations(wanted, limit=5).records:
            made = record.asset_materialization
            if made is not None and name in made.metadata:
                return {key: value.value for key, value in made.metadata.items()}
        return {}


def _time(timestamp: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(timestamp, dt.UTC)
