"""A smoke run of the scenarios (`make fault-injection` runs all of them), and tests of the comparison of lakes."""

import json
import random
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from mta_pipeline_tests.dagster.project import WEEKS, Project, steady_week
from mta_pipeline_tests.fault_injection import clock, daemon, damages, terminal
from mta_pipeline_tests.fault_injection.__main__ import SCENARIOS
from mta_pipeline_tests.fault_injection.__main__ import WEEKS as WEEKS_OF_A_SCENARIO
from mta_pipeline_tests.fault_injection.lake_comparison import LakeComparison, compare
from mta_pipeline_tests.fault_injection.sandbox import sandbox

SMOKE_RUN = {
    "a run is killed": lambda place: terminal.killed(place, 1),
    "the disk fills up": terminal.disk_full,
    "every second request fails": terminal.every_second_request_fails,
    "the feed is slow": terminal.slow_feed,
    "a lock is held by a process that hangs": terminal.hung_lock,
    "the clock is set back": clock.set_back,
    "files of all layers are damaged": lambda place: damages.damages(place, 20),
    "the worker of a backfill is killed": lambda place: daemon.worker_killed(place, 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SMOKE_RUN.values(), ids=SMOKE_RUN.keys())
def test_the_lake_is_as_if_nothing_had_happened_after_the_scenario(scenario, processes):
    with sandbox(weeks=3, seed=0) as place:
        comparison = scenario(place)
    assert comparison == LakeComparison(weeks=comparison.weeks)


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_a_lake_of_many_weeks_is_as_if_nothing_had_happened_after_the_scenario(scenario, processes):
    seed = random.randrange(10_000)
    print(f"seed {seed}")
    with sandbox(WEEKS_OF_A_SCENARIO, seed) as place:
        comparison = scenario(place)
    assert comparison == LakeComparison(weeks=comparison.weeks)


def lose_a_table(lake, week):
    shutil.rmtree(lake / "lake" / "complex_daily" / f"week={week}")


def double_a_file(lake, week):
    folder = lake / "staged" / "turnstile_readings" / f"week={week}"
    shutil.copy(folder / "part-0.parquet", folder / "part-1.parquet")


def change_a_file(lake, week):
    (lake / "raw" / "turnstile_file" / f"week={week}" / "manifest.json").write_text('{"fetched_at": 1}')


def keep_an_earlier_version(lake, week):
    path = lake / "raw" / "turnstile_file" / f"week={week}" / "manifest.json"
    path.with_name("earlier.txt.zst").touch()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"previous": [{"object": "earlier.txt.zst"}]}))


def leave_a_temporary_file(lake, week):
    (lake / "lake" / "turnstile_traffic" / f"week={week}" / ".part-0.parquet.1.writing").touch()


@pytest.mark.parametrize(
    ("damage", "comparison"),
    [
        (lambda *_: None, LakeComparison(weeks=3)),
        (keep_an_earlier_version, LakeComparison(weeks=3)),
        (lose_a_table, LakeComparison(weeks=3, lost=1)),
        (double_a_file, LakeComparison(weeks=3, doubled=1, leftovers=1)),
        (change_a_file, LakeComparison(weeks=3, different=1)),
        (leave_a_temporary_file, LakeComparison(weeks=3, leftovers=1)),
    ],
    ids=["intact", "earlier version", "lost", "doubled", "different", "left over"],
)
def test_the_comparison_counts_each_kind_of_damage(tmp_path, damage, comparison):
    project = Project(tmp_path)
    for week in WEEKS:
        project.publish(week, steady_week(week))
    project.run(WEEKS[0], WEEKS[-1])
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(project.lake, undisturbed)
    damage(project.lake, WEEKS[1])
    assert compare(project.lake, undisturbed, WEEKS) == comparison


def test_a_damaged_file_that_is_not_reported_by_its_path_its_folder_or_the_text_counts_as_undetected():
    paths = [Path(f"/lake/{folder}/part-0.parquet") for folder in ("by_path", "by_folder", "by_text", "unreported")]
    problems = [(str(paths[0]), "cut"), (str(paths[1].parent), "cut"), ("/lake", f"{paths[2]} is missing")]
    site = SimpleNamespace(verify=lambda: problems)
    notes = []
    assert damages.undetected(SimpleNamespace(note=notes.append), site, paths) == 1
    assert "unreported" in notes[0]
