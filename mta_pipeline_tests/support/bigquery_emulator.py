"""A BigQuery to test against: bqemulator in its own environment, and a session that adds what it does not support.

bqemulator ignores partition decorators and hive folders, and it reads gs:// URIs from a local directory. The session
sits between the client and the emulator. It records every request, and it turns a load that the emulator does not
support into steps that it does support. Tests therefore see the rows that a real load would give. They do not show that
the real BigQuery accepts such a request.
"""

import io
import json
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import requests
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from upath import UPath

from mta_pipeline.lake.storage import read_bytes

PROJECT = "parity"
EXECUTABLE = Path(
    os.environ.get("BQEMULATOR") or Path(__file__).parents[2] / ".venv" / "bqemulator" / "bin" / "bqemulator"
)


def missing() -> str | None:
    """Return what is missing to run the emulator here, or None."""
    return None if EXECUTABLE.is_file() else f"{EXECUTABLE} is missing: run make .venv/.bqemulator"


@contextmanager
def running(bucket_root: Path | None = None) -> Iterator[str]:
    """Run an emulator and yield its address; it reads gs:// URIs from the directory `bucket_root`."""
    port = _free_port()
    command = [EXECUTABLE, "start", "--rest-port", str(port), "--grpc-port", str(_free_port()), "--log-level", "error"]
    # The emulator's environment is its home directory, where DuckDB finds its extension: see the Makefile.
    environment = {**os.environ, "HOME": str(EXECUTABLE.parents[1])}
    if bucket_root is not None:
        environment["BQEMU_GCS_LOCAL_ROOT"] = str(bucket_root)
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
        try:
            _wait_for(process, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def client(address: str, session: requests.Session | None = None) -> bigquery.Client:
    """Return a client of the emulator."""
    return bigquery.Client(
        project=PROJECT,
        location="US",
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=address),
        _http=session,
    )


class Session(requests.Session):
    """Records what the client sends, and does what the emulator does not support."""

    def __init__(self, address: str, bucket_root: Path) -> None:
        super().__init__()
        self.address, self.bucket_root = address, bucket_root
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        self.jobs: set[str] = set()

    def loads(self) -> list[dict[str, Any]]:
        """The load jobs for files of the lake, as the client sent them."""
        return [body for _, _, body in self.sent if "sourceUris" in body.get("configuration", {}).get("load", {})]

    def queries(self) -> list[dict[str, Any]]:
        """The query jobs, as the client sent them."""
        return [body for _, _, body in self.sent if "query" in body.get("configuration", {})]

    def request(self, method: str, url: str, *, data: Any = None, **options: Any) -> requests.Response:
        body = json.loads(data) if isinstance(data, str) and data.startswith("{") else {}
        if body:
            self.sent.append((method, url, json.loads(data)))
        load = body.get("configuration", {}).get("load", {})
        if "sourceUris" in load:
            job_id = body["jobReference"]["jobId"]
            if job_id in self.jobs:
                return error_response(409, "duplicate", f"Already Exists: Job {job_id}")
            data = json.dumps(self._as_supported_steps(body, load))
        response = super().request(method, url, data=data, **options)
        if "sourceUris" in load and response.ok:
            self.jobs.add(job_id)
        return response

    def _as_supported_steps(self, body: dict[str, Any], load: dict[str, Any]) -> dict[str, Any]:
        [uri] = load["sourceUris"]
        rows = pl.read_parquet(io.BytesIO(read_bytes(UPath(uri))))
        target = load["destinationTable"]
        if "hivePartitioningOptions" in load:
            week = re.search(r"/week=([0-9-]{10})/", uri)[1]
            rows = rows.select(pl.lit(week).str.to_date().alias("week"), pl.all())
            target["tableId"], _, partition = target["tableId"].partition("$")
            assert partition == week.replace("-", "")
            table = f"`{target['projectId']}.{target['datasetId']}.{target['tableId']}`"
            where = f"{self.address}/bigquery/v2/projects/{target['projectId']}/queries"
            delete = {"query": f"DELETE FROM {table} WHERE week = DATE '{week}'", "useLegacySql": False}
            super().request("POST", where, json=delete).raise_for_status()
            load["writeDisposition"] = "WRITE_APPEND"
            for name in ("hivePartitioningOptions", "timePartitioning", "clustering"):
                load.pop(name, None)
        file = self.bucket_root / uri.removeprefix("gs://")
        file.parent.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(file)
        return body


def error_response(status: int, reason: str, message: str) -> requests.Response:
    """Return a response as BigQuery's, with an error."""
    response = requests.Response()
    response.status_code = status
    response._content = json.dumps({"error": {"message": message, "errors": [{"reason": reason}]}}).encode()
    response.headers["Content-Type"] = "application/json"
    response.request = requests.Request("POST", "http://127.0.0.1").prepare()
    return response


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(process: subprocess.Popen, port: int, log) -> None:
    for _ in range(600):
        if process.poll() is not None:
            log.seek(0)
            raise RuntimeError(f"bqemulator did not start: {log.read().decode()[-2000:]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("bqemulator did not respond within 60 s")
