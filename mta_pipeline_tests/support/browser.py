"""A page in a real Chromium, as on a phone and on a desk, and what is wrong with it there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

PHONE, DESK = (390, 844), (1280, 900)
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def opened(executable: str, file: Path, size: tuple[int, int]) -> Iterator[tuple[Page, list[str]]]:
    """The file open in a browser's window of that size, and a list that gets what a page should not do.

    That is: errors and warnings on its console, requests for anything but itself, dialogs, and to be wider than the
    window.
    """
    faults: list[str] = []
    width, height = size
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.on("console", lambda said: faults.append(f"console: {said.text}"))
            page.on("pageerror", lambda error: faults.append(f"error: {error}"))
            page.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
            address = file.as_uri()
            page.on("request", lambda asked: asked.url in {address, "data:,"} or faults.append(f"asked: {asked.url}"))
            page.goto(address)
            if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
                faults.append(f"{wide} pixels wide in a window of {width}")
            yield page, faults
        finally:
            browser.close()
