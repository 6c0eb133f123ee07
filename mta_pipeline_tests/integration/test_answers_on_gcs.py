"""A lake in a bucket has its marts and its report in the bucket, and they become due when a week is newer."""

import os
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from mta_pipeline.cli.run import answers_are_due, make_answers, run_weeks
from mta_pipeline.lake.storage import read_bytes, report_path
from mta_pipeline.sample import SampleFeed
from mta_pipeline.settings import Settings

pytestmark = pytest.mark.slow

pytest_plugins = ["mta_pipeline_tests.support.gcs_emulator"]

WEEK = "2014-10-11"


def test_marts_and_report_are_made_in_the_bucket_if_a_week_is_newer(tmp_path, gcs_bucket):
    lake = f"{gcs_bucket}/answers/lake"
    SampleFeed(seed=0, turnstiles=20, first_week=WEEK).write(tmp_path / "feed", [WEEK])
    settings = Settings(feed=str(tmp_path / "feed"), lake_root=lake)
    assert not answers_are_due(lake)
    with dg.DagsterInstance.ephemeral() as instance, Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere)
        outcome = run_weeks(settings, [WEEK], instance, console)
        assert answers_are_due(lake)
        make_answers(settings, instance, console, outcome)
    assert outcome.exit_code == 0
    assert b"1 of 1" in read_bytes(report_path(lake))
    assert not answers_are_due(lake)
