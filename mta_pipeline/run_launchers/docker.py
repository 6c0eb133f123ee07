"""Dagster's launcher for Docker, with limits per run. Terminating a run does not need access to Docker.

After the launch, the reaper and Dagster's run monitoring take care of the container.
"""

from collections.abc import Iterator, Mapping

import dagster as dg
from dagster_docker import DockerRunLauncher
from dagster_docker.container_context import DockerContainerContext
from docker.models.containers import Container

from mta_pipeline.orchestration.dagster_internals import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from mta_pipeline.orchestration.keys import MEMORY_TAG
from mta_pipeline.run_launchers.limits import container_arguments, largest
from mta_pipeline.telemetry.run_traces import run_ids, tell_of_dead_run


class ContainerRunLauncher(DockerRunLauncher):
    """Launches one container per run, with the memory and CPU limits in the tags of the run or of its assets."""

    def launch_run(self, context: LaunchRunContext) -> None:
        """Create and start the run's container. Limits of assets are added to the run as tags."""
        run = context.dagster_run
        limits = {tag: limit for tag, limit in largest(_tags_of_assets(context)).items() if tag not in run.tags}
        if limits:
            self._instance.add_run_tags(run.run_id, limits)
            run = self._instance.get_run_by_id(run.run_id) or run
        super().launch_run(context._replace(dagster_run=run))

    def get_container_context(self, dagster_run: dg.DagsterRun) -> DockerContainerContext:
        """The settings for the run's container: those of `dagster.yaml`, with the limits and trace of this run."""
        default: DockerContainerContext = super().get_container_context(dagster_run)
        ours = DockerContainerContext(
            container_kwargs=container_arguments(dagster_run.tags),
            # For programs in the container that support tracing.
            env_vars=[f"TRACEPARENT={run_ids(dagster_run.run_id).traceparent}"],
        )
        merged: DockerContainerContext = default.merge(ours)
        return merged

    def terminate(self, run_id: str) -> bool:
        """Mark the run as canceling. The reaper then stops its container, so the webserver needs no Docker access."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Check whether the run's container is alive. If not, the message says why it ended."""
        health: CheckRunHealthResult = super().check_run_worker_health(run)
        container = self._container(run)
        if health.status is not WorkerStatus.FAILED:
            return health
        found = health if container is None else _failed(container)
        tell_of_dead_run(self._instance, run, found.msg or "")
        return found

    def get_run_worker_debug_info(self, run: dg.DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """Status and last log lines of the container of a run that does not start."""
        container = self._container(run)
        if container is None or not include_container_logs:
            return None
        return f"Status of the container: {container.status}. Its last log lines:\n{_last_log_lines(container)}"

    def _container(self, run: dg.DagsterRun) -> Container | None:
        return self._get_container(run)  # type: ignore[no-untyped-call]


def why_it_ended(container: Container) -> str:
    """Why a container ended, as text for the log of its run."""
    state = container.attrs["State"]
    if state.get("OOMKilled"):
        limit = container.attrs["HostConfig"]["Memory"] // 2**20
        return (
            f"Out of memory: the container may use {limit} MiB. "
            f"To give it more, launch the run with the tag {MEMORY_TAG}, for example 2g."
        )
    status = f"Status of the container: {state['Status']}, with exit code {state['ExitCode']}."
    return f"{status} Its last log lines:\n{_last_log_lines(container)}"


def _failed(container: Container) -> CheckRunHealthResult:
    return CheckRunHealthResult(WorkerStatus.FAILED, why_it_ended(container))


def _last_log_lines(container: Container) -> str:
    return str(container.logs(tail=20).decode(errors="replace")).strip()


def _tags_of_assets(context: LaunchRunContext) -> Iterator[Mapping[str, str]]:
    """The tags of each asset of a run, from the definitions of the code server."""
    run = context.dagster_run
    if context.workspace is None:
        return
    for node in context.workspace.asset_graph.asset_nodes:
        if node.key in run.asset_selection if run.asset_selection is not None else run.job_name in node.job_names:
            yield node.tags
