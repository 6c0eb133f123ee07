"""From the feed to a lake on gs://: the same bytes as in a directory, with other settings only."""

import json
import os
from pathlib import Path

import dagster as dg
import fsspec
import pytest
from click.testing import CliRunner
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from polars.testing import assert_frame_equal
from rich.console import Console

from mta_pipeline.build import build_defs
from mta_pipeline.cli import main
from mta_pipeline.cli.exit_codes import ExitCode
from mta_pipeline.cli.run import run_weeks
from mta_pipeline.cli.summary import summarize
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.orchestration.keys import REFERENCE_JOB, RIDERSHIP_JOB
from mta_pipeline.sample import Faults, SampleFeed
from mta_pipeline.settings import Settings
from mta_pipeline.weeks import file_name

pytestmark = pytest.mark.slow

pytest_plugins = ["mta_pipeline_tests.support.gcs_emulator"]

WEEKS = LEGACY, MODERN = ("2014-10-04", "2014-10-11")


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("feed")
    SampleFeed(2, 20, LEGACY, faults=Faults.all()).write(directory, WEEKS)
    return str(directory)


def run(feed: str, lake_root: str) -> None:
    """Run both jobs over both weeks."""
    defs = build_defs(Settings(feed=feed, lake_root=lake_root))
    span = {ASSET_PARTITION_RANGE_START_TAG: LEGACY, ASSET_PARTITION_RANGE_END_TAG: MODERN}
    with dg.DagsterInstance.ephemeral() as instance:
        for job, tags in ((REFERENCE_JOB, {}), (RIDERSHIP_JOB, span)):
            assert defs.resolve_job_def(job).execute_in_process(instance=instance, tags=tags).success


def files(lake_root: str) -> dict[str, bytes]:
    """The contents of every file of a lake. Manifests are compared without fetch time and source."""
    filesystem, root = fsspec.core.url_to_fs(lake_root)
    found = {path.removeprefix(root): filesystem.cat_file(path) for path in filesystem.find(root)}
    for path, contents in found.items():
        if path.endswith("manifest.json"):
            excluded = {"fetched_at", "source", "etag", "last_modified", "manifest_sha256"}
            manifest = {name: value for name, value in json.loads(contents).items() if name not in excluded}
            found[path] = json.dumps(manifest).encode()
    return found


@pytest.fixture(scope="module")
def on_disk(feed: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A lake of the same weeks in a directory."""
    lake = str(tmp_path_factory.mktemp("lake"))
    run(feed, lake)
    return lake


def test_a_lake_in_a_bucket_has_the_same_bytes_as_one_in_a_directory_including_raw_files(feed, on_disk, gcs_bucket):
    lake = f"{gcs_bucket}/some/lake"
    run(feed, lake)
    expected = files(on_disk)
    assert len(expected) == 2 + len(WEEKS) * 7
    assert files(lake) == expected
    assert summarize(lake, WEEKS).weeks.equals(summarize(on_disk, WEEKS).weeks)
    assert RawFiles(lake).read(MODERN) == (Path(feed) / file_name(MODERN)).read_bytes()


def test_a_feed_in_a_bucket_gives_the_same_lake_as_one_in_a_directory(feed, on_disk, gcs_bucket, tmp_path):
    fsspec.filesystem("gs").put(feed, f"{gcs_bucket}/mirror", recursive=True)
    run(f"{gcs_bucket}/mirror", str(tmp_path))
    assert files(str(tmp_path)) == files(on_disk)
    manifest = RawFiles(str(tmp_path)).manifest(MODERN)
    assert manifest.source == f"{gcs_bucket}/mirror/{file_name(MODERN)}"


def test_a_republished_week_replaces_its_raw_file_in_the_bucket(feed, gcs_bucket, tmp_path):
    lake = f"{gcs_bucket}/lake"
    run(feed, lake)
    before = RawFiles(lake).manifest(MODERN)
    again = SampleFeed(2, 20, LEGACY, faults=Faults.all()).after_republishing(MODERN)
    truth = again.write(tmp_path / "again", WEEKS)
    run(str(tmp_path / "again"), lake)
    after = RawFiles(lake).manifest(MODERN)
    assert after.sha256 != before.sha256
    assert {path.name for path in RawFiles(lake).path(MODERN).iterdir()} == {"manifest.json", *after.all_objects}
    recoverable = truth.select(entries="recoverable_entries", exits="recoverable_exits")
    assert_frame_equal(summarize(lake, WEEKS).weeks.select("entries", "exits"), recoverable)


def test_the_five_real_weeks_give_the_same_bytes_in_a_bucket_as_in_a_directory(shared_data, gcs_bucket, tmp_path):
    real = ["2023-12-30", "2024-01-06", "2024-01-13", "2024-01-20", "2024-01-27"]
    lakes = str(tmp_path / "lake"), f"{gcs_bucket}/lake"
    for lake in lakes:
        settings = Settings(feed=str(shared_data / "turnstile"), lake_root=lake)
        with dg.DagsterInstance.ephemeral() as instance, Path(os.devnull).open("w") as nowhere:
            assert run_weeks(settings, real, instance, Console(file=nowhere)).exit_code == 0
    expected, found = map(files, lakes)
    assert len(expected) == 2 + len(real) * 7
    assert found == expected
    assert summarize(lakes[1], real).weeks.equals(summarize(lakes[0], real).weeks)


def test_commands_reach_a_bucket_and_name_one_that_does_not_exist(gcs_bucket):
    def summary(lake_root: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["summary", "--weeks", MODERN], env={"LAKE_ROOT": lake_root})
        return result.exit_code, result.output

    assert summary(f"{gcs_bucket}/lake") == (0, f"None of these weeks is in the lake at {gcs_bucket}/lake.\n")
    code, message = summary("gs://no-such-bucket/lake")
    assert code == ExitCode.UNREACHABLE
    assert message.startswith("Error: LAKE_ROOT=gs://no-such-bucket/lake cannot be used: there is no bucket no-such-")
