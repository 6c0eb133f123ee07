"""How the pipeline is doing: key figures from Dagster's records and the lake's listing, at one moment.

Reading is all that happens here, by whatever process wants to know, so that killed and queued runs are seen, too. How
the figures are shown is for metrics (to Prometheus) and status (to people).
"""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import dagster as dg

from mta_pipeline.lake.completeness import weeks_complete
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.orchestration.dagster_internals import (
    AssetCheckExecutionRecordStatus,
    InstigatorState,
    InstigatorType,
    PartitionKeyFilter,
    TickStatus,
)
from mta_pipeline.orchestration.keys import FEED_KEY, asset_key
from mta_pipeline.orchestration.run_records import weeks_of
from mta_pipeline.turnstile.contract import COMPLEX_DAILY, TURNSTILE_READINGS

ENDED: Final = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
IN_PROGRESS: Final = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)

_OVERLAP: Final = dt.timedelta(minutes=1)
"""How far each look at ended runs goes back behind the one before: clocks of processes differ."""
_TICKS_LOOKED_BACK: Final = 50
_FAILURES_SHOWN: Final = 20


class EndedRun(NamedTuple):
    """A run that is over."""

    job: str
    status: dg.DagsterRunStatus
    seconds: float | None
    """From its start to its end; None if it never started."""
    weeks: int
    """How many weeks it was to cover."""


class RunInProgress(NamedTuple):
    """A run that is not over."""

    run_id: str
    job: str
    status: dg.DagsterRunStatus
    since: dt.datetime
    """When it was asked for."""


class Daemon(NamedTuple):
    """One of Dagster's daemons that the deployment needs."""

    name: str
    is_healthy: bool
    heartbeat: dt.datetime | None


class Ticks(NamedTuple):
    """A sensor or schedule, and how its last ticks went."""

    kind: str
    name: str
    is_running: bool
    last: Mapping[str, dt.datetime]
    """By how it ended (success, skipped, failure): when the last such tick was."""
    failures_in_a_row: int
    error: str
    """What the last tick failed of; empty if it did not."""


class FailedCheck(NamedTuple):
    """A check that is red now, of one week or of none."""

    check: dg.AssetCheckKey
    week: str | None
    severity: str
    description: str


class CheckCounts(NamedTuple):
    """Of how many weeks a check has passed and failed, by its latest result of each."""

    passed: int
    failed: int


class Weeks(NamedTuple):
    """Where the weeks are, in order."""

    available: Sequence[str]
    """Those that have landed, and those that the sensor has seen at the feed."""
    landed: Sequence[str]
    complete: Sequence[str]
    """Those that every weekly table has."""

    @property
    def unfinished(self) -> list[str]:
        """Landed, and not in every table."""
        return sorted({*self.landed} - {*self.complete})

    @property
    def missing(self) -> list[str]:
        """On offer between the first and the last week in the lake, and not landed."""
        known = {*self.landed, *self.complete}
        span = (min(known), max(known)) if known else ("", "")
        return [week for week in self.available if span[0] <= week <= span[1] and week not in known]


@dataclass(frozen=True)
class Health:
    """The key figures of one moment."""

    at: dt.datetime
    jobs: Collection[str]
    """Those there are, whether they have run or not."""
    ended: Collection[EndedRun]
    in_progress: Sequence[RunInProgress]
    daemons: Sequence[Daemon]
    ticks: Sequence[Ticks]
    weeks: Weeks
    checks: Mapping[dg.AssetCheckKey, CheckCounts]
    failed_checks: Sequence[FailedCheck]
    """The newest of each check."""
    made_at: Mapping[str, dt.datetime]
    """By table or page: when it was materialized last."""
    newest: Mapping[str, float]
    """Of the newest complete week: readings, turnstiles, entries, exits."""
    newest_rejects: Mapping[str, int]
    """Of the same week, by reason."""


@dataclass
class HealthReader:
    """Reads the figures of one deployment, again and again; of ended runs, only what is new.

    Raises whatever the records or the store of the lake raise: what cannot be read is not known.
    """

    instance: dg.DagsterInstance
    lake_root: str
    checks: Collection[dg.AssetCheckKey]
    tables: Collection[dg.AssetKey]
    jobs: Collection[str]
    _ended: dict[str, EndedRun] = field(default_factory=dict)
    _looked_until: dt.datetime | None = None

    @classmethod
    def of(cls, instance: dg.DagsterInstance, lake_root: str, defs: dg.Definitions) -> "HealthReader":
        """One for the checks and tables of these definitions."""
        graph = defs.resolve_asset_graph()
        jobs = [job.name for job in defs.jobs or ()]
        return cls(instance, lake_root, sorted(graph.asset_check_keys), sorted(graph.materializable_asset_keys), jobs)

    def read(self) -> Health:
        """The figures as they are now."""
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
        since = self._looked_until and self._looked_until - _OVERLAP
        for record in self.instance.get_run_records(dg.RunsFilter(statuses=list(ENDED), updated_after=since)):
            run = record.dagster_run
            started, ended = record.start_time, record.end_time
            seconds = None if started is None or ended is None else ended - started
            self._ended[run.run_id] = EndedRun(run.job_name, run.status, seconds, len(weeks_of(run)))
        self._looked_until = now
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
                _moment(status.last_heartbeat.timestamp) if status.last_heartbeat else None,
            )
            for name, status in sorted(self.instance.get_daemon_statuses().items())
            if status.required
        ]

    def _ticks(self, state: InstigatorState) -> Ticks:
        ticks = self.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=_TICKS_LOOKED_BACK)
        over = [tick for tick in ticks if tick.status is not TickStatus.STARTED]
        failures = next((n for n, tick in enumerate(over) if tick.status is not TickStatus.FAILURE), len(over))
        last: dict[str, dt.datetime] = {}
        for tick in over:
            last.setdefault(tick.status.value.lower(), _moment(tick.timestamp))
        error = over[0].error if failures else None
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
        return Weeks(sorted({*seen, *landed}), sorted(landed), sorted(complete))

    def _checks(self) -> tuple[dict[dg.AssetCheckKey, CheckCounts], list[FailedCheck]]:
        storage = self.instance.event_log_storage
        counts: Counter[tuple[dg.AssetCheckKey, bool]] = Counter()
        red: list[tuple[int, dg.AssetCheckKey, str | None]] = []
        for of_week in storage.get_asset_check_partition_info(list(self.checks)):
            is_failed = of_week.latest_execution_status is AssetCheckExecutionRecordStatus.FAILED
            if is_failed or of_week.latest_execution_status is AssetCheckExecutionRecordStatus.SUCCEEDED:
                counts[of_week.check_key, is_failed] += 1
            if is_failed:
                red.append((of_week.latest_check_event_storage_id, of_week.check_key, of_week.partition_key))
        newest = sorted(red, key=lambda found: found[0], reverse=True)[:_FAILURES_SHOWN]
        return (
            {key: CheckCounts(counts[key, False], counts[key, True]) for key in self.checks},
            [failed for _, key, week in newest if (failed := self._failed_check(key, week))],
        )

    def _failed_check(self, key: dg.AssetCheckKey, week: str | None) -> FailedCheck | None:
        latest = self.instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [key], partition_filter=PartitionKeyFilter(key=week)
        ).get(key)
        if latest is None or latest.event is None or latest.event.dagster_event is None:
            return None
        found = latest.event.dagster_event.asset_check_evaluation_data
        return FailedCheck(key, week, found.severity.value, found.description or "")

    def _made_at(self) -> Iterator[tuple[str, dt.datetime]]:
        for record in self.instance.get_asset_records(list(self.tables)):
            entry = record.asset_entry
            if entry.last_materialization_record is not None:
                yield entry.asset_key.to_user_string(), _moment(entry.last_materialization_record.timestamp)

    def _figures(self, week: str) -> tuple[dict[str, float], dict[str, int]]:
        readings = self._said_of(asset_key(TURNSTILE_READINGS), week, "turnstiles")
        people = self._said_of(asset_key(COMPLEX_DAILY), week, "entries")
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

    def _said_of(self, key: dg.AssetKey, week: str, name: str) -> Mapping[str, Any]:
        """The metadata of a week's latest materialization that says something of that name."""
        wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[week])
        for record in self.instance.fetch_materializations(wanted, limit=5).records:
            made = record.asset_materialization
            if made is not None and name in made.metadata:
                return {said: value.value for said, value in made.metadata.items()}
        return {}


def _moment(timestamp: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(timestamp, dt.UTC)
