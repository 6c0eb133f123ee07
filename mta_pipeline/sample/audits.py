"""Makes the file of one week: schedules audits, loses, duplicates and spoils readings, and writes the lines.

`people` knows who passes, `layout` formats the lines, and `truth` records the true traffic of the kept readings.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from mta_pipeline.sample import layout as layouts
from mta_pipeline.sample.chance import Bools, Chance, Ints
from mta_pipeline.sample.faults import Faults
from mta_pipeline.sample.layout import Layout
from mta_pipeline.sample.people import EPOCH, WEEK, People
from mta_pipeline.sample.turnstiles import HOUR, REGISTERS, Turnstiles
from mta_pipeline.schema import WALL_CLOCK
from mta_pipeline.turnstile.clock import clock_change
from mta_pipeline.turnstile.contract import RejectReason

_DESCS: Final = ("REGULAR", "RECOVR AUD", "DOOR OPEN", "DOOR CLOSE", "TS VLT OPN")
_REGULAR, _RECOVERED, _FIRST_EXTRA = 0, 1, 2
_EXTRA_SECONDS: Final = (0, 15, 566)
_BAD_REGISTERS: Final = ("-", "", "00O12E4567", "99999999999999999999")
_NO_MOMENTS: Final[dict[Layout, tuple[str, str]]] = {
    "modern": ("02/31/{:%Y},04:00:00", "{:%m/%d/%Y},25:00:00"),
    "legacy": ("02-31-{:%y},04:00:00", "{:%m-%d-%y},25:00:00"),
}
_WEEK_BITS, _ROW_BITS = 20, 22


@dataclass(frozen=True)
class Readings:
    """Readings as arrays: turnstile (number in the roster), moment (seconds since the epoch), people passed by then."""

    turnstile: Ints
    at: Ints
    passed: dict[str, Ints]

    def take(self, rows: Ints) -> "Readings":
        """Return the readings of these rows, in this order."""
        passed = {register: people[rows] for register, people in self.passed.items()}
        return Readings(self.turnstile[rows], self.at[rows], passed)


@dataclass(frozen=True)
class WeekFile:
    """A file's bytes, the readings that rules 1 and 2 keep (by turnstile and time), and the rejects by reason."""

    text: bytes
    kept: Readings
    rejects: dict[str, int]


def wall_clock(at: Ints) -> pl.Series:
    """Convert seconds since the epoch to New York wall-clock time."""
    since_1970 = (EPOCH - dt.date(1970, 1, 1)).days * 24 * HOUR
    return pl.Series("at", (at + since_1970) * 1_000_000).cast(WALL_CLOCK)


class Auditor:
    """Makes the files of one feed, week by week, in any order."""

    def __init__(self, roster: Turnstiles, people: People, seed: int, faults: Faults) -> None:
        self._roster = roster
        self._people = people
        self._seed = seed
        self._faults = faults
        station = ("station", "line_name", "division")
        self._identity: dict[Layout, pl.Series] = {
            "modern": roster.frame.select(
                pl.concat_str("control_area", "unit", "scp", *station, separator=",")
            ).to_series(),
            "legacy": roster.frame.select(pl.concat_str("control_area", "unit", "scp", separator=",")).to_series(),
        }

    def week(self, number: int, layout: Layout) -> WeekFile:
        """Return the file of a week, by its number since the epoch."""
        start = number * WEEK
        turnstile, at, desc = self._schedule(start, layout)
        passed = {register: self._people.passed(register, turnstile, at) for register in REGISTERS}
        readings = Readings(turnstile, at, passed)

        row, twin, altered = self._copy(readings, desc == _REGULAR, layout)
        spoilt = self._spoil(row, number)
        desc = np.where(twin, _RECOVERED, desc[row])
        rows = pl.DataFrame({"turnstile": turnstile[row], "desc": pl.Series(_DESCS).gather(desc)})
        if layout == "legacy":
            ends = np.zeros(row.size, dtype=np.bool_)
            ends[spoilt[RejectReason.FIELD_COUNT]] = True
            rows = rows.with_columns(line=layouts.line_numbers(rows["turnstile"], ends))
            if self._faults.split_desc:
                rows = rows.with_columns(desc=layouts.split_words(rows["desc"], rows["line"]))

        cut = self._faults.cut_last_line and row.size > 0
        sound = np.ones(row.size, dtype=np.bool_)
        for rejected in spoilt.values():
            sound[rejected] = False
        if cut:
            sound[-1] = False
        kept, superseded, duplicates = _one_per_moment(
            turnstile[row], at[row] - start, (rows["desc"] == "REGULAR").to_numpy(), np.flatnonzero(sound)
        )
        rejects = {
            **{reason: rejected.size for reason, rejected in spoilt.items()},
            RejectReason.SUPERSEDED: superseded,
            RejectReason.DUPLICATE: duplicates,
            RejectReason.JUNK_HEADER: len(layouts.JUNK_ON_TOP) * self._faults.junk_header,
        }
        rejects[RejectReason.FIELD_COUNT] += cut + self._faults.trailing_junk
        texts = self._fields(readings.take(row), twin, altered, spoilt, layout)
        return WeekFile(
            self._write(rows.with_columns(**texts), layout, cut=cut),
            readings.take(row[kept]),
            {reason: rejects[reason] for reason in RejectReason if rejects.get(reason)},
        )

    def _chance(self, purpose: str) -> Chance:
        return Chance(self._seed, purpose)

    def _schedule(self, start: int, layout: Layout) -> tuple[Ints, Ints, Ints]:
        """Turnstile, moment and DESC of all readings in the file, in file order."""
        faults, number = self._faults, start // WEEK
        n = np.arange(self._roster.count)
        present = self._chance("absent").uniform(n, number) >= faults.absent
        present[number % n.size] = True  # keep at least one turnstile, so that no file is empty
        there = n[present]
        step, offset = self._roster.audit_step[there], self._roster.audit_start[there]
        first = -((offset - start) // step)
        audits = -((offset - start - WEEK) // step) - first
        turnstile = np.repeat(there, audits)
        nth = np.arange(turnstile.size) - np.repeat(np.cumsum(audits) - audits, audits)
        at = np.repeat(offset + first * step, audits) + nth * np.repeat(step, audits)

        desc = np.full(turnstile.size, _REGULAR)
        recovered = self._chance("recovered").uniform(n, number) < faults.recovered
        since = start + self._chance("recovered since").below(6 * 24 * HOUR, n, number)
        since = since[turnstile]
        desc[recovered[turnstile] & (at >= since) & (at < since + 24 * HOUR)] = _RECOVERED

        seen = self._chance("missed").uniform(turnstile, at) >= faults.missed_audits
        turnstile, at, desc = turnstile[seen], at[seen], desc[seen]
        opened = there[self._chance("extra").uniform(there, number) < faults.extra_audits]
        if opened.size:
            extras = self._extras(opened, start, layout)
            turnstile, at, desc = (np.concatenate(pair) for pair in zip((turnstile, at, desc), extras, strict=True))
            order = np.lexsort((at, turnstile))
            turnstile, at, desc = turnstile[order], at[order], desc[order]

        gone = self._chance("long gap").uniform(n, number) < faults.long_gaps
        length = 26 * HOUR + self._chance("long gap length").below(34 * HOUR, n, number)
        # A third of the gaps begin or end with the week, so that they can extend beyond it.
        place = np.clip(1.5 * self._chance("long gap place").uniform(n, number) - 0.25, 0.0, 1.0)
        begin = start + np.floor(place * (WEEK - length)).astype(np.int64)
        begin, end = begin[turnstile], (begin + length)[turnstile]
        seen = ~(gone[turnstile] & (at >= begin) & (at < end)) & ~_in_hour_of_clock_change(at, start)
        turnstile, at, desc = turnstile[seen], at[seen], desc[seen]

        backwards = self._chance("disordered").uniform(n, number) < faults.disordered
        # Keep the last turnstile in order, so that a cut file is cut in the turnstile's last reading.
        backwards[turnstile[-1:]] = False
        order = np.arange(turnstile.size)
        head, tail = (np.searchsorted(turnstile, turnstile, side=side) for side in ("left", "right"))
        order = np.where(backwards[turnstile], head + tail - 1 - order, order)
        return turnstile[order], at[order], desc[order]

    def _extras(self, opened: Ints, start: int, layout: Layout) -> tuple[Ints, Ints, Ints]:
        """Three extra readings within ten minutes, at odd seconds, of each turnstile that was opened."""
        number = start // WEEK
        minute = self._chance("extra minute").below(WEEK // 60 - 10, opened, number)
        kind = self._chance("extra kind").below(len(_DESCS) - _FIRST_EXTRA, opened, number) + _FIRST_EXTRA
        if layout == "modern":
            kind = np.full(opened.size, _RECOVERED)
        at = start + 60 * minute[:, np.newaxis] + 11 + np.array(_EXTRA_SECONDS)
        times = len(_EXTRA_SECONDS)
        return np.repeat(opened, times), at.ravel(), np.repeat(kind, times)

    def _copy(self, readings: Readings, regular: Bools, layout: Layout) -> tuple[Ints, Bools, Bools]:
        """Duplicate some readings.

        Returns, for each line, its reading, whether it is a RECOVR AUD twin, and whether its registers are altered.
        Legacy files have no altered registers: where DESC is out of step, nobody could tell which of two lines counts.
        """
        u = self._chance("copies").uniform(readings.turnstile, readings.at)
        duplicated = u < self._faults.duplicates
        twinned = ~duplicated & regular & (u < self._faults.duplicates + self._faults.superseded)
        duplicated[-1:] = twinned[-1:] = False
        row = np.repeat(np.arange(u.size), 1 + (duplicated | twinned))
        second = np.zeros(row.size, dtype=np.bool_)
        second[1:] = row[1:] == row[:-1]
        of, at = readings.turnstile[row], readings.at[row]
        twin = twinned[row] & (second ^ (self._chance("twin first").uniform(of, at) < 0.3))
        # The copy in a pair is the twin, or the second line of a duplicate. Lines without a pair have none.
        copy = twin | (duplicated[row] & second)
        altered = copy & (self._chance("altered").uniform(of, at) < 0.5) & (layout == "modern")
        return row, twin, altered

    def _spoil(self, row: Ints, number: int) -> dict[str, Ints]:
        """Choose the lines to spoil, by reason. They are spread over the file, and exclude pairs and the last line."""
        wanted = {
            RejectReason.BAD_REGISTER: self._faults.bad_registers,
            RejectReason.OUTSIDE_WINDOW: self._faults.outside_window,
            RejectReason.BAD_TIMESTAMP: self._faults.bad_timestamps,
            RejectReason.FIELD_COUNT: self._faults.field_counts,
        }
        alone = np.ones(row.size, dtype=np.bool_)
        alone[1:] &= row[1:] != row[:-1]
        alone[:-1] &= row[1:] != row[:-1]
        alone[-1:] = False
        lines = np.flatnonzero(alone)
        reasons = np.repeat(np.arange(len(wanted)), list(wanted.values()))
        reasons = reasons[np.argsort(self._chance("spoilt reason").uniform(number, np.arange(reasons.size)))]
        # Spoil at most half of the file, so that most readings of each turnstile remain.
        reasons = reasons[: lines.size // 2]
        nth = np.arange(reasons.size)
        stride = lines.size // max(nth.size, 1)
        chosen = lines[nth * stride + self._chance("spoilt line").below(stride, number, nth)]
        return {reason: chosen[reasons == n] for n, reason in enumerate(wanted)}

    def _fields(
        self, lines: Readings, twin: Bools, altered: Bools, spoilt: dict[str, Ints], layout: Layout
    ) -> dict[str, pl.Series]:
        """Moment and registers as text, per line, with the chosen lines spoilt."""
        printed = lines.at.copy()
        outside = spoilt[RejectReason.OUTSIDE_WINDOW]
        printed[outside] += np.where(np.arange(outside.size) % 2, WEEK, -WEEK)
        moment = wall_clock(printed).dt.to_string(layouts.MOMENT[layout])
        for nth, line in enumerate(spoilt[RejectReason.BAD_TIMESTAMP].tolist()):
            day = EPOCH + dt.timedelta(seconds=int(lines.at[line]))
            moment[line] = _NO_MOMENTS[layout][nth % 2].format(day)

        texts = {"moment": moment}
        for register in REGISTERS:
            shown = self._people.shown(register, lines.turnstile, lines.at, lines.passed[register])
            shown = np.where(altered, np.where(twin, shown // 37, shown + 7), shown)
            texts[register] = pl.Series(shown).cast(pl.String).str.zfill(layouts.REGISTER_DIGITS[layout])
        for nth, line in enumerate(spoilt[RejectReason.BAD_REGISTER].tolist()):
            register = REGISTERS[nth // len(_BAD_REGISTERS) % 2]
            texts[register][line] = _BAD_REGISTERS[nth % len(_BAD_REGISTERS)]
        for nth, line in enumerate(spoilt[RejectReason.FIELD_COUNT].tolist()):
            # In a legacy line, an extra field would start another group.
            one_more = layout == "modern" and nth % 2 == 1
            texts["exits"][line] = texts["exits"][line] + ",0" if one_more else None
        return texts

    def _write(self, rows: pl.DataFrame, layout: Layout, *, cut: bool) -> bytes:
        """The bytes of the file."""
        on_top = list(layouts.JUNK_ON_TOP) if self._faults.junk_header else []
        if layout == "modern":
            on_top.append(layouts.header())
        lines = layouts.lines(rows, self._identity[layout], layout)
        if cut:
            # Cut the last field and some digits of the field before.
            lines[-1] = lines[-1].rstrip().rpartition(",")[0][:-4]
        at_end = [layouts.JUNK_AT_END] if self._faults.trailing_junk else []
        parts = (pl.Series(on_top, dtype=pl.String), lines, pl.Series(at_end, dtype=pl.String))
        text: str = pl.concat(parts).str.join("\n").item()
        return text.encode() + (b"" if cut and not at_end else b"\n")


def _in_hour_of_clock_change(at: Ints, start: int) -> Bools:
    """Whether moments lie in the hour that is skipped or repeated in the week from `start` on. No audit is made then.

    The weeks of a sample have 168 hours, so it has neither an hour less nor an hour twice.
    """
    change = clock_change((EPOCH + dt.timedelta(seconds=start)).isoformat())
    if change is None:
        return np.zeros(at.size, dtype=np.bool_)
    until = (change.until - dt.datetime.combine(EPOCH, dt.time())) // dt.timedelta(seconds=1)
    return np.asarray((at >= until - HOUR) & (at < until))


def _one_per_moment(turnstile: Ints, second: Ints, regular: Bools, sound: Ints) -> tuple[Ints, int, int]:
    """Apply rule 2: return the kept lines, by turnstile and time, and the numbers of superseded and duplicate lines.

    Args:
        turnstile: the turnstile of each line.
        second: the second of the week of each line.
        regular: whether the DESC of each line is REGULAR.
        sound: the lines that are not rejected for other reasons.
    """
    moment = (turnstile[sound] << _WEEK_BITS) | second[sound]
    ranked = np.sort((((moment << 1) | ~regular[sound]) << _ROW_BITS) | sound)
    line = ranked & ((1 << _ROW_BITS) - 1)
    moment = ranked >> (_ROW_BITS + 1)
    best = np.ones(line.size, dtype=np.bool_)
    best[1:] = moment[1:] != moment[:-1]
    others = ~best
    lost_to_regular = regular[line[best][np.cumsum(best) - 1]] & ~regular[line]
    superseded = int(np.count_nonzero(others & lost_to_regular))
    return line[best], superseded, int(np.count_nonzero(others)) - superseded
