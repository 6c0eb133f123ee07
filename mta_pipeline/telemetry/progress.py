"""One line per week done: written into a run's log, and read from there to show progress on a terminal."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

_LINE: Final = re.compile(r"(?P<table>\w+): week (?P<week>\d{4}-\d\d-\d\d) \((?P<done>\d+) of (?P<total>\d+)\)")


class WeekDone(NamedTuple):
    """A progress line, read back."""

    table: str
    week: str
    done: int
    total: int


@dataclass
class Progress:
    """Tells a log of each week that is done, with an estimate of the time left once there is ground for one."""

    table: str
    total: int
    log: Callable[[str], None]
    done: int = 0
    _started: float = field(default_factory=time.monotonic)

    def week(self, week: str, outcome: str) -> None:
        """Log that a week is done, and with what outcome."""
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
    """The week that a line of a run's log says is done, if it is a progress line."""
    match = _LINE.match(message)
    return match and WeekDone(match["table"], match["week"], int(match["done"]), int(match["total"]))
