"""One container per run: a deployment gives the same lake as a laptop and removes its containers."""

import itertools
import re
import uuid
from contextlib import suppress

import pytest
import requests

from mta_pipeline.orchestration.keys import MARTS_JOB, RIDERSHIP_JOB
from mta_pipeline_tests.containers.deployment import WEEKS
from mta_pipeline_tests.fault_injection.sandbox import wait_until
from mta_pipeline_tests.support.collector import Trace

pytestmark = pytest.mark.docker


def test_a_backfill_from_the_ui_gives_the_same_lake_as_a_run_without_docker(deployment):
    with deployment.record_containers() as created:
        backfill = deployment.backfill()
        assert deployment.wait_for_backfill(backfill) == "COMPLETED_SUCCESS"
    runs = deployment.web.runs(tags=[{"key": "dagster/backfill", "value": backfill}])
    assert {run.status for run in runs} == {"SUCCESS"}
    assert sorted(created) == sorted(run.id for run in runs)
    assert deployment.lake() == deployment.undisturbed()
    deployment.wait_for_containers_to_go(*(run.id for run in runs))


def test_four_runs_use_four_containers_one_after_the_other(deployment):
    with deployment.record_containers() as created:
        runs = [deployment.wait_for_run(run) for run in [deployment.launch(RIDERSHIP_JOB, week) for week in WEEKS]]
    assert [run.status for run in runs] == ["SUCCESS"] * 4
    assert sorted(created) == sorted(run.id for run in runs)
    in_turn = sorted(runs, key=lambda run: run.started)
    assert all(earlier.ended <= later.started for earlier, later in itertools.pairwise(in_turn))
    assert deployment.lake() == deployment.undisturbed()
    deployment.wait_for_containers_to_go(*(run.id for run in runs))


def test_the_trace_of_a_run_in_a_container_is_complete_and_the_container_has_its_trace_id(deployment):
    run_id = deployment.launch(RIDERSHIP_JOB, WEEKS[0])
    environment = deployment.container_of(run_id).attrs["Config"]["Env"]
    assert deployment.wait_for_run(run_id).status == "SUCCESS"

    def trace_of_run() -> Trace:
        return Trace([span for span in deployment.traces().spans if span.trace == uuid.UUID(run_id).hex])

    # The container sends the root span after the run has ended.
    wait_until(lambda: any(not span.parent for span in trace_of_run().spans), "the root span of the run")
    trace = trace_of_run()
    (root,) = [span for span in trace.spans if not span.parent]
    assert f"TRACEPARENT=00-{root.trace}-{root.id}-01" in environment
    phases = {tuple(trace.path(span)) for span in trace.spans}
    assert (RIDERSHIP_JOB, "staged_turnstile", "week", "parse") in phases
    assert not [path for path in phases if path[0] != RIDERSHIP_JOB]


def test_the_health_server_responds_with_metrics_for_prometheus(deployment):
    deployment.compose("up", "--detach", "metrics")

    def answers() -> bool:
        with suppress(requests.ConnectionError):
            return requests.get(deployment.health, timeout=30).status_code == 200
        return False

    wait_until(answers, "the health server", every=0.5)
    metrics = requests.get(f"{deployment.health}/metrics", timeout=30).text
    assert 'mta_daemon_healthy{daemon="sensor"} 1.0' in metrics
    assert re.search(r'mta_runs_ended_total\{job="reference_tables",status="success"\} [1-9]', metrics)


@pytest.fixture(scope="module")
def containers(deployment):
    """The engine's attributes of the containers of all parts and of two runs: marts, and a week with its own limit."""
    half = {"run-container/cpus": "0.5"}
    runs = {"marts": deployment.launch(MARTS_JOB), "weeks": deployment.launch(RIDERSHIP_JOB, WEEKS[0], **half)}
    found = {name: deployment.container_of(run).attrs for name, run in runs.items()}
    assert [deployment.wait_for_run(run).status for run in runs.values()] == ["SUCCESS"] * 2
    return found | {part.labels["com.docker.compose.service"]: part.attrs for part in deployment.parts}


def test_a_run_has_the_limits_of_its_assets_or_of_its_own_tags(containers):
    limits = {name: containers[name]["HostConfig"] for name in ("marts", "weeks")}
    assert (limits["marts"]["Memory"], limits["marts"]["NanoCpus"]) == (4 << 30, 2_000_000_000)
    assert (limits["weeks"]["Memory"], limits["weeks"]["NanoCpus"]) == (2 << 30, 500_000_000)
    assert all(limit["MemorySwap"] == limit["Memory"] for limit in limits.values())


def test_no_container_of_the_project_runs_as_root_or_can_change_its_image_or_gain_privileges(containers):
    ours = {name: found for name, found in containers.items() if name != "postgres"}
    assert len(ours) == 9
    for name, found in ours.items():
        host = found["HostConfig"]
        assert found["Config"]["User"] == "mta", name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert not host["Privileged"], name


def test_postgres_is_not_the_first_process_of_its_container(containers):
    """As first process it would adopt health checks that time out, and mistake their end for a crash of its own."""
    assert containers["postgres"]["HostConfig"]["Init"]


def test_only_daemon_and_caretaker_mount_the_docker_socket(containers):
    mounts = {name: [mount["Destination"] for mount in found["Mounts"]] for name, found in containers.items()}
    assert {name for name, places in mounts.items() if "/var/run/docker.sock" in places} == {"daemon", "caretaker"}


def test_ports_are_published_on_the_loopback_address_only(containers):
    bound = {name: found["HostConfig"]["PortBindings"] or {} for name, found in containers.items()}
    addresses = {name: {b["HostIp"] for bindings in ports.values() for b in bindings} for name, ports in bound.items()}
    # Only the tests publish the ports of the feed and the collector.
    assert {name: found for name, found in addresses.items() if found} == {
        "webserver": {"127.0.0.1"},
        "metrics": {"127.0.0.1"},
        "feed": {"127.0.0.1"},
        "collector": {"127.0.0.1"},
    }
