"""How a fault is put into words: what, which weeks, since when, the likely cause, where to look and what to do."""

import re
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel

from mta_pipeline.notifications.incidents import Kind, Notice, Occasion
from mta_pipeline.weeks import contiguous_ranges

RANGES_NAMED: Final = 5

_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s@]+@")


class Advice(NamedTuple):
    """What a fault means and the first move."""

    what: str
    to_do: str


_RUNS: Final = Advice(
    "{subject}: failed, and is not tried again by itself",
    "Read the failed step in the run's page. A bad file is the publisher's; a process that was killed or a full disk: "
    "make room, then launch the same weeks again (complete ones are left alone).",
)
_CHECK: Final = Advice("check failed: {subject}", "Open the check's page: its metadata has the numbers.")
_TICKS: Final = Advice(
    "{subject}: its ticks fail",
    "Open its page and read the last tick. Until it works again nothing it asks for is made.",
)

_BY_CHECK: Final = {
    "newest_week_landed": Advice(
        "freshness missed: the newest week is not in the lake",
        "Look at the runs of that week, and whether the sensors and the daemon are on; then materialize the week.",
    ),
    "no_week_left_out": Advice(
        "freshness missed: weeks are missing or failed",
        "The check lists them with their reasons; launch those that are missing, and wait for the publisher's "
        "correction of those whose file is bad.",
    ),
    "reachable": Advice(
        "the feed is out of reach",
        "If it is down, wait: it is asked again by itself. If it refuses, correct MTA_FEED.",
    ),
    "week_as_usual": Advice(
        "a week is unusual",
        "Compare it with the news (storms, strikes, a pandemic) and with its rejects and coverage: if fewer turnstiles "
        "or readings came in, the file may be incomplete. It blocks nothing.",
    ),
    "complexes_as_usual": Advice(
        "station complexes have fallen silent, or doubled",
        "Look whether the station was closed or an event was on; otherwise at its turnstiles in the week's traffic.",
    ),
    "complexes_read_in_time": Advice(
        "station complexes whose turnstiles were all read late",
        "Their riders come as one long interval, in no day's total. Nothing to do, unless it lasts.",
    ),
    "booths_known": Advice(
        "booths that nobody knows", "Add them to control_areas; until then their traffic has no complex."
    ),
}


class Message(BaseModel):
    """A message as receivers get it."""

    tone: Literal["failure", "warning", "success"]
    title: str
    body: str


def message(news: Notice, ui: str) -> Message:
    """The message about a fault.

    Args:
        news: what to tell.
        ui: the address of Dagster's UI.
    """
    fault = news.fault
    advice = {Kind.RUNS: _RUNS, Kind.TICKS: _TICKS, Kind.CHECK: _CHECK}[fault.kind]
    if fault.kind is Kind.CHECK:
        advice = _BY_CHECK.get(fault.subject.rpartition(": ")[2], advice)
    what = advice.what.format(subject=fault.subject)
    what = {
        Occasion.STARTED: what,
        Occasion.MORE: f"{what}; more weeks",
        Occasion.STILL: f"{what}; still so",
        Occasion.RESOLVED: f"well again: {what}",
    }[news.occasion]
    lines = [f"What: {what} ({fault.subject})" if fault.subject not in what else f"What: {what}"]
    if news.weeks:
        lines.append(f"Weeks: {_named(news.weeks)}")
    lines.append(f"Since: {fault.since:%Y-%m-%d %H:%M} UTC")
    if news.occasion is Occasion.RESOLVED:
        lines += [f"Until: {news.at:%Y-%m-%d %H:%M} UTC", f"Look: {ui}{fault.link}", "To do: nothing"]
    else:
        lines += [f"Likely cause: {without_credentials(fault.cause)}", f"Look: {ui}{fault.link}"]
        lines.append(f"To do: {advice.to_do}")
    tone: Literal["failure", "warning", "success"] = "failure" if fault.lasting else "warning"
    return Message(
        tone="success" if news.occasion is Occasion.RESOLVED else tone,
        title=f"mta_pipeline: {what}",
        body="\n".join(lines),
    )


def trial(ui: str) -> Message:
    """A message that says nothing but that messages arrive."""
    return Message(
        tone="success",
        title="mta_pipeline: a trial",
        body=f"This is what it looks like when something is wrong; nothing is.\nLook: {ui}",
    )


def without_credentials(text: str) -> str:
    """The text with users and passwords of URLs hidden: what others' libraries say may hold them."""
    return _CREDENTIALS.sub("***@", text)


def _named(weeks: tuple[str, ...]) -> str:
    found = contiguous_ranges(weeks)
    named = [first if first == last else f"{first} to {last}" for first, last in found[:RANGES_NAMED]]
    rest = f" and {len(found) - RANGES_NAMED} more contiguous_ranges" if len(found) > RANGES_NAMED else ""
    return f"{', '.join(named)}{rest}{f' ({len(weeks)} weeks)' if len(weeks) > 1 else ''}"
