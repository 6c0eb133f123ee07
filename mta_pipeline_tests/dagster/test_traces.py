"""A run emits a trace of its steps, weeks and phases. A killed run leaves a partial trace. Tracing blocks no run."""

import os
import subprocess
import sys
import uuid

import dagster as dg
import pytest

from mta_pipeline.build import build_defs
from mta_pipeline.orchestration.keys import RIDERSHIP_JOB
from mta_pipeline.run_launchers.local import fail_dead_runs
from mta_pipeline.settings import read_settings
from mta_pipeline.telemetry import tracing
from mta_pipeline.telemetry.run_traces import LOG_SETTINGS, run_ids
from mta_pipeline.weeks import file_name
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.dagster.project import WEEKS, Project, steady_week
from mta_pipeline_tests.fault_injection.sandbox import wait_until
from mta_pipeline_tests.support.collector import collecting
from mta_pipeline_tests.support.feed_server import Fault, serve_feed

WEEKLY_PHASES = {
    "turnstile_file": {"fetch", "write"},
    "turnstile_readings": {"unpack", "parse", "write"},
    "turnstile_traffic": {"read", "diff", "write"},
    "complex_daily": {"read", "derive", "write"},
    "complex_hourly": {"read", "derive", "write"},
}


@pytest.fixture
def collector(monkeypatch):
    with collecting() as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
        _reread_environment()
        yield server
    _reread_environment()


def _reread_environment():
    tracing.is_wanted.cache_clear()
    tracing._sender.cache_clear()


@pytest.fixture
def records(tmp_path, monkeypatch):
    """Dagster's records on disk, configured by the repository's dagster.yaml, for processes that share them."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path, instance=dg.DagsterInstance.ephemeral(settings=dict(LOG_SETTINGS)))
    for week in WEEKS[:2]:
        made.publish(week, steady_week(week))
    return made


def test_the_trace_of_a_run_has_its_steps_weeks_and_phases(collector, project):
    result = project.run(*WEEKS[:2])
    own = [span for span in collector.spans if span.trace == uuid.UUID(result.run_id).hex]
    (root,) = [span for span in own if not span.parent]
    assert (root.name, root.id) == (RIDERSHIP_JOB, f"{run_ids(result.run_id).span:016x}")
    assert root.attributes["mta.partition"] == f"{WEEKS[0]}...{WEEKS[1]}"
    weeks = [span for span in own if span.name == "week"]
    assert {(span.attributes["mta.table"], span.attributes["mta.week"]) for span in weeks} == {
        (table, week) for table in WEEKLY_PHASES for week in WEEKS[:2]
    }
    (rejects, _) = [span for span in own if span.attributes.get("mta.table") == "turnstile_rejects"]
    assert collector.path(rejects) == [RIDERSHIP_JOB, "staged_turnstile", "write"]
    phases: dict[str, set[str]] = {}
    for span in own:
        parent = {other.id: other for other in own}.get(span.parent)
        if parent and parent.name == "week":
            phases.setdefault(parent.attributes["mta.table"], set()).add(span.name)
    assert phases == WEEKLY_PHASES
    assert {tuple(collector.path(week)) for week in weeks} == {
        (RIDERSHIP_JOB, step, "week")
        for step in (
            "raw__turnstile_file",
            "staged_turnstile",
            "lake__turnstile_traffic",
            "lake__complex_daily",
            "lake__complex_hourly",
        )
    }


def test_a_span_has_the_rows_bytes_and_resources_of_its_work(collector, project):
    project.run(WEEKS[0])
    (step,) = collector.named("lake__turnstile_traffic")
    rows = len(project.table("lake", "turnstile_traffic", WEEKS[0]))
    size = (project.lake / "lake" / "turnstile_traffic" / f"week={WEEKS[0]}" / "part-0.parquet").stat().st_size
    expected = {
        "mta.assets": ["lake/turnstile_traffic"],
        "mta.partition": WEEKS[0],
        "mta.rows_in": 42,
        "mta.rows_out": rows,
        "mta.bytes": size,
    }
    assert {key: step.attributes[key] for key in expected} == expected
    assert 0 < step.attributes["process.cpu.seconds"] < 60
    assert step.attributes["process.memory.peak_bytes"] > 1 << 20


def test_the_trace_of_a_failed_run_has_the_error_and_its_place(collector, project):
    project.publish(WEEKS[0], b"C/A,UNIT,SCP\nnonsense\n")
    result = project.run(WEEKS[0])
    assert not result.success
    (root,) = collector.named(RIDERSHIP_JOB)
    (step,) = collector.named("staged_turnstile")
    (phase,) = collector.named("parse")
    assert phase.errors[0]["exception.type"] == "UnreadableFile"
    assert WEEKS[0] in step.failure
    assert root.failure == step.failure
    assert not collector.named("lake__turnstile_traffic")


def test_a_retry_is_linked_to_the_run_before_and_to_the_caller(collector, project):
    first = project.run(WEEKS[0])
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    retry = project.run(WEEKS[0], tags={"dagster/parent_run_id": first.run_id, "traceparent": caller})
    (root,) = [span for span in collector.named(RIDERSHIP_JOB) if span.trace == uuid.UUID(retry.run_id).hex]
    before = run_ids(first.run_id)
    assert root.links == [(f"{before.trace:032x}", f"{before.span:016x}"), tuple(caller.split("-")[1:3])]


def job_of_many_processes():
    """A job that lands weeks in a separate step process."""
    defs = build_defs(read_settings())
    job = dg.define_asset_job("many_processes", selection=["raw/turnstile_file"])
    return dg.Definitions(
        assets=defs.assets, resources=defs.resources, jobs=[job], executor=dg.multiprocess_executor
    ).resolve_job_def("many_processes")


@pytest.mark.slow
def test_the_processes_of_a_run_share_a_trace(processes, collector, project, records, monkeypatch):
    monkeypatch.setenv("MTA_FEED", str(project.feed))
    monkeypatch.setenv("LAKE_ROOT", str(project.lake))
    with dg.execute_job(
        dg.reconstructable(job_of_many_processes), records, tags={"dagster/partition": WEEKS[0]}
    ) as result:
        assert result.success
    own = [span for span in collector.spans if span.trace == uuid.UUID(result.run_id).hex]
    assert {tuple(collector.path(span)) for span in own} == {
        ("many_processes",),
        ("many_processes", "raw__turnstile_file"),
        ("many_processes", "raw__turnstile_file", "week"),
        ("many_processes", "raw__turnstile_file", "week", "fetch"),
        ("many_processes", "raw__turnstile_file", "week", "write"),
    }


@pytest.mark.slow
def test_a_killed_run_has_its_ended_spans_and_run_monitoring_adds_the_failure(processes, collector, project, records):
    with serve_feed(project.feed) as feed:
        # The run asks for the headers of each file before it fetches one.
        feed.fail(file_name(WEEKS[1]), Fault(cut_after=100, hang=60), times=5)
        environment = {**os.environ, "MTA_FEED": feed.bare_url, "LAKE_ROOT": str(project.lake)}
        command = [
            REPOSITORY / ".venv" / "bin" / "mta-pipeline",
            "run",
            "--again",
            "--weeks",
            f"{WEEKS[0]}...{WEEKS[1]}",
        ]
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            wait_until(lambda: collector.named("week"), "the first week's span")
            process.kill()
    (week,) = collector.named("week")
    assert collector.path(week) == ["?", "week"]
    (run_id,) = fail_dead_runs(records)
    (root,) = collector.named(RIDERSHIP_JOB)
    assert (root.trace, week.trace) == (uuid.UUID(run_id).hex,) * 2
    assert root.failure.startswith("ProcessDied: Its process is gone")


@pytest.mark.parametrize("fault", ["unreachable", "unresponsive"])
def test_a_run_does_not_wait_for_a_collector_that_is(fault, collector, project):
    collector.requests = 0
    if fault == "unreachable":
        collector.shutdown()
        collector.server_close()
    else:
        collector.may_respond.clear()
    assert project.run(*WEEKS[:2]).success
    # It sends one request, and no other within the next minute.
    assert collector.requests == (0 if fault == "unreachable" else 1)


@pytest.mark.slow
def test_without_an_endpoint_there_are_no_spans_and_opentelemetry_is_not_imported(processes):
    code = (
        "import sys; from mta_pipeline.telemetry import tracing\n"
        "with tracing.span('week') as s: s.add(rows_in=1); s.note(week='x')\n"
        "assert not tracing.is_wanted(); assert not [m for m in sys.modules if m.startswith('opentelemetry')]"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
