"""How many people have passed a turnstile by any moment, in closed form, and what its registers show then.

A turnstile's count is its weekly number times one curve of the week (weekday peaks, quieter weekends), read at a time
that is bent a little, each four hours anew, by chance. The bend is gentle enough that time never runs backwards, so
counts only grow, and no past is needed to know one. Events (resets, jumps) are rare and known for all weeks at once:
a register is the count, plus or minus what the last event before left behind. Files do not belong here.
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
"""Weeks that a feed can have, from the epoch."""

_KNOT: Final = 4 * HOUR
_BEND: Final = 1.2 * HOUR
_CYCLE: Final = 8
_RESET_TURN, _JUMP_TURN = 0, 4
_OTHER_EDITION: Final = 1 << 40
_NONE, _RESET, _JUMP = 0, 1, 2

# Relative numbers by hour of the day, made up: how a residential booth's entries go, a weekday and a weekend day.
_MORNING: Final = (2, 1, 1, 1, 3, 10, 28, 62, 70, 40, 24, 20, 20, 20, 22, 26, 28, 30, 26, 18, 12, 9, 7, 4)
_EVENING: Final = (5, 2, 1, 1, 1, 3, 8, 18, 26, 20, 18, 20, 24, 25, 30, 42, 58, 76, 60, 36, 22, 18, 14, 9)
_WEEKEND: Final = (7, 4, 2, 1, 1, 3, 6, 9, 13, 17, 20, 22, 24, 25, 25, 25, 25, 24, 22, 18, 14, 12, 11, 9)


def _week_curve(weekday: tuple[int, ...]) -> Floats:
    """The share of a week's people who have passed by each full hour: 169 numbers from 0 to 1, Saturday first."""
    # A file's week runs Saturday, Sunday, Monday ... Friday.
    hours = np.array((*_WEEKEND, *_WEEKEND, *weekday * 5), dtype=np.float64)
    passed = np.concatenate(([0.0], np.cumsum(hours)))
    return np.asarray(passed / passed[-1])


_CURVES: Final = {"residential": _week_curve(_MORNING), "business": _week_curve(_EVENING)}


@dataclass(frozen=True)
class _Events:
    """A register's events by turnstile and time; `offset` is what it shows beyond its count from then on."""

    turnstile: Ints
    at: Ints
    kind: Ints
    offset: Ints

    def last_before(self, turnstile: Ints, at: Ints) -> Ints:
        """Index of each turnstile's last event up to and including a moment; without one, that of another, or -1."""
        horizon = HORIZON * WEEK
        return np.searchsorted(self.turnstile * horizon + self.at, turnstile * horizon + at, side="right") - 1


class People:
    """Everyone who passes, and what the registers make of it.

    Turnstiles are numbers in the roster, moments are whole seconds since the epoch, a Saturday's first.
    """

    def __init__(self, turnstiles: Turnstiles, seed: int, faults: Faults, republished: frozenset[int]) -> None:
        self._turnstiles = turnstiles
        self._republished = np.array(sorted(republished), dtype=np.int64)
        self._bend = {register: Chance(seed, f"{register} bend") for register in REGISTERS}
        week = np.arange(HORIZON + 1)  # a moment in the last week may bend into the one after
        season = np.abs((week % 52) - 26) / 26.0
        self._level = 1.02 - 0.06 * season + 0.04 * (Chance(seed, "level").uniform(week) - 0.5)
        self._levels_before = np.concatenate(([0.0], np.cumsum(self._level)))
        self._events = self._draw_events(seed, faults)

    def passed(self, register: str, turnstile: Ints, at: Ints) -> Ints:
        """How many people have passed by a moment, since the epoch."""
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
        """What a register shows at a moment by which so many people have passed."""
        offset = self._turnstiles.first_value[register][turnstile]
        events = self._events[register]
        if events.at.size:
            last = events.last_before(turnstile, at)
            has = (last >= 0) & (events.turnstile[last] == turnstile)
            offset = np.where(has, events.offset[last], offset)
        return offset + self._turnstiles.direction[register][turnstile] * passed

    def happened(self, register: str, turnstile: Ints, after: Ints, until: Ints) -> tuple[Bools, Bools]:
        """Whether a reset, and whether a jump, fell into (after, until]; of at most two weeks, so never both."""
        events = self._events[register]
        if not events.at.size:
            none = np.zeros(turnstile.shape, dtype=np.bool_)
            return none, none
        last = events.last_before(turnstile, until)
        new = last > events.last_before(turnstile, after)
        kind = np.where(new, events.kind[last], _NONE)
        return kind == _RESET, kind == _JUMP

    def _bend_at(self, register: str, turnstile: Ints, knot: Ints) -> Floats:
        """How far time is bent at a knot, in bends: -0.5 to 0.5.

        Within a republished week the bends are others, and so all readings but the week's first moment; turnstiles with
        an event in the week are left as they were, for registers carry it on into all later weeks.
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

        A turnstile can reset only each eighth week and jump only each eighth, four weeks apart: so no two events meet
        in one interval, and after a reset a register has weeks of people to lose before the next.
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
        """Add up what each event leaves behind, from a turnstile's start or its last reset on."""
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
