"""A damaged file is found by the daily check, and the sensor has it made again from its input."""

import io

import dagster as dg
import pytest
from rich.console import Console

from mta_pipeline.cli.run import bring_up_to_date
from mta_pipeline.lake.storage import part_path, report_path, write_atomically
from mta_pipeline.orchestration.automation.repairs import SENSOR
from mta_pipeline.orchestration.checks import files
from mta_pipeline.orchestration.keys import LAKE_INTACT, MARTS_JOB, REFERENCE_JOB, RIDERSHIP_JOB
from mta_pipeline.turnstile.contract import CONTROL_AREAS, TURNSTILE_TRAFFIC
from mta_pipeline_tests.dagster.automation import evaluate_standing_checks
from mta_pipeline_tests.dagster.project import WEEKS

FIRST, SECOND, LAST = WEEKS


@pytest.fixture
def loaded(project, monkeypatch):
    """A project with all weeks, in which it is every week's turn to be verified."""
    monkeypatch.setattr(files, "is_turn_of", lambda *_: True)
    project.load_weeks_until(LAST)
    return project


def requests(project):
    context = dg.build_sensor_context(project.instance, resources={"raw_layer": project.defs.resources["raw_layer"]})
    tick = project.defs.resolve_sensor_def(SENSOR).evaluate_tick(context)
    return [(request.job_name, request.tags) for request in tick.run_requests]


def damage(path):
    contents = bytearray(path.read_bytes())
    contents[10] ^= 1
    path.write_bytes(contents)
    return path


def test_an_intact_lake_passes_and_no_run_is_requested(loaded):
    assert evaluate_standing_checks(loaded)[LAKE_INTACT].passed
    assert requests(loaded) == []


def test_a_damaged_week_fails_the_check_and_is_requested_until_it_is_made_again(loaded):
    before = loaded.files()
    path = damage(part_path(str(loaded.lake), "lake", TURNSTILE_TRAFFIC.name, SECOND))
    check = evaluate_standing_checks(loaded)[LAKE_INTACT]
    assert not check.passed
    assert f"{path} is damaged: its contents do not match its sha256" in check.description
    [(job, tags)] = requests(loaded)
    assert (job, tags["dagster/partition"]) == (RIDERSHIP_JOB, SECOND)
    assert loaded.run(SECOND, job=job, tags=tags).success
    assert requests(loaded) == []
    path.with_name(".part-0.parquet.damaged").unlink()
    assert loaded.files() == before


@pytest.mark.slow
def test_the_terminal_makes_damaged_weeks_again_that_it_was_not_asked_for(many_runs, loaded):
    path = part_path(str(loaded.lake), "lake", TURNSTILE_TRAFFIC.name, SECOND)
    path.rename(path.with_name(".part-0.parquet.damaged"))
    console = Console(file=io.StringIO())
    assert bring_up_to_date(loaded.settings, [LAST], loaded.source(), console, again=False).exit_code == 0
    assert f"damaged files are made again, too: {SECOND}" in console.file.getvalue()
    assert path.exists()


def test_a_missing_table_of_a_week_fails_the_check(loaded):
    path = part_path(str(loaded.lake), "lake", TURNSTILE_TRAFFIC.name, SECOND)
    path.unlink()
    check = evaluate_standing_checks(loaded)[LAKE_INTACT]
    assert (check.passed, check.description) == (False, f"{path} is missing")


def test_damaged_files_without_weeks_are_requested_from_their_own_jobs(loaded):
    write_atomically(part_path(str(loaded.lake), "marts", "system_daily"), b"no Parquet file")
    write_atomically(report_path(str(loaded.lake)), b'<meta name="digest" content="sha256">')
    damage(part_path(str(loaded.lake), "lake", CONTROL_AREAS.name))
    assert not evaluate_standing_checks(loaded)[LAKE_INTACT].passed
    assert [job for job, _ in requests(loaded)] == [REFERENCE_JOB, MARTS_JOB]
