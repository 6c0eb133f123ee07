"""The sensor that checks the feed and requests runs for due weeks, and the automation sensor.

`mta_pipeline.lake.discovery` finds the due weeks. The sensor requests raw files only. All other tables follow by their
automation conditions.
"""

import datetime as dt
import hashlib
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Final

import dagster as dg

from mta_pipeline.lake.discovery import Discovery, DiscoveryCursor, find_due_weeks
from mta_pipeline.orchestration.keys import COMPLETE_WEEKS, FEED_KEY, RAW_KEY, REACHABLE, SKIP
from mta_pipeline.orchestration.partitions import notes_on_later_weeks
from mta_pipeline.orchestration.resources.feed import TurnstileFeed
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.run_records import in_progress, last_attempts, range_tags
from mta_pipeline.weeks import contiguous_ranges, weeks_between

SENSOR: Final = "published_weeks"
AUTOMATION_SENSOR: Final = "follow_inputs"

ALARM_AFTER: Final = 3
"""Number of consecutive failed ticks before the check `reachable` fails. Short outages are ignored."""

_TICK: Final = 30
"""Maximum number of seconds between two ticks of the automation sensor. A tick takes less than a second."""

_WEEKS_PER_RUN: Final = 52
"""Maximum number of weeks per run, so that the first weeks of a long backfill are in the lake early."""


def published_weeks_sensor(
    job: str, weeks: dg.WeeklyPartitionsDefinition, look_every: int, landing_jobs: Collection[str]
) -> dg.SensorDefinition:
    """The sensor `published_weeks`.

    Args:
        job: the name of the job that lands raw files.
        weeks: the partitions of weekly tables.
        look_every: seconds between two ticks.
        landing_jobs: the names of all jobs that land raw files.
    """

    @dg.sensor(
        name=SENSOR,
        job_name=job,
        minimum_interval_seconds=look_every,
        description="Checks the feed and requests weeks that are new, or were published again with other contents, "
        "oldest first. If the feed is unreachable, the tick is skipped. After "
        f"{ALARM_AFTER} such ticks in a row, the check feed/turnstile_file:{REACHABLE} fails until the feed answers.",
    )
    def published_weeks(context: dg.SensorEvaluationContext, feed: TurnstileFeed, raw_layer: Lake) -> dg.SensorResult:
        cursor = DiscoveryCursor.model_validate_json(context.cursor) if context.cursor else DiscoveryCursor()
        instance, raw = context.instance, raw_layer.files()
        # Read runs before landed weeks: a run that ends in between counts as in progress until the next tick.
        busy = in_progress(instance, RAW_KEY, landing_jobs)
        found = find_due_weeks(
            source := feed.open(raw_layer.lake_root, fail_fast=True),
            raw,
            cursor,
            landed=raw.weeks() & set(instance.get_materialized_partitions(RAW_KEY)),
            calendar=(calendar := weeks.get_partition_keys()),
            in_progress=busy,
            last_attempts=partial(last_attempts, instance, RAW_KEY, landing_jobs),
            now=dt.datetime.now(dt.UTC),
        )
        if found.error:
            context.log.warning(str(found.error))
        return dg.SensorResult(
            run_requests=list(_requests(found)),
            skip_reason=None if found.due else _reason(found, source.location, busy, calendar),
            cursor=found.cursor.model_dump_json(),
            asset_events=[*_seen(found), *_alarm(found, failed_before=cursor.failed_looks)],
        )

    return published_weeks


def automation_sensor(look_every: int) -> dg.AutomationConditionSensorDefinition:
    """The sensor `follow_inputs`, which evaluates the automation conditions of assets and checks."""
    return dg.AutomationConditionSensorDefinition(
        AUTOMATION_SENSOR,
        target=dg.AssetSelection.all() | dg.AssetSelection.all_asset_checks(),
        minimum_interval_seconds=min(look_every, _TICK),
        run_tags={COMPLETE_WEEKS: SKIP},
        description="Materializes each table after its inputs were updated, for any week. Runs the standing checks.",
    )


def _requests(found: Discovery) -> Iterator[dg.RunRequest]:
    """A run request per range of weeks. The run key contains the versions, so each version runs once."""
    for first, last in contiguous_ranges(found.due, at_most=_WEEKS_PER_RUN):
        versions = [found.due[week].requested for week in weeks_between(first, last)]
        digest = hashlib.sha256(repr(versions).encode()).hexdigest()[:12]
        yield dg.RunRequest(run_key=f"{first}...{last} {digest}", tags=range_tags((first, last)))


def _reason(found: Discovery, location: str, busy: Collection[str], calendar: Sequence[str]) -> str:
    if found.error:
        times = found.cursor.failed_looks
        return f"Request to the feed failed{f' {times} times in a row' if times > 1 else ''}: {found.error}"
    available = "list of weeks unchanged" if found.available is None else f"{found.available:,} weeks available"
    waiting = [week for week in found.cursor.asked if week not in busy]
    parts = [
        f"{available} at {location}",
        f"{found.cursor.landed:,} have landed and nothing is new",
        f"{found.probes:,} weeks checked",
        *([f"{len(busy)} in progress"] if busy else []),
        *([f"requested, but failed: {', '.join(waiting[:5])}{' …' if len(waiting) > 5 else ''}"] if waiting else []),
        *notes_on_later_weeks(found.outside, calendar),
    ]
    return "; ".join(parts)


def _seen(found: Discovery) -> Iterator[dg.AssetObservation]:
    for week, due in found.due.items():
        if due.requested.times == 1:
            metadata = {"what": "contents changed since landing" if due.landed_before else "new", "url": due.file.url}
            metadata |= {"etag": due.file.etag} if due.file.etag else {}
            metadata |= {"last_modified": due.file.last_modified.isoformat()} if due.file.last_modified else {}
            yield dg.AssetObservation(FEED_KEY, partition=week, metadata=metadata)


def _alarm(found: Discovery, *, failed_before: int) -> Iterator[dg.AssetCheckEvaluation]:
    """A failed check result when the feed has been unreachable long enough, a passed one when it answers again."""
    if found.cursor.failed_looks == ALARM_AFTER:
        description = f"{ALARM_AFTER} requests in a row failed: {found.error}"
    elif failed_before >= ALARM_AFTER and not found.error:
        description = f"reachable again, after {failed_before} failed ticks"
    else:
        return
    yield dg.AssetCheckEvaluation(
        asset_key=FEED_KEY,
        check_name=REACHABLE,
        passed=not found.error,
        description=description,
        severity=dg.AssetCheckSeverity.ERROR,
    )
