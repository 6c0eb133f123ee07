"""The summary shows the figures of the lake's files."""

import io
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from mta_pipeline.cli.summary import known_truth, show, summarize
from mta_pipeline.lake.parquet import to_parquet
from mta_pipeline.lake.storage import part_path, read_bytes, write_atomically
from mta_pipeline.schema import Table
from mta_pipeline.settings import Settings
from mta_pipeline.turnstile.complexes import station_complexes
from mta_pipeline.turnstile.contract import (
    COMPLEX_DAILY,
    STATION_COMPLEXES,
    TURNSTILE_READINGS,
    TURNSTILE_REJECTS,
    TURNSTILE_TRAFFIC,
)
from mta_pipeline.turnstile.readings import stage
from mta_pipeline.turnstile.ridership import complex_daily
from mta_pipeline.turnstile.traffic import traffic
from mta_pipeline.weeks import week_before, weeks_between
from mta_pipeline_tests.support.published_files import BOOTHS, WEEK, modern_file, modern_line

INWOOD, PATH = "N001,R173,00-00-00", "PTH01,R549,00-00-00"


def subway(at: str, entries: int, exits: int) -> str:
    return modern_line(at, entries, exits)


def inwood(at: str, entries: int, exits: int) -> str:
    return modern_line(at, entries, exits, booth=INWOOD, station="INWOOD-207 ST,A,IND")


def path_station(at: str, entries: int, exits: int) -> str:
    return modern_line(at, entries, exits, booth=PATH, station="NEWARK HW BMEBE,1,PTH")


PUBLISHED = modern_file(
    subway("2024-01-06 00", 1_000, 500),
    subway("2024-01-06 04", 1_010, 503),  # 10 in, 3 out
    subway("2024-01-06 04", 1_010, 503),  # duplicate
    subway("2024-01-06 08", 1_030, 0),  # 20 in; exits reset
    subway("2024-01-08 08", 1_130, 40),  # 100 in and 40 out in a long gap
    subway("2024-01-08 12", 9_999_999, 45),  # entries implausible; 5 out
    inwood("2024-01-06 00", 7, 7),
    inwood("2024-01-06 04", 8, 9),  # 1 in, 2 out
    path_station("2024-01-06 00", 0, 0),
    path_station("2024-01-06 04", 900, 900),  # not subway
    "USE",
)


@pytest.fixture
def lake(tmp_path: Path) -> str:
    """A lake of one small week, made by the pure functions."""
    root = str(tmp_path / "lake")

    def write(table: Table, frame: pl.DataFrame, week: str | None = WEEK) -> None:
        write_atomically(part_path(root, table.layer, table.name, week), to_parquet(frame))

    staged = stage(PUBLISHED, WEEK, BOOTHS)
    people = traffic(staged.readings, None, BOOTHS)
    write(TURNSTILE_READINGS, staged.readings)
    write(TURNSTILE_REJECTS, staged.rejects)
    write(TURNSTILE_TRAFFIC, people)
    write(COMPLEX_DAILY, complex_daily(people))
    write(STATION_COMPLEXES, station_complexes(), None)
    return root


@pytest.fixture
def summary_of(lake: str, tmp_path: Path) -> Callable[..., str]:
    """Returns the summary of some weeks as it is printed."""

    def text(*weeks: str, verbose: bool = False) -> str:
        console = Console(file=io.StringIO(), width=200)
        show(console, Settings(feed=str(tmp_path / "feed"), lake_root=lake), weeks, verbose=verbose)
        return console.file.getvalue()

    return text


def row_of(text: str, first: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [first])


def test_the_counts_of_a_week_equal_those_counted_by_hand(lake):
    [week] = summarize(lake, [WEEK]).weeks.to_dicts()
    assert week == {
        "week": WEEK,
        "readings": 9,
        "turnstiles": 3,
        "entries": 10 + 20 + 100 + 1,
        "exits": 3 + 40 + 5 + 2,
        "entries_ok": 10 + 20 + 1,
        "exits_ok": 3 + 5 + 2,
        "entries_first": 3,
        "entries_reset": 0,
        "entries_implausible": 1,
        "entries_long_gap": 1,
        "exits_first": 3,
        "exits_reset": 1,
        "exits_implausible": 0,
        "exits_long_gap": 1,
    }


def test_rejects_are_counted_by_reason(lake):
    assert summarize(lake, [WEEK]).rejects.select("week", "reason", "rejects").sort("reason").rows() == [
        (WEEK, "duplicate", 1),
        (WEEK, "field_count", 1),
    ]


def test_the_busiest_complexes_come_first_with_their_names(lake):
    busiest = summarize(lake, [WEEK], top=1).busiest
    assert busiest.rows() == [("Lexington Av/59 St", "Manhattan", 30, 8)]
    assert summarize(lake, [WEEK]).busiest["name"].to_list() == ["Lexington Av/59 St", "Inwood-207 St"]


def test_weeks_that_are_not_in_the_lake_are_omitted(lake):
    assert summarize(lake, [week_before(WEEK), WEEK]).weeks["week"].to_list() == [WEEK]
    assert summarize(lake, [week_before(WEEK)]).weeks.is_empty()


def test_the_summary_shows_weeks_rejects_statuses_riders_and_complexes(summary_of, lake):
    text = summary_of(WEEK)
    headers = next(line.split() for line in text.splitlines() if "readings" in line and "turnstiles" in line)
    assert headers == ["week", "readings", "turnstiles", "field_count", "duplicate"]
    assert row_of(text, WEEK) == [WEEK, "9", "3", "1", "1"]
    assert row_of(text, "all") == ["all", "131", "50"]
    assert "Entries leave out riders who tap OMNY" in text
    assert "Lexington Av/59 St" in text
    assert lake in text


def test_a_missing_week_is_named(summary_of):
    assert f"Not in the lake: {week_before(WEEK)}" in summary_of(week_before(WEEK), WEEK)
    assert "None of these weeks is in the lake" in summary_of(week_before(WEEK))


def test_the_riders_of_a_sample_are_shown_next_to_the_truth(summary_of, tmp_path):
    (tmp_path / "feed" / "truth").mkdir(parents=True)
    (tmp_path / "feed" / "truth" / "weeks.csv").write_text(f"week,true_entries,true_exits\n{WEEK},160,40\n")
    text = summary_of(WEEK)
    assert "Riders through subway turnstiles (sample)" in text
    assert [WEEK, "131", "50", "160", "40", f"{181 / 200:.2%}"] in [line.split() for line in text.splitlines()]
    assert "OMNY" not in text


def test_only_a_sample_has_a_known_truth(tmp_path):
    assert known_truth(str(tmp_path)) is None
    assert known_truth("https://mirror.example/turnstile") is None


MANY = weeks_between("2021-11-06", "2022-04-30")


@pytest.fixture
def long_lake(lake: str) -> str:
    """A lake of 26 weeks with the same figures."""
    for table in (TURNSTILE_READINGS, TURNSTILE_REJECTS, TURNSTILE_TRAFFIC, COMPLEX_DAILY):
        contents = read_bytes(part_path(lake, table.layer, table.name, WEEK))
        for week in MANY:
            path = Path(part_path(lake, table.layer, table.name, week))
            path.parent.mkdir()
            path.write_bytes(contents)
    return lake


def test_the_summary_of_many_weeks_fits_on_a_screen_and_has_sums_by_year(long_lake, summary_of):
    text = summary_of(*MANY, "2025-01-04")
    assert len(text.splitlines()) < 45
    assert row_of(text, "26")[:4] == ["26", "weeks", f"{26 * 9:,}", "3"]
    for year, weeks in {"2021": 8, "2022": 18, "all": 26}.items():
        assert row_of(text, year)[1:] == [f"{weeks * 131:,}", f"{weeks * 50:,}"]
    assert "Not in the lake: 2025-01-04" in text


def test_a_verbose_summary_has_every_week(long_lake, summary_of):
    text = summary_of(*MANY, verbose=True)
    assert all(text.count(week) == 3 for week in MANY)
