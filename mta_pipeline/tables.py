"""All tables of the lake that are declared in code, whichever feed they come from.

Engines, the catalogue and the warehouse take them from here. What each means is said in its feed's own contract; tables
that are declared in YAML are not among them.
"""

from typing import Final

from mta_pipeline.hourly_ridership.contract import OMNY_SHARE
from mta_pipeline.hourly_ridership.contract import TABLES as HOURLY
from mta_pipeline.turnstile.contract import CONTROL_AREAS, STATION_COMPLEXES
from mta_pipeline.turnstile.contract import TABLES as TURNSTILE

TABLES: Final = (*TURNSTILE, *HOURLY)

REFERENCE: Final = (CONTROL_AREAS, STATION_COMPLEXES)
"""The tables that come with the project, and that everything needs."""

WITHOUT_WEEKS: Final = (*REFERENCE, OMNY_SHARE)

WEEKLY: Final = tuple(table for table in TABLES if table not in WITHOUT_WEEKS)
