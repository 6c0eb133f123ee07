"""What a run's container may take, as tags of assets and of runs say it.

Dagster's launcher for Docker has one limit for all runs. How a container is launched does not belong here.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mta_pipeline.orchestration.keys import CPUS_TAG, MEMORY_TAG

_MEMORY: Final = re.compile(r"([1-9]\d*)([mg])")
_CPUS: Final = re.compile(r"\d+(\.\d+)?")
_BYTES: Final = {"m": 2**20, "g": 2**30}


class LimitError(ValueError):
    """A tag that is no limit; the message names it and what it takes."""


def largest(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Of the limits that the assets of one run ask for, the largest of each kind, as tags of the run.

    Raises:
        LimitError: a tag is no limit.
    """
    found: dict[str, str] = {}
    for of_asset in tags:
        for tag, amount in ((MEMORY_TAG, _bytes), (CPUS_TAG, _nano_cpus)):
            asked = of_asset.get(tag)
            if asked is not None and (tag not in found or amount(asked) > amount(found[tag])):
                found[tag] = asked
    return found


def container_arguments(tags: Mapping[str, str]) -> dict[str, Any]:
    """The limits in a run's tags as arguments of Docker's `containers.create`; empty if it has none.

    Raises:
        LimitError: a tag is no limit.
    """
    arguments: dict[str, Any] = {}
    if MEMORY_TAG in tags:
        # Swap would only put the end off, and slow down all others until then.
        arguments["mem_limit"] = arguments["memswap_limit"] = _bytes(tags[MEMORY_TAG])
    if CPUS_TAG in tags:
        arguments["nano_cpus"] = _nano_cpus(tags[CPUS_TAG])
    return arguments


def _bytes(text: str) -> int:
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise LimitError(f"{MEMORY_TAG}: {text!r} is no amount of memory; it takes a number and m or g, as in 2g")
    return int(match[1]) * _BYTES[match[2]]


def _nano_cpus(text: str) -> int:
    if not _CPUS.fullmatch(text) or float(text) <= 0:
        raise LimitError(f"{CPUS_TAG}: {text!r} is no number of processors; it takes one above 0, as in 0.5")
    return round(float(text) * 1e9)
