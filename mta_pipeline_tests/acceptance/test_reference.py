"""The shipped reference data compared with the MTA's lists, third-party tables and the booths of real files."""

import gzip
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from mta_pipeline.turnstile.complexes import control_areas, station_complexes
from mta_pipeline_tests.conftest import REPOSITORY

COMPILER = REPOSITORY / "tools" / "compile_reference.py"
DECISIONS = REPOSITORY / "tools" / "reference_decisions.csv"
BOOTH = ["control_area", "unit"]
NO_COMPLEX = {"JFK01", "JFK02", "JFK03", "TRAM1", "TRAM2"}
"""Booths of the five weeks without a complex, in addition to those of PATH."""


def booths_in(file: Path) -> pl.DataFrame:
    """The booths of a turnstile file in either layout, without a last line that was cut."""
    content = file.read_bytes()
    text = (gzip.decompress(content) if file.suffix == ".gz" else content).decode()
    complete = (line for line in text.splitlines(keepends=True) if line.endswith("\n") and not line.startswith("C/A,"))
    return pl.DataFrame(sorted({tuple(line.split(",", 2)[:2]) for line in complete}), schema=BOOTH, orient="row")


def decisions() -> pl.DataFrame:
    return pl.read_csv(DECISIONS, infer_schema=False)


@pytest.mark.slow
def test_the_shipped_files_equal_those_compiled_from_the_lists(processes, shared_data: Path):
    run = subprocess.run(
        [sys.executable, COMPILER, shared_data / "reference", "--check"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("59 STREET,NQR456W", "control_areas.csv differs from the result"),
        ("5 AV/59 ST,NQRW", "A002 R051"),
        ("NOWHERE,NQRW", "A002 R051"),
    ],
    ids=["another spelling", "a dispute without a reason", "a booth that no rule places"],
)
def test_the_check_fails_if_a_list_disagrees(processes, shared_data: Path, tmp_path: Path, place: str, message: str):
    for source in (shared_data / "reference").glob("*.csv"):
        text = source.read_text(encoding="utf-8-sig")
        (tmp_path / source.name).write_text(text.replace("A002,R051,59 ST,NQR456W,BMT\n", f"A002,R051,{place},BMT\n"))
    run = subprocess.run([sys.executable, COMPILER, tmp_path, "--check"], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert message in run.stderr


@pytest.mark.parametrize("table", ["crosscheck_remote_booth_complex.csv", "crosscheck_remote_complex_qri.csv"])
def test_every_disagreement_about_a_complex_has_a_documented_reason(shared_data: Path, table: str):
    third_party = pl.read_csv(shared_data / "reference" / table, infer_schema=False)
    third_party = third_party.rename({name: name.strip() for name in third_party.columns}).select(
        pl.col("booth").alias("control_area"), pl.col("remote").alias("unit"), pl.col("complex_id").cast(pl.Int32)
    )
    disagreements = (
        control_areas()
        .join(third_party.drop_nulls(), on=BOOTH, suffix="_theirs")
        .filter(pl.col.complex_id.ne_missing(pl.col.complex_id_theirs))
        .filter(pl.col.complex_id_theirs.is_in(station_complexes()["complex_id"].implode()))
    )
    reasons = decisions().filter(pl.col.field == "complex_id", pl.col.reason.str.len_chars() > 20)
    assert disagreements.join(reasons, on=BOOTH, how="anti").is_empty()


def test_every_decision_is_applied_in_the_shipped_table():
    shipped = control_areas().cast(pl.String).unpivot(index=BOOTH, variable_name="field", value_name="shipped")
    applied = decisions().join(shipped, on=[*BOOTH, "field"], how="left")
    assert applied.filter(pl.col.value.ne_missing(pl.col.shipped)).is_empty()


@pytest.mark.slow
def test_every_booth_of_the_five_weeks_has_a_complex_or_is_known_to_have_none(real_weeks: Path):
    weeks = sorted(real_weeks.glob("turnstile_24*.gz"))
    assert len(weeks) == 5
    booths = pl.concat(booths_in(week) for week in weeks).unique()
    assert booths.height > 700
    without = booths.join(control_areas().filter(pl.col.complex_id.is_not_null()), on=BOOTH, how="anti")
    assert {name for name in without["control_area"] if not name.startswith("PTH")} == NO_COMPLEX
    assert booths.join(control_areas(), on=BOOTH, how="anti").is_empty()


@pytest.mark.parametrize(
    "name",
    [
        "legacy/turnstile_110528.head.txt",
        "partial/turnstile_170603.head.txt.gz",
        "partial/turnstile_170617.head.txt.gz",
        "partial/turnstile_190330.head.txt.gz",
    ],
)
def test_every_booth_of_an_older_file_has_a_complex(shared_data: Path, name: str):
    booths = booths_in(shared_data / name)
    placed = control_areas().filter(pl.col.complex_id.is_not_null())
    assert booths.height > 20
    assert booths.join(placed, on=BOOTH, how="anti").is_empty()
