"""What can break in a deployment, and how it ends: by name, or well."""

import contextlib

import pytest

from mta_pipeline.orchestration.keys import RIDERSHIP_JOB
from mta_pipeline_tests.containers.deployment import IMAGE, WEEKS, wait_until

pytestmark = pytest.mark.docker

WEEK = WEEKS[1]
ONCE = {"dagster/max_retries": "0"}
"""Tags of a run that is not tried again: of a fault that stays, one failure is enough to look at."""


@pytest.fixture(scope="module", autouse=True)
def ends_well(deployment):
    """Before the faults the lake is complete, and after all of them a run over all weeks succeeds."""
    if deployment.lake() != deployment.undisturbed():
        assert deployment.wait_for_run(deployment.launch_range(RIDERSHIP_JOB)).status == "SUCCESS"
    yield
    assert deployment.wait_for_run(deployment.launch_range(RIDERSHIP_JOB)).status == "SUCCESS"
    assert deployment.lake() == deployment.undisturbed()


@pytest.fixture(autouse=True)
def nothing_is_lost(deployment):
    """After each fault the lake is as if nothing had happened."""
    yield
    assert deployment.lake() == deployment.undisturbed()


def started(deployment):
    """A run over a week that is at work, in its container."""
    launched = deployment.launch(RIDERSHIP_JOB, WEEK)
    deployment.container_of(launched)
    wait_until(lambda: deployment.run(launched).status == "STARTED", "the run to start", every=0.05)
    return launched


@pytest.fixture
def run(deployment):
    """A run that is at work."""
    return started(deployment)


def failure(deployment, **tags):
    """What the log says of a run that must fail."""
    run = deployment.wait_for_run(deployment.launch(RIDERSHIP_JOB, WEEK, **ONCE, **tags))
    assert run.status == "FAILURE"
    return deployment.web.log(run.id)


def test_a_run_whose_container_is_killed_is_tried_again_and_the_container_is_kept(deployment, run):
    container = deployment.container_of(run)
    container.kill()
    assert deployment.wait_for_run(run).status == "FAILURE"
    assert "exited, with exit code 137" in deployment.web.log(run)
    again = deployment.wait_for_retry(run)
    assert again.status == "SUCCESS"
    deployment.wait_for_containers_to_go(again.id)
    container.reload()  # the caretaker has looked at both
    assert (container.status, container.attrs["State"]["ExitCode"]) == ("exited", 137)


def test_a_run_that_runs_out_of_memory_says_so_and_is_tried_again(deployment):
    # Of all in the container the kernel ends the one that has volunteered, once something has used the memory up.
    volunteer = "open('/proc/1/oom_score_adj', 'w').write('1000'); hog = b'x' * (4 << 30)"
    feed = deployment.part("feed")
    feed.pause()  # the run waits for it, and is not over before its memory is
    try:
        run = started(deployment)
        deployment.container_of(run).exec_run(["python", "-c", volunteer], detach=True)
        assert deployment.wait_for_run(run).status == "FAILURE"
    finally:
        feed.unpause()
    assert "Out of memory: the container may use 2048 MiB" in deployment.web.log(run)
    assert deployment.wait_for_retry(run).status == "SUCCESS"


def test_a_run_that_is_out_of_memory_before_it_begins_says_so(deployment):
    log = failure(deployment, **{"run-container/memory": "40m"})
    assert "Out of memory: the container may use 40 MiB" in log
    assert "run-container/memory" in log


def test_a_missing_image_fails_the_run_by_its_name(deployment, engine):
    image = engine.images.get(IMAGE)
    image.tag("mta-pipeline", "kept")
    engine.images.remove(IMAGE, noprune=True)
    try:
        log = failure(deployment)
    finally:
        image.tag(*IMAGE.split(":"))
        engine.images.remove("mta-pipeline:kept", noprune=True)
    assert "Marking the run as failed" in log
    assert "mta-pipeline" in log


def test_a_run_does_not_notice_that_the_code_server_is_restarted(deployment, run):
    deployment.part("code-server").restart(timeout=5)
    assert deployment.wait_for_run(run).status == "SUCCESS"
    wait_until(lambda: deployment.healthy("code-server"), "the code server")


def test_a_backfill_outlives_a_restart_of_the_database(deployment):
    backfill = deployment.backfill()
    deployment.started_run_of(backfill)
    deployment.restart_database()
    assert deployment.wait_for_backfill(backfill) == "COMPLETED_SUCCESS"


def test_a_missing_variable_fails_the_run_by_name(deployment):
    with deployment.settings(lambda text: text.replace("- MTA_LAST_WEEK", "- MTA_LAST_WEEK\n      - MTA_NOWHERE_SET")):
        assert "MTA_NOWHERE_SET" in failure(deployment)
    with deployment.settings(lambda text: text.replace("      - DAGSTER_POSTGRES_PASSWORD\n", "")):
        log = failure(deployment)
        assert "The container exited before the run started" in log
        assert "DAGSTER_POSTGRES_PASSWORD" in log
    with deployment.settings(lambda text: text.replace("      - MTA_FEED\n", "")):
        assert "MTA_FEED" in failure(deployment)


def test_of_two_runs_over_the_same_week_one_waits_for_the_other(deployment):
    runs = [deployment.launch(RIDERSHIP_JOB, WEEK) for _ in range(2)]
    first, second = sorted((deployment.wait_for_run(run) for run in runs), key=lambda run: run.started)
    assert (first.status, second.status) == ("SUCCESS", "SUCCESS")
    assert first.ended <= second.started


def test_a_full_disk_fails_the_run_by_name_and_leaves_what_was_there(deployment):
    with filled(deployment):
        log = failure(deployment)
        assert deployment.lake() == deployment.undisturbed()
    assert "Not written, any previous file remains: No space left on device" in log
    assert "/lake/" in log


def test_a_cancelled_run_ends_and_its_container_goes(deployment, run):
    deployment.web.terminate(run)
    assert deployment.wait_for_run(run).status == "CANCELED"
    deployment.wait_for_containers_to_go(run)


@contextlib.contextmanager
def filled(deployment):
    """The lake's disk without any room."""
    writer = "import shutil; open('/lake/filler', 'wb').write(bytes(shutil.disk_usage('/lake').free))"
    in_lake = {"volumes": ["mta-test-lake:/lake"], "remove": True, "network_disabled": True}
    deployment.engine.containers.run(IMAGE, ["python", "-c", writer], **in_lake)
    try:
        yield
    finally:
        deployment.engine.containers.run(IMAGE, ["rm", "/lake/filler"], **in_lake)
