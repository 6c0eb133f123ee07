"""`python -m mta_pipeline_tests.fault_injection`: runs every scenario and prints a table that must be all zeros."""

import sys
import time
from collections.abc import Callable

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mta_pipeline_tests.fault_injection import automation, clock, daemon, damages, terminal
from mta_pipeline_tests.fault_injection.lake_comparison import LakeComparison
from mta_pipeline_tests.fault_injection.sandbox import Sandbox, ScenarioError, sandbox
from mta_pipeline_tests.support.feed_server import Fault

WEEKS = 20
_WIDTH = 120
"""Columns of the output in a file, so that the table is not cut off."""

SCENARIOS: dict[str, Callable[[Sandbox], LakeComparison]] = {
    "run in the terminal killed, 10 times": lambda place: terminal.killed(place, 10),
    "runs over one lake killed repeatedly": lambda place: terminal.killed_repeatedly(place, 5),
    "two runs at once": terminal.two_concurrent_runs,
    "feed responds with 503 to every second request": terminal.every_second_request_fails,
    "feed sends one byte per second": terminal.slow_feed,
    "lock held by a process that hangs": terminal.hung_lock,
    "week republished during a run, 3 times": lambda place: terminal.republished_during_run(place, 3),
    "disk of the lake full": terminal.disk_full,
    "disk of lake and records full, 3 times": terminal.disk_full_of_records,
    "raw object lost": damages.lost_raw_object,
    "20 random damages in all layers": lambda place: damages.damages(place, 20),
    "clock changes, in three time zones": clock.changed,
    "clock set back": clock.set_back,
    "run worker of a backfill killed, 10 times": lambda place: daemon.worker_killed(place, 10),
    "daemon killed in a backfill": daemon.daemon_killed,
    "webserver killed in a backfill": daemon.webserver_killed,
    "power cut in a backfill": daemon.power_cut,
    "two backfills at once": daemon.two_backfills,
    "a run per week, all queued at once": daemon.run_per_week,
    "feed down for three ticks and back": lambda place: automation.fails_three_ticks(place, Fault(status=503)),
    "feed slow for three ticks": lambda place: automation.fails_three_ticks(place, Fault(drip="body", pause=1)),
    "week republished under automation": automation.republished_during_runs,
    "daemon killed three times under automation": automation.daemon_killed_repeatedly,
}


@click.command()
@click.option(
    "--seed",
    type=int,
    help="Seed of random choices, such as when to kill a process. Random by default; always printed.",
)
@click.option("--weeks", default=WEEKS, show_default=True, help="Number of weeks in the lake, at most 20.")
@click.option("--only", default="", help="Run only the scenarios whose name contains this text.")
def main(seed: int | None, weeks: int, only: str) -> None:
    """Run the scenarios. Exit with 1 if any number but that of the weeks is not 0."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    seed = time.time_ns() % 10_000 if seed is None else seed
    console.print(f"Seed {seed}")
    table = Table(title=f"Fault injection (seed {seed})", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("scenario", no_wrap=True)
    for column in ("weeks", "lost", "doubled", "different", "leftovers", "undetected", "seconds"):
        table.add_column(column, justify="right")
    failed = False
    for name, scenario in SCENARIOS.items():
        if only not in name:
            continue
        console.print(name, highlight=False)
        start = time.monotonic()
        try:
            with sandbox(weeks, seed, lambda note: console.print(note, style="dim", highlight=False)) as place:
                comparison = scenario(place)
            counts = [str(count) for count in vars(comparison).values()]
        except ScenarioError as error:
            console.print(str(error), style="red", highlight=False, markup=False)
            comparison, counts = None, ["failed", "", "", "", "", ""]
        failed |= comparison is None or not comparison.clean
        table.add_row(name, *counts, f"{time.monotonic() - start:.0f}")
    console.print(table)
    sys.exit(failed)


if __name__ == "__main__":
    main()
