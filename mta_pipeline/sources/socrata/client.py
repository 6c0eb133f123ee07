"""Client of a SODA 2 portal: the number of rows and their last change, and pages of rows.

The lake's `raw_pages` stores the pages, and `staging` interprets them.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import requests

from mta_pipeline.sources.errors import BadFile, FeedRefused
from mta_pipeline.sources.http import Site
from mta_pipeline.sources.socrata.dataset import ROW_ID, UPDATED_AT

MOST_ROWS: Final = 50_000
"""Maximum number of rows that the portal returns in one page."""

MAX_PAGE_BYTES: Final = 256 * 2**20
"""Maximum unpacked size of a page. Pages of hourly ridership have 8 MB."""

MAX_ANSWER_BYTES: Final = 2**20

BUSY_ATTEMPTS: Final = 20
BUSY_WINDOW: Final = 420.0
"""Seconds that one request may take with its retries. A portal that limits requests does so for minutes."""

_KEYWORDS: Final = ("asc", "desc")
"""Names of columns that the query language reads as keywords unless they are quoted."""

SAMPLE_ATTRIBUTION: Final = "mta_pipeline sample"
"""The attribution of data sets that are synthetic."""

TOKEN_HEADER: Final = "X-App-Token"  # noqa: S105  # its name, not its value


class Snapshot(NamedTuple):
    """The number of rows that meet a condition, and their last change."""

    rows: int
    updated_at: str | None
    """Time of the latest change of any of these rows; None if there are no rows."""


class View(NamedTuple):
    """The portal's metadata of a data set."""

    changed_at: str
    """When any row last changed: a number that grows."""
    columns: Mapping[str, str]
    """The type of each column by its name."""
    is_sample: bool = False
    """Whether the portal says that the data are synthetic."""


class SodaApi:
    """A portal. Every method can raise FeedUnavailable, FeedRefused or BadFile.

    Args:
        base_url: the portal's address, https://host.
        token: an app token, or None. It is sent in a header and never shown.
        setting: the setting with the address, for messages.
        page_rows: the number of rows to request at once.
        fail_fast: make one short attempt.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        setting: str = "MTA_SODA",
        page_rows: int = MOST_ROWS,
        fail_fast: bool = False,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.page_rows = page_rows
        self._site = Site(
            setting,
            "the app token in MTA_SODA_TOKEN",
            # Compressed pages have a tenth of the size.
            headers={"Accept-Encoding": "gzip", **({TOKEN_HEADER: token} if token else {})},
            fail_fast=fail_fast,
            busy_attempts=BUSY_ATTEMPTS,
            busy_window=BUSY_WINDOW,
        )

    def __repr__(self) -> str:
        return f"SodaApi({self.base_url!r})"

    @property
    def host(self) -> str:
        """The portal's host, for messages."""
        return urlsplit(self.base_url).netloc

    def snapshot(self, data_set: str, where: str | None) -> Snapshot:
        """Return how many rows meet a condition, and when any of them last changed."""
        subject = f"{data_set} at {self.host}, number of rows"
        params = {"$select": f"count(*) as rows, max({UPDATED_AT}) as updated_at", **_condition(where)}
        answer = self._json(self._resource(data_set, "json"), subject, params)
        try:
            (row,) = answer
            return Snapshot(int(row["rows"]), row.get("updated_at"))
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:  # int() of Infinity
            raise BadFile(f"{subject}: the answer is not a count: {str(answer)[:100]}.") from error

    def changed_at(self, data_set: str) -> str:
        """Return when any row of a data set last changed, according to the portal's metadata: a number that grows."""
        return self.view(data_set).changed_at

    def view(self, data_set: str) -> View:
        """Return the portal's metadata of a data set."""
        subject = f"{data_set} at {self.host}, metadata"
        answer = self._json(f"{self.base_url}/api/views/{data_set}.json", subject, {})
        if not isinstance(answer, dict) or "rowsUpdatedAt" not in answer:
            raise BadFile(f"{subject}: the answer has no rowsUpdatedAt.")
        try:
            columns = {str(column["fieldName"]): str(column["dataTypeName"]) for column in answer.get("columns", ())}
        except (TypeError, KeyError) as error:
            raise BadFile(f"{subject}: the answer describes no columns.") from error
        # Names that begin with a colon are the portal's own.
        kept = {name: type_ for name, type_ in columns.items() if name[:1] != ":"}
        return View(str(answer["rowsUpdatedAt"]), kept, answer.get("attribution") == SAMPLE_ATTRIBUTION)

    def days(self, data_set: str, column: str) -> tuple[dt.date, dt.date] | None:
        """Return the first and the last date in a column of timestamps, or None without any."""
        subject = f"{data_set} at {self.host}, first and last {column}"
        params = {"$select": f"min({column}) as first, max({column}) as last"}
        answer = self._json(self._resource(data_set, "json"), subject, params)
        try:
            (row,) = answer
            found = [dt.date.fromisoformat(row[name][:10]) for name in ("first", "last") if row.get(name)]
        except (TypeError, ValueError, AttributeError) as error:
            raise BadFile(f"{subject}: the answer has no dates: {str(answer)[:100]}.") from error
        return (found[0], found[1]) if len(found) == 2 else None

    def page(self, data_set: str, fields: Sequence[str], where: str | None, offset: int) -> bytes:
        """Return a page of rows as published CSV: the rows from `offset` on, ordered by id."""
        last = offset + self.page_rows
        subject = f"{data_set} at {self.host}, rows {offset + 1:,} to {last:,}"
        params = {
            "$select": ",".join(f"`{field}`" if field in _KEYWORDS else field for field in fields),
            **_condition(where),
            "$order": ROW_ID,  # without it, the portal returns some rows twice and others not at all
            "$limit": str(self.page_rows),
            "$offset": str(offset),
        }
        return self._get(self._resource(data_set, "csv"), subject, params, MAX_PAGE_BYTES)

    def _resource(self, data_set: str, kind: str) -> str:
        return f"{self.base_url}/resource/{data_set}.{kind}"

    def _json(self, url: str, subject: str, params: Mapping[str, str]) -> Any:
        answer = self._get(url, subject, params, MAX_ANSWER_BYTES)
        try:
            return json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise BadFile(f"{subject}: the answer is not JSON. It begins with {answer[:40]!r}.") from error

    def _get(self, url: str, subject: str, params: Mapping[str, str], limit: int) -> bytes:
        return self._site.with_retries(self._request, url, subject, params, limit)

    def _request(self, url: str, subject: str, params: Mapping[str, str], limit: int) -> bytes:
        response = self._site.request("GET", url, subject, params=params)
        if response is None:
            raise FeedRefused(f"{subject}: there is no such data set. {self._site.check_address}, and the id.")
        with response:
            return self._whole(response, subject, limit)

    def _whole(self, response: requests.Response, subject: str, limit: int) -> bytes:
        whole = bytearray()
        for chunk in self._site.body(response, subject, decode=True):
            whole += chunk
            if len(whole) > limit:
                raise BadFile(f"{subject}: the answer has more than {limit:,} bytes, which is the limit.")
        return bytes(whole)


def _condition(where: str | None) -> dict[str, str]:
    return {} if where is None else {"$where": where}
