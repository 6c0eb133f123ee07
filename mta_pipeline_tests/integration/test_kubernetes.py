"""Tests deploy/kubernetes/values.yaml without a cluster.

Dagster's own launcher accepts the settings that the chart makes of the file, and creates the right job for a run.
"""

import dagster as dg
import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.test_utils import create_run_for_test
from dagster_k8s import K8sRunLauncher
from kubernetes import client

from mta_pipeline_tests.conftest import REPOSITORY

NAMES = {
    "imagePullPolicy": "image_pull_policy",
    "failPodOnRunFailure": "fail_pod_on_run_failure",
    "runK8sConfig": "run_k8s_config",
    "containerConfig": "container_config",
    "podSpecConfig": "pod_spec_config",
    "jobSpecConfig": "job_spec_config",
}
"""The launcher's option for each option of the chart, as in the chart's templates."""


KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "none",
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:9"}}],
    "users": [{"name": "none", "user": {}}],
}


@pytest.fixture
def values():
    return yaml.safe_load((REPOSITORY / "deploy" / "kubernetes" / "values.yaml").read_text())


def launcher_config(values):
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    nested = {NAMES[key]: value for key, value in launcher["runK8sConfig"].items()}
    return {**{NAMES[key]: value for key, value in launcher.items()}, "run_k8s_config": nested}


class Cluster:
    """Accepts jobs and runs none."""

    def create_namespaced_job(self, body, namespace, **how):
        self.job = client.ApiClient().sanitize_for_serialization(body)


@pytest.fixture
def job(values, tmp_path):
    """The job that Dagster's launcher creates for a run of the chart's code server."""
    (code,) = values["dagster-user-deployments"]["deployments"]
    container_context = {
        "env_vars": [f"{name}={value}" for name, value in code["env"].items()],
        "volumes": code["volumes"],
        "volume_mounts": code["volumeMounts"],
        "resources": code.get("resources", {}),
        "security_context": code["securityContext"],
        "run_k8s_config": {"pod_spec_config": {"security_context": code["podSecurityContext"]}},
    }
    origin = JobPythonOrigin(
        "weekly_ridership",
        RepositoryPythonOrigin(
            executable_path="python",
            code_pointer=ModuleCodePointer("mta_pipeline.definitions", "defs"),
            container_image="owner/mta-pipeline:1.0.0",
            entry_point=["dagster"],
            container_context={"k8s": container_context},
        ),
    )
    config = tmp_path / "kubeconfig"
    config.write_text(yaml.safe_dump(KUBECONFIG))
    cluster = Cluster()
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        launcher = K8sRunLauncher(
            service_account_name="dagster",
            instance_config_map="dagster-instance",
            dagster_home="/opt/dagster",
            postgres_password_secret=values["global"]["postgresqlSecretName"],
            load_incluster_config=False,
            kubeconfig_file=str(config),
            k8s_client_batch_api=cluster,
            **launcher_config(values),
        )
        launcher.register_instance(instance)
        run = create_run_for_test(instance, job_name="weekly_ridership", job_code_origin=origin)
        launcher.launch_run(LaunchRunContext(run, workspace=None))
    return cluster.job


def test_dagsters_launcher_accepts_the_run_settings(values):
    required = {
        "service_account_name": "dagster",
        "instance_config_map": "dagster-instance",
        "dagster_home": "/opt/dagster",
    }
    checked = process_config(
        resolve_to_config_type(K8sRunLauncher.config_type()), {**launcher_config(values), **required}
    )
    assert checked.success, checked.errors


def test_the_job_of_a_run_has_no_root_limits_and_the_settings_of_the_code_server(job):
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "2Gi"}
    assert job["spec"]["ttlSecondsAfterFinished"] > 0
    assert {"MTA_FEED", "LAKE_ROOT"} <= {variable["name"] for variable in container["env"]}


def test_the_values_contain_no_password(values):
    assert values["generatePostgresqlPasswordSecret"] is False
    assert "postgresqlPassword" not in values["postgresql"]
    assert values["global"]["postgresqlSecretName"]


def test_an_image_without_the_launcher_can_still_execute_runs(tmp_path):
    (tmp_path / "dagster.yaml").write_text("run_launcher: {module: nowhere.to.be.found, class: K8sRunLauncher}")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        run = create_run_for_test(instance)
        assert instance.get_run_by_id(run.run_id) is not None
