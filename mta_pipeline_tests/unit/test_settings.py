"""Reads settings from the environment and reports those that cannot be used."""

import datetime as dt
import re
import traceback
from pathlib import Path

import pytest

from mta_pipeline.settings import (
    REAL_LAKE,
    SAMPLE_FEED,
    SAMPLE_LAKE,
    Settings,
    SettingsError,
    java,
    portal_of,
    read_settings,
)
from mta_pipeline_tests.conftest import REPOSITORY

VARIABLES = (
    "MTA_FEED",
    "LAKE_ROOT",
    "MTA_LAST_WEEK",
    "MTA_LEAST_READINGS",
    "MTA_RAW_VERSIONS",
    "MTA_SODA",
    "MTA_SODA_TOKEN",
    "MTA_NOTIFY",
    "MTA_UI",
    "MTA_CODE",
    "DAGSTER_HOME",
    "WAREHOUSE",
    "BIGQUERY_MAX_GIB",
    "SPARK_MASTER",
    "SPARK_REMOTE",
)


@pytest.fixture(autouse=True)
def work_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and an environment without any settings."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return read_settings()


def test_defaults_are_the_sample_and_an_open_calendar(work_dir):
    read = read_settings()
    assert read.is_sample
    assert (read.feed, read.lake_root) == (str(work_dir / SAMPLE_FEED), str(work_dir / SAMPLE_LAKE))
    assert read.last_week is None
    assert read.dagster_home is None


def test_an_empty_variable_counts_as_not_set(monkeypatch):
    assert settings(monkeypatch, **dict.fromkeys(VARIABLES, "")) == Settings()


@pytest.mark.parametrize("feed", ["mirror", "https://mirror.example/turnstile", "gs://bucket/turnstile"])
def test_real_files_use_a_separate_lake(work_dir, monkeypatch, feed):
    read = settings(monkeypatch, MTA_FEED=feed)
    assert not read.is_sample
    assert read.lake_root == str(work_dir / REAL_LAKE)


@pytest.mark.parametrize("feed", [str(SAMPLE_FEED), f"./{SAMPLE_FEED}/"])
def test_the_sample_uses_its_own_lake_even_if_its_feed_is_set_explicitly(work_dir, monkeypatch, feed):
    for named in (settings(monkeypatch, MTA_FEED=feed), Settings(feed=feed)):
        assert named.is_sample
        assert named.lake_root == str(work_dir / SAMPLE_LAKE)


@pytest.mark.parametrize("feed", [{}, {"MTA_FEED": "mirror"}], ids=["sample", "real"])
def test_a_given_lake_is_used_whatever_the_feed(monkeypatch, feed):
    assert settings(monkeypatch, **feed, LAKE_ROOT="gs://bucket/lake/").lake_root == "gs://bucket/lake"


def test_relative_paths_become_absolute(work_dir, monkeypatch):
    read = settings(monkeypatch, MTA_FEED="~/mirror", LAKE_ROOT="lake")
    assert (read.feed, read.lake_root) == (str(work_dir / "home" / "mirror"), str(work_dir / "lake"))


def test_a_file_url_is_the_path_that_follows_it(monkeypatch):
    read = settings(monkeypatch, LAKE_ROOT="file:///data/100%20/a#b?c")
    assert read.lake_root == "/data/100%20/a#b?c"
    assert read.warehouse_file == Path("/data/100%20/a#b?c/warehouse/mta.duckdb")


def test_the_last_week_of_the_calendar_is_a_saturday(monkeypatch):
    assert settings(monkeypatch, MTA_LAST_WEEK="2024-05-25").last_week == dt.date(2024, 5, 25)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("2024-05-26", "2024-05-26 is a Sunday; weeks start on a Saturday"), ("soon", "valid date")],
)
def test_an_invalid_setting_is_reported_with_its_variable(monkeypatch, value, expected):
    with pytest.raises(SettingsError, match=rf"^Invalid settings: MTA_LAST_WEEK: .*{expected}"):
        settings(monkeypatch, MTA_LAST_WEEK=value)


def test_the_address_of_receivers_is_never_shown_and_the_ui_must_be_a_web_address(monkeypatch):
    read = settings(monkeypatch, MTA_NOTIFY="slack://secret-a/secret-b/secret-c", MTA_UI="https://dagster.example/")
    assert "secret-" not in f"{read!r} {read}"
    assert read.ui == "https://dagster.example"
    for address, expected in (
        ("dagster.example", "http:// or https://"),
        ("https://me:word@example", "user or password"),
    ):
        with pytest.raises(SettingsError, match=f"MTA_UI: .*{expected}"):
            settings(monkeypatch, MTA_UI=address)


@pytest.mark.parametrize("variable", ["MTA_FEED", "LAKE_ROOT", "MTA_SODA"])
@pytest.mark.parametrize(
    "location",
    [
        "http://user:s3cret@mirror.example/feed",
        "http://user:p@s3cret@mirror.example/feed",
        "https://user:s3c\tret@mirror.example/feed",
        "https://mirror.example/feed?token=s3cret",
        "simplecache::http://user:s3cret@mirror.example/",
        "simplecache::filecache::https://mirror.example/feed?token=s3cret",
        "soda+https://data.ny.gov?$$app_token=s3cret",
        "gs://user:s3cret@bucket/prefix",
        "http:/user:s3cret@mirror.example/feed",
        "HTTPS:user:s3cret@mirror.example/feed",
        "simplecache::http:/user:s3cret@mirror.example/feed",
    ],
)
def test_no_message_shows_the_secret_in_an_address(monkeypatch, variable, location):
    with pytest.raises(SettingsError, match=variable) as error:
        settings(monkeypatch, **{variable: location})
    assert not re.search(r"s3c\s?ret", "".join(traceback.format_exception(error.value)))


def test_a_lake_in_a_bucket_has_no_query(monkeypatch):
    with pytest.raises(SettingsError, match=r"LAKE_ROOT: .*must not have a query") as error:
        settings(monkeypatch, LAKE_ROOT="gs://bucket/prefix?token=s3cret")
    assert "s3cret" not in str(error.value)
    assert settings(monkeypatch, LAKE_ROOT="gs://bucket/why?/lake").lake_root == "gs://bucket/why?/lake"


def test_spark_runs_in_this_process_on_a_cluster_or_by_spark_connect(monkeypatch):
    assert read_settings().spark == "local[*]"
    assert settings(monkeypatch, SPARK_MASTER="spark://10.0.0.1:7077").spark == "spark://10.0.0.1:7077"
    assert settings(monkeypatch, SPARK_REMOTE="sc://10.0.0.1:15002").spark == "sc://10.0.0.1:15002"


@pytest.mark.parametrize("server", ["spark://10.0.0.1:7077", "sc://10.0.0.1:15002/;token=secret"])
def test_a_spark_connect_server_is_an_address_without_a_token(monkeypatch, server):
    with pytest.raises(SettingsError, match="SPARK_REMOTE: ") as error:
        settings(monkeypatch, SPARK_REMOTE=server)
    assert "secret" not in str(error.value)


def test_the_warehouse_is_a_file_in_the_lake_or_another_file_or_bigquery(work_dir, monkeypatch):
    read = settings(monkeypatch, LAKE_ROOT="lake")
    assert (read.bigquery, read.warehouse_file) == (None, work_dir / "lake" / "warehouse" / "mta.duckdb")
    read = settings(monkeypatch, LAKE_ROOT="gs://bucket/lake")
    assert (read.bigquery, read.warehouse_file) == (None, None)
    read = settings(monkeypatch, WAREHOUSE="mine.duckdb")
    assert (read.bigquery, read.warehouse_file) == (None, work_dir / "mine.duckdb")
    read = settings(monkeypatch, WAREHOUSE="bigquery://my-project/mta_")
    assert (read.bigquery, read.warehouse_file) == (("my-project", "mta_"), None)
    assert settings(monkeypatch, WAREHOUSE="bigquery://my-project").bigquery == ("my-project", "")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"LAKE_ROOT": "s3://bucket/lake"}, "LAKE_ROOT: .*the lake must be a directory or gs://bucket/prefix"),
        ({"WAREHOUSE": "postgres://host"}, r"WAREHOUSE: .*a DuckDB file or bigquery://PROJECT\[/PREFIX\]"),
        ({"WAREHOUSE": "bigquery://my-project/a-b"}, r"WAREHOUSE: .*a DuckDB file or bigquery://PROJECT\[/PREFIX\]"),
        ({"WAREHOUSE": "bigquery://my-project"}, "BigQuery needs a lake in a bucket; set LAKE_ROOT=gs://"),
        (
            {"WAREHOUSE": "bigquery://my-project", "LAKE_ROOT": "gs://bucket/a*"},
            r"LAKE_ROOT=gs://bucket/a\*: BigQuery takes .* for a pattern; choose another prefix",
        ),
        ({"LAKE_ROOT": "/data/a\\b"}, r"LAKE_ROOT: .* must not contain a backslash.*: /data/a\\b"),
        ({"DAGSTER_HOME": "/data/a?b"}, r"DAGSTER_HOME: .* must not contain a question mark.*: /data/a\?b"),
        ({"BIGQUERY_MAX_GIB": "0"}, "BIGQUERY_MAX_GIB: .*greater than or equal to 1"),
    ],
    ids=[
        "lake",
        "warehouse",
        "prefix",
        "bigquery over a directory",
        "pattern of BigQuery",
        "separator",
        "query",
        "limit",
    ],
)
def test_invalid_locations_are_reported(monkeypatch, variables, expected):
    with pytest.raises(SettingsError, match=expected):
        settings(monkeypatch, **variables)


SECRET_LOCATIONS = [
    "http://reader:s3cret@mirror.example/feed",
    "https://reader:p@s3cret@mirror.example/feed",
    "https://reader:p/s3cret@mirror.example/feed",
    "https://reader:p?#s3cret@mirror.example/feed",
    "simplecache::http://reader:s3cret@mirror.example/feed",
    "simplecache::filecache::https://s3cret@mirror.example/feed",
    "zip://*.txt::https://reader:p@s3cret@mirror.example/feed.zip",
    "zip://*.txt::https://mirror.example/feed.zip?token=s3cret",
    "https://mirror.example/feed?token=s3cret",
    "https://mirror.example/feed?token=a::s3cret",
    "https://mirror.example/feed#s3cret",
    "ftp://reader:s3cret@mirror.example/feed",
    "gs://reader:s3cret@bucket/feed",
]


@pytest.mark.parametrize("location", SECRET_LOCATIONS)
@pytest.mark.parametrize("name", ["MTA_FEED", "LAKE_ROOT", "WAREHOUSE"])
def test_a_secret_in_a_location_is_refused_and_not_shown(monkeypatch, name, location):
    with pytest.raises(SettingsError, match=name) as error:
        settings(monkeypatch, **{name: location})
    assert "s3cret" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize(
    "location",
    [
        "gs://bucket/feed@2024",
        "https://mirror.example:8080/feed@2024/x:y@z",
        "http://[::1]:8080/feed@2024",
        "zip://*.txt::https://mirror.example/feed@2024.zip",
        "soda+https://mirror.example",
    ],
)
def test_an_at_sign_in_a_path_is_no_password(monkeypatch, location):
    assert settings(monkeypatch, MTA_FEED=location).feed == location


def test_the_portal_is_not_set_by_default(monkeypatch):
    assert (read_settings().soda, read_settings().soda_token) == (None, None)
    assert settings(monkeypatch, MTA_SODA="https://data.ny.gov/").soda == "https://data.ny.gov"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://data.ny.gov", "must use https"),
        ("https://somebody:secret@data.ny.gov", "must not contain a user or password"),
        ("data.ny.gov", "the portal must be https://host"),
        ("https://data.ny.gov/?$$app_token=secret", "the portal must be https://host"),
    ],
)
def test_an_invalid_portal_is_refused(monkeypatch, address, expected):
    for name, value in (("MTA_SODA", address), ("MTA_FEED", f"soda+{address}")):
        with pytest.raises(SettingsError, match=rf"{name}: .*{expected}") as error:
            settings(monkeypatch, **{name: value})
        assert "secret" not in str(error.value)
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("feed", "portal"),
    [
        ("https://data.ny.gov", "https://data.ny.gov"),
        ("https://data.ny.gov/", "https://data.ny.gov"),
        ("soda+https://mirror.example/", "https://mirror.example"),
        ("soda+http://127.0.0.1:8100", "http://127.0.0.1:8100"),
        ("https://mirror.example/turnstile", None),
        ("https://data.ny.gov/turnstile.html", None),
        ("mirror", None),
    ],
)
def test_a_known_portal_or_the_prefix_makes_the_feed_a_portal_and_any_other_url_is_an_index_page(
    monkeypatch, feed, portal
):
    read = settings(monkeypatch, MTA_FEED=feed)
    assert portal_of(read.feed) == portal
    assert read.soda == portal


def test_the_portal_of_hourly_ridership_is_that_of_the_feed_unless_it_is_set(monkeypatch):
    feed = {"MTA_FEED": "https://data.ny.gov", "MTA_SODA_TOKEN": "not-for-eyes"}
    assert settings(monkeypatch, **feed).feed_token.get_secret_value() == "not-for-eyes"
    read = settings(monkeypatch, **feed, MTA_SODA="http://127.0.0.1:8100")
    assert (read.soda, read.feed_token) == ("http://127.0.0.1:8100", None)


def test_the_token_of_the_portal_is_not_shown(monkeypatch):
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


def test_only_feeds_that_are_marked_as_samples_have_no_limit_of_readings(work_dir):
    (work_dir / "real").mkdir()
    (work_dir / "sample" / "truth").mkdir(parents=True)
    (work_dir / "sample" / "truth" / "weeks.csv").write_text("week")
    of_compose = re.findall(r"MTA_FEED:-(.*)}", (REPOSITORY / "compose.yaml").read_text())
    samples = [{}, *({"feed": feed} for feed in ("sample", "soda+http://127.0.0.1:8100", *of_compose))]
    others = [{"feed": feed} for feed in ("real", "http://127.0.0.1:8100/", "https://data.ny.gov")]
    assert [Settings(**feed).least_readings for feed in samples] == [0] * 4
    assert [Settings(**feed).least_readings for feed in others] == [150_000] * 3
    assert Settings(least_readings=7).least_readings == 7


def test_the_code_is_a_revision_of_a_repository(monkeypatch):
    read = settings(monkeypatch, MTA_CODE="https://git.example/a/b/project/-/tree/v1.2")
    assert read.repository == ("https://git.example/a/b/project", "v1.2", "gitlab")
    for code in ("https://github.com/owner/project", "github.com/owner/project/tree/main", "https://u:p@h/o/p/tree/x"):
        with pytest.raises(SettingsError, match="MTA_CODE: "):
            settings(monkeypatch, MTA_CODE=code)
