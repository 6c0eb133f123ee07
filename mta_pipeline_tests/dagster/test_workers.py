"""A run whose process is gone is ended. All other runs continue."""

import io
import os
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.events import EngineEventData
from dagster._core.launcher.base import WorkerStatus
from dagster._core.test_utils import create_run_for_test
from dagster._core.utils import make_new_run_id
from rich.console import Console

from mta_pipeline.cli.run import record_complete, run_weeks
from mta_pipeline.orchestration.dagster_internals import in_code_location
from mta_pipeline.orchestration.keys import (
    CODE_LOCATION,
    PROCESS_ID,
    RAW_KEY,
    REFERENCE_JOB,
    SHOWN_PROCESS_ID,
    WEEKLY_KEYS,
    asset_key,
)
from mta_pipeline.orchestration.run_records import latest_metadata
from mta_pipeline.run_launchers.local import MonitoredRunLauncher, fail_dead_runs
from mta_pipeline.settings import Settings
from mta_pipeline.turnstile.complexes import control_areas
from mta_pipeline.turnstile.contract import CONTROL_AREAS, TURNSTILE_READINGS
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.dagster.project import WEEKS


@pytest.fixture
def instance(tmp_path):
    """Dagster's records, configured by the repository's dagster.yaml."""
    (tmp_path / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


@pytest.fixture
def gone_pid():
    """A process id above every system's limit, so that no process has it."""
    return 2**31 - 1


def started_run(instance, *pids):
    run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    for pid in pids:
        instance.report_engine_event("Executing steps in process", run, EngineEventData.in_process(pid))
    return run


def test_a_run_whose_process_is_gone_is_failed_with_the_reason(instance, gone_pid):
    dead, alive, unknown = started_run(instance, gone_pid), started_run(instance, os.getpid()), started_run(instance)
    assert fail_dead_runs(instance) == [dead.run_id]
    assert instance.get_run_by_id(dead.run_id).status is dg.DagsterRunStatus.FAILURE
    assert "process is gone" in instance.all_logs(dead.run_id)[-1].message
    for run in (alive, unknown):
        assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.STARTED
    assert fail_dead_runs(instance) == []


def test_a_run_of_the_terminal_that_could_not_be_started_is_failed_when_its_process_is_gone(instance, gone_pid):
    def created(pid, of_run=None, tag=PROCESS_ID):
        run_id = make_new_run_id()
        return create_run_for_test(instance, run_id=run_id, tags={tag: f"{of_run or run_id}/{pid}"})

    dead, older, alive = created(gone_pid), created(gone_pid, tag=SHOWN_PROCESS_ID), created(os.getpid())
    copied = created(gone_pid, of_run=dead.run_id)
    assert set(fail_dead_runs(instance)) == {dead.run_id, older.run_id}
    assert instance.get_run_by_id(dead.run_id).status is dg.DagsterRunStatus.FAILURE
    for run in (alive, copied):
        assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.NOT_STARTED


def test_a_retried_run_with_a_new_process_is_alive(instance, gone_pid):
    started_run(instance, gone_pid, os.getpid())
    assert fail_dead_runs(instance) == []


def test_run_monitoring_asks_the_configured_launcher_for_the_health_of_runs(instance, gone_pid):
    assert isinstance(instance.run_launcher, MonitoredRunLauncher)
    assert instance.run_monitoring_enabled
    assert instance.run_launcher.supports_check_run_worker_health
    health = [
        instance.run_launcher.check_run_worker_health(started_run(instance, pid)).status
        for pid in (gone_pid, os.getpid())
    ]
    assert health == [WorkerStatus.FAILED, WorkerStatus.RUNNING]


def test_dagster_yaml_limits_runs_and_retries_crashed_ones():
    settings = yaml.safe_load(Path(REPOSITORY / "dagster.yaml").read_text())
    assert settings["concurrency"]["pools"] == {"default_limit": 1, "granularity": "run"}
    assert settings["run_retries"] == {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False}


def test_every_weekly_asset_is_in_the_pool(project):
    assets = project.defs.resolve_asset_graph()
    for key in WEEKLY_KEYS:
        assert assets.get(key).pools == {"weeks"}


def test_what_is_complete_in_the_lake_is_recorded_once_in_the_catalogue_with_its_figures(project, instance):
    project.load_weeks_until(WEEKS[-1])
    for _ in range(2):
        record_complete(instance, str(project.lake), WEEKS)
    for key in WEEKLY_KEYS:
        assert instance.get_materialized_partitions(key) == set(WEEKS)
        assert len(instance.fetch_materializations(key, limit=10).records) == len(WEEKS)
    assert latest_metadata(instance, RAW_KEY, WEEKS[0])["sha256"].value == project.raw.manifest(WEEKS[0]).sha256
    readings = latest_metadata(instance, asset_key(TURNSTILE_READINGS), WEEKS[0])
    assert readings["dagster/partition_row_count"].value == 42
    [reference] = instance.fetch_materializations(asset_key(CONTROL_AREAS), limit=10).records
    assert reference.asset_materialization.metadata["dagster/row_count"].value == control_areas().height


def test_runs_of_the_terminal_belong_to_the_code_location_and_dagster_does_not_retry_them(instance, tmp_path):
    workspace = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())
    assert workspace["load_from"][0]["python_module"]["location_name"] == CODE_LOCATION
    settings = Settings(feed=str(tmp_path), lake_root=str(tmp_path / "lake"))
    run_weeks(settings, [], in_code_location(instance, CODE_LOCATION), Console(file=io.StringIO()))
    label = {".dagster/repository": f"__repository__@{CODE_LOCATION}"}
    [run] = instance.get_runs(dg.RunsFilter(job_name=REFERENCE_JOB, tags=label))
    assert run.remote_job_origin.location_name == CODE_LOCATION
    assert {key: value for key, value in run.tags.items() if not key.startswith(".dagster/")} == {
        "dagster/code_location": CODE_LOCATION,
        "dagster/max_retries": "0",
    }
