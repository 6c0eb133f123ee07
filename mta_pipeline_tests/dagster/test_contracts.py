"""Every table that the project writes has a contract, and a run over everything conforms to all contracts."""

import datetime as dt

import polars as pl
import pytest
import stamina

from mta_pipeline.components import declared_data_sets
from mta_pipeline.lake.validation import violations
from mta_pipeline.orchestration.keys import HOURLY_JOB, MARTS_JOB
from mta_pipeline.orchestration.resources.soda import SodaPortal
from mta_pipeline.orchestration.specs import contract_of
from mta_pipeline.sample import Faults, SampleFeed
from mta_pipeline.sample.hourly import data_sets
from mta_pipeline.sample.portal import Portal, serve
from mta_pipeline.settings import Settings
from mta_pipeline.weeks import week_after
from mta_pipeline_tests.dagster.project import Project, failure_of
from mta_pipeline_tests.support.contracts import contracts

FIRST = "2024-01-27"
SECOND = week_after(FIRST)
FAULTY = Faults(resets=0.1, jumps=0.1, long_gaps=0.2, recovered=0.2, extra_audits=0.2, duplicates=0.1)


@pytest.mark.slow
def test_every_table_of_a_sample_run_conforms_to_its_contract_and_there_are_no_others(
    many_runs, short_calendar, tmp_path
):
    feed = SampleFeed(5, 20, FIRST, faults=FAULTY)
    with serve(Portal(data_sets(feed.hourly([FIRST, SECOND])))) as portal, stamina.set_testing(True, attempts=2):
        settings = Settings(
            feed=str(tmp_path / "feed"),
            lake_root=str(tmp_path / "lake"),
            soda=portal.url,
            last_week=dt.date.fromisoformat(SECOND),
        )
        project = Project(tmp_path, resources={"soda": SodaPortal(portal.url)}, settings=settings)
        feed.write(project.feed, [FIRST, SECOND])
        for weeks, job in (((FIRST, SECOND), None), ((FIRST, SECOND), HOURLY_JOB), ((), MARTS_JOB)):
            result = project.run(*weeks, **({"job": job} if job else {}))
            assert result.success, failure_of(result)
        for component in declared_data_sets():
            name = component.data_set.table
            keys = [key for key in project.defs.resolve_asset_graph().get_all_asset_keys() if name in key.path[1]]
            job = project.defs.get_repository_def().get_implicit_job_def_for_assets(keys)
            made = job.get_subset(asset_selection={*keys}).execute_in_process(
                instance=project.instance,
                partition_key=FIRST if component.data_set.is_weekly else None,
                raise_on_error=False,
            )
            assert made.success, failure_of(made)
    written = {
        (path.relative_to(project.lake).parts[:2]): pl.read_parquet(path)
        for path in project.lake.rglob("part-0.parquet")
    }
    assert set(written) == set(contracts())
    for key, rows in written.items():
        assert violations(rows, contracts()[key]) == []


def test_every_asset_that_the_io_manager_writes_has_a_contract(tmp_path):
    graph = Project(tmp_path).defs.resolve_asset_graph()
    tables = {tuple(key.path) for key in graph.get_all_asset_keys() if "parquet" in graph.get(key).kinds}
    assert tables == set(contracts())
    known = {tuple(key.path): contract_of(key) for key in graph.get_all_asset_keys()}
    assert {key: known[key] for key in tables} == contracts()
