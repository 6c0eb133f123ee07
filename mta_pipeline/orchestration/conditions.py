"""When an asset or a check is due: automation conditions, each clause argued. Sensors and schedules are elsewhere.

They are asked at every tick, for each asset and for all of its weeks at once.
"""

from typing import Any

import dagster as dg

from mta_pipeline.weeks import NEW_YORK

Condition = dg.AutomationCondition


def follows_its_inputs(*, can_do_without: dg.AssetSelection | None = None) -> dg.AutomationCondition[Any]:
    """For a table with weeks: due for whichever weeks of the calendar have an input that was renewed.

    It is Dagster's `eager` with changes, clause by clause:

    - `any_deps_match(newly_updated)`: a week is due when one of its inputs was renewed,
    - `since newly_updated`: unless the table was made after that. Eager leaves this to the tick, and forgets an input
      that was renewed between two ticks, just after the table was made,
    - `since newly_requested`: and unless it was asked for after that, even if the run failed: a fault that stays would
      fail runs for ever. A failed week is taken up by the schedule's next sweep, or by hand.
    - `any_deps_match(will_be_requested)`: a table and its inputs are made in one run.
    - `missing & newly_missing`: so is one that is not there; new weeks of the calendar become missing, and at the very
      first tick all that are missing do: whoever turns the automation on after weeks have landed gets what hangs on
      them. One that another run has made meanwhile is missing no more.
    - no `in_latest_time_window`, which eager has: files come late, are published again, and fourteen years of them are
      loaded after the fact.
    - `not any_deps_missing`, but for those it `can_do_without`: a week waits for its inputs. Traffic can do without
      readings of the week before, which may never have been published; when they come, it is renewed.
    - `not any_deps_in_progress`: it would read what is about to be replaced, and be due again at once.
    - `not in_progress`: two runs over the same week at once help nobody.
    - no failed blocking check on an input, which eager does not ask: a week whose lines do not add up must not become
      ridership in another run either. A check that never ran does not count: weeks from before it was written, or that
      were found complete in a lake, would never be renewed.

    Args:
        can_do_without: inputs that may be missing.
    """
    missing = Condition.any_deps_missing()
    return (
        _renewed_input()
        & ~(missing if can_do_without is None else missing.ignore(can_do_without))
        & _nothing_in_progress()
        & ~Condition.any_deps_match(Condition.any_checks_match(Condition.check_failed(), blocking_only=True))
    )


def once_its_inputs_are_done(*, can_do_without: dg.AssetSelection | None = None) -> dg.AutomationCondition[Any]:
    """For a table without weeks: due when weeks of its inputs were renewed and no more of them are under way.

    - a renewed input, since the table was last asked for: as above; any week of an input counts.
    - `not any_deps_in_progress`: not while any week of an input is in a run: one run after a backfill, not one a week.
    - `all_deps_match(not missing)`: each input has something, be it one week, but for those it `can_do_without`. Not
      `any_deps_missing`: weeks that were never published are missing for good.

    Args:
        can_do_without: inputs of which there may be nothing at all.
    """
    something = Condition.all_deps_match(~Condition.missing())
    if can_do_without is not None:
        something = something.ignore(can_do_without)
    return _renewed_input() & _nothing_in_progress() & something


def when_missing() -> dg.AutomationCondition[Any]:
    """For a table that is made from nothing but the project itself: due while there is none, asked for once."""
    return _is_missing() & ~Condition.in_progress()


def _renewed_input() -> dg.AutomationCondition[Any]:
    # Bare, for `since` to know the moments: of what happened between two ticks it takes the later one.
    renewed = Condition.any_deps_match(Condition.newly_updated())
    unanswered = renewed.since(Condition.newly_updated()) & renewed.since(Condition.newly_requested())
    return _is_missing() | unanswered | Condition.any_deps_match(Condition.will_be_requested())


def _is_missing() -> dg.AutomationCondition[Any]:
    return Condition.missing() & Condition.newly_missing().since(Condition.newly_requested())


def _nothing_in_progress() -> dg.AutomationCondition[Any]:
    return ~Condition.any_deps_in_progress() & ~Condition.in_progress()


def several_times_a_day() -> dg.AutomationCondition[Any]:
    """For a standing check, whose answer changes with time alone: at 3, 9, 15 and 21 o'clock in New York.

    - `not in_progress`: one that takes long must not be asked for twice.
    """
    return Condition.cron_tick_passed("0 3,9,15,21 * * *", NEW_YORK) & ~Condition.in_progress()
