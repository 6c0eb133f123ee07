"""The external asset of the feed, and the raw asset, which lands the published files unchanged."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import dagster as dg
from upath import UPath

from mta_pipeline.lake.raw import Manifest
from mta_pipeline.orchestration.io_managers.weekly import WeeklyFrames, WeekOutput
from mta_pipeline.orchestration.keys import FEED_KEY, RAW_KEY, WEEKS_POOL
from mta_pipeline.orchestration.resources.feed import TurnstileFeed
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.run_records import require_weeks
from mta_pipeline.orchestration.specs import ONE_MORE_TRY, OWNERS
from mta_pipeline.orchestration.week_outcomes import FailedWeeks, skips_complete_weeks
from mta_pipeline.sources.errors import FeedError, NotPublished
from mta_pipeline.sources.turnstile_files import unused_files
from mta_pipeline.telemetry.progress import Progress
from mta_pipeline.telemetry.tracing import span


def feed_asset(weeks: dg.WeeklyPartitionsDefinition) -> dg.AssetSpec:
    """The external asset of the published weeks. The sensor records an observation for each new or changed week."""
    return dg.AssetSpec(
        FEED_KEY,
        partitions_def=weeks,
        group_name="feed",
        kinds={"file"},
        owners=OWNERS,
        description="The weekly turnstile files at the feed. Each observation records that a week was found for the "
        "first time, or with other contents, with the URL, ETag and modification time that the feed gives.",
    )


def raw_asset(weeks: dg.WeeklyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset of the published bytes of each week."""

    @dg.asset(
        key=RAW_KEY,
        partitions_def=weeks,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=WEEKS_POOL,
        retry_policy=ONE_MORE_TRY,
        deps=[FEED_KEY],
        group_name="raw",
        kinds={"file"},
        owners=OWNERS,
        output_required=False,
        description="The published bytes of each week, compressed losslessly (zstd), with a manifest: source, sha256 "
        "and size of the unpacked bytes, time of the fetch, etag and last_modified. A week that the feed does not have "
        "is skipped, and the log says so. Earlier versions are kept. A version that cannot be used, or has far "
        "fewer readings than the current one, stays pending.",
    )
    def turnstile_file(
        context: dg.AssetExecutionContext, feed: TurnstileFeed, raw_layer: Lake
    ) -> Iterator[dg.Output[WeeklyFrames]]:
        source = feed.open(raw_layer.lake_root, log=context.log.info)
        files, skips_complete = raw_layer.files(), skips_complete_weeks(context)
        for note in unused_files(feed.open(raw_layer.lake_root, fail_fast=True)):
            context.log.info(note)

        def land(week: str) -> Landing:
            manifest = files.manifest_if_unchanged(source, week) if skips_complete else None
            manifest, is_new = (manifest, False) if manifest else files.land(source, week)
            if problem := files.pending_problem(week):
                context.log.warning(problem)
            return Landing(manifest, files.path(week), is_new)

        if landed := landed_weeks(context, RAW_KEY, land):
            yield dg.Output(to_record(context, RAW_KEY, landed))

    return turnstile_file


class Landing(NamedTuple):
    """A landed week: its manifest, its folder, and whether its contents are new."""

    manifest: Manifest
    folder: UPath
    is_new: bool

    @property
    def facts(self) -> dict[str, Any]:
        """The metadata of the materialization."""
        outcome = "landed" if self.is_new else "unchanged"
        facts = {"outcome": outcome, "path": dg.MetadataValue.path(str(self.folder))}
        return {**facts, **self.manifest.model_dump(mode="json", exclude={"pending", "previous"}, exclude_none=True)}


def landed_weeks(
    context: dg.AssetExecutionContext, key: dg.AssetKey, land: Callable[[str], Landing]
) -> dict[str, Landing]:
    """Land the weeks of a run one by one, and return those that have landed.

    Weeks that were not published are skipped. If a week cannot be landed, the step fails after all other weeks have
    landed.
    """
    require_weeks(context.assets_def.get_asset_spec(key).partitions_def, context.run)
    progress = Progress(key.path[-1], len(context.partition_keys), context.log.info)
    landed: dict[str, Landing] = {}
    failed = FailedWeeks()
    try:
        for week in context.partition_keys:
            with span("week", table=key.path[-1], week=week) as traced:
                try:
                    landing = land(week)
                except NotPublished as absent:
                    progress.week(week, f"skipped: {absent}")
                except Exception as error:  # raised again unless it is of this week alone
                    failed.add(context, week, error)
                    traced.fail(type(error).__qualname__, str(error))
                else:
                    landed[week] = landing
                    progress.week(week, f"{landing.manifest.size:,} bytes, {landing.facts['outcome']}")
        failed.raise_if_any()
    except BaseException as error:
        # Dagster records the weeks of a step only if it succeeds. Record those that have landed.
        for week, landing in landed.items():
            context.log_event(dg.AssetMaterialization(key, partition=week, metadata=landing.facts))
        if isinstance(error, FeedError):  # the client has tried several times
            raise dg.Failure(str(error), allow_retries=False) from error
        raise
    return landed


def to_record(context: dg.AssetExecutionContext, key: dg.AssetKey, landed: Mapping[str, Landing]) -> WeeklyFrames:
    """The output for landed weeks. A run that skips complete weeks does not record unchanged ones again."""
    known = context.instance.get_materialized_partitions(key) if skips_complete_weeks(context) else ()
    return WeeklyFrames(
        WeekOutput(week, None, landing.facts, is_stored=True)
        for week, landing in landed.items()
        if landing.is_new or week not in known
    )
