"""The report's charts: Vega-Lite specifications, rendered as SVG for the page and as PNG for Dagster's catalogue.

`figures` provides the data; only labels are made here. The colours are by Okabe and Ito and suit colour-blind people:
exits are always blue, entries always orange.
"""

import datetime as dt
import io
import re
from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from mta_pipeline.report.figures import REGISTERS, WEEKDAYS, Movers, Places, Ridership, Span

Chart = Mapping[str, Any]
"""A Vega-Lite specification."""

WIDE, NARROW = 760, 340
"""Widths of a chart in pixels on a desktop screen and on a phone."""

NAMES: Final = {"exits": "exits", "entries": "entries, without OMNY taps"}
COLOURS: Final = {"exits": "#0072b2", "entries": "#e69f00"}

_VEGA_LITE: Final = "6.4"
_SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
_GREY, _INK = "#c9ced6", "#3c4450"
_CONFIG: Final = {
    "autosize": {"type": "fit-x", "contains": "padding"},
    "background": "white",
    "font": "Arial, Helvetica, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "domain": False,
        "gridColor": "#e8ebef",
        "labelColor": _INK,
        "labelFontSize": 12,
        "tickColor": _GREY,
        "titleColor": _INK,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "legend": {"labelColor": _INK, "labelFontSize": 13, "orient": "top", "title": None, "titleColor": _INK},
}
_DESCRIPTION: Final = {"field": "description"}
"""The text of a mark, for screen readers and for the tooltip."""

_PICTURE_WIDTH, _PICTURE_BYTES, _PICTURE_COLOURS = 740, 30_000, 48


def svg(chart: Chart, prefix: str) -> str:
    """Render the chart as an SVG element. The prefix makes its ids unique on the page."""
    import vl_convert  # noqa: PLC0415  # slow to start

    drawn = vl_convert.vegalite_to_svg({"$schema": _SCHEMA, "config": _CONFIG, **chart}, vl_version=_VEGA_LITE)
    # Vega numbers ids per process. Renumber them, so that the same chart always gives the same text.
    for n, name in enumerate(dict.fromkeys(re.findall(r'\bid="([^"]+)"', drawn))):
        drawn = re.sub(rf'(\bid="|url\(#){re.escape(name)}(["\)])', rf"\g<1>{prefix}-{n}\g<2>", drawn)
    return drawn


def png(drawn: str) -> bytes:
    """Convert a chart's SVG to a PNG for Dagster's catalogue: at most 740 pixels wide and 30 KB."""
    import vl_convert  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    picture = Image.open(io.BytesIO(vl_convert.svg_to_png(drawn))).convert("RGB")
    picture.thumbnail((_PICTURE_WIDTH, _PICTURE_WIDTH))
    colours = _PICTURE_COLOURS
    while True:
        packed = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
        if packed.tell() <= _PICTURE_BYTES or colours <= 2:
            return packed.getvalue()
        colours //= 2


def ridership(riders: Ridership, span: Span, width: int) -> Chart:
    """Draw entries and exits over time. Unknown values are gaps in the line, and missing weeks are marked."""
    step = dt.timedelta(days=7 if riders.is_weekly else 1)
    points, moments = [], []
    for row in riders.points.iter_rows(named=True):
        start = row["start"]
        middle = (dt.datetime.combine(start, dt.time()) + step / 2).isoformat()
        points += [{"middle": middle, "register": NAMES[register], "people": row[register]} for register in REGISTERS]
        if any(first <= start <= last for first, last in span.missing):
            continue  # the band says it
        known = [f"{row[register]:,.0f} {NAMES[register]}" for register in REGISTERS if row[register] is not None]
        when = f"{start:week of %a %-d %b %Y}" if riders.is_weekly else f"{start:%a %-d %b %Y}"
        on = {"start": start.isoformat(), "end": (start + step).isoformat()}
        moments.append({**on, "description": f"{when}: {'; '.join(known) or 'not known'}"})
    time = {"type": "temporal", "scale": {"type": "utc"}, "title": None}
    x = {**time, "axis": {"grid": False, "tickCount": max(2, width // 110), "labelOverlap": True}}
    people = {
        "field": "people",
        "type": "quantitative",
        "scale": {"zero": True},
        "axis": {"format": "~s", "tickCount": 5},
        "title": None,
    }
    return {
        "width": width,
        "height": 260,
        "layer": [
            *_gaps(span, time),
            {
                "data": {"values": points},
                "mark": {
                    "type": "line",
                    "strokeWidth": 2,
                    "aria": False,
                    "point": {"size": 18, "aria": False} if len(moments) <= 120 else False,
                },
                "encoding": {"x": {**x, "field": "middle"}, "y": people, "color": _series(width)},
            },
            {
                "data": {"values": moments},
                # Invisible, but under the pointer: a transparent colour would become no fill at all.
                "mark": {"type": "rect", "opacity": 0},
                "encoding": {"x": {**x, "field": "start"}, "x2": {"field": "end"}, "description": _DESCRIPTION},
            },
        ],
    }


def _series(width: int) -> Chart:
    """Colour by register, with a legend that fits the width."""
    return {
        "field": "register",
        "scale": {"domain": list(NAMES.values()), "range": [COLOURS[register] for register in NAMES]},
        "legend": {"columns": 1 if width <= NARROW else 2},
    }


def _gaps(span: Span, time: Mapping[str, Any]) -> list[Chart]:
    """Bands over the contiguous ranges of missing weeks."""
    if not span.missing:
        return []
    bands = [
        {
            "start": first.isoformat(),
            "end": (last + dt.timedelta(days=1)).isoformat(),
            "description": f"{first:%-d %b %Y} to {last:%-d %b %Y}: not in the lake",
        }
        for first, last in span.missing
    ]
    return [
        {
            "data": {"values": bands},
            "mark": {"type": "rect", "color": "#eceff3"},
            "encoding": {
                "x": {**time, "field": "start"},
                "x2": {"field": "end"},
                "description": _DESCRIPTION,
            },
        }
    ]


def hours(of_week: pl.DataFrame, register: str, width: int) -> Chart:
    """Draw people in the subway in each hour of an average week, with Monday on top. Unknown hours are grey."""
    cells = [
        {
            "weekday": WEEKDAYS[row["weekday"] - 1],
            "hour": row["hour"],
            "people": row[register],
            "description": f"{WEEKDAYS[row['weekday'] - 1]} {row['hour']}:00 to {row['hour'] + 1}:00: "
            + ("not known" if row[register] is None else f"{row[register]:,.0f} {NAMES[register]}"),
        }
        for row in of_week.iter_rows(named=True)
    ]
    labels = {"labelExpr": "substring(datum.value, 0, 3)", "ticks": False, "labelPadding": 6}
    every = 3 if width <= NARROW else 2
    return {
        "data": {"values": cells},
        "width": width,
        "height": 7 * (26 if width > NARROW else 22),
        "mark": {"type": "rect", "stroke": "white", "invalid": None},
        "encoding": {
            "x": {
                "field": "hour",
                "type": "ordinal",
                "title": "hour of the day",
                "axis": {"labelAngle": 0, "ticks": False, "values": list(range(0, 24, every))},
            },
            "y": {"field": "weekday", "type": "ordinal", "sort": WEEKDAYS, "title": None, "axis": labels},
            "color": {
                "condition": {"test": "!isValid(datum.people)", "value": "#eceff3"},
                "field": "people",
                "type": "quantitative",
                "scale": {"scheme": "viridis", "reverse": True, "zero": True},
                "legend": {
                    "orient": "bottom",
                    "direction": "horizontal",
                    "format": "~s",
                    "gradientLength": min(width - 80, 300),
                    "title": f"{NAMES[register]} (people per hour)",
                    "titleFontWeight": "normal",
                    "titleLimit": 320,
                },
            },
            "description": _DESCRIPTION,
        },
    }


def radius(width: int) -> float:
    """Return the radius in pixels of the largest circle (over all hours) on a map of this width."""
    return width / 18


def most_people(places: Places, register: str) -> int:
    """Return the largest number of people of any place in any hour, at least 1."""
    return max((n or 0 for day in places.people[register] for hour in day for n in hour), default=0) or 1


def place_map(places: Places, station_complexes: pl.DataFrame, register: str, at: tuple[int, int], width: int) -> Chart:
    """Draw the people at each place in one hour as circles, with area by number, over all stations of the boroughs."""
    weekday, hour = at
    people = places.people[register][weekday][hour]
    stations = places.stations.with_columns(people=pl.Series(people, dtype=pl.Int64))
    shown = stations.filter(pl.col("latitude").is_not_null())
    circles = [
        {
            "longitude": row["longitude"],
            "latitude": row["latitude"],
            "people": row["people"] or 0,
            "description": f"{row['label']}: "
            + ("not known" if row["people"] is None else f"{row['people']:,} {register}"),
        }
        for row in shown.iter_rows(named=True)
    ]
    boroughs = shown["borough"].unique().to_list()
    dots = station_complexes.filter(pl.col("borough").is_in(boroughs)).select("longitude", "latitude").to_dicts()
    point = {
        "longitude": {"field": "longitude", "type": "quantitative"},
        "latitude": {"field": "latitude", "type": "quantitative"},
    }
    widest = (2 * radius(width)) ** 2
    size = {"domain": [0, most_people(places, register)], "range": [0, widest]}
    return {
        "width": width,
        "height": round(width * 1.45),
        "projection": {"type": "mercator"},
        "layer": [
            {
                "data": {"values": dots},
                "mark": {"type": "circle", "size": 7, "color": _GREY, "opacity": 1, "aria": False},
                "encoding": point,
            },
            {
                "data": {"values": _BOROUGHS},
                "mark": {"type": "text", "color": "#69727f", "fontSize": 13, "fontStyle": "italic", "aria": False},
                "encoding": {**point, "text": {"field": "name"}},
            },
            {
                "name": "places",
                "data": {"values": circles},
                "mark": {
                    "type": "circle",
                    "color": COLOURS[register],
                    "opacity": 0.6,
                    "stroke": "white",
                    "strokeWidth": 0.7,
                },
                "encoding": {
                    **point,
                    "size": {"field": "people", "type": "quantitative", "scale": size, "legend": None},
                    "description": _DESCRIPTION,
                },
            },
        ],
    }


# The labels are where the stations leave room.
_BOROUGHS: Final = [
    {"name": "Manhattan", "latitude": 40.8, "longitude": -74.012},
    {"name": "Bronx", "latitude": 40.882, "longitude": -73.845},
    {"name": "Queens", "latitude": 40.725, "longitude": -73.82},
    {"name": "Brooklyn", "latitude": 40.612, "longitude": -73.93},
]


def movers(moved: Movers, width: int) -> Chart:
    """Draw the change of exits by complex as bars, and the change of entries as diamonds."""
    rows = [
        {
            "label": row["label"],
            "register": NAMES[register],
            "change": row[f"{register}_change"],
            "description": f"{row['label']}: {row[f'{register}_change']:+.1%} {NAMES[register]}",
        }
        for row in moved.rows.iter_rows(named=True)
        for register in REGISTERS
        if row[f"{register}_change"] is not None
    ]
    narrow = width <= NARROW
    y: dict[str, Any] = {
        "field": "label",
        "type": "nominal",
        "sort": moved.rows["label"].to_list(),
        "title": None,
        "axis": {"labelLimit": 130 if narrow else 270, "ticks": False, "labelPadding": 8},
    }
    x: dict[str, Any] = {"field": "change", "type": "quantitative", "title": "change from the week before"}
    x["axis"] = {"format": "+.0%", "tickCount": 4 if narrow else 6, "labelOverlap": True}

    def only(register: str) -> list[Mapping[str, Any]]:
        return [{"filter": {"field": "register", "equal": NAMES[register]}}]

    return {
        "data": {"values": rows},
        "width": width,
        "height": {"step": 22},
        "layer": [
            {
                "transform": only("exits"),
                "mark": {"type": "bar", "height": 13},
                "encoding": {"y": y, "x": x, "color": _series(width), "description": _DESCRIPTION},
            },
            {
                "transform": only("entries"),
                "mark": {"type": "point", "shape": "diamond", "filled": True, "size": 110, "opacity": 1},
                "encoding": {"y": y, "x": x, "color": _series(width), "description": _DESCRIPTION},
            },
        ],
    }


def agreement(points: pl.DataFrame, width: int) -> Chart:
    """Plot each complex by published ridership and by the estimate. On the line, both agree.

    The calibrated estimate is in the description of a point: on these axes it would cover the plain one.
    """
    complexes = [
        {
            **row,
            "description": f"{row['label']}: estimate {row['ridership_estimate']:,.0f}, "
            + ("" if row["calibrated_estimate"] is None else f"calibrated {row['calibrated_estimate']:,.0f}, ")
            + f"published {row['published']:,}",
        }
        for row in points.iter_rows(named=True)
    ]
    both = points.select(
        least=pl.min_horizontal(pl.col("published", "ridership_estimate").min()),
        most=pl.max_horizontal(pl.col("published", "ridership_estimate").max()),
    )
    ends = [max(1.0, float(both["least"].item() or 0)), float(both["most"].item())]
    axis = {"format": "~s", "tickCount": 4, "labelOverlap": True}
    scale = {"type": "log", "domain": ends, "nice": False}

    def position(field: str, title: str) -> Mapping[str, Any]:
        return {"field": field, "type": "quantitative", "scale": scale, "axis": axis, "title": title}

    x, y = position("published", "published by the MTA"), position("ridership_estimate", "estimate from turnstiles")
    return {
        "width": width,
        "height": min(width, 360),
        "layer": [
            {
                "data": {"values": [{"published": end, "ridership_estimate": end} for end in ends]},
                "mark": {"type": "line", "color": _GREY, "aria": False},
                "encoding": {"x": x, "y": y},
            },
            {
                "data": {"values": complexes},
                "mark": {"type": "point", "color": COLOURS["entries"], "filled": True, "size": 24, "opacity": 0.7},
                "encoding": {"x": x, "y": y, "description": _DESCRIPTION},
            },
        ],
    }


def coverage(by_week: pl.DataFrame, span: Span, width: int) -> Chart:
    """Draw the coverage by week. Missing weeks are gaps."""
    week = dt.timedelta(days=7)
    weeks = [
        {
            "start": row["week"].isoformat(),
            "end": (row["week"] + week).isoformat(),
            "coverage": row["coverage"],
            "description": f"week of {row['week']:%-d %b %Y}: "
            + ("not in the lake" if row["coverage"] is None else f"coverage {row['coverage']:.2%}"),
        }
        for row in by_week.iter_rows(named=True)
    ]
    time = {"type": "temporal", "scale": {"type": "utc"}, "title": None}
    return {
        "width": width,
        "height": 120,
        "layer": [
            *_gaps(span, time),
            {
                "data": {"values": weeks},
                "mark": {"type": "rect", "color": "#009e73", "stroke": "white"},
                "encoding": {
                    "x": {**time, "field": "start", "axis": {"grid": False, "tickCount": max(2, width // 110)}},
                    "x2": {"field": "end"},
                    "y": {
                        "field": "coverage",
                        "type": "quantitative",
                        "scale": {"domain": [0, 1]},
                        "title": None,
                        "axis": {"format": ".0%", "tickCount": 3},
                    },
                    "y2": {"datum": 0},
                    "description": _DESCRIPTION,
                },
            },
        ],
    }
