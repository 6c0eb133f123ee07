"""What the environment says, and what is told where it cannot be used."""

import datetime as dt
import re
from pathlib import Path

import pytest

from mta_pipeline.settings import REAL_LAKE, SAMPLE_FEED, SAMPLE_LAKE, Settings, SettingsError, java, read_settings
from mta_pipeline_tests.conftest import REPOSITORY

VARIABLES = (
    "MTA_FEED",
    "LAKE_ROOT",
    "MTA_LAST_WEEK",
    "MTA_SODA",
    "MTA_SODA_TOKEN",
    "MTA_NOTIFY",
    "MTA_UI",
    "DAGSTER_HOME",
    "WAREHOUSE",
    "BIGQUERY_MAX_GIB",
    "SPARK_MASTER",
    "SPARK_REMOTE",
)


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and an environment without any setting."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return read_settings()


def test_nothing_set_means_the_sample_and_a_calendar_that_is_open(at_home):
    read = read_settings()
    assert read.is_sample
    assert (read.feed, read.lake_root) == (str(at_home / SAMPLE_FEED), str(at_home / SAMPLE_LAKE))
    assert read.last_week is None
    assert read.dagster_home is None


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch):
    assert settings(monkeypatch, **dict.fromkeys(VARIABLES, "")) == Settings()


@pytest.mark.parametrize("feed", ["mirror", "https://mirror.example/turnstile", "gs://bucket/turnstile"])
def test_real_files_go_to_a_lake_of_their_own(at_home, monkeypatch, feed):
    read = settings(monkeypatch, MTA_FEED=feed)
    assert not read.is_sample
    assert read.lake_root == str(at_home / REAL_LAKE)


@pytest.mark.parametrize("feed", [str(SAMPLE_FEED), f"./{SAMPLE_FEED}/"])
def test_the_sample_goes_to_its_own_lake_also_when_it_is_asked_for_by_name(at_home, monkeypatch, feed):
    for named in (settings(monkeypatch, MTA_FEED=feed), Settings(feed=feed)):
        assert named.is_sample
        assert named.lake_root == str(at_home / SAMPLE_LAKE)


@pytest.mark.parametrize("feed", [{}, {"MTA_FEED": "mirror"}], ids=["sample", "real"])
def test_a_lake_that_is_asked_for_is_taken_whatever_the_feed(monkeypatch, feed):
    assert settings(monkeypatch, **feed, LAKE_ROOT="gs://bucket/lake/").lake_root == "gs://bucket/lake"


def test_paths_mean_the_same_place_in_every_process(at_home, monkeypatch):
    read = settings(monkeypatch, MTA_FEED="~/mirror", LAKE_ROOT="lake")
    assert (read.feed, read.lake_root) == (str(at_home / "home" / "mirror"), str(at_home / "lake"))


def test_the_last_week_of_the_calendar_is_a_saturday(monkeypatch):
    assert settings(monkeypatch, MTA_LAST_WEEK="2024-05-25").last_week == dt.date(2024, 5, 25)


@pytest.mark.parametrize(
    ("value", "told"),
    [("2024-05-26", "2024-05-26 is a Sunday; weeks start on a Saturday"), ("soon", "valid date")],
)
def test_a_setting_that_cannot_be_used_is_told_by_the_name_of_its_variable(monkeypatch, value, told):
    with pytest.raises(SettingsError, match=rf"^Invalid settings: MTA_LAST_WEEK: .*{told}"):
        settings(monkeypatch, MTA_LAST_WEEK=value)


def test_who_is_told_is_shown_nowhere_and_the_ui_has_a_web_address(monkeypatch):
    read = settings(monkeypatch, MTA_NOTIFY="slack://secret-a/secret-b/secret-c", MTA_UI="https://dagster.example/")
    assert "secret-" not in f"{read!r} {read}"
    assert read.ui == "https://dagster.example"
    for address, told in (("dagster.example", "http:// or https://"), ("https://me:word@example", "user or password")):
        with pytest.raises(SettingsError, match=f"MTA_UI: .*{told}"):
            settings(monkeypatch, MTA_UI=address)


def test_spark_runs_in_this_process_on_a_cluster_or_behind_spark_connect(monkeypatch):
    assert read_settings().spark == "local[*]"
    assert settings(monkeypatch, SPARK_MASTER="spark://10.0.0.1:7077").spark == "spark://10.0.0.1:7077"
    assert settings(monkeypatch, SPARK_REMOTE="sc://10.0.0.1:15002").spark == "sc://10.0.0.1:15002"


@pytest.mark.parametrize("server", ["spark://10.0.0.1:7077", "sc://10.0.0.1:15002/;token=secret"])
def test_a_spark_connect_server_is_an_address_without_a_token(monkeypatch, server):
    with pytest.raises(SettingsError, match="SPARK_REMOTE: ") as told:
        settings(monkeypatch, SPARK_REMOTE=server)
    assert "secret" not in str(told.value)


def test_the_warehouse_is_a_file_beside_the_lake_or_another_or_bigquery(at_home, monkeypatch):
    read = settings(monkeypatch, LAKE_ROOT="lake")
    assert (read.bigquery, read.warehouse_file) == (None, at_home / "lake" / "warehouse" / "mta.duckdb")
    read = settings(monkeypatch, LAKE_ROOT="gs://bucket/lake")
    assert (read.bigquery, read.warehouse_file) == (None, None)
    read = settings(monkeypatch, WAREHOUSE="mine.duckdb")
    assert (read.bigquery, read.warehouse_file) == (None, at_home / "mine.duckdb")
    read = settings(monkeypatch, WAREHOUSE="bigquery://my-project/mta_")
    assert (read.bigquery, read.warehouse_file) == (("my-project", "mta_"), None)
    assert settings(monkeypatch, WAREHOUSE="bigquery://my-project").bigquery == ("my-project", "")


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"LAKE_ROOT": "s3://bucket/lake"}, "LAKE_ROOT: .*the lake must be a directory or gs://bucket/prefix"),
        ({"WAREHOUSE": "postgres://host"}, r"WAREHOUSE: .*a DuckDB file or bigquery://PROJECT\[/PREFIX\]"),
        ({"WAREHOUSE": "bigquery://my-project/a-b"}, r"WAREHOUSE: .*a DuckDB file or bigquery://PROJECT\[/PREFIX\]"),
        ({"WAREHOUSE": "bigquery://my-project"}, "BigQuery needs a lake in a bucket; set LAKE_ROOT=gs://"),
        ({"BIGQUERY_MAX_GIB": "0"}, "BIGQUERY_MAX_GIB: .*greater than or equal to 1"),
    ],
    ids=["lake", "warehouse", "prefix", "bigquery over a directory", "limit"],
)
def test_places_that_cannot_be_used_are_told(monkeypatch, variables, told):
    with pytest.raises(SettingsError, match=told):
        settings(monkeypatch, **variables)


def test_no_portal_is_set_unless_somebody_sets_one(monkeypatch):
    assert (read_settings().soda, read_settings().soda_token) == (None, None)
    assert settings(monkeypatch, MTA_SODA="https://data.ny.gov/").soda == "https://data.ny.gov"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://data.ny.gov", "must use https"),
        ("https://somebody:secret@data.ny.gov", "must not contain a user or password"),
        ("data.ny.gov", "the portal must be https://host"),
        ("https://data.ny.gov/?$$app_token=secret", "the portal must be https://host"),
    ],
)
def test_a_portal_that_cannot_be_used_is_refused(monkeypatch, address, told):
    with pytest.raises(SettingsError, match=rf"MTA_SODA: .*{told}"):
        settings(monkeypatch, MTA_SODA=address)


def test_a_portal_s_token_is_not_shown(monkeypatch):
    read = settings(monkeypatch, MTA_SODA="http://127.0.0.1:8100", MTA_SODA_TOKEN="not-for-eyes")
    assert "not-for-eyes" not in f"{read!r} {read}"
    assert read.soda_token.get_secret_value() == "not-for-eyes"


def test_no_other_module_reads_the_environment():
    package = REPOSITORY / "mta_pipeline"
    reads = re.compile(r"getenv|os\.environ(?!\[[^]]+\] = |\.pop)")
    found = [
        str(path) for path in package.rglob("*.py") if path.name != "settings.py" and reads.search(path.read_text())
    ]
    assert found == []


def test_java_is_found_by_its_home_or_on_the_path(monkeypatch, tmp_path):
    program = tmp_path / "home" / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert java() is None
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert java() == str(program)
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(program.parent))
    assert java() == str(program)
