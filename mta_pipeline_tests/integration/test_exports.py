"""A feed with yearly exports: which weeks it offers, what it delivers, and how often it reads an export."""

import datetime as dt
import gzip
import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
import stamina

from mta_pipeline.lake.exports import ExportsFeed, stored_exports
from mta_pipeline.lake.feeds import feed_at
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.sources.errors import BadFile, FeedSlow, FeedUnavailable, NotPublished
from mta_pipeline.sources.turnstile_files import Fetched, open_feed, unpacking
from mta_pipeline.weeks import file_name, week_start
from mta_pipeline_tests.support.exports import EXPORT_HEADER, EXPORT_NAME, export, rows_of_days
from mta_pipeline_tests.support.feed_server import Fault, serve_feed
from mta_pipeline_tests.support.published_files import modern_file

pytest_plugins = ["mta_pipeline_tests.support.gcs_emulator"]

NEW_YEAR, FIRST, SECOND = "2018-12-29", "2019-01-05", "2019-01-12"
EXPORT_OF_2018 = "MTA_Subway_Turnstile_Usage_Data__2018_20260701.csv"

Opener = Callable[..., ExportsFeed]


def rows_of_week(week: str, *, start: int = 100) -> list[str]:
    return rows_of_days(*(str(week_start(week) + dt.timedelta(n)) for n in range(7)), start=start)


OLD_YEAR_ROWS, NEW_YEAR_ROWS = rows_of_week(NEW_YEAR)[:6], rows_of_week(NEW_YEAR)[6:]
ROWS = [*NEW_YEAR_ROWS, *rows_of_week(FIRST), *rows_of_week(SECOND)[:-2]]
"""The rows of 2019: the end of one week, a whole one, and one without its last day."""
EXPORT = export(ROWS, seed=1)
UNDATED = "A002,R051,02-00-00,59 ST,NQR456W,BMT,soon,03:00:00,REGULAR,1,2"


def zipped(contents: bytes, name: str = EXPORT_NAME) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, contents)
    return archive.getvalue()


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=2):
        yield


BUCKET = pytest.param("gs", marks=pytest.mark.slow("gcs_server"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "feed").mkdir()
    return tmp_path / "feed"


@pytest.fixture
def lake(tmp_path: Path) -> str:
    return str(tmp_path / "lake")


def publish(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files, each with a modification time of its own."""
    for name, contents in files.items():
        before = (folder / name).stat().st_mtime if (folder / name).exists() else 1_500_000_000
        (folder / name).write_bytes(contents)
        os.utime(folder / name, (before + 10, before + 10))


@pytest.fixture(params=["directory", "memory", "index page", "listing", BUCKET])
def open_with(request: pytest.FixtureRequest, folder: Path, lake: str) -> Iterator[Opener]:
    """Opens a feed of the parametrized kind, after publishing files there."""
    kind = request.param
    if kind == "directory":

        def in_directory(files: Mapping[str, bytes], **options: bool) -> ExportsFeed:
            publish(folder, files)
            return feed_at(str(folder), lake, **options)

        yield in_directory
    elif kind in ("memory", "gs"):
        root = "memory://exports" if kind == "memory" else f"{request.getfixturevalue('gcs_bucket')}/exports"
        filesystem, path = fsspec.core.url_to_fs(root)

        def in_store(files: Mapping[str, bytes], **options: bool) -> ExportsFeed:
            for name, contents in files.items():
                filesystem.pipe_file(f"{path}/{name}", contents)
            return feed_at(root, lake, **options)

        yield in_store
        filesystem.rm(path, recursive=True)
    else:
        with serve_feed(folder) as server:

            def on_the_web(files: Mapping[str, bytes], **options: bool) -> ExportsFeed:
                publish(folder, files)
                return feed_at(server.index_url if kind == "index page" else server.listing_url, lake, **options)

            yield on_the_web


def fetch(feed: ExportsFeed, week: str = FIRST) -> tuple[bytes, Fetched]:
    sink = io.BytesIO()
    fetched = feed.fetch(week, sink)
    assert (fetched.sha256, fetched.size) == (hashlib.sha256(sink.getvalue()).hexdigest(), len(sink.getvalue()))
    return sink.getvalue(), fetched


def rows_in(text: bytes) -> list[str]:
    header, *rows = text.decode().splitlines()
    assert header == EXPORT_HEADER
    return rows


@pytest.mark.parametrize(
    ("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".zip", zipped)], ids=["plain", "gz", "zip"]
)
def test_every_kind_of_feed_delivers_the_rows_of_a_week_from_every_kind_of_export(open_with, suffix, pack):
    feed = open_with({EXPORT_NAME + suffix: pack(EXPORT)})

    assert list(feed.available_weeks()) == [FIRST]
    text, fetched = fetch(feed)

    assert rows_in(text) == sorted(rows_of_week(FIRST))
    published = EXPORT.decode().splitlines()
    assert [published[n - 1].strip() for n in fetched.lines] == text.decode().splitlines()
    [source] = fetched.exports
    assert (source.export, source.rows) == (EXPORT_NAME + suffix, 14)
    assert source.sha256 == hashlib.sha256(EXPORT).hexdigest()
    assert feed.look(FIRST) == fetched.file == feed.available_weeks()[FIRST]


def test_weekly_files_take_precedence_and_other_weeks_come_from_the_export(open_with):
    weekly = modern_file(*rows_of_week(FIRST, start=9_000))
    second = rows_of_week(SECOND)
    feed = open_with({EXPORT_NAME: export(ROWS + second[-2:], seed=1), file_name(FIRST): weekly})

    assert list(feed.available_weeks()) == [FIRST, SECOND]
    text, fetched = fetch(feed)
    assert (text, fetched.lines, fetched.exports) == (weekly, None, ())
    assert rows_in(fetch(feed, SECOND)[0]) == sorted(second)


def test_a_week_in_two_exports_is_joined(open_with):
    files = {EXPORT_NAME: EXPORT, EXPORT_OF_2018: export([*OLD_YEAR_ROWS, NEW_YEAR_ROWS[0]], seed=2)}
    feed = open_with(files)

    assert list(feed.available_weeks()) == [NEW_YEAR, FIRST]
    text, fetched = fetch(feed, NEW_YEAR)
    assert rows_in(text) == sorted(rows_of_week(NEW_YEAR))
    assert {part.export: part.rows for part in fetched.exports} == {EXPORT_NAME: 8, EXPORT_OF_2018: 7}
    assert feed.look(NEW_YEAR) == fetched.file


def test_a_week_without_all_days_is_not_available_and_its_missing_days_are_named(open_with):
    feed = open_with({EXPORT_NAME: EXPORT})

    listing = feed.listing_unless(None)

    assert list(listing.weeks) == [FIRST]
    assert len(listing.notes) == 2
    assert f"Week {SECOND} is not available: {EXPORT_NAME} has no rows of 2019-01-18." in listing.notes[1]
    with pytest.raises(BadFile, match=r"2018-12-29, 2018-12-30, 2018-12-31.*Add the export"):
        feed.fetch(NEW_YEAR, io.BytesIO())
    with pytest.raises(NotPublished, match="no export has rows of this week"):
        feed.fetch("2019-02-02", io.BytesIO())
    assert feed.look("2019-02-02") is None


def test_rows_without_a_readable_date_are_counted_and_kept(open_with, lake):
    feed = open_with({EXPORT_NAME: export([*ROWS, UNDATED, "junk"])})

    [note] = [note for note in feed.listing_unless(None).notes if "readable date" in note]

    assert note.startswith(f"2 rows of {EXPORT_NAME} have no readable date and belong to no week.")
    path = Path(note.rpartition(" in ")[2])
    assert path.is_relative_to(lake)
    assert path.is_file()
    assert (path.parent / "manifest.json").read_text().count('"undated.') == 2


def test_an_export_is_read_once_for_a_lake(open_with, monkeypatch):
    opened = []
    real = unpacking.unpacked

    def counted(stored, file):
        opened.append(file.url.rpartition("/")[2])
        return real(stored, file)

    monkeypatch.setattr("mta_pipeline.lake.exports.unpacked", counted)
    files = {EXPORT_NAME: EXPORT, EXPORT_OF_2018: export(OLD_YEAR_ROWS), "turnstile_notes.csv": b"a,b\n"}
    assert list(open_with(files, fail_fast=True).available_weeks())
    assert opened == []

    open_with(files).available_weeks()
    assert sorted(opened) == sorted(files)
    for fail_fast in (False, True):
        feed = open_with({}, fail_fast=fail_fast)
        assert list(feed.available_weeks()) == [NEW_YEAR, FIRST]
        fetch(feed)
    assert len(opened) == 3

    open_with({EXPORT_NAME: export(ROWS, seed=5)}).available_weeks()
    assert sorted(opened[3:]) == [EXPORT_NAME]


def test_processes_that_need_an_export_at_once_read_it_once(folder, lake, monkeypatch):
    opened = []
    real = unpacking.unpacked
    monkeypatch.setattr("mta_pipeline.lake.exports.unpacked", lambda *file: opened.append(1) or real(*file))
    publish(folder, {EXPORT_NAME: EXPORT})
    with ThreadPoolExecutor(4) as threads:
        texts = list(threads.map(lambda _: fetch(feed_at(str(folder), lake))[0], range(8)))
    assert len(opened) == 1
    assert set(texts) == {texts[0]}


@pytest.mark.slow("gcs_server")
def test_a_lake_in_a_bucket_keeps_the_split_and_lands_weeks_from_it(folder, gcs_bucket):
    publish(folder, {EXPORT_NAME: EXPORT})
    lake = f"{gcs_bucket}/lake [1] #2"
    raw = RawFiles(lake)
    before, _ = raw.land(feed_at(str(folder), lake), FIRST)

    feed = feed_at(str(folder), lake, fail_fast=True)

    assert list(feed.available_weeks()) == [FIRST]
    assert raw.land(feed, FIRST) == (before, False)
    assert rows_in(raw.read(FIRST)) == sorted(rows_of_week(FIRST))


def test_an_export_is_only_read_for_its_years(open_with, lake):
    feed = open_with({EXPORT_NAME: EXPORT, EXPORT_OF_2018: export(OLD_YEAR_ROWS)})

    fetch(feed)

    assert [path.name for path in (Path(lake) / "raw" / "turnstile_export").iterdir()] == [EXPORT_NAME]


def test_with_fail_fast_an_unread_export_offers_the_weeks_of_its_year_and_delivers_none(open_with, lake):
    feed = open_with({EXPORT_NAME: EXPORT}, fail_fast=True)

    weeks = feed.available_weeks()

    assert (next(iter(weeks)), list(weeks)[-1]) == (NEW_YEAR, "2019-12-28")
    assert feed.look(FIRST) == weeks[FIRST]
    with pytest.raises(FeedSlow, match="has not been read yet"):
        feed.fetch(FIRST, io.BytesIO())
    assert not Path(lake).exists()


def test_a_year_less_name_offers_one_week_until_the_export_is_read(folder, lake):
    publish(folder, {"turnstile.csv": EXPORT})

    assert len(feed_at(str(folder), lake, fail_fast=True).available_weeks()) == 1
    assert rows_in(fetch(feed_at(str(folder), lake))[0])
    assert list(feed_at(str(folder), lake, fail_fast=True).available_weeks()) == [FIRST]


def test_another_order_of_the_rows_changes_nothing(open_with, lake):
    raw = RawFiles(lake)
    before, is_new = raw.land(open_with({EXPORT_NAME: EXPORT}), FIRST)
    assert is_new

    files = {EXPORT_NAME: export(ROWS, seed=9), EXPORT_OF_2018: export(OLD_YEAR_ROWS)}
    feed = open_with(files)

    assert raw.manifest_if_unchanged(feed, FIRST) == before
    after, is_new = raw.land(feed, FIRST)
    assert (after, is_new) == (before, False)
    assert raw.load(FIRST).lines.to_list()[0] == 1


def test_the_signature_of_a_landed_week_is_updated_if_the_rows_stay_and_the_parts_change(open_with, lake):
    raw = RawFiles(lake)
    before, _ = raw.land(open_with({EXPORT_NAME: EXPORT}), FIRST)

    feed = open_with({"turnstile_2019_too.csv": export(rows_of_week(FIRST)[2:])})
    after, is_new = raw.land(feed, FIRST)

    assert not is_new
    assert (after.sha256, after.lines) == (before.sha256, before.lines)
    assert after.etag == feed.look(FIRST).etag != before.etag


def test_other_contents_land_again(open_with, lake):
    raw = RawFiles(lake)
    before, _ = raw.land(open_with({EXPORT_NAME: EXPORT}), FIRST)

    changed = export([*NEW_YEAR_ROWS, *rows_of_week(FIRST, start=500)])
    feed = open_with({EXPORT_NAME: changed})
    assert raw.manifest_if_unchanged(feed, FIRST) is None
    after, is_new = raw.land(feed, FIRST)

    assert is_new
    assert rows_in(raw.read(FIRST)) == sorted(rows_of_week(FIRST, start=500))
    assert after.exports[0].sha256 == hashlib.sha256(changed).hexdigest() != before.exports[0].sha256
    kept = sorted(path.name for path in raw.path(FIRST).iterdir())
    assert kept == sorted(["manifest.json", *after.objects, *before.objects])


def test_two_copies_of_an_export_give_each_row_once(open_with, lake):
    copy = EXPORT_NAME.replace(".csv", " (1).csv")
    feed = open_with({EXPORT_NAME: EXPORT, copy: export(ROWS, seed=4)})

    assert list(feed.available_weeks()) == [FIRST]
    text, fetched = fetch(feed)

    assert rows_in(text) == sorted(rows_of_week(FIRST))
    assert [part.export for part in fetched.exports] in ([EXPORT_NAME], [copy])
    assert feed.look(FIRST) == fetched.file == feed.available_weeks()[FIRST]


@pytest.mark.parametrize("part", ["*.txt.zst", "*.lines.zst"])
@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x")])
def test_a_damaged_object_is_repaired_by_reading_the_export_again(folder, lake, part, damage):
    publish(folder, {EXPORT_NAME: EXPORT})
    text, fetched = fetch(feed_at(str(folder), lake))
    [path] = (Path(lake) / "raw" / "turnstile_export" / EXPORT_NAME).glob(f"{FIRST}.{part}")
    whole = path.read_bytes()
    damage(path)

    with pytest.raises(FeedSlow, match="read again"):
        feed_at(str(folder), lake, fail_fast=True).fetch(FIRST, io.BytesIO())
    again, fetched_again = fetch(feed_at(str(folder), lake))

    assert (again, fetched_again.lines.to_list()) == (text, fetched.lines.to_list())
    assert path.read_bytes() == whole


def test_a_damaged_object_of_an_export_is_found(folder, lake):
    publish(folder, {EXPORT_NAME: EXPORT})
    fetch(feed_at(str(folder), lake))
    [stored] = stored_exports(lake)
    assert (stored.export.name, stored.problem(None)) == (EXPORT_NAME, None)
    [path] = (Path(lake) / "raw" / "turnstile_export" / EXPORT_NAME).glob(f"{FIRST}.*.txt.zst")
    path.write_bytes(b"rubbish")
    assert path.name in stored.problem(None)


def test_exchanged_line_numbers_are_noticed(folder, lake):
    publish(folder, {EXPORT_NAME: EXPORT})
    _, fetched = fetch(feed_at(str(folder), lake))
    stored = Path(lake) / "raw" / "turnstile_export" / EXPORT_NAME
    [path], [other] = (stored.glob(f"{week}.*.lines.zst") for week in (FIRST, SECOND))
    path.write_bytes(other.read_bytes())

    assert fetch(feed_at(str(folder), lake))[1].lines.to_list() == fetched.lines.to_list()


def test_lost_line_numbers_of_a_landed_week_are_repaired_by_landing_it_again(folder, lake):
    raw = RawFiles(lake)
    publish(folder, {EXPORT_NAME: EXPORT})
    manifest, _ = raw.land(feed_at(str(folder), lake), FIRST)
    publish(folder, {EXPORT_NAME: export(ROWS, seed=6)})
    Path(raw.path(FIRST) / manifest.lines).unlink()

    _, is_new = raw.land(feed_at(str(folder), lake), FIRST)

    assert not is_new
    published = export(ROWS, seed=6).decode().splitlines()
    assert [published[n - 1].strip() for n in raw.load(FIRST).lines] == raw.read(FIRST).decode().splitlines()


BAD_EXPORTS = {
    "a web page": (b"<html>", "web page"),
    "another table": (b"station,borough\n1,2\n", "is not the header of an export"),
    "wrong columns": (EXPORT_HEADER.replace("Time", "Clock").encode() + b"\n", "header with wrong columns"),
    "empty": (b"", "the file is empty"),
    "a bomb": (gzip.compress(EXPORT + bytes(2**20)), "too large"),
    "cut gzip": (gzip.compress(EXPORT)[:-20], "the archive is damaged"),
    "two members": (zipped(EXPORT) + b"x", "bytes after its end"),
    "twice packed": (gzip.compress(gzip.compress(EXPORT)), "packed twice"),
}


@pytest.mark.parametrize(("contents", "expected"), BAD_EXPORTS.values(), ids=BAD_EXPORTS)
def test_an_unusable_export_is_named_and_does_not_stop_other_weeks(folder, lake, contents, expected, monkeypatch):
    monkeypatch.setattr(unpacking, "ALWAYS_ALLOWED_BYTES", 0)
    publish(folder, {EXPORT_OF_2018: contents, EXPORT_NAME: EXPORT, "turnstile_any.csv": contents})
    feed = feed_at(str(folder), lake)

    assert list(feed.available_weeks()) == [FIRST]
    for fail_fast in (False, True):
        notes = feed_at(str(folder), lake, fail_fast=fail_fast).listing_unless(None).notes
        assert [EXPORT_OF_2018 in note and expected in note for note in notes].count(True) == 1
    assert rows_in(fetch(feed)[0])
    with pytest.raises(BadFile, match=expected):
        feed.fetch("2018-06-02", io.BytesIO())
    with pytest.raises(NotPublished):
        feed.fetch("2020-06-06", io.BytesIO())
    publish(folder, {EXPORT_OF_2018: export(OLD_YEAR_ROWS)})
    assert list(feed_at(str(folder), lake).available_weeks()) == [NEW_YEAR, FIRST]


def test_an_unusable_export_alone_fails_its_weeks_whatever_its_name(folder, lake):
    publish(folder, {"data.csv": b"a,b\n"})

    with pytest.raises(BadFile, match="is not the header of an export"):
        feed_at(str(folder / "data.csv"), lake).fetch(FIRST, io.BytesIO())


@pytest.mark.parametrize("contents", [EXPORT, gzip.compress(EXPORT)])
def test_exports_have_a_size_limit_of_their_own(open_with, contents, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_PUBLISHED_BYTES", 10)
    assert rows_in(fetch(open_with({EXPORT_NAME: contents}))[0])

    monkeypatch.setattr(unpacking, "MAX_EXPORT_BYTES", len(EXPORT) - 1)
    other = EXPORT_NAME.replace("2019", "2019_too")
    assert any("too large" in note for note in open_with({other: contents}).listing_unless(None).notes)


@pytest.mark.parametrize("name", ["data.csv", "export", "2019.TSV", "week [1] #?%2F.csv.gz"])
def test_a_single_file_is_an_export_whatever_its_name(folder, lake, name):
    contents = export(ROWS, tabs=name.endswith("TSV"))
    publish(folder, {name: contents, EXPORT_OF_2018: export(OLD_YEAR_ROWS)})

    feed = feed_at(str(folder / name), lake)

    assert list(feed.available_weeks()) == [FIRST]
    assert rows_in(fetch(feed)[0].replace(b"\t", b",")) == sorted(rows_of_week(FIRST))
    assert len(list((Path(lake) / "raw" / "turnstile_export").iterdir())) == 1


def test_a_single_address_is_an_export(folder, lake):
    publish(folder, {EXPORT_NAME: EXPORT, EXPORT_OF_2018: export(OLD_YEAR_ROWS)})
    with serve_feed(folder) as server:
        for name in (EXPORT_NAME, EXPORT_NAME.replace("_", "%5F")):
            feed = feed_at(server.bare_url + name, lake)
            assert list(feed.available_weeks()) == [FIRST]
            assert rows_in(fetch(feed)[0]) == sorted(rows_of_week(FIRST))
        with pytest.raises(BadFile, match=r"2018-12-29"):
            feed.fetch(NEW_YEAR, io.BytesIO())
        assert "/bare/turnstile_190112.txt" not in {request.path for request in server.requests}


def test_a_dead_link_to_an_export_fails_its_year_alone(folder, lake):
    publish(folder, {EXPORT_NAME: EXPORT})
    with serve_feed(folder) as server:
        server.index_page = f'<a href="/bare/{EXPORT_NAME}">2019</a><a href="/bare/{EXPORT_OF_2018}">2018</a>'.encode()
        feed = feed_at(server.index_url, lake)

        [note] = [note for note in feed.listing_unless(None).notes if EXPORT_OF_2018 in note]
        assert "does not exist" in note
        assert list(feed.available_weeks()) == [FIRST]
        with pytest.raises(BadFile, match="does not exist"):
            feed.fetch("2018-06-02", io.BytesIO())


def test_of_two_links_with_the_same_name_one_is_used_and_the_other_is_named(folder, lake):
    publish(folder, {EXPORT_NAME: EXPORT})
    with serve_feed(folder) as server:
        server.index_page = f'<a href="/bare/{EXPORT_NAME}">a</a><a href="/old/{EXPORT_NAME}">b</a>'.encode()
        listing = feed_at(server.index_url, lake).listing_unless(None)
    assert list(listing.weeks) == [FIRST]
    assert "an export of the same name is used" in listing.notes[0]
    assert f"/old/{EXPORT_NAME}" in listing.notes[0]


def test_a_broken_link_or_a_pipe_in_the_directory_fails_its_year_alone(folder, lake):
    publish(folder, {EXPORT_NAME: EXPORT})
    (folder / EXPORT_OF_2018).symlink_to("nowhere")
    os.mkfifo(folder / "Turnstile_Usage_Data__2017.csv")
    feed = feed_at(str(folder), lake)

    assert list(feed.available_weeks()) == [FIRST]
    with pytest.raises(BadFile, match="broken link"):
        feed.fetch("2018-06-02", io.BytesIO())
    with pytest.raises(BadFile, match="not a regular file"):
        feed.fetch("2017-06-03", io.BytesIO())


def test_a_transfer_that_breaks_off_is_no_verdict_on_the_export(folder, lake):
    publish(folder, {EXPORT_NAME: EXPORT})
    with serve_feed(folder) as server:
        server.fail(EXPORT_NAME, Fault(cut_after=100), times=3)
        with pytest.raises(FeedUnavailable):
            feed_at(server.bare_url + EXPORT_NAME, lake).available_weeks()
        assert list(feed_at(server.bare_url + EXPORT_NAME, lake).available_weeks()) == [FIRST]


@pytest.mark.parametrize(
    "link",
    ["..%2F..%2Fturnstile_2019.csv", "a%2Fturnstile_2019.csv", "%2E%2E%2Fturnstile_2019.csv", "a%5C..%5Cturnstile.csv"],
)
def test_names_in_links_never_lead_out_of_the_folder_of_exports(folder, lake, link):
    with serve_feed(folder) as server:
        server.index_page = f'<a href="/bare/{link}">x</a><a href="/bare/{EXPORT_NAME}">y</a>'.encode()
        publish(folder, {EXPORT_NAME: EXPORT})
        server.fail(link, Fault(body=EXPORT), times=9)
        feed_at(server.index_url, lake).available_weeks()

    exports = Path(lake) / "raw" / "turnstile_export"
    assert {path.parent.parent for path in Path(lake).rglob("manifest.json")} == {exports}


def test_files_of_the_operating_system_and_other_tables_are_no_exports(folder):
    for name in ("._" + EXPORT_NAME, "." + EXPORT_NAME, "~" + EXPORT_NAME, "stations.csv", "turnstile_190112.csv"):
        (folder / name).write_bytes(b"x")
    publish(folder, dict.fromkeys([EXPORT_NAME, EXPORT_OF_2018, "TURNSTILE_2022.TSV.GZ", "turnstile.zip"], b"x"))

    found = {export.name: export.years for export in open_feed(str(folder)).exports()}

    assert found == {
        EXPORT_NAME: (2019, 2019),
        EXPORT_OF_2018: (2018, 2018),
        "TURNSTILE_2022.TSV.GZ": (2022, 2022),
        "turnstile.zip": None,
    }


def test_progress_is_told_up_to_the_end_for_every_kind_of_file(folder, lake):
    for suffix, pack in (("", bytes), (".gz", gzip.compress), (".zip", zipped)):
        told: list[tuple[str, int, int]] = []
        publish(folder, {EXPORT_NAME + suffix: pack(EXPORT)})
        feed_at(
            str(folder / (EXPORT_NAME + suffix)), lake, progress=lambda *read, told=told: told.append(read)
        ).available_weeks()
        size = (folder / (EXPORT_NAME + suffix)).stat().st_size
        assert told[-1] == (EXPORT_NAME + suffix, size, size)
        assert [read for _, read, _ in told].count(size) == 1
