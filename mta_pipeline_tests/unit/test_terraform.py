"""The Terraform code and the program mean the same names; what it is worth as Terraform is `make terraform-check`'s."""

import re

from mta_pipeline.settings import Settings
from mta_pipeline_tests.conftest import REPOSITORY

TERRAFORM = REPOSITORY / "terraform"
MAIN = (TERRAFORM / "main.tf").read_text()
MONITORING = (TERRAFORM / "modules" / "monitoring" / "main.tf").read_text()
STARTUP = (TERRAFORM / "modules" / "runner" / "startup.sh").read_text()
RUNNER = (TERRAFORM / "modules" / "runner" / "main.tf").read_text()


def test_the_settings_that_terraform_gives_are_settings_of_ours():
    [block] = re.findall(r"settings = merge\(\s*\{(.*?)\n    \}", MAIN, re.DOTALL)
    given = set(re.findall(r"^ +([A-Z_]+) +=", block, re.MULTILINE))
    ours = {field.alias for field in Settings.model_fields.values()}
    assert given - ours == {"GOOGLE_CLOUD_PROJECT"}
    assert {"MTA_FEED", "LAKE_ROOT", "WAREHOUSE", "BIGQUERY_LOCATION"} <= given


def test_a_warehouse_as_terraform_names_it_is_one_that_we_read():
    assert 'WAREHOUSE            = "bigquery://${var.project}/${local.dataset_prefix}"' in MAIN
    assert 'dataset_prefix = "mta_${var.environment}_"' in MAIN
    read = Settings(feed="gs://feed", lake_root="gs://lake", warehouse="bigquery://my-project/mta_prod_")
    assert read.bigquery == ("my-project", "mta_prod_")


def test_alerts_look_at_the_logs_that_the_machine_writes():
    looked_at = set(re.findall(r"/logs/([a-z-]+)\\\"", MONITORING))
    script = (REPOSITORY / "deploy" / "google" / "heartbeat.py").read_text()
    assert looked_at == set(re.findall(r'write\("([a-z-]+)"', script)) == {"mta-alive", "mta-failed-runs"}


def test_the_machine_reads_the_metadata_that_it_is_given():
    assert set(re.findall(r"metadata (mta-[a-z-]+)", STARTUP)) == set(
        re.findall(r"^ +(mta-[a-z-]+) ", RUNNER, re.MULTILINE)
    )


def test_no_rule_of_the_lake_s_bucket_deletes_anything():
    lake = (TERRAFORM / "modules" / "lake" / "main.tf").read_text()
    assert set(re.findall(r"^ +type +=\s+\"(\w+)\"", lake, re.MULTILINE)) == {"SetStorageClass"}
