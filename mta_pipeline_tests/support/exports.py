"""Small yearly exports, as the State's open-data portal publishes them."""

import random
from collections.abc import Sequence

from mta_pipeline_tests.support.published_files import modern_line

EXPORT_HEADER = "C/A,Unit,SCP,Station,Line Name,Division,Date,Time,Description,Entries,Exits"
EXPORT_NAME = "Turnstile_Usage_Data__2019.csv"


def rows_of_days(*days: str, start: int = 100) -> list[str]:
    """Return the readings of one turnstile at 03:00 and 15:00 of each day."""
    moments = [f"{day} {hour}" for day in days for hour in ("03", "15")]
    return [modern_line(at, str(start + n), str(start + n)) for n, at in enumerate(moments)]


def export(rows: Sequence[str], *, seed: int | None = None, end: str = "\n", tabs: bool = False) -> bytes:
    """Return an export with these rows, shuffled if there is a seed. The header is padded."""
    lines = list(rows)
    if seed is not None:
        random.Random(seed).shuffle(lines)  # no secret
    text = "".join(line + end for line in (EXPORT_HEADER + 60 * " ", *lines))
    return (text.replace(",", "\t") if tabs else text).encode()
