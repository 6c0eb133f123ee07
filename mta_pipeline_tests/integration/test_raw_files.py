"""The raw layer has one complete version of a week, whatever processes die or run concurrently while landing it."""

import threading
from pathlib import Path

import pytest

from mta_pipeline.lake import raw as raw_layer
from mta_pipeline.lake.gcs import ConcurrentWriteError
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.sources.turnstile_files import open_feed
from mta_pipeline.weeks import file_name
from mta_pipeline_tests.dagster.project import steady_week
from mta_pipeline_tests.support.published_files import WEEK

OLDEST, OLD, NEW = steady_week(WEEK, start=50), steady_week(WEEK), steady_week(WEEK, start=5_000)


class Killed(BaseException):
    """Simulates the death of the process."""


@pytest.fixture
def feed(tmp_path):
    (tmp_path / "feed").mkdir()
    return open_feed(str(tmp_path / "feed"))


@pytest.fixture
def raw(tmp_path):
    return RawFiles(str(tmp_path / "lake"), versions=1)


def names(raw):
    return sorted(path.name for path in raw.path(WEEK).iterdir())


def dying_after(steps):
    """Return a decorator of functions, which together can be called so many times before the process dies."""
    left = iter(range(steps))

    def decorate(function):
        def step(*arguments, **options):
            if next(left, None) is None:
                raise Killed
            return function(*arguments, **options)

        return step

    return decorate


@pytest.mark.parametrize("steps", range(3), ids=["before the object", "before the manifest", "before the removal"])
@pytest.mark.parametrize("after", [NEW, OLD, steady_week(WEEK, start=9_000)], ids=["new", "old", "newer"])
def test_a_landing_that_dies_at_any_step_leaves_a_complete_week_and_the_next_one_removes_the_rest(
    raw, feed, monkeypatch, steps, after
):
    folder = Path(feed.location)
    for contents in (OLDEST, OLD):
        (folder / file_name(WEEK)).write_bytes(contents)
        raw.land(feed, WEEK)
    (folder / file_name(WEEK)).write_bytes(NEW)
    die_after_steps = dying_after(steps)
    with monkeypatch.context() as patched:
        patched.setattr(raw_layer, "write_atomically", die_after_steps(raw_layer.write_atomically))
        patched.setattr(raw_layer, "remove", die_after_steps(raw_layer.remove))
        with pytest.raises(Killed):
            raw.land(feed, WEEK)
    assert raw.read(WEEK) == (NEW if steps == 2 else OLD)
    (folder / file_name(WEEK)).write_bytes(after)
    manifest, _ = raw.land(feed, WEEK)
    assert raw.read(WEEK) == after
    assert names(raw) == sorted(["manifest.json", *manifest.all_objects])


def test_concurrent_landings_of_several_versions_leave_one_complete_version(raw, tmp_path):
    versions = [steady_week(WEEK, start=n * 1_000) for n in range(1, 9)]
    feeds = []
    for n, contents in enumerate(versions):
        (tmp_path / str(n)).mkdir()
        (tmp_path / str(n) / file_name(WEEK)).write_bytes(contents)
        feeds.append(open_feed(str(tmp_path / str(n))))
    for _ in range(2):
        writers = [threading.Thread(target=raw.land, args=(feed, WEEK)) for feed in feeds]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert raw.read(WEEK) in versions
        assert names(raw) == sorted(["manifest.json", *raw.manifest(WEEK).all_objects])


@pytest.mark.parametrize("steps", range(2), ids=["before the object", "before the manifest"])
def test_a_landing_of_a_pending_version_that_dies_leaves_the_current_version_alone(raw, feed, monkeypatch, steps):
    file = Path(feed.location) / file_name(WEEK)
    file.write_bytes(OLD)
    raw.land(feed, WEEK)
    file.write_bytes(NEW[:3_000])
    die_after_steps = dying_after(steps)
    with monkeypatch.context() as patched:
        patched.setattr(raw_layer, "write_atomically", die_after_steps(raw_layer.write_atomically))
        with pytest.raises(Killed):
            raw.land(feed, WEEK)
    assert raw.read(WEEK) == OLD
    assert raw.pending_problem(WEEK) is None
    manifest, _ = raw.land(feed, WEEK)
    assert raw.read(WEEK) == OLD
    assert raw.pending_problem(WEEK)
    assert names(raw) == sorted(["manifest.json", *manifest.all_objects])


def test_a_version_that_lands_while_another_one_is_accepted_remains(raw, feed, monkeypatch):
    file = Path(feed.location) / file_name(WEEK)
    for contents in (OLD, NEW[:3_000]):
        file.write_bytes(contents)
        raw.land(feed, WEEK)
    file.write_bytes(NEW)
    keep = RawFiles._keep

    def landed_before(*arguments):
        monkeypatch.setattr(RawFiles, "_keep", keep)
        raw.land(feed, WEEK)
        keep(*arguments)

    monkeypatch.setattr(RawFiles, "_keep", landed_before)
    with pytest.raises(ConcurrentWriteError):
        raw.accept(WEEK)
    assert raw.read(WEEK) == NEW
