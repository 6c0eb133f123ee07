"""A damaged file fails what reads it, by name, and the next run makes it again from its input."""

import pytest

from mta_pipeline.lake.storage import part_path
from mta_pipeline.orchestration.keys import COMPLETE_WEEKS, MARTS_JOB, REDO, SKIP, asset_key
from mta_pipeline.turnstile.contract import COMPLEX_DAILY, TURNSTILE_READINGS, TURNSTILE_TRAFFIC
from mta_pipeline_tests.dagster.project import WEEKS, Project, failure_of, valid_week

FIRST, SECOND, LAST = WEEKS


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path)
    for week in WEEKS:
        made.publish(week, valid_week(week))
    made.load_weeks_until(LAST)
    return made


def damage(project, table, week, *, cut=0):
    path = part_path(str(project.lake), table.layer, table.name, week)
    contents = bytearray(path.read_bytes())
    contents[10] ^= 1
    path.write_bytes(contents[: len(contents) - cut])
    return path


@pytest.mark.parametrize("cut", [0, 40], ids=["changed", "truncated"])
@pytest.mark.parametrize(
    ("table", "reader"), [(TURNSTILE_TRAFFIC, COMPLEX_DAILY), (TURNSTILE_READINGS, TURNSTILE_TRAFFIC)]
)
def test_a_damaged_week_is_named_and_set_aside_and_the_next_run_makes_it_again(project, table, reader, cut):
    before = project.files()
    path = damage(project, table, SECOND, cut=cut)
    result = project.run(FIRST, LAST, assets=[asset_key(reader)], tags={COMPLETE_WEEKS: REDO})
    assert f"week {SECOND}: {path} is damaged" in failure_of(result)
    assert not path.exists()
    assert path.with_name(".part-0.parquet.damaged").exists()
    assert project.run(FIRST, LAST, tags={COMPLETE_WEEKS: SKIP}).success
    path.with_name(".part-0.parquet.damaged").unlink()
    assert project.files() == before


def test_a_week_that_follows_a_damaged_one_fails_until_that_one_is_made_again(project):
    before = project.files()
    path = damage(project, TURNSTILE_READINGS, SECOND)
    for week in (SECOND, LAST):
        result = project.run(week, assets=[asset_key(TURNSTILE_TRAFFIC)], tags={COMPLETE_WEEKS: REDO})
        assert f"week {week}: {path} is damaged" in failure_of(result)
    assert project.run(FIRST, LAST, tags={COMPLETE_WEEKS: SKIP}).success
    path.with_name(".part-0.parquet.damaged").unlink()
    assert project.files() == before


@pytest.mark.slow
def test_marts_are_not_made_from_a_damaged_week(many_runs, project):
    path = damage(project, TURNSTILE_TRAFFIC, SECOND)
    result = project.run(job=MARTS_JOB)
    assert f"{path} is damaged: its contents do not match its sha256" in failure_of(result)
    assert f"not made again yet: {path}" in failure_of(project.run(job=MARTS_JOB))
    assert not [name for name in project.files() if name.startswith("marts/")]
    assert project.run(FIRST, LAST, tags={COMPLETE_WEEKS: SKIP}).success
    assert project.run(job=MARTS_JOB).success
