"""What is wrong, since when, and what of it is worth a word: one when it starts, one when it is well again.

A fault is a state, not an event: however many runs of a backfill fail, it is one. What each fault is called, and the
sending, do not belong here.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Final, NamedTuple

from pydantic import BaseModel, BeforeValidator, PlainSerializer

from mta_pipeline.weeks import contiguous_ranges, weeks_between

NO_WEEK: Final = ""
"""In place of a week, for what has none."""

QUIET: Final = dt.timedelta(days=1)
"""After a word about a fault, so long there is none but that it is well."""

REMINDERS: Final = 3
"""How many times a fault that stays as it is gets mentioned again."""

LONGEST_CAUSE: Final = 600
MAX_INCIDENTS: Final = 100
"""Beyond that the oldest are forgotten: a cursor has to stay small."""


class Kind(StrEnum):
    """What kind of thing is at fault."""

    RUNS = "runs"
    CHECK = "check"
    TICKS = "ticks"


class Occasion(StrEnum):
    """Why there is a word about a fault."""

    STARTED = "started"
    MORE = "more"
    STILL = "still"
    RESOLVED = "well"


def _weeks(stored: Iterable[str]) -> set[str]:
    weeks: set[str] = set()
    for stretch in stored:
        first, _, last = stretch.partition("...")
        weeks |= set(weeks_between(first, last)) if last else {first}
    return weeks


def _stored(weeks: Collection[str]) -> list[str]:
    return [NO_WEEK] * (NO_WEEK in weeks) + [
        first if first == last else f"{first}...{last}" for first, last in contiguous_ranges(set(weeks) - {NO_WEEK})
    ]


Weeks = Annotated[set[str], BeforeValidator(_weeks), PlainSerializer(_stored)]
"""A set of week keys, stored as contiguous ranges."""


class Incident(BaseModel):
    """One thing that is wrong, until all of it is well again."""

    kind: Kind
    subject: str
    """Whose fault it is: `job weekly_ridership`, `feed/turnstile_file: reachable`, `sensor published_weeks`."""
    since: dt.datetime
    lasting: bool
    """Whether it is worth a reminder: a warning about a week's data is said once."""
    cause: str
    link: str
    """The path of a page in Dagster's UI."""
    wrong: dict[str, Weeks] = {}
    """The weeks that are wrong, by the part of the subject (an asset of a job; a check has but itself)."""
    told: dt.datetime | None = None
    """When there was a word about it last."""
    told_weeks: Weeks = set()
    reminders: int = 0

    @property
    def key(self) -> str:
        """What tells faults apart."""
        return f"{self.kind} {self.subject}"

    @property
    def weeks(self) -> set[str]:
        """All weeks that are wrong in some part; NO_WEEK among them if a part without weeks is."""
        return set().union(*self.wrong.values())

    @property
    def is_resolved(self) -> bool:
        """Whether nothing of it is left."""
        return not any(self.wrong.values())


class Notice(NamedTuple):
    """A word about a fault: why, and the weeks it is about, NO_WEEK left out."""

    fault: Incident
    occasion: Occasion
    weeks: tuple[str, ...]
    at: dt.datetime


class Incidents(BaseModel):
    """All that is wrong, as far as it is known. Everything noted twice counts once."""

    known: dict[str, Incident] = {}

    def note(
        self,
        kind: Kind,
        subject: str,
        parts: Iterable[str],
        weeks: Collection[str],
        *,
        at: dt.datetime,
        cause: str,
        link: str,
        lasting: bool = True,
    ) -> None:
        """Something is wrong with these weeks in each of the parts; the latest cause and link stand."""
        cause = " ".join(cause.split())
        cause = cause if len(cause) <= LONGEST_CAUSE else cause[: LONGEST_CAUSE - 1] + "…"
        fault = Incident(kind=kind, subject=subject, since=at, lasting=lasting, cause=cause, link=link)
        fault = self.known.setdefault(fault.key, fault)
        fault.cause, fault.link, fault.lasting = cause, link, lasting
        for part in parts:
            fault.wrong.setdefault(part, set()).update(weeks)

    def resolve(self, kind: Kind, parts: Collection[str], weeks: Collection[str], subject: str | None = None) -> None:
        """These weeks of these parts are well, with whichever subject (or this one) they were wrong."""
        for fault in self.known.values():
            if fault.kind == kind and subject in (None, fault.subject):
                for part in fault.wrong.keys() & parts:
                    fault.wrong[part] -= set(weeks)

    def pending(self, now: dt.datetime) -> Iterator[Notice]:
        """What is worth a word now. It counts as told, and what is well is forgotten."""
        for key, fault in list(self.known.items()):
            if fault.is_resolved:
                del self.known[key]
                if fault.told is not None:
                    yield Notice(fault, Occasion.RESOLVED, _proper(fault.told_weeks), now)
                continue
            occasion = _occasion(fault, now)
            if occasion is None:
                continue
            fault.reminders += occasion is Occasion.STILL
            fresh = fault.weeks - fault.told_weeks if occasion is Occasion.MORE else fault.weeks
            fault.told, fault.told_weeks = now, fault.told_weeks | fault.weeks
            yield Notice(fault, occasion, _proper(fresh), now)
        for key in list(self.known)[:-MAX_INCIDENTS]:
            del self.known[key]


def _occasion(fault: Incident, now: dt.datetime) -> Occasion | None:
    if fault.told is None:
        return Occasion.STARTED
    if now - fault.told < QUIET:
        return None
    if fault.weeks - fault.told_weeks:
        return Occasion.MORE
    return Occasion.STILL if fault.lasting and fault.reminders < REMINDERS else None


def _proper(weeks: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(week for week in weeks if week != NO_WEEK))
