"""A place that a command cannot use ends it with one message, and nothing is created."""

import errno
import tempfile
import threading
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner, Result
from google.auth.exceptions import DefaultCredentialsError

from mta_pipeline.cli import main, places
from mta_pipeline.cli.exit_codes import CommandError, ExitCode
from mta_pipeline.cli.places import make_home, project_home, require_records
from mta_pipeline.cli.summary import dev_command
from mta_pipeline.lake import gcs
from mta_pipeline.settings import Settings, read_settings
from mta_pipeline_tests.support.published_files import WEEK

RUN, ACCEPT = ("run", "--weeks", WEEK), ("accept", WEEK)
SUMMARY, STATUS, METRICS = ("summary", "--weeks", WEEK), ("status",), ("metrics", "--port", "0")
WITH_RECORDS = (RUN, ACCEPT, STATUS, METRICS)
WITH_LAKE = (*WITH_RECORDS, SUMMARY, ("verify",))
BUCKET = "gs://bucket/lake"


@pytest.fixture(autouse=True)
def work_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a file and a directory, outside of the project, and an environment without settings."""
    for variable in ("MTA_FEED", "LAKE_ROOT", "DAGSTER_HOME", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_command(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(main, words, env=environment)


def assert_refused(result: Result, code: ExitCode, *parts: str) -> None:
    assert (result.exit_code, type(result.exception)) == (code, SystemExit), result.output
    [line] = result.output.splitlines()
    assert line.startswith("Error: ")
    assert [part for part in parts if part not in line] == []
    assert sorted(path.name for path in Path.cwd().rglob("*")) == ["file", "folder"]


@pytest.mark.parametrize("command", WITH_RECORDS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("home", "code", "expected"),
    [
        ("folder", ExitCode.CONFIGURATION, "Dagster needs an absolute path: set it to {}/folder"),
        ("{}/none", ExitCode.CONFIGURATION, "{}/none does not exist. Create the directory (mkdir -p {}/none)"),
        ("{}/file", ExitCode.CONFIGURATION, "{}/file is a file, not a directory"),
        ("{}/file/home", ExitCode.CONFIGURATION, "{}/file is a file. Choose another path."),
        ("/proc/1/home", ExitCode.UNREACHABLE, "DAGSTER_HOME=/proc/1/home cannot be written: "),
        ("", ExitCode.CONFIGURATION, "DAGSTER_HOME is not set, and this is not the project's folder"),
    ],
    ids=["relative", "missing", "file", "below a file", "unwritable", "unset outside of the project"],
)
def test_records_that_cannot_be_used(work_dir, command, home, code, expected):
    if not home and command in (RUN, ACCEPT):
        return  # They need no records.
    place = str(work_dir)
    environment = {"DAGSTER_HOME": home.replace("{}", place), "MTA_FEED": "folder"}
    assert_refused(run_command(*command, **environment), code, "DAGSTER_HOME", expected.replace("{}", place))


def test_records_in_a_database_need_no_directory_that_can_be_written(work_dir, monkeypatch):
    def fail(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    settings = Settings(dagster_home=work_dir / "folder")
    (work_dir / "folder" / "dagster.yaml").write_text("storage:\n  postgres: {}\n")
    require_records(settings, creates=True)
    (work_dir / "folder" / "dagster.yaml").write_text("# storage: files\n")
    with pytest.raises(CommandError, match="cannot be written: Read-only file system"):
        require_records(settings, creates=False)


@pytest.mark.parametrize("command", WITH_LAKE, ids=lambda words: words[0])
@pytest.mark.parametrize("lake", ["file", "file/lake"])
def test_a_lake_that_is_or_is_below_a_file(work_dir, command, lake):
    result = run_command(*command, LAKE_ROOT=lake, DAGSTER_HOME=f"{work_dir}/folder")
    assert_refused(result, ExitCode.CONFIGURATION, f"LAKE_ROOT={work_dir}/{lake} ", "Choose another path.")


@pytest.mark.parametrize("command", [RUN, ACCEPT], ids=lambda words: words[0])
def test_a_lake_that_cannot_be_written(command):
    result = run_command(*command, LAKE_ROOT="/proc/1/lake")
    assert_refused(result, ExitCode.UNREACHABLE, "LAKE_ROOT=/proc/1/lake cannot be written: ", "correct the rights")


@pytest.fixture
def no_network(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(requests, "get", fail)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("command", [*WITH_LAKE, ("compare", BUCKET, "folder")], ids=lambda words: words[0])
def test_a_bucket_without_network(work_dir, command):
    result = run_command(*command, LAKE_ROOT=BUCKET, DAGSTER_HOME=f"{work_dir}/folder")
    assert_refused(result, ExitCode.UNREACHABLE, f"{BUCKET} cannot be used: ", "Check the network")


@pytest.mark.usefixtures("no_network")
def test_a_feed_in_a_bucket_without_network():
    assert_refused(run_command(*RUN, MTA_FEED=BUCKET), ExitCode.UNREACHABLE, f"MTA_FEED={BUCKET} cannot be used: ")


def test_a_bucket_without_credentials(monkeypatch):
    def client() -> None:
        raise DefaultCredentialsError("none")

    monkeypatch.setattr(gcs, "require_connection", lambda: None)
    monkeypatch.setattr(gcs, "client", client)
    assert_refused(
        run_command(*SUMMARY, LAKE_ROOT=BUCKET), ExitCode.UNREACHABLE, "gcloud auth application-default login"
    )


def test_a_bucket_that_never_answers(monkeypatch):
    monkeypatch.setattr(places, "_DEADLINE", 0.01)
    monkeypatch.setattr(gcs, "require_connection", threading.Event().wait)
    assert_refused(run_command(*SUMMARY, LAKE_ROOT=BUCKET), ExitCode.UNREACHABLE, "no answer within", "the network")


# --- the project's own places ---


@pytest.fixture
def project(work_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's folder, with the working directory below it."""
    folder = work_dir / "my project"
    for name in ("Makefile", "dagster.yaml", "mta_pipeline/definitions.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    monkeypatch.chdir(folder / "mta_pipeline")
    return folder


def test_the_project_has_one_place_for_each_feed(project, monkeypatch):
    sample = read_settings()
    data = project / "data" / "sample"
    assert (sample.feed, sample.lake_root) == (str(data / "feed"), str(data / "lake"))
    assert sample.is_sample
    assert project_home(sample) == data / "dagster"
    monkeypatch.setenv("MTA_FEED", "mirror")
    assert read_settings().lake_root == str(project / "data" / "real" / "lake")
    assert project_home(read_settings()) == project / "data" / "real" / "dagster"


def test_the_records_of_the_project_are_created_with_its_settings(project):
    home = project_home(read_settings())
    assert home
    result = run_command(*STATUS)
    assert result.exit_code == ExitCode.CONFIGURATION
    assert f"There are no records in {home} yet. `make run` creates them." in result.output
    assert not home.exists()
    for _ in range(2):
        make_home(home)
        assert (home / "dagster.yaml").resolve() == project / "dagster.yaml"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "make -C '{}' dev"),
        ({"feed": "/a feed"}, "MTA_FEED='/a feed' make -C '{}' dev"),
        ({"feed": "/feed", "lake_root": "/lake"}, "MTA_FEED=/feed LAKE_ROOT=/lake make -C '{}' dev"),
        ({"lake_root": "gs://b/lake"}, "LAKE_ROOT=gs://b/lake make -C '{}' dev"),
        ({"dagster_home": "/home"}, "DAGSTER_HOME=/home make -C '{}' dev"),
    ],
    ids=["sample", "feed", "feed and lake", "lake", "records"],
)
def test_the_command_for_the_ui_names_every_place_that_is_not_the_default(project, monkeypatch, settings, expected):
    used = Settings(**settings)
    used = used.model_copy(update={"dagster_home": used.dagster_home or project_home(used)})
    expected = expected.replace("{}", str(project))
    assert dev_command(used) == expected
    monkeypatch.chdir(project)
    assert dev_command(used) == expected.replace(f" -C '{project}'", "")


def test_outside_of_the_project_no_command_for_the_ui_is_named():
    assert dev_command(Settings(dagster_home=Path("/home"))) is None
