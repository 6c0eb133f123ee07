"""What can break in a deployment, and how it ends: by name, or well."""

import contextlib

import pytest

from mta_pipeline.build import RIDERSHIP_JOB
from mta_pipeline_tests.containers.deployment import IMAGE, WEEKS
from mta_pipeline_tests.drills.ground import wait_until

pytestmark = pytest.mark.docker

ONCE = {"dagster/max_retries": "0"}
"""Tags of a run that is not tried again: of a fault that stays, one failure is enough to look at."""


def fails(deployment, week=WEEKS[0], **tags):
    """What the log says of a run that must fail."""
    run = deployment.wait_for_run(deployment.launch(RIDERSHIP_JOB, week, **ONCE, **tags))
    assert run.status == "FAILURE"
    return deployment.web.log(run.id)


@pytest.fixture(autouse=True)
def ends_well(deployment):
    """After each fault the deployment is as before: a backfill succeeds, and the lake is as if nothing had happened."""
    yield
    assert deployment.wait_for_backfill(deployment.backfill()) == "COMPLETED_SUCCESS"
    assert deployment.lake() == deployment.undisturbed()


def test_a_run_that_is_out_of_memory_before_it_begins_says_so(deployment):
    log = fails(deployment, **{"run-container/memory": "40m"})
    assert "Out of memory: its container may use 40 MiB" in log
    assert "run-container/memory" in log


def test_a_run_that_runs_out_of_memory_says_so(deployment):
    backfill = deployment.backfill()
    run = deployment.started_run_of(backfill)
    # The kernel ends whoever has volunteered, once something else in the container has used the memory up.
    deployment.container_of(run.id).exec_run(
        ["python", "-c", "open('/proc/1/oom_score_adj', 'w').write('1000'); hog = b'x' * (2 << 30)"], detach=True
    )
    assert deployment.wait_for_run(run.id).status == "FAILURE"
    assert "Out of memory: its container may use 1024 MiB" in deployment.web.log(run.id)
    assert deployment.wait_for_backfill(backfill) == "COMPLETED_SUCCESS"  # it was tried again


def test_a_run_whose_container_is_killed_is_tried_again(deployment):
    backfill = deployment.backfill()
    run = deployment.started_run_of(backfill)
    deployment.container_of(run.id).kill()
    assert deployment.wait_for_run(run.id).status == "FAILURE"
    assert "exited, with exit code 137" in deployment.web.log(run.id)
    assert deployment.wait_for_backfill(backfill) == "COMPLETED_SUCCESS"


def test_the_log_of_a_failed_run_outlives_it(deployment):
    run = deployment.launch(RIDERSHIP_JOB, WEEKS[0], **ONCE)
    container = deployment.container_of(run)
    container.kill()
    assert deployment.wait_for_run(run).status == "FAILURE"
    later = deployment.launch(RIDERSHIP_JOB, WEEKS[0])
    assert deployment.wait_for_run(later).status == "SUCCESS"
    deployment.wait_for_containers_to_go(later)  # the caretaker has looked at both
    container.reload()
    assert container.status == "exited"
    container.logs()


def test_a_missing_image_fails_the_run_by_its_name(deployment, engine):
    image = engine.images.get(IMAGE)
    image.tag("mta-pipeline", "kept")
    engine.images.remove(IMAGE, noprune=True)
    try:
        log = fails(deployment)
    finally:
        image.tag(*IMAGE.split(":"))
        engine.images.remove("mta-pipeline:kept", noprune=True)
    assert "mta-pipeline" in log
    assert "Marking the run as failed" in log


def test_a_run_does_not_notice_that_the_code_server_is_restarted(deployment):
    backfill = deployment.backfill()
    run = deployment.started_run_of(backfill)
    deployment.part("code-server").restart(timeout=5)
    assert deployment.wait_for_run(run.id).status == "SUCCESS"
    assert deployment.wait_for_backfill(backfill) == "COMPLETED_SUCCESS"
    wait_until(lambda: deployment.healthy("code-server"), "the code server")


def test_a_backfill_outlives_a_restart_of_the_database(deployment):
    backfill = deployment.backfill()
    deployment.started_run_of(backfill)
    deployment.part("postgres").restart(timeout=5)
    wait_until(lambda: deployment.healthy("postgres"), "the database")
    assert deployment.wait_for_backfill(backfill) == "COMPLETED_SUCCESS"


def test_a_variable_that_the_daemon_does_not_have_fails_the_run_by_name(deployment):
    with deployment.settings(lambda text: text.replace("- MTA_LAST_WEEK", "- MTA_LAST_WEEK\n      - MTA_NOWHERE_SET")):
        log = fails(deployment)
    assert "MTA_NOWHERE_SET" in log


def test_a_variable_that_the_container_does_not_get_fails_the_run_by_name(deployment):
    with deployment.settings(lambda text: text.replace("      - DAGSTER_POSTGRES_PASSWORD\n", "")):
        log = fails(deployment)
    assert "Ended before it began" in log
    assert "DAGSTER_POSTGRES_PASSWORD" in log


def test_a_run_without_a_feed_says_which_variable_gives_it_one(deployment):
    with deployment.settings(lambda text: text.replace("      - MTA_FEED\n", "")):
        assert "MTA_FEED" in fails(deployment)


def test_of_two_runs_over_the_same_week_one_waits_for_the_other(deployment):
    runs = [deployment.launch(RIDERSHIP_JOB, WEEKS[1]) for _ in range(2)]
    first, second = sorted((deployment.wait_for_run(run) for run in runs), key=lambda run: run.started)
    assert (first.status, second.status) == ("SUCCESS", "SUCCESS")
    assert first.ended <= second.started


def test_a_full_disk_fails_the_run_by_name_and_leaves_what_was_there(deployment):
    before = deployment.lake()
    with filled(deployment):
        log = fails(deployment)
        assert deployment.lake().keys() - before.keys() == {"filler"}
    assert "Not written, what was there stays: No space left on device" in log
    assert "/lake/" in log


def test_a_cancelled_run_ends_and_its_container_goes(deployment):
    run = deployment.started_run_of(deployment.backfill())
    deployment.web.terminate(run.id)
    assert deployment.wait_for_run(run.id).status == "CANCELED"
    deployment.wait_for_containers_to_go(run.id)


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
