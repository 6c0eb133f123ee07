"""Assets of the lake layer: traffic per turnstile, ridership per station complex, and the reference tables."""

from collections.abc import Iterator
from functools import partial
from typing import Final

import dagster as dg
import polars as pl

from mta_pipeline.lake.completeness import is_first_week
from mta_pipeline.lake.origin import Origin, traffic_origin
from mta_pipeline.orchestration.assets.derived import derived_asset
from mta_pipeline.orchestration.conditions import follows_its_inputs, when_missing
from mta_pipeline.orchestration.io_managers.weekly import WeeklyFrames, WeeklyInputs, WeekOutput
from mta_pipeline.orchestration.keys import WEEKS_POOL, asset_key
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.specs import ONE_MORE_TRY, described
from mta_pipeline.orchestration.week_outcomes import (
    UP_TO_DATE,
    MissingInputError,
    is_up_to_date,
    left_out,
    process_weeks,
)
from mta_pipeline.telemetry.tracing import span
from mta_pipeline.turnstile import complexes, ridership
from mta_pipeline.turnstile.contract import (
    COMPLEX_DAILY,
    COMPLEX_HOURLY,
    CONTROL_AREAS,
    STATION_COMPLEXES,
    TURNSTILE_READINGS,
    TURNSTILE_REJECTS,
    TURNSTILE_TRAFFIC,
)
from mta_pipeline.turnstile.traffic import COLUMNS as READINGS_COLUMNS
from mta_pipeline.turnstile.traffic import traffic
from mta_pipeline.weeks import week_before

_CARRY_IN: Final = "carry_in"

WITH_THE_WEEK_BEFORE = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=0)
"""A week's traffic needs the readings of the week before for its carry-in (rule 3). The first week has none."""


def reference_assets() -> list[dg.AssetsDefinition]:
    """The reference tables control_areas and station_complexes, which have no weeks."""

    @dg.asset(**described(CONTROL_AREAS), automation_condition=when_missing())
    def control_areas() -> pl.DataFrame:
        return complexes.control_areas()

    @dg.asset(**described(STATION_COMPLEXES), automation_condition=when_missing())
    def station_complexes() -> pl.DataFrame:
        return complexes.station_complexes()

    return [control_areas, station_complexes]


def traffic_asset(weeks: dg.WeeklyPartitionsDefinition) -> dg.AssetsDefinition:
    """turnstile_traffic, with the carry-in from the week before (rule 3)."""

    @dg.asset(
        **described(TURNSTILE_TRAFFIC),
        partitions_def=weeks,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=WEEKS_POOL,
        retry_policy=ONE_MORE_TRY,
        automation_condition=follows_its_inputs(can_do_without=dg.AssetSelection.assets(asset_key(TURNSTILE_READINGS))),
        # Rejects are not read. They are written with the readings of the same week, so this dependency requires that
        # week, while the readings of the week before may be missing.
        deps=[asset_key(TURNSTILE_REJECTS)],
        ins={
            "readings": dg.AssetIn(key=asset_key(TURNSTILE_READINGS), partition_mapping=WITH_THE_WEEK_BEFORE),
            "control_areas": dg.AssetIn(key=asset_key(CONTROL_AREAS)),
        },
    )
    def turnstile_traffic(
        context: dg.AssetExecutionContext, raw_layer: Lake, readings: WeeklyInputs, control_areas: pl.DataFrame
    ) -> WeeklyFrames:
        needed = readings.only(READINGS_COLUMNS)

        def compute(week: str) -> WeekOutput:
            with span("week", table=TURNSTILE_TRAFFIC.name, week=week) as traced:
                origin = _origin(readings, week)
                if is_up_to_date(context, raw_layer, week, origin, TURNSTILE_TRAFFIC):
                    return WeekOutput(week, None, {"outcome": UP_TO_DATE})
                carried = needed.get(week_before(week))
                try:
                    current = needed[week]
                except MissingInputError as missing:
                    return WeekOutput(week, None, left_out(context, asset_key(TURNSTILE_READINGS), missing))
                with span("diff"):
                    table = traffic(current, carried, control_areas)
                facts = {**_statistics(table), _CARRY_IN: "missing" if carried is None else "present"}
                return WeekOutput(week, table, facts, origin, partial(_origin, readings, week), traced)

        def week_by_week() -> Iterator[WeekOutput]:
            for output in process_weeks(context, compute):
                week = output.week
                if output.metadata.get(_CARRY_IN) == "missing" and not is_first_week(raw_layer.lake_root, week):
                    context.log.warning(
                        f"week {week}: there are no readings of the week before ({week_before(week)}), so the first "
                        "interval of each turnstile has status first. Materialize that week, then this one again."
                    )
                yield output

        return WeeklyFrames(week_by_week())

    return turnstile_traffic


def complex_assets(weeks: dg.WeeklyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """complex_daily and complex_hourly, which sum the traffic per station complex."""
    return [
        derived_asset(
            TURNSTILE_TRAFFIC,
            table,
            summed,
            weeks,
            columns=ridership.COLUMNS,
            totals=("entries", "exits"),
            riders_by=time,
        )
        for table, summed, time in (
            (COMPLEX_DAILY, ridership.complex_daily, "service_date"),
            (COMPLEX_HOURLY, ridership.complex_hourly, "hour"),
        )
    ]


def _origin(readings: WeeklyInputs, week: str) -> Origin | None:
    current = readings.origin(week)
    return current and traffic_origin(readings.origin(week_before(week)), current)


def _statistics(table: pl.DataFrame) -> dict[str, object]:
    """Sums of subway entries and exits, and the number of intervals per status, of a week's traffic."""
    return {
        **table.select(pl.col("entries", "exits").filter(ridership.is_subway()).sum()).row(0, named=True),
        **{
            f"{register}_status": dict(table[f"{register}_status"].value_counts(sort=True).rows())
            for register in ("entries", "exits")
        },
    }
