"""Complete weeks are not rebuilt. Weeks that lack tables, or whose tables are made from other contents, are."""

import json
from collections.abc import Callable

import polars as pl
import pytest

from mta_pipeline.lake import completeness
from mta_pipeline.lake.completeness import due_because, weeks_due, weeks_out_of_date, weeks_with_older_rules
from mta_pipeline.orchestration.io_managers.parquet import ParquetIOManager
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.schema import Table
from mta_pipeline.sources.turnstile_files import open_feed
from mta_pipeline.tables import RIDERSHIP, STAGED
from mta_pipeline.turnstile.contract import COMPLEX_HOURLY, TURNSTILE_READINGS, TURNSTILE_REJECTS, TURNSTILE_TRAFFIC
from mta_pipeline.weeks import contiguous_ranges, file_name, week_after
from mta_pipeline_tests.dagster.project import WEEKS, Project, failure_of, steady_week, valid_week
from mta_pipeline_tests.support.feed_server import serve_feed

FIRST, SECOND, THIRD = WEEKS
FOURTH = week_after(THIRD)
TABLES = [(table.layer, table.name) for table in (*STAGED, *RIDERSHIP)]


def due(project: Project, *weeks: str) -> list[str]:
    return list(reasons(project, *weeks))


def reasons(project: Project, *weeks: str) -> dict[str, str]:
    return weeks_due(weeks or WEEKS, str(project.lake), open_feed(str(project.feed)))


def file(project: Project, layer: str, table: str, week: str):
    return project.lake / layer / table / f"week={week}" / "part-0.parquet"


def test_every_week_is_due_until_it_is_in_the_lake(project):
    assert due(project) == list(WEEKS)
    project.load_weeks_until(SECOND)
    assert due(project) == [THIRD]
    project.run(THIRD)
    assert due(project) == []
    project.run(FIRST, THIRD)
    assert due(project) == []


@pytest.mark.parametrize(("layer", "table"), TABLES)
def test_a_week_that_lacks_a_table_is_due_and_no_other(project, layer, table):
    project.load_weeks_until(THIRD)
    file(project, layer, table, SECOND).unlink()
    assert due(project) == [SECOND]


def test_other_contents_make_their_week_and_the_week_after_due_and_no_other(project):
    project.publish(FOURTH, steady_week(FOURTH, start=9_000))
    project.run(FIRST, FOURTH)
    project.publish(SECOND, steady_week(SECOND, start=1_421))
    weeks = due(project, *WEEKS, FOURTH)
    assert weeks == [SECOND, THIRD]
    for ends in contiguous_ranges(weeks):
        project.run(*ends)
    assert due(project, *WEEKS, FOURTH) == []


def test_a_week_is_out_of_date_if_only_the_week_before_was_rebuilt(project):
    project.load_weeks_until(THIRD)
    assert weeks_out_of_date(WEEKS, str(project.lake)) == {}
    project.publish(SECOND, steady_week(SECOND, start=1_421))
    project.run(SECOND)
    assert weeks_out_of_date([*WEEKS, FOURTH], str(project.lake)) == {THIRD: "the week before it has changed"}


def test_an_older_table_that_replaced_a_newer_one_is_found(project):
    project.load_weeks_until(THIRD)
    older = file(project, "staged", "turnstile_rejects", SECOND).read_bytes()
    project.publish(SECOND, steady_week(SECOND, start=1_421))
    project.run(SECOND, THIRD)
    assert due(project) == []
    file(project, "staged", "turnstile_rejects", SECOND).write_bytes(older)
    assert due(project) == [SECOND]


def test_a_week_that_was_never_published_does_not_make_the_week_after_due(tmp_path):
    project = Project(tmp_path)
    project.publish(FIRST, steady_week(FIRST))
    project.publish(THIRD, steady_week(THIRD))
    project.run(FIRST, THIRD)
    assert due(project) == [SECOND]


def test_a_week_with_a_bad_file_stays_due(project):
    project.publish(SECOND, b"")
    project.run(FIRST, THIRD)
    assert SECOND in due(project)


def test_a_complete_week_whose_file_is_no_longer_behind_its_link_is_due(project):
    project.load_weeks_until(THIRD)
    with serve_feed(project.feed) as server:
        feed = open_feed(server.index_url)
        assert list(feed.available_weeks()) == list(WEEKS)
        assert weeks_due(WEEKS, str(project.lake), feed) == {}
        (project.feed / file_name(THIRD)).unlink()
        assert list(weeks_due(WEEKS, str(project.lake), feed)) == [THIRD]
        assert weeks_due(WEEKS, str(project.lake), open_feed(server.index_url)) == {}  # the link is gone, too


def test_a_file_records_which_published_contents_it_was_made_from(project):
    project.load_weeks_until(THIRD)
    first, second = project.raw.manifest(FIRST).sha256, project.raw.manifest(SECOND).sha256
    assert pl.read_parquet_metadata(file(project, *TABLES[0], SECOND))["made_from"] == second
    assert pl.read_parquet_metadata(file(project, *TABLES[2], FIRST))["made_from"] == f"nothing {first}"
    assert pl.read_parquet_metadata(file(project, *TABLES[4], SECOND))["made_from"] == f"{first} {second}"


OTHER_RUN: list[Callable[[], object]] = []


class WritesAfterAnotherRun(ParquetIOManager):
    """Before it writes its first table, another run lands the week with other contents and makes its tables."""

    def _write(self, context, week, table, *origin):
        if week == SECOND and OTHER_RUN:
            OTHER_RUN.pop()()
        return super()._write(context, week, table, *origin)


def test_a_slow_run_does_not_replace_the_tables_of_a_faster_one(tmp_path):
    slow = WritesAfterAnotherRun(lake=Lake(lake_root=str(tmp_path / "lake")))
    project = Project(tmp_path, {"io_manager": slow})
    project.publish(FIRST, steady_week(FIRST))
    project.publish(SECOND, steady_week(SECOND, start=520))
    faster: dict[str, bytes] = {}

    def run_faster() -> None:
        project.publish(SECOND, steady_week(SECOND, start=530))
        other = Project(tmp_path)
        assert other.run(FIRST, SECOND).success
        faster.update(other.files())

    OTHER_RUN.append(run_faster)
    result = project.run(FIRST, SECOND)
    assert "another run has updated the input of the week 2024-01-13" in failure_of(result)
    assert project.files() == faster
    assert due(project, FIRST, SECOND) == []


class DuplicatesTraffic(ParquetIOManager):
    """Writes one turnstile twice into the traffic of one week."""

    def _write(self, context, week, table, *origin):
        duplicated = week == SECOND and context.asset_key.path[-1] == "turnstile_traffic"
        return super()._write(context, week, pl.concat([table, table.head(1)]) if duplicated else table, *origin)


def test_a_week_whose_traffic_violates_its_contract_stays_due_and_the_others_continue(tmp_path):
    project = Project(tmp_path, {"io_manager": DuplicatesTraffic(lake=Lake(lake_root=str(tmp_path / "lake")))})
    for week in WEEKS:
        project.publish(week, valid_week(week))
    project.load_weeks_until(THIRD)
    before = project.files()
    project.publish(SECOND, steady_week(SECOND, start=1_421))
    result = project.run(FIRST, THIRD)
    key = "control_area, unit, scp, ended_utc_offset, ended_at"
    assert f"turnstile_traffic.{key} must identify one row" in failure_of(result)
    # The command line does the same: it continues without the week that failed.
    assert project.run(THIRD).success
    after = project.files()
    kept = [path for path in after if f"week={SECOND}" in path and path.startswith("lake/")]
    assert len(kept) == 3
    assert all(after[path] == before[path] for path in kept)
    assert due(project) == [SECOND]
    assert weeks_out_of_date(WEEKS, str(project.lake)) == {SECOND: "made from other contents"}


def raise_rules(monkeypatch: pytest.MonkeyPatch, *tables: Table) -> str:
    """Let the code have newer rules for these tables. Return why weeks are then due."""
    before = {table: table.rules for table in tables}
    for table in tables:
        monkeypatch.setitem(vars(table), "rules", table.rules + 1)
    raised = ", ".join(f"{table.name} {rules} -> {table.rules}" for table, rules in before.items())
    return f"made with older rules ({raised})"


def rules_of(project: Project, table: Table, week: str) -> dict[str, int]:
    return json.loads(pl.read_parquet_metadata(file(project, table.layer, table.name, week))["rules"])


def test_the_reason_of_each_due_week_is_told(project):
    project.load_weeks_until(SECOND)
    project.publish(FIRST, steady_week(FIRST, start=1_001))
    file(project, *TABLES[0], SECOND).unlink()
    found = reasons(project, *WEEKS, FOURTH)
    assert found == {
        FIRST: "changed at the feed",
        SECOND: "incomplete in the lake",
        THIRD: "not in the lake",
        FOURTH: "not offered by the feed",
    }
    counts = "1 changed at the feed, 1 incomplete in the lake, 1 not in the lake, 1 not offered by the feed"
    assert due_because(found) == f"4 weeks are due: {counts}"


def test_a_file_records_the_rules_of_its_table_and_of_the_tables_it_is_computed_from(project, monkeypatch):
    raise_rules(monkeypatch, COMPLEX_HOURLY)
    project.run(FIRST)
    assert rules_of(project, TURNSTILE_REJECTS, FIRST) == {"turnstile_rejects": TURNSTILE_REJECTS.rules}
    chain = {table.name: table.rules for table in (TURNSTILE_READINGS, TURNSTILE_TRAFFIC, COMPLEX_HOURLY)}
    assert rules_of(project, COMPLEX_HOURLY, FIRST) == chain


@pytest.mark.parametrize("table", [*STAGED, *RIDERSHIP], ids=lambda table: table.name)
def test_newer_rules_make_all_weeks_due_until_a_run_that_skips_complete_weeks_has_rebuilt_them(
    project, monkeypatch, table
):
    project.load_weeks_until(THIRD)
    why = raise_rules(monkeypatch, table)
    assert reasons(project) == dict.fromkeys(WEEKS, why)
    assert weeks_with_older_rules(str(project.lake), WEEKS) == dict.fromkeys(WEEKS, why)
    assert due_because(reasons(project)) == f"3 weeks are due: 3 {why}"
    assert project.run(FIRST, THIRD).success
    assert reasons(project) == {}
    assert weeks_with_older_rules(str(project.lake), WEEKS) == {}
    before = {path: path.stat().st_mtime_ns for path in project.lake.rglob("*.parquet")}
    assert project.run(FIRST, THIRD).success
    assert {path: path.stat().st_mtime_ns for path in project.lake.rglob("*.parquet")} == before


def test_newer_rules_rebuild_their_table_and_the_tables_computed_from_it_only(project, monkeypatch):
    project.load_weeks_until(FIRST)
    raise_rules(monkeypatch, TURNSTILE_TRAFFIC)
    before = {path: path.stat().st_mtime_ns for path in project.lake.rglob("*.parquet")}
    assert project.run(FIRST).success
    rebuilt = {path for path in before if path.stat().st_mtime_ns != before[path]}
    assert rebuilt == {file(project, table.layer, table.name, FIRST) for table in RIDERSHIP}


def test_files_without_rules_count_as_version_1(project, monkeypatch):
    project.load_weeks_until(THIRD)
    for table in (*STAGED, *RIDERSHIP):
        monkeypatch.setitem(vars(table), "rules", 1)
    for layer, table in TABLES:
        path = file(project, layer, table, SECOND)
        made_from = pl.read_parquet_metadata(path)["made_from"]
        pl.read_parquet(path).write_parquet(path, metadata={"made_from": made_from})
    assert reasons(project) == {}
    why = raise_rules(monkeypatch, TURNSTILE_READINGS)
    assert reasons(project, SECOND) == {SECOND: why}


def test_traffic_that_starts_from_readings_made_with_older_rules_is_due_when_these_are_rebuilt(project, monkeypatch):
    project.load_weeks_until(SECOND)
    older = raise_rules(monkeypatch, TURNSTILE_READINGS)
    project.run(SECOND)
    assert reasons(project, SECOND) == {}
    assert rules_of(project, TURNSTILE_TRAFFIC, SECOND)["turnstile_readings"] == TURNSTILE_READINGS.rules - 1
    assert list(reasons(project, FIRST, SECOND)) == [FIRST, SECOND]
    project.run(FIRST)
    assert weeks_out_of_date([SECOND], str(project.lake)) == {SECOND: older}
    project.run(SECOND)
    assert reasons(project, FIRST, SECOND) == {}


def test_several_newer_rules_are_told_together(project, monkeypatch):
    project.load_weeks_until(FIRST)
    told = raise_rules(monkeypatch, TURNSTILE_READINGS, TURNSTILE_TRAFFIC, TURNSTILE_TRAFFIC)
    assert reasons(project, FIRST) == {FIRST: told}


def test_rules_of_a_newer_version_of_the_code_do_not_make_a_week_due(project, monkeypatch):
    with monkeypatch.context() as newer:
        raise_rules(newer, TURNSTILE_TRAFFIC)
        project.run(FIRST)
    assert reasons(project, FIRST) == {}


def test_no_file_is_read_while_all_rules_have_version_1(project, monkeypatch):
    project.load_weeks_until(FIRST)
    for table in (*STAGED, *RIDERSHIP):
        monkeypatch.setitem(vars(table), "rules", 1)
    monkeypatch.setattr(completeness, "origin", None)
    assert weeks_with_older_rules(str(project.lake), [FIRST]) == {}
