"""Ridership is estimated from entries and OMNY share, with an error band, and compared with published ridership."""

import datetime as dt

import polars as pl
import pytest

from mta_pipeline.engines import mart
from mta_pipeline.hourly_ridership.agreement import by_week, worst
from mta_pipeline.hourly_ridership.contract import COMPLEX_HOURLY_PUBLISHED, HOURLY_RIDERSHIP, OMNY_SHARE
from mta_pipeline.hourly_ridership.omny import omny_share
from mta_pipeline.hourly_ridership.published import complex_hourly_published, hours_missing, unknown_complexes
from mta_pipeline.marts.contract import AGREEMENT, RIDERSHIP_RECONCILIATION
from mta_pipeline_tests.support.published_files import moment
from mta_pipeline_tests.support.small_lake import STATIONS, SmallLake, interval

BEFORE_OMNY, FIRST, SECOND = "2019-04-20", "2024-01-06", "2024-01-13"


@pytest.fixture
def lake(tmp_path):
    return SmallLake(tmp_path)


def days(week: str, entries: int, **others: object) -> list[dict[str, object]]:
    """A week of one turnstile with that number of entries on each day."""
    start = dt.date.fromisoformat(week)
    dates = [(start + dt.timedelta(n), start + dt.timedelta(n + 1)) for n in range(7)]
    return [interval(f"{day} 00", f"{after} 00", entries, 1, **others) for day, after in dates]


def rows_of(lake: SmallLake, name: str) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(mart(str(lake.root), name)))


def test_entries_are_divided_by_the_share_of_riders_without_omny(lake):
    lake.week(FIRST, *days(FIRST, 50))
    lake.published(FIRST, riders=10, taps=6)
    (day, *_) = rows_of(lake, "ridership_estimate").to_dicts()
    assert (day["share_source"], day["omny_share"], day["ridership_estimate"]) == ("complex", 0.6, 125.0)
    # The share is the same on all days, so the band contains only the error of the agreement.
    assert (day["estimate_low"], day["estimate_high"]) == pytest.approx((125 * (1 - AGREEMENT), 125 * (1 + AGREEMENT)))


def test_before_omny_the_share_is_zero_whatever_is_published(lake):
    lake.week(BEFORE_OMNY, *days(BEFORE_OMNY, 50))
    estimate = rows_of(lake, "ridership_estimate")
    assert set(estimate.select("share_source", "omny_share", "ridership_estimate").rows()) == {
        ("before_omny", 0.0, 50.0)
    }


def test_a_complex_without_a_share_uses_the_share_of_the_whole_subway_and_is_flagged(lake):
    lake.week(FIRST, *days(FIRST, 50))
    lake.published(FIRST, riders=10, taps=5, complexes=[143])
    estimate = rows_of(lake, "ridership_estimate")
    assert set(estimate.select("share_source", "ridership_estimate").rows()) == {("subway", 100.0)}


def test_the_band_of_a_substituted_share_is_as_wide_as_complexes_differ(lake):
    lake.week(FIRST, *days(FIRST, 60))
    lake.published(FIRST, riders=10, taps=5, complexes=[143])
    share = pl.read_parquet(lake.path(OMNY_SHARE)).with_columns(share_low=pl.lit(0.4), share_high=pl.lit(0.7))
    lake.put(OMNY_SHARE, share)
    (day, *_) = rows_of(lake, "ridership_estimate").to_dicts()
    assert day["estimate_low"] == pytest.approx(60 / 0.6 * (1 - AGREEMENT))
    assert day["estimate_high"] == pytest.approx(60 / 0.3 * (1 + AGREEMENT))


def test_without_any_share_the_estimate_is_null(lake):
    lake.week(FIRST, *days(FIRST, 50))
    estimate = rows_of(lake, "ridership_estimate")
    nothing = ("unknown", None, None, None, None)
    shown = ("share_source", "omny_share", "ridership_estimate", "estimate_low", "estimate_high")
    assert set(estimate.select(shown).rows()) == {nothing}


def test_a_share_of_100_percent_cannot_be_used(lake):
    lake.week(FIRST, *days(FIRST, 0))
    lake.published(FIRST, riders=10, taps=10)
    assert set(rows_of(lake, "ridership_estimate")["share_source"]) == {"unknown"}


# --- reconciliation ---


def test_only_days_that_are_complete_on_both_sides_are_compared(lake):
    lake.week(FIRST, *days(FIRST, 120))
    lake.week(SECOND, *days(SECOND, 120))
    lake.published(FIRST, riders=10, taps=5)
    first = pl.read_parquet(lake.path(COMPLEX_HOURLY_PUBLISHED, FIRST))
    # One hour of Tuesday is missing, and all days after it.
    lake.put(COMPLEX_HOURLY_PUBLISHED, first.filter(pl.col("hour") < moment("2024-01-09 23")), FIRST)
    (week,) = rows_of(lake, "ridership_reconciliation").to_dicts()
    assert (week["week"], week["days"], week["published"], week["ratio"]) == (dt.date(2024, 1, 6), 3, 3 * 240, 1.0)


def test_the_day_on_which_clocks_skip_an_hour_is_complete_without_it(lake):
    for week in ("2024-03-09", "2024-03-16"):
        lake.week(week, *days(week, 120))
    lake.published("2024-03-09", riders=10, taps=5)
    (week,) = rows_of(lake, "ridership_reconciliation").to_dicts()
    assert (week["days"], week["published"]) == (7, 167 * 10)


def test_a_week_in_two_months_uses_the_share_of_each_month(lake):
    week = "2024-01-27"
    for start in (week, "2024-02-03"):
        lake.week(start, *days(start, 120))
    lake.published(week, riders=10, taps=5)
    share = pl.read_parquet(lake.path(OMNY_SHARE)).with_columns(
        omny_ridership=pl.when(pl.col("month").dt.month() == 2)
        .then(pl.col("ridership") // 4)
        .otherwise("omny_ridership")
    )
    lake.put(OMNY_SHARE, share)
    (row,) = rows_of(lake, "ridership_reconciliation").to_dicts()
    assert row["ridership_estimate"] == pytest.approx(5 * 120 / 0.5 + 2 * 120 / 0.75)


def reconciled(*pairs: tuple[str, int, float, int]) -> pl.DataFrame:
    rows = [
        {"week": dt.date.fromisoformat(week), "complex_id": c, "name": f"Place {c}", "days": 7, "coverage": 1.0}
        | {"ridership_estimate": estimate, "published": published, "ratio": estimate / published}
        for week, c, estimate, published in pairs
    ]
    return pl.DataFrame(rows, schema=dict(RIDERSHIP_RECONCILIATION.schema))


def test_agreement_is_computed_by_week_and_the_largest_deviations_are_named():
    pairs = reconciled(
        (FIRST, 1, 1_100.0, 1_000), (FIRST, 2, 1_900.0, 2_000), (FIRST, 3, 9_000.0, 9_000), (SECOND, 1, 1_000.0, 1_000)
    )
    weeks = by_week(pairs)
    assert weeks["ratio"].to_list() == [1.0, 1.0]
    assert weeks["correlation"][0] == pytest.approx(0.9998, abs=0.0005)
    assert weeks["correlation"][1] is None
    assert worst(pairs, 2).select("name", "ratio").rows() == [("Place 1", 1.05), ("Place 2", 0.95)]


# --- the hourly tables ---


def test_other_modes_are_ignored_and_invalid_complex_ids_are_unknown():
    row = {"transit_timestamp": moment("2024-01-06 05"), "payment_method": "omny", "ridership": 3, "transfers": 1}
    places = [("subway", "611"), ("subway", "R9"), ("tram", "TRAM1"), ("staten_island_railway", "501")]
    staged = pl.DataFrame(
        [{**row, "transit_mode": mode, "station_complex_id": place} for mode, place in places],
        schema=dict(HOURLY_RIDERSHIP.staged.schema),
    )
    hours = complex_hourly_published(staged)
    assert hours.select("complex_id", "ridership").rows() == [(None, 3), (611, 3)]
    assert unknown_complexes(hours, STATIONS)["complex_id"].to_list() == [None, 611]
    assert len(hours_missing(hours, FIRST)) == 167


def test_shares_are_weighted_by_riders_and_their_range_is_that_of_the_days(lake):
    hours = [(613, f"2024-01-{day:02} 05", 100, taps) for day, taps in zip(range(6, 13), range(40, 47), strict=True)]
    week = pl.DataFrame(
        [(c, moment(hour), riders, 0, taps, taps / riders) for c, hour, riders, taps in hours],
        schema=dict(COMPLEX_HOURLY_PUBLISHED.schema),
        orient="row",
    )
    subway, own = omny_share([week, week.clear()]).to_dicts()
    assert (subway["complex_id"], subway["omny_share"]) == (None, 301 / 700)
    assert (own["complex_id"], own["days"], own["ridership"], own["share_low"], own["share_high"]) == (
        613,
        7,
        700,
        0.4,
        0.46,
    )


def test_without_weeks_there_are_no_shares():
    assert omny_share([]).schema == dict(OMNY_SHARE.schema)
