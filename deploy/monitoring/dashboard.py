"""Generates the Grafana dashboard with Grafana's SDK: `make dashboard`."""

import sys
from typing import Final

from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row, ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef, Threshold, ThresholdsMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="prometheus")


def query(expression: str, legend: str = "", *, now: bool = False) -> Dataquery:
    built = Dataquery().expr(expression).legend_format(legend).datasource(SOURCE)
    return built.instant() if now else built


def limits(*steps: tuple[float | None, str]) -> ThresholdsConfig:
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([Threshold(value=v, color=c) for v, c in steps])


GOOD_IF_ZERO: Final = limits((None, "green"), (1, "red"))
GOOD_IF_ONE: Final = limits((None, "red"), (1, "green"))
NEUTRAL: Final = limits((None, "blue"))


def figure(
    title: str, expression: str, thresholds: ThresholdsConfig, unit: str = "none", about: str = ""
) -> stat.Panel:
    panel = stat.Panel().title(title).description(about).datasource(SOURCE).unit(unit).thresholds(thresholds)
    return panel.with_target(query(expression, now=True).ref_id("A")).height(4).span(4)


def graph(title: str, *targets: Dataquery, unit: str = "none", about: str = "") -> timeseries.Panel:
    panel = timeseries.Panel().title(title).description(about).datasource(SOURCE).unit(unit).min(0)
    for letter, target in zip("ABC", targets, strict=False):
        panel = panel.with_target(target.ref_id(letter))
    return panel.height(8).span(12)


def board() -> Dashboard:
    made = (
        Dashboard("mta_pipeline")
        .uid("mta-pipeline")
        .description("Health, throughput and data quality of mta_pipeline.")
        .tags(["mta_pipeline"])
        .refresh("1m")
        .time("now-7d", "now")
        .timezone("browser")
        .readonly()
    )
    for title, panels in ROWS.items():
        made = made.with_row(Row(title))
        for panel in panels:
            made = made.with_panel(panel)
    return made


ROWS: Final = {
    "Health": [
        figure("Daemons", "min(mta_daemon_healthy)", GOOD_IF_ONE, about="1 if all required daemons are healthy."),
        figure("Failed runs, last day", 'sum(increase(mta_runs_ended_total{status="failure"}[1d]))', GOOD_IF_ZERO),
        figure("Consecutive failed ticks", "max(mta_tick_failures_in_a_row)", GOOD_IF_ZERO),
        figure("Weeks missing or unfinished", 'sum(mta_weeks{state=~"missing|unfinished"})', GOOD_IF_ZERO),
        figure(
            "Failed checks",
            'sum(mta_check_results{result="failed"})',
            NEUTRAL,
            about="Checks and weeks with a failed latest result.",
        ),
        figure(
            "Longest wait in the queue",
            'time() - min(mta_runs_oldest_timestamp_seconds{status="queued"})',
            NEUTRAL,
            "s",
        ),
    ],
    "Throughput and cost": [
        graph("Runs in progress", query("mta_runs_under_way", "{{status}}")),
        graph(
            "Finished runs per hour",
            query("sum by (job, status) (increase(mta_runs_ended_total[1h])) > 0", "{{job}} {{status}}"),
        ),
        graph(
            "Processed weeks per hour",
            query('sum by (job) (increase(mta_run_weeks_total{status="success"}[1h]))', "{{job}}"),
        ),
        graph(
            "Run time per week",
            query(
                'sum by (job) (increase(mta_run_duration_seconds_sum{status="success"}[1d]))'
                ' / (sum by (job) (increase(mta_run_weeks_total{status="success"}[1d])) > 0)',
                "{{job}}",
            ),
            unit="s",
            about="Duration of successful runs over a day, divided by the number of weeks requested.",
        ),
        graph(
            "Run duration, 90th percentile",
            query(
                "histogram_quantile(0.9, sum by (job, le) (increase(mta_run_duration_seconds_bucket[1d])))", "{{job}}"
            ),
            unit="s",
        ),
        graph(
            "Time since the last materialization",
            query("time() - mta_table_made_timestamp_seconds", "{{table}}"),
            unit="s",
        ),
    ],
    "Newest week": [
        figure("Complete weeks", 'mta_weeks{state="complete"}', NEUTRAL),
        figure(
            "Newest complete week",
            '1000 * mta_newest_week_timestamp_seconds{state="complete"}',
            NEUTRAL,
            "dateTimeAsIso",
            about="First day of the week.",
        ),
        figure("Exits", "mta_newest_week_exits", NEUTRAL, "locale"),
        figure("Entries, without OMNY taps", "mta_newest_week_entries", NEUTRAL, "locale"),
        figure("Turnstiles", "mta_newest_week_turnstiles", NEUTRAL, "locale"),
        figure("Readings", "mta_newest_week_readings", NEUTRAL, "locale"),
    ],
    "Data quality and anomalies": [
        graph("Failed check results", query('mta_check_results{result="failed"} > 0', "{{asset}} {{check}}")),
        graph("Rejected lines of the newest week", query("mta_newest_week_rejects", "{{reason}}")),
        graph(
            "Ridership of the newest week",
            query("mta_newest_week_exits", "exits"),
            query("mta_newest_week_entries", "entries"),
        ),
        graph("Readings of the newest week", query("mta_newest_week_readings", "readings")),
    ],
    "Automation": [
        table.Panel()
        .title("Sensors and schedules")
        .datasource(SOURCE)
        .with_target(query("mta_automation_running", now=True).ref_id("A").format(PromQueryFormat.TABLE))
        .height(8)
        .span(12),
        graph(
            "Time since the last tick",
            query("time() - max by (name) (mta_tick_timestamp_seconds)", "{{name}}"),
            unit="s",
        ),
    ],
}

if __name__ == "__main__":
    sys.stdout.write(JSONEncoder(sort_keys=True, indent=2).encode(board().build()) + "\n")
