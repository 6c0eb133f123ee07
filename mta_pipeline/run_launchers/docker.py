"""Dagster's launcher for Docker, with limits per run and without the need of Docker where a run is cancelled.

What becomes of a container after its launch is the caretaker's, or of Dagster's run monitoring.
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
    """One container per run, with the memory and processors that tags of the run or of its assets ask for."""

    def launch_run(self, context: LaunchRunContext) -> None:
        """Create and start the run's container; limits that come from assets are written down as tags of the run."""
        run = context.dagster_run
        asked = {tag: limit for tag, limit in largest(_tags_of_assets(context)).items() if tag not in run.tags}
        if asked:
            self._instance.add_run_tags(run.run_id, asked)
            run = self._instance.get_run_by_id(run.run_id) or run
        super().launch_run(context._replace(dagster_run=run))

    def get_container_context(self, dagster_run: dg.DagsterRun) -> DockerContainerContext:
        """What the run's container is created with."""
        usual: DockerContainerContext = super().get_container_context(dagster_run)
        ours = DockerContainerContext(
            container_kwargs=container_arguments(dagster_run.tags),
            # For programs in the container that know of traces.
            env_vars=[f"TRACEPARENT={run_ids(dagster_run.run_id).traceparent}"],
        )
        merged: DockerContainerContext = usual.merge(ours)
        return merged

    def terminate(self, run_id: str) -> bool:
        """Ask for the end of a run: the caretaker stops its container, so that the webserver needs no Docker."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the run's container lives, and what has ended it if it does not."""
        health: CheckRunHealthResult = super().check_run_worker_health(run)
        container = self._container(run)
        if health.status is not WorkerStatus.FAILED:
            return health
        found = health if container is None else _failed(container)
        tell_of_dead_run(self._instance, run, found.msg or "")
        return found

    def get_run_worker_debug_info(self, run: dg.DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """What the container of a run that does not start is at, and what it has said last."""
        container = self._container(run)
        if container is None or not include_container_logs:
            return None
        return f"Its container is {container.status}. It said:\n{_last_words(container)}"

    def _container(self, run: dg.DagsterRun) -> Container | None:
        return self._get_container(run)  # type: ignore[no-untyped-call]


def why_it_ended(container: Container) -> str:
    """What has ended a container, for whoever reads the log of its run."""
    state = container.attrs["State"]
    if state.get("OOMKilled"):
        limit = container.attrs["HostConfig"]["Memory"] // 2**20
        return (
            f"Out of memory: its container may use {limit} MiB; the tag {MEMORY_TAG} of a run, as in 2g, gives it more."
        )
    return f"Its container is {state['Status']}, with exit code {state['ExitCode']}. It said:\n{_last_words(container)}"


def _failed(container: Container) -> CheckRunHealthResult:
    return CheckRunHealthResult(WorkerStatus.FAILED, why_it_ended(container))


def _last_words(container: Container) -> str:
    return str(container.logs(tail=20).decode(errors="replace")).strip()


def _tags_of_assets(context: LaunchRunContext) -> Iterator[Mapping[str, str]]:
    """The tags of each asset of a run, as the code server knows them."""
    run = context.dagster_run
    if context.workspace is None:
        return
    for node in context.workspace.asset_graph.asset_nodes:
        if node.key in run.asset_selection if run.asset_selection is not None else run.job_name in node.job_names:
            yield node.tags
