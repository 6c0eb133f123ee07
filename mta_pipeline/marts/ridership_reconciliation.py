"""The mart ridership_reconciliation."""

import ibis
import ibis.expr.types as ir

from mta_pipeline.marts.contract import ShareSource
from mta_pipeline.marts.expressions import coverage, riders_and_time, with_place
from mta_pipeline.marts.ridership_estimate import with_calibration, with_estimate


def ridership_reconciliation(
    *,
    complex_daily: ir.Table,
    complex_hourly_published: ir.Table,
    omny_share: ir.Table,
    entry_factor: ir.Table,
    dim_station: ir.Table,
    dim_date: ir.Table,
) -> ir.Table:
    """Compare the estimates with published ridership per complex and week, over the days that both have."""
    daily = complex_daily.filter(complex_daily.complex_id.notnull())
    days = daily.group_by("complex_id", "service_date").agg(**riders_and_time(daily))
    published = _on_whole_days(complex_hourly_published)
    whole = dim_date.filter("is_whole_day").select("date", "week")
    both = days.filter(days.entries.notnull()).inner_join(whole, days.service_date == whole.date)
    both = both.inner_join(published, [both.complex_id == published.there, both.date == published.on])
    # A week can span two months, and each month has its own share.
    parts = both.group_by("complex_id", "week", month=both.date.truncate("M")).agg(
        days=both.count(),
        **{name: both[name].sum() for name in ("entries", "published", "turnstile_seconds", "ok_seconds")},
    )
    parts = with_estimate(parts, omny_share)
    parts = with_calibration(parts.filter(parts.ridership_estimate.notnull()), entry_factor)
    calibrated = parts.calibrated_estimate
    weeks = parts.group_by("complex_id", "week").agg(
        **{
            name: parts[name].sum()
            for name in ("days", "entries", "ridership_estimate", "published", "turnstile_seconds", "ok_seconds")
        },
        has_fallback_share=(parts.share_source == ShareSource.SUBWAY).any(),
        # A sum would leave out a month without a factor.
        calibrated_estimate=ibis.ifelse(calibrated.isnull().any(), None, calibrated.sum()),
    )
    published_riders = weeks.published.nullif(0)
    weeks = weeks.mutate(
        ratio=weeks.ridership_estimate / published_riders,
        calibrated_ratio=weeks.calibrated_estimate / published_riders,
        coverage=coverage(),
    )
    return with_place(weeks, dim_station)


def _on_whole_days(complex_hourly_published: ir.Table) -> ir.Table:
    """Published ridership per complex (`there`) and date (`on`), for dates of which every hour is published."""
    hours = complex_hourly_published.mutate(on=complex_hourly_published.hour.date())
    complete = hours.group_by("on").agg(hours=hours.hour.nunique())
    # The second Sunday of March has 23 hours: daylight saving time starts (since 2007).
    date = complete.on
    spring = (date.month() == 3) & (date.day() >= 8) & (date.day() <= 14) & (date.day_of_week.index() == 6)
    complete = complete.filter(complete.hours == ibis.ifelse(spring, 23, 24)).select(complete="on")
    known = hours.filter(hours.complex_id.notnull())
    riders = known.group_by(there="complex_id", on="on").agg(published=known.ridership.sum())
    return riders.semi_join(complete, riders.on == complete.complete)
