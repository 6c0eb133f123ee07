"""Opens a page in a real Chromium, in the size of a phone or a desktop, and collects its problems."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

PHONE, DESKTOP = (390, 844), (1280, 900)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def open_page(executable: str, file: Path, size: tuple[int, int]) -> Iterator[tuple[Page, list[str]]]:
    """Open the file in a browser window of that size. Yields the page and a list that receives its problems.

    Problems are errors and warnings on the console, requests for anything but the page itself, dialogs, and a page that
    is wider than the window.
    """
    problems: list[str] = []
    width, height = size
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.on("console", lambda message: problems.append(f"console: {message.text}"))
            page.on("pageerror", lambda error: problems.append(f"error: {error}"))
            page.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
            address = file.as_uri()
            page.on("request", lambda sent: sent.url in {address, "data:,"} or problems.append(f"request: {sent.url}"))
            page.goto(address)
            if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
                problems.append(f"{wide} pixels wide in a window of {width}")
            yield page, problems
        finally:
            browser.close()
