"""The IO manager of the lake: stores frames as one Parquet file per table and week, and loads them.

The asset key [layer, table] gives the path: `<root>/<layer>/<table>[/week=YYYY-MM-DD]/part-0.parquet`. This module
handles the weeks of a run and their metadata. `lake.parquet` encodes frames, and `lake.storage` replaces files.

It accepts one frame (Polars, eager or lazy, pyarrow or pandas) for a table without weeks or a run of one week; for a
table without weeks also WholeTable, which says what it is made from. For any run of a weekly table it accepts
WeeklyFrames, a dict from week to frame, or one frame with a column `week`. One run over many weeks writes the same
files as many runs. If it fails halfway, the finished weeks are recorded.

Dagster records a materialization only of what is in the lake, with the figures of its file. It does not record None as
a table without weeks, a week that is not yielded, or a week without a frame and without a file. A week without a frame
whose file is there is recorded if Dagster does not know it, or if the run is one of assets: backfills and automation
wait for the record.

A table is written only if it satisfies its contract; see `lake.validation`. A week that violates it makes the step fail
after the other weeks are written. Its file from an earlier run remains. A week that a failed check blocks is neither
written nor recorded; see `blocked_weeks`.

An input is loaded as the type of its annotation: such a frame, with a column `week` (a date) if there are several
weeks, or WeeklyInputs. It raises MissingInputError if a file does not exist. A file that does not match its digest is
set aside, and raises DamagedFile: the next run makes it again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import dagster as dg
import polars as pl
from upath import UPath

from mta_pipeline.lake.digests import DamagedFile
from mta_pipeline.lake.gcs import ConcurrentWriteError
from mta_pipeline.lake.inputs import Inputs
from mta_pipeline.lake.origin import Origin
from mta_pipeline.lake.parquet import (
    REMEDY,
    from_polars,
    origin,
    row_count,
    scan,
    set_damaged_aside,
    to_parquet,
    to_polars,
    with_new_columns,
)
from mta_pipeline.lake.storage import folder_lock, is_to_repair, part_path, uri, write_atomically
from mta_pipeline.lake.validation import violations
from mta_pipeline.orchestration.blocked_weeks import are_left_to_later_steps, blocked_weeks
from mta_pipeline.orchestration.dagster_internals import add_week_metadata, materializations, record_only
from mta_pipeline.orchestration.io_managers.weekly import (
    WeeklyFrames,
    WeeklyInputs,
    WeekOutput,
    WholeTable,
)
from mta_pipeline.orchestration.keys import FAILED_WEEKS
from mta_pipeline.orchestration.previews import sample_rows
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.run_records import is_of_assets, latest_metadata, require_weeks
from mta_pipeline.orchestration.specs import contract_of
from mta_pipeline.orchestration.week_outcomes import FailedWeeks, MissingInputError
from mta_pipeline.telemetry.progress import Progress
from mta_pipeline.telemetry.tracing import current_span, span
from mta_pipeline.weeks import week_start

NO_DATA: Final = "no data"
"""The outcome of a week for which an asset returned no frame and no `outcome`."""

_ROW_COUNT: Final = "dagster/partition_row_count"


class BrokenContract(ValueError):
    """A table violates its contract. Nothing was written."""


class ParquetIOManager(dg.ConfigurableIOManager):
    """Stores each table as Parquet files, one per week, and loads them. It writes only what satisfies the contract."""

    lake: Lake

    def handle_output(  # type: ignore[override]  # Dagster takes a generator of events, too.
        self, context: dg.OutputContext, obj: Any
    ) -> Iterator[dg.DagsterEvent]:
        """Write the output of an asset week by week, and yield materializations only if the step fails."""
        if context.has_asset_partitions:
            yield from self._handle_weeks(context, obj)
            return
        if obj is None:
            record_only(context, [])
            return
        frame, made_from = obj if isinstance(obj, WholeTable) else (obj, None)
        table = to_polars(frame)
        try:
            written = self._write(context, None, table, made_from)
        except BrokenContract as error:
            raise _failure(str(error)) from error
        context.add_output_metadata({"dagster/row_count": len(table), **written})

    def _handle_weeks(self, context: dg.OutputContext, obj: Any) -> Iterator[dg.DagsterEvent]:
        step, key, of_run = context.step_context, context.asset_key, context.asset_partition_keys
        require_weeks(context.asset_partitions_def, step.dagster_run)
        blocked = blocked_weeks(step.instance, step.job_def, [key], of_run)
        weeks = [week for week in of_run if week not in blocked]
        progress = Progress(context.asset_key.path[-1], len(weeks), context.log.info)
        done: list[str] = []
        without_frame = set[str]()
        failed = FailedWeeks()
        figures_to_record = self._figures_to_record(context)

        try:
            outputs = (output for output in _by_week(obj, of_run) if output.week not in blocked)
            for week, frame, metadata, input_origin, origin_now, traced, is_stored in outputs:
                if week not in weeks or week in done or week in without_frame or week in failed.reasons:
                    problem = "twice" if week in weeks else f"in a run of {of_run[0]} to {of_run[-1]}"
                    raise _failure(f"{_name(context)}: the asset returned the week {week} {problem}")
                if frame is None:
                    without_frame.add(week)
                    if is_stored or (figures := figures_to_record(week)):
                        add_week_metadata(context, week, metadata if is_stored else {**figures, **metadata})
                        done.append(week)
                    if not is_stored:
                        progress.week(week, metadata.get("outcome", NO_DATA))
                    continue
                table = to_polars(frame)
                try:
                    with span("write", inside_of=traced, table=context.asset_key.path[-1], week=week):
                        written = self._write(context, week, table, input_origin, origin_now)
                except BrokenContract as error:
                    failed.reasons[week] = str(error)
                    context.log.error(f"week {week} failed: {error}")
                    progress.week(week, "failed")
                    continue
                add_week_metadata(context, week, {**metadata, _ROW_COUNT: len(table), **written})
                done.append(week)
                progress.week(week, f"{len(table):,} rows")
            goes_on = weeks and are_left_to_later_steps(step.job_def, step.dagster_run, key, or_its_checks=True)
            failed.reasons |= {} if goes_on and not failed.reasons else blocked
            failed.raise_if_any()
        except BaseException as error:
            # Dagster records the weeks of a step only if it succeeds. Record those already in the lake.
            yield from materializations(context, done)
            if (failed.reasons or blocked) and isinstance(error, dg.Failure) and FAILED_WEEKS in error.metadata:
                # Weeks may also have failed within the asset. The failure of the step names all of them.
                failed.reasons |= blocked | error.metadata[FAILED_WEEKS].value  # type: ignore[operator]
                failed.raise_if_any()
            raise
        if len(done) < len(of_run):
            record_only(context, done)

    def load_input(self, context: dg.InputContext) -> object:
        """Load an input as the type of its annotation."""
        kind = context.dagster_type.typing_type
        if not context.has_asset_partitions:
            try:
                return from_polars(self._scan(context, None, in_place=kind is pl.LazyFrame), kind)
            except DamagedFile as error:
                raise _failure(str(error)) from error
        weeks = sorted(context.asset_partition_keys)
        if kind is WeeklyInputs:
            start = context.asset_partitions_def.get_first_partition_key()
            return WeeklyInputs(
                weeks,
                start or "",
                lambda week: self._scan(context, week),
                lambda week: origin(self._path(context, week)),
                lambda week: self._path(context, week).exists(),
            )
        frames = [self._scan(context, week, in_place=kind is pl.LazyFrame) for week in weeks]
        if len(weeks) > 1:
            dated = zip(weeks, frames, strict=True)
            frames = [frame.with_columns(week=pl.lit(week_start(week))) for week, frame in dated]
        return from_polars(pl.concat(frames), kind)

    def _figures_to_record(self, context: dg.OutputContext) -> Callable[[str], Mapping[str, Any]]:
        """Return a function that gives the figures of a week's file, or none if the week is not to be recorded."""
        instance, run, key = context.step_context.instance, context.step_context.dagster_run, context.asset_key
        known = cache(lambda: instance.get_materialized_partitions(key))

        def figures(week: str) -> Mapping[str, Any]:
            if not is_of_assets(run) and week in known():
                return {}
            try:
                of_file = figures_of(self._path(context, week), of_week=True)
            except (FileNotFoundError, DamagedFile):
                return {}
            # The last materialization has more figures. It may be of an earlier file.
            last = latest_metadata(instance, key, week)
            is_same = all(name in last and last[name].value == of_file[name] for name in (_ROW_COUNT, "bytes"))
            return {**last, **of_file} if is_same else of_file

        return figures

    def _path(self, context: dg.InputContext | dg.OutputContext, week: str | None) -> UPath:
        try:
            layer, table = context.asset_key.path
        except ValueError:
            raise _failure(f"{_name(context)}: the asset key of a table must be [layer, table]") from None
        return part_path(self.lake.lake_root, layer, table, week)

    def _write(
        self,
        context: dg.OutputContext,
        week: str | None,
        table: pl.DataFrame,
        made_from: Origin | Inputs | None = None,
        origin_now: Callable[[], Origin | None] | None = None,
    ) -> Mapping[str, Any]:
        contract = contract_of(context.asset_key)
        if contract and (broken := violations(table, contract)):
            of_week = f" of the week {week}" if week else ""
            rules = "\n".join(map(str, broken))
            raise BrokenContract(f"{_name(context)}{of_week} violates its contract. Not written:\n{rules}")
        declared = context.definition_metadata.get("dagster/column_schema")
        if declared and table.columns != (names := [column.name for column in declared.columns]):
            raise _failure(f"{_name(context)}: the frame has the columns {table.columns}, the asset declares {names}")
        record = made_from.by(contract) if isinstance(made_from, Origin) and contract else made_from
        path, payload = self._path(context, week), to_parquet(table, record)
        current_span().add(rows_out=len(table), bytes=len(payload))
        precondition = None if origin_now is None else lambda: origin_now() == made_from
        try:
            with folder_lock(path.parent):
                write_atomically(path, payload, precondition=precondition)
        except ConcurrentWriteError as error:
            raise _failure(
                f"{_name(context)}: another run has updated the input of the week {week} in the meantime. Nothing was "
                f"written, so the table of the other run remains. Launch again only if that run failed. ({error})"
            ) from error
        return {**_location(path, len(payload)), "sample_rows": sample_rows(table)}

    def _scan(self, context: dg.InputContext, week: str | None, *, in_place: bool = False) -> pl.LazyFrame:
        path = self._path(context, week)
        try:
            frame = scan(path, in_place=in_place)
        except FileNotFoundError:
            if is_to_repair(path):
                raise DamagedFile(f"{path} is damaged, set aside, and not made again yet. {REMEDY}") from None
            part = f" for the week {week}" if week else ""
            raise MissingInputError(
                f"{_name(context)} has no data{part}: {path} does not exist. Materialize it{part} first."
            ) from None
        except DamagedFile:
            set_damaged_aside(path)
            raise
        contract = contract_of(context.asset_key)
        return with_new_columns(frame, contract) if contract else frame


def figures_of(path: UPath, *, of_week: bool) -> dict[str, Any]:
    """The metadata of the materialization of a file, of a week or of a table without weeks, from its footer.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: the footer cannot be read.
    """
    return {_ROW_COUNT if of_week else "dagster/row_count": row_count(path), **_location(path, path.stat().st_size)}


def _location(path: UPath, size: int) -> dict[str, Any]:
    return {"path": dg.MetadataValue.path(str(path)), "dagster/uri": uri(path), "bytes": size}


def _by_week(output: Any, weeks: Sequence[str]) -> Iterable[WeekOutput]:
    """Return the output of an asset for these weeks as a stream of weeks."""
    if isinstance(output, WeeklyFrames):
        return output
    if isinstance(output, Mapping):
        return WeeklyFrames(output.items())
    if output is None:
        return WeeklyFrames([])
    table = to_polars(output)
    if "week" in table.columns:
        parts = table.cast({"week": pl.String}).partition_by("week", as_dict=True, include_key=False)
        return WeeklyFrames((week, part) for (week,), part in parts.items())
    if len(weeks) == 1:
        return WeeklyFrames([(weeks[0], table)])
    raise _failure(
        f"The output of a run of {len(weeks)} weeks must be WeeklyFrames, a dict by week, or a frame with a column week"
    )


def _name(context: dg.InputContext | dg.OutputContext) -> str:
    return context.asset_key.to_user_string()


def _failure(description: str) -> dg.Failure:
    return dg.Failure(description, allow_retries=False)
