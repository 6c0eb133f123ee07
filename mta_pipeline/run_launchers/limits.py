"""Memory and CPU limits of a run's container, from the tags of assets and runs.

Dagster's own launcher for Docker has the same limits for all runs.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mta_pipeline.orchestration.keys import CPUS_TAG, MEMORY_TAG

_MEMORY: Final = re.compile(r"([1-9]\d*)([mg])")
_CPUS: Final = re.compile(r"\d+(\.\d+)?")
_BYTES: Final = {"m": 2**20, "g": 2**30}


class LimitError(ValueError):
    """A tag has an invalid limit. The message names the tag and its format."""


def largest(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The largest limit of each kind among the tags of a run's assets, as tags for the run.

    Raises:
        LimitError: a tag has an invalid limit.
    """
    found: dict[str, str] = {}
    for of_asset in tags:
        for tag, amount in ((MEMORY_TAG, _bytes), (CPUS_TAG, _nano_cpus)):
            limit = of_asset.get(tag)
            if limit is not None and (tag not in found or amount(limit) > amount(found[tag])):
                found[tag] = limit
    return found


def container_arguments(tags: Mapping[str, str]) -> dict[str, Any]:
    """The limits in a run's tags as arguments of Docker's `containers.create`; empty without such tags.

    Raises:
        LimitError: a tag has an invalid limit.
    """
    arguments: dict[str, Any] = {}
    if MEMORY_TAG in tags:
        # No swap: it would only delay the end of the run, and slow down all other runs until then.
        arguments["mem_limit"] = arguments["memswap_limit"] = _bytes(tags[MEMORY_TAG])
    if CPUS_TAG in tags:
        arguments["nano_cpus"] = _nano_cpus(tags[CPUS_TAG])
    return arguments


def _bytes(text: str) -> int:
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise LimitError(f"{MEMORY_TAG}: {text!r} is not an amount of memory. Use a number and m or g, as in 2g")
    return int(match[1]) * _BYTES[match[2]]


def _nano_cpus(text: str) -> int:
    if not _CPUS.fullmatch(text) or float(text) <= 0:
        raise LimitError(f"{CPUS_TAG}: {text!r} is not a number of CPUs. Use a number above 0, as in 0.5")
    return round(float(text) * 1e9)
