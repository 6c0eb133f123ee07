"""The faults of a sample feed, and their frequencies.

`audits` and `layout` define how a fault looks in a file.
"""

from dataclasses import dataclass, fields
from typing import Final, Self

# Above these limits, rules 4 and 5 could misjudge a register and would not find the truth.
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
    """The frequency of each fault. By default there are no faults.

    Floats are shares in [0, 1]: of turnstiles per week unless described otherwise. Integers are counts per week,
    or fewer if a file is too short for them.
    """

    count_down: float = 0.0
    """Share of registers that count down; permanent, and independent for entries and exits."""
    resets: float = 0.0
    """Share of registers that are reset to their start; at most 1/8."""
    jumps: float = 0.0
    """Share of registers that jump by millions; at most 1/8."""
    absent: float = 0.0
    """Share of turnstiles that are missing in the file; at most 1/2."""
    long_gaps: float = 0.0
    """Share of turnstiles without readings for 26 to 60 hours."""
    missed_audits: float = 0.0
    """Share of readings that are missing individually; at most 1/4."""
    recovered: float = 0.0
    """Share of turnstiles whose audits are RECOVR AUD instead of REGULAR for a day."""
    extra_audits: float = 0.0
    """Share of turnstiles with three extra readings at odd moments (legacy: DOOR OPEN and similar)."""
    quarter_hour: float = 0.0
    """Share of booths that audit every 15 minutes; permanent."""
    duplicates: float = 0.0
    """Share of readings that occur twice; at most 1/4. In modern files the second can have other registers."""
    superseded: float = 0.0
    """Share of REGULAR readings with a RECOVR AUD twin; at most 1/4. In modern files it can have strange registers."""
    disordered: float = 0.0
    """Share of turnstiles whose readings are in reverse order in the file."""
    bad_registers: int = 0
    """Readings with an invalid register: in turn a hyphen, nothing, letters, and a number beyond int64."""
    outside_window: int = 0
    """Readings with a date one week too early or too late."""
    bad_timestamps: int = 0
    """Readings at a moment that does not exist: in turn 31 February and 25:00."""
    field_counts: int = 0
    """Readings with one field too few; in modern files every second one has one too many."""
    junk_header: bool = False
    """Ten lines of text above the data, as in the file 120714."""
    trailing_junk: bool = False
    """A last line `USE`, as in the file 120825."""
    cut_last_line: bool = False
    """The last reading is cut off within its entry register."""
    split_desc: bool = False
    """Legacy: the words of a DESC are in successive groups (DOOR, then OPEN), out of step with their readings."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, float) and not 0.0 <= value <= _MOST.get(field.name, 1.0):
                limit = _MOST.get(field.name, 1.0)
                raise ValueError(f"Faults.{field.name} must be a share from 0 to {limit}, not {value}")
            if value < 0:
                raise ValueError(f"Faults.{field.name} must be a count of at least 0, not {value}")

    @classmethod
    def typical(cls) -> Self:
        """Return faults about as frequent as in real weeks."""
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
        """Return all faults, frequent enough to occur in a week of sixteen turnstiles or more."""
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
