"""Hourly ridership from a portal to the lake and its comparison with the turnstiles, for a sample with known truth."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg
import polars as pl
import pytest
import stamina
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG as RANGE_END
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_START_TAG as RANGE_START
from dagster._core.storage.tags import PARTITION_NAME_TAG

from mta_pipeline.hourly_ridership.agreement import by_week
from mta_pipeline.orchestration.automation.portal import SENSOR
from mta_pipeline.orchestration.keys import COMPLETE_WEEKS, HOURLY_JOB, MARTS_JOB, SKIP
from mta_pipeline.orchestration.resources.soda import SodaPortal
from mta_pipeline.sample import Faults, SampleFeed
from mta_pipeline.sample.hourly import entry_factor_of, omny_share_of
from mta_pipeline.sample.portal import Portal, serve
from mta_pipeline.settings import Settings
from mta_pipeline.weeks import weeks_between
from mta_pipeline_tests.dagster.automation import Automation
from mta_pipeline_tests.dagster.project import Project, failure_of
from mta_pipeline_tests.support.published_files import moment

RAW = dg.AssetKey(["raw", "hourly_ridership"])
FIRST, LAST = "2024-01-27", "2024-02-24"
WEEKS = weeks_between(FIRST, LAST)
"""February: from the week in which it begins to the week of its last days."""
DATA_SET = "wujg-7c2s"
SEED = 5


@pytest.fixture(scope="module", autouse=True)
def _no_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=20):
        yield


@pytest.fixture(scope="module")
def feed() -> SampleFeed:
    return SampleFeed(SEED, 30, FIRST, faults=Faults())


@pytest.fixture(scope="module")
def truth(feed) -> pl.DataFrame:
    return feed.hourly(WEEKS)


@pytest.fixture(scope="module")
def portal(truth) -> Iterator[Portal]:
    nothing = truth.clear()
    with serve(Portal({DATA_SET: truth, "t69i-h2me": nothing, "5wq4-mkjj": nothing}, too_many=0.1)) as portal:
        yield portal


@pytest.fixture(scope="module")
def project(feed, portal, tmp_path_factory) -> Project:
    """A project with one month of turnstile data, one month of hourly data, and the marts."""
    root = tmp_path_factory.mktemp("hourly")
    settings = Settings(
        feed=str(root / "feed"), lake_root=str(root / "lake"), soda=portal.url, last_week=dt.date.fromisoformat(LAST)
    )
    made = Project(root, resources={"soda": SodaPortal(portal.url, page_rows=1_000)}, settings=settings)
    feed.write(made.feed, WEEKS)
    assert made.run(FIRST, LAST).success
    assert made.run(FIRST, LAST, job=HOURLY_JOB, tags={COMPLETE_WEEKS: SKIP}).success
    marts = made.run(job=MARTS_JOB)
    assert marts.success, failure_of(marts)
    return made


def published(project: Project) -> pl.DataFrame:
    folder = project.lake / "lake" / "complex_hourly_published"
    return pl.concat(pl.read_parquet(folder / f"week={week}" / "part-0.parquet") for week in WEEKS)


def table(project: Project, layer: str, name: str) -> pl.DataFrame:
    return pl.read_parquet(project.lake / layer / name / "part-0.parquet")


def by_hour(truth: pl.DataFrame) -> pl.DataFrame:
    tapped = pl.col("ridership").filter(pl.col("payment_method") == "omny").sum().alias("omny_ridership")
    hours = truth.group_by(complex_id=pl.col("station_complex_id").cast(pl.Int32), hour="transit_timestamp")
    return hours.agg(pl.col("ridership", "transfers").sum(), tapped).sort("hour", "complex_id")


def test_a_month_from_a_portal_that_often_refuses_requests_has_exact_totals(project, truth, portal):
    assert published(project).drop("omny_share").sort("hour", "complex_id").equals(by_hour(truth))
    assert len(portal.asked) > len({*portal.asked})  # the portal refused requests, and they were repeated


def test_the_omny_shares_are_those_of_the_sample(project):
    shares = table(project, "lake", "omny_share").filter(
        pl.col("complex_id").is_not_null(), pl.col("ridership") > 5_000
    )
    expected = omny_share_of(shares["complex_id"], shares["month"], SEED)
    assert (shares["omny_share"] - expected).abs().max() < 0.01


def test_the_entry_factors_are_those_of_the_sample(project):
    factors = table(project, "lake", "entry_factor").filter(month=dt.date(2024, 2, 1))
    complexes = factors.filter(pl.col("complex_id").is_not_null())
    assert complexes.height == 3
    assert (complexes["factor"] - entry_factor_of(complexes["complex_id"], SEED)).abs().max() < 0.005
    subway = factors.row(by_predicate=pl.col("complex_id").is_null(), named=True)
    assert (subway["days"], round(subway["factor"], 3)) == (29, 1.015)


def test_estimates_from_turnstiles_are_the_published_ridership_times_the_entry_factor_in_a_sample(project):
    reconciled = table(project, "marts", "ridership_reconciliation").filter(pl.col("days") == 7)
    assert reconciled["week"].n_unique() == 4  # on the first day of the first week, turnstiles have no earlier reading
    factor = entry_factor_of(reconciled["complex_id"], SEED)
    assert (reconciled["ratio"] / factor - 1).abs().max() < 0.01
    expected = (reconciled["published"] * factor).sum()
    assert reconciled["ridership_estimate"].sum() / expected == pytest.approx(1, abs=0.001)


def by_day(both: pl.DataFrame, column: str) -> pl.DataFrame:
    """The relative difference of an estimate from the true riders, for the subway per service date."""
    sums = both.group_by("service_date").agg(pl.col(column, "true").sum())
    return sums.select("service_date", off=(pl.col(column) / pl.col("true") - 1).abs())


def test_the_calibrated_estimate_is_closer_to_the_true_riders_per_day(project, truth):
    true = truth.group_by(
        complex_id=pl.col("station_complex_id").cast(pl.Int32), service_date=pl.col("transit_timestamp").dt.date()
    ).agg(true=pl.col("ridership").sum())
    estimates = table(project, "marts", "ridership_estimate").filter("is_whole_day")
    both = estimates.join(true, on=("complex_id", "service_date")).filter(pl.col("service_date") > dt.date(2024, 1, 27))
    assert set(both["factor_source"]) == {"month", "nearest_month"}
    off = {
        name: {
            "subway by day": by_day(both, column)["off"].mean(),
            "complex by day": (both[column] - both["true"]).abs().sum() / both["true"].sum(),
        }
        for name, column in (("plain", "ridership_estimate"), ("calibrated", "calibrated_estimate"))
    }
    # What remains are intervals over midnight, and that each complex has its own factor.
    assert off == {
        "plain": {
            "subway by day": pytest.approx(0.0144, abs=0.0005),
            "complex by day": pytest.approx(0.0152, abs=0.0005),
        },
        "calibrated": {
            "subway by day": pytest.approx(0.0041, abs=0.0005),
            "complex by day": pytest.approx(0.0061, abs=0.0005),
        },
    }
    closer = by_day(both, "calibrated_estimate").join(by_day(both, "ridership_estimate"), on="service_date")
    assert closer.height == 33
    # The first hours of a Sunday are in Saturday's last intervals. This error is as large as the factor, but opposite.
    not_closer = closer.filter(pl.col("off") >= pl.col("off_right"))["service_date"]
    assert (not_closer.len(), set(not_closer.dt.weekday())) == (5, {7})


def test_the_report_and_the_catalogue_show_the_agreement(project):
    page = (project.lake / "report" / "index.html").read_text()
    assert "Comparison with published ridership" in page
    (week, *_) = by_week(
        table(project, "marts", "ridership_reconciliation").filter(week=dt.date.fromisoformat(LAST))
    ).to_dicts()
    for name, form in (("ratio", ".4f"), ("deviation", ".2%")):
        plain, calibrated = format(week[name], form), format(week[f"calibrated_{name}"], form)
        assert f"<td>{plain}<small>{calibrated}</small></td>" in page
    made = project.instance.get_latest_materialization_event(dg.AssetKey(["report", "ridership_report"]))
    assert "data:image/png;base64," in made.asset_materialization.metadata["agreement"].value


def test_the_checks_report_the_agreement(project):
    found = {}
    for name in ("ratio_near_one", "complexes_agree"):
        key = dg.AssetCheckKey(dg.AssetKey(["marts", "ridership_reconciliation"]), name)
        (record,) = project.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        found[name] = record.event.dagster_event.event_specific_data
    assert all(evaluation.passed for evaluation in found.values())
    assert "5 weeks, ratio in the newest: 1.01" in found["ratio_near_one"].description
    tables = found["ratio_near_one"].metadata
    for name in ("weeks", "furthest_off"):
        assert tables[name].records[0].data["calibrated_ratio"] == pytest.approx(1, abs=0.02)


# --- corrections: from here on the portal's rows are changed ---


def tick_sensor(project: Project, cursor: str | None = None, **parts: object) -> SensorExecutionData:
    """Evaluate one tick of the sensor."""
    parts = {name: project.defs.resources[name] for name in ("soda", "raw_layer")} | parts
    repository = project.defs.get_repository_def()
    with dg.build_sensor_context(project.instance, cursor, repository_def=repository, resources=parts) as context:
        return project.defs.resolve_sensor_def(SENSOR).evaluate_tick(context)


def requested_weeks(tick: SensorExecutionData) -> list[str]:
    assert all(request.asset_selection == [RAW] for request in tick.run_requests)
    ends = [
        request.tags.get(PARTITION_NAME_TAG) or (request.tags[RANGE_START], request.tags[RANGE_END])
        for request in tick.run_requests
    ]
    return [week for end in ends for week in ([end] if isinstance(end, str) else weeks_between(*end))]


def execute(project: Project, tick: SensorExecutionData) -> dg.ExecuteInProcessResult:
    """Execute the only run that a tick requests, as the daemon does."""
    (request,) = tick.run_requests
    return project.defs.resolve_job_def("__ASSET_JOB").execute_in_process(
        instance=project.instance,
        asset_selection=list(request.asset_selection),
        tags=dict(request.tags),
        raise_on_error=False,
    )


def test_the_sensor_requests_only_the_corrected_week_and_the_lake_is_updated(project, portal, truth):
    portal.too_many = 0
    first = tick_sensor(project)
    assert requested_weeks(first) == []
    # Two declared data sets are missing on this portal. They do not hide the change of the third.
    assert first.skip_message.count("there is no such data set") == 2
    before = {week: project.table("lake", "complex_hourly_published", week) for week in WEEKS}
    row = (
        truth.with_row_index().filter(pl.col("transit_timestamp").dt.date() == dt.date(2024, 2, 12)).row(0, named=True)
    )
    portal.correct(DATA_SET, row["index"], ridership=str(row["ridership"] + 7))
    second = tick_sensor(project, first.cursor)
    assert requested_weeks(second) == ["2024-02-10"]
    assert requested_weeks(tick_sensor(project, second.cursor)) == []
    assert execute(project, second).success
    assert project.run("2024-02-10", job=HOURLY_JOB, tags={COMPLETE_WEEKS: SKIP}).success
    after = {week: project.table("lake", "complex_hourly_published", week) for week in WEEKS}
    added = {week: after[week]["ridership"].sum() - before[week]["ridership"].sum() for week in WEEKS}
    assert {week: n for week, n in added.items() if n} == {"2024-02-10": 7}


def test_an_unreachable_portal_is_reported_by_the_tick(project):
    tick = tick_sensor(project, soda=SodaPortal("http://127.0.0.1:9"))
    assert tick.run_requests == []
    assert "request failed: t69i-h2me at 127.0.0.1:9, " in tick.skip_message
    assert "metadata: the connection failed" in tick.skip_message


# --- without a portal, or with an incomplete week ---


@pytest.fixture
def without_portal(tmp_path) -> Project:
    return Project(tmp_path, has_reference_tables=False)


def test_without_a_portal_nothing_is_requested_or_recorded_and_the_log_tells_how_to_set_one(without_portal):
    assert SENSOR not in {sensor.name for sensor in without_portal.defs.sensors}
    result = without_portal.run(FIRST, job=HOURLY_JOB)
    messages = [entry.user_message for entry in without_portal.instance.all_logs(result.run_id)]
    assert any("Set MTA_SODA to the address of a portal" in message for message in messages)
    assert [*result.get_asset_materialization_events()] == []


def test_a_half_published_week_lands_and_a_check_reports_the_missing_hours(tmp_path, truth):
    half = truth.filter(pl.col("transit_timestamp") < moment("2024-01-30 05"))
    with serve(Portal({DATA_SET: half})) as portal:
        project = Project(tmp_path, resources={"soda": SodaPortal(portal.url)})
        result = project.run(FIRST, LAST, job=HOURLY_JOB)
    assert result.success
    assert [path.name for path in (project.lake / "raw" / "hourly_ridership").iterdir()] == [f"week={FIRST}"]
    evaluations = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert not evaluations["every_hour_published"].passed
    assert "the first is 2024-01-30 05:00" in evaluations["every_hour_published"].description
    assert evaluations["published_riders_kept"].passed


def test_an_unknown_payment_method_is_named_and_the_week_gets_no_table_while_the_other_weeks_do(tmp_path, truth):
    is_new = (pl.col("transit_timestamp") >= moment("2024-02-03 00")) & (pl.col("payment_method") == "omny")
    two_weeks = truth.filter(pl.col("transit_timestamp") < moment("2024-02-10 00"))
    renamed = two_weeks.with_columns(payment_method=pl.when(is_new).then(pl.lit("tap")).otherwise("payment_method"))
    with serve(Portal({DATA_SET: renamed})) as portal:
        project = Project(tmp_path, resources={"soda": SodaPortal(portal.url)})
        results = [project.run(FIRST, WEEKS[1], job=HOURLY_JOB, tags={COMPLETE_WEEKS: SKIP}) for _ in range(2)]
    assert [result.success for result in results] == [False, False]
    shares = {
        e.partition: e for e in results[0].get_asset_check_evaluations() if e.check_name == "reject_share_at_most"
    }
    assert {week: share.passed for week, share in shares.items()} == {FIRST: True, WEEKS[1]: False}
    rows = renamed.filter(pl.col("transit_timestamp") >= moment("2024-02-03 00"))
    new = rows.filter(payment_method="tap").height
    failed = shares[WEEKS[1]]
    assert failed.severity is dg.AssetCheckSeverity.ERROR
    assert failed.description == (
        f"{100 * new / rows.height:.1f} % of {rows.height:,} rows rejected: "
        f"unknown_value {new:,} (payment_method: 'tap' {new:,})"
    )
    assert failed.metadata["unknown_values"].value == [{"column": "payment_method", "value": "tap", "rows": new}]
    key = dg.AssetKey(["lake", "complex_hourly_published"])
    published = [event for event in results[0].get_asset_materialization_events() if event.asset_key == key]
    assert [event.partition for event in published] == [FIRST]
    assert key.to_user_string() not in Automation(project, groups=("hourly",)).follow()


def test_a_week_without_subway_riders_fails_a_check(tmp_path, truth):
    ferry = truth.filter(pl.col("transit_timestamp") < moment("2024-02-03 00")).with_columns(
        transit_mode=pl.lit("ferry")
    )
    with serve(Portal({DATA_SET: ferry})) as portal:
        result = Project(tmp_path, resources={"soda": SodaPortal(portal.url)}).run(FIRST, job=HOURLY_JOB)
    (found,) = (e for e in result.get_asset_check_evaluations() if e.check_name == "riders_found")
    assert (found.passed, found.description) == (False, "0 riders in the subway, 0 of them at unknown complexes")
    assert not result.success


def test_an_unknown_complex_is_named_and_its_riders_are_kept(tmp_path, truth):
    unknown = truth.filter(pl.col("transit_timestamp") < moment("2024-02-03 00")).with_columns(
        station_complex_id=pl.lit("9999")
    )
    with serve(Portal({DATA_SET: unknown})) as portal:
        project = Project(tmp_path, resources={"soda": SodaPortal(portal.url)})
        result = project.run(FIRST, job=HOURLY_JOB)
    (known,) = (e for e in result.get_asset_check_evaluations() if e.check_name == "complexes_known")
    assert not known.passed
    assert known.metadata["unknown"].value == [{"complex_id": 9999, "ridership": unknown["ridership"].sum()}]
    assert project.table("lake", "complex_hourly_published", FIRST)["ridership"].sum() == unknown["ridership"].sum()
