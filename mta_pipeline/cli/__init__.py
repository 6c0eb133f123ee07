"""The command line: `mta-pipeline run`, `sample`, `summary` and others. Other modules implement the commands."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mta_pipeline.cli.exit_codes import CommandError, ExitCode, help_text
from mta_pipeline.cli.places import project_home, require_feed, require_lake, require_records
from mta_pipeline.cli.stopping import STOP, StoppableGroup
from mta_pipeline.settings import SAMPLE_WEEKS, Settings, SettingsError, read_settings
from mta_pipeline.weeks import FIRST_WEEK, ONE_WEEK, week_start, weeks_between

if TYPE_CHECKING:
    from stamina.instrumentation import RetryDetails

    from mta_pipeline.monitoring.health import HealthReader

SAMPLE_TURNSTILES = 300
PORTAL_WEEKS = ("2024-01-06", "2024-01-27")
NEWEST = 8
"""Number of weeks that `run` processes without `--weeks`."""


class Weeks(click.ParamType[list[str]]):
    """Weeks given by the Saturday on which they start: one week, or FIRST...LAST with both included."""

    name = "weeks"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """The keys of the weeks."""
        first, _, last = str(value).partition("...")
        for key in (first, last or first):
            try:
                day = week_start(key)
            except ValueError:
                self.fail(f"{key!r} is not a date like 2024-01-06; give weeks as FIRST or FIRST...LAST", param, ctx)
            if day.isoweekday() != 6:
                saturday = day - (day.isoweekday() + 1) % 7 * (ONE_WEEK / 7)
                self.fail(f"{key} is a {day:%A}; weeks start on a Saturday: use {saturday}", param, ctx)
            if key < FIRST_WEEK:
                self.fail(f"{key} is before {FIRST_WEEK}, the first week with data", param, ctx)
        weeks = weeks_between(first, last or first)
        if not weeks:
            self.fail(f"{first} comes after {last}", param, ctx)
        return weeks


def _port(ctx: click.Context, param: click.Parameter, port: int) -> int:
    if port not in range(65_536):
        raise click.BadParameter(f"{port} is not a port, which is a number from 0 to 65535", ctx, param)
    return port


@click.group(cls=StoppableGroup, epilog=help_text())
@click.version_option(package_name="mta-pipeline")
def main() -> None:
    """Turn the New York subway's weekly turnstile files into validated ridership tables.

    MTA_FEED is the location of the weekly files: a directory, or an http(s) or gs:// URL. LAKE_ROOT is the location of
    the tables. Without MTA_FEED, synthetic sample data is used.
    """


@main.command()
@click.option(
    "--weeks",
    type=Weeks(),
    help=f"FIRST...LAST, the Saturdays on which the weeks start; default: the newest {NEWEST} available weeks.",
)
@click.option("--again", is_flag=True, help="Rebuild complete weeks too, for example after an update of mta_pipeline.")
@click.option("--verbose", is_flag=True, help="Print a line for each week and table, and the figures of every week.")
def run(weeks: list[str] | None, *, again: bool, verbose: bool) -> None:
    """Process weeks from the feed to the lake, the marts and the report, and show a summary.

    Weeks that are complete in the lake and unchanged in the feed are skipped, so an interrupted run continues where it
    stopped.
    """
    import stamina  # noqa: PLC0415  # these are slow to import, and --help must be fast
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415

    from mta_pipeline.cli.progress import ReadingBar  # noqa: PLC0415
    from mta_pipeline.cli.run import bring_up_to_date, how_to_continue  # noqa: PLC0415
    from mta_pipeline.cli.summary import show, show_problems  # noqa: PLC0415
    from mta_pipeline.lake.feeds import feed_at  # noqa: PLC0415
    from mta_pipeline.sources.turnstile_files import Listing, unused_files  # noqa: PLC0415

    settings = _settings(creates=True)
    require_feed(settings.feed)
    console = Console(soft_wrap=True, highlight=False)
    stamina.instrumentation.set_on_retry_hooks([lambda retry: console.print(_retry_message(retry))])
    if settings.is_sample and "://" not in settings.feed and not Path(settings.feed).is_dir():
        _make_sample(Path(settings.feed), weeks or weeks_between(*SAMPLE_WEEKS), SAMPLE_TURNSTILES, 0, "none")
    open_it = partial(feed_at, settings.feed, settings.lake_root, token=settings.feed_token)
    try:
        bar = ReadingBar(console)
        feed = open_it(progress=bar)
    except ValueError as error:
        raise CommandError(ExitCode.CONFIGURATION, f"MTA_FEED: {error}") from error

    listing: Listing | None = None

    def print_unused_files() -> None:
        for note in listing.notes if listing else unused_files(open_it(fail_fast=True)):
            console.print(note, style="yellow", markup=False)

    with _errors_as_codes(settings.lake_root, settings.dagster_home), closing(bar):
        if not weeks:
            listing = feed.listing_unless(None)
            weeks = list(listing.weeks if listing else ())[-NEWEST:]
        if not weeks:
            print_unused_files()
            problem = (
                f"No turnstile data at {feed.location}: neither a weekly file (turnstile_YYMMDD.txt) nor a complete "
                "week in a yearly export or data set."
            )
            raise CommandError(ExitCode.NOTHING_OFFERED, problem)
        kind = "sample feed" if settings.is_sample else "feed"
        span = f"{len(weeks)} weeks, {weeks[0]} to {weeks[-1]}" if len(weeks) > 1 else f"week {weeks[0]}"
        console.print(f"[bold]{span}[/bold], from the {kind} at {escape(feed.location)}")
        STOP.advice = partial(how_to_continue, settings.lake_root, weeks, again=again)
        outcome = bring_up_to_date(settings, weeks, feed, console, again=again, verbose=verbose)
        show(console, settings, weeks, verbose=verbose)
    print_unused_files()
    show_problems(console, outcome, feed.location, verbose=verbose)
    sys.exit(outcome.exit_code)


@main.command()
@click.option("--weeks", type=Weeks(), default="...".join(SAMPLE_WEEKS), show_default=True, help="FIRST...LAST.")
@click.option("--turnstiles", default=SAMPLE_TURNSTILES, show_default=True, help="Number; the MTA has about 5,000.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same files.")
@click.option("--compression", type=click.Choice(["none", "gz", "zip"]), default="none", show_default=True)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def sample(directory: Path, weeks: list[str], turnstiles: int, seed: int, compression: str) -> None:
    """Create a sample feed in DIRECTORY: synthetic weekly files whose true ridership is known."""
    _make_sample(directory, weeks, turnstiles, seed, compression)


@main.command()
@click.option("--weeks", type=Weeks(), default="...".join(PORTAL_WEEKS), show_default=True, help="FIRST...LAST.")
@click.option("--turnstiles", default=SAMPLE_TURNSTILES, show_default=True, help="Number of turnstiles of the sample.")
@click.option("--seed", default=0, show_default=True, help="Seed of the sample.")
@click.option("--port", callback=_port, default=8100, show_default=True, help="Port on 127.0.0.1.")
@click.option("--too-many", default=0.0, show_default=True, help="Share of requests that are refused with status 429.")
def portal(weeks: list[str], turnstiles: int, seed: int, port: int, too_many: float) -> None:
    """Serve a sample's turnstile readings and hourly ridership like the MTA's portal, until interrupted.

    Readings and riders are those of `mta-pipeline sample` with the same weeks, turnstiles and seed. The hourly
    ridership has riders who tap OMNY, too. As at the real portal, there are no turnstile readings after 2022.
    """
    from mta_pipeline.lake.portal import usage_data_sets  # noqa: PLC0415
    from mta_pipeline.sample import SampleFeed  # noqa: PLC0415
    from mta_pipeline.sample.hourly import data_sets  # noqa: PLC0415
    from mta_pipeline.sample.portal import Portal  # noqa: PLC0415
    from mta_pipeline.sample.usage import sample_usage  # noqa: PLC0415

    feed = SampleFeed(seed=seed, turnstiles=turnstiles, first_week=weeks[0])
    try:
        usage, complete = sample_usage(feed, weeks, usage_data_sets())
        served = Portal({**data_sets(feed.hourly(weeks)), **usage}, too_many=too_many, seed=seed, port=port)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    with served, suppress(KeyboardInterrupt):
        click.echo(f"MTA_SODA={served.url} serves the hourly ridership of the weeks {weeks[0]} to {weeks[-1]}")
        if complete:
            ids = ", ".join(name for name, rows in usage.items() if len(rows))
            click.echo(f"MTA_FEED=soda+{served.url} serves their turnstile readings, from the data sets {ids}. Run:")
            click.echo(f"make run MTA_FEED=soda+{served.url} WEEKS={complete[0]}...{complete[-1]}")
        else:
            click.echo("There are no turnstile readings of these weeks: the portal has those of 2014 to 2022.")
        served.serve_forever()


@main.command()
@click.argument("weeks", type=Weeks(), metavar="WEEK")
def accept(weeks: list[str]) -> None:
    """Use the pending version of WEEK, or of each week in FIRST...LAST. The next run makes the tables from it.

    A version is pending if it cannot be used, or has far fewer readings than the version in the lake.
    """
    from mta_pipeline.cli.accept import accept_pending  # noqa: PLC0415
    from mta_pipeline.lake.gcs import ConcurrentWriteError  # noqa: PLC0415
    from mta_pipeline.lake.raw import DamagedRawFile  # noqa: PLC0415
    from mta_pipeline.lake.raw_files import NothingPendingError  # noqa: PLC0415

    settings = _settings(creates=True)
    failed = False
    for week in weeks:
        try:
            with _errors_as_codes(settings.lake_root, settings.dagster_home):
                click.echo(accept_pending(settings, week))
        except (NothingPendingError, ConcurrentWriteError, DamagedRawFile) as error:
            click.echo(str(error), err=True)
            failed = True
    sys.exit(ExitCode.PROBLEMS if failed else ExitCode.SUCCESS)


@main.command()
@click.option("--weeks", type=Weeks(), required=True, help="FIRST...LAST, the Saturdays on which the weeks start.")
@click.option("--verbose", is_flag=True, help="Print the figures of every week.")
def summary(weeks: list[str], *, verbose: bool) -> None:
    """Show what the lake holds of the given weeks."""
    from rich.console import Console  # noqa: PLC0415

    from mta_pipeline.cli.summary import show  # noqa: PLC0415

    settings = _settings(records=False)
    with _errors_as_codes(settings.lake_root):
        show(Console(soft_wrap=True, highlight=False), settings, weeks, verbose=verbose)


@main.command()
@click.argument("weeks", type=Weeks(), required=False)
@click.option("--rederive", is_flag=True, help="Also compute the tables of each week again from the raw data.")
@click.option("--report-only", is_flag=True, help="Leave damaged files where they are.")
@click.option("--sums", is_flag=True, help="If nothing is wrong, write SHA256SUMS, for those who copy the lake.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify(*, weeks: list[str] | None, rederive: bool, report_only: bool, sums: bool, as_json: bool) -> None:
    """Verify every file of the lake by its digest, and find missing ones. The exit code is 1 if there are problems.

    WEEKS are FIRST...LAST, the Saturdays on which the weeks start. With them, marts, report and warehouse are left out.
    Damaged files are set aside as hidden files, so that the next run makes them again.
    """
    import time  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415

    from mta_pipeline.cli.verify import show, verify_lake  # noqa: PLC0415
    from mta_pipeline.lake.verification import write_sums  # noqa: PLC0415

    if sums and weeks:
        raise click.UsageError("--sums needs the whole lake: leave out WEEKS")
    settings, start = _settings(records=False), time.monotonic()
    with _errors_as_codes(settings.lake_root):
        progress = Console(stderr=True)
        found = verify_lake(progress, settings, weeks, set_aside=not report_only, rederive=rederive)
        if not found.files:
            raise CommandError(ExitCode.UNUSABLE_INPUT, f"{settings.lake_root} is not a lake: there are no files.")
        if as_json:
            click.echo(found.to_json())
        else:
            console = Console(soft_wrap=True, highlight=False)
            show(console, found, seconds=time.monotonic() - start)
        if sums and not found.problems:
            click.echo(f"Written: {write_sums(settings.lake_root)}", err=as_json)
    if found.problems:
        sys.exit(ExitCode.PROBLEMS)


@main.command()
@click.argument("first", metavar="LAKE")
@click.argument("second", metavar="LAKE")
@click.option("--tables", multiple=True, metavar="TABLE", help="A table such as complex_daily; can be repeated.")
@click.option("--weeks", type=Weeks(), help="FIRST...LAST. Tables without weeks are left out.")
@click.option(
    "--ignore", multiple=True, metavar="COLUMN", help="Do not compare COLUMN or TABLE.COLUMN; can be repeated."
)
@click.option("--tolerance", default=0.0, help="Largest relative difference of floats that counts as equal.")
@click.option("--rows", default=0, metavar="N", help="Show N rows of each kind of difference.")
def compare(
    first: str,
    second: str,
    *,
    tables: Sequence[str],
    weeks: list[str] | None,
    ignore: Sequence[str],
    tolerance: float,
    rows: int,
) -> None:
    """Compare the tables of two lakes by rows. The exit code is 1 if they differ.

    A LAKE is a directory or a gs:// URL. The order of rows is not compared, nor are line numbers in published files.
    """
    from rich.console import Console  # noqa: PLC0415

    from mta_pipeline.cli.compare import differences, show  # noqa: PLC0415
    from mta_pipeline.lake.comparison import IGNORED, Options, parts_of  # noqa: PLC0415

    console = Console(soft_wrap=True, highlight=False)
    for lake in (first, second):
        require_lake(lake, subject=lake)
    with _errors_as_codes(f"{first} or {second}"):
        parts = parts_of(first, second)
        for nth, lake in enumerate((first, second)):
            if not any(there[nth] for there in parts.values()):
                raise CommandError(ExitCode.UNUSABLE_INPUT, f"{lake} is not a lake: there are no tables.")
        if unknown := {*tables} - {part.table for part in parts}:
            raise click.BadParameter(f"neither lake has {', '.join(sorted(unknown))}", param_hint="--tables")
        wanted = {
            part: there
            for part, there in parts.items()
            if (not tables or part.table in tables) and (not weeks or part.week in weeks)
        }
        options = Options(frozenset((*IGNORED, *ignore)), tolerance, rows)
        found = differences(console, first, second, wanted, options)
    show(console, found, wanted)
    sys.exit(ExitCode.PROBLEMS if found else ExitCode.SUCCESS)


@main.command()
def status() -> None:
    """Show problems with what to do about them, and key figures. The exit code is 1 if there are problems."""
    from rich.console import Console  # noqa: PLC0415

    from mta_pipeline.monitoring.status import problems, terminal  # noqa: PLC0415

    settings = settings_with_records()
    with _health(settings) as reader, _errors_as_codes(settings.lake_root, settings.dagster_home):
        health = reader.read()
    console = Console(soft_wrap=True, highlight=False)
    for part in terminal(health):
        console.print(part)
    sys.exit(ExitCode.PROBLEMS if any(problems(health)) else ExitCode.SUCCESS)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", callback=_port, default=9464, show_default=True, help="Port to listen on; 0 for any free port.")
def metrics(host: str, port: int) -> None:
    """Serve a status page at / and Prometheus metrics at /metrics, until interrupted."""
    try:
        from mta_pipeline.monitoring.server import HealthServer  # noqa: PLC0415
    except ImportError as error:
        problem = (
            "Metrics need the extra telemetry. Install it: "
            ".venv/bin/uv pip install -c requirements.lock -e '.[telemetry]'"
        )
        raise CommandError(ExitCode.CONFIGURATION, problem) from error

    with _health(settings_with_records()) as reader:
        try:
            server = HealthServer((host, port), reader.read)
        except OSError as error:
            raise click.ClickException(f"Cannot listen on {host}:{port}: {error.strerror}") from error
        with server:
            click.echo(f"Status page: http://{host}:{server.server_port}/, Prometheus metrics: /metrics")
            with suppress(KeyboardInterrupt):
                server.serve_forever()


@main.command()
def catalogue() -> None:
    """Print the catalogue page: every table with its columns, how fresh it is, and example queries."""
    from mta_pipeline.cli.catalogue import catalogue as page  # noqa: PLC0415

    click.echo(page(), nl=False)


@main.command()
def notify() -> None:
    """Send a test message to all receivers in MTA_NOTIFY."""
    from mta_pipeline.notifications.delivery import Receivers, ReceiversError  # noqa: PLC0415
    from mta_pipeline.notifications.messages import trial  # noqa: PLC0415

    settings = _read_settings()
    if settings.notify is None:
        problem = "MTA_NOTIFY is not set: set it to Apprise URLs, or to a file with one URL per line."
        raise CommandError(ExitCode.CONFIGURATION, problem)
    try:
        receivers = Receivers(settings.notify)
    except ReceiversError as error:
        raise CommandError(ExitCode.CONFIGURATION, str(error)) from error
    reasons = {receiver: receivers.send(receiver, trial(settings.ui)) for receiver in receivers.names}
    for receiver, reason in reasons.items():
        click.echo(f"receiver {receiver}: {f'not sent, {reason}' if reason else 'sent'}")
    sys.exit(ExitCode.PROBLEMS if any(reasons.values()) else ExitCode.SUCCESS)


@contextmanager
def _health(settings: Settings) -> "Iterator[HealthReader]":
    from mta_pipeline.build import build_defs  # noqa: PLC0415
    from mta_pipeline.cli.run import open_records  # noqa: PLC0415
    from mta_pipeline.monitoring.health import HealthReader  # noqa: PLC0415

    assert settings.dagster_home is not None
    with ExitStack() as stack:
        with _errors_as_codes(settings.lake_root, settings.dagster_home):
            instance = stack.enter_context(open_records(settings.dagster_home))
        yield HealthReader.of(instance, settings.lake_root, build_defs(settings))


@contextmanager
def _errors_as_codes(lake: str, records: Path | None = None) -> Iterator[None]:
    """Ends the command with a message and an exit code if feed, lake or records cannot be used."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from mta_pipeline.cli.run import RecordsError  # noqa: PLC0415
    from mta_pipeline.lake.storage import LockedFolder  # noqa: PLC0415
    from mta_pipeline.sources.errors import BadFile, FeedError, FeedNeedsExtra  # noqa: PLC0415

    try:
        yield
    except BadFile as error:
        raise CommandError(ExitCode.UNUSABLE_INPUT, str(error)) from error
    except (FeedNeedsExtra, SettingsError) as error:
        raise CommandError(ExitCode.CONFIGURATION, str(error)) from error
    except (FeedError, LockedFolder, RecordsError) as error:
        raise CommandError(ExitCode.UNREACHABLE, str(error)) from error
    except SQLAlchemyError as error:
        problem = f"Dagster's records in {records} cannot be read: {error}"
        raise CommandError(ExitCode.UNREACHABLE, problem) from error
    except ImportError as error:
        problem = f"The lake at {lake} needs a package that is not installed: {error}"
        raise CommandError(ExitCode.CONFIGURATION, problem) from error
    except OSError as error:
        problem = f"The lake at {lake} cannot be read or written: {error}"
        raise CommandError(ExitCode.UNREACHABLE, problem) from error
    except Exception as error:
        if not type(error).__module__.startswith("google."):
            raise
        raise CommandError(ExitCode.UNREACHABLE, f"The lake at {lake} cannot be read or written: {error}") from error


def _read_settings() -> Settings:
    """The settings. Inside the project, the records are those of `make dev` if DAGSTER_HOME is not set."""
    try:
        settings = read_settings()
    except SettingsError as error:
        raise CommandError(ExitCode.CONFIGURATION, str(error)) from error
    return settings.model_copy(update={"dagster_home": settings.dagster_home or project_home(settings)})


def _settings(*, records: bool = True, creates: bool = False) -> Settings:
    """The settings, after their lake and records were checked. Commands that create files check that they can."""
    settings = _read_settings()
    if records:
        require_records(settings, creates=creates)
    require_lake(settings.lake_root, writes=creates)
    return settings


def settings_with_records(*, creates: bool = False) -> Settings:
    """The settings of a command that cannot do without Dagster's records. With `creates`, it creates the project's own.

    Raises:
        CommandError: there is no directory of records, or it or the lake cannot be used.
    """
    settings = _settings(creates=creates)
    if settings.dagster_home is None:
        problem = (
            "DAGSTER_HOME is not set, and this is not the project's folder: go there, or set DAGSTER_HOME to the "
            "absolute path of the directory of Dagster's records."
        )
        raise CommandError(ExitCode.CONFIGURATION, problem)
    return settings


def _retry_message(retry: "RetryDetails") -> str:
    from rich.markup import escape  # noqa: PLC0415

    return f"[yellow]{escape(str(retry.caused_by))} Retrying in {retry.wait_for:.0f} s.[/yellow]"


def _make_sample(directory: Path, weeks: Sequence[str], turnstiles: int, seed: int, compression: str) -> None:
    from mta_pipeline.sample import SampleFeed  # noqa: PLC0415

    feed = SampleFeed(seed=seed, turnstiles=turnstiles, first_week=weeks[0])
    try:
        with click.progressbar(length=len(weeks), label=f"Creating a sample feed, {turnstiles:,} turnstiles") as bar:
            feed.write(directory, weeks, compression=compression, progress=lambda *_: bar.update(1))  # type: ignore[arg-type]
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
