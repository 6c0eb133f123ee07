"""Any error while one week is processed is attributed to that week, and the other weeks of the run continue."""

import errno
from types import SimpleNamespace
from unittest.mock import Mock

import dagster as dg
import polars as pl
import pytest
from sqlalchemy.exc import OperationalError

from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.lake.storage import ConcurrentWriteError
from mta_pipeline.orchestration.assets import lake, staged
from mta_pipeline.orchestration.keys import RAW_KEY, asset_key
from mta_pipeline.orchestration.week_outcomes import FailedWeeks
from mta_pipeline.sources.errors import BadFile, FeedRefused, FeedUnavailable
from mta_pipeline.turnstile import ridership
from mta_pipeline.turnstile.contract import COMPLEX_DAILY, TURNSTILE_READINGS, TURNSTILE_REJECTS, TURNSTILE_TRAFFIC
from mta_pipeline_tests.dagster.project import WEEKS, Project, failure_of, valid_week

FIRST, SECOND, THIRD = WEEKS


def is_of_second_week(first: object, *others: object) -> bool:
    """Whether the arguments of a patched function have the key of the second week, or begin with a table of it."""
    if isinstance(first, pl.DataFrame):
        times = first["read_at" if "read_at" in first.columns else "ended_at"]
        return times.dt.date().min().isoformat() == SECOND
    return any(isinstance(other, str) and other == SECOND for other in others)


STEPS = {
    "raw": (RawFiles, "land", [RAW_KEY], "raw/turnstile_file"),
    "staged": (staged, "stage", map(asset_key, (TURNSTILE_READINGS, TURNSTILE_REJECTS)), "staged/turnstile_readings"),
    "traffic": (lake, "traffic", [asset_key(TURNSTILE_TRAFFIC)], "lake/turnstile_traffic"),
    "daily": (ridership, "complex_daily", [asset_key(COMPLEX_DAILY)], "lake/complex_daily"),
}


@pytest.mark.parametrize("step", STEPS)
def test_an_unexpected_error_fails_its_week_by_name_and_the_other_weeks_continue(tmp_path, monkeypatch, step):
    place, name, assets, table = STEPS[step]
    works = getattr(place, name)

    def fails(*arguments: object, **named: object) -> object:
        if is_of_second_week(*arguments):
            raise pl.exceptions.ComputeError("no such thing")
        return works(*arguments, **named)

    earlier = Project(tmp_path)
    for week in WEEKS:
        earlier.publish(week, valid_week(week))
    if step != "raw":
        earlier.load_weeks_until(THIRD)
        for week in WEEKS:
            (earlier.lake / table / f"week={week}" / "part-0.parquet").unlink()
    monkeypatch.setattr(place, name, fails)
    project = Project(tmp_path, instance=earlier.instance)

    result = project.run(FIRST, THIRD, assets=list(assets))

    assert not result.success
    assert f"week {SECOND}: unexpected ComputeError: no such thing" in failure_of(result)
    written = (project.lake / table).glob("week=*/[!.]*")
    assert sorted({path.parent.name for path in written}) == [f"week={FIRST}", f"week={THIRD}"]


def test_a_step_that_a_restart_of_the_database_has_ended_is_tried_once_more(tmp_path, monkeypatch):
    land, lost = RawFiles.land, [OperationalError("INSERT", {}, Exception("server closed the connection"))]

    def land_when_connected(*arguments: object) -> object:
        if lost:
            raise lost.pop()
        return land(*arguments)

    monkeypatch.setattr(RawFiles, "land", land_when_connected)
    project = Project(tmp_path)
    project.publish(FIRST, valid_week(FIRST))
    assert project.run(FIRST, assets=[RAW_KEY]).success


def add(error: Exception) -> tuple[FailedWeeks, Mock]:
    failed, log = FailedWeeks(), Mock()
    failed.add(SimpleNamespace(log=log), SECOND, error)  # type: ignore[arg-type]
    return failed, log.error


def test_the_log_has_the_traceback_of_an_unexpected_error():
    error = IndexError("7")
    failed, log = add(error)
    assert failed.reasons == {SECOND: "unexpected IndexError: 7"}
    log.assert_called_once_with(f"week {SECOND} failed: unexpected IndexError: 7", exc_info=error)


def test_the_message_of_an_error_that_names_its_file_is_the_reason():
    failed, log = add(BadFile("FILE: damaged"))
    assert failed.reasons == {SECOND: "FILE: damaged"}
    log.assert_called_once_with(f"week {SECOND} failed: FILE: damaged")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        MemoryError(),
        ConcurrentWriteError("another run"),
        FeedUnavailable("try again"),
        FeedRefused("no access"),
        dg.Failure("on purpose"),
        dg.RetryRequested(),
        OperationalError("INSERT", {}, Exception("server closed the connection")),
        type("HttpError", (Exception,), {"__module__": "gcsfs.retry"})("503"),
        dg.DagsterInvariantViolationError("the asset returned nothing"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_is_not_of_one_week_stops_the_step_as_it_is(error):
    with pytest.raises(type(error)) as raised:
        add(error)
    assert raised.value is error
