"""A Docker engine, the image and one deployment for all tests that need them."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException, ImageNotFound

from mta_pipeline.orchestration.keys import REFERENCE_JOB
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.containers.deployment import HERE, IMAGE, POSTGRES, Deployment, build, skip_or_fail_in_ci


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The machine's Docker engine. In CI it is required."""
    reason = "" if shutil.which("docker") else "no docker on the PATH"
    client = None
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        reason = str(error)
    if client is None or reason:
        skip_or_fail_in_ci(f"No Docker engine: {reason}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> str:
    """The image built from the Dockerfile."""
    build("--tag", IMAGE, "--build-arg", "REVISION=under-test", REPOSITORY)
    return IMAGE


@pytest.fixture(scope="session")
def deployment(
    engine: docker.DockerClient, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A running deployment with the reference tables in its lake."""
    _ensure_postgres_image(engine)
    deployed = Deployment(tmp_path_factory.mktemp("deployment"), engine)
    deployed.down()  # what a killed run of the tests left
    try:
        deployed.up()
        assert deployed.wait_for_run(deployed.launch(REFERENCE_JOB)).status == "SUCCESS"
        yield deployed
    finally:
        _keep_logs(deployed)
        deployed.down()


def _ensure_postgres_image(engine: docker.DockerClient) -> None:
    """Use the image that compose.yaml names, or build a substitute under its name if it cannot be pulled."""
    try:
        engine.images.get(POSTGRES)
    except ImageNotFound:
        build("--build-arg", f"MIRROR={_mirror()}", "--file", HERE / "postgres.Dockerfile", "--tag", POSTGRES, HERE)


def _keep_logs(deployed: Deployment) -> None:
    folder = Path(os.environ.get("TEST_DOCKER_LOGS") or deployed.folder)
    for part in deployed.parts:
        (folder / f"{part.name}.log").write_bytes(part.logs())


def _mirror() -> str:
    """The mirror of this machine's Debian packages, or an empty string if it is not configured."""
    sources = (path.read_text() for path in Path("/etc/apt/sources.list.d").glob("*.sources"))
    addresses = [line.split()[1] for text in sources for line in text.splitlines() if line.startswith("URIs:")]
    return addresses[0] if addresses else ""
