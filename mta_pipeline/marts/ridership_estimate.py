"""The mart ridership_estimate: rules 8 and 12 of the data contract."""

import ibis
import ibis.expr.types as ir

from mta_pipeline.hourly_ridership.contract import FIRST_OMNY_DAY
from mta_pipeline.marts.contract import AGREEMENT, LEAST_FACTOR_DAYS, LEAST_FACTOR_RIDERS, FactorSource, ShareSource
from mta_pipeline.marts.expressions import coverage, riders_and_time, with_place


def ridership_estimate(
    complex_daily: ir.Table, omny_share: ir.Table, entry_factor: ir.Table, dim_station: ir.Table, dim_date: ir.Table
) -> ir.Table:
    """Estimate ridership per complex and day: entries plus the riders who tapped OMNY, with and without calibration."""
    daily = complex_daily.filter(complex_daily.complex_id.notnull())
    days = daily.group_by("complex_id", "service_date").agg(**riders_and_time(daily))
    estimated = with_estimate(days.mutate(month=days.service_date.truncate("M")), omny_share)
    estimated = with_calibration(estimated, entry_factor)
    whole = dim_date.filter("is_whole_day").select(whole="date")
    estimated = estimated.left_join(whole, estimated.service_date == whole.whole)
    return with_place(estimated.mutate(coverage=coverage(), is_whole_day=ibis._.whole.notnull()), dim_station)


def with_estimate(table: ir.Table, omny_share: ir.Table) -> ir.Table:
    """Add share_source, omny_share, ridership_estimate, estimate_low, estimate_high to entries per complex and month.

    Entries leave out OMNY taps, so the estimate is entries ÷ (1 - OMNY share). The share is the complex's own for the
    month, or else that of the whole subway. If neither is known, the estimate is null. Before OMNY the share is 0.

    Args:
        table: complex_id, month (its first day), entries, and any other columns.
        omny_share: the table omny_share.
    """
    columns = ("ridership", "omny_ridership", "share_low", "share_high")
    # A share of 100 % would divide by zero.
    usable = omny_share.filter(omny_share.omny_ridership < omny_share.ridership)
    own = usable.filter(usable.complex_id.notnull()).select(
        own_complex="complex_id", own_month="month", **{f"own_{column}": column for column in columns}
    )
    subway = usable.filter(usable.complex_id.isnull()).select(
        subway_month="month", **{f"subway_{column}": column for column in columns}
    )
    joined = table.left_join(own, [table.complex_id == own.own_complex, table.month == own.own_month])
    joined = joined.left_join(subway, joined.month == subway.subway_month)
    joined = joined.mutate(share_source=_source(joined))
    source = joined.share_source

    def of_source(column: str, before: ir.Value) -> ir.Value:
        return ibis.cases(
            (source == ShareSource.BEFORE_OMNY, before),
            (source == ShareSource.COMPLEX, joined[f"own_{column}"]),
            (source == ShareSource.SUBWAY, joined[f"subway_{column}"]),
        )

    no_taps, no_share = ibis.literal(0, "int64"), ibis.literal(0.0, "float64")
    chosen = joined.select(
        *table.columns,
        "share_source",
        # Integers, so that all engines divide the same numbers.
        riders=of_source("ridership", ibis.literal(1, "int64")),
        taps=of_source("omny_ridership", no_taps),
        low=of_source("share_low", no_share),
        high=of_source("share_high", no_share),
    )
    share = chosen.taps / chosen.riders
    low, high = chosen.low.fill_null(share), chosen.high.fill_null(share)
    less, more = (ibis.literal(1 + error, "float64") for error in (-AGREEMENT, AGREEMENT))
    return chosen.select(
        *table.columns,
        "share_source",
        omny_share=share,
        ridership_estimate=chosen.entries * chosen.riders / (chosen.riders - chosen.taps),
        estimate_low=chosen.entries / (1 - low).nullif(0) * less,
        estimate_high=chosen.entries / (1 - high).nullif(0) * more,
    )


def _source(joined: ir.Table) -> ir.StringValue:
    return ibis.cases(
        (joined.month < FIRST_OMNY_DAY, ShareSource.BEFORE_OMNY),
        (joined.own_ridership.notnull(), ShareSource.COMPLEX),
        (joined.subway_ridership.notnull(), ShareSource.SUBWAY),
        else_=ShareSource.UNKNOWN,
    )


def with_calibration(table: ir.Table, entry_factor: ir.Table) -> ir.Table:
    """Add factor_source, factor_month, entry_factor and calibrated_estimate to estimates per complex and month.

    The factor of a complex is that of all other complexes, in the month or else in the nearest month in which the
    subway's is measured; of two equally near months, in the earlier one. So a complex is never calibrated with the
    published riders with which it is compared.

    Args:
        table: complex_id, month (its first day), ridership_estimate, and any other columns.
        entry_factor: the table entry_factor.
    """
    sums = ("entries", "metrocard_ridership")
    measured = entry_factor.filter(
        entry_factor.complex_id.isnull(),
        entry_factor.days >= LEAST_FACTOR_DAYS,
        entry_factor.metrocard_ridership >= LEAST_FACTOR_RIDERS,
    ).select(factor_month="month", **{f"all_{name}": name for name in sums})
    nearest = _nearest(table.select("month").distinct(), measured)
    own = entry_factor.filter(entry_factor.complex_id.notnull()).select(
        own_complex="complex_id", own_month="month", **{f"own_{name}": name for name in sums}
    )
    joined = table.left_join(nearest, table.month == nearest.of_month)
    joined = joined.left_join(own, [joined.complex_id == own.own_complex, joined.factor_month == own.own_month])
    others = {name: joined[f"all_{name}"] - joined[f"own_{name}"].fill_null(0) for name in sums}
    known = (others["entries"] > 0) & (others["metrocard_ridership"] >= LEAST_FACTOR_RIDERS)
    factored = joined.select(
        *table.columns,
        # Integers, so that all engines divide the same numbers.
        **{f"others_{name}": ibis.ifelse(known, count, None) for name, count in others.items()},
        factor_month=ibis.ifelse(known, joined.factor_month, None),
    )
    factor = factored.others_entries / factored.others_metrocard_ridership
    return factored.select(
        *table.columns,
        "factor_month",
        factor_source=ibis.cases(
            (factored.factor_month.isnull(), FactorSource.UNKNOWN),
            (factored.factor_month == factored.month, FactorSource.MONTH),
            else_=FactorSource.NEAREST_MONTH,
        ),
        entry_factor=factor,
        calibrated_estimate=factored.ridership_estimate / factor,
    )


def _nearest(months: ir.Table, measured: ir.Table) -> ir.Table:
    """The row of `measured` with the nearest factor_month, for each month (`of_month`)."""
    pairs = months.rename(of_month="month").cross_join(measured)
    distance = (_number(pairs.of_month) - _number(pairs.factor_month)).abs()
    order = ibis.row_number().over(group_by="of_month", order_by=[distance, pairs.factor_month])
    return pairs.mutate(order=order).filter(ibis._.order == 0)


def _number(month: ir.DateValue) -> ir.IntegerValue:
    return month.year() * 12 + month.month()
