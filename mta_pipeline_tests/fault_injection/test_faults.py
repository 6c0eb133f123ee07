"""A short form of the scenarios (`make scenarios` runs all of them), and proof that a verdict tells what is wrong."""

import random
import shutil

import pytest

from mta_pipeline_tests.dagster.project import WEEKS, Project, quiet_week
from mta_pipeline_tests.fault_injection import daemon, terminal
from mta_pipeline_tests.fault_injection.__main__ import SCENARIOS
from mta_pipeline_tests.fault_injection.__main__ import WEEKS as WEEKS_OF_A_SCENARIO
from mta_pipeline_tests.fault_injection.lake_comparison import Verdict, judge
from mta_pipeline_tests.fault_injection.sandbox import sandbox

SHORT = {
    "a run is killed": lambda place: terminal.killed(place, 1),
    "the disk fills up": terminal.disk_full,
    "every second request fails": terminal.every_second_request_fails,
    "the worker of a backfill is killed": lambda place: daemon.worker_killed(place, 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SHORT.values(), ids=SHORT.keys())
def test_afterwards_the_lake_is_as_if_nothing_had_happened_when(scenario, processes):
    with sandbox(weeks=3, seed=0) as place:
        verdict = scenario(place)
    assert verdict == Verdict(weeks=3)


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_afterwards_a_lake_of_many_weeks_is_as_if_nothing_had_happened_when(scenario, processes):
    seed = random.randrange(10_000)
    print(f"seed {seed}")
    with sandbox(WEEKS_OF_A_SCENARIO, seed) as place:
        verdict = scenario(place)
    assert verdict == Verdict(weeks=verdict.weeks)


def lose(lake, week):
    shutil.rmtree(lake / "lake" / "complex_daily" / f"week={week}")


def double(lake, week):
    folder = lake / "staged" / "turnstile_readings" / f"week={week}"
    shutil.copy(folder / "part-0.parquet", folder / "part-1.parquet")


def differ(lake, week):
    (lake / "raw" / "turnstile_file" / f"week={week}" / "manifest.json").write_text('{"fetched_at": 1}')


def leave(lake, week):
    (lake / "lake" / "turnstile_traffic" / f"week={week}" / ".part-0.parquet.1.writing").touch()


@pytest.mark.parametrize(
    ("damage", "verdict"),
    [
        (lambda *_: None, Verdict(weeks=3)),
        (lose, Verdict(weeks=3, lost=1)),
        (double, Verdict(weeks=3, doubled=1, leftovers=1)),
        (differ, Verdict(weeks=3, different=1)),
        (leave, Verdict(weeks=3, leftovers=1)),
    ],
    ids=["sound", "lost", "doubled", "different", "left over"],
)
def test_a_verdict_tells_what_is_wrong_with_a_lake(tmp_path, damage, verdict):
    project = Project(tmp_path)
    for week in WEEKS:
        project.publish(week, quiet_week(week))
    project.run(WEEKS[0], WEEKS[-1])
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(project.lake, undisturbed)
    damage(project.lake, WEEKS[1])
    assert judge(project.lake, undisturbed, WEEKS) == verdict
