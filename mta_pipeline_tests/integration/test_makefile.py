"""Variables on make's command line reach the program."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mta_pipeline_tests.conftest import REPOSITORY


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project whose program prints its settings and arguments."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "dagster.yaml"):
        shutil.copy2(REPOSITORY / name, tmp_path / name)
    program = tmp_path / ".venv" / "bin" / "mta-pipeline"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$MTA_FEED $LAKE_ROOT $DAGSTER_HOME" "$@"\n')
    program.chmod(0o755)
    for stamp in (".uv", ".base"):
        (tmp_path / ".venv" / stamp).touch()
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("in_environment", [False, True])
def test_the_feed_and_the_weeks_reach_the_program(checkout, processes, in_environment):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MTA_", "DAGSTER_", "MAKE", "MFLAGS"))
    }
    given = {"MTA_FEED": "https://data.ny.gov", "LAKE_ROOT": "lake"}
    words = [] if in_environment else [f"{name}={value}" for name, value in given.items()]
    output = subprocess.check_output(
        ["make", "run", *words, "WEEKS=2019-06-01"],
        cwd=checkout,
        env=environment | (given if in_environment else {}),
        text=True,
    )
    home = checkout / "data" / "real" / "dagster"
    assert output == f"https://data.ny.gov lake {home} run --weeks 2019-06-01\n"
    assert home.is_dir()
