"""Which published contents the tables of a week are made from, and therefore which weeks are complete or due.

Each weekly file records this in its own metadata under `made_from`. Dagster's records are not used: they may belong to
another lake, and a killed run leaves none. The version of the code and the reference tables do not count: after an
update of the project, complete weeks stay complete until a user asks to rebuild them.
"""

from collections.abc import Sequence

from mta_pipeline.lake.parquet import made_from
from mta_pipeline.lake.raw import DamagedRawFile
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.lake.storage import part_path, weeks_there
from mta_pipeline.schema import Table
from mta_pipeline.sources.errors import BadFile
from mta_pipeline.sources.turnstile_files import Feed
from mta_pipeline.tables import RIDERSHIP, STAGED
from mta_pipeline.turnstile.contract import TURNSTILE_READINGS
from mta_pipeline.weeks import week_before

_CHANGED = "available, but not landed with these contents"


def traffic_made_from(carried: str | None, readings: str | None) -> str | None:
    """Return `made_from` of a week's traffic, or None without readings of the week (rule 3).

    Args:
        carried: `made_from` of the readings of the week before, or None if there are none.
        readings: `made_from` of the readings of the week.
    """
    return readings and f"{carried or 'nothing'} {readings}"


def is_made_from(lake_root: str, week: str, origin: str | None, *tables: Table) -> bool:
    """Whether the week's files of these tables all have `made_from` equal to `origin`."""
    return all(_made_from(lake_root, table, week) == origin for table in tables)


def weeks_complete(lake_root: str) -> set[str]:
    """Return the weeks with a file in every weekly table, whatever they are made from. Lists files, reads none."""
    tables = (weeks_there(lake_root, table.layer, table.name) for table in (*STAGED, *RIDERSHIP))
    return RawFiles(lake_root).weeks().intersection(*tables)


def weeks_due(weeks: Sequence[str], lake_root: str, feed: Feed) -> list[str]:
    """Return the weeks, given in order, whose tables are not all made from the contents that the feed offers now.

    A week is also due if the contents of the week before have changed: its first intervals start there (rule 3).

    Raises:
        FeedError: the feed cannot be reached, or refuses the request.
    """
    raw = RawFiles(lake_root)
    due: list[str] = []
    available: dict[str, str | None] = {}
    for week in weeks:
        before = week_before(week)
        carried = available[before] if before in available else _made_from(lake_root, TURNSTILE_READINGS, before)
        available[week] = _available(raw, feed, week)
        if not _is_complete(lake_root, week, carried, available[week]):
            due.append(week)
    return due


def weeks_out_of_date(weeks: Sequence[str], lake_root: str) -> list[str]:
    """Return the weeks in the lake whose tables are older than its readings of that week or of the week before."""
    readings = [(week, _made_from(lake_root, TURNSTILE_READINGS, week)) for week in weeks]
    return [
        week
        for week, origin in readings
        if origin
        and not _is_complete(lake_root, week, _made_from(lake_root, TURNSTILE_READINGS, week_before(week)), origin)
    ]


def _available(raw: RawFiles, feed: Feed, week: str) -> str | None:
    """The sha256 of the available contents if they have landed, _CHANGED if not, None if there is no such week."""
    try:
        version = raw.available_version(feed, week)
        if version and (landed := raw.manifest(week)):
            return version if landed.sha256 == version else _CHANGED
        return None if feed.look(week) is None else _CHANGED
    except (BadFile, DamagedRawFile):
        return _CHANGED


def _is_complete(lake_root: str, week: str, carried: str | None, readings: str | None) -> bool:
    if readings is None:
        return False
    ridership = traffic_made_from(carried, readings)
    return is_made_from(lake_root, week, readings, *STAGED) and is_made_from(lake_root, week, ridership, *RIDERSHIP)


def _made_from(lake_root: str, table: Table, week: str) -> str | None:
    return made_from(part_path(lake_root, table.layer, table.name, week))
