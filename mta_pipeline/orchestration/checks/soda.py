"""What must hold of the tables of declared data sets, and of the hourly feed. Weekly tables have a result per week."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from mta_pipeline.hourly_ridership.contract import COMPLEX_HOURLY_PUBLISHED, HOURLY_RIDERSHIP
from mta_pipeline.hourly_ridership.published import hours_missing, is_subway, unknown_complexes
from mta_pipeline.orchestration.checks.factory import Finding, Judge, check_spec, weekly_check
from mta_pipeline.orchestration.checks.rejects import reject_share
from mta_pipeline.orchestration.io_managers.weekly import WeeklyInputs
from mta_pipeline.orchestration.keys import REJECT_SHARE_AT_MOST, RIDERS_FOUND, asset_key
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.sources.socrata.dataset import SodaDataSet
from mta_pipeline.sources.socrata.staging import unknown_values
from mta_pipeline.turnstile.contract import STATION_COMPLEXES


def soda_checks(data_set: SodaDataSet, weeks: dg.WeeklyPartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """Every row is accounted for, few rows are rejected (both blocking), and the other checks of the declaration."""
    calendar = weeks if data_set.is_weekly else None
    accounted = check_spec(
        calendar,
        data_set.staged,
        "every_row_accounted_for",
        "Typed rows plus rejects equal the number of rows that the portal announced.",
        against=(data_set.rejects,),
        blocking=True,
    )
    limits = data_set.checks
    least, most = limits.rows_at_least, limits.rejects_at_most
    few_enough = check_spec(
        calendar,
        data_set.staged,
        REJECT_SHARE_AT_MOST,
        f"At most {limits.reject_share_at_most:g} of all rows are rejected, for any reason. A single reject passes.",
        against=(data_set.rejects,),
        # A rejected row is missing in every sum, and nothing in the lake shows it.
        blocking=True,
    )
    enough = check_spec(calendar, data_set.staged, "enough_rows", f"There are at least {least} rows.")
    few = check_spec(
        calendar, data_set.staged, "few_rejects", f"At most {most} rows are rejected.", against=(data_set.rejects,)
    )
    specs = [accounted, few_enough, *([enough] if least is not None else []), *([few] if most is not None else [])]

    def findings(lake: Lake, week: str | None, rows: int, rejects: pl.DataFrame) -> Iterator[Finding]:
        manifest = lake.pages(data_set).manifest(week)
        published = manifest.rows if manifest else 0
        by_reason = dict(rejects["reason"].value_counts(sort=True).rows())
        unknown = unknown_values(rejects, data_set)
        share = reject_share(by_reason, rows, unknown_values=unknown)
        shown = f"{published:,} rows published, {rows:,} typed and {rejects.height:,} rejected"
        counts = {"published": published, "typed": rows, "rejected": rejects.height}
        facts = {"rejects": by_reason, **counts}
        yield Finding(accounted, week, published == rows + rejects.height, shown, facts)
        yield Finding(
            few_enough,
            week,
            share.is_at_most(limits.reject_share_at_most),
            share.shown("rows"),
            {"rejects": by_reason, "unknown_values": unknown.to_dicts(), **share.figures},
        )
        if least is not None:
            yield Finding(enough, week, rows >= least, f"{rows:,} rows", {"rows": rows})
        if most is not None:
            yield Finding(few, week, rejects.height <= most, share.shown("rows"), facts)

    name, tables = f"check_{data_set.table}", {"staged": data_set.staged, "rejects": data_set.rejects}
    if data_set.is_weekly:

        @weekly_check(name, specs, **tables)
        def checks(raw_layer: Lake, staged: WeeklyInputs, rejects: WeeklyInputs) -> Judge:
            return lambda week: findings(raw_layer, week, staged.height(week), rejects[week])

        return [checks]

    ins = {parameter: dg.AssetIn(asset_key(table)) for parameter, table in tables.items()}

    @dg.multi_asset_check(name=name, specs=specs, ins=ins)
    def check_whole(raw_layer: Lake, staged: pl.DataFrame, rejects: pl.DataFrame) -> Iterator[dg.AssetCheckResult]:
        for finding in findings(raw_layer, None, staged.height, rejects):
            yield finding.of_whole_table()

    return [check_whole]


def hourly_checks(weeks: dg.WeeklyPartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """The checks of the hourly feed: those of any data set, and four more."""
    kept = check_spec(
        weeks,
        COMPLEX_HOURLY_PUBLISHED,
        "published_riders_kept",
        "Riders and transfers add up to those of the week's staged subway rows.",
        against=(HOURLY_RIDERSHIP.staged,),
        blocking=True,
    )
    found = check_spec(
        weeks,
        COMPLEX_HOURLY_PUBLISHED,
        RIDERS_FOUND,
        "The subway has riders, and at least half of them are at complexes in station_complexes.",
        against=(STATION_COMPLEXES,),
        blocking=True,
    )
    whole = check_spec(
        weeks,
        COMPLEX_HOURLY_PUBLISHED,
        "every_hour_published",
        "Every hour of the week has riders, so the MTA has published the week completely.",
    )
    known = check_spec(
        weeks,
        COMPLEX_HOURLY_PUBLISHED,
        "complexes_known",
        "Every complex is in station_complexes.",
        against=(STATION_COMPLEXES,),
    )

    @weekly_check(
        f"check_{COMPLEX_HOURLY_PUBLISHED.name}",
        [kept, found, whole, known],
        published=COMPLEX_HOURLY_PUBLISHED,
        staged=HOURLY_RIDERSHIP.staged,
        station_complexes=STATION_COMPLEXES,
    )
    def checks(published: WeeklyInputs, staged: WeeklyInputs, station_complexes: pl.DataFrame) -> Judge:
        def judge(week: str) -> Iterator[Finding]:
            table = published[week]
            sums = pl.col("ridership", "transfers").sum()
            here = table.select(sums).row(0)
            expected = staged.scan(week).filter(is_subway()).select(sums).collect().row(0)
            yield Finding(
                kept, week, here == expected, f"{here[0]:,} riders, {expected[0]:,} staged", {"riders": here[0]}
            )
            unknown = unknown_complexes(table, station_complexes)
            riders, lost = here[0], unknown["ridership"].sum()
            shown = f"{riders:,} riders in the subway, {lost:,} of them at unknown complexes"
            counts = {"riders": riders, "riders_at_unknown_complexes": lost}
            yield Finding(found, week, riders > 0 and lost <= riders / 2, shown, counts)
            absent = hours_missing(table, week)
            shown = f"{len(absent)} hours are missing, the first is {absent[0]}" if absent else "no hour is missing"
            yield Finding(whole, week, not absent, shown, {"hours_missing": len(absent)})
            shown = "all complexes are known" if unknown.is_empty() else f"{unknown.height} unknown complexes"
            facts = {"unknown": unknown.to_dicts(), "unknown_complexes": unknown.height}
            yield Finding(known, week, unknown.is_empty(), shown, facts)

        return judge

    return [*soda_checks(HOURLY_RIDERSHIP, weeks), checks]
