"""Faults in a deployment: a run fails with a clear message, or it recovers."""

import contextlib

import pytest

from mta_pipeline.orchestration.keys import RIDERSHIP_JOB
from mta_pipeline_tests.containers.deployment import IMAGE, WEEKS, wait_until

pytestmark = pytest.mark.docker

WEEK = WEEKS[1]
ONCE = {"dagster/max_retries": "0"}
"""Tags of a run that is not retried: if the fault is permanent, one failure is enough."""


@pytest.fixture(scope="module", autouse=True)
def a_complete_lake(deployment):
    """The lake is complete before the faults, and a run over all weeks succeeds after all of them."""
    if deployment.lake() != deployment.undisturbed():
        assert deployment.wait_for_run(deployment.launch_range(RIDERSHIP_JOB)).status == "SUCCESS"
    yield
    assert deployment.wait_for_run(deployment.launch_range(RIDERSHIP_JOB)).status == "SUCCESS"
    assert deployment.lake() == deployment.undisturbed()


@pytest.fixture(autouse=True)
def an_undisturbed_lake(deployment):
    """After each test the lake equals the undisturbed one."""
    yield
    assert deployment.lake() == deployment.undisturbed()


def started(deployment):
    """Start a run over one week and return its id once it is in progress in its container."""
    launched = deployment.launch(RIDERSHIP_JOB, WEEK)
    deployment.container_of(launched)
    wait_until(lambda: deployment.run(launched).status == "STARTED", "the run to start", every=0.05)
    return launched


@pytest.fixture
def run(deployment):
    """The id of a run in progress."""
    return started(deployment)


def failure(deployment, **tags):
    """Launch a run that must fail and return its log."""
    run = deployment.wait_for_run(deployment.launch(RIDERSHIP_JOB, WEEK, **ONCE, **tags))
    assert run.status == "FAILURE"
    return deployment.web.log(run.id)


def test_a_run_whose_container_is_killed_is_retried_and_its_container_is_kept(deployment, run):
    container = deployment.container_of(run)
    container.kill()
    assert deployment.wait_for_run(run).status == "FAILURE"
    assert "exited, with exit code 137" in deployment.web.log(run)
    retry = deployment.wait_for_retry(run)
    assert retry.status == "SUCCESS"
    deployment.wait_for_containers_to_go(retry.id)
    container.reload()  # the caretaker has processed both
    assert (container.status, container.attrs["State"]["ExitCode"]) == ("exited", 137)


def test_a_run_that_runs_out_of_memory_reports_it_and_is_retried(deployment):
    # The raised score makes the kernel kill the container's first process once the other has used up the memory.
    script = "open('/proc/1/oom_score_adj', 'w').write('1000'); hog = b'x' * (4 << 30)"
    feed = deployment.part("feed")
    feed.pause()  # the run waits for the feed, so it is still running when the memory is used up
    try:
        run = started(deployment)
        deployment.container_of(run).exec_run(["python", "-c", script], detach=True)
        assert deployment.wait_for_run(run).status == "FAILURE"
    finally:
        feed.unpause()
    assert "Out of memory: the container may use 2048 MiB" in deployment.web.log(run)
    assert deployment.wait_for_retry(run).status == "SUCCESS"


def test_a_run_that_runs_out_of_memory_during_startup_reports_it(deployment):
    log = failure(deployment, **{"run-container/memory": "40m"})
    assert "Out of memory: the container may use 40 MiB" in log
    assert "run-container/memory" in log


def test_a_missing_image_fails_the_run_and_is_named(deployment, engine):
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


def test_a_run_survives_a_restart_of_the_code_server(deployment, run):
    deployment.part("code-server").restart(timeout=5)
    assert deployment.wait_for_run(run).status == "SUCCESS"
    wait_until(lambda: deployment.healthy("code-server"), "the code server")


def test_a_backfill_survives_a_restart_of_the_database_or_completes_when_it_is_launched_again(deployment):
    backfill = deployment.backfill()
    deployment.started_run_of(backfill)
    deployment.restart_database()
    status = deployment.wait_for_backfill(backfill)
    if status == "COMPLETED_FAILED":
        # Dagster notes shortly after a run has failed that it will be retried. A backfill that looks in between ends.
        backfill = deployment.backfill()
        status = deployment.wait_for_backfill(backfill)
    assert status == "COMPLETED_SUCCESS", deployment.runs_of(backfill)


def test_a_missing_variable_fails_the_run_and_is_named(deployment):
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


def test_a_full_disk_fails_the_run_with_the_path_and_keeps_the_existing_files(deployment):
    with full_disk(deployment):
        log = failure(deployment)
        assert deployment.lake() == deployment.undisturbed()
    assert "Not written, any previous file remains: No space left on device" in log
    assert "/lake/" in log


def test_a_canceled_run_ends_and_its_container_is_removed(deployment):
    with locked_week(deployment):
        run = started(deployment)
        deployment.web.terminate(run)
        assert deployment.wait_for_run(run).status == "CANCELED"
    deployment.wait_for_containers_to_go(run)


@contextlib.contextmanager
def locked_week(deployment):
    """Let runs wait before they write the readings of the week, until the block ends."""
    lock = f"fcntl.flock(os.open('/lake/staged/turnstile_readings/week={WEEK}', os.O_RDONLY), fcntl.LOCK_EX)"
    holder = deployment.engine.containers.run(
        IMAGE,
        ["python", "-c", f"import fcntl, os, time; {lock}; print('locked', flush=True); time.sleep(3600)"],
        volumes=["mta-test-lake:/lake"],
        network_disabled=True,
        detach=True,
    )
    try:
        wait_until(lambda: b"locked" in holder.logs(), "the lock")
        yield
    finally:
        holder.remove(force=True)


@contextlib.contextmanager
def full_disk(deployment):
    """Fill the lake's disk until the block ends."""
    writer = "import shutil; open('/lake/filler', 'wb').write(bytes(shutil.disk_usage('/lake').free))"
    in_lake = {"volumes": ["mta-test-lake:/lake"], "remove": True, "network_disabled": True}
    deployment.engine.containers.run(IMAGE, ["python", "-c", writer], **in_lake)
    try:
        yield
    finally:
        deployment.engine.containers.run(IMAGE, ["rm", "/lake/filler"], **in_lake)
