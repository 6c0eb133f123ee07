"""Links from an asset in the UI: to its code, and to the place of its data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import dagster as dg

import mta_pipeline


def with_links(
    defs: dg.Definitions,
    uri_of: Callable[[dg.AssetKey], str | None],
    code: tuple[str, str, Literal["github", "gitlab"]] | None,
) -> dg.Definitions:
    """Add to each asset the metadata `dagster/code_references` and `dagster/uri`.

    Args:
        defs: the definitions.
        uri_of: returns the address of the data of an asset; None if there is none.
        code: the URL of the repository, the revision of the code, and whose URLs they are. Without it, links open the
            local files.
    """
    linked: Any = dg.with_source_code_references([*(defs.assets or ())])
    if code:
        package = Path(mta_pipeline.__file__).parent
        mapping = dg.AnchorBasedFilePathMapping(package, package.name)
        url, revision, platform = code
        linked = dg.link_code_references_to_git(linked, url, revision, mapping, platform=platform)
    metadata = {
        spec.key: spec.metadata
        for made in linked
        for spec in (made.specs if isinstance(made, dg.AssetsDefinition) else [made])
    }

    def add(spec: dg.AssetSpec) -> dg.AssetSpec:
        uri = uri_of(spec.key)
        return spec.replace_attributes(metadata={**metadata[spec.key], **({"dagster/uri": uri} if uri else {})})

    return defs.map_asset_specs(func=add)
