"""Small published files for tests, written by hand in either layout."""

import datetime as dt

import polars as pl

from mta_pipeline.turnstile.contract import CONTROL_AREAS

WEEK = "2024-01-06"
HEADER = "C/A,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS"

BOOTHS = pl.DataFrame(
    [
        ("A002", "R051", "59 ST", "NQR456W", "BMT", 613),
        ("N001", "R173", "INWOOD-207 ST", "A", "IND", 143),
        ("PTH01", "R549", "NEWARK HW BMEBE", "1", "PTH", None),
    ],
    schema=dict(CONTROL_AREAS.schema),
    orient="row",
)


def moment(text: str) -> dt.datetime:
    """`2024-01-06 04` or `2024-01-06 04:30:00` as a datetime."""
    return dt.datetime.fromisoformat(text)


def modern_line(
    at: str,
    entries: object,
    exits: object,
    *,
    booth: str = "A002,R051,02-00-00",
    station: str = "59 ST,NQR456W,BMT",
    audit: str = "REGULAR",
) -> str:
    """One reading as the MTA writes it since October 2014, without the padding."""
    read_at = moment(at)
    registers = ",".join(f"{r:010d}" if isinstance(r, int) else str(r) for r in (entries, exits))
    return f"{booth},{station},{read_at:%m/%d/%Y},{read_at:%H:%M:%S},{audit},{registers}"


def modern_file(*lines: str, padded: bool = True, end: str = "\n") -> bytes:
    """A published file in the modern layout."""
    width = 130 if padded else 0
    return "".join(f"{line:<{width}}{end}" for line in (HEADER, *lines)).encode()


def legacy_group(at: str, entries: object, exits: object, audit: str = "REGULAR") -> str:
    """One reading as legacy lines hold up to eight of."""
    read_at = moment(at)
    registers = ",".join(f"{r:09d}" if isinstance(r, int) else str(r) for r in (entries, exits))
    return f"{read_at:%m-%d-%y},{read_at:%H:%M:%S},{audit},{registers}"


def legacy_line(*groups: str, booth: str = "A002,R051,02-00-00") -> str:
    """A line in the layout used before October 2014."""
    return ",".join((booth, *groups))


def legacy_file(*lines: str) -> bytes:
    """A published file in the legacy layout."""
    return "".join(f"{line}\n" for line in lines).encode()
