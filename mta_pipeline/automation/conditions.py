"""When an asset is due: automation conditions, each clause argued. Sensors and schedules do not belong here."""

import dagster as dg


def follows_its_inputs() -> dg.AutomationCondition[dg.AssetKey]:
    """Due when an input changed or the week is missing, whichever week of the calendar it is.

    - `eager` asks for a week whose input was renewed, or that is missing while all its inputs are there; it waits for
      inputs that are missing or in progress, and asks once, not at every tick.
    - `without in_latest_time_window`: eager looks at the newest week only, but files come late, are published again,
      and fourteen years of them are loaded after the fact.
    """
    return dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window())


def once_its_inputs_are_done() -> dg.AutomationCondition[dg.AssetKey]:
    """Due, for a table without weeks, when weeks of its inputs changed and no more of them are under way.

    - `eager` asks when any week of an input was renewed, and waits while any is in progress or about to be: one run
      after a backfill, not one per week.
    - `without any_deps_missing`: weeks that were never published are missing for good.
    """
    return dg.AutomationCondition.eager().without(~dg.AutomationCondition.any_deps_missing())
