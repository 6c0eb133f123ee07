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
from mta_pipeline.orchestration.keys import LANDING_JOB, REFERENCE_JOB, WEEKLY_KEYS, asset_key
from mta_pipeline.settings import Settings
from mta_pipeline.turnstile.contract import TURNSTILE_TRAFFIC
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
        for incident in cursor["look"]["faults"]["known"].values():
            notified_at = dt.datetime.fromisoformat(incident["told"]) - dt.timedelta(**passed)
            incident["told"] = notified_at.isoformat()
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
def notified(tmp_path, webhook, instance) -> NotifiedProject:
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


def test_a_failed_run_is_reported_once_with_week_cause_and_page_and_once_more_when_it_is_resolved(notified):
    notified.project.publish(SECOND, b"<html>Not here</html>")
    failed = notified.project.run(FIRST, THIRD, job=LANDING_JOB)
    [message] = notified.tick()
    assert message.title == "mta_pipeline: job land_weeks failed"
    assert message.tone == "failure"
    assert message.line("Weeks") == SECOND
    assert message.line("Since").endswith("UTC")
    assert file_name(SECOND) in message.line("Likely cause")
    assert "web page" in message.line("Likely cause")
    assert message.line("Link") == f"https://dagster.example/runs/{failed.run_id}"
    assert "launch the same weeks again" in message.line("To do")
    notified.project.run(SECOND, job=LANDING_JOB)
    assert notified.tick() == []
    notified.project.publish(SECOND, steady_week(SECOND))
    notified.project.run(FIRST, job=LANDING_JOB)
    assert notified.tick() == []
    notified.project.run(SECOND, job=LANDING_JOB)
    [message] = notified.tick()
    assert message.title.startswith("mta_pipeline: resolved: job land_weeks")
    assert message.tone == "success"
    assert notified.tick() == []


def test_an_incident_is_also_resolved_if_another_job_loads_the_week(notified):
    notified.project.publish(SECOND, b"")
    notified.project.run(SECOND, job=LANDING_JOB)
    assert len(notified.tick()) == 1
    notified.project.publish(SECOND, steady_week(SECOND))
    notified.project.run(job=REFERENCE_JOB)
    notified.project.run(SECOND)
    assert [message.tone for message in notified.tick()] == ["success"]


def test_a_failed_backfill_is_one_message_however_many_of_its_runs_fail(notified):
    weeks = weeks_between(FIRST, "2024-03-30")
    for n, week in enumerate(weeks):
        notified.project.publish(week, b"")
        notified.project.run(week, job=LANDING_JOB, tags={BACKFILL_ID_TAG: "abcdefgh"})
        if n == 2:
            [message] = notified.tick()
    assert message.title.startswith("mta_pipeline: backfill abcdefgh failed")
    assert message.line("Weeks") == f"{FIRST} to {THIRD} (3 weeks)"
    assert message.line("Link").endswith("/runs/b/abcdefgh")
    assert notified.tick() == []
    notified.later(days=1)
    [message] = notified.tick()
    assert message.title.endswith("; more weeks")
    assert message.line("Weeks") == f"2024-01-27 to 2024-03-30 ({len(weeks) - 3} weeks)"


def test_an_unresolved_incident_is_repeated_on_three_days_and_then_no_more(notified):
    notified.project.publish(SECOND, b"")
    notified.project.run(SECOND, job=LANDING_JOB)
    titles = [[message.title.rpartition("; ")[2] for message in notified.tick()]]
    for _ in range(5):
        notified.later(days=1)
        titles.append([message.title.rpartition("; ")[2] for message in notified.tick()])
    assert [len(messages) for messages in titles] == [1, 1, 1, 1, 0, 0]
    assert titles[1:4] == [["still unresolved"]] * 3


# --- checks ---


def test_failed_standing_checks_report_late_data_and_its_resolution(notified):
    late = week_after(THIRD)
    notified.project.publish(late, steady_week(late))
    for week in (FIRST, THIRD):
        notified.project.run(week, job=LANDING_JOB)
    (notified.project.feed / file_name(SECOND)).unlink()
    evaluate_standing_checks(notified.project)
    left_out, newest = sorted(notified.tick(), key=lambda message: message.title)
    assert newest.title == "mta_pipeline: data is late: the newest week is not in the lake"
    assert f"week {late} has been available since" in newest.line("Likely cause")
    assert newest.line("Link").endswith("/assets/feed/turnstile_file?view=checks&checkDetail=newest_week_landed")
    assert left_out.title == "mta_pipeline: data is incomplete: weeks are missing or failed"
    evaluate_standing_checks(notified.project)
    assert notified.tick() == []
    (notified.project.feed / file_name(late)).unlink()
    notified.project.run(job=REFERENCE_JOB)
    notified.project.run(FIRST)
    notified.project.run(THIRD)
    evaluate_standing_checks(notified.project)
    assert [message.tone for message in notified.tick()] == ["success", "success"]


def test_an_unreachable_feed_is_reported_when_its_check_fails_and_when_it_is_reachable_again(notified):
    automation = Automation(notified.project)
    notified.project.feed.rename(notified.project.root / "away")
    titles = []
    for _ in range(4):
        automation.tick_sensor()
        titles.append([message.title for message in notified.tick()])
    assert titles == [[], [], ["mta_pipeline: the feed is unreachable"], []]
    (notified.project.root / "away").rename(notified.project.feed)
    automation.tick_sensor()
    assert [message.title for message in notified.tick()] == ["mta_pipeline: resolved: the feed is unreachable"]


def test_a_weekly_check_that_warns_is_reported_once_for_all_weeks_and_not_repeated(notified):
    notified.project.run(job=REFERENCE_JOB)
    for week in WEEKS:
        notified.project.publish(week, valid_week(week).replace(b"A002,R051", b"X999,R051", 9))
    notified.project.run(FIRST, THIRD)
    [message] = notified.tick()
    assert message.title == "mta_pipeline: unknown booths"
    assert message.tone == "warning"
    assert message.line("Weeks") == f"{FIRST} to {THIRD} (3 weeks)"
    notified.later(days=2)
    assert notified.tick() == []


def test_a_failed_blocking_check_is_reported_once_and_not_as_a_failed_run_too(notified):
    notified.project.run(job=REFERENCE_JOB)
    notified.project.publish(SECOND, valid_week(SECOND).replace(b"A002,R051", b"XX,R051"))
    assert not notified.project.run(SECOND).success
    check, booths = sorted(notified.tick(), key=lambda message: message.title)
    assert booths.title == "mta_pipeline: unknown booths"
    assert check.title == "mta_pipeline: a week has hardly any subway turnstiles at known booths"
    assert (check.tone, check.line("Weeks")) == ("failure", SECOND)
    assert check.line("Likely cause").endswith("unknown booths: XX R051")
    notified.project.run(FIRST, THIRD)
    assert notified.tick() == []
    notified.project.publish(SECOND, valid_week(SECOND))
    notified.project.run(SECOND)
    assert [message.tone for message in notified.tick()] == ["success"] * 2


def test_a_run_that_fails_for_another_reason_too_is_reported_with_that_reason(notified):
    notified.project.run(job=REFERENCE_JOB)
    notified.project.publish(SECOND, valid_week(SECOND).replace(b"A002,R051", b"XX,R051"))
    notified.project.run(FIRST, SECOND, assets=WEEKLY_KEYS[:3])
    notified.tick()
    notified.project.run(SECOND, THIRD, job="__ASSET_JOB", assets=[asset_key(TURNSTILE_TRAFFIC)])
    [run] = notified.tick()
    assert run.title == "mta_pipeline: assets materialized by hand failed"
    assert run.line("Weeks") == THIRD


def test_many_rejects_that_block_nothing_are_reported_as_a_failure(notified):
    notified.project.run(job=REFERENCE_JOB)
    notified.project.publish(SECOND, valid_week(SECOND).replace(b"/2024,0", b"/2024,X", 9))
    assert notified.project.run(SECOND).success
    [message] = notified.tick()
    assert message.title == "mta_pipeline: many rows or lines are rejected"
    assert message.tone == "failure"
    assert message.line("Likely cause") == "21.4 % of 42 lines rejected: bad_timestamp 9"


def test_an_unusual_week_of_a_range_is_reported_as_a_warning_with_its_week_alone(notified):
    notified.project.run(job=REFERENCE_JOB)
    weeks = weeks_between(FIRST, "2024-02-10")
    for n, week in enumerate(weeks):
        riders = 2 if week == weeks[-1] else 10
        notified.project.publish(week, steady_week(week, start=1_000 + n * 420, riders=riders))
    result = notified.project.run(weeks[0], weeks[-1])
    passed_by_week = {
        week: passed for (name, week), passed in notified.project.checks(result).items() if name == "week_as_usual"
    }
    assert passed_by_week == {week: week != weeks[-1] for week in weeks}
    [message] = notified.tick()
    assert (message.title, message.tone) == ("mta_pipeline: a week is unusual", "warning")
    assert message.line("Weeks") == weeks[-1]
    assert message.line("Likely cause").startswith("ridership 164, expected 820")


# --- receivers ---


def test_if_a_receiver_is_down_ticks_fail_and_no_message_is_lost_or_sent_twice(notified):
    notified.webhook.status = 500
    notified.project.publish(SECOND, b"")
    notified.project.run(SECOND, job=LANDING_JOB)
    assert notified.tick() == []
    assert notified.skip_reasons[-1].endswith("others wait for the next tick: receiver 1 (json): it answered 500")
    for _ in range(2):
        with pytest.raises(ReceiversError, match=r"^Messages wait .* receiver 1 \(json\): it answered 500$"):
            notified.tick()
    notified.webhook.status = 200
    assert len(notified.tick()) == 1
    assert notified.tick() == []


def test_an_incident_that_is_resolved_before_it_was_reported_is_only_reported_as_resolved(notified):
    notified.webhook.status = 500
    notified.project.publish(SECOND, b"")
    notified.project.run(SECOND, job=LANDING_JOB)
    notified.tick()
    notified.project.publish(SECOND, steady_week(SECOND))
    notified.project.run(SECOND, job=LANDING_JOB)
    notified.tick()
    notified.webhook.status = 200
    assert [message.tone for message in notified.tick()] == ["success"]


def test_a_receiver_that_is_down_does_not_block_other_receivers(notified, tmp_path):
    with serve_webhook() as other:
        file = tmp_path / "receivers"
        file.write_text(f"# ours\n{notified.webhook.url}\n\n{other.url}\n")
        notified.project.defs = build_defs(
            notified.project.settings.model_copy(update={"notify": SecretStr(str(file))})
        )
        other.status = 503
        notified.project.publish(SECOND, b"")
        notified.project.run(SECOND, job=LANDING_JOB)
        assert len(notified.tick()) == 1
        other.status = 200
        assert notified.tick() == []
        assert len(other.new()) == 1


def test_the_address_of_a_receiver_is_in_no_message_log_or_record(notified, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    notified.webhook.status = 500
    notified.project.publish(SECOND, b"")
    notified.project.run(SECOND, job=LANDING_JOB)
    notified.tick()
    with pytest.raises(ReceiversError) as error:
        notified.tick()
    notified.webhook.status = 200
    [message] = notified.tick()
    texts = [
        str(error.value),
        caplog.text,
        *capfd.readouterr(),
        notified.cursor,
        *notified.skip_reasons,
        message.title,
        message.body,
    ]
    texts += [repr(notified.project.settings), repr(notified.project.defs)]
    assert "secret-word" in notified.webhook.url
    assert not any("secret-word" in text for text in texts)


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
    [message] = webhook.new()
    assert message.title == "mta_pipeline: sensor published_weeks fails on every tick"
    assert "3 failed ticks in a row" in message.line("Likely cause")
    assert "Invalid JSON" in message.line("Likely cause")
    assert message.line("Link") == "http://127.0.0.1:3000/locations/mta_pipeline/sensors/published_weeks"
    running_daemons.set_cursor(SENSOR, None)
    running_daemons.tick(2)
    assert [message.title for message in webhook.new()] == [
        "mta_pipeline: resolved: sensor published_weeks fails on every tick"
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
    [message] = webhook.new()
    assert message.title.startswith("mta_pipeline: job land_weeks failed")
    assert (message.line("Weeks"), message.line("Likely cause")) == (FIRST, CRASH_MESSAGE)
