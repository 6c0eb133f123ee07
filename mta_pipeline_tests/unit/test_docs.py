"""Everything that the documents refer to exists: files, headings, paths, modules, make targets and settings."""

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
    if path.name != "CHANGELOG.md"  # it names files of earlier versions
)
FOLDERS = "mta_pipeline|mta_pipeline_tests|docs|deploy|bench|terraform|tools"


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


@cache
def anchors(path: Path) -> set[str]:
    """The anchors of a document: those that GitHub makes from its headings, and explicit ones."""
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
            linked = (path.parent / file).resolve() if file else path
            if not linked.exists() or (anchor and linked.suffix == ".md" and anchor not in anchors(linked)):
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
    """Whether it is a module or a member of one."""
    outer = module.rpartition(".")[0]
    try:
        return find_spec(module) is not None or find_spec(outer) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_and_path_in_a_document_exists(path):
    assert [*dead_links(path), *dead_paths(path)] == []


def test_every_make_target_in_the_documents_exists():
    targets = set(re.findall(r"^([a-z][a-z.-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = {
        (str(path.relative_to(REPOSITORY)), target)
        for path in DOCUMENTS
        for target in re.findall(r"(?:^|`)make ([a-z][a-z-]+)", path.read_text(), re.MULTILINE)
    }
    assert {(path, target) for path, target in named if target not in targets} == set()


def test_the_page_of_settings_equals_the_generated_one():
    page = (REPOSITORY / "docs" / "configuration.md").read_text()
    assert page == configuration(), "run make configuration to write it again"


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


COMMAND = re.compile(r"^(?:[A-Z_]+=\S+ )*(?:mta-pipeline|dagster|dg|uv|pytest|python) ", re.MULTILINE)
ACTIVATION = "source .venv/bin/activate"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_document_activates_the_environment_before_its_commands_and_names_no_other_way(path):
    text = path.read_text()
    blocks = "".join(re.findall(r"^ *```bash\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE))
    first = COMMAND.search(blocks)
    assert first is None or ACTIVATION in blocks[: first.start()]
    assert ".venv/bin/" not in text.replace(ACTIVATION, "")


def test_every_picture_is_shown_by_a_document_and_is_small():
    pictures = {path.resolve() for path in (REPOSITORY / "docs" / "images").iterdir()}
    shown = {
        (path.parent / source).resolve()
        for path in DOCUMENTS
        for source in re.findall(r'<img src="([^"]+)"', path.read_text())
    }
    assert pictures == shown
    assert max(picture.stat().st_size for picture in pictures) < 150_000
