"""`make dev`: Dagster's `dg dev` without warnings about the usual setup of this project, unless it is running already.

Each directory of records has one UI at most, because two daemons would start everything twice.
"""

import fcntl
import logging
import os
import signal
import socket
import sys
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import dagster as dg
from dagster_dg_cli.cli import cli

from mta_pipeline.cli import settings_with_records
from mta_pipeline.cli.exit_codes import CommandError, ExitCode
from mta_pipeline.cli.places import make_home
from mta_pipeline.orchestration.dagster_internals import skip_older_events

_HOST: Final = "127.0.0.1"


def dev() -> None:
    """Run the UI and the daemon on the port of MTA_UI, or the next free one.

    Raises:
        CommandError: they are running already.
    """
    settings = settings_with_records(creates=True)
    home = settings.dagster_home
    assert home is not None
    make_home(home)
    port = _free_port(urlsplit(settings.ui).port or 3000)
    _lock(home / ".dev", f"http://{_HOST}:{port}")
    # In the background, a shell ignores SIGINT, and Dagster would then ignore SIGTERM, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.getLogger("dagster").addFilter(_is_of_use)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        skip_older_events(instance)
    cli(["dev", "--port", str(port)])


def _is_of_use(record: logging.LogRecord) -> bool:
    # The project's dagster.yaml is used: the directory of the records has a link to it.
    return "dagster.yaml" not in record.getMessage()


def _lock(file: Path, address: str) -> None:
    """Lock a file for as long as this process lives, and write its address there.

    Raises:
        CommandError: another process has locked it.
    """
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        where, _, process = os.read(handle, 200).decode().partition(" ")
        problem = (
            f"make dev is already running: open {where} (process {process}, records in {file.parent}). "
            f"To end it, press Ctrl-C in its terminal, or: kill {process}"
        )
        raise CommandError(ExitCode.PROBLEMS, problem) from error
    os.truncate(handle, 0)
    os.write(handle, f"{address} {os.getpid()}".encode())


def _free_port(first: int) -> int:
    def is_free(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((_HOST, port)) != 0

    return next(filter(is_free, count(first)))


if __name__ == "__main__":
    try:
        dev()
    except CommandError as problem:
        problem.show()
        sys.exit(problem.exit_code)
