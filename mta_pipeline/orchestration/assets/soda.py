"""Assets of a declared data set of the portal: raw pages, typed rows with rejects, and the table in the lake.

Hourly ridership uses the first two. Data sets declared in YAML use all three; see `components`.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from mta_pipeline.lake.raw_pages import SodaRaw
from mta_pipeline.orchestration.assets.derived import derived_asset
from mta_pipeline.orchestration.assets.raw import Landing, landed_weeks, to_record
from mta_pipeline.orchestration.assets.staged import Staged, staged_weeks
from mta_pipeline.orchestration.conditions import follows_its_inputs, once_its_inputs_are_done
from mta_pipeline.orchestration.io_managers.weekly import WeeklyFrames
from mta_pipeline.orchestration.keys import WEEKS_POOL, asset_key, raw_key
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.resources.soda import NO_PORTAL, SodaPortal
from mta_pipeline.orchestration.specs import OWNERS, described
from mta_pipeline.sources.errors import BadFile, FeedRefused, NotPublished
from mta_pipeline.sources.socrata.client import SodaApi
from mta_pipeline.sources.socrata.dataset import SodaDataSet
from mta_pipeline.sources.socrata.staging import StagedRows, in_lake, stage
from mta_pipeline.telemetry.tracing import Span, span


def soda_assets(data_set: SodaDataSet, weeks: dg.WeeklyPartitionsDefinition, group: str) -> list[dg.AssetsDefinition]:
    """All assets of a data set: raw, staged and lake."""
    return [
        raw_soda_asset(data_set, weeks, group),
        staged_soda_assets(data_set, weeks, group),
        _lake_asset(data_set, weeks, group),
    ]


def raw_soda_asset(data_set: SodaDataSet, weeks: dg.WeeklyPartitionsDefinition, group: str) -> dg.AssetsDefinition:
    """The asset of the raw pages: of each week, or of the whole data set if it has no weeks."""
    ids = ", ".join(source.id for source in data_set.sources)
    of_asset: dict[str, Any] = {
        "key": raw_key(data_set),
        "group_name": group,
        "kinds": {"file"},
        "owners": OWNERS,
        "description": f"{data_set.description}\n\nThe portal's pages as published ({ids}), compressed losslessly "
        "(zstd), with a manifest: the number of rows that the portal announced, the time of their last change, and the "
        "sha256 of every page. Pages that have not changed at the portal are not fetched again.",
    }

    def landing(raw: SodaRaw, api: SodaApi, week: str | None) -> Landing:
        manifest, is_new = raw.land(api, week)
        return Landing(manifest, raw.path(week), is_new)

    if not data_set.is_weekly:

        @dg.asset(**of_asset, output_required=False)
        def whole(
            context: dg.AssetExecutionContext, soda: dg.ResourceParam[SodaPortal], raw_layer: Lake
        ) -> Iterator[dg.MaterializeResult[None]]:
            if not soda.is_set:
                context.log.warning(NO_PORTAL)
                return
            try:
                yield dg.MaterializeResult(metadata=landing(raw_layer.pages(data_set), soda.open(), None).facts)
            except (FeedRefused, BadFile, NotPublished) as error:
                raise dg.Failure(str(error), allow_retries=False) from error

        return whole

    @dg.asset(**of_asset, **_partitioned(data_set, weeks))
    def pages(context: dg.AssetExecutionContext, soda: dg.ResourceParam[SodaPortal], raw_layer: Lake) -> WeeklyFrames:
        key = raw_key(data_set)
        if not soda.is_set:
            # Not an optional output, because without one Dagster skips the marts, which need no hourly ridership.
            context.log.warning(NO_PORTAL)
            return WeeklyFrames([])
        landed = landed_weeks(context, key, partial(landing, raw_layer.pages(data_set), soda.open()))
        return to_record(context, key, landed)

    return pages


def staged_soda_assets(data_set: SodaDataSet, weeks: dg.WeeklyPartitionsDefinition, group: str) -> dg.AssetsDefinition:
    """The assets of the typed rows and of the rejects, from one pass over the pages."""
    tables = (data_set.staged, data_set.rejects)

    @dg.multi_asset(
        name=f"staged_{data_set.table}",
        outs={
            table.name: dg.AssetOut(**described(table, group), automation_condition=_follows(data_set))
            for table in tables
        },
        **_partitioned(data_set, weeks),
        deps=[raw_key(data_set)],
    )
    def staged(context: dg.AssetExecutionContext, raw_layer: Lake) -> Iterator[dg.Output[Any]]:
        raw = raw_layer.pages(data_set)
        if not data_set.is_weekly:
            whole = _staged_whole(raw)
            yield dg.Output(whole.rows, data_set.staged.name)
            yield dg.Output(whole.rejects, data_set.rejects.name, metadata={"by_reason": whole.rejects_by_reason})
            return

        def stage_week(week: str, _: Span) -> Staged | None:
            manifest = raw.manifest(week)
            if manifest is None:
                return None
            with span("unpack"):
                text_rows = raw.rows(manifest, week)
            with span("parse"):
                staged_week = stage(text_rows, data_set, week)
            facts = {"rejects": staged_week.rejects_by_reason}
            return Staged(manifest.sha256, staged_week.rows, staged_week.rejects, staged_week.rejects_by_reason, facts)

        yield from staged_weeks(context, raw_layer, raw, tables, stage_week, key=raw_key(data_set))

    return staged


def _lake_asset(data_set: SodaDataSet, weeks: dg.WeeklyPartitionsDefinition, group: str) -> dg.AssetsDefinition:
    if data_set.is_weekly:
        return derived_asset(
            data_set.staged, data_set.lake, lambda staged: in_lake(staged, data_set), weeks, group=group
        )

    @dg.asset(
        **described(data_set.lake, group),
        automation_condition=once_its_inputs_are_done(),
        ins={"staged": dg.AssetIn(asset_key(data_set.staged))},
    )
    def whole(staged: pl.DataFrame) -> pl.DataFrame:
        return in_lake(staged, data_set)

    return whole


def _partitioned(data_set: SodaDataSet, weeks: dg.WeeklyPartitionsDefinition) -> dict[str, Any]:
    if not data_set.is_weekly:
        return {}
    return {"partitions_def": weeks, "backfill_policy": dg.BackfillPolicy.single_run(), "pool": WEEKS_POOL}


def _follows(data_set: SodaDataSet) -> dg.AutomationCondition[Any]:
    return follows_its_inputs() if data_set.is_weekly else once_its_inputs_are_done()


def _staged_whole(raw: SodaRaw) -> StagedRows:
    name = raw_key(raw.data_set).to_user_string()
    manifest = raw.manifest(None)
    if manifest is None:
        raise dg.Failure(f"{name} has not landed. Materialize it first.", allow_retries=False)
    return stage(raw.rows(manifest, None), raw.data_set, None)
