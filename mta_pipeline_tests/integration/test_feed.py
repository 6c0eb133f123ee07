"""Behaviour of every kind of feed: the same files and the same errors, whatever the location."""

import errno
import gzip
import hashlib
import io
import os
import re
import shutil
import struct
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import stamina
from hypothesis import given, settings
from hypothesis import strategies as st

from mta_pipeline.orchestration.resources.feed import TurnstileFeed
from mta_pipeline.sources.errors import BadFile, FeedError, FeedRefused, FeedUnavailable, NotPublished
from mta_pipeline.sources.turnstile_files import Feed, PublishedFile, filesystem, open_feed, unpacking, unused_files
from mta_pipeline.sources.turnstile_files.unpacking import deliver, receive
from mta_pipeline.weeks import file_name
from mta_pipeline_tests.support.assertions import assert_short
from mta_pipeline_tests.support.feed_server import serve_feed

pytest_plugins = ["mta_pipeline_tests.support.gcs_emulator"]

WEEK, NEXT_WEEK, ABSENT_WEEK = "2024-01-06", "2024-01-13", "2024-01-20"
NAME, NEXT_NAME = file_name(WEEK), file_name(NEXT_WEEK)
HEADER = b"C/A,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS".ljust(130) + b"\n"
LINE = b"A002,R051,02-00-00,59 ST,NQR456W,BMT,01/06/2024,03:00:00,REGULAR,0000105161,0000076217".ljust(130) + b"\n"
BOMB = bytes(4 * 2**20)
ENTRIES = 2**15 * (b"PK\x01\x02" + bytes(42))
MANY_MEMBERS = b"PK\x03\x04" + ENTRIES + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(ENTRIES), 4, 0)
"""A zip whose list of members would take fifteen times its size in memory."""
CONTENTS = HEADER + 2000 * LINE


def zipped(contents: bytes = CONTENTS, *names: str, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as file:
        for name in names or (NAME,):
            file.writestr(name, contents)
    return archive.getvalue()


def altered(packed: bytes, at: int, by: int = 0xFF) -> bytes:
    return packed[:at] + bytes([packed[at] ^ by]) + packed[at + 1 :]


def encrypted(archive: bytes) -> bytes:
    """Set the encryption bit of the archive, because zipfile cannot encrypt."""
    return altered(altered(archive, 6, 1), archive.index(b"PK\x01\x02") + 8, 1)


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


BUCKET = pytest.param("gs", marks=pytest.mark.slow("gcs_server"))


@pytest.fixture(params=["directory", "memory", BUCKET, "index page", "listing", "no index"])
def feed_of(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[dict[str, bytes]], Feed]]:
    """Makes a feed of the parametrized kind from file names and contents."""

    def in_directory(files: dict[str, bytes]) -> Path:
        for name, contents in files.items():
            (tmp_path / name).write_bytes(contents)
        return tmp_path

    def in_store(root: str, files: dict[str, bytes]) -> Feed:
        filesystem, path = fsspec.core.url_to_fs(root)
        for name, contents in {"placeholder": b"", **files}.items():
            filesystem.pipe_file(f"{path}/{name}", contents)
        return open_feed(root)

    kind = request.param
    if kind == "directory":
        yield lambda files: open_feed(str(in_directory(files)))
    elif kind == "memory":
        yield lambda files: in_store("memory://feed", files)
        fsspec.filesystem("memory").rm("/feed", recursive=True)
    elif kind == "gs":
        bucket = request.getfixturevalue("gcs_bucket")
        yield lambda files: in_store(f"{bucket}/mirror/turnstile", files)
    else:
        with serve_feed(tmp_path) as server:
            url = {"index page": server.index_url, "listing": server.listing_url, "no index": server.bare_url}[kind]

            def on_the_web(files: dict[str, bytes]) -> Feed:
                in_directory(files)
                return open_feed(url)

            yield on_the_web


def fetch(feed: Feed, week: str = WEEK) -> bytes:
    sink = io.BytesIO()
    fetched = feed.fetch(week, sink)
    contents = sink.getvalue()
    assert (fetched.sha256, fetched.size) == (hashlib.sha256(contents).hexdigest(), len(contents))
    assert fetched.file.week == week
    return contents


def assert_refused(feed: Feed, outcome: type[Exception], expected: str, week: str = WEEK) -> str:
    """Assert that a fetch fails, writes nothing and names week and location; return the message."""
    sink = io.BytesIO()
    with pytest.raises(outcome, match=expected) as raised:
        feed.fetch(week, sink)
    message = str(raised.value)
    assert sink.getvalue() == b""
    assert week in message
    assert feed.location.removesuffix("turnstile.html") in message
    return message


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), (".gz", gzip.compress), (".zip", zipped)],
    ids=["plain", "gz", "zip"],
)
def test_every_kind_of_feed_returns_the_published_bytes_of_every_kind_of_file(feed_of, suffix, pack):
    feed = feed_of({NAME + suffix: pack(CONTENTS)})

    assert fetch(feed) == CONTENTS


def test_look_and_fetch_return_the_same_signature_and_it_changes_with_the_file(feed_of):
    feed = feed_of({NAME: CONTENTS})
    before = feed.look(WEEK)
    assert before == feed.fetch(WEEK, io.BytesIO()).file
    assert before.size == len(CONTENTS)
    assert before.signature is not None

    assert feed_of({NAME: CONTENTS + LINE}).look(WEEK).signature != before.signature
    assert feed.look(WEEK).signature != before.signature


@pytest.mark.parametrize("feed_of", ["directory", "memory", BUCKET, "listing"], indirect=True)
def test_weeks_beside_the_note_of_a_sample_are_marked_as_synthetic(feed_of):
    assert not feed_of({NAME: CONTENTS}).fetch(WEEK, io.BytesIO()).is_sample
    assert feed_of({NAME: CONTENTS, "SAMPLE.txt": b"made up"}).fetch(WEEK, io.BytesIO()).is_sample


def test_a_week_that_was_not_published_has_its_own_error(feed_of):
    feed = feed_of({NAME: CONTENTS})

    assert feed.look(ABSENT_WEEK) is None
    assert_refused(feed, NotPublished, "is not published", ABSENT_WEEK)


@pytest.mark.parametrize("feed_of", ["directory", "memory", BUCKET, "index page", "listing"], indirect=True)
def test_available_weeks_are_the_regular_weekly_files_in_order(feed_of):
    others = ["turnstile_100505.txt", "turnstile_240114.txt", "readme.txt", NAME + ".bak"]
    feed = feed_of(dict.fromkeys([NEXT_NAME + ".gz", NAME, NAME + ".zip", *others], b"x"))

    available = feed.available_weeks()

    assert list(available) == [WEEK, NEXT_WEEK]
    assert [file.url.rpartition("/")[2] for file in available.values()] == [NAME, NEXT_NAME + ".gz"]
    assert all(isinstance(file, PublishedFile) and file.week == week for week, file in available.items())


@pytest.mark.parametrize("feed_of", ["directory", "memory", BUCKET, "index page", "listing"], indirect=True)
def test_files_that_look_like_data_and_are_not_used_are_named_by_reason(feed_of):
    no_weekly_names = ["turnstile_240113.csv", "turnstile_240114.txt", "2015.zip", "Turnstile_240113.TXT", "240113.txt"]
    no_data = [".DS_Store", "._" + NAME, "readme.txt", "turnstile.html"]
    outside = ["turnstile_681229.txt", "turnstile_100501.txt"]
    feed = feed_of(dict.fromkeys([NAME, NAME + ".zip", *no_weekly_names, *no_data, *outside], b"x"))

    listing = feed.listing_unless(None)

    assert list(listing.weeks) == [WEEK]
    other_copies, dates, other_names = sorted(listing.notes, key=len)
    assert "2 files are not used" in dates
    assert "the date in the name is outside the calendar, which is from 2010-05-01 to 2059" in dates
    assert [name for name in outside if name not in dates] == []
    assert re.search(rf"^1 file is not used .* another copy of its week is preferred: {NAME}.zip$", other_copies)
    assert "5 files are not used" in other_names
    assert "is not turnstile_YYMMDD.txt, .txt.gz or .txt.zip with the date of a Saturday" in other_names
    assert [name for name in no_weekly_names if name not in other_names] == []
    assert [name for name in no_data if name in other_names.rpartition(": ")[2]] == []


def test_a_feed_without_a_list_has_no_unused_files(tmp_path):
    (tmp_path / "turnstile_240113.csv").write_bytes(b"x")
    with serve_feed(tmp_path) as server:
        assert list(unused_files(open_feed(server.bare_url))) == []
    assert list(unused_files(open_feed(str(tmp_path / "missing")))) == []
    assert len(unused_files(open_feed(str(tmp_path)))) == 1


def test_plain_files_are_preferred_over_gz_over_zip(feed_of):
    feed = feed_of({NAME + ".zip": zipped(b"zip"), NAME + ".gz": gzip.compress(b"gz")})
    assert fetch(feed) == b"gz"

    assert fetch(feed_of({NAME: b"plain"})) == b"plain"


@pytest.mark.parametrize(
    ("suffix", "contents", "expected"),
    [
        ("", b"", "is empty"),
        (".gz", gzip.compress(b""), "is empty"),
        ("", b"\n <!DOCTYPE html><html>gone</html>", "web page"),
        ("", b"\xef\xbb\xbf<HTML>", "web page"),
        (".gz", gzip.compress(b"<?xml version='1.0'?><Error/>"), "web page"),
        (".gz", gzip.compress(CONTENTS)[:-9], "damaged"),
        (".gz", gzip.compress(CONTENTS) + b"garbage", "damaged"),
        (".gz", gzip.compress(CONTENTS)[:-8] + b"\0\0\0\0\0\0\0\0", "damaged"),
        (".gz", b"\x1f\x8b\x08\x00" + 200 * b"\xff", "damaged"),
        (".gz", b"\xff" + gzip.compress(CONTENTS), "nor an archive"),
        (".gz", gzip.compress(gzip.compress(CONTENTS)), "packed twice"),
        (".gz", gzip.compress(BOMB), "too large"),
        (".zip", zipped(BOMB), "too large"),
        (".zip", zipped(CONTENTS)[:-30], "damaged"),
        (".zip", zipped(CONTENTS) + b"garbage", "damaged"),
        (".zip", altered(zipped(), 60), "damaged"),
        (".zip", encrypted(zipped()), "encrypted"),
        (".zip", MANY_MEMBERS, "list of members has more than"),
        (".zip", b"PK", "nor an archive"),
        (".zip", altered(zipped(HEADER, method=zipfile.ZIP_STORED), 0), "nor an archive"),
        (".zip", zipped(CONTENTS, NAME, NEXT_NAME), "2 members"),
        (".zip", b"PK\x05\x06" + bytes(18), "0 members"),
        (".zip", zipped(CONTENTS, "../../etc/" + NAME), "top level"),
        (".zip", zipped(CONTENTS, "folder/" + NAME), "top level"),
        (".zip", zipped(CONTENTS, "setup.exe"), "instead of a .txt"),
        (".zip", zipped(CONTENTS, NEXT_NAME), "another week"),
        (".zip", zipped(CONTENTS, method=zipfile.ZIP_LZMA), "compression method"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_file_is_refused_with_its_reason_and_nothing_is_delivered(
    tmp_path, monkeypatch, suffix, contents, expected
):
    monkeypatch.setattr(unpacking, "ALWAYS_ALLOWED_BYTES", 2**20)
    (tmp_path / (NAME + suffix)).write_bytes(contents)

    assert_refused(open_feed(str(tmp_path)), BadFile, expected)


SMALL = HEADER + 200 * LINE
SMALL_BOMB, SMALL_LIMIT = bytes(2**19), 2**17
HOSTILE_NAMES = ["../" + NAME, "/etc/" + NAME, "a\\" + NAME, "\n\0" + NAME, 6_000 * "n", "\u202etxt.exe"]
NAMES = [(NAME,), (NAME, NEXT_NAME), ("__MACOSX/._" + NAME, NAME), *((name,) for name in HOSTILE_NAMES)]
ARCHIVES = [
    *((".gz", contents, gzip.compress(contents, mtime=0)) for contents in (SMALL, HEADER, SMALL_BOMB, zipped())),
    *((".zip", contents, zipped(contents)) for contents in (SMALL, SMALL, SMALL_BOMB, zipped(), gzip.compress(SMALL))),
    *((".zip", HEADER, zipped(HEADER, *names)) for names in NAMES),
    *((".zip", HEADER, zipped(HEADER, method=method)) for method in (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2)),
    (".zip", CONTENTS, encrypted(zipped())),
]
"""Suffix, contents and bytes of archives, good and hostile."""
ANY_SIZE = st.sampled_from([0, 1, 0x7FFF, 0xFFFF, 2**31 - 1, 2**32 - 2, 2**32 - 1, 2**63, 2**64 - 1])


@st.composite
def damaged_archives(draw: st.DrawFn) -> tuple[str, bytes, bytes]:
    """Suffix and contents of an archive, and its bytes with some altered, repeated, removed, cut off or appended."""
    suffix, contents, archive = draw(st.sampled_from(ARCHIVES))
    damaged = bytearray(archive)
    # Most fields that can mislead a reader are near the ends, and many faults need two wrong fields.
    place = st.one_of(
        st.integers(0, len(archive) - 1),
        st.integers(0, min(60, len(archive) - 1)),
        st.integers(max(0, len(archive) - 120), len(archive) - 1),
    )
    kinds = st.sampled_from(["flip", "flip", "flip", "size", "move", "end"])
    for at, kind in draw(st.lists(st.tuples(place, kinds), max_size=4)):
        if kind == "flip" and at < len(damaged):
            damaged[at] ^= draw(st.integers(1, 255))
        elif kind == "size":
            width = draw(st.sampled_from([2, 4, 8]))
            damaged[at : at + width] = (draw(ANY_SIZE) % 256**width).to_bytes(width, "little")
        elif kind == "move":
            damaged[at : at + draw(st.integers(0, 20))] = draw(st.binary(max_size=20))
        elif kind == "end":
            damaged[at:] = draw(st.sampled_from([b"", b"\0", damaged[: len(damaged) - at], archive]))
    return suffix, contents, bytes(damaged)


@pytest.mark.parametrize("in_memory", [True, False], ids=["small", "large"])
@settings(max_examples=settings.default.max_examples // 2)
@given(archive=damaged_archives())
def test_a_damaged_archive_gives_whole_copies_of_the_original_or_is_refused(in_memory, archive):
    suffix, contents, damaged = archive
    limit, unpacked = max(SMALL_LIMIT, unpacking.MAX_RATIO * len(damaged)), bytearray()

    with (
        pytest.MonkeyPatch.context() as patched,
        tempfile.SpooledTemporaryFile(max_size=len(damaged) + 1 if in_memory else 1) as stored,
    ):
        patched.setattr(unpacking, "ALWAYS_ALLOWED_BYTES", SMALL_LIMIT)
        stored.write(damaged)
        try:
            for chunk in unpacking.unpacked(stored, PublishedFile(WEEK, "somewhere/" + NAME + suffix)):
                unpacked += chunk
                assert len(unpacked) <= limit
        except BadFile as error:
            assert_short(str(error))
        else:
            # Nobody can tell that a few letters were the beginning of an archive.
            assert unpacked.replace(contents, b"") == b"" or (unpacked == damaged and len(damaged) < 30)


@pytest.mark.parametrize(
    "fault",
    [ValueError("negative seek value -9"), OSError(errno.EINVAL, "Invalid argument"), struct.error("unpack requires")],
    ids=lambda fault: type(fault).__name__,
)
def test_whatever_a_damaged_archive_raises_is_a_bad_file(monkeypatch, fault):
    archive = io.BytesIO(zipped())
    monkeypatch.setattr(zipfile.ZipFile, "open", raises(fault))

    with pytest.raises(BadFile, match=f"the archive is damaged .*{fault.args[-1]}"):
        deliver(archive, PublishedFile(WEEK, NAME + ".zip"), io.BytesIO())


@pytest.mark.parametrize("fault", [OSError(errno.EIO, "Input/output error"), MemoryError()], ids=["disk", "memory"])
def test_a_fault_of_this_machine_is_not_reported_as_a_damaged_archive(monkeypatch, fault):
    archive = io.BytesIO(zipped())
    monkeypatch.setattr(zipfile.ZipFile, "open", raises(fault))

    with pytest.raises(type(fault)):
        deliver(archive, PublishedFile(WEEK, NAME + ".zip"), io.BytesIO())


def raises(error: Exception) -> Callable[..., None]:
    def function(*_: object, **__: object) -> None:
        raise error

    return function


JUNK = ["__MACOSX/", "__MACOSX/._" + NAME, ".DS_Store", "._" + NAME, "Thumbs.db", "desktop.ini"]


def test_files_that_an_operating_system_adds_to_a_zip_are_ignored(tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name in [*JUNK[:3], NAME, *JUNK[3:]]:
            file.writestr(name, CONTENTS if name == NAME else b"\0\5\x16\7")
    (tmp_path / (NAME + ".zip")).write_bytes(archive.getvalue())

    assert fetch(open_feed(str(tmp_path))) == CONTENTS


def test_a_zip_of_several_files_names_them(tmp_path):
    others = [f"extra_{number}.txt" for number in range(20)]
    (tmp_path / (NAME + ".zip")).write_bytes(zipped(b"", NAME, NEXT_NAME, *JUNK, *others))

    message = assert_refused(open_feed(str(tmp_path)), BadFile, f"22 members .*: {NAME}, {NEXT_NAME}, extra_0")

    assert message.count("extra_") < len(others)
    assert "and 14 more" in message
    assert "DS_Store" not in message


def test_gzip_of_several_members_is_one_file(tmp_path):
    (tmp_path / (NAME + ".gz")).write_bytes(gzip.compress(HEADER) + gzip.compress(LINE))

    assert fetch(open_feed(str(tmp_path))) == HEADER + LINE


def test_compression_is_detected_by_bytes_and_not_by_name(tmp_path):
    feed = open_feed(str(tmp_path))
    for name, stored in {NAME: gzip.compress(CONTENTS), NAME + ".zip": CONTENTS, NAME + ".gz": zipped()}.items():
        (tmp_path / name).write_bytes(stored)
        assert fetch(feed) == CONTENTS
        (tmp_path / name).unlink()


def test_a_file_larger_than_any_week_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_PUBLISHED_BYTES", len(CONTENTS) - 1)
    (tmp_path / NAME).write_bytes(CONTENTS)
    assert_refused(open_feed(str(tmp_path)), BadFile, "too large")

    with serve_feed(tmp_path) as server:
        assert_refused(open_feed(server.bare_url), BadFile, "too large")


@pytest.mark.parametrize("chunk", [b"four", b"sixsix"])
def test_a_file_whose_size_differs_from_the_announced_size_is_refused(chunk):
    with pytest.raises(FeedUnavailable, match="cut off, or the file was replaced"):
        receive([chunk], PublishedFile(WEEK, NAME, size=5), io.BytesIO())


def test_memory_is_bounded_whatever_the_size_of_the_file(tmp_path):
    block = b"".join(LINE.replace(b"0105161", b"%07d" % register) for register in range(30_000))
    with (tmp_path / NAME).open("wb") as plain, gzip.open(tmp_path / (NEXT_NAME + ".gz"), "wb", 1) as packed:
        for _ in range(10):
            plain.write(block)
            packed.write(block)

    with serve_feed(tmp_path) as server, (tmp_path / "sink").open("wb") as sink:
        for feed, week in [(open_feed(str(tmp_path)), WEEK), (open_feed(server.listing_url), NEXT_WEEK)]:
            tracemalloc.start()
            fetched = feed.fetch(week, sink)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert fetched.size > 39_000_000
            assert peak < 8_000_000


def test_a_full_disk_is_not_reported_as_a_fault_of_the_feed(tmp_path):
    (tmp_path / NAME).write_bytes(CONTENTS)

    with Path("/dev/full").open("wb", buffering=0) as sink, pytest.raises(OSError, match="No space left"):
        open_feed(str(tmp_path)).fetch(WEEK, sink)


@pytest.mark.slow
def test_a_missing_feed_is_unavailable_and_not_empty(tmp_path, gcs_bucket):
    for location in [str(tmp_path / "missing"), "memory://missing", f"{gcs_bucket}/missing", "gs://no-such-bucket"]:
        feed = open_feed(location)
        for request in (feed.available_weeks, lambda feed=feed: feed.look(WEEK), lambda feed=feed: fetch(feed)):
            with pytest.raises(FeedUnavailable, match=re.escape(location) + ".*`make run`.*MTA_FEED"):
                request()


def test_a_single_file_is_a_feed_of_one_week(tmp_path):
    for name in (NAME, NEXT_NAME, "Turnstile_Usage_Data__2019.csv"):
        (tmp_path / name).write_bytes(CONTENTS)
    feed = open_feed(str(tmp_path / NAME))

    assert list(feed.available_weeks()) == [WEEK]
    assert list(feed.exports()) == []
    assert fetch(feed) == CONTENTS
    assert_refused(feed, NotPublished, "is not published", NEXT_WEEK)


def test_symbolic_links_are_followed_and_the_signature_is_that_of_their_target(tmp_path):
    elsewhere, feed_directory = tmp_path / "elsewhere.txt", tmp_path / "feed"
    feed_directory.mkdir()
    elsewhere.write_bytes(CONTENTS)
    (feed_directory / NAME).symlink_to(elsewhere)
    feed = open_feed(str(feed_directory))
    before = feed.available_weeks()[WEEK]
    assert fetch(feed) == CONTENTS
    assert before.size == len(CONTENTS)

    elsewhere.write_bytes(CONTENTS + LINE)
    assert feed.look(WEEK).signature != before.signature


def test_a_broken_link_fails_its_own_week_only(tmp_path):
    (tmp_path / NAME).symlink_to(tmp_path / "nowhere.txt")
    (tmp_path / NEXT_NAME).write_bytes(CONTENTS)
    feed = open_feed(str(tmp_path))

    assert list(feed.available_weeks()) == [WEEK, NEXT_WEEK]
    assert feed.look(NEXT_WEEK) is not None
    assert fetch(feed, NEXT_WEEK) == CONTENTS
    assert_refused(feed, BadFile, "is listed, but .*cannot be opened")
    with pytest.raises(BadFile, match=f"Week {WEEK} at .*{NAME}: .*is listed"):
        feed.look(WEEK)


def test_something_other_than_a_file_fails_its_own_week_only(tmp_path):
    os.mkfifo(tmp_path / NAME)
    (tmp_path / NEXT_NAME).write_bytes(CONTENTS)
    feed = open_feed(str(tmp_path))

    assert list(feed.available_weeks()) == [WEEK, NEXT_WEEK]
    assert_refused(feed, BadFile, "not a regular file")


@pytest.mark.parametrize("feed_of", ["directory", "memory", BUCKET], indirect=True)
def test_a_file_that_vanishes_before_it_is_read_was_published(feed_of, monkeypatch):
    feed = feed_of({NAME: CONTENTS, NEXT_NAME: CONTENTS})
    before_reading(monkeypatch, lambda: fsspec.core.url_to_fs(feed.location)[0].rm(f"{feed.location}/{NAME}"))

    assert_refused(feed, BadFile, "is listed, but")
    assert_refused(feed, NotPublished, "is not published")
    assert fetch(feed, NEXT_WEEK) == CONTENTS


def test_a_feed_that_vanishes_before_a_file_is_read_is_unavailable(tmp_path, monkeypatch):
    (tmp_path / "feed").mkdir()
    (tmp_path / "feed" / NAME).write_bytes(CONTENTS)
    before_reading(monkeypatch, lambda: shutil.rmtree(tmp_path / "feed"))

    assert_refused(open_feed(str(tmp_path / "feed")), FeedUnavailable, "no such directory")


def before_reading(monkeypatch: pytest.MonkeyPatch, event: Callable[[], None]) -> None:
    """Let something happen once, after a feed has found a file and before it reads the first byte."""
    events = [event]

    def receive_after_event(*arguments: Any) -> None:
        if events:
            events.pop()()
        receive(*arguments)

    monkeypatch.setattr(filesystem, "receive", receive_after_event)


def test_a_file_whose_time_no_calendar_has_is_read_without_it(tmp_path, monkeypatch):
    (tmp_path / NAME).write_bytes(CONTENTS)
    regular = os.stat_result((0o100644, *6 * [0], 0, 2**50, 0))  # not every file system can store such a time
    monkeypatch.setattr(Path, "stat", lambda *_, **__: regular)

    assert open_feed(str(tmp_path)).look(WEEK).last_modified is None


@pytest.mark.parametrize("name", ["turnstile\udcff.csv", f"turnstile{120 * 'é'}.csv"])
def test_a_file_whose_name_no_folder_of_the_lake_can_have_is_no_export(tmp_path, name):
    (tmp_path / name).write_bytes(CONTENTS)
    feed = open_feed(str(tmp_path))

    assert list(feed.exports()) == []
    assert "1 file is not used" in feed.listing_unless(None).notes[0]


def test_a_directory_with_the_name_of_a_week_is_ignored(tmp_path):
    (tmp_path / NAME).mkdir()
    (tmp_path / (NAME + ".gz")).write_bytes(gzip.compress(CONTENTS))
    feed = open_feed(str(tmp_path))

    assert list(feed.available_weeks()) == [WEEK]
    assert fetch(feed) == CONTENTS


@pytest.mark.slow
def test_a_bucket_that_denies_access_is_reported_as_refused(gcs_server, gcs_bucket, monkeypatch):
    fsspec.filesystem("gs").pipe_file(f"{gcs_bucket}/{NAME}", CONTENTS)
    feed = open_feed(gcs_bucket)
    monkeypatch.setattr(type(fsspec.filesystem("gs")), "info", forbid)

    assert_refused(feed, FeedRefused, "permissions and credentials")


def forbid(*_: object, **__: object) -> None:
    raise OSError("Forbidden: no access to the bucket")  # gcsfs's error for a 403, which the emulator never returns


@pytest.mark.parametrize("location", ["nonsense://somewhere", "https://mirror.example/feed?token=secret", "https:///x"])
def test_an_invalid_location_is_reported_at_once(location):
    with pytest.raises(ValueError, match="cannot be a feed") as raised:
        open_feed(location)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("chain", ["simplecache::http://reader:s3cret@mirror.example", "ftp://reader:p@s3cret@host/x"])
def test_a_user_or_password_in_the_location_is_refused_and_not_shown(chain):
    with pytest.raises(ValueError, match="must not contain a user or password") as raised:
        open_feed(chain)
    assert "s3cret" not in str(raised.getrepr(chain=True, style="value"))


@pytest.mark.parametrize("kind", [OSError, FileNotFoundError, PermissionError, ImportError, ValueError])
def test_the_errors_of_file_systems_are_shown_without_the_secrets_that_they_quote(monkeypatch, kind):
    def fail(url: str, **_: object) -> None:
        raise kind(f"{url}, 'https://reader:s3cret@mirror.example/x?y' and <http://a/b?token=s3cret>")

    monkeypatch.setattr(fsspec.core, "url_to_fs", fail)
    feed = open_feed("simplecache::https://mirror.example/feed?token=s3cret")
    for request in (feed.available_weeks, lambda: fetch(feed)):
        with pytest.raises(FeedError) as raised:
            request()
        assert "mirror.example" in str(raised.value)
        assert "s3cret" not in str(raised.getrepr(chain=True, style="value")) + repr(feed)


def test_the_resource_opens_the_feed_at_its_location(tmp_path):
    (tmp_path / NAME).write_bytes(CONTENTS)

    assert list(TurnstileFeed(location=str(tmp_path)).open(str(tmp_path / "lake")).available_weeks()) == [WEEK]
