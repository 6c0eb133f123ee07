"""A week is named by its first day. The file of a week is named by the day after its last day."""

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta_pipeline.orchestration.run_records import weeks_of
from mta_pipeline.weeks import (
    contiguous_ranges,
    file_name,
    is_week,
    week_after,
    week_before,
    week_of_file,
    weeks_between,
)


def test_a_week_and_its_file_map_to_each_other():
    assert file_name("2024-01-06") == "turnstile_240113.txt"
    assert week_of_file("turnstile_240113.txt") == "2024-01-06"
    assert week_of_file("turnstile_100508.txt.gz") == "2010-05-01"
    assert week_of_file("turnstile_591227.txt") == "2059-12-20"


@pytest.mark.parametrize(
    "name",
    [
        "turnstile_100505.txt",
        "turnstile_100501.txt",
        "turnstile_681229.txt",
        "turnstile_691228.txt",
        "turnstile_600103.txt",
        "turnstile_240114.txt",
        "turnstile_241332.txt",
        "turnstile_240113.csv",
        "turnstile_240113.txt.7z",
        "../turnstile_240113.txt",
        "turnstile_240113.txt\n",
        "index.html",
    ],
)
def test_other_file_names_belong_to_no_week(name):
    assert week_of_file(name) is None


@given(st.integers(0, 900))
def test_file_names_and_neighbours_lead_back_to_the_week(n):
    week = weeks_between("2010-05-01", "2030-01-05")[n]
    assert week_of_file(file_name(week)) == week
    assert week_before(week_after(week)) == week


def test_a_range_includes_both_ends_and_an_inverted_range_is_empty():
    assert weeks_between("2023-12-30", "2024-01-13") == ["2023-12-30", "2024-01-06", "2024-01-13"]
    assert weeks_between("2024-01-13", "2023-12-30") == []


def test_consecutive_weeks_make_one_range():
    assert contiguous_ranges(["2024-01-20", "2024-01-06", "2024-01-13", "2024-02-03"]) == [
        ("2024-01-06", "2024-01-20"),
        ("2024-02-03", "2024-02-03"),
    ]
    assert contiguous_ranges([]) == []


@given(st.sets(st.sampled_from(weeks_between("2010-05-01", "2011-05-07"))), st.integers(1, 60))
def test_ranges_cover_exactly_the_weeks_and_none_exceeds_the_limit(weeks, at_most):
    covered = [weeks_between(first, last) for first, last in contiguous_ranges(weeks, at_most=at_most)]
    assert [week for weeks_of_range in covered for week in weeks_of_range] == sorted(weeks)
    assert all(len(weeks_of_range) <= at_most for weeks_of_range in covered)


@given(st.dates())
def test_a_date_is_a_week_exactly_if_it_is_a_saturday(day):
    assert is_week(day.isoformat()) == (day.isoweekday() == 6)


@pytest.mark.parametrize("key", ["2014-10-12", "20141011", "2014-W41-6", "latest", ""])
def test_a_run_over_a_partition_that_is_no_week_covers_no_week(key):
    assert weeks_of(dg.DagsterRun("job", tags={"dagster/partition": key})) == []
