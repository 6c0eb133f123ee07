"""The text of notifications: what failed, weeks, start, likely cause, a link to the Dagster UI and what to do."""

import re
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel

from mta_pipeline.notifications.incidents import Kind, Notice, Occasion
from mta_pipeline.weeks import contiguous_ranges

RANGES_NAMED: Final = 5
"""Maximum number of week ranges that a message lists."""

_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s@]+@")
_REQUESTED: Final = re.compile(r"runs that (.+) asked for")
"""The stored subject of runs that a sensor or schedule requested."""


class Advice(NamedTuple):
    """The title of an incident, and what to do first."""

    what: str
    to_do: str


_RUNS: Final = Advice(
    "{subject} failed",
    "Dagster will not retry the run. Open it and read the failed step. If the file is bad, wait for the publisher to "
    "correct it. If the process was killed or the disk is full, free memory or disk space, then launch the same weeks "
    "again. Complete weeks are skipped.",
)
_CHECK: Final = Advice("check failed: {subject}", "Open the check in the UI. Its metadata has the numbers.")
_TICKS: Final = Advice(
    "{subject} fails on every tick",
    "Open its page and read the error of the last tick. Until it succeeds, it requests no runs.",
)

_BY_CHECK: Final = {
    "newest_week_landed": Advice(
        "data is late: the newest week is not in the lake",
        "Check the runs of that week, and that the daemon and the sensors are on. Then materialize the week.",
    ),
    "no_week_left_out": Advice(
        "data is incomplete: weeks are missing or failed",
        "The check lists the weeks with their reasons. Launch the missing weeks. If a file is bad, wait for the "
        "publisher to correct it.",
    ),
    "reachable": Advice(
        "the feed is unreachable",
        "If the feed is down, wait: the sensor retries automatically. If it refuses access, correct MTA_FEED or the "
        "credentials.",
    ),
    "raw_intact": Advice(
        "raw files are missing or damaged",
        "If the feed has these weeks, they land again automatically. Otherwise restore their folders from a backup. "
        "The tables of these weeks stay as they are.",
    ),
    "no_version_pending": Advice(
        "the feed offers doubtful contents of a week",
        "Look at the file. If it is right, accept it with `mta-pipeline accept WEEK`. If not, have it corrected at the "
        "feed. Until then, the tables of the week stay as they are.",
    ),
    "enough_readings": Advice(
        "a week has far fewer readings than other weeks",
        "A part of its file is probably missing. Have the file replaced at the feed. The week is then made again.",
    ),
    "reject_share_at_most": Advice(
        "many rows or lines are rejected",
        "The cause names reasons and unknown values. If the publisher added a category, allow it in the declaration of "
        "the data set, update the project and materialize the weeks again. If the file is damaged, replace it.",
    ),
    "subway_turnstiles_present": Advice(
        "a week has hardly any subway turnstiles at known booths",
        "Compare the control areas and divisions in the file with those of another week. Replace the file at the feed. "
        "Until then, the week gets no ridership.",
    ),
    "riders_found": Advice(
        "a week has hardly any riders",
        "Compare the registers or columns of the week with those of another week. Replace the file at the feed, or "
        "wait for the publisher to correct the data. Until then, the tables downstream stay as they are.",
    ),
    "week_as_usual": Advice(
        "a week is unusual",
        "Check for an external cause (storm, strike, pandemic), then the rejects and the coverage of the week. With "
        "fewer turnstiles or readings than usual, the file may be incomplete. This check blocks nothing.",
    ),
    "complexes_as_usual": Advice(
        "station complexes with almost no riders, or about twice as many as usual",
        "Check whether the station was closed or had an event. If not, look at its turnstiles in the week's traffic.",
    ),
    "complexes_read_in_time": Advice(
        "station complexes without readings for two days",
        "Their riders are in one long interval, which counts in no day's total. Act only if this repeats.",
    ),
    "booths_known": Advice(
        "unknown booths", "Add the booths to control_areas. Until then, their traffic belongs to no station complex."
    ),
}


class Message(BaseModel):
    """A message as it is sent to receivers."""

    tone: Literal["failure", "warning", "success"]
    title: str
    body: str


def message(notice: Notice, ui: str) -> Message:
    """The message for a notice.

    Args:
        notice: the incident and the reason for the notice.
        ui: the address of Dagster's UI.
    """
    incident = notice.incident
    advice = {Kind.RUNS: _RUNS, Kind.TICKS: _TICKS, Kind.CHECK: _CHECK}[incident.kind]
    if incident.kind is Kind.CHECK:
        advice = _BY_CHECK.get(incident.subject.rpartition(": ")[2], advice)
    subject = _REQUESTED.sub(r"runs requested by \1", incident.subject)
    what = advice.what.format(subject=subject)
    what = {
        Occasion.STARTED: what,
        Occasion.MORE: f"{what}; more weeks",
        Occasion.STILL: f"{what}; still unresolved",
        Occasion.RESOLVED: f"resolved: {what}",
    }[notice.occasion]
    lines = [f"What: {what} ({subject})" if subject not in what else f"What: {what}"]
    if notice.weeks:
        lines.append(f"Weeks: {_list_ranges(notice.weeks)}")
    lines.append(f"Since: {incident.since:%Y-%m-%d %H:%M} UTC")
    if notice.occasion is Occasion.RESOLVED:
        lines += [f"Until: {notice.at:%Y-%m-%d %H:%M} UTC", f"Link: {ui}{incident.link}", "To do: nothing"]
    else:
        lines += [f"Likely cause: {without_credentials(incident.cause)}", f"Link: {ui}{incident.link}"]
        lines.append(f"To do: {advice.to_do}")
    tone: Literal["failure", "warning", "success"] = "failure" if incident.lasting else "warning"
    return Message(
        tone="success" if notice.occasion is Occasion.RESOLVED else tone,
        title=f"mta_pipeline: {what}",
        body="\n".join(lines),
    )


def trial(ui: str) -> Message:
    """A test message, which shows that messages arrive."""
    return Message(
        tone="success",
        title="mta_pipeline: test message",
        body=f"This is a test message. Nothing is wrong.\nLink: {ui}",
    )


def without_credentials(text: str) -> str:
    """The text with the credentials in URLs masked, because error messages of libraries may contain them."""
    return _CREDENTIALS.sub("***@", text)


def _list_ranges(weeks: tuple[str, ...]) -> str:
    ranges = contiguous_ranges(weeks)
    named = [first if first == last else f"{first} to {last}" for first, last in ranges[:RANGES_NAMED]]
    rest = f" and {len(ranges) - RANGES_NAMED} more ranges" if len(ranges) > RANGES_NAMED else ""
    return f"{', '.join(named)}{rest}{f' ({len(weeks)} weeks)' if len(weeks) > 1 else ''}"
