"""Spark servers on 127.0.0.1: a standalone cluster of a master and a worker, and a Spark Connect server.

`python -m mta_pipeline_tests.support.spark_servers LAKE MASTER FOLDER MART...` computes the marts on such a server and
writes them to FOLDER. It runs in its own process, because a process can use Spark in-process or by Connect, not both.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import polars as pl

from mta_pipeline.engines import open_lake

_HOST = "127.0.0.1"
_DEPLOY = "org.apache.spark.deploy"
_CONNECT_SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"
_TIMEOUT = 120


@contextmanager
def standalone() -> Iterator[str]:
    """Run a standalone cluster and yield its address, spark://host:port."""
    with tempfile.TemporaryDirectory(prefix="mta-spark-") as folder, ExitStack() as processes:
        port, address = _free_port(), ["--host", _HOST, "--webui-port", "0"]
        master = ["spark-class", f"{_DEPLOY}.master.Master", *address, "--port", str(port)]
        processes.enter_context(_running(master, Path(folder) / "master.log", port))
        url = f"spark://{_HOST}:{port}"
        limits = ["--cores", "2", "--memory", "1g", "--work-dir", folder]
        worker = ["spark-class", f"{_DEPLOY}.worker.Worker", *address, *limits, url]
        processes.enter_context(_running(worker, Path(folder) / "worker.log"))
        yield url


@contextmanager
def connect() -> Iterator[str]:
    """Run a Spark Connect server and yield its address, sc://host:port."""
    with tempfile.TemporaryDirectory(prefix="mta-spark-") as folder:
        port = _free_port()
        settings = {
            "spark.connect.grpc.binding.address": _HOST,
            "spark.connect.grpc.binding.port": str(port),
            "spark.ui.enabled": "false",
        }
        options = [word for key, value in settings.items() for word in ("--conf", f"{key}={value}")]
        server = ["spark-submit", "--master", "local[2]", "--class", _CONNECT_SERVER, *options]
        with _running(server, Path(folder) / "server.log", port):
            yield f"sc://{_HOST}:{port}"


def compute(lake_root: str, master: str, folder: Path, marts: Sequence[str]) -> None:
    """Compute marts on that server, in a separate process, and write each to the folder under its name."""
    command = [sys.executable, "-m", __name__, lake_root, master, folder, *marts]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Spark at {master} failed: {done.stderr[-2000:]}")


def _environment() -> dict[str, str]:
    import pyspark  # noqa: PLC0415

    # Bind the driver to this host, too.
    return {**os.environ, "SPARK_HOME": str(Path(pyspark.__file__).parent), "SPARK_LOCAL_IP": _HOST}


@contextmanager
def _running(command: list[str], log: Path, port: int | None = None) -> Iterator[None]:
    environment = _environment()
    program = Path(environment["SPARK_HOME"]) / "bin" / command[0]
    with log.open("w") as out, subprocess.Popen([program, *command[1:]], env=environment, stdout=out, stderr=out) as it:
        try:
            if port:
                _wait(it, port, log)
            yield
        finally:
            it.terminate()
            # Java ignores the signal if the process that started the tests ignores it.
            try:
                it.wait(20)
            except subprocess.TimeoutExpired:
                it.kill()


def _wait(process: subprocess.Popen, port: int, log: Path) -> None:
    for _ in range(_TIMEOUT * 10):
        if process.poll() is not None:
            raise RuntimeError(f"Spark did not start: {log.read_text()[-2000:]}")
        with socket.socket() as probe:
            if probe.connect_ex((_HOST, port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"Spark did not respond within {_TIMEOUT} s: {log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    with open_lake(sys.argv[1], "spark", spark_master=sys.argv[2]) as lake:
        for name in sys.argv[4:]:
            pl.DataFrame(pl.from_arrow(lake.to_pyarrow(name))).write_parquet(Path(sys.argv[3]) / f"{name}.parquet")
