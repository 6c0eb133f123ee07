"""The proxy of Docker's socket allows exactly the requests that the project sends."""

import datetime as dt
import logging
import re
import time

import dagster as dg
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.test_utils import create_run_for_test

from mta_pipeline.run_launchers.docker import ContainerRunLauncher
from mta_pipeline.run_launchers.reaper import reconcile
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.containers.deployment import wait_until

RUNS_UNTIL_STOPPED = ["sh", "-c", "trap exit TERM; while :; do sleep 0.1; done"]
"""The command of a run's container that runs until it is stopped."""


@pytest.fixture
def instance(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


@pytest.fixture
def launch(instance, image):
    """Launches a run whose container executes the given command, with the launcher of a deployment."""

    def launch_run(entry_point, status=dg.DagsterRunStatus.STARTING, image=image):
        launcher = ContainerRunLauncher(image=image, container_kwargs={"network_disabled": True})
        launcher.register_instance(instance)
        code = RepositoryPythonOrigin("python", ModuleCodePointer("m", "f"), entry_point=entry_point)
        run = create_run_for_test(instance, status=status, job_code_origin=JobPythonOrigin("job", code))
        launcher.launch_run(LaunchRunContext(run, workspace=None))
        return launcher, instance.get_run_by_id(run.run_id)

    return launch_run


@pytest.fixture
def allowed():
    """Returns whether the proxy allows a request, by the rules in its compose file."""
    text = (REPOSITORY / "deploy" / "docker" / "socket-proxy.yaml").read_text().replace("!reset", "")
    arguments = yaml.safe_load(text)["services"]["docker-proxy"]["command"]
    rules = dict(
        re.fullmatch(r"-allow([A-Z]+)=(.+)", rule).groups() for rule in arguments if re.match("-allow[A-Z]", rule)
    )
    return lambda method, path: method in rules and re.fullmatch(rules[method], path) is not None


def container_of(engine, run):
    return engine.containers.get(run.tags["docker/container_id"])


@pytest.mark.docker
def test_the_proxy_allows_all_requests_for_stopped_and_failed_containers(instance, engine, launch, allowed, caplog):
    caplog.set_level(logging.DEBUG, logger="urllib3.connectionpool")
    with pytest.raises(Exception, match="mta-pipeline-that-is-nowhere"):
        launch(["true"], image="mta-pipeline-that-is-nowhere:1")
    launcher, dead = launch(["sh", "-c", "echo NO_SUCH_VARIABLE; exit 3"])
    _, alive = launch(RUNS_UNTIL_STOPPED)
    instance.report_run_canceling(alive)
    wait_until(lambda: container_of(engine, dead).status == "exited", "the container to end")
    assert "exit code 3" in launcher.check_run_worker_health(dead).msg
    reconcile(instance, engine, dt.timedelta(days=14))
    assert instance.get_run_by_id(dead.run_id).status is dg.DagsterRunStatus.FAILURE
    assert "NO_SUCH_VARIABLE" in instance.all_logs(dead.run_id)[-1].message
    assert container_of(engine, alive).status == "exited"
    instance.report_run_canceled(alive)
    reconcile(instance, engine, dt.timedelta(0))
    time.sleep(1)
    reconcile(instance, engine, dt.timedelta(0))
    left = {container.id for container in engine.containers.list(all=True)}
    assert not left & {run.tags["docker/container_id"] for run in (dead, alive)}

    requests = [re.search(r'"([A-Z]+) (\S+?)(?:\?\S*)? HTTP', record.getMessage()) for record in caplog.records]
    sent = {match.groups() for match in requests if match}
    assert {("POST"), ("GET"), ("DELETE")} <= {method for method, _ in sent}
    assert {request for request in sent if not allowed(*request)} == set()


def test_the_proxy_refuses_all_other_requests(allowed):
    for method, path in (
        ("POST", "/v1.41/containers/abc/exec"),
        ("POST", "/v1.41/build"),
        ("POST", "/v1.41/volumes/create"),
        ("GET", "/v1.41/secrets"),
        ("GET", "/v1.41/containers/abc/archive"),
        ("PUT", "/v1.41/containers/abc/archive"),
        ("DELETE", "/v1.41/volumes/mta-lake"),
        ("DELETE", "/v1.41/images/abc"),
    ):
        assert not allowed(method, path), (method, path)


@pytest.mark.docker
def test_containers_of_other_deployments_are_kept(instance, engine, launch, tmp_path):
    _, run = launch(["true"])
    container = container_of(engine, run)
    container.wait()
    other = tmp_path / "other"
    other.mkdir()
    with dg.DagsterInstance.local_temp(str(other)) as elsewhere:
        reconcile(elsewhere, engine, dt.timedelta(0))
    container.reload()
    container.remove()
