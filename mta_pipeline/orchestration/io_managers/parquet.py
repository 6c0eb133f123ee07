"""The IO manager of the lake: frames of any kind to one Parquet file per table and week, and back.

An asset's key, [layer, table], says where. This module knows which weeks a run is about and what the catalogue shows
of them; how frames are encoded is said in frames, how a file is replaced in storage.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import dagster as dg
import polars as pl
from upath import UPath

from mta_pipeline.lake.gcs import ConcurrentWriteError
from mta_pipeline.lake.parquet import from_polars, made_from, scan, to_parquet, to_polars
from mta_pipeline.lake.storage import folder_lock, part_path, write_atomically
from mta_pipeline.lake.validation import violations
from mta_pipeline.orchestration.dagster_internals import add_week_metadata, materializations
from mta_pipeline.orchestration.io_managers.weekly import MissingInputError, WeeklyFrames, WeeklyInputs, WeekOutput
from mta_pipeline.orchestration.keys import FAILED_WEEKS
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.specs import contract_of
from mta_pipeline.orchestration.week_outcomes import FailedWeeks
from mta_pipeline.telemetry.progress import Progress
from mta_pipeline.telemetry.tracing import current_span, span
from mta_pipeline.weeks import week_start

NO_DATA: Final[Mapping[str, Any]] = {
    "no data": "The run had none for this week and wrote nothing. A file from an earlier run stays."
}
"""What the catalogue shows of a week for which an asset gave no frame and did not say why."""


class BrokenContract(ValueError):
    """A table that is not what its contract says; nothing was written."""


class ParquetIOManager(dg.ConfigurableIOManager):
    """Tables as Parquet files, `<root>/<layer>/<table>[/week=YYYY-MM-DD]/part-0.parquet`, replaced atomically.

    Takes one frame (Polars, eager or lazy, pyarrow or pandas) for a table without weeks or a run of a single week,
    and for any run WeeklyFrames, a dict from week to frame, or one frame with a column `week`. A run of many weeks
    gives the same files as many runs; if it fails half-way, the weeks that are done are recorded as such.

    A table is written only if it is what its contract says; see `validation`. A week that is not fails at the end of
    the run, its file from an earlier run stays, and the other weeks are written.

    Gives what the input is annotated with: one such frame, where several weeks get a column `week` (a date), or
    WeeklyInputs. What is not there is a MissingInputError.
    """

    lake: Lake

    def handle_output(  # type: ignore[override]  # Dagster takes a generator of events, too.
        self, context: dg.OutputContext, obj: Any
    ) -> Iterator[dg.DagsterEvent]:
        """Write what an asset gave, week by week."""
        if not context.has_asset_partitions:
            table = to_polars(obj)
            try:
                written = self._write(context, None, table)
            except BrokenContract as error:
                raise _misuse(str(error)) from error
            context.add_output_metadata({"dagster/row_count": len(table), **written})
            return
        weeks = context.asset_partition_keys
        progress = Progress(context.asset_key.path[-1], len(weeks), context.log.info)
        done: list[str] = []
        failed = FailedWeeks()
        try:
            for week, frame, metadata, origin, origin_now, traced in _by_week(obj, weeks):
                if week not in weeks or week in done or week in failed.reasons:
                    fault = "twice" if week in weeks else f"in a run of {weeks[0]} to {weeks[-1]}"
                    raise _misuse(f"{_name(context)}: the asset gave the week {week} {fault}")
                if frame is None:
                    facts, size = ({}, metadata["outcome"]) if "outcome" in metadata else (NO_DATA, "no data")
                else:
                    table = to_polars(frame)
                    try:
                        with span("write", inside_of=traced, table=context.asset_key.path[-1], week=week):
                            written = self._write(context, week, table, origin, origin_now)
                    except BrokenContract as error:
                        failed.reasons[week] = str(error)
                        context.log.error(f"week {week} failed: {error}")
                        progress.week(week, "failed")
                        continue
                    facts = {"dagster/partition_row_count": len(table), **written}
                    size = f"{len(table):,} rows"
                add_week_metadata(context, week, {**metadata, **facts})
                done.append(week)
                progress.week(week, size)
            failed.raise_if_any()
        except BaseException as error:
            # Dagster records the weeks of a step when all are done; those that are in the lake must not get lost.
            yield from materializations(context, done)
            if failed.reasons and isinstance(error, dg.Failure) and FAILED_WEEKS in error.metadata:
                # The asset may have weeks of its own that failed: the step names those of both.
                failed.reasons |= error.metadata[FAILED_WEEKS].value  # type: ignore[arg-type]
                failed.raise_if_any()
            raise
        for week in weeks:
            if week not in done:
                add_week_metadata(context, week, NO_DATA)

    def load_input(self, context: dg.InputContext) -> object:
        """Read what an input's annotation asks for."""
        kind = context.dagster_type.typing_type
        if not context.has_asset_partitions:
            return from_polars(self._scan(context, None, in_place=kind is pl.LazyFrame), kind)
        weeks = sorted(context.asset_partition_keys)
        if kind is WeeklyInputs:
            start = context.asset_partitions_def.get_first_partition_key()
            return WeeklyInputs(
                weeks,
                start or "",
                lambda week: self._scan(context, week, in_place=True),
                lambda week: made_from(self._path(context, week)),
            )
        frames = [self._scan(context, week, in_place=kind is pl.LazyFrame) for week in weeks]
        if len(weeks) > 1:
            dated = zip(weeks, frames, strict=True)
            frames = [frame.with_columns(week=pl.lit(week_start(week))) for week, frame in dated]
        return from_polars(pl.concat(frames), kind)

    def _path(self, context: dg.InputContext | dg.OutputContext, week: str | None) -> UPath:
        try:
            layer, table = context.asset_key.path
        except ValueError:
            raise _misuse(f"{_name(context)}: a table's asset key is [layer, table]") from None
        return part_path(self.lake.lake_root, layer, table, week)

    def _write(
        self,
        context: dg.OutputContext,
        week: str | None,
        table: pl.DataFrame,
        origin: str | None = None,
        origin_now: Callable[[], str | None] | None = None,
    ) -> Mapping[str, Any]:
        contract = contract_of(context.asset_key)
        if contract and (broken := violations(table, contract)):
            of_week = f" of the week {week}" if week else ""
            rules = "\n".join(map(str, broken))
            raise BrokenContract(f"{_name(context)}{of_week} is not what its contract says. Not written:\n{rules}")
        declared = context.definition_metadata.get("dagster/column_schema")
        if declared and table.columns != (names := [column.name for column in declared.columns]):
            raise _misuse(f"{_name(context)}: the frame has the columns {table.columns}, the asset declares {names}")
        path, payload = self._path(context, week), to_parquet(table, origin)
        current_span().add(rows_out=len(table), bytes=len(payload))
        precondition = None if origin_now is None else lambda: origin_now() == origin
        try:
            with folder_lock(path.parent):
                write_atomically(path, payload, precondition=precondition)
        except ConcurrentWriteError as error:
            raise _misuse(
                f"{_name(context)}: another run has renewed what the week {week} is made from, while this one was at "
                f"it. Nothing was written, so that its table stays; launch again if that one failed. ({error})"
            ) from error
        return {"path": dg.MetadataValue.path(str(path)), "bytes": len(payload)}

    def _scan(self, context: dg.InputContext, week: str | None, *, in_place: bool = False) -> pl.LazyFrame:
        path = self._path(context, week)
        try:
            return scan(path, in_place=in_place)
        except FileNotFoundError:
            part = f" for the week {week}" if week else ""
            raise MissingInputError(
                f"{_name(context)} has nothing{part}: there is no {path}. Materialize it{part} first."
            ) from None


def _by_week(given: Any, weeks: Sequence[str]) -> Iterable[WeekOutput]:
    """Whatever an asset may give for a run of these weeks, as a stream of weeks."""
    if isinstance(given, WeeklyFrames):
        return given
    if isinstance(given, Mapping):
        return WeeklyFrames(given.items())
    if given is None:
        return WeeklyFrames([])
    table = to_polars(given)
    if "week" in table.columns:
        parts = table.cast({"week": pl.String}).partition_by("week", as_dict=True, include_key=False)
        return WeeklyFrames((week, part) for (week,), part in parts.items())
    if len(weeks) == 1:
        return WeeklyFrames([(weeks[0], table)])
    raise _misuse(f"A run of {len(weeks)} weeks takes WeeklyFrames, a dict by week, or a frame with a column week")


def _name(context: dg.InputContext | dg.OutputContext) -> str:
    return context.asset_key.to_user_string()


def _misuse(description: str) -> dg.Failure:
    return dg.Failure(description, allow_retries=False)
