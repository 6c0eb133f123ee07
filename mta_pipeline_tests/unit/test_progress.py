"""A progress line says what is done, and a reader can parse it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta_pipeline.telemetry.progress import Progress, WeekDone, read_progress
from mta_pipeline.weeks import weeks_between

WEEKS = weeks_between("2010-05-01", "2024-05-25")


def lines_of(total: int, *, seconds_so_far: float = 0, outcome: str = "42 rows") -> list[str]:
    lines: list[str] = []
    progress = Progress("turnstile_traffic", total, lines.append, _started=time.monotonic() - seconds_so_far)
    for week in WEEKS[:total]:
        progress.week(week, outcome)
    return lines


@given(
    st.integers(1, len(WEEKS)),
    st.sampled_from([0, 1000]),
    st.sampled_from(["42 rows", "no data", "skipped: Week 2024-01-27 is not published (1 of 2)"]),
)
def test_every_line_is_parsed_as_the_week_that_it_reports(total, seconds, outcome):
    assert [read_progress(line) for line in lines_of(total, seconds_so_far=seconds, outcome=outcome)] == [
        WeekDone("turnstile_traffic", week, done, total) for done, week in enumerate(WEEKS[:total], 1)
    ]


def test_a_line_has_table_week_position_and_outcome():
    assert lines_of(2)[0] == "turnstile_traffic: week 2010-05-01 (1 of 2) 42 rows"


@pytest.mark.parametrize(("seconds", "estimate"), [(0, ""), (60, ", about 60 s left"), (600, ", about 10 min left")])
def test_the_remaining_time_is_shown_from_the_third_week_on_unless_it_is_short(seconds, estimate):
    first, second, third, *_, last = lines_of(6, seconds_so_far=seconds)
    assert third == f"turnstile_traffic: week 2010-05-15 (3 of 6) 42 rows{estimate}"
    assert not any("left" in line for line in (first, second, last))


@pytest.mark.parametrize(
    "message",
    ["", "3 weeks on offer at /feed", "week 2024-01-06: no readings of the week before", "RUN_START", "see x: week 1"],
)
def test_other_log_lines_are_not_parsed_as_progress(message):
    assert read_progress(message) is None
