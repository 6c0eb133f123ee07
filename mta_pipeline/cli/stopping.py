"""Ctrl-C and SIGTERM: the first one stops a command with a message, the second one kills it.

While Dagster executes a run, it replaces the handlers of both signals and treats them alike. So a thread learns from
Python's wakeup descriptor which signal has arrived.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import click

from mta_pipeline.cli.ascii import ascii_without_utf8
from mta_pipeline.cli.exit_codes import ExitCode

_GRACE: Final = 5.0
"""Seconds that a command has to stop in order. A request that the feed does not answer would take longer."""

_SIGNALS: Final = {
    int(signal.SIGINT): ("Ctrl-C", ExitCode.INTERRUPTED),
    int(signal.SIGTERM): ("SIGTERM", ExitCode.TERMINATED),
}
_SHOW_CURSOR: Final = "\x1b[?25h"


class StoppableGroup(click.Group):
    """A group of commands that end with a message and an exit code if a signal stops them.

    Terminals without UTF-8 get ASCII.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        with ascii_without_utf8():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with STOP.on_signals():
            return super().invoke(ctx)


class Stop:
    """The signal that stops the command of this process, and what the message says besides."""

    def __init__(self) -> None:
        self.advice: Callable[[], str] = str
        """Returns what is complete and how to continue."""
        self._by = signal.SIGINT.value
        self._is_requested = threading.Event()
        self._telling = threading.Lock()
        self._is_told = False

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Stop the block at the first signal. A block that ends without an error, like a server's, needs no message."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
        wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(read,), daemon=True).start()
        try:
            yield
        except BaseException as error:
            # The thread may need a moment to read the signal that has raised the error.
            if self._is_requested.wait(1 if isinstance(error, KeyboardInterrupt) else 0):
                self._tell()
                sys.exit(_SIGNALS[self._by][1])
            raise
        finally:
            if not self._is_requested.is_set():
                signal.set_wakeup_fd(wakeup)
                signal.signal(signal.SIGTERM, handler)
                os.close(write)

    def raise_if_requested(self) -> None:
        """Stop here if a signal has arrived. Dagster takes it for a failure of the run."""
        if self._is_requested.is_set():
            raise KeyboardInterrupt

    def _watch(self, descriptor: int) -> None:
        with open(descriptor, "rb", buffering=0) as signals:
            while number := signals.read(1):
                if number[0] not in _SIGNALS:
                    continue
                if self._is_requested.is_set():
                    os._exit(_SIGNALS[number[0]][1])
                self._by = number[0]
                self._is_requested.set()
                threading.Thread(target=self._end_after_grace, daemon=True).start()

    def _end_after_grace(self) -> None:
        time.sleep(_GRACE)
        self._tell()
        os._exit(_SIGNALS[self._by][1])

    def _tell(self) -> None:
        with self._telling:
            if self._is_told:
                return
            self._is_told = True
            advice = ""
            with suppress(Exception):  # The lake may be what does not answer.
                advice = self.advice()
            cursor = _SHOW_CURSOR if sys.stderr.isatty() else ""
            click.echo(f"{cursor}Stopped by {_SIGNALS[self._by][0]}. {advice}".rstrip(), err=True)


STOP: Final = Stop()
"""Signals are those of the process, so there is one for all commands."""
