"""A small portal that speaks SODA 2 on 127.0.0.1, with the sample's data sets in memory.

It imitates the real portal: pages of limited size, rows in a different order each time unless an order is requested,
429 responses, and rows that are corrected later. `hourly` and `usage` make the rows.
"""

import contextlib
import gzip
import io
import json
import re
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import numpy as np
import polars as pl

from mta_pipeline.sample.chance import Chance
from mta_pipeline.sources.socrata.client import MOST_ROWS, SAMPLE_ATTRIBUTION
from mta_pipeline.sources.socrata.dataset import ROW_ID, UPDATED_AT

_DEFAULT_LIMIT: Final = 1_000
_RESOURCE: Final = re.compile(r"/resource/([a-z0-9]{4}-[a-z0-9]{4})\.(csv|json)")
_VIEW: Final = re.compile(r"/api/views/([a-z0-9]{4}-[a-z0-9]{4})\.json")
_WINDOW: Final = re.compile(r"(\w+) >= '([^']+)' and \1 < '([^']+)'")
_DAYS: Final = re.compile(r"min\((\w+)\) as first, max\(\1\) as last")
_COUNT: Final = f"count(*) as rows, max({UPDATED_AT}) as updated_at"


class Answer(NamedTuple):
    """A response to one request."""

    status: int
    kind: str
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})


class Portal(ThreadingHTTPServer):
    """The portal. Use it through `serve`.

    Args:
        data_sets: frames by data set id. The values are formatted as at the real portal.
        too_many: the share of requests, 0 to 1, that get a 429 response.
        seed: the seed of the random numbers.
        port: 0 for any free port.
    """

    daemon_threads = True

    def __init__(
        self, data_sets: Mapping[str, pl.DataFrame], *, too_many: float = 0.0, seed: int = 0, port: int = 0
    ) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self._data_sets = {name: _as_text(rows, name) for name, rows in data_sets.items()}
        self._columns = {name: _described(rows.schema) for name, rows in data_sets.items()}
        self._changes = dict.fromkeys(data_sets, 1)
        self.too_many = too_many
        self._chance = Chance(seed, "portal")
        self.asked: list[str] = []
        """The requested paths with their queries, in order."""

    @property
    def url(self) -> str:
        """The portal's address, for MTA_SODA."""
        return f"http://127.0.0.1:{self.server_port}"

    def correct(self, data_set: str, row: int, **values: str) -> None:
        """Change a row of a data set, as the MTA does months later, and update its time of the last change."""
        rows, changes = self._data_sets[data_set], self._changes[data_set] + 1
        for column, value in {**values, UPDATED_AT: _moment(changes)}.items():
            rows = rows.with_columns(
                pl.when(pl.int_range(pl.len()) == row).then(pl.lit(value)).otherwise(column).alias(column)
            )
        self._data_sets[data_set], self._changes[data_set] = rows, changes

    def replace(self, data_set: str, rows: pl.DataFrame) -> None:
        """Replace all rows of a data set, as the MTA does when it publishes it again."""
        self._changes[data_set] += 1
        self._data_sets[data_set] = _as_text(rows, f"{data_set} {self._changes[data_set]}").with_columns(
            pl.lit(_moment(self._changes[data_set])).alias(UPDATED_AT)
        )

    def answer(self, url: str, headers: Mapping[str, str]) -> Answer:  # noqa: ARG002  # subclasses in tests use them
        """Return the response to a request."""
        nth = len(self.asked)
        self.asked.append(url)
        if self._chance.uniform(nth)[0] < self.too_many:
            return _refusal(429, "Too many requests")
        parts = urlsplit(url)
        if (view := _VIEW.fullmatch(parts.path)) and view[1] in self._data_sets:
            described = {
                "rowsUpdatedAt": self._changes[view[1]],
                "columns": self._columns[view[1]],
                "attribution": SAMPLE_ATTRIBUTION,
            }
            return Answer(200, "application/json", json.dumps(described).encode())
        if (resource := _RESOURCE.fullmatch(parts.path)) and resource[1] in self._data_sets:
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            return self._rows(self._data_sets[resource[1]], query, resource[2], nth)
        return _refusal(404, "no such data set")

    def _rows(self, rows: pl.DataFrame, query: Mapping[str, str], kind: str, nth: int) -> Answer:
        if where := query.get("$where"):
            window = _WINDOW.fullmatch(where)
            if window is None or window[1] not in rows.columns:
                return _refusal(400, f"Could not parse SoQL query: {where}")
            rows = rows.filter(pl.col(window[1]).is_between(pl.lit(window[2]), pl.lit(window[3]), closed="left"))
        if query.get("$select") == _COUNT:
            count = {"rows": str(rows.height), **({"updated_at": rows[UPDATED_AT].max()} if rows.height else {})}
            return Answer(200, "application/json", json.dumps([count]).encode())
        if days := _DAYS.fullmatch(query.get("$select", "")):
            first, last = rows[days[1]].min(), rows[days[1]].max()
            found = {"first": first, "last": last} if rows.height else {}
            return Answer(200, "application/json", json.dumps([found]).encode())
        names = query["$select"].split(",") if "$select" in query else [c for c in rows.columns if c[0] != ":"]
        fields = [name.strip("`") for name in names]
        if unknown := [name for name, field in zip(names, fields, strict=True) if not _is_column(name, field, rows)]:
            return _refusal(400, f"No such column: {unknown[0]}")
        if query.get("$order") == ROW_ID:
            rows = rows.sort(ROW_ID)
        else:
            rows = rows[np.argsort(self._chance.uniform(nth, np.arange(rows.height)))]
        limit = min(int(query.get("$limit", _DEFAULT_LIMIT)), MOST_ROWS)
        page = rows.slice(int(query.get("$offset", 0)), limit).select(fields)
        if kind == "csv":
            csv = io.BytesIO()
            page.write_csv(csv, quote_style="always")
            return Answer(200, "text/csv;charset=utf-8", csv.getvalue())
        return Answer(200, "application/json;charset=utf-8", json.dumps(page.to_dicts()).encode())


class Handler(BaseHTTPRequestHandler):
    """Sends the portal's responses."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise each response waits 40 ms
    server: Portal

    def do_GET(self) -> None:
        """Send the response, compressed if the client accepts gzip."""
        status, kind, body, headers = self.server.answer(self.path, dict(self.headers))
        packs = "gzip" in self.headers.get("Accept-Encoding", "")
        body = gzip.compress(body, 1) if packs else body
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if packs:
            self.send_header("Content-Encoding", "gzip")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing. `Portal.asked` has the requests."""


@contextlib.contextmanager
def serve(portal: Portal) -> Iterator[Portal]:
    """Run the portal until the block ends."""
    with portal:
        thread = threading.Thread(target=portal.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield portal
        finally:
            portal.shutdown()
            thread.join()


def _as_text(rows: pl.DataFrame, data_set: str) -> pl.DataFrame:
    """Rows as text, with the portal's own columns. The ids are not in row order."""
    n = rows.height
    ids = np.sort(Chance(0, data_set).below(1 << 48, np.arange(n)))[
        np.argsort(Chance(1, data_set).uniform(np.arange(n)))
    ]
    return rows.select(
        pl.Series(ROW_ID, ids).map_elements(lambda number: f"row-{number:012x}", pl.String),
        pl.lit(_moment(1)).alias(UPDATED_AT),
        *(_shown(pl.col(name), dtype).alias(name) for name, dtype in rows.schema.items()),
    )


def _described(schema: Mapping[str, pl.DataType]) -> list[dict[str, str]]:
    """The columns as the metadata of the real portal describe them. Those that begin with a colon are its own."""
    types = {name: "calendar_date" if dtype.is_temporal() else "text" for name, dtype in schema.items()}
    own = {":@computed_region_wbg7_3whc": "number"}
    return [{"fieldName": name, "dataTypeName": type_} for name, type_ in {**types, **own}.items()]


def _shown(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype.is_temporal():
        return column.cast(pl.Datetime("us")).dt.to_string("%Y-%m-%dT%H:%M:%S%.3f")
    if dtype.is_numeric():
        return column.cast(pl.Float64).cast(pl.String)
    return column.cast(pl.String)


def _is_column(name: str, field: str, rows: pl.DataFrame) -> bool:
    """Whether a name in a query, which is a field or a quoted field, means a column. Keywords must be quoted."""
    return field in rows.columns and not (field in ("asc", "desc") and name == field)


def _moment(change: int) -> str:
    return f"2024-03-01T12:00:00.{change:03d}Z"


def _refusal(status: int, message: str) -> Answer:
    return Answer(status, "application/json", json.dumps({"error": True, "message": message}).encode())
