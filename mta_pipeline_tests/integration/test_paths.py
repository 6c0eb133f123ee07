"""A path is never a pattern, a URL or part of a statement: folders may have any name."""

import datetime as dt
import shutil
import string
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mta_pipeline.engines import mart, open_lake
from mta_pipeline.engines.duckdb import write_warehouse
from mta_pipeline.lake.storage import part_path, weeks_there, write_atomically
from mta_pipeline.sample import SampleFeed
from mta_pipeline.sources.turnstile_files import open_feed
from mta_pipeline.turnstile.contract import TURNSTILE_TRAFFIC
from mta_pipeline_tests.conftest import skip_or_fail_in_ci
from mta_pipeline_tests.support.parity import missing
from mta_pipeline_tests.support.small_lake import SmallLake, interval

pytest_plugins = ["mta_pipeline_tests.support.gcs_emulator"]

FIRST, SECOND = "2024-01-06", "2024-01-13"
MART = "station_week_over_week"
RIDERS = "SELECT week::VARCHAR, complex_id, entries FROM warehouse.fact_turnstile ORDER BY ALL"

HOSTILE = "[x] * ?{x,y} 100%20 'it\"s' #ü~ a::b $HOME;week=2020-01-04"
"""Patterns of every engine, quotes, an escape of URLs, a chain of fsspec and a column, in one name."""

WORDS = (
    "week=2020-01-04",
    "complex_id=143",
    "entries=7",
    "[!x]",
    "[[]",
    "**",
    "::",
    "%20",
    "{x,y}",
    "é",
    "e\u0301",
    "\n",
)
NAMES = (
    st.lists(st.sampled_from((*WORDS, *string.punctuation, *"xy .")), min_size=1, max_size=6)
    .map("".join)
    .filter(lambda name: not set(name) & set("/\\") and name not in (".", ".."))
)
"""Names of folders. Settings refuse a backslash in the path of a lake."""

any_folder = pytest.mark.parametrize(
    "name", ["a [x]", "*", "?", "{x,y}", "week=2020-01-04", "complex_id=143", "it's", "100%20", "a#b", "a::b", HOSTILE]
)


@pytest.fixture(scope="session")
def spark() -> None:
    """Requires Spark in this process."""
    if reason := missing("spark"):
        skip_or_fail_in_ci(reason)


def small_lake(folder: Path, riders: int) -> SmallLake:
    lake = SmallLake(folder)
    lake.week(FIRST, interval("2024-01-06 00", "2024-01-06 04", riders, 6))
    return lake


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a lake, plain, and another one, x, that a pattern could match instead."""
    made = tmp_path_factory.mktemp("lakes")
    small_lake(made / "plain", 5)
    small_lake(made / "x", 9)
    return made


@pytest.fixture(scope="module")
def expected(folder):
    """The rows of the mart for the plain lake."""
    rows = mart(str(folder / "plain"), MART)
    assert rows.num_rows
    return rows


@given(name=NAMES)
@example(name=HOSTILE)
@example(name="week=2020-01-04")
@example(name="*")
@settings(max_examples=3)
def test_a_lake_in_a_folder_with_any_name_has_the_same_marts_and_warehouse(folder, expected, name):
    with TemporaryDirectory(dir=folder) as parent:
        lake = SmallLake(Path(parent) / name)
        shutil.copytree(folder / "x", Path(parent) / "x", dirs_exist_ok=True)
        shutil.copytree(folder / "plain", lake.root, dirs_exist_ok=True)
        file = lake.root / "warehouse" / "mta.duckdb"
        write_warehouse(str(lake.root), file)
        assert mart(str(lake.root), MART).equals(expected)
        assert weeks_there(str(lake.root), "lake", TURNSTILE_TRAFFIC.name) == {FIRST}
        with duckdb.connect(file, read_only=True) as client:
            assert client.execute(RIDERS).fetchall() == [(FIRST, 613, 5)]
            lake.week(SECOND, interval("2024-01-13 00", "2024-01-13 04", 8, 9))
            assert client.execute(RIDERS).fetchall() == [(FIRST, 613, 5), (SECOND, 613, 8)]


@pytest.mark.slow
def test_spark_reads_a_lake_in_a_folder_with_any_name(folder, expected, spark):
    root = shutil.copytree(folder / "plain", folder / "week=2020-01-04" / HOSTILE)
    with open_lake(str(root), "spark", spark_master="local[1]") as lake:
        assert lake.to_pyarrow(MART).equals(expected)


@any_folder
def test_a_file_url_names_a_folder_literally(folder, tmp_path, name):
    root = shutil.copytree(folder / "plain", tmp_path / name)
    assert weeks_there(f"file://{root}", "lake", TURNSTILE_TRAFFIC.name) == {FIRST}
    write_atomically(part_path(f"file://{root}", "lake", "x"), b"")
    assert (root / "lake" / "x" / "part-0.parquet").exists()


@any_folder
def test_a_feed_in_a_folder_with_any_name_lists_and_delivers_its_weeks(tmp_path, name):
    directory = tmp_path / name
    SampleFeed(seed=0, turnstiles=2, first_week=FIRST).write(directory, [FIRST])
    published = (directory / "turnstile_240113.txt").read_bytes()
    for location in (str(directory), f"file://{directory}"):
        feed = open_feed(location)
        assert list(feed.available_weeks()) == [FIRST]
        assert feed.look(FIRST).url == f"{location}/turnstile_240113.txt"
        with (tmp_path / "fetched").open("wb") as sink:
            feed.fetch(FIRST, sink)
        assert (tmp_path / "fetched").read_bytes() == published


@any_folder
def test_a_sample_in_a_folder_with_any_name_is_continued(tmp_path, name):
    sample = SampleFeed(seed=0, turnstiles=2, first_week=FIRST)
    sample.write(tmp_path / name, [FIRST])
    assert sample.write(tmp_path / name, [FIRST, SECOND])["week"].to_list() == [FIRST, SECOND]


@pytest.mark.slow
def test_a_lake_in_a_bucket_can_have_any_prefix(folder, expected, gcs_bucket):
    plain = folder / "plain"
    root = f"{gcs_bucket}/week=2020-01-04/[x] * 100%20"
    for copy, lake in ((root, plain), (f"{gcs_bucket}/week=2020-01-04/x y 100%20", folder / "x")):
        for path in lake.rglob("*.parquet"):
            layer, table, *week = path.relative_to(lake).parent.parts
            target = part_path(copy, layer, table, *(part.removeprefix("week=") for part in week))
            write_atomically(target, path.read_bytes())
    assert weeks_there(root, "lake", TURNSTILE_TRAFFIC.name) == {FIRST}
    assert mart(root, MART).equals(expected)


def test_the_week_of_a_file_limits_which_files_are_read(tmp_path):
    lake = small_lake(tmp_path / "week=2020-01-04", 5)
    lake.week(SECOND, interval("2024-01-13 00", "2024-01-13 04", 8, 9))
    write_warehouse(str(lake.root), tmp_path / "mta.duckdb")
    other = lake.path(TURNSTILE_TRAFFIC, SECOND)
    data, end = other.read_bytes(), b"PAR1"
    footer = int.from_bytes(data[-8:-4], "little") + 8
    other.write_bytes(end + b"\xff" * (len(data) - footer - 4) + data[-footer:])  # columns are known, rows unreadable
    with duckdb.connect(tmp_path / "mta.duckdb", read_only=True) as client:
        rows = client.execute(f"SELECT week, entries FROM lake.turnstile_traffic WHERE week = DATE '{FIRST}'")
        assert rows.fetchall() == [(dt.date.fromisoformat(FIRST), 5)]
