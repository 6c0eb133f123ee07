"""Marts hold what the lake holds, and null where the lake has nothing."""

import datetime as dt
import inspect
from importlib import import_module

import polars as pl
import polars.selectors as cs
import pytest

from mta_pipeline.engines import mart, open_lake
from mta_pipeline.engines.lake_files import LakeIncompleteError
from mta_pipeline.engines.sql import column_lineage
from mta_pipeline.marts import VIEWS, inputs
from mta_pipeline.marts.contract import DIM_DATE, FACT_TURNSTILE, KEYS, MARTS, WAREHOUSE
from mta_pipeline.marts.star import dim_date
from mta_pipeline.tables import TABLES
from mta_pipeline.turnstile.contract import STATION_COMPLEXES, TURNSTILE_TRAFFIC
from mta_pipeline_tests.support.small_lake import SmallLake, interval

FIRST, SECOND, THIRD = "2024-01-06", "2024-01-13", "2024-01-20"
LOST = {"entries": None, "exits": None, "entries_status": "reset", "exits_status": "reset"}
WITHOUT_COMPLEX = {"control_area": "JFK01", "complex_id": None, "division": "IND"}


@pytest.fixture
def lake(tmp_path):
    return SmallLake(tmp_path)


def rows_of(lake: SmallLake, name: str) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(mart(str(lake.root), name)))


def test_the_length_of_an_interval_is_elapsed_time(lake):
    autumn = interval("2023-11-05 01:45", "2023-11-05 01:00", ended_utc_offset=-5)
    spring = interval("2015-03-07 23:22", "2015-03-08 04:22", control_area="A003")
    late_clock = interval("2015-03-08 02:45", "2015-03-08 03:00", started_utc_offset=-5, control_area="A004")
    lake.week("2023-11-04", autumn)
    lake.week("2015-03-07", spring, late_clock, {**spring, "started_at": None, "started_utc_offset": None})
    with open_lake(str(lake.root)) as opened:
        seconds = opened.tables["fact_turnstile"].seconds.to_polars()
    assert sorted(seconds, key=str) == [0, 4 * 3600, 900, None]


@pytest.mark.parametrize("older", [(FIRST,), (FIRST, SECOND)])
def test_files_from_before_the_utc_offsets_count_wall_clock_time(lake, older):
    for week, start in ((FIRST, "2024-01-06 04"), (SECOND, "2024-01-13 04")):
        lake.week(week, interval(start, f"{start[:-2]}08", 5, 5))
    expected = rows_of(lake, "system_daily")
    for week in older:
        path = lake.path(TURNSTILE_TRAFFIC, week)
        pl.read_parquet(path).drop(cs.ends_with("_utc_offset")).write_parquet(path)
    assert rows_of(lake, "system_daily").equals(expected)


def test_a_friday_in_the_files_of_two_weeks_is_one_day(lake):
    lake.week(FIRST, interval("2024-01-12 16", "2024-01-12 20", 5, 7))
    lake.week(
        SECOND, interval("2024-01-12 20", "2024-01-13 00", 2, 3), interval("2024-01-13 00", "2024-01-13 04", 1, 1)
    )
    days = rows_of(lake, "station_daily").select("service_date", "entries", "exits", "is_whole_day").rows()
    assert days == [(dt.date(2024, 1, 12), 7, 10, True), (dt.date(2024, 1, 13), 1, 1, True)]


def test_a_friday_without_its_next_week_is_not_a_whole_day(lake):
    lake.week(FIRST, interval("2024-01-05 22", "2024-01-06 02", 1, 1), interval("2024-01-12 16", "2024-01-12 20", 5, 7))
    days = rows_of(lake, "station_daily").select("service_date", "is_whole_day").rows()
    assert days == [(dt.date(2024, 1, 5), False), (dt.date(2024, 1, 12), False)]


def test_unknown_riders_are_null_and_not_zero(lake):
    lake.week(
        FIRST, interval("2024-01-06 00", "2024-01-06 04", **LOST), interval("2024-01-07 00", "2024-01-07 04", 0, 0)
    )
    for name in ("station_daily", "system_daily"):
        assert rows_of(lake, name).select("entries", "exits", "coverage").rows() == [(None, None, 0.0), (0, 0, 1.0)]


def test_entries_count_where_only_exits_are_unknown(lake):
    lake.week(FIRST, interval("2024-01-06 00", "2024-01-06 04", 5, None, exits_status="reset"))
    for name in ("station_daily", "system_daily"):
        assert rows_of(lake, name).select("entries", "exits", "coverage").rows() == [(5, None, 0.0)]


def test_traffic_without_a_complex_counts_for_the_system_and_for_no_station(lake):
    lake.week(FIRST, interval("2024-01-06 00", "2024-01-06 04", 5, 6, **WITHOUT_COMPLEX))
    assert rows_of(lake, "station_daily").is_empty()
    assert rows_of(lake, "system_daily").select("division", "borough", "entries", "exits").rows() == [
        ("IND", None, 5, 6)
    ]
    quality = rows_of(lake, "data_quality_weekly")
    assert quality.select("entries_without_complex", "exits_without_complex").rows() == [(5, 6)]


def test_a_complex_that_is_not_in_the_mta_s_list_keeps_its_rows_and_is_named_by_its_number(lake):
    lake.week(FIRST, interval("2024-01-08 08", "2024-01-08 12", 5, 6, complex_id=999))
    for name in ("station_daily", "station_peak_hours", "station_week_over_week", "busiest_places"):
        assert set(rows_of(lake, name).select("complex_id", "name", "borough").rows()) == {(999, "Complex 999", None)}


def test_other_carriers_and_bus_turnstiles_are_facts_but_not_subway(lake):
    lake.week(
        FIRST,
        interval("2024-01-06 00", "2024-01-06 04", 1, 1, division="PTH", complex_id=None),
        interval("2024-01-06 00", "2024-01-06 04", 1, 1, control_area="OB01", division="IND", complex_id=None),
        interval("2024-01-06 00", "2024-01-06 04", 1, 1, division=None, complex_id=None),
    )
    assert rows_of(lake, "system_daily").is_empty()
    with open_lake(str(lake.root)) as reader:
        facts = pl.DataFrame(pl.from_arrow(reader.tables["fact_turnstile"].to_pyarrow()))
    assert facts.select("is_subway", "seconds").rows() == [(False, 14_400)] * 3
    assert dict(facts.schema) == dict(FACT_TURNSTILE.schema)


def test_peak_hours_are_averages_of_weekdays_and_of_weekend_days(lake):
    monday, tuesday, saturday = "2024-01-08", "2024-01-09", "2024-01-06"
    lake.week(
        FIRST,
        interval(f"{monday} 08", f"{monday} 12", 30, 90),
        interval(f"{monday} 16", f"{monday} 20", 50, 10),
        interval(f"{tuesday} 08", f"{tuesday} 12", 10, 90),
        interval(f"{tuesday} 16", f"{tuesday} 20", 70, 10),
        interval(f"{saturday} 12", f"{saturday} 16", 7, 7),
    )
    columns = ("day_kind", "block_start", "days", "entries_per_day", "entries_rank", "entries_share", "exits_rank")
    assert rows_of(lake, "station_peak_hours").select(columns).rows() == [
        ("weekday", 8, 2, 20.0, 2, 0.25, 1),
        ("weekday", 16, 2, 60.0, 1, 0.75, 2),
        ("weekend", 12, 1, 7.0, 1, 1.0, 1),
    ]


def test_an_incomplete_day_does_not_lower_averages(lake):
    lake.week(
        FIRST, interval("2024-01-11 20", "2024-01-12 00", 40, 40), interval("2024-01-12 19", "2024-01-12 21", 2, 2)
    )
    assert rows_of(lake, "station_peak_hours").select("block_start", "days", "exits_per_day").rows() == [(20, 1, 40.0)]


def test_busiest_places_rank_complexes_by_weekday_and_hour_and_ties_share_a_rank(lake):
    day = ("2024-01-07 23", "2024-01-08 00")
    lake.week(
        FIRST,
        interval(*day, 9, 1),
        interval(*day, 9, 2, complex_id=143, control_area="N001", unit="R173"),
        interval(*day, 4, 3, complex_id=999),
    )
    columns = ("weekday", "hour", "complex_id", "latitude", "entries_rank", "exits_rank")
    assert sorted(rows_of(lake, "busiest_places").select(columns).rows(), key=lambda row: row[2]) == [
        (7, 23, 143, 40.87, 1, 2),
        (7, 23, 613, 40.76, 1, 3),
        (7, 23, 999, None, 3, 1),
    ]


def test_a_change_against_a_missing_week_is_null(lake):
    for week, riders in ((FIRST, 10), (THIRD, 30), ("2024-01-27", 45), ("2025-01-18", 60)):
        lake.week(week, interval(f"{week} 00", f"{week} 04", riders, riders))
    columns = (
        "entries",
        "entries_week_before",
        "entries_change_week_before",
        "exits_year_before",
        "exits_change_year_before",
    )
    assert rows_of(lake, "station_week_over_week").select(columns).rows() == [
        (10, None, None, None, None),
        (30, None, None, None, None),
        (45, 30, 0.5, None, None),
        (60, None, None, 30, 1.0),
    ]


def test_a_change_against_no_riders_is_null_and_not_infinite(lake):
    lake.week(FIRST, interval("2024-01-06 00", "2024-01-06 04", 0, 0))
    lake.week(SECOND, interval("2024-01-13 00", "2024-01-13 04", 5, 5))
    weeks = rows_of(lake, "station_week_over_week")
    assert weeks["entries_week_before"].to_list() == [None, 0]
    assert weeks["entries_change_week_before"].to_list() == [None, None]


def test_quality_has_a_row_of_nulls_for_a_missing_week_and_zeros_where_nothing_was_rejected(lake):
    lake.week(
        FIRST, interval("2024-01-06 00", "2024-01-06 04", **LOST), rejects=["duplicate", "duplicate", "superseded"]
    )
    lake.week(THIRD, interval("2024-01-20 00", "2024-01-20 04", 1, 1))
    columns = ("in_lake", "readings", "turnstiles", "rejects_duplicate", "exits_reset", "exits_ok", "coverage")
    assert rows_of(lake, "data_quality_weekly").select(columns).rows() == [
        (True, 1, 1, 2, 1, 0, 0.0),
        (False, None, None, None, None, None, None),
        (True, 1, 1, 0, 0, 1, 1.0),
    ]


def test_an_empty_lake_gives_empty_marts(lake):
    for table in MARTS:
        empty = rows_of(lake, table.name)
        assert empty.is_empty()
        assert dict(empty.schema) == dict(table.schema)


def test_a_lake_without_a_reference_table_is_reported_with_table_and_remedy(lake):
    lake.path(STATION_COMPLEXES).unlink()
    with pytest.raises(LakeIncompleteError, match=r"lake/station_complexes is not in the lake.*Materialize it first"):
        rows_of(lake, "system_daily")


def test_the_calendar_includes_missing_weeks_and_marks_whole_days():
    dates = dim_date([THIRD, FIRST])
    assert dict(dates.schema) == dict(DIM_DATE.schema)
    assert (dates["date"].min(), dates["date"].max(), len(dates)) == (dt.date(2024, 1, 5), dt.date(2024, 1, 26), 22)
    weeks = dates.group_by("week").agg("in_lake", "is_whole_day").sort("week")
    assert weeks.rows() == [
        (dt.date(2023, 12, 30), [False], [False]),
        (dt.date(2024, 1, 6), [True] * 7, [True] * 6 + [False]),
        (dt.date(2024, 1, 13), [False] * 7, [False] * 7),
        (dt.date(2024, 1, 20), [True] * 7, [True] * 6 + [False]),
    ]
    assert dates.filter(weekday=6)["weekday_name"].unique().to_list() == ["Saturday"]


@pytest.mark.parametrize("table", [*VIEWS, *MARTS], ids=lambda table: table.name)
def test_the_function_of_a_mart_takes_its_declared_inputs(table):
    module = "star" if table in VIEWS else table.name
    function = getattr(import_module(f"mta_pipeline.marts.{module}"), table.name)
    assert tuple(inspect.signature(function).parameters) == inputs(table.name)


@pytest.mark.parametrize("table", [*VIEWS, *MARTS], ids=lambda table: table.name)
def test_the_lineage_of_every_column_ends_in_columns_of_the_contract(table):
    known = {(source.name, column) for source in (*TABLES, *WAREHOUSE) for column in (*source.schema, "week")}
    made_from = column_lineage(table.name)
    assert tuple(made_from) == tuple(table.schema)
    assert set().union(*made_from.values()) <= known


def test_lineage_follows_a_column_through_joins_and_sums():
    assert column_lineage("system_daily")["exits"] == {("fact_turnstile", "exits"), ("fact_turnstile", "exits_status")}
    assert column_lineage("station_daily")["name"] == {("dim_station", "name"), ("complex_daily", "complex_id")}


@pytest.mark.parametrize("table", MARTS, ids=lambda table: table.name)
def test_descriptions_of_entries_say_that_omny_is_not_included(table):
    for column in table.columns:
        if column.name in ("entries", "entries_per_day"):
            assert "without OMNY taps" in column.description


def test_rows_are_sorted_by_a_unique_key(lake):
    for week in (FIRST, SECOND):
        hours = [(f"{week} {hour:02}", f"{week} {hour + 1:02}") for hour in range(0, 22, 7)]
        lake.week(week, *(interval(*hour, 5, 5, complex_id=c) for hour in hours for c in (613, 143, None)))
        lake.published(week, 10, 5)
    for table in MARTS:
        keys = rows_of(lake, table.name).select(KEYS[table.name])
        assert not keys.is_empty()
        assert not keys.is_duplicated().any()
        assert keys.equals(keys.sort(KEYS[table.name], nulls_last=True))
