"""The portal as a resource: its address, and the app token, which is sent only to the portal."""

from typing import Final

import dagster as dg
from pydantic import SecretStr

from mta_pipeline.sources.socrata.client import MOST_ROWS, SodaApi

NO_PORTAL: Final = (
    "No portal is set, so there is nothing to fetch. Set MTA_SODA to the address of a portal: https://data.ny.gov for "
    "the MTA's data, or the address that `mta-pipeline portal` prints for sample data."
)


class SodaPortal:
    """A SODA portal, or none. It is no ConfigurableResource, because the UI would show the token."""

    def __init__(self, base_url: str | None, token: SecretStr | None = None, *, page_rows: int = MOST_ROWS) -> None:
        self._base_url = base_url
        self.token = token
        self._page_rows = page_rows

    @property
    def is_set(self) -> bool:
        """Whether there is a portal."""
        return self._base_url is not None

    def open(self, *, fail_fast: bool = False) -> SodaApi:
        """Return the client of the portal. Sends no request yet.

        Raises:
            dg.Failure: no portal is set.
        """
        if self._base_url is None:
            raise dg.Failure(NO_PORTAL, allow_retries=False)
        token = None if self.token is None else self.token.get_secret_value()
        return SodaApi(self._base_url, token, page_rows=self._page_rows, fail_fast=fail_fast)
