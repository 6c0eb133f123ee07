"""Time is elapsed time in New York, also when the clocks change (rule 10)."""

import datetime as dt
from collections import Counter
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta_pipeline.turnstile.clock import clock_change, offset_of
from mta_pipeline.turnstile.readings import StagedWeek, stage
from mta_pipeline.turnstile.ridership import complex_daily, complex_hourly
from mta_pipeline.turnstile.traffic import traffic
from mta_pipeline.weeks import weeks_between
from mta_pipeline_tests.support.published_files import (
    BOOTHS,
    legacy_file,
    legacy_group,
    legacy_line,
    modern_file,
    modern_line,
    moment,
)

NEW_YORK = ZoneInfo("America/New_York")
CHANGES = (dt.date(2015, 3, 8), dt.date(2015, 11, 1), dt.date(2023, 3, 12), dt.date(2023, 11, 5))
AUTUMN, AUTUMN_DAY = "2023-11-04", "2023-11-05"
SPRING = "2015-03-07"


def week_of(day: dt.date) -> str:
    return (day - dt.timedelta((day.isoweekday() + 1) % 7)).isoformat()


def local(moment_utc: dt.datetime) -> dt.datetime:
    return moment_utc.astimezone(NEW_YORK)


def staged(lines: list[str], week: str = AUTUMN) -> StagedWeek:
    return stage(modern_file(*lines), week, BOOTHS)


def line(at: str, entries: int, **others: str) -> str:
    return modern_line(f"{AUTUMN_DAY} {at}", entries, entries, **others)


def times(week: StagedWeek) -> list[tuple[str, int, int]]:
    columns = pl.col("read_at").dt.strftime("%H:%M"), "utc_offset", "entries_register"
    return week.readings.select(*columns).rows()


def test_the_clocks_change_in_two_weeks_of_a_year():
    changes = [change for week in weeks_between("2022-12-31", "2023-12-23") if (change := clock_change(week))]
    assert changes == [(-5, -4, moment("2023-03-12 03")), (-4, -5, moment("2023-11-05 02"))]
    assert [change.repeats for change in changes] == [False, True]


def test_the_wall_clock_alone_gives_the_first_time_of_the_repeated_hour_and_standard_time_in_the_skipped_hour():
    at = [moment(each) for each in ("2023-11-05 01:30", "2023-11-05 02:00", "2023-03-12 01:59", "2023-03-12 02:30")]
    offsets = pl.DataFrame({"at": [*at, None]}).select(offset_of("at")).to_series()
    assert offsets.to_list() == [-4, -5, -5, -5, None]


def test_an_interval_over_the_skipped_hour_is_an_hour_shorter_and_gives_that_hour_nobody():
    lines = [modern_line(f"2015-03-{at}", n, n) for at, n in (("07 23:22:00", 1000), ("08 04:22:00", 1400))]
    intervals = traffic(staged(lines, SPRING).readings, None, BOOTHS)
    assert intervals.select("started_utc_offset", "ended_utc_offset").row(1) == (-5, -4)
    hours = complex_hourly(intervals)
    assert hours["hour"].dt.hour().to_list() == [23, 0, 1, 3, 4]
    assert hours["entries"].to_list() == pytest.approx([400 * minutes / 240 for minutes in (38, 60, 60, 60, 22)])
    assert complex_daily(intervals)["turnstile_seconds"].to_list() == [4 * 3600]


def test_in_the_repeated_hour_two_readings_an_hour_apart_are_two_readings():
    lines = [line(f"{at}:00", n) for n, at in enumerate(["00:45", "01:15", "01:45", "01:15", "01:45", "02:15"])]
    week = staged(lines)
    assert week.rejects.is_empty()
    assert times(week) == [
        ("00:45", -4, 0), ("01:15", -4, 1), ("01:45", -4, 2), ("01:15", -5, 3), ("01:45", -5, 4), ("02:15", -5, 5),
    ]  # fmt: skip
    assert staged(sorted(lines)).readings.drop("source_line").equals(week.readings.drop("source_line"))
    intervals = traffic(week.readings, None, BOOTHS)
    assert intervals["entries"].to_list() == [None, 1, 1, 1, 1, 1]
    assert complex_daily(intervals)["turnstile_seconds"].to_list() == [5 * 1800]
    assert complex_hourly(intervals)["entries"].to_list() == pytest.approx([0.5, 4.0, 0.5])


def test_in_legacy_files_the_repeated_hour_is_read_twice_too():
    groups = [legacy_group(f"2011-11-06 {at}", n, n) for n, at in enumerate(["00:30", "01:30", "01:30", "02:30"])]
    week = stage(legacy_file(legacy_line(*groups)), "2011-11-05", BOOTHS)
    assert week.rejects.is_empty()
    assert times(week) == [("00:30", -4, 0), ("01:30", -4, 1), ("01:30", -5, 2), ("02:30", -5, 3)]


def test_a_quiet_hour_is_read_twice_if_the_order_of_the_file_says_so():
    lines = [line(at, 7) for at in ("00:45", "01:00", "01:15", "01:00", "01:15", "02:00")]
    assert [offset for _, offset, _ in times(staged(lines))] == [-4, -4, -4, -5, -5, -5]


def test_repeated_lines_of_the_repeated_hour_stay_duplicates():
    lines = [line(at, n) for n, at in enumerate(["00:45", "01:15", "01:45", "01:15", "01:45", "02:15"])]
    again = [each for each in lines for _ in range(2)]
    for published in (again, lines + lines):
        week = staged(published)
        assert times(week) == times(staged(lines))
        assert week.rejects["reason"].to_list() == ["duplicate"] * 6
    once = [lines[0], lines[1], lines[1], lines[2]]
    assert staged(once).rejects["reason"].to_list() == ["duplicate"]
    late_copy = [line("00:45", 0), line("01:15", 1), line("01:45", 2), line("01:15", 1), line("01:55", 3)]
    assert staged(late_copy).rejects.select("source_line", "reason").rows() == [(5, "duplicate")]


def test_in_the_repeated_hour_regular_still_has_precedence():
    readings = [("00:45", 0), ("01:15", 1), ("01:45", 2), ("01:15", 3), ("01:45", 4), ("02:15", 5)]
    lines = [line(at, n) for at, n in readings]
    for nth, (at, n) in enumerate(readings):
        twin = line(at, 100 * n, audit="RECOVR AUD")
        week = staged([*lines[:nth], twin, *lines[nth:]])
        assert times(week) == times(staged(lines))
        assert week.rejects["reason"].to_list() == ["superseded"]


@pytest.mark.parametrize(
    ("before", "at", "after", "offset"),
    [
        ("04 21:22", "05 01:22", "05 04:22", -4),
        ("04 22:22", "05 01:22", "05 05:22", -5),
        ("04 21:22", "05 01:22", "05 05:22", -4),
        ("05 00:45", "05 01:45", "05 02:00", -4),
    ],
)
def test_a_lone_reading_in_the_repeated_hour_gets_the_offset_that_makes_the_intervals_more_alike(
    before, at, after, offset
):
    lines = [modern_line(f"2023-11-{each}", n, n) for n, each in enumerate((before, at, after))]
    assert staged(lines).readings["utc_offset"].to_list() == [-4, offset, -5]
    assert staged(lines[1:]).readings["utc_offset"].to_list() == [-4, -5]
    assert staged(lines[:2]).readings["utc_offset"].to_list() == [-4, -4]


def test_a_clock_that_was_not_set_in_spring_loses_no_reading_and_no_more_than_one_interval():
    at = pl.datetime_range(moment("2015-03-08 01:45"), moment("2015-03-08 03:15"), "15m", eager=True)
    week = staged([modern_line(str(each), 10 * n, 10 * n) for n, each in enumerate(at)], SPRING)
    assert week.rejects.is_empty()
    assert week.readings["read_at"].to_list() == at.to_list()
    assert week.readings["utc_offset"].to_list() == [-5] * 5 + [-4] * 2
    intervals = traffic(week.readings, None, BOOTHS)
    assert intervals["entries_status"].to_list() == ["first", *["ok"] * 4, "implausible", "ok"]
    assert complex_daily(intervals)["turnstile_seconds"].to_list() == [5 * 900]
    hours = complex_hourly(intervals)
    assert hours["hour"].dt.hour().to_list() == [1, 3]
    assert hours["entries"].sum() == pytest.approx(50)


def test_status_counts_elapsed_time():
    def second(start: str, end: str, entries: int) -> str:
        week = week_of(moment(start).date())
        return traffic(staged([modern_line(start, 0, 0), modern_line(end, entries, 0)], week).readings, None, BOOTHS)[
            "entries_status"
        ][1]

    assert second("2023-11-04 20", "2023-11-05 19", 9) == "ok"
    assert second("2023-11-04 20", "2023-11-05 19:00:01", 9) == "long_gap"
    assert second("2015-03-07 20", "2015-03-08 21", 9) == "ok"
    assert second("2015-03-08 00", "2015-03-08 04:00:00", 3 * 1800) == "ok"
    assert second("2015-03-08 00", "2015-03-08 04:00:00", 3 * 1800 + 1) == "implausible"


STEPS = st.sampled_from([15, 30, 60, 4 * 60, 252])


@st.composite
def audits(draw: st.DrawFn) -> tuple[dt.date, list[tuple[dt.datetime, int]]]:
    """Readings of a turnstile around a change of the clocks, as true moments with numbers of people."""
    day = draw(st.sampled_from(CHANGES))
    step = draw(STEPS)
    first = dt.datetime.combine(day, dt.time(), NEW_YORK) - dt.timedelta(minutes=draw(st.integers(0, 600)))
    people = draw(st.lists(st.integers(1, 400), min_size=2, max_size=36 * 60 // step))
    moments = [first.astimezone(dt.UTC) + n * dt.timedelta(minutes=step) for n in range(len(people) + 1)]
    return day, list(zip(moments, [0, *people], strict=True))


@given(audits(), st.sampled_from(["by time", "by wall clock", "in any order"]), st.booleans(), st.randoms())
def test_riders_and_time_agree_with_true_moments(made, order, down, chance):
    day, readings = made
    week = week_of(day)
    registers, total = [], 10**6
    for _, people in readings:
        total += -people if down else people
        registers.append(total)
    lines = [
        modern_line(f"{local(at):%Y-%m-%d %H:%M:%S}", n, n) for (at, _), n in zip(readings, registers, strict=True)
    ]
    if order == "by wall clock":
        lines.sort(key=lambda text: text.split(",")[6:8])
    elif order == "in any order":
        chance.shuffle(lines)
    staged_week = staged(lines, week)

    assert staged_week.rejects.is_empty()
    true = [(local(at).replace(tzinfo=None), local(at).utcoffset() // dt.timedelta(hours=1)) for at, _ in readings]
    found = staged_week.readings.select("read_at", "utc_offset").rows()
    *earlier, last = true
    first_hour = moment(f"{day} 01")
    if day.month == 11 and last[0].hour == 1 and last[1] == -5 and earlier[-1][0] < first_hour <= last[0]:
        # Nothing tells which time it is, so it counts as the first.
        readings[-1] = (readings[-1][0] - dt.timedelta(hours=1), readings[-1][1])
        last = (last[0], -4)
    assert found == [*earlier, last]

    intervals = traffic(staged_week.readings, None, BOOTHS)
    assert down or intervals["entries"].sum() == sum(people for _, people in readings)
    hourly, daily = complex_hourly(intervals), complex_daily(intervals)
    assert daily["turnstile_seconds"].sum() == (readings[-1][0] - readings[0][0]).total_seconds()
    expected: Counter[dt.datetime] = Counter()
    for (start, _), (end, _), people in zip(readings, readings[1:], intervals["entries"][1:], strict=False):
        minutes = int((end - start).total_seconds()) // 60
        for n in range(minutes if people is not None else 0):
            at = local(start + n * dt.timedelta(minutes=1))
            expected[at.replace(minute=0, second=0, tzinfo=None)] += people / minutes
    assert dict(hourly.select("hour", "entries").rows()) == pytest.approx(expected)
