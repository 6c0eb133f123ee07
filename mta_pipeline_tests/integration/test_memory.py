"""Files within the size limit are staged in bounded memory (rule 11)."""

import subprocess
import sys
from pathlib import Path

import pytest

from mta_pipeline_tests.support.published_files import legacy_group, legacy_line, modern_file, modern_line

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("processes")]

GOOD = modern_file(modern_line("2024-01-06 03", 100, 50))
LEGACY = legacy_line(legacy_group("2024-01-06 04", 7, 8)).encode()

STAGE = """
import re, sys
from pathlib import Path
from mta_pipeline.turnstile.complexes import control_areas
from mta_pipeline.turnstile.parsing import UnreadableFile
from mta_pipeline.turnstile.readings import stage
try:
    week = stage(Path(sys.argv[1]).read_bytes(), "2024-01-06", control_areas())
    print(len(week.readings), dict(sorted(week.rejects_by_reason.items())))
except UnreadableFile as error:
    print(str(error).split(",")[0])
# Not ru_maxrss, which begins with the memory of the process that started this one.
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""

FILES = {
    "a line of 500 MiB": (GOOD, 500 * 2**20, b"\n", "1 {'too_long': 1}"),
    "a line of 500 MiB between carriage returns": (
        GOOD.replace(b"\n", b"\r"),
        500 * 2**20,
        b"\r",
        "1 {'too_long': 1}",
    ),
    "many short lines": (GOOD, 0, b"x,y\n" * 5_000_000, "turnstile_240113.txt: the file has more than 600"),
    "as many short lines as possible": (GOOD, 0, b"x,y\n" * 599_000, "1 {'field_count': 599000}"),
    "long lines of separators": (GOOD, 0, (b"," * 60_000 + b"\n") * 830, "1 {'field_count': 830}"),
    "a line of 445 MiB and long lines of other letters": (
        GOOD,
        445 * 2**20,
        b"\n" + ("é€😀".encode() * 6_000 + b"\n") * 920,
        "1 {'field_count': 920, 'too_long': 1}",
    ),
    "a line of 475 MiB and long lines in Latin-1": (
        GOOD,
        475 * 2**20,
        b"\n" + (b"\xff" * 60_000 + b"\n") * 415,
        "1 {'field_count': 415, 'too_long': 1}",
    ),
    "a legacy line of 80 kB": (LEGACY, 0, b"\n" + LEGACY + b"," * 80_000, "1 {'too_long': 1}"),
    "a legacy line of 400 kB": (LEGACY, 0, b"\n" + LEGACY + b"," * 400_000, "1 {'too_long': 1}"),
    "as many legacy groups as possible": (
        LEGACY,
        0,
        (b"\n" + LEGACY + b"," * 250) * 11_500,
        "1 {'bad_timestamp': 575000, 'duplicate': 11500}",
    ),
}


@pytest.mark.parametrize(("top", "hole", "rest", "outcome"), FILES.values(), ids=FILES.keys())
def test_a_file_is_staged_in_less_than_a_gibibyte(tmp_path: Path, top: bytes, hole: int, rest: bytes, outcome: str):
    path = tmp_path / "published"
    with path.open("wb") as file:
        file.write(top)
        file.seek(hole, 1)  # the bytes between are zero and take no space
        file.write(rest)
    child = subprocess.run([sys.executable, "-c", STAGE, path], capture_output=True, text=True, check=True)
    found, peak = child.stdout.splitlines()
    assert found == outcome
    assert int(peak) < 2**20  # in KiB
