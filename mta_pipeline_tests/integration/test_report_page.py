"""The report works in a real browser on a phone and on a desktop, loads nothing else, and responds to interaction."""

import pytest
from playwright.sync_api import expect

from mta_pipeline.turnstile.contract import STATION_COMPLEXES
from mta_pipeline_tests.support.browser import DESKTOP, PHONE, open_page
from mta_pipeline_tests.support.small_lake import STATIONS, SmallLake, interval
from mta_pipeline_tests.unit.test_report import FIRST, HOSTILE, SECOND, days, rendered

pytestmark = pytest.mark.slow

FOURTH = "2024-01-27"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A report with everything it can show: two weeks, a gap, a week after the gap, and hostile names."""
    root = tmp_path_factory.mktemp("report")
    lake = SmallLake(root / "lake")
    lake.put(STATION_COMPLEXES, STATIONS.with_columns(name=STATIONS["name"] + HOSTILE))
    lake.week(FIRST, *days(FIRST), interval("2024-01-09 08", "2024-01-09 09", 300, 700, scp="1"))
    for week in (SECOND, FOURTH):
        lake.week(week, *days(week, 1_500), *days(week, 400, complex_id=143, unit="R173"))
    file = root / "index.html"
    file.write_text(rendered(lake).html)
    return file


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_report_opens_completely_loads_nothing_else_and_runs_no_code_from_names(page_file, chromium, size):
    with open_page(chromium, page_file, size) as (page, problems):
        narrow = size == PHONE
        shown = page.locator(".chart svg").locator("visible=true")
        assert shown.count() == 6
        assert page.locator(".narrow svg").first.is_visible() == narrow
        assert not page.locator("img").count()
        assert page.locator("#busiest span").first.inner_text() == f"Lexington Av/59 St{HOSTILE}"
    assert problems == []


def test_the_controls_show_another_hour_and_register(page_file, chromium):
    with open_page(chromium, page_file, DESKTOP) as (page, problems):
        assert page.locator("#now").inner_text() == "Exits, on an average Tuesday, 8:00 to 9:00"
        circle = page.locator(".map .wide .places_marks path").last
        before = circle.get_attribute("d")
        page.locator("#clock [name=hour]").fill("20")
        page.locator("#clock [value=entries]").check()
        assert page.locator("#now").inner_text() == "Entries, without OMNY taps, on an average Tuesday, 20:00 to 21:00"
        assert circle.get_attribute("d") != before
        [most, *_] = page.locator("#busiest b").all_inner_texts()
        assert most == str(round((500 + 750 + 750) / 3 / 24))
        page.locator("#clock [name=play]").click()
        expect(page.locator("#now")).to_contain_text("21:00 to 22:00")
    assert problems == []


def test_a_tooltip_describes_the_element_under_the_pointer(page_file, chromium):
    with open_page(chromium, page_file, PHONE) as (page, problems):
        hour = page.locator(".narrow path[aria-label^='Sunday 23:00']").first
        hour.scroll_into_view_if_needed()
        page.wait_for_timeout(100)  # a tooltip disappears when the page scrolls
        hour.hover()
        assert (
            page.locator("#tip").inner_text() == "Sunday 23:00 to 24:00: 67 exits"
        )  # (1,000 + 2 × 1,900) ÷ 3 days ÷ 24
    assert problems == []


@pytest.mark.parametrize(
    ("chart", "across", "text"),
    [
        (0, 0.5 / 28, "Sat 6 Jan 2024: 1,000 exits; 500 entries, without OMNY taps"),
        (0, 3.5 / 28, "Tue 9 Jan 2024"),
        (0, 15 / 28, "20 Jan 2024 to 26 Jan 2024: not in the lake"),
        (-1, 3.5 / 28, "week of 6 Jan 2024: coverage"),
    ],
)
def test_pointing_anywhere_above_a_day_or_week_tells_its_figures(page_file, chromium, chart, across, text):
    with open_page(chromium, page_file, DESKTOP) as (page, problems):
        drawn = page.locator(".chart.wide").nth(chart).locator(".background").first
        drawn.scroll_into_view_if_needed()
        page.wait_for_timeout(100)  # a tooltip disappears when the page scrolls
        area = drawn.bounding_box()
        for down in (0.2, 0.5, 0.8):
            page.mouse.move(area["x"] + area["width"] * across, area["y"] + area["height"] * down)
            assert page.locator("#tip").inner_text().startswith(text)
    assert problems == []


def test_the_page_is_complete_without_scripts(page_file, chromium, tmp_path):
    bare = tmp_path / "bare.html"
    bare.write_text(page_file.read_text().replace("<script>", "<template>"))
    with open_page(chromium, bare, PHONE) as (page, _):
        assert page.locator("#busiest li").count() == 2
        assert page.locator("#now").inner_text() == "Exits, on an average Tuesday, 8:00 to 9:00"
        assert not page.locator("#clock").is_visible()
