"""Command lines and their output."""

import errno
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
import stamina
from click.testing import CliRunner, Result
from dagster import JobDefinition
from sqlalchemy.exc import OperationalError

from mta_pipeline import cli
from mta_pipeline.cli import main
from mta_pipeline.cli.exit_codes import CommandError, ExitCode, markdown
from mta_pipeline.sources.errors import FeedUnavailable
from mta_pipeline.sources.turnstile_files import FilesystemFeed
from mta_pipeline.turnstile.contract import TURNSTILE_READINGS
from mta_pipeline.weeks import file_name
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.dagster.project import valid_week
from mta_pipeline_tests.support.exports import EXPORT_NAME, export, rows_of_days
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
from mta_pipeline.cli.exit_codes import ExitCode, markdown
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
    result = run_command("run", "--weeks", "2014-10-11", "--verbose")
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


def test_a_report_says_that_data_are_synthetic_wherever_the_sample_is(work_dir):
    run_command("sample", "elsewhere", "--weeks", "2014-10-11...2014-10-18", "--turnstiles", "2")
    run_command("run", "--weeks", "2014-10-11", MTA_FEED="elsewhere", LAKE_ROOT="lake")
    report = work_dir / "lake/report/index.html"
    assert "Synthetic sample data.</strong>" in report.read_text()
    (work_dir / "elsewhere/SAMPLE.txt").unlink()
    run_command("run", "--weeks", "2014-10-18", MTA_FEED="elsewhere", LAKE_ROOT="lake")
    assert "Synthetic sample data in 1 of these weeks: 2014-10-11.</strong>" in report.read_text()


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


def test_failed_checks_are_named_with_their_weeks_and_in_the_exit_code(work_dir):
    (work_dir / "mirror").mkdir()
    spoiled = {
        WEEK: valid_week(WEEK),
        "2024-01-13": valid_week("2024-01-13").replace(b"A002,", b"XX,"),
        "2024-01-20": valid_week("2024-01-20").replace(b"/2024,0", b"/2024,X", 3),
    }
    for week, contents in spoiled.items():
        (work_dir / "mirror" / file_name(week)).write_bytes(contents)
    for _ in range(2):
        result = run_command("run", MTA_FEED="mirror", DAGSTER_HOME=str(work_dir))
        assert result.exit_code == 1
        assert result.output.splitlines()[-2:] == [
            "week 2024-01-13 failed: staged/turnstile_readings, check subway_turnstiles_present: 0 of 42 readings are "
            "of subway turnstiles at known booths; divisions: BMT; unknown booths: XX R051",
            "check failed: week 2024-01-20, staged/turnstile_rejects, check reject_share_at_most: 7.1 % of 42 lines "
            "rejected: bad_timestamp 3",
        ]
        daily = work_dir / "data/real/lake/lake/complex_daily"
        assert sorted(path.name for path in daily.iterdir()) == [f"week={WEEK}", "week=2024-01-20"]


def test_a_week_with_a_dead_link_fails_with_its_address_and_the_other_weeks_land(work_dir):
    (work_dir / "turnstile_240113.txt").write_bytes(modern_file(modern_line("2024-01-06 03", 1, 1)))
    with serve_feed(work_dir) as server:
        links = ("data/nyct/turnstile/turnstile_240113.txt", "/bare/turnstile_240120.txt")
        server.index_page = "".join(f'<a href="{link}">a week</a>' for link in links).encode()
        result = run_command("run", "--weeks", "2024-01-06...2024-01-27", MTA_FEED=server.index_url)
        dead = f"{server.bare_url}turnstile_240120.txt"
    assert result.exit_code == 1
    assert re.findall("week ([0-9-]*) failed", result.output) == ["2024-01-13"]
    *_, failed, not_offered = result.output.splitlines()
    assert f"week 2024-01-13 failed: Week 2024-01-13 at {dead}: the index page " in failed
    assert not_offered.startswith("The feed does not offer 2 of these weeks: 2024-01-20...2024-01-27 (http://")
    assert (work_dir / f"data/real/lake/lake/complex_daily/week={WEEK}/part-0.parquet").is_file()


def test_a_run_says_why_weeks_are_due(work_dir, monkeypatch):
    (work_dir / "mirror").mkdir()
    (work_dir / "mirror" / "turnstile_240113.txt").write_bytes(modern_file(modern_line("2024-01-06 03", 1, 1)))
    assert "1 week is due: 1 not in the lake" in run_command("run", MTA_FEED="mirror").output
    assert "All of them are complete in the lake" in run_command("run", MTA_FEED="mirror").output
    old, new = TURNSTILE_READINGS.rules, TURNSTILE_READINGS.rules + 1
    monkeypatch.setitem(vars(TURNSTILE_READINGS), "rules", new)
    again = run_command("run", MTA_FEED="mirror")
    assert f"1 week is due: 1 made with older rules (turnstile_readings {old} -> {new})" in again.output
    assert again.exit_code == ExitCode.SUCCESS
    assert "All of them are complete in the lake" in run_command("run", MTA_FEED="mirror").output


def test_one_dead_link_alone_is_a_failed_week(work_dir):
    with serve_feed(work_dir) as server:
        server.index_page = b'<a href="data/nyct/turnstile/turnstile_240113.txt">a week</a>'
        result = run_command("run", "--weeks", WEEK, MTA_FEED=server.index_url)
    assert result.exit_code == ExitCode.PROBLEMS
    assert f"week {WEEK} failed: " in result.output.splitlines()[-1]


@pytest.mark.parametrize("options", [(), ("--again",)], ids=["", "again"])
def test_a_feed_without_any_of_the_requested_weeks_has_an_exit_code_of_its_own(work_dir, options):
    (work_dir / "mirror").mkdir()
    (work_dir / "mirror" / "turnstile_240120.txt").write_bytes(b"")
    result = run_command("run", "--weeks", f"{WEEK}...{WEEK}", *options, MTA_FEED="mirror")
    assert result.exit_code == ExitCode.NOTHING_OFFERED
    assert f"The feed offers none of these weeks: {work_dir}/mirror" in result.output


def test_a_feed_without_some_of_the_requested_weeks_is_reported_while_the_others_land(work_dir):
    (work_dir / "mirror").mkdir()
    (work_dir / "mirror" / file_name(WEEK)).write_bytes(valid_week(WEEK))
    result = run_command("run", "--weeks", f"{WEEK}...2024-01-13", MTA_FEED="mirror")
    assert result.exit_code == ExitCode.PROBLEMS
    last = f"The feed does not offer 1 of these weeks: 2024-01-13 ({work_dir}/mirror)"
    assert result.output.splitlines()[-1] == last
    assert (work_dir / f"data/real/lake/lake/complex_daily/week={WEEK}/part-0.parquet").is_file()


def test_an_index_page_that_is_none_is_unusable_input(work_dir):
    with serve_feed(work_dir) as server:
        server.index_page = b"<p>Please log in</p>"
        result = run_command("run", MTA_FEED=server.index_url)
    assert result.exit_code == ExitCode.UNUSABLE_INPUT
    assert "links to no weekly file" in result.output


def test_a_feed_that_refuses_access_is_unreachable(work_dir):
    with serve_feed(work_dir, credentials="user:word") as server:
        assert run_command("run", MTA_FEED=server.index_url).exit_code == ExitCode.UNREACHABLE


def test_a_feed_that_stops_answering_during_the_run_is_unreachable(work_dir, monkeypatch):
    def unreachable(*_: object) -> None:
        raise FeedUnavailable("the line is dead")

    (work_dir / "mirror").mkdir()
    (work_dir / "mirror" / "turnstile_240113.txt").write_bytes(modern_file(modern_line("2024-01-06 03", 1, 1)))
    monkeypatch.setattr(FilesystemFeed, "fetch", unreachable)
    result = run_command("run", MTA_FEED="mirror")
    assert "the line is dead" in result.output
    assert result.exit_code == ExitCode.UNREACHABLE


def test_a_feed_or_lake_whose_package_is_not_installed_is_a_configuration_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    for places in ({"MTA_FEED": "gs://bucket/feed"}, {"MTA_FEED": ".", "LAKE_ROOT": "gs://bucket/lake"}):
        result = run_command("run", "--weeks", WEEK, **places)
        assert "not installed" in result.output
        assert result.exit_code == ExitCode.CONFIGURATION


def test_records_that_cannot_be_read_or_written_are_unreachable(work_dir, monkeypatch):
    (work_dir / "home" / "storage").mkdir(parents=True)
    (work_dir / "home" / "history").mkdir()
    (work_dir / "home" / "history" / "runs.db").mkdir()
    (work_dir / file_name(WEEK)).touch()
    for words in (["status"], ["run", "--weeks", WEEK]):
        monkeypatch.setenv("DAGSTER_HOME", str(work_dir / "home"))
        result = run_command(*words, MTA_FEED=".")
        assert "Dagster's records in" in result.output
        assert result.exit_code == ExitCode.UNREACHABLE


@pytest.mark.parametrize(
    "error", [OperationalError("INSERT", {}, sqlite3.OperationalError("disk I/O error")), OSError(errno.ENOSPC, "full")]
)
def test_records_on_a_full_disk_are_reported_in_the_terminal_with_what_to_do(work_dir, monkeypatch, error):
    def full(*_: object, **__: object) -> NoReturn:
        os.dup2(captured, 2)
        raise error

    captured, terminal, shown = os.open(os.devnull, os.O_WRONLY), os.fstat(2), []
    (work_dir / "mirror").mkdir()
    (work_dir / "mirror" / file_name(WEEK)).touch()
    (work_dir / "home").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(work_dir / "home"))
    monkeypatch.setattr(JobDefinition, "execute_in_process", full)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=20_480))
    monkeypatch.setattr(CommandError, "show", lambda error: shown.append((error.message, os.fstat(2).st_ino)))
    run_command("run", "--weeks", WEEK, MTA_FEED="mirror")
    os.close(captured)
    ((message, output),) = shown
    assert f"Dagster's records in {work_dir / 'home'} cannot be written: the disk is full" in message
    assert "Complete weeks are kept. Make room on that disk, and launch again." in message
    assert output == terminal.st_ino


def test_the_help_and_the_documentation_have_the_same_exit_codes():
    assert markdown() in (REPOSITORY / "docs" / "operations.md").read_text()
    help_text = run_command("--help").output
    assert all(f"{code.value}  {code.meaning}" in help_text for code in ExitCode)
    assert [code.value for code in ExitCode] == [0, 1, 2, 3, 4, 5, 6, 130, 143]


def test_files_that_look_like_data_and_are_not_used_are_named_once(work_dir):
    (work_dir / "mirror").mkdir()
    (work_dir / "mirror" / "[x] 240113.csv").write_bytes(b"data")
    result = run_command("run", MTA_FEED="mirror")
    assert result.exit_code == ExitCode.NOTHING_OFFERED
    assert "No turnstile data at" in result.output.splitlines()[-1]
    assert result.output.count("[x] 240113.csv") == 1
    (work_dir / "mirror" / "turnstile_240113.txt").write_bytes(modern_file(modern_line("2024-01-06 03", 1, 1)))
    for words in (["run"], ["run", "--weeks", WEEK]):
        result = run_command(*words, MTA_FEED="mirror")
        assert result.exit_code == 0
        assert result.output.count("[x] 240113.csv") == 1


def test_an_export_is_read_with_progress_and_its_weeks_land(work_dir):
    days = [f"2019-01-{day:02}" for day in range(5, 21)]
    (work_dir / "exports").mkdir()
    (work_dir / "exports" / EXPORT_NAME).write_bytes(export(rows_of_days(*days), seed=1))
    (work_dir / "exports" / "turnstile_stations.csv").write_bytes(b"station,borough\n1,2\n")
    result = run_command("run", MTA_FEED="exports")
    assert result.exit_code == 0, result.output
    assert f"{EXPORT_NAME}: 100% read" in result.output
    assert "2 weeks, 2019-01-05 to 2019-01-12, from the feed at" in result.output
    assert "Week 2019-01-19 is not available: " in result.output
    assert result.output.count("turnstile_stations.csv: line 1 is not the header of an export") == 1
    again = run_command("run", MTA_FEED="exports")
    assert again.exit_code == 0
    assert "% read" not in again.output
    missing = run_command("run", "--weeks", "2019-01-12...2019-01-19", MTA_FEED=f"exports/{EXPORT_NAME}")
    assert missing.exit_code == 1
    assert "week 2019-01-19 failed: " in missing.output
    assert "2019-01-21, 2019-01-22, 2019-01-23" in missing.output


def test_paths_with_markup_characters_are_printed_unchanged(work_dir):
    for folder in ("[raw] feed", "[/lake]"):
        (work_dir / folder).mkdir(parents=True)
    (work_dir / "[raw] feed" / "turnstile_240113.txt").write_bytes(b"")
    result = run_command("run", MTA_FEED="[raw] feed", LAKE_ROOT="[/lake]")
    assert result.output.count(f"{work_dir}/[raw] feed") == 2
    assert f"in the lake at {work_dir}/[/lake]" in result.output


@pytest.mark.parametrize(
    ("feed", "expected", "code"),
    [
        ("nowhere", "there is no such directory or file", ExitCode.UNREACHABLE),
        (".", "No turnstile data at", ExitCode.NOTHING_OFFERED),
        ("nonsense://mirror", "MTA_FEED: .*nonsense:// is not known", ExitCode.CONFIGURATION),
        ("https://mirror.example/feed?token=secret", "MTA_FEED: .*must have a host", ExitCode.CONFIGURATION),
        ("http://127.0.0.1:9/feed", "the connection failed", ExitCode.UNREACHABLE),
    ],
)
def test_an_unusable_feed_is_reported_in_one_line(feed, expected, code):
    with stamina.set_testing(True, attempts=1):
        result = run_command("run", MTA_FEED=feed)
    assert result.exit_code == code
    [line] = result.output.strip().splitlines()
    assert re.match(f"Error: .*{expected}", line)
    assert "secret" not in line


def test_a_missing_feed_is_also_reported_if_weeks_are_given():
    result = run_command("run", "--weeks", WEEK, MTA_FEED="nowhere")
    assert result.exit_code == ExitCode.UNREACHABLE
    assert re.search("Error: Week 2024-01-06, feed .*nowhere: there is no such directory or file", result.output)
    assert run_command("run", "--weeks", WEEK, MTA_FEED="nonsense://mirror").output.startswith("Error: MTA_FEED: ")


def test_an_invalid_setting_is_reported_with_its_variable():
    result = run_command("run", MTA_LAST_WEEK="2024-01-07")
    assert result.exit_code == ExitCode.CONFIGURATION
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


@pytest.mark.parametrize("command", ["metrics", "portal"])
@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_does_not_exist_is_refused(command, port):
    result = run_command(command, "--port", port)
    assert result.exit_code == ExitCode.USAGE
    assert "Invalid value for '--port'" in result.output


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version  # noqa: PLC0415

    assert run_command("--version").output.strip().endswith(version("mta-pipeline"))


def test_a_test_message_is_sent_or_its_receiver_is_named_without_secrets(tmp_path):
    not_set = run_command("notify")
    assert "MTA_NOTIFY is not set" in not_set.output
    assert not_set.exit_code == ExitCode.CONFIGURATION
    with serve_webhook() as webhook:
        assert run_command("notify", MTA_NOTIFY=webhook.url).output == "receiver 1 (json): sent\n"
        assert [message.title for message in webhook.new()] == ["mta_pipeline: test message"]
        webhook.status = 403
        refused = run_command("notify", MTA_NOTIFY=webhook.url)
        assert (refused.exit_code, refused.output) == (1, "receiver 1 (json): not sent, it answered 403\n")
    for unusable in ("nonsense://secret-word", str(tmp_path / "secret-word")):
        refused = run_command("notify", MTA_NOTIFY=unusable)
        assert refused.exit_code == ExitCode.CONFIGURATION
        assert "MTA_NOTIFY: " in refused.output
        assert "secret-word" not in refused.output


# --- pending versions ---


@pytest.mark.slow
def test_a_truncated_republished_week_is_reported_until_it_is_accepted(many_runs, work_dir):
    (work_dir / "mirror").mkdir()
    file = work_dir / "mirror" / file_name(WEEK)
    file.write_bytes(valid_week(WEEK))
    with serve_feed(work_dir / "mirror") as server:
        settings = {"MTA_FEED": server.index_url, "DAGSTER_HOME": str(work_dir)}
        assert run_command("run", **settings).exit_code == 0
        tables = table_files(work_dir)
        file.write_bytes(valid_week(WEEK)[:3_000])
        assert run_command("run", **settings).exit_code == 1
        requests = len(server.requests)
        result = run_command("run", **settings)
        assert not [r for r in server.requests[requests:] if r.method == "GET" and r.path.endswith(file.name)]
        assert result.exit_code == 1
        assert result.output.splitlines()[-1].startswith(
            f"check failed: raw/turnstile_file, check no_version_pending: week {WEEK}: the feed offers another version"
        )
        assert "it has only 22 readings and the current one 42" in result.output
        assert f"mta-pipeline accept {WEEK}" in result.output
        assert table_files(work_dir) == tables
        assert run_command("accept", WEEK, **settings).exit_code == 0
        assert run_command("run", **settings).exit_code == 0
        assert table_files(work_dir) != tables
    result = run_command("accept", WEEK, **settings)
    assert result.exit_code == 1
    assert "no version is pending" in result.output


def table_files(work_dir: Path) -> dict[str, bytes]:
    lake = work_dir / "data" / "real" / "lake"
    return {str(path): path.read_bytes() for layer in ("staged", "lake") for path in lake.glob(f"{layer}/*/week=*/*")}
