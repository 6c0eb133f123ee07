"""The warehouse in BigQuery has the same rows as DuckDB's. A week is replaced as a whole. Publishing is idempotent.

The emulator does not support partition decorators, hive folders, external tables and byte counts. Tests of these look
at the requests that the client sends.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from typing import NamedTuple

import dagster as dg
import fsspec
import polars as pl
import pyarrow as pa
import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from polars.testing import assert_frame_equal

from mta_pipeline.build import build_defs
from mta_pipeline.engines import open_lake
from mta_pipeline.engines.bigquery import BigQueryError, BigQueryWarehouse, _fields
from mta_pipeline.engines.lake_files import LakeIncompleteError
from mta_pipeline.lake import gcs
from mta_pipeline.lake.storage import location, part_path, read_bytes
from mta_pipeline.marts.contract import KEYS, MARTS, WAREHOUSE
from mta_pipeline.orchestration.keys import MARTS_JOB
from mta_pipeline.orchestration.resources import warehouse as resources
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.schema import Table
from mta_pipeline.settings import Settings
from mta_pipeline.tables import TABLES
from mta_pipeline.turnstile.contract import COMPLEX_DAILY, TURNSTILE_TRAFFIC
from mta_pipeline_tests.conftest import skip_or_fail_in_ci
from mta_pipeline_tests.support import bigquery_emulator
from mta_pipeline_tests.support.parity import difference, sample_lake
from mta_pipeline_tests.support.small_lake import SmallLake, interval

pytest_plugins = ["mta_pipeline_tests.support.gcs_emulator"]

WEEK = "2014-10-18"


class Cloud(NamedTuple):
    """A lake in a bucket, the same lake in a directory, and a BigQuery."""

    warehouse: BigQueryWarehouse
    session: bigquery_emulator.Session
    directory: str

    def rows(self, table: Table) -> pl.DataFrame:
        query = f"SELECT * FROM `{self.warehouse.prefix}{table.layer}`.`{table.name}`"
        table_rows = self.warehouse.client.query(query).to_arrow(create_bqstorage_client=False)
        # Polars does not know the type names that BigQuery's client writes into the schema metadata.
        plain = pa.schema([field.remove_metadata() for field in table_rows.schema])
        return pl.DataFrame(pl.from_arrow(table_rows.cast(plain)))

    def lake(self, **options: object) -> BigQueryWarehouse:
        return BigQueryWarehouse(self.warehouse.client, self.warehouse.lake_root, self.warehouse.prefix, **options)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A lake made by the real assets."""
    return sample_lake(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A lake with a few intervals, for tests that do not depend on rows."""
    lake = SmallLake(tmp_path_factory.mktemp("small"))
    lake.week(WEEK, *(interval(f"2014-10-{day} 04", f"2014-10-{day} 08", day, day) for day in (18, 19, 20)))
    lake.week("2014-10-25", interval("2014-10-25 04", "2014-10-25 08", 1, 1), rejects=["bad_register"])
    return str(lake.root)


@pytest.fixture(scope="module")
def bigquery_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bigquery_emulator.Session]:
    if reason := bigquery_emulator.missing():
        skip_or_fail_in_ci(reason)
    root = tmp_path_factory.mktemp("bucket")
    with bigquery_emulator.running(root) as address:
        yield bigquery_emulator.Session(address, root)


def upload(directory: str, bucket: str, bigquery: bigquery_emulator.Session) -> Cloud:
    fsspec.filesystem("gs").put(directory, f"{bucket}/lake", recursive=True)
    bigquery.sent.clear()
    client = bigquery_emulator.client(bigquery.address, bigquery)
    return Cloud(BigQueryWarehouse(client, f"{bucket}/lake", f"t{bucket[-8:]}_"), bigquery, directory)


@pytest.fixture
def cloud(small, gcs_bucket, bigquery_server) -> Cloud:
    return upload(small, gcs_bucket, bigquery_server)


@pytest.fixture
def sample_cloud(sample, gcs_bucket, bigquery_server) -> Cloud:
    return upload(sample, gcs_bucket, bigquery_server)


def quiet(_: str) -> None: ...


CLIENTS: dict[str, bigquery.Client] = {}


class OnTheEmulator(resources.BigQueryWarehouse):
    """The resource with a client of the emulator instead of one with credentials."""

    def _client(self):
        return nullcontext(CLIENTS[self.prefix])


def run_job(cloud: Cloud) -> dict[str, dict[str, dg.MetadataValue]]:
    """Run the job `marts` and return the metadata of its assets by key."""
    CLIENTS[cloud.warehouse.prefix] = cloud.warehouse.client
    settings = Settings(
        feed=cloud.directory,
        lake_root=cloud.warehouse.lake_root,
        warehouse=f"bigquery://{bigquery_emulator.PROJECT}/{cloud.warehouse.prefix}",
    )
    configured = build_defs(settings).resources["warehouse"]
    assert isinstance(configured, resources.BigQueryWarehouse)
    options = {name: getattr(configured, name) for name in ("project", "prefix", "location", "storage", "max_gib")}
    defs = build_defs(settings, warehouse=OnTheEmulator(lake=Lake(lake_root=settings.lake_root), **options))
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def(MARTS_JOB).execute_in_process(instance=instance)
    assert result.success
    return {
        event.asset_key.to_user_string(): event.materialization.metadata
        for event in result.filter_events(lambda event: event.is_step_materialization)
    }


@pytest.mark.slow
def test_the_job_marts_publishes_the_same_rows_as_duckdb_has_and_the_catalogue_shows_the_cost(sample_cloud):
    cloud = sample_cloud
    metadata = run_job(cloud)
    with open_lake(cloud.directory) as lake:
        for table in (*TABLES, *WAREHOUSE):
            expected = pl.DataFrame(pl.from_arrow(lake.tables[table.name].to_pyarrow()))
            actual = cloud.rows(table).select(expected.columns).cast(dict(expected.schema))
            assert_frame_equal(expected, actual, check_row_order=False)
        for mart in MARTS:
            expected = pl.DataFrame(pl.from_arrow(lake.to_pyarrow(mart.name)))
            actual = cloud.rows(mart).cast(dict(mart.schema)).sort(*KEYS[mart.name], nulls_last=True)
            assert difference(expected, actual) is None, mart.name
            written = pl.read_parquet(read_bytes(part_path(cloud.warehouse.lake_root, "marts", mart.name)))
            assert difference(expected, written.sort(*KEYS[mart.name], nulls_last=True)) is None, mart.name
    assert metadata["warehouse/fact_turnstile"]["files_loaded"].value == len(cloud.session.loads())
    assert metadata["marts/system_daily"]["bytes_scanned_estimate"].value == 0
    assert metadata["marts/system_daily"]["bigquery_table"].value.endswith("marts.system_daily")


@pytest.mark.slow
def test_tables_have_types_descriptions_partitions_and_clustering_of_the_contract(cloud):
    cloud.warehouse.publish(quiet)
    table = cloud.warehouse.client.get_table(f"{cloud.warehouse.prefix}lake.{TURNSTILE_TRAFFIC.name}")
    assert table.description == TURNSTILE_TRAFFIC.description
    assert table.time_partitioning == bigquery.TimePartitioning(type_="DAY", field="week")
    assert table.clustering_fields == ["complex_id"]
    assert [(f.name, f.description) for f in table.schema[1:]] == [
        (column.name, column.description) for column in TURNSTILE_TRAFFIC.columns
    ]
    types = {field.name: field.field_type for field in table.schema}
    assert (types["week"], types["started_at"], types["entries"]) == ("DATE", "DATETIME", "INT64")


@pytest.mark.slow
def test_a_week_is_loaded_by_one_job_that_replaces_its_partition_from_the_file_in_the_lake(cloud):
    cloud.warehouse.publish(quiet)
    [job] = [
        body
        for body in cloud.session.loads()
        if body["configuration"]["load"]["destinationTable"]["tableId"] == "turnstile_traffic$20141018"
    ]
    folder = f"{cloud.warehouse.lake_root}/lake/turnstile_traffic"
    assert job["configuration"]["load"] == {
        "sourceFormat": "PARQUET",
        "sourceUris": [f"{folder}/week={WEEK}/part-0.parquet"],
        "hivePartitioningOptions": {"mode": "CUSTOM", "sourceUriPrefix": f"{folder}/{{week:DATE}}"},
        "destinationTable": {
            "projectId": bigquery_emulator.PROJECT,
            "datasetId": f"{cloud.warehouse.prefix}lake",
            "tableId": "turnstile_traffic$20141018",
        },
        "writeDisposition": "WRITE_TRUNCATE",
        "createDisposition": "CREATE_NEVER",
        "timePartitioning": {"type": "DAY", "field": "week"},
        "clustering": {"fields": ["complex_id"]},
    }


@pytest.mark.slow
def test_publishing_again_loads_nothing_and_changes_nothing(cloud):
    assert cloud.warehouse.publish(quiet)["files_loaded"] == len(cloud.session.loads())
    before = {table.name: cloud.rows(table) for table in TABLES}
    cloud.session.sent.clear()
    assert cloud.warehouse.publish(quiet)["files_loaded"] == 0
    assert cloud.session.loads() == []
    for table in TABLES:
        assert_frame_equal(before[table.name], cloud.rows(table), check_row_order=False)


@pytest.mark.slow
def test_only_a_rebuilt_week_is_loaded_and_replaces_the_old_one(cloud):
    cloud.warehouse.publish(quiet)
    before = cloud.rows(COMPLEX_DAILY)
    path = part_path(cloud.warehouse.lake_root, COMPLEX_DAILY.layer, COMPLEX_DAILY.name, WEEK)
    fewer = pl.read_parquet(read_bytes(path)).head(1)
    with fsspec.open(str(path), "wb") as file:
        fewer.write_parquet(file)
    cloud.session.sent.clear()
    assert cloud.warehouse.publish(quiet)["files_loaded"] == 1
    week = pl.col("week").cast(pl.String) == WEEK
    after = cloud.rows(COMPLEX_DAILY)
    assert len(after.filter(week)) == 1
    assert_frame_equal(after.filter(~week), before.filter(~week), check_row_order=False)


class Killed(BaseException):
    """Simulates the death of the process."""


@pytest.mark.slow
def test_a_run_killed_between_upload_load_and_record_is_completed_by_the_next_run(cloud, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(BigQueryWarehouse, "_load", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            cloud.warehouse.publish(quiet)
    assert cloud.session.loads() == []

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(BigQueryWarehouse, "_record_loads", die)
        with pytest.raises(Killed):
            cloud.warehouse.publish(quiet)
    loaded = [job["jobReference"]["jobId"] for job in cloud.session.loads()]
    before = {table.name: cloud.rows(table) for table in TABLES}

    cloud.session.sent.clear()
    assert cloud.warehouse.publish(quiet)["files_loaded"] == len(loaded)
    # The same job names are requested and refused, because these jobs are done.
    assert sorted(job["jobReference"]["jobId"] for job in cloud.session.loads()) == sorted(loaded)
    for table in TABLES:
        assert_frame_equal(before[table.name], cloud.rows(table), check_row_order=False)
    assert cloud.warehouse.publish(quiet)["files_loaded"] == 0


@pytest.mark.slow
def test_a_load_is_found_again_if_its_answer_is_lost_and_the_job_is_not_visible_at_once(cloud, monkeypatch):
    send, answers = cloud.session.request, Counter()

    def answer(method: str, url: str, **options: object) -> requests.Response:
        response = send(method, url, **options)
        kind = "load" if "sourceUris" in str(options.get("data")) else "job" if "/jobs/mta-" in url else None
        if kind:
            answers[kind, response.status_code] += 1
            if answers.total() == 1:
                return bigquery_emulator.error_response(503, "backendError", "its answer is lost")
            if kind == "job" and answers[kind, 200] == 1:
                return bigquery_emulator.error_response(404, "notFound", "Not found: Job")
        return response

    monkeypatch.setattr(cloud.session, "request", answer)
    files = cloud.warehouse.publish(quiet)["files_loaded"]
    assert answers["load", 200] == files
    assert answers["load", 409] == 1
    assert answers["job", 200] > 1


@pytest.mark.slow
def test_a_table_from_before_a_column_was_added_gets_that_column(cloud):
    client, name = cloud.warehouse.client, f"{cloud.warehouse.prefix}lake.{TURNSTILE_TRAFFIC.name}"
    cloud.warehouse._make_dataset("lake")
    older = [field for field in _fields(TURNSTILE_TRAFFIC) if not field.name.endswith("_utc_offset")]
    client.create_table(bigquery.Table(f"{client.project}.{name}", older))
    cloud.warehouse.publish(quiet)
    assert [field.name for field in client.get_table(name).schema] == ["week", *TURNSTILE_TRAFFIC.schema]
    assert cloud.rows(TURNSTILE_TRAFFIC)["ended_utc_offset"].to_list() == [-4] * 4


@pytest.mark.slow
def test_a_dropped_table_is_loaded_again(cloud):
    cloud.warehouse.publish(quiet)
    cloud.warehouse.client.delete_table(f"{cloud.warehouse.prefix}lake.{COMPLEX_DAILY.name}")
    assert cloud.warehouse.publish(quiet)["files_loaded"] == 2
    assert len(cloud.rows(COMPLEX_DAILY)) > 0


@pytest.mark.slow
def test_every_query_has_a_limit_and_a_mart_is_estimated_before_it_is_computed(cloud):
    cloud.warehouse.publish(quiet)
    cloud.session.sent.clear()
    facts = cloud.warehouse.publish_mart("system_daily")
    estimate, made = cloud.session.queries()
    assert estimate["configuration"]["dryRun"] is True
    assert estimate["configuration"]["query"]["useQueryCache"] is False
    assert made["configuration"]["query"]["maximumBytesBilled"] == str(200 << 30)
    assert made["configuration"]["query"]["query"].startswith("CREATE OR REPLACE TABLE ")
    assert set(facts) == {"bigquery_table", "bytes_scanned_estimate", "cost_estimate_usd", "bytes_billed"}


@pytest.mark.slow
def test_a_mart_that_would_scan_too_much_is_not_computed_and_its_cost_is_estimated(cloud, monkeypatch):
    cloud.warehouse.publish(quiet)
    monkeypatch.setattr(bigquery.QueryJob, "total_bytes_processed", 1 << 40)
    facts = cloud.lake(max_bytes=1 << 41).publish_mart("system_daily")
    assert (facts["bytes_scanned_estimate"], facts["cost_estimate_usd"]) == (1 << 40, 6.25)
    cloud.session.sent.clear()
    with pytest.raises(BigQueryError, match=r"system_daily would scan 1,024\.0 GiB, but only 1 are allowed"):
        cloud.lake(max_bytes=1 << 30).publish_mart("system_daily")
    assert [query["configuration"].get("dryRun") for query in cloud.session.queries()] == [True]


@pytest.mark.slow
def test_external_tables_point_to_the_lake_s_files_and_marts_are_views(cloud, monkeypatch):
    created: list[dict[str, object]] = []
    monkeypatch.setattr(bigquery.Client, "create_table", lambda self, table, **_: created.append(table.to_api_repr()))
    monkeypatch.setattr(BigQueryWarehouse, "_run", lambda *_: None)
    cloud.lake(storage="external").publish(quiet)
    folder = f"{cloud.warehouse.lake_root}/lake/turnstile_traffic"
    # The files were uploaded at the same time, in any order.
    newest, _ = max(gcs.objects(location(folder)), key=lambda found: found[1])
    [traffic] = [table for table in created if table["tableReference"]["tableId"] == "turnstile_traffic"]
    assert traffic["externalDataConfiguration"] == {
        "sourceFormat": "PARQUET",
        "sourceUris": [f"{folder}/*.parquet"],
        "hivePartitioningOptions": {"mode": "CUSTOM", "sourceUriPrefix": f"{folder}/{{week:DATE}}"},
        "autodetect": True,
        # The newest file has all columns of the contract.
        "referenceFileSchemaUri": str(newest),
    }
    assert cloud.session.loads() == []
    assert cloud.lake(storage="external")._create_statement(MARTS[0], "VIEW").startswith("CREATE OR REPLACE VIEW ")


@pytest.mark.slow
def test_native_tables_with_rows_are_not_replaced_by_external_ones(cloud):
    cloud.warehouse.publish(quiet)
    with pytest.raises(BigQueryError, match="does not fit BIGQUERY_STORAGE=external"):
        cloud.lake(storage="external").publish(quiet)
    assert len(cloud.rows(COMPLEX_DAILY)) > 0


@pytest.mark.slow
def test_a_lake_without_reference_tables_is_reported(cloud):
    empty = BigQueryWarehouse(cloud.warehouse.client, f"{cloud.warehouse.lake_root}-elsewhere", "empty_")
    with pytest.raises(LakeIncompleteError, match=r"lake\.control_areas is not in the lake"):
        empty.publish(quiet)


def test_the_client_is_dagster_s_with_application_default_credentials(monkeypatch):
    monkeypatch.setattr("google.auth.default", lambda **_: (AnonymousCredentials(), None))
    resource = resources.BigQueryWarehouse(
        lake=Lake(lake_root="gs://bucket"), project="my-project", location="us-central1"
    )
    with resource._client() as client:
        assert (client.project, client.location) == ("my-project", "us-central1")


@pytest.mark.slow
def test_definitions_for_the_cloud_load_without_cloud_libraries(processes):
    script = (
        "import sys; from mta_pipeline.definitions import defs; defs();"
        "print([name for name in sys.modules if name.startswith(('google.cloud.', 'dagster_gcp', 'gcsfs'))])"
    )
    variables = {"LAKE_ROOT": "gs://bucket", "WAREHOUSE": "bigquery://my-project/mta_", "MTA_FEED": "gs://feed"}
    output = subprocess.check_output([sys.executable, "-c", script], env={**os.environ, **variables}, text=True)
    assert output.strip() == "[]"
