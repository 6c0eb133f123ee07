"""The weekly schedule. It requests the week that has just ended and all others that are not in the lake or outdated."""

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Final
from zoneinfo import ZoneInfo

import dagster as dg

from mta_pipeline.lake.completeness import weeks_complete, weeks_with_older_rules
from mta_pipeline.orchestration.keys import RAW_KEY
from mta_pipeline.orchestration.partitions import notes_on_later_weeks
from mta_pipeline.orchestration.resources.feed import TurnstileFeed
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.run_records import in_progress, range_tags, weeks_of
from mta_pipeline.sources.errors import BadFile, FeedError
from mta_pipeline.sources.turnstile_files import Feed, PublishedFile
from mta_pipeline.weeks import NEW_YORK, contiguous_ranges, file_name

SCHEDULE: Final = "weekly_turnstile"

_FIRST_HOUR, _LAST_HOUR, _EVERY = 6, 21, 3
_SWEPT_ON: Final = "mta_pipeline/swept_on"
"""Run tag: the Saturday on which the schedule requested the run."""


def weekly_turnstile_schedule(
    job: str, weeks: dg.WeeklyPartitionsDefinition, landing_jobs: Collection[str]
) -> dg.ScheduleDefinition:
    """The schedule `weekly_turnstile`.

    Args:
        job: the name of the job that processes weeks from the feed to the lake.
        weeks: the partitions of weekly tables.
        landing_jobs: the names of all jobs that land raw files.
    """

    @dg.schedule(
        name=SCHEDULE,
        job_name=job,
        cron_schedule=f"0 {_FIRST_HOUR}-{_LAST_HOUR}/{_EVERY} * * 6",
        execution_timezone=NEW_YORK,
        description="On Saturdays, every three hours from 06:00 to 21:00 in New York: requests the week that has just "
        "ended and every other published week that is not complete in the lake, or was made with older rules. Each "
        "week is requested once per Saturday. If the file is not published yet, the tick is skipped and a later tick "
        "checks again.",
    )
    def weekly_turnstile(
        context: dg.ScheduleEvaluationContext, feed: TurnstileFeed, raw_layer: Lake
    ) -> list[dg.RunRequest] | dg.SkipReason:
        at = context.scheduled_execution_time.astimezone(ZoneInfo(NEW_YORK))
        calendar = weeks.get_partition_keys(current_time=at)
        newest, source = calendar[-1], feed.open(raw_layer.lake_root, fail_fast=True)
        try:
            available = _available(source, newest)
        except FeedError as error:
            return dg.SkipReason(f"{error} {_next_check(at)}.")
        complete = weeks_complete(raw_layer.lake_root)
        complete -= weeks_with_older_rules(raw_layer.lake_root, complete).keys()
        absent = [week for week in available if week in calendar and week not in complete]
        busy = in_progress(context.instance, RAW_KEY, landing_jobs) | _requested_on(context.instance, at.date())
        if due := [week for week in absent if week not in busy]:
            swept_on = {_SWEPT_ON: at.date().isoformat()}
            return [
                dg.RunRequest(run_key="...".join(ends), tags={**range_tags(ends), **swept_on})
                for ends in contiguous_ranges(due)
            ]
        if newest not in available and newest not in complete:
            missing = f"Week {newest} is not published yet: no {file_name(newest)} at {source.location}"
            return dg.SkipReason(f"{missing}. {_next_check(at)}.")
        if absent:
            return dg.SkipReason(f"Already requested today, or in progress: {', '.join(absent)}.")
        there = sum(week in calendar for week in available)
        done = f"All {there:,} weeks available at {source.location} are in the lake"
        return dg.SkipReason(f"{'; '.join([done, *notes_on_later_weeks(available, calendar)])}.")

    return weekly_turnstile


def _available(feed: Feed, newest: str) -> Mapping[str, PublishedFile]:
    """The available weeks. If the feed has no list, only the newest week is checked."""
    try:
        return feed.available_weeks()
    except BadFile:
        file = feed.look(newest)
        return {} if file is None else {newest: file}


def _requested_on(instance: dg.DagsterInstance, day: dt.date) -> set[str]:
    """The weeks requested on this day. A failed week is not requested again every three hours."""
    runs = instance.get_runs(dg.RunsFilter(tags={_SWEPT_ON: day.isoformat()}))
    return {week for run in runs for week in weeks_of(run)}


def _next_check(at: dt.datetime) -> str:
    return f"Next check at {at.hour + _EVERY}:00" if at.hour < _LAST_HOUR else "Next check next Saturday"
