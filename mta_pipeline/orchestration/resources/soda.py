"""The portal for assets: where it is, and the token that is shown to nobody but it."""

import dagster as dg
from pydantic import SecretStr

from mta_pipeline.sources.socrata.client import MOST_ROWS, SodaApi


class SodaPortal:
    """A SODA portal, or none. Not a configurable resource: what those are given, the UI shows."""

    def __init__(self, base_url: str | None, token: SecretStr | None = None, *, page_rows: int = MOST_ROWS) -> None:
        self._base_url = base_url
        self._token = token
        self._page_rows = page_rows

    def open(self, *, fail_fast: bool = False) -> SodaApi:
        """The portal, of which nothing is asked yet.

        Raises:
            dg.Failure: no portal is set.
        """
        if self._base_url is None:
            raise dg.Failure(
                "No portal is set, and none is asked unless it is: set MTA_SODA to its address, https://data.ny.gov "
                "for the MTA's, or that of a sample (mta-pipeline portal).",
                allow_retries=False,
            )
        token = None if self._token is None else self._token.get_secret_value()
        return SodaApi(self._base_url, token, page_rows=self._page_rows, fail_fast=fail_fast)
