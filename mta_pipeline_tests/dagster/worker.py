"""A process that runs weeks on request, each time in a new child process that may be killed, limited or duplicated.

A request is a line of JSON on standard input; see `Order`. The response is one line per child that ended normally, with
the failures of its run, and a last line with the exit codes. Children are forked, so Dagster is imported only once.
"""

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Order:
    """What to run, and which fault to inject."""

    feed: str
    lake_root: str
    weeks: Sequence[str]
    kill_in_write: int | None = None
    """The write to the lake, counted from 1, during which the process is killed: after its bytes, before the rename."""
    disk_full_after: int | None = None
    """The number of writes to the lake that succeed before the file system refuses all further bytes."""
    children: int = 1
    """The number of children that do the same at once."""


@dataclass(frozen=True)
class Result:
    """The exit codes (negative: the signal that ended the child) and the failures of each child that ended normally."""

    codes: list[int]
    failures: list[list[str]]


class Worker:
    """The worker process, seen from a test."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, order: Order) -> Result:
        """Run an order and return its result."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        failures = []
        while not isinstance(line := json.loads(self._process.stdout.readline()), dict):
            failures.append(line)
        return Result(line["codes"], failures)


@contextlib.contextmanager
def start_worker() -> Iterator[Worker]:
    """Start a worker that has imported everything it needs."""
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


def _run(order: Order) -> None:
    """In the child: run the order and print what failed."""
    import dagster as dg  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from mta_pipeline.cli.run import run_weeks  # noqa: PLC0415
    from mta_pipeline.lake import storage  # noqa: PLC0415
    from mta_pipeline.settings import Settings  # noqa: PLC0415

    writes = 0

    def count(descriptor: int) -> None:
        nonlocal writes
        writes += 1
        if writes == order.kill_in_write:
            os.kill(os.getpid(), signal.SIGKILL)
        fill_disk_if_due()

    def fill_disk_if_due() -> None:
        if writes == order.disk_full_after:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    storage.os.fsync = count  # type: ignore[attr-defined]
    settings: Any = Settings(feed=order.feed, lake_root=order.lake_root)  # type: ignore[call-arg]
    with dg.DagsterInstance.ephemeral() as instance:
        fill_disk_if_due()
        outcome = run_weeks(settings, order.weeks, instance, Console(file=io.StringIO()))
    print(json.dumps([*outcome.failed_weeks.values(), *outcome.failures]), flush=True)


def _fork(order: Order) -> int:
    child = os.fork()
    if child:
        return child
    try:
        _run(order)
        os._exit(0)
    finally:
        os._exit(1)


def _main() -> None:
    import dagster as dg  # noqa: PLC0415

    import mta_pipeline.cli.run  # noqa: PLC0415, F401  # imported before the fork, for all children

    # Do not touch a frame before the fork: Polars' threads do not survive in children.
    with dg.DagsterInstance.ephemeral():
        pass
    for line in sys.stdin:
        order = Order(**json.loads(line))
        children = [_fork(order) for _ in range(order.children)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps({"codes": codes}), flush=True)


if __name__ == "__main__":
    _main()
