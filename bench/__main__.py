"""`make bench`: creates the sample, runs all sides in turn, and writes latest.json and the tables of README.md.

Each measurement is of whole processes, as the operating system accounts for them. CPU seconds depend least on other
work on the machine. This process imports nothing heavy, because the peak memory of a child starts at its parent's.
"""

import argparse
import datetime as dt
import filecmp
import json
import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

from bench.collector import collecting
from bench.sample import make
from bench.tables import SIDES, tables
from mta_pipeline.weeks import weeks_between

TURNSTILES = 5_000
FEWEST_TURNSTILES = 12
"""Turnstiles of almost empty weeks. A run over such weeks measures the cost of Dagster."""
HERE = Path(__file__).parent
YEAR = weeks_between("2018-01-06", "2018-12-29")
LEGACY_YEAR = weeks_between("2012-01-07", "2012-12-29")
HISTORY = weeks_between("2010-05-01", "2024-05-25")
FIRST_MODERN = "2014-10-11"
FEW = 8
"""Number of weeks for a run per week, and for the short run whose memory a long run is compared with."""

IMPORTS = {
    "dagster, polars": "import dagster, polars",
    "mta_pipeline.definitions": "import mta_pipeline.definitions",
    "mta_pipeline.definitions, built": "from mta_pipeline.definitions import defs; defs()",
}
PACKAGES = ("dagster", "polars", "pyarrow", "duckdb", "pandas")


@dataclass
class Cost:
    """The cost of processes: CPU and wall seconds, peak MB, bytes written, and Dagster events."""

    processor: float
    wall: float
    peak: float
    written: int = 0
    events: int = 0


@dataclass
class Bench:
    """One benchmark: its folder and its measurements by name."""

    folder: Path
    costs: dict[str, list[Cost]] = field(default_factory=dict)

    def feed(self, turnstiles: int) -> Path:
        return self.folder / f"feed-{turnstiles}"

    def measure(self, name: str, runs: Iterable[Sequence[str]], out: Path | None = None, **environment: str) -> Cost:
        """Run the commands one after the other, and record their total cost."""
        started, processor, peak = time.monotonic(), 0.0, 0.0
        for arguments in runs:
            child = subprocess.Popen(
                [sys.executable, *arguments],
                env=os.environ | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            output = child.stdout.read()
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode:
                sys.exit(f"{name} failed:\n{output.decode()}")
            processor += used.ru_utime + used.ru_stime
            peak = max(peak, used.ru_maxrss / 1024)
        cost = Cost(round(processor, 3), round(time.monotonic() - started, 3), round(peak))
        if out is not None:
            cost.written = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
            cost.events = sum(map(_events, out.glob("dagster/history/runs/*.db")))
        self.costs.setdefault(name, []).append(cost)
        print(f"{name:<32} {cost.processor:>8.1f} CPU s {cost.wall:>8.1f} wall s {cost.peak:>6.0f} MB", flush=True)
        return cost

    def side(
        self,
        name: str,
        side: str,
        weeks: Sequence[str],
        *,
        turnstiles: int = TURNSTILES,
        a_process_per_week: bool = False,
        **environment: str,
    ) -> Path:
        """Measure a side over weeks. Returns the folder of its output."""
        out = self.folder / "out" / name.replace(" ", "-")
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        spans = [(week, week) for week in weeks] if a_process_per_week else [(weeks[0], weeks[-1])]
        runs = (["-m", "bench.sides", side, self.feed(turnstiles), out, *span] for span in spans)
        self.measure(name, runs, out, **environment)
        return out

    def traced(self, weeks: Sequence[str]) -> None:
        """Measure the pipeline while it sends traces to a collector in this process."""
        with collecting() as collector:
            self.side("traced", "pipeline", weeks, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        if not collector.requests:
            sys.exit("No traces arrived. Is mta-pipeline[telemetry] installed?")
        print(f"{'':<32} {collector.requests} requests, {collector.bytes / 1e6:.2f} MB of traces")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument(
        "--weeks", type=int, default=len(YEAR), help=f"up to {len(HISTORY)}; above 52 in addition to the year"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("data/bench"))
    options = parser.parse_args()
    bench, year = Bench(options.folder.absolute()), YEAR[: options.weeks]
    history = HISTORY[-options.weeks :] if options.weeks > len(YEAR) else []
    few = year[:FEW]
    shutil.rmtree(bench.folder / "out", ignore_errors=True)  # left by an interrupted benchmark
    load = os.getloadavg()[1]
    make(bench.feed(TURNSTILES), [*year, *(LEGACY_YEAR if history else ()), *history], TURNSTILES)
    make(bench.feed(FEWEST_TURNSTILES), year, FEWEST_TURNSTILES)
    for nth in range(options.rounds):
        outs = {side: bench.side(side, side, year) for side in SIDES if side != "traced"}
        bench.traced(year)
        if nth == 0:
            _check_equal(outs, year)
            layers = _layers(outs["pipeline"] / "lake")
        bench.side("pipeline, few turnstiles", "pipeline", year, turnstiles=FEWEST_TURNSTILES)
        bench.side("pipeline, few weeks", "pipeline", few)
        bench.side("pipeline, a run per week", "pipeline", few, a_process_per_week=True)
        for name, code in IMPORTS.items():
            for _ in range(3):
                bench.measure(f"import {name}", [["-c", code]])
        shutil.rmtree(bench.folder / "out")
    if history:
        for name, weeks in {"pipeline, legacy weeks": LEGACY_YEAR, "pipeline, all weeks": history}.items():
            bench.side(name, "pipeline", weeks)
            shutil.rmtree(bench.folder / "out")
    results = {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="minutes"),
        "machine": _machine(),
        "load_before": round(load, 2),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "turnstiles": TURNSTILES,
        "weeks": {
            "sides": len(year),
            "few": len(few),
            "legacy": len(LEGACY_YEAR) if history else 0,
            "all": len(history),
        },
        "modern_of_all": sum(week >= FIRST_MODERN for week in history),
        "bytes": layers,
        "costs": {name: [asdict(cost) for cost in costs] for name, costs in bench.costs.items()},
    }
    (HERE / "latest.json").write_text(json.dumps(results, indent=1) + "\n")
    text = "\n".join(tables(results))
    print(text)
    readme = HERE / "README.md"
    between = re.compile(r"(?<=<!-- results -->\n).*?(?=<!-- end of results -->)", re.DOTALL)
    readme.write_text(between.sub(lambda _: text + "\n", readme.read_text()))


def _events(database: Path) -> int:
    with sqlite3.connect(database) as connection:
        return connection.execute("SELECT count(*) FROM event_logs").fetchone()[0]


def _check_equal(outs: dict[str, Path], weeks: Sequence[str]) -> None:
    lakes = [outs[side] / "lake" for side in ("pipeline", "functions")]
    files = [{file.relative_to(lake) for file in lake.rglob("*.*") if file.name != "manifest.json"} for lake in lakes]
    different = files[0] ^ files[1] | {
        file for file in files[0] & files[1] if not filecmp.cmp(lakes[0] / file, lakes[1] / file, shallow=False)
    }
    if different:
        sys.exit(f"With and without Dagster, these files of the lake differ: {sorted(map(str, different))}")
    places = [lakes[0], *(outs[side] for side in ("floor", "pandas", "duckdb"))]
    subprocess.run([sys.executable, "-m", "bench.compare", *places, weeks[0], weeks[-1]], check=True)
    print("all sides have equal results")


def _layers(lake: Path) -> dict[str, int]:
    """Unpacked bytes of the published files, and bytes of each table in the lake."""
    manifests = [json.loads(file.read_text()) for file in lake.glob("raw/turnstile_file/*/manifest.json")]
    tables = {
        f"{table.parent.name}/{table.name}": sum(file.stat().st_size for file in table.rglob("*") if file.is_file())
        for table in sorted(lake.glob("*/*"))
    }
    return {"published": sum(manifest["size"] for manifest in manifests), **tables}


def _machine() -> dict[str, object]:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "processor": cpu[1] if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "python": platform.python_version(),
        "system": platform.system(),
    }


if __name__ == "__main__":
    main()
