"""The command line as a person uses it: a fresh sample in the project's folder, and terminals without UTF-8."""

import os
import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from mta_pipeline.cli import main
from mta_pipeline.cli.run import open_records
from mta_pipeline.orchestration.keys import CARRY_IN_PRESENT, asset_key
from mta_pipeline.orchestration.run_records import latest_evaluation
from mta_pipeline.turnstile.contract import TURNSTILE_TRAFFIC
from mta_pipeline.weeks import weeks_between
from mta_pipeline_tests.conftest import REPOSITORY

SETTINGS = ("MTA_FEED", "LAKE_ROOT", "DAGSTER_HOME", "MTA_NOTIFY")


@pytest.mark.slow
def test_after_a_run_of_the_sample_in_a_folder_of_the_project_nothing_is_wrong(many_runs, tmp_path, monkeypatch):
    for variable in SETTINGS:
        monkeypatch.delenv(variable, raising=False)
    project = tmp_path / "project"
    (project / "mta_pipeline").mkdir(parents=True)
    for name in ("Makefile", "dagster.yaml", "mta_pipeline/definitions.py"):
        (project / name).symlink_to(REPOSITORY / name)
    monkeypatch.chdir(project / "mta_pipeline")
    run = CliRunner().invoke(main, ["run"])
    assert run.exit_code == 0, run.output
    assert f"Dagster UI   make -C {project} dev    (with this data)" in run.output
    assert sorted(path.name for path in (project / "data" / "sample").iterdir()) == ["dagster", "feed", "lake"]
    assert [path.name for path in (project / "mta_pipeline").iterdir()] == ["definitions.py"]
    status = CliRunner().invoke(main, ["status"])
    assert (status.exit_code, status.output.splitlines()[-1]) == (0, "Nothing is wrong.")
    check = dg.AssetCheckKey(asset_key(TURNSTILE_TRAFFIC), CARRY_IN_PRESENT)
    with open_records(project / "data" / "sample" / "dagster") as instance:
        assert instance.get_runs_count() == 3
        for week in weeks_between("2014-09-27", "2014-10-18"):
            found = latest_evaluation(instance, check, week)
            assert found is not None
            assert found.passed


EVERY_COMMAND = """
import contextlib, sys
from mta_pipeline.cli import main
week = "2014-10-18"
for words in (
    ["sample", "feed", "--weeks", week, "--turnstiles", "12"], ["run", "--verbose"], ["run", "--again"], ["status"],
    ["summary", "--weeks", week], ["verify"], ["verify", "--json"], ["compare", "lake", "lake"], ["catalogue"],
    ["accept", week], ["notify"], ["--help"], ["metrics", "--port", "-1"], ["portal", "--port", "-1"], ["run", "é…"],
):
    with contextlib.suppress(SystemExit):
        main(words)
    print("ended", words[0])
"""


@pytest.mark.slow
def test_no_command_writes_anything_but_ascii_to_a_terminal_without_utf8(processes, tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").symlink_to(REPOSITORY / "dagster.yaml")
    (tmp_path / "script.py").write_text(EVERY_COMMAND, encoding="utf-8")
    plain = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    places = {"MTA_FEED": "feed", "LAKE_ROOT": "lake", "DAGSTER_HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
    output = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, **plain, **places},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    ).stdout
    assert output.isascii()
    text = output.decode()
    assert not re.search("Traceback|UnicodeEncodeError", text), text
    assert text.count("\nended") == 15
    assert "+---" in text
