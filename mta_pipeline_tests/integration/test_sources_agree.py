"""All sources of the same weeks give the same readings, traffic, ridership and marts, in every row."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from upath import UPath

from mta_pipeline.engines import open_lake
from mta_pipeline.lake.feeds import feed_at
from mta_pipeline.lake.parquet import to_parquet
from mta_pipeline.lake.portal import usage_data_sets
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.lake.storage import part_path, write_atomically
from mta_pipeline.marts.contract import MARTS
from mta_pipeline.sample import Faults, SampleFeed
from mta_pipeline.schema import Table
from mta_pipeline.turnstile.complexes import control_areas, station_complexes
from mta_pipeline.turnstile.contract import (
    COMPLEX_DAILY,
    COMPLEX_HOURLY,
    CONTROL_AREAS,
    STATION_COMPLEXES,
    TURNSTILE_REJECTS,
    TURNSTILE_TRAFFIC,
)
from mta_pipeline.turnstile.readings import stage
from mta_pipeline.turnstile.ridership import complex_daily, complex_hourly
from mta_pipeline.turnstile.traffic import traffic
from mta_pipeline_tests.support.published_files import modern_file, modern_line, moment
from mta_pipeline_tests.support.turnstile_sources import SOURCES

WEEKS = ("2018-12-22", "2018-12-29")
"""The second week is in the exports and data sets of two years."""

# Of two equal readings with other registers, the first in the file counts, and sources have different orders.
FAULTS = replace(Faults.typical(), duplicates=0.0, superseded=0.02, count_down=0.2, long_gaps=0.1)


class Results(NamedTuple):
    """What comes out of the two weeks."""

    readings: pl.DataFrame
    rejects: pl.DataFrame
    """The number of rejects by week and reason."""
    tables: dict[str, pl.DataFrame]
    """Traffic, ridership and marts, by name."""


@pytest.fixture(scope="module")
def texts() -> dict[str, bytes]:
    return {made.week: made.text for made in SampleFeed(5, 12, WEEKS[0], FAULTS).stream(WEEKS)}


@pytest.fixture(scope="module")
def results(texts, tmp_path_factory) -> Callable[[str], Results]:
    def of(kind: str) -> Results:
        folder = tmp_path_factory.mktemp("source")
        with SOURCES[kind].holding(texts, folder / "feed", usage_data_sets()) as location:
            return processed(location, folder / "lake")

    return of


@pytest.fixture(scope="module")
def expected(results) -> Results:
    return results("weekly files")


def processed(location: str, lake: Path, weeks: Sequence[str] = WEEKS) -> Results:
    """Land the weeks from a source, and compute everything else with the pure functions."""
    raw, feed, booths = RawFiles(str(lake)), feed_at(location, str(lake)), control_areas()

    def put(table: Table, rows: pl.DataFrame, week: str | None = None) -> None:
        write_atomically(UPath(part_path(str(lake), table.layer, table.name, week)), to_parquet(rows))
        tables.setdefault(table.name, []).append(rows)

    tables: dict[str, list[pl.DataFrame]] = {}
    readings, rejects, before = [], [], None
    put(CONTROL_AREAS, booths)
    put(STATION_COMPLEXES, station_complexes())
    for week in weeks:
        raw.land(feed, week)
        landed = raw.load(week)
        staged = stage(landed.published, week, booths, landed.lines)
        passed = traffic(staged.readings, before, booths)
        put(TURNSTILE_REJECTS, staged.rejects, week)
        put(TURNSTILE_TRAFFIC, passed, week)
        put(COMPLEX_DAILY, complex_daily(passed), week)
        put(COMPLEX_HOURLY, complex_hourly(passed), week)
        readings.append(staged.readings)
        rejects.append(staged.rejects.group_by("reason").len().sort("reason").with_columns(week=pl.lit(week)))
        before = staged.readings
    del tables[TURNSTILE_REJECTS.name]  # they have the text of the source
    with open_lake(str(lake)) as opened:
        marts = {mart.name: pl.DataFrame(pl.from_arrow(opened.to_pyarrow(mart.name))) for mart in MARTS}
    joined = {name: pl.concat(frames) for name, frames in tables.items()}
    return Results(pl.concat(readings), pl.concat(rejects), joined | marts)


def test_the_weeks_have_all_that_sources_could_lose(expected):
    statuses = expected.tables["turnstile_traffic"]["entries_status"].unique()
    assert set(statuses) >= {"ok", "first", "long_gap"}
    assert expected.rejects["reason"].to_list() == ["superseded", "superseded"]
    assert expected.tables["ridership_estimate"].height > 0
    assert len(expected.tables) == 5 + len(MARTS)


@pytest.mark.parametrize("kind", [kind for kind in SOURCES if kind != "weekly files"])
def test_all_sources_of_the_same_weeks_agree_in_every_row(results, expected, kind):
    found = results(kind)
    # Lines have other numbers in other files.
    assert_frame_equal(without_station(found.readings, kind), without_station(expected.readings, kind))
    assert_frame_equal(found.rejects, expected.rejects)
    for name, table in expected.tables.items():
        assert_frame_equal(found.tables[name], table, check_exact=True)


@pytest.mark.parametrize("kind", [kind for kind, source in SOURCES.items() if not source.has_station])
def test_a_source_without_stations_has_those_of_the_booths(results, kind):
    found = results(kind).readings
    known = control_areas().select("control_area", "unit", known="station")
    both = found.join(known, on=["control_area", "unit"], how="left", maintain_order="left")
    assert both["station"].to_list() == both["known"].to_list()


@pytest.mark.parametrize("step", [7, -7], ids=["counts up", "counts down"])
@pytest.mark.parametrize("kind", ["CSV exports", "TSV exports", "portal"])
def test_the_repeated_hour_of_autumn_does_not_depend_on_the_order_of_rows(tmp_path, kind, step):
    week = "2018-11-03"
    texts = {week: autumn_week(week, step)}
    found = []
    for name in ("weekly files", kind):
        with SOURCES[name].holding(texts, tmp_path / name, usage_data_sets()) as location:
            found.append(processed(location, tmp_path / f"{name} lake", [week]))
    theirs, ours = found
    assert (theirs.rejects.height, theirs.readings.height) == (0, 7 * 24 + 1)
    assert_frame_equal(ours.readings.drop("source_line"), theirs.readings.drop("source_line"))
    for name, table in theirs.tables.items():
        assert_frame_equal(ours.tables[name], table, check_exact=True)


def autumn_week(week: str, step: int) -> bytes:
    """A turnstile that is read every hour, and twice at 01:00. As text, its registers are in another order then."""
    start = moment(week)
    hours = [start + dt.timedelta(hours=n) for n in range(7 * 24)]
    hours.insert(25, hours[25])
    registers = (10_000 + step * (n - 25) - (step > 0) for n in range(len(hours)))
    return modern_file(*(modern_line(str(at), value, value) for at, value in zip(hours, registers, strict=True)))


def without_station(readings: pl.DataFrame, kind: str) -> pl.DataFrame:
    return readings.drop("source_line", *([] if SOURCES[kind].has_station else ["station"]))
