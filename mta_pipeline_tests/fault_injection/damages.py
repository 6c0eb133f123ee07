"""Fault injection into the files of a complete lake: bytes are changed, and files are cut or removed.

`mta-pipeline verify` must report each of them, and the next `mta-pipeline run` must make it again from the feed.
"""

from collections.abc import Iterable
from pathlib import Path

from mta_pipeline.lake.raw import RAW
from mta_pipeline_tests.fault_injection.lake_comparison import LakeComparison, different_marts
from mta_pipeline_tests.fault_injection.sandbox import Sandbox, Site

LAYERS = (RAW, "staged", "lake", "marts")


def lost_raw_object(sandbox: Sandbox) -> LakeComparison:
    """Published bytes of the raw layer are lost: a run lands a removed object again, and after `verify` also a cut one.

    A run does not read the objects of complete weeks, so that it cannot find the second one itself.
    """
    site = sandbox.site()
    site.run()
    removed, cut = sandbox.rng.sample(sorted(site.lake.glob(f"{RAW}/*/week=*/*.zst")), 2)
    removed.unlink()
    site.run()
    total = LakeComparison(lost=not removed.exists())
    _cut(cut, sandbox)
    total += LakeComparison(undetected=undetected(sandbox, site, [cut]))
    site.run()
    return total + site.compare(sandbox.undisturbed)


def damages(sandbox: Sandbox, count: int) -> LakeComparison:
    """Random damages of all layers, of the warehouse and of the report at once."""
    site = sandbox.site()
    site.run()
    missed = undetected(sandbox, site, _damaged(sandbox, site, count))
    site.run()
    different = len(site.verify()) + different_marts(site.lake, sandbox.undisturbed)
    for aside in site.lake.rglob(".*.damaged"):  # kept for those who look for the cause
        aside.unlink()
    return site.compare(sandbox.undisturbed) + LakeComparison(different=different, undetected=missed)


def _damaged(sandbox: Sandbox, site: Site, count: int) -> list[Path]:
    """Damage that many files, at least one of each layer. Returns them."""
    files = {layer: sorted(site.lake.glob(f"{layer}/**/[!.]*.*")) for layer in LAYERS}
    chosen = [
        site.lake / "warehouse" / "mta.duckdb",
        site.lake / "report" / "index.html",
        *map(sandbox.rng.choice, files.values()),
    ]
    others = sorted({path for of_layer in files.values() for path in of_layer} - {*chosen})
    chosen += sandbox.rng.sample(others, count - len(chosen))
    for path in chosen:
        damage = sandbox.rng.choice((_remove, _cut, _change))
        damage(path, sandbox)
        sandbox.note(f"  {damage.__name__.strip('_')} {path.relative_to(site.disk)}")
    return chosen


def _remove(path: Path, _: Sandbox) -> None:
    path.unlink()


def _cut(path: Path, sandbox: Sandbox) -> None:
    path.write_bytes(path.read_bytes()[: sandbox.rng.randrange(path.stat().st_size)])


def _change(path: Path, sandbox: Sandbox) -> None:
    contents = bytearray(path.read_bytes())
    contents[sandbox.rng.randrange(len(contents))] ^= sandbox.rng.randrange(1, 256)
    path.write_bytes(contents)


def undetected(sandbox: Sandbox, site: Site, damaged: Iterable[Path]) -> int:
    """Verify the lake. Returns how many damaged files are not reported; raw data may be reported by their folder."""
    problems = site.verify()
    reported = {path for path, _ in problems}
    texts = "\n".join(text for _, text in problems)
    unreported = [path for path in damaged if str(path) not in texts and not {str(path), str(path.parent)} & reported]
    for path in unreported:
        sandbox.note(f"  not reported: {path}")
    return len(unreported)
