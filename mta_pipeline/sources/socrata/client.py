"""Asking a SODA 2 portal: how many rows there are and when they last changed, and pages of them.

Where pages are kept is said in `landing`, what is in them in `staging`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import requests

from mta_pipeline.sources.errors import BadFile, FeedRefused
from mta_pipeline.sources.http import Site
from mta_pipeline.sources.socrata.dataset import ROW_ID, UPDATED_AT

MOST_ROWS: Final = 50_000
"""Rows that the portal gives in one page at most."""

MAX_PAGE_BYTES: Final = 256 * 2**20
"""Unpacked. Pages of hourly ridership have 8 MB."""

MAX_ANSWER_BYTES: Final = 2**20

ATTEMPTS: Final = 20
RETRY_WINDOW: Final = 420.0
"""Seconds that one question may take: a portal that has had enough of us says so for minutes."""

TOKEN_HEADER: Final = "X-App-Token"  # noqa: S105  # its name, not its value
_SETTING: Final = "MTA_SODA"


class Snapshot(NamedTuple):
    """What a data set holds at a moment, under some condition."""

    rows: int
    updated_at: str | None
    """When the row that was changed last was; None if there is none."""


class SodaApi:
    """A portal. Every method raises FeedUnavailable, FeedRefused or BadFile when it must.

    Args:
        base_url: the portal's, https://host.
        token: an app token, or None; it goes into a header and is never shown.
        page_rows: rows to ask for at once.
        fail_fast: ask once, and give up soon.
    """

    def __init__(
        self, base_url: str, token: str | None = None, *, page_rows: int = MOST_ROWS, fail_fast: bool = False
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.page_rows = page_rows
        self._site = Site(
            _SETTING,
            "the app token in MTA_SODA_TOKEN",
            # Packed for the way, pages are a tenth; a token goes to no other site.
            headers={"Accept-Encoding": "gzip", **({TOKEN_HEADER: token} if token else {})},
            fail_fast=fail_fast,
            attempts=ATTEMPTS,
            window=RETRY_WINDOW,
        )

    def __repr__(self) -> str:
        return f"SodaApi({self.base_url!r})"

    @property
    def host(self) -> str:
        """Where it is, for messages."""
        return urlsplit(self.base_url).netloc

    def snapshot(self, data_set: str, where: str | None) -> Snapshot:
        """How many rows meet a condition, and when the last of them changed."""
        subject = f"{data_set} at {self.host}, how many rows"
        asked = {"$select": f"count(*) as rows, max({UPDATED_AT}) as updated_at", **_condition(where)}
        answer = self._json(self._resource(data_set, "json"), subject, asked)
        try:
            (row,) = answer
            return Snapshot(int(row["rows"]), row.get("updated_at"))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise BadFile(f"{subject}: the answer is not a count: {str(answer)[:100]}.") from error

    def changed_at(self, data_set: str) -> str:
        """When any row of a data set last changed, as the portal says of the whole: a number that grows."""
        subject = f"{data_set} at {self.host}, when it changed"
        answer = self._json(f"{self.base_url}/api/views/{data_set}.json", subject, {})
        if not isinstance(answer, dict) or "rowsUpdatedAt" not in answer:
            raise BadFile(f"{subject}: the answer has no rowsUpdatedAt.")
        return str(answer["rowsUpdatedAt"])

    def page(self, data_set: str, fields: Sequence[str], where: str | None, offset: int) -> bytes:
        """A page of rows as CSV, as published: those from `offset` on in the order of their ids."""
        last = offset + self.page_rows
        subject = f"{data_set} at {self.host}, rows {offset + 1:,} to {last:,}"
        asked = {
            "$select": ",".join(fields),
            **_condition(where),
            "$order": ROW_ID,  # without it, rows come twice or not at all
            "$limit": str(self.page_rows),
            "$offset": str(offset),
        }
        return self._get(self._resource(data_set, "csv"), subject, asked, MAX_PAGE_BYTES)

    def _resource(self, data_set: str, kind: str) -> str:
        return f"{self.base_url}/resource/{data_set}.{kind}"

    def _json(self, url: str, subject: str, params: Mapping[str, str]) -> Any:
        answer = self._get(url, subject, params, MAX_ANSWER_BYTES)
        try:
            return json.loads(answer)
        except ValueError as error:
            raise BadFile(f"{subject}: the answer is not JSON, it begins with {answer[:40]!r}.") from error

    def _get(self, url: str, subject: str, params: Mapping[str, str], limit: int) -> bytes:
        return self._site.with_retries(self._ask, url, subject, params, limit)

    def _ask(self, url: str, subject: str, params: Mapping[str, str], limit: int) -> bytes:
        response = self._site.request("GET", url, subject, params=params)
        if response is None:
            raise FeedRefused(f"{subject}: there is no such data set. {self._site.check_address}, and at its id.")
        with response:
            return self._whole(response, subject, limit)

    def _whole(self, response: requests.Response, subject: str, limit: int) -> bytes:
        whole = bytearray()
        for chunk in self._site.body(response, subject, decode=True):
            whole += chunk
            if len(whole) > limit:
                raise BadFile(f"{subject}: more than {limit:,} bytes, which are not read to their end.")
        return bytes(whole)


def _condition(where: str | None) -> dict[str, str]:
    return {} if where is None else {"$where": where}
