"""One line per finished week. It is written to a run's log, and read from there to show progress in the terminal."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

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
        if self.done < 3 or self.done == self.total:
            return ""
        seconds = (time.monotonic() - self._started) / self.done * (self.total - self.done)
        if seconds < 2:
            return ""
        return f", about {seconds / 60:.0f} min left" if seconds >= 90 else f", about {seconds:.0f} s left"


def read_progress(message: str) -> WeekDone | None:
    """Parse a line of a run's log. Returns None if it is not a progress line."""
    match = _LINE.match(message)
    return match and WeekDone(match["table"], match["week"], int(match["done"]), int(match["total"]))
