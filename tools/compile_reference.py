"""Compiles the reference data of the package from the MTA's lists: which booth belongs to which station complex.

    python tools/compile_reference.py SOURCES [--check]

SOURCES is a directory with the lists that docs/reference-data.md names. reference_decisions.csv next to this file has
manual decisions with reasons: for booths that the rules below do not assign, and for booths that a third-party table
assigns differently. A missing decision is an error. mta_pipeline/turnstile/complexes.py reads the result.
"""

import argparse
import csv
import io
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

DECISIONS = Path(__file__).with_name("reference_decisions.csv")
PACKAGE_DATA = Path(__file__).parents[1] / "mta_pipeline" / "turnstile" / "reference"

BOROUGHS = {"M": "Manhattan", "Bk": "Brooklyn", "Q": "Queens", "Bx": "Bronx", "SI": "Staten Island"}
OTHER_CARRIERS = ("PTH", "RIT")
"""Divisions that are not in the MTA's lists of stations: PATH and the Roosevelt Island Tramway."""

LEAST_SHARED_ROUTES = 0.5
"""Minimum share of common routes. Routes change, but a booth shares at least half with its station or complex."""

OWN_NUMBERS = "The MTA's list has no such complex. The table uses its own numbers for places outside the subway."


class UnsettledError(Exception):
    """A manual decision is missing. The message lists the booths that need one."""


class Booth(NamedTuple):
    """A control area and remote unit."""

    control_area: str
    unit: str


class Place(NamedTuple):
    """The location of a booth, with the names used in the turnstile files."""

    station: str
    line_name: str
    division: str


class Decision(NamedTuple):
    """A value that was decided manually, with the reason."""

    value: str
    reason: str


class Dispute(NamedTuple):
    """A booth that a third-party table assigns to another complex."""

    booth: Booth
    ours: str
    theirs: str
    reason: str


Decisions = Mapping[tuple[Booth, str], Decision]


@dataclass(frozen=True)
class Station:
    """A station of the MTA's list, with its daytime routes and those of its whole complex."""

    complex_id: str
    division: str
    name: str
    routes: frozenset[str]
    complex_routes: frozenset[str]

    def shared_routes(self, line_name: str) -> float:
        """Share of common routes, from 0 to 1. Files list the routes of the station or those of the complex."""
        lines = frozenset(line_name)
        return max(len(lines & routes) / len(lines | routes) for routes in (self.routes, self.complex_routes))


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file with a header."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def words(name: str) -> list[str]:
    """Split a name into words and numbers: `4AV-9 ST` gives 4, AV, 9, ST."""
    return re.findall(r"\d+|[A-Z]+", name.upper().replace("'", ""))


def abbreviates(short: str, full: str) -> bool:
    """Whether `short` has the first letter of `full`, and then letters of it in order, as CNTRL for CENTRAL."""
    letters = iter(full)
    return short[0] == full[0] and all(letter in letters for letter in short)


def within(short: str, full: str) -> bool:
    """Whether all words of `short` occur in `full` in order. A word may be abbreviated in either name."""
    rest = iter(words(full))
    return all(
        any(
            word == other or (word.isalpha() and (abbreviates(word, other) or abbreviates(other, word)))
            for other in rest
        )
        for word in words(short)
    )


def read_stations(sources: Path) -> list[Station]:
    """Read the stations of the MTA's list."""
    rows = read_rows(sources / "mta_stations.csv")
    complex_routes: dict[str, frozenset[str]] = defaultdict(frozenset)
    for row in rows:
        complex_routes[row["Complex ID"]] |= frozenset(row["Daytime Routes"].split())
    return [
        Station(
            row["Complex ID"],
            row["Division"],
            row["Stop Name"],
            frozenset(row["Daytime Routes"].split()),
            complex_routes[row["Complex ID"]],
        )
        for row in rows
    ]


def matching_complexes(place: Place, stations: Iterable[Station]) -> set[str]:
    """The complexes that a place may belong to; exactly one if the match is unambiguous.

    Candidates are the stations of the division with a matching name and enough common routes. The stations with the
    most common routes win. Among several of these, an equal name wins.
    """
    ranks: dict[str, tuple[float, bool]] = {}
    for station in stations:
        shared = station.shared_routes(place.line_name)
        if station.division == place.division and shared >= LEAST_SHARED_ROUTES and within(place.station, station.name):
            rank = (shared, words(place.station) == words(station.name))
            ranks[station.complex_id] = max(rank, ranks.get(station.complex_id, rank))
    return {complex_id for complex_id, rank in ranks.items() if rank == max(ranks.values())}


def read_decisions(path: Path = DECISIONS) -> Decisions:
    """Read the manual decisions, by booth and field."""
    return {
        (Booth(row["control_area"], row["unit"]), row["field"]): Decision(row["value"], row["reason"])
        for row in read_rows(path)
    }


def stem(booth: Booth) -> str:
    """The control area without letters after its number. Related booths share it, for example R533 and R533A."""
    return re.sub(r"(?<=\d)[A-Z]+$", "", booth.control_area)


def read_places(sources: Path, decisions: Decisions) -> dict[Booth, Place]:
    """The places of all booths in the two lists and the decisions.

    A booth that is not in the list of 2022 gets the place of its related booths there. Related booths differ at most in
    the letters after the number, and have a matching station name.

    Raises:
        UnsettledError: a booth has no related booth, or related booths in several places.
    """
    listed = {
        Booth(row["C/A"], row["UNIT"]): Place(row["STATION"], row["LINENAME"], row["DIVISION"])
        for row in read_rows(sources / "remote_booth_station_2022.csv")
    }
    related = defaultdict(set)
    for booth, place in listed.items():
        related[stem(booth)].add(place)

    others = {
        Booth(row["control_area"], row["unit"]): row["station"]
        for row in read_rows(sources / "remote_booth_station_2010.csv")
    }
    others |= {booth: decision.value for (booth, field), decision in decisions.items() if field == "station"}
    places = dict(listed)
    for booth in sorted(others.keys() - listed.keys()):
        name = others[booth]
        by_hand = [decisions[booth, field].value for field in ("line_name", "division") if (booth, field) in decisions]
        found = {place for place in related[stem(booth)] if within(place.station, name) or within(name, place.station)}
        if len(by_hand) == 2:
            places[booth] = Place(name, *by_hand)
        elif len(found) == 1:
            places[booth] = found.pop()
        else:
            raise UnsettledError(
                f"{' '.join(booth)} ({name}) needs decisions on line_name and division in {DECISIONS.name}."
            )
    return places


def assign_complexes(places: Mapping[Booth, Place], stations: list[Station], decisions: Decisions) -> dict[Booth, str]:
    """The complex of every booth; empty if it has none.

    Raises:
        UnsettledError: the rules give no complex or several, and there is no decision.
    """
    complexes, unsettled = {}, []
    for booth, place in places.items():
        decision = decisions.get((booth, "complex_id"))
        if decision:
            complexes[booth] = decision.value
        elif place.division in OTHER_CARRIERS:
            complexes[booth] = ""
        else:
            found = matching_complexes(place, stations)
            if len(found) == 1:
                complexes[booth] = found.pop()
            else:
                unsettled.append(f"{' '.join(booth)} ({' '.join(place)}): {', '.join(sorted(found)) or 'no match'}")
    if unsettled:
        raise UnsettledError(
            f"These booths need a decision on complex_id in {DECISIONS.name}:\n  " + "\n  ".join(sorted(unsettled))
        )
    return complexes


def read_crosschecks(sources: Path) -> Iterator[tuple[str, dict[Booth, str]]]:
    """Read the third-party tables: file name, and the complex of each booth that has one."""
    for name in ("crosscheck_remote_booth_complex.csv", "crosscheck_remote_complex_qri.csv"):
        rows = [{key.strip(): value for key, value in row.items()} for row in read_rows(sources / name)]
        yield name, {Booth(row["booth"], row["remote"]): row["complex_id"] for row in rows if row["complex_id"]}


def find_disputes(
    theirs: Mapping[Booth, str], ours: Mapping[Booth, str], official: set[str], decisions: Decisions
) -> list[Dispute]:
    """Booths that a third-party table assigns differently, with the reason for our complex (empty if missing)."""
    disputes = []
    for booth in sorted(ours.keys() & theirs.keys()):
        if ours[booth] != theirs[booth]:
            decision = decisions.get((booth, "complex_id"))
            reason = decision.reason if decision else OWN_NUMBERS if theirs[booth] not in official else ""
            disputes.append(Dispute(booth, ours[booth], theirs[booth], reason))
    return disputes


def as_csv(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Format rows as CSV text with LF line ends."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def control_areas_csv(places: Mapping[Booth, Place], complexes: Mapping[Booth, str]) -> str:
    """The sorted booths as CSV text."""
    return as_csv(
        (*Booth._fields, *Place._fields, "complex_id"),
        ((*booth, *place, complexes[booth]) for booth, place in sorted(places.items())),
    )


def station_complexes_csv(sources: Path) -> str:
    """The MTA's list of complexes as CSV text with our columns, sorted by id."""
    rows = sorted(read_rows(sources / "mta_station_complexes.csv"), key=lambda row: int(row["Complex ID"]))
    return as_csv(
        ("complex_id", "name", "borough", "daytime_routes", "latitude", "longitude", "structure"),
        (
            (
                row["Complex ID"],
                row["Stop Name"],
                BOROUGHS[row["Borough"]],
                row["Daytime Routes"],
                row["Latitude"],
                row["Longitude"],
                row["Structure Type"],
            )
            for row in rows
        ),
    )


def compile_reference(sources: Path) -> dict[Path, str]:
    """The text of both files, by path. Prints the differences from the third-party tables.

    Raises:
        UnsettledError: a booth or a difference needs a decision.
    """
    decisions = read_decisions()
    stations = read_stations(sources)
    places = read_places(sources, decisions)
    complexes = assign_complexes(places, stations, decisions)
    unknown = {booth for booth, _ in decisions} - places.keys()
    if unknown:
        raise UnsettledError(
            f"{DECISIONS.name} has booths that are in no list: {', '.join(' '.join(booth) for booth in unknown)}."
        )

    in_complex = sum(map(bool, complexes.values()))
    print(f"{len(places)} booths, {in_complex} of them in {len(set(complexes.values()) - {''})} complexes.")
    official = {station.complex_id for station in stations}
    open_disputes = []
    for name, theirs in read_crosschecks(sources):
        disputes = find_disputes(theirs, complexes, official, decisions)
        print(f"{name}: {len(complexes.keys() & theirs.keys())} common booths, {len(disputes)} with another complex.")
        for dispute in disputes:
            ours = dispute.ours or "none"
            print(f"  {' '.join(dispute.booth)}: {ours}, not {dispute.theirs}. {dispute.reason or 'DECISION MISSING'}")
        open_disputes += [" ".join(dispute.booth) for dispute in disputes if not dispute.reason]
    if open_disputes:
        raise UnsettledError(
            f"These booths need a decision with a reason in {DECISIONS.name}: {', '.join(open_disputes)}."
        )
    return {
        PACKAGE_DATA / "control_areas.csv": control_areas_csv(places, complexes),
        PACKAGE_DATA / "station_complexes.csv": station_complexes_csv(sources),
    }


def main() -> None:
    """Compile the reference data and write the two files, or compare them with the files in the package."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sources", type=Path, help="directory with the MTA's lists and the third-party tables")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a file in the package would change"
    )
    arguments = parser.parse_args()

    try:
        texts = compile_reference(arguments.sources)
    except UnsettledError as error:
        sys.exit(str(error))
    for path, text in texts.items():
        if not arguments.check:
            path.write_text(text, encoding="utf-8", newline="\n")
        elif not path.exists() or path.read_bytes() != text.encode():
            sys.exit(f"{path} differs from the result of compiling the lists. Run this command without --check.")


if __name__ == "__main__":
    main()
