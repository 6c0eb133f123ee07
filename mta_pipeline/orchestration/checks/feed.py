"""Standing checks of the feed against the lake: weeks that should be in the lake by now and are not.

They belong to no week and no run, because their results change with time. See `weekly` for the tables of a week.
"""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import dagster as dg

from mta_pipeline.lake.completeness import weeks_complete
from mta_pipeline.orchestration.conditions import several_times_a_day
from mta_pipeline.orchestration.keys import FEED_KEY, NEWEST_WEEK_LANDED, NO_WEEK_LEFT_OUT, REACHABLE
from mta_pipeline.orchestration.resources.feed import TurnstileFeed
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.run_records import refusals
from mta_pipeline.sources.errors import FeedError
from mta_pipeline.sources.turnstile_files import Feed, PublishedFile
from mta_pipeline.weeks import ONE_WEEK, week_start, weeks_between

TIME_TO_LAND: Final = dt.timedelta(days=1)


def feed_checks(last_week: dt.date | None) -> dg.AssetChecksDefinition:
    """The standing checks.

    Args:
        last_week: the last week of a feed that has ended, otherwise None.
    """

    def spec(name: str, description: str) -> dg.AssetCheckSpec:
        condition = several_times_a_day()
        return dg.AssetCheckSpec(name, asset=FEED_KEY, description=description, automation_condition=condition)

    @dg.multi_asset_check(
        name="check_feed",
        specs=[
            spec(
                REACHABLE,
                "The feed lists its weeks. The sensor also fails this check after several failed requests in a row.",
            ),
            spec(
                NO_WEEK_LEFT_OUT,
                "Between the first and the last week in the lake, every available week is complete. Other weeks are "
                "listed as failed or missing. A week that the feed does not list was never published.",
            ),
            spec(
                NEWEST_WEEK_LANDED,
                "The newest available week is in the lake within a day of its discovery. Older weeks do not count. "
                "The check always passes for a feed that has ended (MTA_LAST_WEEK).",
            ),
        ],
    )
    def check_feed(
        context: dg.AssetCheckExecutionContext, feed: TurnstileFeed, raw_layer: Lake
    ) -> Iterator[dg.AssetCheckResult]:
        source, lake_root = feed.open(raw_layer.lake_root, fail_fast=True), raw_layer.lake_root
        available, state = _available_weeks(source)
        complete, landed = weeks_complete(lake_root), raw_layer.files().weeks()
        yield dg.AssetCheckResult(
            check_name=REACHABLE,
            passed=available is not None,
            description=state,
            metadata={} if available is None else {"available": len(available)},
        )
        yield _no_week_left_out(context.instance, available, landed, complete)
        yield _newest_week_landed(context.instance, available, complete, last_week)

    return check_feed


def _available_weeks(feed: Feed) -> tuple[Mapping[str, PublishedFile] | None, str]:
    try:
        listing = feed.listing_unless(None)
    except FeedError as error:
        return None, str(error)
    available = {} if listing is None else listing.weeks
    notes = () if listing is None else listing.notes
    return available, "\n".join((f"{len(available):,} weeks available at {feed.location}", *notes))


def _no_week_left_out(
    instance: dg.DagsterInstance,
    available: Mapping[str, PublishedFile] | None,
    landed: Collection[str],
    complete: Collection[str],
) -> dg.AssetCheckResult:
    known = {*landed, *complete}
    span = weeks_between(min(known), max(known)) if known else []
    absent = [week for week in span if week not in complete]
    reasons = refusals(instance, absent)
    failed = {week: reasons.get(week, "its file has landed") for week in absent if week in reasons or week in landed}
    others = [week for week in absent if week not in failed]
    missing = {week: "available, but has not landed" for week in others if available is not None and week in available}
    unknown = others if available is None else []
    unavailable = len(others) - len(missing)
    parts = [
        f"{len(span) - len(absent):,} weeks complete",
        *([f"{len(failed)} failed"] if failed else []),
        *([f"{len(missing)} missing"] if missing else []),
        *([f"{unavailable} not available"] if available is not None and unavailable else []),
        *([f"{len(unknown)} not in the lake, and the feed is not reachable"] if unknown else []),
    ]
    span_text = f"{span[0]} to {span[-1]}: " if span else ""
    return dg.AssetCheckResult(
        check_name=NO_WEEK_LEFT_OUT,
        passed=not (failed or missing),
        severity=dg.AssetCheckSeverity.ERROR if failed or missing else dg.AssetCheckSeverity.WARN,
        description=span_text + ", ".join(parts),
        metadata={
            "complete": len(span) - len(absent),
            "failed": len(failed),
            "missing": len(missing),
            **({"weeks": _as_table({**failed, **missing}, failed)} if failed or missing else {}),
        },
    )


def _as_table(reasons: Mapping[str, str], failed: Collection[str]) -> dg.TableMetadataValue:
    records = [
        dg.TableRecord({"week": week, "state": "failed" if week in failed else "missing", "reason": reasons[week]})
        for week in sorted(reasons)
    ]
    return dg.MetadataValue.table(records)


def _newest_week_landed(
    instance: dg.DagsterInstance,
    available: Mapping[str, PublishedFile] | None,
    complete: Collection[str],
    last_week: dt.date | None,
) -> dg.AssetCheckResult:
    def result(*, passed: bool, description: str, **metadata: Any) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(
            check_name=NEWEST_WEEK_LANDED, passed=passed, description=description, metadata=metadata
        )

    if last_week is not None:
        return result(passed=True, description=f"not applicable: the feed ended with the week {last_week}")
    if not available:
        return result(passed=False, description="the newest week is unknown: the feed lists no week or does not answer")
    newest = max(available)
    if newest in complete:
        return result(passed=True, description=f"week {newest} is in the lake", newest=newest)
    since = _available_since(instance, newest)
    age = dt.datetime.now(dt.UTC) - since
    return result(
        passed=age < TIME_TO_LAND,
        description=f"week {newest} has been available since {since:%Y-%m-%d %H:%M} UTC and is not in the lake: "
        "check the runs of that week, and whether the sensor and the automation are running",
        newest=newest,
        hours=round(age / dt.timedelta(hours=1), 1),
    )


def _available_since(instance: dg.DagsterInstance, week: str) -> dt.datetime:
    """When the sensor discovered the week; without the sensor, the earliest possible time of its publication."""
    records = instance.fetch_observations(
        dg.AssetRecordsFilter(asset_key=FEED_KEY, asset_partitions=[week]), limit=1, ascending=True
    ).records
    if records:
        return dt.datetime.fromtimestamp(records[0].timestamp, dt.UTC)
    return dt.datetime.combine(week_start(week) + ONE_WEEK, dt.time(), dt.UTC)
