"""Command lines and their output."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import stamina
from click.testing import CliRunner, Result

from mta_pipeline import cli
from mta_pipeline.cli import main
from mta_pipeline_tests.support.feed_server import serve_feed
from mta_pipeline_tests.support.published_files import WEEK, modern_file, modern_line
from mta_pipeline_tests.support.webhook import serve_webhook

HEAVY = ("dagster", "polars", "pandas", "pyarrow", "requests", "rich")


@pytest.fixture(autouse=True)
def work_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and an environment without any settings."""
    for variable in ("MTA_FEED", "LAKE_ROOT", "MTA_LAST_WEEK", "MTA_NOTIFY", "DAGSTER_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_command(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(main, words, env=environment)


# --- help ---


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["MTA_FEED", "LAKE_ROOT", "run ", "sample ", "summary "]),
        (["run"], ["--weeks", "FIRST...LAST", "newest 8"]),
        (["sample"], ["DIRECTORY", "--weeks", "--turnstiles", "--seed", "--compression", "none|gz|zip", "synthetic"]),
        (["summary"], ["--weeks", "required"]),
    ],
    ids=["mta-pipeline", "run", "sample", "summary"],
)
def test_help_names_every_command_option_and_variable(words, expected):
    help_text = " ".join(run_command(*words, "--help").output.split())
    assert [text for text in expected if text.strip() not in help_text] == []


@pytest.mark.slow
def test_help_imports_no_heavy_packages(processes):
    script = f"""
import sys
from mta_pipeline.cli import main
for words in ([], ["run"], ["sample"], ["summary"]):
    main([*words, "--help"], standalone_mode=False)
print(sorted(set({HEAVY}) & set(sys.modules)))
"""
    output = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert output.splitlines()[-1] == "[]"


# --- weeks ---


@pytest.mark.parametrize(
    ("weeks", "expected"),
    [
        ("tomorrow", "'tomorrow' is not a date like 2024-01-06; give weeks as FIRST or FIRST...LAST"),
        ("2024-02-30", "'2024-02-30' is not a date"),
        ("2024-01-06...soon", "'soon' is not a date"),
        ("2024-01-06..2024-01-20", "'2024-01-06..2024-01-20' is not a date"),
        ("2024-01-06...2024-01-13...2024-01-20", "'2024-01-13...2024-01-20' is not a date"),
        ("...2024-01-20", "'' is not a date"),
        ("2024-01-07", "2024-01-07 is a Sunday; weeks start on a Saturday: use 2024-01-06"),
        ("2024-01-12", "2024-01-12 is a Friday; weeks start on a Saturday: use 2024-01-06"),
        ("2024-01-06...2024-01-15", "2024-01-15 is a Monday; weeks start on a Saturday: use 2024-01-13"),
        ("2010-04-24", "2010-04-24 is before 2010-05-01, the first week with data"),
        ("2024-01-20...2024-01-06", "2024-01-20 comes after 2024-01-06"),
    ],
)
def test_invalid_weeks_are_refused_with_a_hint(weeks, expected):
    result = run_command("summary", "--weeks", weeks)
    assert result.exit_code == 2
    assert f"Error: Invalid value for '--weeks': {expected}" in result.output


@pytest.mark.parametrize(
    ("weeks", "files"),
    [
        ("2014-10-11", ["turnstile_141018.txt"]),
        ("2014-10-11...2014-10-11", ["turnstile_141018.txt"]),
        ("2014-10-04...2014-10-18", ["turnstile_141011.txt", "turnstile_141018.txt", "turnstile_141025.txt"]),
    ],
)
def test_weeks_are_one_week_or_a_range_that_includes_both_ends(work_dir, weeks, files):
    assert run_command("sample", "--weeks", weeks, "--turnstiles", "3", "feed").exit_code == 0
    assert sorted(path.name for path in (work_dir / "feed").glob("turnstile_*")) == files


# --- sample ---


def test_a_sample_does_not_replace_real_files(work_dir):
    (work_dir / "feed").mkdir()
    (work_dir / "feed" / "turnstile_141018.txt").write_bytes(b"real")
    result = run_command("sample", "feed")
    assert result.exit_code == 1
    assert "so its files may be real" in result.output
    assert (work_dir / "feed" / "turnstile_141018.txt").read_bytes() == b"real"


# --- run and summary ---


def test_without_a_feed_a_sample_is_made_run_and_shown_with_its_truth(work_dir, monkeypatch):
    monkeypatch.setattr(cli, "SAMPLE_TURNSTILES", 12)
    result = run_command("run", "--weeks", "2014-10-11")
    assert (result.exit_code, result.exception and str(result.exception)) == (0, None)
    assert f"week 2014-10-11, from the sample feed at {work_dir}/data/sample/feed" in result.output
    for table in ("turnstile_file", "turnstile_readings", "turnstile_traffic", "complex_daily"):
        assert f"{table}: week 2014-10-11 (1 of 1)" in result.output
    assert "Riders through subway turnstiles (sample)" in result.output
    assert f"Report       {work_dir}/data/sample/lake/report/index.html" in result.output
    assert "Synthetic sample data" in (work_dir / "data/sample/lake/report/index.html").read_text()
    assert (work_dir / "data/sample/lake/lake/complex_daily/week=2014-10-11/part-0.parquet").is_file()
    summary = run_command("summary", "--weeks", "2014-10-11")
    assert summary.exit_code == 0
    assert summary.output in result.output


def test_a_bad_week_is_named_at_the_end_and_in_the_exit_code(work_dir):
    (work_dir / "mirror").mkdir()
    (work_dir / "mirror" / "turnstile_240113.txt").write_bytes(modern_file(modern_line("2024-01-06 03", 1, 1)))
    (work_dir / "mirror" / "turnstile_240120.txt").write_bytes(b"")
    result = run_command("run", MTA_FEED="mirror")
    assert result.exit_code == 1
    last = result.output.strip().splitlines()[-1]
    assert re.match(r"week 2024-01-13 failed: .*/mirror/turnstile_240120.txt: the file is empty", last)
    assert "2 weeks, 2024-01-06 to 2024-01-13, from the feed at" in result.output
    assert "Not in the lake: 2024-01-13" in result.output
    assert (work_dir / f"data/real/lake/lake/complex_daily/week={WEEK}/part-0.parquet").is_file()


def test_a_week_with_a_dead_link_fails_with_its_address_and_the_other_weeks_land(work_dir):
    (work_dir / "turnstile_240113.txt").write_bytes(modern_file(modern_line("2024-01-06 03", 1, 1)))
    with serve_feed(work_dir) as server:
        links = ("data/nyct/turnstile/turnstile_240113.txt", "/bare/turnstile_240120.txt")
        server.index_page = "".join(f'<a href="{link}">a week</a>' for link in links).encode()
        result = run_command("run", "--weeks", "2024-01-06...2024-01-27", MTA_FEED=server.index_url)
        dead = f"{server.bare_url}turnstile_240120.txt"
    assert result.exit_code == 1
    assert re.findall("week ([0-9-]*) failed", result.output) == ["2024-01-13"]
    assert f"week 2024-01-13 failed: Week 2024-01-13 at {dead}: the index page " in result.output.splitlines()[-1]
    assert "skipped: Week 2024-01-20 is not published" in result.output
    assert (work_dir / f"data/real/lake/lake/complex_daily/week={WEEK}/part-0.parquet").is_file()


def test_files_that_look_like_data_and_are_not_used_are_named_once(work_dir):
    (work_dir / "mirror").mkdir()
    (work_dir / "mirror" / "[x] 240113.csv").write_bytes(b"data")
    result = run_command("run", MTA_FEED="mirror")
    assert result.exit_code == 1
    assert "No weekly files at" in result.output.splitlines()[-1]
    assert result.output.count("[x] 240113.csv") == 1
    (work_dir / "mirror" / "turnstile_240113.txt").write_bytes(modern_file(modern_line("2024-01-06 03", 1, 1)))
    for words in (["run"], ["run", "--weeks", WEEK]):
        result = run_command(*words, MTA_FEED="mirror")
        assert result.exit_code == 0
        assert result.output.count("[x] 240113.csv") == 1


def test_paths_with_markup_characters_are_printed_unchanged(work_dir):
    for folder in ("[raw] feed", "[/lake]"):
        (work_dir / folder).mkdir(parents=True)
    (work_dir / "[raw] feed" / "turnstile_240113.txt").write_bytes(b"")
    result = run_command("run", MTA_FEED="[raw] feed", LAKE_ROOT="[/lake]")
    assert result.output.count(f"{work_dir}/[raw] feed") == 2
    assert f"in the lake at {work_dir}/[/lake]" in result.output


@pytest.mark.parametrize(
    ("feed", "expected"),
    [
        ("nowhere", "there is no such directory or file"),
        (".", "No weekly files at"),
        ("nonsense://mirror", "MTA_FEED: .*nonsense:// is not known"),
        ("https://mirror.example/feed?token=secret", "MTA_FEED: .*must have a host and a path"),
        ("http://127.0.0.1:9/feed", "the connection failed"),
    ],
)
def test_an_unusable_feed_is_reported_in_one_line(feed, expected):
    with stamina.set_testing(True, attempts=1):
        result = run_command("run", MTA_FEED=feed)
    assert result.exit_code == 1
    [line] = result.output.strip().splitlines()
    assert re.match(f"Error: .*{expected}", line)
    assert "secret" not in line


def test_a_missing_feed_is_also_reported_if_weeks_are_given():
    result = run_command("run", "--weeks", WEEK, MTA_FEED="nowhere")
    assert result.exit_code == 1
    assert re.search("Error: Week 2024-01-06, feed .*nowhere: there is no such directory or file", result.output)
    assert run_command("run", "--weeks", WEEK, MTA_FEED="nonsense://mirror").output.startswith("Error: MTA_FEED: ")


def test_an_invalid_setting_is_reported_with_its_variable():
    result = run_command("run", MTA_LAST_WEEK="2024-01-07")
    assert result.exit_code == 1
    assert result.output.startswith("Error: Invalid settings: MTA_LAST_WEEK: ")


def test_a_lake_without_the_requested_weeks_is_reported():
    result = run_command("summary", "--weeks", WEEK)
    assert result.exit_code == 0
    assert "None of these weeks is in the lake at" in result.output


@pytest.fixture
def portal_at_once_interrupted(monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mta_pipeline.sample.portal.Portal.serve_forever", interrupt)


@pytest.mark.usefixtures("portal_at_once_interrupted")
def test_the_portal_of_the_sample_says_how_to_use_it():
    words = ("portal", "--port", "0", "--turnstiles", "4", "--weeks")
    hourly, feed, command = run_command(*words, "2022-12-24...2023-01-07").output.splitlines()
    url = re.search(r"MTA_SODA=(http://127\.0\.0\.1:\d+) serves the hourly ridership", hourly)[1]
    assert feed == f"MTA_FEED=soda+{url} serves their turnstile readings, from the data sets k7j9-jnct. Run:"
    assert command == f"make run MTA_FEED=soda+{url} WEEKS=2022-12-24...2022-12-24"
    assert "There are no turnstile readings of these weeks" in run_command(*words, "2024-01-06").output


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version  # noqa: PLC0415

    assert run_command("--version").output.strip().endswith(version("mta-pipeline"))


def test_a_test_message_is_sent_or_its_receiver_is_named_without_secrets(tmp_path):
    assert "MTA_NOTIFY is not set" in run_command("notify").output
    with serve_webhook() as webhook:
        assert run_command("notify", MTA_NOTIFY=webhook.url).output == "receiver 1 (json): sent\n"
        assert [message.title for message in webhook.new()] == ["mta_pipeline: test message"]
        webhook.status = 403
        refused = run_command("notify", MTA_NOTIFY=webhook.url)
        assert (refused.exit_code, refused.output) == (1, "receiver 1 (json): not sent, it answered 403\n")
    for unusable in ("nonsense://secret-word", str(tmp_path / "secret-word")):
        refused = run_command("notify", MTA_NOTIFY=unusable)
        assert refused.exit_code == 1
        assert "MTA_NOTIFY: " in refused.output
        assert "secret-word" not in refused.output
