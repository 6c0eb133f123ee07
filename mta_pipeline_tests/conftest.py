"""What tests of every kind share."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of real data: $MTA_SHARED_DATA, or shared/data beside the repository. CI must have it."""
    directory = Path(os.environ.get("MTA_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")
    if not directory.is_dir():
        word = f"No real data at {directory}; MTA_SHARED_DATA says where it is."
        if os.environ.get("CI"):
            pytest.fail(word)
        pytest.skip(word)
    return directory
