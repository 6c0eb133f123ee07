"""What is in the image and what is not, and that it survives a registry."""

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

from mta_pipeline_tests.containers.deployment import absent, free_port, wait_until

MEGABYTE = 1_000_000


@dataclass
class Contents:
    """The files that our Dockerfile adds to its base, by path, and what the image says of itself."""

    config: dict[str, object]
    hashes: dict[str, str] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    """What is in a file, unless it was compiled, or unpacked from a package whose hash is in the lock."""


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
    """Files that are as a package of the lock has them, by the hash in its RECORD, and those compiled from them."""
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
def test_no_secret_is_in_a_layer_or_in_what_the_image_says_of_itself(contents, tmp_path):
    ours = {path for path in contents.texts if path.startswith(("opt/mta_pipeline/mta_pipeline/", "opt/dagster/"))}
    assert len(ours) > 70
    assert len(contents.texts) < 2_000  # the rest is as published, hashes verified: see from_packages
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
        image.write_text("\n".join(said(contents.config)))
        found += [f"{secret.line_number}: {secret.type}" for secret in scan_file(str(image))]
    assert found == []


def said(config):
    """What the image tells whoever asks: variables, commands, labels, and how it was built, hashes of layers apart."""
    told = config["config"]
    built = [
        re.sub(r"(sha256|dir|file|multi):[0-9a-f]{64}", "", entry.get("created_by", "")) for entry in config["history"]
    ]
    return [*told["Env"], *told["Cmd"], *(f"{name}={value}" for name, value in told["Labels"].items()), *built]


def harmless(path):
    """Lists of hashes, and the project's own page-long tables, which look random to a scanner."""
    return path.endswith((".dist-info/RECORD", ".csv"))


def test_the_scan_finds_a_secret_that_is_there(tmp_path):
    leaked = tmp_path / "settings.py"
    leaked.write_text('PASSWORD = "' + "hunter2" * 3 + '"\n')
    with default_settings():
        assert [secret.type for secret in scan_file(str(leaked))] == ["Secret Keyword"]


@pytest.mark.docker
def test_nothing_is_in_the_image_that_does_not_run(contents):
    paths = contents.hashes
    assert not [path for path in paths if Path(path).name in (".env", ".git", "pip.conf", ".netrc", "uv.toml")]
    assert not [path for path in paths if "/.cache/" in path or path.startswith(("root/", "build/", "opt/uv/"))]
    assert not [path for path in paths if "/site-packages/pyspark/" in path or "mta_pipeline_tests" in path]


@pytest.mark.docker
def test_what_runs_in_it_is_not_root_writes_nothing_and_compiles_nothing(engine, image):
    script = "id -u; for tool in cc gcc g++ make uv; do command -v $tool; done; touch /opt/dagster/x /lake/x; echo $?"
    said = (
        engine.containers.run(image, ["sh", "-c", script], read_only=True, remove=True, stderr=False).decode().split()
    )
    assert said == ["1000", "1"]


@pytest.mark.docker
def test_a_run_needs_no_more_than_a_lake_and_a_place_for_temporary_files(engine, image):
    said = engine.containers.run(
        image,
        ["sh", "-c", "mta-pipeline sample /tmp/feed --weeks 2014-10-18 --turnstiles 12 && mta-pipeline run"],
        environment={"MTA_FEED": "/tmp/feed", "LAKE_ROOT": "/lake", "DAGSTER_HOME": ""},
        read_only=True,
        cap_drop=["ALL"],
        tmpfs={"/tmp": "", "/lake": "uid=1000,gid=1000"},
        network_disabled=True,
        remove=True,
    ).decode()
    assert "2014-10-18" in said


@pytest.mark.docker
def test_the_image_says_what_it_is_and_how_to_ask_after_its_health(engine, image):
    attributes = engine.images.get(image).attrs
    labels = attributes["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "mta-pipeline"
    assert labels["org.opencontainers.image.revision"] == "under-test"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert attributes["Config"]["Healthcheck"]["Test"][0] == "CMD"
    assert attributes["Config"]["User"] == "mta"


@pytest.mark.docker
def test_the_image_is_no_larger_than_it_was(engine, image):
    sizes = [layer["Size"] for layer in engine.images.get(image).history() if "COPY" in layer["CreatedBy"]]
    assert sum(sizes) < 960 * MEGABYTE


@pytest.mark.docker
def test_dependencies_stay_when_only_the_code_changes(engine, image):
    """New code is a small layer over those that are there."""
    sizes = [layer["Size"] for layer in engine.images.get(image).history() if "COPY" in layer["CreatedBy"]]
    assert sizes[0] < MEGABYTE  # dagster.yaml and workspace.yaml
    assert sizes[1] < 3 * MEGABYTE  # the project
    assert sizes[2] > 100 * MEGABYTE  # its dependencies


@pytest.fixture
def registry(tmp_path):
    """A registry on this machine, in place of Docker Hub."""
    program = shutil.which("docker-registry")
    if program is None:
        absent("No docker-registry (Debian's package) on this machine")
    address = f"127.0.0.1:{free_port()}"
    settings = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": str(tmp_path)}}, "http": {"addr": address}}
    file = tmp_path / "config.yml"
    file.write_text(json.dumps(settings))
    with subprocess.Popen([program, "serve", str(file)], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: answers(address), "the registry")
            yield address
        finally:
            process.terminate()


def answers(address):
    try:
        return requests.get(f"http://{address}/v2/", timeout=5).ok
    except requests.ConnectionError:
        return False


@pytest.mark.docker
def test_the_image_comes_back_from_a_registry_as_it_was(engine, image, registry):
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
