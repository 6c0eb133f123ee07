"""What the documents point to exists: files, headings, and paths and modules of the project."""

import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from mta_pipeline.cli.configuration import configuration
from mta_pipeline_tests.conftest import REPOSITORY

DOCUMENTS = sorted(
    path
    for path in (*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("bench/*.md"))
    if path.name != "CHANGELOG.md"  # it names what was
)
FOLDERS = "mta_pipeline|mta_pipeline_tests|docs|deploy|bench|terraform|tools"


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


@cache
def anchors(path: Path) -> set[str]:
    """The anchors of a document: those of its headings, as GitHub makes them, and those that it sets."""
    text = without_code(path.read_text())
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", heading).lower() for heading in headings)
    made = {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}
    return made | set(re.findall(r'<a id="([^"]+)"', text))


def dead_links(path: Path) -> Iterator[str]:
    for number, line in enumerate(without_code(path.read_text()).splitlines(), 1):
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
            file, _, anchor = target.partition("#")
            if "://" in target or target.startswith("mailto:"):
                continue
            pointed = (path.parent / file).resolve() if file else path
            if not pointed.exists() or (anchor and pointed.suffix == ".md" and anchor not in anchors(pointed)):
                yield f"line {number}: {target}"


def dead_paths(path: Path) -> Iterator[str]:
    for name in re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", path.read_text()):
        if not (REPOSITORY / name).exists():
            yield name
    for module in re.findall(r"\b(mta_pipeline(?:\.[a-z_]+)+)\b", path.read_text()):
        if not is_known(module):
            yield module


@cache
def is_known(module: str) -> bool:
    """Whether it is a module, or something in one."""
    outer = module.rpartition(".")[0]
    try:
        return find_spec(module) is not None or find_spec(outer) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_and_path_in_a_document_leads_somewhere(path):
    assert [*dead_links(path), *dead_paths(path)] == []


def test_every_target_that_documents_name_is_in_the_makefile():
    targets = set(re.findall(r"^([a-z][a-z.-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = {
        (str(path.relative_to(REPOSITORY)), target)
        for path in DOCUMENTS
        for target in re.findall(r"(?:^|`)make ([a-z][a-z-]+)", path.read_text(), re.MULTILINE)
    }
    assert {(path, target) for path, target in named if target not in targets} == set()


def test_the_page_of_settings_is_the_one_that_the_code_gives():
    page = (REPOSITORY / "docs" / "configuration.md").read_text()
    assert page == configuration(), "make configuration writes it again"


def test_every_setting_that_documents_name_exists():
    known = set(re.findall(r"`([A-Z][A-Z_]+)`", configuration()))
    named = {
        (str(path.relative_to(REPOSITORY)), name)
        for path in DOCUMENTS
        for name in re.findall(r"\bMTA_[A-Z]+(?:_[A-Z]+)*\b", path.read_text())
    }
    elsewhere = (REPOSITORY / "compose.yaml").read_text() + (
        REPOSITORY / "mta_pipeline_tests" / "conftest.py"
    ).read_text()
    assert {(path, name) for path, name in named if name not in known and name not in elsewhere} == set()
