"""Alternative implementations for comparison: readings and traffic with pandas, and with SQL in DuckDB.

Both implement rules 2 to 6 of the data contract week by week, with the carry-in from the week before. They expect valid
files in the modern layout. They are vectorized, but not specially optimized. They write the essential columns.
"""

import glob
from collections.abc import Sequence
from pathlib import Path

from bench.sample import path

_TURNSTILE = ["control_area", "unit", "scp"]
_FIELDS = [*_TURNSTILE, "station", "line_name", "division", "date", "time", "audit", "entries", "exits"]
_REGISTERS = ("entries", "exits")


def by_pandas(feed: Path, out: Path, weeks: Sequence[str]) -> None:
    """Write `<out>/{readings,traffic}/<week>.parquet` with `read_csv`, `groupby` and `diff`."""
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    for table in ("readings", "traffic"):
        (out / table).mkdir(parents=True)
    carried = None
    for week in weeks:
        readings = pd.read_csv(path(feed, week), names=_FIELDS, skiprows=1)
        readings["read_at"] = pd.to_datetime(readings["date"] + " " + readings["time"], format="%m/%d/%Y %H:%M:%S")
        readings["source_line"] = np.arange(2, len(readings) + 2)
        readings = (
            readings.drop(columns=["date", "time"])
            .assign(irregular=readings["audit"] != "REGULAR")
            .sort_values([*_TURNSTILE, "read_at", "irregular", "source_line"])
            .drop_duplicates([*_TURNSTILE, "read_at"])
            .drop(columns="irregular")
        )
        readings.to_parquet(out / "readings" / f"{week}.parquet", compression="zstd", index=False)
        both = readings.assign(here=True) if carried is None else pd.concat([carried, readings.assign(here=True)])
        turnstile = both.groupby(_TURNSTILE, sort=False)
        both["started_at"] = turnstile["read_at"].shift()
        for register in _REGISTERS:
            both[f"{register}_difference"] = turnstile[register].diff()
        carried = readings.groupby(_TURNSTILE, sort=False).tail(1).assign(here=False)
        traffic = both[both["here"]].rename(columns={"read_at": "ended_at"})
        turnstile = traffic.groupby(_TURNSTILE, sort=False)
        seconds = (traffic["ended_at"] - traffic["started_at"]).dt.total_seconds()
        most = seconds.clip(upper=16_200) * 0.5 + (seconds - 16_200).clip(lower=0) * 0.1
        for register in _REGISTERS:
            difference = traffic[f"{register}_difference"]
            rises = traffic.assign(sign=np.sign(difference)).groupby(_TURNSTILE, sort=False)["sign"].transform("sum")
            people = difference.where(rises >= 0, -difference)
            status = np.select(
                [people.isna(), people < 0, people > most, seconds > 86_400],
                ["first", "reset", "implausible", "long_gap"],
                "ok",
            )
            traffic[f"{register}_status"] = status
            traffic[register] = people.where(np.isin(status, ["ok", "long_gap"])).astype("Int64")
        columns = [*_TURNSTILE, "division", "started_at", "ended_at", *_REGISTERS, "entries_status", "exits_status"]
        traffic[columns].to_parquet(out / "traffic" / f"{week}.parquet", compression="zstd", index=False)


_READINGS = """
CREATE OR REPLACE TABLE readings AS
SELECT * EXCLUDE (date, time, entries, exits), strptime(date || ' ' || time, '%m/%d/%Y %H:%M:%S') AS read_at,
    entries, trim(exits)::BIGINT AS exits, 1 + row_number() OVER () AS source_line
FROM read_csv(?, header = false, skip = 1, quote = '', auto_detect = false, delim = ',', columns = {
    control_area: 'VARCHAR', unit: 'VARCHAR', scp: 'VARCHAR', station: 'VARCHAR', line_name: 'VARCHAR',
    division: 'VARCHAR', date: 'VARCHAR', time: 'VARCHAR', audit: 'VARCHAR', entries: 'BIGINT', exits: 'VARCHAR'});
CREATE OR REPLACE TABLE readings AS
FROM readings QUALIFY row_number() OVER (
    PARTITION BY control_area, unit, scp, read_at ORDER BY audit != 'REGULAR', source_line) = 1;
"""

_TRAFFIC = """
CREATE OR REPLACE TABLE traffic AS
WITH paired AS (
    SELECT *, lag(read_at) OVER moments AS started_at,
        entries - lag(entries) OVER moments AS entries_difference, exits - lag(exits) OVER moments AS exits_difference
    FROM (SELECT *, true AS here FROM readings UNION ALL BY NAME SELECT *, false AS here FROM carried)
    WINDOW moments AS (PARTITION BY control_area, unit, scp ORDER BY read_at)
),
counted AS (
    SELECT *, date_diff('second', started_at, read_at) AS seconds,
        if(sum(sign(entries_difference)) OVER turnstile < 0, -entries_difference, entries_difference) AS entries_people,
        if(sum(sign(exits_difference)) OVER turnstile < 0, -exits_difference, exits_difference) AS exits_people
    FROM paired WHERE here WINDOW turnstile AS (PARTITION BY control_area, unit, scp)
),
judged AS (
    SELECT *, least(seconds, 16200) * 0.5 + greatest(seconds - 16200, 0) * 0.1 AS most,
        CASE WHEN entries_people IS NULL THEN 'first' WHEN entries_people < 0 THEN 'reset'
            WHEN entries_people > most THEN 'implausible' WHEN seconds > 86400 THEN 'long_gap' ELSE 'ok'
        END AS entries_status,
        CASE WHEN exits_people IS NULL THEN 'first' WHEN exits_people < 0 THEN 'reset'
            WHEN exits_people > most THEN 'implausible' WHEN seconds > 86400 THEN 'long_gap' ELSE 'ok'
        END AS exits_status
    FROM counted
)
SELECT control_area, unit, scp, division, started_at, read_at AS ended_at,
    CASE WHEN entries_status IN ('ok', 'long_gap') THEN entries_people END AS entries,
    CASE WHEN exits_status IN ('ok', 'long_gap') THEN exits_people END AS exits, entries_status, exits_status
FROM judged;
CREATE OR REPLACE TABLE carried AS
FROM readings QUALIFY row_number() OVER (PARTITION BY control_area, unit, scp ORDER BY read_at DESC) = 1;
"""


def by_duckdb(feed: Path, out: Path, weeks: Sequence[str]) -> None:
    """Write `<out>/{readings,traffic}/<week>.parquet` with window functions."""
    import duckdb  # noqa: PLC0415

    for table in ("readings", "traffic"):
        (out / table).mkdir(parents=True)
    with duckdb.connect() as database:
        database.execute("SET enable_progress_bar = false")
        for nth, week in enumerate(weeks):
            create, deduplicate, _ = _READINGS.split(";")
            database.execute(create, [glob.escape(str(path(feed, week)))])
            database.execute(deduplicate)
            if nth == 0:
                database.execute("CREATE TABLE carried AS FROM readings LIMIT 0")
            database.execute(_TRAFFIC)
            for table in ("readings", "traffic"):
                file = str(out / table / f"{week}.parquet").replace("'", "''")
                database.execute(f"COPY {table} TO '{file}' (COMPRESSION zstd)")
