"""The warehouse in BigQuery: the lake's tables (loaded or external), the views of the star schema, and the marts.

Each layer is a dataset. A weekly table is partitioned by week. One load job replaces one week and reads the lake's
Parquet file directly, so no data passes through this process. A ledger table records what was loaded, so that a run
loads only new files. `marts` and the contracts define what the tables mean.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple

import polars as pl
from google.api_core.exceptions import Conflict, GoogleAPICallError, NotFound, RetryError
from google.api_core.retry import Retry, if_transient_error
from google.cloud import bigquery

from mta_pipeline.engines.lake_files import LakeIncompleteError, schema, weeks_in_lake
from mta_pipeline.engines.sql import sql
from mta_pipeline.lake.storage import Found, files_in, location, part_path
from mta_pipeline.marts import VIEWS
from mta_pipeline.marts.contract import DIM_DATE, MARTS, WAREHOUSE
from mta_pipeline.marts.star import dim_date
from mta_pipeline.schema import Table
from mta_pipeline.tables import REFERENCE, TABLES, WEEKLY

Storage = Literal["native", "external"]
Say = Callable[[str], None]

TYPES: Final[Mapping[pl.DataType, str]] = {
    pl.Int32(): "INT64",
    pl.Int64(): "INT64",
    pl.Float64(): "FLOAT64",
    pl.String(): "STRING",
    pl.Boolean(): "BOOL",
    pl.Date(): "DATE",
    pl.Datetime("us"): "DATETIME",
}

USD_PER_TIB: Final = 6.25
"""On-demand price in the US and most regions, as of 2025. The first TiB of each month is free."""

GIB: Final = 1 << 30
_TIB: Final = 1 << 40

LEDGER: Final = "loaded_files"
"""The table in the dataset of the star schema that records the loads: one row per load, never updated."""

_LEDGER_COLUMNS: Final = {
    "table_name": ("STRING", "Name of the table, as layer.table."),
    "week": ("DATE", "First day of the week; null for a table without weeks."),
    "generation": (
        "INT64",
        "Generation of the lake's file in Cloud Storage; it increases whenever the contents change.",
    ),
    "job_id": ("STRING", "ID of the load job."),
    "loaded_at": ("TIMESTAMP", "Time at which the finished load was recorded."),
}

# BigQuery allows 50 partition changes per table in 10 s, and a load takes some seconds.
_LOADS_AT_ONCE: Final = 8
_ATTEMPTS: Final = 5

# For a moment, BigQuery may not find a job whose id it has just refused as taken (googleapis/python-bigquery#2134).
_AFTER_CONFLICT: Final = Retry(lambda error: isinstance(error, NotFound) or if_transient_error(error), timeout=60)


class BigQueryError(RuntimeError):
    """A BigQuery request failed. The existing tables stay. The message says what failed and why."""


class _Due(NamedTuple):
    """A file of the lake that must be loaded."""

    table: Table
    week: str | None
    found: Found


@dataclass(frozen=True)
class BigQueryWarehouse:
    """The BigQuery warehouse of a lake in a bucket.

    Args:
        client: a client for the project that holds the datasets and pays for queries. Its location is that of the
            datasets.
        lake_root: gs://bucket/prefix, in the location of the datasets.
        prefix: the prefix of dataset names.
        storage: `native` loads the lake's tables, and marts are tables. `external` stores no data in BigQuery: queries
            read the tables in the bucket, and marts are views.
        max_bytes: the maximum number of bytes that one query may scan. A larger query is not run.
    """

    client: bigquery.Client
    lake_root: str
    prefix: str = ""
    storage: Storage = "native"
    max_bytes: int = 200 * GIB

    def publish(self, say: Say) -> Mapping[str, Any]:
        """Create the datasets, update the lake's tables, and create the star schema. A repeated call changes nothing.

        Args:
            say: called with progress messages.

        Returns:
            Metadata for Dagster's catalogue.

        Raises:
            LakeIncompleteError: a reference table is not in the lake.
            BigQueryError: a request failed, or a table with the same name is of another kind.
        """
        with _translated_errors():
            for layer in dict.fromkeys(table.layer for table in (*TABLES, *WAREHOUSE, *MARTS)):
                self._make_dataset(layer)
            files = {table: self._files(table) for table in TABLES}
            loaded = 0
            if self.storage == "native":
                loaded = self._load_new_files(files, say)
            else:
                for table, found in files.items():
                    self._make_external(table, list(found.values()))
            self._replace_calendar()
            for view in VIEWS:
                self._run(self._create_statement(view, "VIEW"))
        return {"project": self.client.project, "datasets": self._dataset("*"), "files_loaded": loaded}

    def publish_mart(self, name: str) -> Mapping[str, Any]:
        """Replace a mart, computed from the published tables, and return its name, scanned bytes and cost.

        Raises:
            BigQueryError: the query would scan more than `max_bytes`, or it failed. The existing table stays.
        """
        [mart] = [mart for mart in MARTS if mart.name == name]
        with _translated_errors():
            dry = self.client.query(
                self._query(mart),
                job_config=bigquery.QueryJobConfig(dry_run=True, use_query_cache=False),
            )
            scanned = int(dry.total_bytes_processed or 0)
            if scanned > self.max_bytes:
                raise BigQueryError(
                    f"{name} would scan {scanned / GIB:,.1f} GiB, but only {self.max_bytes / GIB:,.0f} are allowed "
                    "(BIGQUERY_MAX_GIB). The query was not run, and the existing table stays."
                )
            done = self._run(self._create_statement(mart, "TABLE" if self.storage == "native" else "VIEW"))
        return {
            "bigquery_table": self._path(mart),
            "bytes_scanned_estimate": scanned,
            "cost_estimate_usd": round(scanned / _TIB * USD_PER_TIB, 6),
            "bytes_billed": int(done.total_bytes_billed or 0),
        }

    def _make_dataset(self, layer: str) -> None:
        # Get first: an account that may write to a dataset often may not create one.
        try:
            self.client.get_dataset(self._dataset(layer))
        except NotFound:
            dataset = bigquery.Dataset(self._dataset(layer))
            dataset.location = self.client.location
            self.client.create_dataset(dataset, exists_ok=True)

    # --- native storage: load the lake's tables ---

    def _load_new_files(self, files: Mapping[Table, Mapping[str | None, Found]], say: Say) -> int:
        made = {table: self._get_or_create(table) for table in TABLES}
        self._make_ledger()
        loaded = self._loaded(made)
        due = [
            _Due(table, week, found)
            for table, of_table in files.items()
            for week, found in of_table.items()
            if (found.generation or 0) > loaded.get((self._key(table), week), -1)
        ]
        if not due:
            return 0
        say(f"{len(due):,} files to load, {sum(map(len, files.values())) - len(due):,} already loaded")
        with ThreadPoolExecutor(_LOADS_AT_ONCE) as pool:
            done: list[tuple[_Due, str]] = []
            try:
                for one, job_id in pool.map(lambda one: (one, self._load(one, made[one.table])), due):
                    done.append((one, job_id))
                    say(f"{self._key(one.table)} {one.week or ''}: loaded")
            finally:
                # Record finished loads even if others failed.
                self._record_loads(done)
        for table in dict.fromkeys(one.table for one, _ in done):
            self._describe(table)
        return len(done)

    def _load(self, due: _Due, made: bigquery.Table) -> str:
        """Replace a week, or a table without weeks, by the contents of its file. Returns the id of the load job.

        The id depends only on table, file and contents, so a load that was started earlier is found, not repeated.
        """
        table, week, found = due
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
        )
        target = self._path(table)
        if week is not None:
            target += f"${week.replace('-', '')}"
            config.time_partitioning = _BY_WEEK
            config.clustering_fields = _clustering(table)
            config.hive_partitioning = self._hive(table)
        contents = f"{target} {found.path} {found.generation} {made.created}"
        name = f"mta-{table.name}-{week or 'all'}-{hashlib.sha256(contents.encode()).hexdigest()[:16]}"
        for attempt in range(1, _ATTEMPTS + 1):
            job_id = f"{name}-{attempt}"
            job: Any  # for the client, an id can belong to any kind of job
            try:
                job = self.client.load_table_from_uri(str(found.path), target, job_id=job_id, job_config=config)
            except Conflict:
                job = self.client.get_job(job_id, retry=_AFTER_CONFLICT)
            try:
                job.result()
            except GoogleAPICallError as error:
                if attempt == _ATTEMPTS:
                    raise BigQueryError(f"{target} could not be loaded from {found.path}: {error.message}") from error
                continue
            return job_id
        raise AssertionError("the last attempt returns or raises")

    def _loaded(self, made: Mapping[Table, bigquery.Table]) -> Mapping[tuple[str, str | None], int]:
        """The latest generation of each file that was loaded into the current table, not into a deleted predecessor."""
        rows = self._run(
            f"SELECT table_name, CAST(week AS STRING) AS week, generation, loaded_at FROM `{self._ledger}`"  # noqa: S608
        ).result()
        since = {self._key(table): current.created for table, current in made.items()}
        loaded: dict[tuple[str, str | None], int] = {}
        for row in rows:
            key = (row["table_name"], row["week"])
            if key[0] in since and row["loaded_at"] >= since[key[0]]:
                loaded[key] = max(loaded.get(key, -1), row["generation"])
        return loaded

    def _record_loads(self, done: Sequence[tuple[_Due, str]]) -> None:
        for start in range(0, len(done), 500):
            rows = ", ".join(
                f"('{self._key(one.table)}', {f'DATE {one.week!r}' if one.week else 'CAST(NULL AS DATE)'}, "
                f"{one.found.generation}, '{job_id}', CURRENT_TIMESTAMP())"
                for one, job_id in done[start : start + 500]
            )
            columns = ", ".join(_LEDGER_COLUMNS)
            self._run(f"INSERT INTO `{self._ledger}` ({columns}) VALUES {rows}").result()  # noqa: S608

    def _make_ledger(self) -> None:
        fields = [
            bigquery.SchemaField(name, dtype, description=meaning) for name, (dtype, meaning) in _LEDGER_COLUMNS.items()
        ]
        ledger = bigquery.Table(self._ledger, fields)
        ledger.description = "Records which versions of the lake's files were loaded. Rows are only added."
        self.client.create_table(ledger, exists_ok=True)

    def _get_or_create(self, table: Table) -> bigquery.Table:
        """Return the existing table, or create it."""
        wanted = bigquery.Table(self._path(table), _fields(table))
        wanted.description = table.description
        if table in WEEKLY:
            wanted.time_partitioning = _BY_WEEK
            wanted.clustering_fields = _clustering(table)
        existing = self._existing(table)
        if existing is not None:
            if existing.table_type != "TABLE":
                raise self._wrong_kind(existing)
            # The table may have been created before the contract had its newest columns.
            there = {field.name for field in existing.schema}
            for name, dtype in schema(table).items():
                if name not in there:
                    self._run(f"ALTER TABLE `{self._path(table)}` ADD COLUMN {name} {TYPES[dtype]}")
            return existing
        return self.client.create_table(wanted)

    def _describe(self, table: Table) -> None:
        # After the loads, because replacing a whole table can remove the column descriptions.
        described = bigquery.Table(self._path(table), _fields(table))
        described.description = table.description
        self.client.update_table(described, ["description", "schema"])

    # --- external storage: query the lake's tables in the bucket ---

    def _make_external(self, table: Table, found: Sequence[Found]) -> None:
        """Create or update an external table over the lake's files, or an empty table if there are no files."""
        existing = self._existing(table)
        if not found:
            if existing is None:
                self._get_or_create(table)
            return
        if existing is not None and existing.table_type == "TABLE":
            if existing.num_rows:
                raise self._wrong_kind(existing)
            self.client.delete_table(existing)
            existing = None
        external = bigquery.ExternalConfig("PARQUET")
        if table in WEEKLY:
            # Not all objects, because damaged files are set aside in the same folders.
            external.source_uris = [f"{self._folder(table)}/*.parquet"]
            external.hive_partitioning = self._hive(table)
        else:
            external.source_uris = [str(found[0].path)]
        external.autodetect = True
        # Files from before a column was added lack it, so infer the columns from the newest file.
        external.reference_file_schema_uri = str(max(found, key=lambda one: one.generation or 0).path)
        wanted = bigquery.Table(self._path(table))
        wanted.external_data_configuration = external
        wanted.description = table.description
        if existing is None:
            self.client.create_table(wanted)
        else:
            self.client.update_table(wanted, ["external_data_configuration", "description"])

    # --- the star schema and the marts ---

    def _replace_calendar(self) -> None:
        payload = io.BytesIO()
        dim_date(weeks_in_lake(self.lake_root)).write_parquet(payload)
        payload.seek(0)
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
            schema=_fields(DIM_DATE),
        )
        with closing(payload):
            self.client.load_table_from_file(payload, self._path(DIM_DATE), job_config=config).result()
        self._describe(DIM_DATE)

    def _create_statement(self, table: Table, kind: Literal["TABLE", "VIEW"]) -> str:
        """The statement that creates or replaces a table or view from the query of `table`."""
        columns = ", ".join(
            f"`{column.name}` {f'{TYPES[column.dtype]} ' if kind == 'TABLE' else ''}"
            f"OPTIONS(description={_quoted(column.description)})"
            for column in table.columns
        )
        return (
            f"CREATE OR REPLACE {kind} `{self._path(table)}` ({columns}) "
            f"OPTIONS(description={_quoted(table.description)}) AS {self._query(table)}"
        )

    def _query(self, table: Table) -> str:
        return sql(table.name, "bigquery", self.client.project, self.prefix)

    def _run(self, statement: str) -> bigquery.QueryJob:
        """Run a statement and wait for it, within `max_bytes`."""
        job = self.client.query(statement, job_config=bigquery.QueryJobConfig(maximum_bytes_billed=self.max_bytes))
        job.result()
        return job

    # --- names ---

    def _dataset(self, layer: str) -> str:
        return f"{self.client.project}.{self.prefix}{layer}"

    def _path(self, table: Table) -> str:
        return f"{self._dataset(table.layer)}.{table.name}"

    @cached_property
    def _ledger(self) -> str:
        return f"{self._dataset(DIM_DATE.layer)}.{LEDGER}"

    def _key(self, table: Table) -> str:
        return f"{table.layer}.{table.name}"

    def _folder(self, table: Table) -> str:
        return str(location(self.lake_root) / table.layer / table.name)

    def _hive(self, table: Table) -> bigquery.HivePartitioningOptions:
        """Options to read the week from the path, because the file itself does not hold it."""
        options = bigquery.HivePartitioningOptions()
        options.mode = "CUSTOM"
        options.source_uri_prefix = f"{self._folder(table)}/{{week:DATE}}"
        return options

    def _existing(self, table: Table) -> bigquery.Table | None:
        try:
            return self.client.get_table(self._path(table))
        except NotFound:
            return None

    def _files(self, table: Table) -> Mapping[str | None, Found]:
        """The files of a table by week, from one listing of its directory. A table without weeks has the key None."""
        folder = location(self.lake_root) / table.layer / table.name
        found = {one.path: one for one in files_in(folder) if one.path.name == "part-0.parquet"}
        if table in WEEKLY:
            return {path.parent.name.removeprefix("week="): one for path, one in sorted(found.items())}
        part = part_path(self.lake_root, table.layer, table.name)
        if part in found:
            return {None: found[part]}
        if table in REFERENCE:
            raise LakeIncompleteError(
                f"{self._key(table)} is not in the lake: {part} does not exist. Materialize it first: "
                "run the job reference_tables."
            )
        return {}

    def _wrong_kind(self, existing: bigquery.Table) -> BigQueryError:
        return BigQueryError(
            f"{existing.full_table_id} is a {existing.table_type} with {existing.num_rows or 0:,} rows, which does not "
            f"fit BIGQUERY_STORAGE={self.storage}. Drop it, or set another prefix in WAREHOUSE."
        )


_BY_WEEK: Final = bigquery.TimePartitioning(type_=bigquery.TimePartitioningType.DAY, field="week")


def _clustering(table: Table) -> list[str] | None:
    return ["complex_id"] if "complex_id" in table.schema else None


def _fields(table: Table) -> list[bigquery.SchemaField]:
    """The columns of a table. All are nullable, as in Parquet. Checks in the lake verify which columns hold no null."""
    meanings = {column.name: column.description for column in table.columns}
    week = "First day of the week, a Saturday."
    return [
        bigquery.SchemaField(name, TYPES[dtype], description=meanings.get(name, week))
        for name, dtype in schema(table).items()
    ]


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Turn errors of the BigQuery API into BigQueryError with the API's own message."""
    try:
        yield
    except (GoogleAPICallError, RetryError) as error:
        raise BigQueryError(f"BigQuery: {error.message}") from error


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
