"""Progress of long operations, as lines of a log: one per finished week, and one now and then while a file is read.

The lines of weeks are also read from the log, to show progress in the terminal.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

SECONDS_BETWEEN_LINES: Final = 10.0

_LINE: Final = re.compile(r"(?P<table>\w+): week (?P<week>\d{4}-\d\d-\d\d) \((?P<done>\d+) of (?P<total>\d+)\)")


class WeekDone(NamedTuple):
    """A parsed progress line."""

    table: str
    week: str
    done: int
    total: int


@dataclass
class Progress:
    """Logs each finished week. From the third week on, the line includes an estimate of the remaining time."""

    table: str
    total: int
    log: Callable[[str], None]
    done: int = 0
    _started: float = field(default_factory=time.monotonic)

    def week(self, week: str, outcome: str) -> None:
        """Log that a week is finished, with its outcome."""
        self.done += 1
        self.log(f"{self.table}: week {week} ({self.done} of {self.total}) {outcome}{self._time_left()}")

    def _time_left(self) -> str:
        if self.done < 3:
            return ""
        return _time_left(time.monotonic() - self._started, self.done / self.total)


@dataclass
class FileProgress:
    """Logs how much of a file is read, at the beginning, the end and every `SECONDS_BETWEEN_LINES`."""

    log: Callable[[str], None]
    _name: str = ""
    _done: int = 0
    _started: float = 0
    _logged: float = 0

    def __call__(self, name: str, done: int, total: int) -> None:
        """Log a file's number of bytes read, if it is time to do so."""
        now = time.monotonic()
        if name != self._name:
            self._name, self._started = name, now
        elif self._done == total or (done < total and now - self._logged < SECONDS_BETWEEN_LINES):
            return
        self._logged, self._done = now, done
        self.log(f"{name}: {done / total:.0%} read{_time_left(now - self._started, done / total)}")


def _time_left(seconds: float, share_done: float) -> str:
    left = seconds / share_done * (1 - share_done)
    if left < 2:
        return ""
    return f", about {left / 60:.0f} min left" if left >= 90 else f", about {left:.0f} s left"


def read_progress(message: str) -> WeekDone | None:
    """Parse a line of a run's log. Returns None if it is not a progress line."""
    match = _LINE.match(message)
    return match and WeekDone(match["table"], match["week"], int(match["done"]), int(match["total"]))
