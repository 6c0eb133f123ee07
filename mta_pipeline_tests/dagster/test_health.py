"""Health of the pipeline, read from real records: as metrics, in the terminal and as a page."""

import datetime as dt
import json
import re
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from types import SimpleNamespace

import dagster as dg
import fsspec
import pytest
import yaml
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.test_utils import create_run_for_test
from dagster_shared.error import SerializableErrorInfo
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from mta_pipeline.monitoring import server
from mta_pipeline.monitoring.health import Health, HealthReader, RunInProgress, Ticks
from mta_pipeline.monitoring.metrics import registry
from mta_pipeline.monitoring.server import HealthServer
from mta_pipeline.monitoring.status import figures, page, problems, terminal
from mta_pipeline.orchestration.keys import RIDERSHIP_JOB
from mta_pipeline.settings import Settings
from mta_pipeline.turnstile.contract import TURNSTILE_TRAFFIC
from mta_pipeline.weeks import file_name
from mta_pipeline_tests.conftest import REPOSITORY, skip_or_fail_in_ci
from mta_pipeline_tests.dagster.automation import Automation
from mta_pipeline_tests.dagster.project import WEEKS, Project, steady_week
from mta_pipeline_tests.fault_injection.sandbox import wait_until

REPOSITORY_ORIGIN = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("mta_pipeline"), "__repository__")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two weeks in the lake, the first with an unknown booth, and a third available week whose file is bad."""
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("records"))) as instance:
        made = Project(tmp_path_factory.mktemp("project"), instance=instance)
        made.publish(WEEKS[0], steady_week(WEEKS[0]).replace(b"A002,", b"XX,", 1))
        made.publish(WEEKS[1], steady_week(WEEKS[1]))
        made.run(*WEEKS[:2])
        made.publish(WEEKS[2], b"no such thing\n")
        Automation(made).tick_sensor()
        made.run(WEEKS[2])
        yield made


@pytest.fixture
def reader(project):
    return HealthReader.of(project.instance, str(project.lake), project.defs)


@contextmanager
def served(read: Callable[[], Health]) -> Iterator[str]:
    with HealthServer(("127.0.0.1", 0), read) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def url(reader):
    with served(reader.read) as url:
        yield url


def get(url: str) -> str:
    with urllib.request.urlopen(url) as response:
        return str(response.read().decode())


def samples(url: str) -> dict[tuple[str, ...], float]:
    """The samples that Prometheus' own parser reads: values by metric name and label values."""
    families = text_string_to_metric_families(get(f"{url}/metrics"))
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_metrics_show_runs_weeks_checks_and_the_newest_week(url, project):
    found = samples(url)
    daily = project.table("lake", "complex_daily", WEEKS[1])
    expected = {
        ("mta_runs_ended_total", RIDERSHIP_JOB, "success"): 1,
        ("mta_runs_ended_total", RIDERSHIP_JOB, "failure"): 1,
        ("mta_run_weeks_total", RIDERSHIP_JOB, "success"): 2,
        ("mta_run_duration_seconds_count", RIDERSHIP_JOB, "success"): 1,
        ("mta_weeks", "on_offer"): 3,
        ("mta_weeks", "landed"): 3,
        ("mta_weeks", "complete"): 2,
        ("mta_weeks", "unfinished"): 1,
        ("mta_weeks", "missing"): 0,
        ("mta_newest_week_timestamp_seconds", "complete"): dt.datetime.fromisoformat(f"{WEEKS[1]}T00Z").timestamp(),
        ("mta_newest_week_timestamp_seconds", "on_offer"): dt.datetime.fromisoformat(f"{WEEKS[2]}T00Z").timestamp(),
        ("mta_newest_week_readings",): 42,
        ("mta_newest_week_turnstiles",): 1,
        ("mta_newest_week_exits",): daily["exits"].sum(),
        ("mta_check_results", "staged/turnstile_readings", "booths_known", "failed"): 1,
        ("mta_check_results", "staged/turnstile_readings", "booths_known", "passed"): 1,
        ("mta_check_results", "lake/turnstile_traffic", "carry_in_present", "failed"): 0,
        ("mta_check_results", "staged/turnstile_readings", "every_line_accounted_for", "failed"): 0,
    }
    assert {key: found.get(key) for key in expected} == expected
    durations = [value for key, value in found.items() if key[0] == "mta_run_duration_seconds_bucket"]
    assert durations


def test_no_label_contains_a_week_a_run_id_or_a_message(url, project):
    text = get(f"{url}/metrics")
    assert not any(
        word in text for word in (*WEEKS, "no such thing", *(run.run_id for run in project.instance.get_runs()))
    )


def test_queued_and_killed_runs_are_reported(url, reader, project):
    waiting = create_run_for_test(
        project.instance,
        status=dg.DagsterRunStatus.QUEUED,
        job_name="waits",
        remote_job_origin=REPOSITORY_ORIGIN.get_job_origin("waits"),
    )
    killed = create_run_for_test(project.instance, status=dg.DagsterRunStatus.STARTED, job_name="killed")
    before = samples(url)
    assert (before["mta_runs_under_way", "queued"], before["mta_runs_under_way", "started"]) == (1, 1)
    assert ("mta_runs_oldest_timestamp_seconds", "queued") in before
    project.instance.report_run_failed(killed, "Its process is gone")
    project.instance.report_run_canceled(waiting)
    after = reader.read()
    assert not after.in_progress
    assert {(run.job, run.status.value) for run in after.ended} >= {("killed", "FAILURE"), ("waits", "CANCELED")}


def test_a_second_read_adds_newly_ended_runs_and_counts_nothing_twice(reader, project):
    first = len(reader.read().ended)
    assert len(reader.read().ended) == first
    project.run(WEEKS[0])
    assert len(reader.read().ended) == first + 1


def test_a_sensor_that_fails_repeatedly_is_counted_and_named(reader, url, project):
    origin = REPOSITORY_ORIGIN.get_instigator_origin("published_weeks")
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, SensorInstigatorData())
    project.instance.add_instigator_state(state)
    for minute, status in enumerate((TickStatus.SKIPPED, TickStatus.FAILURE, TickStatus.FAILURE)):
        error = SerializableErrorInfo("the feed is <down>\n", [], "FeedError") if status is TickStatus.FAILURE else None
        project.instance.create_tick(
            TickData(
                state.instigator_origin_id,
                "published_weeks",
                InstigatorType.SENSOR,
                status,
                timestamp=1_700_000_000.0 + 60 * minute,
                selector_id=state.selector_id,
                error=error,
            )
        )
    found = samples(url)
    assert found["mta_tick_failures_in_a_row", "sensor", "published_weeks"] == 2
    assert found["mta_tick_timestamp_seconds", "sensor", "published_weeks", "skipped"] == 1_700_000_000
    health = reader.read()
    assert "The sensor published_weeks has failed 2 times in a row: the feed is <down>" in [
        t.what for t in problems(health)
    ]
    assert "the feed is &lt;down&gt;" in page(health)


def test_the_status_shows_problems_remedies_and_key_figures(reader, url):
    running = Ticks("sensor", "published_weeks", is_running=True, last={}, failures_in_a_row=0, error="")
    health = replace(reader.read(), ticks=[running])
    remedies = {problem.what.partition(":")[0]: problem.do for problem in problems(health)}
    assert remedies["Dagster's daemon is not running, never seen"] == "start dagster-daemon, or run make dev"
    assert f"1 week ({WEEKS[2]}) landed, but incomplete" in remedies
    assert f"staged/turnstile_readings of {WEEKS[0]}, booths_known (warn)" in remedies
    assert (figures(health)["Newest week"], figures(health)["Readings"]) == (WEEKS[1], "42")
    console = Console(record=True, width=200)
    for part in terminal(health):
        console.print(part)
    on_terminal, on_page = console.export_text(), get(f"{url}/")
    for name, text in figures(health).items():
        assert name in on_terminal
        assert text in on_page
    assert "booths_known" in on_page


def test_a_daemon_that_nothing_needs_may_be_down(reader, project):
    idle = replace(reader.read(), ticks=[], in_progress=[])
    assert not any("daemon" in problem.what for problem in problems(idle))
    queued = RunInProgress("1234", RIDERSHIP_JOB, dg.DagsterRunStatus.QUEUED, idle.at)
    assert any("daemon" in problem.what for problem in problems(replace(idle, in_progress=[queued])))


def test_the_status_says_which_rules_have_made_weeks_due(project, monkeypatch):
    reader = HealthReader.of(project.instance, str(project.lake), project.defs)
    assert not reader.read().weeks.outdated
    old, new = TURNSTILE_TRAFFIC.rules, TURNSTILE_TRAFFIC.rules + 1
    monkeypatch.setitem(vars(TURNSTILE_TRAFFIC), "rules", new)
    assert not reader.read().weeks.outdated  # found to be current, and not read again
    after_update = HealthReader.of(project.instance, str(project.lake), project.defs).read()
    remedies = {problem.what: problem.do for problem in problems(after_update)}
    [remedy] = [do for what, do in remedies.items() if "rules" in what]
    assert f"2 weeks are due: 2 made with older rules (turnstile_traffic {old} -> {new})" in remedies
    assert remedy == f"launch weekly_ridership for these weeks, or mta-pipeline run --weeks {WEEKS[0]}...{WEEKS[1]}"


def test_an_unreadable_state_gives_a_503_without_paths(tmp_path):
    def broken():
        raise OSError(f"{tmp_path}/secret place")

    with served(broken) as url:
        for path, status in (("/metrics", 503), ("/", 503), ("/elsewhere", 404)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(f"{url}{path}")
            assert refused.value.code == status
            assert b"secret" not in refused.value.read()


@pytest.fixture
def clock(monkeypatch):
    """The clock of the server, which stands still unless a test sets it."""
    stopped = SimpleNamespace(now=0.0)
    monkeypatch.setattr(server, "time", SimpleNamespace(monotonic=lambda: stopped.now))
    return stopped


def test_requests_share_a_reading_even_if_it_takes_long(reader, clock):
    arrived, readings = threading.Barrier(20), []

    def read() -> Health:
        readings.append(reader.read())
        clock.now += 60
        return readings[-1]

    def scrape(_: int) -> str:
        arrived.wait()
        return get(f"{url}/metrics")

    with served(read) as url, ThreadPoolExecutor(20) as pool:
        assert len({*pool.map(scrape, range(20))}) == 1
    assert len(readings) == 1


def test_a_failed_reading_is_shared_and_the_next_one_may_succeed(reader, clock):
    failures = [OSError("no lake")]

    def read() -> Health:
        if failures:
            raise failures.pop()
        return reader.read()

    with served(read) as url:
        for _ in range(3):
            with pytest.raises(urllib.error.HTTPError, match="503"):
                get(f"{url}/metrics")
        clock.now += 60
        assert "mta_weeks" in get(f"{url}/metrics")


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=abc",
        "text/plain; version=1.x.0",
        "text/plain; version=",
        ",;=",
        "\xe9; version=\xe9",
    ],
)
def test_an_invalid_accept_header_gets_the_default_text_format(url, accept):
    with urllib.request.urlopen(urllib.request.Request(f"{url}/metrics", headers={"Accept": accept})) as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "mta_weeks" in response.read().decode()


def test_many_connections_can_wait_for_the_server(reader):
    with HealthServer(("127.0.0.1", 0), reader.read) as waiting, ExitStack() as connections:
        for _ in range(64):  # The system accepts them, although nothing is served yet.
            connections.enter_context(socket.create_connection(waiting.server_address, timeout=5))


@pytest.mark.slow
def test_a_token_in_the_address_of_the_feed_is_in_no_log_page_metric_or_file(many_runs, tmp_path):
    files = fsspec.filesystem("memory")
    files.pipe(f"/feed?token=s3cret/{file_name(WEEKS[0])}", steady_week(WEEKS[0]))
    files.pipe(f"/feed?token=s3cret/{file_name(WEEKS[1])}", b"no such thing")
    settings = Settings(feed="simplecache::memory://feed?token=s3cret", lake_root=str(tmp_path / "lake"))
    (tmp_path / "records").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "records")) as instance:
        project = Project(tmp_path, settings=settings, instance=instance)
        Automation(project).tick_sensor()
        results = [project.run(week) for week in WEEKS[:2]]
        assert [result.success for result in results] == [True, False]
        health = HealthReader.of(instance, str(project.lake), project.defs).read()
        texts = [str(entry) for result in results for entry in instance.all_logs(result.run_id)]
    texts += [page(health), generate_latest(registry(lambda: health)).decode()]
    texts += [path.read_bytes().decode(errors="replace") for path in project.lake.rglob("*") if path.is_file()]
    assert not [text for text in texts if "s3cret" in text]


MONITORING = REPOSITORY / "deploy" / "monitoring"


def expressions() -> list[str]:
    """Every expression that the dashboard and the alerts send to Prometheus."""
    board = json.loads((MONITORING / "grafana" / "dashboard.json").read_text())
    rules = yaml.safe_load((MONITORING / "rules.yml").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    return queries + [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


def test_dashboard_and_alerts_use_only_existing_metrics(url, project):
    declared = re.findall(r"^# TYPE (\w+) (\w+)$", get(f"{url}/metrics"), re.MULTILINE)
    existing = {name for name, _ in declared}
    existing |= {
        f"{name}_{part}" for name, kind in declared if kind == "histogram" for part in ("bucket", "sum", "count")
    }
    named = {name for expression in expressions() for name in re.findall(r"\bmta_\w+", expression)} - {"mta_pipeline"}
    assert len(named) > 10
    assert named - existing == set()


@pytest.fixture
def prometheus(processes, url, tmp_path):
    """A real Prometheus that scrapes the metrics every second and has the alerts of the deployment."""
    if shutil.which("prometheus") is None:
        skip_or_fail_in_ci("No prometheus on the PATH. Install the Debian package prometheus.")
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(MONITORING / "rules.yml")]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [url.removeprefix("http://")]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    with subprocess.Popen(
        ["prometheus", *arguments, f"--web.listen-address={address}"], stderr=subprocess.DEVNULL
    ) as up:
        yield f"http://{address}"
        up.terminate()


def query(prometheus: str, expression: str) -> list[object]:
    parameters = urllib.parse.urlencode({"query": expression})
    result: list[object] = json.loads(get(f"{prometheus}/api/v1/query?{parameters}"))["data"]["result"]
    return result


@pytest.mark.slow
def test_a_real_prometheus_reads_the_metrics_and_evaluates_the_dashboard_expressions(prometheus):
    def has_metrics() -> bool:
        with suppress(urllib.error.URLError):
            return bool(query(prometheus, "mta_weeks") and query(prometheus, 'up{job="mta_pipeline"} == 1'))
        return False

    wait_until(has_metrics, "Prometheus to scrape the metrics")
    for expression in expressions():
        query(prometheus, expression)  # An invalid expression is an error.
    assert query(prometheus, 'mta_weeks{state="unfinished"} > 0')
    rules = json.loads(get(f"{prometheus}/api/v1/rules"))["data"]["groups"][0]["rules"]
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}


@pytest.mark.slow
def test_alerts_fire_when_they_should_and_not_before(processes):
    if shutil.which("promtool") is None:
        skip_or_fail_in_ci("No promtool on the PATH. Install the Debian package prometheus.")
    result = subprocess.run(
        ["promtool", "test", "rules", "rules_test.yml"], cwd=MONITORING, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_is_tested_and_documented():
    rules = yaml.safe_load((MONITORING / "rules.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    tried = yaml.safe_load((MONITORING / "rules_test.yml").read_text())
    assert alerts == {
        case["alertname"] for test in tried["tests"] for case in test["alert_rule_test"] if case.get("exp_alerts")
    }
    explained = (REPOSITORY / "docs" / "operations.md").read_text()
    assert [alert for alert in alerts if f"`{alert}`" not in explained] == []
