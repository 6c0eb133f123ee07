"""A whole project in a temporary directory: a feed, a lake, a Dagster instance, and runs."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType

import dagster as dg
import polars as pl
from upath import UPath

from mta_pipeline.build import build_defs
from mta_pipeline.lake.parquet import to_parquet
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.lake.storage import part_path, write_atomically
from mta_pipeline.orchestration.keys import RIDERSHIP_JOB, WEEKLY_KEYS, asset_key
from mta_pipeline.orchestration.run_records import range_tags
from mta_pipeline.schema import Table
from mta_pipeline.settings import Settings
from mta_pipeline.sources.turnstile_files import Feed, open_feed
from mta_pipeline.turnstile import complexes
from mta_pipeline.turnstile.contract import CONTROL_AREAS, STATION_COMPLEXES
from mta_pipeline.weeks import file_name, week_after, weeks_between
from mta_pipeline_tests.support.published_files import modern_file, modern_line

WEEKS = ("2024-01-06", "2024-01-13", "2024-01-20")


@cache
def reference_tables() -> dict[Table, memoryview]:
    """The contents of the tables without weeks, as their job writes them."""
    return {
        CONTROL_AREAS: to_parquet(complexes.control_areas()),
        STATION_COMPLEXES: to_parquet(complexes.station_complexes()),
    }


def steady_week(week: str, start: int = 100, riders: int = 10) -> bytes:
    """A valid file: one turnstile, read every four hours, with `riders` more on both registers each time."""
    hours = pl.datetime_range(
        pl.lit(week).str.to_datetime(), pl.lit(week_after(week)).str.to_datetime(), "4h", closed="left"
    )
    moments = pl.select(hours).to_series()
    return modern_file(*(modern_line(str(at), start + n * riders, start + n * riders) for n, at in enumerate(moments)))


def valid_week(week: str) -> bytes:
    """One of the valid weeks, in which registers continue from week to week."""
    return steady_week(week, start=1_000 + WEEKS.index(week) * 420)


@cache
def tables_of_valid_weeks() -> dict[str, bytes]:
    """The tables of all valid weeks after a run of the job, by path in the lake."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        for week in WEEKS:
            project.publish(week, valid_week(week))
        assert project.run(WEEKS[0], WEEKS[-1]).success
        return {path: contents for path, contents in project.files().items() if "week=" in path and "raw/" not in path}


@dataclass
class Project:
    """The real definitions over a directory; `resources` overrides some of them."""

    root: Path
    resources: Mapping[str, object] = field(default_factory=dict)
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)
    settings: Settings | None = None
    has_reference_tables: bool = True

    def __post_init__(self) -> None:
        self.feed = self.root / "feed"
        self.feed.mkdir(exist_ok=True)
        self.lake = self.root / "lake"
        self.settings = self.settings or Settings(feed=str(self.feed), lake_root=str(self.lake))
        self.defs = build_defs(self.settings, **self.resources)
        self.raw = RawFiles(str(self.lake))
        if self.has_reference_tables:
            for table, contents in reference_tables().items():
                write_atomically(part_path(str(self.lake), table.layer, table.name), contents)
                self.instance.report_runless_asset_event(dg.AssetMaterialization(asset_key(table)))

    def publish(self, week: str, contents: bytes) -> None:
        (self.feed / file_name(week)).write_bytes(contents)

    def run(
        self,
        *weeks: str,
        job: str = RIDERSHIP_JOB,
        assets: Sequence[dg.AssetKey] | None = None,
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> dg.ExecuteInProcessResult:
        """Execute one run over a range of weeks, given by its first and last; `assets` limits it to some assets."""
        return self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            tags={**(range_tags((weeks[0], weeks[-1])) if weeks else {}), **tags},
            asset_selection=assets,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    def load_weeks_until(self, last: str) -> None:
        """Put the valid, published weeks up to `last` into the lake and Dagster's catalogue, as a run does."""
        for week in weeks_between(WEEKS[0], last):
            assert (self.feed / file_name(week)).read_bytes() == valid_week(week)
            self.raw.land(self.source(), week)
            for path, contents in tables_of_valid_weeks().items():
                if f"week={week}" in path:
                    write_atomically(UPath(self.lake / path), contents)
            for key in WEEKLY_KEYS:
                self.instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=week))

    def table(self, layer: str, name: str, week: str) -> pl.DataFrame:
        return pl.read_parquet(self.lake / layer / name / f"week={week}" / "part-0.parquet")

    def files(self) -> dict[str, bytes]:
        """The contents of every file of the lake but the manifests, whose fetch time differs between runs."""
        paths = (path for path in sorted(self.lake.rglob("*")) if path.is_file() and path.name != "manifest.json")
        return {str(path.relative_to(self.lake)): path.read_bytes() for path in paths}

    @property
    def sensor_resources(self) -> dict[str, object]:
        """The resources that sensors and schedules require."""
        return {name: self.defs.resources[name] for name in ("feed", "raw_layer")}

    def source(self) -> Feed:
        """Open the feed."""
        return open_feed(str(self.feed))

    def landed(self) -> list[str]:
        """The weeks in lake/complex_daily."""
        folder = self.lake / "lake" / "complex_daily"
        return sorted(path.parent.name.removeprefix("week=") for path in folder.glob("week=*/part-0.parquet"))

    def checks(self, result: dg.ExecuteInProcessResult) -> dict[tuple[str, str | None], bool]:
        """Whether each check passed, by name and week."""
        return {(e.check_name, e.partition): e.passed for e in result.get_asset_check_evaluations()}


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """The error messages of the failed steps of a run."""
    events = result.filter_events(lambda event: event.is_step_failure)
    return "\n".join(str(event.step_failure_data.error.to_string()) for event in events)
