"""Automation conditions: when an asset or a check is due, with the reason for each clause.

Dagster evaluates them at every tick, for all weeks of an asset at once.
"""

from typing import Any

import dagster as dg

from mta_pipeline.weeks import NEW_YORK

Condition = dg.AutomationCondition


def follows_its_inputs(*, can_do_without: dg.AssetSelection | None = None) -> dg.AutomationCondition[Any]:
    """For a table with weeks: a week is due when one of its inputs was updated, in any week of the calendar.

    It is Dagster's `eager` with changes:

    - `any_deps_match(newly_updated)`: a week is due when one of its inputs was updated.
    - `since newly_updated`: it is not due if the table was materialized after the update. `eager` compares ticks only,
      and misses an input that was updated between two ticks, just after the table.
    - `since newly_requested`: it is not due if it was requested after the update, even if that run failed. Otherwise a
      persistent failure would cause failing runs forever. The weekly schedule or a user retries a failed week.
    - `any_deps_match(will_be_requested)`: a table is materialized in the same run as its inputs.
    - `missing & newly_missing`: a missing week is due. New weeks of the calendar become missing, and at the first tick
      all missing weeks do. Weeks that landed before automation was turned on are therefore processed. A week that
      another run materialized meanwhile is no longer missing.
    - no `in_latest_time_window`, unlike `eager`: files arrive late, are published again, and years of them are
      backfilled.
    - `not any_deps_missing`, except for `can_do_without`: a week waits for its inputs. Traffic does not wait for the
      readings of the week before, which may never be published. If they arrive, traffic is rebuilt.
    - `not any_deps_in_progress`: the week would read input that is about to be replaced, and be due again at once.
    - `not in_progress`: two runs over the same week at once are useless.
    - no failed blocking check on an input, unlike `eager`: a week whose lines do not add up must not become ridership
      in a later run either. A check that never ran does not count as failed. Otherwise weeks from before the check
      existed, or that were found complete in the lake, would never be rebuilt.

    Args:
        can_do_without: inputs that may be missing.
    """
    missing = Condition.any_deps_missing()
    return (
        _updated_input()
        & ~(missing if can_do_without is None else missing.ignore(can_do_without))
        & _nothing_in_progress()
        & ~Condition.any_deps_match(Condition.any_checks_match(Condition.check_failed(), blocking_only=True))
    )


def once_its_inputs_are_done(*, can_do_without: dg.AssetSelection | None = None) -> dg.AutomationCondition[Any]:
    """For a table without weeks: due when inputs were updated and no week of an input is in progress.

    - an updated input since the last request, as in `follows_its_inputs`. Any week of an input counts.
    - `not any_deps_in_progress`: a backfill leads to one run at its end, not to one run per week.
    - `all_deps_match(not missing)`: each input has at least one week, except for `can_do_without`. `any_deps_missing`
      does not fit, because weeks that were never published stay missing.

    Args:
        can_do_without: inputs that may have no data at all.
    """
    has_inputs = Condition.all_deps_match(~Condition.missing())
    if can_do_without is not None:
        has_inputs = has_inputs.ignore(can_do_without)
    return _updated_input() & _nothing_in_progress() & has_inputs


def when_missing() -> dg.AutomationCondition[Any]:
    """For a table that comes with the project: due while it is missing. It is requested only once."""
    return _is_missing() & ~Condition.in_progress()


def _updated_input() -> dg.AutomationCondition[Any]:
    # Each `since` gets a plain condition: of two events between the same ticks, it then uses the later one.
    updated = Condition.any_deps_match(Condition.newly_updated())
    outdated = updated.since(Condition.newly_updated()) & updated.since(Condition.newly_requested())
    return _is_missing() | outdated | Condition.any_deps_match(Condition.will_be_requested())


def _is_missing() -> dg.AutomationCondition[Any]:
    return Condition.missing() & Condition.newly_missing().since(Condition.newly_requested())


def _nothing_in_progress() -> dg.AutomationCondition[Any]:
    return ~Condition.any_deps_in_progress() & ~Condition.in_progress()


def daily() -> dg.AutomationCondition[Any]:
    """For a standing check that reads much: at 04:00 in New York. See `several_times_a_day`."""
    return Condition.cron_tick_passed("0 4 * * *", NEW_YORK) & ~Condition.in_progress()


def several_times_a_day() -> dg.AutomationCondition[Any]:
    """For a standing check, whose result changes with time alone: at 03:00, 09:00, 15:00 and 21:00 in New York.

    - `not in_progress`: a slow check must not be requested twice.
    """
    return Condition.cron_tick_passed("0 3,9,15,21 * * *", NEW_YORK) & ~Condition.in_progress()
