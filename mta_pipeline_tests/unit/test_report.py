"""The report shows what the marts hold, and a gap where they hold nothing."""

import datetime as dt
import io
import json
import re

import polars as pl
import pytest
from PIL import Image

from mta_pipeline.report import charts, figures
from mta_pipeline.report.page import Report, Sources, render
from mta_pipeline.turnstile.contract import STATION_COMPLEXES
from mta_pipeline_tests.support.small_lake import STATIONS, SmallLake, interval, sources_of

FIRST, SECOND, THIRD = "2024-01-06", "2024-01-13", "2024-01-20"
NOON = dt.datetime(2024, 2, 1, 12, tzinfo=dt.UTC)
LOST = {"entries": None, "exits": None, "entries_status": "reset", "exits_status": "reset"}
HOSTILE = """</script><script>alert(1)</script><img src=x onerror="alert('2')">&{{ 7 * 7 }}"""


@pytest.fixture
def lake(tmp_path):
    return SmallLake(tmp_path)


def days(week: str, riders: int = 1_000, **others: object) -> list[dict[str, object]]:
    """A week of one turnstile with `riders` exits and half as many entries on each of its seven days."""
    start = dt.date.fromisoformat(week)
    dates = [(start + dt.timedelta(n), start + dt.timedelta(n + 1)) for n in range(7)]
    known = {"entries": riders // 2, "exits": riders, **others}
    return [interval(f"{day} 00", f"{after} 00", **known) for day, after in dates]


def sources(lake: SmallLake) -> Sources:
    return sources_of(lake.root)


def rendered(lake: SmallLake) -> Report:
    return render(sources(lake), NOON)


def exits_by_day(lake: SmallLake) -> dict[str, float | None]:
    tables = sources(lake)
    by_day = figures.days(tables.system_daily, figures.span(tables.data_quality_weekly))
    return dict(by_day.select(pl.col("date").cast(pl.String), "exits").rows())


# --- unknown values ---


def test_a_missing_week_is_a_gap_and_never_zero(lake):
    lake.week(FIRST, *days(FIRST))
    lake.week(THIRD, *days(THIRD))
    riders = exits_by_day(lake)
    assert [riders[f"2024-01-{day}"] for day in (13, 16, 19)] == [None, None, None]
    assert riders["2024-01-11"] == 1_000
    assert riders["2024-01-12"] is None  # a Friday whose last hours are in the missing week's file
    assert 0 not in riders.values()
    page = rendered(lake).html
    assert "Not in the lake:</strong>\nSat 13 Jan 2024 to Fri 19 Jan 2024" in page
    assert "2 of 3" in page
    assert "no two consecutive weeks" in page


def test_lines_have_a_gap_and_a_band_is_drawn_where_a_week_is_missing(lake):
    lake.week(FIRST, *days(FIRST))
    lake.week(THIRD, *days(THIRD))
    tables = sources(lake)
    span = figures.span(tables.data_quality_weekly)
    chart = charts.ridership(figures.ridership(figures.days(tables.system_daily, span)), span, charts.WIDE)
    bands, line, _ = chart["layer"]
    assert [(band["start"], band["end"]) for band in bands["data"]["values"]] == [(SECOND, THIRD)]
    assert {row["people"] for row in line["data"]["values"] if SECOND <= row["middle"] < THIRD} == {None}
    drawn = charts.svg(chart, "x")
    [entries, exits] = re.findall(r'mark-line[^>]*><path[^>]* d="([^"]*)"', drawn)
    assert [path.count("M") for path in (entries, exits)] == [2, 2]


def test_a_day_with_low_coverage_is_a_gap(lake):
    small = days(FIRST, 50, scp="02-00-01")
    lake.week(FIRST, *small, *days(FIRST, **LOST))
    lake.week(SECOND, *days(SECOND), *days(SECOND, 50, scp="02-00-01"))
    riders = exits_by_day(lake)
    assert riders["2024-01-08"] is None
    assert riders["2024-01-15"] == 1_050


def test_unknown_hours_are_null(lake):
    lake.week(FIRST, interval("2024-01-06 08", "2024-01-06 12", 4, 8))
    hours = figures.hours_of_the_week(sources(lake).busiest_places)
    assert hours.height == 168
    assert hours.filter(weekday=6, hour=9)["exits"].to_list() == [2]
    assert hours.filter(weekday=1)["exits"].to_list() == [None] * 24
    texts = [cell["description"] for cell in charts.hours(hours, "exits", charts.WIDE)["data"]["values"]]
    assert texts[0] == "Monday 0:00 to 1:00: not known"


def test_an_empty_lake_gives_a_page_with_a_remedy(lake):
    report = rendered(lake)
    assert "The lake holds no weeks yet" in report.html
    assert "weekly_ridership" in report.html
    assert "<svg" not in report.html
    assert not report.pictures


def test_a_week_without_known_riders_is_reported_and_draws_no_zeros(lake):
    lake.week(FIRST, *days(FIRST, **LOST))
    report = rendered(lake)
    assert report.html.count("No day has complete data yet.") == 3
    assert set(report.pictures) == {"coverage"}
    assert "Exits, average weekday</dt><dd>not known" in report.html


def test_a_week_of_other_carriers_only_is_no_error(lake):
    lake.week(FIRST, *days(FIRST, division="PTH", complex_id=None))
    assert "not known" in rendered(lake).html


# --- known values ---


def test_key_figures_are_those_of_the_marts(lake):
    lake.week(FIRST, *days(FIRST))
    lake.week(SECOND, *days(SECOND, 2_000))
    page = rendered(lake).html
    assert "Exits, average weekday</dt><dd>1,444</dd>" in page  # five weekdays of 1,000 and four of 2,000
    assert "without OMNY taps</dt><dd>722</dd>" in page
    assert "Newest whole day</dt><dd>Thu 18 Jan 2024" in page
    assert "2 of 2" in page
    assert "1 Feb 2024, 12:00 UTC" in page


def test_a_long_span_is_shown_by_week_and_a_week_with_an_unknown_day_is_a_gap(lake):
    start = dt.date.fromisoformat(FIRST)
    weeks = [(start + dt.timedelta(7 * n)).isoformat() for n in range(30)]
    for n, week in enumerate(weeks):
        if n != 10:
            lake.week(week, *days(week))
    tables = sources(lake)
    shown = figures.ridership(figures.days(tables.system_daily, figures.span(tables.data_quality_weekly)))
    assert shown.is_weekly
    assert shown.points["start"].to_list() == [dt.date.fromisoformat(week) for week in weeks]
    # The missing week, the week before it (its Friday is incomplete) and the last week.
    assert [n for n, riders in enumerate(shown.points["exits"]) if riders is None] == [9, 10, 29]
    assert shown.points["exits"].drop_nulls().unique().to_list() == [1_000]


def test_movers_are_compared_with_the_week_before_over_the_same_turnstiles(lake):
    lake.week(FIRST, *days(FIRST), *days(FIRST, 200, complex_id=143, unit="R173"))
    more = days(SECOND, 900, complex_id=143, unit="R173", scp="02-00-09")
    lake.week(SECOND, *days(SECOND, 1_500), *days(SECOND, 100, complex_id=143, unit="R173"), *more)
    moved = figures.movers(sources(lake).station_week_over_week, STATIONS)
    assert moved.week == dt.date.fromisoformat(SECOND)
    assert moved.rows.rows() == [("Lexington Av/59 St", 10_500, 0.5, 0.5)]


def test_complexes_with_the_same_name_are_distinguished_by_their_routes(lake):
    namesakes = pl.DataFrame({"complex_id": [1, 2, 3, 4], "name": ["23 St", "23 St", "23 St", "Jay St"]})
    stations = pl.DataFrame({"complex_id": [1, 2, 4], "daytime_routes": ["F M", "1", "A C"]})
    labels = figures.labels(namesakes, stations)
    assert dict(labels.sort("complex_id").rows()) == {
        1: "23 St (F M)",
        2: "23 St (1)",
        3: "23 St (complex 3)",
        4: "Jay St",
    }


def test_a_complex_that_is_not_in_the_mta_s_list_is_listed_by_its_number_and_not_on_the_map(lake):
    lake.week(FIRST, *days(FIRST, complex_id=999), *days(FIRST, 10, scp="02-00-01"))
    tables = sources(lake)
    places = figures.places(tables.busiest_places, tables.station_complexes)
    assert places.stations["label"].to_list() == ["Lexington Av/59 St", "Complex 999"]
    chart = charts.place_map(places, tables.station_complexes, "exits", places.busiest, charts.WIDE)
    assert len(chart["layer"][2]["data"]["values"]) == 1
    assert "<span>Complex 999</span>" in rendered(lake).html


def test_every_figure_says_exits_or_entries_and_that_entries_do_not_include_omny(lake):
    lake.week(FIRST, *days(FIRST))
    lake.week(SECOND, *days(SECOND, 1_500))
    page = rendered(lake).html
    for section in re.findall(r"<section>.*?</section>", page, flags=re.DOTALL):
        assert "exits" in section.lower()
        assert "entries" not in section.lower() or "OMNY" in section


# --- the file ---


def test_marks_are_described_in_words_and_never_by_field_names(lake):
    lake.week(FIRST, *days(FIRST))
    lake.week(THIRD, *days(THIRD, 1_500))
    described = re.findall(r'<path aria-label="([^"]+)"', rendered(lake).html)
    assert "Sat 6 Jan 2024: 1,000 exits; 500 entries, without OMNY taps" in described
    fields = "start|middle|end|people|register|hour|weekday|label|change|coverage|published|week"
    assert not [text for text in described if re.search(rf"(^|; )({fields}): ", text)]


def test_names_are_escaped_and_run_no_code(lake):
    lake.put(STATION_COMPLEXES, STATIONS.with_columns(name=pl.lit(HOSTILE), borough=pl.lit(HOSTILE)))
    lake.week(FIRST, *days(FIRST), *days(FIRST, complex_id=143, unit="R173"))
    page = rendered(lake).html
    assert "<img" not in page
    assert page.count("<script") == 2
    assert "49" not in re.findall(r"<span>(.*?)</span>", page)[0]
    [places] = re.findall(r'<script type="application/json" id="places">(.*?)</script>', page, flags=re.DOTALL)
    assert json.loads(places)["labels"][0].startswith(HOSTILE)


def test_the_page_loads_nothing_from_elsewhere(lake):
    lake.week(FIRST, *days(FIRST))
    page = rendered(lake).html
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_the_same_tables_and_time_give_the_same_page(lake):
    lake.week(FIRST, *days(FIRST), *days(FIRST, 70, complex_id=143, unit="R173"))
    assert rendered(lake) == rendered(lake)


def test_the_report_of_a_sample_says_that_its_data_is_synthetic(lake):
    lake.week(FIRST, *days(FIRST))
    assert "Synthetic sample data" in render(sources(lake), NOON, sample_weeks=[FIRST]).html
    assert "Synthetic sample data" not in rendered(lake).html


def test_pictures_are_small_enough_for_the_catalogue(lake):
    lake.week(FIRST, *days(FIRST))
    lake.week(SECOND, *days(SECOND, 1_500))
    pictures = rendered(lake).pictures
    assert set(pictures) == {"ridership", "hours_exits", "hours_entries", "map", "movers", "coverage"}
    for picture in pictures.values():
        assert len(picture.png) <= 30_000
        assert max(Image.open(io.BytesIO(picture.png)).size) <= 740
