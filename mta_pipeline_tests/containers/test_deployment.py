"""One container per run: a deployment does what a laptop does, and cleans up after itself."""

import itertools
import time

import pytest

from mta_pipeline.build import MARTS_JOB, RIDERSHIP_JOB
from mta_pipeline_tests.containers.deployment import WEEKS

pytestmark = pytest.mark.docker


def test_a_backfill_from_the_page_leaves_the_same_lake_as_a_run_without_docker(deployment):
    before = time.time()
    backfill = deployment.backfill()
    assert deployment.wait_for_backfill(backfill) == "COMPLETED_SUCCESS"
    runs = deployment.web.runs(tags=[{"key": "dagster/backfill", "value": backfill}])
    assert {run.status for run in runs} == {"SUCCESS"}
    assert sorted(deployment.created_since(before)) == sorted(run.id for run in runs)
    assert deployment.lake() == deployment.undisturbed()
    deployment.wait_for_containers_to_go(*(run.id for run in runs))


def test_four_runs_are_four_containers_one_after_the_other(deployment):
    before = time.time()
    runs = [deployment.wait_for_run(run) for run in [deployment.launch(RIDERSHIP_JOB, week) for week in WEEKS]]
    assert [run.status for run in runs] == ["SUCCESS"] * 4
    assert sorted(deployment.created_since(before)) == sorted(run.id for run in runs)
    in_turn = sorted(runs, key=lambda run: run.started)
    assert all(earlier.ended <= later.started for earlier, later in itertools.pairwise(in_turn))
    assert deployment.lake() == deployment.undisturbed()
    deployment.wait_for_containers_to_go(*(run.id for run in runs))


def test_a_run_gets_the_memory_that_its_assets_or_its_own_tags_ask_for(deployment):
    limits = {}
    tags = ({}, {"run-container/memory": "700m", "run-container/cpus": "0.5"})
    for job, asked in ((MARTS_JOB, tags[0]), (RIDERSHIP_JOB, tags[0]), (RIDERSHIP_JOB, tags[1])):
        run = deployment.launch(job, None if job == MARTS_JOB else WEEKS[0], **asked)
        host = deployment.container_of(run).attrs["HostConfig"]
        limits[job, bool(asked)] = (host["Memory"] // 2**20, host["NanoCpus"] / 1e9)
        assert deployment.wait_for_run(run).status == "SUCCESS"
    assert limits == {
        (MARTS_JOB, False): (2048, 2),
        (RIDERSHIP_JOB, False): (1024, 2),
        (RIDERSHIP_JOB, True): (700, 0.5),
    }


def test_no_part_runs_as_root_or_can_change_its_image_or_gain_rights(deployment):
    run = deployment.launch(RIDERSHIP_JOB, WEEKS[0])
    theirs = [deployment.container_of(run)]
    ours = [part for part in deployment.parts if "postgres" not in part.name]
    assert len(ours) == 5
    for part in (*ours, *theirs):
        host = part.attrs["HostConfig"]
        assert host["ReadonlyRootfs"], part.name
        assert host["CapDrop"] == ["ALL"], part.name
        assert "no-new-privileges:true" in host["SecurityOpt"], part.name
        assert not host["Privileged"], part.name
        assert part.attrs["Config"]["User"] == "mta", part.name
    assert deployment.wait_for_run(run).status == "SUCCESS"


def test_only_daemon_and_caretaker_have_the_docker_socket(deployment):
    run = deployment.launch(RIDERSHIP_JOB, WEEKS[0])
    parts = {part.labels["com.docker.compose.service"]: part for part in deployment.parts}
    with_socket = {
        name
        for name, part in {**parts, "run": deployment.container_of(run)}.items()
        if any(mount["Destination"].endswith("docker.sock") for mount in part.attrs["Mounts"])
    }
    assert with_socket == {"daemon", "caretaker"}
    assert deployment.wait_for_run(run).status == "SUCCESS"


def test_the_page_is_for_this_machine_only(deployment):
    ports = deployment.part("webserver").attrs["NetworkSettings"]["Ports"]
    assert {binding["HostIp"] for bindings in ports.values() for binding in bindings or ()} == {"127.0.0.1"}
    others = [part for part in deployment.parts if part.name != deployment.part("webserver").name]
    published = {
        p.labels["com.docker.compose.service"] for p in others if any(p.attrs["HostConfig"]["PortBindings"] or {})
    }
    assert published == {"feed"}  # by the tests, not by the product
