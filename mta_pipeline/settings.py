"""The settings of a deployment, read from environment variables. No other module reads the environment.

What follows from the data or the data contract is not a setting.
"""

import datetime as dt
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from mta_pipeline.addresses import shown, without_credentials

SAMPLE_FEED = Path("data/sample/feed")
_SAMPLE_SERVICE = "http://feed:8000"
"""The sample feed of compose.yaml."""
SAMPLE_WEEKS = ("2014-09-27", "2014-10-18")
"""The first and the last week of the sample: two weeks in the legacy layout and two in the modern one."""
SAMPLE_TRUTH = Path("truth", "weeks.csv")
"""A file with the true ridership, which only a sample feed has."""
SAMPLE_LAKE = Path("data/sample/lake")
REAL_LAKE = Path("data/real/lake")

KNOWN_PORTALS = ("https://data.ny.gov",)
"""Portals that a feed's location names by their address. Any other needs the prefix `soda+`."""

_SODA = "soda+"

_MISTYPED_URL = re.compile(r"(?:\w+::)*(?:soda\+)?(?:https?|gs):(?!//)", re.IGNORECASE)

_REPOSITORY = re.compile(r"(?P<url>https://[^?#]+?)(?P<gitlab>/-)?/tree/(?P<revision>[^?#/]+)/?")

_BIGQUERY = re.compile(r"bigquery://(?P<project>[a-z][a-z0-9:.-]*[a-z0-9])(?:/(?P<prefix>[A-Za-z0-9_]+))?/?")


S = TypeVar("S", bound=BaseSettings)


class SettingsError(ValueError):
    """A setting has an invalid value. The message names the variable and what it accepts."""


def _location(text: str) -> str:
    """Keep a URL as it is, and make a path absolute, so that all processes mean the same place."""
    return text.rstrip("/") if "://" in text else str(Path(text).expanduser().absolute())


def _complete(location: str) -> str:
    # A mistyped URL would be a path, and paths are shown with everything that they contain.
    if _MISTYPED_URL.match(location):
        raise ValueError("a URL must have :// after its scheme")
    return location


def _without_credentials(location: str) -> str:
    if "://" in location and without_credentials(location) != location:
        raise ValueError(
            "the URL must not contain a user or password, because URLs are displayed and logged; put them into ~/.netrc"
        )
    return location


def _web_address(address: str) -> str:
    if urlsplit(address).scheme not in ("http", "https"):
        raise ValueError("the address must start with http:// or https://")
    return _without_credentials(address.rstrip("/"))


def project_folder() -> Path | None:
    """Return the folder of this project at or above the working directory, or None outside of it."""
    here = Path.cwd()
    marks = ("Makefile", "dagster.yaml", "mta_pipeline/definitions.py")
    return next((folder for folder in (here, *here.parents) if all((folder / mark).is_file() for mark in marks)), None)


def _by_default(place: Path) -> str:
    """A default location: below the project's folder, or outside of it below the working directory."""
    return str((project_folder() or Path.cwd()) / place)


def _is_sample(feed: str) -> bool:
    return feed.rstrip("/") == _SAMPLE_SERVICE or _location(feed) == _by_default(SAMPLE_FEED)


def _is_small(feed: str) -> bool:
    """Whether a feed is marked as a sample. `mta-pipeline portal` serves a sample, and nothing else without https."""
    marked = "://" not in feed and (Path(_location(feed)) / SAMPLE_TRUTH).is_file()
    return marked or _is_sample(feed) or feed.startswith(f"{_SODA}http://")


def _lake(location: str) -> str:
    if re.match(r"gs://.*\?.*=", location):
        raise ValueError("the URL must not have a query, because URLs are displayed and logged")
    if "://" in location and urlsplit(location).scheme not in ("gs", "file"):
        raise ValueError(f"the lake must be a directory or gs://bucket/prefix, not {shown(location)}")
    if "\\" in location:
        raise ValueError(
            f"the lake's path must not contain a backslash, which separates folders for DuckDB: {location}"
        )
    return location.removeprefix("file://")


def _records(home: Path | None) -> Path | None:
    if home is None:
        return None
    if "?" in str(home):
        raise ValueError(f"the path must not contain a question mark, because Dagster takes it for a URL: {home}")
    home = home.expanduser()
    if not home.is_absolute():
        raise ValueError(f"Dagster needs an absolute path: set it to {home.absolute()}")
    return home


def _warehouse(text: str | None) -> str | None:
    if text is None or _BIGQUERY.fullmatch(text):
        return text
    if "://" in text:
        raise ValueError(f"the warehouse must be a DuckDB file or bigquery://PROJECT[/PREFIX], not {shown(text)}")
    return str(Path(text).expanduser().absolute())


def _code(url: str | None) -> str | None:
    if url is not None and not _REPOSITORY.fullmatch(_without_credentials(url)):
        raise ValueError("the code must be https://HOST/OWNER/REPOSITORY/tree/REVISION, as GitHub and GitLab name it")
    return url


def _portal(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(_without_credentials(url))
    if parts.hostname is None or parts.query or parts.fragment:
        # The address is not shown: a query can hold an app token.
        raise ValueError("the portal must be https://host, without a query; MTA_SODA_TOKEN takes an app token")
    if parts.scheme != "https" and (parts.scheme, parts.hostname) not in (("http", "127.0.0.1"), ("http", "localhost")):
        raise ValueError("the portal must use https, so that nobody can read the app token in transit")
    return url.rstrip("/")


def portal_of(feed: str) -> str | None:
    """Return the address of the SODA portal that a feed's location names, or None if it names another kind of feed."""
    if feed.startswith(_SODA):
        return feed.removeprefix(_SODA).rstrip("/")
    return feed.rstrip("/") if feed.rstrip("/") in KNOWN_PORTALS else None


def _feed(location: str) -> str:
    if portal := portal_of(location):
        _portal(portal)
    if re.search("https?://", location) and shown(location) != without_credentials(location):
        raise ValueError(
            "the URL must have a host and a path, and no query or fragment, because URLs are displayed and logged"
        )
    return location


def _spark_connect(server: str | None) -> str | None:
    if server is None:
        return None
    if not server.startswith("sc://"):
        raise ValueError("the Spark Connect server must be sc://host:port; for a cluster, set SPARK_MASTER")
    if "token=" in server or "@" in server:
        raise ValueError(
            "the address must not contain a token, because it is displayed and logged; "
            "set SPARK_CONNECT_AUTHENTICATE_TOKEN"
        )
    return server


def _saturday(day: dt.date | None) -> dt.date | None:
    if day is not None and day.isoweekday() != 6:
        raise ValueError(f"{day} is a {day:%A}; weeks start on a Saturday")
    return day


class Settings(BaseSettings):
    """The settings of one deployment. The alias of a field is the name of its environment variable."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, frozen=True, populate_by_name=True, extra="ignore", use_attribute_docstrings=True
    )

    feed: Annotated[
        str,
        AfterValidator(_complete),
        AfterValidator(_feed),
        AfterValidator(_location),
        AfterValidator(_without_credentials),
    ] = Field(default=str(SAMPLE_FEED), alias="MTA_FEED", validate_default=True)
    """Where the turnstile data are: the portal `https://data.ny.gov` (any other with the prefix `soda+`), or the
    location of weekly files and yearly exports: an http(s) URL of an index page, directory or file, a local path, or
    `gs://bucket/prefix`. Without it, a synthetic sample is generated there."""

    lake_root: Annotated[
        str,
        AfterValidator(_complete),
        AfterValidator(_location),
        AfterValidator(_lake),
        AfterValidator(_without_credentials),
    ] = Field(alias="LAKE_ROOT")
    """Where the tables are written: a directory or `gs://bucket/prefix`. Without it, `data/sample/lake` for the sample
    and `data/real/lake` for any other feed."""

    last_week: Annotated[dt.date | None, AfterValidator(_saturday)] = Field(default=None, alias="MTA_LAST_WEEK")
    """The last week of the calendar, by its first day, a Saturday. Without it, the calendar ends with the last full
    week before today. That of turnstile data ends earlier: with the newest week in the sample or in the directory
    `MTA_FEED` if that week is more than eight weeks old, or with the last week of the portal's turnstile data. Without
    `MTA_SODA` there is only this one."""

    raw_versions: int = Field(default=2, ge=1, le=100, alias="MTA_RAW_VERSIONS")
    """Number of earlier versions of a week's file that the raw layer keeps."""

    least_readings: int = Field(default=150_000, ge=0, alias="MTA_LEAST_READINGS")
    """The least number of readings of a week while there are fewer than three weeks to compare it with. Real weeks have
    about 250,000. Without it, 0 for a sample: the default feed, also in Docker, a directory that `mta-pipeline sample`
    has written, and a portal on this machine."""

    look_every: Annotated[int, Field(ge=1, le=86_400)] = Field(default=300, alias="MTA_LOOK_EVERY")
    """Seconds between two ticks of the sensors that poll the feed and the portal."""

    soda: Annotated[str | None, AfterValidator(_portal)] = Field(default=None, alias="MTA_SODA")
    """The SODA portal with hourly ridership: `https://data.ny.gov`. Without it, the portal that is the feed; without
    such a feed, no portal is requested."""

    soda_token: SecretStr | None = Field(default=None, alias="MTA_SODA_TOKEN")
    """An app token of the portal, which raises its request limit."""

    notify: SecretStr | None = Field(default=None, alias="MTA_NOTIFY")
    """Receivers of notifications: [Apprise](https://appriseit.com) URLs separated by spaces, or a file with one URL per
    line. Test them with `mta-pipeline notify`."""

    ui: Annotated[str, AfterValidator(_web_address)] = Field(default="http://127.0.0.1:3000", alias="MTA_UI")
    """The address of the Dagster UI, for links in notifications. `make dev` uses its port, or the next free one."""

    code: Annotated[str | None, AfterValidator(_code)] = Field(default=None, alias="MTA_CODE")
    """The repository and revision of the code, for links in the UI: `https://github.com/OWNER/REPOSITORY/tree/REVISION`,
    or the same with `/-/tree/` at GitLab. Without it, links open the installed files."""

    dagster_home: Annotated[Path | None, AfterValidator(_records)] = Field(default=None, alias="DAGSTER_HOME")
    """The directory of Dagster's records, an absolute path. Without it, commands inside the project's folder use those
    of `make dev`: `data/sample/dagster`, or `data/real/dagster` if the feed is not the sample. Elsewhere
    `mta-pipeline run` keeps no records."""

    marts_engine: Literal["duckdb", "spark"] = Field(default="duckdb", alias="MARTS_ENGINE")
    """The engine that computes the marts: `duckdb` or `spark`. Spark needs the extra `spark` and Java 17."""

    spark_master: str = Field(default="local[*]", alias="SPARK_MASTER")
    """Where Spark runs: in this process, or a cluster at `spark://host:port`."""

    spark_remote: Annotated[str | None, AfterValidator(_spark_connect)] = Field(default=None, alias="SPARK_REMOTE")
    """A Spark Connect server, `sc://host:port`. It takes precedence over `SPARK_MASTER`."""

    warehouse: Annotated[str | None, AfterValidator(_warehouse)] = Field(default=None, alias="WAREHOUSE")
    """The warehouse: a DuckDB file, or `bigquery://PROJECT[/PREFIX]` for a lake at `gs://`. Without it,
    `<LAKE_ROOT>/warehouse/mta.duckdb` if the lake is in a directory."""

    bigquery_location: str = Field(default="US", alias="BIGQUERY_LOCATION")
    """The location of the BigQuery datasets, which must be that of the lake's bucket."""

    bigquery_storage: Literal["native", "external"] = Field(default="native", alias="BIGQUERY_STORAGE")
    """`native`: BigQuery loads the tables. `external`: queries read them in the bucket."""

    bigquery_max_gib: int = Field(default=200, ge=1, alias="BIGQUERY_MAX_GIB")
    """The maximum number of GiB that one query may scan. A larger query is not run."""

    @model_validator(mode="before")
    @classmethod
    def _keep_sample_and_real_apart(cls, values: dict[str, Any]) -> dict[str, Any]:
        if "MTA_FEED" not in values and "feed" not in values:
            values = {**values, "MTA_FEED": _by_default(SAMPLE_FEED)}
        if "LAKE_ROOT" in values or "lake_root" in values:
            return values
        sample = _is_sample(str(values.get("MTA_FEED", values.get("feed"))))
        return {**values, "LAKE_ROOT": _by_default(SAMPLE_LAKE if sample else REAL_LAKE)}

    @model_validator(mode="before")
    @classmethod
    def _samples_are_small(cls, values: dict[str, Any]) -> dict[str, Any]:
        given = "MTA_LEAST_READINGS" in values or "least_readings" in values
        feed = str(values.get("MTA_FEED", values.get("feed", _by_default(SAMPLE_FEED))))
        return values if given or not _is_small(feed) else {**values, "MTA_LEAST_READINGS": 0}

    @model_validator(mode="before")
    @classmethod
    def _one_portal_for_both(cls, values: dict[str, Any]) -> dict[str, Any]:
        portal = portal_of(str(values.get("MTA_FEED", values.get("feed", ""))))
        if not portal or "soda" in values:
            return values
        with suppress(ValueError):  # the feed's validator reports it
            values = {"MTA_SODA": _portal(portal), **values}
        return values

    @model_validator(mode="after")
    def _bigquery_reads_a_bucket(self) -> Self:
        if self.bigquery and not self.lake_root.startswith("gs://"):
            raise ValueError(
                f"WAREHOUSE={self.warehouse}: BigQuery needs a lake in a bucket; set LAKE_ROOT=gs://bucket/prefix"
            )
        if self.bigquery and set(self.lake_root) & set("*{}"):
            raise ValueError(
                f"LAKE_ROOT={self.lake_root}: BigQuery takes *, {{ and }} in a URL for a pattern; choose another prefix"
            )
        return self

    @property
    def bigquery(self) -> tuple[str, str] | None:
        """The BigQuery project and the prefix of dataset names; None if the warehouse is not in BigQuery."""
        match = _BIGQUERY.fullmatch(self.warehouse or "")
        return (match["project"], match["prefix"] or "") if match else None

    @property
    def warehouse_file(self) -> Path | None:
        """The DuckDB file to write; None with BigQuery, and for a lake in a bucket if WAREHOUSE is not set."""
        if self.warehouse is not None:
            return None if self.bigquery else Path(self.warehouse)
        return None if "://" in self.lake_root else Path(self.lake_root) / "warehouse" / "mta.duckdb"

    @property
    def repository(self) -> tuple[str, str, Literal["github", "gitlab"]] | None:
        """The URL of the repository, the revision of the code, and whose URLs they are; None if MTA_CODE is not set."""
        match = _REPOSITORY.fullmatch(self.code or "")
        return (match["url"], match["revision"], "gitlab" if match["gitlab"] else "github") if match else None

    @property
    def feed_token(self) -> SecretStr | None:
        """The app token for the feed, if the feed is the portal that the token belongs to."""
        return self.soda_token if self.soda and portal_of(self.feed) == self.soda else None

    @property
    def spark(self) -> str:
        """Where Spark runs: SPARK_REMOTE if set, or else SPARK_MASTER."""
        return self.spark_remote or self.spark_master

    @property
    def is_sample(self) -> bool:
        """Whether the feed is the synthetic sample in its default place, or that of compose.yaml."""
        return _is_sample(self.feed)


class TelemetrySettings(BaseSettings):
    """Whether traces are sent. Separate from Settings, because Dagster's own processes read it too.

    The OpenTelemetry SDK reads all other variables of traces (OTEL_...).
    """

    model_config = SettingsConfigDict(
        env_ignore_empty=True, frozen=True, populate_by_name=True, extra="ignore", use_attribute_docstrings=True
    )

    endpoint: Annotated[str, AfterValidator(_without_credentials)] | None = Field(
        default=None,
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    )
    """Where traces are sent, by OTLP over HTTP. Without it, there are no traces. `OTEL_EXPORTER_OTLP_HEADERS` takes
    headers, such as a key."""


def read_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: a variable has an invalid value.
    """
    return _read(Settings)


def read_telemetry() -> TelemetrySettings:
    """Read from the environment whether traces are sent. Raises the same error as read_settings."""
    return _read(TelemetrySettings)


def java() -> str | None:
    """Return the Java that Spark starts, from JAVA_HOME or the PATH, or None if there is none."""
    home = os.environ.get("JAVA_HOME")
    return (home and shutil.which("java", path=f"{home}/bin")) or shutil.which("java")


def _read(kind: type[S]) -> S:
    try:
        return kind()
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()
        )
        raise SettingsError(f"Invalid settings: {problems}") from None  # the cause quotes the values
