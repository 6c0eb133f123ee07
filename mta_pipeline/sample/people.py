"""The number of people who have passed a turnstile by any moment, in closed form, and the resulting register values.

A turnstile's count is its people per week times a weekly curve (peaks on weekdays, quieter weekends). The curve is
read at a slightly distorted time, with a random distortion every four hours. The distortion is small enough that
time never runs backwards, so counts never fall, and no earlier state is needed. Events (resets, jumps) are rare and
drawn for all weeks at once: a register shows the count plus or minus the offset from the last event. Files are made
elsewhere.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final

import numpy as np

from mta_pipeline.sample.chance import Bools, Chance, Floats, Ints
from mta_pipeline.sample.faults import Faults
from mta_pipeline.sample.turnstiles import HOUR, REGISTERS, TOP, Turnstiles

EPOCH: Final = dt.date(2010, 1, 2)
"""The Saturday from which seconds and weeks are counted, some months before the first file."""
WEEK: Final = 7 * 24 * HOUR
HORIZON: Final = 1200
"""Maximum number of weeks from the epoch."""

_KNOT: Final = 4 * HOUR
_BEND: Final = 1.2 * HOUR
_CYCLE: Final = 8
_RESET_TURN, _JUMP_TURN = 0, 4
_OTHER_EDITION: Final = 1 << 40
_NONE, _RESET, _JUMP = 0, 1, 2

# Synthetic relative numbers by hour: weekday entries of a residential and of a business booth, and a weekend day.
_MORNING: Final = (2, 1, 1, 1, 3, 10, 28, 62, 70, 40, 24, 20, 20, 20, 22, 26, 28, 30, 26, 18, 12, 9, 7, 4)
_EVENING: Final = (5, 2, 1, 1, 1, 3, 8, 18, 26, 20, 18, 20, 24, 25, 30, 42, 58, 76, 60, 36, 22, 18, 14, 9)
_WEEKEND: Final = (7, 4, 2, 1, 1, 3, 6, 9, 13, 17, 20, 22, 24, 25, 25, 25, 25, 24, 22, 18, 14, 12, 11, 9)


def _week_curve(weekday: tuple[int, ...]) -> Floats:
    """The share of a week's people who have passed by each full hour: 169 numbers from 0 to 1, starting on Saturday."""
    # A file's week runs Saturday, Sunday, Monday ... Friday.
    hours = np.array((*_WEEKEND, *_WEEKEND, *weekday * 5), dtype=np.float64)
    passed = np.concatenate(([0.0], np.cumsum(hours)))
    return np.asarray(passed / passed[-1])


_CURVES: Final = {"residential": _week_curve(_MORNING), "business": _week_curve(_EVENING)}


@dataclass(frozen=True)
class _Events:
    """A register's events by turnstile and time. `offset` is register minus count after the event."""

    turnstile: Ints
    at: Ints
    kind: Ints
    offset: Ints

    def last_before(self, turnstile: Ints, at: Ints) -> Ints:
        """Index of each turnstile's last event up to a moment; without one, that of another turnstile, or -1."""
        horizon = HORIZON * WEEK
        return np.searchsorted(self.turnstile * horizon + self.at, turnstile * horizon + at, side="right") - 1


class People:
    """Simulates the people who pass, and the registers that count them.

    Turnstiles are numbers in the roster. Moments are whole seconds since the start of the epoch.
    """

    def __init__(self, turnstiles: Turnstiles, seed: int, faults: Faults, republished: frozenset[int]) -> None:
        self._turnstiles = turnstiles
        self._republished = np.array(sorted(republished), dtype=np.int64)
        self._bend = {register: Chance(seed, f"{register} bend") for register in REGISTERS}
        week = np.arange(HORIZON + 1)  # a distorted moment of the last week can be in the week after
        season = np.abs((week % 52) - 26) / 26.0
        self._level = 1.02 - 0.06 * season + 0.04 * (Chance(seed, "level").uniform(week) - 0.5)
        self._levels_before = np.concatenate(([0.0], np.cumsum(self._level)))
        self._events = self._draw_events(seed, faults)

    def passed(self, register: str, turnstile: Ints, at: Ints) -> Ints:
        """Return how many people have passed by a moment, since the epoch."""
        knot = at // _KNOT
        into = (at - knot * _KNOT) / _KNOT
        bent = at + _BEND * (
            (1.0 - into) * self._bend_at(register, turnstile, knot)
            + into * self._bend_at(register, turnstile, knot + 1)
        )
        week = np.floor(bent / WEEK).astype(np.int64)
        hours = (bent - week * WEEK) / HOUR
        hour = hours.astype(np.int64)
        share = self._turnstiles.business[register][turnstile]
        home, work = (
            curve[hour] + (hours - hour) * np.diff(curve)[hour]
            for curve in (_CURVES["residential"], _CURVES["business"])
        )
        done = self._levels_before[week] + self._level[week] * ((1.0 - share) * home + share * work)
        return np.asarray(np.floor(self._turnstiles.per_week[register][turnstile] * done)).astype(np.int64)

    def shown(self, register: str, turnstile: Ints, at: Ints, passed: Ints) -> Ints:
        """Return the value of a register at a moment, given the number of people who have passed."""
        offset = self._turnstiles.first_value[register][turnstile]
        events = self._events[register]
        if events.at.size:
            last = events.last_before(turnstile, at)
            has = (last >= 0) & (events.turnstile[last] == turnstile)
            offset = np.where(has, events.offset[last], offset)
        return offset + self._turnstiles.direction[register][turnstile] * passed

    def happened(self, register: str, turnstile: Ints, after: Ints, until: Ints) -> tuple[Bools, Bools]:
        """Return whether a reset, and whether a jump, occurred in (after, until].

        The interval is at most two weeks long, so both never occur.
        """
        events = self._events[register]
        if not events.at.size:
            none = np.zeros(turnstile.shape, dtype=np.bool_)
            return none, none
        last = events.last_before(turnstile, until)
        new = last > events.last_before(turnstile, after)
        kind = np.where(new, events.kind[last], _NONE)
        return kind == _RESET, kind == _JUMP

    def _bend_at(self, register: str, turnstile: Ints, knot: Ints) -> Floats:
        """The distortion of time at a knot, from -0.5 to 0.5.

        Within a republished week the distortions differ, and so do all readings except at the week's first moment.
        Turnstiles with an event in that week are unchanged, because registers carry an event into all later weeks.
        """
        if self._republished.size:
            per_week = WEEK // _KNOT
            week = knot // per_week
            turn = (week + turnstile) % _CYCLE
            other = (knot % per_week != 0) & (turn != _RESET_TURN) & (turn != _JUMP_TURN)
            knot = knot + _OTHER_EDITION * (other & np.isin(week, self._republished))
        return self._bend[register].uniform(turnstile, knot) - 0.5

    def _draw_events(self, seed: int, faults: Faults) -> dict[str, _Events]:
        """All events of all weeks, per register.

        A turnstile can reset in every eighth week, and jump in every eighth week, four weeks apart. So no interval has
        two events, and before each reset a register has counted for weeks, so that the reset makes it fall.
        """
        roster = np.arange(self._turnstiles.count)
        cycle = np.arange(HORIZON // _CYCLE)
        parts = []
        for kind, turn, rate in ((_RESET, _RESET_TURN, faults.resets), (_JUMP, _JUMP_TURN, faults.jumps)):
            who = np.repeat(roster, cycle.size)
            when = np.tile(cycle, roster.size) * _CYCLE + (turn - who) % _CYCLE
            struck = Chance(seed, f"event {kind}").uniform(who, when) < rate * _CYCLE
            parts.append((who[struck], when[struck], np.full(np.count_nonzero(struck), kind)))
        who, when, what = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.argsort(who * HORIZON + when)
        who, when, what = who[order], when[order], what[order]
        at = when * WEEK + Chance(seed, "event moment").below(WEEK, who, when)
        which = Chance(seed, "event registers").uniform(who, when)
        hit = {"entries": which < 0.8, "exits": which >= 0.2}
        moving = {register: self._turnstiles.per_week[register][who] > 0 for register in REGISTERS}
        return {
            register: self._chain(
                seed, register, *(column[hit[register] & moving[register]] for column in (who, at, what))
            )
            for register in REGISTERS
        }

    def _chain(self, seed: int, register: str, who: Ints, at: Ints, what: Ints) -> _Events:
        """Add up the offsets of events, starting at a turnstile's start or its last reset."""
        direction = self._turnstiles.direction[register][who]
        reset = what == _RESET
        leap = np.where(reset, 0, 1_000_000 + Chance(seed, f"{register} leap").below(3_000_000, who, at))
        start = reset.copy()
        start[:1] = True
        start[1:] |= who[1:] != who[:-1]
        from_zero = np.where(direction > 0, 0, TOP) - direction * self.passed(register, who, at)
        base = np.where(reset, from_zero, self._turnstiles.first_value[register][who])
        leapt = np.cumsum(leap)
        head = np.flatnonzero(start)
        chain = np.cumsum(start) - 1
        return _Events(who, at, what, base[head][chain] + direction * (leapt - (leapt - leap)[head][chain]))
