"""A job resumes where it stopped: complete weeks are skipped unless their rebuild is requested."""

from mta_pipeline.orchestration.keys import COMPLETE_WEEKS, REDO, WEEKLY_KEYS
from mta_pipeline.orchestration.resources.feed import TurnstileFeed
from mta_pipeline.tables import RIDERSHIP, STAGED
from mta_pipeline_tests.dagster.project import WEEKS, Project, steady_week, valid_week
from mta_pipeline_tests.support.feed_server import serve_feed

FIRST, SECOND, THIRD = WEEKS
TABLES = [table.name for table in (*STAGED, *RIDERSHIP)]


def written_by_run(project: Project, *weeks: str, **options) -> set[tuple[str, str]]:
    """Run the job over weeks and return which tables of which weeks it wrote."""

    def inodes() -> dict[tuple[str, str], int]:
        paths = project.lake.glob("*/*/week=*/part-0.parquet")
        return {(path.parts[-3], path.parent.name.removeprefix("week=")): path.stat().st_ino for path in paths}

    before = inodes()
    assert project.run(*weeks, **options).success
    return {place for place, inode in inodes().items() if before.get(place) != inode}


def test_a_range_that_is_launched_again_writes_nothing(project):
    project.load_weeks_until(THIRD)
    before = project.files()
    assert written_by_run(project, FIRST, THIRD) == set()
    assert project.files() == before


def test_only_missing_tables_are_built(project):
    project.load_weeks_until(SECOND)
    (project.lake / "lake" / "complex_hourly" / f"week={FIRST}" / "part-0.parquet").unlink()
    assert written_by_run(project, FIRST, THIRD) == {("complex_hourly", FIRST), *((table, THIRD) for table in TABLES)}


def test_a_week_with_other_contents_is_rebuilt_with_the_traffic_of_the_week_after(project):
    project.load_weeks_until(THIRD)
    project.publish(FIRST, steady_week(FIRST, start=1_001))
    assert written_by_run(project, FIRST, THIRD) == {
        *((table, FIRST) for table in TABLES),
        *((table, SECOND) for table in TABLES[2:]),
    }


def test_all_weeks_are_rebuilt_on_request(project):
    project.load_weeks_until(THIRD)
    assert written_by_run(project, FIRST, THIRD, tags={COMPLETE_WEEKS: REDO}) == {
        (table, week) for table in TABLES for week in WEEKS
    }


def test_materializing_assets_manually_rebuilds_them(project):
    project.load_weeks_until(THIRD)
    assert written_by_run(project, SECOND, job="__ASSET_JOB", assets=WEEKLY_KEYS) >= {
        (table, SECOND) for table in TABLES
    }


def test_complete_weeks_are_not_downloaded_again(tmp_path):
    (tmp_path / "feed").mkdir()
    with serve_feed(tmp_path / "feed") as server:
        project = Project(tmp_path, resources={"feed": TurnstileFeed(location=server.index_url)})
        for week in WEEKS:
            project.publish(week, valid_week(week))
        project.run(FIRST, THIRD)
        server.requests.clear()
        project.run(FIRST, THIRD)
        assert [request.method for request in server.requests if request.path.endswith(".txt")] == ["HEAD"] * 3
