"""The warehouse in BigQuery: the lake's tables loaded or read in place, the star's views over them, and the marts.

A dataset per layer. A weekly table is partitioned by its week, and a week is replaced by one load job, which reads the
lake's own Parquet file: nothing passes through this process. What is loaded stands in a table of its own, so that a
run loads what is new in the lake and nothing else. What tables mean is said in `marts` and in the contract.
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
from google.api_core.exceptions import Conflict, GoogleAPICallError, NotFound
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
"""On demand, in the US and most regions, as of 2025. What a month's first TiB costs: nothing."""

GIB: Final = 1 << 30
_TIB: Final = 1 << 40

LEDGER: Final = "loaded_files"
"""The table, in the star's dataset, of what has been loaded: a row per load, never changed."""

_LEDGER_COLUMNS: Final = {
    "table_name": ("STRING", "The table, as layer.table."),
    "week": ("DATE", "The week; null for a table without weeks."),
    "generation": (
        "INT64",
        "The lake's file by its generation in Cloud Storage: other contents have another, later one.",
    ),
    "job_id": ("STRING", "The load job."),
    "loaded_at": ("TIMESTAMP", "When the job was known to be done."),
}

# BigQuery takes 50 changes of partitions per table in 10 s; a load takes some seconds.
_LOADS_AT_ONCE: Final = 8
_ATTEMPTS: Final = 5


class BigQueryError(RuntimeError):
    """BigQuery did not do what was asked; what was there stays. The message says what and why."""


class _Due(NamedTuple):
    """A file of the lake that is to be loaded."""

    table: Table
    week: str | None
    found: Found


@dataclass(frozen=True)
class BigQueryWarehouse:
    """The warehouse of a lake in a bucket.

    Args:
        client: for the project that holds the datasets and pays for queries; its location is theirs.
        lake_root: gs://bucket/prefix, in the datasets' location.
        prefix: what datasets' names begin with.
        storage: native loads the lake's tables, and marts are tables; external keeps nothing in BigQuery: tables are
            read in the bucket each time, and marts are views.
        max_bytes: what a query may scan at most; one that would scan more is not run.
    """

    client: bigquery.Client
    lake_root: str
    prefix: str = ""
    storage: Storage = "native"
    max_bytes: int = 200 * GIB

    def publish(self, say: Say) -> Mapping[str, Any]:
        """Make the datasets, bring the lake's tables up to date, and make the star. Repeating it changes nothing.

        Args:
            say: told what is loaded.

        Returns:
            Facts for the catalogue.

        Raises:
            LakeIncompleteError: a reference table is not in the lake.
            BigQueryError: a job failed, or there is a table of the name that is not ours.
        """
        with _explained():
            for layer in dict.fromkeys(table.layer for table in (*TABLES, *WAREHOUSE, *MARTS)):
                self._make_dataset(layer)
            files = {table: self._files(table) for table in TABLES}
            loaded = 0
            if self.storage == "native":
                loaded = self._load_what_is_new(files, say)
            else:
                for table, found in files.items():
                    self._point_to(table, list(found.values()))
            self._replace_calendar()
            for view in VIEWS:
                self._run(self._as(view, "VIEW"))
        return {"project": self.client.project, "datasets": self._dataset("*"), "files_loaded": loaded}

    def publish_mart(self, name: str) -> Mapping[str, Any]:
        """Make a mart anew, from what has been published, and say what that scans and costs.

        Raises:
            BigQueryError: it would scan more than `max_bytes`, or it failed; what was there stays.
        """
        [mart] = [mart for mart in MARTS if mart.name == name]
        with _explained():
            dry = self.client.query(
                self._query(mart),
                job_config=bigquery.QueryJobConfig(dry_run=True, use_query_cache=False),
            )
            scanned = int(dry.total_bytes_processed or 0)
            if scanned > self.max_bytes:
                raise BigQueryError(
                    f"{name} would scan {scanned / GIB:,.1f} GiB, and {self.max_bytes / GIB:,.0f} are allowed "
                    "(BIGQUERY_MAX_GIB). It was not run; what was there stays."
                )
            done = self._run(self._as(mart, "TABLE" if self.storage == "native" else "VIEW"))
        return {
            "bigquery_table": self._path(mart),
            "bytes_scanned_estimate": scanned,
            "cost_estimate_usd": round(scanned / _TIB * USD_PER_TIB, 6),
            "bytes_billed": int(done.total_bytes_billed or 0),
        }

    def _make_dataset(self, layer: str) -> None:
        # Asked for first: whoever may write to a dataset often may not make one.
        try:
            self.client.get_dataset(self._dataset(layer))
        except NotFound:
            dataset = bigquery.Dataset(self._dataset(layer))
            dataset.location = self.client.location
            self.client.create_dataset(dataset, exists_ok=True)

    # --- the lake's tables, loaded ---

    def _load_what_is_new(self, files: Mapping[Table, Mapping[str | None, Found]], say: Say) -> int:
        made = {table: self._make(table) for table in TABLES}
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
        say(f"{len(due):,} files to load, {sum(map(len, files.values())) - len(due):,} are loaded")
        with ThreadPoolExecutor(_LOADS_AT_ONCE) as pool:
            done: list[tuple[_Due, str]] = []
            try:
                for one, job_id in pool.map(lambda one: (one, self._load(one, made[one.table])), due):
                    done.append((one, job_id))
                    say(f"{self._key(one.table)} {one.week or ''}: loaded")
            finally:
                # What is loaded is written down, whatever becomes of the others.
                self._write_down(done)
        for table in dict.fromkeys(one.table for one, _ in done):
            self._describe(table)
        return len(done)

    def _load(self, due: _Due, made: bigquery.Table) -> str:
        """Replace a week, or a table without weeks, by what its file holds. Returns the job's id.

        The id follows from table, file and contents, so a load that was begun is found again and not begun twice.
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
            job: Any  # as the client has it, any kind of job can be found by an id
            try:
                job = self.client.load_table_from_uri(str(found.path), target, job_id=job_id, job_config=config)
            except Conflict:
                job = self.client.get_job(job_id)
            try:
                job.result()
            except GoogleAPICallError as error:
                if attempt == _ATTEMPTS:
                    raise BigQueryError(f"{target} could not be loaded from {found.path}: {error.message}") from error
                continue
            return job_id
        raise AssertionError("the last attempt returns or raises")

    def _loaded(self, made: Mapping[Table, bigquery.Table]) -> Mapping[tuple[str, str | None], int]:
        """The latest generation of each file that has been loaded into the table that is there now."""
        rows = self._run(
            f"SELECT table_name, CAST(week AS STRING) AS week, generation, loaded_at FROM `{self._ledger}`"  # noqa: S608
        ).result()
        since = {self._key(table): there.created for table, there in made.items()}
        loaded: dict[tuple[str, str | None], int] = {}
        for row in rows:
            key = (row["table_name"], row["week"])
            if key[0] in since and row["loaded_at"] >= since[key[0]]:
                loaded[key] = max(loaded.get(key, -1), row["generation"])
        return loaded

    def _write_down(self, done: Sequence[tuple[_Due, str]]) -> None:
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
        ledger.description = "Which contents of which of the lake's files have been loaded. Rows are only ever added."
        self.client.create_table(ledger, exists_ok=True)

    def _make(self, table: Table) -> bigquery.Table:
        """The table as it is there, made first if it is not."""
        wanted = bigquery.Table(self._path(table), _fields(table))
        wanted.description = table.description
        if table in WEEKLY:
            wanted.time_partitioning = _BY_WEEK
            wanted.clustering_fields = _clustering(table)
        there = self._there(table)
        if there is not None:
            if there.table_type != "TABLE":
                raise self._other_kind(there)
            return there
        return self.client.create_table(wanted)

    def _describe(self, table: Table) -> None:
        # After loads, since replacing all of a table may leave its columns without descriptions.
        described = bigquery.Table(self._path(table), _fields(table))
        described.description = table.description
        self.client.update_table(described, ["description", "schema"])

    # --- the lake's tables, read in place ---

    def _point_to(self, table: Table, found: Sequence[Found]) -> None:
        """Make an external table of the lake's files; of a table without any, an empty one."""
        there = self._there(table)
        if not found:
            if there is None:
                self._make(table)
            return
        if there is not None and there.table_type == "TABLE":
            if there.num_rows:
                raise self._other_kind(there)
            self.client.delete_table(there)
            there = None
        external = bigquery.ExternalConfig("PARQUET")
        if table in WEEKLY:
            external.source_uris = [f"{self._folder(table)}/*"]
            external.hive_partitioning = self._hive(table)
        else:
            external.source_uris = [str(found[0].path)]
        external.autodetect = True
        wanted = bigquery.Table(self._path(table))
        wanted.external_data_configuration = external
        wanted.description = table.description
        if there is None:
            self.client.create_table(wanted)
        else:
            self.client.update_table(wanted, ["external_data_configuration", "description"])

    # --- the star and the marts ---

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

    def _as(self, table: Table, kind: Literal["TABLE", "VIEW"]) -> str:
        """The statement that makes a table or a view of the query for it, in place of the one that is there."""
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
        """Run a statement to its end, within the limit."""
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
        """How to read the week, which a file's folder names and the file lacks."""
        options = bigquery.HivePartitioningOptions()
        options.mode = "CUSTOM"
        options.source_uri_prefix = f"{self._folder(table)}/{{week:DATE}}"
        return options

    def _there(self, table: Table) -> bigquery.Table | None:
        try:
            return self.client.get_table(self._path(table))
        except NotFound:
            return None

    def _files(self, table: Table) -> Mapping[str | None, Found]:
        """A table's files by week, from one listing of its folder; that of a table without weeks under None."""
        folder = location(self.lake_root) / table.layer / table.name
        found = {one.path: one for one in files_in(folder) if one.path.name == "part-0.parquet"}
        if table in WEEKLY:
            return {path.parent.name.removeprefix("week="): one for path, one in sorted(found.items())}
        part = part_path(self.lake_root, table.layer, table.name)
        if part in found:
            return {None: found[part]}
        if table in REFERENCE:
            raise LakeIncompleteError(
                f"{self._key(table)} is not in the lake: there is no {part}. Materialize it first: "
                "run the job reference_tables."
            )
        return {}

    def _other_kind(self, there: bigquery.Table) -> BigQueryError:
        return BigQueryError(
            f"{there.full_table_id}: is a {there.table_type} with {there.num_rows or 0:,} rows, which "
            f"BIGQUERY_STORAGE={self.storage} does not go with. Drop it, or give WAREHOUSE another prefix."
        )


_BY_WEEK: Final = bigquery.TimePartitioning(type_=bigquery.TimePartitioningType.DAY, field="week")


def _clustering(table: Table) -> list[str] | None:
    return ["complex_id"] if "complex_id" in table.schema else None


def _fields(table: Table) -> list[bigquery.SchemaField]:
    """A table's columns, all of which may be null, as Parquet has it; what is never null is checked in the lake."""
    meanings = {column.name: column.description for column in table.columns}
    week = "The week's first day, a Saturday."
    return [
        bigquery.SchemaField(name, TYPES[dtype], description=meanings.get(name, week))
        for name, dtype in schema(table).items()
    ]


@contextmanager
def _explained() -> Iterator[None]:
    """What BigQuery refuses, in its own words and without a traceback's noise."""
    try:
        yield
    except GoogleAPICallError as error:
        raise BigQueryError(f"BigQuery: {error.message}") from error


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
