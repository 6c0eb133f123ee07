"""A handwritten lake for tests of everything that is computed from it."""

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl
from upath import UPath

from mta_pipeline.engines import open_lake
from mta_pipeline.hourly_ridership.contract import COMPLEX_HOURLY_PUBLISHED, OMNY_SHARE
from mta_pipeline.hourly_ridership.omny import omny_share
from mta_pipeline.lake.parquet import to_parquet
from mta_pipeline.lake.storage import part_path, write_atomically
from mta_pipeline.report.page import Sources
from mta_pipeline.schema import Table
from mta_pipeline.sources.socrata.staging import hours_of
from mta_pipeline.turnstile.clock import utc_offset
from mta_pipeline.turnstile.contract import (
    COMPLEX_DAILY,
    COMPLEX_HOURLY,
    CONTROL_AREAS,
    STATION_COMPLEXES,
    TURNSTILE_REJECTS,
    TURNSTILE_TRAFFIC,
)
from mta_pipeline.turnstile.ridership import complex_daily, complex_hourly
from mta_pipeline_tests.support.published_files import BOOTHS, moment

STATIONS = pl.DataFrame(
    [
        (613, "Lexington Av/59 St", "Manhattan", "N R W 4 5 6", 40.76, -73.97, "Subway"),
        (143, "Inwood-207 St", "Manhattan", "A", 40.87, -73.92, "Subway"),
    ],
    schema=dict(STATION_COMPLEXES.schema),
    orient="row",
)


class SmallLake:
    """A lake with two complexes and the weeks that a test adds."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.put(STATION_COMPLEXES, STATIONS)
        self.put(CONTROL_AREAS, BOOTHS)

    def put(self, table: Table, rows: pl.DataFrame, week: str | None = None) -> None:
        write_atomically(UPath(self.path(table, week)), to_parquet(rows.select(*table.schema)))

    def path(self, table: Table, week: str | None = None) -> Path:
        return Path(str(part_path(str(self.root), table.layer, table.name, week)))

    def week(self, week: str, *intervals: Mapping[str, object], rejects: Iterable[str] = ()) -> None:
        """Add a week's traffic, and compute the daily and hourly tables from it with the real functions."""
        traffic = pl.DataFrame(intervals, schema=dict(TURNSTILE_TRAFFIC.schema), orient="row")
        self.put(TURNSTILE_TRAFFIC, traffic, week)
        self.put(COMPLEX_DAILY, complex_daily(traffic), week)
        self.put(COMPLEX_HOURLY, complex_hourly(traffic), week)
        lines = [{"source_line": n, "reason": reason, "raw_text": ""} for n, reason in enumerate(rejects, 1)]
        self.put(TURNSTILE_REJECTS, pl.DataFrame(lines, schema=dict(TURNSTILE_REJECTS.schema)), week)

    def published(self, week: str, riders: int, taps: int, complexes: Iterable[int] = (613, 143)) -> None:
        """Add a week of the hourly feed with `riders` in every hour of each complex, and the shares from it."""
        hours = hours_of(dt.date.fromisoformat(week)).to_frame()
        listed = pl.DataFrame({"complex_id": complexes}, schema={"complex_id": pl.Int32})
        self.put(
            COMPLEX_HOURLY_PUBLISHED,
            listed.join(hours, how="cross").with_columns(
                pl.lit(riders, pl.Int64).alias("ridership"),
                pl.lit(0, pl.Int64).alias("transfers"),
                pl.lit(taps, pl.Int64).alias("omny_ridership"),
                pl.lit(taps / riders).alias("omny_share"),
            ),
            week,
        )
        weeks = self.path(COMPLEX_HOURLY_PUBLISHED, "*")
        self.put(
            OMNY_SHARE, omny_share(map(pl.read_parquet, sorted(self.root.glob(str(weeks.relative_to(self.root))))))
        )


def sources_of(lake_root: Path) -> Sources:
    """Return what a report is made from, computed from a lake."""
    with open_lake(str(lake_root)) as lake:
        marts = {
            name: pl.DataFrame(pl.from_arrow(lake.to_pyarrow(name)))
            for name in Sources.__dataclass_fields__
            if name != STATION_COMPLEXES.name
        }
    complexes = part_path(str(lake_root), STATION_COMPLEXES.layer, STATION_COMPLEXES.name)
    return Sources(**marts, station_complexes=pl.read_parquet(str(complexes)))


def interval(start: str, end: str, entries: int = 0, exits: int = 0, **others: object) -> dict[str, object]:
    """Return one interval of a turnstile of complex 613. Both statuses are `ok` unless `others` sets them."""
    return {
        "control_area": "A002",
        "unit": "R051",
        "scp": "02-00-00",
        "division": "BMT",
        "complex_id": 613,
        "started_at": moment(start),
        "ended_at": moment(end),
        "service_date": moment(start).date(),
        "entries": entries,
        "exits": exits,
        "entries_status": "ok",
        "exits_status": "ok",
        "started_utc_offset": utc_offset(moment(start)),
        "ended_utc_offset": utc_offset(moment(end)),
        **others,
    }
