"""Records written through connections that stay open are the same as Dagster's own records."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mta_pipeline.orchestration.event_log import OpenSqliteEventLog, with_open_connections
from mta_pipeline.orchestration.run_records import range_tags

KEY = dg.AssetKey(["layer", "table"])
WEEKS = ("2024-01-06", "2024-01-27")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dagster's home after a run over a range of four weeks with a check."""
    path = tmp_path_factory.mktemp("home")
    weeks = dg.WeeklyPartitionsDefinition("2024-01-06", day_offset=6)

    @dg.asset(key=KEY, partitions_def=weeks, backfill_policy=dg.BackfillPolicy.single_run())
    def table() -> None: ...

    @dg.multi_asset_check(specs=[dg.AssetCheckSpec("sound", asset=KEY, partitions_def=weeks)])
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[Any]:
        yield dg.AssetCheckEvaluation(asset_key=KEY, check_name="sound", passed=True, metadata={}, partition=WEEKS[0])
        yield dg.Output(None, output_name="layer__table_sound")

    defs = dg.Definitions([table], asset_checks=[check], jobs=[dg.define_asset_job("all_of_it")])
    with with_open_connections(dg.DagsterInstance.local_temp(str(path))) as instance:
        assert isinstance(instance.event_log_storage, OpenSqliteEventLog)
        job = defs.resolve_job_def("all_of_it")
        assert job.execute_in_process(instance=instance, tags=range_tags(WEEKS)).success
    return path


def test_another_process_can_read_the_records(home):
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        [run] = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.SUCCESS
        assert instance.get_materialized_partitions(KEY) == {"2024-01-06", "2024-01-13", "2024-01-20", "2024-01-27"}
        checks = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(KEY, "sound"), limit=9)
        assert [check.partition for check in checks if check.status.value == "SUCCEEDED"] == [WEEKS[0]]


def test_another_process_can_write_at_the_same_time(home):
    with (
        with_open_connections(dg.DagsterInstance.local_temp(str(home))) as own,
        dg.DagsterInstance.local_temp(str(home)) as other,
    ):
        for week, instance in (("2024-02-03", own), ("2024-02-10", other), ("2024-02-17", own)):
            instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition=week))
        expected = {"2024-02-03", "2024-02-10", "2024-02-17"}
        assert expected < own.get_materialized_partitions(KEY) == other.get_materialized_partitions(KEY)


def test_records_outside_of_sqlite_files_are_not_changed():
    with dg.DagsterInstance.ephemeral() as instance:
        assert with_open_connections(instance) is instance
