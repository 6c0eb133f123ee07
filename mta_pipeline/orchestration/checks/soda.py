"""What must hold of a declared data set's tables, and of the hourly feed's: results per week, if they come by weeks."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from mta_pipeline.hourly_ridership.contract import COMPLEX_HOURLY_PUBLISHED, HOURLY_RIDERSHIP
from mta_pipeline.hourly_ridership.published import hours_missing, is_subway, unknown_complexes
from mta_pipeline.orchestration.checks.weekly import Finding, check_spec, results
from mta_pipeline.orchestration.io_managers.weekly import WeeklyInputs
from mta_pipeline.orchestration.keys import asset_key
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.sources.socrata.dataset import SodaDataSet
from mta_pipeline.turnstile.contract import STATION_COMPLEXES


def soda_checks(data_set: SodaDataSet, weeks: dg.WeeklyPartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """Every row accounted for (blocking), and what the declaration says."""
    of_weeks = weeks if data_set.is_weekly else None
    accounted = check_spec(
        of_weeks,
        data_set.staged,
        "every_row_accounted_for",
        "Rows that the portal said there are equal typed rows plus rejects.",
        against=[dg.AssetDep(asset_key(data_set.rejects))],
        blocking=True,
    )
    least, most = data_set.checks.rows_at_least, data_set.checks.rejects_at_most
    enough = check_spec(of_weeks, data_set.staged, "enough_rows", f"There are at least {least} rows.")
    sound = check_spec(
        of_weeks,
        data_set.staged,
        "few_rejects",
        f"At most {most} rows are rejected.",
        against=[dg.AssetDep(asset_key(data_set.rejects))],
    )
    specs = [accounted, *([enough] if least is not None else []), *([sound] if most is not None else [])]

    def findings(lake: Lake, week: str | None, rows: int, rejects: pl.DataFrame) -> Iterator[Finding]:
        manifest = lake.pages(data_set).manifest(week)
        published = manifest.rows if manifest else 0
        by_reason = dict(rejects["reason"].value_counts(sort=True).rows())
        words = f"{published:,} rows came, {rows:,} are typed and {rejects.height:,} rejected"
        yield Finding(accounted, week, published == rows + rejects.height, words, {"rejects": by_reason})
        if least is not None:
            yield Finding(enough, week, rows >= least, f"{rows:,} rows")
        if most is not None:
            yield Finding(sound, week, rejects.height <= most, f"{rejects.height:,} rejected", {"rejects": by_reason})

    ins = {"staged": dg.AssetIn(asset_key(data_set.staged)), "rejects": dg.AssetIn(asset_key(data_set.rejects))}
    if not data_set.is_weekly:

        @dg.multi_asset_check(name=f"check_{data_set.table}", specs=specs, ins=ins)
        def check_whole(raw_layer: Lake, staged: pl.DataFrame, rejects: pl.DataFrame) -> Iterator[dg.AssetCheckResult]:
            for finding in findings(raw_layer, None, staged.height, rejects):
                yield finding.of_whole_table()

        return [check_whole]

    @dg.multi_asset_check(name=f"check_{data_set.table}", specs=specs, ins=ins)
    def check_weeks(
        context: dg.AssetCheckExecutionContext, raw_layer: Lake, staged: WeeklyInputs, rejects: WeeklyInputs
    ) -> Iterator[Any]:
        of_weeks = (
            finding
            for week in staged.weeks_there()
            for finding in findings(raw_layer, week, _height(staged, week), rejects[week])
        )
        yield from results(context, staged.weeks, specs, of_weeks)

    return [check_weeks]


def hourly_checks(weeks: dg.WeeklyPartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """The checks of the hourly feed: those of any data set, and its own."""
    kept = check_spec(
        weeks,
        COMPLEX_HOURLY_PUBLISHED,
        "published_riders_kept",
        "Riders and transfers add up to those of the week's staged subway rows.",
        against=[dg.AssetDep(asset_key(HOURLY_RIDERSHIP.staged))],
        blocking=True,
    )
    whole = check_spec(
        weeks,
        COMPLEX_HOURLY_PUBLISHED,
        "every_hour_published",
        "Somebody paid in every hour of the week: the MTA has published it wholly.",
    )
    known = check_spec(
        weeks,
        COMPLEX_HOURLY_PUBLISHED,
        "complexes_known",
        "Every complex is in station_complexes.",
        against=[dg.AssetDep(asset_key(STATION_COMPLEXES))],
    )

    @dg.multi_asset_check(
        name=f"check_{COMPLEX_HOURLY_PUBLISHED.name}",
        specs=[kept, whole, known],
        ins={
            "published": dg.AssetIn(asset_key(COMPLEX_HOURLY_PUBLISHED)),
            "staged": dg.AssetIn(asset_key(HOURLY_RIDERSHIP.staged)),
            STATION_COMPLEXES.name: dg.AssetIn(asset_key(STATION_COMPLEXES)),
        },
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        published: WeeklyInputs,
        staged: WeeklyInputs,
        station_complexes: pl.DataFrame,
    ) -> Iterator[Any]:
        def findings() -> Iterator[Finding]:
            for week in published.weeks_there():
                table = published[week]
                sums = pl.col("ridership", "transfers").sum()
                here = table.select(sums).row(0)
                came = staged.scan(week).filter(is_subway()).select(sums).collect().row(0)
                yield Finding(kept, week, here == came, f"{here[0]:,} riders, {came[0]:,} staged")
                absent = hours_missing(table, week)
                words = f"{len(absent)} hours are not there, the first {absent[0]}" if absent else "every hour is there"
                yield Finding(whole, week, not absent, words)
                unknown = unknown_complexes(table, station_complexes)
                words = "all known" if unknown.is_empty() else f"{unknown.height} unknown"
                yield Finding(known, week, unknown.is_empty(), words, {"unknown": unknown.to_dicts()})

        yield from results(context, published.weeks, [kept, whole, known], findings())

    return [*soda_checks(HOURLY_RIDERSHIP, weeks), check]


def _height(table: WeeklyInputs, week: str) -> int:
    return int(table.scan(week).select(pl.len()).collect().item())
