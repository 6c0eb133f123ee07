"""Factory of weekly assets that are computed from the same week of one other table."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from mta_pipeline.orchestration.conditions import follows_its_inputs
from mta_pipeline.orchestration.io_managers.weekly import WeeklyFrames, WeeklyInputs, WeekOutput
from mta_pipeline.orchestration.keys import WEEKS_POOL, asset_key
from mta_pipeline.orchestration.previews import riders_chart
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.specs import ONE_MORE_TRY, described
from mta_pipeline.orchestration.week_outcomes import (
    UP_TO_DATE,
    MissingInputError,
    is_up_to_date,
    left_out,
    process_weeks,
)
from mta_pipeline.schema import Table
from mta_pipeline.telemetry.tracing import span


def derived_asset(
    source: Table,
    table: Table,
    make: Callable[[pl.DataFrame], pl.DataFrame],
    weeks: dg.WeeklyPartitionsDefinition,
    *,
    columns: Sequence[str] | None = None,
    group: str | None = None,
    totals: Sequence[str] = (),
    riders_by: str | None = None,
) -> dg.AssetsDefinition:
    """Return the asset of `table`, which applies `make` to each week of `source`.

    Args:
        source: the upstream table.
        table: the table to compute.
        make: computes a week of `table` from the same week of `source`.
        weeks: the partitions of weekly tables.
        columns: the columns of `source` that `make` needs; None for all.
        group: the asset group; by default the layer of `table`.
        totals: columns whose sums become metadata.
        riders_by: the time column of the chart of riders; None for no chart.
    """

    @dg.asset(
        **described(table, group),
        partitions_def=weeks,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=WEEKS_POOL,
        retry_policy=ONE_MORE_TRY,
        automation_condition=follows_its_inputs(),
        ins={"inputs": dg.AssetIn(key=asset_key(source))},
    )
    def derived(context: dg.AssetExecutionContext, raw_layer: Lake, inputs: WeeklyInputs) -> WeeklyFrames:
        needed = inputs if columns is None else inputs.only(columns)

        def derive(week: str) -> WeekOutput:
            with span("week", table=table.name, week=week) as traced:
                origin = inputs.origin(week)
                if is_up_to_date(context, raw_layer, week, origin, table):
                    return WeekOutput(week, None, {"outcome": UP_TO_DATE})
                try:
                    source_rows = needed[week]
                except MissingInputError as missing:
                    return WeekOutput(week, None, left_out(context, asset_key(source), missing))
                with span("derive"):
                    rows = make(source_rows)
                facts: dict[str, Any] = {column: float(rows[column].sum()) for column in totals}
                if riders_by:
                    facts["chart"] = riders_chart(rows, riders_by)
                return WeekOutput(week, rows, facts, origin, partial(inputs.origin, week), traced)

        return WeeklyFrames(process_weeks(context, derive))

    return derived
