"""Fault injection with clocks: across the weekends on which they change in New York, and with one that was ahead."""

import datetime as dt
import os
import shutil
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from mta_pipeline.orchestration.partitions import calendar
from mta_pipeline.turnstile.contract import TURNSTILE_TRAFFIC, Status
from mta_pipeline.weeks import NEW_YORK, file_name, week_after, week_before, week_start, weeks_between
from mta_pipeline_tests.fault_injection.lake_comparison import LakeComparison, different_marts
from mta_pipeline_tests.fault_injection.sandbox import Sandbox

CHANGES = ("2014-03-08", "2014-11-01")
"""The weeks of 2014 that begin on the Saturday before a clock change."""

ZONES = ("UTC", NEW_YORK, "Pacific/Auckland")


def changed(sandbox: Sandbox) -> LakeComparison:
    """Build the weeks around both changes in several time zones; compare with an undisturbed lake and the truth."""
    total = LakeComparison()
    for change in CHANGES:
        weeks = weeks_between(week_before(change), week_after(change))
        feed = sandbox.sample(sandbox.root / f"feed-{change}", weeks=weeks)
        undisturbed = sandbox.undisturbed_of(str(feed), weeks)
        for zone in ZONES:
            site = sandbox.site(feed=str(feed), weeks=weeks)
            site.environment["TZ"] = zone
            site.run()
            total += site.compare(undisturbed)
        total += LakeComparison(different=sum(_riders(undisturbed, week) != _true_riders(feed, week) for week in weeks))
        total += _calendar_around(change)
    return total


def set_back(sandbox: Sandbox) -> LakeComparison:
    """The clock was ahead when marts and report were made, and is set back. A week that changes renews them."""
    week = sandbox.rng.choice(sandbox.weeks)
    feed = Path(shutil.copytree(sandbox.sample(), sandbox.root / "feed-set-back"))
    republished = sandbox.sample(sandbox.root / "published-again", republished=week) / file_name(week)
    site = sandbox.site(feed=str(feed))
    site.run()
    report = site.lake / "report" / "index.html"
    ahead = report.stat().st_mtime + 10 * 365 * 86_400
    for made in (report, *site.lake.glob("marts/*/*"), *site.lake.glob("warehouse/*")):
        os.utime(made, (ahead, ahead))
    shutil.copy(republished, feed / file_name(week))
    site.run()
    undisturbed = sandbox.undisturbed_of(str(feed), sandbox.weeks)
    is_old = report.stat().st_mtime >= ahead
    different = len(site.verify()) + different_marts(site.lake, undisturbed) + is_old
    return site.compare(undisturbed) + LakeComparison(different=different)


def _calendar_around(change: str) -> LakeComparison:
    """Check that each week joins the calendar exactly when it ends, at midnight in New York, and only once."""
    weeks = weeks_between(week_before(change), week_after(change))
    lost = doubled = 0
    for week in weeks:
        end = dt.datetime.combine(week_start(week_after(week)), dt.time(), ZoneInfo(NEW_YORK))
        before = calendar().get_partition_keys(end - dt.timedelta(seconds=1))
        after = calendar().get_partition_keys(end)
        lost += list(after) != [*before, week] or list(after) != weeks_between(after[0], week)
        doubled += len(set(after)) != len(after)
    return LakeComparison(lost=lost, doubled=doubled)


def _riders(lake: Path, week: str) -> tuple[int, int]:
    path = lake / TURNSTILE_TRAFFIC.layer / TURNSTILE_TRAFFIC.name / f"week={week}" / "part-0.parquet"
    return pl.read_parquet(path).select("entries", "exits").sum().row(0)


def _true_riders(feed: Path, week: str) -> tuple[int, int]:
    truth = pl.read_parquet(feed / "truth" / f"week={week}.parquet")
    found = (
        pl.col(f"true_{register}").filter(pl.col(f"{register}_status").is_in(Status.IN_TOTALS)).sum()
        for register in ("entries", "exits")
    )
    return truth.select(found).row(0)
