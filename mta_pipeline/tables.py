"""All tables of the lake that are declared in code, from all feeds.

Engines, the catalogue and the warehouse use this list. The contracts of the feeds define the tables. Tables that are
declared in YAML are not included.
"""

from typing import Final

from mta_pipeline.hourly_ridership.contract import OMNY_SHARE
from mta_pipeline.hourly_ridership.contract import TABLES as HOURLY
from mta_pipeline.turnstile.contract import CONTROL_AREAS, STATION_COMPLEXES
from mta_pipeline.turnstile.contract import TABLES as TURNSTILE

TABLES: Final = (*TURNSTILE, *HOURLY)

REFERENCE: Final = (CONTROL_AREAS, STATION_COMPLEXES)
"""The tables that come with the project. Everything else needs them."""

WITHOUT_WEEKS: Final = (*REFERENCE, OMNY_SHARE)

WEEKLY: Final = tuple(table for table in TABLES if table not in WITHOUT_WEEKS)
