"""Small handwritten published files in both layouts."""

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
    """Parse `2024-01-06 04` or `2024-01-06 04:30:00`."""
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
    """Return one reading as the MTA has written it since October 2014, without the padding."""
    read_at = moment(at)
    registers = ",".join(f"{r:010d}" if isinstance(r, int) else str(r) for r in (entries, exits))
    return f"{booth},{station},{read_at:%m/%d/%Y},{read_at:%H:%M:%S},{audit},{registers}"


def modern_file(*lines: str, padded: bool = True, end: str = "\n") -> bytes:
    """Return a published file in the modern layout."""
    width = 130 if padded else 0
    return "".join(f"{line:<{width}}{end}" for line in (HEADER, *lines)).encode()


def legacy_group(at: str, entries: object, exits: object, audit: str = "REGULAR") -> str:
    """Return one reading of a legacy line, which holds up to eight."""
    read_at = moment(at)
    registers = ",".join(f"{r:09d}" if isinstance(r, int) else str(r) for r in (entries, exits))
    return f"{read_at:%m-%d-%y},{read_at:%H:%M:%S},{audit},{registers}"


def legacy_line(*groups: str, booth: str = "A002,R051,02-00-00") -> str:
    """Return a line in the layout used before October 2014."""
    return ",".join((booth, *groups))


def legacy_file(*lines: str) -> bytes:
    """Return a published file in the legacy layout."""
    return "".join(f"{line}\n" for line in lines).encode()
