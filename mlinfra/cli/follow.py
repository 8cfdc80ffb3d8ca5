"""Follow a TrainingJob until its ModelVersion has settled.

What the two resources say now is judged by pure functions; `follow` only watches and shows.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from mlinfra.kube import KubernetesClient
from mlinfra.kube.informer import Informer, running
from mlinfra.kube.resource import MODEL_VERSIONS, TRAINING_JOBS
from mlinfra.resources import ModelVersion, TrainingJob
from mlinfra.resources.base import Condition, ConditionList


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a TrainingJob is, as its status tells."""

    phase: str
    epoch: int
    epochs: int
    percent: int
    accuracy: str | None
    remaining_seconds: int | None
    waiting_for: str | None
    """What the operator waits for, where it says so."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: the version that came out, or why there is none in its stage."""

    succeeded: bool
    message: str
    model_version: ModelVersion | None = None


def progress_of(job: TrainingJob) -> Progress:
    """The progress to show for a TrainingJob."""
    trainer = job.status.trainer_status
    reconciling = condition(job.status.conditions, "Reconciling")
    values = {metric.name: metric.value for metric in trainer.metrics} if trainer else {}
    return Progress(
        phase=job.status.phase or "Pending",
        epoch=trainer.current_epoch or 0 if trainer else 0,
        epochs=(trainer.total_epochs if trainer else None) or job.spec.training.epochs,
        percent=trainer.progress_percentage or 0 if trainer else 0,
        accuracy=values.get("val_accuracy"),
        remaining_seconds=trainer.estimated_remaining_seconds if trainer else None,
        waiting_for=reconciling.message if reconciling and reconciling.status == "True" else None,
    )


def outcome_of(job: TrainingJob, version: ModelVersion | None) -> Outcome | None:
    """The end of the story, or None while it goes on."""
    failed = condition(job.status.conditions, "Failed")
    if failed and failed.status == "True":
        return Outcome(False, f"{failed.reason}: {failed.message}")
    if version is None or version.status.observed_generation is None:
        return None
    stage = version.spec.stage
    if stage is None and version.status.phase == "Registered":
        return Outcome(True, "registered; no stage is asked for", version)
    if stage is not None and version.status.phase == stage:
        return Outcome(True, f"in {stage}", version)
    stalled = condition(version.status.conditions, "Stalled")
    if stalled and stalled.status == "True":
        return Outcome(False, f"{stalled.reason}: {stalled.message}", version)
    if version.status.phase == "Archived":
        return Outcome(False, "archived: a newer version claimed the stage", version)
    return None


def condition(conditions: ConditionList, type_: str) -> Condition | None:
    """The condition of a type, where there is one."""
    return next((found for found in conditions if found.type == type_), None)


async def follow(
    client: KubernetesClient, *, namespace: str, name: str, show: Callable[[Progress], None]
) -> Outcome:
    """Watch the TrainingJob and its ModelVersion until the outcome is known.

    Args:
        client: a client of the cluster.
        namespace: namespace of the TrainingJob.
        name: name of the TrainingJob.
        show: called whenever the progress may have changed.
    """
    changed = asyncio.Event()
    jobs = Informer(
        client,
        TRAINING_JOBS,
        namespace=namespace,
        field_selector=f"metadata.name={name}",
        on_change=lambda *_: changed.set(),
    )
    versions = Informer(client, MODEL_VERSIONS, namespace=namespace, on_change=lambda *_: changed.set())
    async with running(jobs, versions):
        while True:
            outcome = _judge(jobs, versions, namespace=namespace, name=name, show=show)
            if outcome is not None:
                return outcome
            await changed.wait()
            changed.clear()


def _judge(
    jobs: Informer, versions: Informer, *, namespace: str, name: str, show: Callable[[Progress], None]
) -> Outcome | None:
    found = jobs.objects.get((namespace, name))
    if found is None:
        return Outcome(False, "the TrainingJob was deleted")
    job = TrainingJob.model_validate(found)
    show(progress_of(job))
    reference = job.status.model_version_ref
    version = versions.objects.get((namespace, reference.name)) if reference else None
    return outcome_of(job, ModelVersion.model_validate(version) if version else None)
