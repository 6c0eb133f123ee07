"""The measurements that the documents name can be repeated."""

import os
import subprocess
import sys

import pytest

from mta_pipeline_tests.conftest import REPOSITORY


@pytest.mark.slow
def test_the_rates_of_the_anomaly_checks_can_be_measured(processes):
    command = [sys.executable, "bench/anomalies.py", "1"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    shown = subprocess.check_output(command, cwd=REPOSITORY, env=environment, text=True)
    assert shown.startswith("1 seeds, 6 weeks checked unchanged")
    assert "a complex is not in the file" in shown
