"""The pipeline from raw files to sums per station complex, with and without Dagster.

With Dagster, it runs the same job as `mta-pipeline run`, with records in SQLite and all checks. Without Dagster, it
calls the same functions in the same order. Both lakes must be identical, byte for byte.
"""

import os
from collections.abc import Sequence
from pathlib import Path


def through_dagster(feed: Path, out: Path, weeks: Sequence[str]) -> None:
    """Run all weeks in one run. The lake is `<out>/lake`, DAGSTER_HOME is `<out>/dagster`."""
    os.environ["DAGSTER_HOME"] = str(out / "dagster")
    import dagster as dg  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from mta_pipeline.cli.run import run_weeks  # noqa: PLC0415
    from mta_pipeline.orchestration.event_log import with_open_connections  # noqa: PLC0415
    from mta_pipeline.settings import Settings  # noqa: PLC0415

    home = out / "dagster"
    if not home.exists():
        home.mkdir(parents=True)
        (home / "dagster.yaml").symlink_to(Path(__file__).parent.parent.resolve() / "dagster.yaml")
    settings = Settings(feed=str(feed), lake_root=str(out / "lake"))
    with with_open_connections(dg.DagsterInstance.get()) as instance:
        outcome = run_weeks(settings, weeks, instance, Console())
    assert outcome.exit_code == 0, outcome


def without_dagster(feed: Path, out: Path, weeks: Sequence[str]) -> None:
    """Create the same tables with the same functions, table by table, without checks. The lake is `<out>/lake`."""
    import polars as pl  # noqa: PLC0415

    from mta_pipeline.lake.origin import Origin, traffic_origin  # noqa: PLC0415
    from mta_pipeline.lake.parquet import scan, to_parquet  # noqa: PLC0415
    from mta_pipeline.lake.raw_files import RawFiles  # noqa: PLC0415
    from mta_pipeline.lake.storage import part_path, write_atomically  # noqa: PLC0415
    from mta_pipeline.sources.turnstile_files import open_feed  # noqa: PLC0415
    from mta_pipeline.turnstile import complexes, contract, readings, ridership, traffic  # noqa: PLC0415
    from mta_pipeline.weeks import week_before  # noqa: PLC0415

    lake, source = str(out / "lake"), open_feed(str(feed))
    files = RawFiles(lake)
    origins: dict[str, Origin] = {}

    def write(
        table: contract.Table, frame: pl.DataFrame, week: str | None = None, origin: Origin | None = None
    ) -> None:
        payload = to_parquet(frame, origin and origin.by(table))
        write_atomically(part_path(lake, table.layer, table.name, week), payload)

    def read(table: contract.Table, week: str) -> pl.LazyFrame:
        return scan(part_path(lake, table.layer, table.name, week), in_place=True)

    booths = complexes.control_areas()
    write(contract.CONTROL_AREAS, booths)
    write(contract.STATION_COMPLEXES, complexes.station_complexes())
    for week in weeks:
        origins[week] = Origin(files.land(source, week)[0].sha256)
    rejects = {}
    for week in weeks:
        staged = readings.stage(files.load(week).published, week, booths)
        rejects[week] = staged.rejects
        write(contract.TURNSTILE_READINGS, staged.readings, week, origins[week])
    for week, table in rejects.items():
        write(contract.TURNSTILE_REJECTS, table, week, origins[week])
    of_readings = {week: origin.by(contract.TURNSTILE_READINGS) for week, origin in origins.items()}
    of_traffic = {week: traffic_origin(of_readings.get(week_before(week)), of_readings[week]) for week in weeks}
    carried = None
    for week in weeks:
        current = read(contract.TURNSTILE_READINGS, week).select(traffic.COLUMNS).collect()
        write(contract.TURNSTILE_TRAFFIC, traffic.traffic(current, carried, booths), week, of_traffic[week])
        carried = current
    for table, summed in (
        (contract.COMPLEX_DAILY, ridership.complex_daily),
        (contract.COMPLEX_HOURLY, ridership.complex_hourly),
    ):
        for week in weeks:
            of_week = read(contract.TURNSTILE_TRAFFIC, week).select(ridership.COLUMNS).collect()
            write(table, summed(of_week), week, of_traffic[week].by(contract.TURNSTILE_TRAFFIC))
