"""Dagster's records with connections that stay open are Dagster's records."""

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
    """Dagster's home, once a range of four weeks was made in it, with a check."""
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


def test_another_process_reads_them_as_its_own(home):
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        [run] = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.SUCCESS
        assert instance.get_materialized_partitions(KEY) == {"2024-01-06", "2024-01-13", "2024-01-20", "2024-01-27"}
        checks = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(KEY, "sound"), limit=9)
        assert [check.partition for check in checks if check.status.value == "SUCCEEDED"] == [WEEKS[0]]


def test_another_process_may_write_meanwhile(home):
    with (
        with_open_connections(dg.DagsterInstance.local_temp(str(home))) as ours,
        dg.DagsterInstance.local_temp(str(home)) as theirs,
    ):
        for week, instance in (("2024-02-03", ours), ("2024-02-10", theirs), ("2024-02-17", ours)):
            instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition=week))
        expected = {"2024-02-03", "2024-02-10", "2024-02-17"}
        assert expected < ours.get_materialized_partitions(KEY) == theirs.get_materialized_partitions(KEY)


def test_records_that_are_not_in_sqlite_files_stay_as_they_are():
    with dg.DagsterInstance.ephemeral() as instance:
        assert with_open_connections(instance) is instance
