"""Hourly ridership from a portal to the lake, and beside the turnstiles: from the sample, whose truth is known."""

from collections.abc import Iterator

import polars as pl
import pytest
import stamina

from mta_pipeline.assets.weeks import COMPLETE_WEEKS, LEAVE
from mta_pipeline.build import HOURLY_JOB, MARTS_JOB
from mta_pipeline.partitions import weeks_between
from mta_pipeline.resources.soda import SodaPortal
from mta_pipeline.sample import Faults, SampleFeed
from mta_pipeline.sample.hourly import omny_share_of
from mta_pipeline.sample.portal import Portal, serve
from mta_pipeline_tests.dagster.project import Project, failure_of

FIRST, LAST = "2024-01-27", "2024-02-24"
WEEKS = weeks_between(FIRST, LAST)
"""February, from the week it begins in to the one that ends with it, nearly."""
DATA_SET = "wujg-7c2s"
SEED = 5


@pytest.fixture(scope="module", autouse=True)
def _no_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=20):
        yield


@pytest.fixture(scope="module")
def feed() -> SampleFeed:
    return SampleFeed(SEED, 30, FIRST, faults=Faults())


@pytest.fixture(scope="module")
def truth(feed) -> pl.DataFrame:
    return pl.concat(feed.hourly(week) for week in WEEKS)


@pytest.fixture(scope="module")
def portal(truth) -> Iterator[Portal]:
    with serve(Portal({DATA_SET: truth}, too_many=0.1)) as portal:
        yield portal


@pytest.fixture(scope="module")
def project(feed, portal, tmp_path_factory) -> Project:
    """A project that has the month by turnstiles and by the hour, and what is made of both."""
    root = tmp_path_factory.mktemp("hourly")
    made = Project(root, resources={"soda": SodaPortal(portal.url, page_rows=1_000)})
    feed.write(made.feed, WEEKS)
    assert made.run(FIRST, LAST).success
    assert made.run(FIRST, LAST, job=HOURLY_JOB, tags={COMPLETE_WEEKS: LEAVE}).success
    answers = made.run(job=MARTS_JOB)
    assert answers.success, failure_of(answers)
    return made


def published(project: Project) -> pl.DataFrame:
    folder = project.lake / "lake" / "complex_hourly_published"
    return pl.concat(pl.read_parquet(folder / f"week={week}" / "part-0.parquet") for week in WEEKS)


def table(project: Project, layer: str, name: str) -> pl.DataFrame:
    return pl.read_parquet(project.lake / layer / name / "part-0.parquet")


def by_hour(truth: pl.DataFrame) -> pl.DataFrame:
    tapped = pl.col("ridership").filter(pl.col("payment_method") == "omny").sum().alias("omny_ridership")
    hours = truth.group_by(complex_id=pl.col("station_complex_id").cast(pl.Int32), hour="transit_timestamp")
    return hours.agg(pl.col("ridership", "transfers").sum(), tapped).sort("hour", "complex_id")


def test_a_month_behind_a_portal_that_often_has_enough_of_us_ends_with_exact_totals(project, truth, portal):
    assert published(project).drop("omny_share").sort("hour", "complex_id").equals(by_hour(truth))
    assert len(portal.asked) > len({*portal.asked})  # it did have enough, and was asked again


def test_shares_are_those_the_sample_was_made_with(project):
    shares = table(project, "lake", "omny_share").filter(
        pl.col("complex_id").is_not_null(), pl.col("ridership") > 5_000
    )
    expected = omny_share_of(shares["complex_id"], shares["month"], SEED)
    assert (shares["omny_share"] - expected).abs().max() < 0.01


def test_estimates_from_turnstiles_agree_with_what_is_published(project):
    reconciled = table(project, "marts", "ridership_reconciliation")
    whole = reconciled.filter(pl.col("week") > pl.date(2024, 1, 27))
    print(reconciled, whole.select("ratio").describe())
    assert whole["ridership_estimate"].sum() / whole["published"].sum() == pytest.approx(1, abs=0.005)
