"""Dagster behaviour that assets, checks, automation and the command line rely on, partly undocumented.

An incompatible upgrade must fail here. For the IO manager see test_io_behaviour.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dagster as dg
import pytest

from mta_pipeline.weeks import weeks_between

WEEKS = weeks_between("2023-12-30", "2024-01-13")
FIRST, SECOND, THIRD = WEEKS
# It ends long before today, so the latest time window is none of the weeks in the tests.
calendar = dg.WeeklyPartitionsDefinition(start_date=FIRST, end_date="2024-03-02", day_offset=6)
RANGE = {"dagster/asset_partition_range_start": FIRST, "dagster/asset_partition_range_end": THIRD}
FEED = dg.AssetKey("feed")
READINGS = dg.AssetKey("readings")
TRAFFIC = dg.AssetKey("traffic")
weekly = {"partitions_def": calendar, "backfill_policy": dg.BackfillPolicy.single_run()}

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster_shared.utils.warnings.BetaWarning"),
    pytest.mark.filterwarnings("ignore::dagster_shared.utils.warnings.PreviewWarning"),
]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run(
    defs: dg.Definitions, instance: dg.DagsterInstance, tags: Mapping[str, str] = RANGE, **options: Any
) -> dg.ExecuteInProcessResult:
    """Execute one run of all assets and checks, over the three weeks unless `tags` says otherwise."""
    job = defs.resolve_job_def("__ASSET_JOB")
    return job.execute_in_process(instance=instance, tags=dict(tags), raise_on_error=False, **options)


def failure_data(result: dg.ExecuteInProcessResult) -> Any:
    [event] = result.filter_events(lambda event: event.is_step_failure)
    return event.step_failure_data


# --- runs ---


def test_a_listener_receives_every_log_line_of_its_run_with_level_and_message(instance: dg.DagsterInstance) -> None:
    received: list[dg.EventLogEntry] = []

    @dg.asset
    def readings(context: dg.AssetExecutionContext) -> None:
        context.log.info("week 1 of 3")
        context.log.warning("no week before")

    instance.add_event_listener("8d0ba0d8-7b12-4d5c-9a30-000000000001", received.append)
    defs = dg.Definitions([readings])
    run(defs, instance, tags={}, run_id="8d0ba0d8-7b12-4d5c-9a30-000000000001")
    run(defs, instance, tags={})
    lines = [(int(entry.level), entry.user_message) for entry in received if not entry.is_dagster_event]
    assert lines == [(logging.INFO, "week 1 of 3"), (logging.WARNING, "no week before")]


def test_a_listener_still_receives_log_lines_if_the_console_is_silenced(instance: dg.DagsterInstance) -> None:
    received: list[dg.EventLogEntry] = []

    @dg.asset
    def readings(context: dg.AssetExecutionContext) -> None:
        context.log.info("week 1 of 3")

    instance.add_event_listener("8d0ba0d8-7b12-4d5c-9a30-000000000001", received.append)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    run(dg.Definitions([readings]), instance, {}, run_id="8d0ba0d8-7b12-4d5c-9a30-000000000001", run_config=quiet)
    assert [entry.user_message for entry in received if not entry.is_dagster_event] == ["week 1 of 3"]


def test_range_tags_make_one_run_of_an_asset_job_cover_every_week_of_the_range(instance: dg.DagsterInstance) -> None:
    seen: list[list[str]] = []

    @dg.asset(**weekly)
    def readings(context: dg.AssetExecutionContext) -> None:
        seen.append(list(context.partition_keys))

    defs = dg.Definitions([readings], jobs=[dg.define_asset_job("ridership", selection=[readings])])
    result = defs.resolve_job_def("ridership").execute_in_process(instance=instance, tags=RANGE)
    assert seen == [WEEKS]
    assert instance.get_materialized_partitions(READINGS) == set(WEEKS)
    assert result.dagster_run.tags.items() >= RANGE.items()


def test_an_optional_asset_without_output_skips_its_downstream_assets_and_the_run_succeeds(
    instance: dg.DagsterInstance,
) -> None:
    @dg.asset(output_required=False, **weekly)
    def readings() -> Iterator[dg.Output[None]]:
        yield from ()

    @dg.asset(deps=[readings], **weekly)
    def traffic() -> None: ...

    result = run(dg.Definitions([readings, traffic]), instance)
    assert result.success
    assert [event.step_key for event in result.filter_events(lambda event: event.is_step_skipped)] == ["traffic"]
    assert instance.get_materialized_partitions(READINGS) == set()


@pytest.mark.parametrize("reason", [RuntimeError("disk full"), dg.Failure("bad file", allow_retries=False)])
def test_a_logged_materialization_is_kept_if_its_step_fails(instance: dg.DagsterInstance, reason: Exception) -> None:
    @dg.asset(**weekly)
    def readings(context: dg.AssetExecutionContext) -> None:
        context.log_event(dg.AssetMaterialization(READINGS, partition=FIRST, metadata={"rows": 7}))
        raise reason

    assert not run(dg.Definitions([readings]), instance).success
    assert instance.get_materialized_partitions(READINGS) == {FIRST}


# --- failures ---


class Handling(dg.ConfigurableIOManager):
    """An IO manager that iterates over its output in handle_output, as ours does."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> Iterator[dg.DagsterEvent]:
        list(obj)
        yield from ()

    def load_input(self, context: dg.InputContext) -> None: ...


def test_a_failure_raised_in_handle_output_keeps_its_metadata_and_is_not_retried(
    instance: dg.DagsterInstance,
) -> None:
    class Weeks:
        def __iter__(self) -> Iterator[str]:
            yield FIRST
            raise dg.Failure("a bad week", metadata={"failed_weeks": {SECOND: "empty"}}, allow_retries=False)

    @dg.multi_asset(
        outs={"readings": dg.AssetOut(), "rejects": dg.AssetOut()},
        retry_policy=dg.RetryPolicy(max_retries=2),
        **weekly,
    )
    def staged() -> Iterator[dg.Output[Any]]:
        yield dg.Output(Weeks(), "readings")
        yield dg.Output([], "rejects")

    result = run(dg.Definitions([staged], resources={"io_manager": Handling()}), instance)
    failure = failure_data(result).user_failure_data
    assert failure.description == "a bad week"
    assert failure.metadata["failed_weeks"].value == {SECOND: "empty"}
    assert not result.filter_events(lambda event: event.is_step_up_for_retry)


def test_an_exception_other_than_failure_names_its_cause(instance: dg.DagsterInstance) -> None:
    @dg.asset
    def readings() -> None:
        raise OSError(28, "No space left", "/lake/part-0.parquet")

    data = failure_data(run(dg.Definitions([readings]), instance, tags={}))
    assert data.user_failure_data is None
    assert "/lake/part-0.parquet" in data.error.cause.message


# --- checks ---


def checked(results: Mapping[str, bool], *, blocking: bool = True) -> dg.Definitions:
    """readings, a check on it with these results per week, and traffic downstream of readings."""

    @dg.asset(**weekly)
    def readings() -> None: ...

    @dg.asset(deps=[readings], **weekly)
    def traffic() -> None: ...

    spec = dg.AssetCheckSpec("complete", asset=READINGS, blocking=blocking, partitions_def=calendar)

    @dg.multi_asset_check(specs=[spec])
    def check() -> Iterator[Any]:
        for week, passed in results.items():
            yield dg.AssetCheckEvaluation(
                asset_key=READINGS, check_name="complete", passed=passed, blocking=blocking, partition=week
            )
        yield dg.Output(None, output_name=spec.get_python_identifier())

    return dg.Definitions([readings, traffic], asset_checks=[check])


COMPLETE = dg.AssetCheckKey(READINGS, "complete")


def test_evaluations_are_kept_per_week_in_a_run_over_many_weeks(instance: dg.DagsterInstance) -> None:
    run(checked({FIRST: True, SECOND: False, THIRD: True}), instance)
    history = instance.event_log_storage.get_asset_check_execution_history(COMPLETE, limit=10)
    statuses = {record.partition: record.status.value for record in history if record.event}
    assert statuses == {FIRST: "SUCCEEDED", SECOND: "FAILED", THIRD: "SUCCEEDED"}


@pytest.mark.parametrize("tags", [RANGE, {"dagster/partition": SECOND}], ids=["range", "one week"])
def test_one_failed_blocking_evaluation_stops_downstream_assets(
    instance: dg.DagsterInstance, tags: Mapping[str, str]
) -> None:
    results = {week: week != SECOND for week in (WEEKS if tags is RANGE else [SECOND])}
    result = run(checked(results), instance, tags)
    assert not result.success
    assert "traffic" not in {event.step_key for event in result.all_events if event.is_step_start}
    assert instance.get_materialized_partitions(READINGS) == set(results)


def test_a_non_blocking_evaluation_stops_nothing(instance: dg.DagsterInstance) -> None:
    result = run(checked({FIRST: False}, blocking=False), instance)
    assert result.success
    assert instance.get_materialized_partitions(TRAFFIC) == set(WEEKS)


def test_a_failed_blocking_evaluation_that_is_logged_stops_nothing_and_is_recorded_as_blocking(
    instance: dg.DagsterInstance,
) -> None:
    """Checks log it, so that the other weeks of a run continue downstream."""

    @dg.asset(**weekly)
    def readings() -> None: ...

    @dg.asset(deps=[readings], **weekly)
    def traffic() -> None: ...

    spec = dg.AssetCheckSpec("complete", asset=READINGS, blocking=True, partitions_def=calendar)

    @dg.multi_asset_check(specs=[spec])
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[Any]:
        failed = dg.AssetCheckEvaluation(
            asset_key=READINGS, check_name="complete", passed=False, blocking=True, partition=SECOND
        )
        context.op_execution_context.log_event(failed)
        yield dg.Output(None, output_name=spec.get_python_identifier())

    result = run(dg.Definitions([readings, traffic], asset_checks=[check]), instance)
    assert result.success
    assert instance.get_materialized_partitions(TRAFFIC) == set(WEEKS)
    assert [(e.partition, e.blocking, e.passed) for e in result.get_asset_check_evaluations()] == [
        (SECOND, True, False)
    ]


def test_the_definitions_of_a_run_have_only_the_checks_and_assets_that_it_selects() -> None:
    """This is why the metadata of a weekly asset names the blocking checks upstream."""
    job = checked({}).resolve_job_def("__ASSET_JOB")
    downstream = job.get_subset(asset_selection={TRAFFIC}).asset_layer
    assert not downstream.asset_graph.get(READINGS).check_keys
    upstream = job.get_subset(asset_selection={READINGS}).asset_layer
    assert TRAFFIC not in upstream.selected_asset_keys
    assert upstream.asset_graph.get(READINGS).check_keys == {COMPLETE}
    without_checks = job.get_subset(asset_selection={READINGS}, asset_check_selection=set()).asset_layer
    assert not without_checks.asset_graph.get(READINGS).check_keys


def test_a_plain_check_result_loses_its_week_in_a_run_over_many_weeks(instance: dg.DagsterInstance) -> None:
    """This is why checks yield evaluations."""

    @dg.asset(**weekly)
    def readings() -> None: ...

    @dg.asset_check(asset=readings, partitions_def=calendar)
    def complete() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    result = run(dg.Definitions([readings], asset_checks=[complete]), instance)
    assert [evaluation.partition for evaluation in result.get_asset_check_evaluations()] == [None]


def test_the_asset_graph_knows_the_weeks_of_a_check() -> None:
    graph = checked({}).resolve_asset_graph()
    assert graph.get(COMPLETE).partitions_def == calendar


# --- the catalogue ---


def test_the_asset_graph_knows_the_column_schema() -> None:
    schema = dg.TableSchema([dg.TableColumn("unit", description="Remote unit.")])

    @dg.multi_asset(outs={"readings": dg.AssetOut(metadata={"dagster/column_schema": schema})})
    def staged() -> None: ...

    node = dg.Definitions([staged]).resolve_asset_graph().get(READINGS)
    assert node.metadata["dagster/column_schema"] == schema


# --- automation ---


class Automated:
    """A feed with a data version per week, readings downstream of it, and automation ticks."""

    def __init__(self, instance: dg.DagsterInstance, *, observes_landed_weeks: bool = False) -> None:
        self.versions: dict[str, str] = {}
        self._instance = instance
        self._cursor: Any = None

        @dg.observable_source_asset(partitions_def=calendar)
        def feed() -> dg.DataVersionsByPartition:
            return dg.DataVersionsByPartition(dict(self.versions))

        condition = dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window())

        @dg.asset(deps=[feed], automation_condition=condition, **weekly)
        def readings(context: dg.AssetExecutionContext) -> None:
            if observes_landed_weeks:
                for week in context.partition_keys:
                    tags = {"dagster/data_version": self.versions[week]}
                    context.log_event(dg.AssetObservation(FEED, partition=week, tags=tags))

        @dg.asset(deps=[readings], automation_condition=condition, **weekly)
        def traffic() -> None: ...

        self._defs = dg.Definitions([feed, readings, traffic])
        self._job: Callable[..., dg.ExecuteInProcessResult] = self._defs.resolve_job_def(
            "__ASSET_JOB"
        ).execute_in_process

    def observe(self, versions: Mapping[str, str]) -> None:
        self.versions |= versions
        assert self._job(instance=self._instance, asset_selection=[FEED]).success

    def land(self, first: str, last: str) -> None:
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        assert self._job(instance=self._instance, asset_selection=[READINGS, TRAFFIC], tags=tags).success

    def tick(self) -> dict[str, set[str]]:
        result = dg.evaluate_automation_conditions(self._defs, self._instance, cursor=self._cursor)
        self._cursor = result.cursor
        due = {key.to_user_string(): result.get_requested_partitions(key) for key in (READINGS, TRAFFIC)}
        return {key: weeks for key, weeks in due.items() if weeks}


def test_data_versions_make_exactly_new_and_changed_weeks_and_their_downstream_assets_due(
    instance: dg.DagsterInstance,
) -> None:
    automated = Automated(instance)
    assert automated.tick() == {}
    automated.observe({FIRST: "a", SECOND: "a"})
    assert automated.tick() == {"readings": {FIRST, SECOND}, "traffic": {FIRST, SECOND}}
    automated.land(FIRST, SECOND)
    assert automated.tick() == {}
    automated.observe({FIRST: "a", SECOND: "b"})
    assert automated.tick() == {"readings": {SECOND}, "traffic": {SECOND}}


def test_a_requested_week_is_not_requested_again_while_it_has_not_landed(instance: dg.DagsterInstance) -> None:
    automated = Automated(instance)
    automated.tick()
    automated.observe({FIRST: "a"})
    assert automated.tick() == {"readings": {FIRST}, "traffic": {FIRST}}
    automated.observe({FIRST: "a"})
    assert automated.tick() == {}


@pytest.mark.parametrize("observed", [True, False], ids=["observed", "not observed"])
def test_an_observation_recorded_before_the_landing_keeps_the_week_from_being_due_again(
    instance: dg.DagsterInstance, observed: bool
) -> None:
    """Before a week has landed, the feed has no version of its contents. A later observation would find one."""
    automated = Automated(instance, observes_landed_weeks=observed)
    automated.tick()
    automated.observe({FIRST: "not landed"})
    automated.tick()
    automated.versions[FIRST] = "a"
    automated.land(FIRST, FIRST)
    assert automated.tick() == {}
    automated.observe({FIRST: "a"})
    assert automated.tick() == ({} if observed else {"readings": {FIRST}, "traffic": {FIRST}})
