"""Fixtures of the tests that run the real definitions."""

from pathlib import Path

import pytest

from mta_pipeline_tests.dagster.project import WEEKS, Project, quiet_week


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose feed offers three sound weeks in which registers go on from week to week."""
    made = Project(tmp_path)
    for n, week in enumerate(WEEKS):
        made.publish(week, quiet_week(week, start=1_000 + n * 420))
    return made
