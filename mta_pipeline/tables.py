"""The registry of all tables that are declared in code. Engines, catalogue, warehouse and asset keys derive from it.

Each table is defined in the contract of its domain: `turnstile/contract.py` or `hourly_ridership/contract.py`. Tables
that are declared in YAML are not in this registry.
"""

from typing import Final

from mta_pipeline.hourly_ridership.contract import ENTRY_FACTOR, OMNY_SHARE
from mta_pipeline.hourly_ridership.contract import TABLES as HOURLY
from mta_pipeline.turnstile.contract import REFERENCE, RIDERSHIP, STAGED
from mta_pipeline.turnstile.contract import TABLES as TURNSTILE

__all__ = ["REFERENCE", "RIDERSHIP", "STAGED", "TABLES", "WEEKLY", "WITHOUT_WEEKS"]

TABLES: Final = (*TURNSTILE, *HOURLY)

WITHOUT_WEEKS: Final = (*REFERENCE, OMNY_SHARE, ENTRY_FACTOR)

WEEKLY: Final = tuple(table for table in TABLES if table not in WITHOUT_WEEKS)
