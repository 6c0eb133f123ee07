"""All marts over a year of full-size sample weeks: as the pipeline makes them, beside the same in DuckDB SQL by hand.

`python bench/marts.py [FOLDER]`: the lake is made in FOLDER (data/bench) if it is not there yet, which takes a while;
a lake of real weeks does as well. Each side runs in a process of its own, three times over, and the best counts. The
rows of both must be equal.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import polars as pl

from mta_pipeline.engines import open_lake
from mta_pipeline.marts.contract import KEYS, MARTS

WEEKS, TURNSTILES, TIMES = 52, 5_000, 3

_DATES = """
CREATE TABLE dates AS
WITH weeks AS (SELECT DISTINCT week FROM read_parquet('{lake}/lake/complex_daily/*/*.parquet', hive_types = {{week: DATE}})),
days AS (SELECT unnest(range((SELECT min(week) FROM weeks) - INTERVAL 1 DAY, (SELECT max(week) FROM weeks)
    + INTERVAL 7 DAY, INTERVAL 1 DAY))::DATE AS date)
SELECT date, isodow(date)::INT AS weekday, if(isodow(date) < 6, 'weekday', 'weekend') AS day_kind,
    (date - ((isodow(date) + 1) % 7)::INT)::DATE AS week,
    (date - ((isodow(date) + 1) % 7)::INT)::DATE IN (FROM weeks) AS in_lake,
    (date - ((isodow(date) + 1) % 7)::INT)::DATE IN (FROM weeks)
        AND (isodow(date) != 5 OR (date + 1)::DATE IN (FROM weeks)) AS whole
FROM days
"""
_DAILY = "read_parquet('{lake}/lake/complex_daily/*/*.parquet', hive_types = {{week: DATE}})"
_TRAFFIC = "read_parquet('{lake}/lake/turnstile_traffic/*/*.parquet', hive_types = {{week: DATE}})"
_STATIONS = "read_parquet('{lake}/lake/station_complexes/part-0.parquet')"
_SUBWAY = "division IN ('BMT', 'IRT', 'IND') AND control_area != 'OB01'"
_SUMS = """if(sum(ok_seconds) = 0 AND sum(entries) = 0, NULL, sum(entries))::BIGINT AS entries,
    if(sum(ok_seconds) = 0, NULL, sum(exits))::BIGINT AS exits,
    sum(ok_seconds) / nullif(sum(turnstile_seconds), 0) AS coverage"""
_NAME = "coalesce(s.name, 'Complex ' || complex_id) AS name, borough"
_HOURS = """
SELECT complex_id, {{by}}, count(DISTINCT date) AS days,
    round(round(sum(entries), 3))::BIGINT AS entries, round(round(sum(exits), 3))::BIGINT AS exits
FROM read_parquet('{lake}/lake/complex_hourly/*/*.parquet') h JOIN dates d ON h.hour::DATE = d.date
WHERE whole AND complex_id IS NOT NULL GROUP BY ALL
"""
_STATUSES = ", ".join(
    f"count(*) FILTER ({register}_status = '{status}') AS {register}_{status}"
    for register in ("entries", "exits")
    for status in ("first", "reset", "implausible", "long_gap", "ok")
)
_REASONS = "field_count bad_timestamp bad_register outside_window junk_header duplicate superseded".split()

BY_HAND = {
    "station_daily": f"""
        SELECT complex_id, {_NAME}, latitude, longitude, service_date, entries, exits, coverage,
            coalesce(whole, false) AS is_whole_day
        FROM (SELECT complex_id, service_date, {_SUMS} FROM {_DAILY} WHERE complex_id IS NOT NULL GROUP BY ALL)
        LEFT JOIN {_STATIONS} s USING (complex_id) LEFT JOIN dates ON date = service_date""",
    "station_peak_hours": f"""
        WITH blocks AS ({_HOURS.replace("{{by}}", "day_kind, hour(hour)::INT // 4 * 4 AS block_start")})
        SELECT complex_id, {_NAME}, day_kind, block_start, days,
            entries / days AS entries_per_day, rank() OVER (day ORDER BY entries / days DESC) AS entries_rank,
            entries / nullif(sum(entries) OVER day, 0) AS entries_share,
            exits / days AS exits_per_day, rank() OVER (day ORDER BY exits / days DESC) AS exits_rank,
            exits / nullif(sum(exits) OVER day, 0) AS exits_share
        FROM blocks LEFT JOIN {_STATIONS} s USING (complex_id) WINDOW day AS (PARTITION BY complex_id, day_kind)""",
    "station_week_over_week": f"""
        WITH weeks AS (SELECT complex_id, week, {_SUMS}, sum(turnstile_seconds) / 86400 AS turnstile_days
            FROM {_DAILY} WHERE complex_id IS NOT NULL GROUP BY ALL)
        SELECT w.complex_id, coalesce(s.name, 'Complex ' || w.complex_id) AS name, borough, w.week, w.entries, w.exits,
            w.coverage,
            b.entries AS entries_week_before,
            (w.entries - b.entries) / nullif(b.entries, 0) AS entries_change_week_before,
            y.entries AS entries_year_before,
            (w.entries - y.entries) / nullif(y.entries, 0) AS entries_change_year_before,
            b.exits AS exits_week_before, (w.exits - b.exits) / nullif(b.exits, 0) AS exits_change_week_before,
            y.exits AS exits_year_before, (w.exits - y.exits) / nullif(y.exits, 0) AS exits_change_year_before,
            w.turnstile_days, b.turnstile_days AS turnstile_days_week_before,
            y.turnstile_days AS turnstile_days_year_before
        FROM weeks w LEFT JOIN weeks b ON b.complex_id = w.complex_id AND b.week = w.week - 7
        LEFT JOIN weeks y ON y.complex_id = w.complex_id AND y.week = w.week - 364
        LEFT JOIN {_STATIONS} s ON s.complex_id = w.complex_id""",
    "system_daily": f"""
        WITH days AS (SELECT service_date, division, complex_id,
            sum(entries) FILTER (entries_status = 'ok') AS entries, sum(exits) FILTER (exits_status = 'ok') AS exits,
            sum(date_diff('second', started_at, ended_at)) AS seconds,
            sum(date_diff('second', started_at, ended_at)) FILTER (exits_status = 'ok') AS ok
            FROM {_TRAFFIC} WHERE {_SUBWAY} AND started_at IS NOT NULL GROUP BY ALL),
        sums AS (SELECT service_date, division, borough, sum(entries)::BIGINT AS entries, sum(exits)::BIGINT AS exits,
            sum(seconds)::BIGINT AS turnstile_seconds, coalesce(sum(ok), 0)::BIGINT AS ok_seconds
            FROM days LEFT JOIN {_STATIONS} USING (complex_id) GROUP BY ALL)
        SELECT sums.*, ok_seconds / nullif(turnstile_seconds, 0) AS coverage, coalesce(whole, false) AS is_whole_day
        FROM sums LEFT JOIN dates ON date = service_date""",
    "busiest_places": f"""
        WITH hours AS ({_HOURS.replace("{{by}}", "weekday, hour(hour)::INT AS clock")})
        SELECT weekday, clock AS hour, complex_id, {_NAME}, latitude, longitude, days,
            entries / days AS entries_per_day, rank() OVER (hour ORDER BY entries / days DESC) AS entries_rank,
            exits / days AS exits_per_day, rank() OVER (hour ORDER BY exits / days DESC) AS exits_rank
        FROM hours LEFT JOIN {_STATIONS} s USING (complex_id) WINDOW hour AS (PARTITION BY weekday, clock)""",
    "data_quality_weekly": f"""
        WITH counts AS (SELECT week, count(*) AS readings, count(DISTINCT (control_area, unit, scp)) AS turnstiles,
            {_STATUSES},
            sum(date_diff('second', started_at, ended_at)) FILTER ({_SUBWAY}) AS seconds,
            sum(date_diff('second', started_at, ended_at)) FILTER ({_SUBWAY} AND exits_status = 'ok') AS ok,
            sum(entries) FILTER ({_SUBWAY} AND complex_id IS NULL AND entries_status = 'ok') AS entries_nowhere,
            sum(exits) FILTER ({_SUBWAY} AND complex_id IS NULL AND exits_status = 'ok') AS exits_nowhere
            FROM {_TRAFFIC} GROUP BY week),
        rejects AS (SELECT week, {", ".join(f"count(*) FILTER (reason = '{r}') AS r_{r}" for r in _REASONS)}
            FROM read_parquet('{{lake}}/staged/turnstile_rejects/*/*.parquet', hive_types = {{{{week: DATE}}}})
            GROUP BY week)
        SELECT d.week, in_lake, readings, turnstiles,
            {", ".join(f"if(in_lake, coalesce(r_{r}, 0), NULL) AS rejects_{r}" for r in _REASONS)},
            counts.* EXCLUDE (week, readings, turnstiles, seconds, ok, entries_nowhere, exits_nowhere),
            coalesce(ok, 0) / nullif(seconds, 0) AS coverage,
            if(in_lake, coalesce(entries_nowhere, 0), NULL)::BIGINT AS entries_without_complex,
            if(in_lake, coalesce(exits_nowhere, 0), NULL)::BIGINT AS exits_without_complex
        FROM (FROM dates WHERE weekday = 6) d LEFT JOIN counts USING (week) LEFT JOIN rejects USING (week)""",
}


def main(folder: Path) -> int:
    """Print seconds and memory of both sides; return how many marts differ."""
    lake = folder / "lake"
    if not lake.is_dir():
        _make(folder)
    sides = {side: _measured(side, lake) for side in ("pipeline", "by_hand")}
    print(f"{'mart':<24} {'rows':>10} {'pipeline':>10} {'by hand':>10} {'ratio':>6}")
    for name in (*BY_HAND, "all"):
        ours, theirs = (sides[side]["seconds"][name] for side in ("pipeline", "by_hand"))
        print(
            f"{name:<24} {sides['pipeline']['rows'][name]:>10,} {ours:>8.2f} s {theirs:>8.2f} s {ours / theirs:>6.2f}"
        )
    print(f"{'peak memory':<35} {sides['pipeline']['peak']:>7,} MB {sides['by_hand']['peak']:>7,} MB")
    unlike = [name for name in BY_HAND if sides["pipeline"]["hash"][name] != sides["by_hand"]["hash"][name]]
    print(f"rows differ: {', '.join(unlike)}" if unlike else "rows are equal")
    return len(unlike)


def _measured(side: str, lake: Path) -> dict:
    child = subprocess.run([sys.executable, __file__, side, lake], check=True, capture_output=True, text=True)
    return json.loads(child.stdout)


def _run(side: str, lake: Path) -> dict:
    seconds = dict.fromkeys((*BY_HAND, "all"), float("inf"))
    rows: dict[str, pl.DataFrame] = {}
    for _ in range(TIMES):
        # Opening counts for neither mart but for all of them.
        started = time.monotonic()
        with open_lake(str(lake)) if side == "pipeline" else duckdb.connect() as opened:
            if side == "by_hand":
                opened.execute(_DATES.format(lake=lake))
            for name in BY_HAND:
                begun = time.monotonic()
                if side == "pipeline":
                    table = opened.to_pyarrow(name)
                else:
                    order = ", ".join(f"{key} NULLS LAST" for key in KEYS[name])
                    table = opened.execute(f"{BY_HAND[name].format(lake=lake)} ORDER BY {order}").to_arrow_table()
                seconds[name] = min(seconds[name], time.monotonic() - begun)
                rows[name] = table
        seconds["all"] = min(seconds["all"], time.monotonic() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    frames = {mart.name: pl.DataFrame(pl.from_arrow(rows[mart.name])) for mart in MARTS}
    typed = {mart.name: frames[mart.name].select(*mart.schema).cast(dict(mart.schema)) for mart in MARTS}
    hashes = {name: str(frame.hash_rows(seed=0).sum()) for name, frame in typed.items()}
    counts = {name: len(frame) for name, frame in typed.items()}
    return {"seconds": seconds, "rows": counts | {"all": sum(counts.values())}, "hash": hashes, "peak": peak}


def _make(folder: Path) -> None:
    """A lake of sample weeks, by the main job."""
    import dagster as dg  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from mta_pipeline.partitions import ONE_WEEK, week_start  # noqa: PLC0415
    from mta_pipeline.run import run_weeks  # noqa: PLC0415
    from mta_pipeline.sample import SampleFeed  # noqa: PLC0415
    from mta_pipeline.settings import Settings  # noqa: PLC0415

    weeks = [(week_start("2018-01-06") + n * ONE_WEEK).isoformat() for n in range(WEEKS)]
    SampleFeed(seed=0, turnstiles=TURNSTILES, first_week=weeks[0]).write(folder / "feed", weeks)
    settings = Settings(feed=str(folder / "feed"), lake_root=str(folder / "lake"))
    with dg.DagsterInstance.ephemeral() as instance:
        assert run_weeks(settings, weeks, instance, Console()).success


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in ("pipeline", "by_hand"):
        print(json.dumps(_run(sys.argv[1], Path(sys.argv[2]))))
    else:
        sys.exit(bool(main(Path(*sys.argv[1:] or ["data/bench"]))))
