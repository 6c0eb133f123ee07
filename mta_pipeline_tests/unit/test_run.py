"""`mta-pipeline run` makes marts and report if a week is newer than they are."""

import os

import pytest

from mta_pipeline.cli.run import answers_are_due
from mta_pipeline.lake.storage import report_path
from mta_pipeline.turnstile.contract import TURNSTILE_REJECTS
from mta_pipeline_tests.support.small_lake import SmallLake, interval

FIRST, SECOND = "2024-01-06", "2024-01-13"


@pytest.fixture
def lake(tmp_path):
    return SmallLake(tmp_path)


def report(lake: SmallLake, *, seconds_after: float, week: str = FIRST) -> None:
    """Write a report whose time is that many seconds after the time of a week's table."""
    page = report_path(str(lake.root))
    page.parent.mkdir(exist_ok=True)
    page.write_text("made")
    at = lake.path(TURNSTILE_REJECTS, week).stat().st_mtime + seconds_after
    os.utime(str(page), (at, at))


def test_marts_are_not_due_in_a_lake_without_weeks(lake):
    assert not answers_are_due(str(lake.root))


def test_marts_are_due_until_a_report_is_as_new_as_every_week(lake):
    lake.week(FIRST, interval("2024-01-06 00", "2024-01-06 04", 1, 1))
    assert answers_are_due(str(lake.root))
    report(lake, seconds_after=60)
    assert not answers_are_due(str(lake.root))
    report(lake, seconds_after=-60)
    assert answers_are_due(str(lake.root))


def test_a_later_week_makes_marts_due_again(lake):
    lake.week(FIRST, interval("2024-01-06 00", "2024-01-06 04", 1, 1))
    report(lake, seconds_after=60)
    lake.week(SECOND, interval("2024-01-13 00", "2024-01-13 04", 1, 1))
    later = lake.path(TURNSTILE_REJECTS, FIRST).stat().st_mtime + 120
    os.utime(lake.path(TURNSTILE_REJECTS, SECOND), (later, later))
    assert answers_are_due(str(lake.root))
