"""`mta-pipeline run` makes marts, report and warehouse again if they are not made from the files in the lake."""

import dagster as dg
import polars as pl
import pytest
from rich.console import Console

from mta_pipeline.cli.run import answers_are_due, reference_tables_due, run_weeks
from mta_pipeline.engines.freshness import record_warehouse
from mta_pipeline.lake.digests import HTML_TAGS
from mta_pipeline.lake.inputs import current_inputs
from mta_pipeline.lake.parquet import to_parquet
from mta_pipeline.lake.storage import part_path, report_path, write_atomically
from mta_pipeline.marts import lake_tables
from mta_pipeline.marts.contract import MARTS, SYSTEM_DAILY
from mta_pipeline.orchestration.keys import asset_key
from mta_pipeline.report.page import SOURCES, Report
from mta_pipeline.settings import Settings
from mta_pipeline.tables import TABLES
from mta_pipeline.turnstile.complexes import REFERENCE_TABLES
from mta_pipeline.turnstile.contract import CONTROL_AREAS, TURNSTILE_TRAFFIC
from mta_pipeline_tests.support.small_lake import SmallLake, interval

FIRST, SECOND = "2024-01-06", "2024-01-13"


class Answers:
    """A lake with one week, and with marts, report and warehouse file that record what they are made from."""

    def __init__(self, lake: SmallLake) -> None:
        self.lake, self.root = lake, str(lake.root)
        self.warehouse = lake.root / "mta.duckdb"
        lake.week(FIRST, interval("2024-01-06 00", "2024-01-06 04", 1, 1))

    def make(self) -> None:
        current = current_inputs(self.root, TABLES)
        for mart in MARTS:
            rows = to_parquet(pl.DataFrame(schema=dict(mart.schema)), current.of(lake_tables(mart.name)))
            write_atomically(part_path(self.root, mart.layer, mart.name), rows)
        made_from = current_inputs(self.root, SOURCES).fingerprint
        page = f'<meta name="made-from" content="{made_from}">{HTML_TAGS}'
        write_atomically(report_path(self.root), Report(page, {}).contents)
        self.warehouse.write_bytes(b"views")
        record_warehouse(self.warehouse, b"views", current)

    @property
    def are_due(self) -> bool:
        return answers_are_due(self.root, self.warehouse)


@pytest.fixture
def answers(tmp_path):
    made = Answers(SmallLake(tmp_path))
    assert made.are_due
    made.make()
    assert not made.are_due
    return made


def test_marts_are_not_due_in_a_lake_without_weeks(tmp_path):
    assert not answers_are_due(str(SmallLake(tmp_path).root))


def test_marts_are_due_after_a_week_was_added_or_has_changed_whatever_the_clock_says(answers):
    answers.lake.week(SECOND, interval("2024-01-13 00", "2024-01-13 04", 1, 1))
    assert answers.are_due
    answers.make()
    assert not answers.are_due
    answers.lake.week(SECOND, interval("2024-01-13 00", "2024-01-13 04", 2, 1))
    assert answers.are_due


def test_a_week_that_is_written_again_with_the_same_rows_makes_nothing_due(answers):
    answers.lake.week(FIRST, interval("2024-01-06 00", "2024-01-06 04", 1, 1))
    assert not answers.are_due


def test_a_removed_week_makes_marts_due(answers):
    answers.lake.week(SECOND, interval("2024-01-13 00", "2024-01-13 04", 1, 1))
    answers.make()
    answers.lake.path(TURNSTILE_TRAFFIC, SECOND).unlink()
    assert answers.are_due


@pytest.mark.parametrize("what", ["mart", "report", "warehouse", "manifest"])
@pytest.mark.parametrize("damage", ["deleted", "truncated", "changed"])
def test_a_missing_or_damaged_answer_is_due(answers, what, damage):
    path = {
        "mart": answers.lake.path(SYSTEM_DAILY),
        "report": answers.lake.root / "report" / "index.html",
        "warehouse": answers.warehouse,
        "manifest": answers.warehouse.with_name("mta.duckdb.json"),
    }[what]
    contents = bytearray(path.read_bytes())
    if damage == "deleted":
        path.unlink()
    else:
        contents[-3] ^= 1
        path.write_bytes(contents if damage == "changed" else contents[:-4])
    assert answers.are_due


# --- reference tables ---


def test_reference_tables_are_materialized_once_and_again_after_a_change(tmp_path):
    settings = Settings(feed=str(tmp_path), lake_root=str(tmp_path / "lake"))
    path = part_path(settings.lake_root, CONTROL_AREAS.layer, CONTROL_AREAS.name)
    with dg.DagsterInstance.ephemeral() as instance:

        def materializations() -> list[int]:
            run_weeks(settings, [], instance, Console(quiet=True))
            assert not reference_tables_due(settings.lake_root)
            keys = map(asset_key, REFERENCE_TABLES)
            return [len(instance.fetch_materializations(key, limit=9).records) for key in keys]

        assert materializations() == [1, 1]
        assert materializations() == [1, 1]
        path.write_bytes(path.read_bytes()[:-7])
        assert materializations() == [2, 2]
