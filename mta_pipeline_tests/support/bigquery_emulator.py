"""A BigQuery to test against: bqemulator, in an environment of its own, and a session that does what it cannot.

bqemulator ignores partition decorators and hive folders, and reads gs:// in a directory. The session is between the
client and it: it keeps every request for tests to look at, and carries such a load out in steps that the emulator
takes. So tests see the rows that a real load would give; that BigQuery reads the request so is not shown here.
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
    """What the emulator lacks to run here, or None if it is at hand."""
    return None if EXECUTABLE.is_file() else f"there is no {EXECUTABLE}: make .venv/.bqemulator"


@contextmanager
def running(bucket_root: Path | None = None) -> Iterator[str]:
    """A running emulator's address; `bucket_root` is the directory it reads gs:// in."""
    port = _free_port()
    command = [EXECUTABLE, "start", "--rest-port", str(port), "--grpc-port", str(_free_port()), "--log-level", "error"]
    # Its environment is its home, where DuckDB finds the extension that it needs: see the Makefile.
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
    """A client of the emulator."""
    return bigquery.Client(
        project=PROJECT,
        location="US",
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=address),
        _http=session,
    )


class Session(requests.Session):
    """Keeps what the client sends, and does for the emulator what that cannot do."""

    def __init__(self, address: str, bucket_root: Path) -> None:
        super().__init__()
        self.address, self.bucket_root = address, bucket_root
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        self.jobs: set[str] = set()

    def loads(self) -> list[dict[str, Any]]:
        """The load jobs that were begun with files of the lake, as they were sent."""
        return [body for _, _, body in self.sent if "sourceUris" in body.get("configuration", {}).get("load", {})]

    def queries(self) -> list[dict[str, Any]]:
        """The query jobs, as they were sent."""
        return [body for _, _, body in self.sent if "query" in body.get("configuration", {})]

    def request(self, method: str, url: str, *, data: Any = None, **options: Any) -> requests.Response:
        body = json.loads(data) if isinstance(data, str) and data.startswith("{") else {}
        if body:
            self.sent.append((method, url, json.loads(data)))
        load = body.get("configuration", {}).get("load", {})
        if "sourceUris" in load:
            job_id = body["jobReference"]["jobId"]
            if job_id in self.jobs:
                return _answer(409, f"Already Exists: Job {job_id}")
            self.jobs.add(job_id)
            data = json.dumps(self._in_steps(body, load))
        return super().request(method, url, data=data, **options)

    def _in_steps(self, body: dict[str, Any], load: dict[str, Any]) -> dict[str, Any]:
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


def _answer(status: int, message: str) -> requests.Response:
    answer = requests.Response()
    answer.status_code = status
    answer._content = json.dumps({"error": {"message": message, "errors": [{"reason": "duplicate"}]}}).encode()
    answer.headers["Content-Type"] = "application/json"
    answer.request = requests.Request("POST", "http://127.0.0.1").prepare()
    return answer


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
    raise RuntimeError("bqemulator does not answer after 60 s")
