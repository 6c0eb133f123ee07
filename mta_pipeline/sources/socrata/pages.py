"""Pages as they come: CSV, or JSON read into columns of text. Nothing is judged here."""

import io
from collections.abc import Sequence

import polars as pl
from polars.exceptions import PolarsError

from mta_pipeline.sources.errors import BadFile


def rows_of(page: bytes, fields: Sequence[str], subject: str) -> pl.DataFrame:
    """The rows of a page, all columns text, null where the portal has nothing.

    Args:
        page: CSV with a header, or an array of JSON objects.
        fields: the columns that are wanted; of JSON, which leaves out what is null, those that no row has are null.
        subject: what a message begins with.

    Raises:
        BadFile: no page (HTML, an error message), cut short, or a column is not there.
    """
    beginning = page[:200].removeprefix(b"\xef\xbb\xbf").lstrip()
    if beginning.startswith((b"<", b"{")) or not beginning:
        raise BadFile(
            f"{subject}: this is a web page or an error message, not rows; it begins with "
            f"{beginning[:40].decode('latin-1')!r}. Look at MTA_SODA."
        )
    is_json = beginning.startswith(b"[")
    if not page.rstrip(b" \t").endswith((b"]", b"]\n") if is_json else b"\n"):
        raise BadFile(f"{subject}: cut short, it ends with {page[-40:].decode('latin-1')!r}.")
    try:
        if is_json:
            return pl.read_json(io.BytesIO(page), schema=dict.fromkeys(fields, pl.String))
        found = pl.read_csv(io.BytesIO(page), infer_schema=False)
    except PolarsError as error:
        raise BadFile(f"{subject}: it cannot be read: {str(error).splitlines()[0]}.") from error
    if absent := [field for field in fields if field not in found.columns]:
        raise BadFile(
            f"{subject}: the columns {', '.join(absent)} are not there, but {', '.join(found.columns)}. "
            "The portal has changed the data set: change its declaration."
        )
    return found.select(fields)
