"""An incident is reported once with what a person needs, and once more when it is resolved. No message is lost."""

import datetime as dt
import json
import logging
from dataclasses import dataclass, field

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.tags import BACKFILL_ID_TAG
from pydantic import SecretStr

from mta_pipeline.build import build_defs
from mta_pipeline.notifications.delivery import ReceiversError
from mta_pipeline.orchestration.automation.failure_scan import TICKS_IN_A_ROW
from mta_pipeline.orchestration.automation.notify import NOTIFY_SENSOR
from mta_pipeline.orchestration.automation.sensors import SENSOR
from mta_pipeline.orchestration.keys import LANDING_JOB, REFERENCE_JOB
from mta_pipeline.settings import Settings
from mta_pipeline.weeks import file_name, week_after, weeks_between
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.dagster.automation import Automation, evaluate_standing_checks
from mta_pipeline_tests.dagster.daemons import CRASH_MESSAGE, daemons
from mta_pipeline_tests.dagster.project import WEEKS, Project, steady_week, valid_week
from mta_pipeline_tests.support.webhook import Message, Webhook, serve_webhook

FIRST, SECOND, THIRD = WEEKS


@dataclass
class NotifiedProject:
    """A project that sends its notifications to a webhook. Tests evaluate the notify sensor tick by tick."""

    project: Project
    webhook: Webhook
    cursor: str | None = None
    skip_reasons: list[str] = field(default_factory=list)

    def tick(self) -> list[Message]:
        """Evaluate one tick of the sensor; return the messages that the webhook received."""
        context = dg.build_sensor_context(
            self.project.instance, self.cursor, definitions=self.project.defs, sensor_name=NOTIFY_SENSOR
        )
        sensor = self.project.defs.resolve_sensor_def(NOTIFY_SENSOR)
        tick: SensorExecutionData = sensor.evaluate_tick(context)
        self.cursor = tick.cursor
        self.skip_reasons.append(tick.skip_message or "")
        return self.webhook.new()

    def later(self, **passed: float) -> None:
        """Move the time of the last message about each incident that far into the past."""
        cursor = json.loads(self.cursor)
        for fault in cursor["look"]["faults"]["known"].values():
            told = dt.datetime.fromisoformat(fault["told"]) - dt.timedelta(**passed)
            fault["told"] = told.isoformat()
        self.cursor = json.dumps(cursor)


@pytest.fixture(scope="module")
def webhook():
    with serve_webhook() as server:
        yield server


@pytest.fixture
def instance(tmp_path):
    """An instance in memory, except for its ticks, which Dagster stores in a file."""
    with dg.DagsterInstance.ephemeral() as made:
        made._schedule_storage = SqliteScheduleStorage.from_local(str(tmp_path / "ticks"))
        made._schedule_storage.register_instance(made)
        yield made


@pytest.fixture
def told(tmp_path, webhook, instance) -> NotifiedProject:
    """A project with three available valid weeks, `MTA_NOTIFY` set, and no incidents."""
    webhook.new()
    webhook.status = 200
    settings = Settings(
        feed=str(tmp_path / "feed"),
        lake_root=str(tmp_path / "lake"),
        notify=webhook.url,
        ui="https://dagster.example",
    )
    project = Project(tmp_path, settings=settings, instance=instance, has_reference_tables=False)
    for week in WEEKS:
        project.publish(week, valid_week(week))
    made = NotifiedProject(project, webhook)
    assert made.tick() == []
    return made


# --- runs ---


def test_a_failed_run_is_reported_once_with_week_cause_and_page_and_once_more_when_it_is_resolved(told):
    told.project.publish(SECOND, b"<html>Not here</html>")
    failed = told.project.run(FIRST, THIRD, job=LANDING_JOB)
    [word] = told.tick()
    assert word.title == "mta_pipeline: job land_weeks: failed, and is not tried again by itself"
    assert word.tone == "failure"
    assert word.line("Weeks") == SECOND
    assert word.line("Since").endswith("UTC")
    assert file_name(SECOND) in word.line("Likely cause")
    assert "web page" in word.line("Likely cause")
    assert word.line("Look") == f"https://dagster.example/runs/{failed.run_id}"
    assert "launch the same weeks again" in word.line("To do")
    told.project.run(SECOND, job=LANDING_JOB)
    assert told.tick() == []
    told.project.publish(SECOND, steady_week(SECOND))
    told.project.run(FIRST, job=LANDING_JOB)
    assert told.tick() == []
    told.project.run(SECOND, job=LANDING_JOB)
    [word] = told.tick()
    assert word.title.startswith("mta_pipeline: well again: job land_weeks")
    assert word.tone == "success"
    assert told.tick() == []


def test_an_incident_is_also_resolved_if_another_job_loads_the_week(told):
    told.project.publish(SECOND, b"")
    told.project.run(SECOND, job=LANDING_JOB)
    assert len(told.tick()) == 1
    told.project.publish(SECOND, steady_week(SECOND))
    told.project.run(job=REFERENCE_JOB)
    told.project.run(SECOND)
    assert [word.tone for word in told.tick()] == ["success"]


def test_a_failed_backfill_is_one_message_however_many_of_its_runs_fail(told):
    weeks = weeks_between(FIRST, "2024-03-30")
    for n, week in enumerate(weeks):
        told.project.publish(week, b"")
        told.project.run(week, job=LANDING_JOB, tags={BACKFILL_ID_TAG: "abcdefgh"})
        if n == 2:
            [word] = told.tick()
    assert word.title.startswith("mta_pipeline: backfill abcdefgh: failed")
    assert word.line("Weeks") == f"{FIRST} to {THIRD} (3 weeks)"
    assert word.line("Look").endswith("/runs/b/abcdefgh")
    assert told.tick() == []
    told.later(days=1)
    [word] = told.tick()
    assert word.title.endswith("; more weeks")
    assert word.line("Weeks") == f"2024-01-27 to 2024-03-30 ({len(weeks) - 3} weeks)"


def test_an_unresolved_incident_is_repeated_on_three_days_and_then_no_more(told):
    told.project.publish(SECOND, b"")
    told.project.run(SECOND, job=LANDING_JOB)
    said = [[word.title.rpartition("; ")[2] for word in told.tick()]]
    for _ in range(5):
        told.later(days=1)
        said.append([word.title.rpartition("; ")[2] for word in told.tick()])
    assert [len(words) for words in said] == [1, 1, 1, 1, 0, 0]
    assert said[1:4] == [["still so"]] * 3


# --- checks ---


def test_failed_standing_checks_report_late_data_and_its_resolution(told):
    late = week_after(THIRD)
    told.project.publish(late, steady_week(late))
    for week in (FIRST, THIRD):
        told.project.run(week, job=LANDING_JOB)
    (told.project.feed / file_name(SECOND)).unlink()
    evaluate_standing_checks(told.project)
    newest, left_out = sorted(told.tick(), key=lambda word: word.title)
    assert newest.title == "mta_pipeline: freshness missed: the newest week is not in the lake"
    assert f"week {late} is on offer since" in newest.line("Likely cause")
    assert newest.line("Look").endswith("/assets/feed/turnstile_file?view=checks&checkDetail=newest_week_landed")
    assert left_out.title == "mta_pipeline: freshness missed: weeks are missing or failed"
    evaluate_standing_checks(told.project)
    assert told.tick() == []
    (told.project.feed / file_name(late)).unlink()
    told.project.run(job=REFERENCE_JOB)
    told.project.run(FIRST)
    told.project.run(THIRD)
    evaluate_standing_checks(told.project)
    assert [word.tone for word in told.tick()] == ["success", "success"]


def test_an_unreachable_feed_is_reported_when_its_check_fails_and_when_it_is_reachable_again(told):
    automation = Automation(told.project)
    told.project.feed.rename(told.project.root / "away")
    said = []
    for _ in range(4):
        automation.tick_sensor()
        said.append([word.title for word in told.tick()])
    assert said == [[], [], ["mta_pipeline: the feed is out of reach"], []]
    (told.project.root / "away").rename(told.project.feed)
    automation.tick_sensor()
    assert [word.title for word in told.tick()] == ["mta_pipeline: well again: the feed is out of reach"]


def test_a_weekly_check_that_warns_is_reported_once_for_all_weeks_and_not_repeated(told):
    told.project.run(job=REFERENCE_JOB)
    for n, week in enumerate(WEEKS):
        told.project.publish(week, steady_week(week, 1_000 + n * 420).replace(b"A002,R051", b"X999,R051"))
    told.project.run(FIRST, THIRD)
    [word] = told.tick()
    assert word.title == "mta_pipeline: booths that nobody knows"
    assert word.tone == "warning"
    assert word.line("Weeks") == f"{FIRST} to {THIRD} (3 weeks)"
    told.later(days=2)
    assert told.tick() == []


def test_an_unusual_week_of_a_range_is_reported_as_a_warning_with_its_week_alone(told):
    told.project.run(job=REFERENCE_JOB)
    weeks = weeks_between(FIRST, "2024-02-10")
    for n, week in enumerate(weeks):
        riders = 2 if week == weeks[-1] else 10
        told.project.publish(week, steady_week(week, start=1_000 + n * 420, riders=riders))
    result = told.project.run(weeks[0], weeks[-1])
    passed_by_week = {
        week: passed for (name, week), passed in told.project.checks(result).items() if name == "week_as_usual"
    }
    assert passed_by_week == {week: week != weeks[-1] for week in weeks}
    [word] = told.tick()
    assert (word.title, word.tone) == ("mta_pipeline: a week is unusual", "warning")
    assert word.line("Weeks") == weeks[-1]
    assert word.line("Likely cause").startswith("ridership 164, usual 820")


# --- receivers ---


def test_if_a_receiver_is_down_ticks_fail_and_no_message_is_lost_or_sent_twice(told):
    told.webhook.status = 500
    told.project.publish(SECOND, b"")
    told.project.run(SECOND, job=LANDING_JOB)
    assert told.tick() == []
    assert told.skip_reasons[-1].endswith("others wait for the next tick: receiver 1 (json): it answered 500")
    for _ in range(2):
        with pytest.raises(ReceiversError, match=r"^Messages wait .* receiver 1 \(json\): it answered 500$"):
            told.tick()
    told.webhook.status = 200
    assert len(told.tick()) == 1
    assert told.tick() == []


def test_an_incident_that_is_resolved_before_it_was_reported_is_only_reported_as_resolved(told):
    told.webhook.status = 500
    told.project.publish(SECOND, b"")
    told.project.run(SECOND, job=LANDING_JOB)
    told.tick()
    told.project.publish(SECOND, steady_week(SECOND))
    told.project.run(SECOND, job=LANDING_JOB)
    told.tick()
    told.webhook.status = 200
    assert [word.tone for word in told.tick()] == ["success"]


def test_a_receiver_that_is_down_does_not_block_other_receivers(told, tmp_path):
    with serve_webhook() as other:
        file = tmp_path / "receivers"
        file.write_text(f"# ours\n{told.webhook.url}\n\n{other.url}\n")
        told.project.defs = build_defs(told.project.settings.model_copy(update={"notify": SecretStr(str(file))}))
        other.status = 503
        told.project.publish(SECOND, b"")
        told.project.run(SECOND, job=LANDING_JOB)
        assert len(told.tick()) == 1
        other.status = 200
        assert told.tick() == []
        assert len(other.new()) == 1


def test_the_address_of_a_receiver_is_in_no_message_log_or_record(told, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    told.webhook.status = 500
    told.project.publish(SECOND, b"")
    told.project.run(SECOND, job=LANDING_JOB)
    told.tick()
    with pytest.raises(ReceiversError) as error:
        told.tick()
    told.webhook.status = 200
    [word] = told.tick()
    said = [str(error.value), caplog.text, *capfd.readouterr(), told.cursor, *told.skip_reasons, word.title, word.body]
    said += [repr(told.project.settings), repr(told.project.defs)]
    assert "secret-word" in told.webhook.url
    assert not any("secret-word" in text for text in said)


def test_without_receivers_there_is_no_notify_sensor(tmp_path):
    defs = build_defs(Settings(feed=str(tmp_path), lake_root=str(tmp_path)))
    assert NOTIFY_SENSOR not in {sensor.name for sensor in defs.sensors}


# --- the daemon ---


@pytest.fixture
def running_daemons(tmp_path, webhook, monkeypatch):
    """The daemons over a project that the environment configures, with the notify sensor on by default."""
    webhook.new()
    webhook.status = 200
    (tmp_path / "feed").mkdir()
    (tmp_path / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    for name, value in {"MTA_FEED": "feed", "LAKE_ROOT": "lake"}.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setenv("MTA_NOTIFY", webhook.url)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance, daemons(instance) as running_daemons:
        running_daemons.tick()
        running_daemons.retry()
        yield running_daemons


def test_a_sensor_whose_ticks_keep_failing_is_reported_once_and_when_it_works_again(running_daemons, webhook):
    running_daemons.turn_on(SENSOR)
    running_daemons.set_cursor(SENSOR, "of another version")
    running_daemons.tick(TICKS_IN_A_ROW + 2)
    [word] = webhook.new()
    assert word.title == "mta_pipeline: sensor published_weeks: its ticks fail"
    assert "3 ticks in a row" in word.line("Likely cause")
    assert "Invalid JSON" in word.line("Likely cause")
    assert word.line("Look") == "http://127.0.0.1:3000/locations/mta_pipeline/sensors/published_weeks"
    running_daemons.set_cursor(SENSOR, None)
    running_daemons.tick(2)
    assert [word.title for word in webhook.new()] == [
        "mta_pipeline: well again: sensor published_weeks: its ticks fail"
    ]


def test_a_crashed_run_whose_retry_succeeds_is_not_reported(running_daemons, webhook, tmp_path):
    (tmp_path / "feed" / file_name(FIRST)).write_bytes(steady_week(FIRST))
    running_daemons.report_crash(running_daemons.launch(LANDING_JOB, FIRST))
    running_daemons.tick()
    [retry] = running_daemons.retry()
    running_daemons.tick()
    assert running_daemons.execute(retry)
    running_daemons.tick()
    assert webhook.new() == []


def test_a_run_that_crashes_on_every_retry_is_reported_once(running_daemons, webhook):
    running_daemons.report_crash(running_daemons.launch(LANDING_JOB, FIRST))
    attempts = 1
    while retries := running_daemons.retry():
        attempts += 1
        running_daemons.tick()
        running_daemons.report_crash(retries[0])
    running_daemons.tick(2)
    assert attempts == 3
    [word] = webhook.new()
    assert word.title.startswith("mta_pipeline: job land_weeks: failed")
    assert (word.line("Weeks"), word.line("Likely cause")) == (FIRST, CRASH_MESSAGE)
