"""Benchmark of all marts over a year of full-size sample weeks: the pipeline against hand-written DuckDB SQL.

`python bench/marts.py [FOLDER]`: if FOLDER (data/bench) has no lake yet, the sample lake is created there, which takes
a while. A lake of real weeks works too. The sides run in turn, each time in a separate process. The best time counts.
CPU time depends least on other work on the machine. The rows of both sides must be equal.
"""

import glob
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

WEEKS, TURNSTILES = 52, 5_000
ROUNDS, TIMES = 3, 3

_, *_SECTIONS = (Path(__file__).with_suffix(".sql")).read_text().split("-- name: ")
BY_HAND = dict(section.split("\n", 1) for section in _SECTIONS)
SETUP = BY_HAND.pop("setup")


def main(folder: Path) -> int:
    """Print wall and CPU seconds and memory of both sides. Returns the number of marts that differ."""
    lake = folder / "lake"
    if not lake.is_dir():
        # In a separate process, because the peak memory of a child starts at that of its parent.
        subprocess.run([sys.executable, __file__, "make", folder], check=True)
    rounds = [(_measured("pipeline", lake), _measured("by_hand", lake)) for _ in range(ROUNDS)]
    print(f"{'':<24} {'':>10} {'wall seconds':^24} {'CPU seconds':^24}")
    print(f"{'mart':<24} {'rows':>10} " + f"{'pipeline':>9} {'by hand':>8} {'ratio':>5} " * 2)
    for name in (*BY_HAND, "all"):
        print(f"{name:<24} {rounds[0][0]['rows'][name]:>10,} ", end="")
        for clock in ("wall", "processor"):
            ours, theirs = (min(turn[side][clock][name] for turn in rounds) for side in (0, 1))
            print(f"{ours:>9.2f} {theirs:>8.2f} {ours / theirs:>5.2f} ", end="")
        print()
    ours, theirs = (max(turn[side]["peak"] for turn in rounds) for side in (0, 1))
    print(f"{'peak memory, MB':<35} {ours:>9,} {theirs:>8,}")
    different = [name for name in BY_HAND if rounds[0][0]["hash"][name] != rounds[0][1]["hash"][name]]
    print(f"rows differ: {', '.join(different)}" if different else "rows are equal")
    return len(different)


def _measured(side: str, lake: Path) -> dict:
    child = subprocess.run([sys.executable, __file__, side, lake], check=True, capture_output=True, text=True)
    return json.loads(child.stdout)


def _run(side: str, lake: Path) -> dict:
    clocks = {"wall": time.monotonic, "processor": time.process_time}
    best = {clock: dict.fromkeys((*BY_HAND, "all"), float("inf")) for clock in clocks}

    def done(name: str, started_at: dict[str, float]) -> None:
        for clock, seconds in clocks.items():
            best[clock][name] = min(best[clock][name], seconds() - started_at[clock])

    rows: dict[str, pl.DataFrame] = {}
    for _ in range(TIMES):
        # Opening the lake counts for "all", but for no single mart.
        started = {clock: seconds() for clock, seconds in clocks.items()}
        with open_lake(str(lake)) if side == "pipeline" else duckdb.connect() as opened:
            if side == "by_hand":
                pattern = glob.escape(str(lake)).replace("'", "''")
                opened.execute(f"SET VARIABLE lake = '{pattern}'")
                opened.execute(SETUP)
            for name, query in BY_HAND.items():
                started_at = {clock: seconds() for clock, seconds in clocks.items()}
                if side == "pipeline":
                    table = opened.to_pyarrow(name)
                else:
                    order = ", ".join(f"{key} NULLS LAST" for key in KEYS[name])
                    table = opened.execute(f"{query.rstrip(chr(59) + chr(10))} ORDER BY {order}").to_arrow_table()
                done(name, started_at)
                rows[name] = table
        done("all", started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    frames = {mart.name: pl.DataFrame(pl.from_arrow(rows[mart.name])) for mart in MARTS}
    typed = {mart.name: frames[mart.name].select(*mart.schema).cast(dict(mart.schema)) for mart in MARTS}
    hashes = {name: str(frame.hash_rows(seed=0).sum()) for name, frame in typed.items()}
    counts = {name: len(frame) for name, frame in typed.items()}
    return {**best, "rows": counts | {"all": sum(counts.values())}, "hash": hashes, "peak": peak}


def _make(folder: Path) -> None:
    """Create a lake of sample weeks with the main job."""
    import dagster as dg  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from mta_pipeline.cli.run import run_weeks  # noqa: PLC0415
    from mta_pipeline.sample import SampleFeed  # noqa: PLC0415
    from mta_pipeline.settings import Settings  # noqa: PLC0415
    from mta_pipeline.weeks import ONE_WEEK, week_start  # noqa: PLC0415

    weeks = [(week_start("2018-01-06") + n * ONE_WEEK).isoformat() for n in range(WEEKS)]
    SampleFeed(seed=0, turnstiles=TURNSTILES, first_week=weeks[0]).write(folder / "feed", weeks)
    settings = Settings(feed=str(folder / "feed"), lake_root=str(folder / "lake"))
    with dg.DagsterInstance.ephemeral() as instance:
        assert run_weeks(settings, weeks, instance, Console()).exit_code == 0


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in ("pipeline", "by_hand"):
        print(json.dumps(_run(sys.argv[1], Path(sys.argv[2]))))
    elif sys.argv[1:2] == ["make"]:
        _make(Path(sys.argv[2]))
    else:
        sys.exit(bool(main(Path(*sys.argv[1:] or ["data/bench"]))))
