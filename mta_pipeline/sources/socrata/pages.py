"""Reads pages of rows, CSV or JSON, into text columns. `staging` validates the rows."""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import polars as pl
from polars.exceptions import PolarsError

from mta_pipeline.sources.errors import BadFile
from mta_pipeline.sources.socrata.dataset import ROW_ID


class InconsistentPages(Exception):
    """The pages do not match the portal's row counts. The data set changed meanwhile, or the answer is wrong."""


class VerifiedPage(NamedTuple):
    """A page: the position of its first row, its published bytes, and its rows as text columns."""

    offset: int
    contents: bytes
    rows: pl.DataFrame


def verified_pages(
    rows: int, page_rows: int, page: Callable[[int], bytes], fields: Sequence[str], subject: str
) -> Iterator[VerifiedPage]:
    """Yield all pages of a query. An error can follow after some of them.

    Args:
        rows: the number of rows that the portal announced.
        page_rows: the number of rows of a full page.
        page: returns the published bytes of the page that starts at a row, counted from 0.
        fields: the columns, with ROW_ID among them.
        subject: the beginning of messages.

    Raises:
        InconsistentPages: the number of rows is another one, or a row occurs twice, so that others are missing.
        BadFile: see `rows_of`.
    """
    ids = []
    for offset in range(0, rows, page_rows):
        contents = page(offset)
        found = rows_of(contents, fields, f"{subject} row {offset + 1}")
        if found.height != (expected := min(page_rows, rows - offset)):
            raise InconsistentPages(f"received {found.height:,} rows instead of {expected:,}")
        ids.append(found[ROW_ID])
        yield VerifiedPage(offset, contents, found)
    if ids and (repeated := pl.concat(ids).is_duplicated().sum()):
        raise InconsistentPages(f"received {repeated:,} repeated rows, so other rows are missing")


def rows_of(page: bytes, fields: Sequence[str], subject: str) -> pl.DataFrame:
    """Return the rows of a page. All columns are text, and null if the portal has no value.

    Args:
        page: CSV with a header, or a JSON array of objects.
        fields: the columns to return. JSON leaves out null values, so a field that no JSON row has becomes null.
        subject: the beginning of messages.

    Raises:
        BadFile: this is not a page (but HTML or an error message), it is cut short, or a CSV column is missing.
    """
    beginning = page[:200].removeprefix(b"\xef\xbb\xbf").lstrip()
    if beginning.startswith((b"<", b"{")) or not beginning:
        raise BadFile(
            f"{subject}: this is a web page or an error message, not a page of rows. It begins with "
            f"{beginning[:40].decode('latin-1')!r}. Check the address of the portal."
        )
    is_json = beginning.startswith(b"[")
    if not page.rstrip(b" \t").endswith((b"]", b"]\n") if is_json else b"\n"):
        raise BadFile(f"{subject}: the page is cut short. It ends with {page[-40:].decode('latin-1')!r}.")
    try:
        if is_json:
            return pl.read_json(io.BytesIO(page), schema=dict.fromkeys(fields, pl.String))
        found = pl.read_csv(io.BytesIO(page), infer_schema=False)
    except PolarsError as error:
        raise BadFile(f"{subject}: the page cannot be read: {str(error).splitlines()[0]}.") from error
    if absent := [field for field in fields if field not in found.columns]:
        raise BadFile(
            f"{subject}: the columns {', '.join(absent)} are missing. The page has {', '.join(found.columns)}. "
            "The portal has changed the data set, so change its declaration."
        )
    return found.select(pl.col(fields).replace("", None))  # quotation marks around nothing are no value either
