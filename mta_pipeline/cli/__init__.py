"""The command line: `mta-pipeline run`, `sample`, `summary` and others. Other modules implement the commands."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mta_pipeline.settings import Settings, SettingsError, read_settings
from mta_pipeline.weeks import FIRST_WEEK, ONE_WEEK, week_start, weeks_between

if TYPE_CHECKING:
    from stamina.instrumentation import RetryDetails

    from mta_pipeline.monitoring.health import HealthReader

SAMPLE_WEEKS = ("2014-09-27", "2014-10-18")
"""Two weeks in the legacy layout and two in the modern one."""
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


@click.group()
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
def run(weeks: list[str] | None, again: bool) -> None:
    """Process weeks from the feed to the lake, the marts and the report, and show a summary.

    Weeks that are complete in the lake and unchanged in the feed are skipped, so an interrupted run continues where it
    stopped.
    """
    import stamina  # noqa: PLC0415  # these are slow to import, and --help must be fast
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415

    from mta_pipeline.cli.run import ReadingBar, RecordsError, bring_up_to_date  # noqa: PLC0415
    from mta_pipeline.cli.summary import show  # noqa: PLC0415
    from mta_pipeline.lake.feeds import feed_at  # noqa: PLC0415
    from mta_pipeline.sources.errors import FeedError  # noqa: PLC0415
    from mta_pipeline.sources.turnstile_files import unused_files  # noqa: PLC0415

    console = Console(soft_wrap=True, highlight=False)
    settings = _settings()
    stamina.instrumentation.set_on_retry_hooks([lambda retry: console.print(_retry_message(retry))])
    if settings.is_sample and not Path(settings.feed).is_dir():
        _make_sample(Path(settings.feed), weeks or weeks_between(*SAMPLE_WEEKS), SAMPLE_TURNSTILES, 0, "none")
    open_it = partial(feed_at, settings.feed, settings.lake_root, token=settings.feed_token)
    try:
        feed = open_it(progress=ReadingBar(console))
    except ValueError as error:
        raise click.ClickException(f"MTA_FEED: {error}") from error

    def print_unused_files() -> None:
        for note in unused_files(open_it(fail_fast=True)):
            console.print(note, style="yellow", markup=False)

    try:
        weeks = weeks or list(feed.available_weeks())[-NEWEST:]
        if not weeks:
            print_unused_files()
            raise click.ClickException(
                f"No turnstile data at {feed.location}: no file there is named turnstile_YYMMDD.txt, and no yearly "
                "export there has a complete week."
            )
        kind = "sample feed" if settings.is_sample else "feed"
        span = f"{len(weeks)} weeks, {weeks[0]} to {weeks[-1]}" if len(weeks) > 1 else f"week {weeks[0]}"
        console.print(f"[bold]{span}[/bold], from the {kind} at {escape(feed.location)}")
        outcome = bring_up_to_date(settings, weeks, feed, console, again=again)
    except (FeedError, RecordsError) as error:
        raise click.ClickException(str(error)) from error
    show(console, settings, weeks)
    print_unused_files()
    for week in outcome.out_of_date:
        console.print(f"[yellow]week {week} is outdated, the week before it has changed:[/yellow] run --weeks {week}")
    for week, reason in outcome.failed_weeks.items():
        console.print(f"[red]week {week} failed:[/red] {escape(reason)}")
    for failure in outcome.failures:
        console.print(f"[red]failed:[/red] {escape(failure)}")
    sys.exit(0 if outcome.success else 1)


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
@click.option("--port", default=8100, show_default=True, help="Port on 127.0.0.1.")
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
    except (OSError, OverflowError, ValueError) as error:
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
@click.option("--weeks", type=Weeks(), required=True, help="FIRST...LAST, the Saturdays on which the weeks start.")
def summary(weeks: list[str]) -> None:
    """Show what the lake holds of the given weeks."""
    from rich.console import Console  # noqa: PLC0415

    from mta_pipeline.cli.summary import show  # noqa: PLC0415

    show(Console(soft_wrap=True, highlight=False), _settings(), weeks)


@main.command()
def status() -> None:
    """Show problems with what to do about them, and key figures. Exits with 1 if there are problems."""
    from rich.console import Console  # noqa: PLC0415

    from mta_pipeline.monitoring.status import problems, terminal  # noqa: PLC0415

    with _health() as reader:
        health = reader.read()
    console = Console(soft_wrap=True, highlight=False)
    for part in terminal(health):
        console.print(part)
    sys.exit(1 if any(problems(health)) else 0)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9464, show_default=True, help="Port to listen on; 0 for any free port.")
def metrics(host: str, port: int) -> None:
    """Serve a status page at / and Prometheus metrics at /metrics, until interrupted."""
    try:
        from mta_pipeline.monitoring.server import HealthServer  # noqa: PLC0415
    except ImportError as error:
        raise click.ClickException("Metrics need the extra `telemetry`: mta-pipeline[telemetry]") from error

    with _health() as reader:
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

    settings = _settings()
    if settings.notify is None:
        raise click.ClickException("MTA_NOTIFY is not set: set it to Apprise URLs, or to a file with one URL per line.")
    try:
        receivers = Receivers(settings.notify)
    except ReceiversError as error:
        raise click.ClickException(str(error)) from error
    reasons = {receiver: receivers.send(receiver, trial(settings.ui)) for receiver in receivers.names}
    for receiver, reason in reasons.items():
        click.echo(f"receiver {receiver}: {f'not sent, {reason}' if reason else 'sent'}")
    sys.exit(1 if any(reasons.values()) else 0)


@contextmanager
def _health() -> "Iterator[HealthReader]":
    import dagster as dg  # noqa: PLC0415

    from mta_pipeline.build import build_defs  # noqa: PLC0415
    from mta_pipeline.monitoring.health import HealthReader  # noqa: PLC0415

    settings = _settings()
    if settings.dagster_home is None:
        raise click.ClickException("DAGSTER_HOME is not set: set it to the directory of Dagster's records.")
    with dg.DagsterInstance.get() as instance:
        yield HealthReader.of(instance, settings.lake_root, build_defs(settings))


def _settings() -> Settings:
    try:
        return read_settings()
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


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
