"""The limits of a run's container, from the tags of its assets and of the run."""

import pytest

from mta_pipeline.orchestration.keys import CPUS_TAG, MEMORY_TAG
from mta_pipeline.run_launchers.limits import LimitError, container_arguments, largest


def test_the_largest_limit_of_several_assets_applies():
    tags = [{MEMORY_TAG: "1500m"}, {MEMORY_TAG: "2g", CPUS_TAG: "0.5"}, {CPUS_TAG: "2"}, {"other": "9g"}]
    assert largest(tags) == {MEMORY_TAG: "2g", CPUS_TAG: "2"}


def test_sizes_are_compared_by_value_and_not_as_text():
    assert largest([{MEMORY_TAG: "1g"}, {MEMORY_TAG: "1025m"}]) == {MEMORY_TAG: "1025m"}


def test_assets_without_limits_leave_the_defaults():
    assert largest([{}, {"other": "1"}]) == {}
    assert container_arguments({}) == {}


def test_limits_become_docker_arguments_without_swap():
    assert container_arguments({MEMORY_TAG: "2g", CPUS_TAG: "0.5"}) == {
        "mem_limit": 2 * 2**30,
        "memswap_limit": 2 * 2**30,
        "nano_cpus": 500_000_000,
    }


@pytest.mark.parametrize("memory", ["2", "2G", "0g", "-1g", "2 g", "1.5g", "lots"])
def test_an_invalid_memory_limit_is_named(memory):
    with pytest.raises(LimitError, match=rf"run-container/memory: '{memory}'.*as in 2g"):
        container_arguments({MEMORY_TAG: memory})


@pytest.mark.parametrize("cpus", ["0", "0.0", "-1", "two", "1.", "nan"])
def test_an_invalid_cpu_limit_is_named(cpus):
    with pytest.raises(LimitError, match=rf"run-container/cpus: '{cpus}'.*as in 0\.5"):
        container_arguments({CPUS_TAG: cpus})
