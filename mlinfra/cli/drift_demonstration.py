"""A served model that goes wrong and is mended by its policy, live: what ``mlinfra demo-drift`` does."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import yaml
from rich.console import Console

from mlinfra.cli.drift_table import DriftTable
from mlinfra.cli.followed_policy import FollowedPolicy
from mlinfra.errors import MlinfraError
from mlinfra.kube import KubernetesClient
from mlinfra.kube.resource import MODEL_VERSIONS, RETRAINING_POLICIES, TRAINING_JOBS
from mlinfra.local.platform import Platform
from mlinfra.models.learnt import LearntModel, learnt_model
from mlinfra.resources import ModelVersion
from mlinfra.resources.training_job import TrainingJobSpec
from mlinfra.retraining.backtest.learner import Learner
from mlinfra.retraining.backtest.replay import Replay, ReplaySettings
from mlinfra.retraining.live.comparison import frozen_replay, served_replay, yearly_replay
from mlinfra.retraining.live.known_rows import KnownRows
from mlinfra.retraining.live.manifests import (
    MIN_IMPROVEMENT,
    REPLAY_LABEL,
    LiveSettings,
    first_training,
    retraining_policy,
    training_spec,
)
from mlinfra.retraining.live.replay import LiveReplay, Replayed
from mlinfra.retraining.live.traffic import LiveTraffic, Questions, ReplayError
from mlinfra.training.config import TrainingConfig
from mlinfra.training.promotion import PromotionRule
from mlinfra.training.rows import RowKeys
from mlinfra.training.samples import windows_ending_at

if TYPE_CHECKING:
    import onnx
    import pandas as pd

DATASET = "nasdaq"
MODEL = "nasdaq-turbulence"
NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class Played:
    """What a demonstration came to.

    Attributes:
        replayed: the trainings, and how long all of it took.
        failures: each request that failed.
        labels: how many labels the server took.
        served, frozen: what was answered, and what the first version would have answered to the same.
        learner: has the rows.
        settings: what was replayed.
    """

    replayed: Replayed
    failures: tuple[str, ...]
    labels: int
    served: Replay
    frozen: Replay
    learner: Learner
    settings: LiveSettings


@dataclass(frozen=True, slots=True)
class Served:
    """A version that is served, and its model."""

    version: ModelVersion
    model: "onnx.ModelProto"
    learnt: LearntModel

    @property
    def url(self) -> str:
        """Of the model's routes."""
        return f"{self.version.status.endpoint}/v2/models/{self.version.spec.model_name}"


def live_settings(start: datetime, until: datetime, *, window_rows: int) -> LiveSettings:
    """A replay under names that no other one has."""
    model = f"{MODEL}-{datetime.now(UTC):%y%m%d%H%M%S}"
    return LiveSettings(
        model=model, group=model.replace("-", "_"), start=start, until=until, window_rows=window_rows
    )


def template_in(file: Path) -> Mapping[str, Any]:
    """The spec of the TrainingJob in a manifest."""
    try:
        spec: Mapping[str, Any] = yaml.safe_load(file.read_text())["spec"]
        return {**spec, "data": spec["data"]}
    except (OSError, yaml.YAMLError, TypeError, KeyError) as error:
        raise MlinfraError(
            f"{file} cannot be read as a TrainingJob of the built-in trainer ({error}); run this in a clone "
            "of the repository, or name a manifest with --file"
        ) from error


async def play(
    platform: Platform, settings: LiveSettings, template: Mapping[str, Any], console: Console
) -> Played:
    """Train and serve the first version, apply the policy, and replay.

    Args:
        platform: runs.
        settings: what is replayed.
        template: spec of a TrainingJob.
        console: where it is told.

    Raises:
        MlinfraError: the first training fails, or the replay cannot go on.
    """
    from mlinfra.features import get_feature_store

    table = DriftTable(console, settings)
    frame = await asyncio.to_thread(_all_rows)
    store = get_feature_store(platform.feature_store)
    known = KnownRows(
        store,
        settings.group,
        frame,
        time="event_timestamp",
        entity="symbol",
        delay=settings.label_delay,
    )
    await asyncio.to_thread(known.reach, settings.start)
    learner = await asyncio.to_thread(_learner, settings, template, frame)
    async with platform.cluster.client() as client:
        await _remove_earlier(client)
        follower = FollowedPolicy(
            client, namespace=NAMESPACE, name=settings.model, patience=settings.patience
        )
        async with follower.watching():
            with table.steps("the first version: trained, promoted and served"):
                await _apply(client, first_training(settings, template))
                served = await _first_served(platform, follower, settings)
            with table.steps("RetrainingPolicy"):
                await _apply(client, retraining_policy(settings, template))
            rows = _traffic_rows(learner, settings)
            # Each request to where the Service leads by then: a connection that is kept stays with old pods.
            limits = httpx.Limits(max_keepalive_connections=0)
            async with httpx.AsyncClient(trust_env=False, limits=limits, timeout=30.0) as http:
                traffic = await _traffic(http, served, learner, rows, settings)
                replayed = await _replay(settings, learner, rows, traffic, known, follower, table)
    return Played(
        replayed=replayed,
        failures=tuple(traffic.failures),
        labels=len(traffic.told),
        served=served_replay(replayed, traffic.answers, learner, rows, served.learnt.classes),
        frozen=frozen_replay(served.model, served.learnt, learner, rows),
        learner=learner,
        settings=settings,
    )


def yearly(played: Played) -> Replay:
    """What training each year would have come to on the same rows."""
    settings = played.settings
    return yearly_replay(
        played.learner,
        ReplaySettings(
            train_until=settings.start,
            until=settings.until,
            label_delay=settings.label_delay,
            promotion=PromotionRule(0.0, MIN_IMPROVEMENT),
        ),
    )


def _all_rows() -> "pd.DataFrame":
    from mlinfra.datasets import find_dataset

    return find_dataset(DATASET).load()


def _learner(settings: LiveSettings, template: Mapping[str, Any], frame: "pd.DataFrame") -> Learner:
    spec = TrainingJobSpec.model_validate(training_spec(settings, template))
    config = TrainingConfig.from_spec(spec)
    data = config.data.model_copy(update={"last_days": None})
    keys = RowKeys(time="event_timestamp", entity="symbol")
    learner = Learner(replace(config, data=data), frame, keys, training_days=settings.training_days)
    learner.learn(np.datetime64((settings.start - settings.label_delay).replace(tzinfo=None)))
    return learner


def _traffic_rows(learner: Learner, settings: LiveSettings) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Positions of the rows that are asked about, in order of time."""
    start, until = (np.datetime64(each.replace(tzinfo=None)) for each in (settings.start, settings.until))
    found = np.flatnonzero((learner.rows.time > start) & (learner.rows.time <= until))
    if not len(found):
        raise MlinfraError(f"no row lies between {settings.start:%Y-%m-%d} and {settings.until:%Y-%m-%d}")
    return found


async def _remove_earlier(client: KubernetesClient) -> None:
    """Take away what an earlier demonstration left, or its servers would pile up."""
    for resource in (RETRAINING_POLICIES, TRAINING_JOBS):
        found, _ = await client.list(resource, NAMESPACE, label_selector=REPLAY_LABEL)
        for obj in found:
            await client.delete(resource, obj["metadata"]["name"], NAMESPACE)
    versions, _ = await client.list(MODEL_VERSIONS, NAMESPACE)
    for obj in versions:
        if obj["spec"]["modelName"].startswith(f"{MODEL}-"):
            await client.delete(MODEL_VERSIONS, obj["metadata"]["name"], NAMESPACE)


async def _apply(client: KubernetesClient, manifest: dict[str, Any]) -> None:
    metadata = {**manifest["metadata"], "namespace": NAMESPACE}
    await client.apply({**manifest, "metadata": metadata}, field_manager="mlinfra-demo")


async def _first_served(platform: Platform, follower: FollowedPolicy, settings: LiveSettings) -> Served:
    from mlinfra.tracking import get_mlflow_tracker

    outcome = await follower.outcome(f"{settings.model}-first")
    if not outcome.succeeded or outcome.model_version is None:
        raise ReplayError(f"there is no first version to serve: {outcome.message}")
    version = outcome.model_version
    tracker = get_mlflow_tracker(platform.mlflow_url)
    uri = f"models:/{version.spec.model_name}/{version.spec.version}"
    model = await asyncio.to_thread(tracker.load_onnx_model, uri)
    return Served(version, model, learnt_model({entry.key: entry.value for entry in model.metadata_props}))


async def _traffic(
    http: httpx.AsyncClient,
    served: Served,
    learner: Learner,
    rows: "np.ndarray[Any, np.dtype[np.int64]]",
    settings: LiveSettings,
) -> LiveTraffic:
    described = (await http.get(served.url)).raise_for_status().json()
    found = learner.rows
    questions = Questions(
        windows=windows_ending_at(found.features, rows, served.learnt.window),
        times=[_moment(each) for each in found.time[rows]],
        labels=[found.classes[each] for each in found.label[rows]],
        prefix=settings.model,
    )
    tensor = described["inputs"][0]["name"]
    return LiveTraffic(http, served.url, tensor, questions, patience=settings.patience)


async def _replay(
    settings: LiveSettings,
    learner: Learner,
    rows: "np.ndarray[Any, np.dtype[np.int64]]",
    traffic: LiveTraffic,
    known: KnownRows,
    follower: FollowedPolicy,
    table: DriftTable,
) -> Replayed:
    times = [_moment(each) for each in learner.rows.time[rows]]
    replay = LiveReplay(
        settings,
        times,
        traffic,
        known,
        follower,
        on_retraining=table.retraining,
        on_rollback=table.rollback,
        on_progress=table.progress,
    )
    with table.running():
        return await replay.run()


def _moment(time: np.datetime64) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(
        microseconds=int(time.astype("datetime64[us]").astype(np.int64))
    )
