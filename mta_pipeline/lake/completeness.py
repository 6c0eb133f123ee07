"""Which published contents and rules the tables of a week are made from, and therefore which weeks are complete or due.

Each weekly file records this in its own metadata, see `origin`. Dagster's records are not used: they may belong to
another lake, and a killed run leaves none. The version of the code and the reference tables do not count: after an
update of the project, complete weeks stay complete, unless a table has new rules (`Table.rules`).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from mta_pipeline.lake.origin import Origin, traffic_origin
from mta_pipeline.lake.parquet import origin
from mta_pipeline.lake.raw import DamagedRawFile
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.lake.storage import part_path, parts_to_repair, weeks_there
from mta_pipeline.schema import Table
from mta_pipeline.sources.errors import BadFile
from mta_pipeline.sources.turnstile_files import Feed
from mta_pipeline.tables import RIDERSHIP, STAGED
from mta_pipeline.turnstile.contract import TURNSTILE_READINGS, TURNSTILE_TRAFFIC
from mta_pipeline.weeks import week_before

NOT_OFFERED: Final = "not offered by the feed"
_NOT_LANDED: Final = "not in the lake"
_CHANGED: Final = "changed at the feed"
_UNUSABLE: Final = "listed by the feed, but the file cannot be used"
_DAMAGED: Final = "damaged in the raw layer"
_INCOMPLETE: Final = "incomplete in the lake"
_OTHER_CONTENTS: Final = "made from other contents"
_OTHER_WEEK_BEFORE: Final = "the week before it has changed"

_READERS: Final = 8
"""Number of files whose metadata is read at the same time. In a bucket, each takes a request."""


def is_made_from(lake_root: str, week: str, input_origin: Origin, *tables: Table) -> bool:
    """Whether the week's files of these tables are all made from the input with this origin, by current rules."""
    return not _why_not(lake_root, week, {table: input_origin.by(table) for table in tables})


def weeks_complete(lake_root: str) -> set[str]:
    """Return the weeks with a file in every weekly table, whatever they are made from. Lists files, reads none."""
    tables = (weeks_there(lake_root, table.layer, table.name) for table in (*STAGED, *RIDERSHIP))
    return RawFiles(lake_root).weeks().intersection(*tables)


def is_first_week(lake_root: str, week: str) -> bool:
    """Whether the lake has no readings of any earlier week, so that a carry-in is not expected. Lists files."""
    return week <= min(weeks_there(lake_root, TURNSTILE_READINGS.layer, TURNSTILE_READINGS.name), default=week)


def weeks_to_repair(lake_root: str) -> set[str]:
    """Return the weeks with a damaged file that is set aside and was not made again."""
    names = {(table.layer, table.name) for table in (*STAGED, *RIDERSHIP)}
    found = {part for layer in ("staged", "lake") for part in parts_to_repair(lake_root, layer)}
    return {part.week for part in found if part.week and part[:2] in names}


def weeks_with_older_rules(lake_root: str, weeks: Collection[str]) -> dict[str, str]:
    """Return the weeks, of those with files in the lake, that older rules have made, with the rules.

    Reads the metadata of files, and none while the rules of all tables have version 1.
    """
    expected = {table: _expected(table, None, Origin("").by(TURNSTILE_READINGS)) for table in (*STAGED, *RIDERSHIP)}
    raised = {table: current for table, current in expected.items() if max(current.rules.values()) > 1}

    def older(week: str) -> str:
        found = {table: _origin(lake_root, table, week) for table in raised}
        return _older_rules((origin, raised[table]) for table, origin in found.items() if origin)

    if not raised:
        return {}
    with ThreadPoolExecutor(_READERS) as pool:
        return {week: rules for week, rules in zip(weeks, pool.map(older, weeks), strict=True) if rules}


def weeks_due(weeks: Sequence[str], lake_root: str, feed: Feed) -> dict[str, str]:
    """Return the weeks, given in order, whose tables are not all made from the contents that the feed offers now.

    A week is also due if the contents of the week before have changed, because its first intervals start there (rule
    3), and if a table is made by older rules. The value says why the week is due.

    Raises:
        FeedError: the feed cannot be reached, or refuses the request.
    """
    due: dict[str, str] = {}
    available: dict[str, Origin | None] = {}
    for week in weeks:
        before = week_before(week)
        carried = available[before] if before in available else _origin(lake_root, TURNSTILE_READINGS, before)
        offered = _offered(lake_root, feed, week)
        available[week] = offered.readings
        if why := offered.problem or _why_incomplete(lake_root, week, carried, offered.readings):
            due[week] = why
    return due


def weeks_out_of_date(weeks: Sequence[str], lake_root: str) -> dict[str, str]:
    """Return the weeks in the lake whose tables are older than its readings of that week or of the week before.

    The value says why, as in `weeks_due`.
    """
    found: dict[str, str] = {}
    for week in weeks:
        readings = _origin(lake_root, TURNSTILE_READINGS, week)
        carried = _origin(lake_root, TURNSTILE_READINGS, week_before(week))
        if readings and (why := _why_incomplete(lake_root, week, carried, readings)):
            found[week] = why
    return found


def due_because(reasons: Mapping[str, str]) -> str:
    """Say how many weeks are due for which reason, given the reason of each week."""
    counts = Counter(reasons.values()).most_common()
    subject = "1 week is" if len(reasons) == 1 else f"{len(reasons):,} weeks are"
    return f"{subject} due: {', '.join(f'{count:,} {reason}' for reason, count in counts)}"


class _Offered(NamedTuple):
    """What the feed offers of a week now."""

    readings: Origin | None
    """The origin of the readings made from it by current rules, or of those in the lake; None without any."""
    problem: str = ""
    """Why the week is due, whatever its tables are; empty if they decide."""


def _offered(lake_root: str, feed: Feed, week: str) -> _Offered:
    raw = RawFiles(lake_root)
    try:
        version = raw.available_version(feed, week)
        if version and (landed := raw.manifest(week)):
            return _Offered(Origin(version).by(TURNSTILE_READINGS), "" if landed.sha256 == version else _CHANGED)
        if feed.look(week) is None:
            # Without a raw file to read again, the readings in the lake are all that there is.
            return _Offered(_origin(lake_root, TURNSTILE_READINGS, week))
        problem = _NOT_LANDED if raw.manifest(week) is None else _DAMAGED
    except BadFile:
        problem = _UNUSABLE
    except DamagedRawFile:
        problem = _DAMAGED
    # No table has this origin, so the traffic of the week after is due, too.
    return _Offered(Origin(problem), problem)


def _why_incomplete(lake_root: str, week: str, carried: Origin | None, readings: Origin | None) -> str:
    """Say why the week's tables are not those made from these readings, by current rules; empty if they are."""
    if readings is None:
        return NOT_OFFERED
    tables = (*STAGED, *RIDERSHIP)
    return _why_not(lake_root, week, {table: _expected(table, carried, readings) for table in tables})


def _expected(table: Table, carried: Origin | None, readings: Origin) -> Origin:
    """Return the origin of a week's table. `carried` and `readings` are those of the readings, see traffic_origin."""
    if table in STAGED:
        return Origin(readings.made_from).by(table)
    return traffic_origin(carried, readings).by(TURNSTILE_TRAFFIC).by(table)


def _why_not(lake_root: str, week: str, expected: Mapping[Table, Origin]) -> str:
    """Say why the week's files do not have these origins; empty if they do."""
    found = {table: _origin(lake_root, table, week) for table in expected}
    if any(origin is None for origin in found.values()):
        return _INCOMPLETE
    pairs = [(origin, expected[table]) for table, origin in found.items() if origin]
    if any(origin.made_from.split()[-1] != current.made_from.split()[-1] for origin, current in pairs):
        return _OTHER_CONTENTS
    if any(origin.made_from != current.made_from for origin, current in pairs):
        return _OTHER_WEEK_BEFORE
    return _older_rules(pairs)


def _older_rules(pairs: Iterable[tuple[Origin, Origin]]) -> str:
    """Say which rules made files, given their origins and the expected ones; empty if the rules are current."""
    older = dict.fromkeys(rule for found, expected in pairs for rule in found.older_rules(expected))
    return f"made with older rules ({', '.join(older)})" if older else ""


def _origin(lake_root: str, table: Table, week: str) -> Origin | None:
    return origin(part_path(lake_root, table.layer, table.name, week))
