"""What goes wrong is told once, with what a person needs, and once more when it is well again; nothing gets lost."""

import datetime as dt
import json
from dataclasses import dataclass, field

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from mta_pipeline.automation.notify import NOTIFY_SENSOR
from mta_pipeline.partitions import file_name
from mta_pipeline.settings import Settings
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.dagster.project import WEEKS, Project, quiet_week
from mta_pipeline_tests.webhook import Got, Webhook, serve_webhook

FIRST, SECOND, THIRD = WEEKS


@dataclass
class Told:
    """A project whose faults are told to a webhook, tick by tick."""

    project: Project
    webhook: Webhook
    cursor: str | None = None
    words: list[str] = field(default_factory=list)

    def tick(self) -> list[Got]:
        """One tick of the sensor; returns the messages that came in."""
        context = dg.build_sensor_context(
            self.project.instance, self.cursor, definitions=self.project.defs, sensor_name=NOTIFY_SENSOR
        )
        sensor = self.project.defs.resolve_sensor_def(NOTIFY_SENSOR)
        tick: SensorExecutionData = sensor.evaluate_tick(context)
        self.cursor = tick.cursor
        self.words.append(tick.skip_message or "")
        return self.webhook.new()

    def later(self, **passed: float) -> None:
        """As if so much time had passed since the last word about each fault."""
        cursor = json.loads(self.cursor)
        for fault in cursor["look"]["faults"]["known"].values():
            told = dt.datetime.fromisoformat(fault["told"]) - dt.timedelta(**passed)
            fault["told"] = told.isoformat()
        self.cursor = json.dumps(cursor)


@pytest.fixture(scope="module")
def webhook():
    with serve_webhook() as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Dagster's home, with the repository's own dagster.yaml."""
    directory = tmp_path_factory.mktemp("home")
    (directory / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    return directory


@pytest.fixture
def instance(home):
    with dg.DagsterInstance.from_config(str(home)) as made:
        yield made
        made.wipe()


@pytest.fixture
def told(tmp_path, webhook, instance) -> Told:
    """Three sound weeks on offer, the automation's `notify` on and nothing wrong yet."""
    webhook.new()
    webhook.status = 200
    settings = Settings(
        feed=str(tmp_path / "feed"),
        lake_root=str(tmp_path / "lake"),
        notify=webhook.url,
        ui="https://dagster.example",
    )
    project = Project(tmp_path, settings=settings, instance=instance)
    for n, week in enumerate(WEEKS):
        project.publish(week, quiet_week(week, start=1_000 + n * 420))
    made = Told(project, webhook)
    assert made.tick() == []
    return made


# --- runs ---


def test_a_run_that_fails_is_told_once_with_its_week_cause_and_page_and_once_more_when_it_is_well(told):
    told.project.publish(SECOND, b"<html>Not here</html>")
    failed = told.project.run(FIRST, THIRD)
    [word] = told.tick()
    assert word.title == "mta_pipeline: job weekly_ridership: failed, and is not tried again by itself"
    assert word.tone == "failure"
    assert word.line("Weeks") == SECOND
    assert word.line("Since").endswith("UTC")
    assert file_name(SECOND) in word.line("Likely cause")
    assert "web page" in word.line("Likely cause")
    assert word.line("Look") == f"https://dagster.example/runs/{failed.run_id}"
    assert "launch the same weeks again" in word.line("To do")
    told.project.run(SECOND)
    assert told.tick() == []
    told.project.publish(SECOND, quiet_week(SECOND, start=1_420))
    told.project.run(FIRST, THIRD)
    [word] = told.tick()
    assert word.title.startswith("mta_pipeline: well again: job weekly_ridership")
    assert word.tone == "success"
    assert told.tick() == []
