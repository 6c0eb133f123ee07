"""What runs by the clock: the weekly search for the week that has just ended, and for any other not in the lake."""

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Final
from zoneinfo import ZoneInfo

import dagster as dg

from mta_pipeline.lake.completeness import weeks_complete
from mta_pipeline.orchestration.keys import RAW_KEY
from mta_pipeline.orchestration.resources.feed import TurnstileFeed
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.run_records import in_progress, range_tags, weeks_of
from mta_pipeline.sources.errors import BadFile, FeedError
from mta_pipeline.sources.turnstile_files import Feed, PublishedFile
from mta_pipeline.weeks import NEW_YORK, contiguous_ranges, file_name

SCHEDULE: Final = "weekly_turnstile"

_FIRST_HOUR, _LAST_HOUR, _EVERY = 6, 21, 3
_SWEPT_ON: Final = "mta_pipeline/swept_on"
"""The tag of a run that tells the Saturday it was asked for on."""


def weekly_turnstile_schedule(
    job: str, weeks: dg.WeeklyPartitionsDefinition, landing_jobs: Collection[str]
) -> dg.ScheduleDefinition:
    """The schedule `weekly_turnstile`.

    Args:
        job: the one that takes weeks from the feed to the lake, by name.
        weeks: the calendar.
        landing_jobs: the names of all jobs that land raw files.
    """

    @dg.schedule(
        name=SCHEDULE,
        job_name=job,
        cron_schedule=f"0 {_FIRST_HOUR}-{_LAST_HOUR}/{_EVERY} * * 6",
        execution_timezone=NEW_YORK,
        description="On Saturdays, every three hours from 6 to 21 in New York: asks for the week that has just ended, "
        "and for any other published week that is not complete in the lake, each once a Saturday. A file that is not "
        "there yet is a skipped tick, and is looked for again later that day.",
    )
    def weekly_turnstile(
        context: dg.ScheduleEvaluationContext, feed: TurnstileFeed, raw_layer: Lake
    ) -> list[dg.RunRequest] | dg.SkipReason:
        at = context.scheduled_execution_time.astimezone(ZoneInfo(NEW_YORK))
        calendar = weeks.get_partition_keys(current_time=at)
        newest, source = calendar[-1], feed.open(fail_fast=True)
        try:
            offered = _available(source, newest)
        except FeedError as error:
            return dg.SkipReason(f"{error} {_asked_again(at)}.")
        absent = [week for week in offered if week in calendar and week not in weeks_complete(raw_layer.lake_root)]
        busy = in_progress(context.instance, RAW_KEY, landing_jobs) | _swept(context.instance, at.date())
        if due := [week for week in absent if week not in busy]:
            swept_on = {_SWEPT_ON: at.date().isoformat()}
            return [
                dg.RunRequest(run_key="...".join(stretch), tags={**range_tags(stretch), **swept_on})
                for stretch in contiguous_ranges(due)
            ]
        if newest not in offered:
            missing = f"Week {newest} is not published yet: no {file_name(newest)} at {source.location}"
            return dg.SkipReason(f"{missing}. {_asked_again(at)}.")
        if absent:
            return dg.SkipReason(f"Asked for already today, or on their way: {', '.join(absent)}.")
        return dg.SkipReason(f"All {len(offered):,} weeks on offer at {source.location} are in the lake.")

    return weekly_turnstile


def _available(feed: Feed, newest: str) -> Mapping[str, PublishedFile]:
    """The weeks on offer; of a feed without a list, whether the newest one is."""
    try:
        return feed.available_weeks()
    except BadFile:
        file = feed.look(newest)
        return {} if file is None else {newest: file}


def _swept(instance: dg.DagsterInstance, day: dt.date) -> set[str]:
    """The weeks that were asked for on this day: what failed once is not asked for again every three hours."""
    runs = instance.get_runs(dg.RunsFilter(tags={_SWEPT_ON: day.isoformat()}))
    return {week for run in runs for week in weeks_of(run)}


def _asked_again(at: dt.datetime) -> str:
    return (
        f"It is looked for again at {at.hour + _EVERY}:00" if at.hour < _LAST_HOUR else "Next Saturday it is asked for"
    )
