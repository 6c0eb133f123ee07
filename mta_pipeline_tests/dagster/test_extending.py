"""The examples in docs/extending.md work: applied to a copy of the project, they do what the guide says.

The copy replaces the project's modules while the tests of this file run, so modules are imported within the tests.
"""

import contextlib
import inspect
import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import dagster as dg
import polars as pl
import pytest

from mta_pipeline_tests.conftest import REPOSITORY

GUIDE = REPOSITORY / "docs" / "extending.md"
PACKAGES = ("mta_pipeline", "mta_pipeline_tests")
CONFTEST = "mta_pipeline_tests.conftest"
"""It changes the process when it is imported, so the copy uses the imported one."""


@dataclass(frozen=True)
class Block:
    """A code block of the guide, with the file that its first line names."""

    language: str
    file: str
    text: str

    @property
    def tests(self) -> list[str]:
        return re.findall(r"^def (test_\w+)", self.text, re.MULTILINE)

    @property
    def module(self) -> str:
        return self.file.removesuffix(".py").replace("/", ".")

    def apply(self, root: Path) -> None:
        """Write the new file, or change the existing one."""
        assert self.file.startswith(PACKAGES), f"the first line of a block must name a file, and not be {self.file}"
        path = root / self.file
        if self.language == "diff":
            path.write_text(patched(path.read_text(), self.text, self.file))
            return
        assert not path.exists(), f"{self.file} exists, so the guide must not call it new"
        path.parent.mkdir(exist_ok=True)
        path.write_text(self.text)


def blocks(text: str) -> list[Block]:
    """The code blocks of a guide, except for its commands."""
    fenced = re.findall(r"^(````?)(\w+)\n(.*?)^\1$", text, re.DOTALL | re.MULTILINE)
    found = ((language, *code.split("\n", 1)) for _, language, code in fenced if language != "bash")
    return [Block(language, first.removeprefix("+++ ").removeprefix("# "), rest) for language, first, rest in found]


def patched(text: str, changes: str, name: str) -> str:
    """The text with all changes of a diff without line numbers. Each must fit in exactly one place."""
    for change in re.split(r"^@@.*\n", changes, flags=re.MULTILINE):
        lines = [line or " " for line in change.splitlines()]
        before, after = ("".join(f"{line[1:]}\n" for line in lines if line[0] in kept) for kept in (" -", " +"))
        assert text.count(before) == 1, f"{name}: these lines occur {text.count(before)} times:\n{before}"
        text = text.replace(before, after)
    return text


BLOCKS = blocks(GUIDE.read_text())
TESTS = [(block.module, name) for block in BLOCKS for name in block.tests]


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Iterator[Path]:
    """A copy of the project with all examples, whose modules replace those of the project."""
    root = tmp_path_factory.mktemp("extended")
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for block in BLOCKS:
        block.apply(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root)
        for name in modules():
            patch.delitem(sys.modules, name)
        yield root
        for name in modules():
            # Python clears the modules that are imported when it ends. These must not keep others alive.
            vars(sys.modules.pop(name)).clear()


def modules() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] in PACKAGES and name != CONFTEST]


@pytest.fixture(scope="module")
def helpers(extended) -> ModuleType:
    """The helpers for whole projects, over the copy."""
    return import_module("mta_pipeline_tests.dagster.project")


@pytest.fixture
def project(helpers, tmp_path):
    """A project whose feed has three valid weeks, as in conftest."""
    return project_with_three_weeks(helpers, tmp_path)


@pytest.fixture(scope="module")
def finished(helpers, tmp_path_factory):
    """A project whose first week is in the lake."""
    made = project_with_three_weeks(helpers, tmp_path_factory.mktemp("finished"))
    assert made.run(helpers.WEEKS[0]).success
    return made


@pytest.fixture
def defs_package(extended, tmp_path, monkeypatch) -> Path:
    """A package with a folder for the declaration of a data set."""
    package = tmp_path / tmp_path.name / "defs"
    (package / "bridge_traffic").mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return package


def project_with_three_weeks(helpers: ModuleType, folder: Path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("mta_pipeline.weeks"), "FIRST_WEEK", "2023-12-02")
        made = helpers.Project(folder)
    for week in helpers.WEEKS:
        made.publish(week, helpers.valid_week(week))
    return made


def test_each_section_has_a_test(extended):
    sections = GUIDE.read_text().split("\n## ")[1:]
    assert [section.split("\n")[0] for section in sections if not any(block.tests for block in blocks(section))] == []
    assert Path(str(import_module("mta_pipeline").__file__)).is_relative_to(extended)


def test_a_change_that_no_longer_fits_fails():
    assert patched("a\nb\n", " a\n+c\n", "letters") == "a\nc\nb\n"
    with pytest.raises(AssertionError, match="letters: these lines occur 0 times:"):
        patched("a\nb\n", " d\n+c\n", "letters")


@pytest.mark.parametrize(("module", "name"), TESTS, ids=[name for _, name in TESTS])
def test_a_test_of_the_guide_passes(module, name, helpers, request):
    test = getattr(import_module(module), name)
    test(**{fixture: request.getfixturevalue(fixture) for fixture in inspect.signature(test).parameters})


def test_a_table_that_breaks_its_contract_is_not_written_and_its_file_stays(helpers, finished, monkeypatch):
    keys = import_module("mta_pipeline.orchestration.keys")
    statuses = import_module("mta_pipeline.orchestration.assets.statuses")
    count = statuses.complex_statuses
    monkeypatch.setattr(
        statuses, "complex_statuses", lambda traffic: count(traffic).with_columns(intervals=pl.lit(0, pl.Int64))
    )
    before = finished.files()
    result = helpers.Project(finished.root).run(helpers.WEEKS[0], tags={keys.COMPLETE_WEEKS: keys.REDO})
    assert "complex_statuses.intervals must be at least 1: 2 rows" in helpers.failure_of(result)
    assert finished.files() == before


def test_a_week_without_the_new_table_is_due_and_gets_that_table_alone(helpers, finished):
    first, lake = helpers.WEEKS[0], finished.lake
    due = import_module("mta_pipeline.lake.completeness").weeks_due
    new = lake / "lake" / "complex_statuses" / f"week={first}" / "part-0.parquet"
    assert list(due([first], str(lake), finished.source())) == []
    new.unlink()
    assert list(due([first], str(lake), finished.source())) == [first]
    before = {path: path.stat().st_mtime_ns for path in lake.rglob("part-0.parquet")}
    assert finished.run(first).success
    assert list(due([first], str(lake), finished.source())) == []
    assert {path for path in lake.rglob("part-0.parquet") if path.stat().st_mtime_ns != before.get(path)} == {new}


def test_new_tables_are_in_the_warehouse_and_their_examples_in_the_catalogue_agree(helpers, finished):
    page = import_module("mta_pipeline_tests.integration.test_catalogue_page")
    keys = import_module("mta_pipeline.orchestration.keys")
    result = finished.run(job=keys.MARTS_JOB, assets=[dg.AssetKey(["marts", "station_coverage"])])
    assert result.success, helpers.failure_of(result)
    names: dict[str, object] = {}
    exec(page.SETUP.replace("data/sample/lake", str(finished.lake)), names)
    with contextlib.closing(names["warehouse"]):
        for table in ("complex_statuses", "station_coverage"):
            page.test_an_example_gives_the_same_rows_in_sql_polars_and_pandas(table, names)
    assert {"## lake.complex_statuses", "## marts.station_coverage"} <= set(page.catalogue().splitlines())


def test_a_mart_shows_where_its_columns_come_from(extended):
    lineage = import_module("mta_pipeline.engines.sql").column_lineage("station_coverage")
    assert lineage["coverage"] == {("complex_daily", "ok_seconds"), ("complex_daily", "turnstile_seconds")}


def test_the_examples_add_names_and_change_none(extended):
    surface = import_module("mta_pipeline_tests.dagster.test_public_surface")
    defs = import_module("mta_pipeline.build").build_defs(
        surface.Settings(feed="feed", lake_root="lake", soda="https://portal.example", notify="json://example")
    )
    recorded = json.loads(surface.RECORD.read_text())
    found = {"assets": surface.assets(defs), "checks": surface.checks(defs), "tables": surface.tables()}
    changes = surface.differences({part: recorded[part] for part in found}, json.loads(json.dumps(found)))
    assert [change for change in changes if " is new: " not in change] == []
    jobs = surface.jobs(defs)
    added = {name: {*jobs[name]["assets"]} - {*job["assets"]} for name, job in recorded["jobs"].items()}
    assert {name: assets for name, assets in added.items() if assets} == {
        "weekly_ridership": {"lake/complex_statuses"},
        "marts": {"marts/station_coverage", "report/station_map"},
    }


@pytest.mark.parametrize(
    ("right", "wrong", "at", "saying"),
    [
        ("type: integer", "type: whole", "type: whole", "'text', 'integer', 'number'"),
        ("key: [day]", "key: [week]", "attributes:", "week is not one of the columns: day, vehicles"),
    ],
)
def test_a_wrong_declaration_is_reported_with_file_and_line(defs_package, right, wrong, at, saying):
    [declared] = [block.text for block in BLOCKS if block.language == "yaml"]
    text = declared.replace(right, wrong)
    line = next(n for n, content in enumerate(text.splitlines(), 1) if at in content)
    (defs_package / "bridge_traffic" / "defs.yaml").write_text(text)
    components = import_module("mta_pipeline.components")
    with pytest.raises(components.DeclarationError) as raised:
        components.declared_data_sets(import_module(f"{defs_package.parent.name}.defs"))
    assert re.search(rf"bridge_traffic/defs.yaml:{line}\b[^\n]*\n[^\n]*{re.escape(saying)}", str(raised.value))
