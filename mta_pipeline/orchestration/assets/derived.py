"""A weekly table that is made from the same week of another one and from nothing else."""

from collections.abc import Callable, Sequence
from functools import partial

import dagster as dg
import polars as pl

from mta_pipeline.orchestration.conditions import follows_its_inputs
from mta_pipeline.orchestration.io_managers.weekly import WeeklyFrames, WeeklyInputs, WeekOutput
from mta_pipeline.orchestration.keys import WEEKS_POOL, asset_key
from mta_pipeline.orchestration.prefetch import prefetch
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.specs import described
from mta_pipeline.orchestration.week_outcomes import UP_TO_DATE, is_up_to_date
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
) -> dg.AssetsDefinition:
    """The asset of `table`: `make` of each week of `source`.

    Args:
        source: the table it is made from.
        table: the table it is.
        make: a week of the one from a week of the other.
        weeks: the calendar.
        columns: those of `source` that `make` needs, if not all.
        group: where the catalogue shows it, if not with its layer.
        totals: columns of which the catalogue shows the sums.
    """

    @dg.asset(
        **described(table, group),
        partitions_def=weeks,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=WEEKS_POOL,
        automation_condition=follows_its_inputs(),
        ins={"inputs": dg.AssetIn(key=asset_key(source))},
    )
    def derived(context: dg.AssetExecutionContext, raw_layer: Lake, inputs: WeeklyInputs) -> WeeklyFrames:
        needed = inputs if columns is None else inputs.only(columns)

        def made(week: str) -> WeekOutput:
            with span("week", table=table.name, week=week) as traced:
                origin = inputs.made_from(week)
                if is_up_to_date(context, raw_layer, week, origin, table):
                    return WeekOutput(week, None, {"outcome": UP_TO_DATE})
                of_week = needed.get(week)
                if of_week is None:
                    return WeekOutput(week, None)
                with span("derive"):
                    rows = make(of_week)
                sums = {column: float(rows[column].sum()) for column in totals}
                return WeekOutput(week, rows, sums, origin, partial(inputs.made_from, week), traced)

        return WeeklyFrames(in_progress.result() for in_progress in prefetch(made, context.partition_keys))

    return derived
