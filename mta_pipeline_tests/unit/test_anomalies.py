"""A week is compared with the weeks before it and with its season: known anomalies are found, ordinary weeks pass."""

import datetime as dt

import polars as pl
import pytest

from mta_pipeline.turnstile.anomalies import AnomalyDetector, WeekFigures, late_complexes, week_figures
from mta_pipeline.turnstile.clock import utc_offset
from mta_pipeline.turnstile.contract import COMPLEX_DAILY
from mta_pipeline.weeks import ONE_WEEK, week_before, week_start, weeks_between

WEEK = "2019-09-14"
COMPLEXES = range(1, 41)
RIDERS = (4_000, 3_000, 9_000, 9_500, 9_600, 9_700, 9_400)


def figures_of(week: str, factor: float = 1.0, *, turnstiles: int = 200, rejects: int = 10, ok: float = 0.999, **of):
    """Figures of a week in which all forty complexes have the same riders. `c7=0.0` multiplies those of complex 7."""
    seconds = turnstiles * 86_400 // len(COMPLEXES)
    noise = 1 + 0.01 * (week_start(week).toordinal() // 7 % 7 - 3)
    rows = [
        (
            number,
            week_start(week) + dt.timedelta(days=day),
            int(riders * factor * noise * of.get(f"c{number}", 1.0)),
            0,
            seconds,
            int(seconds * ok),
        )
        for number in COMPLEXES
        for day, riders in enumerate(RIDERS)
    ]
    daily = pl.DataFrame(rows, schema=COMPLEX_DAILY.schema, orient="row")
    return week_figures(week, daily, turnstiles * 42, rejects)


def assess(week: WeekFigures, *earlier: WeekFigures, weeks_before: int = 8):
    figures = {}
    key = week.week
    for _ in range(weeks_before):
        key = week_before(key)
        figures[key] = figures_of(key)
    figures |= {w.week: w for w in (*earlier, week)}
    return AnomalyDetector(figures.get).judge(week.week)


def unusual(*args, **kwargs) -> list[str]:
    return [departure.measure for departure in assess(*args, **kwargs).departures if departure.is_unusual]


def test_an_ordinary_week_is_not_unusual():
    found = assess(figures_of(WEEK))
    assert (found.weeks_before, found.years, found.is_founded) == (8, 0, True)
    assert len(found.departures) == 5
    assert unusual(figures_of(WEEK)) == []
    assert found.silent.is_empty()
    assert found.doubled.is_empty()


@pytest.mark.parametrize(
    ("anomaly", "unusual_figures"),
    [
        ({"turnstiles": 160}, ["readings", "turnstiles"]),
        ({"rejects": 2_000}, ["rejects"]),
        ({"rejects": 0}, []),
        ({"ok": 0.9}, ["coverage"]),
        ({"ok": 1.0}, []),
        ({"factor": 0.5}, ["ridership"]),
        ({"factor": 1.8}, ["ridership"]),
    ],
    ids=str,
)
def test_each_unusual_figure_is_named_and_no_other(anomaly, unusual_figures):
    assert unusual(figures_of(WEEK, **anomaly)) == unusual_figures


def test_complexes_that_fall_silent_or_double_are_named_unless_all_do():
    found = assess(figures_of(WEEK, c7=0.0, c9=2.0))
    assert found.silent["complex_id"].to_list() == [7]
    assert found.doubled["complex_id"].to_list() == [9]
    all_of_them = assess(figures_of(WEEK, factor=0.05))
    assert all_of_them.silent.is_empty()


def test_a_complex_without_any_rows_is_silent():
    week = figures_of(WEEK)
    without = WeekFigures(WEEK, week.readings, week.rejects, week.days.filter(pl.col("complex_id") != 7))
    assert assess(without).silent["complex_id"].to_list() == [7]


@pytest.mark.parametrize("weeks_before", [0, 2])
def test_without_enough_history_a_week_is_not_assessed(weeks_before):
    found = assess(figures_of(WEEK, factor=0.1), weeks_before=weeks_before)
    assert not found.is_founded
    assert (found.weeks_before, list(found.departures)) == (weeks_before, [])


def test_one_unusual_week_before_changes_little():
    assert unusual(figures_of(WEEK), figures_of("2019-08-31", factor=0.2, turnstiles=20, ok=0.3)) == []


def test_a_holiday_and_a_day_of_snow_do_not_make_a_week_unusual():
    labor_day = figures_of("2019-08-31")
    quiet = labor_day.days.with_columns(
        riders=pl.when(pl.col("day").is_in([2, 4])).then(pl.col("riders") // 3).otherwise("riders")
    )
    assert unusual(WeekFigures("2019-08-31", labor_day.readings, labor_day.rejects, quiet)) == []


def test_the_week_of_christmas_has_too_few_ordinary_days_to_assess_its_ridership():
    found = assess(figures_of("2019-12-28", factor=0.5))
    assert [departure.measure for departure in found.departures] == ["readings", "turnstiles", "rejects", "coverage"]


def test_a_change_that_occurs_every_year_in_the_season_is_usual_and_its_absence_is_unusual():
    years = []
    for n in (1, 2):
        same = week_start(WEEK) - 52 * n * ONE_WEEK
        years += [
            figures_of(w) for w in weeks_between((same - 9 * ONE_WEEK).isoformat(), (same - 2 * ONE_WEEK).isoformat())
        ]
        years += [figures_of((same + shift * ONE_WEEK).isoformat(), factor=1.6) for shift in (-1, 0, 1)]
    assert unusual(figures_of(WEEK, factor=1.6)) == ["ridership"]
    found = assess(figures_of(WEEK, factor=1.6), *years)
    assert found.years == 2
    assert not any(departure.is_unusual for departure in found.departures)
    assert unusual(figures_of(WEEK), *years) == ["ridership"]


def test_a_week_without_any_riders_is_unusual():
    empty = WeekFigures(WEEK, 0, 0, figures_of(WEEK).days.clear())
    assert unusual(empty) == ["turnstiles"]
    assert unusual(empty, weeks_before=0) == []


def test_later_weeks_do_not_change_the_result():
    later = [figures_of(w, factor=0.3) for w in weeks_between("2019-09-21", "2019-10-05")]
    assert assess(figures_of(WEEK), *later).departures == assess(figures_of(WEEK)).departures


def test_a_complex_is_late_if_all_of_its_turnstiles_are():
    start = dt.datetime.combine(week_start(WEEK), dt.time())

    def read(complex_id: int, scp: str, hours: range):
        return [("A002", "R051", scp, "BMT", complex_id, start + dt.timedelta(hours=h)) for h in hours]

    traffic = pl.DataFrame(
        [
            *read(1, "00-00-00", range(0, 120, 4)),
            *read(1, "00-00-01", range(0, 100, 4)),
            *read(2, "00-00-00", range(0, 100, 4)),
            *read(2, "00-00-01", range(0, 168, 4)),
            *read(3, "00-00-00", range(0, 128, 4)),
            *read(4, "00-00-00", range(60, 168, 4)),
        ],
        schema=["control_area", "unit", "scp", "division", "complex_id", "ended_at"],
        orient="row",
    ).with_columns(ended_utc_offset=pl.lit(-4))
    late = late_complexes(WEEK, traffic.lazy())
    assert late.rows() == [(1, 2, 52.0), (4, 1, 60.0)]


@pytest.mark.parametrize(("week", "monday", "hours"), [("2023-11-04", 3, [48.0]), ("2023-03-11", 4, [])])
def test_a_complex_is_late_by_elapsed_time(week, monday, hours):
    start = dt.datetime.combine(week_start(week), dt.time())
    at = [start + dt.timedelta(hours=h) for h in (*range(0, 8, 4), *range(48 + monday, 168, 4))]
    traffic = pl.DataFrame({"ended_at": at, "ended_utc_offset": [utc_offset(each) for each in at]})
    turnstile = {"control_area": "A002", "unit": "R051", "scp": "00-00-00", "division": "BMT", "complex_id": 1}
    rows = traffic.with_columns(pl.lit(value).alias(name) for name, value in turnstile.items())
    assert late_complexes(week, rows.lazy())["hours"].to_list() == hours
