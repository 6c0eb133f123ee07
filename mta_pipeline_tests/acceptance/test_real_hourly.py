"""Three real days of the hourly feed and a real page of the portal: nothing is lost on the way to the lake."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from mta_pipeline.hourly_ridership.contract import HOURLY_RIDERSHIP
from mta_pipeline.hourly_ridership.published import complex_hourly_published
from mta_pipeline.orchestration.keys import HOURLY_JOB
from mta_pipeline.orchestration.resources.soda import SodaPortal
from mta_pipeline.sample.portal import Portal, serve
from mta_pipeline.sources.socrata.pages import rows_of
from mta_pipeline.sources.socrata.staging import stage
from mta_pipeline_tests.dagster.project import Project

WEEK = "2024-09-14"
RIDERS, TRANSFERS, SUBWAY_RIDERS = 9_654_621, 405_285, 9_614_396


@pytest.fixture(scope="module")
def real(real_hours: Path) -> pl.DataFrame:
    return pl.read_parquet(real_hours)


@pytest.fixture(scope="module")
def landed(real, tmp_path_factory) -> Iterator[tuple[Project, dg.ExecuteInProcessResult]]:
    """A lake with the week of those days, loaded from a portal that has them."""
    with serve(Portal({"wujg-7c2s": real})) as portal:
        project = Project(tmp_path_factory.mktemp("real"), resources={"soda": SodaPortal(portal.url)})
        yield project, project.run(WEEK, job=HOURLY_JOB)


@pytest.mark.slow
def test_all_233_979_rows_are_staged_and_their_totals_are_exact(landed, real):
    project, result = landed
    assert result.success
    staged = project.table("staged", "hourly_ridership", WEEK)
    assert (staged.height, staged["ridership"].sum(), staged["transfers"].sum()) == (233_979, RIDERS, TRANSFERS)
    assert (real["ridership"].sum(), real["transfers"].sum()) == (RIDERS, TRANSFERS)
    assert project.table("staged", "hourly_ridership_rejects", WEEK).is_empty()


@pytest.mark.slow
def test_the_lake_has_every_subway_rider_of_the_424_complexes_by_hour(landed, real):
    project, _ = landed
    hours = project.table("lake", "complex_hourly_published", WEEK)
    assert hours["ridership"].sum() == SUBWAY_RIDERS
    assert (hours["complex_id"].n_unique(), hours["hour"].n_unique()) == (424, 72)
    tapped = real.filter(transit_mode="subway", payment_method="omny")["ridership"].sum()
    assert hours["omny_ridership"].sum() == tapped


@pytest.mark.slow
def test_checks_report_the_missing_days_and_pass_otherwise(landed):
    project, result = landed
    assert project.checks(result) == {
        ("every_row_accounted_for", WEEK): True,
        ("reject_share_at_most", WEEK): True,
        ("few_rejects", WEEK): True,
        ("riders_found", WEEK): True,
        ("published_riders_kept", WEEK): True,
        ("complexes_known", WEEK): True,
        ("every_hour_published", WEEK): False,
    }


@pytest.mark.slow
def test_the_real_rows_contain_5_522_that_equal_another_row_in_every_column(real):
    assert real.is_duplicated().sum() == 5_522


def test_a_real_page_of_the_portal_is_read(shared_data):
    page = (shared_data / "hourly" / "soda2_page_1000.json").read_bytes()
    made = stage(rows_of(page, HOURLY_RIDERSHIP.fields, "page"), HOURLY_RIDERSHIP, "2024-08-31")
    assert (made.rows.height, made.rejects.height) == (1_000, 0)
    assert made.rows["transit_timestamp"].dt.date().unique().cast(pl.String).to_list() == ["2024-09-01"]
    assert complex_hourly_published(made.rows)["ridership"].sum() == 20_215
    assert made.rows.filter(pl.col("transit_mode") != "subway")["ridership"].sum() == 25
