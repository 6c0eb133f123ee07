"""Weeks go from the feed to the lake, one or many per run, and a bad week does not stop the others."""

import re

import dagster as dg
import polars as pl
import pytest

from mta_pipeline import weeks
from mta_pipeline.lake.completeness import weeks_due
from mta_pipeline.orchestration.io_managers.parquet import ParquetIOManager
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.weeks import week_before
from mta_pipeline_tests.dagster.automation import evaluate_standing_checks
from mta_pipeline_tests.dagster.project import WEEKS, Project, failure_of, steady_week, valid_week
from mta_pipeline_tests.support.published_files import WEEK, modern_file, modern_line

FIRST, SECOND, THIRD = WEEKS


def test_one_week_goes_from_the_feed_to_the_lake(project):
    result = project.run(SECOND)
    assert result.success
    assert project.table("staged", "turnstile_readings", SECOND).height == 42
    assert project.table("lake", "turnstile_traffic", SECOND)["entries"].sum() == 41 * 10
    assert project.table("lake", "complex_daily", SECOND)["exits"].sum() == 41 * 10
    assert project.table("lake", "complex_hourly", SECOND)["exits"].sum() == pytest.approx(41 * 10)
    assert project.raw.read(SECOND) == steady_week(SECOND, start=1_420)


def test_a_range_in_one_run_and_a_run_per_week_give_the_same_files(project, tmp_path):
    assert project.run(FIRST, THIRD).success
    in_one = project.files()
    (tmp_path / "other").mkdir()
    other = Project(tmp_path / "other")
    for n, week in enumerate(WEEKS):
        other.publish(week, steady_week(week, start=1_000 + n * 420))
        assert other.run(week).success
    assert len(in_one) == 2 + 3 * 6
    assert other.files() == in_one


def test_the_first_interval_of_a_week_starts_in_the_week_before(project):
    project.run(FIRST, THIRD)
    traffic = project.table("lake", "turnstile_traffic", SECOND)
    assert traffic["started_at"].min().isoformat() == "2024-01-12T20:00:00"
    assert traffic["entries"].sum() == 42 * 10


def carried_in(project, result):
    [traffic] = result.asset_materializations_for_node("lake__turnstile_traffic")
    [check] = [e for e in result.get_asset_check_evaluations() if e.check_name == "carry_in_present"]
    warned = any("readings of the week before" in e.user_message for e in project.instance.all_logs(result.run_id))
    return traffic.metadata["carry_in"].value, check.passed, check.description, warned


def test_the_first_week_in_the_lake_needs_no_week_before(project):
    result = project.run(SECOND)
    assert all(project.checks(result).values())
    note = "the first week in the lake: the first interval of each turnstile has status first"
    assert carried_in(project, result) == ("missing", True, note, False)


def test_a_gap_is_reported_and_stops_nothing(project):
    project.run(FIRST)
    result = project.run(THIRD)
    checks = project.checks(result)
    assert [name for (name, _), passed in checks.items() if not passed] == ["carry_in_present"]
    advice = f"no readings of {SECOND}: materialize that week, then this one again"
    assert carried_in(project, result) == ("missing", False, advice, True)
    project.run(SECOND)
    assert project.checks(project.run(THIRD))["carry_in_present", THIRD]


def test_a_week_that_is_not_published_is_skipped_and_fails_nothing(project):
    result = project.run("2024-01-27")
    assert result.success
    assert "2024-01-27" not in project.landed()
    skipped = {event.step_key for event in result.filter_events(lambda event: event.is_step_skipped)}
    assert "staged_turnstile" in skipped
    assert project.run(THIRD, "2024-01-27").success
    assert project.landed() == [THIRD]


NOT_LANDED = {"empty": b"", "web page": b"<!DOCTYPE html><html><body>Service unavailable</body></html>"}
UNREADABLE = {"header": modern_file(), "other week": modern_file(modern_line("2019-01-06 03", 1, 1))}


@pytest.mark.parametrize("contents", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_new_week_with_an_unreadable_file_fails_while_the_other_weeks_land(project, contents):
    project.publish(SECOND, contents)
    result = project.run(FIRST, SECOND)
    assert not result.success
    assert "turnstile_240120.txt" in failure_of(result)
    project.publish(SECOND, steady_week(SECOND, start=1_420))
    assert project.run(FIRST, SECOND).success


@pytest.mark.parametrize(
    "contents", [*UNREADABLE.values(), steady_week(SECOND)[:3_000]], ids=[*UNREADABLE, "half of a file"]
)
def test_a_doubtful_version_changes_no_table_until_it_is_accepted_or_replaced(project, contents):
    project.load_weeks_until(SECOND)
    before = {path: data for path, data in project.files().items() if "raw" not in path}
    project.publish(SECOND, contents)
    assert project.run(FIRST, SECOND).success
    assert {path: data for path, data in project.files().items() if "raw" not in path and path in before} == before
    assert project.raw.read(SECOND) == valid_week(SECOND)
    for _ in range(2):
        check = evaluate_standing_checks(project)["no_version_pending"]
        assert not check.passed
        assert f"mta-pipeline accept {SECOND}" in check.description
    assert weeks_due([FIRST, SECOND], str(project.lake), project.source()) == {}
    project.publish(SECOND, steady_week(SECOND, start=1_420))
    assert project.run(FIRST, SECOND).success
    assert evaluate_standing_checks(project)["no_version_pending"].passed


@pytest.mark.parametrize("contents", NOT_LANDED.values(), ids=NOT_LANDED.keys())
def test_a_bad_file_fails_its_week_while_the_other_weeks_land_and_existing_tables_are_kept(project, contents):
    project.load_weeks_until(THIRD)
    before = project.files()
    project.publish(SECOND, contents)
    project.publish(THIRD, steady_week(THIRD, start=2_000))
    result = project.run(FIRST, THIRD)
    assert not result.success
    assert "turnstile_240120.txt" in failure_of(result)
    staged = {
        path: contents for path, contents in project.files().items() if f"week={SECOND}" in path and "raw" not in path
    }
    assert staged == {path: contents for path, contents in before.items() if path in staged}
    assert project.raw.read(THIRD) == steady_week(THIRD, start=2_000)
    project.publish(SECOND, steady_week(SECOND, start=1_420))
    assert project.run(FIRST, THIRD).success


class LosesARow(ParquetIOManager):
    def _write(self, context, week, table, *origin):
        is_readings = "readings" in context.asset_key.path[-1]
        return super()._write(context, week, table.head(-1) if is_readings else table, *origin)


def test_a_lost_line_stops_the_week_before_it_reaches_the_lake(tmp_path):
    lossy = LosesARow(lake=Lake(lake_root=str(tmp_path / "lake")))
    project = Project(tmp_path, {"io_manager": lossy})
    project.publish(WEEK, steady_week(WEEK))
    result = project.run(WEEK)
    assert project.checks(result)["every_line_accounted_for", WEEK] is False
    assert not result.success
    assert project.landed() == []


NONSENSE = {
    "one unknown booth": ("subway_turnstiles_present", lambda file: file.replace(b"A002,", b"XX,")),
    "booths with a prefix": ("subway_turnstiles_present", lambda file: file.replace(b"A002,", b"MTA-A002,")),
    "most booths unknown": ("subway_turnstiles_present", lambda file: file.replace(b"A002,", b"XX,", 41)),
    "PATH alone": (
        "subway_turnstiles_present",
        lambda file: file.replace(b"A002,R051", b"PTH01,R549").replace(b",BMT,", b",PTH,"),
    ),
    "unknown divisions": ("subway_turnstiles_present", lambda file: file.replace(b",BMT,", b",SUBWAY,")),
    "a turnstile per line": (
        "riders_found",
        lambda file: b"".join(
            line.replace(b"02-00-00", b"02-00-%02d" % n) for n, line in enumerate(file.splitlines(keepends=True))
        ),
    ),
    "implausible registers": ("riders_found", lambda file: re.sub(rb"(\d{7})(\d{3}),", rb"\g<2>\g<1>,", file)),
    "no riders": ("riders_found", lambda file: re.sub(rb"\d{10}", b"0000000007", file)),
    "no exits": ("riders_found", lambda file: re.sub(rb",\d{10}( *)$", rb",0000000007\1", file, flags=re.MULTILINE)),
}


@pytest.mark.parametrize(("check", "spoil"), NONSENSE.values(), ids=NONSENSE.keys())
def test_a_week_of_nonsense_fails_a_check_and_gets_no_ridership(project, check, spoil):
    project.publish(SECOND, spoil(valid_week(SECOND)))
    result = project.run(SECOND)
    failed = [e for e in result.get_asset_check_evaluations() if not e.passed]
    assert [e.check_name for e in failed if e.severity is dg.AssetCheckSeverity.ERROR] == [check]
    assert not result.success
    assert project.landed() == []


def test_many_rejected_lines_fail_a_check_and_the_other_readings_become_ridership(project):
    project.publish(SECOND, valid_week(SECOND).replace(b"/2024,0", b"/2024,X", 3))
    result = project.run(SECOND)
    [share] = [e for e in result.get_asset_check_evaluations() if e.check_name == "reject_share_at_most"]
    assert (share.passed, share.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert share.description == "7.1 % of 42 lines rejected: bad_timestamp 3"
    assert result.success
    assert project.landed() == [SECOND]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: [*lines[:-1], lines[-1][:9]],
        lambda lines: [lines[0], *(line for line in lines[1:] for _ in range(2))],
    ],
    ids=["a last line that is cut off", "every line twice"],
)
def test_a_single_reject_and_repeated_readings_fail_no_check(project, spoil):
    project.publish(SECOND, b"".join(spoil(valid_week(SECOND).splitlines(keepends=True))))
    result = project.run(SECOND)
    assert project.checks(result)["reject_share_at_most", SECOND]
    assert result.success


def test_an_unknown_booth_is_named_and_its_traffic_is_kept(project):
    unknown = [modern_line(f"2024-01-06 {hour:02}", hour, hour, booth="Z999,R999,00-00-00") for hour in (0, 4)]
    project.publish(FIRST, steady_week(FIRST) + modern_file(*unknown).split(b"\n", 1)[1])
    result = project.run(FIRST)
    assert result.success
    [known] = [e for e in result.get_asset_check_evaluations() if e.check_name == "booths_known"]
    assert not known.passed
    assert known.metadata["unknown"].value[0]["control_area"] == "Z999"
    assert project.table("lake", "complex_daily", FIRST).filter(pl.col("complex_id").is_null())[
        "entries"
    ].to_list() == [4]


def test_the_same_contents_land_once_and_other_contents_replace_them(project):
    project.run(FIRST)
    first = project.raw.manifest(FIRST)
    project.run(FIRST)
    assert project.raw.manifest(FIRST) == first
    project.publish(FIRST, steady_week(FIRST, start=5_000))
    project.run(FIRST)
    second = project.raw.manifest(FIRST)
    assert second.sha256 != first.sha256
    names = sorted(path.name for path in project.raw.path(FIRST).iterdir())
    assert names == sorted(["manifest.json", second.object, first.object])


def test_a_damaged_raw_file_is_named_and_repaired_by_landing_the_week_again(project):
    project.run(FIRST)
    manifest = project.raw.manifest(FIRST)
    (project.lake / "raw" / "turnstile_file" / f"week={FIRST}" / manifest.object).write_bytes(b"rubbish")

    def materialize(*tables: tuple[str, str]) -> dg.ExecuteInProcessResult:
        return project.defs.resolve_job_def("__ASSET_JOB").execute_in_process(
            instance=project.instance,
            asset_selection=[dg.AssetKey(table) for table in tables],
            partition_key=FIRST,
            raise_on_error=False,
        )

    staged = materialize(("staged", "turnstile_readings"), ("staged", "turnstile_rejects"))
    assert "materialize raw/turnstile_file for 2024-01-06 again" in failure_of(staged)
    assert materialize(("raw", "turnstile_file")).success
    assert project.run(FIRST).success


def test_a_week_without_its_reference_tables_names_the_table_to_materialize(tmp_path):
    project = Project(tmp_path)
    project.publish(WEEK, steady_week(WEEK))
    (project.lake / "lake" / "control_areas" / "part-0.parquet").unlink()
    assert "Materialize it first" in failure_of(project.run(WEEK))


def test_the_first_week_of_the_calendar_needs_no_week_before(project):
    first = weeks.FIRST_WEEK
    project.publish(first, steady_week(first))
    assert project.run(first).success
    assert week_before("2010-05-01") not in project.landed()
