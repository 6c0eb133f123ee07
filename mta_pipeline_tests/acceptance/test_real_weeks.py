"""The five real weeks reproduce the reference figures of the data contract exactly."""

import datetime as dt
import gzip
import re
from pathlib import Path

import dagster as dg
import ibis
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from rich.console import Console

from bench.alternatives import by_duckdb
from mta_pipeline.cli.run import run_weeks
from mta_pipeline.cli.summary import LakeSummary, summarize
from mta_pipeline.engines import open_lake
from mta_pipeline.marts import expression
from mta_pipeline.marts.contract import AGREEMENT
from mta_pipeline.marts.ridership_estimate import with_calibration, with_estimate
from mta_pipeline.orchestration.checks.anomalies import figures_in
from mta_pipeline.report.page import render
from mta_pipeline.settings import Settings
from mta_pipeline.turnstile.anomalies import AnomalyDetector, late_complexes
from mta_pipeline.turnstile.complexes import control_areas, station_complexes
from mta_pipeline.turnstile.contract import Status
from mta_pipeline.turnstile.parsing import count_data_lines
from mta_pipeline.turnstile.readings import stage
from mta_pipeline.turnstile.ridership import is_subway
from mta_pipeline_tests.support.browser import DESKTOP, PHONE, open_page
from mta_pipeline_tests.support.published_files import moment
from mta_pipeline_tests.support.small_lake import sources_of

# Readings, turnstiles, entries, exits, entries and exits with status ok only, and then for each of the two registers
# the numbers of intervals with status first, reset, implausible and long_gap.
CONTRACT = {
    "2023-12-30": (250_814, 5_026, 10_295_123, 19_491_569, 10_293_781, 19_482_851, 5_026, 25, 8, 19, 5_026, 21, 8, 19),
    "2024-01-06": (253_002, 5_026, 10_913_020, 20_428_297, 10_911_121, 20_426_035, 7, 25, 2, 17, 7, 21, 2, 17),
    "2024-01-13": (253_526, 5_015, 10_067_880, 19_701_200, 10_049_877, 19_655_877, 6, 25, 3, 66, 6, 26, 3, 66),
    "2024-01-20": (253_572, 5_024, 10_767_293, 20_933_629, 10_759_291, 20_918_539, 14, 22, 9, 28, 14, 24, 8, 29),
    "2024-01-27": (252_801, 5_034, 11_143_293, 21_704_374, 11_143_009, 21_673_243, 18, 63, 44, 21, 18, 62, 44, 22),
}
SUPERSEDED = {"2023-12-30": 2, "2024-01-06": 20, "2024-01-13": 36, "2024-01-20": 15, "2024-01-27": 8}


@pytest.fixture(scope="module")
def lake(real_weeks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with the five real weeks, made by the real assets in one run."""
    root = tmp_path_factory.mktemp("real") / "lake"
    settings = Settings(feed=str(real_weeks), lake_root=str(root))
    with dg.DagsterInstance.ephemeral() as instance, Path("/dev/null").open("w") as nowhere:
        assert run_weeks(settings, list(CONTRACT), instance, Console(file=nowhere)).exit_code == 0
    return root


@pytest.fixture(scope="module")
def summary(lake: Path) -> LakeSummary:
    return summarize(str(lake), list(CONTRACT))


@pytest.mark.slow
@pytest.mark.parametrize("week", CONTRACT)
def test_a_real_week_has_the_figures_of_the_contract(summary, week):
    assert summary.weeks.filter(week=week).drop("week").row(0) == CONTRACT[week]


@pytest.mark.slow
def test_no_interval_differs_from_an_independent_computation_in_sql(lake, real_weeks, tmp_path):
    by_duckdb(real_weeks, tmp_path, list(CONTRACT))
    compared = 0
    for week in CONTRACT:
        theirs = pl.read_parquet(tmp_path / "traffic" / f"{week}.parquet")
        ours = pl.read_parquet(lake / "lake" / "turnstile_traffic" / f"week={week}" / "part-0.parquet")
        key = ["control_area", "unit", "scp", "ended_at"]
        theirs = theirs.cast({"entries": pl.Int64, "exits": pl.Int64}).sort(key)
        assert_frame_equal(ours.select(theirs.columns).sort(key), theirs)
        compared += ours.height
    assert compared == 1_263_715


@pytest.mark.slow
def test_every_rejected_line_of_the_real_weeks_is_a_superseded_twin(summary):
    assert {week: n for reason, week, n in summary.rejects.select("reason", "week", "rejects").rows()} == SUPERSEDED
    assert set(summary.rejects["reason"]) == {"superseded"}


@pytest.mark.slow
def test_no_real_week_is_unusual(lake):
    detector = AnomalyDetector(figures_in(str(lake)))
    assessed = [detector.judge(week) for week in CONTRACT]
    assert [found.is_founded for found in assessed] == [False, False, False, True, True]
    for week, found in zip(CONTRACT, assessed, strict=True):
        traffic = pl.scan_parquet(lake / "lake" / "turnstile_traffic" / f"week={week}" / "part-0.parquet")
        assert not any(departure.is_unusual for departure in found.departures)
        assert [f.height for f in (found.silent, found.doubled, late_complexes(week, traffic))] == [0, 0, 0]


@pytest.mark.slow
def test_days_and_hours_hold_the_riders_of_ok_intervals(lake):
    for week, figures in CONTRACT.items():
        for table in ("complex_daily", "complex_hourly"):
            sums = (
                pl.read_parquet(lake / "lake" / table / f"week={week}" / "part-0.parquet")
                .select("entries", "exits")
                .sum()
            )
            assert sums.row(0) == pytest.approx(figures[4:6])


@pytest.mark.slow
def test_the_system_s_days_hold_the_riders_of_ok_intervals(lake):
    with open_lake(str(lake)) as reader:
        system, stations = (
            pl.DataFrame(pl.from_arrow(reader.to_pyarrow(f"{of}_daily"))) for of in ("system", "station")
        )
        quality = pl.DataFrame(pl.from_arrow(reader.to_pyarrow("data_quality_weekly")))
    totals = [sum(figures[at] for figures in CONTRACT.values()) for at in (4, 5)]
    assert list(system.select(pl.col("entries", "exits").sum()).row(0)) == totals
    without_complex = quality.select(pl.col("entries_without_complex", "exits_without_complex").sum()).row(0)
    at_stations = stations.select(pl.col("entries", "exits").sum()).row(0)
    assert [a + b for a, b in zip(at_stations, without_complex, strict=True)] == totals


@pytest.mark.slow
def test_most_exits_are_near_offices_in_the_morning_and_near_homes_in_the_evening(lake):
    with open_lake(str(lake)) as reader:
        peaks, places = (
            pl.DataFrame(pl.from_arrow(reader.to_pyarrow(name))) for name in ("station_peak_hours", "busiest_places")
        )
    weekdays = peaks.filter(pl.col("day_kind") == "weekday")
    # The blocks with the most exits and the most entries. The first complex is near offices, the others are near homes.
    expected = {"Grand Central-42 St": (8, 16), "Flushing-Main St": (16, 8), "Astoria-Ditmars Blvd": (16, 8)}
    for name, blocks in expected.items():
        complex_rows = weekdays.filter(pl.col("name") == name)
        assert complex_rows.height == 6
        assert complex_rows.select(pl.col("exits_share", "entries_share").sum()).row(0) == pytest.approx((1, 1))
        most = [complex_rows.filter(pl.col(f"{r}_rank") == 1)["block_start"].item() for r in ("exits", "entries")]
        assert tuple(most) == blocks
    wednesday_at_nine = places.filter(weekday=3, hour=9, exits_rank=1).select("name", "latitude", "longitude").row(0)
    assert wednesday_at_nine == (
        "Grand Central-42 St",
        pytest.approx(40.752, abs=0.001),
        pytest.approx(-73.977, abs=0.001),
    )


@pytest.fixture(scope="module")
def page_file(lake: Path) -> Path:
    """The report over the real weeks."""
    made = render(sources_of(lake), moment("2024-02-03 00").replace(tzinfo=dt.UTC))
    file = lake.parent / "index.html"
    file.write_text(made.html)
    return file


@pytest.mark.slow
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_report_of_the_real_weeks_opens_without_problems(page_file, chromium, size):
    assert page_file.stat().st_size < 5_000_000
    with open_page(chromium, page_file, size) as (page, problems):
        assert page.locator(".places_marks path").locator("visible=true").count() == 424
        assert page.locator(".figures dd").first.inner_text() == "3,292,071"
    assert problems == []


def official_share(published: pl.DataFrame) -> pl.DataFrame:
    """The MTA's percentages of January 2024, as a table like omny_share."""
    riders = pl.col("ridership")
    return published.select(
        "complex_id",
        ridership=riders,
        month=pl.date("year", "month", 1),
        omny_ridership=(riders * pl.col("omny_pct") / 100).round().cast(pl.Int64),
        share_low=pl.lit(None, pl.Float64),
        share_high=pl.lit(None, pl.Float64),
    )


def january_against_published(lake: Path, official: Path, booths: pl.DataFrame) -> pl.DataFrame:
    """Per complex: ridership estimated from entries and OMNY share, and the ridership published for January 2024."""
    traffic = pl.concat(
        pl.read_parquet(lake / "lake" / "turnstile_traffic" / f"week={week}" / "part-0.parquet") for week in CONTRACT
    )
    inside = (pl.col("ended_at") > moment("2024-01-06 03")) & (pl.col("ended_at") < moment("2024-02-01 03"))
    entries = (
        traffic.drop("complex_id")
        .join(booths.select("control_area", "unit", "complex_id"), on=("control_area", "unit"))
        .filter(inside & is_subway())
        .filter(pl.col("entries_status").is_in(Status.IN_TOTALS))
        .group_by("complex_id", month=pl.date(2024, 1, 1))
        .agg(pl.col("entries").sum())
    )
    published = pl.read_csv(official, schema_overrides={"complex_id": pl.Int32})
    tables = (ibis.memtable(frame.to_arrow()) for frame in (entries, official_share(published)))
    estimated = pl.DataFrame(pl.from_arrow(with_estimate(*tables).to_pyarrow()))
    return published.join(estimated, on="complex_id").select(
        "complex_id",
        estimate="ridership_estimate",
        # The weeks contain 26 of the month's 31 days.
        published=pl.col("ridership") * 26 / 31,
    )


@pytest.mark.slow
def test_the_estimate_of_january_2024_agrees_with_published_ridership(lake, shared_data):
    official = shared_data / "official" / "monthly_ridership_2024_01.csv"
    both = january_against_published(lake, official, control_areas())
    ratio = both["estimate"].sum() / both["published"].sum()
    within = both.filter((pl.col("estimate") / pl.col("published") - 1).abs() <= 0.1).height
    correlation = both.select(pl.corr("estimate", "published")).item()
    assert both.height == 424
    assert (round(ratio, 3), round(correlation, 4), within) == (1.005, 0.9997, 419)


@pytest.mark.slow
def test_these_five_complexes_are_off_by_more_than_ten_percent(lake, shared_data):
    both = january_against_published(lake, shared_data / "official" / "monthly_ridership_2024_01.csv", control_areas())
    ratio = (pl.col("estimate") / pl.col("published")).round(2)
    off = both.with_columns(ratio=ratio).filter((pl.col("estimate") / pl.col("published") - 1).abs() > 0.1)
    names = off.join(station_complexes(), on="complex_id").sort("complex_id").select("complex_id", "name", "ratio")
    assert names.rows() == [
        (160, "72 St", 0.88),
        (200, "Beach 90 St", 1.13),
        (202, "Beach 105 St", 1.14),
        (206, "Beach 44 St", 1.12),
        (273, "Queens Plaza", 1.12),
    ]


@pytest.fixture(scope="module")
def january(lake, shared_data) -> pl.DataFrame:
    """Per complex in January 2024: entries, the plain estimate, published ridership and MetroCard riders."""
    published = pl.read_csv(
        shared_data / "official" / "monthly_ridership_2024_01.csv", schema_overrides={"complex_id": pl.Int32}
    )
    shares = official_share(published)
    with open_lake(str(lake)) as reader:
        tables = {**reader.tables, "omny_share": ibis.memtable(shares.to_arrow())}
        days = pl.DataFrame(pl.from_arrow(expression("ridership_estimate", tables).to_pyarrow()))
    return (
        days.filter(pl.col("service_date").is_between(dt.date(2024, 1, 1), dt.date(2024, 1, 31)))
        .group_by("complex_id", "share_source", month=pl.col("service_date").dt.truncate("1mo"))
        .agg(pl.col("entries", "ridership_estimate").sum())
        .join(shares, on=("complex_id", "month"))
        .with_columns(metrocard_ridership=pl.col("ridership") - pl.col("omny_ridership"))
        .sort("complex_id")
    )


@pytest.mark.slow
def test_over_the_whole_month_72_st_and_queens_plaza_agree_and_the_rockaways_do_not(january):
    ratio = pl.col("ridership_estimate") / pl.col("ridership")
    assert set(january["share_source"]) == {"complex"}
    assert january["ridership_estimate"].sum() / january["ridership"].sum() == pytest.approx(1.021, abs=0.0005)
    assert january.select(pl.corr("ridership_estimate", "ridership")).item() == pytest.approx(0.9999, abs=0.00005)
    assert january.filter((ratio - 1).abs() > 0.1)["complex_id"].sort().to_list() == [133, 200, 202, 206]
    own = dict(january.filter(pl.col("complex_id").is_in([160, 273])).select("complex_id", ratio.round(3)).rows())
    assert own == {160: 1.005, 273: 1.005}


def january_factors(measured: pl.DataFrame) -> pl.DataFrame:
    """The table entry_factor of January 2024, measured at these complexes."""
    subway = measured.sum().with_columns(complex_id=pl.lit(None, pl.Int32), month=pl.date(2024, 1, 1))
    return pl.concat(
        part.select("complex_id", "month", "entries", "metrocard_ridership", days=pl.lit(31, pl.Int32))
        for part in (subway, measured)
    )


def agreement_of(tested: pl.DataFrame, measured: pl.DataFrame) -> dict[str, tuple[float, float, int]]:
    """Ratio to published, weighted mean deviation, and complexes within 2 %: plain, and calibrated as `measured`."""
    tables = (ibis.memtable(frame.to_arrow()) for frame in (tested, january_factors(measured)))
    both = pl.DataFrame(pl.from_arrow(with_calibration(*tables).to_pyarrow()))
    assert set(both["factor_source"]) == {"month"}
    published = both["ridership"]
    return {
        column: (
            round(both[column].sum() / published.sum(), 3),
            round((both[column] - published).abs().sum() / published.sum(), 4),
            both.filter((pl.col(column) / pl.col("ridership") - 1).abs() <= 0.02).height,
        )
        for column in ("ridership_estimate", "calibrated_estimate")
    }


@pytest.mark.slow
def test_registers_count_1_022_entries_per_published_metrocard_rider_in_january_2024(january):
    own = january["entries"] / january["metrocard_ridership"]
    assert january["entries"].sum() / january["metrocard_ridership"].sum() == pytest.approx(1.022, abs=0.0005)
    assert (round(own.mean(), 3), round(own.quantile(0.05), 3), round(own.quantile(0.95), 3)) == (1.029, 1.005, 1.064)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("half", "plain", "calibrated"),
    [(0, (1.020, 0.0210, 74), (0.997, 0.0098, 172)), (1, (1.022, 0.0242, 65), (1.001, 0.0104, 159))],
)
def test_a_factor_measured_at_half_of_the_complexes_halves_the_deviation_at_the_others(
    january, half, plain, calibrated
):
    is_tested = pl.col("complex_id") % 2 == half
    found = agreement_of(january.filter(is_tested), january.filter(~is_tested))
    assert found == {"ridership_estimate": plain, "calibrated_estimate": calibrated}


@pytest.mark.slow
def test_calibrated_with_all_other_complexes_329_instead_of_139_complexes_agree_within_2_percent(january):
    found = agreement_of(january, january)
    assert found == {"ridership_estimate": (1.021, 0.0226, 139), "calibrated_estimate": (0.999, 0.0100, 329)}


@pytest.mark.slow
def test_nineteen_of_twenty_complexes_agree_within_the_error_band(lake, shared_data):
    both = january_against_published(lake, shared_data / "official" / "monthly_ridership_2024_01.csv", control_areas())
    off = both.select((pl.col("estimate") / pl.col("published") - 1).abs()).to_series()
    assert off.quantile(0.95) == pytest.approx(AGREEMENT, abs=0.001)


@pytest.mark.slow
def test_without_control_area_r533a_the_ratio_is_1_004(lake, shared_data):
    official = shared_data / "official" / "monthly_ridership_2024_01.csv"
    both = january_against_published(lake, official, control_areas().filter(pl.col("control_area") != "R533A"))
    ratio = both["estimate"].sum() / both["published"].sum()
    assert (round(ratio, 3), round(both.select(pl.corr("estimate", "published")).item(), 4)) == (1.004, 0.9996)
    assert both.filter((pl.col("estimate") / pl.col("published") - 1).abs() <= 0.1).height == 419


def test_the_legacy_head_gives_7343_readings_of_which_286_are_twins(shared_data):
    published = (shared_data / "legacy" / "turnstile_110528.head.txt").read_bytes()
    week = stage(published, "2011-05-21", control_areas())
    assert week.layout == "legacy"
    assert count_data_lines(published) == 7_343
    assert week.readings.height + week.rejects.height == 7_343
    assert week.rejects_by_reason.keys() == {"superseded", "duplicate"}
    assert week.rejects.height == 286
    assert week.readings.select(pl.struct("control_area", "unit", "scp").n_unique()).item() == 156
    assert week.readings["division"].null_count() == 0


def test_twins_in_the_legacy_head_have_the_same_registers_as_the_readings_that_are_kept(shared_data):
    week = stage((shared_data / "legacy" / "turnstile_110528.head.txt").read_bytes(), "2011-05-21", control_areas())
    names = ["control_area", "unit", "scp", "date", "time", "audit", "entries_register", "exits_register"]
    fields = pl.col("raw_text").str.split(",")
    twins = week.rejects.select(fields.list.get(n).alias(name) for n, name in enumerate(names)).with_columns(
        pl.col("entries_register", "exits_register").cast(pl.Int64),
        read_at=(pl.col("date") + pl.col("time")).str.to_datetime("%m-%d-%y%H:%M:%S"),
    )
    same = ["control_area", "unit", "scp", "read_at", "entries_register", "exits_register"]
    assert twins.join(week.readings, on=same, how="anti").is_empty()


@pytest.mark.parametrize(
    ("name", "week", "readings", "cut"),
    [
        ("170603", "2017-05-27", 13_818, "field_count"),
        ("170617", "2017-06-10", 27_340, "bad_register"),
        ("190330", "2019-03-23", 6_497, "field_count"),
    ],
)
def test_real_file_heads_lose_only_their_cut_last_line(shared_data, name, week, readings, cut):
    published = gzip.decompress((shared_data / "partial" / f"turnstile_{name}.head.txt.gz").read_bytes())
    staged = stage(published, week, control_areas())
    assert staged.readings.height == readings
    assert readings + staged.rejects.height == count_data_lines(published)
    last = staged.rejects.filter(pl.col("source_line") == pl.col("source_line").max())
    assert last["reason"].to_list() == [cut]
    assert re.fullmatch(r"[A-Z]\d{3},.*", last["raw_text"].item())
