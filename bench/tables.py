"""Generates the tables of bench/README.md from latest.json."""

import statistics
from collections.abc import Iterable

SIDES = {
    "pipeline": "the pipeline, one run",
    "traced": "the same, with traces sent to a collector",
    "functions": "the same functions, without Dagster and checks",
    "floor": "baseline: Polars, readings and traffic",
    "duckdb": "DuckDB SQL, readings and traffic",
    "pandas": "pandas, readings and traffic",
}


def tables(results: dict) -> Iterable[str]:
    """The lines of README.md between its markers, from the contents of latest.json."""
    costs, weeks = results["costs"], results["weeks"]

    def median(name: str, figure: str) -> float:
        return statistics.median(cost[figure] for cost in costs[name])

    def spread(name: str, figure: str) -> str:
        found = [cost[figure] for cost in costs[name]]
        return f"{statistics.median(found):.1f} ({min(found):.1f}–{max(found):.1f})"

    def written(name: str) -> str:
        megabytes, events = median(name, "written") / 1e6, median(name, "events")
        return f"{median(name, 'peak'):.0f} | {megabytes:.0f} | {events:.0f}"

    machine, packages = results["machine"], results["packages"]
    yield ", ".join(
        (
            f"{results['date'].replace('T', ' ')[:16]} UTC",
            f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB",
            f"{machine['system']}, Python {machine['python']}",
            *(f"{name} {version}" for name, version in packages.items()),
        )
    )
    yield (
        f"Load average before: {results['load_before']}. {results['turnstiles']:,} turnstiles, files as .gz. "
        f"Rounds: {len(costs['pipeline'])}. Values: median (minimum–maximum)."
    )
    yield ""
    yield f"| {weeks['sides']} weeks | CPU s | ÷ baseline | wall s | peak MB | MB written | events |"
    yield "| --- | --: | --: | --: | --: | --: | --: |"
    floor = median("floor", "processor")
    for side, title in SIDES.items():
        yield (
            f"| {title} | {spread(side, 'processor')} | {median(side, 'processor') / floor:.2f} "
            f"| {spread(side, 'wall')} | {written(side)} |"
        )
    yield ""
    yield "| other runs of the pipeline | weeks | CPU s | CPU s per week | wall s | peak MB | MB written | events |"
    yield "| --- | --: | --: | --: | --: | --: | --: | --: |"
    others = {
        "one run, 12 turnstiles": ("pipeline, few turnstiles", weeks["sides"]),
        "one run": ("pipeline, few weeks", weeks["few"]),
        "one run and process per week": ("pipeline, a run per week", weeks["few"]),
        "one run, legacy layout": ("pipeline, legacy weeks", weeks["legacy"]),
        "one run, all weeks": ("pipeline, all weeks", weeks["all"]),
    }
    for title, (name, number) in others.items():
        if name in costs:
            yield (
                f"| {title} | {number} | {spread(name, 'processor')} | {median(name, 'processor') / number:.2f} "
                f"| {spread(name, 'wall')} | {written(name)} |"
            )
    yield ""
    published = results["bytes"]["published"]
    of_tables = {table: size for table, size in results["bytes"].items() if table != "published"}
    yield "| table | MB | share of published bytes |"
    yield "| --- | --: | --: |"
    for table, size in {**of_tables, "all layers": sum(of_tables.values())}.items():
        yield f"| {table} | {size / 1e6:.1f} | {size / published:.2%} |"
    yield ""
    yield from _goals(results)


def _goals(results: dict) -> Iterable[str]:
    """The goals with the measured values."""
    costs, weeks = results["costs"], results["weeks"]
    published = results["bytes"]["published"]
    in_lake = sum(size for table, size in results["bytes"].items() if table != "published")

    def median(name: str, figure: str) -> float:
        return statistics.median(cost[figure] for cost in costs[name])

    yield "| figure | goal | measured | result |"
    yield "| --- | --- | --- | --- |"

    def goal_row(figure: str, goal: str, measured: str, met: bool) -> str:
        return f"| {figure} | {goal} | {measured} | {'met' if met else '**missed**'} |"

    ours, floor = (median(side, "processor") for side in ("pipeline", "floor"))
    yield goal_row(
        "CPU seconds ÷ CPU seconds of the baseline",
        "at most 2.5 times",
        f"{ours / floor:.2f} times",
        ours <= 2.5 * floor,
    )
    pandas = median("pandas", "processor")
    yield goal_row(
        "CPU seconds compared with pandas", "10 times faster", f"{pandas / ours:.1f} times as fast", pandas >= 10 * ours
    )
    share = median("pipeline, few turnstiles", "processor") / ours
    yield goal_row(
        "share of Dagster (the same run over weeks with 12 turnstiles)", "under 25 %", f"{share:.0%}", share < 0.25
    )
    share = median("traced", "processor") / ours - 1
    yield goal_row("overhead of traces", "under 3 %", f"{share:.1%}", share < 0.03)
    base, built = (
        median(f"import {name}", "processor") for name in ("dagster, polars", "mta_pipeline.definitions, built")
    )
    yield goal_row(
        "import and build of the definitions",
        "at most 1.5 times `import dagster, polars`",
        f"{built:.2f} s, {built / base:.2f} times",
        built <= 1.5 * base,
    )
    share = in_lake / published
    yield goal_row("bytes in the lake ÷ published bytes", "under 12 %", f"{share:.1%}", share < 0.12)
    if weeks["all"]:
        wall, peak = median("pipeline, all weeks", "wall"), median("pipeline, all weeks", "peak")
        yield goal_row(
            f"{weeks['all']} weeks in one run",
            "under 10 minutes and 2 GiB",
            f"{wall / 60:.1f} minutes, {peak / 1024:.2f} GiB",
            wall < 600 and peak < 2048,
        )
        few = median("pipeline, few weeks", "peak")
        yield goal_row(
            f"peak memory for {weeks['all']} weeks ÷ that for {weeks['few']} weeks",
            "at most 1.5 times",
            f"{peak / few:.2f} times",
            peak <= 1.5 * few,
        )
        modern = results["modern_of_all"]
        each = {
            "modern": ours / weeks["sides"],
            "legacy": median("pipeline, legacy weeks", "processor") / weeks["legacy"],
        }
        expected = modern * each["modern"] + (weeks["all"] - modern) * each["legacy"]
        growth = median("pipeline, all weeks", "processor") / expected
        yield goal_row(
            f"growth of CPU seconds from {weeks['sides']} to {weeks['all']} weeks, weighted by layout",
            "linear within 15 %",
            f"{growth:.2f} of linear",
            abs(growth - 1) <= 0.15,
        )
    yield ""
