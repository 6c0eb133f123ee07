"""Generates docs/catalogue.md for users of the data: every table with columns, freshness and example queries.

The contracts hold the meaning of tables and columns. A test compares the page with `docs/catalogue.md` and runs every
example on a sample lake.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mta_pipeline.hourly_ridership.contract import OMNY_SHARE
from mta_pipeline.hourly_ridership.contract import TABLES as HOURLY
from mta_pipeline.marts.contract import DIM_DATE, MARTS, WAREHOUSE
from mta_pipeline.schema import Column, Table
from mta_pipeline.tables import REFERENCE, TABLES, WITHOUT_WEEKS

SETUP: Final = """\
import duckdb
import pandas as pd
import polars as pl

lake = "data/sample/lake"
warehouse = duckdb.connect(f"{lake}/warehouse/mta.duckdb", read_only=True)"""
"""Setup code of the Python examples."""


@dataclass(frozen=True)
class Example:
    """A question with three equivalent queries: SQL on the warehouse, Polars and pandas."""

    question: str
    sql: str
    polars: str
    pandas: str


EXAMPLES: Final[Mapping[str, Example]] = MappingProxyType(
    {
        "turnstile_readings": Example(
            "How many turnstiles of each division were read in a week?",
            """\
SELECT division, count(DISTINCT (control_area, unit, scp)) AS turnstiles
FROM staged.turnstile_readings WHERE week = '2014-10-11' GROUP BY division ORDER BY division""",
            """\
readings = pl.read_parquet(f"{lake}/staged/turnstile_readings/week=2014-10-11/part-0.parquet")
turnstile = pl.struct("control_area", "unit", "scp")
readings.group_by("division").agg(turnstiles=turnstile.n_unique()).sort("division")""",
            """\
readings = pd.read_parquet(f"{lake}/staged/turnstile_readings/week=2014-10-11/part-0.parquet")
turnstiles = readings.drop_duplicates(["control_area", "unit", "scp"])
turnstiles.groupby("division", as_index=False).agg(turnstiles=("scp", "size"))""",
        ),
        "turnstile_rejects": Example(
            "Why were lines rejected, and how many?",
            "SELECT reason, count(*) AS lines FROM staged.turnstile_rejects GROUP BY reason ORDER BY reason",
            """\
rejects = pl.read_parquet(f"{lake}/staged/turnstile_rejects/week=*/part-0.parquet")
rejects.group_by("reason").agg(lines=pl.len()).sort("reason")""",
            """\
rejects = pd.read_parquet(f"{lake}/staged/turnstile_rejects")
rejects.groupby("reason", as_index=False).agg(lines=("raw_text", "size"))""",
        ),
        "turnstile_traffic": Example(
            "How many people went through each division's turnstiles in a week?",
            """\
SELECT division, sum(entries) AS entries, sum(exits) AS exits
FROM lake.turnstile_traffic WHERE week = '2014-10-11' GROUP BY division ORDER BY division""",
            """\
traffic = pl.read_parquet(f"{lake}/lake/turnstile_traffic/week=2014-10-11/part-0.parquet")
traffic.group_by("division").agg(pl.col("entries", "exits").sum()).sort("division")""",
            """\
traffic = pd.read_parquet(f"{lake}/lake/turnstile_traffic/week=2014-10-11/part-0.parquet")
traffic.groupby("division", as_index=False)[["entries", "exits"]].sum()""",
        ),
        "complex_daily": Example(
            "How many people used the subway each day? A Friday is in the files of two weeks, so sum over weeks.",
            """\
SELECT service_date, sum(entries) AS entries, sum(exits) AS exits
FROM lake.complex_daily GROUP BY service_date ORDER BY service_date""",
            """\
daily = pl.read_parquet(f"{lake}/lake/complex_daily/week=*/part-0.parquet")
daily.group_by("service_date").agg(pl.col("entries", "exits").sum()).sort("service_date")""",
            """\
daily = pd.read_parquet(f"{lake}/lake/complex_daily")
daily.groupby("service_date", as_index=False)[["entries", "exits"]].sum()""",
        ),
        "complex_hourly": Example(
            "How many people left the subway in each hour of a day?",
            """\
SELECT hour, sum(exits) AS exits
FROM lake.complex_hourly WHERE hour::DATE = '2014-10-14' GROUP BY hour ORDER BY hour""",
            """\
hourly = pl.read_parquet(f"{lake}/lake/complex_hourly/week=*/part-0.parquet")
of_day = hourly.filter(pl.col("hour").dt.date() == pl.date(2014, 10, 14))
of_day.group_by("hour").agg(pl.col("exits").sum()).sort("hour")""",
            """\
hourly = pd.read_parquet(f"{lake}/lake/complex_hourly")
of_day = hourly[hourly["hour"].dt.normalize() == "2014-10-14"]
of_day.groupby("hour", as_index=False)[["exits"]].sum()""",
        ),
        "hourly_ridership": Example(
            "How many riders does each payment method have in a week?",
            """\
SELECT payment_method, sum(ridership) AS ridership
FROM staged.hourly_ridership WHERE week = '2024-01-06' GROUP BY payment_method ORDER BY payment_method""",
            """\
rows = pl.read_parquet(f"{lake}/staged/hourly_ridership/week=2024-01-06/part-0.parquet")
rows.group_by("payment_method").agg(pl.col("ridership").sum()).sort("payment_method")""",
            """\
rows = pd.read_parquet(f"{lake}/staged/hourly_ridership/week=2024-01-06/part-0.parquet")
rows.groupby("payment_method", as_index=False)[["ridership"]].sum()""",
        ),
        "hourly_ridership_rejects": Example(
            "How many rows of the portal were rejected?",
            "SELECT count(*) AS rejects FROM staged.hourly_ridership_rejects",
            """\
rejects = pl.read_parquet(f"{lake}/staged/hourly_ridership_rejects/week=*/part-0.parquet")
rejects.select(rejects=pl.len())""",
            """\
rejects = pd.read_parquet(f"{lake}/staged/hourly_ridership_rejects")
pd.DataFrame({"rejects": [len(rejects)]})""",
        ),
        "complex_hourly_published": Example(
            "How many people use the subway in each hour of a day, and what share of them taps OMNY?",
            """\
SELECT hour, sum(ridership) AS ridership, sum(omny_ridership) / sum(ridership) AS omny_share
FROM lake.complex_hourly_published WHERE hour::DATE = '2024-01-09' GROUP BY hour ORDER BY hour""",
            """\
hourly = pl.read_parquet(f"{lake}/lake/complex_hourly_published/week=*/part-0.parquet")
of_day = hourly.filter(pl.col("hour").dt.date() == pl.date(2024, 1, 9))
share = pl.col("omny_ridership").sum() / pl.col("ridership").sum()
of_day.group_by("hour").agg(pl.col("ridership").sum(), omny_share=share).sort("hour")""",
            """\
hourly = pd.read_parquet(f"{lake}/lake/complex_hourly_published")
of_day = hourly[hourly["hour"].dt.normalize() == "2024-01-09"]
sums = of_day.groupby("hour", as_index=False)[["ridership", "omny_ridership"]].sum()
sums.assign(omny_share=sums["omny_ridership"] / sums["ridership"])[["hour", "ridership", "omny_share"]]""",
        ),
        "omny_share": Example(
            "What share of all riders taps OMNY, by month?",
            "SELECT month, omny_share FROM lake.omny_share WHERE complex_id IS NULL ORDER BY month",
            """\
shares = pl.read_parquet(f"{lake}/lake/omny_share/part-0.parquet")
shares.filter(pl.col("complex_id").is_null()).select("month", "omny_share").sort("month")""",
            """\
shares = pd.read_parquet(f"{lake}/lake/omny_share/part-0.parquet")
shares[shares["complex_id"].isna()][["month", "omny_share"]].sort_values("month")""",
        ),
        "control_areas": Example(
            "How many booths does each division have?",
            """\
SELECT division, count(*) AS booths
FROM lake.control_areas WHERE division IS NOT NULL GROUP BY division ORDER BY division""",
            """\
booths = pl.read_parquet(f"{lake}/lake/control_areas/part-0.parquet").drop_nulls("division")
booths.group_by("division").agg(booths=pl.len()).sort("division")""",
            """\
booths = pd.read_parquet(f"{lake}/lake/control_areas/part-0.parquet")
booths.groupby("division", as_index=False).agg(booths=("unit", "size"))""",
        ),
        "station_complexes": Example(
            "How many station complexes does each borough have?",
            "SELECT borough, count(*) AS complexes FROM lake.station_complexes GROUP BY borough ORDER BY borough",
            """\
complexes = pl.read_parquet(f"{lake}/lake/station_complexes/part-0.parquet")
complexes.group_by("borough").agg(complexes=pl.len()).sort("borough")""",
            """\
complexes = pd.read_parquet(f"{lake}/lake/station_complexes/part-0.parquet")
complexes.groupby("borough", as_index=False).agg(complexes=("name", "size"))""",
        ),
        "dim_station": Example(
            "Where is a station complex?",
            "SELECT name, latitude, longitude FROM warehouse.dim_station WHERE name LIKE 'Times Sq%'",
            """\
stations = warehouse.sql("FROM warehouse.dim_station").pl()
stations.filter(pl.col("name").str.starts_with("Times Sq")).select("name", "latitude", "longitude")""",
            """\
stations = warehouse.sql("FROM warehouse.dim_station").df()
stations[stations["name"].str.startswith("Times Sq")][["name", "latitude", "longitude"]]""",
        ),
        "dim_booth": Example(
            "How many booths are there in each borough?",
            """\
SELECT borough, count(*) AS booths
FROM warehouse.dim_booth JOIN warehouse.dim_station USING (complex_id) GROUP BY borough ORDER BY borough""",
            """\
booths = warehouse.sql("FROM warehouse.dim_booth").pl()
stations = warehouse.sql("FROM warehouse.dim_station").pl()
booths.join(stations, on="complex_id").group_by("borough").agg(booths=pl.len()).sort("borough")""",
            """\
booths = warehouse.sql("FROM warehouse.dim_booth WHERE complex_id IS NOT NULL").df()
stations = warehouse.sql("FROM warehouse.dim_station").df()
booths.merge(stations, on="complex_id").groupby("borough", as_index=False).agg(booths=("unit", "size"))""",
        ),
        "dim_date": Example(
            "Which weeks are in the lake?",
            "SELECT DISTINCT week FROM warehouse.dim_date WHERE in_lake ORDER BY week",
            """\
dates = warehouse.sql("FROM warehouse.dim_date").pl()
dates.filter("in_lake").select("week").unique().sort("week")""",
            """\
dates = warehouse.sql("FROM warehouse.dim_date").df()
dates[dates["in_lake"]][["week"]].drop_duplicates()""",
        ),
        "fact_turnstile": Example(
            "How many people leave the subway by day of the week?",
            """\
SELECT weekday, weekday_name, sum(exits) AS exits
FROM warehouse.fact_turnstile JOIN warehouse.dim_date ON service_date = date
WHERE is_subway AND exits_status = 'ok' GROUP BY weekday, weekday_name ORDER BY weekday""",
            """\
facts = warehouse.sql("FROM warehouse.fact_turnstile WHERE is_subway AND exits_status = 'ok'").pl()
dates = warehouse.sql("FROM warehouse.dim_date").pl()
days = facts.join(dates, left_on="service_date", right_on="date")
days.group_by("weekday", "weekday_name").agg(pl.col("exits").sum()).sort("weekday")""",
            """\
facts = warehouse.sql("FROM warehouse.fact_turnstile WHERE is_subway AND exits_status = 'ok'").df()
dates = warehouse.sql("FROM warehouse.dim_date").df()
days = facts.merge(dates, left_on="service_date", right_on="date")
days.groupby(["weekday", "weekday_name"], as_index=False)[["exits"]].sum()""",
        ),
        "station_daily": Example(
            "How many people left one station each day, and what share of the turnstiles' time is covered?",
            """\
SELECT service_date, exits, coverage
FROM marts.station_daily WHERE name LIKE 'Times Sq%' AND is_whole_day ORDER BY service_date""",
            """\
daily = pl.read_parquet(f"{lake}/marts/station_daily/part-0.parquet")
times_square = daily.filter(pl.col("name").str.starts_with("Times Sq"), "is_whole_day")
times_square.select("service_date", "exits", "coverage").sort("service_date")""",
            """\
daily = pd.read_parquet(f"{lake}/marts/station_daily/part-0.parquet")
times_square = daily[daily["name"].str.startswith("Times Sq") & daily["is_whole_day"]]
times_square[["service_date", "exits", "coverage"]].sort_values("service_date")""",
        ),
        "station_peak_hours": Example(
            "In which four hours of a weekday do most people leave each of the busiest stations?",
            """\
SELECT name, block_start, exits_per_day, exits_share FROM marts.station_peak_hours
WHERE day_kind = 'weekday' AND exits_rank = 1 ORDER BY exits_per_day DESC, name LIMIT 5""",
            """\
peaks = pl.read_parquet(f"{lake}/marts/station_peak_hours/part-0.parquet")
first = peaks.filter(pl.col("day_kind") == "weekday", pl.col("exits_rank") == 1)
busiest = first.sort("exits_per_day", "name", descending=[True, False]).head(5)
busiest.select("name", "block_start", "exits_per_day", "exits_share")""",
            """\
peaks = pd.read_parquet(f"{lake}/marts/station_peak_hours/part-0.parquet")
first = peaks[(peaks["day_kind"] == "weekday") & (peaks["exits_rank"] == 1)]
busiest = first.sort_values(["exits_per_day", "name"], ascending=[False, True]).head(5)
busiest[["name", "block_start", "exits_per_day", "exits_share"]]""",
        ),
        "station_week_over_week": Example(
            "Which stations gained the most exits compared with the week before?",
            """\
SELECT name, exits, exits_change_week_before FROM marts.station_week_over_week
WHERE week = '2014-10-11' AND exits_week_before >= 1000 ORDER BY exits_change_week_before DESC, name LIMIT 5""",
            """\
weeks = pl.read_parquet(f"{lake}/marts/station_week_over_week/part-0.parquet")
of_week = weeks.filter(pl.col("week") == pl.date(2014, 10, 11), pl.col("exits_week_before") >= 1000)
gained = of_week.sort("exits_change_week_before", "name", descending=[True, False]).head(5)
gained.select("name", "exits", "exits_change_week_before")""",
            """\
weeks = pd.read_parquet(f"{lake}/marts/station_week_over_week/part-0.parquet")
of_week = weeks[(weeks["week"].astype(str) == "2014-10-11") & (weeks["exits_week_before"] >= 1000)]
gained = of_week.sort_values(["exits_change_week_before", "name"], ascending=[False, True]).head(5)
gained[["name", "exits", "exits_change_week_before"]]""",
        ),
        "system_daily": Example(
            "How many people used the subway on each day that is completely in the lake?",
            """\
SELECT service_date, sum(entries) AS entries, sum(exits) AS exits
FROM marts.system_daily WHERE is_whole_day GROUP BY service_date ORDER BY service_date""",
            """\
system = pl.read_parquet(f"{lake}/marts/system_daily/part-0.parquet").filter("is_whole_day")
system.group_by("service_date").agg(pl.col("entries", "exits").sum()).sort("service_date")""",
            """\
system = pd.read_parquet(f"{lake}/marts/system_daily/part-0.parquet")
system[system["is_whole_day"]].groupby("service_date", as_index=False)[["entries", "exits"]].sum()""",
        ),
        "busiest_places": Example(
            "Which stations are busiest on Fridays at 17:00, and where are they?",
            """\
SELECT name, latitude, longitude, exits_per_day FROM marts.busiest_places
WHERE weekday = 5 AND hour = 17 AND exits_rank <= 5 ORDER BY exits_rank, name""",
            """\
places = pl.read_parquet(f"{lake}/marts/busiest_places/part-0.parquet")
friday_at_five = places.filter(pl.col("weekday") == 5, pl.col("hour") == 17, pl.col("exits_rank") <= 5)
friday_at_five.sort("exits_rank", "name").select("name", "latitude", "longitude", "exits_per_day")""",
            """\
places = pd.read_parquet(f"{lake}/marts/busiest_places/part-0.parquet")
friday_at_five = places.query("weekday == 5 and hour == 17 and exits_rank <= 5")
friday_at_five.sort_values(["exits_rank", "name"])[["name", "latitude", "longitude", "exits_per_day"]]""",
        ),
        "data_quality_weekly": Example(
            "Which weeks are in the lake, and how good is the data of each?",
            "SELECT week, in_lake, readings, turnstiles, coverage FROM marts.data_quality_weekly ORDER BY week",
            """\
weeks = pl.read_parquet(f"{lake}/marts/data_quality_weekly/part-0.parquet")
weeks.select("week", "in_lake", "readings", "turnstiles", "coverage").sort("week")""",
            """\
weeks = pd.read_parquet(f"{lake}/marts/data_quality_weekly/part-0.parquet")
weeks[["week", "in_lake", "readings", "turnstiles", "coverage"]].sort_values("week")""",
        ),
        "ridership_estimate": Example(
            "How many people used the subway each day, with OMNY taps, and how uncertain is the estimate?",
            """\
SELECT service_date, sum(ridership_estimate) AS riders, sum(estimate_low) AS low, sum(estimate_high) AS high
FROM marts.ridership_estimate WHERE is_whole_day AND share_source <> 'unknown'
GROUP BY service_date ORDER BY service_date""",
            """\
days = pl.read_parquet(f"{lake}/marts/ridership_estimate/part-0.parquet")
known = days.filter("is_whole_day", pl.col("share_source") != "unknown")
band = {"riders": "ridership_estimate", "low": "estimate_low", "high": "estimate_high"}
sums = {name: pl.col(column).sum() for name, column in band.items()}
known.group_by("service_date").agg(**sums).sort("service_date")""",
            """\
days = pd.read_parquet(f"{lake}/marts/ridership_estimate/part-0.parquet")
known = days[days["is_whole_day"] & (days["share_source"] != "unknown")]
sums = known.groupby("service_date", as_index=False)[["ridership_estimate", "estimate_low", "estimate_high"]].sum()
sums.set_axis(["service_date", "riders", "low", "high"], axis=1)""",
        ),
        "ridership_reconciliation": Example(
            "How well do the estimates agree with the ridership that the MTA publishes, by week?",
            """\
SELECT week, sum(ridership_estimate) / sum(published) AS ratio
FROM marts.ridership_reconciliation GROUP BY week ORDER BY week""",
            """\
pairs = pl.read_parquet(f"{lake}/marts/ridership_reconciliation/part-0.parquet")
ratio = pl.col("ridership_estimate").sum() / pl.col("published").sum()
pairs.group_by("week").agg(ratio=ratio).sort("week")""",
            """\
pairs = pd.read_parquet(f"{lake}/marts/ridership_reconciliation/part-0.parquet")
sums = pairs.groupby("week", as_index=False)[["ridership_estimate", "published"]].sum()
sums.assign(ratio=sums["ridership_estimate"] / sums["published"])[["week", "ratio"]]""",
        ),
    }
)

_TYPES: Final = {
    "Int32": "int32",
    "Int64": "int64",
    "Float64": "float64",
    "String": "string",
    "Boolean": "boolean",
    "Date": "date",
    "Datetime(time_unit='us', time_zone=None)": "timestamp",
}


def catalogue() -> str:
    """The page, as Markdown."""
    tables = (*TABLES, *WAREHOUSE, *MARTS)
    contents = "\n".join(f"- [{t.layer}.{t.name}](#{t.layer}{t.name}) – one row per {t.grain}" for t in tables)
    return "\n\n".join((_HEAD.format(setup=SETUP, contents=contents), *map(_section, tables))) + "\n"


_HEAD: Final = """\
<!-- Generated by `make catalogue` from the contracts in the code. Change the texts there. -->
# Catalogue
This page lists every table with its columns and freshness, and an example query in SQL, Polars and pandas. The three
queries of an example return the same rows. The tables are Parquet files, and views in one DuckDB file.

**Entries leave out riders who tap OMNY. Exits include them.** Timestamps are New York wall-clock time without time
zone. The key of a week is the Saturday on which it starts. Null means unknown, never zero.

The SQL examples run in any DuckDB client that opens `<LAKE_ROOT>/warehouse/mta.duckdb`, also while the pipeline runs.
In that file, weekly tables have an additional column `week` (a date). The Python examples use the sample that
`make run` creates. They start with

```python
{setup}
```

The tables of hourly ridership, and tables made from them, have rows after `MTA_SODA` is set and the job
`hourly_ridership` has run. Tables that are declared in YAML are described in Dagster's catalogue only.

In Dagster, an asset can load any table with files. The annotation of its parameter selects the type: `pl.DataFrame`,
`pl.LazyFrame`, `pa.Table` or `pd.DataFrame`.

{contents}

In addition, `<LAKE_ROOT>/raw/turnstile_file/week=YYYY-MM-DD/` holds the bytes of each published file with a manifest.
`<LAKE_ROOT>/report/index.html` is the report, which is made together with the marts."""


def _section(table: Table) -> str:
    example = EXAMPLES[table.name]
    columns = "\n".join(map(_row, table.columns))
    return f"""\
## {table.layer}.{table.name}
{table.description}

- **One row per** {table.grain}
- **Files** {_files(table)}
- **Freshness** {_freshness(table)}

| column | type | null | meaning |
| --- | --- | --- | --- |
{columns}

{example.question}

```sql
{example.sql}
```

```python
{example.polars}
```

```python
{example.pandas}
```"""


def _row(column: Column) -> str:
    null = "yes" if column.nullable else ""
    return (
        f"| `{column.name}` | {_TYPES[str(column.dtype)]} | {null} | {column.description.replace('|', chr(92) + '|')} |"
    )


def _files(table: Table) -> str:
    if table in WAREHOUSE:
        return "none: the table is in the DuckDB file only" + ("" if table == DIM_DATE else ", as a view of the lake")
    week = "" if table in WITHOUT_WEEKS or table in MARTS else "/week=YYYY-MM-DD"
    return f"`<LAKE_ROOT>/{table.layer}/{table.name}{week}/part-0.parquet`"


def _freshness(table: Table) -> str:
    if table in MARTS:
        return "rebuilt by the job `marts` after weeks were updated, and at the end of `make run`"
    if table in (DIM_DATE, OMNY_SHARE):
        return "rebuilt by the job `marts`"
    if table in WAREHOUSE:
        return "immediate: the next query sees new and updated weeks in the lake"
    if table in REFERENCE:
        return "part of each version of mta_pipeline, written by the job `reference_tables`"
    if table in HOURLY:
        return "by week, when its rows are published or corrected"
    file = "its file or that of the week before" if table.layer == "lake" else "its file"
    return f"by week, when {file} is published or published again"
