"""Takes the pictures in docs/images: the end of `make run`, and pages of the Dagster UI, in headless Chromium.

`python -m mta_pipeline_tests.support.screenshots [DIRECTORY]` writes them to docs/images or another directory.
"""

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image, ImageChops
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.text import Text

from mta_pipeline.orchestration.automation.sensors import AUTOMATION_SENSOR, SENSOR
from mta_pipeline.orchestration.keys import WEEKLY_KEYS
from mta_pipeline.settings import SAMPLE_FEED, SAMPLE_LAKE, SAMPLE_WEEKS
from mta_pipeline.weeks import weeks_between
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.containers.deployment import free_port
from mta_pipeline_tests.fault_injection.sandbox import wait_until
from mta_pipeline_tests.support.browser import FLAGS
from mta_pipeline_tests.support.webserver import Webserver

SIZE: Final = {"width": 1400, "height": 1160}
_COLOURS: Final = 96
_SAME: Final = 4
"""Number of equal pictures in a row. The UI polls the status of assets every two seconds."""
_PIXELS_OF_A_COUNTDOWN: Final = 1_000
_TIMEOUT: Final = 60_000
"""Milliseconds to wait for a text on a page."""


class Shot(NamedTuple):
    """A page of the UI."""

    name: str
    path: str
    texts: Sequence[str]
    """Texts that the page shows when it is complete."""


def shots(backfill: str) -> Sequence[Shot]:
    """The pages, given the id of a backfill that has ended."""
    newest = SAMPLE_WEEKS[-1]
    return (
        Shot(
            "lineage",
            "/assets/lake/turnstile_traffic?view=lineage&lineageScope=neighbors&lineageDepth=3",
            ("complex_daily", "ridership_report"),
        ),
        Shot("asset", "/assets/lake/complex_daily?view=overview", ("sample_rows", "Source code")),
        Shot("partitions", f"/assets/lake/complex_daily?view=partitions&partition={newest}", ("sample_rows",)),
        Shot(
            "check",
            "/assets/staged/turnstile_readings?view=checks&checkDetail=enough_readings",
            ("at least 0.6", "least_readings", "Plots"),
        ),
        Shot("backfill", f"/runs/b/{backfill}?tab=overview", ("complex_daily", "Completed")),
        Shot("runs", "/runs", ("weekly_ridership", "marts")),
        Shot("automation", "/automation", (SENSOR, AUTOMATION_SENSOR)),
    )


def take(deployment: "Deployment", executable: str, directory: Path) -> None:
    """Write a picture of the output of the terminal, and of each page of the UI."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        try:
            page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
            page.set_default_timeout(_TIMEOUT)
            page.set_content(_as_terminal(deployment.output))
            (directory / "make-run.png").write_bytes(_small(page.locator("svg").screenshot()))
            for shot in shots(deployment.backfill):
                page.goto(f"{deployment.address}{shot.path}")
                for text in shot.texts:
                    page.get_by_text(text).locator("visible=true").first.wait_for()
                page.wait_for_load_state("networkidle")
                _wait_until_still(page)
                (directory / f"{shot.name}.png").write_bytes(_small(page.screenshot()))
        finally:
            browser.close()


def _wait_until_still(page: Page) -> None:
    """Wait until several pictures in a row are the same but for a countdown: nothing is loading or moving any more."""
    pictures: list[Image.Image] = []

    def is_still() -> bool:
        pictures.append(Image.open(io.BytesIO(page.screenshot())).convert("L"))
        newest = pictures[-_SAME:]
        changed = [ImageChops.difference(newest[0], picture).point(bool).histogram()[1] for picture in newest]
        return len(newest) == _SAME and max(changed) < _PIXELS_OF_A_COUNTDOWN

    wait_until(is_still, "a still page", every=1.0)


def _small(png: bytes) -> bytes:
    packed = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(
        packed, "PNG", optimize=True
    )
    return packed.getvalue()


def _as_terminal(output: str) -> str:
    """Draw what a terminal of 96 columns shows from the first table on, as SVG."""
    shown = "\x1b[1m" + output[output.index("Readings, turnstiles") :]
    console = Console(record=True, width=96, file=io.StringIO())
    console.print("[bold]$ make run[/bold]\n")
    console.print(Text.from_ansi(shown))
    return console.export_svg(title="mta_pipeline")


class Deployment(NamedTuple):
    """A sample that was processed in the terminal, and the UI on it."""

    output: str
    """What the terminal showed."""
    address: str
    backfill: str
    """The id of a backfill that has ended."""


@contextmanager
def deployment_with_sample(folder: Path) -> Iterator[Deployment]:
    """Process a sample in a folder, and open the UI on it. Two sensors are on and have ticked."""
    for name in ("Makefile", "dagster.yaml", "mta_pipeline"):  # by which a command knows the project's folder
        (folder / name).symlink_to(REPOSITORY / name)
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix, "PYTHONPATH": str(REPOSITORY)}
    terminal = {**environment, "COLUMNS": "96", "FORCE_COLOR": "1"}
    command = (sys.executable, "-c", "from mta_pipeline.cli import main; main()", "run")
    run = subprocess.run(command, cwd=folder, env=terminal, check=True, stdout=subprocess.PIPE, text=True)
    address = f"http://127.0.0.1:{free_port()}"
    places = {"MTA_FEED": SAMPLE_FEED, "LAKE_ROOT": SAMPLE_LAKE, "DAGSTER_HOME": SAMPLE_FEED.with_name("dagster")}
    places = {name: str(folder / place) for name, place in places.items()}
    dev = subprocess.Popen(
        [sys.executable, "-m", "mta_pipeline.cli.dev"],
        cwd=REPOSITORY,
        env={**environment, **places, "MTA_UI": address},
        start_new_session=True,
    )
    try:
        server = Webserver(address)
        wait_until(server.is_up, "the UI")
        backfill = server.backfill(WEEKLY_KEYS[1:], weeks_between(*SAMPLE_WEEKS)[1:])
        wait_until(lambda: server.backfill_status(backfill) == "COMPLETED_SUCCESS", "the backfill")
        for sensor in (SENSOR, AUTOMATION_SENSOR):
            server.start_sensor(sensor)
        yield Deployment(run.stdout.replace(f"{folder}/", ""), address, backfill)
    finally:
        os.killpg(dev.pid, signal.SIGINT)
        dev.wait()


if __name__ == "__main__":
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else REPOSITORY / "docs" / "images")
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        sys.exit("No Chromium on the PATH. Install the package chromium.")
    with tempfile.TemporaryDirectory(prefix="mta-") as folder, deployment_with_sample(Path(folder)) as deployment:
        take(deployment, browser, directory)
