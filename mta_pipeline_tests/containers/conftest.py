"""An engine, the image and one deployment for all tests that need them."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException, ImageNotFound

from mta_pipeline.orchestration.keys import REFERENCE_JOB
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.containers.deployment import HERE, IMAGE, POSTGRES, Deployment, absent, build


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The machine's Docker engine. CI must have it."""
    word = "" if shutil.which("docker") else "there is no docker on the path"
    client = None
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        word = str(error)
    if client is None or word:
        absent(f"No Docker engine: {word}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> str:
    """The image as the Dockerfile makes it."""
    build("--tag", IMAGE, "--build-arg", "REVISION=under-test", REPOSITORY)
    return IMAGE


@pytest.fixture(scope="session")
def deployment(
    engine: docker.DockerClient, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A deployment that runs, with the reference tables in its lake."""
    _have_postgres(engine)
    deployed = Deployment(tmp_path_factory.mktemp("deployment"), engine)
    deployed.down()  # what a run of the tests that was killed has left
    try:
        deployed.up()
        assert deployed.wait_for_run(deployed.launch(REFERENCE_JOB)).status == "SUCCESS"
        yield deployed
    finally:
        _keep_logs(deployed)
        deployed.down()


def _have_postgres(engine: docker.DockerClient) -> None:
    """The image that compose.yaml names, or where none can be pulled a stand-in under its name."""
    try:
        engine.images.get(POSTGRES)
    except ImageNotFound:
        build("--build-arg", f"MIRROR={_mirror()}", "--file", HERE / "postgres.Dockerfile", "--tag", POSTGRES, HERE)


def _keep_logs(deployed: Deployment) -> None:
    folder = Path(os.environ.get("TEST_DOCKER_LOGS") or deployed.folder)
    for part in deployed.parts:
        (folder / f"{part.name}.log").write_bytes(part.logs())


def _mirror() -> str:
    """Where this machine's own packages come from, if it is a Debian; nothing if it does not say."""
    sources = (path.read_text() for path in Path("/etc/apt/sources.list.d").glob("*.sources"))
    places = [line.split()[1] for text in sources for line in text.splitlines() if line.startswith("URIs:")]
    return places[0] if places else ""
