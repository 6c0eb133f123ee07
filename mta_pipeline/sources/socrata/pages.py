"""Reads pages of rows, CSV or JSON, into text columns. `staging` validates the rows."""

import io
from collections.abc import Sequence

import polars as pl
from polars.exceptions import PolarsError

from mta_pipeline.sources.errors import BadFile


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
            f"{beginning[:40].decode('latin-1')!r}. Check MTA_SODA."
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
    return found.select(fields)
