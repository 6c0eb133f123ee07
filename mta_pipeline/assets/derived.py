"""A weekly table that is made from the same week of another one and from nothing else."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import dagster as dg
import polars as pl

from mta_pipeline.assets.catalogue import asset_key, described
from mta_pipeline.assets.weeks import LEFT_ALONE, WEEKS_POOL, is_left_alone
from mta_pipeline.automation.conditions import follows_its_inputs
from mta_pipeline.io_managers.weekly import WeeklyFrames, WeeklyInputs, WeekOutput
from mta_pipeline.turnstile.contract import Table


def derived_asset(
    source: Table,
    table: Table,
    make: Callable[[pl.DataFrame], pl.DataFrame],
    weeks: dg.WeeklyPartitionsDefinition,
    lake_root: str,
    *,
    group: str | None = None,
    totals: Sequence[str] = (),
) -> dg.AssetsDefinition:
    """The asset of `table`: `make` of each week of `source`.

    Args:
        source: the table it is made from.
        table: the table it is.
        make: a week of the one from a week of the other.
        weeks: the calendar.
        lake_root: where the tables are.
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
    def derived(context: dg.AssetExecutionContext, inputs: WeeklyInputs) -> WeeklyFrames:
        def week_by_week() -> Iterator[WeekOutput]:
            for week in context.partition_keys:
                origin = inputs.made_from(week)
                if is_left_alone(context, lake_root, week, origin, table):
                    yield WeekOutput(week, None, {"outcome": LEFT_ALONE})
                elif (of_week := inputs.get(week)) is None:
                    yield WeekOutput(week, None)
                else:
                    made = make(of_week)
                    sums = {column: float(made[column].sum()) for column in totals}
                    yield WeekOutput(week, made, sums, origin, partial(inputs.made_from, week))

        return WeeklyFrames(week_by_week())

    return derived
