"""Traffic is summed per station complex, by day and by hour, without losing any rider."""

import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta_pipeline.turnstile.clock import utc_offset
from mta_pipeline.turnstile.contract import COMPLEX_DAILY, COMPLEX_HOURLY, TURNSTILE_TRAFFIC
from mta_pipeline.turnstile.ridership import complex_daily, complex_hourly
from mta_pipeline_tests.support.published_files import moment


def interval(
    start: str | dt.datetime,
    end: str | dt.datetime,
    entries: int | None,
    exits: int | None = 0,
    *,
    status: str = "ok",
    exits_status: str | None = None,
    complex_id: int | None = 613,
    division: str = "BMT",
    control_area: str = "A002",
) -> pl.DataFrame:
    started, ended = (moment(at) if isinstance(at, str) else at for at in (start, end))
    turnstile = (control_area, "R051", "02-00-00", division, complex_id)
    people = (entries, exits, status, exits_status or status)
    row = (*turnstile, started, ended, started.date(), *people, utc_offset(started), utc_offset(ended))
    return pl.DataFrame([row], schema=dict(TURNSTILE_TRAFFIC.schema), orient="row")


def test_a_day_sums_ok_intervals_by_the_date_they_start_on():
    traffic = pl.concat(
        [
            interval("2024-01-05 20", "2024-01-06 00", 1, 2),
            interval("2024-01-06 00", "2024-01-06 04", 10, 20),
            interval("2024-01-06 20", "2024-01-07 01", 100, 200),
            interval("2024-01-06 04", "2024-01-07 05", 9999, 9999, status="long_gap"),
            interval("2024-01-06 04", "2024-01-06 05", 7, None, exits_status="reset"),
        ]
    )
    table = complex_daily(traffic)
    assert dict(table.schema) == dict(COMPLEX_DAILY.schema)
    hour = 3600
    assert table.rows() == [
        (613, dt.date(2024, 1, 5), 1, 2, 4 * hour, 4 * hour),
        (613, dt.date(2024, 1, 6), 117, 220, (4 + 5 + 25 + 1) * hour, 9 * hour),
    ]


@pytest.mark.parametrize(
    "other", [{"division": "PTH"}, {"division": "SRT"}, {"control_area": "OB01"}, {"division": None}]
)
def test_other_carriers_and_the_bus_turnstiles_are_left_out(other):
    traffic = interval("2024-01-06 00", "2024-01-06 04", 10, 20, **other)
    assert complex_daily(traffic).is_empty()
    assert complex_hourly(traffic).is_empty()


def test_an_unknown_complex_is_a_row_of_its_own():
    traffic = interval("2024-01-06 00", "2024-01-06 04", 10, 20, complex_id=None)
    assert complex_daily(traffic)["complex_id"].to_list() == [None]
    assert complex_hourly(traffic)["entries"].sum() == pytest.approx(10)


def test_an_interval_is_spread_evenly_over_the_hours_it_covers():
    table = complex_hourly(interval("2024-01-05 22:30:00", "2024-01-06 01:00:00", 50, 100))
    assert dict(table.schema) == dict(COMPLEX_HOURLY.schema)
    assert table.rows() == [
        (613, moment("2024-01-05 22"), 10, 20),
        (613, moment("2024-01-05 23"), 20, 40),
        (613, moment("2024-01-06 00"), 20, 40),
    ]


def test_only_the_register_that_is_ok_counts_in_an_hour():
    traffic = interval("2024-01-06 00", "2024-01-06 01", 50, None, exits_status="implausible")
    assert complex_hourly(traffic).rows() == [(613, moment("2024-01-06 00"), 50, 0)]


INTERVALS = st.lists(st.tuples(st.integers(0, 6 * 86_400), st.integers(1, 86_400), st.integers(0, 5_000)), min_size=1)


@given(INTERVALS)
def test_hours_and_days_hold_every_rider_of_the_intervals(intervals):
    start = moment("2024-01-06 00")
    traffic = pl.concat(
        interval(start + dt.timedelta(seconds=at), start + dt.timedelta(seconds=at + length), people)
        for at, length, people in intervals
    )
    riders = sum(people for _, _, people in intervals)
    assert complex_daily(traffic)["entries"].sum() == riders
    assert complex_hourly(traffic)["entries"].sum() == pytest.approx(riders)
    assert complex_hourly(traffic).equals(complex_hourly(traffic.reverse()))
