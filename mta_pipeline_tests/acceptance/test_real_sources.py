"""The five real weeks give the same lake from weekly files, from yearly exports and from a portal, in every row."""

import datetime as dt
import gzip
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from rich.console import Console

from mta_pipeline.cli.run import Outcome, make_answers, run_weeks
from mta_pipeline.lake import portal
from mta_pipeline.marts.contract import MARTS
from mta_pipeline.settings import Settings
from mta_pipeline.sources.socrata.dataset import SodaSource
from mta_pipeline.turnstile.contract import RIDERSHIP, TURNSTILE_READINGS
from mta_pipeline.weeks import file_name, weeks_between
from mta_pipeline_tests.support.turnstile_sources import SOURCES

WEEKS = weeks_between("2023-12-30", "2024-01-27")

# The real portal has none for these years.
DATA_SETS = [
    SodaSource(id=f"test-{year}", first=dt.date(year, 1, 1), last=dt.date(year, 12, 31)) for year in (2023, 2024)
]


@pytest.fixture(scope="module")
def texts(real_weeks: Path) -> dict[str, bytes]:
    return {week: gzip.decompress((real_weeks / f"{file_name(week)}.gz").read_bytes()) for week in WEEKS}


@pytest.fixture(scope="module")
def expected(texts, tmp_path_factory) -> Path:
    """The lake from weekly files."""
    return lake_from("weekly files, gzip", texts, tmp_path_factory.mktemp("files"))


def lake_from(kind: str, texts: Mapping[str, bytes], folder: Path) -> Path:
    """A lake that the real assets make from a kind of source, with marts."""
    with SOURCES[kind].holding(texts, folder / "feed", DATA_SETS) as location:
        settings = Settings(feed=location, lake_root=str(folder / "lake"))
        with dg.DagsterInstance.ephemeral() as instance, Path("/dev/null").open("w") as nowhere:
            console, outcome = Console(file=nowhere), Outcome()
            assert run_weeks(settings, WEEKS, instance, console).exit_code == 0
            make_answers(settings, instance, console, outcome)
            assert outcome.exit_code == 0
    return folder / "lake"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["CSV exports, zip", "portal without station"])
def test_all_sources_of_the_real_weeks_give_the_same_lake(texts, expected, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(portal, "usage_data_sets", lambda: DATA_SETS)
    found = lake_from(kind, texts, tmp_path)
    without = ["source_line", *([] if SOURCES[kind].has_station else ["station"])]
    for week in WEEKS:
        part = Path(f"week={week}") / "part-0.parquet"
        for table in (TURNSTILE_READINGS, *RIDERSHIP):
            ours, theirs = (pl.read_parquet(lake / table.layer / table.name / part) for lake in (found, expected))
            drop = without if table is TURNSTILE_READINGS else []
            # Readings and traffic have the order in which the turnstiles come in the source.
            key = list(table.key)
            assert_frame_equal(ours.drop(drop).sort(key), theirs.drop(drop).sort(key), check_exact=True)
    for mart in MARTS:
        ours, theirs = (pl.read_parquet(lake / "marts" / mart.name / "part-0.parquet") for lake in (found, expected))
        assert_frame_equal(ours, theirs, check_exact=True)
