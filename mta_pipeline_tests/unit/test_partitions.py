"""A week is named by its first day, its file by the day after its last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta_pipeline.weeks import contiguous_ranges, file_name, week_after, week_before, week_of_file, weeks_between


def test_a_week_and_its_file_name_the_same_saturdays():
    assert file_name("2024-01-06") == "turnstile_240113.txt"
    assert week_of_file("turnstile_240113.txt") == "2024-01-06"
    assert week_of_file("turnstile_100508.txt.gz") == "2010-05-01"


@pytest.mark.parametrize(
    "name",
    [
        "turnstile_100505.txt",
        "turnstile_240114.txt",
        "turnstile_241332.txt",
        "turnstile_240113.csv",
        "turnstile_240113.txt.7z",
        "../turnstile_240113.txt",
        "turnstile_240113.txt\n",
        "index.html",
    ],
)
def test_other_names_are_of_no_week(name):
    assert week_of_file(name) is None


@given(st.integers(0, 900))
def test_names_and_neighbours_come_back_to_the_week_they_left(n):
    week = weeks_between("2010-05-01", "2030-01-05")[n]
    assert week_of_file(file_name(week)) == week
    assert week_before(week_after(week)) == week


def test_a_range_holds_both_its_ends_and_an_inverted_one_nothing():
    assert weeks_between("2023-12-30", "2024-01-13") == ["2023-12-30", "2024-01-06", "2024-01-13"]
    assert weeks_between("2024-01-13", "2023-12-30") == []


def test_consecutive_weeks_make_one_stretch():
    assert contiguous_ranges(["2024-01-20", "2024-01-06", "2024-01-13", "2024-02-03"]) == [
        ("2024-01-06", "2024-01-20"),
        ("2024-02-03", "2024-02-03"),
    ]
    assert contiguous_ranges([]) == []


@given(st.sets(st.sampled_from(weeks_between("2010-05-01", "2011-05-07"))), st.integers(1, 60))
def test_stretches_cover_exactly_the_weeks_and_none_is_longer_than_wanted(weeks, at_most):
    covered = [weeks_between(first, last) for first, last in contiguous_ranges(weeks, at_most=at_most)]
    assert [week for stretch in covered for week in stretch] == sorted(weeks)
    assert all(len(stretch) <= at_most for stretch in covered)
