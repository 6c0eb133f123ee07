"""Tables through the IO manager: single weeks, ranges and windows, out and in, in a directory and in a bucket."""

import datetime as dt
import io
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from upath import UPath

from mta_pipeline.lake.parquet import to_parquet, to_polars
from mta_pipeline.lake.storage import part_path, read_bytes, uri, write_atomically
from mta_pipeline.orchestration.io_managers.parquet import ParquetIOManager
from mta_pipeline.orchestration.io_managers.weekly import WeeklyFrames, WeeklyInputs, WeekOutput
from mta_pipeline.orchestration.keys import FAILED_WEEKS
from mta_pipeline.orchestration.previews import sample_rows
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.specs import described
from mta_pipeline.orchestration.week_outcomes import FailedWeeks
from mta_pipeline.turnstile import complexes
from mta_pipeline.turnstile.contract import COMPLEX_DAILY, CONTROL_AREAS, TURNSTILE_READINGS
from mta_pipeline.weeks import week_after, week_before, week_start, weeks_between

pytest_plugins = ["mta_pipeline_tests.support.gcs_emulator"]

# An asset that is described by a table has this table as its contract.
for table in (COMPLEX_DAILY, CONTROL_AREAS, TURNSTILE_READINGS):
    described(table)

WEEKS = weeks_between("2023-12-30", "2024-01-27")
FIRST, SECOND, THIRD = WEEKS[:3]
calendar = dg.WeeklyPartitionsDefinition(start_date=FIRST, end_date="2024-03-02", day_offset=6)
one_run = dg.BackfillPolicy.single_run()
with_carry_in = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=0)
READINGS, TRAFFIC = dg.AssetKey(["staged", "readings"]), dg.AssetKey(["lake", "traffic"])


@pytest.fixture(params=["directory", pytest.param("bucket", marks=pytest.mark.slow("gcs_server"))])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The root of an empty lake."""
    return str(tmp_path / "lake") if request.param == "directory" else f"{request.getfixturevalue('gcs_bucket')}/lake"


def readings_of(week: str) -> pl.DataFrame:
    """Three readings, different ones for each week."""
    start = dt.datetime.combine(week_start(week), dt.time())
    return pl.DataFrame(
        {
            "unit": pl.Series(["R051", "R052", "R051"], dtype=pl.String),
            "read_at": pl.Series([start + dt.timedelta(hours=4 * n) for n in range(3)], dtype=pl.Datetime("us")),
            "entries_register": pl.Series([week_start(week).toordinal() + n for n in range(3)], dtype=pl.Int64),
        }
    )


def weekly(give: Callable[[dg.AssetExecutionContext], Any], **options: Any) -> dg.AssetsDefinition:
    """The weekly asset staged/readings, which returns what `give` returns."""

    @dg.asset(key=READINGS, partitions_def=calendar, backfill_policy=one_run, **options)
    def readings(context: dg.AssetExecutionContext):
        return give(context)

    return readings


def streamed(context: dg.AssetExecutionContext) -> WeeklyFrames:
    return WeeklyFrames((week, readings_of(week)) for week in context.partition_keys)


def run(
    lake: str, *assets: Any, weeks: tuple[str, str] | None = None, instance: dg.DagsterInstance, **options: Any
) -> dg.ExecuteInProcessResult:
    """Materialize the assets, over a range of weeks in one run if `weeks` is given."""
    tags = {}
    if weeks:
        first, last = weeks
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    resources = {"io_manager": ParquetIOManager(lake=Lake(lake_root=lake))}
    return dg.materialize([*assets], resources=resources, tags=tags, instance=instance, **options)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def files(lake: str) -> dict[str, bytes]:
    root = UPath(lake)
    return (
        {path.path.removeprefix(root.path): read_bytes(path) for path in root.rglob("*") if path.is_file()}
        if root.exists()
        else {}
    )


def recorded(instance: dg.DagsterInstance, key: dg.AssetKey = READINGS) -> dict[str | None, dict[str, Any]]:
    """The metadata of each week's last materialization. Fails if a run recorded a week twice."""
    events = instance.fetch_materializations(key, limit=1000).records
    assert len({(event.run_id, event.partition_key) for event in events}) == len(events)
    return {
        event.partition_key: {name: value.value for name, value in event.asset_materialization.metadata.items()}
        for event in reversed(events)
    }


def run_with_rejects(lake: str, instance: dg.DagsterInstance) -> None:
    """Run the first week of an asset that adds a number of rejects to the metadata."""
    output = weekly(lambda _: dg.Output(readings_of(FIRST), metadata={"rejects": 7}))
    run(lake, output, partition_key=FIRST, instance=instance)


def alive(frames: list[weakref.ref[pl.DataFrame]]) -> int:
    return sum(frame() is not None for frame in frames)


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The error message of the failed step, including causes."""
    (event,) = result.filter_events(lambda event: event.is_step_failure)
    return event.step_failure_data.error.to_string()


# --- one week ---

KINDS = {
    "polars": lambda frame: frame,
    "polars, many chunks": lambda frame: pl.concat([frame[:1], frame[1:]], rechunk=False),
    "polars, lazy": lambda frame: frame.lazy(),
    "polars, categorical": lambda frame: frame.cast({"unit": pl.Categorical}),
    "polars, enum": lambda frame: frame.cast({"unit": pl.Enum(["R052", "R051"])}),
    "polars, nanoseconds": lambda frame: frame.cast({"read_at": pl.Datetime("ns")}),
    "pyarrow": lambda frame: frame.to_arrow(),
    "pandas": lambda frame: frame.to_pandas(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_frame_gives_the_same_file(kind: str, tmp_path: Path, instance: dg.DagsterInstance) -> None:
    lake = str(tmp_path)
    run(lake, weekly(lambda _: KINDS[kind](readings_of(FIRST))), partition_key=FIRST, instance=instance)
    assert files(lake) == {f"/staged/readings/week={FIRST}/part-0.parquet": bytes(to_parquet(readings_of(FIRST)))}


@given(
    st.lists(st.sampled_from(["R051", "R052", "R053", None]), max_size=40),
    st.integers(0, 40),
    st.lists(st.sampled_from(["R053", "R099", "R052"]), max_size=3),
)
def test_the_same_rows_give_the_same_bytes_whatever_their_origin(
    units: list[str | None], cut: int, seen_before: list[str]
) -> None:
    plain = pl.DataFrame({"unit": pl.Series(units, dtype=pl.String)})
    other = pl.DataFrame({"unit": pl.Series([*seen_before, *units], dtype=pl.Categorical)})[len(seen_before) :]
    chunks = pl.concat([other[:cut], other[cut:]], rechunk=False)
    assert to_parquet(plain) == to_parquet(chunks)
    assert_frame_equal(pl.read_parquet(bytes(to_parquet(chunks))), plain)


def test_other_engines_read_plain_strings_and_wall_clock_microseconds() -> None:
    frame = readings_of(FIRST).cast({"unit": pl.Categorical, "read_at": pl.Datetime("ms")})
    file = pq.ParquetFile(io.BytesIO(to_parquet(frame)))
    assert file.schema_arrow == pa.schema(
        {"unit": pa.large_string(), "read_at": pa.timestamp("us"), "entries_register": pa.int64()}
    )
    assert str(file.schema.column(0).logical_type) == "String"
    read_at = file.schema.column(1).logical_type.to_json()
    assert '"isAdjustedToUTC":false' in read_at
    assert '"timeUnit":"microseconds"' in read_at
    columns = [file.metadata.row_group(0).column(n) for n in range(3)]
    assert {column.compression for column in columns} == {"ZSTD"}
    assert [column.statistics.null_count for column in columns] == [0, 0, 0]
    assert columns[0].statistics.min == "R051"


def test_a_week_larger_than_any_real_one_is_one_row_group() -> None:
    chunks = [pl.DataFrame({"register": pl.Series(range(n, n + 50_000))}) for n in range(0, 300_000, 50_000)]
    file = pq.ParquetFile(io.BytesIO(to_parquet(pl.concat(chunks, rechunk=False))))
    assert file.metadata.num_row_groups == 1


def test_a_week_records_its_rows_its_file_and_the_metadata_of_the_asset(
    lake: str, instance: dg.DagsterInstance
) -> None:
    run_with_rejects(lake, instance)
    path = part_path(lake, "staged", "readings", FIRST)
    assert recorded(instance) == {
        FIRST: {
            "rejects": 7,
            "dagster/partition_row_count": 3,
            "path": str(path),
            "dagster/uri": uri(path),
            "bytes": len(read_bytes(path)),
            "sample_rows": sample_rows(readings_of(FIRST)).value,
        }
    }


def test_a_table_without_weeks_is_one_file_and_can_be_an_input_of_weekly_assets(
    lake: str, instance: dg.DagsterInstance
) -> None:
    @dg.asset(key=["lake", "booths"])
    def booths() -> pl.DataFrame:
        return pl.DataFrame({"unit": ["R051"], "complex_id": [611]})

    @dg.asset(key=TRAFFIC, partitions_def=calendar, ins={"areas": dg.AssetIn(["lake", "booths"])})
    def traffic(areas: pl.DataFrame) -> pl.DataFrame:
        return areas

    run(lake, booths, instance=instance)
    run(lake, booths.to_source_asset(), traffic, partition_key=FIRST, instance=instance)
    assert set(files(lake)) == {
        "/lake/booths/part-0.parquet",
        f"/lake/traffic/week={FIRST}/part-0.parquet",
    }
    assert recorded(instance, dg.AssetKey(["lake", "booths"]))[None]["dagster/row_count"] == 1
    assert recorded(instance, TRAFFIC)[FIRST]["dagster/partition_row_count"] == 1


# --- ranges ---

WAYS_TO_RETURN_A_RANGE = {
    "a stream": streamed,
    "a stream with metadata": lambda context: WeeklyFrames(
        WeekOutput(week, readings_of(week), {"rejects": n}) for n, week in enumerate(context.partition_keys)
    ),
    "in any order": lambda context: WeeklyFrames((week, readings_of(week)) for week in context.partition_keys[::-1]),
    "a dict": lambda context: {week: readings_of(week).to_pandas() for week in context.partition_keys},
    "one frame": lambda context: pl.concat(
        [readings_of(week).with_columns(week=pl.lit(week)) for week in context.partition_keys]
    ),
    "one frame with dates": lambda context: pl.concat(
        [readings_of(week).lazy().with_columns(week=pl.lit(week_start(week))) for week in context.partition_keys]
    ),
}


@pytest.mark.parametrize("way", WAYS_TO_RETURN_A_RANGE)
def test_a_range_in_one_run_gives_the_same_files_as_one_run_per_week(
    way: str, lake: str, instance: dg.DagsterInstance
) -> None:
    one, each = f"{lake}/one", f"{lake}/each"
    run(one, weekly(WAYS_TO_RETURN_A_RANGE[way]), weeks=(WEEKS[0], WEEKS[-1]), instance=instance)
    for week in WEEKS:
        run(each, weekly(WAYS_TO_RETURN_A_RANGE[way]), partition_key=week, instance=instance)
    assert len(files(each)) == len(WEEKS)
    assert files(one) == files(each)


def test_every_week_of_a_range_records_its_own_metadata(lake: str, instance: dg.DagsterInstance) -> None:
    def give(context: dg.AssetExecutionContext) -> dg.Output:
        weeks = (
            WeekOutput(week, readings_of(week)[:n], {"rejects": 10 + n})
            for n, week in enumerate(context.partition_keys)
        )
        return dg.Output(WeeklyFrames(weeks), metadata={"layout": "modern"})

    run(lake, weekly(give), weeks=(FIRST, THIRD), instance=instance)
    shown = recorded(instance)
    assert [shown[week]["dagster/partition_row_count"] for week in (FIRST, SECOND, THIRD)] == [0, 1, 2]
    assert [shown[week]["rejects"] for week in (FIRST, SECOND, THIRD)] == [10, 11, 12]
    assert [shown[week]["path"] for week in (FIRST, SECOND, THIRD)] == [
        str(part_path(lake, "staged", "readings", week)) for week in (FIRST, SECOND, THIRD)
    ]
    assert {shown[week]["layout"] for week in shown} == {"modern"}


@pytest.mark.parametrize(
    "way",
    {
        "left out": lambda context: WeeklyFrames((w, readings_of(w)) for w in context.partition_keys if w != SECOND),
        "None": lambda context: {w: None if w == SECOND else readings_of(w) for w in context.partition_keys},
    }.values(),
    ids=["left out", "None"],
)
def test_a_week_without_data_is_not_recorded_and_keeps_its_older_file(
    way: Callable[..., Any], lake: str, instance: dg.DagsterInstance
) -> None:
    run(lake, weekly(way), weeks=(FIRST, THIRD), instance=instance)
    assert len(files(lake)) == 2
    assert set(recorded(instance)) == {FIRST, THIRD}

    run(lake, weekly(streamed), partition_key=SECOND, instance=instance)
    before = recorded(instance)[SECOND]
    run(lake, weekly(way), weeks=(FIRST, THIRD), instance=instance)
    assert pl.read_parquet(files(lake)[f"/staged/readings/week={SECOND}/part-0.parquet"]).equals(readings_of(SECOND))
    assert recorded(instance)[SECOND] == before


def test_a_single_week_without_data_logs_the_reason_and_is_not_recorded(
    lake: str, instance: dg.DagsterInstance
) -> None:
    give = weekly(lambda _: WeeklyFrames([WeekOutput(FIRST, None, {"outcome": "not published yet"})]))
    result = run(lake, give, partition_key=FIRST, instance=instance)
    assert f"readings: week {FIRST} (1 of 1) not published yet" in [
        entry.user_message for entry in instance.all_logs(result.run_id)
    ]
    run(lake, weekly(lambda _: dg.Output(None)), partition_key=SECOND, instance=instance)
    assert files(lake) == {}
    assert recorded(instance) == {}


def test_a_step_that_fails_before_its_first_week_records_nothing(lake: str, instance: dg.DagsterInstance) -> None:
    def fail(context: dg.AssetExecutionContext) -> WeeklyFrames:
        return WeeklyFrames(1 / 0 for _ in context.partition_keys)

    run(lake, weekly(fail), weeks=(FIRST, THIRD), instance=instance, raise_on_error=False)
    assert recorded(instance) == {}


def test_a_table_without_weeks_that_has_no_data_is_not_recorded(lake: str, instance: dg.DagsterInstance) -> None:
    @dg.asset(key=["lake", "booths"])
    def booths() -> pl.DataFrame | None:
        return None

    assert run(lake, booths, instance=instance).success
    assert files(lake) == {}
    assert recorded(instance, dg.AssetKey(["lake", "booths"])) == {}


def test_a_week_without_a_frame_whose_file_is_there_keeps_its_figures_and_gets_those_of_a_new_file(
    lake: str, instance: dg.DagsterInstance
) -> None:
    run_with_rejects(lake, instance)
    before = recorded(instance)[FIRST]
    complete = weekly(lambda _: WeeklyFrames([WeekOutput(FIRST, None, {"outcome": "complete"})]))
    run(lake, complete, partition_key=FIRST, instance=instance)
    assert recorded(instance)[FIRST] == {**before, "outcome": "complete"}

    path = part_path(lake, "staged", "readings", FIRST)
    write_atomically(path, to_parquet(readings_of(FIRST)[:1]))
    run(lake, complete, partition_key=FIRST, instance=instance)
    assert recorded(instance)[FIRST] == {
        "dagster/partition_row_count": 1,
        "path": str(path),
        "dagster/uri": uri(path),
        "bytes": len(read_bytes(path)),
        "outcome": "complete",
    }


def test_a_range_streams_in_bounded_memory(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    made: list[weakref.ref[pl.DataFrame]] = []
    most = 0

    def frames(context: dg.AssetExecutionContext) -> Iterator[tuple[str, pl.DataFrame]]:
        nonlocal most
        for week in context.partition_keys:
            frame = readings_of(week)
            made.append(weakref.ref(frame))
            most = max(most, alive(made))
            yield week, frame

    give = weekly(lambda context: WeeklyFrames(frames(context)))
    run(str(tmp_path), give, weeks=(FIRST, WEEKS[-1]), instance=instance)
    assert most == 2


def test_a_range_logs_its_progress(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    give = weekly(lambda context: WeeklyFrames([(FIRST, readings_of(FIRST)), (SECOND, None)]))
    result = run(str(tmp_path), give, weeks=(FIRST, THIRD), instance=instance)
    messages = [entry.user_message for entry in instance.all_logs(result.run_id) if not entry.is_dagster_event]
    assert messages == [f"readings: week {FIRST} (1 of 3) 3 rows", f"readings: week {SECOND} (2 of 3) no data"]


@pytest.mark.parametrize(
    "fault",
    [ValueError("R051 is out of step"), dg.Failure("R051 is out of step"), DagsterExecutionInterruptedError()],
    ids=["error", "failure", "interrupt"],
)
def test_completed_weeks_are_kept_if_a_range_fails_halfway(
    fault: BaseException, lake: str, instance: dg.DagsterInstance
) -> None:
    def frames() -> Iterator[WeekOutput]:
        yield WeekOutput(FIRST, readings_of(FIRST), {"rejects": 7})
        yield WeekOutput(SECOND, None)
        raise fault

    result = run(
        lake,
        weekly(lambda _: dg.Output(WeeklyFrames(frames()), metadata={"layout": "modern"})),
        weeks=(FIRST, WEEKS[-1]),
        instance=instance,
        raise_on_error=False,
    )
    assert not result.success
    assert str(fault) in failure(result)
    assert set(files(lake)) == {f"/staged/readings/week={FIRST}/part-0.parquet"}
    shown = recorded(instance)
    assert set(shown) == {FIRST}
    assert shown[FIRST]["rejects"] == 7
    assert shown[FIRST]["layout"] == "modern"
    assert shown[FIRST]["dagster/partition_row_count"] == 3

    run(lake, weekly(streamed), weeks=(FIRST, WEEKS[-1]), instance=instance)
    assert len(files(lake)) == len(WEEKS)


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda _: readings_of(FIRST), "The output of a run of 3 weeks must be WeeklyFrames"),
        (lambda _: {WEEKS[4]: readings_of(FIRST)}, f"returned the week {WEEKS[4]} in a run of {FIRST} to {THIRD}"),
        (lambda _: WeeklyFrames([(FIRST, readings_of(FIRST))] * 2), f"returned the week {FIRST} twice"),
        (lambda _: {FIRST: [1, 2]}, "list is not a frame"),
    ],
    ids=["one frame for many weeks", "a week outside of the range", "a week twice", "no frame"],
)
def test_an_invalid_range_is_refused(
    give: Callable[..., Any], message: str, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    result = run(str(tmp_path), weekly(give), weeks=(FIRST, THIRD), instance=instance, raise_on_error=False)
    assert message in failure(result)


def test_columns_that_differ_from_the_declared_ones_are_refused(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    names = ["unit", "read_at", "entries_register"]
    for columns, success in ((names, True), (names[:2], False), (names[::-1], False)):
        schema = dg.TableSchema([dg.TableColumn(name) for name in columns])
        give = weekly(streamed, metadata={"dagster/column_schema": schema})
        result = run(str(tmp_path), give, partition_key=FIRST, instance=instance, raise_on_error=False)
        assert result.success is success
        assert success or f"the asset declares {columns}" in failure(result)


DAILY = dg.AssetKey([COMPLEX_DAILY.layer, COMPLEX_DAILY.name])


def daily_of(week: str, **columns: object) -> pl.DataFrame:
    """Two valid rows of complex_daily, with some columns replaced."""
    valid = {
        "complex_id": [611, None],
        "service_date": week_start(week),
        "entries": 1,
        "exits": 2,
        "turnstile_seconds": 8,
        "ok_seconds": 4,
    }
    return pl.DataFrame({**valid, **columns}, schema=dict(COMPLEX_DAILY.schema))


def daily(give: Callable[[dg.AssetExecutionContext], Any]) -> dg.AssetsDefinition:
    """The asset lake/complex_daily, which has a contract and returns what `give` returns."""

    @dg.asset(key=DAILY, partitions_def=calendar, backfill_policy=one_run, retry_policy=dg.RetryPolicy(max_retries=1))
    def complex_daily(context: dg.AssetExecutionContext):
        return give(context)

    return complex_daily


def valid_weeks(context: dg.AssetExecutionContext) -> WeeklyFrames:
    return WeeklyFrames((week, daily_of(week)) for week in context.partition_keys)


def failed_weeks(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    (event,) = result.filter_events(lambda event: event.is_step_failure)
    assert not result.filter_events(lambda event: event.is_step_up_for_retry)
    return event.step_failure_data.user_failure_data.metadata[FAILED_WEEKS].value


def test_a_week_that_violates_its_contract_fails_alone_and_keeps_its_file(
    lake: str, instance: dg.DagsterInstance
) -> None:
    run(lake, daily(valid_weeks), weeks=(FIRST, SECOND), instance=instance)
    before = files(lake)

    def give(context: dg.AssetExecutionContext) -> WeeklyFrames:
        entries = {FIRST: [5, 5], SECOND: [-5, 5], THIRD: [5, 5]}
        return WeeklyFrames((week, daily_of(week, entries=entries[week])) for week in context.partition_keys)

    result = run(lake, daily(give), weeks=(FIRST, THIRD), instance=instance, raise_on_error=False)
    [(week, reason)] = failed_weeks(result).items()
    assert week == SECOND
    assert f"lake/complex_daily of the week {SECOND}" in reason
    assert "complex_daily.entries must be at least 0: 1 row\n  complex_id=611 service_date=2024-01-06" in reason
    assert f"week {SECOND}: " in failure(result)
    after = files(lake)
    assert {path for path in after if after[path] == before.get(path)} == {
        f"/lake/complex_daily/week={SECOND}/part-0.parquet"
    }
    assert len(after) == 3
    assert {record.partition_key for record in instance.fetch_materializations(DAILY, limit=9).records} == {
        FIRST,
        SECOND,
        THIRD,
    }
    of_the_run = [r for r in instance.fetch_materializations(DAILY, limit=9).records if r.run_id == result.run_id]
    assert sorted(record.partition_key for record in of_the_run) == [FIRST, THIRD]


@pytest.mark.parametrize(
    "broken",
    [
        {"entries": [None, 1]},
        {"complex_id": [611, 611]},
        {"complex_id": [None, None]},
        {"turnstile_seconds": [-1, 1]},
    ],
    ids=["null", "key", "key of nulls", "range"],
)
def test_a_single_week_that_violates_its_contract_is_named_and_writes_nothing(
    broken: dict[str, object], tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    give = daily(lambda _: daily_of(FIRST, **broken))
    result = run(str(tmp_path), give, partition_key=FIRST, instance=instance, raise_on_error=False)
    assert set(failed_weeks(result)) == {FIRST}
    assert files(str(tmp_path)) == {}


@pytest.mark.parametrize(
    "change",
    [lambda frame: frame.cast({"entries": pl.Int32}), lambda frame: frame.drop("exits")],
    ids=["type", "columns"],
)
def test_types_or_columns_that_differ_from_the_contract_fail_their_week(
    change: Callable[[pl.DataFrame], pl.DataFrame], tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    give = daily(lambda _: {FIRST: change(daily_of(FIRST)), SECOND: daily_of(SECOND)})
    result = run(str(tmp_path), give, weeks=(FIRST, SECOND), instance=instance, raise_on_error=False)
    assert set(failed_weeks(result)) == {FIRST}
    assert set(files(str(tmp_path))) == {f"/lake/complex_daily/week={SECOND}/part-0.parquet"}


def test_weeks_that_fail_in_the_asset_and_in_the_io_manager_are_named_together(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    def frames() -> Iterator[WeekOutput]:
        yield WeekOutput(FIRST, daily_of(FIRST, entries=-1))
        yield WeekOutput(SECOND, daily_of(SECOND))
        FailedWeeks({THIRD: "a web page"}).raise_if_any()

    give = daily(lambda _: WeeklyFrames(frames()))
    result = run(str(tmp_path), give, weeks=(FIRST, THIRD), instance=instance, raise_on_error=False)
    assert set(failed_weeks(result)) == {FIRST, THIRD}
    assert failed_weeks(result)[THIRD] == "a web page"
    assert set(recorded(instance, DAILY)) == {SECOND}


def test_a_failed_week_that_is_returned_again_is_refused(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    give = daily(lambda _: WeeklyFrames([(FIRST, daily_of(FIRST, entries=-1)), (FIRST, daily_of(FIRST))]))
    result = run(str(tmp_path), give, weeks=(FIRST, SECOND), instance=instance, raise_on_error=False)
    assert f"returned the week {FIRST} twice" in failure(result)


def test_a_table_without_weeks_that_violates_its_contract_fails_and_keeps_its_file(
    lake: str, instance: dg.DagsterInstance
) -> None:
    frame = complexes.control_areas()

    @dg.asset(key=["lake", "control_areas"], retry_policy=dg.RetryPolicy(max_retries=1))
    def control_areas() -> pl.DataFrame:
        return frame

    run(lake, control_areas, instance=instance)
    before = files(lake)
    frame = pl.concat([frame, frame.head(1)])
    result = run(lake, control_areas, instance=instance, raise_on_error=False)
    assert "lake/control_areas violates its contract" in failure(result)
    assert "control_areas.control_area, unit must identify one row, but identifies several: 2 rows" in failure(result)
    assert not result.filter_events(lambda event: event.is_step_up_for_retry)
    assert files(lake) == before


def test_an_asset_key_other_than_layer_and_table_is_refused(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    @dg.asset
    def readings() -> pl.DataFrame:
        return readings_of(FIRST)

    result = run(str(tmp_path), readings, instance=instance, raise_on_error=False)
    assert "readings: the asset key of a table must be [layer, table]" in failure(result)


# --- inputs ---


def take(
    annotation: Any, receive: Callable[[Any], None], *, mapping: dg.PartitionMapping | None = None, **options: Any
) -> dg.AssetsDefinition:
    """The asset lake/traffic, which passes its input with that annotation to `receive`."""

    def traffic(readings: Any) -> None:
        receive(readings)

    traffic.__annotations__["readings"] = annotation
    return dg.asset(
        key=TRAFFIC,
        partitions_def=calendar,
        backfill_policy=one_run,
        ins={"readings": dg.AssetIn(READINGS, partition_mapping=mapping)},
        **options,
    )(traffic)


FRAMES = [pl.DataFrame, pl.LazyFrame, pa.Table, pd.DataFrame]


@pytest.mark.parametrize("annotation", FRAMES, ids=lambda kind: f"{kind.__module__.split('.')[0]}.{kind.__name__}")
def test_an_input_has_the_type_of_its_annotation(annotation: type, lake: str, instance: dg.DagsterInstance) -> None:
    def receive_one(frame: Any) -> None:
        assert isinstance(frame, annotation)
        assert_frame_equal(to_polars(frame), readings_of(SECOND))

    def receive_many(frame: Any) -> None:
        assert isinstance(frame, annotation)
        expected = [readings_of(week).with_columns(week=pl.lit(week_start(week))) for week in (FIRST, SECOND)]
        assert_frame_equal(to_polars(frame).cast({"week": pl.Date}), pl.concat(expected))

    run(lake, weekly(streamed), weeks=(FIRST, THIRD), instance=instance)
    source = weekly(streamed).to_source_asset()
    run(lake, source, take(annotation, receive_one), partition_key=SECOND, instance=instance)
    run(lake, source, take(annotation, receive_many), weeks=(FIRST, SECOND), instance=instance)
    run(lake, source, take(annotation, receive_many, mapping=with_carry_in), partition_key=SECOND, instance=instance)


def test_a_lazy_input_from_a_directory_reads_only_the_requested_columns(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    def receive(frame: pl.LazyFrame) -> None:
        assert "PROJECT 1/3 COLUMNS" in frame.select("unit").explain()
        assert str(tmp_path) in frame.explain()

    run(str(tmp_path), weekly(streamed), take(pl.LazyFrame, receive), partition_key=FIRST, instance=instance)


@pytest.mark.parametrize("weeks", [(FIRST, FIRST), (SECOND, SECOND), (FIRST, WEEKS[-1]), (SECOND, THIRD)])
def test_a_window_has_every_week_of_the_run_and_the_week_before(
    weeks: tuple[str, str], lake: str, instance: dg.DagsterInstance
) -> None:
    def receive(readings: WeeklyInputs) -> None:
        for week in weeks_between(*weeks):
            before = readings.get(week_before(week))
            if week == FIRST:
                assert before is None
            else:
                assert_frame_equal(before, readings_of(week_before(week)))
            assert_frame_equal(readings[week], readings_of(week))
        assert list(readings) == [week for week in weeks_between(week_before(weeks[0]), weeks[1]) if week >= FIRST]

    run(lake, weekly(streamed), weeks=(FIRST, WEEKS[-1]), instance=instance)
    source = weekly(streamed).to_source_asset()
    run(lake, source, take(WeeklyInputs, receive, mapping=with_carry_in), weeks=weeks, instance=instance)


def test_a_carry_in_that_is_not_in_the_lake_is_none_and_no_error(lake: str, instance: dg.DagsterInstance) -> None:
    def receive(readings: WeeklyInputs) -> None:
        assert readings.weeks == (SECOND, THIRD)
        assert readings.get(SECOND) is None
        assert SECOND not in readings
        assert [week for week, _ in readings.items()] == [THIRD]
        assert len(readings) == 1
        with pytest.raises(dg.Failure, match=f"staged/readings has no data for the week {SECOND}"):
            readings[SECOND]

    readings = weekly(streamed)
    run(lake, readings, take(WeeklyInputs, receive, mapping=with_carry_in), partition_key=THIRD, instance=instance)


def test_a_week_outside_of_the_window_is_an_error_and_not_a_missing_carry_in(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    def receive(readings: WeeklyInputs) -> None:
        readings.get(FIRST)

    readings = weekly(streamed)
    result = run(
        str(tmp_path),
        readings,
        take(WeeklyInputs, receive),
        partition_key=SECOND,
        instance=instance,
        raise_on_error=False,
    )
    assert f"Week {FIRST} is not one of the weeks that the input's partition mapping selects" in failure(result)


def test_a_week_from_before_a_column_was_added_is_read_with_that_column(
    lake: str, instance: dg.DagsterInstance
) -> None:
    key = dg.AssetKey([TURNSTILE_READINGS.layer, TURNSTILE_READINGS.name])
    read_at = [dt.datetime.fromisoformat(at) for at in ("2024-03-09 23:00", "2024-03-10 03:00")]
    old = pl.DataFrame({"read_at": read_at, "source_line": [2, 3]}, schema_overrides={"read_at": pl.Datetime("us")})
    path = part_path(lake, TURNSTILE_READINGS.layer, TURNSTILE_READINGS.name, THIRD)
    write_atomically(path, to_parquet(old))

    @dg.asset(partitions_def=calendar, ins={"readings": dg.AssetIn(key)})
    def traffic(readings: WeeklyInputs) -> None:
        assert readings.only(["read_at", "utc_offset"])[THIRD]["utc_offset"].to_list() == [-5, -4]
        assert readings[THIRD].columns == ["read_at", "source_line", "utc_offset"]

    run(lake, dg.AssetSpec(key, partitions_def=calendar), traffic, partition_key=THIRD, instance=instance)


def test_a_window_reads_each_week_once_and_keeps_the_last_two() -> None:
    read: list[str] = []

    def scan(week: str) -> pl.LazyFrame:
        read.append(week)
        return readings_of(week).lazy()

    readings = WeeklyInputs(WEEKS, FIRST, scan, lambda week: None, lambda week: True)
    assert read == []
    for week in WEEKS[:-1]:
        assert readings[week].equals(readings_of(week))
        assert readings[week_after(week)] is readings[week_after(week)]
    assert read == WEEKS
    assert readings[FIRST].equals(readings_of(FIRST))
    assert read == [*WEEKS, FIRST]


@pytest.mark.parametrize("annotation", FRAMES, ids=lambda kind: f"{kind.__module__.split('.')[0]}.{kind.__name__}")
def test_a_missing_input_names_what_to_materialize_and_is_not_retried(
    annotation: type, lake: str, instance: dg.DagsterInstance
) -> None:
    downstream = take(annotation, lambda _: None, retry_policy=dg.RetryPolicy(max_retries=1))
    source = weekly(streamed).to_source_asset()
    result = run(lake, source, downstream, partition_key=SECOND, instance=instance, raise_on_error=False)
    path = part_path(lake, "staged", "readings", SECOND)
    assert f"staged/readings has no data for the week {SECOND}: {path} does not exist. Materialize it" in failure(
        result
    )
    assert not result.filter_events(lambda event: event.is_step_up_for_retry)


def test_an_annotation_that_is_not_a_frame_is_refused(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    downstream = take(int, lambda _: None)
    result = run(
        str(tmp_path), weekly(streamed), downstream, partition_key=FIRST, instance=instance, raise_on_error=False
    )
    assert "annotate a Polars, pyarrow or pandas frame, or WeeklyInputs" in failure(result)


def test_a_check_of_a_week_reads_that_week(lake: str, instance: dg.DagsterInstance) -> None:
    @dg.asset_check(asset=READINGS, partitions_def=calendar, blocking=True)
    def readings_are_as_made(context: dg.AssetCheckExecutionContext, readings: pl.DataFrame) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=readings.equals(readings_of(SECOND)))

    result = run(lake, weekly(streamed), readings_are_as_made, partition_key=SECOND, instance=instance)
    assert [evaluation.passed for evaluation in result.get_asset_check_evaluations()] == [True]


# --- two tables of one step ---


def test_a_step_with_two_tables_streams_the_first_and_may_collect_the_second(
    lake: str, instance: dg.DagsterInstance
) -> None:
    rejects: dict[str, WeekOutput] = {}

    @dg.multi_asset(
        outs={"readings": dg.AssetOut(key=READINGS), "rejects": dg.AssetOut(key=["staged", "rejects"])},
        partitions_def=calendar,
        backfill_policy=one_run,
    )
    def staged(context: dg.AssetExecutionContext) -> Iterator[dg.Output]:
        def readings() -> Iterator[WeekOutput]:
            for week in context.partition_keys:
                rejects[week] = WeekOutput(week, readings_of(week)[:1])
                yield WeekOutput(week, readings_of(week)[1:])

        yield dg.Output(WeeklyFrames(readings()), "readings")
        yield dg.Output(WeeklyFrames(rejects.values()), "rejects")

    run(lake, staged, weeks=(FIRST, SECOND), instance=instance)
    assert len(files(lake)) == 4
    assert recorded(instance)[SECOND]["dagster/partition_row_count"] == 2
    assert recorded(instance, dg.AssetKey(["staged", "rejects"]))[SECOND]["dagster/partition_row_count"] == 1
