"""Other contents make a week due again; the same contents do not."""

import dagster as dg
import pytest

from mta_pipeline_tests.dagster.project import WEEKS, Project, quiet_week

RAW = dg.AssetKey(["raw", "turnstile_file"])
FEED = dg.AssetKey(["feed", "turnstile_file"])
FIRST, SECOND, THIRD = WEEKS


class Ticks:
    """The automation of a project, tick after tick, and what each asked for."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._cursor = None

    def observe(self) -> None:
        job = self._project.defs.resolve_job_def("__ASSET_JOB")
        assert job.execute_in_process(instance=self._project.instance, asset_selection=[FEED]).success

    def tick(self) -> dict[str, set[str]]:
        result = dg.evaluate_automation_conditions(self._project.defs, self._project.instance, cursor=self._cursor)
        self._cursor = result.cursor
        keys = [key for key in self._project.defs.resolve_asset_graph().get_all_asset_keys() if key != FEED]
        due = {key.to_user_string(): result.get_requested_partitions(key) for key in keys}
        return {key: weeks for key, weeks in due.items() if weeks}


@pytest.fixture
def ticks(project):
    return Ticks(project)


def test_weeks_on_offer_are_due_once_seen_and_only_they(project, ticks):
    assert ticks.tick().get("raw/turnstile_file") is None
    ticks.observe()
    assert ticks.tick()["raw/turnstile_file"] == set(WEEKS)


def test_a_landed_week_is_not_due_again_for_the_same_contents(project, ticks):
    ticks.observe()
    ticks.tick()
    assert project.run(FIRST, THIRD).success
    ticks.tick()
    for _ in range(2):
        (project.feed / "turnstile_240113.txt").touch()
        ticks.observe()
        assert ticks.tick() == {}


def test_a_week_published_again_with_other_contents_is_due_and_no_other(project, ticks):
    ticks.observe()
    ticks.tick()
    project.run(FIRST, THIRD)
    ticks.tick()
    project.publish(SECOND, quiet_week(SECOND, start=1_421))
    ticks.observe()
    assert ticks.tick()["raw/turnstile_file"] == {SECOND}
