"""Computes the tables of a week again from its raw data, and compares them with those in the lake."""

from collections.abc import Iterator

import polars as pl

from mta_pipeline.lake.comparison import Options, compare_frames
from mta_pipeline.lake.parquet import scan, to_parquet, with_new_columns
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.lake.storage import part_path
from mta_pipeline.schema import Table
from mta_pipeline.turnstile import ridership
from mta_pipeline.turnstile.contract import (
    COMPLEX_DAILY,
    COMPLEX_HOURLY,
    CONTROL_AREAS,
    TURNSTILE_READINGS,
    TURNSTILE_REJECTS,
    TURNSTILE_TRAFFIC,
)
from mta_pipeline.turnstile.readings import stage
from mta_pipeline.turnstile.traffic import traffic
from mta_pipeline.weeks import week_before


def different_tables(lake_root: str, week: str) -> Iterator[str]:
    """Yield a message for each table of a week that is not what the current code makes of the raw data.

    The readings of the week before are taken from the lake, because traffic continues them (rule 3).

    Raises:
        FileNotFoundError: a table is missing.
        DamagedFile, DamagedRawFile: a file is damaged.
        UnreadableFile: the raw data cannot be staged.
    """
    landed = RawFiles(lake_root).load(week)
    if landed is None:
        raise FileNotFoundError(f"{RawFiles(lake_root).path(week)}: there are no raw data of the week {week}")
    control_areas = _stored(lake_root, CONTROL_AREAS)
    staged = stage(landed.published, week, control_areas, landed.lines)
    try:
        carried = _stored(lake_root, TURNSTILE_READINGS, week_before(week))
    except FileNotFoundError:
        carried = None
    intervals = traffic(staged.readings, carried, control_areas)
    made = {
        TURNSTILE_READINGS: staged.readings,
        TURNSTILE_REJECTS: staged.rejects,
        TURNSTILE_TRAFFIC: intervals,
        COMPLEX_DAILY: ridership.complex_daily(intervals),
        COMPLEX_HOURLY: ridership.complex_hourly(intervals),
    }
    for table, rows in made.items():
        again = pl.read_parquet(bytes(to_parquet(rows)))
        found = compare_frames(_stored(lake_root, table, week), again, table.key, Options(ignore=()))
        counts = {
            "only in the lake": len(found.only_first),
            "only in the new computation": len(found.only_second),
            "changed": len(found.changed),
        }
        about = [*(f"{count:,} rows {kind}" for kind, count in counts.items() if count), *found.columns]
        if about:
            yield f"{table.layer}/{table.name} of {week} differs from a new computation: {', '.join(about)}"


def _stored(lake_root: str, table: Table, week: str | None = None) -> pl.DataFrame:
    frame = scan(part_path(lake_root, table.layer, table.name, week), in_place=False)
    return with_new_columns(frame, table).collect()
