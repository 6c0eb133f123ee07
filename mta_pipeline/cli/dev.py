"""Starts the UI of `make dev`, unless it is running already: `python -m mta_pipeline.cli.dev dg dev`.

Each directory of records has one UI at most, because two daemons would start everything twice.
"""

import fcntl
import os
import socket
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from mta_pipeline.cli import settings_with_records
from mta_pipeline.cli.exit_codes import CommandError, ExitCode
from mta_pipeline.cli.places import make_home

_HOST: Final = "127.0.0.1"


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def dev(command: tuple[str, ...]) -> None:
    """Replace this process by COMMAND with a port: that of MTA_UI, or the next free one."""
    settings = settings_with_records(creates=True)
    home = settings.dagster_home
    assert home is not None
    make_home(home)
    port = _free_port(urlsplit(settings.ui).port or 3000)
    _lock(home / ".dev", f"http://{_HOST}:{port}")
    os.execvp(command[0], [*command, "--port", str(port)])  # noqa: S606


def _lock(file: Path, address: str) -> None:
    """Lock a file for as long as this process lives, also under another program, and write its address there.

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
    os.set_inheritable(handle, True)
    os.truncate(handle, 0)
    os.write(handle, f"{address} {os.getpid()}".encode())


def _free_port(first: int) -> int:
    def is_free(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((_HOST, port)) != 0

    return next(filter(is_free, count(first)))


if __name__ == "__main__":
    dev()
