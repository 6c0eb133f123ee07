"""The feed as Dagster sees it, and the raw layer: published files, landed as they are."""

from collections.abc import Iterator
from typing import Any, Final

import dagster as dg

from mta_pipeline.assets.catalogue import OWNERS
from mta_pipeline.assets.weeks import WEEKS_POOL, FailedWeeks
from mta_pipeline.automation.conditions import follows_its_inputs
from mta_pipeline.feed import BadFile, FeedRefused, NotPublished
from mta_pipeline.observability.progress import Progress
from mta_pipeline.raw_files import RAW_TABLE, Manifest
from mta_pipeline.resources.feed import TurnstileFeed
from mta_pipeline.resources.raw import RawLayer

FEED_KEY: Final = dg.AssetKey(["feed", "turnstile_file"])
RAW_KEY: Final = dg.AssetKey(RAW_TABLE)
NOT_LANDED: Final = "not landed"
"""The version of a week that the feed offers and the lake has never had."""


def feed_asset(weeks: dg.WeeklyPartitionsDefinition) -> dg.SourceAsset:
    """The published weeks, each with the sha256 of its contents as its version."""

    @dg.observable_source_asset(
        key=FEED_KEY,
        partitions_def=weeks,
        group_name="feed",
        description="The weekly turnstile files as the feed offers them. A week's version is the sha256 of its "
        "published bytes: other contents make the week due again, the same contents do not.",
    )
    def turnstile_file(
        context: dg.OpExecutionContext, feed: TurnstileFeed, raw_layer: RawLayer
    ) -> dg.DataVersionsByPartition:
        source, files = feed.open(), raw_layer.files()
        calendar = set(weeks.get_partition_keys())
        on_offer = [week for week in source.weeks_on_offer() if week in calendar]
        context.log.info(f"{len(on_offer):,} weeks on offer at {source.location}")
        return dg.DataVersionsByPartition(
            {week: files.version_on_offer(source, week) or NOT_LANDED for week in on_offer}
        )

    return turnstile_file


def raw_asset(weeks: dg.WeeklyPartitionsDefinition) -> dg.AssetsDefinition:
    """The published bytes of each week."""

    @dg.asset(
        key=RAW_KEY,
        partitions_def=weeks,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=WEEKS_POOL,
        deps=[FEED_KEY],
        group_name="raw",
        kinds={"file"},
        owners=OWNERS,
        output_required=False,
        automation_condition=follows_its_inputs(),
        description="The bytes as published, compressed losslessly (zstd), and beside them a manifest: source, sha256 "
        "and size of the published bytes, when they were fetched, etag, last_modified. A week that the feed does not "
        "offer is skipped, with a word.",
    )
    def turnstile_file(
        context: dg.AssetExecutionContext, feed: TurnstileFeed, raw_layer: RawLayer
    ) -> Iterator[dg.Output[None]]:
        source, files = feed.open(), raw_layer.files()
        progress = Progress(RAW_KEY.path[-1], len(context.partition_keys), context.log.info)
        landed: dict[str, dict[str, Any]] = {}
        failed = FailedWeeks()
        try:
            for week in context.partition_keys:
                try:
                    manifest, is_new = files.land(source, week)
                except NotPublished as absent:
                    context.add_asset_metadata({"outcome": f"skipped: {absent}"}, RAW_KEY, week)
                    progress.week(week, f"skipped: {absent}")
                except BadFile as error:
                    failed.add(context, week, error)
                else:
                    if is_new:
                        context.log_event(_seen(week, manifest))
                    outcome = "landed" if is_new else "unchanged"
                    facts: dict[str, Any] = {"outcome": outcome, "path": dg.MetadataValue.path(str(files.path(week)))}
                    landed[week] = {**facts, **manifest.model_dump(mode="json", exclude_none=True)}
                    progress.week(week, f"{manifest.size:,} bytes, {outcome}")
            failed.raise_if_any()
        except BaseException as error:
            # Dagster records the weeks of a step when it ends well; those that have landed must not get lost.
            for week, facts in landed.items():
                context.log_event(dg.AssetMaterialization(RAW_KEY, partition=week, metadata=facts))
            if isinstance(error, FeedRefused):
                raise dg.Failure(str(error), allow_retries=False) from error
            raise
        for week, facts in landed.items():
            context.add_asset_metadata(facts, RAW_KEY, week)
        if landed:
            yield dg.Output(None)

    return turnstile_file


def _seen(week: str, manifest: Manifest) -> dg.AssetObservation:
    """The week's version, noted before the landing, so that looking at the feed later finds nothing new in it."""
    return dg.AssetObservation(FEED_KEY, partition=week, tags={"dagster/data_version": manifest.sha256})
