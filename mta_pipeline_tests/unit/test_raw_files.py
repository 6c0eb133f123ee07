"""A landed week is complete at any moment, unchanged contents change nothing, and a new landing repairs damage."""

import datetime as dt
import gzip
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mta_pipeline.lake import raw as raw_layer
from mta_pipeline.lake.parquet import to_parquet
from mta_pipeline.lake.raw import MANIFEST, DamagedRawFile
from mta_pipeline.lake.raw_files import NothingPendingError, RawFiles
from mta_pipeline.lake.storage import Found, part_path, write_atomically
from mta_pipeline.sources.errors import BadFile, NotPublished
from mta_pipeline.sources.turnstile_files import Fetched, FilesystemFeed
from mta_pipeline.turnstile.contract import TURNSTILE_READINGS
from mta_pipeline.turnstile.readings import stage
from mta_pipeline.weeks import file_name
from mta_pipeline_tests.support.published_files import BOOTHS, WEEK, modern_file, modern_line

NAME = file_name(WEEK)
OLD, NEW, NEWER = (modern_file(modern_line("2024-01-06 03", 100 + n, 50 + n)) for n in range(3))


class CountingFeed(FilesystemFeed):
    """A directory feed that counts fetches."""

    fetched = 0

    def fetch(self, week: str, sink: BinaryIO) -> Fetched:
        self.fetched += 1
        return super().fetch(week, sink)


@pytest.fixture
def feed(tmp_path: Path) -> CountingFeed:
    (tmp_path / "feed").mkdir()
    return CountingFeed(str(tmp_path / "feed"))


@pytest.fixture
def publish(tmp_path: Path, feed: CountingFeed) -> Callable[[bytes], None]:
    def write(contents: bytes) -> None:
        (tmp_path / "feed" / NAME).write_bytes(contents)

    return write


@pytest.fixture
def files(tmp_path: Path) -> RawFiles:
    return RawFiles(str(tmp_path / "lake"))


def folder(files: RawFiles) -> Path:
    return Path(str(files.path(WEEK)))


def names(files: RawFiles) -> set[str]:
    return {path.name for path in folder(files).iterdir()}


def test_a_week_that_has_not_landed_is_none(files):
    assert files.manifest(WEEK) is None
    assert files.read(WEEK) is None


def test_a_landed_week_returns_the_published_bytes_and_their_origin(files, feed, publish):
    publish(OLD)
    manifest, is_new = files.land(feed, WEEK)
    assert is_new
    assert files.read(WEEK) == OLD
    assert files.manifest(WEEK) == manifest
    assert (manifest.file, manifest.size, manifest.sha256) == (NAME, len(OLD), hashlib.sha256(OLD).hexdigest())
    assert manifest.source == f"{feed.location}/{NAME}"
    assert manifest.last_modified is not None
    assert names(files) == {"manifest.json", manifest.object}
    assert manifest.sha256.startswith(manifest.object.split(".")[1])


def test_a_compressed_file_lands_as_its_unpacked_bytes(files, feed, publish, tmp_path):
    (tmp_path / "feed" / f"{NAME}.gz").write_bytes(gzip.compress(OLD))
    manifest, _ = files.land(feed, WEEK)
    assert files.read(WEEK) == OLD
    assert (manifest.file, manifest.size) == (NAME, len(OLD))


def test_the_same_contents_leave_the_manifest_unchanged(files, feed, publish):
    publish(OLD)
    first, _ = files.land(feed, WEEK)
    before = (folder(files) / "manifest.json").stat()
    again, is_new = files.land(feed, WEEK)
    assert (again, is_new) == (first, False)
    assert (folder(files) / "manifest.json").stat().st_ino == before.st_ino


def test_the_same_contents_with_another_time_are_recorded_and_not_new(files, feed, publish, tmp_path):
    publish(OLD)
    first, _ = files.land(feed, WEEK)
    os.utime(tmp_path / "feed" / NAME, (0, 1_000_000_000))
    again, is_new = files.land(feed, WEEK)
    assert not is_new
    assert again == files.manifest(WEEK)
    assert again == first.model_copy(update={"last_modified": dt.datetime(2001, 9, 9, 1, 46, 40, tzinfo=dt.UTC)})


def test_other_contents_replace_file_and_manifest_and_the_last_versions_are_kept(files, feed, publish):
    landed = []
    for contents in (OLD, NEW, NEWER):
        publish(contents)
        manifest, is_new = RawFiles(files.lake_root, versions=1).land(feed, WEEK)
        landed.append(manifest)
        assert is_new
        assert files.read(WEEK) == contents
    _, before, last = landed
    assert last.previous == (before.current,)
    assert names(files) == {"manifest.json", last.object, before.object}


def test_the_manifest_is_written_after_its_file_and_the_oldest_file_is_removed_last(files, feed, publish, monkeypatch):
    steps: list[tuple[str, str]] = []

    def recorded(what: str, act: Callable[..., None]) -> Callable[..., None]:
        def step(subject: Path | Found, *payload: bytes, **options: object) -> None:
            act(subject, *payload, **options)
            steps.append((what, (subject.path if isinstance(subject, Found) else subject).name))
            assert files.read(WEEK) in (None, OLD, NEW, NEWER)

        return step

    monkeypatch.setattr(raw_layer, "write_atomically", recorded("write", raw_layer.write_atomically))
    monkeypatch.setattr(raw_layer, "remove", recorded("remove", raw_layer.remove))
    publish(OLD)
    old, _ = files.land(feed, WEEK)
    publish(NEW)
    new, _ = files.land(feed, WEEK)
    publish(NEWER)
    newer, _ = RawFiles(files.lake_root, versions=1).land(feed, WEEK)
    assert steps == [
        *[("write", name) for landed in (old, new, newer) for name in (landed.object, "manifest.json")],
        ("remove", old.object),
    ]


@pytest.mark.parametrize("refused", ["turnstile", "manifest"])
def test_an_interrupted_landing_leaves_the_week_unchanged(files, feed, publish, monkeypatch, refused):
    publish(OLD)
    old, _ = files.land(feed, WEEK)
    write = raw_layer.write_atomically

    def full(path: Path, payload: bytes, **options: object) -> None:
        if path.name.startswith(refused):
            raise OSError(28, "No space left on device", str(path))
        write(path, payload, **options)

    publish(NEW)
    monkeypatch.setattr(raw_layer, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        files.land(feed, WEEK)
    assert files.manifest(WEEK) == old
    assert files.read(WEEK) == OLD

    monkeypatch.setattr(raw_layer, "write_atomically", write)
    files.land(feed, WEEK)
    assert files.read(WEEK) == NEW


@pytest.mark.parametrize("contents", [None, b"", b"<html>gone</html>"], ids=["gone", "empty", "web page"])
def test_a_feed_without_a_valid_file_changes_nothing(files, feed, publish, tmp_path, contents):
    publish(OLD)
    old, _ = files.land(feed, WEEK)
    (tmp_path / "feed" / NAME).unlink()
    if contents is not None:
        publish(contents)
    with pytest.raises(NotPublished if contents is None else BadFile):
        files.land(feed, WEEK)
    assert files.manifest(WEEK) == old
    assert files.read(WEEK) == OLD


def compressed(contents: bytes) -> bytes:
    return pa.compress(contents, "zstd", asbytes=True)


DAMAGE: dict[str, Callable[[Path, Path], object]] = {
    "the file is gone": lambda file, _: file.unlink(),
    "the file is empty": lambda file, _: file.write_bytes(b""),
    "the file is cut": lambda file, _: file.write_bytes(file.read_bytes()[:-20]),
    "the file is rubbish": lambda file, _: file.write_bytes(b"rubbish"),
    "the file is shorter": lambda file, _: file.write_bytes(compressed(OLD[:-1])),
    "the file holds other bytes of the same size": lambda file, _: file.write_bytes(compressed(NEW)),
    "the manifest is cut": lambda _, manifest: manifest.write_bytes(manifest.read_bytes()[:40]),
    "the manifest is empty": lambda _, manifest: manifest.write_bytes(b""),
    "the manifest is invalid": lambda _, manifest: manifest.write_bytes(b'{"sha256": 7}'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_week_is_reported_with_path_and_remedy_and_a_new_landing_repairs_it(files, feed, publish, damage):
    publish(OLD)
    manifest, _ = files.land(feed, WEEK)
    damage(folder(files) / manifest.object, folder(files) / "manifest.json")
    with pytest.raises(DamagedRawFile, match=rf"week={WEEK}/.*; materialize raw/turnstile_file for {WEEK} again"):
        files.read(WEEK)
    files.land(feed, WEEK)
    assert files.read(WEEK) == OLD
    assert names(files) == {"manifest.json", manifest.object}


# --- versions ---


def test_a_week_that_has_not_landed_has_no_version_and_is_not_fetched(files, feed, publish):
    publish(OLD)
    assert files.available_version(feed, WEEK) is None
    assert feed.fetched == 0


def test_an_untouched_file_keeps_its_version_without_a_fetch(files, feed, publish):
    publish(OLD)
    manifest, _ = files.land(feed, WEEK)
    assert files.available_version(feed, WEEK) == manifest.sha256
    assert feed.fetched == 1


def test_a_touched_file_is_compared_by_contents(files, feed, publish, tmp_path):
    publish(OLD)
    manifest, _ = files.land(feed, WEEK)
    (tmp_path / "feed" / NAME).touch()
    assert files.available_version(feed, WEEK) == manifest.sha256
    publish(NEWER)
    assert files.available_version(feed, WEEK) == hashlib.sha256(NEWER).hexdigest()
    assert files.manifest(WEEK).sha256 == manifest.sha256


def test_a_touched_file_is_fetched_only_once(files, feed, publish, tmp_path):
    publish(OLD)
    files.land(feed, WEEK)
    (tmp_path / "feed" / NAME).touch()
    for _ in range(3):
        files.available_version(feed, WEEK)
    assert feed.fetched == 2


def test_the_landed_weeks_are_those_with_a_manifest(files, feed, publish):
    assert files.weeks() == set()
    publish(OLD)
    files.land(feed, WEEK)
    files.path("2024-01-13").mkdir()
    assert files.weeks() == {WEEK}


def test_a_week_that_is_no_longer_in_the_feed_keeps_its_version(files, feed, publish, tmp_path):
    publish(OLD)
    manifest, _ = files.land(feed, WEEK)
    (tmp_path / "feed" / NAME).unlink()
    assert files.available_version(feed, WEEK) == manifest.sha256


def test_a_week_with_a_damaged_manifest_counts_as_not_landed(files, feed, publish):
    publish(OLD)
    files.land(feed, WEEK)
    (folder(files) / "manifest.json").write_bytes(b"rubbish")
    assert files.available_version(feed, WEEK) is None


# --- pending versions ---

SIX = modern_file(*(modern_line(f"2024-01-06 {hour:02}", 100 + hour, 50 + hour) for hour in range(3, 9)))
THREE = modern_file(*(modern_line(f"2024-01-06 {hour:02}", 100 + hour, 50 + hour) for hour in range(3, 6)))
FIVE = modern_file(*(modern_line(f"2024-01-06 {hour:02}", 100 + hour, 50 + hour) for hour in range(3, 8)))
JUNK = b"the service is not available\n" * 9


@pytest.mark.parametrize(
    ("contents", "doubt"),
    [(THREE, "it has only 3 readings and the current one 6"), (JUNK, "it cannot be used")],
    ids=["half of the readings", "junk"],
)
def test_a_doubtful_version_stays_pending_and_is_not_fetched_again(files, feed, publish, contents, doubt):
    publish(SIX)
    current, _ = files.land(feed, WEEK)
    publish(contents)
    manifest, is_new = files.land(feed, WEEK)
    assert not is_new
    assert files.read(WEEK) == SIX
    assert manifest.pending.sha256 == hashlib.sha256(contents).hexdigest()
    assert names(files) == {"manifest.json", current.object, manifest.pending.object}
    problem = files.pending_problem(WEEK)
    assert doubt in problem
    assert f"mta-pipeline accept {WEEK}" in problem
    fetched = feed.fetched
    assert files.is_current(feed, WEEK)
    assert files.manifest_if_unchanged(feed, WEEK) == manifest
    assert feed.fetched == fetched


def test_pending_contents_with_another_time_are_fetched_once(files, feed, publish, tmp_path):
    for contents in (SIX, THREE):
        publish(contents)
        files.land(feed, WEEK)
    os.utime(tmp_path / "feed" / NAME, (0, 1_000_000_000))
    fetched = feed.fetched
    for _ in range(3):
        assert files.is_current(feed, WEEK)
    assert feed.fetched == fetched + 1
    assert files.pending_problem(WEEK)


def test_an_accepted_version_becomes_current_and_the_other_one_is_kept(files, feed, publish):
    publish(SIX)
    before, _ = files.land(feed, WEEK)
    publish(THREE)
    files.land(feed, WEEK)
    accepted = files.accept(WEEK)
    assert files.manifest(WEEK) == accepted
    assert files.read(WEEK) == THREE
    assert accepted.previous == (before.current,)
    assert names(files) == {"manifest.json", accepted.object, before.object}
    assert files.is_current(feed, WEEK)
    assert files.pending_problem(WEEK) is None
    with pytest.raises(NothingPendingError, match=f"Week {WEEK}: no version is pending"):
        files.accept(WEEK)


@pytest.mark.parametrize("contents", [FIVE, SIX], ids=["other good contents", "the current contents"])
def test_good_contents_land_and_the_pending_version_is_dropped(files, feed, publish, contents):
    publish(SIX)
    files.land(feed, WEEK)
    publish(THREE)
    pending = files.land(feed, WEEK)[0].pending
    publish(contents)
    assert files.manifest_if_unchanged(feed, WEEK) is None
    _, is_new = files.land(feed, WEEK)
    assert is_new == (contents != SIX)
    assert files.read(WEEK) == contents
    assert files.pending_problem(WEEK) is None
    assert pending.object not in names(files)


def test_a_week_that_could_not_be_used_is_replaced_by_any_contents(files, feed, publish):
    for contents in (JUNK, THREE):
        publish(contents)
        files.land(feed, WEEK)
    assert files.read(WEEK) == THREE


def test_the_readings_in_the_lake_count_if_the_current_version_is_lost(files, feed, publish):
    publish(SIX)
    manifest, _ = files.land(feed, WEEK)
    readings = stage(SIX, WEEK, BOOTHS).readings
    path = part_path(files.lake_root, TURNSTILE_READINGS.layer, TURNSTILE_READINGS.name, WEEK)
    write_atomically(path, to_parquet(readings))
    (folder(files) / manifest.object).unlink()
    publish(THREE)
    files.land(feed, WEEK)
    assert files.manifest(WEEK).sha256 == manifest.sha256
    assert "3 readings" in files.pending_problem(WEEK)
    assert files.is_current(feed, WEEK)


def test_a_damaged_version_is_not_kept_in_the_place_of_a_valid_one(files, feed, publish):
    one = RawFiles(files.lake_root, versions=1)
    publish(OLD)
    valid, _ = one.land(feed, WEEK)
    publish(NEW)
    damaged, _ = one.land(feed, WEEK)
    (folder(files) / damaged.object).write_bytes(b"rubbish")
    publish(NEWER)
    assert [version.sha256 for version in one.land(feed, WEEK)[0].previous] == [valid.sha256]


def test_a_manifest_of_an_earlier_release_can_be_read(files, feed, publish):
    publish(OLD)
    manifest, _ = files.land(feed, WEEK)
    path = folder(files) / "manifest.json"
    fields = json.loads(path.read_bytes())
    path.write_text(
        json.dumps(
            {
                name: fields[name]
                for name in fields.keys() - {"doubt", "pending", "previous", "digest", "manifest_sha256"}
            }
        )
    )
    assert files.manifest(WEEK) == manifest
    publish(NEW)
    assert [version.sha256 for version in files.land(feed, WEEK)[0].previous] == [manifest.sha256]


# --- lost and damaged objects ---


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_flipped_bit_of_a_manifest_is_detected(files, feed, publish, data):
    publish(OLD)
    files.land(feed, WEEK)
    path = folder(files) / "manifest.json"
    intact = path.read_bytes()
    bit = data.draw(st.integers(0, len(intact) * 8 - 1))
    damaged = bytearray(intact)
    damaged[bit // 8] ^= 1 << bit % 8
    path.write_bytes(damaged)
    assert "manifest" in files.problem(WEEK)
    path.write_bytes(intact)
    assert files.problem(WEEK) is None


def test_a_week_whose_object_is_missing_lands_again_if_the_feed_has_it(files, feed, publish, tmp_path):
    publish(OLD)
    manifest, _ = files.land(feed, WEEK)
    (folder(files) / manifest.object).unlink()
    assert "the object is missing" in files.problem(WEEK, contents=False)
    assert files.available_version(feed, WEEK) is None
    assert not files.is_current(feed, WEEK)
    (tmp_path / "feed" / NAME).unlink()
    assert files.available_version(feed, WEEK) == manifest.sha256
    assert files.is_current(feed, WEEK)


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_found_and_a_damaged_object_is_set_aside(files, feed, publish, damage):
    publish(OLD)
    manifest, _ = files.land(feed, WEEK)
    assert files.problem(WEEK) is None
    damage(folder(files) / manifest.object, folder(files) / "manifest.json")
    assert re.search(rf"week={WEEK}/.*; materialize raw/turnstile_file for {WEEK} again", files.problem(WEEK))
    files.set_damaged_aside(WEEK)
    # A damaged manifest stays: the week has to land anyway, and the check must not take it for one that never landed.
    assert MANIFEST in names(files)
    assert files.problem(WEEK, contents=False)
    files.land(feed, WEEK)
    assert files.problem(WEEK) is None


def test_a_damaged_pending_version_is_not_accepted_until_it_lands_again(files, feed, publish):
    for contents in (SIX, THREE):
        publish(contents)
        manifest, _ = files.land(feed, WEEK)
    (folder(files) / manifest.pending.object).unlink()
    with pytest.raises(DamagedRawFile, match="the pending version is missing or damaged"):
        files.accept(WEEK)
    files.land(feed, WEEK)
    files.accept(WEEK)
    assert files.read(WEEK) == THREE


def test_a_manifest_with_a_wrong_sha256_is_found(files, feed, publish):
    publish(OLD)
    manifest, _ = files.land(feed, WEEK)
    path = folder(files) / "manifest.json"
    fields = json.loads(path.read_bytes()) | {"sha256": manifest.sha256[:-1] + "x"}
    # Manifests of earlier releases have no digest of themselves.
    path.write_text(json.dumps({name: fields[name] for name in fields.keys() - {"digest", "manifest_sha256"}}))
    assert "do not match the sha256 in the manifest" in files.problem(WEEK)


def test_an_intact_object_is_not_set_aside(files, feed, publish):
    publish(OLD)
    manifest, _ = files.land(feed, WEEK)
    files.set_damaged_aside(WEEK)
    assert names(files) == {"manifest.json", manifest.object}
