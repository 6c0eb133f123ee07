"""Dagster behaviour that the IO manager relies on, partly undocumented. An incompatible upgrade must fail here."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.plan.execute_step import _get_output_asset_events

from mta_pipeline.orchestration.dagster_internals import add_week_metadata, materializations, record_only
from mta_pipeline.weeks import weeks_between

WEEKS = weeks_between("2023-12-30", "2024-01-13")
FIRST, SECOND, THIRD = WEEKS
calendar = dg.WeeklyPartitionsDefinition(start_date=FIRST, end_date="2024-03-02", day_offset=6)
READINGS = dg.AssetKey("readings")


class Probe(dg.ConfigurableIOManager):
    """An IO manager whose behaviour a test provides."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> Iterator[dg.DagsterEvent]:
        yield from obj(context)

    def load_input(self, context: dg.InputContext) -> Any:
        return context


def nothing(context: dg.OutputContext) -> tuple[()]:
    return ()


def weekly(give: Callable[[], Any], **options: Any) -> dg.AssetsDefinition:
    @dg.asset(partitions_def=calendar, backfill_policy=dg.BackfillPolicy.single_run(), **options)
    def readings():
        return give()

    return readings


def downstream(take: Callable[..., Any], annotation: Any, *, ins: dg.AssetIn | None = None, **options: Any) -> Any:
    def traffic(readings: Any) -> None:
        take(readings)

    traffic.__annotations__["readings"] = annotation
    return dg.asset(
        partitions_def=calendar,
        backfill_policy=dg.BackfillPolicy.single_run(),
        ins={"readings": ins or dg.AssetIn()},
        io_manager_key="nowhere",
        **options,
    )(traffic)


def run(
    *assets: Any,
    instance: dg.DagsterInstance | None = None,
    weeks: tuple[str, str] = (FIRST, THIRD),
    io_manager: Any = None,
    **options: Any,
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [*assets],
        resources={"io_manager": io_manager or Probe(), "nowhere": dg.mem_io_manager},
        tags={"dagster/asset_partition_range_start": weeks[0], "dagster/asset_partition_range_end": weeks[1]},
        instance=instance or dg.DagsterInstance.ephemeral(),
        **options,
    )


def recorded(result: dg.ExecuteInProcessResult) -> list[dg.AssetMaterialization]:
    return [event.materialization for event in result.get_asset_materialization_events()]


# --- events and metadata of a range ---


def test_a_successful_step_records_every_week_of_its_range_once() -> None:
    assert [event.partition for event in recorded(run(weekly(lambda: nothing)))] == WEEKS


def test_metadata_of_one_week_can_be_added_in_handle_output() -> None:
    def handle(context: dg.OutputContext) -> tuple[()]:
        add_week_metadata(context, SECOND, {"rows": 7})
        return ()

    events = recorded(run(weekly(lambda: dg.Output(handle, metadata={"layout": "modern"}))))
    assert [set(event.metadata) for event in events] == [{"layout"}, {"layout", "rows"}, {"layout"}]


def test_a_successful_step_can_record_some_weeks_only() -> None:
    def handle(context: dg.OutputContext) -> tuple[()]:
        record_only(context, [FIRST, THIRD])
        return ()

    assert [event.partition for event in recorded(run(weekly(lambda: handle)))] == [FIRST, THIRD]


@pytest.mark.parametrize("has_weeks", [True, False], ids=["weekly", "without weeks"])
def test_a_successful_step_can_record_nothing_and_downstream_steps_run(has_weeks: bool) -> None:
    def handle(context: dg.OutputContext) -> tuple[()]:
        record_only(context, [])
        return ()

    @dg.asset(name="readings")
    def whole():
        return handle

    taken: list[Any] = []
    result = run(weekly(lambda: handle) if has_weeks else whole, downstream(taken.append, Any))
    assert [event.asset_key for event in recorded(result)] == [dg.AssetKey("traffic")] * 3
    assert len(taken) == 1


def fail_after_the_first_week(context: dg.OutputContext) -> Iterator[dg.DagsterEvent]:
    add_week_metadata(context, FIRST, {"rows": 7})
    yield from materializations(context, [FIRST])
    raise ValueError


def fail(context: dg.OutputContext) -> tuple[()]:
    raise ValueError


def test_a_failed_step_records_only_what_the_io_manager_yields() -> None:
    assert recorded(run(weekly(lambda: fail), raise_on_error=False)) == []

    (event,) = recorded(run(weekly(lambda: fail_after_the_first_week), raise_on_error=False))
    assert event.partition == FIRST
    assert event.metadata["rows"].value == 7


def test_an_event_yielded_by_the_io_manager_equals_the_event_of_a_successful_step() -> None:
    def succeed(context: dg.OutputContext) -> tuple[()]:
        add_week_metadata(context, FIRST, {"rows": 7})
        return ()

    def events(handle: Callable[..., Any]) -> list[dg.AssetMaterialization]:
        asset = weekly(lambda: dg.Output(handle, metadata={"layout": "modern"}), code_version="1")
        return recorded(run(asset, raise_on_error=False))

    (own,) = events(fail_after_the_first_week)
    assert own == events(succeed)[0]
    assert "dagster/data_version" in own.tags


def test_the_private_function_that_makes_the_events_has_the_expected_parameters() -> None:
    assert list(_get_output_asset_events.__annotations__) == [
        "asset_key",
        "asset_partitions",
        "output",
        "output_def",
        "io_manager_metadata",
        "step_context",
        "execution_type",
        "return",
    ]


# --- outputs: reasons for WeeklyFrames and AssetOut ---


def test_a_bare_generator_is_treated_as_events() -> None:
    result = run(weekly(lambda: (week for week in WEEKS)), raise_on_error=False)
    (event,) = result.filter_events(lambda event: event.is_step_failure)
    assert "yielded a value of type <class 'str'>" in event.step_failure_data.error.to_string()


def test_tables_declared_as_specs_do_not_reach_the_io_manager() -> None:
    @dg.multi_asset(specs=[dg.AssetSpec("readings"), dg.AssetSpec("rejects")])
    def staged(): ...

    assert {output.dagster_type.display_name for output in staged.op.output_defs} == {"Nothing"}


@pytest.mark.parametrize("many", [False, True], ids=["asset", "multi_asset"])
def test_the_declared_columns_are_available_in_handle_output(many: bool) -> None:
    schema = dg.TableSchema([dg.TableColumn("unit")])
    seen: list[Any] = []

    def handle(context: dg.OutputContext) -> tuple[()]:
        seen.append(context.definition_metadata["dagster/column_schema"])
        return ()

    metadata = {"dagster/column_schema": schema}

    @dg.multi_asset(outs={"readings": dg.AssetOut(metadata=metadata)}, partitions_def=calendar)
    def staged():
        return handle

    run(staged if many else weekly(lambda: handle, metadata=metadata))
    assert [[column.name for column in declared.columns] for declared in seen] == [["unit"]]


# --- inputs: reasons for WeeklyInputs ---


class Window:
    """A custom class used as an annotation."""


def test_an_annotated_class_reaches_the_io_manager_unchanged() -> None:
    kinds: list[Any] = []

    class Typed(Probe):
        def load_input(self, context: dg.InputContext) -> Any:
            kinds.append(context.dagster_type.typing_type)
            return Window()

    run(weekly(lambda: nothing), downstream(lambda _: None, Window), io_manager=Typed())
    assert kinds == [Window]


def test_an_input_annotated_as_a_mapping_must_be_a_dict() -> None:
    from types import MappingProxyType  # noqa: PLC0415

    class Mapped(Probe):
        def load_input(self, context: dg.InputContext) -> Any:
            return MappingProxyType({})

    result = run(
        weekly(lambda: nothing),
        downstream(lambda _: None, Mapping[str, int]),
        io_manager=Mapped(),
        raise_on_error=False,
    )
    (event,) = result.filter_events(lambda event: event.is_step_failure)
    assert "Value should be a dict" in event.step_failure_data.error.to_string()


def test_a_window_that_reaches_before_the_calendar_is_cut_at_its_start() -> None:
    taken: list[tuple[list[str], str | None]] = []

    def take(context: dg.InputContext) -> None:
        taken.append((list(context.asset_partition_keys), context.asset_partitions_def.get_first_partition_key()))

    window = dg.AssetIn(partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=0))
    for weeks in ((FIRST, FIRST), (THIRD, THIRD), (SECOND, THIRD)):
        run(weekly(lambda: nothing), downstream(take, Any, ins=window), weeks=weeks)
    assert taken == [([FIRST], FIRST), ([SECOND, THIRD], FIRST), (WEEKS, FIRST)]


def test_a_failure_in_load_input_is_not_retried_if_it_does_not_allow_retries() -> None:
    class Missing(Probe):
        def load_input(self, context: dg.InputContext) -> Any:
            raise dg.Failure("materialize it first", allow_retries=False)

    result = run(
        weekly(lambda: nothing),
        downstream(lambda _: None, Any, retry_policy=dg.RetryPolicy(max_retries=1)),
        io_manager=Missing(),
        raise_on_error=False,
    )
    (event,) = result.filter_events(lambda event: event.is_step_failure)
    assert event.step_failure_data.error.message.endswith("events.Failure: materialize it first\n")
    assert not result.filter_events(lambda event: event.is_step_up_for_retry)


# --- the reason for an own IO manager ---


class Files(dg.UPathIOManager):
    """Dagster's own base class for file IO managers."""

    extension = ".txt"

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: Any) -> None:
        path.write_text(obj)

    def load_from_path(self, context: dg.InputContext, path: Any) -> str:
        return str(path.read_text())


def test_dagsters_own_file_io_manager_still_refuses_a_range_in_one_run(tmp_path: Path) -> None:
    from upath import UPath  # noqa: PLC0415

    files = Files(UPath(tmp_path))
    result = run(weekly(lambda: "readings"), io_manager=files, raise_on_error=False)
    (event,) = result.filter_events(lambda event: event.is_step_failure)
    assert "The current IO manager" in event.step_failure_data.error.to_string()
