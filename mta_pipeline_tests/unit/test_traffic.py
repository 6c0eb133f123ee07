"""Traffic is the difference of consecutive readings where the contract's rules accept it."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta_pipeline.turnstile.clock import utc_offset
from mta_pipeline.turnstile.contract import TURNSTILE_READINGS, TURNSTILE_TRAFFIC
from mta_pipeline.turnstile.traffic import traffic
from mta_pipeline_tests.support.published_files import BOOTHS, moment


def readings(*rows: tuple[str, int, int], booth: tuple[str, str, str] = ("A002", "R051", "02-00-00")) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (*booth, "59 ST", "NQR456W", "BMT", moment(at), "REGULAR", entries, exits, 1, utc_offset(moment(at)))
            for at, entries, exits in rows
        ],
        schema=dict(TURNSTILE_READINGS.schema),
        orient="row",
    )


def entries_of(week: pl.DataFrame, before: pl.DataFrame | None = None) -> list[tuple[int | None, str]]:
    table = traffic(week, before, BOOTHS)
    assert dict(table.schema) == dict(TURNSTILE_TRAFFIC.schema)
    return table.select("entries", "entries_status").rows()


def test_an_interval_has_its_turnstile_complex_times_service_date_and_people():
    friday = readings(("2024-01-05 21", 90, 45))
    assert traffic(readings(("2024-01-06 01", 100, 50)), friday, BOOTHS).row(0, named=True) == {
        "control_area": "A002",
        "unit": "R051",
        "scp": "02-00-00",
        "division": "BMT",
        "complex_id": 613,
        "started_at": moment("2024-01-05 21"),
        "ended_at": moment("2024-01-06 01"),
        "service_date": moment("2024-01-05 21").date(),
        "entries": 10,
        "exits": 5,
        "entries_status": "ok",
        "exits_status": "ok",
        "started_utc_offset": -5,
        "ended_utc_offset": -5,
    }


def test_the_first_interval_of_a_week_starts_at_the_last_reading_of_the_week_before():
    before = readings(("2024-01-05 17", 80, 40), ("2024-01-05 21", 90, 45))
    week = readings(("2024-01-06 01", 100, 50), ("2024-01-06 05", 103, 51))
    assert entries_of(week, before) == [(10, "ok"), (3, "ok")]


def test_without_an_earlier_reading_the_first_interval_has_status_first_and_null_traffic():
    week = readings(("2024-01-06 01", 100, 50), ("2024-01-06 05", 103, 51))
    other = readings(("2024-01-05 21", 90, 45), booth=("A002", "R051", "02-00-01"))
    assert entries_of(week) == entries_of(week, other) == [(None, "first"), (3, "ok")]


def test_turnstiles_are_identified_by_all_three_parts_of_their_key():
    week = pl.concat(
        readings(("2024-01-06 01", start, 0), ("2024-01-06 05", start + 1, 0), booth=booth)
        for start, booth in enumerate(
            [
                ("A002", "R051", "02-00-00"),
                ("A002", "R051", "02-00-01"),
                ("A002", "R052", "02-00-01"),
                ("A003", "R052", "02-00-01"),
            ]
        )
    )
    assert entries_of(week) == [(None, "first"), (1, "ok")] * 4


def test_a_register_that_counts_down_gives_the_same_traffic():
    before = readings(("2024-01-05 21", 100, 100))
    week = readings(("2024-01-06 01", 90, 110), ("2024-01-06 05", 85, 120), ("2024-01-06 09", 86, 119))
    table = traffic(week, before, BOOTHS)
    assert table.select("entries", "entries_status", "exits", "exits_status").rows() == [
        (10, "ok", 10, "ok"),
        (5, "ok", 10, "ok"),
        (None, "reset", None, "reset"),
    ]


def test_with_as_many_rises_as_falls_a_register_counts_up():
    assert entries_of(readings(("2024-01-06 01", 5, 0), ("2024-01-06 05", 9, 0), ("2024-01-06 09", 2, 0))) == [
        (None, "first"),
        (4, "ok"),
        (None, "reset"),
    ]


@pytest.mark.parametrize(
    ("end", "most"),
    [("2024-01-06 01:00:00", 1_800), ("2024-01-06 04:30:00", 8_100), ("2024-01-06 10:00:00", 8_100 + 1_980)],
)
def test_more_people_than_can_pass_are_implausible(end, most):
    assert entries_of(readings(("2024-01-06 00", 0, 0), (end, most, 0)))[1] == (most, "ok")
    assert entries_of(readings(("2024-01-06 00", 0, 0), (end, most + 1, 0)))[1] == (None, "implausible")


def test_an_interval_longer_than_a_day_keeps_its_traffic_as_a_long_gap():
    assert entries_of(readings(("2024-01-06 00", 0, 0), ("2024-01-07 00", 50, 0)))[1] == (50, "ok")
    assert entries_of(readings(("2024-01-06 00", 0, 0), ("2024-01-07 00:00:01", 50, 0)))[1] == (50, "long_gap")


def test_the_traffic_of_an_unknown_booth_is_kept_without_a_complex():
    table = traffic(readings(("2024-01-06 00", 0, 0), booth=("R533A", "R999", "00-00-00")), None, BOOTHS)
    assert table["complex_id"].to_list() == [None]


@given(st.lists(st.integers(0, 900), min_size=2, max_size=40), st.integers(1, 39), st.booleans())
def test_all_riders_are_recovered_wherever_the_week_border_is(people, border, down):
    border = min(border, len(people))
    start = 10**6
    registers = [start + (-1 if down else 1) * sum(people[: n + 1]) for n in range(len(people))]
    hours = pl.datetime_range(moment("2024-01-06 00"), interval="4h", eager=True, end=moment("2024-01-12 20"))
    rows = [(str(at), register, register) for at, register in zip(hours, registers, strict=False)]
    before, week = readings(*rows[:border]), readings(*rows[border:])
    recovered = traffic(week, before, BOOTHS).filter(pl.col("entries_status") == "ok")["entries"].sum()
    falls = sum(p > 0 for p in people[border : len(rows)])
    assert recovered == (sum(people[border : len(rows)]) if falls or not down else 0)
