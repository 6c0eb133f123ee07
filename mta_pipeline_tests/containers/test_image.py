"""Tests of the image: what it contains, what it does not contain, and that a registry preserves it."""

import base64
import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from detect_secrets.core.scan import scan_file
from detect_secrets.settings import default_settings

from mta_pipeline_tests.containers.deployment import free_port, skip_or_fail_in_ci, wait_until

MEGABYTE = 1_000_000


@dataclass
class Contents:
    """The files that our Dockerfile adds to its base, by path, and the image's configuration."""

    config: dict[str, object]
    hashes: dict[str, str] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    """The contents of a file, unless it was compiled or comes unchanged from a package whose hash is in the lock."""


@pytest.fixture(scope="module")
def contents(engine, image, tmp_path_factory):
    """The layers of the image above its base, as `docker save` writes them."""
    found = engine.images.get(image)
    saved = tmp_path_factory.mktemp("image") / "image.tar"
    with saved.open("wb") as file:
        file.writelines(found.save())
    with tarfile.open(saved) as archive:
        (manifest,) = json.load(archive.extractfile("manifest.json"))
        read = Contents(json.load(archive.extractfile(manifest["Config"])))
        layers = [entry for entry in read.config["history"] if not entry.get("empty_layer")]
        (first,) = (number for number, entry in enumerate(layers) if "useradd" in entry.get("created_by", ""))
        for layer in manifest["Layers"][first:]:
            with tarfile.open(fileobj=archive.extractfile(layer)) as files:
                for member in filter(tarfile.TarInfo.isfile, files):
                    data = files.extractfile(member).read()
                    read.hashes[member.name] = hashlib.sha256(data).hexdigest()
                    read.texts[member.name] = data
    saved.unlink()
    for path in from_packages(read):
        del read.texts[path]
    return read


def from_packages(contents):
    """Files that match the hash in the RECORD of a locked package, and the bytecode compiled from known sources."""
    published = {}
    for path, data in contents.texts.items():
        if path.startswith("opt/venv/") and path.endswith(".dist-info/RECORD"):
            packages = Path(path).parent.parent
            for name, digest, _ in csv.reader(io.StringIO(data.decode())):
                if digest:
                    published[str(packages / name)] = base64.urlsafe_b64decode(digest.split("=", 1)[1] + "==").hex()
    as_published = {path for path, digest in published.items() if contents.hashes.get(path) == digest}
    compiled = {path for path in contents.hashes if path.endswith(".pyc")}
    return as_published | {path for path in compiled if source_of(path) in contents.hashes}


def source_of(compiled):
    path = Path(compiled)
    return str(path.parent.parent / f"{path.name.split('.')[0]}.py")


@pytest.mark.docker
def test_no_secret_is_in_a_layer_or_in_the_configuration_of_the_image(contents, tmp_path):
    ours = {path for path in contents.texts if path.startswith(("opt/mta_pipeline/mta_pipeline/", "opt/dagster/"))}
    assert len(ours) > 70
    assert len(contents.texts) < 2_000  # all other files are as published, with verified hashes: see from_packages
    with default_settings():
        for path, data in contents.texts.items():
            place = tmp_path / "file" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        found = [
            f"{path}:{secret.line_number} {secret.type}"
            for path in contents.texts
            if not harmless(path)
            for secret in scan_file(str(tmp_path / "file" / path))
        ]
        image = tmp_path / "image.txt"
        image.write_text("\n".join(describe(contents.config)))
        found += [f"{secret.line_number}: {secret.type}" for secret in scan_file(str(image))]
    assert found == []


def describe(image):
    """What the image reveals: variables, commands, labels and build history, without the hashes of layers."""
    config = image["config"]
    built = [
        re.sub(r"(sha256|dir|file|multi):[0-9a-f]{64}", "", entry.get("created_by", "")) for entry in image["history"]
    ]
    return [*config["Env"], *config["Cmd"], *(f"{name}={value}" for name, value in config["Labels"].items()), *built]


def harmless(path):
    """Whether a file looks random to a scanner but is harmless: lists of hashes and the project's long tables."""
    return path.endswith((".dist-info/RECORD", ".csv"))


def test_the_scan_finds_a_known_secret(tmp_path):
    leaked = tmp_path / "settings.py"
    leaked.write_text('PASSWORD = "' + "hunter2" * 3 + '"\n')
    with default_settings():
        assert [secret.type for secret in scan_file(str(leaked))] == ["Secret Keyword"]


@pytest.mark.docker
def test_the_image_contains_no_files_that_it_does_not_need(contents):
    paths = contents.hashes
    assert not [path for path in paths if Path(path).name in (".env", ".git", "pip.conf", ".netrc", "uv.toml")]
    assert not [path for path in paths if "/.cache/" in path or path.startswith(("root/", "build/", "opt/uv/"))]
    assert not [path for path in paths if "/site-packages/pyspark/" in path or "mta_pipeline_tests" in path]


@pytest.mark.docker
def test_the_image_runs_without_root_and_has_no_write_access_or_compiler(engine, image):
    script = "id -u; for tool in cc gcc g++ make uv; do command -v $tool; done; touch /opt/dagster/x /lake/x; echo $?"
    output = (
        engine.containers.run(image, ["sh", "-c", script], read_only=True, remove=True, stderr=False).decode().split()
    )
    assert output == ["1000", "1"]


@pytest.mark.docker
def test_a_run_needs_only_a_lake_and_a_directory_for_temporary_files(engine, image):
    output = engine.containers.run(
        image,
        ["sh", "-c", "mta-pipeline sample /tmp/feed --weeks 2014-10-18 --turnstiles 12 && mta-pipeline run"],
        environment={"MTA_FEED": "/tmp/feed", "LAKE_ROOT": "/lake", "DAGSTER_HOME": ""},
        read_only=True,
        cap_drop=["ALL"],
        tmpfs={"/tmp": "", "/lake": "uid=1000,gid=1000"},
        network_disabled=True,
        remove=True,
    ).decode()
    assert "2014-10-18" in output


@pytest.mark.docker
def test_the_image_has_labels_and_a_health_check(engine, image):
    attributes = engine.images.get(image).attrs
    labels = attributes["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "mta-pipeline"
    assert labels["org.opencontainers.image.revision"] == "under-test"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert attributes["Config"]["Healthcheck"]["Test"][0] == "CMD"
    assert attributes["Config"]["User"] == "mta"


@pytest.mark.docker
def test_the_image_does_not_exceed_its_size_limit(engine, image):
    sizes = [layer["Size"] for layer in engine.images.get(image).history() if "COPY" in layer["CreatedBy"]]
    assert sum(sizes) < 960 * MEGABYTE


@pytest.mark.docker
def test_a_change_of_code_replaces_only_a_small_layer(engine, image):
    """The code is a small layer above the dependencies."""
    sizes = [layer["Size"] for layer in engine.images.get(image).history() if "COPY" in layer["CreatedBy"]]
    assert sizes[0] < MEGABYTE  # dagster.yaml and workspace.yaml
    assert sizes[1] < 3 * MEGABYTE  # the project
    assert sizes[2] > 100 * MEGABYTE  # its dependencies


@pytest.fixture
def registry(tmp_path):
    """A registry on this machine instead of Docker Hub."""
    program = shutil.which("docker-registry")
    if program is None:
        skip_or_fail_in_ci("No docker-registry on the PATH. Install the Debian package docker-registry.")
    address = f"127.0.0.1:{free_port()}"
    settings = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": str(tmp_path)}}, "http": {"addr": address}}
    file = tmp_path / "config.yml"
    file.write_text(json.dumps(settings))
    with subprocess.Popen([program, "serve", str(file)], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: is_up(address), "the registry")
            yield address
        finally:
            process.terminate()


def is_up(address):
    try:
        return requests.get(f"http://{address}/v2/", timeout=5).ok
    except requests.ConnectionError:
        return False


@pytest.mark.docker
def test_a_registry_returns_the_same_image(engine, image, registry):
    name = f"{registry}/owner/mta-pipeline"
    local = engine.images.get(image)
    local.tag(name, "1.2.3")
    pushed = engine.images.push(name, tag="1.2.3")
    assert "errorDetail" not in pushed, pushed[-500:]
    engine.images.remove(f"{name}:1.2.3", noprune=True)
    try:
        assert engine.images.pull(name, tag="1.2.3").id == local.id
    finally:
        engine.images.remove(f"{name}:1.2.3", noprune=True)
