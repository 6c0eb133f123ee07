"""The Terraform code and the program use the same names. `make terraform-check` validates the Terraform code itself."""

import re

from mta_pipeline.settings import Settings
from mta_pipeline_tests.conftest import REPOSITORY

TERRAFORM = REPOSITORY / "terraform"
MAIN = (TERRAFORM / "main.tf").read_text()
MONITORING = (TERRAFORM / "modules" / "monitoring" / "main.tf").read_text()
STARTUP = (TERRAFORM / "modules" / "runner" / "startup.sh").read_text()
RUNNER = (TERRAFORM / "modules" / "runner" / "main.tf").read_text()


def test_terraform_sets_only_existing_settings():
    [block] = re.findall(r"settings = merge\(\s*\{(.*?)\n    \}", MAIN, re.DOTALL)
    given = set(re.findall(r"^ +([A-Z_]+) +=", block, re.MULTILINE))
    known = {field.alias for field in Settings.model_fields.values()}
    assert given - known == {"GOOGLE_CLOUD_PROJECT"}
    assert {"MTA_FEED", "LAKE_ROOT", "WAREHOUSE", "BIGQUERY_LOCATION"} <= given


def test_the_warehouse_set_by_terraform_is_a_valid_setting():
    assert 'WAREHOUSE            = "bigquery://${var.project}/${local.dataset_prefix}"' in MAIN
    assert 'dataset_prefix = "mta_${var.environment}_"' in MAIN
    read = Settings(feed="gs://feed", lake_root="gs://lake", warehouse="bigquery://my-project/mta_prod_")
    assert read.bigquery == ("my-project", "mta_prod_")


def test_alerts_use_the_logs_that_the_machine_writes():
    logs = set(re.findall(r"/logs/([a-z-]+)\\\"", MONITORING))
    script = (REPOSITORY / "deploy" / "google" / "heartbeat.py").read_text()
    assert logs == set(re.findall(r'write\("([a-z-]+)"', script)) == {"mta-alive", "mta-failed-runs"}


def test_the_machine_reads_the_metadata_that_terraform_sets():
    assert set(re.findall(r"metadata (mta-[a-z-]+)", STARTUP)) == set(
        re.findall(r"^ +(mta-[a-z-]+) ", RUNNER, re.MULTILINE)
    )


def test_the_lifecycle_rules_of_the_lake_s_bucket_delete_nothing():
    lake = (TERRAFORM / "modules" / "lake" / "main.tf").read_text()
    assert set(re.findall(r"^ +type +=\s+\"(\w+)\"", lake, re.MULTILINE)) == {"SetStorageClass"}
