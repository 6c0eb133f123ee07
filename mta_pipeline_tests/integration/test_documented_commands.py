"""Every command in a bash block of the documents works as written, unless a reason says why no test runs it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mta_pipeline.sample import SampleFeed
from mta_pipeline.weeks import weeks_between
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.support.documented_commands import DOCUMENTS, NOT_RUN, commands, reason_not_to_run

# The first one makes the data that the others use.
RUN = ("README.md", "docs/operations.md", "docs/sample-feed.md", "docs/hourly-ridership.md")

PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)

WAIT_FOR_PORTAL = """
.venv/bin/python - <<'END'
import socket, time
for _ in range(600):
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8100)) == 0:
            break
    time.sleep(0.1)
END
"""


def test_a_document_whose_commands_nobody_runs_says_why():
    unknown = {
        (str(document.relative_to(REPOSITORY)), command)
        for document in DOCUMENTS
        if str(document.relative_to(REPOSITORY)) not in RUN
        for command in commands(document)
        if reason_not_to_run(command) is None and command != "source .venv/bin/activate"
    }
    assert not unknown, "add the document to RUN, or a reason to NOT_RUN"


def test_every_reason_not_to_run_a_command_is_needed():
    every = [command for document in DOCUMENTS for command in commands(document)]
    assert [pattern for pattern in NOT_RUN if not any(re.search(pattern, command) for command in every)] == []


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project that uses the same virtual environment."""
    copy = tmp_path / "mta_pipeline"
    tracked = subprocess.check_output(["git", "ls-files", "-z"], cwd=REPOSITORY, text=True).split("\0")
    for name in filter(None, tracked):
        if (REPOSITORY / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, copy / name)
    (copy / ".venv").symlink_to(REPOSITORY / ".venv")
    weeks = weeks_between("2023-12-30", "2024-01-27")
    SampleFeed(0, 8, weeks[0]).write(tmp_path / "feed", weeks)
    return copy


@pytest.mark.slow
def test_commands_in_the_documents_work_as_written(checkout, processes):
    feed, lake = str(checkout.parent / "feed"), str(checkout.parent / "lake")
    for document in RUN:
        typed = [command for command in commands(REPOSITORY / document) if reason_not_to_run(command) is None]
        assert typed, f"{document} has no command to run"
        # A document says first how to use the real portal, and then how to start one to try it with.
        typed = sorted(dict.fromkeys(typed), key=lambda command: "dg launch" in command)
        script = ["set -e", "trap 'kill -KILL $(jobs -p) 2>/dev/null || true' EXIT"]
        for command in typed:
            real = command.replace("<URL or directory>", feed).replace("<directory or URL>", lake)
            # In the other documents, sensors are on by then, and no daemon is running.
            may_fail = command == "mta-pipeline status" and document != "README.md"
            script += [f"cat <<'END'\n{document}$ {real}\nEND", f"{real} || [ $? -eq 1 ]" if may_fail else real]
            if command.endswith("&"):
                script.append(WAIT_FOR_PORTAL)
        examples = PYTHON.findall((REPOSITORY / document).read_text())
        script += [f".venv/bin/python - <<'END'\n{example}END" for example in examples]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MTA_", "DAGSTER_"))}
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=checkout,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:]
