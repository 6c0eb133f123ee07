"""What can be wrong with a sample feed, and how often.

How a fault looks in a file is decided where the file is made, in `generator` and `layout`.
"""

from dataclasses import dataclass, fields
from typing import Final, Self

# Beyond these, rules 4 and 5 could misjudge a register, and the truth would not be what they find.
_MOST: Final = {
    "resets": 0.125,
    "jumps": 0.125,
    "absent": 0.5,
    "missed_audits": 0.25,
    "duplicates": 0.25,
    "superseded": 0.25,
}


@dataclass(frozen=True)
class Faults:
    """How often each fault occurs; by default none does.

    Floats are shares in [0, 1]: of turnstiles (per week, where not permanent), or of readings where it says so.
    Integers are counts per week (fewer where a file is too short for them).
    """

    count_down: float = 0.0
    """Registers that count down; permanent, drawn for entries and exits apart."""
    resets: float = 0.0
    """Registers set back to their start; at most 1/8."""
    jumps: float = 0.0
    """Registers that leap by millions; at most 1/8."""
    absent: float = 0.0
    """Turnstiles that are not in the file at all; at most 1/2."""
    long_gaps: float = 0.0
    """Turnstiles without readings for 26 to 60 hours."""
    missed_audits: float = 0.0
    """Share of readings that are missing one by one; at most 1/4."""
    recovered: float = 0.0
    """Turnstiles whose audits are RECOVR AUD instead of REGULAR for a day."""
    extra_audits: float = 0.0
    """Turnstiles with three more readings at odd moments (legacy: DOOR OPEN and the like)."""
    quarter_hour: float = 0.0
    """Booths that audit every 15 minutes; permanent."""
    duplicates: float = 0.0
    """Share of readings that stand twice; in modern files the second may have other registers; at most 1/4."""
    superseded: float = 0.0
    """Share of REGULAR readings with a RECOVR AUD twin; in modern files it may have strange registers; at most 1/4."""
    disordered: float = 0.0
    """Turnstiles whose readings run backwards in the file."""
    bad_registers: int = 0
    """Readings with a register that is none: in turn a hyphen, nothing, letters, a number beyond int64."""
    outside_window: int = 0
    """Readings dated a week too early or too late."""
    bad_timestamps: int = 0
    """Readings at a moment that does not exist: in turn 31 February and 25 o'clock."""
    field_counts: int = 0
    """Readings with a field too few, in modern files in turn also one too many."""
    junk_header: bool = False
    """Ten lines of prose on top, as in the file 120714."""
    trailing_junk: bool = False
    """A last line `USE`, as in the file 120825."""
    cut_last_line: bool = False
    """The last reading is cut within its entry register."""
    split_desc: bool = False
    """Legacy: the words of a DESC stand in successive groups (DOOR, then OPEN), out of step with their readings."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, float) and not 0.0 <= value <= _MOST.get(field.name, 1.0):
                raise ValueError(f"Faults.{field.name} is a share from 0 to {_MOST.get(field.name, 1.0)}, not {value}")
            if value < 0:
                raise ValueError(f"Faults.{field.name} is a count, not {value}")

    @classmethod
    def typical(cls) -> Self:
        """About what real weeks show."""
        return cls(
            count_down=0.01,
            resets=0.005,
            jumps=0.001,
            absent=0.001,
            long_gaps=0.005,
            missed_audits=0.004,
            recovered=0.01,
            extra_audits=0.01,
            quarter_hour=0.012,
            duplicates=0.0001,
            superseded=0.0002,
            split_desc=True,
        )

    @classmethod
    def all(cls) -> Self:
        """Every fault, often enough to be seen in a week of sixteen turnstiles or more."""
        return cls(
            count_down=0.25,
            resets=0.125,
            jumps=0.125,
            absent=0.1,
            long_gaps=0.2,
            missed_audits=0.03,
            recovered=0.2,
            extra_audits=0.3,
            quarter_hour=0.2,
            duplicates=0.02,
            superseded=0.02,
            disordered=0.2,
            bad_registers=4,
            outside_window=2,
            bad_timestamps=2,
            field_counts=2,
            junk_header=True,
            trailing_junk=True,
            cut_last_line=True,
            split_desc=True,
        )
