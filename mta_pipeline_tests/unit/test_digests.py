"""Every lake file holds a digest of itself, so any damage is found wherever the file is copied."""

import io

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta_pipeline.lake.digests import BLANK, HTML, HTML_TAGS
from mta_pipeline.lake.origin import Origin
from mta_pipeline.lake.parquet import digest, origin, problem, row_count, scan, to_parquet
from mta_pipeline.lake.storage import part_path, write_atomically

ROWS = pl.DataFrame({"turnstile": ["A", "B"] * 50, "entries": range(100)})
FILE = bytes(to_parquet(ROWS, Origin("1" * 64, {"turnstile_traffic": 2})))
PAGE = f"<!doctype html><head>{HTML_TAGS}</head><p>6,441 riders".encode()


def without_digest() -> bytes:
    """A file as earlier versions of the project wrote them."""
    buffer = io.BytesIO()
    ROWS.write_parquet(buffer, metadata={"made_from": "1" * 64})
    return buffer.getvalue()


def test_a_file_is_read_by_other_programs_as_before() -> None:
    file = pq.ParquetFile(io.BytesIO(FILE))
    assert pl.DataFrame(pl.from_arrow(file.read())).equals(ROWS)
    assert file.metadata.metadata[b"digest"] == b"sha256"
    assert BLANK not in str(file.metadata.metadata)


@given(st.integers(0, len(FILE) * 8 - 1))
def test_every_flipped_bit_is_detected(bit: int) -> None:
    damaged = bytearray(FILE)
    damaged[bit // 8] ^= 1 << bit % 8
    assert problem(FILE) is None
    assert problem(bytes(damaged))


@given(st.integers(0, len(FILE) - 1), st.binary(min_size=1, max_size=100))
def test_missing_and_additional_bytes_are_detected(length: int, more: bytes) -> None:
    assert problem(FILE[:length])
    assert problem(FILE + more)
    assert problem(FILE[:length] + FILE[length + 1 :])


def test_a_file_from_an_earlier_version_is_read_unless_its_end_is_damaged(tmp_path) -> None:
    path = part_path(str(tmp_path), "lake", "turnstile_traffic", "2024-01-06")
    write_atomically(path, without_digest())
    assert scan(path, in_place=True).collect().equals(ROWS)
    assert digest(path) is None
    assert origin(path) == Origin("1" * 64)
    write_atomically(path, without_digest()[:-20] + bytes(20))
    with pytest.raises(ValueError, match=r"week=2024-01-06/part-0\.parquet is damaged: its end is missing"):
        scan(path, in_place=True)
    footer = int.from_bytes(without_digest()[-8:-4], "little")
    write_atomically(path, without_digest()[: -footer - 8] + bytes(footer) + without_digest()[-8:])
    with pytest.raises(ValueError, match=r"week=2024-01-06/part-0\.parquet is damaged: its footer cannot be read"):
        scan(path, in_place=True)


def test_a_file_whose_footer_cannot_be_read_has_no_origin_and_is_named(tmp_path) -> None:
    path = part_path(str(tmp_path), "lake", "turnstile_traffic", "2024-01-06")
    write_atomically(path, FILE[:-8])
    assert origin(path) is None
    with pytest.raises(ValueError, match=r"week=2024-01-06/part-0\.parquet is damaged"):
        row_count(path)


@given(st.integers(0, len(PAGE) * 8 - 1))
def test_every_flipped_bit_of_a_page_is_detected(bit: int) -> None:
    page = bytearray(PAGE)
    HTML.apply(memoryview(page))
    assert HTML.problem(bytes(page)) is None
    page[bit // 8] ^= 1 << bit % 8
    assert HTML.problem(bytes(page))


@pytest.mark.parametrize("contents", [b"no zeros", PAGE + PAGE], ids=["without a place", "with two places"])
def test_a_file_without_exactly_one_place_for_its_digest_is_not_sealed(contents: bytes) -> None:
    with pytest.raises(ValueError, match="must be in the contents once"):
        HTML.apply(memoryview(bytearray(contents)))
