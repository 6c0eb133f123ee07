"""Assets of the staged layer: the typed rows of a week's file, and its unusable lines as rejects (rule 1)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import dagster as dg
import polars as pl

from mta_pipeline.lake.origin import Origin
from mta_pipeline.lake.raw import DamagedRawFile, RawFolders
from mta_pipeline.orchestration.conditions import follows_its_inputs
from mta_pipeline.orchestration.io_managers.weekly import WeeklyFrames, WeekOutput
from mta_pipeline.orchestration.keys import RAW_KEY, WEEKS_POOL, asset_key
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
from mta_pipeline.telemetry.tracing import Span, span
from mta_pipeline.turnstile.complexes import unknown_booths
from mta_pipeline.turnstile.contract import CONTROL_AREAS, STAGED
from mta_pipeline.turnstile.readings import StagedWeek, stage, starts_turnstile


class Staged(NamedTuple):
    """The rows and rejects of a week."""

    made_from: str
    """The sha256 of the raw data."""
    rows: pl.DataFrame
    rejects: pl.DataFrame
    rejects_by_reason: Mapping[str, int]
    facts: Mapping[str, object]
    """The metadata of the rows."""


def staged_weeks(
    context: dg.AssetExecutionContext,
    lake: Lake,
    raw: RawFolders[Any],
    tables: tuple[Table, Table],
    stage_week: Callable[[str, Span], Staged | None],
    *,
    key: dg.AssetKey,
) -> Iterator[dg.Output[WeeklyFrames]]:
    """Stage the weeks of a run. If a week cannot be staged, the step fails after all other weeks.

    Damaged raw data are set aside, so that the next run lands the week again.

    Args:
        context: the context of the step.
        lake: the lake with the tables.
        raw: the raw data.
        tables: the table of rows and the table of rejects.
        stage_week: returns both tables of a week, or None if the week has not landed. It may add figures to the span.
        key: the asset of the raw data.
    """
    of_rows, of_rejects = tables
    rejects = list[WeekOutput]()

    def staged(week: str) -> tuple[WeekOutput, WeekOutput]:
        with span("week", table=of_rows.name, week=week) as traced:
            origin = _origin(raw, week)
            if is_up_to_date(context, lake, week, origin, *tables):
                return (WeekOutput(week, None, {"outcome": UP_TO_DATE}),) * 2
            try:
                result = stage_week(week, traced)
            except DamagedRawFile:
                with suppress(OSError):  # The damage is the cause to report.
                    raw.set_damaged_aside(week)
                raise
            if result is None:
                name = key.to_user_string()
                missing = MissingInputError(
                    f"{name} has no data for the week {week}: nothing has landed in {raw.path(week)}. Materialize "
                    f"{name} for the week {week} first."
                )
                return (WeekOutput(week, None, left_out(context, key, missing)),) * 2
            origins = Origin(result.made_from), partial(_origin, raw, week)
            return (
                WeekOutput(week, result.rows, result.facts, *origins, traced),
                WeekOutput(week, result.rejects, {"by_reason": result.rejects_by_reason}, *origins),
            )

    def rows() -> Iterator[WeekOutput]:
        for row_output, reject_output in process_weeks(context, staged):
            rejects.append(reject_output)
            yield row_output

    # All rows are written before the rejects, which are few and stay in memory until then.
    yield dg.Output(WeeklyFrames(rows()), of_rows.name)
    yield dg.Output(WeeklyFrames(rejects), of_rejects.name)


def _origin(raw: RawFolders[Any], week: str) -> Origin | None:
    version = raw.version(week)
    return None if version is None else Origin(version)


def staged_assets(weeks: dg.WeeklyPartitionsDefinition) -> dg.AssetsDefinition:
    """turnstile_readings and turnstile_rejects, from one pass over each file (rules 1 and 2)."""

    @dg.multi_asset(
        name="staged_turnstile",
        outs={
            table.name: dg.AssetOut(**described(table), automation_condition=follows_its_inputs()) for table in STAGED
        },
        partitions_def=weeks,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=WEEKS_POOL,
        retry_policy=ONE_MORE_TRY,
        deps=[RAW_KEY],
        ins={"control_areas": dg.AssetIn(key=asset_key(CONTROL_AREAS))},
    )
    def staged_turnstile(
        context: dg.AssetExecutionContext, raw_layer: Lake, control_areas: pl.DataFrame
    ) -> Iterator[dg.Output[WeeklyFrames]]:
        files = raw_layer.files()

        def stage_week(week: str, traced: Span) -> Staged | None:
            with span("unpack"):
                landed = files.load(week)
            if landed is None:
                return None
            traced.add(bytes_in=len(landed.published))
            with span("parse"):
                result = stage(landed.published, week, control_areas, landed.lines)
            facts = _facts(result, control_areas)
            return Staged(landed.sha256, result.readings, result.rejects, result.rejects_by_reason, facts)

        yield from staged_weeks(context, raw_layer, files, STAGED, stage_week, key=RAW_KEY)

    return staged_turnstile


def _facts(staged: StagedWeek, control_areas: pl.DataFrame) -> dict[str, object]:
    unknown = unknown_booths(staged.readings, control_areas)
    return {
        "layout": staged.layout,
        "turnstiles": staged.readings.select(starts_turnstile().sum()).item(),
        "rejects": staged.rejects_by_reason,
        "unknown_booths": unknown.select(pl.concat_str("control_area", "unit", separator=" ")).to_series().to_list(),
    }
