"""Open incidents, and when to notify about them: at the start, when weeks are added, as a reminder, when resolved.

An incident is a state, not an event: all failed runs of a backfill are one incident. `messages` writes the texts,
`delivery` sends them.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Final, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from mta_pipeline.weeks import contiguous_ranges, weeks_between

NO_WEEK: Final = ""
"""Stands for the week of a failure without one."""

QUIET: Final = dt.timedelta(days=1)
"""Minimum time between two notices about an incident. A notice that it is resolved does not wait."""

REMINDERS: Final = 3
"""Maximum number of reminders for an incident that does not change."""

LONGEST_CAUSE: Final = 600
MAX_INCIDENTS: Final = 100
"""Above this number, the oldest incidents are dropped, because the cursor must stay small."""


class Kind(StrEnum):
    """What failed: runs, a check, or the ticks of a sensor or schedule."""

    RUNS = "runs"
    CHECK = "check"
    TICKS = "ticks"


class Occasion(StrEnum):
    """The reason for a notice."""

    STARTED = "started"
    MORE = "more"
    STILL = "still"
    RESOLVED = "well"


def _weeks(stored: Iterable[str]) -> set[str]:
    weeks: set[str] = set()
    for text in stored:
        first, _, last = text.partition("...")
        weeks |= set(weeks_between(first, last)) if last else {first}
    return weeks


def _stored(weeks: Collection[str]) -> list[str]:
    return [NO_WEEK] * (NO_WEEK in weeks) + [
        first if first == last else f"{first}...{last}" for first, last in contiguous_ranges(set(weeks) - {NO_WEEK})
    ]


Weeks = Annotated[set[str], BeforeValidator(_weeks), PlainSerializer(_stored)]
"""A set of week keys, stored as contiguous ranges."""


class Incident(BaseModel):
    """A failure that persists until all of its parts and weeks are resolved.

    Aliases are the field names in stored cursors, which must not change.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    kind: Kind
    subject: str
    """What failed: `job weekly_ridership`, `feed/turnstile_file: reachable`, `sensor published_weeks`."""
    since: dt.datetime
    lasting: bool
    """Whether there are reminders. A warning about the data of a week is sent once."""
    cause: str
    link: str
    """The path of a page in Dagster's UI."""
    wrong: dict[str, Weeks] = {}
    """The affected weeks by part of the subject. Parts of a job are its assets; a check is its only part."""
    notified_at: dt.datetime | None = Field(default=None, alias="told")
    """When the last notice was issued."""
    notified_weeks: Weeks = Field(default=set(), alias="told_weeks")
    reminders: int = 0

    @property
    def key(self) -> str:
        """The key that identifies the incident: kind and subject."""
        return f"{self.kind} {self.subject}"

    @property
    def weeks(self) -> set[str]:
        """The affected weeks of all parts. Contains NO_WEEK if a failure has no week."""
        return set().union(*self.wrong.values())

    @property
    def is_resolved(self) -> bool:
        """Whether no part has an affected week."""
        return not any(self.wrong.values())


class Notice(NamedTuple):
    """A notice to send about an incident: the reason, and the weeks that it is about, without NO_WEEK."""

    incident: Incident
    occasion: Occasion
    weeks: tuple[str, ...]
    at: dt.datetime


class Incidents(BaseModel):
    """All known incidents by key. Noting the same failure again changes nothing."""

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
        """Record a failure of these weeks in each of the parts. The newest cause and link replace the previous ones."""
        cause = " ".join(cause.split())
        cause = cause if len(cause) <= LONGEST_CAUSE else cause[: LONGEST_CAUSE - 1] + "…"
        incident = Incident(kind=kind, subject=subject, since=at, lasting=lasting, cause=cause, link=link)
        incident = self.known.setdefault(incident.key, incident)
        incident.cause, incident.link, incident.lasting = cause, link, lasting
        for part in parts:
            incident.wrong.setdefault(part, set()).update(weeks)

    def is_open(self, kind: Kind, subject: str, week: str) -> bool:
        """Whether a failure of this week is recorded and not resolved."""
        incident = self.known.get(f"{kind} {subject}")
        return incident is not None and week in incident.weeks

    def resolve(self, kind: Kind, parts: Collection[str], weeks: Collection[str], subject: str | None = None) -> None:
        """Remove these weeks of these parts from all incidents of this kind, or from those of `subject` only."""
        for incident in self.known.values():
            if incident.kind == kind and subject in (None, incident.subject):
                for part in incident.wrong.keys() & parts:
                    incident.wrong[part] -= set(weeks)

    def pending(self, now: dt.datetime) -> Iterator[Notice]:
        """The notices that are due now. Incidents are marked as notified, and resolved ones are removed."""
        for key, incident in list(self.known.items()):
            if incident.is_resolved:
                del self.known[key]
                if incident.notified_at is not None:
                    yield Notice(incident, Occasion.RESOLVED, _real_weeks(incident.notified_weeks), now)
                continue
            occasion = _occasion(incident, now)
            if occasion is None:
                continue
            incident.reminders += occasion is Occasion.STILL
            weeks = incident.weeks - incident.notified_weeks if occasion is Occasion.MORE else incident.weeks
            incident.notified_at, incident.notified_weeks = now, incident.notified_weeks | incident.weeks
            yield Notice(incident, occasion, _real_weeks(weeks), now)
        for key in list(self.known)[:-MAX_INCIDENTS]:
            del self.known[key]


def _occasion(incident: Incident, now: dt.datetime) -> Occasion | None:
    if incident.notified_at is None:
        return Occasion.STARTED
    if now - incident.notified_at < QUIET:
        return None
    if incident.weeks - incident.notified_weeks:
        return Occasion.MORE
    return Occasion.STILL if incident.lasting and incident.reminders < REMINDERS else None


def _real_weeks(weeks: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(week for week in weeks if week != NO_WEEK))
