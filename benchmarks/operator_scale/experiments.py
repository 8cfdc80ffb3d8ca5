"""What is measured: plain Jobs, TrainingJobs with and without MLflow, and thousands of them at rest."""

import asyncio
import time
from dataclasses import dataclass

from benchmarks.operator_scale.load import (
    MODEL_NAME,
    POLL_SECONDS,
    create_all,
    create_namespace,
    names,
    own_namespace,
    plain_job,
    training_job,
    until,
    watching,
)
from benchmarks.operator_scale.usage import Usage, operator_writes, writes
from benchmarks.operator_scale.world import World
from mlinfra.kube import KubernetesClient
from mlinfra.kube.informer import Informer, running
from mlinfra.kube.resource import EVENTS, JOBS, TRAINING_JOBS
from mlinfra.local.simulated_nodes import ENDLESS_IMAGE
from mlinfra_operator.runtime import mlflow_calls
from mlinfra_operator.runtime.mlflow_registry import Mlflow
from mlinfra_operator.runtime.operator import WORKERS
from mlinfra_operator.tracking import Run

IDLE_SECONDS = 30.0
CLOSING_SECONDS = 10.0
QUIET_SECONDS = 3.0
"""So long nothing may change before the operator counts as idle."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What so many TrainingJobs cost, from their creation to their end.

    Attributes:
        create_to_pod: seconds of each, shortest first.
        cpu_milliseconds: of the operator, for each.
        writes: of the operator, for each; Events aside.
        peak_mib: the most memory that the operator held.
    """

    create_to_pod: tuple[float, ...]
    cpu_milliseconds: float
    writes: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Idle:
    """What so many live TrainingJobs cost while nothing happens.

    Attributes:
        resident_mib: memory of the operator.
        peak_mib: the most that it held so far.
        share: of one core.
    """

    resident_mib: float
    peak_mib: float
    share: float


@dataclass(frozen=True, slots=True)
class Restarted:
    """What a restart among so many live TrainingJobs costs.

    Attributes:
        seconds: from the start of the process until a new TrainingJob had its pod.
        written: how many of the TrainingJobs and their Jobs the restart changed.
        resident_mib, peak_mib: memory of the new process, and the most that it held.
    """

    seconds: float
    written: int
    resident_mib: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class BareCalls:
    """What MLflow's client alone takes for so many TrainingJobs.

    Attributes:
        before_job: seconds until all that comes before a Job is answered, shortest first.
        cpu_milliseconds: of the client over the life of each.
    """

    before_job: tuple[float, ...]
    cpu_milliseconds: float


async def plain_jobs(world: World, count: int) -> tuple[float, ...]:
    """Seconds from creation to pod of so many Jobs, shortest first, while no operator runs."""
    world.stop_operator()
    async with own_namespace(world.client, "plain", world.step) as namespace:
        with world.step(f"{count} plain Jobs"):
            async with watching(world.client, JOBS, namespace) as sightings:
                objects = [plain_job(name, namespace) for name in names(count)]
                await create_all(world.client, JOBS, objects, namespace, sightings)
                await until(lambda: len(sightings.pods), count, "Jobs with a pod")
                await until(lambda: len(sightings.ended), count, "Jobs that ended")
        return sightings.create_to_pod()


async def training_jobs(world: World, count: int, *, tracked: bool) -> Trained:
    """So many TrainingJobs from their creation to their end, with MLflow or without."""
    world.stop_operator()
    await world.start_operator(tracked=tracked)
    namespace_name, kind = ("tracked", "with MLflow") if tracked else ("untracked", "without MLflow")
    async with own_namespace(world.client, namespace_name, world.step) as namespace:
        before, used = await writes(world.config), Usage.of(world.operator_pid())
        with world.step(f"{count} TrainingJobs {kind}"):
            async with watching(world.client, TRAINING_JOBS, namespace) as sightings:
                objects = [training_job(name) for name in names(count)]
                await create_all(world.client, TRAINING_JOBS, objects, namespace, sightings)
                await until(lambda: len(sightings.pods), count, "TrainingJobs with a pod")
                await until(lambda: len(sightings.ended), count, "TrainingJobs that ended")
        after, now = await writes(world.config), Usage.of(world.operator_pid())
    return Trained(
        create_to_pod=sightings.create_to_pod(),
        cpu_milliseconds=(now.cpu_seconds - used.cpu_seconds) * 1000 / count,
        writes=operator_writes(before, after, created=count) / count,
        peak_mib=now.peak_mib,
    )


async def bare_calls(world: World, count: int) -> BareCalls:
    """What MLflow is asked for so many TrainingJobs at once, by its own client alone, as many at a time as
    the operator works on."""
    mlflow, at_a_time = Mlflow(world.tracking_uri), asyncio.Semaphore(WORKERS)
    await mlflow.warm_up()

    async def before(number: int) -> tuple[float, Run]:
        name = f"run-{number}"
        async with at_a_time:
            await mlflow.call(mlflow_calls.model_owner, MODEL_NAME)
            run = await mlflow.call(
                mlflow_calls.ensure_run, experiment="bare-calls", name=name, uid=name, tags={}
            )
        return time.monotonic() - began, run

    async def after(run: Run) -> None:
        async with at_a_time:
            await mlflow.call(mlflow_calls.logged_models, run)
            await mlflow.call(mlflow_calls.end_run, run.run_id, "FINISHED")

    try:
        with world.step(f"{count} times what MLflow is asked"):
            began, used = time.monotonic(), time.process_time()
            answered = await asyncio.gather(*(before(number) for number in range(count)))
            await asyncio.gather(*(after(run) for _, run in answered))
            cpu = time.process_time() - used
    finally:
        await mlflow.aclose(CLOSING_SECONDS)
    return BareCalls(tuple(sorted(seconds for seconds, _ in answered)), cpu * 1000 / count)


async def at_rest(world: World, count: int) -> str:
    """The namespace of so many TrainingJobs whose pods run on, without MLflow; it stays."""
    world.stop_operator()
    await world.start_operator(tracked=False)
    namespace = "rest"
    await create_namespace(world.client, namespace)
    with world.step(f"{count} TrainingJobs that run"):
        async with watching(world.client, TRAINING_JOBS, namespace) as sightings:
            objects = [training_job(name, image=ENDLESS_IMAGE) for name in names(count)]
            await create_all(world.client, TRAINING_JOBS, objects, namespace, sightings)
            await until(lambda: len(sightings.running), count, "TrainingJobs that run")
    return namespace


async def idle(world: World, namespace: str) -> Idle:
    """What the operator takes while nothing happens in a namespace."""
    with world.step("nothing happens"):
        await _versions_at_rest(world.client, namespace)
        began = Usage.of(world.operator_pid())
        await asyncio.sleep(IDLE_SECONDS)
        now = Usage.of(world.operator_pid())
    return Idle(now.resident_mib, now.peak_mib, (now.cpu_seconds - began.cpu_seconds) / IDLE_SECONDS)


async def restart(world: World, namespace: str) -> Restarted:
    """The operator ends, and starts again, while nothing else happens in a namespace."""
    with world.step("the operator starts again"):
        versions = await _versions_at_rest(world.client, namespace)
        world.stop_operator()
        async with watching(world.client, TRAINING_JOBS, namespace) as sightings:
            began = time.monotonic()
            created = world.client.create(TRAINING_JOBS, training_job("after-restart"), namespace)
            await asyncio.gather(world.start_operator(tracked=False), created)
            await until(lambda: "after-restart" in sightings.pods, 1, "the TrainingJob after the restart")
            seconds = sightings.pods["after-restart"] - began
        later = await _versions_at_rest(world.client, namespace)
        usage = Usage.of(world.operator_pid())
    return Restarted(
        seconds=seconds,
        written=sum(later.get(key) != version for key, version in versions.items()),
        resident_mib=usage.resident_mib,
        peak_mib=usage.peak_mib,
    )


async def _versions_at_rest(client: KubernetesClient, namespace: str) -> dict[tuple[str, str], str]:
    """The resourceVersion of each TrainingJob and its Job, once none changes any more."""
    changed = time.monotonic()

    def note(*_: object) -> None:
        nonlocal changed
        changed = time.monotonic()

    resources = (TRAINING_JOBS, JOBS)
    informers = [Informer(client, each, namespace=namespace, on_change=note) for each in resources]
    # Events are told after all else.
    events = Informer(client, EVENTS, namespace=namespace, on_change=note)
    async with running(*informers, events):
        while time.monotonic() - changed < QUIET_SECONDS:
            await asyncio.sleep(POLL_SECONDS)
    return {
        (resource.plural, name): obj["metadata"]["resourceVersion"]
        for resource, informer in zip(resources, informers, strict=True)
        for (_, name), obj in informer.objects.items()
    }
