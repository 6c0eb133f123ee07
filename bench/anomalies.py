"""Rates of false alarms and misses of the anomaly checks, with injected anomalies.

`python bench/anomalies.py [SEEDS [LAKE]]` (20 seeds): each seed gives nine weeks of a sample feed with a thousand
turnstiles and the data errors of real weeks. With LAKE, the weeks of that lake are used for every seed. First, all
weeks with enough history are checked unchanged: each alarm is a false alarm. Then each anomaly is injected into the
last week, at several strengths, and the week is checked again: a missing alarm is a miss.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import polars as pl

from mta_pipeline.sample import SampleFeed
from mta_pipeline.turnstile.anomalies import LEAST_WEEKS, AnomalyDetector, WeekFigures, late_complexes, week_figures
from mta_pipeline.turnstile.clock import offset_of
from mta_pipeline.turnstile.contract import Status
from mta_pipeline.turnstile.ridership import complex_daily
from mta_pipeline.weeks import weeks_between

WEEKS = weeks_between("2023-09-09", "2023-11-04")
TURNSTILES = 1_000
BUSY_ENOUGH = 1_000
REGISTERS = ("entries", "exits")
TURNSTILE = ("control_area", "unit", "scp")

Planted = tuple[pl.DataFrame, int]
"""The traffic of a week, and its number of rejects."""
Plant = Callable[[pl.DataFrame, int, np.random.Generator], Planted]


def main(seeds: int, lake: Path | None) -> None:
    """Print the rates."""
    started = time.perf_counter()
    checked, false, missed = 0, Counter[str](), Counter[str]()
    for seed in range(seeds):
        chance = np.random.default_rng(seed)
        weeks = sample_weeks(seed) if lake is None else weeks_of_lake(lake)
        *_, last = weeks
        figures = {week: figures_of(week, *made) for week, made in weeks.items()}
        detector = AnomalyDetector(figures.get)
        for week in list(weeks)[LEAST_WEEKS:]:
            checked += 1
            false.update(alarms(detector, week, weeks[week][0]))
        for (name, alarm), plant in PLANTS.items():
            traffic, rejects = plant(*weeks[last], chance)
            changed = AnomalyDetector((figures | {last: figures_of(last, traffic, rejects)}).get)
            missed[name] += alarm not in alarms(changed, last, traffic)
    print(f"{seeds} seeds, {checked} weeks checked unchanged, {time.perf_counter() - started:.0f} s")
    print(f"\n{'alarm':<28} false alarms")
    for alarm in sorted({alarm for _, alarm in PLANTS}):
        print(f"{alarm:<28} {false[alarm]:>4} of {checked}  {false[alarm] / checked:>6.1%}")
    print(f"\n{'injected':<46} {'alarm':<28} missed")
    for name, alarm in PLANTS:
        print(f"{name:<46} {alarm:<28} {missed[name]:>4} of {seeds}  {missed[name] / seeds:>6.1%}")


def sample_weeks(seed: int) -> dict[str, Planted]:
    feed = SampleFeed(seed=seed, turnstiles=TURNSTILES, first_week=WEEKS[0])
    return {made.week: (traffic_of(made.truth), sum(made.rejects.values())) for made in feed.stream(WEEKS)}


@cache
def weeks_of_lake(lake: Path) -> dict[str, Planted]:
    """The weeks of a lake, in order."""
    folders = sorted((lake / "lake" / "turnstile_traffic").glob("week=*"))
    return {
        folder.name.removeprefix("week="): (
            pl.read_parquet(folder / "part-0.parquet"),
            pl.read_parquet(lake / "staged" / "turnstile_rejects" / folder.name / "part-0.parquet").height,
        )
        for folder in folders
    }


def traffic_of(truth: pl.DataFrame) -> pl.DataFrame:
    """The traffic of a sample week. Tests show that the pipeline's result is equal to this truth."""
    return truth.rename({f"true_{register}": register for register in REGISTERS}).with_columns(
        service_date=pl.col("started_at").dt.date(),
        started_utc_offset=offset_of("started_at"),
        ended_utc_offset=offset_of("ended_at"),
    )


def figures_of(week: str, traffic: pl.DataFrame, rejects: int) -> WeekFigures:
    return week_figures(week, complex_daily(traffic), traffic.height, rejects)


def alarms(detector: AnomalyDetector, week: str, traffic: pl.DataFrame) -> set[str]:
    found = detector.judge(week)
    names = {departure.measure for departure in found.departures if departure.is_unusual}
    complexes = {
        "complex silent": found.silent,
        "complex doubled": found.doubled,
        "complex late": late_complexes(week, traffic.lazy()),
    }
    return names | {name for name, those in complexes.items() if not those.is_empty()}


# --- injected anomalies ---


def turnstiles_lost(share: float, traffic: pl.DataFrame, rejects: int, chance: np.random.Generator) -> Planted:
    those = traffic.select(TURNSTILE).unique(maintain_order=True)
    lost = those.filter(pl.Series(chance.random(those.height) < share))
    return traffic.join(lost, on=TURNSTILE, how="anti"), rejects


def lines_rejected(share: float, traffic: pl.DataFrame, rejects: int, chance: np.random.Generator) -> Planted:
    gone = pl.Series(chance.random(traffic.height) < share)
    return traffic.filter(~gone), rejects + int(gone.sum())


def intervals_lost(share: float, traffic: pl.DataFrame, rejects: int, chance: np.random.Generator) -> Planted:
    lost = pl.Series(chance.random(traffic.height) < share)
    statuses = [
        pl.when(lost).then(pl.lit(Status.IMPLAUSIBLE)).otherwise(f"{register}_status").alias(f"{register}_status")
        for register in REGISTERS
    ]
    return traffic.with_columns(statuses), rejects


def riders_times(factor: float, traffic: pl.DataFrame, rejects: int, _: np.random.Generator) -> Planted:
    return traffic.with_columns((pl.col(r) * factor).round().cast(pl.Int64) for r in REGISTERS), rejects


def complex_times(factor: float, traffic: pl.DataFrame, rejects: int, chance: np.random.Generator) -> Planted:
    here = pl.col("complex_id") == a_busy_complex(traffic, chance)
    changed = (pl.when(here).then((pl.col(r) * factor).round().cast(pl.Int64)).otherwise(r).alias(r) for r in REGISTERS)
    return traffic.with_columns(changed), rejects


def complex_gone(traffic: pl.DataFrame, rejects: int, chance: np.random.Generator) -> Planted:
    return traffic.filter(pl.col("complex_id").ne_missing(a_busy_complex(traffic, chance))), rejects


def complex_late(hours: int, traffic: pl.DataFrame, rejects: int, chance: np.random.Generator) -> Planted:
    here = pl.col("complex_id").eq_missing(a_busy_complex(traffic, chance))
    until = pl.col("ended_at").max() - pl.duration(hours=hours)
    return traffic.filter(~here | (pl.col("ended_at") <= until)), rejects


def a_busy_complex(traffic: pl.DataFrame, chance: np.random.Generator) -> int:
    daily = complex_daily(traffic).drop_nulls("complex_id").group_by("complex_id").agg(pl.col("entries", "exits").sum())
    busy = daily.filter(pl.col("entries") + pl.col("exits") >= 7 * BUSY_ENOUGH).sort("complex_id")
    return int(chance.choice(busy["complex_id"].to_numpy()))


PLANTS: dict[tuple[str, str], Plant] = {
    **{
        (f"{share:.0%} of the turnstiles are not in the file", "turnstiles"): partial(turnstiles_lost, share)
        for share in (0.05, 0.1, 0.2)
    },
    ("20% of the turnstiles are not in the file ", "readings"): partial(turnstiles_lost, 0.2),
    **{
        (f"{share:.1%} of the lines are rejected", "rejects"): partial(lines_rejected, share) for share in (0.005, 0.05)
    },
    **{
        (f"{share:.0%} of the intervals are implausible", "coverage"): partial(intervals_lost, share)
        for share in (0.03, 0.05, 0.1)
    },
    **{
        (f"all ridership times {factor}", "ridership"): partial(riders_times, factor) for factor in (0.5, 0.7, 0.8, 1.5)
    },
    ("a complex is not in the file", "complex silent"): complex_gone,
    ("a complex has a twentieth of its riders", "complex silent"): partial(complex_times, 0.05),
    ("a complex has twice its riders", "complex doubled"): partial(complex_times, 2.0),
    **{
        (f"a complex is not read for its last {hours} hours", "complex late"): partial(complex_late, hours)
        for hours in (24, 56, 72)
    },
}

if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, Path(sys.argv[2]) if len(sys.argv) > 2 else None)
