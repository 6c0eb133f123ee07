"""Dagster behaviour that recovery relies on, so that an incompatible upgrade fails here."""

import os

import dagster as dg
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext


@dg.op(pool="one")
def pooled() -> None: ...


@dg.job(executor_def=dg.in_process_executor)
def pooled_job() -> None:
    pooled()


def test_dagsters_own_launcher_does_not_monitor_its_processes() -> None:
    assert not dg.DefaultRunLauncher().supports_check_run_worker_health


def test_the_log_of_a_run_names_its_process() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = pooled_job.execute_in_process(instance=instance)
        [started, _] = [event for event in result.all_events if event.is_engine_event]
    assert started.event_specific_data.metadata["pid"].value == str(os.getpid())


def test_with_pools_counted_by_step_a_waiting_step_never_sleeps() -> None:
    # Therefore dagster.yaml counts them by run. If this test fails, they can be counted by step, so that runs overlap.
    with dg.instance_for_test(overrides={"concurrency": {"pools": {"granularity": "op"}}}) as instance:
        instance.event_log_storage.set_concurrency_slots("one", 1)
        first, second = (instance.create_run_for_job(pooled_job) for _ in range(2))
        with (
            InstanceConcurrencyContext(instance, first) as holder,
            InstanceConcurrencyContext(instance, second) as waiter,
        ):
            assert holder.claim("one", "pooled")
            assert not waiter.claim("one", "pooled")
            assert waiter.interval_to_next_pending_claim_check() <= 0
            holder.free_step("pooled")


def test_with_pools_counted_by_run_no_step_waits() -> None:
    with dg.instance_for_test(overrides={"concurrency": {"pools": {"granularity": "run"}}}) as instance:
        instance.event_log_storage.set_concurrency_slots("one", 0)
        assert pooled_job.execute_in_process(instance=instance).success
