"""Entries per published MetroCard rider are measured where both are complete, and calibrate other complexes."""

import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta_pipeline.engines import mart
from mta_pipeline.hourly_ridership.agreement import by_week, worst
from mta_pipeline.hourly_ridership.contract import COMPLEX_HOURLY_PUBLISHED, ENTRY_FACTOR
from mta_pipeline.hourly_ridership.entry_factor import entry_factor
from mta_pipeline.marts.contract import LEAST_FACTOR_DAYS, LEAST_FACTOR_RIDERS, RIDERSHIP_RECONCILIATION
from mta_pipeline.orchestration.assets.hourly import whole_days
from mta_pipeline.sources.socrata.staging import hours_of
from mta_pipeline.turnstile.contract import COMPLEX_DAILY
from mta_pipeline_tests.support.published_files import moment
from mta_pipeline_tests.support.small_lake import SmallLake, interval

FIRST, SECOND = dt.date(2024, 1, 6), dt.date(2024, 1, 13)
WEEK = [FIRST + dt.timedelta(n) for n in range(7)]
ALL = pl.Series(WEEK)


def counted(*rows: tuple[int | None, dt.date, int, int]) -> pl.DataFrame:
    """A week of complex_daily: complex, date, entries and seconds that are ok, of 1,000."""
    return pl.DataFrame(
        [(complex_id, day, entries, 0, 1_000, ok) for complex_id, day, entries, ok in rows],
        schema=dict(COMPLEX_DAILY.schema),
        orient="row",
    )


def hours(riders: dict[int, tuple[int, int]], start: dt.date = FIRST) -> pl.DataFrame:
    """A week with these riders and taps in each hour, by complex."""
    rows = [(place, hour, n, 0, taps, 0.0) for place, (n, taps) in riders.items() for hour in hours_of(start)]
    return pl.DataFrame(rows, schema=dict(COMPLEX_HOURLY_PUBLISHED.schema), orient="row")


# --- the table ---


@given(
    st.dictionaries(
        st.integers(1, 9),
        st.tuples(st.integers(1, 50), st.integers(0, 50), st.lists(st.integers(0, 5_000), min_size=7, max_size=7)),
        min_size=1,
    )
)
def test_the_factor_is_all_entries_divided_by_all_metrocard_riders(places):
    daily = counted(
        *(
            (place, day, n, 1_000)
            for place, (_, _, entries) in places.items()
            for day, n in zip(WEEK, entries, strict=True)
        )
    )
    published = hours({place: (cards + taps, taps) for place, (cards, taps, _) in places.items()})
    subway, *complexes = entry_factor([daily], [published], ALL).to_dicts()
    assert [row["complex_id"] for row in complexes] == sorted(places)
    for row in complexes:
        cards, _, entries = places[row["complex_id"]]
        assert (row["days"], row["metrocard_ridership"], row["entries"]) == (7, 168 * cards, sum(entries))
        assert row["factor"] == sum(entries) / (168 * cards)
        assert {row["factor_low"], row["factor_high"]} == {min(entries) / (24 * cards), max(entries) / (24 * cards)}
    assert subway["complex_id"] is None
    assert subway["entries"] == sum(row["entries"] for row in complexes)
    assert subway["factor"] == subway["entries"] / subway["metrocard_ridership"]


def test_a_day_counts_only_if_both_sources_have_all_of_it():
    daily = counted(*((1, day, 240, 1_000) for day in WEEK[:5]), (1, WEEK[5], 240, 980))
    published = hours({1: (10, 0)}).filter(pl.col("hour") != moment("2024-01-07 03"))
    measured = entry_factor([daily], [published], ALL[1:])
    # Left out: Saturday is not whole, Sunday lacks an hour, Thursday has a coverage of 98 %, Friday has no entries.
    assert measured.select("complex_id", "days", "entries", "metrocard_ridership").rows() == [
        (None, 3, 720, 720),
        (1, 3, 720, 720),
    ]


def test_the_parts_of_a_friday_in_two_weeks_are_added_and_booths_without_a_complex_are_left_out():
    friday = WEEK[6]
    daily = [counted((1, friday, 200, 1_000), (None, friday, 9, 1_000)), counted((1, friday, 52, 1_000))]
    measured = entry_factor(daily, [hours({1: (10, 0)})], ALL)
    assert measured["factor"].to_list() == [1.05, 1.05]


def test_a_day_on_which_clocks_change_is_measured():
    for start, sunday, hourly in (
        (dt.date(2024, 3, 9), dt.date(2024, 3, 10), 23),
        (dt.date(2024, 11, 2), dt.date(2024, 11, 3), 24),
    ):
        measured = entry_factor([counted((1, sunday, 300, 1_000))], [hours({1: (10, 0)}, start)], pl.Series([sunday]))
        assert measured["metrocard_ridership"].to_list() == [hourly * 10] * 2


def test_without_metrocard_riders_there_is_no_factor_and_without_overlap_no_row():
    daily = counted(*((1, day, 240, 1_000) for day in WEEK))
    alone = entry_factor([daily], [hours({1: (10, 10)})], ALL)
    assert alone.select("factor", "factor_low", "factor_high").unique().rows() == [(None, None, None)]
    for published in ([], [hours({2: (10, 0)})]):
        assert entry_factor([daily], published, ALL).equals(pl.DataFrame(schema=dict(ENTRY_FACTOR.schema)))


def test_a_saturday_needs_the_week_before_and_a_friday_the_week_after():
    assert whole_days(["2024-01-06", "2024-01-13"]).to_list() == [FIRST + dt.timedelta(n) for n in range(1, 13)]


# --- the calibrated estimate ---


@pytest.fixture
def lake(tmp_path):
    """Two complexes with 120 entries a day and a share of 50 % in two weeks of January 2024."""
    lake = SmallLake(tmp_path)
    for start in (FIRST, SECOND):
        dates = [(start + dt.timedelta(n), start + dt.timedelta(n + 1)) for n in range(7)]
        places = ({"complex_id": 613}, {"complex_id": 143, "unit": "R173"})
        lake.week(str(start), *(interval(f"{a} 00", f"{b} 00", 120, 1, **place) for a, b in dates for place in places))
        lake.published(str(start), riders=10, taps=5)
    return lake


def factors(lake: SmallLake, *rows: tuple[int | None, str, int, int, int]) -> None:
    """Put the table entry_factor: complex, month, days, entries and MetroCard riders."""
    lake.put(
        ENTRY_FACTOR,
        pl.DataFrame(
            [
                (place, dt.date.fromisoformat(month), days, n, cards, n / cards, None, None)
                for place, month, days, n, cards in rows
            ],
            schema=dict(ENTRY_FACTOR.schema),
            orient="row",
        ),
    )


def calibrated(lake: SmallLake) -> dict[int, tuple[str, dt.date | None, float | None, float | None]]:
    """What calibrates each complex: source, month, factor and estimate, the same on all days."""
    days = pl.DataFrame(pl.from_arrow(mart(str(lake.root), "ridership_estimate")))
    columns = ("factor_source", "factor_month", "entry_factor", "calibrated_estimate")
    found = days.select("complex_id", *columns).unique()
    assert found.height == 2
    return {complex_id: tuple(rest) for complex_id, *rest in found.rows()}


JANUARY = dt.date(2024, 1, 1)


def test_a_complex_is_calibrated_with_the_factor_of_all_other_complexes(lake):
    factors(lake, (None, "2024-01-01", 14, 60_000, 45_000), (613, "2024-01-01", 14, 35_000, 25_000))
    assert calibrated(lake) == {
        613: ("month", JANUARY, 1.25, 240 / 1.25),  # (60,000 - 35,000) ÷ (45,000 - 25,000)
        143: ("month", JANUARY, 60 / 45, pytest.approx(240 / (60 / 45))),
    }


def test_a_complex_s_own_published_riders_do_not_change_its_calibrated_estimate(lake):
    others = (25_000, 20_000)
    found = set()
    for own in ((10_000, 9_000), (90_000, 30_000)):
        factors(lake, (None, "2024-01-01", 14, own[0] + others[0], own[1] + others[1]), (613, "2024-01-01", 14, *own))
        found.add(calibrated(lake)[613])
    assert len(found) == 1


@pytest.mark.parametrize(
    ("months", "expected"),
    [
        ({"2023-11-01": 1.5, "2024-02-01": 1.25}, ("nearest_month", "2024-02-01", 1.25)),
        ({"2023-12-01": 1.5, "2024-02-01": 1.25}, ("nearest_month", "2023-12-01", 1.5)),
        ({"2017-01-01": 1.5}, ("nearest_month", "2017-01-01", 1.5)),
        ({"2024-01-01": 1.25, "2024-02-01": 1.5}, ("month", "2024-01-01", 1.25)),
        ({}, ("unknown", None, None)),
    ],
)
def test_without_a_factor_of_the_month_the_nearest_month_is_used_and_the_earlier_of_two(lake, months, expected):
    factors(lake, *((None, month, 14, int(factor * 20_000), 20_000) for month, factor in months.items()))
    source, month, factor = expected
    in_month = month and dt.date.fromisoformat(month)
    assert calibrated(lake)[613] == (source, in_month, factor, factor and 240 / factor)


@pytest.mark.parametrize(("days", "riders"), [(LEAST_FACTOR_DAYS - 1, 20_000), (14, LEAST_FACTOR_RIDERS - 1)])
def test_a_month_with_too_few_days_or_riders_is_passed_over(lake, days, riders):
    factors(lake, (None, "2024-01-01", days, 2 * riders, riders), (None, "2023-01-01", 7, 12_500, 10_000))
    assert calibrated(lake)[613][:3] == ("nearest_month", dt.date(2023, 1, 1), 1.25)


def test_if_the_other_complexes_have_too_few_riders_the_factor_is_unknown_and_not_1(lake):
    factors(lake, (None, "2024-01-01", 14, 60_000, 45_000), (613, "2024-01-01", 14, 50_000, 40_000))
    assert calibrated(lake)[613] == ("unknown", None, None, None)


def test_the_reconciliation_shows_the_calibrated_ratio_beside_the_plain_one(lake):
    factors(lake, (None, "2024-01-01", 14, 25_000, 20_000))
    week, *_ = pl.DataFrame(pl.from_arrow(mart(str(lake.root), "ridership_reconciliation"))).to_dicts()
    assert (week["days"], week["ridership_estimate"], week["ratio"]) == (7, 7 * 240, 1.0)
    assert (week["calibrated_estimate"], week["calibrated_ratio"]) == pytest.approx((7 * 192, 0.8))


def test_without_a_factor_the_reconciliation_has_no_calibrated_ratio(lake):
    week, *_ = pl.DataFrame(pl.from_arrow(mart(str(lake.root), "ridership_reconciliation"))).to_dicts()
    assert (week["ratio"], week["calibrated_estimate"], week["calibrated_ratio"]) == (1.0, None, None)


# --- agreement ---


def reconciled(*calibrated: float | None) -> pl.DataFrame:
    """One week in which complexes are estimated 10 % too high, with their calibrated estimates."""
    rows = [
        {"week": FIRST, "complex_id": n, "name": f"Place {n}", "days": 7, "coverage": 1.0}
        | {"ridership_estimate": 2_200.0, "published": 2_000, "ratio": 1.1, "calibrated_estimate": estimate}
        for n, estimate in enumerate(calibrated)
    ]
    return pl.DataFrame(rows, schema=dict(RIDERSHIP_RECONCILIATION.schema))


def test_deviations_of_complexes_do_not_cancel_out_as_their_sum_does():
    (week,) = by_week(reconciled(2_100.0, 1_900.0)).to_dicts()
    assert (week["ratio"], week["calibrated_ratio"]) == (1.1, 1.0)
    assert (week["deviation"], week["calibrated_deviation"]) == (0.1, 0.05)


def test_a_week_with_a_complex_that_is_not_calibrated_has_no_calibrated_figures():
    pairs = reconciled(2_000.0, None)
    (week,) = by_week(pairs).to_dicts()
    assert (week["deviation"], week["calibrated_ratio"], week["calibrated_deviation"]) == (0.1, None, None)
    assert worst(pairs).select("complex_id", "calibrated_ratio").rows() == [(0, 1.0), (1, None)]
