"""Which published contents the tables of a week are made from, and so which weeks a run has to do.

Every weekly file says it in its own metadata, so the lake alone tells what is complete: Dagster's records may be of
another lake, and a killed run leaves none. The code and the reference tables are not part of it: after a new version
of the project, weeks are done again by saying so.
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

_OTHER = "other than what has landed"


def traffic_made_from(carried: str | None, readings: str | None) -> str | None:
    """What a week's traffic is made from, given what the readings of the week before and of the week are made from."""
    return readings and f"{carried or 'nothing'} {readings}"


def is_made_from(lake_root: str, week: str, origin: str | None, *tables: Table) -> bool:
    """Whether the files of these tables all say that they are made from these contents."""
    return all(_made_from(lake_root, table, week) == origin for table in tables)


def weeks_complete(lake_root: str) -> set[str]:
    """The weeks that every weekly table has, whatever contents they are made from; told by listing alone."""
    tables = (weeks_there(lake_root, table.layer, table.name) for table in (*STAGED, *RIDERSHIP))
    return RawFiles(lake_root).weeks().intersection(*tables)


def weeks_due(weeks: Sequence[str], lake_root: str, feed: Feed) -> list[str]:
    """Those of the weeks, given in order, whose tables are not all made from what the feed offers now.

    A week is due, too, if the week before it has other contents now, since its first intervals start there.

    Raises:
        FeedError: the feed does not say what it offers.
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
    """Those of the weeks that are in the lake and not made from what it now holds of them and of the week before."""
    readings = [(week, _made_from(lake_root, TURNSTILE_READINGS, week)) for week in weeks]
    return [
        week
        for week, origin in readings
        if origin
        and not _is_complete(lake_root, week, _made_from(lake_root, TURNSTILE_READINGS, week_before(week)), origin)
    ]


def _available(raw: RawFiles, feed: Feed, week: str) -> str | None:
    """The sha256 of the contents on offer if they have landed, None if there is no such week."""
    try:
        version = raw.available_version(feed, week)
        landed = version and raw.manifest(week)
    except (BadFile, DamagedRawFile):
        return _OTHER
    if landed:
        return version if landed.sha256 == version else _OTHER
    return None if feed.look(week) is None else _OTHER


def _is_complete(lake_root: str, week: str, carried: str | None, readings: str | None) -> bool:
    if readings is None:
        return False
    ridership = traffic_made_from(carried, readings)
    return is_made_from(lake_root, week, readings, *STAGED) and is_made_from(lake_root, week, ridership, *RIDERSHIP)


def _made_from(lake_root: str, table: Table, week: str) -> str | None:
    return made_from(part_path(lake_root, table.layer, table.name, week))
