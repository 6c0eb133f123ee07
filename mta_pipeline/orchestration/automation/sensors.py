"""What watches the feed and asks for its weeks. Which weeks those are is found out in mta_pipeline.lake.discovery.

Only raw files are asked for here; all other tables follow by their automation conditions.
"""

import datetime as dt
import hashlib
from collections.abc import Collection, Iterator
from functools import partial
from typing import Final

import dagster as dg

from mta_pipeline.lake.discovery import Discovery, DiscoveryCursor, look
from mta_pipeline.orchestration.keys import COMPLETE_WEEKS, FEED_KEY, RAW_KEY, REACHABLE, SKIP
from mta_pipeline.orchestration.resources.feed import TurnstileFeed
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.run_records import in_progress, last_attempts, range_tags
from mta_pipeline.weeks import contiguous_ranges, weeks_between

SENSOR: Final = "published_weeks"
AUTOMATION_SENSOR: Final = "follow_inputs"

ALARM_AFTER: Final = 3
"""Looks in a row that fail before it is told: a feed that is down for a moment concerns nobody."""

_TICK: Final = 30
"""Seconds between two ticks of the automation; one takes less than a second."""

_WEEKS_PER_RUN: Final = 52
"""So that the first weeks of fourteen years are in the lake long before the last ones are."""


def published_weeks_sensor(
    job: str, weeks: dg.WeeklyPartitionsDefinition, look_every: int, landing_jobs: Collection[str]
) -> dg.SensorDefinition:
    """The sensor `published_weeks`.

    Args:
        job: the one that lands raw files, by name.
        weeks: the calendar.
        look_every: seconds between two looks.
        landing_jobs: the names of all jobs that land raw files.
    """

    @dg.sensor(
        name=SENSOR,
        job_name=job,
        minimum_interval_seconds=look_every,
        description="Looks at the feed, and asks for the weeks that are new or were published again with other "
        "contents, the oldest first. An unreachable feed is a skipped tick; after "
        f"{ALARM_AFTER} in a row the check feed/turnstile_file:{REACHABLE} fails, until the feed answers again.",
    )
    def published_weeks(context: dg.SensorEvaluationContext, feed: TurnstileFeed, raw_layer: Lake) -> dg.SensorResult:
        cursor = DiscoveryCursor.model_validate_json(context.cursor) if context.cursor else DiscoveryCursor()
        instance, raw = context.instance, raw_layer.files()
        # In this order: a run that ends in between counts as under way, and its weeks are looked at next time.
        on_their_way = in_progress(instance, RAW_KEY, landing_jobs)
        found = look(
            source := feed.open(fail_fast=True),
            raw,
            cursor,
            landed=raw.weeks() & set(instance.get_materialized_partitions(RAW_KEY)),
            calendar=set(weeks.get_partition_keys()),
            in_progress=on_their_way,
            last_attempts=partial(last_attempts, instance, RAW_KEY, landing_jobs),
            now=dt.datetime.now(dt.UTC),
        )
        if found.fault:
            context.log.warning(str(found.fault))
        return dg.SensorResult(
            run_requests=list(_requests(found)),
            skip_reason=None if found.due else _reason(found, source.location, on_their_way),
            cursor=found.cursor.model_dump_json(),
            asset_events=[*_seen(found), *_alarm(found, failed_before=cursor.failed_looks)],
        )

    return published_weeks


def automation_sensor(look_every: int) -> dg.AutomationConditionSensorDefinition:
    """The sensor that asks for what is due by the automation conditions of assets and checks."""
    return dg.AutomationConditionSensorDefinition(
        AUTOMATION_SENSOR,
        target=dg.AssetSelection.all() | dg.AssetSelection.all_asset_checks(),
        minimum_interval_seconds=min(look_every, _TICK),
        run_tags={COMPLETE_WEEKS: SKIP},
        description="Makes each table anew when what it is made from was renewed, for any week of the calendar.",
    )


def _requests(found: Discovery) -> Iterator[dg.RunRequest]:
    """A run per stretch of weeks. Its key tells which versions are asked for, so that it runs once."""
    for first, last in contiguous_ranges(found.due, at_most=_WEEKS_PER_RUN):
        asked = [found.due[week].asked for week in weeks_between(first, last)]
        digest = hashlib.sha256(repr(asked).encode()).hexdigest()[:12]
        yield dg.RunRequest(run_key=f"{first}...{last} {digest}", tags=range_tags((first, last)))


def _reason(found: Discovery, location: str, on_their_way: Collection[str]) -> str:
    if found.fault:
        times = found.cursor.failed_looks
        return f"The feed was asked in vain{f', {times} times in a row' if times > 1 else ''}: {found.fault}"
    offer = "no change in the list" if found.available is None else f"{found.available:,} weeks on offer"
    waiting = [week for week in found.cursor.asked if week not in on_their_way]
    parts = [
        f"{offer} at {location}",
        f"{found.cursor.landed:,} have landed and nothing is new",
        f"{found.questions:,} weeks looked at",
        *([f"{len(on_their_way)} on their way"] if on_their_way else []),
        *([f"asked for in vain: {', '.join(waiting[:5])}{' …' if len(waiting) > 5 else ''}"] if waiting else []),
    ]
    return "; ".join(parts)


def _seen(found: Discovery) -> Iterator[dg.AssetObservation]:
    for week, find in found.due.items():
        if find.asked.times == 1:
            facts = {"what": "other contents than those landed" if find.landed_before else "new", "url": find.file.url}
            facts |= {"etag": find.file.etag} if find.file.etag else {}
            facts |= {"last_modified": find.file.last_modified.isoformat()} if find.file.last_modified else {}
            yield dg.AssetObservation(FEED_KEY, partition=week, metadata=facts)


def _alarm(found: Discovery, *, failed_before: int) -> Iterator[dg.AssetCheckEvaluation]:
    """One word when the feed has been out of reach for long enough, and one when it is back."""
    if found.cursor.failed_looks == ALARM_AFTER:
        description = f"asked {ALARM_AFTER} times in vain: {found.fault}"
    elif failed_before >= ALARM_AFTER and not found.fault:
        description = f"answers again, after {failed_before} looks in vain"
    else:
        return
    yield dg.AssetCheckEvaluation(
        asset_key=FEED_KEY,
        check_name=REACHABLE,
        passed=not found.fault,
        description=description,
        severity=dg.AssetCheckSeverity.ERROR,
    )
