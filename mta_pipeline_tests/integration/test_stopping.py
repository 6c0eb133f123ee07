"""Ctrl-C and SIGTERM stop a command with one message, and a second one kills it."""

import signal
import subprocess
import sys
import textwrap

import pytest

from mta_pipeline.cli.exit_codes import ExitCode
from mta_pipeline.weeks import file_name
from mta_pipeline_tests.fault_injection.sandbox import sandbox, wait_until
from mta_pipeline_tests.support.feed_server import Fault, FeedServer, ReceivedRequest, serve_feed

SIGNALS = {
    "Ctrl-C": (signal.SIGINT, ExitCode.INTERRUPTED),
    "SIGTERM": (signal.SIGTERM, ExitCode.TERMINATED),
}

# Like Dagster between two steps, the command does not react to the signal.
DEAF_COMMAND = """
    import os, signal, sys, time
    import click
    from mta_pipeline.cli import stopping

    @click.group(cls=stopping.StoppableGroup)
    def main():
        pass

    @main.command()
    def wait():
        for number in (signal.SIGINT, signal.SIGTERM):
            # Not print, which cannot be called again while it prints.
            signal.signal(number, lambda *_: os.write(1, b"arrived\\n"))
        stopping.STOP.advice = lambda: "Advice."
        print("ready", flush=True)
        while True:
            time.sleep(0.01)

    stopping._GRACE = float(sys.argv.pop())
    main()
"""


def deaf_command(grace: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(DEAF_COMMAND), "wait", str(grace)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def is_fetch(request: ReceivedRequest, week: str) -> bool:
    return request.method == "GET" and request.path.endswith(file_name(week))


def hang_when_fetched(server: FeedServer, week: str) -> None:
    """Let the feed answer everything but the request for the contents of a week."""
    server.take_fault = lambda _: Fault(hang=1_000) if is_fetch(server.requests[-1], week) else None  # type: ignore[method-assign]


@pytest.mark.slow
def test_a_stopped_run_says_once_what_is_complete_and_the_same_command_continues(processes):
    with sandbox(2, seed=0) as place, serve_feed(place.sample()) as server:
        site = place.site(feed=server.index_url, weeks=place.weeks[:1])
        site.run()
        site.weeks = place.weeks
        hang_when_fetched(server, place.weeks[1])
        for name, (number, code) in SIGNALS.items():
            server.requests.clear()
            run = site.start_run()
            wait_until(lambda: any(is_fetch(request, place.weeks[1]) for request in server.requests), "the request")
            before = len(site.log())
            run.send_signal(number)
            site.expect_exit(run, code)
            assert site.log()[before:].strip().splitlines() == [
                f"Stopped by {name}. 1 of 2 weeks are complete in the lake. The same command continues with the others."
            ]
        del server.take_fault
        site.run()
        assert site.files() == site.expected_files


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNALS)
def test_a_second_signal_kills_a_command_that_does_not_react(processes, name):
    number, code = SIGNALS[name]
    with deaf_command(grace=1_000) as process:
        for line in ("ready\n", "arrived\n"):
            assert process.stdout.readline() == line
            process.send_signal(number)
        assert process.wait() == code
        assert process.stderr.read() == ""


@pytest.mark.slow
def test_a_command_that_does_not_react_is_ended_with_the_message(processes):
    with deaf_command(grace=0.1) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == ExitCode.TERMINATED
        assert process.stderr.read() == "Stopped by SIGTERM. Advice.\n"
