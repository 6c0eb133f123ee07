"""Fixtures of the tests that run the real definitions."""

from pathlib import Path

import pytest

from mta_pipeline import weeks
from mta_pipeline_tests.dagster.project import WEEKS, Project, valid_week


@pytest.fixture
def short_calendar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the calendar a few weeks before those of the tests, because each tick and run reads all of it."""
    monkeypatch.setattr(weeks, "FIRST_WEEK", "2023-12-02")


@pytest.fixture
def project(short_calendar: None, tmp_path: Path) -> Project:
    """A project whose feed offers three valid weeks with registers that continue from week to week."""
    made = Project(tmp_path)
    for week in WEEKS:
        made.publish(week, valid_week(week))
    return made
