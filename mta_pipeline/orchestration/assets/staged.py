"""The staged layer: a week's file typed, every line accounted for."""

from collections.abc import Iterator, Mapping
from functools import partial

import dagster as dg
import polars as pl

from mta_pipeline.lake.raw_files import DamagedRawFile, RawFiles
from mta_pipeline.orchestration.conditions import follows_its_inputs
from mta_pipeline.orchestration.io_managers.weekly import WeeklyFrames, WeekOutput
from mta_pipeline.orchestration.keys import RAW_KEY, WEEKS_POOL, asset_key
from mta_pipeline.orchestration.prefetch import prefetch
from mta_pipeline.orchestration.resources.raw import RawLayer
from mta_pipeline.orchestration.specs import described
from mta_pipeline.orchestration.week_outcomes import UP_TO_DATE, FailedWeeks, is_up_to_date
from mta_pipeline.telemetry.tracing import Span, span
from mta_pipeline.turnstile.complexes import unknown_booths
from mta_pipeline.turnstile.contract import CONTROL_AREAS, TURNSTILE_READINGS, TURNSTILE_REJECTS
from mta_pipeline.turnstile.parsing import UnreadableFile
from mta_pipeline.turnstile.readings import StagedWeek, stage, starts_turnstile


def staged_assets(weeks: dg.WeeklyPartitionsDefinition, lake_root: str) -> dg.AssetsDefinition:
    """turnstile_readings and turnstile_rejects, from one look at each file."""
    tables = (TURNSTILE_READINGS, TURNSTILE_REJECTS)

    @dg.multi_asset(
        name="staged_turnstile",
        outs={
            table.name: dg.AssetOut(**described(table), automation_condition=follows_its_inputs()) for table in tables
        },
        partitions_def=weeks,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=WEEKS_POOL,
        deps=[RAW_KEY],
        ins={"control_areas": dg.AssetIn(key=asset_key(CONTROL_AREAS))},
    )
    def staged_turnstile(
        context: dg.AssetExecutionContext, raw_layer: RawLayer, control_areas: pl.DataFrame
    ) -> Iterator[dg.Output[WeeklyFrames]]:
        files, failed = raw_layer.files(), FailedWeeks()
        rejects: list[WeekOutput] = []

        def week_staged(week: str) -> tuple[str, StagedWeek, Mapping[str, object], Span] | str:
            """What the week was made from, its tables and what is to be shown of them; or why there are none."""
            with span("week", table=TURNSTILE_READINGS.name, week=week) as traced:
                manifest = files.manifest(week)
                if manifest and is_up_to_date(context, lake_root, week, manifest.sha256, *tables):
                    return UP_TO_DATE
                with span("unpack"):
                    landed = files.load(week)
                if landed is None:
                    return "skipped: the week has not landed in raw/turnstile_file"
                traced.add(bytes_in=len(landed.published))
                with span("parse"):
                    staged = stage(landed.published, week, control_areas)
                return landed.sha256, staged, _facts(staged, control_areas), traced

        def readings() -> Iterator[WeekOutput]:
            for week, in_progress in zip(
                context.partition_keys, prefetch(week_staged, context.partition_keys), strict=True
            ):
                try:
                    done = in_progress.result()
                except (UnreadableFile, DamagedRawFile) as error:
                    failed.add(context, week, error)
                    continue
                if isinstance(done, str):
                    rejects.append(WeekOutput(week, None, {"outcome": done}))
                    yield WeekOutput(week, None, {"outcome": done})
                    continue
                sha256, staged, facts, traced = done
                origin = sha256, partial(_landed, files, week)
                rejects.append(WeekOutput(week, staged.rejects, {"by_reason": staged.rejects_by_reason}, *origin))
                yield WeekOutput(week, staged.readings, facts, *origin, traced)
            failed.raise_if_any()

        # Readings are all written before rejects are: those are few, and wait.
        yield dg.Output(WeeklyFrames(readings()), TURNSTILE_READINGS.name)
        yield dg.Output(WeeklyFrames(rejects), TURNSTILE_REJECTS.name)

    return staged_turnstile


def _landed(files: RawFiles, week: str) -> str | None:
    manifest = files.manifest(week)
    return None if manifest is None else manifest.sha256


def _facts(staged: StagedWeek, control_areas: pl.DataFrame) -> dict[str, object]:
    unknown = unknown_booths(staged.readings, control_areas)
    return {
        "layout": staged.layout,
        "turnstiles": staged.readings.select(starts_turnstile().sum()).item(),
        "rejects": staged.rejects_by_reason,
        "unknown_booths": unknown.select(pl.concat_str("control_area", "unit", separator=" ")).to_series().to_list(),
    }
