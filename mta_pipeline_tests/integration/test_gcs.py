"""Objects in a bucket are replaced only if they are unchanged since they were read, and checksums detect damage.

The emulator verifies checksums but ignores preconditions. Tests verify these between the client and the emulator.
"""

import re
import threading
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import polars as pl
import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from upath import UPath

from mta_pipeline.lake import gcs
from mta_pipeline.lake import raw as raw_layer
from mta_pipeline.lake.comparison import compare_parts, parts_of
from mta_pipeline.lake.origin import Origin
from mta_pipeline.lake.parquet import origin, to_parquet
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.lake.storage import Part, files_in, location, part_path, read_bytes, remove, write_atomically
from mta_pipeline.sources.turnstile_files import open_feed
from mta_pipeline.weeks import file_name
from mta_pipeline_tests.dagster.project import steady_week
from mta_pipeline_tests.support.published_files import WEEK

pytestmark = pytest.mark.slow

pytest_plugins = ["mta_pipeline_tests.support.gcs_emulator"]

OLD, NEW = (steady_week(WEEK, start=n * 1_000) for n in (1, 2))
ROUNDS = 4


class StrictSession(requests.Session):
    """A session between client and emulator. It records every request and refuses what a real bucket would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, str, dict[str, str]]] = []
        self.responses_to_lose = 0
        self._one_request_at_a_time = threading.RLock()

    def request(self, method, url, *arguments, **options):
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        with self._one_request_at_a_time:
            self.sent.append((method, url, query))
            seen = query.get("ifGenerationMatch")
            if seen is not None and int(seen) != self._generation(url, query, options.get("data")):
                response = requests.Response()
                response.status_code, response._content = 412, b'{"error": {"message": "conditionNotMet"}}'
                response.request = requests.Request(method, url).prepare()
                return response
            response = super().request(method, url, *arguments, **options)
        if self.responses_to_lose and "/upload/" in url:
            self.responses_to_lose -= 1
            raise requests.ConnectionError("the response got lost")
        return response

    def _generation(self, url: str, query: dict[str, str], body: bytes | None) -> int:
        parts = urlsplit(url)
        bucket, _, name = parts.path.partition("/b/")[2].partition("/o")
        # The name of an upload is in its body, before the contents.
        name = re.search(rb'"name": "(.+?)"', body)[1].decode() if "/upload/" in url else unquote(name[1:])
        about = f"{parts.scheme}://{parts.netloc}/storage/v1/b/{bucket}/o/{requests.utils.quote(name, safe='')}"
        response = super().request("GET", about)
        return int(response.json()["generation"]) if response.ok else gcs.NOTHING


@pytest.fixture
def session(gcs_bucket, monkeypatch):
    session = StrictSession()
    client = storage.Client(project="test", credentials=AnonymousCredentials(), _http=session)
    monkeypatch.setattr(gcs, "client", cache(lambda: client))
    return session


@pytest.fixture
def path(gcs_bucket) -> UPath:
    return part_path(f"{gcs_bucket}/lake", "staged", "turnstile_readings", WEEK)


@pytest.fixture
def feeds(tmp_path):
    """Two feeds of the same week with different contents."""
    for name, contents in (("old", OLD), ("new", NEW)):
        (tmp_path / name).mkdir()
        (tmp_path / name / file_name(WEEK)).write_bytes(contents)
    return [open_feed(str(tmp_path / name)) for name in ("old", "new")]


def uploads(session) -> list[str | None]:
    """The generation that each upload required."""
    return [query.get("ifGenerationMatch") for _, url, query in session.sent if "/upload/" in url]


def test_an_object_is_replaced_only_if_it_is_unchanged(session, path):
    write_atomically(path, b"1", precondition=lambda: True)
    first = gcs.generation(path)
    write_atomically(path, b"2", precondition=lambda: True)
    assert uploads(session) == ["0", str(first)]
    with pytest.raises(gcs.ConcurrentWriteError):
        gcs.write(path, b"3", first)
    assert read_bytes(path) == b"2"


def test_after_a_write_conflict_the_precondition_is_evaluated_again(session, path):
    write_atomically(path, b"before")
    seen = []

    def precondition() -> bool:
        if not seen:
            gcs.write(path, b"another run's")
        seen.append(read_bytes(path))
        return True

    write_atomically(path, b"ours", precondition=precondition)
    assert seen == [b"another run's", b"another run's"]
    assert read_bytes(path) == b"ours"


def test_a_write_whose_precondition_no_longer_holds_is_refused(session, path):
    write_atomically(path, b"before")
    with pytest.raises(gcs.ConcurrentWriteError, match="out of date"):
        write_atomically(path, b"ours", precondition=lambda: False)
    assert read_bytes(path) == b"before"


def test_a_lost_response_is_retried_and_the_own_write_is_no_conflict(session, path):
    session.responses_to_lose = 1
    write_atomically(path, b"ours", precondition=lambda: True)
    assert uploads(session) == ["0", "0"]
    assert read_bytes(path) == b"ours"


def test_an_object_that_was_replaced_in_the_meantime_is_not_removed(session, path):
    write_atomically(path, b"1")
    [found] = files_in(path.parent)
    write_atomically(path, b"2")
    remove(found)
    assert read_bytes(path) == b"2"
    [found] = files_in(path.parent)
    remove(found)
    assert files_in(path.parent) == []


def test_of_two_concurrent_landings_the_one_that_starts_first_and_ends_last_fetches_again(session, feeds, gcs_bucket):
    raw, (old, new) = RawFiles(f"{gcs_bucket}/lake"), feeds

    class Slow(type(old)):
        fetched = 0

        def fetch(self, week, sink):
            fetched = super().fetch(week, sink)
            self.fetched += 1
            if self.fetched == 1:
                assert raw.land(new, WEEK)[1]
                (Path(self.location) / file_name(WEEK)).write_bytes(NEW)
            return fetched

    slow = Slow(old.location)
    manifest, is_new = raw.land(slow, WEEK)
    assert (slow.fetched, is_new) == (2, False)
    assert raw.read(WEEK) == NEW
    assert sorted(f.path.name for f in files_in(raw.path(WEEK))) == sorted(["manifest.json", *manifest.all_objects])


def test_a_landing_between_another_landing_s_object_and_manifest_makes_the_other_start_again(
    session, feeds, gcs_bucket, monkeypatch
):
    raw, (old, new) = RawFiles(f"{gcs_bucket}/lake"), feeds
    raw.land(old, WEEK)
    write = raw_layer.write_atomically
    other_landings = [lambda: raw.land(old, WEEK)]

    def write_after_another_landing(path, *payload, **options):
        if path.name == "manifest.json" and other_landings:
            # The other landing finds the new object without a manifest that names it, and removes it.
            other_landings.pop()()
        write(path, *payload, **options)

    monkeypatch.setattr(raw_layer, "write_atomically", write_after_another_landing)
    manifest, is_new = raw.land(new, WEEK)
    assert is_new
    assert raw.read(WEEK) == NEW
    assert sorted(f.path.name for f in files_in(raw.path(WEEK))) == sorted(["manifest.json", *manifest.all_objects])


def test_concurrent_landings_leave_one_complete_week_and_the_next_landing_removes_the_rest(session, feeds, gcs_bucket):
    raw = RawFiles(f"{gcs_bucket}/lake")
    for _ in range(ROUNDS):
        landings = [threading.Thread(target=raw.land, args=(feed, WEEK)) for feed in feeds * 2]
        for landing in landings:
            landing.start()
        for landing in landings:
            landing.join()
        assert raw.read(WEEK) in (OLD, NEW)
        raw.land(feeds[0], WEEK)
        assert raw.read(WEEK) == OLD
        names = sorted(found.path.name for found in files_in(raw.path(WEEK)))
        assert names == sorted(["manifest.json", *raw.manifest(WEEK).all_objects])


def test_bytes_that_are_damaged_during_the_upload_are_refused(session, path, monkeypatch):
    write_atomically(path, b"good")
    original = session.request
    monkeypatch.setattr(
        session,
        "request",
        lambda *arguments, data=None, **options: original(
            *arguments, data=data and data.replace(b"new", b"odd"), **options
        ),
    )
    with pytest.raises(OSError, match=r"any previous file remains.*CRC32C"):
        write_atomically(path, b"new")
    assert read_bytes(path) == b"good"


def test_bytes_that_are_damaged_during_the_download_are_detected(session, path, monkeypatch):
    write_atomically(path, b"good")
    original = session.request

    def damaging(*arguments, **options):
        response = original(*arguments, **options)
        response.raw.read = lambda *_, **__: b""
        response.iter_content = lambda **_: iter([b"evil"])
        return response

    monkeypatch.setattr(session, "request", damaging)
    with pytest.raises(OSError, match="does not match the crc32c"):
        read_bytes(path)


def test_listing_a_folder_lists_only_that_folder(session, path):
    write_atomically(path, b"1")
    write_atomically(path.parent.parent / f"{path.parent.name}-not" / "part-0.parquet", b"2")
    session.sent.clear()
    assert [found.path for found in files_in(path.parent)] == [path]
    # Requests without a response are sent again, those of the writes included. So compare a set of listings.
    listings = {query["prefix"] for method, _, query in session.sent if method == "GET" and "prefix" in query}
    assert listings == {f"lake/staged/turnstile_readings/week={WEEK}/"}


def test_new_files_of_other_writers_are_seen_although_the_folder_was_listed_before(gcs_bucket):
    table = location(f"{gcs_bucket}/lake") / "marts" / "system_daily"
    write_atomically(table / "a.parquet", b"1")
    assert [path.name for path in table.glob("*.parquet")] == ["a.parquet"]
    write_atomically(table / "b.parquet", b"2")
    assert sorted(path.name for path in table.glob("*.parquet")) == ["a.parquet", "b.parquet"]
    assert (table / "b.parquet").exists()


def test_lakes_in_a_bucket_are_compared(gcs_bucket):
    first, second = f"{gcs_bucket}/[one]", f"{gcs_bucket}/other"
    for root, n in ((first, 1), (second, 2)):
        write_atomically(part_path(root, "lake", "same"), to_parquet(pl.DataFrame({"n": [1]})))
        write_atomically(part_path(root, "lake", "weekly", WEEK), to_parquet(pl.DataFrame({"n": [n]})))
        write_atomically(location(root) / "lake" / "weekly" / "notes" / "part-0.parquet", b"no part of a table")
    wanted = parts_of(first, second)
    assert wanted == dict.fromkeys([Part("lake", "same", None), Part("lake", "weekly", WEEK)], (True, True))
    found = [part for part in compare_parts(first, second, wanted, {}) if part]
    assert [(part.part.week, part.only_first, part.only_second) for part in found] == [(WEEK, 1, 1)]


def test_the_origin_is_read_from_the_end_of_the_file_only(gcs_bucket, path, monkeypatch):
    rows = pl.select(n=pl.int_range(1_000_000)).select(pl.col("n") * 7_919 % 1_000_003)
    write_atomically(path, to_parquet(rows, Origin("the contents", {"a": 2})))
    filesystem, caches = type(path.fs), []
    original = filesystem.open

    def recording(*arguments, **how):
        file = original(*arguments, **how)
        caches.append(file.cache)
        return file

    monkeypatch.setattr(filesystem, "open", recording)
    assert origin(path) == Origin("the contents", {"a": 2})
    assert 0 < caches[0].total_requested_bytes <= 1 << 16 < len(read_bytes(path))
