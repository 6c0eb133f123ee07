"""A Google Cloud Storage to test against: an in-memory emulator and a fresh bucket per test.

A test module lists this module in `pytest_plugins`. The tests fill the bucket themselves.
"""

import os
import uuid
from collections.abc import Iterator

import fsspec
import pytest
from gcp_storage_emulator.server import Server, create_server

from mta_pipeline.lake import gcs

# gcsfs asks for the bucket type over gRPC, which the emulator does not support, and retries for minutes. gcsfs reads
# this variable when it is imported.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"


def _forget_cached_filesystems() -> None:
    """Clear the caches: clients keep their address and gcsfs keeps its listings, and neither may outlive a test."""
    fsspec.get_filesystem_class("gs").clear_instance_cache()
    gcs.client.cache_clear()


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[Server]:
    """Run an emulator on a free port, one per test process."""
    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    server._api._httpd.handle_error = lambda *_: None  # gcsfs hangs up on the slower of two requests
    yield server
    server.stop()


@pytest.fixture
def gcs_bucket(gcs_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`gs://<name>` of a new, empty bucket. All gs:// access in the test uses it, also in child processes."""
    host, port = gcs_server._api._httpd.server_address
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{host}:{port}")
    # Prevent a lookup of real credentials: here by fsspec's configuration, in child processes by the variable.
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
    monkeypatch.setenv("FSSPEC_GS_TOKEN", "anon")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    bucket = f"bucket-{uuid.uuid4().hex}"
    _forget_cached_filesystems()
    fsspec.filesystem("gs").mkdir(bucket)
    yield f"gs://{bucket}"
    _forget_cached_filesystems()
