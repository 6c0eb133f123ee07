"""Private modules of Dagster are imported in one place, so that an upgrade has one place to break."""

import re
from pathlib import Path

import mta_pipeline

PACKAGE = Path(mta_pipeline.__file__).parent
ADAPTER = PACKAGE / "orchestration" / "dagster_internals.py"
PRIVATE = re.compile(r"^\s*(?:from|import) (?:dagster\w*(?:\.\w+)*\._|dagster_shared)", re.MULTILINE)
FOR_TYPES_ONLY = re.compile(r"^if TYPE_CHECKING:\n(?:(?:    .*)?\n)+", re.MULTILINE)


def test_only_the_adapter_imports_private_modules_of_dagster():
    found = [
        str(path.relative_to(PACKAGE))
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != ADAPTER and PRIVATE.search(FOR_TYPES_ONLY.sub("", path.read_text()))
    ]
    assert not found, f"import what these need from {ADAPTER.relative_to(PACKAGE)}"


def test_the_search_finds_the_adapter_s_own_imports():
    assert len(PRIVATE.findall(ADAPTER.read_text())) > 10
