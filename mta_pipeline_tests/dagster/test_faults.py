"""Bad input and broken machines, end to end.

A week is either complete, with every line accounted for, or fails with one clear message. Existing data is kept, and
the next run repairs the week.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import pytest
import stamina

from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.orchestration.resources.feed import TurnstileFeed
from mta_pipeline.sample import Faults, SampleFeed
from mta_pipeline.sources import http
from mta_pipeline.weeks import file_name, weeks_between
from mta_pipeline_tests.dagster.project import WEEKS, Project, failure_of, steady_week, valid_week
from mta_pipeline_tests.dagster.worker import KILLED, Order, Worker, start_worker
from mta_pipeline_tests.support.feed_server import Fault, FeedServer, serve_feed
from mta_pipeline_tests.support.published_files import legacy_file, legacy_group, legacy_line, modern_file, modern_line

FIRST, SECOND, THIRD = WEEKS
HTML = b"<!DOCTYPE html><html><body>Moved</body></html>"


def temporaries(lake: Path) -> list[Path]:
    return [path for path in lake.rglob(".*") if path.is_file()]


# --- the web ---


@pytest.fixture
def site(many_runs: None, tmp_path: Path) -> Iterator[tuple[Project, FeedServer]]:
    """A project that reads three valid weeks from a web site, without waiting between attempts."""
    (tmp_path / "feed").mkdir()
    with serve_feed(tmp_path / "feed") as server, stamina.set_testing(True, attempts=3):
        project = Project(tmp_path, {"feed": TurnstileFeed(location=server.listing_url)})
        for week in WEEKS:
            project.publish(week, valid_week(week))
        yield project, server


TRANSIENT = {
    "429": Fault(status=429, headers={"Retry-After": "0"}),
    "503": Fault(status=503),
    "cut in the middle": Fault(cut_after=1_000),
    "time-out": Fault(hang=1),
    "stalled in the middle": Fault(cut_after=1_000, hang=1),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT.keys())
def test_the_weeks_land_in_spite_of_a_transient_fault_of_the_site(site, monkeypatch, fault):
    project, server = site
    monkeypatch.setattr(http, "READ_TIMEOUT", 0.3)
    server.fail(file_name(SECOND), fault, times=2)
    assert project.run(FIRST, THIRD).success
    assert project.landed() == list(WEEKS)
    assert [project.raw.read(week) for week in WEEKS] == [
        (project.feed / file_name(week)).read_bytes() for week in WEEKS
    ]
    sent = [request for request in server.requests if request.path.endswith(file_name(SECOND))]
    assert len(sent) == 3


PERMANENT = {
    "503": (Fault(status=503), "answers 503"),
    "403": (Fault(status=403), "answers 403"),
    "cut in the middle": (Fault(cut_after=1_000), "the connection failed|bytes came of"),
    "time-out": (Fault(hang=1), "no answer in time"),
    "web page": (Fault(body=HTML), "a web page or an error message"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "message"), PERMANENT.values(), ids=PERMANENT.keys())
def test_a_permanent_fault_is_reported_with_week_and_address_and_existing_data_is_kept_until_the_next_run(
    site, monkeypatch, fault, message
):
    project, server = site
    monkeypatch.setattr(http, "READ_TIMEOUT", 0.3)
    project.run(FIRST, SECOND)
    before, manifest = project.files(), project.raw.manifest(SECOND)
    corrected = steady_week(SECOND, start=1_421)
    project.publish(SECOND, corrected)
    server.fail(file_name(SECOND), fault, times=4)  # the headers are requested, too

    result = project.run(SECOND)
    assert not result.success
    assert re.search(f"Week {SECOND} at {server.listing_url}{file_name(SECOND)}: .*({message})", failure_of(result))
    assert project.files() == before
    assert project.raw.manifest(SECOND) == manifest

    while server.take_fault(file_name(SECOND)):
        pass
    assert project.run(SECOND).success
    assert project.raw.read(SECOND) == corrected
    assert temporaries(project.lake) == []


@pytest.mark.slow
def test_a_week_that_the_site_does_not_have_is_skipped_with_a_message(site):
    project, server = site
    result = project.run("2024-01-27")
    assert result.success
    messages = [entry.user_message for entry in project.instance.all_logs(result.run_id)]
    assert any("skipped: Week 2024-01-27 is not published at " + server.listing_url in line for line in messages)
    assert not (project.lake / "raw").exists()


@pytest.mark.slow
def test_weeks_that_landed_before_the_site_failed_are_kept_and_recorded(site):
    project, server = site
    server.fail(file_name(THIRD), Fault(status=503), times=3)
    assert not project.run(FIRST, THIRD).success
    recorded = project.instance.get_materialized_partitions(dg.AssetKey(["raw", "turnstile_file"]))
    assert recorded == {FIRST, SECOND}
    assert project.raw.manifest(THIRD) is None
    assert project.run(FIRST, THIRD).success
    assert project.landed() == list(WEEKS)


# --- files ---


def test_a_zip_bomb_fails_its_week_and_the_other_weeks_land(project):
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(file_name(SECOND), bytes(80 * 2**20))
    (project.feed / file_name(SECOND)).unlink()
    (project.feed / f"{file_name(SECOND)}.zip").write_bytes(bomb.getvalue())
    failure = failure_of(project.run(FIRST, THIRD))
    assert re.search(f"week {SECOND}: .*{file_name(SECOND)}.zip: too large", failure)
    assert project.raw.manifest(SECOND) is None
    assert project.raw.manifest(THIRD) is not None


def with_groups(*groups: str, week: str) -> str:
    """A legacy line of one turnstile: a valid reading at midnight, followed by these groups."""
    return legacy_line(legacy_group(f"{week} 00", 100, 50), *groups)


JUNK = ["NUMBER,OF,ENTRIES,AND,EXITS", *(f"SUMMED,BY,STATION,{n}" for n in range(9))]
KNOWN_BAD = {
    "120714": ("2012-07-07", [*JUNK, with_groups(week="2012-07-07")], {"junk_header": 10}),
    "120825": ("2012-08-18", [with_groups(week="2012-08-18"), "USE"], {"field_count": 1}),
    "120505": (
        "2012-04-28",
        [with_groups(legacy_group("2012-04-28 04", "-", 60), week="2012-04-28")],
        {"bad_register": 1},
    ),
    "120428": (
        "2012-04-21",
        [with_groups(legacy_group("2012-04-21 04", 110, ""), week="2012-04-21")],
        {"bad_register": 1},
    ),
}


@pytest.fixture(scope="module")
def known_bad(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dg.ExecuteInProcessResult]:
    """A project after one run over weeks that are bad in the same ways as four known files."""
    project = Project(tmp_path_factory.mktemp("known"))
    for week, lines, _ in KNOWN_BAD.values():
        last = legacy_line(legacy_group(f"{week} 08", 120, 70), legacy_group(f"{week} 12", 130, 80))
        whole = legacy_file(*lines[:-1], last, lines[-1]) if "USE" in lines else legacy_file(*lines, last)
        project.publish(week, whole)
    weeks = sorted(week for week, _, _ in KNOWN_BAD.values())
    return project, project.run(weeks[0], weeks[-1])


@pytest.mark.parametrize(("week", "lines", "rejects"), KNOWN_BAD.values(), ids=KNOWN_BAD.keys())
def test_weeks_that_are_bad_like_four_known_files_complete_with_every_line_accounted_for(
    known_bad, week, lines, rejects
):
    project, result = known_bad
    assert result.success
    assert project.checks(result)["every_line_accounted_for", week]
    found = project.table("staged", "turnstile_rejects", week)
    assert dict(found["reason"].value_counts().rows()) == rejects
    traffic = project.table("lake", "turnstile_traffic", week)
    assert traffic["entries"].sum() == 30
    assert traffic["exits"].sum() == 30


def three_lines(week: str) -> list[str]:
    """Valid lines of a turnstile that does not occur in the week before, with eight entries."""
    booth = f"A002,R051,02-00-{week[-2:]}"
    return [modern_line(f"{week} {hour:02}", 100 + hour, 50 + hour, booth=booth) for hour in (0, 4, 8)]


def with_a_line(week: str, odd: str) -> bytes:
    *before, after = three_lines(week)
    return modern_file(*before, odd, after)


NUL_LINE = modern_line("2024-01-06 06", 1, 1).replace("02-00-00", "02-\0-00")
TRUNCATED = "… (truncated)"
ODD = {
    "CRLF": (lambda week: modern_file(*three_lines(week), end="\r\n"), []),
    "byte order mark": (lambda week: b"\xef\xbb\xbf" + modern_file(*three_lines(week)), []),
    "Latin-1": (lambda week: modern_file(*three_lines(week)).replace(b"59 ST", b"59 \xd1T"), []),
    "NUL in a name": (lambda week: modern_file(*three_lines(week)).replace(b"59 ST", b"59\0ST"), []),
    "NUL in an identity": (lambda week: with_a_line(week, NUL_LINE), [NUL_LINE]),
    "only NUL in a line": (lambda week: with_a_line(week, "\0" * 100), ["\0" * 100]),
    "a line of a megabyte": (lambda week: with_a_line(week, "x" * 2**20), ["x" * 1000 + TRUNCATED]),
    "a new DESC": (lambda week: modern_file(*three_lines(week)).replace(b"REGULAR", b"LOGON  "), []),
}
ODD_WEEKS = dict(zip(ODD, weeks_between("2024-01-06", "2024-02-24"), strict=True))


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dg.ExecuteInProcessResult]:
    """A project after one run over a week for each kind of unusual bytes."""
    project = Project(tmp_path_factory.mktemp("odd"))
    for kind, week in ODD_WEEKS.items():
        project.publish(week, ODD[kind][0](week))
    return project, project.run(*ODD_WEEKS.values())


@pytest.mark.parametrize("kind", ODD)
def test_unusual_bytes_change_no_rider_and_rejected_lines_are_kept(odd, kind):
    (project, result), week, (published, rejected) = odd, ODD_WEEKS[kind], ODD[kind]
    assert result.success
    assert project.checks(result)["every_line_accounted_for", week]
    assert project.raw.read(week) == published(week)
    rejects = project.table("staged", "turnstile_rejects", week)
    assert rejects.select("reason", "raw_text").rows() == [
        ("too_long" if text.endswith(TRUNCATED) else "field_count", text) for text in rejected
    ]
    assert project.table("lake", "turnstile_traffic", week)["entries"].sum() == 8


# --- machines ---


SAMPLE_WEEKS = ("2014-10-04", "2014-10-11")
WRITES = 2 + len(SAMPLE_WEEKS) * 7
"""Two reference tables; per week a file, its manifest and five tables."""


@pytest.fixture(scope="module")
def worker(processes: None) -> Iterator[Worker]:
    with start_worker() as made:
        yield made


class Sample(NamedTuple):
    """A feed of two weeks, one legacy and one modern, and the files of its lake after an undisturbed run."""

    feed: str
    lake: dict[str, bytes]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    root = tmp_path_factory.mktemp("undisturbed")
    SampleFeed(3, 40, SAMPLE_WEEKS[0], faults=Faults.all()).write(root / "sample", SAMPLE_WEEKS)
    return Sample(str(root / "sample"), run_sample_weeks(root / "sample", root))


def run_sample_weeks(feed: Path | str, root: Path) -> dict[str, bytes]:
    """Run the sample's weeks and return the files of the lake."""
    link = root / "feed"
    link.unlink(missing_ok=True)
    link.symlink_to(feed)
    project = Project(root)
    assert project.run(*SAMPLE_WEEKS).success
    assert temporaries(project.lake) == []
    return project.files()


def whole_files(lake: Path) -> dict[str, bytes]:
    """The files that a reader of the lake sees: no hidden files. Manifests are left out."""
    files = (path for path in lake.rglob("[!.]*") if path.is_file() and path.name != "manifest.json")
    return {str(path.relative_to(lake)): path.read_bytes() for path in files}


@pytest.mark.slow
@pytest.mark.parametrize("write", [1, 4, 8, 11, WRITES])
def test_a_run_killed_during_a_write_leaves_complete_files_and_the_next_run_gives_the_expected_lake(
    worker, sample, tmp_path, write
):
    lake = tmp_path / "lake"
    assert worker.run(Order(sample.feed, str(lake), SAMPLE_WEEKS, kill_in_write=write)).codes == [KILLED]
    assert len(temporaries(lake)) == 1
    for week in SAMPLE_WEEKS:
        assert RawFiles(str(lake)).read(week) in (None, (Path(sample.feed) / file_name(week)).read_bytes())
    left = whole_files(lake)
    assert left == {path: sample.lake[path] for path in left}
    assert left.keys() < sample.lake.keys()
    assert run_sample_weeks(sample.feed, tmp_path) == sample.lake


@pytest.mark.slow
def test_the_number_of_writes_of_a_run_is_as_expected(worker, sample, tmp_path):
    """If it were lower, the last write in the test above would not be reached and nothing would be killed."""
    result = worker.run(Order(sample.feed, str(tmp_path / "lake"), SAMPLE_WEEKS, kill_in_write=WRITES + 1))
    assert (result.codes, result.failures) == ([0], [[]])


@pytest.mark.slow
def test_two_processes_that_run_the_same_weeks_at_once_give_the_same_files(worker, sample, tmp_path):
    lake = tmp_path / "lake"
    result = worker.run(Order(sample.feed, str(lake), SAMPLE_WEEKS, children=2))
    assert (result.codes, result.failures) == ([0, 0], [[], []])
    assert whole_files(lake) == sample.lake
    assert temporaries(lake) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("writes", "table"),
    [
        (0, f"raw/turnstile_file/week={SAMPLE_WEEKS[0]}/turnstile_141011"),
        (5, f"staged/turnstile_readings/week={SAMPLE_WEEKS[1]}/part-0.parquet"),
        (9, f"lake/turnstile_traffic/week={SAMPLE_WEEKS[1]}/part-0.parquet"),
    ],
    ids=["raw", "staged", "lake"],
)
def test_a_full_disk_is_reported_with_the_file_and_existing_files_are_kept_until_the_next_run(
    worker, sample, tmp_path, writes, table
):
    earlier = tmp_path / "earlier"
    SampleFeed(3, 12, SAMPLE_WEEKS[0]).write(earlier, SAMPLE_WEEKS)
    before, lake = run_sample_weeks(earlier, tmp_path), tmp_path / "lake"

    result = worker.run(Order(sample.feed, str(lake), SAMPLE_WEEKS, disk_full_after=writes))
    assert result.codes == [0]
    [[message]] = result.failures
    # The step is tried once more, and then begins with the first week.
    path = re.sub("week=[^/]*", "week=[^/]*", table)
    assert re.search(f"Not written, any previous file remains: File too large: '{lake}/{path}", message)
    assert temporaries(lake) == []
    left = whole_files(lake)
    assert left.keys() >= before.keys() - {path for path in before if path.startswith("raw/")}
    assert all(contents in (before.get(path), sample.lake.get(path)) for path, contents in left.items())
    assert not [path for path in left if path.startswith(table) and left[path] != before.get(path)]

    earlier_versions = {path: contents for path, contents in before.items() if path.startswith("raw/")}
    assert run_sample_weeks(sample.feed, tmp_path) == sample.lake | earlier_versions
