"""The commands in the documents: those in bash blocks, and the reason why a test does not run some of them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from mta_pipeline_tests.conftest import REPOSITORY

DOCUMENTS = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "AGENTS.md", "bench/README.md")]
DOCUMENTS += sorted((REPOSITORY / "docs").glob("*.md"))

_COMMENT = re.compile(r"(^|\s)#.*")
_BLOCK = re.compile(r"^ *```bash\n(.*?)^ *```", re.DOTALL | re.MULTILINE)

NOT_RUN = {
    r"mta-pipeline accept": "needs a pending version; test_cli accepts one",
    r"^make (dev|logs)$|^mta-pipeline metrics$": "serves until it is stopped; test_live and test_health start it",
    r"^make (test|lint|check|catalogue|parity|\.venv)": "CI runs it, or a test compares its result",
    r"^(UPDATE_SNAPSHOTS=1 )?pytest ": "CI runs all tests",
    r"^make bench": "measures for minutes",
    r"make up|^make down|^docker ": "needs a Docker engine; the Docker tests use one",
    r"^(POSTGRES_PASSWORD=<password> )?docker compose": "needs a Docker engine; the Docker tests use one",
    r"^(PROJECT=|gcloud |terraform |bq |openssl |cd |IMAGES=|make (image|deployment)|\$\(terraform)": "needs a cloud",
    r"^(kubectl|helm) ": "needs a cluster; test_kubernetes renders the manifests",
    r"^make run MTA_FEED=": "needs the data that it names; test_sources_agree reads every kind, test_makefile runs it",
    r"mta-pipeline portal --weeks 2019": "serves until it is stopped; test_cli starts it",
    r"^export MTA_SODA=https": "needs the real portal; the portal of the sample takes its place",
    r"^python tools/compile_reference\.py": "needs the MTA's source files; test_reference runs it",
    r"^uv pip install": "changes the environment, which has all extras",
    r"^mta-pipeline notify$": "needs a receiver of notifications; test_notify has one",
}
"""Commands that the test leaves out, as patterns, with the reason."""


def commands(document: Path) -> Iterator[str]:
    """The commands of a document, in order and without comments. A command may have several lines."""
    for block in _BLOCK.findall(document.read_text()):
        command = ""
        for line in block.replace("\\\n", " ").splitlines():
            command = f"{command} {_COMMENT.sub('', line)}".strip()
            if command and _is_complete(command):
                yield re.sub(r"\s+", " ", command)
                command = ""


def reason_not_to_run(command: str) -> str | None:
    """Why a test does not run a command, or None if it does."""
    return next((reason for pattern, reason in NOT_RUN.items() if re.search(pattern, command)), None)


def _is_complete(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:  # a quotation mark is open
        return False
    return True
