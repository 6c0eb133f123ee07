"""Renders the page: one HTML file without external resources, and the charts as pictures.

The template escapes every text. The page's content security policy allows its script by hash, and no requests.
"""

import base64
import datetime as dt
import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import polars as pl

from mta_pipeline.lake.digests import HTML, HTML_TAGS
from mta_pipeline.marts.contract import (
    BUSIEST_PLACES,
    DATA_QUALITY_WEEKLY,
    RIDERSHIP_RECONCILIATION,
    STATION_PEAK_HOURS,
    STATION_WEEK_OVER_WEEK,
    SYSTEM_DAILY,
)
from mta_pipeline.report import charts, figures
from mta_pipeline.turnstile.contract import STATION_COMPLEXES

MAP_WIDE: Final = 460
"""Width in pixels of the map on a desktop screen, where the list of places is beside it."""

SOURCES: Final = (
    SYSTEM_DAILY,
    BUSIEST_PLACES,
    STATION_PEAK_HOURS,
    STATION_WEEK_OVER_WEEK,
    DATA_QUALITY_WEEKLY,
    RIDERSHIP_RECONCILIATION,
    STATION_COMPLEXES,
)
"""The tables that a report is made from."""

_MADE_FROM: Final = '<meta name="made-from" content="{}">'

_PLACES_LISTED: Final = 12
_WEEKS_LISTED: Final = 12
_GAPS_LISTED: Final = 6


@dataclass(frozen=True)
class Sources:
    """The rows of the tables in `SOURCES`, by name."""

    system_daily: pl.DataFrame
    busiest_places: pl.DataFrame
    station_peak_hours: pl.DataFrame
    station_week_over_week: pl.DataFrame
    data_quality_weekly: pl.DataFrame
    ridership_reconciliation: pl.DataFrame
    station_complexes: pl.DataFrame


@dataclass(frozen=True)
class Picture:
    """A chart as a PNG of at most 740 pixels and 30 KB, with a caption."""

    caption: str
    png: bytes


@dataclass(frozen=True)
class Report:
    """A finished report: the page, and pictures of its main charts by name."""

    html: str
    pictures: Mapping[str, Picture]

    @property
    def contents(self) -> bytes:
        """The page as a file, which holds its own digest."""
        return HTML.sealed(self.html)


def problem(contents: bytes, made_from: str | None = None) -> str | None:
    """Say why the file of a report must be made again; None if it is intact, and made from `made_from` if given."""
    if HTML.digest_in(contents) is None:
        return "it holds no digest"
    if found := HTML.problem(contents):
        return found
    is_current = made_from is None or _MADE_FROM.format(made_from).encode() in contents
    return None if is_current else "it is made from other tables than those in the lake now"


def render(
    sources: Sources, made_at: dt.datetime, made_from: str = "", *, sample_weeks: Collection[str] = ()
) -> Report:
    """Render the report. The same tables and the same time give the same page.

    Args:
        sources: the tables. If they have no rows, the page says so.
        made_at: the time shown on the page, with its zone.
        made_from: the fingerprint of the files of the tables, which the page records.
        sample_weeks: the weeks whose data are synthetic. The page says so.
    """
    span = figures.span(sources.data_quality_weekly)
    drawn, facts = _Drawings(), {}
    if span:
        by_day = figures.days(sources.system_daily, span)
        facts = _head(by_day, sources, span)
        _draw(drawn, facts, by_day, sources, span)
    page = _template().render(
        span=span,
        made_at=made_at,
        record=_MADE_FROM.format(made_from) + HTML_TAGS,
        sample_weeks=sorted(sample_weeks),
        is_mixed=span is not None and len(sample_weeks) < span.weeks,
        charts=drawn.on_page,
        weekdays=figures.WEEKDAYS,
        names=charts.NAMES,
        colours=charts.COLOURS,
        limits={
            "coverage": figures.ENOUGH_COVERAGE,
            "moving": figures.LEAST_TO_MOVE,
            "weeks": _WEEKS_LISTED,
            "gaps": _GAPS_LISTED,
        },
        style=_resource("style.css"),
        script=_resource("script.js"),
        script_hash=base64.b64encode(hashlib.sha256(_resource("script.js").encode()).digest()).decode(),
        **facts,
    )
    return Report(page, drawn.pictures)


def _head(by_day: pl.DataFrame, sources: Sources, span: figures.Span) -> dict[str, Any]:
    """The key figures."""
    whole = by_day.drop_nulls("exits")
    working = whole.filter(pl.col("date").dt.weekday() <= 5)
    weeks = figures.quality(sources.data_quality_weekly)
    return {
        "newest_day": whole["date"].max(),
        "weekday": {register: working[register].mean() for register in figures.REGISTERS},
        "busiest_day": whole.row(whole["exits"].arg_max() or 0, named=True) if whole.height else None,
        "coverage": sources.system_daily.select(figures.COVERAGE).item(),
        "days_left_out": by_day["exits"].null_count(),
        "weeks": weeks.tail(_WEEKS_LISTED).reverse().to_dicts(),
        "peaks": figures.peaks(sources.station_peak_hours, sources.station_complexes).to_dicts(),
        "span_weeks": span.weeks,
    }


class _Drawings:
    """The charts for the page, in a wide and a narrow version, and as pictures."""

    def __init__(self) -> None:
        self.on_page: dict[str, dict[str, str]] = {}
        self.pictures: dict[str, Picture] = {}

    def add(self, name: str, caption: str, chart: Callable[[int], charts.Chart], wide: int = charts.WIDE) -> None:
        self.on_page[name] = {
            size: charts.svg(chart(width), f"{name}-{size}")
            for size, width in (("wide", wide), ("narrow", charts.NARROW))
        }
        self.pictures[name] = Picture(caption, charts.png(self.on_page[name]["wide"]))


def _draw(drawn: _Drawings, facts: dict[str, Any], by_day: pl.DataFrame, sources: Sources, span: figures.Span) -> None:
    riders = figures.ridership(by_day)
    facts["is_weekly"] = riders.is_weekly
    if riders.points["exits"].count():
        caption = "People per day in the whole subway: exits, and entries without OMNY taps"
        drawn.add("ridership", caption, lambda width: charts.ridership(riders, span, width))
    hours = figures.hours_of_the_week(sources.busiest_places)
    if hours["exits"].count():
        for register in figures.REGISTERS:
            drawn.add(
                f"hours_{register}",
                f"People per hour in the whole subway: {charts.NAMES[register]}",
                lambda width, register=register: charts.hours(hours, register, width),  # type: ignore[misc]
            )
    if places := figures.places(sources.busiest_places, sources.station_complexes):
        weekday, hour = places.busiest
        drawn.add(
            "map",
            f"Exits on an average {figures.WEEKDAYS[weekday]}, {hour}:00 to {hour + 1}:00",
            lambda width: charts.place_map(places, sources.station_complexes, "exits", places.busiest, width),
            wide=MAP_WIDE,
        )
        facts["places"] = _places(places)
        facts["listed"] = _busiest(places)
    if moved := figures.movers(sources.station_week_over_week, sources.station_complexes):
        caption = (
            f"Week of {moved.week}, change from the week before: exits (bars), entries without OMNY taps (diamonds)"
        )
        drawn.add("movers", caption, lambda width: charts.movers(moved, width))
        facts["moved_week"] = moved.week
    agreed = figures.agreement(sources.ridership_reconciliation, sources.station_complexes)
    facts["agreement"] = agreed and {
        "weeks": agreed.weeks.tail(_WEEKS_LISTED).reverse().to_dicts(),
        "off": agreed.off.to_dicts(),
    }
    if agreed and agreed.points.height:
        caption = "Ridership per station complex: estimate from turnstiles and published by the MTA"
        drawn.add("agreement", caption, lambda width: charts.agreement(agreed.points, width))
    weeks = figures.quality(sources.data_quality_weekly)
    caption = "Coverage per week: share of the turnstiles' time in intervals whose exits are ok"
    drawn.add("coverage", caption, lambda width: charts.coverage(weeks, span, width))


def _places(places: figures.Places) -> dict[str, Any]:
    """The data that the page's script needs to show any hour of the week."""
    return {
        "labels": places.stations["label"].to_list(),
        "people": places.people,
        "most": {register: charts.most_people(places, register) for register in figures.REGISTERS},
        "busiest": places.busiest,
        "radius": {"wide": charts.radius(MAP_WIDE), "narrow": charts.radius(charts.NARROW)},
        "names": charts.NAMES,
        "colours": charts.COLOURS,
        "weekdays": figures.WEEKDAYS,
        "listed": _PLACES_LISTED,
    }


def _busiest(places: figures.Places) -> list[tuple[str, int]]:
    """The list beside the map, before the reader selects another hour."""
    weekday, hour = places.busiest
    riders = places.people["exits"][weekday][hour]
    known = [(label, n) for label, n in zip(places.stations["label"], riders, strict=True) if n is not None]
    return sorted(known, key=lambda place: -place[1])[:_PLACES_LISTED]


def _template() -> Any:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415  # slow to import

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["people"] = lambda n: "not known" if n is None else f"{n:,.0f}"
    environment.filters["percent"] = lambda share, digits=0: "not known" if share is None else f"{share:.{digits}%}"
    environment.filters["figure"] = lambda n, digits=4: "not known" if n is None else f"{n:.{digits}f}"
    environment.filters["day"] = lambda date: f"{date:%a %-d %b %Y}" if date else "none yet"
    environment.filters["block"] = lambda hour: f"{hour}–{hour + 4} h"
    return environment.from_string(_resource("page.html"))


def _resource(name: str) -> str:
    return files("mta_pipeline.report").joinpath(name).read_text("utf-8")
