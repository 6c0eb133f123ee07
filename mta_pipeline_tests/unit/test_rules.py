"""A change of code that changes rows must raise `Table.rules`. Otherwise the weeks in users' lakes keep the old rows.

The record is snapshots/rules.json: per table, the versions of its rules and a digest of its rows for a fixed input.
UPDATE_SNAPSHOTS=1 writes it again, and refuses changed rows whose rules were not raised.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mta_pipeline.hourly_ridership.contract import COMPLEX_HOURLY_PUBLISHED, HOURLY_RIDERSHIP
from mta_pipeline.hourly_ridership.published import complex_hourly_published
from mta_pipeline.lake.origin import Origin, traffic_origin
from mta_pipeline.sample import SampleFeed
from mta_pipeline.schema import Table
from mta_pipeline.sources.socrata import staging
from mta_pipeline.tables import WEEKLY
from mta_pipeline.turnstile import complexes, readings, ridership
from mta_pipeline.turnstile.contract import (
    COMPLEX_DAILY,
    COMPLEX_HOURLY,
    TURNSTILE_READINGS,
    TURNSTILE_REJECTS,
    TURNSTILE_TRAFFIC,
)
from mta_pipeline.turnstile.traffic import traffic

RECORD = Path(__file__).parents[1] / "snapshots" / "rules.json"
UPDATES = bool(os.environ.get("UPDATE_SNAPSHOTS"))

# Two consecutive weeks each. The clocks change in the second one: in spring (legacy layout) and in autumn (modern).
PAIRS = (("2014-03-01", "2014-03-08"), ("2023-10-28", "2023-11-04"))
UNUSUAL_LINES = {
    "2014-03-08": (
        "A002,R051,02-00-00,0-02,03-10-14,16:00:00",
        "A002,R051,02-00-00,03-10-14,01:02:03,DOOR OPEN,000000009,000000009,03-10-14,03:02:03,REGULAR,-1,1",
        "A002,R051",
    ),
    "2023-11-04": (
        'A002,R051,02-00-09,"59 ST, LEX",NQR456W,BMT,11/06/2023,00:00:00,REGULAR,5192500.0,0001756572',
        "A002,R051,02-00-09,59 ST,NQR456W,BMT,11/06/2023,04:00:00,RECOVR AUD,0005192600,0001756672",
        "A002,R051,02-00-09,59 ST,NQR456W,BMT,11/06/2023,04:00:00,REGULAR,0005192601,0001756673",
        "A002,R051,02-00-09,59 ST,NQR456W,BMT,2023-11-06,08:00:00,REGULAR,0005192700,0001756772",
        "A002,R051,02-00-09,59 ST,NQR456W,BMT,11/06/2023,12:00:00 PM,REGULAR,0005192800,0001756872",
        "A002,R051,2/3/2000,59 ST,NQR456W,BMT,11/06/2023,16:00:00,REGULAR,0005192900,0001756972",
        "A002,R051,02-00-09,59 ST,NQR456W,BMT,11/20/2023,16:00:00,REGULAR,0005192900,0001756972",
        "A002,R051,02-00-09,59 ST,NQR456W,BMT,11/06/2023,20:00:00,REGULAR,00051.5,0001757072",
        *(  # at and just beyond the limits of rule 5
            f"A002,R051,02-00-08,59 ST,NQR456W,BMT,{at},REGULAR,{register:010d},{register:010d}"
            for at, register in (
                ("11/06/2023,00:00:00", 0),
                ("11/06/2023,04:00:00", 7_200),
                ("11/06/2023,08:00:00", 14_401),
                ("11/07/2023,08:00:00", 15_000),
                ("11/08/2023,08:00:01", 16_000),
            )
        ),
        f"{70_000 * 'x'}",
        "A002,R051,02-00-09,59 ST,NQR456W,BMT,11/07/2023,20:00:00,REGULAR,0005193000,17",
    ),
}


@cache
def published() -> tuple[dict[str, bytes], pl.DataFrame]:
    """The weekly files by week, and the rows of the portal for the newest week."""
    feed = SampleFeed(seed=1, turnstiles=40, first_week="2014-03-01")
    weeks = [week for pair in PAIRS for week in pair]
    files = {
        made.week: made.text + "".join(f"{line}\n" for line in UNUSUAL_LINES.get(made.week, ())).encode()
        for made in feed.stream(weeks)
    }
    hours = feed.hourly(weeks[-1:]).with_columns(pl.col("transit_timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S%.3f"))
    rows = hours.cast(pl.String).with_row_index("n").cast({"n": pl.String})
    fixed = {":id": pl.col("n"), ":updated_at": pl.lit("2024-04-01T12:00:00.000Z")}
    texts = rows.with_columns(**fixed).select(*HOURLY_RIDERSHIP.fields)
    return files, pl.concat([texts, texts.head(1).with_columns(ridership=pl.lit("many"))])


@cache
def rows() -> dict[Table, list[pl.DataFrame]]:
    """All weekly tables of this input."""
    files, hours = published()
    booths = complexes.control_areas()
    made: dict[Table, list[pl.DataFrame]] = {table: [] for table in WEEKLY}
    for pair in PAIRS:
        carried = None
        for week in pair:
            staged = readings.stage(files[week], week, booths)
            passed = traffic(staged.readings, carried, booths)
            carried = staged.readings
            made[TURNSTILE_READINGS].append(staged.readings)
            made[TURNSTILE_REJECTS].append(staged.rejects)
            made[TURNSTILE_TRAFFIC].append(passed)
            made[COMPLEX_DAILY].append(ridership.complex_daily(passed))
            made[COMPLEX_HOURLY].append(ridership.complex_hourly(passed))
    hourly = staging.stage(hours, HOURLY_RIDERSHIP, PAIRS[-1][-1])
    made[HOURLY_RIDERSHIP.staged].append(hourly.rows)
    made[HOURLY_RIDERSHIP.rejects].append(hourly.rejects)
    made[COMPLEX_HOURLY_PUBLISHED].append(complex_hourly_published(hourly.rows))
    return made


def rules_of(table: Table) -> dict[str, int]:
    """The versions of the rules that make a table from published contents."""
    staged = Origin("")
    of = {
        TURNSTILE_TRAFFIC: traffic_origin(None, staged.by(TURNSTILE_READINGS)),
        COMPLEX_HOURLY_PUBLISHED: staged.by(HOURLY_RIDERSHIP.staged),
    }
    of |= dict.fromkeys((COMPLEX_DAILY, COMPLEX_HOURLY), of[TURNSTILE_TRAFFIC].by(TURNSTILE_TRAFFIC))
    return dict(of.get(table, staged).by(table).rules)


def digest(*frames: pl.DataFrame) -> str:
    text = "\n".join(frame.write_csv(float_precision=6) for frame in frames)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def input_digest() -> str:
    files, hours = published()
    return hashlib.sha256(b"".join(files.values()) + hours.write_csv().encode()).hexdigest()[:16]


def current(table: Table) -> dict[str, Any]:
    return {"rules": rules_of(table), "rows": digest(*rows()[table])}


@pytest.fixture(scope="module")
def record() -> Iterator[dict[str, Any]]:
    """The record, with `tables` as the tests leave it."""
    found = json.loads(RECORD.read_text()) if RECORD.exists() else {"input": "", "tables": {}}
    yield found
    if UPDATES:
        RECORD.write_text(json.dumps(found | {"input": input_digest()}, indent=1) + "\n")


def test_the_input_is_that_of_the_record(record):
    assert UPDATES or record["input"] == input_digest(), "The sample has changed: record it with UPDATE_SNAPSHOTS=1"


@pytest.mark.parametrize("table", WEEKLY, ids=lambda table: table.name)
def test_rows_change_only_with_the_version_of_their_rules(record, table):
    recorded, found = record["tables"].get(table.name), current(table)
    if recorded and record["input"] == input_digest() and recorded["rows"] != found["rows"]:
        assert recorded["rules"] != found["rules"], (
            f"The rows of {table.name} have changed for the same input: raise Table.rules of the table whose code has "
            f"changed, one of {', '.join(found['rules'])}, and record it with UPDATE_SNAPSHOTS=1"
        )
    if recorded:
        assert all(found["rules"][name] >= version for name, version in recorded["rules"].items()), "Versions only rise"
    if UPDATES:
        record["tables"][table.name] = found
    assert record["tables"].get(table.name) == found, "Record the new version with UPDATE_SNAPSHOTS=1"


def test_each_table_has_rows_in_the_input():
    assert [table.name for table, frames in rows().items() if not any(map(len, frames))] == []
