"""Any DuckDB client can open the warehouse file while the pipeline runs, and the pipeline replaces no foreign file."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from mta_pipeline.engines.duckdb import WarehouseFileError, is_unreadable, write_warehouse
from mta_pipeline.engines.lake_files import LakeIncompleteError
from mta_pipeline.turnstile.contract import CONTROL_AREAS
from mta_pipeline_tests.support.small_lake import SmallLake, interval

FIRST, SECOND = "2024-01-06", "2024-01-13"
RIDERS = "SELECT week::VARCHAR, entries FROM warehouse.fact_turnstile ORDER BY ALL"


@pytest.fixture
def lake(tmp_path):
    made = SmallLake(tmp_path / "a lake with 'quotes'")
    made.week(FIRST, interval("2024-01-06 00", "2024-01-06 04", 5, 6))
    return made


@pytest.fixture
def file(lake, tmp_path):
    path = tmp_path / "mta.duckdb"
    write_warehouse(str(lake.root), path)
    return path


def query(file: Path, statement: str) -> list[tuple]:
    with duckdb.connect(file, read_only=True) as connection:
        return connection.execute(statement).fetchall()


def test_new_and_rebuilt_weeks_are_visible_without_writing_the_file_again(lake, file):
    assert query(file, RIDERS) == [(FIRST, 5)]
    lake.week(FIRST, interval("2024-01-06 00", "2024-01-06 04", 8, 9))
    lake.week(SECOND, interval("2024-01-13 00", "2024-01-13 04", 1, 1))
    assert query(file, RIDERS) == [(FIRST, 8), (SECOND, 1)]


def test_every_table_has_a_view_with_a_comment(file):
    views = dict(query(file, "SELECT schema_name, count(*) FROM duckdb_views() WHERE NOT internal GROUP BY ALL"))
    assert views == {"staged": 4, "lake": 8, "warehouse": 3, "marts": 8}
    [(comment,)] = query(file, "SELECT comment FROM duckdb_views() WHERE view_name = 'system_daily'")
    assert comment.startswith("Subway entries and exits per day")
    assert query(file, "SELECT count(*) FROM warehouse.dim_date WHERE is_whole_day") == [(6,)]


def test_tables_without_files_are_empty_and_typed(file):
    assert query(file, "SELECT count(*) FROM marts.station_daily") == [(0,)]
    types = dict(query(file, "SELECT column_name, column_type FROM (DESCRIBE marts.station_daily)"))
    assert (types["service_date"], types["entries"], types["coverage"]) == ("DATE", "BIGINT", "DOUBLE")


CLIENT = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
print(connection.execute("SELECT sum(entries) FROM warehouse.fact_turnstile").fetchone()[0], flush=True)
"""


@pytest.mark.slow
def test_a_client_with_the_file_open_for_writing_does_not_block_a_new_version_and_can_continue(processes, lake, file):
    client = [sys.executable, "-c", CLIENT, file]
    with subprocess.Popen(client, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "open\n"
        with pytest.raises(duckdb.IOException, match="lock"):
            duckdb.connect(file)
        lake.week(SECOND, interval("2024-01-13 00", "2024-01-13 04", 1, 1))
        write_warehouse(str(lake.root), file)
        assert len(query(file, RIDERS)) == 2
        assert process.communicate("\n")[0] == "6\n"


def test_a_file_with_other_tables_is_not_replaced(lake, file):
    with duckdb.connect(file) as connection:
        connection.execute("CREATE TABLE notes AS SELECT 1 AS line")
    before = file.read_bytes()
    with pytest.raises(
        WarehouseFileError, match=r"mta\.duckdb: the file holds tables that .* did not write: main\.notes"
    ):
        write_warehouse(str(lake.root), file)
    assert file.read_bytes() == before


def test_a_file_that_another_program_writes_to_is_not_replaced(lake, file):
    file.with_name("mta.duckdb.wal").write_bytes(b"")
    with pytest.raises(WarehouseFileError, match="another program is writing to it"):
        write_warehouse(str(lake.root), file)


def test_a_file_of_a_newer_duckdb_is_named_and_not_replaced(lake, file):
    newer = bytearray(file.read_bytes())
    # The storage version follows the checksum and the four letters DUCK.
    newer[12:20] = (9_999).to_bytes(8, "little")
    file.write_bytes(newer)
    with pytest.raises(
        WarehouseFileError, match=r"mta\.duckdb: this DuckDB .* cannot read it.*Set WAREHOUSE to another"
    ):
        write_warehouse(str(lake.root), file)
    assert file.read_bytes() == newer


def test_a_file_of_the_pipeline_that_duckdb_cannot_read_is_found_and_no_other_file(lake, file):
    assert not is_unreadable(file)
    with duckdb.connect(file) as connection:
        connection.execute("CREATE TABLE notes AS SELECT 1 AS line")
    assert not is_unreadable(file)
    file.write_bytes(file.read_bytes()[:5_000])
    assert is_unreadable(file)
    file.with_name("mta.duckdb.json").unlink()
    assert not is_unreadable(file)


def test_a_file_that_is_not_a_database_is_not_replaced(lake, file):
    file.write_text("a letter to the mayor")
    with pytest.raises(WarehouseFileError, match="cannot read it"):
        write_warehouse(str(lake.root), file)


def test_a_lake_in_a_bucket_has_no_warehouse_file(tmp_path):
    with pytest.raises(WarehouseFileError, match="gs://bucket/lake"):
        write_warehouse("gs://bucket/lake", tmp_path / "mta.duckdb")


def test_a_lake_without_its_reference_tables_keeps_the_old_file(lake, file):
    before = file.read_bytes()
    lake.path(CONTROL_AREAS).unlink()
    with pytest.raises(LakeIncompleteError, match="control_areas"):
        write_warehouse(str(lake.root), file)
    assert file.read_bytes() == before
