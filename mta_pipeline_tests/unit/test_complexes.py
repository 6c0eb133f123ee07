"""The shipped reference data, and the detection of booths that it lacks."""

from collections.abc import Callable

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mta_pipeline.schema import Table
from mta_pipeline.turnstile.complexes import control_areas, station_complexes, unknown_booths
from mta_pipeline.turnstile.contract import CONTROL_AREAS, STATION_COMPLEXES, SUBWAY_DIVISIONS, TURNSTILE_READINGS

BOROUGHS = {"Manhattan", "Brooklyn", "Queens", "Bronx", "Staten Island"}
AIRTRAIN = ["JFK01", "JFK02", "JFK03", "JFK04"]


def complex_of(control_area: str, unit: str) -> int | None:
    return control_areas().row(by_predicate=(pl.col.control_area == control_area) & (pl.col.unit == unit), named=True)[
        "complex_id"
    ]


def readings_at(*booths: tuple[str, str, str | None]) -> pl.DataFrame:
    """Readings with these values of control_area, unit and station; all other columns are null."""
    return pl.DataFrame(
        [dict(zip(("control_area", "unit", "station"), booth, strict=True)) for booth in booths],
        schema=dict(TURNSTILE_READINGS.schema),
    )


@pytest.mark.parametrize(
    ("read", "table"),
    [(control_areas, CONTROL_AREAS), (station_complexes, STATION_COMPLEXES)],
    ids=["booths", "complexes"],
)
def test_a_reference_table_has_the_schema_of_the_contract(read: Callable[[], pl.DataFrame], table: Table):
    frame = read()
    assert list(frame.schema.items()) == list(table.schema.items())
    assert sum(frame.select(table.required).null_count().row(0)) == 0


def test_booths_are_unique_and_sorted():
    booths = control_areas().select("control_area", "unit")
    assert_frame_equal(booths, booths.unique().sort("control_area", "unit"))


def test_complexes_are_unique_and_sorted():
    complexes = station_complexes().select("complex_id")
    assert_frame_equal(complexes, complexes.unique().sort("complex_id"))


def test_every_complex_of_a_booth_is_in_the_mta_s_list():
    placed = control_areas().filter(pl.col.complex_id.is_not_null())
    assert placed.join(station_complexes(), on="complex_id", how="anti").is_empty()


def test_every_subway_booth_but_airtrain_and_orchard_beach_has_a_complex():
    without = control_areas().filter(pl.col.division.is_in(SUBWAY_DIVISIONS) & pl.col.complex_id.is_null())
    assert without["control_area"].to_list() == [*AIRTRAIN, "OB01"]


def test_all_booths_of_a_unit_are_at_one_complex():
    complexes = control_areas().group_by("unit").agg(pl.col.complex_id.drop_nulls().n_unique())
    assert complexes["complex_id"].max() == 1


def test_every_booth_has_a_division():
    assert set(control_areas()["division"]) == {*SUBWAY_DIVISIONS, "PTH", "SRT", "RIT"}


def test_boroughs_are_written_in_full_and_coordinates_are_in_new_york():
    complexes = station_complexes()
    assert set(complexes["borough"]) == BOROUGHS
    assert complexes["latitude"].is_between(40.5, 40.92).all()
    assert complexes["longitude"].is_between(-74.26, -73.75).all()


@pytest.mark.parametrize(
    ("control_area", "unit", "complex_id"),
    [
        ("A002", "R051", 613),
        ("C021", "R212", 35),
        ("R622", "R123", 626),
        ("R533A", "R055", 447),
        ("N700", "R570", 477),
        ("S101", "R070", 501),
        ("JFK01", "R535", None),
        ("PTH01", "R549", None),
    ],
)
def test_a_booth_has_its_known_complex(control_area: str, unit: str, complex_id: int | None):
    assert complex_of(control_area, unit) == complex_id


def test_five_stations_called_23_st_are_five_complexes():
    complexes = control_areas().filter(station="23 ST")["complex_id"].unique().sort()
    assert complexes.to_list() == [14, 165, 228, 320, 405]


def test_a_booth_that_is_only_in_the_old_list_has_the_complex_of_its_unit():
    old = control_areas().filter(control_area="R101S", unit="R001").row(0)
    assert old == ("R101S", "R001", "SOUTH FERRY", "1RW", "IRT", 635)


def test_unknown_booths_are_named_with_their_readings():
    readings = readings_at(
        ("Z999", "R999", None), ("A002", "R051", "59 ST"), ("Z999", "R999", "NOWHERE"), ("Z998", "R999", None)
    )
    found = unknown_booths(readings, control_areas())
    assert found.rows() == [("Z998", "R999", None, None, None, 1), ("Z999", "R999", "NOWHERE", None, None, 2)]
    assert found.columns == ["control_area", "unit", "station", "line_name", "division", "readings"]


def test_a_known_control_area_under_another_unit_is_unknown():
    assert unknown_booths(readings_at(("A002", "R999", None)), control_areas()).height == 1


def test_a_booth_known_to_have_no_complex_is_not_unknown():
    assert unknown_booths(readings_at(("PTH01", "R549", None)), control_areas()).is_empty()
